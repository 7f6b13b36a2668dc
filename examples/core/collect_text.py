"""Collect a stream into one string with `collect`.

    python examples/core/collect_text.py [promo.mp4] [--offline]

Prints the length of the answer and the answer. The service only streams; `collect` reads to the end, and an
interrupted stream raises StreamInterruptedError instead of returning half an answer.
"""

from pathlib import Path

from _start import start
from qwen_omni import ChatRequest, MediaSource, OmniClient, VideoPart, collect, user


def describe(path: Path, client: OmniClient) -> str:
    """Return a description of a video as a string."""
    video = VideoPart(source=MediaSource.from_path(path, trusted=True))
    request = ChatRequest(model="qwen3.5-omni-flash", messages=(user(video, "Describe this video."),))
    return collect(client.stream(request)).text


if __name__ == "__main__":
    with start(__doc__, "video") as (path,), OmniClient() as client:
        text = describe(path, client)
        print(f"{len(text)} characters: {text}")
