"""What calls actually used and cost, totalled by model, next to the estimates."""

import threading
from collections import deque
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Self

from qwen_omni._moved import warn
from qwen_omni.pricing.costs import Cost, PriceOverride, Pricing, TokenCounts, pricing_for
from qwen_omni.profiles import USUAL_RATE, ExchangeRate, Region
from qwen_omni.responses import Usage


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """Usage of the calls of one model, or of all models.

    Attributes:
        calls: number of billed calls.
        tokens: reported usage, by kind.
        cny: yuan, for calls whose price is known.
        usd: dollars, for calls whose price is known.
        unpriced: calls whose price is not known.
        cut: calls interrupted before the service reported their usage; they count as estimated.
        estimated: estimated input tokens of the calls that had an estimate.
        compared: billed input tokens of the same calls.
        seconds: seconds of audio in transcriptions; those billed by the second report no tokens.
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
        """Estimated over billed input tokens; 1 is exact, `None` if nothing was estimated."""
        return self.estimated / self.compared if self.compared else None

    def __add__(self, other: "Entry") -> "Entry":
        return Entry(**{name: getattr(self, name) + getattr(other, name) for name in self.__slots__})


class UsageLedger:
    """Adds up usage and cost of calls. Safe to share between threads, clients and frameworks.

    A pickled ledger is independent in the other process and continues from the totals so far.

    Pass it as `Settings.ledger`, or let a framework callback fill it; not both, or calls count twice.

    Args:
        region: whose price list applies to calls that bring none of their own.
        prices: the caller's own prices.
        rate: yuan per dollar.

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
        """Usage so far, by model."""
        with self._lock:
            while self._late:
                self._add(*self._late.popleft())
            return dict(self._entries)

    @property
    def total(self) -> Entry:
        """Usage so far, all models together."""
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
            used: usage reported by the service.
            model: the model's name.
            pricing: prices of its tokens, if they differ from the ledger's.
            estimated: estimated input tokens.
            cut: the service reported no usage; `used` is an estimate itself.
            late: add it when the ledger is next read; takes no lock, so it is safe in a finalizer.
        """
        counts = TokenCounts.of(used) if isinstance(used, Usage) else used
        priced = pricing or pricing_for(model, self._region, prices=self._prices, rate=self._rate)
        entry = replace(_entry(priced.cost(counts), cut=cut), tokens=counts)
        if estimated is not None and not cut:
            entry = replace(entry, estimated=estimated, compared=counts.input)
        self._keep(model, entry, late=late)

    def record_audio(
        self, seconds: float, *, cost: Cost, used: Usage | None = None, cut: bool = False, late: bool = False
    ) -> None:
        """Add one transcription.

        Args:
            seconds: seconds of audio.
            cost: what they cost.
            used: usage reported in tokens, by the models that are billed by token.
            cut: the service reported no duration; `seconds` is an estimate.
            late: as in `record`.
        """
        tokens = TokenCounts() if used is None else TokenCounts.of(used)
        self._keep(cost.pricing.model, replace(_entry(cost, cut=cut), seconds=seconds, tokens=tokens), late=late)

    def add(self, other: "UsageLedger") -> None:
        """Add everything that another ledger has recorded."""
        for model, entry in other.models.items():
            self._keep(model, entry, late=False)

    def _keep(self, model: str, entry: Entry, *, late: bool) -> None:
        if late:
            self._late.append((model, entry))
            return
        with self._lock:
            self._add(model, entry)

    def _add(self, model: str, entry: Entry) -> None:
        self._entries[model] = self._entries.get(model, Entry()) + entry

    def __str__(self) -> str:
        """Return a readable summary: a line per model and one for the total."""
        return "\n".join(self._lines())

    def lines(self) -> list[str]:
        """Return the summary line by line; the old name of `str()`."""
        warn("UsageLedger.lines()", "str()")
        return self._lines()

    def _lines(self) -> list[str]:
        models = self.models
        lines = [_line(name, entry) for name, entry in sorted(models.items())]
        return lines if len(lines) == 1 else [*lines, _line("in all", sum(models.values(), Entry()))]

    def as_dict(self) -> dict[str, Any]:
        """Return the ledger in plain JSON types."""
        models = {name: {**asdict(entry), "ratio": entry.ratio} for name, entry in self.models.items()}
        total = self.total
        return {"models": models, "total": {**asdict(total), "ratio": total.ratio}}

    def __deepcopy__(self, _: object) -> Self:
        return self  # copies of its owner keep filling the same ledger

    def __getstate__(self) -> dict[str, Any]:
        return {"region": self._region, "prices": self._prices, "rate": self._rate, "entries": self.models}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        self._region, self._prices, self._rate = state["region"], state["prices"], state["rate"]
        self._lock, self._entries, self._late = threading.Lock(), dict(state["entries"]), deque()

    def __repr__(self) -> str:
        return f"UsageLedger({'; '.join(self._lines())})"


def _entry(cost: Cost, *, cut: bool) -> Entry:
    """Return the entry of one call, without what was used."""
    return Entry(calls=1, cny=cost.cny or 0.0, usd=cost.usd or 0.0, unpriced=int(cost.cny is None), cut=int(cut))


def _line(name: str, entry: Entry) -> str:
    ratio = "" if entry.ratio is None else f", estimated at {entry.ratio:.3f} of what was billed"
    unknown = f", {entry.unpriced:,} without a known price" if entry.unpriced else ""
    cut = f", {entry.cut:,} cut" if entry.cut else ""
    audio = f"{entry.seconds:,.0f} s of audio, " if entry.seconds else ""
    cached = f" ({entry.tokens.cached:,} cached)" if entry.tokens.cached else ""
    return (
        f"{name}: {entry.calls:,} calls{cut}, {audio}{entry.tokens.input:,} tokens in{cached}, "
        f"{entry.tokens.output:,} out, "
        f"CNY {entry.cny:.4g} = USD {entry.usd:.4g}{unknown}{ratio}"
    )
