"""A run over many inputs: every input one row, resumed by running it again, with few inputs in memory at a time."""

import asyncio
import contextlib
import os
import sqlite3
import threading
import time
import tracemalloc
from dataclasses import replace
from importlib import import_module
from unittest.mock import Mock

import pytest

from qwen_omni.archive import ArchiveItem, arun, iter_rows, retry, run, status
from qwen_omni.archive.worker import ArchiveWorker, open_store
from qwen_omni.errors import AuthenticationError, ConfigurationError, LocalResourceError
from qwen_omni.work_store import sqlite
from qwen_omni.work_store.inputs import InputFilter
from qwen_omni.work_store.store import StepKey
from tests.support.archives import SETTINGS, Asking, files
from tests.support.threads import in_threads

runs = import_module("qwen_omni.archive.run")  # the package has the function under this name

MIXED = ["a", "b", "a", "", "ServerError", "InvalidRequestError", "c", "UnreadableMediaError", "b", "SpendLimitError"]
STATUSES = {"ok": 5, "skipped": 2, "failed": 1, "refused": 1, "over_budget": 1}


def sync_rows(source, step, store, **options):
    return list(run(source, step, store=store, **{"settings": SETTINGS, **options}))


def async_rows(source, step, store, **options):
    async def collect():
        return [row async for row in arun(source, step, store=store, **{"settings": SETTINGS, **options})]

    return asyncio.run(collect())


@pytest.fixture(params=[sync_rows, async_rows], ids=["run", "arun"])
def rows_of(request):
    return request.param


@pytest.fixture
def store(place):
    """A file, and a database of PostgreSQL."""
    return place


def counts(rows):
    return {one: count for one in STATUSES if (count := sum(row.status == one for row in rows))}


def test_every_input_has_one_row(store, tmp_path, rows_of):
    step, made = Asking(), files(tmp_path / "in", *MIXED)
    rows = rows_of(tmp_path / "in", step, store)
    assert sorted(row.uri for row in rows) == sorted(map(str, made))
    assert counts(rows) == STATUSES
    assert max(step.asked.values()) == 1
    known = status(store)
    assert (known.counts, known.in_flight, known.total) == (STATUSES, 0, 10)
    assert known.input_tokens == sum(row.input_tokens for row in rows) == step.calls * 1_000
    assert known.cost_cny == pytest.approx(sum(row.cost_cny for row in rows))


def test_running_again_resumes(store, tmp_path, rows_of, monkeypatch):
    """What is final is neither opened nor asked again; what may succeed now is."""
    step = Asking()
    files(tmp_path / "in", *MIXED)
    before = {row.uri: row for row in rows_of(tmp_path / "in", step, store)}
    calls, opened = step.calls, []
    read = open

    def noted(path, *args, **kwargs):
        if str(path).endswith(".mp4"):
            opened.append(str(path))
        return read(path, *args, **kwargs)

    monkeypatch.setattr("builtins.open", noted)
    after = {row.uri: row for row in rows_of(tmp_path / "in", step, store)}
    again = {uri for uri, row in before.items() if row.retryable}
    assert {uri: row for uri, row in after.items() if uri not in again} == {
        uri: row for uri, row in before.items() if uri not in again
    }
    assert set(opened) == again
    assert step.calls - calls == len(again) == 2


def test_a_list_of_the_same_files_in_another_order(tmp_path):
    """Rows belong to inputs, not to a source."""
    step, made = Asking(), files(tmp_path / "in", "a", "b")
    sync_rows(tmp_path / "in", step, tmp_path / "s.db")
    rows = sync_rows([str(one) for one in reversed(made)], step, tmp_path / "s.db")
    assert [row.value["said"] for row in rows] == ["b", "a"]
    assert step.calls == 2


def test_two_jobs_at_once_ask_once(store, tmp_path):
    """Two runs over one list share its contents between them; both have all rows."""
    step = Asking(during=lambda *_: time.sleep(0.01))
    files(tmp_path / "in", *[str(number % 15) for number in range(30)])
    found = in_threads(*[lambda: sync_rows(tmp_path / "in", step, store, in_flight=4)] * 2)
    assert [len(rows) for rows in found] == [30, 30]
    assert {row.status for rows in found for row in rows} == {"ok"}
    assert max(step.asked.values()) == 1
    assert status(store).counts == {"ok": 30}


def test_a_bounded_number_of_inputs_is_in_memory(tmp_path):
    """However many there are: a source is read as rows are taken."""
    step, made = Asking(), files(tmp_path / "in", *map(str, range(20)))
    taken = []

    def source():
        for number in range(3_000):
            taken.append(number)
            yield {"uri": str(made[number % 20]) if number < 20 else f"/gone/{number}.mp4"}

    coming = run(source(), step, store=tmp_path / "s.db", settings=SETTINGS, in_flight=2)
    for _ in range(3):
        next(coming)
    assert len(taken) <= 16 + 32
    coming.close()
    assert len(sync_rows(source(), step, tmp_path / "s.db", in_flight=2)) == 3_000


def test_closing_early_keeps_what_is_in_flight(tmp_path, rows_of):
    """Calls in flight end and are stored; nothing new begins."""
    step = Asking(during=lambda *_: time.sleep(0.05))
    files(tmp_path / "in", *map(str, range(40)))
    if rows_of is sync_rows:
        with contextlib.closing(
            run(tmp_path / "in", step, store=tmp_path / "s.db", settings=SETTINGS, in_flight=3)
        ) as it:
            next(it)
    else:

        async def first():
            coming = arun(tmp_path / "in", step, store=tmp_path / "s.db", settings=SETTINGS, in_flight=3)
            async with contextlib.aclosing(coming):
                await anext(coming)

        asyncio.run(first())
    assert 3 <= step.calls <= 7
    assert status(tmp_path / "s.db").counts == {"ok": step.calls}


def test_a_cancelled_run_keeps_what_is_in_flight(tmp_path):
    go, begun = threading.Event(), threading.Event()
    step = Asking(wait=go, during=None)
    step.on_call = lambda: step.calls == 2 and begun.set()
    files(tmp_path / "in", *map(str, range(9)))

    async def cancelled():
        coming = arun(tmp_path / "in", step, store=tmp_path / "s.db", settings=SETTINGS, in_flight=2)
        task = asyncio.create_task(anext(coming))
        await asyncio.to_thread(begun.wait, 20)
        task.cancel()
        await asyncio.sleep(0.3)
        go.set()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancelled())
    assert step.calls == 2
    assert status(tmp_path / "s.db").counts == {"ok": 2}


def test_ctrl_c_keeps_what_is_in_flight(tmp_path):
    step = Asking()
    files(tmp_path / "in", *map(str, range(9)))
    interrupt = Mock(side_effect=KeyboardInterrupt)
    with pytest.raises(KeyboardInterrupt, match="run again to resume"):
        sync_rows(tmp_path / "in", step, tmp_path / "s.db", on_progress=interrupt, in_flight=1)
    assert status(tmp_path / "s.db").counts == {"ok": step.calls}


def test_what_ends_a_run_is_raised(tmp_path, rows_of):
    """Rows that were made before are stored."""
    step = Asking()
    files(tmp_path / "in", "a", "AuthenticationError", "b")
    with pytest.raises(AuthenticationError):
        rows_of(tmp_path / "in", step, tmp_path / "s.db", in_flight=1)
    known = status(tmp_path / "s.db").counts
    assert known["failed"] == 1
    assert known.get("ok", 0) == step.calls - 1


def test_what_could_not_be_written_is_raised_at_the_end(tmp_path, monkeypatch):
    monkeypatch.setattr(sqlite, "BUSY_SECONDS", 0.05)
    monkeypatch.setattr(sqlite, "_CLAIM_PATIENCE", 0.1)
    step = Asking()
    files(tmp_path / "in", "a", "b")
    locked = contextlib.closing(sqlite3.connect(tmp_path / "s.db", isolation_level=None, check_same_thread=False))
    with locked as base:
        step._during = lambda *_: base.in_transaction or base.execute("BEGIN EXCLUSIVE")
        with pytest.raises(LocalResourceError, match="answers and rows could not be written") as raised:
            sync_rows(tmp_path / "in", step, tmp_path / "s.db", in_flight=1)
        base.execute("ROLLBACK")
    assert "\n" not in str(raised.value)


def test_an_error_is_not_repeated():
    """What ends a run may be that answers could not be written; said once."""
    error = LocalResourceError("2 answers are lost.", resource="disk")
    worker = Mock(**{"check_written.side_effect": LocalResourceError("2 answers are lost.", resource="disk")})
    runs._note_unwritten(worker, error)
    assert not hasattr(error, "__notes__")
    other = ConfigurationError("No.")
    runs._note_unwritten(worker, other)
    assert other.__notes__ == ["2 answers are lost."]


def test_progress(tmp_path):
    step, seen = Asking(), []
    files(tmp_path / "in", *MIXED)
    sync_rows(tmp_path / "in", step, tmp_path / "s.db", on_progress=seen.append)
    assert [one.done for one in seen] == list(range(1, 11))
    last = seen[-1]
    assert (last.counts, last.reused, last.input_tokens, last.in_flight) == (STATUSES, 2, step.calls * 1_000, 0)
    assert last.cost_cny == pytest.approx(status(tmp_path / "s.db").cost_cny)
    seen.clear()
    sync_rows(tmp_path / "in", Asking(), tmp_path / "s.db", on_progress=seen.append)
    assert (seen[-1].reused, seen[-1].input_tokens) == (5, 2_000)  # what was tried again


# --- Trying again ---


def test_retry_takes_what_may_succeed(store, tmp_path):
    step, made = Asking(), files(tmp_path / "in", *MIXED)
    sync_rows(tmp_path / "in", step, store)
    step._answer = lambda text: Asking._answer(step, text.replace("Error", ""))
    rows = list(retry(step, store=store, settings=SETTINGS))
    assert sorted((row.uri, row.status) for row in rows) == [(str(made[4]), "ok"), (str(made[9]), "ok")]
    assert not list(retry(step, store=store, settings=SETTINGS))
    rest = list(retry(step, store=store, settings=SETTINGS, permanent=True))
    assert {(row.uri, row.status) for row in rest} == {
        (str(made[3]), "skipped"), (str(made[5]), "ok"), (str(made[7]), "ok")
    }  # fmt: skip
    assert status(store).counts == {"ok": 9, "skipped": 1}


def test_retry_of_one_source(tmp_path):
    step, made = Asking(), files(tmp_path / "in", "ServerError 1", "ServerError 2", "a")
    sync_rows(tmp_path / "in", step, tmp_path / "s.db")
    options = {"store": tmp_path / "s.db", "settings": SETTINGS}
    rows = list(retry(step, source=[made[1], made[2], tmp_path / "new.mp4"], **options))
    assert [(row.uri, row.attempt) for row in rows] == [(str(made[1]), 2)]


def test_retry_from_another_folder(tmp_path, monkeypatch):
    """Rows are found again wherever the program runs, although they were named by relative paths."""
    step = Asking()
    files(tmp_path / "in", "ServerError")
    monkeypatch.chdir(tmp_path / "in")
    (row,) = sync_rows("000.mp4", step, tmp_path / "s.db")
    assert row.uri == "000.mp4"
    monkeypatch.chdir(tmp_path)
    (again,) = retry(step, store=tmp_path / "s.db", settings=SETTINGS)
    assert (again.attempt, again.uri) == (2, str(tmp_path / "in" / "000.mp4"))


# --- Reading ---


def test_rows_are_read_in_pages(store, tmp_path, monkeypatch):
    step = Asking()
    files(tmp_path / "in", *MIXED)
    rows = sync_rows(tmp_path / "in", step, store)
    assert list(iter_rows(store)) == sorted(rows, key=lambda row: row.uri)
    assert list(iter_rows(store, step)) == list(iter_rows(store, "ask")) == list(iter_rows(store))
    assert not list(iter_rows(store, "caption"))
    assert not list(iter_rows(store, Asking("d")))  # another digest, although it begins alike
    assert {row.status for row in iter_rows(store, statuses=("failed", "refused"))} == {"failed", "refused"}
    assert status(store, "ask").total == status(store, step).total == 10
    assert status(store, Asking("d")).total == 0


def test_answers_of_several_servers_are_not_mixed(tmp_path):
    step, store = Asking(), tmp_path / "s.db"
    files(tmp_path / "in", "a")
    other = replace(SETTINGS, base_url="http://127.0.0.1:9/v1")
    sync_rows(tmp_path / "in", step, store)
    sync_rows(tmp_path / "in", step, store, settings=other)
    with pytest.raises(ConfigurationError, match="several servers") as raised:
        list(iter_rows(store))
    assert SETTINGS.origin in str(raised.value)
    for one in (SETTINGS, other):
        assert len(list(iter_rows(store, origin=one.origin))) == 1
        assert status(store, origin=one.origin).total == 1


@pytest.mark.parametrize(
    "read", [status, lambda place: list(iter_rows(place)), lambda place: list(retry(Asking(), store=place))]
)
def test_a_store_that_is_only_read_is_not_created(tmp_path, read):
    with pytest.raises(ConfigurationError, match="There is no archive store"):
        read(tmp_path / "typo.db")
    assert not (tmp_path / "typo.db").exists()
    with pytest.raises(ConfigurationError, match="It is a folder"):
        read(tmp_path)


def test_work_in_progress_is_counted(store):
    with ArchiveWorker(Asking(), store=store, settings=SETTINGS) as worker:
        worker.store.claim(StepKey(worker.run, "digest", worker.origin))
        assert status(store).in_flight == 1
    assert status(store).in_flight == 0


def test_an_empty_source_is_an_error_of_the_run(tmp_path):
    (tmp_path / "in").mkdir()
    with pytest.raises(ConfigurationError, match="contains no video"):
        sync_rows(tmp_path / "in", Asking(), tmp_path / "s.db")


@pytest.mark.slow
def test_many_rows_are_listed_in_little_memory(tmp_path):
    """Rows are read in pages by their names; the memory is that of a page."""
    store, count = tmp_path / "s.db", 20_000
    with contextlib.closing(open_store(store)) as opened:
        for start in range(0, count, 5_000):
            _fill(opened, start, 5_000)
        assert sum(one.count for one in opened.count_inputs(InputFilter(run="archive "))) == count
    tracemalloc.start()
    found = sum(row.value == {"said": "a" * 100} for row in iter_rows(store))
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (found, most < 6 * 2**20) == (count, True)


def _fill(opened, start, count):
    from qwen_omni.work_store.inputs import StoredInput  # noqa: PLC0415

    names = [f"/in/{number:06}.mp4" for number in range(start, start + count)]
    answer = {"value": {"said": "a" * 100}, "truncated": False, "model": "m"}
    opened.finish_all({StepKey("archive ask d1", name, "o"): answer for name in names})
    opened.put_inputs(
        StoredInput(run="archive ask d1", origin="o", name=name, answer=name, value={"uri": name}) for name in names
    )


def test_items_can_be_made_by_hand(tmp_path):
    (file,) = files(tmp_path / "in", "a")
    with ArchiveWorker(Asking(), store=tmp_path / "s.db", settings=SETTINGS) as worker:
        assert worker.process(ArchiveItem(uri=os.fspath(file))).status == "ok"
