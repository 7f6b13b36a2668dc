"""Questions to a library in both frameworks: the same answer, evidence and progress, from a library or a retriever."""
# ruff: noqa: D102  (both frameworks in one table)

import asyncio
import re
from dataclasses import dataclass, replace
from typing import Any

import pytest
from langchain_core.documents import Document

from langchain_qwen_omni import LIBRARY_EVENT, ChatQwenOmni, LongVideoChain, VideoQAChain
from qwen_omni import (
    ConfigurationError,
    LibraryAnswer,
    OmniClient,
    Settings,
    SpendLimit,
    UnknownOptionError,
    VideoLibrary,
    ask_library,
)
from qwen_omni.library.ask import LibraryProgress
from qwen_omni.standin.marked_media import make_video
from tests.support.memory_store import MemoryStore

pytest.importorskip("llama_index.core")

from llama_index.core.instrumentation import get_dispatcher
from llama_index.core.instrumentation.event_handlers import BaseEventHandler
from llama_index.core.schema import NodeWithScore, TextNode

from llama_index_qwen_omni import LongVideoWorkflow, QwenOmni, VideoQueryEngine, VideoQueryProgress
from tests.support.retrievers import Documents, Nodes


@pytest.fixture(scope="module")
def films(tmp_path_factory):
    folder = tmp_path_factory.mktemp("films")
    return [make_video(folder / f"{n}.mp4", seconds=4, size=(128, 96), fps=4, seed=n) for n in range(2)]


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def library(standin, films, cache, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
    settings = Settings.load(api_key=standin.api_key, base_url=standin.base_url, retry_wait=0.0)
    with OmniClient(settings) as client:
        made = VideoLibrary(MemoryStore(), client=client)
        made.add([film.path for film in films])
        standin.clear()
        yield made


class Heard(BaseEventHandler):
    """Keeps the progress of questions."""

    kinds: list[str] = []  # noqa: RUF012  (a field of pydantic)

    def handle(self, event: Any, **_: Any) -> None:
        if isinstance(event, VideoQueryProgress):
            self.kinds.append(event.progress.kind)


@dataclass
class LangChain:
    """Asks through `VideoQAChain`."""

    standin: Any

    def model(self, **fields):
        return ChatQwenOmni(api_key=self.standin.api_key, base_url=self.standin.base_url, **fields)

    def retriever(self, passages):
        return Documents(found=[Document(text, metadata=facts) for text, facts in passages])

    def made(self, llm, search, **choices):
        return VideoQAChain(llm, search, **choices)

    def ask(self, chain, question):
        found = chain.invoke(question)
        assert chain.invoke({"question": question}).answer == found.answer
        return found

    async def aask(self, chain, question):
        return await chain.ainvoke(question)

    def kinds(self, chain, question):
        *news, last = chain.stream(question)
        assert isinstance(last, LibraryAnswer)
        assert all(isinstance(one, LibraryProgress) for one in news)
        return [one.kind for one in news]


@dataclass
class LlamaIndex:
    """Asks through `VideoQueryEngine`."""

    standin: Any

    def model(self, **fields):
        return QwenOmni(api_key=self.standin.api_key, base_url=self.standin.base_url, **fields)

    def retriever(self, passages):
        return Nodes([NodeWithScore(node=TextNode(text=text, metadata=facts), score=1.0) for text, facts in passages])

    def made(self, llm, search, **choices):
        return VideoQueryEngine(llm, search, **choices)

    def ask(self, engine, question):
        return self._answer(engine.query(question))

    async def aask(self, engine, question):
        return self._answer(await engine.aquery(question))

    def kinds(self, engine, question):
        heard = Heard(kinds=[])
        get_dispatcher().add_event_handler(heard)
        try:
            engine.query(question)
        finally:
            get_dispatcher().event_handlers.remove(heard)
        return heard.kinds

    @staticmethod
    def _answer(response):
        found = LibraryAnswer.model_validate(response.metadata["answer"])
        assert str(response) == found.answer
        shown = [
            (one.node.metadata["source"], one.node.metadata["start"], one.node.text) for one in response.source_nodes
        ]
        assert shown == [(one.source, one.start, one.text) for one in found.evidence]
        return found


@pytest.fixture(params=[LangChain, LlamaIndex])
def framework(request, standin):
    return request.param(standin)


@pytest.fixture
def llm(framework):
    made = framework.model()
    yield made
    made.close()
    asyncio.run(made.aclose())


def test_a_question_to_a_library(framework, llm, library, films):
    question = f"When is code {films[1].codes[2]} shown?"
    made = framework.made(llm, library, looks=2)
    found = framework.ask(made, question)
    (evidence,) = found.evidence
    assert (evidence.source, evidence.start, evidence.watched) == (str(films[1].path), 2.0, True)
    assert asyncio.run(framework.aask(made, question)).answer == found.answer
    core = ask_library(question, library.search, client=library.client, options=made.options)
    assert (core.answer, core.evidence, core.basis) == (found.answer, found.evidence, found.basis)


def test_a_question_to_a_retriever(framework, llm, library, films, standin):
    """The passages of a retriever become windows, and the same looks."""
    facts = {"source": str(films[0].path), "start": 0.0, "end": 4.0, "duration": 4.0, "video_codec": "h264"}
    made = framework.made(llm, framework.retriever([("Codes are shown.", facts)]))
    question = f"When is code {films[0].codes[1]} shown?"
    (evidence,) = framework.ask(made, question).evidence
    assert (evidence.source, evidence.start) == (str(films[0].path), 1.0)
    assert sum(bool(request.media) for request in standin.requests) <= 1
    assert asyncio.run(framework.aask(made, question)).evidence == (evidence,)


@pytest.mark.slow
def test_progress_is_reported_while_it_happens(framework, llm, library, films):
    kinds = framework.kinds(framework.made(llm, library), f"Which code follows {films[0].codes[0]}?")
    assert kinds[:2] == ["found", "look"]
    assert kinds.count("answer") > 1


def test_a_search_by_words_alone_is_said_once(framework, llm, library, films):
    """In the notices of the answer: warnings would be errors here."""
    poor = OmniClient(replace(library.settings, spend_limit=SpendLimit(cny=0)))
    made = framework.made(llm, VideoLibrary(library._store, client=poor), looks=0)
    for found in (framework.ask(made, f"code {films[1].codes[2]}"), asyncio.run(framework.aask(made, "code"))):
        assert sum("only its words were compared" in one for one in found.notices) == 1
    poor.close()


def test_something_else_is_no_search(framework, llm):
    with pytest.raises(ConfigurationError, match="search must be a VideoLibrary or a retriever, not str"):
        framework.made(llm, "library.lance")
    with pytest.raises(ConfigurationError, match="looks"):
        framework.made(llm, framework.retriever([]), looks=-1)


def test_an_engine_may_be_limited_to_sources(framework, llm, library, films):
    """Every question, not only the first one, even where the sources are an iterator."""
    made = framework.made(llm, library, sources=iter([films[1].path]), looks=0)
    for question in ("Which code is shown?", "What else is shown?"):
        found = framework.ask(made, question)
        assert {shot.source for shot in found.shots} == {str(films[1].path)}
    assert {one.source for one in asyncio.run(framework.aask(made, "And what more?")).shots} == {str(films[1].path)}
    with pytest.raises(ConfigurationError, match=r"which has 2 videos: 0.mp4, 1.mp4"):
        framework.ask(framework.made(llm, library, sources=["talks"]), "Which code is shown?")
    with pytest.raises(ConfigurationError, match="sources= selects videos of a VideoLibrary"):
        framework.made(llm, framework.retriever([]), sources=["a.mp4"])


@pytest.mark.parametrize(
    ("option", "near"), [("lokos", "looks"), ("FPS", None), ("source", "sources"), ("languag", "language")]
)
def test_an_unknown_option_is_named_with_the_nearest_one(framework, llm, option, near):
    with pytest.raises(UnknownOptionError) as raised:
        framework.made(llm, framework.retriever([]), **{option: 1})
    text = str(raised.value)
    assert re.match(rf"Video(QAChain|QueryEngine) has no option '{option}'", text)
    assert (f"did you mean '{near}'?" in text) == (near is not None)
    assert "Known options: " in text
    assert "looks" in text.partition("Known options")[2]
    assert isinstance(raised.value, ConfigurationError)
    assert isinstance(raised.value, TypeError)


def test_a_call_of_a_chain_takes_no_options(standin, library):
    llm = ChatQwenOmni(api_key=standin.api_key, base_url=standin.base_url)
    chains = (VideoQAChain(llm, library), LongVideoChain(llm))
    for chain in chains:
        for call in (chain.invoke, lambda *a, c=chain, **k: asyncio.run(c.ainvoke(*a, **k))):
            with pytest.raises(
                UnknownOptionError, match=r"take no options, got 'looks'\. Pass options to its constructor\."
            ):
                call("What?", looks=1)
    with pytest.raises(UnknownOptionError, match=r"LongVideoChain has no option 'detial'; did you mean 'detail'?"):
        LongVideoChain(llm, detial="low")
    with pytest.raises(
        UnknownOptionError, match=r"LongVideoWorkflow has no option 'questoin'; did you mean 'question'?"
    ):
        LongVideoWorkflow(QwenOmni(api_key=standin.api_key, base_url=standin.base_url), questoin="x")
    workflow = LongVideoWorkflow(QwenOmni(api_key=standin.api_key, base_url=standin.base_url))
    with pytest.raises(UnknownOptionError, match=r"LongVideoWorkflow.run has no option 'vidoe'; did you mean 'video'?"):
        workflow.run(vidoe="a.mp4")
    assert not standin.requests
    llm.close()


def test_nothing_found_is_said(framework, llm, standin):
    found = framework.ask(framework.made(llm, framework.retriever([])), "Where?")
    assert found.basis == "Nothing was found."
    assert not standin.requests


@pytest.mark.slow
def test_langchain_dispatches_events_and_takes_graphs_states(standin, library, films):
    llm = ChatQwenOmni(api_key=standin.api_key, base_url=standin.base_url)
    chain = VideoQAChain(llm, library, input_key="asked", output_key="answer")
    question = f"When is code {films[0].codes[3]} shown?"

    async def events():
        found = [
            one async for one in chain.astream_events({"asked": question}, version="v2") if one["name"] == LIBRARY_EVENT
        ]
        await llm.aclose()
        return found

    found = asyncio.run(events())
    assert {one["data"]["kind"] for one in found} >= {"found", "look", "looked", "answer"}
    assert chain.invoke({"asked": question})["answer"].evidence[0].start == 3.0
    with pytest.raises(Exception, match="'asked'"):
        chain.invoke({"question": question})
    llm.close()
