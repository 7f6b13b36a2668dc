"""A store of finished work: its values and the Protocol that every backend implements.

A step is identified by the run it belongs to, its own name, and its origin: who answered. A store knows nothing about
videos, captions or uploads; it stores JSON, and callers convert that to their own values.
"""

import asyncio
import hashlib
import json
import os
import platform
import time
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, Self, TypeVar

T = TypeVar("T")

LOCAL = "local"
"""Origin of what this machine decided itself, such as where a video is cut."""
UNVERIFIED = ""
"""Origin of entries from an older version, which did not record who answered."""

Alive = Callable[[], bool]
"""Whether the work behind a claim still makes progress; called before a lease is renewed."""


def digest(*values: object) -> str:
    """Hash JSON-like values for a key; anything else is hashed as its text.

    Example:
        >>> digest("a", 1) == digest("a", 1) != digest("a", 2)
        True
    """
    written = json.dumps(values, sort_keys=True, ensure_ascii=False, default=str)
    return hashlib.sha256(written.encode()).hexdigest()


def file_version(found: os.stat_result) -> str:
    """Return the version of a local file, which changes whenever the file is written or replaced."""
    return f"{found.st_mtime_ns} {found.st_ctime_ns} {found.st_size}"


def version_key(address: str, version: str) -> str:
    """Return the key under which the digest of one version of a file is remembered."""
    return digest("version", address, version)


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
        lost: whether the owner before ended, or stalled for its lease, without releasing it.
    """

    key: StepKey
    resume: Any = None
    lost: bool = False


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
        holds: what its finished steps are, in the plural.
        legacy_run: the run for entries of the older schema; the file's name if empty.
        private_folder: whether the folder is for this user only, so that its mode is set to 0700.
    """

    name: str
    way_out: str
    holds: str = "entries"
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
    """Finished steps and claims. Thread-safe; processes share what a backend stores.

    No method but `exchange` raises because something cannot be *written*: the value stays in memory, is written as soon
    as that is possible, and `trouble` and `notices` report it. A store on a server raises `StoreError` where it cannot
    be *read*, and where a step cannot be claimed: others may have paid for it.
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

    def finish_all(self, values: Mapping[StepKey, Any]) -> None:
        """Store many finished steps at once; of each, the first value that was stored counts."""

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

    def known_digests(self, versions: Iterable[tuple[str, str]]) -> dict[tuple[str, str], str]:
        """Return the digests that are remembered, by address and version (see `file_version`)."""

    def remember_digests(self, digests: Mapping[tuple[str, str], str], *, now: bool = True) -> None:
        """Remember digests by address and version; with `now=False`, in one transaction with whatever is stored next.

        What cannot be written is not remembered.
        """

    def exchange(self, name: str, decide: Callable[[Any, float], tuple[Any, T]]) -> T:
        """Replace a record by what `decide` makes of it, while no one else can; return its second result.

        Args:
            name: the record; one that does not exist is `None`, and `None` removes it.
            decide: takes the record and the time by the store's clock, in seconds since the epoch. It is called again
                if the connection broke, which may have been after the record was replaced.

        Raises:
            StoreError: the server cannot be used, or was unreachable for half a minute.
            LocalResourceError: the file cannot be written, or was locked for 10 s.
            ConfigurationError: the file is damaged.
        """

    def write_rest(self) -> None:
        """Retry the writes that failed."""

    def notices(self) -> list[str]:
        """Return the notices, each once."""

    def close(self) -> None:
        """Write what is pending, release all claims, close every connection."""


class RunStore:
    """One run in a store, and what its user should know about the file or server.

    Attributes:
        place: the file, or the address of the server without its password; `None` if everything is in memory.
    """

    def __init__(
        self, store: WorkStore, use: StoreUse, run: str, *, place: Path | str | None, reuse_unverified: bool
    ) -> None:
        """Take a store; `reuse_unverified` is whether answers of unknown origin are used."""
        self.place = place
        self._store, self._use, self._run, self._reuse = store, use, run, reuse_unverified
        self._origins: set[str] = set()  # of what this run stores
        self._reported: set[str] = set()

    @property
    def trouble(self) -> str:
        """Why the last write failed; empty if it succeeded."""
        return self._store.trouble

    @property
    def unkept(self) -> str:
        """A notice with the number of answers not written, and where; empty if all are."""
        count = sum(self._store.unkept(origin) for origin in self._origins)
        if not count:
            return ""
        return (
            f"{self._use.holds.capitalize()} that could not be written to the {self._use.name} {self.place}: {count} "
            f"({self.trouble}). They are part of this result; a later run would ask for them, and pay for them, again."
        )

    def unverified(self) -> str:
        """A notice with the number of answers of unknown origin from an older version; empty if there are none."""
        count = 0 if self._reuse else self._store.unverified(self._run)
        if not count:
            return ""
        return (
            f"{self._use.holds.capitalize()} in the {self._use.name} {self.place} that an older version stored without "
            f"recording which server gave them: {count}. They are kept and not used; reuse_unverified=True "
            "(--reuse-unverified) uses them."
        )

    def notices(self) -> list[str]:
        """Return the notices about the file, each once."""
        return self._store.notices()

    def write_rest(self) -> None:
        """Retry the writes that failed."""
        self._store.write_rest()

    def news(self) -> list[str]:
        """Return what was not reported yet: damage, answers of unknown origin, and a file that cannot be written."""
        found = self.notices()
        if not self._reported:
            self._reported.add("")
            found += filter(None, (self.unverified(),))
        if self.trouble and self.trouble not in self._reported:
            self._reported.add(self.trouble)
            found.append(
                f"The {self._use.name} {self.place} cannot be written ({self.trouble}); {self._use.holds} are kept in "
                "memory and written as soon as that is possible. Free up space before this run ends."
            )
        return found

    def last_news(self) -> list[str]:
        """Retry the writes that failed; return what is to be reported at the end of a run."""
        self.write_rest()
        return [*self.news(), *filter(None, (self.unkept,))]

    def close(self) -> None:
        """Write what is pending, release every claim and close the file; the next use opens it again."""
        self._store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


# --- Who holds a claim, and whether that owner still makes progress: a process, or an event loop inside one ---
#
# No clock is shared: whoever waits measures a lease as the time in which the owner's counter did not change. If the
# owner is a process on this machine, the system is asked first, so that a crash costs no waiting.

_FIELDS = 6
_STARTED = 19  # index of the start time in /proc/PID/stat, after the name
_PULSE_SECONDS = 0.5
_STILL_SECONDS = 5.0


def new_owner() -> str:
    """Return a new owner ID for this process; another process can find out from it whether the owner is gone."""
    pid = os.getpid()
    parts = (_host(), _boot(), _namespace(), str(pid), _started(pid)[0], uuid.uuid4().hex)
    return " ".join(part or "-" for part in parts)


def is_gone(owner: str) -> bool | None:
    """Whether an owner's process has ended; `None` if this machine cannot know."""
    parts = owner.split(" ")
    if len(parts) != _FIELDS or parts[:3] != [_host(), _boot() or "-", _namespace() or "-"] or os.name != "posix":
        return None
    try:
        pid = int(parts[3])
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return True
    except ValueError:
        return None
    except OSError:
        pass  # it is alive, and belongs to another user
    started, state = _started(pid)
    return state in ("Z", "X") or bool(started and started != parts[4])


def is_here(owner: str) -> bool:
    """Whether an owner is, or was, in this process."""
    pid = os.getpid()
    mine = (_host(), _boot() or "-", _namespace() or "-", str(pid), _started(pid)[0] or "-")
    return tuple(owner.split(" ")[:-1]) == mine


def describe(owner: str) -> str:
    """Describe an owner for people.

    Example:
        >>> describe(f"{platform.node().replace(' ', '_')} b n 12 5 u"), describe("elsewhere b n 12 5 u"), describe("?")
        ('process 12', 'process 12 on elsewhere', 'another process')
    """
    parts = owner.split(" ")
    if len(parts) != _FIELDS or not parts[3].isdigit():
        return "another process"
    if is_here(owner):
        return "another run in this process"
    return f"process {parts[3]}" if parts[0] == _host() else f"process {parts[3]} on {parts[0]}"


class LoopPulse:
    """Whether the event loop makes progress: a call returns `False` once the loop has been blocked for 5 s.

    What an `asyncio` program awaits makes no progress while its loop is stopped or blocked, so claims for it are
    renewed only while this returns `True`.

    Attributes:
        loop: the event loop.
    """

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._last = 0.0
        self._beat()

    def _beat(self) -> None:
        self._last = time.monotonic()
        self._timer = self.loop.call_later(_PULSE_SECONDS, self._beat)

    def __call__(self) -> bool:
        """Whether the loop makes progress."""
        return time.monotonic() - self._last < _STILL_SECONDS

    def stop(self) -> None:
        """Cancel the timer; call this on the loop."""
        if self._timer is not None:
            self._timer.cancel()


def _host() -> str:
    return platform.node().replace(" ", "_") or "-"


def _boot() -> str:
    return _read("/proc/sys/kernel/random/boot_id")


def _namespace() -> str:
    try:
        return str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        return ""


def _started(pid: int) -> tuple[str, str]:
    """Return start time and state of a process on Linux; empty elsewhere."""
    fields = _read(f"/proc/{pid}/stat").rpartition(")")[2].split()
    return (fields[_STARTED], fields[0]) if len(fields) > _STARTED else ("", "")


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""
