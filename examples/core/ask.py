"""Ask about a video without a framework, and print the answer and the tokens used.

    python examples/core/ask.py [promo.mp4] [--offline]

Prints the answer, then for example: 1,234 tokens in (text 20, video 1,186, audio 28), 56 out
"""

from pathlib import Path

from _start import start
from qwen_omni import ChatOptions, ChatRequest, MediaSource, OmniClient, VideoPart, user


def main(path: Path) -> None:
    """Ask once."""
    video = VideoPart(source=MediaSource.from_path(path, trusted=True))
    request = ChatRequest(
        model="qwen3.8-omni-flash",
        messages=(user(video, "What happens in this video?"),),
        options=ChatOptions(thinking=False),
    )
    with OmniClient() as client:
        response = client.complete(request)
    print(response.text)
    if response.usage is not None:
        kinds = ", ".join(f"{kind} {count:,}" for kind, count in response.usage.input_details.items())
        print(f"{response.usage.input_tokens:,} tokens in ({kinds}), {response.usage.output_tokens:,} out")


if __name__ == "__main__":
    with start(__doc__, "video") as (path,):
        main(path)
