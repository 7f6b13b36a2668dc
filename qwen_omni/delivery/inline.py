"""Media inside the request: the size guard, and the reading of it while the request is sent."""

import io
import os
from collections.abc import Iterator
from typing import IO

from qwen_omni.delivery.delivered import Delivered, FileVersion
from qwen_omni.errors import MediaDoesNotFitError, UnreadableMediaError
from qwen_omni.media.local import open_plain


def check_inline(delivered: Delivered, *, label: str, limit: int) -> Delivered:
    """Give the media back if its data URI is short enough to travel inside a request.

    Raises:
        MediaDoesNotFitError: it is longer than `limit` characters.
    """
    if delivered.encoded_bytes <= limit:
        return delivered
    raise MediaDoesNotFitError(
        f"{label} is {delivered.encoded_bytes / 2**20:.1f} MiB as base64; media inside a request may have "
        f"{limit / 2**20:.0f} MiB. Put it behind an http(s) URL that the service can reach, or make it smaller "
        "(720p at 4 frames per second is enough for most questions).",
        limit=limit,
        actual=delivered.encoded_bytes,
    )


def version_of(file: IO[bytes]) -> FileVersion:
    """Tell which state of a file is open."""
    stat = os.fstat(file.fileno())
    return FileVersion(device=stat.st_dev, inode=stat.st_ino, size=stat.st_size, modified_ns=stat.st_mtime_ns)


def read_blocks(delivered: Delivered, block_bytes: int) -> Iterator[bytes]:
    """Read media that travels inside the request; every block but the last has `block_bytes` bytes.

    The last block is given only when the file is still the one that was looked at, so that a request with
    something else in it never becomes whole.

    Raises:
        UnreadableMediaError: the file is gone, is another one, or changed while it was read.
    """
    with _open(delivered) as file:
        left = delivered.size_bytes
        while left > 0:
            block = file.read(min(block_bytes, left))
            left -= len(block)
            if not block or (left == 0 and not _is_unchanged(file, delivered)):
                raise _changed(delivered)
            yield block


def _open(delivered: Delivered) -> IO[bytes]:
    if delivered.path is None:
        return io.BytesIO(delivered.data or b"")
    file = open_plain(delivered.path)
    if not _is_unchanged(file, delivered):
        file.close()
        raise _changed(delivered)
    return file


def _is_unchanged(file: IO[bytes], delivered: Delivered) -> bool:
    return delivered.path is None or version_of(file) == delivered.version


def _changed(delivered: Delivered) -> UnreadableMediaError:
    return UnreadableMediaError(f"{delivered.path or 'The media'} changed while it was being sent; send it again.")
