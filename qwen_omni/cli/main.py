"""The command `qwen-omni`: its subcommands, and the handling of errors and Ctrl-C."""

import contextlib
import functools
import os
import sys
from collections.abc import Callable
from importlib.util import find_spec
from typing import TYPE_CHECKING, ParamSpec

from qwen_omni.errors import QwenOmniError
from qwen_omni.media.work import allow_trimming

if TYPE_CHECKING:
    import typer

FAILED, WRONG_USE, STOPPED = 1, 2, 130
_P = ParamSpec("_P")


def run(arguments: list[str] | None = None) -> None:
    """Run the command and exit: 0 success, 1 failure, 2 usage error, 130 Ctrl-C."""
    if any(find_spec(name) is None for name in ("typer", "rich")):
        sys.stderr.write("The command line needs more packages: pip install 'qwen-omni[cli]'\n")
        sys.exit(WRONG_USE)
    allow_trimming()  # only this command runs in the process
    build_app()(args=arguments, prog_name="qwen-omni")


def build_app() -> "typer.Typer":
    """Build the app with all subcommands."""
    import typer  # noqa: PLC0415  (an extra; loads on first use)

    from qwen_omni.cli.ask import ask  # noqa: PLC0415
    from qwen_omni.cli.caption import caption  # noqa: PLC0415
    from qwen_omni.cli.doctor import doctor  # noqa: PLC0415
    from qwen_omni.cli.estimate import estimate  # noqa: PLC0415
    from qwen_omni.cli.mcp import mcp  # noqa: PLC0415
    from qwen_omni.cli.probe import probe  # noqa: PLC0415
    from qwen_omni.cli.sample import sample  # noqa: PLC0415
    from qwen_omni.cli.split import split  # noqa: PLC0415
    from qwen_omni.cli.standin import standin  # noqa: PLC0415
    from qwen_omni.cli.summarize import summarize  # noqa: PLC0415
    from qwen_omni.cli.transcribe import transcribe  # noqa: PLC0415

    app = typer.Typer(
        help="Ask Qwen-Omni about images, audio and video.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
    )
    for command in (ask, caption, doctor, estimate, mcp, probe, sample, split, standin, summarize, transcribe):
        app.command()(_guarded(command))
    return app


def _guarded(command: Callable[_P, None]) -> Callable[_P, None]:
    """Turn our errors and Ctrl-C into one line and an exit status; anything else is a bug and shows a traceback."""
    import typer  # noqa: PLC0415

    from qwen_omni.cli.output import show_error  # noqa: PLC0415

    @functools.wraps(command)
    def guarded(*args: _P.args, **kwargs: _P.kwargs) -> None:
        try:
            command(*args, **kwargs)
        except KeyboardInterrupt:
            show_error("Stopped.")
            raise typer.Exit(STOPPED) from None
        except QwenOmniError as error:
            show_error("\n".join([str(error), *getattr(error, "__notes__", ())]))
            raise typer.Exit(FAILED) from None
        except BrokenPipeError:  # the reader of the output has exited, as `head` does
            with contextlib.suppress(OSError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(0) from None

    return guarded
