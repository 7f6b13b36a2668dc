"""Stream an answer, including the model's reasoning.

    python examples/langchain/stream.py [promo.mp4] [--offline]

Prints the reasoning between two lines of dashes, then the answer as it arrives.
"""

from pathlib import Path

from langchain_core.messages import HumanMessage

from _start import start
from langchain_qwen_omni import ChatQwenOmni


def main(path: Path) -> None:
    """Ask, and print every piece immediately."""
    llm = ChatQwenOmni(thinking="low", media_root=path.parent)
    content = [{"type": "video", "path": str(path)}, {"type": "text", "text": "What happens, second by second?"}]
    thinking = False
    for piece in llm.stream([HumanMessage(content)]):
        for block in piece.content_blocks:
            if (block["type"] == "reasoning") is not thinking:
                thinking = not thinking
                print("\n--------")
            if block["type"] in ("reasoning", "text"):
                print(block.get(block["type"], ""), end="", flush=True)
    print()
    llm.close()


if __name__ == "__main__":
    with start(__doc__, "video") as (path,):
        main(path)
