"""Use a self-hosted server: vLLM, `transformers serve`, or a compatible one.

    vllm serve Qwen/Qwen3-Omni-30B-A3B-Instruct --port 8091 --served-model-name qwen3-omni-flash
    export DASHSCOPE_BASE_URL=http://localhost:8091/v1 DASHSCOPE_API_KEY=none
    python examples/langchain/self_hosted.py [promo.mp4] [--offline]

Prints the answer. QWEN_OMNI_MODEL names another model. The server says what it is
(GET /models), so the request has its format; the video is prepared with one frame per second, which every server reads,
and its audio is sent beside it where the server does not hear videos. The stand-in emulates DashScope.
"""

import os
from pathlib import Path

from langchain_core.messages import HumanMessage

from _start import start
from langchain_qwen_omni import ChatQwenOmni


def main(path: Path) -> None:
    """Ask about a video, and print the answer."""
    llm = ChatQwenOmni(model=os.environ.get("QWEN_OMNI_MODEL", "qwen3-omni-flash"), media_root=path.parent)
    video = {"type": "video", "path": str(path), "extras": {"budget": {"fps": 1, "long_side": 640}}}
    print(llm.invoke([HumanMessage([video, {"type": "text", "text": "What happens in this video?"}])]).text)
    llm.close()


if __name__ == "__main__":
    with start(__doc__, "video") as (path,):
        main(path)
