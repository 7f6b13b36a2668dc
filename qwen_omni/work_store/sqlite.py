"""The store in one SQLite file, for the processes of one machine; without a path, in memory, for one process.

Waiting for a lock is bounded in time, and never blocks readers. If claims cannot be written, a step is claimed in this
process only. Whoever waits for a claim measures its lease as the time in which the owner's counter did not change.
"""

import sqlite3
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from qwen_omni.work_store.buffered import BufferedStore, open_stores
from qwen_omni.work_store.sqlite_file import (
    SqliteFile,
    UnusableStoreError,
    reason_of,
    resource_of,
    to_error,
)
from qwen_omni.work_store.statements import MINE, Transaction, loaded, names, select
from qwen_omni.work_store.store import Claim, Found, StepKey, StoreUse, Taken, describe, is_gone

T = TypeVar("T")

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
