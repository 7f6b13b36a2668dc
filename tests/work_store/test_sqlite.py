"""The store itself: the first answer counts, claims end with their owners, nothing waits long, forks share nothing."""

import asyncio
import os
import sqlite3
import stat
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from qwen_omni.addresses import origin_of
from qwen_omni.errors import LocalResourceError
from qwen_omni.work_store import sqlite
from qwen_omni.work_store.sqlite import SqliteStore
from qwen_omni.work_store.store import (
    Claim,
    Found,
    LoopPulse,
    StoreUse,
    describe,
    is_gone,
    new_owner,
)
from tests.support.waiting import until
from tests.work_store.conftest import KEY, key

ROOT = Path(__file__).parents[2]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "made" / "a.sqlite3"


@pytest.fixture
def place(path):
    return path


# --- Answers and origins ---


@pytest.mark.parametrize(
    ("url", "secret", "origin"),
    [
        ("https://dashscope.aliyuncs.com/compatible-mode/v1", "sk-1", "dashscope"),
        ("https://dashscope-us.aliyuncs.com/compatible-mode/v1", "sk-1", "dashscope"),
        ("https://cn-hongkong.dashscope.aliyuncs.com/compatible-mode/v1", "sk-1", "dashscope"),
        ("https://batch.dashscope.aliyuncs.com/compatible-mode/v1", "sk-1", "dashscope"),
        ("https://ws1.cn-beijing.maas.aliyuncs.com/compatible-mode/v1", "sk-1", "dashscope"),
        ("https://trial.ap-southeast-1.maas.aliyuncs.com/compatible-mode/v1", "sk-1", "dashscope"),
        ("https://MAAS.qwencloudapi.com./compatible-mode/v1", "sk-1", "dashscope"),
        ("http://127.0.0.1:1234/compatible-mode/v1", "sk-standin", "standin"),
        ("http://127.0.0.1:99/compatible-mode/v1", "sk-standin-2", "standin"),
        ("https://dashscope.aliyuncs.com/compatible-mode/v1", " sk-standin", "standin"),
        ("http://127.0.0.1:1234/compatible-mode/v1", "sk-1", "http://127.0.0.1:1234"),
        ("http://127.0.0.1:1235/v1/", "sk-1", "http://127.0.0.1:1235"),
        ("http://[::1]:8000/v1", "EMPTY", "http://[::1]:8000"),
        ("https://GW.example.com/v1", "sk-1", "https://gw.example.com:443"),
        ("https://gw.example.com:443", "sk-1", "https://gw.example.com:443"),
        ("https://user:secret@gw.example.com/v1", "sk-1", "https://gw.example.com:443"),
        ("https://dashscope.aliyuncs.com.evil.example/v1", "sk-1", "https://dashscope.aliyuncs.com.evil.example:443"),
        ("https://mydashscope.aliyuncs.com/v1", "sk-1", "https://mydashscope.aliyuncs.com:443"),
        ("https://1.cn-hangzhou.pai-eas.aliyuncs.com/v1", "sk-1", "https://1.cn-hangzhou.pai-eas.aliyuncs.com:443"),
    ],
)
def test_who_answers(url, secret, origin):
    """All hosts of the vendor are one, the stand-in is one, and every other server is its own."""
    assert origin_of(url, secret) == origin


def test_paths_of_a_gateway_are_apart_and_cannot_be_read():
    teams = {origin_of(f"https://gw.example.com/{team}/v1?token=t0p", "sk-1") for team in ("red", "blue")}
    assert len(teams) == 2
    assert not [one for one in teams if "red" in one or "blue" in one or "t0p" in one]


# --- Claims ---


def test_a_pulse_stops_with_its_loop(monkeypatch):
    async def begin():
        return LoopPulse()

    loop = asyncio.new_event_loop()
    pulse = loop.run_until_complete(begin())
    assert pulse()
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now + 6)
    assert not pulse()
    loop.close()


def test_owners_tell_whether_they_are_gone():
    mine = new_owner()
    assert is_gone(mine) is False
    parts = mine.split(" ")
    for gone in (["999999999"], [str(2**70)]):
        assert is_gone(" ".join([*parts[:3], *gone, *parts[4:]])) is True
    assert is_gone(" ".join([*parts[:4], "1", parts[5]])) is True  # the number was given to another process
    for unknown in ("elsewhere b n 1 2 u", "", "x", " ".join([*parts[:3], "many", *parts[4:]])):
        assert is_gone(unknown) is None
    assert describe("") == "another process"


# --- Nothing waits long, nothing is lost ---


def locked(path):
    """Hold the file as another program may."""
    base = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    base.execute("BEGIN EXCLUSIVE")
    return closing(base)


@pytest.fixture
def hasty(monkeypatch):
    """Count the waits in tenths of what they are."""
    monkeypatch.setattr(sqlite, "BUSY_SECONDS", 0.2)
    monkeypatch.setattr("qwen_omni.work_store.sqlite._CLAIM_PATIENCE", 0.5)


def test_a_locked_file_holds_up_nobody_who_reads_and_loses_nothing(path, stores, hasty):
    store = stores()
    store.finish(key("before"), 1)
    with locked(path):
        assert isinstance(store.claim(KEY), Claim)  # the run goes on without
        assert store.finish(KEY, 2) == 2
        assert store.find(key("before")).value == 1
        assert store.find(KEY).value == 2
        assert store.trouble == "it is locked by another program"
        assert store.unkept("dashscope") == 1
        assert isinstance(stores().peek(KEY), Found)  # other runs of this process know it, too
    store.write_rest()
    assert (store.trouble, store.unkept("dashscope")) == ("", 0)
    with closing(sqlite3.connect(path)) as base:
        assert base.execute("SELECT value FROM results WHERE step = 'step'").fetchall() == [("2",)]


def test_what_could_not_be_written_is_written_without_being_asked(path, stores, hasty):
    store = stores(lease_seconds=0.4)
    with locked(path):
        store.finish(KEY, 2)
    until(lambda: not store.unkept("dashscope"))


def test_many_threads_under_one_lock_do_not_queue(path, stores, hasty):
    """One waits, the others keep their answers in memory at once: attempts are counted, not seconds."""
    store = stores()
    tries = []
    real = store._file.writing
    store._file.writing = lambda: tries.append(1) or real()
    with locked(path), ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda n: store.finish(key(str(n)), n), range(200)))
    assert store.unkept("dashscope") == 200
    assert len(tries) <= 16 + 20


def test_a_file_that_is_locked_from_the_start_is_used_later(path, hasty):
    path.parent.mkdir()
    with locked(path):
        store = SqliteStore(path)
        store.finish(KEY, 1)
        assert store.find(KEY).value == 1
    store.close()
    with closing(SqliteStore(path)) as again:
        assert again.find(KEY).value == 1


def test_a_file_that_was_removed_is_made_again(path, stores):
    store = stores()
    store.finish(key("a"), 1)
    path.unlink()
    store.finish(key("b"), 2)
    with closing(SqliteStore(path)) as again:
        assert again.find(key("b")).value == 2


def test_memory_lasts_as_long_as_its_store():
    """Closing it changes nothing, a decision that fails neither, and another store has nothing of it."""
    store, other = SqliteStore(None), SqliteStore(None)
    store.finish(KEY, 1)
    store.close()
    with pytest.raises(ZeroDivisionError):
        store.exchange("a", lambda *_: (2, 1 / 0))
    assert (store.find(KEY).value, store.exchange("a", lambda value, _: (value, value))) == (1, None)
    assert (other.find(KEY), isinstance(other.claim(KEY), Claim)) == (None, True)


def test_files_are_their_owners_alone(path, stores):
    old = os.umask(0)
    try:
        store = stores()
        store.finish(KEY, 1)
        modes = {one.name: stat.S_IMODE(one.stat().st_mode) for one in [path.parent, *path.parent.iterdir()]}
    finally:
        os.umask(old)
    assert modes.pop("made") == 0o700
    assert set(modes.values()) == {0o600}


def test_an_open_file_of_an_older_version_is_closed_to_others(path):
    path.parent.mkdir(mode=0o755)
    path.touch(mode=0o644)
    path.chmod(0o644)
    SqliteStore(path, StoreUse(name="x", way_out="", private_folder=True)).close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_a_machine_fault_is_no_fault_of_the_file(tmp_path):
    """Out of file handles: the error says so, and does not ask to remove anything damaged."""
    code = f"""
import resource, sys
from pathlib import Path
from qwen_omni.errors import LocalResourceError
from qwen_omni.work_store.sqlite import SqliteStore
import sqlite3
resource.setrlimit(resource.RLIMIT_NOFILE, (4, 4))
held = []
try:
    while True:
        held.append(open("/dev/null"))
except OSError:
    pass
try:
    SqliteStore(Path({str(tmp_path / "a.sqlite3")!r}))
except LocalResourceError as error:
    for one in held:
        one.close()
    print(error.resource, error.path)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout == f"open files {tmp_path / 'a.sqlite3'}\n"


def test_a_folder_that_is_a_file(tmp_path):
    (tmp_path / "x").write_text("")
    with pytest.raises((LocalResourceError, ValueError), match=str(tmp_path)):
        SqliteStore(tmp_path / "x" / "a.sqlite3")


@pytest.mark.parametrize("where", ["a file", "a file that cannot be written", "memory"])
def test_what_another_thread_finishes_between_look_and_claim_is_not_claimed(path, monkeypatch, where):
    with closing(SqliteStore(None if where == "memory" else path)) as store:
        if where == "a file that cannot be written":
            store.close()
            path.unlink()
            path.mkdir()
        look = store.peek

        def overtaken(key, *, unverified=False):
            seen = look(key, unverified=unverified)
            store.finish(key, "paid")
            return seen

        monkeypatch.setattr(store, "peek", overtaken)
        assert store.claim(KEY) == Found("paid", KEY.origin)
