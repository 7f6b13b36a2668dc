"""`ask_video` and its variants: a question about a long video, answered with the moments that show it.

Coarse to fine: every segment is asked at a low frame rate, the promising ones again at a higher one, and the text model
answers from the findings (in a tree when they are too many for one step). Every step is stored in a checkpoint, so that
no question is sent twice.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Generator
from dataclasses import replace

from qwen_omni.client import AsyncOmniClient, OmniClient
from qwen_omni.media.source import Anything
from qwen_omni.settings import Settings
from qwen_omni.video.engine import drivers
from qwen_omni.video.engine.run import OnProgress, Progress, Run, joining_run, make_run, over_source, with_advice
from qwen_omni.video.options import DEFAULT_OPTIONS, SummaryOptions
from qwen_omni.video.results import VideoSummary, gaps_of, to_bill
from qwen_omni.video.source_video import SourceVideo
from qwen_omni.video.summarize import AsyncTextModel, astream_summary, stream_summary
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
    for news in stream_answer(source, question, client=client, options=options):
        if isinstance(news, VideoAnswer):
            return news
        if on_progress is not None:
            on_progress(news)
    raise AssertionError("a run ends with its answer or an error")


async def aask_video(
    source: Anything,
    question: str,
    *,
    client: AsyncOmniClient | None = None,
    options: SummaryOptions = DEFAULT_OPTIONS,
    on_progress: OnProgress | None = None,
) -> VideoAnswer:
    """Answer a question about a video; the asynchronous `ask_video`. Finished steps are kept when it is cancelled."""
    async with contextlib.aclosing(astream_answer(source, question, client=client, options=options)) as coming:
        async for news in coming:
            if isinstance(news, VideoAnswer):
                return news
            if on_progress is not None:
                on_progress(news)
    raise AssertionError("a run ends with its answer or an error")


def stream_answer(
    source: Anything, question: str, *, client: OmniClient | None = None, options: SummaryOptions = DEFAULT_OPTIONS
) -> Generator[Progress | VideoAnswer, None, None]:
    """Yield progress while segments are asked, then the answer; see `ask_video`."""
    with contextlib.ExitStack() as closing:
        asker = client if client is not None else closing.enter_context(OmniClient())
        passes = _Passes(source, question, asker.settings, options)
        text_asker = asker if isinstance(options.text_model, str) else options.text_model
        while (run := passes.next_run()) is not None:
            steps = drivers.drive_run(run.machine, run.worker, asker, text_asker)
            with contextlib.closing(run), contextlib.closing(steps):
                for action in steps:
                    yield from run.news(action)
                passes.take(run)
        yield passes.finish()


async def astream_answer(
    source: Anything, question: str, *, client: AsyncOmniClient | None = None, options: SummaryOptions = DEFAULT_OPTIONS
) -> AsyncGenerator[Progress | VideoAnswer, None]:
    """Yield progress, then the answer; the asynchronous `stream_answer`."""
    async with contextlib.AsyncExitStack() as closing:
        asker = client if client is not None else await closing.enter_async_context(AsyncOmniClient())
        passes = await asyncio.to_thread(_Passes, source, question, asker.settings, options)
        text_asker = asker if isinstance(options.text_model, str) else AsyncTextModel(options.text_model)
        while (run := await asyncio.to_thread(passes.next_run)) is not None:
            async with contextlib.AsyncExitStack() as ending:
                ending.push_async_callback(asyncio.to_thread, run.close)
                steps = drivers.adrive_run(run.machine, run.worker, asker, text_asker)
                async with contextlib.aclosing(steps):
                    async for action in steps:
                        for news in run.news(action):
                            yield news
                passes.take(run)
        yield passes.finish()


def stream_either(
    source: Anything, question: str | None, *, client: OmniClient | None = None, options: SummaryOptions
) -> Generator[Progress | VideoSummary | VideoAnswer, None, None]:
    """Yield what `stream_answer` yields or, without a question, what `stream_summary` yields."""
    if question is None:
        yield from stream_summary(source, client=client, options=options)
    else:
        yield from stream_answer(source, question, client=client, options=options)


async def astream_either(
    source: Anything, question: str | None, *, client: AsyncOmniClient | None = None, options: SummaryOptions
) -> AsyncGenerator[Progress | VideoSummary | VideoAnswer, None]:
    """The asynchronous `stream_either`."""
    coming: AsyncGenerator[Progress | VideoSummary | VideoAnswer, None] = (
        astream_summary(source, client=client, options=options)
        if question is None
        else astream_answer(source, question, client=client, options=options)
    )
    async with contextlib.aclosing(coming):
        async for news in coming:
            yield news


class _Passes:
    """The passes over one video, in order, and their findings."""

    def __init__(self, source: Anything, question: str, settings: Settings, options: SummaryOptions) -> None:
        self._source, self._question, self._settings, self._options = source, question, settings, options
        self._findings: dict[int, Findings] = {}
        self._again: frozenset[int] | None = None
        self._runs: list[Run[Findings]] = []

    def next_run(self) -> Run[Findings] | None:
        """Return the next pass: coarse, fine if that helps, then the answer; `None` after that."""
        if not self._runs:
            return self._looking(_COARSE, None)
        if len(self._runs) == 1 and self._again is None:
            is_video = self._runs[0].video.facts.kind == "video"  # audio has no frames to add
            self._again = promising(list(self._findings.values())) if is_video else frozenset()
            if self._again:
                return self._looking(_FINE, self._again)
        return self._answering() if self._runs[-1].machine.joins is None else None

    def _looking(self, detail: str, wanted: frozenset[int] | None) -> Run[Findings]:
        options = replace(self._options, detail=detail, strategy="map_reduce")  # type: ignore[arg-type]
        if wanted is not None:
            options = replace(options, max_gaps=len(wanted))  # where this pass fails, the coarse findings count
        video, _ = over_source(self._source, self._settings, options)
        run = make_run(video, self._task(video, options), self._settings, options, wanted=wanted)
        self._runs.append(run)
        return run

    def _answering(self) -> Run[Findings]:
        """Join the findings, in the checkpoint of the first pass."""
        first = self._runs[0]
        task = self._task(first.video, self._options)
        run = joining_run(first, task, self._helpful, self._options, join=task.joining)
        self._runs.append(run)
        return run

    def _task(self, video: SourceVideo, options: SummaryOptions) -> QuestionTask:
        return QuestionTask(options=options, question=self._question, duration=float(video.end))

    @property
    def _helpful(self) -> dict[int, Findings]:
        return {index: one for index, one in sorted(self._findings.items()) if one.relevance > 0}

    @property
    def _closer(self) -> frozenset[int]:
        """Return the segments that the second pass has answers about."""
        passes = [run for run in self._runs if run.machine.joins is None]
        return frozenset(index for run in passes[1:] for index in run.machine.answers)

    def take(self, run: Run[Findings]) -> None:
        """Store the findings of a pass; raises the error that stopped it."""
        if run.machine.error is not None:
            raise with_advice(run.machine.error)
        if run.machine.joins is None:
            self._findings |= run.machine.answers

    def finish(self) -> VideoAnswer:
        """Build the answer from all findings."""
        answered = self._runs[-1].machine.joined
        assert isinstance(answered, Answered)
        gaps = [gap for gap in self._runs[0].machine.gaps.values() if gap.index not in self._findings]
        return VideoAnswer.model_validate(
            {
                "video": self._runs[0].video.facts,
                "question": self._question,
                "answer": answered.answer,
                "evidence": sorted(answered.evidence, key=lambda one: one.time),
                "findings": list(self._helpful.values()),
                "looked_again": sorted(self._closer),
                "gaps": gaps_of(gaps),
                "truncated": answered.truncated or any(one.truncated for one in self._findings.values()),
                "this_run": to_bill([one for run in self._runs for one in run.worker.paid], self._settings),
                "notices": tuple(dict.fromkeys(text for run in self._runs for text in run.reports())),
            }
        )
