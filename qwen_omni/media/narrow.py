"""Show FFmpeg the part of an MP4's index that a reader needs. Pure but for reading the file; imports no FFmpeg.

FFmpeg keeps the whole index of what it opens, some 40 bytes for each picture and piece of sound, once for each reader.
Several readers work on a film at once, each on half a minute of it; so the longer the film, the more memory would they
take. A reader that knows what it wants is given an index of that instead: the first samples of each track, which tell
how it begins, and those around the wanted seconds, all at their own times and places. (ISO/IEC 14496-12, 8.6 to 8.8.)

Where anything in an index is unusual it is left as it is: nothing is lost then but memory.
"""

import contextlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import IO

from qwen_omni.media.boxes import boxes_in, handlers_of
from qwen_omni.media.masked import MaskedFile
from qwen_omni.media.samples import FOREIGN, GROUPINGS, TABLES, Samples, UnusualIndexError

LEAST_SAMPLES = 30_000
"""Of a track whose index is narrowed; at 30 pictures a second the film lasts 17 minutes."""

_MARGIN = Fraction(5)  # seconds around what is wanted; readers look a little ahead, and begin a little before
_MOST_TOP_BOXES = 1_000
_MOST_EDITS = 2  # an empty one, and the film
_OPENED = frozenset({b"trak", b"mdia", b"minf", b"stbl"})  # boxes of boxes on the way to the tables
_DEEPEST = 4
_LEFT_OUT = frozenset({b"udta", b"meta", b"uuid", b"free", b"skip"})  # titles, covers and the like
_READ_ALONE = ([b"vide"], [b"soun"])  # handlers of tracks that may be left out
_ONE = bytes.fromhex("00010000")  # the usual speed of an edit
_HEAD = 8  # bytes of a list of edits before its entries
_TOLD_ONCE = TABLES | GROUPINGS | {b"mdhd", b"elst"}
_ONE_AT_A_TIME = threading.Lock()  # the tables of a track are in memory for a moment, 10 MB for two hours
_TIMESCALE_AT = (12, 20)  # bytes into `mvhd` and `mdhd`, of version 0 and 1
_KIND_BYTES = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """The seconds of a film that will be read, in the file's own time; without an end, to the last."""

    begin: Fraction
    end: Fraction | None


def narrowed(file: IO[bytes], size_bytes: int, handler: bytes, wanted: Wanted) -> MaskedFile | None:
    """Give a file as it would be if its index told of the wanted seconds only; `None` where it had better be left.

    Args:
        file: any file.
        size_bytes: its size.
        handler: `b"vide"` or `b"soun"`: the kind of track that is read. Those of the other kind are missing then.
        wanted: what will be read of it.
    """
    with _ONE_AT_A_TIME, contextlib.suppress(UnusualIndexError, OverflowError):  # the latter: no table holds them
        kind_at, begin, end = _index(file, size_bytes)
        index = b"".join(_moov(file, begin, end, handler, wanted))
        return MaskedFile(file, size_bytes, [kind_at], _box(b"moov", index))
    return None


def _index(file: IO[bytes], size_bytes: int) -> tuple[int, int, int]:
    """Find the only index: where its kind is told, and where it begins and ends."""
    found: list[tuple[int, int, int]] = []
    last = 0
    for count, (kind, begin, end) in enumerate(boxes_in(file, 0, size_bytes)):
        last = end
        if kind == b"moov":
            found.append((begin - _KIND_BYTES, begin, end))
        if kind == b"moof" or count > _MOST_TOP_BOXES or (kind == b"mdat" and not _tells_size(file, begin)):
            raise UnusualIndexError
    if len(found) != 1 or last != size_bytes:
        raise UnusualIndexError  # nothing could be put behind such a file
    file.seek(found[0][0])
    if file.read(_KIND_BYTES) != b"moov":
        raise UnusualIndexError  # its length is a long number
    return found[0]


def _tells_size(file: IO[bytes], begin: int) -> bool:
    """Tell whether a payload says where it ends; else it would end behind a new index."""
    file.seek(begin - 8)
    return file.read(8) != bytes(4) + b"mdat"


def _moov(file: IO[bytes], begin: int, end: int, handler: bytes, wanted: Wanted) -> Iterator[bytes]:
    """Write the boxes of an index anew."""
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
    """One track of pictures or sound, and where its boxes are."""

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
        """How many samples it says that it has."""
        return int.from_bytes(self._table(b"stsz", most=12)[8:], "big")

    def narrowed(self, timescale: int, wanted: Wanted) -> Iterator[bytes]:
        """Write its boxes, the tables of its samples with those that are wanted."""
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
        """Read one of its boxes; nothing if it is missing."""
        begin, end = self._found.get(kind, (0, 0))
        return _bytes(self._file, begin, end if most is None else min(end, begin + most))

    def _edits(self, timescale: int) -> tuple[int, Fraction]:
        """Tell how many ticks of a track are not shown, and how many seconds it begins late."""
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
