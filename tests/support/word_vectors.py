"""Embeddings without a model, for both frameworks: each word has a place, so texts that share words are near."""

import zlib

from langchain_core.embeddings import Embeddings
from llama_index.core.embeddings import BaseEmbedding

from qwen_omni.video.overlap import words_of

SIZE = 256


def places(text: str) -> list[int]:
    """Return the places of the words of a text."""
    return [zlib.crc32(word.encode()) % SIZE for word in words_of(text)]


def vector(text: str) -> list[float]:
    """Return a vector of length one."""
    made = [0.01] * SIZE
    for place in places(text):
        made[place] += 1.0
    length = sum(one * one for one in made) ** 0.5
    return [one / length for one in made]


class Words(Embeddings):
    """For LangChain."""

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """Return the vectors of several texts."""
        return [vector(text) for text in texts]

    def embed_query(self, text: str) -> list[float]:
        """Return the vector of a question."""
        return vector(text)


class WordsOfNodes(BaseEmbedding):
    """For LlamaIndex."""

    def _get_text_embedding(self, text: str) -> list[float]:
        return vector(text)

    def _get_query_embedding(self, query: str) -> list[float]:
        return vector(query)

    async def _aget_query_embedding(self, query: str) -> list[float]:
        return vector(query)
