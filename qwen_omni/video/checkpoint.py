"""The checkpoint of a run over a video: its cuts, its finished steps and their usage, in a work store.

The callers serialise their own steps to text, and cuts are read back as segments. For stores and how claims end, see
`work_store`.
"""

import json
import re
import uuid
from dataclasses import asdict
from fractions import Fraction
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from qwen_omni.media.plan.segments import Segment
from qwen_omni.responses import Usage
from qwen_omni.work_store.sqlite import SqliteStore
from qwen_omni.work_store.store import LOCAL, UNVERIFIED, Alive, Found, RunStore, Spent, StepKey, StoreUse, Taken

_EXACT = re.compile(r"\d{1,18}(?:/[1-9]\d{0,17})?")
_MOST_TOKENS = 10**12  # of one answer; a larger number is damage
_WAY_OUT = "Choose another folder for checkpoints, remove that file, or switch checkpoints off (checkpoint=False)."

StepState = str | Taken | None
"""The state of a step: its answer, the claim of another process, or `None` if it has to be done."""


class Checkpoint(RunStore):
    """The finished steps of one run. Thread-safe; several processes may open the same file.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder, Checkpoint(Path(folder) / "run.sqlite3") as kept:
        ...     kept.finish("join:0", "{}")
        ...     kept.find("join:0"), kept.find("join:1")
        ('{}', None)
    """

    def __init__(
        self,
        path: Path | None,
        *,
        origin: str = LOCAL,
        reuse_unverified: bool = False,
        private_folder: bool = False,
        lease_seconds: float | None = None,
    ) -> None:
        """Open or create the file; `None` keeps everything in memory.

        Args:
            path: the SQLite file.
            origin: identifies who answers this run; answers from elsewhere are not reused.
            reuse_unverified: whether to use answers without an origin, stored by an older version.
            private_folder: whether only this user may open the folder.
            lease_seconds: how long this run may stall before others take over its claims.

        Raises:
            ConfigurationError: the file is damaged, from a newer version, or holds something else.
            LocalResourceError: it cannot be created, read or written.
        """
        use = StoreUse(name="checkpoint", way_out=_WAY_OUT, holds="answers", private_folder=private_folder)
        store = SqliteStore(path, use, lease_seconds=lease_seconds)
        super().__init__(store, use, "" if path is None else path.stem, path=path, reuse_unverified=reuse_unverified)
        self._lease = lease_seconds
        self._origin = origin
        self._origins.add(origin)

    def _key(self, step: str) -> StepKey:
        return StepKey(self._run, step, self._origin)

    # --- Cuts ---

    def cuts(self) -> dict[int, Segment]:
        """Return the segments decided on by earlier runs, up to the first damaged one."""
        stored = self._store.steps(self._run, LOCAL)
        found: dict[int, Segment] = {}
        for index in range(len(stored)):
            value = stored.get(_cut_step(index))
            segment = _read_cut(index, value)
            before = found.get(index - 1)
            if segment is None or (before is not None and not before.start < segment.start <= before.end < segment.end):
                break
            found[index] = segment
        for step, value in stored.items():
            if step.startswith("cut:") and step not in {_cut_step(index) for index in found}:
                self._store.discard(StepKey(self._run, step), value, damaged=True)
        return found

    def cut(self, segment: Segment) -> None:
        """Store a segment, replacing one that does not fit."""
        value, key = (
            {"start": str(segment.start), "end": str(segment.end)},
            StepKey(self._run, _cut_step(segment.index)),
        )
        counts = self._store.finish(key, value)
        if counts != value:  # damaged, or impossible in this source; answers are checked when read
            self._store.discard(key, counts, damaged=_read_cut(segment.index, counts) is None)
            self._store.finish(key, value)

    # --- Steps ---

    def find(self, step: str) -> str | None:
        """Return the answer of a finished step, or `None`."""
        return _answer(self._store.find(self._key(step), unverified=self._reuse))

    def look(self, step: str) -> StepState:
        """Return the state of a step without claiming it."""
        state = self._store.peek(self._key(step), unverified=self._reuse)
        return state if isinstance(state, Taken) else _answer(state)

    def claim(self, step: str, *, alive: Alive | None = None) -> StepState:
        """Claim a step unless it is finished or another process works on it; `None` if it is now this run's to do.

        A claim lasts as long as a request. It ends with `finish` or `release`; that of a run that stalls or has died
        ends with its lease.
        """
        state = self._store.claim(self._key(step), unverified=self._reuse, alive=alive)
        if isinstance(state, Taken):
            return state
        return _answer(state) if isinstance(state, Found) else None

    def release(self, step: str) -> None:
        """End a claim: the step failed, or was cancelled."""
        self._store.release(self._key(step))

    def finish(self, step: str, answer: str) -> str | None:
        """Store the answer of a step; return the one that counts if another was first. Disk errors are never raised."""
        value = json.loads(answer)
        counts = self._store.finish(self._key(step), value)
        return None if counts == value else json.dumps(counts, ensure_ascii=False)

    def discard(self, step: str, answer: str) -> None:
        """Remove an unusable answer, so that the step is done again; the notices count it."""
        for origin in (self._origin, UNVERIFIED):
            key = StepKey(self._run, step, origin)
            self._store.discard(key, json.loads(answer), damaged=origin == self._origin)

    # --- Usage ---

    def pay(self, answer_id: str, model: str, usage: Usage) -> None:
        """Store the usage of an answer, whether or not it could be read."""
        value = {"model": model, "usage": asdict(usage)}
        self._store.spend(self._run, self._origin, Spent(answer_id, value))

    def paid(self) -> list[tuple[str, Usage]]:
        """Return model and usage of every answer of this run, of all processes together."""
        origins = (self._origin, UNVERIFIED) if self._reuse else (self._origin,)
        read = [_read_usage(value) for value in self._store.spent(self._run, *origins)]
        return [one for one in read if one is not None]

    def again(self) -> "Checkpoint":
        """Open the same file again, for another part of the same run."""
        return Checkpoint(self.path, origin=self._origin, reuse_unverified=self._reuse, lease_seconds=self._lease)


def new_answer_id(service_id: str | None) -> str:
    """Return a unique ID for an answer, so that its usage is counted once even if the service repeats its IDs."""
    return f"{service_id or ''}:{uuid.uuid4().hex}"


def _answer(found: Found | Taken | None) -> str | None:
    return json.dumps(found.value, ensure_ascii=False) if isinstance(found, Found) else None


def _cut_step(index: int) -> str:
    return f"cut:{index}"


def _read_cut(index: int, value: Any) -> Segment | None:  # noqa: ANN401  (JSON)
    """Parse a cut; `None` if it is damaged."""
    start, end = (value.get("start"), value.get("end")) if isinstance(value, dict) else (None, None)
    if not isinstance(start, str) or not isinstance(end, str):
        return None
    if not _EXACT.fullmatch(start) or not _EXACT.fullmatch(end) or Fraction(start) >= Fraction(end):
        return None
    return Segment(index=index, start=Fraction(start), end=Fraction(end))


def _read_usage(value: Any) -> tuple[str, Usage] | None:  # noqa: ANN401  (JSON)
    """Parse the usage of an answer; `None` if it is damaged."""
    try:
        model, usage = value["model"], TypeAdapter(Usage).validate_python(value["usage"])
    except (TypeError, KeyError, ValueError):
        return None
    counts = (usage.input_tokens, usage.output_tokens, usage.total_tokens)
    sound = isinstance(model, str) and all(0 <= count <= _MOST_TOKENS for count in counts)
    return (model, usage) if sound else None
