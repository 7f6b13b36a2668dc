"""Turns of a conversation, put in order: media of tools follow behind their texts, calls can be sent again. Pure.

The service takes only text from tools. Images, sound and video that a tool returned go into a user message behind
the tool results, in their order; the adapters of both frameworks need this.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from pydantic_core import from_json

from qwen_omni.messages import Message, Part, TextPart, ToolCallPart, ToolResultPart, media_of

Turn = tuple[Message, Sequence[Part]]
"""A message, and the media that its tool showed."""

MALFORMED_ARGUMENTS = "malformed_arguments"
"""The key under which arguments that are not a JSON object are sent back."""
_NOT_RUN = "Not run: the arguments were not a JSON object."
_UNNAMED = "unnamed_tool"
_MEDIA_FOLLOWS = "(What the tool returned follows in the next message.)"


def tool_turn(parts: Sequence[Part], *, tool_call_id: str, name: str | None = None) -> Turn:
    """Make the turn of a tool: its texts are its result, its media follow."""
    media = [part for part in parts if media_of(part)]
    text = "\n".join(part.text for part in parts if isinstance(part, TextPart))
    if media:
        text = f"{text}\n{_MEDIA_FOLLOWS}".lstrip()
    cache = next((part.cache for part in parts if isinstance(part, TextPart) and part.cache), None)
    result = ToolResultPart(tool_call_id=tool_call_id, text=text, name=name, cache=cache)
    return Message(role="tool", parts=(result,)), media


def join_turns(turns: Iterable[Turn]) -> tuple[Message, ...]:
    """Put turns behind each other, and what tools showed behind the results of all of them.

    Example:
        >>> from qwen_omni.messages import user
        >>> [message.role for message in join_turns([(user("Hi"), []), tool_turn([], tool_call_id="c1")])]
        ['user', 'tool']
    """
    joined: list[Message] = []
    shown: list[Part] = []
    for message, media in turns:
        if shown and message.role != "tool":
            joined.append(Message(role="user", parts=tuple(shown)))
            shown = []
        joined.append(message)
        shown += media
    if shown:
        joined.append(Message(role="user", parts=tuple(shown)))
    return tuple(joined)


def replayable(messages: Sequence[Message]) -> Iterator[tuple[int, Message]]:
    """Make a conversation one that the service takes back, whatever a model wrote into it.

    Arguments that are not a JSON object become one that quotes them; a call without an id or a name gets one; and a
    call with such arguments that no tool answered is answered. Each message comes with its place in the conversation.

    Example:
        >>> from qwen_omni.messages import user
        >>> broken = Message(role="assistant", parts=(ToolCallPart(id="c1", name="look", arguments='{"path'),))
        >>> [message.role for _, message in replayable([broken, user("Again, please.")])]
        ['assistant', 'tool', 'user']
    """
    at = 0
    while at < len(messages):
        message, first = messages[at], at
        at += 1
        if message.role != "assistant" or not any(isinstance(part, ToolCallPart) for part in message.parts):
            yield first, message
            continue
        parts = tuple(_sendable(part, first, place) for place, part in enumerate(message.parts))
        yield first, replace(message, parts=parts)
        calls = [part.id for part in parts if isinstance(part, ToolCallPart)]
        broken = [
            sent.id
            for part, sent in zip(message.parts, parts, strict=True)
            if isinstance(sent, ToolCallPart) and _is_broken(part, sent)
        ]
        while at < len(messages) and messages[at].role == "tool":
            results = tuple(_answered(part, calls) for part in messages[at].parts)
            yield at, replace(messages[at], parts=results)
            at += 1
        left = tuple(ToolResultPart(tool_call_id=one, text=_NOT_RUN) for one in broken if one in calls)
        if left:
            yield at - 1, Message(role="tool", parts=left)


def _sendable(part: Part, message: int, place: int) -> Part:
    if not isinstance(part, ToolCallPart):
        return part
    arguments = part.arguments if part.arguments.strip() else "{}"
    if not _is_object(arguments):
        arguments = json.dumps({MALFORMED_ARGUMENTS: arguments})
    return replace(part, id=part.id or f"call_{message}_{place}", name=part.name or _UNNAMED, arguments=arguments)


def _is_object(text: str) -> bool:
    try:
        return isinstance(from_json(text, allow_inf_nan=False), dict)
    except ValueError:
        return False


def _is_broken(part: Part, sent: ToolCallPart) -> bool:
    return isinstance(part, ToolCallPart) and (
        part.arguments.strip() not in ("", sent.arguments.strip()) or not part.name
    )


def _answered(part: Part, calls: list[str]) -> Part:
    """Take the call that a result answers off the list; a result without an id answers the first that is left."""
    if not isinstance(part, ToolResultPart):
        return part
    name = part.tool_call_id or next(iter(calls), "")
    if name in calls:
        calls.remove(name)
    return replace(part, tool_call_id=name)
