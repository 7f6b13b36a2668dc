"""When to retry a request, and after which wait. Pure; the client does the waiting.

Reads only `retryable`, `retry_limit` and `retry_after` of an error, and for rate limits its kind. A wait requested by
the server is kept exactly; if it is longer than a minute, the error is final and states the number.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass

from qwen_omni.errors import APIConnectionError, QwenOmniError, RateLimitError

LONGEST_WAIT = 60.0  # seconds; the service's limits recover in about a minute (Rate limits page, 2026-05-30)
_PER_MINUTE = ("insufficient_quota", "throttling.allocationquota")  # tokens per minute, whatever the names say


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """How often to retry, and how long to wait.

    Attributes:
        max_retries: the most retries; an error may allow fewer.
        first_wait: seconds before the first retry; doubled every time, four times longer for request limits and
            fifteen times for token limits, minus a random share of up to half.
    """

    max_retries: int = 3
    first_wait: float = 1.0

    def wait(
        self, error: QwenOmniError, attempt: int, *, shown: bool, draw: Callable[[], float] = random.random
    ) -> float | None:
        """Return the seconds to wait before a retry, or `None` if the error is final.

        Args:
            error: the failure.
            attempt: how many attempts failed before this one.
            shown: whether a piece of the answer has already been yielded.
            draw: returns a random number between 0 and 1.
        """
        limit = self.max_retries if error.retry_limit is None else min(self.max_retries, error.retry_limit)
        if shown or not error.retryable or attempt >= limit:
            return None
        if error.retry_after is not None:
            return error.retry_after if error.retry_after <= LONGEST_WAIT else None
        seconds = self.first_wait * _weight(error) * float(2 ** min(attempt, 10))
        return min(seconds, LONGEST_WAIT) * (1 - draw() / 2)


def _weight(error: QwenOmniError) -> float:
    if isinstance(error, RateLimitError):
        return 15 if (error.code or "").lower() in _PER_MINUTE else 4
    return 0.5 if isinstance(error, APIConnectionError) else 1


class Attempts:
    """Counts the attempts of one request, and ends them."""

    def __init__(self, policy: RetryPolicy) -> None:
        self._policy = policy
        self._failed = 0

    def failed(self, error: QwenOmniError, *, shown: bool = False) -> float:
        """Return the seconds to wait before the next attempt; raise the error if there is none."""
        wait = self._policy.wait(error, self._failed, shown=shown)
        if wait is None:
            if self._failed:
                error.add_note(f"Tried {self._failed + 1} times.")
            raise error from None
        self._failed += 1
        return wait
