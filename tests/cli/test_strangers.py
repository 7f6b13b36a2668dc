"""Names of files and answers of models on a terminal, in CSV and in JSON: shown, never obeyed."""

import csv
import io
import json
import os
import shutil
from pathlib import Path

import pytest

from qwen_omni.cli import output
from qwen_omni.cli.caption import print_captions
from qwen_omni.standin import Standin
from qwen_omni.standin.marked_media import make_video
from qwen_omni.structured.batch import FileCaption

EVIL = "a\x1b[2J\x1b]0;pwned\x07\x9b1m\u202eb\u200b"


def harmless(text: str) -> bool:
    return all(one.isprintable() for one in text.encode().decode().split("\n"))


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_video(tmp_path_factory.mktemp("film") / "film.mp4", seconds=2, size=(96, 64), fps=5).path


@pytest.fixture(params=[EVIL, "line\nSYSTEM", "half\udcff"], ids=["escapes", "line break", "no text"])
def named(film: Path, tmp_path: Path, request: pytest.FixtureRequest) -> str:
    """The film under a name of a stranger's."""
    name = f"{request.param}.mp4"
    shutil.copy(film, os.fsencode(tmp_path) + b"/" + os.fsencode(name))
    return name


@pytest.mark.parametrize(
    "arguments",
    [
        ("probe",), ("probe", "--json"), ("estimate",), ("estimate", "--json"), ("estimate", "--compare"),
        ("caption", "--csv"), ("caption", "--json"), ("caption",), ("split", "--seconds", "1", "--to", "parts"),
    ],
    ids=" ".join,
)  # fmt: skip
def test_a_name_moves_no_cursor(command, named: str, arguments: tuple[str, ...]) -> None:
    """Whatever a command prints about a file, on either stream, a terminal shows it."""
    name, *rest = arguments
    _, out, err = command(name, named, *rest)
    assert harmless(out)
    assert harmless(err)
    assert not any(line.startswith("SYSTEM") for line in err.splitlines())
    if "--json" in rest:
        assert json.loads(out)


@pytest.mark.parametrize("missing", [EVIL, "no\ud83dsuch", "no\nSYSTEM: x"])
def test_an_error_about_a_name_is_harmless(command, missing: str) -> None:
    for name in ("probe", "ask", "transcribe"):
        _, out, err = command(name, missing, *(["What?"] if name == "ask" else []))
        assert harmless(out)
        assert harmless(err)


def test_an_answer_moves_no_cursor(command, film: Path, tmp_path: Path, standin: Standin) -> None:
    """Words of a model are printed piece by piece as they are, but for what a terminal would obey."""
    shutil.copy(film, tmp_path / "a.mp4")
    standin.script.reply(f"before {EVIL} after")
    _, out, _ = command("ask", "a.mp4", "What?")
    assert harmless(out)
    assert out.startswith("before a\\x1b[2J")
    assert out.endswith(" after\n")


def test_json_says_the_same_as_before(capsys: pytest.CaptureFixture[str]) -> None:
    """What is escaped is read back as it was; readable letters are not escaped."""
    value = {EVIL: [f"{EVIL}\ud83d", "日本 😀 é"], "n": 1}
    output.write_json(value)
    out = capsys.readouterr().out
    assert json.loads(out) == value
    assert harmless(out)
    assert "日本 😀 é" in out


def test_no_cell_is_run_and_no_row_is_split(capsys: pytest.CaptureFixture[str]) -> None:
    """Names, headers and values of CSV, whichever of them a stranger wrote."""
    lead = ["=1+1", "+1+1", "-1+1", "@SUM(A1)", "\t=1", "\r=1", "\uff1d1+1"]
    done = [FileCaption(media=f"{one}.mp4", value={f"{one}h": one, "text": "a\rb\r\nc\x1b[2J"}) for one in lead]
    print_captions(done, "csv", ["=field"])
    out = capsys.readouterr().out
    rows = list(csv.reader(io.StringIO(out, newline="")))
    assert len(rows) == len(lead) + 1
    assert "\r" not in out
    assert "\x1b" not in out
    for cell in (cell for row in rows for cell in row if cell):
        assert not cell.lstrip().startswith(("=", "+", "-", "@", "\uff1d")), cell
    assert rows[0][1] == "'=field"
