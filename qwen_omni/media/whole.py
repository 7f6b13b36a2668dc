"""Is a file all there? Its headers often tell of a whole film, though a download or copy broke off.

What is missing would be priced, and neither seen nor heard. Asked is only where the headers promise an end of the
pictures and sound: MP4 (ISO/IEC 14496-12) whose index comes first, Matroska and WebM (RFC 9559), AVI (RIFF) and
ASF, which is WMV and WMA. A recording that is still going on, or whose program crashed, promises none. Pure but for
reading the file; imports nothing of FFmpeg.
"""

import itertools
from collections.abc import Iterator
from typing import IO

from qwen_omni.errors import UnreadableMediaError
from qwen_omni.media.boxes import boxes_in

_MOST = 100_000  # boxes, chunks or elements that are passed over
_ENDLESS = 2**63  # bytes; where something reaches to the end of its file, whose size is not asked for

_EBML = b"\x1a\x45\xdf\xa3"
_SEGMENT = 0x18538067  # the element that holds all of a film
_CLUSTER = 0x1F43B675  # one that holds some seconds of it

_UNTOLD = (0, 0xFFFFFFFF)  # sizes of a RIFF chunk that is still written

_ASF = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")
_ASF_DATA = bytes.fromhex("3626b2758e66cf11a6d900aa0062ce6c")
_ASF_HEAD = 24  # bytes: an object's identity and size


def check_whole(file: IO[bytes], size_bytes: int) -> None:
    """Find out whether all pictures and sound are there that a file's headers tell of.

    Args:
        file: any file; one of another kind is left after a few bytes.
        size_bytes: its size.

    Raises:
        UnreadableMediaError: the file ends before they do; tells how large it should be.
    """
    file.seek(0)
    head = file.read(16)
    if head.startswith(_EBML):
        end = _matroska_end(file, size_bytes)
    elif head.startswith(b"RIFF") and head[8:12] == b"AVI ":
        end = _avi_end(file, size_bytes)
    elif head == _ASF:
        end = _asf_end(file, size_bytes)
    else:
        end = _mp4_end(file, size_bytes)
    file.seek(0)
    if end > size_bytes:
        raise UnreadableMediaError(
            f"its headers are of a file of {end:,} bytes, so {end - size_bytes:,} are missing; "
            "copy or download it again, whole"
        )


def _mp4_end(file: IO[bytes], size_bytes: int) -> int:
    """Tell where the payloads of an MP4 end that its index tells of.

    Where fragments follow the index there is no such promise: each has an index of its own.
    """
    indexed = False
    for kind, _, end in itertools.islice(boxes_in(file, 0, _ENDLESS), _MOST):
        indexed = indexed or kind == b"moov"
        if indexed and kind == b"mdat" and size_bytes < end < _ENDLESS:
            return end
        if kind == b"moof" or end >= size_bytes:
            break
    return 0


def _matroska_end(file: IO[bytes], size_bytes: int) -> int:
    """Tell where a Matroska or WebM ends of which clusters are missing; a live recording leaves its size unknown.

    What comes behind the clusters are tables and notes, whose loss is none.
    """
    for name, begin, end in _elements(file, 0, size_bytes):
        if name == _SEGMENT and size_bytes < end < _ENDLESS:
            last = None
            for inner, _, _ in _elements(file, begin, size_bytes):
                last = inner
            return end if last == _CLUSTER else 0
    return 0


def _elements(file: IO[bytes], begin: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Give name, begin and end of each element between two places; one of unknown size is endless."""
    at = begin
    for _ in range(_MOST):
        if at >= end:
            return
        file.seek(at)
        name, size = _number(file, marked=True), _number(file)
        if name is None:
            return
        begin = file.tell()
        at = _ENDLESS if size is None else begin + size
        yield name, begin, at


def _number(file: IO[bytes], *, marked: bool = False) -> int | None:
    """Read a number of EBML (RFC 8794), which tells its own length; `None` if it means "unknown", or the file ends.

    With `marked` the bits that tell the length stay, as in names.
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
    """Tell where an AVI ends of which pictures or sound are missing; a cut table behind them is no loss.

    Long films have several chunks `RIFF`, each with a list `movi`.
    """
    for kind, begin, end in _chunks(file, 0, size_bytes):
        if kind == b"RIFF" and end > size_bytes:
            lists = (until for name, _, until in _chunks(file, begin, size_bytes) if name == b"movi")
            return end if next(lists, 0) > size_bytes else 0
    return 0


def _chunks(file: IO[bytes], begin: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Give kind, begin and end of each chunk between two places, up to one of untold size; lists by their own kind."""
    at = begin
    for _ in range(_MOST):
        file.seek(at)
        head = file.read(12)
        size = int.from_bytes(head[4:8], "little")
        if at + 8 > end or size in _UNTOLD:
            return
        is_list = head.startswith(b"LIST")
        yield head[8:12] if is_list else head[:4], at + 12, at + 8 + size
        at += 8 + size + size % 2


def _asf_end(file: IO[bytes], size_bytes: int) -> int:
    """Tell where the packets of an ASF end; a broadcast leaves their size at zero."""
    at = 0
    while at < size_bytes:
        file.seek(at)
        head = file.read(_ASF_HEAD)
        size = int.from_bytes(head[16:], "little")
        if len(head) < _ASF_HEAD or size < _ASF_HEAD:
            break
        at += size
        if head.startswith(_ASF_DATA):
            return at
    return 0
