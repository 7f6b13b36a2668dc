"""Light histories: media named by digest; and caches whose keys hold digests."""

import base64
import threading
from pathlib import Path
from typing import Any

import pytest
from langchain_core.caches import InMemoryCache
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage
from pydantic import SecretStr

from langchain_qwen_omni import ChatQwenOmni, _references, to_reference
from langchain_qwen_omni._convert_input import to_messages
from langchain_qwen_omni._references import digested
from qwen_omni.errors import UnreadableMediaError
from qwen_omni.media.files.store import keep, kept_path
from qwen_omni.messages import media_of
from qwen_omni.settings import kept_folder
from qwen_omni.standin import Standin
from qwen_omni.standin.marked_media import TruthMedia, make_video
from tests.support.tracing import Trace

DATA = bytes(range(256)) * 20
TEXT = base64.b64encode(DATA).decode()
URI = f"data:video/mp4;base64,{TEXT}"

HELD: dict[str, dict[str, Any]] = {
    "v1": {"type": "video", "base64": TEXT, "mime_type": "video/mp4", "extras": {"fps": 1}},
    "v1, without a type": {"type": "video", "base64": TEXT},
    "v1, data URI as link": {"type": "video", "url": URI},
    "v0": {"type": "audio", "source_type": "base64", "data": TEXT, "mime_type": "audio/wav"},
    "file": {"type": "file", "base64": TEXT, "mime_type": "video/mp4"},
    "anthropic": {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": TEXT}},
    "image_url": {"type": "image_url", "image_url": {"url": URI}},
    "video_url": {"type": "video_url", "video_url": {"url": URI}, "fps": 2},
    "image_url as text": {"type": "image_url", "image_url": URI},
    "input_audio": {"type": "input_audio", "input_audio": {"data": URI, "format": "wav"}},
    "frames": {"type": "video", "video": [URI, {"type": "image", "base64": TEXT}, "https://h/a.jpg", URI], "fps": 1},
    "openai file": {"type": "file", "file": {"file_data": URI, "filename": "a.mp4"}},
}


def sources(message: BaseMessage) -> list[Any]:
    return [source for turn in to_messages([message]) for part in turn.parts for source in media_of(part)]


@pytest.mark.parametrize("folder", [False, True], ids=["in the cache", "in a folder"])
@pytest.mark.parametrize("block", HELD.values(), ids=HELD.keys())
def test_every_spelling(block: dict[str, Any], folder: bool, tmp_path: Path) -> None:
    """Whatever way bytes are held, the reference is read back as the same bytes with the same options."""
    message = HumanMessage([block, {"type": "text", "text": "What?"}], id="7", name="me")
    before = message.model_dump_json()
    light = to_reference(message, folder=tmp_path if folder else None)
    assert message.model_dump_json() == before
    assert (light.id, light.name, light.content[1]) == ("7", "me", message.content[1])
    assert TEXT not in light.model_dump_json()
    for held, named in zip(sources(message), sources(light), strict=True):
        if held.kind == "url":
            assert named == held
        else:
            assert named.path.read_bytes() == held.data == DATA
            assert named.trusted is not folder
    options = [
        [getattr(part, "sampling", None) for turn in to_messages([m]) for part in turn.parts] for m in (message, light)
    ]
    assert options[0] == options[1]
    assert to_reference(light) is light


@pytest.mark.parametrize(
    "content",
    ["words", ["words"], [{"type": "video", "path": "a.mp4"}], [{"type": "video", "url": "https://h/a.mp4"}],
     [{"type": "video", "file_id": "oss://b/a"}], [{"type": "input_audio", "input_audio": {"data": "https://h/a.wav"}}]],
)  # fmt: skip
def test_what_is_light_stays(content: Any) -> None:
    """A message without bytes comes back as it is."""
    message = HumanMessage(content)
    assert to_reference(message) is message


def test_answers_and_tool_results() -> None:
    """Speech of an answer and media of a tool are named, too; the tool call they answer stays."""
    spoken = AIMessage([{"type": "text", "text": "Hi"}, {"type": "audio", "base64": TEXT, "mime_type": "audio/wav"}])
    assert TEXT not in to_reference(spoken).model_dump_json()
    shown = to_reference(ToolMessage([HELD["v1"]], tool_call_id="c1"))
    assert (TEXT not in shown.model_dump_json(), shown.tool_call_id) == (True, "c1")


def test_kept_once_and_privately() -> None:
    """The same bytes are one file, for its owner alone; text that is no reference is refused."""
    assert keep(DATA, kept_folder()) == keep(DATA, kept_folder())
    (file,) = kept_folder().iterdir()
    assert file == kept_path(keep(DATA, kept_folder()), kept_folder())
    assert (kept_folder().stat().st_mode & 0o077, file.stat().st_mode & 0o077) == (0, 0)
    file.write_bytes(b"half")
    assert kept_path(keep(DATA, kept_folder()), kept_folder()).read_bytes() == DATA
    for wrong in ("sha256:../../etc/passwd", "sha256:" + "A" * 64, "sha256:" + "a" * 63):
        with pytest.raises(UnreadableMediaError, match="not a reference"):
            sources(HumanMessage([{"type": "video", "file_id": wrong}]))


def test_bad_base64_is_said() -> None:
    """Bytes that cannot be decoded are not kept."""
    with pytest.raises(UnreadableMediaError, match="base64"):
        to_reference(HumanMessage([{"type": "video", "base64": "???"}]))


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> TruthMedia:
    """Three seconds."""
    return make_video(tmp_path_factory.mktemp("clip") / "clip.mp4", seconds=3, size=(160, 120))


@pytest.fixture
def llm(standin: Standin, clip: TruthMedia) -> Any:
    """A model at the stand-in."""
    model = ChatQwenOmni(
        api_key=SecretStr(standin.api_key), base_url=standin.base_url, max_retries=0, media_root=Path(clip.path).parent,
        thinking=False,
    )  # fmt: skip
    yield model
    model.close()


def _held(clip: TruthMedia) -> HumanMessage:
    data = base64.b64encode(Path(clip.path).read_bytes()).decode()
    return HumanMessage([{"type": "video", "base64": data, "mime_type": "video/mp4"}, "Which codes are shown?"])


def test_delivered_again_without_an_upload(llm: ChatQwenOmni, standin: Standin, clip: TruthMedia) -> None:
    """What was uploaded for the held media serves the reference, in a later call and in another process's model."""
    first = llm.invoke([_held(clip)], delivery="temporary")
    light = to_reference(_held(clip))
    again = llm.invoke([light], delivery="temporary")
    links = [
        request.body["messages"][0]["content"][0]["video_url"]["url"] for request in standin.requests if request.body
    ]
    assert len(set(links[-2:])) == 1
    assert links[-1].startswith("oss://")
    assert all(code in str(answer.text) for answer in (first, again) for code in clip.codes)
    assert llm.get_num_tokens_from_messages([light]) == llm.get_num_tokens_from_messages([_held(clip)])


class Keys(InMemoryCache):
    """A cache that tells its keys."""

    def __init__(self) -> None:
        super().__init__()
        self.prompts: list[str] = []

    def lookup(self, prompt: str, llm_string: str) -> Any:
        """Note the key."""
        self.prompts.append(prompt + llm_string)
        return super().lookup(prompt, llm_string)


@pytest.mark.parametrize("asynchronous", [False, True])
async def test_cache_keys_hold_digests(standin: Standin, clip: TruthMedia, asynchronous: bool) -> None:
    """The same video hits, another one misses, and no key holds media or a secret."""
    cache = Keys()
    llm = ChatQwenOmni(
        api_key=SecretStr(standin.api_key), base_url=standin.base_url, media_root=Path(clip.path).parent, cache=cache
    )

    async def ask(message: HumanMessage) -> Any:
        return await llm.ainvoke([message]) if asynchronous else llm.invoke([message])

    assert (await ask(_held(clip))).text == (await ask(_held(clip))).text
    assert len(standin.requests) == 1
    assert standin.requests[0].media[0].picture_codes == clip.codes
    other = Path(clip.path).with_name("other.mp4")
    make_video(other, seconds=3, size=(160, 120))
    by_path = HumanMessage([{"type": "video", "path": str(other)}, "Which codes are shown?"])
    await ask(by_path)
    await ask(by_path)
    assert len(standin.requests) == 2
    new = make_video(other, seconds=4, size=(160, 120))
    answer = await ask(by_path)
    assert len(standin.requests) == 3
    assert all(code in answer.text for code in new.codes)
    assert max(map(len, cache.prompts)) < 4_000
    assert not any(standin.api_key in prompt for prompt in cache.prompts)
    llm.close()
    await llm.aclose()


@pytest.mark.parametrize("named", ["path", "reference"])
def test_traces_carry_references(llm: ChatQwenOmni, clip: TruthMedia, named: str) -> None:
    """Media given by reference stands in traces as that reference, never as bytes."""
    trace = Trace()
    message = HumanMessage([{"type": "video", "path": str(clip.path)}, "Codes?"])
    asked = message if named == "path" else to_reference(_held(clip))
    llm.invoke([asked], config={"callbacks": [trace]})
    assert str(clip.path) in trace.sent or "sha256:" in trace.sent
    assert len(trace.sent) < 12_000


@pytest.mark.parametrize("held", [False, True], ids=["a path", "base64"])
async def test_digests_are_made_beside_the_event_loop(
    llm: ChatQwenOmni, clip: TruthMedia, monkeypatch: pytest.MonkeyPatch, held: bool
) -> None:
    """With a cache, an asynchronous call reads and hashes media on another thread; a blocking one on its own."""
    threads: list[threading.Thread] = []

    def noted(messages: Any, root: Path) -> Any:
        threads.append(threading.current_thread())
        return digested(messages, root)

    monkeypatch.setattr(_references, "digested", noted)
    llm = llm.model_copy(update={"cache": InMemoryCache()})
    question = _held(clip) if held else HumanMessage([{"type": "video", "path": str(clip.path)}, "Codes?"])
    await llm.ainvoke([question])
    assert threading.current_thread() not in threads
    await llm.aclose()
    llm.invoke([question])
    assert threads[1:] == [threading.current_thread()]
