"""When work on a file must end early: it was cancelled, or it takes longer than any intact file would.

Every module that decodes untrusted bytes calls `Deadline.check` between packets.
"""

import contextlib
import threading
import time
from collections.abc import Iterator
from contextvars import ContextVar

from qwen_omni.errors import UnreadableMediaError

_LEAST_SECONDS = 300.0
_TIMES_REAL = 10.0  # times real time: a 4K video on one old, busy core
_NO_LENGTH_KNOWN = 3600.0
_STILL_SECONDS = 600.0  # allowed even for the smallest file
_FEWEST_BYTES = 125.0  # per second; a damaged file may claim a duration of years


class StoppedError(Exception):
    """The work was cancelled; its result is no longer needed."""


class Deadline:
    """Shared by everything that works on one file. `stop` ends the work at the next packet."""

    def __init__(
        self, seconds: float | None = None, *, label: str = "The media", parent: "Deadline | None" = None
    ) -> None:
        """Allow a number of seconds, or any time; stopped as well by the parent, or by the deadline in force here."""
        self._parent = parent or _governing.get()
        self.label = label
        self.seconds = seconds
        self._until = None if seconds is None else time.monotonic() + seconds
        self._stopped = threading.Event()

    @contextlib.contextmanager
    def governing(self) -> Iterator[None]:
        """Stop every deadline created in the `with` block, including its calls of `asyncio.to_thread`, with this one.

        An exception that leaves the block, above all the cancellation of a task, stops this one immediately.
        """
        token = _governing.set(self)
        try:
            yield
        except BaseException:
            self.stop()
            raise
        finally:
            _governing.reset(token)

    def stop(self) -> None:
        """Cancel the work."""
        self._stopped.set()

    @property
    def stopped(self) -> bool:
        """Whether the work was cancelled."""
        return self._stopped.is_set() or (self._parent is not None and self._parent.stopped)

    @property
    def over(self) -> bool:
        """Whether `check` would end the work."""
        late = self._until is not None and time.monotonic() > self._until
        return late or self._stopped.is_set() or (self._parent is not None and self._parent.over)

    @property
    def left(self) -> float | None:
        """Seconds left; `None` if there is no limit."""
        own = None if self._until is None else max(0.0, self._until - time.monotonic())
        above = None if self._parent is None else self._parent.left
        return min((left for left in (own, above) if left is not None), default=None)

    def check(self) -> None:
        """Continue, or end the work.

        Raises:
            StoppedError: it was cancelled.
            UnreadableMediaError: the time is up.
        """
        if self._stopped.is_set():
            raise StoppedError
        if self._parent is not None:
            self._parent.check()
        if self._until is not None and time.monotonic() > self._until:
            raise UnreadableMediaError(
                f"{self.label} is not done after {self.seconds:,.0f} s, far longer than a whole file of its length "
                "takes; it is probably damaged. If this machine is just slow, pass a larger limit_seconds."
            )


_governing: ContextVar[Deadline | None] = ContextVar("qwen_omni_watch", default=None)


def usual_limit(duration: float | None, size_bytes: int) -> float:
    """Return the maximum seconds that work on media of this duration may take; an implausible duration is ignored."""
    if duration is None:
        return _NO_LENGTH_KNOWN
    return _LEAST_SECONDS + _TIMES_REAL * min(duration, _STILL_SECONDS + size_bytes / _FEWEST_BYTES)
