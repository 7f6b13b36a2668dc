"""Bring the media of a conversation to the service: open, look, check, and say how each travels.

The order is the promise: paths first, so that nothing is opened when a message names a forbidden file; then what
shows without opening; then each piece in the order of the conversation, so that the first fault is the one told.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from qwen_omni.delivery.carry import Carrier
from qwen_omni.delivery.choose import Ways, choose_route, is_link
from qwen_omni.delivery.delivered import Delivered, FileVersion, Route
from qwen_omni.delivery.formats import documented_format, linked_format
from qwen_omni.delivery.inline import version_of
from qwen_omni.media.info import MediaInfo
from qwen_omni.media.local import open_local, resolve_local
from qwen_omni.media.probe import probe
from qwen_omni.media.rules import check_conversation, check_part, media_parts
from qwen_omni.media.source import MediaSource
from qwen_omni.messages import Message, media_of
from qwen_omni.profiles import Profile


def deliver(
    messages: Sequence[Message],
    profile: Profile,
    *,
    media_root: Path,
    allow_private_urls: bool = False,
    carrier: Carrier | None = None,
    model: str | None = None,
) -> dict[MediaSource, Delivered]:
    """Check every piece of media against the model, then bring it where the service finds it.

    Blocks while files are read and uploaded; asynchronous callers use `asyncio.to_thread`.

    Args:
        messages: the conversation.
        profile: the model that will see it.
        media_root: the folder that paths out of messages must lie in.
        allow_private_urls: the service is on a private network itself, so links to private hosts may work.
        carrier: brings large media to a store; without one everything local travels inside the request.
        model: the name in the request, where it is another one than the profile's.

    Raises:
        MediaOutsideRootError: a path leads out of `media_root`; nothing was opened.
        UnreadableMediaError: a file is missing, empty, damaged or not media.
        UnsupportedMediaError: the model or the service does not take this kind.
        MediaDoesNotFitError: too many, too large, too long.
        DeliveryError: a link that the service cannot follow, or a store that refused.
    """
    _check_roots(messages, media_root)
    check_conversation(messages, profile)
    now = datetime.now(UTC)
    seen: dict[MediaSource, _Seen] = {}
    planned: dict[MediaSource, _Planned] = {}
    for place, part in media_parts(messages):
        for source in media_of(part):
            name = f"{place}: {source.label}"
            if is_link(source, name=name, now=now, allow_private=allow_private_urls):
                planned[source] = _Planned(ready=_linked(source), route="link", name=name)
                continue
            if source not in seen:
                seen[source] = _look(source, media_root, name)
            check_part(part, source, seen[source].info, profile, place)
            if source not in planned:
                planned[source] = _plan(source, seen[source], profile, name, carrier)
    # All is checked before anything is uploaded.
    return {source: _carried(plan, model or profile.name, carrier) for source, plan in planned.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Seen:
    """What one look at a local source found; `path` and `version` are `None` for bytes."""

    info: MediaInfo
    path: Path | None = None
    version: FileVersion | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Planned:
    """Media that passed every check, and the way it will go."""

    ready: Delivered
    route: Route
    name: str


def _check_roots(messages: Sequence[Message], media_root: Path) -> None:
    for place, part in media_parts(messages):
        for source in media_of(part):
            if source.kind == "path":
                resolve_local(source, media_root, name=f"{place}: {source.label}")


def _look(source: MediaSource, media_root: Path, name: str) -> _Seen:
    with open_local(source, media_root, name=name) as file:
        info = probe(file, label=name, media_type_hint=source.media_type)
        if source.kind == "bytes":
            return _Seen(info=info)
        return _Seen(info=info, path=resolve_local(source, media_root, name=name), version=version_of(file))


def _linked(source: MediaSource) -> Delivered:
    return Delivered(url=source.url, format=linked_format(source.url or "", source.media_type))


def _plan(source: MediaSource, seen: _Seen, profile: Profile, name: str, carrier: Carrier | None) -> _Planned:
    ready = _ready(source, seen, name)
    seconds = None if seen.info.duration is None else float(seen.info.duration)
    if carrier is not None:
        route = carrier.route(ready, seconds=seconds, profile=profile, name=name)
    else:
        ways = Ways(wish="inline", inline_limit=profile.limits.inline_bytes)
        route = choose_route(ready, ways, seconds=seconds, name=name)
    return _Planned(ready=ready, route=route, name=name)


def _ready(source: MediaSource, seen: _Seen, name: str) -> Delivered:
    """Give a local source as it would travel inside the request."""
    return Delivered(
        data=source.data,
        path=seen.path,
        version=seen.version,
        size_bytes=seen.info.size_bytes,
        format=documented_format(seen.info, name=name),
        media_type=seen.info.media_type if seen.info.kind == "image" else "",
        content_type=seen.info.media_type,
    )


def _carried(plan: _Planned, model: str, carrier: Carrier | None) -> Delivered:
    if carrier is None:
        return plan.ready
    return carrier.carry(plan.ready, plan.route, model=model, name=plan.name)
