"""The MCP server, over standard input and output, with the SDK's own client."""

import json
import sys
from pathlib import Path

import pytest

from qwen_omni import ChatOptions, ChatRequest, Message, OmniClient, Settings, Tool, ToolCallPart, ToolResultPart, user
from qwen_omni.standin import Standin
from qwen_omni.standin.truth import TruthMedia, make_video
from tests.core.media.watching import watched
from tests.core.tools.places import Place
from tests.policy import QUESTION, Detective

mcp = pytest.importorskip("mcp")


def server(root: Path, standin: Standin, settings: Settings):
    """The command that a host program would run."""
    code = "from qwen_omni.cli.main import run; run()"
    environment = {
        "DASHSCOPE_API_KEY": standin.api_key, "DASHSCOPE_BASE_URL": standin.base_url,
        "QWEN_OMNI_CACHE_DIR": str(settings.cache_dir), "PYTHONPATH": str(Path(__file__).parents[3]),
    }  # fmt: skip
    return mcp.StdioServerParameters(
        command=sys.executable, args=["-c", code, "mcp", "--root", str(root)], env=environment
    )


async def test_tools_over_mcp(place: Place, standin: Standin, settings: Settings) -> None:
    """The server offers the same tools with their schemas; a result has text and values; refusals are results."""
    async with mcp.Client(server(place.root, standin, settings)) as client:
        listed = (await client.list_tools()).tools
        assert {"probe_media", "ask_video", "caption_video", "transcribe_audio", "find_moment", "summarize_video"} == {
            tool.name for tool in listed
        }
        assert listed[1].input_schema["required"] == ["path", "question"]
        found = await client.call_tool("probe_media", {"path": "talks/monday.mp4"})
        assert found.content[0].text.startswith("talks/monday.mp4: video, 4.0 s")
        assert found.structured_content["result"]["duration"] == 4
        assert not found.is_error
        said = await client.call_tool("ask_video", {"path": "talks/monday.mp4", "question": "What is shown?"})
        assert place.film.codes[0] in said.content[0].text
        with watched(*place.secrets) as seen:
            for path in ("../outside/secret.mp4", "link.mp4", "out/inner/deep.mp4", str(place.outside / "secret.mp4")):
                refused = await client.call_tool("ask_video", {"path": path, "question": "What?"})
                assert refused.is_error
                assert "nothing was opened" in refused.content[0].text
        assert seen == []
        wrong = await client.call_tool("ask_video", {"path": 3, "fps": "x"})
        assert wrong.is_error
        assert "question" in wrong.content[0].text
        unknown = await client.call_tool("drop_table", {})
        assert unknown.is_error


@pytest.mark.slow
async def test_an_agent_over_mcp_finds_the_moment(tmp_path: Path, standin: Standin, settings: Settings) -> None:
    """A loop with nothing but MCP tools, a folder and a question names the file and the second."""
    films: list[TruthMedia] = [
        make_video(tmp_path / f"{name}.mp4", seconds=5, size=(96, 64), fps=5) for name in ("one", "two")
    ]
    standin.script = Detective()
    code = films[1].codes[3]
    messages: list[Message] = [user(QUESTION.format(code=code))]
    async with mcp.Client(server(tmp_path, standin, settings)) as client:
        offered = (await client.list_tools()).tools
        options = ChatOptions(
            thinking=False,
            tools=tuple(
                Tool(name=one.name, description=one.description or "", parameters=one.input_schema) for one in offered
            ),
        )
        with OmniClient(settings) as model:
            for _ in range(6):
                answer = model.complete(
                    ChatRequest(model="qwen3.8-omni-flash", messages=tuple(messages), options=options)
                )
                if not answer.tool_calls:
                    break
                call = answer.tool_calls[0]
                result = await client.call_tool(call.name, json.loads(call.arguments))
                said = ToolCallPart(id=call.id, name=call.name, arguments=call.arguments)
                messages.append(Message(role="assistant", parts=(said,)))
                told = ToolResultPart(tool_call_id=call.id, text=result.content[0].text)
                messages.append(Message(role="tool", parts=(told,)))
    assert answer.text == f"{code} is in two.mp4 at second 3."
