"""`summarize` and its variants: a long video in, a `VideoSummary` out."""

from collections.abc import AsyncGenerator, Generator, Iterator
from dataclasses import dataclass

from qwen_omni.client import AsyncOmniClient, OmniClient
from qwen_omni.media.source import Anything
from qwen_omni.settings import Settings
from qwen_omni.video.engine.run import Job, OnProgress, Progress, Run, alast_of, astream, last_of, notes_run, stream
from qwen_omni.video.options import DEFAULT_OPTIONS, SummaryOptions
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
    return last_of(stream_summary(source, client=client, options=options), on_progress)


async def asummarize(
    source: Anything,
    *,
    client: AsyncOmniClient | None = None,
    options: SummaryOptions = DEFAULT_OPTIONS,
    on_progress: OnProgress | None = None,
) -> VideoSummary:
    """Summarise a video; the asynchronous `summarize`. Finished segments are kept when it is cancelled."""
    return await alast_of(astream_summary(source, client=client, options=options), on_progress)


def stream_summary(
    source: Anything, *, client: OmniClient | None = None, options: SummaryOptions = DEFAULT_OPTIONS
) -> Generator[Progress | VideoSummary, None, None]:
    """Yield progress while the video is processed, then the summary; see `summarize`."""
    return stream(Summary(source, options), options.text_model, client)


def astream_summary(
    source: Anything, *, client: AsyncOmniClient | None = None, options: SummaryOptions = DEFAULT_OPTIONS
) -> AsyncGenerator[Progress | VideoSummary, None]:
    """Yield progress, then the summary; the asynchronous `stream_summary`."""
    return astream(Summary(source, options), options.text_model, client)


@dataclass(frozen=True, slots=True)
class Summary(Job[SegmentNotes]):
    """One run: notes of every segment, and a summary of them."""

    source: Anything
    options: SummaryOptions

    def runs(self, settings: Settings) -> Iterator[Run[SegmentNotes]]:
        """Yield the one run."""
        yield notes_run(self.source, settings, self.options, joins=True)

    def begun(self, run: Run[SegmentNotes]) -> Iterator[Progress]:
        """Yield its plan."""
        yield run.tracker.event("planned", text=plan_text(run, self.options))

    def ended(self, run: Run[SegmentNotes]) -> Iterator[Progress | VideoSummary]:
        """Yield its end, and the summary."""
        run.check()
        made = to_summary(run, run.worker.task.options)
        yield run.tracker.event("done", run.worker.paid)
        yield made


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


def to_summary(run: Run[SegmentNotes], options: SummaryOptions) -> VideoSummary:
    """Build the summary of a finished run."""
    machine, video = run.machine, run.video
    notes = [machine.answers[index] for index in sorted(machine.answers)]
    joined = machine.joined if isinstance(machine.joined, Joined) else None
    whole = joined or notes[0]
    return VideoSummary.model_validate(
        {
            "video": video.facts,
            "summary": whole.summary,
            "chapters": arrange_chapters(whole.chapters, start=float(video.start), end=float(video.end)),
            "gaps": gaps_of(machine.gaps.values()),
            "strategy": "single" if joined is None else "map_reduce",
            "segments": machine.count,
            "model": options.model,
            "text_model": "" if joined is None else options.text_model_name,
            "this_run": to_bill(run.worker.paid, run.settings),
            "whole_run": to_bill(run.checkpoint.paid(), run.settings),
            **summary_fields(notes, run.reports(), summary_cut=joined is not None and joined.truncated),
        }
    )
