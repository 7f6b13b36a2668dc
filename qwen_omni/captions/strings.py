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
_QUOTES_TOO = frozenset(QUOTES)
_LONGEST_ESCAPE = 12
# LaTeX that begins with the letter of a JSON escape. Models that forget to double their backslashes write it.
_RARE = "bar|begin|beta|between|big|bigcup|bigcap|binom|bmod|bold|boldsymbol|bot|boxed|bullet|fbox|flat|forall|frac"
_USUAL = (
    "nabla|ne|neg|neq|nexists|nmid|not|notin|nu|rangle|rceil|rfloor|rho|right|rightarrow|rm|tan|tanh|tau|text|textbf|"
    "textit|textrm|tfrac|theta|tilde|times|to|top|triangle"
)
_RARE_COMMAND = re.compile(rf"\\(?:{_RARE})(?![A-Za-z])")
_UNDECIDED_COMMAND = re.compile(r"\\[bf][A-Za-z]{0,12}$")
_SUSPECT = re.compile(rf"(?<!\\)(?:\\\\)*\\(?:{_RARE})(?![A-Za-z])")
_USUAL_COMMAND = re.compile(rf"(?:{_USUAL})(?![A-Za-z])")
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


def has_commands(text: str) -> bool:
    r"""Whether a text holds LaTeX that JSON would read as a backspace or a form feed and letters: no model means those.

    Example:
        >>> has_commands(r'{"sum": "\frac{a}{b}"}'), has_commands(r'{"sum": "\\frac{a}{b}"}')
        (True, False)
    """
    return _SUSPECT.search(text) is not None


class StringReader:
    """Reads one string at a time out of a growing buffer; keeps what it has read."""

    def __init__(self) -> None:
        self.length = 0
        self._pieces: list[str] = []
        self._controls: list[tuple[int, str]] = []
        self._raw_backslashes = False
        self._run = _RUNS['"']
        self._is_key = False

    def begin(self, quote: str, *, is_key: bool) -> None:
        """Start a string behind its opening quote."""
        self.clear()
        self._run, self._is_key = _RUNS[quote], is_key

    def clear(self) -> None:
        """Forget the string."""
        self._pieces, self.length = [], 0
        self._controls, self._raw_backslashes = [], False

    def so_far(self) -> str:
        """Return the string as far as it has come."""
        if len(self._pieces) > 1:
            self._pieces = ["".join(self._pieces)]
        text = self._pieces[0] if self._pieces else ""
        return self._with_commands(text) if self._raw_backslashes and self._controls else text

    def _with_commands(self, text: str) -> str:
        r"""Undo escapes that were LaTeX (`\theta`) in a string whose backslashes are not doubled elsewhere either."""
        made, done = [], 0
        for at, letter in self._controls:
            # Nobody writes a form feed before a letter; a line break is only undone where a command stands.
            never_meant = letter in "bf" and text[at + 1 : at + 2].isalpha()
            if never_meant or _USUAL_COMMAND.match(letter + text[at + 1 : at + 16]):
                made += [text[done:at], "\\", letter]
                done = at + 1
        return "".join([*made, text[done:]])

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
            return self._plain_escape(text, at, ended=ended)
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

    def _plain_escape(self, text: str, at: int, *, ended: bool) -> Read:
        """Read an escape of one letter; one that JSON does not know is kept as it is written."""
        if at + 1 >= len(text) or (text[at + 1] == "u" and _may_be_code(text[at:]) and not ended):
            return Read(len(text), closed=False) if ended else Read(at, closed=UNDECIDED)
        if not ended and _UNDECIDED_COMMAND.match(text, at):
            return Read(at, closed=UNDECIDED)
        if text[at + 1] == "u" and _may_be_code(text[at:]):
            return Read(len(text), closed=False)  # a character whose number was cut
        letter = text[at + 1]
        command = _RARE_COMMAND.match(text, at) is not None
        if command or (letter not in _PLAIN and letter not in _QUOTES_TOO):
            self._raw_backslashes = True
            self._add("\\" + letter)
        else:
            if letter in "bfnrt":
                self._controls.append((self.length, letter))
            self._add(_PLAIN.get(letter, letter))
        return Read(at + 2, closed=False)


def _may_be_code(text: str) -> bool:
    r"""Whether `\u` and what follows, up to the end of the text, may become the number of a character."""
    return len(text) < _LONGEST_ESCAPE // 2 and all(char in "0123456789abcdefABCDEF" for char in text[2:])


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
