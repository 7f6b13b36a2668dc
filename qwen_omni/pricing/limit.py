"""A limit on what calls may cost, kept before they are sent. One object may serve a whole process.

A call *reserves* what it may cost; that is refused if it would break the limit. When the service has told what the
call did cost, it *settles*; a call that cost nothing is *released*. Settling may take more than was reserved: the
money is gone then, and the next call is refused.
"""

import math
import threading
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, Self

from qwen_omni.errors import ConfigurationError, SpendLimitError
from qwen_omni.pricing.costs import Cost, TokenCounts
from qwen_omni.ranges import MONEY, TOKENS, check_given
from qwen_omni.responses import Usage

_STEP = (
    "Raise the limit, or make the call cheaper: a shorter piece, fewer frames a second, fewer pixels, a cheaper model."
)


LIMIT_RANGES = {
    "tokens": TOKENS, "cny": MONEY, "usd": MONEY,
    "per_call_tokens": TOKENS, "per_call_cny": MONEY, "per_call_usd": MONEY,
}  # fmt: skip
"""What the limits may be; 0 lets nothing through."""


class Predicted(Protocol):
    """Whatever predicts what a call will cost, as `Estimate` does."""

    @property
    def cost(self) -> Cost:
        """What is reserved for it."""


class SpendLimit:
    """How much calls may cost: together, and each. Safe to share between threads, clients and models.

    Every limit is optional. Money is checked in yuan, in dollars, or both; a model without a known price is refused
    where money is limited, unless prices are passed along.

    A pickled limit is a limit of its own in the other process: it begins with what is spent and reserved here, and
    counts alone from then on. Give each of several processes its share.

    Args:
        tokens: of all calls together, in and out.
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
        """What all calls together may cost: by "tokens", "CNY" and "USD"; `None` where there is no limit."""
        return dict(self._whole)

    @property
    def spent(self) -> "Spent":
        """What finished calls have cost."""
        with self._lock:
            self._close_abandoned()
            return self._spent

    @property
    def reserved(self) -> "Spent":
        """What running calls may cost."""
        with self._lock:
            self._close_abandoned()
            return Spent.sum(self._open.values())

    def reserve(self, call: Cost | Predicted) -> "Reservation":
        """Set aside what a call may cost.

        Raises:
            SpendLimitError: it would cost more than is left, or than one call may.
            ConfigurationError: money is limited, and no price of the model is known.
        """
        cost = call if isinstance(call, Cost) else call.cost
        wanted = Spent.of(cost)
        with self._lock:
            self._check_all(wanted, cost)
            held = Reservation(self, cost)
            self._open[held] = wanted
        return held

    def check(self, call: Cost | Predicted) -> None:
        """Raise what `reserve` would raise now, and set nothing aside."""
        cost = call if isinstance(call, Cost) else call.cost
        with self._lock:
            self._check_all(Spent.of(cost), cost)

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
            raise ConfigurationError(
                f"{unit} are limited, and no price of {cost.pricing.model} is known. Pass prices=, or limit tokens."
            )
        amount, before = wanted.amount(unit), taken.amount(unit)
        if each is not None and amount > each:
            raise SpendLimitError(
                f"This call would take {_told(amount, unit)}; one call may take {_told(each, unit)}. "
                f"Nothing was sent. {_STEP}",
                unit=unit, estimated=amount, limit=each, spent=0,
            )  # fmt: skip
        if whole is not None and before + amount > whole:
            raise SpendLimitError(
                f"This call would take {_told(amount, unit)}; of the limit of {_told(whole, unit)}, "
                f"{_told(before, unit)} are spent or reserved. Nothing was sent. {_STEP}",
                unit=unit, estimated=amount, limit=whole, spent=before,
            )  # fmt: skip

    def close(self, held: "Reservation", spent: "Spent | None") -> None:
        """End a reservation, with what it did cost. Once ended it stays so; called by `Reservation` alone."""
        with self._lock:
            self._close(held, spent)

    def abandon(self, held: "Reservation", spent: "Spent | None") -> None:
        """End a reservation whose call was dropped unfinished; takes no lock, so a finalizer may call it anywhere."""
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
        """Tell whether a reservation has neither been settled nor released."""
        with self._lock:
            self._close_abandoned()
            return held in self._open

    def __deepcopy__(self, _: object) -> Self:
        return self  # copies of what holds a limit go on sharing it

    def __getstate__(self) -> dict[str, Any]:
        # What runs here may be billed, so it counts as spent in the copy, which learns nothing of its end.
        with self._lock:
            self._close_abandoned()
            spent = Spent.sum((self._spent, *self._open.values()))
        return {"whole": self._whole, "each": self._each, "spent": spent}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        self._whole, self._each, self._spent = dict(state["whole"]), dict(state["each"]), state["spent"]
        self._lock, self._open, self._abandoned = threading.Lock(), {}, deque()

    def __repr__(self) -> str:
        told = {"tokens": "tokens", "CNY": "cny", "USD": "usd"}
        shown = [f"{told[unit]}={most}" for unit, most in self._whole.items() if most is not None]
        shown += [f"per_call_{told[unit]}={most}" for unit, most in self._each.items() if most is not None]
        return f"SpendLimit({', '.join(shown)})"


class Reservation:
    """What one call may cost, set aside until it is known. Settle it, or release it; only the first counts.

    At the end of a `with` block one that is still open is settled at what was reserved, or released if the block
    raised: settle it inside where the service may have billed what failed.
    """

    def __init__(self, limit: SpendLimit, cost: Cost) -> None:
        self._limit = limit
        self.cost = cost
        self._is_dropped: Callable[[], bool] | None = None
        self._drop: Callable[[], None] | None = None

    def watch(self, is_dropped: Callable[[], bool], drop: Callable[[], None]) -> None:
        """Have the limit find out by itself that the call can never end, as where its event loop was closed.

        Args:
            is_dropped: whether it is so; asked whenever the limit is.
            drop: calls `abandon`.
        """
        self._is_dropped, self._drop = is_dropped, drop

    def is_dropped(self) -> bool:
        """Whether the call can never end."""
        return self._is_dropped is not None and self._is_dropped()

    def drop(self) -> None:
        """Abandon it as `watch` was told to."""
        self._is_dropped = None
        if self._drop is not None:
            self._drop()

    @property
    def is_open(self) -> bool:
        """Whether it is still held."""
        return self._limit.is_open(self)

    def settle(self, did: Usage | TokenCounts | Cost | None = None) -> None:
        """Tell what the call did cost; without a word, what was reserved."""
        match did:
            case None:
                cost = self.cost
            case Cost():
                cost = did
            case _:
                cost = self.cost.pricing.cost(did)
        self._limit.close(self, Spent.of(cost))

    def release(self) -> None:
        """Tell that the call cost nothing."""
        self._limit.close(self, None)

    def abandon(self, did: Cost | None) -> None:
        """End it for a call that was dropped unfinished: at `did`, or released; safe in a finalizer."""
        self._limit.abandon(self, None if did is None else Spent.of(did))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if self.is_open:
            if kind is None:
                self.settle()
            else:
                self.release()


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """An amount in tokens, yuan and dollars; what has no known price counts in tokens alone."""

    tokens: int = 0
    cny: float = 0.0
    usd: float = 0.0

    @classmethod
    def of(cls, cost: Cost) -> "Spent":
        """Give the amount of a cost."""
        return cls(tokens=cost.tokens, cny=cost.cny or 0.0, usd=cost.usd or 0.0)

    def amount(self, unit: str) -> float:
        """Give it in one unit: "tokens", "CNY" or "USD"."""
        return {"tokens": self.tokens, "CNY": self.cny, "USD": self.usd}[unit]

    @staticmethod
    def sum(amounts: Iterable["Spent"]) -> "Spent":
        """Add amounts up; money without the drift of repeated rounding."""
        every = tuple(amounts)
        return Spent(
            tokens=sum(one.tokens for one in every),
            cny=math.fsum(one.cny for one in every),
            usd=math.fsum(one.usd for one in every),
        )


def _told(amount: float, unit: str) -> str:
    return f"{amount:,.0f} tokens" if unit == "tokens" else f"{unit} {amount:,.6g}"
