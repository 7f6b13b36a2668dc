"""Read the messages of a request: their roles, their texts, and where their media parts are.

Checks shapes only. The media that a part refers to are fetched by `standin.stores.intake`, decoded by
`standin.media.perceive` and checked by `media_limits`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from qwen_omni.standin.rules import refusal
from qwen_omni.standin.rules.refusal import invalid
from qwen_omni.standin.rules.tokens import Sampling

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from qwen_omni.standin.media.facts import Kind

_ROLES = ("system", "user", "assistant", "tool")
_SUPPORTED = "Supported values are: 'text','image_url','video_url' and 'video'."
_FPS = (0.1, 10.0)
_SAMPLING_KEYS = ("fps", "min_pixels", "max_pixels", "total_pixels")


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaPart:
    """One media part as written: its place, its kind and its addresses."""

    message: int
    part: int
    kind: Kind
    urls: tuple[str, ...]
    sampling: Sampling


def read_messages(body: dict[str, Any]) -> list[MediaPart]:
    """Check all messages and return their media parts in order.

    Raises:
        Refusal: The service does not accept a message.
    """
    messages = body.get("messages")
    if not messages:
        raise invalid("[] is too short - 'messages'")
    for message in messages:
        if message.get("role") not in _ROLES:
            raise invalid(
                f"{message.get('role')} is not one of ['system', 'assistant', 'user', 'tool'] - 'messages.role'"
            )
    if not any(message["role"] == "user" for message in messages):
        raise refusal.algo(refusal.NO_USER)
    _check_tool_turns(messages)
    found: list[MediaPart] = []
    high = body.get("vl_high_resolution_images") is True
    for index, message in enumerate(messages):
        found.extend(_parts_of(index, message, high_resolution=high))
    return found


def all_text(body: dict[str, Any]) -> str:
    """Return everything in the request that is billed as text."""
    pieces = [text for message in body["messages"] for text in texts_of(message)]
    pieces += [
        call["function"]["arguments"] for message in body["messages"] for call in message.get("tool_calls") or ()
    ]
    if body.get("tools"):
        pieces.append(json.dumps(body["tools"], ensure_ascii=False))
    return "\n".join(pieces)


def texts_of(message: dict[str, Any]) -> list[str]:
    """Return the texts of one message, in order."""
    content = message.get("content")
    if isinstance(content, str):
        return [content]
    parts = content if isinstance(content, list) else []
    return [part["text"] for part in parts if part.get("type") == "text"]


def prompt_texts(body: dict[str, Any]) -> list[str]:
    """Return the texts of all system and user messages."""
    prompts = (message for message in body["messages"] if message["role"] in ("system", "user"))
    return [text for message in prompts for text in texts_of(message)]


def last_user_texts(body: dict[str, Any]) -> list[str]:
    """Return the texts of the latest user message."""
    return next((texts_of(message) for message in reversed(body["messages"]) if message["role"] == "user"), [])


def _parts_of(index: int, message: dict[str, Any], *, high_resolution: bool) -> Iterator[MediaPart]:
    role, content = message["role"], message.get("content")
    if isinstance(content, str):
        return
    if content is None and role == "assistant" and message.get("tool_calls"):
        return
    if not isinstance(content, list) or role == "tool":
        raise invalid(f"The content of a {role} message must be a string: messages[{index}]")
    if not content:
        raise invalid(f"[] is too short - 'messages.{index}.content'")
    for place, part in enumerate(content):
        if part.get("type") == "text":
            if not isinstance(part.get("text"), str):
                raise invalid(f"Input should be a valid string: messages[{index}].content[{place}].text")
            continue
        media, urls = _reader(part, role)(part, f"messages[{index}].content[{place}]")
        sampling = _sampling(part, high_resolution=high_resolution)
        yield MediaPart(message=index, part=place, kind=media, urls=urls, sampling=sampling)


def _reader(part: dict[str, Any], role: str) -> Callable[[dict[str, Any], str], tuple[Kind, tuple[str, ...]]]:
    """Return the reader for a media part, if the role may have one."""
    kind = part.get("type")
    read = _READERS.get(kind or "")
    if read is None:
        raise invalid(f"Invalid value: {kind}. {_SUPPORTED}")
    if role != "user":
        raise invalid(f"Invalid value: {kind}. A {role} message takes text only.")
    return read


def _read_url(kind: Kind, part: dict[str, Any], place: str) -> tuple[Kind, tuple[str, ...]]:
    key = f"{kind}_url"
    held = part.get(key)
    url = held.get("url") if isinstance(held, dict) else None
    if not isinstance(url, str) or not url:
        raise invalid(f"Input should be an object with a url: {place}.{key}")
    return kind, (url,)


def _read_audio(part: dict[str, Any], place: str) -> tuple[Kind, tuple[str, ...]]:
    held = part.get("input_audio")
    if not isinstance(held, dict) or not isinstance(held.get("data"), str) or not held["data"]:
        raise invalid(f"Input should be an object with data and format: {place}.input_audio")
    if not isinstance(held.get("format"), str) or not held["format"]:
        raise invalid(f"UNSUPPORTED_FORMAT: format is empty: {place}.input_audio.format")
    return "audio", (held["data"],)


def _read_frames(part: dict[str, Any], place: str) -> tuple[Kind, tuple[str, ...]]:
    urls = part.get("video")
    if not isinstance(urls, list) or not all(isinstance(url, str) and url for url in urls):
        raise invalid(f"Input should be a list of images: {place}.video")
    return "frames", tuple(urls)


_READERS: dict[str, Callable[[dict[str, Any], str], tuple[Kind, tuple[str, ...]]]] = {
    "image_url": partial(_read_url, "image"), "video_url": partial(_read_url, "video"),
    "input_audio": _read_audio, "video": _read_frames,
}  # fmt: skip


def _sampling(part: dict[str, Any], *, high_resolution: bool) -> Sampling:
    numbers: dict[str, Any] = {}
    for key in _SAMPLING_KEYS:
        value = part.get(key)
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, int | float) or value <= 0:
            raise invalid(f"Input should be a positive number: {key}")
        numbers[key] = value
    if "fps" in numbers and not _FPS[0] <= numbers["fps"] <= _FPS[1]:
        raise invalid(f"Range of fps should be [{_FPS[0]}, {_FPS[1]:g}]")
    return Sampling(**numbers, high_resolution=high_resolution)


def _check_tool_turns(messages: list[dict[str, Any]]) -> None:
    """Check that every tool result answers a call just before it, and that every call has its result."""
    waiting: set[str] = set()
    for message in messages:
        if message["role"] == "tool":
            if message.get("tool_call_id") not in waiting:
                raise invalid('messages with role "tool" must be a response to a preceeding message with "tool_calls".')
            waiting.discard(message["tool_call_id"])
            continue
        if waiting:
            break
        waiting = {_checked_call(call) for call in message.get("tool_calls") or ()}
    if waiting:
        raise invalid(
            'An assistant message with "tool_calls" must be followed by tool messages responding to each '
            f'"tool_call_id". The following tool_call_ids did not have response messages: {", ".join(sorted(waiting))}'
        )


def _checked_call(call: dict[str, Any]) -> str:
    function = call.get("function") or {}
    if not call.get("id") or not function.get("name"):
        raise invalid("Input should be an object with id and function: tool_calls")
    try:
        json.loads(function.get("arguments", ""))
    except (TypeError, ValueError) as error:
        raise refusal.algo(refusal.BAD_ARGUMENTS) from error
    return str(call["id"])
