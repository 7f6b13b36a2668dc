"""Reading local media: while they are sent, inside the request or to a store, and for their digest."""

import hashlib
import io
import os
import threading
import time
from collections.abc import Iterator
from typing import IO

from qwen_omni.errors import UnreadableMediaError
from qwen_omni.media.files.safe_open import open_plain
from qwen_omni.media.source import FileVersion
from qwen_omni.messages import MediaPayload


def version_of(file: IO[bytes]) -> FileVersion:
    """Return the state of an open file."""
    return FileVersion.of(os.fstat(file.fileno()))


def read_blocks(delivered: MediaPayload, block_bytes: int) -> Iterator[bytes]:
    """Read media that is sent inside the request; every block but the last has `block_bytes` bytes.

    The last block is yielded only if the file is still the inspected one, so a request with other content is never
    complete.

    Raises:
        UnreadableMediaError: the file is gone, was replaced, or changed while it was read.
    """
    with opened(delivered) as file:
        left = delivered.size_bytes
        while left > 0:
            block = file.read(min(block_bytes, left))
            left -= len(block)
            if not block or (left == 0 and not is_unchanged(file, delivered)):
                raise changed(delivered)
            yield block


def opened(delivered: MediaPayload) -> IO[bytes]:
    """Open the media that was inspected.

    Raises:
        UnreadableMediaError: the file is gone, or was replaced.
    """
    if delivered.path is None:
        return io.BytesIO(delivered.data or b"")
    file = open_plain(delivered.path)
    if not is_unchanged(file, delivered):
        file.close()
        raise changed(delivered)
    return file


def is_unchanged(file: IO[bytes], delivered: MediaPayload) -> bool:
    """Whether an open file is still in the state that was inspected."""
    return delivered.path is None or version_of(file) == delivered.version


def changed(delivered: MediaPayload) -> UnreadableMediaError:
    """Return the error for media that changed."""
    return UnreadableMediaError(f"{delivered.path or 'The media'} changed while it was being sent; send it again.")


_BLOCK = 1_048_576
_MOST_KEPT = 1024
_SETTLED_SECONDS = 2.0  # file times are coarse: a file that changed just now may change again without a new time


class Digests:
    """SHA-256 digests of files, each computed once while the file is unchanged. Safe to share between threads.

    A digest identifies media, so a file's name never leaves the machine. A file is identified by device, inode, size,
    mtime and ctime; ctime cannot be set back.
    """

    def __init__(self) -> None:
        self._known: dict[FileVersion, str] = {}
        self._lock = threading.Lock()

    def of(self, ready: MediaPayload) -> str:
        """Return the hexadecimal digest of the media; raises as `digest_of` does."""
        state = _state_of(ready)
        if state is None:
            return digest_of(ready)
        with self._lock:
            found = self._known.get(state)
        if found is None:
            found = digest_of(ready)
            with self._lock:
                while len(self._known) >= _MOST_KEPT:
                    self._known.pop(next(iter(self._known)))
                self._known[state] = found
        return found


def digest_of(ready: MediaPayload) -> str:
    """Return the hexadecimal digest of the media.

    Raises:
        UnreadableMediaError: the file is gone, or changed since it was inspected.
    """
    found = hashlib.sha256()
    for block in read_blocks(ready, _BLOCK):
        found.update(block)
    return found.hexdigest()


def _state_of(ready: MediaPayload) -> FileVersion | None:
    """Return the state of a file; `None` for media in memory and for a file that changed a moment ago."""
    if ready.path is None:
        return None
    with opened(ready) as file:
        stat = os.fstat(file.fileno())
    if time.time() - max(stat.st_mtime, stat.st_ctime) < _SETTLED_SECONDS:
        return None
    return FileVersion.of(stat)
