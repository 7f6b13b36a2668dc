"""One request: its media uploaded, its body encoded, and what happens when it fails.

Decides between retrying, repairing a link and giving up. The client sends what `call` holds, and waits as instructed.
Blocks while media are read and uploaded; asynchronous callers use `asyncio.to_thread`.
"""

import asyncio
import contextlib
import re
import threading
import warnings
import weakref
from dataclasses import replace
from typing import TYPE_CHECKING, Self

from qwen_omni.errors import ContentFilterError, MediaDownloadTimeoutError, MediaRefusedError, QwenOmniError
from qwen_omni.media.files.deadline import Deadline
from qwen_omni.options import ChatRequest
from qwen_omni.profiles import profile_for
from qwen_omni.request.accounting import Account
from qwen_omni.request.body import RequestBody
from qwen_omni.request.estimator import estimate_fitted
from qwen_omni.request.prepare import check_media, fit_media, upload_media
from qwen_omni.settings import Settings
from qwen_omni.transport.chat import HttpCall
from qwen_omni.transport.retry import Attempts, RetryPolicy
from qwen_omni.upload.hints import hint_for
from qwen_omni.upload.uploader import Uploader
from qwen_omni.wire.request import draft_request, encode_headers, notices
from qwen_omni.wire.stream import StreamState
from qwen_omni.wire.vllm import unopened_tags

if TYPE_CHECKING:
    from qwen_omni.media.source import MediaSource
    from qwen_omni.messages import MediaPayload

# How the service reports that it found nothing at a link (Model Studio, error codes, spring 2026).
_GONE = re.compile(r"authorization to access the media|(failed|unable) to download|url does not appear", re.IGNORECASE)


# The model's output is inspected as well; how media was sent is irrelevant there.
_ANSWER_INSPECTED = re.compile(r"output( text)? data", re.IGNORECASE)


class PreparedRequest:
    """A request, ready to be sent and retried. Its maximum cost is reserved before anything is sent."""

    def __init__(self, request: ChatRequest, settings: Settings, uploader: Uploader) -> None:
        """Upload the media of a request, and encode the request.

        Raises:
            MediaError: a piece of media is missing, damaged, not allowed, or breaks a limit of the model.
            DeliveryError: media could not be uploaded.
            ConfigurationError: options exclude each other or the model.
            UnsupportedContentError: a message holds content that it cannot hold.
            SpendLimitError: it would cost more than `settings.spend_limit` allows; nothing was uploaded.
        """
        self._settings, self._uploader, self._request = settings, uploader, request
        self._profile = profile_for(request.model)
        self._account = Account(settings, self._profile.tokens)
        # An event loop that is closed drops its generators without running their `finally`.
        self._dropped = weakref.finalize(self, Account.abandon, self._account)
        self._dropped.atexit = False
        self._state = self._new_state()
        self._attempts = Attempts(RetryPolicy(max_retries=settings.max_retries, first_wait=settings.retry_wait))
        self._repaired = False
        self._delivered: dict[MediaSource, MediaPayload] = {}
        try:
            self._prepare(request)
            for notice in notices(self._request, self._profile, self._delivered.__getitem__, settings.dialect_used):
                warnings.warn(notice, UserWarning, stacklevel=2)
        except BaseException:
            self._account.close()
            self._release()
            raise

    def _prepare(self, request: ChatRequest) -> None:
        """Check, fit, reserve, upload and encode: problems show before a file is opened, or a byte sent."""
        profile, settings = self._profile, self._settings
        self._draft = draft_request(request, profile, settings.dialect_used)
        check_media(request, profile, settings)
        fitted = fit_media(request, profile, settings)
        self._account.open(estimate_fitted(request, fitted, settings))
        self._delivered = upload_media(fitted, self._uploader, request.model)
        self._request = replace(request, messages=fitted.messages)
        self._parts, self._sent = fitted.parts, fitted.sent
        self.call = self._encoded()

    def _new_state(self) -> StreamState:
        settings = self._settings
        unopened = unopened_tags(self._request) if settings.dialect_used == "vllm" else "text"
        return StreamState(max_answer_bytes=settings.max_answer_bytes, unopened_thinking=unopened)

    @property
    def stored(self) -> bool:
        """Whether its media are in a store, so that their links can expire."""
        return any(delivered.upload is not None for delivered in self._delivered.values())

    def once(self) -> Self:
        """Disable retries: the caller retries by itself."""
        self._attempts = Attempts(RetryPolicy(max_retries=0))
        return self

    def freshen(self) -> None:
        """Renew links that expire soon: the request may have waited for its turn. May request a key, and take long."""
        self._renew(gone=False)

    def begin(self) -> StreamState:
        """Return the state that reads the next attempt's answer.

        Raises:
            SpendLimitError: an earlier attempt used up what was reserved, and nothing is left for another.
        """
        state = self._new_state()
        self._account.begin(lambda: state.response)
        self._state = state
        self._state.estimated_input = self._account.estimated_input
        self._state.media = self._sent
        return self._state

    def failed(self, error: QwenOmniError, *, shown: bool = False) -> float:
        """Return the seconds to wait before the next attempt, with working links; raise the error if it is final.

        A link that the service could not fetch is repaired once, if it can be repaired.
        """
        self._account.end(error)
        gone = isinstance(error, MediaRefusedError) and bool(_GONE.search(str(error)))
        if gone and not shown and not self._repaired and self._renew(gone=True):
            self._repaired = True
            return 0.0
        if _is_about_media(error):
            hint = hint_for(tuple(self._delivered.values()))
            error = error.with_hint(hint) if hint else error
        wait = self._attempts.failed(error, shown=shown)
        self._renew(gone=False)
        return wait

    @property
    def deletes(self) -> bool:
        """Whether `done` has something to do."""
        return self._uploader.deletes

    def done(self) -> None:
        """Delete what was uploaded for this request only. Never raises: the answer is there. May be called again."""
        self.settle()
        self._release()

    def belongs_to(self, loop: asyncio.AbstractEventLoop) -> None:
        """Close the account when `loop` is closed, whatever becomes of the call."""
        self._account.belongs_to(loop)

    def settle(self) -> None:
        """Close the account. An answer that its reader left early is billed by what had arrived."""
        try:
            self._account.end()
        finally:
            self._account.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.done()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: object, *_: object) -> None:
        self.settle()
        if not self.deletes:
            return
        if kind is GeneratorExit:  # dropped, perhaps by a closed loop: nothing can be awaited now
            threading.Thread(target=self._release).start()
        else:
            await asyncio.to_thread(self._release)

    def _release(self) -> None:
        media, self._delivered = self._delivered, {}
        for delivered in media.values():
            with contextlib.suppress(QwenOmniError):
                self._uploader.release(delivered)

    def _renew(self, *, gone: bool) -> bool:
        """Repair links; return whether anything changed."""
        renewed = {
            source: self._uploader.renewed(delivered, model=self._request.model, gone=gone)
            for source, delivered in self._delivered.items()
        }
        if all(renewed[source] is delivered for source, delivered in self._delivered.items()):
            return False
        self._delivered = renewed
        self.call = self._encoded()
        return True

    def _encoded(self) -> HttpCall:
        body = self._draft.body(self._parts, self._delivered.__getitem__)
        headers = encode_headers(self._request, tuple(self._delivered.values()))
        return HttpCall(body=RequestBody(body), headers=headers)


def _is_about_media(error: QwenOmniError) -> bool:
    if isinstance(error, ContentFilterError):
        return not _ANSWER_INSPECTED.search(str(error))
    return isinstance(error, MediaRefusedError | MediaDownloadTimeoutError)


class RequestPreparation:
    """A `PreparedRequest` made in a thread, for a caller who may stop waiting: nothing is left behind then."""

    def __init__(self, request: ChatRequest, settings: Settings, uploader: Uploader) -> None:
        self._arguments = request, settings, uploader
        self._lock = threading.Lock()
        self._unwanted = False
        self._made: PreparedRequest | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    async def ready(self) -> PreparedRequest:
        """Return it; raises as `PreparedRequest` does. If it is no longer awaited, encoding ends at the next packet."""
        self._loop = asyncio.get_running_loop()
        try:
            with Deadline().governing():
                return await asyncio.to_thread(self._make)
        except asyncio.CancelledError:
            with self._lock:
                self._unwanted, made = True, self._made
            if made is not None:
                made.settle()
            if made is not None and made.deletes:
                threading.Thread(target=made.done).start()  # the loop may be ending, and its threads with it
            raise

    def _make(self) -> PreparedRequest:
        made = PreparedRequest(*self._arguments)
        if self._loop is not None:
            made.belongs_to(self._loop)
        with self._lock:
            self._made, unwanted = made, self._unwanted
        if unwanted:
            made.done()
        return made
