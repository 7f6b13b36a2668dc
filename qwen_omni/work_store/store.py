"""The values of a store of finished work, and who holds a claim; `buffered` is the store.

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
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

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
        """Cancel the timer; call this in the event loop."""
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
