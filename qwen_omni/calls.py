"""One request on its way: its media delivered, its body written, and what happens to it when it fails.

Decides between repeating, repairing a link and giving up. The client sends what `call` holds, and waits as told.
Blocks while media are read and uploaded; asynchronous callers use `asyncio.to_thread`.
"""

import asyncio
import contextlib
import re
from dataclasses import replace
from typing import Self
from urllib.parse import urlsplit

from qwen_omni.delivery.body import RequestBody
from qwen_omni.delivery.carry import Carrier
from qwen_omni.delivery.deliver import deliver
from qwen_omni.delivery.delivered import Delivered
from qwen_omni.delivery.hints import hint_for
from qwen_omni.delivery.links import is_private_host
from qwen_omni.errors import DeliveryError, MediaDownloadTimeoutError, MediaRefusedError, QwenOmniError
from qwen_omni.http import Call
from qwen_omni.media.source import MediaSource
from qwen_omni.options import ChatRequest
from qwen_omni.profiles import Profile, profile_for
from qwen_omni.retry import Attempts, RetryPolicy
from qwen_omni.settings import Settings
from qwen_omni.wire.request import encode_headers, encode_request

# How the service says that it found nothing behind a link (Model Studio, error codes, spring 2026).
_GONE = re.compile(r"authorization to access the media|(failed|unable) to download|url does not appear", re.IGNORECASE)


class Outgoing:
    """A request, ready to be sent and to be sent again."""

    def __init__(self, request: ChatRequest, settings: Settings, carrier: Carrier) -> None:
        """Bring the media of a request to where the service finds them, and write the request.

        Raises:
            MediaError: a piece of media is missing, damaged, not allowed, or breaks a limit of the model.
            DeliveryError: media could not be brought to the service.
            ConfigurationError: options exclude each other or the model.
            UnsupportedContentError: a message holds something that has no place there.
        """
        self._settings, self._carrier = settings, carrier
        self._profile = profile_for(request.model)
        self._attempts = Attempts(RetryPolicy(max_retries=settings.max_retries, first_wait=settings.retry_wait))
        self._repaired = False
        # What is wrong with the request itself shows before a file is opened.
        encode_request(request, self._profile, _nowhere, settings.dialect_used)
        delivery = deliver(
            request.messages,
            self._profile,
            media_root=settings.media_root,
            allow_private_urls=is_private_host(urlsplit(settings.base_url).hostname or ""),
            carrier=carrier,
            model=request.model,
            uplink_mbps=settings.uplink_mbps,
        )
        self._request = replace(request, messages=delivery.messages)
        self._delivered = delivery.media
        self.call = self._written(self._profile)

    def failed(self, error: QwenOmniError, *, shown: bool = False) -> float:
        """Give the seconds to wait before the next try, whose links work again; raise the error if it is final.

        A link that the service could not follow is repaired once, if there is anything to repair.
        """
        gone = isinstance(error, MediaRefusedError) and bool(_GONE.search(str(error)))
        if gone and not shown and not self._repaired and self._renew(gone=True):
            self._repaired = True
            return 0.0
        if isinstance(error, MediaRefusedError | MediaDownloadTimeoutError):
            hint = hint_for(tuple(self._delivered.values()))
            error = error.with_hint(hint) if hint else error
        wait = self._attempts.failed(error, shown=shown)
        self._renew(gone=False)
        return wait

    def done(self) -> None:
        """Delete what was uploaded for this request alone. Never raises: the answer is there."""
        for delivered in self._delivered.values():
            with contextlib.suppress(DeliveryError):
                self._carrier.release(delivered)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.done()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._carrier.deletes:
            await asyncio.to_thread(self.done)

    def _renew(self, *, gone: bool) -> bool:
        """Repair links; tells whether anything changed."""
        renewed = {
            source: self._carrier.renewed(delivered, model=self._request.model, gone=gone)
            for source, delivered in self._delivered.items()
        }
        if all(renewed[source] is delivered for source, delivered in self._delivered.items()):
            return False
        self._delivered = renewed
        self.call = self._written(self._profile)
        return True

    def _written(self, profile: Profile) -> Call:
        body = encode_request(self._request, profile, self._delivered.__getitem__, self._settings.dialect_used)
        headers = encode_headers(self._request, tuple(self._delivered.values()))
        return Call(body=RequestBody(body), headers=headers)


def _nowhere(_: MediaSource) -> Delivered:
    return Delivered()
