"""Temporary files: all in one folder per process, each removed as soon as nobody needs it.

A file goes when its owner closes or forgets it; the folder goes when the interpreter ends, by Ctrl-C and errors
too. A process that was killed cannot clean up: its folder is removed by the next process of the same user that
makes one. A folder in use is known by the lock that its process holds.
"""

import atexit
import contextlib
import os
import shutil
import tempfile
import threading
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows: folders of killed processes stay for the system to clean
    _LOCKS = False
else:
    _LOCKS = True

_PREFIX = "qwen-omni-"
_LOCK = "lock"


class Scratch:
    """The folder of this process, made when the first file is asked for."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._folder: Path | None = None
        self._held: int | None = None
        self._count = 0
        self._process: int | None = None

    def new_path(self, suffix: str) -> Path:
        """Name a new file, e.g. with suffix `.mp4`. Nothing is made but the folder."""
        with self._guard:
            if self._folder is None or self._process != os.getpid() or not self._folder.is_dir():
                self._make()
            self._count += 1
            assert self._folder is not None
            return self._folder / f"{self._count:06d}{suffix}"

    def _make(self) -> None:
        _sweep(Path(tempfile.gettempdir()))
        self._folder = Path(tempfile.mkdtemp(prefix=_PREFIX))
        self._process = os.getpid()  # a forked child must not use or remove its parent's folder
        self._held = _lock(self._folder / _LOCK)

    def remove(self) -> None:
        """Remove the folder with all that is left in it."""
        with self._guard:
            if self._folder is not None and self._process == os.getpid():
                shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None
            if self._held is not None:
                os.close(self._held)
                self._held = None


def remove_file(path: Path) -> None:
    """Remove one temporary file, if it is still there."""
    with contextlib.suppress(OSError):
        path.unlink(missing_ok=True)


def _lock(path: Path) -> int | None:
    if not _LOCKS:
        return None
    held = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return held


def _sweep(parent: Path) -> None:
    """Remove folders whose process is gone."""
    if not _LOCKS:
        return
    for folder in parent.glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError):
            if folder.is_symlink() or folder.lstat().st_uid != os.getuid():
                continue
            held = os.open(folder / _LOCK, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(held)


scratch = Scratch()
atexit.register(scratch.remove)
