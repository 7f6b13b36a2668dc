"""The store in one SQLite file, for the processes of one machine; without a path, in memory.

Waiting for a lock is bounded in time, and never blocks readers. What cannot be written stays in memory and is retried
with every later write and every beat. No connection survives a fork.
"""

import json
import os
import sqlite3
import threading
import time
import weakref
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from qwen_omni.work_store.sqlite_file import SqliteFile, UnusableStoreError, reason_of, resource_of, to_error
from qwen_omni.work_store.store import (
    UNVERIFIED,
    Alive,
    Claim,
    Found,
    Spent,
    StepKey,
    StoreUse,
    Taken,
    describe,
    is_gone,
    is_here,
    new_owner,
)

T = TypeVar("T")

LEASE_SECONDS = 15.0
"""Seconds that an owner may stall before others take over its claims."""
_PAUSE_SECONDS = 1.0  # after a failed write; meanwhile no write is tried
_CLAIM_PATIENCE = 10.0  # how long claims wait for a locked file before the run continues without them
_LONGEST_LEASE = 600.0  # a row with a longer one is damaged
_PLAIN = StoreUse(name="work store", way_out="Remove that file, or choose another.")


@dataclass(slots=True)
class _Row:
    """A finished step that is not on disk yet."""

    value: Any
    expires_at: float | None

    @property
    def lasts(self) -> bool:
        return self.expires_at is None or self.expires_at > _now()


@dataclass(slots=True)
class _Held:
    """A claim of this store."""

    alive: Alive | None
    resume: Any = None

    @property
    def moves(self) -> bool:
        return self.alive is None or self.alive()


_STORES: "weakref.WeakValueDictionary[str, SqliteStore]" = weakref.WeakValueDictionary()
"""The stores of this process, by owner."""


def _stores() -> "list[SqliteStore]":
    found = [one() for one in _STORES.valuerefs()]
    return [store for store in found if store is not None]


def is_open(path: Path) -> bool:
    """Whether this process has a store on a file; no other code here may open and close it, which ends its locks."""
    return any(store.path == path for store in _stores())


class SqliteStore:
    """A `WorkStore` in one SQLite file.

    Example:
        >>> store = SqliteStore(None)
        >>> key = StepKey("run", "step", "dashscope")
        >>> store.finish(key, {"text": "first"}), store.finish(key, {"text": "second"})
        ({'text': 'first'}, {'text': 'first'})
        >>> store.find(key).value
        {'text': 'first'}
    """

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
        self.path = path
        self.trouble = ""
        self._use = use
        self._lease = LEASE_SECONDS if lease_seconds is None else lease_seconds
        self.owner = new_owner()
        self._state = threading.RLock()
        self.pending: dict[StepKey, _Row] = {}
        self._unspent: dict[str, tuple[str, str, Mapping[str, Any]]] = {}
        self.held: dict[StepKey, _Held] = {}
        self._seen: dict[StepKey, tuple[str, int, float]] = {}
        self._damaged = 0
        self._beats = False
        self._retry_at = float("-inf")
        self._locked_since: float | None = None
        self._file = None if path is None else SqliteFile(path, use)
        self._ended = threading.Event()
        _STORES[self.owner] = self
        if self._file is not None:
            self._open_first(self._file)

    # --- Finished steps ---

    def find(self, key: StepKey, *, unverified: bool = False) -> Found | None:
        """Return a finished step; with `unverified`, also one of unknown origin from an older version."""
        kept = self._in_memory(key)
        if kept is not None or self.path is None:
            return kept
        rows: list[Any] = self._read(lambda base: _select(base, key, unverified=unverified), [])
        return self._decoded(key, rows)

    def steps(self, run: str, origin: str) -> Mapping[str, Any]:
        """Return every finished step of a run by name."""
        with self._state:
            kept = {key.step: row.value for key, row in self.pending.items() if (key.run, key.origin) == (run, origin)}
        if self.path is None:
            return kept
        sql = "SELECT value, expires_at, origin, step FROM results WHERE run = ? AND origin = ?"
        rows: list[Any] = self._read(lambda base: base.execute(sql, (run, origin)).fetchall(), [])
        found = {row[3]: self._decoded(StepKey(run, row[3], origin), [row[:3]]) for row in rows if type(row[3]) is str}
        return {**{step: one.value for step, one in found.items() if one is not None}, **kept}

    def finish(self, key: StepKey, value: Any, *, expires_at: float | None = None) -> Any:  # noqa: ANN401  (JSON)
        """Store a finished step and end its claim; return the value that counts, which is the first one stored.

        Disk errors are never raised: what cannot be written stays in memory, and `trouble` and `unkept` report it.
        """
        with self._state:
            row = self.pending.get(key)
            if row is None or not row.lasts:
                row = self.pending[key] = _Row(value, expires_at)
        if self.path is None:
            self._let_go(key)
            return row.value
        counts = self._stored(key, row)
        if counts is not None or self._locked_since is None:
            self._let_go(key)  # otherwise it stays claimed until it is written
        return row.value if counts is None else counts.value

    def finish_all(self, values: Mapping[StepKey, Any]) -> None:
        """Store many finished steps at once; of each, the first value that was stored counts."""
        with self._state:
            for key, value in values.items():
                row = self.pending.get(key)
                if row is None or not row.lasts:
                    self.pending[key] = _Row(value, None)
        if self.path is not None and not self._flush():
            self._keep_beating()

    def _stored(self, key: StepKey, row: _Row) -> Found | None:
        """Write a finished step and return the stored value; `None` if it could not be written."""
        for _ in range(2):
            if not self._flush():
                self._keep_beating()
                return None
            counts = self.find(key)
            if counts is not None:
                return counts
            with self._state:  # it replaced a damaged row
                self.pending[key] = row
        return None

    def discard(self, key: StepKey, value: Any, *, damaged: bool = False) -> None:  # noqa: ANN401  (JSON)
        """Remove a finished step if it still has this value; `damaged` adds it to the notices."""
        with self._state:
            self._damaged += damaged
            row = self.pending.get(key)
            if row is not None and row.value == value:
                del self.pending[key]

        def remove(base: sqlite3.Connection) -> None:
            for stored, _, _ in _select(base, key, unverified=False):
                if _dumped(_loaded(stored)) == _dumped(value):
                    base.execute(_REMOVE, (key.run, key.origin, key.step))

        self._write(remove)

    # --- Claims ---

    def peek(self, key: StepKey, *, unverified: bool = False) -> Found | Taken | None:
        """Return the state of a step without claiming it."""
        found = self.find(key, unverified=unverified)
        if found is not None:
            return found
        holder = self._holder_in_process(key)
        if holder is None and self.path is not None:
            row = self._read(lambda base: _claim_row(base, key), None)
            holder = None if row is None else self._holder(key, row)
        return None if holder is None else Taken(describe(holder))

    def claim(self, key: StepKey, *, unverified: bool = False, alive: Alive | None = None) -> Found | Claim | Taken:
        """Return the finished step, or claim it unless another process works on it.

        If claims cannot be written, the step is claimed in this process only.
        """
        state = self.peek(key, unverified=unverified)
        if state is not None:
            return state
        held = _Held(alive)
        with self._state:
            if key in self.held:
                return Taken(describe(self.owner))
            self.held[key] = held
        try:
            outcome = self._claim(key, unverified=unverified)
        except BaseException:
            self._let_go(key)
            raise
        if isinstance(outcome, Claim):
            held.resume = outcome.resume
            self._keep_beating()
        else:
            self._let_go(key)
        return outcome

    def _claim(self, key: StepKey, *, unverified: bool) -> Found | Claim | Taken:
        while self._file is not None:
            try:
                asked = time.monotonic()
                with self._file.writing() as base:
                    if time.monotonic() - asked > self._lease / 8:
                        self._seen.clear()  # no owner could renew its lease meanwhile
                    return self._claim_in_file(base, key, unverified=unverified)
            except (sqlite3.Error, OSError, UnusableStoreError) as error:
                self._failed(error)
                since = self._locked_since
                if since is None or time.monotonic() > since + _CLAIM_PATIENCE:
                    break  # the run continues without claims, and reports it
        return Claim(key)

    def _claim_in_file(self, base: sqlite3.Connection, key: StepKey, *, unverified: bool) -> Found | Claim | Taken:
        rows = _select(base, key, unverified=unverified)
        found = None if not rows else self._decoded(key, rows, base)
        if found is not None:
            return found
        row = _claim_row(base, key)
        if row is not None and (holder := self._holder(key, row)) is not None:
            return Taken(describe(holder))
        resume = row[3] if row is not None and isinstance(row[3], str) else None
        values = (*_names(key), self.owner, 0, self._lease, resume)
        base.execute("INSERT OR REPLACE INTO claims VALUES (?, ?, ?, ?, ?, ?, ?)", values)
        return Claim(key, _loaded(resume))

    def note(self, claim: Claim, resume: Any) -> None:  # noqa: ANN401  (JSON)
        """Store what another owner needs to resume this step."""
        with self._state:
            if (held := self.held.get(claim.key)) is not None:
                held.resume = resume
        values = (_dumped(resume), *_names(claim.key), self.owner)
        self._write(lambda base: base.execute(f"UPDATE claims SET resume = ? {_MINE}", values))

    def release(self, key: StepKey) -> None:
        """End a claim without a result; what was stored by `note` is kept."""
        if not self._let_go(key):
            return
        self._end_claims([key])

    def _end_claims(self, keys: Iterable[StepKey]) -> None:
        values = [(*_names(key), self.owner) for key in keys]

        def end(base: sqlite3.Connection) -> None:
            base.executemany(f"DELETE FROM claims {_MINE} AND resume IS NULL", values)
            base.executemany(f"UPDATE claims SET owner = '' {_MINE}", values)

        self._write(end)

    def _let_go(self, key: StepKey) -> bool:
        with self._state:
            return self.held.pop(key, None) is not None

    def _holder_in_process(self, key: StepKey) -> str | None:
        """Return the owner in this process that works on a step, even if claims cannot be written."""
        for other in self._siblings():
            held = other.held.get(key)
            if held is not None and held.moves:
                return other.owner
        return None

    def _siblings(self) -> list["SqliteStore"]:
        """Return the stores of this process on the same file, including this one."""
        others = [] if self.path is None else [one for one in _stores() if one.path == self.path]
        return others or [self]

    def _holder(self, key: StepKey, row: tuple[Any, ...]) -> str | None:
        """Return the holder of a claim; `None` if it ended: its owner is gone, closed, or stalled for its lease."""
        owner, beat, lease = row[:3]
        sound = isinstance(owner, str) and isinstance(beat, int) and isinstance(lease, float | int)
        if not sound or not owner or not 0 <= lease <= _LONGEST_LEASE or is_gone(owner):
            return None
        if is_here(owner):
            other = _STORES.get(owner)
            if other is None or other is self or key not in other.held:
                return None  # closed or released, but not yet written; or claimed by this call
        now = time.monotonic()
        with self._state:
            seen = self._seen.get(key)
            if seen is None or seen[:2] != (owner, beat):
                seen = self._seen[key] = (owner, beat, now)
        return owner if now - seen[2] < lease else None

    # --- Usage ---

    def spend(self, run: str, origin: str, spent: Spent) -> None:
        """Store the usage of an answer, whatever becomes of the answer."""
        with self._state:
            self._unspent[spent.id] = (run, origin, spent.value)
        if self.path is not None and not self._flush():
            self._keep_beating()

    def spent(self, run: str, *origins: str) -> list[Any]:
        """Return the usage of a run's answers, of all processes together."""
        with self._state:
            held = [value for one, origin, value in self._unspent.values() if one == run and origin in origins]
        if self.path is None:
            return held
        marks = ", ".join("?" * len(origins))
        sql = f"SELECT value FROM spend WHERE run = ? AND origin IN ({marks}) ORDER BY rowid"
        rows: list[Any] = self._read(lambda base: base.execute(sql, (run, *origins)).fetchall(), [])
        read = [_loaded(row[0]) for row in rows]
        return [value for value in read if value is not None] + held

    def unverified(self, run: str) -> int:
        """Return the number of entries of unknown origin whose step has no verified answer."""
        sql = (
            "SELECT COUNT(*) FROM results AS old WHERE run = ? AND origin = ? AND NOT EXISTS "
            "(SELECT 1 FROM results WHERE run = old.run AND step = old.step AND origin != old.origin)"
        )
        if self.path is None:
            return 0
        return int(self._read(lambda base: base.execute(sql, (run, UNVERIFIED)).fetchone(), (0,))[0])

    def take_over(self, run: str, values: Mapping[str, Any], *, mark: str) -> None:
        """Import entries from a file of an older version, without an origin; `mark` identifies one state of that file.

        Does nothing if that state was imported before.
        """
        sql = "SELECT 1 FROM facts WHERE name = ?"
        if self._read(lambda base: base.execute(sql, (mark,)).fetchone(), None) is not None:
            return
        rows = [(run, UNVERIFIED, step, _dumped(value), _now()) for step, value in values.items()]

        def add(base: sqlite3.Connection) -> None:
            base.executemany("INSERT OR IGNORE INTO results VALUES (?, ?, ?, ?, ?, NULL)", rows)
            base.execute("INSERT OR REPLACE INTO facts VALUES (?, '')", (mark,))

        self._write(add)

    # --- Reports ---

    def unkept(self, origin: str) -> int:
        """Return the number of finished steps of an origin that are only in memory because a write failed."""
        with self._state:
            return 0 if self.path is None else sum(key.origin == origin for key in self.pending)

    def write_rest(self) -> None:
        """Retry the writes that failed."""
        if self.pending or self._unspent:
            self._flush(now=True)

    def notices(self) -> list[str]:
        """Return the notices: damaged entries, each counted once."""
        with self._state:
            damaged, self._damaged = self._damaged, 0
            if self._file is not None:
                damaged, self._file.dropped = damaged + self._file.dropped, 0
        if not damaged:
            return []
        return [f"Damaged or unreadable entries in {self.path}: {damaged}. They are not used; their steps are redone."]

    # --- Reading and writing ---

    def _in_memory(self, key: StepKey) -> Found | None:
        for store in self._siblings():
            row = store.pending.get(key)
            if row is not None and row.lasts:
                return Found(row.value, key.origin, row.expires_at)
        return None

    def _decoded(self, key: StepKey, rows: list[Any], base: sqlite3.Connection | None = None) -> Found | None:
        """Return the first row that is readable and not expired; damaged ones are removed, so that their step can be
        stored again.
        """  # noqa: D205
        for value, expires_at, origin in rows:
            read = _loaded(value)
            if read is None or not (expires_at is None or isinstance(expires_at, float | int)):
                self._remove_damaged(key, origin, base)
            elif expires_at is None or expires_at > _now():
                return Found(read, origin, expires_at)
        return None

    def _remove_damaged(self, key: StepKey, origin: str, base: sqlite3.Connection | None) -> None:
        with self._state:
            self._damaged += 1
        values = (key.run, origin, key.step)
        if base is not None:
            base.execute(_REMOVE, values)
        else:
            self._write(lambda opened: opened.execute(_REMOVE, values))

    def _read(self, action: Callable[[sqlite3.Connection], T], otherwise: T) -> T:
        """Read; a failure returns `otherwise` and sets `trouble`: what is finished meanwhile stays in memory."""
        if self._file is None:
            return otherwise
        try:
            return self._file.read(action)
        except (sqlite3.Error, OSError, UnusableStoreError) as error:
            self._failed(error)
            return otherwise

    def _write(self, action: Callable[[sqlite3.Connection], object], *, now: bool = False) -> bool:
        """Write in one transaction and return whether that worked; shortly after a failure nothing is tried."""
        if self._file is None or (time.monotonic() < self._retry_at and not now):
            return False
        try:
            with self._file.writing() as base:
                action(base)
        except (sqlite3.Error, OSError, UnusableStoreError) as error:
            self._failed(error)
            return False
        self._succeeded()
        return True

    def _flush(self, *, now: bool = False) -> bool:
        """Write everything that is pending, in one transaction; return whether that worked."""
        with self._state:
            finished, spent = dict(self.pending), dict(self._unspent)

        def add(base: sqlite3.Connection) -> None:
            _write_finished(base, finished, self.owner)
            _write_spent(base, spent)

        if not self._write(add, now=now):
            return False
        with self._state:
            for key in finished:
                self.held.pop(key, None)
            self.pending = {key: row for key, row in self.pending.items() if finished.get(key) is not row}
            self._unspent = {name: one for name, one in self._unspent.items() if name not in spent}
        return True

    def _failed(self, error: Exception) -> None:
        """Record why nothing could be written; writes pause for a moment, so that no thread waits in a queue."""
        now = time.monotonic()
        with self._state:
            self.trouble = reason_of(error)
            self._retry_at = now + min(_PAUSE_SECONDS, self._lease / 4)
            locked = resource_of(error) == "lock"
            self._locked_since = (now if self._locked_since is None else self._locked_since) if locked else None
            self._seen.clear()  # an owner that could not write has not necessarily stalled

    def _succeeded(self) -> None:
        with self._state:
            self.trouble, self._retry_at, self._locked_since = "", float("-inf"), None

    def _open_first(self, file: SqliteFile) -> None:
        """Open the file before anything is paid for; if it is only locked, that is retried later."""
        try:
            file.make_ready()
        except (sqlite3.Error, OSError, UnusableStoreError) as error:
            if resource_of(error) != "lock":
                raise to_error(error, file.path, self._use) from error
            self._failed(error)

    # --- The beat that renews leases ---

    def _keep_beating(self) -> None:
        if self.path is None:
            return
        with self._state:
            if self._beats:
                return
            self._beats = True
            self._ended.clear()
        beat = threading.Thread(
            target=_beat_on, args=(weakref.ref(self), self._ended, self._lease / 4), daemon=True, name="qwen-omni-lease"
        )
        beat.start()

    def beat(self) -> bool:
        """Renew the leases of active claims, and retry failed writes; return whether to keep beating."""
        with self._state:
            moving = [key for key, held in self.held.items() if held.moves]
            self._beats = bool(self.held or self.pending or self._unspent)
            if not self._beats:
                return False
        values = [(*_names(key), self.owner) for key in moving]
        if moving:
            self._write(lambda base: base.executemany(f"UPDATE claims SET beat = beat + 1 {_MINE}", values))
        if self.pending or self._unspent:
            self._flush()
        return True

    # --- The end ---

    def close(self) -> None:
        """Write what is pending, release all claims, close every connection. Can be called more than once."""
        self._ended.set()
        with self._state:
            held, self.held = self.held, {}
            self._beats = False
        if self.pending or self._unspent:
            self._flush(now=True)
        if held:
            self._end_claims(held)
        if self._file is not None:
            self._file.close()

    def before_fork(self) -> None:
        """Wait until nothing is in progress, and close the file."""
        if self._file is not None:
            self._file.before_fork()
        self._state.acquire()

    def after_fork(self) -> None:
        """Resume after a fork."""
        self._state.release()
        if self._file is not None:
            self._file.after_fork()

    def become_child(self) -> None:
        """Forget the parent's state: its claims, and what it will write itself."""
        self.owner = new_owner()
        _STORES[self.owner] = self
        self.held, self._seen, self._beats = {}, {}, False
        if self.path is not None:
            self.pending, self._unspent = {}, {}
        self._ended = threading.Event()
        self.after_fork()


def _now() -> float:
    """Return the seconds since the epoch, which decide when an entry was stored and whether it has expired."""
    return time.time()


# --- Rows ---


_MINE = "WHERE run = ? AND origin = ? AND step = ? AND owner = ?"
_REMOVE = "DELETE FROM results WHERE run = ? AND origin = ? AND step = ?"


def _names(key: StepKey) -> tuple[str, str, str]:
    return key.run, key.origin, key.step


def _select(base: sqlite3.Connection, key: StepKey, *, unverified: bool) -> list[Any]:
    origins = (key.origin, UNVERIFIED if unverified else key.origin)
    sql = (
        "SELECT value, expires_at, origin FROM results WHERE run = ? AND step = ? AND origin IN (?, ?) "
        "ORDER BY origin = ?"
    )
    return base.execute(sql, (key.run, key.step, *origins, UNVERIFIED)).fetchall()


def _claim_row(base: sqlite3.Connection, key: StepKey) -> tuple[Any, ...] | None:
    sql = "SELECT owner, beat, lease, resume FROM claims WHERE run = ? AND origin = ? AND step = ?"
    row: tuple[Any, ...] | None = base.execute(sql, (key.run, key.origin, key.step)).fetchone()
    return row


def _write_finished(base: sqlite3.Connection, finished: Mapping[StepKey, _Row], owner: str) -> None:
    now = _now()
    rows = [(*_names(key), _dumped(row.value), now, row.expires_at) for key, row in finished.items()]
    base.executemany(
        "INSERT INTO results VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (run, origin, step) DO UPDATE SET "
        "value = excluded.value, stored_at = excluded.stored_at, expires_at = excluded.expires_at "
        "WHERE results.expires_at <= excluded.stored_at",  # the first answer counts, unless it has expired
        rows,
    )
    base.executemany(f"DELETE FROM claims {_MINE}", [(*_names(key), owner) for key in finished])


def _write_spent(base: sqlite3.Connection, spent: Mapping[str, tuple[str, str, Mapping[str, Any]]]) -> None:
    now = _now()
    rows = [(name, run, origin, _dumped(value), now) for name, (run, origin, value) in spent.items()]
    base.executemany("INSERT OR IGNORE INTO spend VALUES (?, ?, ?, ?, ?)", rows)


def _dumped(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    try:
        text.encode()
    except UnicodeEncodeError:  # a lone surrogate in a name or an answer
        text = json.dumps(value, separators=(",", ":"))
    return text


def _loaded(text: object) -> Any:  # noqa: ANN401  (JSON)
    """Parse a value; `None` if it is invalid. A finished step is never `null`."""
    if not isinstance(text, str):
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


# --- The beat and forks ---


def _beat_on(found: "weakref.ref[SqliteStore]", ended: threading.Event, seconds: float) -> None:
    while not ended.wait(seconds):
        store = found()
        if store is None:
            return
        if not store.beat():
            return
        del store


_forking: list[SqliteStore] = []


def _before_fork() -> None:
    _forking.extend(sorted(_stores(), key=id))
    for store in _forking:
        store.before_fork()


def _after_fork_in_parent() -> None:
    while _forking:
        _forking.pop().after_fork()


def _after_fork_in_child() -> None:
    while _forking:
        _forking.pop().become_child()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child)
