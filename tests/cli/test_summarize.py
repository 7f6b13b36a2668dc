"""`qwen-omni summarize`: the command, its files, its dry run."""

import errno
import json
import os
import re
import shutil

import pytest
from typer.testing import CliRunner

from qwen_omni.cli import main
from qwen_omni.cli.main import build_app
from qwen_omni.standin import Fault, Standin
from qwen_omni.standin.marked_media import make_video
from qwen_omni.video.results import VideoSummary
from tests.cli.conftest import stop_at, terminal


@pytest.fixture(scope="module")
def service():
    with Standin() as standin:
        yield standin


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    return make_video(tmp_path_factory.mktemp("film") / "a.mp4", seconds=20, size=(128, 96), fps=2, sound=False)


@pytest.fixture
def run(service, film, monkeypatch):
    """Run the command on the film."""
    monkeypatch.setenv("DASHSCOPE_API_KEY", service.api_key)
    service.clear()

    def alone(*arguments):
        return CliRunner().invoke(build_app(), ["summarize", "--base-url", service.base_url, *arguments])

    def command(*arguments):
        return alone(str(film.path), *arguments)

    command.alone = alone
    return command


def test_files_are_written(run, film, tmp_path):
    """Subtitles, a page and Markdown in a folder of their own, named after the video; the summary is printed."""
    done = run("--srt", "--vtt", "--html", "--markdown", "--out", str(tmp_path / "new"), "--detail", "low")
    assert done.exit_code == 0, done.output
    assert {path.name for path in (tmp_path / "new").iterdir()} == {"a.srt", "a.vtt", "a.html", "a.md"}
    srt = (tmp_path / "new" / "a.srt").read_text()
    assert all(code in srt for code in film.codes)
    assert "[stand-in]" in done.stdout
    assert re.search(r"this run: 1 request, [\d,]+ tokens in, [\d,]+ out, CNY", done.stderr)


@pytest.fixture(scope="module")
def longer(tmp_path_factory):
    return make_video(tmp_path_factory.mktemp("longer") / "b.mp4", seconds=30, size=(128, 96), fps=2, sound=False)


def test_the_bar_on_a_terminal(run, film, service, monkeypatch, capsys):
    """It counts segments and tokens; the plan is above it, and nothing of it is left at the end."""
    arguments = ["summarize", str(film.path), "--base-url", service.base_url, "--fresh", "--seconds", "12"]
    with terminal(monkeypatch) as shown, pytest.raises(SystemExit) as ended:
        main.run(arguments)
    assert ended.value.code == 0
    assert "2/2 segments" in shown[0]
    assert "a.mp4" in shown[0]
    assert capsys.readouterr().out.startswith("[stand-in]")


def test_the_length_of_segments_is_obeyed(run, film, service):
    """Of a video that would go in one request as well; without the option, it does."""
    assert run("--fresh").exit_code == 0
    assert len(service.requests) == 1
    done = run("--fresh", "--seconds", "12")
    assert "in about 2 segments of at most 12 s" in done.stderr
    assert len(service.requests) == 1 + 2 + 1


def test_several_files(run, film, longer, service, tmp_path):
    """One after the other, under their names; one that fails does not end the others."""
    done = run(str(longer.path), "gone.mp4", "--srt", "--out", str(tmp_path))
    assert done.exit_code == 1
    heads = [line for line in done.stdout.splitlines() if line.startswith("== ")]
    assert heads == [f"== {film.path}", f"== {longer.path}"]
    assert {path.name for path in tmp_path.iterdir()} == {"a.srt", "b.srt"}
    assert "qwen-omni: gone.mp4 cannot be opened" in " ".join(done.stderr.split())
    told = json.loads(run(str(longer.path), "gone.mp4", "--json").stdout)
    assert [one["file"] for one in told] == [str(film.path), str(longer.path), "gone.mp4"]
    assert told[2]["kind"] == "UnreadableMediaError"
    assert len(told[1]["events"]) == 30


def test_ctrl_c_says_what_is_kept(run, longer, service):
    """What was in flight is counted; a second run asks only about the rest."""
    service.script.fault(Fault.slow(first_byte_delay=0.2), when=lambda _: stop_at(len(service.requests) == 2))
    arguments = [str(longer.path), "--seconds", "12", "-j", "1", "--language", "en"]
    done = run.alone(*arguments)
    assert (done.exit_code, done.stdout) == (130, "")
    assert re.search(r"Stopped\. 2 of [345] segments kept; run again to resume\.", done.stderr)
    before = len(service.requests)
    service.script.clear()
    assert run.alone(*arguments).exit_code == 0
    assert before == 2
    assert len(service.requests) in (before + 2, before + 3)


def test_json_and_youtube(run, film):
    """The whole as JSON, or chapters for a description; the second run finds the first one's answers."""
    told = json.loads(run("--json", "--detail", "low").stdout)
    assert len(told["events"]) == 20
    lines = run("--youtube", "--detail", "low").stdout.splitlines()
    assert lines[0].startswith("0:00 ")


def test_a_dry_run_sends_nothing(run, service):
    """Six ways, with tokens, money and seconds; the one that would be taken is marked; nothing is sent."""
    done = run("--dry-run", "--strategy", "map_reduce")
    assert done.exit_code == 0, done.output
    rows = [line for line in done.stdout.splitlines() if re.search(r"(map_reduce|single) +(low|medium|high)", line)]
    assert len(rows) == 6
    assert "CNY" in done.stdout
    assert all(row.endswith(" s") for row in rows)
    assert next(row for row in rows if "→" in row).split("→")[1].split()[0] == "single"
    assert service.requests == []


@pytest.mark.parametrize("option", ["--focus", "--wish"])
def test_what_to_focus_on_is_in_the_prompt(run, service, option):
    """Under its name and, for one more release, under its old one, which the help does not list."""
    done = run("--fresh", option, "the colours of the dogs")
    assert done.exit_code == 0, done.output
    (request,) = service.requests
    assert "Above all, note this: the colours of the dogs" in json.dumps(request.body)
    assert (option in run("--help").stdout) == (option == "--focus")
    assert ("--wish is now --focus" in done.stderr) == (option == "--wish")


def test_a_question(run, film, service):
    """An answer with its moments."""
    done = run("--question", f"When is {film.codes[7]} shown?")
    assert done.exit_code == 0, done.output
    assert film.codes[7] in done.stdout
    assert "0:07" in done.stdout


def test_a_name_that_is_too_long_is_refused_before_anything_is_sent(film, service, tmp_path, monkeypatch):
    """The video's own name just fits; with the page's ending it is longer than names may be."""
    monkeypatch.setenv("DASHSCOPE_API_KEY", service.api_key)
    long = tmp_path / f"{'a' * 251}.mp4"
    shutil.copyfile(film.path, long)
    before, sent = sorted(tmp_path.iterdir()), len(service.requests)
    done = CliRunner().invoke(build_app(), ["summarize", str(long), "--base-url", service.base_url, "--html"])
    assert done.exit_code == 2
    assert "cannot be written: File name too long" in done.stderr
    assert (done.stdout, len(service.requests), sorted(tmp_path.iterdir())) == ("", sent, before)


FAULTS = [
    (errno.ENOSPC, "No space left on device. Free some space"),
    (errno.EACCES, "Permission denied. Choose a location"),
]


@pytest.mark.parametrize(("number", "told"), FAULTS, ids=["disk", "permission"])
def test_a_summary_whose_file_cannot_be_written_is_printed(run, film, tmp_path, monkeypatch, number, told):
    """What was paid for is shown in any case; what went wrong is one line, and the older page is still there."""
    (tmp_path / f"{film.path.stem}.html").write_text("older")

    def fail(_, path):
        path.write_text("half")
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(VideoSummary, "to_html", fail)
    done = run("--html", "--out", str(tmp_path))
    assert done.exit_code == 1
    assert "[stand-in]" in done.stdout
    assert f"cannot be written: {told}" in " ".join(done.stderr.split())
    assert [one.read_text() for one in tmp_path.glob("*.html")] == ["older"]
    assert not list(tmp_path.glob(".qwen-omni-*"))


def test_a_full_disk_is_found_before_anything_is_sent(run, service, tmp_path, monkeypatch):
    """Also for root, whom no permission stops."""

    def full(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("qwen_omni.media.files.output.tempfile.TemporaryFile", full)
    sent = len(service.requests)
    done = run("--srt", "--out", str(tmp_path / "new"))
    assert done.exit_code == 1
    assert "cannot be written: No space left on device. Free some space" in " ".join(done.stderr.split())
    assert (len(service.requests), list(tmp_path.iterdir())) == (sent, [])
