"""Read JSON as models write it, incrementally, with prose around it and mistakes in it. Pure.

`jiter` reads correct JSON, and `parse` tries it first. This reader adds what it lacks: it resumes when more text
arrives (a parser that restarts at every delta takes quadratic time), and it accepts comments, single and Chinese
quotes, stray and missing commas, bare words, constants of Python and JavaScript, mismatched brackets, a missing end.
It never invents a value: a key without one is left out. A quote ends a string only if the text after it may follow a
string; in correct JSON that always holds, so correct JSON is read correctly.
"""

import re
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

QUOTES = "\"'“”„‘’＂`「"
"""Characters that may open a string."""


class Undecided(Enum):
    """More text is needed to decide."""

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
# LaTeX commands that begin with the letter of a JSON escape, as written by models that forget to double backslashes.
_RARE = "bar|begin|beta|between|big|bigcup|bigcap|binom|bmod|bold|boldsymbol|bot|boxed|bullet|fbox|flat|forall|frac"
_USUAL = (
    "nabla|ne|neg|neq|nexists|nmid|not|notin|nu|rangle|rceil|rfloor|rho|right|rightarrow|rm|tan|tanh|tau|text|textbf|"
    "textit|textrm|tfrac|theta|tilde|times|to|top|triangle"
)
_RARE_COMMAND = re.compile(rf"\\(?:{_RARE})(?![A-Za-z])")
_UNDECIDED_COMMAND = re.compile(r"\\[bf][A-Za-z]{0,12}$")
LATEX = re.compile(rf"(?<!\\)(?:\\\\)*\\(?:{_RARE})(?![A-Za-z])")
"""LaTeX that JSON reads as a backspace or form feed and letters, which no model means; not with doubled backslashes."""
_USUAL_COMMAND = re.compile(rf"(?:{_USUAL})(?![A-Za-z])")
_LOOK = 512  # spaces to look across after a quote
_LONGEST_KEY = 64
_KEY = re.compile(rf"[{QUOTES}][^{QUOTES}\n]{{0,{_LONGEST_KEY}}}[{QUOTES}]\s*[:：]")
_WORD = re.compile(r"[A-Za-z_][\w-]*")
_LITERALS = frozenset({"true", "false", "null", "True", "False", "None", "NaN"})


@dataclass(slots=True)
class Read:
    """The position that was reached in the buffer, and whether the string has ended."""

    to: int
    closed: bool | Undecided


class StringReader:
    """Reads one string at a time from a growing buffer; keeps what it has read."""

    def __init__(self) -> None:
        self.length = 0
        self._pieces: list[str] = []
        self._controls: list[tuple[int, str]] = []
        self._raw_backslashes = False
        self._run = _RUNS['"']
        self._is_key = self._in_list = False

    def begin(self, quote: str, *, is_key: bool, in_list: bool = False) -> None:
        """Start a string after its opening quote."""
        self.clear()
        self._run, self._is_key, self._in_list = _RUNS[quote], is_key, in_list

    def clear(self) -> None:
        """Forget the string."""
        self._pieces, self.length = [], 0
        self._controls, self._raw_backslashes = [], False

    def so_far(self) -> str:
        """Return the string read so far."""
        if len(self._pieces) > 1:
            self._pieces = ["".join(self._pieces)]
        text = self._pieces[0] if self._pieces else ""
        return self._with_commands(text) if self._raw_backslashes and self._controls else text

    def _with_commands(self, text: str) -> str:
        r"""Undo escapes that were LaTeX (`\theta`) in a string whose backslashes are not doubled elsewhere either."""
        made, done = [], 0
        for at, letter in self._controls:
            # A form feed before a letter is always LaTeX; a line break is only undone before a known command.
            never_meant = letter in "bf" and text[at + 1 : at + 2].isalpha()
            if never_meant or _USUAL_COMMAND.match(letter + text[at + 1 : at + 16]):
                made += [text[done:at], "\\", letter]
                done = at + 1
        return "".join([*made, text[done:]])

    def read(self, text: str, at: int, *, ended: bool) -> Read:
        """Read a run of plain characters and what ends it: an escape, a quote, or the end of the text so far."""
        run = self._run.match(text, at)
        if run is not None and run.end() > at:
            self._add(run.group())
            at = run.end()
        if at >= len(text):
            return Read(at, closed=UNDECIDED)
        if text[at] == "\\":
            return self._escape(text, at, ended=ended)
        closes = True if self._is_key else ends_string(text, at + 1, ended=ended, in_list=self._in_list)
        if closes is False:
            self._add(text[at])
        return Read(at if closes is UNDECIDED else at + 1, closed=closes)

    def take(self, text: str) -> bool:
        """Take a whole piece if nothing in it could end the string; return whether it was taken."""
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
        if not 0xD800 <= code <= 0xDFFF:  # noqa: PLR2004  (surrogates)
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
        """Read an escape of one letter; one unknown to JSON is kept as written."""
        if at + 1 >= len(text) or (text[at + 1] == "u" and _may_be_code(text[at:]) and not ended):
            return Read(len(text), closed=False) if ended else Read(at, closed=UNDECIDED)
        if not ended and _UNDECIDED_COMMAND.match(text, at):
            return Read(at, closed=UNDECIDED)
        if text[at + 1] == "u" and _may_be_code(text[at:]):
            return Read(len(text), closed=False)  # a character escape cut short
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
    r"""Whether `\u` and what follows, up to the end of the text, may become a character code."""
    return len(text) < _LONGEST_ESCAPE // 2 and all(char in "0123456789abcdefABCDEF" for char in text[2:])


def _may_be_low(text: str) -> bool:
    return "\\u"[: len(text)] == text[:2]


def ends_string(text: str, at: int, *, ended: bool, in_list: bool = False) -> bool | Undecided:
    """Whether the quote before `at` ends a value, that is, whether the text after it may follow a string.

    In a list that may be another string, because a comma was left out.

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
    breaks = "\n" in text[at:behind]
    if char not in QUOTES:
        return breaks and char == "#"
    return breaks or (in_list and behind > at) or _is_key(text, behind, ended=ended)


def _is_key(text: str, at: int, *, ended: bool) -> bool | Undecided:
    """Whether a key begins here, because a comma was left out before it."""
    if _KEY.match(text, at):
        return True
    short = len(text) - at < _LONGEST_KEY and "\n" not in text[at:]
    return UNDECIDED if short and not ended else False


def _starts_next(text: str, at: int, *, ended: bool) -> bool | Undecided:
    """Whether the text after a comma begins the next key or value."""
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


DEEPEST = 200
"""Maximum nesting of containers; the same limit as `jiter`."""

Container = dict[str, object] | list[object]

_OPENERS: dict[str, type[Container]] = {"{": dict, "｛": dict, "[": list, "［": list}
_CLOSERS: dict[str, type[Container]] = {"}": dict, "｝": dict, "]": list, "］": list}
_START = re.compile(r"[{\[｛［<]")
_OBJECT = re.compile(rf"\s*(?:[}}｝{QUOTES}]|[,，]\s*[{QUOTES}]|//|/\*|#|\w[\w-]*\s*[:：])")
_ARRAY = re.compile(rf"\s*[{{\[\-\d{QUOTES}]")
_MAYBE_OBJECT = re.compile(r"\s*(?:/|[,，]\s*|\w[\w-]*\s*)?$")
_THINK, _THOUGHT = "<think>", "</think>"
_BETWEEN = re.compile(r"[\s,，;；\ufeff]*")
_PLAIN_KEY = frozenset('"{}[]0123456789-tfn')  # the usual text between separators, for which `_BETWEEN` is not needed
_BARE = re.compile(r"(?:[^,，\]}］｝\n\r/#]|(?<=\S)[/#]|/(?![/*]))*")
_BARE_KEY = re.compile(r"[^:：,，\]}］｝{\[\n\r]*")
_NUMBER = re.compile(r"[+-]?(?:\d++\.?\d*+|\.\d++)(?:[eE][+-]?\d++)?")
_GROUP = re.compile(r"[,，]\s*\d[\d.]*")
_OPEN_GROUP = re.compile(r"[,，]\s*\d[\d.]*\s*$")
_OPEN_COMMA = re.compile(r"[,，]\s*$")
_COLON = re.compile(r"\s*[:：]")
_CONSTANTS: dict[str, object] = {
    "true": True, "false": False, "null": None, "none": None, "nil": None, "undefined": None,
    "nan": None, "infinity": None, "+infinity": None, "-infinity": None, "-nan": None, "inf": None, "-inf": None,
}  # fmt: skip
_LONGEST_BARE = 4096
_MOST_DIGITS = 4000  # Python refuses to convert more to a number


class TooDeepError(ValueError):
    """Containers are nested deeper than `DEEPEST`."""


class Unclosed:
    """A container that has not ended, with the key of its next value."""

    __slots__ = ("container", "is_object", "key")

    def __init__(self, container: Container) -> None:
        self.container = container
        self.is_object = isinstance(container, dict)
        self.key: str | None = None

    @property
    def wants_key(self) -> bool:
        """Whether a key comes next, not a value."""
        return self.is_object and self.key is None

    def put(self, value: object) -> str | None:
        """Add the next value; return its key if that already has a different value.

        Of a duplicate key the first value is kept, since what was shown must not change.
        """
        if isinstance(self.container, list):
            self.container.append(value)
            return None
        key, self.key = self.key, None
        if key is None:
            return None
        kept = self.container.setdefault(key, value)
        return None if kept is value or (type(kept) is type(value) and kept == value) else key


class JsonReader:
    """Collects the objects (and arrays, if wanted) in pieces of text.

    Attributes:
        values: the outermost values that have ended, in order.
        spans: start and end of each of them, in characters from the start of the text.
        twice: for each of them, its keys that occurred twice with different values.
        first: number of values before the last `</think>`, which are drafts.
        changes: grows with every change that `snapshot` would show.
        start: start of the last outermost value, in characters from the start of the text.
        truncated: whether the text ended inside a value (after `end`).
        mended: kinds of mistakes that were tolerated.
    """

    def __init__(self, *, arrays: bool = False) -> None:
        self.values: list[Container] = []
        self.spans: list[tuple[int, int]] = []
        self.twice: list[tuple[str, ...]] = []
        self.first = 0
        self._twice: list[str] = []
        self.changes = 0
        self.start = 0
        self.truncated = False
        self.mended: set[str] = set()
        self._starts = "{｛[［" if arrays else "{｛"
        self._stack: list[Unclosed] = []
        self._buffer = ""
        self._at = 0
        self._before = 0
        self._ended = False
        self._inside = False  # a string is open
        self._string = StringReader()
        self._long: list[str] = []  # pieces of a long value without quotes
        self._step: Callable[[], bool] = self._prose

    def feed(self, piece: str) -> None:
        """Add a piece of text.

        Raises:
            TooDeepError: the text nests deeper than `DEEPEST`.
        """
        at = self._at
        if at < len(self._buffer):
            piece = self._buffer[at:] + piece
        elif self._inside and self._string.take(piece):  # the common case
            self._before += len(piece)
            self.changes += not self._stack[-1].wants_key
            return
        self._before += at
        self._buffer, self._at = piece, 0
        while self._at < len(piece) and self._step():
            pass

    def end(self) -> None:
        """Treat the text as complete: decide what is undecided, and close what is open."""
        self._ended = True
        self.feed("")
        self.truncated = bool(self._stack)
        if self._step == self._in_string:
            self._end_string()
        if self._step == self._in_long_bare and self._long[-1] != self._long[-1].rstrip():
            self._put_long()
        while self._stack:
            self._close()

    # --- State ---

    @property
    def position(self) -> int:
        """Number of characters read."""
        return self._before + self._at

    def snapshot(self) -> Container | None:
        """Return the open outermost value as read so far, in containers that will not change; `None` outside of values.

        Takes time in proportion to the open containers and the open string: see `snapshot_cost`.
        """
        child: object = UNDECIDED
        if self._inside and not self._stack[-1].wants_key:
            child = self._string.so_far()
        for entry in reversed(self._stack):
            copy = entry.container.copy()
            if child is not UNDECIDED:
                if isinstance(copy, list):
                    copy.append(child)
                elif entry.key is not None:
                    copy.setdefault(entry.key, child)
            child = copy
        return child if isinstance(child, dict | list) else None

    @property
    def snapshot_cost(self) -> int:
        """Approximate number of bytes that `snapshot` copies."""
        cost = self._string.length
        for entry in self._stack:
            cost += 16 * len(entry.container) + 64
        return cost

    # --- Outside of values ---

    def _prose(self) -> bool:
        found = _START.search(self._buffer, self._at)
        if found is None:
            return self._skip(len(self._buffer))
        self._skip(found.start())
        if self._buffer[self._at] == "<":
            return self._perhaps_think()
        decided = self._starts_value()
        if decided is None:
            return False
        if not decided:
            return self._skip(self._at + 1)
        self.start = self.position
        return self._open()

    def _starts_value(self) -> bool | None:
        """Whether a bracket in prose begins a value; `None` if more text is needed to decide."""
        bracket, behind = self._buffer[self._at], self._at + 1
        if bracket not in self._starts:
            return False
        inside = _OBJECT if _OPENERS[bracket] is dict else _ARRAY
        if inside.match(self._buffer, behind):
            return True
        undecided = len(self._buffer) - behind < _LONGEST_BARE and _MAYBE_OBJECT.match(self._buffer, behind)
        if undecided:
            return True if self._ended and not self._buffer[behind:].strip() else (False if self._ended else None)
        return False

    def _perhaps_think(self) -> bool:
        ahead = self._buffer[self._at : self._at + len(_THOUGHT)]
        if ahead.startswith(_THINK):
            self._step = self._thinking
        elif ahead == _THOUGHT:
            self.first = len(self.values)  # the opening tag was left out: everything before is a draft
        elif (_THINK.startswith(ahead) or _THOUGHT.startswith(ahead)) and not self._ended:
            return False
        return self._skip(self._at + 1)

    def _thinking(self) -> bool:
        found = self._buffer.find(_THOUGHT, self._at)
        if found < 0:
            self._skip(max(self._at, len(self._buffer) - len(_THOUGHT) + 1))
            return False
        self._step = self._prose
        self.first = len(self.values)
        return self._skip(found + len(_THOUGHT))

    def _skip(self, to: int) -> bool:
        self._at = to
        return True

    # --- Inside of values, between strings ---

    def _between(self) -> bool:
        char = self._buffer[self._at]
        if char not in _PLAIN_KEY:
            found = _BETWEEN.match(self._buffer, self._at)
            if found is not None and found.end() > self._at:
                if self._stack[-1].key is not None and "," in found.group():
                    self._stack[-1].key = None  # a key without a value
                    self.mended.add("a key without a value")
                self._at = found.end()
                if self._at == len(self._buffer):
                    return True
                char = self._buffer[self._at]
        if char == '"':
            return self._begin_string(char)
        if char in "/#":
            return self._comment(char)
        if char in _CLOSERS:
            return self._close_until(_CLOSERS[char])
        return self._key(char) if self._stack[-1].wants_key else self._value(char)

    def _comment(self, char: str) -> bool:
        two = self._buffer[self._at : self._at + 2]
        if char == "/" and len(two) == 1 and not self._ended:
            return False
        self.mended.add("a comment")
        self._until = "*/" if two == "/*" else "\n"
        self._step = self._in_comment
        return True

    def _in_comment(self) -> bool:
        found = self._buffer.find(self._until, self._at)
        if found < 0:
            self._skip(max(self._at, len(self._buffer) - 1))
            return False
        self._step = self._between
        return self._skip(found + len(self._until))

    def _key(self, char: str) -> bool:
        if char in QUOTES:
            return self._begin_string(char)
        if char in ":：" or char in _OPENERS:
            self.mended.add("a value without a key")
            return self._skip(self._at + 1) if char in ":：" else self._open()
        found = _BARE_KEY.match(self._buffer, self._at)
        end = found.end() if found else self._at
        if end == len(self._buffer) and not self._ended:
            return self._too_long(end)
        self.mended.add("a key without quotes")
        if self._buffer[end : end + 1] in (":", "："):
            self._stack[-1].key = self._buffer[self._at : end].strip()
        return self._skip(max(end, self._at + 1))

    def _value(self, char: str) -> bool:
        if char in ":：=":
            return self._colon(char)
        if char in QUOTES:
            return self._begin_string(char)
        if char in _OPENERS:
            return self._open()
        end = self._end_of_bare(self._at)
        if end is None or (not self._ended and self._buffer[end:] in ("", "/")):
            return self._wait_for_bare(len(self._buffer) if end is None else end)
        word = self._buffer[self._at : end]
        if end == len(self._buffer) and word == word.rstrip():
            return self._skip(end)  # cut in the middle, so the value is unknown
        self._put_bare(word.strip())
        return self._skip(max(end, self._at + 1))

    def _colon(self, char: str) -> bool:
        """Skip a colon, or `=` or `=>` in its place."""
        if char != "=":
            if self._stack[-1].key is None:
                self.mended.add("a colon between values")
            return self._skip(self._at + 1)
        if self._at + 1 == len(self._buffer) and not self._ended:
            return False
        self.mended.add("another sign for a colon")
        return self._skip(self._at + (2 if self._buffer.startswith("=>", self._at) else 1))

    def _end_of_bare(self, at: int) -> int | None:
        """Return where a bare value ends; `None` if more text is needed to decide.

        In an object digits after a comma belong to the value (`1,234`): no key begins with a digit.
        """
        found = _BARE.match(self._buffer, at)
        end = found.end() if found else at
        if not self._stack[-1].is_object or end == at:
            return end
        while group := _GROUP.match(self._buffer, end):
            if not self._ended and _OPEN_GROUP.match(self._buffer, end):
                return None
            if _COLON.match(self._buffer, group.end()):
                break
            found = _BARE.match(self._buffer, group.end())
            end = found.end() if found else group.end()
        return None if not self._ended and _OPEN_COMMA.match(self._buffer, end) else end

    def _wait_for_bare(self, end: int) -> bool:
        if end - self._at < _LONGEST_BARE:
            return False
        self._long, self._step = [], self._in_long_bare
        return True

    def _in_long_bare(self) -> bool:
        """Continue a bare value that is longer than any number: each piece is scanned only once."""
        found = _BARE.match(self._buffer, self._at)
        end = found.end() if found else self._at
        self._long.append(self._buffer[self._at : end])
        self._skip(end)
        if end < len(self._buffer):
            self._put_long()
        return True

    def _put_long(self) -> None:
        word, self._long, self._step = "".join(self._long), [], self._between
        self._put_bare(word.strip())

    def _too_long(self, end: int) -> bool:
        """Wait for the end of a bare key up to a limit: every wait scans all of it again."""
        if end - self._at < _LONGEST_BARE:
            return False
        self.mended.add("an endless bare word")
        self._stack[-1].key = None
        return self._skip(end)

    def _put_bare(self, word: str) -> None:
        if not word.strip(".…") or word.startswith("```"):
            self.mended.add("an ellipsis")
            self._stack[-1].key = None
            return
        self._put(self._bare_value(word))

    def _bare_value(self, word: str) -> object:
        if word.lower() in _CONSTANTS:
            if word not in ("true", "false", "null"):
                self.mended.add("a constant of another language")
            return _CONSTANTS[word.lower()]
        if _NUMBER.fullmatch(word) and len(word) < _MOST_DIGITS:
            number = float(word) if set(word) & set(".eE") else int(word)
            if abs(number) != float("inf"):
                return number
        self.mended.add("text without quotes")
        return word

    def _put(self, value: object) -> None:
        self._add(value)
        self.changes += 1

    def _add(self, value: object) -> None:
        twice = self._stack[-1].put(value)
        if twice is not None:
            self._twice.append(twice)

    # --- Brackets ---

    def _open(self) -> bool:
        if len(self._stack) >= DEEPEST:
            raise TooDeepError(f"The text nests deeper than {DEEPEST} brackets")
        kind = _OPENERS[self._buffer[self._at]]
        if self._stack and self._stack[-1].wants_key:
            self._stack[-1].key = ""  # read, then discarded
        self._stack.append(Unclosed(kind()))
        self.changes += 1
        self._step = self._between
        return self._skip(self._at + 1)

    def _close_until(self, kind: type[Container]) -> bool:
        """Close the nearest container of this kind and everything in it; ignore a bracket that matches none."""
        self._skip(self._at + 1)
        if not any(isinstance(entry.container, kind) for entry in self._stack):
            self.mended.add("a bracket too many")
            return True
        while not isinstance(self._stack[-1].container, kind):
            self.mended.add("a bracket too few")
            self._close()
        self._close()
        return True

    def _close(self) -> None:
        closed = self._stack.pop().container
        if not self._stack:
            self.values.append(closed)
            self.spans.append((self.start, self.position))
            self.twice.append(tuple(dict.fromkeys(self._twice)))
            self._twice = []
            self._step = self._prose
        elif self._stack[-1].key == "":
            self._stack[-1].key = None
        else:
            self._add(closed)

    # --- Strings ---

    def _begin_string(self, quote: str) -> bool:
        if quote != '"':
            self.mended.add("other quotes")
        is_key = self._stack[-1].wants_key
        self._string.begin(quote, is_key=is_key, in_list=not self._stack[-1].is_object)
        self.changes += not is_key
        self._step, self._inside = self._in_string, True
        return self._skip(self._at + 1)

    def _in_string(self) -> bool:
        before = self._string.length
        read = self._string.read(self._buffer, self._at, ended=self._ended)
        self._at = read.to
        if self._string.length > before and not self._stack[-1].wants_key:
            self.changes += 1
        if read.closed is True:
            self._end_string()
            self._step, self._inside = self._between, False
        return read.closed is not UNDECIDED

    def _end_string(self) -> None:
        text, entry = self._string.so_far(), self._stack[-1]
        self._string.clear()
        if not entry.wants_key:
            self._add(text)
        elif self._step == self._in_string and not self.truncated:
            entry.key = text
