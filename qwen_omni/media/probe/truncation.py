"""Whether a file is complete. Its headers often describe the whole video, although a download or copy was interrupted.

Missing parts would be billed, but not processed. Only formats whose headers state where the video and audio
end are checked: MP4 (ISO/IEC 14496-12) whose index comes first, Matroska and WebM (RFC 9559), AVI (RIFF) and
ASF, which is WMV and WMA; WAV and its large forms (RF64, EBU Tech 3306; Sony's W64), AIFF, CAF, AU, and MP3 with the
header of Xing or VBRI. A recording that is still running, or whose program crashed, states none.

Files joined byte by byte are detected as well. FFmpeg, like any player, reads nothing after the end of the first one if
a header states that end; so such a file is refused. Formats without such a header (TS, MP3, Ogg etc.) are read whole.
Pure but for reading the file; imports nothing of FFmpeg.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import IO, Literal, NoReturn

from qwen_omni.errors import UnreadableMediaError
from qwen_omni.media.probe.mp4 import ENDLESS, MOST_SKIPPED, lacks_index, payload_end

_EBML = b"\x1a\x45\xdf\xa3"
_SEGMENT = 0x18538067  # the element that holds all of a video
_CLUSTER = 0x1F43B675  # one that holds some seconds of it

_UNKNOWN_SIZES = (0, 0xFFFFFFFF)  # sizes of a RIFF chunk that is still being written

_RIFF_HEAD = 12  # bytes: a chunk's kind and size, and the kind of its list
_ENDLESS_WAVE = 0x7FFF0000  # and larger sizes mean "still being written": arecord, sox and FFmpeg each have their own
_SLACK_SECONDS = Fraction(1, 2)  # of audio that may be missing; some programs include their headers in its size
_SLACK_BYTES = 4096  # the same, if the bytes per second are unknown
_W64 = bytes.fromhex("726966662e91cf11a5d628db04c10000")
_W64_REST = bytes.fromhex("f3acd3118cd100c04f8edb8a")  # of a chunk's identity, after the four letters of its type
_ID3_HEAD = 10  # bytes
_XING_AT = (36, 21, 21, 13)  # bytes from a frame's start: MPEG-1 of two channels and of one; MPEG-2 of two and one
_VBRI_AT = 36
_LEAST_MATCH = Fraction(98, 100)  # of a file, that a Xing header must cover for its times to be trusted

# A packet of a transport stream that begins with a program map, from its length on.
_PROGRAM_MAP = re.compile(rb"\x47[\x40-\x5f][\x00-\xff][\x10-\x1f]\x00\x02(?=([\xb0-\xb3][\x00-\xff]))")
_MAP_WITHIN, _MAP_BEFORE = 2**20, 2**16  # bytes after and before a join in which a program map is looked for
_REGISTRATION = 0x05
_NAMES_CODEC = frozenset({_REGISTRATION, 0x56, 0x59, 0x6A, 0x7A, 0x7B, 0x7C, 0x7F})  # ISO/IEC 13818-1; ETSI EN 300 468

_PLACES, _PLACE_BYTES = 128, 512

_ASF = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")
_ASF_DATA = bytes.fromhex("3626b2758e66cf11a6d900aa0062ce6c")


class BrokenPromiseError(UnreadableMediaError):
    """A file is of a known kind and does not end where its headers say, so it is media, whatever it begins like."""


def check_whole(file: IO[bytes], size_bytes: int) -> None:
    """Check that all video and audio that a file's headers describe is present, and nothing else after it.

    Args:
        file: any file; one of another kind is left after a few bytes.
        size_bytes: its size.

    Raises:
        BrokenPromiseError: the file ends before they do, or another file is appended to it; states the sizes.
    """
    file.seek(0)
    head = file.read(16)
    slack, in_fragments = 0, False
    if head.startswith(_EBML):
        end = _matroska_end(file, size_bytes)
    elif head.startswith(b"RIFF") and head[8:12] == b"AVI ":
        end = _avi_end(file, size_bytes)
    elif head == _ASF:
        end = _asf_end(file, size_bytes)
    elif (audio := _audio_end(file, head, size_bytes)) is not None:
        end, slack = audio
    else:
        end, in_fragments, second = payload_end(file, size_bytes)
        if second is not None:
            refuse_second(second, size_bytes)
        if lacks_index(file, size_bytes):
            raise BrokenPromiseError(
                "it has no index (moov), which recorders write last: the recording, copy or download was interrupted. "
                "Copy or download the whole file again, or restore a recording with its recorder"
            )
    file.seek(0)
    if end > size_bytes + slack:
        rest = ", or keep what is there with `ffmpeg -i FILE -c copy whole.mp4`" if in_fragments else ""
        raise BrokenPromiseError(
            f"its headers describe a file of {end:,} bytes, so {end - size_bytes:,} are missing; "
            f"copy or download the whole file again{rest}"
        )


def _check_alone(file: IO[bytes], end: int, size_bytes: int, *starts: bytes) -> None:
    """Check that no other file begins where one ends; `starts` are its possible first bytes."""
    if end >= size_bytes:
        return
    file.seek(end)
    if file.read(16).startswith(starts):
        refuse_second(end, size_bytes)


def refuse_second(end: int, size_bytes: int) -> NoReturn:
    """Raise the error for a file of which a player reads only the first `end` bytes, since another file follows.

    Raises:
        BrokenPromiseError: always.
    """
    raise BrokenPromiseError(
        f"two files are joined in it: the first ends after {end:,} of {size_bytes:,} bytes, and players ignore "
        "the rest. Send them one by one, or join them with a program that knows the format, such as "
        "`ffmpeg -f concat`"
    )


def has_zeros(file: IO[bytes], size_bytes: int) -> bool:
    """Whether one of many places in a file, evenly spread, holds only zeros, as where a download has not arrived."""
    step = size_bytes // (_PLACES + 1)
    for place in range(1, _PLACES + 1):
        file.seek(place * step)
        block = file.read(_PLACE_BYTES)
        if block and not any(block):
            return True
    return False


def count_zeros(file: IO[bytes], start: int) -> int:
    """Return how many bytes from `start` on are in whole blocks of zeros."""
    file.seek(start)
    zeros = bytes(_PLACE_BYTES)
    return sum(_PLACE_BYTES for block in iter(lambda: file.read(_PLACE_BYTES), b"") if block == zeros)


def codec_changes(file: IO[bytes], positions: Sequence[int]) -> int:
    """Return where a transport stream begins to state another codec for the same PID; 0 if it never does.

    Demuxers use the codec that the first program map states, and decoders fail on the rest. Maps are repeated several
    times a second, so only the beginning and the bytes around the given positions are read, none twice.

    Args:
        file: a transport stream.
        positions: where its clock breaks, in ascending order: recordings are joined there.
    """
    known: dict[int, tuple[int, bytes]] = {}
    read = 0
    for position in (0, *positions) if positions else ():
        begin, end = max(read, position - _MAP_BEFORE), position + _MAP_WITHIN
        if begin >= end:
            continue
        file.seek(begin)
        for at, pid, codec in _mapped(file.read(end - begin)):
            if known.setdefault(pid, codec) != codec:
                return begin + at
        read = end
    return 0


def _mapped(block: bytes) -> Iterator[tuple[int, int, tuple[int, bytes]]]:
    """Yield what program maps in a piece of a transport stream state: their place, a PID and its codec.

    Source: ISO/IEC 13818-1, 2.4.4.8.
    """
    for match in _PROGRAM_MAP.finditer(block):
        begin = match.start(1)
        end = begin + 2 + _twelve_bits(block, begin) - 4  # without its checksum
        at = begin + 11 + _twelve_bits(block, begin + 9)
        listed: list[tuple[int, int, tuple[int, bytes]]] = []
        while at + 5 <= end <= len(block):
            size = _twelve_bits(block, at + 3)
            pid = int.from_bytes(block[at + 1 : at + 3], "big") & 0x1FFF
            listed.append((match.start(), pid, (block[at], _codec_descriptors(block[at + 5 : at + 5 + size]))))
            at += 5 + size
        if at == end:  # otherwise these bytes only look like a map
            yield from listed


def _codec_descriptors(descriptors: bytes) -> bytes:
    """Return what names a codec where the type of a stream does not: the kind of private data, a registration."""
    named, at = b"", 0
    while at + 2 <= len(descriptors):
        end = at + 2 + descriptors[at + 1]
        if descriptors[at] in _NAMES_CODEC:
            named += descriptors[at : end if descriptors[at] == _REGISTRATION else at + 1]
        at = end
    return named


def _twelve_bits(block: bytes, at: int) -> int:
    return int.from_bytes(block[at : at + 2], "big") & 0xFFF


def _matroska_end(file: IO[bytes], size_bytes: int) -> int:
    """Return the end that a Matroska or WebM states, if clusters are missing; a live recording leaves its size unknown.

    Only tables and tags follow the clusters; losing them does no harm.
    """
    for name, begin, end in _elements(file, 0, size_bytes):
        if name == _SEGMENT and end < size_bytes:
            _check_alone(file, end, size_bytes, _EBML)
        if name == _SEGMENT and size_bytes < end < ENDLESS:
            last = None
            for inner, _, _ in _elements(file, begin, size_bytes):
                last = inner
            return end if last == _CLUSTER else 0
    return 0


def _elements(file: IO[bytes], begin: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Yield id, start and end of each element between two places; one of unknown size is endless."""
    at = begin
    for _ in range(MOST_SKIPPED):
        if at >= end:
            return
        file.seek(at)
        name, size = _number(file, marked=True), _number(file)
        if name is None:
            return
        begin = file.tell()
        at = ENDLESS if size is None else begin + size
        yield name, begin, at


def _number(file: IO[bytes], *, marked: bool = False) -> int | None:
    """Read an EBML number (RFC 8794), which states its own length; `None` if it means "unknown", or the file ends.

    With `marked`, the bits that state the length are included, as in ids.
    """
    first = file.read(1)
    if not first or not first[0]:
        return None
    length = 9 - first[0].bit_length()
    rest = file.read(length - 1)
    if len(rest) < length - 1:
        return None
    number = int.from_bytes(first + rest, "big")
    marker = 1 << 7 * length
    if marked:
        return number
    return None if number == 2 * marker - 1 else number - marker


def _avi_end(file: IO[bytes], size_bytes: int) -> int:
    """Return the end that an AVI states, if video or audio is missing; a truncated index after them does no harm.

    Long videos have several chunks `RIFF`, each with a list `movi`.
    """
    for kind, begin, end in _lists(file, 0, size_bytes):
        file.seek(begin - 4)
        if kind == b"RIFF" and begin > _RIFF_HEAD and file.read(4) == b"AVI ":  # its continuations are called AVIX
            refuse_second(begin - _RIFF_HEAD, size_bytes)
        if kind == b"RIFF" and end > size_bytes:
            lists = (until for name, _, until in _lists(file, begin, size_bytes) if name == b"movi")
            return end if next(lists, 0) > size_bytes else 0
    return 0


@dataclass(frozen=True, slots=True)
class _Layout:
    """How a format writes the head of a chunk: its bytes, where in it the size is, and how it is written."""

    head: int
    size_at: int
    order: Literal["little", "big"] = "little"
    signed: bool = False
    aligned: int = 1  # chunks begin at multiples of this number of bytes
    inclusive: bool = False  # whether the size includes the head


_RIFF = _Layout(8, 4, aligned=2)
_AIFF = _Layout(8, 4, "big", aligned=2)
_CAF = _Layout(12, 4, "big", signed=True)
_W64_CHUNK = _Layout(24, 16, aligned=8, inclusive=True)
_ASF_OBJECT = _Layout(24, 16, inclusive=True)


def _chunks(file: IO[bytes], at: int, layout: _Layout) -> Iterator[tuple[bytes, int, int]]:
    """Yield the head of each chunk from a place on, and the start and size of its content."""
    for _ in range(MOST_SKIPPED):
        if at >= ENDLESS:  # no file has such a place
            return
        file.seek(at)
        head = file.read(layout.head)
        size = int.from_bytes(head[layout.size_at :], layout.order, signed=layout.signed)
        size -= layout.head * layout.inclusive
        if len(head) < layout.head or size < 0:
            return
        yield head, at + layout.head, size
        at += layout.head + -(-size // layout.aligned) * layout.aligned


def _lists(file: IO[bytes], begin: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Yield type, start and end of each chunk of an AVI, up to one of unknown size; lists by their own type."""
    for head, at, size in _chunks(file, begin, _RIFF):
        if at > end or size in _UNKNOWN_SIZES:
            return
        file.seek(at)
        own = file.read(4)
        yield own if head.startswith(b"LIST") else head[:4], at + 4, at + size


def _asf_end(file: IO[bytes], size_bytes: int) -> int:
    """Return where the packets of an ASF end; a broadcast leaves their size at zero."""
    end = 0
    for head, begin, size in _chunks(file, 0, _ASF_OBJECT):
        if head.startswith(_ASF) and begin > _ASF_OBJECT.head:
            refuse_second(begin - _ASF_OBJECT.head, size_bytes)
        if head.startswith(_ASF_DATA):
            if not size:  # the rest of the file
                return 0
            end = begin + size
    return end


def _audio_end(file: IO[bytes], head: bytes, size_bytes: int) -> tuple[int, int] | None:
    """Return where the audio of a plain audio file ends, and how many bytes may be missing; else `None`."""
    kinds = (
        (head[:4] in (b"RIFF", b"RF64", b"BW64") and head[8:12] == b"WAVE", _wave_end),
        (head == _W64, _w64_end),
        (head.startswith(b"FORM") and head[8:11] == b"AIF", _aiff_end),
        (head.startswith(b"caff"), _caf_end),
    )
    found = next((end for holds, end in kinds if holds), None)
    if found is not None:
        return found(file, size_bytes)
    if head.startswith(b".snd"):
        begin, size = int.from_bytes(head[4:8], "big"), int.from_bytes(head[8:12], "big")
        if size < _ENDLESS_WAVE:
            _check_alone(file, begin + size, size_bytes, b".snd")
        return (0 if size >= _ENDLESS_WAVE else begin + size), _SLACK_BYTES
    if head.startswith((b"ID3", b"\xff")):
        end = xing_end(file)
        return None if end is None else (end, max(_SLACK_BYTES, end // 50))
    return None


def _wave_end(file: IO[bytes], size_bytes: int) -> tuple[int, int]:
    """Return where the audio of a WAV ends (RIFF; RF64 and BW64 state large sizes in a chunk `ds64`)."""
    long_size, rate = 0, 0
    for head, begin, size in _chunks(file, _RIFF_HEAD, _RIFF):
        file.seek(begin)
        if head.startswith(b"ds64"):
            long_size = int.from_bytes(file.read(16)[8:], "little")
        elif head.startswith(b"fmt "):
            rate = int.from_bytes(file.read(16)[8:12], "little")
        elif head.startswith(b"data"):
            end = begin + (long_size if size == _UNKNOWN_SIZES[1] and long_size else size)
            slack = int(_SLACK_SECONDS * rate) or _SLACK_BYTES
            if not size or (not long_size and size >= _ENDLESS_WAVE):
                return 0, slack
            _check_rest(file, end, size_bytes, slack)
            return end, slack
    return 0, 0


def _check_rest(file: IO[bytes], end: int, size_bytes: int, slack: int) -> None:
    """Check what follows the audio of a WAV: further chunks with metadata, but no audio and no other WAV."""
    _check_alone(file, end, size_bytes, b"RIFF", b"RF64", b"BW64")
    at = end + end % 2
    for head, begin, size in _chunks(file, at, _RIFF):
        at = begin - _RIFF.head
        if not head[:4].strip(b"\0"):
            return
        if head[:4] in (b"RIFF", b"RF64", b"BW64"):
            refuse_second(at, size_bytes)
        if not head[:4].isascii() or begin + size > size_bytes + 1:
            break
    else:
        return
    if size_bytes - at > max(slack, _SLACK_BYTES):
        raise BrokenPromiseError(
            f"its header states audio up to byte {end:,}, and {size_bytes - at:,} more bytes follow that are not part "
            "of it: a recording that was continued, or two in one. Repair the header, for example with "
            "`sox --ignore-length in.wav out.wav`"
        )


def _w64_end(file: IO[bytes], size_bytes: int) -> tuple[int, int]:
    for head, begin, size in _chunks(file, 40, _W64_CHUNK):
        if head.startswith(b"data" + _W64_REST):
            _check_alone(file, begin + size, size_bytes, _W64)
            return (0 if size >= ENDLESS - _W64_CHUNK.head else begin + size), _SLACK_BYTES
    return 0, 0


def _aiff_end(file: IO[bytes], size_bytes: int) -> tuple[int, int]:
    for head, begin, size in _chunks(file, _RIFF_HEAD, _AIFF):
        if head.startswith(b"FORM"):
            refuse_second(begin - _AIFF.head, size_bytes)
        if head.startswith(b"SSND"):
            if not 0 < size < _ENDLESS_WAVE:
                break
            _check_alone(file, begin + size + size % 2, size_bytes, b"FORM")
            return begin + size, _SLACK_BYTES
    return 0, 0


def _caf_end(file: IO[bytes], size_bytes: int) -> tuple[int, int]:
    for head, begin, size in _chunks(file, 8, _CAF):  # a last chunk of audio may have no size
        if head.startswith(b"data"):
            _check_alone(file, begin + size, size_bytes, b"caff")
            return begin + size, _SLACK_BYTES
    return 0, 0


def xing_end(file: IO[bytes]) -> int | None:
    """Return where an MP3 ends by the header in its first frame (Xing, or Fraunhofer's VBRI); `None` without one."""
    file.seek(0)
    head = file.read(_ID3_HEAD)
    at = 0
    if head.startswith(b"ID3"):
        at = _ID3_HEAD + sum((byte & 0x7F) << 7 * place for place, byte in enumerate(reversed(head[6:10])))
    file.seek(at)
    frame = file.read(200)
    if len(frame) < 60 or frame[0] != 0xFF or frame[1] & 0xE6 != 0xE2:  # noqa: PLR2004 - layer III
        return None
    place = _XING_AT[2 * (frame[1] & 0x08 == 0) + (frame[3] >> 6 == 3)]  # noqa: PLR2004
    if frame[_VBRI_AT : _VBRI_AT + 4] == b"VBRI":
        return at + int.from_bytes(frame[_VBRI_AT + 10 : _VBRI_AT + 14], "big")
    if frame[place : place + 4] not in (b"Xing", b"Info"):
        return None
    flags = int.from_bytes(frame[place + 4 : place + 8], "big")
    count = place + 8 + 4 * (flags & 1)
    size = int.from_bytes(frame[count : count + 4], "big")
    return at + size if flags & 2 and size else None


def ends_as_stated(file: IO[bytes], size_bytes: int) -> bool:
    """Whether an MP3 has a header that states its length, and only tags after that."""
    end = xing_end(file)
    return end is not None and end >= size_bytes * _LEAST_MATCH
