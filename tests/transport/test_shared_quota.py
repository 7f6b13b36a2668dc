"""Several clients and kinds of work share the quota of one model: real clients, on a clock that the tests move."""

import asyncio
import contextlib
import functools
import itertools
import json
import selectors
import time
import warnings
from dataclasses import replace

import pytest

from qwen_omni import (
    AsyncOmniClient,
    CaptionOptions,
    ChatOptions,
    ChatRequest,
    OmniClient,
    Settings,
    acaption,
    aiter_notes,
    iter_notes,
    user,
)
from qwen_omni.errors import ContentFilterError, RateLimitError
from qwen_omni.media.work import StoppedError
from qwen_omni.messages import MediaPayload
from qwen_omni.profiles.rate_limits import RateLimits
from qwen_omni.profiles.transcription import transcriber
from qwen_omni.standin import Fault, Quota, Standin
from qwen_omni.standin.answers.service import Request, State, respond
from qwen_omni.standin.marked_media import make_video
from qwen_omni.standin.rules.quotas import Quotas
from qwen_omni.standin.rules.refusal import Refusal
from qwen_omni.structured.batch import caption_many
from qwen_omni.transcription.options import TranscriptionOptions
from qwen_omni.transcription.task import TaskContext, call_at_once, submit
from qwen_omni.transcription.transcribe import ThreadPool, atranscribe_many, transcribe
from qwen_omni.transport import rate_limit
from qwen_omni.transport.chat import AsyncConnection
from qwen_omni.transport.flow import Sleep, advance
from qwen_omni.transport.rate_limit import Turn
from qwen_omni.transport.retry import RetryPolicy
from qwen_omni.video.options import SummaryOptions

OMNI, ASR = "qwen3.5-omni-flash", "qwen3-asr-flash"
HELLO = ChatRequest(model=OMNI, messages=(user("Hello."),))
SCHEMA = {"type": "object", "properties": {"title": {"type": "string"}}, "required": ["title"]}


class _Selector(selectors.DefaultSelector):
    """Waits in real time only while a thread works for the loop; otherwise the clock jumps."""

    loop: "VirtualLoop"

    def select(self, timeout=None):
        """Wait for the threads, or let time pass."""
        if self.loop.working or not timeout:
            return super().select(None if self.loop.working and timeout != 0 else timeout)
        self.loop.now += timeout
        return super().select(0)


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop whose time passes when nothing else can happen."""

    def __init__(self):
        self.now, self.working = 1000.0, 0
        selector = _Selector()
        selector.loop = self
        super().__init__(selector)

    def time(self):
        """Return the moved time."""
        return self.now

    def run_in_executor(self, executor, func, *args):
        """Run a function in a thread; no time passes meanwhile."""
        self.working += 1
        future = super().run_in_executor(executor, func, *args)
        future.add_done_callback(self._done)
        return future

    def _done(self, _):
        self.working -= 1


class Answer:
    """The bytes of an answer."""

    def __init__(self, pieces):
        self._pieces = pieces

    async def pieces(self):
        """Yield them."""
        for piece in self._pieces:
            yield piece

    async def drain(self):
        """There is nothing to drain."""


@pytest.fixture
def quiet_limits():
    """Limiters of the test's own."""
    rate_limit.forget_limiters()
    yield
    rate_limit.forget_limiters()


def served(state, loop, sent, seconds=4.0):
    """Return what stands in for `AsyncConnection.post`: the stand-in's answer, after a few seconds."""

    @contextlib.asynccontextmanager
    async def post(self, call):
        del self
        headers = {
            **{name.lower(): value for name, value in call.headers.items()},
            "authorization": "Bearer sk-standin",
        }
        asked = Request(
            method="POST", path="/compatible-mode/v1/chat/completions", headers=headers, body=b"".join(call.body)
        )
        sent.append((loop.time(), json.loads(asked.body)["model"]))
        reply = respond(asked, state)
        assert reply.status == 200, reply.pieces
        await asyncio.sleep(seconds)
        yield Answer(reply.pieces)

    return post


@pytest.fixture
def movie(tmp_path_factory):
    """Forty seconds, for a segment every five."""
    return make_video(tmp_path_factory.mktemp("quota") / "movie.mp4", seconds=40, size=(128, 96), fps=2, sound=False)


@pytest.mark.slow
def test_two_clients_and_four_kinds_of_work(clip, movie, tmp_path, monkeypatch, quiet_limits):
    """60 RPM for notes, captions and chats, 100 for transcripts: nothing is refused, hardly a second is left unused."""
    loop = VirtualLoop()
    monkeypatch.setattr(rate_limit, "time", type("Clock", (), {"monotonic": staticmethod(loop.time)}))
    quotas = Quotas({OMNI: Quota(rpm=60, tpm=100_000), ASR: Quota(rpm=100)}, now=loop.time)
    state, sent = State(keys=("sk-standin",), quotas=quotas), []
    monkeypatch.setattr(AsyncConnection, "post", served(state, loop, sent))
    limits = {OMNI: RateLimits(rpm=60, tpm=100_000), ASR: RateLimits(rpm=100)}

    async def notes(client, number):
        options = SummaryOptions(
            model=OMNI, segment_seconds=9, overlap=1, single_call_seconds=0, checkpoint=False, focus=f"client {number}"
        )
        return [one async for one in aiter_notes(str(movie.path), client=client, options=options)]

    async def captions(client, number):
        del number
        options = CaptionOptions(model=OMNI)
        return await asyncio.gather(
            *(acaption(str(clip.path), SCHEMA, client=client, options=options) for _ in range(6))
        )

    async def chat(client, number):
        del number
        return [await client.complete(HELLO) for _ in range(5)]

    async def transcripts(client, number):
        del number
        options = TranscriptionOptions(model=ASR)
        return [one async for one in atranscribe_many([str(clip.path)] * 4, client=client, options=options)]

    async def everything():
        clients = [
            AsyncOmniClient(
                Settings.load(
                    api_key="sk-standin", base_url="http://127.0.0.1:9/compatible-mode/v1", max_retries=0,
                    limits=limits, cache_dir=tmp_path / str(number),
                )
            )
            for number in (1, 2)
        ]  # fmt: skip
        works = [
            work(client, number)
            for number, client in enumerate(clients, 1)
            for work in (notes, captions, chat, transcripts)
        ]
        return await asyncio.gather(*works)

    try:
        found = loop.run_until_complete(everything())
    finally:
        loop.close()
    asked = [one for one in state.requests if one.body.get("model") == OMNI]
    assert not [one.refused for one in state.requests if one.refused]
    assert len(asked) == sum(map(len, found)) - 8
    assert len(asked) >= 30
    heard = [at for at, model in sent if model == ASR]
    assert len(heard) == 8
    assert all(later - earlier >= 0.599 for earlier, later in itertools.pairwise(heard))
    times = [at for at, model in sent if model == OMNI]
    assert all(later - earlier >= 0.999 for earlier, later in itertools.pairwise(times))
    busy = times[:24]  # later, a few chats wait for each other's answers
    assert busy[-1] - busy[0] <= (len(busy) - 1) / 0.95


def test_threads_share_it_too(clip, tmp_path, quiet_limits):
    """Captions by threads, and chats beside them, on two clients: a service that counts by the second refuses none."""
    quota = Quota(rpm=1_200, tpm=10_000_000)
    with Standin(quotas={OMNI: quota}) as service:
        given = {"api_key": service.api_key, "base_url": service.base_url, "max_retries": 0, "cache_dir": tmp_path}
        settings = Settings.load(limits=RateLimits(rpm=1_200, tpm=10_000_000), **given)
        with OmniClient(settings) as first, OmniClient(settings) as second:
            options = CaptionOptions(model=OMNI)
            batch = caption_many([str(clip.path)] * 5, SCHEMA, client=first, options=options, concurrency=6)
            next(batch)
            assert all(second.complete(HELLO).text for _ in range(8))
            assert not [one.error for one in batch if one.error]
        assert not [one.refused for one in service.requests if one.refused]


def test_without_limits_of_its_own_the_service_refuses(tmp_path):
    """The stand-in does count: unpaced, the second request within a second is one too many."""
    with Standin(quotas={OMNI: Quota(rpm=60)}) as service:
        settings = Settings.load(api_key=service.api_key, base_url=service.base_url, max_retries=0, cache_dir=tmp_path)
        with OmniClient(settings) as client:
            client.complete(HELLO)
            with pytest.raises(RateLimitError, match="increased too quickly"):
                client.complete(HELLO)


def test_the_stand_in_counts_by_the_minute_and_by_the_second():
    """Requests and tokens of a minute, requests of a second; who may wait is let in when the second is over."""
    now = [0.0]
    quotas = Quotas({"m": Quota(rpm=60, tpm=1_000)}, now=lambda: now[0])
    waited, answered = quotas.admit("sk", "m", 400)
    assert waited == 0
    with pytest.raises(Refusal, match="increased too quickly"):
        quotas.admit("sk", "m", 100)
    assert quotas.admit("sk", "m", 100, patience=3.0)[0] == 1.0
    assert quotas.admit("another key", "m", 100)[0] == 0
    answered(500)
    now[0] = 2.5
    with pytest.raises(Refusal, match="exceeded your current quota"):
        quotas.admit("sk", "m", 100)
    now[0] = 60.0
    assert quotas.admit("sk", "m", 100)[0] == 0


def test_a_refusal_holds_the_others(standin, tmp_path, quiet_limits):
    """After a 429 the retry and everything beside it wait together."""
    limits = RateLimits(rpm=6_000)
    settings = Settings.load(
        api_key=standin.api_key, base_url=standin.base_url, limits=limits, retry_wait=0.05, cache_dir=tmp_path
    )
    standin.script.fault(Fault.rate_limit(), times=1)
    with OmniClient(settings) as client:
        assert client.complete(HELLO).text
    assert rate_limit.limiter_of(settings, OMNI)._next > 0
    assert len(standin.requests) == 2


SLOW = RateLimits(rpm=1)  # the second request comes after a minute: whoever sends it has not been stopped


def slow_client(standin, tmp_path, **limits):
    return OmniClient(
        Settings.load(api_key=standin.api_key, base_url=standin.base_url, cache_dir=tmp_path, max_retries=0, **limits)
    )


def test_a_run_that_is_closed_sends_nothing_more(standin, movie, tmp_path, quiet_limits):
    """Segments that wait for their turn are given up; `rpm` of the options is what makes them wait."""
    options = SummaryOptions(
        model=OMNI, segment_seconds=9, overlap=1, single_call_seconds=0, rpm=1, checkpoint=tmp_path / "kept", workers=1
    )
    with slow_client(standin, tmp_path) as client:
        notes = iter_notes(str(movie.path), client=client, options=options)
        assert next(notes).index == 0
        sent = len(standin.requests)  # 1, unless a busy machine lets the second segment ask first
        notes.close()
        assert len(standin.requests) == sent < 5
        assert rate_limit.limiter_of(client.settings, OMNI)._waiting == []


def test_a_batch_that_is_closed_sends_nothing_more(standin, clip, tmp_path, quiet_limits):
    """Captions that wait for their turn are given up."""
    with slow_client(standin, tmp_path, limits=SLOW) as client:
        batch = caption_many([str(clip.path)] * 5, SCHEMA, client=client, options=CaptionOptions(model=OMNI))
        assert next(batch).error is None
        batch.close()
        assert len(standin.requests) == 1


def test_transcriptions_that_are_closed_send_nothing_more(standin, clip, tmp_path, quiet_limits):
    """By chat, and by tasks: a submission waits for its turn, too."""
    with slow_client(standin, tmp_path, limits=SLOW, delivery="temporary") as client:
        limiter = rate_limit.limiter_of(client.settings, ASR)
        limiter.ask(Turn(0, SLOW), now=time.monotonic())
        with ThreadPool(2) as pool:
            work = functools.partial(transcribe, str(clip.path), client=client, options=TranscriptionOptions(model=ASR))
            futures = [pool.submit(work) for _ in range(2)]
            while len(limiter._waiting) < 2:
                time.sleep(0.02)
        for future in futures:
            with pytest.raises(StoppedError):
                future.result()
        assert standin.requests == []
        limiter = rate_limit.limiter_of(client.settings, "fun-asr")
        transcribe(str(clip.path), client=client, options=TranscriptionOptions(model="fun-asr", poll_seconds=0.05))
        assert len(limiter._sent) == 1
        assert [type(step) for step in first_steps(client.settings)] == [Sleep, Sleep]


def first_steps(settings):
    """Yield the first step of a further submission to the same model, and of a call that answers at once."""
    pace = rate_limit.Pace(rate_limit.limiter_of(settings, "fun-asr"), settings.rate_limits("fun-asr"))
    context = TaskContext(base_url=settings.base_url, label="a", retry=RetryPolicy(), clock=lambda: 0.0, pace=pace)
    options, link = TranscriptionOptions(), "https://example.com/a.mp3"
    yield advance(submit(context, transcriber("fun-asr"), options, link), None)
    message = transcriber("qwen-audio-3.1-asr-flash-message")
    yield advance(call_at_once(context, message, options, MediaPayload(url=link)), None)


def test_a_large_request_is_announced(standin, tmp_path, quiet_limits):
    """It is sent alone; the warning has the numbers and what to do."""
    limits = RateLimits(tpm=20)
    with (
        slow_client(standin, tmp_path, limits=limits) as client,
        pytest.warns(UserWarning, match=r"about \d+ tokens is above the 20 that a minute allows.*pass limits="),
    ):
        assert client.complete(HELLO).text


def test_a_turn_that_is_not_used_is_given_back(standin, tmp_path, quiet_limits):
    """Something else ends the call between its turn and its request."""
    with slow_client(standin, tmp_path, limits=SLOW) as client:
        for _ in range(3):  # the second would have to wait for a minute
            with client.deliver(HELLO) as outgoing:
                assert list(outgoing.waits()) == []
        limiter = rate_limit.limiter_of(client.settings, OMNI)
        assert not limiter._sent


def test_the_limiter_takes_the_reported_usage(standin, tmp_path, quiet_limits):
    """Estimated before, corrected after; a refused request took none, and each attempt is a request."""
    with slow_client(standin, tmp_path, limits=RateLimits(rpm=60_000)) as client:
        limiter = rate_limit.limiter_of(client.settings, OMNI)
        used = client.complete(HELLO).usage
        assert [turn.tokens for turn in limiter._sent] == [used.total_tokens]
        standin.script.fault(Fault.refuse(400, "data_inspection_failed", "no"), times=1)
        with pytest.raises(ContentFilterError):
            client.complete(HELLO)
        assert [turn.tokens for turn in limiter._sent] == [used.total_tokens, 0]
        stream = client.stream(HELLO)
        next(stream)
        stream.close()
        assert len(limiter._sent) == 3
        assert limiter._sent[-1].tokens > 500  # an answer that its reader left counts as estimated


@pytest.mark.parametrize(
    ("host", "headers", "slow"),
    [
        ({}, {"X-DashScope-Wait-Timeout": "30"}, True),
        ({"workspace": "ws-1", "burst_wait": 5}, {"X-DashScope-Wait-Timeout": "5"}, False),
        ({"headers": {"x-dashscope-wait-timeout": "7"}}, {}, True),
        ({"base_url": "http://127.0.0.1:9/compatible-mode/v1"}, {}, False),
    ],
)
def test_what_the_vendors_hosts_are_sent(host, headers, slow, tmp_path):
    """The queue for bursts, on its hosts alone; a request that may outlast the host is announced, with the way out."""
    long = replace(HELLO, model="qwen3.8-omni-flash", options=ChatOptions(max_tokens=60_000))
    with OmniClient(Settings.load(api_key="sk-1", cache_dir=tmp_path, **host)) as client:
        with client.deliver(HELLO) as outgoing:
            assert outgoing.call.headers == headers
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            client.deliver(long).done()
    found = [str(one.message) for one in caught if "ends requests after 600 s" in str(one.message)]
    assert bool(found) == slow
    assert all(one.startswith("The request may take about 1,0") and one.endswith(".") for one in found)
