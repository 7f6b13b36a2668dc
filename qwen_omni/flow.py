"""A conversation with a server, written as a generator. Pure: `http.run` and `http.arun` send what it yields.

A flow yields a `Request` and is sent the `Reply`; it yields a `Sleep` and is sent `None`; what it returns is the
result. An error of the connection is thrown into it where it waits. One definition serves threads and `asyncio`.
"""

from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

from qwen_omni.errors import QwenOmniError

T = TypeVar("T")


class Content(Protocol):
    """A body of known length that can be read again, so that a repetition is whole."""

    @property
    def length(self) -> int:
        """How many bytes there are."""

    def __iter__(self) -> Iterator[bytes]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One HTTP request.

    Attributes:
        with_key: send the service's key along; refused for any host but the service's own.
        most_bytes: read no more of the answer than this; the rest is left unread.
        public: a stranger chose the link, so it may not lead to a private address.
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
    """What came back, and from where; header names are lower case. Redirects are not followed."""

    status: int
    url: str = field(default="", repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class Sleep:
    """A wish to wait."""

    seconds: float


Flow = Generator[Request | Sleep, Reply | None, T]


@dataclass(frozen=True, slots=True)
class Done(Generic[T]):
    """The end of a flow, with its result."""

    value: T


def advance(flow: Flow[T], outcome: Reply | QwenOmniError | None) -> Request | Sleep | Done[T]:
    """Tell a flow how its last step ended, and give the next; the half of a driver that sends nothing."""
    try:
        return flow.throw(outcome) if isinstance(outcome, QwenOmniError) else flow.send(outcome)
    except StopIteration as stop:
        return Done(stop.value)


class Runner(Protocol):
    """Carries a flow to its end; `http.run` with its settings."""

    def __call__(self, flow: Flow[T], /) -> T:
        """Give what the flow returns, or raise what it raises."""


def ask(request: Request) -> Flow[Reply]:
    """Send one request and give its reply, for use with `yield from`."""
    reply = yield request
    if reply is None:
        raise TypeError("a request was answered with nothing; the driver is broken")
    return reply


class Repeats(Protocol):
    """Decides whether a failed attempt is made again; `retry.RetryPolicy.wait` as a function."""

    def __call__(self, error: Exception, failed: int, /) -> float | None:
        """Give the seconds to wait, or `None` if the error is final."""


def repeating(attempt: Callable[[], Flow[T]], repeats: Repeats) -> Flow[T]:
    """Run a flow, and a new one after every failure that passes."""
    failed = 0
    while True:
        try:
            return (yield from attempt())
        except Exception as error:
            wait = repeats(error, failed)
            if wait is None:
                raise
        failed += 1
        yield Sleep(wait)
