"""How many tokens a conversation has, without opening any media: for trimming a history. Pure.

Media: its length and size are not known before it is opened, so an image counts as the most tokens that an image may
have, a list of frames by its length, and a recording as `ASSUMED_SECONDS`; what it holds never counts as text. These
numbers are no bill: `estimate` looks at the media, and the service's own count comes with its answer.
"""

import json
from collections.abc import Callable, Sequence
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
from qwen_omni.profiles import TokenRules, Vocabulary
from qwen_omni.spend.words import count_text

TextCounter = Callable[[str, Vocabulary], int]
ASSUMED_SECONDS = 60
# Around a message: its start, its role, a line end, its end, a line end. Chat template of the open Qwen models, 2025.
PER_MESSAGE = 5
PER_ANSWER = 3  # the same template opens the answer
_FRAMES_PER_STEP = 2  # two frames of a video become one step of the model


def count_messages(messages: Sequence[Message], rules: TokenRules) -> int:
    """Estimate the tokens of a conversation for a model with these rules."""
    parts = sum(count_part(part, rules) for message in messages for part in message.parts)
    return PER_MESSAGE * len(messages) + PER_ANSWER + parts


def count_tools(tools: Sequence[Tool], rules: TokenRules, count: TextCounter = count_text) -> int:
    """Estimate the tokens that describing the tools takes."""
    told = (json.dumps([tool.name, tool.description, dict(tool.parameters)], ensure_ascii=False) for tool in tools)
    return sum(count(text, rules.vocabulary) for text in told)


def count_words(messages: Sequence[Message], rules: TokenRules, count: TextCounter = count_text) -> int:
    """Estimate the tokens of a conversation's text alone, with the marks around its messages."""
    said = (text for message in messages for part in message.parts for text in _texts(part))
    return PER_MESSAGE * len(messages) + PER_ANSWER + sum(count(text, rules.vocabulary) for text in said)


def count_part(part: Part, rules: TokenRules) -> int:
    """Estimate the tokens of one part."""
    match part:
        case TextPart() | ThinkingPart() | ToolResultPart() | ToolCallPart():
            return sum(count_text(text, rules.vocabulary) for text in _texts(part))
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


def _texts(part: Part) -> tuple[str, ...]:
    match part:
        case TextPart() | ThinkingPart() | ToolResultPart():
            return (part.text,)
        case ToolCallPart():
            return part.name, part.arguments
        case _:
            return ()


def _picture(frames: int, rules: TokenRules) -> int:
    looked_at = min(frames, rules.frames[1])
    return min(looked_at * rules.frame_tokens[1], rules.video_tokens) // _FRAMES_PER_STEP
