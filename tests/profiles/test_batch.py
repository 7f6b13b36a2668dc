"""Which batch interface takes which model, where, and at what price (Model Studio, October 2026)."""

import pytest

from qwen_omni import cost_of
from qwen_omni.pricing.costs import TokenCounts, pricing_for
from qwen_omni.profiles import PROFILES, Prices
from qwen_omni.profiles.batch import is_offered, why_not
from qwen_omni.standin.batch.batches import CHAT_MODELS, FILE_MODELS

EVERYWHERE = [("chat", "cn"), ("file", "cn"), ("file", "intl")]
TABLE = {
    "qwen3.5-omni-plus": ["chat cn", "file cn"],
    "qwen3.5-omni-flash": ["file cn"],
    "qwen3.8-omni-flash": [],
    "qwen3-omni-flash": [],
    "qwen-omni-turbo": [],
    "qwen3.5-omni-plus-2026-03-15": [],
    "qwen-plus": ["chat cn", "file cn", "file intl"],
    "qwen-flash": ["chat cn", "file cn", "file intl"],
    "qwen3.7-plus": ["chat cn", "file cn", "file intl"],
    "qwen3.5-flash": ["chat cn", "file cn"],
    "qwen3.8-flash": ["chat cn", "file cn"],
    "qwen-max": ["file intl"],
    "qwen3-asr-flash": [],
    "batch-test-model": ["file cn", "file intl"],
}


@pytest.mark.parametrize("model", TABLE)
def test_models(model: str) -> None:
    """The lists of both pages; what they do not name is refused with a next step."""
    offered = [f"{interface} {region}" for interface, region in EVERYWHERE if is_offered(model, region, interface)]
    assert offered == TABLE[model]
    for interface, region in EVERYWHERE:
        if f"{interface} {region}" not in offered and model != "batch-test-model":
            assert why_not(model, region, interface).startswith(f"{model} is not offered in Batch")


@pytest.mark.parametrize("region", ["intl", "us", "hk"])
def test_batch_chat_is_in_beijing(region: str) -> None:
    """No other region has it; an address of no known region is asked, since only its owner knows."""
    assert "exists in Beijing only" in why_not("qwen-plus", region, "chat")
    assert why_not("qwen-plus", None, "chat") == ""


def test_batch_file_is_in_beijing_and_singapore() -> None:
    """A region without it is named."""
    assert (
        why_not("qwen-plus", "hk", "file") == "Batch File exists in Beijing and Singapore only, not in the region hk."
    )


def test_names_that_are_not_known_here_are_left_to_the_service() -> None:
    """A newer text model need not wait for a release of this package; omni models are listed one by one."""
    assert why_not("deepseek-v3.2", "cn", "chat") == ""
    assert why_not("qwen4-omni-flash", "cn", "chat") != ""


@pytest.mark.parametrize("model", PROFILES)
def test_the_standin_has_the_same_lists(model: str) -> None:
    """Both follow the pages, and neither reads the other."""
    assert is_offered(model, "cn", "chat") == bool(CHAT_MODELS.fullmatch(model))
    assert is_offered(model, "cn", "file") == bool(FILE_MODELS.fullmatch(model))


def test_a_batch_has_no_cache_discount() -> None:
    """Cached tokens cost half of the input price, not half of the cached one."""
    mine = Prices(currency="CNY", text_in=2, cached_in=0.2, text_out=0, batch=0.5, source="mine")
    cached = TokenCounts(text=1_000_000, cached=1_000_000)
    assert pricing_for("qwen-plus", prices=mine, batch=True).cost(cached).cny == pytest.approx(1.0)
    assert pricing_for("qwen-plus", prices=mine).cost(cached).cny == pytest.approx(0.2)


def test_prices_of_ones_own_say_whether_batch_is_cheaper() -> None:
    """A list of the caller's without a batch share is not halved."""
    mine = Prices(currency="CNY", text_in=2, text_out=0, source="mine")
    assert cost_of(TokenCounts(text=1_000_000), "qwen-plus", prices=mine, batch=True).cny == 2
