"""Calls that nobody ends: their loop is closed, their task cancelled, their generator left. Nothing stays set aside."""

import asyncio
import gc
import threading
from dataclasses import replace

import pytest
from langchain_core.messages import HumanMessage
from llama_index.core.llms import ChatMessage

from langchain_qwen_omni import ChatQwenOmni
from llama_index_qwen_omni import QwenOmni
from qwen_omni import AsyncOmniClient, ChatOptions, ChatRequest, OmniClient, TextDelta, user
from qwen_omni.errors import SpendLimitError
from qwen_omni.pricing.costs import TokenCounts, cost_of
from qwen_omni.pricing.ledger import UsageLedger
from qwen_omni.pricing.limit import SpendLimit
from qwen_omni.standin import Fault

pytestmark = pytest.mark.slow

MODEL = "qwen3.5-omni-flash"
HELLO = ChatRequest(model=MODEL, messages=(user("Say hello."),), options=ChatOptions(max_tokens=100))


@pytest.fixture(autouse=True)
def nobody_keeps_what_went_wrong(monkeypatch):
    """Python tells of what a dropped coroutine raised and forgets it; pytest would keep its frames, and the call."""
    monkeypatch.setattr("sys.unraisablehook", lambda _: None)


@pytest.fixture
def books(settings):
    """Settings with a limit and a ledger."""
    return replace(settings, spend_limit=SpendLimit(tokens=100_000, cny=10), ledger=UsageLedger())


@pytest.fixture
def slow(standin):
    """Answers that begin and do not end for a long time."""
    standin.script.reply("one two three four five six seven eight nine ten " * 20)
    standin.script.fault(Fault.slow(bytes_per_second=600), times=9)
    return standin


def settled(books):
    """Look at the books when everything that nobody holds is gone."""
    gc.collect()
    assert books.spend_limit.reserved.tokens == 0
    return books.spend_limit.spent.tokens


async def first_word(client):
    """Wait for the first word of an answer, and then for ever; never closed by itself."""
    async for delta in client.stream(HELLO):
        if isinstance(delta, TextDelta):
            await asyncio.Event().wait()


def begun(standin, loop, task):
    """Run a loop until a request is under way and its first word has come."""
    loop.run_until_complete(asyncio.wait([task], timeout=3))
    assert standin.requests
    assert not task.done()


class TestClosedLoop:
    """The event loop is closed under a call, as a framework's own loop or a notebook may do."""

    @pytest.mark.parametrize("kind", ["stream", "complete"])
    def test_client(self, kind, books, slow):
        """A streaming answer and a whole one."""
        loop = asyncio.new_event_loop()
        client = AsyncOmniClient(books)
        task = loop.create_task(first_word(client) if kind == "stream" else client.complete(HELLO))
        begun(slow, loop, task)
        assert books.spend_limit.reserved.tokens > 0
        loop.close()
        del task, loop, client
        assert settled(books) > 0  # what had come of it is billed, so it is spent

    def test_a_stream_that_nobody_reads_on(self, books, slow):
        """The generator is dropped with its loop: its `finally` never runs."""
        loop = asyncio.new_event_loop()
        client = AsyncOmniClient(books)
        stream = client.stream(HELLO)

        while not isinstance(loop.run_until_complete(anext(stream)), TextDelta):
            pass
        loop.close()
        del stream, loop, client
        assert settled(books) > 0
        assert books.ledger.total.cut == 1

    @pytest.mark.parametrize("framework", ["langchain", "llama_index"])
    def test_adapters(self, framework, books, slow):
        """Both frameworks' streams."""
        chosen = {"api_key": books.api_key.get_secret_value(), "base_url": books.base_url, "model": MODEL,
                  "spend_limit": books.spend_limit}  # fmt: skip
        loop = asyncio.new_event_loop()
        if framework == "langchain":
            llm = ChatQwenOmni(**chosen)
            stream = llm.astream([HumanMessage("Say hello.")])
        else:
            llm = QwenOmni(**chosen)
            stream = loop.run_until_complete(llm.astream_chat([ChatMessage(role="user", content="Say hello.")]))
        loop.run_until_complete(anext(stream))
        assert books.spend_limit.reserved.tokens > 0
        loop.close()
        del stream, loop, llm
        settled(books)


@pytest.mark.parametrize("kind", ["stream", "complete"])
async def test_a_cancelled_task(kind, books, slow):
    """At once; a stream that was not closed by `aclosing`, when the loop has closed it."""
    async with AsyncOmniClient(books) as client:
        task = asyncio.create_task(first_word(client) if kind == "stream" else client.complete(HELLO))
        await asyncio.wait([task], timeout=1.5)
        assert slow.requests
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        del task
        if kind == "stream":
            gc.collect()
            while books.spend_limit.reserved.tokens:  # noqa: ASYNC110  (the loop closes generators in its own task)
                await asyncio.sleep(0.01)
        assert books.spend_limit.reserved.tokens == 0


def test_a_generator_that_is_left(books, slow):
    """A loop over the answer that ends early, and one that nobody holds any more."""
    with OmniClient(books) as client:
        for delta in client.stream(HELLO):
            if isinstance(delta, TextDelta):
                break
        assert settled(books) > 0


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_what_was_delivered_and_never_asked_costs_nothing(kind, books):
    """Delivering sets aside; who drops it has asked nothing."""
    if kind == "sync":
        client = OmniClient(books)
        outgoing = client.deliver(HELLO)
    else:
        loop = asyncio.new_event_loop()
        outgoing = loop.run_until_complete(AsyncOmniClient(books).deliver(HELLO))
    assert books.spend_limit.reserved.tokens > 0
    del outgoing
    assert settled(books) == 0
    if kind == "async":
        loop.close()
    assert books.ledger.total.calls == 0


def test_what_was_delivered_in_one_loop_is_asked_in_another(books):
    """What was set aside ended with the first loop; the answer sets aside anew, and is billed."""
    client = AsyncOmniClient(books)
    outgoing = asyncio.run(client.deliver(HELLO))
    assert books.spend_limit.reserved.tokens == 0
    answer = asyncio.run(client.answer(outgoing))
    assert settled(books) == answer.usage.total_tokens == books.ledger.total.tokens.total


def test_a_limit_counts_what_was_abandoned_when_it_is_asked_next():
    """Also where the next question is whether another call may go out."""
    limit = SpendLimit(tokens=1000)
    cost = cost_of(TokenCounts(text=700), MODEL)
    held = limit.reserve(cost)
    held.abandon(cost)
    with pytest.raises(SpendLimitError, match="700 tokens of the limit of 1,000 tokens are already spent or reserved"):
        limit.reserve(cost)
    held.settle(cost)  # only the first word counts
    assert limit.spent.tokens == 700
    other = limit.reserve(cost_of(TokenCounts(text=200), MODEL))
    other.abandon(None)
    assert (limit.spent.tokens, limit.reserved.tokens) == (700, 0)


def test_abandoning_takes_no_lock():
    """A finalizer runs wherever memory is collected, also while the same thread holds the lock."""
    limit, ledger = SpendLimit(tokens=1000), UsageLedger()
    cost = cost_of(TokenCounts(text=7), MODEL)
    held = limit.reserve(cost)

    def abandon():
        held.abandon(cost)
        ledger.record(TokenCounts(text=7), model=MODEL, late=True)

    with limit._lock, ledger._lock:
        thread = threading.Thread(target=abandon, daemon=True)
        thread.start()
        thread.join(timeout=20)
        assert not thread.is_alive()
    assert (limit.spent.tokens, ledger.total.tokens.total) == (7, 7)
