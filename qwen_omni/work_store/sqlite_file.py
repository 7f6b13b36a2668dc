"""One SQLite file, for the threads of one process: a connection that reads and one that writes.

Waiting to write never blocks readers. Connections are opened on demand and closed before a fork, so that processes
never share one.
"""

import contextlib
import os
import sqlite3
import stat
import threading
import time
import weakref
from collections.abc import Callable, Generator
from pathlib import Path
from typing import TypeVar

from qwen_omni.errors import RESOURCES, ConfigurationError, LocalResourceError, QwenOmniError
from qwen_omni.work_store.migrations import UnusableStoreError, upgrade
from qwen_omni.work_store.store import StoreUse

T = TypeVar("T")

BUSY_SECONDS = 2.0
"""Seconds that one attempt to write waits for other writers."""

_SMALLEST = 512  # bytes; SQLite treats a shorter file as empty, and overwrites it
_making = threading.Lock()


class _Link:
    """One connection."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.base: sqlite3.Connection | None = None
        self.file: tuple[int, int] | None = None

    def close(self) -> None:
        """Close it; the next use opens it again."""
        base, self.base = self.base, None
        if base is not None:
            with contextlib.suppress(sqlite3.Error):
                base.close()


class SqliteFile:
    """The file of a store. Thread-safe.

    Attributes:
        path: its path.
        dropped: number of damaged rows of an older version that could not be migrated.
    """

    def __init__(self, path: Path, use: StoreUse) -> None:
        self.path = path
        self.dropped = 0
        self._use = use
        self._ready: tuple[int, int] | None = None
        self._reader, self._writer = _Link(), _Link()
        weakref.finalize(self, _close, self._reader, self._writer)

    def make_ready(self) -> None:
        """Create the file and its tables where they are missing, even if the file was removed meanwhile.

        Raises:
            UnusableStoreError: the file is damaged, from a newer version, or of another program.
            sqlite3.Error: it cannot be read or written.
            OSError: it cannot be created.
        """
        if self._ready is not None and self._ready == _identity(self.path):
            return
        with self._writer.lock:
            if self._ready is not None and self._ready == _identity(self.path):
                return
            self._writer.close()
            _make_file(self.path, self._use)
            base = _connect(self.path)
            try:
                self.dropped += upgrade(base, self._use.legacy_run or self.path.stem)
                _use_wal(base)
            except BaseException:
                base.close()
                raise
            self._writer.base = base
            self._writer.file = self._ready = _identity(self.path)

    def read(self, action: Callable[[sqlite3.Connection], T]) -> T:
        """Read; raises as `make_ready`."""
        self.make_ready()
        with self._reader.lock:
            return action(self._connection(self._reader))

    @contextlib.contextmanager
    def writing(self) -> Generator[sqlite3.Connection]:
        """Write in one transaction; raises as `make_ready`, within a bounded time."""
        if not self._writer.lock.acquire(timeout=BUSY_SECONDS):
            raise sqlite3.OperationalError("another thread is writing")
        try:
            self.make_ready()
            base = self._connection(self._writer)
            try:
                base.execute("BEGIN IMMEDIATE")
                yield base
                base.execute("COMMIT")
            except sqlite3.Error:
                self._writer.close()  # whatever is wrong with it, the next attempt opens a new one
                self._ready = None
                raise
            except BaseException:
                base.execute("ROLLBACK")
                raise
        finally:
            self._writer.lock.release()

    def _connection(self, link: _Link) -> sqlite3.Connection:
        """Return a link's connection; the caller holds its lock."""
        if link.base is None or link.file != self._ready:
            link.close()
            link.base, link.file = _connect(self.path), self._ready
        return link.base

    def close(self) -> None:
        """Close both connections; the next use opens them again."""
        for link in (self._writer, self._reader):
            with link.lock:
                link.close()
        self._ready = None  # an open file keeps its inode; a closed one may have been replaced by the next use

    def before_fork(self) -> None:
        """Wait until no read or write is in progress, and close the connections until `after_fork`."""
        for link in (self._writer, self._reader):
            link.lock.acquire()
            link.close()
        self._ready = None

    def after_fork(self) -> None:
        """Resume, in the parent and in the child."""
        for link in (self._reader, self._writer):
            link.lock.release()


def _close(*links: _Link) -> None:
    for link in links:
        link.close()


def _make_file(path: Path, use: StoreUse) -> None:
    """Create the file for its owner only, and its folders; raises `OSError`, or `UnusableStoreError` for a folder.

    A file that exists is never opened here: closing it would end the locks of every connection of this process.
    """
    with _making:
        _make_folder(path.parent, private=use.private_folder)
        try:
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0), 0o600))
        except FileExistsError:
            found = path.stat()
            if not stat.S_ISREG(found.st_mode):
                raise UnusableStoreError("is not a file") from None
            if 0 < found.st_size < _SMALLEST:
                raise UnusableStoreError(f"is not a database: it has {found.st_size} bytes") from None
            if stat.S_IMODE(found.st_mode) & 0o077:
                with contextlib.suppress(OSError):
                    path.chmod(0o600)


def _make_folder(folder: Path, *, private: bool) -> None:
    missing = [one for one in (folder, *folder.parents) if not one.exists()]
    for one in reversed(missing):
        one.mkdir(mode=0o700, exist_ok=True)
    if private and folder.stat().st_mode & 0o077:
        with contextlib.suppress(OSError):
            folder.chmod(0o700)


def _identity(path: Path) -> tuple[int, int] | None:
    """Return device and inode, which identify a file that may have been replaced under its name."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _connect(path: Path) -> sqlite3.Connection:
    base = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
    base.text_factory = _text
    try:
        base.execute("PRAGMA trusted_schema=OFF")
        base.execute("PRAGMA synchronous=FULL")  # a committed row is on disk
    except BaseException:
        base.close()
        raise
    return base


def _text(data: bytes) -> str | bytes:
    """Decode text; bytes that are not UTF-8 stay bytes, which no column of this schema holds."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data


def _use_wal(base: sqlite3.Connection) -> None:
    """Let readers continue during a write. Another process may switch at the same time, with the same effect.

    A file system without shared memory keeps the older journal, which is slower and just as safe.
    """
    until = time.monotonic() + BUSY_SECONDS
    while base.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
        try:
            base.execute("PRAGMA journal_mode=WAL").fetchone()
        except sqlite3.OperationalError:
            if time.monotonic() > until:
                return
            time.sleep(0.01)
        else:
            return


# --- What is wrong with a store file or this machine, and what to do ---


_CODES = {
    sqlite3.SQLITE_FULL: "disk", sqlite3.SQLITE_IOERR: "disk", sqlite3.SQLITE_READONLY: "permission",
    sqlite3.SQLITE_PERM: "permission", sqlite3.SQLITE_AUTH: "permission", sqlite3.SQLITE_CANTOPEN: "permission",
    sqlite3.SQLITE_NOMEM: "memory", sqlite3.SQLITE_BUSY: "lock", sqlite3.SQLITE_LOCKED: "lock",
    sqlite3.SQLITE_PROTOCOL: "lock",
}  # fmt: skip
_LOCKED = "it is locked by another program"


def resource_of(error: Exception) -> str:
    """Return the resource that this machine lacks, for `LocalResourceError.resource`; empty if none."""
    if isinstance(error, OSError):
        return RESOURCES.get(error.errno or 0, "")
    code = _code(error)
    if code is None and isinstance(error, sqlite3.OperationalError):
        return "lock"  # raised by this package: a lock could not be acquired in time
    return "" if code is None else _CODES.get(code, "")


def reason_of(error: Exception) -> str:
    """Return the reason for a failed write, for people."""
    if resource_of(error) == "lock":
        return _LOCKED
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


def to_error(error: Exception, path: Path, use: StoreUse) -> QwenOmniError:
    """Return the error that names the file, what is wrong with it, and what to do."""
    resource = resource_of(error)
    if resource:
        text = f"The {use.name} {path} cannot be used: {reason_of(error)}. {use.way_out}"
        return LocalResourceError(text, resource=resource, path=str(path))
    if isinstance(error, UnusableStoreError):
        return ConfigurationError(f"The {use.name} {path} {error}. {use.way_out}")
    if isinstance(error, sqlite3.Error):
        return ConfigurationError(
            f"The {use.name} {path} is damaged, or not a database of this package: {error}. {use.way_out}"
        )
    return ConfigurationError(f"The {use.name} {path} cannot be used: {reason_of(error)}. {use.way_out}")


def _code(error: Exception) -> int | None:
    """Return SQLite's primary result code."""
    code = getattr(error, "sqlite_errorcode", None)
    return code & 0xFF if isinstance(code, int) else None
