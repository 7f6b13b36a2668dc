"""The store in one SQLite file, for the processes of one machine; without a path, in memory, for one process.

`SqliteFile` is the file, for the threads of one process: a connection that reads and one that writes; memory has one.
Waiting to write is bounded in time, and never blocks readers. Connections are opened on demand and closed before a
fork, so that processes never share one. `SqliteStore` keeps the steps in it. If claims cannot be written, a step is
claimed in this process only. Whoever waits for a claim measures its lease as the time in which the owner's counter did
not change.

A file from an older version is migrated when it is opened. Schema 3 had no `inputs`, schema 2 no `digests` and
`records`. Schema 1 was two families: the checkpoint of a long video (`facts`, `cuts`, `finished`, `claims`, `spent`)
and the cache of uploads or of transcription tasks (`uploads`). Captions were stored as JSON lines. None recorded who
answered, so their entries get the origin `UNVERIFIED`, except those that do not depend on it: cuts, and uploads and
tasks, whose names include the address and the account.
"""

import contextlib
import functools
import json
import math
import os
import sqlite3
import stat
import threading
import time
import weakref
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

from qwen_omni.errors import RESOURCES, ConfigurationError, LocalResourceError, QwenOmniError
from qwen_omni.work_store.buffered import BufferedStore, open_stores
from qwen_omni.work_store.statements import MINE, Transaction, loaded, names, select
from qwen_omni.work_store.store import LOCAL, UNVERIFIED, Claim, Found, StepKey, StoreUse, Taken, describe, is_gone

T = TypeVar("T")

BUSY_SECONDS = 2.0
"""Seconds that one attempt to write waits for other writers."""

_SMALLEST = 512  # bytes; SQLite treats a shorter file as empty, and overwrites it
_making = threading.Lock()

SCHEMA = 4
_FIRST = 2  # the oldest schema with these tables
_TABLES = """
CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS results (run TEXT NOT NULL, origin TEXT NOT NULL, step TEXT NOT NULL,
  value TEXT NOT NULL, stored_at REAL NOT NULL, expires_at REAL, PRIMARY KEY (run, origin, step));
CREATE TABLE IF NOT EXISTS claims (run TEXT NOT NULL, origin TEXT NOT NULL, step TEXT NOT NULL, owner TEXT NOT NULL,
  beat INTEGER NOT NULL, lease REAL NOT NULL, resume TEXT, PRIMARY KEY (run, origin, step));
CREATE TABLE IF NOT EXISTS spend (id TEXT PRIMARY KEY, run TEXT NOT NULL, origin TEXT NOT NULL, value TEXT NOT NULL,
  at REAL NOT NULL);
CREATE TABLE IF NOT EXISTS digests (key TEXT PRIMARY KEY, digest TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS records (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS inputs (run TEXT NOT NULL, origin TEXT NOT NULL, name TEXT NOT NULL, version TEXT NOT NULL,
  status TEXT NOT NULL, answer TEXT NOT NULL, value TEXT NOT NULL, attempts INTEGER NOT NULL,
  input_tokens INTEGER NOT NULL, output_tokens INTEGER NOT NULL, cost REAL, began REAL NOT NULL, ended REAL NOT NULL,
  PRIMARY KEY (run, origin, name));
CREATE INDEX IF NOT EXISTS inputs_by_status ON inputs (run, origin, status, name)
"""
_SINCE = {"digests": 3, "records": 3, "inputs": 4}  # the schema that brought a table; the others came with 2
_OLD_CHECKPOINT = {
    "facts": {"name", "value"},
    "cuts": {"number", "start", "stop"},
    "finished": {"step", "answer", "at"},
    "spent": {"answer", "model", "usage"},
}
_OLD_UPLOADS = {"uploads": {"key", "owner", "claimed_until", "location", "expires_at", "resume"}}
_CHECKED_PAGES = 65_536  # a larger file is not checked as a whole when it is opened


class UnusableStoreError(Exception):
    """The file cannot be a store; the message is the reason, and becomes part of an error that names the file."""


class FileTransaction:
    """A transaction of a connection; see `statements.Transaction`."""

    def __init__(self, base: sqlite3.Connection) -> None:
        self._base = base

    def rows(self, sql: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Return the rows of a statement."""
        return self._base.execute(sql, values).fetchall()

    def run(self, sql: str, values: Sequence[Any] = ()) -> None:
        """Run a statement."""
        self._base.execute(sql, values)

    def run_many(self, sql: str, rows: Iterable[Sequence[Any]]) -> None:
        """Run a statement for every row."""
        self._base.executemany(sql, rows)

    @staticmethod
    def now() -> float:
        """Return the time that decides when an entry was stored and whether it has expired."""
        return time.time()


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
    """The file of a store, or its memory. Thread-safe.

    Attributes:
        path: its path; `None` for memory, which lasts as long as this object and is copied by a fork.
        dropped: number of damaged rows of an older version that could not be migrated.
    """

    def __init__(self, path: Path | None, use: StoreUse) -> None:
        self.path = path
        self.dropped = 0
        self._use = use
        self._ready: tuple[int, int] | None = None
        self._writer = _Link()
        self._reader = self._writer if path is None else _Link()
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
            if self.path is not None:
                _make_file(self.path, self._use)
            base = _connect(self.path)
            try:
                self.dropped += upgrade(base, self._use.legacy_run or (self.path.stem if self.path else ""))
                _use_wal(base)
            except BaseException:
                base.close()
                raise
            self._writer.base = base
            self._writer.file = self._ready = _identity(self.path)

    def read(self, action: Callable[[Transaction], T]) -> T:
        """Read. Raises what `make_ready` raises."""
        self.make_ready()
        with self._reader.lock:
            return action(FileTransaction(self._connection(self._reader)))

    def write(self, action: Callable[[Transaction], T]) -> T:
        """Write in one transaction; see `writing`."""
        with self.writing() as base:
            return action(base)

    @contextlib.contextmanager
    def writing(self, *, durable: bool = True) -> Generator[Transaction]:
        """Open a transaction for writing, waiting a bounded time for the lock. Raises the errors of `make_ready`.

        What is not `durable` survives the end of every process, but not a power failure; it costs no wait for the disk.
        """
        if not self._writer.lock.acquire(timeout=BUSY_SECONDS):
            raise sqlite3.OperationalError("another thread is writing")
        try:
            self.make_ready()
            base = self._connection(self._writer)
            try:
                base.execute(f"PRAGMA synchronous={'FULL' if durable else 'NORMAL'}")
                base.execute("BEGIN IMMEDIATE")
                yield FileTransaction(base)
                base.execute("COMMIT")
            except BaseException as error:
                if isinstance(error, sqlite3.Error) and self.path is not None:
                    self._writer.close()  # whatever is wrong with it, the next attempt opens a new one
                    self._ready = None
                elif base.in_transaction:
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
        """Close both connections; the next use opens them again. An in-memory store stays open."""
        if self.path is None:
            return
        for link in (self._writer, self._reader):
            with link.lock:
                link.close()
        self._ready = None  # an open file keeps its inode; a closed one may have been replaced by the next use

    def before_fork(self) -> None:
        """Wait until no read or write is in progress, and close the connections until `after_fork`."""
        for link in (self._writer, self._reader):
            link.lock.acquire()
        self.close()

    def after_fork(self, *, child: bool) -> None:  # noqa: ARG002 - a child has the same to do
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


def _identity(path: Path | None) -> tuple[int, int] | None:
    """Return device and inode, which identify a file that may have been replaced under its name."""
    if path is None:
        return 0, 0
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _connect(path: Path | None) -> sqlite3.Connection:
    base = sqlite3.connect(path or ":memory:", timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
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


# --- The tables, and the migration of files from older versions ---


def upgrade(base: sqlite3.Connection, run: str) -> int:
    """Create the tables in an empty file, or migrate a file from an older version to this schema, all or nothing.

    Returns the number of damaged rows of an older version that were dropped.

    Args:
        base: the connection, in autocommit mode.
        run: the run for entries of an older version.

    Raises:
        UnusableStoreError: the file is damaged, from a newer version, or of another program.
        sqlite3.Error: it cannot be read or written.
    """
    dropped = 0
    if not _is_current(base):
        base.execute("BEGIN IMMEDIATE")
        try:
            if not _is_current(base):  # otherwise another process was faster
                dropped = _make(base, run)
            base.execute("COMMIT")
        except BaseException:
            if base.in_transaction:
                base.execute("ROLLBACK")
            raise
    _check_pages(base)
    return dropped


def _make(base: sqlite3.Connection, run: str) -> int:
    kind, dropped = _kind(base), 0
    if kind == "checkpoint":
        base.execute("DROP TABLE IF EXISTS claims")  # claims of processes that use the older schema
    for statement in _TABLES.split(";"):
        base.execute(statement)
    if kind == "checkpoint":
        dropped = _from_checkpoint(base, run)
    elif kind == "uploads":
        _from_uploads(base, run)
    base.execute("INSERT OR REPLACE INTO facts VALUES ('form', ?)", (str(SCHEMA),))
    return dropped


def _is_current(base: sqlite3.Connection) -> bool:
    """Whether the file has this schema; raises `UnusableStoreError` if it cannot be migrated to it."""
    tables = _tables(base)
    if not tables or "facts" not in tables:
        return False
    if tables["facts"] != _columns()["facts"]:
        raise UnusableStoreError("is the database of another program (its table `facts` has other columns)")
    row = base.execute("SELECT value FROM facts WHERE name = 'form'").fetchone()
    form = row[0] if row is not None else None
    if not isinstance(form, str) or not form.isascii() or not form.isdigit():
        if row is None and not set(tables) - {"facts"}:
            return False
        raise UnusableStoreError(f"is damaged: its schema version is {str(form)[:40]!r}")
    if len(form) > len(str(SCHEMA)) or int(form) > SCHEMA:
        raise UnusableStoreError(
            f"was written by a newer version (schema {form[:12]}; this one reads up to {SCHEMA}); update the package"
        )
    if int(form) < _FIRST:
        return False
    for name, columns in _columns().items():
        if _SINCE.get(name, _FIRST) <= int(form) and tables.get(name) != columns:
            raise UnusableStoreError(f"is damaged: its table `{name}` is missing or has other columns")
    return int(form) == SCHEMA


def _kind(base: sqlite3.Connection) -> str:
    """Return the older schema of a file: "checkpoint", "uploads", or "" for an empty file or one that lacks tables."""
    tables = _tables(base)
    if not tables or {name for name in _columns() if name not in _SINCE} <= set(tables):
        return ""
    for kind, wanted in (("checkpoint", _OLD_CHECKPOINT), ("uploads", _OLD_UPLOADS)):
        if set(wanted) <= set(tables):
            for name, columns in wanted.items():
                if tables[name] != columns:
                    raise UnusableStoreError(f"is damaged: its table `{name}` has other columns")
            return kind
    if set(tables) == {"facts"} and base.execute("SELECT COUNT(*) FROM facts").fetchone() == (0,):
        return ""
    named = ", ".join(sorted(tables)[:3])
    missing = sorted(set(_OLD_CHECKPOINT) - set(tables))
    if "facts" in tables and len(missing) < len(_OLD_CHECKPOINT) - 1:
        raise UnusableStoreError(f"is damaged: its tables {', '.join(missing)} are missing")
    raise UnusableStoreError(f"is the database of another program (it holds {named})")


def _tables(base: sqlite3.Connection) -> dict[str, set[str]]:
    names = base.execute("SELECT name FROM sqlite_master WHERE type IN ('table', 'view')").fetchall()
    plain = [str(name) for (name,) in names if isinstance(name, str) and not name.startswith("sqlite_")]
    return {name: {str(row[1]) for row in base.execute(f"PRAGMA table_info({_quoted(name)})")} for name in plain}


@functools.cache
def _columns() -> dict[str, set[str]]:
    """Return the columns of each table of this schema."""
    with contextlib.closing(sqlite3.connect(":memory:")) as base:
        base.executescript(_TABLES)
        return _tables(base)


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _check_pages(base: sqlite3.Connection) -> None:
    (pages,) = base.execute("PRAGMA page_count").fetchone()
    if pages > _CHECKED_PAGES:
        return
    problem = base.execute("PRAGMA quick_check(1)").fetchone()
    if problem != ("ok",):
        raise UnusableStoreError(f"is damaged: {str(problem[0])[:120]}")


# --- Schema 1: the checkpoint of a long video ---


def _from_checkpoint(base: sqlite3.Connection, run: str) -> int:
    cuts = base.execute("SELECT number, start, stop FROM cuts").fetchall()
    rows: list[tuple[Any, ...]] = [
        (run, LOCAL, f"cut:{number}", json.dumps({"start": start, "end": stop}), 0.0)
        for number, start, stop in cuts
        if isinstance(number, int) and isinstance(start, str) and isinstance(stop, str)
    ]
    finished = base.execute("SELECT step, answer, at FROM finished").fetchall()
    rows += [
        (run, UNVERIFIED, step, answer, _number(at))
        for step, answer, at in finished
        if isinstance(step, str) and isinstance(answer, str)
    ]
    base.executemany("INSERT OR IGNORE INTO results VALUES (?, ?, ?, ?, ?, NULL)", rows)
    spent = base.execute("SELECT answer, model, usage FROM spent").fetchall()
    bills = list(_spent(spent, run))
    base.executemany("INSERT OR IGNORE INTO spend VALUES (?, ?, ?, ?, 0)", bills)
    for name in ("cuts", "finished", "spent"):
        base.execute(f"DROP TABLE {name}")
    return len(cuts) + len(finished) + len(spent) - len(rows) - len(bills)


def _spent(rows: list[tuple[Any, ...]], run: str) -> Iterator[tuple[str, str, str, str]]:
    for name, model, usage in rows:
        try:
            value = json.dumps({"model": model, "usage": json.loads(usage)})
        except (TypeError, ValueError, RecursionError):
            continue  # it was already unreadable
        if isinstance(name, str):
            yield name, run, UNVERIFIED, value


# --- Schema 1: uploads and transcription tasks ---


def _from_uploads(base: sqlite3.Connection, run: str) -> None:
    found = base.execute("SELECT key, location, expires_at, resume FROM uploads").fetchall()
    held = [
        (run, LOCAL, key, json.dumps({"location": location}), 0.0, _number(expires_at))
        for key, location, expires_at, _ in found
        if isinstance(key, str) and isinstance(location, str)
    ]
    begun = [
        (run, LOCAL, key, "", 0, 0.0, json.dumps(resume))
        for key, location, _, resume in found
        if isinstance(key, str) and location is None and isinstance(resume, str)
    ]
    base.executemany("INSERT OR IGNORE INTO results VALUES (?, ?, ?, ?, ?, ?)", held)
    base.executemany("INSERT OR IGNORE INTO claims VALUES (?, ?, ?, ?, ?, ?, ?)", begun)
    base.execute("DROP TABLE uploads")


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else 0.0


# --- Schema 1: captions as JSON lines ---


def read_lines(data: bytes) -> tuple[dict[str, dict[str, Any]], int]:
    """Parse a results file of captions from an older version; return the entries by key, and the number of unreadable
    lines. The last line for a key counts.

    Example:
        >>> read_lines(b'{"key": "a", "answer": "{}"}' + bytes([10]) + b'{"key": "b", "ans')
        ({'a': {'answer': '{}'}}, 1)
    """  # noqa: D205
    entries: dict[str, dict[str, Any]] = {}
    unreadable = 0
    for line in data.splitlines():
        try:
            entry = json.loads(line)
        except (ValueError, RecursionError):
            unreadable += bool(line.strip())
            continue
        if isinstance(entry, dict) and isinstance(entry.get("key"), str):
            entries[entry.pop("key")] = entry
        else:
            unreadable += 1
    return entries, unreadable


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


def to_error(error: Exception, path: Path | None, use: StoreUse) -> QwenOmniError:
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


LEASE_SECONDS = 15.0
"""Seconds that an owner may stall before others take over its claims."""
_CLAIM_PATIENCE = 10.0  # how long claims wait for a locked file before the run continues without them
_LONGEST_LEASE = 600.0  # a row with a longer one is damaged
_PLAIN = StoreUse(name="work store", way_out="Remove that file, or choose another.")
_FAULTS = (sqlite3.Error, OSError, UnusableStoreError)


def is_open(path: Path) -> bool:
    """Whether this process has a store on a file; no other code here may open and close it, which ends its locks."""
    return any(store.place == path for store in open_stores())


class SqliteStore(BufferedStore):
    """The store in one SQLite file.

    Example:
        >>> store = SqliteStore(None)
        >>> key = StepKey("run", "step", "dashscope")
        >>> store.finish(key, {"text": "first"}), store.finish(key, {"text": "second"})
        ({'text': 'first'}, {'text': 'first'})
        >>> store.find(key).value
        {'text': 'first'}
    """

    faults = _FAULTS
    among = "IN (SELECT value FROM json_each(?))"

    def __init__(self, path: Path | None, use: StoreUse = _PLAIN, *, lease_seconds: float | None = None) -> None:
        """Open or create the file, with the tables of this version; `None` keeps everything in memory.

        Args:
            path: the file.
            use: what it is for, in messages.
            lease_seconds: how long this owner may stall before others take over; 15 if not given.

        Raises:
            ConfigurationError: the file is damaged, from a newer version or of another program.
            LocalResourceError: the disk is full, or the file may not be read or written.
        """
        super().__init__(path, use, LEASE_SECONDS if lease_seconds is None else lease_seconds)
        self.path = path
        self._seen: dict[StepKey, tuple[str, int, float]] = {}
        self.database = self._file = SqliteFile(path, use)
        try:
            self._file.make_ready()  # before anything is paid for
        except _FAULTS as error:
            if resource_of(error) != "lock":
                raise to_error(error, path, use) from error
            self.failed(error)  # it is retried later

    # --- Failures ---

    def reason(self, error: Exception) -> str:
        """Return why a transaction failed, for people."""
        return reason_of(error)

    def is_transient(self, error: Exception) -> bool:
        """Whether the file is only locked."""
        return resource_of(error) == "lock"

    def unread(self, error: Exception, otherwise: T) -> T:  # noqa: ARG002
        """Return what is known without the file; steps finished in the meantime stay in memory."""
        return otherwise

    def failed(self, error: Exception) -> None:
        """Record why nothing could be written; an owner that could not write has not necessarily stalled."""
        with self._state:
            super().failed(error)
            self._seen.clear()

    def insist(self, action: Callable[[Transaction], T]) -> T:
        """Write in one transaction; wait while the file is locked.

        Raises:
            ConfigurationError: the file is damaged.
            LocalResourceError: it cannot be written, or stayed locked.
        """
        until = time.monotonic() + _CLAIM_PATIENCE
        while True:
            try:
                return self._file.write(action)
            except _FAULTS as error:
                self.failed(error)
                if resource_of(error) != "lock" or time.monotonic() > until:
                    raise to_error(error, self.path, self.use) from error

    def insist_read(self, action: Callable[[Transaction], T]) -> T:
        """Read in one transaction.

        Raises:
            ConfigurationError: the file is damaged.
            LocalResourceError: it cannot be read.
        """
        try:
            return self._file.read(action)
        except _FAULTS as error:
            raise to_error(error, self.path, self.use) from error

    def notices(self) -> list[str]:
        """Return the notices: damaged entries, each counted once."""
        with self._state:
            self._damaged, self._file.dropped = self._damaged + self._file.dropped, 0
        return super().notices()

    # --- Claims ---

    def claim_written(self, key: StepKey, *, unverified: bool) -> Found | Claim | Taken:
        """Return the finished step, or claim it; if claims cannot be written, in this process only."""
        while True:
            try:
                asked = time.monotonic()
                with self._file.writing(durable=False) as base:
                    if time.monotonic() - asked > self._lease / 8:
                        self._seen.clear()  # no owner could renew its lease meanwhile
                    return self._claim_in_file(base, key, unverified=unverified)
            except _FAULTS as error:
                self.failed(error)
                since = self._transient_since
                if since is None or time.monotonic() > since + _CLAIM_PATIENCE:
                    return Claim(key)  # the run continues without claims, and reports it

    def _claim_in_file(self, base: Transaction, key: StepKey, *, unverified: bool) -> Found | Claim | Taken:
        rows = select(base, key, unverified=unverified)
        found = None if not rows else self.decoded(key, rows, base)
        if found is not None:
            return found
        row = _claim_row(base, key)
        if row is not None and (holder := self._holder(key, row)) is not None:
            return Taken(describe(holder))
        resume = row[3] if row is not None and isinstance(row[3], str) else None
        owner = row[0] if row is not None else ""
        values = (*names(key), self.owner, 0, self._lease, resume)
        base.run("INSERT OR REPLACE INTO claims VALUES (?, ?, ?, ?, ?, ?, ?)", values)
        return Claim(key, loaded(resume), lost=bool(owner) and not self.ended_here(str(owner), key))

    def holder(self, base: Transaction, key: StepKey) -> str | None:
        """Return who works on a step; `None` if no claim on it lasts."""
        row = _claim_row(base, key)
        return None if row is None else self._holder(key, row)

    def _holder(self, key: StepKey, row: tuple[Any, ...]) -> str | None:
        """Return the holder of a claim; `None` if it ended: its owner is gone, closed, or stalled for its lease."""
        owner, beat, lease = row[:3]
        valid = isinstance(owner, str) and isinstance(beat, int) and isinstance(lease, float | int)
        if not valid or not owner or not 0 <= lease <= _LONGEST_LEASE or is_gone(owner):
            return None
        if self.ended_here(owner, key):
            return None
        now = time.monotonic()
        with self._state:
            seen = self._seen.get(key)
            if seen is None or seen[:2] != (owner, beat):
                seen = self._seen[key] = (owner, beat, now)
        return owner if now - seen[2] < lease else None

    def renew(self, base: Transaction, keys: Sequence[StepKey]) -> None:
        """Renew the leases of claims."""
        base.run_many(f"UPDATE claims SET beat = beat + 1 {MINE}", [(*names(key), self.owner) for key in keys])

    def become_child(self) -> None:
        """Forget the parent's state: its claims, and what it will write itself."""
        self._seen = {}
        super().become_child()


def _claim_row(base: Transaction, key: StepKey) -> tuple[Any, ...] | None:
    sql = "SELECT owner, beat, lease, resume FROM claims WHERE run = ? AND origin = ? AND step = ?"
    rows = base.rows(sql, names(key))
    return rows[0] if rows else None
