"""Every option in every way that LangChain has to give one; and what is decided over the caller's head is told."""

import itertools
from typing import Any

import pytest
from langchain_core.messages import HumanMessage, SystemMessage
from langchain_core.runnables import ConfigurableField
from llama_index.core.base.llms.types import CacheControl, CachePoint, ChatMessage as LlamaMessage, TextBlock
from pydantic import BaseModel, SecretStr
from typing_extensions import TypedDict

from langchain_qwen_omni import ChatQwenOmni
from llama_index_qwen_omni import QwenOmni
from qwen_omni.integrations.model_fields import CALL_FIELDS
from qwen_omni.integrations.request_builder import RequiredToolCallBuffer, add_usage
from qwen_omni.responses import Delta, FinishDelta, TextDelta, ToolCallDelta, Usage, UsageDelta
from qwen_omni.standin import Standin, ToolCall, Turn
from tests.contracts.frameworks import find

VALUES: dict[str, Any] = {
    "temperature": 0.5, "top_p": 0.9, "top_k": 3, "max_tokens": 7, "seed": 1, "stop": ["x"], "presence_penalty": 0.1,
    "repetition_penalty": 1.1, "thinking": "low", "enable_search": True, "extra_body": {"a_field_of_tomorrow": 1},
    "high_resolution_images": True, "multichannel": True, "extra_headers": {"X-Team": "film"},
    "modalities": ["text", "audio"], "voice": "Tina", "tier": "batch",
}  # fmt: skip


@pytest.fixture
def connection(standin: Standin) -> dict[str, Any]:
    """How to reach the stand-in."""
    return {"api_key": SecretStr(standin.api_key), "base_url": standin.base_url, "max_retries": 0}


@pytest.mark.parametrize("name", CALL_FIELDS)
def test_every_way_to_give_an_option(name: str, connection: dict[str, Any]) -> None:
    """Constructor, call, `bind` and `configurable_fields` ask the same, and something else than without the option."""
    given = {name: VALUES[name]}
    if name == "voice":
        connection |= {"modalities": ["text", "audio"]}
    if name in ("modalities", "voice"):
        connection |= {"model": "qwen3.5-omni-flash"}
    base = ChatQwenOmni(**connection)
    plain = base._plan([], None, {}).request
    field = ConfigurableField(id="chosen")
    configured = base.configurable_fields(**{name: field}).with_config(configurable={"chosen": VALUES[name]})
    made: Any = (
        configured._prepare({"configurable": {"chosen": VALUES[name]}})[0]
        if hasattr(configured, "_prepare")
        else (
            configured.bound._prepare(configured.config)[0]  # type: ignore[attr-defined]
        )
    )
    bound: Any = base.bind(**given)
    asked = [
        ChatQwenOmni(**{**connection, **given})._plan([], None, {}).request,
        base._plan([], None, given).request,
        bound.bound._plan([], None, dict(bound.kwargs)).request,
        made._plan([], None, {}).request,
    ]
    assert asked.count(asked[0]) == 4
    assert asked[0] != plain
    base.close()


CALL = Turn(text="Let me look.", tool_calls=(ToolCall(name="find", arguments={"query": "x"}),))


def test_thinking_that_is_switched_off_is_told(connection: dict[str, Any], standin: Standin) -> None:
    """An answer to a forced call says that thinking was off, and why; other answers say nothing of it."""
    llm = ChatQwenOmni(**connection, thinking="high")
    standin.script.reply(CALL, times=1)
    forced = llm.bind_tools([find], tool_choice="find").invoke("Find x.")
    assert "forces a call of 'find'" in forced.response_metadata["thinking"]
    assert standin.requests[-1].body["reasoning_effort"] == "none"
    standin.script.reply(CALL, times=1)
    full: Any = None
    for chunk in llm.bind_tools([find], tool_choice="find").stream("Find x."):
        full = chunk if full is None else full + chunk
    assert "forces a call" in full.response_metadata["thinking"]
    assert "thinking" not in llm.bind_tools([find]).invoke("Find x.").response_metadata
    quiet = ChatQwenOmni(**connection, thinking=False)
    standin.script.reply(CALL, times=1)
    assert "thinking" not in quiet.bind_tools([find], tool_choice="find").invoke("Find x.").response_metadata
    llm.close()
    quiet.close()


def test_insisting() -> None:
    """Nothing is given out before a call; then all of it in order; usage of the refused answer is added."""
    insisting = RequiredToolCallBuffer()
    used = UsageDelta(Usage(input_tokens=5, output_tokens=1, total_tokens=6, input_details={"text": 5}))
    assert [insisting.take(delta) for delta in (TextDelta("No."), FinishDelta("stop"), used)] == [[], [], []]
    assert insisting.again().text == "No."
    call, said = ToolCallDelta(index=0, name="find"), TextDelta("Now: ")
    seen: list[Delta] = [shown for delta in (said, call, used) for shown in insisting.take(delta)]
    assert seen[:2] == [said, call]
    assert seen[2] == UsageDelta(add_usage(used.usage, used.usage))
    assert add_usage(used.usage, None) == used.usage


class Fact(BaseModel):
    """A fact."""

    fact: str


class FactDict(TypedDict):
    """A fact."""

    fact: str


JSON_SCHEMA = {"title": "Fact", "description": "A fact.", "type": "object",
               "properties": {"fact": {"type": "string"}}, "required": ["fact"]}  # fmt: skip
LONG = '{"fact": "Cats sleep for most of the day, and see well at night."}'


@pytest.mark.parametrize("schema", [Fact, FactDict, JSON_SCHEMA], ids=["pydantic", "TypedDict", "JSON schema"])
@pytest.mark.parametrize("method", ["json_schema", "json_mode", "function_calling"])
async def test_structured_output_streams(
    schema: Any, method: Any, connection: dict[str, Any], standin: Standin
) -> None:
    """Dictionaries grow while they come; classes come once, whole; sync and async alike."""
    llm = ChatQwenOmni(**connection)
    structured = llm.with_structured_output(schema, method=method)
    call = Turn(tool_calls=(ToolCall(name="FactDict" if schema is FactDict else "Fact", arguments=LONG),))
    answer = call if method == "function_calling" else LONG
    standin.script.reply(answer, times=4)
    whole = structured.invoke("A fact as JSON.")
    assert whole == await structured.ainvoke("A fact as JSON.")
    pieces = list(structured.stream("A fact as JSON."))
    assert pieces[-1] == whole
    assert [piece async for piece in structured.astream("A fact as JSON.")][-1] == whole
    if schema is Fact:
        assert all(isinstance(piece, Fact) for piece in pieces)
    else:
        growing = [piece["fact"] for piece in pieces if "fact" in piece]
        assert len(growing) > 1
        assert all(later.startswith(earlier) for earlier, later in itertools.pairwise(growing))
    llm.close()
    await llm.aclose()


OLD = pytest.mark.filterwarnings("ignore:search= is now:DeprecationWarning")
OTHER_SPELLINGS: list[Any] = [
    ({"enable_thinking": False}, {"thinking": False}),
    ({"enable_thinking": True, "reasoning_effort": "low"}, {"thinking": "low"}),
    ({"reasoning_effort": "none"}, {"thinking": "none"}),
    ({"max_completion_tokens": 7}, {"max_tokens": 7}),
    ({"stop_sequences": ["x"]}, {"stop": ["x"]}),
    pytest.param({"search": True}, {"enable_search": True}, marks=OLD),
    ({"vl_high_resolution_images": True}, {"high_resolution_images": True}),
    ({"model_name": "qwen3.5-omni-flash"}, {"model": "qwen3.5-omni-flash"}),
    ({"model_kwargs": {"thinking_budget": 9, "seed": 1}}, {"extra_body": {"thinking_budget": 9}, "seed": 1}),
    ({"model_kwargs": {"enable_thinking": False}}, {"thinking": False}),
    ({"additional_kwargs": {"a": 1}, "extra_body": {"b": 2}}, {"extra_body": {"a": 1, "b": 2}}),
    ({"max_tokens": 7, "max_completion_tokens": None}, {"max_tokens": 7}),
    ({"max_tokens": 7, "max_completion_tokens": 7}, {"max_tokens": 7}),
    ({"default_headers": {"X-Team": "film"}}, {"extra_headers": {"X-Team": "film"}}),
]


@pytest.mark.parametrize(("theirs", "ours"), OTHER_SPELLINGS)
def test_names_of_other_integrations(theirs: dict[str, Any], ours: dict[str, Any], connection: dict[str, Any]) -> None:
    """In the constructor, in a call and bound, of both frameworks, they ask what our names ask."""
    base = ChatQwenOmni(**connection)
    right = base._plan([], None, ours).request
    bound: Any = base.bind(**theirs)
    assert [
        ChatQwenOmni(**connection, **theirs)._plan([], None, {}).request,
        base._plan([], None, theirs).request,
        bound.bound._plan([], None, dict(bound.kwargs)).request,
        QwenOmni(**connection, **theirs)._plan([], {}).request,
        QwenOmni(**connection)._plan([], theirs).request,
    ] == [right] * 5


def test_names_of_the_connection() -> None:
    for model in (ChatQwenOmni, QwenOmni):
        made = model(openai_api_base="https://h/v1", dashscope_api_key="sk-abcd", request_timeout=9)  # type: ignore[call-arg,arg-type]
        assert (made.base_url, made.timeout) == ("https://h/v1", 9)
        assert made.api_key is not None
        assert made.api_key.get_secret_value() == "sk-abcd"
        assert "sk-abcd" not in f"{made!r}{made.model_dump()}"


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"frequency_penalty": 0.1}, "presence_penalty"),
        ({"n": 2}, "one answer per call"),
        ({"logprobs": True}, "no probabilities"),
        ({"model_kwargs": {"n": 2}}, "one answer per call"),
        ({"model_kwargs": [1]}, "model_kwargs must be a dictionary"),
        ({"max_tokens": 7, "max_completion_tokens": 8}, "max_tokens is set twice"),
        ({"enable_thinking": False, "reasoning_effort": "low"}, "thinking is set twice"),
    ],
)
def test_names_that_mean_nothing_here_are_answered(given: dict[str, Any], words: str) -> None:
    for model in (ChatQwenOmni, QwenOmni):
        with pytest.raises(ValueError, match=words):
            model(**given)
    with pytest.raises(ValueError, match=words):
        ChatQwenOmni()._plan([], None, given)
    with pytest.raises(ValueError, match=words):
        QwenOmni()._plan([], given)


def test_a_mark_that_is_not_sent_is_told_once(connection: dict[str, Any], standin: Standin) -> None:
    """Both frameworks warn and name the mark; a model with explicit caching is sent it."""
    marked = {"type": "text", "text": "long rules", "cache_control": {"type": "ephemeral"}}
    llm = ChatQwenOmni(**connection, thinking=False)
    with pytest.warns(UserWarning, match="cache_control has no effect: qwen3.8-omni-flash") as told:
        assert llm.invoke([SystemMessage([marked]), HumanMessage("x")]).text
    assert len(told) == 1
    other = QwenOmni(**connection, thinking=False)
    point = CachePoint(cache_control=CacheControl(type="ephemeral"))
    with pytest.warns(UserWarning, match="cache_control has no effect"):
        other.chat([LlamaMessage(role="user", blocks=[TextBlock(text="hi"), point])])
    text = ChatQwenOmni(**connection, model="qwen-plus")
    assert text.invoke([SystemMessage([marked]), HumanMessage("x")]).text
    assert standin.requests[-1].body["messages"][0]["content"] == [marked]
    for model in (llm, other, text):
        model.close()
