"""Speech in chunks, messages, events and files."""

import base64
import functools
import io
import operator
import pickle
import wave
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, strategies as st
from langchain_core.load import dumps, loads
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, HumanMessage, message_chunk_to_message
from langchain_core.messages.ai import add_ai_message_chunks
from pydantic import SecretStr

from langchain_qwen_omni import ChatQwenOmni, save_speech
from langchain_qwen_omni._convert_output import ChunkBuilder, EventBuilder
from langchain_qwen_omni._speech import SpeechChunk, speech_of
from qwen_omni.errors import ConfigurationError, UnsupportedContentError
from qwen_omni.responses import AudioDelta, Delta, FinishDelta, TextDelta, ToolCallDelta, to_wav
from qwen_omni.standin import Standin

PCM = bytes(range(240)) * 5
SPOKEN: dict[str, Any] = {"model": "qwen3.5-omni-flash", "modalities": ["text", "audio"]}


def chunks(pieces: int = 40) -> list[AIMessageChunk]:
    size = len(PCM) // pieces
    deltas: list[Delta] = [TextDelta("Hel"), *[AudioDelta(PCM[at : at + size]) for at in range(0, len(PCM), size)]]
    builder = ChunkBuilder(model="m", speaks=True)
    made = [chunk for delta in (*deltas, TextDelta("lo"), FinishDelta("stop")) for chunk in builder.take(delta)]
    return [chunk.message for chunk in (*made, *builder.last())]  # type: ignore[misc]


def blocks_of(message: BaseMessage) -> list[Any]:
    return [block for block in message.content_blocks if block["type"] == "audio"]


def test_every_way_of_adding_up_gives_one_file() -> None:
    """One by one, all at once, from the right, and by LangChain's own rules: the same text, one block, one file."""
    parts = chunks()
    ways = {
        "one by one": functools.reduce(operator.add, parts),
        "at once": parts[0] + parts[1:],  # type: ignore[operator]
        "in two halves": functools.reduce(operator.add, parts[:9]) + functools.reduce(operator.add, parts[9:]),
        "from a plain chunk": functools.reduce(operator.add, [AIMessageChunk(content=[]), *parts]),
    }
    for way, full in ways.items():
        assert speech_of(full) == to_wav(PCM), way
        assert (full.text, type(full), len(blocks_of(full))) == ("Hello", AIMessageChunk, 1), way
        assert len([block for block in full.content if block["type"] == "audio"]) == 1, way
    plain = add_ai_message_chunks(parts[0], *parts[1:])
    assert speech_of(plain) == to_wav(PCM)
    assert len(blocks_of(plain)) == 1


@given(st.integers(1, 41))
def test_what_has_come_so_far_can_be_read(count: int) -> None:
    """At any moment the pieces join to the beginning of the file, in few blocks, and anybody may add the next."""
    parts = chunks()
    begun = functools.reduce(operator.add, parts[: count + 1])
    assert isinstance(begun, SpeechChunk)
    held = [block for block in begun.content if isinstance(block, dict) and block["type"] == "audio"]
    assert len(held) <= 8
    assert [block.get("index") for block in held][-1] == "lc_aud_0"
    so_far = b"".join(base64.b64decode(block["base64"]) for block in held)
    assert PCM.startswith(so_far[44:])
    assert len(blocks_of(begun)) == 1
    others = add_ai_message_chunks(AIMessageChunk(**{**begun.__dict__, "type": "AIMessageChunk"}), *parts[count + 1 :])
    assert speech_of(others) == to_wav(PCM)


def test_adding_up_copies_little() -> None:
    """Each character is copied about as often as the number of pieces has digits in base two, not once per piece."""
    builder, copied = ChunkBuilder(model="m", speaks=True), 0
    full: Any = builder.take(AudioDelta(b"ab" * 300))[0].message
    for _ in range(511):
        before = {len(block["base64"]) for block in full.content}
        full += builder.take(AudioDelta(b"ab" * 300))[0].message
        copied += sum(len(block["base64"]) for block in full.content if len(block["base64"]) not in before)
    assert copied <= 10 * sum(len(block["base64"]) for block in full.content)


@pytest.mark.filterwarnings("ignore::langchain_core._api.beta_decorator.LangChainBetaWarning")
def test_travels() -> None:
    """A chunk with speech dumps as LangChain's own, and survives pickling; the message made of it is plain."""
    parts = chunks()
    begun = functools.reduce(operator.add, parts[:10])
    assert type(loads(dumps(begun), allowed_objects="messages")) is AIMessageChunk
    assert pickle.loads(pickle.dumps(begun)) == begun
    full = functools.reduce(operator.add, parts)
    assert type(message_chunk_to_message(full)) is AIMessage
    assert speech_of(loads(dumps(full), allowed_objects="messages")) == to_wav(PCM)


def test_v1_chunks_keep_their_kind() -> None:
    """Chunks rewritten for output_version v1 add up as well."""
    versioned = [chunk.model_copy(update={"content": chunk.content_blocks}) for chunk in chunks()]
    assert speech_of(functools.reduce(operator.add, versioned)) == to_wav(PCM)


def test_events_hold_all_of_it() -> None:
    """Each piece is an event as it comes; the block that finishes is the whole file, with its length in the header."""
    builder = EventBuilder(model="m", message_id="1")
    events: list[Any] = []
    for delta in (TextDelta("Hi"), AudioDelta(PCM[:500]), AudioDelta(PCM[500:]), FinishDelta("stop")):
        events += builder.take(delta)
    events += builder.last()
    pieces = [event["delta"]["data"] for event in events if event.get("delta", {}).get("type") == "data-delta"]
    assert len(pieces) >= 2
    assert base64.b64decode("".join(pieces))[44:] == PCM
    (whole,) = [
        e["content"] for e in events if e["event"] == "content-block-finish" and e["content"]["type"] == "audio"
    ]
    assert (base64.b64decode(whole["base64"]), whole["mime_type"]) == (to_wav(PCM), "audio/wav")


def test_events_of_broken_calls() -> None:
    """A call whose arguments cannot be read finishes as an invalid one, with its text."""
    for arguments in ('{"q": ', "[1]"):
        builder = EventBuilder(model="m", message_id="1")
        builder.take(ToolCallDelta(index=0, id="c", name="find", arguments=arguments))
        block = builder.last()[0]["content"]
        assert (block["type"], block["args"]) == ("invalid_tool_call", arguments)


@pytest.fixture
def llm(standin: Standin) -> Any:
    """A model that speaks."""
    model = ChatQwenOmni(api_key=SecretStr(standin.api_key), base_url=standin.base_url, max_retries=0, **SPOKEN)
    yield model
    model.close()


@pytest.mark.filterwarnings("ignore::langchain_core._api.beta_decorator.LangChainBetaWarning")
@pytest.mark.parametrize("version", ["v0", "v1"])
def test_every_entry_point_gives_the_same_speech(llm: ChatQwenOmni, version: str, tmp_path: Path) -> None:
    """`invoke`, `stream` and protocol events give one WAV each, saved by one call, and they agree."""
    model = llm.model_copy(update={"output_version": version})
    events = model.stream_events([HumanMessage("Say hi.")], version="v3")
    answers = [model.invoke("Say hi."), functools.reduce(operator.add, model.stream("Say hi.")), events.output]
    saved = [save_speech(answer, tmp_path / f"{at}.wav") for at, answer in enumerate(answers)]
    assert len({path.read_bytes() for path in saved}) == 1
    with wave.open(io.BytesIO(saved[0].read_bytes())) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (24_000, 1, 2)
        assert file.getnframes() > 1000


def test_no_speech_to_save(tmp_path: Path) -> None:
    """A message without speech says what to do, and writes nothing."""
    for message in (AIMessage("hi"), HumanMessage("hi")):
        with pytest.raises(UnsupportedContentError, match="modalities"):
            save_speech(message, tmp_path / "a.wav")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("options", [{"model": "qwen3.8-omni-flash"}, {"tools": [{"name": "f", "description": "f"}]}])
def test_speech_is_refused_before_anything_is_sent(llm: ChatQwenOmni, standin: Standin, options: Any) -> None:
    """Models that only write, and calls with tools, cannot speak: a clear error, and no request."""
    with pytest.raises(ConfigurationError, match=r"speak|speech|audio"):
        llm.invoke("Say hi.", **options)
    assert standin.requests == []
