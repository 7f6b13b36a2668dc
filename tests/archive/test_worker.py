"""One process's part: each content asked about once, each input one row, and what ends a run."""

import contextlib
import json
import os
import sqlite3
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from unittest.mock import Mock

import pytest

from qwen_omni import SpendLimit, UsageLedger
from qwen_omni.archive import (
    ArchiveItem,
    ArchiveRow,
    ArchiveWorker,
    FunctionStep,
    StepResult,
    find_items,
    worker as workers,
)
from qwen_omni.archive.run import status, stored_inputs
from qwen_omni.archive.sources import item_of
from qwen_omni.archive.worker import Busy
from qwen_omni.errors import (
    AuthenticationError,
    ConfigurationError,
    LocalResourceError,
    NotFoundError,
    StoreError,
)
from qwen_omni.media.work import StoppedError
from qwen_omni.profiles.rate_limits import RateLimits
from qwen_omni.work_store import sqlite
from qwen_omni.work_store.store import StepKey
from tests.support.archives import SETTINGS, Asking, files
from tests.support.threads import in_threads
from tests.support.waiting import until


@pytest.fixture
def path(tmp_path):
    return tmp_path / "archive.db"


def open_worker(step, path, **options):
    return ArchiveWorker(step, store=path, **{"settings": SETTINGS, **options})


def processed(step, path, inputs, **options):
    """The rows of inputs, one after the other, by one worker."""
    with open_worker(step, path, **options) as worker:
        return [worker.process(item_of(one)) for one in inputs]


def test_a_row_holds_everything(path, tmp_path):
    (file,) = files(tmp_path / "in", "A door.")
    (row,) = processed(Asking(), path, [file])
    assert (row.uri, row.status, row.value, row.step, row.step_digest, row.model) == (
        str(file), "ok", {"said": "A door."}, "ask", "d1", "qwen3.8-omni-flash",
    )  # fmt: skip
    assert (row.input_tokens, row.output_tokens, row.attempt, row.reused) == (1_000, 10, 1, False)
    assert row.cost_cny == pytest.approx(0.0008 + 0.000027)
    assert row.started_at <= row.finished_at <= time.time()
    assert (row.worker.endswith(f":{os.getpid()}"), len(row.content_digest)) == (True, 64)


def test_one_content_is_asked_about_once(path, tmp_path):
    """Copies, renamed files and files that were touched: a row each, and one call."""
    step, made = Asking(), files(tmp_path / "in", "A door.", "A door.")
    rows = processed(step, path, made)
    moved = tmp_path / "in" / "moved.mp4"
    made[0].rename(moved)
    os.utime(made[1])
    time.sleep(0.06)
    rows += processed(step, path, [moved, made[1]])
    assert [(row.status, row.reused, row.cost_cny) for row in rows[1:]] == [("ok", True, 0.0)] * 3
    assert {row.value["said"] for row in rows} == {"A door."}
    assert step.calls == 1


def test_a_file_that_changed_is_asked_about_anew(path, tmp_path):
    step, (file,) = Asking(), files(tmp_path / "in", "A door.")
    processed(step, path, [file])
    files(tmp_path / "in", "A window.")
    (row,) = processed(step, path, [file])
    assert (row.value, row.attempt, row.reused) == ({"said": "A window."}, 1, False)
    assert status(path).counts == {"ok": 1}


def test_another_step_does_not_mix(path, tmp_path):
    made = files(tmp_path / "in", "A door.")
    one, two = Asking("d1"), Asking("d2")
    two.answers = " Or two."
    for step in (one, two, one, two):
        (row,) = processed(step, path, made)
        assert row.value == {"said": f"A door.{step.answers}"}
    assert (one.calls, two.calls) == (1, 1)


def test_another_server_does_not_answer(path, tmp_path):
    """What one server answered is not given out as another's."""
    step, made = Asking(), files(tmp_path / "in", "A door.")
    processed(step, path, made)
    processed(step, path, made, settings=replace(SETTINGS, base_url="http://127.0.0.1:9/v1"))
    assert step.calls == 2


def test_a_second_look_opens_nothing(path, tmp_path, monkeypatch):
    """Neither for rows that are final nor for new names of a version whose digest is known."""
    step, made = Asking(), files(tmp_path / "in", "a", "b", "", "InvalidRequestError", "UnreadableMediaError")
    before = processed(step, path, made)
    asked = step.calls
    with open_worker(step, path) as worker:
        statements = []
        worker.store._file.read(lambda base: base._base.set_trace_callback(statements.append))
        monkeypatch.setattr("builtins.open", Mock(side_effect=AssertionError("it was opened")))
        rows = worker.look_up([item_of(one) for one in made])
        worker.store._file.read(lambda base: base._base.set_trace_callback(None))
    assert rows == before
    assert len(statements) <= 3  # for all of them together
    assert step.calls == asked


# What an error makes of an input, whether the next run tries again, and whether it is paid for.
FAILURES = {
    "ContentFilterError": ("refused", "content_filter", False),
    "InvalidRequestError": ("refused", "invalid_request", False),
    "UnsupportedMediaError": ("refused", "unsupported_media", False),
    "UnreadableMediaError": ("skipped", "unreadable_media", False),
    "RateLimitError": ("failed", "rate_limit", True),
    "ServerError": ("failed", "server_error", True),
    "APIConnectionError": ("failed", "connection", True),
    "SpendLimitError": ("over_budget", "spend_limit", True),
    "OtherError": ("failed", "value_error", True),
}


@pytest.mark.parametrize("kind", FAILURES)
def test_a_failure_is_a_row(path, tmp_path, kind):
    step, made = Asking(), files(tmp_path / "in", f"{kind} here", "A door.")
    expected, code, again = FAILURES[kind]
    rows = processed(step, path, made)
    assert [(row.status, row.error_code) for row in rows] == [(expected, code), ("ok", "")]
    assert (rows[0].retryable, rows[0].input_tokens, rows[0].value) == (again, 1_000, None)
    (row, _) = processed(step, path, made)
    assert row.attempt == (2 if again else 1)
    assert row.input_tokens == row.attempt * 1_000  # of all attempts
    assert status(path).input_tokens == 1_000 + row.input_tokens
    assert (step.asked[f"{kind} here"], step.asked["A door."]) == (row.attempt, 1)


def test_a_failure_that_was_repaired(path, tmp_path):
    step, made = Asking(), files(tmp_path / "in", "ServerError")
    processed(step, path, made)
    step._answer = lambda _: StepResult(value=1)
    (row,) = processed(step, path, made)
    assert (row.status, row.value, row.attempt, row.input_tokens, row.error) == ("ok", 1, 2, 2_000, "")
    assert status(path).counts == {"ok": 1}


@pytest.mark.parametrize("value", [float("nan"), {1, 2}, object(), b"x"])
def test_an_answer_that_is_no_json_is_a_row(path, tmp_path, value):
    made = files(tmp_path / "in", "a")
    (row,) = processed(FunctionStep("f", lambda *_: value, "d"), path, made)
    assert (row.status, row.error_code in ("value_error", "type_error")) == ("failed", True)


@pytest.mark.parametrize("kind", [AuthenticationError, NotFoundError])
def test_what_concerns_every_input_ends_the_run(path, tmp_path, kind):
    """Its input has a row that is tried again."""
    step, made = Asking(), files(tmp_path / "in", f"{kind.__name__} here")
    with pytest.raises(kind):
        processed(step, path, made)
    assert status(path).counts == {"failed": 1}
    with pytest.raises(kind):
        processed(step, path, made)
    assert step.calls == 2


def test_a_fault_of_the_machine_ends_the_run_after_a_while(path, tmp_path):
    contents = [*["LocalResourceError"] * 10, "fine", *[f"LocalResourceError {number}" for number in range(30)]]
    step, made = Asking(), files(tmp_path / "in", *contents)
    with open_worker(step, path) as worker:
        with pytest.raises(LocalResourceError) as raised:
            list(map(worker.process, map(item_of, made)))
        assert "failed alike" in raised.value.__notes__[0]
    assert status(path).counts == {"failed": 26, "ok": 1}


def test_many_bad_files_do_not_end_the_run(path, tmp_path):
    made = files(tmp_path / "in", *[f"InvalidRequestError {number}" for number in range(40)])
    assert {row.status for row in processed(Asking(), path, made)} == {"refused"}


def test_many_dead_links_do_not_end_the_run(path):
    """The server of a link is no concern of other inputs."""
    links = [f"http://127.0.0.1:9/{number}.mp4" for number in range(20)]
    rows = processed(Asking(), path, links, settings=replace(SETTINGS, max_retries=0))
    assert {(row.status, row.retryable) for row in rows} == {("failed", True)}


# --- Money and limits ---


def test_money_is_shared_and_lasts_over_runs(path, tmp_path):
    """What was not begun is over_budget without being opened; a higher limit takes it up."""

    def reserve(_, task):
        with task.client.settings.spend_limit.reserve(cost()) as held:
            held.settle(cost())

    step, made = Asking(during=reserve), files(tmp_path / "in", *map(str, range(30)))
    rows = processed(step, path, made, spend_limit=SpendLimit(cny=10), in_flight=1)
    assert [row.status for row in rows] == ["ok"] * 10 + ["over_budget"] * 20
    assert step.calls < 15  # the last ones were not opened
    assert "higher limit" in rows[-1].error
    again = processed(step, path, made, spend_limit=SpendLimit(cny=10), in_flight=1)
    assert [row.status for row in again] == [row.status for row in rows]
    more = processed(step, path, made, spend_limit=SpendLimit(cny=25), in_flight=1)
    assert [row.status for row in more] == ["ok"] * 25 + ["over_budget"] * 5
    assert max(step.asked[str(number)] for number in range(10)) == 1


def cost():
    from qwen_omni.pricing.costs import TokenCounts, cost_of  # noqa: PLC0415

    return cost_of(TokenCounts(text=1_250_000), "qwen3.8-omni-flash")  # 1 yuan


def test_a_limit_needs_a_price(path):
    step = FunctionStep("f", lambda *_: 1, "d", model="no-such-model")
    with pytest.raises(ConfigurationError, match="no-such-model"):
        open_worker(step, path, spend_limit=SpendLimit(cny=1))
    with open_worker(step, path, spend_limit=SpendLimit(tokens=1)):
        pass


def test_rate_limits_are_those_of_the_caller(path):
    with open_worker(Asking(), path, limits=RateLimits(rpm=7)) as worker:
        assert worker.settings.rate_limits("qwen3.8-omni-flash").rpm == 7


def test_calls_at_once_are_bounded(path, tmp_path):
    """Also where threads of several batches share a worker."""
    step = Asking(during=lambda *_: time.sleep(0.01))
    made = files(tmp_path / "in", *map(str, range(40)))
    with open_worker(step, path, in_flight=3) as worker:
        batches = [{"uri": [str(one) for one in made[start::2]]} for start in (0, 1)]
        in_threads(*(partial(worker, batch) for batch in batches))
    assert (step.most, step.calls) == (3, 40)


def test_usage_reaches_the_callers_ledger(path, tmp_path):
    ledger = UsageLedger()
    processed(Asking(), path, files(tmp_path / "in", "a", "ServerError"), settings=replace(SETTINGS, ledger=ledger))
    assert (ledger.total.calls, ledger.total.tokens.input) == (2, 2_000)


# --- Several workers ---


def test_another_worker_asks_already(path, tmp_path):
    """The content is asked about once; whoever waits gets the answer."""
    go = threading.Event()
    step, (one, copy) = Asking(wait=go), files(tmp_path / "in", "A door.", "A door.")
    rows = []
    with open_worker(step, path) as first, open_worker(step, path) as second:
        asking = threading.Thread(target=lambda: rows.append(first.process(item_of(one))))
        asking.start()
        until(lambda: step.calls)
        state = second.attempt(item_of(copy))
        assert isinstance(state, Busy)
        assert second.attempt_again(state) is state
        go.set()
        rows.append(second.process(item_of(copy)))
        asking.join()
        assert isinstance(second.attempt_again(state), ArchiveRow)
    assert sorted((row.status, row.reused) for row in rows) == [("ok", False), ("ok", True)]
    assert step.calls == 1


def test_the_first_answer_counts(path, tmp_path):
    """A worker that stalled and was overtaken gives out what the other one stored; both calls are in the books."""

    def overtaken(_, task):
        key = StepKey(worker.run, task.digest, worker.origin)
        worker.store.finish(key, {"value": {"said": "first"}, "truncated": False, "model": "m"})

    (file,) = files(tmp_path / "in", "A door.")
    with open_worker(Asking(during=overtaken), path) as worker:
        row = worker.process(item_of(file))
        (stored,) = stored_inputs(worker.store, worker.run, worker.origin)
    assert (row.value, row.cost_cny > 0) == ({"said": "first"}, True)
    assert stored.found["value"] == {"said": "first"}


def test_a_late_failure_does_not_replace_an_answer(path, tmp_path):
    def overtaken(_, task):
        key = StepKey(worker.run, task.digest, worker.origin)
        worker.store.finish(key, {"value": 1, "truncated": False, "model": "m"})

    (file,) = files(tmp_path / "in", "ServerError")
    with open_worker(Asking(during=overtaken), path) as worker:
        row = worker.process(item_of(file))
    assert (row.status, row.value, row.reused, row.input_tokens) == ("ok", 1, True, 1_000)
    assert status(path).counts == {"ok": 1}


def test_a_batch_that_is_stopped_while_it_begins(path, tmp_path, monkeypatch):
    """Threads that end before all its inputs were handed to them are no fault of a batch."""
    ended = ThreadPoolExecutor(1)
    ended.shutdown()
    with open_worker(Asking(), path) as worker:
        monkeypatch.setattr(worker, "pool", lambda: ended)
        worker.stop()
        with pytest.raises(StoppedError):
            worker({"uri": [str(one) for one in files(tmp_path / "in", "a")]})


def test_a_failure_ends_the_claim(path, tmp_path):
    made = files(tmp_path / "in", "ServerError", "ServerError")
    step = Asking()
    with open_worker(step, path) as one, open_worker(step, path) as two:
        one.process(item_of(made[0]))
        assert isinstance(two.attempt(item_of(made[1])), ArchiveRow)
    assert step.calls == 2


# --- The store ---


def test_answers_stay_in_memory_while_the_file_is_locked(path, tmp_path, monkeypatch):
    """They are written when it is free again; nothing is paid for twice."""
    monkeypatch.setattr(sqlite, "BUSY_SECONDS", 0.05)
    step, made = Asking(), files(tmp_path / "in", "a", "b")
    with open_worker(step, path) as worker:
        worker.process(item_of(made[0]))

        def lock(*_):
            base.execute("BEGIN EXCLUSIVE")

        step._during = lock
        with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as base:
            row = worker.process(item_of(made[1]))
            assert (row.status, worker.store.unwritten) == ("ok", 2)
            base.execute("ROLLBACK")
        worker.check_written()
        assert worker.store.unwritten == 0
    step._during = None
    assert [row.status for row in processed(step, path, made)] == ["ok", "ok"]
    assert step.calls == 2


@pytest.mark.parametrize(
    ("code", "text", "calls"),
    [("SQLITE_FULL", "database or disk is full", 1), ("SQLITE_BUSY", "locked", 3)],
)
def test_a_store_that_cannot_be_written_ends_the_run(path, tmp_path, monkeypatch, code, text, calls):
    """Nothing more is paid for once an answer finds no room, or many wait for a lock; the error counts them."""
    monkeypatch.setattr(workers, "_MOST_UNWRITTEN", 4)
    monkeypatch.setattr(sqlite, "_CLAIM_PATIENCE", 0.05)
    monkeypatch.setattr(workers, "_STORE_PATIENCE", 0.2)
    monkeypatch.setattr(workers, "_PAUSE", 0.01)
    step, made = Asking(), files(tmp_path / "in", *map(str, range(20)))
    with open_worker(step, path) as worker:
        full = sqlite3.OperationalError(text)
        full.sqlite_errorcode, full.sqlite_errorname = getattr(sqlite3, code), code
        write = worker.store.database.write
        worker.store.database.write = Mock(side_effect=full)
        monkeypatch.setattr(worker.store._file, "writing", Mock(side_effect=full))
        with pytest.raises(LocalResourceError, match=rf"\d answers and rows .*{text}"):
            list(map(worker.process, map(item_of, made)))
        assert step.calls == calls
        worker.store.database.write = write
        monkeypatch.undo()
    assert status(path).counts == {"ok": calls}  # it was free again at the end


def test_a_store_that_cannot_be_read_may_hold_the_answer(path, tmp_path, monkeypatch):
    """Nothing is asked for meanwhile: it may have been paid for."""
    monkeypatch.setattr(workers, "_STORE_PATIENCE", 0.2)
    monkeypatch.setattr(workers, "_PAUSE", 0.01)
    step, (one, copy) = Asking(), files(tmp_path / "in", "a", "a")
    with open_worker(step, path) as worker:
        worker.process(item_of(one))
        broken = sqlite3.OperationalError("disk I/O error")
        broken.sqlite_errorcode, broken.sqlite_errorname = sqlite3.SQLITE_IOERR, "SQLITE_IOERR"
        monkeypatch.setattr(worker.store._file, "read", Mock(side_effect=broken))
        monkeypatch.setattr(worker.store._file, "writing", Mock(side_effect=broken))
        with pytest.raises(LocalResourceError):
            worker.attempt(item_of(copy))
        monkeypatch.undo()
        assert worker.attempt(item_of(copy)).reused
    assert step.calls == 1


def test_a_server_that_stays_away(path, tmp_path, monkeypatch):
    monkeypatch.setattr(workers, "_STORE_PATIENCE", 0.05)
    monkeypatch.setattr(workers, "_PAUSE", 0.01)
    (file,) = files(tmp_path / "in", "a")
    with open_worker(Asking(), path) as worker:
        tries = []

        def claim(_):
            tries.append(1)
            raise StoreError("It is gone.", reason="unreachable", address="postgresql://h/db", transient=True)

        monkeypatch.setattr(worker.store, "claim", claim)
        with pytest.raises(StoreError, match="It is gone"):
            worker.process(item_of(file))
        assert len(tries) > 1
        monkeypatch.undo()
        assert worker.process(item_of(file)).status == "ok"


# --- Batches, and the end ---


def test_a_batch_of_columns(path, tmp_path):
    made = files(tmp_path / "in", "a", "a", "")
    batch = {"uri": [*map(str, made), str(made[0]), None, str(tmp_path / "gone.mp4")], "id": range(6)}
    with open_worker(Asking(), path) as worker:
        found = worker(batch)
        assert worker({"uri": []})["status"] == []
        with pytest.raises(ConfigurationError, match="columns: id"):
            worker({"id": [1]})
    assert list(found) == list(ArchiveRow(uri="", step="", step_digest="", status="ok").to_dict())
    assert found["status"] == ["ok", "ok", "skipped", "ok", "skipped", "skipped"]
    assert [code for code in found["error_code"] if code] == ["empty", "no_uri", "missing"]
    assert json.loads(found["value"][3]) == {"said": "a"}
    assert found["value"][2] is None
    assert status(path).total == 4  # one for each input that has a name


def test_a_batch_with_the_missing_values_of_pandas(path):
    """Whole columns become floats there, with NaN for what is missing; no cell ends the batch."""
    nan = float("nan")
    batch = {
        "uri": ["https://127.0.0.1:9/a.mp4", "https://127.0.0.1:9/b.mp4", nan],
        "version": [nan, nan, "v3"], "etag": ["tag", nan, ""], "size": [7.0, nan, "many"],
    }  # fmt: skip
    with open_worker(Asking(), path) as worker:
        found = worker(batch)
    assert found["status"] == ["failed", "failed", "skipped"]
    assert found["etag"] == ["tag", "", ""]
    assert found["error_code"][2] == "no_uri"
    assert status(path).total == 2


def test_a_worker_that_is_closed_begins_nothing(path, tmp_path):
    step, (file,) = Asking(), files(tmp_path / "in", "a")
    worker = open_worker(step, path)
    worker.close()
    worker.close()
    with pytest.raises(StoppedError):
        worker.attempt(item_of(file))
    assert step.calls == 0


@pytest.mark.parametrize("name", ["Ask", "a b", "", "x" * 70])
def test_names_of_steps(path, name):
    with pytest.raises(ConfigurationError, match="lower-case letters"):
        open_worker(FunctionStep(name, lambda *_: 1, "d"), path)
    with pytest.raises(ConfigurationError, match="a non-empty string without spaces"):
        open_worker(FunctionStep("ask", lambda *_: 1, "d 1"), path)


@pytest.mark.parametrize("in_flight", [0, -1, 1.5])
def test_calls_in_flight_are_checked(path, in_flight):
    with pytest.raises(ConfigurationError, match="in_flight"):
        open_worker(Asking(), path, in_flight=in_flight)


def test_an_item_with_a_problem(path):
    (item,) = find_items({"uri": ""})
    assert isinstance(item, ArchiveItem)
    with open_worker(Asking(), path) as worker:
        assert worker.process(item).error_code == "no_uri"


def test_a_file_that_changes_while_it_is_asked_about(path, tmp_path):
    """Its answer belongs to no content that is known."""
    (file,) = files(tmp_path / "in", "a")
    step = Asking(during=lambda source, _: Path(source.path).write_text("b"))
    (row,) = processed(step, path, [file])
    assert (row.status, row.error_code, row.retryable, row.input_tokens) == ("failed", "changed", True, 1_000)
    step._during = None
    time.sleep(0.06)
    assert processed(step, path, [file])[0].value == {"said": "b"}
