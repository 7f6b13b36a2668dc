"""`ArchiveWorker`: one process's part in an archive. It asks about inputs, each once, and makes their rows.

Any engine can drive it: `run` does on one machine, Ray on many. Everything that must hold however often processes die
is in the work store: answers by content, claims on those in progress, rows by name, and what is left of rate limits
and money. The answer and its row are written in one transaction.

An input passes through three questions, each cheaper than the next: is its row final (asked for many inputs at once),
is the digest of this version known, so that its answer may be stored (the same), and, with the file open, is the answer
to its content stored or in progress elsewhere.
"""

import json
import os
import platform
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self, TypeVar

from qwen_omni.addresses import StoreAddress
from qwen_omni.archive.quota import shared_rate_limits
from qwen_omni.archive.rows import (
    COLUMNS,
    FATAL,
    ArchiveRow,
    Problem,
    from_stored,
    problem_of,
    run_name,
    to_stored,
)
from qwen_omni.archive.sources import LIST_COLUMNS, ArchiveItem, OpenedMedia, item_of_row, opened
from qwen_omni.archive.spend import SharedSpendLimit
from qwen_omni.archive.steps import InOneThread, Paced, Step, StepContext, StepResult, check_step, models_of
from qwen_omni.client import OmniClient
from qwen_omni.errors import ConfigurationError, LocalResourceError, StoreError
from qwen_omni.media.work import Deadline, StoppedError, usual_workers
from qwen_omni.options import ChatRequest
from qwen_omni.pricing.ledger import UsageLedger
from qwen_omni.pricing.limit import SpendLimit
from qwen_omni.profiles.rate_limits import RateLimits
from qwen_omni.ranges import PARALLEL, checked
from qwen_omni.request.prepared_request import PreparedRequest
from qwen_omni.responses import Response
from qwen_omni.settings import Settings, region_of
from qwen_omni.video.results import pricing_of
from qwen_omni.work_store.buffered import BufferedStore
from qwen_omni.work_store.inputs import StoredInput
from qwen_omni.work_store.opening import open_work_store
from qwen_omni.work_store.store import Claim, Found, StepKey, StoreUse, Taken

T = TypeVar("T")

USE = StoreUse(name="archive store", way_out="Choose another with store= (--store).", holds="answers")
AGAIN_SECONDS = 0.2  # before looking again for an answer that another process asks for
_STORE_PATIENCE = 60.0  # seconds to wait for a store that cannot be reached, on top of its own patience
_PAUSE = 0.5  # between two looks at such a store
_PREPARED_PER_CORE = 2  # media prepared or uploaded at once
_MOST_UNWRITTEN = 200  # answers and rows that are only in memory, while the store is locked or cannot be reached
_MOST_ALIKE = 16  # inputs in a row that fail for a reason of the machine or the settings


def open_store(place: str | Path, *, lease_seconds: float | None = None) -> BufferedStore:
    """Open the store of an archive: a file, or the address of a PostgreSQL database.

    Raises:
        ConfigurationError: the file is media, damaged, from a newer version, or of another program.
        LocalResourceError: it cannot be created, read or written.
        StoreError: the server cannot be used.
    """
    return open_work_store(place, USE, lease_seconds=lease_seconds, otherwise="Choose another with --store")


@dataclass(frozen=True, slots=True)
class Busy:
    """The answer is in progress elsewhere.

    Attributes:
        item: the input, with the version that was read.
        digest: SHA-256 of its content.
        holder: the process that asks, in readable words.
    """

    item: ArchiveItem
    digest: str
    holder: str


Retrying = Callable[[StoredInput], bool]
"""Whether a row that has no answer is tried again."""


def retries_transient(stored: StoredInput) -> bool:
    """Whether a row may succeed without a change of its input; what is `over_budget` may, too."""
    return bool(stored.value.get("retryable"))


def is_final(stored: StoredInput, item: ArchiveItem, *, again: Retrying = retries_transient) -> bool:
    """Whether the row of an input is final: the same version has an answer, or would fail as before."""
    if stored.version != item.version or not item.settled:
        return False
    return stored.status == "ok" or not again(stored)


class _Slots:
    """A semaphore for calls in flight that raises in waiting threads once the work is stopped."""

    def __init__(self, most: int, work: Deadline) -> None:
        self._free, self._work = threading.BoundedSemaphore(most), work
        self._mine = threading.local()  # what this thread keeps

    @contextmanager
    def taken(self) -> Iterator[None]:
        """Wait for a slot, and hold it inside the `with` block; raises `StoppedError` if the work was stopped."""
        kept: ExitStack | None = getattr(self._mine, "kept", None)
        with ExitStack() as here:
            if kept is None or not self._mine.taken:
                (here if kept is None else kept).enter_context(self._free)
                self._mine.taken = True
            self._work.check()
            yield

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Keep the place that this thread takes, for all of its calls, until the end of the `with` block.

        If the answer is stored there, a process that dies never has more answers to lose than places. Other threads
        that the block waits for would wait for the place, so all calls have to be made in this one.
        """
        with ExitStack() as stack:
            self._mine.kept, self._mine.taken = stack, False
            try:
                yield
            finally:
                self._mine.kept = None


class _Client(OmniClient):
    """A client whose calls in flight are limited; a few media are prepared and delivered meanwhile."""

    slots: _Slots
    preparing: _Slots

    def deliver(self, request: ChatRequest) -> PreparedRequest:
        """Prepare and deliver the media of a request, a few at once: each takes a decoder and an encoder."""
        with self.preparing.taken():
            return super().deliver(request)

    def answer(self, outgoing: PreparedRequest) -> Response:
        """Send a request when a place is free; see `OmniClient.answer`."""
        with outgoing, self.slots.taken():
            return super().answer(outgoing)


@dataclass(slots=True)
class _Streaks:
    """Consecutive failures for the same reason: the spend limit, or a fault of the machine or settings."""

    most_refused: int
    refused: int = 0
    alike: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def exhausted(self) -> bool:
        """Whether the spend limit is used up, so that further inputs need not be opened."""
        return self.refused >= self.most_refused

    def finished(self) -> None:
        """Record an input that was answered and paid for."""
        with self.lock:
            self.refused = self.alike = 0

    def failed(self, problem: Problem) -> bool:
        """Record an input without an answer; return whether the run should end."""
        with self.lock:
            self.refused += problem.code == "spend_limit"
            self.alike = self.alike + 1 if problem.alike else 0
            return self.alike >= _MOST_ALIKE


class _Isolation:
    """Lets inputs run side by side; one that may end the whole process runs alone."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._others, self._alone = 0, False

    @contextmanager
    def entered(self, *, alone: bool) -> Iterator[None]:
        """Run in a `with` block; with `alone`, wait until all others have left, and keep them out."""
        with self._changed:
            self._changed.wait_for(lambda: not self._alone)
            self._alone, self._others = alone, self._others + 1
            self._changed.wait_for(lambda: not alone or self._others == 1)
        try:
            yield
        finally:
            with self._changed:
                self._alone, self._others = self._alone and not alone, self._others - 1
                self._changed.notify_all()


class ArchiveWorker:
    """Makes the row of each input. Thread-safe; several processes and machines may work on one store.

    Attributes:
        step: what is asked.
        settings: how the service is reached, with the limits that are shared.
        store: the work store.
        in_flight: the most calls at once.
        threads: the most inputs that are worked on at once: some are prepared while others are asked about.
        run: the name of the step's work in the store.
        origin: who answers; see `Settings.origin`.
        paid: what this worker's calls have used and cost so far.

    Example:
        from qwen_omni.archive import ArchiveItem, ArchiveWorker, Caption

        with ArchiveWorker(Caption(), store="archive.db") as worker:
            print(worker.process(ArchiveItem(uri="promo.mp4")).value)
    """

    def __init__(  # noqa: PLR0913  (each keyword is an independent option)
        self,
        step: Step,
        *,
        store: str | Path,
        settings: Settings | None = None,
        spend_limit: SpendLimit | None = None,
        in_flight: int = 8,
        limits: RateLimits | None = None,
        job: str = "",
        lease_seconds: float | None = None,
    ) -> None:
        """Open the store, and check what concerns every input.

        Args:
            step: what is asked.
            store: a file on this machine, or the address of a PostgreSQL database that machines share.
            settings: how the service is reached; from the environment if not given.
            spend_limit: the most that all processes with this step and store may spend together, in all runs.
            in_flight: the most calls of this process at once.
            limits: the account's requests and tokens a minute, if they are not the published ones; all processes with
                this store share them.
            job: processes with another name have a spend limit of their own.
            lease_seconds: how long this process may stall before others take over what it works on.

        Raises:
            ConfigurationError: there is no key; an option that the model does not have; money is limited, and the
                price of the model is not known; the store is damaged or from a newer version.
            NotFoundError: the model is retired.
            LocalResourceError: the store cannot be created, read or written.
            StoreError: the server of the store cannot be used.
        """
        check_step(step)
        self.step = step
        self.in_flight = checked("in_flight", in_flight, PARALLEL)
        chosen = (settings or Settings.load()).with_key()
        if limits is not None:
            chosen = replace(chosen, limits=limits)
        models = models_of(step, chosen)
        self.paid = UsageLedger()
        self._closing = ExitStack()
        self.store = open_store(store, lease_seconds=lease_seconds)
        self._closing.callback(self.store.close)
        try:
            self.settings = self._shared(chosen, store, models, spend_limit, job)
            self._client = _Client(self.settings)
        except BaseException:
            self._closing.close()
            raise
        self._work = Deadline()
        self._isolation = _Isolation()
        self._client.slots = _Slots(self.in_flight, self._work)
        self._client.preparing = _Slots(_PREPARED_PER_CORE * usual_workers(), self._work)
        self._closing.callback(self._client.close)
        self._place = StoreAddress.read(store) or Path(store).absolute()
        self.run, self.origin = run_name(step.name, step.digest), self.settings.origin
        at_once = step.at_once(self.in_flight) if isinstance(step, Paced) else self.in_flight
        self.threads: int = at_once + usual_workers()
        self._in_one_thread = isinstance(step, InOneThread) and step.in_one_thread
        self._streaks = _Streaks(self.threads)
        self._store_fault: Exception | None = None  # it concerns every input
        self._earlier: dict[str, StoredInput] = {}  # rows of the inputs in progress
        self._pool: ThreadPoolExecutor | None = None
        self._lock = threading.Lock()
        self._name = f"{platform.node()}:{os.getpid()}"

    def _shared(
        self, settings: Settings, store: str | Path, models: Sequence[str], limit: SpendLimit | None, job: str
    ) -> Settings:
        """Return the settings with what all processes share: uploads, money and rate limits."""
        address = StoreAddress.read(store)
        if address is not None and settings.store is None:
            settings = replace(settings, store=address)
        if limit is not None:
            for model in models:
                limit.check_priced(pricing_of(model, settings))
            shared = SharedSpendLimit(self.store, job or run_name(self.step.name, self.step.digest), limit)
            self._closing.callback(shared.finish)
            settings = replace(settings, spend_limit=shared)
        limited = [model for model in dict.fromkeys(models) if settings.rate_limits(model) is not None]
        self._closing.enter_context(shared_rate_limits(self.store, settings, limited))
        return settings

    # --- Rows ---

    def look_up(
        self, items: Sequence[ArchiveItem], *, again: Retrying = retries_transient
    ) -> list[ArchiveRow | ArchiveItem]:
        """Return the rows of those inputs that need not be opened, and the others unchanged, in their order.

        An input need not be opened if its row is final, or if its digest is known and the answer is stored. One query
        looks up all of them.
        """
        keys = [item.name for item in items]
        named = {key: item for key, item in zip(keys, items, strict=True) if key}
        stored = self.patiently(lambda: self.store.inputs_named(self.run, self.origin, named))
        rows: dict[str, ArchiveRow] = {}
        for name, one in stored.items():
            row = from_stored(one) if is_final(one, named[name], again=again) else None
            if row is not None:
                rows[name] = row if row.uri == named[name].uri else replace(row, uri=named[name].uri)
            else:
                self._earlier[name] = one
        missing = {name: item for name, item in named.items() if name not in rows}
        made = {name: self._unusable(item) for name, item in missing.items() if item.problem is not None}
        made |= self._known({name: item for name, item in missing.items() if item.problem is None})
        self.keep(made)
        rows |= {name: self._whole(row, named[name]) for name, row in made.items()}
        return [rows.get(key, item) if key else self._unusable(item) for key, item in zip(keys, items, strict=True)]

    def _known(self, items: Mapping[str, ArchiveItem]) -> dict[str, ArchiveRow]:
        """Return the rows of those whose content is known from its version, and has an answer."""
        versions = {(name, item.version): item for name, item in items.items() if item.version and item.settled}
        digests = self.patiently(lambda: self.store.known_digests(versions))
        answers = self.patiently(lambda: self.store.find_many(self.run, self.origin, set(digests.values())))
        now = time.time()
        return {
            name: self._reused(versions[name, version], digest, answers[digest], now)
            for (name, version), digest in digests.items()
            if digest in answers
        }

    def _reused(self, item: ArchiveItem, digest: str, answer: Any, began: float, **used: Any) -> ArchiveRow:  # noqa: ANN401
        answer = answer if isinstance(answer, dict) else {}
        return self.row(
            item, began, content_digest=digest, model=answer.get("model", self.step.model), status="ok",
            value=answer.get("value"), truncated=bool(answer.get("truncated")), reused=True, **used,
        )  # fmt: skip

    def _unusable(self, item: ArchiveItem) -> ArchiveRow:
        assert item.problem is not None
        return self.failed_row(item, item.problem)

    def row(self, item: ArchiveItem, began: float | None = None, **columns: Any) -> ArchiveRow:  # noqa: ANN401  (of a row)
        """Return the row of an input, also for callers that ask by other means; it is not stored."""
        now = time.time()
        usual = {
            "uri": item.uri, "etag": item.version if item.settled else "", "step": self.step.name,
            "step_digest": self.step.digest, "model": self.step.model, "worker": self._name,
            "started_at": now if began is None else began, "finished_at": now,
        }  # fmt: skip
        return ArchiveRow(**{**usual, **columns})

    def failed_row(
        self, item: ArchiveItem, problem: Problem, began: float | None = None, **columns: Any  # noqa: ANN401
    ) -> ArchiveRow:  # fmt: skip
        """Return the row of an input without an answer, likewise."""
        reasons = {
            "status": problem.status, "error_code": problem.code, "error": problem.text, "retryable": problem.retryable
        }  # fmt: skip
        return self.row(item, began, **{**columns, **reasons})

    def keep(self, rows: Mapping[str, ArchiveRow], *, now: bool = True) -> None:
        """Store rows by the names of their inputs; with `now=False`, together with what is stored next."""
        stored = [to_stored(row, run=self.run, origin=self.origin, name=name) for name, row in rows.items() if name]
        if stored:
            self.store.put_inputs(stored, now=now)

    # --- One input ---

    def process(self, item: ArchiveItem) -> ArchiveRow:
        """Return the row of an input: the stored one if it is final, else the result of asking now.

        Waits while another process asks about the same content.

        Raises:
            AuthenticationError: the key is refused, so no input can succeed; likewise `AccountError`, `NotFoundError`.
            StoreError: the store could not be reached for a minute.
            LocalResourceError: the same, for a file.
            QwenOmniError: the last 16 inputs failed alike, for a reason of this machine, its network or the settings.
            StoppedError: the worker was stopped.
        """
        found = self.look_up([item])[0]
        if isinstance(found, ArchiveRow):
            return found
        state = self.attempt(item)
        while isinstance(state, Busy):
            time.sleep(AGAIN_SECONDS)
            state = self.attempt_again(state)
        return state

    def attempt_again(self, busy: Busy) -> ArchiveRow | Busy:
        """Look again for an answer that was in progress elsewhere; ask if no process does now. Raises as `process`."""
        self._work.check()
        key = StepKey(self.run, busy.digest, self.origin)
        state = self.patiently(lambda: self.store.peek(key))
        if isinstance(state, Taken):
            return busy
        if isinstance(state, Found):
            return self._whole(self._found(busy.item, busy.digest, state, time.time()), busy.item)
        return self.attempt(busy.item)

    def attempt(self, item: ArchiveItem) -> ArchiveRow | Busy:
        """Ask about an input, whatever its row says; raises as `process`. `Busy` if another process asks already."""
        with Deadline(parent=self._work).governing():
            self._work.check()
            self._check_written()
            made = self._attempted(item, time.time())
        if isinstance(made, Busy):
            return made
        row, error = made
        if row.status != "ok":
            self.keep({item.name: row})
        if error is not None and self._streaks.failed(self._problem(error, item)):
            error.add_note(f"The last {_MOST_ALIKE} inputs failed alike. Run again to resume.")
            raise error
        return self._whole(row, item)

    def _whole(self, row: ArchiveRow, item: ArchiveItem) -> ArchiveRow:
        """Return a row with what earlier attempts used, as it is stored."""
        before = self._earlier.pop(item.name, None)
        if before is None or before.version != row.etag:
            return row
        cost = None if row.cost_cny is None or before.cost is None else row.cost_cny + before.cost
        return replace(
            row, attempt=row.attempt + before.attempts, input_tokens=row.input_tokens + before.input_tokens,
            output_tokens=row.output_tokens + before.output_tokens, cost_cny=cost,
        )  # fmt: skip

    def earlier(self, row: ArchiveRow) -> StoredInput | None:
        """Return, once, what was stored about an input when it was looked up, if its version is that of a row."""
        before = self._earlier.pop(ArchiveItem(uri=row.uri).name, None)
        return before if before is not None and before.version == row.etag else None

    def _attempted(self, item: ArchiveItem, began: float) -> "Busy | _Made":
        """Return the row and, if it has no answer, the error; raise what ends the run."""
        if self._streaks.exhausted:
            return self.failed_row(item, _NO_MONEY, began), None
        try:
            with opened(item, self.settings) as media:
                found = media.item
                if found.settled and found.version:
                    self.store.remember_digests({(found.name, found.version): media.digest}, now=False)
                with self._client.slots.kept() if self._in_one_thread else nullcontext():
                    return self._answered(media, began)
        except Exception as error:
            if isinstance(error, (StoppedError, *FATAL)) or error is self._store_fault:
                raise
            self._work.check()
            return self.failed_row(item, self._problem(error, item), began), error

    def _problem(self, error: Exception, item: ArchiveItem) -> Problem:
        """Return the `Problem` for an error; a fault of one link's server says nothing about other inputs."""
        problem = problem_of(error)
        fetching = "://" in item.uri and problem.code != "local_resource"
        return replace(problem, alike=False) if fetching else problem

    def _answered(self, media: OpenedMedia, began: float) -> "Busy | _Made":
        key = StepKey(self.run, media.digest, self.origin)
        state = self._claimed(key)
        if isinstance(state, Taken):
            return Busy(media.item, media.digest, state.holder)
        if isinstance(state, Found):
            return self._found(media.item, media.digest, state, began), None
        losses = self._losses(state)
        if losses >= _MOST_LOSSES:
            self.store.note(state, {"losses": 0})  # a retry on request tries it again
            self.store.release(key)
            return self.failed_row(media.item, _LOST, began, content_digest=media.digest), None
        ledger = UsageLedger(
            region=region_of(self.settings.base_url), prices=self.settings.prices, rate=self.settings.exchange_rate
        )
        try:
            with self._isolation.entered(alone=losses >= _SUSPECTED):
                if losses >= _SUSPECTED:
                    self.store.note(state, {"losses": losses})  # from here on it may be the cause
                result = self._asked(media, ledger)
        except BaseException as error:
            self.store.release(key)
            self._count(ledger)
            if not isinstance(error, Exception) or isinstance(error, StoppedError) or self._work.stopped:
                raise
            return self._unanswered(media, key, error, began, _used(ledger))
        self._count(ledger)
        return self._finished(media, key, result, began, _used(ledger)), None

    def _claimed(self, key: StepKey) -> Found | Claim | Taken:
        """Claim a content. If the store cannot be read it may hold the answer, so nothing is asked."""
        state = self.patiently(lambda: self.store.claim(key))
        if not isinstance(state, Claim) or not self.store.trouble:
            return state
        try:
            self.patiently(self.store.check_readable)
        except BaseException:
            self.store.release(key)
            raise
        found = self.patiently(lambda: self.store.find(key))
        if found is not None:
            self.store.release(key)
        return found or state

    def _losses(self, claim: Claim) -> int:
        """Return how many processes died while working on a content; one that was waiting its turn does not count."""
        known = claim.resume if isinstance(claim.resume, dict) else {}
        losses = int(known.get("losses", 0)) + (claim.lost and not known.get("waits"))
        if claim.lost or losses >= _SUSPECTED:
            self.store.note(claim, {"losses": losses, "waits": losses >= _SUSPECTED})
        return losses

    def _found(self, item: ArchiveItem, digest: str, found: Found, began: float, **used: Any) -> ArchiveRow:  # noqa: ANN401
        row = self._reused(item, digest, found.value, began, **used)
        self.keep({item.name: row})
        return row

    def _asked(self, media: OpenedMedia, ledger: UsageLedger) -> StepResult:
        context = StepContext(
            client=self._client.with_ledger(ledger), checkpoint=self._place, digest=media.digest, uri=media.item.uri,
            slot=self._client.slots.taken,
        )  # fmt: skip
        result = self.step.run(media.source, context)
        json.dumps(result.value, allow_nan=False)
        media.check()
        return result

    def _finished(
        self, media: OpenedMedia, key: StepKey, result: StepResult, began: float, used: Mapping[str, Any]
    ) -> ArchiveRow:
        """Store an answer and its row together; the first answer to a content counts."""
        model = result.model or self.step.model
        answer = {"value": result.value, "truncated": result.truncated, "model": model}
        row = self.row(media.item, began, content_digest=media.digest, status="ok", **answer, **used)
        self.keep({media.item.name: row}, now=False)
        counts = self.store.finish(key, answer)
        self._streaks.finished()
        if counts == answer or not isinstance(counts, dict):
            return row
        return replace(row, value=counts.get("value"), truncated=bool(counts.get("truncated")))

    def _unanswered(
        self, media: OpenedMedia, key: StepKey, error: Exception, began: float, used: Mapping[str, Any]
    ) -> "_Made":
        """Return the row of a failure, unless another process has the answer by now; raise what ends the run."""
        found = self.patiently(lambda: self.store.find(key))
        if found is not None:
            return self._found(media.item, media.digest, found, began, **used), None
        problem = self._problem(error, ArchiveItem(uri=""))  # its media are here: the network is the service's
        row = self.failed_row(media.item, problem, began, content_digest=media.digest, **used)
        if isinstance(error, FATAL):
            self.keep({media.item.name: replace(row, retryable=True)})
            raise error
        return row, error

    def _count(self, ledger: UsageLedger) -> None:
        self.paid.add(ledger)
        if self.settings.ledger is not None:
            self.settings.ledger.add(ledger)

    # --- The store ---

    def patiently(self, action: Callable[[], T]) -> T:
        """Retry while the store cannot be reached; after a minute, raise."""
        until = time.monotonic() + _STORE_PATIENCE
        while True:
            try:
                return action()
            except (StoreError, LocalResourceError) as error:
                lasting = isinstance(error, StoreError) and not error.transient
                if lasting or time.monotonic() > until:
                    self._store_fault = error
                    raise
            self._work.check()
            time.sleep(_PAUSE)

    def _check_written(self) -> None:
        """Stop paying while many answers are only in memory, or while any of them can no longer be written.

        Raises:
            StoreError: the store could not be written for a minute.
            LocalResourceError: the same, for a file.
        """
        until = time.monotonic() + _STORE_PATIENCE
        while self.store.unwritten > (0 if self.store.failing else _MOST_UNWRITTEN):
            self.store.write_rest()
            if self.store.unwritten and time.monotonic() > until:
                self.check_written()
            self._work.check()
            time.sleep(_PAUSE)

    def check_written(self) -> None:
        """Write what is only in memory.

        Raises:
            StoreError: the store cannot be written.
            LocalResourceError: the same, for a file.
        """
        self.store.write_rest()
        count = self.store.unwritten
        if not count:
            return
        text = (
            f"{count} answers and rows could not be written to the archive store {self.store.place}: "
            f"{self.store.trouble}. A later run asks for them, and pays for them, again."
        )
        if isinstance(self.store.place, Path):
            raise LocalResourceError(text, resource="disk", path=str(self.store.place))
        raise StoreError(text, reason="unreachable", address=str(self.store.place), transient=True)

    # --- Batches, for engines ---

    def __call__(self, batch: Mapping[str, Sequence[Any]]) -> dict[str, list[Any]]:
        """Return the rows of a batch, as columns; `value` is JSON text.

        Args:
            batch: columns; `uri` is needed, `version` or `etag` and `size` are used.
        """
        if "uri" not in batch:
            raise ConfigurationError(f"The batch has no column `uri`; its columns: {', '.join(batch) or 'none'}.")
        items = [_item_of_batch(batch, at) for at in range(len(batch["uri"]))]
        found = self.look_up(items)
        waiting = [one if isinstance(one, ArchiveRow) else self._begun(one) for one in found]
        rows = [one if isinstance(one, ArchiveRow) else one.result() for one in waiting]
        return _batch_of(rows)

    def _begun(self, item: ArchiveItem) -> Future[ArchiveRow]:
        """Hand an input to the threads; raises `StoppedError` if `finish` ends them at this moment."""
        try:
            return self.pool().submit(self.process, item)
        except RuntimeError:
            self._work.check()
            raise

    def pool(self) -> ThreadPoolExecutor:
        """Return the threads of this worker: one for each call in flight, and some that prepare media."""
        with self._lock:
            if self._pool is None:
                self._pool = ThreadPoolExecutor(self.threads, thread_name_prefix="qwen-omni-archive")
            return self._pool

    # --- The end ---

    def stop(self) -> None:
        """Start nothing new; calls in flight finish, and their answers are stored."""
        self._work.stop()

    def finish(self) -> None:
        """Start nothing new, and wait until calls in flight have finished and their answers are stored."""
        self.stop()
        with self._lock:
            pool, self._pool = self._pool, None
        if pool is not None:
            pool.shutdown(wait=True, cancel_futures=True)

    def close(self) -> None:
        """Let calls in flight finish, store their answers, and close the store. Can be called more than once."""
        self.finish()
        self._closing.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


_Made = tuple[ArchiveRow, Exception | None]
_SUSPECTED, _MOST_LOSSES = 2, 5  # processes that ended while they worked on an input; from the first on, on it alone
_LOST = Problem(
    status="failed", code="worker_lost",
    text=f"{_MOST_LOSSES} processes ended while they worked on it, the last ones on it alone. Look at the file; "
    "retry(..., permanent=True) tries it again.",
)  # fmt: skip
_NO_MONEY = Problem(
    status="over_budget", code="spend_limit", retryable=True,
    text="Not begun: the spend limit leaves no room. Run again with a higher limit.",
)  # fmt: skip


def _used(ledger: UsageLedger) -> dict[str, Any]:
    """Return the columns of what was used."""
    total = ledger.total
    return {
        "input_tokens": total.tokens.input, "output_tokens": total.tokens.output,
        "cost_cny": None if total.unpriced else total.cny, "attempt": 1,
    }  # fmt: skip


def _item_of_batch(batch: Mapping[str, Sequence[Any]], at: int) -> ArchiveItem:
    row = {name: batch[name][at] for name in LIST_COLUMNS if name in batch}
    return item_of_row(row, f"row {at + 1} of the batch", named=False)


def _batch_of(rows: Sequence[ArchiveRow]) -> dict[str, list[Any]]:
    """Return rows as columns, with values as JSON text."""
    columns: dict[str, list[Any]] = {name: [getattr(row, name) for row in rows] for name in COLUMNS}
    columns["value"] = [None if one is None else json.dumps(one, ensure_ascii=False) for one in columns["value"]]
    return columns
