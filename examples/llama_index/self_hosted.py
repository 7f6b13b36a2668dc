"""Ask a server of your own that runs vLLM.

    vllm serve Qwen/Qwen3-Omni-30B-A3B-Instruct --port 8091 --served-model-name qwen3-omni-flash
    export DASHSCOPE_BASE_URL=http://localhost:8091/v1 DASHSCOPE_API_KEY=none
    python examples/llama_index/self_hosted.py [promo.mp4] [--offline]

Prints the answer as it comes. vLLM has other words than DashScope for sampling, thinking and the sound of a video;
dialect="vllm" uses them, and private hosts get them unasked. The stand-in takes such requests, but plays DashScope.
"""

from pathlib import Path

from llama_index.core.llms import ChatMessage, TextBlock, VideoBlock

from llama_index_qwen_omni import QwenOmni
from qwen_omni.standin.example import start


def main(film: Path) -> None:
    """Ask once, in vLLM's words."""
    llm = QwenOmni(model="qwen3-omni-flash", dialect="vllm", media_root=film.parent)
    question = ChatMessage(
        blocks=[VideoBlock(path=film), TextBlock(text="What happens in this video?")],
        additional_kwargs={"fps": 1, "max_pixels": 230_400},
    )
    for piece in llm.stream_chat([question]):
        print(piece.delta, end="", flush=True)
    print()
    llm.close()


if __name__ == "__main__":
    with start(__doc__, "video") as (film,):
        main(film)
