"""Removes duplicates where neighbouring segments overlap. Pure.

Segments overlap, and a cut may fall in the middle of something, so one event may be at the end of a segment and at the
beginning of the next. Two entries are the same if they touch within the overlap and have the same text: the same words
but for a few, and the same numbers. When in doubt both are kept: a duplicate is better than a lost event.
"""

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from qwen_omni.video.schemas import SegmentNotes, TimedNote

NEAR_SECONDS = 1.0
"""Seconds by which matching entries may be apart, or lie outside of the overlap."""
_ALIKE = 0.8  # share of words in common
_WORD = re.compile(r"\d+(?:[.,:]\d+)*|[^\W\d_]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeline:
    """All entries of the notes in order of time, without duplicates."""

    events: tuple[TimedNote, ...]
    on_screen_text: tuple[TimedNote, ...]
    speech: tuple[TimedNote, ...]


def to_timeline(notes: Sequence[SegmentNotes]) -> Timeline:
    """Join the entries of all segments; duplicates in an overlap are merged.

    Example:
        >>> first = SegmentNotes(index=0, start=0, end=10, events=[{"start": 8, "end": 10, "text": "A door opens."}])
        >>> then = SegmentNotes(index=1, start=9, end=19, events=[{"start": 9, "end": 12, "text": "a door opens"}])
        >>> to_timeline([first, then]).events
        (TimedNote(start=8.0, end=12.0, text='a door opens'),)
    """
    ordered = sorted(notes, key=lambda one: one.index)
    return Timeline(
        events=_joined((one, one.events) for one in ordered),
        on_screen_text=_joined((one, one.on_screen_text) for one in ordered),
        speech=_joined((one, one.speech) for one in ordered),
    )


def _joined(groups: Iterable[tuple[SegmentNotes, tuple[TimedNote, ...]]]) -> tuple[TimedNote, ...]:
    kept: list[TimedNote] = []
    tail: list[int] = []  # positions in `kept` of the entries of the previous segment
    before: SegmentNotes | None = None
    for notes, entries in groups:
        open_ = [at for at in tail if before is not None and kept[at].end >= notes.start - NEAR_SECONDS]
        tail = []
        for entry in entries:
            twin = (
                _twin(entry, kept, open_) if before is not None and entry.start <= before.end + NEAR_SECONDS else None
            )
            if twin is None:
                tail.append(len(kept))
                kept.append(entry)
                continue
            open_.remove(twin)
            tail.append(twin)
            kept[twin] = _one(kept[twin], entry)
        before = notes
    return tuple(sorted(kept, key=lambda note: (note.start, note.end)))


def _twin(entry: TimedNote, kept: list[TimedNote], candidates: list[int]) -> int | None:
    same = [at for at in candidates if is_twin(kept[at], entry)]
    return min(same, key=lambda at: abs(kept[at].start - entry.start), default=None)


def _one(first: TimedNote, then: TimedNote) -> TimedNote:
    """Merge two halves of an entry; the text is from the half that covers more of it."""
    longer = first if first.end - first.start >= then.end - then.start else then
    return TimedNote(start=min(first.start, then.start), end=max(first.end, then.end), text=longer.text)


class Timed(Protocol):
    """Anything with a start and an end, in seconds."""

    @property
    def start(self) -> float:
        """Start in seconds."""

    @property
    def end(self) -> float:
        """End in seconds."""


def is_twin(one: TimedNote, other: TimedNote) -> bool:
    """Whether two notes of neighbouring segments are duplicates: they touch and have the same text."""
    return gap_between(one, other) <= NEAR_SECONDS and says_the_same(one.text, other.text)


def gap_between(one: Timed, other: Timed) -> float:
    """Return the seconds between two time ranges; 0 or less if they touch."""
    return max(one.start, other.start) - min(one.end, other.end)


def says_the_same(one: str, other: str) -> bool:
    """Whether two texts are the same but for a few words; texts with different numbers never are.

    Example:
        >>> says_the_same("A man in red comes in.", "a man in red comes in"), says_the_same("No. 3", "No. 4")
        (True, False)
    """
    first, second = words_of(one), words_of(other)
    if {word for word in first if word[0].isdigit()} != {word for word in second if word[0].isdigit()}:
        return False
    if not first or not second:
        return one.strip() == other.strip()
    return len(first & second) >= _ALIKE * len(first | second)


def words_of(text: str) -> set[str]:
    """Return the words of a text in lower case; scripts without spaces are split into pairs of characters."""
    found: set[str] = set()
    for word in _WORD.findall(unicodedata.normalize("NFKC", text).casefold()):
        if word[0] >= "\u2e80":
            found.update(word[at : at + 2] for at in range(max(1, len(word) - 1)))
        else:
            found.add(word)
    return found
