"""What every backend of a store shares: what is in memory, who holds which claim, and when it is written.

A backend says how one transaction is run, and what a claim is in it; the statements are the same for all. What cannot
be written stays in memory, and is retried with every later write and every beat. No connection survives a fork.
"""

import itertools
import os
import threading
import time
import weakref
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Protocol, TypeVar

from qwen_omni.work_store.inputs import (
    InputCount,
    InputFilter,
    StoredInput,
    merged,
    read_rows,
    select_claims,
    select_counts,
    select_named,
    select_page,
    write_inputs,
)
from qwen_omni.work_store.statements import (
    MINE,
    REMOVE,
    Row,
    Transaction,
    dumped,
    exchanged,
    loaded,
    marks,
    names,
    select,
    select_among,
    select_run,
    write_digests,
    write_finished,
    write_spent,
)
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
    is_here,
    new_owner,
    version_key,
)

T = TypeVar("T")

_PAUSE_SECONDS = 1.0  # after a failed write; meanwhile no write is tried
_CHUNK = 1_000  # versions looked up by one statement


class Database(Protocol):
    """A file or a server. Thread-safe."""

    def read(self, action: Callable[[Transaction], T]) -> T:
        """Read in one transaction."""

    def write(self, action: Callable[[Transaction], T]) -> T:
        """Write in one transaction, all or nothing, within a bounded time."""

    def close(self) -> None:
        """Close every connection; the next use opens new ones."""

    def before_fork(self) -> None:
        """Prepare for a fork: wait until nothing is in progress."""

    def after_fork(self, *, child: bool) -> None:
        """Resume after a fork; a child uses no connection of its parent."""


@dataclass(slots=True)
class Held:
    """A claim of this store."""

    alive: Alive | None
    resume: Any = None

    @property
    def moves(self) -> bool:
        """Whether the work behind it makes progress."""
        return self.alive is None or self.alive()


STORES: "weakref.WeakValueDictionary[str, BufferedStore]" = weakref.WeakValueDictionary()
"""The stores of this process, by owner."""


def open_stores() -> "list[BufferedStore]":
    """Return the stores of this process."""
    found = [one() for one in STORES.valuerefs()]
    return [store for store in found if store is not None]


class BufferedStore(ABC):
    """Finished steps and claims, over a database; the base of every backend. Thread-safe, and shared by processes.

    No method but `exchange` raises because something cannot be *written*: the value stays in memory, is written as soon
    as that is possible, and `trouble` and `notices` report it. A store on a server raises `StoreError` where it cannot
    be *read*, and where a step cannot be claimed: others may have paid for it.

    Attributes:
        place: where the entries are: a file, or the address of a server without its password. `None` is memory only.
        trouble: why the last write failed; empty if it succeeded.
        owner: identifies this store in claims.
    """

    database: Database
    """Where the entries are."""

    faults: tuple[type[Exception], ...]
    """What a transaction may raise because of the file, the server or the way to it."""

    lock_row: ClassVar[str] = ""
    """What a SELECT adds to lock a row until the end of its transaction."""

    among: ClassVar[str]
    """What follows a column in a condition that it is one of a JSON array of texts."""

    def __init__(
        self, place: Path | str | None, use: StoreUse, lease_seconds: float, *, identity: str | None = None
    ) -> None:
        self.place = place
        self.identity = identity or str(place)  # never shown: it may hold a password
        self.trouble = ""
        self.owner = new_owner()
        self.use = use
        self.pending: dict[StepKey, Row] = {}
        self.held: dict[StepKey, Held] = {}
        self._lease = lease_seconds
        self._state = threading.RLock()
        self._unspent: dict[str, tuple[str, str, Mapping[str, Any]]] = {}
        self._inputs: dict[tuple[str, str, str], tuple[StoredInput, ...]] = {}  # not yet written; in their order
        self._flushing = threading.Lock()  # inputs add up, so each is written once
        self._digests: dict[str, str] = {}  # not yet written
        self._damaged = 0
        self._beats = False
        self._retry_at = float("-inf")
        self._transient_since: float | None = None
        self._ended = threading.Event()
        STORES[self.owner] = self

    # --- What a backend decides ---

    @abstractmethod
    def reason(self, error: Exception) -> str:
        """Return why a transaction failed, for people."""

    @abstractmethod
    def is_transient(self, error: Exception) -> bool:
        """Whether the same transaction may soon succeed."""

    @abstractmethod
    def unread(self, error: Exception, otherwise: T) -> T:
        """Return what a failed read yields, or raise what it means."""

    @abstractmethod
    def insist(self, action: Callable[[Transaction], T]) -> T:
        """Write in one transaction; repeat it while its failures are transient, then raise a `QwenOmniError`."""

    @abstractmethod
    def insist_read(self, action: Callable[[Transaction], T]) -> T:
        """Read, or raise a `QwenOmniError` if that fails."""

    @abstractmethod
    def holder(self, base: Transaction, key: StepKey) -> str | None:
        """Return who works on a step; `None` if no claim on it lasts."""

    @abstractmethod
    def claim_written(self, key: StepKey, *, unverified: bool) -> Found | Claim | Taken:
        """Return the finished step, or write a claim unless another process works on it."""

    @abstractmethod
    def renew(self, base: Transaction, keys: Sequence[StepKey]) -> None:
        """Renew the leases of claims."""

    # --- Finished steps ---

    def find(self, key: StepKey, *, unverified: bool = False) -> Found | None:
        """Return a finished step; with `unverified`, also one of unknown origin from an older version."""
        kept = self._in_memory(key)
        if kept is not None:
            return kept
        rows: list[Any] = self._read(lambda base: select(base, key, unverified=unverified), [])
        return self.decoded(key, rows)

    def steps(self, run: str, origin: str) -> Mapping[str, Any]:
        """Return every finished step of a run by name."""
        with self._state:
            kept = {key.step: row.value for key, row in self.pending.items() if (key.run, key.origin) == (run, origin)}
        rows: list[Any] = self._read(lambda base: select_run(base, run, origin), [])
        found = {row[4]: self.decoded(StepKey(run, row[4], origin), [row[:4]]) for row in rows if type(row[4]) is str}
        return {**{step: one.value for step, one in found.items() if one is not None}, **kept}

    def find_many(self, run: str, origin: str, steps: Iterable[str]) -> dict[str, Any]:
        """Return the values of those steps of a run that are finished, by name."""
        wanted = list(steps)
        kept = {step: self._in_memory(StepKey(run, step, origin)) for step in wanted}
        values = {step: one.value for step, one in kept.items() if one is not None}
        rows = self._among(wanted, lambda base, some: select_among(base, run, origin, some, self.among))
        found = {row[4]: self.decoded(StepKey(run, row[4], origin), [row[:4]]) for row in rows}
        return {**{step: one.value for step, one in found.items() if one is not None}, **values}

    def finish(self, key: StepKey, value: Any, *, expires_at: float | None = None) -> Any:  # noqa: ANN401  (JSON)
        """Store a finished step and end its claim; return the value that counts, which is the first one stored.

        A failed write is never raised: what cannot be written stays in memory, and `trouble` and `unkept` report it.
        """
        row = self._buffer({key: value}, expires_at)[key]
        counts = self._stored(key, row)
        if counts is not None or self._transient_since is None:
            self.let_go(key)  # otherwise it stays claimed until it is written
        return row.value if counts is None else counts.value

    def finish_all(self, values: Mapping[StepKey, Any]) -> None:
        """Store many finished steps at once; of each, the first value that was stored counts."""
        self._buffer(values, None)
        if not self._flush():
            self._keep_beating()

    def _buffer(self, values: Mapping[StepKey, Any], expires_at: float | None) -> dict[StepKey, Row]:
        now = time.time()
        with self._state:
            for key, value in values.items():
                row = self.pending.get(key)
                if row is None or not row.lasts(now):
                    self.pending[key] = Row(value, expires_at)
            return {key: self.pending[key] for key in values}

    def _stored(self, key: StepKey, row: Row) -> Found | None:
        """Write a finished step and return the stored value; `None` if it could not be written."""
        for _ in range(2):
            if not self._flush():
                self._keep_beating()
                return None
            try:
                counts = self.find(key)
            except Exception as error:  # noqa: BLE001  (whatever a backend raises: it is written, and can be read later)
                self.trouble = self.trouble or str(error)
                return None
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

        def remove(base: Transaction) -> None:
            for stored, *_ in select(base, key, unverified=False, lock=self.lock_row):
                if dumped(loaded(stored)) == dumped(value):
                    base.run(REMOVE, names(key))

        self._write(remove)

    # --- Claims ---

    def peek(self, key: StepKey, *, unverified: bool = False) -> Found | Taken | None:
        """Return the state of a step without claiming it."""
        found = self.find(key, unverified=unverified)
        if found is not None:
            return found
        holder = self._holder_in_process(key)
        if holder is None:
            holder = self._read(lambda base: self.holder(base, key), None)
        return None if holder is None else Taken(describe(holder))

    def claim(self, key: StepKey, *, unverified: bool = False, alive: Alive | None = None) -> Found | Claim | Taken:
        """Return the finished step, or claim it unless another owner works on it.

        Args:
            key: the step.
            unverified: whether an entry of unknown origin counts.
            alive: whether the work makes progress; a lease is renewed only while it returns `True`.
        """
        state = self.peek(key, unverified=unverified)
        if state is not None:
            return state
        held = Held(alive)
        outcome: Found | Claim | Taken
        with self._state:
            if key in self.held:
                return Taken(describe(self.owner))
            self.held[key] = held
        finished = self._in_memory(key)  # by another thread since the look above; the file may not have it
        if finished is not None:
            self.let_go(key)
            return finished
        try:
            if self.place is None:  # no other process has it; another thread may have finished since the look above
                outcome = self.find(key, unverified=unverified) or Claim(key)
            else:
                outcome = self.claim_written(key, unverified=unverified)
        except BaseException:
            self.let_go(key)
            raise
        if isinstance(outcome, Claim):
            held.resume = outcome.resume
            self._keep_beating()
        else:
            self.let_go(key)
        return outcome

    def note(self, claim: Claim, resume: Any) -> None:  # noqa: ANN401  (JSON)
        """Store what another owner needs to resume this step."""
        with self._state:
            if (held := self.held.get(claim.key)) is not None:
                held.resume = resume
        values = (dumped(resume), *names(claim.key), self.owner)
        self._write(lambda base: base.run(f"UPDATE claims SET resume = ? {MINE}", values))

    def release(self, key: StepKey) -> None:
        """End a claim without a result; what was stored by `note` is kept."""
        if self.let_go(key):
            self._end_claims([key])

    def _end_claims(self, keys: Iterable[StepKey]) -> None:
        values = [(*names(key), self.owner) for key in sorted(keys, key=names)]

        def end(base: Transaction) -> None:
            base.run_many(f"DELETE FROM claims {MINE} AND resume IS NULL", values)
            base.run_many(f"UPDATE claims SET owner = '' {MINE}", values)

        self._write(end)

    def let_go(self, key: StepKey) -> bool:
        """Forget a claim of this store, and return whether there was one."""
        with self._state:
            return self.held.pop(key, None) is not None

    def _holder_in_process(self, key: StepKey) -> str | None:
        """Return the owner in this process that works on a step, even if claims cannot be written."""
        for other in self._siblings():
            held = other.held.get(key)
            if held is not None and held.moves:
                return other.owner
        return None

    def _siblings(self) -> "list[BufferedStore]":
        """Return the stores of this process on the same entries, including this one."""
        others = [] if self.place is None else [one for one in open_stores() if one.identity == self.identity]
        return others or [self]

    def ended_here(self, owner: str, key: StepKey) -> bool:
        """Whether a written claim belongs to this process and has ended: closed or released, or made by this call."""
        if not is_here(owner):
            return False
        other = STORES.get(owner)
        return other is None or other is self or key not in other.held

    # --- Usage ---

    def spend(self, run: str, origin: str, spent: Spent) -> None:
        """Store the usage of an answer, whatever becomes of the answer."""
        with self._state:
            self._unspent[spent.id] = (run, origin, spent.value)
        if not self._flush():
            self._keep_beating()

    def spent(self, run: str, *origins: str) -> list[Any]:
        """Return the usage of a run's answers, of all processes together."""
        with self._state:
            held = [value for one, origin, value in self._unspent.values() if one == run and origin in origins]
        sql = f"SELECT value FROM spend WHERE run = ? AND origin IN ({marks(origins)}) ORDER BY at, id"
        rows: list[Any] = self._read(lambda base: base.rows(sql, (run, *origins)), [])
        read = [loaded(row[0]) for row in rows]
        return [value for value in read if value is not None] + held

    def unverified(self, run: str) -> int:
        """Return the number of entries of unknown origin whose step has no verified answer."""
        sql = (
            "SELECT COUNT(*) FROM results AS old WHERE run = ? AND origin = ? AND NOT EXISTS "
            "(SELECT 1 FROM results WHERE run = old.run AND step = old.step AND origin != old.origin)"
        )
        return int(self._read(lambda base: base.rows(sql, (run, UNVERIFIED))[0], (0,))[0])

    def take_over(self, run: str, values: Mapping[str, Any], *, mark: str) -> None:
        """Import entries from a file of an older version, without an origin; `mark` identifies one state of that file.

        Does nothing if that state was imported before.
        """
        known: list[Any] = self._read(lambda base: base.rows("SELECT 1 FROM facts WHERE name = ?", (mark,)), [])
        if known:
            return
        rows = [(run, UNVERIFIED, step, dumped(value), time.time()) for step, value in values.items()]

        def add(base: Transaction) -> None:
            base.run_many("INSERT INTO results VALUES (?, ?, ?, ?, ?, NULL) ON CONFLICT DO NOTHING", sorted(rows))
            base.run("INSERT INTO facts VALUES (?, '') ON CONFLICT DO NOTHING", (mark,))

        self._write(add)

    # --- Inputs ---

    @property
    def _unwritten(self) -> bool:
        return bool(self.pending or self._unspent or self._inputs or self._digests)

    def put_inputs(self, inputs: Iterable[StoredInput], *, now: bool = True) -> None:
        """Store the outcome of inputs; with `now=False`, in one transaction with whatever is stored next."""
        with self._state:
            for one in inputs:
                self._inputs[one.key] = (*self._inputs.get(one.key, ()), one)
        if not (now and self._flush()):
            self._keep_beating()

    def inputs_named(self, run: str, origin: str, names: Iterable[str]) -> dict[str, StoredInput]:
        """Return the outcome of inputs, by name, with their answers; those that are not known are left out."""
        wanted = list(names)
        with self._state:
            kept = {name: self._inputs[run, origin, name] for name in wanted if (run, origin, name) in self._inputs}
        rows = self._among(wanted, lambda base, some: select_named(base, run, origin, some, self.among))
        found = {one.name: one for one in read_rows(rows)}
        for name, some in kept.items():
            found[name] = self._answered(merged(some, found.get(name)))
        return found

    def _answered(self, one: StoredInput) -> StoredInput:
        found = self.find(StepKey(one.run, one.answer, one.origin)) if one.answer else None
        return one if found is None else replace(one, found=found.value)

    def inputs_after(
        self, run: str, origin: str, after: str = "", *, status: str | None = None, most: int = _CHUNK
    ) -> list[StoredInput]:
        """Return the next inputs of a run in the order of their names, of one status if given; none after the last.

        Raises:
            StoreError: the server cannot be read.
            LocalResourceError: the file cannot be read.
        """
        self.write_rest()
        rows = self.insist_read(lambda base: select_page(base, run, origin, status, after, most))
        return list(read_rows(rows))

    def count_inputs(self, wanted: InputFilter) -> list[InputCount]:
        """Return counts and sums by run, origin and status; raises as `inputs_after` does."""
        self.write_rest()
        return self.insist_read(lambda base: select_counts(base, wanted))

    def count_claims(self, wanted: InputFilter) -> int:
        """Return how many steps are being worked on."""
        if self.place is None:
            with self._state:
                return sum(wanted.matches(key.run, key.origin) for key in self.held)

        def count(base: Transaction) -> int:
            keys = [StepKey(run, step, origin) for run, origin, step in select_claims(base, wanted)]
            return sum(self.holder(base, key) is not None or key in self.held for key in keys)

        return self.insist_read(count)

    # --- Digests of contents, and shared records ---

    def known_digests(self, versions: Iterable[tuple[str, str]]) -> dict[tuple[str, str], str]:
        """Return the digests that are remembered, by address and version (see `file_version`)."""
        wanted = {version_key(*one): one for one in versions}
        with self._state:
            found = {one: self._digests[key] for key, one in wanted.items() if key in self._digests}
        sql = f"SELECT key, digest FROM digests WHERE key {self.among}"
        rows = self._among(list(wanted), lambda base, some: base.rows(sql, (some,)))
        return found | {wanted[key]: digest for key, digest in rows if isinstance(digest, str)}

    def remember_digests(self, digests: Mapping[tuple[str, str], str], *, now: bool = True) -> None:
        """Remember digests by address and version; with `now=False`, in one transaction with whatever is stored next.

        What cannot be written is not remembered.
        """
        with self._state:
            self._digests |= {version_key(*one): digest for one, digest in digests.items()}
        if not now:
            return
        self._flush()
        with self._state:
            self._digests = {}

    def exchange(self, name: str, decide: Callable[[Any, float], tuple[Any, T]]) -> T:
        """Replace a record by what `decide` makes of it, while no one else can; return its second result.

        Args:
            name: the record; one that does not exist is `None`, and `None` removes it.
            decide: takes the record and the time by the store's clock, in seconds since the epoch. It is called again
                if the connection broke, which may have been after the record was replaced.

        Raises:
            StoreError: the server cannot be used, or was unreachable for half a minute.
            LocalResourceError: the file cannot be written, or was locked for 10 s.
            ConfigurationError: the file is damaged.
        """
        return self.insist(lambda base: exchanged(base, name, decide, self.lock_row))

    # --- Reports ---

    def unkept(self, origin: str) -> int:
        """Return the number of finished steps of an origin that are only in memory because a write failed."""
        with self._state:
            return sum(key.origin == origin for key in self.pending)

    def check_readable(self) -> None:
        """Check that finished steps can be read.

        Raises:
            StoreError: the server cannot be read.
            LocalResourceError: the file cannot be read.
        """
        self.insist_read(lambda base: base.rows("SELECT run FROM results LIMIT 1"))

    @property
    def unwritten(self) -> int:
        """The number of finished steps and inputs that are only in memory, although there is a file or server."""
        with self._state:
            return len(self.pending) + len(self._inputs)

    @property
    def failing(self) -> bool:
        """Whether the last write failed for a reason that does not pass by itself, as a full disk does not."""
        with self._state:
            return bool(self.trouble) and self._transient_since is None

    def write_rest(self) -> None:
        """Retry the writes that failed."""
        if self._unwritten:
            self._flush(now=True)

    def notices(self) -> list[str]:
        """Return the notices: damaged entries, each counted once."""
        with self._state:
            damaged, self._damaged = self._damaged, 0
        if not damaged:
            return []
        return [f"Damaged or unreadable entries in {self.place}: {damaged}. They are not used; their steps are redone."]

    # --- Reading and writing ---

    def _in_memory(self, key: StepKey) -> Found | None:
        now = time.time()
        for store in self._siblings():
            row = store.pending.get(key)
            if row is not None and row.lasts(now):
                return Found(row.value, key.origin, row.expires_at)
        return None

    def decoded(self, key: StepKey, rows: list[Any], base: Transaction | None = None) -> Found | None:
        """Return the first row that is readable and not expired; damaged ones are removed, so that their step can be
        stored again.
        """  # noqa: D205
        for value, expires_at, origin, lasts in rows:
            read = loaded(value)
            if read is None or not (expires_at is None or isinstance(expires_at, float | int)):
                self._remove_damaged(key, origin, base)
            elif lasts:
                return Found(read, origin, expires_at)
        return None

    def _remove_damaged(self, key: StepKey, origin: str, base: Transaction | None) -> None:
        with self._state:
            self._damaged += 1
        values = (key.run, origin, key.step)
        if base is not None:
            base.run(REMOVE, values)
        else:
            self._write(lambda opened: opened.run(REMOVE, values))

    def _among(self, wanted: Sequence[str], select: Callable[[Transaction, str], list[Any]]) -> list[Any]:
        """Read the rows of many names; `select` takes some of them at a time, as a JSON array."""
        parts = [dumped(wanted[start : start + _CHUNK]) for start in range(0, len(wanted), _CHUNK)]
        if not parts:
            return []
        return self._read(lambda base: [row for some in parts for row in select(base, some)], [])

    def _read(self, action: Callable[[Transaction], T], otherwise: T) -> T:
        """Read; see `unread` for what a failure means. What is finished meanwhile stays in memory."""
        try:
            return self.database.read(action)
        except self.faults as error:
            self.failed(error)
            return self.unread(error, otherwise)

    def _write(self, action: Callable[[Transaction], object], *, now: bool = False) -> bool:
        """Write in one transaction and return whether that worked; shortly after a failure nothing is tried."""
        if time.monotonic() < self._retry_at and not now:
            return False
        try:
            self.database.write(action)
        except self.faults as error:
            self.failed(error)
            return False
        self._succeeded()
        return True

    def _flush(self, *, now: bool = False) -> bool:
        """Write everything that is pending, in one transaction; return whether that worked."""
        with self._flushing:
            return not self._unwritten or self._write_pending(now=now)

    def _write_pending(self, *, now: bool) -> bool:
        with self._state:
            finished, spent, inputs = dict(self.pending), dict(self._unspent), dict(self._inputs)
            digests, self._digests = self._digests, {}

        def add(base: Transaction) -> None:
            write_finished(base, finished, self.owner)
            write_spent(base, spent)
            write_digests(base, digests)
            if inputs:
                write_inputs(base, itertools.chain.from_iterable(inputs.values()))

        if not self._write(add, now=now):
            return False
        with self._state:
            for key in finished:
                self.held.pop(key, None)
            self.pending = {key: row for key, row in self.pending.items() if finished.get(key) is not row}
            self._unspent = {name: one for name, one in self._unspent.items() if name not in spent}
            for name, written in inputs.items():
                self._inputs[name] = self._inputs[name][len(written) :]
            self._inputs = {name: entries for name, entries in self._inputs.items() if entries}
        return True

    def failed(self, error: Exception) -> None:
        """Record why nothing could be written; writes pause for a moment, so that no thread waits in a queue."""
        now = time.monotonic()
        with self._state:
            self.trouble = self.reason(error)
            self._retry_at = now + min(_PAUSE_SECONDS, self._lease / 4)
            since = now if self._transient_since is None else self._transient_since
            self._transient_since = since if self.is_transient(error) else None

    def _succeeded(self) -> None:
        with self._state:
            self.trouble, self._retry_at, self._transient_since = "", float("-inf"), None

    # --- The beat that renews leases ---

    def _keep_beating(self) -> None:
        if self.place is None:
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
            moving = sorted((key for key, held in self.held.items() if held.moves), key=names)
            self._beats = bool(self.held or self._unwritten)
            if not self._beats:
                return False
        if moving:
            self._write(lambda base: self.renew(base, moving))
        if self._unwritten:
            self._flush()
        return True

    # --- The end ---

    def close(self) -> None:
        """Write what is pending, release all claims, close every connection. Can be called more than once."""
        self._ended.set()
        with self._state:
            held, self.held = self.held, {}
            self._beats = False
        if self._unwritten:
            self._flush(now=True)
        if held:
            self._end_claims(held)
        self.database.close()

    def before_fork(self) -> None:
        """Wait until nothing is in progress, and close the connections."""
        self.database.before_fork()
        self._state.acquire()

    def after_fork(self) -> None:
        """Resume after a fork."""
        self._state.release()
        self.database.after_fork(child=False)

    def become_child(self) -> None:
        """Forget the parent's state: its claims, and what it will write itself."""
        self.owner = new_owner()
        STORES[self.owner] = self
        self.held, self._beats = {}, False
        if self.place is not None:
            self.pending, self._unspent, self._inputs = {}, {}, {}
        self._ended = threading.Event()
        self._flushing = threading.Lock()
        self._state.release()
        self.database.after_fork(child=True)


# --- The beat and forks ---


def _beat_on(found: "weakref.ref[BufferedStore]", ended: threading.Event, seconds: float) -> None:
    while not ended.wait(seconds):
        store = found()
        if store is None:
            return
        if not store.beat():
            return
        del store


_forking: list[BufferedStore] = []


def _before_fork() -> None:
    _forking.extend(sorted(open_stores(), key=id))
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
