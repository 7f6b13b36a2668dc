"""The steps of a run, except the client's part, which `Worker.work` yields to the drivers (`run`), and its checkpoint.

Everything here blocks and may run on any thread. The usage of an answer is stored as soon as it arrives, whether or not
the answer can be read.

A step is claimed right before its request and only while that is in flight, so that a run whose generator is suspended
blocks no other run. Callers serialise their own steps to text; cuts are read back as segments. For stores and how
claims end, see `work_store`.
"""

import contextlib
import functools
import json
import re
import threading
import uuid
from collections.abc import Callable, Generator, Iterator
from dataclasses import asdict, dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from pydantic import TypeAdapter

from qwen_omni.errors import QwenOmniError
from qwen_omni.media.plan.segments import Segment
from qwen_omni.options import ChatRequest, Tier
from qwen_omni.request.prepared_request import PreparedRequest
from qwen_omni.responses import Response, Usage
from qwen_omni.structured.ask import CaptionPlan, CaptionResult, ask_until_valid
from qwen_omni.transport.flow import Done, advance
from qwen_omni.video.engine.machine import Action, Ask, Cut, Deliver, Machine, Prepare, Reduce
from qwen_omni.video.results import Paid
from qwen_omni.video.source_video import SourceVideo
from qwen_omni.video.tasks import Task
from qwen_omni.work_store.opening import RunStore, open_work_store
from qwen_omni.work_store.store import (
    LOCAL,
    UNVERIFIED,
    Alive,
    Found,
    Spent,
    StepKey,
    StoreUse,
    Taken,
    digest,
)

if TYPE_CHECKING:
    from qwen_omni.media.prepare import Prepared

T = TypeVar("T")
V = TypeVar("V")

News = Callable[[Machine[T], float], None]
"""Reports the result of a step to the machine, with the current time."""


@dataclass(frozen=True, slots=True)
class Upload:
    """A request to the client: upload the media and return the `PreparedRequest`."""

    request: ChatRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A request to the client: ask, and return the `Response`.

    Attributes:
        request: the chat request.
        outgoing: the same with its media uploaded, where they are.
        joins: ask the model that combines texts, not the one that sees media.
        once: it has failed before, after all retries of the client; make a single attempt this time.
    """

    request: ChatRequest
    outgoing: PreparedRequest | None = None
    joins: bool = False
    once: bool = False


class Worker(Generic[T]):
    """Carries out the steps of one run: prepares segments, builds requests, and stores the answers."""

    def __init__(self, video: SourceVideo, task: Task[T], checkpoint: "Checkpoint") -> None:
        self.video = video
        self.task = task
        self.checkpoint = checkpoint
        self._text_model, self._limits = task.options.text_model_name, task.options.limits
        self._cuts: Iterator[Segment] = video.segments(checkpoint.cuts())
        self._prepared: dict[int, Prepared] = {}
        self._sent: dict[int, tuple[CaptionPlan, PreparedRequest]] = {}
        self._joins: dict[str, str] = {}
        self._failed: set[str] = set()  # steps whose requests have failed before
        self._lock = threading.Lock()
        self.paid: list[Paid] = []
        """Model and usage of every answer of this run."""
        self.alive: Alive | None = None
        """Whether the driver of the requests makes progress; claims are renewed only while it does."""

    def work(self, action: Action) -> "Generator[Upload | Question, Any, News[T]]":
        """Do a step: yield what the client has to do, receive its result, and return the news for the machine.

        If the step fails or is closed, its claim is released immediately, so that it can start again anywhere.
        """
        try:
            match action:
                case Cut():
                    return self._cut()
                case Prepare():
                    return self._prepare(action)
                case Deliver():
                    return (yield from self._deliver(action))
                case Ask():
                    begun = self._before_ask(action)
                case Reduce():
                    begun = self._before_join(action)
            if not isinstance(begun, _Asking):
                return begun
            return self._end(action, (yield from self._ask(begun)))
        except BaseException:
            self._fail(action)
            raise

    def _deliver(self, action: Deliver) -> "Generator[Upload, PreparedRequest, News[T]]":
        """Hold what was uploaded until it is asked about."""
        segment = action.segment
        plan = self.task.ask(self.video.part(self._prepared[segment.index]), segment)
        outgoing = yield Upload(replace(plan.request, limits=self._limits))
        with self._lock:
            again = step_of(segment) in self._failed
            self._sent[segment.index] = (plan, outgoing.once() if again else outgoing)
        return lambda machine, _: machine.delivered(segment)

    def _ask(self, begun: "_Asking") -> Generator[Question, Response, CaptionResult[Any]]:
        """Ask until the answer is valid; the usage of every answer is stored before it is read."""
        asking = ask_until_valid(begun.plan)
        question = begun.question
        result: Response | QwenOmniError | None = None
        try:
            while not isinstance(request := advance(asking, result), Done):
                try:
                    limits = None if question.joins else self._limits
                    result = yield replace(question, request=replace(request, limits=limits))
                except QwenOmniError as error:
                    result = error
                else:
                    self._pay(request, result)
                question = replace(question, outgoing=None, once=False)  # a repair request is sent as usual
            return request.value
        finally:
            result = None  # break the reference cycle of an error

    def _end(self, action: Action, captioned: CaptionResult[Any]) -> "News[T]":
        """Store an answer; it is on disk when this returns."""
        if isinstance(action, Reduce):
            how: dict[str, Any] = {
                "model": self._text_model,
                "usages": captioned.usages,
                "truncated": captioned.truncated,
            }
            joined = self.task.joined(**dict(captioned.value), **how)
            first = self.checkpoint.finish(self._joins[action.name], joined.model_dump_json())
            joined = (None if first is None else self._load_join(self._joins[action.name], first)) or joined
            return lambda machine, _: machine.reduced(action, joined)
        assert isinstance(action, Ask)
        segment = action.segment
        answer = self.task.read(captioned, segment)
        first = self.checkpoint.finish(step_of(segment), self.task.dump(answer))
        if first is not None:  # this run stalled and another one asked meanwhile: the first answer counts for all
            answer = self._load(segment, first) or answer
        self._let_go(segment)
        return lambda machine, _: machine.answered(segment, answer)

    def _fail(self, action: Action) -> None:
        if isinstance(action, Reduce) and action.name in self._joins:
            self._failed.add(self._joins[action.name])
            self.checkpoint.release(self._joins[action.name])
        elif isinstance(action, Ask):
            self._failed.add(step_of(action.segment))
            self.checkpoint.release(step_of(action.segment))
            self._call_off(action.segment.index)

    def _pay(self, request: ChatRequest, response: Response) -> None:
        if response.usage is None:
            return
        with self._lock:
            self.paid.append(Paid(request.model, response.usage, request.options.tier or "standard"))
        self.checkpoint.pay(new_answer_id(response.id), *self.paid[-1])

    def stop(self) -> None:
        """Stop the work on files; answers in flight are still accepted."""
        self.video.deadline.stop()

    def close(self) -> None:
        """Remove prepared files that were not asked about, and release their cost reservations."""
        for index in list(self._sent):
            self._call_off(index)
        for prepared in list(self._prepared.values()):
            prepared.close()
        self._prepared.clear()

    def _cut(self) -> "News[T]":
        segment = next(self._cuts, None)
        if segment is None:
            return lambda machine, _: machine.cut(None)
        self.checkpoint.cut(segment)
        written = self.checkpoint.find(step_of(segment))
        answer = None if written is None else self._load(segment, written)
        return lambda machine, _: machine.cut(segment, answer)

    def _prepare(self, action: Prepare) -> "News[T]":
        segment = action.segment
        state = self.checkpoint.look(step_of(segment))
        if isinstance(state, Taken):
            return self._busy(action, state)
        answer = None if state is None else self._load(segment, state)
        if answer is not None:
            return lambda machine, _: machine.answered(segment, answer)
        prepared = self.video.prepare(segment)
        with self._lock:
            self._prepared[segment.index] = prepared
        return lambda machine, _: machine.prepared(segment)

    def _usable(self, kept: object) -> bool:
        return self.task.options.allow_truncated or not getattr(kept, "truncated", False)

    def _before_ask(self, action: Ask) -> "_Asking | News[T]":
        segment = action.segment
        answer = self._claim(step_of(segment), functools.partial(self._load, segment))
        if isinstance(answer, Taken):
            return self._busy(action, answer)
        if answer is not None:
            self._let_go(segment)
            return lambda machine, _: machine.answered(segment, answer)
        plan, outgoing = self._sent[segment.index]
        return _Asking(plan, Question(request=plan.request, outgoing=outgoing))

    def _claim(self, step: str, load: Callable[[str], V | None]) -> V | Taken | None:
        """Claim a step unless it is finished or taken; `None` if it is now ours. `load` removes what it cannot read."""
        while isinstance(state := self.checkpoint.claim(step, alive=self.alive), str):
            if (answer := load(state)) is not None:
                return answer
        return state

    @staticmethod
    def _busy(action: Prepare | Ask | Reduce, taken: Taken) -> "News[T]":
        return lambda machine, now: machine.busy(action, now, taken.holder)

    def _load(self, segment: Segment, written: str) -> T | None:
        """Read a stored answer; remove and ignore it if it is damaged, truncated, or about other seconds."""
        answer: T | None = None
        with contextlib.suppress(ValueError):
            answer = self.task.load(written)
        placed: Any = answer
        place = (segment.index, float(segment.start), float(segment.end))
        if answer is None or (placed.index, placed.start, placed.end) != place or not self._usable(answer):
            self.checkpoint.discard(step_of(segment), written)
            return None
        return answer

    def _load_join(self, step: str, written: str) -> Any:  # noqa: ANN401  (what the join's kind makes)
        """Read a stored join; `None`, and removed, if it is damaged, or truncated where that is not allowed."""
        joined = None
        with contextlib.suppress(ValueError):
            joined = self.task.joined.model_validate_json(written)
        if joined is None or not self._usable(joined):
            self.checkpoint.discard(step, written)
            return None
        return joined.model_copy(update={"reused": True})

    def _before_join(self, action: Reduce) -> "_Asking | News[T]":
        plan = self.task.join(action)
        key = digest(self._text_model, action.text, [_words(message) for message in plan.request.messages])
        step = self._joins[action.name] = f"join:{key[:32]}"
        joined = self._claim(step, functools.partial(self._load_join, step))
        if isinstance(joined, Taken):
            return self._busy(action, joined)
        if joined is not None:
            return lambda machine, _: machine.reduced(action, joined)
        return _Asking(plan, Question(request=plan.request, joins=True, once=step in self._failed))

    def _call_off(self, index: int) -> None:
        with self._lock:
            sent = self._sent.pop(index, None)
        if sent is not None:
            sent[1].done()

    def _let_go(self, segment: Segment) -> None:
        self._call_off(segment.index)
        with self._lock:
            prepared = self._prepared.pop(segment.index, None)
        if prepared is not None:
            prepared.close()


@dataclass(frozen=True, slots=True)
class _Asking:
    """A question in progress until its answer is valid, and how it is first sent."""

    plan: CaptionPlan
    question: Question


def step_of(segment: Segment) -> str:
    """Return the name of the step that asks about a segment."""
    return f"segment:{segment.index}"


def _words(message: Any) -> list[str]:  # noqa: ANN401  (a message; only its text parts count)
    return [part.text for part in message.parts if hasattr(part, "text")]


# --- The checkpoint ---

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
        place: Path | str | None,
        *,
        run: str | None = None,
        origin: str = LOCAL,
        reuse_unverified: bool = False,
        private_folder: bool = False,
        lease_seconds: float | None = None,
    ) -> None:
        """Open or create the file, or connect to the server; `None` keeps everything in memory.

        Args:
            place: the SQLite file, or the address of a PostgreSQL database.
            run: identifies the run; by default the name of the file.
            origin: identifies who answers this run; answers from elsewhere are not reused.
            reuse_unverified: whether to use answers without an origin, stored by an older version.
            private_folder: whether only this user may open the folder.
            lease_seconds: how long this run may stall before others take over its claims.

        Raises:
            ConfigurationError: the file is damaged, from a newer version, or holds something else.
            LocalResourceError: it cannot be created, read or written.
            StoreError: the server cannot be used.
        """
        use = StoreUse(name="checkpoint", way_out=_WAY_OUT, holds="answers", private_folder=private_folder)
        store = open_work_store(place, use, lease_seconds=lease_seconds)
        if run is None:
            run = Path(place).stem if place is not None else ""
        super().__init__(store, run, reuse_unverified=reuse_unverified)
        self._given = place
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

    def pay(self, answer_id: str, model: str, usage: Usage, tier: Tier = "standard") -> None:
        """Store the usage of an answer, whether or not it could be read."""
        value = {"model": model, "usage": asdict(usage), **({"tier": tier} if tier != "standard" else {})}
        self._store.spend(self._run, self._origin, Spent(answer_id, value))

    def paid(self) -> list[Paid]:
        """Return model, usage and tier of every answer of this run, of all processes together."""
        origins = (self._origin, UNVERIFIED) if self._reuse else (self._origin,)
        read = [_read_usage(value) for value in self._store.spent(self._run, *origins)]
        return [one for one in read if one is not None]

    def again(self) -> "Checkpoint":
        """Open the same file again, for another part of the same run."""
        return Checkpoint(
            self._given, run=self._run, origin=self._origin, reuse_unverified=self._reuse, lease_seconds=self._lease
        )


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


def _read_usage(value: Any) -> Paid | None:  # noqa: ANN401  (JSON)
    """Parse the usage of an answer; `None` if it is damaged."""
    try:
        model, usage = value["model"], TypeAdapter(Usage).validate_python(value["usage"])
    except (TypeError, KeyError, ValueError):
        return None
    counts = (usage.input_tokens, usage.output_tokens, usage.total_tokens)
    valid = isinstance(model, str) and all(0 <= count <= _MOST_TOKENS for count in counts)
    return Paid(model, usage, "batch" if value.get("tier") == "batch" else "standard") if valid else None
