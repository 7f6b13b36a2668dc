"""What calls did use and cost, added up by model, beside what they had been estimated at."""

import threading
from collections import deque
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Self

from qwen_omni.pricing.costs import Cost, PriceOverride, Pricing, TokenCounts, pricing_for
from qwen_omni.profiles import USUAL_RATE, ExchangeRate, Region
from qwen_omni.responses import Usage


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """What the calls of one model, or of all, have used.

    Attributes:
        calls: how many were billed.
        tokens: what the service reported, by kind.
        cny: yuan, of the calls whose price is known.
        usd: dollars, of the calls whose price is known.
        unpriced: calls whose price is not known.
        cut: calls whose answer was cut before the service told what it used; they count as estimated.
        estimated: tokens in of the calls that were estimated, as estimated.
        compared: tokens in of the same calls, as billed.
        seconds: of audio, of the transcriptions that are billed by the second; they report no tokens.
    """

    calls: int = 0
    tokens: TokenCounts = field(default_factory=TokenCounts)
    cny: float = 0.0
    usd: float = 0.0
    unpriced: int = 0
    cut: int = 0
    estimated: int = 0
    compared: int = 0
    seconds: float = 0.0

    @property
    def ratio(self) -> float | None:
        """Tokens in as estimated, over those billed; 1 is exact, `None` where nothing was estimated."""
        return self.estimated / self.compared if self.compared else None

    def __add__(self, other: "Entry") -> "Entry":
        return Entry(
            calls=self.calls + other.calls,
            tokens=self.tokens + other.tokens,
            cny=self.cny + other.cny,
            usd=self.usd + other.usd,
            unpriced=self.unpriced + other.unpriced,
            cut=self.cut + other.cut,
            estimated=self.estimated + other.estimated,
            compared=self.compared + other.compared,
            seconds=self.seconds + other.seconds,
        )


class UsageLedger:
    """Adds up what calls used, with its price. Safe to share between threads, clients and frameworks.

    A pickled ledger goes on alone in the other process, from what was added up here.

    Pass it as `Settings.ledger`, or let a callback of a framework fill it; not both, or calls count twice.

    Args:
        region: whose price list counts where a call does not bring its own.
        prices: prices of the caller's own.
        rate: what a dollar is worth in yuan.

    Example:
        >>> ledger = UsageLedger()
        >>> ledger.record(Usage(input_tokens=590, output_tokens=10), model="qwen3.8-omni-flash", estimated=600)
        >>> ledger.total.tokens.total, round(ledger.total.ratio, 3)
        (600, 1.017)
    """

    def __init__(
        self,
        *,
        region: Region | None = None,
        prices: PriceOverride | None = None,
        rate: ExchangeRate = USUAL_RATE,
    ) -> None:
        self._region, self._prices, self._rate = region, prices, rate
        self._lock = threading.Lock()
        self._entries: dict[str, Entry] = {}
        self._late: deque[tuple[str, Entry]] = deque()

    @property
    def models(self) -> Mapping[str, Entry]:
        """What each model has used so far."""
        with self._lock:
            while self._late:
                self._add(*self._late.popleft())
            return dict(self._entries)

    @property
    def total(self) -> Entry:
        """What all calls have used so far."""
        return sum(self.models.values(), Entry())

    def record(
        self,
        used: Usage | TokenCounts,
        *,
        model: str,
        pricing: Pricing | None = None,
        estimated: int | None = None,
        cut: bool = False,
        late: bool = False,
    ) -> None:
        """Add one call.

        Args:
            used: what the service reported.
            model: the model's name.
            pricing: how its tokens are priced, if not as the ledger would.
            estimated: tokens in as they were estimated.
            cut: the service did not tell; `used` is an estimate itself.
            late: add it when the ledger is read next; takes no lock, so a finalizer may call it anywhere.
        """
        counts = TokenCounts.of(used) if isinstance(used, Usage) else used
        priced = pricing or pricing_for(model, self._region, prices=self._prices, rate=self._rate)
        cost = priced.cost(counts)
        entry = Entry(
            calls=1,
            tokens=counts,
            cny=cost.cny or 0.0,
            usd=cost.usd or 0.0,
            unpriced=int(cost.cny is None),
            cut=int(cut),
        )
        if estimated is not None and not cut:
            entry = replace(entry, estimated=estimated, compared=counts.input)
        self._keep(model, entry, late=late)

    def record_audio(self, seconds: float, *, cost: Cost, cut: bool = False, late: bool = False) -> None:
        """Add one transcription that is billed by the second.

        Args:
            seconds: of audio.
            cost: what they cost.
            cut: the service did not tell; `seconds` is an estimate.
            late: as in `record`.
        """
        entry = Entry(
            calls=1, seconds=seconds, cny=cost.cny or 0.0, usd=cost.usd or 0.0, unpriced=int(cost.cny is None),
            cut=int(cut),
        )  # fmt: skip
        self._keep(cost.pricing.model, entry, late=late)

    def _keep(self, model: str, entry: Entry, *, late: bool) -> None:
        if late:
            self._late.append((model, entry))
            return
        with self._lock:
            self._add(model, entry)

    def _add(self, model: str, entry: Entry) -> None:
        self._entries[model] = self._entries.get(model, Entry()) + entry

    def lines(self) -> list[str]:
        """Tell it to people, a line for each model and one for all."""
        models = self.models
        told = [_line(name, entry) for name, entry in sorted(models.items())]
        return told if len(told) == 1 else [*told, _line("in all", sum(models.values(), Entry()))]

    def as_dict(self) -> dict[str, Any]:
        """Give it in plain JSON types."""
        models = {name: {**asdict(entry), "ratio": entry.ratio} for name, entry in self.models.items()}
        total = self.total
        return {"models": models, "total": {**asdict(total), "ratio": total.ratio}}

    def __deepcopy__(self, _: object) -> Self:
        return self  # copies of what fills a ledger go on filling the same one

    def __getstate__(self) -> dict[str, Any]:
        return {"region": self._region, "prices": self._prices, "rate": self._rate, "entries": self.models}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        self._region, self._prices, self._rate = state["region"], state["prices"], state["rate"]
        self._lock, self._entries, self._late = threading.Lock(), dict(state["entries"]), deque()

    def __repr__(self) -> str:
        return f"UsageLedger({'; '.join(self.lines())})"


def _line(name: str, entry: Entry) -> str:
    ratio = "" if entry.ratio is None else f", estimated at {entry.ratio:.3f} of what was billed"
    unknown = f", {entry.unpriced:,} without a known price" if entry.unpriced else ""
    cut = f", {entry.cut:,} cut" if entry.cut else ""
    heard = f"{entry.seconds:,.0f} s of audio, " if entry.seconds else ""
    return (
        f"{name}: {entry.calls:,} calls{cut}, {heard}{entry.tokens.input:,} tokens in, {entry.tokens.output:,} out, "
        f"CNY {entry.cny:.4g} = USD {entry.usd:.4g}{unknown}{ratio}"
    )
