"""`qwen-omni estimate`, in this process: nothing is sent, so no stand-in runs."""

import json

import pytest

from qwen_omni.cli.main import run
from qwen_omni.standin.marked_media import make_video


@pytest.fixture
def film(tmp_path):
    """Three seconds of marked video."""
    return str(make_video(tmp_path / "film.mp4", seconds=3, size=(320, 180)).path)


def told(capsys, *arguments: str) -> str:
    with pytest.raises(SystemExit) as ended:
        run(["estimate", *arguments])
    assert ended.value.code == 0, capsys.readouterr().err
    return capsys.readouterr().out


def test_one_file_in_lines(capsys, film):
    """Tokens, price, and what is done with the file; no key is needed."""
    out = told(capsys, film, "--region", "intl", "--no-thinking")
    assert "qwen3.8-omni-flash" in out
    assert "assuming 500 output tokens" in out
    assert "USD" in out
    assert "inside the request" in out


def test_compare_has_a_row_for_each_model_and_budget(capsys, film):
    """And one for the untouched file of each model; what a model would refuse stands at the end."""
    out = told(capsys, film, "https://example.com/a.mp4", "--compare", "--model", "qwen3.8-omni-flash,qwen3-omni-flash")
    rows = [line.split() for line in out.splitlines()[1:]]
    assert [row[1] for row in rows if row[0] == "qwen3-omni-flash"] == [
        "auto",
        "static",
        "action",
        "original",
        "glance",
    ]
    assert "takes at most 1 videos" in out


def test_as_json(capsys, film):
    """The same numbers for programs."""
    made = json.loads(told(capsys, film, "--budget", "auto,static", "--json"))["estimates"]
    assert [one["budget"] for one in made] == ["auto", "static"]
    assert made[1]["tokens"]["video"] > made[0]["tokens"]["video"]
    assert made[0]["media"][0]["route"] == "inline"
