"""`ask_library` and its variants: a question over all that a search covers, answered with the shots that show it.

Search, look again at the best windows at a higher frame rate, answer from what was found. Looks end when one of them
is sure, when enough were made, or when the spend limit allows no other: a share of the limit is kept for the answer.
Looks and answers are stored in the work store, so the same question costs no more than the search.

The search may be any function from a question to windows: that of a `VideoLibrary`, or a retriever over another store.
"""

import asyncio
import contextlib
import hashlib
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar

from qwen_omni.client import AsyncOmniClient, OmniClient
from qwen_omni.errors import (
    CaptionSyntaxError,
    ConfigurationError,
    ContentFilterError,
    DeliveryError,
    InvalidRequestError,
    MediaError,
    QwenOmniError,
    SpendLimitError,
    TruncatedAnswerError,
    UnreadableMediaError,
)
from qwen_omni.library import answers
from qwen_omni.library.answers import DEFAULT_ASK, AskOptions, LibraryAnswer, Look, Shot, Stopped
from qwen_omni.media.files.safe_open import open_local
from qwen_omni.media.files.tempfiles import machine_fault
from qwen_omni.media.source import as_source
from qwen_omni.options import ChatRequest
from qwen_omni.pricing.limit import Reservation, refusal_text
from qwen_omni.ranges import check_options
from qwen_omni.request.estimate import Estimate, estimate
from qwen_omni.responses import Delta, Response, ResponseBuilder, TextDelta
from qwen_omni.retrieval.passages import TimeRange
from qwen_omni.retrieval.windows import Window
from qwen_omni.settings import Settings
from qwen_omni.structured.ask import CaptionPlan, CaptionResult, ObjectStream, ReadOptions, ask_until_valid
from qwen_omni.transport.flow import Done, Sleep, adrive, advance
from qwen_omni.video.engine.machine import BUSY_SECONDS
from qwen_omni.video.results import Paid, to_bill
from qwen_omni.work_store.buffered import BufferedStore
from qwen_omni.work_store.opening import open_work_store
from qwen_omni.work_store.store import Alive, Found, LoopPulse, StepKey, StoreUse, Taken

T = TypeVar("T")

Searcher = Callable[[str], Sequence[Window]]
"""Returns the windows that answer a question best, best first."""
AsyncSearcher = Callable[[str], Awaitable[Sequence[Window]]]

_RUN = "library"
_LOOK, _ANSWER, _AFTER_LOOKS = "Another look", "A written answer", "An answer after looks"
_USE = StoreUse(
    name="store of answers", way_out="Remove that file, or pass keep=False.", holds="looks and answers",
    private_folder=True,
)  # fmt: skip
_UNWATCHED = (
    MediaError,
    DeliveryError,
    InvalidRequestError,
    ContentFilterError,
    CaptionSyntaxError,
    TruncatedAnswerError,
)
"""Errors that concern one window alone: its notes are used instead."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LibraryProgress:
    """An event of a question.

    Attributes:
        kind: "found" (windows), "look" (one begins), "looked", "unwatched" (it failed), "stopped" (no more looks),
            "waiting" (another process makes the same look), "answer" (the answer as far as it has arrived).
        text: for people; of "answer", the answer so far.
        shot: the shot of a look.
        number: of the look, from 1.
        total: windows that were found.
    """

    kind: Literal["found", "look", "looked", "unwatched", "stopped", "waiting", "answer"]
    text: str = ""
    shot: Shot | None = None
    number: int = 0
    total: int = 0


OnLibraryProgress = Callable[[LibraryProgress], None]


def ask_library(
    question: str,
    search: Searcher,
    *,
    client: OmniClient | None = None,
    options: AskOptions = DEFAULT_ASK,
    on_progress: OnLibraryProgress | None = None,
) -> LibraryAnswer:
    """Answer a question from the videos that a search finds, with the moments that show it.

    Args:
        question: in natural language.
        search: returns windows for a question, best first.
        client: sends the requests; one is created from the environment if not given. Its spend limit ends the looks,
            never the answer.
        options: the models, and how many windows are watched how closely.
        on_progress: called after every step.

    Raises:
        ConfigurationError: the question is empty, or longer than a model takes; `options` are not `AskOptions`.
        QwenOmniError: see `qwen_omni.errors`; finished looks are stored for the next call.

    Example:
        from qwen_omni import VideoLibrary, ask_library

        with VideoLibrary("library.lance") as library:
            found = ask_library("Who scores first?", library.search)
            print(found.answer, [(one.source, one.start, one.text) for one in found.evidence], found.basis)
    """
    *_, last = _reported(stream_library(question, search, client=client, options=options), on_progress)
    assert isinstance(last, LibraryAnswer)
    return last


def stream_library(
    question: str, search: Searcher, *, client: OmniClient | None = None, options: AskOptions = DEFAULT_ASK
) -> Generator[LibraryProgress | LibraryAnswer, None, None]:
    """Yield progress, with the answer as it arrives, and finally the `LibraryAnswer`; see `ask_library`.

    Example:
        from qwen_omni import VideoLibrary, stream_library

        with VideoLibrary("library.lance") as library:
            for event in stream_library("Who scores first?", library.search):
                print(event)
    """
    with contextlib.ExitStack() as closing:
        asker = client if client is not None else closing.enter_context(OmniClient())
        work = _answering(answers.check_question(question), options, asker.settings)
        closing.callback(work.close)
        outcome: Any = None
        while not isinstance(step := advance(work, outcome), Done):
            outcome = None
            try:
                match step:
                    case LibraryProgress():
                        yield step
                    case Find():
                        outcome = search(step.question)
                    case Ask(reading=None):
                        outcome = asker.complete(step.request)
                    case Ask(reading=ReadOptions() as reading):
                        writing = _Writing(reading)
                        for delta in asker.stream(step.request):
                            yield from writing.take(delta)
                        outcome = writing.response
                    case Sleep():
                        time.sleep(step.seconds)
            except QwenOmniError as error:
                outcome = error
        yield step.value


async def aask_library(
    question: str,
    search: AsyncSearcher,
    *,
    client: AsyncOmniClient | None = None,
    options: AskOptions = DEFAULT_ASK,
    on_progress: OnLibraryProgress | None = None,
) -> LibraryAnswer:
    """Answer a question from the videos that a search finds; the asynchronous `ask_library`.

    Example:
        import asyncio
        from qwen_omni import VideoLibrary, aask_library

        with VideoLibrary("library.lance") as library:
            print(asyncio.run(aask_library("Who scores first?", library.asearch)).answer)
    """
    found: LibraryAnswer | None = None
    async with contextlib.aclosing(astream_library(question, search, client=client, options=options)) as coming:
        async for one in coming:
            if isinstance(one, LibraryAnswer):
                found = one
            elif on_progress is not None:
                on_progress(one)
    assert found is not None
    return found


async def astream_library(
    question: str, search: AsyncSearcher, *, client: AsyncOmniClient | None = None, options: AskOptions = DEFAULT_ASK
) -> AsyncGenerator[LibraryProgress | LibraryAnswer, None]:
    """Yield progress, then the answer; the asynchronous `stream_library`. Close it with `contextlib.aclosing`."""
    news: asyncio.Queue[LibraryProgress | None] = asyncio.Queue()
    async with contextlib.AsyncExitStack() as closing:
        asker = client if client is not None else await closing.enter_async_context(AsyncOmniClient())
        pulse = LoopPulse()
        closing.callback(pulse.stop)

        async def perform(step: Any) -> Any:  # noqa: ANN401  (the outcome of any step)
            match step:
                case LibraryProgress():
                    news.put_nowait(step)
                case Find():
                    return await search(step.question)
                case Ask(reading=None):
                    return await asker.complete(step.request)
                case Sleep():
                    await asyncio.sleep(step.seconds)
                case Ask(reading=ReadOptions() as reading):
                    writing = _Writing(reading)
                    async with contextlib.aclosing(asker.stream(step.request)) as deltas:
                        async for delta in deltas:
                            for one in writing.take(delta):
                                news.put_nowait(one)
                    return writing.response
            return None

        work = _answering(answers.check_question(question), options, asker.settings, pulse)
        task = asyncio.create_task(adrive(work, perform, blocking=True))
        task.add_done_callback(lambda _: news.put_nowait(None))
        try:
            while (one := await news.get()) is not None:
                yield one
            yield await task
        finally:
            task.cancel()
            await asyncio.wait([task])


def _reported(
    coming: Generator[LibraryProgress | LibraryAnswer, None, None], on_progress: OnLibraryProgress | None
) -> Iterator[LibraryProgress | LibraryAnswer]:
    with contextlib.closing(coming):
        for one in coming:
            if on_progress is not None and isinstance(one, LibraryProgress):
                on_progress(one)
            yield one


# --- The steps ---


@dataclass(frozen=True, slots=True)
class Find:
    """A search to make; its outcome is a list of windows."""

    question: str


@dataclass(frozen=True, slots=True)
class Ask:
    """A request to send; its outcome is the response, which is shown while it arrives if it can be read so."""

    request: ChatRequest
    reading: ReadOptions | None = None


Step = Find | Ask | Sleep | LibraryProgress
Steps = Generator[Step, Any, T]


class _Writing:
    """Collects an answer, and shows it while it arrives."""

    def __init__(self, reading: ReadOptions) -> None:
        self._stream = ObjectStream(reading)
        self._builder = ResponseBuilder()
        self._shown = ""

    def take(self, delta: Delta) -> Iterator[LibraryProgress]:
        """Add a piece; yield the answer so far where there is more of it."""
        self._builder.add(delta)
        partial = self._stream.feed(delta.text) if isinstance(delta, TextDelta) else None
        text = partial.get("answer") if isinstance(partial, dict) else None
        if isinstance(text, str) and text != self._shown:
            self._shown = text
            yield LibraryProgress(kind="answer", text=text)

    @property
    def response(self) -> Response:
        """The whole response."""
        return self._builder.build()


def _answering(
    question: str, options: AskOptions, settings: Settings, alive: Alive | None = None
) -> Steps[LibraryAnswer]:
    """Open the store of answers, and answer."""
    check_options(options, AskOptions)
    store = open_work_store(_place(options, settings), _USE)
    try:
        asked = _Question(question, options, settings, store, alive)
        found: LibraryAnswer = yield from asked.answering()
        store.write_rest()
        trouble = f"Looks could not be stored ({store.trouble}); the same question costs them again."
        notices = [*found.notices, *store.notices(), *([trouble] if store.trouble else [])]
        return found.model_copy(update={"this_run": to_bill(asked.paid, settings), "notices": tuple(notices)})
    finally:
        store.close()


def _place(options: AskOptions, settings: Settings) -> Any:  # noqa: ANN401  (a path, an address or nothing)
    """Return the place of the store of answers."""
    return (settings.store or settings.cache_dir / _RUN / "answers.sqlite3") if options.keep else None


@dataclass(slots=True)
class _Question:
    """One question: the windows, the looks at them, the answer."""

    question: str
    options: AskOptions
    settings: Settings
    store: BufferedStore
    alive: Alive | None
    paid: list[Paid] = field(default_factory=list)
    digests: dict[str, str] = field(default_factory=dict)
    refused: dict[str, SpendLimitError] = field(default_factory=dict)  # the first of each kind

    def answering(self) -> Steps[LibraryAnswer]:
        """Search, watch, answer."""
        answers.check_length(self.question, self.options, self.settings)
        windows: Sequence[Window] = yield Find(self.question)
        if not windows:
            return answers.nothing_found(self.question, windows)
        total = len(windows)
        yield LibraryProgress(kind="found", text=f"{total} windows found", total=total)
        held = self._kept_back(windows)
        try:
            shots, stopped = yield from self._looks(windows, may_pay=_AFTER_LOOKS not in self.refused)
        finally:
            if held is not None:
                held.release()
        if stopped:
            yield LibraryProgress(kind="stopped", text=answers.basis_of(shots, stopped), total=total)
        found: LibraryAnswer = yield from self._answer(shots, stopped)
        by_words = [windows.notice] if isinstance(windows, answers.WordMatches) else []
        refusals = [refusal_text(error, what) for what, error in self.refused.items()]
        return found.model_copy(update={"notices": (*by_words, *refusals)})

    def _kept_back(self, windows: Sequence[Window]) -> Reservation | None:
        """Reserve what the answer may cost, so that looks cannot use it up; `None` if that is refused."""
        limit = self.settings.spend_limit
        if limit is None or not self.options.looks:
            return None
        plan = answers.plan_longest_answer(self.question, windows, self.options, self.settings)
        try:
            return limit.reserve(estimate(plan.request, settings=self.settings))
        except SpendLimitError as error:
            self.refused[_AFTER_LOOKS] = error
            return None

    def _looks(self, windows: Sequence[Window], *, may_pay: bool) -> Steps[tuple[list[Shot], Stopped]]:
        shots = [answers.to_shot(window) for window in windows]
        stopped: Stopped = "" if may_pay else "spend_limit"
        watched = 0
        for number, window in enumerate(windows):
            if watched >= self.options.looks:
                return shots, stopped or "looks"
            try:
                shots[number] = yield from self._watched(shots[number], window, number, may_pay=not stopped)
            except SpendLimitError as error:
                self.refused.setdefault(_LOOK, error)
                stopped = "spend_limit"  # looks that are stored already are still used
                continue
            look = shots[number].look
            watched += look is not None
            if look is not None and answers.is_enough(look, self.options):
                return shots, "sure" if number + 1 < len(windows) else ""
        return shots, stopped

    def _watched(self, shot: Shot, window: Window, number: int, *, may_pay: bool) -> Steps[Shot]:
        """Watch a window, or find the stored look; return the shot with what was found, or why it was not watched."""
        try:
            where, plan, key = self.planned(window)
            if not may_pay and not isinstance(self.store.peek(key), Found):
                return shot
            text = f"looking at {shot.start:.0f}-{shot.end:.0f} s of {shot.source}"
            yield LibraryProgress(kind="look", text=text, shot=shot, number=number + 1)
            look, reused = yield from self._once(key, plan, Look, lambda made: answers.read_look(made, where))
        except (*_UNWATCHED, ConfigurationError) as error:
            self.paid += [Paid(self.options.model, one) for one in getattr(error, "usages", ())]
            shot = shot.model_copy(update={"reason": str(error).partition("\n")[0]})
            yield LibraryProgress(kind="unwatched", text=shot.reason, shot=shot, number=number + 1)
            return shot
        shot = shot.model_copy(update={"look": look, "reused": reused})
        yield LibraryProgress(kind="looked", text=look.found, shot=shot, number=number + 1)
        return shot

    def planned(self, window: Window) -> tuple[TimeRange, CaptionPlan, StepKey]:
        """Return the time range of a look at a window, its request, and the key under which it is stored."""
        where = answers.range_to_watch(window, self.options.margin)
        plan = answers.plan_look(self.question, where, self.options, self.settings)
        if where.source not in self.digests:
            self.digests[where.source] = content_digest(where.source, self.settings)
        return where, plan, self._key(answers.look_key(self.digests[where.source], where, plan, self.options))

    def _answer(self, shots: list[Shot], stopped: Stopped) -> Steps[LibraryAnswer]:
        ordered = answers.in_order(shots)
        plan = answers.plan_answer(self.question, ordered, self.options, self.settings)
        reading = ReadOptions(schema=plan.schema)
        written: answers.AnswerSchema | None = None
        try:
            key = self._key(answers.answer_key(plan, self.options))
            written, _ = yield from self._once(key, plan, answers.AnswerSchema, lambda made: made, reading)
        except SpendLimitError as error:
            self.refused[_ANSWER] = error
        return LibraryAnswer(
            question=self.question,
            answer=answers.unwritten(ordered) if written is None else written.answer,
            evidence=answers.evidence_of(ordered, () if written is None else written.shots),
            shots=tuple(shots),
            stopped=stopped,
            basis=answers.basis_of(shots, stopped, written=written is not None),
            written=written is not None,
        )

    def _once(
        self,
        key: StepKey,
        plan: CaptionPlan,
        kind: type[Any],
        read: Callable[[Any], Any],
        reading: ReadOptions | None = None,
    ) -> Steps[tuple[Any, bool]]:
        """Return the stored value of a step and `True`, or ask, store what was read, and return it and `False`."""
        while True:
            state = self.store.claim(key, alive=self.alive)
            if isinstance(state, Taken):
                yield LibraryProgress(kind="waiting", text=f"Waiting for {state.holder}, which asks the same.")
                yield Sleep(BUSY_SECONDS)
            elif isinstance(state, Found):
                with contextlib.suppress(ValueError):
                    return kind.model_validate(state.value), True
                self.store.discard(key, state.value, damaged=True)
            else:
                break
        try:
            made: CaptionResult[Any] = yield from _sent(ask_until_valid(plan), reading)
        except BaseException:
            self.store.release(key)
            raise
        self.paid += [Paid(plan.request.model, usage) for usage in made.usages]
        value = read(made.value)
        self.store.finish(key, value.model_dump(mode="json"))
        return value, False

    def _key(self, step: str) -> StepKey:
        return StepKey(_RUN, step, self.settings.origin)


def _sent(work: Generator[ChatRequest, Response, T], reading: ReadOptions | None) -> Generator[Step, Any, T]:
    """Yield the requests of a generator as steps, and return its result."""
    outcome: Response | QwenOmniError | None = None
    while not isinstance(step := advance(work, outcome), Done):
        try:
            outcome = yield Ask(step, reading)
        except QwenOmniError as error:
            outcome = error
    return step.value


def content_digest(name: str, settings: Settings) -> str:
    """Hash the content of a local file chosen by the program.

    Raises:
        UnreadableMediaError: it cannot be read.
        LocalResourceError: this machine lacks a resource to read it.
    """
    source = as_source(name)
    try:
        with open_local(source, settings.media_root) as file:
            return hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]  # has readinto
    except OSError as error:
        fault = machine_fault(error, f"read {source.label}")
        raise fault or UnreadableMediaError(f"{source.label} cannot be read: {error.strerror}.") from error


# --- What it will cost ---


@dataclass(frozen=True, slots=True, kw_only=True)
class LookEstimate:
    """What a look at a window will cost.

    Attributes:
        window: the window.
        estimate: of the request; `None` if the look is stored, or the window cannot be watched.
        problem: why it cannot be watched.
    """

    window: Window
    estimate: Estimate | None = None
    problem: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class LibraryEstimate:
    """What a question will cost at most: a look that is sure ends the looks earlier.

    Attributes:
        looks: the windows that would be watched, most promising first.
        answer: the request for the answer.
    """

    looks: tuple[LookEstimate, ...]
    answer: Estimate | None

    @property
    def _parts(self) -> list[Estimate]:
        return [one for one in (*(look.estimate for look in self.looks), self.answer) if one is not None]

    @property
    def tokens(self) -> int:
        """Input and output tokens together."""
        return sum(one.cost.tokens for one in self._parts)

    @property
    def cny(self) -> float | None:
        """Yuan; `None` if a price is not known."""
        costs = [one.cost.cny for one in self._parts]
        return None if None in costs else sum(cost or 0.0 for cost in costs)

    def __str__(self) -> str:
        """Return a readable explanation of several lines."""
        lines = [_look_line(look) for look in self.looks]
        if self.answer is not None:
            lines.append(f"the answer: {self.answer.cost.tokens:,} tokens{_money(self.answer.cost.cny)}")
        return "\n".join([*lines, f"at most {self.tokens:,} tokens in all{_money(self.cny)}"])


def _look_line(look: LookEstimate) -> str:
    window = look.window
    what = look.problem or "already watched for this question"
    if look.estimate is not None:
        what = f"{look.estimate.cost.tokens:,} tokens{_money(look.estimate.cost.cny)}"
    return f"{window.source}, {window.start:.0f}-{window.end:.0f} s: {what}"


def _money(cny: float | None) -> str:
    return "" if cny is None else f", CNY {cny:.4f}"


def estimate_library(
    question: str, search: Searcher, *, settings: Settings | None = None, options: AskOptions = DEFAULT_ASK
) -> LibraryEstimate:
    """Estimate what a question to a library will cost. Sends nothing but what the search itself sends.

    Args:
        question: the question.
        search: returns windows for it, best first.
        settings: settings of the service; read from the environment if not given.
        options: as for `ask_library`.

    Raises:
        ConfigurationError: the question is empty, or longer than a model takes.

    Example:
        from qwen_omni import VideoLibrary, estimate_library

        with VideoLibrary("library.lance") as library:
            print(estimate_library("Who scores first?", library.search))
    """
    question = answers.check_question(question)
    check_options(options, AskOptions)
    settings = settings or Settings.load(needs_key=False)
    answers.check_length(question, options, settings)
    windows = search(question)
    if not windows:
        return LibraryEstimate(looks=(), answer=None)
    work = _Question(question, options, settings, open_work_store(_existing(options, settings), _USE), None)
    try:
        looks = tuple(_estimated(work, window) for window in windows[: options.looks])
    finally:
        work.store.close()
    plan = answers.plan_longest_answer(question, windows, options, settings)
    return LibraryEstimate(looks=looks, answer=estimate(plan.request, settings=settings))


def _existing(options: AskOptions, settings: Settings) -> Any:  # noqa: ANN401  (a path, an address or nothing)
    """Return the place of the store of answers if that exists: an estimate creates nothing."""
    place = _place(options, settings)
    return None if isinstance(place, Path) and not place.exists() else place


def _estimated(work: _Question, window: Window) -> LookEstimate:
    try:
        _, plan, key = work.planned(window)
        if isinstance(work.store.peek(key), Found):
            return LookEstimate(window=window)
        return LookEstimate(window=window, estimate=estimate(plan.request, settings=work.settings))
    except (MediaError, ConfigurationError) as error:
        return LookEstimate(window=window, problem=str(error).partition("\n")[0])
