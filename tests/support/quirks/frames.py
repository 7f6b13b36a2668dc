"""Quirks of the service, as raw bytes, and the expected result of each.

This module builds the rows; the rows are in `streams` and `answers`.
"""

import base64
import json
from dataclasses import dataclass, field
from typing import Any

from qwen_omni import errors

STREAM_TYPE = "text/event-stream;charset=UTF-8"


@dataclass(frozen=True, kw_only=True)
class Quirk:
    """Bytes that the service sends, and the expected answer or error."""

    name: str
    body: bytes
    answer: dict[str, Any] | None = None
    error: type[errors.QwenOmniError] | None = None
    about: dict[str, Any] = field(default_factory=dict)
    status: int = 200
    content_type: str = STREAM_TYPE


def events(*values: object, done: bool = True, space: str = " ") -> bytes:
    """Frame values as an event stream; strings are sent verbatim."""
    texts = [value if isinstance(value, str) else json.dumps(value, ensure_ascii=False) for value in values]
    return "".join(f"data:{space}{text}\n\n" for text in [*texts, *(["[DONE]"] if done else [])]).encode()


def chunk(delta: dict[str, Any], finish: str | None = None, **more: Any) -> dict[str, Any]:
    """Make a chunk in the older envelope."""
    choice = {"index": 0, "delta": delta, "finish_reason": finish, "logprobs": None}
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "model": "m",
        "system_fingerprint": None,
        "choices": [choice],
        "usage": None,
        **more,
    }


ROLE = chunk({"role": "assistant", "content": ""})
STOP = chunk({"content": ""}, "stop")
COUNTS = {"prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 11}
USAGE = {"id": "chatcmpl-1", "choices": [], "usage": COUNTS}


def text(value: str) -> dict[str, Any]:
    """Make a chunk with text."""
    return chunk({"content": value})


def call(arguments: object, call_id: object = "", name: object = ..., index: int = 0) -> dict[str, Any]:
    """Make a chunk with a piece of a tool call; `...` leaves a key out."""
    function = {key: value for key, value in {"name": name, "arguments": arguments}.items() if value is not ...}
    return chunk(
        {"content": None, "tool_calls": [{"index": index, "id": call_id, "type": "function", "function": function}]}
    )


def refusal(code: str, message: str, **more: Any) -> dict[str, Any]:
    """Make an error in the compatible envelope."""
    return {"error": {"code": code, "param": None, "message": message, "type": code}, "request_id": "r-1", **more}


def plain(content: str | None, finish: str | None, **message: Any) -> bytes:
    """Make an answer that was not streamed."""
    whole = {"role": "assistant", "content": content, **message}
    choice = {"index": 0, "message": whole, "finish_reason": finish}
    return json.dumps({"id": "chatcmpl-1", "model": "m", "choices": [choice], "usage": COUNTS}).encode()


def speech(*pieces: object) -> list[dict[str, Any]]:
    """Make chunks with speech and no content key."""
    return [chunk({"audio": piece if isinstance(piece, dict) else {"data": piece, "id": "a"}}) for piece in pieces]


PCM = bytes(range(40))
B64 = base64.b64encode(PCM).decode()
CALL = {"tool_calls": [("call_1", "f", '{"a": 1}')], "finish_reason": "tool_calls"}
CALLED = chunk({}, "tool_calls")
ALGO = "<400> InternalError.Algo.InvalidParameter: the tool_choice is refused while thinking"
JSON_TYPE = "application/json"
