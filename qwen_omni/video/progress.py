"""How far a run has come, told after every step. Values and arithmetic; `watch` of a run is whatever takes them."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from qwen_omni.video.machine import Machine
from qwen_omni.video.steps import Action, Ask, Cut, Deliver, Prepare, Reduce

Kind = Literal["planned", "prepared", "delivered", "segment", "gap", "joined", "notice", "done"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """One piece of news about a run.

    Attributes:
        kind: what happened: the run is planned, a segment is prepared, it is delivered (uploaded, or inside its
            request), its notes are there, it failed for good, notes were joined, something is worth knowing, the run
            is done.
        segment: which segment, from 0.
        start: where it begins, in seconds of the whole; `end` where it ends.
        reused: it was finished before, and nothing was asked.
        done: segments that are finished or failed for good.
        segments: how many there are; about, until the last is cut.
        gaps: how many failed for good.
        elapsed: seconds since this run began.
        eta: seconds until it ends, as far as anybody can tell; `None` until the first answer.
        input_tokens: of this run so far, as the service told.
        output_tokens: of this run so far.
        text: for people.
    """

    kind: Kind
    segment: int | None = None
    start: float | None = None
    end: float | None = None
    reused: bool = False
    done: int = 0
    segments: int = 0
    gaps: int = 0
    elapsed: float = 0.0
    eta: float | None = None
    input_tokens: int = 0
    output_tokens: int = 0
    text: str = ""


OnProgress = Callable[[Progress], None]


@dataclass(slots=True)
class Tracker:
    """Makes progress out of a machine and the time."""

    machine: Machine[Any]
    about: int
    clock: Callable[[], float] = time.monotonic
    _began: float = field(init=False)

    def __post_init__(self) -> None:
        self._began = self.clock()

    def planned(self, text: str) -> Progress:
        """Tell that it begins."""
        return self._made("planned", text=text)

    def notices(self) -> list[Progress]:
        """Tell what the machine has to say."""
        told, self.machine.notices = self.machine.notices, []
        return [self._made("notice", text=text) for text in told]

    def notice(self, text: str) -> Progress:
        """Tell something that is worth knowing."""
        return self._made("notice", text=text)

    def after(self, action: Action, paid: list[tuple[str, Any]]) -> Progress | None:
        """Tell what a step has come to; `None` if it is nothing that anybody waits for."""
        usage = {
            "input_tokens": sum(one.input_tokens for _, one in paid),
            "output_tokens": sum(one.output_tokens for _, one in paid),
        }
        match action:
            case Cut():
                last = self.machine.last_cut
                known = last is not None and last.index in self.machine.answers and not self.machine.cut_all
                return self._of_segment(Prepare(last), usage) if last is not None and known else None
            case Prepare() | Deliver() | Ask():
                return self._of_segment(action, usage)
            case _:
                return self._made("joined", text=_joined_text(action), **usage)

    def done(self, paid: list[tuple[str, Any]]) -> Progress:
        """Tell that it is over."""
        return self._made("done", input_tokens=sum(one.input_tokens for _, one in paid),
                          output_tokens=sum(one.output_tokens for _, one in paid))  # fmt: skip

    def _of_segment(self, action: Prepare | Deliver | Ask, usage: dict[str, int]) -> Progress | None:
        segment = action.segment
        where = {"segment": segment.index, "start": float(segment.start), "end": float(segment.end)}
        if segment.index in self.machine.answers:
            reused = isinstance(action, Prepare)
            return self._made("segment", **where, reused=reused, **usage)
        gap = self.machine.gaps.get(segment.index)
        if gap is not None:
            return self._made("gap", **where, text=gap.reason, **usage)
        match action, self.machine.stands(segment):
            case Prepare(), "prepared":
                return self._made("prepared", **where, **usage)
            case Deliver(), "ready":
                return self._made("delivered", **where, **usage)
            case _:
                return None  # it failed in passing, or somebody else works on it

    def _made(self, kind: Kind, **told: Any) -> Progress:  # noqa: ANN401  (the fields of a Progress)
        machine = self.machine
        done = len(machine.answers) + len(machine.gaps)
        total = machine.count if machine.cut_all else max(self.about, machine.count)
        elapsed = self.clock() - self._began
        asked = len(machine.answers) - machine.known
        eta = None if asked <= 0 else elapsed / asked * max(0, total - done)
        return Progress(kind=kind, done=done, segments=total, gaps=len(machine.gaps), elapsed=elapsed, eta=eta, **told)


def _joined_text(step: Reduce) -> str:
    """Say in words what was joined.

    Example:
        >>> _joined_text(Reduce(0, 1, "", last=False))
        'joined the notes of part 2'
    """
    if step.last:
        return "joined the notes" if step.level == 0 else "joined the parts"
    return (
        f"joined the notes of part {step.index + 1}" if step.level == 0 else f"joined parts into part {step.index + 1}"
    )
