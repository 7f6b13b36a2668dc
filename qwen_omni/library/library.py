"""`VideoLibrary`: an index over many videos and recordings in a local folder, searched by meaning and by words.

Adding a video makes its notes, passages of them, and a vector for each. Notes are stored in checkpoints, vectors in the
library itself, so adding a folder again sends nothing; a video that changed replaces its passages.
"""

import asyncio
import contextlib
import functools
import os
import warnings
from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

from qwen_omni.client import OmniClient
from qwen_omni.errors import ConfigurationError, SpendLimitError, UnreadableMediaError
from qwen_omni.library.answers import DEFAULT_ASK, AskOptions, LibraryAnswer
from qwen_omni.library.ask import LibraryProgress, OnLibraryProgress, ask_library, content_digest, stream_library
from qwen_omni.library.embeddings import Embedding, as_embedding
from qwen_omni.library.store import LanceStore, PassageStore, Row, Stamp, Video
from qwen_omni.media.files.find import UNREADABLE, OnError, Sources, find_media
from qwen_omni.ranges import checked
from qwen_omni.redact import redact
from qwen_omni.retrieval.index import PassageOptions, iter_passages
from qwen_omni.retrieval.passages import Passage
from qwen_omni.retrieval.windows import MOST_WINDOWS, WINDOW_COUNT, WINDOW_SECONDS, Hit, Window, WindowOptions
from qwen_omni.settings import Settings
from qwen_omni.video.engine.run import OnProgress, Progress
from qwen_omni.work_store.store import digest

_AT_ONCE = 100  # passages that are embedded and written together: as many are embedded again after a crash
_FOUND_PER_WINDOW, _FEWEST_FOUND = 10, 50
_IN_VERSION = (
    "model", "language", "focus", "detail", "strategy", "single_call_seconds", "segment_seconds", "overlap", "start",
    "end", "audio_track", "thinking", "chat_key",
)  # fmt: skip

WINDOWS_PER_QUESTION = 8
"""Windows that an answer considers by default; fewer of them are watched."""

DEFAULT_PLACE = "library.lance"
DEFAULT_PASSAGES = PassageOptions(mode="captions")
"""A passage of each thing that happens, is said or shown; a search joins them to windows."""


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


class VideoLibrary:
    """An index over many videos and recordings.

    Thread-safe as long as only one thread adds. Several processes may add to a local folder; they write in turn.

    Args:
        place: a folder, which is created; whatever else LanceDB takes (`s3://…`); or a `PassageStore`.
        client: describes the videos; one is made from the environment when it is needed, if not given.
        embedding: the embedding: of LangChain or LlamaIndex, or the name of a model of the service; by default
            text-embedding-v4.
        options: how passages are made.

    Raises:
        ConfigurationError: LanceDB is not installed, the place is a file, or `embedding` is not an embedding.

    Example:
        from qwen_omni import VideoLibrary

        with VideoLibrary("library.lance") as library:
            library.add("talks/")
            for window in library.search("Who mentions the budget?"):
                print(window.source, window.start, window.end, window.text)
    """

    def __init__(
        self,
        place: str | os.PathLike[str] | PassageStore = DEFAULT_PLACE,
        *,
        client: OmniClient | None = None,
        embedding: object | None = None,
        options: PassageOptions = DEFAULT_PASSAGES,
    ) -> None:
        self._store: PassageStore = LanceStore(place) if isinstance(place, str | os.PathLike) else place
        self._place = os.fspath(place) if isinstance(place, str | os.PathLike) else str(getattr(place, "place", ""))
        self._given = place
        self._client, self._owned = client, False
        self._options = options
        self._embedding: Embedding = as_embedding(embedding, None if client is None else client.settings)
        self._held: Stamp | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuilt, (self._given, None if self._owned else self._client, self._embedding, self._options)

    # --- Adding ---

    def add(
        self, sources: Sources, *, on_error: OnError = "raise", on_progress: OnProgress | None = None
    ) -> list[Added]:
        """Add videos and recordings, and return the outcome of each.

        Args:
            sources: files, folders (with everything below them) and patterns.
            on_error: "warn" leaves out a file that cannot be read; errors of the service always raise.
            on_progress: called after every step.

        Raises:
            ConfigurationError: a source is a link, or the library was made with another embedding or by another
                service.
            QwenOmniError: see `qwen_omni.errors`; what was finished is kept, and the next call resumes there.
        """
        return list(self.iter_add(sources, on_error=on_error, on_progress=on_progress))

    def iter_add(
        self, sources: Sources, *, on_error: OnError = "raise", on_progress: OnProgress | None = None
    ) -> Generator[Added, None, None]:
        """Add videos and recordings one after another; yield the outcome of each. See `add`."""
        found = [os.fspath(source) for source in find_media(sources)]
        for source in found:
            _check_local(source)
        known = {video.source: video for video in self._opened().videos()}
        wrote = False
        try:
            for source in found:
                name = source
                try:
                    name = _name_of(source)
                    done = self._added(name, known.get(name), on_progress)
                except UNREADABLE as error:
                    if on_error == "raise":
                        raise
                    yield Added(source=name, error=error)
                    continue
                wrote = wrote or not done.unchanged
                yield done
        finally:
            if wrote:
                self._store.refresh()

    def _added(self, name: str, known: Video | None, on_progress: OnProgress | None) -> Added:
        version = version_of(name, self._options, self.settings)
        if known is not None and known.version == version:
            return Added(source=name, passages=known.passages, unchanged=True)
        gaps = 0

        def count_gaps(news: Progress) -> None:
            nonlocal gaps
            gaps += news.kind == "gap"
            if on_progress is not None:
                on_progress(news)

        vectors = dict(self._store.vectors(name))
        fresh = not vectors
        ids: set[str] = set()
        embedded = 0
        for batch in _in_batches(_each_once(self._passages(name, count_gaps), ids)):
            embedded += self._write(batch, vectors, fresh=fresh)
        removed = self._store.drop(name, keep=ids)
        self._store.finish(Video(source=name, version="" if gaps else version, passages=len(ids)))
        return Added(source=name, passages=len(ids), embedded=embedded, removed=removed, gaps=gaps)

    def _passages(self, name: str, on_progress: OnProgress) -> Iterator[Passage]:
        found = iter_passages(name, name, self._options, client=self.client, on_progress=on_progress)
        with contextlib.closing(found) as passages:
            yield from (passage for passage in passages if passage.text.strip())

    def _write(self, batch: Sequence[Passage], known: dict[str, Sequence[float]], *, fresh: bool) -> int:
        """Embed the texts whose vectors are not `known`, and write all; return how many were embedded."""
        new = list(dict.fromkeys(one.text for one in batch if one.text not in known))
        if new:
            known.update(zip(new, self._embedding.embed_documents(new), strict=True))
        rows = [Row(passage=one, vector=known[one.text]) for one in batch]
        if self._store.stamp() is None:
            self._held = None
            self._store.begin(replace(self._stamp(), dimensions=len(rows[0].vector)))
        self._opened()
        self._check_length(*(row.vector for row in rows))
        self._store.write(rows, fresh=fresh)
        return len(new)

    # --- Searching ---

    def search(
        self, question: str, k: int = 5, *, seconds: float = WINDOW_SECONDS, sources: Iterable[str] = ()
    ) -> list[Window]:
        """Find the windows that answer a question best. Sends the question to the embedding model, and nothing else.

        If the spend limit does not allow even that, words alone are compared, with a warning.

        Args:
            question: in natural language, or words that are said or shown.
            k: windows at most.
            seconds: longest window.
            sources: only this video, or these; all if empty.

        Raises:
            ConfigurationError: the question is empty, k is not at least 1, or the library was made with another
                embedding or by another service.
            QwenOmniError: the embedding model failed.
        """
        k = check_search(question, k)
        vector: list[float] | None = None
        if self._has_passages():
            with _words_at_least() as vector:
                vector[:] = self._embedding.embed_query(question)
        return self._windows(vector, question, k, seconds, sources)

    async def asearch(
        self, question: str, k: int = 5, *, seconds: float = WINDOW_SECONDS, sources: Iterable[str] = ()
    ) -> list[Window]:
        """Find the windows that answer a question best; the asynchronous `search`."""
        k = check_search(question, k)
        vector: list[float] | None = None
        if await asyncio.to_thread(self._has_passages):
            with _words_at_least() as vector:
                vector[:] = await self._embedding.aembed_query(question)
        return await asyncio.to_thread(self._windows, vector, question, k, seconds, sources)

    def _has_passages(self) -> bool:
        return self._opened().stamp() is not None

    def _windows(
        self, vector: Sequence[float] | None, question: str, k: int, seconds: float, sources: Iterable[str]
    ) -> list[Window]:
        if vector is None:
            return []
        if vector:
            self._check_length(vector)
        only = [_name_of(source) for source in ([sources] if isinstance(sources, str) else sources)]
        fetch_k = min(max(k * _FOUND_PER_WINDOW, _FEWEST_FOUND), MOST_WINDOWS)
        options = WindowOptions(k=k, fetch_k=fetch_k, seconds=seconds)
        near = self._store.nearest(vector, options.fetch_k, only) if vector else []
        worded = self._store.matching(question, vector, options.fetch_k, only)
        return options.windows(question, merged(near, worded))

    def ask(
        self,
        question: str,
        *,
        k: int = WINDOWS_PER_QUESTION,
        options: AskOptions = DEFAULT_ASK,
        on_progress: OnLibraryProgress | None = None,
    ) -> LibraryAnswer:
        """Answer a question from the whole library, with the moments that show it; see `ask_library`.

        Args:
            question: in natural language.
            k: windows that are considered.
            options: the models, and how many windows are watched how closely.
            on_progress: called after every step.
        """
        search = functools.partial(self.search, k=k)
        return ask_library(question, search, client=self.client, options=options, on_progress=on_progress)

    def stream(
        self, question: str, *, k: int = WINDOWS_PER_QUESTION, options: AskOptions = DEFAULT_ASK
    ) -> Generator[LibraryProgress | LibraryAnswer, None, None]:
        """Yield progress, with the answer as it arrives, and at last the `LibraryAnswer`."""
        return stream_library(question, functools.partial(self.search, k=k), client=self.client, options=options)

    # --- Contents ---

    def videos(self) -> list[Video]:
        """Return the videos in the library, by path."""
        return self._store.videos()

    def remove(self, source: str | os.PathLike[str]) -> int:
        """Remove a video, or all below a folder; return how many passages were removed.

        The files themselves, and the checkpoints of their notes, are left alone.
        """
        name = _name_of(os.fspath(source))
        gone = [
            one.source for one in self._store.videos() if one.source == name or Path(name) in Path(one.source).parents
        ]
        removed = 0
        for one in dict.fromkeys([*gone, name]):
            removed += self._store.drop(one)
            self._store.forget(one)
        if removed:
            self._store.refresh()
        return removed

    # --- Who answers ---

    @property
    def settings(self) -> Settings:
        """Settings of the service: those of the client, or of the environment."""
        return self._client.settings if self._client is not None else Settings.load(needs_key=False)

    @property
    def client(self) -> OmniClient:
        """The client that describes and watches videos.

        Raises:
            ConfigurationError: none was given, and there is no key in the environment.
        """
        if self._client is None:
            self._client, self._owned = OmniClient(), True
        return self._client

    def _stamp(self) -> Stamp:
        return Stamp(embedding=self._embedding.name, origin=self.settings.origin, dimensions=0)

    def _opened(self) -> PassageStore:
        """Return the store, once it is known to hold what this embedding and this service made."""
        if self._held is None:
            found = self._store.stamp()
            if found is not None:
                check_stamp(self._place, found, self._stamp())
                self._held = found
        return self._store

    def _check_length(self, *vectors: Sequence[float]) -> None:
        """Refuse vectors of another length, which an embedding of the same name may have."""
        wanted = None if self._held is None else self._held.dimensions
        others = [len(vector) for vector in vectors if len(vector) != wanted]
        if wanted is not None and others:
            raise ConfigurationError(
                f"The library {self._place} has vectors of {wanted:,} dimensions, and {self._embedding.name} made one "
                f"of {others[0]:,}. Use the embedding that it was made with, or another library."
            )

    def close(self) -> None:
        """Close the client, if it was made here."""
        if self._owned and self._client is not None:
            self._client.close()
            self._client, self._owned = None, False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _rebuilt(place: Any, client: OmniClient | None, embedding: object, options: PassageOptions) -> VideoLibrary:  # noqa: ANN401
    return VideoLibrary(place, client=client, embedding=embedding, options=options)


def check_stamp(place: str, found: Stamp, wanted: Stamp) -> None:
    """Refuse to mix vectors of several embeddings, or answers of several services.

    Raises:
        ConfigurationError: the library was made with another embedding or by another service.
    """
    if found.embedding != wanted.embedding:
        raise ConfigurationError(
            f"The library {place} was made with the embedding {found.embedding}, not {wanted.embedding}. Use that one, "
            "or add the videos to another library; their notes are stored, and cost nothing again."
        )
    if found.origin != wanted.origin:
        raise ConfigurationError(
            f"The videos in the library {place} were described by {found.origin or 'an unknown service'}, not by "
            f"{wanted.origin}. Use another library for each."
        )


@contextlib.contextmanager
def _words_at_least() -> Iterator[list[float]]:
    """Yield a list for the vector; it stays empty if the spend limit does not allow the embedding."""
    vector: list[float] = []
    try:
        yield vector
    except SpendLimitError:
        vector.clear()
        warnings.warn(
            "The spend limit left no room to embed the question, so only its words were compared.",
            UserWarning,
            stacklevel=4,
        )


def merged(near: Sequence[Hit], worded: Sequence[Hit]) -> list[Hit]:
    """Return the hits of two searches, each once, by their score.

    Example:
        >>> near = [Hit(text="a", metadata={"start": 1.0}, score=0.9), Hit(text="b", metadata={}, score=0.5)]
        >>> [hit.text for hit in merged(near, [near[0], Hit(text="c", metadata={}, score=0.7)])]
        ['a', 'c', 'b']
    """
    each = {(hit.text, *map(hit.metadata.get, ("source", "start", "end"))): hit for hit in (*worded, *near)}
    return sorted(each.values(), key=lambda hit: -(hit.score or 0.0))


def check_search(question: str, k: int) -> int:
    """Check a question and the number of windows.

    Raises:
        ConfigurationError: the question is empty, or k is out of its range.
    """
    if not question.strip():
        raise ConfigurationError("The question is empty. Write what you look for.")
    return int(checked("k", k, WINDOW_COUNT))


def version_of(name: str, options: PassageOptions, settings: Settings) -> str:
    """Return what identifies the content of a file and how its passages are made; reads all of it.

    Raises:
        UnreadableMediaError: it cannot be read.
        LocalResourceError: this machine lacks a resource to read it.
    """
    chosen = {field: getattr(options.summary, field) for field in _IN_VERSION}
    return digest(content_digest(name, settings), options.mode, repr(options.transcript), chosen, settings.origin)


def _name_of(source: str) -> str:
    """Return the name that a video has in a library: its absolute path, so that it is found from any folder.

    Raises:
        ConfigurationError: it is a link.
        UnreadableMediaError: it is not Unicode, which a library cannot store.
    """
    _check_local(source)
    path = Path(source).expanduser().absolute()
    if ".." in path.parts:  # of one file, there is one name
        path = path.parent.resolve() / path.name if path.name != ".." else path.resolve()
    name = str(path)
    try:
        name.encode()
    except UnicodeEncodeError as error:
        raise UnreadableMediaError(f"The name of {path.name!a} is not Unicode. Rename the file.") from error
    return name


def _check_local(source: str) -> None:
    if "://" in source:
        raise ConfigurationError(
            f"{redact(source)} is a link; a library holds local files, so that answers can look at them again. "
            "Download it first."
        )


def _each_once(passages: Iterable[Passage], ids: set[str]) -> Iterator[Passage]:
    """Yield the passages whose ID is not among `ids` yet, and add it."""
    for passage in passages:
        if passage.id not in ids:
            ids.add(passage.id)
            yield passage


def _in_batches(passages: Iterable[Passage]) -> Iterator[list[Passage]]:
    batch: list[Passage] = []
    for passage in passages:
        batch.append(passage)
        if len(batch) == _AT_ONCE:
            yield batch
            batch = []
    if batch:
        yield batch
