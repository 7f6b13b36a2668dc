"""Limits and ledgers in what LangChain alone has: caches, events, models that are saved."""

import pytest
from langchain_core.caches import InMemoryCache
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.outputs import ChatGeneration, LLMResult

from langchain_qwen_omni import UsageLedgerHandler
from langchain_qwen_omni._convert_output import dump_usage
from langchain_qwen_omni.callbacks import parse_usage
from qwen_omni.pricing.costs import TokenCounts
from qwen_omni.pricing.ledger import UsageLedger
from qwen_omni.pricing.limit import SpendLimit
from qwen_omni.responses import Usage
from tests.contracts.frameworks import LANGCHAIN


def test_a_limit_and_a_ledger_are_no_part_of_the_model(llm):
    """They are live objects: neither is told to traces, saved, or part of a cache's key."""
    rich = llm.model_copy(update={"spend_limit": SpendLimit(tokens=10), "ledger": UsageLedger()})
    assert rich._identifying_params == llm._identifying_params
    assert "spend_limit" not in rich.model_dump()


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
    assert told == {
        "input_tokens": 100, "output_tokens": 50, "total_tokens": 150,
        "input_token_details": {"text": 10, "image": 20, "video": 40, "audio": 30, "cache_read": 15},
        "output_token_details": {"text": 20, "audio": 10, "reasoning": 20},
    }  # fmt: skip
    assert TokenCounts.of(parse_usage(told)) == TokenCounts.of(usage)


@pytest.mark.parametrize("way", ["invoke", "ainvoke", "generate"])
async def test_a_cached_answer_is_no_call(llm, standin, way):
    """The same question twice, with LangChain's cache: one request, one call in the books, at its full cost."""
    handler = UsageLedgerHandler()
    cached = llm.model_copy(update={"cache": InMemoryCache()})
    config = {"callbacks": [handler]}
    if way == "generate":
        cached.generate([[HumanMessage("Say hello.")]] * 2, **config)
    else:
        for _ in range(2):
            await LANGCHAIN.ways[way](cached, "Say hello.", config=config)
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
    assert handler.ledger.total == plain.ledger.total
    assert handler.ledger.total.ratio is not None
