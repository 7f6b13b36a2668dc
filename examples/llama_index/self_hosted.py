"""Use a self-hosted server: vLLM, `transformers serve`, or a compatible one.

    vllm serve Qwen/Qwen3-Omni-30B-A3B-Instruct --port 8091 --served-model-name qwen3-omni-flash
    export DASHSCOPE_BASE_URL=http://localhost:8091/v1 DASHSCOPE_API_KEY=none
    python examples/llama_index/self_hosted.py [promo.mp4] [--offline]

Prints the answer as it arrives. QWEN_OMNI_MODEL names another model. The server says what it is
(GET /models), so the request has its format; the video is prepared with one frame per second, which every server reads,
and its audio is sent beside it where the server does not hear videos. The stand-in emulates DashScope.
"""

import os
from pathlib import Path

from llama_index.core.llms import ChatMessage, TextBlock, VideoBlock

from _start import start
from llama_index_qwen_omni import QwenOmni


def main(path: Path) -> None:
    """Ask about a video, and print the answer."""
    llm = QwenOmni(model=os.environ.get("QWEN_OMNI_MODEL", "qwen3-omni-flash"), media_root=path.parent)
    question = ChatMessage(
        blocks=[VideoBlock(path=path), TextBlock(text="What happens in this video?")],
        additional_kwargs={"budget": {"fps": 1, "long_side": 640}},
    )
    for piece in llm.stream_chat([question]):
        print(piece.delta, end="", flush=True)
    print()
    llm.close()


if __name__ == "__main__":
    with start(__doc__, "video") as (path,):
        main(path)
