"""The store in a PostgreSQL database, for the processes of many machines.

Claims expire by the clock of the server, never by that of a client. A restart of the server prolongs them: an owner
that could not renew its claim has not necessarily stalled. Where the server cannot be asked, nothing is claimed, since
others may have paid for the step: transient failures are retried for half a minute, then `StoreError` is raised. What
is finished meanwhile stays in memory.
"""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from qwen_omni.work_store.buffered import BufferedStore
from qwen_omni.work_store.postgres_server import (
    Address,
    PostgresServer,
    Unusable,
    detail,
    load_psycopg,
    meaning,
    to_error,
)
from qwen_omni.work_store.statements import MINE, Transaction, loaded, names, select
from qwen_omni.work_store.store import Claim, Found, StepKey, StoreUse, Taken, describe, is_gone

T = TypeVar("T")

LEASE_SECONDS = 60.0
"""Seconds that an owner may stall before others take over its claims; one whose process ended on this machine is
noticed at once."""
_PLAIN = StoreUse(name="work store", way_out="Check the address.")
_ENDED = (
    "(claims.owner = '' OR clock_timestamp() > "
    "GREATEST(claims.renewed_at, pg_postmaster_start_time()) + claims.lease * interval '1 second')"
)
_STEP = "run = ? AND origin = ? AND step = ?"


class PostgresStore(BufferedStore):
    """The store in a PostgreSQL database (extra `postgres`)."""

    lock_row = " FOR UPDATE"
    among = "= ANY(ARRAY(SELECT jsonb_array_elements_text(?::jsonb)))"

    def __init__(self, address: str, use: StoreUse = _PLAIN, *, lease_seconds: float | None = None) -> None:
        """Connect, and create the tables where they are missing, in the schema `qwen_omni`.

        Args:
            address: `postgresql://USER@HOST:PORT/DATABASE`, or anything else that libpq takes. The password is best
                left to PGPASSWORD or ~/.pgpass.
            use: what the store is for, in messages.
            lease_seconds: how long this owner may stall before others take over; 60 if not given.

        Raises:
            StoreError: the server cannot be reached or used, or its tables are of a newer version.
            ConfigurationError: psycopg is not installed.
        """
        self.address = Address.parse(address)
        lease = LEASE_SECONDS if lease_seconds is None else lease_seconds
        super().__init__(str(self.address), use, lease, identity=address)
        self._server = PostgresServer(self.address, use)
        self.database = self._server
        self.faults = (load_psycopg().Error, Unusable)
        try:
            self._server.open_first()
        except self.faults as error:
            raise to_error(error, self.address, use) from None  # the cause may quote the address

    def __repr__(self) -> str:
        return f"PostgresStore({self.place})"

    # --- Failures ---

    def reason(self, error: Exception) -> str:
        """Return why a transaction failed, for people."""
        return detail(error, self.address)

    def is_transient(self, error: Exception) -> bool:
        """Whether the same transaction may soon succeed."""
        return meaning(error)[1]

    def unread(self, error: Exception, otherwise: T) -> T:  # noqa: ARG002
        """Raise what a failed read means: others may have finished and paid for what is asked for."""
        raise to_error(error, self.address, self.use) from None

    def insist(self, action: Callable[[Transaction], T]) -> T:
        """Write in one transaction; repeat it for 30 s while failures are transient.

        Raises:
            StoreError: it failed for another reason, or for longer.
        """
        try:
            return self._server.insist(action)
        except self.faults as error:
            self.failed(error)
            raise to_error(error, self.address, self.use) from None

    def insist_read(self, action: Callable[[Transaction], T]) -> T:
        """Read; repeat it for 30 s while failures are transient.

        Raises:
            StoreError: it failed for another reason, or for longer.
        """
        try:
            return self._server.read(action)
        except self.faults as error:
            raise to_error(error, self.address, self.use) from None

    # --- Claims ---

    def claim_written(self, key: StepKey, *, unverified: bool) -> Found | Claim | Taken:
        """Return the finished step, or claim it unless another process works on it.

        Raises:
            StoreError: the server cannot be asked.
        """
        return self.insist(lambda base: self._claim_in(base, key, unverified=unverified))

    def _claim_in(self, base: Transaction, key: StepKey, *, unverified: bool) -> Found | Claim | Taken:
        resumed: list[tuple[Any, ...]] = []
        while not resumed:
            seen = _claim_row(base, key)
            holder = None if seen is None else self._holder(key, *seen)
            if holder is not None:
                return Taken(describe(holder))
            owner = "" if seen is None else seen[0]
            gone = bool(owner) and not (seen is not None and seen[1])  # its lease runs, and its process has ended
            resumed = base.rows(
                "INSERT INTO claims VALUES (?, ?, ?, ?, ?, clock_timestamp()) ON CONFLICT (run, origin, step) "
                "DO UPDATE SET owner = excluded.owner, lease = excluded.lease, renewed_at = excluded.renewed_at "
                f"WHERE claims.owner = ? AND (?::bool OR {_ENDED}) RETURNING resume",
                (*names(key), self.owner, self._lease, owner, gone),
            )
        # Only now: whoever finished the step ended its claim in the same transaction.
        rows = select(base, key, unverified=unverified)
        found = None if not rows else self.decoded(key, rows, base)
        if found is not None:
            base.run(f"DELETE FROM claims {MINE}", (*names(key), self.owner))
            return found
        return Claim(key, loaded(resumed[0][0]), lost=bool(owner) and not self.ended_here(owner, key))

    def holder(self, base: Transaction, key: StepKey) -> str | None:
        """Return who works on a step; `None` if no claim on it lasts."""
        row = _claim_row(base, key)
        return None if row is None else self._holder(key, *row)

    def _holder(self, key: StepKey, owner: str, ended: bool) -> str | None:
        return None if ended or is_gone(owner) or self.ended_here(owner, key) else owner

    def renew(self, base: Transaction, keys: Sequence[StepKey]) -> None:
        """Renew the leases of claims."""
        base.run_many(
            f"UPDATE claims SET renewed_at = clock_timestamp() {MINE}", [(*names(one), self.owner) for one in keys]
        )


def _claim_row(base: Transaction, key: StepKey) -> tuple[str, bool] | None:
    """Return the owner of a claim, and whether its lease is over."""
    rows = base.rows(f"SELECT owner, {_ENDED} FROM claims WHERE {_STEP}", names(key))
    return (rows[0][0], bool(rows[0][1])) if rows else None
