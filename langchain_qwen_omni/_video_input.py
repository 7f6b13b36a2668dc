"""What is given to `LongVideoChain` → the video, the question about it, and the seconds that are meant.

Shape only: no file is opened here. What the chain cannot heed is refused rather than dropped.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from langchain_core.messages import BaseMessage, HumanMessage
from langchain_core.messages.utils import convert_to_messages
from langchain_core.prompt_values import PromptValue

from langchain_qwen_omni._messages import to_messages
from qwen_omni.errors import UnsupportedContentError
from qwen_omni.media.source import MediaSource
from qwen_omni.messages import Part, TextPart
from qwen_omni.video.heeded import choices_of, heeded_media

if TYPE_CHECKING:  # it brings the media modules, which importing the chain does not pay for
    from qwen_omni.media.source import Anything


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoInput:
    """One input of the chain, read.

    Attributes:
        source: the video or recording.
        question: what the input itself asks, if it does.
        choices: options of the run that the input itself names: `start`, `end`, `audio_track`.
    """

    source: "Anything"
    question: str | None = None
    choices: Mapping[str, Any] = field(default_factory=dict)


def read_input(given: Any, input_key: str) -> VideoInput:  # noqa: ANN401  (whatever a chain is given)
    """Find the one video in an input, with what is said about it there.

    Raises:
        UnsupportedContentError: there is not exactly one video or recording in it, or something that a run over a long
            video cannot heed; the text says what to use in its place.
        MediaError: the media is not what it says.
    """
    asked = None
    if isinstance(given, Mapping) and "type" not in given:
        if input_key not in given:
            raise UnsupportedContentError(
                f"The input has no {input_key!r}: give a path, a content block, or a mapping that holds one "
                f"under {input_key!r} (or choose another input_key=)."
            )
        asked, given = given.get("question") or None, given[input_key]
    if isinstance(given, str | os.PathLike | MediaSource | bytes):
        return VideoInput(source=given, question=asked)
    parts = _parts(given)
    part = heeded_media(parts)
    told = "\n".join(one.text for one in parts if isinstance(one, TextPart) and one.text.strip()) or None
    if asked is not None and told is not None and asked != told:
        raise UnsupportedContentError('The input asks twice: leave out "question" or the text beside the video.')
    return VideoInput(source=part.source, question=asked or told, choices=choices_of(part))


def _parts(given: Any) -> Sequence[Part]:  # noqa: ANN401
    """Give the parts of the one message that an input is."""
    messages = to_messages(_conversation(given))
    if len(messages) != 1 or messages[0].role != "user":
        roles = ", ".join(message.role for message in messages)
        raise UnsupportedContentError(
            f"A long video is given in one message of the user, and the input holds {len(messages)} ({roles}). "
            "Pass that one alone; what to look out for can be said in wish=."
        )
    return messages[0].parts


def _conversation(given: Any) -> Sequence[BaseMessage]:  # noqa: ANN401
    if isinstance(given, PromptValue):
        return given.to_messages()
    if isinstance(given, BaseMessage):
        return [given]
    items: Any = [given] if isinstance(given, Mapping) else given
    if not isinstance(items, Sequence):
        raise UnsupportedContentError(
            f"{type(given).__name__} is no video: give a path, a content block, a message, or a mapping of these."
        )
    if all(_is_block(one) for one in items):
        return [HumanMessage([dict(one) if isinstance(one, Mapping) else one for one in items])]
    try:
        return convert_to_messages(items)
    except (ValueError, TypeError, NotImplementedError):  # its text repeats the input, media and all
        kinds = ", ".join(sorted({type(one).__name__ for one in items}))
        raise UnsupportedContentError(
            f"The input is a list of {kinds}: give content blocks, or one message of the user."
        ) from None


def _is_block(one: object) -> bool:
    return isinstance(one, str) or (isinstance(one, Mapping) and "role" not in one)
