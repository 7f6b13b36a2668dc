"""`qwen-omni mcp`: the tools of one folder for any program that speaks the Model Context Protocol."""

import asyncio
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from qwen_omni.cli.choices import REGIONS, WAYS, choose
from qwen_omni.errors import ConfigurationError
from qwen_omni.profiles import DEFAULT_MODEL
from qwen_omni.settings import Settings
from qwen_omni.tools.media_tools import MediaTools


def mcp(
    *,
    root: Annotated[Path, typer.Option("--root", help="The folder whose media may be read and sent; no other is.")],
    model: Annotated[str, typer.Option("--model", "-m", help="Which model is asked.")] = DEFAULT_MODEL,
    transcriber: Annotated[str | None, typer.Option(help="Which model transcribes; the cheapest else.")] = None,
    region: Annotated[str | None, typer.Option(help=f"One of {', '.join(REGIONS)}; a key belongs to one.")] = None,
    base_url: Annotated[str | None, typer.Option(help="The address of another service, e.g. the stand-in.")] = None,
    delivery: Annotated[str, typer.Option(help=f"How a local file travels: {', '.join(WAYS)}.")] = "auto",
) -> None:
    """Serve tools about a folder's media on standard input and output, for agents (MCP).

    The key is read from DASHSCOPE_API_KEY. Give this command to the program that hosts the agent, for example
    {"command": "qwen-omni", "args": ["mcp", "--root", "/home/me/videos"]}.
    """
    if find_spec("mcp") is None:
        raise ConfigurationError("The MCP server needs one more package: pip install 'qwen-omni[mcp]'")
    from qwen_omni.tools.mcp_server import serve_stdio  # noqa: PLC0415  (an extra)

    settings = Settings.load(
        base_url=base_url, region=choose("region", region, REGIONS), delivery=choose("delivery", delivery, WAYS)
    )
    asyncio.run(serve_stdio(MediaTools(root, settings=settings, model=model, transcriber=transcriber)))
