"""Ask about a video with LlamaIndex.

    python examples/llama_index/ask.py [promo.mp4] [--offline]

Prints the estimate for the call, the answer, and the tokens that the service billed.
"""

from pathlib import Path

from llama_index.core.llms import ChatMessage, TextBlock, VideoBlock

from _start import start
from llama_index_qwen_omni import QwenOmni


def main(path: Path) -> None:
    """Ask once."""
    llm = QwenOmni(thinking=False, media_root=path.parent)
    blocks = [VideoBlock(path=path), TextBlock(text="What happens in this video?")]
    messages = [ChatMessage(blocks=blocks, additional_kwargs={"fps": 1})]
    print(llm.estimate(messages))
    answer = llm.chat(messages)
    print(answer.message.content)
    print(answer.raw["usage"])
    llm.close()


if __name__ == "__main__":
    with start(__doc__, "video") as (path,):
        main(path)
