"""Caption many videos into a CSV file, several at a time, with errors in their own column.

    python examples/langchain/batch_captions.py [a.mp4 b.mp4] [--offline]

Writes captions.csv and prints one line per file. To resume after a crash, see examples/core/batch_captions.py.
"""

import csv
from collections.abc import Sequence
from pathlib import Path

from _start import start
from langchain_qwen_omni import ChatQwenOmni, VideoCaption, caption_chain


def main(paths: Sequence[Path]) -> None:
    """Caption all videos and write the table."""
    llm = ChatQwenOmni(media_root="/")  # trusted paths; messages from users need a root
    chain = caption_chain(llm, VideoCaption)
    names = [str(path.resolve()) for path in paths]
    found = chain.batch(names, {"max_concurrency": 4}, return_exceptions=True)
    with Path("captions.csv").open("w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, ["file", "error", *VideoCaption.model_fields], restval="")
        table.writeheader()
        for name, caption in zip(names, found, strict=True):
            row = {"error": str(caption)} if isinstance(caption, Exception) else caption.model_dump()
            row |= {key: "; ".join(value) for key, value in row.items() if isinstance(value, list)}
            table.writerow({"file": name, **row})
            print(f"{name}: {row.get('error') or row['scene_description'][:60]}")
    llm.close()


if __name__ == "__main__":
    with start(__doc__, "video", "video") as paths:
        main(paths)
