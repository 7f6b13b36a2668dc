"""Check the media of a request against the limits of its model: number, size, duration and dimensions.

`standin.media.perceive` fetches and decodes the media, and calls these checks.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from qwen_omni.standin.rules import refusal
from qwen_omni.standin.rules.limits import SHORTEST_VIDEO, SMALLEST_SIDE, WIDEST_ASPECT, MediaLimits
from qwen_omni.standin.rules.refusal import algo

if TYPE_CHECKING:
    from qwen_omni.standin.media.facts import Kind, MediaFacts
    from qwen_omni.standin.rules.messages import MediaPart

_PADDING = 0.1  # seconds that a codec may add to a clip cut at a limit


def check_counts(limits: MediaLimits, parts: list[MediaPart]) -> None:
    """Check the number of parts: in the request, and those in base64 separately; on older models in each message.

    Older models get text and one other kind per message, and at most one audio or video.

    Raises:
        Refusal: There are too many parts, or kinds that do not go together.
    """
    if not limits.mixed:
        for message in {part.message for part in parts}:
            kinds = Counter(part.kind for part in parts if part.message == message)
            if len(kinds) > 1 or any(count > 1 for kind, count in kinds.items() if kind != "image"):
                raise algo(refusal.MIXED)
        return
    allowed = {"image": limits.images, "audio": limits.audios, "video": limits.videos, "frames": limits.videos}
    for kind, (by_url, as_base64) in allowed.items():
        inline = [bool(part.urls) and part.urls[0].startswith("data:") for part in parts if part.kind == kind]
        if len(inline) > by_url:
            raise algo(f"The number of {kind} inputs exceeds the limit of {by_url}.")
        if sum(inline) > as_base64:
            raise algo(f"The number of base64 {kind} inputs exceeds the limit of {as_base64}.")


def check_frame_count(limits: MediaLimits, frames: int) -> None:
    """Check the length of a list of frames.

    Raises:
        Refusal: It is too short or too long.
    """
    low, high = limits.frames
    if not low <= frames <= high:
        raise algo(refusal.FRAME_RANGE.format(low=low, high=high))


def check_size(limits: MediaLimits, kind: Kind, size_bytes: int) -> None:
    """Check the size of a file.

    Raises:
        Refusal: It is too large.
    """
    most = {"image": limits.image_bytes, "audio": limits.audio_bytes, "video": limits.video_bytes}[kind]
    if size_bytes > most:
        raise algo(refusal.TOO_LARGE_FILE)


def check_facts(limits: MediaLimits, facts: MediaFacts) -> None:
    """Check the limits that require decoding: duration, dimensions and aspect ratio.

    Raises:
        Refusal: One of them is exceeded.
    """
    if facts.kind == "image":
        sides = (facts.width, facts.height)
        if min(sides) < SMALLEST_SIDE:
            raise algo(refusal.IMAGE_SIDES.format(height=facts.height, width=facts.width))
        if max(sides) > WIDEST_ASPECT * min(sides):
            raise algo(refusal.IMAGE_ASPECT.format(height=facts.height, width=facts.width))
    if facts.kind == "video" and facts.duration < SHORTEST_VIDEO:
        raise algo(refusal.VIDEO_LENGTH.format(word="short"))
    if facts.kind == "video" and facts.duration > limits.video_seconds + _PADDING:
        raise algo(refusal.VIDEO_LENGTH.format(word="long"))
    if facts.kind == "audio" and facts.duration <= 0:
        raise algo(refusal.EMPTY_AUDIO)
    if facts.kind == "audio" and facts.duration > limits.audio_seconds + _PADDING:
        raise algo(refusal.LONG_AUDIO)
