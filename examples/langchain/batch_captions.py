"""Captions of many videos into a CSV file, several at a time, with what failed beside what did not.

    python examples/langchain/batch_captions.py [a.mp4 b.mp4] [--offline]

Writes captions.csv and prints one line a file. Nothing is kept between runs here; examples/core/batch_captions.py does.
"""

import csv
from collections.abc import Sequence
from pathlib import Path

from langchain_qwen_omni import ChatQwenOmni, VideoCaption, caption_chain
from qwen_omni.standin.example import start


def main(films: Sequence[Path]) -> None:
    """Ask about every film, and write what comes."""
    llm = ChatQwenOmni(media_root="/")  # these paths are our own; messages of strangers need a root
    chain = caption_chain(llm, VideoCaption)
    names = [str(film.resolve()) for film in films]
    found = chain.batch(names, {"max_concurrency": 4}, return_exceptions=True)
    with Path("captions.csv").open("w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, ["file", "error", *VideoCaption.model_fields], restval="")
        table.writeheader()
        for name, caption in zip(names, found, strict=True):
            told = {"error": str(caption)} if isinstance(caption, Exception) else caption.model_dump()
            told |= {key: "; ".join(value) for key, value in told.items() if isinstance(value, list)}
            table.writerow({"file": name, **told})
            print(f"{name}: {told.get('error') or told['scene_description'][:60]}")
    llm.close()


if __name__ == "__main__":
    with start(__doc__, "video", "video") as films:
        main(films)
