"""The boxes of an MP4, before FFmpeg reads them: counts are checked, and readers get no more index than they need.

FFmpeg allocates room for as many samples as a box claims before it reads them, and for some kinds of boxes fills it
with zeros: one wrong byte in 50 kB cost 900 MB. So the counts are checked first: a table must fit into its box,
and all samples together must be few enough to store. (ISO/IEC 14496-12; boxes are walked as FFmpeg walks them: a
box that claims to be longer than its parent ends with it.)

FFmpeg also stores the whole index of a file it opens, some 40 bytes for each frame and piece of audio, once per reader.
Half of that is about the audio, which a thread that works on frames never reads; so tracks of one kind can be hidden.
With several readers at work on a long video, each on half a minute of it, memory would still grow with the video's
length (two hours of 1080p30: 309 MB; if nothing is hidden, 344 MB; with what follows, 261 MB). A reader that knows
which seconds it needs gets an index of those: the first samples of each track, which show how it begins, and those
around the wanted seconds, at their own times and places. The file itself is never changed; only the bytes read from it
are (`MaskedFile`). An index with anything unusual in it is left unchanged, which costs only memory.

Reads the file; imports no FFmpeg. Sources: ISO/IEC 14496-12, 8.6 to 8.8 (`stts` durations, `ctts` composition offsets,
`stss` sync samples, `stsz` sizes, `stsc` and `stco`/`co64` places).
"""

import contextlib
import functools
import io
import itertools
import operator
import struct
import sys
import threading
from array import array
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import IO

from qwen_omni.errors import UnreadableMediaError, UnsupportedMediaError

MOST_SAMPLES = 8_000_000
"""Frames and pieces of audio of one file: FFmpeg stores some 50 bytes for each; 16 hours of 60 fps and audio."""

MOST_SKIPPED = 100_000
"""Boxes, chunks or elements that are skipped on the way to the end of a file."""

ENDLESS = 2**63
"""Bytes, for something that reaches to the end of its file, without asking for the file size."""

_MOST_BOXES = 500_000
_DEEPEST = 10  # FFmpeg goes no deeper either
_CONTAINERS = frozenset({b"moov", b"trak", b"mdia", b"minf", b"stbl", b"moof", b"traf", b"mvex", b"udta", b"meta"})
_TABLES = {b"trun", b"keys", b"iinf", b"stsz", b"stz2", b"stts", b"stsd", b"hdlr"}
_LOCKED = frozenset({b"encv", b"enca", b"drmi", b"drms"})  # codecs that need a key: ISO/IEC 23001-7, and Apple's own
_KIND_BYTES = 4
_MATRIX_AT = {(b"mvhd",): (36, 48), (b"trak", b"tkhd"): (40, 52)}  # bytes into the box, of version 0 and 1
_UPRIGHT = b"".join(number.to_bytes(4, "big") for number in (1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30))
_HEAD = 24  # bytes of a table that are checked
_EACH_TRUN = 0xF00  # flags: each set bit adds four bytes to each sample
_BEFORE_TRUN = 0x5  # flags: each set bit adds four bytes before the samples
_LEAST_KEY, _LEAST_ITEM = 8, 12  # bytes


@dataclass(slots=True)
class _Track:
    """What a track states about its samples."""

    samples: int = 0
    audio: bool = False
    even: bool = False  # one sample per tick: plain PCM, of which FFmpeg stores chunks and not samples


@dataclass(slots=True)
class _Found:
    """What was found so far."""

    boxes: int = 0
    fragments: int = 0
    tracks: list[_Track] = field(default_factory=lambda: [_Track()])

    @property
    def samples(self) -> int:
        stored = (0 if track.audio and track.even else track.samples for track in self.tracks)
        return self.fragments + sum(stored)


def check_boxes(file: IO[bytes], size_bytes: int) -> None:
    """Check the index of a file that may be an MP4; any other file is left after a few bytes.

    Raises:
        UnreadableMediaError: a table claims more entries than its box holds, or all together more than can be stored.
        UnsupportedMediaError: a track is encrypted; FFmpeg would silently decode it to grey noise.
    """
    found = _Found()
    _walk(file, 0, size_bytes, found, 0)
    file.seek(0)


def tracks_of(file: IO[bytes], size_bytes: int, handler: bytes) -> list[int]:
    """Return where the tracks of an MP4 with a given handler state their box type, for `hide_boxes`.

    A track that refers to others is left out, since their meaning depends on it; so is one that names two handlers.

    Args:
        file: any file; one that is not an MP4 has no tracks.
        size_bytes: its size.
        handler: `b"vide"` for video, `b"soun"` for audio.
    """
    tracks = boxes_at(file, *_first_index(file, size_bytes), b"trak")
    found = [at - _KIND_BYTES for at, until in tracks if handlers_of(file, at, until) == [handler]]
    file.seek(0)
    return found


def payload_end(file: IO[bytes], size_bytes: int) -> tuple[int, bool, int | None]:
    """Find where the indexed payloads of an MP4 end; any other file is left after a few bytes.

    Returns:
        The end that a cut file states, else 0; whether the payloads lie in fragments, each with its own index; and
        where another file begins that is joined to this one, if one is.
    """
    indexed = fragments = False
    for kind, begin, end in itertools.islice(boxes_in(file, 0, ENDLESS), MOST_SKIPPED):
        if indexed and kind == b"ftyp":
            return 0, fragments, begin - 8
        indexed = indexed or kind == b"moov"
        fragments = fragments or kind == b"moof"
        if size_bytes < end < ENDLESS and _is_needed(file, kind, begin, size_bytes, indexed=indexed):
            return end, fragments, None
        if end >= size_bytes:
            break
    return 0, False, None


def lacks_index(file: IO[bytes], size_bytes: int) -> bool:
    """Whether a file is an MP4 with a payload and nothing that says what is in it: no movie, fragment or image."""
    kinds = {kind for kind, _, _ in itertools.islice(boxes_in(file, 0, size_bytes), MOST_SKIPPED)}
    return {b"ftyp", b"mdat"} <= kinds and not kinds & {b"moov", b"moof", b"meta"}


def _is_needed(file: IO[bytes], kind: bytes, begin: int, size_bytes: int, *, indexed: bool) -> bool:
    """Whether a box that the file cuts off holds video or audio, or lists some: only titles and covers follow those."""
    if kind != b"moov":
        return indexed and kind == b"mdat"
    inside = [inner for inner, _, _ in itertools.islice(boxes_in(file, begin, size_bytes), MOST_SKIPPED)]
    return not inside or inside[-1] not in _LEFT_OUT


def is_upright(file: IO[bytes], size_bytes: int) -> bool:
    """Whether a file is an MP4 without rotated, mirrored or stretched tracks."""
    found = list(_matrices(file, size_bytes))
    file.seek(0)
    return len(found) > 1 and all(matrix == _UPRIGHT for matrix in found)  # the movie's own, and one of each track


def second_edit(file: IO[bytes], size_bytes: int) -> Fraction | None:
    """Return the second at which the second edit of a track is shown: a part was cut out, moved or repeated.

    FFmpeg follows such edits when it reads from the start, but seeks to wrong positions.
    """
    first = None
    with contextlib.suppress(UnusualIndexError):
        first = min(_second_edits(file, *_first_index(file, size_bytes)), default=None)
    file.seek(0)
    return first


def _second_edits(file: IO[bytes], begin: int, end: int) -> Iterator[Fraction]:
    ticks = next((_timescale(file, at) for at, _ in boxes_at(file, begin, end, b"mvhd")), 1)
    for at, until in boxes_at(file, begin, end, b"trak", b"edts", b"elst"):
        edits = _entries(_bytes(file, at, min(until, at + _MOST_EDIT_BYTES)))
        shown = [number for number, (_, first) in enumerate(edits) if first != _GAP]
        if len(shown) > 1:
            yield Fraction(sum(length for length, _ in edits[: shown[1]]), ticks)


def _entries(table: bytes) -> list[tuple[int, int]]:
    """Read an edit list (`elst`): how long each edit is shown, in ticks of the movie, and its first tick of the media.

    An edit that shows nothing begins at -1.
    """
    size = 20 if table[:1] == b"\1" else 12
    half = size // 2 - 2  # the first two numbers of an edit; its speed follows
    count = min(int.from_bytes(table[4:8], "big"), max(0, len(table) - _TABLE_HEAD) // size)
    entries = (table[at : at + size] for at in range(_TABLE_HEAD, _TABLE_HEAD + count * size, size))
    return [
        (int.from_bytes(entry[:half], "big"), int.from_bytes(entry[half : 2 * half], "big", signed=True))
        for entry in entries
    ]


def _matrices(file: IO[bytes], size_bytes: int) -> Iterator[bytes]:
    """Read the display matrices of a movie (`mvhd`) and its tracks (`tkhd`)."""
    index = _first_index(file, size_bytes)
    for path, places in _MATRIX_AT.items():
        for at, _ in boxes_at(file, *index, *path):
            file.seek(at)
            file.seek(at + places[file.read(1) == b"\1"])  # the box's version
            yield file.read(len(_UPRIGHT))


def _first_index(file: IO[bytes], size_bytes: int) -> tuple[int, int]:
    """Return where the index begins and ends; an empty place if none comes before fragments, which may be thousands."""
    boxes = itertools.takewhile(lambda box: box[0] != b"moof", boxes_in(file, 0, size_bytes))
    return next(((begin, end) for kind, begin, end in boxes if kind == b"moov"), (0, 0))


def boxes_at(file: IO[bytes], begin: int, end: int, *path: bytes) -> Iterator[tuple[int, int]]:
    """Yield start and end of the content of each box that lies in boxes of these types."""
    for kind, at, until in boxes_in(file, begin, end):
        if kind == path[0]:
            yield from boxes_at(file, at, until, *path[1:]) if len(path) > 1 else ((at, until),)


def handlers_of(file: IO[bytes], begin: int, end: int) -> list[bytes]:
    """Return the handlers that a track names; none if it refers to other tracks."""
    if any(boxes_at(file, begin, end, b"tref")):
        return []
    return [_bytes(file, at, at + _HEAD)[8:12] for at, _ in boxes_at(file, begin, end, b"mdia", b"hdlr")]


def _walk(file: IO[bytes], begin: int, end: int, found: _Found, depth: int) -> None:
    for kind, at, until in boxes_in(file, begin, end):
        found.boxes += 1
        if found.boxes > _MOST_BOXES:
            raise UnreadableMediaError(f"its index has more than {_MOST_BOXES:,} boxes")
        if kind == b"trak":
            found.tracks.append(_Track())
        if kind in _TABLES:
            file.seek(at)
            _look(kind, file.read(min(_HEAD, until - at)).ljust(_HEAD, b"\0"), until - at, found)
        elif kind in _CONTAINERS and depth < _DEEPEST:
            _walk(file, _inside(file, kind, at), until, found, depth + 1)


def boxes_in(file: IO[bytes], begin: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Yield type, start and end of the content of each box between two places."""
    at = begin
    while at + 8 <= end:
        file.seek(at)
        head = file.read(16)
        size, kind, inside = int.from_bytes(head[:4], "big"), head[4:8], at + 8
        if size == 1:
            size, inside = int.from_bytes(head[8:16], "big"), at + 16
        until = end if size == 0 else at + size
        if until < inside:
            return
        yield kind, inside, min(until, end)
        at = until


def _inside(file: IO[bytes], kind: bytes, at: int) -> int:
    """Return where the boxes in a box begin; QuickTime's `meta` begins with them, MP4's with a version."""
    if kind != b"meta":
        return at
    file.seek(at)
    return at if file.read(8)[4:] == b"hdlr" else at + 4


def _look(kind: bytes, head: bytes, length: int, found: _Found) -> None:
    """Check the counts of one table."""
    flags, second, third = (int.from_bytes(head[at : at + 4], "big") for at in (0, 4, 8))
    track = found.tracks[-1]
    match kind:
        case b"hdlr":
            track.audio = track.audio or head[8:12] == b"soun"
        case b"stsd" if head[12:16] in _LOCKED:
            raise UnsupportedMediaError(
                f"is encrypted (a track is marked {head[12:16].decode()!r}), as shops and streaming services do; "
                "without its key it cannot be played. Use a copy without protection."
            )
        case b"stts":
            track.even = second == 1 and int.from_bytes(head[12:16], "big") == 1
        case b"stsz" | b"stz2":
            track.samples = third
        case b"trun":
            each = 4 * (flags & _EACH_TRUN).bit_count()
            _check_table("trun", second, each, length - 8 - 4 * (flags & _BEFORE_TRUN).bit_count())
            found.fragments += second
        case b"keys":
            _check_table("keys", second, _LEAST_KEY, length - 8)
        case _:  # iinf, whose count is shorter in its first version
            count = second if flags >> 24 else second >> 16
            _check_table("iinf", count, _LEAST_ITEM, length - 6)
    if found.samples > MOST_SAMPLES:
        raise UnreadableMediaError(f"its index claims {found.samples:,} samples; at most {MOST_SAMPLES:,} are stored")


def _check_table(name: str, count: int, each: int, room: int) -> None:
    if count * each > max(0, room):
        raise UnreadableMediaError(
            f"its {name} table claims {count:,} entries and has room for {max(0, room) // each:,}"
        )


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
_TABLE_HEAD = 8  # bytes of a table before its entries: version, flags and their number
_ROLL = b"roll"  # a sample group that says how early audio players must begin; FFmpeg ignores it

TABLES = frozenset({b"stts", b"ctts", b"stss", b"stsz", b"stsc", b"stco", b"co64", b"sdtp"})
"""Boxes with an entry for each sample, which can be written for some of them."""

GROUPINGS = frozenset({b"sbgp", b"sgpd"})
"""Boxes that group samples; omitted, and only of the type that players use for audio."""

FOREIGN = frozenset({b"stps", b"stz2", b"stsh", b"padb", b"stdp", b"subs", b"saiz", b"saio", b"senc"})
"""Boxes that describe samples in other ways; a track with one is left unchanged."""


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
        self.count = len(self._sizes)
        self._durations = _Runs.read(tables[b"stts"])
        if max(self._durations.values, default=_LONGEST) >= _LONGEST:
            raise UnusualIndexError  # some writers mean a negative number
        self._delays = _Runs.read(tables[b"ctts"]) if b"ctts" in tables else None
        self._keys = _numbers(tables[b"stss"], 1) if b"stss" in tables else None
        self._marks = tables[b"sdtp"][4:] if b"sdtp" in tables else None
        self._places = _numbers(tables[places], 1, size=8 if places == b"co64" else 4)
        self._chunks = _chunk_sizes(_numbers(tables[b"stsc"], 3), len(self._places))
        self._selected: list[int] = []
        self._check()

    def _check(self) -> None:
        delays = self.count if self._delays is None else self._delays.count
        counts = (self._durations.count, delays, self._chunks.total, len(self._marks or self._sizes))
        if any(count != self.count for count in counts):
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
        if skipped > self._durations.before(min(_FIRST // 2, self.count)):
            raise UnusualIndexError
        first = self._durations.at(begin)
        if self._keys is not None:
            at = bisect_right(self._keys, first + 1) - 2  # they count from one; and one more, for safety
            first = self._keys[at] - 1 if at >= 0 else 0
        last = self.count if end is None else min(self.count, self._durations.at(end) + 1 + _BEHIND)
        apart = first > _FIRST
        self._selected = [*range(_FIRST), *range(first, max(first + 1, last))] if apart else list(range(last))
        if 2 * len(self._selected) > self.count:
            raise UnusualIndexError  # most of it is wanted

    def table(self, kind: bytes) -> bytes:
        """Write one table of the selected samples.

        Raises:
            UnusualIndexError: the gap between the first samples and the others is too large for the table.
        """
        selected = self._selected
        match kind:
            case b"stts":  # each lasts until the next selected one begins
                times = map(self._durations.before, [*selected, self.count])
                lasting = [later - time for time, later in itertools.pairwise(times)]
                if max(lasting) >= _LONGEST:
                    raise UnusualIndexError
                entries = _written_runs(lasting)
            case b"ctts":
                assert self._delays is not None
                entries = _written_runs(self._delays[number] for number in selected)
            case b"stss":
                keys = set(self._keys or ())
                entries = _written([at for at, number in enumerate(selected, 1) if number + 1 in keys])
            case b"stsz":
                entries = bytes(4) + _written([self._sizes[number] for number in selected])
            case b"stsc":
                entries = (1).to_bytes(4, "big") * 4  # each chunk is one sample now
            case b"stco" | b"co64":
                entries = _written(list(self._places_of(selected)), size=8 if kind == b"co64" else 4)
            case _:
                assert self._marks is not None
                entries = bytes(self._marks[number] for number in selected)
        return self._heads[kind] + entries

    def _places_of(self, selected: Iterable[int]) -> Iterator[int]:
        """Yield where in the file samples lie, one after the other."""
        begun, place, before = -1, 0, -1
        for number in selected:
            chunk = self._chunks.at(number)
            if chunk == begun:
                place += sum(self._sizes[before:number])
            else:
                place = self._places[chunk] + sum(self._sizes[self._chunks.before(chunk) : number])
            begun, before = chunk, number
            yield place


class _Runs:
    """Run-length encoded numbers: how many entries have the same value, and which."""

    def __init__(self, counts: "array[int]", values: "array[int]") -> None:
        self.values = values
        self._starts = _summed(counts)
        self._counts = counts

    @classmethod
    def read(cls, table: bytes) -> "_Runs":
        """Read a table of runs."""
        numbers = _numbers(table, 2)
        return cls(numbers[0::2], numbers[1::2])

    @property
    def count(self) -> int:
        """Number of entries."""
        return self._starts[-1]

    @property
    def total(self) -> int:
        """Sum of all entries."""
        return self._sums[-1]

    @functools.cached_property
    def _sums(self) -> "array[int]":
        return _summed(map(operator.mul, self._counts, self.values))

    def __getitem__(self, entry: int) -> int:
        return self.values[bisect_right(self._starts, entry) - 1]

    def before(self, entry: int) -> int:
        """Return the sum of all earlier entries: when a sample begins, or with which one a chunk does."""
        run = min(bisect_right(self._starts, entry), len(self.values)) - 1
        return self._sums[run] + (entry - self._starts[run]) * self.values[run]

    def at(self, reached: Fraction | int) -> int:
        """Return the entry in which a sum is reached, within bounds; the reverse of `before`."""
        if not 0 <= reached < self.total:
            return 0 if reached < 0 else self.count - 1
        run = bisect_right(self._sums, reached) - 1
        return self._starts[run] + int((reached - self._sums[run]) // self.values[run])


def _chunk_sizes(entries: "array[int]", count: int) -> _Runs:
    """Return how many samples each chunk of the file holds."""
    firsts, each = entries[0::3], entries[1::3]  # chunks count from one
    spans = array("q", (later - first for first, later in itertools.pairwise(itertools.chain(firsts, [count + 1]))))
    if list(firsts[:1]) != [1] or min(spans) < 1 or min(each) < 1 or set(entries[2::3]) != {1}:
        raise UnusualIndexError  # several codecs in one track, or nonsense
    return _Runs(spans, each)


def _summed(numbers: Iterable[int]) -> "array[int]":
    return array("Q", itertools.accumulate(numbers, initial=0))


def _numbers(table: bytes, each: int, *, before: int = _TABLE_HEAD, size: int = 4) -> "array[int]":
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


def _written_runs(values: Iterable[int]) -> bytes:
    runs = [(len(list(group)), value) for value, group in itertools.groupby(values)]
    return len(runs).to_bytes(4, "big") + b"".join(struct.pack(">II", *run) for run in runs)


LEAST_SAMPLES = 30_000
"""Of a track whose index is narrowed; at 30 frames per second the video lasts 17 minutes."""

_MARGIN = Fraction(5)  # seconds around the wanted range; readers look ahead slightly, and begin slightly earlier
_MOST_TOP_BOXES = 1_000
_GAP = -1  # first tick of an edit that shows nothing
_MOST_EDIT_BYTES = 65_536
_MOST_EDITS = 2  # an empty one, and the movie
_OPENED = frozenset({b"trak", b"mdia", b"minf", b"stbl"})  # boxes of boxes on the way to the tables
_DEEPEST_TABLE = 4
_LEFT_OUT = frozenset({b"udta", b"meta", b"uuid", b"free", b"skip"})  # titles, covers and the like
_READ_ALONE = ([b"vide"], [b"soun"])  # handlers of tracks that may be left out
_ONE = bytes.fromhex("00010000")  # the usual speed of an edit
_TOLD_ONCE = TABLES | GROUPINGS | {b"mdhd", b"elst"}
_ONE_AT_A_TIME = threading.Lock()  # the tables of a track are briefly in memory, 10 MB for two hours
_TIMESCALE_AT = (12, 20)  # bytes into `mvhd` and `mdhd`, of version 0 and 1


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
    tracks = {at: _IndexedTrack(file, at, until) for _, at, until in inside if named.get(at) == [handler]}
    if max((track.count for track in tracks.values()), default=0) < LEAST_SAMPLES:
        raise UnusualIndexError  # it is short enough
    for kind, at, until in inside:
        if at in tracks:
            yield _box(kind, b"".join(tracks[at].narrowed(_timescale(file, headers[0]), wanted)))
        elif named.get(at) not in _READ_ALONE and kind not in _LEFT_OUT:
            yield _box(kind, _bytes(file, at, until))


class _IndexedTrack:
    """One track of video or audio, and where its boxes are."""

    def __init__(self, file: IO[bytes], begin: int, end: int) -> None:
        self._file, self._begin, self._end = file, begin, end
        self._found: dict[bytes, tuple[int, int]] = {}
        for kind, at, until in self._walk(begin, end, 0):
            if kind in FOREIGN or (kind in self._found and kind in _TOLD_ONCE):
                raise UnusualIndexError
            self._found[kind] = (at, until)

    def _walk(self, begin: int, end: int, depth: int) -> Iterator[tuple[bytes, int, int]]:
        if depth > _DEEPEST_TABLE:
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
        table = self._table(b"elst") or bytes(_TABLE_HEAD)
        count, size = int.from_bytes(table[4:8], "big"), 20 if table[:1] == b"\1" else 12
        if count > _MOST_EDITS or len(table) < _TABLE_HEAD + count * size:
            raise UnusualIndexError
        speeds = {table[at + size - 4 : at + size] for at in range(_TABLE_HEAD, _TABLE_HEAD + count * size, size)}
        edits = _entries(table)
        late = Fraction(0)
        if edits and edits[0][1] == _GAP:
            late = Fraction(edits.pop(0)[0], timescale)
        if len(edits) > 1 or any(skipped < 0 for _, skipped in edits) or speeds - {_ONE}:
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
