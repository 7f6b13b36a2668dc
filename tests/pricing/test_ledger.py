"""The books: sums by model, with their price, beside what was estimated."""

import copy
import json
from concurrent.futures import ThreadPoolExecutor

import pytest

from qwen_omni.pricing.costs import TokenCounts, cost_of
from qwen_omni.pricing.ledger import UsageLedger
from qwen_omni.profiles import Prices
from qwen_omni.responses import Usage

FLASH, TURBO = "qwen3.8-omni-flash", "qwen-omni-turbo"
USED = Usage(input_tokens=1_000, output_tokens=50, input_details={"video": 900, "audio": 60, "text": 40})


def test_calls_add_up_by_model():
    """Tokens by kind, money and calls are those of all calls, for each model and in all."""
    ledger = UsageLedger()
    for _ in range(3):
        ledger.record(USED, model=FLASH, estimated=1_010)
    ledger.record(USED, model=TURBO)
    flash, turbo = ledger.models[FLASH], ledger.models[TURBO]
    assert flash.tokens == TokenCounts(text=120, video=2_700, audio=180, text_out=150)
    assert flash.cny == pytest.approx(3 * cost_of(USED, FLASH).cny)
    assert flash.ratio == pytest.approx(1.01)
    assert turbo.ratio is None
    assert ledger.total.calls == 4
    assert ledger.total.cny == pytest.approx(flash.cny + turbo.cny)
    assert ledger.total.ratio == pytest.approx(1.01)  # of the calls that were estimated


def test_what_has_no_price_and_what_was_cut_is_told():
    """Both are counted in tokens and named; a cut call says nothing about how good the estimates are."""
    ledger = UsageLedger()
    with pytest.warns(UserWarning, match="newer than this version"):
        ledger.record(USED, model="qwen9-omni-ledger")
    ledger.record(USED, model=FLASH, estimated=5_000, cut=True)
    assert ledger.models["qwen9-omni-ledger"].unpriced == 1
    assert (ledger.models[FLASH].cut, ledger.models[FLASH].ratio) == (1, None)
    assert "1 without a known price" in str(ledger)
    assert "1 cut" in repr(ledger)


def test_own_prices():
    """Prices of the caller's own are taken."""
    own = Prices(currency="USD", text_in=1, text_out=0, source="mine")
    ledger = UsageLedger(prices={FLASH: own})
    ledger.record(USED, model=FLASH)
    assert ledger.total.usd == pytest.approx(0.001)


def test_threads_and_copies_fill_one_ledger():
    """No call is lost, however many write, and a copy is the same book."""
    ledger = UsageLedger()
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda _: copy.deepcopy(ledger).record(USED, model=FLASH), range(800)))
    assert ledger.total.calls == 800
    assert ledger.total.tokens.total == 800 * 1_050


def test_ledgers_add_up():
    """One takes what another has recorded, by model."""
    whole, part = UsageLedger(), UsageLedger()
    whole.record(USED, model=FLASH)
    part.record(USED, model=FLASH, estimated=1_000)
    part.record(USED, model="qwen-plus", cut=True)
    whole.add(part)
    assert (whole.total.calls, whole.models[FLASH].calls, whole.total.cut) == (3, 2, 1)
    assert (whole.total.estimated, whole.total.tokens.total) == (1_000, 3 * 1_050)
    assert part.total.calls == 2


def test_as_json():
    """The books travel as JSON."""
    ledger = UsageLedger()
    ledger.record(USED, model=FLASH, estimated=1_000)
    told = json.loads(json.dumps(ledger.as_dict()))
    assert told["models"][FLASH]["tokens"]["video"] == 900
    assert told["total"]["ratio"] == 1
