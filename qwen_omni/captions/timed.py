"""Captions with times: what happens when, put right. Pure.

Models write times in every spelling and under every name, out of order, twice, and behind the end of the video. What
can be put right without inventing is; each change is told in `TimedCaptions.notes`, and nothing disappears without
one. `Timed` reads the times of one entry and `decide_unit` the unit of all of them, for captions and for the answers
about long videos alike.
"""

import itertools
import re
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
from qwen_omni.captions.timecode import counts_milliseconds, is_bare, read_time, split_range

NoteKind = Literal["moved", "swapped", "clamped", "outside", "repeat"]

STARTS = (
    "start", "start_time", "startTime", "begin", "from", "start_seconds", "timestamp", "time", "开始", "开始时间",
    "startSeconds", "start_sec", "start_second", "begin_time", "from_time",
)  # fmt: skip
"""Names that models give to the time at which something begins."""
ENDS = (
    "end", "end_time", "endTime", "stop", "to", "until", "end_seconds", "结束", "结束时间",
    "endSeconds", "end_sec", "end_second", "stop_time", "finish", "to_time",
)  # fmt: skip
"""Names of the time at which it ends."""
TEXTS = ("text", "caption", "description", "content", "subtitle", "字幕", "内容", "event", "label", "what", "type")
"""Names of what is said about it."""
_RANGES = (
    "time", "timestamp", "time_range", "timeRange", "range", "start", "时间", "timestamps", "interval", "span", "times",
)  # fmt: skip
_MILLISECONDS = {
    **dict.fromkeys(("start_ms", "startMs", "start_milliseconds", "begin_ms", "from_ms"), "start"),
    **dict.fromkeys(("end_ms", "endMs", "end_milliseconds", "stop_ms", "to_ms"), "end"),
}
_TIMES = frozenset((*STARTS, *ENDS, *_RANGES))
_LINE = re.compile(r"\s*(?P<range>[\[(【][^\])】]{3,60}[\])】])\s*[:：\-–—]?\s*(?P<text>\S.*)", re.DOTALL)
_BOTH = 2


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


def spread(data: object) -> object:
    """Write the times of an entry under `start` and `end`, if they stand in one field; nulls are left out.

    Takes "00:12 - 00:15", "[00:00:12.000-00:00:15.000]", [12, 15] and {"start": 12, "end": 15} in one field, a whole
    line "[00:12 - 00:15] text", and times that are named as milliseconds.

    Example:
        >>> spread({"time": [12, 15], "text": "It opens."})
        {'text': 'It opens.', 'start': 12, 'end': 15}
    """
    if isinstance(data, str):
        line = _LINE.fullmatch(data) if len(data) < _LONGEST_LINE else None
        return {"time": line["range"], "text": line["text"]} | _both(line["range"]) if line else data
    if not isinstance(data, Mapping):
        return data
    entry = {name: one for name, one in data.items() if one is not None or name not in _TIMES}
    for name, one in data.items():
        if name in _MILLISECONDS and isinstance(one, int | float | str) and not isinstance(one, bool):
            entry.setdefault(_MILLISECONDS[name], f"{one}ms")
    if any(name in entry for name in ENDS):
        return entry
    for name in _RANGES:
        both = _both(entry.get(name))
        if both:
            return {key: one for key, one in entry.items() if key != name} | both
    return entry


_LONGEST_LINE = 20_000


def _both(value: object) -> dict[str, object]:
    """Read a start and an end that stand in one value; empty if it holds no two times."""
    if isinstance(value, str):
        found = split_range(value)
        return {"start": found[0], "end": found[1]} if found else {}
    if isinstance(value, list | tuple) and len(value) == _BOTH:
        return {"start": value[0], "end": value[1]}
    if isinstance(value, Mapping):
        start = next((value[name] for name in STARTS if value.get(name) is not None), None)
        end = next((value[name] for name in ENDS if value.get(name) is not None), None)
        return {"start": start, "end": end} if start is not None and end is not None else {}
    return {}


def decide_unit(data: object, facts: object) -> None:
    """Decide whether the bare numbers of a whole answer are milliseconds, for validators below that read `facts`.

    Pydantic has no other way to tell validators about the rest of an answer than its context.

    Raises:
        UnreadableTimeError: they lie behind the end in either unit.
    """
    duration = facts.get("duration") if isinstance(facts, dict) else None
    if isinstance(facts, dict) and duration is not None:
        facts["milliseconds"] = counts_milliseconds(_bare_times(data), duration=duration)


def _bare_times(data: object) -> Iterator[object]:
    """Find the times of an answer that are numbers without a unit, in whatever field they stand."""
    waiting: list[object] = [data]
    while waiting:
        one = waiting.pop()
        if isinstance(one, list | tuple):
            waiting += one
        elif isinstance(one, Mapping):
            entry = spread(one)
            assert isinstance(entry, Mapping)
            for name, value in entry.items():
                if name in _TIMES and is_bare(value):
                    yield value
                elif isinstance(value, list | tuple | Mapping):
                    waiting.append(value)
        elif isinstance(one, str):
            entry = spread(one)
            waiting += [entry] if isinstance(entry, Mapping) else []


class Timed(BaseModel):
    """Something between two moments, in seconds from the beginning.

    Attributes:
        may_lack_end: one that has no end is taken for one without length.
    """

    model_config = ConfigDict(frozen=True)
    may_lack_end: ClassVar[bool] = False

    start: float = Field(
        ge=0, description="When it begins: seconds from the beginning of the video, for example 12.5.",
        validation_alias=AliasChoices(*STARTS),
    )  # fmt: skip
    end: float = Field(
        ge=0, description="When it ends: seconds from the beginning of the video.",
        validation_alias=AliasChoices(*ENDS),
    )  # fmt: skip

    @model_validator(mode="before")
    @classmethod
    def _spread(cls, data: object) -> object:
        entry = spread(data)
        if not cls.may_lack_end or not isinstance(entry, Mapping) or any(name in entry for name in ENDS):
            return entry
        start = next((entry[name] for name in STARTS if name in entry), None)
        return entry if start is None else {**entry, "end": start}

    @field_validator("start", "end", mode="before")
    @classmethod
    def _read(cls, value: object, info: ValidationInfo) -> float:
        return seconds_of(value, info)


def seconds_of(value: object, info: ValidationInfo) -> float:
    """Read a time in the unit that was decided for the whole answer."""
    facts = info.context if isinstance(info.context, Mapping) else {}
    return read_time(value, duration=facts.get("duration"), milliseconds=facts.get("milliseconds"))


class TimedCaption(Timed):
    """What happens between two moments, in seconds from the beginning."""

    text: str = Field(
        min_length=1, description="What is seen and heard meanwhile, in one sentence.",
        validation_alias=AliasChoices(*TEXTS),
    )  # fmt: skip


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
        """What was corrected, and what looks wrong."""
        return self._notes

    @model_validator(mode="wrap")
    @classmethod
    def _put_right(cls, data: object, handler: Any, info: ValidationInfo) -> Self:  # noqa: ANN401  (pydantic's own)
        duration = info.context.get("duration") if isinstance(info.context, dict) else None
        if isinstance(data, list | tuple):
            data = {"captions": data}
        decide_unit(data, info.context)
        made: Self = handler(data)
        captions, notes = arrange(made.captions, duration)
        right: Self = made.model_copy(update={"captions": captions})
        right._notes = notes
        return right


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
