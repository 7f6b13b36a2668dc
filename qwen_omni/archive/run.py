"""Run an archive on one machine with threads, report its status, and retry failures.

`run` looks up a page of inputs at a time, hands those that have to be asked about to the threads of an `ArchiveWorker`,
and yields rows as they are made. A bounded number of inputs is in memory, whatever the size of the archive. `arun` is
the same for `asyncio`: it advances the same generator on a thread.
"""

import asyncio
import contextlib
import itertools
import threading
import time
from collections import deque
from collections.abc import AsyncGenerator, Callable, Generator, Iterable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, get_args

from qwen_omni.addresses import StoreAddress
from qwen_omni.archive.batch_run import batched
from qwen_omni.archive.rows import RUN, STATUSES, ArchiveRow, Status, from_stored, run_name
from qwen_omni.archive.sources import ArchiveItem, Source, find_items, item_of
from qwen_omni.archive.steps import Step
from qwen_omni.archive.worker import (
    AGAIN_SECONDS,
    ArchiveWorker,
    Busy,
    Retrying,
    open_store,
    retries_transient,
)
from qwen_omni.errors import ConfigurationError, LocalResourceError, StoreError
from qwen_omni.pricing.limit import SpendLimit
from qwen_omni.profiles.rate_limits import RateLimits
from qwen_omni.settings import Settings
from qwen_omni.work_store.buffered import BufferedStore
from qwen_omni.work_store.inputs import InputCount, InputFilter, StoredInput

_FIRST_PAGE, _MOST_PAGE = 16, 512  # inputs that are looked up at once; few at first, so that work begins at once
_TICK = 0.2  # seconds; how often a run looks whether it was stopped
_MOST_BUSY = 256  # inputs that are in progress elsewhere; with more, nothing new begins

StepLike = Step | str | None
Mode = Literal["realtime", "batch"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchiveProgress:
    """How far a run has come.

    Attributes:
        counts: rows of this run, by status.
        reused: those of them that cost nothing, because their answer was stored.
        in_flight: inputs that are being worked on by this process.
        input_tokens: of this run.
        output_tokens: of this run.
        cost_cny: what this run has paid, as far as prices are known.
        elapsed: seconds since the run began.
    """

    counts: Mapping[Status, int] = field(default_factory=dict)
    reused: int = 0
    in_flight: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost_cny: float = 0.0
    elapsed: float = 0.0

    @property
    def done(self) -> int:
        """The number of rows."""
        return sum(self.counts.values())


OnProgress = Callable[[ArchiveProgress], None]


def run(  # noqa: PLR0913  (each keyword is an independent option)
    source: Source,
    step: Step,
    *,
    store: str | Path,
    settings: Settings | None = None,
    spend_limit: SpendLimit | None = None,
    in_flight: int = 8,
    limits: RateLimits | None = None,
    job: str = "",
    mode: Mode = "realtime",
    window_hours: int = 24,
    on_progress: OnProgress | None = None,
) -> Generator[ArchiveRow]:
    """Ask about every input of a source; yield its row, in the order in which they are made.

    Run it again, with the same step and store, to resume: what is answered is not asked again, rows that may succeed
    now are tried again, and a file that changed is asked about anew. Closing the iterator, or Ctrl-C, lets calls in
    flight end and stores what they answer.

    Args:
        source: a folder, a pattern, a list, links or a bucket; see `find_items`.
        step: what is asked: `Caption()`, `Summarize()`, `Transcribe()`, `Notes()`, or a step of your own.
        store: a file on this machine, or the address of a PostgreSQL database that machines share.
        settings: how the service is reached; from the environment if not given.
        spend_limit: the most that all runs of this step with this store may spend together.
        in_flight: the most calls at once.
        limits: the account's requests and tokens a minute, if they are not the published ones.
        job: jobs with another name have a spend limit of their own.
        mode: "batch" asks through Batch File: captions of links alone, at half price and outside the per-minute limits,
            answered within `window_hours`. It returns when they are; ended before, it resumes when it runs again.
        window_hours: how long a batch may take, 24 to 336.
        on_progress: called after every row.

    Raises:
        ConfigurationError: the source is empty, or an option concerns every input; see `ArchiveWorker`.
        AuthenticationError: the key is refused; likewise `AccountError` and `NotFoundError`.
        StoreError: the store cannot be used.
        LocalResourceError: the same, for a file.

    Example:
        from qwen_omni import SpendLimit
        from qwen_omni.archive import Caption, run

        for row in run("videos/**/*.mp4", Caption(), store="archive.db", spend_limit=SpendLimit(cny=500)):
            print(row.uri, row.status, row.value or row.error)
    """
    yield from _rows(
        source, step, _RunMode(mode, window_hours, on_progress), store=store, settings=settings,
        spend_limit=spend_limit, in_flight=in_flight, limits=limits, job=job,
    )  # fmt: skip


async def arun(  # noqa: PLR0913  (each keyword is an independent option)
    source: Source,
    step: Step,
    *,
    store: str | Path,
    settings: Settings | None = None,
    spend_limit: SpendLimit | None = None,
    in_flight: int = 8,
    limits: RateLimits | None = None,
    job: str = "",
    mode: Mode = "realtime",
    window_hours: int = 24,
    on_progress: OnProgress | None = None,
) -> AsyncGenerator[ArchiveRow]:
    """Ask about every input of a source; the asynchronous `run`. `on_progress` is called from a thread.

    Use `contextlib.aclosing` to stop early without delay.

    Example:
        import asyncio
        from qwen_omni.archive import Caption, arun

        async def main() -> None:
            async for row in arun("videos/", Caption(), store="archive.db"):
                print(row.uri, row.status)

        asyncio.run(main())
    """
    stopping = threading.Event()
    rows = _rows(
        source, step, _RunMode(mode, window_hours, on_progress, stopping), store=store, settings=settings,
        spend_limit=spend_limit, in_flight=in_flight, limits=limits, job=job,
    )  # fmt: skip
    advancing: asyncio.Future[ArchiveRow | None] | None = None
    try:
        while True:
            advancing = asyncio.ensure_future(asyncio.to_thread(next, rows, None))
            row = await asyncio.shield(advancing)
            if row is None:
                return
            yield row
    finally:
        stopping.set()
        await asyncio.shield(asyncio.ensure_future(_ended(rows, advancing)))


async def _ended(rows: Generator[ArchiveRow], advancing: "asyncio.Future[ArchiveRow | None] | None") -> None:
    """Close a generator that may be running on a thread."""
    if advancing is not None and not advancing.done():
        await asyncio.wait([advancing])
    await asyncio.to_thread(rows.close)


@dataclass(frozen=True, slots=True)
class _RunMode:
    """How a run asks and reports: in real time or in batches, until `stopping` is set."""

    mode: Mode = "realtime"
    window_hours: int = 24
    on_progress: OnProgress | None = None
    stopping: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        if self.mode not in get_args(Mode):
            raise ConfigurationError(f"mode={self.mode!r:.60} is not known; choose one of {', '.join(get_args(Mode))}.")


def _rows(source: Source, step: Step, how: _RunMode, **options: Any) -> Generator[ArchiveRow]:  # noqa: ANN401
    """Yield the rows of a source; the options are those of a worker."""
    with _working(step, **options) as worker:
        items = find_items(source, settings=worker.settings)
        yield from _driven(worker, (worker.look_up(page) for page in in_pages(items)), how)


def retry(  # noqa: PLR0913  (each keyword is an independent option)
    step: Step,
    *,
    store: str | Path,
    source: Source | None = None,
    permanent: bool = False,
    settings: Settings | None = None,
    spend_limit: SpendLimit | None = None,
    in_flight: int = 8,
    limits: RateLimits | None = None,
    job: str = "",
    on_progress: OnProgress | None = None,
) -> Generator[ArchiveRow]:
    """Try again the inputs whose rows have no answer; yield their new rows. Raises as `run`.

    Args:
        step: the step whose rows are retried.
        store: the store that has them.
        source: only inputs of this source. Links that need a signature have to be named here, with a new one.
        permanent: also those that failed for a reason that is not expected to pass.
        settings: as in `run`.
        spend_limit: as in `run`.
        in_flight: as in `run`.
        limits: as in `run`.
        job: as in `run`.
        on_progress: as in `run`.

    Example:
        from qwen_omni.archive import Caption, retry

        for row in retry(Caption(), store="archive.db", permanent=True):
            print(row.uri, row.status)
    """
    check_exists(store)
    again: Retrying = (lambda _: True) if permanent else retries_transient
    with _working(
        step, store=store, settings=settings, spend_limit=spend_limit, in_flight=in_flight, limits=limits, job=job
    ) as worker:
        found = _failed_items(worker) if source is None else find_items(source, settings=worker.settings)
        pages = (worker.look_up(_to_retry(worker, page, again), again=again) for page in in_pages(found))
        yield from _driven(worker, pages, _RunMode(on_progress=on_progress))


def _failed_items(worker: ArchiveWorker) -> Iterator[ArchiveItem]:
    """Yield the inputs whose rows have no answer."""
    failed = [one for one in STATUSES if one != "ok"]
    for stored in stored_inputs(worker.store, worker.run, worker.origin, failed):
        uri = str(stored.value.get("uri", ""))
        item = item_of(uri)
        yield item if item.name == stored.name else item_of(stored.name)


def _to_retry(worker: ArchiveWorker, page: list[ArchiveItem], again: Retrying) -> list[ArchiveItem]:
    named = worker.store.inputs_named(worker.run, worker.origin, [item.name for item in page])
    return [
        item
        for item in page
        if (stored := named.get(item.name)) is not None and stored.status != "ok" and again(stored)
    ]


# --- Driving the worker ---


@contextlib.contextmanager
def _working(step: Step, **options: Any) -> Iterator[ArchiveWorker]:  # noqa: ANN401  (of a worker)
    """Open a worker; store every answer at the end, even after an error."""
    with ArchiveWorker(step, **options) as worker:
        try:
            yield worker
        except GeneratorExit:
            worker.finish()
            worker.check_written()
            raise
        except KeyboardInterrupt as stopped:
            stopped.args = stopped.args or ("What was answered is stored; run again to resume.",)
            worker.finish()
            _note_unwritten(worker, stopped)
            raise
        except Exception as error:
            worker.finish()
            _note_unwritten(worker, error)
            raise
        worker.finish()
        worker.check_written()


def _note_unwritten(worker: ArchiveWorker, error: BaseException) -> None:
    """Add a note about unwritten answers to the error that ends a run."""
    try:
        worker.check_written()
    except (StoreError, LocalResourceError) as unwritten:
        if str(unwritten) != str(error):
            error.add_note(str(unwritten))


def in_pages(items: Iterable[ArchiveItem]) -> Iterator[list[ArchiveItem]]:
    """Yield inputs in lists that are looked up at once."""
    coming, size = iter(items), _FIRST_PAGE
    while page := list(itertools.islice(coming, size)):
        yield page
        size = min(2 * size, _MOST_PAGE)


def _driven(
    worker: ArchiveWorker, pages: Iterator[list[ArchiveRow | ArchiveItem]], how: _RunMode
) -> Generator[ArchiveRow]:
    """Yield the rows of looked-up pages: those that have one already, and those that are made."""
    window, tracker = _Window(worker, how.stopping), Tracker(how.on_progress)
    in_batches = how.mode == "batch"
    for row in batched(worker, pages, how.window_hours, how.stopping) if in_batches else window.rows(pages):
        paid = worker.paid.total
        tracker.count(
            row, in_flight=window.in_flight, input_tokens=paid.tokens.input, output_tokens=paid.tokens.output,
            cost_cny=paid.cny,
        )  # fmt: skip
        yield row


class _Window:
    """The inputs that are in memory: waiting, being worked on, and in progress elsewhere."""

    def __init__(self, worker: ArchiveWorker, stopping: threading.Event) -> None:
        self._worker, self._stopping = worker, stopping
        self._most = 2 * worker.threads  # as many wait as are worked on, so that no thread is idle during a look-up
        self._waiting: deque[ArchiveItem] = deque()
        self._running: set[Future[ArchiveRow | Busy]] = set()
        self._busy: deque[tuple[float, Busy]] = deque()

    @property
    def in_flight(self) -> int:
        """Inputs that are being worked on."""
        return min(self._worker.threads, len(self._running))

    def rows(self, pages: Iterator[list[ArchiveRow | ArchiveItem]]) -> Generator[ArchiveRow]:
        """Yield rows until there are no more."""
        more = True
        while not self._stopping.is_set() and (more or self._waiting or self._running or self._busy):
            self._begin()
            if more and len(self._waiting) + len(self._running) < self._most and len(self._busy) < _MOST_BUSY:
                page = next(pages, None)
                more = page is not None
                for one in page or ():
                    if isinstance(one, ArchiveRow):
                        yield one
                    else:
                        self._waiting.append(one)
                self._begin()
            yield from self._done()

    def _begin(self) -> None:
        """Hand inputs to the threads: those that were in progress elsewhere when their time has come, then others."""
        now, pool, worker = time.monotonic(), self._worker.pool(), self._worker
        while self._busy and self._busy[0][0] <= now:
            self._running.add(pool.submit(worker.attempt_again, self._busy.popleft()[1]))
        while self._waiting and len(self._running) < self._most:
            self._running.add(pool.submit(worker.attempt, self._waiting.popleft()))

    def _done(self) -> Iterator[ArchiveRow]:
        """Yield the rows of finished inputs; wait for one only if there is nothing else to do."""
        idle = len(self._running) >= self._most or not self._waiting
        done, self._running = wait(self._running, timeout=_TICK if idle else 0, return_when=FIRST_COMPLETED)
        if not self._running and not done and self._busy:
            time.sleep(AGAIN_SECONDS)
        for future in done:
            state = future.result()
            if isinstance(state, Busy):
                self._busy.append((time.monotonic() + AGAIN_SECONDS, state))
            else:
                yield state


class Tracker:
    """Counts the rows of a run, and reports how far it has come."""

    def __init__(self, on_progress: OnProgress | None) -> None:
        self._on_progress = on_progress
        self._now, self._lock = ArchiveProgress(), threading.Lock()
        self._began, self._began_at = time.monotonic(), time.time()

    def is_new(self, row: ArchiveRow) -> bool:
        """Whether a row was made, and its calls were paid for, by this run."""
        return not row.reused and row.finished_at >= self._began_at

    def count(self, row: ArchiveRow, **changed: Any) -> None:  # noqa: ANN401  (of the progress)
        """Count a row."""
        now = self._now
        counts = {**now.counts, row.status: now.counts.get(row.status, 0) + 1}
        reused = now.reused + (row.status == "ok" and not self.is_new(row))
        self.report(counts=counts, reused=reused, **changed)

    def report(self, **changed: Any) -> None:  # noqa: ANN401
        """Report what has changed."""
        with self._lock:
            self._now = replace(self._now, elapsed=time.monotonic() - self._began, **changed)
            if self._on_progress is not None:
                self._on_progress(self._now)


# --- Status ---


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchiveStatus:
    """What a store knows about an archive.

    Attributes:
        counts: rows by status.
        input_tokens: of all rows.
        output_tokens: of all rows.
        cost_cny: what they cost, as far as prices are known.
        unpriced: rows whose cost is not known.
        in_flight: inputs that some process works on now.
        since: when the first row began, in seconds since the epoch; `None` if there is none.
        until: when the last one ended.
    """

    counts: Mapping[Status, int] = field(default_factory=dict)
    input_tokens: int = 0
    output_tokens: int = 0
    cost_cny: float = 0.0
    unpriced: int = 0
    in_flight: int = 0
    since: float | None = None
    until: float | None = None

    @property
    def total(self) -> int:
        """The number of rows."""
        return sum(self.counts.values())


def status(store: str | Path, step: StepLike = None, *, origin: str | None = None) -> ArchiveStatus:
    """Return what a store knows about an archive.

    Args:
        store: the file or the address.
        step: a step, or the name of one; all of them if not given.
        origin: only what this server answered; see `Settings.origin`.

    Raises:
        ConfigurationError: there is no such file.
        StoreError: the server cannot be used.
        LocalResourceError: the file cannot be read.

    Example:
        from qwen_omni.archive import status

        print(status("archive.db", "caption").counts)
    """
    with _opened(store) as opened:
        wanted = _wanted(step, origin)
        return status_of(opened.count_inputs(wanted), in_flight=opened.count_claims(wanted))


def status_of(counts: Iterable[InputCount], *, in_flight: int = 0) -> ArchiveStatus:
    """Return a status from counts."""
    found = list(counts)
    by_status: dict[Status, int] = {
        one: count for one in STATUSES if (count := sum(each.count for each in found if each.status == one))
    }
    return ArchiveStatus(
        counts=by_status, input_tokens=sum(one.input_tokens for one in found),
        output_tokens=sum(one.output_tokens for one in found), cost_cny=sum(one.cost for one in found),
        unpriced=sum(one.unpriced for one in found), in_flight=in_flight,
        since=min((one.began for one in found), default=None), until=max((one.ended for one in found), default=None),
    )  # fmt: skip


def iter_rows(
    store: str | Path, step: StepLike = None, *, statuses: Iterable[Status] = (), origin: str | None = None
) -> Generator[ArchiveRow]:
    """Yield the rows of a store, in pages, so that it takes little memory however many there are.

    Args:
        store: the file or the address.
        step: a step, or the name of one; all of them if not given.
        statuses: only rows with these; any if empty.
        origin: only what this server answered; needed where several did, because an answer of one is never given out
            as another's.

    Raises:
        ConfigurationError: there is no such file; several servers answered.
        StoreError: the server cannot be used.
        LocalResourceError: the file cannot be read.

    Example:
        from qwen_omni.archive import iter_rows

        for row in iter_rows("archive.db", "caption", statuses=["failed", "refused"]):
            print(row.uri, row.error)
    """
    with _opened(store) as opened:
        counts = opened.count_inputs(_wanted(step, origin))
        origins = sorted({one.origin for one in counts})
        if len(origins) > 1:
            raise ConfigurationError(
                f"The archive store {opened.place} has answers of several servers: {', '.join(origins)}. Pass origin= "
                "(--origin) to choose one."
            )
        for run_of, who in dict.fromkeys((one.run, one.origin) for one in counts):
            for stored in stored_inputs(opened, run_of, who, tuple(statuses) or (None,)):
                row = from_stored(stored)
                if row is not None:
                    yield row


def stored_inputs(
    store: BufferedStore, run: str, origin: str, statuses: Iterable[str | None] = (None,)
) -> Iterator[StoredInput]:
    """Yield the inputs of a run in pages, by status if some are given."""
    for one in statuses:
        after = ""
        while page := store.inputs_after(run, origin, after, status=one):
            yield from page
            after = page[-1].name


def check_exists(store: str | Path) -> None:
    """Check that a store exists, because reading must not create one.

    Raises:
        ConfigurationError: there is no such file.
    """
    if StoreAddress.read(store) is None and not Path(store).is_file():
        reason = "It is a folder" if Path(store).is_dir() else "`run` creates it; check the path"
        raise ConfigurationError(f"There is no archive store {store}. {reason}.")


@contextlib.contextmanager
def _opened(store: str | Path) -> Iterator[BufferedStore]:
    check_exists(store)
    with contextlib.closing(open_store(store)) as opened:
        yield opened


def _wanted(step: StepLike, origin: str | None) -> InputFilter:
    """Return the filter that selects the inputs of a step."""
    if step is None:
        return InputFilter(run=f"{RUN} ", origin=origin)
    if isinstance(step, str):
        return InputFilter(run=run_name(step), origin=origin)
    return InputFilter(run=run_name(step.name, step.digest), whole=True, origin=origin)
