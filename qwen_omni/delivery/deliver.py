"""Bring the media of a conversation to the service: open, look, make it fit, check, and say how each travels.

The order is the promise: paths first, so that nothing is opened when a message names a forbidden file; then what
shows without opening; then each piece in the order of the conversation, so that the first fault is the one told.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from qwen_omni.delivery.choose import choose_way
from qwen_omni.delivery.delivered import Delivered
from qwen_omni.delivery.fit import Fitter, is_whole
from qwen_omni.delivery.formats import linked_format
from qwen_omni.errors import UnsupportedMediaError
from qwen_omni.media.local import resolve_local
from qwen_omni.media.rules import check_conversation, media_parts
from qwen_omni.media.source import MediaSource
from qwen_omni.messages import FramesPart, MediaPart, Message, Part, media_of
from qwen_omni.profiles import Profile


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """A conversation whose media are ready: the messages as they are sent, and how each of their media travels."""

    messages: tuple[Message, ...]
    media: dict[MediaSource, Delivered]


def deliver(
    messages: Sequence[Message],
    profile: Profile,
    *,
    media_root: Path,
    allow_private_urls: bool = False,
    uplink_mbps: float = 20.0,
) -> Delivery:
    """Make every piece of media fit its budget, check it against the model and give what the request needs.

    Blocks while files are read and worked on; asynchronous callers use `asyncio.to_thread`.

    Args:
        messages: the conversation.
        profile: the model that will see it.
        media_root: the folder that paths out of messages must lie in.
        allow_private_urls: the service is on a private network itself, so links to private hosts may work.
        uplink_mbps: megabits per second that can be sent; decides whether making a file smaller is worth the time.

    Raises:
        MediaOutsideRootError: a path leads out of `media_root`; nothing was opened.
        UnreadableMediaError: a file is missing, empty, damaged or not media.
        UnsupportedMediaError: the model or the service does not take this kind.
        MediaDoesNotFitError: too many, too large, too long.
        DeliveryError: a link that the service cannot follow.
    """
    _check_roots(messages, media_root)
    check_conversation(messages, profile)
    now = datetime.now(UTC)
    fitter = Fitter(profile=profile, media_root=media_root, uplink_mbps=uplink_mbps)
    media: dict[MediaSource, Delivered] = {}
    fitted: dict[int, MediaPart] = {}
    for place, part in media_parts(messages):
        kept = part
        for source in media_of(part):
            name = f"{place}: {source.label}"
            if choose_way(source, name=name, now=now, allow_private=allow_private_urls) == "link":
                _check_whole(part, name)
                media[source] = Delivered(url=source.url, format=linked_format(source.url or "", source.media_type))
                kept = fitter.asked(kept)
            elif isinstance(part, FramesPart):
                media[source] = fitter.as_it_is(part, source, place)
            else:
                kept, media_source, delivered = fitter.fit(part, place)
                media[media_source] = delivered
        fitted[id(part)] = kept
    return Delivery(messages=tuple(_with(message, fitted) for message in messages), media=media)


def _check_roots(messages: Sequence[Message], media_root: Path) -> None:
    for place, part in media_parts(messages):
        for source in media_of(part):
            if source.kind == "path":
                resolve_local(source, media_root, name=f"{place}: {source.label}")


def _check_whole(part: MediaPart, name: str) -> None:
    if not is_whole(part):
        raise UnsupportedMediaError(
            f"{name} is a link, and start= and end= are for local media: nothing of a link is downloaded here. "
            "Download it, or leave them out and name the seconds in the question."
        )


def _with(message: Message, fitted: dict[int, MediaPart]) -> Message:
    parts: tuple[Part, ...] = tuple(fitted.get(id(part), part) for part in message.parts)
    return replace(message, parts=parts)
