"""A request body written to disk: never whole in memory, its checksum computed on the fly."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import uuid
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_POLYNOMIAL, _ONES = 0x142F0E1EBA9EA3693, (1 << 64) - 1
_REFLECTED = 0xC96C5795D7870F42
_BITS = 64
_BLOCK = 1 << 20


def crc64() -> Any:  # noqa: ANN401 - crcmod has no types
    """Return a new CRC-64 (ECMA-182), or None if `crcmod`, a dependency of oss2, is not installed."""
    with contextlib.suppress(ImportError):
        import crcmod  # noqa: PLC0415 - belongs to another extra

        return crcmod.Crc(_POLYNOMIAL, initCrc=0, rev=True, xorOut=_ONES)
    return None


class Spool:
    """A file written piece by piece."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / uuid.uuid4().hex
        self.size_bytes = 0
        self._file = self.path.open("wb")
        self._crc = crc64()

    def write(self, piece: bytes) -> None:
        """Add a piece."""
        self._file.write(piece)
        if self._crc is not None:
            self._crc.update(piece)
        self.size_bytes += len(piece)

    def close(self) -> Self:
        """Finish the file; it can be read from now on."""
        self._file.close()
        return self

    def drop(self) -> None:
        """Delete the file."""
        self._file.close()
        self.path.unlink(missing_ok=True)

    @property
    def crc(self) -> int | None:
        """The CRC-64; None if it cannot be computed."""
        return None if self._crc is None else int(self._crc.crcValue)

    @property
    def etag(self) -> str:
        """An opaque identifier of the content."""
        identity = digest_of(self.path) if self.crc is None else f"{self.size_bytes} {self.crc}"
        return hashlib.sha256(identity.encode()).hexdigest()[:32].upper()


def digest_of(*files: Path) -> str:
    """Return the SHA-256 of concatenated files, in hexadecimal."""
    found = hashlib.sha256()
    for block in blocks(files, 0, sum(file.stat().st_size for file in files)):
        found.update(block)
    return found.hexdigest()


def blocks(files: tuple[Path, ...], start: int, stop: int) -> Iterator[bytes]:
    """Yield the bytes from `start` to `stop` of concatenated files, block by block."""
    for path in files:
        size = path.stat().st_size
        with path.open("rb") as file:
            at, end = max(start, 0), min(stop, size)
            file.seek(at)
            while at < end:
                block = file.read(min(_BLOCK, end - at))
                yield block
                at += len(block)
        start, stop = start - size, stop - size


def copy_range(source: Path, start: int, stop: int, target: Path) -> None:
    """Copy the bytes of a file from `start` to `stop` into another."""
    with source.open("rb") as file, target.open("wb") as out:
        at = start
        with contextlib.suppress(AttributeError, OSError):  # systems and file systems without it copy in blocks
            while at < stop and (done := os.copy_file_range(file.fileno(), out.fileno(), stop - at, at)):
                at += done
        out.seek(at - start)
        out.writelines(blocks((source,), at, stop))


def combine_crc(first: int, second: int, second_length: int) -> int:
    """Return the CRC-64 of two strings joined, from the CRC of each and the length of the second."""
    return _times(_zero_bytes(second_length), first) ^ second


@functools.lru_cache(maxsize=16)
def _zero_bytes(count: int) -> list[int]:
    """Return the effect of appending `count` zero bytes to a CRC, column by column; cached: most parts have one length.

    Appending a zero bit is a linear map of the CRC; the map of n bytes is its power, by repeated squaring.
    """
    step = [_REFLECTED, *(1 << n for n in range(_BITS - 1))]  # one zero bit
    for _ in range(3):  # one zero byte
        step = [_times(step, column) for column in step]
    power = [1 << n for n in range(_BITS)]
    while count:
        if count & 1:
            power = [_times(step, column) for column in power]
        count >>= 1
        step = [_times(step, column) for column in step] if count else step
    return power


def _times(matrix: list[int], vector: int) -> int:
    total, at = 0, 0
    while vector:
        if vector & 1:
            total ^= matrix[at]
        vector >>= 1
        at += 1
    return total
