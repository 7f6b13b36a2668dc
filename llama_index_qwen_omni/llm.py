"""`QwenOmni`: Qwen-Omni as a LlamaIndex LLM.

This module holds the eight entry points. The fields, and the connections that come of them, are in
`qwen_omni.model_fields`; what a call asks for is decided in `qwen_omni.call_plan`, messages are read in `_messages` and
`_parts`, answers are written in `_responses`, `_tracing` tells LlamaIndex's handlers, `_tools` and `_structured` hold
what is asked of tools and of schemas.
"""
# ruff: noqa: ANN401  (LlamaIndex's own signatures take any keyword)

from collections.abc import AsyncGenerator, Generator, Mapping, Sequence
from contextlib import aclosing, closing
from typing import TYPE_CHECKING, Any

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
)
from pydantic import ConfigDict

from llama_index_qwen_omni._messages import to_messages
from llama_index_qwen_omni._responses import StreamedAnswer, to_completion, to_response
from llama_index_qwen_omni._structured import StructuredPrediction
from llama_index_qwen_omni._tools import ToolCalling
from llama_index_qwen_omni._tracing import CallTrace, span, spans_itself
from qwen_omni import insisting
from qwen_omni.call_estimate import count_call, estimate_plan
from qwen_omni.call_plan import Plan, plan_call
from qwen_omni.model_fields import ModelFields
from qwen_omni.profiles import profile_for

if TYPE_CHECKING:
    from llama_index.core.tools.types import BaseTool

    from qwen_omni.spend.estimates import Estimate


class QwenOmni(ModelFields, ToolCalling, StructuredPrediction):
    """Qwen-Omni models of Alibaba Cloud Model Studio: text, images, audio and video in, text or speech out.

    The key comes from `DASHSCOPE_API_KEY` when the first request is sent, and the address from
    `DASHSCOPE_BASE_URL` or `region`; neither is kept in the object unless it was passed to it. Every request
    streams, because most of these models refuse anything else: `chat` and `complete` fold the stream. Local files
    must lie inside `media_root` (the current directory unless told otherwise), since messages may come from
    strangers. Synchronous methods work inside a running event loop, as in a notebook.

    What LlamaIndex's blocks have no room for stands in the message's `additional_kwargs`: `fps`, `start`, `end`,
    `budget`, `min_pixels`, `max_pixels`, `total_pixels` for its media, or `media=[{…}, {…}]` for each piece.

    qwen3.8-omni-flash thinks before it answers, and bills that as output; `thinking=False` switches it off.
    Thinking is off, too, for calls that must call a tool or answer in JSON, unless that call asks for it.

    Every field can also be given to one call: `llm.chat(messages, temperature=0)`.

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

    # --- Chat ---

    @spans_itself
    def chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        """Ask, and give the whole answer; raises `qwen_omni.errors`."""
        trace = CallTrace[ChatResponse](self, messages, kwargs)
        with span(self, "chat", {"messages": messages}, kwargs) as opened, trace.running():
            plan = self._plan(messages, kwargs)
            self._wait()
            answer = opened.done(self._answer(plan))
            trace.end(answer)
            return answer

    @spans_itself
    def stream_chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponseGen:
        """Ask, and give the answer as it comes; what is wrong with the question raises here."""
        trace = CallTrace[ChatResponse](self, messages, kwargs)
        with span(self, "stream_chat", {"messages": messages}, kwargs) as opened, trace.running():
            plan = self._plan(messages, kwargs)
            self._wait()
            return opened.done(trace.watch(self._streamed(plan)))

    @spans_itself
    async def achat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        """Do the same as `chat` in `asyncio`."""
        trace = CallTrace[ChatResponse](self, messages, kwargs)
        with span(self, "achat", {"messages": messages}, kwargs) as opened, trace.running():
            plan = self._plan(messages, kwargs)
            await self._await()
            answer = opened.done(await self._aanswer(plan))
            trace.end(answer)
            return answer

    @spans_itself
    async def astream_chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponseAsyncGen:
        """Do the same as `stream_chat` in `asyncio`."""
        trace = CallTrace[ChatResponse](self, messages, kwargs)
        with span(self, "astream_chat", {"messages": messages}, kwargs) as opened, trace.running():
            plan = self._plan(messages, kwargs)
            await self._await()
            return opened.done(trace.awatch(self._astreamed(plan)))

    # --- Completion: a conversation of one message ---

    @spans_itself
    def complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponse:
        """Complete a text, which is asked as a message of its own."""
        trace = CallTrace[CompletionResponse](self, prompt, kwargs)
        with span(self, "complete", {"prompt": prompt, "formatted": formatted}, kwargs) as opened, trace.running():
            plan = self._plan(self._asked(prompt, formatted), kwargs)
            self._wait()
            answer = opened.done(to_completion(self._answer(plan)))
            trace.end(answer)
            return answer

    @spans_itself
    def stream_complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponseGen:
        """Complete a text, and give the answer as it comes."""
        trace = CallTrace[CompletionResponse](self, prompt, kwargs)
        with (
            span(self, "stream_complete", {"prompt": prompt, "formatted": formatted}, kwargs) as opened,
            trace.running(),
        ):
            plan = self._plan(self._asked(prompt, formatted), kwargs)
            self._wait()
            return opened.done(trace.watch(_completions(self._streamed(plan))))

    @spans_itself
    async def acomplete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponse:
        """Do the same as `complete` in `asyncio`."""
        trace = CallTrace[CompletionResponse](self, prompt, kwargs)
        with span(self, "acomplete", {"prompt": prompt, "formatted": formatted}, kwargs) as opened, trace.running():
            plan = self._plan(self._asked(prompt, formatted), kwargs)
            await self._await()
            answer = opened.done(to_completion(await self._aanswer(plan)))
            trace.end(answer)
            return answer

    @spans_itself
    async def astream_complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponseAsyncGen:
        """Do the same as `stream_complete` in `asyncio`."""
        trace = CallTrace[CompletionResponse](self, prompt, kwargs)
        with (
            span(self, "astream_complete", {"prompt": prompt, "formatted": formatted}, kwargs) as opened,
            trace.running(),
        ):
            plan = self._plan(self._asked(prompt, formatted), kwargs)
            await self._await()
            return opened.done(trace.awatch(_acompletions(self._astreamed(plan))))

    # --- The road of a call: planned once, then sent ---

    def _plan(self, messages: Sequence[ChatMessage], options: Mapping[str, Any]) -> Plan:
        return plan_call(self._chosen(), to_messages(messages), options, who="QwenOmni")

    def _asked(self, prompt: str, formatted: bool) -> list[ChatMessage]:
        text = prompt if formatted or self.completion_to_prompt is None else self.completion_to_prompt(prompt)
        return list(_conversation(text))

    def _wait(self) -> None:
        if self.rate_limiter is not None:
            self.rate_limiter.acquire()

    async def _await(self) -> None:
        if self.rate_limiter is not None:
            await self.rate_limiter.async_acquire()

    def _answer(self, plan: Plan) -> ChatResponse:
        response = insisting.complete(self._clients.sync(plan.connection), plan)
        return to_response(response, model=plan.request.model)

    async def _aanswer(self, plan: Plan) -> ChatResponse:
        response = await insisting.acomplete(self._clients.asynchronous(plan.connection), plan)
        return to_response(response, model=plan.request.model)

    def _streamed(self, plan: Plan) -> ChatResponseGen:
        answer = StreamedAnswer(model=plan.request.model)
        with closing(insisting.stream(self._clients.sync(plan.connection), plan)) as deltas:
            for delta in deltas:
                response = answer.take(delta)
                if response is not None:
                    yield response
        yield answer.last()

    async def _astreamed(self, plan: Plan) -> ChatResponseAsyncGen:
        answer = StreamedAnswer(model=plan.request.model)
        async with aclosing(insisting.astream(self._clients.asynchronous(plan.connection), plan)) as deltas:
            async for delta in deltas:
                response = answer.take(delta)
                if response is not None:
                    yield response
        yield answer.last()

    # --- Counting; sends nothing ---

    def estimate(
        self, messages: str | Sequence[ChatMessage], *, answer_tokens: int | None = None, **kwargs: Any
    ) -> "Estimate":
        """Tell what a call of these messages and options will use and cost. See `qwen_omni.estimate`.

        Raises:
            QwenOmniError: a message that cannot be sent, or media that cannot be read or may not be.
        """
        return estimate_plan(self._plan(_conversation(messages), kwargs), answer_tokens)

    def count_tokens(self, messages: str | Sequence[ChatMessage], tools: "Sequence[BaseTool]" = ()) -> int:
        """Count a conversation's tokens, to trim a history: media by kind and length, as far as known unopened.

        Text is counted exactly with `qwen-omni[tokenizer]`, else nearly.

        Raises:
            UnsupportedContentError: a message that could not be sent either.
        """
        plan = self._plan(_conversation(messages), {"tools": [tool.metadata.to_openai_tool() for tool in tools]})
        return count_call(plan.request.messages, plan.request.options.tools, self.model)

    # --- What LlamaIndex asks about the model ---

    @classmethod
    def class_name(cls) -> str:
        """Give the name that LlamaIndex's stores know the class by."""
        return "qwen_omni"

    @property
    def metadata(self) -> LLMMetadata:
        """What the model can do, by its profile."""
        profile = profile_for(self.model)
        return LLMMetadata(
            context_window=profile.context,
            num_output=self.max_tokens or profile.max_output,
            is_chat_model=True,
            is_function_calling_model=profile.tools,
            model_name=self.model,
        )

    def to_payload(self) -> dict[str, Any]:
        """Describe the model to traces: what shapes an answer, and no secret."""
        return {**super().to_payload(), **self._shown()}


def _conversation(given: str | Sequence[ChatMessage]) -> Sequence[ChatMessage]:
    return [ChatMessage(role=MessageRole.USER, content=given)] if isinstance(given, str) else given


def _completions(responses: ChatResponseGen) -> Generator[CompletionResponse, None, None]:
    with closing(responses):
        for response in responses:
            yield to_completion(response)


async def _acompletions(responses: ChatResponseAsyncGen) -> AsyncGenerator[CompletionResponse, None]:
    async with aclosing(responses):
        async for response in responses:
            yield to_completion(response)
