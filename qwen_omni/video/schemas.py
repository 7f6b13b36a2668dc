"""What models are asked about long videos, what they answer, and the values built from that. Pure.

A model counts seconds from the start of its segment; `to_notes` moves them to the whole video. No entry is ever
dropped: a time outside the segment is moved to its border and counted in `moved_times`. Where notes are joined, times
are written as clocks ("1:02:03"), because models copy those faithfully and count seconds badly.

The prompts, in the user's language where it is available, are part of a run's key, so that a changed prompt is never
combined with answers to an older one. `PROMPTS_VERSION` changes with the meaning of answers, which keeps answers to
identical prompts apart as well.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
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
from qwen_omni.structured.schema import CaptionSchema, FormSection, Frozen, ReadsForms, TextForm, instructions
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
    """Whether the text of an entry is present but empty."""
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
    """Return the notes of a segment as text for the request that combines notes.

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


# --- Prompts ---

PROMPTS_VERSION = 1

_CHINESE = ("zh", "chinese", "中文", "汉语", "漢語", "普通话", "简体", "繁體", "繁体", "mandarin")


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """The prompts in one language, as format strings."""

    segment: str
    whole: str
    combine: str
    combine_parts: str
    ask_segment: str
    ask_part: str
    ask_whole: str
    ask_library: str
    focus: str
    same_language: str


_ENGLISH = Words(
    segment=(
        "This is one clip of a longer video; look at it and listen to it from the first second to the last and take "
        "notes. Say only what can be seen or heard. Count all times in seconds from the beginning of this clip, which "
        "lasts {seconds} seconds."
    ),
    whole=(
        "Look at this video and listen to it from the first second to the last, then summarise it: what it is about, "
        "its chapters, and everything that happens. Say only what can be seen or heard. Count all times in seconds "
        "from the beginning; it lasts {seconds} seconds."
    ),
    combine=(
        "Below are notes about a video of {seconds} seconds, in order of time; all times are seconds of the whole "
        "video. Write one summary of the whole for somebody who has not seen it, and divide it into chapters where "
        "its subject or place changes. Use only what the notes say."
    ),
    combine_parts=(
        "Below are notes about a part of a video, in order of time; all times are seconds of the whole video. Write "
        "one summary of this part, and divide it into chapters where its subject or place changes. Use only what "
        "the notes say. Others will join your summary with those of other parts."
    ),
    ask_segment=(
        "This is one clip of a longer video, and somebody asks: {question}\n"
        "Look at it and listen to it from the first second to the last. Say whether it holds anything that helps to "
        "answer, and what, with times in seconds from the beginning of this clip, which lasts {seconds} seconds. "
        "A clip that holds nothing is usual: then say so and leave the lists empty."
    ),
    ask_part=(
        "Below is what was found in some clips of a video; all times are seconds of the whole video. Somebody asks: "
        "{question}\n"
        "Say what these clips hold for an answer, with the moments that show it. Keep every moment that matters: "
        "others will join your answer with those about other clips, and see nothing else of these."
    ),
    ask_whole=(
        "Below is what was found in the clips of a video of {seconds} seconds; all times are seconds of the whole "
        "video. Answer the question from it alone: {question}\n"
        "If it is not answered there, say so."
    ),
    ask_library=(
        "Below is what is known about {count} shots of videos in a library, most promising first. Those that were "
        "watched for this question come with what was seen and heard; of the others, only earlier notes are known. "
        "Answer the question from this alone: {question}\n"
        "If it is not answered there, say so. Trust what was watched more than notes."
    ),
    focus="Above all, note this: {focus}",
    same_language="Write in the language that is spoken in the video; in English if nobody speaks.",
)
_CHINESE_WORDS = Words(
    segment=(
        "这是一段较长视频中的一个片段。请从第一秒看到、听到最后一秒并做记录，只写看得见或听得见的内容。"
        "所有时间都以秒为单位，从本片段的开头算起；本片段长 {seconds} 秒。"
    ),
    whole=(
        "请把这段视频从第一秒看到、听到最后一秒，然后总结：它讲什么，分为哪些章节，发生了哪些事。"
        "只写看得见或听得见的内容。所有时间都以秒为单位，从开头算起；视频长 {seconds} 秒。"
    ),
    combine=(
        "下面是一段长 {seconds} 秒的视频的记录，按时间顺序排列，所有时间都是整段视频中的秒数。"
        "请为没有看过的人写一份整体总结，并在主题或地点变化处划分章节。只用记录中的内容。"
    ),
    combine_parts=(
        "下面是一段视频其中一部分的记录，按时间顺序排列，所有时间都是整段视频中的秒数。"
        "请总结这一部分，并在主题或地点变化处划分章节。只用记录中的内容。你的总结之后会与其他部分合并。"
    ),
    ask_segment=(
        "这是一段较长视频中的一个片段，有人问：{question}\n"
        "请从第一秒看到、听到最后一秒，说明其中有没有有助于回答的内容、是什么，时间以秒为单位，从本片段的开头算起；"
        "本片段长 {seconds} 秒。没有相关内容是常事：那就如实说明，并让列表为空。"
    ),
    ask_part=(
        "下面是在一段视频的部分片段中找到的内容，所有时间都是整段视频中的秒数。有人问：{question}\n"
        "请说明这些片段中有哪些有助于回答的内容，以及能够证明它的时刻。请保留所有重要的时刻："
        "你的回答之后会与关于其他片段的回答合并，那时不会再看到这些内容。"
    ),
    ask_whole=(
        "下面是在一段长 {seconds} 秒的视频的各片段中找到的内容，所有时间都是整段视频中的秒数。"
        "请只根据这些内容回答问题：{question}\n如果其中没有答案，请如实说明。"
    ),
    ask_library=(
        "下面是视频库中 {count} 个镜头的已知内容，最有希望的排在前面。为回答本问题而观看过的镜头附有所见所闻；"
        "其余镜头只有早先的记录。请只根据这些内容回答问题：{question}\n"
        "如果其中没有答案，请如实说明。观看所得比记录更可信。"
    ),
    focus="请特别注意：{focus}",
    same_language="请用视频中所说的语言书写；如果没有人说话，请用中文。",
)


def words_for(language: str | None) -> Words:
    """Return the prompts in a language; English if it is not available.

    Example:
        >>> words_for("zh-CN").focus[:4]
        '请特别注'
    """
    wanted = (language or "").strip().lower()
    return _CHINESE_WORDS if wanted.startswith(_CHINESE) else _ENGLISH


def system_text(schema: CaptionSchema, *, language: str | None) -> str:
    """Return the system prompt: the form of the answer and its language."""
    text = instructions(schema, language=language)
    return text if language else f"{text}\n{words_for(language).same_language}"


def task_text(task: str, *, focus: str | None, language: str | None) -> str:
    """Return the task with the caller's focus, if there is one."""
    return task if not focus else f"{task}\n{words_for(language).focus.format(focus=focus)}"


def seconds_text(seconds: float) -> str:
    """Format a length for a prompt.

    Example:
        >>> seconds_text(90.0), seconds_text(12.345)
        ('90', '12.3')
    """
    return f"{seconds:.1f}".removesuffix(".0")
