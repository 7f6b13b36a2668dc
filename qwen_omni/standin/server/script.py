"""What a test wants the stand-in to say or to suffer: scripted replies, verbatim bytes and faults.

A `Script` only remembers and hands out; `standin.answers.service` carries the steps out. Requests are judged by the
rules whether or not a reply is scripted: a script changes answers, never what is accepted.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar

from qwen_omni.standin.rules import refusal
from qwen_omni.standin.rules.refusal import Refusal

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from qwen_omni.standin.server.log import LoggedRequest

    When = Callable[[LoggedRequest], bool]

T = TypeVar("T")
FaultKind = Literal["refuse", "in_stream", "cut", "slow", "event_only", "framed", "empty", "plain_json"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCall:
    """A call the scripted model makes; `arguments` may be text, to play a model that writes bad JSON."""

    name: str
    arguments: dict[str, Any] | str = field(default_factory=dict)
    id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """What the model says in one turn. Usage is still counted from what was really sent and said."""

    text: str = ""
    reasoning: str | None = None
    tool_calls: tuple[ToolCall, ...] = ()
    finish_reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RawAnswer:
    """Bytes to send as they are, piece by piece."""

    pieces: tuple[bytes, ...]
    status: int = 200
    content_type: str = "text/event-stream;charset=UTF-8"
    headers: tuple[tuple[str, str], ...] = ()
    pause: float = 0.0
    cut_after: int | None = None
    reset: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """Something that goes wrong. Make one with the class methods below."""

    kind: FaultKind
    answer: Refusal | None = None
    after_deltas: int = 0
    after_bytes: int | None = None
    reset: bool = False
    bytes_per_second: float | None = None
    first_byte_delay: float = 0.0

    @classmethod
    def rate_limit(cls, code: str = "limit_requests") -> Fault:
        """429. `code` is one of the documented kinds; `insufficient_quota` is the passing per-minute limit."""
        message = _RATE_MESSAGES.get(code, "You exceeded your current requests list.")
        return cls(kind="refuse", answer=Refusal(429, code, message + refusal.HELP, kind=code, gateway=True))

    @classmethod
    def server_error(cls, status: int = 500, message: str | None = None) -> Fault:
        """5xx."""
        text = message or ("An internal error has occured, please try again later." if status < 503 else _OVERLOAD)  # noqa: PLR2004
        return cls(kind="refuse", answer=Refusal(status, "internal_error", text, kind="internal_error"))

    @classmethod
    def refuse(cls, status: int, code: str, message: str) -> Fault:
        """Any refusal of the catalogue: Arrearage, AllocationQuota.FreeTierOnly, data_inspection_failed."""
        return cls(kind="refuse", answer=Refusal(status, code, message, kind=code, gateway=True))

    @classmethod
    def refuse_media(cls, message: str = refusal.NO_DOWNLOAD) -> Fault:
        """400 about the media, as after a failed or slow download; a stream gets it as its only event."""
        return cls(kind="refuse", answer=refusal.algo(message, late=True))

    @classmethod
    def error_in_stream(cls, code: str = "internal_server_error", message: str = "", after_deltas: int = 3) -> Fault:
        """A stream starts well and then brings an error event."""
        text = message or "<500> InternalError.Algo: An error occurred in model serving"
        return cls(kind="in_stream", answer=Refusal(200, code, text, kind="server_error"), after_deltas=after_deltas)

    @classmethod
    def error_event_only(cls, code: str = "invalid_parameter_error", message: str = "") -> Fault:
        """HTTP 200, then nothing but an error event."""
        text = message or "<400> InternalError.Algo.InvalidParameter: Download multimodal file timed out"
        return cls(kind="event_only", answer=Refusal(200, code, text))

    @classmethod
    def framed_400(cls, code: str = "invalid_parameter_error", message: str = refusal.BAD_URL) -> Fault:
        """HTTP 400 whose body is framed as an event."""
        return cls(kind="framed", answer=Refusal(400, code, message))

    @classmethod
    def cut(cls, after_bytes: int | None = 200, *, reset: bool = False) -> Fault:
        """The connection ends after so many bytes of the body; None ends it before any answer, `reset` with a RST."""
        return cls(kind="cut", after_bytes=after_bytes, reset=reset)

    @classmethod
    def slow(cls, bytes_per_second: float | None = None, first_byte_delay: float = 0.0) -> Fault:
        """The answer trickles, or begins late."""
        return cls(kind="slow", bytes_per_second=bytes_per_second, first_byte_delay=first_byte_delay)

    @classmethod
    def empty_stream(cls) -> Fault:
        """HTTP 200 and a stream without a single event."""
        return cls(kind="empty")

    @classmethod
    def plain_json(cls) -> Fault:
        """A plain JSON answer although a stream was asked for."""
        return cls(kind="plain_json")


@dataclass(slots=True)
class _Entry(Generic[T]):
    what: T
    when: When | None
    left: int | None


class Script:
    """Steps that wait for requests. Safe to change while the server runs.

    Of several waiting steps the oldest that fits is taken. Without `when` a step serves once, with `when`
    every request it fits; `times` says otherwise.
    """

    def __init__(self) -> None:
        self._replies: list[_Entry[Turn | RawAnswer]] = []
        self._faults: list[_Entry[Fault]] = []
        self._lock = threading.Lock()

    def reply(self, what: str | Turn, *, when: When | None = None, times: int | None = None) -> Script:
        """Let the model say this."""
        turn = Turn(text=what) if isinstance(what, str) else what
        return self._add(self._replies, turn, when, times)

    def raw(  # noqa: PLR0913 - one keyword per property of an HTTP answer
        self,
        pieces: bytes | Sequence[bytes],
        status: int = 200,
        content_type: str = "text/event-stream;charset=UTF-8",
        *,
        headers: Sequence[tuple[str, str]] = (),
        pause: float = 0.0,
        cut_after: int | None = None,
        reset: bool = False,
        when: When | None = None,
        times: int | None = None,
    ) -> Script:
        """Send these bytes; `pause` seconds between pieces, and no end of the body after `cut_after` bytes."""
        held = (pieces,) if isinstance(pieces, bytes) else tuple(pieces)
        answer = RawAnswer(
            pieces=held, status=status, content_type=content_type, headers=tuple(headers), pause=pause,
            cut_after=cut_after, reset=reset,
        )  # fmt: skip
        return self._add(self._replies, answer, when, times)

    def fault(self, fault: Fault, *, times: int | None = None, when: When | None = None) -> Script:
        """Let this go wrong."""
        return self._add(self._faults, fault, when, times)

    def clear(self) -> None:
        """Forget all waiting steps."""
        with self._lock:
            self._replies.clear()
            self._faults.clear()

    def next_reply(self, request: LoggedRequest) -> Turn | RawAnswer | None:
        """Take the step that answers this request, if one is scripted."""
        return self._take(self._replies, request)

    def next_fault(self, request: LoggedRequest) -> Fault | None:
        """Take the fault this request shall meet, if one is scripted."""
        return self._take(self._faults, request)

    def _add(self, entries: list[_Entry[T]], what: T, when: When | None, times: int | None) -> Script:
        left = times if times is not None or when is not None else 1
        with self._lock:
            entries.append(_Entry(what, when, left))
        return self

    def _take(self, entries: list[_Entry[T]], request: LoggedRequest) -> T | None:
        with self._lock:
            for entry in entries:
                if entry.left == 0 or (entry.when is not None and not entry.when(request)):
                    continue
                if entry.left is not None:
                    entry.left -= 1
                return entry.what
        return None


_OVERLOAD = "<503> InternalError.Algo: The model is overloaded, too many requests"
_RATE_MESSAGES = {
    "limit_requests": "You exceeded your current requests list.",
    "Throttling": "Requests throttling triggered.",
    "Throttling.RateQuota": "Requests rate limit exceeded, please try again later.",
    "limit_burst_rate": "Request rate increased too quickly. To ensure system stability, please adjust your client "
    "logic to scale requests more smoothly over time.",
    "Throttling.AllocationQuota": "Allocated quota exceeded, please increase your quota limit.",
    "insufficient_quota": "You exceeded your current quota, please check your plan and billing details.",
}
