"""A request's body on its way to disk: never whole in memory, measured while it comes."""

from __future__ import annotations

import contextlib
import hashlib
import uuid
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_POLYNOMIAL, _ONES = 0x142F0E1EBA9EA3693, 0xFFFFFFFFFFFFFFFF


def crc64() -> Any:  # noqa: ANN401 - crcmod has no types
    """Return a fresh CRC-64 (ECMA-182) or None where `crcmod`, which comes with oss2, is not installed."""
    with contextlib.suppress(ImportError):
        import crcmod  # noqa: PLC0415

        return crcmod.Crc(_POLYNOMIAL, initCrc=0, rev=True, xorOut=_ONES)
    return None


class Spool:
    """A file that grows by pieces; `size_bytes`, `sha256` and `crc` describe what came so far."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / uuid.uuid4().hex
        self.size_bytes = 0
        self._file = self.path.open("wb")
        self._sha256 = hashlib.sha256()
        self._crc = crc64()

    def write(self, piece: bytes) -> None:
        """Add a piece."""
        self._file.write(piece)
        self._sha256.update(piece)
        if self._crc is not None:
            self._crc.update(piece)
        self.size_bytes += len(piece)

    def close(self) -> Self:
        """End the file; it may be read from now on."""
        self._file.close()
        return self

    def drop(self) -> None:
        """Delete the file."""
        self._file.close()
        self.path.unlink(missing_ok=True)

    @property
    def sha256(self) -> str:
        """The digest, in hexadecimal."""
        return self._sha256.hexdigest()

    @property
    def crc(self) -> int | None:
        """The CRC-64; None where it cannot be computed."""
        return None if self._crc is None else int(self._crc.crcValue)


def copy_range(source: Path, start: int, stop: int, take: Callable[[bytes], object]) -> None:
    """Hand out the bytes of a file from `start` to `stop`, block by block."""
    with source.open("rb") as file:
        file.seek(start)
        while start < stop:
            block = file.read(min(1 << 20, stop - start))
            if not block:
                return
            take(block)
            start += len(block)
