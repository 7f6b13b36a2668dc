"""`QwenOmni`: Qwen-Omni as a LlamaIndex LLM, with tool calling for agents.

This module has the entry points. Fields are in `qwen_omni.integrations.model_fields`; a call is planned in
`qwen_omni.integrations.request_builder`. Messages are converted in `_convert_input`, answers in `_convert_output`;
`_tracing` informs LlamaIndex's handlers, and `_structured` predicts objects.
"""

from collections.abc import AsyncGenerator, Callable, Generator, Mapping, Sequence
from contextlib import aclosing, closing
from typing import TYPE_CHECKING, Any, TypeVar

from llama_index.core.base.llms.types import (
    ChatMessage,
    ChatResponse,
    ChatResponseAsyncGen,
    ChatResponseGen,
    CompletionResponse,
    CompletionResponseAsyncGen,
    CompletionResponseGen,
    LLMMetadata,
    MessageRole,
    ToolCallBlock,
)
from llama_index.core.llms.callbacks import llm_chat_callback, llm_completion_callback
from llama_index.core.llms.function_calling import FunctionCallingLLM
from llama_index.core.llms.llm import ToolSelection
from llama_index.core.tools.types import BaseTool
from pydantic import ConfigDict

from llama_index_qwen_omni._convert_input import to_messages
from llama_index_qwen_omni._convert_output import StreamedAnswer, to_completion, to_response, to_selections
from llama_index_qwen_omni._structured import StructuredPrediction
from llama_index_qwen_omni._tracing import spans_itself, traced
from qwen_omni._moved import warn
from qwen_omni.errors import NoToolCallError
from qwen_omni.integrations.model_fields import ModelFields
from qwen_omni.integrations.request_builder import RequestPlan, count_call, estimate_plan, plan_call

if TYPE_CHECKING:
    from qwen_omni.client import AsyncOmniClient
    from qwen_omni.options import ChatRequest
    from qwen_omni.request.estimate import Estimate

# ruff: noqa: ANN401  (LlamaIndex's own signatures take any keyword)

R = TypeVar("R")


class ToolCalling(FunctionCallingLLM):
    """Converts LlamaIndex tools to options of a call, and tool calls of an answer to LlamaIndex's format.

    The service can only be made to call one named tool. `tool_required` with one tool names it; with several, the
    prompt asks for a call, an answer without one is requested once more, and then `NoToolCallError` is raised. A choice
    that forces a call turns thinking off, because the service cannot do both.
    """

    @spans_itself  # it only plans; a span around it would hold the media of the conversation
    def _prepare_chat_with_tools(
        self,
        tools: Sequence[BaseTool],
        user_msg: str | ChatMessage | None = None,
        chat_history: list[ChatMessage] | None = None,
        verbose: bool = False,  # noqa: ARG002
        allow_parallel_tool_calls: bool = False,
        tool_required: bool = False,
        **kwargs: Any,
    ) -> dict[str, Any]:
        messages = list(chat_history or [])
        if user_msg is not None:
            asked = ChatMessage(role=MessageRole.USER, content=user_msg) if isinstance(user_msg, str) else user_msg
            messages.append(asked)
        options = dict(kwargs)
        if tools:
            options["tools"] = [tool.metadata.to_openai_tool(skip_length_check=True) for tool in tools]
            if allow_parallel_tool_calls:
                options["parallel_tool_calls"] = True
        if tool_required and options.get("tool_choice") is None:
            options["tool_choice"] = "required"
        return {"messages": messages, **options}

    def _validate_chat_with_tools_response(
        self,
        response: ChatResponse,
        tools: Sequence[BaseTool],  # noqa: ARG002
        allow_parallel_tool_calls: bool = False,
        **kwargs: Any,  # noqa: ARG002
    ) -> ChatResponse:
        """Keep only the first call, if parallel calls are not allowed."""
        return response if allow_parallel_tool_calls else first_call_only(response)

    def get_tool_calls_from_response(
        self,
        response: ChatResponse,
        error_on_no_tool_call: bool = True,
        **kwargs: Any,  # noqa: ARG002
    ) -> list[ToolSelection]:
        """Return the tool calls of a response; for a response that is still streaming, with the arguments so far.

        Raises:
            NoToolCallError: the response has no tool call, and one is required.
            ToolArgumentsError: the arguments of a complete answer are not a JSON object.
        """
        selections = to_selections(response)
        if error_on_no_tool_call and not selections:
            raise NoToolCallError("The model had to call a tool but answered in text. Retry, or pass tool_choice=.")
        return selections


def first_call_only(response: ChatResponse) -> ChatResponse:
    """Return a response with only the first of its tool calls."""
    calls = [block for block in response.message.blocks if isinstance(block, ToolCallBlock)]
    if len(calls) <= 1:
        return response
    blocks = [block for block in response.message.blocks if block not in calls[1:]]
    extra = response.message.additional_kwargs
    kept = {**extra, "tool_calls": extra.get("tool_calls", [])[:1]}
    message = response.message.model_copy(update={"blocks": blocks, "additional_kwargs": kept})
    return response.model_copy(update={"message": message})


# ruff: noqa: ANN401  (LlamaIndex's own signatures take any keyword)


class QwenOmni(ModelFields, ToolCalling, StructuredPrediction):
    """Qwen-Omni models of Alibaba Cloud Model Studio: text, images, audio and video in, text or speech out.

    The key comes from `DASHSCOPE_API_KEY` when the first request is sent, and the address from
    `DASHSCOPE_BASE_URL` or `region`; neither is kept in the object unless it was passed to it. Every request
    streams, because most of these models accept nothing else: `chat` and `complete` collect the stream. Local files
    must be inside `media_root` (the current directory by default), since messages may be untrusted. Synchronous methods
    work inside a running event loop, as in a notebook.

    Options without a field in LlamaIndex's blocks go into the message's `additional_kwargs`: `fps`, `start`, `end`,
    `budget`, `min_pixels`, `max_pixels`, `total_pixels` for its media, or `media=[{…}, {…}]` for each piece.

    qwen3.8-omni-flash thinks before it answers, and reasoning tokens are billed as output; `thinking=False` turns it
    off. Thinking is also off for calls that must call a tool or answer in JSON, unless that call turns it on.

    Every field can also be passed to one call: `llm.chat(messages, temperature=0)`.

    Example:
        from llama_index.core.llms import ChatMessage, TextBlock, VideoBlock
        from llama_index_qwen_omni import QwenOmni

        llm = QwenOmni()
        question = ChatMessage(
            blocks=[VideoBlock(path="promo.mp4"), TextBlock(text="What is sold here?")], additional_kwargs={"fps": 1}
        )
        print(llm.chat([question]).message.content)
    """

    model_config = ConfigDict(arbitrary_types_allowed=True, extra="forbid", protected_namespaces=(), defer_build=False)

    def async_client(self) -> "AsyncOmniClient":
        """Return the asynchronous core client; the old name of `aclient`."""
        warn("QwenOmni.async_client()", "aclient()")
        return self.aclient()

    # --- Chat ---

    @traced(llm_chat_callback)
    def chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        """Send a conversation and return the whole answer; raises `qwen_omni.errors`."""
        return self._answer(self._plan(messages, kwargs))

    @traced(llm_chat_callback)
    def stream_chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponseGen:
        """Send a conversation and return the answer as a stream; errors in the request are raised here."""
        return self._streamed(self._plan(messages, kwargs), _unchanged)

    @traced(llm_chat_callback)
    async def achat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        """Send a conversation and return the whole answer, in `asyncio`."""
        return await self._aanswer(self._plan(messages, kwargs))

    @traced(llm_chat_callback)
    async def astream_chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponseAsyncGen:
        """Send a conversation and return the answer as a stream, in `asyncio`."""
        return self._astreamed(self._plan(messages, kwargs), _unchanged)

    # --- Completion: a conversation of one message ---

    @traced(llm_completion_callback)
    def complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponse:
        """Complete a text, sent as a single user message."""
        return to_completion(self._answer(self._completing(prompt, formatted, kwargs)))

    @traced(llm_completion_callback)
    def stream_complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponseGen:
        """Complete a text, and return the answer as a stream."""
        return self._streamed(self._completing(prompt, formatted, kwargs), to_completion)

    @traced(llm_completion_callback)
    async def acomplete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponse:
        """Complete a text, in `asyncio`."""
        return to_completion(await self._aanswer(self._completing(prompt, formatted, kwargs)))

    @traced(llm_completion_callback)
    async def astream_complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponseAsyncGen:
        """Complete a text, and return the answer as a stream, in `asyncio`."""
        return self._astreamed(self._completing(prompt, formatted, kwargs), to_completion)

    # --- A call: planned once, then sent ---

    def _plan(self, messages: Sequence[ChatMessage], options: Mapping[str, Any]) -> RequestPlan:
        return plan_call(self._chosen(), to_messages(messages), options, who="QwenOmni")

    def _completing(self, prompt: str, formatted: bool, options: Mapping[str, Any]) -> RequestPlan:
        text = prompt if formatted or self.completion_to_prompt is None else self.completion_to_prompt(prompt)
        return self._plan(_conversation(text), options)

    def _answer(self, plan: RequestPlan) -> ChatResponse:
        response = plan.complete(self._clients.sync(plan.connection))
        return to_response(response, model=plan.request.model)

    async def _aanswer(self, plan: RequestPlan) -> ChatResponse:
        response = await plan.acomplete(self._clients.asynchronous(plan.connection))
        return to_response(response, model=plan.request.model)

    def _streamed(self, plan: RequestPlan, convert: Callable[[ChatResponse], R]) -> Generator[R, None, None]:
        answer = StreamedAnswer(model=plan.request.model)
        with closing(plan.stream(self._clients.sync(plan.connection))) as deltas:
            for delta in deltas:
                response = answer.take(delta)
                if response is not None:
                    yield convert(response)
        yield convert(answer.last())

    async def _astreamed(self, plan: RequestPlan, convert: Callable[[ChatResponse], R]) -> AsyncGenerator[R, None]:
        answer = StreamedAnswer(model=plan.request.model)
        async with aclosing(plan.astream(self._clients.asynchronous(plan.connection))) as deltas:
            async for delta in deltas:
                response = answer.take(delta)
                if response is not None:
                    yield convert(response)
        yield convert(answer.last())

    # --- Counting; sends nothing ---

    def estimate(
        self, messages: str | Sequence[ChatMessage], *, answer_tokens: int | None = None, **kwargs: Any
    ) -> "Estimate":
        """Estimate the usage and cost of a call with these messages and options. See `qwen_omni.estimate`.

        Raises:
            QwenOmniError: a message that cannot be sent, or media that cannot or must not be read.
        """
        return estimate_plan(self._plan(_conversation(messages), kwargs), answer_tokens)

    def to_request(self, messages: str | Sequence[ChatMessage], **kwargs: Any) -> "ChatRequest":
        """Return what a call with these messages and options would ask, without sending it.

        For `qwen_omni.archive.BatchJob` and other parts of the core.

        Raises:
            QwenOmniError: a message that cannot be sent.
        """
        return self._plan(_conversation(messages), kwargs).request

    def count_tokens(self, messages: str | Sequence[ChatMessage], tools: "Sequence[BaseTool]" = ()) -> int:
        """Count the tokens of a conversation, to trim a history: media by kind and duration, without opening it.

        Text is counted exactly with `qwen-omni[tokenizer]`, else approximately.

        Raises:
            UnsupportedContentError: a message that cannot be sent.
        """
        plan = self._plan(_conversation(messages), {"tools": [tool.metadata.to_openai_tool() for tool in tools]})
        return count_call(plan.request.messages, plan.request.options.tools, self.model)

    # --- Model properties for LlamaIndex ---

    @classmethod
    def class_name(cls) -> str:
        """Return the class name, as LlamaIndex's stores use it."""
        return "qwen_omni"

    @property
    def metadata(self) -> LLMMetadata:
        """The capabilities of the model, from its profile."""
        profile = self._profile()
        return LLMMetadata(
            context_window=profile.context,
            num_output=self.max_tokens or profile.max_output,
            is_chat_model=True,
            is_function_calling_model=profile.tools,
            model_name=self.model,
        )

    def to_payload(self) -> dict[str, Any]:
        """Describe the model for traces: the options of an answer, without secrets."""
        return {**super().to_payload(), **self._shown()}


def _conversation(given: str | Sequence[ChatMessage]) -> Sequence[ChatMessage]:
    return [ChatMessage(role=MessageRole.USER, content=given)] if isinstance(given, str) else given


def _unchanged(response: ChatResponse) -> ChatResponse:
    return response
