"""Index a folder of videos, find the moment that answers a question, and take a closer look at it.

    python examples/langchain/video_rag.py [videos/] [--offline]

Prints the best windows with their times, and the closer answer. Indexing again sends nothing and costs nothing.
"""

import math
import re
import zlib
from pathlib import Path

from langchain_core.embeddings import Embeddings
from langchain_core.messages import HumanMessage
from langchain_core.vectorstores import InMemoryVectorStore

from _start import start
from langchain_qwen_omni import ChatQwenOmni, QwenOmniVideoLoader, VideoRetriever, clip


class Words(Embeddings):
    """Hashes words into 1,024 buckets: runs anywhere, knows no synonyms. Use a real embedding model in production."""

    def embed_query(self, text: str) -> list[float]:
        """Return normalized word counts."""
        vector = [0.0] * 1024
        for word in re.findall(r"\w+", text.lower()):
            vector[zlib.crc32(word.encode()) % 1024] += 1.0
        length = math.hypot(*vector) or 1.0
        return [count / length for count in vector]

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """Return the embeddings of several texts."""
        return [self.embed_query(text) for text in texts]


def main(folder: Path) -> None:
    """Load, search, and take a closer look."""
    llm = ChatQwenOmni(thinking=False, media_root=folder)
    store = InMemoryVectorStore(Words())
    store.add_documents(list(QwenOmniVideoLoader(folder.resolve(), llm).lazy_load()))
    found = VideoRetriever(store=store, k=2).invoke("Where can the number 4711 be read?")
    for one in found:
        print(f"{one.metadata['source']} {one.metadata['start']:g} to {one.metadata['end']:g} s: {one.page_content}")
    closer = [clip(found[0], fps=4), {"type": "text", "text": "Which numbers can be read, second by second?"}]
    print(llm.invoke([HumanMessage(closer)]).text)
    llm.close()


if __name__ == "__main__":
    with start(__doc__, "folder") as (folder,):
        main(folder)
