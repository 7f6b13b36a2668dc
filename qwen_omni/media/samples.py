"""The tables of an MP4 track that tell when its samples are and where, and the same tables of a part of them. Pure.

A sample is a picture or a piece of sound. (ISO/IEC 14496-12, 8.6 and 8.7: `stts` tells how long each lasts, `ctts` how
much later it is shown, `stss` which can be begun with, `stsz` its size, `stsc` and `stco` or `co64` where it lies.)
"""

import itertools
import math
import operator
import sys
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from fractions import Fraction

_FIRST = 64  # samples that always stay: how a film begins is learned from them
_BEHIND = 64  # samples that stay behind the wanted ones: more than a picture is ever shown late
_LONGEST = 2**31  # ticks of one sample; FFmpeg takes more for a mistake
_HEAD = 8  # bytes of a table before its entries: version, flags and how many there are
_ROLL = b"roll"  # a grouping of samples that tells players of sound how early to begin; FFmpeg passes over it

TABLES = frozenset({b"stts", b"ctts", b"stss", b"stsz", b"stsc", b"stco", b"co64", b"sdtp"})
"""Boxes that tell something of each sample, and can be written for some of them."""

GROUPINGS = frozenset({b"sbgp", b"sgpd"})
"""Boxes that group samples; left out, and of no other kind than players use for sound."""

FOREIGN = frozenset({b"stps", b"stz2", b"stsh", b"padb", b"stdp", b"subs", b"saiz", b"saio", b"senc"})
"""Boxes that tell of samples in other ways; a track with one is left as it is."""

Run = tuple[int, int]  # so many samples, and what is told of each


class UnusualIndexError(Exception):
    """An index that is better left as it is."""


class Samples:
    """The samples of one track."""

    def __init__(self, tables: dict[bytes, bytes]) -> None:
        places = b"co64" if b"co64" in tables else b"stco"
        if not {b"stts", b"stsz", b"stsc", places} <= tables.keys():
            raise UnusualIndexError
        if any(tables.get(kind, bytes(4) + _ROLL)[4:8] != _ROLL for kind in GROUPINGS):
            raise UnusualIndexError
        if tables[b"stsz"][4:8] != bytes(4):
            raise UnusualIndexError  # all of one size, as in PCM, of which FFmpeg keeps little
        self._heads = {kind: table[:4] for kind, table in tables.items()}
        self._sizes = _numbers(tables[b"stsz"], 1, before=12)
        self._places = _numbers(tables[places], 1, size=8 if places == b"co64" else 4)
        lasting = _numbers(tables[b"stts"], 2)
        self._durations = _Durations(lasting[0::2], lasting[1::2])
        delays = _numbers(tables[b"ctts"], 2) if b"ctts" in tables else None
        self._delays = None if delays is None else _Runs(delays[0::2], delays[1::2])
        self._keys = _numbers(tables[b"stss"], 1) if b"stss" in tables else None
        self._marks = tables[b"sdtp"][4:] if b"sdtp" in tables else None
        self._chunks = _Chunks(_numbers(tables[b"stsc"], 3), len(self._places))
        self.count = len(self._sizes)
        self._parts: list[range] = []
        self._check()

    def _check(self) -> None:
        told = [self._durations.count, self.count if self._delays is None else self._delays.count, self._chunks.samples]
        if any(count != self.count for count in told) or not self.count:
            raise UnusualIndexError
        if self._marks is not None and len(self._marks) != self.count:
            raise UnusualIndexError
        bounds = [0, *(self._keys or ()), self.count + 1]
        if any(later <= earlier for earlier, later in itertools.pairwise(bounds)):
            raise UnusualIndexError

    def keep(self, begin: Fraction, end: Fraction | None, *, skipped: int) -> None:
        """Keep the samples between two times, and the first ones.

        Args:
            begin: in ticks of the track; the samples go back from there to one that can be begun with.
            end: the same; `None` keeps all that follow.
            skipped: ticks at the beginning that are not shown. They must be among the first samples.
        """
        if skipped > self._durations.sum_before(min(_FIRST // 2, self.count)):
            raise UnusualIndexError
        first = self._durations.index_at(begin)
        if self._keys is not None:
            at = bisect_right(self._keys, first + 1) - 2  # they count from one; and one more, for safety
            first = self._keys[at] - 1 if at >= 0 else 0
        last = self.count if end is None else min(self.count, self._durations.index_at(end) + 1 + _BEHIND)
        if first <= _FIRST:
            self._parts = [range(last)]
        else:
            self._parts = [range(_FIRST), range(first, max(first + 1, last))]
        if 2 * sum(map(len, self._parts)) > self.count:
            raise UnusualIndexError  # most of it is wanted

    def table(self, kind: bytes) -> bytes:
        """Write one table of the samples that are kept.

        Raises:
            UnusualIndexError: between the first and the others lies more than a table can tell.
        """
        kept = [number for part in self._parts for number in part]
        match kind:
            case b"stts":
                entries = _written_runs(self._kept_durations())
            case b"ctts":
                assert self._delays is not None
                entries = _written_runs(run for part in self._parts for run in self._delays.within(part))
            case b"stss":
                assert self._keys is not None
                keys = set(self._keys[bisect_left(self._keys, kept[0] + 1) : bisect_right(self._keys, kept[-1] + 1)])
                entries = _written([at for at, number in enumerate(kept, 1) if number + 1 in keys])
            case b"stsz":
                entries = bytes(4) + _written([self._sizes[number] for number in kept])
            case b"stsc":
                entries = (1).to_bytes(4, "big") * 4  # each chunk is one sample now
            case b"stco" | b"co64":
                places = [place for part in self._parts for place in self._places_of(part)]
                entries = _written(places, size=8 if kind == b"co64" else 4)
            case _:
                assert self._marks is not None
                entries = b"".join(self._marks[part.start : part.stop] for part in self._parts)
        return self._heads[kind] + entries

    def _kept_durations(self) -> Iterator[Run]:
        """Give how long samples last; the last of each part lasts until the next one that is kept begins."""
        starts = [*(part.start for part in self._parts[1:]), self.count]
        for part, start in zip(self._parts, starts, strict=True):
            yield from self._durations.within(range(part.start, part.stop - 1))
            until = self._durations.sum_before(start) - self._durations.sum_before(part.stop - 1)
            if until >= _LONGEST:
                raise UnusualIndexError
            yield 1, until

    def _places_of(self, part: range) -> Iterator[int]:
        """Tell where in the file samples lie."""
        for chunk, samples in self._chunks.holding(part):
            at = self._places[chunk]
            for number in samples:
                if number >= part.start:
                    yield at
                at += self._sizes[number]


class _Runs:
    """Numbers told in runs: so many samples have this one."""

    def __init__(self, counts: "array[int]", values: "array[int]") -> None:
        self._ends = _summed(counts)
        self._values = values

    @property
    def count(self) -> int:
        """How many samples are told of."""
        return self._ends[-1] if self._ends else 0

    def within(self, part: range) -> Iterator[Run]:
        """Give the runs of some samples."""
        at, run = part.start, bisect_right(self._ends, part.start)
        while at < part.stop:
            end = min(self._ends[run], part.stop)
            yield end - at, self._values[run]
            at, run = end, run + 1


class _Durations(_Runs):
    """How long samples last, in ticks."""

    def __init__(self, counts: "array[int]", values: "array[int]") -> None:
        super().__init__(counts, values)
        if max(values, default=0) >= _LONGEST:
            raise UnusualIndexError  # some writers mean a negative number
        self._sums = _summed(map(operator.mul, counts, values))

    def sum_before(self, sample: int) -> int:
        """Tell when a sample begins, or the end for the one behind the last."""
        run = min(bisect_left(self._ends, sample), len(self._ends) - 1)
        end, until, each = self._ends[run], self._sums[run], self._values[run]
        return until - (end - sample) * each

    def index_at(self, ticks: Fraction) -> int:
        """Tell which sample is the last that has begun at a time; the first one before all of them."""
        run = bisect_right(self._sums, ticks)
        if run == len(self._sums):
            return self.count - 1
        behind = self._ends[run] - math.ceil((self._sums[run] - ticks) / self._values[run])
        return max(0, behind)


class _Chunks:
    """How many samples lie side by side in each chunk of the file."""

    def __init__(self, entries: "array[int]", count: int) -> None:
        self._firsts, self._each = entries[0::3], entries[1::3]  # chunks count from one
        borders = itertools.chain(self._firsts, [count + 1])
        spans = array("q", (later - first for first, later in itertools.pairwise(borders)))
        if list(self._firsts[:1]) != [1] or min(spans) < 1 or min(self._each) < 1 or set(entries[2::3]) != {1}:
            raise UnusualIndexError  # several codecs in one track, or nonsense
        self._ends = _summed(map(operator.mul, spans, self._each))

    @property
    def samples(self) -> int:
        """How many samples all chunks hold."""
        return self._ends[-1]

    def holding(self, part: range) -> Iterator[tuple[int, range]]:
        """Give the chunks that hold some samples, each with its samples from its first on."""
        at, run = part.start, bisect_right(self._ends, part.start)
        while at < part.stop:
            if at >= self._ends[run]:
                run += 1
            each, before = self._each[run], self._ends[run - 1] if run else 0
            index = (at - before) // each
            begin = before + index * each
            yield self._firsts[run] - 1 + index, range(begin, min(begin + each, part.stop))
            at = begin + each


def _summed(numbers: Iterable[int]) -> "array[int]":
    return array("Q", itertools.accumulate(numbers))


def _numbers(table: bytes, each: int, *, before: int = _HEAD, size: int = 4) -> "array[int]":
    """Read the numbers of a table, of which each entry has some."""
    count = int.from_bytes(table[before - 4 : before], "big") * each
    if len(table) - before < count * size:
        raise UnusualIndexError
    numbers = array("I" if size == 4 else "Q")  # noqa: PLR2004
    numbers.frombytes(memoryview(table)[before : before + count * size])
    if sys.byteorder == "little":
        numbers.byteswap()
    return numbers


def _written(numbers: list[int], *, size: int = 4) -> bytes:
    return len(numbers).to_bytes(4, "big") + b"".join(number.to_bytes(size, "big") for number in numbers)


def _written_runs(runs: Iterable[Run]) -> bytes:
    entries = list(runs)
    numbers = itertools.chain.from_iterable(entries)
    return len(entries).to_bytes(4, "big") + b"".join(number.to_bytes(4, "big") for number in numbers)
