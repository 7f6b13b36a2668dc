"""An image, a recording and a video in one message.

    python examples/llama_index/mixed_media.py [photo.jpg call.wav promo.mp4] [--offline]

Prints one answer about all three. Options without a field in blocks, such as a time range, go into the message's
`additional_kwargs`, one entry per media block. For models that accept only one kind of media per message, an error is
raised before anything is sent.
"""

from pathlib import Path

from llama_index.core.llms import AudioBlock, ChatMessage, ImageBlock, TextBlock, VideoBlock

from _start import start
from llama_index_qwen_omni import QwenOmni
from qwen_omni import QwenOmniError


def main(photo: Path, call: Path, clip: Path) -> None:
    """Ask about all three, then ask a model that does not support this."""
    llm = QwenOmni(thinking=False, media_root="/")  # trusted paths; messages from users need a root
    media = [ImageBlock(path=photo.resolve()), AudioBlock(path=call.resolve()), VideoBlock(path=clip.resolve())]
    question = ChatMessage(
        blocks=[*media, TextBlock(text="Do these three belong together?")],
        additional_kwargs={"media": [{}, {}, {"start": 0, "end": 3}]},
    )
    print(llm.chat([question]).message.content)
    try:
        llm.chat([question], model="qwen3-omni-flash")
    except QwenOmniError as error:
        print(f"{type(error).__name__}: {error}")
    llm.close()


if __name__ == "__main__":
    with start(__doc__, "image", "audio", "video") as (photo, call, clip):
        main(photo, call, clip)
