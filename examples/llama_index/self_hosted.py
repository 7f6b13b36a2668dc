"""Ask your own vLLM server.

    vllm serve Qwen/Qwen3-Omni-30B-A3B-Instruct --port 8091 --served-model-name qwen3-omni-flash
    export DASHSCOPE_BASE_URL=http://localhost:8091/v1 DASHSCOPE_API_KEY=none
    python examples/llama_index/self_hosted.py [promo.mp4] [--offline]

Prints the answer as it arrives. vLLM uses different fields than DashScope for sampling, thinking and the audio of a
video; dialect="vllm" selects them, and is the default for private hosts. The stand-in accepts such requests, but
emulates DashScope.
"""

from pathlib import Path

from llama_index.core.llms import ChatMessage, TextBlock, VideoBlock

from _start import start
from llama_index_qwen_omni import QwenOmni


def main(path: Path) -> None:
    """Ask once, with vLLM's fields."""
    llm = QwenOmni(model="qwen3-omni-flash", dialect="vllm", media_root=path.parent)
    question = ChatMessage(
        blocks=[VideoBlock(path=path), TextBlock(text="What happens in this video?")],
        additional_kwargs={"fps": 1, "max_pixels": 230_400},
    )
    for piece in llm.stream_chat([question]):
        print(piece.delta, end="", flush=True)
    print()
    llm.close()


if __name__ == "__main__":
    with start(__doc__, "video") as (path,):
        main(path)
