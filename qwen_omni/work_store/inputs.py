"""The table of inputs: the outcome of each, by name. Transaction that every backend shares.

Unlike a finished step, the entry of an input is replaced: a failed one by a later attempt, an old version of a file by
a new one. Its answer is not repeated: the entry names the finished step that holds it, so two inputs of one content
share one answer. What an input cost adds up over its attempts.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from qwen_omni.work_store.statements import Transaction, dumped, loaded

DONE = "ok"
"""The status that no later failure of the same version replaces."""

_NAMES = (
    "run", "origin", "name", "version", "status", "answer", "value",
    "attempts", "input_tokens", "output_tokens", "cost", "began", "ended",
)  # fmt: skip
_COLUMNS = ", ".join(_NAMES)
_SAME = "inputs.version = excluded.version"
_REPLACED = ", ".join(
    [
        *(f"{name} = excluded.{name}" for name in ("version", "status", "answer", "value", "began", "ended")),
        *(
            f"{name} = excluded.{name} + CASE WHEN {_SAME} THEN inputs.{name} ELSE 0 END"
            for name in ("attempts", "input_tokens", "output_tokens", "cost")
        ),
    ]
)
_WRITE = (
    f"INSERT INTO inputs ({_COLUMNS}) VALUES ({', '.join('?' * len(_NAMES))}) "
    f"ON CONFLICT (run, origin, name) DO UPDATE SET {_REPLACED} "
    f"WHERE NOT (inputs.status = '{DONE}' AND {_SAME} AND excluded.status <> '{DONE}') "
    f"AND NOT ({_SAME} AND inputs.began = excluded.began AND inputs.ended = excluded.ended)"  # written before
)
_SELECT = (  # the answer in a subquery: a join is planned without its index while a server has no statistics
    f"SELECT {_COLUMNS}, (SELECT results.value FROM results WHERE results.run = inputs.run "
    "AND results.origin = inputs.origin AND results.step = inputs.answer) FROM inputs"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredInput:
    """The outcome of one input.

    Attributes:
        run: what it belongs to, as in `StepKey`.
        origin: who answered, or was asked.
        name: identifies the input within the run.
        version: of its content; another version is another input under the same name.
        status: its outcome, in a word; `DONE` is never replaced by another of the same version.
        answer: the name of the finished step that holds its answer; empty if there is none.
        value: what else is known about it, as JSON.
        attempts: how often it was tried.
        input_tokens: of all attempts together.
        output_tokens: likewise.
        cost: likewise; `None` if it is not known.
        began: when the last attempt began, in seconds since the epoch.
        ended: when it ended.
        found: the value of the finished step; only where it was read.
    """

    run: str
    origin: str
    name: str
    version: str = ""
    status: str = DONE
    answer: str = ""
    value: Mapping[str, Any] = field(default_factory=dict)
    attempts: int = 1
    input_tokens: int = 0
    output_tokens: int = 0
    cost: float | None = 0.0
    began: float = 0.0
    ended: float = 0.0
    found: Any = None

    @property
    def key(self) -> tuple[str, str, str]:
        """What identifies it."""
        return self.run, self.origin, self.name

    def after(self, before: "StoredInput | None") -> "StoredInput":
        """Return what is stored if this follows `before`, as the table decides it."""
        if before is None or before.version != self.version:
            return self
        if before.status == DONE != self.status or (before.began, before.ended) == (self.began, self.ended):
            return before
        known = None if self.cost is None or before.cost is None else self.cost + before.cost
        return replace(
            self, attempts=self.attempts + before.attempts, input_tokens=self.input_tokens + before.input_tokens,
            output_tokens=self.output_tokens + before.output_tokens, cost=known, found=None,
        )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class InputCount:
    """How many inputs of a run have one status, and what they cost together.

    Attributes:
        run: the run.
        origin: who answered.
        status: the status.
        count: how many.
        input_tokens: of all of them.
        output_tokens: likewise.
        cost: of those whose cost is known.
        unpriced: those whose cost is not known.
        began: when the first of them began, in seconds since the epoch.
        ended: when the last of them ended.
    """

    run: str
    origin: str
    status: str
    count: int
    input_tokens: int
    output_tokens: int
    cost: float
    unpriced: int
    began: float
    ended: float


@dataclass(frozen=True, slots=True, kw_only=True)
class InputFilter:
    """Which inputs to select.

    Attributes:
        run: the name of the run, or how it begins; any if empty.
        whole: whether `run` is the whole name.
        origin: who answered; any if `None`.
    """

    run: str = ""
    whole: bool = False
    origin: str | None = None

    def matches(self, run: str, origin: str) -> bool:
        """Whether the inputs of a run are selected."""
        known = self.origin is None or origin == self.origin
        return known and (run == self.run if self.whole else run.startswith(self.run))

    def where(self) -> tuple[str, list[Any]]:
        """Return the condition and its values."""
        condition, values = "substr(run, 1, ?) = ?", [len(self.run), self.run]
        if self.whole:
            condition, values = "run = ?", [self.run]
        if self.origin is None:
            return condition, values
        return f"{condition} AND origin = ?", [*values, self.origin]


def write_inputs(base: Transaction, inputs: Iterable[StoredInput]) -> None:
    """Write entries, in one order for all writers, so that they cannot deadlock."""
    ordered = sorted(inputs, key=lambda one: one.key)
    rows = [[dumped(dict(one.value)) if name == "value" else getattr(one, name) for name in _NAMES] for one in ordered]
    if rows:
        base.run_many(_WRITE, rows)


def select_named(base: Transaction, run: str, origin: str, names: str, among: str) -> list[tuple[Any, ...]]:
    """Return the entries with some names; `among` reads those from a JSON array."""
    return base.rows(
        f"{_SELECT} WHERE inputs.run = ? AND inputs.origin = ? AND inputs.name {among}", (run, origin, names)
    )


def select_page(
    base: Transaction, run: str, origin: str, status: str | None, after: str, most: int
) -> list[tuple[Any, ...]]:
    """Return the next entries of a run in the order of their names, of one status if given."""
    of_status = "" if status is None else " AND inputs.status = ?"
    values = (run, origin, after, *(() if status is None else (status,)), most)
    where = f"inputs.run = ? AND inputs.origin = ? AND inputs.name > ?{of_status}"
    return base.rows(f"{_SELECT} WHERE {where} ORDER BY inputs.name LIMIT ?", values)


def select_counts(base: Transaction, wanted: InputFilter) -> list[InputCount]:
    """Return counts and sums by run, origin and status."""
    where, values = wanted.where()
    found = base.rows(
        "SELECT run, origin, status, COUNT(*), SUM(input_tokens), SUM(output_tokens), SUM(cost), COUNT(cost), "
        f"MIN(began), MAX(ended) FROM inputs WHERE {where} GROUP BY run, origin, status ORDER BY run, origin, status",
        values,
    )
    return [
        InputCount(
            run=row[0], origin=row[1], status=row[2], count=int(row[3]), input_tokens=int(row[4]),
            output_tokens=int(row[5]), cost=float(row[6] or 0.0), unpriced=int(row[3]) - int(row[7]),
            began=float(row[8]), ended=float(row[9]),
        )
        for row in found
    ]  # fmt: skip


def merged(inputs: Iterable[StoredInput], before: StoredInput | None = None) -> StoredInput:
    """Return what is stored if these follow one another, and `before`; there is at least one."""
    for one in inputs:
        before = one.after(before)
    assert before is not None
    return before


def select_claims(base: Transaction, wanted: InputFilter) -> list[tuple[str, str, str]]:
    """Return the steps of runs that are, or were, claimed."""
    where, values = wanted.where()
    sql = f"SELECT run, origin, step FROM claims WHERE owner <> '' AND {where}"
    return [(row[0], row[1], row[2]) for row in base.rows(sql, values)]


def read_rows(rows: Iterable[tuple[Any, ...]]) -> Iterator[StoredInput]:
    """Yield the entries of rows; those that are damaged are left out, so that their inputs are done again."""
    for row in rows:
        value = loaded(row[6])
        texts = (*row[:6],)
        numbers = (row[7], row[8], row[9], row[11], row[12])
        if not isinstance(value, dict) or not all(isinstance(one, str) for one in texts):
            continue
        if not all(isinstance(one, int | float) for one in numbers) or not isinstance(row[10], float | int | None):
            continue
        yield StoredInput(
            run=row[0], origin=row[1], name=row[2], version=row[3], status=row[4], answer=row[5], value=value,
            attempts=int(row[7]), input_tokens=int(row[8]), output_tokens=int(row[9]), cost=row[10],
            began=float(row[11]), ended=float(row[12]), found=loaded(row[13]),
        )  # fmt: skip
