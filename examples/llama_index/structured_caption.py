"""A caption as an object of your own schema, streamed and validated.

    python examples/llama_index/structured_caption.py [promo.mp4] [--offline]

Prints the fields as they arrive, and finally the validated object.
"""

from pathlib import Path

from llama_index.core.llms import ChatMessage, TextBlock, VideoBlock
from pydantic import BaseModel, Field

from _start import start
from llama_index_qwen_omni import QwenOmni


class Advertisement(BaseModel):
    """What an advertisement shows."""

    product: str = Field(description="What is advertised, in a few words.")
    claims: list[str] = Field(description="What is promised, one each; empty if nothing is.")
    mood: str = Field(description="The mood of the film in one word.")


def main(path: Path) -> None:
    """Stream a description, then request one as a whole."""
    llm = QwenOmni(media_root=path.parent)
    question = ChatMessage(blocks=[VideoBlock(path=path), TextBlock(text="Describe this advertisement.")])
    structured = llm.as_structured_llm(Advertisement)
    for piece in structured.stream_chat([question]):
        print(f"so far: {piece.raw!r}")
    print(repr(structured.chat([question]).raw))
    llm.close()


if __name__ == "__main__":
    with start(__doc__, "video") as (path,):
        main(path)
