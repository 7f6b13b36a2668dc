"""Bytes → server-sent events, incrementally. Does not interpret events; `wire.stream` does.

Accepts both dialects of the service: `data: {…}` of the compatible route and `data:{…}` with a `:HTTP_STATUS/400`
comment of the native one. A line that is neither blank, nor a comment, nor a standard field counts as damage, since
part of an answer may be lost. Source: WHATWG HTML, "Server-sent events", read 2026-11.
"""

from dataclasses import dataclass

MAX_EVENT_BYTES = 32 * 2**20
"""The longest event accepted: a minute of speech is 4 MB of base64, and one event holds a fraction of it."""
_IGNORED = frozenset((b"id", b"retry"))
_CHUNK_KEY = b'"choices"'


class DamagedStreamError(ValueError):
    """The bytes are not an event stream: a line is of an unknown kind."""


class EventTooLongError(ValueError):
    """An event is longer than any event of an answer can be."""


@dataclass(frozen=True, slots=True)
class Event:
    """One event. `status` is the HTTP status from a comment line, if any."""

    data: bytes
    name: str | None = None
    status: int | None = None


class EventParser:
    r"""Splits a byte stream into events, wherever the pieces end. Time and memory are linear in the bytes.

    Example:
        >>> parser = EventParser()
        >>> parser.feed(b'data: {"a"'), parser.feed(b': 1}\n\n')
        ([], [Event(data=b'{"a": 1}', name=None, status=None)])
    """

    def __init__(self, max_event_bytes: int = MAX_EVENT_BYTES) -> None:
        self._limit = max_event_bytes
        self._rest: list[bytes] = []  # pieces of an incomplete line; joined once, when its end arrives
        self._held = 0  # bytes in `_rest` and `_data`
        self._data: list[bytes] = []
        self._name: str | None = None
        self._status: int | None = None
        self._broken: DamagedStreamError | EventTooLongError | None = None

    @property
    def tail(self) -> bytes:
        """The incomplete last line."""
        return b"".join(self._rest)

    def feed(self, piece: bytes) -> list[Event]:
        """Return the events that the next bytes complete; if damage follows an event, the next call raises.

        Raises:
            DamagedStreamError: a line of an unknown kind.
            EventTooLongError: an event of more than `max_event_bytes`.
        """
        if self._broken is not None:
            raise self._broken
        events: list[Event] = []
        try:
            self._split(piece, events)
        except (DamagedStreamError, EventTooLongError) as error:
            if not events:
                raise
            self._broken = error
        return events

    def close(self) -> list[Event]:
        """Return what is left at the end of the bytes; the last event often has no blank line after it."""
        return self.feed(b"\n\n") if self._rest or self._data or self._broken else []

    def _split(self, piece: bytes, events: list[Event]) -> None:
        lines = piece.split(b"\n")
        last = lines.pop()
        if lines and self._rest:
            rest = b"".join(self._rest)
            self._rest.clear()
            self._held -= len(rest)
            lines[0] = rest + lines[0]
        for line in lines:
            event = self._line(line.removesuffix(b"\r"))
            if event is not None:
                events.append(event)
        if last:
            self._rest.append(last)
            self._held += len(last)
        if self._held > self._limit:
            raise EventTooLongError(f"an event has more than {self._limit / 2**20:g} MB")

    def _line(self, line: bytes) -> Event | None:
        if line.startswith(b"data:"):
            self._add(line[6:] if line[5:6] == b" " else line[5:])
        elif not line:
            return self._dispatch()
        else:
            self._other(line)
        return None

    def _other(self, line: bytes) -> None:
        name, colon, value = line.partition(b":")
        if name == b"event":
            self._name = value.strip().decode("utf-8", "replace")
        elif name == b"data":
            self._add(b"")
        elif not name and _CHUNK_KEY not in line:
            if value.startswith(b"HTTP_STATUS/"):
                digits = value[12:].strip()
                self._status = int(digits) if len(digits) == 3 and digits.isdigit() else None  # noqa: PLR2004
        elif name not in _IGNORED:
            shown = (name if colon else line)[:40].decode("utf-8", "replace")
            raise DamagedStreamError(f"a line begins with {shown!r}, which is not a field of an event stream")

    def _add(self, data: bytes) -> None:
        self._data.append(data)
        self._held += len(data) + 1

    def _dispatch(self) -> Event | None:
        if not self._data:
            return None
        data = self._data[0] if len(self._data) == 1 else b"\n".join(self._data)
        self._held -= len(data) + 1
        event = Event(data, self._name, self._status)
        self._data, self._name, self._status = [], None, None
        return event
