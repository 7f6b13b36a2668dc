"""The command `qwen-omni`: its subcommands, and the handling of errors and Ctrl-C."""

import contextlib
import functools
import importlib
import inspect
import os
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from importlib.metadata import version
from importlib.util import find_spec
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any, ParamSpec

from qwen_omni.errors import QwenOmniError
from qwen_omni.media.work import allow_trimming

if TYPE_CHECKING:
    import typer

FAILED, WRONG_USE, STOPPED = 1, 2, 130
_PATIENCE = 0.5  # seconds after Ctrl-C before a message says what is awaited
_P = ParamSpec("_P")
_PANELS = {
    "Ask": ("ask", "summarize", "caption", "transcribe"),
    "Many files": ("library", "archive"),
    "Cost and files": ("estimate", "probe", "split"),
    "Setup": ("sample", "doctor", "standin", "mcp"),
}
"""The commands as the help lists them: each is the function of a module of its name, or its `COMMANDS`."""


def run(arguments: list[str] | None = None) -> None:
    """Run the command and exit: 0 success, 1 failure, 2 wrong use, 130 Ctrl-C."""
    if any(find_spec(name) is None for name in ("typer", "rich")):
        sys.stderr.write("The command line needs more packages: pip install 'qwen-omni[cli]'\n")
        sys.exit(WRONG_USE)
    try:
        from qwen_omni.cli.output import accept_any_text  # noqa: PLC0415  (an extra; loads on first use)

        accept_any_text()
        allow_trimming()  # only this command runs in the process
        build_app()(args=arguments, prog_name="qwen-omni")
    except KeyboardInterrupt:  # before a command began
        sys.exit(STOPPED)


def build_app() -> "typer.Typer":
    """Build the app with all subcommands."""
    import typer  # noqa: PLC0415  (an extra; loads on first use)

    group, kind = _classes()
    app = typer.Typer(cls=group, no_args_is_help=True, pretty_exceptions_enable=False)

    @app.callback()
    def main(
        show_version: Annotated[
            bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version and exit.")
        ] = False,
    ) -> None:
        """Ask Qwen-Omni about images, audio and video.

        The key is read from DASHSCOPE_API_KEY. Exit codes: 0 success, 1 failure, 2 wrong use, 130 Ctrl-C.
        """
        del show_version

    for panel, names in _PANELS.items():
        for name in names:
            module = importlib.import_module(f"qwen_omni.cli.{name}")
            if hasattr(module, "COMMANDS"):
                inner = typer.Typer(cls=group, no_args_is_help=True, help=_help_of(module.HELP))
                for command in module.COMMANDS:
                    inner.command(cls=kind, help=_help_of(command))(_guarded(command))
                app.add_typer(inner, name=name, rich_help_panel=panel)
            else:
                command = getattr(module, name)
                app.command(cls=kind, help=_help_of(command), rich_help_panel=panel)(_guarded(command))
    return app


def _classes() -> "tuple[type[typer.core.TyperGroup], type[typer.core.TyperCommand]]":
    """Return the classes of the app and its commands, whose messages and help use the names of options."""
    import typer.core  # noqa: PLC0415

    from qwen_omni.cli.output import speaking_of  # noqa: PLC0415
    from qwen_omni.cli.wording import CommandLine, as_files  # noqa: PLC0415

    listed = [name for names in _PANELS.values() for name in names]

    class Group(typer.core.TyperGroup):
        def list_commands(self, ctx: Any) -> list[str]:  # noqa: ANN401
            names: list[str] = super().list_commands(ctx)
            return sorted(names, key=listed.index) if set(names) <= set(listed) else names

        def get_params(self, ctx: Any) -> list[Any]:  # noqa: ANN401  (as typer declares it)
            return _without_types(super().get_params(ctx))

    wrong_use: Any = typer.BadParameter.__base__

    class Command(typer.core.TyperCommand):
        def get_params(self, ctx: Any) -> list[Any]:  # noqa: ANN401
            return _without_types(super().get_params(ctx))

        def parse_args(self, ctx: Any, args: list[str]) -> list[str]:  # noqa: ANN401
            known = {option for one in self.params for option in (*one.opts, *one.secondary_opts)}
            try:
                return super().parse_args(ctx, as_files(args, known, is_file=os.path.isfile))
            except wrong_use as error:
                raise _with_value(error, ctx) from None

        def invoke(self, ctx: Any) -> Any:  # noqa: ANN401
            with speaking_of(CommandLine.of(ctx)):
                return super().invoke(ctx)

    return Group, Command


def _with_value(error: Any, ctx: Any) -> Exception:  # noqa: ANN401  (typer's own, which have no public names)
    """Add to an error about an option without its value what that value is, and how to get help."""
    option = getattr(error, "option_name", None)
    of = next((one for one in ctx.command.params if option in one.opts and one.metavar), None)
    if of is not None:
        error.ctx, error.message = ctx, f"{error.message.rstrip('.')}: {option} {of.metavar}. {of.help}"
    return error  # type: ignore[no-any-return]


def _without_types(params: list[Any]) -> list[Any]:
    """Leave out the Python types that typer's help shows for arguments, and for options without a value."""
    for param in params:
        if param.param_type_name == "argument":
            param.display_type_rich = lambda **_: None
        elif getattr(param, "is_flag", False) and param.metavar is None:
            param.metavar = ""
    return params


def _help_of(described: Callable[..., None] | str) -> str:
    """Return a text, or a command's docstring, with each paragraph in one line: the terminal wraps it."""
    text = described if isinstance(described, str) else described.__doc__
    paragraphs = inspect.cleandoc(text or "").split("\n\n")
    return "\n\n".join(" ".join(one.split()) for one in paragraphs)


def _show_version(*, wanted: bool) -> None:
    import typer  # noqa: PLC0415

    if wanted:
        typer.echo(f"qwen-omni {version('qwen-omni')}")
        raise typer.Exit


def _guarded(command: Callable[_P, None]) -> Callable[_P, None]:
    """Turn our errors and Ctrl-C into one line and an exit status; anything else is a bug and shows a traceback."""
    import typer  # noqa: PLC0415

    from qwen_omni.cli.output import is_wrong_use, show_error, show_stopped  # noqa: PLC0415

    @functools.wraps(command)
    def guarded(*args: _P.args, **kwargs: _P.kwargs) -> None:
        try:
            with _warnings_shown(), _stoppable():
                command(*args, **kwargs)
                sys.stdout.flush()
        except KeyboardInterrupt as stopped:
            show_stopped(str(stopped))
            raise typer.Exit(STOPPED) from None
        except QwenOmniError as error:
            show_error("\n".join([str(error), *getattr(error, "__notes__", ())]))
            raise typer.Exit(WRONG_USE if is_wrong_use(error) else FAILED) from None
        except BrokenPipeError:  # the reader of the output has exited, as `head` does
            for stream in (sys.stdout, sys.stderr):
                with contextlib.suppress(OSError, ValueError):
                    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
            raise typer.Exit(0) from None

    return guarded


@contextlib.contextmanager
def _warnings_shown() -> Iterator[None]:
    """Print warnings for the user as notes, without the place in the code that issued them."""
    from qwen_omni.cli.output import show_note  # noqa: PLC0415

    def show(message: Warning | str, *_: Any, **__: Any) -> None:  # noqa: ANN401  (as the standard library calls it)
        show_note(f"warning: {message}")

    with warnings.catch_warnings():
        warnings.simplefilter("default", UserWarning)
        warnings.showwarning = show
        yield


@contextlib.contextmanager
def _stoppable() -> Iterator[None]:
    """Answer the first Ctrl-C at once, although requests in flight are awaited; end the process at the second."""
    from qwen_omni.cli.output import show_abandoned, show_stopping  # noqa: PLC0415

    def abandon(_: int, __: FrameType | None) -> None:
        show_abandoned()
        os._exit(STOPPED)

    def stop(_: int, __: FrameType | None) -> None:
        signal.signal(signal.SIGINT, abandon)
        slow.start()
        raise KeyboardInterrupt

    slow = threading.Timer(_PATIENCE, show_stopping)
    slow.daemon = True
    before = signal.getsignal(signal.SIGINT) or signal.default_int_handler
    if before is signal.SIG_IGN or threading.current_thread() is not threading.main_thread():
        yield  # in the background of a shell, or where no signals arrive
        return
    signal.signal(signal.SIGINT, stop)
    try:
        yield
    finally:
        slow.cancel()
        signal.signal(signal.SIGINT, before)
