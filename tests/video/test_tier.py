"""The steps of a long video without media, through Batch Chat: what they are, what they cost, what is refused first."""

from dataclasses import replace
from typing import Any

import pytest

from langchain_qwen_omni import ChatQwenOmni, LongVideoChain
from llama_index_qwen_omni import LongVideoWorkflow, QwenOmni
from qwen_omni import ConfigurationError, OmniClient, SummaryOptions, Usage, ask_video, forecast, summarize
from qwen_omni.responses import Response
from qwen_omni.standin import Standin
from qwen_omni.video.results import Paid, to_bill
from qwen_omni.video.tasks import FindingsSchema, plan_asking

BATCH_PATH = "/batch/compatible-mode/v1/chat/completions"
SLOW = SummaryOptions(tier="batch", segment_seconds=20, overlap=0, single_call_seconds=0, detail="low", workers=1)


@pytest.fixture
def slow(client: OmniClient, fresh: Standin) -> Any:
    """A client that reaches the stand-in's Batch Chat."""
    with OmniClient(replace(client.settings, batch_base_url=fresh.batch_base_url)) as made:
        yield made


def paths(standin: Standin) -> list[tuple[str, bool]]:
    """Where each request went, and whether it held media."""
    return [(request.path, bool(request.media)) for request in standin.requests]


def test_a_summary(slow: OmniClient, fresh: Standin, short: Any) -> None:
    """Segments in real time, the join at half price; a second run with the other tier pays for nothing."""
    found = summarize(str(short.path), client=slow, options=SLOW)
    assert set(paths(fresh)) == {("/compatible-mode/v1/chat/completions", True), (BATCH_PATH, False)}
    join = to_bill([Paid("qwen-plus", Usage(input_tokens=1000))], slow.settings)
    half = to_bill([Paid("qwen-plus", Usage(input_tokens=1000), "batch")], slow.settings)
    assert (half.cny or 0) == pytest.approx((join.cny or 0) / 2)
    count = len(fresh.requests)
    again = summarize(str(short.path), client=slow, options=replace(SLOW, tier=None))
    assert len(fresh.requests) == count
    assert again.whole_run.cny == pytest.approx(found.whole_run.cny)  # the tier is stored with the usage
    assert again.this_run.requests == 0


@pytest.mark.slow
def test_a_question(slow: OmniClient, fresh: Standin, short: Any) -> None:
    """Its answer is a step without media, too."""
    ask_video(str(short.path), "What is shown?", client=slow, options=SLOW)
    assert {path for path, media in paths(fresh) if not media} == {BATCH_PATH}
    assert BATCH_PATH not in {path for path, media in paths(fresh) if media}


def test_only_steps_without_media() -> None:
    """Whatever the model of the segments is."""
    options = replace(SLOW, model="qwen3.5-omni-plus")
    texts = plan_asking(FindingsSchema, "Join.", options, about="notes", duration=1)
    media: Any = object()
    clip = plan_asking(FindingsSchema, "Look.", options, about=media, duration=1)
    assert (texts.request.options.tier, clip.request.options.tier) == ("batch", None)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"text_model": "qwen3-omni-flash"}, "not offered in Batch Chat"),
        ({"text_model": "qwen-plus", "tier": "x"}, "tier="),
    ],
)
def test_it_is_checked_before_a_segment_is_paid(
    slow: OmniClient, fresh: Standin, short: Any, options: dict[str, Any], words: str
) -> None:
    """Not when everything else is done."""
    with pytest.raises(ConfigurationError, match=words):
        summarize(str(short.path), client=slow, options=replace(SLOW, **options))
    assert fresh.requests == []


class Own:
    """A model of the caller's."""

    name = "own"

    def complete(self, request: Any) -> Response:
        """Never asked."""
        raise AssertionError

    async def acomplete(self, request: Any) -> Response:
        """Never asked."""
        raise AssertionError


def test_a_model_of_ones_own_has_no_batch() -> None:
    """The two options cannot be combined."""
    with pytest.raises(ConfigurationError, match='tier="batch" needs a text_model of the service, not own'):
        SummaryOptions(text_model=Own(), tier="batch")


def test_the_forecast(slow: OmniClient, short: Any) -> None:
    """It has half of the price of the join."""
    costs = [
        next(one.bill.cny for one in forecast(str(short.path), slow.settings, options) if one.chosen)
        for options in (SLOW, replace(SLOW, tier=None))
    ]
    assert (costs[0] or 0) < (costs[1] or 0)


def test_the_adapters() -> None:
    """The tier of the chat model is that of the text steps, unless the chain has its own."""
    for chain, llm in ((LongVideoChain, ChatQwenOmni), (LongVideoWorkflow, QwenOmni)):
        assert chain(llm(tier="batch")).options.tier == "batch"
        assert chain(llm(tier="batch"), tier=None).options.tier is None
        assert chain(llm(), tier="batch").options.tier == "batch"
        assert chain(llm(), options=SLOW).options.tier == "batch"
