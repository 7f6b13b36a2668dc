"""Requests and tokens a minute, shared by all processes of a work store.

Each process takes a *lease* of what its waiting requests need in the next second. A lease counts from the moment it
was given until the last request sent under it leaves the minute, so no window of 60 s exceeds the limits, whatever
becomes of the process. What was not used is given back with the next lease.

`share_rate` decides, from the record in the store, the store's clock and one process's request. `SharedRate` is the
side of one process: the process's own `RateLimiter` orders and spreads its requests, and lets none through that the
lease does not cover.
"""

import contextlib
import math
import threading
import time
import uuid
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from qwen_omni.errors import QwenOmniError
from qwen_omni.profiles.rate_limits import RateLimits
from qwen_omni.settings import Settings
from qwen_omni.transport.rate_limit import Turn, account_of, limiter_of
from qwen_omni.work_store.buffered import BufferedStore
from qwen_omni.work_store.store import digest

_MINUTE = 60.0
_SLACK = 0.6  # requests do not arrive exactly as far apart as they were sent
LEASE_SECONDS = 1.0
"""Seconds in which a lease may be used."""
_GRAIN = 0.25  # leases that were given within this time count as one
_COUNTS = _MINUTE + _SLACK + LEASE_SECONDS + _GRAIN  # from the beginning of its grain
_LOST_SECONDS = 3.0  # a process that has not asked for so long is no longer waited for
_FORGOTTEN_SECONDS = 60.0  # after this its last answer is dropped
_LEAST_WAIT, _MOST_WAIT = 0.1, 1.0  # between two lease requests of a process
_POLL_SECONDS = 0.02  # how often a request looks whether the lease has come
_MOST_NEEDS = 500  # waiting requests that one process names


@dataclass(slots=True, kw_only=True)
class RateLeaseRequest:
    """What one process reports, and asks for in the next second. It grows until it is sent.

    Attributes:
        worker: identifies the process.
        number: counts its lease requests; the same number again repeats one whose answer was lost.
        needs: the tokens of its waiting requests, in their order.
        limits: the limits that they must stay within.
        changes: corrections of earlier leases: grain, requests, tokens.
        hold: seconds for which the service wants no requests.
    """

    worker: str
    number: int
    needs: Sequence[int] = ()
    limits: RateLimits = field(default_factory=RateLimits)
    changes: list[tuple[int, int, int]] = field(default_factory=list)
    hold: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RateLease:
    """What one process may send in the next second.

    Attributes:
        requests: the number of requests; 0 if it has to wait.
        tokens: of these together.
        grain: when it was given, for corrections.
        wait: seconds after which to ask again.
    """

    requests: int = 0
    tokens: int = 0
    grain: int = 0
    wait: float = _MOST_WAIT


def share_rate(record: Any, now: float, request: RateLeaseRequest) -> tuple[dict[str, Any], RateLease]:  # noqa: ANN401  (JSON)
    """Decide on a lease: first come, first served, in the order in which processes began to wait.

    Args:
        record: the state, in plain JSON; `None` at first.
        now: seconds by the store's clock.
        request: what the process asks for.
    """
    state = _RateState.read(record, now)
    me = state.workers.get(request.worker)
    if me is not None and me["number"] == request.number:
        return state.written(), RateLease(**me["lease"])
    for grain, requests, tokens in request.changes:
        state.change(grain, requests, tokens)
    state.next = max(state.next, state.now + request.hold if request.hold else 0.0)
    since = me["since"] if me is not None and me["need"] is not None else state.now
    lease = state.lease(request, state.ahead(request.worker, since))
    need = request.needs[0] if request.needs and not lease.requests else None
    state.workers[request.worker] = {
        "number": request.number, "since": since, "need": need, "seen": state.now,
        "lease": asdict(lease),
    }  # fmt: skip
    return state.written(), lease


@dataclass(slots=True)
class _RateState:
    """The record, while it is decided on: what was leased in each grain, and who waits."""

    now: float
    next: float  # when the next request may be sent, by the requests a minute
    grains: dict[int, list[int]]
    workers: dict[str, dict[str, Any]]

    @classmethod
    def read(cls, record: Any, now: float) -> "_RateState":  # noqa: ANN401  (JSON)
        record = record if isinstance(record, dict) else {}
        now = max(now, float(record.get("now", 0.0)))  # a clock that was set back frees nothing
        grains = {int(grain): list(counts) for grain, counts in record.get("grains", {}).items()}
        workers = dict(record.get("workers", {}))
        return cls(
            now=now,
            next=float(record.get("next", 0.0)),
            grains={grain: counts for grain, counts in grains.items() if grain * _GRAIN + _COUNTS > now},
            workers={name: one for name, one in workers.items() if now - one["seen"] < _FORGOTTEN_SECONDS},
        )

    def written(self) -> dict[str, Any]:
        grains = {str(grain): counts for grain, counts in sorted(self.grains.items())}
        return {"now": self.now, "next": self.next, "grains": grains, "workers": self.workers}

    def change(self, grain: int, requests: int, tokens: int) -> None:
        counts = self.grains.get(grain)
        if counts is not None:
            counts[:] = max(0, counts[0] + requests), max(0, counts[1] + tokens)

    def ahead(self, worker: str, since: float) -> list[int]:
        """Return the needs of the processes that have waited longer."""
        return [
            one["need"]
            for name, one in self.workers.items()
            if one["need"] is not None
            and (one["since"], name) < (since, worker)
            and self.now - one["seen"] < _LOST_SECONDS
        ]

    def lease(self, request: RateLeaseRequest, ahead: Sequence[int]) -> RateLease:
        limits = request.limits
        interval = (_MINUTE + _SLACK) / limits.rpm if limits.rpm else 0.0
        start = max(self.next, self.now - _GRAIN)
        if not request.needs or start > self.now:
            return RateLease(wait=_bounded(start - self.now if request.needs else _MOST_WAIT))
        paced = math.floor((self.now + LEASE_SECONDS - start) / interval) + 1 if interval else len(request.needs)
        used = [sum(counts[at] for counts in self.grains.values()) for at in (0, 1)]
        room = math.inf if limits.rpm is None else limits.rpm - used[0] - len(ahead)
        token_room = math.inf if limits.tpm is None else limits.tpm - used[1] - sum(ahead)
        count = tokens = 0
        for need in request.needs:
            need = need if limits.tpm is None else min(need, limits.tpm)  # noqa: PLW2901
            if count >= min(paced, room) or tokens + need > token_room:
                break
            count, tokens = count + 1, tokens + need
        if not count:
            return RateLease(wait=self._until_room(request, ahead))
        self.next = start + count * interval
        grain = math.floor(self.now / _GRAIN)
        counts = self.grains.setdefault(grain, [0, 0])
        counts[:] = counts[0] + count, counts[1] + tokens
        return RateLease(requests=count, tokens=tokens, grain=grain, wait=_bounded(self.next - self.now))

    def _until_room(self, request: RateLeaseRequest, ahead: Sequence[int]) -> float:
        """Return the seconds until enough of the minute is over for the first request."""
        rpm, tpm = request.limits.rpm, request.limits.tpm
        requests = sum(counts[0] for counts in self.grains.values()) + len(ahead) + 1
        need = request.needs[0] if tpm is None else min(request.needs[0], tpm)
        tokens = sum(counts[1] for counts in self.grains.values()) + sum(ahead) + need
        until = 0.0
        for grain, counts in sorted(self.grains.items()):
            if (rpm is None or requests <= rpm) and (tpm is None or tokens <= tpm):
                break
            requests, tokens = requests - counts[0], tokens - counts[1]
            until = grain * _GRAIN + _COUNTS - self.now
        return _bounded(until)


def _bounded(seconds: float) -> float:
    return min(max(seconds, _LEAST_WAIT), _MOST_WAIT)


# --- One process ---


class SharedRate:
    """The share of this process, as `RateLimiter.allowance`. Thread-safe; asks the store on a thread of its own.

    `take` never waits for the store, so that it can be called on an event loop.

    Attributes:
        place: identifies the store; set by `shared_rate_limits`.
        users: how many of its blocks use this share.
    """

    def __init__(
        self, store: BufferedStore, name: str, *, clock: Callable[[], float] = time.monotonic, background: bool = True
    ) -> None:
        """Share the limits that processes know under a name.

        Args:
            store: the work store that the processes share.
            name: identifies service, account and model.
            clock: the time that `take` is called with.
            background: whether a thread asks for leases; otherwise `renew` has to be called.
        """
        self._store, self._record, self._clock = store, f"rate {name}", clock
        self._worker = uuid.uuid4().hex
        self.place, self.users = "", 0
        self._unanswered: tuple[RateLeaseRequest, float] | None = None
        self._lock = threading.Lock()
        self._lease, self._until = RateLease(), float("-inf")  # what is left of it, and until when by our clock
        self._demand = RateLeaseRequest(worker=self._worker, number=1)  # the next request
        self._again_at = float("-inf")
        self._error: QwenOmniError | None = None
        self._wake, self._ended = threading.Event(), threading.Event()
        self._thread: threading.Thread | None = None
        if background:
            self._thread = threading.Thread(target=self._run, name="qwen-omni-quota", daemon=True)
            self._thread.start()

    def take(self, turn: Turn, behind: Sequence[Turn], *, now: float) -> float:
        """Return 0 if the lease covers a request, else the seconds after which to ask again.

        Raises:
            StoreError: the server of the store could not be asked for a lease.
            LocalResourceError: the file of the store could not be written.
        """
        with self._lock:
            if self._error is not None:
                error, self._error = self._error, None
                raise error
            lease = self._lease
            if now < self._until and lease.requests and lease.tokens >= turn.needed:
                self._lease = replace(lease, requests=lease.requests - 1, tokens=lease.tokens - turn.needed)
                turn.share = lease.grain
                return 0.0
            self._demand.needs = [turn.needed, *(one.needed for one in behind[: _MOST_NEEDS - 1])]
            self._demand.limits = turn.limits
            self._wake.set()
            return max(_POLL_SECONDS, self._again_at - now)

    def change(self, turn: Turn, *, requests: int, tokens: int) -> None:
        """Correct the tokens that a request counts as."""
        if turn.share is not None and (requests or tokens):
            with self._lock:
                self._demand.changes.append((turn.share, requests, tokens))

    def hold(self, seconds: float) -> None:
        """Hold the requests of all processes, and return what is left of the lease."""
        with self._lock:
            self._demand.hold = max(self._demand.hold, seconds)
            self._until = float("-inf")
            self._wake.set()

    def renew(self) -> float:
        """Request a lease for the waiting requests; return the seconds after which to ask again.

        Raises:
            StoreError: the server of the store cannot be used.
            LocalResourceError: the file of the store cannot be written.
        """
        with self._lock:
            if self._unanswered is None:
                self._unanswered = self._next_request(), self._clock()
            request, asked_at = self._unanswered  # after a failure the same again: the store may have granted it
        lease = self._store.exchange(self._record, lambda record, now: share_rate(record, now, request))
        with self._lock:
            self._unanswered = None
            self._lease, self._until = lease, asked_at + LEASE_SECONDS
            self._again_at = self._clock() + lease.wait
        return lease.wait

    def _next_request(self) -> RateLeaseRequest:
        request, left = self._demand, self._lease
        if left.requests or left.tokens:
            request.changes.append((left.grain, -left.requests, -left.tokens))
        self._lease, self._until = RateLease(), float("-inf")
        self._demand = RateLeaseRequest(worker=self._worker, number=request.number + 1)
        return request

    @property
    def _owes(self) -> bool:
        """Whether something is to be given back or corrected."""
        with self._lock:
            left = (self._lease.requests or self._lease.tokens) and self._clock() >= self._until
            return bool(self._demand.changes or left)

    def _run(self) -> None:
        while not self._ended.is_set():
            if not self._wake.wait(_MOST_WAIT) and not self._owes:
                continue
            self._wake.clear()
            try:
                wait = self.renew()
            except QwenOmniError as error:
                with self._lock:
                    self._error = error
                wait = _MOST_WAIT
            self._ended.wait(wait)

    def close(self) -> None:
        """Return what is left to the store, and stop asking. Can be called more than once."""
        self._ended.set()
        self._wake.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        with self._lock:
            owes = bool(self._demand.changes or self._lease.requests or self._lease.tokens)
            self._demand.needs = []
        if owes:
            with contextlib.suppress(QwenOmniError):  # it expires by itself
                self.renew()


def rate_name(settings: Settings, model: str) -> str:
    """Return the name under which processes share the limits of an account and a model; it does not hold the key."""
    return digest("rate", *account_of(settings), model)[:32]


@contextlib.contextmanager
def shared_rate_limits(
    store: BufferedStore, settings: Settings, models: Iterable[str]
) -> Generator[Mapping[str, SharedRate]]:
    """Within the block, share the limits of models with all processes that do the same with the same store.

    It holds for everything in this process that asks this service for these models with this key. Blocks with the same
    store share one allowance, until the last of them ends.
    """
    with contextlib.ExitStack() as ending:
        shares = {model: ending.enter_context(_shared(store, settings, model)) for model in dict.fromkeys(models)}
        yield shares


_entering = threading.Lock()


@contextlib.contextmanager
def _shared(store: BufferedStore, settings: Settings, model: str) -> Generator[SharedRate]:
    limiter, place = limiter_of(settings, model), getattr(store, "identity", None) or str(id(store))
    with _entering:
        share = limiter.allowance
        if not isinstance(share, SharedRate) or share.place != place:
            share = SharedRate(store, rate_name(settings, model))
            share.place = place
        share.users += 1
        limiter.allowance = share
    try:
        yield share
    finally:
        with _entering:
            share.users -= 1
            is_last = not share.users
            if is_last and limiter.allowance is share:
                limiter.allowance = None
        if is_last:
            share.close()
