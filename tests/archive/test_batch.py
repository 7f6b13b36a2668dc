"""One batch per intent, each answer stored once, and a type for everything that went wrong."""

import asyncio
import json
import re
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx2
import pytest

from qwen_omni import (
    APIConnectionError,
    APIError,
    AuthenticationError,
    ChatOptions,
    ChatRequest,
    ConfigurationError,
    InvalidRequestError,
    LocalResourceError,
    NotFoundError,
    PermissionDeniedError,
    RateLimitError,
    ServerError,
    SpendLimit,
    SpendLimitError,
    TaskFailedError,
    TaskUnfinishedError,
    UsageLedger,
    user,
)
from qwen_omni.archive import AsyncBatchJob, BatchJob, BatchResult, batch_flows, try_batch_file
from qwen_omni.errors import BatchCancelledError, BatchExpiredError
from qwen_omni.settings import Settings
from qwen_omni.standin import Standin
from qwen_omni.standin.batch.batches import BatchFault
from qwen_omni.work_store.sqlite import SqliteStore
from tests.archive.conftest import MakeJob, questions
from tests.support.threads import in_threads

NONSENSE = ChatOptions(extra_body={"response_format": {"type": "nonsense"}})


def with_a_bad_one(count: int) -> dict[str, ChatRequest]:
    """Questions, the second of which the service refuses."""
    requests = questions(count)
    return {**requests, "q1": replace(requests["q1"], options=NONSENSE)}


def ended(job: BatchJob) -> BatchJob:
    """Submit, and wait until the batch has ended."""
    job.submit()
    job.wait(poll_seconds=0.001)
    return job


def finish(job: BatchJob) -> list[BatchResult]:
    """Submit, wait, read."""
    return list(ended(job).results())


def statuses(found: list[BatchResult]) -> list[str]:
    return [one.status for one in found]


def stored(path: Path) -> int:
    """Count the stored answers, as any other program would."""
    with closing(sqlite3.connect(path)) as base:
        return int(base.execute("SELECT count(*) FROM results WHERE run = 'batch answers'").fetchone()[0])


def test_the_whole_way(make: MakeJob, standin: Standin, limit: SpendLimit, ledger: UsageLedger, tmp_path: Path) -> None:
    """Results in the order of the requests, although the file has another; half price is booked, nothing reserved."""
    job = make()
    assert job.submit().status == "validating"
    assert limit.reserved.cny == pytest.approx(job.estimate().cost.cny)
    seen: list[str] = []
    assert job.wait(poll_seconds=0.001, on_progress=lambda status: seen.append(status.status)).completed == 4
    assert seen == ["in_progress", "finalizing", "completed"]
    found = list(job.results())
    assert [one.custom_id for one in found] == ["q0", "q1", "q2", "q3"]
    assert ["Question 2" in one.response.text for one in found if one.response] == [False, False, True, False]
    assert ledger.total.calls == 4
    assert limit.spent.cny == pytest.approx(ledger.total.cny)
    assert limit.reserved.cny == 0
    assert stored(tmp_path / "batches.sqlite3") == 4
    created = next(iter(standin.batches.created.values()))
    assert created.metadata["ds_name"] == "qwen-omni"
    assert re.fullmatch(r"qwen-omni [0-9a-f]{32}", created.metadata["ds_description"])


def test_the_same_job_again_sends_nothing(make: MakeJob, standin: Standin) -> None:
    """Neither do its results, which are in the store; another process goes on where the first was."""
    first = make()
    first.submit()
    first.close()
    again = make()
    assert again.submit().id == next(iter(standin.batches.created))
    assert statuses(finish(again)) == ["ok"] * 4
    before = list(standin.batches.calls)
    assert statuses(finish(make())) == ["ok"] * 4
    assert standin.batches.calls == before
    assert len(standin.batches.created) == 1


def test_answers_are_shared_by_jobs(make: MakeJob, standin: Standin) -> None:
    """A later job with a question more pays for that question only, under whatever names."""
    finish(make(3))
    renamed = {f"other-{name}": request for name, request in questions(4).items()}
    assert statuses(finish(make(requests=renamed))) == ["ok"] * 4
    assert standin.batches.billed == ["q0", "q1", "q2", "other-q3"]
    finish(make(requests={"x": questions(4)["q1"]}))
    assert len(standin.batches.created) == 2  # nothing was left to ask


def test_another_server_has_its_own_answers(make: MakeJob, money: Settings) -> None:
    """What the stand-in answered is never given out for the service's."""
    job = make()
    finish(job)
    elsewhere = replace(money, api_key=Settings.load(api_key="sk-real").api_key)
    with pytest.raises(ConfigurationError, match="has no job"):
        BatchJob.resume(job.key, store=job.flows._store, settings=elsewhere)
    with pytest.raises(AuthenticationError):
        make(settings=elsewhere).submit()


def test_a_job_is_resumed_by_its_key(make: MakeJob, money: Settings, tmp_path: Path) -> None:
    """Without its requests it can be followed and read, not submitted."""
    key = make().key
    with pytest.raises(ConfigurationError, match="has no job"):
        BatchJob.resume(key, store=tmp_path / "batches.sqlite3", settings=money)
    make().submit()
    with BatchJob.resume(key, store=tmp_path / "batches.sqlite3", settings=money) as job:
        assert job.submit().status == "in_progress"
        with pytest.raises(ConfigurationError, match="was resumed by its key"):
            job.estimate()
        job.wait(poll_seconds=0.001)
        assert statuses(list(job.results())) == ["ok"] * 4


def test_async(make: MakeJob, standin: Standin) -> None:
    """The same job without blocking the event loop."""

    async def go() -> list[BatchResult]:
        async with AsyncBatchJob(make()) as job:
            await job.submit()
            assert (await job.retrieve()).status == "in_progress"
            with pytest.raises(TaskUnfinishedError):
                await job.results()
            await job.wait(poll_seconds=0.001)
            assert (await job.cancel()).status == "completed"
            assert (await job.retry()).status == "completed"
            return await job.results()

    assert statuses(asyncio.run(go())) == ["ok"] * 4
    assert len(standin.batches.created) == 1


def test_the_test_model_all_the_way(settings: Settings, standin: Standin) -> None:
    """The smoke test: free at the service, and a new job every time."""
    assert try_batch_file(settings, poll_seconds=0.001) == try_batch_file(settings, poll_seconds=0.001)
    assert len(standin.batches.created) == 2


# --- What must not be created twice ---

LOST = [
    BatchFault(operation="create", status=500, after=True),
    BatchFault(operation="create", status=0, after=True),
    BatchFault(operation="create", status=504, code="", message="Gateway Time-out", after=True),
    BatchFault(operation="create", status=409, after=True),
]


@pytest.mark.parametrize("fault", LOST, ids=lambda fault: str(fault.status))
def test_a_batch_whose_answer_was_lost_is_found_by_its_marker(
    fault: BatchFault, make: MakeJob, standin: Standin
) -> None:
    """The service created it and said something else; it is one batch."""
    standin.batches.fail(replace(fault))
    assert statuses(finish(make())) == ["ok"] * 4
    assert len(standin.batches.created) == 1
    assert ("list", 200) in standin.batches.calls


def test_it_is_found_on_a_later_page(make: MakeJob, standin: Standin, settings: Settings) -> None:
    """The list is read to its end: the account has other batches, of other programs and states."""
    standin.batches.fail(BatchFault(operation="create", status=500, after=True))
    standin.batches.fail(BatchFault(operation="list", status=503, times=5))
    job = make()
    with pytest.raises(ServerError):
        job.submit()
    ours = next(iter(standin.batches.created.values()))
    for at in range(230):
        standin.batches.created[f"b{at}"] = replace(ours, id=f"b{at}", metadata={}, status="in_progress")
    standin.batches._faults.clear()
    assert job.submit().id == ours.id
    assert standin.batches.calls.count(("list", 200)) == 3


def test_what_was_not_created_is_created(make: MakeJob, standin: Standin) -> None:
    """A failure without a batch is raised; the next call looks, finds none, and creates it."""
    standin.batches.fail(BatchFault(operation="create", status=500))
    job = make()
    with pytest.raises(ServerError, match="It is not known whether the batch was created"):
        job.submit()
    assert standin.batches.created == {}
    assert statuses(finish(job)) == ["ok"] * 4
    assert len(standin.batches.created) == 1
    assert [one for one, _ in standin.batches.calls].count("upload") == 1  # the file is there already


def test_a_new_batch_may_be_missing_from_the_list_for_a_while(
    make: MakeJob, standin: Standin, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is looked for again until it would certainly be there."""
    monkeypatch.setattr(batch_flows, "_SETTLE_SECONDS", 30.0)
    monkeypatch.setattr(batch_flows, "_LOOK_SECONDS", 0.001)
    standin.batches.fail(BatchFault(operation="create", status=500, after=True))
    looks: list[int] = []
    page = batch_flows.wire.decode_page

    def late(reply: bytes) -> Any:
        looks.append(1)
        return page(reply) if len(looks) > 3 else ([], "")

    monkeypatch.setattr(batch_flows.wire, "decode_page", late)
    make().submit()
    assert (len(looks), len(standin.batches.created)) == (4, 1)


def test_twins_are_stopped(make: MakeJob, standin: Standin) -> None:
    """If a proxy repeated the request, one batch is followed, and the other cancelled."""
    standin.batches.fail(BatchFault(operation="create", status=500, after=True))
    standin.batches.fail(BatchFault(operation="list", status=503, times=5))
    job = make()
    with pytest.raises(ServerError):
        job.submit()
    ours = next(iter(standin.batches.created.values()))
    standin.batches.created["twin"] = replace(ours, id="twin", created=ours.created + 1)
    standin.batches._faults.clear()
    assert job.submit().id == ours.id
    assert standin.batches.created["twin"].status == "cancelling"


@pytest.mark.parametrize("status", [400, 401, 403, 429])
def test_a_refusal_leaves_nothing_behind(status: int, make: MakeJob, standin: Standin, limit: SpendLimit) -> None:
    """Nothing was created, so nothing stays reserved; the next call needs no search."""
    standin.batches.fail(BatchFault(operation="create", status=status, code="limit_requests", times=2))
    job = make()
    with pytest.raises(APIError):
        job.submit()
    assert limit.reserved.cny == 0
    assert statuses(finish(job)) == ["ok"] * 4
    assert "list" not in [one for one, _ in standin.batches.calls]


def test_several_processes_create_one(make: MakeJob, standin: Standin) -> None:
    """Whoever comes second waits for the first, and follows its batch."""
    found = in_threads(*(make().submit for _ in range(4)))
    assert len(standin.batches.created) == len({one.id for one in found}) == 1


def test_a_store_that_cannot_be_written(
    make: MakeJob, standin: Standin, monkeypatch: pytest.MonkeyPatch, limit: SpendLimit
) -> None:
    """An intent that is not on disk would be lost with a crash, so nothing is created."""
    job = make()
    monkeypatch.setattr(SqliteStore, "note", lambda self, *_: setattr(self, "trouble", "no space left on device"))
    with pytest.raises(LocalResourceError, match=r"no space left on device.*nothing was submitted"):
        job.submit()
    assert standin.batches.calls == []
    assert limit.reserved.cny == 0


def test_memory_is_no_store(make: MakeJob) -> None:
    """A batch outlives its program."""
    with pytest.raises(ConfigurationError, match="must be a file"):
        make(store=SqliteStore(None))


def test_a_limit_refuses_before_anything_is_sent(make: MakeJob, money: Settings, standin: Standin) -> None:
    """The sum of all lines counts."""
    one = make(1).estimate().cost.cny or 0
    with pytest.raises(SpendLimitError):
        make(4, settings=replace(money, spend_limit=SpendLimit(cny=2 * one))).submit()
    assert standin.batches.calls == []


# --- How a batch ends ---


def test_an_expired_batch(make: MakeJob, standin: Standin, ledger: UsageLedger) -> None:
    """Finished lines are read and billed, the others typed; `retry` submits those alone."""
    standin.batches.end_next("expired")
    job = make()
    found = finish(job)
    assert statuses(found) == ["ok", "ok", "expired", "expired"]
    assert isinstance(found[3].error, BatchExpiredError)
    assert "is not billed" in str(found[3].error)
    assert ledger.total.calls == 2
    assert job.submit().status == "expired"  # nothing is paid without being asked for
    assert job.retry().status == "validating"
    assert statuses(finish(job)) == ["ok"] * 4
    assert sorted(standin.batches.billed) == ["q0", "q1", "q2", "q3"]


def test_a_cancelled_batch(make: MakeJob, standin: Standin) -> None:
    """What was finished by then is billed, and given out."""
    standin.batches.held = "in_progress"
    job = make()
    job.submit()
    job.retrieve()
    assert job.cancel().status == "cancelling"
    assert job.cancel().status == "cancelled"
    found = finish(job)
    assert statuses(found) == ["ok", "ok", "cancelled", "cancelled"]
    assert isinstance(found[2].error, BatchCancelledError)
    assert len(standin.batches.created) == 1


def test_what_was_never_created_is_not_created_to_be_cancelled(make: MakeJob, standin: Standin) -> None:
    """A lost batch is found and cancelled; where there is none, the lines are."""
    standin.batches.fail(BatchFault(operation="create", status=500))
    job = make()
    with pytest.raises(ConfigurationError, match=r"call submit\(\) first"):
        job.cancel()
    with pytest.raises(ServerError):
        job.submit()
    assert job.cancel().status == "cancelled"
    assert standin.batches.created == {}
    assert statuses(list(job.results())) == ["cancelled"] * 4
    assert job.retry().status == "validating"
    assert statuses(finish(job)) == ["ok"] * 4


def test_a_batch_that_ends_while_it_is_cancelled(make: MakeJob, standin: Standin) -> None:
    """The service refuses with 409, and the batch is what it is."""
    standin.batches.fail(BatchFault(operation="cancel", status=409, code="InvalidState", times=9))
    job = make()
    job.submit()
    assert job.cancel().status == "finalizing"


def test_a_rejected_file(make: MakeJob, standin: Standin) -> None:
    """Every line says why."""
    standin.batches.end_next("failed")
    found = finish(make())
    assert statuses(found) == ["failed"] * 4
    assert isinstance(found[0].error, TaskFailedError)
    assert "line 1: The input file cannot be read." in str(found[0].error)


def test_failed_lines(make: MakeJob, standin: Standin) -> None:
    """A line that the service refuses has the class of the same refusal in real time; the others are read."""
    found = finish(make(requests=with_a_bad_one(3)))
    assert statuses(found) == ["ok", "failed", "ok"]
    assert isinstance(found[1].error, InvalidRequestError)
    assert "Unknown format of response_format" in str(found[1].error)
    assert standin.batches.billed == ["q0", "q2"]


def test_results_are_there_when_the_batch_has_ended(make: MakeJob, standin: Standin) -> None:
    """There are no partial ones; a wait that is too short says that it goes on."""
    standin.batches.held = "in_progress"
    job = make()
    with pytest.raises(ConfigurationError, match=r"call submit\(\) first"):
        job.retrieve()
    job.submit()
    with pytest.raises(TaskUnfinishedError, match=r"is in_progress \(2 of 4 lines\) and has no results yet"):
        list(job.results())
    with pytest.raises(TaskUnfinishedError, match="timeout"):
        job.wait(timeout=0.05, poll_seconds=0.01)
    standin.batches.held = None
    assert statuses(finish(job)) == ["ok"] * 4


def test_a_wait_outlasts_the_network(make: MakeJob, standin: Standin) -> None:
    """A batch takes days; a look that fails is repeated at the next interval, a refusal ends the wait."""
    job = make()
    job.submit()
    standin.batches.fail(BatchFault(operation="retrieve", status=0, times=5))
    assert job.wait(poll_seconds=0.001).status == "completed"
    other = make(requests=questions(5))
    other.submit()
    standin.batches.fail(BatchFault(operation="retrieve", status=0, times=99))
    with pytest.raises(APIConnectionError):
        other.wait(poll_seconds=0.001)
    standin.batches._faults.clear()
    standin.batches.fail(BatchFault(operation="retrieve", status=403))
    with pytest.raises(PermissionDeniedError):
        other.wait(poll_seconds=0.001)


def test_a_batch_of_another_account(make: MakeJob, standin: Standin) -> None:
    """It is not submitted again by itself, which would be paid again."""
    job = make()
    job.submit()
    standin.batches.created.clear()
    for ask in (job.submit, job.wait, lambda: list(job.results())):
        with pytest.raises(NotFoundError, match="another account's key"):
            ask()
    assert [one for one, _ in standin.batches.calls].count("create") == 1


def test_results_that_are_gone(make: MakeJob, standin: Standin) -> None:
    """After 30 days; a caller who accepts that can submit the lines again."""
    job = ended(make())
    standin.batches._files.clear()
    with pytest.raises(NotFoundError, match="30 days"):
        list(job.results())
    assert statuses(list(job.results(allow_missing=True))) == ["failed"] * 4
    job.retry()
    assert statuses(finish(job)) == ["ok"] * 4


def test_a_clock_that_was_set_back(make: MakeJob, standin: Standin, monkeypatch: pytest.MonkeyPatch) -> None:
    """The wait for a lost batch does not last until the clock has caught up."""
    monkeypatch.setattr(batch_flows, "_SETTLE_SECONDS", 0.05)
    standin.batches.fail(BatchFault(operation="create", status=500))
    job = make()
    now = batch_flows.time.time()
    with monkeypatch.context() as later:
        later.setattr(batch_flows.time, "time", lambda: now + 86_400)
        with pytest.raises(ServerError):
            job.submit()
    job.submit()
    assert len(standin.batches.created) == 1


@pytest.mark.parametrize("given", [{"timeout": -1}, {"poll_seconds": 0}, {"poll_seconds": float("nan")}])
def test_numbers_are_checked(make: MakeJob, given: dict[str, Any]) -> None:
    """Before anything is sent."""
    with pytest.raises(ConfigurationError, match=next(iter(given))):
        make().wait(**given)


# --- Downloads ---


@pytest.mark.parametrize("clean", [False, True])
@pytest.mark.parametrize("after", [0, 100, 700])
def test_a_cut_download_is_repeated(
    make: MakeJob, standin: Standin, ledger: UsageLedger, *, after: int, clean: bool
) -> None:
    """Whether the connection broke or a proxy ended it properly; each answer is stored and booked once."""
    standin.batches.fail(BatchFault(operation="content", cut_after=after, clean=clean))
    assert statuses(finish(make())) == ["ok"] * 4
    assert ledger.total.calls == 4


def test_a_download_that_keeps_failing_keeps_what_came(make: MakeJob, standin: Standin, tmp_path: Path) -> None:
    """The error says so; the next call gets the rest."""
    standin.batches.fail(BatchFault(operation="content", cut_after=1500, clean=True, times=9))
    job = ended(make())
    with pytest.raises(APIConnectionError, match="What arrived is stored"):
        list(job.results())
    assert 0 < stored(tmp_path / "batches.sqlite3") < 4
    standin.batches._faults.clear()
    assert statuses(list(job.results())) == ["ok"] * 4
    assert stored(tmp_path / "batches.sqlite3") == 4


def test_a_file_that_lacks_a_line(make: MakeJob, standin: Standin, monkeypatch: pytest.MonkeyPatch) -> None:
    """The service counted four and wrote three: raised, unless the caller takes the rest for lost."""
    job = ended(make())
    rewrite(standin, "output", lambda rows: rows[1:])
    with pytest.raises(APIConnectionError, match="holds 3 of 4 lines"):
        list(job.results())
    found = list(job.results(allow_missing=True))
    assert statuses(found) == ["ok", "ok", "ok", "failed"]
    assert isinstance(found[3].error, TaskFailedError)
    assert found[3].error.code == "missing"


def rewrite(standin: Standin, file: str, change: Callable[[list[bytes]], list[bytes]]) -> None:
    """Change the lines of the output files or of the error files of an ended batch."""
    for name, (owner, content) in standin.batches._files.items():
        if file in name:
            standin.batches._files[name] = (owner, b"".join(row + b"\n" for row in change(content.splitlines())))


@pytest.mark.parametrize("line", [b'{"custom_id": null}', b'{"custom_id": "q', b"<html>"])
def test_a_line_that_stays_unreadable(line: bytes, make: MakeJob, standin: Standin) -> None:
    """The other answers are stored; the caller may treat that one as failed, and submit it again."""
    job = ended(make())
    rewrite(standin, "output", lambda rows: [rows[0], line, *rows[2:]])
    with pytest.raises(APIConnectionError, match=r"line 2 cannot be read.* call again, or pass allow_missing=True"):
        list(job.results())
    found = list(job.results(allow_missing=True))
    assert sorted(statuses(found)) == ["failed", "ok", "ok", "ok"]
    assert [one.error.code for one in found if isinstance(one.error, TaskFailedError)] == ["missing"]
    job.retry()
    assert statuses(finish(job)) == ["ok"] * 4


@pytest.mark.parametrize("clean", [False, True])
def test_a_cut_is_not_taken_for_missing_lines(make: MakeJob, standin: Standin, *, clean: bool) -> None:
    """`allow_missing` is for what is missing at the service: a download that ends early is repeated first."""
    job = ended(make())
    (content,) = (content for name, (_, content) in standin.batches._files.items() if "output" in name)
    standin.batches.fail(BatchFault(operation="content", cut_after=content.index(b"\n") + 1, clean=clean))
    assert statuses(list(job.results(allow_missing=True))) == ["ok"] * 4


def test_an_error_that_says_200(make: MakeJob, standin: Standin) -> None:
    """A line whose body is an error is no answer: it is not stored, and `retry` submits it again."""
    job = ended(make())
    refused = {"error": {"code": "limit_requests", "message": "You exceeded your current requests list."}}

    def change(rows: list[bytes]) -> list[bytes]:
        first = json.loads(rows[0])
        return [json.dumps({**first, "response": {**first["response"], "body": refused}}).encode(), *rows[1:]]

    rewrite(standin, "output", change)
    found = list(job.results())
    assert sorted(statuses(found)) == ["failed", "ok", "ok", "ok"]
    assert [type(one.error) for one in found if one.error] == [RateLimitError]
    job.retry()
    assert statuses(finish(job)) == ["ok"] * 4


def test_lines_in_any_order_and_twice(make: MakeJob, standin: Standin) -> None:
    """An answer beside an error for the same line is an answer, in whichever file and order; blank lines are none."""
    job = ended(make(requests=with_a_bad_one(4)))
    both_null = json.dumps({"id": "x", "custom_id": "q2", "response": None, "error": None}).encode()
    rewrite(standin, "output", lambda rows: [both_null, b"", *reversed(rows), b"  ", rows[0], both_null])
    found = list(job.results())
    assert [(one.custom_id, one.status) for one in found] == [
        ("q0", "ok"), ("q1", "failed"), ("q2", "ok"), ("q3", "ok"),
    ]  # fmt: skip
    assert "Unknown format of response_format" in str(found[1].error)
    assert job.flows.settings.ledger is not None
    assert job.flows.settings.ledger.total.calls == 3


@pytest.mark.parametrize("file", ["output", "failures"])
def test_a_file_that_is_not_named_yet(file: str, make: MakeJob, standin: Standin) -> None:
    """The batch counts lines, and names no file of them: the round is not over, so nothing is paid for again."""
    job = ended(make(requests=with_a_bad_one(3)))
    (batch,) = standin.batches.created.values()
    named = getattr(batch, file)
    setattr(batch, file, None)
    with pytest.raises(TaskUnfinishedError, match="counts 3 lines with an outcome, but names no file"):
        list(job.results())
    setattr(batch, file, named)
    assert statuses(list(job.results())) == ["ok", "failed", "ok"]
    assert [one for one, _ in standin.batches.calls].count("create") == 1


def test_a_file_that_is_never_named(make: MakeJob, standin: Standin) -> None:
    """The caller may treat its lines as failed."""
    job = ended(make())
    (batch,) = standin.batches.created.values()
    batch.output = None
    assert statuses(list(job.results(allow_missing=True))) == ["failed"] * 4


def test_an_error_file_alone(make: MakeJob, standin: Standin) -> None:
    """Every line was refused, so there is no output file."""
    job = ended(make(requests={name: replace(one, options=NONSENSE) for name, one in questions(3).items()}))
    assert not job.retrieve().output_file_id
    found = list(job.results())
    assert [type(one.error) for one in found] == [InvalidRequestError] * 3
    assert standin.batches.billed == []


def test_answers_that_cannot_be_stored(make: MakeJob, standin: Standin, monkeypatch: pytest.MonkeyPatch) -> None:
    """They stay at the service; the round is not over, and the next call stores them."""
    job = ended(make())
    with monkeypatch.context() as full:
        full.setattr(SqliteStore, "finish_all", lambda self, _: setattr(self, "trouble", "no space left on device"))
        full.setattr(SqliteStore, "write_rest", lambda _: None)
        with pytest.raises(LocalResourceError, match="30 days"):
            list(job.results())
    assert statuses(list(job.results())) == ["ok"] * 4


def test_rows_of_another_program_and_repeated_rows(make: MakeJob, standin: Standin) -> None:
    """Unknown names are ignored; of two answers to one line, the first counts."""
    job = ended(make())

    def more(rows: list[bytes]) -> list[bytes]:
        twice = json.loads(rows[0])
        twice["response"]["body"]["choices"][0]["message"]["content"] = "Another one."
        return [*rows, json.dumps(twice).encode(), rows[1].replace(b'"custom_id": "q', b'"custom_id": "z'), b""]

    rewrite(standin, "output", more)
    found = list(job.results())
    assert statuses(found) == ["ok"] * 4
    assert not any(one.response.text == "Another one." for one in found if one.response)


# --- Secrets ---


def test_no_secret_is_stored_or_shown(make: MakeJob, tmp_path: Path, standin: Standin) -> None:
    """Neither the key nor the signature of a link, in the store, a repr or an error."""
    job = make(callback_url="https://example.com/done?token=callback-secret")
    finish(job)
    content = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    for secret in (standin.api_key.encode(), b"callback-secret"):
        assert secret not in content
        assert secret.decode() not in repr(job)
    created = next(iter(standin.batches.created.values()))
    assert created.metadata["ds_batch_finish_callback"].startswith("https://example.com/done")


# --- The stand-in's own rules ---


def call(standin: Standin, method: str, path: str, **others: Any) -> httpx2.Response:
    headers = {"Authorization": f"Bearer {standin.api_key}"}
    return httpx2.request(method, f"{standin.base_url}{path}", headers=headers, **others)


def upload(standin: Standin, *lines: dict[str, Any]) -> str:
    content = b"".join(json.dumps(line).encode() + b"\n" for line in lines)
    reply = call(standin, "POST", "/files", data={"purpose": "batch"}, files={"file": ("a.jsonl", content)})
    return str(reply.json()["id"])


def line(name: str, model: str = "qwen-plus", url: str = "/v1/chat/completions", **body: Any) -> dict[str, Any]:
    messages = [{"role": "user", "content": "Hi"}]
    return {"custom_id": name, "method": "POST", "url": url, "body": {"model": model, "messages": messages, **body}}


FILES: list[tuple[list[dict[str, Any]], str]] = [
    ([line("a"), line("a")], "not unique"),
    ([line("a"), line("b", "qwen-flash")], "same model"),
    ([line("a", "qwen3.8-omni-flash")], "not supported by the Batch API"),
    ([line("a", url="/v1/embeddings")], "url must be"),
    ([line("x" * 257)], "256"),
    ([{"custom_id": "a"}], "not a request"),
]


@pytest.mark.parametrize(("lines", "words"), FILES)
def test_the_standin_validates_files(standin: Standin, lines: list[dict[str, Any]], words: str) -> None:
    """As a batch that failed, with the line."""
    body = {"input_file_id": upload(standin, *lines), "endpoint": "/v1/chat/completions", "completion_window": "24h"}
    made = call(standin, "POST", "/batches", json=body).json()
    looked = call(standin, "GET", f"/batches/{made['id']}").json()
    assert looked["status"] == "failed"
    assert words in looked["errors"]["data"][0]["message"]


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"completion_window": "23h"}, 400),
        ({"completion_window": "15d"}, 400),
        ({"completion_window": "14d"}, 200),
        ({"endpoint": "/v1/models"}, 400),
        ({"input_file_id": "file-x"}, 404),
    ],
)
def test_the_standin_validates_batches(standin: Standin, change: dict[str, Any], status: int) -> None:
    """Before one is created."""
    body = {"input_file_id": upload(standin, line("a")), "endpoint": "/v1/chat/completions", "completion_window": "24h"}
    assert call(standin, "POST", "/batches", json={**body, **change}).status_code == status


def test_the_standin_never_finishes_local_paths(standin: Standin) -> None:
    """As documented: such a line is accepted, and the batch expires."""
    content = [{"type": "image_url", "image_url": {"url": "/home/me/a.png"}}, {"type": "text", "text": "What?"}]
    local = line("a", "qwen3.5-omni-plus", messages=[{"role": "user", "content": content}])
    body = {"input_file_id": upload(standin, local), "endpoint": "/v1/chat/completions", "completion_window": "24h"}
    made = call(standin, "POST", "/batches", json=body).json()["id"]
    states = [call(standin, "GET", f"/batches/{made}").json()["status"] for _ in range(3)]
    assert states[-1] == "expired"


def test_an_answer_of_its_own_form(make: MakeJob, standin: Standin) -> None:
    """Whatever the body of a line is, it was paid for: it is stored, and what it is shows when it is read."""
    odd: list[Callable[[dict[str, Any]], Any]] = [
        lambda body: (
            'data: {"choices":[{"delta":{"content":"Streamed"},"finish_reason":"stop"}],"usage":null}\n\n'
            "data: [DONE]\n\n"
        ),
        lambda body: {**body, "choices": "none"},
        lambda body: [1, 2],
        lambda body: body,
    ]
    job = ended(make())

    def changed(row: bytes, change: Callable[[dict[str, Any]], Any]) -> bytes:
        told = json.loads(row)
        told["response"]["body"] = change(told["response"]["body"])
        return json.dumps(told).encode()

    rewrite(standin, "output", lambda rows: [changed(row, change) for row, change in zip(rows, odd, strict=True)])
    found = list(job.results())
    assert statuses(found) == ["ok", "failed", "failed", "ok"]
    assert found[3].response.text == "Streamed"
    assert all(isinstance(one.error, APIError) for one in found[1:3])


def test_requests_that_are_equal_are_asked_twice(make: MakeJob, standin: Standin) -> None:
    """A sampled model answers the same question differently."""
    same = ChatRequest(model="qwen-plus", messages=(user("Hi"),))
    assert statuses(finish(make(requests={"a": same, "b": same}))) == ["ok", "ok"]
    assert sorted(standin.batches.billed) == ["a", "b"]
