"""A query engine that takes a closer look: it finds passages by their text, and asks about their frames.

    python examples/llama_index/ask_passages.py [talk.mp4] [--offline]

Prints the answer, and the time ranges that it is from.
"""

from pathlib import Path

from llama_index.core.base.response.schema import Response
from llama_index.core.llms import ChatMessage, TextBlock
from llama_index.core.query_engine import CustomQueryEngine
from llama_index.core.retrievers import BaseRetriever
from llama_index.core.schema import Document, NodeWithScore, QueryBundle

from _start import start
from llama_index_qwen_omni import QwenOmni, QwenOmniVideoReader, clip


class ByWords(BaseRetriever):
    """Finds the passages that share most words with a question. Any retriever can replace it."""

    def __init__(self, passages: list[Document]) -> None:
        super().__init__()
        self.words = [(one, set(one.text.lower().split())) for one in passages]

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        asked = set(query_bundle.query_str.lower().split())
        found = (NodeWithScore(node=one, score=float(len(asked & words))) for one, words in self.words)
        return sorted(found, key=lambda one: -one.score)[:2]


class LookingAgain(CustomQueryEngine):
    """Asks about the time ranges that were found, and nothing else."""

    retriever: BaseRetriever
    llm: QwenOmni

    def custom_query(self, query_str: str) -> Response:
        """Retrieve passages, cut out their clips, and ask about them."""
        found = self.retriever.retrieve(query_str)
        clips = {str(block.url): block for block in (clip(one.node, fps=4, margin=1) for one in found)}
        answer = self.llm.chat([ChatMessage(blocks=[*clips.values(), TextBlock(text=query_str)])])
        return Response(response=f"{answer.message.content}\n{', '.join(clips)}", source_nodes=found)


def main(path: Path) -> None:
    """Read the video, and ask about its first passage."""
    llm = QwenOmni(thinking=False, media_root=path.parent)
    documents = QwenOmniVideoReader(llm=llm, mode="captions").load_data(path)
    engine = LookingAgain(retriever=ByWords(documents), llm=llm)
    print(engine.query(f"What is seen around this: {documents[0].text}"))
    llm.close()


if __name__ == "__main__":
    with start(__doc__, "video") as (path,):
        main(path)
