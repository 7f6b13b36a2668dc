"""Check the index of an MP4 before FFmpeg reads it. Pure but for reading the file; imports no FFmpeg.

FFmpeg allocates room for as many samples as a box claims before it reads them, and for some kinds of boxes fills it
with zeros: one wrong byte in 50 kB cost 900 MB. So the counts are checked first: a table must fit into its box,
and all samples together must be few enough to store. (ISO/IEC 14496-12; boxes are walked as FFmpeg walks them: a
box that claims to be longer than its parent ends with it.)

FFmpeg also holds the whole index in memory, some 13 MB for an hour of video each time it is opened. Half of that is
about the audio, which a thread that works on frames never reads; so the tracks of one kind can be hidden from it.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import IO

from qwen_omni.errors import UnreadableMediaError, UnsupportedMediaError

MOST_SAMPLES = 8_000_000
"""Frames and pieces of audio of one file: FFmpeg stores some 50 bytes for each; 16 hours of 60 fps and audio."""

_MOST_BOXES = 500_000
_DEEPEST = 10  # FFmpeg goes no deeper either
_CONTAINERS = frozenset({b"moov", b"trak", b"mdia", b"minf", b"stbl", b"moof", b"traf", b"mvex", b"udta", b"meta"})
_TABLES = {b"trun", b"keys", b"iinf", b"stsz", b"stz2", b"stts", b"stsd", b"hdlr"}
_LOCKED = frozenset({b"encv", b"enca", b"drmi", b"drms"})  # codecs that need a key: ISO/IEC 23001-7, and Apple's own
_KIND_BYTES = 4
_MATRIX_AT = {b"mvhd": (36, 48), b"tkhd": (40, 52)}  # bytes into the box, of version 0 and 1
_UPRIGHT = b"".join(number.to_bytes(4, "big") for number in (1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30))
_HEAD = 24  # bytes of a table that are checked
_EACH_TRUN = 0xF00  # flags: each set bit adds four bytes to each sample
_BEFORE_TRUN = 0x5  # flags: each set bit adds four bytes before the samples
_LEAST_KEY, _LEAST_ITEM = 8, 12  # bytes


@dataclass(slots=True)
class _Track:
    """What a track states about its samples."""

    samples: int = 0
    sound: bool = False
    even: bool = False  # one sample per tick: plain PCM, of which FFmpeg stores chunks and not samples


@dataclass(slots=True)
class _Found:
    """What was found so far."""

    boxes: int = 0
    fragments: int = 0
    tracks: list[_Track] = field(default_factory=lambda: [_Track()])

    @property
    def samples(self) -> int:
        stored = (0 if track.sound and track.even else track.samples for track in self.tracks)
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
    found = [
        at - _KIND_BYTES
        for kind, begin, end in _top_boxes(file, size_bytes)
        if kind == b"moov"
        for inner, at, until in boxes_in(file, begin, end)
        if inner == b"trak" and handlers_of(file, at, until) == [handler]
    ]
    file.seek(0)
    return found


def is_upright(file: IO[bytes], size_bytes: int) -> bool:
    """Whether a file is an MP4 none of whose tracks is to be turned, mirrored or stretched."""
    found = list(_matrices(file, size_bytes))
    file.seek(0)
    return len(found) > 1 and all(matrix == _UPRIGHT for matrix in found)  # the movie's own, and one of each track


def _matrices(file: IO[bytes], size_bytes: int) -> Iterator[bytes]:
    """Read how a movie (`mvhd`) and its tracks (`tkhd`) are to be turned."""
    for kind, begin, end in _top_boxes(file, size_bytes):
        for inner, at, until in boxes_in(file, begin, end) if kind == b"moov" else ():
            for box, place, _ in boxes_in(file, at, until) if inner == b"trak" else [(inner, at, until)]:
                if box in _MATRIX_AT:
                    file.seek(place)
                    file.seek(place + _MATRIX_AT[box][file.read(1) == b"\1"])  # the box's version
                    yield file.read(len(_UPRIGHT))


def _top_boxes(file: IO[bytes], size_bytes: int) -> Iterator[tuple[bytes, int, int]]:
    """Yield the outermost boxes up to the index; after it there may be thousands of fragments."""
    for box in boxes_in(file, 0, size_bytes):
        yield box
        if box[0] in (b"moov", b"moof"):
            break


def handlers_of(file: IO[bytes], begin: int, end: int) -> list[bytes]:
    """Return the handlers that a track names; none if it refers to other tracks."""
    named: list[bytes] = []
    for kind, at, until in boxes_in(file, begin, end):
        if kind == b"tref":
            return []
        for inner, place, _ in boxes_in(file, at, until) if kind == b"mdia" else ():
            if inner == b"hdlr":
                file.seek(place)
                named.append(file.read(_HEAD)[8:12])
    return named


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
            track.sound = track.sound or head[8:12] == b"soun"
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
