"""Requests, tokens and money that processes share: rules on a virtual clock, then real processes on both stores."""

import contextlib
import heapq
import itertools
import json
import math
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given, settings, strategies as st

from qwen_omni import SpendLimit
from qwen_omni.archive import spend
from qwen_omni.archive.quota import RateLeaseRequest, SharedRate, share_rate, shared_rate_limits
from qwen_omni.archive.spend import SharedSpendLimit, spend_taken
from qwen_omni.errors import SpendLimitError, StoreError
from qwen_omni.pricing.costs import TokenCounts, cost_of
from qwen_omni.profiles.rate_limits import RateLimits
from qwen_omni.settings import Settings
from qwen_omni.transport.rate_limit import Pace, RateLimiter, Turn, limiter_of
from qwen_omni.work_store.opening import open_work_store
from qwen_omni.work_store.store import StoreUse

ROOT = Path(__file__).parents[2]
USE = StoreUse(name="work store", way_out="Choose another.")


class Records:
    """The records of a store, on a clock of the test; now and then an answer is lost, before or after the change."""

    def __init__(self, draw=None, fails=0.0):
        self.now, self.records, self.draw, self.fails = 1e9, {}, draw or random.Random(0), fails

    def exchange(self, name, decide):
        """Change a record."""
        lost = self.draw.random() < self.fails
        before = self.draw.random() < 0.5
        if lost and before:
            raise StoreError("gone", reason="unreachable", address="x", transient=True)
        value, result = decide(json.loads(self.records.get(name, "null")), self.now)
        self.records[name] = json.dumps(value)
        if lost:
            raise StoreError("gone", reason="unreachable", address="x", transient=True)
        return result

    def record(self, name):
        """Return a record."""
        return json.loads(self.records.get(name, "null"))


# --- Requests and tokens ---


class Fleet:
    """Processes with a limiter each, whose requests take tokens and time; some die, some are suspended."""

    def __init__(self, limits, workers, *, until, records):
        self.limits, self.until, self.records = limits, until, records
        self.sent = []  # time, tokens that it took
        self.shares = [SharedRate(records, "m", clock=lambda: self.now, background=False) for _ in workers]
        self.limiters = [RateLimiter(gradual=False, allowance=share) for share in self.shares]
        self.workers, self.now = workers, 0.0

    def run(self):
        """Run until the end."""
        number = itertools.count()
        due = [(0.01 * n, next(number), n, None) for n, one in enumerate(self.workers) for _ in range(one["at_once"])]
        heapq.heapify(due)
        while due:
            self.now, _, n, turn = heapq.heappop(due)
            self.records.now = 1e9 + self.now
            one = self.workers[n]
            if self.now > self.until:
                break
            if self.now > one.get("dies", math.inf):
                continue
            if one.get("sleeps", math.inf) <= self.now < one.get("sleeps", math.inf) + 20:
                heapq.heappush(due, (one["sleeps"] + 20, next(number), n, turn))
                continue
            heapq.heappush(due, (self.now + self.step(n, one, turn), next(number), n, self.turn))
        return self

    def step(self, n, one, turn):
        """Let a request end, begin or wait; return the seconds until it is looked at again."""
        limiter, share = self.limiters[n], self.shares[n]
        if turn is not None and turn.sent_at is not None:
            limiter.settle(turn, round(one["tokens"] * one["used"]))
            turn = None
        self.turn = turn = turn or Turn(one["tokens"], self.limits)
        wait = limiter.ask(turn, now=self.now)
        if not wait:
            self.sent.append((self.now, round(one["tokens"] * one["used"])))
            return one["seconds"]
        if share._wake.is_set() and self.now >= share._again_at:
            with contextlib.suppress(StoreError):
                share.renew()
                share._wake.clear()
        return wait


def most_in(sent, seconds, what):
    """Return the largest sum over any window, half open."""
    best = start = total = 0
    for one in sent:
        total += what(one)
        while sent[start][0] <= one[0] - seconds:
            total -= what(sent[start])
            start += 1
        best = max(best, total)
    return best


def check(sent, limits):
    assert limits.rpm is None or most_in(sent, 60, lambda _: 1) <= limits.rpm
    assert limits.tpm is None or most_in(sent, 60, lambda one: one[1]) <= limits.tpm


WORKERS = st.lists(
    st.fixed_dictionaries(
        {
            "tokens": st.integers(1, 40_000), "seconds": st.floats(0.1, 40), "at_once": st.integers(1, 4),
            "used": st.floats(0.2, 1),
        },
        optional={"dies": st.floats(5, 90), "sleeps": st.floats(5, 90)},
    ),
    min_size=1,
    max_size=4,
)  # fmt: skip


@settings(max_examples=4)
@given(
    limits=st.builds(RateLimits, rpm=st.sampled_from([None, 30, 60, 601]), tpm=st.sampled_from([50_000, 100_000])),
    workers=WORKERS,
    seed=st.integers(0, 10**6),
    fails=st.sampled_from([0.0, 0.2]),
)
def test_no_window_of_all_processes_is_above_the_limits(limits, workers, seed, fails):
    """Whoever dies, sleeps, uses less, or is not answered by the store."""
    fleet = Fleet(limits, workers, until=140.0, records=Records(random.Random(seed), fails)).run()
    check(fleet.sent, limits)
    assert fleet.sent


@pytest.mark.parametrize(
    ("limits", "tokens", "share"),
    [(RateLimits(rpm=60), 10, 0.93), (RateLimits(rpm=600, tpm=10**9), 10, 0.93), (RateLimits(tpm=100_000), 3_000, 0.93),
     (RateLimits(rpm=30_000, tpm=2_000_000), 71_000, 0.93)],
    ids=str,
)  # fmt: skip
def test_nearly_all_is_used_by_four_processes(limits, tokens, share):
    """And each has its part."""
    workers = [{"tokens": tokens, "seconds": 2.0, "at_once": 10, "used": 1.0} for _ in range(4)]
    fleet = Fleet(limits, workers, until=120.0, records=Records()).run()
    check(fleet.sent, limits)
    by_requests = len(fleet.sent) / (2 * (limits.rpm or 1e9))
    by_tokens = sum(tokens for _, tokens in fleet.sent) / (2 * (limits.tpm or 1e15))
    assert max(by_requests, by_tokens) >= share
    counts = [share._demand.number - 1 for share in fleet.shares]
    assert max(counts) <= 120 * 3, counts  # of leases, a process


@pytest.mark.slow
def test_a_request_of_the_whole_minute_is_not_passed_over_for_ever():
    """Small requests of others do not take every gap."""
    workers = [{"tokens": 1_000, "seconds": 1.0, "at_once": 20, "used": 1.0} for _ in range(3)]
    workers.append({"tokens": 150_000, "seconds": 1.0, "at_once": 1, "used": 0.6})
    fleet = Fleet(RateLimits(tpm=100_000), workers, until=200.0, records=Records()).run()
    check(fleet.sent, RateLimits(tpm=100_000))
    assert sum(tokens == 90_000 for _, tokens in fleet.sent) >= 2


def test_the_same_wish_again_is_one_wish():
    request = RateLeaseRequest(worker="a", number=1, needs=(10,) * 5, limits=RateLimits(rpm=6_000, tpm=1_000))
    record, lease = share_rate(None, 100.0, request)
    assert (lease.requests, lease.tokens) == (5, 50)
    again, same = share_rate(record, 130.0, request)
    assert (same, again["grains"]) == (lease, record["grains"])


def test_a_clock_that_is_set_back_frees_nothing():
    request = RateLeaseRequest(worker="a", number=1, needs=(900,), limits=RateLimits(tpm=1_000))
    record, _ = share_rate(None, 1_000.0, request)
    _, lease = share_rate(
        record, 5.0, RateLeaseRequest(worker="b", number=1, needs=(900,), limits=RateLimits(tpm=1_000))
    )
    assert (lease.requests, lease.wait) == (0, 1.0)


def test_a_refusal_of_the_service_holds_all(monkeypatch):
    records = Records()
    one, two = (SharedRate(records, "m", clock=lambda: 0.0, background=False) for _ in range(2))
    one.hold(10.0)
    one.renew()
    two.take(Turn(1, RateLimits(rpm=60)), [], now=0.0)
    assert two.renew() == 1.0
    assert two.take(Turn(1, RateLimits(rpm=60)), [], now=0.0) > 0
    records.now += 11
    two.renew()
    assert two.take(Turn(1, RateLimits(rpm=60)), [], now=0.0) == 0


def test_a_store_that_fails_is_an_error_of_the_request():
    share = SharedRate(Records(fails=1.0), "m")
    limiter = RateLimiter(allowance=share)
    pace = Pace(limiter, RateLimits(rpm=60), 10)
    with pytest.raises(StoreError):
        list(map(time.sleep, pace.waits()))
    share.close()


def test_requests_of_this_process_go_through_the_share(place):
    """As long as the block lasts; what was not used is given back at its end."""
    settings_ = Settings.load(api_key="sk-1")
    with contextlib.closing(open_work_store(place, USE)) as store:
        with shared_rate_limits(store, settings_, ["m"]) as shares:
            limiter = limiter_of(settings_, "m")
            for _ in range(2):
                pace = Pace(limiter, RateLimits(rpm=6_000, tpm=1_000), 10)
                for seconds in pace.waits():
                    time.sleep(seconds)
                pace.end(7)
            name = shares["m"]._record
        assert limiter.allowance is None
        record = store.exchange(name, lambda value, _: (value, value))
        assert [sum(column) for column in zip(*record["grains"].values(), strict=True)] == [2, 14]
        assert "sk-1" not in json.dumps(record) + name


def test_runs_of_one_process_share_an_allowance(tmp_path):
    """Whichever ends first, the other stays within the limits of all."""
    settings_ = Settings.load(api_key="sk-2")
    limiter = limiter_of(settings_, "m")
    with (
        contextlib.closing(open_work_store(tmp_path / "a.sqlite3", USE)) as store,
        contextlib.closing(open_work_store(tmp_path / "a.sqlite3", USE)) as same,
        contextlib.ExitStack() as first,
    ):
        first.enter_context(shared_rate_limits(store, settings_, ["m"]))
        with shared_rate_limits(same, settings_, ["m", "m"]) as shares:
            assert limiter.allowance is shares["m"]
            first.close()
            assert limiter.allowance is shares["m"]
            assert shares["m"].users == 1
        assert limiter.allowance is None


# --- Money ---


def tokens(count):
    return cost_of(TokenCounts(text=count), "qwen3.8-omni-flash")


class Crowd:
    """Processes with a share of one limit, and the truth about what the service billed."""

    def __init__(self, monkeypatch, limit, *, seed, fails=0.0):
        self.draw = random.Random(seed)
        self.records = Records(self.draw, fails)
        self.limit, self.dead, self.alive, self.frozen = limit, set(), [], []
        self.ended = self.in_flight = 0  # tokens: billed, and reserved by calls that have not ended (of the dead: ever)
        monkeypatch.setattr(spend, "is_gone", lambda owner: owner in self.dead)
        monkeypatch.setattr(spend, "is_here", lambda _: True)

    def join(self):
        """Start a process."""
        share = SharedSpendLimit(self.records, "a", SpendLimit(tokens=self.limit))
        share._ended.set()
        self.alive.append((share, {}))

    def step(self):  # noqa: C901 - one case a deed
        """Do something at random."""
        share, calls = self.draw.choice(self.alive)
        match self.draw.choice(["reserve"] * 6 + ["end"] * 4 + ["kill", "freeze", "thaw", "leave", "beat", "time"]):
            case "reserve":
                self.reserve(share, calls)
            case "end" if calls:
                self.end(calls)
            case "kill" if len(self.alive) > 1:
                self.alive.remove((share, calls))
                self.dead.add(share._owner)
            case "freeze" if len(self.alive) > 1:
                self.alive.remove((share, calls))
                self.frozen.append((share, calls))
                self.records.now += 100
                for other, _ in self.alive:
                    other.beat()
            case "thaw" if self.frozen:
                self.alive.append(self.frozen.pop())
            case "leave" if not calls and len(self.alive) > 1:
                self.alive.remove((share, calls))
                with contextlib.suppress(StoreError):
                    share.finish()
            case "beat":
                share.beat()
            case "time":
                self.records.now += self.draw.choice([1, 30])
                for other, _ in self.alive:
                    other.beat()
        if len(self.alive) < 3:
            self.join()

    def reserve(self, share, calls):
        """Begin a call: what ended and what is reserved fit into the limit, but for calls that cost more."""
        want = self.draw.choice([1, 5, 40, 200])
        try:
            held = share.reserve(tokens(want))
        except (SpendLimitError, StoreError):
            return
        calls[held] = want
        self.in_flight += want
        assert self.ended + self.in_flight <= self.limit + self.over

    def end(self, calls):
        """End a call, at what it cost."""
        held, want = calls.popitem()
        used = self.draw.choice([want, want // 2, 0, round(want * 1.3)])
        held.settle(TokenCounts(text=used))
        self.in_flight -= want
        self.ended += used
        self.over = (
            max(self.over, self.over + used - want) if self.records.fails else self.ended + self.in_flight - self.limit
        )
        self.over = max(self.over, 0)

    over = 0


@pytest.mark.parametrize("fails", [0.0, 0.1])
def test_what_is_spent_stays_within_the_limit(monkeypatch, fails):
    """Whoever dies with calls in flight, sleeps past its lease, or is not answered by the store."""
    for seed in range(6):
        crowd = Crowd(monkeypatch, 3_000, seed=seed, fails=fails)
        crowd.join()
        for _ in range(120):
            crowd.step()
        assert crowd.ended, f"seed {seed}"


def billed(record, unit="tokens"):
    """Return the known cost of finished calls; calls of dead processes count as reserved."""
    known = [record["spent"], *(one["settled"] for one in record["leases"].values()), *record["sealed"].values()]
    return sum(amounts.get(unit, 0) for amounts in known)


def test_nearly_all_of_the_limit_can_be_spent(monkeypatch):
    """Leases get smaller towards the end; what a process that ends has left is free."""
    crowd = Crowd(monkeypatch, 10_000, seed=1)
    for _ in range(10):
        crowd.join()
    done = 0
    for n in itertools.count():
        try:
            crowd.alive[n % 10][0].reserve(tokens(30)).settle(TokenCounts(text=30))
        except SpendLimitError as error:
            assert (error.unit, error.limit, error.estimated) == ("tokens", 10_000, 30)
            assert "that all processes share" in str(error)
            break
        done += 30
    assert done >= 9_500
    for share, _ in crowd.alive:
        share.finish()
    record = crowd.records.record("spend a")
    assert (billed(record), record["leases"], record["sealed"]) == (done, {}, {})


def test_a_dead_process_costs_what_it_had_in_flight(monkeypatch):
    """The rest of its lease is free at once; a call that ends late after all counts as it was billed."""
    crowd = Crowd(monkeypatch, 10_000, seed=1)
    crowd.join()
    crowd.join()
    (one, _), (two, _) = crowd.alive
    one.reserve(tokens(60)).settle(TokenCounts(text=50))
    late = one.reserve(tokens(40))
    crowd.records.now += 100  # suspended past its lease
    two.beat()
    with pytest.raises(SpendLimitError):
        two.reserve(tokens(9_911))
    two.reserve(tokens(9_910)).settle(TokenCounts(text=9_000))
    assert spend_taken(crowd.records.record("spend a"))["tokens"] >= 9_090
    late.settle(TokenCounts(text=10))
    two.beat()
    assert billed(crowd.records.record("spend a")) == 9_060
    assert one.reserve(tokens(5)).is_open  # under a lease of its own again


def test_money_and_limits_of_a_call(monkeypatch):
    """In whole billionths; limits of one call and unknown prices are refused as without a store."""
    crowd = Crowd(monkeypatch, 1, seed=1)
    share = SharedSpendLimit(crowd.records, "b", SpendLimit(cny=0.01, per_call_tokens=1_000))
    cost = tokens(900)
    share.reserve(cost).settle(cost)
    share.beat()
    record = crowd.records.record("spend b")
    assert billed(record, "CNY") / 1e9 == pytest.approx(cost.cny, abs=1e-9)
    assert billed(record) == share.spent.tokens == 900
    with pytest.raises(SpendLimitError, match="the limit for one call is"):
        share.reserve(tokens(1_001))
    with pytest.raises(TypeError, match="open the same store"):
        share.__getstate__()
    share.finish()


# --- Real processes ---

WORKER = """
import os, sys, threading, time
from qwen_omni import SpendLimit
from qwen_omni.archive.quota import SharedRate
from qwen_omni.archive.spend import SharedSpendLimit
from qwen_omni.errors import SpendLimitError
from qwen_omni.pricing.costs import TokenCounts, cost_of
from qwen_omni.profiles.rate_limits import RateLimits
from qwen_omni.transport.rate_limit import Pace, RateLimiter
from qwen_omni.work_store.opening import open_work_store
from qwen_omni.work_store.store import StoreUse
import qwen_omni.archive.quota as quota

place, speed, seconds = sys.argv[1], float(sys.argv[2]), float(sys.argv[3])

# The minute passes faster: the store's clock and that of the process, alike.
store = open_work_store(place, StoreUse(name="store", way_out=""))
slow = store.exchange
store.exchange = lambda name, decide: slow(name, lambda value, now: decide(value, now * speed))
real = time.monotonic
clock = lambda: real() * speed
share = SharedRate(store, "m", clock=clock, background=False)
limiter = RateLimiter(gradual=False, allowance=share)
limits = RateLimits(rpm=120, tpm=60_000)
money = SharedSpendLimit(store, "m", SpendLimit(tokens=400_000))
stop = real() + seconds
wait = 0.0

def renewing():
    while real() < stop + 5:
        share._wake.wait(0.5)
        share._wake.clear()
        time.sleep(share.renew() / speed)

threading.Thread(target=renewing, daemon=True).start()
print("ready", flush=True)
from qwen_omni.transport.rate_limit import Turn
while real() < stop:
    try:
        held = money.reserve(cost_of(TokenCounts(text=700), "qwen3.8-omni-flash"))
    except SpendLimitError:
        break
    turn = Turn(700, limits)
    while (wait := limiter.ask(turn, now=clock())) and real() < stop:
        time.sleep(min(wait / speed, 0.05))
    if wait:
        limiter.leave(turn)
        held.release()
        break
    os.write(1, f"sent {time.time() * speed:.4f} 600\\n".encode())
    time.sleep(2 / speed)
    limiter.settle(turn, 600)
    held.settle(TokenCounts(text=600))
money.finish()
share.close()
os.write(1, b"end\\n")
os._exit(0)
"""


@pytest.mark.slow
def test_four_processes_one_of_them_killed(place):
    """On a clock that runs ten times as fast: no window above the limits, and what the dead one held counts."""
    speed, seconds = 10, 6.5
    run = [sys.executable, "-c", WORKER, str(place), str(speed), str(seconds)]
    with contextlib.ExitStack() as stack:
        workers = [
            stack.enter_context(subprocess.Popen(run, stdout=subprocess.PIPE, text=True, cwd=ROOT)) for _ in range(4)
        ]
        assert [one.stdout.readline() for one in workers] == ["ready\n"] * 4
        time.sleep(2)
        workers[0].send_signal(signal.SIGKILL)
        outputs = [one.communicate(timeout=60)[0] for one in workers]
    sent = sorted(
        (float(at), int(count))
        for text in outputs
        for word, at, count in [
            line.split() for line in text.splitlines() if line.startswith("sent") and line.count(" ") == 2
        ]
    )
    assert outputs[0].endswith("end\n") is False
    assert all(text.endswith("end\n") for text in outputs[1:])
    late = 0.3 * speed  # a delay of the machine between a turn and its line counts ten times here
    assert most_in(sent, 60 - late, lambda _: 1) <= 120
    assert most_in(sent, 60 - late, lambda one: one[1]) <= 60_000
    assert all("\nsent" in text for text in outputs[1:])  # how much: test_nearly_all_is_used_by_four_processes
    with contextlib.closing(open_work_store(place, USE)) as store:
        record = store.exchange("spend m", lambda value, _: (value, value))
    billed = sum(count for _, count in sent)
    assert billed <= spend_taken(record)["tokens"] <= 400_000
    assert {one["owner"].split()[3] for one in record["leases"].values()} <= {str(workers[0].pid)}
