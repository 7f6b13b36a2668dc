"""What tokens cost: the list's worked examples, and the rules of the bill."""

from dataclasses import replace

import pytest

from qwen_omni.pricing.costs import TokenCounts, cost_of
from qwen_omni.profiles import ExchangeRate, Prices, profile_for
from qwen_omni.responses import Usage

OWN = Prices(currency="USD", text_in=1, text_out=10, source="mine")


def row(**prices):
    return Prices(**{"currency": "CNY", "text_in": 1, "text_out": 10, "source": "test", **prices})


@pytest.mark.parametrize(
    ("model", "counts", "amount"),
    [
        ("qwen-omni-turbo", TokenCounts(text=1000, image=1000, text_out=1000, audio_out=1000), 0.0519),
        ("qwen-plus", TokenCounts(text=128_001, text_out=1_000), 2.4 * 0.128001 + 0.020),
    ],
    ids=["every kind at once", "one token more than a tier"],
)
def test_the_lists_own_examples(model, counts, amount):
    """Reference 5.4: the documentation's example and a tier's first token; `test_prices` has every row of the list."""
    assert cost_of(counts, model, "cn").cny == pytest.approx(amount)


def test_money_is_told_in_both_currencies():
    """The list's currency is told, and the other at one dated rate that the caller can replace."""
    cost = cost_of(TokenCounts(text=1_000_000), "qwen3.8-omni-flash", "intl")
    assert (cost.currency, cost.cny, cost.usd) == ("CNY", 1.094, pytest.approx(1.094 / 7.29))
    assert "2026-10-10" in cost.rate.source
    own = ExchangeRate(cny_per_usd=8, source="my bank")
    assert cost_of(TokenCounts(text=1_000_000), "qwen3.8-omni-flash", "cn", rate=own).usd == pytest.approx(0.1)


def test_the_callers_prices_win():
    """One list, a list by model, or tiers; a model that is not named keeps its own."""
    counts = TokenCounts(text=1_000_000)
    for prices in (OWN, [OWN], {"qwen-plus": OWN}):
        assert cost_of(counts, "qwen-plus", prices=prices).usd == 1
    assert cost_of(counts, "qwen-flash", "cn", prices={"qwen-plus": OWN}).cny == 1.2


SNAPSHOT = "qwen3-omni-flash-2025-12-01"


@pytest.mark.parametrize("model", [SNAPSHOT, "qwen3-omni-flash-2030-01-31"], ids=["known", "of a known family"])
def test_a_price_under_the_very_name_wins(model):
    """The name as it was passed comes first, then that of its family; another snapshot's is not taken."""
    counts, dear = TokenCounts(text=1_000_000), replace(OWN, text_in=5)
    assert cost_of(counts, model, prices={model: OWN}).usd == 1
    assert cost_of(counts, model, prices={"qwen3-omni-flash": dear, model: OWN}).usd == 1
    assert cost_of(counts, model, prices={"qwen3-omni-flash": dear}).usd == 5
    assert cost_of(counts, model, prices={"qwen3-omni-flash-2025-09-15": OWN}).currency == "CNY"
    assert cost_of(counts, profile_for(model), prices={"qwen3-omni-flash": dear}).usd == 5


def test_an_unknown_model_has_no_price():
    """Tokens are known, money is not, and the note says what to do."""
    with pytest.warns(UserWarning, match="its price is unknown"):
        cost = cost_of(TokenCounts(text=10), "qwen9-omni-giant")
    assert (cost.tokens, cost.cny, cost.usd) == (10, None, None)
    assert cost.notes[0] == "the price of qwen9-omni-giant in 'cn' is unknown; pass prices="


@pytest.mark.parametrize(
    ("usage", "counts"),
    [
        (Usage(input_tokens=100, output_tokens=9), TokenCounts(text=100, text_out=9)),
        (
            Usage(input_tokens=100, output_tokens=9, input_details={"video": 70, "audio": 20, "text": 10}),
            TokenCounts(text=10, video=70, audio=20, text_out=9),
        ),
        (
            Usage(input_tokens=100, output_tokens=363, output_details={"reasoning": 195, "text": 168}),
            TokenCounts(text=100, text_out=168, thinking_out=195),
        ),
        (
            Usage(input_tokens=100, output_tokens=363, output_details={"reasoning": 195, "text": 363}),
            TokenCounts(text=100, text_out=168, thinking_out=195),
        ),
        (
            Usage(input_tokens=207, output_tokens=103, output_details={"audio": 83, "text": 20}),
            TokenCounts(text=207, text_out=20, audio_out=83),
        ),
        (
            Usage(input_tokens=100, output_tokens=1, input_details={"image": 66, "text": 41, "cached": 64}),
            TokenCounts(text=34, image=66, cached=64, text_out=1),
        ),
    ],
)
def test_reported_usage_is_sorted_by_kind(usage, counts):
    """Totals are what is billed; what the details leave out is text, whichever way the service counts thinking."""
    assert TokenCounts.of(usage) == counts


def test_cached_tokens_save_no_more_than_is_sure():
    """Where kinds differ in price the cache is taken to have held the cheapest."""
    prices = row(audio_in=9, cached_in=0.5)
    cost = cost_of(TokenCounts(text=500_000, audio=500_000, cached=600_000), "qwen-plus", prices=prices)
    assert cost.cny == pytest.approx(0.5 * 0.5 + 0.1 * 0.5 + 0.4 * 9)


def test_speech_without_a_price_is_billed_as_text():
    """A model that is not known to speak still costs something."""
    assert cost_of(TokenCounts(audio_out=1_000_000), "qwen-plus", prices=row()).cny == 10
