"""Format an answer as the service does: as events of a stream, or as one JSON body.

Pure: takes an `Answer` and returns bytes. The two envelopes, the empty ids of later tool deltas, the text in some
finishing chunks and the usage chunk without choices are all as recorded from the service.
"""

from __future__ import annotations

import json
import re
import time
import uuid
import zlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from qwen_omni.standin.answers.speech import pieces_of
from qwen_omni.standin.answers.tools import written

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qwen_omni.standin.server.script import ToolCall

DONE = b"data: [DONE]\n\n"
_PIECES = re.compile(r"\s*\S+(?:\s+\S+)?\s*?|\s+")
_LONG_PIECE = 40
_ARGUMENT_PIECE = 12
_FULL_LAST_CHUNK = 8  # one in eight recorded streams has its last text in the finishing chunk
_AUDIO_LIFETIME = 86_400


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The complete content of one turn.

    Text may be a list of parts, and all tool calls may share one index, as in similar services.
    """

    model: str
    text: str
    reasoning: str | None
    tool_calls: tuple[ToolCall, ...]
    finish_reason: str
    usage: dict[str, Any]
    include_usage: bool
    new_envelope: bool
    transcript_only: bool = False
    pcm: bytes = b""
    annotations: tuple[dict[str, str], ...] = ()
    content_parts: bool = False
    one_index: bool = False
    id: str = field(default_factory=lambda: f"chatcmpl-{uuid.uuid4()}")
    created: int = field(default_factory=lambda: int(time.time()))


def events(answer: Answer) -> list[bytes]:
    """Return the whole stream, one event per entry."""
    deltas = list(_deltas(answer))
    last: dict[str, Any] = {} if answer.tool_calls else {"content": ""}
    in_last = zlib.crc32(answer.text.encode()) % _FULL_LAST_CHUNK == 0
    if in_last and not answer.tool_calls and not answer.pcm and deltas[-1].get("content"):
        last = deltas.pop()
    chunks = [_chunk(answer, delta) for delta in deltas]
    if answer.tool_calls:
        chunks[-1]["choices"][0].pop("finish_reason")
        chunks[-1]["choices"][0].pop("logprobs", None)
    chunks.append(_chunk(answer, last, finish=answer.finish_reason))
    if answer.include_usage:
        chunks.append({**_chunk(answer, {}), "choices": [], "usage": answer.usage})
    return [b"data: " + json.dumps(chunk, ensure_ascii=False).encode() + b"\n\n" for chunk in chunks] + [DONE]


def body(answer: Answer) -> bytes:
    """Return the answer to a request that did not stream."""
    message: dict[str, Any] = {"role": "assistant", "content": _content(answer, answer.text)}
    message["reasoning_content"] = answer.reasoning or ""
    if answer.annotations:
        message["annotations"] = list(answer.annotations)
    if answer.tool_calls:
        message["tool_calls"] = [
            {"index": index, "id": _call_id(call), "type": "function", "function": _function(call)}
            for index, call in enumerate(answer.tool_calls)
        ]
    choice = {"index": 0, "message": message, "finish_reason": answer.finish_reason, "logprobs": None}
    payload = {
        "id": answer.id, "object": "chat.completion", "created": answer.created, "model": answer.model,
        "choices": [choice], "usage": answer.usage,
    }  # fmt: skip
    if not answer.new_envelope:
        payload["system_fingerprint"] = None
    return json.dumps(payload, ensure_ascii=False).encode()


def split_text(text: str) -> list[str]:
    """Split a text into pieces of a word or two; their concatenation is the text. Unspaced text is split by length."""
    pieces = []
    for match in _PIECES.finditer(text):
        word = match.group()
        pieces += [word[at : at + _LONG_PIECE] for at in range(0, len(word), _LONG_PIECE)]
    return pieces


def _chunk(answer: Answer, delta: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
    if answer.annotations:  # with every chunk, and a role that is null after the first
        delta = {"role": None, **delta, "annotations": list(answer.annotations)}
    choice: dict[str, Any] = {"delta": delta, "finish_reason": finish, "index": 0, "logprobs": None}
    head: dict[str, Any] = {"choices": [choice], "object": "chat.completion.chunk", "usage": None}
    if answer.new_envelope:
        choice.pop("logprobs")
        return {"model": answer.model, "id": answer.id, "created": answer.created, **head}
    return {**head, "created": answer.created, "system_fingerprint": None, "model": answer.model, "id": answer.id}


def _deltas(answer: Answer) -> Iterator[dict[str, Any]]:
    """Yield deltas in the service's order: role, reasoning, text, tool calls, audio."""
    none = "" if answer.new_envelope else None
    thinks = answer.reasoning is not None
    first: dict[str, Any] = {"role": "assistant", "content": none if thinks else ""}
    yield {**first, "reasoning_content": ""} if thinks else first
    for piece in split_text(answer.reasoning or ""):
        yield {"content": none, "reasoning_content": piece}
    for piece in split_text(answer.text):
        if answer.transcript_only and answer.pcm:
            yield {"audio": {"transcript": piece}}
        else:
            content = _content(answer, piece)
            yield {"content": content, "reasoning_content": none} if thinks else {"content": content}
    for index, call in enumerate(answer.tool_calls):
        yield from _call_deltas(0 if answer.one_index else index, call, with_nulls=thinks)
    yield from _audio_deltas(answer)


def _content(answer: Answer, text: str) -> str | list[dict[str, str]]:
    return [{"type": "text", "text": text}] if answer.content_parts else text


def _call_deltas(index: int, call: ToolCall, *, with_nulls: bool) -> Iterator[dict[str, Any]]:
    """Yield a call: its head, then its arguments under an empty id; a second call starts with some arguments."""
    shared = {"content": None, "reasoning_content": None} if with_nulls else {}
    arguments = written(call)
    opening = arguments[:_ARGUMENT_PIECE] if index else ""
    rest = arguments[len(opening) :]

    def delta(call_id: str, function: dict[str, str | None]) -> dict[str, Any]:
        return {**shared, "tool_calls": [{"index": index, "id": call_id, "type": "function", "function": function}]}

    yield delta(_call_id(call), {"name": call.name, "arguments": opening})
    for at in range(0, len(rest), _ARGUMENT_PIECE):
        yield delta("", {"arguments": rest[at : at + _ARGUMENT_PIECE]})
    yield delta("", {"arguments": None})


def _audio_deltas(answer: Answer) -> Iterator[dict[str, Any]]:
    name = f"audio_{uuid.uuid4()}"
    one_string = zlib.crc32(answer.text.encode()) % 2 == 0
    for data in pieces_of(answer.pcm, one_string=one_string):
        yield {"audio": {"data": data, "expires_at": answer.created + _AUDIO_LIFETIME, "id": name}}


def _call_id(call: ToolCall) -> str:
    return call.id or f"call_{uuid.uuid4().hex[:24]}"


def _function(call: ToolCall) -> dict[str, str]:
    return {"name": call.name, "arguments": written(call)}
