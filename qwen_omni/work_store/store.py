"""What a store of finished work is: its values and the Protocol that every backend keeps.

A step is named by the run it belongs to, its own name, and the origin: who answered. A store knows nothing of videos,
captions or uploads; what it keeps is JSON, and callers turn that into their own values.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

LOCAL = "local"
"""Origin of what this machine decided itself, such as where a video is cut."""
UNVERIFIED = ""
"""Origin of entries that an older version wrote, which did not record who answered."""

Alive = Callable[[], bool]
"""Whether the work behind a claim still makes progress; asked before a lease is renewed."""


@dataclass(frozen=True, slots=True)
class StepKey:
    """The name of a step.

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
        value: what was stored.
        origin: who answered; `UNVERIFIED` if an older version did not record it.
        expires_at: when the value is of no use any more, in seconds since the epoch; `None` for never.
    """

    value: Any
    origin: str = LOCAL
    expires_at: float | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Claim:
    """The right to do a step now. It ends with `finish` or `release`, or when its owner is gone or suspended.

    Attributes:
        key: the step.
        resume: what an earlier owner noted to go on from, if anything.
    """

    key: StepKey
    resume: Any = None


@dataclass(frozen=True, slots=True)
class Taken:
    """Somebody else works on the step.

    Attributes:
        holder: who, for people: "process 4711".
    """

    holder: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreUse:
    """What a store file is used for, for messages.

    Attributes:
        name: what the file is called: "checkpoint".
        way_out: what to do where it cannot be used.
        legacy_run: the run that entries of the older form belong to; the file's name if empty.
        private_folder: whether the folder is ours alone, so that its mode is set to 0700.
    """

    name: str
    way_out: str
    legacy_run: str = ""
    private_folder: bool = False


@dataclass(frozen=True, slots=True)
class Spent:
    """What one answer used.

    Attributes:
        id: tells answers apart, so that none is counted twice.
        value: JSON of the caller's own.
    """

    id: str
    value: Mapping[str, Any] = field(default_factory=dict)


class WorkStore(Protocol):
    """Finished steps and claims. Safe to share between threads; processes share what a backend keeps on disk.

    No method raises because something cannot be *written*: the value stays in memory, is written as soon as that is
    possible, and `trouble` and `notices` report it.
    """

    @property
    def trouble(self) -> str:
        """Why the last write failed; empty if it did not."""

    def unkept(self, origin: str) -> int:
        """Count the finished steps of an origin that are in memory only, because they could not be written."""

    def find(self, key: StepKey, *, unverified: bool = False) -> Found | None:
        """Return a finished step; with `unverified` also one of an older version without an origin."""

    def steps(self, run: str, origin: str) -> Mapping[str, Any]:
        """Return every finished step of a run by name."""

    def peek(self, key: StepKey, *, unverified: bool = False) -> Found | Taken | None:
        """Return how a step stands without claiming it."""

    def claim(self, key: StepKey, *, unverified: bool = False, alive: Alive | None = None) -> Found | Claim | Taken:
        """Return the finished step, or claim it, unless somebody else works on it.

        Args:
            key: the step.
            unverified: whether an entry without an origin counts.
            alive: whether the work goes on; a lease is renewed only while it returns `True`.
        """

    def note(self, claim: Claim, resume: Any) -> None:  # noqa: ANN401  (JSON)
        """Store what another owner needs to go on with this step."""

    def finish(self, key: StepKey, value: Any, *, expires_at: float | None = None) -> Any:  # noqa: ANN401  (JSON)
        """Store a finished step and end its claim; return the value that counts, which is the first stored."""

    def release(self, key: StepKey) -> None:
        """End a claim without a result."""

    def discard(self, key: StepKey, value: Any, *, damaged: bool = False) -> None:  # noqa: ANN401  (JSON)
        """Remove a finished step if it still has this value; `damaged` adds it to the notices."""

    def spend(self, run: str, origin: str, spent: Spent) -> None:
        """Store what an answer used, whatever becomes of the answer."""

    def spent(self, run: str, *origins: str) -> list[Any]:
        """Return what the answers of a run used, of all processes together."""

    def unverified(self, run: str) -> int:
        """Count the entries without an origin whose step has no verified answer."""

    def write_rest(self) -> None:
        """Try again to write what could not be written."""

    def notices(self) -> list[str]:
        """Return what a person should know, each once."""

    def close(self) -> None:
        """Write what is left, end all claims, close every connection."""
