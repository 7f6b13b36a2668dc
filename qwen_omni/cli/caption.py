"""`qwen-omni caption`: describes files as values of one schema, printed as JSON, CSV, a table or subtitles."""

import contextlib
import csv
import importlib
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from qwen_omni.cli.output import (
    EFFORTS,
    TIERS,
    AudioTrack,
    CallTier,
    Frame,
    ServiceRegion,
    ServiceUrl,
    ServiceWorkspace,
    SubtitleFolder,
    Thinking,
    Tile,
    check_targets,
    choose,
    failed_entry,
    one_form,
    one_line,
    settings_for,
    show_error,
    show_note,
    show_table,
    show_usage,
    subtitle_paths,
    with_progress,
    write_file,
    write_json,
    write_text,
)
from qwen_omni.client import OmniClient
from qwen_omni.errors import ConfigurationError
from qwen_omni.media.budget import Sampling
from qwen_omni.media.info import read_audio_track
from qwen_omni.profiles import DEFAULT_MODEL
from qwen_omni.redact import clean
from qwen_omni.responses import Usage
from qwen_omni.structured.batch import FileCaption, Results, caption_many, plain
from qwen_omni.structured.caption import CaptionOptions
from qwen_omni.structured.models import VideoCaption
from qwen_omni.structured.schema import SchemaLike, read_schema
from qwen_omni.structured.subtitles import to_srt, to_webvtt
from qwen_omni.structured.timed import TimedCaptions

Form = Literal["json", "csv", "table", "srt", "vtt"]


def print_captions(finished: Sequence[FileCaption], form: Form, fields: Sequence[str]) -> None:
    """Print captions on standard output, in the order of the files.

    Args:
        finished: the result of each file.
        form: json, csv or table.
        fields: the columns, in the order of the schema; other ones follow in the order of appearance.
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
        return failed_entry(one.media, one.error)
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


def write_subtitles(finished: Sequence[FileCaption], form: Form, paths: Mapping[str, Path] | None) -> None:
    """Write subtitles to their files, or those of a single file to standard output; report corrections.

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
            write_file(paths[one.media], text)
            show_note(f"wrote {one_line(str(paths[one.media]))}")
        for note in one.value.notes:
            show_note(f"{one_line(one.media)}: caption {note.index + 1} {note.text}")


_FAILED = 1
_KEPT = "qwen-omni-captions.sqlite3"
_ReuseUnverified = Annotated[
    bool, typer.Option("--reuse-unverified", help="Reuse captions of older versions, whichever service made them.")
]


def caption(  # noqa: PLR0913  (each argument is an option of the command)
    media: Annotated[list[str], typer.Argument(metavar="FILE...", help="Videos, images or audio: paths or URLs.")],
    *,
    schema: Annotated[
        str | None,
        typer.Option(help="module:Class (pydantic, TypedDict) or a JSON schema file; default: VideoCaption."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON array with one entry per file.")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print a table for spreadsheets.")] = False,
    as_table: Annotated[bool, typer.Option("--table", help="Print a readable table; the default.")] = False,
    timed: Annotated[bool, typer.Option("--timed", help="Captions with times, instead of a schema.")] = False,
    srt: Annotated[bool, typer.Option("--srt", help="Write SubRip subtitles. Implies --timed.")] = False,
    vtt: Annotated[bool, typer.Option("--vtt", help="Write WebVTT subtitles. Implies --timed.")] = False,
    out: SubtitleFolder = Path(),
    model: Annotated[str, typer.Option("--model", "-m", help="The model to use.")] = DEFAULT_MODEL,
    prompt: Annotated[str | None, typer.Option(help="What to describe.")] = None,
    language: Annotated[str | None, typer.Option(help="Language of the captions, as free text.")] = None,
    thinking: Thinking = "off",
    tier: CallTier = None,
    fps: Annotated[float | None, typer.Option(help="Frames per second that the service samples.")] = None,
    max_pixels: Annotated[int | None, typer.Option(help="Maximum pixels per frame or image.")] = None,
    audio_track: AudioTrack = "auto",
    tile: Tile = True,
    frame: Frame = None,
    concurrency: Annotated[int, typer.Option("--concurrency", "-j", help="Number of files at a time.")] = 4,
    results: Annotated[Path, typer.Option(help="Where finished captions are stored and reused from.")] = Path(_KEPT),
    fresh: Annotated[bool, typer.Option("--fresh", help="Store nothing and caption every file again.")] = False,
    reuse_unverified: _ReuseUnverified = False,
    region: ServiceRegion = None,
    workspace: ServiceWorkspace = None,
    base_url: ServiceUrl = None,
    usage: Annotated[bool, typer.Option("--usage", help="Print the tokens used.")] = False,
) -> None:
    """Describe files as values of a schema, each in one request, several at a time.

    Every finished caption is stored at once: an interrupted run resumes where it stopped, and nothing is paid twice.
    Exits with status 1 if any file failed; the others are still printed. The key is read from DASHSCOPE_API_KEY.
    """
    asked: dict[Form, bool] = {"json": as_json, "csv": as_csv, "table": as_table, "srt": srt, "vtt": vtt}
    form = one_form(asked, "table")
    wanted = _schema(schema, timed=timed or form in ("srt", "vtt"))
    paths = subtitle_paths(media, out, form) if form in ("srt", "vtt") and len(media) > 1 else None
    check_targets((paths or {}).values())
    options = CaptionOptions(
        model=model, prompt=prompt, language=language, thinking=choose("thinking", thinking, EFFORTS) or False,
        sampling=Sampling(fps=fps, max_pixels=max_pixels), audio_track=read_audio_track(audio_track),
        tile=tile, frame=frame, tier=choose("tier", tier, TIERS),
    )  # fmt: skip
    stored = None if fresh else Results(results, reuse_unverified=reuse_unverified)
    client = OmniClient(settings_for(region, base_url, workspace))
    with client, contextlib.closing(stored) if stored is not None else contextlib.nullcontext():
        coming = caption_many(
            media, wanted, client=client, options=options, concurrency=concurrency, results=stored, on_notice=show_note
        )
        finished = sorted(with_progress(_reported(coming), len(media)), key=lambda one: media.index(one.media))
    _show(finished, form, wanted, paths)
    if usage:
        show_usage(_total(finished))
    _end(finished)


def _total(finished: list[FileCaption]) -> Usage:
    return sum((one for captioned in finished for one in captioned.usages), Usage())


def _show(finished: list[FileCaption], form: Form, wanted: SchemaLike, paths: dict[str, Path] | None) -> None:
    """Print the captions, or write them as subtitles."""
    if form in ("srt", "vtt"):
        write_subtitles(finished, form, paths)
    else:
        print_captions(finished, form, tuple(read_schema(wanted).json_schema.get("properties") or ()))


def _schema(name: str | None, *, timed: bool) -> SchemaLike:
    """Return the schema that an option names.

    Raises:
        ConfigurationError: there is no such class or file, or it holds no schema.
    """
    if timed:
        if name is not None:
            raise ConfigurationError("--schema and --timed exclude each other: captions with times have their own.")
        return TimedCaptions
    if name is None:
        return VideoCaption
    found = _from_file(Path(name)) if name.endswith(".json") else _from_module(name)
    read_schema(found)
    return found


def _from_file(path: Path) -> dict[str, Any]:
    try:
        schema = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"--schema {path}: {error}.") from error
    if not isinstance(schema, dict):
        raise ConfigurationError(f"--schema {path} does not hold a JSON object, which a JSON schema must be.")
    return schema


def _from_module(spec: str) -> type[Any]:
    module, colon, name = spec.partition(":")
    if not colon or not module or not name:
        raise ConfigurationError(f"--schema {spec!r}: write module:Class, or the name of a .json file.")
    if "" not in sys.path:
        sys.path.insert(0, "")  # find classes in the current folder, as `python -m` does
    try:
        found: Any = importlib.import_module(module)
        for step in name.split("."):
            found = getattr(found, step)
    except (ImportError, AttributeError) as error:
        raise ConfigurationError(f"--schema {spec!r}: {error}.") from error
    return found  # type: ignore[no-any-return]


def _reported(coming: Iterator[FileCaption]) -> Iterator[tuple[str, FileCaption]]:
    for one in coming:
        if one.error is not None:
            how = "failed"
        elif one.reused:
            how = "cached"
        else:
            how = f"done in {one.seconds:.1f} s{', but the answer was truncated' if one.truncated else ''}"
        yield f"{one.media}: {how}", one


def _end(finished: list[FileCaption]) -> None:
    """Report what failed, and exit with the matching status."""
    failed = [one for one in finished if one.error is not None]
    for one in failed:
        show_error(f"{one_line(one.media)}: {one.error}")
    if failed:
        raise typer.Exit(_FAILED)
