"""Set up a run (source, task, checkpoint, machine) and report its progress. Blocks; starts nothing."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar

from qwen_omni.errors import ConfigurationError, QwenOmniError, SpendLimitError
from qwen_omni.media.encode.pool import usual_workers
from qwen_omni.media.source import Anything
from qwen_omni.profiles import profile_for
from qwen_omni.settings import Settings
from qwen_omni.transport.rate_limit import Limiter
from qwen_omni.upload.uploader import room_of
from qwen_omni.video.checkpoint import Checkpoint
from qwen_omni.video.engine.machine import Machine
from qwen_omni.video.engine.reduce import Joins
from qwen_omni.video.engine.steps import Action, Ask, Cut, Deliver, Prepare, Reduce, Rules
from qwen_omni.video.engine.worker import Worker
from qwen_omni.video.options import SummaryOptions
from qwen_omni.video.schemas import SegmentNotes
from qwen_omni.video.source_video import SourceVideo, chosen_strategy, look_over, run_key
from qwen_omni.video.tasks import Joining, NotesTask, Task

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


@dataclass(slots=True)
class Tracker:
    """Turns the state of the machine and the clock into progress events."""

    machine: Machine[Any]
    about: int
    clock: Callable[[], float] = time.monotonic
    _began: float = field(init=False)

    def __post_init__(self) -> None:
        self._began = self.clock()

    def planned(self, text: str) -> Progress:
        """Return the event that starts a run."""
        return self._made("planned", text=text)

    def notices(self) -> list[Progress]:
        """Return the pending notices of the machine as events."""
        texts, self.machine.notices = self.machine.notices, []
        return [self._made("notice", text=text) for text in texts]

    def notice(self, text: str) -> Progress:
        """Return an event for a notice."""
        return self._made("notice", text=text)

    def after(self, action: Action, paid: list[tuple[str, Any]]) -> Progress | None:
        """Return the event for a finished step; `None` if it is of no interest to the caller."""
        usage = {
            "input_tokens": sum(one.input_tokens for _, one in paid),
            "output_tokens": sum(one.output_tokens for _, one in paid),
        }
        match action:
            case Cut():
                last = self.machine.last_cut
                known = last is not None and last.index in self.machine.answers and not self.machine.cut_all
                return self._of_segment(Prepare(last), usage) if last is not None and known else None
            case Prepare() | Deliver() | Ask():
                return self._of_segment(action, usage)
            case _:
                return self._made("joined", text=_joined_text(action), **usage)

    def done(self, paid: list[tuple[str, Any]]) -> Progress:
        """Return the event that ends a run."""
        return self._made("done", input_tokens=sum(one.input_tokens for _, one in paid),
                          output_tokens=sum(one.output_tokens for _, one in paid))  # fmt: skip

    def _of_segment(self, action: Prepare | Deliver | Ask, usage: dict[str, int]) -> Progress | None:
        segment = action.segment
        where = {"segment": segment.index, "start": float(segment.start), "end": float(segment.end)}
        if segment.index in self.machine.answers:
            reused = isinstance(action, Prepare)
            return self._made("segment", **where, reused=reused, **usage)
        gap = self.machine.gaps.get(segment.index)
        if gap is not None:
            return self._made("gap", **where, text=gap.reason, **usage)
        match action, self.machine.state_of(segment):
            case Prepare(), "prepared":
                return self._made("prepared", **where, **usage)
            case Deliver(), "ready":
                return self._made("delivered", **where, **usage)
            case _:
                return None  # a transient failure, or another process works on it

    def _made(self, kind: Kind, **fields: Any) -> Progress:  # noqa: ANN401  (the fields of a Progress)
        machine = self.machine
        done = len(machine.answers) + len(machine.gaps)
        total = machine.count if machine.cut_all else max(self.about, machine.count)
        elapsed = self.clock() - self._began
        asked = len(machine.answers) - machine.known
        eta = None if asked <= 0 else elapsed / asked * max(0, total - done)
        return Progress(
            kind=kind, done=done, segments=total, gaps=len(machine.gaps), elapsed=elapsed, eta=eta, **fields
        )


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
_GO_ON = "What is finished is kept: run it again with the same options to resume."
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
    noticed: list[str] = field(default_factory=list)
    _troubles: set[str] = field(default_factory=set)
    _unverified_reported: bool = False

    def news(self, action: Any) -> list[Progress]:  # noqa: ANN401  (any action of the machine)
        """Return the events to report after a step."""
        progress = self.tracker.after(action, self.worker.paid)
        found = self._of_the_checkpoint()
        self.machine.notices += found
        self.noticed += found
        return [*([] if progress is None else [progress]), *self.tracker.notices()]

    def _of_the_checkpoint(self) -> list[str]:
        found = self.checkpoint.notices()
        if not self._unverified_reported:
            self._unverified_reported = True
            found += [text for text in (self.checkpoint.unverified(),) if text]
        trouble = self.checkpoint.trouble
        if trouble and trouble not in self._troubles:
            self._troubles.add(trouble)
            found.append(
                f"The checkpoint {self.checkpoint.path} cannot be written ({trouble}); answers are kept in memory and "
                "written as soon as that is possible. Free up space before you stop this run."
            )
        return found

    def reports(self) -> tuple[str, ...]:
        """Return the notices about the checkpoint, and about answers that could not be written to it."""
        self.checkpoint.write_rest()
        self.noticed += self._of_the_checkpoint()
        unkept = self.checkpoint.unkept
        return tuple(dict.fromkeys([*self.noticed, *([unkept] if unkept else [])]))

    def close(self) -> None:
        """Close the checkpoint and stop the work on files."""
        self.worker.stop()
        self.worker.close()
        self.checkpoint.close()


def over_source(source: Anything, settings: Settings, options: SummaryOptions) -> tuple[SourceVideo, bool]:
    """Inspect a source and choose a strategy; the second value is whether it goes in a single call.

    Raises:
        MediaError: it cannot be used (see `look_over`), or does not fit the single call that was requested.
        ConfigurationError: the segment length and overlap leave no room to advance.
    """
    profile = profile_for(options.model)
    video = look_over(source, options, media_root=settings.media_root, room_bytes=room_of(settings, profile))
    single = chosen_strategy(video, options) == "single"
    video = replace(video, seconds=max(video.seconds, video.duration)) if single else video
    video.check()
    return video, single


def notes_run(source: Anything, settings: Settings, options: SummaryOptions, *, joins: bool) -> Run[SegmentNotes]:
    """Build a run that takes notes, and joins them if `joins`.

    Raises:
        MediaError: the source cannot be used.
        ConfigurationError: the checkpoint cannot be opened, or the segment length and overlap leave no room to advance.
    """
    video, whole = over_source(source, settings, options)
    task = NotesTask(options=options, duration=float(video.end), video=video.facts, segments=video.about, whole=whole)
    return make_run(video, task, settings, options, join=task.joining if joins and not whole else None)


def make_run(
    video: SourceVideo, task: Task[T], settings: Settings, options: SummaryOptions, *, join: Joining | None = None,
    wanted: frozenset[int] | None = None,
) -> Run[T]:  # fmt: skip
    """Build a run; without `join` it ends with the answers about segments."""
    checkpoint = open_checkpoint(video, task.key_fields, settings, options)
    try:
        worker = Worker(video, task, checkpoint, text_model=options.text_model_name, join=join)
        machine = make_machine(video.about, task, options, joins=join is not None, wanted=wanted)
    except BaseException:
        checkpoint.close()
        raise
    return Run(
        video=video, machine=machine, worker=worker, checkpoint=checkpoint,
        tracker=Tracker(machine=machine, about=video.about),
    )  # fmt: skip


def joining_run(
    before: Run[T], task: Task[T], answers: Mapping[int, T], options: SummaryOptions, *, join: Joining
) -> Run[T]:
    """Build a run that joins existing answers, in the checkpoint of `before`."""
    checkpoint = before.checkpoint.again()
    worker = Worker(before.video, task, checkpoint, text_model=options.text_model_name, join=join)
    machine = Machine.of_answers(answers, before.machine.rules, joins=make_joins(options), to_text=task.text)
    tracker = Tracker(machine=machine, about=len(answers))
    return Run(video=before.video, machine=machine, worker=worker, checkpoint=checkpoint, tracker=tracker)


def make_machine(
    about: int, task: Task[T], options: SummaryOptions, *, joins: bool, wanted: frozenset[int] | None = None
) -> Machine[T]:
    """Build the state machine of a run with the estimated number of segments."""
    profile = profile_for(options.model)
    allowed = options.max_gaps if options.max_gaps is not None else max(min(1, about - 1), about // _TENTH)
    rules = Rules(
        concurrency=options.concurrency,
        preparers=options.workers or usual_workers(),
        max_gaps=allowed,
        step_retries=options.step_retries,
        retry_seconds=options.retry_seconds,
        wanted=wanted,
    )
    limiter = Limiter(rpm=options.rpm or profile.rpm, tpm=options.tpm or profile.tpm)
    return Machine(rules=rules, limiter=limiter, joins=make_joins(options) if joins else None, to_text=task.text)


def make_joins(options: SummaryOptions) -> Joins:
    """Build the tree of joins, with the rate limits of the model that joins."""
    if not isinstance(options.text_model, str):
        return Joins(options.reduce_tokens)
    profile = profile_for(options.text_model)
    return Joins(options.reduce_tokens, Limiter(rpm=profile.rpm, tpm=profile.tpm))


def checkpoint_path(
    video: SourceVideo, key_fields: Mapping[str, Any], settings: Settings, options: SummaryOptions
) -> Path | None:
    """Return the path of a run's checkpoint; reads the whole source once. `None` if no checkpoint is wanted."""
    if options.checkpoint is False:
        return None
    folder = settings.cache_dir / CHECKPOINTS if options.checkpoint is True else Path(options.checkpoint)
    return folder / f"{run_key(video.digest(), {**key_fields, **video.key_fields()})}.sqlite3"


def open_checkpoint(
    video: SourceVideo, key_fields: Mapping[str, Any], settings: Settings, options: SummaryOptions
) -> Checkpoint:
    """Open the checkpoint of a run, keyed by who answers; reads the whole source once.

    Raises:
        ConfigurationError: the file is damaged, from a newer version, or holds something else.
        LocalResourceError: it cannot be created, read or written.
    """
    return Checkpoint(
        checkpoint_path(video, key_fields, settings, options),
        origin=settings.origin,
        reuse_unverified=options.reuse_unverified,
        private_folder=options.checkpoint is True,
    )


def with_advice(error: QwenOmniError) -> QwenOmniError:
    """Return the error with advice on how to resume."""
    if isinstance(error, ConfigurationError):
        return error  # its message already says what to change
    if isinstance(error, SpendLimitError):
        return error.with_hint(f"{_GO_ON} A higher limit lets it.")
    return error if _GO_ON in str(error) else error.with_hint(_GO_ON)
