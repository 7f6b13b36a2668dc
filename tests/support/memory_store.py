"""A store of passages in memory, with the rules of `PassageStore`: what a library does is tested without LanceDB."""
# ruff: noqa: D102  (methods are documented in `PassageStore`)

import math
import operator
from collections.abc import Iterable, Mapping, Sequence

from qwen_omni.library.store import Row, Stamp, Video
from qwen_omni.retrieval.windows import Hit


class MemoryStore:
    """Compares every row with the question. `fail_after` rows, writing fails, as a full disk would."""

    def __init__(self) -> None:
        self.rows: dict[str, Row] = {}
        self.listed: dict[str, Video] = {}
        self.held: Stamp | None = None
        self.refreshed = 0
        self.fail_after: int | None = None

    def stamp(self) -> Stamp | None:
        return self.held

    def begin(self, stamp: Stamp) -> None:
        assert self.held is None
        self.held = stamp

    def vectors(self, source: str) -> Mapping[str, Sequence[float]]:
        return {row.passage.text: row.vector for row in self._of([source])}

    def write(self, rows: Sequence[Row], *, fresh: bool = False) -> None:
        if self.fail_after is not None and len(self.rows) + len(rows) > self.fail_after:
            raise OSError(28, "No space left on device")
        assert not fresh or not any(row.passage.id in self.rows for row in rows)
        self.rows |= {row.passage.id: row for row in rows}

    def drop(self, source: str, *, keep: Iterable[str] = ()) -> int:
        kept = set(keep)
        gone = [row.passage.id for row in self._of([source]) if row.passage.id not in kept]
        for one in gone:
            del self.rows[one]
        return len(gone)

    def videos(self) -> list[Video]:
        return sorted(self.listed.values(), key=lambda one: one.source)

    def finish(self, video: Video) -> None:
        self.listed[video.source] = video

    def forget(self, source: str) -> None:
        self.listed.pop(source, None)

    def nearest(self, vector: Sequence[float], most: int, sources: Sequence[str] = ()) -> list[Hit]:
        return sorted(self._hits(vector, sources), key=lambda hit: -(hit.score or 0.0))[:most]

    def matching(self, text: str, vector: Sequence[float], most: int, sources: Sequence[str] = ()) -> list[Hit]:
        words = {word.strip("?.,").lower() for word in text.split()}
        shared = {hit.text: len(words & set(hit.text.lower().split())) for hit in self._hits(vector, sources)}
        found = [hit for hit in self._hits(vector, sources) if shared[hit.text]]
        return sorted(found, key=lambda hit: -shared[hit.text])[:most]

    def refresh(self) -> None:
        self.refreshed += 1

    def _of(self, sources: Sequence[str]) -> list[Row]:
        return [row for row in self.rows.values() if not sources or row.passage.metadata["source"] in sources]

    def _hits(self, vector: Sequence[float], sources: Sequence[str]) -> list[Hit]:
        return [
            Hit(metadata=row.passage.metadata, text=row.passage.text, score=cosine(row.vector, vector))
            for row in self._of(sources)
        ]


def cosine(one: Sequence[float], other: Sequence[float]) -> float:
    """Return the cosine of the angle between two vectors; 0 if one of them has no length."""
    length = math.sqrt(sum(map(operator.mul, one, one)) * sum(map(operator.mul, other, other)))
    return sum(map(operator.mul, one, other)) / length if length else 0.0
