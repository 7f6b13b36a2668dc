"""An image, a recording and a video in one message.

    python examples/langchain/mixed_media.py [photo.jpg call.wav promo.mp4] [--offline]

Prints one answer about all three. For models that accept only one kind of media per message, an error is raised
before anything is sent.
"""

from pathlib import Path

from langchain_core.messages import HumanMessage

from _start import start
from langchain_qwen_omni import ChatQwenOmni
from qwen_omni import QwenOmniError


def main(photo: Path, call: Path, clip: Path) -> None:
    """Ask about all three, then ask a model that does not support this."""
    llm = ChatQwenOmni(thinking=False, media_root="/")  # trusted paths; messages from users need a root
    content = [
        {"type": "image", "path": str(photo.resolve())},
        {"type": "audio", "path": str(call.resolve())},
        {"type": "video", "path": str(clip.resolve()), "extras": {"start": 0, "end": 3}},
        {"type": "text", "text": "Do these three belong together?"},
    ]
    print(llm.invoke([HumanMessage(content)]).text)
    try:
        llm.invoke([HumanMessage(content)], model="qwen3-omni-flash")
    except QwenOmniError as error:
        print(f"{type(error).__name__}: {error}")
    llm.close()


if __name__ == "__main__":
    with start(__doc__, "image", "audio", "video") as (photo, call, clip):
        main(photo, call, clip)
