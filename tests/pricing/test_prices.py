"""Prices of every model in every region, in real time and batch, as the official pages list them (read 2026-10-10).

The rows are written out here once more, in yuan per million tokens, so that a change of the table needs a reason.
"""

from typing import get_args

import pytest

from qwen_omni.pricing.costs import Cost, TokenCounts, audio_cost, cost_of
from qwen_omni.pricing.ledger import UsageLedger
from qwen_omni.profiles import Prices, Region, known_models, profile_for
from qwen_omni.profiles.catalog import OMNI, RETIRED, SUMMARISERS
from qwen_omni.profiles.transcription import TRANSCRIBERS, transcriber
from qwen_omni.responses import Usage

REGIONS = get_args(Region)
K = 1_000

# model -> region -> rows of (most input tokens or None, in, cached in or None, out, out with thinking or None)
_O38 = [(None, 0.8, 0.1, 2.7, None)]
_PLUS = [(128, 0.8, 0.16, 2, 8), (256, 2.4, 0.48, 20, 24), (None, 4.8, 0.96, 48, 64)]
_P36, _F36 = (
    [(256, 2, None, 12, None), (None, 8, None, 48, None)],
    [(256, 1.2, None, 7.2, None), (None, 4.8, None, 28.8, None)],
)
_P37 = [(256, 2, 0.4, 8, None), (None, 6, 1.2, 24, None)]
_QF = [(128, 0.15, 0.03, 1.5, None), (256, 0.6, 0.12, 6, None), (None, 1.2, 0.24, 12, None)]
TEXT = {
    "qwen3.8-omni-flash": {
        **dict.fromkeys(("cn", "us", "hk", "jp", "de"), _O38), "intl": [(None, 1.094, 0.117, 3.427, None)],
    },
    "qwen3.8-flash": {
        **dict.fromkeys(("cn", "us", "jp", "de"), _O38), "intl": [(None, 1.094, 0.117, 3.427, None)],
    },
    "qwen-plus": {
        "cn": _PLUS, "us": _PLUS,
        "intl": [(256, 2.936, 0.5872, 8.807, 29.357), (None, 8.807, 1.7614, 26.421, 88.071)],
    },
    "qwen3.6-plus": {
        **dict.fromkeys(("cn", "us", "jp", "de"), _P36),
        "intl": [(256, 3.7471, None, 22.4826, None), (None, 14.9884, None, 44.965, None)],
    },
    "qwen3.6-flash": {
        **dict.fromkeys(("cn", "us", "jp", "de"), _F36),
        "intl": [(256, 1.87355, None, 11.2413, None), (None, 7.4942, None, 29.9758, None)],
    },
    "qwen3.7-plus": {
        **dict.fromkeys(("cn", "us", "de"), _P37),
        "intl": [(256, 2.998, 0.5996, 11.991, None), (None, 8.993, 1.7986, 35.972, None)],
    },
    "qwen-flash": {
        **dict.fromkeys(("cn", "us", "de"), _QF),
        "intl": [(256, 0.367, 0.0734, 2.936, None), (None, 1.835, 0.367, 14.678, None)],
    },
}  # fmt: skip
# model -> region -> text in, audio in, image and video in, text out, text out after media, speech
SPEECH = {
    "qwen3.5-omni-plus": {"cn": (7, 53, 7, 40, 40, 213), "intl": (10.49, 82.44, 10.49, 62.2, 62.2, 329.74)},
    "qwen3.5-omni-flash": {"cn": (2.2, 18, 2.2, 13.3, 13.3, 72), "intl": (3, 22.48, 3, 16.49, 16.49, 89.18)},
    "qwen3-omni-flash": {
        "cn": (1.8, 15.8, 3.3, 6.9, 12.7, 62.6), "intl": (3.156, 27.962, 5.725, 12.183, 22.458, 110.896),
    },
    "qwen-omni-turbo": {"cn": (0.4, 25, 1.5, 1.6, 4.5, 50), "intl": (0.514, 32.586, 1.541, 1.982, 4.624, 65.246)},
    "qwen2.5-omni-7b": {"cn": (0.6, 38, 2, 2.4, 6, 76), "intl": (0.734, 49.613, 2.055, 2.936, 6.165, 99.153)},
}  # fmt: skip
HALF = {  # Batch pages, read 2026-10-12
    ("qwen3.5-omni-plus", "cn"), ("qwen3.5-omni-flash", "cn"),
    *((one.name, "cn") for one in SUMMARISERS),
    ("qwen-plus", "intl"), ("qwen-flash", "intl"), ("qwen3.7-plus", "intl"),
}  # fmt: skip
_BY_SECOND = (
    "fun-asr", "fun-asr-mtl", "fun-asr-flash-2026-06-15", "qwen3-asr-flash", "qwen3-asr-flash-filetrans",
    "qwen-audio-3.0-asr-flash", "qwen-audio-3.0-asr-flash-filetrans",
)  # fmt: skip
SECONDS = {"paraformer-v2": {"cn": 0.00008}, **{name: {"cn": 0.00022, "intl": 0.00026} for name in _BY_SECOND}}
TOKENS = {
    "qwen-audio-3.1-asr-flash": {"cn": (0.8, 2.7), "intl": (1.094, 3.427)},
    "qwen-audio-3.1-asr-flash-filetrans": {"cn": (0.8, 2.7), "intl": (1.094, 3.427)},
    "qwen-audio-3.1-asr-flash-message": {"cn": (6, 4.5), "intl": (6.781, 5.104)},
}
M = 1_000_000


def cny(counts: TokenCounts, model: str, region: Region, *, batch: bool = False) -> float | None:
    return cost_of(counts, model, region, batch=batch).cny


def assert_note(model: str, region: Region, *, batch: bool) -> None:
    """A batch that is not offered says that it costs the regular price."""
    notes = " ".join(cost_of(TokenCounts(text=1), model, region, batch=batch).notes)
    assert (f"no batch price is known for {model}" in notes) is (batch and (model, region) not in HALF)


def test_the_tables_are_complete():
    """Every model of the catalogue stands in one of the tables above, and nothing else does."""
    assert {one.name for one in (*OMNI, *RETIRED, *SUMMARISERS)} == {*TEXT, *SPEECH}
    assert {name for name, one in TRANSCRIBERS.items() if not one.prompted} == {*SECONDS, *TOKENS}


@pytest.mark.parametrize("batch", [False, True], ids=["realtime", "batch"])
@pytest.mark.parametrize("region", REGIONS)
@pytest.mark.parametrize("model", TEXT)
def test_prices_of_one_for_all_inputs(model, region, batch):
    """Each tier, at its last token; half of it as a batch where that is offered; unknown where nothing is listed."""
    rows = TEXT[model].get(region)
    if rows is None:
        cost = cost_of(TokenCounts(text=1), model, region, batch=batch)
        assert (cost.cny, cost.usd) == (None, None)
        assert cost.notes[0] == f"the price of {model} in {region!r} is unknown; pass prices="
        return
    share = 0.5 if batch and (model, region) in HALF else 1
    assert_note(model, region, batch=batch)
    for most, paid, cached, out, thinking in rows:
        size = 900 * K if most is None else most * K
        assert cny(TokenCounts(text=size), model, region, batch=batch) == pytest.approx(size * paid * share / M)
        more = TokenCounts(text=size, text_out=100)
        assert cny(more, model, region, batch=batch) == pytest.approx((size * paid + 100 * out) * share / M)
        thought = TokenCounts(text=size, text_out=100, thinking_out=100)
        dear = out if thinking is None else thinking
        assert cny(thought, model, region, batch=batch) == pytest.approx((size * paid + 200 * dear) * share / M)
        kept = paid if cached is None or batch else cached  # no cache discount in a batch
        assert cny(TokenCounts(text=size, cached=size), model, region, batch=batch) == pytest.approx(
            size * kept * share / M
        )


@pytest.mark.parametrize("batch", [False, True], ids=["realtime", "batch"])
@pytest.mark.parametrize("region", REGIONS)
@pytest.mark.parametrize("model", SPEECH)
def test_prices_by_kind(model, region, batch):
    """A million tokens of each kind; unknown where nothing is listed."""
    row = SPEECH[model].get(region)
    if row is None:
        assert cny(TokenCounts(text=1), model, region, batch=batch) is None
        return
    share = 0.5 if batch and (model, region) in HALF else 1
    assert_note(model, region, batch=batch)
    text_in, audio_in, seen_in, text_out, after_media, speech = row
    for counts, amount in (
        (TokenCounts(text=M), text_in), (TokenCounts(audio=M), audio_in), (TokenCounts(image=M), seen_in),
        (TokenCounts(video=M), seen_in), (TokenCounts(text_out=M), text_out), (TokenCounts(audio_out=M), speech),
        (TokenCounts(video=M, text_out=M), seen_in + after_media), (TokenCounts(text_out=M, audio_out=M), speech),
    ):  # fmt: skip
        assert cny(counts, model, region, batch=batch) == pytest.approx(amount * share)


@pytest.mark.parametrize("region", REGIONS)
@pytest.mark.parametrize("model", SECONDS)
def test_prices_by_the_second(model, region):
    """An hour of audio; unknown where nothing is listed. The chat model says the same in tokens."""
    price = SECONDS[model].get(region)
    cost = audio_cost(3600, transcriber(model), region)
    assert cost.cny == (None if price is None else pytest.approx(3600 * price))
    assert (cost.notes == ()) is (price is not None)
    if model == "qwen3-asr-flash":
        assert cny(TokenCounts(audio=90_000), model, region) == (None if price is None else pytest.approx(cost.cny))


@pytest.mark.parametrize("region", REGIONS)
@pytest.mark.parametrize("model", TOKENS)
def test_prices_by_token_of_transcribers(model, region):
    """What was reported; before that, 25 tokens a second in and 10 out are assumed."""
    price = TOKENS[model].get(region)
    profile, used = transcriber(model), Usage(input_tokens=1000, output_tokens=100)
    cost: Cost = audio_cost(60, profile, region, used=used)
    before = audio_cost(60, profile, region)
    if price is None:
        assert (cost.cny, before.cny) == (None, None)
        return
    assert (cost.cny, cost.tokens) == (pytest.approx((1000 * price[0] + 100 * price[1]) / M), 1100)
    assert before.cny == pytest.approx((1500 * price[0] + 600 * price[1]) / M)


def test_a_mark_of_the_callers_is_billed_as_written():
    """What an explicit mark stores costs a quarter more; what is then served, the price of cached input."""
    reported = Usage(input_tokens=10_000, output_tokens=0, input_details={"cache_creation_input": 8_000})
    assert cost_of(reported, "qwen-plus", "cn").cny == pytest.approx((2_000 * 0.8 + 8_000 * 1.0) / M)
    flash = cost_of(reported, "qwen3.8-flash", "intl").cny
    assert flash == pytest.approx((2_000 * 1.094 + 8_000 * 1.458) / M)


def test_the_ledger_bills_cached_tokens():
    """What `cached_tokens` reports is billed at the price of cached input, and shown."""
    ledger = UsageLedger(region="jp")
    ledger.record(
        Usage(input_tokens=10_000, output_tokens=100, input_details={"video": 9_000, "cached": 8_192}),
        model="qwen3.8-omni-flash",
    )
    assert ledger.total.cny == pytest.approx((1_808 * 0.8 + 8_192 * 0.1 + 100 * 2.7) / M)
    assert "10,000 tokens in (8,192 cached)" in str(ledger)
    assert ledger.as_dict()["total"]["tokens"]["cached"] == 8_192


def test_every_listed_price_is_in_yuan():
    """The official list is; a price in dollars would come from somewhere else."""
    rows: list[Prices] = [row for name in known_models() for one in profile_for(name).prices.values() for row in one]
    assert {row.currency for row in rows} == {"CNY"}
