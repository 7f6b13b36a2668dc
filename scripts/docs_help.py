"""The output of `qwen-omni --help` and of each subcommand's `--help`, as Markdown."""

import click
import typer.main
from typer.testing import CliRunner

from qwen_omni.cli.main import build_app

WIDTH = "96"


def help_texts() -> str:
    """Return every help text, each in its own block."""
    group = typer.main.get_command(build_app())
    names = [path for name, one in sorted(getattr(group, "commands", {}).items()) for path in _paths(name, one)]
    return "\n\n".join([_block([]), *(f"## qwen-omni {' '.join(path)}\n\n{_block(path)}" for path in names)])


def _paths(name: str, command: object) -> list[list[str]]:
    """Return a command and, if it is a group, the commands of it."""
    return [[name], *([name, one] for one in getattr(command, "commands", {}))]


def _block(command: list[str]) -> str:
    done = CliRunner().invoke(
        build_app(), [*command, "--help"], prog_name="qwen-omni", env={"COLUMNS": WIDTH, "TERMINAL_WIDTH": WIDTH}
    )
    lines = [line.rstrip() for line in click.unstyle(done.stdout).strip("\n").splitlines()]
    return "\n".join(["```text", *(line for line in lines if line), "```"])
