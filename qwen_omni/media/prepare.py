"""Make media fit: inspect a source once, plan, `prepare` one piece, or `split` a long one into segments.

`look_at` opens a source and returns its facts, `plan_for` asks `media.plan.plan` what to do with it, and `carry_out`
does it with `media.encode`; segments are yielded while work continues. Fitting media, estimating their price and
processing a long video begin with the first two. The asynchronous forms run the same on threads, since FFmpeg blocks.
"""

import asyncio
import contextlib
import itertools
import os
import weakref
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Self

from qwen_omni._moved import with_old_options
from qwen_omni.errors import MediaDoesNotFitError, UnsupportedMediaError
from qwen_omni.media.budget import DEFAULT_SAMPLING, BudgetName, MediaBudget, PlanInputs, Sampling, budget_named
from qwen_omni.media.files.safe_open import Reopenable, first_opening
from qwen_omni.media.files.tempfiles import remove_file
from qwen_omni.media.info import AudioTrackChoice, MediaInfo, read_audio_track
from qwen_omni.media.plan.images import JpegImage
from qwen_omni.media.plan.plan import Action, MediaPlan, plan_media
from qwen_omni.media.plan.segments import (
    DEFAULT_SECONDS,
    Places,
    Segment,
    check_lengths,
    plan_segments,
)
from qwen_omni.media.probe.probe import probe
from qwen_omni.media.source import Anything, MediaSource, as_source, check_page
from qwen_omni.media.work import (
    Deadline,
    in_order,
    scratch_file,
    segments_apart,
    threads_for,
    usual_limit,
    usual_workers,
)
from qwen_omni.profiles import DEFAULT_MODEL, Profile, profile_for
from qwen_omni.ranges import (
    COUNT,
    COUNT_OF_BYTES,
    PARALLEL,
    RATE,
    TIMEOUT,
    Range,
    check_numbers,
    exact_range,
    exact_seconds,
)

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
_LOOKED_AT = 12.0  # seconds of a video that `media.analysis.is_lively` samples


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
            f"{source.label} is a link; only local media can be prepared. Download it, or send the link unchanged."
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

    deadline = _deadline(info, info.duration, label, choices)
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
        from qwen_omni.media.analysis import is_lively  # noqa: PLC0415 - PyAV loads on first use

        deadline = _deadline(look.info, _LOOKED_AT, look.label, choices)
        if is_lively(look.reopenable, look.info, plan.start, plan.end, deadline):
            plan = plan_media(look.info, replace(inputs, lively=True), label=look.label)
    return plan


def _deadline(
    info: MediaInfo, seconds: Seconds | None, label: str, choices: PrepareOptions, parent: Deadline | None = None
) -> Deadline:
    """Return the caller's deadline, or a generous one for media of this duration."""
    usual = usual_limit(None if seconds is None else float(seconds), info.size_bytes)
    return Deadline(choices.limit_seconds or usual, label=label, parent=parent)


@with_old_options("jpegs")
@dataclass(frozen=True, slots=True, kw_only=True, weakref_slot=True, eq=False)
class Prepared:
    """One piece of media, ready to be delivered.

    It owns its file: a temporary one is removed by `close`, at the end of a `with` block, or when the last reference
    to this value is dropped. Keep the value alive as long as `path` is used; `prepare(...).path` alone names a file
    that is already removed. The caller's own file is never touched; a forked child or a copy elsewhere removes nothing.

    Attributes:
        path: its path, if it is a file.
        data: the bytes, if it is in memory.
        jpegs: the JPEG images, if it is a frame list, or an image that became several images.
        info: its facts now.
        source_info: the facts of its source.
        plan: what was done and why.
        segment: which slice of the source it is, after `split`.
        temporary: whether the file is ours to remove.

    Example:
        with prepare("clip.mov", budget="static") as prepared:
            print(prepared.plan.reason, prepared.info.size_bytes)
    """

    info: MediaInfo
    source_info: MediaInfo
    plan: MediaPlan
    path: Path | None = None
    data: bytes | None = field(default=None, repr=False)
    jpegs: tuple[JpegImage, ...] = field(default=(), repr=False)
    segment: Segment | None = None
    temporary: bool = False
    _process: int = field(default_factory=os.getpid, init=False, repr=False)

    def __post_init__(self) -> None:
        if self.temporary and self.path is not None:
            weakref.finalize(self, remove_file, self.path, self._process)

    @property
    def start(self) -> Fraction:
        """Where it begins in the source, in seconds."""
        return self.plan.start

    @property
    def end(self) -> Fraction | None:
        """Where it ends in the source, in seconds; `None` if unknown."""
        return self.plan.end

    @property
    def images(self) -> "tuple[Prepared, ...]":
        """The images that an image is sent as, in order: itself, or its tiles or pages; empty for other media."""
        if self.info.kind != "image":
            return ()
        if not self.jpegs:
            return (self,)
        return tuple(
            replace(
                self,
                info=replace(self.info, width=jpeg.piece.size[0], height=jpeg.piece.size[1], size_bytes=len(jpeg.data)),
                plan=replace(self.plan, pieces=(jpeg.piece,)),
                data=jpeg.data,
                jpegs=(),
            )
            for jpeg in self.jpegs
            if jpeg.piece is not None
        )

    def read(self) -> bytes:
        """Return its bytes; a frame list, or an image that became several images, has none (see `images`)."""
        if self.data is not None:
            return self.data
        return b"" if self.path is None else self.path.read_bytes()

    def close(self) -> None:
        """Remove the temporary file, if there is one."""
        if self.temporary and self.path is not None:
            remove_file(self.path, self._process)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def prepare(
    source: Anything,
    *,
    budget: MediaBudget | BudgetName = "auto",
    start: Seconds | None = None,
    end: Seconds | None = None,
    choices: PrepareOptions = DEFAULTS,
) -> Prepared:
    """Make one piece of media fit a budget, or find that it already does.

    Args:
        source: a path chosen by the program, bytes, or a `MediaSource`.
        budget: a preset's name or a budget.
        start: start of the range, in seconds.
        end: end of the range, in seconds.
        choices: all other options.

    Raises:
        UnreadableMediaError: missing, empty, damaged or not media.
        UnsupportedMediaError: a link, or an image whose codec is not installed.
        MediaDoesNotFitError: too many pixels, or an empty range.
        ConfigurationError: a time that is not a finite number of 0 or more, or an end before the start.
    """
    exact_range(start, end)
    look = look_at(as_source(source), choices=choices)
    return carry_out(look, plan_for(look, budget=budget, start=start, end=end, choices=choices), choices=choices)


def split(  # noqa: PLR0913 - each keyword is a choice of its own
    source: Anything,
    *,
    seconds: Seconds = DEFAULT_SECONDS,
    overlap: Seconds = 0,
    budget: MediaBudget | BudgetName = "auto",
    start: Seconds | None = None,
    end: Seconds | None = None,
    choices: PrepareOptions = DEFAULTS,
) -> Generator[Prepared]:
    """Split a video or recording into prepared segments and yield them in order while later ones are being made.

    At most a few finished segments wait, so memory and disk use stay small however long the media is. Close the
    generator (or drop it) to stop early.

    Args:
        source: a path chosen by the program, bytes, or a `MediaSource`.
        seconds: maximum length of a segment, overlap included; the model's limit may be less.
        overlap: how many seconds of a segment's end the next one repeats.
        budget: a preset's name or a budget.
        start: start of the range, in seconds.
        end: end of the range, in seconds.
        choices: all other options.

    Raises:
        MediaError: as `prepare`; an image cannot be split.
        ConfigurationError: an impossible length, or lengths that leave no room for the next segment.
    """
    exact_range(start, end)
    longest, shared = exact_seconds(seconds, "seconds"), exact_seconds(overlap, "overlap")
    look = look_at(as_source(source), choices=choices)
    whole = plan_for(look, budget=budget, start=start, end=end, choices=choices)
    yield from split_look(look, whole, seconds=longest, overlap=shared, choices=choices)


async def aprepare(
    source: Anything,
    *,
    budget: MediaBudget | BudgetName = "auto",
    start: Seconds | None = None,
    end: Seconds | None = None,
    choices: PrepareOptions = DEFAULTS,
) -> Prepared:
    """Run `prepare` on a thread; cancelling it ends the work within a few frames."""
    made = await _on_a_thread(lambda: prepare(source, budget=budget, start=start, end=end, choices=choices), Deadline())
    assert made is not None
    return made


async def _on_a_thread(work: Callable[[], Prepared | None], deadline: Deadline) -> Prepared | None:
    """Run work on a thread; cancelling it stops the deadline, and closes what the work returns nevertheless."""

    def governed() -> Prepared | None:
        with deadline.governing():
            return work()

    running = asyncio.get_running_loop().run_in_executor(None, governed)
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        deadline.stop()
        with contextlib.suppress(Exception):
            if (unseen := await running) is not None:
                unseen.close()
        raise


async def asplit(  # noqa: PLR0913 - the same keywords as `split`
    source: Anything,
    *,
    seconds: Seconds = DEFAULT_SECONDS,
    overlap: Seconds = 0,
    budget: MediaBudget | BudgetName = "auto",
    start: Seconds | None = None,
    end: Seconds | None = None,
    choices: PrepareOptions = DEFAULTS,
) -> AsyncIterator[Prepared]:
    """Run `split` on threads. Cancelling ends the work within a few frames.

    Use `contextlib.aclosing` to stop early without delay.
    """
    segments = split(source, seconds=seconds, overlap=overlap, budget=budget, start=start, end=end, choices=choices)
    deadline = Deadline()
    try:
        while (prepared := await _on_a_thread(lambda: next(segments, None), deadline)) is not None:
            yield prepared
    finally:
        deadline.stop()
        with contextlib.suppress(ValueError):  # it still runs, after a second cancellation; then it ends by itself
            await asyncio.get_running_loop().run_in_executor(None, segments.close)


def carry_out(
    look: MediaLook,
    plan: MediaPlan,
    *,
    choices: PrepareOptions = DEFAULTS,
    parent: Deadline | None = None,
    segment: Segment | None = None,
) -> Prepared:
    """Carry out a plan.

    Raises:
        MediaError: the media turns out to be damaged, or the work takes too long.
        LocalResourceError: this machine lacks disk space, a permission or the like; no partial file is left behind.
    """
    if plan.action in ("pass", "remux") and look.info.kind == "video":
        from qwen_omni.media.probe.av import check_first_frame  # noqa: PLC0415 - PyAV loads on first use

        with look.reopenable.open() as file:
            check_first_frame(file, size_bytes=look.reopenable.size_bytes, label=look.label)
    if plan.action == "pass":
        path = None if look.source.kind == "bytes" else look.reopenable.path
        return Prepared(
            info=look.info, source_info=look.info, plan=plan, path=path, data=look.source.data, segment=segment
        )
    deadline = _deadline(look.info, plan.length, look.label, choices, parent)
    needed = partial(_needed, look, plan)
    try:
        with scratch_file(_SUFFIXES[plan.action], look.label, deadline, needed=needed) as path:
            info, jpegs = _make(look, plan, path, deadline, _threads(look, choices))
    finally:
        deadline.stop()
    return Prepared(
        info=info,
        source_info=look.info,
        plan=plan,
        path=None if jpegs else path,
        jpegs=jpegs,
        segment=segment,
        temporary=not jpegs,
    )


_SUFFIXES = {"video": ".mp4", "remux": ".mp4", "audio": ".mp3", "image": ".jpg", "images": ".none", "frames": ".none"}


def _make(
    look: MediaLook, plan: MediaPlan, path: Path, deadline: Deadline, workers: int
) -> tuple[MediaInfo, tuple[JpegImage, ...]]:
    """Write the file that a plan describes, or make its images, and return its facts. PyAV and Pillow load here."""
    source, info = look.reopenable, look.info
    match plan.action:
        case "image" | "images":
            from qwen_omni.media.encode.images import make_images  # noqa: PLC0415

            made, jpegs = make_images(source, info, plan, deadline)
            if plan.action == "image":
                path.write_bytes(jpegs[0].data)
            return made, jpegs if plan.action == "images" else ()
        case "frames":
            from qwen_omni.media.encode.frames import make_frames  # noqa: PLC0415

            jpegs = make_frames(source, info, plan, deadline, workers=workers)
            return replace(info, size_bytes=sum(len(jpeg.data) for jpeg in jpegs)), jpegs
        case "audio":
            from qwen_omni.media.encode.audio import make_audio  # noqa: PLC0415

            return make_audio(source, info, plan, path, deadline), ()
        case "remux":
            from qwen_omni.media.encode.video import remux  # noqa: PLC0415

            return remux(source, info, path, deadline), ()
        case _:
            from qwen_omni.media.encode.video import make_video  # noqa: PLC0415

            return make_video(source, info, plan, path, deadline, workers=workers), ()


def _threads(look: MediaLook, choices: PrepareOptions) -> int:
    return threads_for(look.info, asked=choices.workers, usual=usual_workers())


def _needed(look: MediaLook, plan: MediaPlan, path: Path) -> int | None:
    """Estimate how many bytes of the planned file are still to be written; `None` if unknown."""
    if plan.action != "remux":
        return None
    with contextlib.suppress(OSError):
        return max(0, look.info.size_bytes - path.stat().st_size)
    return look.info.size_bytes


def _longest(look: MediaLook, seconds: Fraction, choices: PrepareOptions) -> Fraction:
    limits = choices.profile.limits
    longest = {"video": limits.video_seconds, "audio": limits.audio_seconds}
    if look.info.kind == "image":
        raise UnsupportedMediaError(f"{look.label} is an image and cannot be split.")
    return min(seconds, exact_seconds(longest[look.info.kind]))


def split_look(
    look: MediaLook, whole: MediaPlan, *, seconds: Fraction, overlap: Fraction, choices: PrepareOptions = DEFAULTS
) -> Generator[Prepared]:
    """Split a source that has been inspected and planned for."""
    longest = _longest(look, seconds, choices)
    if whole.end is None:
        raise MediaDoesNotFitError(
            f"{look.label} does not state its duration and its packets have no timestamps, so it cannot be split. "
            "Convert it to MP4 first.",
            limit=float(longest),
            actual=0,
        )
    shortest = exact_seconds(choices.profile.limits.min_video_seconds) if look.info.kind == "video" else Fraction(0)
    check_lengths(whole.end - whole.start, seconds=longest, overlap=overlap, shortest=shortest)
    deadline = _deadline(look.info, whole.length, look.label, choices)
    segments = plan_segments(
        whole.end - whole.start, seconds=longest, overlap=overlap, shortest=shortest,
        places=_places(look, whole, deadline),
    )  # fmt: skip
    if whole.end - whole.start <= longest:
        yield carry_out(look, whole, choices=choices, parent=deadline, segment=_moved(next(segments), whole.start))
        return
    piece = _piece(look, whole, longest, choices)
    threads = _threads(look, choices)
    apart = segments_apart(whole.end - whole.start, seconds=longest, overlap=overlap, threads=threads)
    rounds: list[tuple[Iterator[Segment], int]] = [
        (segments, threads)
    ]  # audio and lists of images take one thread each
    if piece.action == "video":
        rounds = [(itertools.islice(segments, apart), threads), (segments, 1)]
    for some, at_once in rounds:
        each, inner = replace(choices, workers=threads // at_once), Deadline(parent=deadline)
        tasks = (partial(_one, look, piece, _moved(segment, whole.start), each, inner) for segment in some)
        yield from in_order(tasks, workers=at_once, ahead=1, deadline=inner, discard=Prepared.close)


def _places(look: MediaLook, whole: MediaPlan, deadline: Deadline) -> Places:
    from qwen_omni.media.analysis import find_cut_points  # noqa: PLC0415 - PyAV loads on first use

    return lambda earliest, latest: find_cut_points(
        look.reopenable, look.info, (earliest, latest), whole.start, deadline
    )


def _piece(look: MediaLook, whole: MediaPlan, longest: Fraction, choices: PrepareOptions) -> MediaPlan:
    """Plan a part: if the whole is sent or remuxed unchanged, its plan does not say how a part is made."""
    if whole.action not in ("pass", "remux"):
        return whole
    assert whole.end is not None
    end = whole.start + min(longest, (whole.end - whole.start) / 2)
    return plan_for(look, budget=whole.budget, start=whole.start, end=end, choices=choices)


def _one(look: MediaLook, piece: MediaPlan, here: Segment, choices: PrepareOptions, deadline: Deadline) -> Prepared:
    action: Action = "frames" if piece.action == "frames" else "audio" if look.info.kind == "audio" else "video"
    plan = replace(piece, action=action, start=here.start, end=here.end, partial=True)
    return carry_out(look, plan, choices=choices, parent=deadline, segment=here)


def _moved(segment: Segment, by: Fraction) -> Segment:
    return replace(segment, start=segment.start + by, end=segment.end + by)
