"""A caption as an object of your own schema, streamed and validated.

    python examples/langchain/structured_caption.py [promo.mp4] [--offline]

Prints the fields as they arrive, and finally the validated object.
"""

from pathlib import Path

from pydantic import BaseModel, Field

from _start import start
from langchain_qwen_omni import ChatQwenOmni, caption_chain


class Advertisement(BaseModel):
    """What an advertisement shows."""

    product: str = Field(description="What is advertised, in a few words.")
    claims: list[str] = Field(description="What is promised, one each; empty if nothing is.")
    mood: str = Field(description="The mood of the film in one word.")


def main(path: Path) -> None:
    """Stream a description, then request one as a whole."""
    llm = ChatQwenOmni(media_root=path.parent)
    chain = caption_chain(llm, Advertisement, prompt="Describe this advertisement.", language="English")
    for partial in chain.stream(str(path)):
        if isinstance(partial, dict):
            print(f"so far: {', '.join(partial)}")
    print(repr(chain.invoke(str(path))))
    llm.close()


if __name__ == "__main__":
    with start(__doc__, "video") as (path,):
        main(path)
