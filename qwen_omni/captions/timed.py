"""Captions with times: what happens when, put right. Pure.

Models write times in every spelling, out of order, twice, and behind the end of the video. What can be put right
without inventing is; each change is told in `TimedCaptions.notes`, and nothing disappears without one.
"""

import itertools
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Self

from pydantic import (
    AliasChoices,
    BaseModel,
    ConfigDict,
    Field,
    PrivateAttr,
    ValidationInfo,
    field_validator,
    model_validator,
)

from qwen_omni.captions.models import first_paragraph
from qwen_omni.captions.timecode import counts_milliseconds, read_time, split_range

NoteKind = Literal["moved", "swapped", "clamped", "outside", "repeat"]

_START = ("start", "start_time", "startTime", "begin", "from", "start_seconds", "timestamp", "time", "开始", "开始时间")
_END = ("end", "end_time", "endTime", "stop", "to", "until", "end_seconds", "结束", "结束时间")
_TEXT = ("text", "caption", "description", "content", "subtitle", "字幕", "内容")
_RANGES = ("time", "timestamp", "time_range", "timeRange", "range", "start", "时间")


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """Something about the captions that was put right, or that looks wrong.

    Attributes:
        kind: `moved` stood out of order; `swapped` had its end before its start; `clamped` ran over the end of
            the video; `outside` began behind it and was left out; `repeat` says the same as the one before it.
        index: which caption, as the model numbered them from 0.
        text: what happened, with the numbers.
    """

    kind: NoteKind
    index: int
    text: str


class TimedCaption(BaseModel):
    """What happens between two moments, in seconds from the beginning."""

    model_config = ConfigDict(frozen=True)

    start: float = Field(
        ge=0, description="When it begins: seconds from the beginning of the video, for example 12.5.",
        validation_alias=AliasChoices(*_START),
    )  # fmt: skip
    end: float = Field(
        ge=0, description="When it ends: seconds from the beginning of the video.",
        validation_alias=AliasChoices(*_END),
    )  # fmt: skip
    text: str = Field(
        min_length=1, description="What is seen and heard meanwhile, in one sentence.",
        validation_alias=AliasChoices(*_TEXT),
    )  # fmt: skip

    @model_validator(mode="before")
    @classmethod
    def _split_range(cls, data: object) -> object:
        """Take "00:12 - 00:15" in one field apart."""
        if not isinstance(data, Mapping) or any(name in data for name in _END):
            return data
        for name in _RANGES:
            both = split_range(data[name]) if isinstance(data.get(name), str) else None
            if both is not None:
                return {**{key: value for key, value in data.items() if key != name}, "start": both[0], "end": both[1]}
        return data

    @field_validator("start", "end", mode="before")
    @classmethod
    def _read(cls, value: object, info: ValidationInfo) -> float:
        facts = info.context if isinstance(info.context, Mapping) else {}
        duration = facts.get("duration")
        return read_time(value, duration=duration, milliseconds=bool(facts.get("milliseconds")))


class TimedCaptions(BaseModel):
    """The captions of a video in order of time.

    Validation puts right what it can (see `notes`). Tell it how long the video is to have times behind its end
    found: `TimedCaptions.model_validate(data, context={"duration": 60})`.

    Example:
        >>> data = {"captions": [{"start": "0:09", "end": "0:12", "text": "It opens."},
        ...                      {"start": 0, "end": "9 s", "text": "A tent lies on the grass."}]}
        >>> timed = TimedCaptions.model_validate(data, context={"duration": 11.0})
        >>> [(caption.start, caption.end) for caption in timed.captions], [note.kind for note in timed.notes]
        ([(0.0, 9.0), (9.0, 11.0)], ['clamped', 'moved'])
    """

    model_config = ConfigDict(frozen=True, json_schema_extra=first_paragraph)
    takes_list: ClassVar[bool] = True
    """A bare list of captions is an answer, too."""

    captions: tuple[TimedCaption, ...] = Field(
        description="One entry for each scene or event, in order of time, that together cover the whole video."
    )
    _notes: tuple[Note, ...] = PrivateAttr(default=())

    @property
    def notes(self) -> tuple[Note, ...]:
        """What was put right, and what looks wrong."""
        return self._notes

    @model_validator(mode="wrap")
    @classmethod
    def _put_right(cls, data: object, handler: Any, info: ValidationInfo) -> Self:  # noqa: ANN401  (pydantic's own)
        facts = info.context if isinstance(info.context, dict) else {}
        duration = facts.get("duration")
        if isinstance(data, list | tuple):
            data = {"captions": data}
        if duration is not None:
            # Validators below read the same context; pydantic has no other way to tell them.
            facts["milliseconds"] = any(counts_milliseconds(time, duration=duration) for time in _bare_times(data))
        made: Self = handler(data)
        captions, notes = arrange(made.captions, duration)
        right: Self = made.model_copy(update={"captions": captions})
        right._notes = notes
        return right


def _bare_times(data: object) -> Iterator[object]:
    entries = data.get("captions") if isinstance(data, Mapping) else None
    for entry in entries if isinstance(entries, list | tuple) else ():
        if isinstance(entry, Mapping):
            yield from (entry[name] for name in (*_START, *_END) if name in entry)


def arrange(
    captions: tuple[TimedCaption, ...], duration: float | None
) -> tuple[tuple[TimedCaption, ...], tuple[Note, ...]]:
    """Order captions, turn ends and starts that stand the wrong way, cut at the end of the video, find repeats."""
    notes: list[Note] = []
    turned = [(index, _turned(caption, index, notes)) for index, caption in enumerate(captions)]
    ordered = sorted(turned, key=lambda pair: (pair[1].start, pair[1].end))
    inside = [(index, kept) for index, caption in ordered if (kept := _clamped(caption, index, duration, notes))]
    latest = -1
    for index, caption in inside:
        if index < latest:
            told = f"begins at {caption.start:g} s, but stood before one that begins earlier"
            notes.append(Note(kind="moved", index=index, text=told))
        latest = max(latest, index)
    for (_, before), (index, caption) in itertools.pairwise(inside):
        if _words(before.text) == _words(caption.text):
            told = f"says the same at {caption.start:g} s as at {before.start:g} s"
            notes.append(Note(kind="repeat", index=index, text=told))
    return tuple(caption for _, caption in inside), tuple(notes)


def _turned(caption: TimedCaption, index: int, notes: list[Note]) -> TimedCaption:
    if caption.end >= caption.start:
        return caption
    told = f"ended at {caption.end:g} s, before its start at {caption.start:g} s"
    notes.append(Note(kind="swapped", index=index, text=told))
    return caption.model_copy(update={"start": caption.end, "end": caption.start})


def _clamped(caption: TimedCaption, index: int, duration: float | None, notes: list[Note]) -> TimedCaption | None:
    if duration is None or caption.end <= duration:
        return caption
    if caption.start >= duration:
        told = f"begins at {caption.start:g} s, behind the end at {duration:g} s, and was left out: {caption.text}"
        notes.append(Note(kind="outside", index=index, text=told))
        return None
    told = f"ended at {caption.end:g} s, behind the end at {duration:g} s"
    notes.append(Note(kind="clamped", index=index, text=told))
    return caption.model_copy(update={"end": float(duration)})


def _words(text: str) -> str:
    """Reduce a text to its letters and digits, to compare what it says."""
    return "".join(char for char in unicodedata.normalize("NFKC", text).casefold() if char.isalnum())
