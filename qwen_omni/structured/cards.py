"""What notebooks show for captions: fields or times, tokens, and how the object was obtained."""

from collections.abc import Sequence
from typing import Any

from qwen_omni.notebook import Card, Row, field_rows
from qwen_omni.responses import Response


def value_card(value: object) -> Card:
    """Return the card of an object: timed captions with their times, any other field by field."""
    captions = getattr(value, "captions", None)
    timed = bool(captions) and all(hasattr(one, "start") and hasattr(one, "text") for one in captions or ())
    if not timed:
        return Card(title=type(value).__name__, rows=field_rows(value))
    rows = [Row((f"{one.start:g} to {one.end:g} s", one.text)) for one in captions or ()]
    notes = [str(one) for one in getattr(value, "notes", ())]
    return Card(title=type(value).__name__, rows=rows, notes=notes)


def result_card(value: object, responses: Sequence[Response], *, truncated: bool, mended: Sequence[str]) -> Card:
    """Return the card of an object with the tokens that it took."""
    card = value_card(value)
    models = dict.fromkeys(one.model for one in responses if one.model)
    usages: list[Any] = [one.usage for one in responses if one.usage is not None]
    notes = list(card.notes)
    if usages:
        tokens_in, tokens_out = sum(one.input_tokens for one in usages), sum(one.output_tokens for one in usages)
        notes.append(f"{tokens_in:,} tokens in, {tokens_out:,} out")
    if len(responses) > 1:
        notes.append("asked a second time, because the first answer violated the schema")
    if mended:
        notes.append(f"tolerated in the JSON: {', '.join(mended)}")
    warnings = ["The answer was truncated; the last text may be incomplete."] if truncated else []
    return Card(title=card.title, facts=list(models), rows=card.rows, warnings=warnings, notes=notes)
