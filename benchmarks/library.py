"""A library of 100,000 passages: its search against LanceDB's own queries, its writing against LanceDB's own `add`.

Needs the extra `library`. Prints medians, and ratios of interleaved rounds, so that other work on the machine counts
for both alike: python benchmarks/library.py [--rows 100000]
"""

import argparse
import json
import random
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np

from qwen_omni import Settings, VideoLibrary
from qwen_omni.client import OmniClient
from qwen_omni.library.embeddings import as_embedding
from qwen_omni.library.store import LanceStore, Row, Stamp
from qwen_omni.retrieval.passages import Passage

SIZE, BATCH, ROUNDS = 1024, 2_000, 30
DRAWN = random.Random(20261129)
WORDS = [f"word{number}" for number in range(4_000)]


class Directions:
    """An embedding that takes no time: the vector of every text is the same."""

    model_name = "directions"

    def __init__(self, vector):
        self.vector = vector

    def embed_documents(self, texts):
        return [self.vector for _ in texts]

    def embed_query(self, _):
        return self.vector


def make_passage(number):
    start = float(number % 600) * 6
    facts = {"source": f"/videos/{number // 600}.mp4", "start": start, "end": start + 5}
    return Passage(id=f"{number:032d}", text=" ".join(DRAWN.choices(WORDS, k=30)), metadata=facts)


def seconds_of(work):
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def add_raw(table, passages, vectors):
    """Write passages with LanceDB alone: PyArrow columns and `add`."""
    import pyarrow as pa  # noqa: PLC0415  (comes with the extra `library`)

    columns = {
        "id": [one.id for one in passages],
        **{name: [one.metadata[name] for one in passages] for name in ("source", "start", "end")},
        "text": [one.text for one in passages],
        "metadata": [json.dumps(one.metadata) for one in passages],
        "vector": pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1)), SIZE),
    }
    table.add(pa.table(columns, schema=table.schema))


def main(rows):
    import lancedb  # noqa: PLC0415

    vectors = np.random.default_rng(1).standard_normal((rows, SIZE), dtype=np.float32)
    passages = [make_passage(number) for number in range(rows)]
    embedding = Directions(vectors[rows // 2].tolist())
    with tempfile.TemporaryDirectory() as folder:
        store = LanceStore(Path(folder) / "library.lance")
        settings = Settings.load(api_key="sk-none", base_url="http://127.0.0.1:9/v1")
        store.begin(Stamp(embedding=as_embedding(embedding).name, origin=settings.origin, dimensions=SIZE))
        table = store._table("passages")  # noqa: SLF001
        raw = lancedb.connect(Path(folder) / "raw.lance").create_table("raw", schema=table.schema)
        ours, theirs = [], []
        for at in range(0, rows, BATCH):
            some, their_vectors = passages[at : at + BATCH], vectors[at : at + BATCH]
            made = [Row(passage=one, vector=vector) for one, vector in zip(some, their_vectors, strict=True)]
            both = [
                (ours, lambda: store.write(made, fresh=True)),  # noqa: B023
                (theirs, lambda: add_raw(raw, some, their_vectors)),  # noqa: B023
            ]
            for took, work in both if at // BATCH % 2 else reversed(both):
                took.append(seconds_of(work))
        print(f"{rows:,} passages of {SIZE:,} numbers written in {sum(ours):.1f} s; LanceDB's add: {sum(theirs):.1f} s")
        print(f"speed of writing, of LanceDB's own: {statistics.median(theirs) / statistics.median(ours):.2f}")
        print(f"indexes made in {seconds_of(store.refresh):.0f} s")
        with OmniClient(settings) as client:
            searched(VideoLibrary(store, client=client, embedding=embedding), store, embedding.vector)


def searched(library, store, vector):
    table = store._table("passages")  # noqa: SLF001

    def own(question):
        near = table.search(vector, vector_column_name="vector").distance_type("cosine").refine_factor(10)
        near.select(["text", "metadata", "_distance"]).limit(50).to_arrow()
        words = table.search(question, query_type="fts", fts_columns="text")
        words.select(["text", "metadata", "vector", "_score"]).limit(50).to_arrow()

    ours, theirs = [], []
    for _ in range(ROUNDS + 3):
        question = " ".join(DRAWN.sample(WORDS, 5))
        ours.append(seconds_of(lambda: library.search(question)))  # noqa: B023
        theirs.append(seconds_of(lambda: own(question)))  # noqa: B023
    ours, theirs = ours[3:], theirs[3:]
    one, other = statistics.median(ours), statistics.median(theirs)
    print(f"a search: {one * 1e3:.0f} ms; LanceDB's own queries: {other * 1e3:.0f} ms")
    print(f"time of a search, of LanceDB's own: {one / other:.2f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000)
    main(parser.parse_args().rows)
