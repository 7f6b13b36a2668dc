"""Output of the command line: answers on standard output, everything else on standard error.

The only module that imports rich, and the only one that writes to standard output. File names and model answers are
untrusted: no control sequence in them reaches the terminal. Spinners and bars are drawn only on a terminal.
"""

import contextlib
import io
import json
import os
import re
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import IO, Any, Self, TypeVar

import typer
from rich.cells import cell_len
from rich.console import Console
from rich.live import Live
from rich.markup import escape as escape_markup
from rich.measure import Measurement
from rich.padding import Padding
from rich.progress import BarColumn, Progress, ProgressColumn, TextColumn, TimeRemainingColumn
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from qwen_omni.cli.main import FAILED, WRONG_USE
from qwen_omni.cli.wording import CommandLine, with_name
from qwen_omni.errors import QwenOmniError
from qwen_omni.redact import clean
from qwen_omni.responses import Usage

_T = TypeVar("_T")
_UNLIMITED = 1000  # characters
_BAR_WIDTH = 40
_LEAST_TEXT = 20  # columns: where a text beside numbers has less, rows are shown as blocks
_BREAKS = re.compile(r"\n|[^\S\n]+|[\u2e80-\u9fff\uac00-\ud7ff\uf900-\ufaff\uff00-\uffef]")  # scripts without spaces
_WORDS = re.compile(rf"{_BREAKS.pattern}|(?:(?!{_BREAKS.pattern}).)+", re.DOTALL)
_DELAY = 0.5  # seconds before a spinner is shown: what is quicker needs none


class _Console(Console):
    """A console that leaves the end of a pipe to its caller."""

    def on_broken_pipe(self) -> None:
        """Raise the error, as printing without rich does; what was not written is dropped, not printed later."""
        del self._buffer[:]
        raise BrokenPipeError


_out = _Console(highlight=False)
_err = _Console(stderr=True, highlight=False)
_typed = CommandLine()


@contextlib.contextmanager
def speaking_of(typed: CommandLine) -> Iterator[None]:
    """Phrase errors and notes in terms of the command that was typed while a block runs; a process runs one."""
    global _typed  # noqa: PLW0603  (notes come from any thread, which a context variable would not reach)
    before, _typed = _typed, typed
    try:
        yield
    finally:
        _typed = before


def in_words(text: str, media: str | None = None) -> str:
    """Return a text of the core in the words of the running command; `media` is the file that it is about."""
    return (_typed if media is None else replace(_typed, media=(media,))).words(text)


def is_wrong_use(error: Exception | None) -> bool:
    """Whether an error is about what was typed: such a command exits with 2, any other failure with 1."""
    return _typed.is_wrong_use(error)


def on_terminal(stream: IO[str] | None = None) -> bool:
    """Whether a stream, standard error by default, is a terminal that can redraw a line."""
    stream = stream or sys.stderr
    return stream.isatty() and os.environ.get("TERM", "") not in ("dumb", "unknown")


def _is_unicode(stream: IO[str]) -> bool:
    return (getattr(stream, "encoding", None) or "").lower().replace("-", "").startswith("utf")


def accept_any_text() -> None:
    """Let standard output and error take any text: what their encoding lacks is escaped, never an exception."""
    for stream in (sys.stdout, sys.stderr):
        if not _is_unicode(stream):
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]  # of a TextIOWrapper


def _print(console: Console, markup: str) -> None:
    """Print lines: wrapped between words on a terminal, unbroken elsewhere."""
    console.print(markup, soft_wrap=not console.file.isatty())


def escape(text: str) -> str:
    """Escape untrusted text for a terminal and for rich."""
    return escape_markup(clean(text, "terminal"))


def one_line(text: str) -> str:
    """Escape an untrusted name to fit in one line."""
    return clean(text, "terminal", one_line=True)


def write_text(text: str) -> None:
    """Write text to standard output, as it arrives."""
    sys.stdout.write(clean(text, "terminal"))
    sys.stdout.flush()


class Prose:
    """Text on standard output as it arrives: broken between words on a terminal, unchanged elsewhere.

    The last word is held back until it is complete; leaving the `with` block writes it.
    """

    def __init__(self) -> None:
        self._width = _out.width if sys.stdout.isatty() else 0
        self._column, self._space, self._held, self._wide = 0, "", "", False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._held, rest = "", self._held
        write_text(self._placed(rest) if rest else "")

    def write(self, piece: str) -> None:
        """Write a piece of the text."""
        if not self._width:
            write_text(piece)
            return
        words = _WORDS.findall(self._held + clean(piece, "terminal"))
        ends_open = bool(words) and not _BREAKS.fullmatch(words[-1])
        self._held = words.pop() if ends_open and cell_len(words[-1]) < self._width else ""
        write_text("".join(map(self._placed, words)))

    def _placed(self, word: str) -> str:
        """Return a word, or what separates words, with the line break that it needs."""
        if word == "\n":
            self._column, self._space = 0, ""
            return word
        if word.isspace() and self._column:
            self._space += word
            return ""
        gap, self._space = self._space, ""
        fits = self._column + cell_len(gap + word) <= self._width
        wide, self._wide = self._wide or bool(_BREAKS.fullmatch(word)), bool(_BREAKS.fullmatch(word))
        if self._column and not fits and (gap or wide):  # else it is the rest of a word that is wider than a line
            gap, self._column = "\n", 0
        self._column += cell_len((gap + word).lstrip("\n"))
        return gap + word


def write_json(value: Any, *, indent: int | None = None) -> None:  # noqa: ANN401  (any JSON value)
    """Write JSON to standard output; control sequences and characters that UTF-8 cannot encode are escaped."""
    text = json.dumps(value, ensure_ascii=not _is_unicode(sys.stdout), indent=indent)
    sys.stdout.write("".join(map(_escaped, re.split(r"([^\n -~]+)", text))) + "\n")
    sys.stdout.flush()


def _escaped(piece: str) -> str:
    return piece if clean(piece, "terminal") == piece else json.dumps(piece)[1:-1]


def show_error(message: str) -> None:
    """Print an error on standard error."""
    _print(_err, f"[bold red]qwen-omni:[/] {escape(in_words(message))}")


def end_with(errors: Iterable[tuple[str, QwenOmniError | None]]) -> None:
    """Print why files failed, each with its name; exit with 1 if one did, with 2 if all did for what was typed."""
    ends = list(errors)
    for media, error in ends:
        if error is not None:
            show_error(with_name(media, in_words(str(error), media)))
    if any(error is not None for _, error in ends):
        raise typer.Exit(WRONG_USE if all(is_wrong_use(error) for _, error in ends) else FAILED)


def show_note(message: str) -> None:
    """Print a note on standard error."""
    _print(_err, f"[dim]{escape(in_words(message))}[/]")


def show_stopped(what: str) -> None:
    """Print that the command was stopped, and what is kept."""
    _print(_err, f"[bold yellow]Stopped.[/] {escape(in_words(what))}".rstrip())


def show_stopping() -> None:
    """Print, at Ctrl-C, that requests in flight are awaited because they are paid for."""
    _print(_err, "\n[dim]Stopping. Requests in flight are awaited, as they are paid for; Ctrl-C again ends at once.[/]")


def show_abandoned() -> None:
    """Print, at the second Ctrl-C, that requests in flight were abandoned; a spinner may have hidden the cursor."""
    _err.show_cursor()
    show_stopped("Requests in flight were not awaited.")


def end_thinking() -> None:
    """End the line of reasoning."""
    _err.print()


def show_thinking(piece: str) -> None:
    """Write a piece of the model's reasoning to standard error as it arrives."""
    _err.print(f"[dim italic]{escape(piece)}[/]", end="", soft_wrap=True)


_MARKS = {"good": "[green]ok[/]  ", "odd": "[yellow]odd[/] ", "bad": "[bold red]bad[/] "}


def show_finding(name: str, verdict: str, text: str, step: str) -> None:
    """Print one finding of `doctor` on standard output, and below it what to do."""
    lines = [(_MARKS[verdict], f"[bold]{escape(name)}[/]: {escape(in_words(text))}")]
    if step:
        lines.append(("", f" → {escape(in_words(step))}"))
    if not sys.stdout.isatty():
        for mark, line in lines:
            _print(_out, f"{mark or '    '} {line}")
        return
    table = Table.grid(padding=(0, 1, 0, 0))
    for mark, line in lines:
        table.add_row(mark.rstrip(), line)
    _out.print(table)


def show_usage(usage: Usage) -> None:
    """Print the token usage of a call on standard error."""
    show_note(f"tokens: {usage.input_tokens:,} in{_kinds(usage.input_details)}, {usage.output_tokens:,} out"
              f"{_kinds(usage.output_details)}")  # fmt: skip


def _kinds(details: object) -> str:
    pairs = [f"{name} {count:,}" for name, count in dict(details or {}).items()]  # type: ignore[call-overload]
    return f" ({', '.join(pairs)})" if pairs else ""


def show_table(
    columns: Sequence[str], rows: Iterable[Sequence[str]], *, lines: bool = True, title: str = "", right: str = ""
) -> None:
    """Print a table on standard output: as wide as it needs to be if that is no terminal, as blocks on a narrow one.

    Args:
        columns: the labels; without any text, no header is drawn.
        rows: the cells.
        lines: whether to draw borders.
        title: a text above the table.
        right: a letter for each column of numbers, `r`; any other is for text. Numbers are never broken.
    """
    table = Table(show_lines=True) if lines else Table(box=None, show_header=any(columns), pad_edge=False)
    table.title, table.title_justify = escape(title) or None, "left"
    for column, side in zip(columns, right.ljust(len(columns)), strict=True):
        numbers = side == "r"
        table.add_column(escape(column), overflow="fold", justify="right" if numbers else "left", no_wrap=numbers)
    filled = [tuple(row) for row in rows]
    for row in filled:
        table.add_row(*map(escape, row))
    if sys.stdout.isatty():
        _show_on_terminal(table, columns, filled, right)
        return
    with (wide := _Console(highlight=False, width=_UNLIMITED, file=io.StringIO())).capture() as drawn:
        wide.print(table)
    sys.stdout.write("".join(f"{line.rstrip()}\n" for line in drawn.get().splitlines()))
    sys.stdout.flush()


def _show_on_terminal(table: Table, columns: Sequence[str], rows: Sequence[tuple[str, ...]], right: str) -> None:
    """Print a table whose widest text is wrapped, or a block for each row if that would leave it too little room."""
    missing = Measurement.get(_out, _out.options.update(max_width=_UNLIMITED), table).maximum - _out.width
    texts = [at for at, kind in enumerate(right.ljust(len(columns))) if kind != "r"]
    widths = {at: max((cell_len(row[at]) for row in rows), default=0) for at in texts}
    widest = max(texts, key=widths.__getitem__, default=0)
    if not right or missing <= 0 or widths[widest] - missing >= _LEAST_TEXT:
        for at in texts if right else ():
            table.columns[at].no_wrap = at != widest
        _out.print(table)
        return
    if table.title:
        _out.print(table.title)
    for row in rows:
        head, body = in_block(columns, row, right, _out.width - 2)
        _out.print(escape(head), soft_wrap=True)
        for line in body:
            _out.print(Padding(escape(line), (0, 0, 0, 2)))


def in_block(columns: Sequence[str], row: Sequence[str], right: str, width: int) -> tuple[str, list[str]]:
    """Return a row as a heading and lines: its numbers, with their labels, and each of its longer texts.

    Example:
        >>> in_block(("model", "preset", "tokens in", "CNY", ""), ("flash", "auto", "1,377", "0.005", ""), "  rr", 40)
        ('flash, auto', ['tokens in 1,377, CNY 0.005'])
        >>> in_block(("from", "chapter", "about"), ("0:05", "Start", "It begins."), "r", 40)
        ('0:05  Start', ['It begins.'])
    """
    kinds = right.ljust(len(columns))
    begins = kinds.find("r") or 2  # texts name a row; if it begins with a time, that does, with the text beside it
    named = [cell for label, cell in zip(columns[:begins], row, strict=False) if label]
    mark = [] if columns[0] or not row[0] else [row[0]]
    head = " ".join([*mark, ("  " if kinds[0] == "r" else ", ").join(named)])
    rest = [*zip(columns, row, kinds, strict=True)][begins:]
    lines = [""]
    for number in (f"{label} {cell}" for label, cell, kind in rest if kind == "r" and cell):
        longer = f"{lines[-1]}, {number}" if lines[-1] else number
        lines[-1:] = [longer] if len(longer) < width else [f"{lines[-1]},", number]
    return head, [line for line in (*lines, *(cell for _, cell, kind in rest if kind != "r")) if line]


def show_text(text: str) -> None:
    """Print a text of several lines on standard output."""
    _print(_out, escape(text))


# --- What is shown while a command works ---


class Waiting:
    """A spinner on standard error, shown after half a second, and only on a terminal."""

    def __init__(self, text: str) -> None:
        self._spinner = Spinner("dots" if _is_unicode(sys.stderr) else "line")
        self.say(text)
        self._guard = threading.Lock()
        self._live: Live | None = None
        self._over = not on_terminal()
        self._timer = threading.Timer(_DELAY, self._begin)
        self._timer.daemon = True
        if not self._over:
            self._timer.start()

    def say(self, text: str) -> None:
        """Change the text beside the spinner."""
        self._spinner.update(text=Text(one_line(text), no_wrap=True, overflow="ellipsis", style="dim"))

    def end(self) -> None:
        """Remove the spinner; what is printed next begins on a clean line."""
        with self._guard:
            self._over = True
            self._timer.cancel()
            if self._live is not None:
                self._live.stop()
                self._live = None

    def _begin(self) -> None:
        with self._guard:
            if not self._over:
                self._live = Live(
                    self._spinner, console=_err, transient=True, redirect_stdout=False, redirect_stderr=False
                )
                self._live.start()


@contextlib.contextmanager
def waiting(text: str) -> Iterator[Waiting]:
    """Show a spinner while a block runs."""
    spinner = Waiting(text)
    try:
        yield spinner
    finally:
        spinner.end()


class _Bar(Progress):
    def stop(self) -> None:
        if not self.disable:  # older versions of Rich end a disabled bar with an empty line
            super().stop()


def _bar(*columns: ProgressColumn, shown: bool = True) -> Progress:
    return _Bar(
        *columns, console=_err, transient=True, disable=not (shown and on_terminal()), redirect_stdout=False,
        redirect_stderr=False,
    )  # fmt: skip


def with_progress(finished: Iterable[tuple[str, _T]], total: int, name: str, alone: str) -> Iterator[_T]:
    """Yield items and show progress on standard error: a line for each, and on a terminal a bar, or a spinner for one.

    Args:
        finished: pairs of a line and an item.
        total: how many are expected.
        name: what they are, beside the bar.
        alone: what is shown beside the spinner.
    """
    with contextlib.ExitStack() as shown:
        if total == 1:
            shown.enter_context(waiting(alone))
        bar = _bar(TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed:.0f}/{task.total:.0f}"),
                   TimeRemainingColumn())  # fmt: skip
        task = bar.add_task(escape(name), total=total)
        if total > 1:
            shown.enter_context(bar)
        for number, (label, item) in enumerate(finished, start=1):
            bar.advance(task)
            show_note(f"{number}/{total} {one_line(label)}")
            yield item


@contextlib.contextmanager
def steps_bar(name: str, before: str) -> Iterator[Callable[[int, int, str], None]]:
    """Show a bar of steps on standard error while a block runs; yield its updating function (done, total, text).

    Args:
        name: what is in progress.
        before: shown beside a spinner until the first step is known.
    """
    bar = _bar(
        TextColumn("{task.description}"), BarColumn(bar_width=24),
        TextColumn("{task.completed:.0f}/{task.total:.0f} segments"), TextColumn("[dim]{task.fields[words]}[/]"),
        TimeRemainingColumn(),
    )  # fmt: skip
    task = bar.add_task(escape(one_line(name)), total=1, words="")
    with waiting(before) as spinner:

        def update(done: int, total: int, words: str) -> None:
            spinner.end()
            bar.update(task, completed=done, total=max(total, 1), words=escape(one_line(words)))
            bar.start()

        try:
            yield update
        finally:
            bar.stop()


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveFacts:
    """What is shown of work that takes hours.

    Attributes:
        rows: a label and a text each, for a terminal.
        fraction: how much is done, from 0 to 1; `None` if that is not known.
        sentence: the same in one line, where nothing can be redrawn.
    """

    rows: Sequence[tuple[str, str]]
    fraction: float | None
    sentence: str


@contextlib.contextmanager
def live_facts(look: Callable[[], LiveFacts], *, every: float = 10.0) -> Iterator[None]:
    """Show facts on standard error while a block runs: redrawn on a terminal, else a line every few seconds.

    Args:
        look: returns what is to be shown now; called on a thread.
        every: seconds between two lines.
    """
    if on_terminal():
        with Live(
            get_renderable=lambda: _fact_table(look()), console=_err, transient=True, refresh_per_second=4,
            redirect_stdout=False, redirect_stderr=False,
        ):  # fmt: skip
            yield
        return
    over = threading.Event()

    def write() -> None:
        while not over.wait(every):
            show_note(look().sentence)

    writer = threading.Thread(target=write, daemon=True, name="qwen-omni-lines")
    writer.start()
    try:
        yield
    finally:
        over.set()
        writer.join()


def _fact_table(facts: LiveFacts) -> Table:
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="ellipsis", no_wrap=True)
    for label, text in facts.rows:
        table.add_row(label, escape(one_line(text)))
    if facts.fraction is not None:
        table.add_row("", ProgressBar(total=1, completed=facts.fraction, width=_BAR_WIDTH))
    return table


@contextlib.contextmanager
def progress(name: str, total: float, *, shown: bool) -> Iterator[Callable[[float], None]]:
    """Show a bar on standard error while a block runs; yield the function that advances it."""
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f} %"))
    with _bar(*columns, TimeRemainingColumn(), shown=shown) as bar:
        task = bar.add_task(escape(one_line(name)), total=total)
        yield lambda done: bar.update(task, completed=done)


def failed_entry(media: str, error: Exception) -> dict[str, Any]:
    """Return what the JSON output holds about a file that failed."""
    return {"file": media, "error": in_words(str(error), media), "kind": type(error).__name__}
