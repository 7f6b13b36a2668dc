"""Rows in a file: what every reader finds in it, and that it is complete or not there."""

import csv
import json
import math
import os
import stat
import sys
import tracemalloc
from dataclasses import fields, replace
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import pytest
from hypothesis import given, settings as runs, strategies

from qwen_omni.archive import export, iter_rows, run
from qwen_omni.archive.export import (
    FORMATS,
    PASSAGE_COLUMNS,
    ROW_COLUMNS,
    arrow_schema,
    export_format,
    write_records,
)
from qwen_omni.archive.rows import ArchivePassage, ArchiveRow
from qwen_omni.errors import ConfigurationError, LocalResourceError, StoreError
from qwen_omni.work_store import postgres
from tests.support.archives import SETTINGS, Asking, files
from tests.support.postgres import own_server, place

__all__ = ["own_server", "place"]

exporting = import_module("qwen_omni.archive.export")  # the package has the function under this name

ROW = ArchiveRow(
    uri="talks/a.mp4", etag="1 2 3", content_digest="c1", step="caption", step_digest="s1", model="m", status="ok",
    error_code="", error="", retryable=False, value={"text": "Grüße, 世界 👋", "tags": ["a", "b"]}, truncated=False,
    input_tokens=71_282, output_tokens=12, cost_cny=0.059, reused=False, attempt=1, worker="host 1", started_at=1.25,
    finished_at=2.5,
)  # fmt: skip
FAILED = replace(
    ROW, uri="b.mp4", status="failed", error_code="UnreadableMediaError", error="b.mp4 is empty", value=None,
    cost_cny=None,
)  # fmt: skip


def write(path, *rows, form=None):
    return write_records(map(ArchiveRow.to_dict, rows), path, form or export_format(path), ROW_COLUMNS)


def read(path):
    """Return the records of a file as the usual reader of its format finds them, answers as JSON."""
    match path.suffix:
        case ".parquet":
            parquet = pytest.importorskip("pyarrow.parquet")
            records = parquet.read_table(path).to_pylist()
            return [{**one, "value": one["value"] and json.loads(one["value"])} for one in records]
        case ".jsonl":
            return [json.loads(line, parse_constant=pytest.fail) for line in path.read_text("utf-8").split("\n")[:-1]]
    with path.open(encoding="utf-8", newline="") as file:
        records = list(csv.DictReader(file))
    return [{name: _read_cell(one[name], kind) for name, kind in ROW_COLUMNS.items()} for one in records]


def _read_cell(text, kind):
    if kind == "text":
        return text
    return json.loads(text) if text else None


@pytest.fixture(params=FORMATS)
def path(request, tmp_path):
    """A file of each format."""
    if request.param == "parquet":
        pytest.importorskip("pyarrow")
    return tmp_path / f"rows.{request.param}"


def test_the_columns_are_those_of_a_row_and_of_a_passage():
    """In their order: a new column of a row is a column of every file."""
    assert [*ROW_COLUMNS] == [one.name for one in fields(ArchiveRow)]
    assert [*PASSAGE_COLUMNS] == [one.name for one in fields(ArchivePassage)]


def test_what_is_written_is_read(path):
    """With every type and any script, and what is not there is null."""
    assert write(path, ROW, FAILED) == 2
    assert read(path) == [ROW.to_dict(), FAILED.to_dict()]


TEXT = strategies.text(strategies.characters(), max_size=12)
JSON = strategies.recursive(
    strategies.none() | strategies.booleans() | strategies.integers(-(2**53), 2**53) | strategies.floats() | TEXT,
    lambda inner: strategies.lists(inner, max_size=3) | strategies.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)  # fmt: skip


def _usual(value):
    """A value without what JSON and UTF-8 do not have."""
    match value:
        case str():
            return value.encode("utf-8", "backslashreplace").decode()
        case float() if not math.isfinite(value):
            return None
        case dict():
            return {_usual(name): _usual(one) for name, one in value.items()}
        case list():
            return [*map(_usual, value)]
    return value


@given(value=JSON, error=TEXT)
@runs(max_examples=50)
def test_any_answer_can_be_written(value, error, tmp_path_factory):
    """Numbers that JSON lacks are null, lone surrogates (of odd file names) are spelled out, the rest is as it was."""
    for form in ("jsonl", *(["parquet"] if find_spec("pyarrow") else [])):
        path = tmp_path_factory.getbasetemp() / f"any.{form}"
        write(path, replace(ROW, value=value, error=error))
        (record,) = read(path)
        assert record["value"] == _usual(value)
        assert record["error"] == _usual(error)


def test_a_sheet_has_no_formulas(tmp_path):
    """What a stranger's file is called is never a formula of a spreadsheet; a line break stays in its cell."""
    path = tmp_path / "rows.csv"
    write(path, replace(ROW, uri="=HYPERLINK(1).mp4", error="one\r\ntwo"))
    (record,) = read(path)
    assert record["uri"] == "'=HYPERLINK(1).mp4"
    assert record["error"] == "one\ntwo"


def test_a_file_without_rows_has_the_same_columns(path):
    """A program that reads it needs no special case."""
    assert write(path) == 0
    assert read(path) == []
    if path.suffix == ".parquet":
        parquet = pytest.importorskip("pyarrow.parquet")
        assert parquet.read_schema(path).equals(arrow_schema())
    if path.suffix == ".csv":
        assert path.read_text().strip() == ",".join(ROW_COLUMNS)


def test_parquet_is_written_in_groups(tmp_path, monkeypatch):
    """By rows or by characters, whatever is reached first; a column that is always null keeps its type."""
    parquet = pytest.importorskip("pyarrow.parquet")
    monkeypatch.setattr(exporting, "_GROUP_ROWS", 4)
    monkeypatch.setattr(exporting, "_GROUP_CHARACTERS", 1000)
    path = tmp_path / "rows.parquet"
    long = replace(FAILED, error="x" * 1000)
    write(path, *[FAILED] * 3, long, FAILED, long, *[FAILED] * 5)
    file = parquet.ParquetFile(path)
    assert [file.metadata.row_group(one).num_rows for one in range(file.num_row_groups)] == [4, 2, 4, 1]
    assert file.schema_arrow.equals(arrow_schema())


def test_rows_are_not_collected(tmp_path):
    """Four megabytes of rows take a fraction of that in memory."""
    write(tmp_path / "rows.jsonl", ROW)  # what is loaded once
    rows = (replace(ROW, uri=f"{number}", value="x" * 4000).to_dict() for number in range(1000))
    tracemalloc.start()
    write_records(rows, tmp_path / "rows.jsonl", "jsonl", ROW_COLUMNS)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 1_000_000
    assert (tmp_path / "rows.jsonl").stat().st_size > 4_000_000


# --- Out of a store ---


def done(place, tmp_path, *contents, step=None):
    """Ask about files with these contents; return the rows that the store then has."""
    made = files(tmp_path / "in", *contents)
    for _ in run(made, step or Asking(), store=place, settings=SETTINGS):
        pass
    return [*iter_rows(place, step)]


def test_the_rows_of_a_store(place, tmp_path):
    """With and without an answer, in the order of `iter_rows`, from a file and from a server."""
    rows = done(place, tmp_path, "A door.", "A window.", "MediaRefusedError", "A door.")
    assert export(place, tmp_path / "rows.jsonl") == 4
    assert read(tmp_path / "rows.jsonl") == [row.to_dict() for row in rows]
    assert {row.status for row in rows} == {"ok", "refused"}


def test_the_passages_of_a_store(tmp_path):
    """Those of one content once, however many files have it; of another step again."""
    store, path = tmp_path / "a.db", tmp_path / "passages.jsonl"
    done(store, tmp_path, "A door.", "A window.", "MediaRefusedError", "A door.")
    assert export(store, path, passages=True) == 2
    found = [json.loads(line) for line in path.read_text().splitlines()]
    assert {one["text"] for one in found} == {"A door.", "A window."}
    assert [*found[0]] == [*PASSAGE_COLUMNS]
    done(store, tmp_path, "A door.", step=Asking("d2"))
    assert export(store, path, passages=True, overwrite=True) == 3
    assert export(store, path, passages=True, step=Asking("d2"), overwrite=True) == 1
    assert export(store, path, passages=True, step="other", overwrite=True) == 0
    assert path.read_bytes() == b""


def test_a_store_is_not_created(tmp_path):
    """Neither the store nor the file appears where there was none."""
    with pytest.raises(ConfigurationError, match="There is no archive store"):
        export(tmp_path / "gone.db", tmp_path / "rows.csv")
    assert [*tmp_path.iterdir()] == []


def test_an_existing_file_is_kept(tmp_path):
    """Unless it may be replaced; that is found before the store is read."""
    done(tmp_path / "a.db", tmp_path, "A door.")
    path = tmp_path / "rows.csv"
    path.write_text("mine")
    with pytest.raises(ConfigurationError, match=r"rows.csv exists.*overwrite=True"):
        export(tmp_path / "a.db", path)
    assert path.read_text() == "mine"
    assert export(tmp_path / "a.db", path, overwrite=True) == 1


@pytest.mark.parametrize("link", [False, True])
def test_a_store_is_never_replaced(tmp_path, link):
    """What it holds was paid for; the same under another name, whatever the caller says."""
    done(tmp_path / "a.db", tmp_path, "A door.")
    path = tmp_path / "a.db"
    if link:
        path = tmp_path / "rows.csv"
        path.symlink_to(tmp_path / "a.db")
    with pytest.raises(ConfigurationError, match="is a database, perhaps the store itself"):
        export(tmp_path / "a.db", path, format="csv", overwrite=True)
    assert [row.status for row in iter_rows(tmp_path / "a.db")] == ["ok"]


def test_several_servers(tmp_path):
    """An answer of one is not given out as another's: the caller chooses."""
    store = tmp_path / "a.db"
    own = replace(SETTINGS, base_url="http://localhost:8000/v1")
    made = files(tmp_path / "in", "A door.")
    for settings in (SETTINGS, own):
        assert [row.status for row in run(made, Asking(), store=store, settings=settings)] == ["ok"]
    with pytest.raises(ConfigurationError, match="answers of several servers"):
        export(store, tmp_path / "rows.csv")
    assert export(store, tmp_path / "rows.csv", origin=own.origin) == 1


@pytest.mark.slow
def test_a_server_that_goes_away(own_server, tmp_path, monkeypatch):
    """In the middle of an export: one error that names the server, and no file; afterwards, all of it."""
    monkeypatch.setattr(postgres, "_PATIENCE", 1.0)
    place, path = own_server.new_database("shown"), tmp_path / "rows.jsonl"
    done(place, tmp_path, *(f"Door {number}." for number in range(1200)))
    written = exporting.json_text
    count = iter(range(10**9))

    def until(value):
        if next(count) == 10:
            own_server.kill()
        return written(value)

    with monkeypatch.context() as patched:
        patched.setattr(exporting, "json_text", until)
        with pytest.raises(StoreError, match="unreachable"):
            export(place, path)
    assert [one.name for one in tmp_path.iterdir()] == ["in"]
    own_server.start()
    assert export(place, path) == 1200


# --- Complete, or not there ---


def _rows_until(error):
    for number in range(100):
        if number == 50:
            raise error
        yield replace(ROW, uri=f"{number}", value="x" * 20_000).to_dict()


@pytest.mark.parametrize("old", [None, b"earlier"], ids=["new", "replaced"])
@pytest.mark.parametrize(
    "error", [StoreError("gone", reason="down", address="db"), KeyboardInterrupt()], ids=["store", "stopped"]
)
def test_what_ends_in_the_middle_leaves_nothing(path, old, error):
    """An earlier file stays as it was, there is no half one, and no temporary one is left."""
    if old is not None:
        path.write_bytes(old)
    with pytest.raises(type(error)):
        write_records(_rows_until(error), path, export_format(path), ROW_COLUMNS)
    assert [one.name for one in path.parent.iterdir()] == ([] if old is None else [path.name])
    assert old is None or path.read_bytes() == old


@pytest.fixture
def small_files():
    """A limit of the system: no file above 200 kB."""
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_file_that_cannot_grow(path, small_files):
    """The machine is to blame, with the name of the file and what to do; nothing is left."""
    rows = (replace(ROW, uri=f"{number}", error=os.urandom(2000).hex()).to_dict() for number in range(200))
    with pytest.raises(LocalResourceError, match=f"{path.name} cannot be written: File too large") as raised:
        write_records(rows, path, export_format(path), ROW_COLUMNS)
    assert raised.value.resource == "file size"
    assert [*path.parent.iterdir()] == []


def test_permissions_are_the_usual_ones(path):
    """A new file has those of any new file, a replaced one keeps its own."""
    usual = path.with_name("usual")
    usual.touch()
    write(path, ROW)
    assert path.stat().st_mode == usual.stat().st_mode
    path.chmod(0o640)
    write(path, ROW)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


# --- Formats, names, passages ---


@pytest.mark.parametrize(
    ("name", "given", "form"),
    [("a.JSONL", None, "jsonl"), ("a.ndjson", None, "jsonl"), ("a.csv", "jsonl", "jsonl"), ("a", "csv", "csv")],
)
def test_formats(name, given, form):
    """By the suffix, unless one is stated."""
    assert export_format(Path(name), given) == form


@pytest.mark.parametrize(
    ("name", "given", "says"),
    [
        ("rows.xlsx", None, "'rows.xlsx' does not say a format: end it in .parquet, .jsonl or .csv"),
        ("rows", None, "does not say a format"),
        ("rows.csv", "excel", "The format 'excel' is not known; choose one of parquet, jsonl, csv"),
    ],
)
def test_unknown_formats(name, given, says):
    """The suffix or the word, and what there is."""
    with pytest.raises(ConfigurationError, match=says):
        export_format(Path(name), given)


def test_parquet_without_pyarrow(monkeypatch):
    """One line with the extra, before anything is read."""
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ConfigurationError, match=r"pip install 'qwen-omni\[parquet\]'"):
        export_format(Path("rows.parquet"))
