"""A limit on what calls may cost, enforced before they are sent. One object can serve a whole process.

A call *reserves* what it may cost, and is refused if that would exceed the limit. Once the service has reported the
usage, the call *settles*; a call that cost nothing is *released*. Settling may take more than was reserved: the
money is already spent, and the next call is refused.
"""

import math
import threading
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, Self

from qwen_omni.errors import ConfigurationError, SpendLimitError
from qwen_omni.pricing.costs import Cost, Pricing, TokenCounts
from qwen_omni.ranges import MONEY, TOKENS, check_given
from qwen_omni.responses import Usage

if TYPE_CHECKING:
    import asyncio

_STEP = (
    "Raise the limit, or make the call cheaper: a shorter clip, fewer frames per second, fewer pixels, a cheaper model."
)
_TAKEN = "{spent} of the limit of {limit} are already spent or reserved"

LIMIT_RANGES = {
    "tokens": TOKENS, "cny": MONEY, "usd": MONEY,
    "per_call_tokens": TOKENS, "per_call_cny": MONEY, "per_call_usd": MONEY,
}  # fmt: skip
"""Allowed values; 0 lets nothing through."""


class Predicted(Protocol):
    """Anything that predicts the cost of a call, such as `Estimate`."""

    @property
    def cost(self) -> Cost:
        """The cost to reserve."""


class SpendLimit:
    """Limit on the cost of calls: in total, and of each call. Safe to share between threads, clients and models.

    Every limit is optional. Money is checked in yuan, in dollars, or both; where money is limited, a model without a
    known price is refused unless prices are passed.

    A pickled limit is independent in the other process: it starts from what is spent and reserved here, and counts on
    its own from then on. Divide the limit between the processes.

    Args:
        tokens: of all calls together, input and output.
        cny: yuan of all calls together.
        usd: dollars of all calls together.
        per_call_tokens: of a single call.
        per_call_cny: yuan of a single call.
        per_call_usd: dollars of a single call.

    Raises:
        ConfigurationError: a limit that is below 0 or not a number.

    Example:
        >>> from qwen_omni.pricing.costs import TokenCounts, cost_of
        >>> limit = SpendLimit(tokens=1_000)
        >>> with limit.reserve(cost_of(TokenCounts(text=600), "qwen3.8-omni-flash")) as held:
        ...     held.settle(Usage(input_tokens=590, output_tokens=10))
        >>> limit.spent.tokens, limit.reserved.tokens
        (600, 0)
    """

    def __init__(
        self,
        *,
        tokens: int | None = None,
        cny: float | None = None,
        usd: float | None = None,
        per_call_tokens: int | None = None,
        per_call_cny: float | None = None,
        per_call_usd: float | None = None,
    ) -> None:
        given = {"tokens": tokens, "cny": cny, "usd": usd, "per_call_tokens": per_call_tokens,
                 "per_call_cny": per_call_cny, "per_call_usd": per_call_usd}  # fmt: skip
        most = check_given(given, LIMIT_RANGES)
        self._whole = {"tokens": most["tokens"], "CNY": most["cny"], "USD": most["usd"]}
        self._each = {"tokens": most["per_call_tokens"], "CNY": most["per_call_cny"], "USD": most["per_call_usd"]}
        self._lock = threading.Lock()
        self._spent = Spent()
        self._open: dict[Reservation, Spent] = {}
        self._abandoned: deque[tuple[Reservation, Spent | None]] = deque()

    @property
    def limits(self) -> Mapping[str, float | None]:
        """Limits on all calls together, by "tokens", "CNY" and "USD"; `None` where there is no limit."""
        return dict(self._whole)

    @property
    def spent(self) -> "Spent":
        """What finished calls cost."""
        with self._lock:
            self._close_abandoned()
            return self._spent

    @property
    def reserved(self) -> "Spent":
        """What running calls may still cost."""
        with self._lock:
            self._close_abandoned()
            return Spent.sum(self._open.values())

    def reserve(self, call: Cost | Predicted) -> "Reservation":
        """Reserve what a call may cost.

        Raises:
            SpendLimitError: it would cost more than is left, or more than one call may.
            ConfigurationError: money is limited, and the model's price is not known.
        """
        cost = call if isinstance(call, Cost) else call.cost
        wanted = Spent.of(cost)
        with self._lock:
            self._check_all(wanted, cost)
            held = Reservation(self, cost)
            self._open[held] = wanted
        return held

    def check(self, call: Cost | Predicted) -> None:
        """Raise what `reserve` would raise now, without reserving anything."""
        cost = call if isinstance(call, Cost) else call.cost
        with self._lock:
            self._check_all(Spent.of(cost), cost)

    def check_priced(self, pricing: Pricing) -> None:
        """Check that a model's cost can be limited, before paying other models for work that it has to finish.

        Raises:
            ConfigurationError: money is limited, and the model's price is not known.
        """
        for unit in ("CNY", "USD"):
            if not pricing.prices and (self._each[unit], self._whole[unit]) != (None, None):
                raise _unpriced(unit, pricing)

    def _check_all(self, wanted: "Spent", cost: Cost) -> None:
        self._close_abandoned()
        taken = Spent.sum((self._spent, *self._open.values()))
        for unit in self._whole:
            self._check(unit, wanted, taken, cost)

    def _check(self, unit: str, wanted: "Spent", taken: "Spent", cost: Cost) -> None:
        each, whole = self._each[unit], self._whole[unit]
        if each is None and whole is None:
            return
        if unit != "tokens" and cost.cny is None:
            raise _unpriced(unit, cost.pricing)
        amount, before = wanted.amount(unit), taken.amount(unit)
        if each is not None and amount > each:
            raise refusal(unit, amount, limit=each, why="the limit for one call is {limit}")
        if whole is not None and before + amount > whole:
            raise refusal(unit, amount, limit=whole, spent=before)

    def close(self, held: "Reservation", spent: "Spent | None") -> None:
        """End a reservation with its final cost. Ending it twice has no effect; called by `Reservation` only."""
        with self._lock:
            self._close(held, spent)

    def abandon(self, held: "Reservation", spent: "Spent | None") -> None:
        """End the reservation of a call dropped unfinished; takes no lock, so it is safe in a finalizer."""
        self._abandoned.append((held, spent))

    def _close(self, held: "Reservation", spent: "Spent | None") -> None:
        if self._open.pop(held, None) is not None and spent is not None:
            self._spent = Spent.sum((self._spent, spent))

    def _close_abandoned(self) -> None:
        for held in [one for one in self._open if one.is_dropped()]:
            held.drop()
        while self._abandoned:
            self._close(*self._abandoned.popleft())

    def is_open(self, held: "Reservation") -> bool:
        """Whether a reservation has been neither settled nor released."""
        with self._lock:
            self._close_abandoned()
            return held in self._open

    def __deepcopy__(self, _: object) -> Self:
        return self  # copies of its owner keep sharing the limit

    def __getstate__(self) -> dict[str, Any]:
        # Calls running here may be billed, so the copy counts them as spent: it never learns how they end.
        with self._lock:
            self._close_abandoned()
            spent = Spent.sum((self._spent, *self._open.values()))
        return {"whole": self._whole, "each": self._each, "spent": spent}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        self._whole, self._each, self._spent = dict(state["whole"]), dict(state["each"]), state["spent"]
        self._lock, self._open, self._abandoned = threading.Lock(), {}, deque()

    def __repr__(self) -> str:
        names = {"tokens": "tokens", "CNY": "cny", "USD": "usd"}
        shown = [f"{names[unit]}={most}" for unit, most in self._whole.items() if most is not None]
        shown += [f"per_call_{names[unit]}={most}" for unit, most in self._each.items() if most is not None]
        return f"SpendLimit({', '.join(shown)})"


class Reservation:
    """What one call may cost, reserved until it is known. Settle or release it; only the first of these counts.

    If it is still open at the end of a `with` block, it is settled at the reserved amount, or released if the block
    raised: settle it inside the block if the service may have billed the failed call.
    """

    def __init__(self, limit: SpendLimit, cost: Cost) -> None:
        self._limit = limit
        self.cost = cost
        self._is_dropped: Callable[[], bool] | None = None
        self._drop: Callable[[], None] | None = None

    def watch(self, is_dropped: Callable[[], bool], drop: Callable[[], None]) -> None:
        """Let the limit detect that the call can never end, for example because its event loop was closed.

        Args:
            is_dropped: whether that is so; called on every use of the limit.
            drop: calls `abandon`.
        """
        self._is_dropped, self._drop = is_dropped, drop

    def is_dropped(self) -> bool:
        """Whether the call can never end."""
        return self._is_dropped is not None and self._is_dropped()

    def drop(self) -> None:
        """Abandon it, as arranged with `watch`."""
        self._is_dropped = None
        if self._drop is not None:
            self._drop()

    @property
    def is_open(self) -> bool:
        """Whether it is still reserved."""
        return self._limit.is_open(self)

    def settle(self, did: Usage | TokenCounts | Cost | None = None) -> None:
        """Record what the call cost; by default, what was reserved."""
        match did:
            case None:
                cost = self.cost
            case Cost():
                cost = did
            case _:
                cost = self.cost.pricing.cost(did)
        self._limit.close(self, Spent.of(cost))

    def release(self) -> None:
        """Record that the call cost nothing."""
        self._limit.close(self, None)

    def abandon(self, did: Cost | None) -> None:
        """End it for a call dropped unfinished: settled at `did`, or released; safe in a finalizer."""
        self._limit.abandon(self, None if did is None else Spent.of(did))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if self.is_open:
            if kind is None:
                self.settle()
            else:
                self.release()


def closed(loop: "asyncio.AbstractEventLoop") -> Callable[[], bool]:
    """Return whether an event loop is closed or gone, for `Reservation.watch`: such a loop runs nothing."""
    found = weakref.ref(loop)
    return lambda: (there := found()) is None or there.is_closed()


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """An amount in tokens, yuan and dollars; calls without a known price count in tokens only."""

    tokens: int = 0
    cny: float = 0.0
    usd: float = 0.0

    @classmethod
    def of(cls, cost: Cost) -> "Spent":
        """Return the amount of a cost."""
        return cls(tokens=cost.tokens, cny=cost.cny or 0.0, usd=cost.usd or 0.0)

    def amount(self, unit: str) -> float:
        """Return the amount in one unit: "tokens", "CNY" or "USD"."""
        return {"tokens": self.tokens, "CNY": self.cny, "USD": self.usd}[unit]

    @staticmethod
    def sum(amounts: Iterable["Spent"]) -> "Spent":
        """Add amounts up; money without accumulated rounding errors."""
        every = tuple(amounts)
        return Spent(
            tokens=sum(one.tokens for one in every),
            cny=math.fsum(one.cny for one in every),
            usd=math.fsum(one.usd for one in every),
        )


def _unpriced(unit: str, pricing: Pricing) -> ConfigurationError:
    return ConfigurationError(f"{unit} are limited, but {pricing.unknown}. Pass prices=, or limit tokens.")


def refusal_text(error: SpendLimitError, what: str) -> str:
    """Describe in one sentence what a limit refused, with its numbers.

    Example:
        >>> refused = SpendLimitError("…", unit="CNY", estimated=0.02, limit=0.05, spent=0.04)
        >>> refusal_text(refused, "Another look")
        'Another look may cost up to CNY 0.02; CNY 0.04 of the limit of CNY 0.05 are already spent or reserved.'
    """
    why = _TAKEN if error.spent else "the limit is {limit}"
    return _sentence(what, why, error.unit, error.estimated, limit=error.limit, spent=error.spent)


def refusal(
    unit: str, amount: float, *, limit: float, spent: float = 0, why: str = _TAKEN, step: str = _STEP
) -> SpendLimitError:
    """Return the error for a call that a limit refuses; `why` may name the `{limit}` and what is `{spent}` of it."""
    said = _sentence("This call", why, unit, amount, limit=limit, spent=spent)
    return SpendLimitError(f"{said} Nothing was sent. {step}", unit=unit, estimated=amount, limit=limit, spent=spent)


def _sentence(what: str, why: str, unit: str, amount: float, *, limit: float, spent: float) -> str:
    reason = why.format(limit=_amount(limit, unit), spent=_amount(spent, unit))
    return f"{what} may cost up to {_amount(amount, unit)}; {reason}."


def _amount(amount: float, unit: str) -> str:
    return f"{amount:,.0f} tokens" if unit == "tokens" else f"{unit} {amount:,.6g}"
