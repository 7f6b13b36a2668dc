"""Send a video through your own OSS bucket. It stays private: the service gets a signed link.

    export QWEN_OMNI_OSS_BUCKET=… QWEN_OMNI_OSS_ENDPOINT=… OSS_ACCESS_KEY_ID=… OSS_ACCESS_KEY_SECRET=…
    python examples/langchain/own_bucket.py [promo.mp4] [--offline]

Prints two answers. The second question uploads nothing: the bytes are already in the bucket. With --offline the
stand-in emulates the bucket, and checks every signature.
"""

from pathlib import Path

from langchain_core.messages import HumanMessage

from _start import start
from langchain_qwen_omni import ChatQwenOmni
from qwen_omni.settings import from_environment


def main(path: Path) -> None:
    """Ask twice about one video."""
    bucket = from_environment()  # or OssSettings(bucket=…, endpoint=…); None if no bucket is set
    if bucket is None:
        raise SystemExit("Set QWEN_OMNI_OSS_BUCKET and the other variables, or use --offline.")
    print(f"through {bucket.bucket} at {bucket.endpoint}")
    llm = ChatQwenOmni(thinking=False, media_root=path.parent, oss=bucket, delivery="oss")
    for question in ("What happens in this video?", "What can be heard?"):
        content = [{"type": "video", "path": str(path)}, {"type": "text", "text": question}]
        print(llm.invoke([HumanMessage(content)]).text)
    llm.close()


if __name__ == "__main__":
    with start(__doc__, "video", bucket=True) as (path,):
        main(path)
