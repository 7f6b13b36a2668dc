"""Inspect a source once and plan for it, before anything is prepared, priced or sent.

The first step of fitting media, estimating their price and processing a long video: `look_at` opens the source and
returns its facts, `plan_for` asks `media.plan.planner` what to do with it.
"""

from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

from qwen_omni.errors import UnsupportedMediaError
from qwen_omni.media.budget import DEFAULT_SAMPLING, BudgetName, MediaBudget, PlanInputs, Sampling, budget_named
from qwen_omni.media.encode.pool import usual_workers
from qwen_omni.media.files.deadline import Deadline, usual_limit
from qwen_omni.media.files.handle import Reopenable, first_opening
from qwen_omni.media.info import AudioTrackChoice, MediaInfo, read_audio_track
from qwen_omni.media.plan.plan import MediaPlan, plan_media
from qwen_omni.media.plan.segments import exact_range, exact_seconds
from qwen_omni.media.probe.probe import probe
from qwen_omni.media.source import MediaSource, check_page
from qwen_omni.profiles import DEFAULT_MODEL, Profile, profile_for
from qwen_omni.ranges import COUNT, COUNT_OF_BYTES, PARALLEL, RATE, TIMEOUT, Range, check_numbers

Seconds = float | Fraction

_RANGES = {
    "room_bytes": COUNT_OF_BYTES,
    "uplink_mbps": RATE,
    "workers": PARALLEL,
    "limit_seconds": TIMEOUT,
    "frame": COUNT,
    "audio_track": Range(least=0, most=1000, whole=True, names=("auto", "mix")),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class PrepareOptions:
    """How media is prepared, apart from its budget and range.

    Attributes:
        model: the name of the model that receives it, or its profile.
        sampling: the caller's sampling fields; they are part of the bill that plans compare.
        media_root: the folder that sources from messages must lie in.
        room_bytes: largest file that can be delivered.
        uplink_mbps: upload speed in megabits per second.
        workers: number of threads; by default as many as there are cores, up to four (two for video beyond 1080p).
        audio_track: which of several audio tracks is used: `"auto"` for the default one, or the first that is not
            silent if the default is; its number, from 0; `"mix"` for all together.
        tile: whether a tall or wide image may become several overlapping images, rather than one unreadable one.
        listed: whether an image is one frame of a list, a silent video.
        frame: which frame of an animation, or page of a file, to use as an image, from 0; by default the whole file.
        limit_seconds: maximum duration of the work; by default generous and depending on the media's duration.
    """

    model: str | Profile = DEFAULT_MODEL
    sampling: Sampling = DEFAULT_SAMPLING
    media_root: Path = Path()
    room_bytes: int | None = None
    uplink_mbps: float = 20.0
    workers: int | None = None
    audio_track: AudioTrackChoice = "auto"
    tile: bool = True
    listed: bool = False
    frame: int | None = None
    limit_seconds: float | None = None

    def __post_init__(self) -> None:
        check_numbers(self, _RANGES)
        object.__setattr__(self, "audio_track", read_audio_track(self.audio_track))

    @property
    def profile(self) -> Profile:
        """The facts about the model."""
        return self.model if isinstance(self.model, Profile) else profile_for(self.model)


DEFAULTS = PrepareOptions()
_LOOKED_AT = 12.0  # seconds of a video that `media.analysis.motion` samples


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaLook:
    """A source after one inspection.

    Attributes:
        source: where it is.
        info: its facts.
        reopenable: opens it again; the unpacked file, if it had to be unpacked.
        original: opens the untouched file, if `reopenable` does not.
    """

    source: MediaSource
    info: MediaInfo
    reopenable: Reopenable
    original: Reopenable | None = None

    @property
    def label(self) -> str:
        """Its name in messages."""
        return self.reopenable.label


def look_at(source: MediaSource, *, choices: PrepareOptions = DEFAULTS, name: str | None = None) -> MediaLook:
    """Open a local source once and inspect it.

    Raises:
        MediaError: it is a link, or not readable media.
    """
    if source.url is not None:
        check_page(source.url, name=source.label)
        raise UnsupportedMediaError(
            f"{source.label} is a link; only local media can be prepared. Download it, or send the link as it is."
        )
    label = name or source.label
    with first_opening(source, choices.media_root, label=label) as (file, reopenable):
        info = probe(
            file,
            label=label,
            media_type_hint=source.media_type,
            audio_track=choices.audio_track,
            frame=choices.frame,
        )
    if not info.unpacked:
        return MediaLook(source=source, info=info, reopenable=reopenable)
    from qwen_omni.media.encode.unpack import unpack  # noqa: PLC0415 - PyAV loads on first use

    seconds = None if info.duration is None else float(info.duration)
    deadline = Deadline(choices.limit_seconds or usual_limit(seconds, info.size_bytes), label=label)
    shortest = exact_seconds(choices.profile.limits.min_video_seconds)
    made, opened = unpack(reopenable, info, deadline, shortest=shortest)
    return MediaLook(source=source, info=made, reopenable=opened, original=reopenable)


def plan_for(
    look: MediaLook,
    *,
    budget: MediaBudget | BudgetName,
    start: Seconds | None = None,
    end: Seconds | None = None,
    choices: PrepareOptions = DEFAULTS,
) -> MediaPlan:
    """Decide what to do with a source; measures its motion only if that matters.

    Raises:
        MediaDoesNotFitError: the range is empty.
        ConfigurationError: a time that is not a finite number of 0 or more, or an end before the start.
    """
    first, last = exact_range(start, end)
    inputs = PlanInputs(
        budget=budget_named(budget),
        profile=choices.profile,
        sampling=choices.sampling,
        start=first,
        end=last,
        room_bytes=choices.room_bytes,
        uplink_mbps=choices.uplink_mbps,
        cores=choices.workers or usual_workers(),
        tile=choices.tile,
        listed=choices.listed,
    )
    plan = plan_media(look.info, inputs, label=look.label)
    if plan.action in ("video", "frames") and inputs.budget.fps is None:
        from qwen_omni.media.analysis.motion import is_lively  # noqa: PLC0415 - PyAV loads on first use

        deadline = Deadline(choices.limit_seconds or usual_limit(_LOOKED_AT, look.info.size_bytes), label=look.label)
        if is_lively(look.reopenable, look.info, plan.start, plan.end, deadline):
            plan = plan_media(look.info, replace(inputs, lively=True), label=look.label)
    return plan
