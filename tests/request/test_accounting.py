"""The client keeps to a limit and keeps the books, whatever happens to a call."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from qwen_omni import ChatOptions, ChatRequest, MediaSource, OmniClient, TextDelta, VideoPart, user
from qwen_omni.errors import InvalidRequestError, RateLimitError, SpendLimitError, StreamInterruptedError
from qwen_omni.pricing.ledger import UsageLedger
from qwen_omni.pricing.limit import SpendLimit
from qwen_omni.standin import Fault
from qwen_omni.standin.marked_media import make_video
from tests.support.asking import acomplete, complete

MODEL = "qwen3.5-omni-flash"
HELLO = ChatRequest(model=MODEL, messages=(user("Say hello."),), options=ChatOptions(max_tokens=100))
LONG = "one two three four five six seven eight nine ten " * 8


@pytest.fixture(params=[complete, acomplete], ids=["sync", "async"])
def ask(request):
    """One whole call, in both ways of calling."""
    return lambda settings, question=HELLO: request.param(settings, question)


@pytest.fixture
def books(settings):
    """Settings with a limit and a ledger."""
    return replace(settings, spend_limit=SpendLimit(tokens=100_000, cny=10), ledger=UsageLedger())


@pytest.fixture
def film(tmp_path):
    """A video in a message."""
    made = make_video(tmp_path / "film.mp4", seconds=3, size=(320, 180))
    return user(VideoPart(source=MediaSource.from_path(made.path, trusted=True)), "What?")


def test_a_call_is_billed_as_reported(ask, books):
    """What the service reported is spent, and nothing stays set aside."""
    usage = ask(books).usage
    assert books.spend_limit.spent.tokens == usage.total_tokens == books.ledger.total.tokens.total
    assert books.spend_limit.spent.cny == pytest.approx(books.ledger.total.cny) != 0
    assert books.spend_limit.reserved.tokens == 0


@pytest.mark.parametrize("delivery", ["inline", "temporary"])
def test_a_refused_call_sends_nothing(ask, settings, standin, film, delivery):
    """Neither a request nor an upload leaves the machine."""
    limit = SpendLimit(per_call_tokens=50)
    with pytest.raises(SpendLimitError, match="Nothing was sent") as told:
        ask(replace(settings, spend_limit=limit, delivery=delivery), replace(HELLO, messages=(film,)))
    assert told.value.estimated > 250
    assert (standin.connections, standin.requests, standin.stores.calls) == (0, [], [])
    assert (limit.spent.tokens, limit.reserved.tokens) == (0, 0)


def test_the_estimate_stands_beside_the_usage(ask, settings, film):
    """Without a limit or a ledger, too."""
    usage = ask(settings, replace(HELLO, messages=(film,))).usage
    media = usage.input_details["video"] + usage.input_details["audio"]
    assert media < usage.estimated_input <= media + 20


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (Fault.framed_400(message="Range of input length should be [1, 3]"), InvalidRequestError),
        (Fault.rate_limit(), RateLimitError),
    ],
)
def test_a_call_that_is_refused_to_the_end_is_free(ask, books, standin, fault, error):
    """A request that will never work, or was tried in vain, costs nothing."""
    standin.script.fault(fault, times=9)
    with pytest.raises(error):
        ask(books)
    assert (books.spend_limit.spent.tokens, books.spend_limit.reserved.tokens) == (0, 0)
    assert books.ledger.total.calls == 0


def test_tries_that_pass_are_billed_once(ask, books, standin):
    """What is refused for a while and then works costs one call."""
    standin.script.fault(Fault.rate_limit(), times=2)
    usage = ask(books).usage
    assert books.ledger.total.calls == 1
    assert books.spend_limit.spent.tokens == usage.total_tokens


def test_a_cut_answer_costs_what_had_come(ask, books, standin):
    """An answer that broke off may be billed, so it counts as estimated; the repetition counts as reported."""
    standin.script.reply(LONG, times=2)
    standin.script.fault(Fault.cut(after_bytes=2_500))
    usage = ask(books).usage
    total = books.ledger.total
    assert (total.calls, total.cut) == (2, 1)
    assert total.tokens.total > usage.total_tokens + 10
    assert books.spend_limit.spent.tokens == total.tokens.total


def test_no_money_no_repetition(ask, settings, standin):
    """If a cut answer used up what was left, it is not asked for again: the error says so, and nothing is sent."""
    standin.script.reply(LONG, times=2)
    standin.script.fault(Fault.cut(after_bytes=2_500), times=2)
    limit = SpendLimit(tokens=125)
    with pytest.raises(SpendLimitError):
        ask(replace(settings, spend_limit=limit))
    assert len(standin.requests) == 1
    assert 0 < limit.spent.tokens < 125


def test_an_answer_that_is_left_early_costs_what_had_come(books, standin):
    """A reader who walks away has been served so far."""
    standin.script.reply(LONG)
    with OmniClient(books) as client:
        stream = client.stream(HELLO)
        next(delta for delta in stream if isinstance(delta, TextDelta))
        stream.close()
    assert books.ledger.total.cut == 1
    assert books.spend_limit.spent.tokens == books.ledger.total.tokens.total > 0
    assert books.spend_limit.reserved.tokens == 0


def test_a_shown_answer_that_breaks_is_billed(books, standin):
    """A stream that cannot be repeated, because it was shown, costs what had come."""
    standin.script.reply(LONG)
    standin.script.fault(Fault.cut(after_bytes=2_500))
    with OmniClient(books) as client, pytest.raises(StreamInterruptedError):
        list(client.stream(HELLO))
    assert (books.ledger.total.calls, books.ledger.total.cut) == (1, 1)


def test_32_threads_share_a_limit(settings, standin):
    """However many ask at once, the bill stays within the limit, and only what was let through is sent."""
    limit, ledger = SpendLimit(tokens=1_500), UsageLedger()
    shared = replace(settings, spend_limit=limit, ledger=ledger)

    def work(client):
        try:
            return client.complete(HELLO).usage.total_tokens
        except SpendLimitError:
            return None

    with OmniClient(shared) as client, ThreadPoolExecutor(32) as pool:
        billed = list(pool.map(work, [client] * 96))
    through = [tokens for tokens in billed if tokens is not None]
    assert None in billed
    assert len(standin.requests) == len(through) == ledger.total.calls
    assert limit.spent.tokens == sum(through) <= 1_500 + 120
