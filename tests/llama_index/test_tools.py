"""Tools through LlamaIndex: what is asked, which calls come back, and its own agents over the stand-in."""

from typing import Any

import pytest

pytest.importorskip("llama_index.core")

from llama_index.core.agent.workflow import AgentStream, AgentWorkflow, FunctionAgent
from llama_index.core.base.llms.types import ChatMessage, ChatResponse, TextBlock, ToolCallBlock, VideoBlock
from llama_index.core.tools import FunctionTool

from llama_index_qwen_omni import NoToolCallError, QwenOmni
from qwen_omni.errors import ConfigurationError, ToolArgumentsError
from qwen_omni.standin import Standin, ToolCall, Turn
from qwen_omni.standin.marked_media import TruthMedia
from tests.contracts.frameworks import LLAMA_INDEX, Way

# LlamaIndex's agents use old names of pydantic.
agents = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def find(query: str) -> str:
    """Find something."""
    return f"found {query}"


def keep(note: str) -> str:
    """Keep something."""
    return f"kept {note}"


FIND, KEEP = FunctionTool.from_defaults(find), FunctionTool.from_defaults(keep)
CALL_FIND = Turn(tool_calls=(ToolCall(name="find", arguments={"query": "tent"}),))
CALL_BOTH = Turn(
    tool_calls=(ToolCall(name="find", arguments={"query": "a"}), ToolCall(name="keep", arguments={"note": "b"}))
)
PREPARED: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("free", {"tools": [FIND, KEEP]}, {"tool_choice": None, "parallel_tool_calls": None}),
    ("several at once", {"tools": [FIND], "allow_parallel_tool_calls": True}, {"parallel_tool_calls": True}),
    ("one must be called", {"tools": [FIND], "tool_required": True},
     {"tool_choice": {"type": "function", "function": {"name": "find"}}, "reasoning_effort": "none"}),
    ("one of several", {"tools": [FIND, KEEP], "tool_required": True}, {"tool_choice": "auto"}),
    ("by name", {"tools": [FIND, KEEP], "tool_choice": "keep"},
     {"tool_choice": {"type": "function", "function": {"name": "keep"}}}),
    ("none", {"tools": []}, {"tools": None}),
]  # fmt: skip


@pytest.mark.parametrize(("asked", "sent"), [row[1:] for row in PREPARED], ids=[row[0] for row in PREPARED])
async def test_what_is_asked(asked: dict[str, Any], sent: dict[str, Any], llm: QwenOmni, standin: Standin) -> None:
    """Each wish of LlamaIndex becomes what the service understands."""
    standin.script.reply(CALL_FIND if asked["tools"] else "Hi", when=lambda _: True)
    await llm.achat_with_tools(user_msg="Find a tent.", **asked)
    body = standin.requests[-1].body
    assert {name: body.get(name) for name in sent} == sent
    said = body["messages"][0]
    wanted = asked.get("tool_required") and len(asked["tools"]) > 1
    assert ("calling one of these tools: find, keep" in str(said["content"])) == bool(wanted)


@pytest.mark.parametrize("way", LLAMA_INDEX.chats.values(), ids=LLAMA_INDEX.chats.keys())
async def test_calls_come_back(way: Way, llm: QwenOmni, standin: Standin) -> None:
    """Calls come back as blocks and as selections, the same in every way to ask, and can be answered."""
    standin.script.reply(CALL_BOTH)
    asked = llm._prepare_chat_with_tools([FIND, KEEP], user_msg="Go.", allow_parallel_tool_calls=True)
    answer = await way(llm, asked.pop("messages"), **asked)
    selections = llm.get_tool_calls_from_response(answer)
    assert [(one.tool_name, one.tool_kwargs) for one in selections] == [
        ("find", {"query": "a"}),
        ("keep", {"note": "b"}),
    ]
    assert all(one.tool_id for one in selections)
    results = [
        ChatMessage(role="tool", content="done", additional_kwargs={"tool_call_id": one.tool_id}) for one in selections
    ]
    llm.chat([ChatMessage(content="Go."), answer.message, *results])
    assert [message["role"] for message in standin.requests[-1].body["messages"]] == [
        "user", "assistant", "tool", "tool",
    ]  # fmt: skip


async def test_only_one_where_one_is_allowed(llm: QwenOmni, standin: Standin) -> None:
    """Where one call is allowed the first is kept, so that `predict_and_call` runs it."""
    standin.script.reply(CALL_BOTH)
    assert llm.predict_and_call([FIND, KEEP], user_msg="Go.").response == "found a"
    standin.script.reply(CALL_BOTH)
    both = await llm.apredict_and_call([FIND, KEEP], user_msg="Go.", allow_parallel_tool_calls=True)
    assert both.response == "found a\n\nkept b"


def response(arguments: Any, **raw: Any) -> ChatResponse:
    block = ToolCallBlock(tool_call_id="c1", tool_name="find", tool_kwargs=arguments)
    return ChatResponse(message=ChatMessage(role="assistant", blocks=[block]), raw=raw)


def test_arguments_that_cannot_be_read(llm: QwenOmni) -> None:
    """Of an answer that still streams the arguments so far are given; of a complete one broken ones are an error."""
    (begun,) = llm.get_tool_calls_from_response(response('{"query": "a", "mo', model="m"))
    assert begun.tool_kwargs == {"query": "a"}
    assert llm.get_tool_calls_from_response(response("", model="m"))[0].tool_kwargs == {}
    with pytest.raises(ToolArgumentsError, match="find") as caught:
        llm.get_tool_calls_from_response(response('{"query": ', finish_reason="length"))
    assert (caught.value.name, caught.value.arguments) == ("find", '{"query": ')
    with pytest.raises(NoToolCallError):
        llm.get_tool_calls_from_response(ChatResponse(message=ChatMessage(content="x")))


def test_a_model_without_tools(llm: QwenOmni) -> None:
    """A model that cannot call tools says so before anything is sent."""
    with pytest.raises(ConfigurationError, match="cannot call tools"):
        llm.chat_with_tools([FIND], user_msg="Go.", model="qwen-omni-turbo")


@agents
@pytest.mark.parametrize("streaming", [True, False])
async def test_function_agent(streaming: bool, llm: QwenOmni, standin: Standin, clip: TruthMedia) -> None:
    """An agent asks about a video, calls a tool, and answers with what the tool told."""
    standin.script.reply(CALL_FIND).reply("A tent was found.")
    agent = FunctionAgent(llm=llm, tools=[FIND], system_prompt="Use tools.", streaming=streaming)
    question = ChatMessage(blocks=[VideoBlock(path=clip.path), TextBlock(text="Find what is sold here.")])
    running = agent.run(user_msg=question)
    pieces = [event.delta async for event in running.stream_events() if isinstance(event, AgentStream)]
    answer = await running
    assert (str(answer), [one.tool_output.content for one in answer.tool_calls]) == (
        "A tent was found.",
        ["found tent"],
    )
    assert "".join(pieces) == ("A tent was found." if streaming else "")
    first, second = standin.requests
    assert first.media[0].picture_codes == clip.codes
    assert second.media[0].picture_codes == clip.codes
    assert second.body["messages"][-1]["content"] == "found tent"


@agents
async def test_agent_workflow(llm: QwenOmni, standin: Standin) -> None:
    """Two agents hand a task on, each with its own tool."""
    standin.script.reply(
        Turn(tool_calls=(ToolCall(name="handoff", arguments={"to_agent": "keeper", "reason": "to keep"}),))
    )
    standin.script.reply(Turn(tool_calls=(ToolCall(name="keep", arguments={"note": "tent"}),))).reply("It is kept.")
    finder = FunctionAgent(
        name="finder", description="Finds.", llm=llm, tools=[FIND], can_handoff_to=["keeper"], system_prompt="Find."
    )
    keeper = FunctionAgent(name="keeper", description="Keeps.", llm=llm, tools=[KEEP], system_prompt="Keep.")
    answer = await AgentWorkflow(agents=[finder, keeper], root_agent="finder").run(user_msg="Keep a tent.")
    assert str(answer) == "It is kept."
    assert standin.requests[-1].body["messages"][-1] == {
        "role": "tool", "tool_call_id": standin.requests[-1].body["messages"][-1]["tool_call_id"],
        "content": "kept tent",
    }  # fmt: skip
