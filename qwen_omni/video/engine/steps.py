"""What a run consists of: its steps and its rules. Values only; `machine` decides with them."""

from dataclasses import dataclass
from typing import Protocol, TypeVar

from qwen_omni.media.plan.segments import Segment

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Cut:
    """Find out where the next segment ends."""


@dataclass(frozen=True, slots=True)
class Prepare:
    """Make a segment ready to be sent."""

    segment: Segment


@dataclass(frozen=True, slots=True)
class Deliver:
    """Bring a prepared segment to where the service finds it. What travels inside its request takes no time here."""

    segment: Segment


@dataclass(frozen=True, slots=True)
class Ask:
    """Ask the model about a segment that was delivered."""

    segment: Segment


@dataclass(frozen=True, slots=True)
class Reduce:
    """Join notes. `last` tells whether what comes out is the whole."""

    level: int
    index: int
    text: str
    last: bool

    @property
    def name(self) -> str:
        """What this step is called."""
        return f"{self.level}.{self.index}"


Action = Cut | Prepare | Deliver | Ask | Reduce


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What a run keeps to.

    Attributes:
        concurrency: requests in flight at once.
        preparers: segments prepared at once.
        deliverers: segments uploaded at once; two keep a link full, and more gain nothing.
        max_gaps: segments that may fail for good.
        step_retries: how often a step that failed in passing is begun again; an error that repeats is final.
        retry_seconds: before a step is begun again; doubles.
        wanted: numbers of the segments to ask about; `None` for all.
    """

    concurrency: int = 8
    preparers: int = 2
    deliverers: int = 2
    max_gaps: int = 1
    step_retries: int = 2
    retry_seconds: float = 5.0
    wanted: frozenset[int] | None = None

    @property
    def window(self) -> int:
        """How many segments may be between their cut and their answer: those asked, two prepared, two uploaded."""
        return self.concurrency + 4


class Part(Protocol):
    """What came of a step of joining: a part of what is joined next, or the whole."""

    @property
    def text(self) -> str:
        """As a part of what is joined next."""


class ToText(Protocol[T]):  # type: ignore[misc]  # the type only goes in
    """Writes an answer as text for the model that joins."""

    def __call__(self, answer: T, /) -> str:
        """Write it."""
