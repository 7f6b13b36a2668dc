"""A query engine that looks again: it finds passages by their words, and asks about their pictures, closer.

    python examples/llama_index/ask_passages.py [talk.mp4] [--offline]

Prints the answer, and which seconds it is from.
"""

from pathlib import Path

from llama_index.core import SimpleKeywordTableIndex
from llama_index.core.base.response.schema import Response
from llama_index.core.llms import ChatMessage, TextBlock
from llama_index.core.query_engine import CustomQueryEngine
from llama_index.core.retrievers import BaseRetriever

from llama_index_qwen_omni import QwenOmni, QwenOmniVideoReader, clip
from qwen_omni.standin.example import start


class LookingAgain(CustomQueryEngine):
    """Asks about the stretches of video that were found, and about nothing else."""

    retriever: BaseRetriever
    llm: QwenOmni

    def custom_query(self, query_str: str) -> Response:
        """Find, cut out, ask."""
        found = self.retriever.retrieve(query_str)[:3]
        passages = {str(block.url): block for block in (clip(one.node, fps=4, margin=1) for one in found)}
        answer = self.llm.chat([ChatMessage(blocks=[*passages.values(), TextBlock(text=query_str)])])
        return Response(response=answer.message.content, source_nodes=found)


def main(film: Path) -> None:
    """Index the film, and ask about what it begins with."""
    llm = QwenOmni(thinking=False, media_root=film.parent)
    documents = QwenOmniVideoReader(llm=llm, mode="captions").load_data(film)
    index = SimpleKeywordTableIndex(nodes=documents, llm=llm)
    engine = LookingAgain(retriever=index.as_retriever(), llm=llm)
    answer = engine.query(f"What is seen around this: {documents[0].text}")
    print(answer)
    for url in {one.node.metadata["url"] for one in answer.source_nodes}:
        print(url)
    llm.close()


if __name__ == "__main__":
    with start(__doc__, "video") as (film,):
        main(film)
