"""Deltas and answers → LangChain messages: text, thinking, speech, tool calls and usage."""

import base64
import functools
import itertools
import json
import operator
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, strategies as st
from langchain_core.language_models._compat_bridge import chunks_to_events
from langchain_core.messages import AIMessage, AIMessageChunk

from langchain_qwen_omni._convert_output import PROVIDER, ChunkBuilder, to_message
from qwen_omni.responses import (
    AudioDelta,
    Delta,
    FinishDelta,
    ResponseBuilder,
    StartDelta,
    TextDelta,
    ThinkingDelta,
    ToolCallDelta,
    Usage,
    UsageDelta,
    to_wav,
)

START = StartDelta(id="chatcmpl-1", model="qwen3.8-omni-flash-2026-09-18")
USAGE = UsageDelta(
    Usage(input_tokens=9, output_tokens=5, total_tokens=14, input_details={"video": 7, "text": 2, "cached": 1},
          output_details={"reasoning": 3, "text": 2})
)  # fmt: skip
PCM = bytes(range(200)) * 3

ANSWERS: dict[str, Sequence[Delta]] = {
    "text": [TextDelta("Hel"), TextDelta("lo"), FinishDelta("stop")],
    "text in the finishing chunk": [TextDelta("Hel"), FinishDelta("stop"), TextDelta("lo")],
    "thinking": [ThinkingDelta("I "), ThinkingDelta("think"), TextDelta("So"), TextDelta("."), FinishDelta("stop")],
    "thinking alone": [ThinkingDelta("I think"), FinishDelta("length")],
    "nothing": [FinishDelta("stop")],
    "a call": [
        ToolCallDelta(index=0, id="c1", name="find", arguments=""),
        ToolCallDelta(index=0, arguments='{"q": '),
        ToolCallDelta(index=0, arguments='"cats"}'),
        FinishDelta("tool_calls"),
    ],
    "a call without arguments": [ToolCallDelta(index=0, id="c1", name="now"), FinishDelta("tool_calls")],
    "two calls after thinking": [
        ThinkingDelta("both"),
        ToolCallDelta(index=0, id="c1", name="find", arguments='{"q": 1}'),
        ToolCallDelta(index=1, id="c2", name="keep", arguments='{"q": 2}'),
        FinishDelta("tool_calls"),
    ],
    "text and a call": [
        TextDelta("Let me look."),
        ToolCallDelta(index=0, id="c1", name="find", arguments="{}"),
        FinishDelta("tool_calls"),
    ],
}  # fmt: skip


def streamed(deltas: Sequence[Delta], *, speaks: bool = False) -> list[AIMessageChunk]:
    builder = ChunkBuilder(model="asked-for", speaks=speaks)
    chunks = [chunk for delta in (START, *deltas, USAGE) for chunk in builder.take(delta)]
    return [chunk.message for chunk in (*chunks, *builder.last())]  # type: ignore[misc]


def merged(chunks: list[AIMessageChunk]) -> AIMessageChunk:
    return functools.reduce(operator.add, chunks)


def whole(deltas: Sequence[Delta]) -> AIMessage:
    builder = ResponseBuilder()
    for delta in (START, *deltas, USAGE):
        builder.add(delta)
    return to_message(builder.build(), model="asked-for")


def bare(blocks: Sequence[Any]) -> list[dict[str, Any]]:
    """Blocks without their places in the stream."""
    return [{name: value for name, value in block.items() if name != "index"} for block in blocks]


@pytest.mark.parametrize("deltas", ANSWERS.values(), ids=ANSWERS.keys())
def test_merged_chunks_are_the_whole_message(deltas: Sequence[Delta]) -> None:
    """Chunks added up equal the message of the whole answer: blocks, text, calls, usage, metadata."""
    chunks, message = streamed(deltas), whole(deltas)
    full = merged(chunks)
    assert bare(full.content_blocks) == bare(message.content_blocks)
    assert (full.text, full.tool_calls, full.usage_metadata, full.response_metadata) == (
        message.text, message.tool_calls, message.usage_metadata, message.response_metadata,
    )  # fmt: skip
    assert isinstance(full.content, str) == isinstance(message.content, str)


@pytest.mark.parametrize("deltas", ANSWERS.values(), ids=ANSWERS.keys())
def test_ends_of_the_stream(deltas: Sequence[Delta]) -> None:
    """The first chunk names provider and model, the last one ends the answer, and usage comes once."""
    chunks = streamed(deltas)
    assert chunks[0].response_metadata["model_provider"] == PROVIDER
    assert chunks[0].response_metadata["model_name"] == START.model
    assert [chunk.chunk_position for chunk in chunks] == [None] * (len(chunks) - 1) + ["last"]
    assert sum(chunk.usage_metadata is not None for chunk in chunks) == 1
    assert sum("model_name" in chunk.response_metadata for chunk in chunks) == 1
    assert "finish_reason" in chunks[-1].response_metadata


@pytest.mark.parametrize("deltas", ANSWERS.values(), ids=ANSWERS.keys())
def test_v1_chunks_merge(deltas: Sequence[Delta]) -> None:
    """With output_version v1 blocks of different kinds never merge into each other, calls included."""
    versioned = [
        chunk.model_copy(
            update={"content": chunk.content_blocks,
                    "response_metadata": {**chunk.response_metadata, "output_version": "v1"}}
        )
        for chunk in streamed(deltas)
    ]  # fmt: skip
    assert bare(merged(versioned).content_blocks) == bare(whole(deltas).content_blocks)


@pytest.mark.parametrize("deltas", ANSWERS.values(), ids=ANSWERS.keys())
def test_events(deltas: Sequence[Delta]) -> None:
    """Protocol events finish with the same blocks, each under an index of its own."""
    builder = ChunkBuilder(model="asked-for", speaks=False)
    chunks = [chunk for delta in (START, *deltas, USAGE) for chunk in builder.take(delta)]
    events = list(chunks_to_events(iter([*chunks, *builder.last()])))
    finished = [event["content"] for event in events if event["event"] == "content-block-finish"]
    assert bare(finished) == bare(whole(deltas).content_blocks)  # type: ignore[arg-type]


def test_broken_arguments_are_an_invalid_call() -> None:
    """Arguments that are not a JSON object make an invalid call that keeps their text."""
    for arguments in ('{"q": ', "[1]"):
        message = whole([ToolCallDelta(index=0, id="c", name="find", arguments=arguments), FinishDelta("tool_calls")])
        assert message.tool_calls == []
        assert message.invalid_tool_calls[0]["args"] == arguments
        assert "not" in str(message.invalid_tool_calls[0]["error"])


def audio_of(message: AIMessage) -> tuple[dict[str, Any], bytes]:
    (block,) = [block for block in message.content_blocks if block["type"] == "audio"]
    return dict(block), base64.b64decode(str(block["base64"]), validate=True)


@given(cuts=st.lists(st.integers(0, len(PCM) // 2), max_size=8))
def test_speech_survives_any_cut(cuts: list[int]) -> None:
    """However the sound is cut, the merged pieces are one WAV with one MIME type and every sample."""
    edges = sorted({0, len(PCM), *(2 * cut for cut in cuts)})
    pieces = [AudioDelta(PCM[start:end]) for start, end in itertools.pairwise(edges)]
    deltas = [TextDelta("Hel"), *pieces, TextDelta("lo"), FinishDelta("stop")]
    full = merged(streamed(deltas, speaks=True))
    block, data = audio_of(full)
    assert (block["mime_type"], full.text) == ("audio/wav", "Hello")
    assert data == to_wav(PCM)
    whole_block, whole_data = audio_of(whole(deltas))
    assert whole_block["mime_type"] == "audio/wav"
    assert whole_data == data
    assert bare(full.content_blocks)[0] == bare(whole(deltas).content_blocks)[0] == {"type": "text", "text": "Hello"}


@given(
    st.dictionaries(
        st.text(max_size=4), st.text(max_size=6) | st.integers() | st.lists(st.text(max_size=3)), max_size=3
    ),
    st.data(),
)
def test_cut_arguments_are_invalid_in_streams_too(arguments: dict[str, Any], data: st.DataObject) -> None:
    """LangChain completes what is open, and an agent that streams would run a tool with half of its arguments."""
    text = json.dumps(arguments, ensure_ascii=data.draw(st.booleans()))
    cut = text[: data.draw(st.integers(1, len(text) - 1))]
    deltas = [ToolCallDelta(index=0, id="c1", name="f", arguments=cut[:2]), ToolCallDelta(index=0, arguments=cut[2:])]
    chunks = ChunkBuilder(model="m", speaks=False)
    made = [chunk for delta in (START, *deltas, FinishDelta("length")) for chunk in chunks.take(delta)]
    whole = functools.reduce(operator.add, [chunk.message for chunk in (*made, *chunks.last())])
    assert whole.tool_calls == []
    assert [(call["name"], call["id"]) for call in whole.invalid_tool_calls] == [("f", "c1")]
    assert whole.invalid_tool_calls[0]["args"].startswith(cut)
    chunks = ChunkBuilder(model="m", speaks=False)
    made = [
        chunk
        for delta in (START, ToolCallDelta(index=0, id="c1", name="f", arguments=text))
        for chunk in chunks.take(delta)
    ]
    whole = functools.reduce(operator.add, [chunk.message for chunk in (*made, *chunks.last())])
    assert [call["args"] for call in whole.tool_calls] == [arguments]
    assert whole.tool_call_chunks[0]["args"] == text
