"""The chat connection, and what all HTTP clients share: certificates, limits in bytes and seconds, event loops.

The SDK provides connections, authentication and timeouts. Its typed chunks are not used (ten times the CPU), nor is
its stream (it drops the connection after every call): the raw bytes are read to the end, so one connection serves
many calls.
"""

import asyncio
import contextlib
import functools
import math
import os
import socket
import ssl
import threading
import time
import weakref
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Awaitable,
    Callable,
    Iterable,
    Iterator,
    Mapping,
)
from contextvars import ContextVar, Token
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any, TypeVar

import httpx2

from qwen_omni.errors import (
    APIConnectionError,
    APIError,
    APITimeoutError,
    ConfigurationError,
    DeadlineExceededError,
    QwenOmniError,
)
from qwen_omni.media.files.tempfiles import machine_fault
from qwen_omni.settings import Settings
from qwen_omni.transport.flow import Content
from qwen_omni.transport.proxies import network_fault, proxy_for, proxy_refusal, through_proxy
from qwen_omni.wire.errors import to_error

if TYPE_CHECKING:  # takes a second to import, which only the first request needs
    import openai

ERROR_BYTES = 2**20
"""The most bytes of an error response that are read, after decoding."""


@functools.cache
def tls() -> ssl.SSLContext:
    """Load the system's certificates once: it takes longer than everything else in building a client."""
    return httpx2.create_ssl_context()


# --- Answers ---


def read_up_to(pieces: Iterable[bytes], limit: int) -> bytes:
    """Read at most `limit` bytes, and decode no further than the piece that they end in."""
    kept = bytearray()
    for piece in pieces:
        kept += piece[: limit - len(kept)]
        if len(kept) >= limit:
            break
    return bytes(kept)


async def aread_up_to(pieces: AsyncGenerator[bytes, None], limit: int) -> bytes:
    """Read at most `limit` bytes, and close the generator; see `read_up_to`."""
    kept = bytearray()
    async with contextlib.aclosing(pieces):
        async for piece in pieces:
            kept += piece[: limit - len(kept)]
            if len(kept) >= limit:
                break
    return bytes(kept)


# --- The total deadline ---

_Transport = TypeVar("_Transport")


class Deadline:
    """The total time that a server may take for one answer; the read timeout limits the silence between two bytes.

    Only time spent waiting for the server counts, inside `with deadline:`; neither sending nor what the reader of a
    stream does between its pieces counts.
    """

    def __init__(self, seconds: float, where: str) -> None:
        self._seconds, self._where = seconds, where
        self._waited = self._since = 0.0
        self._token: Token[Deadline | None] | None = None

    def __enter__(self) -> None:
        self._since = time.monotonic()
        self._token = _running.set(self)

    def __exit__(self, *_: object) -> None:
        assert self._token is not None
        _running.reset(self._token)
        self._waited += time.monotonic() - self._since

    @property
    def left(self) -> float:
        """The remaining seconds, while it runs."""
        return self._seconds - self._waited - (time.monotonic() - self._since)

    def sent(self, seconds: float) -> None:
        """Exclude the seconds that were spent sending."""
        self._waited -= seconds

    def wait(self, timeout: float | None) -> float | None:
        """Return the timeout of the next read, in seconds; `None` if nothing limits it.

        Raises:
            DeadlineExceededError: no time is left.
        """
        left = self.left
        if left <= 0:
            raise self.error()
        seconds = left if timeout is None or left < timeout else timeout
        return None if math.isinf(seconds) else seconds

    def error(self) -> DeadlineExceededError:
        """Return the error for an answer that is not complete in time."""
        return DeadlineExceededError(
            f"No complete answer from {self._where} within {self._seconds:g} s (total_timeout). Request less: a "
            "shorter clip, a smaller max_tokens. DashScope's shared hosts end requests after 600 s, workspace hosts "
            "after 3,600 s; total_timeout= sets another limit."
        )


_EARLY = 0.05  # seconds that a timer may fire early
_running: ContextVar[Deadline | None] = ContextVar("qwen_omni_deadline", default=None)


def with_deadlines(transport: _Transport) -> _Transport:
    """Make the connections of an httpx or httpx2 transport respect the running `Deadline` in every read.

    The libraries limit single reads only, so a server that sends byte by byte could hold a request forever; there is no
    public access to the sockets before the headers of a response have arrived.
    """
    pool: Any = getattr(transport, "_pool", None)
    if hasattr(pool, "_network_backend"):
        pool._network_backend = _TimedBackend(pool._network_backend)  # noqa: SLF001
    return transport


class _Wrapped:
    """Something of httpcore or httpcore2, for threads or `asyncio`."""

    def __init__(self, inner: Any) -> None:  # noqa: ANN401
        self._inner = inner

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401
        return getattr(self._inner, name)


class _TimedBackend(_Wrapped):
    """A network backend whose streams respect the running deadline."""

    def connect_tcp(self, *arguments: Any, **others: Any) -> Any:  # noqa: ANN401
        """Connect; a coroutine if the backend is asynchronous."""
        return _timed(self._inner.connect_tcp(*arguments, **others))


class _Stream(_Wrapped):
    """A connected socket."""

    def start_tls(self, *arguments: Any, **others: Any) -> Any:  # noqa: ANN401
        """Encrypt the connection; a coroutine if the stream is asynchronous."""
        return _timed(self._inner.start_tls(*arguments, **others))


class _TimedStream(_Stream):
    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Read what has come, waiting no longer than the deadline lets."""
        with _in_time(timeout) as seconds:
            return self._inner.read(max_bytes, seconds)  # type: ignore[no-any-return]

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Send; the deadline waits meanwhile."""
        with _not_counted():
            self._inner.write(buffer, timeout)


class _AsyncTimedStream(_Stream):
    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109  (as httpcore calls it)
        """Read what has come, waiting no longer than the deadline lets."""
        with _in_time(timeout) as seconds:
            return await self._inner.read(max_bytes, seconds)  # type: ignore[no-any-return]

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ASYNC109
        """Send; the deadline waits meanwhile."""
        with _not_counted():
            await self._inner.write(buffer, timeout)


def _timed(stream: Any) -> Any:  # noqa: ANN401
    if not asyncio.iscoroutine(stream):
        return _TimedStream(stream)

    async def timed() -> _AsyncTimedStream:
        return _AsyncTimedStream(await stream)

    return timed()


@contextlib.contextmanager
def _in_time(timeout: float | None) -> Iterator[float | None]:
    """Yield the timeout of a read. Where the deadline set it, a timeout in httpcore is the deadline's error."""
    deadline = _running.get()
    if deadline is None:
        yield timeout
        return
    try:
        yield deadline.wait(timeout)
    except Exception as error:
        if type(error).__name__ == "ReadTimeout" and deadline.left < _EARLY:
            raise deadline.error() from None
        raise


@contextlib.contextmanager
def _not_counted() -> Iterator[None]:
    """Exclude the time of sending from the running deadline."""
    begun = time.monotonic()
    try:
        yield
    finally:
        deadline = _running.get()
        if deadline is not None:
            deadline.sent(time.monotonic() - begun)


# --- Event loops ---

_Closing = Callable[[], Awaitable[None]]
_OWNED = "_qwen_omni_closing"


class PerLoop:
    """Holds one value per event loop, and closes it when that loop is closed.

    The loop owns the value: this object references it weakly, so the sockets of a dropped loop go with it. A value
    whose loop outlives this object is closed in its loop.
    """

    def __init__(self) -> None:
        self._values: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, weakref.ref[Any]]
        self._values = weakref.WeakKeyDictionary()
        weakref.finalize(self, _close_all, self._values).atexit = False

    def get(self, loop: asyncio.AbstractEventLoop) -> Any:  # noqa: ANN401  (whatever was put)
        """Return the value of a loop, or `None`."""
        kept = self._values.get(loop)
        return None if kept is None else kept()

    def put(self, loop: asyncio.AbstractEventLoop, value: Any, closing: _Closing) -> None:  # noqa: ANN401
        """Store a value for a loop; `closing` runs in the loop before it is closed."""
        _owned(loop)[value] = closing
        self._values[loop] = weakref.ref(value)

    async def close(self, loop: asyncio.AbstractEventLoop) -> None:
        """Close the value of the running loop."""
        value = self.get(loop)
        self._values.pop(loop, None)
        closing = _owned(loop).pop(value, None)
        if closing is not None:
            await closing()


def _owned(loop: asyncio.AbstractEventLoop) -> dict[object, _Closing]:
    """Return the values that a loop owns; `asyncio` has no hook for closing a loop, so its `close` is wrapped, once."""
    owned: dict[object, _Closing] | None = getattr(loop, _OWNED, None)
    if owned is not None:
        return owned
    owned, close = {}, loop.close

    def closing() -> None:
        while owned and not (loop.is_running() or loop.is_closed()):
            with contextlib.suppress(Exception):  # the sockets are closed anyway
                loop.run_until_complete(owned.popitem()[1]())
        close()

    setattr(loop, _OWNED, owned)
    setattr(loop, "close", closing)  # noqa: B010  (mypy allows no assignment to a method)
    return owned


def _close_all(values: "weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, weakref.ref[Any]]") -> None:
    for loop, kept in list(values.items()):
        value = kept()
        with contextlib.suppress(RuntimeError):  # the loop is closed, and has closed its values
            if value is not None:
                loop.call_soon_threadsafe(_close_soon, loop, value)


def _close_soon(loop: asyncio.AbstractEventLoop, value: object) -> None:
    owned = _owned(loop)
    closing = owned.get(value)
    if closing is None:
        return

    def closed(done: "asyncio.Future[None]") -> None:
        if not done.cancelled():  # else the loop is closing, and closes what it still owns
            done.exception()
            owned.pop(value, None)

    asyncio.ensure_future(closing(), loop=loop).add_done_callback(closed)


# --- The chat route ---

_RAW = {"X-Stainless-Raw-Response": "stream"}  # makes the SDK return the response unread; never sent
_CHAT = "/chat/completions"
_OK = range(200, 300)
PROXY_LOGIN = 407
"""The status with which a proxy asks for a user and a password."""
_UNSENT = ("ConnectTimeout", "PoolTimeout")  # of httpx and httpx2
_Client = TypeVar("_Client", "openai.OpenAI", "openai.AsyncOpenAI")
_Plug = TypeVar("_Plug", bound=Any)
_DRAIN_SECONDS = 2.0  # how long to wait for the end of the body after [DONE]


class AsyncRequestBody:
    """The same body for an asynchronous connection, which accepts only asynchronous iterators."""

    def __init__(self, body: Content) -> None:
        self._body = body
        self.length = body.length

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Yield the bytes; they come from memory or the page cache, so a thread would cost more than it saves."""
        for block in self._body:
            yield block


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpCall:
    """One request, ready to be sent."""

    body: Content
    headers: Mapping[str, str] = field(repr=False)  # may hold secrets, and tracebacks may show locals
    batch: bool = False
    """Whether it goes to Batch Chat."""


def package_version() -> str:
    """Return the installed version of this package."""
    try:
        return version("qwen-omni")
    except PackageNotFoundError:
        return "unknown"


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
            f"The answer from {settings.base_url} cannot be decoded: its bytes do not match its Content-Encoding "
            f"({error}). A proxy in between may have changed them.",
            status_code=_OK[0],
        )
    if isinstance(error, openai.APITimeoutError) or "Timeout" in type(error).__name__:
        late = APITimeoutError(
            f"No answer: nothing was received for {settings.read_timeout:g} s (read_timeout) or no connection was "
            f"made within {settings.connect_timeout:g} s (connect_timeout). "
            f"{settings.base_url}{through_proxy(settings.base_url)}"
        )
        late.sent = type(cause).__name__ not in _UNSENT
        return late
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
    except _caught() as error:
        if type(error).__name__ != "InvalidURL":
            raise
        raise ConfigurationError(
            f"{settings.base_url}{through_proxy(settings.base_url)} is not a valid address ({error}). Check base_url "
            "and the proxy variables."
        ) from None


def _refusal(response: Any, body: bytes) -> APIError:  # noqa: ANN401  (httpx's or httpx2's)
    if response.status_code == PROXY_LOGIN and (fault := proxy_refusal(str(response.request.url))) is not None:
        return fault
    return to_error(response.status_code, body, response.headers, url=str(response.request.url))


def _raise_refusal(response: Any) -> None:  # noqa: ANN401
    """Read the useful part of an error response, and raise it: the SDK would read and decode all of it."""
    if response.status_code not in _OK:
        body = b""
        with contextlib.suppress(*_caught()):  # the status is known, even if the text cannot be read
            body = read_up_to(response.iter_bytes(), ERROR_BYTES)
        raise _refusal(response, body)


async def _araise_refusal(response: Any) -> None:  # noqa: ANN401
    if response.status_code not in _OK:
        body = b""
        with contextlib.suppress(*_caught()):
            body = await aread_up_to(response.aiter_bytes(), ERROR_BYTES)
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


def _client_arguments(settings: Settings) -> dict[str, Any]:
    import openai  # noqa: PLC0415

    return {
        "api_key": settings.api_key.get_secret_value(),
        "base_url": settings.base_url,
        "timeout": openai.Timeout(settings.read_timeout, connect=settings.connect_timeout),
        "max_retries": 0,  # retries are decided in `retry`
        "default_headers": {"User-Agent": f"qwen-omni/{package_version()}", **settings.headers},
    }


def _connected(
    make: Callable[..., _Client], make_plug: Callable[..., _Plug], settings: Settings, hook: Callable[[Any], Any]
) -> tuple[_Client, _Plug]:
    """Return a client of the SDK, and its connections."""
    with _faults_named(settings):
        arguments = _client_arguments(settings)
        plug = _with_deadlines(make_plug(**_plug_arguments(settings, hook)))
        client = make(**arguments, http_client=plug)
    # Undo what the SDK took from OPENAI_* variables: another company's account data must not be sent.
    client.organization = None
    client.project = None
    client._custom_headers = arguments["default_headers"]  # noqa: SLF001  (no public way)
    return client, plug


def _request_arguments(call: HttpCall) -> dict[str, Any]:
    import openai  # noqa: PLC0415

    headers = {**call.headers, **_RAW, "Content-Length": str(call.body.length), "Accept": "text/event-stream"}
    return {"cast_to": object, "options": {"headers": headers}, "stream": True, "stream_cls": openai.Stream[object]}


class Connection:
    """A connection to the service, kept open between calls. Safe to share between threads."""

    def __init__(self, settings: Settings) -> None:
        _caught()  # import eagerly: the SDK fails if another thread is importing its modules
        self._settings, self._seconds = settings, settings.answer_seconds
        self._kept = self._connect()
        self._process = os.getpid()

    def _connect(self) -> "openai.OpenAI":
        import openai  # noqa: PLC0415

        client, plug = _connected(openai.OpenAI, openai.DefaultHttpxClient, self._settings, _raise_refusal)
        weakref.finalize(self, plug.close)
        return client

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
        deadline = Deadline(self._seconds, self._settings.base_url)
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
        self._settings, self._seconds = settings, settings.answer_seconds
        self._start()

    def _start(self) -> None:
        self._kept = PerLoop()
        self._lock = threading.Lock()
        self._process = os.getpid()

    @contextlib.asynccontextmanager
    async def post(self, call: HttpCall) -> AsyncIterator["AsyncAnswer"]:
        """Send a chat request and yield its answer as bytes; raises as `Connection.post` does."""
        failure: QwenOmniError
        deadline = Deadline(self._seconds, self._settings.base_url)
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
                # Closed explicitly: a garbage collection in another thread would race with the loop closing it.
                async with contextlib.aclosing(raw.http_response.aiter_bytes()) as pieces:
                    yield AsyncAnswer(pieces, self._settings, deadline)
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
                client, plug = _connected(
                    openai.AsyncOpenAI, openai.DefaultAsyncHttpxClient, self._settings, _araise_refusal
                )
                self._kept.put(loop, client, plug.aclose)
            return client

    async def aclose(self) -> None:
        """Close the running loop's connection."""
        await self._kept.close(asyncio.get_running_loop())


class AsyncAnswer:
    """The bytes of one answer, as they come."""

    def __init__(self, pieces: AsyncGenerator[bytes, None], settings: Settings, deadline: Deadline) -> None:
        self._settings, self._deadline, self._pieces = settings, deadline, pieces

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
