"""What LlamaIndex's handlers learn of a call: its span, its events, its callbacks. Decides nothing about the call.

LlamaIndex's own decorators (`dispatcher.span`, `llm_chat_callback`) hand every handler the arguments as they are,
media and all, and build an event for every delta, whether anybody listens or not. This module tells the same
handlers the same things in the same order, with references instead of media (`_references`), and only if there
are any.
"""

import inspect
import uuid
from collections.abc import AsyncGenerator, Callable, Generator, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, aclosing, closing, contextmanager
from typing import Any, Generic, TypeVar

from llama_index.core.base.llms.types import ChatMessage, ChatResponse, CompletionResponse
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
from llama_index_instrumentation import get_dispatcher
from llama_index_instrumentation.dispatcher import (
    DISPATCHER_SPAN_DECORATED_ATTR,
    Dispatcher,
    active_instrument_tags,
)
from llama_index_instrumentation.event_handlers import NullEventHandler
from llama_index_instrumentation.events.span import SpanDropEvent
from llama_index_instrumentation.span import active_span_id
from llama_index_instrumentation.span_handlers import NullSpanHandler

from llama_index_qwen_omni._references import shown_arguments, shown_messages, shown_options, shown_response

_EVENTS = get_dispatcher("llama_index.core.llms.callbacks")  # where the events of every LLM come from
_R = TypeVar("_R", ChatResponse, CompletionResponse)
_T = TypeVar("_T")
_F = TypeVar("_F", bound=Callable[..., Any])


def spans_itself(function: _F) -> _F:
    """Mark a method that makes its own span, so that LlamaIndex puts none around it."""
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
        """Keep what the method returns, to be told when it does, and give it back."""
        self.result = result
        return result


@contextmanager
def span(instance: object, method: str, given: Mapping[str, Any], options: Mapping[str, Any]) -> Iterator[Span]:
    """Tell span handlers that a method runs, as `dispatcher.span` would.

    Args:
        instance: whose method it is.
        method: its name.
        given: its arguments by name.
        options: its further keywords.
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
    """One call of an LLM, told to event handlers and callbacks: its beginning, each response, its end.

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
        """Tell the beginning, and the end if the block raises."""
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
            told: dict[str, Any] = {
                key: given,
                EventPayload.ADDITIONAL_KWARGS: shown_options(self._options),
                EventPayload.SERIALIZED: payload,
            }
            self._callback_id = self._llm.callback_manager.on_event_start(CBEventType.LLM, payload=told)

    def _started(self, given: Any, payload: dict[str, Any]) -> LLMChatStartEvent | LLMCompletionStartEvent:  # noqa: ANN401
        more = shown_options(self._options)
        if isinstance(given, str):
            return LLMCompletionStartEvent(
                prompt=given, model_dict=payload, additional_kwargs=more, span_id=self._span_id
            )
        return LLMChatStartEvent(messages=given, model_dict=payload, additional_kwargs=more, span_id=self._span_id)

    def progress(self, response: _R) -> None:
        """Tell one response of a stream."""
        if not self._events:
            return
        shown = shown_response(response)
        if isinstance(self._given, str):
            _EVENTS.event(LLMCompletionInProgressEvent(prompt=self._given, response=shown, span_id=self._span_id))
        else:
            _EVENTS.event(LLMChatInProgressEvent(messages=list(self._given), response=shown, span_id=self._span_id))

    def end(self, response: _R | None) -> None:
        """Tell the end, with the last response."""
        shown = shown_response(response)
        if self._callbacks:
            text = isinstance(self._given, str)
            told: dict[str, Any] = {
                EventPayload.PROMPT if text else EventPayload.MESSAGES: self._given,
                EventPayload.COMPLETION if text else EventPayload.RESPONSE: shown,
            }
            self._llm.callback_manager.on_event_end(CBEventType.LLM, payload=told, event_id=self._callback_id)
        if not self._events:
            return
        if isinstance(self._given, str):
            _EVENTS.event(LLMCompletionEndEvent(prompt=self._given, response=shown, span_id=self._span_id))
        else:
            _EVENTS.event(LLMChatEndEvent(messages=list(self._given), response=shown, span_id=self._span_id))

    def _failed(self, error: BaseException) -> None:
        if self._callbacks:
            told: dict[str, Any] = {EventPayload.EXCEPTION: error}
            self._llm.callback_manager.on_event_end(CBEventType.LLM, payload=told, event_id=self._callback_id)
        if self._events:
            _EVENTS.event(ExceptionEvent(exception=error, span_id=self._span_id))

    def watch(self, responses: Generator[_R, None, None]) -> Generator[_R, None, None]:
        """Give a stream, and tell each response and its end."""
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
        """Do the same in `asyncio`."""
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
