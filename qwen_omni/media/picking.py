"""Which frames of a stream a lower frame rate needs. Pure: numbers in, decisions out; `transcode_picture` decodes.

At output time t the picture shown is the one that the input shows at t: the last frame whose time is not after t.
A frame that is shown at no output time need not be decoded where nothing refers to it. To know that before
decoding, packets are looked at a little ahead: once the decoding times have passed t, no packet for a time up to t
can follow. So no walk through the whole file is needed, and memory stays small.
"""

import bisect
import math
from fractions import Fraction


class Grid:
    """Output times `begin + n * period`, as whole numbers of one tick, so that no rounding ever adds up.

    Half a tick of the stream counts as nothing: containers with coarse clocks round their times.
    """

    def __init__(self, begin: Fraction, period: Fraction, time_base: Fraction) -> None:
        """Lay a grid over a stream whose timestamps count `time_base` seconds each."""
        half = time_base / 2
        unit = math.lcm(begin.denominator, period.denominator, half.denominator)
        self._tick = int(time_base * unit)
        self._begin = int((begin + half) * unit)
        self._period = int(period * unit)

    def first_at(self, pts: int) -> int:
        """Give the number of the first output time at which a frame of this time may be shown; never negative."""
        return max(0, -((self._begin - pts * self._tick) // self._period))

    def reaches(self, pts: int, number: int) -> bool:
        """Tell whether this time is after output time `number`."""
        return pts * self._tick > self._begin + number * self._period


class Picker:
    """Decides which packets are needed. Tell it each packet with `add`, ask with `needed`."""

    def __init__(self, grid: Grid, count: int | None) -> None:
        """Pick for the first `count` output times, or for all."""
        self._grid = grid
        self._count = count
        self._known: list[int] = []  # times of the packets seen, in order
        self._latest: int | None = None  # decoding time of the last one

    def add(self, pts: int, dts: int) -> None:
        """Note one more packet, in the order of the file."""
        bisect.insort(self._known, pts)
        self._latest = dts

    def end(self) -> None:
        """Note that no packet follows."""
        self._latest = None
        self._ended = True

    _ended = False

    def needed(self, pts: int) -> bool | None:
        """Tell whether the frame of this time is shown; `None` while packets yet to come may decide it."""
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
        """Tell whether every further packet would be too late to be shown."""
        last = None if self._count is None else self._count - 1
        return last is not None and self._latest is not None and self._grid.reaches(self._latest, max(last, 0))

    def forget(self, pts: int) -> None:
        """Let go of times long before this one."""
        keep = bisect.bisect_left(self._known, pts) - _REMEMBERED
        if keep > 0:
            del self._known[:keep]


_REMEMBERED = 64  # more than any codec reorders
