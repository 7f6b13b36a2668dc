"""How often a key-frame video shows a frame: as often as there are key frames, so that none is billed twice."""

import math
from fractions import Fraction
from typing import TYPE_CHECKING

from qwen_omni.media.info import exact

if TYPE_CHECKING:
    from av.video.stream import VideoStream

_FEWEST = 4  # frames of a range that is long enough for them; services refuse videos of one frame
_RAREST = Fraction(10)  # maximum seconds between two frames
_PARTS = 1000  # fractions of a second in which the time between two frames is given


def sparse_pictures(key_frames: int, length: Fraction, shortest: Fraction) -> tuple[int, Fraction]:
    """Choose how many frames show a range, and the seconds between them; together never longer than the range.

    Args:
        key_frames: number of key frames in the range; 0 if unknown.
        length: of the range, in seconds.
        shortest: minimum seconds between two frames that the budget allows.

    Example:
        >>> sparse_pictures(16, Fraction(120), Fraction(1))
        (16, Fraction(15, 2))
    """
    most = max(1, int(length / shortest))
    least = max(_FEWEST, math.ceil(length / _RAREST))
    count = min(most, max(key_frames or most, least))
    return count, Fraction(max(1, int(length * _PARTS / count)), _PARTS)


def key_frames_within(stream: "VideoStream", begin: Fraction, length: Fraction) -> int:
    """Count the key frames that the index of a file lists between two instants of its own time."""
    base = exact(stream.time_base or 1)
    first, last = begin / base, (begin + length) / base
    return sum(entry.is_keyframe and first <= entry.timestamp < last for entry in stream.index_entries)


def picture_length(stream: "VideoStream", length: Fraction) -> Fraction:
    """Return how long the video track lasts at most; the audio may go on longer."""
    if not stream.duration or not stream.time_base:
        return length
    tick = exact(stream.time_base)
    return min(length, max(stream.duration * tick, tick))
