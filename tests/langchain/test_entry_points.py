"""What LangChain alone can ask for: to be streamed or not, and objects with the raw answer."""

from typing import Any

import pytest
from langchain_core.messages import AIMessage
from pydantic import BaseModel

from langchain_qwen_omni import ChatQwenOmni
from qwen_omni.standin import Standin
from tests.contracts.frameworks import LANGCHAIN, Way, find


class Fact(BaseModel):
    """A fact."""

    fact: str


OFF: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "streaming=False": ({"streaming": False}, {}),
    "disable_streaming": ({"disable_streaming": True}, {}),
    "disable_streaming for tools": ({"disable_streaming": "tool_calling"}, {"tools": [find]}),
    "stream=False": ({}, {"stream": False}),
    "stream_usage=False": ({}, {"stream_usage": False}),
}
# LangChain's own v3 events take no `stream=`: there the option cannot be given at all.
CASES = {
    f"{way} {off}": (LANGCHAIN.ways[way], *OFF[off])
    for way in LANGCHAIN.ways
    for off in OFF
    if not (off == "stream=False" and "events" in way)
}


@pytest.mark.filterwarnings("ignore::langchain_core._api.beta_decorator.LangChainBetaWarning")
@pytest.mark.parametrize(("way", "fields", "options"), CASES.values(), ids=CASES.keys())
async def test_no_option_switches_streaming_off(
    way: Way, fields: dict[str, Any], options: dict[str, Any], standin: Standin
) -> None:
    """Whatever is passed, requests stream and ask for usage."""
    model = LANGCHAIN.model(standin, **fields)
    answer = await way(model, "Hello", **options)
    model.close()
    await model.aclose()
    assert answer.text
    assert answer.usage_metadata is not None
    for request in standin.requests:
        assert (request.body["stream"], request.body["stream_options"]) == (True, {"include_usage": True})


@pytest.mark.parametrize("method", ["json_schema", "function_calling"])
@pytest.mark.parametrize("model", ["qwen3.8-omni-flash", "qwen3.5-omni-flash"])
async def test_structured_output(method: Any, model: str, llm: ChatQwenOmni, standin: Standin) -> None:
    """Objects of the schema come back from every model and method, whole and streamed, without thinking."""
    structured = llm.with_structured_output(Fact, method=method, model=model)
    assert isinstance(structured.invoke("A fact about cats."), Fact)
    assert isinstance(await structured.ainvoke("A fact about cats."), Fact)
    assert isinstance(list(structured.stream("A fact about cats."))[-1], Fact)
    raw = llm.with_structured_output(Fact, method=method, include_raw=True, model=model).invoke("A fact.")
    assert isinstance(raw, dict)
    assert (isinstance(raw["raw"], AIMessage), isinstance(raw["parsed"], Fact), raw["parsing_error"]) == (
        True,
        True,
        None,
    )
    assert [request.refused for request in standin.requests] == [None] * 4
    if model == "qwen3.8-omni-flash":
        assert {request.body["reasoning_effort"] for request in standin.requests} == {"none"}
