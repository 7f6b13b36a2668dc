"""`LongVideoWorkflow`: a workflow that turns a video of any length into a `VideoSummary` or an answer to a question.

A thin layer over `qwen_omni.video`: the connection and the model are those of the LLM. Progress is written to the event
stream of the run, so `handler.stream_events()` yields it.
"""
# ruff: noqa: ANN401  (any field of SummaryOptions may be a keyword)

import asyncio
import contextlib
import functools
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from llama_index.core.base.llms.types import AudioBlock, ChatMessage, ChatResponse, MessageRole, VideoBlock
from llama_index.core.llms import LLM
from llama_index.core.workflow import Context, Event, StartEvent, StopEvent, Workflow, step
from pydantic import ConfigDict, field_validator
from workflows.handler import WorkflowHandler

from llama_index_qwen_omni._convert_input import to_messages
from llama_index_qwen_omni._convert_output import finish_of
from llama_index_qwen_omni._tracing import RequestTraces
from llama_index_qwen_omni.base import QwenOmni
from llama_index_qwen_omni.callbacks import usage_of
from qwen_omni.errors import UnsupportedContentError
from qwen_omni.integrations.model_fields import check_names, described, with_choices
from qwen_omni.media.source import Anything
from qwen_omni.responses import Response
from qwen_omni.video.ask import astream_either
from qwen_omni.video.engine.run import OnProgress, Progress
from qwen_omni.video.options import ForeignTextModel, SummaryOptions, Texts, choices_of, single_media_part


@described
class LongVideoStart(StartEvent):
    """The input of a run; `workflow.run(video=…, question=…)` creates it."""

    model_config = ConfigDict(hide_input_in_errors=True, defer_build=True)

    video: str | Path | VideoBlock | AudioBlock
    """A path (chosen by the program, so it may be anywhere), or a block (whose file must be inside `media_root`).
    A time range in a block (`file:///talk.mp4#t=60,90`, `clip(node)`) limits the run to that range."""
    question: str | None = None
    """Answer this question instead of summarising."""

    @field_validator("video")
    @classmethod
    def _names_a_file(cls, video: str | Path | VideoBlock | AudioBlock) -> str | Path | VideoBlock | AudioBlock:
        """Reject bytes: workflows write their events into traces."""
        held = video.video if isinstance(video, VideoBlock) else getattr(video, "audio", None)
        if held is not None:
            raise UnsupportedContentError("The block holds the media itself; write it to a file and pass its path.")
        return video


@described
class LongVideoProgress(Event):
    """The progress of a run."""

    model_config = ConfigDict(defer_build=True)

    progress: Progress
    """The last step, the completed share and the estimated end, as numbers and as readable text."""


class LongVideoWorkflow(Workflow):
    """Summarises videos of any length, or answers a question about them; nothing is paid for twice.

    The result of a run is a `VideoSummary`, or a `VideoAnswer` if there is a question. Finished work is stored in a
    checkpoint: a run that was cancelled, timed out or crashed resumes where it stopped when it is started again.

    Cancelling the task that started a run or awaits it ends the run, as `await handler.cancel_run()` does; other
    LlamaIndex workflows would go on, at your cost. Finished work is kept, and reserved budget is released.

    LlamaIndex's handlers learn of every request as of a chat call of the LLM: its span, its events and its usage.

    Args:
        llm: the LLM; its connection and model name are used.
        text_model: merges the notes: a model of the service, or any other LLM of LlamaIndex.
        question: answer this instead of summarising. A run's own question wins.
        options: everything else, see `SummaryOptions`; further keywords are fields of it.
        on_progress: called after every step, as in `qwen_omni.summarize`; for example a `qwen_omni.ProgressBar`.
        timeout: seconds that a run may take; unlimited if not given.
        num_concurrent_runs: the most concurrent runs of this workflow; unlimited if not given.

    Example:
        from llama_index_qwen_omni import LongVideoProgress, LongVideoWorkflow, QwenOmni

        handler = LongVideoWorkflow(QwenOmni(), detail="low").run(video="lecture.mp4")
        async for event in handler.stream_events():
            if isinstance(event, LongVideoProgress):
                print(event.progress.done, "of", event.progress.segments)
        found = await handler
        print(found.summary, found.chapters)
    """

    def __init__(  # noqa: PLR0913 - one keyword per property of a run
        self,
        llm: QwenOmni,
        *,
        text_model: str | LLM | None = None,
        question: str | None = None,
        options: SummaryOptions | None = None,
        on_progress: OnProgress | None = None,
        timeout: float | None = None,
        num_concurrent_runs: int | None = None,
        **choices: Any,
    ) -> None:
        """Check the options; raises `ConfigurationError` for an invalid value or name."""
        super().__init__(timeout=timeout, num_concurrent_runs=num_concurrent_runs)
        changes = {"model": llm.model, "chat": llm.chat_options(), **choices}
        if llm.tier is not None:
            changes = {"tier": llm.tier, **changes}
        if text_model is not None:
            changes["text_model"] = text_model if isinstance(text_model, str) else LLMTextModel(text_model)
        self.options = with_choices(options or SummaryOptions(), changes, LongVideoWorkflow)
        self.llm = llm
        self.question = question
        self.on_progress = on_progress

    def run(self, *arguments: Any, **others: Any) -> WorkflowHandler:
        """Start a run, see `Workflow.run`; it ends when the task that starts it is cancelled."""
        check_names(others, [*LongVideoStart.model_fields, "ctx", "start_event"], "LongVideoWorkflow.run")
        handler: Any = super().run(*arguments, **others)
        if not isinstance(handler, asyncio.Future) and type(handler) is WorkflowHandler:
            handler.__class__ = _Handler
        caller = asyncio.current_task()
        for owner in (caller, handler):  # handlers of older versions are futures
            if isinstance(owner, asyncio.Future):
                owner.add_done_callback(functools.partial(_end_with, handler))
        return cast("WorkflowHandler", handler)

    @step
    async def watch(self, ctx: Context, ev: LongVideoStart) -> StopEvent:
        """Process the video until there is a result; raises as the core does, see `qwen_omni.summarize`."""
        source, options = _wanted(ev.video, self.options)
        coming = astream_either(
            source, ev.question or self.question, client=self.llm.aclient(), options=options,
            tracing=RequestTraces(self.llm, foreign=isinstance(options.text_model, ForeignTextModel)),
        )  # fmt: skip
        async with contextlib.aclosing(coming):
            async for news in coming:
                if not isinstance(news, Progress):
                    return StopEvent(result=news)
                ctx.write_event_to_stream(LongVideoProgress(progress=news))
                if self.on_progress is not None:
                    self.on_progress(news)
        raise AssertionError("a run ends with its result or an error")


class _Handler(WorkflowHandler):
    """Ends its run when the task that awaits it is cancelled; LlamaIndex's own handler lets the run continue."""

    async def stop_event_result(self) -> StopEvent:
        """Wait for the end of the run."""
        async with _ending(self):
            return await asyncio.shield(asyncio.ensure_future(super().stop_event_result()))

    async def stream_events(self, *arguments: Any, **others: Any) -> AsyncGenerator[Event, None]:
        """Yield the events of the run."""
        async with _ending(self), contextlib.aclosing(super().stream_events(*arguments, **others)) as events:
            async for event in events:
                yield event


@contextlib.asynccontextmanager
async def _ending(handler: WorkflowHandler) -> AsyncIterator[None]:
    try:
        yield
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is not None and task.cancelling():  # else the run itself was cancelled
            await handler.cancel_run()
        raise


_endings: set[asyncio.Task[None]] = set()


def _end_with(handler: WorkflowHandler, done: "asyncio.Future[Any]") -> None:
    """End a run whose owner task was cancelled."""
    if done.cancelled() and not done.get_loop().is_closed():
        ending = done.get_loop().create_task(handler.cancel_run())
        _endings.add(ending)  # an event loop references its tasks weakly
        ending.add_done_callback(_endings.discard)


def _wanted(video: str | Path | VideoBlock | AudioBlock, options: SummaryOptions) -> tuple[Anything, SummaryOptions]:
    """Return the media and the options of the run; a block's time range overrides the workflow's own.

    Raises:
        UnsupportedContentError: the block has an option for which long videos use a different one.
    """
    if isinstance(video, str | Path):
        return video, options
    (message,) = to_messages([ChatMessage(blocks=[video])])
    part = single_media_part(message.parts)
    return part.source, replace(options, **choices_of(part))


class LLMTextModel(ForeignTextModel):
    """Any LLM of LlamaIndex, as the model that merges notes."""

    def __init__(self, llm: LLM) -> None:
        super().__init__(str(llm.metadata.model_name or llm.class_name()))
        self._llm = llm

    def ask(self, texts: Texts) -> Response:
        """Answer a conversation."""
        return _to_response(self._llm.chat(_to_llama_index(texts)))

    async def aask(self, texts: Texts) -> Response:
        """The same in `asyncio`."""
        return _to_response(await self._llm.achat(_to_llama_index(texts)))


def _to_llama_index(texts: Texts) -> list[ChatMessage]:
    return [ChatMessage(role=MessageRole(role), content=text) for role, text in texts]


def _to_response(answer: ChatResponse) -> Response:
    return Response(
        text=answer.message.content or "", usage=usage_of(answer), finish_reason=finish_of(answer) or "stop"
    )
