"""Bytes → server-sent events, fed piecemeal. Knows nothing of what an event means; `wire.stream` does.

Takes both dialects of the service: `data: {…}` of the compatible route and `data:{…}` with a
`:HTTP_STATUS/400` comment of the native one.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Event:
    """One event. `status` is the HTTP status told in a comment line, if any."""

    data: bytes
    name: str | None = None
    status: int | None = None


class EventParser:
    r"""Cuts a byte stream into events, wherever the pieces end.

    Example:
        >>> parser = EventParser()
        >>> parser.feed(b'data: {"a"'), parser.feed(b': 1}\n\n')
        ([], [Event(data=b'{"a": 1}', name=None, status=None)])
    """

    def __init__(self) -> None:
        self._rest = b""
        self._data: list[bytes] = []
        self._name: str | None = None
        self._status: int | None = None

    def feed(self, piece: bytes) -> list[Event]:
        """Take the next bytes and give the events they complete."""
        lines = (self._rest + piece).split(b"\n")
        self._rest = lines.pop()
        events = []
        for line in lines:
            event = self._line(line.removesuffix(b"\r"))
            if event is not None:
                events.append(event)
        return events

    def close(self) -> list[Event]:
        """Give what is left at the end of the bytes; the last event often has no blank line behind it."""
        events = self.feed(b"\n\n") if self._rest or self._data else []
        self._rest = b""
        return events

    def _line(self, line: bytes) -> Event | None:
        if line.startswith(b"data:"):
            self._data.append(line[6:] if line[5:6] == b" " else line[5:])
        elif not line:
            return self._dispatch()
        elif line.startswith(b"event:"):
            self._name = line[6:].strip().decode("utf-8", "replace")
        elif line.startswith(b":HTTP_STATUS/"):
            digits = line[13:].strip()
            self._status = int(digits) if digits.isdigit() else None
        return None

    def _dispatch(self) -> Event | None:
        if not self._data:
            return None
        event = Event(self._data[0] if len(self._data) == 1 else b"\n".join(self._data), self._name, self._status)
        self._data, self._name, self._status = [], None, None
        return event
