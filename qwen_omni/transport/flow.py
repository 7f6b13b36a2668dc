"""Work in several external steps, written as a generator, and the two drivers of all such work.

A generator yields each step (a request, a question, a wait), is sent its outcome, and returns the result; a
`QwenOmniError` is thrown into it where it waits. One definition serves threads (`drive`) and `asyncio` (`adrive`).

A `Flow` is an exchange with a server: it yields a `Request` and is sent the `Reply`, or yields a `Sleep`.
`transport.api` performs what it yields.
"""

import asyncio
import contextlib
import threading
from collections.abc import Awaitable, Callable, Generator, Iterator, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar, cast

from qwen_omni.errors import QwenOmniError
from qwen_omni.transport.retry import RetryPolicy

T = TypeVar("T")
Step = TypeVar("Step")
Outcome = TypeVar("Outcome")


class Content(Protocol):
    """A body of known length that can be read again, so that a retry sends all of it."""

    @property
    def length(self) -> int:
        """The length in bytes."""

    def __iter__(self) -> Iterator[bytes]: ...


@dataclass(frozen=True, slots=True)
class BytesContent:
    """A body in memory."""

    data: bytes = field(repr=False)

    @property
    def length(self) -> int:
        """The length in bytes."""
        return len(self.data)

    def __iter__(self) -> Iterator[bytes]:
        yield self.data


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One HTTP request.

    Attributes:
        with_key: send the API key; refused for any host but the service's own.
        most_bytes: read no more of the response than this; the rest is left unread.
        public: the link is untrusted, so it may not lead to a private address.
    """

    method: str
    url: str = field(repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    content: Content | None = None
    with_key: bool = False
    most_bytes: int = 1_048_576
    public: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """A response and its URL; header names are lower case. Redirects are not followed."""

    status: int
    url: str = field(default="", repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class Sleep:
    """A request to wait."""

    seconds: float


Flow = Generator[Request | Sleep, Reply | None, T]


@dataclass(frozen=True, slots=True)
class Done(Generic[T]):
    """The end of a flow, with its result."""

    value: T


def advance(work: Generator[Step, Outcome, T], outcome: Outcome | QwenOmniError | None) -> Step | Done[T]:
    """Send the outcome of the last step (`None` before the first), and return the next step or the end."""
    try:
        return work.throw(outcome) if isinstance(outcome, QwenOmniError) else work.send(cast("Outcome", outcome))
    except StopIteration as stop:
        return Done(stop.value)
    finally:
        del outcome  # an error that comes back out would reference itself, and all that its traceback holds


def drive(work: Generator[Step, Outcome, T], perform: Callable[[Step], Outcome | QwenOmniError]) -> T:
    """Run work to its end, and return its result.

    Args:
        work: yields its steps; it is closed at the end, whatever happens.
        perform: does a step. A `QwenOmniError` that it raises or returns is thrown into the work; any other ends it.
    """
    outcome: Outcome | QwenOmniError | None = None
    try:
        while not isinstance(step := advance(work, outcome), Done):
            try:
                outcome = perform(step)
            except QwenOmniError as error:
                outcome = error
        return step.value
    finally:
        outcome = None
        work.close()


async def adrive(
    work: Generator[Step, Outcome, T],
    perform: Callable[[Step], Awaitable[Outcome | QwenOmniError]],
    *,
    blocking: bool = False,
    pool: Executor | None = None,
) -> T:
    """Run work to its end in `asyncio`; see `drive`.

    Args:
        work: yields its steps.
        perform: does a step.
        blocking: the work blocks between its steps, so it runs in threads, and is closed in one.
        pool: the threads; the event loop's default executor if not given.
    """
    going: asyncio.Future[Step | Done[T]] | None = None
    outcome: Outcome | QwenOmniError | None = None
    try:
        while True:
            if blocking:
                going = asyncio.get_running_loop().run_in_executor(pool, advance, work, outcome)
                step = await asyncio.shield(going)
            else:
                step = advance(work, outcome)
            if isinstance(step, Done):
                return step.value
            try:
                outcome = await perform(step)
            except QwenOmniError as error:
                outcome = error
    finally:
        outcome = None
        if not blocking:
            work.close()
        elif asyncio._get_running_loop() is None:  # noqa: SLF001  # dropped with its loop: nothing can be awaited
            threading.Thread(target=_close, args=(work,)).start()
        else:
            await asyncio.shield(_end(work, going, pool))


def _close(work: Generator[Any, Any, Any]) -> None:
    with contextlib.suppress(ValueError):  # it is running: its thread ends it
        work.close()


async def _end(work: Generator[Any, Any, Any], going: "asyncio.Future[Any] | None", pool: Executor | None) -> None:
    """Close work in a thread: it may have to delete something from the service."""
    if going is not None:
        await asyncio.wait([going])  # a running generator cannot be closed
        if not going.cancelled():
            going.exception()  # of a step that is no longer awaited; otherwise `asyncio` would report it
    await asyncio.get_running_loop().run_in_executor(pool, work.close)


class Runner(Protocol):
    """Runs a flow to its end; `transport.api.run` with its settings."""

    def __call__(self, flow: Flow[T], /) -> T:
        """Run the flow; return its result, or raise its error."""


def ask(request: Request) -> Flow[Reply]:
    """Send one request and return its reply, for use with `yield from`."""
    reply = yield request
    if reply is None:
        raise TypeError("a request was answered with nothing; the driver is broken")
    return reply


def repeating(
    attempt: Callable[[], Flow[T]], retry: RetryPolicy, *, only: Callable[[QwenOmniError], bool] | None = None
) -> Flow[T]:
    """Run a flow, and a new one after every transient failure; with `only`, after those that it accepts."""
    failed = 0
    while True:
        try:
            return (yield from attempt())
        except QwenOmniError as error:
            wait = retry.wait(error, failed, shown=False) if only is None or only(error) else None
            if wait is None:
                raise
        failed += 1
        yield Sleep(wait)
