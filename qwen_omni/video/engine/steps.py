"""The steps and limits of a run. Values only; `machine` decides with them."""

from dataclasses import dataclass
from typing import Protocol, TypeVar

from qwen_omni.media.plan.segments import Segment

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Cut:
    """Find where the next segment ends."""


@dataclass(frozen=True, slots=True)
class Prepare:
    """Prepare a segment for sending."""

    segment: Segment


@dataclass(frozen=True, slots=True)
class Deliver:
    """Upload a prepared segment. One that is embedded in its request takes no time here."""

    segment: Segment


@dataclass(frozen=True, slots=True)
class Ask:
    """Ask the model about a delivered segment."""

    segment: Segment


@dataclass(frozen=True, slots=True)
class Reduce:
    """Join notes. `last` is whether the result is the whole."""

    level: int
    index: int
    text: str
    last: bool

    @property
    def name(self) -> str:
        """Name of this step in the checkpoint."""
        return f"{self.level}.{self.index}"


Action = Cut | Prepare | Deliver | Ask | Reduce


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """The limits of a run.

    Attributes:
        concurrency: requests in flight at once.
        preparers: segments prepared at once.
        deliverers: segments uploaded at once; two keep a link full, and more gain nothing.
        max_gaps: segments that may fail permanently.
        step_retries: retries of a step after a transient failure; an error that repeats word for word is permanent.
        retry_seconds: delay before the first retry; doubles each time.
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
        """Most segments between cut and answer: those being asked, plus two prepared and two uploaded."""
        return self.concurrency + 4


class Part(Protocol):
    """The result of a join: part of the next join, or the whole."""

    @property
    def text(self) -> str:
        """The text that goes into the next join."""


class ToText(Protocol[T]):  # type: ignore[misc]  # the type only goes in
    """Writes an answer as text for the model that joins."""

    def __call__(self, answer: T, /) -> str:
        """Return the text."""
