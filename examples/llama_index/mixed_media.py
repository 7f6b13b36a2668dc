"""An image, a recording and a video in one message.

    python examples/llama_index/mixed_media.py [photo.jpg call.wav promo.mp4] [--offline]

Prints one answer about all three. What blocks have no room for, such as a piece of a video, stands in the message's
`additional_kwargs`, one entry a medium. Models that take only one kind at a time refuse by name, and nothing is sent.
"""

from pathlib import Path

from llama_index.core.llms import AudioBlock, ChatMessage, ImageBlock, TextBlock, VideoBlock

from llama_index_qwen_omni import QwenOmni
from qwen_omni import QwenOmniError
from qwen_omni.standin.example import start


def main(photo: Path, call: Path, film: Path) -> None:
    """Ask about all three, then ask a model that cannot."""
    llm = QwenOmni(thinking=False, media_root="/")  # these paths are our own; messages of strangers need a root
    media = [ImageBlock(path=photo.resolve()), AudioBlock(path=call.resolve()), VideoBlock(path=film.resolve())]
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
    with start(__doc__, "image", "audio", "video") as (photo, call, film):
        main(photo, call, film)
