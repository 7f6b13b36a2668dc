"""The rows of an archive, or the passages in their answers, as a file: Parquet, JSON lines or CSV.

Rows are read and written as a stream. The file appears once it is complete: a full disk, a store that goes away or a
killed process leave an earlier file as it was, or none.
"""

import contextlib
import csv
import json
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from types import ModuleType
from typing import IO, Any, Literal, cast, get_args

from qwen_omni.archive.rows import ArchivePassage, ArchiveRow, passages_of
from qwen_omni.archive.run import StepLike, check_exists, iter_rows
from qwen_omni.archive.sources import Seen
from qwen_omni.errors import ConfigurationError
from qwen_omni.media.files.output import check_targets, writing
from qwen_omni.redact import clean, with_leaves

ExportFormat = Literal["parquet", "jsonl", "csv"]
FORMATS: tuple[ExportFormat, ...] = get_args(ExportFormat)
"""The formats of an exported file, each also its suffix."""
_SUFFIXES: dict[str, ExportFormat] = {**{f".{name}": name for name in FORMATS}, ".ndjson": "jsonl", ".pq": "parquet"}

Kind = Literal["text", "json", "flag", "count", "number"]
ROW_COLUMNS: dict[str, Kind] = {
    "uri": "text", "etag": "text", "content_digest": "text", "step": "text", "step_digest": "text", "model": "text",
    "status": "text", "error_code": "text", "error": "text", "retryable": "flag", "value": "json", "truncated": "flag",
    "input_tokens": "count", "output_tokens": "count", "cost_cny": "number", "reused": "flag", "attempt": "count",
    "worker": "text", "started_at": "number", "finished_at": "number",
}  # fmt: skip
"""The columns of a row, in order, with the kind of their values; times are seconds since the epoch."""
PASSAGE_COLUMNS: dict[str, Kind] = {
    "content_digest": "text", "start": "number", "end": "number", "text": "text", "kind": "text",
}  # fmt: skip
"""The columns of a passage, in order; times are seconds of the media."""

Record = dict[str, Any]
_DATABASE = b"SQLite format 3\0"  # how a store begins, whose answers were paid for
_GROUP_ROWS, _GROUP_CHARACTERS = 20_000, 32_000_000  # of a row group of Parquet: what is in memory at once


def export(  # noqa: PLR0913  (each keyword is an independent option)
    store: str | Path,
    path: str | Path,
    *,
    step: StepLike = None,
    passages: bool = False,
    format: ExportFormat | None = None,  # noqa: A002  (the usual word for it)
    origin: str | None = None,
    overwrite: bool = False,
) -> int:
    """Write the rows of an archive to a file; return how many were written.

    Args:
        store: the work store: the path of an SQLite file, or the address of a PostgreSQL database.
        path: the file to write.
        step: only the rows of this step, or of every step with this name; default: all.
        passages: write the passages in the answers instead, ready for embedding: each content once.
        format: `parquet` (with the extra `parquet`), `jsonl` or `csv`; default: what the suffix of `path` says.
        origin: only what this server answered; needed where several did.
        overwrite: whether to replace an existing file.

    Raises:
        ConfigurationError: the file exists, or its name or format is not possible; there is no such store, or several
            servers answered.
        LocalResourceError: the disk is full, or the location is not writable.
        StoreError: the server of the store cannot be reached.

    Example:
        from qwen_omni.archive import export

        export("archive.db", "captions.csv", step="caption", overwrite=True)
        export("archive.db", "passages.jsonl", passages=True, overwrite=True)
    """
    target = Path(path)
    chosen = export_format(target, format)
    check_exists(store)
    check_export(target, overwrite=overwrite)
    with contextlib.closing(iter_rows(store, step, origin=origin)) as rows:
        if passages:
            return write_records(map(asdict, unique_passages(rows)), target, chosen, PASSAGE_COLUMNS)
        return write_records(map(ArchiveRow.to_dict, rows), target, chosen, ROW_COLUMNS)


def export_format(path: Path, given: str | None = None) -> ExportFormat:
    """Return the given format, or the one that the suffix of a file stands for.

    Example:
        >>> export_format(Path("rows.parquet")), export_format(Path("rows.txt"), "csv")
        ('parquet', 'csv')

    Raises:
        ConfigurationError: it is not a format, or the suffix stands for none; or Parquet, and pyarrow is not installed.
    """
    if given is not None and given not in FORMATS:
        raise ConfigurationError(f"The format {given!r} is not known; choose one of {', '.join(FORMATS)}.")
    chosen = next((one for one in FORMATS if one == given), None) or _SUFFIXES.get(path.suffix.lower())
    if chosen is None:
        raise ConfigurationError(
            f"The name {path.name!r} does not say a format: end it in .parquet, .jsonl or .csv, or state the format."
        )
    if chosen == "parquet":
        _pyarrow()
    return chosen


def check_export(path: Path, *, overwrite: bool) -> None:
    """Check that a file can be written, before the store is read.

    Raises:
        ConfigurationError: the file exists and must not be replaced, or is a database; its name is a
            folder's, or is not possible.
        LocalResourceError: the location is not writable.
    """
    check_targets([path])
    if path.is_file():
        if not overwrite:
            raise ConfigurationError(
                f"{path} exists. Choose another name, or replace it: overwrite=True (--overwrite)."
            )
        if _is_database(path):
            raise ConfigurationError(f"{path} is a database, perhaps the store itself. Choose another name.")


def _is_database(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(len(_DATABASE)) == _DATABASE
    except OSError:  # writing tells
        return False


# --- Records ---


def unique_passages(rows: Iterable[ArchiveRow]) -> Iterator[ArchivePassage]:
    """Yield the passages of rows; those of one answer once, however many files have that content."""
    with contextlib.closing(Seen()) as seen:
        for row in rows:
            if row.status != "ok":
                continue
            if seen.is_new(f"{row.step_digest} {row.content_digest}"):
                yield from passages_of(row)


def flat(record: Mapping[str, Any], columns: Mapping[str, Kind]) -> Record:
    """Return a record as a table holds it: an answer is JSON text, and every text can be encoded.

    Example:
        >>> flat({"kind": "event", "value": {"at": float("nan")}}, {"kind": "text", "value": "json"})
        {'kind': 'event', 'value': '{"at": null}'}
    """
    return {name: _cell(record[name], kind) for name, kind in columns.items()}


def _cell(value: Any, kind: Kind) -> Any:  # noqa: ANN401  (JSON)
    match kind:
        case "text":
            return encodable(str(value))
        case "json":
            return None if value is None else json_text(value)
        case "number":
            return None if value is None else float(value)
        case _:
            return value


def json_text(value: Any) -> str:  # noqa: ANN401  (JSON)
    """Return JSON that every reader takes: numbers that JSON does not have are null, lone surrogates spelled out."""
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False)
        text.encode()
    except ValueError:
        return json.dumps(with_leaves(value, _plain), ensure_ascii=False)
    return text


def _plain(value: object) -> object:
    if isinstance(value, str):
        return encodable(value)
    return None if isinstance(value, float) and not math.isfinite(value) else value


def encodable(text: str) -> str:
    """Return a text in which lone surrogates, which file names and answers may hold, are spelled out."""
    return text.encode("utf-8", "backslashreplace").decode()


# --- Files ---


def write_records(
    records: Iterable[Record], path: Path, form: ExportFormat, columns: Mapping[str, Kind]
) -> int:  # fmt: skip
    """Write records to a temporary file, and rename it to `path` once it is complete; return their number."""
    with writing(path) as arriving:
        if form == "parquet":
            with arriving.open("wb") as file:
                return _write_parquet(file, records, columns)
        with arriving.open("w", encoding="utf-8", newline="") as text:
            return (_write_lines if form == "jsonl" else _write_csv)(text, records, columns)


def _write_lines(file: IO[str], records: Iterable[Record], columns: Mapping[str, Kind]) -> int:
    count = 0
    for count, record in enumerate(records, start=1):  # noqa: B007  (the count is what is returned)
        file.write(json_text({name: record[name] for name in columns}) + "\n")
    return count


def _write_csv(file: IO[str], records: Iterable[Record], columns: Mapping[str, Kind]) -> int:
    writer, count = csv.writer(file, lineterminator="\n"), 0
    writer.writerow(columns)
    for count, record in enumerate(records, start=1):  # noqa: B007  (the same)
        cells = flat(record, columns).values()
        writer.writerow([clean(one, "csv") if isinstance(one, str) else _shown(one) for one in cells])
    return count


def _shown(value: bool | float | None) -> str:
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _write_parquet(file: IO[bytes], records: Iterable[Record], columns: Mapping[str, Kind]) -> int:
    """Write row groups. A file without rows still has all columns and their types."""
    pyarrow, count = _pyarrow(), 0
    schema = arrow_schema(columns)
    with pyarrow.parquet.ParquetWriter(file, schema, compression="zstd") as writer:
        for group in _groups(flat(record, columns) for record in records):
            writer.write_batch(pyarrow.RecordBatch.from_pylist(group, schema=schema))
            count += len(group)
    return count


def _groups(records: Iterable[Record]) -> Iterator[list[Record]]:
    group, size = list[Record](), 0
    for record in records:
        group.append(record)
        size += sum(len(one) for one in record.values() if isinstance(one, str))
        if len(group) >= _GROUP_ROWS or size >= _GROUP_CHARACTERS:
            yield group
            group, size = [], 0
    if group:
        yield group


def arrow_schema(columns: Mapping[str, Kind] = ROW_COLUMNS) -> Any:  # noqa: ANN401  (a schema of pyarrow)
    """Return the schema of exported Parquet files, which is also that of rows in other engines.

    Raises:
        ConfigurationError: pyarrow is not installed.
    """
    pyarrow = _pyarrow()
    types = {
        "text": pyarrow.string(), "json": pyarrow.string(), "flag": pyarrow.bool_(), "count": pyarrow.int64(),
        "number": pyarrow.float64(),
    }  # fmt: skip
    return pyarrow.schema([(name, types[kind]) for name, kind in columns.items()])


def _pyarrow() -> ModuleType:
    try:
        import pyarrow  # noqa: ICN001, PLC0415  (an extra; loads on first use)
        import pyarrow.parquet  # noqa: PLC0415
    except ImportError as error:
        raise ConfigurationError(
            "Parquet needs an extra package: pip install 'qwen-omni[parquet]'. JSON lines (.jsonl) and CSV need none."
        ) from error
    return cast("ModuleType", pyarrow)
