"""The runs of a long video as LangChain's callbacks and tracers see them: one for each segment, one for each request.

A request about a segment is an LLM run below the run of its segment; one that combines notes is an LLM run below the
chain. Media are replaced by a line of text, since tracers store and send what they receive. Another model of LangChain
as the text model reports its own run, to the same parent.
"""

import contextlib
import functools
from collections.abc import AsyncIterator, Callable, Generator, Iterator, Mapping
from contextvars import ContextVar
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from langchain_core.load import dumpd
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage
from langchain_core.outputs import ChatGeneration, LLMResult
from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import patch_config

from langchain_qwen_omni._convert_output import to_message
from qwen_omni.integrations.media_options import traced_text
from qwen_omni.messages import Message
from qwen_omni.video.options import ForeignTextModel

if TYPE_CHECKING:
    from langchain_qwen_omni.chat_models import ChatQwenOmni
    from qwen_omni.media.plan.segments import Segment
    from qwen_omni.options import ChatRequest
    from qwen_omni.responses import Response
    from qwen_omni.video.engine.run import Progress
    from qwen_omni.video.options import SummaryOptions

# ruff: noqa: ANN401  (managers are synchronous or asynchronous; LangChain has no type for both)

Reporting = Generator[Callable[[], Any], Any, None]
"""Yields calls of callback managers, and receives what they return."""

PARENT: ContextVar[RunnableConfig | None] = ContextVar("qwen_omni_parent_run", default=None)
"""The configuration for a model that is called in the place of ours: its run belongs below that of the chain."""

_ENDS = ("segment", "gap")  # kinds of progress that end the run of a segment
_ROLES: Mapping[str, type[BaseMessage]] = {"system": SystemMessage, "assistant": AIMessage}


class RunTraces:
    """The child runs of one run of a chain, for synchronous and asynchronous managers."""

    def __init__(
        self, run_manager: Any, config: RunnableConfig, llm: "ChatQwenOmni", options: "SummaryOptions"
    ) -> None:
        self._manager = run_manager
        self._config = config
        self._llm = llm
        self._foreign = isinstance(options.text_model, ForeignTextModel)
        self._segments: dict[int | None, Any] = {}
        self._observed = bool(run_manager.inheritable_handlers)

    def report(self, news: "Progress") -> Reporting:
        """Begin or end the run of a segment, if the progress says so and anyone observes it."""
        if not self._observed:
            return
        if news.kind == "prepared" and news.segment not in self._segments:
            about = {"segment": news.segment, "start": news.start, "end": news.end}
            start = self._manager.get_child().on_chain_start
            self._segments[news.segment] = yield functools.partial(start, None, about, name=f"segment {news.segment}")
        elif news.kind in _ENDS and news.segment in self._segments:
            yield functools.partial(self._segments.pop(news.segment).on_chain_end, asdict(news))

    def fail(self, error: BaseException) -> Reporting:
        """End the runs of unfinished segments with the error that ended the whole run early."""
        for run in self._segments.values():
            yield functools.partial(run.on_chain_error, error)

    # --- Requests ---

    @contextlib.contextmanager
    def request(self, request: "ChatRequest", segment: "Segment | None") -> Iterator[Callable[["Response"], None]]:
        """Report one request as an LLM run; called where it is sent, as `Tracing` says."""
        if not self._observed or (segment is None and self._foreign):
            with self._below():
                yield _ignore
            return
        answers: list[Response] = []
        (run,) = self._child(segment, request).on_chat_model_start(**self._started(request, segment))
        try:
            yield answers.append
        except BaseException as error:
            run.on_llm_error(error)
            raise
        run.on_llm_end(_result(answers[-1], request.model))

    @contextlib.asynccontextmanager
    async def arequest(
        self, request: "ChatRequest", segment: "Segment | None"
    ) -> AsyncIterator[Callable[["Response"], None]]:
        """The same in `asyncio`."""
        if not self._observed or (segment is None and self._foreign):
            with self._below():
                yield _ignore
            return
        answers: list[Response] = []
        (run,) = await self._child(segment, request).on_chat_model_start(**self._started(request, segment))
        try:
            yield answers.append
        except BaseException as error:
            await run.on_llm_error(error)
            raise
        await run.on_llm_end(_result(answers[-1], request.model))

    @contextlib.contextmanager
    def _below(self) -> Iterator[None]:
        token = PARENT.set(patch_config(self._config, callbacks=self._manager.get_child()))
        try:
            yield
        finally:
            PARENT.reset(token)

    def _child(self, segment: "Segment | None", request: "ChatRequest") -> Any:
        """Return the manager for a run below that of the segment, or below that of the chain."""
        above = self._manager if segment is None else self._segments.get(segment.index, self._manager)
        manager = above.get_child()
        manager.add_metadata({**self._llm._get_ls_params(), "ls_model_name": request.model}, inherit=False)  # noqa: SLF001  (LangChain's own hook)
        return manager

    def _started(self, request: "ChatRequest", segment: "Segment | None") -> dict[str, Any]:
        """Return the arguments of `on_chat_model_start`."""
        shown = {"model": request.model, "_type": self._llm._llm_type}  # noqa: SLF001  (the same)
        return {
            "serialized": dumpd(self._llm),
            "messages": [[_shown(message, segment) for message in request.messages]],
            "invocation_params": shown,
            "name": self._llm.get_name(),
        }


def _ignore(_: "Response") -> None:
    """Ignore an answer that is reported elsewhere, or has no observer."""


def _shown(message: Message, segment: "Segment | None") -> BaseMessage:
    """Return a message with a line of text in place of each media part."""
    texts = [traced_text(part, segment) for part in message.parts]
    return _ROLES.get(message.role, HumanMessage)([{"type": "text", "text": text} for text in texts])


def _result(response: "Response", model: str) -> LLMResult:
    message = to_message(response, model=model)
    return LLMResult(generations=[[ChatGeneration(message=message)]], llm_output={"model_name": model})
