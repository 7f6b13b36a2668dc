"""`qwen-omni standin`: a local service for trying things without a key."""

import errno
import socket
from importlib.util import find_spec
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from qwen_omni.cli.options import option
from qwen_omni.cli.output import one_line, show_error, show_note
from qwen_omni.errors import ConfigurationError

if TYPE_CHECKING:
    from qwen_omni.standin import Exchange, Standin

_NEEDS = ("starlette", "uvicorn", "zxingcpp", "numpy")
_LAST_PORT = 65_535
_NO_SUCH_NAME = (socket.EAI_NONAME, socket.EAI_AGAIN, socket.EAI_FAIL, getattr(socket, "EAI_NODATA", None))


def standin(
    *,
    host: Annotated[str, option("Address to listen on; any but loopback lets other machines in.", "ADDRESS")] = (
        "127.0.0.1"
    ),
    port: Annotated[int, option("Port to listen on; 0 picks a free one.", "NUMBER")] = 8787,
    quiet: Annotated[bool, typer.Option("--quiet", help="Do not print a line for each request.")] = False,
) -> None:
    """Run a local service with the API of Qwen-Omni, for trying things out without a key.

    It decodes the media it receives and describes what it measures: length, cuts, colours, movement, loudness.
    It is not a model and recognises nothing; every answer says so. One line for each request is printed on standard
    error: method, path, model, status and time, never keys or media.
    """
    missing = [name for name in _NEEDS if find_spec(name) is None]
    if missing:
        raise ConfigurationError(f"The stand-in needs {', '.join(missing)}: pip install 'qwen-omni[standin]'")
    if not host.strip():
        _refuse("--host is empty: use --host 127.0.0.1.")
    if not 0 <= port <= _LAST_PORT:
        _refuse(f"--port {port} is out of range: choose one from 1 to {_LAST_PORT}, or 0 for a free one.")
    from qwen_omni.standin import serve  # noqa: PLC0415  (an extra; loads on first use)

    try:
        serve(host.strip("[]"), port, on_ready=_announce, on_exchange=None if quiet else _report)
    except (OSError, UnicodeError) as error:
        _refuse(_unusable(host, port, error))


def _refuse(line: str) -> NoReturn:
    """Print what is wrong with the options, and exit as for any wrong use."""
    show_error(line)
    raise typer.Exit(2)


def _unusable(host: str, port: int, error: OSError | UnicodeError) -> str:
    """Return why nothing can listen there, and what to do."""
    number = error.errno if isinstance(error, OSError) else None
    if number == errno.EADDRINUSE:
        return f"Port {port} of {host} is in use: stop what listens there, or choose another with --port (0 = free)."
    if number in (errno.EACCES, errno.EPERM):
        return f"No permission to listen on port {port}: choose one above 1023 with --port."
    if number in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
        return f"{host} is not an address of this machine: use --host 127.0.0.1."
    if isinstance(error, UnicodeError) or number in _NO_SUCH_NAME:
        return f"--host {host!r} is not a known address or host name: use --host 127.0.0.1."
    return f"Cannot listen on port {port} of {host}: {error.strerror or error}. Try --host 127.0.0.1 --port 0."


def _report(exchange: "Exchange") -> None:
    show_note(one_line(str(exchange)))


def _announce(service: "Standin") -> None:
    show_note(
        f"The stand-in is listening. In another terminal:\n"
        f"  export DASHSCOPE_API_KEY={service.api_key}\n"
        f"  export DASHSCOPE_BASE_URL={service.base_url}\n"
        f"  export DASHSCOPE_BATCH_BASE_URL={service.batch_base_url}\n"
        f"  qwen-omni sample && qwen-omni ask sample.mp4 'What is in it?'\n"
        f"Press Ctrl-C to stop."
    )
