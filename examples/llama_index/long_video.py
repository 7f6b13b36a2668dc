"""A summary of a video of any length, with chapters, and progress while it is made.

    python examples/llama_index/long_video.py [lecture.mp4] [--offline]

Prints every step, then summary, chapters and cost. End it at any time: run again, it goes on where it was.
"""

import asyncio
from pathlib import Path

from llama_index_qwen_omni import LongVideoProgress, LongVideoWorkflow, QwenOmni
from qwen_omni.standin.example import start


async def main(film: Path) -> None:
    """Summarise the film."""
    llm = QwenOmni()
    running = LongVideoWorkflow(llm, detail="low").run(video=film)
    async for event in running.stream_events():
        if isinstance(event, LongVideoProgress):
            news = event.progress
            print(f"{news.kind}: {news.done} of {news.segments} segments {news.text}")
    found = await running
    print(found.summary)
    for chapter in found.chapters:
        print(f"{chapter.start:g} s: {chapter.title}")
    for event in found.events:
        print(f"{event.start:g} s: {event.text}")
    print(f"{found.this_run.cny} yuan")
    await llm.aclose()


if __name__ == "__main__":
    with start(__doc__, "video") as (film,):
        asyncio.run(main(film))
