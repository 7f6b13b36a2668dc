"""The connection for chat requests.

The SDK provides connections, authentication and timeouts. Its typed chunks are not used (ten times the CPU), nor is
its stream (it drops the connection after every call): the raw bytes are read to the end, so one connection serves
many calls.
"""

import asyncio
import contextlib
import functools
import os
import socket
import threading
import weakref
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import httpx2

from qwen_omni.errors import APIConnectionError, APIError, APITimeoutError, QwenOmniError
from qwen_omni.media.files.tempfiles import machine_fault
from qwen_omni.settings import Settings
from qwen_omni.transport.api import package_version
from qwen_omni.transport.clients import ERROR_BYTES, Deadline, PerLoop, aread_up_to, read_up_to, tls, with_deadlines
from qwen_omni.transport.proxies import network_fault, proxy_for, through_proxy
from qwen_omni.wire.errors import to_error

if TYPE_CHECKING:  # takes a second to import, which only the first request needs
    import openai

_RAW = {"X-Stainless-Raw-Response": "stream"}  # makes the SDK return the response unread; never sent
_CHAT = "/chat/completions"
_OK = range(200, 300)
_Client = TypeVar("_Client", "openai.OpenAI", "openai.AsyncOpenAI")
_Plug = TypeVar("_Plug", bound=Any)
_DRAIN_SECONDS = 2.0  # how long to wait for the end of the body after [DONE]


class RequestBody(Protocol):
    """The bytes of a request, of known length; they can be read again, so that a retry sends all of them."""

    @property
    def length(self) -> int:
        """The length in bytes."""

    def __iter__(self) -> Iterator[bytes]: ...


class AsyncRequestBody:
    """The same body for an asynchronous connection, which accepts only asynchronous iterators."""

    def __init__(self, body: RequestBody) -> None:
        self._body = body
        self.length = body.length

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Yield the bytes; they come from memory or the page cache, so a thread would cost more than it saves."""
        for block in self._body:
            yield block


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpCall:
    """One request, ready to be sent."""

    body: RequestBody
    headers: Mapping[str, str] = field(repr=False)  # may hold secrets, and tracebacks may show locals


@functools.cache
def _caught() -> tuple[type[Exception], ...]:
    """Return all exception types of the SDK and the libraries under it."""
    import openai  # noqa: PLC0415

    # openai 3 is built on httpx2, openai 2 on httpx; either may be installed. What a response hook raises is ours.
    kinds: list[type[Exception]] = [openai.OpenAIError, httpx2.RequestError, httpx2.StreamError, httpx2.InvalidURL]
    with contextlib.suppress(ImportError):
        import httpx  # noqa: PLC0415  (installed with openai 2 only)

        kinds += [httpx.RequestError, httpx.StreamError, httpx.InvalidURL]
    return (QwenOmniError, *kinds)


def _translate(error: Exception, settings: Settings) -> QwenOmniError:
    """Convert an error of the SDK or the transport. The original holds the request, so it is not chained."""
    import openai  # noqa: PLC0415

    for ours in (error, error.__cause__):  # from a response hook, or raised by the body while it was being sent
        if isinstance(ours, QwenOmniError):
            return ours.with_traceback(None)
    cause = error.__cause__ or error
    fault = machine_fault(error, f"connect to {settings.base_url}") or network_fault(error, settings.base_url)
    if fault is not None:
        return fault.with_traceback(None)
    if "DecodingError" in (type(error).__name__, type(cause).__name__):  # of httpx or httpx2
        return APIError(
            f"The answer of {settings.base_url} cannot be decoded: its bytes are not what its Content-Encoding says "
            f"({error}). A proxy in between may have changed them.",
            status_code=_OK[0],
        )
    if isinstance(error, openai.APITimeoutError) or "Timeout" in type(error).__name__:
        return APITimeoutError(
            f"No answer: nothing came for {settings.read_timeout:g} s (read_timeout) or no connection was made within "
            f"{settings.connect_timeout:g} s (connect_timeout). {settings.base_url}{through_proxy(settings.base_url)}"
        )
    words = f"{type(cause).__name__}: {cause}" if str(cause) else type(cause).__name__
    return APIConnectionError(
        f"The connection to {settings.base_url}{through_proxy(settings.base_url)} failed ({words}). Check the network "
        "and base_url, or try again later."
    )


@contextlib.contextmanager
def _faults_named(settings: Settings) -> Iterator[None]:
    """Raise `LocalResourceError` if this machine lacks what a client needs, such as certificate files."""
    try:
        yield
    except OSError as error:
        raise machine_fault(error, f"connect to {settings.base_url}") or error from error


def _is_refusal(response: Any) -> bool:  # noqa: ANN401  (httpx's or httpx2's)
    return response.status_code not in _OK


def _refusal(response: Any, body: bytes) -> APIError:  # noqa: ANN401
    return to_error(response.status_code, body, response.headers, url=str(response.request.url))


def _raise_refusal(response: Any) -> None:  # noqa: ANN401
    """Read the useful part of an error response, and raise it: the SDK would read and decode all of it."""
    if _is_refusal(response):
        raise _refusal(response, _quietly(response))


def _quietly(response: Any) -> bytes:  # noqa: ANN401
    try:
        return read_up_to(response.iter_bytes(), ERROR_BYTES)
    except _caught():  # the status is known; the text cannot be read
        return b""


async def _araise_refusal(response: Any) -> None:  # noqa: ANN401
    if not _is_refusal(response):
        return
    try:
        body = await aread_up_to(response.aiter_bytes(), ERROR_BYTES)
    except _caught():
        body = b""
    raise _refusal(response, body)


def _plug_arguments(settings: Settings, hook: Callable[[Any], Any]) -> dict[str, Any]:
    proxy = proxy_for(settings.base_url)
    return {
        "verify": tls(),
        "trust_env": False,  # proxies are chosen in `proxies`
        "proxy": None if proxy is None else proxy.url,
        "follow_redirects": False,
        "event_hooks": {"response": [hook]},
    }


def _with_deadlines(plug: _Plug) -> _Plug:
    for transport in (plug._transport, *plug._mounts.values()):  # noqa: SLF001  (one per proxy)
        with_deadlines(transport)
    return plug


def _deadline_of(settings: Settings) -> Deadline:
    return Deadline(settings.answer_seconds, settings.base_url)


def _client_arguments(settings: Settings) -> dict[str, Any]:
    import openai  # noqa: PLC0415

    return {
        "api_key": settings.api_key.get_secret_value(),
        "base_url": settings.base_url,
        "timeout": openai.Timeout(settings.read_timeout, connect=settings.connect_timeout),
        "max_retries": 0,  # retries are decided in `retry`
        "default_headers": {"User-Agent": f"qwen-omni/{package_version()}", **settings.headers},
    }


def _forget_openai_account(client: _Client, settings: Settings) -> _Client:
    """Undo what the SDK took from OPENAI_* variables: another company's account data must not be sent."""
    client.organization = None
    client.project = None
    client._custom_headers = _client_arguments(settings)["default_headers"]  # noqa: SLF001  (no public way)
    return client


def _request_arguments(call: HttpCall) -> dict[str, Any]:
    import openai  # noqa: PLC0415

    headers = {**call.headers, **_RAW, "Content-Length": str(call.body.length), "Accept": "text/event-stream"}
    return {"cast_to": object, "options": {"headers": headers}, "stream": True, "stream_cls": openai.Stream[object]}


class Connection:
    """A connection to the service, kept open between calls. Safe to share between threads."""

    def __init__(self, settings: Settings) -> None:
        _caught()  # import eagerly: the SDK fails if another thread is importing its modules
        self._settings = settings
        self._kept = self._connect()
        self._process = os.getpid()

    def _connect(self) -> "openai.OpenAI":
        import openai  # noqa: PLC0415

        with _faults_named(self._settings):
            plug = _with_deadlines(openai.DefaultHttpxClient(**_plug_arguments(self._settings, _raise_refusal)))
            weakref.finalize(self, plug.close)
            client = openai.OpenAI(**_client_arguments(self._settings), http_client=plug)
        return _forget_openai_account(client, self._settings)

    @property
    def _client(self) -> "openai.OpenAI":
        """The client of this process: after a fork, both processes would share the same sockets."""
        if self._process != os.getpid():
            self._kept, self._process = self._connect(), os.getpid()
        return self._kept

    @contextlib.contextmanager
    def post(self, call: HttpCall) -> Iterator["AnswerStream"]:
        """Send a chat request and yield its answer as bytes.

        Raises:
            APIError: the service refused.
            APIConnectionError: it could not be reached.
        """
        failure: QwenOmniError
        deadline = _deadline_of(self._settings)
        try:
            with deadline:
                raw: Any = self._client.post(_CHAT, content=call.body, **_request_arguments(call))
        except _caught() as error:
            failure = _translate(error, self._settings)
        else:
            try:
                yield AnswerStream(raw.http_response, self._settings, deadline)
            finally:
                raw.close()
            return
        raise failure  # outside the handler, so that the SDK's error and the request in it are released

    def close(self) -> None:
        """Close the connection; the object cannot be used afterwards."""
        self._client.close()


class AnswerStream:
    """The bytes of one answer, as they come."""

    def __init__(self, response: Any, settings: Settings, deadline: Deadline) -> None:  # noqa: ANN401  (of httpx or httpx2)
        self._response = response
        self._settings, self._deadline = settings, deadline
        self._pieces = response.iter_bytes()

    def __iter__(self) -> Iterator[bytes]:
        failure: QwenOmniError
        try:
            while (piece := self._next()) is not None:
                yield piece
        except _caught() as error:
            failure = _translate(error, self._settings)
        else:
            return
        raise failure

    def _next(self) -> bytes | None:
        with self._deadline:
            return next(self._pieces, None)

    def drain(self) -> None:
        """Read what is left, so that the connection can serve the next call; give up after two seconds."""
        stream = self._response.extensions.get("network_stream")
        plug = stream.get_extra_info("socket") if stream is not None else None
        timer = threading.Timer(_DRAIN_SECONDS, _cut, (plug,))
        timer.daemon = True
        timer.start()
        with contextlib.suppress(*_caught(), OSError):  # the answer is complete; at worst the connection is lost
            for _ in self._pieces:
                pass
        timer.cancel()


def _cut(plug: socket.socket | None) -> None:
    if plug is not None:
        with contextlib.suppress(OSError):
            plug.shutdown(socket.SHUT_RDWR)


class AsyncConnection:
    """The connection for `asyncio`. Every event loop gets its own, so loops may come and go."""

    def __init__(self, settings: Settings) -> None:
        _caught()  # as in `Connection`
        self._settings = settings
        self._start()

    def _start(self) -> None:
        self._kept = PerLoop()
        self._lock = threading.Lock()
        self._process = os.getpid()

    @contextlib.asynccontextmanager
    async def post(self, call: HttpCall) -> AsyncIterator["AsyncAnswer"]:
        """Send a chat request and yield its answer as bytes; raises as `Connection.post` does."""
        failure: QwenOmniError
        deadline = _deadline_of(self._settings)
        try:
            body: Any = AsyncRequestBody(call.body)
            import openai  # noqa: PLC0415

            arguments = {**_request_arguments(call), "stream_cls": openai.AsyncStream[object]}
            with deadline:
                raw: Any = await self._client().post(_CHAT, content=body, **arguments)
        except _caught() as error:
            failure = _translate(error, self._settings)
        else:
            try:
                yield AsyncAnswer(raw.http_response, self._settings, deadline)
            finally:
                await raw.close()
            return
        raise failure

    def _client(self) -> "openai.AsyncOpenAI":
        import openai  # noqa: PLC0415

        if self._process != os.getpid():
            self._start()
        loop = asyncio.get_running_loop()
        with self._lock:
            client: openai.AsyncOpenAI | None = self._kept.get(loop)
            if client is None:
                with _faults_named(self._settings):
                    arguments = _plug_arguments(self._settings, _araise_refusal)
                    plug = _with_deadlines(openai.DefaultAsyncHttpxClient(**arguments))
                    client = openai.AsyncOpenAI(**_client_arguments(self._settings), http_client=plug)
                self._kept.put(loop, _forget_openai_account(client, self._settings), plug.aclose)
            return client

    async def aclose(self) -> None:
        """Close the running loop's connection."""
        await self._kept.close(asyncio.get_running_loop())


class AsyncAnswer:
    """The bytes of one answer, as they come."""

    def __init__(self, response: Any, settings: Settings, deadline: Deadline) -> None:  # noqa: ANN401  (of httpx or httpx2)
        self._settings, self._deadline = settings, deadline
        self._pieces = response.aiter_bytes()

    async def pieces(self) -> AsyncGenerator[bytes, None]:
        """Yield the bytes; close the generator if they are not read to the end."""
        failure: QwenOmniError
        try:
            while (piece := await self._next()) is not None:
                yield piece
        except _caught() as error:
            failure = _translate(error, self._settings)
        else:
            return
        raise failure

    async def _next(self) -> bytes | None:
        with self._deadline:
            return await anext(self._pieces, None)

    async def drain(self) -> None:
        """Read what is left, so that the connection can serve the next call; give up after two seconds."""
        with contextlib.suppress(*_caught(), TimeoutError, OSError):
            async with asyncio.timeout(_DRAIN_SECONDS):
                async for _ in self._pieces:
                    pass
