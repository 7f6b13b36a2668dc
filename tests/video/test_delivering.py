"""How the segments of a long video reach the service: beside the questions, once each, and nothing is left behind."""

import threading
from dataclasses import replace

import pytest

from qwen_omni.client import AsyncOmniClient, OmniClient
from qwen_omni.errors import StoreUnavailableError
from qwen_omni.pricing.limit import SpendLimit
from qwen_omni.settings import from_environment
from qwen_omni.standin.server.script import Fault
from qwen_omni.video.options import SummaryOptions
from qwen_omni.video.results import VideoSummary
from qwen_omni.video.summarize import astream_summary, stream_summary, summarize
from tests.video.conftest import asked_segments, codes_of

OPTIONS = SummaryOptions(
    segment_seconds=9, overlap=0, single_call_seconds=0, detail="low", retry_seconds=0.0, concurrency=1, workers=1,
    step_retries=1,
)  # fmt: skip


@pytest.fixture
def film(short):
    """Three or four segments."""
    return short


@pytest.fixture
def carried(client):
    """A client whose media go through the temporary store."""
    with OmniClient(replace(client.settings, delivery="temporary", max_retries=0)) as made:
        yield made


def uploads(standin):
    """Return the names under which files were stored."""
    return [
        call.key
        for call in standin.stores.calls
        if call.operation in ("post_form", "put_object") and call.status in (200, 204)
    ]


@pytest.fixture(autouse=True)
def empty_store(fresh):
    """Forget what was stored before."""
    fresh.stores.calls.clear()


@pytest.mark.slow
def test_uploads_go_on_while_a_question_waits_for_its_answer(fresh, carried, film):
    """The first answer comes only when three more segments are uploaded, though one question is allowed at a time."""
    three = threading.Event()

    def is_first(request):
        assert three.wait(60)
        return False

    fresh.script.fault(Fault.server_error(), when=is_first)
    seen = []
    for news in stream_summary(film.path, client=carried, options=OPTIONS):
        seen.append(news)
        if not isinstance(news, VideoSummary) and len(uploads(fresh)) >= 4:
            three.set()
    kinds = [one.kind for one in seen[:-1]]
    assert kinds[: kinds.index("segment")].count("delivered") >= 4
    assert codes_of(seen[-1].events) == list(film.codes)
    assert len(uploads(fresh)) == seen[-1].segments


def test_an_answer_that_fails_costs_no_second_upload(fresh, carried, film):
    """A question that fails is asked again; its upload is known."""
    failed = []
    fresh.script.fault(
        Fault.server_error(), when=lambda request: bool(request.media) and not failed and not failed.append(1)
    )
    found = summarize(film.path, client=carried, options=OPTIONS)
    assert failed
    assert codes_of(found.events) == list(film.codes)
    assert len(uploads(fresh)) == found.segments


@pytest.mark.slow
def test_an_upload_that_fails_is_repeated_and_its_question_asked_once(fresh, carried, film):
    """The store is away for a moment: no question goes out in vain."""
    fresh.stores.fail("post_form", cut_after=100)
    found = summarize(film.path, client=carried, options=OPTIONS)
    assert codes_of(found.events) == list(film.codes)
    assert len(asked_segments(fresh)) == found.segments == len(fresh.requests) - 1


@pytest.mark.slow
def test_a_store_that_stays_away_ends_the_run_and_the_next_goes_on(fresh, carried, film):
    """The error says what to do; afterwards nothing is uploaded or asked twice."""
    fresh.stores.fail("post_form", cut_after=100, times=99)
    with pytest.raises(StoreUnavailableError, match="try again later"):
        summarize(film.path, client=carried, options=OPTIONS)
    assert fresh.requests == []
    fresh.stores._faults.clear()
    found = summarize(film.path, client=carried, options=OPTIONS)
    assert codes_of(found.events) == list(film.codes)
    assert len(uploads(fresh)) == found.segments == len(asked_segments(fresh))


@pytest.fixture
def bucket(fresh):
    """The stand-in's bucket, whose objects are deleted after use."""
    with fresh.environment(bucket=True):
        yield replace(from_environment(), delete_after_use=True)


@pytest.mark.slow
async def test_nothing_is_left_of_a_run_that_is_given_up(fresh, client, film, bucket):
    """Stopped with segments delivered and not asked: no money stays set aside, and their objects are deleted."""
    limit = SpendLimit(tokens=10**7)
    settings = replace(client.settings, oss=bucket, delivery="oss", spend_limit=limit)

    def some_wait(news):
        return news.kind == "delivered" and news.segment == 2 and limit.reserved.tokens > 0

    with OmniClient(settings) as made:
        coming = stream_summary(film.path, client=made, options=OPTIONS)
        while not some_wait(next(coming)):
            pass
        coming.close()
    assert limit.reserved.tokens == 0
    assert fresh.stores.objects.names(bucket.bucket) == []

    async with AsyncOmniClient(replace(settings, cache_dir=settings.cache_dir / "other")) as other:
        acoming = astream_summary(film.path, client=other, options=OPTIONS)
        async for news in acoming:
            if some_wait(news):
                break
        await acoming.aclose()
    assert limit.reserved.tokens == 0
    assert fresh.stores.objects.names(bucket.bucket) == []


@pytest.mark.slow
def test_a_limit_is_no_hindrance_to_what_it_allows(fresh, client, film):
    """What waits for its turn is set aside, too: a limit of little more than the cost lets the whole run through."""
    free = SpendLimit()
    with OmniClient(replace(client.settings, cache_dir=client.settings.cache_dir / "free", spend_limit=free)) as made:
        summarize(film.path, client=made, options=OPTIONS)
    limit = SpendLimit(tokens=free.spent.tokens + 10_000)
    with OmniClient(replace(client.settings, spend_limit=limit)) as made:
        found = summarize(film.path, client=made, options=replace(OPTIONS, concurrency=8))
    assert codes_of(found.events) == list(film.codes)
    assert limit.reserved.tokens == 0


@pytest.mark.slow
@pytest.mark.parametrize("delivery", ["temporary", "inline"])
def test_a_question_that_fails_for_good_leaves_a_gap_and_nothing_else(fresh, client, film, delivery):
    """However it was delivered, its money is given back and the others are asked."""
    limit = SpendLimit(tokens=10**7)
    code = film.codes[13]
    fresh.script.fault(
        Fault.refuse(400, "data_inspection_failed", "Input or output data may contain inappropriate content."),
        when=lambda request: any(code in one.picture_codes for one in request.media),
    )
    with OmniClient(replace(client.settings, delivery=delivery, spend_limit=limit)) as made:
        found = summarize(film.path, client=made, options=replace(OPTIONS, max_gaps=1))
    assert len(found.gaps) == 1
    assert limit.reserved.tokens == 0
