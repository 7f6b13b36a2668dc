"""Caption many videos into a CSV file, several at a time, with errors in their own column.

    python examples/llama_index/batch_captions.py [a.mp4 b.mp4] [--offline]

Writes captions.csv and prints one line per file. To resume after a crash, see examples/core/batch_captions.py.
"""

import asyncio
import csv
from collections.abc import Sequence
from pathlib import Path

from llama_index.core.async_utils import run_jobs
from llama_index.core.llms import ChatMessage, TextBlock, VideoBlock

from _start import start
from llama_index_qwen_omni import QwenOmni, VideoCaption
from qwen_omni import QwenOmniError


async def describe(llm: QwenOmni, path: Path) -> dict[str, str]:
    """Return a row of the table: a caption or an error."""
    question = ChatMessage(blocks=[VideoBlock(path=path), TextBlock(text="Describe this video.")])
    try:
        caption = (await llm.as_structured_llm(VideoCaption).achat([question])).raw
    except QwenOmniError as error:
        return {"file": str(path), "error": str(error)}
    values = {name: "; ".join(value) if isinstance(value, list) else value for name, value in caption}
    return {"file": str(path), **values}


async def rows_of(paths: Sequence[Path]) -> list[dict[str, str]]:
    """Caption all videos, four at a time."""
    llm = QwenOmni(media_root="/")  # trusted paths; messages from users need a root
    rows = await run_jobs([describe(llm, path) for path in paths], workers=4)
    await llm.aclose()
    return rows


def main(paths: Sequence[Path]) -> None:
    """Write the table."""
    rows = asyncio.run(rows_of([path.resolve() for path in paths]))
    with Path("captions.csv").open("w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, ["file", "error", *VideoCaption.model_fields], restval="")
        table.writeheader()
        table.writerows(rows)
    for row in rows:
        print(f"{row['file']}: {row.get('error') or row['scene_description'][:60]}")


if __name__ == "__main__":
    with start(__doc__, "video", "video") as paths:
        main(paths)
