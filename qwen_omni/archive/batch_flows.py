"""The steps of one batch at the service and in the store, as flows; `batch` is the public side.

A batch must never run at the service without being known here. So an *intent*, with a random marker, is
on disk before the service is asked to create a batch, the marker travels in the batch's metadata, and the id is stored
as soon as it is known. A job that finds an intent without an id looks for the marker in the list of batches before it
creates anything. No claim is held while a batch runs, so any process can go on with it.

Each answer is stored under the content of its line before the batch counts as read. Batch File, Batch Chat and real
time are one account at one service, so they share an origin; answers of another server have another origin, and are
never returned here.
"""

import itertools
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self, TypeVar
from urllib.parse import quote
from weakref import WeakKeyDictionary

from qwen_omni.archive.lines import BatchEstimate, Lines, estimate_lines, line_pricing, total
from qwen_omni.errors import (
    APIConnectionError,
    APIError,
    BatchCancelledError,
    BatchExpiredError,
    ConfigurationError,
    LocalResourceError,
    NotFoundError,
    QwenOmniError,
    TaskFailedError,
    TaskUnfinishedError,
)
from qwen_omni.options import ChatRequest
from qwen_omni.pricing.costs import TokenCounts
from qwen_omni.pricing.limit import Reservation, SpendLimit
from qwen_omni.profiles.batch import MOST_FILE_BYTES, TEST_MODEL
from qwen_omni.ranges import TIMEOUT, WAIT, checked
from qwen_omni.responses import Response
from qwen_omni.settings import Settings
from qwen_omni.transport.flow import BytesContent, Content, Flow, Reply, Request, Sleep, ask, repeating
from qwen_omni.transport.retry import RetryPolicy
from qwen_omni.upload.temporary import FormBody
from qwen_omni.wire import batch as wire
from qwen_omni.wire.batch import AnsweredLine, BatchStatus
from qwen_omni.wire.errors import to_error
from qwen_omni.work_store.buffered import BufferedStore
from qwen_omni.work_store.opening import open_work_store
from qwen_omni.work_store.sqlite import SqliteStore
from qwen_omni.work_store.store import Claim, Found, StepKey, StoreUse, Taken, digest

_JOBS, _ROUNDS, _ANSWERS = "batch jobs", "batch rounds", "batch answers"  # the runs in the store
_USE = StoreUse(
    name="batch store",
    way_out="Free some space, or name another file; a running batch can only be resumed from this one.",
    holds="answers",
)
_OK = 200
_UNSURE = frozenset({408, 409, 425, 499})  # of the 4xx: the request may have been carried out
_SETTLE_SECONDS = 60.0  # that a new batch may be missing from the list; an assumption, as nothing is published
_LOOK_SECONDS = 5.0
_TAKEN_SECONDS = 0.5  # between two looks at a job that another process works on
_GROWTH, _LONGEST_POLL = 1.5, 600.0
_MOST_FAILED_LOOKS = 10  # in a row, each with its retries; more than an hour at the longest interval
_MOST_BYTES = 4 * MOST_FILE_BYTES  # of a file of answers
_WAY_OUT = "What arrived is stored; call again, or pass allow_missing=True to treat the rest as failed."
_AT_ONCE = 500  # answers stored in one transaction

T = TypeVar("T")
_reserved: WeakKeyDictionary[SpendLimit, dict[str, Reservation]] = WeakKeyDictionary()
"""What the jobs of this process may still cost, by limit and job; a job may be closed before its batch ends."""

LineStatus = Literal["ok", "failed", "expired", "cancelled"]
_STATUSES: dict[type[QwenOmniError], LineStatus] = {BatchExpiredError: "expired", BatchCancelledError: "cancelled"}
OnProgress = Callable[[BatchStatus], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchResult:
    """The outcome of one request.

    Attributes:
        custom_id: its name in the job.
        status: `ok`; `failed`, if the service refused the line or the whole file; `expired` or `cancelled`, if the
            batch ended before the line was answered. Only `ok` is billed.
        response: the answer.
        error: why there is none: the class that the same refusal has in real time, `BatchExpiredError`,
            `BatchCancelledError`, or `TaskFailedError` for a whole file.
    """

    custom_id: str
    status: LineStatus
    response: Response | None = None
    error: QwenOmniError | None = None


class BatchFlows:
    """One job: its steps at the service and in the store, as flows. `BatchJob` and `AsyncBatchJob` run them.

    Attributes:
        settings: how the service is reached.
        key: identifies the job in its store.
    """

    def __init__(  # noqa: PLR0913  (what a job is made of)
        self,
        settings: Settings,
        store: str | Path | BufferedStore,
        *,
        digests: Mapping[str, str],
        model: str,
        hours: int,
        lines: Lines | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        """Open the store; `lines` are missing where a job is resumed by its key."""
        self.settings, self._store = settings, open_store(store)
        self._digests, self._model, self._hours = dict(digests), model, hours
        self._lines, self._metadata = lines, dict(metadata or {})
        self._origin = settings.origin
        self._retry = RetryPolicy(max_retries=settings.max_retries, first_wait=settings.retry_wait)
        self.key = digest(self._digests, model)[:32]

    @classmethod
    def of_key(cls, key: str, settings: Settings, store: str | Path | BufferedStore) -> Self:
        """Open a submitted job without its requests.

        Raises:
            ConfigurationError: the store has no such job for this server.
        """
        opened = open_store(store)
        found = opened.find(StepKey(_JOBS, key, settings.origin))
        if found is None:
            raise ConfigurationError(f"The batch store has no job {key!r} of {settings.base_url}.")
        about = found.value
        return cls(settings, opened, digests=about["lines"], model=about["model"], hours=about["hours"])

    def __repr__(self) -> str:
        return f"{self.key}, {len(self._digests):,} requests to {self._model}"

    def close(self) -> None:
        """Close the store."""
        self._store.close()

    def estimate(self) -> BatchEstimate:
        """Return the most that the requests without an answer will cost."""
        return estimate_lines([self._requests[name] for name in self._unanswered()], self._model, self.settings)

    @property
    def _requests(self) -> Mapping[str, ChatRequest]:
        return self._all_lines.requests

    @property
    def _all_lines(self) -> Lines:
        if self._lines is None:
            raise ConfigurationError(
                f"The job {self.key} was resumed by its key, so its requests are not known. "
                "Build it with BatchJob(...)."
            )
        return self._lines

    def _answer_key(self, name: str) -> StepKey:
        return StepKey(_ANSWERS, self._digests[name], self._origin)

    def _unanswered(self) -> list[str]:
        return [name for name in self._digests if self._store.find(self._answer_key(name)) is None]

    # --- Rounds: one batch each ---

    def _round(self, number: int) -> StepKey:
        return StepKey(_ROUNDS, f"{self.key}/{number}", self._origin)

    def _last_ended(self) -> tuple[int, Found | None]:
        """Return the number of the round after the last one that ended, and that one."""
        number, last = 0, None
        while (found := self._store.find(self._round(number))) is not None:
            number, last = number + 1, found
        return number, last

    def _claimed(self) -> Flow[tuple[Claim, dict[str, Any] | None, Found | None]]:
        """Claim the current round, waiting for another process that submits or reads it.

        Return its intent, if there is one, and the last round that ended.
        """
        while True:
            number, last = self._last_ended()
            state = self._store.claim(self._round(number))
            if isinstance(state, Claim):
                return state, (state.resume if isinstance(state.resume, dict) else None), last
            if isinstance(state, Taken):
                yield Sleep(_TAKEN_SECONDS)

    def submitted(self, *, again: bool) -> Flow[BatchStatus]:
        """Create the batch of the current round once; with `again`, begin a round for what the last one left."""
        claim, intent, last = yield from self._claimed()
        try:
            if intent is None and last is not None and not (again and self._unanswered()):
                return _ended(last)
            if intent is None:
                intent = self._new_intent(claim)
                if not intent["lines"]:
                    done = BatchStatus()
                    self._finish(claim, intent, done, {})
                    return done
            return (yield from self._batch_of(claim, intent))
        finally:
            self._store.release(claim.key)

    def _new_intent(self, claim: Claim) -> dict[str, Any]:
        """Commit what is about to be created, and what may be spent on it."""
        names = self._unanswered()
        chosen = [self._requests[name] for name in names]
        limit = self.settings.spend_limit
        if limit is not None and names:
            held = limit.reserve(estimate_lines(chosen, self._model, self.settings).cost)
            _reserved.setdefault(limit, {})[self.key] = held
        try:
            record = {"lines": self._digests, "model": self._model, "hours": self._hours}
            self._store.finish(StepKey(_JOBS, self.key, self._origin), record)
            intent = {"marker": uuid.uuid4().hex, "lines": names}
            self._note(claim, intent)
        except BaseException:
            self._release_money()
            raise
        return intent

    def _note(self, claim: Claim, intent: Mapping[str, Any]) -> None:
        """Store an intent.

        Raises:
            LocalResourceError: it is not on disk, so a crash would lose a batch that was paid for.
        """
        self._store.note(claim, dict(intent))
        if self._store.trouble:
            raise LocalResourceError(
                f"The batch store cannot be written ({self._store.trouble}), so nothing was submitted. {_USE.way_out}",
                resource="disk",
            )

    def _release_money(self) -> None:
        held = self._taken()
        if held is not None:
            held.release()

    def _taken(self) -> Reservation | None:
        """Return the reservation for this job; the caller ends it."""
        limit = self.settings.spend_limit
        return None if limit is None else _reserved.get(limit, {}).pop(self.key, None)

    # --- Creating one batch, once ---

    def _batch_of(self, claim: Claim, intent: dict[str, Any]) -> Flow[BatchStatus]:
        """Return the batch of an intent: the known one, the one that carries its marker, or a new one."""
        if intent.get("batch_id"):
            return (yield from self._look(intent["batch_id"]))
        if intent.get("attempted_at"):
            found = yield from self._found(intent)
            if found is not None:
                return self._adopted(claim, intent, found)
        lines = self._all_lines.only(intent["lines"])
        try:
            if not intent.get("file_id"):
                intent["file_id"] = yield from self._uploaded(lines)
            intent["attempted_at"] = time.time()
            self._note(claim, intent)
            return self._adopted(claim, intent, (yield from self._create(claim, intent)))
        except QwenOmniError:
            if not intent.get("attempted_at"):
                self._release_money()
            raise

    def _create(self, claim: Claim, intent: dict[str, Any]) -> Flow[BatchStatus]:
        # Metadata of other names may be dropped, so the marker is in a documented field as well.
        marked = {"ds_description": f"qwen-omni {intent['marker']}", "qwen_omni_job": intent["marker"]}
        body = wire.encode_batch(intent["file_id"], self._model, self._hours, {**self._metadata, **marked})

        def attempt() -> Flow[BatchStatus]:
            return wire.decode_batch((yield from self._call("POST", "/batches", BytesContent(body))))

        try:
            return (yield from repeating(attempt, self._retry, only=_was_refused))
        except QwenOmniError as error:
            if _was_refused(error):
                del intent["attempted_at"]
                self._note(claim, intent)
                raise
            found = yield from self._found(intent)
            if found is None:
                raise error.with_hint(
                    "It is not known whether the batch was created. It is not in the list so far; call submit() again, "
                    "which looks for it first."
                ) from None
            return found

    def _adopted(self, claim: Claim, intent: dict[str, Any], batch: BatchStatus) -> BatchStatus:
        intent["batch_id"] = batch.id
        self._store.note(claim, intent)
        return batch

    def _found(self, intent: Mapping[str, Any]) -> Flow[BatchStatus | None]:
        """Look for the batch of an intent in the list, until it would certainly be there; cancel running duplicates."""
        begun = time.monotonic()
        while True:
            found = yield from self._listed(str(intent["marker"]))
            if found:
                first, *twins = sorted(found, key=lambda one: (one.status in ("failed", "cancelled"), one.created_at))
                for twin in twins:
                    if not twin.ended:
                        yield from self._stop(twin.id)
                return first
            # Another process may have made the attempt, so the clock counts, unless it was set back.
            left = _SETTLE_SECONDS - max(time.time() - float(intent["attempted_at"]), time.monotonic() - begun)
            if left <= 0:
                return None
            yield Sleep(min(_LOOK_SECONDS, left))

    def _listed(self, marker: str) -> Flow[list[BatchStatus]]:
        """Return the batches of the account that carry a marker; pages may overlap while others create batches."""
        found: dict[str, BatchStatus] = {}
        after, seen = "", set[str]()
        while after not in seen:
            seen.add(after)
            path = f"/batches?limit={wire.PAGE}" + (f"&after={quote(after)}" if after else "")
            page, after = wire.decode_page((yield from self._got(path)))
            found |= {batch.id: batch for batch, metadata in page if marker in metadata}
            if not after:
                break
        return list(found.values())

    def _uploaded(self, lines: Content) -> Flow[str]:
        def attempt() -> Flow[str]:
            form = FormBody({"purpose": "batch"}, lines, "requests.jsonl", "application/jsonl")
            return wire.decode_file_id((yield from self._call("POST", "/files", form, form.content_type)))

        return (yield from repeating(attempt, self._retry))

    # --- Following it ---

    def status(self) -> Flow[BatchStatus]:
        """Return the state of the current round's batch."""
        claim, intent, last = yield from self._claimed()
        self._store.release(claim.key)
        if intent is None:
            return self._nothing_runs(last)
        if not intent.get("batch_id"):
            return (yield from self.submitted(again=False))
        return (yield from self._look(intent["batch_id"]))

    def _look(self, batch_id: str) -> Flow[BatchStatus]:
        try:
            return wire.decode_batch((yield from self._got(f"/batches/{quote(batch_id, safe='')}")))
        except NotFoundError as error:
            raise error.with_hint(
                "The job may have been submitted with another account's key. To submit it again, and pay again, use "
                "another store."
            ) from None

    def waited(self, timeout: float | None, poll_seconds: float, on_progress: OnProgress | None) -> Flow[BatchStatus]:
        """Poll until the batch has ended, at growing intervals."""
        timeout = None if timeout is None else checked("timeout", timeout, WAIT)
        poll_seconds = checked("poll_seconds", poll_seconds, TIMEOUT)
        begun, wait, failed = time.monotonic(), poll_seconds, 0
        status = BatchStatus(status="validating")
        while True:
            try:
                status, failed = (yield from self.status()), 0
            except QwenOmniError as error:  # the network may be away for longer than one request is repeated
                failed += 1
                if not error.retryable or failed > _MOST_FAILED_LOOKS:
                    raise
            if on_progress is not None and not failed:
                on_progress(status)
            if status.ended:
                return status
            left = None if timeout is None else timeout - (time.monotonic() - begun)
            if left is not None and left <= 0:
                raise _unfinished(status, f"after {timeout:,.0f} s (timeout)")
            yield Sleep(wait if left is None else min(wait, left))
            wait = min(wait * _GROWTH, max(_LONGEST_POLL, poll_seconds))

    def cancelled(self) -> Flow[BatchStatus]:
        """Cancel the batch, unless it has ended."""
        claim, intent, last = yield from self._claimed()
        try:
            if intent is None:
                return self._nothing_runs(last)
            if not intent.get("batch_id"):
                found = (yield from self._found(intent)) if intent.get("attempted_at") else None
                if found is None:  # there is nothing to cancel, and nothing is created for that
                    never = BatchStatus(status="cancelled")
                    self._finish(claim, intent, never, {})
                    return never
                self._adopted(claim, intent, found)
        finally:
            self._store.release(claim.key)
        status = yield from self._look(intent["batch_id"])
        if status.ended or status.status == "cancelling":
            return status
        return (yield from self._stop(status.id))

    def _nothing_runs(self, last: Found | None) -> BatchStatus:
        if last is None:
            raise ConfigurationError("The job was not submitted; call submit() first.")
        return _ended(last)

    def _stop(self, batch_id: str) -> Flow[BatchStatus]:
        path = f"/batches/{quote(batch_id, safe='')}"

        def attempt() -> Flow[BatchStatus]:
            return wire.decode_batch((yield from self._call("POST", f"{path}/cancel")))

        try:
            return (yield from repeating(attempt, self._retry))
        except APIError as error:
            if error.status_code not in _UNSURE and error.status_code != 400:  # noqa: PLR2004  (it has just ended)
                raise
            return (yield from self._look(batch_id))

    # --- Reading it ---

    def read(self, *, allow_missing: bool) -> Flow[Found]:
        """Download and store the answers of the current round, unless that was done; return the last round."""
        status = yield from self.status()
        if not status.ended:
            raise _unfinished(status, "and has no results yet")
        claim, intent, last = yield from self._claimed()
        try:
            if intent is None:
                assert last is not None, "a status came from an intent or from an ended round"
                return last
            answers = yield from self._file(status.output_file_id, status.completed, allow_missing=allow_missing)
            failures = yield from self._file(status.error_file_id, status.failed, allow_missing=allow_missing)
            self._check_stored()
            if not (allow_missing or status.status == "failed"):  # of a rejected file, nothing was answered
                _check_named(status, len({line.custom_id for line in (*answers, *failures)}))
            # The output file may hold refused lines, too.
            bad = [line for line in (*answers, *failures) if line.body is None]
            return self._finish(claim, intent, status, {line.custom_id: _written(line) for line in bad})
        finally:
            self._store.release(claim.key)

    def _file(self, file_id: str, count: int, *, allow_missing: bool) -> Flow[list[AnsweredLine]]:
        """Download a file of answers, and store them; a damaged or short one is downloaded again."""
        if not file_id:
            return []
        came: list[AnsweredLine] | None = None  # in the last download that ended

        def attempt() -> Flow[list[AnsweredLine]]:
            nonlocal came
            came = None
            content = yield from self._call("GET", f"/files/{quote(file_id, safe='')}/content")
            came, problem = wire.decode_lines(content)
            self._keep(came)
            if problem:
                raise APIConnectionError(
                    f"The file {file_id} was truncated or damaged in transit ({problem}). {_WAY_OUT}"
                )
            if len({line.custom_id for line in came}) < count:
                raise APIConnectionError(f"The file {file_id} holds {len(came):,} of {count:,} lines. {_WAY_OUT}")
            return came

        try:
            return (yield from repeating(attempt, self._retry))
        except APIConnectionError:
            if not allow_missing or came is None:
                raise
            return came
        except NotFoundError as error:
            if allow_missing:
                return []
            raise error.with_hint(
                "The service keeps results for 30 days. Pass allow_missing=True to treat what is missing as failed."
            ) from None

    def _keep(self, lines: Sequence[AnsweredLine]) -> None:
        """Store answers, each once, and account for what they cost."""
        new: dict[StepKey, AnsweredLine] = {}
        for line in lines:
            if line.body is not None and line.custom_id in self._digests:
                new.setdefault(self._answer_key(line.custom_id), line)
        new = {key: line for key, line in new.items() if self._store.find(key) is None}
        left = iter(new.items())
        while some := dict(itertools.islice(left, _AT_ONCE)):
            self._store.finish_all({key: line.body for key, line in some.items()})
        self._pay([*new.values()])

    def _pay(self, lines: Sequence[AnsweredLine]) -> None:
        ledger, limit = self.settings.ledger, self.settings.spend_limit
        if not lines or (ledger is None and limit is None) or self._model == TEST_MODEL:
            return
        pricing = line_pricing(self._model, self.settings)
        responses = [response for line in lines if (response := _read_answer(line.body)) is not None]
        used = [response.usage for response in responses if response.usage is not None]
        if ledger is not None:
            for usage in used:
                ledger.record(usage, model=self._model, pricing=pricing)
        if limit is not None and used:
            # A job that another process submitted has nothing reserved here; what it spent counts all the same.
            held = self._taken() or limit.reserve(pricing.cost(TokenCounts()))
            held.settle(total([pricing.cost(usage) for usage in used]))

    def _check_stored(self) -> None:
        self._store.write_rest()
        if self._store.trouble:
            raise LocalResourceError(
                f"Answers of the batch cannot be stored ({self._store.trouble}). They stay at the service for 30 days: "
                "free some space, and call results() again.",
                resource="disk",
            )

    def _finish(self, claim: Claim, intent: Mapping[str, Any], status: BatchStatus, errors: Mapping[str, Any]) -> Found:
        """End a round, once all its results are stored."""
        self._release_money()
        value = {
            "batch_id": status.id, "status": status.status, "lines": intent["lines"], "errors": dict(errors),
            "problems": list(status.errors), "counts": [status.total, status.completed, status.failed],
        }  # fmt: skip
        return Found(self._store.finish(claim.key, value), self._origin)

    def every(self, ended: Found) -> Iterator[BatchResult]:
        """Yield the outcome of each request, from the store alone."""
        for name in self._digests:
            yield self._result(name, ended)

    def _result(self, name: str, ended: Found) -> BatchResult:
        found = self._store.find(self._answer_key(name))
        error: QwenOmniError
        try:
            if found is not None:
                return BatchResult(custom_id=name, status="ok", response=wire.response_of(found.value))
            error = _error_of(name, ended.value)
        except QwenOmniError as unreadable:
            error = unreadable.with_traceback(None)
        return BatchResult(custom_id=name, status=_STATUSES.get(type(error), "failed"), error=error)

    # --- Requests ---

    def _got(self, path: str) -> Flow[bytes]:
        return (yield from repeating(lambda: self._call("GET", path), self._retry))

    def _call(
        self, method: str, path: str, content: Content | None = None, content_type: str = "application/json"
    ) -> Flow[bytes]:
        headers = {} if content is None else {"Content-Type": content_type}
        reply: Reply = yield from ask(
            Request(
                method=method, url=f"{self.settings.base_url}{path}", headers=headers, content=content, with_key=True,
                most_bytes=_MOST_BYTES,
            )
        )  # fmt: skip
        if reply.status != _OK:
            raise to_error(reply.status, reply.body, reply.headers, url=reply.url)
        return reply.body


def open_store(store: str | Path | BufferedStore) -> BufferedStore:
    """Return a store: of an address of PostgreSQL, or of a file of this machine.

    Raises:
        ConfigurationError: the file is media, damaged, or of another program.
        LocalResourceError: it cannot be opened.
    """
    if isinstance(store, SqliteStore) and store.path is None:
        raise ConfigurationError("A batch outlives its program, so its store must be a file, not memory.")
    if not isinstance(store, str | Path):
        return store
    return open_work_store(store, _USE, otherwise="Name another file")


def _was_refused(error: QwenOmniError) -> bool:
    """Whether the service certainly created nothing; after a 5xx it may have."""
    if isinstance(error, APIConnectionError):
        return not error.sent
    status = error.status_code if isinstance(error, APIError) else None
    return status is not None and 400 <= status < 500 and status not in _UNSURE  # noqa: PLR2004  (refusals)


def _check_named(status: BatchStatus, read: int) -> None:
    """Refuse to end a round whose lines are counted, but are in no file so far: they would be paid for again."""
    counted = status.completed + status.failed
    if read < counted and not (status.output_file_id and status.error_file_id):
        raise TaskUnfinishedError(
            f"The batch {status.id} counts {counted:,} lines with an outcome, but names no file of them for "
            f"{counted - read:,}. Call again later, or pass allow_missing=True to treat those as failed.",
            task_id=status.id,
        )


def _unfinished(status: BatchStatus, when: str) -> TaskUnfinishedError:
    return TaskUnfinishedError(
        f"The batch {status.id} is {status.status} ({status.completed + status.failed:,} of {status.total:,} lines) "
        f"{when}. It continues: the same job finds it again and costs nothing.",
        task_id=status.id,
    )


def _ended(found: Found) -> BatchStatus:
    value = found.value
    total_lines, completed, failed = value["counts"]
    return BatchStatus(
        id=value["batch_id"], status=value["status"], total=total_lines, completed=completed, failed=failed,
        errors=tuple(value["problems"]),
    )  # fmt: skip


def _written(line: AnsweredLine) -> dict[str, Any]:
    return {"status": line.status, "code": line.code, "message": line.message}


def _read_answer(body: object) -> Response | None:
    try:
        return wire.response_of(body)
    except QwenOmniError:
        return None


def _error_of(name: str, ended: Mapping[str, Any]) -> QwenOmniError:
    """Return why a line of an ended batch has no answer."""
    batch_id, status = ended["batch_id"], ended["status"]
    said = ended["errors"].get(name)
    if said is not None:
        return wire.error_of(AnsweredLine(custom_id=name, **said))
    if status == "expired":
        return BatchExpiredError(
            f"The batch {batch_id} expired before line {name!r} was answered. It is not billed; retry() submits it "
            "again, and window_hours= allows more time.",
            task_id=batch_id,
        )
    if status == "cancelled":
        return BatchCancelledError(
            f"The batch {batch_id} was cancelled before line {name!r} was answered. It is not billed; retry() submits "
            "it again.",
            task_id=batch_id,
        )
    if status == "failed":
        why = "; ".join(ended["problems"]) or "no reason given"
        return TaskFailedError(f"The service rejected the file of the batch {batch_id}: {why}.", task_id=batch_id)
    return TaskFailedError(
        f"The batch {batch_id} is completed, but line {name!r} is in neither of its files; retry() submits it again.",
        task_id=batch_id, code="missing",
    )  # fmt: skip
