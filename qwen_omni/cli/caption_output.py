"""How captions are printed and written: JSON, CSV, a table, subtitles. The other half of `caption`."""

import csv
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

from qwen_omni.captions.batch import FileCaption, plain
from qwen_omni.captions.subtitles import to_srt, to_webvtt
from qwen_omni.captions.timed import TimedCaptions
from qwen_omni.cli.display import one_line, show_note, show_table, write_json, write_text
from qwen_omni.cli.files import writing
from qwen_omni.errors import ConfigurationError
from qwen_omni.redact import clean

Form = Literal["json", "csv", "table", "srt", "vtt"]
FORMS: tuple[Form, ...] = get_args(Form)


def print_captions(finished: Sequence[FileCaption], form: Form, fields: Sequence[str]) -> None:
    """Print captions on standard output, in the order of the files.

    Args:
        finished: what became of each file.
        form: json, csv or table.
        fields: the columns, in the order of the schema; further ones follow as they come.
    """
    if form == "json":
        write_json([_entry(one) for one in finished], indent=2)
        return
    values = [plain(one.value) if isinstance(plain(one.value), Mapping) else {} for one in finished]
    columns = list(dict.fromkeys([*fields, *(name for value in values for name in value)]))
    failed = any(one.error is not None for one in finished)
    heads = ["file", *columns, *(["error"] if failed else [])]
    rows = [
        [one.media, *(_cell(value.get(name)) for name in columns), *([str(one.error or "")] if failed else [])]
        for one, value in zip(finished, values, strict=True)
    ]
    if form == "csv":
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerows([clean(cell, "csv") for cell in row] for row in (heads, *rows))
    else:
        show_table(heads, rows)


def _entry(one: FileCaption) -> dict[str, Any]:
    if one.error is not None:
        return {"file": one.media, "error": str(one.error), "kind": type(one.error).__name__}
    entry = {"file": one.media, "caption": plain(one.value)}
    return {**entry, "truncated": True} if one.truncated else entry


def _cell(value: object) -> str:
    match value:
        case None:
            return ""
        case str():
            return value
        case list() if all(isinstance(part, str) for part in value):
            return "; ".join(value)
        case _:
            return json.dumps(value, ensure_ascii=False)


def subtitle_paths(media: Sequence[str], folder: Path, form: Form) -> dict[str, Path]:
    """Choose where the subtitles of each file go: its name in `folder`, with the ending of the format.

    Raises:
        ConfigurationError: two files would get the same name.
    """
    paths = {item: folder / f"{Path(item.partition('?')[0]).stem}.{form}" for item in media}
    taken: dict[Path, str] = {}
    for item, path in paths.items():
        other = taken.setdefault(path, item)
        if other != item:
            raise ConfigurationError(f"{other} and {item} would both become {path}; ask about them one by one.")
    return paths


def write_subtitles(finished: Sequence[FileCaption], form: Form, paths: Mapping[str, Path] | None) -> None:
    """Write subtitles to their files, or those of a single file to standard output; tell what was put right.

    Raises:
        ConfigurationError: a file cannot be written.
    """
    for one in finished:
        if not isinstance(one.value, TimedCaptions):
            continue
        text = to_srt(one.value.captions) if form == "srt" else to_webvtt(one.value.captions)
        if paths is None:
            write_text(text)
        else:
            with writing(paths[one.media]) as file:
                file.write_text(text, encoding="utf-8")
            show_note(f"wrote {one_line(str(paths[one.media]))}")
        for note in one.value.notes:
            show_note(f"{one_line(one.media)}: caption {note.index + 1} {note.text}")
