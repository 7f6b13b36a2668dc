"""Passages that a search found → windows of video worth watching, best first. Pure.

Stores return passages: single captions, whole segments, or both, some of them twice. A window joins those that belong
together, so that one look at the video shows them all. Both frameworks' retrievers and `VideoLibrary` use it.
"""

import hashlib
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from qwen_omni.ranges import END, POSITIVE_COUNT, START, Range, check_numbers, checked
from qwen_omni.retrieval.passages import Passage, Value, complete, fragment_url, known, with_text
from qwen_omni.video.overlap import NEAR_SECONDS, gap_between, says_the_same, words_of
from qwen_omni.video.schemas import clock

WINDOW_SECONDS = 60.0
"""Longest window by default."""
PER_VIDEO = 3
"""Windows of one video by default."""
GAP_SECONDS = 5.0
"""Passages at most this far apart are neighbours by default."""
# The tuning seeds of benchmarks/retrieval.py chose these.
_STEEPNESS = 1.5  # how fast the weight of a passage falls with its score
_RANKS = 5.0  # how fast it falls with its rank, where there are no scores
_WORDS_WEIGHT = 0.3  # how much shared words count beside the store's own order
_LENGTH_WEIGHT = 0.3  # how much longer passages count less for the same words


@dataclass(frozen=True, slots=True, kw_only=True)
class Hit:
    """A passage that a store found.

    Attributes:
        metadata: of the passage, as the store returned it.
        text: its content.
        score: the store's own score or distance; `None` if it has none.
    """

    metadata: Mapping[str, Any]
    text: str
    score: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """A time range of a video that its passages suggest answers a question.

    Attributes:
        source: path or URL of the video.
        start: in seconds of the video; `end` likewise.
        text: what the passages say, in order of time, each thing once; with times if they are several.
        score: the store's score of the best passage.
        hits: the passages, best first, each event once.
    """

    source: str
    start: float
    end: float
    text: str
    score: float | None = None
    hits: tuple[Hit, ...] = ()


@dataclass(slots=True)
class _Spot:
    """A hit, the time range it stands for, and how much it counts."""

    hit: Hit
    start: float
    end: float
    weight: float

    @property
    def length(self) -> float:
        return self.end - self.start


@dataclass(slots=True)
class _Draft:
    """A window while hits are added."""

    start: float
    end: float
    spots: list[_Spot] = field(default_factory=list)

    @property
    def weight(self) -> float:
        return sum(spot.weight for spot in self.spots)

    @property
    def length(self) -> float:
        return self.end - self.start


def times_of(metadata: Mapping[str, Any]) -> tuple[str, float, float] | None:
    """Return the source, start and end of a passage; `None` if it names no time range.

    Example:
        >>> times_of({"source": "a.mp4", "start": 1, "end": 9.5}), times_of({"source": "notes.pdf", "page": 3})
        (('a.mp4', 1.0, 9.5), None)
    """
    source, start, end = (metadata.get(name) for name in ("source", "start", "end"))
    if (
        not isinstance(source, str)
        or not source
        or not isinstance(start, int | float)
        or not isinstance(end, int | float)
    ):
        return None
    return (source, float(start), float(end)) if 0 <= start <= end < math.inf else None  # NaN is in no order


def to_windows(
    hits: Iterable[Hit], *, seconds: float = WINDOW_SECONDS, per_video: int = PER_VIDEO, gap: float = GAP_SECONDS
) -> list[Window]:
    r"""Join the passages that a search found into windows, best first.

    Neighbours and overlaps become one window while it is not longer than `seconds`; only a single passage may be. The
    same event, found twice, appears once. A long passage in which a shorter one was found is narrowed to where that is.
    Windows with several good passages come before those with one. Windows of one video do not overlap. Passages without
    a time range are left out.

    Args:
        hits: the passages, best first.
        seconds: longest window.
        per_video: maximum number of windows of one video.
        gap: passages no more than this many seconds apart are neighbours.

    Raises:
        ConfigurationError: a number is out of its range.

    Example:
        >>> found = [
        ...     Hit(text="A tent.", score=0.9, metadata={"source": "a.mp4", "start": 4.0, "end": 8.0}),
        ...     Hit(text="A dog barks.", score=0.7, metadata={"source": "a.mp4", "start": 10.0, "end": 12.0}),
        ... ]
        >>> (window,) = to_windows(found)
        >>> window.start, window.end, window.score, window.text
        (4.0, 12.0, 0.9, '0:04 A tent.\n0:10 A dog barks.')
    """
    seconds = checked("seconds", seconds, END)
    per_video = checked("per_video", per_video, POSITIVE_COUNT)
    gap = checked("gap", gap, START)
    found = list(hits)
    return _windows(zip(found, evidence_of(found), strict=True), seconds=seconds, per_video=per_video, gap=gap)


def _windows(ranked: Iterable[tuple[Hit, float]], *, seconds: float, per_video: int, gap: float) -> list[Window]:
    """Join hits, the best ones first, each with its weight."""
    videos: dict[tuple[str, str], list[_Draft]] = {}
    for hit, weight in ranked:
        place = times_of(hit.metadata)
        if place is None:
            continue
        source, start, end = place
        drafts = videos.setdefault((source, str(hit.metadata.get("audio_track", ""))), [])
        _add(_Spot(hit, start, end, weight), drafts, seconds, gap)
    kept: dict[str, list[_Draft]] = {}
    for (source, _), drafts in videos.items():
        kept.setdefault(source, []).extend(_apart(_joined(drafts, seconds, gap)))
    best = [(one, source) for source, drafts in kept.items() for one in sorted(drafts, key=_order)[:per_video]]
    return [_window(source, one) for one, source in sorted(best, key=lambda pair: _order(pair[0]))]


def evidence_of(hits: Sequence[Hit]) -> list[float]:
    """Return how much each hit counts, from 1 for the best one downwards.

    Scores may be similarities or distances; their order shows which. Without scores, or with scores in no order, the
    rank counts.

    Example:
        >>> evidence_of([Hit(text=str(score), metadata={}, score=score) for score in (1, 4, 5)])
        [1.0, 0.125, 0.0]
    """
    scores = [hit.score for hit in hits if hit.score is not None and math.isfinite(hit.score)]
    if len(scores) == len(hits) and len(scores) > 1 and scores[0] != scores[-1]:
        shares = [(score - scores[-1]) / (scores[0] - scores[-1]) for score in scores]
        if shares == sorted(shares, reverse=True):
            return [share**_STEEPNESS for share in shares]
    return [1 / (1 + rank / _RANKS) for rank in range(len(hits))]


def _order(draft: _Draft) -> tuple[float, float]:
    return (-draft.weight, draft.start)


def _add(spot: _Spot, drafts: list[_Draft], seconds: float, gap: float) -> None:
    """Add a hit, the next best one, to the first window that it belongs to, or begin one with it."""
    if any(_is_duplicate(spot, other) for draft in drafts for other in draft.spots):
        return
    for draft in drafts:
        if _takes(draft, spot, seconds, gap):
            draft.spots.append(spot)
            return
    drafts.append(_Draft(spot.start, spot.end, [spot]))


def _is_duplicate(one: _Spot, other: _Spot) -> bool:
    """Whether two hits are about the same event: the same text, at times that touch."""
    return gap_between(one, other) <= NEAR_SECONDS and says_the_same(one.hit.text, other.hit.text)


def _takes(draft: _Draft, spot: _Spot, seconds: float, gap: float) -> bool:
    """Whether a hit belongs to a window, whose range is then changed."""
    if spot.start <= draft.start and draft.end <= spot.end and spot.length > seconds:
        return True  # about a longer range: it supports the window, but says no better where to look
    if draft.length > seconds and draft.start <= spot.start and spot.end <= draft.end:
        middle, half = (spot.start + spot.end) / 2, max(seconds, spot.length) / 2
        start = min(max(draft.start, middle - half), draft.end - 2 * half)
        draft.start, draft.end = start, start + 2 * half
        return True
    start, end = min(draft.start, spot.start), max(draft.end, spot.end)
    if gap_between(draft, spot) > gap or end - start > seconds:
        return False
    draft.start, draft.end = start, end
    return True


def _joined(drafts: list[_Draft], seconds: float, gap: float) -> list[_Draft]:
    """Join windows of one video that became neighbours while they grew."""
    joined: list[_Draft] = []
    for draft in sorted(drafts, key=lambda one: (one.start, one.end)):
        last = joined[-1] if joined else None
        if last is not None and gap_between(last, draft) <= gap and max(last.end, draft.end) - last.start <= seconds:
            last.end = max(last.end, draft.end)
            last.spots = sorted([*last.spots, *draft.spots], key=lambda spot: -spot.weight)
        else:
            joined.append(draft)
    return joined


def _apart(drafts: Sequence[_Draft]) -> Iterator[_Draft]:
    """Yield windows of one video that do not overlap: where two do, the better one has the time they share."""
    better: list[_Draft] = []
    for draft in sorted(drafts, key=_order):
        for other in better:
            if gap_between(draft, other) >= 0:
                continue
            if draft.start < other.start:
                draft.end = other.start
            else:
                draft.start = other.end
        if draft.start <= draft.end:
            better.append(draft)
            yield draft


def _window(source: str, draft: _Draft) -> Window:
    hits = tuple(spot.hit for spot in draft.spots)
    return Window(
        source=source, start=draft.start, end=draft.end, text=_text(draft), score=hits[0].score, hits=hits
    )  # fmt: skip


def _text(draft: _Draft) -> str:
    """Return what the hits of a window say, in order of time; those about much more than the window only if alone."""
    within = [spot for spot in draft.spots if gap_between(spot, draft) <= 0 and spot.length <= draft.length]
    kept: list[_Spot] = []
    for spot in sorted(within or draft.spots[:1], key=lambda one: -len(one.hit.text)):
        if not any(spot.hit.text.strip() in other.hit.text for other in kept):
            kept.append(spot)
    if len(kept) == 1:
        return kept[0].hit.text
    kept.sort(key=lambda one: (one.start, one.end))
    return "\n".join(f"{clock(one.start)} {one.hit.text}" for one in kept)


def shared_words(question: str, hits: Sequence[Hit]) -> list[float]:
    """Return how many rare words of a question each hit has, from 0 to 1 for the one that has most (BM25 among them).

    Embeddings miss what is rare: names, numbers, codes on a slide. Words that most hits have count little.

    Example:
        >>> found = [Hit(text="A gate opens.", metadata={}), Hit(text="Gate B7 opens.", metadata={})]
        >>> [round(share, 1) for share in shared_words("When does gate B7 open?", found)]
        [0.1, 1.0]
    """
    bags = [words_of(hit.text) for hit in hits]
    length = sum(map(len, bags)) / max(1, len(bags))
    rarity = {word: _rarity(sum(word in bag for bag in bags), len(bags)) for word in words_of(question)}
    scores = [
        sum(rarity[word] for word in rarity.keys() & bag)
        / (1 - _LENGTH_WEIGHT + _LENGTH_WEIGHT * len(bag) / max(1.0, length))
        for bag in bags
    ]
    most = max(scores, default=0.0)
    return [score / most if most else 0.0 for score in scores]


def _rarity(count: int, of: int) -> float:
    return math.log(1 + (of - count + 0.5) / (count + 0.5))


MOST_WINDOWS = 10_000
"""Windows, and passages, that one search may ask for."""
WINDOW_COUNT = Range(least=1, most=MOST_WINDOWS, whole=True)
_RANGES = {"k": WINDOW_COUNT, "fetch_k": WINDOW_COUNT, "seconds": END, "per_video": POSITIVE_COUNT, "gap": START}


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowOptions:
    """How the passages that a store returns become windows.

    Attributes:
        k: maximum number of windows.
        fetch_k: passages to ask the store for; several become one window, so more than `k`.
        seconds: longest window, unless a single passage is longer.
        per_video: maximum number of windows of one video.
        gap: passages no more than this many seconds apart are neighbours.
        words: whether passages that share rare words with the question move up. It helps where the store only compares
            vectors; turn it off where the store has hybrid search of its own.

    Raises:
        ConfigurationError: a number is out of its range.
    """

    k: int = 4
    fetch_k: int = 60
    seconds: float = WINDOW_SECONDS
    per_video: int = PER_VIDEO
    gap: float = GAP_SECONDS
    words: bool = True

    def __post_init__(self) -> None:
        check_numbers(self, _RANGES)

    def windows(self, question: str, hits: Sequence[Hit]) -> list[Window]:
        """Return the best windows for a question, from the passages that a store found, best first."""
        weights = evidence_of(hits)
        if self.words:
            weights = [
                one + _WORDS_WEIGHT * other for one, other in zip(weights, shared_words(question, hits), strict=True)
            ]
        ranked = sorted(zip(hits, weights, strict=True), key=lambda pair: -pair[1])
        return _windows(ranked, seconds=self.seconds, per_video=self.per_video, gap=self.gap)[: self.k]


def left_out_text(hits: Sequence[Hit]) -> str:
    """Return a warning about hits that name no time range of a video, for which there is no window; empty if none."""
    lost = sum(times_of(hit.metadata) is None for hit in hits)
    return f"{lost} of {len(hits)} documents name no time range of a video and were left out." if lost else ""


def to_passage(window: Window) -> Passage:
    """Return a window as a passage, from which a document is made.

    Its metadata are those that all its passages have in common, with the window's times. The ID is stable for the same
    range of the same video.
    """
    start, end = window.start, window.end
    facts: dict[str, Value] = {
        name: value
        for name, value in window.hits[0].metadata.items()
        if all(hit.metadata.get(name) == value for hit in window.hits)
    }
    track = known(facts, "audio_track")
    own = {"source": window.source, "start": start, "end": end, "kind": "window"}
    url = fragment_url(window.source, start, end)
    key = "\0".join((window.source, "window", f"{start:.3f}", f"{end:.3f}", str(track or "")))
    metadata = complete({**facts, **own, "url": url})
    return with_text(Passage(id=hashlib.sha256(key.encode()).hexdigest()[:32], text="", metadata=metadata), window.text)
