"""The text of an answer → a validated caption, complete or while it arrives. Pure.

Nothing is invented: what the text does not hold is not in the caption, and a missing required field is an error.
Models write examples and drafts before their answer, so the answer is, in this order: the whole text if that is JSON;
what follows the last `</think>`; the last object in a code fence that satisfies the schema; the last object that does.
A wrapper around it (`{"result": {…}}`) is removed. A text that ends inside an object is truncated, whatever comes
before it. Where nothing of that is the answer, and its schema reads them, the text forms of `forms` are.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jiter

from qwen_omni.errors import CaptionSyntaxError
from qwen_omni.structured.json_reader import LATEX, Container, JsonReader, TooDeepError
from qwen_omni.structured.schema import CaptionSchema, MismatchError, TextForm

_COPY_PER_CHARACTER = 512
_COPY_AT_FIRST = 65_536
_FORM_COST = 64  # of reading one character of a text form again, in bytes copied
_HUGE = re.compile(r"\d[eE]\+?\d{3}|\d{300}")
_FENCES = ("```json", "```JSON", "```")
_FENCE = re.compile(r"```+|~~~+")
_LEAD = re.compile(r"```+\w*|~~~+\w*|\ufeff")
_THOUGHT = "</think>"
_PLACEHOLDER = re.compile(r"\s*(?:\.{2,}|…|<[^<>]*>)\s*")
_HALVES = re.compile("[\ud800-\udfff]")
_DEEPEST_WRAPPER = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Parsed:
    """A caption, and how it was read.

    Attributes:
        value: as the schema defines it: an instance of a pydantic class, else a dictionary.
        truncated: whether the text ended before the JSON did; the last text may be incomplete.
        mended: kinds of mistakes that were tolerated, sorted.
        read: the parsed JSON, as plain values.
    """

    value: Any
    read: Any = None
    truncated: bool = False
    mended: tuple[str, ...] = ()


def parse_caption(text: str, schema: CaptionSchema, *, facts: Mapping[str, Any] | None = None) -> Parsed:
    r"""Parse the caption in a model's answer.

    Args:
        text: the complete answer.
        schema: the schema of the answer.
        facts: context for validators, e.g. `{"duration": 60.0}`.

    Raises:
        CaptionSyntaxError: it holds no JSON, or JSON that violates the schema.

    Example:
        >>> from qwen_omni.structured.models import VideoCaption
        >>> from qwen_omni.structured.schema import read_schema
        >>> schema = read_schema({"type": "object", "properties": {"tent": {"type": "string"}}, "required": ["tent"]})
        >>> parse_caption("Sure! ```json\n{'tent': 'green',}\n```", schema).value
        {'tent': 'green'}
    """
    stream = CaptionStream(schema, facts=facts, shows=False)
    stream.feed(text)
    return stream.end()


def _exact(text: str, schema: CaptionSchema) -> Container | None:
    """Parse correct JSON that is the whole answer, possibly in a fence; `None` if it is anything else."""
    bare = _unfenced(text.strip().lstrip("\ufeff"))
    for _ in range(2):
        if _HUGE.search(bare) or LATEX.search(bare):
            return None  # jiter would read the one as infinity and the other as control characters
        try:
            value = jiter.from_json(
                bare.encode("utf-8", "surrogatepass"), allow_inf_nan=False, catch_duplicate_keys=True
            )
        except ValueError:
            return None
        if value == [] and schema.arrays:
            return []
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
    """Return the value itself if it may be the answer, or what it wraps; `None` if neither.

    A value that has not ended is only returned itself: whether it is a wrapper is known at its end.
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


def whole_characters(text: str) -> str:
    """Replace lone surrogates, which no JSON and no file can hold."""
    return _HALVES.sub("\ufffd", text)


class CaptionStream:
    """Turns the pieces of an answer into partial captions and, at the end, the caption.

    Each partial is a dictionary that the next one continues: texts only grow, lists only get longer, numbers appear
    when they are complete. An object after prose may be an example or a draft, so partials come from an object that
    begins the answer or a code fence; if the model writes another answer after it nevertheless, the final caption is
    that one, as for a complete text.

    Parsing takes time in proportion to the text, once. A partial copies everything that is open, so partials of very
    long texts come less often than pieces do (copying never exceeds a fixed number of bytes per character), and pieces
    between two partials are parsed together.
    """

    def __init__(self, schema: CaptionSchema, *, facts: Mapping[str, Any] | None = None, shows: bool = True) -> None:
        """Prepare for one answer; without `shows` no partials are made, and later objects may still be the answer."""
        self._schema = schema
        self._facts = facts or {}
        self._shows = shows
        self._started: JsonReader | None = None
        self._pieces: list[str] = []
        self._taken = 0  # how many of them the reader has consumed
        self._seen = 0
        self._budget = _COPY_AT_FIRST
        self._cost = 0  # estimated cost of the next partial
        self._shown: int | None = None  # the reader's value that partials come from
        self._rejected = 0  # number of the reader's values that are not the answer
        self._complete = False  # the whole answer has been shown
        self._form_shown: dict[str, Any] | None = None

    @property
    def _reader(self) -> JsonReader:
        # Not needed for a whole answer that is correct JSON. A cached property would slow down all other attributes.
        if self._started is None:
            self._started = JsonReader(arrays=self._schema.arrays)
        return self._started

    @property
    def text(self) -> str:
        """Everything that was fed."""
        return "".join(self._pieces)

    def feed(self, piece: str) -> dict[str, Any] | list[Any] | None:
        """Add a piece; return the new partial, or `None` if there is nothing new to show.

        Raises:
            CaptionSyntaxError: brackets are nested too deeply.
        """
        self._pieces.append(whole_characters(piece))
        self._budget += _COPY_PER_CHARACTER * len(piece)
        if not self._shows or self._budget < self._cost or self._complete:
            return None  # nothing can be shown yet, so this piece is parsed together with the next ones
        self._read_on()
        partial = self._partial()
        return self._form_partial() if partial is None and self._schema.of_form is not None else partial

    def _form_partial(self) -> dict[str, Any] | None:
        """Return the partial of an answer in a text form, unless JSON was shown or may be open."""
        cost = _FORM_COST * sum(map(len, self._pieces))
        if self._shown is not None or self._budget < cost or self._schema.of_form is None:
            self._cost = max(self._cost, cost) if self._shown is None else self._cost
            return None
        self._budget -= cost
        form = _read_form(self.text, ended=False)
        if form is None or self._reader.snapshot() is not None:
            return None
        partial = self._schema.of_form(form)
        if partial == self._form_shown:
            return None
        self._form_shown = partial
        return partial

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
        self._rejected = max(self._rejected, reader.first)
        ended = self._shown is None and len(reader.values) > self._rejected  # a wrapper shows its content at its end
        if reader.changes == self._seen and not ended:
            return None
        self._cost = reader.snapshot_cost
        if self._budget < self._cost:
            return None
        self._seen = reader.changes
        partial = self._ended_value() if len(reader.values) > self._rejected else None
        return partial or self._open_value()

    def _ended_value(self) -> Container | None:
        """Return the first value that has ended and may be shown; the others are not examined again."""
        values = self._reader.values
        while self._rejected < len(values):
            found = accepted(values[self._rejected], self._schema)
            if found is not None and self._begins_answer(self._rejected):
                self._shown, self._complete = self._rejected, True
                return found
            self._rejected += 1
        return None

    def _open_value(self) -> Container | None:
        self._budget -= self._cost
        value = self._reader.snapshot()
        if self._shown is not None:
            return value  # it was already accepted when it was shorter
        found = None if value is None else accepted(value, self._schema, ended=False)
        if found is None or not self._begins_answer(len(self._reader.values)):
            return None
        self._shown = len(self._reader.values)
        return found

    def _begins_answer(self, index: int) -> bool:
        """Whether a value is in a code fence, or at the beginning of the answer."""
        text, spans = self.text, self._reader.spans
        start = spans[index][0] if index < len(spans) else self._reader.start
        return _in_fence(text, spans[:index], start) or not _LEAD.sub("", text[:start].rpartition(_THOUGHT)[2]).strip()

    def end(self) -> Parsed:
        """Treat the answer as complete, and validate it.

        Raises:
            CaptionSyntaxError: it holds no JSON, or JSON that violates the schema.
        """
        exact = _exact(self.text, self._schema)
        if exact is not None:
            try:
                return Parsed(value=self._schema.check(exact, self._facts), read=exact)
            except MismatchError as error:
                raise _wrong(error, self.text, exact, 1) from error
        self._read_on()
        self._reader.end()
        text, reader, offset = self.text, self._reader, 0
        if _THOUGHT in text:
            # An unclosed draft in the reasoning would swallow the answer after it.
            tail = text.rpartition(_THOUGHT)[2]
            behind = _read(tail, self._schema)
            if behind is not None and any(accepted(value, self._schema) for value in behind.values):
                text, reader, offset = tail, behind, text.count("\n", 0, len(text) - len(tail))
        parsed = None if _holds_answer(reader, self._schema) else self._end_form()
        if parsed is not None:
            return parsed
        first: CaptionSyntaxError | None = None
        for one in _candidates(text, reader, self._schema):
            try:
                checked = self._schema.check(one.value, self._facts)
                _check_alone(one, text, reader, self._schema)
            except MismatchError as error:
                line = offset + text.count("\n", 0, one.start) + 1
                first = first or _wrong(error, self.text, one.value, line, truncated=one.cut)
                continue
            return Parsed(value=checked, read=one.value, truncated=one.cut, mended=tuple(sorted(reader.mended)))
        raise first or self._nothing()

    def _end_form(self) -> Parsed | None:
        """Read and validate an answer in a text form; `None` if it is not in one.

        Raises:
            CaptionSyntaxError: it violates the schema, or lacks what the form requires.
        """
        form = None if self._schema.of_form is None else _read_form(self.text)
        if form is None or self._schema.of_form is None:
            return None
        value = self._schema.of_form(form)
        try:
            checked = self._schema.check_form(form, value, self._facts)
        except MismatchError as error:
            raise _wrong(error, self.text, value, 1, truncated=form.truncated) from error
        return Parsed(value=checked, read=value, truncated=form.truncated)

    def _line(self, position: int) -> int:
        return self.text.count("\n", 0, position) + 1

    def _nothing(self) -> CaptionSyntaxError:
        text = self.text
        begins = " ".join(text.replace("\ufeff", "").split())[:80]
        if not begins:
            return CaptionSyntaxError(
                "The answer is empty. Ask again.", line=1, text=text, problems=("the answer: is empty",)
            )
        return CaptionSyntaxError(
            f"The answer holds no JSON: it has {len(text):,} characters and begins {begins!r}. "
            "Ask again, with the schema in the prompt.",
            line=self._line(self._reader.position),
            text=text,
            problems=(f"the answer: holds no JSON{'' if self._schema.of_form is None else ' and no text with times'}",),
        )


def _read_form(text: str, *, ended: bool = True) -> TextForm | None:
    from qwen_omni.structured.forms import read_form  # noqa: PLC0415 - few answers are text; its patterns take time

    return read_form(text, ended=ended)


@dataclass(frozen=True, slots=True)
class _Candidate:
    """A value that may be the answer: its position, and whether the text ended inside it."""

    value: Container
    start: int = 0
    index: int | None = None
    cut: bool = False


def _holds_answer(reader: JsonReader, schema: CaptionSchema) -> bool:
    """Whether a value of the text may be the answer, valid or not."""
    return any(accepted(value, schema) is not None for value in reader.values[reader.first :])


def _read(text: str, schema: CaptionSchema) -> JsonReader | None:
    reader = JsonReader(arrays=schema.arrays)
    try:
        reader.feed(text)
        reader.end()
    except TooDeepError:
        return None
    return reader


def _candidates(text: str, reader: JsonReader, schema: CaptionSchema) -> Iterator[_Candidate]:
    """Yield the values that may be the answer, the most likely first."""
    values = reader.values
    if reader.truncated:
        last = len(values) - 1
        found = accepted(values[last], schema)
        yield _Candidate(values[last] if found is None else found, reader.spans[last][0], last, cut=True)
        return
    known = range(reader.first, len(values))
    fitting = [
        _Candidate(found, reader.spans[index][0], index)
        for index in known
        if (found := accepted(values[index], schema)) is not None
    ]
    if fitting:
        fences = {one.index: _in_fence(text, reader.spans[: one.index], one.start) for one in fitting}
        yield from sorted(fitting, key=lambda one: (_is_example(one.value), not fences[one.index], -(one.index or 0)))
    elif known:
        yield from (_Candidate(values[index], reader.spans[index][0]) for index in reversed(known))
    else:
        # JSON inside a JSON string, which only the complete text can reveal.
        exact = _exact(text, schema) if text.lstrip()[:1] == '"' else None
        yield from () if exact is None else (_Candidate(exact),)


def _is_example(value: Container) -> bool:
    """Whether all texts of an object are placeholders (`"..."`, `"<place>"`), as where a model explains its format."""
    texts = [one for one in value.values() if isinstance(one, str)] if isinstance(value, dict) else []
    return bool(texts) and all(_PLACEHOLDER.fullmatch(one) for one in texts)


def _check_alone(one: _Candidate, text: str, reader: JsonReader, schema: CaptionSchema) -> None:
    """Reject a value that is not the whole answer, or contradicts itself.

    Raises:
        MismatchError: another object holds other fields, it is one of a list, or a key of it has two different values.
    """
    if one.index is None:
        return
    if reader.twice[one.index]:
        key = reader.twice[one.index][0]
        raise MismatchError([f"{key}: stands there twice, with different values"], key)
    if one.cut or not isinstance(one.value, dict):
        return
    mine = schema.fields & one.value.keys()
    for index, value in enumerate(reader.values):
        other = accepted(value, schema) if index >= reader.first and index != one.index else None
        theirs = schema.fields & other.keys() if isinstance(other, dict) else set()
        if theirs and other != one.value and abs(index - one.index) == 1 and _is_listed(text, reader, index, one.index):
            raise MismatchError(["the answer: is a list of several objects, where one is expected"], None)
        if theirs and not theirs & mine:
            names = ", ".join(sorted(theirs))
            raise MismatchError([f"the answer: is divided; {names} stands in an object of its own"], min(theirs))


def _is_listed(text: str, reader: JsonReader, index: int, other: int) -> bool:
    """Whether two neighbours are entries of one list."""
    first, second = sorted((index, other))
    return text[reader.spans[first][1] : reader.spans[second][0]].strip() == ","


def _in_fence(text: str, before: Sequence[tuple[int, int]], start: int) -> bool:
    """Whether a code fence is open at `start`; fences inside earlier values do not count."""
    fences, at = 0, 0
    for first, last in (*before, (start, start)):
        fences += sum(1 for _ in _FENCE.finditer(text, at, first))
        at = last
    return fences % 2 == 1


def _wrong(
    error: MismatchError, text: str, kept: Container, start: int, *, truncated: bool = False
) -> CaptionSyntaxError:
    line = _line_of(error.key, text, start)
    cut = " The text ends in the middle of the JSON; a larger max_tokens may help." if truncated else ""
    more = len(error.problems) - 1
    problem = error.problems[0].removesuffix(".") + (f" (and {more} more)" if more else "")
    return CaptionSyntaxError(
        f"The answer does not follow its schema, near line {line}: {problem}.{cut}",
        line=line,
        text=text,
        kept=kept,
        problems=tuple(error.problems),
        truncated=truncated,
    )


def _line_of(key: str | None, text: str, start: int) -> int:
    at = text.find(f'"{key}"') if key else -1
    return text.count("\n", 0, at) + 1 if at >= 0 else start
