"""Workers and drivers of an archive, stopped and killed: nothing stored is paid for again, no input is without a row.

The stand-in is a process of its own and counts what it bills. Whoever is killed is stopped first, so that the store
shows which calls it has in flight at that moment; only those may be billed once more.
"""

import collections
import os
import random
import signal
import time

import pytest

from qwen_omni import Settings
from qwen_omni.archive import Caption, iter_rows, retry, run
from tests.support.killing import (
    NUMBERED,
    SCHEMA,
    CountingStandin,
    Forks,
    Workers,
    claims_of,
    make_images,
    rows_in,
)
from tests.support.postgres import own_server
from tests.support.processes import lives
from tests.support.waiting import until

__all__ = ["own_server"]

pytestmark = pytest.mark.slow

IN_FLIGHT = 4
STORED = "SELECT step FROM results WHERE run LIKE 'archive caption %'"


@pytest.fixture(scope="module")
def service():
    with CountingStandin() as standin:
        yield standin


@pytest.fixture(scope="module")
def forks(service):
    forks = Forks(service)
    yield forks
    forks.close()


@pytest.fixture
def standin(service):
    service.behave(anew=True)
    return service


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "images"


def settings_of(standin):
    return Settings.load(api_key=standin.api_key, base_url=standin.base_url, retry_wait=0.0, media_root="/")


def stored(place):
    """Return the number of answers in the store."""
    return len(rows_in(place, STORED))


def check(standin, folder, place, count, flying):
    """Every input has one row, only what was in flight was billed again, and another run bills nothing."""
    billed = standin.billed()
    rows = list(run(f"{folder}/*.jpg", Caption(SCHEMA), store=place, settings=settings_of(standin)))
    assert len({row.uri for row in rows}) == len(rows) == count
    assert collections.Counter(row.status for row in rows) == {"ok": count}
    assert len(list(iter_rows(place))) == count
    assert standin.billed() == billed
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


def struggle(standin, forks, folder, place, *, moments, count):
    seed = random.randrange(10**6)
    make_images(folder, count)
    with Workers(forks, folder, place, in_flight=IN_FLIGHT) as workers:
        for _ in range(2):
            workers.add()
        killed = kill_at_random(workers, random.Random(seed), moments, (0.1, 0.5))
        workers.wait()
        print("seed", seed)  # noqa: T201 - shown if the test fails
        lost = [row["uri"] for row in workers.rows(workers.pids[-1]) if row["error_code"] == "worker_lost"]
        assert len(lost) <= killed // 5  # an input that five processes were killed with, three of them on it alone
        again = list(retry(Caption(SCHEMA), store=place, permanent=True, settings=settings_of(standin)))
        assert sorted(row.uri for row in again) == sorted(lost)
        check(standin, folder, place, count, min(workers.flying.total(), killed * IN_FLIGHT))


def test_workers_are_killed_at_random(standin, forks, folder, place):
    """Of two processes, one after the other is killed: billed - distinct <= in flight at those moments."""
    struggle(standin, forks, folder, place, moments=4, count=80)


@pytest.mark.long
@pytest.mark.timeout(300)
def test_workers_are_killed_at_twenty_moments(standin, forks, folder, place):
    struggle(standin, forks, folder, place, moments=20, count=400)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_a_killed_run_is_resumed_by_running_it_again(standin, forks, folder, tmp_path, share):
    """Whatever was stored when the only process was killed is not billed again."""
    place, count = tmp_path / "archive.db", 40
    make_images(folder, count)
    with Workers(forks, folder, place, in_flight=IN_FLIGHT) as workers:
        pid = workers.add()
        while stored(place) < share * count:
            time.sleep(0.01)
        assert workers.kill(pid)
        before = stored(place)
        assert share * count <= before < count
        workers.wait(workers.add())
        assert len(workers.rows(workers.pids[-1])) == count
        check(standin, folder, place, count, min(IN_FLIGHT, workers.flying.total()))


def test_two_jobs_at_once_pay_once(standin, forks, folder, place):
    """Two processes begin the same archive together, and a third asks something else about the same files."""
    count = 24
    make_images(folder, count)
    with Workers(forks, folder, place) as workers:
        same = [workers.add(), workers.add()]
        other = workers.add(schema=NUMBERED)
        workers.wait()
        for pid in same:
            rows = workers.rows(pid)
            assert sorted(row["uri"] for row in rows) == sorted({row["uri"] for row in rows})
            assert collections.Counter(row["status"] for row in rows) == {"ok": count}
        assert sum(not row["reused"] for pid in same for row in workers.rows(pid)) >= count
        assert [row["status"] for row in workers.rows(other)] == ["ok"] * count
        first, second = ({row["uri"]: row["value"] for row in workers.rows(pid)} for pid in same)
        assert first == second
    assert sorted(standin.billed().values()) == [1] * 2 * count


def test_a_late_answer_does_not_replace_the_first(standin, forks, folder, place):
    """A process that is stopped longer than its lease loses its claim; what it hears afterwards is not stored."""
    make_images(folder, 1)
    standin.behave(seconds=1.0, numbered=5)
    with Workers(forks, folder, place, schema=NUMBERED, lease=1.0) as workers:
        stopped = workers.add()
        until(standin.billed)
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


@pytest.mark.parametrize(("dies", "answers"), [("before", 0), ("after", 1)])
def test_a_crash_around_storing_an_answer(standin, forks, folder, tmp_path, dies, answers):
    """Before the answer is stored it costs that answer; afterwards nothing."""
    place, count = tmp_path / "archive.db", 8
    make_images(folder, count)
    with Workers(forks, folder, place, in_flight=1) as workers:
        workers.wait(workers.add(dies=dies))
        assert stored(place) == answers
        flying = standin.billed().total() - answers
        assert 1 - answers <= flying <= 2 - answers  # the next call may have been sent already
        workers.wait(workers.add())
    assert standin.billed().total() == count + flying
    check(standin, folder, place, count, flying)


def test_a_file_that_ends_its_process_is_a_row(standin, forks, folder, place):
    """After five processes, the last three of which worked on it alone; all others have their answer."""
    count = 20
    make_images(folder, count)
    standin.behave(seconds=0.05)
    with Workers(forks, folder, place, dies="000013.jpg", in_flight=IN_FLIGHT) as workers:
        for _ in range(6):
            workers.wait(workers.add())
        rows = {row["uri"]: row for row in workers.rows(workers.pids[-1])}
        assert [len(workers.rows(pid)) == count for pid in workers.pids] == [*[False] * 5, True]
        poison = rows.pop(f"{folder}/000013.jpg")
        assert (poison["status"], poison["error_code"], poison["retryable"]) == ("failed", "worker_lost", False)
        assert collections.Counter(row["status"] for row in rows.values()) == {"ok": count - 1}
        workers.wait(workers.add())
        assert len(workers.rows(workers.pids[-1])) == count
    (row,) = retry(Caption(SCHEMA), store=place, permanent=True, settings=settings_of(standin))
    assert row.status == "ok"
    assert standin.billed().total() - count <= 2 * IN_FLIGHT


def test_the_server_is_killed_and_restarted_in_the_middle(standin, forks, folder, own_server):
    """What was answered meanwhile is stored when the server is back, and not billed again."""
    place, count = own_server.new_database("archive"), 60
    make_images(folder, count)
    standin.behave(seconds=0.2)
    with Workers(forks, folder, place, lease=5.0) as workers:
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


def test_a_limit_on_tokens_holds_although_workers_are_killed(standin, forks, folder, place):
    """All processes together spend no more than the limit; the dead one's calls count as reserved. More resumes."""
    count = 40
    (first, *_) = make_images(folder, count)
    (row,) = run([str(first)], Caption(SCHEMA), store=place, settings=settings_of(standin))
    each = row.input_tokens + row.output_tokens
    limit = 5_000  # a call takes 120, and reserves 609
    with Workers(forks, folder, place, tokens=limit) as workers:
        one, two = workers.add(), workers.add()
        while stored(place) < 4:
            time.sleep(0.01)
        assert workers.kill(one)
        workers.wait(two)
        rows = workers.rows(two)
        assert set(collections.Counter(row["status"] for row in rows)) == {"ok", "over_budget"}
        assert len({row["uri"] for row in rows}) == len(rows) == count
        assert standin.billed().total() * each <= limit + each
        workers.wait(workers.add(tokens=100 * limit))
        assert collections.Counter(row["status"] for row in workers.rows(workers.pids[-1])) == {"ok": count}
    check(standin, folder, place, count, workers.flying.total())


@pytest.mark.long
@pytest.mark.timeout(300)
def test_no_minute_of_four_workers_is_above_the_limit(standin, forks, folder, place):
    """Two of them are killed on the way."""
    count, rpm = 420, 240
    make_images(folder, count)
    standin.behave(seconds=0.05)
    with Workers(forks, folder, place, rpm=rpm, in_flight=8) as workers:
        for _ in range(4):
            workers.add()
        for pid in workers.pids[:2]:
            time.sleep(5)
            assert workers.kill(pid)
        workers.wait(seconds=240)
        times = standin.times()
        most = max(sum(begin <= one < begin + 60 for one in times) for begin in times)
        assert 0.8 * rpm <= most <= rpm
        check(standin, folder, place, count, workers.flying.total())
