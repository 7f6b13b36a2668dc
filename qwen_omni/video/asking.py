"""What is asked about a segment, and what becomes of the answer: one class for each use. Pure.

A task makes a `CaptionPlan` (the machinery of captions asks, reads, and asks once more if an answer breaks its
schema) and turns the answer into a value that a checkpoint can keep.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, Self, TypeVar

from qwen_omni.captions.schema import CaptionSchema, SchemaLike, read_schema
from qwen_omni.media.segments import Segment
from qwen_omni.messages import MediaPart, Message, TextPart, user
from qwen_omni.options import ChatOptions, ChatRequest
from qwen_omni.profiles import profile_for
from qwen_omni.structured.ask import Captioned, CaptionPlan, json_mode
from qwen_omni.video import prompts
from qwen_omni.video.joining import JoinAnswer, Joined, notes_text
from qwen_omni.video.notes import SegmentAnswer, SegmentNotes, VideoFacts, WholeAnswer, to_notes
from qwen_omni.video.options import SummaryOptions
from qwen_omni.video.steps import Part, Reduce

T = TypeVar("T")


class Task(Protocol[T]):
    """One use of a long video."""

    @property
    def options(self) -> SummaryOptions:
        """What was chosen."""

    @property
    def told(self) -> Mapping[str, Any]:
        """Everything that is asked, for the run's key."""

    def ask(self, part: MediaPart, segment: Segment) -> CaptionPlan:
        """Say what is asked about a segment."""

    def read(self, captioned: Captioned[Any], segment: Segment) -> T:
        """Make the value of an answer."""

    def dump(self, answer: T) -> str:
        """Write a value for the checkpoint."""

    def load(self, written: str) -> T:
        """Read a value from the checkpoint."""

    def text(self, answer: T) -> str:
        """Write a value for the model that joins."""


class KeptPart(Part, Protocol):
    """What came of joining, as a checkpoint keeps it: a pydantic model with the field `reused`."""

    def model_dump_json(self) -> str:
        """Write it."""

    def model_copy(self, *, update: Mapping[str, Any]) -> Self:
        """Change fields."""

    @classmethod
    def model_validate_json(cls, json_data: str, /) -> Self:
        """Read it."""


@dataclass(frozen=True, slots=True)
class Joining:
    """How answers are joined.

    Attributes:
        plan: says what is asked of the model that joins.
        keep: makes of its answer, and its name, what is kept.
        kind: the type of that.
    """

    plan: Callable[[Reduce], CaptionPlan]
    keep: Callable[[Captioned[Any], str], KeptPart]
    kind: type[KeptPart]


def plan_asking(
    schema: SchemaLike,
    task: str,
    options: SummaryOptions,
    *,
    part: MediaPart | None = None,
    duration: float | None = None,
) -> CaptionPlan:
    """Write a request: about a part of a video, or (without one) to the model that joins."""
    wanted = read_schema(schema)
    text = prompts.task_text(task, wish=options.wish, language=options.language)
    question = user(text) if part is None else user(part, text)
    told = Message(role="system", parts=(TextPart(text=prompts.system_text(wanted, language=options.language)),))
    model = options.model if part is not None else options.text_model_name
    return CaptionPlan(
        request=ChatRequest(model=model, messages=(told, question), options=_options(options, wanted, part)),
        schema=wanted,
        allow_truncated=options.allow_truncated,
        facts={} if duration is None else {"duration": duration},
    )


def _options(options: SummaryOptions, schema: CaptionSchema, part: MediaPart | None) -> ChatOptions:
    if part is None and not isinstance(options.text_model, str):
        return ChatOptions()  # a model of the caller's own; it is told everything in words
    profile = profile_for(options.model if part is not None else options.text_model_name)
    return ChatOptions(thinking=options.thinking, json_mode=json_mode(profile, schema))


@dataclass(frozen=True, slots=True, kw_only=True)
class NotesTask:
    """Take notes of every segment; join them to a summary with chapters."""

    options: SummaryOptions
    duration: float
    video: VideoFacts | None = None
    segments: int = 0
    whole: bool = False
    words: prompts.Words = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "words", prompts.words_for(self.options.language))

    @property
    def told(self) -> Mapping[str, Any]:
        """Everything that is asked about a segment."""
        return {
            "task": "notes", "version": prompts.PROMPTS_VERSION, "model": self.options.model,
            "thinking": self.options.thinking, "words": self._task, "wish": self.options.wish,
            "system": prompts.system_text(read_schema(self._schema), language=self.options.language),
        }  # fmt: skip

    @property
    def _schema(self) -> type[SegmentAnswer]:
        return WholeAnswer if self.whole else SegmentAnswer

    @property
    def _task(self) -> str:
        return self.words.whole if self.whole else self.words.segment

    def ask(self, part: MediaPart, segment: Segment) -> CaptionPlan:
        """Ask for notes."""
        seconds = float(segment.duration)
        task = self._task.format(seconds=prompts.seconds_text(seconds))
        return plan_asking(self._schema, task, self.options, part=part, duration=seconds)

    def read(self, captioned: Captioned[Any], segment: Segment) -> SegmentNotes:
        """Make the notes, with times of the whole."""
        notes = to_notes(captioned.value, index=segment.index, start=float(segment.start), end=float(segment.end))
        return notes.model_copy(
            update={
                "segments": self.segments, "model": self.options.model, "usages": captioned.usages,
                "truncated": captioned.truncated, "video": self.video,
            }
        )  # fmt: skip

    def dump(self, answer: SegmentNotes) -> str:
        """Write notes."""
        return answer.model_copy(update={"video": None}).model_dump_json(exclude_defaults=True)

    def load(self, written: str) -> SegmentNotes:
        """Read notes that were written."""
        return SegmentNotes.model_validate_json(written).model_copy(update={"video": self.video, "reused": True})

    def text(self, answer: SegmentNotes) -> str:
        """Write notes for the model that joins."""
        return notes_text(answer)

    def join(self, step: Reduce) -> CaptionPlan:
        """Ask for a summary with chapters."""
        words = self.words.combine if step.last else self.words.combine_parts
        task = words.format(seconds=prompts.seconds_text(self.duration))
        plan = plan_asking(JoinAnswer, task, self.options, duration=self.duration)
        return with_material(plan, step.text)

    @property
    def joining(self) -> Joining:
        """How notes are joined."""
        return Joining(self.join, to_joined, Joined)


def with_material(plan: CaptionPlan, text: str) -> CaptionPlan:
    """Put what is to be joined behind the task."""
    *before, question = plan.request.messages
    asked = user(*(part for part in question.parts), text)
    return replace(plan, request=replace(plan.request, messages=(*before, asked)))


def to_joined(captioned: Captioned[Any], model: str) -> Joined:
    """Keep what came of joining."""
    answer: JoinAnswer = captioned.value
    return Joined(
        summary=answer.summary, chapters=answer.chapters, model=model, usages=captioned.usages,
        truncated=captioned.truncated,
    )  # fmt: skip
