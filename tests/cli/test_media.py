"""`qwen-omni probe` and `qwen-omni split` as a user meets them, without any service.

What a process leaves behind and what a terminal shows is tried in a process of its own; the rest in this one.
"""

import itertools
import json
import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result
from PIL import Image
from typer.testing import CliRunner

from qwen_omni.cli.main import build_app, run as start
from qwen_omni.standin.marked_media import TruthMedia, make_audio, make_video
from qwen_omni.standin.media.perceive import Memory
from tests.cli.conftest import RUN, terminal


@pytest.fixture(scope="module")
def film(tmp_path_factory) -> TruthMedia:
    """Twenty-four seconds of marked video."""
    return make_video(tmp_path_factory.mktemp("film") / "film.mp4", seconds=24, size=(320, 180))


def run(*arguments: str, home: Path | None = None) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("DASHSCOPE")}
    environment |= {"COLUMNS": "200"} | ({"TMPDIR": str(home)} if home else {})
    return subprocess.run([*RUN, *arguments], env=environment, capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture
def command(monkeypatch) -> Callable[..., Result]:
    """Run the command in this process."""
    monkeypatch.setenv("COLUMNS", "200")

    def invoke(*arguments: str) -> Result:
        done = CliRunner().invoke(build_app(), arguments)
        assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
        return done

    return invoke


def test_probe_tells_what_a_file_is_and_why_it_is_treated_so(command, film):
    """The table needs no key; it shows the facts and the plan with its reason."""
    done = command("probe", str(film.path), "--budget", "static")
    assert done.exit_code == 0, done.stderr
    rows = dict(line.split(maxsplit=1) for line in done.stdout.splitlines())
    assert rows["length"] == "24 s"
    assert rows["video"].startswith("320 x 180, ")
    assert "h264" in rows["video"]
    assert "aac" in rows["audio"]
    assert "fps" in rows["plan"]
    assert rows["size"].endswith((" kB", " MB"))
    assert "Traceback" not in done.stderr


def test_rows_fit_the_medium(command, tmp_path):
    """A picture has no frame rate or audio, a recording no picture; minutes and sizes are written as people do."""
    Image.new("RGB", (64, 48)).save(tmp_path / "a.png")
    make_audio(tmp_path / "a.wav", seconds=72)
    picture, sound = (command("probe", str(tmp_path / name)).stdout for name in ("a.png", "a.wav"))
    assert [line.split()[0] for line in picture.splitlines()] == ["file", "kind", "size", "image", "plan", "tokens"]
    assert [line.split()[0] for line in sound.splitlines()] == [
        "file",
        "kind",
        "size",
        "length",
        "audio",
        "plan",
        "tokens",
    ]
    assert "1 min 12 s" in sound
    assert "64 x 48" in picture


def test_probe_speaks_json(command, film):
    """The same as one line of JSON with plain numbers, for programs."""
    done = command("probe", str(film.path), "--json", "--budget", "static")
    told = json.loads(done.stdout)
    assert (told["kind"], told["width"], told["height"], told["duration"]) == ("video", 320, 180, 24)
    assert told["plan"]["action"] == "video"
    assert told["plan"]["tokens"] > 0
    assert done.stdout.count("\n") == 1


@pytest.mark.slow
def test_split_writes_segments_that_cover_the_film(film, tmp_path):
    """Each segment lies in the folder, shows and sounds its own seconds, and is told in order; nothing else is left."""
    to, home = tmp_path / "out", tmp_path / "home"
    home.mkdir()
    done = run("split", str(film.path), "--to", str(to), "--seconds", "12", "--budget", "static", "--json", home=home)
    assert done.returncode == 0, done.stderr
    told = [json.loads(line) for line in done.stdout.splitlines()]

    assert [Path(one["file"]).name for one in told] == [f"film-{number:03d}.mp4" for number in range(len(told))]
    assert sorted(path.name for path in to.iterdir()) == [Path(one["file"]).name for one in told]
    assert (told[0]["start"], told[-1]["end"]) == (0, 24)
    assert all(earlier["end"] == later["start"] for earlier, later in itertools.pairwise(told))
    for one in told:
        data = Path(one["file"]).read_bytes()
        assert len(data) == one["size_bytes"]
        inside = [code for second, code in enumerate(film.codes) if one["start"] <= second and second + 1 <= one["end"]]
        marks = [mark.code for mark in Memory().recall("video", data).picture_marks]
        assert set(inside) <= set(marks)
    assert list(home.iterdir()) == []


def test_the_bar_knows_the_whole(film, tmp_path, capsys, monkeypatch):
    """Without --json a table is shown; the bar counts the seconds of the wanted range, so it ends at all of them."""
    arguments = ["split", str(film.path), "--to", str(tmp_path), "--seconds", "12", "--start", "4"]
    with terminal(monkeypatch) as shown, pytest.raises(SystemExit) as ended:
        start([*arguments, "--budget", "static"])
    assert ended.value.code == 0
    out = capsys.readouterr().out
    assert "film-000.mp4" in out
    assert "4.00" in out
    assert "24.00" in out
    assert re.search(r"100\s*%", shown[0])


def test_split_cuts_sound(command, tmp_path):
    """A recording becomes MP3 segments."""
    sound = make_audio(tmp_path / "talk.wav", seconds=20)
    done = command("split", str(sound.path), "--to", str(tmp_path / "out"), "--seconds", "12", "--json")
    assert done.exit_code == 0, done.stderr
    assert {Path(json.loads(line)["file"]).suffix for line in done.stdout.splitlines()} == {".mp3"}


def test_a_segment_that_is_there_is_never_overwritten(command, film, tmp_path):
    """What lies in the folder stays; the error names it and the way out."""
    there = tmp_path / "film-000.mp4"
    there.write_bytes(b"mine")
    done = command("split", str(film.path), "--to", str(tmp_path), "--budget", "static")
    assert done.exit_code != 0
    assert "already exists" in done.stderr
    assert "--to" in done.stderr
    assert there.read_bytes() == b"mine"
