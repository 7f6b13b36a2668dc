"""Ask a Qwen-Omni model: prepare, deliver, encode, send, read. The decisions are made elsewhere.

Every call streams, because most of these models refuse anything else; `complete` folds the same deltas.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Generator
from contextlib import aclosing
from dataclasses import replace
from typing import Self
from urllib.parse import urlsplit

from qwen_omni.delivery.body import RequestBody
from qwen_omni.delivery.deliver import deliver
from qwen_omni.delivery.delivered import Delivered
from qwen_omni.delivery.links import is_private_host
from qwen_omni.errors import APIConnectionError, QwenOmniError
from qwen_omni.http import AsyncConnection, Call, Connection
from qwen_omni.media.source import MediaSource
from qwen_omni.options import ChatRequest
from qwen_omni.profiles import profile_for
from qwen_omni.responses import Delta, Response
from qwen_omni.retry import Attempts, RetryPolicy
from qwen_omni.settings import Settings
from qwen_omni.wire.request import encode_headers, encode_request
from qwen_omni.wire.stream import StreamState


def prepare_call(request: ChatRequest, settings: Settings) -> Call:
    """Bring the media of a request to where the service finds them, and write the request. Sends nothing.

    Raises:
        MediaError: a piece of media is missing, damaged, not allowed, or breaks a limit of the model.
        ConfigurationError: options exclude each other or the model.
        UnsupportedContentError: a message holds something that has no place there.
    """
    profile = profile_for(request.model)
    encode_request(request, profile, _nowhere)  # what is wrong with the request itself shows before a file is opened
    delivery = deliver(
        request.messages,
        profile,
        media_root=settings.media_root,
        allow_private_urls=is_private_host(urlsplit(settings.base_url).hostname or ""),
    )
    request = replace(request, messages=delivery.messages)
    body = encode_request(request, profile, delivery.media.__getitem__)
    return Call(body=RequestBody(body), headers=encode_headers(request, tuple(delivery.media.values())))


def _nowhere(_: MediaSource) -> Delivered:
    return Delivered()


def _attempts(settings: Settings) -> Attempts:
    return Attempts(RetryPolicy(max_retries=settings.max_retries, first_wait=settings.retry_wait))


class OmniClient:
    """Asks Qwen-Omni models. Safe to share between threads; keeps one connection open from call to call.

    Example:
        from qwen_omni import ChatRequest, MediaSource, OmniClient, Settings, VideoPart, user

        with OmniClient(Settings.load()) as client:
            question = user(VideoPart(source=MediaSource.from_path("promo.mp4")), "What is sold here?")
            request = ChatRequest(model="qwen3.8-omni-flash", messages=(question,))
            print(client.complete(request).text)
    """

    def __init__(self, settings: Settings | None = None) -> None:
        """Use these settings, or those of the environment.

        Raises:
            ConfigurationError: there is no key.
        """
        self.settings = settings or Settings.load()
        self._connection = Connection(self.settings)

    def stream(self, request: ChatRequest) -> Generator[Delta, None, None]:
        """Send a request and give the answer as it comes.

        Repeats on errors that pass, as long as nothing of the answer has been given out.

        Raises:
            QwenOmniError: see `qwen_omni.errors`; a cut answer raises `StreamInterruptedError`.
        """
        call = prepare_call(request, self.settings)
        attempts, shown = _attempts(self.settings), False
        while True:
            try:
                for delta in self._exchange(call, StreamState()):
                    shown = True
                    yield delta
            except QwenOmniError as error:
                wait = attempts.failed(error, shown=shown)
            else:
                return
            time.sleep(wait)

    def complete(self, request: ChatRequest) -> Response:
        """Send a request and give the whole answer; raises as `stream` does.

        An answer that was cut in the middle is asked for again, since nobody has seen it yet.
        """
        call = prepare_call(request, self.settings)
        attempts = _attempts(self.settings)
        while True:
            state = StreamState()
            try:
                for _ in self._exchange(call, state):
                    pass
            except QwenOmniError as error:
                wait = attempts.failed(error)
            else:
                return state.response
            time.sleep(wait)

    def _exchange(self, call: Call, state: StreamState) -> Generator[Delta, None, None]:
        broken = None
        with self._connection.post(call) as answer:
            try:
                for piece in answer:
                    yield from state.feed(piece)
                    if state.done:
                        answer.drain()
                        break
            except APIConnectionError as error:
                broken = str(error)
        yield from state.end(broken=broken)

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class AsyncOmniClient:
    """The same for `asyncio`: `stream` is an asynchronous iterator, `complete` a coroutine.

    One object may serve several event loops, one after another or at once.
    """

    def __init__(self, settings: Settings | None = None) -> None:
        """Use these settings, or those of the environment; raises `ConfigurationError` without a key."""
        self.settings = settings or Settings.load()
        self._connection = AsyncConnection(self.settings)

    async def stream(self, request: ChatRequest) -> AsyncGenerator[Delta, None]:
        """Send a request and give the answer as it comes; see `OmniClient.stream`."""
        call = await asyncio.to_thread(prepare_call, request, self.settings)
        attempts, shown = _attempts(self.settings), False
        while True:
            try:
                async with aclosing(self._exchange(call, StreamState())) as deltas:
                    async for delta in deltas:
                        shown = True
                        yield delta
            except QwenOmniError as error:
                wait = attempts.failed(error, shown=shown)
            else:
                return
            await asyncio.sleep(wait)

    async def complete(self, request: ChatRequest) -> Response:
        """Send a request and give the whole answer; see `OmniClient.complete`."""
        call = await asyncio.to_thread(prepare_call, request, self.settings)
        attempts = _attempts(self.settings)
        while True:
            state = StreamState()
            try:
                async for _ in self._exchange(call, state):
                    pass
            except QwenOmniError as error:
                wait = attempts.failed(error)
            else:
                return state.response
            await asyncio.sleep(wait)

    async def _exchange(self, call: Call, state: StreamState) -> AsyncGenerator[Delta, None]:
        broken = None
        async with self._connection.post(call) as answer:
            try:
                async for piece in answer:
                    for delta in state.feed(piece):
                        yield delta
                    if state.done:
                        await answer.drain()
                        break
            except APIConnectionError as error:
                broken = str(error)
        for delta in state.end(broken=broken):
            yield delta

    async def aclose(self) -> None:
        """Close the connection of the running event loop."""
        await self._connection.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()
