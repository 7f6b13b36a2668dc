"""Keep a vector store in sync with a folder: unchanged files are neither sent nor embedded again.

    python examples/langchain/index_folder.py [videos/] [--offline]

Prints what was added and skipped in two runs, then the best match for a question.
"""

from pathlib import Path

from langchain_core.embeddings import DeterministicFakeEmbedding
from langchain_core.indexing import InMemoryRecordManager, index
from langchain_core.vectorstores import InMemoryVectorStore

from _start import start
from langchain_qwen_omni import ChatQwenOmni, QwenOmniVideoLoader


def main(folder: Path) -> None:
    """Index twice. In production, keep the store and the records on disk."""
    llm = ChatQwenOmni(thinking=False)
    store = InMemoryVectorStore(DeterministicFakeEmbedding(size=64))  # use a real embedding model in production
    records = InMemoryRecordManager("videos")
    records.create_schema()
    for run in ("first", "again"):
        loader = QwenOmniVideoLoader(folder.resolve(), llm, mode="captions")
        done = index(loader, records, store, cleanup="full", key_encoder="sha256")  # removes documents of deleted files
        print(f"{run}: {done['num_added']} added, {done['num_skipped']} skipped, {done['num_deleted']} taken out")
    (best,) = store.similarity_search("Which numbers can be read?", k=1)
    print(f"{best.metadata['url']}: {best.page_content}")
    llm.close()


if __name__ == "__main__":
    with start(__doc__, "folder") as (folder,):
        main(folder)
