"""Estimates, limits and ledgers, in both frameworks."""

from typing import Any

import pytest
from llama_index.core.instrumentation import get_dispatcher

from qwen_omni.errors import SpendLimitError
from qwen_omni.pricing.ledger import UsageLedger
from qwen_omni.pricing.limit import SpendLimit
from qwen_omni.standin import Standin
from qwen_omni.standin.marked_media import TruthMedia
from tests.contracts.frameworks import LANGCHAIN, Framework, Medium, Way, each, each_framework


@pytest.fixture
def asked(framework: Framework, clip: TruthMedia) -> list[Any]:
    """A question about a local video."""
    return framework.says(Medium("video", path=clip.path), "What is shown?")


@each("chats")
async def test_the_estimate_equals_the_usage(
    framework: Framework, way: Way, llm: Any, asked: list[Any], standin: Standin
) -> None:
    """`estimate` sends nothing; the bill then has the same tokens, and the answer tells both numbers."""
    made = llm.estimate(asked, temperature=0)
    assert standin.connections == 0
    answer = framework.read(await way(llm, asked))
    assert (made.tokens.video, made.tokens.audio) == (answer.details["video"], answer.details["audio"])
    assert abs((answer.estimated or 0) / answer.input_tokens - 1) < 0.05


@each_framework
def test_an_estimate_needs_no_key(framework: Framework, asked: list[Any], standin: Standin, clip: TruthMedia) -> None:
    """Nothing is sent, so nobody is asked for a key; options of the call count."""
    llm = framework.model(standin, api_key=None, base_url=None, media_root=str(clip.path.parent), region="intl")
    assert llm.estimate(asked).tokens.thinking_out > llm.estimate(asked, thinking=False).tokens.thinking_out == 0
    assert llm.estimate("Hello", answer_tokens=3).tokens.text_out == 3


@each("chats")
async def test_a_limit_refuses_before_anything_is_sent(
    framework: Framework, way: Way, llm: Any, asked: list[Any], standin: Standin
) -> None:
    """A model with a spend limit keeps it in every way of calling."""
    limited = llm.model_copy(update={"spend_limit": SpendLimit(per_call_tokens=20)})
    with pytest.raises(SpendLimitError):
        await way(limited, asked)
    assert standin.connections == 0


@each("chats")
async def test_the_handler_adds_up(framework: Framework, way: Way, llm: Any) -> None:
    """The books of the framework's handler are those of a ledger in the model itself."""
    handler, inside = framework.own.UsageLedgerHandler(), UsageLedger()
    model, options = llm.model_copy(update={"ledger": inside}), {}
    if framework is LANGCHAIN:
        options = {"config": {"callbacks": [handler]}}
    else:
        get_dispatcher().add_event_handler(handler)
    try:
        await way(model, "Say hello.", **options)
    finally:
        if framework is not LANGCHAIN:
            get_dispatcher().event_handlers.remove(handler)
    assert handler.ledger.total == inside.total
    assert handler.ledger.total.calls == 1
    assert [name.startswith("qwen3.8-omni-flash") for name in handler.ledger.models] == [True]
    assert 0.5 < handler.ledger.total.ratio < 2  # a few words: mostly the marks around them
