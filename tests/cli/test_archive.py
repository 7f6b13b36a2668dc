"""`qwen-omni archive`: what is asked, shown and stored, what a second run costs, and how a run is stopped."""

import json
import os
import re
import shutil
import signal
import subprocess
import time
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import pytest
import typer.main

from qwen_omni.archive import batch_run
from qwen_omni.archive.rows import ArchiveRow
from qwen_omni.archive.run import ArchiveProgress, iter_rows
from qwen_omni.archive.steps import Caption, Notes, Summarize, Transcribe
from qwen_omni.cli import archive
from qwen_omni.cli.archive_options import STEPS, SUITS, read_step
from qwen_omni.cli.human import span_text
from qwen_omni.cli.main import build_app
from qwen_omni.cli.output import live_facts
from qwen_omni.media.budget import Sampling
from qwen_omni.pricing.limit import SpendLimit
from qwen_omni.standin import Fault
from qwen_omni.standin.marked_media import make_video
from qwen_omni.structured.caption import CaptionOptions
from qwen_omni.structured.models import GeneralCaption
from qwen_omni.transcription.options import TranscriptionOptions
from qwen_omni.video.options import SummaryOptions
from tests.cli.conftest import RUN as COMMAND, terminal
from tests.support.killing import CountingStandin, make_images, rows_in
from tests.support.postgres import postgres

__all__ = ["postgres"]

PROCESS = (*COMMAND, "archive")
RUN = ("run", "videos", "--do", "caption", "--store", "a.db")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Three videos, a copy of one, and a file that is none; the codes that are in them."""
    folder = tmp_path_factory.mktemp("archive") / "videos"
    folder.mkdir()
    codes = [make_video(folder / f"{name}.mp4", seconds=2, size=(160, 120), fps=5).codes for name in "abc"]
    shutil.copy(folder / "a.mp4", folder / "copy of a.mp4")
    (folder / "notes.mp4").write_text("a shopping list")
    return folder, [code for each in codes for code in each]


@pytest.fixture
def run(command, made, tmp_path):
    """Run `archive` beside a copy of those files; the modification times are older than the run."""
    shutil.copytree(made[0], tmp_path / "videos")
    return lambda *words: command("archive", *words)


def asked(standin):
    return sum(bool(request.media) for request in standin.requests)


def environment_of(standin):
    """What a process needs to reach it."""
    return {
        **os.environ, "DASHSCOPE_API_KEY": standin.api_key, "DASHSCOPE_BASE_URL": standin.base_url, "COLUMNS": "200",
        "RAY_USAGE_STATS_ENABLED": "0",
    }  # fmt: skip


def told(err):
    """Standard error without line breaks, which depend on the width."""
    return " ".join(err.split())


def test_from_the_plan_to_the_export(run, made, standin, tmp_path):
    """Each content is asked about once; a file that is no media is a row; a second run asks nothing."""
    code, out, err = run("plan", "videos", "--do", "caption", "--store", "a.db", "--json")
    assert (code, json.loads(out)["files"], json.loads(out)["duplicates"]) == (0, 5, 1)
    assert "Nothing was sent" not in err
    assert not (tmp_path / "a.db").exists()

    code, out, err = run(*RUN, "--max-cny", "5")
    assert (code, out) == (1, "")
    assert "skipped: videos/notes.mp4 is not media" in told(err)
    assert "Name one media file" not in err
    assert "Files without an answer: 1 of 5 (1 unreadable media); they would fail again unchanged." in told(err)
    assert asked(standin) == 3

    code, out, _ = run(*RUN, "--json")
    assert code == 1
    found = json.loads(out)
    assert (found["counts"], found["reused"], found["input_tokens"]) == ({"ok": 4, "skipped": 1}, 4, 0)
    assert asked(standin) == 3

    code, out, err = run("export", "rows.jsonl", "--store", "a.db")
    assert (code, out, err) == (0, "", "wrote rows.jsonl: 5 rows\n")
    rows = {row["uri"]: row for row in map(json.loads, (tmp_path / "rows.jsonl").read_text().splitlines())}
    assert {name: row["status"] for name, row in rows.items()} == {
        "videos/a.mp4": "ok", "videos/b.mp4": "ok", "videos/c.mp4": "ok", "videos/copy of a.mp4": "ok",
        "videos/notes.mp4": "skipped",
    }  # fmt: skip
    assert all(code in json.dumps([row["value"] for row in rows.values()]) for code in made[1])

    code, _, err = run("export", "passages.jsonl", "--store", "a.db", "--passages")
    passages = [json.loads(line) for line in (tmp_path / "passages.jsonl").read_text().splitlines()]
    assert err == f"wrote passages.jsonl: {len(passages)} passages\n"
    assert {one["content_digest"] for one in passages} == {
        row["content_digest"] for row in rows.values() if row["status"] == "ok"
    }
    assert len({json.dumps(one) for one in passages}) == len(passages)


def test_status_adds_up_what_rows_say(run, tmp_path):
    """Its counts, tokens and money are those of the rows."""
    run(*RUN)
    code, out, _ = run("status", "--store", "a.db", "--json")
    found, rows = json.loads(out), [*iter_rows(tmp_path / "a.db")]
    assert (code, found["counts"], found["in_flight"]) == (0, {"ok": 4, "skipped": 1}, 0)
    assert found["input_tokens"] == sum(row.input_tokens for row in rows) > 0
    assert found["cost_cny"] == pytest.approx(sum(row.cost_cny for row in rows))
    code, out, _ = run("status", "--store", "a.db")
    lines = dict(line.split(maxsplit=1) for line in out.splitlines() if not line.startswith("in progress"))
    assert (lines["rows"], lines["ok"], lines["skipped"]) == ("5", "4", "1")
    assert lines["tokens"] == f"{found['input_tokens']:,} in, {found['output_tokens']:,} out"


def test_a_plan_says_what_is_done(run):
    """In words, with the time that the quota takes; after a run, nothing is left to ask."""
    code, out, err = run("plan", "videos", "--do", "caption", "--tpm", "1000")
    assert code == 0
    lines = dict(re.split(r" {2,}", line, maxsplit=1) for line in out.splitlines())
    assert [*lines] == ["files", "copies", "to ask", "media", "requests", "tokens", "cost", "takes"]
    assert (lines["files"], lines["copies"]) == ("5", "1")
    assert lines["to ask"] == "4 (1 of the 4 files opened would get no answer)"
    assert (lines["media"], lines["requests"]) == ("6 s", "3")
    tokens = [int(number.replace(",", "")) for number in re.findall(r"\d[\d,]*(?= )", lines["tokens"])]
    assert lines["takes"] == f"at least {span_text(sum(tokens) / 1000 * 60)} at 1,000 TPM"
    assert lines["cost"].startswith("CNY 0.0")
    assert "videos/notes.mp4 is not media" in told(err)
    assert "Nothing was sent" in told(err)
    run(*RUN)
    code, out, _ = run("plan", "videos", "--do", "caption", "--store", "a.db")
    assert code == 0
    assert [line.split() for line in out.splitlines()] == [["files", "5"], ["done", "5"], ["to", "ask", "0"]]


def test_a_limit_is_kept_and_raised(run, standin, tmp_path):
    """Rows beyond the limit are not begun, and say so; the same command with more money goes on."""
    code, _, err = run(*RUN, "--max-cny", "0.000001", "-j", "1")
    assert code == 1
    assert asked(standin) == 0
    assert "over budget: videos/" in told(err)
    assert re.search(r"\(\d (call|spend) limit.*; run again to try [45] of them again\.", told(err))
    statuses = {row.uri: row.status for row in iter_rows(tmp_path / "a.db")}
    assert statuses.pop("videos/notes.mp4") in ("skipped", "over_budget")  # not opened once the money is used up
    assert {*statuses.values()} == {"over_budget"}
    code, _, err = run(*RUN, "--max-cny", "5")
    assert asked(standin) == 3
    assert "of 5.00" in told(err)
    assert {row.status for row in iter_rows(tmp_path / "a.db")} == {"ok", "skipped"}


def test_retry_tries_what_may_succeed(run, standin, tmp_path):
    """By default not what failed for its own reason; with --permanent that, too. Nothing to do is no failure."""
    standin.script.reply("This is no caption.", times=100)
    code, _, err = run(*RUN)
    assert code == 1
    assert "(4 invalid answer, 1 unreadable media); run again to try 4 of them again." in told(err)
    standin.script.clear()
    (tmp_path / "videos" / "notes.mp4").unlink()
    code, _, err = run("retry", "--do", "caption", "--store", "a.db")
    assert code == 0, err
    assert {row.uri: row.status for row in iter_rows(tmp_path / "a.db")}["videos/b.mp4"] == "ok"
    code, _, err = run("retry", "--do", "caption", "--store", "a.db")
    assert (code, told(err)) == (0, "Nothing to try again; --permanent tries all failures.")
    code, _, err = run("retry", "--do", "caption", "--store", "a.db", "--permanent")
    assert code == 1
    assert "videos/notes.mp4 does not exist" in told(err)


def test_other_options_are_another_step(run, standin, tmp_path):
    """In the same store: both have their rows, and an export takes one of them, or both."""
    assert run(*RUN)[0] == 1
    assert run(*RUN, "--prompt", "Only colours.")[0] == 1
    assert asked(standin) == 6
    assert run("run", "videos", "--do", "notes", "--store", "a.db")[0] == 1
    counts = []
    for words in ((), ("--do", "caption"), ("--do", "notes"), ("--do", "summarize")):
        code, _, err = run("export", "rows.csv", "--store", "a.db", "--overwrite", *words)
        assert code == 0
        counts.append(err.split(": ")[1])
    assert counts == ["15 rows\n", "10 rows\n", "5 rows\n", "0 rows\n"]


def test_rows_in_parquet(run, tmp_path):
    """By the name of the file; an existing one is replaced only if that is asked for."""
    parquet = pytest.importorskip("pyarrow.parquet")
    run(*RUN)
    assert run("export", "rows.parquet", "--store", "a.db")[0] == 0
    rows = parquet.read_table(tmp_path / "rows.parquet").to_pylist()
    assert [row["uri"] for row in rows] == [row.uri for row in iter_rows(tmp_path / "a.db")]
    code, _, err = run("export", "rows.parquet", "--store", "a.db")
    assert code == 2
    assert "rows.parquet exists" in err
    assert run("export", "rows.parquet", "--store", "a.db", "--overwrite")[0] == 0


def test_a_database_that_machines_share(run, standin, postgres, monkeypatch):
    """The same commands with its address; the password in it is shown nowhere."""
    store = postgres.replace("postgres@", "postgres:secret-word@")
    with terminal(monkeypatch) as shown:
        code, out, _ = run(*RUN[:-1], store, "--max-cny", "5")
    assert code == 1
    assert asked(standin) == 3
    assert "postgresql://" in shown[0]
    code, status, err = run("status", "--store", store, "--json")
    assert (code, json.loads(status)["counts"]) == (0, {"ok": 4, "skipped": 1})
    code, _, wrote = run("export", "rows.jsonl", "--store", store)
    assert (code, wrote) == (0, "wrote rows.jsonl: 5 rows\n")
    assert "secret-word" not in "".join((out, *shown, status, err, wrote))


# --- What is shown ---


def _view(**more):
    progress = ArchiveProgress(
        counts={"ok": 30, "failed": 5, "over_budget": 2}, reused=10, in_flight=8, input_tokens=1_400_000,
        output_tokens=40_000, cost_cny=1.234, elapsed=60.0,
    )  # fmt: skip
    usual = {"name": "a.db: caption", "limit": SpendLimit(cny=500), "per_minute": 2_000_000, "total": 100}
    return archive._RunView(**{**usual, "progress": progress, **more})


def test_the_facts_of_a_run():
    """63 files are left; 20 were asked about in a minute, and took 1,440,000 tokens."""
    facts = _view().look()
    assert dict(facts.rows) == {
        "archive": "a.db: caption",
        "done": "37 of 100 (10 reused)",
        "without answer": "5 failed, 2 over budget",
        "in progress": "8",
        "tokens": "1,400,000 in, 40,000 out",
        "cost": "CNY 1.23 of 500.00",
        "left": "3 min 9 s at this pace, 2 min 16 s at 2,000,000 tokens a minute",
    }
    assert facts.fraction == 0.37
    assert facts.sentence == (
        "37 of 100 (10 reused) done; 5 failed, 2 over budget; tokens 1,400,000 in, 40,000 out; CNY 1.23 of "
        "500.00; 8 in progress; 3 min 9 s at this pace, 2 min 16 s at 2,000,000 tokens a minute"
    )


@pytest.mark.parametrize(
    ("more", "left"),
    [
        ({"total": None}, ""),
        ({"total": 37}, ""),
        ({"per_minute": None}, "3 min 9 s at this pace"),
        ({"progress": ArchiveProgress(counts={"ok": 10}, reused=10)}, ""),
        ({"total": 1_000_037}, "35 days at this pace, 25 days at 2,000,000 tokens a minute"),
    ],
)
def test_how_long_the_rest_takes(more, left):
    """Nothing is said where nothing is known: the number of files, or what one of them takes."""
    assert dict(_view(**more).look().rows)["left"] == left


def test_a_table_on_a_terminal(run, monkeypatch):
    """Redrawn in place, and removed at the end; failures stay above it."""
    with terminal(monkeypatch) as shown:
        run(*RUN, "--max-cny", "5")
    (text,) = shown
    for label in ("archive", "done", "without answer", "in progress", "tokens", "cost"):
        assert label in text
    assert "a.db: caption by qwen3.8-omni-flash" in text
    assert "of 5" in text
    assert "skipped: videos/notes.mp4" in text
    assert told(text).endswith("they would fail again unchanged.")


def test_a_line_now_and_then_elsewhere(capsys):
    """No control sequences where nothing can be redrawn."""
    with live_facts(_view().look, every=0.02):
        time.sleep(0.2)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) >= 2
    assert {*lines} == {_view().look().sentence}


def test_failures_of_one_kind_are_not_listed_for_ever(capsys):
    """The first five of each reason, then one line; the names of files are not trusted."""
    row = ArchiveRow(uri="a\x1b[31m.mp4", step="caption", step_digest="d", status="over_budget", error_code="spend_limit",
                     error="No money.", retryable=True)  # fmt: skip
    watch = _view()
    for _ in range(9):
        watch.add(row)
    watch.add(replace(row, status="failed", error_code="rate_limit", error="Busy."))
    watch.add(replace(row, status="ok"))
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 7
    assert lines[0] == "over budget: a\\x1b[31m.mp4: No money."
    assert lines[5] == "More files have no answer for the reason spend_limit; they are in the store."
    assert (watch.failures.total(), watch.again) == (10, 10)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0 s"), (3599, "59 min 59 s"), (3629, "1 h"), (86_400, "24 h"), (172_800, "2.0 days"), (1e7, "116 days")],
)
def test_spans(seconds, text):
    """Days from two of them on, without seconds from an hour on."""
    assert span_text(seconds) == text


@pytest.mark.slow
def test_a_stopped_run_resumes(made, standin, tmp_path):
    """Ctrl-C: calls in flight end and are stored, the count is that of the store, and the rest is asked later."""
    shutil.copytree(made[0], tmp_path / "videos")
    environment = environment_of(standin)
    standin.script.fault(Fault.slow(first_byte_delay=1.5), times=100)
    line = [*PROCESS, *RUN, "-j", "1"]
    process = subprocess.Popen(line, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True)
    until = time.monotonic() + 60
    while not standin.requests and time.monotonic() < until:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    stored = sum(1 for _ in iter_rows(tmp_path / "a.db"))
    assert f"Stopped. {stored} of 5 rows stored; run again to resume." in err
    before = asked(standin)
    assert 1 <= before < 3
    done = subprocess.run(line, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 1, done.stderr
    assert asked(standin) == 3


@pytest.mark.long
@pytest.mark.skipif(find_spec("ray") is None, reason="ray is not installed")
def test_ray_makes_the_same_rows(made, standin, tmp_path):
    """Each content is asked about once; a second run has nothing for Ray, and does not start it."""
    shutil.copytree(made[0], tmp_path / "videos")
    (tmp_path / "list.jsonl").write_text('{"uri": "videos/a.mp4"}\n{"uri": "videos/b.mp4"}\nnonsense\n')
    environment = environment_of(standin)
    line = [*PROCESS, "run"]
    rest = ["--do", "caption", "--store", "a.db", "--ray", "local", "--max-cny", "5"]
    found = []
    for sources in (["videos", "list.jsonl"], ["list.jsonl", "videos"]):
        done = subprocess.run(
            [*line, *sources, *rest], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 1, done.stderr
        assert "list.jsonl line 3 is not JSON" in done.stderr
        assert "6 of 6" in done.stderr
        assert asked(standin) == 3
        found.append({(Path(row.uri).name, row.status) for row in iter_rows(tmp_path / "a.db")})
    assert found[0] == found[1]
    assert "Ray" not in done.stderr
    assert {status for _, status in found[0]} == {"ok", "skipped"}


@pytest.mark.long
@pytest.mark.skipif(find_spec("ray") is None, reason="ray is not installed")
def test_a_stopped_run_on_ray_keeps_what_is_in_flight(tmp_path):
    """Ctrl-C in a terminal reaches every process; each call that was billed is stored, and none is claimed any more."""
    make_images(tmp_path / "images", 40)
    with CountingStandin() as standin:
        standin.behave(seconds=3)
        environment = environment_of(standin)
        line = [*PROCESS, "run", "images/*.jpg"]
        process = subprocess.Popen(
            [*line, "--do", "caption", "--store", "a.db", "--ray", "local", "--in-flight", "8"], cwd=tmp_path,
            env=environment, stderr=subprocess.PIPE, text=True, start_new_session=True,
        )  # fmt: skip
        until = time.monotonic() + 90
        while standin.billed().total() < 8 and time.monotonic() < until:
            time.sleep(0.05)
        os.killpg(process.pid, signal.SIGINT)
        _, err = process.communicate(timeout=90)
        billed = standin.billed()
    assert process.returncode == 130, err
    assert 8 <= len(billed) < 40
    assert {row.status for row in iter_rows(tmp_path / "a.db")} == {"ok"}
    assert sum(1 for _ in iter_rows(tmp_path / "a.db")) == billed.total()
    assert rows_in(tmp_path / "a.db", "SELECT COUNT(*) FROM claims") == [(0,)]
    assert "Traceback" not in err


# --- Options ---


def _step(**given):
    usual = dict.fromkeys(SUITS)
    return read_step(**{**usual, **given})


@pytest.mark.parametrize(
    ("given", "step"),
    [
        ({"do": "caption"}, Caption()),
        (
            {"do": "caption", "schema": "general", "prompt": "Why?", "language": "French", "fps": 1.0, "thinking": "low"},
            Caption(
                GeneralCaption,
                CaptionOptions(prompt="Why?", language="French", sampling=Sampling(fps=1.0), thinking="low"),
            ),
        ),
        (
            {"do": "summarize", "focus": "prices", "detail": "low", "text_model": "qwen-flash", "audio_track": "1"},
            Summarize(SummaryOptions(focus="prices", detail="low", text_model="qwen-flash", audio_track=1)),
        ),
        ({"do": "notes", "model": "qwen3.5-omni-plus"}, Notes(SummaryOptions(model="qwen3.5-omni-plus"))),
        ({"do": "transcribe", "speakers": 0}, Transcribe(TranscriptionOptions(speakers=True))),
        ({"do": "transcribe", "speakers": 3, "language": "en"}, Transcribe(TranscriptionOptions(speakers=3, language="en"))),
    ],
)  # fmt: skip
def test_options_make_a_step(given, step):
    """The same as in Python, with the same digest: what one has paid for the other reuses."""
    assert _step(**given) == step
    assert _step(**given).digest == step.digest


def test_every_option_of_a_step_is_offered_by_each_command():
    """`plan`, `run` and `retry` take the same options, so that a plan is one of the run."""
    commands = typer.main.get_command(build_app()).commands["archive"].commands
    for name in ("plan", "run", "retry"):
        assert {"do", *SUITS} <= {one.name for one in commands[name].params}
    assert {work for works in SUITS.values() for work in works} == {*STEPS}


def test_in_batches(run, standin, made, tmp_path, monkeypatch):
    """Links are asked about in one batch, for which a second run does not ask again; Ray has no part in it."""
    monkeypatch.setattr(batch_run, "_POLL_SECONDS", 0.01)
    link = "https://media.example.com/a.mp4"
    standin.media_map[link] = made[0] / "a.mp4"
    (tmp_path / "list.csv").write_text(f"uri\n{link}\n")
    words = ("run", "list.csv", "--do", "caption", "--store", "a.db", "--mode", "batch", "--json")
    code, out, _ = run(*words, "--model", "qwen3.5-omni-flash")
    assert (code, json.loads(out)["counts"]) == (0, {"ok": 1})
    assert run(*words, "--model", "qwen3.5-omni-flash")[0] == 0
    assert len(standin.batches.created) == 1
    for more, said in (
        ((), "qwen3.8-omni-flash is not offered in Batch File"),
        (("--ray", "local"), "--mode batch sends one file of requests, so --ray has no effect"),
        (("--mode", "fast"), "--mode 'fast' is not known; choose one of realtime, batch"),
    ):
        code, _, err = run(*words, *more)
        assert (code, said in told(err)) == (2, True), err
