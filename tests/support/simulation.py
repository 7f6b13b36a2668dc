"""A run without media, network or waiting: the steps of the machine in virtual time, with faults on demand."""

import heapq
import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction

from qwen_omni.errors import QwenOmniError
from qwen_omni.media.plan.segments import Segment
from qwen_omni.video.engine.machine import Action, Ask, Cut, Deliver, Machine, Prepare, Reduce
from qwen_omni.video.schemas import Joined, SegmentNotes

LENGTH = 43  # seconds of a segment


@dataclass
class Simulation:
    """Performs the machine's actions in virtual time, and records what happened."""

    machine: Machine[SegmentNotes]
    segments: int
    ask_seconds: Callable[[int], float] = lambda _: 6.0
    prepare_seconds: float = 1.0
    deliver_seconds: float = 0.0
    fault: Callable[[Action, int], QwenOmniError | None] = lambda _action, _attempt: None
    now: float = 0.0
    asked: list[int] = field(default_factory=list)
    asked_at: list[float] = field(default_factory=list)
    prepared: list[int] = field(default_factory=list)
    delivered: list[int] = field(default_factory=list)
    joined: list[Reduce] = field(default_factory=list)
    most_asking: int = 0
    most_delivering: int = 0
    most_open: int = 0
    steps: int = 0

    def run(self) -> "Simulation":
        """Work until the run is over."""
        coming: list[tuple[float, int, Action]] = []
        number = itertools.count()
        attempts: dict[str, int] = {}
        cut = answered = 0
        while coming or not self.machine.over:
            for action in self.machine.actions(self.now):
                self._note(action)
                heapq.heappush(coming, (self.now + self._seconds(action), next(number), action))
            asking = sum(isinstance(action, Ask) for _, _, action in coming)
            self.most_asking = max(self.most_asking, asking)
            delivering = sum(isinstance(action, Deliver) for _, _, action in coming)
            self.most_delivering = max(self.most_delivering, delivering)
            wait = self.machine.wake(self.now) if self.machine.error is None else None
            if not coming and wait is None:
                break
            if wait is not None and (not coming or self.now + wait < coming[0][0]):
                self.now += wait
                continue
            self.now, _, action = heapq.heappop(coming)
            self.steps += 1
            attempts[repr(action)] = attempts.get(repr(action), 0) + 1
            error = self.fault(action, attempts[repr(action)])
            if error is not None:
                self.machine.failed(action, error, self.now)
                continue
            cut += isinstance(action, Cut) and cut < self.segments
            answered += isinstance(action, Ask)
            self.most_open = max(self.most_open, cut - answered)
            self._tell(action, cut)
        return self

    def _note(self, action: Action) -> None:
        match action:
            case Ask():
                self.asked.append(action.segment.index)
                self.asked_at.append(self.now)
            case Prepare():
                self.prepared.append(action.segment.index)
            case Deliver():
                self.delivered.append(action.segment.index)
            case Reduce():
                self.joined.append(action)

    def _seconds(self, action: Action) -> float:
        match action:
            case Cut():
                return 0.01
            case Prepare():
                return self.prepare_seconds
            case Deliver():
                return self.deliver_seconds
            case Ask():
                return self.ask_seconds(action.segment.index)
            case Reduce():
                return 3.0

    def _tell(self, action: Action, cut: int) -> None:
        machine = self.machine
        match action:
            case Cut():
                done = machine.count >= self.segments
                machine.cut(None if done else segment(machine.count))
            case Prepare():
                machine.prepared(action.segment)
            case Deliver():
                machine.delivered(action.segment)
            case Ask():
                machine.answered(action.segment, notes(action.segment.index))
            case Reduce():
                machine.reduced(action, Joined(summary=f"joined {action.name}", usages=()))


def segment(index: int) -> Segment:
    """Make a segment."""
    return Segment(index=index, start=Fraction(index * LENGTH), end=Fraction((index + 1) * LENGTH))


def notes(index: int, words: int = 150) -> SegmentNotes:
    """Make notes of typical length."""
    filler = " ".join(f"w{index}x{at}" for at in range(words))
    return SegmentNotes(index=index, start=index * LENGTH, end=(index + 1) * LENGTH, summary=f"mark{index} {filler}")
