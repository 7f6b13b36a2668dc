"""What every store promises, run over a file and over PostgreSQL."""

import contextlib
import gc
import os
import signal
import subprocess
import sys
import threading
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from qwen_omni.work_store.opening import open_work_store
from qwen_omni.work_store.store import Claim, Found, Spent, Taken, file_version
from tests.support.processes import start
from tests.support.waiting import until
from tests.work_store.conftest import KEY, USE, key

ROOT = Path(__file__).parents[2]


def other_process(place, code, *, lease=600.0):
    """Start a process that opens the store and runs `code` with it."""
    text = f"""
import sys, time, os, signal
from qwen_omni.work_store.opening import open_work_store
from qwen_omni.work_store.store import Spent, StepKey, StoreUse
store = open_work_store({str(place)!r}, StoreUse(name="store", way_out=""), lease_seconds={lease})
key = StepKey("run", "step", "dashscope")
{code}
"""
    return start(text)


def until_free(store, seconds=20.0):
    """Claim the step as soon as that is possible."""
    return until(lambda: None if isinstance(state := store.claim(KEY), Taken) else state, seconds)


# --- Answers and origins ---


def test_the_first_answer_counts_for_all(stores):
    one, two = stores(), stores()
    assert one.finish(KEY, {"a": 1}) == {"a": 1}
    assert two.finish(KEY, {"a": 2}) == {"a": 1}
    assert two.find(KEY) == Found({"a": 1}, "dashscope")
    assert (one.trouble, one.unkept("dashscope"), one.notices()) == ("", 0, [])


@pytest.mark.parametrize("value", [0, "", [], {"x": "\0 \ud800 中文 🎬", "n": [1.5, None, True]}, "x" * 300_000])
def test_any_value_comes_back(stores, value):
    stores().finish(KEY, value)
    assert stores().find(KEY).value == value


def test_an_answer_is_of_its_origin_alone(stores):
    """What one answered is never found for another."""
    store = stores()
    store.finish(key("s", "standin"), "its")
    assert store.find(key("s", "dashscope")) is None
    assert store.find(key("s", "http://127.0.0.1:8000")) is None
    assert store.find(key("s", "standin")).value == "its"
    assert isinstance(store.claim(key("s", "dashscope")), Claim)


def test_an_answer_without_an_origin_is_found_on_request(stores):
    store = stores()
    store.finish(key("old", ""), "unknown")
    store.finish(key("both", ""), "unknown")
    store.finish(key("both"), "known")
    assert store.find(key("old")) is None
    assert store.find(key("old"), unverified=True) == Found("unknown", "")
    assert store.find(key("both"), unverified=True).value == "known"
    assert store.unverified("run") == 1
    store.take_over("run", {"old": "other", "new": 3}, mark="lines 1")
    store.take_over("run", {"newer": 4}, mark="lines 1")
    assert store.steps("run", "") == {"old": "unknown", "both": "unknown", "new": 3}


def test_many_at_once(stores):
    one, two = stores(), stores()
    one.finish(key("7"), "first")
    two.finish_all({key(str(n)): n for n in range(50)})
    assert one.steps("run", "dashscope") == {**{str(n): n for n in range(50)}, "7": "first"}
    two.discard(key("7"), "other")
    assert one.find(key("7")).value == "first"
    two.discard(key("7"), "first", damaged=True)
    assert one.find(key("7")) is None
    assert "1." in two.notices()[0]


def test_expired_entries_are_replaced(stores):
    store = stores()
    store.finish(KEY, "old", expires_at=time.time() + 0.3)
    assert stores().find(KEY).value == "old"
    time.sleep(0.35)
    assert store.find(KEY) is None
    assert store.finish(KEY, "new", expires_at=4e9) == "new"
    assert stores().find(KEY).value == "new"


def test_usage_counts_once(stores):
    one, two = stores(), stores()
    for _ in range(2):
        one.spend("run", "dashscope", Spent("a", {"n": 1}))
        two.spend("run", "dashscope", Spent("a", {"n": 1}))
    two.spend("run", "standin", Spent("b", {"n": 2}))
    assert one.spent("run", "dashscope") == [{"n": 1}]
    assert one.spent("run", "dashscope", "standin") == [{"n": 1}, {"n": 2}]


# --- Claims ---


def test_a_claim_is_one_owners(stores):
    one, two = stores(), stores()
    assert isinstance(one.claim(KEY), Claim)
    assert isinstance(one.peek(KEY), Taken)
    assert two.claim(KEY) == Taken("another run in this process")
    one.release(KEY)
    assert isinstance(two.claim(KEY), Claim)
    two.finish(KEY, "done")
    assert one.claim(KEY).value == "done"


def test_threads_exclude_each_other(stores):
    one, two = stores(), stores()
    with ThreadPoolExecutor(16) as pool:
        got = list(pool.map(lambda n: (one, two)[n % 2].claim(KEY), range(16)))
    assert sum(isinstance(one, Claim) for one in got) == 1


def test_a_claim_of_a_closed_store_is_free(stores):
    one, two = stores(), stores()
    one.claim(KEY)
    one.close()
    claim = two.claim(KEY)
    assert isinstance(claim, Claim)
    assert not claim.lost


def test_a_claim_of_a_store_that_was_forgotten_is_free(place, stores):
    """A generator that is dropped, never closed: its claims end with it, and no connection is left open."""
    stores()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        open_work_store(place, USE).claim(KEY)
        gc.collect()
        assert isinstance(stores().claim(KEY), Claim)


@pytest.mark.parametrize("how", ["kill", "exit"])
def test_a_claim_of_a_process_that_is_gone_is_free_at_once(place, stores, how):
    code = "print(bool(store.claim(key)), flush=True)\nsys.stdin.readline()\nos._exit(0)"
    with other_process(place, code) as owner:
        assert owner.stdout.readline() == "True\n"
        store = stores()
        assert store.claim(KEY) == Taken(f"process {owner.pid}")
        if how == "kill":
            owner.kill()  # not waited for: a zombie is gone, too
        else:
            owner.communicate("\n")
        assert until_free(store).lost
        store.release(KEY)
        assert not stores().claim(KEY).lost


@pytest.mark.slow
def test_a_stopped_process_loses_its_claim_and_its_late_answer_does_not_count(place, stores):
    """Suspended past its lease, the step is taken over; when it goes on, its answer is spent and not stored."""
    code = (
        "print(bool(store.claim(key)), flush=True)\nsys.stdin.readline()\n"
        "store.spend('run', 'dashscope', Spent('late', {'n': 1}))\n"
        "print(store.finish(key, 'late'), flush=True)\nstore.close()"
    )
    with other_process(place, code, lease=1.0) as owner:
        assert owner.stdout.readline() == "True\n"
        store = stores()
        assert isinstance(store.claim(KEY), Taken)
        time.sleep(1.6)
        assert isinstance(store.claim(KEY), Taken)  # alive: its lease is renewed
        suspend(owner, place)
        until_free(store)
        store.spend("run", "dashscope", Spent("first", {"n": 0}))
        assert store.finish(KEY, "first") == "first"
        os.kill(owner.pid, signal.SIGCONT)
        out, _ = owner.communicate("\n", timeout=30)
        assert out == "first\n"
        assert store.find(KEY).value == "first"
        assert store.spent("run", "dashscope") == [{"n": 0}, {"n": 1}]


def suspend(owner, place):
    """Stop a process at a moment when it holds no lock of the store, as a beat that is being written does."""
    for _ in range(100):
        os.kill(owner.pid, signal.SIGSTOP)
        with contextlib.closing(open_work_store(place, USE, lease_seconds=0.4)) as probe:
            probe.finish(key(f"probe {time.monotonic()}"), 1)
            if not probe.trouble:
                return
        os.kill(owner.pid, signal.SIGCONT)
        time.sleep(0.05)
    raise AssertionError("the store is locked whenever the process is stopped")


def test_work_that_stands_still_in_a_living_process_loses_its_claim(stores):
    """An event loop that was stopped holds nothing for longer than a lease."""
    one, two = stores(lease_seconds=0.4), stores()
    moves = [True]
    one.claim(KEY, alive=lambda: moves[0])
    time.sleep(0.8)
    assert isinstance(two.claim(KEY), Taken)
    moves[0] = False
    until_free(two)
    one.release(KEY)
    assert isinstance(one.claim(KEY), Taken)


def test_what_was_noted_is_handed_on(stores):
    one, two = stores(), stores()
    claim = one.claim(KEY)
    one.note(claim, {"part": 3})
    one.release(KEY)
    resumed = two.claim(KEY)
    assert resumed.resume == {"part": 3}
    assert not resumed.lost
    one.note(claim, {"part": 4})  # a late one, of an owner that has lost its claim
    two.release(KEY)
    assert one.claim(KEY).resume == {"part": 3}


# --- Digests and records ---


def test_digests_are_of_one_version(tmp_path, stores):
    """A file that was written, replaced or set back to an older time has another version."""
    file, store = tmp_path / "a", stores()
    file.write_text("one")
    first = file_version(file.stat())
    store.remember_digests({("a", first): "d1", ("b", '"etag"'): "d2"})
    assert stores().known_digests([("a", first), ("b", '"etag"'), ("b", "other"), ("c", first)]) == {
        ("a", first): "d1", ("b", '"etag"'): "d2",
    }  # fmt: skip
    before = file.stat()
    time.sleep(0.02)
    file.write_text("two")
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert file.stat().st_mtime_ns == before.st_mtime_ns
    assert store.known_digests([("a", file_version(file.stat()))]) == {}
    store.remember_digests({("a", first): "d3"})
    assert store.known_digests([("a", first)]) == {("a", first): "d3"}


def test_many_digests(stores):
    one = {(f"oss://bucket/{n}.mp4", "x"): f"{n}" for n in range(2_500)}
    stores().remember_digests(one)
    assert stores().known_digests([*one, ("other", "x")]) == one


def test_of_no_names_nothing_is_read(stores, monkeypatch):
    """A server that cannot be reached need not be asked about them."""
    store = stores()
    monkeypatch.setattr(store.database, "read", lambda _: pytest.fail("it was read"))
    assert store.known_digests([]) == store.find_many("run", "dashscope", []) == {}
    assert store.inputs_named("run", "dashscope", []) == {}


def test_a_record_is_changed_by_one_at_a_time(stores):
    one, two, start = stores(), stores(), threading.Barrier(8)

    def add(n):
        start.wait()
        for _ in range(5):
            (one, two)[n % 2].exchange("count", lambda value, now: ({"n": (value or {"n": 0})["n"] + 1}, now))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(add, range(8)))
    value, now = one.exchange("count", lambda value, now: (None, (value, now)))
    assert value == {"n": 40}
    assert abs(now - time.time()) < 60
    assert two.exchange("count", lambda value, _: (value, value)) is None


def test_a_decision_that_fails_changes_nothing(stores):
    store = stores()
    store.exchange("a", lambda *_: (1, None))
    with pytest.raises(ZeroDivisionError):
        store.exchange("a", lambda *_: (2, 1 / 0))
    assert stores().exchange("a", lambda value, _: (value, value)) == 1


# --- Opened by many ---


@pytest.mark.parametrize("attempt", range(3))
def test_sixteen_openings_at_once_make_the_tables_once(place, attempt):
    """A file is switched to WAL by whoever comes first; no one is turned away, and none has a trouble."""

    def use(n):
        with contextlib.closing(open_work_store(place, USE)) as store:
            return store.finish(key(str(n)), n), store.trouble

    with ThreadPoolExecutor(16) as pool:
        assert list(pool.map(use, range(16))) == [(n, "") for n in range(16)]
    with contextlib.closing(open_work_store(place, USE)) as store:
        assert len(store.steps("run", "dashscope")) == 16


# --- Forks ---

# In a process of its own: only there is every thread at the fork known.
FORKING = """
import faulthandler, os, sys, threading, warnings
from qwen_omni.work_store.opening import open_work_store
from qwen_omni.work_store.store import StepKey, StoreUse, Taken
warnings.simplefilter("ignore", DeprecationWarning)
place = sys.argv[1]
use = StoreUse(name="store", way_out="")
store = open_work_store(place, use)

def key(name):
    return StepKey("run", name, "dashscope")

def forked(work):
    pid = os.fork()
    if pid == 0:
        faulthandler.dump_traceback_later(50, exit=True)
        os._exit(work())
    return pid

def ended(pid):
    assert os.waitpid(pid, 0)[1] == 0
"""
SHARING = f"""
{FORKING}
store.finish(key("before"), 1)
store.claim(key("step"))

def child():
    sound = store.find(key("before")).value == 1 and isinstance(store.claim(key("step")), Taken)
    store.finish(key("child"), 2)
    store.close()
    return not sound

pid = forked(child)
store.finish(key("parent"), 3)
ended(pid)
assert store.find(key("child")).value == 2
assert isinstance(open_work_store(place, use).claim(key("step")), Taken)
assert store.trouble == ""
"""
WRITING = f"""
{FORKING}
stop = threading.Event()

def write(name):
    count = 0
    while not stop.is_set():
        store.finish(key(f"{{name}}:{{count}}"), count)
        count += 1

def child(n):
    store.finish(key(f"child:{{n}}"), n)
    for _ in range(20):  # three threads that write without a pause leave few gaps
        store.write_rest()
    return store.unkept("dashscope")

threads = [threading.Thread(target=write, args=(n,)) for n in range(3)]
for thread in threads:
    thread.start()
try:
    for n in range(10):
        ended(forked(lambda n=n: child(n)))
finally:
    stop.set()
for thread in threads:
    thread.join()
assert all(store.find(key(f"child:{{n}}")).value == n for n in range(10))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
@pytest.mark.parametrize("code", [SHARING, WRITING], ids=["the parent's claims stay its own", "amid writes"])
def test_a_fork_shares_no_connection(place, code):
    """Parent and child go on, each with connections of its own, also while other threads of the parent write."""
    run = [sys.executable, "-c", code, str(place)]
    done = subprocess.run(run, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
