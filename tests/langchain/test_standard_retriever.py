"""LangChain's own standard tests for retrievers."""
# ruff: noqa: D102  (the suite's own documentation says what each property means)

from typing import Any

import pytest
from langchain_core.retrievers import BaseRetriever
from langchain_core.vectorstores import InMemoryVectorStore
from langchain_tests.integration_tests import RetrieversIntegrationTests

from langchain_qwen_omni import VideoRetriever
from langchain_qwen_omni.document_loaders import to_document
from qwen_omni.retrieval.passages import make_passage

pytest.importorskip("llama_index.core")

from tests.support.word_vectors import Words


class TestVideoRetriever(RetrieversIntegrationTests):
    """Over a vector store with five moments."""

    @property
    def retriever_constructor(self) -> type[BaseRetriever]:
        return VideoRetriever

    @property
    def retriever_constructor_params(self) -> dict[str, Any]:
        store = InMemoryVectorStore(Words())
        moments = [
            make_passage(f"A tent, number {n}.", {"source": f"{n % 2}.mp4"}, "event", (100.0 * n, 100.0 * n + 5))
            for n in range(5)
        ]
        store.add_documents([to_document(one) for one in moments])
        return {"store": store}

    @property
    def retriever_query_example(self) -> str:
        return "Where is a tent?"
