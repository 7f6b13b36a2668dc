"""How much work a picture asks for, counted before it is decoded; and decoding that ends in time.

A progressive JPEG is decoded once for every scan, and a small file can hold thousands. Other formats are bounded by
their pixels, which `stills` checks. Pillow cannot be interrupted, but it reads as it decodes: `TimedFile` ends it
there.
"""

import re
import time
from typing import IO, cast

from qwen_omni.errors import MediaDoesNotFitError, UnreadableMediaError

MOST_SCANS = 100
"""Scans of a JPEG; encoders write about ten."""
MOST_WORK = 2_000_000_000
"""Pixels times scans: twenty progressive scans of the largest picture that is decoded, seconds of work."""
LIMIT_SECONDS = 60.0

_COUNTED_BYTES = 128 * 2**20  # more than any picture that the service takes; behind them only the time counts
_NEXT_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_SCAN, _END, _ALONE = 0xDA, 0xD9, frozenset({0x01, *range(0xD0, 0xD9)})


class TimedFile:
    """A file whose reading ends when the time is up. Pillow finds no descriptor in it that it could read by itself."""

    def __init__(self, file: IO[bytes], *, label: str, seconds: float = LIMIT_SECONDS) -> None:
        self._file, self._label, self._seconds = file, label, seconds
        self._until = time.monotonic() + seconds

    def read(self, size: int = -1, /) -> bytes:
        """Read on.

        Raises:
            UnreadableMediaError: the time is up.
        """
        if time.monotonic() > self._until:
            raise UnreadableMediaError(
                f"{self._label} is not decoded after {self._seconds:g} s, far longer than a picture takes; it is "
                "probably made to be slow. Save it again with another program."
            )
        return self._file.read(size)

    def seek(self, offset: int, whence: int = 0, /) -> int:
        """Go to a place in the file."""
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        """Return the place in the file."""
        return self._file.tell()


def bounded_still(file: IO[bytes], *, container: str, label: str) -> IO[bytes]:
    """Check how much work a picture asks for, and return its file for decoding in bounded time.

    Raises:
        MediaDoesNotFitError: a JPEG of too many scans.
    """
    if container == "jpeg":
        start = file.tell()
        scans, pixels = count_scans(file.read(_COUNTED_BYTES))
        file.seek(start)
        most = min(MOST_SCANS, MOST_WORK // max(pixels, 1))
        if scans > most:
            raise MediaDoesNotFitError(
                f"{label} is a JPEG of {scans:,} scans; at most {most:,} are decoded at its size, since each takes as "
                "long as a whole picture. Save it again as a JPEG of the usual kind.",
                limit=most,
                actual=scans,
            )
    return cast("IO[bytes]", TimedFile(file, label=label))  # as much of a file as decoding takes


def count_scans(data: bytes) -> tuple[int, int]:
    """Count the scans of a JPEG and the pixels of its frame; as far as it can be read.

    Example:
        >>> count_scans(bytes.fromhex("ffd8 ffc0 0008 08 0002 0003 00 ffda 0002 11ff0022 ffda 0002 33 ffd9"))
        (2, 6)
    """
    at, scans, pixels = 2, 0, 0
    while (found := _NEXT_MARKER.search(data, at)) is not None:
        marker, at = data[found.end() - 1], found.end()
        if marker == _END:
            break
        if marker in _ALONE:
            continue
        if marker in _FRAMES:
            height, width = (int.from_bytes(data[at + skip : at + skip + 2]) for skip in (3, 5))
            pixels = max(pixels, width * height)
        scans += marker == _SCAN
        at += int.from_bytes(data[at : at + 2])
    return scans, pixels
