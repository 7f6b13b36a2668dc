"""Reports calls to LlamaIndex's handlers: spans, events, callbacks. Decides nothing about the call.

LlamaIndex's own decorators (`dispatcher.span`, `llm_chat_callback`) pass every handler the unchanged arguments, media
included, and build an event for every delta whether or not anything listens. This module reports the same things to the
same handlers in the same order, but only if there are any, and with references instead of media: some handlers store,
send or even download what they receive. A traced conversation holds its texts, reasoning and tool calls; for media it
holds the kind and the path, the URL without its query, or the number of bytes.
"""

import inspect
import uuid
from collections.abc import AsyncGenerator, Callable, Generator, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, aclosing, closing, contextmanager
from io import IOBase
from typing import Any, Generic, TypeVar

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
    TextBlock,
    VideoBlock,
)
from llama_index.core.callbacks import CBEventType, EventPayload
from llama_index.core.instrumentation.events.exception import ExceptionEvent
from llama_index.core.instrumentation.events.llm import (
    LLMChatEndEvent,
    LLMChatInProgressEvent,
    LLMChatStartEvent,
    LLMCompletionEndEvent,
    LLMCompletionInProgressEvent,
    LLMCompletionStartEvent,
)
from llama_index.core.llms.llm import LLM
from llama_index.core.prompts import BasePromptTemplate, ChatPromptTemplate
from llama_index_instrumentation import get_dispatcher
from llama_index_instrumentation.dispatcher import DISPATCHER_SPAN_DECORATED_ATTR, Dispatcher, active_instrument_tags
from llama_index_instrumentation.event_handlers import NullEventHandler
from llama_index_instrumentation.events.span import SpanDropEvent
from llama_index_instrumentation.span import active_span_id
from llama_index_instrumentation.span_handlers import NullSpanHandler

from qwen_omni.integrations.request_builder import SECRET_NAMES
from qwen_omni.redact import redact

_SECRET = SECRET_NAMES | {"oss"}
_MEDIA = (ImageBlock, AudioBlock, VideoBlock, DocumentBlock)


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


def _where(block: ImageBlock | AudioBlock | VideoBlock | DocumentBlock) -> str:
    held = _held(block)
    if isinstance(held, bytes):
        return f"{len(held) * 3 // 4 - held[-2:].count(b'='):,} bytes"  # LlamaIndex keeps base64
    if held is not None:
        return "an open file"
    if block.path:
        return str(block.path)
    url = str(block.url or "nothing")
    return f"data of {len(url):,} characters" if url.startswith("data:") else redact(url)


def _held(block: ImageBlock | AudioBlock | VideoBlock | DocumentBlock) -> bytes | IOBase | None:
    if isinstance(block, ImageBlock):
        return block.image
    if isinstance(block, AudioBlock):
        return block.audio
    return block.video if isinstance(block, VideoBlock) else block.data


def shown_response(response: Any) -> Any:  # noqa: ANN401  (a response, a stream of them, or what a program gives)
    """Return a response without its audio; anything else is returned unchanged."""
    if not isinstance(response, ChatResponse | CompletionResponse):
        return response
    more = response.additional_kwargs
    update: dict[str, Any] = {}
    if any(isinstance(value, _MEDIA) for value in more.values()):
        shown = {key: shown_block(value) if isinstance(value, _MEDIA) else value for key, value in more.items()}
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


def shown_arguments(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of a method without their media."""
    shown = dict(given)
    if "messages" in shown:
        shown["messages"] = shown_messages(shown["messages"])
    if isinstance(shown.get("prompt"), BasePromptTemplate):
        shown["prompt"] = shown_prompt(shown["prompt"])
    return shown


def shown_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of a call, except those that may hold secrets."""
    return {name: value for name, value in options.items() if name not in _SECRET}


_EVENTS = get_dispatcher("llama_index.core.llms.callbacks")  # the source of the events of every LLM
_R = TypeVar("_R", ChatResponse, CompletionResponse)
_T = TypeVar("_T")
_F = TypeVar("_F", bound=Callable[..., Any])


def spans_itself(function: _F) -> _F:
    """Mark a method that creates its own span, so that LlamaIndex does not add one."""
    setattr(function, DISPATCHER_SPAN_DECORATED_ATTR, True)
    return function


def _reachable(dispatcher: Dispatcher) -> Iterator[Dispatcher]:
    at: Dispatcher | None = dispatcher
    while at:
        yield at
        at = at.parent if at.propagate else None


def _spans_wanted(dispatcher: Dispatcher) -> bool:
    return any(not isinstance(one, NullSpanHandler) for at in _reachable(dispatcher) for one in at.span_handlers)


def _events_wanted() -> bool:
    return any(not isinstance(one, NullEventHandler) for at in _reachable(_EVENTS) for one in at.event_handlers)


class Span:
    """The span of one call of a method."""

    def __init__(self) -> None:
        self.result: object = None

    def done(self, result: _T) -> _T:
        """Store the return value of the method, to be reported when it ends, and return it."""
        self.result = result
        return result


@contextmanager
def span(instance: object, method: str, given: Mapping[str, Any], options: Mapping[str, Any]) -> Iterator[Span]:
    """Report the run of a method to span handlers, as `dispatcher.span` would.

    Args:
        instance: the object of the method.
        method: name of the method.
        given: its arguments by name.
        options: its further keyword arguments.
    """
    opened = Span()
    dispatcher = get_dispatcher(type(instance).__module__)
    if not (_spans_wanted(dispatcher) or _events_wanted()):
        yield opened
        return
    identity = f"{type(instance).__name__}.{method}-{uuid.uuid4()}"
    bound = inspect.signature(getattr(instance, method)).bind(**shown_arguments(given), **shown_options(options))
    parent = active_span_id.get()
    token = active_span_id.set(identity)
    dispatcher.span_enter(
        id_=identity, bound_args=bound, instance=instance, parent_id=parent, tags=active_instrument_tags.get()
    )
    try:
        yield opened
    except BaseException as error:
        dispatcher.event(SpanDropEvent(span_id=identity, err_str=str(error)))
        dispatcher.span_drop(id_=identity, bound_args=bound, instance=instance, err=error)
        raise
    else:
        result = shown_response(opened.result)
        dispatcher.span_exit(id_=identity, bound_args=bound, instance=instance, result=result)
    finally:
        active_span_id.reset(token)


class CallTrace(Generic[_R]):
    """Reports one call of an LLM to event handlers and callbacks: its start, each response, its end.

    Example:
        trace = CallTrace(llm, messages, options)
        with trace.running():
            response = ask()
            trace.end(response)
    """

    def __init__(self, llm: LLM, given: Sequence[ChatMessage] | str, options: Mapping[str, Any]) -> None:
        self._llm = llm
        self._given = given
        self._options = options
        self._span_id: str | None = None
        self._events = _events_wanted()
        self._callbacks = bool(llm.callback_manager.handlers)
        self._callback_id = ""

    @contextmanager
    def running(self) -> Iterator[None]:
        """Report the start, and the end if the block raises."""
        if not (self._events or self._callbacks):
            yield
            return
        with self._traced():
            self._begin()
            try:
                yield
            except BaseException as error:
                self._failed(error)
                raise

    def _traced(self) -> AbstractContextManager[Any]:
        kind = "completion" if isinstance(self._given, str) else "chat"
        return self._llm.callback_manager.as_trace(kind) if self._callbacks else ExitStack()

    def _begin(self) -> None:
        self._span_id = active_span_id.get()
        payload = self._llm.to_payload()
        given: Any = self._given if isinstance(self._given, str) else shown_messages(self._given)
        self._given = given
        if self._events:
            _EVENTS.event(self._started(given, payload))
        if self._callbacks:
            key = EventPayload.PROMPT if isinstance(given, str) else EventPayload.MESSAGES
            event: dict[str, Any] = {
                key: given,
                EventPayload.ADDITIONAL_KWARGS: shown_options(self._options),
                EventPayload.SERIALIZED: payload,
            }
            self._callback_id = self._llm.callback_manager.on_event_start(CBEventType.LLM, payload=event)

    def _started(self, given: Any, payload: dict[str, Any]) -> LLMChatStartEvent | LLMCompletionStartEvent:  # noqa: ANN401
        more = shown_options(self._options)
        if isinstance(given, str):
            return LLMCompletionStartEvent(
                prompt=given, model_dict=payload, additional_kwargs=more, span_id=self._span_id
            )
        return LLMChatStartEvent(messages=given, model_dict=payload, additional_kwargs=more, span_id=self._span_id)

    def progress(self, response: _R) -> None:
        """Report one response of a stream."""
        if not self._events:
            return
        shown = shown_response(response)
        if isinstance(self._given, str):
            _EVENTS.event(LLMCompletionInProgressEvent(prompt=self._given, response=shown, span_id=self._span_id))
        else:
            _EVENTS.event(LLMChatInProgressEvent(messages=list(self._given), response=shown, span_id=self._span_id))

    def end(self, response: _R | None) -> None:
        """Report the end, with the last response."""
        shown = shown_response(response)
        if self._callbacks:
            text = isinstance(self._given, str)
            payload: dict[str, Any] = {
                EventPayload.PROMPT if text else EventPayload.MESSAGES: self._given,
                EventPayload.COMPLETION if text else EventPayload.RESPONSE: shown,
            }
            self._llm.callback_manager.on_event_end(CBEventType.LLM, payload=payload, event_id=self._callback_id)
        if not self._events:
            return
        if isinstance(self._given, str):
            _EVENTS.event(LLMCompletionEndEvent(prompt=self._given, response=shown, span_id=self._span_id))
        else:
            _EVENTS.event(LLMChatEndEvent(messages=list(self._given), response=shown, span_id=self._span_id))

    def _failed(self, error: BaseException) -> None:
        if self._callbacks:
            payload: dict[str, Any] = {EventPayload.EXCEPTION: error}
            self._llm.callback_manager.on_event_end(CBEventType.LLM, payload=payload, event_id=self._callback_id)
        if self._events:
            _EVENTS.event(ExceptionEvent(exception=error, span_id=self._span_id))

    def watch(self, responses: Generator[_R, None, None]) -> Generator[_R, None, None]:
        """Yield the responses of a stream, reporting each and its end."""
        last = None
        with closing(responses):
            try:
                for response in responses:
                    self.progress(response)
                    yield response
                    last = response
            except BaseException as error:
                self._failed(error)
                raise
        self.end(last)

    async def awatch(self, responses: AsyncGenerator[_R, None]) -> AsyncGenerator[_R, None]:
        """The same in `asyncio`."""
        last = None
        async with aclosing(responses):
            try:
                async for response in responses:
                    self.progress(response)
                    yield response
                    last = response
            except BaseException as error:
                self._failed(error)
                raise
        self.end(last)
