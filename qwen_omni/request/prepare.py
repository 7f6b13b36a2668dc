"""The media of a request: check, fit, then upload. `prepared_request` calls the three, and reserves money in between.

The order is guaranteed: paths first, so that nothing is opened when a message names a forbidden file; then what
needs no open file; then each piece in the order of the conversation, so that the first problem is the one reported;
and everything is checked before anything is uploaded.
"""

import contextlib
import warnings
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from qwen_omni.addresses import is_private_url, names_seconds
from qwen_omni.errors import QwenOmniError, UnsupportedMediaError
from qwen_omni.media.files.safe_open import resolve_local
from qwen_omni.media.formats import linked_format
from qwen_omni.media.prepared import Prepared
from qwen_omni.media.source import MediaSource
from qwen_omni.messages import AudioPart, FramesPart, MediaPart, MediaPayload, Message, Part, Route, VideoPart, media_of
from qwen_omni.options import ChatRequest
from qwen_omni.profiles import Profile
from qwen_omni.request.fit import Fitted, Fitter, audio_track_of, is_whole, sent_as
from qwen_omni.request.limits import check_conversation, check_inline, media_parts, modality_of
from qwen_omni.responses import SentMedia
from qwen_omni.settings import Settings
from qwen_omni.upload.routing import AvailableRoutes, choose_route, is_link, ways_of
from qwen_omni.upload.uploader import Uploader


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
        parts: what each media part is sent as.
        media: the media of these parts.
        sent: what each piece of media became, in order.
    """

    messages: tuple[Message, ...]
    parts: dict[MediaPart, tuple[MediaPart, ...]]
    media: dict[MediaSource, ReadyMedia]
    sent: tuple[SentMedia, ...]


def check_media(request: ChatRequest, profile: Profile, settings: Settings) -> None:
    """Check what needs no open file: where the paths lead, which media the model takes, and how many.

    Raises:
        MediaOutsideRootError: a path leads out of `media_root`.
        UnsupportedMediaError: the model does not take this kind, or this mixture.
        MediaDoesNotFitError: too many of a kind.
    """
    found = list(media_parts(request.messages))
    for place, part in found:
        for source in media_of(part):
            if source.kind == "path":
                resolve_local(source, settings.media_root, name=f"{place}: {source.label}")
    if found:
        check_conversation(request.messages, profile, stores=ways_of(settings, profile).stores)


def fit_media(request: ChatRequest, profile: Profile, settings: Settings) -> FittedMedia:
    """Make every piece of media fit its budget, check it against the model, and choose its route. Sends nothing.

    Blocks while files are read and encoded; asynchronous callers use `asyncio.to_thread`.

    Raises:
        UnreadableMediaError: a file is missing, empty, damaged or not media.
        UnsupportedMediaError: the model or the service does not take this kind.
        MediaDoesNotFitError: too many, too large, too long.
        DeliveryError: a link that the service cannot fetch.
    """
    if not any(media_parts(request.messages)):
        return FittedMedia(messages=request.messages, parts={}, media={}, sent=())
    fitting = _Fitting(
        fitter=Fitter.of(request, profile, settings),
        ways=ways_of(settings, profile),
        allow_private=is_private_url(settings.base_url),
        now=datetime.now(UTC),
    )
    parts: dict[MediaPart, tuple[MediaPart, ...]] = {}
    for place, part in media_parts(request.messages):
        parts[part] = fitting.fit(part, place)
    check_inline(fitting.inside, profile)
    messages = tuple(_with(message, parts) for message in request.messages)
    check_conversation(messages, profile, stores=True)  # tiles and pages count as images, too
    return FittedMedia(messages=messages, parts=parts, media=fitting.media, sent=tuple(fitting.sent))


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
        for delivered in media.values():
            with contextlib.suppress(QwenOmniError):
                uploader.release(delivered)
        raise
    return media


@dataclass(slots=True, kw_only=True)
class _Fitting:
    """Prepares one part after another.

    Attributes:
        media: the media of each part, with its route.
        inside: the parts that are sent inside the request, with their places.
        sent: what each part became.
    """

    fitter: Fitter
    ways: AvailableRoutes
    allow_private: bool
    now: datetime
    media: dict[MediaSource, ReadyMedia] = field(default_factory=dict)
    inside: list[tuple[str, MediaPart]] = field(default_factory=list)
    sent: list[SentMedia] = field(default_factory=list)

    def fit(self, part: MediaPart, place: str) -> tuple[MediaPart, ...]:
        """Return a part as it is sent: several images if an image is cut into tiles or has pages."""
        if isinstance(part, FramesPart) or part.source.url is not None:
            self.sent.append(SentMedia(place=place, kind=modality_of(part), link=not isinstance(part, FramesPart)))
            return (self._linked_or_frames(part, place),)
        name = f"{place}: {part.source.label}"
        made = self.fitter.fit(part, place)
        for one in made:
            if isinstance(one.ready.held, Prepared):
                self.sent.append(sent_as(one.ready.held, place))
            self.media[one.source] = _ready(one, self.ways, name)
            if self.media[one.source].route == "inline":
                self.inside.append((place, part))
        return tuple(one.part for one in made)

    def _linked_or_frames(self, part: MediaPart, place: str) -> MediaPart:
        linked = part
        for source in media_of(part):
            name = f"{place}: {source.label}"
            if is_link(source, name=name, now=self.now, allow_private=self.allow_private):
                _check_whole(part, source, name)
                self.media[source] = ReadyMedia(ready=_linked(source), route="link", name=name)
                linked = self.fitter.asked(linked)
                continue
            assert isinstance(linked, FramesPart)
            made = self.fitter.fit_frame(linked, source, place)
            linked = made.part
            self.media[made.source] = _ready(made, self.ways, name)
        if any(self.media[source].route == "inline" for source in media_of(linked)):
            self.inside.append((place, part))
        return linked


def _check_whole(part: MediaPart, source: MediaSource, name: str) -> None:
    if not is_whole(part):
        raise UnsupportedMediaError(
            f"{name} is a link, and start= and end= are for local media: links are not downloaded here. "
            "Download it, or omit them and name the seconds in the question."
        )
    if audio_track_of(part) != "auto":
        raise UnsupportedMediaError(
            f"{name} is a link, and audio_track= is for local media: the service takes a link as it is. "
            "Download it first."
        )
    if isinstance(part, VideoPart | AudioPart) and names_seconds(source.url or ""):
        # No error: documents made from links cite passages this way, which query engines put unchanged into messages.
        warnings.warn(
            f"{name} is a link, and the service takes it as a whole: the seconds in its address (#t=...) have no "
            "effect. Download it, or name the seconds in the question.",
            UserWarning,
            stacklevel=2,
        )


def _linked(source: MediaSource) -> MediaPayload:
    return MediaPayload(url=source.url, format=linked_format(source.url or "", source.media_type))


def _ready(made: Fitted, ways: AvailableRoutes, name: str) -> ReadyMedia:
    route = choose_route(made.ready, ways, seconds=made.seconds, name=name)
    return ReadyMedia(ready=made.ready, route=route, name=name)


def _with(message: Message, fitted: dict[MediaPart, tuple[MediaPart, ...]]) -> Message:
    parts: list[Part] = []
    for part in message.parts:
        parts += fitted[part] if isinstance(part, MediaPart) else (part,)
    return replace(message, parts=tuple(parts))
