"""Odd and damaged answers through both frameworks, all four ways: sense, or an error of ours that can be pickled."""

import asyncio
import pickle

import pytest
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_core.tools import tool

from langchain_qwen_omni import ChatQwenOmni
from qwen_omni import errors
from qwen_omni.standin import Standin
from tests.support.quirks import CALLED, ROLE, STOP, USAGE, chunk, events, text

llama_index = pytest.importorskip("llama_index.core.llms", reason="LlamaIndex is not installed")
types = pytest.importorskip("llama_index.core.base.llms.types")
QwenOmni = pytest.importorskip("llama_index_qwen_omni").QwenOmni
WAYS = ("invoke", "stream", "ainvoke", "astream")


@pytest.fixture(scope="module")
def service():
    """One stand-in for all of this module."""
    with Standin() as standin:
        yield standin


def langchain(service: Standin, way: str) -> tuple[str, list]:
    """The text and the calls (id, name, arguments) of an answer."""
    llm = ChatQwenOmni(api_key=service.api_key, base_url=service.base_url, max_retries=0, thinking=False)

    async def astream() -> AIMessage:
        whole = None
        async for piece in llm.astream("x"):
            whole = piece if whole is None else whole + piece
        return whole

    def stream() -> AIMessage:
        first, *rest = llm.stream("x")
        for piece in rest:
            first = first + piece
        return first

    told = {
        "invoke": lambda: llm.invoke("x"),
        "stream": stream,
        "ainvoke": lambda: asyncio.run(llm.ainvoke("x")),
        "astream": lambda: asyncio.run(astream()),
    }[way]()
    assert told.invalid_tool_calls == []
    return told.text, [(call["id"], call["name"], call["args"]) for call in told.tool_calls]


def llamaindex(service: Standin, way: str) -> tuple[str, list]:
    """The same."""
    llm = QwenOmni(api_key=service.api_key, base_url=service.base_url, max_retries=0, thinking=False)
    messages = [llama_index.ChatMessage(role="user", content="x")]

    async def astream() -> object:
        return [one async for one in await llm.astream_chat(messages)][-1]

    told = {
        "invoke": lambda: llm.chat(messages),
        "stream": lambda: [*llm.stream_chat(messages)][-1],
        "ainvoke": lambda: asyncio.run(llm.achat(messages)),
        "astream": lambda: asyncio.run(astream()),
    }[way]()
    calls = llm.get_tool_calls_from_response(told, error_on_no_tool_call=False)
    return told.message.content or "", [(call.tool_id, call.tool_name, call.tool_kwargs) for call in calls]


FRAMEWORKS = pytest.mark.parametrize("ask", [langchain, llamaindex])
EVERY_WAY = pytest.mark.parametrize("way", WAYS)


def weather(call_id: object, city: str, **more: object) -> dict:
    function = {"name": "weather", "arguments": f'{{"city": "{city}"}}'}
    return chunk({"tool_calls": [{"index": 0, "id": call_id, "function": function, **more}]})


@FRAMEWORKS
@EVERY_WAY
@pytest.mark.parametrize("index", [0, None])
def test_parallel_calls_that_share_an_index(service, ask, way, index):
    """Two calls, each with its id and its arguments."""
    service.script.clear()
    service.script.raw(
        events(ROLE, weather("c1", "Rome", index=index), weather("c2", "Oslo", index=index), CALLED, USAGE)
    )
    assert ask(service, way)[1] == [("c1", "weather", {"city": "Rome"}), ("c2", "weather", {"city": "Oslo"})]


@FRAMEWORKS
@EVERY_WAY
def test_missing_ids_are_made_up(service, ask, way):
    """There, and different: a tool's result must find its call."""
    service.script.clear()
    service.script.raw(events(ROLE, weather(None, "Rome"), weather("", "Oslo"), CALLED, USAGE))
    calls = ask(service, way)[1]
    assert [(name, arguments["city"]) for _, name, arguments in calls] == [("weather", "Rome"), ("weather", "Oslo")]
    assert len({call_id for call_id, *_ in calls} - {"", None}) == 2


@FRAMEWORKS
@EVERY_WAY
def test_half_a_character_is_joined(service, ask, way):
    """An emoji in two deltas."""
    service.script.clear()
    halves = (r'{"choices":[{"delta":{"content":"a\ud83c"}}]}', r'{"choices":[{"delta":{"content":"\udf0db"}}]}')
    service.script.raw(events(ROLE, *halves, STOP, USAGE))
    assert ask(service, way)[0] == "a🌍b"


@FRAMEWORKS
@EVERY_WAY
def test_parts_are_text(service, ask, way):
    """Content as a list."""
    service.script.clear()
    service.script.raw(events(ROLE, chunk({"content": [{"type": "text", "text": "Hi"}]}), STOP, USAGE))
    assert ask(service, way)[0] == "Hi"


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


@FRAMEWORKS
@EVERY_WAY
@pytest.mark.parametrize("kind", BAD)
def test_what_is_no_answer_is_an_error(service, ask, way, kind):
    """With the text so far in `partial`, also after a pickle; the key is in none."""
    body, expected, partial = BAD[kind]
    service.script.clear()
    service.script.raw(body)
    with pytest.raises(expected) as caught:
        ask(service, way)
    kept = pickle.dumps(caught.value)
    assert service.api_key.encode() not in kept
    assert pickle.loads(kept).partial.text == partial


@tool
def look(path: str) -> str:
    """Look at a file."""
    return path


@pytest.mark.parametrize("raw", ['{"path": "a.mp4"', "[1]", ""])
@pytest.mark.parametrize("answered", [True, False])
def test_a_malformed_call_poisons_no_langchain_thread(service, raw, answered):
    """With the error as a ToolMessage, as agents write it, and without: the next turn is answered."""
    service.script.clear()
    broken = {"name": "look", "args": raw, "id": "c1", "error": "not JSON", "type": "invalid_tool_call"}
    history = [HumanMessage("q"), AIMessage("", invalid_tool_calls=[broken])]
    if answered or not raw:
        history.append(ToolMessage("Error: not JSON; call again.", tool_call_id="c1"))
    llm = ChatQwenOmni(api_key=service.api_key, base_url=service.base_url, max_retries=0, thinking=False)
    assert llm.bind_tools([look]).invoke([*history, HumanMessage("again")]).text


@pytest.mark.parametrize("raw", ['{"path": "a.mp4"', "[1]"])
@pytest.mark.parametrize("answered", [True, False])
def test_a_malformed_call_poisons_no_llama_index_chat(service, raw, answered):
    """The same with LlamaIndex's blocks, whose arguments may be text."""
    service.script.clear()
    call = types.ToolCallBlock(tool_call_id="c1", tool_name="look", tool_kwargs=raw)
    answer = llama_index.ChatMessage(role="assistant", blocks=[call])
    history = [llama_index.ChatMessage(role="user", content="q"), answer]
    if answered:
        error = llama_index.ChatMessage(role="tool", content="Error", additional_kwargs={"tool_call_id": "c1"})
        history.append(error)
    llm = QwenOmni(api_key=service.api_key, base_url=service.base_url, max_retries=0, thinking=False)
    assert llm.chat([*history, llama_index.ChatMessage(role="user", content="again")]).message.content
