"""A question about a long video: every segment is asked from afar, the promising ones again from near.

What was found is joined to one answer, in a tree where it is too much for one step.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import AliasChoices, BaseModel, BeforeValidator, ConfigDict, Field, ValidationInfo, model_validator

from qwen_omni.captions.schema import read_schema
from qwen_omni.captions.timed import STARTS, TEXTS, decide_unit, spread
from qwen_omni.media.segments import Segment
from qwen_omni.messages import MediaPart
from qwen_omni.responses import Usage
from qwen_omni.structured.ask import Captioned, CaptionPlan
from qwen_omni.video import prompts
from qwen_omni.video.asking import Joining, plan_asking, with_material
from qwen_omni.video.chapters import ChapterTime, clock
from qwen_omni.video.notes import Moment, TimedNote, VideoFacts
from qwen_omni.video.options import SummaryOptions
from qwen_omni.video.steps import Reduce
from qwen_omni.video.summary import Bill, FailedSegment

MOST_LOOKED_AT_AGAIN = 8


def _relevance(value: object) -> float:
    """Take numbers, percents and yes or no for how much a segment helps."""
    if isinstance(value, bool) or value is None:
        return float(bool(value))
    number = float(str(value).strip().rstrip("%")) if isinstance(value, int | float | str) else math.nan
    if not math.isfinite(number):
        raise ValueError(f"{str(value)[:40]!r} is not a number from 0 to 1")
    return min(1.0, max(0.0, number / 100 if number > 1 else number))


class FindingsAnswer(BaseModel):
    """What one clip holds for the question."""

    model_config = ConfigDict(frozen=True)

    relevance: Annotated[float, BeforeValidator(_relevance)] = Field(
        description="Score from 0 to 1 of how much this clip helps to answer; 0 if it holds nothing."
    )
    found: str = Field(default="", description="What it holds for the answer, in one or two sentences; else empty.")
    evidence: tuple[Moment, ...] = Field(default=(), description="What shows it, with when it is seen or heard.")

    @model_validator(mode="before")
    @classmethod
    def _read(cls, data: object, info: ValidationInfo) -> object:
        decide_unit(data, info.context)
        return data


class Findings(BaseModel):
    """What one segment holds for the question; times are seconds of the whole."""

    model_config = ConfigDict(frozen=True)

    index: int
    start: float
    end: float
    relevance: float = 0.0
    found: str = ""
    evidence: tuple[TimedNote, ...] = ()
    usages: tuple[Usage, ...] = ()
    truncated: bool = False


class Evidence(BaseModel):
    """A moment that shows the answer."""

    model_config = ConfigDict(frozen=True)

    time: ChapterTime = Field(
        description="When, as a clock h:mm:ss or mm:ss, taken from the findings.",
        validation_alias=AliasChoices("time", *(name for name in STARTS if name != "time")),
    )
    text: str = Field(min_length=1, description="What shows it.", validation_alias=AliasChoices(*TEXTS))

    @model_validator(mode="before")
    @classmethod
    def _spread(cls, data: object) -> object:
        return spread(data)


class AnswerAnswer(BaseModel):
    """The answer to the question."""

    model_config = ConfigDict(frozen=True)

    answer: str = Field(min_length=1, description="The answer, in a few sentences.")
    evidence: tuple[Evidence, ...] = Field(default=(), description="The moments that the answer rests on.")

    @model_validator(mode="before")
    @classmethod
    def _read(cls, data: object, info: ValidationInfo) -> object:
        decide_unit(data, info.context)
        return data


class Answered(BaseModel):
    """An answer, or what a part of the findings holds for it, kept in the checkpoint."""

    model_config = ConfigDict(frozen=True)

    answer: str
    evidence: tuple[Evidence, ...] = ()
    model: str = ""
    usages: tuple[Usage, ...] = ()
    truncated: bool = False
    reused: bool = Field(default=False, exclude=True)

    @property
    def text(self) -> str:
        """As a part of what is joined next."""
        return "\n".join(
            [f"From some clips: {self.answer}", *(f"- {clock(one.time)} {one.text}" for one in self.evidence)]
        )


class VideoAnswer(BaseModel):
    """The answer to a question about a video.

    Attributes:
        video: the facts of the video.
        question: what was asked.
        answer: the answer.
        evidence: the moments that it rests on, in seconds of the video.
        findings: what each segment that helped holds.
        looked_again: segments that were looked at again, at more frames a second; one whose closer look failed for
            good is not among them, and what was found of it from afar counts.
        gaps: segments that nothing is known of.
        truncated: the answer, or what a segment holds, was cut short (`allow_truncated=True`).
        this_run: what this run has used and cost.
        notices: what somebody should know: answers that could not be kept, entries that could not be read.
    """

    model_config = ConfigDict(frozen=True)

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


@dataclass(frozen=True, slots=True, kw_only=True)
class QuestionTask:
    """Ask every segment what it holds for a question."""

    options: SummaryOptions
    question: str
    duration: float

    @property
    def told(self) -> Mapping[str, Any]:
        """Everything that is asked about a segment; without a wish it is called what it was before wishes counted."""
        words = prompts.words_for(self.options.language)
        wish = {"wish": self.options.wish} if self.options.wish else {}
        return {
            "task": "question", "version": prompts.PROMPTS_VERSION, "model": self.options.model,
            "thinking": self.options.thinking, "words": words.ask_segment, "question": self.question,
            "system": prompts.system_text(read_schema(FindingsAnswer), language=self.options.language), **wish,
        }  # fmt: skip

    def ask(self, part: MediaPart, segment: Segment) -> CaptionPlan:
        """Ask for findings."""
        seconds = float(segment.duration)
        words = prompts.words_for(self.options.language).ask_segment
        task = words.format(question=self.question, seconds=prompts.seconds_text(seconds))
        return plan_asking(FindingsAnswer, task, self.options, part=part, duration=seconds)

    def read(self, captioned: Captioned[Any], segment: Segment) -> Findings:
        """Make the findings, with times of the whole."""
        answer: FindingsAnswer = captioned.value
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
        """Write findings."""
        return answer.model_dump_json()

    def load(self, written: str) -> Findings:
        """Read findings that were written."""
        return Findings.model_validate_json(written)

    def text(self, answer: Findings) -> str:
        """Write findings for the model that answers."""
        lines = [f"From {clock(answer.start)} to {clock(answer.end)}: {answer.found}"]
        return "\n".join([*lines, *(f"- {clock(one.start)} {one.text}" for one in answer.evidence)])

    def join(self, step: Reduce) -> CaptionPlan:
        """Ask for the answer, of what was found; or for what a part of it holds for the answer."""
        words = prompts.words_for(self.options.language)
        seconds = prompts.seconds_text(self.duration)
        task = (words.ask_whole if step.last else words.ask_part).format(question=self.question, seconds=seconds)
        plan = plan_asking(AnswerAnswer, task, self.options, duration=self.duration)
        return with_material(plan, step.text or "Nothing was found.")

    @property
    def joining(self) -> Joining:
        """How findings are joined."""
        return Joining(self.join, to_answered, Answered)


def to_answered(captioned: Captioned[Any], model: str) -> Answered:
    """Keep an answer."""
    answer: AnswerAnswer = captioned.value
    return Answered(
        answer=answer.answer, evidence=answer.evidence, model=model, usages=captioned.usages,
        truncated=captioned.truncated,
    )  # fmt: skip


def promising(findings: Sequence[Findings], most: int = MOST_LOOKED_AT_AGAIN) -> frozenset[int]:
    """Choose the segments that are worth a closer look: the most relevant ones."""
    helpful = [one for one in findings if one.relevance > 0]
    best = sorted(helpful, key=lambda one: (-one.relevance, one.index))[:most]
    return frozenset(one.index for one in best)
