"""Reports calls to LlamaIndex's handlers: spans, events, callbacks. Decides nothing about the call.

LlamaIndex's own decorators (`dispatcher.span`, `llm_chat_callback`) report, but pass every handler the unchanged
arguments and answers, media included, and build an event for every delta whether or not anything listens. Here they are
applied only if there are handlers, and to light copies: some handlers store, send or even download what they receive. A
traced conversation holds its texts, reasoning and tool calls; for media it holds the kind and the path, the URL without
its query, or the number of bytes.
"""

import functools
import inspect
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Iterator, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager, closing, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any, TypeVar, cast

from llama_index.core.base.llms.types import (
    AudioBlock,
    BaseContentBlock,
    ChatMessage,
    ChatResponse,
    CitableBlock,
    CitationBlock,
    CompletionResponse,
    DocumentBlock,
    ImageBlock,
    MessageRole,
    TextBlock,
    VideoBlock,
)
from llama_index.core.callbacks import CBEventType, EventPayload
from llama_index.core.instrumentation.events.exception import ExceptionEvent
from llama_index.core.instrumentation.events.llm import LLMChatEndEvent, LLMChatStartEvent
from llama_index.core.llms.llm import LLM
from llama_index.core.prompts import BasePromptTemplate, ChatPromptTemplate
from llama_index_instrumentation import get_dispatcher
from llama_index_instrumentation.dispatcher import DISPATCHER_SPAN_DECORATED_ATTR, Dispatcher, active_instrument_tags
from llama_index_instrumentation.event_handlers import NullEventHandler
from llama_index_instrumentation.span import active_span_id
from llama_index_instrumentation.span_handlers import NullSpanHandler

from llama_index_qwen_omni._convert_input import MediaBlock, held_by
from llama_index_qwen_omni._convert_output import to_response
from qwen_omni.integrations.media_options import traced_text
from qwen_omni.integrations.model_fields import UNSHOWN
from qwen_omni.messages import Message
from qwen_omni.redact import redact

if TYPE_CHECKING:
    from qwen_omni.media.plan.segments import Segment
    from qwen_omni.options import ChatRequest
    from qwen_omni.responses import Response


def shown_messages(messages: Sequence[ChatMessage]) -> list[ChatMessage]:
    """Return a conversation without its media; messages without media are the same objects."""
    return [shown_message(message) for message in messages]


def shown_message(message: ChatMessage) -> ChatMessage:
    """Return a message without its media."""
    blocks = [shown_block(block) for block in message.blocks]
    kept = {name: value for name, value in message.additional_kwargs.items() if name != "images"}
    if len(kept) == len(message.additional_kwargs) and all(a is b for a, b in zip(blocks, message.blocks, strict=True)):
        return message
    return message.model_copy(update={"blocks": blocks, "additional_kwargs": kept})


def shown_block(block: BaseContentBlock) -> BaseContentBlock:
    """Return a block, or the line of text that replaces a media block."""
    match block:
        case ImageBlock() | AudioBlock() | VideoBlock() | DocumentBlock():
            return TextBlock(text=f"[{block.block_type}: {_where(block)}]")
        case CitableBlock():
            return block.model_copy(update={"content": [shown_block(inner) for inner in block.content]})
        case CitationBlock():
            return block.model_copy(update={"cited_content": shown_block(block.cited_content)})
        case _:
            return block


def _where(block: MediaBlock) -> str:
    held = held_by(block)
    if isinstance(held, bytes):
        return f"{len(held) * 3 // 4 - held[-2:].count(b'='):,} bytes"  # LlamaIndex keeps base64
    if held is not None:
        return "an open file"
    if block.path:
        return str(block.path)
    url = str(block.url or "nothing")
    return f"data of {len(url):,} characters" if url.startswith("data:") else redact(url)


def shown_response(response: Any) -> Any:  # noqa: ANN401  (a response, a stream of them, or what a program gives)
    """Return a response without its audio; anything else is returned unchanged."""
    if not isinstance(response, ChatResponse | CompletionResponse):
        return response
    more = response.additional_kwargs
    update: dict[str, Any] = {}
    if any(isinstance(value, MediaBlock) for value in more.values()):
        shown = {key: shown_block(value) if isinstance(value, MediaBlock) else value for key, value in more.items()}
        update["additional_kwargs"] = shown
    if isinstance(response, ChatResponse):
        message = shown_message(response.message)
        if message is not response.message:
            update["message"] = message
    return response.model_copy(update=update) if update else response


def shown_prompt(prompt: BasePromptTemplate) -> BasePromptTemplate:
    """Return a prompt template without its media."""
    if not isinstance(prompt, ChatPromptTemplate):
        return prompt
    copy = prompt.model_copy()
    copy.message_templates = shown_messages(prompt.message_templates)
    return copy


def shown_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of a call, except those that may hold secrets or are live objects."""
    return {name: value for name, value in options.items() if name not in UNSHOWN}


_EVENTS = get_dispatcher("llama_index.core.llms.callbacks")  # the source of the events of every LLM
_F = TypeVar("_F", bound=Callable[..., Any])


def spans_itself(function: _F) -> _F:
    """Mark a method that creates its own span, or needs none, so that LlamaIndex does not add one."""
    setattr(function, DISPATCHER_SPAN_DECORATED_ATTR, True)
    return function


def traced(callback: Callable[[], Any] | None = None) -> Callable[[_F], _F]:
    """Return a decorator that reports the calls of an LLM's method to LlamaIndex's handlers.

    Args:
        callback: LlamaIndex's decorator that reports events and obeys the LLM's rate limiter, `llm_chat_callback` or
            `llm_completion_callback`; with none, only the span is reported.
    """

    def decorate(method: _F) -> _F:
        @functools.wraps(method)
        def run(self: LLM, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
            call = _Call(self, method, callback)

            def answer(*_: Any, **__: Any) -> Any:  # noqa: ANN401
                if call.limiter is not None:
                    call.limiter.acquire()
                with call.failing():
                    return call.light(method(self, *args, **kwargs))

            return call.whole(call.reported(answer, args, kwargs))

        @functools.wraps(method)
        async def arun(self: LLM, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
            call = _Call(self, method, callback)

            async def answer(*_: Any, **__: Any) -> Any:  # noqa: ANN401
                if call.limiter is not None:
                    await call.limiter.async_acquire()
                with call.failing():
                    return call.light(await method(self, *args, **kwargs))

            return call.whole(await call.reported(answer, args, kwargs))

        return cast("_F", spans_itself(arun if inspect.iscoroutinefunction(method) else run))

    return decorate


class _Call:
    """One call of a method: handlers get light copies of its arguments and answers, the caller gets the answers."""

    def __init__(self, llm: LLM, method: Callable[..., Any], callback: Callable[[], Any] | None) -> None:
        self._llm, self._method, self._callback = llm, method, callback
        self._dispatcher = get_dispatcher(type(llm).__module__)
        self._events = _wanted(_EVENTS, "event_handlers", NullEventHandler)
        self._spans = self._events or _wanted(self._dispatcher, "span_handlers", NullSpanHandler)
        self._watched = callback is not None and (self._events or bool(llm.callback_manager.handlers))
        self.limiter = None if callback is None or self._watched else llm.rate_limiter
        """Obeyed here if LlamaIndex's decorator, which obeys it too, is not used."""
        self._answer: Any = None
        self._stream: Any = None

    def reported(self, answer: Callable[..., Any], args: tuple[Any, ...], options: Mapping[str, Any]) -> Any:  # noqa: ANN401
        """Call a function, and report the call with LlamaIndex's own decorators to those handlers that want it."""
        if not (self._spans or self._watched):
            return answer()
        signature = inspect.signature(self._method)
        given = signature.bind(self._llm, *args, **options)
        given.arguments = {name: _shown(value) for name, value in given.arguments.items()}
        answer.__name__ = self._method.__name__
        if self._watched and self._callback is not None:
            answer = self._callback()(answer)
        if self._spans:
            answer.__signature__ = signature  # type: ignore[attr-defined]  # `inspect` reads it
            answer = self._dispatcher.span(answer).__get__(self._llm)
            return answer(*given.args[1:], **given.kwargs)
        return answer(*given.args, **given.kwargs)

    @contextmanager
    def failing(self) -> Iterator[None]:
        """Report an error as an event, which LlamaIndex does for streams only."""
        try:
            yield
        except BaseException as error:
            if self._watched and self._events:
                _EVENTS.event(ExceptionEvent(exception=error, span_id=active_span_id.get()))
            raise

    def light(self, answer: Any) -> Any:  # noqa: ANN401  (a response or a stream of them)
        """Return an answer without its media, or a stream of such answers; keep the answer itself."""
        if not (self._spans or self._watched):
            self._answer = answer
            return answer
        if isinstance(answer, Generator | AsyncGenerator):
            self._stream = answer
            return self._lights(answer) if isinstance(answer, Generator) else self._alights(answer)
        self._answer = answer
        return shown_response(answer)

    def whole(self, seen: Any) -> Any:  # noqa: ANN401
        """Return the answer itself, or the stream, for the one that the handlers have seen."""
        if self._stream is None:
            return self._answer
        return self._wholes(seen) if isinstance(seen, Generator) else self._awholes(seen)

    def _lights(self, answers: Generator[Any, None, None]) -> Generator[Any, None, None]:
        for answer in answers:
            self._answer = answer
            yield shown_response(answer)

    async def _alights(self, answers: AsyncGenerator[Any, None]) -> AsyncGenerator[Any, None]:
        async for answer in answers:
            self._answer = answer
            yield shown_response(answer)

    def _wholes(self, seen: Generator[Any, None, None]) -> Generator[Any, None, None]:
        with closing(self._stream), closing(seen):
            for _ in seen:
                yield self._answer

    async def _awholes(self, seen: AsyncGenerator[Any, None]) -> AsyncGenerator[Any, None]:
        async with aclosing(self._stream), aclosing(seen):
            async for _ in seen:
                yield self._answer


def _wanted(dispatcher: Dispatcher, handlers: str, silent: type[Any]) -> bool:
    """Whether a dispatcher or one above it has handlers that do something."""
    at: Dispatcher | None = dispatcher
    while at is not None:
        if any(not isinstance(one, silent) for one in getattr(at, handlers)):
            return True
        at = at.parent if at.propagate else None
    return False


def _shown(value: Any) -> Any:  # noqa: ANN401  (any argument)
    """Return an argument of a method without media and secrets."""
    match value:
        case BasePromptTemplate():
            return shown_prompt(value)
        case Mapping():
            return shown_options(value)
        case Sequence() if not isinstance(value, str):
            return shown_messages(value)
        case _:
            return value


class RequestTraces:
    """Reports the requests of a long video to LlamaIndex's handlers, each as a chat call of the LLM.

    Called where a request is sent, as `AsyncTracing` of `qwen_omni.video` says. Handlers get a line of text for each
    piece of media. A request to another LLM is reported by that.
    """

    def __init__(self, llm: LLM, *, foreign: bool) -> None:
        self._llm = llm
        self._foreign = foreign
        self._dispatcher = get_dispatcher(type(llm).__module__)

    @asynccontextmanager
    async def __call__(
        self, request: "ChatRequest", segment: "Segment | None"
    ) -> AsyncIterator[Callable[["Response"], None]]:
        """Report one request; what this yields takes its answer."""
        answers: list[Response] = []
        events = _wanted(_EVENTS, "event_handlers", NullEventHandler)
        spans = events or _wanted(self._dispatcher, "span_handlers", NullSpanHandler)
        if (segment is None and self._foreign) or not (spans or self._llm.callback_manager.handlers):
            yield answers.append
            return
        messages = [_message(one, segment) for one in request.messages]
        span = self._span(messages, answers, request.model) if spans else nullcontext()
        with span, self._events(messages, answers, request.model):
            yield answers.append

    @contextmanager
    def _span(self, messages: list[ChatMessage], answers: "list[Response]", model: str) -> Iterator[None]:
        llm, name = self._llm, f"{type(self._llm).__name__}.achat-{uuid.uuid4()}"
        about: dict[str, Any] = {"bound_args": inspect.signature(type(llm).achat).bind(llm, messages), "instance": llm}
        above, tags = active_span_id.get(), active_instrument_tags.get()
        self._dispatcher.span_enter(id_=name, parent_id=above, tags=tags, **about)
        token = active_span_id.set(name)
        try:
            yield
        except BaseException as error:
            self._dispatcher.span_drop(id_=name, err=error, **about)
            raise
        else:
            self._dispatcher.span_exit(id_=name, result=_answered(answers, model), **about)
        finally:
            active_span_id.reset(token)

    @contextmanager
    def _events(self, messages: list[ChatMessage], answers: "list[Response]", model: str) -> Iterator[None]:
        manager, about = self._llm.callback_manager, {**self._llm.to_payload(), "model": model}
        with manager.as_trace("chat"):
            span_id = active_span_id.get()
            _EVENTS.event(LLMChatStartEvent(model_dict=about, messages=messages, additional_kwargs={}, span_id=span_id))
            event_id = manager.on_event_start(
                CBEventType.LLM, payload={EventPayload.MESSAGES: messages, EventPayload.SERIALIZED: about}
            )
            try:
                yield
            except BaseException as error:
                manager.on_event_end(CBEventType.LLM, payload={EventPayload.EXCEPTION: error}, event_id=event_id)
                _EVENTS.event(ExceptionEvent(exception=error, span_id=span_id))
                raise
            response = _answered(answers, model)
            payload: dict[str, Any] = {EventPayload.MESSAGES: messages, EventPayload.RESPONSE: response}
            manager.on_event_end(CBEventType.LLM, payload=payload, event_id=event_id)
            _EVENTS.event(LLMChatEndEvent(messages=messages, response=response, span_id=span_id))


def _answered(answers: "list[Response]", model: str) -> ChatResponse | None:
    return to_response(answers[-1], model=model) if answers else None


def _message(message: Message, segment: "Segment | None") -> ChatMessage:
    """Return a message with a line of text in place of each media part."""
    blocks = [TextBlock(text=traced_text(part, segment)) for part in message.parts]
    return ChatMessage(role=MessageRole(message.role), blocks=blocks)
