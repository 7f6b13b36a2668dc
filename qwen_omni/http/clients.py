"""What all HTTP clients share: certificates, a bound on what is read, and an end together with their event loop."""

import asyncio
import contextlib
import functools
import ssl
import weakref
from collections.abc import AsyncIterable, Awaitable, Callable, Iterable
from typing import Any

import httpx2

ERROR_BYTES = 2**20
"""Of an answer that is an error, after decoding: more says nothing more."""


@functools.cache
def tls() -> ssl.SSLContext:
    """Read the system's certificates once: it takes longer than all else that a client needs."""
    return httpx2.create_ssl_context()


# --- Answers ---


def read_up_to(pieces: Iterable[bytes], limit: int) -> bytes:
    """Read no more than `limit` bytes, and decode no more than the piece that they end in."""
    kept = bytearray()
    for piece in pieces:
        kept += piece[: limit - len(kept)]
        if len(kept) >= limit:
            break
    return bytes(kept)


async def aread_up_to(pieces: AsyncIterable[bytes], limit: int) -> bytes:
    """Read no more than `limit` bytes; see `read_up_to`."""
    kept = bytearray()
    async for piece in pieces:
        kept += piece[: limit - len(kept)]
        if len(kept) >= limit:
            break
    return bytes(kept)


# --- Event loops ---

_Closing = Callable[[], Awaitable[None]]
_OWNED = "_qwen_omni_closing"


class PerLoop:
    """Keeps one value for each event loop that it is used in, and closes it when that loop is closed.

    The loop owns the value: this object knows it weakly, so a loop that is dropped takes its sockets along. A value
    whose loop goes on after this object is gone is closed in its loop.
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
        """Keep a value for a loop; `closing` runs in it before it is closed."""
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
    """Return what a loop owns; `asyncio` has no hook for the end of a loop, so its `close` is extended, once."""
    owned: dict[object, _Closing] | None = getattr(loop, _OWNED, None)
    if owned is not None:
        return owned
    owned, close = {}, loop.close

    def closing() -> None:
        while owned and not (loop.is_running() or loop.is_closed()):
            with contextlib.suppress(Exception):  # the sockets are closed all the same
                loop.run_until_complete(owned.popitem()[1]())
        close()

    setattr(loop, _OWNED, owned)
    setattr(loop, "close", closing)  # noqa: B010  (mypy allows no assignment to a method)
    return owned


def _close_all(values: "weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, weakref.ref[Any]]") -> None:
    for loop, kept in list(values.items()):
        value = kept()
        with contextlib.suppress(RuntimeError):  # the loop is closed, and has closed what it owned
            if value is not None:
                loop.call_soon_threadsafe(_close_soon, loop, value)


def _close_soon(loop: asyncio.AbstractEventLoop, value: object) -> None:
    owned = _owned(loop)
    closing = owned.get(value)
    if closing is None:
        return

    def closed(done: "asyncio.Future[None]") -> None:
        if not done.cancelled():  # else the loop is ending, and closes what it still owns
            done.exception()
            owned.pop(value, None)

    asyncio.ensure_future(closing(), loop=loop).add_done_callback(closed)
