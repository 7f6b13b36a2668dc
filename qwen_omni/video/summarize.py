"""`summarize` and its variants: a long video in, a `VideoSummary` out."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Generator

from qwen_omni.client import AsyncOmniClient, OmniClient
from qwen_omni.media.source import Anything
from qwen_omni.options import ChatRequest
from qwen_omni.responses import Response
from qwen_omni.settings import Settings
from qwen_omni.video.engine import drivers
from qwen_omni.video.engine.run import OnProgress, Progress, Run, notes_run, with_advice
from qwen_omni.video.options import DEFAULT_OPTIONS, SummaryOptions, TextModel
from qwen_omni.video.results import VideoSummary, arrange_chapters, gaps_of, summary_fields, to_bill
from qwen_omni.video.schemas import Joined, SegmentNotes, clock


def summarize(
    source: Anything,
    *,
    client: OmniClient | None = None,
    options: SummaryOptions = DEFAULT_OPTIONS,
    on_progress: OnProgress | None = None,
) -> VideoSummary:
    """Summarise a video of any length: cut it, take notes of each segment, join them.

    Finished segments are stored in a checkpoint: an interrupted run resumes where it stopped when it is started again
    with the same options, and no question is sent twice.

    Args:
        source: a path chosen by the program, bytes, or a `MediaSource`.
        client: sends the requests; one is created from the environment if not given.
        options: the models, how closely they look, where the video is cut, how many requests run at once, …
        on_progress: called after every step.

    Raises:
        TooManyGapsError: more segments failed permanently than `max_gaps`.
        SpendLimitError: the next request would exceed the spend limit.
        QwenOmniError: see `qwen_omni.errors`.

    Example:
        from qwen_omni import summarize

        found = summarize("lecture.mp4")
        print(found.summary)
        for chapter in found.chapters:
            print(chapter.start, chapter.title)
    """
    for news in stream_summary(source, client=client, options=options):
        if isinstance(news, VideoSummary):
            return news
        if on_progress is not None:
            on_progress(news)
    raise AssertionError("a run ends with its summary or an error")


async def asummarize(
    source: Anything,
    *,
    client: AsyncOmniClient | None = None,
    options: SummaryOptions = DEFAULT_OPTIONS,
    on_progress: OnProgress | None = None,
) -> VideoSummary:
    """Summarise a video; the asynchronous `summarize`. Finished segments are kept when it is cancelled."""
    async with contextlib.aclosing(astream_summary(source, client=client, options=options)) as coming:
        async for news in coming:
            if isinstance(news, VideoSummary):
                return news
            if on_progress is not None:
                on_progress(news)
    raise AssertionError("a run ends with its summary or an error")


def stream_summary(
    source: Anything, *, client: OmniClient | None = None, options: SummaryOptions = DEFAULT_OPTIONS
) -> Generator[Progress | VideoSummary, None, None]:
    """Yield progress while the video is processed, then the summary; see `summarize`."""
    with contextlib.ExitStack() as closing:
        asker = client if client is not None else closing.enter_context(OmniClient())
        run = notes_run(source, asker.settings, options, joins=True)
        closing.callback(run.close)
        yield run.tracker.planned(plan_text(run, options))
        text_asker = asker if isinstance(options.text_model, str) else options.text_model
        steps = closing.enter_context(contextlib.closing(drivers.drive_run(run.machine, run.worker, asker, text_asker)))
        for action in steps:
            yield from run.news(action)
        made = to_summary(run, asker.settings, options)
        yield run.tracker.done(run.worker.paid)
        yield made


async def astream_summary(
    source: Anything, *, client: AsyncOmniClient | None = None, options: SummaryOptions = DEFAULT_OPTIONS
) -> AsyncGenerator[Progress | VideoSummary, None]:
    """Yield progress, then the summary; the asynchronous `stream_summary`."""
    async with contextlib.AsyncExitStack() as closing:
        asker = client if client is not None else await closing.enter_async_context(AsyncOmniClient())
        run = await asyncio.to_thread(notes_run, source, asker.settings, options, joins=True)
        closing.push_async_callback(asyncio.to_thread, run.close)
        yield run.tracker.planned(plan_text(run, options))
        text_asker = asker if isinstance(options.text_model, str) else AsyncTextModel(options.text_model)
        steps = await closing.enter_async_context(
            contextlib.aclosing(drivers.adrive_run(run.machine, run.worker, asker, text_asker))
        )
        async for action in steps:
            for news in run.news(action):
                yield news
        made = await asyncio.to_thread(to_summary, run, asker.settings, options)
        yield run.tracker.done(run.worker.paid)
        yield made


class AsyncTextModel:
    """Adapts the caller's own text model to the asynchronous driver."""

    def __init__(self, model: TextModel) -> None:
        self._model = model

    async def complete(self, request: ChatRequest, /) -> Response:
        """Send it a conversation."""
        return await self._model.acomplete(request)


def plan_text(run: Run[SegmentNotes], options: SummaryOptions) -> str:
    """Describe the run that is about to start."""
    video = run.video
    length = clock(float(video.duration))
    if run.machine.joins is None:
        return f"{video.look.label}: {length}, in one call to {options.model}"
    return (
        f"{video.look.label}: {length}, in about {video.about} segments of at most {float(video.seconds):g} s to "
        f"{options.model}, joined by {options.text_model_name}"
    )


def to_summary(run: Run[SegmentNotes], settings: Settings, options: SummaryOptions) -> VideoSummary:
    """Build the summary of a finished run.

    Raises:
        QwenOmniError: what stopped the run, with advice on how to resume.
    """
    machine, video = run.machine, run.video
    if machine.error is not None:
        raise with_advice(machine.error)
    notes = [machine.answers[index] for index in sorted(machine.answers)]
    joined = machine.joined
    whole = notes[0] if joined is None else None
    chapters = joined.chapters if isinstance(joined, Joined) else notes[0].chapters
    return VideoSummary.model_validate(
        {
            "video": video.facts,
            "summary": joined.summary if isinstance(joined, Joined) else notes[0].summary,
            "chapters": arrange_chapters(chapters, start=float(video.start), end=float(video.end)),
            "gaps": gaps_of(machine.gaps.values()),
            "strategy": "map_reduce" if whole is None else "single",
            "segments": machine.count,
            "model": options.model,
            "text_model": options.text_model_name if whole is None else "",
            "this_run": to_bill(run.worker.paid, settings),
            "whole_run": to_bill(run.checkpoint.paid(), settings),
            **summary_fields(notes, run.reports(), summary_cut=isinstance(joined, Joined) and joined.truncated),
        }
    )
