"""Make media fit: `prepare` one piece, `split` a long one into segments that are yielded while work goes on.

`media.inspect` inspects, `media.plan.plan` decides, `media.encode.video` and its neighbours encode; this module
starts the work and cleans up. The asynchronous forms run the same on threads, since FFmpeg blocks.
"""

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator, Generator, Iterator
from dataclasses import replace
from fractions import Fraction
from functools import partial
from pathlib import Path

from qwen_omni.errors import MediaDoesNotFitError, MediaError, UnreadableMediaError, UnsupportedMediaError
from qwen_omni.media.budget import BudgetName, MediaBudget
from qwen_omni.media.encode.pool import in_order, segments_apart, threads_for, usual_workers
from qwen_omni.media.files.deadline import Deadline, StoppedError, usual_limit
from qwen_omni.media.files.tempfiles import machine_fault, remove_file, scratch
from qwen_omni.media.inspect import DEFAULTS, MediaLook, PrepareOptions, Seconds, look_at, plan_for
from qwen_omni.media.plan.plan import Action, MediaPlan
from qwen_omni.media.plan.segments import (
    DEFAULT_SECONDS,
    Places,
    Segment,
    check_lengths,
    exact_range,
    exact_seconds,
    plan_segments,
)
from qwen_omni.media.prepared import Prepared
from qwen_omni.media.source import Anything, as_source


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
    with contextlib.closing(
        split_look(
            look,
            whole,
            seconds=longest,
            overlap=shared,
            choices=choices,
        )
    ) as made:
        yield from made


async def aprepare(
    source: Anything,
    *,
    budget: MediaBudget | BudgetName = "auto",
    start: Seconds | None = None,
    end: Seconds | None = None,
    choices: PrepareOptions = DEFAULTS,
) -> Prepared:
    """Run `prepare` on a thread; cancelling it ends the work within a few frames."""
    deadline = Deadline()

    def work() -> Prepared:
        with deadline.governing():
            return prepare(source, budget=budget, start=start, end=end, choices=choices)

    running = asyncio.get_running_loop().run_in_executor(None, work)
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        deadline.stop()
        with contextlib.suppress(Exception):
            (await running).close()
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
    running: asyncio.Future[Prepared | None] | None = None
    loop, deadline = asyncio.get_running_loop(), Deadline()

    def step() -> Prepared | None:
        with deadline.governing():
            return next(segments, None)

    try:
        while True:
            running = loop.run_in_executor(None, step)
            prepared = await asyncio.shield(running)
            if prepared is None:
                return
            yield prepared
    finally:
        deadline.stop()
        if running is not None and not running.done():
            with contextlib.suppress(Exception):
                unseen = await running
                if unseen is not None:
                    unseen.close()
        await loop.run_in_executor(None, segments.close)


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
        from qwen_omni.media.probe.av import check_picture  # noqa: PLC0415 - PyAV loads on first use

        with look.reopenable.open() as file:
            check_picture(file, size_bytes=look.reopenable.size_bytes, label=look.label)
    if plan.action == "pass":
        path = None if look.source.kind == "bytes" else look.reopenable.path
        return Prepared(
            info=look.info, source_info=look.info, plan=plan, path=path, data=look.source.data, segment=segment
        )
    from qwen_omni.media.encode.encode import make  # noqa: PLC0415 - PyAV and Pillow load on first use

    span = None if plan.end is None else float(plan.end - plan.start)
    deadline = Deadline(
        choices.limit_seconds or usual_limit(span, look.info.size_bytes), label=look.label, parent=parent
    )
    path = scratch.new_path(_SUFFIXES[plan.action])
    try:
        info, stills = make(look.reopenable, look.info, plan, path, deadline, workers=_threads(look, choices))
    except BaseException as error:
        fault = machine_fault(error, f"prepare {look.label}", needed=_needed(look, plan, path))
        remove_file(path)
        try:
            if fault is not None:
                raise fault from error
            if isinstance(error, Exception) and not isinstance(error, MediaError | StoppedError):
                deadline.check()  # after the deadline the file seems to end early, and FFmpeg's error is arbitrary
                raise _damaged(look, error) from error
        finally:
            deadline.stop()
        raise
    return Prepared(
        info=info,
        source_info=look.info,
        plan=plan,
        path=None if stills else path,
        stills=stills,
        segment=segment,
        temporary=not stills,
    )


_SUFFIXES = {"video": ".mp4", "remux": ".mp4", "audio": ".mp3", "image": ".jpg", "images": ".none", "frames": ".none"}


def _threads(look: MediaLook, choices: PrepareOptions) -> int:
    return threads_for(look.info, asked=choices.workers, usual=usual_workers())


def _needed(look: MediaLook, plan: MediaPlan, path: Path) -> int | None:
    """Estimate how many bytes of the planned file are still to be written; `None` if unknown."""
    if plan.action != "remux":
        return None
    with contextlib.suppress(OSError):
        return max(0, look.info.size_bytes - path.stat().st_size)
    return look.info.size_bytes


def _damaged(look: MediaLook, error: Exception) -> MediaError:
    """Return our own error for what FFmpeg, Pillow or their bindings raised on untrusted bytes."""
    reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return UnreadableMediaError(f"{look.label} is damaged, cut, or of a kind that cannot be prepared: {reason}.")


def _longest(look: MediaLook, seconds: Fraction, choices: PrepareOptions) -> Fraction:
    limits = choices.profile.limits
    longest = {"video": limits.video_seconds, "audio": limits.audio_seconds}
    if look.info.kind == "image":
        raise UnsupportedMediaError(f"{look.label} is an image and cannot be split. Use prepare.")
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
    limit = choices.limit_seconds or usual_limit(float(whole.end - whole.start), look.info.size_bytes)
    deadline = Deadline(limit, label=look.label)
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
    from qwen_omni.media.analysis.cut_points import quiet_places  # noqa: PLC0415 - PyAV loads on first use

    return lambda earliest, latest: quiet_places(look.reopenable, look.info, (earliest, latest), whole.start, deadline)


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
