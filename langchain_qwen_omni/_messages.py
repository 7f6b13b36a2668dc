"""LangChain messages → the neutral conversation (`qwen_omni.messages`).

Shape only; `_parts` reads the content blocks. Nothing is dropped in silence, with two exceptions that the
service leaves no choice about, told here: speech in earlier answers is sent as its text alone (the service
takes no other), and thinking of earlier answers goes only to models that take it back.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage, ChatMessage, HumanMessage, SystemMessage, ToolMessage

from langchain_qwen_omni._parts import kind_of, refuse, to_part
from qwen_omni.errors import UnsupportedContentError
from qwen_omni.messages import Message, Part, Role, ThinkingPart, ToolCallPart, media_of
from qwen_omni.turns import Turn, join_turns, tool_turn

_ROLES: dict[str, Role] = {"system": "system", "developer": "system", "user": "user", "human": "user",
                           "assistant": "assistant", "ai": "assistant"}  # fmt: skip
_CALLS = frozenset({"tool_call", "tool_call_chunk", "invalid_tool_call", "tool_use"})
# Blocks of earlier answers that hold speech: its words stand beside it as text.
_SPEECH = frozenset({"audio", "output_audio"})


def to_messages(messages: Sequence[BaseMessage]) -> tuple[Message, ...]:
    """Turn a LangChain conversation into ours.

    The service takes only text from tools; images, sound and video that a tool returned go into a user message
    behind the tool results, in their order.

    Raises:
        UnsupportedContentError: a message or block that cannot be sent, with its place and kind.
        MediaError: media that is not what it says.
    """
    return join_turns(_turn(message, index) for index, message in enumerate(messages))


def _turn(message: BaseMessage, index: int) -> Turn:
    match message:
        case ToolMessage():
            return _tool_result(message, index)
        case AIMessage():
            return Message(role="assistant", parts=_answer(message, index), name=message.name), []
        case HumanMessage():
            return _plain(message, "user", index), []
        case SystemMessage():
            return _plain(message, "system", index), []
        case ChatMessage() if message.role in _ROLES:
            return _plain(message, _ROLES[message.role], index), []
        case _:
            raise UnsupportedContentError(f"message {index}: {type(message).__name__} has no place in a conversation.")


def _plain(message: BaseMessage, role: Role, index: int) -> Message:
    parts = tuple(to_part(block, place) for block, place in _blocks(message.content, index, role))
    return Message(role=role, parts=parts, name=message.name)


def _blocks(content: str | Sequence[Any], index: int, role: str) -> Iterator[tuple[Any, str]]:
    """List the blocks of a message, each with its place in words."""
    for at, block in enumerate([content] if isinstance(content, str) else content):
        yield block, f"message {index} ({role}) part {at}"


def _tool_result(message: ToolMessage, index: int) -> Turn:
    parts = [to_part(block, place) for block, place in _blocks(message.content, index, "tool")]
    return tool_turn(parts, tool_call_id=message.tool_call_id, name=message.name)


def _answer(message: AIMessage, index: int) -> tuple[Part, ...]:
    parts: list[Part] = []
    told = {call.get("id") for call in (*message.tool_calls, *message.invalid_tool_calls)}
    for block, place in _blocks(list(message.content_blocks), index, "assistant"):
        part = _said(_unwrapped(block), place, told)
        if part is not None:
            parts.append(part)
    return (*parts, *_calls(message))


def _unwrapped(block: Mapping[str, Any]) -> Mapping[str, Any]:
    """Take a provider's own block out of the wrapping that LangChain puts around what it does not know."""
    value = block.get("value")
    return value if block.get("type") == "non_standard" and isinstance(value, Mapping) else block


def _said(block: Mapping[str, Any], place: str, told: set[str | None]) -> Part | None:
    match block:
        case {"type": "reasoning"}:
            thought = block.get("reasoning") or ""
            return ThinkingPart(text=thought) if thought else None
        case {"type": "thinking", "thinking": str(thought)}:
            return ThinkingPart(text=thought)
        case {"type": "tool_use", "id": str(call), "name": str(name)} if call not in told:
            return ToolCallPart(id=call, name=name, arguments=_json(block.get("input") or {}))
        case {"type": kind} if kind in _CALLS or kind in _SPEECH:
            return None  # calls come from the message's own list, speech as its text
        case _:
            part = to_part(_own_keys(block), place)
            if media_of(part):
                refuse(block, place, f"an earlier answer holds text, thinking and tool calls, no {kind_of(block)}")
            return part


def _own_keys(block: Mapping[str, Any]) -> Mapping[str, Any]:
    """Leave out what other services wrote beside the text of their answers; it asks for nothing."""
    if block.get("type") not in ("text", "output_text"):
        return block
    extras = block.get("extras")
    inside = extras.get("cache_control") if isinstance(extras, Mapping) else None
    return {"type": "text", "text": block.get("text"), "cache_control": block.get("cache_control") or inside}


def _calls(message: AIMessage) -> Iterator[ToolCallPart]:
    for call in message.tool_calls:
        yield ToolCallPart(id=call["id"] or "", name=call["name"], arguments=_json(call["args"]))
    for broken in message.invalid_tool_calls:
        yield ToolCallPart(id=broken["id"] or "", name=broken["name"] or "", arguments=broken["args"] or "")


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)
