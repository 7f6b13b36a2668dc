"""Answers that are nearly right, in what LangChain alone has: `include_raw`, and tools that must be called."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from langchain_qwen_omni import ChatQwenOmni, UsageLedgerHandler
from qwen_omni import CaptionSyntaxError, TruncatedAnswerError
from qwen_omni.errors import ToolArgumentsError
from qwen_omni.standin import Standin, ToolCall, Turn
from tests.contracts.frameworks import LANGCHAIN
from tests.contracts.test_nearly_right import CUT, QUESTION, Clip, Log, reply

pytestmark = pytest.mark.slow


@pytest.fixture
async def llm(standin: Standin) -> AsyncIterator[ChatQwenOmni]:
    model = LANGCHAIN.model(standin)
    yield model
    model.close()
    await model.aclose()


@pytest.mark.parametrize("way", ["invoke", "stream", "astream"])
@pytest.mark.parametrize("schema", [Clip, Clip.model_json_schema()], ids=["class", "JSON schema"])
@pytest.mark.parametrize("method", ["json_schema", "function_calling", "json_mode"])
@pytest.mark.parametrize("text", [CUT, '{"title": ["Cats"]}'], ids=["cut", "wrong"])
async def test_the_raw_answer_comes_with_its_error(
    text: str, method: Any, schema: Any, way: str, llm: ChatQwenOmni, standin: Standin
) -> None:
    """`include_raw` raises nothing, in a stream either: the message comes whole, and the error stands beside it."""
    finish = "length" if text == CUT else "stop"
    reply(standin, LANGCHAIN.doors[method], text, finish)
    raw: Any = llm.with_structured_output(schema, method=method, include_raw=True)
    if way == "astream":
        chunks = [one async for one in raw.astream(QUESTION)]
    else:
        chunks = [raw.invoke(QUESTION)] if way == "invoke" else list(raw.stream(QUESTION))
    last: dict[str, Any] = {}
    for chunk in chunks:
        last |= {key: value for key, value in chunk.items() if key != "raw"}
    whole = chunks[0]["raw"]
    for chunk in chunks[1:]:
        whole = whole + chunk["raw"] if "raw" in chunk else whole
    assert last["parsed"] is None
    assert isinstance(last["parsing_error"], TruncatedAnswerError if text == CUT else CaptionSyntaxError)
    assert last["parsing_error"].text == text
    assert whole.response_metadata["finish_reason"] == finish


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("method", ["json_schema", "function_calling", "json_mode"])
async def test_the_handler_books_what_a_bad_answer_cost(
    method: Any, streamed: bool, llm: ChatQwenOmni, standin: Standin
) -> None:
    """The books of a callback hold every answer that the error tells of."""
    ledger = UsageLedgerHandler()
    runnable = llm.with_structured_output(Clip, method=method).with_config(callbacks=[ledger])
    standin.script.reply("No.", times=2)
    with pytest.raises(CaptionSyntaxError) as wrong:
        await LANGCHAIN.chats["astream" if streamed else "ainvoke"](runnable, QUESTION)
    spent = sum(usage.output_tokens for usage in wrong.value.usages)
    assert spent == ledger.ledger.total.tokens.text_out > 0


@pytest.mark.parametrize("way", ["ainvoke", "astream"])
@pytest.mark.parametrize("tools", [[Clip], [Clip, Log]], ids=["one", "two"])
@pytest.mark.parametrize(
    ("finish", "error"),
    [("length", TruncatedAnswerError), ("content_filter", TruncatedAnswerError), ("tool_calls", ToolArgumentsError)],
)
async def test_a_call_that_must_come_and_cannot_be_read_is_an_error(
    finish: str, error: type[Exception], tools: list[Any], way: str, llm: ChatQwenOmni, standin: Standin
) -> None:
    """An agent takes a message without a readable call for its last, and would end without a result."""
    cut = Turn(tool_calls=(ToolCall(name="Clip", arguments=CUT),), finish_reason=finish)
    standin.script.reply(cut, times=2)
    with pytest.raises(error, match="'Clip'"):
        await LANGCHAIN.chats[way](llm.bind_tools(tools, tool_choice="any"), QUESTION)
    assert len(standin.requests) == 1
    free = await llm.bind_tools(tools).ainvoke(QUESTION)
    assert [call["args"] for call in free.invalid_tool_calls] == [CUT]
