"""Ordering of conversation turns: media returned by tools follow after their texts. Pure.

The service accepts only text from tools. Images, audio and video that a tool returned go into a user message after
the tool results, in order; the adapters of both frameworks need this.
"""

from collections.abc import Iterable, Sequence

from qwen_omni.messages import Message, Part, TextPart, ToolResultPart, media_of

Turn = tuple[Message, Sequence[Part]]
"""A message, and the media that its tool returned."""

_MEDIA_FOLLOWS = "(What the tool returned follows in the next message.)"


def tool_turn(parts: Sequence[Part], *, tool_call_id: str, name: str | None = None) -> Turn:
    """Build the turn of a tool: its texts are its result, its media follow."""
    media = [part for part in parts if media_of(part)]
    text = "\n".join(part.text for part in parts if isinstance(part, TextPart))
    if media:
        text = f"{text}\n{_MEDIA_FOLLOWS}".lstrip()
    cache = next((part.cache for part in parts if isinstance(part, TextPart) and part.cache), None)
    result = ToolResultPart(tool_call_id=tool_call_id, text=text, name=name, cache=cache)
    return Message(role="tool", parts=(result,)), media


def join_turns(turns: Iterable[Turn]) -> tuple[Message, ...]:
    """Join turns in order, with the media of adjacent tool results after all of those results.

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
