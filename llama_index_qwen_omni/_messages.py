"""LlamaIndex messages → the neutral conversation (`qwen_omni.messages`).

Shape only; `_parts` reads the blocks. Nothing is dropped in silence, with two exceptions that the service leaves
no choice about, told here: speech in earlier answers is sent as its text alone (the service takes no other), and
thinking of earlier answers goes only to models that take it back.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from llama_index.core.base.llms.types import (
    AudioBlock,
    BaseContentBlock,
    CachePoint,
    ChatMessage,
    DocumentBlock,
    ImageBlock,
    MessageRole,
    ThinkingBlock,
    ToolCallBlock,
    VideoBlock,
)

from llama_index_qwen_omni._options import parts_with_options
from llama_index_qwen_omni._parts import arguments_text, kind_of, mark_of, marked, refuse, to_parts
from qwen_omni.errors import UnsupportedContentError
from qwen_omni.messages import Message, Part, Role, ThinkingPart, ToolCallPart
from qwen_omni.turns import Turn, join_turns, tool_turn

_ROLES: dict[MessageRole, Role] = {
    MessageRole.SYSTEM: "system",
    MessageRole.DEVELOPER: "system",
    MessageRole.USER: "user",
    MessageRole.ASSISTANT: "assistant",
    MessageRole.CHATBOT: "assistant",
    MessageRole.MODEL: "assistant",
    MessageRole.TOOL: "tool",
    MessageRole.FUNCTION: "tool",
}


def to_messages(messages: Sequence[ChatMessage]) -> tuple[Message, ...]:
    """Turn a LlamaIndex conversation into ours.

    The service takes only text from tools; images, sound and video that a tool returned go into a user message
    behind the tool results, in their order.

    Raises:
        UnsupportedContentError: a message or block that cannot be sent, with its place and kind.
        MediaError: media that is not what it says.
    """
    return join_turns(_turn(message, index) for index, message in enumerate(messages))


def _turn(message: ChatMessage, index: int) -> Turn:
    role = _ROLES[message.role]
    place = f"message {index} ({role})"
    name = message.additional_kwargs.get("name")
    if role == "assistant":
        return Message(role=role, parts=_answer(message, place), name=name), ()
    parts = parts_with_options(message, place)
    if role != "tool":
        return Message(role=role, parts=parts, name=name), ()
    call = message.additional_kwargs.get("tool_call_id")
    if not call:
        raise UnsupportedContentError(f"{place}: its additional_kwargs must say which tool_call_id it answers.")
    return tool_turn(parts, tool_call_id=str(call), name=name)


def _answer(message: ChatMessage, place: str) -> tuple[Part, ...]:
    told: set[str | None] = set()
    parts: list[Part] = []
    for at, block in enumerate(message.blocks):
        if isinstance(block, ToolCallBlock):
            told.add(block.tool_call_id)
        here = f"{place} block {at}"
        parts += _said(block, here)
        if isinstance(block, CachePoint):
            marked(parts, mark_of(block), here)
    if not told:  # an answer of another class, which keeps its calls beside the blocks
        for call in message.additional_kwargs.get("tool_calls") or ():
            parts.append(_foreign_call(call, place))
    return tuple(parts)


def _said(block: BaseContentBlock, place: str) -> tuple[Part, ...]:
    if isinstance(block, ThinkingBlock):
        return (ThinkingPart(text=block.content),) if block.content else ()
    if isinstance(block, ToolCallBlock):
        return (ToolCallPart(id=block.tool_call_id or "", name=block.tool_name, arguments=arguments_text(block)),)
    if isinstance(block, AudioBlock | CachePoint):
        return ()  # the words of speech stand beside it
    if isinstance(block, ImageBlock | VideoBlock | DocumentBlock):
        refuse(block, place, f"an earlier answer holds text, thinking and tool calls, no {kind_of(block)}")
    return to_parts(block, place, {})  # text and citations


def _foreign_call(call: Any, place: str) -> ToolCallPart:  # noqa: ANN401  (whatever another class keeps)
    """Read a tool call as OpenAI's classes keep it: an object or a dictionary with `id` and `function`."""
    function = _field(call, "function")
    name, arguments = _field(function, "name"), _field(function, "arguments")
    if not isinstance(name, str):
        raise UnsupportedContentError(f"{place}: a tool call in additional_kwargs is written in no known way.")
    text = arguments if isinstance(arguments, str) else json.dumps(arguments or {}, ensure_ascii=False)
    return ToolCallPart(id=str(_field(call, "id") or ""), name=name, arguments=text)


def _field(holder: object, name: str) -> object:
    return holder.get(name) if isinstance(holder, Mapping) else getattr(holder, name, None)
