"""What LlamaIndex's handlers learn: the same as of any LLM, with references instead of media and without secrets."""

import base64
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

pytest.importorskip("llama_index.core")

import llama_index.core.instrumentation as instrument
from llama_index.core.base.llms.types import (
    AudioBlock,
    ChatMessage,
    CitableBlock,
    DocumentBlock,
    ImageBlock,
    TextBlock,
    VideoBlock,
)
from llama_index.core.callbacks import CallbackManager, TokenCountingHandler
from llama_index.core.instrumentation.event_handlers import BaseEventHandler
from llama_index.core.instrumentation.span_handlers import BaseSpanHandler
from llama_index.core.prompts import ChatPromptTemplate

from llama_index_qwen_omni import QwenOmni, VideoCaption
from llama_index_qwen_omni._tracing import shown_block, shown_messages
from qwen_omni.errors import RateLimitError
from qwen_omni.standin import Fault, Standin
from qwen_omni.standin.marked_media import TruthMedia, make_image
from tests.contracts.frameworks import LLAMA_INDEX

WAYS = LLAMA_INDEX.ways
EVENTS: list[Any] = []
SPANS: list[tuple[str, str, Any]] = []


class Listener(BaseEventHandler):
    """Keeps every event."""

    def handle(self, event: Any, **_: Any) -> None:
        """Keep it."""
        EVENTS.append(event)


class Watcher(BaseSpanHandler[Any]):
    """Keeps every span."""

    def new_span(self, id_: str, bound_args: Any, **_: Any) -> None:
        """Keep its beginning."""
        SPANS.append(("new", id_, bound_args.arguments))

    def prepare_to_exit_span(self, id_: str, result: Any = None, **_: Any) -> None:
        """Keep its end."""
        SPANS.append(("exit", id_, result))

    def prepare_to_drop_span(self, id_: str, err: Any = None, **_: Any) -> None:
        """Keep its failure."""
        SPANS.append(("drop", id_, err))


@pytest.fixture
def listening() -> Iterator[None]:
    """Listen to everything that LlamaIndex tells."""
    root = instrument.get_dispatcher()
    listener, watcher = Listener(), Watcher()
    root.event_handlers.append(listener)
    root.span_handlers.append(watcher)
    yield
    root.event_handlers.remove(listener)
    root.span_handlers.remove(watcher)
    EVENTS.clear()
    SPANS.clear()


def names() -> list[str]:
    found = [event.class_name() for event in EVENTS]
    return [name for at, name in enumerate(found) if at == 0 or found[at - 1] != name]


@pytest.mark.parametrize("name", WAYS)
async def test_events_and_spans(name: str, llm: QwenOmni, listening: None) -> None:
    """Each call has one span of its own name, a start, progress where it streams, and an end with the usage."""
    await WAYS[name](llm, "Hello")
    kind = "Completion" if "complete" in name else "Chat"
    middle = [f"LLM{kind}InProgressEvent"] if "stream" in name else []
    assert names() == [f"LLM{kind}StartEvent", *middle, f"LLM{kind}EndEvent"]
    assert EVENTS[-1].response.raw["usage"]["total_tokens"] > 0
    assert [(what, one.partition("-")[0]) for what, one, _ in SPANS] == [
        ("new", f"QwenOmni.{name}"), ("exit", f"QwenOmni.{name}"),
    ]  # fmt: skip
    assert {event.span_id for event in EVENTS} == {SPANS[0][1]}
    assert "api_key" not in str(EVENTS[0].model_dump())


@pytest.mark.parametrize("name", WAYS)
async def test_failures_are_told(name: str, llm: QwenOmni, standin: Standin, listening: None) -> None:
    """A call that fails is told as failed: an exception, and no end."""
    standin.script.fault(Fault.rate_limit())
    with pytest.raises(RateLimitError):
        await WAYS[name](llm, "Hello")
    assert any(event.class_name() == "ExceptionEvent" for event in EVENTS)
    assert not any(event.class_name().endswith("EndEvent") for event in EVENTS)
    assert SPANS[-1][0] == ("exit" if "stream" in name else "drop")


PICTURE = make_image("4711", (320, 240))
HIDDEN = base64.b64encode(PICTURE)[1000:1060]


def with_media(clip: TruthMedia) -> list[ChatMessage]:
    blocks = [ImageBlock(image=PICTURE), VideoBlock(path=clip.path), TextBlock(text="What?")]
    return [ChatMessage(blocks=blocks)]


@pytest.mark.parametrize("name", ["chat", "achat", "stream_chat", "astream_chat"])
async def test_references_instead_of_media(
    name: str, llm: QwenOmni, standin: Standin, clip: TruthMedia, listening: None
) -> None:
    """Handlers see what kind of media there was and where, never the media; the service sees the media."""
    messages = with_media(clip)
    await WAYS[name](llm, messages, extra_headers={"x-token": "tok-secret"}, api_key=SecretStr(standin.api_key))
    told = b"".join(pickle.dumps(event.model_dump()) for event in EVENTS)
    told += b"".join(pickle.dumps(str(more)) for _, _, more in SPANS)
    assert HIDDEN not in told
    assert b"tok-secret" not in told
    assert standin.api_key.encode() not in told
    assert f"[image: {len(PICTURE):,} bytes]" in str(EVENTS[0].messages[0].blocks[0].text)
    assert str(clip.path) in EVENTS[0].messages[0].blocks[1].text
    assert [facts.kind for facts in standin.requests[-1].media] == ["image", "video"]
    assert messages[0].blocks[0].image is not None


async def test_speech_and_structured_calls(llm: QwenOmni, clip: TruthMedia, listening: None) -> None:
    """Neither speech that was made nor media in a prompt reach the handlers."""
    spoken = llm.chat([ChatMessage(content="Say hello.")], model="qwen3.5-omni-flash", modalities=["text", "audio"])
    list(llm.stream_chat([ChatMessage(content="Hi.")], model="qwen3.5-omni-flash", modalities=["text", "audio"]))
    (sound,) = [block.audio for block in spoken.message.blocks if isinstance(block, AudioBlock)]
    llm.structured_predict(VideoCaption, ChatPromptTemplate(with_media(clip)))
    told = b"".join(pickle.dumps(event.model_dump()) for event in EVENTS)
    told += b"".join(pickle.dumps(str(more)) for _, _, more in SPANS)
    assert bytes(sound)[2000:2060] not in told
    assert HIDDEN not in told
    assert "LLMStructuredPredictEndEvent" in names()


@pytest.mark.parametrize("name", WAYS)
async def test_token_counting(name: str, llm: QwenOmni, standin: Standin) -> None:
    """LlamaIndex's token counter books what the service told, from `raw`."""
    counter = TokenCountingHandler()
    await WAYS[name](llm.model_copy(update={"callback_manager": CallbackManager([counter])}), "Hello")
    assert (counter.prompt_llm_token_count, counter.completion_llm_token_count) != (0, 0)
    (event,) = counter.llm_token_counts
    answer = await WAYS[name](llm, "Hello")
    usage = answer.raw["usage"]
    assert (event.prompt_token_count, event.completion_token_count) == (
        usage["prompt_tokens"], usage["completion_tokens"],
    )  # fmt: skip


def test_references() -> None:
    """Every kind of medium becomes a line; signed queries and data are left out; texts stay the same objects."""
    told = [
        (VideoBlock(url="https://h/a.mp4?Signature=s3cret"), "[video: https://h/a.mp4?<query>]"),
        (AudioBlock(audio=b"x" * 30), "[audio: 30 bytes]"),
        (ImageBlock(url="data:image/png;base64,aGk="), "[image: data of 26 characters]"),
        (DocumentBlock(path="a.pdf"), "[document: a.pdf]"),
        (ImageBlock(), "[image: nothing]"),
    ]
    for block, line in told:
        assert shown_block(block).text == line
    with Path(__file__).open("rb") as file:
        assert shown_block(VideoBlock(video=file)).text == "[video: an open file]"
    nested = shown_block(CitableBlock(title="t", source="s", content=[ImageBlock(image=PICTURE)]))
    assert nested.content[0].text.startswith("[image: ")
    plain = ChatMessage(content="x")
    assert shown_messages([plain])[0] is plain


async def test_nobody_listens(llm: QwenOmni) -> None:
    """Without handlers nothing is told, and nothing is in the way."""
    assert (await WAYS["chat"](llm, "Hello")).message.content
    assert (EVENTS, SPANS) == ([], [])
