"""`ProgressBar` over tqdm: segments, tokens, notices above it; nothing is left of work under a second."""

import re
import sys

import pytest

import qwen_omni.video.progress_bar as home
from qwen_omni.errors import ConfigurationError
from qwen_omni.video.engine.run import Progress
from qwen_omni.video.progress_bar import ProgressBar

pytest.importorskip("tqdm")


def events(*done, segments=3):
    return [Progress(kind="segment", done=one, segments=segments, input_tokens=1_000 * one) for one in done]


def lines(capsys):
    out, err = capsys.readouterr()
    assert out == ""
    return re.split(r"[\r\n]+", err)


def test_it_counts_segments_and_tokens(capsys, monkeypatch):
    """The number of segments may still change; the last line stays, if it took a second."""
    monkeypatch.setattr(home, "_SHORT", 0.0)
    bar = ProgressBar()
    for one in (
        *events(0, 1),
        *events(2, 4, segments=4),
        Progress(kind="done", done=4, segments=4, input_tokens=4_000),
    ):
        bar(one)
    shown = lines(capsys)
    assert "1/3" in "".join(shown)
    assert re.search(r"100%.*4/4.*4,000 tokens", shown[-2])


def test_short_work_leaves_nothing(capsys):
    """The line is wiped."""
    with ProgressBar() as bar:
        for one in events(1, 3):
            bar(one)
    assert [one for one in lines(capsys) if one.strip()][-1:] != []
    assert lines(capsys) == [""]


def test_a_second_look_is_a_second_bar(capsys, monkeypatch):
    """A question looks at some segments again: the count starts over."""
    monkeypatch.setattr(home, "_SHORT", 0.0)
    with ProgressBar() as bar:
        for one in (*events(1, 2, 3), *events(0, 2, segments=2)):
            bar(one)
    shown = "\n".join(lines(capsys))
    assert "3/3" in shown
    assert "2/2" in shown


def test_notices_and_steps_are_written(capsys):
    """Notices go above the bar, on one line and without what moves a cursor; transcription has steps, not a number."""
    with ProgressBar() as bar:
        bar(Progress(kind="notice", text="Waiting for another\nprocess \x1b[2J", segments=2))
        bar("submitted the task; waiting")
    shown = lines(capsys)
    assert any(one.strip() == r"Waiting for another process \x1b[2J" for one in shown)
    assert any(one.startswith("submitted the task; waiting [00:0") for one in shown)


def test_without_tqdm_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "tqdm.auto", None)
    with pytest.raises(ConfigurationError, match="pip install tqdm"):
        ProgressBar()
