"""Ask your own vLLM server.

    vllm serve Qwen/Qwen3-Omni-30B-A3B-Instruct --port 8091 --served-model-name qwen3-omni-flash
    export DASHSCOPE_BASE_URL=http://localhost:8091/v1 DASHSCOPE_API_KEY=none
    python examples/langchain/self_hosted.py [promo.mp4] [--offline]

Prints the answer. vLLM uses different fields than DashScope for sampling, thinking and the audio of a video;
dialect="vllm" selects them, and is the default for private hosts. The stand-in accepts such requests, but emulates
DashScope.
"""

from pathlib import Path

from langchain_core.messages import HumanMessage

from _start import start
from langchain_qwen_omni import ChatQwenOmni


def main(path: Path) -> None:
    """Ask once, with vLLM's fields."""
    llm = ChatQwenOmni(model="qwen3-omni-flash", dialect="vllm", media_root=path.parent)
    video = {"type": "video", "path": str(path), "extras": {"fps": 1, "max_pixels": 230_400}}
    print(llm.invoke([HumanMessage([video, {"type": "text", "text": "What happens in this video?"}])]).text)
    llm.close()


if __name__ == "__main__":
    with start(__doc__, "video") as (path,):
        main(path)
