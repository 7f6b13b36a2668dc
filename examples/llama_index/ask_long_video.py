"""Ask a question about a video of any length, and get the answer with the moments that support it.

    python examples/llama_index/ask_long_video.py [match.mp4] [--offline]

Prints the progress, the answer and its moments. Every segment is examined, and promising ones again in more detail.
"""

import asyncio
from pathlib import Path

from _start import start
from llama_index_qwen_omni import LongVideoProgress, LongVideoWorkflow, QwenOmni
from qwen_omni import SummaryOptions

# The defaults are 180 and 90 seconds. Smaller here, for a short video.
CUT = SummaryOptions(single_call_seconds=30, segment_seconds=20)


async def main(path: Path) -> None:
    """Ask once."""
    llm = QwenOmni()
    running = LongVideoWorkflow(llm, options=CUT).run(video=path, question="Which numbers can be read, and when?")
    async for event in running.stream_events():
        if isinstance(event, LongVideoProgress) and event.progress.kind == "segment":
            print(f"{event.progress.done} of {event.progress.segments} segments")
    found = await running
    print(found.answer)
    for moment in found.evidence[:10]:
        print(f"{moment.time:8.1f} s  {moment.text[:100]}")
    print(f"{found.this_run.requests} requests, CNY {found.this_run.cny:.4f}")
    await llm.aclose()


if __name__ == "__main__":
    with start(__doc__, "film") as (path,):
        asyncio.run(main(path))
