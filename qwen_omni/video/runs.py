"""Puts a run together: the look at the source, the task, the checkpoint, the machine. Blocks; starts nothing."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Generic, TypeVar

from qwen_omni.delivery.choose import room_of
from qwen_omni.errors import ConfigurationError, QwenOmniError, SpendLimitError
from qwen_omni.media.source import Anything
from qwen_omni.media.workers import usual_workers
from qwen_omni.profiles import profile_for
from qwen_omni.settings import Settings
from qwen_omni.video.asking import Joining, NotesTask, Task
from qwen_omni.video.checkpoint import Checkpoint
from qwen_omni.video.choosing import chosen_strategy
from qwen_omni.video.footage import Footage, look_over
from qwen_omni.video.joins import Joins
from qwen_omni.video.keys import run_key
from qwen_omni.video.limiter import Limiter
from qwen_omni.video.machine import Machine
from qwen_omni.video.notes import SegmentNotes
from qwen_omni.video.options import SummaryOptions
from qwen_omni.video.progress import Progress, Tracker
from qwen_omni.video.steps import Rules
from qwen_omni.video.worker import Worker

T = TypeVar("T")

_TENTH = 10
_GO_ON = "What is finished is kept: run it again, with the same options, to go on from there."
CHECKPOINTS = "video"
"""The folder of checkpoints, inside the cache folder."""


@dataclass(slots=True, kw_only=True)
class Run(Generic[T]):
    """Everything that one run needs."""

    footage: Footage
    machine: Machine[T]
    worker: Worker[T]
    checkpoint: Checkpoint
    tracker: Tracker
    noticed: list[str] = field(default_factory=list)
    _troubles: set[str] = field(default_factory=set)
    _unverified_told: bool = False

    def news(self, action: Any) -> list[Progress]:  # noqa: ANN401  (any action of the machine)
        """Give what is worth telling after a step."""
        told = self.tracker.after(action, self.worker.paid)
        found = self._of_the_checkpoint()
        self.machine.notices += found
        self.noticed += found
        return [*([] if told is None else [told]), *self.tracker.notices()]

    def _of_the_checkpoint(self) -> list[str]:
        found = self.checkpoint.notices()
        if not self._unverified_told:
            self._unverified_told = True
            found += [text for text in (self.checkpoint.unverified(),) if text]
        trouble = self.checkpoint.trouble
        if trouble and trouble not in self._troubles:
            self._troubles.add(trouble)
            found.append(
                f"The checkpoint {self.checkpoint.path} cannot be written ({trouble}); answers are kept in memory and "
                "written as soon as that is possible. Make room before you stop this run."
            )
        return found

    def reports(self) -> tuple[str, ...]:
        """Return what the result says about the checkpoint, and the answers that could not be kept there."""
        self.checkpoint.write_rest()
        self.noticed += self._of_the_checkpoint()
        unkept = self.checkpoint.unkept
        return tuple(dict.fromkeys([*self.noticed, *([unkept] if unkept else [])]))

    def close(self) -> None:
        """Close the checkpoint and stop the work on files."""
        self.worker.stop()
        self.worker.close()
        self.checkpoint.close()


def over_source(source: Anything, settings: Settings, options: SummaryOptions) -> tuple[Footage, bool]:
    """Look at a source and choose how it is worked on; tells whether all of it goes in one call.

    Raises:
        MediaError: it cannot be used, see `look_over`, or not in the one call that was asked for.
        ConfigurationError: the lengths leave no room to move on.
    """
    profile = profile_for(options.model)
    footage = look_over(source, options, media_root=settings.media_root, room_bytes=room_of(settings, profile))
    single = chosen_strategy(footage, options) == "single"
    footage = replace(footage, seconds=max(footage.seconds, footage.duration)) if single else footage
    footage.check()
    return footage, single


def notes_run(source: Anything, settings: Settings, options: SummaryOptions, *, joins: bool) -> Run[SegmentNotes]:
    """Put together a run that takes notes, and joins them if `joins`.

    Raises:
        MediaError: the source cannot be used.
        ConfigurationError: the checkpoint cannot be opened, or the lengths leave no room to move on.
    """
    footage, whole = over_source(source, settings, options)
    task = NotesTask(
        options=options, duration=float(footage.end), video=footage.facts, segments=footage.about, whole=whole
    )
    return make_run(footage, task, settings, options, join=task.joining if joins and not whole else None)


def make_run(
    footage: Footage, task: Task[T], settings: Settings, options: SummaryOptions, *, join: Joining | None = None,
    wanted: frozenset[int] | None = None,
) -> Run[T]:  # fmt: skip
    """Put a run together; without `join` it ends with the answers about segments."""
    checkpoint = open_checkpoint(footage, task.told, settings, options)
    try:
        worker = Worker(footage, task, checkpoint, text_model=options.text_model_name, join=join)
        machine = make_machine(footage.about, task, options, joins=join is not None, wanted=wanted)
    except BaseException:
        checkpoint.close()
        raise
    return Run(
        footage=footage, machine=machine, worker=worker, checkpoint=checkpoint,
        tracker=Tracker(machine=machine, about=footage.about),
    )  # fmt: skip


def joining_run(
    before: Run[T], task: Task[T], answers: Mapping[int, T], options: SummaryOptions, *, join: Joining
) -> Run[T]:
    """Put together a run that joins the answers of others, in the checkpoint of `before`."""
    checkpoint = before.checkpoint.again()
    worker = Worker(before.footage, task, checkpoint, text_model=options.text_model_name, join=join)
    machine = Machine.of_answers(answers, before.machine.rules, joins=make_joins(options), to_text=task.text)
    tracker = Tracker(machine=machine, about=len(answers))
    return Run(footage=before.footage, machine=machine, worker=worker, checkpoint=checkpoint, tracker=tracker)


def make_machine(
    about: int, task: Task[T], options: SummaryOptions, *, joins: bool, wanted: frozenset[int] | None = None
) -> Machine[T]:
    """Make the machine of a run of about so many segments."""
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
    """Make the tree of joins, with the limits of the model that joins."""
    if not isinstance(options.text_model, str):
        return Joins(options.reduce_tokens)
    profile = profile_for(options.text_model)
    return Joins(options.reduce_tokens, Limiter(rpm=profile.rpm, tpm=profile.tpm))


def checkpoint_path(
    footage: Footage, told: Mapping[str, Any], settings: Settings, options: SummaryOptions
) -> Path | None:
    """Name the file of a run; reads the whole source once. `None` where no checkpoint is wanted."""
    if options.checkpoint is False:
        return None
    folder = settings.cache_dir / CHECKPOINTS if options.checkpoint is True else Path(options.checkpoint)
    return folder / f"{run_key(footage.digest(), {**told, **footage.told()})}.sqlite3"


def open_checkpoint(
    footage: Footage, told: Mapping[str, Any], settings: Settings, options: SummaryOptions
) -> Checkpoint:
    """Open the checkpoint of a run, keyed by who answers; reads the whole source once.

    Raises:
        ConfigurationError: the file is damaged, of a newer version, or holds something else.
        LocalResourceError: it cannot be made, read or written.
    """
    return Checkpoint(
        checkpoint_path(footage, told, settings, options),
        origin=settings.origin,
        reuse_unverified=options.reuse_unverified,
        private_folder=options.checkpoint is True,
    )


def with_advice(error: QwenOmniError) -> QwenOmniError:
    """Tell how to go on after an error."""
    if isinstance(error, ConfigurationError):
        return error  # it says itself what to change
    if isinstance(error, SpendLimitError):
        return error.with_hint(f"{_GO_ON} A higher limit lets it.")
    return error if _GO_ON in str(error) else error.with_hint(_GO_ON)
