"""Stream an answer, including the model's reasoning.

    python examples/llama_index/stream.py [promo.mp4] [--offline]

Prints the reasoning, a line of dashes, then the answer as it arrives.
"""

from pathlib import Path

from llama_index.core.llms import ChatMessage, TextBlock, VideoBlock

from _start import start
from llama_index_qwen_omni import QwenOmni


def main(path: Path) -> None:
    """Ask, and print every piece immediately."""
    llm = QwenOmni(thinking="low", media_root=path.parent)
    question = ChatMessage(blocks=[VideoBlock(path=path), TextBlock(text="What happens, second by second?")])
    thinking = False
    for piece in llm.stream_chat([question]):
        thought = piece.additional_kwargs.get("thinking_delta", "")
        if thinking and piece.delta:
            print("\n--------")
        thinking = bool(thought)
        print(thought or piece.delta, end="", flush=True)
    print()
    llm.close()


if __name__ == "__main__":
    with start(__doc__, "video") as (path,):
        main(path)
