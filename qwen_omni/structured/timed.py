"""Captions with times, and times as models write them. Pure.

A time may have several readings ("5000" is seconds or milliseconds; "00:12:00" is twelve minutes or, in a clip of
fifteen seconds, second twelve and frame zero); `read_time` returns the first that lies inside the video. Whether the
bare numbers of an answer are milliseconds is decided for all of them together.

Models write times under any name, out of order, twice, and past the end of the video. What can be corrected without
inventing anything is corrected; each change is listed in `TimedCaptions.notes`, and nothing disappears without a note.
`Timed` parses the times of one entry and `decide_unit` the unit of all, for captions and long videos alike.
"""

import itertools
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, ClassVar, Literal, Self

from pydantic import (
    AliasChoices,
    ConfigDict,
    Field,
    PrivateAttr,
    ValidationInfo,
    field_validator,
    model_validator,
)

from qwen_omni.structured.schema import Frozen, ReadsForms, Shown, TextForm, first_paragraph

_UNITS: dict[str, Fraction] = {
    **dict.fromkeys(("h", "hr", "hrs", "hour", "hours", "小时", "时"), Fraction(3600)),
    **dict.fromkeys(("m", "min", "mins", "minute", "minutes", "分钟", "分", "'", "′"), Fraction(60)),
    **dict.fromkeys(("s", "sec", "secs", "second", "seconds", "秒钟", "秒", '"', "″", "''", "′′"), Fraction(1)),
    **dict.fromkeys(("ms", "msec", "msecs", "millisecond", "milliseconds", "毫秒"), Fraction(1, 1000)),
}
_NAMES = "|".join(sorted(map(re.escape, _UNITS), key=len, reverse=True))
_NUMBER = r"\d+(?:[.,]\d+)?"
_WITH_UNITS = re.compile(rf"(?:pt)?(?:{_NUMBER}\s*(?:{_NAMES})\s*(?:and\s*|,\s*)?)+(?P<rest>{_NUMBER})?")
_PAIR = re.compile(rf"({_NUMBER})\s*({_NAMES})")
_CLOCK = re.compile(r"(?P<parts>\d+(?:\s*:\s*\d+){1,3})(?:[.,](?P<digits>\d+))?")
_PLAIN = re.compile(rf"{_NUMBER}")
_ABOUT = r"about|around|approx(?:imately)?|ca|circa|at|from|to|t|time|timestamp|第|约|大约"
_BEFORE = rf"^(?:(?:{_ABOUT})\b[.:=]?|[~≈<>@=+]|[\[(【（{{])+\s*"
_NOISE = re.compile(rf"{_BEFORE}|[\])】）}}>]+$|\s*(?:处|左右)$", re.IGNORECASE)
_LEADING = re.compile(r"^(?:第|约|大约)")
_DASH = r"(?<=[\w\"'″′\])])\s*-(?=\s*[\[(\d])"
_RANGE = re.compile(rf"\s*(?:-->|->|→|[‐‑‒–—―−~～〜]|\bto\b|\buntil\b|至|到|{_DASH})\s*", re.IGNORECASE)
_SLACK = Fraction(1, 2)  # seconds past the end before another reading is tried
_FAR = 10  # times the duration: too far off for a mistake, so it is another unit
_OFF = Fraction(3, 2)  # times the duration: a smaller error is read as seconds and clamped to the end
_LEAST_OFF = 2  # seconds of error allowed in a short clip
_SURELY = 1000  # numbers from here on look like milliseconds in a shorter clip
_MOST_SECONDS = 10**9  # thirty years: not a time in a video
_MOST_BITS = 128  # of an integer that may be a time
_HUNDRED = 100
_SIXTY = 60


class UnreadableTimeError(ValueError):
    """The time is ambiguous or not a time."""


def read_time(value: object, *, duration: float | None = None, milliseconds: bool | None = None) -> float:
    """Return the seconds that a number or text stands for: the first reading that lies inside `duration`.

    Readings other than the usual one count only for times of ten times the duration or more, so that a model that is
    slightly off is not taken for one that counts in another unit.

    Args:
        value: as the model wrote it.
        duration: length of the media it is about, in seconds.
        milliseconds: the unit of bare numbers, if `counts_milliseconds` has decided it.

    Raises:
        UnreadableTimeError: it is not a time, negative, or more than thirty years.

    Example:
        >>> read_time("00:01:23,450"), read_time("1m30s"), read_time("１分３０秒"), read_time(5000, duration=15)
        (83.45, 90.0, 90.0, 5.0)
    """
    readings = list(_readings(value, _latest(duration), milliseconds=milliseconds))
    if not readings or readings[0] > _MOST_SECONDS:
        raise UnreadableTimeError(f"{_shown(value)} is not a time; write seconds, as in 83.5, or 00:01:23.5.")
    if duration is None:
        return float(readings[0])
    latest = _latest(duration) + _SLACK
    return float(next((reading for reading in readings if reading <= latest), readings[0]))


def counts_milliseconds(values: Iterable[object], *, duration: float) -> bool:
    """Whether the bare numbers of an answer are milliseconds: if read as seconds, some lie far past the end.

    Numbers that are off by less than half the duration are seconds, and are clamped to the end.

    Raises:
        UnreadableTimeError: they lie past the end in either unit.

    Example:
        >>> counts_milliseconds([0, 5000, 14_500], duration=15), counts_milliseconds([0, "5", 16.5], duration=15)
        (True, False)
    """
    numbers = [number for value in values if (number := _bare(value)) is not None]
    latest = _latest(duration)
    furthest = max(latest * _OFF, latest + _LEAST_OFF)
    last: Fraction = max(numbers, default=Fraction(0))
    if last <= furthest:
        return False
    whole = all(number.denominator == 1 for number in numbers)
    if last <= furthest * 1000 and (last >= _SURELY or (whole and last >= latest * _FAR)):
        return True
    raise UnreadableTimeError(
        f"The times go up to {float(min(last, Fraction(_MOST_SECONDS))):,g}, but the recording lasts "
        f"{float(latest):g} s. Give times in seconds from the start of the recording."
    )


def is_bare(value: object) -> bool:
    """Whether a value is a number without a unit, or its text."""
    return _bare(value) is not None


def _bare(value: object) -> Fraction | None:
    if isinstance(value, str):
        text = _cleaned(value) if len(value) <= _HUNDRED else ""
        return _fraction(text) if _PLAIN.fullmatch(text) else None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if isinstance(value, int):
        return Fraction(value) if value >= 0 and value.bit_length() <= _MOST_BITS else None
    return Fraction(str(value)) if 0 <= value < float("inf") else None


def _shown(value: object) -> str:
    if isinstance(value, int) and value.bit_length() > _MOST_BITS:
        return f"A number of {value.bit_length():,} bits"
    return f"{str(value)[:40]!r}"


def _latest(duration: float | None) -> Fraction:
    return Fraction(duration).limit_denominator(1_000_000) if duration is not None else Fraction(10**12)


def split_range(text: str) -> tuple[str, str] | None:
    """Split "00:12 - 00:15" into start and end; `None` if it is not a range.

    Example:
        >>> split_range("[00:12 --> 00:15]"), split_range("00:12")
        (('00:12', '00:15'), None)
    """
    if len(text) > 2 * _HUNDRED:  # `read_time` would reject both halves, and the search below is not linear
        return None
    parts = _RANGE.split(unicodedata.normalize("NFKC", text).strip().strip("[](){}【】"), maxsplit=1)
    if len(parts) != 2 or not all(any(char.isdigit() for char in part) for part in parts):  # noqa: PLR2004
        return None
    return parts[0].strip("[]() "), parts[1].strip("[]() ")


def _readings(value: object, latest: Fraction, *, milliseconds: bool | None) -> Iterator[Fraction]:
    number = _bare(value)
    if number is not None and milliseconds is not None:
        yield number / 1000 if milliseconds else number
    elif number is not None:
        yield _plain(number, latest)
    elif isinstance(value, str) and len(value) <= _HUNDRED:
        yield from _text(_cleaned(value), latest)


def _cleaned(text: str) -> str:
    text = unicodedata.normalize("NFKC", text).strip().lower()
    for _ in range(3):
        text = _LEADING.sub("", _NOISE.sub("", text)).strip()
    return text


def _text(text: str, latest: Fraction) -> Iterator[Fraction]:
    clock = _CLOCK.fullmatch(re.sub(rf"\s*(?:{_NAMES})$", "", text))
    if clock is not None:
        readings = list(_clock([int(part) for part in clock["parts"].split(":")], clock["digits"], clock["parts"]))
        yield from readings if readings[0] >= latest * _FAR else readings[:1]
        return
    units = _WITH_UNITS.fullmatch(text)
    if units is not None:
        yield from _with_units(text, units["rest"])


def _plain(number: Fraction, latest: Fraction) -> Fraction:
    """Choose the unit of a bare number: seconds, unless that lies impossibly far past the end."""
    if number.denominator != 1:
        return number
    if number >= latest * _FAR * 1000:
        return number / 1_000_000  # microseconds, as some video tools print them
    return number / 1000 if number >= latest * _FAR else number


def _fraction(text: str) -> Fraction:
    return Fraction(text.replace(",", "."))


def _with_units(text: str, rest: str | None) -> Iterator[Fraction]:
    pairs = _PAIR.findall(text)
    total = sum((_fraction(number) * _UNITS[name] for number, name in pairs), Fraction(0))
    if rest is not None:  # "1h30": the rest is in the next smaller unit
        smaller = _UNITS[pairs[-1][1]] / _SIXTY
        if smaller < 1:
            return
        total += _fraction(rest) * smaller
    yield total


def _clock(parts: list[int], digits: str | None, written: str) -> Iterator[Fraction]:
    below = Fraction(f"0.{digits}") if digits else Fraction(0)
    last = written.rsplit(":", 1)[1].strip()
    if len(parts) == 4:  # noqa: PLR2004  (hours:minutes:seconds:frames or milliseconds)
        yield _sixties(parts[:3]) + _small(parts[3], last)
        return
    if len(parts) == 3 and digits is None and len(last) == 3:  # noqa: PLR2004  (minutes:seconds:milliseconds)
        yield _sixties(parts[:2]) + _small(parts[2], last)
        return
    yield _sixties(parts) + below
    if digits is None and len(parts) == 3:  # noqa: PLR2004  (minutes:seconds:frames; frames are ignored)
        yield _sixties(parts[:2])
        yield Fraction(parts[0])
    if digits is None and len(parts) == 2:  # noqa: PLR2004  (seconds:hundredths)
        yield parts[0] + _small(parts[1], last)


def _small(number: int, written: str) -> Fraction:
    """Parse what follows the seconds: a decimal fraction if it has three digits or more, else frames, ignored."""
    return Fraction(number, 10 ** len(written)) if len(written) >= 3 else Fraction(0)  # noqa: PLR2004


def _sixties(parts: list[int]) -> Fraction:
    total = Fraction(0)
    for part in parts:
        total = total * _SIXTY + part
    return total


NoteKind = Literal["moved", "swapped", "clamped", "outside", "repeat", "untimed"]

STARTS = (
    "start", "start_time", "startTime", "begin", "from", "start_seconds", "timestamp", "time", "开始", "开始时间",
    "startSeconds", "start_sec", "start_second", "begin_time", "from_time",
)  # fmt: skip
"""Names that models use for the start time."""
ENDS = (
    "end", "end_time", "endTime", "stop", "to", "until", "end_seconds", "结束", "结束时间",
    "endSeconds", "end_sec", "end_second", "stop_time", "finish", "to_time",
)  # fmt: skip
"""Names that models use for the end time."""
TEXTS = ("text", "caption", "description", "content", "subtitle", "字幕", "内容", "event", "label", "what", "type")
"""Names that models use for the text."""
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
_UNTIMED = "untimed"
_SECTION = "section"


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """A correction of the captions, or something that looks wrong.

    Attributes:
        kind: `moved`: was out of order; `swapped`: ended before its start; `clamped`: ran past the end of the video;
            `outside`: began past the end and was left out; `repeat`: has the same text as the previous one; `untimed`:
            a text without a time, such as an overview, which is no caption.
        index: which caption, as the model numbered them from 0; -1 for `untimed`.
        text: what happened, with the numbers.
    """

    kind: NoteKind
    index: int
    text: str


def spread(data: object) -> object:
    """Store the times of an entry under `start` and `end` if they are in one field; nulls are left out.

    Accepts "00:12 - 00:15", "[00:00:12.000-00:00:15.000]", [12, 15] and {"start": 12, "end": 15} in one field, a whole
    line "[00:12 - 00:15] text", and times whose names say milliseconds.

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
    """Parse a start and an end in one value; empty if it is not a range. A mapping may lack one of them."""
    if isinstance(value, str):
        found = split_range(value)
        return {"start": found[0], "end": found[1]} if found else {}
    if isinstance(value, list | tuple) and len(value) == _BOTH:
        return {"start": value[0], "end": value[1]}
    if isinstance(value, Mapping):
        start = next((value[name] for name in STARTS if value.get(name) is not None), None)
        end = next((value[name] for name in ENDS if value.get(name) is not None), None)
        return {name: one for name, one in (("start", start), ("end", end)) if one is not None}
    return {}


def decide_unit(data: object, facts: object) -> None:
    """Decide whether the bare numbers of a whole answer are milliseconds, for nested validators that read `facts`.

    A pydantic validator can learn about the rest of an answer only from its context.

    Raises:
        UnreadableTimeError: they lie past the end in either unit.
    """
    duration = facts.get("duration") if isinstance(facts, dict) else None
    if isinstance(facts, dict) and duration is not None:
        facts["milliseconds"] = counts_milliseconds(_bare_times(data), duration=duration)


def _bare_times(data: object) -> Iterator[object]:
    """Yield the times of an answer that are numbers without a unit, in any field."""
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


_ABOUT_TIMES = _TIMES | _MILLISECONDS.keys()
_SCENE_TEXTS = ("action", "setting", *TEXTS)


def scene_entries(data: Mapping[str, Any]) -> list[object]:
    """Return the entries of the documented form `scenes → events`: each scene, then its events, in order of time.

    What else is known of an event (its participants, its sounds) follows its text in brackets.

    Example:
        >>> scene = {"time_range": {"start_seconds": 0, "end_seconds": 9}, "setting": "A kitchen.", "events": []}
        >>> scene_entries({"scenes": [scene]})
        [{'time_range': {'start_seconds': 0, 'end_seconds': 9}, 'text': 'A kitchen.'}]
    """
    entries: list[object] = []
    for scene in data["scenes"]:
        events = scene.get("events") if isinstance(scene, Mapping) else None
        listed = events if isinstance(events, list) else []
        entry = _scene_entry(scene, without=("events",) if events is None or listed == events else ())
        if not listed or not isinstance(entry, Mapping) or "text" in entry:
            entries.append(entry)
        entries += [_scene_entry(event) for event in listed]
    return in_order(entries)


def _scene_entry(scene: object, *, without: tuple[str, ...] = ()) -> object:
    if not isinstance(scene, Mapping):
        return scene
    times = {name: one for name, one in scene.items() if name in _ABOUT_TIMES}
    main = next((name for name in _SCENE_TEXTS if isinstance(scene.get(name), str) and scene[name].strip()), None)
    others = [
        f"{name}: {_listed(one)}"
        for name, one in scene.items()
        if name not in times and name != main and name not in without and _listed(one)
    ]
    about = f"({'; '.join(others)})" if others else ""
    text = " ".join(filter(None, ("" if main is None else scene[main].strip(), about)))
    return {**times, "text": text} if text else times


def _listed(value: object) -> str:
    """Return a value in words: a list with commas, anything else as it is."""
    if isinstance(value, list | tuple):
        return ", ".join(filter(None, map(_listed, value)))
    return "" if value is None else str(value).strip()


def in_order(entries: list[Any]) -> list[Any]:
    """Sort entries by their times, unless one of them cannot be read."""
    try:
        keys = [_order(entry) for entry in entries]
    except (UnreadableTimeError, KeyError, StopIteration, TypeError):
        return entries
    return [entries[index] for index in sorted(range(len(entries)), key=lambda index: (*keys[index], index))]


def _order(entry: object) -> tuple[float, float]:
    found = spread(entry)
    if not isinstance(found, Mapping):
        raise TypeError(found)
    start = read_time(next(found[name] for name in STARTS if name in found))
    return start, read_time(next((found[name] for name in ENDS if name in found), start))


def with_speaker(entry: Mapping[str, Any]) -> dict[str, Any]:
    """Return an entry with its speaker in the text ("speaker1: Good morning.")."""
    made = {name: one for name, one in entry.items() if name != "speaker"}
    return {**made, "text": f"{entry['speaker']}: {entry['text']}"} if entry.keys() >= {"speaker", "text"} else made


class TimedAnswer(Frozen):
    """An answer with times in it, whose bare numbers all have one unit."""

    @model_validator(mode="before")
    @classmethod
    def _read(cls, data: object, info: ValidationInfo) -> object:
        decide_unit(data, info.context)
        return data


class Spread(Frozen):
    """An entry whose times may come in one field."""

    @model_validator(mode="before")
    @classmethod
    def _spread(cls, data: object) -> object:
        return spread(data)


class Timed(Frozen):
    """Something between two moments, in seconds from the beginning.

    Attributes:
        may_lack_end: whether an entry without an end is read as one without length.
    """

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
    """Parse a time in the unit that was decided for the whole answer."""
    facts = info.context if isinstance(info.context, Mapping) else {}
    return read_time(value, duration=facts.get("duration"), milliseconds=facts.get("milliseconds"))


class TimedCaption(Timed):
    """What happens between two moments, in seconds from the beginning."""

    text: str = Field(
        min_length=1, description="What is seen and heard meanwhile, in one sentence.",
        validation_alias=AliasChoices(*TEXTS),
    )  # fmt: skip


class TimedCaptions(Shown, ReadsForms):
    """The captions of a video in order of time.

    Validation corrects what it can (see `notes`). Pass the duration of the video to detect times past its end:
    `TimedCaptions.model_validate(data, context={"duration": 60})`.

    Example:
        >>> data = {"captions": [{"start": "0:09", "end": "0:12", "text": "It opens."},
        ...                      {"start": 0, "end": "9 s", "text": "A tent lies on the grass."}]}
        >>> timed = TimedCaptions.model_validate(data, context={"duration": 11.0})
        >>> [(caption.start, caption.end) for caption in timed.captions], [note.kind for note in timed.notes]
        ([(0.0, 9.0), (9.0, 11.0)], ['clamped', 'moved'])
    """

    model_config = ConfigDict(json_schema_extra=first_paragraph)
    takes_list: ClassVar[bool] = True
    """A bare list of captions is an answer, too."""
    also_named: ClassVar[frozenset[str]] = frozenset({"scenes"})

    captions: tuple[TimedCaption, ...] = Field(
        description="One entry for each scene or event, in order of time, that together cover the whole video."
    )
    _notes: tuple[Note, ...] = PrivateAttr(default=())

    @classmethod
    def of_form(cls, form: TextForm) -> dict[str, Any]:
        """Return the captions of an answer in a text form, and the text that is not a caption."""
        captions = [
            with_speaker(entry) if section == "events" else {**with_speaker(entry), _SECTION: section}
            for section, entry in form.entries
        ]
        return {"captions": captions, **({_UNTIMED: list(form.untimed)} if form.untimed else {})}

    @property
    def notes(self) -> tuple[Note, ...]:
        """Corrections, and things that look wrong."""
        return self._notes

    @model_validator(mode="wrap")
    @classmethod
    def _corrected(cls, data: object, handler: Any, info: ValidationInfo) -> Self:  # noqa: ANN401  (pydantic's own)
        duration = info.context.get("duration") if isinstance(info.context, dict) else None
        if isinstance(data, list | tuple):
            data = {"captions": data}
        untimed: list[str] = []
        if isinstance(data, Mapping) and data.get("captions") is None and isinstance(data.get("scenes"), list):
            untimed = [f"{name}: {_listed(one)}" for name, one in data.items() if name not in ("captions", "scenes")]
            data = {"captions": scene_entries(data)}
        elif isinstance(data, Mapping):
            untimed = [text for text in data.get(_UNTIMED) or () if isinstance(text, str)]
            data = _one_list(data)
        decide_unit(data, info.context)
        made: Self = handler(data)
        captions, notes = arrange(made.captions, duration)
        notes += tuple(Note(kind="untimed", index=-1, text=text) for text in untimed)
        right: Self = made.model_copy(update={"captions": captions})
        right._notes = notes
        return right


def _one_list(data: Mapping[str, Any]) -> Mapping[str, Any]:
    """Merge the sections of an answer in order of time; entries of one section stay as they are, in any order."""
    captions = data.get("captions")
    entries = captions if isinstance(captions, list) else []
    sections = {entry.get(_SECTION, "") for entry in entries if isinstance(entry, Mapping)}
    return {**data, "captions": in_order(entries)} if len(sections) > 1 else data


def arrange(
    captions: tuple[TimedCaption, ...], duration: float | None
) -> tuple[tuple[TimedCaption, ...], tuple[Note, ...]]:
    """Sort captions, swap reversed starts and ends, clamp to the end of the video, report repeats."""
    notes: list[Note] = []
    turned = [(index, _turned(caption, index, notes)) for index, caption in enumerate(captions)]
    ordered = sorted(turned, key=lambda pair: (pair[1].start, pair[1].end))
    inside = [(index, kept) for index, caption in ordered if (kept := _clamped(caption, index, duration, notes))]
    latest = -1
    for index, caption in inside:
        if index < latest:
            text = f"begins at {caption.start:g} s, but was listed before one that begins earlier"
            notes.append(Note(kind="moved", index=index, text=text))
        latest = max(latest, index)
    for (_, before), (index, caption) in itertools.pairwise(inside):
        if _words(before.text) == _words(caption.text):
            text = f"has the same text at {caption.start:g} s as at {before.start:g} s"
            notes.append(Note(kind="repeat", index=index, text=text))
    return tuple(caption for _, caption in inside), tuple(notes)


def _turned(caption: TimedCaption, index: int, notes: list[Note]) -> TimedCaption:
    if caption.end >= caption.start:
        return caption
    text = f"ended at {caption.end:g} s, before its start at {caption.start:g} s"
    notes.append(Note(kind="swapped", index=index, text=text))
    return caption.model_copy(update={"start": caption.end, "end": caption.start})


def _clamped(caption: TimedCaption, index: int, duration: float | None, notes: list[Note]) -> TimedCaption | None:
    if duration is None or caption.end <= duration:
        return caption
    if caption.start >= duration:
        text = f"begins at {caption.start:g} s, after the end at {duration:g} s, and was left out: {caption.text}"
        notes.append(Note(kind="outside", index=index, text=text))
        return None
    text = f"ended at {caption.end:g} s, after the end at {duration:g} s"
    notes.append(Note(kind="clamped", index=index, text=text))
    return caption.model_copy(update={"end": float(duration)})


def _words(text: str) -> str:
    """Reduce a text to its letters and digits, for comparison."""
    return "".join(char for char in unicodedata.normalize("NFKC", text).casefold() if char.isalnum())
