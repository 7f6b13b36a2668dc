"""The notes of a long video, segment by segment in order, while later segments are still being processed.

Readers and loaders use this. It shares its checkpoint with `summarize`: with the same options, notes paid for by one
cost the other nothing.
"""

import contextlib
import warnings
from collections.abc import AsyncGenerator, Generator, Iterator
from dataclasses import dataclass

from qwen_omni.client import AsyncOmniClient, OmniClient
from qwen_omni.media.source import Anything
from qwen_omni.settings import Settings
from qwen_omni.video.engine.machine import Action
from qwen_omni.video.engine.run import Job, OnProgress, Progress, Run, astream, notes_run, stream
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
    with contextlib.closing(stream(_Notes(source, options, on_progress), "", client)) as coming:
        for one in coming:
            if isinstance(one, SegmentNotes):
                yield one
            elif on_progress is not None:
                on_progress(one)
            else:
                warnings.warn(one.text, UserWarning, stacklevel=2)


async def aiter_notes(
    source: Anything,
    *,
    client: AsyncOmniClient | None = None,
    options: SummaryOptions = DEFAULT_OPTIONS,
    on_progress: OnProgress | None = None,
) -> AsyncGenerator[SegmentNotes, None]:
    """The asynchronous `iter_notes`. Use `contextlib.aclosing` to stop early without delay."""
    async with contextlib.aclosing(astream(_Notes(source, options, on_progress), "", client)) as coming:
        async for one in coming:
            if isinstance(one, SegmentNotes):
                yield one
            elif on_progress is not None:
                on_progress(one)
            else:
                warnings.warn(one.text, UserWarning, stacklevel=2)


@dataclass(slots=True)
class _Notes(Job[SegmentNotes]):
    """One run, whose notes are put in order. Without a callback only notices about the checkpoint are of interest."""

    source: Anything
    options: SummaryOptions
    on_progress: OnProgress | None
    _next: int = 0

    def runs(self, settings: Settings) -> Iterator[Run[SegmentNotes]]:
        yield notes_run(self.source, settings, self.options, joins=False)

    def news(self, run: Run[SegmentNotes], action: Action) -> Iterator[Progress | SegmentNotes]:
        for one in run.news(action):
            if self.on_progress is not None or one.text in run.noticed:
                yield one
        yield from self._ready(run)

    def ended(self, run: Run[SegmentNotes]) -> Iterator[Progress]:
        before = list(run.noticed)
        for text in run.reports():
            if text not in before:
                yield run.tracker.event("notice", text=text)
        run.check()

    def _ready(self, run: Run[SegmentNotes]) -> Iterator[SegmentNotes]:
        """Yield the notes that have become ready."""
        machine = run.machine
        while True:
            notes, gap = machine.answers.get(self._next), machine.gaps.get(self._next)
            if notes is None and gap is not None:
                facts = run.video.facts
                notes = SegmentNotes(index=gap.index, start=gap.start, end=gap.end, gap=gap.reason, video=facts)
            if notes is None:
                return
            self._next += 1
            segments = machine.count if machine.cut_all else max(notes.segments, machine.count)
            yield notes.model_copy(update={"segments": segments})
