"""One stand-in and one folder for the tests of the tools, a call in both ways, and an agent over MCP."""

import asyncio
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from qwen_omni import (
    AsyncOmniClient,
    ChatOptions,
    ChatRequest,
    MediaTools,
    Message,
    Settings,
    Tool,
    ToolCallPart,
    ToolResultPart,
    user,
)
from qwen_omni.standin import Standin
from qwen_omni.tools.results import ToolOutcome
from tests.support.agents import Place, make_place


@pytest.fixture
def standin() -> Iterator[Standin]:
    """A stand-in of the test's own: a request that a cancelled call left on its way must not reach the next test."""
    with Standin() as service:
        service.tasks.polls_until_done = 0
        yield service


@pytest.fixture(scope="session")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    return make_place(tmp_path_factory.mktemp("place"))


@pytest.fixture
def tools(place: Place, settings: Settings) -> Iterator[MediaTools]:
    made = MediaTools(place.root, settings=settings)
    yield made
    made.close()


def both(tools: MediaTools, name: str, **arguments: Any) -> ToolOutcome:
    """Call a tool in both ways; they must say the same."""
    outcome = tools.call(name, arguments)

    async def run() -> ToolOutcome:
        try:
            return await tools.acall(name, arguments)
        finally:
            await tools.aclose()

    again = asyncio.run(run())
    assert again.content == outcome.content
    assert again.artifact == outcome.artifact
    assert type(again.error) is type(outcome.error)
    json.dumps(outcome.artifact)
    return outcome


def server(root: Path, standin: Standin, settings: Settings, *options: str) -> Any:
    """The command that a host program would run."""
    import mcp  # noqa: PLC0415  (an extra, whose import takes a second)

    code = "from qwen_omni.cli.main import run; run()"
    environment = {
        "DASHSCOPE_API_KEY": standin.api_key, "DASHSCOPE_BASE_URL": standin.base_url,
        "QWEN_OMNI_CACHE_DIR": str(settings.cache_dir), "PYTHONPATH": str(Path(__file__).parents[2]),
    }  # fmt: skip
    arguments = ["-c", code, "mcp", "--root", str(root), *options]
    return mcp.StdioServerParameters(command=sys.executable, args=arguments, env=environment)


async def answered_over_mcp(client: Any, settings: Settings, question: str) -> str:
    """Let a model answer with nothing but the tools of a server, in a loop without any framework."""
    listed = (await client.list_tools()).tools
    offered = tuple(
        Tool(name=one.name, description=one.description or "", parameters=one.input_schema) for one in listed
    )
    options = ChatOptions(thinking=False, tools=offered)
    messages: list[Message] = [user(question)]
    async with AsyncOmniClient(settings) as model:
        while True:
            answer = await model.complete(
                ChatRequest(model="qwen3.8-omni-flash", messages=tuple(messages), options=options)
            )
            if not answer.tool_calls:
                return answer.text
            call = answer.tool_calls[0]
            result = await client.call_tool(call.name, json.loads(call.arguments))
            said = ToolCallPart(id=call.id, name=call.name, arguments=call.arguments)
            told = ToolResultPart(tool_call_id=call.id, text=result.content[0].text)
            messages += [Message(role="assistant", parts=(said,)), Message(role="tool", parts=(told,))]
