"""Shared by all HTTP clients: certificates, limits in bytes and seconds, and closing with their event loop."""

import asyncio
import contextlib
import functools
import ssl
import time
import weakref
from collections.abc import AsyncIterable, Awaitable, Callable, Iterable
from contextvars import ContextVar, Token
from typing import Any, TypeVar

import httpx2

from qwen_omni.errors import DeadlineExceededError

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


async def aread_up_to(pieces: AsyncIterable[bytes], limit: int) -> bytes:
    """Read at most `limit` bytes; see `read_up_to`."""
    kept = bytearray()
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

    def wait(self, timeout: float | None) -> float:
        """Return the timeout of the next read, in seconds.

        Raises:
            DeadlineExceededError: no time is left.
        """
        left = self.left
        if left <= 0:
            raise self.error()
        return left if timeout is None or left < timeout else timeout

    def error(self) -> DeadlineExceededError:
        """Return the error for an answer that is not complete in time."""
        return DeadlineExceededError(
            f"No complete answer of {self._where} within {self._seconds:g} s (total_timeout). Request less: a shorter "
            "clip, a smaller max_tokens. DashScope's shared hosts end requests after 600 s, workspace hosts after "
            "3,600 s; total_timeout= sets another limit."
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


class _TimedBackend:
    """A network backend of httpcore, for threads or `asyncio`, whose streams respect the running deadline."""

    def __init__(self, backend: Any) -> None:  # noqa: ANN401  (of httpcore or httpcore2)
        self._backend = backend

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401
        return getattr(self._backend, name)

    def connect_tcp(self, *arguments: Any, **others: Any) -> Any:  # noqa: ANN401
        """Connect; a coroutine if the backend is asynchronous."""
        return _timed(self._backend.connect_tcp(*arguments, **others))


class _Stream:
    """A connected socket, wrapped for httpcore."""

    def __init__(self, stream: Any) -> None:  # noqa: ANN401
        self._stream = stream

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401
        return getattr(self._stream, name)

    def start_tls(self, *arguments: Any, **others: Any) -> Any:  # noqa: ANN401
        """Encrypt the connection; a coroutine if the stream is asynchronous."""
        return _timed(self._stream.start_tls(*arguments, **others))


class _TimedStream(_Stream):
    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Read what has come, waiting no longer than the deadline lets."""
        deadline = _running.get()
        if deadline is None:
            return self._stream.read(max_bytes, timeout)  # type: ignore[no-any-return]
        seconds = deadline.wait(timeout)
        try:
            return self._stream.read(max_bytes, seconds)  # type: ignore[no-any-return]
        except Exception as error:  # noqa: BLE001  (of either httpcore; raised again)
            raise _in_time(error, deadline) from None

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Send; the deadline waits meanwhile."""
        begun = time.monotonic()
        try:
            self._stream.write(buffer, timeout)
        finally:
            _sent_since(begun)


class _AsyncTimedStream(_Stream):
    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109  (as httpcore calls it)
        """Read what has come, waiting no longer than the deadline lets."""
        deadline = _running.get()
        if deadline is None:
            return await self._stream.read(max_bytes, timeout)  # type: ignore[no-any-return]
        seconds = deadline.wait(timeout)
        try:
            return await self._stream.read(max_bytes, seconds)  # type: ignore[no-any-return]
        except Exception as error:  # noqa: BLE001  (of either httpcore; raised again)
            raise _in_time(error, deadline) from None

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ASYNC109
        """Send; the deadline waits meanwhile."""
        begun = time.monotonic()
        try:
            await self._stream.write(buffer, timeout)
        finally:
            _sent_since(begun)


def _timed(stream: Any) -> Any:  # noqa: ANN401
    if not asyncio.iscoroutine(stream):
        return _TimedStream(stream)

    async def timed() -> _AsyncTimedStream:
        return _AsyncTimedStream(await stream)

    return timed()


def _in_time(error: Exception, deadline: Deadline) -> Exception:
    """Return the error of a failed read: a timeout in httpcore may be the deadline's."""
    return deadline.error() if type(error).__name__ == "ReadTimeout" and deadline.left < _EARLY else error


def _sent_since(begun: float) -> None:
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
