"""Ask about a video with LangChain.

    python examples/langchain/ask.py [promo.mp4] [--offline]

Prints the answer, and the tokens that the service billed.
"""

from pathlib import Path

from langchain_core.messages import HumanMessage

from _start import start
from langchain_qwen_omni import ChatQwenOmni


def main(path: Path) -> None:
    """Ask once."""
    llm = ChatQwenOmni(thinking=False, media_root=path.parent)
    video = {"type": "video", "path": str(path), "extras": {"fps": 1}}
    answer = llm.invoke([HumanMessage([video, {"type": "text", "text": "What happens in this video?"}])])
    print(answer.text)
    print(answer.usage_metadata)
    llm.close()


if __name__ == "__main__":
    with start(__doc__, "video") as (path,):
        main(path)
