"""Caption many videos into a CSV file, several at a time, without paying for any of them twice.

    python examples/core/batch_captions.py [a.mp4 b.mp4] [--offline]

Writes captions.csv and prints one line per file. Each caption is stored in captions.sqlite3 as it arrives: run it again
after a crash, and only the missing ones are requested. The shell command `qwen-omni caption *.mp4 --csv` does the same.
"""

import csv
from collections.abc import Sequence
from pathlib import Path

from _start import start
from qwen_omni import OmniClient, VideoCaption
from qwen_omni.structured.batch import Results, caption_many, plain


def main(paths: Sequence[Path]) -> None:
    """Caption all videos and write the table."""
    columns = ["file", "error", *VideoCaption.model_fields]
    kept = Results(Path("captions.sqlite3"))
    with OmniClient() as client, Path("captions.csv").open("w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, columns, restval="")
        table.writeheader()
        names = [str(path) for path in paths]
        for done in caption_many(names, VideoCaption, client=client, concurrency=4, results=kept):
            caption = plain(done.value) or {}
            caption |= {name: "; ".join(value) for name, value in caption.items() if isinstance(value, list)}
            table.writerow({"file": done.media, "error": str(done.error or ""), **caption})
            print(f"{done.media}: {done.error or ('known already' if done.reused else f'{done.seconds:.1f} s')}")


if __name__ == "__main__":
    with start(__doc__, "video", "video") as paths:
        main(paths)
