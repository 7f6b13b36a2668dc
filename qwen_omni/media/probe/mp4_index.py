"""A smaller index for readers of an MP4, and the frame size in its H.264 headers. Reads the file; imports no FFmpeg.

FFmpeg stores the whole index of a file it opens, some 40 bytes for each frame and piece of audio, once per reader. With
several readers at work on a long video, each on half a minute of it, memory would grow with the video's length. A
reader that knows which seconds it needs gets an index of those: the first samples of each track, which show how it
begins, and those around the wanted seconds, at their own times and places. The file itself is never changed; only the
bytes read from it are (`MaskedFile`). An index with anything unusual in it is left unchanged, which costs only memory.

Sources: ISO/IEC 14496-12, 8.6 to 8.8 (`stts` durations, `ctts` composition offsets, `stss` sync samples, `stsz` sizes,
`stsc` and `stco`/`co64` places); ISO/IEC 14496-15, 5.3.3.1, and ITU-T H.264, 7.3.2.1.1, for the frame size. The box
around the stream states a size too, but it may be the display size, or wrong.
"""

import contextlib
import io
import itertools
import math
import operator
import sys
import threading
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import IO

from qwen_omni.media.probe.mp4 import boxes_in, handlers_of

_FREE = b"free"  # the type of a box that holds nothing


class MaskedFile:
    """A file with some boxes hidden, and with other bytes after its end.

    Args:
        file: open for reading; its position is ours.
        size_bytes: its size.
        hidden: where in it the types of boxes to skip are.
        behind: the bytes that follow its last byte.
    """

    def __init__(self, file: IO[bytes], size_bytes: int, hidden: Sequence[int], behind: bytes = b"") -> None:
        self._file, self._size, self._hidden, self._behind = file, size_bytes, hidden, behind
        self._at = 0

    def read(self, size: int) -> bytes:
        """Return up to `size` bytes; fewer at a border."""
        if self._at >= self._size:
            block = self._behind[self._at - self._size :][:size]
        else:
            self._file.seek(self._at)
            block = hide_boxes(self._file.read(min(size, self._size - self._at)), self._at, self._hidden)
        self._at += len(block)
        return block

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Seek, and return the new position."""
        if whence not in (io.SEEK_SET, io.SEEK_CUR, io.SEEK_END):
            raise ValueError(f"cannot seek from {whence}")
        base = (0, self._at, self._size + len(self._behind))[whence]
        self._at = max(0, base + offset)
        return self._at

    def tell(self) -> int:
        """Return the position."""
        return self._at


def hide_boxes(block: bytes, at: int, kinds: Sequence[int]) -> bytes:
    """Return a block of a file with some boxes renamed to `free`, which every reader skips.

    Args:
        block: bytes of the file.
        at: where in the file they begin.
        kinds: where in the file the types of the boxes are; anywhere, or partly in the block.
    """
    for place in kinds:
        begin, end = max(place, at), min(place + len(_FREE), at + len(block))
        if begin < end:
            block = block[: begin - at] + _FREE[begin - place : end - place] + block[end - at :]
    return block


_FIRST = 64  # samples that are always included: they show how a video begins
_BEHIND = 64  # samples included after the wanted ones: more than any frame is reordered
_LONGEST = 2**31  # ticks of one sample; FFmpeg treats more as an error
_HEAD = 8  # bytes of a table before its entries: version, flags and their number
_ROLL = b"roll"  # a sample group that says how early audio players must begin; FFmpeg ignores it

TABLES = frozenset({b"stts", b"ctts", b"stss", b"stsz", b"stsc", b"stco", b"co64", b"sdtp"})
"""Boxes with an entry for each sample, which can be written for some of them."""

GROUPINGS = frozenset({b"sbgp", b"sgpd"})
"""Boxes that group samples; omitted, and only of the type that players use for audio."""

FOREIGN = frozenset({b"stps", b"stz2", b"stsh", b"padb", b"stdp", b"subs", b"saiz", b"saio", b"senc"})
"""Boxes that describe samples in other ways; a track with one is left unchanged."""

Run = tuple[int, int]  # number of samples, and the value of each


class UnusualIndexError(Exception):
    """An index that is better left unchanged."""


class Samples:
    """The samples of one track."""

    def __init__(self, tables: dict[bytes, bytes]) -> None:
        places = b"co64" if b"co64" in tables else b"stco"
        if not {b"stts", b"stsz", b"stsc", places} <= tables.keys():
            raise UnusualIndexError
        if any(tables.get(kind, bytes(4) + _ROLL)[4:8] != _ROLL for kind in GROUPINGS):
            raise UnusualIndexError
        if tables[b"stsz"][4:8] != bytes(4):
            raise UnusualIndexError  # all of one size, as in PCM, of which FFmpeg stores little
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
        delays = self.count if self._delays is None else self._delays.count
        counts = [self._durations.count, delays, self._chunks.samples]
        if any(count != self.count for count in counts) or not self.count:
            raise UnusualIndexError
        if self._marks is not None and len(self._marks) != self.count:
            raise UnusualIndexError
        bounds = [0, *(self._keys or ()), self.count + 1]
        if any(later <= earlier for earlier, later in itertools.pairwise(bounds)):
            raise UnusualIndexError

    def keep(self, begin: Fraction, end: Fraction | None, *, skipped: int) -> None:
        """Select the samples between two times, and the first ones.

        Args:
            begin: in ticks of the track; moved back to a sample at which decoding can start.
            end: the same; `None` selects all that follow.
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
        """Write one table of the selected samples.

        Raises:
            UnusualIndexError: the gap between the first samples and the others is too large for the table.
        """
        selected = [number for part in self._parts for number in part]
        match kind:
            case b"stts":
                entries = _written_runs(self._selected_durations())
            case b"ctts":
                assert self._delays is not None
                entries = _written_runs(run for part in self._parts for run in self._delays.within(part))
            case b"stss":
                assert self._keys is not None
                first, last = selected[0] + 1, selected[-1] + 1
                keys = set(self._keys[bisect_left(self._keys, first) : bisect_right(self._keys, last)])
                entries = _written([at for at, number in enumerate(selected, 1) if number + 1 in keys])
            case b"stsz":
                entries = bytes(4) + _written([self._sizes[number] for number in selected])
            case b"stsc":
                entries = (1).to_bytes(4, "big") * 4  # each chunk is one sample now
            case b"stco" | b"co64":
                places = [place for part in self._parts for place in self._places_of(part)]
                entries = _written(places, size=8 if kind == b"co64" else 4)
            case _:
                assert self._marks is not None
                entries = b"".join(self._marks[part.start : part.stop] for part in self._parts)
        return self._heads[kind] + entries

    def _selected_durations(self) -> Iterator[Run]:
        """Yield the durations of samples; the last of each part lasts until the next selected one begins."""
        starts = [*(part.start for part in self._parts[1:]), self.count]
        for part, start in zip(self._parts, starts, strict=True):
            yield from self._durations.within(range(part.start, part.stop - 1))
            until = self._durations.sum_before(start) - self._durations.sum_before(part.stop - 1)
            if until >= _LONGEST:
                raise UnusualIndexError
            yield 1, until

    def _places_of(self, part: range) -> Iterator[int]:
        """Yield where in the file samples lie."""
        for chunk, samples in self._chunks.holding(part):
            at = self._places[chunk]
            for number in samples:
                if number >= part.start:
                    yield at
                at += self._sizes[number]


class _Runs:
    """Run-length encoded numbers: each run is a count of samples and their value."""

    def __init__(self, counts: "array[int]", values: "array[int]") -> None:
        self._ends = _summed(counts)
        self._values = values

    @property
    def count(self) -> int:
        """Number of samples described."""
        return self._ends[-1] if self._ends else 0

    def within(self, part: range) -> Iterator[Run]:
        """Yield the runs of some samples."""
        at, run = part.start, bisect_right(self._ends, part.start)
        while at < part.stop:
            end = min(self._ends[run], part.stop)
            yield end - at, self._values[run]
            at, run = end, run + 1


class _Durations(_Runs):
    """Durations of samples, in ticks."""

    def __init__(self, counts: "array[int]", values: "array[int]") -> None:
        super().__init__(counts, values)
        if max(values, default=0) >= _LONGEST:
            raise UnusualIndexError  # some writers mean a negative number
        self._sums = _summed(map(operator.mul, counts, values))

    def sum_before(self, sample: int) -> int:
        """Return when a sample begins, or the end for the one after the last."""
        run = min(bisect_left(self._ends, sample), len(self._ends) - 1)
        end, until, each = self._ends[run], self._sums[run], self._values[run]
        return until - (end - sample) * each

    def index_at(self, ticks: Fraction) -> int:
        """Return the last sample that has begun at a time; before all of them, the first one."""
        run = bisect_right(self._sums, ticks)
        if run == len(self._sums):
            return self.count - 1
        behind = self._ends[run] - math.ceil((self._sums[run] - ticks) / self._values[run])
        return max(0, behind)


class _Chunks:
    """How many samples each chunk of the file holds."""

    def __init__(self, entries: "array[int]", count: int) -> None:
        self._firsts, self._each = entries[0::3], entries[1::3]  # chunks count from one
        borders = itertools.chain(self._firsts, [count + 1])
        spans = array("q", (later - first for first, later in itertools.pairwise(borders)))
        if list(self._firsts[:1]) != [1] or min(spans) < 1 or min(self._each) < 1 or set(entries[2::3]) != {1}:
            raise UnusualIndexError  # several codecs in one track, or nonsense
        self._ends = _summed(map(operator.mul, spans, self._each))

    @property
    def samples(self) -> int:
        """Number of samples in all chunks."""
        return self._ends[-1]

    def holding(self, part: range) -> Iterator[tuple[int, range]]:
        """Yield the chunks that hold some samples, each with its samples from its first on."""
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
    """Read the numbers of a table with several per entry."""
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


LEAST_SAMPLES = 30_000
"""Of a track whose index is narrowed; at 30 frames per second the video lasts 17 minutes."""

_MARGIN = Fraction(5)  # seconds around the wanted range; readers look ahead slightly, and begin slightly earlier
_MOST_TOP_BOXES = 1_000
_MOST_EDITS = 2  # an empty one, and the movie
_OPENED = frozenset({b"trak", b"mdia", b"minf", b"stbl"})  # boxes of boxes on the way to the tables
_DEEPEST = 4
_LEFT_OUT = frozenset({b"udta", b"meta", b"uuid", b"free", b"skip"})  # titles, covers and the like
_READ_ALONE = ([b"vide"], [b"soun"])  # handlers of tracks that may be left out
_ONE = bytes.fromhex("00010000")  # the usual speed of an edit
_TOLD_ONCE = TABLES | GROUPINGS | {b"mdhd", b"elst"}
_ONE_AT_A_TIME = threading.Lock()  # the tables of a track are briefly in memory, 10 MB for two hours
_TIMESCALE_AT = (12, 20)  # bytes into `mvhd` and `mdhd`, of version 0 and 1
_KIND_BYTES = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """The seconds of a video that will be read, in the file's own time; without an end, to the last."""

    begin: Fraction
    end: Fraction | None


def narrowed(file: IO[bytes], size_bytes: int, handler: bytes, wanted: Wanted) -> MaskedFile | None:
    """Return the file with an index of the wanted seconds only; `None` if it is better left unchanged.

    Args:
        file: any file.
        size_bytes: its size.
        handler: `b"vide"` or `b"soun"`: the kind of track that is read. Those of the other kind are then missing.
        wanted: what will be read from it.
    """
    with _ONE_AT_A_TIME, contextlib.suppress(UnusualIndexError, OverflowError):  # the latter: too large for a table
        kind_at, begin, end = _index(file, size_bytes)
        index = b"".join(_moov(file, begin, end, handler, wanted))
        return MaskedFile(file, size_bytes, [kind_at], _box(b"moov", index))
    return None


def _index(file: IO[bytes], size_bytes: int) -> tuple[int, int, int]:
    """Find the only index: the position of its type, and where it begins and ends."""
    found: list[tuple[int, int, int]] = []
    last = 0
    for count, (kind, begin, end) in enumerate(boxes_in(file, 0, size_bytes)):
        last = end
        if kind == b"moov":
            found.append((begin - _KIND_BYTES, begin, end))
        if kind == b"moof" or count > _MOST_TOP_BOXES or (kind == b"mdat" and not _tells_size(file, begin)):
            raise UnusualIndexError
    if len(found) != 1 or last != size_bytes:
        raise UnusualIndexError  # nothing can be appended to such a file
    file.seek(found[0][0])
    if file.read(_KIND_BYTES) != b"moov":
        raise UnusualIndexError  # its length is a 64-bit number
    return found[0]


def _tells_size(file: IO[bytes], begin: int) -> bool:
    """Whether a payload states where it ends; otherwise it would end after a new index."""
    file.seek(begin - 8)
    return file.read(8) != bytes(4) + b"mdat"


def _moov(file: IO[bytes], begin: int, end: int, handler: bytes, wanted: Wanted) -> Iterator[bytes]:
    """Write the boxes of an index again."""
    inside = list(boxes_in(file, begin, end))
    headers = [at for kind, at, _ in inside if kind == b"mvhd"]
    if len(headers) != 1 or any(kind == b"mvex" for kind, _, _ in inside):
        raise UnusualIndexError
    named = {at: handlers_of(file, at, until) for kind, at, until in inside if kind == b"trak"}
    tracks = {at: _Track(file, at, until) for _, at, until in inside if named.get(at) == [handler]}
    if max((track.count for track in tracks.values()), default=0) < LEAST_SAMPLES:
        raise UnusualIndexError  # it is short enough
    for kind, at, until in inside:
        if at in tracks:
            yield _box(kind, b"".join(tracks[at].narrowed(_timescale(file, headers[0]), wanted)))
        elif named.get(at) not in _READ_ALONE and kind not in _LEFT_OUT:
            yield _box(kind, _bytes(file, at, until))


class _Track:
    """One track of video or audio, and where its boxes are."""

    def __init__(self, file: IO[bytes], begin: int, end: int) -> None:
        self._file, self._begin, self._end = file, begin, end
        self._found: dict[bytes, tuple[int, int]] = {}
        for kind, at, until in self._walk(begin, end, 0):
            if kind in FOREIGN or (kind in self._found and kind in _TOLD_ONCE):
                raise UnusualIndexError
            self._found[kind] = (at, until)

    def _walk(self, begin: int, end: int, depth: int) -> Iterator[tuple[bytes, int, int]]:
        if depth > _DEEPEST:
            raise UnusualIndexError
        for kind, at, until in boxes_in(self._file, begin, end):
            yield kind, at, until
            if kind in _OPENED or kind == b"edts":
                yield from self._walk(at, until, depth + 1)

    @property
    def count(self) -> int:
        """Number of samples that it claims."""
        return int.from_bytes(self._table(b"stsz", most=12)[8:], "big")

    def narrowed(self, timescale: int, wanted: Wanted) -> Iterator[bytes]:
        """Write its boxes, with the tables of the wanted samples."""
        if b"mdhd" not in self._found:
            raise UnusualIndexError
        ticks = _timescale(self._file, self._found[b"mdhd"][0])
        samples = Samples({kind: self._table(kind) for kind in TABLES | GROUPINGS if kind in self._found})
        skipped, late = self._edits(timescale)
        shift = skipped - late * ticks  # from the file's own time to that of the track, in its ticks
        end = None if wanted.end is None else (wanted.end + _MARGIN) * ticks + shift
        samples.keep((wanted.begin - _MARGIN) * ticks + shift, end, skipped=skipped)
        return self._boxes(self._begin, self._end, samples)

    def _boxes(self, begin: int, end: int, samples: Samples) -> Iterator[bytes]:
        for kind, at, until in boxes_in(self._file, begin, end):
            if kind in _OPENED:
                yield _box(kind, b"".join(self._boxes(at, until, samples)))
            elif kind in TABLES:
                yield _box(kind, samples.table(kind))
            elif kind not in GROUPINGS:
                yield _box(kind, _bytes(self._file, at, until))

    def _table(self, kind: bytes, *, most: int | None = None) -> bytes:
        """Read one of its boxes; empty if it is missing."""
        begin, end = self._found.get(kind, (0, 0))
        return _bytes(self._file, begin, end if most is None else min(end, begin + most))

    def _edits(self, timescale: int) -> tuple[int, Fraction]:
        """Return how many ticks of a track are not shown, and how many seconds late it begins."""
        table = self._table(b"elst") or bytes(_HEAD)
        count, size = int.from_bytes(table[4:8], "big"), 20 if table[:1] == b"\1" else 12
        if count > _MOST_EDITS or len(table) < _HEAD + count * size:
            raise UnusualIndexError
        half = size // 2 - 2  # the first two numbers of an edit; its speed follows
        entries = [table[at : at + size] for at in range(_HEAD, _HEAD + count * size, size)]
        edits = [
            (int.from_bytes(entry[:half], "big"), int.from_bytes(entry[half : 2 * half], "big", signed=True))
            for entry in entries
        ]
        late = Fraction(0)
        if edits and edits[0][1] == -1:
            late = Fraction(edits.pop(0)[0], timescale)
        if len(edits) > 1 or any(skipped < 0 for _, skipped in edits) or {entry[-4:] for entry in entries} - {_ONE}:
            raise UnusualIndexError
        return (edits[0][1] if edits else 0), late


def _timescale(file: IO[bytes], at: int) -> int:
    file.seek(at)
    head = file.read(24)
    place = _TIMESCALE_AT[head[:1] == b"\1"]
    ticks = int.from_bytes(head[place : place + 4], "big")
    if not ticks:
        raise UnusualIndexError
    return ticks


def _bytes(file: IO[bytes], begin: int, end: int) -> bytes:
    file.seek(begin)
    return file.read(end - begin)


def _box(kind: bytes, inside: bytes) -> bytes:
    return (len(inside) + 8).to_bytes(4, "big") + kind + inside


_CHROMA_PROFILES = frozenset({100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135})  # they state their chroma
_PLAIN_CHROMA, _FULL_CHROMA = 1, 3  # 4:2:0 and 4:4:4
_CROP_UNITS = {0: (1, 1), 1: (2, 2), 2: (2, 1), 3: (1, 1)}  # pixels, by chroma format
_MOST_ENTRIES = 255
_MOST_ZEROS = 32  # bits before a number; more is nonsense


def progressive_size(configuration: bytes) -> tuple[int, int] | None:
    """Read width and height in pixels, as decoded.

    Args:
        configuration: content of an `avcC` box; FFmpeg calls it extradata.

    Returns:
        `None` if it is not certain: several headers, possibly interlaced frames, damage, another kind of stream.
    """
    if len(configuration) < 8 or configuration[0] != 1 or configuration[5] & 0x1F != 1:  # noqa: PLR2004 - of the box
        return None
    length = int.from_bytes(configuration[6:8], "big")
    head = configuration[8 : 8 + length].replace(b"\0\0\3", b"\0\0")  # the escape of a start code
    try:
        return _size(_Bits(head))
    except (EOFError, KeyError):
        return None


class _Bits:
    """The bits of a byte string, and the two kinds of numbers that H.264 writes with them."""

    def __init__(self, data: bytes) -> None:
        self._value, self._left = int.from_bytes(data, "big"), 8 * len(data)

    def take(self, count: int) -> int:
        self._left -= count
        if self._left < 0:
            raise EOFError
        return self._value >> self._left & ((1 << count) - 1)

    def number(self) -> int:
        """Read an unsigned Exp-Golomb number: as many zeros as it has bits after its first one."""
        zeros = 0
        while not self.take(1):
            zeros += 1
            if zeros > _MOST_ZEROS:
                raise EOFError
        return (1 << zeros) - 1 + self.take(zeros)

    def signed(self) -> int:
        number = self.number()
        return (number + 1) // 2 if number % 2 else -(number // 2)


def _size(bits: _Bits) -> tuple[int, int] | None:
    bits.take(8)  # the type of unit
    profile = bits.take(8)
    bits.take(16)  # constraints and level
    bits.number()  # its own id
    chroma = _chroma(bits) if profile in _CHROMA_PROFILES else _PLAIN_CHROMA
    bits.number()  # bits of a frame's number
    _pass_order(bits)
    bits.number()  # reference frames
    bits.take(1)
    columns, rows = bits.number() + 1, bits.number() + 1
    if not bits.take(1):  # frames may be two fields
        return None
    bits.take(1)
    crop = [bits.number() for _ in range(4)] if bits.take(1) else [0] * 4
    across, down = _CROP_UNITS[chroma]
    width, height = 16 * columns - across * (crop[0] + crop[1]), 16 * rows - down * (crop[2] + crop[3])
    return (width, height) if width > 0 and height > 0 else None


def _chroma(bits: _Bits) -> int:
    chroma = bits.number()
    if chroma == _FULL_CHROMA:
        bits.take(1)
    bits.number()  # depth of luma
    bits.number()  # depth of chroma
    bits.take(1)
    if bits.take(1):
        for index in range(12 if chroma == _FULL_CHROMA else 8):
            if bits.take(1):
                _pass_scaling(bits, 16 if index < 6 else 64)  # noqa: PLR2004 - six small lists come first
    return chroma


def _pass_scaling(bits: _Bits, entries: int) -> None:
    last, following = 8, 8
    for _ in range(entries):
        if following:
            following = (last + bits.signed()) % 256
        last = following or last


def _pass_order(bits: _Bits) -> None:
    """Skip how the order of display is coded."""
    kind = bits.number()
    if kind == 0:
        bits.number()
    elif kind == 1:
        bits.take(1)
        bits.signed()
        bits.signed()
        for _ in range(min(bits.number(), _MOST_ENTRIES)):
            bits.signed()
