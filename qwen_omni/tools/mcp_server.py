"""The tools over the Model Context Protocol: one server for one folder. The only module that names the `mcp` SDK.

Errors of a tool are results that say so (`is_error`), as the protocol wants it, so that the model can put them right.
"""

import json

import mcp_types as types
from mcp.server.lowlevel import Server
from mcp.server.stdio import stdio_server

from qwen_omni.http.flows import package_version
from qwen_omni.tools.media_tools import MediaTools, ToolDefinition
from qwen_omni.tools.outcome import ToolOutcome, bounded_value

_INSTRUCTIONS = (
    "Tools about the videos, recordings and pictures of one folder. Paths are relative to it; probe_media with path "
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
        return types.ListToolsResult(tools=[_told(one) for one in tools.definitions])

    async def on_call(_: object, asked: types.CallToolRequestParams) -> types.CallToolResult:
        return _result(await tools.acall(asked.name, asked.arguments or {}))

    return Server(
        "qwen-omni", version=package_version(), instructions=_INSTRUCTIONS, on_list_tools=on_list, on_call_tool=on_call
    )


async def serve_stdio(tools: MediaTools) -> None:
    """Serve on standard input and output until the other side hangs up."""
    server = make_server(tools)
    try:
        async with stdio_server() as (incoming, outgoing):
            await server.run(incoming, outgoing, server.create_initialization_options())
    finally:
        await tools.aclose()


def _told(one: ToolDefinition) -> types.Tool:
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
