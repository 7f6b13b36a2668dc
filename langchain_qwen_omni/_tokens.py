"""How many tokens a conversation has, roughly, without a tokenizer and without opening any media. Pure.

Text: one token for four ASCII characters and one for every other character, which is what Qwen's tokenizer
comes to within about a third. Media: its length and size are not known before it is opened, so an image counts
as the most tokens an image may have, a list of frames by its length, and a recording as `ASSUMED_SECONDS`.
These numbers are for trimming a history. They are no bill: the service's own count is in `usage_metadata`.
"""

import json
from collections.abc import Sequence
from typing import assert_never

from qwen_omni.messages import (
    AudioPart,
    FramesPart,
    ImagePart,
    Message,
    Part,
    TextPart,
    ThinkingPart,
    ToolCallPart,
    ToolResultPart,
    VideoPart,
)
from qwen_omni.options import Tool
from qwen_omni.profiles import TokenRules

ASSUMED_SECONDS = 60
_PER_MESSAGE = 4  # the marks around a message: its role, its start and its end
_ASCII_PER_TOKEN = 4
_FRAMES_PER_STEP = 2  # two frames of a video become one step of the model


def count_text(text: str) -> int:
    """Estimate the tokens of a text.

    Example:
        >>> count_text("What is sold here?"), count_text("这里卖什么")
        (5, 5)
    """
    plain = sum(character.isascii() for character in text)
    return -(-plain // _ASCII_PER_TOKEN) + len(text) - plain


def count_messages(messages: Sequence[Message], rules: TokenRules) -> int:
    """Estimate the tokens of a conversation for a model with these rules."""
    return sum(_PER_MESSAGE + sum(count_part(part, rules) for part in message.parts) for message in messages)


def count_tools(tools: Sequence[Tool]) -> int:
    """Estimate the tokens that describing the tools takes."""
    return sum(count_text(json.dumps([tool.name, tool.description, dict(tool.parameters)])) for tool in tools)


def count_part(part: Part, rules: TokenRules) -> int:
    """Estimate the tokens of one part."""
    match part:
        case TextPart() | ThinkingPart() | ToolResultPart():
            return count_text(part.text)
        case ToolCallPart():
            return count_text(part.name) + count_text(part.arguments)
        case ImagePart():
            return rules.image_tokens[1]
        case AudioPart():
            return int(ASSUMED_SECONDS * rules.audio_in)
        case FramesPart():
            return _picture(len(part.frames), rules)
        case VideoPart():
            frames = int(ASSUMED_SECONDS * (part.sampling.fps or rules.fps))
            return _picture(frames, rules) + int(ASSUMED_SECONDS * rules.audio_in)
        case _:
            assert_never(part)


def _picture(frames: int, rules: TokenRules) -> int:
    looked_at = min(frames, rules.frames[1])
    return min(looked_at * rules.frame_tokens[1], rules.video_tokens) // _FRAMES_PER_STEP
