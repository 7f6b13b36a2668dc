"""What the model that joins notes reads and answers. Pure.

Times travel as clocks here ("1:02:03"), because models copy those faithfully and count seconds badly; chapters come
back as clocks and become seconds.
"""

from collections.abc import Iterable, Mapping, Sequence

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, model_validator

from qwen_omni.captions.timed import decide_unit
from qwen_omni.responses import Usage
from qwen_omni.video.chapters import ChapterAnswer, clock, few_chapters
from qwen_omni.video.notes import SegmentNotes, TimedNote


class JoinAnswer(BaseModel):
    """What a video, or a part of it, is about."""

    model_config = ConfigDict(frozen=True, json_schema_extra=few_chapters)

    summary: str = Field(min_length=1, description="What happens and what it is about, in one to three paragraphs.")
    chapters: tuple[ChapterAnswer, ...] = Field(
        default=(), description="Chapters in order of time, the first from the beginning."
    )

    @model_validator(mode="before")
    @classmethod
    def _read(cls, data: object, info: ValidationInfo) -> object:
        decide_unit(data, info.context)
        if isinstance(data, Mapping) and data.get("chapters", ()) is None:
            return {**data, "chapters": ()}
        return data


class Joined(BaseModel):
    """Notes that were joined, kept in the checkpoint."""

    model_config = ConfigDict(frozen=True)

    summary: str
    chapters: tuple[ChapterAnswer, ...] = ()
    model: str = ""
    usages: tuple[Usage, ...] = ()
    truncated: bool = False
    reused: bool = Field(default=False, exclude=True)

    @property
    def text(self) -> str:
        """As a part of what is joined next."""
        lines = [f"Summary of a part: {self.summary}"]
        lines += [f"- from {clock(one.start)}: {one.title}. {one.summary}".rstrip() for one in self.chapters]
        return "\n".join(lines)


def notes_text(notes: SegmentNotes) -> str:
    """Write the notes of a segment for the model that joins.

    Example:
        >>> print(notes_text(SegmentNotes(index=1, start=90, end=180, summary="A door.")))
        From 1:30 to 3:00: A door.
    """
    lines = [f"From {clock(notes.start)} to {clock(notes.end)}: {notes.summary}"]
    lines += _listed("Events", notes.events)
    lines += _listed("Text on screen", notes.on_screen_text)
    lines += _listed("Speech", notes.speech)
    return "\n".join(lines)


def _listed(title: str, entries: Sequence[TimedNote]) -> Iterable[str]:
    return [f"{title}:", *(f"- {clock(entry.start)} {entry.text}" for entry in entries)] if entries else []
