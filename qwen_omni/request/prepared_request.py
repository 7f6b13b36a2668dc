"""One request: its media uploaded, its body encoded, its cost, and what happens when it fails.

Decides between retrying, repairing a link and giving up. The client sends what `call` holds, and waits as instructed.
Blocks while media are read and uploaded; asynchronous callers use `asyncio.to_thread`.
"""

import asyncio
import base64
import contextlib
import json
import re
import secrets
import threading
import time
import warnings
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self

from qwen_omni.addresses import Server, long_enough, names_seconds, remember_refusal
from qwen_omni.errors import (
    APIError,
    ConfigurationError,
    ContentFilterError,
    MediaDownloadTimeoutError,
    MediaRefusedError,
    NotFoundError,
    QwenOmniError,
    RateLimitError,
    StreamInterruptedError,
    UnsupportedContentError,
    UnsupportedMediaError,
)
from qwen_omni.media.files.safe_open import read_blocks, resolve_local
from qwen_omni.media.info import linked_format
from qwen_omni.media.prepare import Prepared
from qwen_omni.media.source import MediaSource
from qwen_omni.media.work import Deadline
from qwen_omni.messages import (
    AudioPart,
    FramesPart,
    MediaPart,
    MediaPayload,
    Message,
    Part,
    Route,
    VideoPart,
    encoded_size,
    media_of,
    media_parts,
)
from qwen_omni.options import ChatRequest
from qwen_omni.pricing.costs import TokenCounts, nearly
from qwen_omni.pricing.limit import Reservation, closed
from qwen_omni.profiles import Profile, TokenRules
from qwen_omni.request.estimate import Estimate, EstimatedCall, check_call_tier, too_slow
from qwen_omni.request.fit import (
    Fitted,
    Fitter,
    audio_track_of,
    check_conversation,
    check_inline,
    check_model,
    instead_of,
    is_whole,
    sent_as,
)
from qwen_omni.request.media_estimate import MediaEstimator
from qwen_omni.responses import Response, SentMedia
from qwen_omni.settings import Settings
from qwen_omni.transport.api import find_server
from qwen_omni.transport.chat import HttpCall
from qwen_omni.transport.rate_limit import Pace, limiter_of
from qwen_omni.transport.retry import Attempts, RetryPolicy
from qwen_omni.upload.uploader import AvailableRoutes, Uploader, choose_file, choose_route, hint_for, is_link, routes_of
from qwen_omni.wire.errors import as_batch_timeout
from qwen_omni.wire.request import draft_request, encode_headers, notices
from qwen_omni.wire.stream import StreamState
from qwen_omni.wire.vllm import is_about_kwargs, kwargs_hint, unopened_tags

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
            ConfigurationError: options conflict with each other or with the model.
            NotFoundError: the service has retired the model.
            UnsupportedContentError: a message holds content that it cannot hold.
            SpendLimitError: it would cost more than `settings.spend_limit` allows; nothing was uploaded.
        """
        check_model(request.model, settings.base_url)
        check_call_tier(request, settings)  # before the server is asked what it is
        self._settings, self._uploader, self._request = settings, uploader, request
        known = settings.knows_server
        self._server = settings.server_of(request.model) if known else find_server(settings, request.model)
        self._profile = settings.profile(request.model)
        self._batch = settings.tier_of(request.options.tier) == "batch"
        self._begun = 0.0
        self._account = Account(settings, self._profile.tokens)
        # An event loop that is closed drops its generators without running their `finally`.
        self._dropped = weakref.finalize(self, Account.abandon, self._account)
        self._dropped.atexit = False
        self._retry = uploader.retry
        self._attempts: Attempts | None = None
        self._pace: Pace | None = None
        self._state: StreamState | None = None
        self._repaired = False
        self._delivered: dict[MediaSource, MediaPayload] = {}
        try:
            self._prepare(request)
            for notice in notices(self._request, self._profile, self._delivered.__getitem__, self._server):
                warnings.warn(notice, UserWarning, stacklevel=2)
        except BaseException:
            self._account.close()
            self._release()
            raise

    def _prepare(self, request: ChatRequest) -> None:
        """Check, fit, reserve, upload and encode: problems show before a file is opened, or a byte sent."""
        self._draft = draft_request(request, self._profile, self._server)
        fitted = FittedMedia(messages=request.messages)
        if found := media_parts(request.messages):
            media = Fitting(request=request, found=found, profile=self._profile, settings=self._settings)
            media.check()
            fitted = media.fit()
        estimate = estimate_fitted(request, fitted, self._settings)
        self._account.open(estimate)
        limits = None if self._batch else self._settings.rate_limits(request.model, request.limits)
        if limits is not None:
            self._pace = Pace(limiter_of(self._settings, request.model), limits, estimate.tokens.total)
        slow = too_slow(estimate, self._settings)
        for notice in (self._pace and self._pace.notice, slow and f"{slow[0].upper()}{slow[1:]}."):
            if notice:
                warnings.warn(notice, UserWarning, stacklevel=2)
        self._delivered = upload_media(fitted, self._uploader, request.model)
        self._request = replace(request, messages=fitted.messages)
        self._parts, self._sent = fitted.parts, fitted.sent
        self.call = self._encoded()

    @property
    def stored(self) -> bool:
        """Whether its media are in a store, so that their links can expire."""
        return any(delivered.upload is not None for delivered in self._delivered.values())

    def once(self) -> Self:
        """Disable retries: the caller retries by itself."""
        self._retry = RetryPolicy(max_retries=0)
        return self

    def freshen(self) -> None:
        """Renew links that expire soon: the request may have waited for its turn. May request credentials."""
        self._renew(gone=False)

    def waits(self) -> Iterator[float]:
        """Yield the seconds to wait, one after the other, until the next attempt is within the rate limits.

        Raises:
            StoppedError: the run that the request belongs to was stopped.
        """
        return iter(()) if self._pace is None else self._pace.waits()

    def begin(self) -> StreamState:
        """Return the state that reads the next attempt's answer.

        Raises:
            SpendLimitError: an earlier attempt used up what was reserved, and nothing is left for another.
        """
        unopened = unopened_tags(self._request) if self._server.dialect == "vllm" else "text"
        state = StreamState(max_answer_bytes=self._settings.max_answer_bytes, unopened_thinking=unopened)
        self._account.begin(lambda: state.response)
        state.estimated_input, state.media = self._account.estimated_input, self._sent
        self._state, self._begun = state, time.monotonic()
        return state

    def failed(self, error: QwenOmniError, *, shown: bool = False) -> float:
        """Return the seconds to wait before the next attempt, with working links; raise the error if it is final.

        A link that the service could not fetch is repaired once, if it can be repaired.
        """
        if self._batch and self._state is not None and not self._state.response.holds_anything:
            error = as_batch_timeout(error, time.monotonic() - self._begun)
        error.without((*self._settings.secrets, *long_enough(self._request.options.extra_headers.values())))
        self._end(error)
        gone = isinstance(error, MediaRefusedError) and bool(_GONE.search(str(error)))
        if gone and not shown and not self._repaired and self._renew(gone=True):
            self._repaired = True
            return 0.0
        if _is_about_media(error):
            hint = hint_for(tuple(self._delivered.values()))
            error = error.with_hint(hint) if hint else error
        if isinstance(error, NotFoundError) and (hint := instead_of(self._request.model)):
            error = error.with_hint(hint)
        if self._server.dialect == "vllm" and is_about_kwargs(str(error)):
            remember_refusal(self._settings.base_url, self._server)
            error = error.with_hint(kwargs_hint(self._server))
        self._attempts = self._attempts or Attempts(self._retry)
        wait = self._attempts.failed(error, shown=shown)
        if self._pace is not None and isinstance(error, RateLimitError):
            self._pace.hold(wait)
        self._renew(gone=False)
        return wait

    @property
    def deletes(self) -> bool:
        """Whether `done` has something to do."""
        return self._uploader.deletes

    def done(self) -> None:
        """Delete what was uploaded for this request only. Never raises: the answer has arrived. May be called again."""
        self.settle()
        self._release()

    def belongs_to(self, loop: asyncio.AbstractEventLoop) -> None:
        """Close the account when `loop` is closed, whatever becomes of the call."""
        self._account.belongs_to(loop)

    def settle(self) -> None:
        """Close the account. An answer that its reader left early is billed by what had arrived."""
        try:
            self._end()
        finally:
            self._account.close()

    def _end(self, error: QwenOmniError | None = None) -> None:
        """Record how an attempt ended: what it cost, and what it used of the rate limits."""
        state, self._state = self._state, None
        self._account.end(error)
        if self._pace is None:
            return
        if state is None:
            self._pace.give_up()
            return
        came = state.response
        refused = error is not None and not is_billed(error, came)
        self._pace.end(came.usage.total_tokens if came.usage is not None else 0 if refused else None)

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
        release_media(media, self._uploader)

    def _renew(self, *, gone: bool) -> bool:
        """Repair links; return whether anything changed."""
        renewed = {
            source: now
            for source, delivered in self._delivered.items()
            if (now := self._uploader.renewed(delivered, model=self._request.model, gone=gone)) is not delivered
        }
        if not renewed:
            return False
        self._delivered |= renewed
        self.call = self._encoded()
        return True

    def _encoded(self) -> HttpCall:
        body = self._draft.body(self._parts, self._delivered.__getitem__)
        settings, media = self._settings, tuple(self._delivered.values())
        headers = encode_headers(self._request, media, burst_wait=settings.burst_seconds, usual=settings.headers)
        return HttpCall(body=RequestBody(body), headers=headers, batch=self._batch)


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


# --- What a call reserves, and what it finally costs ---


class Account:
    """Accounts for the cost of one call, through all its attempts.

    An attempt is billed as the service reports. Without a report, an interrupted answer counts as billed at the
    estimate, with what had arrived; a request refused before any answer counts as free.
    """

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
        self._is_dropped = closed(loop)
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


def is_billed(error: QwenOmniError, came: Response) -> bool:
    """Whether a failed attempt counts as billed: only if some of the answer had arrived."""
    return came.holds_anything and isinstance(error, StreamInterruptedError | APIError)


# --- The media of a request: check, fit, upload ---


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadyMedia:
    """Media that passed every check, with its route; `name` is its place and label."""

    ready: MediaPayload
    route: Route
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FittedMedia:
    """A conversation whose media fit and are checked. None of it has left this machine.

    Attributes:
        messages: as they are sent.
        parts: what each media part is sent as, in order.
        media: the media of these parts.
        sent: what each piece of media became, in order.
        fitter: what made them fit; `None` without media.
    """

    messages: tuple[Message, ...]
    parts: tuple[tuple[MediaPart, ...], ...] = ()
    media: dict[MediaSource, ReadyMedia] = field(default_factory=dict)
    sent: tuple[SentMedia, ...] = ()
    fitter: Fitter | None = None


def estimate_fitted(request: ChatRequest, fitted: FittedMedia, settings: Settings) -> Estimate:
    """Return what a call whose media are checked, fitted and about to be sent will use and cost.

    Its text is counted approximately, even if a vocabulary is installed: no call waits for one to load.
    """
    sent = replace(request, messages=fitted.messages)
    call = EstimatedCall(sent, settings, exact_text=False)
    if fitted.fitter is None:
        return call.estimate((), None)
    ready = {source: one.ready.held for source, one in fitted.media.items() if isinstance(one.ready.held, Prepared)}
    routes = {source: one.route for source, one in fitted.media.items()}
    estimator = MediaEstimator(request=sent, settings=settings, fitter=fitted.fitter, ready=ready, chosen=routes)
    return call.estimate(estimator.estimate_all(), None)


def upload_media(fitted: FittedMedia, uploader: Uploader, model: str) -> dict[MediaSource, MediaPayload]:
    """Upload all media where the service can read them; if one fails, what was uploaded for this request is deleted.

    Raises:
        UnreadableMediaError: a file is gone, or changed since it was inspected.
        DeliveryError: a store refused, or could not be reached.
    """
    media: dict[MediaSource, MediaPayload] = {}
    try:
        for source, one in fitted.media.items():
            media[source] = uploader.carry(one.ready, one.route, model=model, name=one.name)
    except BaseException:
        release_media(media, uploader)
        raise
    return media


def release_media(media: Mapping[MediaSource, MediaPayload], uploader: Uploader) -> None:
    """Delete what was uploaded for one request only; errors are ignored."""
    for delivered in media.values():
        with contextlib.suppress(QwenOmniError):
            uploader.release(delivered)


@dataclass(slots=True, kw_only=True)
class Fitting:
    """The media of one request: checked, then made to fit, one part after another."""

    request: ChatRequest
    found: Sequence[tuple[str, MediaPart]]
    profile: Profile
    settings: Settings
    _routes: AvailableRoutes = field(init=False)
    _fitter: Fitter = field(init=False)
    _server: Server = field(init=False)
    _media: dict[MediaSource, ReadyMedia] = field(default_factory=dict)
    _inside: list[tuple[str, MediaPart]] = field(default_factory=list)  # parts that are sent inside the request
    _sent: list[SentMedia] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._routes = routes_of(self.settings, self.profile)
        self._fitter = Fitter.of(self.request, self.profile, self.settings, self._routes)
        self._server = self.settings.server_of(self.request.model)

    def check(self) -> None:
        """Check what needs no open file: where the paths lead, which media the model takes, and how many.

        Raises:
            MediaOutsideRootError: a path leads out of `media_root`.
            UnsupportedMediaError: the model does not take this kind, or this mixture.
            MediaDoesNotFitError: too many of a kind.
        """
        for place, part in self.found:
            for source in media_of(part):
                if source.kind == "path":
                    resolve_local(source, self.settings.media_root, name=f"{place}: {source.label}")
        check_conversation(self.request.messages, self.profile, stores=self._routes.stores)

    def fit(self) -> FittedMedia:
        """Make every piece of media fit its budget, check it against the model, and choose its route. Sends nothing.

        Blocks while files are read and encoded; asynchronous callers use `asyncio.to_thread`.

        Raises:
            UnreadableMediaError: a file is missing, empty, damaged or not media.
            UnsupportedMediaError: the model or the service does not take this kind.
            MediaDoesNotFitError: too many, too large, too long.
            DeliveryError: a link that the service cannot fetch.
        """
        self._fitter.choose_audio_beside([part for _, part in self.found])
        parts = tuple(self._fit(part, place) for place, part in self.found)
        check_inline(self._inside, self.profile)
        left = iter(parts)
        messages = tuple(_with(message, left) for message in self.request.messages)
        check_conversation(messages, self.profile, stores=True)  # tiles and pages count as images, too
        sent = tuple(self._sent)
        return FittedMedia(messages=messages, parts=parts, media=self._media, sent=sent, fitter=self._fitter)

    def _fit(self, part: MediaPart, place: str) -> tuple[MediaPart, ...]:
        """Return a part as it is sent: several images if an image is cut into tiles or has pages."""
        if isinstance(part, FramesPart) or part.source.url is not None:
            self._sent.append(SentMedia(place=place, kind=part.modality, link=not isinstance(part, FramesPart)))
            return (self._linked_or_frames(part, place),)
        made = self._fitter.fit(part, place)
        for one in made:
            if isinstance(one.ready.held, Prepared):
                self._sent.append(sent_as(one.ready.held, place))
            if self._ready(one) == "inline":
                self._inside.append((place, part))
        return tuple(one.part for one in made)

    def _ready(self, made: Fitted) -> Route:
        """Choose the route of a piece of media."""
        file_only = isinstance(made.part, VideoPart) and not self._server.reads_data_urls
        if file_only:
            route = choose_file(self._routes, self.settings.base_url, self._server, name=made.name)
        else:
            route = choose_route(made.ready, self._routes, seconds=made.seconds, name=made.name)
        self._media[made.source] = ReadyMedia(ready=made.ready, route=route, name=made.name)
        return route

    def _linked_or_frames(self, part: MediaPart, place: str) -> MediaPart:
        linked = part
        for source in media_of(part):
            name = f"{place}: {source.label}"
            if is_link(source, name=name, base_url=self.settings.base_url):
                _check_whole(part, source, name)
                ready = MediaPayload(url=source.url, format=linked_format(source.url or "", source.media_type))
                self._media[source] = ReadyMedia(ready=ready, route="link", name=name)
                linked = self._fitter.asked(linked)
                continue
            assert isinstance(linked, FramesPart)
            made = self._fitter.fit_frame(linked, source, place)
            linked = made.part
            self._ready(made)
        if any(self._media[source].route == "inline" for source in media_of(linked)):
            self._inside.append((place, part))
        return linked


def _check_whole(part: MediaPart, source: MediaSource, name: str) -> None:
    if not is_whole(part):
        raise UnsupportedMediaError(
            f"{name} is a link, and start= and end= are for local media: links are not downloaded here. "
            "Download it, or omit them and name the seconds in the question."
        ).with_option("start")
    if audio_track_of(part) != "auto":
        raise UnsupportedMediaError(
            f"{name} is a link, and audio_track= is for local media: the service receives links unchanged. "
            "Download it first."
        ).with_option("audio_track")
    if isinstance(part, VideoPart | AudioPart) and names_seconds(source.url or ""):
        # No error: documents made from links cite passages this way, which query engines put unchanged into messages.
        warnings.warn(
            f"{name} is a link, and the service takes it as a whole: the seconds in its address (#t=...) have no "
            "effect. Download it, or name the seconds in the question.",
            UserWarning,
            stacklevel=2,
        )


def _with(message: Message, fitted: Iterator[tuple[MediaPart, ...]]) -> Message:
    parts: list[Part] = []
    for part in message.parts:
        parts += next(fitted) if isinstance(part, MediaPart) else (part,)
    return replace(message, parts=tuple(parts))


# --- The body of a request ---

_BLOCK = 3 * 65_536  # a multiple of three, so that base64 of blocks is base64 of the whole


class RequestBody:
    """The JSON of one request. Iterate over it for its bytes; `length` is their number.

    Example:
        >>> body = RequestBody({"a": MediaPayload(data=b"abc", size_bytes=3)})
        >>> b"".join(body), body.length
        (b'{"a":"data:;base64,YWJj"}', 25)
    """

    def __init__(self, fields: dict[str, Any]) -> None:
        # A random marker for every body: user text can never be mistaken for it.
        mark = secrets.token_hex(16)
        media: list[MediaPayload] = []

        def place(value: object) -> str:
            if not isinstance(value, MediaPayload):
                raise TypeError(f"{type(value).__name__} cannot be written as JSON")
            if value.url is not None:
                return value.url
            media.append(value)
            return f"{value.prefix}{mark}"

        self._around = _encode(fields, place).split(mark.encode())
        self._media = media
        self.length = sum(map(len, self._around)) + sum(encoded_size(item.size_bytes) for item in media)

    def __iter__(self) -> Iterator[bytes]:
        yield self._around[0]
        for item, after in zip(self._media, self._around[1:], strict=True):
            for block in read_blocks(item, _BLOCK):
                yield base64.b64encode(block)
            yield after

    def __repr__(self) -> str:
        return f"RequestBody({self.length:,} bytes, {len(self._media)} inline media)"


def _encode(fields: dict[str, Any], place: Callable[[object], str]) -> bytes:
    try:
        text = json.dumps(fields, default=place, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    except ValueError as error:
        raise ConfigurationError(f"The request cannot be written as JSON: {error}. Use finite numbers.") from None
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        surrogate = f"U+{ord(text[error.start]):04X}"
        raise UnsupportedContentError(
            f"A text holds a lone surrogate ({surrogate}), which JSON in UTF-8 cannot represent; it was cut "
            "inside a character or decoded with errors='surrogateescape'. Decode it again with errors='replace'."
        ) from None
