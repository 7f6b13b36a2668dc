"""`ChatQwenOmni`: Qwen-Omni as a LangChain chat model.

This module holds the entry points. The fields are in `qwen_omni.model_fields`, what LangChain asks about them in
`_fields`; what a call asks for is decided in
`qwen_omni.call_plan`, how it is put to a client in `qwen_omni.insisting`; messages are read in `_messages` and
`_parts`, answers are written in `_responses` and `_events`, and `qwen_omni.connections` keeps the connections.
"""
# ruff: noqa: ANN401  (LangChain's own signatures take any keyword)

import contextlib
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, cast

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import LanguageModelInput
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable, RunnableConfig
from langchain_core.utils.function_calling import convert_to_openai_tool
from pydantic import BaseModel, ConfigDict

from langchain_qwen_omni._caching import Cached
from langchain_qwen_omni._calls import BoundModel, plan_tools
from langchain_qwen_omni._errors import as_langchain_errors
from langchain_qwen_omni._responses import ChunkBuilder, to_message
from langchain_qwen_omni._telling import atold, listens, told
from qwen_omni import insisting
from qwen_omni.call_plan import Plan, without_pickled_secrets
from qwen_omni.responses import Response, acollect, collect

if TYPE_CHECKING:
    from langchain_core.tools import BaseTool

    from langchain_qwen_omni._events import EventBuilder
    from langchain_qwen_omni._structured import Method, Schema


class ChatQwenOmni(Cached):
    """Qwen-Omni chat models of Alibaba Cloud Model Studio: text, images, audio and video in, text or speech out.

    The key comes from `DASHSCOPE_API_KEY` when the first request is sent, and the address from
    `DASHSCOPE_BASE_URL` or `region`; neither is kept in the object unless it was passed to it. Every request
    streams, because most of these models refuse anything else: `invoke` folds the stream, and `streaming=`,
    `stream=` and `disable_streaming=` change nothing that is sent. Local files must lie inside `media_root`
    (the current directory unless told otherwise), since messages may come from strangers.

    qwen3.8-omni-flash thinks before it answers, and bills that as output; `thinking=False` switches it off.
    Thinking is off, too, for calls that must call a tool or answer in JSON, unless that call asks for it.

    Every field can also be given to one call (`llm.invoke(..., temperature=0)`) or bound (`llm.bind(...)`).

    Example:
        from langchain_core.messages import HumanMessage
        from langchain_qwen_omni import ChatQwenOmni

        llm = ChatQwenOmni()
        question = HumanMessage([
            {"type": "video", "path": "promo.mp4", "extras": {"fps": 1}},
            {"type": "text", "text": "What is sold here?"},
        ])
        print(llm.invoke([question]).text)
    """

    model_config = ConfigDict(defer_build=False)

    # --- Entry points: each decides once, then does ---

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        with as_langchain_errors():
            plan = self._plan(messages, stop, kwargs)
            client = self._clients.sync(plan.connection)
            if run_manager is None or not listens(run_manager.handlers):
                return _result(insisting.complete(client, plan), plan)
            return _result(collect(told(insisting.stream(client, plan), run_manager)), plan)

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        with as_langchain_errors():
            plan = self._plan(messages, stop, kwargs)
            client = self._clients.asynchronous(plan.connection)
            if run_manager is None or not listens(run_manager.handlers):
                return _result(await insisting.acomplete(client, plan), plan)
            return _result(await acollect(atold(insisting.astream(client, plan), run_manager)), plan)

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        with as_langchain_errors():
            plan = self._plan(messages, stop, kwargs)
            chunks = ChunkBuilder(model=plan.request.model, speaks=plan.request.options.speaks)
            for delta in insisting.stream(self._clients.sync(plan.connection), plan):
                chunk = chunks.take(delta)
                if chunk is not None:
                    if run_manager is not None:
                        run_manager.on_llm_new_token(chunk.text, chunk=chunk)
                    yield chunk
            yield chunks.last(plan.notes)

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        with as_langchain_errors():
            plan = self._plan(messages, stop, kwargs)
            chunks = ChunkBuilder(model=plan.request.model, speaks=plan.request.options.speaks)
            client = self._clients.asynchronous(plan.connection)
            async with contextlib.aclosing(insisting.astream(client, plan)) as deltas:
                async for delta in deltas:
                    chunk = chunks.take(delta)
                    if chunk is not None:
                        if run_manager is not None:
                            await run_manager.on_llm_new_token(chunk.text, chunk=chunk)
                        yield chunk
            yield chunks.last(plan.notes)

    def _stream_chat_model_events(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[Any]:
        """Give the answer as the events of `stream_events(version="v3")`."""
        with as_langchain_errors():
            plan = self._plan(messages, stop, kwargs)
            events = _event_builder(plan, run_manager)
            for delta in told(insisting.stream(self._clients.sync(plan.connection), plan), run_manager):
                yield from events.take(delta)
            yield from events.last(plan.notes)

    async def _astream_chat_model_events(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[Any]:
        """Give the answer as the events of `astream_events(version="v3")`."""
        with as_langchain_errors():
            plan = self._plan(messages, stop, kwargs)
            events = _event_builder(plan, run_manager)
            client = self._clients.asynchronous(plan.connection)
            async with contextlib.aclosing(atold(insisting.astream(client, plan), run_manager)) as deltas:
                async for delta in deltas:
                    for event in events.take(delta):
                        yield event
            for event in events.last(plan.notes):
                yield event

    # --- Runnables made of this one ---

    def bind(self, **kwargs: Any) -> Any:
        """Bind options of a call. A bound key and bound headers are left out of reprs and pickles."""
        return BoundModel(bound=self, kwargs=without_pickled_secrets(kwargs), config={})

    def with_config(self, config: RunnableConfig | None = None, **kwargs: Any) -> Any:
        """Bind a configuration, such as tags and callbacks."""
        return BoundModel(bound=self, kwargs={}, config=cast("RunnableConfig", {**(config or {}), **kwargs}))

    def bind_tools(
        self,
        tools: "Sequence[dict[str, Any] | type | Callable[..., Any] | BaseTool]",
        *,
        tool_choice: str | dict[str, Any] | bool | None = None,
        strict: bool | None = None,
        parallel_tool_calls: bool | None = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, AIMessage]:
        """Give the model tools.

        A choice that forces a call (a tool's name, or "any" with one tool) switches thinking off for that call,
        because the service cannot do both. "any" with several tools is something the service lacks: the prompt
        asks for it, an answer without a call is asked for once more, and then `NoToolCallError` is raised.

        Args:
            tools: functions, pydantic classes, LangChain tools or dictionaries.
            tool_choice: "auto", "none", "any" (also "required" or `True`), or the name of a tool.
            strict: whether arguments must follow the schema, where the model can be held to it.
            parallel_tool_calls: whether several calls may come at once.
            kwargs: further options of the call.

        Raises:
            ConfigurationError: the choice names no tool.
        """
        converted = [convert_to_openai_tool(tool, strict=strict) for tool in tools]
        with as_langchain_errors():
            choice = plan_tools(converted, tool_choice).wanted
        options = {"tool_choice": choice, "parallel_tool_calls": parallel_tool_calls}
        given = {name: value for name, value in options.items() if value is not None}
        bound: Runnable[LanguageModelInput, AIMessage] = self.bind(tools=converted, **given, **kwargs)
        return bound

    def with_structured_output(
        self,
        schema: "Schema | None" = None,
        *,
        method: "Method" = "json_schema",
        include_raw: bool = False,
        strict: bool | None = None,
        repair: bool = True,
        allow_truncated: bool = False,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, dict[str, Any] | BaseModel]:
        """Make a runnable that answers with objects of a schema. The model itself stays as it is.

        - `json_schema`: the service holds the model to the schema where the model can be held to it. No Omni
          model can, so the schema goes into the prompt, JSON mode is used where there is one, and the answer is
          validated here. Streams partial objects.
        - `function_calling`: the schema is a tool that must be called.
        - `json_mode`: the answer is JSON; the prompt must say what is in it. Streams partial objects. Models without
          the mode (3.5) are asked in words.

        Partial objects are dictionaries, for a `TypedDict` or JSON schema; a class comes once, when it is whole.

        An answer that breaks the schema is asked for once more (`invoke` and `ainvoke`; not with `include_raw`, and
        not in streams, whose partials were seen). One that was cut raises `TruncatedAnswerError`.

        Thinking is off for such calls, unless `thinking=` is passed here.

        Args:
            schema: a pydantic class, a `TypedDict` or a JSON schema.
            method: how the model is brought to it.
            include_raw: return `{"raw", "parsed", "parsing_error"}` rather than raise what cannot be parsed.
            strict: for `function_calling` and `json_schema`, where the model can be held to it.
            repair: ask once more when the answer breaks the schema.
            allow_truncated: accept an object that was cut, if it satisfies the schema, with a
                `TruncatedAnswerWarning`.
            kwargs: further options of the call.

        Raises:
            ConfigurationError: no schema where one is needed, one that cannot be read, or an unknown method.
        """
        from langchain_qwen_omni import _structured  # noqa: PLC0415  (brings the parsers)

        with as_langchain_errors():
            structure = _structured.plan_structure(schema, method, strict=strict)
        parser = structure.parser.model_copy(update={"allow_truncated": allow_truncated})
        llm = self.bind(**structure.options, **kwargs)
        return (
            _structured.with_raw(llm, parser)
            if include_raw
            else _structured.StructuredChain(llm, parser, repair=repair)
        )


def _result(response: Response, plan: Plan) -> ChatResult:
    message = to_message(response, model=plan.request.model, notes=plan.notes)
    return ChatResult(generations=[ChatGeneration(message=message)])


def _event_builder(
    plan: Plan, run_manager: CallbackManagerForLLMRun | AsyncCallbackManagerForLLMRun | None
) -> "EventBuilder":
    from langchain_qwen_omni._events import EventBuilder  # noqa: PLC0415  (for those alone who stream events)

    return EventBuilder(model=plan.request.model, message_id=_message_id(run_manager))


def _message_id(run_manager: CallbackManagerForLLMRun | AsyncCallbackManagerForLLMRun | None) -> str:
    """Give the id that LangChain itself gives to the answer of a run."""
    return "" if run_manager is None else f"lc_run-{run_manager.run_id}"
