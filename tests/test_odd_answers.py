"""Odd and damaged answers through both frameworks, all four ways: sense, or an error of ours that can be pickled."""

import json
import pickle
from collections.abc import AsyncIterator
from datetime import date
from pathlib import Path
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


def history(framework: Framework, *calls: dict, results: tuple[str, ...] = ("c1",)) -> list[Any]:
    """Make a conversation with calls that were answered, as other models leave it."""
    if framework is LANGCHAIN:
        answer = AIMessage("", tool_calls=[{"name": "look", "id": "c1", "type": "tool_call", **call} for call in calls])
        return [HumanMessage("q"), answer, *(ToolMessage("seen", tool_call_id=one) for one in results)]
    blocks = [
        types.ToolCallBlock(tool_name="look", tool_call_id=call.get("id", "c1"), tool_kwargs=call["args"])
        for call in calls
    ]
    return [
        llama_index.ChatMessage(role="user", content="q"),
        llama_index.ChatMessage(role="assistant", blocks=blocks),
        *(
            llama_index.ChatMessage(role="tool", content="seen", additional_kwargs={"tool_call_id": one})
            for one in results
        ),
    ]


@each("chats")
@pytest.mark.parametrize(
    ("value", "sent"),
    [
        (date(2026, 11, 29), "2026-11-29"),
        (Path("a.mp4"), "a.mp4"),
        (b"text", "text"),
        ("\ud83d", "\ufffd"),
        ("\ud83d\ude00", "\U0001f600"),
    ],
)
async def test_arguments_of_other_types_are_text(framework, way, llm, service, value, sent):
    """A conversation that was built by hand, or by another model's integration."""
    await way(llm, history(framework, {"args": {"path": value}}))
    assert json.loads(service.requests[-1].body["messages"][1]["tool_calls"][0]["function"]["arguments"]) == {
        "path": sent
    }


@each("chats")
@pytest.mark.parametrize("value", [object(), b"\xff\xfe", print])
async def test_arguments_that_json_cannot_hold_are_named(framework, way, llm, service, value):
    """With the place in the conversation; nothing is sent."""
    before = len(service.requests)
    with pytest.raises(errors.UnsupportedContentError, match=r"message 1 \(assistant\).* cannot be written as JSON"):
        await way(llm, history(framework, {"args": {"path": value}}))
    assert len(service.requests) == before


@each("chats")
async def test_a_history_with_one_id_for_two_calls_is_answered(framework, way, llm, service):
    """Each result goes to its own call."""
    calls = history(framework, {"args": {"path": "a"}}, {"args": {"path": "b"}}, results=("c1", "c1"))
    assert framework.read(await way(llm, calls)).text
    messages = service.requests[-1].body["messages"]
    ids = [call["id"] for call in messages[1]["tool_calls"]]
    assert len({*ids}) == 2
    assert [message["tool_call_id"] for message in messages[2:]] == ids


@each("chats")
async def test_a_history_without_ids_is_answered(framework, way, llm, service):
    """As models that number nothing leave it."""
    assert framework.read(await way(llm, history(framework, {"args": {}, "id": None}, results=("",)))).text


@each("chats")
async def test_a_name_in_pieces_is_one_call(framework, way, llm, service):
    """And so are an id and an index that change."""
    pieces = [
        {"index": 0, "id": "c1", "function": {"name": "wea", "arguments": ""}},
        {"index": 0, "function": {"name": "ther"}},
        {"index": 0, "function": {"arguments": '{"city": '}},
        {"index": 1, "function": {"arguments": '"Rome"}'}},
    ]
    service.script.raw(events(ROLE, *(chunk({"tool_calls": [one]}) for one in pieces), CALLED, USAGE))
    assert framework.read(await way(llm, "x")).calls == [("c1", "weather", {"city": "Rome"})]


@each("chats")
@pytest.mark.parametrize("arguments", ["", None, "{}", {}])
async def test_calls_without_arguments_are_calls(framework, way, llm, service, arguments):
    """Two in one answer; both are passed on, although nothing follows their names."""
    pieces = [{"index": at, "id": f"c{at}", "function": {"name": "now", "arguments": arguments}} for at in (0, 1)]
    service.script.raw(events(ROLE, *(chunk({"tool_calls": [one]}) for one in pieces), CALLED, USAGE))
    assert framework.read(await way(llm, "x")).calls == [("c0", "now", {}), ("c1", "now", {})]
