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

from qwen_omni.responses import Usage

MAX_COUNT = 10**9
"""No request has more tokens than this, so a larger count is corrupt."""
_ESCAPE = re.compile(
    r"(?P<whole>\\u[dD][89abAB][\da-fA-F]{2}\\u[dD][c-fC-F][\da-fA-F]{2})"
    r"|(?P<open>(?:\\u[dD][89abAB][\da-fA-F]{2}(?:\\(?:u(?:[dD](?:[c-fC-F][\da-fA-F]?)?)?)?)?"
    r"|\\(?:u[\da-fA-F]{0,3})?)\Z)"
    r"|(?P<half>\\u[dD][89a-fA-F][\da-fA-F]{2})|\\.",
    re.DOTALL,
)  # in JSON text: a pair of halves, an escape that may continue, half a character, any other escape
_HALF_ESCAPED = re.compile(rb"\\u[dD][89abAB][0-9a-fA-F]{2}|\\u[dD][c-fC-F][0-9a-fA-F]{2}")
_HIGH_HALF = re.compile("[\ud800-\udbff]\\Z")
_HALF = re.compile("[\ud800-\udfff]")
_QUOTED = 80  # bytes of a line
_THOUGHTS = ("thinking", "reasoning")  # types of parts
_PAGE = 20_000  # characters of a web page that are examined
_HIDDEN = re.compile(r"(?is)<(script|style|head)\b.*?(?:</\1\s*>|\Z)|<!--.*?(?:-->|\Z)")
_TAG = re.compile(r"<[^<>]*>")
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


def as_mapping(value: object) -> Mapping[str, Any]:
    """Return a value as an object; anything else is empty."""
    return value if isinstance(value, Mapping) else _NOTHING


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


def page_text(page: str) -> str:
    """Return the words of a web page, on one line: its body, else its title.

    Example:
        >>> page_text("<html><head><title>502</title></head><body><h1>Bad gateway</h1></body></html>")
        'Bad gateway'
    """
    page = page[:_PAGE]
    words = " ".join(_TAG.sub(" ", _HIDDEN.sub(" ", page)).split())
    return words or " ".join(_TAG.sub(" ", page).split())


def quoted(line: bytes) -> str:
    """Quote the beginning of a line; bytes that are not text are only counted."""
    try:
        text = line[:_QUOTED].decode("utf-8", "ignore" if len(line) > _QUOTED else "strict")
    except UnicodeDecodeError:
        text = "\0"
    return repr(text) if text.replace("\t", " ").isprintable() else f"{len(line):,} bytes that are not text"


def split_thoughts(content: list[Any]) -> tuple[str, list[Any]]:
    """Divide a list of parts into reasoning (Mistral's, and gateways to Anthropic's) and the rest."""
    thoughts = [part for part in content if isinstance(part, dict) and part.get("type") in _THOUGHTS]
    texts = [part.get("thinking") or part.get("reasoning") or part.get("text") for part in thoughts]
    return "".join(as_text(text, "thinking") for text in texts), [part for part in content if part not in thoughts]


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


class HalfCharacters:
    r"""Joins a character whose surrogates came in two pieces: `"\ud83d"` at the end of one, `"\ude00"` in the next."""

    def __init__(self) -> None:
        self.held: dict[object, str] = {}
        """The first half of a character, by its text, until the second has arrived."""

    def join(self, source: object, piece: str) -> str:
        """Return the next piece of a text as whole characters; half a character at its end is held for the next."""
        if not piece:
            return ""
        piece = self.held.pop(source, "") + piece
        if _HIGH_HALF.search(piece):
            self.held[source], piece = piece[-1], piece[:-1]
        return whole_characters(piece)

    def close(self) -> list[object]:
        """Return the sources whose text ended in half a character."""
        sources = list(self.held)
        self.held.clear()
        return sources


# --- Usage ---

# The second names are those of DashScope's own routes, and of the Responses API.
_TOTALS = (("prompt_tokens", "input_tokens"), ("completion_tokens", "output_tokens"), ("total_tokens",))


def parse_usage(usage: object, *, estimated_input: int | None = None) -> Usage | None:
    """Parse the service's token counts; details may be missing, empty or have unknown names.

    Returns `None` if a total is not a count (negative, infinite, text), or if nothing was counted.
    """
    if not isinstance(usage, Mapping):
        return None
    totals = [_either(usage, *names) for names in _TOTALS]
    counts = [as_count(total) for total in totals]
    if any(count is None and total is not None for count, total in zip(counts, totals, strict=True)):
        return None
    seconds = as_number(usage.get("seconds"))
    if seconds is None and all(total is None for total in totals):
        return None
    sent, came = counts[0] or 0, counts[1] or 0
    return Usage(
        input_tokens=sent,
        output_tokens=came,
        total_tokens=counts[2] or sent + came,
        input_details=_details(_either(usage, "prompt_tokens_details", "input_tokens_details")),
        output_details=_details(_either(usage, "completion_tokens_details", "output_tokens_details")),
        estimated_input=estimated_input,
        seconds=seconds if seconds is not None and seconds >= 0 else None,
    )


def dump_usage(usage: Usage) -> dict[str, Any]:
    """Return token counts in the format of the service and OpenAI, with details by kind; `parse_usage` reads them."""
    return {
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.total_tokens,
        "prompt_tokens_details": {f"{name}_tokens": count for name, count in usage.input_details.items()},
        "completion_tokens_details": {f"{name}_tokens": count for name, count in usage.output_details.items()},
    }


def _either(usage: Mapping[str, Any], *names: str) -> Any:  # noqa: ANN401  (any JSON)
    return next((usage[name] for name in names if usage.get(name) is not None), None)


def _details(details: object) -> dict[str, int]:
    if not isinstance(details, Mapping):
        return {}
    counts = {str(name).removesuffix("_tokens"): as_count(count) for name, count in details.items()}
    return {name: count for name, count in counts.items() if count is not None}


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
