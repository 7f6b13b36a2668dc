"""Which media of a message a run over a long video takes, and what it cannot heed about them. Pure.

Every door that is given a message, or a block of one, comes through here.
"""

from collections.abc import Sequence
from typing import Any

from qwen_omni.errors import UnsupportedContentError
from qwen_omni.messages import AudioPart, FramesPart, ImagePart, Part, TextPart, VideoPart
from qwen_omni.video.options import DETAIL_FPS

_NAMES = {ImagePart: "an image", FramesPart: "a list of frames", VideoPart: "a video", AudioPart: "a recording"}
_PIXELS = ("min_pixels", "max_pixels", "total_pixels")


def heeded_media(parts: Sequence[Part]) -> VideoPart | AudioPart:
    """Give the one video or recording among the parts of a message; texts beside it are the caller's to read.

    Example:
        >>> from qwen_omni import MediaSource
        >>> heeded_media([VideoPart(source=MediaSource.from_path("talk.mp4"), start=60)]).start
        60

    Raises:
        UnsupportedContentError: there is not exactly one, or it says how closely to look, which is chosen for all
            segments alike; the text names the option to use in place.
    """
    media = [part for part in parts if not isinstance(part, TextPart)]
    if len(media) != 1 or not isinstance(media[0], VideoPart | AudioPart):
        held = ", ".join(_NAMES.get(type(part), "something else") for part in media) or "no media"
        raise UnsupportedContentError(f"The input holds {held}; a long video is one video or recording.")
    if isinstance(media[0], VideoPart):
        _check_closeness(media[0])
    return media[0]


def choices_of(part: VideoPart | AudioPart) -> dict[str, Any]:
    """Return the options of a run that a part names; they win over the run's own."""
    named: dict[str, Any] = {}
    if part.start is not None or part.end is not None:
        named |= {"start": part.start, "end": part.end}
    return named if part.audio_track == "auto" else named | {"audio_track": part.audio_track}


def _check_closeness(video: VideoPart) -> None:
    if video.sampling.fps is not None:
        rates = ", ".join(f'detail="{name}" ({rate:g} frames a second)' for name, rate in DETAIL_FPS.items())
        raise UnsupportedContentError(
            f"The video asks for fps={video.sampling.fps:g}, and how closely a long video is looked at is one choice "
            f"for all of it: leave it out and give one of {rates}."
        )
    wishes = {name: getattr(video.sampling, name) for name in _PIXELS}
    wishes["budget"] = None if video.budget == "auto" else video.budget
    wish = next((name for name, value in wishes.items() if value is not None), None)
    if wish is not None:
        raise UnsupportedContentError(
            f"The video asks for {wish}, and how the pieces of a long video are made is one choice for all of it: "
            "leave it out and give budget=MediaBudget(...)."
        )
