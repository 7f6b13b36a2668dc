"""Ingest a folder of videos and texts with a pipeline; unchanged files are neither sent nor processed again.

    python examples/llama_index/pipeline.py [talk.mp4] [--offline]

Prints the nodes with their files and times, and the result of a second run. Uses the folder of the file.
"""

from pathlib import Path

from llama_index.core import SimpleDirectoryReader
from llama_index.core.ingestion import IngestionCache, IngestionPipeline
from llama_index.core.node_parser import SentenceSplitter

from _start import start
from llama_index_qwen_omni import QwenOmni, QwenOmniVideoReader


def main(folder: Path) -> None:
    """Read the folder twice through one pipeline."""
    llm = QwenOmni()
    reader = SimpleDirectoryReader(
        folder,
        file_extractor={".mp4": QwenOmniVideoReader(llm=llm)},
        required_exts=[".mp4", ".txt", ".md"],
        raise_on_error=True,
    )
    pipeline = IngestionPipeline(transformations=[SentenceSplitter(chunk_size=512)], cache=IngestionCache())
    nodes = pipeline.run(documents=reader.load_data())
    for node in nodes:
        metadata = node.metadata
        print(f"{metadata['file_name']} from {metadata.get('start', 0):g} s: {node.text}")
    again = pipeline.run(documents=reader.load_data())
    print("the same again:", [one.node_id for one in again] == [one.node_id for one in nodes])
    llm.close()


if __name__ == "__main__":
    with start(__doc__, "video") as (path,):
        main(path.parent)
