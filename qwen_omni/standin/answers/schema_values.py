"""Inspect schemas and adjust values: types, bounds, formats, uniqueness.

Pure arithmetic below `schema`, which decides on the content of a value.
"""

from __future__ import annotations

import math
import re
from typing import Any

_TYPES = ("object", "array", "string", "number", "integer", "boolean", "null")
FORMATS = {
    "date-time": "1970-01-01T00:00:00Z", "date": "1970-01-01", "time": "00:00:00Z", "duration": "PT1S",
    "uuid": "00000000-0000-4000-8000-000000000000", "uri": "urn:stand-in", "email": "stand-in@localhost.invalid",
}  # fmt: skip


def type_of(schema: dict[str, Any]) -> str:
    """Return the type that a schema requires, stated or implied."""
    kind = schema.get("type")
    if isinstance(kind, list):
        kind = next((one for one in kind if one != "null"), "null")
    if kind in _TYPES:
        return str(kind)
    if "properties" in schema or "minProperties" in schema:
        return "object"
    if "items" in schema or "prefixItems" in schema:
        return "array"
    numeric = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf")
    return "number" if any(key in schema for key in numeric) else "string"


def weight(schema: dict[str, Any]) -> int:
    """Rank alternatives: flat ones before ones that may nest again."""
    return {"object": 2, "array": 1}.get(type_of(schema), 3 if "$ref" in schema else 0)


def words(name: str) -> str:
    """Split `startTime` and `start_time` into words."""
    return re.sub(r"[^a-z0-9:]+", " ", re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", name).lower()).strip()


def bounded(number: float, schema: dict[str, Any], *, whole: bool) -> float | int:
    """Move a number into its bounds and to a multiple of its step."""
    grid = float(schema.get("multipleOf", 1 if whole else 0))
    nudge = grid or 1e-3
    low, high = schema.get("minimum", -math.inf), schema.get("maximum", math.inf)
    if "exclusiveMinimum" in schema:
        low = max(low, schema["exclusiveMinimum"] + nudge * (1 if not grid else 1e-9))
    if "exclusiveMaximum" in schema:
        high = min(high, schema["exclusiveMaximum"] - nudge * (1 if not grid else 1e-9))
    if low > high:
        low = high = (low + high) / 2 if math.isfinite(low + high) else low
    number = min(max(number, low), high)
    if grid:
        number = round(number / grid) * grid
        number = math.ceil(low / grid) * grid if number < low else number
        number = math.floor(high / grid) * grid if number > high else number
    return round(number) if whole else round(number, 6)


def clock(time: float) -> str:
    """Format seconds as mm:ss."""
    return f"{int(time) // 60:02d}:{int(time) % 60:02d}"


def distinct(values: list[Any], least: int) -> list[Any]:
    """Drop duplicates; if too few values are left, make texts and numbers unique by counting up."""
    kept: list[Any] = []
    for value in values:
        if value not in kept:
            kept.append(value)
        elif len(kept) < least:
            kept.append(_other(value, kept))
    return kept


def _other(value: Any, kept: list[Any]) -> Any:  # noqa: ANN401 - any JSON value
    for count in range(1, len(kept) + 2):
        new = (
            f"{value} {count}" if isinstance(value, str) else value + count if isinstance(value, int | float) else value
        )
        if new not in kept:
            return new
    return value
