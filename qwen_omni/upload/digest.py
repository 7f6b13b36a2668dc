"""The identity of a piece of media: the SHA-256 of its bytes. The file's name never leaves the machine."""

import hashlib
import os
import threading
import time

from qwen_omni.media.source import FileVersion
from qwen_omni.messages import MediaPayload
from qwen_omni.upload.reader import opened, read_blocks

_BLOCK = 1_048_576
_MOST_KEPT = 1024
_SETTLED_SECONDS = 2.0  # file times are coarse: a file that changed just now may change again without a new time


class Digests:
    """Digests of files, each computed once while the file is unchanged. Safe to share between threads.

    A file is identified by device, inode, size, mtime and ctime; ctime cannot be set back.
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
