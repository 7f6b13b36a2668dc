"""`ChatQwenOmni`: Qwen-Omni as a LangChain chat model.

This module holds the fields and the four entry points. What a call asks for is decided in `_request`, messages
are read in `_messages` and `_parts`, answers are written in `_responses`, and `_clients` keeps the connections.
"""
# ruff: noqa: ANN401  (LangChain's own signatures take any keyword)

import contextlib
import os
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Any

from langchain_core.callbacks import (
    AsyncCallbackHandler,
    AsyncCallbackManagerForLLMRun,
    BaseCallbackHandler,
    CallbackManagerForLLMRun,
)
from langchain_core.language_models import LangSmithParams, LanguageModelInput, ModelProfile
from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable
from langchain_core.tools import BaseTool
from langchain_core.tracers.base import BaseTracer
from langchain_core.utils.function_calling import convert_to_openai_tool
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PrivateAttr, SecretStr

from langchain_qwen_omni._clients import Clients, ConnectionOptions
from langchain_qwen_omni._errors import as_langchain_errors
from langchain_qwen_omni._messages import to_messages
from langchain_qwen_omni._profile import to_model_profile
from langchain_qwen_omni._request import CALL_FIELDS, CONNECTION_FIELDS, Plan, plan_call, plan_tools
from langchain_qwen_omni._responses import PROVIDER, ChunkBuilder, to_message
from langchain_qwen_omni._structured import Method, Schema, plan_structure, with_raw
from langchain_qwen_omni._tokens import count_messages, count_text, count_tools
from qwen_omni.delivery.delivered import Delivery
from qwen_omni.options import Dialect, Effort, OutputModality
from qwen_omni.oss_settings import OssSettings
from qwen_omni.profiles import DEFAULT_MODEL, Region, profile_for
from qwen_omni.responses import Delta, Response, ResponseBuilder, TextDelta

if TYPE_CHECKING:  # the client brings the HTTP library, which `import langchain_qwen_omni` does not pay for
    from qwen_omni.client import OmniClient

_UNSHOWN = frozenset({"api_key", "extra_headers", "oss"})  # may hold secrets; they identify nothing about an answer


class ChatQwenOmni(BaseChatModel):
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

    model: str = DEFAULT_MODEL
    """Name of the model."""

    api_key: SecretStr | None = None
    """Key of the service; `None` takes it from the environment when it is needed."""
    base_url: str | None = None
    """Address of the service's OpenAI-compatible routes."""
    region: Region | None = None
    """Short name of an address: cn, intl, us or hk. Keys belong to a region."""
    timeout: float | None = None
    """Seconds to wait for the next byte; minutes by default, since the service downloads media in silence."""
    connect_timeout: float | None = None
    """Seconds to wait for a connection."""
    max_retries: int | None = None
    """How often a request that failed in passing is repeated."""
    media_root: Annotated[str, BeforeValidator(os.fspath)] | None = None
    """The folder that local paths in messages must lie in."""
    delivery: Delivery | None = None
    """How local media travel: "inline", "oss", "temporary", or "auto", which goes by their size and length."""
    oss: OssSettings | None = Field(default=None, exclude=True)
    """A bucket of your own for large media."""
    dialect: Dialect | None = None
    """Whose requests the server understands, "dashscope" or "vllm"; goes by the address if not given."""

    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    max_tokens: int | None = None
    """Most tokens of the answer, thinking not counted."""
    seed: int | None = None
    stop: list[str] | str | None = None
    presence_penalty: float | None = None
    repetition_penalty: float | None = None
    thinking: bool | Effort | None = None
    """`True` or `False` switches thinking, an effort says how much; `None` leaves the model's default."""
    modalities: list[OutputModality] | None = None
    """`["text", "audio"]` makes the model speak, if it can; `voice` says who."""
    voice: str | None = None
    search: bool | None = None
    """Whether the model may search the web."""
    high_resolution_images: bool | None = None
    multichannel: bool | None = None
    """Whether stereo or ambisonic sound is heard by channel."""
    extra_body: dict[str, Any] | None = None
    """Further fields of the request, as the service names them."""
    extra_headers: dict[str, str] | None = Field(default=None, repr=False)
    """Further headers of the request."""
    streaming: bool | None = None
    """Read by LangChain alone: whether `invoke` tells handlers the answer chunk by chunk."""

    _clients: Clients = PrivateAttr(default_factory=Clients)

    model_config = ConfigDict(arbitrary_types_allowed=True, extra="forbid", protected_namespaces=())

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
            if run_manager is not None and _listens(run_manager.handlers):
                response = _told(client.stream(plan.request), run_manager)
            else:
                response = client.complete(plan.request)
            if plan.must_call and not response.tool_calls:
                response = client.complete(plan.request)
            return _result(response, plan)

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
            if run_manager is not None and _listens(run_manager.handlers):
                response = await _atold(client.stream(plan.request), run_manager)
            else:
                response = await client.complete(plan.request)
            if plan.must_call and not response.tool_calls:
                response = await client.complete(plan.request)
            return _result(response, plan)

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
            for delta in self._clients.sync(plan.connection).stream(plan.request):
                chunk = chunks.take(delta)
                if chunk is not None:
                    if run_manager is not None:
                        run_manager.on_llm_new_token(chunk.text, chunk=chunk)
                    yield chunk
            plan.check(called=chunks.called)
            yield chunks.last()

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
            async with contextlib.aclosing(self._clients.asynchronous(plan.connection).stream(plan.request)) as deltas:
                async for delta in deltas:
                    chunk = chunks.take(delta)
                    if chunk is not None:
                        if run_manager is not None:
                            await run_manager.on_llm_new_token(chunk.text, chunk=chunk)
                        yield chunk
            plan.check(called=chunks.called)
            yield chunks.last()

    def _plan(self, messages: list[BaseMessage], stop: list[str] | None, options: dict[str, Any]) -> Plan:
        fields = {name: getattr(self, name) for name in ("model", *CALL_FIELDS, *CONNECTION_FIELDS)}
        return plan_call(fields, messages, stop, options)

    # --- Runnables made of this one ---

    def bind_tools(
        self,
        tools: Sequence[dict[str, Any] | type | Callable[..., Any] | BaseTool],
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
        return self.bind(tools=converted, **given, **kwargs)

    def with_structured_output(
        self,
        schema: Schema | None = None,
        *,
        method: Method = "json_schema",
        include_raw: bool = False,
        strict: bool | None = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, dict[str, Any] | BaseModel]:
        """Make a runnable that answers with objects of a schema. The model itself stays as it is.

        - `json_schema`: the service holds the model to the schema where the model can be held to it. No Omni
          model can, so the schema goes into the prompt, JSON mode is used where there is one, and the answer is
          validated here. Streams partial objects.
        - `function_calling`: the schema is a tool that must be called.
        - `json_mode`: the answer is JSON; the prompt must say what is in it. Streams partial objects.

        Thinking is off for such calls, unless `thinking=` is passed here.

        Args:
            schema: a pydantic class, a `TypedDict` or a JSON schema.
            method: how the model is brought to it.
            include_raw: give `{"raw", "parsed", "parsing_error"}` rather than raise what cannot be parsed.
            strict: for `function_calling` and `json_schema`, where the model can be held to it.
            kwargs: further options of the call.

        Raises:
            ConfigurationError: no schema where one is needed, or an unknown method.
        """
        with as_langchain_errors():
            structure = plan_structure(schema, method, strict=strict)
        llm = self.bind(**structure.options, **kwargs)
        return with_raw(llm, structure.parser) if include_raw else llm | structure.parser

    # --- Connections ---

    def client(self) -> "OmniClient":
        """Give the core's client of this model's connection, for what the core does by itself, as loaders do."""
        return self._clients.sync(ConnectionOptions(**{name: getattr(self, name) for name in CONNECTION_FIELDS}))

    def close(self) -> None:
        """Close the connections of `invoke`, `stream` and `batch`; the next call opens new ones."""
        self._clients.close()

    async def aclose(self) -> None:
        """Close the connections that `ainvoke`, `astream` and `abatch` opened in the running event loop."""
        await self._clients.aclose()

    # --- Counting ---

    def get_token_ids(self, text: str) -> list[int]:
        """Give one made-up number per estimated token: there is no tokenizer here, only its approximate count."""
        return list(range(count_text(text)))

    def get_num_tokens(self, text: str) -> int:
        """Estimate the tokens of a text; see `langchain_qwen_omni._tokens` for how."""
        return count_text(text)

    def get_num_tokens_from_messages(
        self,
        messages: list[BaseMessage],
        tools: Sequence[dict[str, Any] | type | Callable[..., Any] | BaseTool] | None = None,
    ) -> int:
        """Estimate the tokens of a conversation. Opens and downloads no media, and never counts it as text.

        Raises:
            UnsupportedContentError: a message that could not be sent either.
        """
        with as_langchain_errors():
            counted = count_messages(to_messages(messages), profile_for(self.model).tokens)
            return counted + count_tools(plan_tools(tools or (), None).tools)

    # --- What LangChain asks about the model ---

    def _resolve_model_profile(self) -> ModelProfile | None:
        return to_model_profile(profile_for(self.model))

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> LangSmithParams:
        own = [self.stop] if isinstance(self.stop, str) else self.stop
        params = super()._get_ls_params(stop=stop or own, **kwargs)
        params["ls_provider"] = PROVIDER
        return params

    @property
    def _llm_type(self) -> str:
        return "chat-qwen-omni"

    @property
    def _identifying_params(self) -> dict[str, Any]:
        names = ("model", *CALL_FIELDS, *CONNECTION_FIELDS)
        chosen = {name: getattr(self, name) for name in names if name not in _UNSHOWN}
        return {name: value for name, value in chosen.items() if value is not None}

    @property
    def lc_secrets(self) -> dict[str, str]:
        """Which field is a secret, and the variable it is read from."""
        return {"api_key": "DASHSCOPE_API_KEY"}

    @classmethod
    def is_lc_serializable(cls) -> bool:
        """Tell that `dumpd` and `load` work."""
        return True

    @classmethod
    def get_lc_namespace(cls) -> list[str]:
        """Give the module that `load` finds the class in."""
        return ["langchain_qwen_omni", "chat_models"]


def _listens(handlers: list[BaseCallbackHandler]) -> bool:
    """Tell whether a handler wants words as they come. Tracers see the whole answer at its end."""
    silent = (BaseCallbackHandler.on_llm_new_token, AsyncCallbackHandler.on_llm_new_token)
    return any(
        type(handler).on_llm_new_token not in silent and not isinstance(handler, BaseTracer) for handler in handlers
    )


def _told(deltas: Iterator[Delta], run_manager: CallbackManagerForLLMRun) -> Response:
    builder = ResponseBuilder()
    for delta in deltas:
        builder.add(delta)
        if isinstance(delta, TextDelta):
            run_manager.on_llm_new_token(delta.text)
    return builder.build()


async def _atold(stream: AsyncGenerator[Delta, None], run_manager: AsyncCallbackManagerForLLMRun) -> Response:
    builder = ResponseBuilder()
    async with contextlib.aclosing(stream) as deltas:
        async for delta in deltas:
            builder.add(delta)
            if isinstance(delta, TextDelta):
                await run_manager.on_llm_new_token(delta.text)
    return builder.build()


def _result(response: Response, plan: Plan) -> ChatResult:
    plan.check(called=bool(response.tool_calls))
    message = to_message(response, model=plan.request.model)
    return ChatResult(generations=[ChatGeneration(message=message)])
