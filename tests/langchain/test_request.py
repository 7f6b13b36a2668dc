"""What LangChain passes to a call → what is asked of the service."""

from typing import Any

import pytest
from langchain_core.exceptions import ModelInvalidRequestError
from langchain_core.messages import HumanMessage, SystemMessage
from pydantic import BaseModel, SecretStr, ValidationError

from langchain_qwen_omni import ChatQwenOmni
from langchain_qwen_omni.chat_models import plan_call
from qwen_omni.errors import ConfigurationError
from qwen_omni.integrations.model_fields import CALL_FIELDS
from qwen_omni.integrations.request_builder import RequestPlan, to_choice
from qwen_omni.messages import TextPart
from tests.contracts.frameworks import find, keep

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


class Fact(BaseModel):
    """A fact."""

    fact: str


VALUES: dict[str, Any] = {
    "temperature": 0.5, "top_p": 0.9, "top_k": 3, "max_tokens": 7, "seed": 1, "stop": ("x",), "presence_penalty": 0.1,
    "repetition_penalty": 1.1, "thinking": "low", "modalities": ("text", "audio"), "voice": "Tina",
    "enable_search": True, "high_resolution_images": True, "multichannel": True, "extra_body": {"a": 1},
    "extra_headers": {"b": "2"}, "tier": "batch",
}  # fmt: skip


@pytest.mark.parametrize("name", CALL_FIELDS)
def test_every_option_as_field_and_per_call(name: str) -> None:
    """Every option reaches the request from the field and from the call, and the call wins."""
    value = VALUES[name]
    assert getattr(plan_call({"model": TEXT_38, name: value}, ASK, None, {}).request.options, name) == value
    assert (
        getattr(plan_call({"model": TEXT_38, name: "other"}, ASK, None, {name: value}).request.options, name) == value
    )
    assert name in ChatQwenOmni.model_fields


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
