"""A tenth of the questions about segments fail, in each way the service is known to fail: a documented outcome each.

| kind of failure | outcome |
| --- | --- |
| 429 of every kind that passes, 500, 503, 504 | asked again; the summary is whole |
| a connection cut, reset, closed without an answer; no answer in time | asked again; the summary is whole |
| an error in the stream, in place of it, framed as an event; an empty stream; a download that timed out | the same |
| prose, broken JSON, another schema | asked again with what was wrong, both answers paid; the summary is whole |
| plain JSON in place of a stream | read as it is |
| refused by inspection, media refused for good | a gap each; the next run asks for those alone |
| unpaid, wrong key, free quota used up | ends the run; the next run goes on |

Nothing is lost, no segment that was answered is asked again, and what is paid for is on the bill.
"""

import random
import threading
from collections import Counter
from dataclasses import replace

import pytest

from qwen_omni.client import OmniClient
from qwen_omni.errors import QwenOmniError
from qwen_omni.standin.server.script import Fault, Turn
from qwen_omni.video.options import SummaryOptions
from qwen_omni.video.summarize import summarize
from tests.video.conftest import codes_of

OPTIONS = SummaryOptions(
    segment_seconds=7.5, overlap=0, single_call_seconds=0, detail="low", retry_seconds=0.0, concurrency=4, max_gaps=9,
    rpm=60_000, tpm=10**9,
)  # fmt: skip
RATE = 0.1
TIMED_OUT = (
    "InternalError.Algo.InvalidParameter: Download the media resource timed out during the data inspection process."
)
PASSING = {
    "limit_requests": Fault.rate_limit,
    "Throttling": lambda: Fault.rate_limit("Throttling"),
    "Throttling.RateQuota": lambda: Fault.rate_limit("Throttling.RateQuota"),
    "limit_burst_rate": lambda: Fault.rate_limit("limit_burst_rate"),
    "Throttling.AllocationQuota": lambda: Fault.rate_limit("Throttling.AllocationQuota"),
    "insufficient_quota": lambda: Fault.rate_limit("insufficient_quota"),
    "500": Fault.server_error,
    "503": lambda: Fault.server_error(503),
    "504": lambda: Fault.server_error(504),
    "cut": Fault.cut,
    "cut late": lambda: Fault.cut(1500),
    "reset": lambda: Fault.cut(reset=True),
    "closed": lambda: Fault.cut(None),
    "too late": lambda: Fault.slow(first_byte_delay=8.0),
    "error in the stream": Fault.error_in_stream,
    "error in place of it": lambda: Fault.error_event_only("internal_server_error", "<500> InternalError.Algo: down"),
    "framed": lambda: Fault.framed_400(message=f"<400> {TIMED_OUT}"),
    "empty": Fault.empty_stream,
    "download timed out": Fault.error_event_only,
}  # fmt: skip
UNREADABLE = {"prose": "I would rather chat.", "broken JSON": '{"summary": [[', "another schema": '{"colour": "red"}'}
REFUSED = {
    "inspection": Fault.refuse(400, "data_inspection_failed", "Input data may contain inappropriate content."),
    "media": Fault.refuse_media("<400> InternalError.Algo.InvalidParameter: The video modality input is broken."),
}
ENDING = {
    "unpaid": Fault.refuse(400, "Arrearage", "Access denied, please make sure your account is in good standing."),
    "key": Fault.refuse(401, "invalid_api_key", "Incorrect API key provided."),
    "free quota": Fault.refuse(403, "AllocationQuota.FreeTierOnly", "The free tier of the model has been exhausted."),
}


@pytest.fixture
def film(short):
    """Five segments or six."""
    return short


class Dice:
    """Chooses a tenth of the questions about media, and one at least; the same ones for the same seed."""

    def __init__(self, seed, most=5):
        numbers = random.Random(seed)
        self.chosen = {number for number in range(most) if numbers.random() < RATE} or {numbers.randrange(most)}
        self.asked, self.failed, self.lock = 0, [], threading.Lock()

    def __call__(self, request):
        """Whether this question fails; one that has failed is let through the next time."""
        if not request.media:
            return False
        code = request.media[0].picture_codes[0]
        with self.lock:
            number, self.asked = self.asked, self.asked + 1
            if number not in self.chosen or code in self.failed:
                return False
            self.failed.append(code)
        return True


def answered(standin, dice):
    """Count how often each segment was asked and answered."""
    asked = Counter(request.media[0].picture_codes[0] for request in standin.requests if request.media)
    return asked - Counter(dice.failed)


def check_whole(fresh, found, film, dice):
    assert dice.failed
    assert codes_of(found.events) == list(film.codes)
    assert not found.gaps
    assert set(answered(fresh, dice).values()) == {1}
    assert len(fresh.requests) == found.segments + 1 + len(dice.failed)


@pytest.mark.slow
@pytest.mark.parametrize("kind", PASSING)
def test_what_passes_is_repeated(fresh, client, film, kind):
    """Each question that failed is asked once more, and no other."""
    dice = Dice(kind)
    fresh.script.fault(PASSING[kind](), when=dice)
    with OmniClient(replace(client.settings, read_timeout=4.0)) as patient:
        found = summarize(film.path, client=patient, options=OPTIONS)
    check_whole(fresh, found, film, dice)


@pytest.mark.slow
def test_a_plain_answer_is_taken(fresh, client, film):
    """JSON in place of a stream is no failure: nothing is asked again."""
    dice = Dice("plain")
    fresh.script.fault(Fault.plain_json(), when=dice)
    found = summarize(film.path, client=client, options=OPTIONS)
    assert codes_of(found.events) == list(film.codes)
    assert len(fresh.requests) == found.segments + 1


@pytest.mark.slow
@pytest.mark.parametrize("kind", UNREADABLE)
def test_what_cannot_be_read_is_asked_again_and_paid(fresh, client, film, kind):
    """Both answers are on the bill."""
    dice = Dice(kind)
    fresh.script.reply(Turn(text=UNREADABLE[kind]), when=dice)
    found = summarize(film.path, client=client, options=OPTIONS)
    check_whole(fresh, found, film, dice)
    assert found.this_run.requests == len(fresh.requests)


@pytest.mark.slow
@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_refused_for_good_is_a_gap(fresh, client, film, kind):
    """The gaps are those segments, and the next run asks for them alone."""
    dice = Dice(kind)
    fresh.script.fault(REFUSED[kind], when=dice)
    found = summarize(film.path, client=client, options=OPTIONS)
    assert len(found.gaps) == len(dice.failed) > 0
    lost = [second for second, code in enumerate(film.codes) if code not in codes_of(found.events)]
    assert lost
    assert all(any(gap.start <= second + 1 and second <= gap.end for gap in found.gaps) for second in lost)
    fresh.script.clear()
    fresh.clear()
    again = summarize(film.path, client=client, options=OPTIONS)
    assert codes_of(again.events) == list(film.codes)
    assert {request.media[0].picture_codes[0] for request in fresh.requests if request.media} == set(dice.failed)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ENDING)
def test_what_all_would_meet_ends_the_run(fresh, client, film, kind):
    """Nothing more is asked; the next run goes on, and asks nothing that was answered."""
    dice = Dice(kind)
    fresh.script.fault(ENDING[kind], when=dice)
    with pytest.raises(QwenOmniError) as raised:
        summarize(film.path, client=client, options=OPTIONS)
    assert ("run it again" in str(raised.value)) == bool(answered(fresh, dice))  # that many answers are kept
    fresh.script.clear()
    found = summarize(film.path, client=client, options=OPTIONS)
    assert codes_of(found.events) == list(film.codes)
    assert set(answered(fresh, dice).values()) == {1}
    assert found.whole_run.requests == found.segments + 1
