"""A caller's schema, in any notation → its JSON schema, its check, and the words in which models are asked. Pure.

Three notations: a pydantic model (answers are instances of it), a `TypedDict` and a JSON schema (answers are
dictionaries). Validation is left to pydantic and to `jsonschema`; neither fills in missing values, beyond the defaults
that the schema's author wrote.

`check` is the one boundary between model output and the program: whatever a value is (a `null` where a field has a
default, a number of 400 digits, a type that a validator did not expect), the result follows the schema or is a
`MismatchError`.

`ask` decides where the words go in a conversation. The prompts of long videos are in `video/schemas`.
"""

import abc
import contextlib
import inspect
import json
import math
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import GenericAlias, UnionType
from typing import Annotated, Any, ClassVar, Literal, Union, get_args, get_origin, get_type_hints

import typing_extensions
from pydantic import (
    BaseModel,
    ConfigDict,
    PydanticSchemaGenerationError,
    PydanticUserError,
    TypeAdapter,
    ValidationError,
)
from pydantic_core import to_json

from qwen_omni.errors import CaptionSyntaxError, ConfigurationError

SchemaLike = type[Any] | Mapping[str, Any]
"""A pydantic model, a `TypedDict`, or a JSON schema."""

_MOST_PROBLEMS = 10  # problems reported at once
_MOST_LISTED = 5  # of them in a request to correct an answer
_LONGEST_PROBLEM = 300  # characters; validators quote values of any length
_FOREIGN = (ArithmeticError, AssertionError, AttributeError, LookupError, RecursionError, TypeError, ValueError)
"""Exceptions that foreign code raises for a value it did not expect."""
# Possessive: two adjacent repeats of digits would otherwise try every way to split them.
_ENDLESS = re.compile(r"\s*+[+-]?(?:inf(?:inity)?|nan|[\d._]*+e\+?[\d_]{3,}+|\d{300,}+[\d._]*+)\s*+", re.IGNORECASE)
_LARGEST = 2**1023
_SCALAR = (str, int, float, type(None))
_MOST_REFERENCES = 50


def first_paragraph(schema: dict[str, Any]) -> None:
    """Shorten a model's description to its first paragraph: models bill by the word."""
    schema["description"] = schema.get("description", "").partition("\n\n")[0]


class Frozen(BaseModel):
    """A value that cannot be changed."""

    model_config = ConfigDict(frozen=True)


class Shown(Frozen):
    """A value that notebooks show as a card."""

    def _repr_html_(self) -> str:
        from qwen_omni.structured.cards import value_card  # noqa: PLC0415 - only notebooks need it

        return value_card(self).to_html()


FormSection = Literal["events", "on_screen_text", "speech"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TextForm:
    """An answer that is text with times in place of JSON, as `forms` reads it; times are as the model wrote them.

    Attributes:
        untimed: paragraphs without times: an overview, a closing.
        entries: what has times, in the order of the text: its section, and `start`, `end`, `speaker` and `text` as far
            as they were found.
        problems: what the form requires and the answer lacks, as "place: reason".
        truncated: whether the text ended inside a piece.
        ended: whether this is the whole answer; else it is as much of the beginning as is certain.
    """

    untimed: tuple[str, ...] = ()
    entries: tuple[tuple[FormSection, dict[str, Any]], ...] = ()
    problems: tuple[str, ...] = ()
    truncated: bool = False
    ended: bool = True

    def section(self, name: FormSection) -> list[dict[str, Any]]:
        """Return the entries of one section."""
        return [entry for section, entry in self.entries if section == name]


class ReadsForms(Frozen):
    """An answer that may also come in one of the service's documented text forms.

    Attributes:
        also_named: fields of other JSON forms that its validator reads.
    """

    also_named: ClassVar[frozenset[str]] = frozenset()

    @classmethod
    @abc.abstractmethod
    def of_form(cls, form: TextForm) -> dict[str, Any]:
        """Return the fields of the answer, unchecked, from an answer in a text form."""


class MismatchError(ValueError):
    """A value violates its schema.

    Attributes:
        problems: what is wrong, each as "place: reason".
        key: the innermost key of the first problem, to find its line.
    """

    def __init__(self, problems: list[str], key: str | None) -> None:
        self.problems = [_short(problem) for problem in problems]
        super().__init__("; ".join(self.problems[:_MOST_PROBLEMS]))
        self.key = key


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST_PROBLEM else f"{text[:_LONGEST_PROBLEM]}…"


@dataclass(frozen=True, slots=True, kw_only=True)
class CaptionSchema:
    """The schema of an answer.

    Attributes:
        name: the caller's name for it.
        json_schema: JSON schema for the prompt.
        fields: names that an answer may begin with; empty if any are allowed.
        arrays: whether a bare list is an answer, too.
        of_form: returns the fields of an answer in a text form; `None` if only JSON is an answer.
        check: returns the answer in the caller's type, or raises `MismatchError`. Takes the value and facts that
            validators may read (`duration`).
    """

    name: str
    json_schema: Mapping[str, Any]
    fields: frozenset[str]
    arrays: bool
    check: Callable[[object, Mapping[str, Any]], Any]
    of_form: Callable[[TextForm], dict[str, Any]] | None = None

    def check_form(self, form: TextForm, value: object, facts: Mapping[str, Any]) -> Any:  # noqa: ANN401  (as `check`)
        """Check an answer in a text form, of which `value` holds the fields; raises as `check` does."""
        if form.problems:
            raise MismatchError(list(form.problems), None)
        return self.check(value, facts)


def read_schema(schema: SchemaLike | CaptionSchema) -> CaptionSchema:
    """Convert a schema in any notation.

    Raises:
        ConfigurationError: it is not a schema, or its answers could not be JSON objects.
    """
    if isinstance(schema, CaptionSchema):
        return schema
    if isinstance(schema, Mapping):
        return _from_json_schema(dict(schema))
    if inspect.isclass(schema) and issubclass(schema, BaseModel):
        return _from_adapter(schema.__name__, TypeAdapter(schema), arrays=getattr(schema, "takes_list", False))
    if typing_extensions.is_typeddict(schema):
        return _from_adapter(schema.__name__, _typed_dict_adapter(schema))
    if _is_pydantic_1(schema):
        return _from_pydantic_1(schema)
    raise ConfigurationError(f"{schema!r} is not a schema; pass a pydantic model, a TypedDict or a JSON schema.")


def _from_adapter(name: str, adapter: TypeAdapter[Any], *, arrays: bool = False) -> CaptionSchema:
    try:
        json_schema = adapter.json_schema()
    except PydanticUserError as error:
        raise ConfigurationError(f"{name} has no JSON schema: {error}") from error
    kind = getattr(adapter, "_type", None)
    reads = kind if inspect.isclass(kind) and issubclass(kind, ReadsForms) else None
    fields = _fields(json_schema) | _other_names(kind) | (frozenset() if reads is None else reads.also_named)

    def check(value: object, facts: Mapping[str, Any]) -> object:
        with _boundary():
            meant = without_nulls(value, json_schema)
            # As JSON, so that dates, enumerations and tuples are parsed from JSON types in strict models, too.
            made = adapter.validate_json(to_json(meant), context=dict(facts))
            if _is_endless(meant):
                _refuse_infinity(adapter.dump_python(made, warnings=False))
            return made

    return CaptionSchema(
        name=name,
        json_schema=json_schema,
        fields=fields,
        arrays=arrays or json_schema.get("type") == "array",
        check=check,
        of_form=None if reads is None else reads.of_form,
    )


@contextlib.contextmanager
def _boundary() -> Iterator[None]:
    """Raise any exception of a check as `MismatchError`."""
    try:
        yield
    except MismatchError:
        raise
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False, include_context=False)
        raise _mismatch([(one["loc"], one["msg"]) for one in found]) from error
    except _FOREIGN as error:
        problem = f"the answer: cannot be read ({type(error).__name__}: {_short(str(error))})"
        raise MismatchError([problem], None) from error


def without_nulls(value: object, schema: Mapping[str, Any]) -> object:
    """Leave out `null` where a schema has a default or does not require the field, and does not allow `null`.

    Models write `null` for "nothing to say". The value passed in is not modified.

    Example:
        >>> schema = {"properties": {"a": {"type": "integer"}, "b": {"type": "string"}}, "required": ["b"]}
        >>> without_nulls({"a": None, "b": None}, schema)
        {'b': None}
    """
    return _Nulls(schema).within(value, schema) if _holds_null(value) else value


def _holds_null(value: object) -> bool:
    return any(one is None for one in _leaves(value))


def _leaves(value: object) -> Iterator[object]:
    """Yield what a JSON value holds that is neither a mapping nor a list."""
    waiting = [value]
    while waiting:
        one = waiting.pop()
        if isinstance(one, _SCALAR) or not isinstance(one, Mapping | list):  # scalars first: it is the cheaper check
            yield one
        else:
            waiting += one.values() if isinstance(one, Mapping) else one


class _Nulls:
    """Finds the nulls of a value that stand for a default of its schema."""

    def __init__(self, root: Mapping[str, Any], *, fill: bool = False) -> None:
        self._root = root
        self._fill = fill  # insert the default, for validators that do not

    def within(self, value: object, schema: object) -> object:
        found = self._resolved(schema)
        if isinstance(value, list):
            items = found.get("items")
            return [self.within(one, items) for one in value]
        if not isinstance(value, Mapping):
            return value
        for way in ("anyOf", "oneOf"):
            if found.get(way):
                found = self._alternative(found[way], value)
        for part in found.get("allOf") or ():
            value = self._object(value, self._resolved(part))
        return self._object(value, found)

    def _object(self, value: Any, schema: Mapping[str, Any]) -> dict[str, Any]:  # noqa: ANN401  (a mapping)
        properties = schema.get("properties") or {}
        others = schema.get("additionalProperties")
        required = schema.get("required") or ()
        kept: dict[str, Any] = {}
        for name, one in value.items():
            part = properties.get(name, others if name not in properties else None)
            if one is not None or name not in properties or self._allows_null(part):
                kept[name] = self.within(one, part)
            elif "default" in self._resolved(part):
                if self._fill:
                    kept[name] = self._resolved(part)["default"]
            elif name in required:
                kept[name] = one
        return kept

    def _alternative(self, ways: Any, value: Mapping[str, Any]) -> Mapping[str, Any]:  # noqa: ANN401  (any JSON)
        """Return the alternative that has all fields of a value."""
        resolved = [self._resolved(way) for way in ways if isinstance(way, Mapping)]
        fitting = [one for one in resolved if value.keys() <= (one.get("properties") or {}).keys()]
        return fitting[0] if fitting else {}

    def _allows_null(self, schema: object) -> bool:
        found = self._resolved(schema)
        if "const" in found or "enum" in found:
            return found.get("const", "") is None or None in (found.get("enum") or ())
        kind = found.get("type")
        if kind is not None:
            return kind == "null" or (isinstance(kind, list) and "null" in kind)
        ways = [*(found.get("anyOf") or ()), *(found.get("oneOf") or ())]
        if ways:
            return any(self._allows_null(way) for way in ways)
        return all(self._allows_null(part) for part in found.get("allOf") or ())

    def _resolved(self, schema: object) -> Mapping[str, Any]:
        """Follow references; keywords next to a reference apply as well."""
        found: Mapping[str, Any] = schema if isinstance(schema, Mapping) else {}
        for _ in range(_MOST_REFERENCES):
            reference = found.get("$ref")
            if not isinstance(reference, str):
                return found
            target: Any = self._root
            for step in reference.removeprefix("#").strip("/").split("/") if reference != "#" else ():
                target = target.get(step.replace("~1", "/").replace("~0", "~")) if isinstance(target, Mapping) else None
            beside = {name: one for name, one in found.items() if name != "$ref"}
            found = {**(target if isinstance(target, Mapping) else {}), **beside}
        return {}


def _is_endless(value: object) -> bool:
    """Whether a value holds a number that may become infinite, or a word for one."""
    return any(
        _ENDLESS.fullmatch(one) if isinstance(one, str) else isinstance(one, int) and not -_LARGEST < one < _LARGEST
        for one in _leaves(value)
    )


def _refuse_infinity(value: object, place: tuple[str | int, ...] = ()) -> None:
    """Raise if a checked value holds a number that JSON does not have.

    Raises:
        MismatchError: it does; names the place.
    """
    if isinstance(value, float) and not math.isfinite(value):
        raise _mismatch([(place, "is not a finite number")])
    if isinstance(value, Mapping):
        for name, one in value.items():
            _refuse_infinity(one, (*place, str(name)))
    elif isinstance(value, list | tuple | set | frozenset):
        for index, one in enumerate(value):
            _refuse_infinity(one, (*place, index))


def _is_pydantic_1(schema: object) -> bool:
    first = sys.modules.get("pydantic.v1")  # a caller with such a class has imported it
    return first is not None and inspect.isclass(schema) and issubclass(schema, first.BaseModel)


def _from_pydantic_1(schema: Any) -> CaptionSchema:  # noqa: ANN401  (a class of pydantic 1)
    json_schema: dict[str, Any] = schema.schema()

    def check(value: object, _: Mapping[str, Any]) -> object:
        with _boundary():
            return schema.parse_obj(without_nulls(value, json_schema))

    return CaptionSchema(
        name=schema.__name__, json_schema=json_schema, fields=_fields(json_schema), arrays=False, check=check
    )


def _other_names(kind: object) -> frozenset[str]:
    """Return the aliases that validation accepts: a JSON schema has only one name per field."""
    fields = getattr(kind, "model_fields", None) or {}
    return frozenset(name for name, field in fields.items() if field.validation_alias is not None)


def _mismatch(found: Sequence[tuple[Sequence[str | int], str]]) -> MismatchError:
    """Return the error for problems, each with its place in the value."""
    problems = [f"{'.'.join(map(str, place)) or 'the answer'}: {problem}" for place, problem in found]
    keys = [part for part in found[0][0] if isinstance(part, str)]
    return MismatchError(problems, keys[-1] if keys else None)


def _fields(schema: Mapping[str, Any]) -> frozenset[str]:
    """Return the property names of the outermost object, including references and alternatives."""
    found: set[str] = set(schema.get("properties") or ())
    reference = schema.get("$ref")
    if isinstance(reference, str) and reference.startswith("#/"):
        target: Any = schema
        for step in reference[2:].split("/"):
            target = target.get(step, {}) if isinstance(target, Mapping) else {}
        if isinstance(target, Mapping) and "$ref" not in target:
            found |= _fields(target)
    for way in ("allOf", "anyOf", "oneOf"):
        for part in schema.get(way) or ():
            found |= _fields({**part, "$defs": schema.get("$defs", {})})
    return frozenset(found)


def _from_json_schema(schema: dict[str, Any]) -> CaptionSchema:
    from jsonschema import SchemaError  # noqa: PLC0415  (takes 60 ms, only needed for JSON schemas)
    from jsonschema.validators import validator_for  # noqa: PLC0415

    kind = validator_for(schema)
    try:
        kind.check_schema(schema)
    except SchemaError as error:
        raise ConfigurationError(f"The JSON schema is not valid: {error.message}.") from error
    if not _may_be_object(schema):
        raise ConfigurationError('A JSON schema for answers describes an object: it needs "properties".')
    validator = kind(schema)

    def check(value: object, _: Mapping[str, Any]) -> object:
        with _boundary():
            if _holds_null(value):
                value = _Nulls(schema, fill=True).within(value, schema)
            found = sorted(validator.iter_errors(value), key=lambda one: list(map(str, one.absolute_path)))
        if not found:
            return value
        raise _mismatch([(one.absolute_path, one.message) for one in found])

    name = re.sub(r"\W+", "_", str(schema.get("title") or "caption"))
    return CaptionSchema(
        name=name, json_schema=schema, fields=_fields(schema), arrays=schema.get("type") == "array", check=check
    )


def _may_be_object(schema: Mapping[str, Any]) -> bool:
    keys = ("properties", "$ref", "allOf", "anyOf", "oneOf", "items", "additionalProperties", "patternProperties")
    return any(key in schema for key in keys)


def _typed_dict_adapter(schema: type[Any]) -> TypeAdapter[Any]:
    try:
        return TypeAdapter(schema)
    except (PydanticUserError, PydanticSchemaGenerationError):  # pydantic rejects Python 3.11's own TypedDict
        return TypeAdapter(_rebuilt(schema))


def _rebuilt(schema: type[Any]) -> Any:  # noqa: ANN401  (a TypedDict, which has no type)
    """Rebuild a `TypedDict` with `typing_extensions`."""
    required: frozenset[str] = getattr(schema, "__required_keys__", frozenset())
    hints = {name: _rebuilt_hint(hint) for name, hint in get_type_hints(schema, include_extras=True).items()}
    marked = {name: hint if name in required else typing_extensions.NotRequired[hint] for name, hint in hints.items()}
    made: Any = typing_extensions.TypedDict(schema.__name__, marked)  # type: ignore[misc]  # created dynamically
    made.__doc__ = schema.__doc__
    return made


def _rebuilt_hint(hint: Any) -> Any:  # noqa: ANN401  (any annotation)
    if typing_extensions.is_typeddict(hint):
        return _rebuilt(hint)
    origin, inner = get_origin(hint), get_args(hint)
    if origin in (typing_extensions.Required, typing_extensions.NotRequired):
        return _rebuilt_hint(inner[0])
    if origin is Annotated:
        return Annotated[(_rebuilt_hint(inner[0]), *inner[1:])]
    if origin in (Union, UnionType):
        return Union[tuple(_rebuilt_hint(part) for part in inner)]  # noqa: UP007  (built from a tuple)
    if origin in (list, tuple, set, dict):
        return GenericAlias(origin, tuple(_rebuilt_hint(part) for part in inner))
    return hint


# --- The wording of prompts ---

TASK = "Describe this for a catalogue: only what can be seen or heard."
TIMED_TASK = (
    "Write captions with times for all of this, from the first second to the last: only what can be seen or heard."
)


def instructions(
    schema: CaptionSchema | Mapping[str, Any], *, language: str | None = None, format_only: bool = False
) -> str:
    """Return the instructions for the answer. They contain "json", without which the service refuses JSON mode.

    Args:
        schema: schema of the answer, or a JSON schema alone.
        language: of the texts in the answer, as you would write it ("French", "中文").
        format_only: leave out the rules of behaviour, as in a parser's format instructions.
    """
    if isinstance(schema, CaptionSchema):
        json_schema, arrays = schema.json_schema, schema.arrays
    else:
        json_schema, arrays = schema, schema.get("type") == "array"
    task = f"Answer with one JSON {'value' if arrays else 'object'} that follows this JSON schema, on one line and "
    lines = [f"{task}with nothing else:", _written(json_schema)]
    if not format_only:
        lines.append("Where you cannot tell, say so in words or leave the list empty; do not make anything up.")
    if language:
        lines.append(f"Write every text in {language}; keep the names of the fields as they are.")
    return "\n".join(lines)


def complaint(error: CaptionSyntaxError) -> str:
    """Return the request to correct an answer, with a list of its problems."""
    problems = error.problems[:_MOST_LISTED] or (str(error),)
    listed = "\n".join(f"- {problem}" for problem in problems)
    more = len(error.problems) - len(problems)
    rest = f"\n- and {more} more" if more > 0 else ""
    return (
        f"That answer cannot be used:\n{listed}{rest}\n"
        "Answer again in the same form, in full, corrected, and with nothing else."
    )


def _written(json_schema: Mapping[str, Any]) -> str:
    return json.dumps(_brief(json_schema), ensure_ascii=False, separators=(",", ":"))


def _brief(value: Any, *, names: bool = False) -> Any:  # noqa: ANN401  (any JSON value)
    """Drop the titles that pydantic derives from names: they add nothing and cost tokens."""
    if isinstance(value, Mapping):
        kept = {key: part for key, part in value.items() if names or key != "title" or not isinstance(part, str)}
        return {key: _brief(part, names=not names and key in ("properties", "$defs")) for key, part in kept.items()}
    if isinstance(value, list):
        return [_brief(part) for part in value]
    return value
