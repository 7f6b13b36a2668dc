"""When the next request may be sent: requests and tokens per minute, with a gradual start. Pure.

Requests are spread evenly over the minute, since the service may count per second (Rate limits page, read
2026-05-30), and a slight delay of one does not delay all the others. Tokens are taken from a bucket that refills
evenly. A request larger than the whole bucket goes alone, when the bucket is full, and leaves a debt.
"""

from dataclasses import dataclass, field

MINUTE = 60.0
_FIRST_GAP = 0.25  # seconds between the first requests; the service refuses a rate that rises too quickly
_RAMP = 0.75  # each request multiplies the gap by this
_LATE = 0.1  # share of a gap that a request may be late without delaying the next one


@dataclass(slots=True)
class Limiter:
    """Computes how long a request has to wait; callers pass the time.

    Attributes:
        rpm: requests per minute; `None` for no limit.
        tpm: tokens per minute; `None` for no limit.

    Example:
        >>> limiter = Limiter(rpm=60, tpm=100_000)
        >>> limiter.wait(60_000, now=0.0), limiter.take(60_000, now=0.0), limiter.wait(60_000, now=1.0)
        (0.0, None, 11.0)
    """

    rpm: int | None = None
    tpm: int | None = None
    _tokens: float = field(default=0.0, init=False)
    _at: float | None = field(default=None, init=False)
    _next: float = field(default=float("-inf"), init=False)
    _gap: float = field(default=_FIRST_GAP, init=False)

    def wait(self, tokens: int, *, now: float) -> float:
        """Return the seconds that a request of this many tokens has to wait; 0 if it may be sent now."""
        waits = [0.0, self._next - now]
        if self.tpm is not None:
            needed = min(tokens, self.tpm)
            waits.append((needed - self._level(now)) / self.tpm * MINUTE)
        return max(waits)

    def take(self, tokens: int, *, now: float) -> None:
        """Count a request that is sent."""
        if self.tpm is not None:
            self._tokens, self._at = self._level(now) - tokens, now
        gap = max(MINUTE / self.rpm if self.rpm else 0.0, self._gap)
        is_late = 0 <= now - self._next <= _LATE * gap
        self._next = (self._next if is_late else now) + gap
        self._gap = self._gap * _RAMP if self._gap > 0.001 else 0.0  # noqa: PLR2004 - a millisecond

    def give_back(self, tokens: int, *, now: float) -> None:
        """Undo `take` for a request that was not sent after all."""
        if self.tpm is not None:
            self._tokens, self._at = min(float(self.tpm), self._level(now) + tokens), now
        self._next -= max(MINUTE / self.rpm if self.rpm else 0.0, self._gap)

    def hold(self, seconds: float, *, now: float) -> None:
        """Hold all requests for a while, then restart gradually, after the service reported a rate limit."""
        self._next = max(self._next, now + seconds)
        self._gap = max(self._gap, _FIRST_GAP)

    def too_large(self, tokens: int) -> bool:
        """Whether a request exceeds the limit of a whole minute."""
        return self.tpm is not None and tokens > self.tpm

    def _level(self, now: float) -> float:
        assert self.tpm is not None
        if self._at is None:
            return float(self.tpm)
        return min(float(self.tpm), self._tokens + max(0.0, now - self._at) * self.tpm / MINUTE)
