"""The answers of models about segments, notes and chapters, and the values built from them. Pure.

A model counts seconds from the start of its segment; `to_notes` moves them to the whole video. No entry is ever
dropped: a time outside the segment is moved to its border and counted in `moved_times`. Where notes are joined, times
are written as clocks ("1:02:03"), because models copy those faithfully and count seconds badly.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal

from pydantic import (
    AliasChoices,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
    model_validator,
)

from qwen_omni.responses import Usage
from qwen_omni.structured.schema import FormSection, Frozen, ReadsForms, TextForm
from qwen_omni.structured.timed import (
    ENDS,
    STARTS,
    TEXTS,
    Spread,
    TimedCaption,
    decide_unit,
    scene_entries,
    seconds_of,
    with_speaker,
)

MOST_CHAPTERS = 40


def clock(seconds: float) -> str:
    """Format a time for people.

    Example:
        >>> clock(3.9), clock(75), clock(3723)
        ('0:03', '1:15', '1:02:03')
    """
    whole = int(seconds)
    hours, rest = divmod(whole, 3600)
    return f"{hours}:{rest // 60:02d}:{rest % 60:02d}" if hours else f"{rest // 60}:{rest % 60:02d}"


ChapterTime = Annotated[float, BeforeValidator(seconds_of), WithJsonSchema({"type": "string"})]
"""Seconds that models read and write as a clock."""


class ChapterAnswer(Spread):
    """A stretch of the video with one subject."""

    start: ChapterTime = Field(
        description="When it begins, as a clock h:mm:ss or mm:ss, taken from the notes.",
        validation_alias=AliasChoices(*STARTS),
    )
    title: Annotated[str, WithJsonSchema({"type": "string", "minLength": 1, "maxLength": 80})] = Field(
        min_length=1, description="A title of a few words."
    )
    summary: str = Field(default="", description="What it is about, in one or two sentences.")


class WholeChapter(ChapterAnswer):
    """A stretch of a video that is seen in one call; its time is a number, as all times of such an answer."""

    start: Annotated[float, BeforeValidator(seconds_of)] = Field(
        ge=0, description="When it begins: seconds from the beginning, for example 75.5.",
        validation_alias=AliasChoices(*STARTS),
    )  # fmt: skip


def few_chapters(schema: dict[str, Any]) -> None:
    """Ask for a reasonable number of chapters where a schema has them; more are accepted."""
    schema["properties"]["chapters"]["maxItems"] = MOST_CHAPTERS


_LANGUAGE = re.compile(r"[A-Za-z]{2,3}(-[A-Za-z]{2,4})?")
_LISTS: tuple[FormSection, ...] = ("events", "on_screen_text", "speech")
_ALL_LISTS = (*_LISTS, "chapters")


class Moment(TimedCaption):
    """Something between two moments."""

    may_lack_end: ClassVar[bool] = True

    start: float = Field(
        ge=0, description="When it begins: seconds from the beginning of this clip, for example 12.5.",
        validation_alias=AliasChoices(*STARTS),
    )  # fmt: skip
    end: float = Field(
        ge=0, description="When it ends: seconds from the beginning of this clip.",
        validation_alias=AliasChoices(*ENDS),
    )  # fmt: skip
    text: str = Field(min_length=1, description="What it is, in one sentence.", validation_alias=AliasChoices(*TEXTS))


class SegmentAnswer(ReadsForms):
    """What is seen and heard in one clip of a longer video."""

    also_named: ClassVar[frozenset[str]] = frozenset({"scenes"})

    summary: str = Field(
        min_length=1, description="What this clip is about and what happens, in two or three sentences."
    )
    events: tuple[Moment, ...] = Field(
        description="Everything that happens, in order of time, one entry each; together they cover the whole clip."
    )
    on_screen_text: tuple[Moment, ...] = Field(
        default=(), description="Text that can be read in the picture, word for word, with when it is shown."
    )
    speech: tuple[Moment, ...] = Field(
        default=(), description="What is said, sentence by sentence, word for word, with who says it if that is clear."
    )
    language: str = Field(default="", description="Code of the language that is spoken, such as en or zh; else empty.")

    @model_validator(mode="before")
    @classmethod
    def _read(cls, data: object, info: ValidationInfo) -> object:
        """Drop entries without words, and detect bare numbers that are milliseconds."""
        if not isinstance(data, Mapping):
            return data
        if isinstance(data.get("scenes"), list):
            events = data.get("events")
            data = {**data, "events": [*(events if isinstance(events, list) else ()), *scene_entries(data)]}
            del data["scenes"]
        decide_unit(data, info.context)
        return {key: _with_words(value) if key in _ALL_LISTS else value for key, value in data.items()}

    @classmethod
    def of_form(cls, form: TextForm) -> dict[str, Any]:
        """Return the notes of an answer in a text form: what has no time is the summary, else the storyline is."""
        found = {name: list(map(with_speaker, form.section(name))) for name in _LISTS}
        lists: dict[str, Any] = {name: entries for name, entries in found.items() if entries or form.ended}
        texts = form.untimed or tuple(str(entry.get("text") or "") for entry in found["events"] if form.ended)
        return {**lists, "summary": "\n".join(filter(None, texts))} if any(texts) else lists

    @field_validator("language")
    @classmethod
    def _code(cls, language: str) -> str:
        return language.strip() if _LANGUAGE.fullmatch(language.strip()) else ""


def _with_words(entries: object) -> object:
    """Treat a missing list as empty; entries without text are dropped."""
    if entries is None:
        return []
    if not isinstance(entries, list | tuple):
        return entries
    return [one for one in entries if not _says_nothing(one)]


def _says_nothing(entry: object) -> bool:
    """Whether an entry has a field for its text and that is empty."""
    if not isinstance(entry, Mapping):
        return entry is None
    texts = [entry[name] for name in TEXTS if name in entry]
    return bool(texts) and all(text is None or text == "" for text in texts)


class WholeAnswer(SegmentAnswer):
    """What is seen and heard in a video, and its chapters."""

    model_config = ConfigDict(json_schema_extra=few_chapters)

    summary: str = Field(min_length=1, description="What happens and what it is about, in one to three paragraphs.")
    chapters: tuple[WholeChapter, ...] = Field(
        default=(), description="Chapters in order of time, the first from the beginning."
    )


class TimedNote(Frozen):
    """Something that happens, is shown or is said between two moments, in seconds of the whole video."""

    start: float
    end: float
    text: str


class VideoFacts(Frozen):
    """Facts about the video of some notes.

    `source` is its path as given, `duration` is in seconds; `audio_track` is the one that was used, if the file has
    several.
    """

    source: str
    kind: str = "video"
    duration: float | None = None
    width: int | None = None
    height: int | None = None
    fps: float | None = None
    video_codec: str | None = None
    audio_codec: str | None = None
    audio_track: int | Literal["mix"] | None = None


class SegmentNotes(Frozen):
    """The notes of one segment. Times are seconds of the whole video.

    Attributes:
        index: number of the segment, from 0.
        segments: how many there are; an estimate until the last one is known.
        start: start of the segment.
        end: end of the segment; the next one may start a little earlier (overlap).
        summary: what the segment is about.
        events: what happens.
        on_screen_text: visible text.
        speech: spoken text.
        language: code of the spoken language; empty if unknown.
        chapters: of the whole video, if this segment is the whole.
        gap: why there are no notes, if the segment failed permanently; else empty.
        model: the model that wrote them.
        usages: usage of the answers, as reported by the service.
        truncated: whether the answer was cut short.
        moved_times: number of times that lay outside of the segment and were moved to its border.
        video: facts about the whole video.
        reused: they came from the checkpoint, and nothing was asked.
    """

    kind: ClassVar[str] = "notes"

    index: int
    start: float
    end: float
    segments: int = 0
    summary: str = ""
    events: tuple[TimedNote, ...] = ()
    on_screen_text: tuple[TimedNote, ...] = ()
    speech: tuple[TimedNote, ...] = ()
    language: str = ""
    chapters: tuple[ChapterAnswer, ...] = ()
    gap: str = ""
    model: str = ""
    usages: tuple[Usage, ...] = ()
    truncated: bool = False
    moved_times: int = 0
    video: VideoFacts | None = None
    reused: bool = Field(default=False, exclude=True)

    @property
    def text(self) -> str:
        """The notes as plain text, for search and reading."""
        lines = [self.summary, *(note.text for note in self.events), *(note.text for note in self.speech)]
        lines += [note.text for note in self.on_screen_text]
        return "\n".join(dict.fromkeys(line for line in lines if line))


def to_notes(answer: SegmentAnswer, *, index: int, start: float, end: float) -> SegmentNotes:
    """Move the times of an answer about a segment to those of the whole video.

    Example:
        >>> answer = SegmentAnswer(summary="A door.", events=[{"start": 1, "end": 99, "text": "It opens."}])
        >>> to_notes(answer, index=1, start=90.0, end=180.0).events
        (TimedNote(start=91.0, end=180.0, text='It opens.'),)
    """
    length, moved = end - start, 0
    placed: dict[str, Any] = {}
    for name in _LISTS:
        entries: tuple[Moment, ...] = getattr(answer, name)
        moved += sum(1 for entry in entries if max(entry.start, entry.end) > length + 1)
        notes = [_placed(entry, start, length) for entry in entries]
        placed[name] = tuple(sorted(notes, key=lambda note: (note.start, note.end)))
    chapters = tuple(
        chapter.model_copy(update={"start": round(start + min(chapter.start, length), 3)})
        for chapter in (answer.chapters if isinstance(answer, WholeAnswer) else ())
    )
    return SegmentNotes(
        index=index, start=start, end=end, summary=answer.summary, language=answer.language, moved_times=moved,
        chapters=chapters, **placed,
    )  # fmt: skip


def _placed(entry: Moment, start: float, length: float) -> TimedNote:
    first, last = sorted((min(entry.start, length), min(entry.end, length)))
    return TimedNote(start=round(start + first, 3), end=round(start + last, 3), text=entry.text.strip())


class JoinAnswer(Frozen):
    """What a video, or a part of it, is about."""

    model_config = ConfigDict(json_schema_extra=few_chapters)

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


class Joined(Frozen):
    """Joined notes, as stored in the checkpoint."""

    summary: str
    chapters: tuple[ChapterAnswer, ...] = ()
    model: str = ""
    usages: tuple[Usage, ...] = ()
    truncated: bool = False
    reused: bool = Field(default=False, exclude=True)

    @property
    def text(self) -> str:
        """The text that goes into the next join."""
        lines = [f"Summary of a part: {self.summary}"]
        lines += [f"- from {clock(one.start)}: {one.title}. {one.summary}".rstrip() for one in self.chapters]
        return "\n".join(lines)


def notes_text(notes: SegmentNotes) -> str:
    """Return the notes of a segment as text for the model that joins.

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
