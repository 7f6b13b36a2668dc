"""One string out of a stream, for code that wants just that: `collect`.

    python examples/core/collect_text.py [promo.mp4] [--offline]

Prints the length of the answer and the answer. The service only streams; `collect` reads to the end, and a stream
that is cut raises StreamInterruptedError instead of giving half an answer.
"""

from pathlib import Path

from qwen_omni import ChatRequest, MediaSource, OmniClient, VideoPart, collect, user
from qwen_omni.standin.example import start


def describe(film: Path, client: OmniClient) -> str:
    """What the rest of a program calls: a path in, a string out."""
    video = VideoPart(source=MediaSource.from_path(film, trusted=True))
    request = ChatRequest(model="qwen3.5-omni-flash", messages=(user(video, "Describe this video."),))
    return collect(client.stream(request)).text


if __name__ == "__main__":
    with start(__doc__, "video") as (film,), OmniClient() as client:
        text = describe(film, client)
        print(f"{len(text)} characters: {text}")
