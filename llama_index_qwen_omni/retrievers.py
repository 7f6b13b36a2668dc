"""Search results → windows of video: `VideoRetriever` and `VideoWindowPostprocessor`, over any index or retriever.

Which passages belong together is decided in `qwen_omni.retrieval.windows`, for both frameworks.
"""

import warnings
from collections.abc import Sequence
from typing import Any

from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.indices.base import BaseIndex
from llama_index.core.indices.vector_store.base import VectorStoreIndex
from llama_index.core.postprocessor.types import BaseNodePostprocessor
from llama_index.core.schema import MetadataMode, NodeWithScore, QueryBundle
from llama_index.core.vector_stores.types import BasePydanticVectorStore

from llama_index_qwen_omni.readers import to_document
from qwen_omni.errors import ConfigurationError
from qwen_omni.integrations.model_fields import described
from qwen_omni.retrieval.windows import Hit, WindowOptions, left_out_text, to_passage

_DEFAULTS = WindowOptions()


class VideoRetriever(BaseRetriever):
    """Finds the windows of videos that answer a question, in any index of the video reader's nodes.

    Passages that belong together become one window, each event appears once, and windows with several good passages
    come first. The nodes have the same metadata as those of the reader and the score of their best passage;
    `clip(node)` is the window, ready to be asked about. Nodes that name no time range of a video are left out with a
    warning.

    Args:
        store: a vector store, an index, or a retriever.
        k: maximum number of windows.
        fetch_k: passages to ask the index for; several become one window. A retriever has its own number.
        seconds: longest window, unless a single passage is longer.
        per_video: maximum number of windows of one video.
        gap: passages no more than this many seconds apart are neighbours.
        words: whether passages that share rare words with the question move up; on unless the search is hybrid.
        hybrid: whether the store itself compares words as well as vectors: Qdrant with `enable_hybrid`, or LanceDB with
            a full-text index. Others are refused; a retriever has its own search.
        search_kwargs: passed to the index's `as_retriever`: `filters`, `vector_store_query_mode="hybrid"`, …
        embed_model: the embedding model of a vector store; that of LlamaIndex's `Settings` if not given.

    Raises:
        ConfigurationError: a number is out of its range, the store is none of these, or it has no hybrid search.

    Example:
        from llama_index.core.vector_stores import MetadataFilter, MetadataFilters
        from llama_index_qwen_omni import VideoRetriever, clip

        talk = MetadataFilters(filters=[MetadataFilter(key="source", value="talk.mp4")])
        retriever = VideoRetriever(index, search_kwargs={"filters": talk})
        for window in retriever.retrieve("When is the tent put up?"):
            print(window.metadata["url"], window.score, window.text)
    """

    def __init__(  # noqa: PLR0913  (each keyword is a choice of its own)
        self,
        store: BasePydanticVectorStore | BaseIndex[Any] | BaseRetriever,
        *,
        k: int = _DEFAULTS.k,
        fetch_k: int = _DEFAULTS.fetch_k,
        seconds: float = _DEFAULTS.seconds,
        per_video: int = _DEFAULTS.per_video,
        gap: float = _DEFAULTS.gap,
        words: bool | None = None,
        hybrid: bool = False,
        search_kwargs: dict[str, Any] | None = None,
        embed_model: BaseEmbedding | None = None,
    ) -> None:
        """Check the numbers; nothing is searched yet."""
        words = not hybrid if words is None else words
        self.options = WindowOptions(
            k=k, fetch_k=fetch_k, seconds=seconds, per_video=per_video, gap=gap, words=words
        )  # fmt: skip
        if isinstance(store, BasePydanticVectorStore):
            store = VectorStoreIndex.from_vector_store(store, embed_model=embed_model)
        kwargs = {"similarity_top_k": fetch_k, **(search_kwargs or {})}
        if hybrid:
            store, kwargs["vector_store_query_mode"] = with_hybrid(store), "hybrid"
        if isinstance(store, BaseIndex):
            self._passages: BaseRetriever = store.as_retriever(**kwargs)
        elif isinstance(store, BaseRetriever):
            self._passages = store
        else:
            raise ConfigurationError(
                f"store must be a vector store, an index or a retriever, not {type(store).__name__}."
            )
        super().__init__()

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        try:
            found = self._passages.retrieve(query_bundle)
        except Warning as nothing:
            found = _nothing_found(nothing)
        return to_window_nodes(query_bundle.query_str, found, self.options)

    async def _aretrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        try:
            found = await self._passages.aretrieve(query_bundle)
        except Warning as nothing:
            found = _nothing_found(nothing)
        return to_window_nodes(query_bundle.query_str, found, self.options)


def with_hybrid(index: object) -> BaseIndex[Any]:
    """Return an index whose store compares words as well as vectors.

    Raises:
        ConfigurationError: the store has no hybrid search, or none that is supported.
    """
    if not isinstance(index, VectorStoreIndex):
        raise ConfigurationError(
            f"hybrid=True needs a vector store or an index of one, not {type(index).__name__}: a retriever has its own "
            "search."
        )
    store: Any = index.vector_store
    fields = type(store).model_fields if isinstance(store, BasePydanticVectorStore) else {}
    if "enable_hybrid" in fields:  # of Qdrant
        if not store.enable_hybrid:
            raise ConfigurationError(
                "hybrid=True needs sparse vectors: make the QdrantVectorStore with enable_hybrid=True."
            )
        return index
    if "query_type" in fields:  # of LanceDB, which knows no mode of a query
        if store.query_type == "hybrid":
            return index
        hybrid = store.model_copy(update={"query_type": "hybrid"})
        return VectorStoreIndex.from_vector_store(hybrid, embed_model=index._embed_model)  # noqa: SLF001  (has no other name)
    raise ConfigurationError(
        f"hybrid=True supports Qdrant and LanceDB, not {type(store).__name__}. If the store has hybrid search of its "
        'own, pass words=False and search_kwargs={"vector_store_query_mode": "hybrid"}.'
    )


@described
class VideoWindowPostprocessor(BaseNodePostprocessor):
    """Joins the nodes that a query engine retrieved into windows of video, before they reach the prompt.

    For an engine whose retriever is fixed; `VideoRetriever` does the same for a retriever. Retrieve more nodes than
    windows are wanted: `index.as_query_engine(similarity_top_k=40, node_postprocessors=[…])`.

    Example:
        from llama_index_qwen_omni import VideoWindowPostprocessor

        engine = index.as_query_engine(similarity_top_k=40, node_postprocessors=[VideoWindowPostprocessor(k=3)])
        print(engine.query("When is the tent put up?"))
    """

    k: int = _DEFAULTS.k
    """Maximum number of windows."""
    seconds: float = _DEFAULTS.seconds
    """Longest window, unless a single passage is longer."""
    per_video: int = _DEFAULTS.per_video
    """Maximum number of windows of one video."""
    gap: float = _DEFAULTS.gap
    """Passages no more than this many seconds apart are neighbours."""
    words: bool = _DEFAULTS.words
    """Whether passages that share rare words with the question move up; there must be a question."""

    def model_post_init(self, context: object, /) -> None:
        """Check the numbers."""
        super().model_post_init(context)
        self._options()

    def _options(self) -> WindowOptions:
        return WindowOptions(
            k=self.k, seconds=self.seconds, per_video=self.per_video, gap=self.gap, words=self.words
        )  # fmt: skip

    @classmethod
    def class_name(cls) -> str:
        """Return the class name, as LlamaIndex's stores use it."""
        return "VideoWindowPostprocessor"

    def _postprocess_nodes(
        self, nodes: list[NodeWithScore], query_bundle: QueryBundle | None = None
    ) -> list[NodeWithScore]:
        return to_window_nodes("" if query_bundle is None else query_bundle.query_str, nodes, self._options())


def to_window_nodes(question: str, found: Sequence[NodeWithScore], options: WindowOptions) -> list[NodeWithScore]:
    """Convert the passages found, best first, to windows with their score."""
    hits = [
        Hit(metadata=one.node.metadata, text=one.node.get_content(MetadataMode.NONE), score=one.score) for one in found
    ]
    lost = left_out_text(hits)
    if lost:
        warnings.warn(lost, UserWarning, stacklevel=2)
    windows = options.windows(question, hits)
    return [NodeWithScore(node=to_document(to_passage(one), None), score=one.score) for one in windows]


def _nothing_found(warning: Warning) -> list[NodeWithScore]:
    """Return no nodes for the warning that LlamaIndex's LanceDB store raises instead of an empty result."""
    if "query results are empty" not in str(warning):
        raise warning
    return []
