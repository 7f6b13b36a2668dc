"""How many tokens the service bills for media: its documented formulas. Pure; `qwen_omni.profiles` has the constants.

Source: Model Studio, Qwen-Omni guide, read 2026-09-18. Frames merge in pairs whatever the rate, according to
public measurements of 2026-09-14. Where the guide leaves rounding open (fractions of a second of audio), the nearest
whole number is used. The stand-in has its own arithmetic, so that one checks the other.
"""

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Protocol

from qwen_omni.profiles import Profile

_MARKERS = 2  # a start and an end token around each image or video
_PAIR = 2  # frames are merged in pairs
_HIGHEST_IMAGE_PIXELS = 16_777_216
_HIGHEST_FRAME_PIXELS = 2_048_000
_SLACK = 1.05  # a frame may always exceed the minimum size by this factor

Seconds = float | Fraction


class SamplingNumbers(Protocol):
    """The sampling fields next to an image or video in a request; `None` leaves the service's default."""

    @property
    def fps(self) -> float | None:
        """Frames per second that the service samples from a video."""

    @property
    def min_pixels(self) -> int | None:
        """Minimum pixels of a frame or image."""

    @property
    def max_pixels(self) -> int | None:
        """Maximum pixels of a frame or image."""

    @property
    def total_pixels(self) -> int | None:
        """Maximum pixels of all frames of a video together."""


@dataclass(frozen=True, slots=True)
class _Unasked:
    fps: None = None
    min_pixels: None = None
    max_pixels: None = None
    total_pixels: None = None


_UNASKED = _Unasked()


def audio_tokens(profile: Profile, seconds: Seconds) -> int:
    """Count the tokens of audio; a clip under a second counts as one second, an empty one as zero.

    Example:
        >>> from qwen_omni.profiles import profile_for
        >>> audio_tokens(profile_for("qwen3.8-omni-flash"), 60)
        420
    """
    rules = profile.tokens
    counted = math.floor(max(rules.audio_seconds, float(seconds)) * rules.audio_in + 0.5)
    return counted + rules.audio_markers if seconds > 0 else 0


def image_tokens(
    profile: Profile,
    size: tuple[int, int],
    sampling: SamplingNumbers = _UNASKED,
    *,
    high_resolution: bool = False,
) -> int:
    """Count the tokens of one image.

    Args:
        profile: the model; where it documents no sampling fields, `sampling` is ignored.
        size: width and height as shown.
        sampling: the sampling fields next to the part.
        high_resolution: whether the request sets `vl_high_resolution_images`.
    """
    width, height = image_size(profile, size, sampling, high_resolution=high_resolution)
    return width * height // profile.tokens.factor**2 + _MARKERS


def image_size(
    profile: Profile,
    size: tuple[int, int],
    sampling: SamplingNumbers = _UNASKED,
    *,
    high_resolution: bool = False,
) -> tuple[int, int]:
    """Return the width and height to which the service resizes one image; arguments as for `image_tokens`."""
    rules = profile.tokens
    least, most = rules.image_tokens[0] * rules.factor**2, image_pixels(profile, sampling)
    if profile.sampling_fields:
        least = max(least, sampling.min_pixels or 0)
    if high_resolution and rules.image_tokens_high is not None:
        most = rules.image_tokens_high * rules.factor**2
    return resized(size, rules.factor, least, most)


def image_pixels(profile: Profile, sampling: SamplingNumbers = _UNASKED) -> int:
    """Return the maximum pixels to which the service resizes one image.

    Example:
        >>> from qwen_omni.profiles import profile_for
        >>> image_pixels(profile_for("qwen3.8-omni-flash"))
        1310720
    """
    rules = profile.tokens
    most = rules.image_tokens[1] * rules.factor**2
    return min(sampling.max_pixels or most, _HIGHEST_IMAGE_PIXELS) if profile.sampling_fields else most


def frames_seen(profile: Profile, seconds: Seconds, fps: Seconds, sampling: SamplingNumbers = _UNASKED) -> int:
    """Count the frames that the service samples from a video.

    Args:
        profile: the model.
        seconds: length of the video.
        fps: frames per second in the file.
        sampling: the sampling fields next to the part.
    """
    rules = profile.tokens
    wanted = sampling.fps if profile.sampling_fields and sampling.fps else rules.fps
    whole = int(seconds)
    total = math.ceil(seconds * fps) if seconds - whole > Fraction(1, 2) else math.ceil(whole * fps)
    total = max(total, 1)
    fewest, most = rules.frames
    even = min(most, total) // _PAIR * _PAIR
    seen = max(1, int(min(max(total / float(fps) * wanted, fewest), even, total)))
    return max(_PAIR, seen // _PAIR * _PAIR) if rules.whole_pairs else seen


def video_tokens(
    profile: Profile,
    size: tuple[int, int],
    seconds: Seconds,
    fps: Seconds,
    sampling: SamplingNumbers = _UNASKED,
) -> int:
    """Count the tokens of a video's frames. Its audio is billed in addition: `audio_tokens`.

    Args:
        profile: the model; where it documents no sampling fields, `sampling` is ignored.
        size: width and height as shown.
        seconds: length of the video.
        fps: frames per second in the file.
        sampling: the sampling fields next to the part.
    """
    return frames_tokens(profile, size, frames_seen(profile, seconds, fps, sampling), sampling)


def frames_tokens(profile: Profile, size: tuple[int, int], count: int, sampling: SamplingNumbers = _UNASKED) -> int:
    """Count the tokens of `count` frames of one size, whether sampled from a video or sent as a list."""
    rules = profile.tokens
    width, height = frame_size(profile, size, count, sampling)
    return math.ceil(count / _PAIR) * (width // rules.factor) * (height // rules.factor) + _MARKERS


def frame_size(
    profile: Profile, size: tuple[int, int], count: int, sampling: SamplingNumbers = _UNASKED
) -> tuple[int, int]:
    """Return the width and height to which the service resizes each of `count` frames."""
    rules = profile.tokens
    asked = sampling if profile.sampling_fields else _UNASKED
    area = rules.factor**2
    least = asked.min_pixels or rules.frame_tokens[0] * area
    ceiling = min(asked.max_pixels or rules.frame_tokens[1] * area, _HIGHEST_FRAME_PIXELS)
    total = asked.total_pixels or rules.video_tokens * area
    most = max(min(ceiling, total / max(count, 1) * _PAIR), int(least * _SLACK))
    return resized(size, rules.factor, least, most)


def resized(size: tuple[int, int], factor: int, least: float, most: float) -> tuple[int, int]:
    """Round an image's sides to multiples of `factor` so that its area lies between `least` and `most` pixels."""
    width, height = size
    wide, high = max(factor, round(width / factor) * factor), max(factor, round(height / factor) * factor)
    if wide * high > most:
        shrink = math.sqrt(width * height / most)
        wide = max(factor, math.floor(width / shrink / factor) * factor)
        high = max(factor, math.floor(height / shrink / factor) * factor)
    elif wide * high < least:
        grow = math.sqrt(least / (width * height))
        wide = math.ceil(width * grow / factor) * factor
        high = math.ceil(height * grow / factor) * factor
    return wide, high
