"""Which frames a lower frame rate needs, and where a decoder may start over. Pure; `frames` decodes.

The frame shown at output time t is the last input frame whose time is not after t. A frame that is never shown is
decoded only if others refer to it. A few packets of look-ahead decide that before decoding: once decoding times
have passed t, no packet for a time up to t can follow. No pass over the whole file is needed, and memory stays small.

Nothing at or after a clearing packet refers to anything before it. A key frame alone proves nothing: in streams with
open GOPs or gradual refresh, frames after a key frame refer to frames before it. For H.264 and HEVC the NAL unit type
decides (ITU-T H.264 and H.265); key frames of VP8, VP9 and AV1 always clear everything.
"""

import bisect
import math
from collections.abc import Iterator
from fractions import Fraction


class Grid:
    """Output times `begin + n * period`, as whole numbers of one tick, so that rounding errors never add up.

    Half a tick of the stream is ignored: containers with coarse clocks round their times.
    """

    def __init__(self, begin: Fraction, period: Fraction, time_base: Fraction) -> None:
        """Build a grid for a stream whose timestamps count `time_base` seconds each."""
        half = time_base / 2
        unit = math.lcm(begin.denominator, period.denominator, half.denominator)
        self._tick = int(time_base * unit)
        self._begin = int((begin + half) * unit)
        self._period = int(period * unit)

    def first_at(self, pts: int) -> int:
        """Return the number of the first output time at which a frame of this time may be shown; never negative."""
        return max(0, -((self._begin - pts * self._tick) // self._period))

    def reaches(self, pts: int, number: int) -> bool:
        """Whether this time is after output time `number`."""
        return pts * self._tick > self._begin + number * self._period


class Picker:
    """Decides which packets are needed. Pass it each packet with `add`, ask with `needed`."""

    def __init__(self, grid: Grid, count: int | None) -> None:
        """Pick for the first `count` output times, or for all."""
        self._grid = grid
        self._count = count
        self._known: list[int] = []  # times of the packets so far, in order
        self._latest: int | None = None  # decoding time of the last one

    def add(self, pts: int, dts: int) -> None:
        """Add the next packet, in the order of the file."""
        bisect.insort(self._known, pts)
        self._latest = dts

    def end(self) -> None:
        """Record that no packet follows."""
        self._latest = None
        self._ended = True

    _ended = False

    def needed(self, pts: int) -> bool | None:
        """Whether the frame of this time is shown; `None` while later packets may decide it."""
        number = self._grid.first_at(pts)
        if self._count is not None and number >= self._count:
            return False
        after = bisect.bisect_right(self._known, pts)
        if after < len(self._known) and not self._grid.reaches(self._known[after], number):
            return False
        if self._ended or (self._latest is not None and self._grid.reaches(self._latest, number)):
            return True
        return None

    def done(self) -> bool:
        """Whether every further packet would be too late to be shown."""
        last = None if self._count is None else self._count - 1
        return last is not None and self._latest is not None and self._grid.reaches(self._latest, max(last, 0))

    def forget(self, pts: int) -> None:
        """Forget times long before this one."""
        keep = bisect.bisect_left(self._known, pts) - _REMEMBERED
        if keep > 0:
            del self._known[:keep]


_REMEMBERED = 64  # more than any codec reorders


_CLEARING = frozenset({"vp8", "vp9", "av1"})
_H264_PICTURES, _H264_IDR = range(1, 6), 5
_HEVC_PICTURES, _HEVC_IDR = range(32), (19, 20)
_NAL_CODECS = frozenset({"h264", "hevc"})
_MOST_UNITS = 64  # inspected; the first picture follows a few headers


def resets(codec: str, data: bytes, length_bytes: int) -> bool:
    """Whether the key frame in `data` clears everything before it.

    Args:
        codec: FFmpeg's name of the codec.
        data: the packet's bytes.
        length_bytes: size of the length field of a NAL unit; 0 if start codes separate them.

    Example:
        >>> resets("h264", bytes([0, 0, 0, 2, 0x65, 0x88]), 4)
        True
    """
    if codec not in _NAL_CODECS:
        return codec in _CLEARING
    first = next((kind for kind in _kinds(codec, data, length_bytes) if kind in _pictures(codec)), None)
    return first == _H264_IDR if codec == "h264" else first in _HEVC_IDR


def length_bytes_of(codec: str, extradata: bytes | None) -> int:
    """Read from a stream's parameters (avcC, hvcC) how NAL units are separated; 0 means start codes."""
    if not extradata or extradata[0] != 1:
        return 0
    at = {"h264": 4, "hevc": 21}.get(codec)
    return 0 if at is None or len(extradata) <= at else (extradata[at] & 3) + 1


def _pictures(codec: str) -> range:
    return _H264_PICTURES if codec == "h264" else _HEVC_PICTURES


def _kinds(codec: str, data: bytes, length_bytes: int) -> Iterator[int]:
    for count, at in enumerate(_starts(data, length_bytes)):
        if count >= _MOST_UNITS or at >= len(data):
            return
        yield data[at] & 0x1F if codec == "h264" else data[at] >> 1 & 0x3F


def _starts(data: bytes, length_bytes: int) -> Iterator[int]:
    """Yield the offsets of NAL units."""
    at = 0
    if length_bytes:
        while at + length_bytes < len(data):
            yield at + length_bytes
            at += length_bytes + int.from_bytes(data[at : at + length_bytes], "big")
        return
    while (at := data.find(b"\0\0\1", at)) >= 0:
        at += 3
        yield at
