"""A folder of videos as an index, in either framework, so that one test covers both."""
# ruff: noqa: D102, PLC0415  (methods are documented in `Shelf`; a missing framework is not imported)

import contextlib
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from pydantic import SecretStr

from qwen_omni.retrieval.passages import Mode
from qwen_omni.standin import Standin
from qwen_omni.video.options import SummaryOptions
from tests.support import minilm


@dataclass(frozen=True)
class Found:
    """A document, independent of the framework."""

    id: str
    text: str
    metadata: dict[str, Any]
    own: Any = field(compare=False, repr=False)
    """The document itself."""


class Shelf(Protocol):
    """Reads videos into documents, indexes them with the real embedding model, and takes a closer look at results."""

    def read(self, source: Path, mode: Mode, options: SummaryOptions) -> Iterator[Found]:
        """Read videos lazily."""

    def aread(self, source: Path, mode: Mode, options: SummaryOptions) -> AsyncIterator[Found]:
        """Read videos lazily, in `asyncio`."""

    def keep(self, documents: list[Found]) -> None:
        """Add documents to an index."""

    def best(self, question: str) -> Found:
        """Return the best match."""

    def closer(self, question: str, *, fps: int) -> str:
        """Ask the question about the best-matching time range, at more frames per second."""

    def close(self) -> None:
        """Close the model's connections."""


class LangChainShelf:
    """`QwenOmniVideoLoader`, a vector store and `ChatQwenOmni`."""

    def __init__(self, standin: Standin, root: Path) -> None:
        """Make a model that may read the folder."""
        from langchain_qwen_omni import ChatQwenOmni

        key = SecretStr(standin.api_key)
        self.llm = ChatQwenOmni(api_key=key, base_url=standin.base_url, media_root=root, max_retries=0)

    def _loader(self, source: Path, mode: Mode, options: SummaryOptions) -> Any:
        from langchain_qwen_omni import QwenOmniVideoLoader

        return QwenOmniVideoLoader(source, self.llm, mode=mode, options=options)

    def read(self, source: Path, mode: Mode, options: SummaryOptions) -> Iterator[Found]:
        for one in self._loader(source, mode, options).lazy_load():
            yield self._found(one)

    async def aread(self, source: Path, mode: Mode, options: SummaryOptions) -> AsyncIterator[Found]:
        async with contextlib.aclosing(self._loader(source, mode, options).alazy_load()) as coming:
            async for one in coming:
                yield self._found(one)

    def _found(self, document: Any) -> Found:
        return Found(document.id, document.page_content, document.metadata, document)

    def keep(self, documents: list[Found]) -> None:
        from langchain_core.embeddings import Embeddings
        from langchain_core.vectorstores import InMemoryVectorStore

        class MiniLM(Embeddings):
            def embed_documents(self, texts: list[str]) -> list[list[float]]:
                return [list(minilm.embed(text)) for text in texts]

            def embed_query(self, text: str) -> list[float]:
                return list(minilm.embed(text))

        self._store = InMemoryVectorStore(MiniLM())
        self._store.add_documents([one.own for one in documents])

    def best(self, question: str) -> Found:
        (found,) = self._store.similarity_search(question, k=1)
        return self._found(found)

    def closer(self, question: str, *, fps: int) -> str:
        from langchain_core.messages import HumanMessage

        from langchain_qwen_omni import clip

        content = [clip(self.best(question).own, fps=fps, margin=1), {"type": "text", "text": question}]
        return str(self.llm.invoke([HumanMessage(content)]).text)

    def close(self) -> None:
        self.llm.close()


class LlamaIndexShelf:
    """`QwenOmniVideoReader`, `VectorStoreIndex` and `QwenOmni`."""

    def __init__(self, standin: Standin, root: Path) -> None:
        """Make a model that may read the folder."""
        from llama_index_qwen_omni import QwenOmni

        key = SecretStr(standin.api_key)
        self.llm = QwenOmni(api_key=key, base_url=standin.base_url, media_root=str(root), max_retries=0)

    def _reader(self, mode: Mode, options: SummaryOptions) -> Any:
        from llama_index_qwen_omni import QwenOmniVideoReader

        return QwenOmniVideoReader(llm=self.llm, mode=mode, options=options)

    def read(self, source: Path, mode: Mode, options: SummaryOptions) -> Iterator[Found]:
        for one in self._reader(mode, options).lazy_load_data(source):
            yield self._found(one)

    async def aread(self, source: Path, mode: Mode, options: SummaryOptions) -> AsyncIterator[Found]:
        async with contextlib.aclosing(self._reader(mode, options).alazy_documents(source)) as coming:
            async for one in coming:
                yield self._found(one)

    def _found(self, document: Any) -> Found:
        return Found(document.node_id, document.text, document.metadata, document)

    def keep(self, documents: list[Found]) -> None:
        from llama_index.core import VectorStoreIndex

        index = VectorStoreIndex(nodes=[one.own for one in documents], embed_model=llama_index_minilm())
        self._retriever = index.as_retriever(similarity_top_k=1)

    def best(self, question: str) -> Found:
        (found,) = self._retriever.retrieve(question)
        return self._found(found.node)

    def closer(self, question: str, *, fps: int) -> str:
        from llama_index.core.llms import ChatMessage, TextBlock

        from llama_index_qwen_omni import clip

        found = self.best(question).own
        asked = ChatMessage(blocks=[clip(found, fps=fps, margin=1), TextBlock(text=question)])
        return str(self.llm.chat([asked]).message.content)

    def close(self) -> None:
        self.llm.close()


def llama_index_minilm() -> Any:
    """Return the embedding model for LlamaIndex."""
    from llama_index.core.embeddings import BaseEmbedding

    class MiniLM(BaseEmbedding):
        def _get_text_embedding(self, text: str) -> list[float]:
            return list(minilm.embed(text))

        def _get_query_embedding(self, query: str) -> list[float]:
            return list(minilm.embed(query))

        async def _aget_query_embedding(self, query: str) -> list[float]:
            return list(minilm.embed(query))

    return MiniLM()
