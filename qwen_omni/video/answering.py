"""`ask_video` and its twins: a question about a long video, answered with the moments that show it.

Coarse to fine: all segments are asked at few frames a second, the promising ones again at more, and the model that
joins answers from what was found. Every step is kept in a checkpoint, the last one too, so that nothing is asked twice.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, Generator
from dataclasses import replace

from qwen_omni.captions.run import CaptionPlan, acarry_out, carry_out
from qwen_omni.client import AsyncOmniClient, OmniClient
from qwen_omni.media.prepare import Anything
from qwen_omni.settings import Settings, region_of
from qwen_omni.video import aio, threads
from qwen_omni.video.alone import LoneStep
from qwen_omni.video.machine import BUSY_SECONDS
from qwen_omni.video.options import DEFAULT_OPTIONS, SummaryOptions
from qwen_omni.video.progress import OnProgress, Progress
from qwen_omni.video.questioning import AnswerAnswer, Findings, QuestionTask, VideoAnswer, answer_step, promising
from qwen_omni.video.runs import Run, make_run, over_source
from qwen_omni.video.summarizing import Awaited, astream_summary, stream_summary, with_advice
from qwen_omni.video.summary import VideoSummary, gaps_of, to_bill
from qwen_omni.video.threads import Paying

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
        question: in any words.
        client: who asks; one is made from the environment if there is none.
        options: as for `summarize`; `detail` is chosen by the passes.
        on_progress: told after every step.

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
    """Do the same in `asyncio`; see `ask_video`. Cancelling it keeps what is finished."""
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
    """Give progress while segments are asked, and the answer last; see `ask_video`."""
    with contextlib.ExitStack() as closing:
        asker = client if client is not None else closing.enter_context(OmniClient())
        passes = _Passes(source, question, asker.settings, options)
        while (run := passes.next_run()) is not None:
            steps = threads.drive(run.machine, run.worker, asker, asker)
            with contextlib.closing(run), contextlib.closing(steps):
                for action in steps:
                    yield from run.news(action)
                passes.take(run)
        text_asker = asker if isinstance(options.text_model, str) else options.text_model
        plan = passes.last_plan()
        with passes.last_step(plan) as step:
            while not step.ready():
                time.sleep(BUSY_SECONDS)
            if step.answer is None:
                step.finish(carry_out(plan, Paying(text_asker, step)).value.model_dump_json())
            yield passes.finish(step)


async def astream_answer(
    source: Anything, question: str, *, client: AsyncOmniClient | None = None, options: SummaryOptions = DEFAULT_OPTIONS
) -> AsyncGenerator[Progress | VideoAnswer, None]:
    """Do the same in `asyncio`; see `stream_answer`."""
    async with contextlib.AsyncExitStack() as closing:
        asker = client if client is not None else await closing.enter_async_context(AsyncOmniClient())
        passes = await asyncio.to_thread(_Passes, source, question, asker.settings, options)
        while (run := await asyncio.to_thread(passes.next_run)) is not None:
            async with contextlib.AsyncExitStack() as ending:
                ending.push_async_callback(asyncio.to_thread, run.close)
                steps = aio.drive(run.machine, run.worker, asker, asker)
                async with contextlib.aclosing(steps):
                    async for action in steps:
                        for news in run.news(action):
                            yield news
                passes.take(run)
        text_asker = asker if isinstance(options.text_model, str) else Awaited(options.text_model)
        plan = passes.last_plan()
        step = await asyncio.to_thread(passes.last_step, plan)
        closing.push_async_callback(asyncio.to_thread, step.close)
        while not await asyncio.to_thread(step.ready):  # noqa: ASYNC110  (another process tells by its file alone)
            await asyncio.sleep(BUSY_SECONDS)
        if step.answer is None:
            captioned = await acarry_out(plan, aio.Paying(text_asker, step))
            await asyncio.shield(asyncio.to_thread(step.finish, captioned.value.model_dump_json()))
        yield passes.finish(step)


def stream_either(
    source: Anything, question: str | None, *, client: OmniClient | None = None, options: SummaryOptions
) -> Generator[Progress | VideoSummary | VideoAnswer, None, None]:
    """Give what `stream_answer` gives, or, where nothing is asked, what `stream_summary` gives."""
    if question is None:
        yield from stream_summary(source, client=client, options=options)
    else:
        yield from stream_answer(source, question, client=client, options=options)


async def astream_either(
    source: Anything, question: str | None, *, client: AsyncOmniClient | None = None, options: SummaryOptions
) -> AsyncGenerator[Progress | VideoSummary | VideoAnswer, None]:
    """Do the same in `asyncio`."""
    coming: AsyncGenerator[Progress | VideoSummary | VideoAnswer, None] = (
        astream_summary(source, client=client, options=options)
        if question is None
        else astream_answer(source, question, client=client, options=options)
    )
    async with contextlib.aclosing(coming):
        async for news in coming:
            yield news


class _Passes:
    """The passes over one video, one after the other, and what they found."""

    def __init__(self, source: Anything, question: str, settings: Settings, options: SummaryOptions) -> None:
        self._source, self._question, self._settings, self._options = source, question, settings, options
        self._findings: dict[int, Findings] = {}
        self._again: frozenset[int] | None = None
        self._runs: list[Run[Findings]] = []

    def next_run(self) -> Run[Findings] | None:
        """Put the next pass together; `None` if there is none."""
        if not self._runs:
            return self._make(_COARSE, None)
        if len(self._runs) == 1 and self._runs[0].footage.facts.kind == "video":  # sound has no frames to add
            self._again = promising(list(self._findings.values()))
            return self._make(_FINE, self._again) if self._again else None
        return None

    def _make(self, detail: str, wanted: frozenset[int] | None) -> Run[Findings]:
        options = replace(self._options, detail=detail, strategy="map_reduce")  # type: ignore[arg-type]
        footage, _ = over_source(self._source, self._settings, options)
        task = QuestionTask(options=options, question=self._question)
        run = make_run(footage, task, self._settings, options, wanted=wanted)
        self._runs.append(run)
        return run

    def take(self, run: Run[Findings]) -> None:
        """Take in what a pass has found; raises what stopped it."""
        if run.machine.error is not None:
            raise with_advice(run.machine.error)
        self._findings |= run.machine.answers

    def last_plan(self) -> CaptionPlan:
        """Say what is asked of the model that answers."""
        task = QuestionTask(options=self._options, question=self._question)
        told = [self._findings[index] for index in sorted(self._findings) if self._findings[index].relevance > 0]
        return task.plan_answer(told, float(self._runs[0].footage.end))

    def last_step(self, plan: CaptionPlan) -> LoneStep:
        """Find the last step in the checkpoint of the first pass."""
        return LoneStep(self._runs[0].checkpoint.path, answer_step(plan))

    def finish(self, step: LoneStep) -> VideoAnswer:
        """Make the answer of the last step."""
        value = AnswerAnswer.model_validate_json(step.answer or "")
        paid = [*(one for run in self._runs for one in run.worker.paid), *step.paid]
        gaps = {gap.index: gap for run in self._runs for gap in run.machine.gaps.values()}
        return VideoAnswer.model_validate(
            {
                "video": self._runs[0].footage.facts,
                "question": self._question,
                "answer": value.answer,
                "evidence": sorted(value.evidence, key=lambda one: one.time),
                "findings": [one for _, one in sorted(self._findings.items()) if one.relevance > 0],
                "looked_again": sorted(self._again or ()),
                "gaps": gaps_of(gaps.values()),
                "this_run": to_bill(paid, region_of(self._settings.base_url)),
            }
        )
