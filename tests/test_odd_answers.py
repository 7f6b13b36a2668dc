"""Odd and damaged answers through both frameworks, all four ways: sense, or an error of ours that can be pickled."""

import pickle
from collections.abc import AsyncIterator
from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_core.tools import tool

from qwen_omni import errors
from qwen_omni.standin import Standin
from tests.contracts.frameworks import LANGCHAIN, LLAMA_INDEX, Framework, each
from tests.support.quirks import CALLED, ROLE, USAGE, chunk, events, text

llama_index = pytest.importorskip("llama_index.core.llms", reason="LlamaIndex is not installed")
types = pytest.importorskip("llama_index.core.base.llms.types")


@pytest.fixture
async def llm(framework: Framework, service: Standin) -> AsyncIterator[Any]:
    """A model of the framework."""
    service.script.clear()
    model = framework.model(service, thinking=False)
    yield model
    model.close()
    await model.aclose()


def weather(call_id: object, city: str, **more: object) -> dict:
    function = {"name": "weather", "arguments": f'{{"city": "{city}"}}'}
    return chunk({"tool_calls": [{"index": 0, "id": call_id, "function": function, **more}]})


@each("chats")
@pytest.mark.parametrize("index", [0, None])
async def test_parallel_calls_that_share_an_index(framework, way, llm, service, index):
    """Two calls, each with its id and its arguments."""
    service.script.raw(
        events(ROLE, weather("c1", "Rome", index=index), weather("c2", "Oslo", index=index), CALLED, USAGE)
    )
    assert framework.read(await way(llm, "x")).calls == [
        ("c1", "weather", {"city": "Rome"}),
        ("c2", "weather", {"city": "Oslo"}),
    ]


@each("chats")
async def test_missing_ids_are_made_up(framework, way, llm, service):
    """There, and different: a tool's result must find its call."""
    service.script.raw(events(ROLE, weather(None, "Rome"), weather("", "Oslo"), CALLED, USAGE))
    calls = framework.read(await way(llm, "x")).calls
    assert [(name, arguments["city"]) for _, name, arguments in calls] == [("weather", "Rome"), ("weather", "Oslo")]
    assert len({call_id for call_id, *_ in calls} - {"", None}) == 2


BAD = {
    "a damaged line": (events(text("Do "), '{"cho', text("mix")), errors.StreamInterruptedError, "Do "),
    "a field of no stream": (events(text("Do "), done=False) + b"dta: {}\n\n", errors.StreamInterruptedError, "Do "),
    "choices of another type": (events(text("Do "), {"choices": 5}), errors.APIError, "Do "),
    "a web page": (b"<html>Please sign in</html>", errors.APIError, ""),
    "nothing": (events(chunk({}, "stop")), errors.StreamInterruptedError, ""),
    "a bomb of brackets": (
        events(text("Do "), chunk({"tool_calls": [{"id": "c", "function": {"name": "f", "arguments": "[" * 99_999}}]})),
        errors.APIError, "Do ",
    ),
}  # fmt: skip


@each("chats")
@pytest.mark.parametrize("kind", BAD)
async def test_what_is_no_answer_is_an_error(framework, way, llm, service, kind):
    """With the text so far in `partial`, also after a pickle; the key is in none."""
    body, expected, partial = BAD[kind]
    service.script.raw(body)
    with pytest.raises(expected) as caught:
        await way(llm, "x")
    kept = pickle.dumps(caught.value)
    assert service.api_key.encode() not in kept
    assert pickle.loads(kept).partial.text == partial


@tool
def look(path: str) -> str:
    """Look at a file."""
    return path


@pytest.mark.parametrize("raw", ['{"path": "a.mp4"', "[1]", ""])
@pytest.mark.parametrize("answered", [True, False])
@pytest.mark.parametrize("framework", [LANGCHAIN])
def test_a_malformed_call_poisons_no_langchain_thread(llm, raw, answered):
    """With the error as a ToolMessage, as agents write it, and without: the next turn is answered."""
    broken = {"name": "look", "args": raw, "id": "c1", "error": "not JSON", "type": "invalid_tool_call"}
    history = [HumanMessage("q"), AIMessage("", invalid_tool_calls=[broken])]
    if answered or not raw:
        history.append(ToolMessage("Error: not JSON; call again.", tool_call_id="c1"))
    assert llm.bind_tools([look]).invoke([*history, HumanMessage("again")]).text


@pytest.mark.parametrize("raw", ['{"path": "a.mp4"', "[1]"])
@pytest.mark.parametrize("answered", [True, False])
@pytest.mark.parametrize("framework", [LLAMA_INDEX])
def test_a_malformed_call_poisons_no_llama_index_chat(llm, raw, answered):
    """The same with LlamaIndex's blocks, whose arguments may be text."""
    call = types.ToolCallBlock(tool_call_id="c1", tool_name="look", tool_kwargs=raw)
    answer = llama_index.ChatMessage(role="assistant", blocks=[call])
    history = [llama_index.ChatMessage(role="user", content="q"), answer]
    if answered:
        error = llama_index.ChatMessage(role="tool", content="Error", additional_kwargs={"tool_call_id": "c1"})
        history.append(error)
    assert llm.chat([*history, llama_index.ChatMessage(role="user", content="again")]).message.content
