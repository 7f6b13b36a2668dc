"""Workers and drivers of an archive, stopped and killed: nothing stored is paid for again, no input is without a row.

The stand-in is a process of its own and counts what it bills. Whoever is killed is stopped first, so that the store
shows which calls it has in flight at that moment; only those may be billed once more.
"""

import collections
import contextlib
import os
import random
import signal
import time

import pytest

from qwen_omni import Settings
from qwen_omni.archive import Caption, iter_rows, run
from tests.support.killing import NUMBERED, SCHEMA, CountingStandin, Workers, claims_of, lives, make_images, rows_in
from tests.support.postgres import own_server

__all__ = ["own_server"]

pytestmark = pytest.mark.slow

IN_FLIGHT = 4


@pytest.fixture
def standin():
    with CountingStandin() as standin:
        yield standin


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "images"


def settings_of(standin):
    return Settings.load(api_key=standin.api_key, base_url=standin.base_url, retry_wait=0.0, media_root="/")


def stored(place):
    """Return the number of answers in the store, by the rows of its steps that succeeded."""
    return len(rows_in(place, "SELECT step FROM results WHERE run LIKE 'archive%' AND value LIKE '%colour%'"))


def check(standin, folder, place, count, flying):
    """Every input has one row, and only what was in flight was billed again."""
    rows = list(run(folder, Caption(SCHEMA), store=place, settings=settings_of(standin)))
    assert len({row.uri for row in rows}) == len(rows) == count
    assert collections.Counter(row.status for row in rows) == {"ok": count}
    assert all(row.reused for row in rows)
    assert len(list(iter_rows(place))) == count
    billed = standin.billed()
    assert len(billed) == count
    assert billed.total() - count <= flying
    assert rows_in(place, "SELECT COUNT(*) FROM claims") == [(0,)]


def kill_at_random(workers, draw, moments, pause):
    """Kill a worker at each of some moments and start another; return how many were killed."""
    killed = 0
    while killed < moments:
        time.sleep(draw.uniform(*pause))
        running = [pid for pid in workers.pids if lives(pid)]
        assert running, f"too little work for {moments} moments"
        killed += workers.kill(draw.choice(running))
        workers.add()
    return killed


def struggle(standin, folder, place, *, moments, count):
    seed = random.randrange(10**6)
    make_images(folder, count)
    with Workers(standin, folder, place, in_flight=IN_FLIGHT) as workers:
        for _ in range(2):
            workers.add()
        killed = kill_at_random(workers, random.Random(seed), moments, (0.1, 0.5))
        workers.wait()
        print("seed", seed)  # noqa: T201 - shown if the test fails
        assert workers.flying.total() <= killed * IN_FLIGHT
        check(standin, folder, place, count, workers.flying.total())


def test_workers_are_killed_at_random(standin, folder, place):
    """Of two processes, one after the other is killed: billed - distinct <= in flight at those moments."""
    struggle(standin, folder, place, moments=4, count=80)


@pytest.mark.long
@pytest.mark.timeout(300)
def test_workers_are_killed_at_twenty_moments(standin, folder, place):
    struggle(standin, folder, place, moments=20, count=400)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_a_killed_run_is_resumed_by_running_it_again(standin, folder, tmp_path, share):
    """Whatever was stored when the only process was killed is not billed again."""
    place, count = tmp_path / "archive.db", 40
    make_images(folder, count)
    with Workers(standin, folder, place, in_flight=IN_FLIGHT) as workers:
        pid = workers.add()
        while stored(place) < share * count:
            time.sleep(0.01)
        assert workers.kill(pid)
        before = stored(place)
        assert share * count <= before < count
        workers.wait(workers.add())
        rows = workers.rows(workers.pids[-1])
        assert sum(row["reused"] for row in rows) >= before
        check(standin, folder, place, count, min(IN_FLIGHT, workers.flying.total()))


def test_two_jobs_at_once_pay_once(standin, folder, place):
    """Two processes begin the same archive together, and a third asks something else about the same files."""
    count = 24
    make_images(folder, count)
    with Workers(standin, folder, place) as workers:
        same = [workers.add(), workers.add()]
        other = workers.add(schema=NUMBERED)
        workers.wait()
        for pid in same:
            rows = workers.rows(pid)
            assert sorted(row["uri"] for row in rows) == sorted({row["uri"] for row in rows})
            assert collections.Counter(row["status"] for row in rows) == {"ok": count}
        assert sum(not row["reused"] for pid in same for row in workers.rows(pid)) == count
        assert [row["status"] for row in workers.rows(other)] == ["ok"] * count
        first, second = ({row["uri"]: row["value"] for row in workers.rows(pid)} for pid in same)
        assert first == second
    assert sorted(standin.billed().values()) == [1] * 2 * count


def test_a_late_answer_does_not_replace_the_first(standin, folder, place):
    """A process that is stopped longer than its lease loses its claim; what it hears afterwards is not stored."""
    make_images(folder, 1)
    standin.behave(seconds=1.0, numbered=5)
    with Workers(standin, folder, place, schema=NUMBERED, lease=1.0) as workers:
        stopped = workers.add()
        until = time.monotonic() + 20
        while not standin.billed():
            assert time.monotonic() < until
            time.sleep(0.01)
        os.kill(stopped, signal.SIGSTOP)
        assert claims_of(place, stopped)
        other = workers.add()
        workers.wait(other)
        (row,) = workers.rows(other)
        assert (row["status"], row["value"]) == ("ok", {"n": 1})
        os.kill(stopped, signal.SIGCONT)
        workers.wait(stopped)
        (late,) = workers.rows(stopped)
        assert late["value"] == {"n": 1}
        assert late["status"] == "ok"
    (row,) = iter_rows(place)
    assert row.value == {"n": 1}
    assert standin.billed().total() == 2


@pytest.mark.parametrize("dies", ["before an answer is stored", "before several answers are stored"])
def test_a_crash_between_answer_and_store_costs_that_answer(standin, folder, tmp_path, dies):
    place, count = tmp_path / "archive.db", 12
    make_images(folder, count)
    with Workers(standin, folder, place, in_flight=1) as workers:
        workers.wait(workers.add(dies=dies))
        before = stored(place)
        workers.wait(workers.add())
        assert before < count
    check(standin, folder, place, count, flying=1)


def test_the_server_is_killed_and_restarted_in_the_middle(standin, folder, own_server):
    """What was answered meanwhile is stored when the server is back, and not billed again."""
    place, count = own_server.new_database("archive"), 60
    make_images(folder, count)
    standin.behave(seconds=0.2)
    with Workers(standin, folder, place, lease=5.0) as workers:
        pid = workers.add()
        while stored(place) < count / 4:
            time.sleep(0.02)
        own_server.kill()
        time.sleep(1.0)
        own_server.start()
        workers.wait(pid)
        rows = workers.rows(pid)
        assert collections.Counter(row["status"] for row in rows) == {"ok": count}
    check(standin, folder, place, count, flying=0)


def test_a_storm_of_refusals_is_waited_out(standin, folder, tmp_path):
    """Sixty answers in a row are 429: every file gets its answer, and is billed once."""
    place, count = tmp_path / "archive.db", 20
    make_images(folder, count)
    standin.behave(seconds=0.0, storm=60)
    with contextlib.closing(run(folder, Caption(SCHEMA), store=place, settings=settings_of(standin))) as rows:
        assert collections.Counter(row.status for row in rows) == {"ok": count}
    assert sorted(standin.billed().values()) == [1] * count
