"""Captions of many videos into a CSV file, several at a time, with what failed beside what did not.

    python examples/llama_index/batch_captions.py [a.mp4 b.mp4] [--offline]

Writes captions.csv and prints one line a file. Nothing is kept between runs here; examples/core/batch_captions.py does.
"""

import asyncio
import csv
from collections.abc import Sequence
from pathlib import Path

from llama_index.core.async_utils import run_jobs
from llama_index.core.llms import ChatMessage, TextBlock, VideoBlock

from llama_index_qwen_omni import QwenOmni, VideoCaption
from qwen_omni import QwenOmniError
from qwen_omni.standin.example import start


async def describe(llm: QwenOmni, film: Path) -> dict[str, str]:
    """Give a row of the table: a caption, or why there is none."""
    question = ChatMessage(blocks=[VideoBlock(path=film), TextBlock(text="Describe this video.")])
    try:
        caption = (await llm.as_structured_llm(VideoCaption).achat([question])).raw
    except QwenOmniError as error:
        return {"file": str(film), "error": str(error)}
    told = {name: "; ".join(value) if isinstance(value, list) else value for name, value in caption}
    return {"file": str(film), **told}


async def rows_of(films: Sequence[Path]) -> list[dict[str, str]]:
    """Ask about every film, four at a time."""
    llm = QwenOmni(media_root="/")  # these paths are our own; messages of strangers need a root
    rows = await run_jobs([describe(llm, film) for film in films], workers=4)
    await llm.aclose()
    return rows


def main(films: Sequence[Path]) -> None:
    """Write what comes."""
    rows = asyncio.run(rows_of([film.resolve() for film in films]))
    with Path("captions.csv").open("w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, ["file", "error", *VideoCaption.model_fields], restval="")
        table.writeheader()
        table.writerows(rows)
    for row in rows:
        print(f"{row['file']}: {row.get('error') or row['scene_description'][:60]}")


if __name__ == "__main__":
    with start(__doc__, "video", "video") as films:
        main(films)
