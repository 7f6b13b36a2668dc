"""What preparing and sending would cost in time and bytes, roughly. Pure; only to choose the quicker way."""

from qwen_omni.media.info import MediaInfo
from qwen_omni.media.plan import Wish

# From benchmarks/media.py on two cores, 2026-11-23.
_DECODE_CORE_SECONDS = 0.0016  # per megapixel of the source
_ENCODE_CORE_SECONDS = 0.014  # per megapixel of the result
_SOUND_CORE_SECONDS = 0.008  # per second
_BITS_PER_PIXEL = 0.12
USUAL_FPS = 25
USUAL_SECONDS = 60
"""Taken where a file does not tell."""

WORTH_SECONDS = 2
"""Coding anew costs sharpness, so it must save this much time if it saves no tokens."""

_FULLEST = 0.95  # share of the room that is aimed at
_LEAST_BITS = 60_000  # per second of picture
_MOST_BITS = 1_000_000_000  # FFmpeg counts the bits of a second in 31 bits; a short piece of a large room has more
_SOUND_SHARE = 1.1  # of the sound's bit rate, with what the container adds


def upload_seconds(size_bytes: int, wish: Wish) -> float:
    """Tell how long sending takes."""
    return size_bytes * 8 / (wish.uplink_mbps * 1e6)


def sound_seconds(seconds: float, wish: Wish) -> float:
    """Tell how long making sound takes."""
    return seconds * _SOUND_CORE_SECONDS / max(1, wish.cores)


def video_seconds(info: MediaInfo, wish: Wish, pixels: float, seconds: float) -> float:
    """Tell how long making a video of so many pixels in all takes."""
    source = (info.width or 0) * (info.height or 0) * float(info.fps or USUAL_FPS) * seconds
    cost = source / 1e6 * _DECODE_CORE_SECONDS + pixels / 1e6 * _ENCODE_CORE_SECONDS
    return cost / max(1, wish.cores) + (sound_seconds(seconds, wish) if info.has_sound else 0)


def video_bytes(info: MediaInfo, wish: Wish, pixels: float, seconds: float) -> int:
    """Tell how large a video of so many pixels in all will be; not larger than its source."""
    sound = wish.budget.sound_bitrate * seconds if info.has_sound else 0
    return int(min((pixels * _BITS_PER_PIXEL + sound) / 8, info.size_bytes))


def most_bits(info: MediaInfo, wish: Wish, seconds: float) -> int | None:
    """Give the bits per second that pictures may take for the file to fit; `None` where nothing limits it."""
    allowed = most_bytes(wish)
    if allowed is None:
        return None
    sound = wish.budget.sound_bitrate * _SOUND_SHARE if info.has_sound else 0
    return min(_MOST_BITS, max(_LEAST_BITS, int(allowed * 8 * _FULLEST / max(seconds, 1) - sound)))


def most_bytes(wish: Wish) -> int | None:
    """Give the bytes that the file may have by the budget and the delivery; `None` where nothing limits it."""
    return min((most for most in (wish.room_bytes, wish.budget.max_bytes) if most is not None), default=None)


def room_for(limit: int, wish: Wish) -> int:
    """Give the most bytes that a file may have: of the model's limit, the delivery's and the budget's the least."""
    return min(limit, *(most for most in (wish.room_bytes, wish.budget.max_bytes) if most is not None), limit)
