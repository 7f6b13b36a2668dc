"""The account of one call: what was set aside for it, and what it turned out to cost.

`calls.Outgoing` opens it before anything is sent and tells it how each try ends. Decides who pays what; asks nobody.

A try is billed as the service reports. Where it reports nothing: an answer that broke off is taken to be billed as
estimated, with what had come of the answer; a request that was refused before any answer is taken to be free.
"""

import asyncio
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING

from qwen_omni.errors import APIError, QwenOmniError, StreamInterruptedError
from qwen_omni.profiles import TokenRules
from qwen_omni.responses import Response
from qwen_omni.settings import Settings
from qwen_omni.spend.costs import TokenCounts
from qwen_omni.spend.estimates import Estimate
from qwen_omni.spend.words import nearly

if TYPE_CHECKING:
    from qwen_omni.spend.limit import Reservation


class Account:
    """Keeps the books of one call, through all its tries."""

    def __init__(self, settings: Settings, rules: TokenRules) -> None:
        self._limit, self._ledger, self._rules = settings.spend_limit, settings.ledger, rules
        self._estimate: Estimate | None = None
        self._held: Reservation | None = None
        self._came: Callable[[], Response] | None = None
        self._is_dropped: Callable[[], bool] | None = None

    @property
    def estimated_input(self) -> int | None:
        """Tokens in as estimated; `None` where something about them is not known."""
        return self._estimate.input_tokens if self._estimate is not None and self._estimate.known else None

    def open(self, estimate: Estimate) -> None:
        """Set aside what the call may cost.

        Raises:
            SpendLimitError: it may not cost so much.
            ConfigurationError: money is limited, and the price is not known.
        """
        self._estimate = estimate
        if self._limit is not None:
            self._held = self._limit.reserve(estimate)

    def begin(self, came: Callable[[], Response]) -> None:
        """Note that a try is about to be sent, and set money aside for it if an earlier one used up its own.

        Args:
            came: gives as much of the answer as has come; it must not hold the call itself, which would never be
                collected then.
        """
        if self._limit is not None and self._estimate is not None and (self._held is None or not self._held.is_open):
            self._held = self._limit.reserve(self._estimate)
            self._watch()
        self._came = came

    def belongs_to(self, loop: asyncio.AbstractEventLoop) -> None:
        """End the call with its event loop: one that is closed runs nothing any more, and may keep its tasks."""
        found = weakref.ref(loop)
        self._is_dropped = lambda: (there := found()) is None or there.is_closed()
        self._watch()

    def _watch(self) -> None:
        if self._held is not None and self._is_dropped is not None:
            self._held.watch(self._is_dropped, self.abandon)

    def end(self, error: QwenOmniError | None = None) -> None:
        """Note how a try ended, with as much of its answer as came; only the first word about a try counts."""
        used = self._used(error)
        if used is None or self._estimate is None:
            return
        counts, came, cut = used
        if self._held is not None:
            self._held.settle(counts)
        self._record(counts, came, cut=cut)

    def close(self) -> None:
        """Give back what is still set aside: the call is over."""
        if self._held is not None:
            self._held.release()

    def abandon(self) -> None:
        """End a call that was dropped unfinished, as a closed event loop does: billed like one that was left early.

        Takes no lock, so that a finalizer may call it anywhere.
        """
        used, held, self._held = self._used(None), self._held, None
        if held is not None:
            held.abandon(None if used is None else held.cost.pricing.cost(used[0]))
        if used is not None and self._estimate is not None:
            self._record(used[0], used[1], cut=used[2], late=True)

    def _used(self, error: QwenOmniError | None) -> tuple[TokenCounts, Response, bool] | None:
        """Return what the running try used, its answer and whether that is a guess; `None` if it costs nothing."""
        answer, self._came = self._came, None
        if answer is None or (self._limit is None and self._ledger is None):
            return None
        came = answer()
        if came.usage is not None:
            return TokenCounts.of(came.usage), came, False
        return (self._guess(came), came, True) if error is None or _is_billed(error, came) else None

    def _record(self, counts: TokenCounts, came: Response, *, cut: bool, late: bool = False) -> None:
        if self._ledger is not None and self._estimate is not None:
            self._ledger.record(
                counts,
                model=came.model or self._estimate.model,
                pricing=self._estimate.cost.pricing,
                estimated=self.estimated_input,
                cut=cut,
                late=late,
            )

    def _guess(self, came: Response) -> TokenCounts:
        """Tell what a try used whose end never came: everything in, and as much of the answer as arrived."""
        assert self._estimate is not None
        into = self._estimate.tokens
        seconds = len(came.audio) / 2 / came.sample_rate
        called = sum(nearly(call.name + call.arguments, self._rules.vocabulary) for call in came.tool_calls)
        return TokenCounts(
            text=into.text,
            image=into.image,
            video=into.video,
            audio=into.audio,
            text_out=nearly(came.text, self._rules.vocabulary) + called,
            thinking_out=nearly(came.thinking, self._rules.vocabulary),
            audio_out=round(seconds * (self._rules.audio_out or 0)),
        )


def _is_billed(error: QwenOmniError, came: Response) -> bool:
    """Tell whether a try that failed is taken to be billed: only if something of an answer had come."""
    answered = bool(came.text or came.thinking or came.audio or came.tool_calls)
    return answered and isinstance(error, StreamInterruptedError | APIError)
