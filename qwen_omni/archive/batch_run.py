"""Captions of an archive through Batch File: at half price, outside the per-minute limits, within a day or two.

Inputs are taken in chunks, each one batch (`BatchJob`, which is created once whatever happens). Which inputs a batch is
about is on record in the store before it is created: the next run follows that batch before anything else, so a
process may end while one runs, and two processes wait for the same one.

Batch File reads links only, so nothing is downloaded, and a content is known by its link and version: copies under
another link are not recognised. A later run in real time finds the answers by the rows of their inputs.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from threading import Event
from typing import Any, Protocol, runtime_checkable

from qwen_omni.archive.batch import BatchJob
from qwen_omni.archive.batch_flows import BatchResult
from qwen_omni.archive.lines import check_lines, line_pricing
from qwen_omni.archive.remote import oss_store, split_oss
from qwen_omni.archive.rows import ArchiveRow, Problem, from_stored, problem_of
from qwen_omni.archive.sources import ArchiveItem
from qwen_omni.archive.steps import Step, StepResult
from qwen_omni.archive.worker import ArchiveWorker
from qwen_omni.errors import ConfigurationError, QwenOmniError, SpendLimitError, TaskUnfinishedError
from qwen_omni.media.source import MediaSource
from qwen_omni.options import ChatRequest
from qwen_omni.pricing.ledger import UsageLedger
from qwen_omni.profiles.batch import why_not
from qwen_omni.responses import Response
from qwen_omni.settings import Settings, region_of
from qwen_omni.work_store.store import StepKey, digest, is_gone, new_owner

_MOST = 5_000  # inputs of one batch
_POLL_SECONDS = 60.0  # between two polls of a batch
_CREATED_SECONDS = 900.0  # after which a batch that another machine was about to create counts as abandoned

Looked = Iterator[list[ArchiveRow | ArchiveItem]]


@runtime_checkable
class BatchStep(Protocol):
    """A step that asks once about each input, so that a batch can."""

    def request(self, source: MediaSource, settings: Settings) -> ChatRequest:
        """Return the request about an input."""

    def read(self, response: Response) -> StepResult:
        """Return the answer; raise if it is not complete."""


def check_batch(step: Step, settings: Settings) -> BatchStep:
    """Check that a step can be asked in batches.

    Raises:
        ConfigurationError: it asks several times about each input, or Batch File does not take its model.
    """
    if not isinstance(step, BatchStep):
        raise ConfigurationError(
            f'mode="batch" sends one request per input, so it supports Caption but not {step.name}. Use '
            'mode="realtime", the default.'
        )
    refused = why_not(step.model, region_of(settings.base_url), "file")
    if refused:
        raise ConfigurationError(f'mode="batch": {refused}')
    return step


def batched(worker: ArchiveWorker, pages: Looked, window_hours: int, stopping: Event) -> Iterator[ArchiveRow]:
    """Yield the rows of looked-up inputs, those to ask about in batches; ends early when `stopping` is set.

    Raises:
        ConfigurationError: the step or its model cannot be asked in batches.
        APIError: the service refused a batch.
        LocalResourceError: the store cannot be written; nothing is submitted then.
    """
    runner = _Batches(worker, check_batch(worker.step, worker.settings), window_hours, stopping)
    runner.follow_open()
    chunk: list[ArchiveItem] = []
    for page in pages:
        for one in page:
            if isinstance(one, ArchiveRow):
                yield one
            else:
                chunk.append(one)
        while len(chunk) >= _MOST and not stopping.is_set():
            yield from runner.rows(chunk[:_MOST])
            del chunk[:_MOST]
    if chunk and not stopping.is_set():
        yield from runner.rows(chunk)


class _Batches:
    """One batch after the other."""

    def __init__(self, worker: ArchiveWorker, step: BatchStep, hours: int, stopping: Event) -> None:
        self._worker, self._step, self._hours = worker, step, hours
        self._stopping = stopping
        self._settings, self._store = worker.settings, worker.store
        self._record = f"{worker.run} batch {worker.origin}"

    def follow_open(self) -> None:
        """Make the rows of a batch that an earlier run, or another process, has begun."""
        record = self._store.exchange(self._record, lambda known, _: (known, known))
        if isinstance(record, dict):
            self._follow(record)

    def rows(self, items: list[ArchiveItem]) -> Iterator[ArchiveRow]:
        """Yield the rows of some inputs; those still without a row go into one batch."""
        left: list[ArchiveItem] = []
        for one in self._worker.look_up(items):
            if isinstance(one, ArchiveRow):
                yield one
            else:
                left.append(one)
        requests: dict[str, ChatRequest] = {}
        named: dict[str, ArchiveItem] = {}
        for item in left:
            made = self._request(item)
            if isinstance(made, ChatRequest):
                requests[_id(item)], named[_id(item)] = made, item
            else:
                yield made
        if requests:
            yield from self._asked(requests, named)

    def _asked(self, requests: Mapping[str, ChatRequest], named: Mapping[str, ArchiveItem]) -> Iterator[ArchiveRow]:
        job = BatchJob(
            requests, store=self._store, settings=self._settings, window_hours=self._hours, name=self._worker.step.name
        )
        about = {name: [item.uri, item.version] for name, item in named.items()}
        record = {"key": job.key, "items": about, "owner": new_owner()}

        def begin(known: Any, now: float) -> tuple[Any, Any]:  # noqa: ANN401  (JSON)
            return (known, known) if isinstance(known, dict) else ({**record, "at": now}, None)

        other = self._store.exchange(self._record, begin)
        if other is not None:  # another process was faster
            self._follow(other)
            if not self._stopping.is_set():
                yield from self.rows(list(named.values()))
            return
        try:
            job.submit()
        except SpendLimitError as error:
            self._replace(job.key, None)
            yield from self._failed(named.values(), problem_of(error))
            return
        except BaseException:
            self._replace(job.key, {**record, "owner": "", "at": 0.0})  # the next run finds out its outcome
            raise
        if self._read(job, record):
            yield from self._stored_rows(named.values())

    def _follow(self, record: Mapping[str, Any]) -> None:
        """Make the rows of the batch of a record; one that was never created leaves its inputs to others."""
        while not self._stopping.is_set():
            try:
                job = BatchJob.resume(record["key"], store=self._store, settings=self._settings)
                job.retrieve()
            except ConfigurationError:  # it was not created so far, and its requests are not known here
                left = self._store.exchange(self._record, _look(record["key"]))
                if left is None:
                    return  # another process has made its rows
                if left:
                    self._replace(record["key"], None)
                    return
                time.sleep(_POLL_SECONDS / 10)
            else:
                self._read(job, record)
                return

    def _read(self, job: BatchJob, record: Mapping[str, Any]) -> bool:
        """Wait for a batch, and store the rows of its inputs; return whether it has ended."""
        while True:
            try:
                job.wait(timeout=_POLL_SECONDS, poll_seconds=_POLL_SECONDS)
                break
            except TaskUnfinishedError:
                if self._stopping.is_set():
                    return False
        results = list(job.results())
        times = self._store.exchange(self._record, _first_read(job.key))
        if times is None:
            return True  # another process has stored them
        rows, answers = {}, {}
        for result in results:
            uri, version = record["items"][result.custom_id]
            item = ArchiveItem(uri=uri, version=version)
            row = replace(self._row(result, item), started_at=times[0], finished_at=times[1])
            rows[item.name] = row
            if row.status == "ok":
                value = {"value": row.value, "truncated": row.truncated, "model": row.model}
                answers[StepKey(self._worker.run, row.content_digest, self._worker.origin)] = value
        self._worker.keep(rows, now=False)
        self._store.finish_all(answers)
        self._worker.check_written()
        self._replace(job.key, None)
        return True

    def _stored_rows(self, items: Iterable[ArchiveItem]) -> Iterator[ArchiveRow]:
        """Yield the stored rows, including those of other processes."""
        named = {item.name: item for item in items}
        found = self._store.inputs_named(self._worker.run, self._worker.origin, named)
        for name, item in named.items():
            row = from_stored(found[name]) if name in found else None
            if row is not None:
                yield replace(row, uri=item.uri)

    def _row(self, result: BatchResult, item: ArchiveItem) -> ArchiveRow:
        """Return the row of one line."""
        if result.response is None:
            assert result.error is not None
            return self._worker.failed_row(item, problem_of(result.error))
        used = self._used(result.response)
        try:
            made = self._step.read(result.response)
        except QwenOmniError as error:  # another batch would return the same answer
            return self._worker.failed_row(item, replace(problem_of(error), retryable=False), **used)
        content = digest("link", item.uri, item.version)
        return self._worker.row(
            item, status="ok", content_digest=content, value=made.value, truncated=made.truncated, **used
        )

    def _used(self, response: Response) -> dict[str, Any]:
        usage = response.usage
        if usage is None:
            return {"attempt": 1, "cost_cny": None}
        pricing = line_pricing(self._worker.step.model, self._settings)
        ledger = UsageLedger()
        ledger.record(usage, model=self._worker.step.model, pricing=pricing)
        self._worker.paid.add(ledger)
        return {
            "attempt": 1, "input_tokens": usage.input_tokens, "output_tokens": usage.output_tokens,
            "cost_cny": pricing.cost(usage).cny,
        }  # fmt: skip

    def _replace(self, key: str, record: Mapping[str, Any] | None) -> None:
        """Replace the record of a batch, unless it now describes another batch."""

        def replaced(known: Any, _: float) -> tuple[Any, None]:  # noqa: ANN401  (JSON)
            is_it = isinstance(known, dict) and known.get("key") == key
            return (None if record is None else dict(record)) if is_it else known, None

        self._store.exchange(self._record, replaced)

    # --- Requests ---

    def _request(self, item: ArchiveItem) -> ChatRequest | ArchiveRow:
        """Return the request about an input, or the row of one that cannot be asked about in a batch."""
        if "://" not in item.uri:
            text = f'{item.uri} is a local file, and mode="batch" takes links only. Use mode="realtime", or a bucket.'
            problem = Problem(status="refused", code="batch_needs_link", text=text, retryable=True)
            return next(self._failed([item], problem))
        try:
            request = self._step.request(MediaSource.from_url(self._link(item)), self._settings)
            check_lines({_id(item): request}, self._settings, self._hours)
        except ConfigurationError:
            raise
        except QwenOmniError as error:
            return next(self._failed([item], replace(problem_of(error), retryable=True)))
        return request

    def _link(self, item: ArchiveItem) -> str:
        if not item.uri.lower().startswith("oss://"):
            return item.link or item.uri
        bucket, key = split_oss(item.uri)
        return oss_store(bucket, self._settings).sign(key)[0]

    def _failed(self, items: Iterable[ArchiveItem], problem: Problem) -> Iterator[ArchiveRow]:
        rows = {item.name: self._worker.failed_row(item, problem) for item in items}
        self._worker.keep(rows)
        yield from rows.values()


def _look(key: str) -> Callable[[Any, float], tuple[Any, bool | None]]:
    """Return a check of whether a batch was abandoned before it was created; `None` if its record is gone."""

    def look(known: Any, now: float) -> tuple[Any, bool | None]:  # noqa: ANN401  (JSON)
        if not isinstance(known, dict) or known.get("key") != key:
            return known, None
        gone = is_gone(str(known.get("owner", "")))
        return known, (now - float(known.get("at", 0.0)) > _CREATED_SECONDS) if gone is None else gone

    return look


def _first_read(key: str) -> Callable[[Any, float], tuple[Any, tuple[float, float] | None]]:
    """Return a function that finds when a batch began and was first read: two processes then write the same rows."""

    def read(known: Any, now: float) -> tuple[Any, tuple[float, float] | None]:  # noqa: ANN401  (JSON)
        if not isinstance(known, dict) or known.get("key") != key:
            return known, None
        marked = {"read_at": now, **known}
        return marked, (float(marked.get("at", 0.0)), float(marked["read_at"]))

    return read


def _id(item: ArchiveItem) -> str:
    return digest(item.name)[:32]
