"""`qwen-omni mcp`: the tools of one folder for any client of the Model Context Protocol."""

import asyncio
import contextlib
import os
import signal
import threading
from collections.abc import Callable, Coroutine, Iterator
from importlib.util import find_spec
from pathlib import Path
from types import FrameType
from typing import Annotated, Any

import typer

from qwen_omni.cli.library import EmbeddingName, check_library
from qwen_omni.cli.main import STOPPED
from qwen_omni.cli.options import ModelName, option, read_service, sharing
from qwen_omni.cli.output import show_note, show_stopped
from qwen_omni.client import OmniClient
from qwen_omni.errors import ConfigurationError
from qwen_omni.library.library import VideoLibrary
from qwen_omni.media.files.tempfiles import scratch
from qwen_omni.pricing.costs import TokenCounts, cost_of
from qwen_omni.pricing.limit import SpendLimit
from qwen_omni.profiles import DEFAULT_MODEL
from qwen_omni.profiles.embedding import DEFAULT_EMBEDDING_MODEL
from qwen_omni.settings import MAX_CNY_VARIABLE, MAX_TOKENS_VARIABLE, Settings
from qwen_omni.tools.media_tools import MediaTools

DEFAULT_TOKENS = 5_000_000
"""The default limit of all calls of one run: about five hours of video."""


@sharing(service=read_service)
def mcp(  # noqa: PLR0913  (each argument is an option of the command)
    *,
    root: Annotated[Path, option("The only folder whose media may be read and sent.", "FOLDER", "--root")],
    model: ModelName = DEFAULT_MODEL,
    transcriber: Annotated[str | None, option("Model that transcribes; default: the cheapest.", "NAME")] = None,
    library: Annotated[
        Path | None, option("A library of videos that agents may search and ask, too.", "FOLDER", "--library")
    ] = None,
    embedding: EmbeddingName = DEFAULT_EMBEDDING_MODEL,
    max_cny: Annotated[
        float | None, option("The most that all calls may cost together.", "YUAN", "--max-cny", envvar=MAX_CNY_VARIABLE)
    ] = None,
    max_tokens: Annotated[
        int | None,
        option("The most that all calls may use together.", "TOKENS", "--max-tokens", envvar=MAX_TOKENS_VARIABLE),
    ] = None,
    no_limit: Annotated[bool, typer.Option("--no-limit", help="Let agents spend without a limit.")] = False,
    service: Callable[..., Settings],
) -> None:
    """Serve tools about a folder's media on standard input and output, for agents (MCP).

    The total cost of all calls of one server run is limited; the limit is printed on standard error. A call that would
    exceed it is refused before anything is sent, with a message that the agent can act on. Configure this command in
    the program that hosts the agent, for example
    {"command": "qwen-omni", "args": ["mcp", "--root", "/home/me/videos"]}.
    """
    if find_spec("mcp") is None:
        raise ConfigurationError("The MCP server needs an extra package: pip install 'qwen-omni[mcp]'")
    from qwen_omni.tools.mcp_server import serve_stdio  # noqa: PLC0415  (an extra)

    if not root.is_dir():
        raise ConfigurationError(f"--root {root} is not a folder; name one whose media agents may read.")
    if library is not None:
        check_library(library)
    limit = _limit(max_cny, max_tokens, no_limit=no_limit)
    settings = service(spend_limit=limit)
    found = None
    if library is not None:
        found = VideoLibrary(library, client=OmniClient(settings), embedding=embedding)
        found.check()
    show_note(_limit_text(limit, model))
    tools = MediaTools(root, settings=settings, model=model, transcriber=transcriber, library=found)
    _serve(serve_stdio(tools))


def _serve(serving: Coroutine[Any, Any, None]) -> None:
    """Serve until the client disconnects; on Ctrl-C, end the process even if the client is silent.

    A thread waits for the next line of standard input, and Python would wait for that thread before it exits.
    """
    if asyncio.run(_serve_until_interrupted(serving)):
        show_stopped("")
        scratch.remove()
        os._exit(STOPPED)


async def _serve_until_interrupted(serving: Coroutine[Any, Any, None]) -> bool:
    """Serve until the client disconnects or Ctrl-C is pressed; return whether it was Ctrl-C.

    The signal handler raises `KeyboardInterrupt` wherever the process happens to be. Inside an SDK task, it would be
    wrapped in an exception group and shown as a traceback, so here the signal only sets an event.
    """
    loop, interrupt = asyncio.get_running_loop(), asyncio.Event()
    server, pressed = asyncio.ensure_future(serving), asyncio.ensure_future(interrupt.wait())
    with _signals_caught(lambda: loop.call_soon_threadsafe(interrupt.set)):
        await asyncio.wait([server, pressed], return_when=asyncio.FIRST_COMPLETED)
    if interrupt.is_set():
        loop.set_exception_handler(lambda *_: None)  # errors of cancelled SDK tasks do not help the user
        return True
    server.result()
    return False


@contextlib.contextmanager
def _signals_caught(on_interrupt: Callable[[], object]) -> Iterator[None]:
    """Call `on_interrupt` where the handler of Ctrl-C would raise `KeyboardInterrupt`."""
    handler = signal.getsignal(signal.SIGINT)
    if not callable(handler) or threading.current_thread() is not threading.main_thread():
        yield  # Ctrl-C is ignored, or arrives elsewhere
        return

    def on_signal(number: int, frame: FrameType | None) -> None:
        try:
            handler(number, frame)
        except KeyboardInterrupt:
            on_interrupt()

    signal.signal(signal.SIGINT, on_signal)
    try:
        yield
    finally:
        if signal.getsignal(signal.SIGINT) is on_signal:  # the first Ctrl-C installs another handler for the second
            signal.signal(signal.SIGINT, handler)


def _limit(max_cny: float | None, max_tokens: int | None, *, no_limit: bool) -> SpendLimit | None:
    """Choose the limit: the requested one, none, or the default.

    Raises:
        ConfigurationError: both were requested, or the limit is invalid.
    """
    if no_limit and (max_cny is not None or max_tokens is not None):
        raise ConfigurationError(
            "--no-limit cannot be combined with --max-cny or --max-tokens "
            f"(also as {MAX_CNY_VARIABLE} and {MAX_TOKENS_VARIABLE})."
        )
    if no_limit:
        return None
    if max_cny is None and max_tokens is None:
        return SpendLimit(tokens=DEFAULT_TOKENS)
    return SpendLimit(cny=max_cny, tokens=max_tokens)


def _limit_text(limit: SpendLimit | None, model: str) -> str:
    """Return a text about the limit of this run, and how to change it."""
    if limit is None:
        return "No spend limit: agents may spend as much as the account allows."
    most = limit.limits
    shown = [f"{most['tokens']:,} tokens" if most["tokens"] is not None else "",
             f"CNY {most['CNY']:g}" if most["CNY"] is not None else ""]  # fmt: skip
    tokens = most["tokens"]
    known = None if tokens is None else cost_of(TokenCounts(text=int(tokens)), model).cny
    worth = "" if known is None else f" (CNY {known:.3g} as text to {model}; audio and answers cost more)"
    return (
        f"Spend limit of this run: {' and '.join(filter(None, shown))}{worth}. Change it with --max-cny, --max-tokens, "
        f"{MAX_CNY_VARIABLE} or {MAX_TOKENS_VARIABLE}; --no-limit removes it."
    )
