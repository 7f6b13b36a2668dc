"""Make a video, ask ChatQwenOmni about it, and check the answer. `make demo` runs this.

Every second of the video shows a QR code and sounds a tone code with the same four random digits, so nobody can
guess them. With DASHSCOPE_API_KEY set the question goes to the real service, else to the stand-in of this package,
a local service that decodes what it is sent; its answers open with "[stand-in]" and are not Qwen's.

    python examples/demo.py [--seconds 60] [--seed 7]
"""

import argparse
import os
import re
from contextlib import ExitStack
from pathlib import Path

from langchain_core.messages import HumanMessage

from langchain_qwen_omni import ChatQwenOmni
from qwen_omni.standin import Standin
from qwen_omni.standin.truth import TruthMedia, make_video

FOLDER = Path("demo-output")


def main() -> None:
    """Make, ask, check."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--seed", type=int, default=None, help="the same digits every time")
    arguments = parser.parse_args()
    FOLDER.mkdir(exist_ok=True)
    video = make_video(FOLDER / "marked.mp4", seconds=arguments.seconds, seed=arguments.seed)
    print(f"Made {video.path}: {arguments.seconds} s, {video.path.stat().st_size / 1e6:.1f} MB.")
    with ExitStack() as stack:
        ask_about(video, model(stack))


def model(stack: ExitStack) -> ChatQwenOmni:
    """Use the real service if there is a key, else the stand-in."""
    if os.environ.get("DASHSCOPE_API_KEY"):
        print("Asking the real service.")
        return ChatQwenOmni(thinking=False)
    print("No DASHSCOPE_API_KEY: asking the stand-in, a local service that decodes the video. It is not Qwen.")
    service = stack.enter_context(Standin())
    return ChatQwenOmni(thinking=False, api_key=service.api_key, base_url=service.base_url)


def ask_about(video: TruthMedia, llm: ChatQwenOmni) -> None:
    """Ask for the codes, print the answer as it comes, and compare."""
    question = "Which four-digit codes are in the QR codes of this video, and at which second is each shown?"
    content = [{"type": "video", "path": str(video.path)}, {"type": "text", "text": question}]
    answer = ""
    for piece in llm.stream([HumanMessage(content)]):
        print(piece.text, end="", flush=True)
        answer += piece.text
    shown = [number for number, code in enumerate(video.codes) if re.search(rf"\b{code}\b", answer)]
    print(f"\n\nThe answer names {len(shown)} of the {len(video.codes)} seconds that are truly in the video.")
    llm.close()
    if not shown:
        raise SystemExit("It should have named some.")


if __name__ == "__main__":
    main()
