"""Bring the media of a conversation to the service: open, look, check, and say how each travels.

The order is the promise: paths first, so that nothing is opened when a message names a forbidden file; then what
shows without opening; then each piece in the order of the conversation, so that the first fault is the one told.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from qwen_omni.delivery.choose import choose_way
from qwen_omni.delivery.delivered import Delivered, FileVersion
from qwen_omni.delivery.formats import documented_format, linked_format
from qwen_omni.delivery.inline import check_inline, version_of
from qwen_omni.media.info import MediaInfo
from qwen_omni.media.local import open_local, resolve_local
from qwen_omni.media.probe import probe
from qwen_omni.media.rules import check_conversation, check_part, media_parts
from qwen_omni.media.source import MediaSource
from qwen_omni.messages import Message, media_of
from qwen_omni.profiles import Profile


def deliver(
    messages: Sequence[Message], profile: Profile, *, media_root: Path, allow_private_urls: bool = False
) -> dict[MediaSource, Delivered]:
    """Check every piece of media against the model and give what the request needs to carry it.

    Blocks while files are read; asynchronous callers use `asyncio.to_thread`.

    Args:
        messages: the conversation.
        profile: the model that will see it.
        media_root: the folder that paths out of messages must lie in.
        allow_private_urls: the service is on a private network itself, so links to private hosts may work.

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
    seen: dict[MediaSource, _Seen] = {}
    delivered: dict[MediaSource, Delivered] = {}
    for place, part in media_parts(messages):
        for source in media_of(part):
            name = f"{place}: {source.label}"
            if choose_way(source, name=name, now=now, allow_private=allow_private_urls) == "link":
                delivered[source] = _linked(source)
                continue
            if source not in seen:
                seen[source] = _look(source, media_root, name)
            check_part(part, source, seen[source].info, profile, place)
            delivered[source] = _inline(source, seen[source], profile, name)
    return delivered


@dataclass(frozen=True, slots=True, kw_only=True)
class _Seen:
    """What one look at a local source found; `path` and `version` are `None` for bytes."""

    info: MediaInfo
    path: Path | None = None
    version: FileVersion | None = None


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


def _inline(source: MediaSource, seen: _Seen, profile: Profile, name: str) -> Delivered:
    delivered = Delivered(
        data=source.data,
        path=seen.path,
        version=seen.version,
        size_bytes=seen.info.size_bytes,
        format=documented_format(seen.info, name=name),
        media_type=seen.info.media_type if seen.info.kind == "image" else "",
    )
    return check_inline(delivered, label=name, limit=profile.limits.inline_bytes)
