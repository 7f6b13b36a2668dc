"""What is printed on terminals of any width."""

import contextlib
import io
import re
import sys
from collections.abc import Iterator

import pytest
from rich.cells import cell_len
from rich.progress import Progress

from qwen_omni.cli import output

COMPARED = (
    ("model", "preset", "tokens in", "CNY", "upload", ""),
    [("qwen3.8-omni-flash", "auto", "1,377", "0.0052", "113 kB", ""),
     ("qwen3-omni-flash", "any", "≤ 12,345,678", "0.0097", "60 kB", "too long: 150 s at most")],
    "  rrr",
)  # fmt: skip
CHAPTERS = (
    ("from", "chapter", "about"),
    [("0:00", "Green and blue", "A green and blue scene with little movement, and a tone that lasts."),
     ("1:02:03", "価格の説明", "Someone explains the price of every item, one after the other.")],
    "r",
)  # fmt: skip
FORECAST = (
    ("", "strategy", "detail", "requests", "tokens in", "out", "CNY", "takes"),
    [("", "single", "low", "1", "20,382", "900", "0.019", "33 s"),
     ("→", "map_reduce", "high", "3", "80,328", "3,900", "0.074", "1 h 2 min 5 s")],
    "   rrrrr",
)  # fmt: skip
FACTS = (
    ("", ""),
    [("file", "portrait.mp4"), ("plan", "sent as it is: re-encoding would save neither time nor tokens")],
    "",
)


@contextlib.contextmanager
def terminal(monkeypatch: pytest.MonkeyPatch, width: int, *, tty: bool = True) -> Iterator[io.StringIO]:
    """Make standard output a terminal of some width."""
    stream = io.StringIO()
    stream.isatty = lambda: tty
    with monkeypatch.context() as patched:
        patched.setattr(sys, "stdout", stream)
        patched.setattr(output, "_out", output._Console(highlight=False, width=width, file=stream, color_system=None))
        yield stream


def shown(monkeypatch: pytest.MonkeyPatch, width: int, table: tuple, **options: object) -> list[str]:
    """The lines of a table on a terminal of some width."""
    columns, rows, right = table
    with terminal(monkeypatch, width) as stream:
        output.show_table(columns, rows, lines=False, right=right, **options)
    return [line.rstrip() for line in stream.getvalue().splitlines()]


@pytest.mark.parametrize(
    "table", [COMPARED, CHAPTERS, FORECAST, FACTS], ids=["compared", "chapters", "forecast", "facts"]
)
@pytest.mark.parametrize("width", [30, 40, 60, 80, 120])
def test_tables_fit(monkeypatch: pytest.MonkeyPatch, table: tuple, width: int) -> None:
    """No line is wider than the terminal, no number is broken, and nothing is left out."""
    lines = shown(monkeypatch, width, table)
    assert max(map(cell_len, lines)) <= width
    joined = "\n".join(lines)
    columns, rows, right = table
    for row in rows:
        for cell, kind in zip(row, right.ljust(len(columns)), strict=True):
            if kind == "r":
                assert cell in joined
            assert all(word in re.sub(r"\s+", "", joined) for word in cell.split())


def test_a_narrow_terminal_shows_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each row has a heading; a mark stays with it."""
    assert shown(monkeypatch, 40, COMPARED) == [
        "qwen3.8-omni-flash, auto", "  tokens in 1,377, CNY 0.0052,", "  upload 113 kB",
        "qwen3-omni-flash, any", "  tokens in ≤ 12,345,678, CNY 0.0097,", "  upload 60 kB", "  too long: 150 s at most",
    ]  # fmt: skip
    assert shown(monkeypatch, 40, FORECAST, title="film.mp4")[:3] == [
        "film.mp4", "single, low", "  requests 1, tokens in 20,382, out 900,",
    ]  # fmt: skip
    assert "→ map_reduce, high" in shown(monkeypatch, 40, FORECAST)
    assert shown(monkeypatch, 40, CHAPTERS)[0] == "0:00  Green and blue"


def test_a_wide_terminal_shows_a_table(monkeypatch: pytest.MonkeyPatch) -> None:
    """With its labels in the first line."""
    assert shown(monkeypatch, 80, COMPARED)[0].split() == ["model", "preset", "tokens", "in", "CNY", "upload"]
    assert len(shown(monkeypatch, 100, COMPARED)) == 3
    assert shown(monkeypatch, 40, (("a", "n"), [("x", "1")], " r")) == ["a  n", "x  1"]


PROSE = (
    "The speaker explains the budget.\n\n  - a  list, indented https://example.com/"
    + "a" * 40
    + " 港口咖啡馆的价格和位置 end"
)
PIECES = [[PROSE], list(PROSE), re.findall(r".{1,7}", PROSE, re.DOTALL)]


def written(monkeypatch: pytest.MonkeyPatch, width: int, pieces: list[str], *, tty: bool = True) -> str:
    """What a terminal is sent of an answer that arrives in pieces."""
    with terminal(monkeypatch, width, tty=tty) as stream, output.Prose() as prose:
        for piece in pieces:
            prose.write(piece)
    return stream.getvalue()


@pytest.mark.parametrize("pieces", PIECES, ids=["whole", "characters", "sevens"])
def test_an_answer_breaks_between_words_however_it_arrives(monkeypatch: pytest.MonkeyPatch, pieces: list[str]) -> None:
    """A word that is wider than the terminal, and scripts without spaces, break where they must; nothing is lost."""
    text = written(monkeypatch, 20, pieces)
    assert text.splitlines() == [
        "The speaker explains", "the budget.", "", "  - a  list,", "indented",
        "https://example.com/" + "a" * 40, "港口咖啡馆的价格和位", "置 end",
    ]  # fmt: skip
    assert re.sub(r"\s", "", text) == re.sub(r"\s", "", PROSE)


@pytest.mark.parametrize("pieces", PIECES, ids=["whole", "characters", "sevens"])
def test_an_answer_in_a_pipe_is_unchanged(monkeypatch: pytest.MonkeyPatch, pieces: list[str]) -> None:
    assert written(monkeypatch, 20, pieces, tty=False) == PROSE


def test_the_last_word_of_an_interrupted_answer_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    with terminal(monkeypatch, 20) as stream, contextlib.suppress(KeyboardInterrupt), output.Prose() as prose:
        prose.write("It is a light")
        raise KeyboardInterrupt
    assert stream.getvalue() == "It is a light"


def test_findings_are_indented_below_their_mark(monkeypatch: pytest.MonkeyPatch) -> None:
    with terminal(monkeypatch, 40) as stream:
        output.show_finding("key", "bad", "The service does not know this key, and says so.", "Create another one.")
    assert [line.rstrip() for line in stream.getvalue().splitlines()] == [
        "bad key: The service does not know this", "    key, and says so.", "     → Create another one.",
    ]  # fmt: skip


def test_a_bar_that_is_not_shown_prints_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(Progress, "stop", lambda bar: bar.console.print())  # as older versions do
    with output.progress("clip.mp4", 20, shown=False) as advance:
        advance(5)
    with output.steps_bar("clip.mp4", "Inspecting clip.mp4") as update:
        update(1, 2, "")
    assert list(output.with_progress([("a", 1), ("b", 2)], 2, "clips", "Reading")) == [1, 2]
    assert capsys.readouterr().err == "1/2 a\n2/2 b\n"
