"""Summarise a video of any length, with chapters and progress.

    python examples/llama_index/long_video.py [lecture.mp4] [--offline]

Prints every step, then the summary, chapters and cost. Interrupt it at any time: the next run resumes where it stopped.
"""

import asyncio
from pathlib import Path

from _start import start
from llama_index_qwen_omni import LongVideoProgress, LongVideoWorkflow, QwenOmni


async def main(path: Path) -> None:
    """Summarise the video."""
    llm = QwenOmni()
    running = LongVideoWorkflow(llm, detail="low").run(video=path)
    async for event in running.stream_events():
        if isinstance(event, LongVideoProgress):
            progress = event.progress
            print(f"{progress.kind}: {progress.done} of {progress.segments} segments {progress.text}")
    found = await running
    print(found.summary)
    for chapter in found.chapters:
        print(f"{chapter.start:g} s: {chapter.title}")
    for event in found.events:
        print(f"{event.start:g} s: {event.text}")
    print(f"{found.this_run.cny} yuan")
    await llm.aclose()


if __name__ == "__main__":
    with start(__doc__, "video") as (path,):
        asyncio.run(main(path))
