"""Show the examples of docstrings as code, and the fields of pydantic classes as tables, in the API reference.

Our docstrings end in `Example:` and indented lines, which griffe treats as prose. Lines with a prompt become an
`Examples` section; others become a fenced block.
"""

import importlib
import inspect
import re
import types
import typing
from typing import Any, get_args, get_origin

import griffe
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

_EXAMPLE = re.compile(r"^Example:\n((?:[ ]{4}.*\n?|\n)+)", re.MULTILINE)


class Examples(griffe.Extension):
    """Rewrites each docstring when griffe finds it."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:  # noqa: ANN401  (griffe's signature)
        """Rewrite one docstring."""
        if obj.docstring is not None:
            obj.docstring.value = with_code(obj.docstring.value)


def with_code(docstring: str) -> str:
    """Mark the example in a docstring as code."""
    return _EXAMPLE.sub(_marked, docstring)


def _marked(match: re.Match[str]) -> str:
    body = match[1].rstrip("\n")
    if ">>>" in body:
        return f"Examples:\n{body}\n"
    return f"Example:\n    ```python\n{body}\n    ```\n"


# --- Fields of pydantic classes ---


class Fields(griffe.Extension):
    """Shows the fields of a pydantic class as one table, with the types and defaults that they have at run time."""

    def on_class(self, *, cls: griffe.Class, **_: Any) -> None:  # noqa: ANN401  (griffe's signature)
        """Add the table to the docstring of a class, and remove the entries of the fields."""
        kind = _pydantic_class(cls)
        fields = {} if kind is None else {name: one for name, one in kind.model_fields.items() if one.description}
        for name in fields:
            cls.members.pop(name, None)
        if fields and cls.docstring is not None and "\nAttributes:" not in cls.docstring.value:
            lines = [f"    {name} ({spelled_type(one.annotation)}): {_described(one)}" for name, one in fields.items()]
            cls.docstring.value = "\n".join([cls.docstring.value.rstrip(), "", "Attributes:", *lines])


def _pydantic_class(cls: griffe.Class) -> type[BaseModel] | None:
    """Return the class itself if it is a pydantic class of a module."""
    if not isinstance(cls.parent, griffe.Module):
        return None
    kind = getattr(importlib.import_module(cls.parent.path), cls.name, None)
    return kind if inspect.isclass(kind) and issubclass(kind, BaseModel) else None


def _described(field: FieldInfo) -> str:
    """Return one line about a field."""
    text = " ".join((field.description or "").split())
    if field.is_required():
        return f"{text} Required."
    default = field.default
    return text if default is None or default is PydanticUndefined else f"{text} Default: `{default!r}`."


def spelled_type(annotation: Any) -> str:  # noqa: ANN401  (any annotation)
    """Spell a type as a reader would.

    Example:
        >>> spelled_type(list[Literal["text", "audio"]] | None)
        "list[Literal['text', 'audio']] | None"
    """
    inner = get_args(annotation)
    match get_origin(annotation):
        case typing.Annotated:
            return spelled_type(inner[0])
        case typing.Literal:
            return f"Literal[{', '.join(map(repr, inner))}]"
        case typing.Union | types.UnionType:
            return " | ".join(map(spelled_type, inner))
        case None:
            return "None" if annotation is types.NoneType else getattr(annotation, "__name__", str(annotation))
        case origin:
            return f"{origin.__name__}[{', '.join(map(spelled_type, inner))}]"
