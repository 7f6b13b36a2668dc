"""The rate limits of an account, as the stand-in enforces them: by the minute and by the second.

Any window of 60 s holds at most the requests and tokens of a minute, and any window of a second at most a sixtieth of
the requests, rounded up, as Model Studio's Rate limits page says (October 2026). A request that finds the second full
waits for as long as its `X-DashScope-Wait-Timeout` allows; nothing waits for a full minute. Input counts when a request
comes, output when it has been answered.
"""

from __future__ import annotations

import math
import threading
import time
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from qwen_omni.standin.rules.refusal import rate_limited

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_MINUTE, _SECOND = 60.0, 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Quota:
    """The limits of one model. `None` is none."""

    rpm: int | None = None
    tpm: int | None = None


@dataclass(slots=True)
class _Used:
    at: float
    tokens: int


@dataclass(slots=True)
class Quotas:
    """What each key has used of each model's quota lately."""

    quotas: Mapping[str, Quota]
    now: Callable[[], float] = time.monotonic
    _used: defaultdict[tuple[str, str], list[_Used]] = field(default_factory=lambda: defaultdict(list))
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def admit(self, key: str, model: str, tokens: int, patience: float = 0.0) -> tuple[float, Callable[[int], None]]:
        """Return the seconds that a request waits, and a function that counts the tokens of its answer.

        Raises:
            Refusal: a limit is reached.
        """
        quota = self.quotas.get(model)
        if quota is None:
            return 0.0, lambda _: None
        with self._lock:
            now = self.now()
            used = self._used[key, model]
            used[:] = [one for one in used if one.at > now - _MINUTE]
            if quota.rpm is not None and len(used) >= quota.rpm:
                raise rate_limited("limit_requests")
            if quota.tpm is not None and used and sum(one.tokens for one in used) + tokens > quota.tpm:
                raise rate_limited("insufficient_quota")
            at = self._free_at([one.at for one in used], quota, now)
            if at - now > patience:
                raise rate_limited("limit_burst_rate")
            mine = _Used(at, tokens)
            used.append(mine)

        def answered(more: int) -> None:
            mine.tokens += more

        return at - now, answered

    @staticmethod
    def _free_at(times: list[float], quota: Quota, now: float) -> float:
        if quota.rpm is None:
            return now
        share = math.ceil(quota.rpm / _MINUTE)
        recent = sorted(times)[-share:]
        return max(now, recent[0] + _SECOND) if len(recent) == share else now

    def report(self, model: str | None) -> dict[str, Any]:
        """Return the documented answer of `GET /api/v1/quotas`."""
        rows = [_row(name, quota) for name, quota in self.quotas.items() if model in (None, name)]
        return {"request_id": "standin", "output": {"total": len(rows), "page_no": 1, "page_size": 20, "quotas": rows}}


def _row(name: str, quota: Quota) -> dict[str, Any]:
    limit = {
        "request_limit": quota.rpm, "request_limit_period": 60, "usage_limit": quota.tpm,
        "usage_limit_field": "total_tokens", "usage_limit_period": 60,
    }  # fmt: skip
    return {"model": name, "workspace_id": "ws-standin", "model_limit": limit, "workspace_limit": None}
