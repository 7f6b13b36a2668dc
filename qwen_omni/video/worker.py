"""Does the steps of a run, but for asking: what stands before it (`begin`) and behind it (`end`).

Between the two the drivers ask, each in its own way (`threads`, `aio`). Everything here blocks and may run on any
thread. What an answer used is kept as soon as it is there, whether or not the answer can be read.
"""

import threading
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from qwen_omni.captions.run import Captioned, CaptionPlan
from qwen_omni.media.prepared import Prepared
from qwen_omni.media.segments import Segment
from qwen_omni.options import ChatRequest
from qwen_omni.responses import Response
from qwen_omni.video.asking import PlanJoin, Task, to_joined
from qwen_omni.video.checkpoint import Checkpoint
from qwen_omni.video.footage import Footage
from qwen_omni.video.joining import Joined
from qwen_omni.video.keys import digest
from qwen_omni.video.machine import Machine
from qwen_omni.video.steps import Action, Ask, Cut, Prepare, Reduce
from qwen_omni.video.tree import text_tokens

T = TypeVar("T")

News = Callable[[Machine[T], float], None]
"""What came of a step: told to the machine, with the time it is told."""

_USUAL_ANSWER = 1000  # tokens that an answer about a segment takes


@dataclass(frozen=True, slots=True)
class Asking:
    """A step that has to ask; `of_text` tells which model."""

    plan: CaptionPlan
    of_text: bool = False


class Worker(Generic[T]):
    """Works on one source for one run."""

    def __init__(
        self, footage: Footage, task: Task[T], checkpoint: Checkpoint, *, text_model: str, join: PlanJoin | None = None
    ) -> None:
        self.footage = footage
        self.task = task
        self.checkpoint = checkpoint
        self._text_model, self._join = text_model, join
        self._cuts: Iterator[Segment] = footage.segments(checkpoint.cuts())
        self._prepared: dict[int, Prepared] = {}
        self._joins: dict[str, str] = {}
        self._lock = threading.Lock()
        self.paid: list[tuple[str, Any]] = []
        """Model and usage of every answer of this run."""

    def begin(self, action: Action) -> "Asking | News[T]":
        """Do what stands before asking; gives news if there is nothing to ask."""
        match action:
            case Cut():
                return self._cut()
            case Prepare():
                return self._prepare(action)
            case Ask():
                part = self.footage.part(self._prepared[action.segment.index])
                return Asking(self.task.ask(part, action.segment))
            case Reduce():
                return self._before_join(action)

    def end(self, action: Action, captioned: Captioned[Any]) -> News[T]:
        """Keep an answer; when this returns, it is on the disk."""
        if isinstance(action, Reduce):
            joined = to_joined(captioned, self._text_model)
            self.checkpoint.finish(self._joins[action.name], joined.model_dump_json())
            return lambda machine, _: machine.reduced(action, joined)
        assert isinstance(action, Ask)
        segment = action.segment
        answer = self.task.read(captioned, segment)
        self.checkpoint.finish(step_of(segment), self.task.dump(answer))
        self._let_go(segment)
        return lambda machine, _: machine.answered(segment, answer)

    def failed(self, action: Action) -> None:
        """Give up what a step held, so that it or another process can begin it again."""
        if isinstance(action, Prepare):
            self.checkpoint.release(step_of(action.segment))
        elif isinstance(action, Reduce) and action.name in self._joins:
            self.checkpoint.release(self._joins[action.name])

    def pay(self, request: ChatRequest, response: Response) -> None:
        """Keep what an answer used."""
        if response.usage is None:
            return
        with self._lock:
            self.paid.append((request.model, response.usage))
        self.checkpoint.pay(f"{response.id or ''}:{uuid.uuid4().hex}", request.model, response.usage)

    def stop(self) -> None:
        """End the work on files; answers that are under way are still taken."""
        self.footage.watch.stop()

    def close(self) -> None:
        """Remove what was prepared and not asked about."""
        for prepared in list(self._prepared.values()):
            prepared.close()
        self._prepared.clear()

    def _cut(self) -> "News[T]":
        segment = next(self._cuts, None)
        if segment is None:
            return lambda machine, _: machine.cut(None)
        counts = self.checkpoint.cut(segment)
        written = self.checkpoint.find(step_of(counts))
        answer = None if written is None else self.task.load(written)
        return lambda machine, _: machine.cut(counts, answer)

    def _prepare(self, action: Prepare) -> "News[T]":
        segment, step = action.segment, step_of(action.segment)
        if self.checkpoint.claim(step) == "taken":
            return lambda machine, now: machine.busy(action, now)
        written = self.checkpoint.find(step)
        if written is not None:
            answer = self.task.load(written)
            self.checkpoint.release(step)
            return lambda machine, _: machine.answered(segment, answer)
        prepared = self.footage.prepare(segment)
        with self._lock:
            self._prepared[segment.index] = prepared
        tokens = self._tokens(prepared, segment)
        return lambda machine, _: machine.prepared(segment, tokens)

    def _tokens(self, prepared: Prepared, segment: Segment) -> int:
        planned = prepared.plan.tokens or 0
        share = segment.duration / self.footage.piece_seconds if prepared.plan is not self.footage.whole else 1
        plan = self.task.ask(self.footage.part(prepared), segment)
        words = " ".join(
            part.text for message in plan.request.messages for part in message.parts if hasattr(part, "text")
        )
        return int(planned * share) + text_tokens(words) + _USUAL_ANSWER

    def _before_join(self, action: Reduce) -> "Asking | News[T]":
        assert self._join is not None, "the machine joins only where there is something to ask"
        plan = self._join(action)
        told = digest(self._text_model, action.text, [_words(message) for message in plan.request.messages])
        step = self._joins[action.name] = f"join:{told[:32]}"
        if self.checkpoint.claim(step) == "taken":
            return lambda machine, now: machine.busy(action, now)
        written = self.checkpoint.find(step)
        if written is None:
            return Asking(plan, of_text=True)
        joined = Joined.model_validate_json(written).model_copy(update={"reused": True})
        self.checkpoint.release(step)
        return lambda machine, _: machine.reduced(action, joined)

    def _let_go(self, segment: Segment) -> None:
        with self._lock:
            prepared = self._prepared.pop(segment.index, None)
        if prepared is not None:
            prepared.close()


def step_of(segment: Segment) -> str:
    """Name the step that asks about a segment."""
    return f"segment:{segment.index}"


def _words(message: Any) -> list[str]:  # noqa: ANN401  (a message; its parts of text are what counts)
    return [part.text for part in message.parts if hasattr(part, "text")]
