"""Estimates, limits and ledgers from LangChain."""

import asyncio

import pytest
from langchain_core.caches import InMemoryCache
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.outputs import ChatGeneration, LLMResult

from langchain_qwen_omni import ChatQwenOmni, UsageLedgerHandler
from langchain_qwen_omni._convert_output import dump_usage
from langchain_qwen_omni.callbacks import parse_usage
from qwen_omni.errors import SpendLimitError
from qwen_omni.pricing.costs import TokenCounts
from qwen_omni.pricing.ledger import UsageLedger
from qwen_omni.pricing.limit import SpendLimit
from qwen_omni.responses import Usage
from qwen_omni.standin.marked_media import make_video

MODEL = "qwen3.5-omni-flash"


@pytest.fixture
def asked(tmp_path):
    """A question about a local video."""
    film = make_video(tmp_path / "film.mp4", seconds=3, size=(320, 180)).path
    return [HumanMessage([{"type": "video", "path": str(film)}, {"type": "text", "text": "What is shown?"}])]


@pytest.fixture
def llm(standin, tmp_path):
    """A model on the stand-in."""
    return ChatQwenOmni(model=MODEL, api_key=standin.api_key, base_url=standin.base_url, media_root=tmp_path)


def call(llm, way, *arguments):
    """Ask in one of the ways."""
    if way == "ainvoke":
        asyncio.run(llm.ainvoke(*arguments))
    elif way == "stream":
        list(llm.stream(*arguments))
    else:
        llm.invoke(*arguments)


def test_the_estimate_equals_the_usage(llm, asked, standin):
    """`estimate` sends nothing; the bill then has the same tokens, and the message tells both numbers."""
    made = llm.estimate(asked, temperature=0)
    assert standin.connections == 0
    message = llm.invoke(asked)
    details = message.usage_metadata["input_token_details"]
    assert (made.tokens.video, made.tokens.audio) == (details["video"], details["audio"])
    near = message.response_metadata["estimated_input_tokens"]
    assert abs(near / message.usage_metadata["input_tokens"] - 1) < 0.05


def test_an_estimate_needs_no_key(asked, tmp_path):
    """Nothing is sent, so nobody is asked for a key; options of the call count."""
    llm = ChatQwenOmni(media_root=tmp_path, region="intl")
    assert llm.estimate(asked).tokens.thinking_out > llm.estimate(asked, thinking=False).tokens.thinking_out == 0
    assert llm.estimate("Hello", answer_tokens=3).tokens.text_out == 3


@pytest.mark.parametrize("way", ["invoke", "stream", "ainvoke"])
def test_a_limit_refuses_before_anything_is_sent(llm, asked, standin, way):
    """A model with a spend limit keeps it in every way of calling."""
    limited = llm.model_copy(update={"spend_limit": SpendLimit(per_call_tokens=20)})
    with pytest.raises(SpendLimitError):
        call(limited, way, asked)
    assert standin.connections == 0


def test_a_limit_and_a_ledger_are_no_part_of_the_model(llm):
    """They are live objects: neither is told to traces, saved, or part of a cache's key."""
    rich = llm.model_copy(update={"spend_limit": SpendLimit(tokens=10), "ledger": UsageLedger()})
    assert rich._identifying_params == llm._identifying_params
    assert "spend_limit" not in rich.model_dump()


@pytest.mark.parametrize("way", ["invoke", "stream", "ainvoke"])
def test_the_handler_adds_up(llm, way):
    """The callback's books are those of a ledger in the model itself."""
    handler, inside = UsageLedgerHandler(), UsageLedger()
    model = llm.model_copy(update={"ledger": inside})
    config = {"callbacks": [handler]}
    call(model, way, "Say hello.", config)
    (name,) = handler.ledger.models
    assert name.startswith(MODEL)
    assert handler.ledger.total == inside.total
    assert 0.5 < handler.ledger.total.ratio < 2  # a few words: mostly the marks around them


def test_the_handler_passes_over_what_tells_no_usage():
    """Completions without counts, and models of others, break nothing."""
    handler = UsageLedgerHandler()
    handler.on_llm_end(LLMResult(generations=[[ChatGeneration(message=AIMessage("hi"))]]))
    assert handler.ledger.total.calls == 0


def test_usage_there_and_back():
    """Every kind of token survives LangChain's words, and cached and thinking ones have its names."""
    usage = Usage(
        input_tokens=100, output_tokens=50, total_tokens=150,
        input_details={"text": 10, "image": 20, "video": 40, "audio": 30, "cached": 15},
        output_details={"text": 20, "audio": 10, "reasoning": 20},
    )  # fmt: skip
    told = dump_usage(usage)
    assert told["input_token_details"] == {"text": 10, "image": 20, "video": 40, "audio": 30, "cache_read": 15}
    assert told["output_token_details"] == {"text": 20, "audio": 10, "reasoning": 20}
    assert TokenCounts.of(parse_usage(told)) == TokenCounts.of(usage)


def test_counting_opens_nothing_and_counts_no_base64(llm):
    """A history with megabytes of media in it is counted as media, and a missing file is no error."""
    inline = HumanMessage([{"type": "image", "base64": "AAAA" * 500_000, "mime_type": "image/png"}])
    missing = HumanMessage([{"type": "video", "path": "nowhere.mp4"}])
    linked = HumanMessage([{"type": "audio", "url": "https://192.0.2.1/a.mp3"}])
    assert llm.get_num_tokens_from_messages([inline]) < 1_400
    assert llm.get_num_tokens_from_messages([missing, linked]) > 30_000
    assert llm.get_num_tokens("four words of text") == len(llm.get_token_ids("four words of text")) in range(3, 9)


@pytest.mark.parametrize("way", ["invoke", "ainvoke", "generate"])
def test_a_cached_answer_is_no_call(llm, standin, way):
    """The same question twice, with LangChain's cache: one request, one call in the books, at its full cost."""
    handler = UsageLedgerHandler()
    cached = llm.model_copy(update={"cache": InMemoryCache()})
    config = {"callbacks": [handler]}
    if way == "generate":
        cached.generate([[HumanMessage("Say hello.")]] * 2, **config)
    else:
        for _ in range(2):
            call(cached, way, "Say hello.", config)
    assert len(standin.requests) == 1
    assert handler.ledger.total.calls == 1
    assert handler.ledger.total.cny > 0


def test_a_cached_answer_without_usage_is_no_call():
    """What the cache gives of a model that tells no usage has nothing but a cost of zero."""
    handler = UsageLedgerHandler()
    for used in ({"total_cost": 0}, {"total_cost": 0.5}):
        message = AIMessage("hi").model_copy(update={"usage_metadata": used})
        handler.on_llm_end(LLMResult(generations=[[ChatGeneration(message=message)]]))
    assert handler.ledger.total.calls == 0


@pytest.mark.filterwarnings("ignore::langchain_core._api.beta_decorator.LangChainBetaWarning")
@pytest.mark.parametrize("way", ["stream_events", "astream_events", "graph"])
async def test_protocol_events_tell_the_estimate(llm, way):
    """Through LangChain's events the books hold the same estimate as after `invoke`."""
    handler, plain = UsageLedgerHandler(), UsageLedgerHandler()
    llm.invoke("Say hello.", config={"callbacks": [plain]})
    config = {"callbacks": [handler]}
    if way == "stream_events":
        assert llm.stream_events("Say hello.", version="v3", config=config).output.text
    elif way == "astream_events":
        assert (await (await llm.astream_events("Say hello.", version="v3", config=config))).text
    else:
        graph = pytest.importorskip("langgraph.graph")
        builder = graph.StateGraph(graph.MessagesState)
        builder.add_node("ask", lambda state: {"messages": [llm.invoke(state["messages"])]})
        builder.add_edge(graph.START, "ask")
        for _ in builder.compile().stream_events({"messages": [HumanMessage("Say hello.")]}, config, version="v3"):
            pass
    await llm.aclose()
    assert handler.ledger.total == plain.ledger.total
    assert handler.ledger.total.ratio is not None
