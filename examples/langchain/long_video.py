"""Summarise a video of any length, and write a page that plays it and jumps to every chapter and event.

    pip install '.[langchain,cli,standin]'
    python examples/langchain/long_video.py [lecture.mp4] [--offline]

Prints the progress, the summary and the cost; writes summary.html. Finished steps are stored: run it again, and
nothing is sent or paid for twice.
"""

from pathlib import Path

from _start import start
from langchain_qwen_omni import ChatQwenOmni, LongVideoChain
from qwen_omni import Progress, VideoSummary


def main(path: Path) -> None:
    """Print each step, then the result."""
    llm = ChatQwenOmni()
    cut = {"single_call_seconds": 30, "segment_seconds": 20}  # defaults: 180 and 90
    chain = LongVideoChain(llm, detail="low", language="English", focus="numbers that can be read", **cut)
    for item in chain.stream(path):
        if isinstance(item, Progress):
            print(f"{item.kind}: {item.done} of {item.segments} segments. {item.text}")
        else:
            show(item)
    llm.close()


def show(found: VideoSummary) -> None:
    """Print a short version, and save the full one."""
    print(f"\n{found.summary}\n\n{found.to_youtube_chapters()}")
    for gap in found.gaps:
        print(f"missing: {gap.start:g} to {gap.end:g} s: {gap.reason}")
    bill = found.this_run
    print(f"{bill.requests} requests, {bill.input_tokens:,} tokens in, {bill.output_tokens:,} out, CNY {bill.cny:.4f}")
    found.to_html("summary.html")
    print("wrote summary.html")


if __name__ == "__main__":
    with start(__doc__, "film") as (path,):
        main(path)
