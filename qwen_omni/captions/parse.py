"""The text of an answer → a validated caption, whole or while it comes. Pure.

Nothing is invented: what the text does not hold is not in the caption, and a required field that is missing is
an error. Of several objects in a text the first that has a field of the schema is the answer; a wrapper around it
(`{"result": {…}}`) is taken off. If that one breaks the schema and nothing of it was shown, later ones are tried.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import jiter

from qwen_omni.captions.reader import Container, JsonReader, TooDeepError
from qwen_omni.captions.schema import CaptionSchema, MismatchError
from qwen_omni.errors import CaptionSyntaxError

_COPY_PER_CHARACTER = 512
_COPY_AT_FIRST = 65_536
_HUGE = re.compile(r"\d[eE]\+?\d{3}|\d{300}")
_FENCES = ("```json", "```JSON", "```")
_DEEPEST_WRAPPER = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Parsed:
    """A caption, and how it was read.

    Attributes:
        value: as the schema has it: an instance of a pydantic class, else a dictionary.
        truncated: the text ended before the JSON did. What is there is there; the last text may be cut short.
        mended: kinds of mistakes that were read over, sorted.
    """

    value: Any
    truncated: bool = False
    mended: tuple[str, ...] = ()


def parse_caption(text: str, schema: CaptionSchema, *, facts: Mapping[str, Any] | None = None) -> Parsed:
    r"""Read a caption out of a model's answer.

    Args:
        text: the whole answer.
        schema: what it must look like.
        facts: what validators may want to know, e.g. `{"duration": 60.0}`.

    Raises:
        CaptionSyntaxError: there is no JSON in it, or it breaks the schema.

    Example:
        >>> from qwen_omni.captions.models import VideoCaption
        >>> from qwen_omni.captions.schema import read_schema
        >>> schema = read_schema({"type": "object", "properties": {"tent": {"type": "string"}}, "required": ["tent"]})
        >>> parse_caption("Sure! ```json\n{'tent': 'green',}\n```", schema).value
        {'tent': 'green'}
    """
    exact = _exact(text, schema)
    if exact is not None:
        try:
            return Parsed(value=schema.check(exact, facts or {}))
        except MismatchError as error:
            raise _wrong(error, text, exact, 1) from error
    stream = CaptionStream(schema, facts=facts, shows=False)
    stream.feed(text)
    return stream.end()


def _exact(text: str, schema: CaptionSchema) -> Container | None:
    """Read correct JSON that is the whole answer, a fence around it aside; `None` if it is anything else."""
    bare = _unfenced(text.strip().lstrip("\ufeff"))
    for _ in range(2):
        if _HUGE.search(bare):
            return None  # jiter would make infinity of it, which JSON has not
        try:
            value = jiter.from_json(
                bare.encode("utf-8", "surrogatepass"), allow_inf_nan=False, catch_duplicate_keys=True
            )
        except ValueError:
            return None
        if not isinstance(value, str):
            break
        bare = value  # JSON inside a JSON string
    if not isinstance(value, dict | list):
        return None
    return accepted(value, schema)


def _unfenced(text: str) -> str:
    for fence in _FENCES:
        if text.startswith(fence) and text.endswith("```"):
            return text[len(fence) : -3]
    return text


def accepted(value: object, schema: CaptionSchema, *, ended: bool = True) -> Container | None:
    """Give the value itself if it may be the answer, or what it is wrapped around; `None` if there is none.

    A value that has not ended is only taken for itself: whether it is a wrapper shows at its end.
    """
    wraps: object = value
    for _ in range(_DEEPEST_WRAPPER):
        if _fits(wraps, schema):
            return wraps if isinstance(wraps, dict | list) else None
        if not ended:
            return None
        inner = list(wraps.values()) if isinstance(wraps, dict) else wraps
        if not isinstance(inner, list) or len(inner) != 1:
            return None
        wraps = inner[0]
    return None


def _fits(value: object, schema: CaptionSchema) -> bool:
    if isinstance(value, list):
        return schema.arrays and bool(value) and isinstance(value[0], dict)
    return isinstance(value, dict) and (not schema.fields or not schema.fields.isdisjoint(value))


class CaptionStream:
    """Fed the pieces of an answer, gives what is known of the caption so far, and at the end the caption.

    Each partial is a dictionary that the final one continues: texts only grow, lists only get longer, numbers come
    when they are complete. Reading costs the length of the text, once. Giving out a partial means copying what is
    open, so partials of very long texts come less often than pieces do (copying never exceeds a fixed number of bytes
    for each character), and pieces between two partials are read at once.
    """

    def __init__(self, schema: CaptionSchema, *, facts: Mapping[str, Any] | None = None, shows: bool = True) -> None:
        """Make one for one answer; without `shows` no partials are made, and later objects may still be the answer."""
        self._schema = schema
        self._facts = facts or {}
        self._shows = shows
        self._reader = JsonReader(arrays=schema.arrays)
        self._pieces: list[str] = []
        self._taken = 0  # how many of them the reader has read
        self._seen = 0
        self._budget = _COPY_AT_FIRST
        self._cost = 0  # of the next partial, as far as is known
        self._shown: int | None = None  # which of the reader's values the partials come from
        self._rejected = 0  # how many of the reader's values are not the answer
        self._complete = False  # all of the answer has been shown

    @property
    def text(self) -> str:
        """Everything that was fed."""
        return "".join(self._pieces)

    def feed(self, piece: str) -> dict[str, Any] | list[Any] | None:
        """Read on; give the new partial, or `None` if there is nothing new to show.

        Raises:
            CaptionSyntaxError: brackets lie too deep inside each other.
        """
        self._pieces.append(piece)
        self._budget += _COPY_PER_CHARACTER * len(piece)
        if self._budget < self._cost or self._complete:
            return None  # nothing could be shown now, so this piece is read together with the next ones
        self._read_on()
        return self._partial() if self._shows else None

    def _read_on(self) -> None:
        waiting = self._pieces[self._taken :]
        self._taken = len(self._pieces)
        try:
            self._reader.feed(waiting[0] if len(waiting) == 1 else "".join(waiting))
        except TooDeepError as error:
            line = self._line(self._reader.position)
            raise CaptionSyntaxError(f"{error} at line {line}.", line=line, text=self.text, kept=None) from error

    def _partial(self) -> Container | None:
        reader = self._reader
        ended = self._shown is None and len(reader.values) > self._rejected  # a wrapper shows what it holds at its end
        if reader.changes == self._seen and not ended:
            return None
        self._cost = reader.snapshot_cost
        if self._budget < self._cost:
            return None
        self._seen = reader.changes
        partial = self._ended_value() if len(reader.values) > self._rejected else None
        return partial or self._open_value()

    def _ended_value(self) -> Container | None:
        """Give the first value that has ended and is the answer; what is none is never looked at again."""
        values = self._reader.values
        while self._rejected < len(values):
            found = accepted(values[self._rejected], self._schema)
            if found is not None:
                self._shown, self._complete = self._rejected, True
                return found
            self._rejected += 1
        return None

    def _open_value(self) -> Container | None:
        self._budget -= self._cost
        value = self._reader.snapshot()
        if self._shown is not None:
            return value  # it was the answer before it had come so far
        found = None if value is None else accepted(value, self._schema, ended=False)
        if found is not None:
            self._shown = len(self._reader.values)
        return found

    def end(self) -> Parsed:
        """Take the answer as complete, and check it.

        Raises:
            CaptionSyntaxError: there is no JSON, or it breaks the schema.
        """
        reader = self._reader
        self._read_on()
        reader.end()
        first: CaptionSyntaxError | None = None
        for value in self._candidates():
            try:
                checked = self._schema.check(value, self._facts)
            except MismatchError as error:
                first = first or _wrong(error, self.text, value, self._line(reader.start), truncated=reader.truncated)
                continue
            last = bool(reader.values) and accepted(reader.values[-1], self._schema) is value
            return Parsed(value=checked, truncated=reader.truncated and last, mended=tuple(sorted(reader.mended)))
        raise first or self._nothing()

    def _quoted(self) -> Iterator[Container]:
        """Find JSON inside a JSON string, which only the whole text can show."""
        exact = _exact(self.text, self._schema) if self.text.lstrip()[:1] == '"' else None
        if exact is not None:
            yield exact

    def _candidates(self) -> Iterator[Container]:
        values = self._reader.values
        if self._shown is not None:
            found = accepted(values[self._shown], self._schema)
            yield found if found is not None else values[self._shown]
            return
        fitting = [found for value in values if (found := accepted(value, self._schema)) is not None]
        yield from fitting or values or self._quoted()

    def _line(self, position: int) -> int:
        return self.text.count("\n", 0, position) + 1

    def _nothing(self) -> CaptionSyntaxError:
        text = self.text
        told = " ".join(text.replace("\ufeff", "").split())[:80]
        if not told:
            return CaptionSyntaxError(
                "The answer is empty. Ask again.", line=1, text=text, problems=("the answer: is empty",)
            )
        return CaptionSyntaxError(
            f"The answer holds no JSON: it has {len(text):,} characters and begins {told!r}. "
            "Ask again, with the schema in the prompt.",
            line=self._line(self._reader.position),
            text=text,
            problems=("the answer: holds no JSON",),
        )


def _wrong(
    error: MismatchError, text: str, kept: Container, start: int, *, truncated: bool = False
) -> CaptionSyntaxError:
    line = _line_of(error.key, text, start)
    cut = " The text ends in the middle of the JSON; a larger max_tokens may help." if truncated else ""
    more = len(error.problems) - 1
    told = f"{error.problems[0]}{f' (and {more} more)' if more else ''}"
    return CaptionSyntaxError(
        f"The answer does not follow its schema, near line {line}: {told}.{cut}",
        line=line,
        text=text,
        kept=kept,
        problems=tuple(error.problems),
    )


def _line_of(key: str | None, text: str, start: int) -> int:
    at = text.find(f'"{key}"') if key else -1
    return text.count("\n", 0, at) + 1 if at >= 0 else start
