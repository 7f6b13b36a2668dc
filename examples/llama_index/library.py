"""Ask a library of videos: add a folder, search it, and get an answer with the moments that show it.

    python examples/llama_index/library.py [videos/] [--offline]

Needs `pip install 'qwen-omni[library]'`. Adding again sends nothing, and asking again costs no looks.
"""

from pathlib import Path
from tempfile import TemporaryDirectory

from _start import start
from llama_index_qwen_omni import QwenOmni, VideoQueryEngine
from qwen_omni import SpendLimit, VideoLibrary


def main(folder: Path, place: str) -> None:
    """Add, search, ask."""
    llm = QwenOmni(spend_limit=SpendLimit(cny=1))  # ends the looks, never the answer
    library = VideoLibrary(place, client=llm.client())
    for video in library.iter_add(folder):
        print(f"{Path(video.source).name}: {video.passages} passages{', unchanged' if video.unchanged else ''}")
    (best, *_) = library.search("Where can the number 4711 be read?")
    print(f"{Path(best.source).name} {best.start:g} to {best.end:g} s: {best.text.splitlines()[0]}")
    response = VideoQueryEngine(llm, library, looks=3).query("When can the number 4711 be read?")
    print(response)
    for one in response.source_nodes:
        moment = one.node.metadata
        print(f"{Path(moment['source']).name} {moment['start']:g} to {moment['end']:g} s: {one.node.text}")
    print(response.metadata["answer"]["basis"])
    llm.close()


if __name__ == "__main__":
    with start(__doc__, "folder") as (folder,), TemporaryDirectory() as place:
        main(folder, f"{place}/library.lance")
