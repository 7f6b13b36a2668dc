"""What goes wrong while a long video is worked on, and what becomes of it: a documented outcome each, nothing lost.

| fault | outcome |
| --- | --- |
| an answer fails in passing (`test_random_faults`) | repeated; nothing is seen of it |
| joining fails twice | begun again; nothing is seen of it |
| an answer breaks its schema | asked once more, with what was wrong |
| a segment is refused for good | a gap, with its reason (`test_resume`) |
| the disk is full | the run goes on in memory and says so (`test_resume`) |
| the machine's clock jumps | nothing |
| Ctrl-C | what is in flight is waited for and kept; the next run goes on |
| a limit on spending | ends before the request; the next run goes on |
| money is limited, the joining model has no known price | the run does not begin |
"""

import asyncio
import functools
import time
from dataclasses import replace

import pytest

from qwen_omni.client import AsyncOmniClient, OmniClient
from qwen_omni.errors import ConfigurationError, QwenOmniError, SpendLimitError
from qwen_omni.pricing.limit import SpendLimit
from qwen_omni.profiles.prices import Prices
from qwen_omni.standin.server.script import Fault, Turn
from qwen_omni.video.ask import ask_video
from qwen_omni.video.engine.run import check_joining
from qwen_omni.video.options import SummaryOptions
from qwen_omni.video.summarize import asummarize, stream_summary, summarize
from tests.video.conftest import asked_segments, codes_of

OPTIONS = SummaryOptions(
    segment_seconds=12, overlap=0, single_call_seconds=0, detail="low", retry_seconds=0.0, concurrency=2
)


@pytest.fixture
def film(short):
    """Three or four segments."""
    return short


@pytest.mark.slow
def test_joining_that_fails_twice(fresh, client, film):
    """The model that joins is down for two tries."""
    failed = []

    def joins(request):
        wanted = request.body["model"] == "qwen-plus" and len(failed) < 2
        failed.extend([1] * wanted)
        return wanted

    fresh.script.fault(Fault.server_error(), when=joins)
    found = summarize(film.path, client=client, options=OPTIONS)
    assert len(failed) == 2
    assert found.summary


@pytest.mark.parametrize(
    ("step", "words", "door"),
    [
        ("segment", "the same", "threads"), ("segment", "others", "asyncio"),
        ("join", "the same", "asyncio"), ("join", "others", "threads"),
    ],
)  # fmt: skip
@pytest.mark.slow
def test_retries_of_steps_and_of_requests_are_added_not_multiplied(fresh, client, film, step, words, door):
    """A service that stays down is asked 1 + max_retries + step_retries times about a step; 1 more if it repeats."""
    options = replace(OPTIONS, concurrency=1, max_gaps=0, step_retries=2)
    down = []

    def concerned(request, number):
        first = bool(request.media) and request.media[0].picture_codes[0] == film.codes[0]
        wanted = first if step == "segment" else request.body["model"] == "qwen-plus"
        wanted = wanted and len(down) == number
        down.extend([1] * wanted)
        return wanted

    for number in range(20):
        fault = Fault.server_error(message=f"Worker {number if words == 'others' else 0} is down.")
        fresh.script.fault(fault, when=functools.partial(concerned, number=number))
    with pytest.raises(QwenOmniError):
        run(film.path, client, options, door)
    again = options.step_retries if words == "others" else 1
    assert len(down) == 1 + client.settings.max_retries + again


def run(path, client, options, door):
    async def in_asyncio():
        async with AsyncOmniClient(client.settings) as other:
            await asummarize(path, client=other, options=options)

    if door == "threads":
        summarize(path, client=client, options=options)
    else:
        asyncio.run(in_asyncio())


@pytest.mark.parametrize("finish", ["length", "content_filter"])
def test_a_segment_whose_answer_was_cut_is_a_gap_or_is_flagged(fresh, client, film, finish):
    """Asked once; with `allow_truncated` its notes count, with a notice, and later runs that want all ask again."""
    cut = '{"summary": "A film.", "events": [{"start": 1, "end": 2, "text": "code 1234"}], "speech": [{"start": 3'
    fresh.script.reply(Turn(text=cut, finish_reason=finish))
    found = summarize(film.path, client=client, options=replace(OPTIONS, concurrency=1, checkpoint=False))
    assert len(found.gaps) == 1
    assert "TruncatedAnswerError" in found.gaps[0].reason
    assert len(fresh.requests) == found.segments + 1
    fresh.script.reply(Turn(text=cut.replace(', "speech": [{"start": 3', "}"), finish_reason=finish))
    accepting = replace(OPTIONS, concurrency=1, allow_truncated=True)
    flagged = summarize(film.path, client=client, options=accepting)
    assert not flagged.gaps
    assert any("was truncated" in notice for notice in flagged.notices)
    fresh.clear()
    whole = summarize(film.path, client=client, options=replace(accepting, allow_truncated=False))
    assert len(asked_segments(fresh)) == 1
    assert not any("was truncated" in notice for notice in whole.notices)


def test_an_answer_that_breaks_its_schema_is_asked_again_and_paid(fresh, client, film):
    """Prose in place of JSON: the model is told what was wrong, and both answers are on the bill."""
    fresh.script.reply(Turn(text="I would rather chat."))
    found = summarize(film.path, client=client, options=OPTIONS)
    assert codes_of(found.events) == list(film.codes)
    assert found.this_run.requests == len(fresh.requests) == found.segments + 2


def test_the_clock_may_jump(fresh, client, film, monkeypatch):
    """Wall clock time goes back and forth by a day: nothing is asked twice, nothing waits."""
    true, turns = time.time, iter(range(10**6))
    monkeypatch.setattr(time, "time", lambda: true() + (86_400 if next(turns) % 2 else -86_400))
    found = summarize(film.path, client=client, options=OPTIONS)
    assert codes_of(found.events) == list(film.codes)
    assert len(fresh.requests) == found.segments + 1


def test_ctrl_c_keeps_what_is_in_flight(fresh, client, film):
    """Interrupted at the first answer: the run ends, what was under way is kept, the next one goes on."""
    coming = stream_summary(film.path, client=client, options=OPTIONS)
    while next(coming).kind != "segment":
        pass
    with pytest.raises(KeyboardInterrupt):
        coming.throw(KeyboardInterrupt)
    first = asked_segments(fresh)
    found = summarize(film.path, client=client, options=OPTIONS)
    assert codes_of(found.events) == list(film.codes)
    assert not set(first) & set(asked_segments(fresh)[len(first) :])


@pytest.mark.filterwarnings("ignore:'my-writer' is not a known model")
@pytest.mark.parametrize("money", [{"cny": 5.0}, {"per_call_usd": 1.0}])
@pytest.mark.parametrize("run", [summarize, functools.partial(ask_video, question="What?")])
def test_money_is_limited_and_the_joining_model_has_no_price(fresh, client, film, run, money):
    """It would be refused once every segment is paid, so the run does not begin."""
    options = replace(OPTIONS, text_model="my-writer")
    settings = replace(client.settings, spend_limit=SpendLimit(**money))
    with OmniClient(settings) as limited, pytest.raises(ConfigurationError, match="price of my-writer"):
        run(film.path, client=limited, options=options)
    assert fresh.requests == []

    mine = Prices(currency="CNY", text_in=1, text_out=1, source="my contract")
    check_joining(replace(settings, prices={"my-writer": mine}), options)
    check_joining(replace(settings, spend_limit=SpendLimit(tokens=1_000)), options)


@pytest.mark.parametrize(("answered", "kept"), [(0, True), (1, False), (1, True)])
def test_an_error_speaks_of_stored_steps_where_there_are_some(fresh, client, film, answered, kept):
    """Not before the first answer, and not without a checkpoint."""
    fresh.script.fault(
        Fault.refuse(401, "invalid_api_key", "Incorrect API key provided."),
        when=lambda _: len(fresh.requests) > answered,
        times=9,
    )
    with pytest.raises(QwenOmniError) as caught:
        summarize(film.path, client=client, options=replace(OPTIONS, concurrency=1, checkpoint=kept))
    assert ("to resume" in str(caught.value)) == (answered > 0 and kept)


@pytest.mark.slow
def test_a_spend_limit_ends_the_run_and_the_next_goes_on(fresh, client, film, tmp_path):
    """The limit is kept; the error says how to go on, and afterwards the rest alone is asked."""
    one_at_a_time = replace(OPTIONS, concurrency=1)
    free = SpendLimit()
    with OmniClient(replace(client.settings, cache_dir=tmp_path / "elsewhere", spend_limit=free)) as other:
        whole = summarize(film.path, client=other, options=one_at_a_time)
    assert free.spent.tokens == whole.whole_run.input_tokens + whole.whole_run.output_tokens
    fresh.clear()

    most = free.spent.tokens * 3 // 4
    limit = SpendLimit(tokens=most)
    with (
        OmniClient(replace(client.settings, spend_limit=limit)) as limited,
        pytest.raises(SpendLimitError, match=r"run it again.*higher limit") as caught,
    ):
        summarize(film.path, client=limited, options=one_at_a_time)
    answered = len(fresh.requests)
    assert 0 < limit.spent.tokens <= most == caught.value.limit
    assert limit.reserved.tokens == 0
    assert 0 < answered <= whole.segments

    found = summarize(film.path, client=client, options=OPTIONS)
    assert codes_of(found.events) == list(film.codes)
    assert len(fresh.requests) == found.segments + 1
    assert found.this_run.requests == found.segments + 1 - answered
