"""Untrusted JSON → values of known types: every response of a server passes through here. Pure.

A field that is absent or null is empty. A value of another type is converted where it makes sense (a list of text parts
to text, an object to its JSON text) and is a `MalformedValueError` where it does not; nothing else is raised.
"""

import json
import math
import re
from collections.abc import Mapping
from typing import Any

from pydantic_core import from_json

MAX_COUNT = 10**9
"""No request has more tokens than this, so a larger count is corrupt."""
_HALF_ESCAPED = re.compile(rb"\\u[dD][89abAB][0-9a-fA-F]{2}|\\u[dD][c-fC-F][0-9a-fA-F]{2}")
_ESCAPE = re.compile(
    r"(?P<whole>\\u[dD][89abAB][\da-fA-F]{2}\\u[dD][c-fC-F][\da-fA-F]{2})"
    r"|(?P<open>(?:\\u[dD][89abAB][\da-fA-F]{2}(?:\\(?:u(?:[dD](?:[c-fC-F][\da-fA-F]?)?)?)?)?"
    r"|\\(?:u[\da-fA-F]{0,3})?)\Z)"
    r"|(?P<half>\\u[dD][89a-fA-F][\da-fA-F]{2})|\\.",
    re.DOTALL,
)  # in JSON text: a pair of halves, an escape that may go on, half a character, any other escape
_HALF = re.compile("[\ud800-\udfff]")
_HIGH_HALF = re.compile("[\ud800-\udbff]\\Z")
_NOTHING: Mapping[str, Any] = {}
_TEXT_TYPES = (None, "text", "output_text")


class MalformedValueError(ValueError):
    """A value of an unexpected type."""


def decode_json(data: bytes) -> Any:  # noqa: ANN401  (any JSON)
    r"""Decode JSON strictly; a lone surrogate, escaped as `\ud83d`, is kept for `wire.stream` to join.

    Raises:
        ValueError: not JSON, not UTF-8, or nested too deeply.
    """
    try:
        return from_json(data)
    except ValueError:
        if not _HALF_ESCAPED.search(data):
            raise
    try:
        return json.loads(data.decode())
    except RecursionError:
        raise ValueError("nested too deeply") from None


def as_object(value: object, place: str) -> Mapping[str, Any]:
    """Return a value as an object; an absent one is empty."""
    if isinstance(value, dict):  # far faster than `Mapping`, and the only mapping in JSON
        return value
    if value is None:
        return _NOTHING
    raise MalformedValueError(f"{place} is {_kind(value)}, not an object")


def as_objects(value: object, place: str) -> list[Mapping[str, Any]]:
    """Return a value as a list of objects; a single object is a list of one, and null entries are skipped."""
    if value is None:
        return []
    if isinstance(value, dict):
        return [value]
    if not isinstance(value, list):
        raise MalformedValueError(f"{place} is {_kind(value)}, not a list")
    return [as_object(entry, f"an entry of {place}") for entry in value if entry is not None]


def as_text(value: object, place: str) -> str:
    """Return a value as text; a list of text parts is joined."""
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if isinstance(value, list):
        return "".join(_text_part(entry, f"an entry of {place}") for entry in value)
    return _text_part(value, place)


def as_json_text(value: object) -> str:
    """Return text unchanged, and any other value as JSON text."""
    if isinstance(value, str):
        return value
    return "" if value is None else json.dumps(value, ensure_ascii=False)


def as_name(value: object) -> str | None:
    """Return an id or a name; a number becomes text, anything else `None`."""
    if isinstance(value, str):
        return whole_characters(value) or None
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else None


def as_count(value: object) -> int | None:
    """Return a token count, which may come as text; `None` if it is missing or implausible."""
    number = as_number(value)
    return round(number) if number is not None and 0 <= number <= MAX_COUNT and number == int(number) else None


def as_number(value: object) -> float | None:
    """Return a finite number, which may come as text; `None` for everything else."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def as_words(value: object) -> str:
    """Return the value of any field of an error as text that can be shown."""
    return whole_characters(value if isinstance(value, str) else "" if value is None else as_json_text(value))


def whole_characters(text: str) -> str:
    """Join adjacent surrogate halves to characters; a lone one becomes U+FFFD."""
    if text.isascii() or not _HALF.search(text):
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


class HalfCharacters:
    r"""Joins a character whose surrogates came in two pieces: `"\ud83d"` at the end of one, `"\ude00"` in the next."""

    def __init__(self) -> None:
        self._held: dict[object, str] = {}

    @property
    def waiting(self) -> bool:
        """Whether the first half of a character has arrived and the second has not."""
        return bool(self._held)

    def join(self, source: object, piece: str) -> str:
        """Return the next piece of a text as whole characters; half a character at its end is held for the next."""
        if not piece:
            return ""
        piece = self._held.pop(source, "") + piece
        if _HIGH_HALF.search(piece):
            self._held[source], piece = piece[-1], piece[:-1]
        return whole_characters(piece)

    def close(self) -> list[object]:
        """Return the sources whose text ended in half a character."""
        sources = list(self._held)
        self._held.clear()
        return sources


class EscapedHalves:
    r"""Replaces `\ud83d` in JSON text by `\ufffd` if its second half does not follow, since tools cannot handle it."""

    def __init__(self) -> None:
        self._held = ""

    def join(self, piece: str) -> str:
        """Return the next piece of JSON text; an escape that may be incomplete is held for the next."""
        if "\\" not in piece and not self._held:
            return piece
        text, self._held = self._held + piece, ""
        return _ESCAPE.sub(self._whole, text)

    def close(self) -> str:
        """Return what was held back, at the end of the text."""
        held, self._held = self._held, ""
        return re.sub(r"\\u[dD][\da-fA-F]{3}", r"\\ufffd", held)

    def _whole(self, found: re.Match[str]) -> str:
        if found["open"]:
            self._held = found[0]
            return ""
        return r"\ufffd" if found["half"] else found[0]


def _text_part(value: object, place: str) -> str:
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    text = value.get("text") if isinstance(value, dict) and value.get("type") in _TEXT_TYPES else None
    if not isinstance(text, str):
        raise MalformedValueError(f"{place} is {_kind(value)}, not text")
    return text


def _kind(value: object) -> str:
    if isinstance(value, dict):
        return f"an object of type {value['type']!r}"[:60] if isinstance(value.get("type"), str) else "an object"
    names = {bool: "a truth value", int: "a number", float: "a number", str: "text", list: "a list"}
    return names.get(type(value), type(value).__name__)
