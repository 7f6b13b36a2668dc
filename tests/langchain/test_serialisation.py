"""A model and its messages on their way elsewhere: dumps, pickles, copies, traces, caches. The key stays behind."""

import copy
import json
import pickle
from typing import Any

import pytest
from langchain_core.caches import InMemoryCache
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.exceptions import ModelRateLimitError
from langchain_core.load import dumpd, dumps, load, loads
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.runnables import ConfigurableField
from pydantic import BaseModel, SecretStr

from langchain_qwen_omni import ChatQwenOmni
from qwen_omni.errors import AccountError, ConfigurationError, RateLimitError
from qwen_omni.pricing.ledger import UsageLedger
from qwen_omni.pricing.limit import SpendLimit
from qwen_omni.standin import Fault, Standin
from tests.support.tracing import Trace

# `load` and its like are in beta for years; that is LangChain's business.
pytestmark = pytest.mark.filterwarnings("ignore::langchain_core._api.beta_decorator.LangChainBetaWarning")

KEY = "sk-not-to-be-seen-0123456789"


def test_round_trip(monkeypatch: pytest.MonkeyPatch) -> None:
    """`dumpd` and `load` give an equal model, whose key comes from the environment again."""
    monkeypatch.setenv("DASHSCOPE_API_KEY", KEY)
    llm = ChatQwenOmni(api_key=SecretStr("sk-other"), temperature=0.5, thinking="low", stop=["x"], modalities=["text"])
    again = load(
        dumpd(llm), allowed_objects=[ChatQwenOmni], valid_namespaces=["langchain_qwen_omni"], secrets_from_env=True
    )
    assert again.asdict() == llm.asdict()
    assert again.api_key.get_secret_value() == KEY


class Keys(InMemoryCache):
    """A cache that tells its keys."""

    def __init__(self) -> None:
        super().__init__()
        self.keys = ""

    def lookup(self, prompt: str, llm_string: str) -> Any:
        """Note the key."""
        self.keys += prompt + llm_string
        return super().lookup(prompt, llm_string)


HIDDEN: dict[str, Any] = {
    "extra_headers": {"X-Secret": KEY}, "ledger": UsageLedger(), "spend_limit": SpendLimit(tokens=9_999),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore::langchain_core._api.beta_decorator.LangChainBetaWarning")
@pytest.mark.parametrize("bound", [False, True], ids=["passed", "bound"])
@pytest.mark.parametrize("way", ["invoke", "ainvoke", "stream", "astream", "stream_events"])
async def test_what_one_call_hides_is_nowhere(standin: Standin, way: str, bound: bool) -> None:
    """Headers of a call are sent, and stand in no trace and in no key of a cache; nor do live objects."""
    trace, cache = Trace(), Keys()
    llm = ChatQwenOmni(api_key=SecretStr(standin.api_key), base_url=standin.base_url, cache=cache)
    model: Any = llm.bind(**HIDDEN) if bound else llm
    options: dict[str, Any] = {"config": {"callbacks": [trace]}, **({} if bound else HIDDEN)}
    match way:
        case "stream_events":
            assert model.stream_events("Hello", version="v3", **options).output.text
        case "stream":
            assert list(model.stream("Hello", **options))
        case "astream":
            assert [chunk async for chunk in model.astream("Hello", **options)]
        case "ainvoke":
            assert await model.ainvoke("Hello", **options)
        case _:
            assert model.invoke("Hello", **options)
    llm.close()
    await llm.aclose()
    assert standin.requests[-1].headers["x-secret"] == KEY
    assert trace.sent
    for text in (trace.sent, cache.keys):
        assert KEY not in text
        assert "UsageLedger" not in text


def test_headers_are_part_of_the_question(standin: Standin) -> None:
    """The same headers hit the cache, others miss; the objects that count do not matter."""
    llm = ChatQwenOmni(api_key=SecretStr(standin.api_key), base_url=standin.base_url, cache=InMemoryCache())
    for value in ("a", "a", "b"):
        llm.invoke("Hello", extra_headers={"X-Secret": value}, ledger=UsageLedger())
    llm.close()
    assert len(standin.requests) == 2


def test_copies_work_and_share_nothing(standin: Standin, monkeypatch: pytest.MonkeyPatch) -> None:
    """A deep copy or a pickle of a used model works, with connections of its own."""
    monkeypatch.setenv("DASHSCOPE_API_KEY", standin.api_key)  # pickles hold none
    llm = ChatQwenOmni(api_key=SecretStr(standin.api_key), base_url=standin.base_url)
    assert llm.invoke("Hello").text
    for other in (copy.deepcopy(llm), pickle.loads(pickle.dumps(llm)), llm.model_copy(update={"temperature": 0.1})):
        assert other.invoke("Hello").text
        other.close()
    llm.close()


def test_without_a_key_the_first_call_says_so() -> None:
    """A model can be made without a key; the first call names the variable."""
    llm = ChatQwenOmni()
    assert llm.get_num_tokens("Hello") == 1
    with pytest.raises(ConfigurationError, match="DASHSCOPE_API_KEY"):
        llm.invoke("Hello")


def test_messages_round_trip() -> None:
    """An answer with thinking and speech survives `dumps` and `loads`."""
    message = AIMessage(
        [{"type": "reasoning", "reasoning": "hm"}, {"type": "text", "text": "hi"}, {"type": "audio", "base64": "AAAA"}],
        response_metadata={"model_provider": "qwen-omni"},
    )
    assert loads(dumps(message), allowed_objects="messages").content_blocks == message.content_blocks


def test_configurable_fields() -> None:
    """Fields can be configured at run time, and the model that results may still stream."""
    llm = ChatQwenOmni().configurable_fields(
        temperature=ConfigurableField(id="temperature"), model=ConfigurableField(id="model")
    )
    made = llm._prepare({"configurable": {"temperature": 0.1, "model": "qwen-plus"}})[0]  # type: ignore[attr-defined]
    assert (made.temperature, made.model) == (0.1, "qwen-plus")
    assert made._should_stream(async_api=False, stream=True)


def test_params_for_tracing() -> None:
    """Traces are told provider, model of the call, and settings."""
    llm = ChatQwenOmni(temperature=0.2, max_tokens=9, stop="end")
    assert llm._get_ls_params(model="qwen-plus") == {
        "ls_provider": "qwen-omni", "ls_model_type": "chat", "ls_model_name": "qwen-plus", "ls_temperature": 0.2,
        "ls_max_tokens": 9, "ls_stop": ["end"],
    }  # fmt: skip
    assert llm._llm_type == "chat-qwen-omni"


def test_profile() -> None:
    """The profile tells what the chosen model can do."""
    text, speech = ChatQwenOmni().profile or {}, ChatQwenOmni(model="qwen3.5-omni-flash").profile or {}
    assert (text["video_inputs"], text["audio_outputs"], text["reasoning_output"], text["max_input_tokens"]) == (
        True, False, True, 991_808,
    )  # fmt: skip
    assert (speech["audio_outputs"], speech["reasoning_output"]) == (True, False)


def test_counting_looks_at_no_media() -> None:
    """Media counts by its kind: never as base64 text, and nothing is opened or downloaded."""
    llm = ChatQwenOmni()
    held = llm.get_num_tokens_from_messages([HumanMessage([{"type": "video", "base64": "AAAA" * 100_000}])])
    linked = llm.get_num_tokens_from_messages([HumanMessage([{"type": "video", "url": "https://gone.invalid/a.mp4"}])])
    image = llm.get_num_tokens_from_messages([HumanMessage([{"type": "image", "path": "nowhere.png"}])])
    assert held == linked == 8 + 120 * 640 // 2 + 60 * 7
    assert image == 8 + 1280
    assert llm.get_token_ids("Hello there") == [0, 1]
    assert llm.get_num_tokens_from_messages([HumanMessage("a")], tools=[test_profile]) > 10


class Words(BaseCallbackHandler):
    """Hears words as they come."""

    def __init__(self) -> None:
        self.heard: list[str] = []

    def on_llm_new_token(self, token: str, **_: Any) -> None:
        """Keep a word."""
        self.heard.append(token)


@pytest.mark.parametrize("asynchronous", [False, True])
async def test_handlers_hear_words(standin: Standin, asynchronous: bool) -> None:
    """A handler that wants words hears them during `invoke`, which then adds up to the same answer."""
    words = Words()
    llm = ChatQwenOmni(api_key=SecretStr(standin.api_key), base_url=standin.base_url)
    config: Any = {"callbacks": [words]}
    answer = await llm.ainvoke("Hello", config=config) if asynchronous else llm.invoke("Hello", config=config)
    assert len(words.heard) > 1
    assert "".join(words.heard) == answer.text
    llm.close()
    await llm.aclose()


def _rebound(llm: ChatQwenOmni, key: SecretStr) -> dict[str, Any]:
    """Name every order in which a key is bound."""
    return {
        "alone": llm.bind(api_key=key),
        "after options": llm.bind(stop=["x"]).bind(api_key=key),
        "before options": llm.bind(api_key=key).bind(stop=["x"]),
        "after a configuration": llm.with_config(tags=["a"]).bind(api_key=key),
        "before a configuration": llm.bind(api_key=key).with_config({"tags": ["a"]}),
        "before tools": llm.bind(api_key=key).bind_tools([]),
        "with tools": llm.bind_tools([], api_key=key),
        "after tools": llm.bind_tools([]).bind(api_key=key),
        "before a schema": llm.bind(api_key=key, extra_headers={"X-Token": KEY}).with_structured_output(Place),
        "before a schema, with raw": llm.bind(api_key=key).with_structured_output(Place, include_raw=True),
        "after a configuration, before a schema": llm.with_config(tags=["a"]).bind(api_key=key).with_structured_output(
            Place, method="function_calling"
        ),
    }  # fmt: skip


class Place(BaseModel):
    """Somewhere."""

    name: str = "x"


@pytest.mark.parametrize("order", list(_rebound(ChatQwenOmni(), SecretStr(KEY))))
@pytest.mark.filterwarnings("ignore:The headers")
def test_a_key_that_is_bound_in_any_order_is_sent_and_shown_nowhere(order: str) -> None:
    """The bound key reaches the service, whatever is bound before or after; no repr, dump, pickle or trace has it."""
    with Standin(keys=(KEY,)) as standin:
        llm = ChatQwenOmni(base_url=standin.base_url, api_key=SecretStr("sk-wrong-00000000"), max_retries=0)
        runnable = _rebound(llm, SecretStr(KEY))[order]
        trace = Trace()
        runnable.invoke("Hi. Answer as JSON.", config={"callbacks": [trace]})
        assert len(standin.requests) == 1
    shown = [repr(runnable), json.dumps(dumpd(runnable), default=repr)]
    shown.append(trace.sent)
    assert not [text for text in shown if KEY in text]
    if "schema" not in order:  # what checks an answer cannot be pickled
        assert KEY.encode() not in pickle.dumps(runnable)


# --- Wrapping ---


def test_with_retry(llm: ChatQwenOmni, standin: Standin) -> None:
    """LangChain's retry repeats what passes, by our class or by its own, and nothing else."""
    for kind in (RateLimitError, ModelRateLimitError):
        standin.script.fault(Fault.rate_limit())
        patient = llm.with_retry(retry_if_exception_type=(kind,), stop_after_attempt=2, wait_exponential_jitter=False)
        assert patient.invoke("Hello").text
    assert len(standin.requests) == 4
    standin.script.fault(
        Fault.refuse(400, "Arrearage", "Access denied, please make sure your account is in good standing.")
    )
    with pytest.raises(AccountError) as caught:
        patient.invoke("Hello")
    assert not caught.value.is_retryable  # type: ignore[attr-defined]
    assert len(standin.requests) == 5


def test_with_fallbacks(llm: ChatQwenOmni, standin: Standin) -> None:
    """Another model takes over, whole and streamed."""
    other = llm.with_fallbacks([llm.bind(model="qwen3.5-omni-flash")])
    standin.script.fault(Fault.server_error(), when=lambda request: request.body["model"] == "qwen3.8-omni-flash")
    assert other.invoke("Hello").text
    assert "".join(str(chunk.text) for chunk in other.stream("Hello"))
    asked = [request.body["model"] for request in standin.requests]
    assert asked == ["qwen3.8-omni-flash", "qwen3.5-omni-flash"] * 2
