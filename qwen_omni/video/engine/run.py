"""Set up a run (source, task, checkpoint, machine), drive it with threads or with `asyncio`, and report its progress.

`stream` and `astream` carry out a `Job`: the runs of one use of a source, one after the other. Both drivers start what
the machine decides, wait for results and report them to it. `drive_run` is a generator: it works while its caller asks
for the next action, and ends cleanly when it is closed. `adrive_run` does the same with tasks; work on files and on the
checkpoint runs in threads. When a run ends early, nothing new starts, and requests in flight are awaited because they
are paid for. A cancelled asynchronous run returns immediately, as `asyncio` promises; finished steps stay in the
checkpoint.

`iter_notes` yields the notes of a run in order, for readers and loaders. It shares its checkpoint with `summarize`:
with the same options, notes paid for by one cost the other nothing.
"""

import asyncio
import contextlib
import functools
import queue
import time
import warnings
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Callable, Generator, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar

from qwen_omni.addresses import StoreAddress
from qwen_omni.client import AsyncOmniClient, OmniClient
from qwen_omni.errors import ConfigurationError, QwenOmniError, SpendLimitError
from qwen_omni.media.plan.segments import Segment
from qwen_omni.media.source import Anything
from qwen_omni.media.work import Deadline, StoppedError, usual_workers
from qwen_omni.options import ChatOptions, ChatRequest
from qwen_omni.ranges import check_options
from qwen_omni.request.estimate import check_call_tier
from qwen_omni.request.fit import check_model
from qwen_omni.request.prepared_request import PreparedRequest
from qwen_omni.responses import Response
from qwen_omni.settings import Settings
from qwen_omni.structured.ask import Asker, AsyncAsker
from qwen_omni.transport import flow
from qwen_omni.upload.uploader import routes_of
from qwen_omni.video.engine.machine import Action, Ask, Cut, Deliver, Joins, Machine, Prepare, Reduce, Rules
from qwen_omni.video.engine.worker import Checkpoint, News, Question, Upload, Worker
from qwen_omni.video.options import DEFAULT_OPTIONS, SummaryOptions, TextModel, on_server
from qwen_omni.video.results import Paid, pricing_of
from qwen_omni.video.schemas import SegmentNotes, clock
from qwen_omni.video.source_video import SourceVideo, chosen_strategy, look_over
from qwen_omni.video.tasks import NotesTask, Task
from qwen_omni.work_store.store import LoopPulse, digest

Kind = Literal["planned", "prepared", "delivered", "segment", "gap", "joined", "notice", "done"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """One progress event of a run.

    Attributes:
        kind: what happened: the run was planned, a segment was prepared, delivered (uploaded, or embedded in its
            request), answered, or failed permanently, notes were joined, there is a notice, or the run is done.
        segment: number of the segment, from 0.
        start: its start, in seconds of the whole video; `end` is its end.
        reused: it came from the checkpoint, and nothing was asked.
        done: segments that are finished or failed permanently.
        segments: how many there are; an estimate until the last one is cut.
        gaps: segments that failed permanently.
        elapsed: seconds since this run started.
        eta: estimated seconds until it ends; `None` until the first answer.
        input_tokens: of this run so far, as reported by the service.
        output_tokens: of this run so far.
        text: human-readable description.
    """

    kind: Kind
    segment: int | None = None
    start: float | None = None
    end: float | None = None
    reused: bool = False
    done: int = 0
    segments: int = 0
    gaps: int = 0
    elapsed: float = 0.0
    eta: float | None = None
    input_tokens: int = 0
    output_tokens: int = 0
    text: str = ""


OnProgress = Callable[[Progress], None]

Tracing = Callable[[ChatRequest, Segment | None], contextlib.AbstractContextManager[Callable[[Response], None]]]
"""Observes the requests of a run. Called with a request and its segment (`None` where notes are joined), and entered on
the thread that sends it, for as long as that takes; what it yields is called with the answer."""
AsyncTracing = Callable[
    [ChatRequest, Segment | None], contextlib.AbstractAsyncContextManager[Callable[[Response], None]]
]
"""The asynchronous `Tracing`, entered in the task that sends the request."""


@dataclass(slots=True)
class Tracker:
    """Turns the state of the machine and the clock into progress events."""

    machine: Machine[Any]
    about: int
    _began: float = field(default_factory=time.monotonic)

    def notices(self) -> list[Progress]:
        """Return the pending notices of the machine as events."""
        texts, self.machine.notices = self.machine.notices, []
        return [self.event("notice", text=text) for text in texts]

    def after(self, action: Action, paid: list[Paid]) -> Progress | None:
        """Return the event for a finished step; `None` if it is of no interest to the caller."""
        match action:
            case Cut():
                last = self.machine.last_cut
                known = last is not None and last.index in self.machine.answers and not self.machine.cut_all
                return self._of_segment(Prepare(last), paid) if last is not None and known else None
            case Prepare() | Deliver() | Ask():
                return self._of_segment(action, paid)
            case _:
                return self.event("joined", paid, text=_joined_text(action))

    def _of_segment(self, action: Prepare | Deliver | Ask, paid: list[Paid]) -> Progress | None:
        segment = action.segment
        where = {"segment": segment.index, "start": float(segment.start), "end": float(segment.end)}
        if segment.index in self.machine.answers:
            return self.event("segment", paid, **where, reused=isinstance(action, Prepare))
        gap = self.machine.gaps.get(segment.index)
        if gap is not None:
            return self.event("gap", paid, **where, text=gap.reason)
        match action, self.machine.state_of(segment):
            case Prepare(), "prepared":
                return self.event("prepared", paid, **where)
            case Deliver(), "ready":
                return self.event("delivered", paid, **where)
            case _:
                return None  # a transient failure, or another process works on it

    def event(self, kind: Kind, paid: Iterable[Paid] = (), **fields: Any) -> Progress:  # noqa: ANN401  (of a Progress)
        """Return an event, with the counts of now and what was paid."""
        usages = [one.usage for one in paid]
        machine = self.machine
        done = len(machine.answers) + len(machine.gaps)
        total = machine.count if machine.cut_all else max(self.about, machine.count)
        elapsed = time.monotonic() - self._began
        asked = len(machine.answers) - machine.known
        eta = None if asked <= 0 else elapsed / asked * max(0, total - done)
        return Progress(
            kind=kind, done=done, segments=total, gaps=len(machine.gaps), elapsed=elapsed, eta=eta,
            input_tokens=sum(one.input_tokens for one in usages),
            output_tokens=sum(one.output_tokens for one in usages), **fields,
        )  # fmt: skip


def _joined_text(step: Reduce) -> str:
    """Describe a join in words.

    Example:
        >>> _joined_text(Reduce(0, 1, "", last=False))
        'joined the notes of part 2'
    """
    if step.last:
        return "joined the notes" if step.level == 0 else "joined the parts"
    return (
        f"joined the notes of part {step.index + 1}" if step.level == 0 else f"joined parts into part {step.index + 1}"
    )


T = TypeVar("T")

_TENTH = 10
_GO_ON = "Finished steps are stored: run it again with the same options to resume."
CHECKPOINTS = "video"
"""Name of the checkpoint folder inside the cache folder."""


@dataclass(slots=True, kw_only=True)
class Run(Generic[T]):
    """Everything that one run needs."""

    video: SourceVideo
    machine: Machine[T]
    worker: Worker[T]
    checkpoint: Checkpoint
    tracker: Tracker
    settings: Settings
    noticed: list[str] = field(default_factory=list)

    def news(self, action: Any) -> list[Progress]:  # noqa: ANN401  (any action of the machine)
        """Return the events to report after a step."""
        progress = self.tracker.after(action, self.worker.paid)
        found = self.checkpoint.news()
        self.machine.notices += found
        self.noticed += found
        return [*([] if progress is None else [progress]), *self.tracker.notices()]

    def reports(self) -> tuple[str, ...]:
        """Return the notices about the checkpoint, and about answers that could not be written to it."""
        return tuple(dict.fromkeys([*self.noticed, *self.checkpoint.last_news()]))

    def kept_text(self) -> str:
        """Describe what an interrupted run has stored."""
        if self.checkpoint.place is None:
            return "Nothing is kept (checkpoint=False)."
        known, about = len(self.machine.answers), self.tracker.event("notice").segments
        return f"{known} of {about} segments kept; run again to resume."

    def check(self) -> None:
        """Raise the error that stopped the run, if any, with advice on how to resume."""
        error = self.machine.error
        if error is None:
            return
        # The message of a ConfigurationError already says what to change.
        stored = bool(self.checkpoint.place and self.machine.answers)
        if not stored or isinstance(error, ConfigurationError) or _GO_ON in str(error):
            raise error
        more = " A higher limit lets it." if isinstance(error, SpendLimitError) else ""
        raise error.with_hint(f"{_GO_ON}{more}")

    def close(self) -> None:
        """Close the checkpoint and stop the work on files."""
        self.worker.stop()
        self.worker.close()
        self.checkpoint.close()


def over_source(source: Anything, settings: Settings, options: SummaryOptions) -> tuple[SourceVideo, bool]:
    """Inspect a source and choose a strategy; the second value is whether it goes in a single call.

    Raises:
        MediaError: it cannot be used (see `look_over`), or does not fit the single call that was requested.
        ConfigurationError: the segment length and overlap leave no room to advance, or Batch Chat does not take the
            model that combines notes.
        NotFoundError: the service has retired a model.
    """
    for model in (options.model, *([options.text_model] if isinstance(options.text_model, str) else [])):
        check_model(model, settings.base_url)
    check_text_tier(settings, options)
    profile = settings.profile(options.model)
    room = routes_of(settings, profile).room_bytes
    video = look_over(source, options, profile, media_root=settings.media_root, room_bytes=room)
    single = chosen_strategy(video, options) == "single"
    video = replace(video, seconds=max(video.seconds, video.duration)) if single else video
    video.check()
    return video, single


def check_text_tier(settings: Settings, options: SummaryOptions) -> None:
    """Check the tier of the joins before a segment is paid for; raises as `check_call_tier` does."""
    if isinstance(options.text_model, str):
        chat = ChatOptions(tier=options.tier)
        check_call_tier(ChatRequest(model=options.text_model, messages=(), options=chat), settings)


def notes_run(source: Anything, settings: Settings, options: SummaryOptions, *, joins: bool) -> Run[SegmentNotes]:
    """Build a run that takes notes, and joins them if `joins`.

    Raises:
        MediaError: the source cannot be used.
        ConfigurationError: the checkpoint cannot be opened, the segment length and overlap leave no room to advance,
            or money is limited and the price of the model that combines notes is not known.
    """
    options = on_server(options, settings.server_of(options.model))
    video, whole = over_source(source, settings, options)
    if joins and not whole:
        check_joining(settings, options)
    task = NotesTask(
        options=options, duration=float(video.end), profile_of=settings.profile, video=video.facts,
        segments=video.about, whole=whole,
    )  # fmt: skip
    return make_run(video, task, settings, joins=joins and not whole)


def check_joining(settings: Settings, options: SummaryOptions) -> None:
    """Check that the answers, once paid for, can be joined: a price is needed wherever money is limited.

    Raises:
        ConfigurationError: money is limited, and the price of the model that combines notes is not known.
    """
    if settings.spend_limit is not None and isinstance(options.text_model, str):
        settings.spend_limit.check_priced(pricing_of(options.text_model, settings))


def make_run(
    video: SourceVideo,
    task: Task[T],
    settings: Settings,
    *,
    joins: bool = False,
    wanted: frozenset[int] | None = None,
) -> Run[T]:
    """Build a run; unless it `joins`, it ends with the answers about segments, of those `wanted` if given."""
    options = task.options
    checkpoint = open_checkpoint(video, task.key_fields, settings, options)
    try:
        worker = Worker(video, task, checkpoint)
        about = video.about
        allowed = options.max_gaps if options.max_gaps is not None else max(min(1, about - 1), about // _TENTH)
        rules = Rules(
            concurrency=options.concurrency,
            preparers=options.workers or usual_workers(),
            max_gaps=allowed,
            step_retries=options.step_retries,
            retry_seconds=options.retry_seconds,
            wanted=wanted,
        )
        machine = Machine(rules=rules, joins=Joins(options.reduce_tokens) if joins else None, to_text=task.text)
    except BaseException:
        checkpoint.close()
        raise
    tracker = Tracker(machine=machine, about=about)
    return Run(video=video, machine=machine, worker=worker, checkpoint=checkpoint, tracker=tracker, settings=settings)


def joining_run(before: Run[T], task: Task[T], answers: Mapping[int, T]) -> Run[T]:
    """Build a run that combines existing answers, in the checkpoint of `before`."""
    checkpoint, count = before.checkpoint.again(), len(answers)
    video = replace(before.video, deadline=Deadline())  # that of the other run has been stopped
    worker = Worker(video, task, checkpoint)
    machine = Machine(
        rules=before.machine.rules, joins=Joins(task.options.reduce_tokens), to_text=task.text, answers=dict(answers),
        known=count, count=count, cut_all=True,
    )  # fmt: skip
    tracker = Tracker(machine=machine, about=count)
    return replace(before, machine=machine, worker=worker, checkpoint=checkpoint, tracker=tracker, noticed=[])


def checkpoint_place(
    video: SourceVideo, key_fields: Mapping[str, Any], settings: Settings, options: SummaryOptions
) -> tuple[Path | str | None, str]:
    """Return the file or the server of a run's checkpoint, and the run's key there; reads the whole source once.

    The file is `None` if no checkpoint is wanted.
    """
    if options.checkpoint is False:
        return None, ""
    run = digest(video.digest(), {**key_fields, **video.key_fields()})[:32]
    server = settings.store if options.checkpoint is True else StoreAddress.read(options.checkpoint)
    if server is not None:
        return server, run
    folder = settings.cache_dir / CHECKPOINTS if options.checkpoint is True else Path(options.checkpoint)
    if folder.is_file():
        return folder, run  # a store that many runs share, such as an archive's
    return folder / f"{run}.sqlite3", run


def open_checkpoint(
    video: SourceVideo, key_fields: Mapping[str, Any], settings: Settings, options: SummaryOptions
) -> Checkpoint:
    """Open the checkpoint of a run, keyed by who answers; reads the whole source once.

    Raises:
        ConfigurationError: the file is damaged, from a newer version, or holds something else.
        LocalResourceError: it cannot be created, read or written.
        StoreError: the server of the store cannot be used.
    """
    place, run = checkpoint_place(video, key_fields, settings, options)
    return Checkpoint(
        place,
        run=run,
        origin=settings.origin,
        reuse_unverified=options.reuse_unverified,
        private_folder=options.checkpoint is True,
    )


# --- Driving a run ---


def drive_run(
    machine: Machine[T],
    worker: Worker[T],
    asker: OmniClient,
    text_asker: Asker,
    *,
    speed: float = 1.0,
    tracing: Tracing | None = None,
) -> Generator[Action, None, None]:
    """Work until the run is over; yield each step that succeeded or failed.

    The machine holds the result, including `machine.error`.

    Args:
        machine: decides what starts next.
        worker: does the work that needs no service.
        asker: uploads media and asks the model that sees them.
        text_asker: asks the model that combines notes.
        speed: machine seconds per real second; a simulation uses more than 1.
        tracing: observes every request.

    Raises:
        Exception: an error from outside the package, raised once everything in flight has ended.
    """
    news: queue.SimpleQueue[tuple[Action, News[T] | Exception]] = queue.SimpleQueue()
    pool = ThreadPoolExecutor(most_at_once(machine.rules), thread_name_prefix="qwen-omni-video")
    perform = functools.partial(_traced, sender=asker, joiner=text_asker, tracing=tracing)
    flying, crash = 0, None
    try:
        while flying or not machine.over:
            for action in list(machine.actions(time.monotonic() * speed)):
                flying += 1
                pool.submit(_work, action, worker, functools.partial(perform, action=action), news)
            wait = machine.wake(time.monotonic() * speed) if machine.error is None else None
            if not flying and wait is None:
                break  # nothing is left to wait for
            try:
                action, came = news.get(timeout=None if wait is None else wait / speed)
            except queue.Empty:
                continue
            flying -= 1
            crash = take_in(machine, worker, action, came, time.monotonic() * speed) or crash
            yield action
    finally:
        worker.stop()
        pool.shutdown(wait=True, cancel_futures=True)
        while not news.empty():  # what was in flight when the run was stopped
            action, came = news.get()
            take_in(machine, worker, action, came, time.monotonic() * speed)
        worker.close()
    if crash is not None:
        raise crash


def most_at_once(rules: Rules) -> int:
    """Return how many steps may be in flight."""
    return rules.concurrency + rules.preparers + rules.deliverers + 1


def _work(
    action: Action,
    worker: Worker[T],
    perform: Callable[[Upload | Question], PreparedRequest | Response],
    news: "queue.SimpleQueue[Any]",
) -> None:
    with worker.video.deadline.governing():  # a request that waits for its turn is given up when the run stops
        try:
            news.put((action, flow.drive(worker.work(action), perform)))
        except BaseException as error:  # noqa: BLE001 - the driver handles it
            news.put((action, error))


def _traced(
    step: Upload | Question, action: Action, sender: OmniClient, joiner: Asker, tracing: Tracing | None
) -> PreparedRequest | Response:
    if isinstance(step, Upload):
        return sender.deliver(step.request)
    if tracing is None:
        return _ask(step, sender, joiner)
    with tracing(step.request, getattr(action, "segment", None)) as answered:
        response = _ask(step, sender, joiner)
        answered(response)
        return response


def _ask(question: Question, sender: OmniClient, joiner: Asker) -> Response:
    match question:
        case Question(outgoing=PreparedRequest() as outgoing):
            return sender.answer(outgoing)
        case Question(joins=True, once=True) if isinstance(joiner, OmniClient):
            return joiner.answer(joiner.deliver(question.request).once())
        case _:
            return (joiner if question.joins else sender).complete(question.request)


def take_in(
    machine: Machine[T], worker: Worker[T], action: Action, came: "News[T] | BaseException", now: float
) -> BaseException | None:
    """Report the result of a step to the machine; return an error from outside the package, which ends the run."""
    if not isinstance(came, BaseException):
        came(machine, now)
        return None
    if isinstance(came, StoppedError):
        return None
    if isinstance(came, QwenOmniError):
        machine.failed(action, came, now)
    else:
        machine.stop(QwenOmniError(f"The run was interrupted: {type(came).__name__}."))
    if machine.error is not None:
        worker.stop()
    return None if isinstance(came, QwenOmniError) else came


async def adrive_run(
    machine: Machine[T],
    worker: Worker[T],
    asker: AsyncOmniClient,
    text_asker: AsyncAsker,
    tracing: AsyncTracing | None = None,
) -> AsyncGenerator[Action, None]:
    """Work until the run is over; yield each step that succeeded or failed. The asynchronous `drive_run`."""
    pool = ThreadPoolExecutor(most_at_once(machine.rules), thread_name_prefix="qwen-omni-video")
    flying: dict[asyncio.Task[News[T]], Action] = {}
    perform = functools.partial(_atraced, sender=asker, joiner=text_asker, tracing=tracing)
    crash: BaseException | None = None
    worker.alive = pulse = LoopPulse()
    try:
        while flying or not machine.over:
            for action in list(machine.actions(time.monotonic())):
                performing = functools.partial(perform, action=action)
                working = flow.adrive(worker.work(action), performing, blocking=True, pool=pool)
                flying[asyncio.create_task(working)] = action
            wait = machine.wake(time.monotonic()) if machine.error is None else None
            if not flying and wait is None:
                break  # nothing is left to wait for
            if not flying:
                await asyncio.sleep(wait or 0)
                continue
            done, _ = await asyncio.wait(flying, timeout=wait, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                action = flying.pop(task)
                came = task.exception() or task.result()
                crash = take_in(machine, worker, action, came, time.monotonic()) or crash
                yield action
    finally:
        worker.stop()
        for task in flying:
            task.cancel()
        await asyncio.gather(*flying, return_exceptions=True)
        await asyncio.to_thread(pool.shutdown, wait=True, cancel_futures=True)
        await asyncio.to_thread(worker.close)
        pulse.stop()
    if crash is not None:
        raise crash


async def _atraced(
    step: Upload | Question, action: Action, sender: AsyncOmniClient, joiner: AsyncAsker, tracing: AsyncTracing | None
) -> PreparedRequest | Response:
    if isinstance(step, Upload):
        return await sender.deliver(step.request)
    if tracing is None:
        return await _aask(step, sender, joiner)
    async with tracing(step.request, getattr(action, "segment", None)) as answered:
        response = await _aask(step, sender, joiner)
        answered(response)
        return response


async def _aask(question: Question, sender: AsyncOmniClient, joiner: AsyncAsker) -> Response:
    match question:
        case Question(outgoing=PreparedRequest() as outgoing):
            return await sender.answer(outgoing)
        case Question(joins=True, once=True) if isinstance(joiner, AsyncOmniClient):
            return await joiner.answer((await joiner.deliver(question.request)).once())
        case _:
            return await (joiner if question.joins else sender).complete(question.request)


# --- Jobs ---


class Job(ABC, Generic[T]):
    """The runs of one summary or question, and what is reported to the caller. `runs` and `ended` may block."""

    options: SummaryOptions

    def __post_init__(self) -> None:
        """Check that the options are of the class that every use of a video takes."""
        check_options(self.options, SummaryOptions)

    @abstractmethod
    def runs(self, settings: Settings) -> Iterator[Run[T]]:
        """Yield the runs, each built after the previous one has ended."""

    def begun(self, run: Run[T]) -> Iterable[Any]:
        """Return what to yield before a run."""
        del run
        return ()

    def news(self, run: Run[T], action: Action) -> Iterable[Any]:
        """Return what to yield after a step."""
        return run.news(action)

    @abstractmethod
    def ended(self, run: Run[T]) -> Iterator[Any]:
        """Yield what follows a run, or raise the error that stopped it."""


def stream(
    job: Job[Any], text_model: str | TextModel, client: OmniClient | None, tracing: Tracing | None = None
) -> Generator[Any, None, None]:
    """Carry out a job, with a client from the environment if none is given; yield its news and results."""
    with contextlib.ExitStack() as closing:
        asker = client if client is not None else closing.enter_context(OmniClient())
        text_asker = asker if isinstance(text_model, str) else text_model
        for run in job.runs(asker.settings):
            steps = drive_run(run.machine, run.worker, asker, text_asker, tracing=tracing)
            with contextlib.closing(run), contextlib.closing(steps), _kept_named(run):
                yield from job.begun(run)
                for action in steps:
                    yield from job.news(run, action)
                yield from job.ended(run)


@contextlib.contextmanager
def _kept_named(run: Run[Any]) -> Iterator[None]:
    """Let a `KeyboardInterrupt` say what is kept, once everything in flight has ended."""
    try:
        yield
    except KeyboardInterrupt as stopped:
        stopped.args = stopped.args or (run.kept_text(),)
        raise


async def astream(
    job: Job[Any],
    text_model: str | TextModel,
    client: AsyncOmniClient | None,
    tracing: AsyncTracing | None = None,
) -> AsyncGenerator[Any, None]:
    """Carry out a job; the asynchronous `stream`."""
    async with contextlib.AsyncExitStack() as closing:
        asker = client if client is not None else await closing.enter_async_context(AsyncOmniClient())
        text_asker = asker if isinstance(text_model, str) else _AsyncTextModel(text_model)
        runs = job.runs(asker.settings)
        while (run := await asyncio.to_thread(next, runs, None)) is not None:
            async with contextlib.AsyncExitStack() as ending:
                ending.push_async_callback(asyncio.to_thread, run.close)
                steps = adrive_run(run.machine, run.worker, asker, text_asker, tracing)
                await ending.enter_async_context(contextlib.aclosing(steps))
                for one in job.begun(run):
                    yield one
                async for action in steps:
                    for one in job.news(run, action):
                        yield one
                results = job.ended(run)
                while (one := await asyncio.to_thread(next, results, None)) is not None:
                    yield one


class _AsyncTextModel:
    """The caller's own text model for the asynchronous driver."""

    def __init__(self, model: TextModel) -> None:
        self.complete = model.acomplete


def last_of(coming: Generator[Progress | T, None, None], on_progress: OnProgress | None) -> T:
    """Return the result of a run; its progress goes to the callback."""
    with contextlib.closing(coming):
        for news in coming:
            if not isinstance(news, Progress):
                return news
            if on_progress is not None:
                on_progress(news)
    raise AssertionError("a run ends with its result or an error")


async def alast_of(coming: AsyncGenerator[Progress | T, None], on_progress: OnProgress | None) -> T:
    """Return the result of a run; the asynchronous `last_of`."""
    async with contextlib.aclosing(coming):
        async for news in coming:
            if not isinstance(news, Progress):
                return news
            if on_progress is not None:
                on_progress(news)
    raise AssertionError("a run ends with its result or an error")


# --- The notes of a run, one by one, while later segments are still being processed ---


def iter_notes(
    source: Anything,
    *,
    client: OmniClient | None = None,
    options: SummaryOptions = DEFAULT_OPTIONS,
    on_progress: OnProgress | None = None,
) -> Generator[SegmentNotes, None, None]:
    """Yield the notes of each segment, in order; for one that failed permanently, `gap` has the reason.

    Lazy: the source is not opened before the first item is requested, and nothing new starts between items. Close the
    generator to stop early; requests in flight are awaited and their answers kept.

    Args:
        source: a path chosen by the program, bytes, or a `MediaSource`.
        client: sends the requests; one is created from the environment if not given.
        options: the model, how closely it looks, where the video is cut, …
        on_progress: called after every step.

    Raises:
        QwenOmniError: see `qwen_omni.errors`; finished segments are kept for the next run.

    Example:
        from qwen_omni import iter_notes

        for notes in iter_notes("lecture.mp4"):
            print(notes.start, notes.summary)
    """
    with contextlib.closing(stream(_Notes(source, options, on_progress), "", client)) as coming:
        for one in coming:
            if isinstance(one, SegmentNotes):
                yield one
            elif on_progress is not None:
                on_progress(one)
            else:
                warnings.warn(one.text, UserWarning, stacklevel=2)


async def aiter_notes(
    source: Anything,
    *,
    client: AsyncOmniClient | None = None,
    options: SummaryOptions = DEFAULT_OPTIONS,
    on_progress: OnProgress | None = None,
) -> AsyncGenerator[SegmentNotes, None]:
    """The asynchronous `iter_notes`. Use `contextlib.aclosing` to stop early without delay."""
    async with contextlib.aclosing(astream(_Notes(source, options, on_progress), "", client)) as coming:
        async for one in coming:
            if isinstance(one, SegmentNotes):
                yield one
            elif on_progress is not None:
                on_progress(one)
            else:
                warnings.warn(one.text, UserWarning, stacklevel=2)


@dataclass(slots=True)
class _Notes(Job[SegmentNotes]):
    """One run, whose notes are put in order. Without a callback only notices about the checkpoint are of interest."""

    source: Anything
    options: SummaryOptions
    on_progress: OnProgress | None
    _next: int = 0

    def runs(self, settings: Settings) -> Iterator[Run[SegmentNotes]]:
        yield notes_run(self.source, settings, self.options, joins=False)

    def begun(self, run: Run[SegmentNotes]) -> Iterator[Progress]:
        if self.on_progress is not None:
            video = run.video
            length = clock(float(video.duration))
            text = f"{video.look.label}: {length}, notes of {video.segments_text} by {self.options.model}"
            yield run.tracker.event("planned", text=text)

    def news(self, run: Run[SegmentNotes], action: Action) -> Iterator[Progress | SegmentNotes]:
        for one in run.news(action):
            if self.on_progress is not None or one.text in run.noticed:
                yield one
        yield from self._ready(run)

    def ended(self, run: Run[SegmentNotes]) -> Iterator[Progress]:
        before = list(run.noticed)
        for text in run.reports():
            if text not in before:
                yield run.tracker.event("notice", text=text)
        run.check()
        if self.on_progress is not None:
            yield run.tracker.event("done", run.worker.paid)

    def _ready(self, run: Run[SegmentNotes]) -> Iterator[SegmentNotes]:
        """Yield the notes that have become ready."""
        machine = run.machine
        while True:
            notes, gap = machine.answers.get(self._next), machine.gaps.get(self._next)
            if notes is None and gap is not None:
                facts = run.video.facts
                notes = SegmentNotes(index=gap.index, start=gap.start, end=gap.end, gap=gap.reason, video=facts)
            if notes is None:
                return
            self._next += 1
            segments = machine.count if machine.cut_all else max(notes.segments, machine.count)
            yield notes.model_copy(update={"segments": segments})
