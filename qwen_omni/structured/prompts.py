"""The wording of prompts for structured output: the task, the schema of the answer, and the request to correct one.

`ask` decides where they go in a conversation. The prompts of long videos are in `video/prompts`.
"""

import json
from collections.abc import Mapping
from typing import Any

from qwen_omni.errors import CaptionSyntaxError
from qwen_omni.structured.schema import CaptionSchema

TASK = "Describe this for a catalogue: only what can be seen or heard."
TIMED_TASK = (
    "Write captions with times for all of this, from the first second to the last: only what can be seen or heard."
)

_MOST_LISTED = 5


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
