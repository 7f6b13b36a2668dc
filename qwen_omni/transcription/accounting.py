"""What a transcription reserves, and what it finally cost."""

import asyncio
import math

from qwen_omni.errors import SpendLimitError
from qwen_omni.pricing.costs import Cost, audio_cost
from qwen_omni.pricing.limit import Reservation, closed
from qwen_omni.profiles import Region
from qwen_omni.profiles.transcription import TranscriptionProfile
from qwen_omni.responses import Usage
from qwen_omni.settings import Settings


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
        self._is_dropped = None if loop is None else closed(loop)
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
