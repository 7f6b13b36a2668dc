"""Values for the fields of a schema, from what was observed in ordinary media: true, and useful where possible.

What a field is about is decided by its name. What the stand-in cannot know (people, objects, speech) is empty where
the schema allows that, and says so where it does not.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from qwen_omni.standin.answers import description
from qwen_omni.standin.answers.evidence import Moment, clock

if TYPE_CHECKING:
    from qwen_omni.standin.answers.evidence import Evidence

UNKNOWN = "Not recognised: the stand-in measures pictures and sound, and knows no people, objects or purposes."
_LANGUAGE = re.compile(r"\b(language|lang|locale)\b")
_TITLE = re.compile(r"\b(title|heading|headline|label|topic)\b")
_SPEECH = re.compile(r"\b(speech|transcript|transcription|said|spoken|dialogue|lyrics|quote|quotes|utterances?)\b")
_TEXT = re.compile(r"\b(screen text|on screen|ocr|visible text|texts|written|subtitles|words)\b")
_MUSIC = re.compile(r"\b(music|soundtrack|tempo|pace)\b")
_COLOUR = re.compile(r"\b(colou?rs?|palette)\b")
_BEYOND = re.compile(
    r"\b(audience|brands?|persons?|people|speakers?|faces?|emotions?|mood|intent|location|place|objects?|products?"
    r"|animals?|names?|who|country|city|genre|sentiment)\b"
)
_VISIBLE = re.compile(r"\b(features?|tags?|keywords?|facts?|observations?|details?|highlights?|attributes?)\b")
_SELECTED = re.compile(r"\b(evidence|findings?|found|matches|relevant|relevance|moments)\b")
_ANSWER = re.compile(r"\banswer\b")
_CHAPTERS = re.compile(r"\b(chapters?|sections?)\b")
_MOST_CHAPTERS = 8
_WORD = re.compile(r"[^\W\d_]{3,}")
_LONG = 4  # characters of a word that is looked for in the text of an image
_TERMS = (
    "black", "white", "grey", "red", "pink", "orange", "brown", "beige", "yellow", "olive", "green", "turquoise",
    "blue", "purple", "dark", "bright", "silence", "speech", "music", "tone", "lively", "panning", "tilting",
)  # fmt: skip
_ALSO = {
    "gray": "grey", "silent": "silence", "quiet": "silence", "talk": "speech", "talks": "speech", "speaks": "speech",
    "speaking": "speech", "song": "music", "pan": "panning", "night": "dark", "light": "bright", "action": "lively",
}  # fmt: skip


def text(field: str, moment: Moment | None, index: int, evidence: Evidence) -> str:
    """Return the text of a field; empty if nothing is known."""
    if _LANGUAGE.search(field) or _SPEECH.search(field):
        return ""
    if moment is not None:
        return description.title(moment.what) if _TITLE.search(field) else moment.what
    if _SELECTED.search(field):
        return " ".join(dict.fromkeys(one.what for one in selected(evidence)))
    if _TEXT.search(field):
        return "; ".join(dict.fromkeys(line.text for facts in evidence.media for line in facts.observed.text))
    return _known(field, index, evidence) or " ".join(evidence.sentences)


def _known(field: str, index: int, evidence: Evidence) -> str:
    phrases = evidence.phrases
    if not evidence.media and _ANSWER.search(field):
        found = [f"{clock(one.start)}: {one.what}" for one in selected(evidence)[:_MOST_CHAPTERS]]
        return " ".join(found) or "Nothing in these notes answers the question."
    if _MUSIC.search(field):
        pace = description.tempo(evidence.media)
        return f"Something {pace}, guessed from the pace of cuts and movement."
    if _COLOUR.search(field):
        colours = [name for facts in evidence.media for scene in facts.observed.scenes for name, _ in scene.colours]
        names = list(dict.fromkeys(colours))
        return names[index] if index < len(names) else ""
    if _TITLE.search(field):
        return description.title(phrases[0]) if phrases else ""
    if _VISIBLE.search(field) and phrases:
        return phrases[index % len(phrases)]
    return UNKNOWN if _BEYOND.search(field) else ""


def moments(field: str, evidence: Evidence) -> tuple[Moment, ...] | None:
    """Return the moments of a list of timed entries; None if it is about something that is not recognised."""
    if _SPEECH.search(field) or (_BEYOND.search(field) and not _VISIBLE.search(field)):
        return None
    if _TEXT.search(field):
        lines = [line for facts in evidence.media for line in facts.observed.text]
        offset = evidence.offset
        return tuple(
            Moment(start=line.start + offset, end=line.end + offset, code="", what=line.text) for line in lines
        ) or None  # fmt: skip
    if _SELECTED.search(field):
        return selected(evidence) or None
    if _CHAPTERS.search(field) and len(evidence.parts) > 1:
        return evidence.parts
    if _CHAPTERS.search(field) and len(evidence.moments) > _MOST_CHAPTERS:
        count = len(evidence.moments)
        return tuple(evidence.moments[at * count // _MOST_CHAPTERS] for at in range(_MOST_CHAPTERS))
    return evidence.moments


def count(field: str, evidence: Evidence) -> int:
    """Return how many entries a list of plain values gets."""
    if _SPEECH.search(field) or (_BEYOND.search(field) and not _VISIBLE.search(field)):
        return 0
    if _TEXT.search(field):
        return sum(len(facts.observed.text) for facts in evidence.media)
    if _COLOUR.search(field):
        return 3
    return min(5, max(1, len(evidence.phrases)))


def selected(evidence: Evidence) -> tuple[Moment, ...]:
    """Return the moments that match the question best; all of them, if it asks about nothing that is measured."""
    terms = _terms(evidence)
    most = max((_held(terms, moment) for moment in evidence.moments), default=0)
    if not terms:
        return evidence.moments
    return tuple(moment for moment in evidence.moments if most and _held(terms, moment) == most)


def _terms(evidence: Evidence) -> set[str]:
    """Return what the question asks about, as far as it can be measured or read in the images."""
    read = [line.text.lower() for facts in evidence.media for line in facts.observed.text]
    wanted = {_ALSO.get(word, word) for word in _WORD.findall(evidence.question.lower())}
    return {
        word for word in wanted if word in _TERMS or (len(word) >= _LONG and any(word in line for line in read))
    }  # fmt: skip


def _held(terms: set[str], moment: Moment) -> int:
    words = set(_WORD.findall(moment.what.lower()))
    return sum(term in words or (len(term) >= _LONG and term in moment.what.lower()) for term in terms)


def relevance(field: str, evidence: Evidence) -> float | None:
    """Return how much the media help to answer, for a field that asks that."""
    if not re.search(r"\b(relevance|relevant|helpful|helps|sure)\b", field):
        return None
    terms = _terms(evidence)
    if not terms:
        return 1.0 if evidence.moments else 0.0
    return max((_held(terms, moment) for moment in evidence.moments), default=0) / len(terms)


def unlisted(options: list[object]) -> object:
    """Return the option of an enumeration for what is not known."""
    unsure = ("unknown", "other", "none", "n/a", "unclear", "not sure", "unspecified")
    return next((one for one in options if isinstance(one, str) and one.lower() in unsure), options[0])
