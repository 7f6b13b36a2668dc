"""The client of Qwen-Omni models: prepare, deliver, encode, send, read. The decisions are made elsewhere.

Every call streams, because most of these models accept nothing else; `complete` collects the same deltas.
"""

import asyncio
import functools
import time
from collections.abc import AsyncGenerator, Generator
from contextlib import aclosing
from dataclasses import replace
from typing import Any, Self

from qwen_omni.errors import (
    APIConnectionError,
    APIError,
    DeadlineExceededError,
    QwenOmniError,
    StreamInterruptedError,
)
from qwen_omni.options import ChatRequest
from qwen_omni.pricing.ledger import UsageLedger
from qwen_omni.request.prepared_request import PreparedRequest, RequestPreparation
from qwen_omni.responses import Delta, Response
from qwen_omni.settings import Settings
from qwen_omni.transport.api import run
from qwen_omni.transport.chat import AsyncConnection, Connection, HttpCall
from qwen_omni.upload.uploader import Uploader
from qwen_omni.wire.stream import StreamState


def make_carrier(settings: Settings) -> Uploader:
    """Build the uploader that delivers local media to the service. Sends nothing yet."""
    return Uploader(settings, functools.partial(run, settings=settings))


def _with_partial(error: APIError, state: StreamState) -> APIError:
    return error if error.partial is not None else error.with_partial(state.response)


def _end(state: StreamState, broken: APIConnectionError | None) -> list[Delta]:
    """Return the last deltas, or raise the error of an incomplete answer; a complete one may end in any way."""
    try:
        return state.end(broken=None if broken is None else str(broken))
    except StreamInterruptedError:
        if not isinstance(broken, DeadlineExceededError):
            raise
    raise broken.with_partial(state.response)


class OmniClient:
    """A client of Qwen-Omni models. Safe to share between threads; keeps one connection open between calls.

    Example:
        from qwen_omni import ChatRequest, MediaSource, OmniClient, Settings, VideoPart, user

        with OmniClient(Settings.load()) as client:
            question = user(VideoPart(source=MediaSource.from_path("promo.mp4")), "What is sold here?")
            request = ChatRequest(model="qwen3.8-omni-flash", messages=(question,))
            print(client.complete(request).text)
    """

    def __init__(self, settings: Settings | None = None) -> None:
        """Use these settings, or those from the environment.

        Raises:
            ConfigurationError: there is no key.
        """
        self.settings = (settings or Settings.load()).with_key()
        self._kept = {False: Connection(self.settings)}
        self._carrier = make_carrier(self.settings)

    def __reduce__(self) -> tuple[Any, ...]:
        return OmniClient, (self.settings,)  # connections belong to the process that made them

    def with_ledger(self, ledger: UsageLedger) -> Self:
        """Return a client over the same connections whose calls are recorded in another ledger."""
        other = type(self).__new__(type(self))
        other.__dict__.update(self.__dict__)
        other.settings = replace(self.settings, ledger=ledger)
        return other

    def stream(self, request: ChatRequest) -> Generator[Delta, None, None]:
        """Send a request and yield the answer as it arrives.

        Waits for its turn first, where the service limits requests or tokens a minute (`Settings.limits`). Retries
        transient errors until the first piece of the answer has been yielded.

        Raises:
            QwenOmniError: see `qwen_omni.errors`; an answer that breaks off raises `StreamInterruptedError`.
        """
        shown = False
        with PreparedRequest(request, self.settings, self._carrier) as outgoing:
            while True:
                for seconds in outgoing.waits():
                    time.sleep(seconds)
                try:
                    for delta in self._exchange(outgoing.call, outgoing.begin()):
                        shown = True
                        yield delta
                except QwenOmniError as error:
                    wait = outgoing.failed(error, shown=shown)
                else:
                    return
                time.sleep(wait)

    def complete(self, request: ChatRequest) -> Response:
        """Send a request and return the whole answer; raises as `stream` does.

        An answer that breaks off is requested again, since none of it has been shown yet.
        """
        return self.answer(self.deliver(request))

    def deliver(self, request: ChatRequest) -> PreparedRequest:
        """Deliver the media of a request to the service, and nothing more: the first half of `complete`.

        Its estimated cost is reserved. Pass it to `answer`, or call its `done` if it is not sent after all.
        """
        return PreparedRequest(request, self.settings, self._carrier)

    def answer(self, outgoing: PreparedRequest) -> Response:
        """Send a request whose media were delivered, and return the whole answer: the second half of `complete`."""
        with outgoing:
            while True:
                for seconds in outgoing.waits():
                    time.sleep(seconds)
                outgoing.freshen()
                state = outgoing.begin()
                try:
                    for _ in self._exchange(outgoing.call, state):
                        pass
                except QwenOmniError as error:
                    wait = outgoing.failed(error)
                else:
                    return state.response
                time.sleep(wait)

    def _exchange(self, call: HttpCall, state: StreamState) -> Generator[Delta, None, None]:
        broken: APIConnectionError | None = None
        with self._connection(batch=call.batch).post(call) as answer:
            try:
                for piece in answer:
                    yield from state.feed(piece)
                    if state.done:
                        answer.drain()
                        break
            except APIConnectionError as error:
                broken = error
            except APIError as error:
                raise _with_partial(error, state) from None
        yield from _end(state, broken)

    def _connection(self, *, batch: bool) -> Connection:
        if batch not in self._kept:  # two threads may make one; the one that is not kept closes itself
            self._kept.setdefault(batch, Connection(self.settings.for_tier("batch")))
        return self._kept[batch]

    def close(self) -> None:
        """Close the connections."""
        for connection in self._kept.values():
            connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class AsyncOmniClient:
    """The `asyncio` client: `stream` is an asynchronous iterator, `complete` a coroutine.

    One object may serve several event loops, one after another or at once.
    """

    def __init__(self, settings: Settings | None = None) -> None:
        """Use these settings, or those from the environment; raises `ConfigurationError` without a key."""
        self.settings = (settings or Settings.load()).with_key()
        self._kept = {False: AsyncConnection(self.settings)}
        self._carrier = make_carrier(self.settings)

    def __reduce__(self) -> tuple[Any, ...]:
        return AsyncOmniClient, (self.settings,)

    async def stream(self, request: ChatRequest) -> AsyncGenerator[Delta, None]:
        """Send a request and yield the answer as it arrives; see `OmniClient.stream`."""
        shown = False
        async with await RequestPreparation(request, self.settings, self._carrier).ready() as outgoing:
            while True:
                for seconds in outgoing.waits():
                    await asyncio.sleep(seconds)
                try:
                    async with aclosing(self._exchange(outgoing.call, outgoing.begin())) as deltas:
                        async for delta in deltas:
                            shown = True
                            yield delta
                except QwenOmniError as error:
                    wait = await asyncio.to_thread(outgoing.failed, error, shown=shown)
                else:
                    return
                await asyncio.sleep(wait)

    async def complete(self, request: ChatRequest) -> Response:
        """Send a request and return the whole answer; see `OmniClient.complete`."""
        return await self.answer(await self.deliver(request))

    async def deliver(self, request: ChatRequest) -> PreparedRequest:
        """Deliver the media of a request to the service; see `OmniClient.deliver`."""
        return await RequestPreparation(request, self.settings, self._carrier).ready()

    async def answer(self, outgoing: PreparedRequest) -> Response:
        """Send a request whose media were delivered, and return the whole answer; see `OmniClient.answer`."""
        outgoing.belongs_to(asyncio.get_running_loop())
        async with outgoing:
            while True:
                for seconds in outgoing.waits():
                    await asyncio.sleep(seconds)
                if outgoing.stored:
                    await asyncio.to_thread(outgoing.freshen)
                state = outgoing.begin()
                try:
                    async for _ in self._exchange(outgoing.call, state):
                        pass
                except QwenOmniError as error:
                    wait = await asyncio.to_thread(outgoing.failed, error)
                else:
                    return state.response
                await asyncio.sleep(wait)

    async def _exchange(self, call: HttpCall, state: StreamState) -> AsyncGenerator[Delta, None]:
        broken: APIConnectionError | None = None
        async with self._connection(batch=call.batch).post(call) as answer, aclosing(answer.pieces()) as pieces:
            try:
                async for piece in pieces:
                    for delta in state.feed(piece):
                        yield delta
                    if state.done:
                        await answer.drain()
                        break
            except APIConnectionError as error:
                broken = error
            except APIError as error:
                raise _with_partial(error, state) from None
        for delta in _end(state, broken):
            yield delta

    def _connection(self, *, batch: bool) -> AsyncConnection:
        if batch not in self._kept:
            self._kept.setdefault(batch, AsyncConnection(self.settings.for_tier("batch")))
        return self._kept[batch]

    async def aclose(self) -> None:
        """Close the connections that belong to the running event loop."""
        for connection in self._kept.values():
            await connection.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()
