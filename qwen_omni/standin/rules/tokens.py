"""Count tokens by the documented formulas, from measurements of the decoded media.

Arithmetic only. Formulas and constants: Model Studio documentation, Qwen-Omni page, 2026-09-18; the
division of frames by pairs was confirmed by public measurements of 2026-09-14.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

_CJK = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\uf900-\ufaff]")
_CJK_PER_TOKEN = 1.5
_CHARACTERS_PER_TOKEN = 4.0
_MARKERS = 2  # a start and an end token around each image or video
_PAIR = 2  # frames are merged two by two


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenRule:
    """The constants of one model generation."""

    factor: int
    image_min_tokens: int
    image_max_tokens: int
    min_frames: int
    max_frames: int
    frame_max_tokens: int
    total_tokens: int
    audio_in: float
    audio_out: float
    frame_min_tokens: int = 64
    sampling_fps: float = 2.0
    obeys_sampling: bool = False

    @property
    def area(self) -> int:
        """Pixels of one token."""
        return self.factor * self.factor


# Model Studio documentation, Qwen-Omni page, 2026-09-18.
OMNI_3_8 = TokenRule(
    factor=32, image_min_tokens=24, image_max_tokens=1280, min_frames=2, max_frames=2048,
    frame_max_tokens=640, total_tokens=180_224, audio_in=7, audio_out=12.5, obeys_sampling=True,
)  # fmt: skip
OMNI_3_5 = OMNI_3_8
OMNI_3 = TokenRule(
    factor=32, image_min_tokens=4, image_max_tokens=1280, min_frames=2, max_frames=128,
    frame_max_tokens=768, total_tokens=16_384, audio_in=12.5, audio_out=12.5,
)  # fmt: skip
OMNI_TURBO = TokenRule(
    factor=28, image_min_tokens=4, image_max_tokens=1280, min_frames=4, max_frames=80,
    frame_max_tokens=768, total_tokens=16_384, audio_in=25, audio_out=25,
)  # fmt: skip
# Model Studio documentation, Vision page, 2026-10-12, with the constants of Qwen3-VL; the audio of a video is not read.
SEEING = TokenRule(
    factor=32, image_min_tokens=4, image_max_tokens=2560, min_frames=4, max_frames=2000,
    frame_max_tokens=640, total_tokens=131_072, audio_in=0, audio_out=0, frame_min_tokens=4, obeys_sampling=True,
)  # fmt: skip
ASR = TokenRule(
    factor=28, image_min_tokens=4, image_max_tokens=1280, min_frames=4, max_frames=80,
    frame_max_tokens=768, total_tokens=16_384, audio_in=25, audio_out=25,
)  # fmt: skip
HIGH_RESOLUTION_TOKENS = 16_384


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """The sampling requested for a media part; None means the model's default."""

    fps: float | None = None
    min_pixels: int | None = None
    max_pixels: int | None = None
    total_pixels: int | None = None
    high_resolution: bool = False


_DEFAULT = Sampling()


def text_tokens(text: str) -> int:
    """Estimate text tokens: 1.5 Chinese characters or 4 others per token (the documentation's rule of thumb)."""
    wide = len(_CJK.findall(text))
    return math.ceil(wide / _CJK_PER_TOKEN + (len(text) - wide) / _CHARACTERS_PER_TOKEN)


def audio_tokens(rule: TokenRule, seconds: float) -> int:
    """Count tokens of audio; less than a second counts as one."""
    return math.floor(max(1.0, seconds) * rule.audio_in + 0.5) if seconds > 0 else 0


def image_tokens(rule: TokenRule, width: int, height: int, sampling: Sampling = _DEFAULT) -> int:
    """Count tokens of one image."""
    least, most = rule.image_min_tokens * rule.area, rule.image_max_tokens * rule.area
    if rule.obeys_sampling:
        least = max(least, sampling.min_pixels or 0)
        most = min(sampling.max_pixels or most, HIGH_RESOLUTION_TOKENS * rule.area)
        most = HIGH_RESOLUTION_TOKENS * rule.area if sampling.high_resolution else most
    high, wide = fit(rule.factor, width, height, least, most)
    return high * wide // rule.area + _MARKERS


def video_tokens(
    rule: TokenRule, size: tuple[int, int], seconds: float, fps: float, sampling: Sampling = _DEFAULT
) -> int:
    """Count tokens of a video's frames from its measured duration and frame rate; audio is counted separately."""
    wanted = sampling.fps if rule.obeys_sampling and sampling.fps else rule.sampling_fps
    total = math.ceil(seconds * fps) if seconds % 1 > 0.5 else math.ceil(int(seconds) * fps)  # noqa: PLR2004
    total = max(total, 1)
    most = min(rule.max_frames, total) // _PAIR * _PAIR
    count = int(min(max(total / fps * wanted, rule.min_frames), most, total))
    return frame_tokens(rule, size, count, sampling)


def frame_tokens(rule: TokenRule, size: tuple[int, int], count: int, sampling: Sampling = _DEFAULT) -> int:
    """Count tokens of `count` sampled frames of one size."""
    asked = sampling if rule.obeys_sampling else _DEFAULT
    least = asked.min_pixels or rule.frame_min_tokens * rule.area
    ceiling = asked.max_pixels or rule.frame_max_tokens * rule.area
    pool = asked.total_pixels or rule.total_tokens * rule.area
    most = max(min(ceiling, pool / max(count, 1) * _PAIR), int(least * 1.05))
    high, wide = fit(rule.factor, size[0], size[1], least, most)
    return math.ceil(count / _PAIR) * (high // rule.factor) * (wide // rule.factor) + _MARKERS


def fit(factor: int, width: int, height: int, least: float, most: float) -> tuple[int, int]:
    """Round an image to whole tokens between two areas; return height and width."""
    high = max(factor, round(height / factor) * factor)
    wide = max(factor, round(width / factor) * factor)
    if high * wide > most:
        shrink = math.sqrt(height * width / most)
        high = max(factor, math.floor(height / shrink / factor) * factor)
        wide = max(factor, math.floor(width / shrink / factor) * factor)
    elif high * wide < least:
        grow = math.sqrt(least / (height * width))
        high = math.ceil(height * grow / factor) * factor
        wide = math.ceil(width * grow / factor) * factor
    return high, wide
