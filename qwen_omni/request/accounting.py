"""What a request reserves, and what it finally cost.

`prepared_request` opens an account before anything is sent and reports how each attempt ended. An attempt is billed as
the service reports. Without a report, an interrupted answer counts as billed at the estimate, with what had arrived;
a request refused before any answer counts as free.
"""

import asyncio
import math
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING

from qwen_omni.errors import APIError, QwenOmniError, SpendLimitError, StreamInterruptedError
from qwen_omni.pricing.costs import Cost, TokenCounts, audio_cost, nearly
from qwen_omni.profiles import Region, TokenRules
from qwen_omni.profiles.transcription import TranscriptionProfile
from qwen_omni.request.estimate import Estimate
from qwen_omni.responses import Response, Usage
from qwen_omni.settings import Settings

if TYPE_CHECKING:
    from qwen_omni.pricing.limit import Reservation


class Account:
    """Accounts for the cost of one call, through all its attempts."""

    def __init__(self, settings: Settings, rules: TokenRules) -> None:
        self._limit, self._ledger, self._rules = settings.spend_limit, settings.ledger, rules
        self._estimate: Estimate | None = None
        self._held: Reservation | None = None
        self._came: Callable[[], Response] | None = None
        self._is_dropped: Callable[[], bool] | None = None

    @property
    def estimated_input(self) -> int | None:
        """Estimated input tokens; `None` if something about them is not known."""
        return self._estimate.input_tokens if self._estimate is not None and self._estimate.known else None

    def open(self, estimate: Estimate) -> None:
        """Reserve what the call may cost.

        Raises:
            SpendLimitError: it would exceed a limit.
            ConfigurationError: money is limited, and the price is not known.
        """
        self._estimate = estimate
        if self._limit is not None:
            self._held = self._limit.reserve(estimate)

    def begin(self, came: Callable[[], Response]) -> None:
        """Record that an attempt is about to be sent, and reserve money for it if an earlier attempt used up its share.

        Args:
            came: returns as much of the answer as has arrived; must not reference the call itself, which could then
                never be garbage-collected.
        """
        if self._limit is not None and self._estimate is not None and (self._held is None or not self._held.is_open):
            self._held = self._limit.reserve(self._estimate)
            self._watch()
        self._came = came

    def belongs_to(self, loop: asyncio.AbstractEventLoop) -> None:
        """End the call with its event loop: a closed loop runs nothing, and may keep its tasks alive."""
        self._is_dropped = _closed(loop)
        self._watch()

    def _watch(self) -> None:
        if self._held is not None and self._is_dropped is not None:
            self._held.watch(self._is_dropped, self.abandon)

    def end(self, error: QwenOmniError | None = None) -> None:
        """Record how an attempt ended, with as much of its answer as arrived; only the first report counts."""
        used = self._used(error)
        if used is not None and self._held is not None:
            self._held.settle(used[0])
        self._record(used)

    def close(self) -> None:
        """Release what is still reserved: the call is over."""
        if self._held is not None:
            self._held.release()

    def abandon(self) -> None:
        """End a call dropped unfinished, for example by a closed event loop: billed like one that was interrupted.

        Takes no lock, so it is safe in a finalizer.
        """
        used, held, self._held = self._used(None), self._held, None
        if held is not None:
            held.abandon(None if used is None else held.cost.pricing.cost(used[0]))
        self._record(used, late=True)

    def _used(self, error: QwenOmniError | None) -> tuple[TokenCounts, Response, bool] | None:
        """Return the current attempt's usage, its answer and whether that is a guess; `None` if it costs nothing."""
        answer, self._came = self._came, None
        if answer is None or (self._limit is None and self._ledger is None):
            return None
        came = answer()
        if came.usage is not None:
            return TokenCounts.of(came.usage), came, False
        return (self._guess(came), came, True) if error is None or is_billed(error, came) else None

    def _record(self, used: tuple[TokenCounts, Response, bool] | None, *, late: bool = False) -> None:
        if used is not None and self._ledger is not None and self._estimate is not None:
            counts, came, cut = used
            self._ledger.record(
                counts,
                model=came.model or self._estimate.model,
                pricing=self._estimate.cost.pricing,
                estimated=self.estimated_input,
                cut=cut,
                late=late,
            )

    def _guess(self, came: Response) -> TokenCounts:
        """Return the usage of an attempt that never finished: all of the input, and the answer as far as it arrived."""
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


class AudioAccount:
    """Accounts for the cost of one transcription, through all its submissions.

    The maximum cost is reserved before anything is uploaded. A submission that the service may have accepted counts
    as reserved until it reports seconds or tokens; one that was refused, or whose task failed, costs nothing.

    Args:
        settings: whose limit and ledger are used.
        profile: the model.
        region: whose price applies.
        seconds: duration of the audio; `None` reserves the maximum that the model accepts.
        loop: an event loop; the account ends when it is closed, since a closed loop runs nothing.
    """

    def __init__(
        self,
        settings: Settings,
        profile: TranscriptionProfile,
        region: Region | None,
        *,
        seconds: float | None,
        loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        self._settings, self._profile, self._region, self._known = settings, profile, region, seconds is not None
        self._seconds = math.ceil(profile.max_seconds if seconds is None else seconds)
        self._is_dropped = None if loop is None else _closed(loop)
        self._held: Reservation | None = None
        self._sent = False

    def open(self) -> None:
        """Reserve what a submission may cost.

        Raises:
            SpendLimitError: it would exceed a limit.
            ConfigurationError: money is limited, and the price is not known.
        """
        limit = self._settings.spend_limit
        if limit is None:
            return
        try:
            self._held = limit.reserve(self._cost(self._seconds))
        except SpendLimitError as error:
            if not self._known:
                error.with_hint(
                    f"Its duration is not known, so the maximum of {self._profile.name} is reserved: "
                    f"{self._seconds:,} s. Pass a local file, whose duration can be read."
                )
            raise
        if self._is_dropped is not None:
            self._held.watch(self._is_dropped, self.abandon)

    def sending(self) -> None:
        """Record that the submission is about to be sent: from now on it may be billed."""
        self._sent = True

    def settle(self, seconds: float | None, used: Usage | None = None) -> None:
        """Record the seconds or tokens billed (neither reported: as reserved). Only the first call counts."""
        if not self._sent:
            return
        self._sent = False
        cost = self._cost(self._seconds if seconds is None else seconds, used)
        if self._held is not None:
            self._held.settle(cost)
        self._record(seconds, cost, used)

    def release(self) -> None:
        """Record that the submission cost nothing."""
        self._sent = False
        if self._held is not None:
            self._held.release()

    def close(self) -> None:
        """End the account: a submission that may have been accepted and has no known end counts as reserved."""
        self.settle(None)
        self.release()

    def abandon(self) -> None:
        """Close it without a lock, so it is safe in a finalizer."""
        sent, self._sent = self._sent, False
        cost = self._cost(self._seconds)
        if self._held is not None:
            self._held.abandon(cost if sent else None)
        if sent:
            self._record(None, cost, late=True)

    def _record(self, seconds: float | None, cost: Cost, used: Usage | None = None, *, late: bool = False) -> None:
        if self._settings.ledger is not None:
            billed = self._seconds if seconds is None else seconds
            cut = seconds is None and used is None
            self._settings.ledger.record_audio(billed, cost=cost, used=used, cut=cut, late=late)

    def _cost(self, seconds: float, used: Usage | None = None) -> Cost:
        settings = self._settings
        return audio_cost(
            seconds, self._profile, self._region, used=used, prices=settings.prices, rate=settings.exchange_rate
        )


def _closed(loop: asyncio.AbstractEventLoop) -> Callable[[], bool]:
    found = weakref.ref(loop)
    return lambda: (there := found()) is None or there.is_closed()


def is_billed(error: QwenOmniError, came: Response) -> bool:
    """Whether a failed attempt counts as billed: only if some of the answer had arrived."""
    return came.holds_anything and isinstance(error, StreamInterruptedError | APIError)
