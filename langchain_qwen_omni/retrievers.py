"""Search results → windows of video: `VideoRetriever`, over any vector store or retriever of LangChain.

Which passages belong together is decided in `qwen_omni.retrieval.windows`, for both frameworks.
"""

import asyncio
import copy
import dataclasses
import functools
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from langchain_core.callbacks import AsyncCallbackManagerForRetrieverRun, CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import Runnable
from langchain_core.vectorstores import VectorStore
from pydantic import ConfigDict, Field

from langchain_qwen_omni._errors import as_langchain_errors
from langchain_qwen_omni.document_loaders import to_document
from qwen_omni.errors import ConfigurationError
from qwen_omni.integrations.model_fields import check_names, described
from qwen_omni.retrieval.windows import Hit, Window, WindowOptions, left_out_text, to_passage

_DEFAULTS = WindowOptions()

# ruff: noqa: ANN401, A002  (LangChain passes any keyword of `invoke` on; its stores take a filter)


@described
class VideoRetriever(BaseRetriever):
    """Finds the windows of videos that answer a question, in any store of the video loader's documents.

    Passages that belong together become one window, each event appears once, and windows with several good passages
    come first. The documents have the same metadata as those of the loader, and the score of their best passage as
    `score`; `clip(document)` is the window, ready to be asked about.

    Documents in the store that name no time range of a video are left out with a warning. `invoke` takes the numbers,
    too, for one question: `retriever.invoke(question, k=1)`.

    Example:
        from langchain_qwen_omni import VideoRetriever, clip

        retriever = VideoRetriever(store=store, search_kwargs={"filter": {"source": "talk.mp4"}})
        for window in retriever.invoke("When is the tent put up?"):
            print(window.metadata["url"], window.page_content)
    """

    store: Any
    """A vector store, or a retriever: an ensemble, a store's hybrid search, …"""
    search_kwargs: dict[str, Any] = Field(default_factory=dict)
    """Passed to the vector store's search: a filter, for example."""
    k: int = _DEFAULTS.k
    """Maximum number of windows."""
    fetch_k: int = _DEFAULTS.fetch_k
    """Passages to ask the vector store for; several become one window. A retriever has its own number."""
    seconds: float = _DEFAULTS.seconds
    """Longest window, unless a single passage is longer."""
    per_video: int = _DEFAULTS.per_video
    """Maximum number of windows of one video."""
    gap: float = _DEFAULTS.gap
    """Passages no more than this many seconds apart are neighbours."""
    words: bool = _DEFAULTS.words
    """Whether passages that share rare words with the question move up. Off by default with `hybrid`."""
    hybrid: bool = False
    """Whether the store itself compares words as well as vectors: Qdrant with sparse vectors, or LanceDB with a
    full-text index. Other stores are refused; a retriever has its own search."""

    model_config = ConfigDict(arbitrary_types_allowed=True, extra="forbid")

    def model_post_init(self, context: object, /) -> None:
        """Check the store and the numbers; nothing is searched yet."""
        super().model_post_init(context)
        with as_langchain_errors():
            if not isinstance(self.store, VectorStore | Runnable):
                what = type(self.store).__name__
                raise ConfigurationError(f"store must be a vector store or a retriever, not {what}.")
            self._options({})
            if self.hybrid:
                hybrid_search(self.store)

    def _options(self, given: Mapping[str, Any]) -> WindowOptions:
        """Return the options of a call: the fields, and what `invoke` was given instead of some."""
        check_names(given, [one.name for one in dataclasses.fields(WindowOptions)], "VideoRetriever.invoke")
        fields = {one.name: getattr(self, one.name) for one in dataclasses.fields(WindowOptions)}
        if self.hybrid and "words" not in self.model_fields_set:
            fields["words"] = False
        return WindowOptions(**{**fields, **given})

    def _asked(self, options: WindowOptions) -> dict[str, Any]:
        return {"k": options.fetch_k, **self.search_kwargs}

    def _get_relevant_documents(
        self, query: str, *, run_manager: CallbackManagerForRetrieverRun, **options: Any
    ) -> list[Document]:
        with as_langchain_errors():
            chosen = self._options(options)
        if not isinstance(self.store, VectorStore):
            return _windows(query, chosen, self.store.invoke(query, {"callbacks": run_manager.get_child()}))
        asked = self._asked(chosen)
        if self.hybrid:
            with as_langchain_errors():
                scored = hybrid_search(self.store)(query, **asked)
            return _windows(query, chosen, *zip(*scored, strict=True))
        try:
            scored = self.store.similarity_search_with_score(query, **asked)
        except NotImplementedError:  # not every store has scores
            return _windows(query, chosen, self.store.similarity_search(query, **asked))
        return _windows(query, chosen, *zip(*scored, strict=True))

    async def _aget_relevant_documents(
        self, query: str, *, run_manager: AsyncCallbackManagerForRetrieverRun, **options: Any
    ) -> list[Document]:
        with as_langchain_errors():
            chosen = self._options(options)
        if not isinstance(self.store, VectorStore):
            return _windows(query, chosen, await self.store.ainvoke(query, {"callbacks": run_manager.get_child()}))
        asked = self._asked(chosen)
        if self.hybrid:
            with as_langchain_errors():
                scored = await asyncio.to_thread(hybrid_search(self.store), query, **asked)
            return _windows(query, chosen, *zip(*scored, strict=True))
        try:
            scored = await self.store.asimilarity_search_with_score(query, **asked)
        except NotImplementedError:
            return _windows(query, chosen, await self.store.asimilarity_search(query, **asked))
        return _windows(query, chosen, *zip(*scored, strict=True))


Scored = list[tuple[Document, float]]


def hybrid_search(store: object) -> Callable[..., Scored]:
    """Return the hybrid search of a store: documents with scores for a question, the best ones first.

    Raises:
        ConfigurationError: the store has none, or none that is supported.
    """
    mode = getattr(store, "retrieval_mode", None)  # of Qdrant
    if mode is not None:
        if str(getattr(mode, "value", mode)) != "hybrid":
            if getattr(store, "_sparse_embeddings", None) is None:
                raise ConfigurationError(
                    "hybrid=True needs sparse vectors: make the QdrantVectorStore with sparse_embedding= and "
                    "retrieval_mode=RetrievalMode.HYBRID."
                )
            store = copy.copy(store)
            store.retrieval_mode = type(mode)("hybrid")  # type: ignore[attr-defined]
        found: Callable[..., Scored] = store.similarity_search_with_score  # type: ignore[attr-defined]
        return found
    if isinstance(store, VectorStore) and callable(getattr(store, "get_table", None)):
        return functools.partial(_search_lancedb, store)
    what = type(store).__name__
    raise ConfigurationError(
        f"hybrid=True supports Qdrant and LanceDB, not {what}. Pass a retriever with the store's own hybrid "
        "search as store, with words=False."
    )


def _search_lancedb(
    store: Any, query: str, *, k: int, filter: str | None = None, prefilter: bool = True, **others: Any
) -> Scored:
    """Search a LanceDB store by vectors and words; `langchain-community`'s own hybrid query fails with lancedb 0.40."""
    check_names(others, ["k", "filter", "prefilter"], "The hybrid search of LanceDB")
    table = store.get_table()
    if not any("FTS" in str(one.index_type).upper() for one in table.list_indices()):
        raise ConfigurationError(
            "hybrid=True needs a full-text index of the LanceDB table: store.get_table().create_fts_index('text')."
        )
    vector = store.embeddings.embed_query(query)
    asked = table.search(query_type="hybrid").vector(vector).text(query).limit(k)
    found = asked.where(filter, prefilter=prefilter) if filter else asked
    scored: Scored = store.results_to_docs(found.to_arrow(), score=True)
    return scored


def _windows(
    query: str, options: WindowOptions, documents: Sequence[Document] = (), scores: Sequence[float] | None = None
) -> list[Document]:
    hits = [
        Hit(metadata=one.metadata, text=one.page_content, score=None if scores is None else float(scores[at]))
        for at, one in enumerate(documents)
    ]
    lost = left_out_text(hits)
    if lost:
        warnings.warn(lost, UserWarning, stacklevel=2)
    return [window_document(window) for window in options.windows(query, hits)]


def window_document(window: Window) -> Document:
    """Convert a window to a document with the metadata of the loader's documents, and its `score` if it has one."""
    document = to_document(to_passage(window))
    if window.score is not None:
        document.metadata["score"] = window.score
    return document
