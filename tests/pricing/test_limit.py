"""A limit holds before anything is sent, under any number of threads."""

import copy
import random
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given, strategies as st

from qwen_omni.errors import ConfigurationError, SpendLimitError
from qwen_omni.pricing.costs import Cost, TokenCounts, cost_of
from qwen_omni.pricing.limit import SpendLimit
from qwen_omni.profiles import Prices
from qwen_omni.responses import Usage

PLAIN = Prices(currency="CNY", text_in=1, text_out=1, source="test")


def call(tokens: int) -> Cost:
    return cost_of(TokenCounts(text=tokens), "qwen-plus", prices=PLAIN)


def test_reserved_settled_and_released():
    """What was reserved counts until it is known what the call did cost."""
    limit = SpendLimit(tokens=100)
    first, second = limit.reserve(call(60)), limit.reserve(call(40))
    with pytest.raises(SpendLimitError) as told:
        limit.reserve(call(1))
    assert (told.value.unit, told.value.estimated, told.value.limit, told.value.spent) == ("tokens", 1, 100, 100)
    assert "Nothing was sent" in str(told.value)
    first.settle(Usage(input_tokens=20, output_tokens=10))
    second.release()
    assert (limit.spent.tokens, limit.reserved.tokens) == (30, 0)
    limit.reserve(call(70))


@pytest.mark.parametrize(
    ("kinds", "unit"),
    [({"cny": 0.5}, "CNY"), ({"usd": 0.05}, "USD"), ({"per_call_tokens": 999_999}, "tokens"),
     ({"per_call_cny": 0.9}, "CNY"), ({"per_call_usd": 0.1}, "USD")],
)  # fmt: skip
def test_each_limit_refuses(kinds, unit):
    """A million tokens at a yuan break each of these, and the error tells in which unit."""
    with pytest.raises(SpendLimitError, match=unit) as told:
        SpendLimit(**kinds).reserve(call(1_000_000))
    assert told.value.unit == unit


def test_a_limit_on_single_calls_lets_any_number_through():
    """`per_call_` limits have no memory."""
    limit = SpendLimit(per_call_tokens=10)
    for _ in range(100):
        limit.reserve(call(10)).settle()
    assert limit.spent.tokens == 1_000


def test_an_unknown_price_cannot_keep_a_limit_on_money():
    """It is refused rather than taken to be free; a limit on tokens works."""
    unknown = (
        cost_of(TokenCounts(text=1), "qwen-plus", prices=PLAIN).pricing.__class__(model="own").cost(TokenCounts(text=1))
    )
    with pytest.raises(ConfigurationError, match="limit tokens"):
        SpendLimit(usd=1).reserve(unknown)
    SpendLimit(tokens=1).reserve(unknown)


def test_a_block_settles_or_releases():
    """A block that ends well costs what was reserved, if nobody knows better; one that fails costs nothing."""
    limit = SpendLimit(tokens=100)
    with limit.reserve(call(10)):
        pass
    with pytest.raises(ValueError, match="x"), limit.reserve(call(10)):
        raise ValueError("x")
    with limit.reserve(call(10)) as held:
        held.settle(TokenCounts(text=5))
    assert (limit.spent.tokens, limit.reserved.tokens) == (15, 0)


def test_only_the_first_word_counts():
    """Settling twice, or releasing what was settled, changes nothing."""
    limit = SpendLimit(tokens=100)
    held = limit.reserve(call(10))
    held.settle(call(7))
    held.settle()
    held.release()
    assert limit.spent.tokens == 7
    assert not held.is_open


def test_a_dear_surprise_stops_the_next_call():
    """A call may cost more than was reserved; the limit then stays broken, and says so."""
    limit = SpendLimit(tokens=100)
    limit.reserve(call(10)).settle(TokenCounts(text_out=500))
    with pytest.raises(SpendLimitError) as told:
        limit.reserve(call(0))
    assert told.value.spent == 500


def test_a_copy_shares_the_limit():
    """Whoever copies what holds a limit does not double the money."""
    limit = SpendLimit(tokens=10)
    assert copy.deepcopy({"limit": limit})["limit"] is limit
    assert repr(limit) == "SpendLimit(tokens=10)"


@pytest.mark.slow
def test_32_threads_never_overshoot():
    """At no moment is more spent and reserved than the limit, plus what one running call used beyond its share."""
    limit, most, seen = SpendLimit(tokens=10_000), 10_000, []
    start = threading.Barrier(32)
    refused = threading.Event()

    def work(seed: int) -> int:
        dice, sent = random.Random(seed), 0
        start.wait()
        for _ in range(100):
            wanted = dice.randint(1, 50)
            try:
                held = limit.reserve(call(wanted))
            except SpendLimitError:
                refused.set()
                continue
            seen.append(limit.spent.tokens + 0)
            if dice.random() < 0.2:
                held.release()
                continue
            did = dice.randint(0, wanted)
            sent += did
            held.settle(TokenCounts(text=did))
        return sent

    with ThreadPoolExecutor(32) as pool:
        sent = sum(pool.map(work, range(32)))
    assert refused.is_set()
    assert limit.spent.tokens == sent <= most
    assert max(seen) <= most
    assert limit.reserved.tokens == 0


@given(
    calls=st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60), st.sampled_from(["settle", "release", "keep"])))
)
def test_what_is_taken_never_exceeds_the_limit_by_more_than_one_surprise(calls):
    """Spent and reserved together stay within the limit, but for what calls cost beyond what they had reserved."""
    limit, beyond = SpendLimit(tokens=100), 0
    for wanted, did, end in calls:
        try:
            held = limit.reserve(call(wanted))
        except SpendLimitError:
            continue
        if end == "settle":
            held.settle(TokenCounts(text=did))
            beyond += max(0, did - wanted)
        elif end == "release":
            held.release()
        assert limit.spent.tokens + limit.reserved.tokens <= 100 + beyond
