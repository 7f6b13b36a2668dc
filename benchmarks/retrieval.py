"""How often a question finds the right moment: passages as a store returns them, and the windows of `VideoRetriever`.

A seed makes 64 videos of five minutes, with what models write about them (events, speech, text on screen, a summary of
each segment), and 240 questions. Videos of a theme share objects, subjects and signs, so most passages have near
doubles elsewhere. A question paraphrases the passage it is about; a joint question names two things that happen within
the same seconds, each of which also happens elsewhere alone. The embeddings are those of all-MiniLM-L6-v2.

    segments, captions   the passages of a mode of the loader, by their vectors
    words                captions, by BM25 alone: Okapi's, as the package rank_bm25 has it (k1 1.5, b 0.75)
    hybrid               captions, by vectors and by that BM25, joined by reciprocal rank, as stores do it
    hybrid, stemmed      the same with LanceDB's full-text index, which stems English and leaves out stop words
    windows              `VideoRetriever` over the captions, by vectors alone (`words=False`), and as it is by default
    windows of hybrid    the same over a hybrid ranking (`words=False`: the store has ranked by words already)

A result is right if it is of the right video, overlaps the moment asked about and is at most a minute long. The
constants in `qwen_omni/retrieval/windows.py` were chosen on seeds 0 and 1; the figures are of seeds 10 to 14, for each
the mean and the lowest.

    python benchmarks/retrieval.py [--seeds 10 11 12 13 14]
"""

import argparse
import math
import random
import re
import statistics
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from qwen_omni.retrieval.passages import Passage, Passages, known
from qwen_omni.retrieval.windows import Hit, WindowOptions
from qwen_omni.video.schemas import SegmentNotes, TimedNote
from tests.support import minilm

VIDEOS, SEGMENTS, SECONDS, QUESTIONS = 64, 5, 60.0, 240
LONGEST = 60.0
FETCHED = WindowOptions().fetch_k
K1, B, EPSILON = 1.5, 0.75, 0.25  # of rank_bm25
_WORD = re.compile(r"\w+")
KINDS = {"event": 60, "speech": 60, "text": 48, "joint": 72}

COLOURS = ("red", "blue", "green", "yellow", "white", "black", "orange", "silver", "brown", "purple")
# A theme: objects with another word for each, what they do and how a question puts it, places.
THEMES = {
    "street": (
        (("van", "delivery vehicle"), ("bicycle", "bike"), ("bus", "coach"), ("motorbike", "motorcycle"),
         ("lorry", "truck"), ("scooter", "kick scooter")),
        (("stops at the kerb", "pull up at the roadside"), ("turns left at the junction", "go left at the crossing"),
         ("crosses the bridge", "go over the bridge"), ("is towed away", "get removed by a recovery service"),
         ("overtakes a tram", "pass a streetcar"), ("reverses into a gateway", "back into an entrance")),
        ("in light rain", "in front of the bakery", "near the station", "under the bridge"),
    ),
    "kitchen": (
        (("pan", "skillet"), ("bowl", "dish"), ("pot", "saucepan"), ("jug", "pitcher"), ("tray", "baking sheet"),
         ("jar", "glass container")),
        (("is taken out of the oven", "come out of the stove"), ("is filled with flour", "get flour put into it"),
         ("is rinsed under the tap", "get washed with running water"), ("is put on the scale", "get weighed"),
         ("is covered with foil", "get wrapped in aluminium"), ("falls off the counter", "drop from the worktop")),
        ("beside the sink", "on the left", "next to the herbs", "behind the cook"),
    ),
    "workshop": (
        (("drill", "power drill"), ("clamp", "vice"), ("ladder", "stepladder"), ("toolbox", "tool case"),
         ("pipe", "tube"), ("panel", "board")),
        (("is lifted onto the bench", "get put up on the work table"), ("is cut in half", "get sawn into two pieces"),
         ("is sprayed with oil", "get lubricated"), ("is screwed to the wall", "get fixed to the wall"),
         ("is handed to the apprentice", "get passed to the trainee"), ("is painted", "get a coat of paint")),
        ("near the window", "under the lamp", "at the back", "beside the door"),
    ),
    "lab": (
        (("flask", "glass vessel"), ("microscope", "optical instrument"), ("sample tube", "specimen vial"),
         ("centrifuge", "spinning machine"), ("glove box", "sealed chamber"), ("burner", "gas flame")),
        (("is heated slowly", "get warmed up gradually"), ("is moved to the fridge", "get put into cold storage"),
         ("is labelled by hand", "get a handwritten label"), ("starts to leak", "begin to lose liquid"),
         ("is switched off", "get turned off"), ("is wiped with alcohol", "get disinfected")),
        ("on the bench", "behind glass", "next to the balance", "in the corner"),
    ),
}  # fmt: skip
SUBJECTS = (
    ("the new parking garage", "a place to leave cars"), ("the school canteen", "meals for pupils"),
    ("the enzyme experiment", "catalysis in living cells"), ("the heating system", "keeping the building warm"),
    ("the summer festival", "the open-air celebration"), ("the recycling bins", "sorting waste"),
    ("the night shift", "working after dark"), ("the bread recipe", "how to bake a loaf"),
    ("the roof repair", "fixing the top of the house"), ("the solar panels", "electricity from sunlight"),
    ("the chess club", "the board game group"), ("the software update", "the new version of the program"),
    ("the river walk", "the path along the water"), ("the fire drill", "practising an evacuation"),
    ("the staff survey", "asking employees for their opinion"), ("the wedding cake", "the dessert for the couple"),
    ("the bicycle lane", "the track for cyclists"), ("the tax return", "the annual declaration of income"),
    ("the telescope", "the instrument for watching stars"), ("the vaccine trial", "testing the inoculation"),
    ("the swimming pool", "the indoor baths"), ("the bus timetable", "when public transport leaves"),
    ("the film award", "the prize for cinema"), ("the garden fence", "the barrier around the lawn"),
    ("the coffee machine", "the espresso maker"), ("the choir rehearsal", "practice of the singers"),
    ("the password policy", "rules for login secrets"), ("the flood barrier", "protection from high water"),
    ("the museum tour", "the guided visit of the exhibition"), ("the apple harvest", "picking fruit in autumn"),
)  # fmt: skip
# What is said about a subject, and how a question puts it.
SAYINGS = (
    ("We expect {it} to cost {n} thousand euros.", "the price of {n} thousand for {it}"),
    ("{name} is in charge of {it} from now on.", "{name} being responsible for {it}"),
    ("{it} begins on {day}, as agreed.", "{it} starting on {day}"),
    ("The main trouble with {it} is the noise, {name} says.", "{name} finding {it} too loud"),
    ("Until {day} I was really proud of {it}.", "being pleased with {it} until {day}"),
    ("Nobody but {name} has asked for {it} so far.", "{name} as the only one interested in {it}"),
)
SIGNS = (
    "Gate {l}{n}", "Room {n}", "Exit {n}", "Invoice {l}-{n}", "Platform {n}{l}", "Warehouse {l}{n}", "Step {n}",
    "Bay {n}{l}", "Track {n}", "Slide {n}",
)  # fmt: skip
NAMES = ("Mira", "Tomas", "Aylin", "Jonas", "Priya", "Oskar", "Lena", "Idris", "Ruth", "Pavel")
DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday")


@dataclass(frozen=True)
class Fact:
    """Something that happens, is said or shown in a video, and what a question calls it."""

    kind: str
    key: tuple[str, ...]
    text: str
    asked: str
    video: int
    start: float
    end: float


@dataclass(frozen=True)
class Question:
    """A question, and the moment that answers it."""

    kind: str
    text: str
    source: str
    start: float
    end: float


def source_of(video: int) -> str:
    return f"video-{video:03d}.mp4"


def facts_of(video: int, draw: random.Random) -> Iterator[Fact]:
    """Yield what happens in a video: every 20 s an event, a sentence or both, and sometimes a sign."""
    objects, actions, places = list(THEMES.values())[video % len(THEMES)]
    for at in range(0, int(SEGMENTS * SECONDS), 20):
        base = at + draw.uniform(0, 4)
        thing, other = draw.choice(objects)
        does, done = draw.choice(actions)
        colour = draw.choice(COLOURS)
        text = f"A {colour} {thing} {does} {draw.choice(places)}."
        yield Fact("event", (colour, thing, does), text, f"the {colour} {other} {done}", video, base, base + 4)
        subject, reworded = draw.choice(SUBJECTS)
        saying, wanted = draw.choice(SAYINGS)
        words = {"name": draw.choice(NAMES), "n": draw.randint(2, 90), "day": draw.choice(DAYS)}
        text = saying.format(it=subject, **words)
        asked = wanted.format(it=reworded, **words)
        yield Fact("speech", (text,), text[0].upper() + text[1:], asked, video, base + 3, base + 9)
        if draw.random() < 0.7:
            sign = draw.choice(SIGNS).format(l=draw.choice("ABCDEF"), n=draw.randint(1, 40))
            yield Fact("text", (sign,), sign, sign, video, base + 2, base + 10)


def notes_of(facts: Sequence[Fact]) -> Iterator[SegmentNotes]:
    """Yield what a model would write about the segments of a video."""
    for index in range(SEGMENTS):
        start, end = index * SECONDS, (index + 1) * SECONDS
        inside = [fact for fact in facts if start <= fact.start < end]
        lists = {
            name: tuple(
                TimedNote(start=one.start, end=min(one.end, end), text=one.text) for one in inside if one.kind == kind
            )
            for kind, name in (("event", "events"), ("speech", "speech"), ("text", "on_screen_text"))
        }  # fmt: skip
        things = ", ".join(" ".join(fact.key[:2]) for fact in inside if fact.kind == "event")
        yield SegmentNotes(
            index=index, segments=SEGMENTS, start=start, end=end, summary=f"A scene with {things}.", **lists
        )


def questions_of(facts: Sequence[Fact], draw: random.Random) -> list[Question]:
    """Draw questions with exactly one right moment."""
    count: dict[tuple[str, ...], int] = {}
    for fact in facts:
        count[(fact.kind, *fact.key)] = count.get((fact.kind, *fact.key), 0) + 1
    put = {
        "event": "When does {}?", "speech": "Where does somebody talk about {}?", "text": 'When can one read "{}"?',
    }  # fmt: skip
    found = []
    for kind, words in put.items():
        alone = [fact for fact in facts if fact.kind == kind and count[(kind, *fact.key)] == 1]
        found += [
            Question(kind, words.format(one.asked), source_of(one.video), one.start, one.end)
            for one in draw.sample(alone, KINDS[kind])
        ]
    pairs = [
        (one, other)
        for one, other in joint_facts(facts)
        if count[(one.kind, *one.key)] > 1 and count[(other.kind, *other.key)] > 1
    ]
    for one, other in draw.sample(pairs, KINDS["joint"]):
        what = f'while "{one.asked}" can be read' if one.kind == "text" else f"just as {one.asked} is seen"
        text = f"Where does somebody talk about {other.asked} {what}?"
        span = (min(one.start, other.start), max(one.end, other.end))
        found.append(Question("joint", text, source_of(one.video), *span))
    return found


def joint_facts(facts: Sequence[Fact]) -> Iterator[tuple[Fact, Fact]]:
    """Yield what is seen or shown while something is said, where no other moment has both."""
    said = [fact for fact in facts if fact.kind == "speech"]
    seen: dict[tuple[str, ...], list[tuple[Fact, Fact]]] = {}
    for other in said:
        for one in facts:
            if one.kind != "speech" and one.video == other.video and abs(one.start - other.start) < 10:
                seen.setdefault((*one.key, *other.key), []).append((one, other))
    yield from (found[0] for found in seen.values() if len(found) == 1)


class Store:
    """Passages with their vectors and words, searched like a vector store with full text does it."""

    def __init__(self, passages: Sequence[Passage]) -> None:
        self.hits = [Hit(metadata=one.metadata, text=one.text) for one in passages]
        self.vectors = minilm.embed_many(hit.text for hit in self.hits)
        self.counts = [Counter(_WORD.findall(hit.text.lower())) for hit in self.hits]
        self.mean = statistics.mean(count.total() for count in self.counts)
        self.rarity = okapi_rarity(self.counts)
        self._table: Any = None

    def by_vectors(self, question: str) -> list[Hit]:
        scores = self.vectors @ np.array(minilm.embed(question))
        best = np.argsort(-scores)[:FETCHED]
        return [Hit(metadata=self.hits[at].metadata, text=self.hits[at].text, score=float(scores[at])) for at in best]

    def by_words(self, question: str) -> list[Hit]:
        """Rank by Okapi's BM25, as `rank_bm25.BM25Okapi` does."""
        asked = [word for word in _WORD.findall(question.lower()) if word in self.rarity]
        scores = np.array(
            [
                sum(
                    self.rarity[word] * count[word] * (K1 + 1)
                    / (count[word] + K1 * (1 - B + B * count.total() / self.mean))
                    for word in asked if word in count
                )
                for count in self.counts
            ]
        )  # fmt: skip
        return [self.hits[at] for at in np.argsort(-scores, kind="stable")[:FETCHED] if scores[at] > 0]

    def by_full_text(self, question: str) -> list[Hit]:
        """Rank by LanceDB's full-text index, which stems and leaves out stop words by default."""
        if self._table is None:
            import lancedb  # noqa: PLC0415  (an extra)
            from lancedb.index import FTS  # noqa: PLC0415

            rows = [{"at": at, "text": hit.text} for at, hit in enumerate(self.hits)]
            self._folder = tempfile.TemporaryDirectory()
            self._table = lancedb.connect(self._folder.name).create_table("captions", rows)
            self._table.create_index("text", config=FTS(language="English", stem=True, remove_stop_words=True))
        found = self._table.search(question, query_type="fts").select(["at"]).limit(FETCHED).to_list()
        return [self.hits[row["at"]] for row in found]

    def hybrid(self, question: str) -> list[Hit]:
        """Join vectors and BM25."""
        return joined(self.by_vectors(question), self.by_words(question))

    def stemmed(self, question: str) -> list[Hit]:
        """Join vectors and the full-text index."""
        return joined(self.by_vectors(question), self.by_full_text(question))


def okapi_rarity(counts: Sequence[Counter[str]]) -> dict[str, float]:
    """Return the weight of each word; negative ones become a share of the mean, as in `rank_bm25`."""
    among = Counter(word for count in counts for word in count)
    rarity = {word: math.log(len(counts) - n + 0.5) - math.log(n + 0.5) for word, n in among.items()}
    least = EPSILON * statistics.mean(rarity.values())
    return {word: least if one < 0 else one for word, one in rarity.items()}


def joined(*rankings: Sequence[Hit]) -> list[Hit]:
    """Join rankings by reciprocal rank, with the usual constant of 60."""
    found: dict[str, tuple[float, Hit]] = {}
    for ranking in rankings:
        for rank, hit in enumerate(ranking):
            key = str((hit.metadata["source"], hit.metadata["start"], hit.text))
            found[key] = (found.get(key, (0.0, hit))[0] + 1 / (60 + rank), hit)
    best = sorted(found.values(), key=lambda one: -one[0])[:FETCHED]
    return [Hit(metadata=hit.metadata, text=hit.text, score=score) for score, hit in best]


Result = tuple[str, float, float]
Mode = Callable[[str], list[Result]]


def as_results(hits: Sequence[Hit]) -> list[Result]:
    return [(str(hit.metadata["source"]), float(hit.metadata["start"]), float(hit.metadata["end"])) for hit in hits]


def windows(search: Callable[[str], list[Hit]], options: WindowOptions) -> Mode:
    def found(question: str) -> list[Result]:
        return [(one.source, one.start, one.end) for one in options.windows(question, search(question))]

    return found


@cache
def world(seed: int) -> tuple[Store, Store, list[Question]]:
    """Make the videos of a seed, their passages in both modes, and the questions."""
    draw = random.Random(seed)
    facts, passages = [], {"segments": [], "captions": []}
    for video in range(VIDEOS):
        own = list(facts_of(video, draw))
        facts += own
        for mode, kept in passages.items():
            builder = Passages(source_of(video), mode)
            kept += [one for notes in notes_of(own) for one in builder.of(notes)]
    assert all(known(one.metadata, "start") is not None for kept in passages.values() for one in kept)
    questions = questions_of(facts, draw)
    assert len(questions) == QUESTIONS
    return Store(passages["segments"]), Store(passages["captions"]), questions


def modes_of(segments: Store, captions: Store) -> dict[str, Mode]:
    plain = WindowOptions(k=5, words=False)
    return {
        "segments": lambda question: as_results(segments.by_vectors(question)[:5]),
        "captions": lambda question: as_results(captions.by_vectors(question)[:5]),
        "words": lambda question: as_results(captions.by_words(question)[:5]),
        "hybrid": lambda question: as_results(captions.hybrid(question)[:5]),
        "hybrid, stemmed": lambda question: as_results(captions.stemmed(question)[:5]),
        "windows, vectors": windows(captions.by_vectors, plain),
        "windows": windows(captions.by_vectors, WindowOptions(k=5)),
        "windows of hybrid": windows(captions.hybrid, plain),
        "windows of stemmed": windows(captions.stemmed, plain),
    }


def is_right(result: Result, question: Question) -> bool:
    source, start, end = result
    return (
        source == question.source and start <= question.end and question.start <= end and end - start <= LONGEST + 0.01
    )


def rights(mode: Mode, questions: Sequence[Question]) -> list[list[bool]]:
    """Return for each question which of the first five results are right."""
    return [[is_right(one, question) for one in mode(question.text)[:5]] for question in questions]


def recall(found: Sequence[Sequence[bool]]) -> tuple[float, float]:
    """Return the share of questions whose first result is right, and of those with a right one among five."""
    return statistics.mean(any(one[:1]) for one in found), statistics.mean(map(any, found))


def main() -> None:
    reader = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    reader.add_argument("--seeds", type=int, nargs="+", default=[10, 11, 12, 13, 14])
    worlds = [world(seed) for seed in reader.parse_args().seeds]
    captions = statistics.mean(len(one[1].hits) for one in worlds)
    print(f"{VIDEOS} videos, {captions:,.0f} captions, {QUESTIONS} questions a seed; {len(worlds)} seeds")
    print(
        f"{'':20} {'@1 mean':>8} {'lowest':>8} {'@5 mean':>8} {'lowest':>8}"
        + "".join(f"{k + ' @1':>11}" for k in KINDS)
    )
    for name in modes_of(*worlds[0][:2]):
        found = [(rights(modes_of(*stores)[name], questions), questions) for *stores, questions in worlds]
        first, five = zip(*(recall(one) for one, _ in found), strict=True)
        figures = (statistics.mean(first), min(first), statistics.mean(five), min(five))
        kinds = [
            recall([right for one, asked in found for right, q in zip(one, asked, strict=True) if q.kind == kind])[0]
            for kind in KINDS
        ]
        print(f"{name:20}" + "".join(f"{one:9.1%}" for one in figures) + "".join(f"{one:11.1%}" for one in kinds))


if __name__ == "__main__":
    main()
