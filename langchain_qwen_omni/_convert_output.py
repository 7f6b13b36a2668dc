"""Answers → LangChain messages, chunks, and events of its protocol (`stream_events(version="v3")`). Pure.

Content is a plain string if the model returns text only. With reasoning or speech it is a list of standard blocks, each
with an `index` that begins with "lc_" while streaming, so that chunks merge block by block and never with a tool call.
Merged chunks equal the whole message, apart from these indices. `_speech` joins the pieces of audio.

LangChain's own bridge builds events from chunks and keeps only the last piece of audio. Here each piece is a
`data-delta` as it arrives, and the finished block holds all of it as one playable WAV. The order is the bridge's: all
blocks finish when the answer does.
"""

import abc
import base64
from collections.abc import Mapping
from typing import Any, Generic, TypeVar, cast

from langchain_core.messages import AIMessage, AIMessageChunk, InvalidToolCall, ToolCall, content as blocks
from langchain_core.messages.ai import InputTokenDetails, OutputTokenDetails, UsageMetadata
from langchain_core.messages.block_translators import register_translator
from langchain_core.messages.tool import invalid_tool_call, tool_call, tool_call_chunk
from langchain_core.outputs import ChatGenerationChunk
from langchain_core.utils.json import parse_partial_json

from langchain_qwen_omni._speech import AUDIO_INDEX, WAV, Pieces, SpeechChunk, join_speech, with_true_sizes
from qwen_omni.integrations.request_builder import estimated_beside, media_beside
from qwen_omni.responses import (
    AudioDelta,
    Delta,
    FinishDelta,
    Response,
    StartDelta,
    TextDelta,
    ThinkingDelta,
    ToolCallDelta,
    Usage,
    UsageDelta,
    read_arguments,
    to_wav,
)

PROVIDER = "qwen-omni"
FINISH_REASON = "finish_reason"  # LangChain's name for it too
_THINKING, _TEXT, _CALL = "lc_rs_0", "lc_txt_0", "lc_tc_"


def to_message(response: Response, *, model: str, notes: Mapping[str, str] | None = None) -> AIMessage:
    """Convert a whole answer to a message; speech in it is one playable WAV, and `notes` are added to its metadata."""
    calls, broken = _to_calls(response)
    metadata: dict[str, Any] = {"model_provider": PROVIDER, "model_name": response.model or model, **(notes or {})}
    if response.id:
        metadata["id"] = response.id
    if response.finish_reason:
        metadata["finish_reason"] = response.finish_reason
    metadata |= estimated_beside(response.usage) | media_beside(response.media)
    return AIMessage(
        content=_to_content(response),
        tool_calls=calls,
        invalid_tool_calls=broken,
        usage_metadata=dump_usage(response.usage) if response.usage else None,
        response_metadata=metadata,
    )


def _to_content(response: Response) -> str | list[str | dict[str, Any]]:
    if not response.thinking and not response.audio:
        return response.text
    content: list[str | dict[str, Any]] = []
    if response.thinking:
        content.append({"type": "reasoning", "reasoning": response.thinking})
    if response.text:
        content.append({"type": "text", "text": response.text})
    if response.audio:
        wav = base64.b64encode(to_wav(response.audio, response.sample_rate)).decode()
        content.append({"type": "audio", "base64": wav, "mime_type": WAV})
    return content


def _to_calls(response: Response) -> tuple[list[ToolCall], list[InvalidToolCall]]:
    calls, broken = [], []
    for call in response.tool_calls:
        arguments = read_arguments(call.arguments)
        if isinstance(arguments, dict):
            calls.append(tool_call(name=call.name, args=arguments, id=call.id or None))
        else:
            broken.append(invalid_tool_call(name=call.name, args=call.arguments, id=call.id or None, error=arguments))
    return calls, broken


def dump_usage(usage: Usage) -> UsageMetadata:
    """Convert token counts to LangChain's format; kinds without a LangChain name (video, image, text) keep ours."""
    cached = {"cache_read" if name == "cached" else name: count for name, count in usage.input_details.items()}
    return UsageMetadata(
        input_tokens=usage.input_tokens,
        output_tokens=usage.output_tokens,
        total_tokens=usage.total_tokens,
        input_token_details=cast("InputTokenDetails", cached),
        output_token_details=cast("OutputTokenDetails", dict(usage.output_details)),
    )


Piece = TypeVar("Piece")


class AnswerBuilder(abc.ABC, Generic[Piece]):
    """Builds the pieces of one streamed answer: `take` each delta, then `last` when the answer is complete."""

    def __init__(self, *, model: str) -> None:
        self._head: dict[str, Any] = {"model_name": model}
        self._metadata: dict[str, Any] = {}
        self._usage: UsageMetadata | None = None
        self._speech = Pieces()

    def take(self, delta: Delta) -> list[Piece]:
        """Return the pieces of one delta."""
        match delta:
            case TextDelta():
                return self._text(delta.text)
            case ThinkingDelta():
                return self._thinking(delta.text)
            case ToolCallDelta():
                return self._call(delta)
            case AudioDelta():
                return self._audio_pieces(self._speech.feed(delta))
            case StartDelta():
                named = {"model_name": delta.model, "id": delta.id}
                self._head |= {name: value for name, value in named.items() if value}
                self._metadata |= media_beside(delta.media)
            case FinishDelta():
                self._metadata[FINISH_REASON] = delta.reason
            case UsageDelta():
                self._usage = dump_usage(delta.usage)
                self._metadata |= estimated_beside(delta.usage)
        return []

    @abc.abstractmethod
    def last(self, notes: Mapping[str, str] | None = None) -> list[Piece]:
        """Return the final pieces of the answer, with the usage, the finish reason and `notes`."""

    @abc.abstractmethod
    def _text(self, text: str) -> list[Piece]: ...

    @abc.abstractmethod
    def _thinking(self, text: str) -> list[Piece]: ...

    @abc.abstractmethod
    def _call(self, delta: ToolCallDelta) -> list[Piece]: ...

    @abc.abstractmethod
    def _audio_pieces(self, piece: str) -> list[Piece]: ...


class ChunkBuilder(AnswerBuilder[ChatGenerationChunk]):
    """Builds the chunks of one streamed answer.

    Example:
        >>> chunks = ChunkBuilder(model="qwen3.8-omni-flash", speaks=False)
        >>> chunks.take(TextDelta("Hello"))[0].text, chunks.take(FinishDelta("stop"))
        ('Hello', [])
        >>> chunks.last()[0].message.chunk_position
        'last'
    """

    def __init__(self, *, model: str, speaks: bool) -> None:
        super().__init__(model=model)
        self._blocks = speaks  # whether text is sent in blocks, because there are other blocks
        self._kind: type[AIMessageChunk] = SpeechChunk if speaks else AIMessageChunk
        self._spoken = False
        self._arguments: dict[int, list[str]] = {}

    def _text(self, text: str) -> list[ChatGenerationChunk]:
        return self._chunk(_text_block(text) if self._blocks else text)

    def _thinking(self, text: str) -> list[ChatGenerationChunk]:
        self._blocks = True
        return self._chunk([{"type": "reasoning", "reasoning": text, "index": _THINKING}])

    def _call(self, delta: ToolCallDelta) -> list[ChatGenerationChunk]:
        self._arguments.setdefault(delta.index, []).append(delta.arguments)
        piece = tool_call_chunk(name=delta.name, args=delta.arguments, id=delta.id, index=delta.index)
        return self._chunk([] if self._blocks else "", tool_call_chunks=[piece])

    def _audio_pieces(self, piece: str) -> list[ChatGenerationChunk]:
        if not piece:
            return []
        first = not self._spoken
        self._kind, self._blocks, self._spoken = SpeechChunk, True, True
        return self._chunk(_audio(piece, {"mime_type": WAV} if first else {}))

    def _chunk(self, content: str | list[Any], **fields: Any) -> list[ChatGenerationChunk]:  # noqa: ANN401
        """Return a chunk; the first has the name of the model and the id of the answer."""
        head, self._head = self._head, {}
        metadata = {"model_provider": PROVIDER, **head, **fields.pop("response_metadata", {})}
        return [ChatGenerationChunk(message=self._kind(content=content, response_metadata=metadata, **fields))]

    def last(self, notes: Mapping[str, str] | None = None) -> list[ChatGenerationChunk]:
        """Return the final chunk of the answer."""
        rest = self._speech.rest()
        ends = [(index, _unreadable_end("".join(pieces))) for index, pieces in self._arguments.items()]
        return self._chunk(
            _audio(rest) if rest else [] if self._blocks else "",
            response_metadata={**self._metadata, **(notes or {})},
            usage_metadata=self._usage,
            tool_call_chunks=[tool_call_chunk(args=end, index=index) for index, end in ends if end],
            chunk_position="last",
        )


_MISMATCHES = ("", "]", "}", '"]', '"}', '""]', '""}')
"""Endings that make JSON invalid: after an open object or list, inside a string, and after a backslash in one."""


def _unreadable_end(arguments: str) -> str:
    """Return a suffix for truncated arguments that keeps LangChain from completing them; usually empty.

    LangChain closes open brackets and accepts the result, even at the end of a stream: a tool would run with half its
    arguments.
    """
    if isinstance(read_arguments(arguments), dict):
        return ""
    return next((end for end in _MISMATCHES if not _is_completed(arguments + end)), "")


def without_mismatch(arguments: str) -> str:
    """Return truncated arguments without the suffix that a stream added at its end; a quote that may be theirs stays.

    Example:
        >>> without_mismatch('{"places": ["Rome", "Oslo"}'), without_mismatch('{"places": ["Rome"]}')
        ('{"places": ["Rome", "Oslo"', '{"places": ["Rome"]}')
    """
    for end in filter(None, _MISMATCHES):
        arrived = arguments.removesuffix(end)
        if arrived != arguments and _unreadable_end(arrived) == end:
            return arrived
    return arguments


def is_mismatch(chunk: AIMessageChunk) -> bool:
    """Whether the tool call chunks of a stream's last chunk are suffixes that its end added."""
    ours = chunk.response_metadata.get("model_provider") == PROVIDER
    return (
        ours and chunk.chunk_position == "last" and all(call["args"] in _MISMATCHES for call in chunk.tool_call_chunks)
    )


def _is_completed(arguments: str) -> bool:
    try:
        return isinstance(parse_partial_json(arguments), dict)
    except ValueError:
        return False


def _text_block(text: str) -> list[Any]:
    return [{"type": "text", "text": text, "index": _TEXT}]


def _audio(piece: str, more: dict[str, str] | None = None) -> list[Any]:
    return [{"type": "audio", "base64": piece, "index": AUDIO_INDEX, **(more or {})}]


def to_blocks(message: AIMessage) -> list[blocks.ContentBlock]:
    """Return the standard content blocks of a whole message of this package."""
    content = [message.content] if isinstance(message.content, str) else message.content
    found: list[Any] = [{"type": "text", "text": item} if isinstance(item, str) else item for item in content if item]
    inside = {block.get("id") for block in found if block.get("type") == "tool_call"}
    calls: list[Any] = [dict(call) for call in message.tool_calls if call.get("id") is None or call["id"] not in inside]
    return [*join_speech(found), *calls]


def to_chunk_blocks(chunk: AIMessageChunk) -> list[blocks.ContentBlock]:
    """Return the standard content blocks of a chunk of this package, or of merged chunks, with their own indices."""
    if chunk.chunk_position == "last":
        return to_blocks(chunk)
    content = [chunk.content] if isinstance(chunk.content, str) else chunk.content
    found: list[Any] = []
    for item in content:
        if item:
            found += _text_block(item) if isinstance(item, str) else [item]
    found = join_speech(found)
    for call in chunk.tool_call_chunks:
        found.append({**call, "type": "tool_call_chunk", "index": f"{_CALL}{call.get('index') or 0}"})
    return found


register_translator(PROVIDER, to_blocks, cast("Any", to_chunk_blocks))


Event = dict[str, Any]


class _Block:
    """One block in progress: its start, and the pieces received so far."""

    def __init__(self, at: int, start: dict[str, Any]) -> None:
        self.at = at
        self.start = start
        self.pieces: list[str] = []

    def finished(self) -> dict[str, Any]:
        """Return the whole block."""
        grown = "".join(self.pieces)
        match self.start["type"]:
            case "text" | "reasoning" as kind:
                return {"type": kind, kind: grown}
            case "audio":
                return {**self.start, "base64": with_true_sizes(grown)}
            case _:
                return _finished_call(self.start, grown)


def _finished_call(start: dict[str, Any], arguments: str) -> dict[str, Any]:
    named = {"id": start["id"], "name": start["name"]}
    read = read_arguments(arguments)
    if isinstance(read, dict):
        return {"type": "tool_call", **named, "args": read}
    return {"type": "invalid_tool_call", **named, "args": arguments, "error": read}


class EventBuilder(AnswerBuilder[Event]):
    """Builds the events of one answer.

    Example:
        >>> events = EventBuilder(model="qwen3.8-omni-flash", message_id="m1")
        >>> [event["event"] for event in events.take(TextDelta("Hello"))]
        ['message-start', 'content-block-start', 'content-block-delta']
    """

    def __init__(self, *, model: str, message_id: str) -> None:
        super().__init__(model=model)
        self._id = message_id
        self._begun = False
        self._blocks: dict[str, _Block] = {}

    def _text(self, text: str) -> list[Event]:
        return self._grow("text", {"type": "text", "text": ""}, text, {"type": "text-delta", "text": text})

    def _thinking(self, text: str) -> list[Event]:
        grown = {"type": "reasoning-delta", "reasoning": text}
        return self._grow("reasoning", {"type": "reasoning", "reasoning": ""}, text, grown)

    def last(self, notes: Mapping[str, str] | None = None) -> list[Event]:
        """Return the final events of the answer."""
        events = self._audio_pieces(self._speech.rest())
        events += self._start()
        events += [
            {"event": "content-block-finish", "index": block.at, "content": block.finished()}
            for block in self._blocks.values()
        ]
        metadata = {"model_provider": PROVIDER, **self._head, **self._metadata, **(notes or {})}
        finish: Event = {"event": "message-finish", "metadata": metadata}
        if self._usage is not None:
            finish["usage"] = dict(self._usage)
        return [*events, finish]

    def _start(self) -> list[Event]:
        if self._begun:
            return []
        self._begun = True
        metadata = {"provider": PROVIDER, "model": self._head["model_name"]}
        return [{"event": "message-start", "role": "ai", "id": self._id, "metadata": metadata}]

    def _grow(self, key: str, start: dict[str, Any], piece: str, grown: dict[str, Any]) -> list[Event]:
        events = self._start()
        block = self._blocks.get(key)
        if block is None:
            block = self._blocks[key] = _Block(len(self._blocks), start)
            events.append({"event": "content-block-start", "index": block.at, "content": dict(start)})
        if piece:
            block.pieces.append(piece)
            events.append({"event": "content-block-delta", "index": block.at, "delta": grown})
        return events

    def _audio_pieces(self, piece: str) -> list[Event]:
        if not piece:
            return []
        grown = {"type": "data-delta", "data": piece, "encoding": "base64"}
        return self._grow("audio", {"type": "audio", "mime_type": WAV}, piece, grown)

    def _call(self, delta: ToolCallDelta) -> list[Event]:
        key = f"call {delta.index}"
        start = {"type": "tool_call_chunk", "id": delta.id, "name": delta.name, "args": "", "index": delta.index}
        events = self._grow(key, start, delta.arguments, {"type": "tool-call-delta", "args": delta.arguments})
        known = self._blocks[key].start  # a name that comes late is in the finished block
        known |= {"id": known["id"] or delta.id, "name": known["name"] or delta.name}
        return events
