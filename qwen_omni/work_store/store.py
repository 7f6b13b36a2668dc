"""A store of finished work: its values and the Protocol that every backend implements.

A step is identified by the run it belongs to, its own name, and its origin: who answered. A store knows nothing about
videos, captions or uploads; it stores JSON, and callers convert that to their own values.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

LOCAL = "local"
"""Origin of what this machine decided itself, such as where a video is cut."""
UNVERIFIED = ""
"""Origin of entries from an older version, which did not record who answered."""

Alive = Callable[[], bool]
"""Whether the work behind a claim still makes progress; called before a lease is renewed."""


@dataclass(frozen=True, slots=True)
class StepKey:
    """Identifies a step.

    Attributes:
        run: what the step belongs to: the key of a run, or the name of a cache.
        step: its name within the run.
        origin: who answered; see `addresses.origin_of`.
    """

    run: str
    step: str
    origin: str = LOCAL


@dataclass(frozen=True, slots=True)
class Found:
    """A finished step.

    Attributes:
        value: the stored value.
        origin: who answered; `UNVERIFIED` if an older version did not record it.
        expires_at: when the value expires, in seconds since the epoch; `None` for never.
    """

    value: Any
    origin: str = LOCAL
    expires_at: float | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Claim:
    """The right to do a step now. It ends with `finish` or `release`, or when its owner is gone or stalled.

    Attributes:
        key: the step.
        resume: what an earlier owner stored to resume from, if anything.
    """

    key: StepKey
    resume: Any = None


@dataclass(frozen=True, slots=True)
class Taken:
    """Another owner works on the step.

    Attributes:
        holder: the owner, for people: "process 4711".
    """

    holder: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreUse:
    """What a store file is used for, for messages.

    Attributes:
        name: name of the file: "checkpoint".
        way_out: what to do if it cannot be used.
        legacy_run: the run for entries of the older schema; the file's name if empty.
        private_folder: whether the folder is for this user only, so that its mode is set to 0700.
    """

    name: str
    way_out: str
    legacy_run: str = ""
    private_folder: bool = False


@dataclass(frozen=True, slots=True)
class Spent:
    """The usage of one answer.

    Attributes:
        id: identifies the answer, so that it is counted only once.
        value: JSON of the caller's own.
    """

    id: str
    value: Mapping[str, Any] = field(default_factory=dict)


class WorkStore(Protocol):
    """Finished steps and claims. Thread-safe; processes share what a backend stores on disk.

    No method raises because something cannot be *written*: the value stays in memory, is written as soon as that is
    possible, and `trouble` and `notices` report it.
    """

    @property
    def trouble(self) -> str:
        """Why the last write failed; empty if it succeeded."""

    def unkept(self, origin: str) -> int:
        """Return the number of finished steps of an origin that are only in memory because a write failed."""

    def find(self, key: StepKey, *, unverified: bool = False) -> Found | None:
        """Return a finished step; with `unverified`, also one of unknown origin from an older version."""

    def steps(self, run: str, origin: str) -> Mapping[str, Any]:
        """Return every finished step of a run by name."""

    def peek(self, key: StepKey, *, unverified: bool = False) -> Found | Taken | None:
        """Return the state of a step without claiming it."""

    def claim(self, key: StepKey, *, unverified: bool = False, alive: Alive | None = None) -> Found | Claim | Taken:
        """Return the finished step, or claim it unless another owner works on it.

        Args:
            key: the step.
            unverified: whether an entry of unknown origin counts.
            alive: whether the work makes progress; a lease is renewed only while it returns `True`.
        """

    def note(self, claim: Claim, resume: Any) -> None:  # noqa: ANN401  (JSON)
        """Store what another owner needs to resume this step."""

    def finish(self, key: StepKey, value: Any, *, expires_at: float | None = None) -> Any:  # noqa: ANN401  (JSON)
        """Store a finished step and end its claim; return the value that counts, which is the first one stored."""

    def release(self, key: StepKey) -> None:
        """End a claim without a result."""

    def discard(self, key: StepKey, value: Any, *, damaged: bool = False) -> None:  # noqa: ANN401  (JSON)
        """Remove a finished step if it still has this value; `damaged` adds it to the notices."""

    def spend(self, run: str, origin: str, spent: Spent) -> None:
        """Store the usage of an answer, whatever becomes of the answer."""

    def spent(self, run: str, *origins: str) -> list[Any]:
        """Return the usage of a run's answers, of all processes together."""

    def unverified(self, run: str) -> int:
        """Return the number of entries of unknown origin whose step has no verified answer."""

    def write_rest(self) -> None:
        """Retry the writes that failed."""

    def notices(self) -> list[str]:
        """Return the notices, each once."""

    def close(self) -> None:
        """Write what is pending, release all claims, close every connection."""
