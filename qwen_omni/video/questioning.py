"""A question about a long video: every segment is asked from afar, the promising ones again from near."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from qwen_omni.captions.run import Captioned, CaptionPlan
from qwen_omni.captions.schema import read_schema
from qwen_omni.media.segments import Segment
from qwen_omni.messages import MediaPart, TextPart
from qwen_omni.responses import Usage
from qwen_omni.video import prompts
from qwen_omni.video.asking import plan_asking, with_material
from qwen_omni.video.chapters import ChapterTime, clock
from qwen_omni.video.keys import digest
from qwen_omni.video.notes import Moment, TimedNote, VideoFacts
from qwen_omni.video.options import SummaryOptions
from qwen_omni.video.summary import Bill, FailedSegment

MOST_LOOKED_AT_AGAIN = 8


def _relevance(value: object) -> float:
    """Take numbers, percents and yes or no for how much a segment helps."""
    if isinstance(value, bool) or value is None:
        return float(bool(value))
    number = float(str(value).strip().rstrip("%"))
    return min(1.0, max(0.0, number / 100 if number > 1 else number))


class FindingsAnswer(BaseModel):
    """What one clip holds for the question."""

    model_config = ConfigDict(frozen=True)

    relevance: Annotated[float, BeforeValidator(_relevance)] = Field(
        description="Score from 0 to 1 of how much this clip helps to answer; 0 if it holds nothing."
    )
    found: str = Field(default="", description="What it holds for the answer, in one or two sentences; else empty.")
    evidence: tuple[Moment, ...] = Field(default=(), description="What shows it, with when it is seen or heard.")


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


class Evidence(BaseModel):
    """A moment that shows the answer."""

    model_config = ConfigDict(frozen=True)

    time: ChapterTime = Field(description="When, as a clock h:mm:ss or mm:ss, taken from the findings.")
    text: str = Field(min_length=1, description="What shows it.")


class AnswerAnswer(BaseModel):
    """The answer to the question."""

    model_config = ConfigDict(frozen=True)

    answer: str = Field(min_length=1, description="The answer, in a few sentences.")
    evidence: tuple[Evidence, ...] = Field(default=(), description="The moments that the answer rests on.")


def answer_step(plan: CaptionPlan) -> str:
    """Name the step that answers of these findings: the same words to the same model are one step."""
    told = [[part.text for part in message.parts if isinstance(part, TextPart)] for message in plan.request.messages]
    return f"answer:{digest(plan.request.model, told)[:32]}"


class VideoAnswer(BaseModel):
    """The answer to a question about a video.

    Attributes:
        video: the facts of the video.
        question: what was asked.
        answer: the answer.
        evidence: the moments that it rests on, in seconds of the video.
        findings: what each segment that helped holds.
        looked_again: segments that were asked about again, at more frames a second.
        gaps: segments that failed for good.
        this_run: what this run has used and cost.
    """

    model_config = ConfigDict(frozen=True)

    video: VideoFacts
    question: str
    answer: str
    evidence: tuple[Evidence, ...] = ()
    findings: tuple[Findings, ...] = ()
    looked_again: tuple[int, ...] = ()
    gaps: tuple[FailedSegment, ...] = ()
    this_run: Bill = Bill()


@dataclass(frozen=True, slots=True, kw_only=True)
class QuestionTask:
    """Ask every segment what it holds for a question."""

    options: SummaryOptions
    question: str

    @property
    def told(self) -> Mapping[str, Any]:
        """Everything that is asked about a segment."""
        words = prompts.words_for(self.options.language)
        return {
            "task": "question", "version": prompts.PROMPTS_VERSION, "model": self.options.model,
            "thinking": self.options.thinking, "words": words.ask_segment, "question": self.question,
            "system": prompts.system_text(read_schema(FindingsAnswer), language=self.options.language),
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
            evidence=tuple(evidence), usages=captioned.usages,
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

    def plan_answer(self, findings: Sequence[Findings], duration: float) -> CaptionPlan:
        """Ask for the answer, of what was found."""
        words = prompts.words_for(self.options.language).ask_whole
        task = words.format(question=self.question, seconds=prompts.seconds_text(duration))
        plan = plan_asking(AnswerAnswer, task, self.options, duration=duration)
        return with_material(plan, "\n\n".join(self.text(one) for one in findings) or "Nothing was found.")


def promising(findings: Sequence[Findings], most: int = MOST_LOOKED_AT_AGAIN) -> frozenset[int]:
    """Choose the segments that are worth a closer look: the most relevant ones."""
    helpful = [one for one in findings if one.relevance > 0]
    best = sorted(helpful, key=lambda one: (-one.relevance, one.index))[:most]
    return frozenset(one.index for one in best)
