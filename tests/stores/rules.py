"""What holds in every store, in either framework; `test_stores.py` runs it in the virtualenv that has the stores.

One shop for each store and framework adds, searches and deletes through the framework's own integration. Embeddings are
words with a place each, so that no model is needed.
"""
# ruff: noqa: D101, D102  (methods are documented in `Shop`)

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import chromadb
import lancedb
import pytest
from langchain_chroma import Chroma
from langchain_community.vectorstores import LanceDB
from langchain_core.documents import Document
from langchain_core.indexing import InMemoryRecordManager, index
from langchain_qdrant import QdrantVectorStore, RetrievalMode
from langchain_qdrant.sparse_embeddings import SparseEmbeddings, SparseVector
from llama_index.core import VectorStoreIndex
from llama_index.core.vector_stores import FilterOperator, MetadataFilter, MetadataFilters
from llama_index.vector_stores.chroma import ChromaVectorStore
from llama_index.vector_stores.lancedb import LanceDBVectorStore
from llama_index.vector_stores.qdrant import QdrantVectorStore as QdrantNodes
from qdrant_client import QdrantClient, models

import langchain_qwen_omni
import llama_index_qwen_omni
from langchain_qwen_omni.document_loaders import to_document
from llama_index_qwen_omni.readers import to_document as to_node
from qwen_omni.errors import ConfigurationError
from qwen_omni.retrieval.passages import (
    TEXT_BYTES,
    UNKNOWN,
    Passage,
    Passages,
    make_passage,
    to_passages,
    whole_passage,
)
from qwen_omni.transcription.transcript import Sentence, Transcript
from qwen_omni.video.results import VideoSummary
from qwen_omni.video.schemas import SegmentNotes, TimedNote, VideoFacts
from tests.support.word_vectors import SIZE, Words, WordsOfNodes, places


class SparseWords(SparseEmbeddings):
    def embed_documents(self, texts: list[str]) -> list[SparseVector]:
        return [self.embed_query(text) for text in texts]

    def embed_query(self, text: str) -> SparseVector:
        found = sorted(set(places(text)))
        return SparseVector(indices=found, values=[1.0] * len(found))


def sparse(texts: list[str]) -> tuple[list[list[int]], list[list[float]]]:
    found = [sorted(set(places(text))) for text in texts]
    return found, [[1.0] * len(one) for one in found]


@dataclass(frozen=True)
class Found:
    """A passage or a window that came back, independent of the framework."""

    text: str
    metadata: dict[str, Any]
    score: float | None
    clip: tuple[float, float] | None = None

    @property
    def where(self) -> tuple[str, float, float]:
        return (self.metadata["source"], self.metadata["start"], self.metadata["end"])


class Shop(Protocol):
    """A store on disk, through the integration of a framework."""

    replaces: bool
    """Whether adding a document with a known ID replaces it; else its source is deleted first."""

    def __init__(self, folder: Path) -> None:
        """Open the store."""

    def add(self, passages: Sequence[Passage]) -> None:
        """Add passages under their IDs."""

    def search(
        self, question: str, k: int = 99, *, within: tuple[float, float] | None = None, source: str | None = None
    ) -> list[Found]:
        """Return the best passages, of a time range or a source."""

    def delete(self, source: str) -> None:
        """Delete the passages of a source."""

    def windows(self, question: str, *, source: str | None = None, hybrid: bool = False, **options: Any) -> list[Found]:
        """Ask a `VideoRetriever`."""


class _LangChain:
    store: Any

    def add(self, passages: Sequence[Passage]) -> None:
        self.store.add_documents([to_document(one) for one in passages], ids=[one.id for one in passages])

    def search(
        self, question: str, k: int = 99, *, within: tuple[float, float] | None = None, source: str | None = None
    ) -> list[Found]:
        scored = self.store.similarity_search_with_score(question, k, **self.filter(within, source))
        return [self._found(document, score) for document, score in scored]

    def windows(self, question: str, *, source: str | None = None, hybrid: bool = False, **options: Any) -> list[Found]:
        kwargs = self.filter(None, source)
        retriever = langchain_qwen_omni.VideoRetriever(
            store=self.store, search_kwargs=kwargs, hybrid=hybrid, **options
        )  # fmt: skip
        found = []
        for one in retriever.invoke(question):
            extras = langchain_qwen_omni.clip(one, margin=0)["extras"]
            found.append(self._found(one, one.metadata.pop("score"), (extras["start"], extras["end"])))
        return found

    def _found(self, one: Document, score: float, clip: Any = None) -> Found:
        facts = {name: value for name, value in one.metadata.items() if not name.startswith("_")}  # Qdrant's own
        return Found(one.page_content, facts, score, clip)

    def filter(self, within: tuple[float, float] | None, source: str | None) -> dict[str, Any]:
        raise NotImplementedError


class LangChainChroma(_LangChain):
    replaces = True

    def __init__(self, folder: Path) -> None:
        self.store = Chroma("videos", Words(), persist_directory=str(folder))

    def filter(self, within: tuple[float, float] | None, source: str | None) -> dict[str, Any]:
        rules: list[dict[str, Any]] = []
        if within is not None:
            rules += [{"start": {"$lt": within[1]}}, {"end": {"$gt": within[0]}}]
        if source is not None:
            rules.append({"source": source})
        return {"filter": {"$and": rules} if len(rules) > 1 else rules[0]} if rules else {}

    def delete(self, source: str) -> None:
        self.store.delete(where={"source": source})


def of_qdrant(within: tuple[float, float] | None, source: str | None) -> models.Filter:
    rules: list[Any] = []
    if within is not None:
        rules += [
            models.FieldCondition(key="metadata.start", range=models.Range(lt=within[1])),
            models.FieldCondition(key="metadata.end", range=models.Range(gt=within[0])),
        ]
    if source is not None:
        rules.append(models.FieldCondition(key="metadata.source", match=models.MatchValue(value=source)))
    return models.Filter(must=rules)


class LangChainQdrant(_LangChain):
    replaces = True

    def __init__(self, folder: Path) -> None:
        self.client = QdrantClient(path=str(folder))
        if not self.client.collection_exists("videos"):
            self.client.create_collection(
                "videos",
                vectors_config=models.VectorParams(size=SIZE, distance=models.Distance.COSINE),
                sparse_vectors_config={"words": models.SparseVectorParams(modifier=models.Modifier.IDF)},
            )
        self.store = self._store(RetrievalMode.DENSE)
        self.mixed = self._store(RetrievalMode.HYBRID)

    def _store(self, mode: RetrievalMode) -> QdrantVectorStore:
        return QdrantVectorStore(
            self.client, "videos", Words(), mode, sparse_embedding=SparseWords(), sparse_vector_name="words"
        )

    def add(self, passages: Sequence[Passage]) -> None:
        self.mixed.add_documents([to_document(one) for one in passages], ids=[one.id for one in passages])

    def filter(self, within: tuple[float, float] | None, source: str | None) -> dict[str, Any]:
        return {"filter": of_qdrant(within, source)} if within or source else {}

    def delete(self, source: str) -> None:
        self.client.delete("videos", models.FilterSelector(filter=of_qdrant(None, source)))


class LangChainLanceDB(_LangChain):
    replaces = False

    def __init__(self, folder: Path) -> None:
        self.store = LanceDB(lancedb.connect(folder), Words(), table_name="videos", mode="append")

    def filter(self, within: tuple[float, float] | None, source: str | None) -> dict[str, Any]:
        rules = [] if within is None else [f"metadata.start < {within[1]} AND metadata.end > {within[0]}"]
        if source is not None:
            rules.append(self._of(source))
        return {"filter": " AND ".join(rules), "prefilter": True} if rules else {}

    def index_words(self) -> None:
        self.store.get_table().create_fts_index("text")

    def _of(self, source: str) -> str:
        quoted = source.replace("'", "''")
        return f"metadata.source = '{quoted}'"

    def delete(self, source: str) -> None:
        self.store.delete(filter=self._of(source))


class _LlamaIndex:
    store: Any

    def _index(self) -> VectorStoreIndex:
        return VectorStoreIndex.from_vector_store(self.store, embed_model=WordsOfNodes())

    def add(self, passages: Sequence[Passage]) -> None:
        self._index().insert_nodes([to_node(one, None) for one in passages])

    def search(
        self, question: str, k: int = 99, *, within: tuple[float, float] | None = None, source: str | None = None
    ) -> list[Found]:
        retriever = self._index().as_retriever(similarity_top_k=k, **self._filters(within, source))
        try:
            scored = retriever.retrieve(question)
        except Warning:  # of LanceDB's integration, where nothing is found
            return []
        return [Found(one.node.get_content(), one.node.metadata, one.score) for one in scored]

    def windows(self, question: str, *, source: str | None = None, hybrid: bool = False, **options: Any) -> list[Found]:
        retriever = llama_index_qwen_omni.VideoRetriever(
            self._index(), search_kwargs=self._filters(None, source), hybrid=hybrid, **options
        )
        found = []
        for one in retriever.retrieve(question):
            times = str(llama_index_qwen_omni.clip(one.node, margin=0).url).partition("#t=")[2].split(",")
            found.append(
                Found(one.node.get_content(), one.node.metadata, one.score, (float(times[0]), float(times[1])))
            )
        return found

    def _filters(self, within: tuple[float, float] | None, source: str | None) -> dict[str, Any]:
        rules = []
        if within is not None:
            rules += [
                MetadataFilter(key="start", value=within[1], operator=FilterOperator.LT),
                MetadataFilter(key="end", value=within[0], operator=FilterOperator.GT),
            ]
        if source is not None:
            rules.append(MetadataFilter(key="source", value=self.quoted(source)))
        return {"filters": MetadataFilters(filters=rules)} if rules else {}

    def quoted(self, source: str) -> str:
        return source

    def delete(self, source: str) -> None:
        self.store.delete_nodes(filters=self._filters(None, source)["filters"])


class LlamaIndexChroma(_LlamaIndex):
    replaces = False  # a known ID is skipped: what changed stays as it was

    def __init__(self, folder: Path) -> None:
        collection = chromadb.PersistentClient(str(folder)).get_or_create_collection("videos")
        self.store = ChromaVectorStore(chroma_collection=collection)

    def delete(self, source: str) -> None:
        self.store.client.delete(where={"source": source})  # `delete_nodes` with a filter passes an empty list of IDs


class LlamaIndexQdrant(_LlamaIndex):
    replaces = True

    def __init__(self, folder: Path) -> None:
        self.client = QdrantClient(path=str(folder))
        self.store = QdrantNodes(
            "videos", self.client, enable_hybrid=True, sparse_doc_fn=sparse, sparse_query_fn=sparse
        )  # fmt: skip


class LlamaIndexLanceDB(_LlamaIndex):
    replaces = False

    def __init__(self, folder: Path) -> None:
        self.store = LanceDBVectorStore(str(folder), table_name="videos")

    def quoted(self, source: str) -> str:
        return source.replace("'", "''")  # the integration puts it into SQL as it is

    def delete(self, source: str) -> None:
        self.store.table.delete(f"metadata.source = '{self.quoted(source)}'")


SHOPS: dict[str, Callable[[Path], Shop]] = {
    "langchain-chroma": LangChainChroma,
    "langchain-qdrant": LangChainQdrant,
    "langchain-lancedb": LangChainLanceDB,
    "llama_index-chroma": LlamaIndexChroma,
    "llama_index-qdrant": LlamaIndexQdrant,
    "llama_index-lancedb": LlamaIndexLanceDB,
}
HYBRID = [name for name in SHOPS if "chroma" not in name]
"""Chroma's local mode has no hybrid search."""


@pytest.fixture(params=SHOPS)
def opening(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], Shop]:
    """Return what opens the store, again and again."""
    return lambda: SHOPS[request.param](tmp_path / "store")


@pytest.fixture
def shop(opening: Callable[[], Shop]) -> Iterator[Shop]:
    """Open an empty store."""
    made = opening()
    yield made
    client = getattr(made, "client", None)
    if client is not None:
        client.close()


VIDEO = VideoFacts(source="", duration=300.0, width=64, height=48, fps=25.0, video_codec="h264", audio_codec="aac")


def notes_of(source: str, at: int, *events: str, video: VideoFacts | None = VIDEO, **fields: Any) -> SegmentNotes:
    start = at * 60.0
    listed = tuple(TimedNote(start=start + 10 * n, end=start + 10 * n + 8, text=text) for n, text in enumerate(events))
    facts = None if video is None else video.model_copy(update={"source": source})
    return SegmentNotes(index=at, segments=5, start=start, end=start + 60, events=listed, video=facts, **fields)


TALK, CAMP, CALL = "/films/it's a talk.mp4", "/films/野营.mp4", "/calls/call.mp3"


def of_talk(*changed: str) -> list[Passage]:
    captions, segments = Passages(TALK, "captions"), Passages(TALK)
    first = notes_of(TALK, 0, "A man opens a red door.", "He waves at the camera.", summary="A man arrives.", model="m")
    then = notes_of(TALK, 2, *(changed or ("The gate B7 is shown.",)), summary="An airport.", language="en")
    return [one for notes in (first, then) for one in (*segments.of(notes), *captions.of(notes))]


def of_camp() -> list[Passage]:
    captions = Passages(CAMP, "captions")
    return [*captions.of(notes_of(CAMP, 1, "A tent is put up beside the river.", "Soup is cooked.", video=None))]


def of_call() -> list[Passage]:
    said = [
        Sentence(start=5, end=9, text="We meet at noon.", speaker=0),
        Sentence(start=80, end=84, text="好的", speaker=1),
    ]
    spoken = Transcript(text="We meet at noon. 好的", source=CALL, duration=90, model="fun-asr", sentences=tuple(said))
    return list(to_passages(spoken))


def odd_ones() -> list[Passage]:
    """Make passages with nothing but a text, with no times, of a whole, with a track, and of a text that is cut."""
    long = make_passage("word " * 20_000, {"source": "/films/long.mp4"}, "segment", (0.0, 60.0))
    whole = VideoSummary(summary="Everything.", segments=1, video=VIDEO.model_copy(update={"audio_track": 1}))
    timeless = Transcript(text="No times here.", source=CALL)
    return [*to_passages(timeless), long, whole_passage("/films/whole.mp4", whole, start=None, end=None)]


def everything() -> list[Passage]:
    return [*odd_ones(), *of_camp(), *of_call(), *of_talk()]


def test_everything_comes_back_as_it_was(shop: Shop) -> None:
    """Whatever is unknown, in any order, in one store: the text, and every value with its type."""
    passages = everything()
    for one in passages:
        shop.add([one])
    found = shop.search("anything")
    assert len(found) == len(passages)
    key = lambda text, metadata: json.dumps([text, metadata], sort_keys=True)  # noqa: E731
    assert sorted(key(one.text, one.metadata) for one in found) == sorted(
        key(one.text, one.metadata) for one in passages
    )
    for one in found:
        assert {name: type(value) for name, value in one.metadata.items()} == {
            name: type(value) for name, value in UNKNOWN.items()
        }
    assert max(len(one.text.encode()) for one in found) <= TEXT_BYTES


def test_a_store_is_read_again(opening: Callable[[], Shop]) -> None:
    """It is on disk: another process finds the same."""
    first = opening()
    first.add(of_talk())
    before = first.search("red door", 3)
    if hasattr(first, "client"):
        first.client.close()
    again = opening()
    assert [one.where for one in again.search("red door", 3)] == [one.where for one in before]
    if hasattr(again, "client"):
        again.client.close()


def test_a_time_range_and_a_source(shop: Shop) -> None:
    """Passages that overlap the range, and no others; a passage without times is in none."""
    passages = everything()
    shop.add(passages)
    for lo, hi in ((0.0, 9.0), (60.0, 75.0), (125.0, 126.0), (0.0, 1e6)):
        inside = [one for one in passages if one.metadata["start"] < hi and one.metadata["end"] > lo]
        found = shop.search("anything", within=(lo, hi))
        assert sorted(one.text for one in found) == sorted(one.text for one in inside)
    for source in (TALK, CAMP, CALL, "/films/none.mp4"):
        found = shop.search("anything", source=source)
        assert sorted(one.text for one in found) == sorted(
            one.text for one in passages if one.metadata["source"] == source
        )
    both = shop.search("anything", within=(120.0, 121.0), source=TALK)
    assert {one.where for one in both} == {(TALK, 120.0, 180.0), (TALK, 120.0, 128.0)}


def test_deleting_a_source_leaves_none(shop: Shop) -> None:
    """Of it; what others have stays."""
    shop.add(everything())
    before = len(shop.search("anything"))
    shop.delete(TALK)
    assert shop.search("anything", source=TALK) == []
    assert len(shop.search("anything")) == before - len(of_talk())


def test_indexing_again_makes_no_doubles(shop: Shop) -> None:
    """Where a known ID is replaced, adding again is enough; elsewhere the source is deleted first."""
    shop.add([*of_talk(), *of_camp()])
    for _ in range(2):
        if not shop.replaces:
            shop.delete(TALK)
        shop.add(of_talk())
    assert len(shop.search("anything")) == len(of_talk()) + len(of_camp())


def test_a_changed_video_replaces_its_passages(shop: Shop) -> None:
    """What it no longer has is gone."""
    shop.add([*of_talk(), *of_camp()])
    shop.delete(TALK)
    shop.add(of_talk("The gate C9 is closed."))
    texts = " ".join(one.text for one in shop.search("gate", source=TALK))
    assert "C9" in texts
    assert "B7" not in texts


def test_windows(shop: Shop) -> None:
    """Neighbours are one window, with the store's score; a filter reaches the store; `clip` is the window."""
    shop.add(everything()[1:])  # without the passage that has no times, of which the retriever would warn
    (best,) = shop.windows("A man opens a red door and waves at the camera", k=1)
    assert best.where == (TALK, 0.0, 60.0) or best.where[:2] == (TALK, 0.0)
    assert best.clip == best.where[1:]
    assert best.score is not None
    assert best.metadata["kind"] == "window"
    assert set(best.metadata) == set(UNKNOWN)
    assert best.text.count("He waves at the camera.") == 1
    only = shop.windows("A man opens a red door", source=CAMP)
    assert {one.where[0] for one in only} == {CAMP}
    assert shop.windows("A man", source="/films/none.mp4") == []


@pytest.mark.parametrize("opening", HYBRID, indirect=True)
def test_hybrid_search_of_the_store(shop: Shop) -> None:
    """Where the store compares words too, its order counts; a filter reaches it."""
    shop.add(everything()[1:])
    prepare = getattr(shop, "index_words", None)
    if prepare is not None:
        with pytest.raises(ConfigurationError, match="needs a full-text index"):
            shop.windows("gate B7", hybrid=True)
        prepare()
    (best,) = shop.windows("gate B7", hybrid=True, k=1, seconds=10)
    assert best.where == (TALK, 120.0, 128.0)
    assert best.score is not None
    assert {one.where[0] for one in shop.windows("gate B7", hybrid=True, source=CAMP)} == {CAMP}


@pytest.mark.parametrize("opening", [name for name in SHOPS if "chroma" in name], indirect=True)
def test_hybrid_search_is_refused_where_the_store_has_none(shop: Shop) -> None:
    with pytest.raises(ValueError, match=r"supports Qdrant and LanceDB, not Chroma"):
        shop.windows("gate B7", hybrid=True)


@pytest.mark.parametrize("framework", ["langchain", "llama_index"])
def test_hybrid_search_needs_sparse_vectors(framework: str, tmp_path: Path) -> None:
    """A store of Qdrant without them is refused, and what it lacks is named."""
    client = QdrantClient(path=str(tmp_path))
    size = models.VectorParams(size=SIZE, distance=models.Distance.COSINE)
    client.create_collection("plain", vectors_config=size)
    retrievers: dict[str, Callable[[], Any]] = {
        "langchain": lambda: langchain_qwen_omni.VideoRetriever(
            store=QdrantVectorStore(client, "plain", Words()), hybrid=True
        ),
        "llama_index": lambda: llama_index_qwen_omni.VideoRetriever(
            QdrantNodes("plain", client), embed_model=WordsOfNodes(), hybrid=True
        ),
    }
    with pytest.raises(ValueError, match="needs sparse vectors: make the QdrantVectorStore with"):
        retrievers[framework]()
    client.close()


@pytest.mark.parametrize("opening", [name for name in SHOPS if name.startswith("langchain")], indirect=True)
def test_langchain_keeps_an_index_in_sync(shop: Any) -> None:
    """`index` adds what is new and deletes what is gone, by its own keys, which must be UUIDs for Qdrant."""
    records = InMemoryRecordManager("videos")
    records.create_schema()
    target = getattr(shop, "mixed", shop.store)
    encoder = "sha1" if isinstance(target, QdrantVectorStore) else "sha256"  # SHA-1 keys are made into UUIDs
    how = {"cleanup": "incremental", "source_id_key": "source", "key_encoder": encoder}
    first = [to_document(one) for one in (*of_talk(), *of_camp())]
    assert index(first, records, target, **how)["num_added"] == len(first)
    assert index(first, records, target, **how)["num_added"] == 0
    changed = index([to_document(one) for one in of_talk("The gate C9 is closed.")], records, target, **how)
    assert (changed["num_added"], changed["num_deleted"]) == (2, 2)
    assert len(shop.search("anything")) == len(first)
