"""Find the passage of a video that answers a question: documents with times in a vector index.

    python examples/llama_index/index.py [talk.mp4] [--offline]

Prints the best matches, with their times and a link that opens a player there.
"""

import zlib
from pathlib import Path

from llama_index.core import VectorStoreIndex
from llama_index.core.embeddings import BaseEmbedding

from _start import start
from llama_index_qwen_omni import QwenOmni, QwenOmniVideoReader


class Words(BaseEmbedding):
    """Hashed word counts, without a model to download. Use a real embedding model in production."""

    def _get_text_embedding(self, text: str) -> list[float]:
        vector = [0.0] * 512
        for word in text.lower().split():
            vector[zlib.crc32(word.strip(".,:;!?\"'").encode()) % 512] += 1.0
        return vector

    def _get_query_embedding(self, query: str) -> list[float]:
        return self._get_text_embedding(query)

    async def _aget_query_embedding(self, query: str) -> list[float]:
        return self._get_text_embedding(query)


def main(path: Path) -> None:
    """Read the video, index its events, and search for the first one."""
    llm = QwenOmni()
    documents = QwenOmniVideoReader(llm=llm, mode="captions").load_data(path)
    index = VectorStoreIndex(nodes=documents, embed_model=Words())
    for found in index.as_retriever(similarity_top_k=2).retrieve(documents[0].text):
        metadata = found.node.metadata
        print(f"{metadata['start']:g} to {metadata['end']:g} s: {found.node.text}\n  {metadata['url']}")
    llm.close()


if __name__ == "__main__":
    with start(__doc__, "video") as (path,):
        main(path)
