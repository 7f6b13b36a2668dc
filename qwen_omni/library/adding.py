"""One call of `add`: what is asked of its drivers, what it has done so far, and the outcome of each video.

`VideoLibrary` writes the decisions as a generator; a driver in threads and one in `asyncio` read and embed.
"""

import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from qwen_omni.errors import UnreadableMediaError
from qwen_omni.library.sources import name_of
from qwen_omni.library.store import Video
from qwen_omni.media.files.find import UNREADABLE
from qwen_omni.video.engine.run import OnProgress, Progress

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Added:
    """The outcome of a video that was added.

    Attributes:
        source: its path.
        passages: how many passages it has.
        embedded: how many of them were embedded now; the others were known.
        removed: how many passages of an earlier version were removed.
        unchanged: whether it was in the library already, so that nothing was done.
        gaps: segments that could not be described; adding the video again tries them again.
        error: why it was left out; `None` if it was not.
    """

    source: str
    passages: int = 0
    embedded: int = 0
    removed: int = 0
    unchanged: bool = False
    gaps: int = 0
    error: Exception | None = None


@dataclass(frozen=True, slots=True)
class Read:
    """The next passages of the video to read; its outcome is a list, which is empty at the end."""


@dataclass(frozen=True, slots=True)
class Embed:
    """Texts to embed; its outcome is a vector for each."""

    texts: Sequence[str]


AddStep = Read | Embed


class GapCount:
    """Counts segments that could not be described, and passes progress on."""

    def __init__(self, on_progress: OnProgress | None) -> None:
        self.count = 0
        self._on_progress = on_progress

    def __call__(self, news: Progress) -> None:
        """Take an event of the run that describes a video."""
        self.count += news.kind == "gap"
        if self._on_progress is not None:
            self._on_progress(news)


class Turns:
    """Tracks which videos are being added: only a task that adds a new video alone need not look for older rows."""

    def __init__(self) -> None:
        self._begun: Counter[str] = Counter()
        self._ended: Counter[str] = Counter()

    @contextlib.contextmanager
    def begun(self, name: str) -> Iterator[Callable[[], bool]]:
        """Yield a check of whether no other task was adding the video at the start, or has begun to since."""
        self._begun[name] += 1
        turn, alone = self._begun[name], self._ended[name] == self._begun[name] - 1
        try:
            yield lambda: alone and self._begun[name] == turn
        finally:
            self._ended[name] += 1


@dataclass(slots=True)
class AddRun:
    """The state of one call.

    Attributes:
        sources: the files, as they were found.
        known: the videos that the library held before, by name.
        skips: whether files that cannot be read are left out.
        outcomes: of the sources so far.
        done: the outcomes of videos that were added, by name; a source may be another path to one of them.
    """

    sources: Sequence[str]
    known: dict[str, Video]
    skips: bool
    outcomes: list[Added] = field(default_factory=list)
    done: dict[str, Added] = field(default_factory=dict)

    def note(self, one: Added) -> None:
        """Record the outcome of the next source."""
        self.outcomes.append(one)
        if one.error is None:
            self.done.setdefault(one.source, one)

    @contextlib.contextmanager
    def leaving_out(self, source: str) -> Iterator[None]:
        """Record a file that cannot be read as left out; raise if the caller does not skip such files."""
        try:
            yield
        except UNREADABLE as error:
            if not self.skips:
                raise
            with contextlib.suppress(UnreadableMediaError):
                source = name_of(source)
            self.note(Added(source=source, error=error))

    @property
    def wrote(self) -> bool:
        """Whether the library changed."""
        return any(one.error is None and not one.unchanged for one in self.outcomes)


async def taken(coming: AsyncIterator[T], most: int) -> list[T]:
    """Return up to `most` further items; the iterator stays open."""
    found: list[T] = []
    while len(found) < most:
        try:
            found.append(await anext(coming))
        except StopAsyncIteration:
            break
    return found
