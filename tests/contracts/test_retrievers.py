"""`VideoRetriever` of both frameworks: one table of passages and questions, and the same windows from both."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import pytest
from langchain_core.documents import Document
from langchain_core.vectorstores import InMemoryVectorStore, VectorStore

import langchain_qwen_omni
from qwen_omni.errors import ConfigurationError, UnknownOptionError
from qwen_omni.retrieval.passages import UNKNOWN, Passage, Passages, make_passage
from qwen_omni.video.schemas import SegmentNotes, TimedNote, VideoFacts

pytest.importorskip("llama_index.core")

from llama_index.core import VectorStoreIndex
from llama_index.core.base.base_retriever import BaseRetriever as LlamaIndexRetriever
from llama_index.core.llms import MockLLM
from llama_index.core.schema import Document as LlamaIndexDocument, NodeWithScore, QueryBundle, TextNode
from llama_index.core.vector_stores import MetadataFilter, MetadataFilters, SimpleVectorStore

import llama_index_qwen_omni
from langchain_qwen_omni.document_loaders import to_document
from llama_index_qwen_omni.readers import to_document as to_node
from tests.support.retrievers import Documents, Nodes
from tests.support.word_vectors import Words, WordsOfNodes

# ruff: noqa: D102  (methods are documented in `Face`, or are those of a framework)


@dataclass(frozen=True)
class Found:
    """A window that was found, independent of the framework."""

    id: str
    text: str
    score: float | None
    metadata: dict[str, Any]
    clip: tuple[float, float]

    @property
    def where(self) -> tuple[str, float, float]:
        return (self.metadata["source"], self.metadata["start"], self.metadata["end"])


class Face(Protocol):
    """A framework's retriever over an index of passages."""

    name: str
    package: Any

    def index(self, passages: Sequence[Passage]) -> Any:
        """Add passages to a store in memory."""

    def fixed(self, passages: Sequence[Passage]) -> Any:
        """Make a retriever that returns these, in this order, without scores."""

    def only(self, source: str) -> dict[str, Any]:
        """Return the search options for one video."""

    def find(self, store: Any, question: str, **options: Any) -> list[Found]:
        """Ask a `VideoRetriever`."""

    async def afind(self, store: Any, question: str, **options: Any) -> list[Found]:
        """Ask without blocking the event loop."""


class LangChain:
    """`VideoRetriever` over a vector store in memory."""

    name = "langchain"
    package = langchain_qwen_omni

    def index(self, passages: Sequence[Passage]) -> VectorStore:
        store = InMemoryVectorStore(Words())
        store.add_documents([to_document(one) for one in passages])
        return store

    def fixed(self, passages: Sequence[Passage]) -> Documents:
        return Documents(found=[to_document(one) for one in passages])

    def only(self, source: str) -> dict[str, Any]:
        return {"filter": lambda document: document.metadata["source"] == source}

    def find(self, store: Any, question: str, **options: Any) -> list[Found]:
        return self._found(langchain_qwen_omni.VideoRetriever(store=store, **options).invoke(question))

    async def afind(self, store: Any, question: str, **options: Any) -> list[Found]:
        return self._found(await langchain_qwen_omni.VideoRetriever(store=store, **options).ainvoke(question))

    def _found(self, documents: list[Document]) -> list[Found]:
        found = []
        for one in documents:
            extras = langchain_qwen_omni.clip(one, margin=0)["extras"]
            facts = dict(one.metadata)
            found.append(
                Found(one.id, one.page_content, facts.pop("score", None), facts, (extras["start"], extras["end"]))
            )
        return found


class LlamaIndex:
    """`VideoRetriever` over an index in memory."""

    name = "llama-index"
    package = llama_index_qwen_omni

    def index(self, passages: Sequence[Passage]) -> VectorStoreIndex:
        return VectorStoreIndex(nodes=[to_node(one, None) for one in passages], embed_model=WordsOfNodes())

    def fixed(self, passages: Sequence[Passage]) -> Nodes:
        return Nodes([NodeWithScore(node=to_node(one, None)) for one in passages])

    def only(self, source: str) -> dict[str, Any]:
        return {"filters": MetadataFilters(filters=[MetadataFilter(key="source", value=source)])}

    def find(self, store: Any, question: str, **options: Any) -> list[Found]:
        return self._found(llama_index_qwen_omni.VideoRetriever(store, **options).retrieve(question))

    async def afind(self, store: Any, question: str, **options: Any) -> list[Found]:
        return self._found(await llama_index_qwen_omni.VideoRetriever(store, **options).aretrieve(question))

    def _found(self, nodes: list[NodeWithScore]) -> list[Found]:
        found = []
        for one in nodes:
            start, end = map(
                float, str(llama_index_qwen_omni.clip(one.node, margin=0).url).partition("#t=")[2].split(",")
            )
            found.append(Found(one.node.node_id, one.node.text, one.score, one.node.metadata, (start, end)))
        return found


FACES = (LangChain(), LlamaIndex())
each_face = pytest.mark.parametrize("face", FACES, ids=lambda face: face.name)


def passages_of(source: str, *told: tuple[str, float, float, str]) -> list[Passage]:
    """Make the passages of a video, from what happens, is said or shown in it."""
    notes = SegmentNotes(
        index=0, segments=1, start=0, end=200, model="m", language="en",
        video=VideoFacts(source=source, duration=200, width=64, height=48, video_codec="h264"),
        **{kind: [TimedNote(start=start, end=end, text=text) for name, start, end, text in told if name == kind]
           for kind in ("events", "speech", "on_screen_text")},
    )  # fmt: skip
    return list(Passages(source, "captions").of(notes))


TALK = passages_of(
    "/films/talk.mp4",
    ("events", 10, 14, "A tent is put up beside the river."),
    ("speech", 15, 20, "We sleep here tonight."),
    ("on_screen_text", 120, 125, "Gate B7"),
    ("events", 126, 130, "A train arrives."),
)
CAMP = passages_of(
    "/films/camp.mp4", ("events", 40, 45, "A tent is folded up."), ("on_screen_text", 90, 95, "Gate C3"),
)  # fmt: skip
BOTH = [*TALK, *CAMP]

QUESTIONS = {
    "an event, with what is said next": (
        "Where is a tent put up beside the river?", {"k": 1}, [("/films/talk.mp4", 10, 20)],
    ),
    "the other one": ("tent folded", {"k": 1}, [("/films/camp.mp4", 40, 45)]),
    "a code": ("gate b7", {"k": 1}, [("/films/talk.mp4", 120, 130)]),
    "two things at once": ("A train arrives at gate B7", {"k": 1}, [("/films/talk.mp4", 120, 130)]),
    "one window of a video": (
        "tent gate", {"per_video": 1, "k": 9}, [("/films/talk.mp4", 120, 130), ("/films/camp.mp4", 90, 95)],
    ),
    "shorter windows": ("A tent is put up beside the river.", {"seconds": 6, "k": 1}, [("/films/talk.mp4", 10, 14)]),
    "no neighbours": ("A tent is put up beside the river.", {"gap": 0, "k": 1}, [("/films/talk.mp4", 10, 14)]),
    "few passages fetched": ("gate b7", {"fetch_k": 1}, [("/films/talk.mp4", 120, 125)]),
}  # fmt: skip


@each_face
@pytest.mark.parametrize("name", QUESTIONS)
async def test_the_windows_found(face: Face, name: str):
    """In both frameworks, waiting or not; `clip` of each is the window."""
    question, options, expected = QUESTIONS[name]
    store = face.index(BOTH)
    found = face.find(store, question, **options)
    assert [one.where for one in found] == expected
    assert await face.afind(store, question, **options) == found
    assert [one.clip for one in found] == [one.where[1:] for one in found]


def test_both_find_the_same():
    """IDs, texts and metadata do not depend on the framework, nor does the order."""
    for question, options, _ in QUESTIONS.values():
        one, other = (face.find(face.index(BOTH), question, **options) for face in FACES)
        assert [(a.id, a.text, a.metadata) for a in one] == [(b.id, b.text, b.metadata) for b in other]


@each_face
def test_metadata_are_those_of_passages(face: Face):
    (found,) = face.find(face.index(BOTH), "A tent is put up beside the river.", k=1)
    assert set(found.metadata) == set(UNKNOWN)
    assert {name: type(value) for name, value in found.metadata.items()} == {
        name: type(value) for name, value in UNKNOWN.items()
    }
    assert found.metadata["kind"] == "window"
    assert found.text == "0:10 A tent is put up beside the river.\n0:15 We sleep here tonight."


@each_face
def test_scores_are_those_of_the_store(face: Face):
    """That of the best passage; a retriever without scores has none."""
    (found,) = face.find(face.index([TALK[0]]), TALK[0].text)
    assert found.score == pytest.approx(1.0, abs=0.01)
    (found,) = face.find(face.fixed([TALK[0]]), "anything")
    assert found.score is None


@each_face
def test_a_retriever_decides_the_order(face: Face):
    """Without scores its ranks count; with `words=False` nothing else does."""
    order = [CAMP[1], TALK[0], CAMP[0]]
    found = face.find(face.fixed(order), "Where is a tent put up beside the river?", words=False)
    assert [one.where for one in found] == [
        ("/films/camp.mp4", 90, 95), ("/films/talk.mp4", 10, 14), ("/films/camp.mp4", 40, 45),
    ]  # fmt: skip
    assert face.find(face.fixed(order), "tent beside the river")[0].where == ("/films/talk.mp4", 10, 14)


@each_face
def test_a_filter_reaches_the_store(face: Face):
    found = face.find(face.index(BOTH), "tent", search_kwargs=face.only("/films/camp.mp4"))
    assert {one.where[0] for one in found} == {"/films/camp.mp4"}


@each_face
def test_what_is_no_video_is_left_out(face: Face):
    """A store may hold other documents, too; a warning counts them."""
    timeless = make_passage("A tent, in a book.", {"source": "book.pdf"}, "speech", None)
    with pytest.warns(UserWarning, match="1 of 2 documents name no time range"):
        found = face.find(face.index([timeless, TALK[0]]), "tent")
    assert [one.where for one in found] == [("/films/talk.mp4", 10, 14)]


@each_face
async def test_nothing_found(face: Face):
    store = face.fixed([])
    assert face.find(store, "tent") == []
    assert await face.afind(store, "tent") == []


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "k": ({"k": 0}, "k must be a whole number"),
    "fetch_k": ({"fetch_k": -1}, "fetch_k must be"),
    "seconds": ({"seconds": 0}, "seconds must be"),
    "per_video": ({"per_video": 0}, "per_video must be"),
    "gap": ({"gap": -1}, "gap must be"),
}


@each_face
@pytest.mark.parametrize("name", WRONG)
def test_numbers_are_checked_before_anything_is_searched(face: Face, name: str):
    options, message = WRONG[name]
    with pytest.raises(ValueError, match=message):  # pydantic's where the framework's class is a model
        face.find(face.fixed(TALK), "tent", **options)


@each_face
def test_what_is_no_store(face: Face):
    with pytest.raises(ValueError, match=r"store must be a vector store.*not list"):
        face.find([TALK], "tent")


@each_face
async def test_many_questions_at_once(face: Face):
    store, questions = face.index(BOTH), ["tent folded", "gate b7"] * 4
    found = await asyncio.gather(*(face.afind(store, question, k=1) for question in questions))
    assert [one.where[0] for (one,) in found] == ["/films/camp.mp4", "/films/talk.mp4"] * 4


def test_a_vector_store_without_scores():
    """LangChain's stores need not have scores; then their order counts."""

    class Plain(InMemoryVectorStore):
        def similarity_search_with_score(self, query: str, k: int = 4, **kwargs: Any) -> Any:
            raise NotImplementedError

        async def asimilarity_search_with_score(self, query: str, k: int = 4, **kwargs: Any) -> Any:
            raise NotImplementedError

        def similarity_search(self, query: str, k: int = 4, **_: Any) -> list[Document]:
            return [to_document(one) for one in BOTH[:k]]

        async def asimilarity_search(self, query: str, k: int = 4, **_: Any) -> list[Document]:
            return self.similarity_search(query, k)

    face = LangChain()
    found = face.find(Plain(Words()), "tent put up", k=1)
    assert (found[0].where, found[0].score) == (("/films/talk.mp4", 10, 20), None)
    assert asyncio.run(face.afind(Plain(Words()), "tent put up", k=1)) == found


def test_a_question_has_options_of_its_own():
    """LangChain passes keywords of `invoke` on; fields that are set later count as well."""
    retriever = langchain_qwen_omni.VideoRetriever(store=LangChain().index(BOTH))
    assert len(retriever.invoke("tent gate", k=2)) == 2
    assert len(asyncio.run(retriever.ainvoke("tent gate", k=1))) == 1
    with pytest.raises(ConfigurationError, match="k must be"):
        retriever.invoke("tent", k=0)
    with pytest.raises(
        ConfigurationError, match=r"VideoRetriever\.invoke has no option 'per_vido'; did you mean 'per_vid"
    ):
        retriever.invoke("tent", per_vido=1)
    retriever.k = 1
    assert len(retriever.invoke("tent gate")) == 1


def test_hybrid_search_is_refused_where_the_store_has_none():
    """Chroma, a store in memory, an ensemble: nothing is compared by vectors alone in silence."""
    for face in FACES:
        for store, says in (
            (face.index(BOTH), "supports Qdrant and LanceDB, not "),
            (face.fixed(BOTH), "its own search|own hybrid"),
        ):
            with pytest.raises(ValueError, match=says):
                face.find(store, "tent", hybrid=True)


def test_hybrid_search_refuses_keywords_that_have_no_effect():
    """LanceDB is asked without `langchain-community`, which ignores what it does not know."""

    class Lance(InMemoryVectorStore):
        def get_table(self) -> None: ...

    retriever = langchain_qwen_omni.VideoRetriever(store=Lance(Words()), hybrid=True, search_kwargs={"prefliter": True})
    with pytest.raises(UnknownOptionError, match="LanceDB has no option 'prefliter'; did you mean 'prefilter'"):
        retriever.invoke("tent")


def test_callbacks_see_both_retrievers():
    """A tracer sees the window retriever, and below it the retriever that it asks."""
    from langchain_core.callbacks import BaseCallbackHandler  # noqa: PLC0415

    class Runs(BaseCallbackHandler):
        def __init__(self) -> None:
            self.parents: list[Any] = []

        def on_retriever_start(self, *_: Any, parent_run_id: Any = None, **__: Any) -> None:
            self.parents.append(parent_run_id)

    runs = Runs()
    retriever = langchain_qwen_omni.VideoRetriever(store=LangChain().fixed(TALK))
    retriever.invoke("tent", {"callbacks": [runs]})
    assert len(runs.parents) == 2
    assert runs.parents[0] is None
    assert runs.parents[1] is not None


def test_a_vector_store_of_llama_index():
    """Without an index around it; nodes with text are needed, so a store that keeps none says so itself."""
    face = LlamaIndex()
    store = SimpleVectorStore()
    with pytest.raises(ValueError, match="text"):
        face.find(store, "tent", embed_model=WordsOfNodes())


class Odd(LlamaIndexRetriever):
    """Raises a warning, as LlamaIndex's LanceDB store does where nothing is found."""

    def __init__(self, message: str) -> None:
        super().__init__()
        self._message = message

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        raise Warning(self._message)


@pytest.mark.parametrize(
    "ask", [LlamaIndex().find, lambda *a: asyncio.run(LlamaIndex().afind(*a))], ids=["sync", "async"]
)
def test_an_empty_result_is_no_error(ask: Callable[..., list[Found]]):
    assert ask(Odd("query results are empty.."), "tent") == []
    with pytest.raises(Warning, match="disk"):
        ask(Odd("disk"), "tent")


async def test_the_postprocessor_joins_what_an_engine_retrieved():
    """The same windows as `VideoRetriever`, for engines with a retriever of their own; numbers are checked."""
    face = LlamaIndex()
    index = face.index(BOTH)
    question = "Where is a tent put up beside the river?"
    nodes = index.as_retriever(similarity_top_k=40).retrieve(question)
    windows = llama_index_qwen_omni.VideoWindowPostprocessor(k=2)
    joined = windows.postprocess_nodes(nodes, query_str=question)
    assert face._found(joined) == face.find(index, question, k=2)
    again = await windows.apostprocess_nodes(nodes, query_str=question)
    assert face._found(again) == face._found(joined)
    assert windows.postprocess_nodes(nodes)
    assert windows.class_name() in windows.to_json()
    for one in joined:
        assert LlamaIndexDocument.from_json(one.node.to_json()).metadata == one.node.metadata
    with pytest.raises(ValueError, match="seconds must be"):
        llama_index_qwen_omni.VideoWindowPostprocessor(seconds=0)


def test_windows_in_an_engine_of_llama_index():
    """Nodes of a splitter work as well: their metadata are those of the passage."""
    parts = [TextNode(text=one.text, metadata=one.metadata) for one in TALK]
    index = VectorStoreIndex(nodes=parts, embed_model=WordsOfNodes())
    engine = index.as_query_engine(
        llm=MockLLM(), similarity_top_k=40, node_postprocessors=[llama_index_qwen_omni.VideoWindowPostprocessor(k=1)]
    )
    found = engine.retrieve(QueryBundle("A tent is put up beside the river"))
    assert [one.node.metadata["end"] for one in found] == [20]
