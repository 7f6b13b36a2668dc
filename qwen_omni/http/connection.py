"""The connection that chats go through.

The SDK brings connection, authentication and time-outs. Its typed chunks are not used (ten times the CPU) and
its stream neither (it drops the connection after every call): we take the raw bytes and read them to the end,
so one connection serves call after call.
"""

import asyncio
import contextlib
import functools
import socket
import threading
import weakref
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import httpx2

from qwen_omni.delivery.body import AsyncRequestBody, RequestBody
from qwen_omni.errors import APIConnectionError, APITimeoutError, QwenOmniError
from qwen_omni.http.flows import package_version, tls
from qwen_omni.settings import Settings
from qwen_omni.wire.errors import to_error

if TYPE_CHECKING:  # a second of work, which nobody pays for before the first request
    import openai

_RAW = {"X-Stainless-Raw-Response": "stream"}  # makes the SDK hand out the answer unread; never sent
_CHAT = "/chat/completions"
_Guard = AsyncGenerator[None, None]
_Client = TypeVar("_Client", "openai.OpenAI", "openai.AsyncOpenAI")
_DRAIN_SECONDS = 2.0  # how long to wait for the end of the body once the service has said [DONE]


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One request, ready to be sent."""

    body: RequestBody
    headers: Mapping[str, str]


@functools.cache
def _caught() -> tuple[type[Exception], ...]:
    """Give everything that the SDK and what is under it raise."""
    import openai  # noqa: PLC0415

    # openai 3 is built on httpx2, openai 2 on httpx; either may be under us.
    kinds: list[type[Exception]] = [openai.OpenAIError, httpx2.TransportError, httpx2.StreamError]
    with contextlib.suppress(ImportError):
        import httpx  # noqa: PLC0415  (installed with openai 2 only)

        kinds += [httpx.TransportError, httpx.StreamError]
    return tuple(kinds)


def _translate(error: Exception, settings: Settings) -> QwenOmniError:
    """Turn an error of the SDK or the transport into ours. The original holds the request, so it is not kept."""
    import openai  # noqa: PLC0415

    if isinstance(error.__cause__, QwenOmniError):  # raised by the body while it was being sent
        return error.__cause__
    if isinstance(error, openai.APIStatusError):
        request_id = error.response.headers.get("x-request-id")
        return to_error(error.status_code, error.response.text, request_id=request_id)
    if isinstance(error, openai.APITimeoutError) or "Timeout" in type(error).__name__:
        return APITimeoutError(
            f"No answer: nothing came for {settings.read_timeout:g} s (read_timeout) or no connection was made within "
            f"{settings.connect_timeout:g} s (connect_timeout). {settings.base_url}"
        )
    cause = error.__cause__ or error
    words = f"{type(cause).__name__}: {cause}" if str(cause) else type(cause).__name__
    return APIConnectionError(f"The connection to {settings.base_url} failed ({words}).")


def _client_arguments(settings: Settings) -> dict[str, Any]:
    import openai  # noqa: PLC0415

    return {
        "api_key": settings.api_key.get_secret_value(),
        "base_url": settings.base_url,
        "timeout": openai.Timeout(settings.read_timeout, connect=settings.connect_timeout),
        "max_retries": 0,  # the one retry policy is ours
        "default_headers": {"User-Agent": f"qwen-omni/{package_version()}", **settings.headers},
    }


def _forget_openai_account(client: _Client, settings: Settings) -> _Client:
    """Undo what the SDK took from OPENAI_* variables: another company's account data must not travel along."""
    client.organization = None
    client.project = None
    client._custom_headers = _client_arguments(settings)["default_headers"]  # noqa: SLF001  (no public way)
    return client


def _request_arguments(call: Call) -> dict[str, Any]:
    import openai  # noqa: PLC0415

    headers = {**call.headers, **_RAW, "Content-Length": str(call.body.length), "Accept": "text/event-stream"}
    return {"cast_to": object, "options": {"headers": headers}, "stream": True, "stream_cls": openai.Stream[object]}


class Connection:
    """A connection to the service, kept open between calls. Safe to share between threads."""

    def __init__(self, settings: Settings) -> None:
        import openai  # noqa: PLC0415

        _caught()  # loads what it may need now: the SDK trips over modules that another thread is loading
        self._settings = settings
        plug = openai.DefaultHttpxClient(verify=tls())
        weakref.finalize(self, plug.close)
        client = openai.OpenAI(**_client_arguments(settings), http_client=plug)
        self._client = _forget_openai_account(client, settings)

    @contextlib.contextmanager
    def post(self, call: Call) -> Iterator["Answer"]:
        """Send a chat request and give its answer as bytes.

        Raises:
            APIError: the service refused.
            APIConnectionError: it could not be reached.
        """
        failure: QwenOmniError
        try:
            raw: Any = self._client.post(_CHAT, content=call.body, **_request_arguments(call))
        except _caught() as error:
            failure = _translate(error, self._settings)
        else:
            try:
                yield Answer(raw.http_response, self._settings)
            finally:
                raw.close()
            return
        raise failure  # outside of the handler, so that the SDK's error and the request in it are let go

    def close(self) -> None:
        """Close the connection; the object cannot be used afterwards."""
        self._client.close()


class Answer:
    """The bytes of one answer, as they come."""

    def __init__(self, response: Any, settings: Settings) -> None:  # noqa: ANN401  (httpx's or httpx2's)
        self._response = response
        self._settings = settings
        self._pieces = response.iter_bytes()

    def __iter__(self) -> Iterator[bytes]:
        failure: QwenOmniError
        try:
            yield from self._pieces
        except _caught() as error:
            failure = _translate(error, self._settings)
        else:
            return
        raise failure

    def drain(self) -> None:
        """Read what is left, so that the connection can serve the next call; give up after two seconds."""
        stream = self._response.extensions.get("network_stream")
        plug = stream.get_extra_info("socket") if stream is not None else None
        timer = threading.Timer(_DRAIN_SECONDS, _cut, (plug,))
        timer.daemon = True
        timer.start()
        with contextlib.suppress(*_caught(), OSError):  # the answer is complete; only the connection would be lost
            for _ in self._pieces:
                pass
        timer.cancel()


def _cut(plug: socket.socket | None) -> None:
    if plug is not None:
        with contextlib.suppress(OSError):
            plug.shutdown(socket.SHUT_RDWR)


class AsyncConnection:
    """The same for `asyncio`. Every event loop gets a connection of its own, so loops may come and go."""

    def __init__(self, settings: Settings) -> None:
        _caught()  # as in `Connection`
        self._settings = settings
        self._kept: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, tuple[openai.AsyncOpenAI, _Guard]]
        self._kept = weakref.WeakKeyDictionary()
        self._lock = threading.Lock()

    @contextlib.asynccontextmanager
    async def post(self, call: Call) -> AsyncIterator["AsyncAnswer"]:
        """Send a chat request and give its answer as bytes; raises as `Connection.post` does."""
        failure: QwenOmniError
        try:
            body: Any = AsyncRequestBody(call.body)
            import openai  # noqa: PLC0415

            arguments = {**_request_arguments(call), "stream_cls": openai.AsyncStream[object]}
            raw: Any = await (await self._client()).post(_CHAT, content=body, **arguments)
        except _caught() as error:
            failure = _translate(error, self._settings)
        else:
            try:
                yield AsyncAnswer(raw.http_response, self._settings)
            finally:
                await raw.close()
            return
        raise failure

    async def _client(self) -> "openai.AsyncOpenAI":
        loop = asyncio.get_running_loop()
        with self._lock:
            kept = self._kept.get(loop)
            if kept is not None:
                return kept[0]
            import openai  # noqa: PLC0415

            plug = openai.DefaultAsyncHttpxClient(verify=tls())
            client = openai.AsyncOpenAI(**_client_arguments(self._settings), http_client=plug)
            guard = self._closing(_forget_openai_account(client, self._settings), loop)
            self._kept[loop] = (client, guard)
        await anext(guard)
        return client

    async def _closing(self, client: "openai.AsyncOpenAI", loop: asyncio.AbstractEventLoop) -> _Guard:
        """Close the client when its loop ends: `asyncio.run` finishes every generator that was begun."""
        try:
            yield
        finally:
            with self._lock:
                self._kept.pop(loop, None)
            await client.close()

    async def aclose(self) -> None:
        """Close the running loop's connection."""
        with self._lock:
            kept = self._kept.get(asyncio.get_running_loop())
        if kept is not None:
            await kept[1].aclose()


class AsyncAnswer:
    """The bytes of one answer, as they come."""

    def __init__(self, response: Any, settings: Settings) -> None:  # noqa: ANN401  (httpx's or httpx2's)
        self._settings = settings
        self._pieces = response.aiter_bytes()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Give the bytes."""
        failure: QwenOmniError
        try:
            async for piece in self._pieces:
                yield piece
        except _caught() as error:
            failure = _translate(error, self._settings)
        else:
            return
        raise failure

    async def drain(self) -> None:
        """Read what is left, so that the connection can serve the next call; give up after two seconds."""
        with contextlib.suppress(*_caught(), TimeoutError, OSError):
            async with asyncio.timeout(_DRAIN_SECONDS):
                async for _ in self._pieces:
                    pass
