"""Ask a question about a video of any length, and get the answer with the moments that support it.

    python examples/langchain/ask_long_video.py [match.mp4] [--offline]

Prints the answer and its moments. Every segment is examined at a low frame rate, and promising ones at a higher one.
"""

from pathlib import Path

from _start import start
from langchain_qwen_omni import ChatQwenOmni, LongVideoChain


def main(path: Path) -> None:
    """Ask once."""
    llm = ChatQwenOmni()
    cut = {"single_call_seconds": 30, "segment_seconds": 20}  # defaults: 180 and 90
    chain = LongVideoChain(llm, question="Which numbers can be read, and when?", **cut)
    found = chain.invoke(path)
    print(found.answer)
    for moment in found.evidence[:10]:
        print(f"{moment.time:8.1f} s  {moment.text[:100]}")
    print(f"looked again at segments {', '.join(map(str, found.looked_again)) or 'none'}")
    print(f"{found.this_run.requests} requests, CNY {found.this_run.cny:.4f}")
    llm.close()


if __name__ == "__main__":
    with start(__doc__, "film") as (path,):
        main(path)
