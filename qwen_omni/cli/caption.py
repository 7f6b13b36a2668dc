"""`qwen-omni caption`: describes files as values of one schema, printed as JSON, CSV, a table or subtitles."""

import contextlib
import csv
import difflib
import importlib
import importlib.util
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any, Literal

import typer

from qwen_omni.cli.options import (
    EFFORTS,
    TIERS,
    CallTier,
    Concurrency,
    ModelName,
    SubtitleFolder,
    Thinking,
    check_files,
    choose,
    one_form,
    option,
    read_media,
    read_service,
    sharing,
    subtitle_paths,
)
from qwen_omni.cli.output import (
    end_with,
    failed_entry,
    in_words,
    one_line,
    show_note,
    show_table,
    show_usage,
    with_progress,
    write_json,
    write_text,
)
from qwen_omni.client import OmniClient
from qwen_omni.errors import ConfigurationError
from qwen_omni.media.files.output import write_file
from qwen_omni.profiles import DEFAULT_MODEL
from qwen_omni.redact import clean, redact
from qwen_omni.responses import Usage
from qwen_omni.settings import Settings, default_cache_dir
from qwen_omni.structured.batch import FileCaption, Results, caption_many, plain
from qwen_omni.structured.caption import CaptionOptions
from qwen_omni.structured.models import GeneralCaption, VideoCaption
from qwen_omni.structured.schema import SchemaLike, read_schema
from qwen_omni.structured.subtitles import to_srt, to_webvtt
from qwen_omni.structured.timed import TimedCaptions
from qwen_omni.video.schemas import clock

Form = Literal["json", "csv", "table", "srt", "vtt"]
SCHEMAS: dict[str, type[Any]] = {"product": VideoCaption, "general": GeneralCaption, "timed": TimedCaptions}
"""The schemas that have a name on the command line."""


def print_captions(finished: Sequence[FileCaption], form: Form, fields: Sequence[str], schema: str = "") -> None:
    """Print captions on standard output, in the order of the files.

    Args:
        finished: the result of each file.
        form: json, csv or table.
        fields: the columns, in the order of the schema; other ones follow in the order of appearance.
        schema: its name; CSV has no place for it.
    """
    if form == "json":
        write_json([_entry(one, schema) for one in finished], indent=2)
        return
    if form == "table":
        _print_table(finished, fields)
        return
    values = [plain(one.value) if isinstance(plain(one.value), Mapping) else {} for one in finished]
    columns = list(dict.fromkeys([*fields, *(name for value in values for name in value)]))
    failed = any(one.error is not None for one in finished)
    heads = ["file", *columns, *(["error"] if failed else [])]
    rows = [
        [
            one.media,
            *(_cell(value.get(name)) for name in columns),
            *([in_words(str(one.error or ""))] if failed else []),
        ]
        for one, value in zip(finished, values, strict=True)
    ]
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerows([clean(cell, "csv") for cell in row] for row in (heads, *rows))


def _print_table(finished: Sequence[FileCaption], fields: Sequence[str]) -> None:
    """Print a field per line below the name of each file: readable however long the texts are."""
    for number, one in enumerate(finished):
        value = plain(one.value) if isinstance(plain(one.value), Mapping) else {}
        if one.error is None and number:
            write_text("\n")
        if one.error is None:
            write_text(f"{one_line(one.media)}\n")
            rows = [(f"  {_label(name)}", text) for name in (*fields, *(value.keys() - {*fields}))
                    for text in _lines(value.get(name))]  # fmt: skip
            show_table(("", ""), _without_repeats(rows), lines=False)


def _label(name: str) -> str:
    return name.replace("_", " ")


def _lines(value: object) -> list[str]:
    """Return what a field holds: a list has a line for each item."""
    if isinstance(value, list):
        return [_shown(one) for one in value] or ["none"]
    return [_shown(value)]


def _shown(value: object) -> str:
    match value:
        case {"start": int() | float() as start, "end": int() | float() as end, "text": str() as text}:
            return f"{clock(start)}-{clock(end)}  {text}"
        case _:
            return _cell(value) or "none"


def _without_repeats(rows: Sequence[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    last = ""
    for label, text in rows:
        yield "" if label == last else label, text
        last = label


def _entry(one: FileCaption, schema: str) -> dict[str, Any]:
    if one.error is not None:
        return failed_entry(one.media, one.error)
    entry = {"file": one.media, "schema": schema, "caption": plain(one.value)}
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


def write_subtitles(finished: Sequence[FileCaption], form: Form, paths: Mapping[str, Path]) -> None:
    """Write subtitles to their files, or those of a single file to standard output; report corrections.

    Raises:
        ConfigurationError: a file cannot be written.
    """
    for one in finished:
        if not isinstance(one.value, TimedCaptions):
            continue
        text = to_srt(one.value.captions) if form == "srt" else to_webvtt(one.value.captions)
        if one.media in paths:
            write_file(paths[one.media], text)
            show_note(f"wrote {one_line(str(paths[one.media]))}")
        else:
            write_text(text)
        if not one.value.captions:
            show_note(f"{one_line(one.media)}: the answer has no captions, so the subtitles are empty.")
        for note in one.value.notes:
            show_note(f"{one_line(one.media)}: caption {note.index + 1} {note.text}")


_KEPT, _OLD_KEPT = "captions.sqlite3", "qwen-omni-captions"
_SCHEMA_HELP = (
    "product (the default), general, timed (with times), FILE.py:Class, module:Class or FILE.json (a JSON schema)."
)
_SchemaName = Annotated[str | None, option(_SCHEMA_HELP, "SCHEMA", choices=SCHEMAS)]
_ResultsFile = Annotated[Path | None, option(f"Store finished captions here; default: {_KEPT} in the cache.", "FILE")]
_ReuseUnverified = Annotated[
    bool, typer.Option("--reuse-unverified", help="Reuse captions of older versions, whichever service made them.")
]


@sharing(sending=read_media, service=read_service)
def caption(  # noqa: PLR0913  (each argument is an option of the command)
    media: Annotated[list[str], typer.Argument(metavar="FILE", help="Videos, images or audio: paths or URLs.")],
    *,
    schema: _SchemaName = None,
    prompt: Annotated[str | None, option("What to describe.", "TEXT")] = None,
    language: Annotated[str | None, option("Language of the captions, in words.", "TEXT")] = None,
    model: ModelName = DEFAULT_MODEL,
    thinking: Thinking = "off",
    tier: CallTier = None,
    as_table: Annotated[bool, typer.Option("--table", help="Print a readable table; the default.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON array with one entry per file.")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV, for spreadsheets.")] = False,
    srt: Annotated[bool, typer.Option("--srt", help="Make SubRip subtitles, with --schema timed.")] = False,
    vtt: Annotated[bool, typer.Option("--vtt", help="Make WebVTT subtitles, with --schema timed.")] = False,
    timed: Annotated[bool, typer.Option("--timed", hidden=True, help="The same as --schema timed.")] = False,
    out: SubtitleFolder = Path(),
    usage: Annotated[bool, typer.Option("--usage", help="Print the tokens used.")] = False,
    concurrency: Concurrency = 4,
    results: _ResultsFile = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Ask about every file again, and store nothing.")] = False,
    reuse_unverified: _ReuseUnverified = False,
    sending: dict[str, Any],
    service: Callable[..., Settings],
) -> None:
    """Describe each file by a schema: for products, in general, with times, or your own.

    Every finished caption is stored at once: an interrupted run resumes where it stopped, and nothing is paid for
    twice. The exit code is 1 if any file failed; the others are printed all the same.
    """
    check_files(media, "caption")
    asked: dict[Form, bool] = {"json": as_json, "csv": as_csv, "table": as_table, "srt": srt, "vtt": vtt}
    form = one_form(asked, "table")
    name, wanted = named_schema(schema, timed=timed, subtitles=form in ("srt", "vtt"))
    paths = subtitle_paths(media, out, form)
    options = CaptionOptions(
        model=model, prompt=prompt, language=language, thinking=choose("thinking", thinking, EFFORTS) or False,
        tier=choose("tier", tier, TIERS), **sending,
    )  # fmt: skip
    client = OmniClient(service())
    stored = None if fresh else _opened(results, reuse_unverified=reuse_unverified)
    with client, contextlib.closing(stored) if stored is not None else contextlib.nullcontext():
        finished = _described(media, wanted, client=client, options=options, concurrency=concurrency, results=stored)
    if form in ("srt", "vtt"):
        write_subtitles(finished, form, paths)
    else:
        print_captions(finished, form, tuple(read_schema(wanted).json_schema.get("properties") or ()), name)
    _note(name, stored)
    if usage:
        show_usage(sum((one for captioned in finished for one in captioned.usages), Usage()))
    end_with((one.media, one.error) for one in finished)


def _described(media: list[str], schema: SchemaLike, **how: Any) -> list[FileCaption]:  # noqa: ANN401  (as `caption_many`)
    """Describe the files, with progress and notices; return the captions in the order of the files."""
    coming = caption_many(media, schema, on_notice=show_note, **how)
    with contextlib.closing(coming):
        finished = [*with_progress(_reported(coming), len(media), "captions", f"Describing {media[0]}")]
    return sorted(finished, key=lambda one: media.index(one.media))


def _opened(named: Path | None, *, reuse_unverified: bool) -> Results:
    """Open the results file: the named one, one of an older version in this folder, or that of the cache."""
    old = next((path for path in map(Path, (f"{_OLD_KEPT}.sqlite3", f"{_OLD_KEPT}.jsonl")) if path.exists()), None)
    path = named or old or default_cache_dir() / _KEPT
    if named is None and old is not None:
        show_note(f"Using {old} from an older version, in this folder.")
    return Results(path, reuse_unverified=reuse_unverified)


def _note(schema: str, stored: Results | None) -> None:
    """Print which schema was used, and where the captions are stored."""
    if stored is None:
        show_note(f"Schema: {schema}. Nothing was stored (--fresh).")
    else:
        show_note(f"Schema: {schema}. Captions are stored in {one_line(str(stored.place))} and reused from there.")


def named_schema(name: str | None, *, timed: bool = False, subtitles: bool = False) -> tuple[str, SchemaLike]:
    """Return the name and the schema that the options ask for.

    Raises:
        ConfigurationError: there is no such class or file, it holds no schema, or it has no times for subtitles.
    """
    if timed and name not in (None, "timed"):
        raise ConfigurationError(
            "--schema and --timed cannot be combined: captions with times have a schema of their own."
        )
    if subtitles and name not in (None, "timed"):
        raise ConfigurationError(f"Subtitles need captions with times: use --schema timed instead of --schema {name}.")
    if timed or subtitles:
        name = "timed"
    name = name or "product"
    if name in SCHEMAS:
        return name, SCHEMAS[name]
    found = _from_file(Path(name)) if name.endswith(".json") else _from_code(name)
    read_schema(found)
    return name, found


def _from_file(path: Path) -> dict[str, Any]:
    try:
        schema = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"--schema {path}: {error}.") from error
    if not isinstance(schema, dict):
        raise ConfigurationError(f"--schema {path} does not hold a JSON object, which a JSON schema must be.")
    return schema


def _from_code(spec: str) -> type[Any]:
    place, colon, name = spec.rpartition(":")
    if not colon or not place or not name:
        near = difflib.get_close_matches(spec, SCHEMAS, n=1)
        raise ConfigurationError(
            f"--schema {spec!r} is not known{f'; did you mean {near[0]}?' if near else '.'} Choose "
            f"{', '.join(SCHEMAS)}, FILE.py:Class, module:Class or FILE.json."
        )
    if place.endswith(".py") and not Path(place).is_file():
        raise ConfigurationError(f"--schema {spec!r}: there is no file {place}.")
    try:
        if place.endswith(".py"):
            found: Any = _loaded(Path(place))
        else:
            if "" not in sys.path:
                sys.path.insert(0, "")  # find modules in the current folder, as `python -m` does
            found = importlib.import_module(place)
        for step in name.split("."):
            found = getattr(found, step)
    except Exception as error:
        raise ConfigurationError(f"--schema {spec!r}: {type(error).__name__}: {error}") from error
    return found  # type: ignore[no-any-return]


def _loaded(path: Path) -> ModuleType:
    """Run a Python file, which may import others of its folder."""
    folder = str(path.resolve().parent)
    if folder not in sys.path:
        sys.path.insert(0, folder)
    found = importlib.util.spec_from_file_location(path.stem, path)
    if found is None or found.loader is None:
        raise ImportError(f"{path} is not a Python file.")
    module = importlib.util.module_from_spec(found)
    sys.modules[found.name] = module  # pydantic resolves annotations there
    found.loader.exec_module(module)
    return module


def _reported(coming: Iterable[FileCaption]) -> Iterator[tuple[str, FileCaption]]:
    for one in coming:
        if one.error is not None:
            how = "failed"
        elif one.reused:
            how = "cached"
        else:
            how = f"done in {one.seconds:.1f} s{', but the answer was truncated' if one.truncated else ''}"
        yield f"{redact(one.media)}: {how}", one
