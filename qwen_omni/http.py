"""The connection: the only module that names the HTTP libraries and the `openai` SDK.

The SDK brings connection, authentication and time-outs. Its typed chunks are not used (ten times the CPU) and
its stream neither (it drops the connection after every call): we take the raw bytes and read them to the end,
so one connection serves call after call.
"""

import asyncio
import contextlib
import functools
import logging
import socket
import ssl
import threading
import time
import weakref
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

import httpx2

from qwen_omni.delivery.body import AsyncRequestBody, RequestBody
from qwen_omni.errors import APIConnectionError, APITimeoutError, ConfigurationError, QwenOmniError
from qwen_omni.flow import Content, Done, Flow, Reply, Request, Sleep, T, advance
from qwen_omni.redact import redact, redact_record
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


_UNSENT = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout, httpx2.UnsupportedProtocol)
_WEB = (httpx2.HTTPError, httpx2.InvalidURL, httpx2.StreamError)


def _client_arguments(settings: Settings) -> dict[str, Any]:
    import openai  # noqa: PLC0415

    return {
        "api_key": settings.api_key.get_secret_value(),
        "base_url": settings.base_url,
        "timeout": openai.Timeout(settings.read_timeout, connect=settings.connect_timeout),
        "max_retries": 0,  # the one retry policy is ours
        "default_headers": {"User-Agent": f"qwen-omni/{package_version()}", **settings.headers},
    }


@functools.cache
def _tls() -> ssl.SSLContext:
    """Read the system's certificates once: it takes longer than all else that a client needs."""
    return httpx2.create_ssl_context()


def package_version() -> str:
    """Give the version of this package."""
    try:
        return version("qwen-omni")
    except PackageNotFoundError:
        return "unknown"


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
        plug = openai.DefaultHttpxClient(verify=_tls())
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

            plug = openai.DefaultAsyncHttpxClient(verify=_tls())
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


# --- Flows: requests beside the chat route ---


def run(flow: Flow[T], settings: Settings) -> T:
    """Carry a flow to its end and give what it returns."""
    with httpx2.Client(**_web_client_arguments(settings)) as client:
        step = advance(flow, None)
        while not isinstance(step, Done):
            step = advance(flow, _fetch(client, step, settings))
    return step.value


async def arun(flow: Flow[T], settings: Settings) -> T:
    """Carry a flow to its end without blocking the event loop; `run` is the other half."""
    async with httpx2.AsyncClient(**_web_client_arguments(settings)) as client:
        step = advance(flow, None)
        while not isinstance(step, Done):
            step = advance(flow, await _afetch(client, step, settings))
    return step.value


def _fetch(client: httpx2.Client, step: Request | Sleep, settings: Settings) -> Reply | QwenOmniError | None:
    if isinstance(step, Sleep):
        time.sleep(step.seconds)
        return None
    try:
        with client.stream(**_web_arguments(step, settings)) as response:
            kept = bytearray()
            for piece in response.iter_bytes():
                kept += piece
                if len(kept) >= step.most_bytes:
                    break
            return _reply(response, kept, step)
    except _WEB as error:
        return _web_error(error, step, settings)
    except QwenOmniError as error:  # raised by the body while it was being sent
        return error


async def _afetch(
    client: httpx2.AsyncClient, step: Request | Sleep, settings: Settings
) -> Reply | QwenOmniError | None:
    if isinstance(step, Sleep):
        await asyncio.sleep(step.seconds)
        return None
    try:
        arguments = _web_arguments(step, settings)
        if step.content is not None:
            arguments["content"] = _pieces(step.content)
        async with client.stream(**arguments) as response:
            kept = bytearray()
            async for piece in response.aiter_bytes():
                kept += piece
                if len(kept) >= step.most_bytes:
                    break
            return _reply(response, kept, step)
    except _WEB as error:
        return _web_error(error, step, settings)
    except QwenOmniError as error:
        return error


async def _pieces(content: Content) -> AsyncIterator[bytes]:
    for piece in content:
        yield piece


def _web_client_arguments(settings: Settings) -> dict[str, Any]:
    _hush()
    return {
        "timeout": httpx2.Timeout(settings.read_timeout, connect=settings.connect_timeout),
        "headers": {"User-Agent": f"qwen-omni/{package_version()}"},
        "follow_redirects": False,
        "verify": _tls(),
    }


def _web_arguments(step: Request, settings: Settings) -> dict[str, Any]:
    headers = dict(step.headers)
    if step.with_key:
        if urlsplit(step.url)[:2] != urlsplit(settings.base_url)[:2]:
            raise ConfigurationError(f"The key belongs to {settings.base_url} and is sent to no other host.")
        headers |= {**settings.headers, "Authorization": f"Bearer {settings.api_key.get_secret_value()}"}
    if step.content is not None:
        headers["Content-Length"] = str(step.content.length)
    return {"method": step.method, "url": step.url, "headers": headers, "content": step.content}


def _reply(response: httpx2.Response, kept: bytearray, step: Request) -> Reply:
    headers = {name.lower(): value for name, value in response.headers.items()}
    return Reply(status=response.status_code, headers=headers, body=bytes(kept[: step.most_bytes]))


def _web_error(error: Exception, step: Request, settings: Settings) -> QwenOmniError:
    where = redact(step.url).partition("?")[0]
    words = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    failure = APIConnectionError(f"The connection to {where} failed ({words}).")
    if isinstance(error, httpx2.TimeoutException) and not isinstance(error, _UNSENT):
        failure = APITimeoutError(f"{where} gave no answer for {settings.read_timeout:g} s (read_timeout).")
    elif isinstance(error, httpx2.TimeoutException):
        failure = APITimeoutError(f"{where} could not be reached in {settings.connect_timeout:g} s (connect_timeout).")
    failure.sent = not isinstance(error, _UNSENT)
    return failure


def _hush() -> None:
    for name in ("httpx2", "httpx"):
        logging.getLogger(name).addFilter(redact_record)  # kept once, however often it is added
