"""A caller's schema, whatever it is written in → its JSON schema and its check. Pure.

Three spellings: a pydantic model (answers are instances of it), a `TypedDict` and a JSON schema (answers are
dictionaries). Checking is left to pydantic and to `jsonschema`; neither is told to fill in what is missing,
beyond the defaults that the schema's author wrote.
"""

import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import GenericAlias, UnionType
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

import typing_extensions
from pydantic import BaseModel, PydanticSchemaGenerationError, PydanticUserError, TypeAdapter, ValidationError
from pydantic_core import to_json

from qwen_omni.errors import ConfigurationError

SchemaLike = type[Any] | Mapping[str, Any]
"""A pydantic model, a `TypedDict`, or a JSON schema."""

_MOST_TOLD = 10  # problems told at once


class MismatchError(ValueError):
    """A value breaks its schema.

    Attributes:
        problems: what is wrong, each as "place: reason".
        key: the innermost key of the first problem, to find its line.
    """

    def __init__(self, problems: list[str], key: str | None) -> None:
        super().__init__("; ".join(problems[:_MOST_TOLD]))
        self.problems = problems
        self.key = key


@dataclass(frozen=True, slots=True, kw_only=True)
class CaptionSchema:
    """What an answer must look like.

    Attributes:
        name: what the caller calls it.
        json_schema: for the prompt.
        fields: the names an answer may begin with; empty where anything goes.
        arrays: a bare list is an answer, too.
        check: gives the answer as the caller wants it, or raises `MismatchError`. Takes the value and facts
            that validators may read (`duration`).
    """

    name: str
    json_schema: Mapping[str, Any]
    fields: frozenset[str]
    arrays: bool
    check: Callable[[object, Mapping[str, Any]], Any]


def read_schema(schema: SchemaLike | CaptionSchema) -> CaptionSchema:
    """Make sense of a schema.

    Raises:
        ConfigurationError: it is none, or one whose answers could not be a JSON object.
    """
    if isinstance(schema, CaptionSchema):
        return schema
    if isinstance(schema, Mapping):
        return _from_json_schema(dict(schema))
    if inspect.isclass(schema) and issubclass(schema, BaseModel):
        return _from_adapter(schema.__name__, TypeAdapter(schema), arrays=getattr(schema, "takes_list", False))
    if typing_extensions.is_typeddict(schema):
        return _from_adapter(schema.__name__, _typed_dict_adapter(schema))
    raise ConfigurationError(f"{schema!r} is no schema; pass a pydantic model, a TypedDict or a JSON schema.")


def _from_adapter(name: str, adapter: TypeAdapter[Any], *, arrays: bool = False) -> CaptionSchema:
    try:
        told = adapter.json_schema()
    except PydanticUserError as error:
        raise ConfigurationError(f"{name} has no JSON schema: {error}") from error
    fields = _fields(told) | _other_names(adapter)

    def check(value: object, facts: Mapping[str, Any]) -> object:
        try:
            # As JSON, so that dates, enumerations and tuples are read from what JSON has, also in strict models.
            return adapter.validate_json(to_json(value), context=dict(facts))
        except ValidationError as error:
            raise _mismatch(error) from error

    return CaptionSchema(
        name=name, json_schema=told, fields=fields, arrays=arrays or told.get("type") == "array", check=check
    )


def _other_names(adapter: TypeAdapter[Any]) -> frozenset[str]:
    """List the aliases that validation takes: a JSON schema tells only one name of each field."""
    kind = getattr(adapter, "_type", None)
    fields = getattr(kind, "model_fields", None) or {}
    return frozenset(name for name, field in fields.items() if field.validation_alias is not None)


def _mismatch(error: ValidationError) -> MismatchError:
    found = error.errors(include_url=False, include_input=False, include_context=False)
    problems = [f"{'.'.join(map(str, one['loc'])) or 'the answer'}: {one['msg']}" for one in found]
    keys = [part for part in found[0]["loc"] if isinstance(part, str)]
    return MismatchError(problems, keys[-1] if keys else None)


def _fields(schema: Mapping[str, Any]) -> frozenset[str]:
    """List the property names of the outermost object, references and alternatives included."""
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
    from jsonschema import SchemaError  # noqa: PLC0415  (its 60 ms are for those who pass JSON schemas)
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
        found = sorted(validator.iter_errors(value), key=lambda one: list(map(str, one.absolute_path)))
        if not found:
            return value
        problems = [f"{'.'.join(map(str, one.absolute_path)) or 'the answer'}: {one.message}" for one in found]
        keys = [part for part in found[0].absolute_path if isinstance(part, str)]
        raise MismatchError(problems, keys[-1] if keys else None)

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
    except (PydanticUserError, PydanticSchemaGenerationError):  # Python 3.11's own TypedDict: pydantic refuses it
        return TypeAdapter(_rebuilt(schema))


def _rebuilt(schema: type[Any]) -> Any:  # noqa: ANN401  (a TypedDict, which has no type)
    """Make the same `TypedDict` with `typing_extensions`."""
    required: frozenset[str] = getattr(schema, "__required_keys__", frozenset())
    hints = {name: _rebuilt_hint(hint) for name, hint in get_type_hints(schema, include_extras=True).items()}
    marked = {name: hint if name in required else typing_extensions.NotRequired[hint] for name, hint in hints.items()}
    made: Any = typing_extensions.TypedDict(schema.__name__, marked)  # type: ignore[misc]  # made while running
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
        return Union[tuple(_rebuilt_hint(part) for part in inner)]  # noqa: UP007  (made of a tuple)
    if origin in (list, tuple, set, dict):
        return GenericAlias(origin, tuple(_rebuilt_hint(part) for part in inner))
    return hint
