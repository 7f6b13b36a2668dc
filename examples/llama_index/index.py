"""Find the passage of a video that a question is about: documents with times in a vector index.

    python examples/llama_index/index.py [talk.mp4] [--offline]

Prints the passages that fit best, with their seconds and a link that players open there.
"""

import zlib
from pathlib import Path

from llama_index.core import VectorStoreIndex
from llama_index.core.embeddings import BaseEmbedding

from llama_index_qwen_omni import QwenOmni, QwenOmniVideoReader
from qwen_omni.standin.example import start


class Words(BaseEmbedding):
    """Which words a text has: no model to download. Take a real embedding model in its place."""

    def _get_text_embedding(self, text: str) -> list[float]:
        vector = [0.0] * 512
        for word in text.lower().split():
            vector[zlib.crc32(word.strip(".,:;!?\"'").encode()) % 512] += 1.0
        return vector

    def _get_query_embedding(self, query: str) -> list[float]:
        return self._get_text_embedding(query)

    async def _aget_query_embedding(self, query: str) -> list[float]:
        return self._get_text_embedding(query)


def main(film: Path) -> None:
    """Read the film, index what happens in it, and look for its first words."""
    llm = QwenOmni()
    documents = QwenOmniVideoReader(llm=llm, mode="captions").load_data(film)
    index = VectorStoreIndex(nodes=documents, embed_model=Words())
    for found in index.as_retriever(similarity_top_k=2).retrieve(documents[0].text):
        told = found.node.metadata
        print(f"{told['start']:g} to {told['end']:g} s: {found.node.text}\n  {told['url']}")
    llm.close()


if __name__ == "__main__":
    with start(__doc__, "video") as (film,):
        main(film)
