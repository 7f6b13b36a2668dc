"""Ray Data moves the rows, the store protects the money. Every job is a driver of its own on a local cluster."""

import collections
import os
import random
import shutil
import signal
import socket
import tempfile
import threading
import time
from concurrent.futures import CancelledError
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis.strategies import integers, lists, randoms

from qwen_omni.archive import ArchiveRow, ArchiveWorker, iter_rows
from qwen_omni.archive.ray import WORKER_CPUS, RayLayout, WorkerPlan, check_cluster, decide_layout, map_archive
from qwen_omni.archive.sources import item_of
from qwen_omni.errors import ConfigurationError
from qwen_omni.media.work import StoppedError
from qwen_omni.settings import Settings
from tests.support.archives import SETTINGS, Asking, files
from tests.support.killing import SCHEMA, CountingStandin, claims_of, make_images, rows_in
from tests.support.on_ray import Driver
from tests.support.postgres import postgres
from tests.support.waiting import until

__all__ = ["postgres"]

on_ray = import_module("qwen_omni.archive.ray")
needs_ray = pytest.mark.skipif(find_spec("ray") is None, reason="ray is not installed")


# --- Decisions ---


@pytest.mark.parametrize(
    ("cpus", "in_flight", "workers", "layout"),
    [
        ([2], 32, None, (2, 16, 32)),
        ([2], 1, None, (1, 1, 2)),
        ([4], 10, None, (4, 2, 4)),
        ([8], 32, 2, (2, 16, 32)),
        ([2.9], 32, None, (2, 16, 32)),
        ([64], 32, None, (32, 1, 2)),
        ([1.5], 32, None, (1, 32, 64)),
        ([1, 1], 32, None, (1, 32, 64)),
        ([1, 1, 1, 0], 32, None, (2, 16, 32)),
        ([0, 16, 16], 64, None, (32, 2, 4)),
        ([100], 640, 10, (10, 64, 128)),
    ],
)
def test_how_an_archive_is_spread(cpus, in_flight, workers, layout):
    found = decide_layout(cpus, in_flight, workers)
    assert found == RayLayout(workers=layout[0], in_flight=layout[1], rows=layout[2])
    assert found.workers * found.in_flight <= in_flight


@pytest.mark.parametrize(
    "address", ["mars", "127.0.0.1", "ray://127.0.0.1:1", "127.0.0.1:65536", "127.0.0.1:-1", ":6379", ""]
)
def test_an_address_that_is_none(address):
    with pytest.raises(ConfigurationError, match=r"is not the address of a Ray cluster\. Use HOST:PORT"):
        check_cluster(address)


def test_nothing_listens_at_an_address():
    """Said at once: Ray would look for minutes. What does listen is left to Ray."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        check_cluster(address)
    with pytest.raises(ConfigurationError, match=f"There is no Ray cluster at '{address}' .*`ray start --head`"):
        check_cluster(address)


@given(cpus=lists(integers(0, 12).map(lambda halves: halves / 2), max_size=4), place=randoms(use_true_random=False))
def test_reading_always_has_room(cpus, place):
    """Wherever Ray puts the workers, one machine has a whole logical CPU left."""
    try:
        layout = decide_layout(cpus, 64)
    except ConfigurationError:
        assert all(one < 1.5 for one in cpus)
        assert sum(one >= 1 for one in cpus) < 2
        return
    left = list(cpus)
    for _ in range(layout.workers):
        free = [at for at, one in enumerate(left) if one >= WORKER_CPUS]
        left[place.choice(free)] -= WORKER_CPUS
    assert max(left) >= 1


@pytest.mark.parametrize(
    ("cpus", "workers", "step"),
    [
        ([0], None, r"num_cpus=2\);"), ([1], None, r"num_cpus=2\);"), ([1.4], 1, r"num_cpus=2\);"), ([], None, "has 0"),
        ([2], 3, r"num_cpus=3\), or pass workers=2;"), ([16], 40, r"num_cpus=21\), or pass workers=30;"),
        ([1, 1], 2, r"or pass workers=1;"),
    ],
)  # fmt: skip
def test_too_few_logical_cpus_are_refused(cpus, workers, step):
    """Ray would wait for them forever, without a word."""
    with pytest.raises(ConfigurationError, match=rf"would never begin.*{step}|{step}"):
        decide_layout(cpus, 64, workers)


@pytest.mark.parametrize(
    ("wrong", "name"),
    [({"in_flight": 0}, "in_flight"), ({"in_flight": "x"}, "in_flight"), ({"in_flight": 32, "workers": 0}, "workers"),
     ({"in_flight": 1000}, "in_flight of each of 4 workers")],
)  # fmt: skip
def test_numbers_are_checked(wrong, name):
    with pytest.raises(ConfigurationError, match=name):
        decide_layout([4], **wrong)


def test_without_ray_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "ray", None)
    with pytest.raises(ConfigurationError, match=r"qwen-omni\[ray\]"):
        map_archive(object(), object(), store="archive.db")


class _Named:
    name = "caption"


def test_what_travels_shows_no_secret():
    """Ray writes the arguments of a worker into its event files: dataclasses, mappings and texts with all they hold."""
    plan = WorkerPlan(_Named(), {"store": "postgresql://me:s3cret@db/work"}, Settings.load(api_key="sk-hidden"))
    assert repr(plan) == str(plan) == "<worker of an archive: caption>"
    assert not hasattr(plan, "__dataclass_fields__")
    assert not isinstance(plan, (str, collections.abc.Mapping, collections.abc.Sequence))


# --- The end ---


def test_a_sign_knows_who_has_something_in_flight(monkeypatch):
    """Who ended, and who was not seen for long, is not waited for."""
    now = [100.0]
    monkeypatch.setattr(on_ray, "time", SimpleNamespace(monotonic=lambda: now[0]))
    sign = on_ray.StopSign()
    assert [sign.look("a"), sign.look("b"), sign.busy()] == [on_ray._GO, on_ray._GO, 2]
    sign.say(on_ray._STOP)
    assert sign.look("a", over=True) == on_ray._STOP
    assert sign.busy() == 1
    now[0] += on_ray._DEAD_SECONDS + 1
    assert sign.busy() == 0
    assert sign.look("b") == on_ray._STOP
    assert sign.busy() == 1


class _Plan:
    """Builds the worker of a step that never reaches a service."""

    def __init__(self, step, store):
        self.step, self.store = step, store

    def build(self):
        return ArchiveWorker(self.step, store=self.store, settings=SETTINGS, in_flight=1)


def test_a_worker_ends_after_its_answers_are_stored(tmp_path, monkeypatch):
    """The call in flight ends and is stored, nothing else begins, and its block fails when all workers have ended."""
    pa = pytest.importorskip("pyarrow")
    monkeypatch.setattr(on_ray, "_SIGN_SECONDS", 0.01)
    step, sign = Asking(wait=threading.Event()), on_ray.StopSign()
    paths = files(tmp_path / "in", *"abcdefgh")
    worker = on_ray.RayWorker(_Plan(step, tmp_path / "a.db"), sign.look)
    failed = []

    def work():
        try:
            worker(pa.table({"uri": [str(path) for path in paths]}))
        except (StoppedError, CancelledError) as error:
            failed.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    until(lambda: step.calls == 1)
    sign.say(on_ray._STOP)
    until(lambda: worker._worker._work.stopped)
    assert sign.busy() == 1
    step._wait.set()
    until(lambda: sign.busy() == 0)
    assert [row.status for row in iter_rows(tmp_path / "a.db")] == ["ok"]
    assert (step.calls, thread.is_alive(), failed) == (1, True, [])
    sign.say(on_ray._LEAVE)
    thread.join(20)
    assert len(failed) == 1


def test_only_what_this_run_used_is_counted(tmp_path):
    """A row has what all attempts used, those of earlier runs too."""
    step, paths = Asking(), files(tmp_path / "in", "ServerError", "b")
    seen = []
    for _ in range(3):
        with (
            ArchiveWorker(step, store=tmp_path / "a.db", settings=SETTINGS) as here,
            on_ray._Watched(here, seen.append) as watched,
        ):
            for one in here.look_up([item_of(path) for path in paths]):
                if not isinstance(one, ArchiveRow):
                    with ArchiveWorker(step, store=tmp_path / "a.db", settings=SETTINGS) as there:
                        watched.row(there.process(*there.look_up([one])))
                else:
                    watched.row(one)
    totals = [(one.input_tokens, one.done) for one in seen]
    assert totals == [(1_000, 1), (2_000, 2), (1_000, 1), (1_000, 2), (1_000, 1), (1_000, 2)]
    assert [row.input_tokens for row in iter_rows(tmp_path / "a.db")] == [3_000, 1_000]
    assert seen[-1].cost_cny == pytest.approx(seen[0].cost_cny)


# --- Jobs ---


@pytest.fixture
def standin():
    with CountingStandin() as standin:
        yield standin


@pytest.fixture
def session():
    """A folder for Ray with a short name: the paths of its sockets may have 107 characters."""
    folder = Path(tempfile.mkdtemp(prefix="ray", dir="/tmp"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def run(standin, session, place, paths, *, cpus=2, **job):
    """Run a job to its end; return its driver."""
    rows = [{"uri": str(path)} for path in paths]
    given = {"key": standin.api_key, "url": standin.base_url, "schema": SCHEMA, "store": str(place), "rows": rows}
    with Driver(session, cpus=cpus, **{**given, **job}) as driver:
        for _ in driver:
            pass
        assert driver.process.wait() == 0, driver.log()
    return driver


def rows_of(driver):
    assert driver.lines[-1] == "done", driver.log()
    return [line for line in driver.lines if "uri" in line]


def written(session):
    """Return all that Ray has written into its files."""
    return b"".join(path.read_bytes() for path in session.rglob("*") if path.is_file() and not path.is_symlink())


@needs_ray
@pytest.mark.slow
@pytest.mark.timeout(180)
def test_a_row_for_every_row(standin, session, tmp_path):
    """Two logical CPUs; a damaged file, a missing one, an empty one, one twice. Neither log nor repr holds the key."""
    place, paths = tmp_path / "archive.db", make_images(tmp_path / "images", 20)
    (tmp_path / "damaged.jpg").write_bytes(b"\xff\xd8\xff\xe0 damaged")
    (tmp_path / "empty.jpg").touch()
    odd = [tmp_path / "damaged.jpg", tmp_path / "empty.jpg", tmp_path / "missing.jpg"]
    standin.behave(seconds=0.05)
    driver = run(standin, session, place, [*paths, *odd, paths[0]])
    rows = rows_of(driver)
    assert sorted(row["uri"] for row in rows) == sorted(str(path) for path in [*paths, *odd, paths[0]])
    status = {row["uri"]: row["status"] for row in rows}
    assert [status[str(path)] for path in paths] == ["ok"] * 20
    assert all(status[str(path)] in ("failed", "refused", "skipped") for path in odd)
    assert all(row["error"] for row in rows if row["status"] != "ok")
    assert sorted(standin.billed().values()) == [1] * 20
    assert rows_in(place, "SELECT COUNT(*) FROM claims") == [(0,)]
    assert "RayWorker" in driver.lines[1]["shown"]
    assert b"RayWorker" in written(session)
    assert standin.api_key.encode() not in written(session)


@needs_ray
@pytest.mark.long
@pytest.mark.timeout(300)
def test_run_again_on_two_logical_cpus(standin, session, tmp_path):
    """It does not hang, and nothing is billed again."""
    place, paths = tmp_path / "archive.db", make_images(tmp_path / "images", 30)
    for _ in range(2):
        rows = rows_of(run(standin, session, place, paths))
        assert collections.Counter(row["status"] for row in rows) == {"ok": 30}
    assert sorted(standin.billed().values()) == [1] * 30


@needs_ray
@pytest.mark.long
@pytest.mark.timeout(300)
def test_one_logical_cpu_is_refused_at_once(standin, session, tmp_path):
    driver = run(standin, session, tmp_path / "archive.db", make_images(tmp_path / "images", 2), cpus=1)
    assert "Ray has 1 logical CPU. 1 worker at 0.5 CPU could leave none" in driver.lines[1]["error"]
    assert not standin.billed()


@needs_ray
@pytest.mark.long
@pytest.mark.timeout(300)
def test_the_key_comes_from_where_the_worker_runs(standin, session, tmp_path):
    """From a function of the caller; without one, and without a variable, the job ends with one clear line."""
    place, paths = tmp_path / "archive.db", make_images(tmp_path / "images", 4)
    (tmp_path / "key").write_text(standin.api_key + "\n")
    found = rows_of(run(standin, session, place, paths, key="", key_file=str(tmp_path / "key")))
    assert [row["status"] for row in found] == ["ok"] * 4
    with Driver(
        session, cpus=2, key="", url=standin.base_url, schema=SCHEMA, store=str(tmp_path / "other.db"),
        rows=[{"uri": str(path)} for path in paths], driver_key=standin.api_key,
    ) as driver:  # fmt: skip
        for _ in driver:
            pass
        assert driver.process.wait() != 0
        assert "has no API key. Set DASHSCOPE_API_KEY where Ray is started" in driver.log()
        assert standin.api_key not in driver.log()


@needs_ray
@pytest.mark.long
@pytest.mark.timeout(400)
def test_killed_workers_cost_what_they_had_in_flight(standin, session, place, tmp_path):
    """Two of them, at random: billed - distinct <= killed x in flight, and still one row for every file."""
    count, seed = 160, random.randrange(10**6)
    paths = make_images(tmp_path / "images", count)
    standin.behave(seconds=0.3)
    rows = [{"uri": str(path)} for path in paths]
    draw, flying, killed = random.Random(seed), 0, 0
    with Driver(
        session, cpus=2, key=standin.api_key, url=standin.base_url, schema=SCHEMA, store=str(place), rows=rows,
        given={"in_flight": 8},
    ) as driver:  # fmt: skip
        for line in driver:
            if "uri" in line and killed < 2:
                time.sleep(draw.uniform(0, 0.3))
                pid = draw.choice(driver.workers())
                os.kill(pid, signal.SIGSTOP)
                flying += len(claims_of(place, pid))
                os.kill(pid, signal.SIGKILL)
                killed += 1
        assert driver.process.wait() == 0, driver.log()
    found = rows_of(driver)
    assert killed == 2
    assert sorted(row["uri"] for row in found) == [str(path) for path in paths]
    assert collections.Counter(row["status"] for row in found) == {"ok": count}
    billed = standin.billed()
    assert len(billed) == count
    assert billed.total() - count <= flying <= killed * 4, f"seed {seed}"


@needs_ray
@pytest.mark.long
@pytest.mark.timeout(400)
def test_a_file_that_ends_its_process_is_a_row(standin, session, tmp_path):
    """Ray starts the worker again until the file has ended three; the job is green, and all others are answered."""
    place, paths = tmp_path / "archive.db", make_images(tmp_path / "images", 20)
    found = rows_of(run(standin, session, place, paths, deadly="000007.jpg", given={"in_flight": 4}))
    rows = {row["uri"]: row for row in found}
    assert len(found) == len(rows) == 20
    assert rows.pop(str(paths[7]))["error_code"] == "worker_lost"
    assert collections.Counter(row["status"] for row in rows.values()) == {"ok": 19}
    assert len(standin.billed()) == 19
    assert standin.billed().total() - 19 <= 3 * 4


@needs_ray
@pytest.mark.long
@pytest.mark.timeout(400)
def test_a_cluster_of_two_machines(standin, session, tmp_path, postgres):
    """Both work on one database, whose password is in no file of Ray's; a file as the store is refused."""
    paths = make_images(tmp_path / "images", 40)
    standin.behave(seconds=0.3)
    secret = postgres.replace("postgres@", "postgres:s3cret-word@", 1)
    found = rows_of(run(standin, session, secret, paths, machines=[2, 2]))
    assert sorted(row["uri"] for row in found) == [str(path) for path in paths]
    assert collections.Counter(row["status"] for row in found) == {"ok": 40}
    assert sorted(standin.billed().values()) == [1] * 40
    assert b"s3cret-word" not in written(session)
    driver = run(standin, session, tmp_path / "archive.db", paths, machines=[2, 2])
    assert "Ray has 2 machines, and a store in the file" in driver.lines[1]["error"]


@needs_ray
@pytest.mark.long
@pytest.mark.timeout(400)
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_a_killed_driver_is_started_again(standin, session, tmp_path, share):
    """None of the answers that were stored is billed twice."""
    place, count = tmp_path / "archive.db", 60
    paths = make_images(tmp_path / "images", count)
    standin.behave(seconds=0.2)
    rows = [{"uri": str(path)} for path in paths]
    job = {"cpus": 2, "url": standin.base_url, "schema": SCHEMA, "store": str(place), "rows": rows}
    stored = "SELECT step FROM results WHERE run LIKE 'archive caption %'"
    with Driver(session, key=standin.api_key, given={"in_flight": 4}, **job) as driver:
        assert next(iter(driver)) == "ready"
        while len(rows_in(place, stored)) < share * count:
            time.sleep(0.02)
        driver.process.kill()
        until(lambda: not driver.workers(), 60)  # Ray ends them, with whatever they had in flight
    found = rows_of(run(standin, session, place, paths))
    assert sorted(row["uri"] for row in found) == [str(path) for path in paths]
    assert collections.Counter(row["status"] for row in found) == {"ok": count}
    assert standin.billed().total() - count <= 4
