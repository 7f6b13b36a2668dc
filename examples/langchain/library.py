"""Ask a library of videos: add a folder, search it, and get an answer with the moments that show it.

    python examples/langchain/library.py [videos/] [--offline]

Needs `pip install 'qwen-omni[library]'`. Adding again sends nothing, and asking again costs no looks.
"""

from pathlib import Path
from tempfile import TemporaryDirectory

from _start import start
from langchain_qwen_omni import ChatQwenOmni, VideoQAChain
from qwen_omni import SpendLimit, VideoLibrary


def main(folder: Path, place: str) -> None:
    """Add, search, ask."""
    llm = ChatQwenOmni(spend_limit=SpendLimit(cny=1))  # ends the looks, never the answer
    library = VideoLibrary(place, client=llm.client())
    for video in library.iter_add(folder):
        print(f"{Path(video.source).name}: {video.passages} passages{', unchanged' if video.unchanged else ''}")
    (best, *_) = library.search("Where can the number 4711 be read?")
    print(f"{Path(best.source).name} {best.start:g} to {best.end:g} s: {best.text.splitlines()[0]}")
    chain = VideoQAChain(llm, library, looks=3)
    found = chain.invoke("When can the number 4711 be read?")
    print(found.answer)
    for moment in found.evidence:
        print(f"{Path(moment.source).name} {moment.start:g} to {moment.end:g} s: {moment.text}")
    print(found.basis)
    llm.close()


if __name__ == "__main__":
    with start(__doc__, "folder") as (folder,), TemporaryDirectory() as place:
        main(folder, f"{place}/library.lance")
