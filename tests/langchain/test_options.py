"""Every option in every way that LangChain has to give one; and what is decided over the caller's head is told."""

import itertools
from typing import Any

import pytest
from langchain_core.exceptions import ModelInvalidRequestError
from langchain_core.messages import HumanMessage, SystemMessage
from langchain_core.runnables import ConfigurableField
from llama_index.core.base.llms.types import CacheControl, CachePoint, ChatMessage as LlamaMessage, TextBlock
from pydantic import BaseModel, SecretStr, ValidationError
from typing_extensions import TypedDict

from langchain_qwen_omni import ChatQwenOmni
from langchain_qwen_omni.chat_models import plan_call
from llama_index_qwen_omni import QwenOmni
from qwen_omni.errors import ConfigurationError
from qwen_omni.integrations.model_fields import CALL_FIELDS
from qwen_omni.integrations.request_builder import RequestPlan, RequiredToolCallBuffer, add_usage, to_choice
from qwen_omni.messages import TextPart
from qwen_omni.responses import Delta, FinishDelta, TextDelta, ToolCallDelta, Usage, UsageDelta
from qwen_omni.standin import Standin, ToolCall, Turn
from tests.contracts.frameworks import find, keep

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
    """Constructor, call, `bind` and `configurable_fields` ask the same, the call wins, and each differs from none."""
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
        plan_call({"model": base.model, "modalities": base.modalities, name: "other"}, [], None, given).request,
    ]
    assert asked.count(asked[0]) == 5
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


# --- What is asked of the service ---


ASK = [HumanMessage("What is this?")]
TEXT_38 = "qwen3.8-omni-flash"
SCHEMA = {"title": "Fact", "type": "object", "properties": {"fact": {"type": "string"}}, "required": ["fact"]}


def plan(
    messages: list[Any] | None = None, stop: list[str] | None = None, model: str = TEXT_38, **options: Any
) -> RequestPlan:
    return plan_call({"model": model}, messages or ASK, stop, options)


def words(told: RequestPlan) -> str:
    first = told.request.messages[0]
    return "\n".join(part.text for part in first.parts if isinstance(part, TextPart)) if first.role == "system" else ""


def test_model_and_connection_per_call() -> None:
    """The model and the connection can be chosen per call; an address replaces an address told in another way."""
    told = plan_call(
        {"model": TEXT_38, "region": "intl", "timeout": 9.0}, ASK, None,
        {"model": "qwen-plus", "base_url": "https://h/v1", "max_retries": 0, "api_key": SecretStr("sk-other")},
    )  # fmt: skip
    assert told.request.model == "qwen-plus"
    connection = told.connection
    assert (connection.base_url, connection.region, connection.timeout, connection.max_retries) == (
        "https://h/v1",
        None,
        9.0,
        0,
    )
    assert "sk-other" not in repr(told)


def test_stop_of_langchain_wins() -> None:
    """`stop` of the call wins over the field, and a single string is one mark."""
    assert plan(stop=["a"]).request.options.stop == ("a",)
    assert plan_call({"model": TEXT_38, "stop": "ab"}, ASK, None, {}).request.options.stop == ("ab",)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"temprature": 1}, "no option 'temprature'; known options: model, temperature"),
        ({"thinking": "hard"}, "thinking='hard': pass True, False or one of none, minimal"),
        ({"modalities": ["video"]}, "modalities"),
        ({"api_key": "sk-12345678"}, "SecretStr"),
        ({"response_format": "json"}, "response_format"),
        ({"tools": [{"type": "web_search_preview"}]}, "enable_search=True"),
        ({"tools": [find], "tool_choice": "keep"}, "tool_choice='keep' is not a tool; available: find"),
        ({"tool_choice": "any"}, "needs tools"),
        ({"tools": [find], "tool_choice": 3}, "tool_choice=3"),
    ],
)
def test_wrong_options_raise(options: dict[str, Any], match: str) -> None:
    """No option is ignored in silence, and no value either."""
    with pytest.raises(ConfigurationError, match=match):
        plan(**options)


def test_what_langchain_passes_along() -> None:
    """What LangChain's own code passes along is taken, and changes nothing that is asked."""
    bare = plan()
    for name in ("stream", "streaming", "stream_usage", "disable_streaming", "ls_structured_output_format"):
        assert plan(**{name: False}) == bare


def test_wrong_fields_raise() -> None:
    """A constructor argument that does not exist raises, and so does a wrong value."""
    with pytest.raises(ValidationError, match="temprature"):
        ChatQwenOmni(temprature=1)  # type: ignore[call-arg]
    with pytest.raises(ValidationError, match="thinking"):
        ChatQwenOmni(thinking="hard")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("choice", "wanted"),
    [
        (None, None), ("auto", "auto"), ("none", "none"), ("any", "required"), ("required", "required"),
        (True, "required"),
        (False, "none"), ("find", "find"), ({"type": "function", "function": {"name": "find"}}, "find"),
        ({"type": "tool", "name": "find"}, "find"), ({"type": "any"}, "required"),
    ],
)  # fmt: skip
def test_tool_choice_spellings(choice: Any, wanted: str | None) -> None:
    """Every spelling of a tool choice is understood."""
    assert to_choice(choice) == wanted


def test_any_of_one_tool_is_its_name() -> None:
    """The service cannot be told "any"; with one tool its name says the same, and thinking goes off."""
    told = plan(tools=[find], tool_choice="any")
    assert (told.request.options.tool_choice, told.request.options.thinking, told.must_call) == ("find", False, True)
    assert words(told) == ""


def test_any_of_several_tools_is_asked_in_words() -> None:
    """With several tools the prompt asks for a call, thinking stays, and the answer is checked."""
    told = plan([SystemMessage("Be brief."), *ASK], tools=[find, keep, Fact], tool_choice="any")
    assert (told.request.options.tool_choice, told.request.options.thinking, told.must_call) == ("auto", None, True)
    assert words(told) == "Be brief.\nAnswer by calling one of these tools: find, keep, Fact. Do not answer in words."


def test_thinking_asked_for_by_the_call_stays() -> None:
    """Thinking goes off for a forced tool unless the call itself asks for it; then the service's rule decides."""
    assert (
        plan_call(
            {"model": TEXT_38, "thinking": True}, ASK, None, {"tools": [find], "tool_choice": "find"}
        ).request.options.thinking
        is False
    )
    assert plan(tools=[find], tool_choice="find", thinking="low").request.options.thinking == "low"


@pytest.mark.parametrize("said", ["As JSON, please", "as json"])
def test_json_mode_needs_the_word(said: str) -> None:
    """JSON mode adds the word "JSON" to the prompt where no message has it, and switches thinking off."""
    wanted = {"response_format": {"type": "json_object"}}
    assert words(plan(**wanted)) == "Answer with one JSON object and nothing else."
    told = plan([HumanMessage(said)], **wanted)
    assert words(told) == ""
    assert (told.request.options.json_mode, told.request.options.thinking) == (True, False)


def test_json_mode_of_a_model_without_one() -> None:
    """Where the model has no JSON mode the prompt asks for it, whatever the messages say."""
    told = plan([HumanMessage("As JSON, please")], model="qwen3.5-omni-flash", response_format={"type": "json_object"})
    assert (told.request.options.json_mode, words(told)) == (False, "Answer with one JSON object and nothing else.")


@pytest.mark.parametrize(
    ("model", "json_mode", "native", "in_prompt", "thinking"),
    [
        (TEXT_38, True, False, True, False),
        ("qwen3.5-omni-flash", False, False, True, None),
        ("qwen3.8-flash", False, True, False, False),
    ],
)
def test_schema_by_what_the_model_can(
    model: str, json_mode: bool, native: bool, in_prompt: bool, thinking: bool | None
) -> None:
    """A schema is sent where the model can be held to it, else it stands in the prompt, in JSON mode if it can."""
    wanted = {"type": "json_schema", "json_schema": {"name": "Fact", "schema": SCHEMA}}
    told = plan(model=model, response_format=wanted)
    options = told.request.options
    assert (options.json_mode, options.json_schema == SCHEMA, '"fact"' in words(told), options.thinking) == (
        json_mode, native, in_prompt, thinking,
    )  # fmt: skip


def test_binding_changes_no_model() -> None:
    """`bind_tools` and `with_structured_output` leave the model as it was."""
    llm = ChatQwenOmni(thinking="high")
    before = llm.model_dump()
    llm.bind_tools([find], tool_choice="any")
    for method in ("json_schema", "function_calling", "json_mode"):
        llm.with_structured_output(Fact, method=method)  # type: ignore[arg-type]
    assert llm.model_dump() == before


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"schema": None}, "needs a schema"),
        ({"schema": Fact, "method": "telepathy"}, "method='telepathy'"),
        ({"schema": Fact, "method": "json_mode", "strict": True}, "strict"),
    ],
)
def test_structured_output_refuses(arguments: dict[str, Any], match: str) -> None:
    """What cannot be kept is refused when it is asked for, in both families of errors."""
    with pytest.raises(ConfigurationError, match=match) as caught:
        ChatQwenOmni().with_structured_output(**arguments)
    assert isinstance(caught.value, ModelInvalidRequestError)


def test_bind_tools_refuses_an_unknown_name() -> None:
    """A choice that names no tool is refused at once."""
    with pytest.raises(ConfigurationError, match="available: find"):
        ChatQwenOmni().bind_tools([find], tool_choice="keep")
