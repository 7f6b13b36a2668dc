"""A timeline → segments. Pure: `media.analysis` finds good places to cut, this module chooses among them.

Segments have a maximum length that includes their overlap. Together they cover every instant, in order; a cut may
move up to five seconds *earlier* than the length allows, never later.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction

from qwen_omni.errors import ConfigurationError
from qwen_omni.ranges import END, START, checked

DEFAULT_SECONDS = Fraction(90)
MOST_MOVED = Fraction(5)
"""How many seconds earlier than necessary a cut may be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """A slice of a timeline, in exact seconds from its start."""

    index: int
    start: Fraction
    end: Fraction

    @property
    def duration(self) -> Fraction:
        """Its length in seconds."""
        return self.end - self.start


@dataclass(frozen=True, slots=True, kw_only=True)
class CutPoint:
    """A place where a cut loses little; `weight` is how good it is."""

    at: Fraction
    weight: int = 1


Places = Callable[[Fraction, Fraction], Sequence[CutPoint]]
"""Finds good places between two times, the later of which is the nominal cut."""


def plan_segments(
    duration: Fraction,
    *,
    seconds: Fraction = DEFAULT_SECONDS,
    overlap: Fraction = Fraction(0),
    shortest: Fraction = Fraction(0),
    places: Places = lambda _from, _to: (),
) -> Iterator[Segment]:
    """Cut a timeline into segments, one at a time, so that `places` is called only when a cut is due.

    Args:
        duration: of the timeline.
        seconds: maximum length of a segment, overlap included.
        overlap: how much of a segment's end the next one repeats.
        shortest: minimum length of a segment, unless the whole timeline is shorter.
        places: good places for a cut.

    Raises:
        ConfigurationError: an impossible length, or lengths that leave no room for the next cut.
    """
    check_lengths(duration, seconds=seconds, overlap=overlap, shortest=shortest)
    index, start = 0, Fraction(0)
    while True:
        end = min(start + seconds, duration)
        if end < duration:
            end = _cut(start, end, duration - shortest, places)
        yield Segment(index=index, start=start, end=end)
        if end >= duration:
            return
        index, start = index + 1, end - overlap


def check_lengths(duration: Fraction, *, seconds: Fraction, overlap: Fraction, shortest: Fraction) -> None:
    """Check whether a timeline can be cut this way; the arguments are those of `plan_segments`.

    Raises:
        ConfigurationError: an impossible length, or lengths that leave no room for the next cut.
    """
    checked("seconds", seconds, END)
    checked("overlap", overlap, START)
    least = overlap + MOST_MOVED + shortest
    if duration > seconds and seconds <= least:
        raise ConfigurationError(
            f"Segments of {float(seconds):g} s with {float(overlap):g} s overlap leave no room: a cut may fall "
            f"{float(MOST_MOVED):g} s earlier. Use segments of more than {float(least):g} s, or less overlap."
        )


def _cut(start: Fraction, nominal: Fraction, last: Fraction, places: Places) -> Fraction:
    """Choose the best place at most five seconds before the nominal cut; leave a tail that is not too short."""
    nominal = max(min(nominal, last), start + (nominal - start) / 2)
    earliest = nominal - MOST_MOVED
    found = [place for place in places(earliest, nominal) if earliest <= place.at <= nominal]
    best = max(found, key=lambda place: (place.weight, place.at), default=None)
    return nominal if best is None else best.at


def count_segments(duration: Fraction, *, seconds: Fraction, overlap: Fraction = Fraction(0)) -> int:
    """Estimate the number of segments; moved cuts may add a few."""
    if duration <= seconds:
        return 1
    step = seconds - overlap
    return 1 + -(-(duration - seconds) // step)
