"""What the command line shows. The only module that imports rich."""

import contextlib
from collections.abc import Callable, Iterator, Sequence

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from qwen_omni.responses import Usage

_out = Console(highlight=False)
_err = Console(stderr=True, soft_wrap=True, highlight=False)


def show_error(message: str) -> None:
    """Tell on standard error what went wrong."""
    _err.print(f"[bold red]qwen-omni:[/] {escape(message)}")


def show_note(message: str) -> None:
    """Tell on standard error something worth knowing."""
    _err.print(f"[dim]{escape(message)}[/]")


def end_thinking() -> None:
    """End the line of thinking."""
    _err.print()


def show_thinking(piece: str) -> None:
    """Write a piece of the model's thinking on standard error as it comes."""
    _err.print(f"[dim italic]{escape(piece)}[/]", end="")


def show_usage(usage: Usage) -> None:
    """Tell on standard error what a call used."""
    show_note(f"tokens: {usage.input_tokens:,} in{_kinds(usage.input_details)}, {usage.output_tokens:,} out"
              f"{_kinds(usage.output_details)}")  # fmt: skip


def _kinds(details: object) -> str:
    pairs = [f"{name} {count:,}" for name, count in dict(details or {}).items()]  # type: ignore[call-overload]
    return f" ({', '.join(pairs)})" if pairs else ""


def show_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print rows under a head; without a head if its words are empty."""
    table = Table(*head, box=None, show_header=any(head), pad_edge=False)
    for row in rows:
        table.add_row(*map(escape, row))
    _out.print(table)


@contextlib.contextmanager
def progress(name: str, total: float, *, shown: bool) -> Iterator[Callable[[float], None]]:
    """Show a bar on standard error while a block runs; give what tells it how far the work has come."""
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f} %"))
    with Progress(*columns, TimeRemainingColumn(), console=_err, disable=not shown, transient=True) as bar:
        task = bar.add_task(escape(name), total=total)
        yield lambda done: bar.update(task, completed=done)
