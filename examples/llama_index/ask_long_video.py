"""Ask a question about a video of any length, and get the answer with the seconds that show it.

    python examples/llama_index/ask_long_video.py [match.mp4] [--offline]

Prints how far it is, the answer and its moments. Every segment is looked at, the promising ones a second time, closer.
"""

import asyncio
from pathlib import Path

from llama_index_qwen_omni import LongVideoProgress, LongVideoWorkflow, QwenOmni
from qwen_omni import SummaryOptions
from qwen_omni.standin.example import start

# Usually 180 and 90: what is longer is cut into such pieces. Small here, for a small film.
CUT = SummaryOptions(single_call_seconds=30, segment_seconds=20)


async def main(film: Path) -> None:
    """Ask once."""
    llm = QwenOmni()
    running = LongVideoWorkflow(llm, options=CUT).run(video=film, question="Which numbers can be read, and when?")
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
    with start(__doc__, "film") as (film,):
        asyncio.run(main(film))
