"""What a caller writes beside a piece of media, checked, and the part that comes of it. Pure.

What the service should look at (`fps`, `min_pixels`, `max_pixels`, `total_pixels`) and what is done to local media
before it is sent (`start`, `end`, `budget`, `audio_track`). The adapters find these options in their frameworks'
spellings.
"""

import re
from collections.abc import Mapping
from dataclasses import fields
from typing import Any, Literal, assert_never, get_args

from qwen_omni.errors import ConfigurationError, UnsupportedContentError
from qwen_omni.media.budget import PRESETS, BudgetName, MediaBudget
from qwen_omni.media.info import AudioTrackChoice, read_audio_track
from qwen_omni.media.source import MediaSource
from qwen_omni.messages import (
    SAMPLING_RANGES,
    SPAN_RANGES,
    AudioPart,
    FramesPart,
    ImagePart,
    Sampling,
    VideoPart,
)
from qwen_omni.ranges import check_span, checked

MediaKind = Literal["image", "audio", "video"]
PartOptions = dict[str, Any]
"""The options of a part, checked: those of `Sampling`, and `start`, `end`, `budget` and `audio_track`."""

SAMPLING: dict[MediaKind, tuple[str, ...]] = {
    "image": ("min_pixels", "max_pixels"),
    "audio": (),
    "video": ("fps", "min_pixels", "max_pixels", "total_pixels"),
}
"""What the service is told about each kind."""

FITTING: dict[MediaKind, tuple[str, ...]] = {
    "image": ("budget",),
    "audio": ("start", "end", "audio_track"),
    "video": ("start", "end", "budget", "audio_track"),
}
"""What is done to local media of each kind before it is sent."""

_SECONDS = r"\d+(?:\.\d+)?(?:e-\d{2,3})?"
_FRAGMENT = re.compile(rf"t=(?P<start>{_SECONDS})?(?:,(?P<end>{_SECONDS}))?")  # W3C Media Fragments
_RANGES = {**SAMPLING_RANGES, **SPAN_RANGES}
_LIMITS = {limit.name: limit.type for limit in fields(MediaBudget)}


def known_options(kind: MediaKind) -> tuple[str, ...]:
    """Name the options of a kind of media."""
    return (*SAMPLING[kind], *FITTING[kind])


def check_options(kind: MediaKind, options: Mapping[str, Any], place: str) -> PartOptions:
    """Check what stands beside a piece of media; an option that is not known raises rather than being dropped.

    Raises:
        UnsupportedContentError: an unknown option, or a wrong value; names the place.
    """
    known = known_options(kind)
    found = dict(options)
    for name, value in options.items():
        if name not in known:
            raise UnsupportedContentError(
                f"{place}: {kind} has no option {name!r}; known here: {', '.join(known) or 'none'}."
            )
        if name == "budget":
            found[name] = read_budget(value, place)
        elif value is None:
            del found[name]
        elif name == "audio_track":
            found[name] = _read_track(value, place)
        else:
            found[name] = checked(name, value, _RANGES[name], place=place, error=UnsupportedContentError)
    try:
        check_span(found.get("start"), found.get("end"))
        Sampling(**{name: value for name, value in found.items() if name in SAMPLING_RANGES})
    except ConfigurationError as error:
        raise UnsupportedContentError(f"{place}: {error}") from None
    return found


def _read_track(value: object, place: str) -> AudioTrackChoice:
    try:
        return read_audio_track(value)
    except ConfigurationError as error:
        raise UnsupportedContentError(f"{place}: {error}") from None


def seconds_of(address: str, place: str) -> PartOptions:
    """Read `start` and `end` from the address of a local file: documents of loaders and readers name passages so.

    Those of a link are not read: the service takes it as a whole, and whoever sends it says so.

    Example:
        >>> seconds_of("file:///talk.mp4#t=60,90", "message 0")
        {'start': 60.0, 'end': 90.0}

    Raises:
        UnsupportedContentError: the address names seconds in another way; names the place.
    """
    fragment = address.partition("#")[2] if address[:5].lower() == "file:" else ""
    if not fragment.startswith("t="):
        return {}
    times = _FRAGMENT.fullmatch(fragment)
    found = {name: float(value) for name, value in times.groupdict().items() if value} if times else {}
    if not found:
        raise UnsupportedContentError(f"{place}: #{fragment[:40]} names no seconds; write them as #t=60,90.")
    return found


def read_budget(value: object, place: str) -> MediaBudget | BudgetName:
    """Read a budget as callers write it: a preset's name, a `MediaBudget`, or a mapping of some of its limits.

    Example:
        >>> read_budget({"fps": 1}, "message 0").fps
        1

    Raises:
        UnsupportedContentError: it is none of these, or has a limit that is unknown or wrong; names the place.
    """
    if isinstance(value, MediaBudget):
        return value
    if isinstance(value, Mapping):
        return _budget_of(value, place)
    preset = next((name for name in PRESETS if name == value), None)
    if preset is None:
        told = repr(value) if isinstance(value, str) else f"of type {type(value).__name__}"
        raise UnsupportedContentError(
            f"{place}: budget {told} is not known; choose one of {', '.join(PRESETS)}, a MediaBudget, or a dictionary "
            "of its limits."
        )
    return preset


def _budget_of(limits: Mapping[str, Any], place: str) -> MediaBudget:
    for name, value in limits.items():
        if name not in _LIMITS:
            raise UnsupportedContentError(f"{place}: budget has no {name!r}; known here: {', '.join(_LIMITS)}.")
        if not _is_of(value, _LIMITS[name]):
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
    """Make the part of one piece of media, its options checked before."""
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
    """Make the part of a list of frames, its options checked before.

    Raises:
        UnsupportedContentError: an option that only a file has.
    """
    wrong = next((name for name in options if name in FITTING["video"]), None)
    if wrong is not None:
        raise UnsupportedContentError(f"{place}: a list of frames has no option {wrong!r}; leave frames out instead.")
    return FramesPart(frames=frames, sampling=Sampling(**options))
