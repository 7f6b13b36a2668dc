"""A limit on what calls may cost, shared by all processes of a work store.

Each process leases 1 % of the limit, or what a call needs, and its calls reserve from that. Before a call is sent, it
is entered in a record of the lease, so that it is known what a process that died had in flight. Such calls count as
spent at what was reserved, unless their cost still becomes known; the rest of the lease is free for others. So what is
spent never exceeds the limit by more than the calls in flight cost above what they reserved.

The functions decide, from plain JSON and the store's clock; `SharedSpendLimit` has the effects. Amounts are whole
numbers: tokens, and billionths of a yuan or dollar, so that nothing is lost by rounding.
"""

import math
import threading
import time
import uuid
import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from qwen_omni.errors import QwenOmniError, SpendLimitError
from qwen_omni.pricing.costs import Cost
from qwen_omni.pricing.limit import Predicted, Reservation, SpendLimit, Spent, refusal
from qwen_omni.work_store.buffered import BufferedStore
from qwen_omni.work_store.store import is_gone, is_here, new_owner

Amounts = dict[str, int]
"""Whole amounts by unit: "tokens", "CNY" and "USD"."""

LEASE_SECONDS = 60.0
"""Seconds after which the lease of a process that does not renew it is closed by others."""
_SHARE = 100  # a lease is this part of the limit
_BILLIONTHS = 10**9
_UNITS = ("tokens", "CNY", "USD")


def _added(*amounts: Mapping[str, int]) -> Amounts:
    return {unit: sum(one.get(unit, 0) for one in amounts) for unit in _UNITS}


def _less(amount: Mapping[str, int], other: Mapping[str, int]) -> Amounts:
    return {unit: amount.get(unit, 0) - other.get(unit, 0) for unit in _UNITS}


def _most(one: Mapping[str, int], other: Mapping[str, int]) -> Amounts:
    return {unit: max(one.get(unit, 0), other.get(unit, 0)) for unit in _UNITS}


# --- The record of all: what is leased and spent ---


@dataclass(frozen=True, slots=True, kw_only=True)
class SpendLeaseRequest:
    """What one lease reports and asks for.

    Attributes:
        lease: identifies the lease.
        owner: the process; see `work_store.store.new_owner`.
        number: counts the lease requests; the same number again repeats one whose answer was lost.
        settled: what the ended calls of the lease cost so far.
        need: what has to be granted in addition; nothing to only report.
        limits: the most that all may spend; units without a limit are missing.
    """

    lease: str
    owner: str
    number: int
    settled: Mapping[str, int]
    need: Mapping[str, int] = field(default_factory=dict)
    limits: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class SpendGrant:
    """What a lease is granted.

    Attributes:
        granted: all that the lease was granted so far.
        refused: the unit whose limit leaves no room; nothing more was granted.
        taken: what is spent or leased by all, in that unit.
        closed: whether others have closed the lease, because it was not renewed.
    """

    granted: Mapping[str, int] = field(default_factory=dict)
    refused: str | None = None
    taken: int = 0
    closed: bool = False


def grant_spend(record: Any, now: float, request: SpendLeaseRequest) -> tuple[dict[str, Any], SpendGrant]:  # noqa: ANN401  (JSON)
    """Decide whether a lease gets more.

    Args:
        record: the state, in plain JSON; `None` at first.
        now: seconds by the store's clock.
        request: what the lease reports and asks for.
    """
    state = _read(record)
    if request.lease in state["sealed"]:
        return state, SpendGrant(closed=True)
    lease = state["leases"].setdefault(request.lease, {"granted": {}, "settled": {}, "number": 0})
    settled = _most(lease["settled"], request.settled)
    lease |= {"owner": request.owner, "until": now + LEASE_SECONDS, "settled": settled}
    lease["granted"] = _most(lease["granted"], settled)
    if lease["number"] == request.number:
        return state, SpendGrant(granted=lease["granted"])
    taken = spend_taken(state)
    share: Amounts = {}
    for unit, limit in request.limits.items():
        left, need = limit - taken[unit], request.need.get(unit, 0)
        if 0 < need > left:
            return state, SpendGrant(granted=lease["granted"], refused=unit, taken=taken[unit])
        # The less is left, the smaller each lease: no process holds what another needs.
        share[unit] = max(need, min(limit // _SHARE, left // (2 * len(state["leases"]))))
    if any(request.need.values()):
        lease |= {"granted": _added(lease["granted"], share), "number": request.number}
    return state, SpendGrant(granted=lease["granted"])


def spend_taken(record: Any) -> Amounts:  # noqa: ANN401  (JSON)
    """Return what is spent, leased, or was in flight in processes that died."""
    state = _read(record)
    leased = [_most(one["granted"], one["settled"]) for one in state["leases"].values()]
    return _added(state["spent"], *leased, *state["sealed"].values())


def lapsed_leases(record: Any, now: float, gone: Callable[[str], bool | None]) -> list[str]:  # noqa: ANN401  (JSON)
    """Return the leases that were not renewed in time, or whose process has ended."""
    leases = _read(record)["leases"]
    return [name for name, one in leases.items() if one["until"] < now or gone(one["owner"])]


def end_lease(record: Any, name: str, settled: Mapping[str, int]) -> dict[str, Any]:  # noqa: ANN401  (JSON)
    """End a lease without calls in flight: what its calls cost is spent, the rest is free."""
    state = _read(record)
    if state["leases"].pop(name, None) is not None:
        state["spent"] = _added(state["spent"], settled)
    return state


def seal_lease(record: Any, name: str, total: Mapping[str, int]) -> dict[str, Any]:  # noqa: ANN401  (JSON)
    """Close a lease that was not renewed; `total` is what its calls cost, counting those in flight as reserved."""
    state = _read(record)
    if state["leases"].pop(name, None) is not None or name in state["sealed"]:
        state["sealed"][name] = dict(total)
    return state


def _read(record: Any) -> dict[str, Any]:  # noqa: ANN401  (JSON)
    state = record if isinstance(record, dict) else {}
    leases = {name: dict(one) for name, one in state.get("leases", {}).items()}
    return {"spent": state.get("spent", {}), "leases": leases, "sealed": dict(state.get("sealed", {}))}


# --- The record of one lease: its calls ---


def enter_calls(
    record: Any,  # noqa: ANN401  (JSON)
    begun: Mapping[str, Mapping[str, int]],
    ended: Mapping[str, Mapping[str, int]],
) -> tuple[dict[str, Any], bool]:
    """Record the calls that start, with what they reserve, and the calls that ended, with what they cost.

    The second result is `False` if the lease was closed: no further call may start.
    """
    state = record if isinstance(record, dict) else {}
    calls, settled, closed = dict(state.get("calls", {})), state.get("settled", {}), bool(state.get("closed"))
    for call, cost in ended.items():
        if calls.pop(call, None) is not None:
            settled = _added(settled, cost)
    if not closed:
        calls |= {call: dict(amount) for call, amount in begun.items()}
    return {"calls": calls, "settled": settled, "closed": closed}, not closed


def close_calls(record: Any) -> tuple[dict[str, Any], Amounts]:  # noqa: ANN401  (JSON)
    """Stop further calls; return what the calls cost, counting those in flight as reserved."""
    state, _ = enter_calls(record, {}, {})
    return {**state, "closed": True}, _added(state["settled"], *state["calls"].values())


# --- One process ---


def _whole(spent: Spent) -> Amounts:
    """Return whole amounts; fractions count in full."""
    money = {unit: math.ceil(round(spent.amount(unit) * _BILLIONTHS, 3)) for unit in ("CNY", "USD")}
    return {"tokens": spent.tokens, **money}


@dataclass(slots=True)
class _Lease:
    """A lease of this process."""

    name: str
    granted: Mapping[str, int] = field(default_factory=dict)
    settled: Amounts = field(default_factory=dict)
    open: dict[str, Amounts] = field(default_factory=dict)
    ended: dict[str, Amounts] = field(default_factory=dict)  # not yet entered in the store

    @property
    def left(self) -> Amounts:
        return _less(self.granted, _added(self.settled, *self.open.values()))


class SharedSpendLimit(SpendLimit):
    """A `SpendLimit` that all processes with the same store and name keep together.

    `reserve` writes to the store, some milliseconds; a program on an event loop prepares its calls on threads. A call
    whose cost cannot be written at once is written with the next one, or by the beat that renews the lease.

    Args:
        store: the work store that the processes share.
        name: identifies what is limited, such as the archive.
        limit: the limits: those in total are of all processes together.
    """

    def __init__(self, store: BufferedStore, name: str, limit: SpendLimit) -> None:
        super().__init__()
        state = limit.__getstate__()
        self._whole, self._each = dict(state["whole"]), dict(state["each"])
        self._store, self._record = store, f"spend {name}"
        self._owner = new_owner()
        self._shared = threading.RLock()  # held while the store is asked
        self._number = 0
        self._lease = _Lease(uuid.uuid4().hex)
        self._old: list[_Lease] = []  # closed by others, with calls still in flight
        self._calls: dict[Reservation, tuple[_Lease, str]] = {}
        self._start()

    def _start(self) -> None:
        self._ended = threading.Event()
        beat = threading.Thread(
            target=_beat_on, args=(weakref.ref(self), self._ended), daemon=True, name="qwen-omni-spend"
        )
        beat.start()

    def __getstate__(self) -> dict[str, Any]:
        raise TypeError("A shared limit is not pickled: open the same store in the other process.")

    # --- Calls ---

    def reserve(self, call: Cost | Predicted) -> Reservation:
        """Reserve what a call may cost.

        Raises:
            SpendLimitError: all processes together have too little left, or one call may not cost as much.
            ConfigurationError: money is limited, and the model's price is not known.
            StoreError: the server of the store cannot be used.
            LocalResourceError: the file of the store cannot be written.
        """
        cost = call if isinstance(call, Cost) else call.cost
        amount = _whole(Spent.of(cost))
        with self._shared:
            self._part_from_parent()
            with self._lock:
                self._check_all(Spent.of(cost), cost)
            lease, name = self._enter(amount)
            held = Reservation(self, cost)
            with self._lock:
                self._open[held] = Spent.of(cost)
                self._calls[held] = lease, name
        return held

    def check(self, call: Cost | Predicted) -> None:
        """Raise what `reserve` would raise now, without reserving anything."""
        cost = call if isinstance(call, Cost) else call.cost
        with self._shared:
            with self._lock:
                self._check_all(Spent.of(cost), cost)
                left = self._lease.left
            need, taken = _less(_whole(Spent.of(cost)), left), spend_taken(self._peek())
            for unit, limit in self._most().items():
                if need[unit] > 0 and taken[unit] + need[unit] > limit:
                    raise self._refusal(unit, _whole(Spent.of(cost))[unit], taken[unit])

    def _check_all(self, wanted: Spent, cost: Cost) -> None:
        self._close_abandoned()
        for unit in self._whole:
            self._check(unit, wanted, Spent(), cost)

    def close(self, held: Reservation, spent: Spent | None) -> None:
        """End a reservation with its final cost. Ending it twice has no effect; called by `Reservation` only."""
        super().close(held, spent)
        if self._shared.acquire(blocking=False):  # otherwise whoever writes now, or the beat, does it
            try:
                self._report()
            except QwenOmniError:
                pass  # the beat tries again; until then it counts as reserved
            finally:
                self._shared.release()

    def _close(self, held: Reservation, spent: Spent | None) -> None:
        super()._close(held, spent)
        entry = self._calls.pop(held, None)
        if entry is not None:
            lease, name = entry
            cost = {} if spent is None else _whole(spent)
            lease.open.pop(name, None)
            lease.settled = _added(lease.settled, cost)
            lease.ended[name] = cost

    def _part_from_parent(self) -> None:
        """Start a new lease after a fork; the parent keeps its own lease and calls."""
        if not is_here(self._owner):
            self._owner, self._lease, self._old = new_owner(), _Lease(uuid.uuid4().hex), []
            self._open, self._calls = {}, {}
            self._start()

    # --- The store ---

    def _most(self) -> Amounts:
        """Return the limits shared by all processes, in whole amounts."""
        scale = {"tokens": 1, "CNY": _BILLIONTHS, "USD": _BILLIONTHS}
        return {unit: int(most * scale[unit]) for unit, most in self._whole.items() if most is not None}

    def _enter(self, amount: Amounts) -> tuple[_Lease, str]:
        """Record a call that fits into the lease; take another lease if this one was closed by other processes."""
        name = uuid.uuid4().hex
        while True:
            lease = self._lease
            with self._lock:
                left = lease.left
            need = {unit: amount[unit] - left[unit] for unit in self._most()}
            short = any(more > 0 for more in need.values())
            if (short and not self._extend(lease, need, amount)) or not self._write(lease, {name: amount}):
                self._replace(lease)
                continue
            with self._lock:
                lease.open[name] = amount
            return lease, name

    def _extend(self, lease: _Lease, need: Mapping[str, int], amount: Amounts) -> bool:
        """Extend the lease; return whether it is still open."""
        need = {unit: max(more, 0) for unit, more in need.items()}
        grant = self._ask(lease, need)
        if grant.refused is not None and self._close_lapsed():
            grant = self._ask(lease, need)
        if grant.refused is not None:
            raise self._refusal(grant.refused, amount[grant.refused], grant.taken)
        return not grant.closed

    def _ask(self, lease: _Lease, need: Mapping[str, int]) -> SpendGrant:
        self._number += 1
        request = SpendLeaseRequest(
            lease=lease.name, owner=self._owner, number=self._number, settled=dict(lease.settled), need=need,
            limits=self._most(),
        )  # fmt: skip
        grant = self._store.exchange(self._record, lambda record, now: grant_spend(record, now, request))
        if not grant.closed:
            lease.granted = grant.granted
        return grant

    def _write(self, lease: _Lease, begun: Mapping[str, Amounts]) -> bool:
        with self._lock:
            ended = dict(lease.ended)
        is_open = self._store.exchange(self._name(lease), lambda record, _: enter_calls(record, begun, ended))
        with self._lock:
            for name in ended:
                del lease.ended[name]
        return is_open

    def _name(self, lease: _Lease) -> str:
        return f"{self._record} {lease.name}"

    def _replace(self, lease: _Lease) -> None:
        """Start another lease: other processes have closed this one."""
        if lease.open or lease.ended:
            self._old.append(lease)
        self._lease = _Lease(uuid.uuid4().hex)
        self._seal(lease.name)

    def _report(self) -> None:
        """Record the cost of finished calls."""
        with self._lock:
            self._close_abandoned()
        if self._lease.ended and not self._write(self._lease, {}):
            self._replace(self._lease)
        with self._lock:
            left = self._lease.left
        if self._lease.granted and min(left.values()) < 0:
            self._ask(self._lease, {})  # calls cost more than they reserved: the others have to know
        for lease in self._old:
            if lease.ended:
                self._write(lease, {})
                self._seal(lease.name)
        self._old = [lease for lease in self._old if lease.open or lease.ended]

    def _seal(self, name: str) -> None:
        total = self._store.exchange(f"{self._record} {name}", lambda record, _: close_calls(record))
        self._store.exchange(self._record, lambda record, _: (seal_lease(record, name, total), None))

    def _close_lapsed(self) -> bool:
        """Close the leases of processes that died or stalled; return whether there were any."""
        names = self._store.exchange(self._record, lambda record, now: (record, lapsed_leases(record, now, is_gone)))
        for name in names:
            if name != self._lease.name:
                self._seal(name)
        return any(name != self._lease.name for name in names)

    def _peek(self) -> Any:  # noqa: ANN401  (JSON)
        return self._store.exchange(self._record, lambda record, _: (record, record))

    def _refusal(self, unit: str, amount: int, taken: int) -> SpendLimitError:
        scale = 1 if unit == "tokens" else _BILLIONTHS
        return refusal(
            unit, amount / scale, limit=self._whole[unit] or 0, spent=taken / scale,
            why="{spent} of the limit of {limit} that all processes share are already spent, reserved or leased",
            step="Raise the limit, or wait for the other processes to end.",
        )  # fmt: skip

    # --- The beat, and the end ---

    def beat(self) -> None:
        """Renew the lease and record the cost of finished calls; the next beat retries what failed."""
        with self._shared:
            try:
                self._report()
                if self._lease.granted and self._ask(self._lease, {}).closed:
                    self._replace(self._lease)
            except QwenOmniError:
                return

    def finish(self) -> None:
        """Record the cost of finished calls and release the rest of the lease. Calls in flight count as reserved."""
        self._ended.set()
        with self._shared:
            self._report()
            lease, self._lease = self._lease, _Lease(uuid.uuid4().hex)
            if not lease.granted:
                return
            if lease.open:
                self._old.append(lease)
                self._seal(lease.name)
                return
            settled = dict(lease.settled)
            self._store.exchange(self._record, lambda record, _: (end_lease(record, lease.name, settled), None))
            self._store.exchange(self._name(lease), lambda *_: (None, None))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.finish()


def _beat_on(found: "weakref.ref[SharedSpendLimit]", ended: threading.Event) -> None:
    last = time.monotonic()
    while not ended.wait(1.0):
        limit = found()
        if limit is None:
            return
        if time.monotonic() - last > LEASE_SECONDS / 4:
            last = time.monotonic()
            limit.beat()
        del limit
