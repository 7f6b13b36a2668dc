"""`VideoLibrary`: an index over many videos and recordings in a local folder, searched by meaning and by words.

Adding a video makes its notes, passages of them, and a vector for each. Notes are stored in checkpoints, vectors in the
library itself, so adding a folder again sends nothing; a video that changed replaces its passages.
"""

import asyncio
import contextlib
import functools
import itertools
import os
import warnings
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

from qwen_omni.client import AsyncOmniClient, OmniClient
from qwen_omni.errors import ConfigurationError, SpendLimitError
from qwen_omni.library.adding import Added, AddRun, AddStep, Embed, GapCount, Read, Turns, taken
from qwen_omni.library.answers import DEFAULT_ASK, AskOptions, LibraryAnswer, WordMatches, check_question
from qwen_omni.library.ask import (
    LibraryProgress,
    OnLibraryProgress,
    aask_library,
    ask_library,
    astream_library,
    content_digest,
    stream_library,
)
from qwen_omni.library.embeddings import Embedding, aembedded, as_embedding
from qwen_omni.library.sources import check_local, matching, name_of, selected
from qwen_omni.library.store import LanceStore, PassageStore, Row, Stamp, Video
from qwen_omni.media.files.find import OnError, Source, Sources, find_media, named_apart
from qwen_omni.ranges import check_options, checked
from qwen_omni.retrieval.index import PassageOptions, aiter_passages, iter_passages
from qwen_omni.retrieval.passages import Passage
from qwen_omni.retrieval.windows import MOST_WINDOWS, WINDOW_COUNT, WINDOW_SECONDS, Hit, Window, WindowOptions
from qwen_omni.settings import Settings
from qwen_omni.transport.flow import adrive, drive
from qwen_omni.video.engine.run import OnProgress
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


class VideoLibrary:
    """An index over many videos and recordings.

    Thread-safe as long as only one thread adds; tasks of one event loop may add at once. Several processes may add to a
    local folder; they write in turn. Let only one process at a time add to a bucket.

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
        check_options(options, PassageOptions)
        self._store: PassageStore = LanceStore(place) if isinstance(place, str | os.PathLike) else place
        self._place = os.fspath(place) if isinstance(place, str | os.PathLike) else str(getattr(place, "place", ""))
        self._given = place
        self._client, self._owned = client, False
        self._async_client: AsyncOmniClient | None = None
        self._options = options
        self._embedding: Embedding = as_embedding(embedding, None if client is None else client.settings)
        self._held: Stamp | None = None
        self._turns = Turns()

    def __reduce__(self) -> tuple[Any, ...]:
        client = None if self._owned else self._client  # connections stay with the process that opened them
        made = functools.partial(VideoLibrary, client=client, embedding=self._embedding, options=self._options)
        return made, (self._given,)

    # --- Adding ---

    def add(
        self, sources: Sources, *, on_error: OnError = "raise", on_progress: OnProgress | None = None
    ) -> list[Added]:
        """Add videos and recordings, and return the outcome of each.

        Args:
            sources: files, folders (with everything below them) and patterns. A file that is named twice, or by
                symbolic links, is one video.
            on_error: "warn" leaves out a file that cannot be read; errors of the service always raise.
            on_progress: called after every step.

        Raises:
            ConfigurationError: a source is a link to another machine, or the library was made with another embedding or
                by another service.
            StoreError: other programs kept writing to the library; what was written is kept, and the same call goes on.
            QwenOmniError: see `qwen_omni.errors`; what was finished is kept, and the next call resumes there.
        """
        return list(self.iter_add(sources, on_error=on_error, on_progress=on_progress))

    async def aadd(
        self, sources: Sources, *, on_error: OnError = "raise", on_progress: OnProgress | None = None
    ) -> list[Added]:
        """Add videos and recordings; the asynchronous `add`."""
        async with contextlib.aclosing(self.aiter_add(sources, on_error=on_error, on_progress=on_progress)) as coming:
            return [one async for one in coming]

    def iter_add(
        self, sources: Sources, *, on_error: OnError = "raise", on_progress: OnProgress | None = None
    ) -> Generator[Added, None, None]:
        """Add videos and recordings one after another; yield the outcome of each. See `add`."""
        run = self._listed(sources, on_error)
        try:
            for source in run.sources:
                with run.leaving_out(source):
                    run.note(self._add_one(run, name_of(source), on_progress))
                yield run.outcomes[-1]
        finally:
            if run.wrote:
                self._store.refresh()

    async def aiter_add(
        self, sources: Sources, *, on_error: OnError = "raise", on_progress: OnProgress | None = None
    ) -> AsyncGenerator[Added, None]:
        """Add videos one after another; the asynchronous `iter_add`. Close it with `contextlib.aclosing`."""
        run = await asyncio.to_thread(self._listed, sources, on_error)
        try:
            for source in run.sources:
                with run.leaving_out(source):
                    run.note(await self._aadd_one(run, name_of(source), on_progress))
                yield run.outcomes[-1]
        finally:
            if run.wrote:
                await asyncio.to_thread(self._store.refresh)

    def _listed(self, sources: Sources, on_error: OnError) -> AddRun:
        if on_error not in ("raise", "warn"):
            raise ConfigurationError(f"on_error must be 'raise' or 'warn', got {on_error!r}.")
        wanted = named_apart(sources)
        check_local(wanted)
        found = [os.fspath(source) for source in find_media(wanted)]
        known = {video.source: video for video in self._opened().videos()}
        return AddRun(found, known, skips=on_error == "warn")

    def _add_one(self, run: AddRun, name: str, on_progress: OnProgress | None) -> Added:
        gaps = GapCount(on_progress)
        with contextlib.ExitStack() as closing:
            coming: Iterator[Passage] | None = None

            def perform(step: AddStep) -> Any:  # noqa: ANN401  (the outcome of any step)
                nonlocal coming
                if isinstance(step, Embed):
                    return self._embedding.embed_documents(step.texts)
                if coming is None:
                    found = iter_passages(name, name, self._options, client=self.client, on_progress=gaps)
                    coming = closing.enter_context(contextlib.closing(found))
                return list(itertools.islice(coming, _AT_ONCE))

            return drive(self._adding(run, name, gaps), perform)

    async def _aadd_one(self, run: AddRun, name: str, on_progress: OnProgress | None) -> Added:
        gaps = GapCount(on_progress)
        async with contextlib.AsyncExitStack() as closing:
            coming: AsyncIterator[Passage] | None = None

            async def perform(step: AddStep) -> Any:  # noqa: ANN401
                nonlocal coming
                if isinstance(step, Embed):
                    return await aembedded(self._embedding, step.texts)
                if coming is None:
                    found = aiter_passages(name, name, self._options, client=self.aclient, on_progress=gaps)
                    coming = await closing.enter_async_context(contextlib.aclosing(found))
                return await taken(coming, _AT_ONCE)

            return await adrive(self._adding(run, name, gaps), perform, blocking=True)

    def _adding(self, run: AddRun, name: str, gaps: GapCount) -> Generator[AddStep, Any, Added]:
        """Add one video: yield what to read and to embed, and write what comes of it."""
        done = run.done.get(name)
        if done is not None:
            return replace(done, embedded=0, removed=0, gaps=0, unchanged=True)
        known, version = run.known.get(name), version_of(name, self._options, self.settings)
        if known is not None and known.version == version:
            return Added(source=name, passages=known.passages, unchanged=True)
        with self._turns.begun(name) as alone:
            passages, embedded, removed = yield from self._replacing(name, alone)
        self._store.finish(Video(source=name, version="" if gaps.count else version, passages=passages))
        return Added(source=name, passages=passages, embedded=embedded, removed=removed, gaps=gaps.count)

    def _replacing(self, name: str, alone: Callable[[], bool]) -> Generator[AddStep, Any, tuple[int, int, int]]:
        """Write the passages of a video, remove older ones; return how many it has, were embedded and removed."""
        vectors = dict(self._store.vectors(name))
        fresh, embedded = not vectors, 0
        ids: set[str] = set()
        while passages := (yield Read()):
            batch = list({one.id: one for one in passages if one.text.strip() and one.id not in ids}.values())
            ids.update(one.id for one in batch)
            new = list(dict.fromkeys(one.text for one in batch if one.text not in vectors))
            if new:
                vectors.update(zip(new, (yield Embed(new)), strict=True))
                embedded += len(new)
            if batch:
                self._write(batch, vectors, fresh=fresh and alone())
        return len(ids), embedded, self._store.drop(name, keep=ids)

    def _write(self, batch: Sequence[Passage], vectors: dict[str, Sequence[float]], *, fresh: bool) -> None:
        rows = [Row(passage=one, vector=vectors[one.text]) for one in batch]
        if self._store.stamp() is None:
            self._held = None
            self._store.begin(replace(self._stamp(), dimensions=len(rows[0].vector)))
        self._opened()
        self._check_length(*(row.vector for row in rows))
        self._store.write(rows, fresh=fresh)

    # --- Searching ---

    def search(
        self, question: str, k: int = 5, *, seconds: float = WINDOW_SECONDS, sources: Sources = ()
    ) -> list[Window]:
        """Find the windows that answer a question best. Sends the question to the embedding model, and nothing else.

        If the spend limit does not allow even that, words alone are compared, with a warning.

        Args:
            question: in natural language, or words that are said or shown.
            k: windows at most.
            seconds: longest window.
            sources: only these videos, folders and patterns; the whole library if empty.

        Raises:
            ConfigurationError: the question is empty, k is not at least 1, the library holds nothing of a source, or it
                was made with another embedding or by another service.
            QwenOmniError: the embedding model failed.
        """
        return _warned(self.windows(question, k, seconds=seconds, sources=sources))

    async def asearch(
        self, question: str, k: int = 5, *, seconds: float = WINDOW_SECONDS, sources: Sources = ()
    ) -> list[Window]:
        """Find the windows that answer a question best; the asynchronous `search`."""
        return _warned(await self.awindows(question, k, seconds=seconds, sources=sources))

    def windows(
        self, question: str, k: int = 5, *, seconds: float = WINDOW_SECONDS, sources: Sources = ()
    ) -> list[Window]:
        """Find the windows that answer a question best, as `search` does, and give no warning.

        For callers that show what they get: if words alone were compared, it is `WordMatches`, whose `notice` says so.
        """
        query = self._query(question, k, seconds, sources)
        if query.empty:
            return []
        try:
            return self._windows(query, self._embedding.embed_query(question))
        except SpendLimitError as error:
            return WordMatches(self._windows(query, []), error)

    async def awindows(
        self, question: str, k: int = 5, *, seconds: float = WINDOW_SECONDS, sources: Sources = ()
    ) -> list[Window]:
        """Find the windows that answer a question best; the asynchronous `windows`."""
        query = await asyncio.to_thread(self._query, question, k, seconds, sources)
        if query.empty:
            return []
        try:
            vector = await self._embedding.aembed_query(question)
        except SpendLimitError as error:
            return WordMatches(await asyncio.to_thread(self._windows, query, []), error)
        return await asyncio.to_thread(self._windows, query, vector)

    def _query(self, question: str, k: int, seconds: float, sources: Sources) -> "_Query":
        """Check a search, before anything is paid for."""
        k = check_search(question, k)
        fetch_k = min(max(k * _FOUND_PER_WINDOW, _FEWEST_FOUND), MOST_WINDOWS)
        options = WindowOptions(k=k, fetch_k=fetch_k, seconds=seconds)
        return _Query(question, options, self._selected(sources), empty=self._opened().stamp() is None)

    def _selected(self, sources: Sources) -> list[str]:
        """Return the videos that sources select; none if all."""
        wanted = named_apart(sources)
        if not wanted:
            return []
        held = [one.source for one in self._store.videos()]
        unfinished = [name for name in map(name_of, wanted) if name not in held and self._store.vectors(name)]
        return selected(wanted, [*held, *unfinished], self._place)

    def _windows(self, query: "_Query", vector: Sequence[float]) -> list[Window]:
        if vector:
            self._check_length(vector)
        most = query.options.fetch_k
        near = self._store.nearest(vector, most, query.sources) if vector else []
        worded = self._store.matching(query.question, vector, most, query.sources)
        return query.options.windows(query.question, merged(near, worded))

    # --- Asking ---

    def ask(
        self,
        question: str,
        *,
        k: int = WINDOWS_PER_QUESTION,
        sources: Sources = (),
        options: AskOptions = DEFAULT_ASK,
        on_progress: OnLibraryProgress | None = None,
    ) -> LibraryAnswer:
        """Answer a question from the library, with the moments that show it; see `ask_library`.

        Args:
            question: in natural language.
            k: windows that are considered.
            sources: only these videos, folders and patterns; the whole library if empty.
            options: the models, and how many windows are watched how closely.
            on_progress: called after every step.
        """
        search = functools.partial(self.windows, k=k, sources=sources)
        return ask_library(question, search, client=self.client, options=options, on_progress=on_progress)

    async def aask(
        self,
        question: str,
        *,
        k: int = WINDOWS_PER_QUESTION,
        sources: Sources = (),
        options: AskOptions = DEFAULT_ASK,
        on_progress: OnLibraryProgress | None = None,
    ) -> LibraryAnswer:
        """Answer a question from the library; the asynchronous `ask`."""
        search = functools.partial(self.awindows, k=k, sources=sources)
        return await aask_library(question, search, client=self.aclient, options=options, on_progress=on_progress)

    def stream(
        self,
        question: str,
        *,
        k: int = WINDOWS_PER_QUESTION,
        sources: Sources = (),
        options: AskOptions = DEFAULT_ASK,
    ) -> Generator[LibraryProgress | LibraryAnswer, None, None]:
        """Yield progress, with the answer as it arrives, and finally the `LibraryAnswer`; see `ask`."""
        search = functools.partial(self.windows, k=k, sources=sources)
        return stream_library(question, search, client=self.client, options=options)

    def astream(
        self,
        question: str,
        *,
        k: int = WINDOWS_PER_QUESTION,
        sources: Sources = (),
        options: AskOptions = DEFAULT_ASK,
    ) -> AsyncGenerator[LibraryProgress | LibraryAnswer, None]:
        """Yield progress, then the answer; the asynchronous `stream`. Close it with `contextlib.aclosing`."""
        search = functools.partial(self.awindows, k=k, sources=sources)
        return astream_library(question, search, client=self.aclient, options=options)

    # --- Contents ---

    def check(self) -> None:
        """Check that the library can be searched with this embedding and this service. An empty library always passes.

        Raises:
            ConfigurationError: it was made with another embedding or by another service, or belongs to another program.
        """
        self._held = None
        self._opened()

    def videos(self) -> list[Video]:
        """Return the videos in the library, by path."""
        return self._store.videos()

    async def avideos(self) -> list[Video]:
        """Return the videos in the library; the asynchronous `videos`."""
        return await asyncio.to_thread(self.videos)

    def remove(self, source: str | os.PathLike[str]) -> int:
        """Remove a video, all below a folder, or those that match a pattern; return how many passages were removed.

        The files themselves, and the checkpoints of their notes, are left alone.
        """
        gone = matching(source, [one.source for one in self._store.videos()])
        removed = 0
        for one in gone or [name_of(source)]:  # a video whose adding was interrupted is in no list
            removed += self._store.drop(one)
            self._store.forget(one)
        if removed:
            self._store.refresh()
        return removed

    async def aremove(self, source: str | os.PathLike[str]) -> int:
        """Remove videos; the asynchronous `remove`."""
        return await asyncio.to_thread(self.remove, source)

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

    @property
    def aclient(self) -> AsyncOmniClient:
        """The client of the asynchronous methods, with the settings of `client`. `aclose` closes it.

        Raises:
            ConfigurationError: there is no key.
        """
        if self._async_client is None:
            self._async_client = AsyncOmniClient(self.settings)
        return self._async_client

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

    async def aclose(self) -> None:
        """Close the connections of the running event loop, and the client, if it was made here."""
        if self._async_client is not None:
            await self._async_client.aclose()
        await asyncio.to_thread(self.close)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()


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
            f"The videos in the library {place} were described by {found.origin or 'an unknown service'}, and the "
            f"current service is {wanted.origin}. Use a separate library for each service."
        )


@dataclass(frozen=True, slots=True)
class _Query:
    """A search that was checked; `empty` if there is nothing to search."""

    question: str
    options: WindowOptions
    sources: Sequence[str]
    empty: bool


def _warned(windows: list[Window]) -> list[Window]:
    """Return the windows, with a warning if only words were compared."""
    if isinstance(windows, WordMatches):
        warnings.warn(windows.notice, UserWarning, stacklevel=3)
    return windows


def merged(near: Sequence[Hit], worded: Sequence[Hit]) -> list[Hit]:
    """Return the hits of two searches, each once, by their score.

    Example:
        >>> near = [Hit(text="a", metadata={"start": 1.0}, score=0.9), Hit(text="b", metadata={}, score=0.5)]
        >>> [hit.text for hit in merged(near, [near[0], Hit(text="c", metadata={}, score=0.7)])]
        ['a', 'c', 'b']
    """
    each = {(hit.text, *map(hit.metadata.get, ("source", "start", "end"))): hit for hit in (*worded, *near)}
    return sorted(each.values(), key=lambda hit: -(hit.score or 0.0))


def limited_to(search: object, sources: Sources) -> tuple[Source, ...]:
    """Return the sources that a chain or an engine is limited to.

    Args:
        search: a library, or a retriever of a framework.
        sources: videos, folders and patterns of the library.

    Raises:
        ConfigurationError: the search is not a library, so that sources would be ignored.
    """
    wanted = named_apart(sources)
    if wanted and not isinstance(search, VideoLibrary):
        raise ConfigurationError(
            "sources= selects videos of a VideoLibrary, and the search is a retriever. Give it a filter on `source`."
        )
    return wanted


def check_search(question: str, k: int) -> int:
    """Check a question and the number of windows.

    Raises:
        ConfigurationError: the question is empty or not text, or k is out of its range.
    """
    check_question(question, "Write what you are looking for.")
    return int(checked("k", k, WINDOW_COUNT))


def version_of(name: str, options: PassageOptions, settings: Settings) -> str:
    """Return what identifies the content of a file and how its passages are made; reads all of it.

    Raises:
        UnreadableMediaError: it cannot be read.
        LocalResourceError: this machine lacks a resource to read it.
    """
    chosen = {field: getattr(options.summary, field) for field in _IN_VERSION}
    return digest(content_digest(name, settings), options.mode, repr(options.transcript), chosen, settings.origin)
