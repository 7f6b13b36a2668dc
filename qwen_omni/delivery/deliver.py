"""Bring the media of a conversation to the service: open, look, make it fit, check, and say how each travels.

The order is the promise: paths first, so that nothing is opened when a message names a forbidden file; then what
shows without opening; then each piece in the order of the conversation, so that the first fault is the one told.
"""

import contextlib
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

from qwen_omni.delivery.carry import Carrier
from qwen_omni.delivery.choose import Ways, choose_route, is_link
from qwen_omni.delivery.fit import Fitted, Fitter, audio_track_of, is_whole, room_inline, sent_as
from qwen_omni.delivery.formats import linked_format
from qwen_omni.delivery.links import names_seconds
from qwen_omni.errors import QwenOmniError, UnsupportedMediaError
from qwen_omni.media.local import resolve_local
from qwen_omni.media.look import USUAL
from qwen_omni.media.prepared import Prepared
from qwen_omni.media.rules import check_conversation, check_inline, media_parts, modality_of
from qwen_omni.media.source import MediaSource
from qwen_omni.messages import AudioPart, Delivered, FramesPart, MediaPart, Message, Part, Route, VideoPart, media_of
from qwen_omni.options import ChatOptions
from qwen_omni.profiles import Profile
from qwen_omni.responses import SentMedia

_USUAL = ChatOptions()


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """A conversation whose media are ready.

    Attributes:
        messages: as they are sent.
        media: how each of their media travels.
        sent: what each piece of media became, in order.
    """

    messages: tuple[Message, ...]
    media: dict[MediaSource, Delivered]
    sent: tuple[SentMedia, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Planned:
    """Media that passed every check, and the way it will go."""

    ready: Delivered
    route: Route
    name: str


def deliver(  # noqa: PLR0913 - each keyword is a choice of its own
    messages: Sequence[Message],
    profile: Profile,
    *,
    media_root: Path,
    allow_private_urls: bool = False,
    carrier: Carrier | None = None,
    model: str | None = None,
    approve: Callable[[Delivery], object] | None = None,
    uplink_mbps: float = USUAL.uplink_mbps,
    options: ChatOptions = _USUAL,
) -> Delivery:
    """Make every piece of media fit its budget, check it against the model, then bring it where the service finds it.

    Blocks while files are read, worked on and uploaded; asynchronous callers use `asyncio.to_thread`.

    Args:
        messages: the conversation.
        profile: the model that will see it.
        media_root: the folder that paths out of messages must lie in.
        allow_private_urls: the service is on a private network itself, so links to private hosts may work.
        carrier: brings large media to a store; without one everything local travels inside the request.
        model: the name in the request, where it is another one than the profile's.
        approve: is shown everything prepared, before a byte of it is uploaded; what it raises stops the delivery.
        uplink_mbps: megabits per second that can be sent; weighed against the time that making a file smaller takes.
        options: of the call; what they ask of pictures and sound is not undone while these are made to fit.

    Raises:
        MediaOutsideRootError: a path leads out of `media_root`; nothing was opened.
        UnreadableMediaError: a file is missing, empty, damaged or not media.
        UnsupportedMediaError: the model or the service does not take this kind.
        MediaDoesNotFitError: too many, too large, too long.
        DeliveryError: a link that the service cannot follow, or a store that failed.
    """
    _check_roots(messages, media_root)
    check_conversation(messages, profile, stores=carrier is not None and carrier.stores)
    room = room_inline(profile) if carrier is None else carrier.room(profile, inline=room_inline(profile))
    fitter = Fitter(
        profile=profile,
        media_root=media_root,
        room_bytes=room,
        uplink_mbps=uplink_mbps,
        high_resolution=bool(options.high_resolution_images),
        multichannel=bool(options.multichannel),
        stores=carrier is not None and carrier.stores,
    )
    fitting = _Fitting(fitter=fitter, carrier=carrier, allow_private=allow_private_urls, now=datetime.now(UTC))
    fitted = {id(part): fitting.fit(part, place) for place, part in media_parts(messages)}
    planned = fitting.planned
    check_inline(fitting.inside, profile)
    sent = tuple(_with(message, fitted) for message in messages)
    check_conversation(sent, profile, stores=True)  # tiles and pages count as images, too
    if approve is not None:
        approve(Delivery(messages=sent, media={source: plan.ready for source, plan in planned.items()}))
    # All is checked before anything is uploaded.
    media = _all_carried(planned, model or profile.name, carrier)
    return Delivery(messages=sent, media=media, sent=tuple(fitting.sent))


@dataclass(slots=True, kw_only=True)
class _Fitting:
    """Makes part after part ready.

    Attributes:
        planned: each of their media, and the way it will go.
        inside: the parts that travel inside the request, with their places.
        sent: what each became.
    """

    fitter: Fitter
    carrier: Carrier | None
    allow_private: bool
    now: datetime
    planned: dict[MediaSource, _Planned] = field(default_factory=dict)
    inside: list[tuple[str, MediaPart]] = field(default_factory=list)
    sent: list[SentMedia] = field(default_factory=list)

    def fit(self, part: MediaPart, place: str) -> tuple[MediaPart, ...]:
        """Return a part as it is sent: several images where a picture is cut into tiles or has pages."""
        if isinstance(part, FramesPart) or part.source.url is not None:
            self.sent.append(SentMedia(place=place, kind=modality_of(part), link=not isinstance(part, FramesPart)))
            return (self._linked_or_frames(part, place),)
        name = f"{place}: {part.source.label}"
        made = self.fitter.fit(part, place)
        for one in made:
            if isinstance(one.ready.held, Prepared):
                self.sent.append(sent_as(one.ready.held, place))
            self.planned[one.source] = _plan(one, self.fitter.profile, name, self.carrier)
            if self.planned[one.source].route == "inline":
                self.inside.append((place, part))
        return tuple(one.part for one in made)

    def _linked_or_frames(self, part: MediaPart, place: str) -> MediaPart:
        kept = part
        for source in media_of(part):
            name = f"{place}: {source.label}"
            if is_link(source, name=name, now=self.now, allow_private=self.allow_private):
                _check_whole(part, source, name)
                self.planned[source] = _Planned(ready=_linked(source), route="link", name=name)
                kept = self.fitter.asked(kept)
                continue
            assert isinstance(kept, FramesPart)
            made = self.fitter.fit_frame(kept, source, place)
            kept = made.part
            self.planned[made.source] = _plan(made, self.fitter.profile, name, self.carrier)
        if any(self.planned[source].route == "inline" for source in media_of(kept)):
            self.inside.append((place, part))
        return kept


def _check_roots(messages: Sequence[Message], media_root: Path) -> None:
    for place, part in media_parts(messages):
        for source in media_of(part):
            if source.kind == "path":
                resolve_local(source, media_root, name=f"{place}: {source.label}")


def _check_whole(part: MediaPart, source: MediaSource, name: str) -> None:
    if not is_whole(part):
        raise UnsupportedMediaError(
            f"{name} is a link, and start= and end= are for local media: nothing of a link is downloaded here. "
            "Download it, or leave them out and name the seconds in the question."
        )
    if audio_track_of(part) != "auto":
        raise UnsupportedMediaError(
            f"{name} is a link, and audio_track= is for local media: the service takes a link as it is. "
            "Download it first."
        )
    if isinstance(part, VideoPart | AudioPart) and names_seconds(source.url or ""):
        # No error: documents of a link name their passages so, and query engines put them into messages as they are.
        warnings.warn(
            f"{name} is a link, and the service takes it as a whole: the seconds in its address (#t=...) have no "
            "effect. Download it, or name the seconds in the question.",
            UserWarning,
            stacklevel=2,
        )


def _linked(source: MediaSource) -> Delivered:
    return Delivered(url=source.url, format=linked_format(source.url or "", source.media_type))


def _plan(made: Fitted, profile: Profile, name: str, carrier: Carrier | None) -> _Planned:
    if carrier is not None:
        route = carrier.route(made.ready, seconds=made.seconds, profile=profile, name=name)
    else:
        ways = Ways(wish="inline", inline_limit=profile.limits.inline_bytes)
        route = choose_route(made.ready, ways, seconds=made.seconds, name=name)
    return _Planned(ready=made.ready, route=route, name=name)


def _all_carried(
    planned: Mapping[MediaSource, _Planned], model: str, carrier: Carrier | None
) -> dict[MediaSource, Delivered]:
    """Carry all media; where one fails, what was uploaded for this request alone is deleted again."""
    media: dict[MediaSource, Delivered] = {}
    try:
        for source, plan in planned.items():
            media[source] = _carried(plan, model, carrier)
    except BaseException:
        for delivered in media.values():
            with contextlib.suppress(QwenOmniError):
                if carrier is not None:
                    carrier.release(delivered)
        raise
    return media


def _carried(plan: _Planned, model: str, carrier: Carrier | None) -> Delivered:
    if carrier is None:
        return plan.ready
    return carrier.carry(plan.ready, plan.route, model=model, name=plan.name)


def _with(message: Message, fitted: dict[int, tuple[MediaPart, ...]]) -> Message:
    parts: tuple[Part, ...] = tuple(one for part in message.parts for one in fitted.get(id(part), (part,)))
    return replace(message, parts=parts)
