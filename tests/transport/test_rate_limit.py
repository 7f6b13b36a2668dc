"""The rate limiter, in virtual time: no limit is exceeded, little is left unused, and nobody waits for ever."""

import heapq
import itertools
import math
from collections import Counter
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings, strategies as st

from qwen_omni import ChatRequest, Settings, errors, user
from qwen_omni.media.work import Deadline, StoppedError
from qwen_omni.profiles.rate_limits import RateLimits
from qwen_omni.standin.rules.quotas import Quota, Quotas
from qwen_omni.transport import rate_limit
from qwen_omni.transport.rate_limit import Pace, RateLimiter, Turn, limiter_of

OMNI = RateLimits(rpm=60, tpm=100_000)


@dataclass
class Work:
    """One kind of work of one client: how many requests at once, how large, how long, and what they really use."""

    name: str
    tokens: int
    seconds: float
    at_once: int = 1
    used: float = 1.0
    requests: int | None = None
    limits: RateLimits = OMNI


@dataclass
class Sent:
    """A request that was sent: when, for whom, and what it used in the end."""

    at: float
    name: str
    tokens: int


@dataclass
class Run:
    """Several kinds of work over one limiter, until a time."""

    works: list[Work]
    until: float
    limiter: RateLimiter = field(default_factory=RateLimiter)
    now: float = 0.0
    sent: list[Sent] = field(default_factory=list)
    judge: Quotas | None = None

    def run(self) -> "Run":
        """Send, answer and settle until the time is over or nothing is left."""
        number = itertools.count()
        left = {work.name: work.requests or 10**9 for work in self.works}
        due = [(0.0, next(number), work, None) for work in self.works for _ in range(work.at_once)]
        while due:
            self.now, _, work, turn = heapq.heappop(due)
            if self.now > self.until:
                break
            if turn is not None and turn.sent_at is not None:  # its answer has come
                self.limiter.settle(turn, round(work.tokens * work.used))
                turn = None
            if turn is None:
                if not left[work.name]:
                    continue
                left[work.name] -= 1
                turn = Turn(work.tokens, work.limits)
            wait = self.limiter.ask(turn, now=self.now)
            if not wait:
                self.sent.append(Sent(self.now, work.name, round(work.tokens * work.used)))
                if self.judge is not None:
                    self.judge.admit("sk", "m", round(work.tokens * work.used))
                wait = work.seconds
            heapq.heappush(due, (self.now + wait, next(number), work, turn))
        return self


def most_in(sent, seconds, what):
    """Return the largest sum over any window, half open."""
    best, start, total = 0, 0, 0
    for one in sent:
        total += what(one)
        while sent[start].at <= one.at - seconds:
            total -= what(sent[start])
            start += 1
        best = max(best, total)
    return best


def check(run, limits):
    """No minute above the limits, no second above its share; a request above a second's tokens counts as one second."""
    assert limits.rpm is None or most_in(run.sent, 60, lambda _: 1) <= limits.rpm
    assert limits.rpm is None or most_in(run.sent, 1, lambda _: 1) <= math.ceil(limits.rpm / 60)
    if limits.tpm is not None:
        assert most_in(run.sent, 60, lambda one: one.tokens) <= limits.tpm


KINDS = [
    ("long video", 3_600, 9.0, 4),
    ("captions", 1_700, 4.0, 4),
    ("transcription", 400, 2.0, 2),
    ("chat", 900, 3.0, 1),
]


@pytest.mark.parametrize(("estimated", "what"), [(0.6, "requests"), (1.5, "tokens")], ids=["by requests", "by tokens"])
def test_two_clients_with_four_kinds_of_work_stay_within_one_quota(estimated, what):
    """60 RPM and 100,000 TPM for ten minutes, as the service would count: nothing refused, 95 % of the limit used."""
    works = [
        Work(f"{kind} {client}", round(tokens * estimated), seconds, at_once, used=0.9)
        for client in (1, 2)
        for kind, tokens, seconds, at_once in KINDS
    ]
    run = Run(works, until=600.0)
    run.judge = Quotas({"m": Quota(rpm=60, tpm=100_000)}, now=lambda: run.now)
    run.run()
    check(run, OMNI)
    by_requests = len(run.sent) / (60 * 10)
    by_tokens = sum(one.tokens for one in run.sent) / (100_000 * 10)
    assert (by_requests if what == "requests" else by_tokens) >= 0.95
    counted = Counter(one.name for one in run.sent)
    assert len(counted) == len(works)
    assert min(counted.values()) >= 10  # each kind of each client has its turn every minute


LIMITS = st.builds(
    RateLimits, rpm=st.sampled_from([None, 30, 60, 100, 601]), tpm=st.sampled_from([None, 50_000, 100_000])
)


@settings(max_examples=40)
@given(
    limits=LIMITS,
    works=st.lists(
        st.tuples(st.integers(1, 40_000), st.floats(0.1, 40), st.integers(1, 3), st.floats(0.2, 1)),
        min_size=1,
        max_size=5,
    ),
)
def test_no_window_is_above_the_limits(limits, works):
    """Whatever is asked by whom, and however much less is used: every minute and every second is within its limit."""
    run = Run(
        [
            Work(str(n), tokens, seconds, at_once, used, requests=15, limits=limits)
            for n, (tokens, seconds, at_once, used) in enumerate(works)
        ],
        until=3600.0,
    ).run()
    check(run, limits)
    assert len(run.sent) == 15 * len(works) or run.now > 3600 or run.sent[-1].at > 1800


@settings(max_examples=60)
@given(st.lists(st.integers(1, 30_000), min_size=2, max_size=60), st.integers(0, 10**6))
def test_turns_come_in_order(sizes, seed):
    """First come, first served: a small request does not overtake a large one, in whatever order they ask again."""
    limiter, now = RateLimiter(), 0.0
    turns = [Turn(size, OMNI) for size in sizes]
    order = [turn for turn in turns if not limiter.ask(turn, now=now)]
    waiting = [turn for turn in turns if turn.sent_at is None]
    while waiting:
        asked = sorted(waiting, key=lambda turn: hash((seed, id(turn), now)))
        waits = [limiter.ask(turn, now=now) for turn in asked]
        order += [turn for turn, wait in zip(asked, waits, strict=True) if not wait]
        waiting = [turn for turn in waiting if turn.sent_at is None]
        now += min((wait for wait in waits if wait), default=0.0)
    assert order == turns


@pytest.mark.parametrize(
    ("limits", "tokens", "rate"),
    [
        (RateLimits(rpm=60), 1, 60),
        (RateLimits(rpm=60, tpm=100_000), 1_600, 60),
        (RateLimits(rpm=6_000, tpm=100_000), 1_000, 100),
        (RateLimits(rpm=30_000, tpm=2_000_000), 20_000, 100),
        (RateLimits(rpm=100), 0, 100),
    ],
)
def test_nearly_all_of_the_limit_is_used(limits, tokens, rate):
    """Equal requests, twice as many as may be sent: 95 % of the limit, for ten minutes."""
    run = Run([Work("one", tokens, 5.0, at_once=max(8, rate // 5), limits=limits)], until=600.0).run()
    check(run, limits)
    assert len(run.sent) >= 0.95 * rate * 10


def test_what_was_not_used_is_given_back():
    """A request took a fifth of its estimate: the next one need not wait for the minute to pass."""
    limiter = RateLimiter()
    first, second = Turn(80_000, OMNI), Turn(80_000, OMNI)
    assert limiter.ask(first, now=0.0) == 0
    assert limiter.ask(second, now=5.0) > 0
    limiter.settle(first, 16_000)
    assert limiter.ask(second, now=5.25) == 0


def test_a_turn_that_is_given_up_counts_for_nothing():
    """Whether it waits or was granted."""
    limiter = RateLimiter()
    first, second, third = (Turn(90_000, OMNI) for _ in range(3))
    assert limiter.ask(first, now=0.0) == 0
    assert limiter.ask(second, now=0.0) > 0
    assert limiter.ask(third, now=0.0) > 0
    limiter.leave(second)
    limiter.leave(first)
    assert limiter.ask(third, now=0.1) == 0


def test_a_request_that_vanished_is_not_waited_for():
    """Its thread or event loop has died without a word: the others go on after ten seconds."""
    limiter = RateLimiter()
    first, lost, third = Turn(90_000, OMNI), Turn(90_000, OMNI), Turn(1_000, OMNI)
    limiter.ask(first, now=0.0)
    limiter.ask(lost, now=1.0)
    waits = [limiter.ask(third, now=now / 4) for now in range(8, 48)]
    assert 0 in waits
    assert waits.index(0) / 4 + 2 == pytest.approx(11.25)


def test_a_request_above_the_whole_minute_goes_alone():
    """120,000 tokens where a minute has 100,000: on an empty minute, and nothing beside it."""
    run = Run([Work("large", 120_000, 5.0, at_once=3, requests=3)], until=600.0).run()
    gaps = [later.at - earlier.at for earlier, later in itertools.pairwise(run.sent)]
    assert len(run.sent) == 3
    assert all(60 <= gap <= 61 for gap in gaps)


def test_the_first_requests_do_not_come_all_at_once():
    """A rate that rises too quickly is refused: the start is stretched, also after a pause and after a refusal."""
    many = RateLimits(rpm=30_000)
    limiter = RateLimiter()
    first = Run([Work("one", 0, 0.001, requests=40, limits=many)], until=100.0, limiter=limiter).run()
    assert first.sent[1].at - first.sent[0].at == pytest.approx(0.25)
    assert 0.5 < first.sent[-1].at < 2
    limiter.hold(5, now=10.0)
    turns = [Turn(0, many) for _ in range(2)]
    assert limiter.ask(turns[0], now=14.9) > 0
    assert limiter.ask(turns[0], now=15.0) == 0
    assert limiter.ask(turns[1], now=15.2) > 0


@pytest.mark.parametrize(("late", "last"), [(0.0, 60.0), (0.005, 60.0), (0.5, 90.0)])
def test_a_little_lateness_is_not_added_up(late, last):
    """Each request goes a little later than it may: sixty of them still take a minute; much lateness is not made up."""
    limiter, now = RateLimiter(gradual=False), 0.0
    for _ in range(60):
        turn = Turn(1, OMNI)
        while wait := limiter.ask(turn, now=now):
            now += min(0.25, wait)
            now += late if wait < 0.25 else 0.0
    assert now == pytest.approx(last, abs=1.5)


def test_limits_of_ones_own_hold_beside_others():
    """Two callers who name different limits share one count; each keeps its own."""
    slow, fast = RateLimits(rpm=30), RateLimits(rpm=600)
    run = Run([Work("slow", 0, 0.1, 4, limits=slow), Work("fast", 0, 0.1, 4, limits=fast)], until=120.0).run()
    check(run, fast)
    for one in run.sent:
        if one.name == "slow":
            assert not [other for other in run.sent if one.at - 2 < other.at < one.at - 1e-9]


# --- The pace of a request ---


@pytest.fixture
def clock(monkeypatch):
    """A clock that the test moves."""

    class Clock:
        now = 1000.0

        def monotonic(self):
            return self.now

    monkeypatch.setattr(rate_limit, "time", moved := Clock())
    return moved


def test_every_attempt_takes_a_turn(clock):
    """A second attempt waits like a second request, and what the first used counts."""
    pace = Pace(RateLimiter(), OMNI, 50_000)
    assert list(pace.waits()) == []
    pace.end(99_000)
    waits = []
    for wait in pace.waits():
        waits.append(wait)
        clock.now += wait
    assert sum(waits) == pytest.approx(60.6, abs=0.1)
    pace.end(None)


def test_a_stopped_run_sends_nothing_more(clock):
    """Whoever waits when the work is stopped gives up the place, and does not send."""
    limiter, work = RateLimiter(), Deadline()
    limiter.ask(Turn(0, OMNI), now=clock.now)
    with work.governing():
        waits = Pace(limiter, OMNI).waits()
        next(waits)
    work.stop()
    with pytest.raises(StoppedError):
        next(waits)
    assert limiter.ask(Turn(0, OMNI), now=clock.now + 1.01) == 0


def loaded(**choices):
    return Settings.load(api_key=choices.pop("api_key", "sk-1"), **choices)


def test_who_shares_a_limiter():
    """The same service, key and model; whatever host of the vendor it is."""
    first = limiter_of(loaded(), "qwen3.5-omni-flash")
    assert limiter_of(loaded(workspace="ws-1"), "qwen3.5-omni-flash") is first
    others = [
        limiter_of(loaded(), "qwen3.5-omni-plus"),
        limiter_of(loaded(api_key="sk-2"), "qwen3.5-omni-flash"),
        limiter_of(loaded(base_url="http://10.0.0.1/v1"), "qwen3.5-omni-flash"),
        limiter_of(loaded(base_url="http://10.0.0.2/v1"), "qwen3.5-omni-flash"),
        limiter_of(loaded(base_url="http://127.0.0.1:1/v1", api_key="sk-standin"), "qwen3.5-omni-flash"),
        limiter_of(loaded(base_url="http://127.0.0.1:2/v1", api_key="sk-standin"), "qwen3.5-omni-flash"),
    ]
    assert len({id(one) for one in (first, *others)}) == len(others) + 1


@pytest.mark.parametrize(
    ("choices", "model", "own", "expected"),
    [
        ({}, "qwen3.5-omni-flash", None, (60, 100_000)),
        ({}, "qwen3.5-omni-flash", RateLimits(rpm=5), (5, 100_000)),
        ({"limits": RateLimits(rpm=7, tpm=8)}, "qwen-plus", None, (7, 8)),
        ({"limits": {"qwen-plus": RateLimits(rpm=7)}}, "qwen-plus", None, (7, None)),
        ({"limits": {"qwen-plus": RateLimits(rpm=7)}}, "qwen3.5-omni-flash", None, (60, 100_000)),
        ({"base_url": "http://127.0.0.1:1/v1"}, "qwen3.5-omni-flash", None, None),
        ({"base_url": "https://gw.example.com/v1"}, "qwen3.5-omni-flash", None, None),
        ({"base_url": "https://gw.example.com/v1", "limits": OMNI}, "any", None, (60, 100_000)),
        ({"base_url": "https://batch.dashscope.aliyuncs.com/compatible-mode/v1"}, "qwen-plus", None, None),
        ({"base_url": "https://trial.cn-beijing.maas.aliyuncs.com/v1"}, "qwen-plus", None, (1_000, 5_000_000)),
        ({"base_url": "https://trial.cn-beijing.maas.aliyuncs.com/v1"}, "qwen3.5-omni-plus", None, (60, 100_000)),
        ({"api_key": "sk-standin"}, "qwen3.5-omni-flash", None, None),
    ],
)
def test_the_limits_of_a_request(choices, model, own, expected):
    """The request's own, the caller's, the published ones of the vendor's hosts, or none."""
    limits = loaded(**choices).rate_limits(model, own)
    assert (limits and (limits.rpm, limits.tpm)) == expected


@pytest.mark.parametrize("limits", [5, {"m": 5}, "60", RateLimits, {"m": None}])
def test_other_limits_are_refused(limits):
    """Before anything is sent."""
    with pytest.raises(errors.ConfigurationError, match="limits= must be RateLimits"):
        loaded(limits=limits)
    with pytest.raises(errors.ConfigurationError, match="rpm must be a whole number from 1"):
        RateLimits(rpm=0)


def test_a_request_has_room_for_limits():
    """Those of a long video's options travel in its requests."""
    assert ChatRequest(model="m", messages=(user("Hi"),), limits=OMNI).limits is OMNI
