"""Send a video through your own OSS bucket. It stays private: the service gets a signed link.

    export QWEN_OMNI_OSS_BUCKET=… QWEN_OMNI_OSS_ENDPOINT=… OSS_ACCESS_KEY_ID=… OSS_ACCESS_KEY_SECRET=…
    python examples/llama_index/own_bucket.py [promo.mp4] [--offline]

Prints two answers of one conversation. The second turn uploads nothing: the bytes are already in the bucket.
With --offline the stand-in emulates the bucket, and checks every signature.
"""

from pathlib import Path

from llama_index.core.llms import ChatMessage, TextBlock, VideoBlock

from _start import start
from llama_index_qwen_omni import QwenOmni
from qwen_omni.settings import from_environment


def main(path: Path) -> None:
    """Ask, and ask a follow-up question."""
    bucket = from_environment()  # or OssSettings(bucket=…, endpoint=…); None if no bucket is set
    if bucket is None:
        raise SystemExit("Set QWEN_OMNI_OSS_BUCKET and the other variables, or use --offline.")
    print(f"through {bucket.bucket} at {bucket.endpoint}")
    llm = QwenOmni(thinking=False, media_root=path.parent, oss=bucket, delivery="oss")
    history = [ChatMessage(blocks=[VideoBlock(path=path), TextBlock(text="What happens in this video?")])]
    history.append(llm.chat(history).message)
    history.append(ChatMessage("And what can be heard?"))
    history.append(llm.chat(history).message)
    print(history[1].content, history[3].content, sep="\n")
    llm.close()


if __name__ == "__main__":
    with start(__doc__, "video", bucket=True) as (path,):
        main(path)
