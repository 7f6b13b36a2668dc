"""A minimal JSON schema validator, sufficient for the schemas that these tests draw."""

from __future__ import annotations

import re

_KINDS = {
    "object": dict, "array": list, "string": str, "boolean": bool, "null": type(None), "integer": int,
    "number": (int, float),
}  # fmt: skip


def problems(value, schema, root=None, at="$"):
    """Return the problems with `value`; empty if it is valid."""
    root = schema if root is None else root
    if "$ref" in schema:
        return problems(value, root["$defs"][schema["$ref"].rsplit("/", 1)[1]], root, at)
    if "const" in schema:
        return [] if value == schema["const"] else [f"{at}: {value!r} is not the constant"]
    if "enum" in schema:
        return [] if value in schema["enum"] else [f"{at}: {value!r} is not in the enum"]
    if "anyOf" in schema:
        fits = any(not problems(value, option, root, at) for option in schema["anyOf"])
        return [] if fits else [f"{at}: no alternative fits {value!r}"]
    kinds = schema.get("type", [])
    kinds = [kinds] if isinstance(kinds, str) else kinds
    if kinds and not any(_is(value, kind) for kind in kinds):
        return [f"{at}: {value!r} is no {kinds}"]
    return [*_contents(value, schema, root, at), *_bounds(value, schema, at)]


def _is(value, kind):
    if isinstance(value, bool):
        return kind == "boolean"
    return isinstance(value, _KINDS[kind])


def _contents(value, schema, root, at):
    if isinstance(value, dict):
        found = [f"{at}: {name} is missing" for name in schema.get("required", ()) if name not in value]
        known = schema.get("properties", {})
        if schema.get("additionalProperties") is False:
            found += [f"{at}: {name} is too much" for name in value if name not in known]
        return found + [
            p for name in value if name in known for p in problems(value[name], known[name], root, f"{at}.{name}")
        ]
    if isinstance(value, list):
        found = [p for i, one in enumerate(value) for p in problems(one, schema.get("items", {}), root, f"{at}[{i}]")]
        if not schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", len(value)):
            found.append(f"{at}: {len(value)} entries")
        if schema.get("uniqueItems") and any(one in value[:i] for i, one in enumerate(value)):
            found.append(f"{at}: repeats")
        return found
    return []


def _bounds(value, schema, at):
    if isinstance(value, str):
        fits = schema.get("minLength", 0) <= len(value) <= schema.get("maxLength", len(value))
        fits = fits and re.search(schema.get("pattern", ""), value) is not None
        return [] if fits else [f"{at}: {value!r} is too short, too long or of another pattern"]
    if isinstance(value, bool) or not isinstance(value, int | float):
        return []
    fits = schema.get("minimum", value) <= value <= schema.get("maximum", value)
    fits = (
        fits and value > schema.get("exclusiveMinimum", value - 1) and value < schema.get("exclusiveMaximum", value + 1)
    )
    steps = value / schema["multipleOf"] if "multipleOf" in schema else 0
    return [] if fits and abs(steps - round(steps)) < 1e-6 else [f"{at}: {value!r} is out of bounds"]
