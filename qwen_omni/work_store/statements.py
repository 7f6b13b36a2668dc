"""Statements over the tables of a store, which every backend runs; `inputs` has those of its own table.

A statement marks values with `?`. Values are stored as JSON.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from qwen_omni.work_store.store import UNVERIFIED, StepKey

T = TypeVar("T")


class Transaction(Protocol):
    """One transaction of a backend. Statements mark values with `?`."""

    def rows(self, sql: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Return what a statement selects."""

    def run(self, sql: str, values: Sequence[Any] = ()) -> None:
        """Run a statement."""

    def run_many(self, sql: str, rows: Iterable[Sequence[Any]]) -> None:
        """Run a statement for each row of values."""

    def now(self) -> float:
        """Return the seconds since the epoch by the clock that all users of the store share."""


@dataclass(slots=True)
class Row:
    """A finished step that is not written yet."""

    value: Any
    expires_at: float | None

    def lasts(self, now: float) -> bool:
        """Whether it has not expired."""
        return self.expires_at is None or self.expires_at > now


MINE = "WHERE run = ? AND origin = ? AND step = ? AND owner = ?"
REMOVE = "DELETE FROM results WHERE run = ? AND origin = ? AND step = ?"


def names(key: StepKey) -> tuple[str, str, str]:
    """Return the columns that identify a step."""
    return key.run, key.origin, key.step


def marks(values: Sequence[object]) -> str:
    """Return a mark for each value, for an IN clause that may be empty."""
    return ", ".join("?" * len(values)) or "NULL"


def select(base: Transaction, key: StepKey, *, unverified: bool, lock: str = "") -> list[Any]:
    """Return value, expiry, origin, and whether it lasts, of the entries of a step; one of known origin first."""
    origins = (key.origin, UNVERIFIED if unverified else key.origin)
    sql = (
        "SELECT value, expires_at, origin FROM results WHERE run = ? AND step = ? AND origin IN (?, ?) "
        f"ORDER BY origin = ?{lock}"
    )
    return _with_lasts(base, base.rows(sql, (key.run, key.step, *origins, UNVERIFIED)))


def select_run(base: Transaction, run: str, origin: str) -> list[Any]:
    """Return value, expiry, origin, whether it lasts, and name, of every step of a run."""
    sql = "SELECT value, expires_at, origin, step FROM results WHERE run = ? AND origin = ?"
    return _with_lasts(base, base.rows(sql, (run, origin)))


def select_among(base: Transaction, run: str, origin: str, steps: str, among: str) -> list[Any]:
    """Return the finished ones among steps, as `select_run` does; `among` reads their names from a JSON array."""
    sql = f"SELECT value, expires_at, origin, step FROM results WHERE run = ? AND origin = ? AND step {among}"
    return _with_lasts(base, base.rows(sql, (run, origin, steps)))


def _with_lasts(base: Transaction, rows: list[tuple[Any, ...]]) -> list[Any]:
    now = base.now() if any(row[1] is not None for row in rows) else 0.0
    return [
        (*row[:3], not isinstance(row[1], float | int) or row[1] > now, *row[3:])
        for row in rows
    ]  # fmt: skip


def write_finished(base: Transaction, finished: Mapping[StepKey, Row], owner: str) -> None:
    """Write finished steps and end their claims."""
    if not finished:
        return
    now = base.now()
    ordered = sorted(finished, key=names)  # two writers that lock rows in one order cannot deadlock
    rows = [(*names(key), dumped(finished[key].value), now, finished[key].expires_at) for key in ordered]
    base.run_many(
        "INSERT INTO results VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (run, origin, step) DO UPDATE SET "
        "value = excluded.value, stored_at = excluded.stored_at, expires_at = excluded.expires_at "
        "WHERE results.expires_at <= excluded.stored_at",  # the first answer counts, unless it has expired
        rows,
    )
    base.run_many(f"DELETE FROM claims {MINE}", [(*names(key), owner) for key in ordered])


def write_spent(base: Transaction, spent: Mapping[str, tuple[str, str, Mapping[str, Any]]]) -> None:
    """Write the usage of answers, each once."""
    if not spent:
        return
    now = base.now()
    rows = [(name, run, origin, dumped(value), now) for name, (run, origin, value) in sorted(spent.items())]
    base.run_many("INSERT INTO spend VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING", rows)


def write_digests(base: Transaction, digests: Mapping[str, str]) -> None:
    """Write the digests of contents by the keys of their versions."""
    if digests:
        sql = "INSERT INTO digests VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET digest = excluded.digest"
        base.run_many(sql, sorted(digests.items()))


def exchanged(base: Transaction, name: str, decide: Callable[[Any, float], tuple[Any, T]], lock: str) -> T:
    """Replace a record by what `decide` makes of it; return its second result."""
    rows: list[tuple[Any, ...]] = []
    while not rows:  # it may be removed between the two statements
        base.run("INSERT INTO records VALUES (?, 'null') ON CONFLICT DO NOTHING", (name,))
        rows = base.rows(f"SELECT value FROM records WHERE name = ?{lock}", (name,))
    value, result = decide(loaded(rows[0][0]), base.now())
    if value is None:
        base.run("DELETE FROM records WHERE name = ?", (name,))
    else:
        base.run("UPDATE records SET value = ? WHERE name = ?", (dumped(value), name))
    return result


def dumped(value: object) -> str:
    """Return a value as JSON."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    try:
        text.encode()
    except UnicodeEncodeError:  # a lone surrogate in a name or an answer
        text = json.dumps(value, separators=(",", ":"))
    return text


def loaded(text: object) -> Any:  # noqa: ANN401  (JSON)
    """Parse a value; `None` if it is invalid. A finished step is never `null`."""
    if not isinstance(text, str):
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None
