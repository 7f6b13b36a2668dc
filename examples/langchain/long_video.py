"""Summarise a video of any length, and write a page that plays it and jumps to every chapter and event.

    pip install '.[langchain,cli,standin]'
    python examples/langchain/long_video.py [lecture.mp4] [--offline]

Prints what is done, the summary and the cost; writes summary.html. What is finished is kept: run it again, and
nothing is asked or paid twice.
"""

from pathlib import Path

from langchain_qwen_omni import ChatQwenOmni, LongVideoChain
from qwen_omni import Progress, VideoSummary
from qwen_omni.standin.example import start


def main(film: Path) -> None:
    """Show each step, then what came out."""
    llm = ChatQwenOmni()
    cut = {"single_call_seconds": 30, "segment_seconds": 20}  # usually 180 and 90: what is longer is cut into pieces
    chain = LongVideoChain(llm, detail="low", language="English", wish="numbers that can be read", **cut)
    for news in chain.stream(film):
        if isinstance(news, Progress):
            print(f"{news.kind}: {news.done} of {news.segments} segments. {news.text}")
        else:
            show(news)
    llm.close()


def show(found: VideoSummary) -> None:
    """Print the short form, save the long one."""
    print(f"\n{found.summary}\n\n{found.to_youtube_chapters()}")
    for gap in found.gaps:
        print(f"nothing is known of {gap.start:g} to {gap.end:g} s: {gap.reason}")
    bill = found.this_run
    print(f"{bill.requests} requests, {bill.input_tokens:,} tokens in, {bill.output_tokens:,} out, CNY {bill.cny:.4f}")
    found.to_html("summary.html")
    print("wrote summary.html")


if __name__ == "__main__":
    with start(__doc__, "film") as (film,):
        main(film)
