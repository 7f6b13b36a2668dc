"""The output of `qwen-omni --help` and of each subcommand's `--help`, as Markdown."""

from collections.abc import Iterator

import click
import typer.main
from typer.testing import CliRunner

from qwen_omni.cli.main import build_app

WIDTH = "96"


def help_texts() -> str:
    """Return every help text, each in its own block."""
    names = _names(typer.main.get_command(build_app()))
    return "\n\n".join([_block([]), *(f"## qwen-omni {' '.join(name)}\n\n{_block(name)}" for name in names)])


def _names(command: object) -> Iterator[list[str]]:
    """Yield the words of each subcommand, those of a group after the group."""
    commands: dict[str, object] = getattr(command, "commands", {})
    for name in sorted(commands):
        yield [name]
        yield from ([name, *more] for more in _names(commands[name]))


def _block(command: list[str]) -> str:
    done = CliRunner().invoke(
        build_app(), [*command, "--help"], prog_name="qwen-omni", env={"COLUMNS": WIDTH, "TERMINAL_WIDTH": WIDTH}
    )
    lines = [line.rstrip() for line in click.unstyle(done.stdout).strip("\n").splitlines()]
    return "\n".join(["```text", *(line for line in lines if line), "```"])
