"""The errors that users meet first: the same words from the core and both frameworks, with what to do next."""

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from qwen_omni import ChatOptions, ChatRequest, MediaSource, OmniClient, QwenOmniError, VideoPart, user
from qwen_omni.settings import CONSOLES, Settings
from qwen_omni.standin import Standin
from qwen_omni.standin.marked_media import TruthMedia
from tests.contracts.frameworks import LANGCHAIN, Framework, Medium, each_framework

PAGE = "<!DOCTYPE html><html><head><title>Log in</title></head><body>Please log in.</body></html>"


@dataclass(frozen=True)
class Row:
    """One error: how the model is made, what it is asked about, and what the message says.

    Attributes:
        says: texts of the message; {url}, {top} and {folder} are filled in.
        base_url: the address, made from that of the chat routes.
        named: whether the file exists, without which LlamaIndex makes no block.
        sends: whether the service is asked.
    """

    says: tuple[str, ...]
    key: str | None = None
    base_url: Callable[[str], str] = str
    model: str = "qwen3.8-omni-flash"
    file: str = "root/clip.mp4"
    options: dict[str, Any] = field(default_factory=dict)
    named: bool = True
    sends: bool = False


VENDOR = "https://dashscope-intl.aliyuncs.com"
RIGHT = f"Use {VENDOR}/compatible-mode/v1"
ROWS = {
    "no key": Row(
        says=("variable DASHSCOPE_API_KEY", "pass api_key=", CONSOLES["cn"], CONSOLES["intl"], "`qwen-omni standin`"),
        key="",
    ),
    "key of another region": Row(
        says=("401", "The request went to 127.0.0.1.", "Each key is valid in one region", "(command line: --region)"),
        key="sk-of-another-region",
        sends=True,
    ),
    "the vendor without /v1": Row(
        says=("ends in /compatible-mode/v1", RIGHT), base_url=lambda _: f"{VENDOR}/compatible-mode"
    ),
    "the vendor's host alone": Row(says=(RIGHT,), base_url=lambda _: VENDOR),
    "the vendor's native routes": Row(says=(RIGHT,), base_url=lambda _: f"{VENDOR}/api/v1"),
    "the vendor's route pasted": Row(says=(RIGHT,), base_url=lambda _: f"{VENDOR}/compatible-mode/chat/completions"),
    "a route pasted": Row(
        says=("ends in /chat/completions, which is added to it", "Use {url}"),
        base_url=lambda url: f"{url}/chat/completions?key=secret",
    ),
    "a server without /v1": Row(
        says=("404", "Nothing answers at {top}/compatible-mode/chat/completions", "usually ends in /v1"),
        base_url=lambda url: url.removesuffix("/v1"),
        sends=True,
    ),
    "not an address": Row(
        says=("base_url must be an http or https URL",), base_url=lambda _: "dashscope.aliyuncs.com/v1"
    ),
    **{
        f"not an address: {name}": Row(
            says=("base_url must be an http or https URL",), base_url=lambda _, wrong=wrong: wrong
        )
        for name, wrong in (
            ("an empty label", "http://a..b/v1"),
            ("a long label", f"http://{'a' * 64}/v1"),
            ("a dot", "http://./v1"),
            ("half a bracket", "http://[::1/v1"),
            ("a large port", "http://gpu:99999/v1"),
            ("no host", "http:///v1"),
            ("odd letters", "http://\u2100/v1"),
        )
    },
    "not an address: letters of no name": Row(
        says=("http://\U0001f4a9.invalid/v1 is not a valid address", "Check base_url"),
        base_url=lambda _: "http://\U0001f4a9.invalid/v1",
    ),
    "a path relative to media_root": Row(
        says=("clip.mp4 is relative to the current folder ({folder}), not to media_root: pass the full path.",),
        file="clip.mp4",
        named=False,
    ),
    "a path elsewhere": Row(says=("outside/clip.mp4 is relative to the current folder",), file="outside/clip.mp4"),
    "a link that leads out": Row(
        says=("root/link.mp4 is a link to {folder}/outside/clip.mp4, which lies outside media_root",),
        file="root/link.mp4",
    ),
    "a web page": Row(says=("look like a web page", "yt-dlp -o video.mp4"), file="root/page.mp4"),
    "no such file": Row(says=("root/gone.mp4 cannot be opened: No such file",), file="root/gone.mp4", named=False),
    "a misspelt model": Row(says=("Did you mean 'qwen3.8-omni-flash'?",), model="qwen3.8-omni-flsh", sends=True),
    "a model of others": Row(
        says=("404", "Models for audio and video: qwen3.8-omni-flash, "), model="gpt-4o", sends=True
    ),
    "a model for text": Row(says=("qwen-plus takes text, not video", "Use qwen3.8-omni-flash."), model="qwen-plus"),
    "a model that does not speak": Row(
        says=("answers in text only; qwen3.5-omni-flash can speak",), options={"modalities": ["text", "audio"]}
    ),
}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, clip: TruthMedia) -> Path:
    """A folder with a root that messages may read, and a file outside of it."""
    folder = tmp_path_factory.mktemp("first").resolve()
    for name in ("root", "outside"):
        (folder / name).mkdir()
        shutil.copy(clip.path, folder / name / "clip.mp4")
    (folder / "root" / "link.mp4").symlink_to("../outside/clip.mp4")
    (folder / "root" / "page.mp4").write_text(PAGE)
    return folder


@pytest.fixture(scope="module")
def service() -> Iterator[Standin]:
    """One stand-in for all rows."""
    with Standin() as standin:
        yield standin


def core(row: Row, key: str, base_url: str) -> None:
    settings = Settings.load(api_key=SecretStr(key), base_url=base_url, media_root=Path("root"), max_retries=0)
    part = VideoPart(source=MediaSource.from_path(row.file))
    options = ChatOptions(**{name: tuple(value) for name, value in row.options.items()})
    with OmniClient(settings) as client:
        client.complete(ChatRequest(model=row.model, messages=(user(part, "What?"),), options=options))


async def by_framework(framework: Framework, row: Row, key: str, standin: Standin, base_url: str) -> None:
    fields = {"api_key": key, "base_url": base_url, "media_root": "root", "model": row.model, **row.options}
    llm = framework.model(standin, **fields)
    way = next(iter(framework.chats.values()))
    await way(llm, framework.says(Medium("video", path=row.file), "What?"))


@pytest.mark.filterwarnings("ignore:.*is not a known model")
@each_framework
@pytest.mark.parametrize("name", ROWS)
async def test_same_words(
    framework: Framework, name: str, place: Path, service: Standin, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each says what is wrong and what to do; the framework's error is the core's, word for word.

    LlamaIndex's own block refuses a path that names no file, and states a media type.
    """
    monkeypatch.chdir(place)
    service.clear()
    row = ROWS[name]
    key = service.api_key if row.key is None else row.key
    url = row.base_url(service.base_url)

    with pytest.raises(QwenOmniError) as ours:
        core(row, key, url)
    asked = len(service.requests)
    with pytest.raises((QwenOmniError, framework.error, ValueError)) as theirs:
        await by_framework(framework, row, key, service, url)

    top = service.base_url.removesuffix("/compatible-mode/v1")
    for text in row.says:
        assert text.format(url=service.base_url, top=top, folder=place) in str(ours.value)
    assert "secret" not in str(ours.value)
    if framework is LANGCHAIN or row.named:
        assert str(theirs.value).replace(" It was declared as video/mp4.", "") == str(ours.value)
    assert (asked > 0) == row.sends
