"""Read JSON as models write it, piece by piece, with prose around it and mistakes in it. Pure.

`jiter` reads correct JSON, and `parse` asks it first. This reader is for what it lacks: it goes on where it stopped
when more text comes (a parser that starts anew at every delta costs the square of the length), and it takes
comments, single and Chinese quotes, stray and missing commas, bare words, Python's and JavaScript's constants,
mismatched brackets and a missing end. It never makes up a value: a key without one is left out. `strings` is
its other half: where a string ends.
"""

import re
from typing import TYPE_CHECKING

from qwen_omni.captions import strings
from qwen_omni.captions.strings import UNDECIDED

if TYPE_CHECKING:
    from collections.abc import Callable

DEEPEST = 200
"""Containers inside each other, at most; `jiter` has the same limit."""

Container = dict[str, object] | list[object]

_OPENERS: dict[str, type[Container]] = {"{": dict, "｛": dict, "[": list, "［": list}
_CLOSERS: dict[str, type[Container]] = {"}": dict, "｝": dict, "]": list, "］": list}
_START = re.compile(r"[{\[｛［<]")
_OBJECT = re.compile(rf"\s*(?:[}}｝{strings.QUOTES}]|[,，]\s*[{strings.QUOTES}]|//|/\*|#|\w[\w-]*\s*[:：])")
_ARRAY = re.compile(rf"\s*[{{\[\-\d{strings.QUOTES}]")
_MAYBE_OBJECT = re.compile(r"\s*(?:/|[,，]\s*|\w[\w-]*\s*)?$")
_THINK, _THOUGHT = "<think>", "</think>"
_BETWEEN = re.compile(r"[\s,，;；\ufeff]*")
_PLAIN = frozenset('"{}[]0123456789-tfn')  # what mostly stands between separators; `_BETWEEN` need not look for more
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
_MOST_DIGITS = 4000  # Python refuses to turn more into a number


class TooDeepError(ValueError):
    """Containers lie deeper inside each other than `DEEPEST`."""


class Unclosed:
    """A container that has not ended, with the key whose value comes next."""

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
        """Add the next value; return the key if it is there already, with another value.

        Of a key that comes twice the first value stays, since what was shown does not change.
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
    """Fed pieces of text, gathers the objects (and arrays, if wanted) that stand in it.

    Attributes:
        values: the outermost values that have ended, in order.
        spans: where each of them begins and ends, in characters from the beginning of the text.
        twice: for each of them, the keys inside it that came twice with different values.
        first: the number of values that stood before the last `</think>`: drafts.
        changes: grows with everything that `snapshot` would show.
        start: where the last outermost value began, in characters from the beginning of the text.
        truncated: the text ended inside a value (after `end`).
        mended: kinds of mistakes that were read over.
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
        self._inside = False  # of a string
        self._string = strings.StringReader()
        self._long: list[str] = []  # pieces of a long value without quotes
        self._step: Callable[[], bool] = self._prose

    def feed(self, piece: str) -> None:
        """Read on.

        Raises:
            TooDeepError: the text nests deeper than `DEEPEST`.
        """
        at = self._at
        if at < len(self._buffer):
            piece = self._buffer[at:] + piece
        elif self._inside and self._string.take(piece):  # most pieces of a text
            self._before += len(piece)
            self.changes += not self._stack[-1].wants_key
            return
        self._before += at
        self._buffer, self._at = piece, 0
        while self._at < len(piece) and self._step():
            pass

    def end(self) -> None:
        """Take the text as complete: decide what was waiting, and close what is open."""
        self._ended = True
        self.feed("")
        self.truncated = bool(self._stack)
        if self._step == self._in_string:
            self._end_string()
        if self._step == self._in_long_bare and self._long[-1] != self._long[-1].rstrip():
            self._put_long()
        while self._stack:
            self._close()

    # --- What is being read ---

    @property
    def position(self) -> int:
        """How many characters have been read."""
        return self._before + self._at

    def snapshot(self) -> Container | None:
        """Return the open outermost value as far as it has come, in containers that will not change; `None` outside.

        Costs the length of the open containers and of the open string: see `snapshot_cost`.
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
        """About how many bytes `snapshot` copies."""
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
        """Tell whether a bracket in prose begins a value; `None` if more text must tell."""
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
            self.first = len(self.values)  # the opening tag was left out: what stood before is a draft
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
        if char not in _PLAIN:
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
        if char in strings.QUOTES:
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
        if char in ":：":
            if self._stack[-1].key is None:
                self.mended.add("a colon between values")
            return self._skip(self._at + 1)
        if char in strings.QUOTES:
            return self._begin_string(char)
        if char in _OPENERS:
            return self._open()
        end = self._end_of_bare(self._at)
        if end is None or (not self._ended and self._buffer[end:] in ("", "/")):
            return self._wait_for_bare(len(self._buffer) if end is None else end)
        word = self._buffer[self._at : end]
        if end == len(self._buffer) and word == word.rstrip():
            return self._skip(end)  # cut in the middle: nobody knows how it would have gone on
        self._put_bare(word.strip())
        return self._skip(max(end, self._at + 1))

    def _end_of_bare(self, at: int) -> int | None:
        """Find where a bare value ends; `None` if more text must tell.

        In an object digits behind a comma belong to the value (`1,234`): no key begins with them.
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
        """Read on in a bare value that is longer than any number: looked at once, however many pieces it comes in."""
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
        """Wait for the end of a bare key, but not for ever: waiting costs a look at all of it every time."""
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
            self._stack[-1].key = ""  # read, then thrown away
        self._stack.append(Unclosed(kind()))
        self.changes += 1
        self._step = self._between
        return self._skip(self._at + 1)

    def _close_until(self, kind: type[Container]) -> bool:
        """Close the nearest container of this kind, and what is open inside it; ignore a bracket that fits none."""
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
        self._string.begin(quote, is_key=is_key)
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
