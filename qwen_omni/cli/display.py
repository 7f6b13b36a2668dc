"""What the command line shows. The only module that imports rich."""

from rich.console import Console
from rich.markup import escape

from qwen_omni.responses import Usage

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
