"""Ask a server of your own that runs vLLM.

    vllm serve Qwen/Qwen3-Omni-30B-A3B-Instruct --port 8091 --served-model-name qwen3-omni-flash
    export DASHSCOPE_BASE_URL=http://localhost:8091/v1 DASHSCOPE_API_KEY=none
    python examples/langchain/self_hosted.py [promo.mp4] [--offline]

Prints the answer. vLLM knows sampling, thinking and the sound of a video by other words than DashScope; dialect="vllm"
uses them. It is also chosen by itself for private hosts. The stand-in takes such requests, but plays DashScope.
"""

from pathlib import Path

from langchain_core.messages import HumanMessage

from langchain_qwen_omni import ChatQwenOmni
from qwen_omni.standin.example import start


def main(film: Path) -> None:
    """Ask once, in vLLM's words."""
    llm = ChatQwenOmni(model="qwen3-omni-flash", dialect="vllm", media_root=film.parent)
    video = {"type": "video", "path": str(film), "extras": {"fps": 1, "max_pixels": 230_400}}
    print(llm.invoke([HumanMessage([video, {"type": "text", "text": "What happens in this video?"}])]).text)
    llm.close()


if __name__ == "__main__":
    with start(__doc__, "video") as (film,):
        main(film)
