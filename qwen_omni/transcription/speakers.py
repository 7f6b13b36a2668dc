"""A transcript with speakers from a model that also answers questions: its prompt, and how its answer is read. Pure.

The Qwen-Omni guide (read 2026-10) documents the form `<soc><sos><start_time>text<end_time><speakerX><eos>…<eoc>` for
it. `structured.forms` reads that; the schema here checks it, and a repair request or an error follows as for captions.
"""

import re
from typing import Any, ClassVar, Self

from pydantic import Field, field_validator, model_validator

from qwen_omni.messages import Message, TextPart
from qwen_omni.options import ChatOptions, ChatRequest
from qwen_omni.structured.ask import CaptionPlan, CaptionResult
from qwen_omni.structured.schema import ReadsForms, TextForm, read_schema
from qwen_omni.structured.timed import Timed, TimedAnswer
from qwen_omni.transcription.options import TranscriptionOptions
from qwen_omni.transcription.transcript import Sentence, Transcript

_TASK = (
    "Transcribe everything that is said, word for word, in the language that is spoken, with its speakers and times. "
    "Count times in seconds from the beginning. Answer in this form and with nothing else:\n"
    "<soc><sos><start_time>text<end_time><speakerX><eos>...<eoc>\n"
    "If nobody speaks, answer <soc><eoc>."
)
_NUMBER = re.compile(r"\d{1,6}")


class Turn(Timed):
    """What one speaker says without a break."""

    text: str = Field(min_length=1, description="What is said, word for word.")
    speaker: str = Field(min_length=1, description="The speaker, such as speaker1.")

    @field_validator("end")
    @classmethod
    def _rounded(cls, end: float) -> float:
        return round(end, 3)

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.end < self.start:
            raise ValueError(f"ends at {self.end:g} s, before its start at {self.start:g} s")
        return self


class SpokenAnswer(TimedAnswer, ReadsForms):
    """A conversation, turn by turn."""

    takes_list: ClassVar[bool] = True
    turns: tuple[Turn, ...] = Field(description="In order of time; empty if nobody speaks.")

    @model_validator(mode="before")
    @classmethod
    def _listed(cls, data: object) -> object:
        return {"turns": data} if isinstance(data, list) else data

    @classmethod
    def of_form(cls, form: TextForm) -> dict[str, Any]:
        """Return the turns of an answer in the documented form."""
        return {"turns": [entry for _, entry in form.entries]}


def plan_spoken(
    question: tuple[Message, ...], options: TranscriptionOptions, *, model: str, seconds: float | None
) -> CaptionPlan:
    """Build the request for a transcript with speakers: the recording first, then what is asked.

    Args:
        question: the conversation, which ends with the recording alone.
        options: the language, the speakers and the context.
        model: the model to ask.
        seconds: length of the recording, if known.
    """
    lines = [_TASK]
    if options.language:
        lines.append(f"The spoken language is {options.language}.")
    if options.speakers is not True and options.speakers > 1:
        lines.append(f"There are {options.speakers} speakers.")
    if options.context:
        lines.append(f"These names and terms may be spoken: {options.context}")
    recording = question[-1]
    asked = Message(role="user", parts=(*recording.parts, TextPart(text="\n".join(lines))))
    return CaptionPlan(
        request=ChatRequest(model=model, messages=(asked,), options=ChatOptions(thinking=False)),
        schema=read_schema(SpokenAnswer),
        facts={} if seconds is None else {"duration": seconds},
    )


def to_transcript(found: CaptionResult[SpokenAnswer], options: TranscriptionOptions) -> Transcript:
    """Build the transcript of an answer; speakers are numbered as the model did, from 0."""
    numbers = speaker_numbers([turn.speaker for turn in found.value.turns])
    sentences = tuple(
        Sentence(
            start=turn.start, end=turn.end, text=turn.text, language=options.language,
            speaker=numbers[turn.speaker] if options.speakers else None,
        )
        for turn in sorted(found.value.turns, key=lambda turn: (turn.start, turn.end))
    )  # fmt: skip
    text = "\n".join(one.text for one in sentences)
    return Transcript(text=text, sentences=sentences, language=options.language)


def speaker_numbers(labels: list[str]) -> dict[str, int]:
    """Number speakers from 0: by the numbers in their labels if each has one of its own, else in order of appearance.

    Example:
        >>> speaker_numbers(["speaker2", "speaker1"]), speaker_numbers(["Anna", "Ben", "Anna"])
        ({'speaker2': 1, 'speaker1': 0}, {'Anna': 0, 'Ben': 1})
    """
    names = list(dict.fromkeys(labels))
    found = [_NUMBER.search(name) for name in names]
    numbers = [int(one[0]) for one in found if one is not None]
    if len(set(numbers)) < len(names):
        return {name: index for index, name in enumerate(names)}
    first = 0 if 0 in numbers else 1
    return {name: number - first for name, number in zip(names, numbers, strict=True)}
