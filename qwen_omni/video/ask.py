"""`ask_video` and its variants: a question about a long video, answered with the moments that show it.

Coarse to fine: every segment is asked at a low frame rate, the promising ones again at a higher one, and the text model
answers from the findings (in a tree when they are too many for one step). Every step is stored in a checkpoint, so that
no question is sent twice.
"""

from collections.abc import AsyncGenerator, Generator, Iterator
from dataclasses import dataclass, field, replace

from qwen_omni.client import AsyncOmniClient, OmniClient
from qwen_omni.media.source import Anything
from qwen_omni.settings import Settings
from qwen_omni.video.engine.machine import Action
from qwen_omni.video.engine.run import (
    AsyncTracing,
    Job,
    OnProgress,
    Progress,
    Run,
    Tracing,
    alast_of,
    astream,
    check_joining,
    joining_run,
    last_of,
    make_run,
    over_source,
    stream,
)
from qwen_omni.video.options import DEFAULT_OPTIONS, SummaryOptions, on_server
from qwen_omni.video.results import VideoSummary, gaps_of, to_bill
from qwen_omni.video.schemas import clock
from qwen_omni.video.source_video import SourceVideo
from qwen_omni.video.summarize import Summary
from qwen_omni.video.tasks import Answered, Findings, QuestionTask, VideoAnswer, promising

_COARSE, _FINE = "low", "high"


def ask_video(
    source: Anything,
    question: str,
    *,
    client: OmniClient | None = None,
    options: SummaryOptions = DEFAULT_OPTIONS,
    on_progress: OnProgress | None = None,
) -> VideoAnswer:
    """Answer a question about a video of any length, with the moments that show it.

    Args:
        source: a path chosen by the program, bytes, or a `MediaSource`.
        question: in natural language.
        client: sends the requests; one is created from the environment if not given.
        options: as for `summarize`; `detail` is chosen per pass.
        on_progress: called after every step.

    Raises:
        QwenOmniError: as `summarize`.

    Example:
        from qwen_omni import ask_video

        found = ask_video("match.mp4", "Who scores, and when?")
        print(found.answer, [(one.time, one.text) for one in found.evidence])
    """
    return last_of(stream_answer(source, question, client=client, options=options), on_progress)


async def aask_video(
    source: Anything,
    question: str,
    *,
    client: AsyncOmniClient | None = None,
    options: SummaryOptions = DEFAULT_OPTIONS,
    on_progress: OnProgress | None = None,
) -> VideoAnswer:
    """Answer a question about a video; the asynchronous `ask_video`. Finished steps are kept when it is cancelled."""
    return await alast_of(astream_answer(source, question, client=client, options=options), on_progress)


def stream_answer(
    source: Anything, question: str, *, client: OmniClient | None = None, options: SummaryOptions = DEFAULT_OPTIONS
) -> Generator[Progress | VideoAnswer, None, None]:
    """Yield progress while segments are asked, then the answer; see `ask_video`."""
    return stream(_Passes(source, question, options), options.text_model, client)


def astream_answer(
    source: Anything, question: str, *, client: AsyncOmniClient | None = None, options: SummaryOptions = DEFAULT_OPTIONS
) -> AsyncGenerator[Progress | VideoAnswer, None]:
    """Yield progress, then the answer; the asynchronous `stream_answer`."""
    return astream(_Passes(source, question, options), options.text_model, client)


def stream_either(
    source: Anything,
    question: str | None,
    *,
    client: OmniClient | None = None,
    options: SummaryOptions,
    tracing: Tracing | None = None,
) -> Generator[Progress | VideoSummary | VideoAnswer, None, None]:
    """Yield what `stream_answer` yields or, without a question, what `stream_summary` yields."""
    job = Summary(source, options) if question is None else _Passes(source, question, options)
    return stream(job, options.text_model, client, tracing)


def astream_either(
    source: Anything,
    question: str | None,
    *,
    client: AsyncOmniClient | None = None,
    options: SummaryOptions,
    tracing: AsyncTracing | None = None,
) -> AsyncGenerator[Progress | VideoSummary | VideoAnswer, None]:
    """The asynchronous `stream_either`."""
    job = Summary(source, options) if question is None else _Passes(source, question, options)
    return astream(job, options.text_model, client, tracing)


@dataclass(slots=True)
class _Passes(Job[Findings]):
    """The passes over one video, in order, and their findings: coarse, fine if that helps, then the answer."""

    source: Anything
    question: str
    options: SummaryOptions
    _findings: dict[int, Findings] = field(default_factory=dict)
    _runs: list[Run[Findings]] = field(default_factory=list)

    def runs(self, settings: Settings) -> Iterator[Run[Findings]]:
        self.options = on_server(self.options, settings.server_of(self.options.model))
        first = self._looking(settings, _COARSE, None)
        yield first
        is_video = first.video.facts.kind == "video"  # audio has no frames to add
        again = promising(list(self._findings.values())) if is_video else frozenset()
        if again:
            yield self._looking(settings, _FINE, again)
        # It joins the findings, in the checkpoint of the first pass.
        task = self._task(first.video, self.options, settings)
        yield joining_run(first, task, self._helpful)

    def _looking(self, settings: Settings, detail: str, wanted: frozenset[int] | None) -> Run[Findings]:
        options = replace(self.options, detail=detail, strategy="map_reduce")  # type: ignore[arg-type]
        if wanted is not None:
            options = replace(options, max_gaps=len(wanted))  # where this pass fails, the coarse findings count
        video, _ = over_source(self.source, settings, options)
        check_joining(settings, options)
        run = make_run(video, self._task(video, options, settings), settings, wanted=wanted)
        self._runs.append(run)
        return run

    def _task(self, video: SourceVideo, options: SummaryOptions, settings: Settings) -> QuestionTask:
        return QuestionTask(
            options=options, question=self.question, duration=float(video.end), profile_of=settings.profile
        )

    @property
    def _helpful(self) -> dict[int, Findings]:
        return {index: one for index, one in sorted(self._findings.items()) if one.relevance > 0}

    def begun(self, run: Run[Findings]) -> Iterator[Progress]:
        """Yield the plan of a pass."""
        if run is self._runs[0]:
            yield run.tracker.event("planned", text=_plan_text(run, self.options))
        elif run is self._runs[-1]:
            count = _again(run)
            text = f"looking again, more closely, at {count} segment{'' if count == 1 else 's'}"
            yield self._of_all(run, run.tracker.event("planned", text=text))

    def news(self, run: Run[Findings], action: Action) -> Iterator[Progress]:
        """Yield the news of a pass, with what the earlier ones used and took."""
        return (self._of_all(run, one) for one in run.news(action))

    def _of_all(self, run: Run[Findings], news: Progress) -> Progress:
        first = self._runs[0]
        if run is first:
            return news
        before = first.tracker.event(
            "notice", [paid for one in self._runs if one is not run for paid in one.worker.paid]
        )
        news = replace(
            news, elapsed=before.elapsed, input_tokens=before.input_tokens + news.input_tokens,
            output_tokens=before.output_tokens + news.output_tokens,
        )  # fmt: skip
        if run in self._runs:
            return replace(news, segments=_again(run))
        return replace(news, done=before.done, segments=before.segments, gaps=before.gaps)

    def ended(self, run: Run[Findings]) -> Iterator[Progress | VideoAnswer]:
        """Keep what a pass found; after the last one yield its end, and the answer."""
        run.check()
        if run.machine.joins is None:
            self._findings |= run.machine.answers
            return
        answered, first = run.machine.joined, self._runs[0]
        assert isinstance(answered, Answered)
        passes = [*self._runs, run]
        yield self._of_all(run, run.tracker.event("done", run.worker.paid))
        yield VideoAnswer.model_validate(
            {
                "video": first.video.facts,
                "question": self.question,
                "answer": answered.answer,
                "evidence": sorted(answered.evidence, key=lambda one: one.time),
                "findings": list(self._helpful.values()),
                "looked_again": sorted({index for one in self._runs[1:] for index in one.machine.answers}),
                "gaps": gaps_of(gap for gap in first.machine.gaps.values() if gap.index not in self._findings),
                "truncated": answered.truncated or any(one.truncated for one in self._findings.values()),
                "this_run": to_bill([paid for one in passes for paid in one.worker.paid], run.settings),
                "notices": tuple(dict.fromkeys(text for one in passes for text in one.reports())),
            }
        )


def _again(run: Run[Findings]) -> int:
    """Return how many segments a second pass looks at."""
    return len(run.machine.rules.wanted or ())


def _plan_text(run: Run[Findings], options: SummaryOptions) -> str:
    """Describe the first pass, which is about to start."""
    video = run.video
    return (
        f"{video.look.label}: {clock(float(video.duration))}, looked at in {video.segments_text} by {options.model}, "
        f"answered by {options.text_model_name}"
    )
