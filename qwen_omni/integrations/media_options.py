"""Options of a piece of media, checked, and the part built from them. Pure.

How the service samples it (`fps`, `min_pixels`, `max_pixels`, `total_pixels`) and what is done to local media before it
is sent (`start`, `end`, `budget`, `audio_track`). The adapters find these options in their frameworks' formats.
"""

import re
from collections.abc import Mapping
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any, Literal, assert_never, get_args

from qwen_omni._moved import MOVED_OPTIONS
from qwen_omni.errors import ConfigurationError, UnsupportedContentError
from qwen_omni.media.budget import PRESETS, SAMPLING_RANGES, BudgetName, MediaBudget, Sampling
from qwen_omni.media.info import read_audio_track
from qwen_omni.media.source import MediaSource
from qwen_omni.messages import (
    FRAME_RANGES,
    SPAN_RANGES,
    AudioPart,
    CacheTime,
    FramesPart,
    ImagePart,
    MediaPart,
    Part,
    TextPart,
    VideoPart,
)
from qwen_omni.ranges import check_span, checked

if TYPE_CHECKING:
    from qwen_omni.media.plan.segments import Segment

MediaKind = Literal["image", "audio", "video"]
PartOptions = dict[str, Any]
"""The checked options of a part: those of `Sampling`, and `start`, `end`, `budget` and `audio_track`."""

SAMPLING: dict[MediaKind, tuple[str, ...]] = {
    "image": ("min_pixels", "max_pixels"),
    "audio": (),
    "video": ("fps", "min_pixels", "max_pixels", "total_pixels"),
}
"""The sampling options of each kind, sent to the service."""

FITTING: dict[MediaKind, tuple[str, ...]] = {
    "image": ("budget", "tile", "frame"),
    "audio": ("start", "end", "audio_track"),
    "video": ("start", "end", "budget", "audio_track"),
}
"""The options of each kind that apply to local media before it is sent."""

_ALIASES = {"video_start": "start", "video_end": "end", "sample_fps": "fps"}
"""Alternative names in other libraries (qwen-vl-utils)."""

_INSTEAD = {
    **dict.fromkeys(("nframes", "num_frames", "min_frames", "max_frames"), "the service samples by time: use fps"),
    **dict.fromkeys(("resized_height", "resized_width"), "use max_pixels and min_pixels"),
    "raw_fps": "it is read from the file",
}

# OpenAI's values for the level of detail. "low" is 512 x 512 pixels there (its vision guide, read 2026); the others do
# not exceed this service's default.
_DETAIL: dict[object, PartOptions] = {"low": {"max_pixels": 512 * 512}, "high": {}, "original": {}, "auto": {}}
_AUDIO_CONTAINERS = frozenset({"wav", "mp3", "flac", "ogg", "aac", "amr", "m4a", "caf", "aiff"})

_SECONDS = r"\d+(?:\.\d+)?(?:e-\d{2,3})?"
_FRAGMENT = re.compile(  # W3C Media Fragments
    rf"t=(?P<start>{_SECONDS})?(?:,(?P<end>{_SECONDS}))?(?:&track=(?P<track>mix|\d{{1,4}}))?"
)
_RANGES = {**SAMPLING_RANGES, **SPAN_RANGES, **FRAME_RANGES}
_LIMITS = {limit.name: limit.type for limit in fields(MediaBudget)}


def known_options(kind: MediaKind) -> tuple[str, ...]:
    """Return the option names of a kind of media."""
    return (*SAMPLING[kind], *FITTING[kind])


def check_options(kind: MediaKind, options: Mapping[str, Any], place: str) -> PartOptions:
    """Check the options of a piece of media; an unknown option raises rather than being dropped.

    Raises:
        UnsupportedContentError: an unknown option, or an invalid value; the error says where.
    """
    known = known_options(kind)
    found = _in_our_words(kind, options, place)
    for name, value in tuple(found.items()):
        if name not in known:
            advice = f"{_INSTEAD[name]}; " if name in _INSTEAD else ""
            raise UnsupportedContentError(
                f"{place}: {kind} has no option {name!r}; {advice}supported: {', '.join(known) or 'none'}."
            )
        if name == "budget":
            found[name] = read_budget(value, place)
        elif value is None:
            del found[name]
        elif name == "tile":
            if not isinstance(value, bool):
                raise UnsupportedContentError(f"{place}: tile must be true or false, not {type(value).__name__}.")
        elif name != "audio_track":
            found[name] = checked(name, value, _RANGES[name], place=place, error=UnsupportedContentError)
    try:
        if "audio_track" in found:
            found["audio_track"] = read_audio_track(found["audio_track"])
        check_span(found.get("start"), found.get("end"))
        Sampling(**{name: value for name, value in found.items() if name in SAMPLING_RANGES})
    except ConfigurationError as error:
        raise UnsupportedContentError(f"{place}: {error}") from None
    return found


def _in_our_words(kind: MediaKind, options: Mapping[str, Any], place: str) -> PartOptions:
    """Translate the option names of other libraries; our own name wins if both are given."""
    renamed = {ours: options[theirs] for theirs, ours in _ALIASES.items() if theirs in options}
    found = {**renamed, **{name: value for name, value in options.items() if name not in _ALIASES}}
    detail = found.pop("detail", None) if kind != "audio" else None
    if detail is not None and detail not in _DETAIL:
        raise UnsupportedContentError(f"{place}: detail must be one of {', '.join(map(str, _DETAIL))}, got {detail!r}.")
    return {**_DETAIL.get(detail, {}), **found}


def read_cache_mark(mark: object, place: str) -> CacheTime | None:
    """Read an explicit cache marker, in the format of Anthropic and DashScope.

    Example:
        >>> read_cache_mark({"type": "ephemeral"}, "message 0"), read_cache_mark(None, "message 0")
        ('5m', None)

    Raises:
        UnsupportedContentError: it has another format; the error says where.
    """
    match mark:
        case None:
            return None
        case {"type": "ephemeral", **rest} if set(rest) <= {"ttl"} and rest.get("ttl") in (None, "5m", "1h"):
            return "1h" if rest.get("ttl") == "1h" else "5m"
        case _:
            raise UnsupportedContentError(
                f'{place}: cache_control must be {{"type": "ephemeral"}}, optionally with "ttl": "5m" or "1h".'
            )


def mark_last(parts: list[Part], mark: object, place: str) -> None:
    """Put a cache marker on the last of these parts that supports one.

    Raises:
        UnsupportedContentError: none of the parts supports a marker, or the marker has another format.
    """
    cache = read_cache_mark(mark, place)
    at = next((at for at in reversed(range(len(parts))) if hasattr(parts[at], "cache")), None)
    if cache is None:
        return
    if at is None:
        raise UnsupportedContentError(f"{place}: nothing before it in the message can be cached; put it after a text.")
    parts[at] = replace(parts[at], cache=cache)  # type: ignore[arg-type]  # it has the field


def sniffed_kind(head: bytes) -> MediaKind | None:
    r"""Return the kind of media that the first bytes of a file identify; `None` if they match no known format.

    Example:
        >>> sniffed_kind(b"\x89PNG\r\n\x1a\n"), sniffed_kind(b"fLaC"), sniffed_kind(b"hello")
        ('image', 'audio', None)
    """
    from qwen_omni.media.probe.probe import HEAD_BYTES, recognise  # noqa: PLC0415 - few blocks lack a type

    found = recognise(head[:HEAD_BYTES])
    if found is None:
        return None
    if found.group == "image":
        return "image"
    return "audio" if found.group == "packed" or found.container in _AUDIO_CONTAINERS else "video"


def seconds_of(address: str, place: str) -> PartOptions:
    """Read `start`, `end` and `audio_track` from the URL of a local file, as clips of documents have them.

    Those of a web link are not read: the service takes the whole file, and the sender warns about it.

    Example:
        >>> seconds_of("file:///talk.mp4#t=60,90", "message 0")
        {'start': 60.0, 'end': 90.0}
        >>> seconds_of("file:///talk.mp4#t=60,90&track=1", "message 0")["audio_track"]
        1

    Raises:
        UnsupportedContentError: the URL has another fragment; the error says where.
    """
    fragment = address.partition("#")[2] if address[:5].lower() == "file:" else ""
    if not fragment.startswith("t="):
        return {}
    times = _FRAGMENT.fullmatch(fragment)
    named = {} if times is None else {name: value for name, value in times.groupdict().items() if value}
    track = named.pop("track", None)
    found: PartOptions = {name: float(value) for name, value in named.items()}
    if track is not None and found:
        found["audio_track"] = read_audio_track(track)
    if not found:
        raise UnsupportedContentError(f"{place}: #{fragment[:40]} names no seconds; write them as #t=60,90.")
    return found


def read_budget(value: object, place: str) -> MediaBudget | BudgetName:
    """Read a budget: a preset's name, a `MediaBudget`, or a mapping of some of its limits.

    Example:
        >>> read_budget({"fps": 1}, "message 0").fps
        1

    Raises:
        UnsupportedContentError: it is none of these, or has an unknown or invalid limit; the error says where.
    """
    if isinstance(value, MediaBudget):
        return value
    if isinstance(value, Mapping):
        return _budget_of(value, place)
    preset = next((name for name in PRESETS if name == value), None)
    if preset is None:
        shown = repr(value) if isinstance(value, str) else f"of type {type(value).__name__}"
        raise UnsupportedContentError(
            f"{place}: budget {shown} is not known; choose one of {', '.join(PRESETS)}, a MediaBudget, or a dictionary "
            "of its limits."
        )
    return preset


def _budget_of(limits: Mapping[str, Any], place: str) -> MediaBudget:
    for name, value in limits.items():
        ours = MOVED_OPTIONS.get(name, name)
        if ours not in _LIMITS:
            raise UnsupportedContentError(f"{place}: budget has no {name!r}; supported: {', '.join(_LIMITS)}.")
        if not _is_of(value, _LIMITS[ours]):
            raise UnsupportedContentError(f"{place}: {name} of the budget cannot be of type {type(value).__name__}.")
    try:
        return MediaBudget(**limits)
    except ConfigurationError as error:
        raise UnsupportedContentError(f"{place}: budget: {error}") from None


def _is_of(value: object, kind: Any) -> bool:  # noqa: ANN401  (a type, or several)
    kinds = get_args(kind) or (kind,)
    if isinstance(value, bool):
        return bool in kinds
    return isinstance(value, (*kinds, int) if float in kinds else kinds)


def media_part(kind: MediaKind, source: MediaSource, options: PartOptions) -> ImagePart | AudioPart | VideoPart:
    """Build the part of one piece of media from checked options."""
    sampling = Sampling(**{name: value for name, value in options.items() if name in SAMPLING[kind]})
    fitting = {name: value for name, value in options.items() if name in FITTING[kind]}
    match kind:
        case "image":
            return ImagePart(source=source, sampling=sampling, **fitting)
        case "audio":
            return AudioPart(source=source, **fitting)
        case "video":
            return VideoPart(source=source, sampling=sampling, **fitting)
        case _:
            assert_never(kind)


def frames_part(frames: tuple[MediaSource, ...], options: PartOptions, place: str) -> FramesPart:
    """Build the part of a list of frames from checked options.

    Raises:
        UnsupportedContentError: an option that applies to files only.
    """
    wrong = next((name for name in options if name in FITTING["video"]), None)
    if wrong is not None:
        raise UnsupportedContentError(f"{place}: a list of frames has no option {wrong!r}; leave frames out instead.")
    return FramesPart(frames=frames, sampling=Sampling(**options))


def traced_text(part: object, segment: "Segment | None") -> str:
    """Return what traces show of a part of a request about a long video: texts, and a line for anything else.

    Args:
        part: the part.
        segment: the segment that it shows, if any.

    Example:
        >>> traced_text(TextPart(text="What happens?"), None)
        'What happens?'
    """
    if isinstance(part, TextPart):
        return part.text
    where = "" if segment is None else f", {float(segment.start):g} s to {float(segment.end):g} s"
    return f"[{part.modality}{where}]" if isinstance(part, MediaPart) else f"[{type(part).__name__}]"
