"""The tools over the Model Context Protocol: one server for one folder. The only module that imports the `mcp` SDK.

Tool errors are results with `is_error`, as the protocol requires, so that the model can correct its call.
"""

import asyncio
import contextlib
import json
import math
import time
from collections.abc import Awaitable, Callable

import anyio
import mcp_types as types
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel import Server
from mcp.server.stdio import stdio_server

from qwen_omni.tools.handlers import ToolProgress
from qwen_omni.tools.media_tools import MediaTools, ToolDefinition
from qwen_omni.tools.results import ToolOutcome, bounded_value
from qwen_omni.transport.chat import package_version

Report = Callable[[float, float | None, str], Awaitable[None]]
HEARTBEAT = 10.0
"""Seconds without progress after which the client is sent a heartbeat: many give up after a minute."""
_CREEP = 0.05  # share of the way to the next step; the protocol requires strictly growing numbers

_INSTRUCTIONS = (
    "Tools about the videos, recordings and images of one folder. Paths are relative to it; probe_media with path "
    "'.' lists what is there. Times are seconds."
)


def make_server(tools: MediaTools) -> "Server[object]":
    """Make an MCP server that offers `tools`.

    Example:
        import anyio
        from qwen_omni import MediaTools
        from qwen_omni.tools.mcp_server import make_server, serve_stdio

        anyio.run(serve_stdio, MediaTools("videos"))
    """

    async def on_list(_: object, __: object) -> types.ListToolsResult:
        return types.ListToolsResult(tools=[_tool(one) for one in tools.definitions])

    async def on_call(
        context: ServerRequestContext[object], asked: types.CallToolRequestParams
    ) -> types.CallToolResult:
        return _result(await _carried_out(tools, asked, context.session.report_progress))

    return Server(
        "qwen-omni", version=package_version(), instructions=_INSTRUCTIONS, on_list_tools=on_list, on_call_tool=on_call
    )


async def serve_stdio(tools: MediaTools) -> None:
    """Serve on standard input and output until the client disconnects."""
    server = make_server(tools)
    try:
        async with stdio_server() as (incoming, outgoing):
            await server.run(incoming, outgoing, server.create_initialization_options())
    finally:
        await tools.aclose()


async def _carried_out(tools: MediaTools, asked: types.CallToolRequestParams, report: Report) -> ToolOutcome:
    """Run a call and report its progress; when cancelled, it ends the work before it returns."""
    loop, news = asyncio.get_running_loop(), asyncio.Queue[ToolProgress | None]()

    def pass_on(progress: ToolProgress) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has been closed meanwhile
            loop.call_soon_threadsafe(news.put_nowait, progress)

    # A separate task: the SDK cancels repeatedly, and cleaning up must not be cut short.
    work = asyncio.create_task(tools.acall(asked.name, asked.arguments or {}, on_progress=pass_on))
    reporting = asyncio.create_task(_reported(news, report))
    try:
        outcome = await asyncio.shield(work)
    except asyncio.CancelledError:
        work.cancel()
        with anyio.CancelScope(shield=True):
            await asyncio.wait([work])
        raise
    else:
        news.put_nowait(None)
        await reporting  # the last steps are reported before the result, which ends the call for the client
        return outcome
    finally:
        reporting.cancel()


async def _reported(news: asyncio.Queue[ToolProgress | None], report: Report) -> None:
    """Report progress as it comes, and a heartbeat when none does, until `None`; numbers only grow."""
    began, sent, total = time.monotonic(), 0.0, None
    while True:
        try:
            progress = await asyncio.wait_for(news.get(), HEARTBEAT)
            if progress is None:
                return
            done, total, text = progress.done, progress.total, progress.text
        except TimeoutError:
            done, text = sent, f"still working, {time.monotonic() - began:,.0f} s so far"
        sent = done if done > sent else sent + (math.floor(sent) + 1 - sent) * _CREEP
        with contextlib.suppress(Exception):  # a disconnected client ends the call itself
            await report(sent, total, text)


def _tool(one: ToolDefinition) -> types.Tool:
    free = one.name == "probe_media"
    hints = types.ToolAnnotations(read_only_hint=True, destructive_hint=False, open_world_hint=not free)
    return types.Tool(name=one.name, description=one.description, input_schema=one.schema, annotations=hints)


def _result(outcome: ToolOutcome) -> types.CallToolResult:
    plain: dict[str, object] | None = None
    if outcome.artifact is not None:
        kept, cut = bounded_value(json.loads(json.dumps(outcome.artifact)))
        plain = {"result": kept, **({"cut": "Lists and texts are shortened; ask for less."} if cut else {})}
    text = types.TextContent(type="text", text=outcome.content)
    return types.CallToolResult(content=[text], structured_content=plain, is_error=outcome.error is not None)
