"""Where a string ends that a model wrote: in its own quotes, with unescaped quotes inside. Pure.

A quote ends a string only if what follows may follow a string. In correct JSON that always holds, so correct JSON
reads as it should. The other half of `reader`.
"""

import re
from dataclasses import dataclass
from enum import Enum
from typing import Final

QUOTES = "\"'“”„‘’＂`「"
"""What may open a string."""


class Undecided(Enum):
    """More text must tell."""

    UNDECIDED = "undecided"


UNDECIDED: Final = Undecided.UNDECIDED

_CLOSE = {'"': '"', "'": "'", "“": '”"', "”": '”"', "„": '”“"', "‘": "’'", "’": "’'", "＂": '＂"', "`": "`", "「": "」"}
_RUNS = {quote: re.compile(rf"[^{close}\\]*") for quote, close in _CLOSE.items()}
_SPACE = re.compile(r"[\s\ufeff]*")
_ESCAPE = re.compile(r"\\u([0-9a-fA-F]{4})")
_LOW = re.compile(r"\\u([dD][c-fC-F][0-9a-fA-F]{2})")
_PLAIN = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f", "/": "/", "\\": "\\"}
_LONGEST_ESCAPE = 12
_LOOK = 512  # spaces that are looked across behind a quote
_LONGEST_KEY = 64
_KEY = re.compile(rf"[{QUOTES}][^{QUOTES}\n]{{0,{_LONGEST_KEY}}}[{QUOTES}]\s*[:：]")
_WORD = re.compile(r"[A-Za-z_][\w-]*")
_LITERALS = frozenset({"true", "false", "null", "True", "False", "None", "NaN"})


@dataclass(slots=True)
class Read:
    """How far a look into the buffer came, and whether the string has ended."""

    to: int
    closed: bool | Undecided


class StringReader:
    """Reads one string at a time out of a growing buffer; keeps what it has read."""

    def __init__(self) -> None:
        self.length = 0
        self._pieces: list[str] = []
        self._run = _RUNS['"']
        self._is_key = False

    def begin(self, quote: str, *, is_key: bool) -> None:
        """Start a string behind its opening quote."""
        self.clear()
        self._run, self._is_key = _RUNS[quote], is_key

    def clear(self) -> None:
        """Forget the string."""
        self._pieces, self.length = [], 0

    def so_far(self) -> str:
        """Give the string as far as it has come."""
        if len(self._pieces) > 1:
            self._pieces = ["".join(self._pieces)]
        return self._pieces[0] if self._pieces else ""

    def read(self, text: str, at: int, *, ended: bool) -> Read:
        """Take a run of plain characters and what ends it: an escape, a quote, or the text so far."""
        run = self._run.match(text, at)
        if run is not None and run.end() > at:
            self._add(run.group())
            at = run.end()
        if at >= len(text):
            return Read(at, closed=UNDECIDED)
        if text[at] == "\\":
            return self._escape(text, at, ended=ended)
        closes = True if self._is_key else ends_string(text, at + 1, ended=ended)
        if closes is False:
            self._add(text[at])
        return Read(at if closes is UNDECIDED else at + 1, closed=closes)

    def take(self, text: str) -> bool:
        """Take a whole piece if nothing in it could end the string; tells whether it did."""
        run = self._run.match(text)
        if run is None or run.end() < len(text):
            return False
        self._add(text)
        return True

    def _add(self, text: str) -> None:
        self._pieces.append(text)
        self.length += len(text)

    def _escape(self, text: str, at: int, *, ended: bool) -> Read:
        found = _ESCAPE.match(text, at)
        if found is None:
            if at + 1 >= len(text) or (text[at + 1] == "u" and len(text) - at < _LONGEST_ESCAPE // 2):
                return Read(len(text), closed=False) if ended else Read(at, closed=UNDECIDED)
            self._add(_PLAIN.get(text[at + 1], text[at + 1]))
            return Read(at + 2, closed=False)
        code = int(found.group(1), 16)
        if not 0xD800 <= code <= 0xDFFF:  # noqa: PLR2004  (the halves of characters that UTF-16 writes as two)
            self._add(chr(code))
            return Read(found.end(), closed=False)
        low = _LOW.match(text, found.end()) if code < 0xDC00 else None  # noqa: PLR2004
        if low is not None:
            self._add(chr(0x10000 + ((code - 0xD800) << 10) + int(low.group(1), 16) - 0xDC00))
            return Read(low.end(), closed=False)
        rest = text[found.end() :]
        if len(rest) < _LONGEST_ESCAPE // 2 and code < 0xDC00 and _may_be_low(rest):  # noqa: PLR2004
            return Read(len(text), closed=False) if ended else Read(at, closed=UNDECIDED)
        self._add("\ufffd")
        return Read(found.end(), closed=False)


def _may_be_low(text: str) -> bool:
    return "\\u"[: len(text)] == text[:2]


def ends_string(text: str, at: int, *, ended: bool) -> bool | Undecided:
    """Tell whether the quote before `at` ends a value: whether what follows may follow a string.

    Example:
        >>> ends_string('He said "hi" to her", "b": 1}', 12, ended=True)
        False
        >>> ends_string('He said "hi" to her", "b": 1}', 20, ended=True)
        True
    """
    space = _SPACE.match(text, at)
    behind = space.end() if space else at
    if behind >= len(text):
        return True if ended or behind - at > _LOOK else UNDECIDED
    char = text[behind]
    if char in "}]｝］":
        return True
    if char in ",，;；":
        return _starts_next(text, behind + 1, ended=ended)
    if char == "/":
        return UNDECIDED if behind + 1 >= len(text) and not ended else text[behind + 1 : behind + 2] in ("/", "*")
    if "\n" in text[at:behind]:
        return char in QUOTES or char == "#"
    return char in QUOTES and _is_key(text, behind, ended=ended)


def _is_key(text: str, at: int, *, ended: bool) -> bool | Undecided:
    """Tell whether a key begins here; a comma was forgotten before it."""
    if _KEY.match(text, at):
        return True
    short = len(text) - at < _LONGEST_KEY and "\n" not in text[at:]
    return UNDECIDED if short and not ended else False


def _starts_next(text: str, at: int, *, ended: bool) -> bool | Undecided:
    """Tell whether what follows a comma begins the next key or value."""
    space = _SPACE.match(text, at)
    behind = space.end() if space else at
    if behind >= len(text):
        return True if ended or behind - at > _LOOK else UNDECIDED
    if text[behind] in "{[}]｛［｝］-/#,，.…" or text[behind] in QUOTES or text[behind].isdigit():
        return True
    word = _WORD.match(text, behind)
    if word is None:
        return False
    if word.end() == len(text) and len(word.group()) < _LOOK:
        return True if ended else UNDECIDED  # it may have become `null`
    space = _SPACE.match(text, word.end())
    follows = text[space.end() : space.end() + 1] if space else ""
    if not follows and not ended:
        return UNDECIDED
    return word.group() in _LITERALS or follows in (":", "：")
