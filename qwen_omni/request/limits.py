"""Whether a model takes the media of a conversation. Pure: reads the profile, sends nothing, opens nothing.

`check_conversation` needs only the messages, so it fails before any file is opened; `check_part` needs what
`media.probe.probe` found. Both name the place, the limit, the number found and the next step.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Literal, assert_never

from qwen_omni.errors import MediaDoesNotFitError, UnsupportedMediaError
from qwen_omni.media.info import MediaInfo, MediaKind
from qwen_omni.media.plan.plan import Piece
from qwen_omni.media.probe.probe import ANIMATED
from qwen_omni.media.source import MediaSource
from qwen_omni.messages import AudioPart, FramesPart, ImagePart, MediaPart, Message, VideoPart, media_of
from qwen_omni.profiles import DEFAULT_MODEL, Profile

_KIND_NAMES: dict[MediaKind, str] = {"image": "an image", "audio": "audio without video", "video": "a video"}
_PART_NAMES: dict[MediaKind, str] = {"image": "ImagePart", "audio": "AudioPart", "video": "VideoPart"}
_SHORTEN = "Send a shorter clip, or ask about it in segments."
_Way = Literal["inline", "any"]


def check_parts(messages: Sequence[Message], profile: Profile, infos: Mapping[MediaSource, MediaInfo]) -> None:
    """Check a whole conversation. Media without an entry in `infos` (links) are only counted.

    Raises:
        UnsupportedMediaError: a kind or mixture of media that the model does not accept.
        MediaDoesNotFitError: too many, too large, too long, too short or too small.
    """
    check_conversation(messages, profile)
    for place, part in media_parts(messages):
        for source in media_of(part):
            if source in infos:
                check_part(part, source, infos[source], profile, place)


def media_parts(messages: Sequence[Message]) -> Iterator[tuple[str, MediaPart]]:
    """Yield every part that holds media with its place, in the order of the conversation."""
    for index, message in enumerate(messages):
        for at, part in enumerate(message.parts):
            if isinstance(part, ImagePart | AudioPart | VideoPart | FramesPart):
                yield f"message {index} part {at}", part


def check_conversation(messages: Sequence[Message], profile: Profile, *, stores: bool = False) -> None:
    """Check what needs no open file: kinds, mixtures, counts, lengths of frame lists.

    Args:
        messages: the conversation.
        profile: the model that will see it.
        stores: local media may be sent through a store, so only `check_inline` can count what is sent inline.

    Raises:
        UnsupportedMediaError: a kind or mixture of media that the model does not accept.
        MediaDoesNotFitError: too many of a kind, or too few or too many frames.
    """
    totals = _count(part for _, part in media_parts(messages))
    so_far: Counter[tuple[MediaKind, _Way]] = Counter()
    first_of: dict[str, MediaKind] = {}
    for place, part in media_parts(messages):
        kind = modality_of(part)
        if kind not in profile.inputs:
            raise _not_taken(part, profile, place)
        _check_mixture(first_of.setdefault(place.partition(" part")[0], kind), kind, profile, place)
        so_far.update(_ways(part))
        for way in _ways(part):
            limit = _most(way, profile)
            if so_far[way] > limit and not (stores and way[1] == "inline"):
                raise _too_many(way, limit, totals[way], profile, place)
        if isinstance(part, FramesPart):
            _check_frames(part, profile, place)


def check_images(count: int, profile: Profile, place: str, *, inline: bool) -> None:
    """Check how many images one image becomes: the tiles of a tall one, the pages of a file.

    Raises:
        MediaDoesNotFitError: more than a request may hold.
    """
    limit = profile.limits.images_inline if inline else profile.limits.images
    if count > limit:
        raise MediaDoesNotFitError(
            f"{place}: it would be sent as {count:,} images (pages, or tiles of a tall image), and {profile.name} "
            f"takes at most {limit:,} per request. Choose a page with frame=0, pass tile=False, or send a part of it.",
            limit=limit,
            actual=count,
        )


def check_inline(inside: Sequence[tuple[str, MediaPart]], profile: Profile) -> None:
    """Count the parts whose media are sent inside the request.

    Args:
        inside: these parts, each with its place, in the order of the conversation.
        profile: the model that will see them.

    Raises:
        MediaDoesNotFitError: too many of a kind.
    """
    totals, so_far = Counter(modality_of(part) for _, part in inside), Counter[MediaKind]()
    for place, part in inside:
        kind = modality_of(part)
        so_far[kind] += 1
        limit = _most((kind, "inline"), profile)
        if so_far[kind] > limit:
            raise _too_many((kind, "inline"), limit, totals[kind], profile, place)


def check_part(part: MediaPart, source: MediaSource, info: MediaInfo, profile: Profile, place: str) -> None:
    """Check one piece of media whose facts are known.

    Raises:
        UnsupportedMediaError: it is not what its part says.
        MediaDoesNotFitError: too large, too long, too short, or an image that is too small or narrow.
    """
    expected: MediaKind = "image" if isinstance(part, FramesPart) else modality_of(part)
    if info.kind != expected:
        if expected == "image" and info.container in ANIMATED:
            raise UnsupportedMediaError(_is_animation(part, source, info, place))
        as_part = "a frame" if isinstance(part, FramesPart) else f"a {_PART_NAMES[expected]}"
        what = _KIND_NAMES[info.kind]
        if info.kind == "image" and info.container in ANIMATED:
            what = f"{what} of a single frame"
        raise UnsupportedMediaError(
            f"{place}: {source.label} is {what} ({info.container}) and cannot be {as_part}. "
            f"Send it as {_PART_NAMES[info.kind]}."
        )
    name = f"{place}: {source.label}"
    match info.kind:
        case "image":
            _check_size(name, info, profile.limits.image_bytes, profile)
            _check_sides(name, info, profile)
        case "audio":
            _check_size(name, info, profile.limits.audio_bytes, profile)
            _check_seconds(name, info, 0, profile.limits.audio_seconds, profile)
        case "video":
            _check_size(name, info, profile.limits.video_bytes, profile)
            _check_seconds(name, info, profile.limits.min_video_seconds, profile.limits.video_seconds, profile)
        case _:
            assert_never(info.kind)


def _is_animation(part: MediaPart, source: MediaSource, info: MediaInfo, place: str) -> str:
    what = f"{place}: {source.label} is an animation of {info.frame_count:,} frames ({info.container})"
    if isinstance(part, FramesPart):
        return f"{what} and cannot be a frame. Send it as VideoPart, or save one of its frames as an image."
    return (
        f"{what}, and one image would show only the first. Send it as VideoPart (type 'video') to show all of them, "
        "or choose one with frame=0."
    )


def modality_of(part: MediaPart) -> MediaKind:
    """Return the kind of media that the model receives from a part; a frame list is a silent video."""
    match part:
        case ImagePart():
            return "image"
        case AudioPart():
            return "audio"
        case VideoPart() | FramesPart():
            return "video"
        case _:
            assert_never(part)


def _count(parts: Iterable[MediaPart]) -> Counter[tuple[MediaKind, _Way]]:
    return Counter(way for part in parts for way in _ways(part))


def _ways(part: MediaPart) -> list[tuple[MediaKind, _Way]]:
    """Return the counts that a part belongs to: that of its kind, and that of inline media of its kind."""
    kind = modality_of(part)
    inline = any(source.kind != "url" for source in media_of(part))
    return [(kind, "inline"), (kind, "any")] if inline else [(kind, "any")]


def _most(way: tuple[MediaKind, _Way], profile: Profile) -> int:
    limits = profile.limits
    most: dict[tuple[MediaKind, _Way], int] = {
        ("image", "any"): limits.images,
        ("image", "inline"): limits.images_inline,
        ("audio", "any"): limits.audios,
        ("audio", "inline"): limits.audios_inline,
        ("video", "any"): limits.videos,
        ("video", "inline"): limits.videos_inline,
    }
    return most[way]


def _not_taken(part: MediaPart, profile: Profile, place: str) -> UnsupportedMediaError:
    taken = ", ".join(sorted(profile.inputs))
    label = next((source.label for source in media_of(part)), "no frames")
    return UnsupportedMediaError(
        f"{place}: {profile.name} takes {taken}, not {modality_of(part)} ({label}). Use {DEFAULT_MODEL}."
    )


def _check_mixture(first: MediaKind, kind: MediaKind, profile: Profile, place: str) -> None:
    if kind != first and not profile.limits.mixed:
        raise UnsupportedMediaError(
            f"{place}: {profile.name} takes text and one other kind of media per message, and this message has "
            f"{first} and {kind}. Put them into separate messages, or use {DEFAULT_MODEL}."
        )


def _too_many(
    way: tuple[MediaKind, _Way], limit: int, actual: int, profile: Profile, place: str
) -> MediaDoesNotFitError:
    kind, how = way
    inside = " inside the request" if how == "inline" else ""
    more = how == "inline" and _most((kind, "any"), profile) > limit
    other = " send them through a store (delivery='oss' or 'temporary') or put them behind URLs," if more else ""
    return MediaDoesNotFitError(
        f"{place}: {profile.name} takes at most {limit:,} {kind}s{inside} per request, the conversation has "
        f"{actual:,}. Drop older ones,{other} or ask in several requests.",
        limit=limit,
        actual=actual,
    )


def _check_frames(part: FramesPart, profile: Profile, place: str) -> None:
    fewest, most = profile.limits.frames
    count = len(part.frames)
    if fewest <= count <= most:
        return
    step = f"Send at least {fewest}, or one image as ImagePart." if count < fewest else "Take every second frame."
    raise MediaDoesNotFitError(
        f"{place}: the list has {count:,} frames; {profile.name} takes {fewest:,} to {most:,}. {step}",
        limit=fewest if count < fewest else most,
        actual=count,
    )


def _check_size(name: str, info: MediaInfo, limit: int, profile: Profile) -> None:
    if info.size_bytes > limit:
        raise MediaDoesNotFitError(
            f"{name} has {info.size_bytes / 2**20:,.1f} MiB; {profile.name} takes at most {limit / 2**20:,.0f} MiB "
            f"per {info.kind}. Make it smaller.",
            limit=limit,
            actual=info.size_bytes,
        )


def _check_seconds(name: str, info: MediaInfo, least: float, most: float, profile: Profile) -> None:
    if info.duration is None or least <= info.duration <= most:
        return
    short = info.duration < least
    limit = least if short else most
    seconds = float(info.duration)
    raise MediaDoesNotFitError(
        f"{name} lasts {seconds:,.2f} s; {profile.name} takes {info.kind} of at {'least' if short else 'most'} "
        f"{limit:,g} s. {'Send a longer clip, or its frames as ImagePart.' if short else _SHORTEN}",
        limit=limit,
        actual=seconds,
    )


def check_pieces(pieces: Iterable[Piece], info: MediaInfo, profile: Profile, name: str) -> None:
    """Check the images that an image is sent as: tiles of it, or the pages of a file.

    Raises:
        MediaDoesNotFitError: one is too small or too narrow; names the page.
    """
    for piece in pieces:
        which = f": page {piece.page} of {len(info.pages):,} (counted from 0)" if len(info.pages) > 1 else ""
        _check_sides(f"{name}{which}", replace(info, width=piece.size[0], height=piece.size[1]), profile)


def _check_sides(name: str, info: MediaInfo, profile: Profile) -> None:
    limits = profile.limits
    small, large = sorted((info.width or 0, info.height or 0))
    if small < limits.min_side:
        raise MediaDoesNotFitError(
            f"{name} is {info.width} by {info.height} pixels; each side needs at least {limits.min_side}. Enlarge it.",
            limit=limits.min_side,
            actual=small,
        )
    if large > limits.max_aspect * small:
        raise MediaDoesNotFitError(
            f"{name} is {info.width} by {info.height} pixels; the long side may be {limits.max_aspect:g} times the "
            f"short one, here it is {large / small:.0f} times. Cut it into pieces.",
            limit=limits.max_aspect,
            actual=large / small,
        )
