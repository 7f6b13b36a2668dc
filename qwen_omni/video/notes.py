"""The notes of a long video, segment by segment in order, while later segments are still being processed.

Readers and loaders use this. It shares its checkpoint with `summarize`: with the same options, notes paid for by one
cost the other nothing.
"""

import asyncio
import contextlib
import warnings
from collections.abc import AsyncGenerator, Generator

from qwen_omni.client import AsyncOmniClient, OmniClient
from qwen_omni.media.source import Anything
from qwen_omni.video.engine import drivers
from qwen_omni.video.engine.run import OnProgress, Run, notes_run, with_advice
from qwen_omni.video.options import DEFAULT_OPTIONS, SummaryOptions
from qwen_omni.video.schemas import SegmentNotes


def iter_notes(
    source: Anything,
    *,
    client: OmniClient | None = None,
    options: SummaryOptions = DEFAULT_OPTIONS,
    on_progress: OnProgress | None = None,
) -> Generator[SegmentNotes, None, None]:
    """Yield the notes of each segment, in order; for one that failed permanently, `gap` has the reason.

    Lazy: the source is not opened before the first item is requested, and nothing new starts between items. Close the
    generator to stop early; requests in flight are awaited and their answers kept.

    Args:
        source: a path chosen by the program, bytes, or a `MediaSource`.
        client: sends the requests; one is created from the environment if not given.
        options: the model, how closely it looks, where the video is cut, …
        on_progress: called after every step.

    Raises:
        QwenOmniError: see `qwen_omni.errors`; finished segments are kept for the next run.

    Example:
        from qwen_omni import iter_notes

        for notes in iter_notes("lecture.mp4"):
            print(notes.start, notes.summary)
    """
    with contextlib.ExitStack() as closing:
        asker = client if client is not None else closing.enter_context(OmniClient())
        run = notes_run(source, asker.settings, options, joins=False)
        closing.callback(run.close)
        steps = closing.enter_context(contextlib.closing(drivers.drive_run(run.machine, run.worker, asker, asker)))
        order = InOrder(run)
        for action in steps:
            report(run, action, on_progress)
            yield from order.ready()
        report_unkept(run, on_progress)
        if run.machine.error is not None:
            raise with_advice(run.machine.error)


async def aiter_notes(
    source: Anything,
    *,
    client: AsyncOmniClient | None = None,
    options: SummaryOptions = DEFAULT_OPTIONS,
    on_progress: OnProgress | None = None,
) -> AsyncGenerator[SegmentNotes, None]:
    """The asynchronous `iter_notes`. Use `contextlib.aclosing` to stop early without delay."""
    async with contextlib.AsyncExitStack() as closing:
        asker = client if client is not None else await closing.enter_async_context(AsyncOmniClient())
        run = await asyncio.to_thread(notes_run, source, asker.settings, options, joins=False)
        closing.push_async_callback(asyncio.to_thread, run.close)
        steps = await closing.enter_async_context(
            contextlib.aclosing(drivers.adrive_run(run.machine, run.worker, asker, asker))
        )
        order = InOrder(run)
        async for action in steps:
            report(run, action, on_progress)
            for notes in order.ready():
                yield notes
        report_unkept(run, on_progress)
        if run.machine.error is not None:
            raise with_advice(run.machine.error)


class InOrder:
    """Puts the notes of a run in order, each yielded once."""

    def __init__(self, run: Run[SegmentNotes]) -> None:
        self._machine = run.machine
        self._facts = run.video.facts
        self._next = 0

    def ready(self) -> Generator[SegmentNotes, None, None]:
        """Yield the notes that have become ready."""
        machine = self._machine
        while True:
            notes, gap = machine.answers.get(self._next), machine.gaps.get(self._next)
            if notes is None and gap is not None:
                notes = SegmentNotes(index=gap.index, start=gap.start, end=gap.end, gap=gap.reason, video=self._facts)
            if notes is None:
                return
            self._next += 1
            segments = machine.count if machine.cut_all else max(notes.segments, machine.count)
            yield notes.model_copy(update={"segments": segments})


def report(run: Run[SegmentNotes], action: object, on_progress: OnProgress | None) -> None:
    """Report the result of a step; notices about the checkpoint become warnings if there is no callback."""
    for news in run.news(action):
        if on_progress is not None:
            on_progress(news)
        elif news.text in run.noticed:
            warnings.warn(news.text, UserWarning, stacklevel=3)


def report_unkept(run: Run[SegmentNotes], on_progress: OnProgress | None) -> None:
    """Report, at the end, the answers that could not be stored."""
    before = list(run.noticed)
    for text in run.reports():
        if text in before:
            continue
        if on_progress is not None:
            on_progress(run.tracker.notice(text))
        else:
            warnings.warn(text, UserWarning, stacklevel=3)
