"""How results look in a notebook: one card of HTML without scripts or links, readable on light and dark backgrounds.

Every text comes from a model, a file's name or a service, so it is escaped here, and nowhere else.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from qwen_omni.redact import clean

MOST_ROWS = 12
"""Rows of a table in a card; the number of the others follows."""
MOST_IMAGES = 6
"""Thumbnails in a card: each is some kilobytes of the notebook's file."""
_LONGEST = 2_000  # characters of one text
_SHORT = 32  # characters of a cell that are kept on one line
_CARD = "border:1px solid rgba(128,128,128,.35);border-radius:8px;padding:12px 16px;max-width:52rem;line-height:1.5"
_SOFT = "opacity:.75;font-size:.9em"
_CELL = "text-align:start;vertical-align:top;padding:4px 12px 4px 0;overflow-wrap:anywhere"
_IMAGE = "display:block;width:120px;height:auto;max-width:none;margin:0;border-radius:4px"
_WARNING = "border-inline-start:3px solid #d9534f;padding-inline-start:8px;margin:8px 0 0"


@dataclass(frozen=True, slots=True)
class Row:
    """A row of a table; `image` is a JPEG as base64."""

    cells: Sequence[str]
    image: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """What a card holds, from top to bottom.

    Attributes:
        title: what it is about.
        facts: short facts below the title.
        text: paragraphs.
        columns: the headings of the table.
        rows: the table.
        warnings: what is missing, or would be refused.
        notes: everything else, such as cost.
    """

    title: str
    facts: Sequence[str] = ()
    text: str = ""
    columns: Sequence[str] = ()
    rows: Sequence[Row] = ()
    warnings: Sequence[str] = ()
    notes: Sequence[str] = ()

    def to_html(self) -> str:
        """Return the card.

        Example:
            >>> Card(title="a <b>.mp4", facts=["0:20"]).to_html().count("&lt;b&gt;")
            1
        """
        parts = [f'<div dir="auto"><strong>{_safe(self.title)}</strong></div>']
        if self.facts:
            parts.append(f'<div style="{_SOFT}">{" · ".join(map(_safe, self.facts))}</div>')
        paragraphs = filter(str.strip, self.text.split("\n"))
        parts += [f'<p dir="auto" style="margin:8px 0 0">{_safe(one)}</p>' for one in paragraphs]
        parts += self._table()
        parts += [f'<p dir="auto" style="{_WARNING}">{_safe(one)}</p>' for one in self.warnings]
        if self.notes:
            parts.append(f'<div dir="auto" style="{_SOFT};margin-top:8px">{"<br>".join(map(_safe, self.notes))}</div>')
        return f'<div style="{_CARD}">{"".join(parts)}</div>'

    def _table(self) -> Iterable[str]:
        if not self.rows:
            return
        images = any(row.image for row in self.rows)
        yield '<table style="margin:8px 0 0;border-collapse:collapse;font-size:1em">'
        if self.columns:
            headings = ["", *self.columns] if images else self.columns
            cells = (f'<th style="{_CELL};white-space:nowrap">{_safe(one)}</th>' for one in headings)
            yield f"<tr>{''.join(cells)}</tr>"
        for row in self.rows[:MOST_ROWS]:
            yield f'<tr style="background:none">{"".join(_cells(row, with_images=images))}</tr>'
        yield "</table>"
        if len(self.rows) > MOST_ROWS:
            yield f'<div style="{_SOFT}">and {len(self.rows) - MOST_ROWS:,} more</div>'


def _cells(row: Row, *, with_images: bool) -> Iterable[str]:
    if with_images:
        image = f'<img alt="" style="{_IMAGE}" src="data:image/jpeg;base64,{row.image}">' if row.image else ""
        yield f'<td style="{_CELL};width:132px">{image}</td>'
    for cell in row.cells[:-1]:
        wraps = "min-width:10em" if len(cell) > _SHORT else "white-space:nowrap"
        yield f'<td dir="auto" style="{_CELL};{wraps}">{_safe(cell)}</td>'
    yield f'<td dir="auto" style="{_CELL};width:100%">{_safe(row.cells[-1])}</td>'


def _safe(text: str) -> str:
    shown = text if len(text) <= _LONGEST else f"{text[:_LONGEST]} …"
    return clean(shown, "html").replace("\n", "<br>")


def field_rows(value: object) -> list[Row]:
    r"""Return the fields of an object as rows; what is nested is written as JSON.

    Example:
        >>> [row.cells for row in field_rows({"title": "A tent", "tags": ["calm", "green"], "scenes": [{"start": 0}]})]
        [('title', 'A tent'), ('tags', 'calm\ngreen'), ('scenes', '{"start": 0}')]
    """
    fields: Any = value.model_dump(mode="json") if hasattr(value, "model_dump") else value
    if not isinstance(fields, Mapping):
        return [Row(("", _written(fields)))]
    return [Row((str(name), _written(one))) for name, one in fields.items()]


def _written(value: object) -> str:
    match value:
        case str():
            return value
        case list() | tuple():
            return "\n".join(_written(one) for one in value)
        case _:
            return json.dumps(value, ensure_ascii=False, default=str)
