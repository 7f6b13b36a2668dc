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
    """In 80 columns, with the reason in a few words if a model would refuse it."""
    out = told(capsys, film, "https://example.com/a.mp4", "--compare", "--model", "qwen3.8-omni-flash,qwen3-omni-flash")
    rows = [line.split() for line in out.splitlines()[1:]]
    assert [row[1] for row in rows if row[0] == "qwen3-omni-flash"] == [
        "auto",
        "static",
        "action",
        "original",
        "glance",
    ]
    assert max(map(len, out.splitlines())) <= 80
    assert rows[-1][-3:] == ["takes", "1", "video"]


def test_a_short_reason_comes_with_the_command_that_explains_it(capsys, film):
    """Below the table, in one sentence, if a model would refuse the file."""
    with pytest.raises(SystemExit):
        run(["estimate", film, "https://example.com/a.mp4", "--compare", "--model", "qwen3-omni-flash"])
    notes = capsys.readouterr().err.splitlines()
    assert notes[0] == "For a reason in full: qwen-omni estimate FILE --model MODEL --budget PRESET"


def test_a_video_that_is_too_long_for_some(capsys, tmp_path):
    """Each model and preset has one row, at most 80 characters long, with the model's limit if the file exceeds it."""
    long = str(make_video(tmp_path / "long.mp4", seconds=170, size=(64, 48), fps=1, sound=False).path)
    lines = told(capsys, long, "--compare").splitlines()
    assert all(len(line) <= 80 for line in lines)
    refused = {line.split()[0] for line in lines if line.endswith("too long: 150 s at most")}
    assert "qwen3-omni-flash" in refused
    assert "qwen3.8-omni-flash" not in refused


def test_what_is_assumed_is_named_once(capsys, film):
    """With the models that it applies to, if those are not all."""
    with pytest.raises(SystemExit):
        run(["estimate", film, "--compare"])
    notes = [line for line in capsys.readouterr().err.splitlines() if line.startswith("assumed")]
    whole = [note.partition(": ")[2] for note in notes]
    assert len(set(whole)) == len(whole)
    about = [note for note in notes if "tokens of answer" in note]
    assert len(about) == 2
    assert all(note.startswith("assumed for qwen") for note in about)
    assert not set(about[0].partition(":")[0].split()[2:]) & set(about[1].partition(":")[0].split()[2:])


def test_options_of_the_question(capsys, film):
    """The same as those of `ask`, so that what is asked can be estimated."""
    whole, half = (
        json.loads(told(capsys, film, "--json", *options))["estimates"][0]["tokens"]["video"]
        for options in ((), ("--end", "0:02", "--fps", "1"))
    )
    assert 0 < half < whole


def test_as_json(capsys, film):
    """The same numbers for programs."""
    made = json.loads(told(capsys, film, "--budget", "auto,static", "--json"))["estimates"]
    assert [one["budget"] for one in made] == ["auto", "static"]
    assert made[1]["tokens"]["video"] > made[0]["tokens"]["video"]
    assert made[0]["media"][0]["route"] == "inline"
