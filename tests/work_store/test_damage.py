"""Damaged, foreign, newer and older files: one error or notice that names the file and the way out."""

import contextlib
import json
import os
import sqlite3
import warnings
from fractions import Fraction

import pytest

from qwen_omni.errors import ConfigurationError, LocalResourceError, QwenOmniError
from qwen_omni.media.plan.segments import Segment
from qwen_omni.responses import Usage
from qwen_omni.structured.batch import Results
from qwen_omni.transcription.task import Submitted, Tasks
from qwen_omni.upload.cache import Claim, Held, UploadCache
from qwen_omni.video.engine.worker import Checkpoint
from qwen_omni.video.results import Paid

FIRST = Segment(index=0, start=Fraction(0), end=Fraction(12))
SECOND = Segment(index=1, start=Fraction(10), end=Fraction(22))

OLD_CHECKPOINT = """
CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE cuts (number INTEGER PRIMARY KEY, start TEXT NOT NULL, stop TEXT NOT NULL);
CREATE TABLE finished (step TEXT PRIMARY KEY, answer TEXT NOT NULL, at REAL NOT NULL);
CREATE TABLE claims (step TEXT PRIMARY KEY, owner TEXT NOT NULL);
CREATE TABLE spent (answer TEXT PRIMARY KEY, model TEXT NOT NULL, usage TEXT NOT NULL);
INSERT INTO facts VALUES ('form', '1');
INSERT INTO cuts VALUES (0, '0', '12'), (1, '10', '22');
INSERT INTO finished VALUES ('segment:0', '{"index":0,"summary":"a"}', 1.0), ('join:1', '{"summary":"b"}', 2.0);
INSERT INTO claims VALUES ('segment:1', 'gone');
INSERT INTO spent VALUES ('a', 'm', '{"input_tokens": 5, "output_tokens": 7, "total_tokens": 12}');
"""
OLD_UPLOADS = """
CREATE TABLE uploads (key TEXT PRIMARY KEY, owner TEXT NOT NULL, claimed_until REAL NOT NULL,
  location TEXT, expires_at REAL NOT NULL DEFAULT 0, resume TEXT);
INSERT INTO uploads VALUES ('there', '', 0, 'place', 9e9, NULL), ('gone', '', 0, 'old place', 5, NULL),
  ('begun', 'host 1 2', 9e9, NULL, 0, 'upload-1');
"""


def run_sql(path, text):
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as base:
        base.executescript(text)


@pytest.fixture
def path(tmp_path):
    """A checkpoint with two cuts, two answers and a bill."""
    path = tmp_path / "run.sqlite3"
    with Checkpoint(path, origin="dashscope") as kept:
        kept.cut(FIRST)
        kept.cut(SECOND)
        kept.finish("segment:0", '{"index":0,"summary":"a"}')
        kept.finish("segment:1", '{"index":1,"summary":"b"}')
        kept.pay("a", "m", Usage(input_tokens=5))
    return path


# --- Files that cannot be a store ---

RESULTS = "CREATE TABLE results (run, origin, step, value, stored_at, expires_at)"
FILES = {
    "text": b"some notes\nof somebody\n" * 400,
    "short text": b"x",
    "JSON": b'{"key": 1}',
    "zeros": bytes(8192),
    "random bytes": os.urandom(8192),
    "a header alone": b"SQLite format 3\x00",
    "a header and zeros": b"SQLite format 3\x00" + bytes(4080),
    "a header and rubbish": b"SQLite format 3\x00" + os.urandom(8176),
    "a picture": b"\x89PNG\r\n\x1a\n" + bytes(5000),
    "a zip": b"PK\x03\x04" + bytes(5000),
}
STATEMENTS = {
    "tables of another program": "CREATE TABLE people (name)",
    "an empty table `facts` among others": "CREATE TABLE facts (name, value); CREATE TABLE people (name)",
    "facts of another program": "CREATE TABLE facts (id, text)",
    "facts as a view": "CREATE VIEW facts AS SELECT 'form' AS name, '7' AS value",
    "no version": f"CREATE TABLE facts (name, value); {RESULTS}",
    "uploads of another program": "CREATE TABLE uploads (id, file)",
    "results of another program": "CREATE TABLE results (id, points)",
    "a checkpoint without cuts": OLD_CHECKPOINT + "DROP TABLE cuts;",
    "a checkpoint without answers": OLD_CHECKPOINT + "DROP TABLE finished;",
    "a checkpoint with other columns": OLD_CHECKPOINT + "ALTER TABLE finished RENAME COLUMN answer TO text;",
    "a checkpoint without a version": OLD_CHECKPOINT + "DELETE FROM facts; DROP TABLE spent;",
}
VERSIONS = {
    "newer": "'5'", "much newer": "'99999999999999999999'", "negative": "'-1'", "words": "'two'", "empty": "''",
    "a blob": "x'00ff'", "no UTF-8": "CAST(x'ff' AS TEXT)", "other digits": "'\u0662'", "a long one": f"'{'9' * 5000}'",
}  # fmt: skip
TABLES = {
    **{f"without {name}": f"DROP TABLE {name}" for name in ("results", "claims", "spend")},
    "with a column less": "ALTER TABLE results DROP COLUMN expires_at",
    "with a column more": "ALTER TABLE claims ADD COLUMN extra",
    "with a view as table": "DROP TABLE spend; CREATE VIEW spend AS SELECT 1 AS id",
}


def check_refused(path, *, words=""):
    """Every user of the file says which file it is and what to do, and nothing else is raised."""
    before = path.read_bytes()
    with pytest.raises(ConfigurationError) as raised:
        Checkpoint(path)
    told = str(raised.value)
    assert str(path) in told
    assert "remove that file" in told
    assert words in told
    assert len(told) < 600
    assert path.read_bytes() == before


@pytest.mark.parametrize("kind", FILES)
def test_a_file_that_is_none_of_ours(tmp_path, kind):
    path = tmp_path / "run.sqlite3"
    path.write_bytes(FILES[kind])
    check_refused(path)


@pytest.mark.parametrize("kind", STATEMENTS)
def test_a_database_that_is_none_of_ours(tmp_path, kind):
    path = tmp_path / "run.sqlite3"
    run_sql(path, STATEMENTS[kind])
    check_refused(path)


@pytest.mark.parametrize("kind", VERSIONS)
def test_a_version_that_is_not_known(path, kind):
    run_sql(path, f"UPDATE facts SET value = {VERSIONS[kind]} WHERE name = 'form'")
    check_refused(path, words="newer version (schema 5; this one reads up to 4)" if kind == "newer" else "")


@pytest.mark.parametrize("kind", TABLES)
def test_tables_that_are_not_ours_any_more(path, kind):
    run_sql(path, TABLES[kind])
    check_refused(path)


@pytest.mark.parametrize("share", [0.1, 0.3, 0.6, 0.9])
def test_a_file_that_was_cut(path, share):
    with Checkpoint(path, origin="dashscope") as kept:
        for n in range(40):
            kept.finish(f"join:{n}", json.dumps({"summary": "word " * 400}))
    os.truncate(path, int(path.stat().st_size * share))
    check_refused(path)


@pytest.mark.parametrize("seed", range(6))
def test_pages_that_were_overwritten(path, seed):
    """Refused, or what is left is given out as it was stored: no other outcome."""
    with Checkpoint(path, origin="dashscope") as kept:
        for n in range(40):
            kept.finish(f"join:{n}", json.dumps({"n": n, "summary": "word " * 400}))
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(4096 + (size - 8192) * seed // 6)
        file.write(bytes([seed + 1]) * 2048)
    try:
        with Checkpoint(path, origin="dashscope") as kept:
            for n in range(40):
                found = kept.find(f"join:{n}")
                assert found is None or isinstance(json.loads(found), dict)
    except ConfigurationError as error:
        assert str(path) in str(error)


@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo])
def test_a_folder_or_a_pipe_in_its_place(tmp_path, make):
    make(tmp_path / "run.sqlite3")
    with pytest.raises(ConfigurationError, match=r"run\.sqlite3 is not a file"):
        Checkpoint(tmp_path / "run.sqlite3")


@pytest.mark.skipif(os.geteuid() == 0, reason="the super-user may write everywhere")
@pytest.mark.parametrize("mode", [0o400, 0o000])
def test_a_file_that_may_not_be_written(path, mode):
    path.chmod(mode)
    with pytest.raises(LocalResourceError) as raised:
        Checkpoint(path)
    assert raised.value.resource == "permission"
    assert raised.value.path == str(path)


# --- Rows ---

ROWS = {
    "value: a blob": ("value", "x'7b7d'"),
    "value: no UTF-8": ("value", "CAST(x'7bff7d' AS TEXT)"),
    "value: cut": ("value", "'{\"index\":0,'"),
    "value: empty": ("value", "''"),
    "value: null": ("value", "'null'"),
    "value: deep": ("value", f"'{'[' * 100_000}'"),
    "value: words": ("value", "'hello'"),
    "expires: words": ("expires_at", "'never'"),
    "expires: a blob": ("expires_at", "x'00'"),
    "expires: past": ("expires_at", "1.0"),
}


@pytest.mark.parametrize("kind", ROWS)
def test_a_row_that_cannot_be_read_is_done_again_once(path, kind):
    """Counted in a notice, never used, and replaced by the new answer, so that nobody pays for it at every run."""
    column, value = ROWS[kind]
    run_sql(path, f"UPDATE results SET {column} = {value} WHERE step = 'segment:0'")
    with Checkpoint(path, origin="dashscope") as kept:
        assert kept.find("segment:0") is None
        assert kept.claim("segment:0") is None
        assert kept.finish("segment:0", '{"index":0,"summary":"new"}') is None
        notices = kept.notices()
        assert json.loads(kept.find("segment:1"))["summary"] == "b"
    if kind != "expires: past":
        assert notices == [f"Damaged or unreadable entries in {path}: 1. They are not used; their steps are redone."]
    with Checkpoint(path, origin="dashscope") as again:
        assert json.loads(again.find("segment:0"))["summary"] == "new"
        assert again.notices() == []


CLAIMS = {
    "owner: a blob": ("owner", "x'00'"), "owner: empty": ("owner", "''"), "beat: words": ("beat", "'x'"),
    "lease: words": ("lease", "'x'"), "lease: negative": ("lease", "-5.0"), "lease: endless": ("lease", "9e999"),
    "lease: huge": ("lease", "1e12"),
}  # fmt: skip


@pytest.mark.parametrize("kind", CLAIMS)
def test_a_claim_that_cannot_be_read_blocks_nobody(path, kind):
    column, value = CLAIMS[kind]
    run_sql(
        path,
        "INSERT INTO claims VALUES ('run', 'dashscope', 'segment:2', 'elsewhere b n 1 2 u', 0, 10.0, NULL);"
        f"UPDATE claims SET {column} = {value}",
    )
    with Checkpoint(path, origin="dashscope") as kept:
        assert kept.look("segment:2") is None
        assert kept.claim("segment:2") is None


CUTS = {
    "words": '{"start": "a", "end": "12"}', "a number": '{"start": 0, "end": 12}', "a list": "[0, 12]",
    "backwards": '{"start": "12", "end": "0"}', "empty": '{"start": "0", "end": "0"}', "nothing": "{}",
    "by zero": '{"start": "0", "end": "1/0"}', "huge": '{"start": "0", "end": "1e999999999"}', "cut": '{"start": "0',
    "negative": '{"start": "-5", "end": "12"}',
}  # fmt: skip


@pytest.mark.parametrize("kind", CUTS)
def test_a_cut_that_cannot_be_read_is_decided_anew(path, kind):
    """And those behind it, which followed from it."""
    run_sql(path, f"UPDATE results SET value = '{CUTS[kind]}' WHERE step = 'cut:0'")
    with Checkpoint(path, origin="dashscope") as kept:
        assert kept.cuts() == {}
        assert kept.notices()
        kept.cut(FIRST)
        assert kept.cuts() == {0: FIRST}


USAGES = ['"x"', "[]", '{"model": 1}', '{"model": "m", "usage": {"input_tokens": "many"}}', "{",
          '{"model": "m", "usage": {"input_tokens": -1}}',
          '{"model": "m", "usage": {"input_tokens": 1' + "0" * 400 + "}}",
          '{"model": "m", "usage": null}']  # fmt: skip


@pytest.mark.parametrize("value", USAGES)
def test_a_bill_that_cannot_be_read_is_left_out(path, value):
    run_sql(path, f"INSERT INTO spend VALUES ('b', 'run', 'dashscope', '{value}', 0)")
    with Checkpoint(path, origin="dashscope") as kept:
        assert kept.paid() == [Paid("m", Usage(input_tokens=5))]


# --- Files of older versions ---


def test_a_checkpoint_of_an_older_version(tmp_path):
    """Cuts count; answers and bills are kept, counted in a notice, and used on request alone."""
    path = tmp_path / "run.sqlite3"
    run_sql(path, OLD_CHECKPOINT)
    with Checkpoint(path, origin="dashscope") as kept:
        assert kept.cuts() == {0: FIRST, 1: SECOND}
        assert kept.find("segment:0") is None
        assert kept.paid() == []
        assert f"{path} that an older version stored without recording which server gave them: 2." in kept.unverified()
        assert kept.claim("segment:1") is None  # its owner was of the older version
    with Checkpoint(path, origin="dashscope", reuse_unverified=True) as kept:
        assert json.loads(kept.find("segment:0")) == {"index": 0, "summary": "a"}
        assert kept.claim("join:1") == '{"summary": "b"}'
        assert kept.paid() == [Paid("m", Usage(input_tokens=5, output_tokens=7, total_tokens=12))]
        assert kept.unverified() == ""
    with Checkpoint(path, origin="dashscope") as kept:
        kept.finish("segment:0", "{}")
        assert "gave them: 1." in kept.unverified()  # answered since


@pytest.mark.parametrize("statement", [
    "INSERT INTO finished VALUES (x'00', '{}', 1)", "INSERT INTO finished VALUES ('s', x'7b', 1)",
    "INSERT INTO cuts VALUES (7, x'00', '1')", "INSERT INTO spent VALUES ('b', 'm', '{')",
    "INSERT INTO spent VALUES ('b', 'm', x'00')",
])  # fmt: skip
def test_damaged_rows_of_an_older_version_are_counted(tmp_path, statement):
    path = tmp_path / "run.sqlite3"
    run_sql(path, OLD_CHECKPOINT + statement)
    with Checkpoint(path, origin="dashscope", reuse_unverified=True) as kept:
        assert kept.find("segment:0")
        assert kept.notices() == [
            f"Damaged or unreadable entries in {path}: 1. They are not used; their steps are redone."
        ]


def test_uploads_and_tasks_of_an_older_version(tmp_path):
    """Their keys name the store and the account, so they count; what was begun goes on."""
    run_sql(tmp_path / "uploads.sqlite3", OLD_UPLOADS)
    cache = UploadCache(tmp_path)
    assert cache.look("there") == Held(location="place", expires_at=9e9)
    assert cache.look("gone") == Claim(key="gone", resume=None)
    assert cache.look("begun") == Claim(key="begun", resume="upload-1")
    run_sql(tmp_path / "tasks.sqlite3", OLD_UPLOADS.replace("'place'", "'task-1' || char(10) || 'object'"))
    assert Tasks(tmp_path).look("there") == Submitted("task-1", "object")


def test_captions_of_an_older_version(tmp_path):
    """JSON lines are read and left as they are; lines that cannot be read are counted."""
    old = tmp_path / "done.jsonl"
    lines = [{"key": "a", "answer": "1"}, {"key": "a", "answer": "2"}, {"key": "b", "answer": "\ud83d"}]
    text = "\n".join(json.dumps(line) for line in lines) + '\n[1]\n\n{"key": "c", "ans'
    old.write_text(text)
    results = Results(old)
    assert results.place == tmp_path / "done.sqlite3"
    assert results.notices() == [f"Lines of {old} that could not be read: 2. Their captions are requested again."]
    assert results.find("a", "dashscope") is None
    assert (
        f"{results.place} that an older version stored without recording which server gave them: 2."
        in results.unverified()
    )
    again = Results(tmp_path / "done.sqlite3", reuse_unverified=True)
    assert again.find("a", "dashscope") == {"answer": "2"}
    assert again.claim("b", "dashscope") == {"answer": "\ud83d"}
    assert old.read_text() == text
    with old.open("a") as file:  # an older version goes on beside this one
        file.write('\n{"key": "d", "answer": "4"}\n')
    assert Results(old, reuse_unverified=True).find("d") == {"answer": "4"}


@pytest.mark.parametrize("name", ["done", "done.db", "done.csv"])
def test_captions_of_an_older_version_under_any_name(tmp_path, name):
    (tmp_path / name).write_text('{"key": "a", "answer": "1"}\n')
    assert Results(tmp_path / name, reuse_unverified=True).find("a") == {"answer": "1"}
    assert (tmp_path / "done.sqlite3").exists()


@pytest.mark.parametrize("data", [b"my notes\nmore notes\n", b"\xff\xfe\n\xff\n", b"[1]\n[2]\n", b"{}\n{}\n"])
def test_lines_of_somebody_else(tmp_path, data):
    (tmp_path / "notes.jsonl").write_bytes(data)
    with pytest.raises(ConfigurationError, match=r"notes\.jsonl holds no results of this package in its 2 lines.*Name"):
        Results(tmp_path / "notes.jsonl")


@pytest.mark.parametrize("kind", [*FILES, *STATEMENTS])
def test_the_results_file_and_the_upload_cache_say_so_too(tmp_path, kind):
    """Captions are refused before anything is paid; uploads go on in memory, with one warning."""
    for name in ("done.sqlite3", "uploads.sqlite3"):
        if kind in FILES:
            (tmp_path / name).write_bytes(FILES[kind])
        elif "checkpoint" not in kind:
            run_sql(tmp_path / name, STATEMENTS[kind])
        else:
            (tmp_path / name).write_bytes(b"x" * 4096)
    with pytest.raises(QwenOmniError) as raised:
        Results(tmp_path / "done.sqlite3")
    assert "done.sqlite3" in str(raised.value)
    assert "--results" in str(raised.value)
    cache = UploadCache(tmp_path)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        claim = cache.look("k")
        cache.finish(claim, "place", 9e9)
        assert cache.look("k") == Held(location="place", expires_at=9e9)
    assert len(told) == 1
    assert str(tmp_path / "uploads.sqlite3") in str(told[0].message)
    assert "QWEN_OMNI_CACHE_DIR" in str(told[0].message)


@pytest.mark.parametrize("value", ["[]", '{"place": 1}', '{"location": 7}', '"x"'])
def test_an_upload_that_cannot_be_read_is_made_again(tmp_path, value):
    UploadCache(tmp_path).finish(Claim(key="k", resume=None), "place", 9e9)
    run_sql(tmp_path / "uploads.sqlite3", f"UPDATE results SET value = '{value}'")
    cache = UploadCache(tmp_path)
    assert cache.look("k") == Claim(key="k", resume=None)
    cache.finish(Claim(key="k", resume=None), "new", 9e9)
    assert UploadCache(tmp_path).look("k").location == "new"
