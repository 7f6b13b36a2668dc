"""The script that a test sets for the stand-in: replies, verbatim bytes and faults.

A `Script` only stores the steps; `standin.answers.service` performs them. Requests are validated whether or not a reply
is scripted: a script changes answers, never the rules.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar

from qwen_omni.standin.rules import refusal
from qwen_omni.standin.rules.refusal import Refusal
from qwen_omni.standin.server.exchange import Reply

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from qwen_omni.standin.server.log import LoggedRequest

    When = Callable[[LoggedRequest], bool]

T = TypeVar("T")
FaultKind = Literal["refuse", "in_stream", "cut", "slow", "event_only", "framed", "empty", "plain_json"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCall:
    """A call that the scripted model makes; `arguments` may be text, to emulate a model that writes bad JSON."""

    name: str
    arguments: dict[str, Any] | str = field(default_factory=dict)
    id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """The model's output in one turn. Usage is still counted from what was actually sent and answered."""

    text: str = ""
    reasoning: str | None = None
    tool_calls: tuple[ToolCall, ...] = ()
    finish_reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """A fault. Create one with the class methods below."""

    kind: FaultKind
    answer: Refusal | None = None
    after_deltas: int = 0
    after_bytes: int | None = None
    reset: bool = False
    bytes_per_second: float | None = None
    first_byte_delay: float = 0.0

    @classmethod
    def rate_limit(cls, code: str = "limit_requests") -> Fault:
        """Return a 429. `code` is one of the documented kinds; `insufficient_quota` is the per-minute limit."""
        return cls(kind="refuse", answer=refusal.rate_limited(code))

    @classmethod
    def server_error(cls, status: int = 500, message: str | None = None) -> Fault:
        """Return a 5xx."""
        text = message or ("An internal error has occured, please try again later." if status < 503 else _OVERLOAD)  # noqa: PLR2004
        return cls(kind="refuse", answer=Refusal(status, "internal_error", text, kind="internal_error"))

    @classmethod
    def refuse(cls, status: int, code: str, message: str) -> Fault:
        """Return any documented refusal: Arrearage, AllocationQuota.FreeTierOnly, data_inspection_failed."""
        return cls(kind="refuse", answer=Refusal(status, code, message, kind=code, gateway=True))

    @classmethod
    def refuse_media(cls, message: str = refusal.NO_DOWNLOAD) -> Fault:
        """Return a 400 about the media, as after a failed or slow download; a stream gets it as its only event."""
        return cls(kind="refuse", answer=refusal.algo(message, late=True))

    @classmethod
    def error_in_stream(cls, code: str = "internal_server_error", message: str = "", after_deltas: int = 3) -> Fault:
        """Send a stream that starts normally and then has an error event."""
        text = message or "<500> InternalError.Algo: An error occurred in model serving"
        return cls(kind="in_stream", answer=Refusal(200, code, text, kind="server_error"), after_deltas=after_deltas)

    @classmethod
    def error_event_only(cls, code: str = "invalid_parameter_error", message: str = "") -> Fault:
        """Send HTTP 200, followed only by an error event."""
        text = message or "<400> InternalError.Algo.InvalidParameter: Download multimodal file timed out"
        return cls(kind="event_only", answer=Refusal(200, code, text))

    @classmethod
    def framed_400(cls, code: str = "invalid_parameter_error", message: str = refusal.BAD_URL) -> Fault:
        """Send HTTP 400 with a body framed as an event."""
        return cls(kind="framed", answer=Refusal(400, code, message))

    @classmethod
    def cut(cls, after_bytes: int | None = 200, *, reset: bool = False) -> Fault:
        """End the connection after this many bytes of the body; None ends it before any answer, `reset` with a RST."""
        return cls(kind="cut", after_bytes=after_bytes, reset=reset)

    @classmethod
    def slow(cls, bytes_per_second: float | None = None, first_byte_delay: float = 0.0) -> Fault:
        """Send the answer slowly, or with a delayed start."""
        return cls(kind="slow", bytes_per_second=bytes_per_second, first_byte_delay=first_byte_delay)

    @classmethod
    def empty_stream(cls) -> Fault:
        """Send HTTP 200 and a stream without events."""
        return cls(kind="empty")

    @classmethod
    def plain_json(cls) -> Fault:
        """Send a plain JSON answer although a stream was requested."""
        return cls(kind="plain_json")


@dataclass(slots=True)
class _Entry(Generic[T]):
    what: T
    when: When | None
    left: int | None


class Script:
    """Steps waiting for requests. Safe to change while the server runs.

    Of several waiting steps, the oldest that matches is used. A step without `when` is used once, one with `when`
    for every matching request; `times` overrides this.
    """

    def __init__(self) -> None:
        self._replies: list[_Entry[Turn | Reply]] = []
        self._faults: list[_Entry[Fault]] = []
        self._lock = threading.Lock()

    def reply(self, what: str | Turn, *, when: When | None = None, times: int | None = None) -> Script:
        """Make the model answer with this."""
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
        """Send these bytes, with `pause` seconds between pieces; cut the connection after `cut_after` bytes."""
        held = (pieces,) if isinstance(pieces, bytes) else tuple(pieces)
        answer = Reply(status=status, content_type=content_type, headers=tuple(headers), pieces=held, pause=pause)
        if cut_after is not None:
            answer = answer.cut(cut_after, reset=reset)
        return self._add(self._replies, answer, when, times)

    def fault(self, fault: Fault, *, times: int | None = None, when: When | None = None) -> Script:
        """Make matching requests fail with this fault."""
        return self._add(self._faults, fault, when, times)

    def clear(self) -> None:
        """Remove all waiting steps."""
        with self._lock:
            self._replies.clear()
            self._faults.clear()

    def next_reply(self, request: LoggedRequest) -> Turn | Reply | None:
        """Take the step that answers this request, if one is scripted."""
        return self._take(self._replies, request)

    def next_fault(self, request: LoggedRequest) -> Fault | None:
        """Take the fault for this request, if one is scripted."""
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
