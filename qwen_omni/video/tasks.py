"""What to ask about each segment, and what its answer becomes: one class per use. Pure.

A task makes a `CaptionPlan` (which asks, parses, and asks again if an answer violates its schema) and turns the answer
into a value that a checkpoint can store. A question is asked about every segment at a low frame rate, then about the
promising ones at a higher one; the findings are joined, in a tree when they are too many for one step.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar, Protocol, TypeVar

from pydantic import AliasChoices, BeforeValidator, Field

from qwen_omni.errors import ConfigurationError
from qwen_omni.media.plan.segments import Segment
from qwen_omni.messages import MediaPart, user
from qwen_omni.options import ChatOptions
from qwen_omni.profiles import DEFAULT_TEXT_MODEL, Profile, profile_for
from qwen_omni.responses import Usage
from qwen_omni.structured.ask import CaptionPlan, CaptionResult, object_request
from qwen_omni.structured.schema import Frozen, SchemaLike, read_schema
from qwen_omni.structured.timed import STARTS, TEXTS, Spread, TimedAnswer
from qwen_omni.video.engine.machine import Reduce
from qwen_omni.video.options import SummaryOptions
from qwen_omni.video.results import Bill, FailedSegment
from qwen_omni.video.schemas import (
    PROMPTS_VERSION,
    ChapterTime,
    JoinAnswer,
    Joined,
    Moment,
    SegmentAnswer,
    SegmentNotes,
    TimedNote,
    VideoFacts,
    WholeAnswer,
    Words,
    clock,
    notes_text,
    seconds_text,
    system_text,
    task_text,
    to_notes,
    words_for,
)

T = TypeVar("T")


class Task(Protocol[T]):
    """One use of a long video."""

    @property
    def options(self) -> SummaryOptions:
        """The options of the run."""

    @property
    def key_fields(self) -> Mapping[str, Any]:
        """Everything that is asked, for the run's key."""

    def ask(self, part: MediaPart, segment: Segment) -> CaptionPlan:
        """Return the request about a segment."""

    def read(self, captioned: CaptionResult[Any], segment: Segment) -> T:
        """Build the value of an answer."""

    def dump(self, answer: T) -> str:
        """Serialise a value for the checkpoint."""

    def load(self, written: str) -> T:
        """Parse a value from the checkpoint."""

    def text(self, answer: T) -> str:
        """Return a value as text for the request that combines answers."""

    joined: ClassVar["type[Joined | Answered]"]
    """Type of the combined answers, as stored."""

    def join(self, step: Reduce) -> CaptionPlan:
        """Return the request that combines answers."""


def plan_asking(
    schema: SchemaLike,
    task: str,
    options: SummaryOptions,
    *,
    about: MediaPart | str,
    duration: float,
    profile_of: Callable[[str], Profile] = profile_for,
) -> CaptionPlan:
    """Build a request about a part of a video, or one that combines texts.

    Args:
        schema: the schema of the answer.
        task: what to do.
        options: those of the run.
        about: the part of the video, or the texts to combine.
        duration: of that part, in seconds.
        profile_of: what a model can do on the server that is asked; by default on DashScope.
    """
    wanted = read_schema(schema)
    text = task_text(task, focus=options.focus, language=options.language)
    joins = isinstance(about, str)
    question = user(text, about) if isinstance(about, str) else user(about, text)
    model = options.text_model_name if joins else options.model
    rules = system_text(wanted, language=options.language)
    foreign = joins and not isinstance(options.text_model, str)  # its name says nothing about what it can do
    profile = profile_for(DEFAULT_TEXT_MODEL) if foreign else profile_of(model)
    request = object_request(wanted, question, model=model, rules=rules, thinking=options.thinking, profile=profile)
    # The caller's own model gets no options: everything is in the prompt.
    chat = ChatOptions() if foreign else options.chat_options(joins=joins, json_mode=request.options.json_mode)
    return CaptionPlan(
        request=replace(request, options=chat),
        schema=wanted,
        allow_truncated=options.allow_truncated,
        facts={"duration": duration},
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _VideoTask:
    """What is asked about a video of known duration."""

    options: SummaryOptions
    duration: float
    profile_of: Callable[[str], Profile] = profile_for

    @property
    def words(self) -> Words:
        """The prompts in the language of the options."""
        return words_for(self.options.language)

    def _key(self, task: str, words: str, schema: SchemaLike, **others: Any) -> Mapping[str, Any]:  # noqa: ANN401  (JSON)
        return {
            "task": task, "version": PROMPTS_VERSION, "model": self.options.model,
            "thinking": self.options.thinking, "words": words,
            "system": system_text(read_schema(schema), language=self.options.language),
            **self.options.chat_key, **others,
        }  # fmt: skip

    def _plan(
        self, schema: SchemaLike, words: str, about: MediaPart | str, seconds: float, question: str = ""
    ) -> CaptionPlan:
        task = words.format(seconds=seconds_text(seconds), question=question)
        return plan_asking(schema, task, self.options, about=about, duration=seconds, profile_of=self.profile_of)


@dataclass(frozen=True, slots=True, kw_only=True)
class NotesTask(_VideoTask):
    """Takes notes of every segment and joins them to a summary with chapters."""

    joined: ClassVar["type[Joined | Answered]"] = Joined
    video: VideoFacts | None = None
    segments: int = 0
    whole: bool = False

    @property
    def key_fields(self) -> Mapping[str, Any]:
        """Everything that is asked about a segment; "wish" is the name that stored keys have for the focus."""
        return self._key("notes", self._words, self._schema, wish=self.options.focus)

    @property
    def _schema(self) -> type[SegmentAnswer]:
        return WholeAnswer if self.whole else SegmentAnswer

    @property
    def _words(self) -> str:
        return self.words.whole if self.whole else self.words.segment

    def ask(self, part: MediaPart, segment: Segment) -> CaptionPlan:
        """Build the request for notes."""
        return self._plan(self._schema, self._words, part, float(segment.duration))

    def read(self, captioned: CaptionResult[Any], segment: Segment) -> SegmentNotes:
        """Build the notes, with times of the whole video."""
        notes = to_notes(captioned.value, index=segment.index, start=float(segment.start), end=float(segment.end))
        return notes.model_copy(
            update={
                "segments": self.segments, "model": self.options.model, "usages": captioned.usages,
                "truncated": captioned.truncated, "video": self.video,
            }
        )  # fmt: skip

    def dump(self, answer: SegmentNotes) -> str:
        """Serialise notes."""
        return answer.model_copy(update={"video": None}).model_dump_json(exclude_defaults=True)

    def load(self, written: str) -> SegmentNotes:
        """Parse stored notes."""
        return SegmentNotes.model_validate_json(written).model_copy(update={"video": self.video, "reused": True})

    def text(self, answer: SegmentNotes) -> str:
        """Return notes as text for the request that combines answers."""
        return notes_text(answer)

    def join(self, step: Reduce) -> CaptionPlan:
        """Build the request for a summary with chapters."""
        words = self.words.combine if step.last else self.words.combine_parts
        return self._plan(JoinAnswer, words, step.text, self.duration)


MOST_LOOKED_AT_AGAIN = 8


def as_share(value: object) -> float:
    """Parse numbers, percentages and yes or no as a relevance from 0 to 1."""
    if isinstance(value, bool) or value is None:
        return float(bool(value))
    number = float(str(value).strip().rstrip("%")) if isinstance(value, int | float | str) else math.nan
    if not math.isfinite(number):
        raise ValueError(f"{str(value)[:40]!r} is not a number from 0 to 1")
    return min(1.0, max(0.0, number / 100 if number > 1 else number))


class FindingsSchema(TimedAnswer):
    """What one clip holds for the question."""

    relevance: Annotated[float, BeforeValidator(as_share)] = Field(
        description="Score from 0 to 1 of how much this clip helps to answer; 0 if it holds nothing."
    )
    found: str = Field(default="", description="What it holds for the answer, in one or two sentences; else empty.")
    evidence: tuple[Moment, ...] = Field(default=(), description="What shows it, with when it is seen or heard.")


class Findings(Frozen):
    """What one segment holds for the question; times are seconds of the whole."""

    index: int
    start: float
    end: float
    relevance: float = 0.0
    found: str = ""
    evidence: tuple[TimedNote, ...] = ()
    usages: tuple[Usage, ...] = ()
    truncated: bool = False


class Evidence(Spread):
    """A moment that shows the answer."""

    time: ChapterTime = Field(
        description="When, as a clock h:mm:ss or mm:ss, taken from the findings.",
        validation_alias=AliasChoices("time", *(name for name in STARTS if name != "time")),
    )
    text: str = Field(min_length=1, description="What shows it.", validation_alias=AliasChoices(*TEXTS))


class AnswerSchema(TimedAnswer):
    """The answer to the question."""

    answer: str = Field(min_length=1, description="The answer, in a few sentences.")
    evidence: tuple[Evidence, ...] = Field(default=(), description="The moments that the answer is based on.")


class Answered(Frozen):
    """An answer, or what part of the findings contributes to it, as stored in the checkpoint."""

    answer: str
    evidence: tuple[Evidence, ...] = ()
    model: str = ""
    usages: tuple[Usage, ...] = ()
    truncated: bool = False
    reused: bool = Field(default=False, exclude=True)

    @property
    def text(self) -> str:
        """The text passed to the next combining request."""
        return "\n".join(
            [f"From some clips: {self.answer}", *(f"- {clock(one.time)} {one.text}" for one in self.evidence)]
        )


class VideoAnswer(Frozen):
    """The answer to a question about a video.

    Attributes:
        video: facts about the video.
        question: the question.
        answer: the answer.
        evidence: the moments that support it, in seconds of the video.
        findings: what each relevant segment contributes.
        looked_again: segments that were asked again at a higher frame rate; one whose second look failed permanently is
            not among them, and its coarse findings count.
        gaps: segments without an answer.
        truncated: whether the answer, or the findings of a segment, were cut short (`allow_truncated=True`).
        this_run: usage and cost of this run.
        notices: what you should know: answers that could not be stored, entries that could not be read.
    """

    video: VideoFacts
    question: str
    answer: str
    evidence: tuple[Evidence, ...] = ()
    findings: tuple[Findings, ...] = ()
    looked_again: tuple[int, ...] = ()
    gaps: tuple[FailedSegment, ...] = ()
    truncated: bool = False
    this_run: Bill = Bill()
    notices: tuple[str, ...] = ()

    def _repr_html_(self) -> str:
        from qwen_omni.video.export.cards import answer_card  # noqa: PLC0415 - only notebooks need it

        return answer_card(self).to_html()


@dataclass(frozen=True, slots=True, kw_only=True)
class QuestionTask(_VideoTask):
    """Asks every segment what it contributes to a question."""

    joined: ClassVar[type[Joined] | type[Answered]] = Answered
    question: str

    def __post_init__(self) -> None:
        if not self.question.strip():
            raise ConfigurationError("The question is empty; to summarise a video without one, use summarize().")

    @property
    def key_fields(self) -> Mapping[str, Any]:
        """Everything that is asked about a segment; without a focus, the key is that of versions that had none."""
        focus = {"wish": self.options.focus} if self.options.focus else {}
        return self._key("question", self.words.ask_segment, FindingsSchema, question=self.question, **focus)

    def ask(self, part: MediaPart, segment: Segment) -> CaptionPlan:
        """Build the request for findings."""
        return self._plan(FindingsSchema, self.words.ask_segment, part, float(segment.duration), self.question)

    def read(self, captioned: CaptionResult[Any], segment: Segment) -> Findings:
        """Build the findings, with times of the whole video."""
        answer: FindingsSchema = captioned.value
        start, length = float(segment.start), float(segment.duration)
        evidence = [
            TimedNote(start=start + min(one.start, length), end=start + min(one.end, length), text=one.text)
            for one in answer.evidence
        ]
        return Findings(
            index=segment.index, start=start, end=float(segment.end), relevance=answer.relevance, found=answer.found,
            evidence=tuple(evidence), usages=captioned.usages, truncated=captioned.truncated,
        )  # fmt: skip

    def dump(self, answer: Findings) -> str:
        """Serialise findings."""
        return answer.model_dump_json()

    def load(self, written: str) -> Findings:
        """Parse stored findings."""
        return Findings.model_validate_json(written)

    def text(self, answer: Findings) -> str:
        """Return findings as text for the model that answers."""
        lines = [f"From {clock(answer.start)} to {clock(answer.end)}: {answer.found}"]
        return "\n".join([*lines, *(f"- {clock(one.start)} {one.text}" for one in answer.evidence)])

    def join(self, step: Reduce) -> CaptionPlan:
        """Build the request for the answer or, for part of the findings, for what they contribute to it."""
        words = self.words.ask_whole if step.last else self.words.ask_part
        return self._plan(AnswerSchema, words, step.text or "Nothing was found.", self.duration, self.question)


def promising(findings: Sequence[Findings], most: int = MOST_LOOKED_AT_AGAIN) -> frozenset[int]:
    """Return the segments worth a closer look: the most relevant ones."""
    helpful = [one for one in findings if one.relevance > 0]
    best = sorted(helpful, key=lambda one: (-one.relevance, one.index))[:most]
    return frozenset(one.index for one in best)
