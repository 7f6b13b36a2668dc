"""Many passages in LanceDB, with an index of vectors; many questions over the stand-in."""
# ruff: noqa: D102

import random
from dataclasses import replace

import pytest

from qwen_omni import AskOptions, OmniClient, VideoLibrary
from qwen_omni.library import store as stores
from qwen_omni.library.embeddings import as_embedding
from qwen_omni.library.store import LanceStore, Row, Stamp
from qwen_omni.retrieval.passages import Passage
from qwen_omni.standin.answers.embeddings import embed
from qwen_omni.standin.marked_media import make_video
from tests.support.memory_store import MemoryStore

DRAWN = random.Random(20261129)
WORDS = [f"word{number}" for number in range(4_000)]
SIZE = 64


class Words:
    """The stand-in's embedding, small and without a connection."""

    model_name = "words"

    def embed_documents(self, texts):
        return [embed(text, SIZE) for text in texts]

    def embed_query(self, text):
        return embed(text, SIZE)


def passage(number):
    start = float(number % 600) * 6
    facts = {"source": f"/videos/{number // 600}'s.mp4", "start": start, "end": start + 5}
    return Passage(id=f"{number:032d}", text=" ".join(DRAWN.choices(WORDS, k=12)), metadata=facts)


@pytest.mark.slow
@pytest.mark.parametrize("indexed_from", [500, 10_000])
def test_with_and_without_an_index_of_vectors_the_same_is_found(tmp_path, client, monkeypatch, indexed_from):
    """Rows that were written after the index was made are found, too."""
    pytest.importorskip("lancedb")
    monkeypatch.setattr(stores, "_INDEXED_FROM", indexed_from)
    store = LanceStore(tmp_path / "library.lance")
    library = VideoLibrary(store, client=client, embedding=Words())
    store.begin(Stamp(embedding=as_embedding(Words()).name, origin="standin", dimensions=SIZE))
    passages = [passage(number) for number in range(1_500)]
    for at in range(0, 1_500, 500):
        some = passages[at : at + 500]
        rows = [
            Row(passage=one, vector=vector)
            for one, vector in zip(some, Words().embed_documents([one.text for one in some]), strict=True)
        ]
        store.write(rows, fresh=True)
        if at < 1_000:
            store.refresh()
    indexes = {index.columns[0] for index in store._table("passages").list_indices()}
    assert indexes == {"text", "source"} | ({"vector"} if indexed_from == 500 else set())
    for target in DRAWN.sample(passages, 20):
        hits = [hit.text for window in library.search(target.text, k=3) for hit in window.hits]
        assert target.text in hits
        (only,) = {one.source for one in library.search("word1 word2", sources=[target.metadata["source"]])}
        assert only == target.metadata["source"]


@pytest.mark.long
@pytest.mark.timeout(1200)
def test_the_right_second(client, tmp_path):
    """Proves the plumbing: every second of a look is one of the file, and the evidence is that of the look."""
    folder = tmp_path / "films"
    folder.mkdir()
    films = [make_video(folder / f"{n}.mp4", seconds=12, size=(128, 96), fps=4, seed=100 + n) for n in range(20)]
    with OmniClient(replace(client.settings, cache_dir=tmp_path / "cache")) as asker:
        library = VideoLibrary(MemoryStore(), client=asker)
        library.add(folder)
        drawn = [(film, second) for film in films for second in DRAWN.sample(range(12), 10)]
        right = 0
        for film, second in drawn:
            found = library.ask(f"When is code {film.codes[second]} shown?", options=AskOptions(looks=4))
            right += any(one.source == str(film.path) and abs(one.start - second) <= 0.5 for one in found.evidence)
    assert right / len(drawn) >= 0.95, right
