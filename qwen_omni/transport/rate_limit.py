"""When the next request may be sent, so that no limit of requests or tokens is exceeded.

`RateLimiter` decides; it knows no clock, the time is passed in. Everything in a process that asks the same service for
the same model with the same key shares one (`limiter_of`), so that several runs, batches and clients together stay
within the limits. `Pace` is the side of one request: it waits for a turn before every attempt, and corrects the tokens
once the answer has reported them.

Requests are spread evenly over the minute, since the service may count per second. Tokens are counted over the last
minute. A rate that rises too quickly is refused as well, so requests start gradually, and again after a pause or after
the service has reported a limit. Source: Model Studio, Rate limits and Best practices for rate limiting, October 2026.
"""

import hashlib
import os
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from qwen_omni.addresses import STANDIN
from qwen_omni.media.work import Deadline
from qwen_omni.profiles.rate_limits import UPLOAD_LIMITS, RateLimits
from qwen_omni.settings import Settings
from qwen_omni.transport.flow import Flow, Sleep

_MINUTE = 60.0
_SLACK = 1.01  # requests do not arrive exactly as far apart as they were sent
_FIRST_GAP = 0.25  # seconds between the first requests
_RAMP = 0.75  # each request multiplies the gap by this
_LEAST_GAP = 0.001
_INSTANT = 1e-6  # shorter waits are none
_LOOK_SECONDS = 0.5  # how often a waiting request asks; tokens may have been given back
_QUEUE_SECONDS = 0.01  # how much later each one in the queue of an `Allowance` asks again
_LOST_SECONDS = 10.0  # a request that has not asked for so long is no longer waited for


@dataclass(eq=False, slots=True)
class Turn:
    """A request's place in the queue, and what it counts for.

    Attributes:
        tokens: input and output together: estimated, until `RateLimiter.settle` corrects it.
        limits: the limits that it must stay within.
        sent_at: when its turn came; `None` while it waits.
        share: what the `Allowance` recorded when it let the request through.
    """

    tokens: int
    limits: RateLimits
    sent_at: float | None = None
    asked_at: float = field(default=0.0, repr=False)
    before: tuple[float, float] = field(default=(0.0, 0.0), repr=False)  # the limiter's schedule before its turn
    after: float = field(default=0.0, repr=False)
    share: Any = field(default=None, repr=False)

    @property
    def interval(self) -> float:
        """Seconds to the next request, by the requests a minute."""
        return _MINUTE / self.limits.rpm if self.limits.rpm else 0.0

    @property
    def needed(self) -> int:
        """The room it needs among the minute's tokens; one that exceeds the whole minute is sent alone."""
        return self.tokens if self.limits.tpm is None else min(self.tokens, self.limits.tpm)


class Allowance(Protocol):
    """This process's share of limits that several processes have in common; see `qwen_omni.archive.quota`."""

    def take(self, turn: Turn, behind: Sequence[Turn], *, now: float) -> float:
        """Return 0 if the share covers a request, else the seconds after which to ask again.

        Args:
            turn: the request whose turn it is.
            behind: those that wait after it.
            now: the limiter's time.
        """

    def change(self, turn: Turn, *, requests: int, tokens: int) -> None:
        """Correct what a request counts for: its tokens are known now, or it was not sent after all."""

    def hold(self, seconds: float) -> None:
        """Hold the requests of all processes: the service has reported a limit."""


class RateLimiter:
    """The turns of one account and one model: first come, first served. Safe to share between threads.

    Example:
        >>> limiter, limits = RateLimiter(), RateLimits(rpm=60, tpm=100_000)
        >>> first, second = Turn(60_000, limits), Turn(60_000, limits)
        >>> limiter.ask(first, now=0.0), limiter.ask(second, now=0.0) > 0
        (0.0, True)
        >>> limiter.settle(first, 20_000)
        >>> limiter.ask(second, now=2.0)
        0.0
    """

    def __init__(self, *, gradual: bool = True, allowance: Allowance | None = None) -> None:
        """Start with an empty minute.

        Args:
            gradual: whether the first requests are spread out.
            allowance: the share of this process, if several processes have the limits in common.
        """
        self.allowance = allowance
        self._lock = threading.Lock()
        self._first_gap = _FIRST_GAP if gradual else 0.0
        self._gap = self._first_gap
        self._waiting: list[Turn] = []
        self._sent: deque[Turn] = deque()  # of the last minute, oldest first
        self._tokens = 0  # of these
        self._next = float("-inf")
        self._share_at = float("-inf")  # when the first in the queue asks the allowance again

    def ask(self, turn: Turn, *, now: float) -> float:
        """Return 0 if it is this request's turn, else the seconds after which to ask again, which keeps its place."""
        with self._lock:
            if turn.sent_at is not None:
                return 0.0
            turn.asked_at = now
            if turn not in self._waiting:
                self._waiting.append(turn)
            while now - self._waiting[0].asked_at > _LOST_SECONDS:
                del self._waiting[0]
            self._forget(now)
            wait = self._wait(turn, self._waiting[: self._waiting.index(turn)], now)
            if self.allowance is not None:
                wait = max(wait, self._wait_for_share(turn, self.allowance, now, free=wait <= 0))
            if wait > 0:
                return min(wait, _LOOK_SECONDS)
            self._send(turn, now)
            return 0.0

    def settle(self, turn: Turn, tokens: int) -> None:
        """Correct the tokens of a request that was sent: they are known now, or it was refused and took none."""
        with self._lock:
            if turn in self._sent:
                self._tokens += tokens - turn.tokens
            if self.allowance is not None:
                self.allowance.change(turn, requests=0, tokens=tokens - turn.tokens)
            turn.tokens = tokens

    def leave(self, turn: Turn) -> None:
        """Give up a turn that is not used after all."""
        with self._lock:
            if turn in self._waiting:
                self._waiting.remove(turn)
            if turn not in self._sent:
                return
            if turn is self._sent[-1] and self._next == turn.after:
                self._next, self._gap = turn.before
            self._sent.remove(turn)
            self._tokens -= turn.tokens
            if self.allowance is not None:
                self.allowance.change(turn, requests=-1, tokens=-turn.tokens)

    def hold(self, seconds: float, *, now: float) -> None:
        """Hold all requests for a while, then start gradually: the service has reported a limit."""
        with self._lock:
            self._next = max(self._next, now + seconds)
            self._gap = max(self._gap, self._first_gap)
            if self.allowance is not None:
                self.allowance.hold(seconds)

    def _forget(self, now: float) -> None:
        while self._sent and (self._sent[0].sent_at or 0.0) <= now - _MINUTE * _SLACK:
            self._tokens -= self._sent.popleft().tokens

    def _wait(self, turn: Turn, ahead: list[Turn], now: float) -> float:
        last = self._sent[-1].sent_at if self._sent else None
        free = max(0.0, self._next - now, 0.0 if last is None else last + turn.interval - now)
        queue = sum(max(one.interval * _SLACK, _LEAST_GAP) for one in ahead)
        wait = max(free + queue, self._until_room(turn, ahead, now))
        return wait if wait > _INSTANT else 0.0

    def _wait_for_share(self, turn: Turn, allowance: Allowance, now: float, *, free: bool) -> float:
        """Let the first in the queue ask for the others once it is `free` to go; they look again after it."""
        place = self._waiting.index(turn)
        if place or not free:
            return max(self._share_at - now, 0.0) + place * _QUEUE_SECONDS if place else 0.0
        wait = allowance.take(turn, self._waiting[1:], now=now)
        self._share_at = now + wait
        return wait

    def _until_room(self, turn: Turn, ahead: list[Turn], now: float) -> float:
        """Return the seconds until the minute has room for one request more, and for its tokens."""
        rpm, tpm = turn.limits.rpm, turn.limits.tpm
        count, tokens = len(self._sent) + len(ahead), self._tokens + sum(one.needed for one in ahead)
        until = 0.0
        for one in self._sent:
            if (rpm is None or count < rpm) and (tpm is None or tokens + turn.needed <= tpm):
                break
            count, tokens = count - 1, tokens - one.tokens
            until = (one.sent_at or 0.0) + _MINUTE * _SLACK - now
        return until

    def _send(self, turn: Turn, now: float) -> None:
        self._waiting.remove(turn)
        turn.before = self._next, self._gap
        if not self._sent:
            self._gap = self._first_gap
        late = 0 <= now - self._next <= (_SLACK - 1) * turn.interval  # a slight delay does not delay all that follow
        tokens_gap = 0.0 if turn.limits.tpm is None else min(1.0, turn.tokens * _MINUTE / turn.limits.tpm)
        self._next = max((self._next if late else now) + turn.interval * _SLACK, now + max(self._gap, tokens_gap))
        self._gap = self._gap * _RAMP if self._gap > _LEAST_GAP else 0.0
        turn.after = self._next
        self._sent.append(turn)
        self._tokens += turn.tokens
        turn.sent_at = now


# --- The limiters of this process ---


def account_of(settings: Settings) -> tuple[str, str]:
    """Return the service and the account, as a digest of the key, that limits belong to."""
    place = settings.base_url if settings.origin == STANDIN else settings.origin  # each stand-in is its own service
    return place, hashlib.sha256(settings.api_key.get_secret_value().encode()).hexdigest()


_limiters: dict[tuple[str, str, str], RateLimiter] = {}
_lock = threading.Lock()


def limiter_of(settings: Settings, model: str, *, gradual: bool = True) -> RateLimiter:
    """Return the limiter that everything in this process shares which asks this service for a model with this key."""
    with _lock:
        return _limiters.setdefault((*account_of(settings), model), RateLimiter(gradual=gradual))


def forget_limiters() -> None:
    """Start anew, as a forked process does: it shares no memory with its parent, whose locks may be held."""
    global _lock  # noqa: PLW0603  (the parent's may be held)
    _lock = threading.Lock()
    _limiters.clear()


if hasattr(os, "register_at_fork"):  # not on Windows, which cannot fork
    os.register_at_fork(after_in_child=forget_limiters)


class Pace:
    """The turns of one request: one for every attempt."""

    def __init__(self, limiter: RateLimiter, limits: RateLimits, tokens: int = 0) -> None:
        """Queue at a limiter, within these limits; `tokens` is the estimate of input and output together."""
        self._limiter, self._limits, self._tokens = limiter, limits, tokens
        self._turn: Turn | None = None

    @property
    def notice(self) -> str | None:
        """What to tell the user before the first attempt."""
        if self._limits.tpm is None or self._tokens <= self._limits.tpm:
            return None
        return (
            f"A request of about {self._tokens:,} tokens is above the {self._limits.tpm:,} that a minute allows; it is "
            "sent alone and may be refused. Use a shorter clip, shorter segments or less detail, or pass limits= if "
            "your account has more."
        )

    def waits(self) -> Iterator[float]:
        """Yield the seconds to wait, one after the other, until the next attempt may be sent.

        Raises:
            StoppedError: the work that it belongs to was cancelled.
        """
        work = Deadline()
        turn = self._turn = Turn(self._tokens, self._limits)
        try:
            while (wait := self._limiter.ask(turn, now=time.monotonic())) > 0:
                yield wait
                work.check()
        finally:
            if turn.sent_at is None:
                self._limiter.leave(turn)

    def end(self, tokens: int | None) -> None:
        """Record what an attempt used; `None` if that is not known, so it counts as estimated."""
        if self._turn is not None and tokens is not None:
            self._limiter.settle(self._turn, tokens)
        self._turn = None

    def give_up(self) -> None:
        """Give back the turn of an attempt that was not sent after all."""
        if self._turn is not None:
            self._limiter.leave(self._turn)
            self._turn = None

    def hold(self, seconds: float) -> None:
        """Hold everything that shares the limiter: the service has reported a limit."""
        self._limiter.hold(seconds, now=time.monotonic())


def upload_pace(settings: Settings, model: str) -> Pace:
    """Return the pace of requests for permission to upload, which every service limits alike."""
    return Pace(limiter_of(settings, f"uploads for {model}", gradual=False), UPLOAD_LIMITS)


def in_turn(pace: Pace | None) -> Flow[None]:
    """Wait in a flow until the next request is within the rate limits."""
    for seconds in () if pace is None else pace.waits():
        yield Sleep(seconds)
