"""What can truthfully be said about a request: facts in words, moments, and answers to simple questions.

Nothing is canned: every sentence contains numbers measured in the media, or words of the request.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from qwen_omni.standin.answers import description

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qwen_omni.standin.media.facts import Mark, MediaFacts

SIGN = "[stand-in]"
_MOST_MARKS = 600
_MOST_TIMES = 24
_SECOND = re.compile(
    r"\bsecond\s+(\d+(?:\.\d+)?)|\b(\d+)(?:st|nd|rd|th)\s+second|\bat\s+(\d+(?:\.\d+)?)\s*s(?:ec|\b)", re.IGNORECASE
)
_NUMBER = re.compile(r"\d{3,}")
_TIMED = re.compile(
    r"\"(?:start|begin|time|at|timestamp|second|start_time)[a-z_]*\"\s*:\s*(\d+(?:\.\d+)?)|\b(?:(\d+):)?(\d{1,2}):(\d{2}(?:\.\d+)?)\b"
)
_CLOCK = r"(?:(?:(\d+):)?(\d{1,2}):)?(\d+(?:\.\d+)?)"
_OFFSET = re.compile(
    r"\b(?:clip|piece|part|segment|excerpt|section)\b[^.\n]{0,60}?"
    rf"\b(?:(?:begins|starts|beginning|starting)\s+(?:at|from)|from)\s+(?:second\s+)?{_CLOCK}",
    re.IGNORECASE,
)
_PIECE = re.compile(r"\b(?:clip|piece|part|segment|excerpt)\s+of\s+an?\s+(?:\w+\s+)?longer\b|较长视频", re.IGNORECASE)
_RANGE = re.compile(rf"^\W*from {_CLOCK} to {_CLOCK}: *(.+)$", re.IGNORECASE | re.MULTILINE)
_LIMITS = re.compile(rf" ?{description.MEASURED}[^.]*\.(?: {description.UNREAD}[^.]*\.)?")
_CODED = re.compile(r"\bcode \S+ is (?:shown|sounded)|\b(?:Picture|Sound) marks: ")
_SENTENCE = re.compile(r"[^.!?\n\u3002\uff01\uff1f]{8,}[.!?\u3002\uff01\uff1f]?")
_WORD = re.compile(r"[\w'-]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """A time range that something can be said about."""

    start: float
    end: float
    code: str
    what: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """All the facts that an answer can use.

    `ordinary` is whether they are about media without marks; `phrases` are then short observations without times, and
    `offset` is the second of the whole file at which the media begin, and `parts` are the stretches of a longer file
    that notes are about. `closing` says what was not recognised.
    """

    media: tuple[MediaFacts, ...]
    question: str
    sentences: tuple[str, ...]
    moments: tuple[Moment, ...]
    duration: float
    ordinary: bool = False
    phrases: tuple[str, ...] = ()
    offset: float = 0.0
    parts: tuple[Moment, ...] = ()
    closing: str = ""
    text: str = ""

    @property
    def asked(self) -> frozenset[str]:
        """The codes that the question names: numbers with as many digits as the codes of the media or the text."""
        known = self.codes or _NUMBER.findall(self.text)
        lengths = {len(code) for code in known}
        return frozenset(code for code in _NUMBER.findall(_task(self.question, self.text)) if len(code) in lengths)

    @property
    def holds_asked(self) -> bool:
        """Whether something of what the question names is there; so it is where it names nothing."""
        return not self.asked or any(code in moment.what for code in self.asked for moment in self.moments)

    def asked_moments(self) -> tuple[Moment, ...]:
        """The moments of the codes that the question names; all if it names none that is there."""
        named = tuple(one for one in self.moments if any(code in one.what for code in self.asked))
        return named or self.moments

    def numbered(self, name: str) -> list[int]:
        r"""The numbers of the paragraphs of the text that begin with a word and a number, and hold what is asked.

        Example:
            >>> text = "Shot 1 of a: 2222\n\nShot 2 of b: 3333"
            >>> asked = Evidence(media=(), question="Where is 3333?", sentences=(), moments=(), duration=0, text=text)
            >>> asked.numbered("shots")
            [2]
        """
        label = re.compile(rf"^\W*{re.escape(name.removesuffix('s'))}\W+(\d+)\b", re.IGNORECASE)
        found = [(int(match[1]), part) for part in self.text.split("\n\n") if (match := label.match(part))]
        return [number for number, part in found if not self.asked or any(code in part for code in self.asked)]

    @property
    def utterances(self) -> tuple[Mark, ...]:
        """What a transcript of the media holds, in order."""
        return tuple(mark for facts in self.media for mark in facts.utterances)

    @property
    def codes(self) -> tuple[str, ...]:
        """All codes, in chronological order."""
        return tuple(moment.code for moment in self.moments if moment.code)


def gather(media: Sequence[MediaFacts], question: str, text: str, material: str = "") -> Evidence:
    """Collect the evidence for a request, from its media, or from its text if it has none.

    `material` is the text of the latest user message that the task is about; see `material_of`.
    """
    facts = tuple(media)
    if facts and not any(one.marked for one in facts):
        return _ordinary(facts, question, text)
    if not facts and SIGN in (material or text) and not _CODED.search(material or text):
        return _notes(question, (material or text).replace(f"{SIGN} ", ""))
    moments = tuple(moment for one in facts for moment in _moments(one)) or _moments_in_text(material or text)
    sentences = tuple(sentence for one in facts for sentence in _sentences(one))
    if not facts:
        phrases = [
            match.group().strip()
            for match in _SENTENCE.finditer(material or text)
            if not _looks_like_code(match.group())
        ]
        asked = _NUMBER.findall(_task(question, material))
        # What is asked for comes first, and the shortest sentence about it before all others.
        phrases.sort(key=lambda phrase: len(phrase) if any(code in phrase for code in asked) else math.inf)
        sentences = tuple(phrases[:_MOST_TIMES]) or (f"{len(_WORD.findall(text))} words were read.",)
    timed = [one.duration for one in facts if one.kind != "image"]
    duration = max(timed, default=max((moment.end for moment in moments), default=0.0))
    return Evidence(
        media=facts, question=question, sentences=sentences, moments=moments, duration=duration,
        text="" if facts else material or text,
    )  # fmt: skip


def _ordinary(facts: tuple[MediaFacts, ...], question: str, text: str) -> Evidence:
    """Collect the evidence of media without marks."""
    offset = stated_offset(text)
    timed = bool(offset) or not _PIECE.search(text)
    moments = [
        Moment(start=start + offset, end=end + offset, code="", what=what)
        for one in facts
        for start, end, what in (description.moment_phrases(one) if one.kind != "image" else ())
    ]
    return Evidence(
        media=facts,
        question=question,
        sentences=tuple(sentence for one in facts for sentence in description.summary(one, timed=timed)),
        moments=tuple(moments),
        duration=max((one.duration for one in facts if one.kind != "image"), default=0.0),
        ordinary=True,
        phrases=tuple(dict.fromkeys(phrase for one in facts for phrase in description.phrases(one))),
        offset=offset,
        closing=description.limits(facts),
    )


def _notes(question: str, text: str) -> Evidence:
    """Collect the evidence of a text that joins the stand-in's own notes about ordinary media.

    Lines "From 0:00 to 1:30: …" are about a part as a whole, the other lines with times about moments in it.
    """
    closing = _LIMITS.search(text)
    text = _LIMITS.sub("", text)
    parts = [
        Moment(start=_second(match.groups()[:3]), end=_second(match.groups()[3:6]), code="", what=match[7].strip())
        for match in _RANGE.finditer(text)
    ]
    moments = _moments_in_text(_RANGE.sub("", text)) or tuple(parts)
    covered = [f"{clock(part.start)} to {clock(part.end)}: {part.what}" for part in parts]
    return Evidence(
        media=(),
        question=question,
        sentences=tuple(covered or [f"{clock(moment.start)}: {moment.what}" for moment in moments]) or (_short(text),),
        moments=moments,
        duration=max((moment.end for moment in (*parts, *moments)), default=0.0),
        ordinary=True,
        phrases=tuple(dict.fromkeys(moment.what for moment in moments)),
        parts=tuple(parts),
        closing=closing.group().strip() if closing else "",
        text=text,
    )


def material_of(texts: Sequence[str]) -> str:
    """Return the text that a task is about: the longest one that mentions times, or the longest if none does."""
    return max(texts, key=lambda text: (bool(_TIMED.search(text)), len(text)), default="")


def _task(question: str, material: str) -> str:
    """Return what is asked, without the text that it is asked about."""
    return question.replace(material, "") if material else question


def clock(second: float) -> str:
    """Format a time as people write it.

    Example:
        >>> clock(75.2), clock(3723)
        ('1:15', '1:02:03')
    """
    hours, rest = divmod(int(second), 3600)
    return f"{hours}:{rest // 60:02d}:{rest % 60:02d}" if hours else f"{rest // 60}:{rest % 60:02d}"


def stated_offset(text: str) -> float:
    """Return the second of the whole file at which a part of it begins, if the request says so; else 0.

    Example:
        >>> stated_offset("This clip starts at 1:30 of the video."), stated_offset("Segment 2, from 90 s to 180 s.")
        (90.0, 90.0)
    """
    match = _OFFSET.search(text)
    return _second(match.groups()) if match else 0.0


def _second(groups: Sequence[str | None]) -> float:
    hours, minutes, seconds = (float(group or 0) for group in groups)
    return hours * 3600 + minutes * 60 + seconds


def prose(evidence: Evidence) -> str:
    """Return the answer as prose."""
    sentences = _direct_answers(evidence)
    for number, facts in enumerate(evidence.media, 1):
        about = _sentences(facts)
        if not facts.marked:
            about = description.sentences(facts, evidence.question, evidence.offset)
        sentences.append(" ".join([f"{facts.kind} {number}: {description.shape(facts)}.", *about]))
    if ordinary := [facts for facts in evidence.media if not facts.marked]:
        place = 0 if description.asks_beyond(evidence.question) else len(sentences)
        sentences.insert(place, description.limits(ordinary))
    words = len(_WORD.findall(evidence.question))
    if not evidence.media:
        sentences.append(
            f'There is no media here; I read {words} words. The question was: "{_short(evidence.question)}"'
        )
    return " ".join([SIGN, *sentences])


def spoken(evidence: Evidence) -> str:
    """Return what is heard in the documented form of conversations: each utterance is a turn."""
    turns = (f"<sos><{mark.start:.2f}>{mark.code}<{mark.end:.2f}><speaker1><eos>" for mark in evidence.utterances)
    return f"<soc>{''.join(turns)}<eoc>"


def _sentences(facts: MediaFacts) -> list[str]:
    sentences = []
    if facts.kind != "audio":
        sentences.append(_listed("Picture marks", facts.picture_marks) if facts.picture_marks else "No picture marks.")
    if facts.sound:
        sentences.append(_listed("Sound marks", facts.sound_marks) if facts.sound_marks else "No sound marks.")
        sentences.append("The sound is silent." if facts.loudness is None else f"Loudness {facts.loudness:.1f} dBFS.")
    if facts.kind == "video":
        times = " ".join(f"{cut:.2f}" for cut in facts.cuts[:_MOST_TIMES])
        sentences.append(f"{len(facts.cuts)} cuts{' at ' + times if times else ''}.")
    if facts.colours:
        sentences.append(
            "Colours: " + ", ".join(f"{span.name} {span.start:.2f}" for span in facts.colours[:_MOST_TIMES]) + "."
        )
    return sentences


def _listed(title: str, marks: Sequence[Mark]) -> str:
    shown = " ".join(f"{mark.code}@{mark.start:.2f}" for mark in marks[:_MOST_MARKS])
    return f"{title}: {shown}" + (f" and {len(marks) - _MOST_MARKS} more." if len(marks) > _MOST_MARKS else ".")


def _direct_answers(evidence: Evidence) -> list[str]:
    """Answer questions about the codes and seconds that they mention."""
    answers = []
    for code in dict.fromkeys(_NUMBER.findall(evidence.question)):
        for facts in evidence.media:
            answers += [f"{code} is shown at {mark.start:.2f} s." for mark in facts.picture_marks if mark.code == code]
            answers += [f"{code} sounds at {mark.start:.2f} s." for mark in facts.sound_marks if mark.code == code]
    for match in _SECOND.finditer(evidence.question):
        second = float(next(group for group in match.groups() if group))
        for facts in evidence.media:
            found = _at(facts, second) if facts.marked else description.at(facts, second, evidence.offset)
            answers += [f"At {second:g} s: {words}." for words in found]
    return answers


def _at(facts: MediaFacts, second: float) -> list[str]:
    if facts.kind == "image":
        return []
    if second >= facts.duration:
        return [f"the {facts.kind} ends at {facts.duration:.2f} s"]
    shown = [f"{mark.code} is shown" for mark in facts.picture_marks if mark.start <= second + 0.05 < mark.end]
    heard = [f"{mark.code} sounds" for mark in facts.sound_marks if mark.start <= second + 0.5 and mark.end > second]
    return shown + heard or ["no mark"]


def _moments(facts: MediaFacts) -> list[Moment]:
    """Return one moment per mark; without marks, one per cut or colour; without those, the whole."""
    if facts.kind == "image":
        return []
    marks = facts.picture_marks or facts.sound_marks
    verb = "shown" if facts.picture_marks else "sounded"
    if marks:
        return [Moment(start=m.start, end=m.end, code=m.code, what=f"code {m.code} is {verb}") for m in marks]
    starts = [0.0, *(cut for cut in facts.cuts if 0 < cut < facts.duration)]
    ends = [*starts[1:], facts.duration]
    return [
        Moment(start=start, end=end, code="", what=f"{_colour_at(facts, start)} scene from {start:.2f} s")
        for start, end in zip(starts, ends, strict=True)
    ]


def _colour_at(facts: MediaFacts, time: float) -> str:
    names = [span.name for span in facts.colours if span.start <= time]
    return names[-1] if names else "unseen"


def _moments_in_text(text: str) -> tuple[Moment, ...]:
    """Read the times mentioned in a text, so that notes can be summarised without media."""
    found: dict[float, str] = {}
    for match in _TIMED.finditer(text):
        plain, hours, minutes, seconds = match.groups()
        time = float(plain) if plain else int(hours or 0) * 3600 + int(minutes) * 60 + float(seconds)
        line = text[match.end() : match.end() + 160].split("\n", 1)[0]
        found.setdefault(time, _short(line.strip(' ,"}]')))
    times = sorted(found)
    ends = [*times[1:], times[-1] + 1] if times else []
    return tuple(
        Moment(start=start, end=end, code="", what=found[start]) for start, end in zip(times, ends, strict=True)
    )


def _looks_like_code(sentence: str) -> bool:
    return sum(sentence.count(sign) for sign in '{}[]":\\') > len(sentence) / 8


def _short(text: str, most: int = 200) -> str:
    one_line = " ".join(text.split())
    return one_line if len(one_line) <= most else one_line[: most - 1] + "…"
