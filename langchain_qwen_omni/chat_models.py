"""`ChatQwenOmni`: Qwen-Omni as a LangChain chat model.

This module has the entry points of LangChain: invoking, streaming, profile, token counts, dumping and caching. Fields
are in `qwen_omni.integrations.model_fields`; a call is planned and sent in `qwen_omni.integrations.request_builder`.
Messages are converted in `_convert_input`, answers in `_convert_output`.

LangChain builds the key of a cached answer from the whole text of the messages: a base64 video would be part of the
key, and a video passed by path would be identified by its name only. Here the cache sees light copies of the messages
(`_references`), and the call is made with the caller's own.
"""

import contextlib
import copy
import hashlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar, cast, get_args, get_type_hints

from langchain_core.callbacks import (
    AsyncCallbackHandler,
    AsyncCallbackManagerForLLMRun,
    BaseCallbackHandler,
    CallbackManagerForLLMRun,
)
from langchain_core.globals import get_llm_cache
from langchain_core.language_models import BaseChatModel, LangSmithParams, LanguageModelInput
from langchain_core.language_models.model_profile import ModelProfile
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult, Generation
from langchain_core.runnables import Runnable, RunnableConfig
from langchain_core.runnables.base import RunnableBinding
from langchain_core.runnables.config import run_in_executor
from langchain_core.tracers.base import BaseTracer
from langchain_core.utils.function_calling import convert_to_openai_tool
from pydantic import BaseModel, ConfigDict, PrivateAttr, SecretStr

from langchain_qwen_omni._convert_input import to_messages
from langchain_qwen_omni._convert_output import PROVIDER, AnswerBuilder, ChunkBuilder, to_message
from langchain_qwen_omni._errors import as_langchain_errors
from qwen_omni.integrations import request_builder
from qwen_omni.integrations.model_fields import UNSHOWN, ModelFields, described, without_pickled_secrets
from qwen_omni.integrations.request_builder import RequestPlan, count_call, count_text, estimate_plan, plan_tools
from qwen_omni.options import Effort
from qwen_omni.profiles import Profile
from qwen_omni.responses import Delta, Response, TextDelta, acollect, collect

if TYPE_CHECKING:
    from langchain_core.tools import BaseTool

    from langchain_qwen_omni._convert_output import EventBuilder
    from langchain_qwen_omni.output_parsers import Method, Schema
    from qwen_omni.options import ChatRequest
    from qwen_omni.request.estimate import Estimate


def to_model_profile(profile: Profile) -> ModelProfile:
    """Convert a profile to LangChain's format, as far as the installed version has the fields."""
    reasons = profile.thinking != "none"
    facts: dict[str, Any] = {
        "name": profile.name,
        "max_input_tokens": profile.max_input,
        "max_output_tokens": profile.max_output,
        **{f"{kind}_inputs": kind in profile.inputs for kind in ("text", "image", "audio", "video")},
        "image_url_inputs": "image" in profile.inputs,
        "pdf_inputs": False,
        "image_tool_message": "image" in profile.inputs,  # sent after the tool's result, see `_convert_input`
        "pdf_tool_message": False,
        "text_outputs": True,
        "image_outputs": False,
        "video_outputs": False,
        "audio_outputs": profile.speaks,
        "reasoning_output": reasons,
        "tool_calling": profile.tools,
        "tool_choice": profile.tools,
        "tool_call_streaming": profile.tools,
        "structured_output": profile.json_schema,
        "temperature": True,
        "attachment": profile.inputs != frozenset({"text"}),
    }
    if profile.thinking == "effort":
        facts["reasoning_effort_levels"] = list(get_args(Effort))
        facts["reasoning_effort_default"] = "xhigh"
    known = get_type_hints(ModelProfile)
    return cast("ModelProfile", {name: fact for name, fact in facts.items() if name in known})


_Manager = TypeVar("_Manager", CallbackManagerForLLMRun, AsyncCallbackManagerForLLMRun)


def listening(run_manager: _Manager | None) -> _Manager | None:
    """Return a run's manager if one of its handlers wants tokens as they arrive. Tracers get the answer at the end."""
    silent = (BaseCallbackHandler.on_llm_new_token, AsyncCallbackHandler.on_llm_new_token)
    handlers = [] if run_manager is None else run_manager.handlers
    wanting = (one for one in handlers if type(one).on_llm_new_token not in silent and not isinstance(one, BaseTracer))
    return run_manager if any(wanting) else None


# ruff: noqa: ANN401  (LangChain's own signatures take any keyword)


# Passed by LangChain itself, or about streaming, which every request does anyway.
_WITHOUT_EFFECT = frozenset(
    {"stream", "streaming", "stream_usage", "disable_streaming", "ls_structured_output_format",
     "structured_output_format"}
)  # fmt: skip


def plan_call(
    fields: Mapping[str, Any], messages: Sequence[BaseMessage], stop: list[str] | None, options: Mapping[str, Any]
) -> RequestPlan:
    """Plan one call.

    Args:
        fields: the model's own settings, `None` where not set.
        messages: the conversation.
        stop: LangChain's own argument; overrides the field.
        options: the options of this call; each overrides the field of the same name.

    Raises:
        ConfigurationError: an option that does not exist, or has an invalid value.
        UnsupportedContentError: a message that cannot be sent.
    """
    chosen = {name: value for name, value in options.items() if name not in _WITHOUT_EFFECT}
    if stop is not None:
        chosen["stop"] = stop
    if chosen.get("tools"):
        chosen["tools"] = _defined(chosen["tools"])
    return request_builder.plan_call(fields, to_messages(messages), chosen, who="ChatQwenOmni")


def _defined(tools: Sequence[object]) -> list[dict[str, Any]]:
    return [convert_to_openai_tool(tool) for tool in tools]  # type: ignore[arg-type]


T = TypeVar("T")
_OF_ANSWER_FORM = frozenset(
    {"tools", "tool_choice", "parallel_tool_calls", "response_format", "ls_structured_output_format"}
)  # replaced by a schema


class BoundModel(RunnableBinding[LanguageModelInput, AIMessage]):
    """A chat model with bound options, in whichever order they are bound.

    LangChain's own binding passes `bind_tools` and `with_structured_output` to the model without the options bound
    before, and stores options bound later unchanged: a key would be lost in the first case, and pickled in the second.
    """

    @classmethod
    def lc_id(cls) -> list[str]:
        """Serialise as LangChain's class."""
        return [*cls.get_lc_namespace(), "RunnableBinding"]

    def bind(self, **kwargs: Any) -> Runnable[LanguageModelInput, AIMessage]:
        """Bind further options; a key and headers are left out of reprs and pickles."""
        return super().bind(**without_pickled_secrets(kwargs))

    def bind_tools(self, tools: Sequence[Any], **kwargs: Any) -> Runnable[LanguageModelInput, AIMessage]:
        """Bind tools; options bound before are kept."""
        return self._configured(self._model.bind_tools(tools, **{**self.kwargs, **kwargs}))

    def with_structured_output(self, schema: Any = None, **kwargs: Any) -> Runnable[LanguageModelInput, Any]:
        """Return a runnable that answers with objects of a schema; options bound before are kept."""
        kept = {name: value for name, value in self.kwargs.items() if name not in _OF_ANSWER_FORM}
        return self._configured(self._model.with_structured_output(schema, **{**kept, **kwargs}))

    @property
    def _model(self) -> BaseChatModel:
        return cast("BaseChatModel", self.bound)

    def _configured(self, made: Runnable[LanguageModelInput, T]) -> Runnable[LanguageModelInput, T]:
        return made.with_config(self.config) if self.config else made


@described
class ChatQwenOmni(ModelFields, BaseChatModel):
    """Qwen-Omni chat models of Alibaba Cloud Model Studio: text, images, audio and video in, text or speech out.

    The key comes from `DASHSCOPE_API_KEY` when the first request is sent, and the address from
    `DASHSCOPE_BASE_URL` or `region`; neither is kept in the object unless it was passed to it. Every request
    streams, because most of these models accept nothing else: `invoke` collects the stream, and `streaming=`,
    `stream=` and `disable_streaming=` do not change the request. Local files must be inside `media_root` (the current
    directory by default), since messages may be untrusted.

    qwen3.8-omni-flash thinks before it answers, and reasoning tokens are billed as output; `thinking=False` turns it
    off. Thinking is also off for calls that must call a tool or answer in JSON, unless that call turns it on.

    Every field can also be passed to one call (`llm.invoke(..., temperature=0)`) or bound (`llm.bind(...)`).

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

    api_key: SecretStr | None = None  # LangChain's dump replaces it by the variable's name
    """API key of the service; `None` reads it from the environment when it is needed."""
    streaming: bool | None = None
    """Read by LangChain only: whether `invoke` passes the answer to handlers chunk by chunk."""

    _asked: list[BaseMessage] | None = PrivateAttr(default=None)  # the real messages of a call whose answer is cached

    model_config = ConfigDict(arbitrary_types_allowed=True, extra="forbid", protected_namespaces=(), defer_build=False)

    # --- Entry points: each plans the call, then sends it ---

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        with as_langchain_errors():
            plan = self._plan(messages, stop, kwargs)
            if listening(run_manager) is not None:
                return _result(collect(self._deltas(plan, run_manager)), plan)
            return _result(plan.complete(self._clients.sync(plan.connection)), plan)

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        with as_langchain_errors():
            plan = self._plan(messages, stop, kwargs)
            if listening(run_manager) is not None:
                return _result(await acollect(self._adeltas(plan, run_manager)), plan)
            return _result(await plan.acomplete(self._clients.asynchronous(plan.connection)), plan)

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        with as_langchain_errors():
            plan = self._plan(messages, stop, kwargs)
            for chunk in self._pieces(plan, _chunk_builder(plan)):
                if run_manager is not None:
                    run_manager.on_llm_new_token(chunk.text, chunk=chunk)
                yield chunk

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        with as_langchain_errors():
            plan = self._plan(messages, stop, kwargs)
            async with contextlib.aclosing(self._apieces(plan, _chunk_builder(plan))) as chunks:
                async for chunk in chunks:
                    if run_manager is not None:
                        await run_manager.on_llm_new_token(chunk.text, chunk=chunk)
                    yield chunk

    def _stream_chat_model_events(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[Any]:
        """Yield the answer as the events of `stream_events(version="v3")`."""
        with as_langchain_errors():
            plan = self._plan(messages, stop, kwargs)
            yield from self._pieces(plan, _event_builder(plan, run_manager), run_manager)

    async def _astream_chat_model_events(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[Any]:
        """Yield the answer as the events of `astream_events(version="v3")`."""
        with as_langchain_errors():
            plan = self._plan(messages, stop, kwargs)
            events = _event_builder(plan, run_manager)
            async with contextlib.aclosing(self._apieces(plan, events, run_manager)) as pieces:
                async for event in pieces:
                    yield event

    def _plan(self, messages: list[BaseMessage], stop: list[str] | None, options: dict[str, Any]) -> RequestPlan:
        return plan_call(self._chosen(), messages if self._asked is None else self._asked, stop, options)

    def _deltas(
        self, plan: RequestPlan, run_manager: CallbackManagerForLLMRun | None = None
    ) -> Generator[Delta, None, None]:
        """Yield the deltas of the answer, and pass their text to handlers that want tokens."""
        listener = listening(run_manager)
        for delta in plan.stream(self._clients.sync(plan.connection)):
            if listener is not None and isinstance(delta, TextDelta):
                listener.on_llm_new_token(delta.text)
            yield delta

    async def _adeltas(
        self, plan: RequestPlan, run_manager: AsyncCallbackManagerForLLMRun | None = None
    ) -> AsyncGenerator[Delta, None]:
        listener = listening(run_manager)
        client = self._clients.asynchronous(plan.connection)
        async with contextlib.aclosing(plan.astream(client)) as deltas:
            async for delta in deltas:
                if listener is not None and isinstance(delta, TextDelta):
                    await listener.on_llm_new_token(delta.text)
                yield delta

    def _pieces(
        self, plan: RequestPlan, builder: AnswerBuilder[T], run_manager: CallbackManagerForLLMRun | None = None
    ) -> Generator[T, None, None]:
        """Yield the chunks, or the events, of the answer."""
        for delta in self._deltas(plan, run_manager):
            yield from builder.take(delta)
        yield from builder.last(plan.notes)

    async def _apieces(
        self, plan: RequestPlan, builder: AnswerBuilder[T], run_manager: AsyncCallbackManagerForLLMRun | None = None
    ) -> AsyncGenerator[T, None]:
        async with contextlib.aclosing(self._adeltas(plan, run_manager)) as deltas:
            async for delta in deltas:
                for piece in builder.take(delta):
                    yield piece
        for piece in builder.last(plan.notes):
            yield piece

    # --- Runnables derived from this one ---

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
        """Bind tools to the model.

        A choice that forces a call (a tool's name, or "any" with one tool) turns thinking off for that call, since the
        service cannot do both. The service does not support "any" with several tools: the prompt asks for a call,
        an answer without one is requested once more, and then `NoToolCallError` is raised.

        Args:
            tools: functions, pydantic classes, LangChain tools or dictionaries.
            tool_choice: "auto", "none", "any" (also "required" or `True`), or the name of a tool.
            strict: whether arguments must follow the schema, if the model can enforce it.
            parallel_tool_calls: whether the model may make several calls at once.
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
        """Return a runnable that answers with objects of a schema. The model itself is not changed.

        - `json_schema`: the service enforces the schema, if the model supports that. No Omni model does, so the
          schema goes into the prompt, JSON mode is used if available, and the answer is validated here. Streams
          partial objects.
        - `function_calling`: the schema is a tool that must be called.
        - `json_mode`: the answer is JSON; the prompt must describe its content. Streams partial objects. Models without
          the mode (3.5) get an instruction in the prompt.

        Partial objects are dictionaries, for a `TypedDict` or JSON schema; an instance of a class comes once, complete.

        An answer that violates the schema is requested once more (`invoke` and `ainvoke`; not with `include_raw`, and
        not in streams, whose partial objects were already yielded). A truncated one raises `TruncatedAnswerError`.

        Thinking is off for such calls, unless `thinking=` is passed here.

        Args:
            schema: a pydantic class, a `TypedDict` or a JSON schema.
            method: how the format is requested.
            include_raw: return `{"raw", "parsed", "parsing_error"}` instead of raising parsing errors.
            strict: for `function_calling` and `json_schema`, if the model can enforce it.
            repair: retry once when the answer violates the schema.
            allow_truncated: accept a truncated object that satisfies the schema, with a
                `TruncatedAnswerWarning`.
            kwargs: further options of the call.

        Raises:
            ConfigurationError: no schema where one is needed, one that cannot be read, or an unknown method.
        """
        from langchain_qwen_omni import output_parsers  # noqa: PLC0415  (imports the parsers)

        with as_langchain_errors():
            structure = output_parsers.plan_structure(schema, method, strict=strict)
        parser = structure.parser.model_copy(update={"allow_truncated": allow_truncated})
        llm = self.bind(**structure.options, **kwargs)
        return (
            output_parsers.with_raw(llm, parser)
            if include_raw
            else output_parsers.StructuredChain(llm, parser, repair=repair)
        )

    # --- Answers cached under digests ---

    def _generate_with_cache(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        if not self._caches():
            return super()._generate_with_cache(messages, stop=stop, run_manager=run_manager, **kwargs)
        keyed, light = self._keyed(messages, kwargs)
        return super(ChatQwenOmni, keyed)._generate_with_cache(light, stop=stop, run_manager=run_manager, **kwargs)

    async def _agenerate_with_cache(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        if not self._caches():
            return await super()._agenerate_with_cache(messages, stop=stop, run_manager=run_manager, **kwargs)
        keyed, light = await run_in_executor(None, self._keyed, messages, kwargs)  # reads whole files
        return await super(ChatQwenOmni, keyed)._agenerate_with_cache(
            light, stop=stop, run_manager=run_manager, **kwargs
        )

    def _convert_cached_generations(self, cache_val: list[Generation]) -> list[ChatGeneration]:
        # LangChain marks a hit in the very object that the first caller received, who may still be using it.
        return super()._convert_cached_generations([copy.copy(one) for one in cache_val])

    def _caches(self) -> bool:
        return self._asked is None and self.cache is not False and bool(self.cache or get_llm_cache() is not None)

    def _keyed(self, messages: list[BaseMessage], options: dict[str, Any]) -> tuple[Self, list[BaseMessage]]:
        """Return a copy of the model for this one call, with the real messages, and the messages for the key."""
        from langchain_qwen_omni._references import digested  # noqa: PLC0415  (only needed with a cache)

        root = options.get("media_root") or self.media_root
        keyed = self.model_copy()  # shares the connections
        keyed._asked = messages  # noqa: SLF001  (the same class)
        return keyed, digested(messages, Path(root) if root else Path())

    # --- Counting ---

    def get_token_ids(self, text: str) -> list[int]:
        """Return one placeholder id per estimated token: there is no tokenizer here, only an approximate count."""
        return list(range(count_text(text, self.model)))

    def get_num_tokens(self, text: str) -> int:
        """Count the tokens of a text: exactly with `qwen-omni[tokenizer]`, else approximately."""
        return count_text(text, self.model)

    def get_num_tokens_from_messages(
        self,
        messages: list[BaseMessage],
        tools: "Sequence[dict[str, Any] | type | Callable[..., Any] | BaseTool] | None" = None,
    ) -> int:
        """Estimate the tokens of a conversation, without opening or downloading media, or counting it as text.

        Raises:
            UnsupportedContentError: a message that cannot be sent.
        """
        with as_langchain_errors():
            return count_call(to_messages(messages), plan_tools(_defined(tools or ()), None).tools, self.model)

    def estimate(self, messages: LanguageModelInput, *, answer_tokens: int | None = None, **kwargs: Any) -> "Estimate":
        """Estimate the usage and cost of a call with these messages and options, without sending it.

        See `qwen_omni.estimate`.

        Raises:
            QwenOmniError: a message that cannot be sent, or media that cannot or must not be read.
        """
        with as_langchain_errors():
            plan = self._plan(self._convert_input(messages).to_messages(), None, kwargs)
            return estimate_plan(plan, answer_tokens)

    def to_request(self, messages: LanguageModelInput, **kwargs: Any) -> "ChatRequest":
        """Return what a call with these messages and options would ask, without sending it.

        For `qwen_omni.archive.BatchJob` and other parts of the core.

        Raises:
            QwenOmniError: a message that cannot be sent.
        """
        with as_langchain_errors():
            return self._plan(self._convert_input(messages).to_messages(), None, kwargs).request

    # --- Model properties for LangChain ---

    def _resolve_model_profile(self) -> ModelProfile | None:
        return to_model_profile(self._profile())

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> LangSmithParams:
        own = [self.stop] if isinstance(self.stop, str) else self.stop
        params = super()._get_ls_params(stop=stop or own, **kwargs)
        params["ls_provider"] = PROVIDER
        return params

    def _get_invocation_params(self, stop: list[str] | None = None, **kwargs: Any) -> dict[str, Any]:
        return super()._get_invocation_params(stop=stop, **_traceable(kwargs))

    def _get_llm_string(self, stop: list[str] | None = None, **kwargs: Any) -> str:
        shown, headers = _traceable(kwargs), kwargs.get("extra_headers")
        if headers:  # they may change the answer, so their digest is part of the key
            same = str(sorted(headers.items(), key=str) if isinstance(headers, Mapping) else headers)
            shown["extra_headers"] = hashlib.sha256(same.encode()).hexdigest()
        shown.pop("tier", None)  # an answer that was paid for at one price is not paid for again at the other
        same_model = self if self.tier is None else self.model_copy(update={"tier": None})
        return super(ChatQwenOmni, same_model)._get_llm_string(stop=stop, **shown)

    @property
    def _llm_type(self) -> str:
        return "chat-qwen-omni"

    @property
    def _identifying_params(self) -> dict[str, Any]:
        return self._shown()

    @property
    def lc_secrets(self) -> dict[str, str]:
        """The secret field, and the variable that it is read from."""
        return {"api_key": "DASHSCOPE_API_KEY"}

    @classmethod
    def is_lc_serializable(cls) -> bool:
        """Return `True`: `dumpd` and `load` are supported."""
        return True

    @classmethod
    def get_lc_namespace(cls) -> list[str]:
        """Return the module in which `load` finds the class."""
        return ["langchain_qwen_omni", "chat_models"]


def _traceable(options: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if name not in UNSHOWN}


def _result(response: Response, plan: RequestPlan) -> ChatResult:
    message = to_message(response, model=plan.request.model, notes=plan.notes)
    return ChatResult(generations=[ChatGeneration(message=message)])


def _chunk_builder(plan: RequestPlan) -> ChunkBuilder:
    return ChunkBuilder(model=plan.request.model, speaks=plan.request.options.speaks)


def _event_builder(
    plan: RequestPlan, run_manager: CallbackManagerForLLMRun | AsyncCallbackManagerForLLMRun | None
) -> "EventBuilder":
    from langchain_qwen_omni._convert_output import EventBuilder  # noqa: PLC0415  (only needed for streamed events)

    # LangChain itself gives the answer of a run this id.
    message_id = "" if run_manager is None else f"lc_run-{run_manager.run_id}"
    return EventBuilder(model=plan.request.model, message_id=message_id)
