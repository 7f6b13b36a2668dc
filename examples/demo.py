"""Summarise a video of several minutes with LongVideoChain, and check the result. `make demo` runs this.

Every second of the video shows a QR code with random digits, which cannot be guessed. With DASHSCOPE_API_KEY set,
requests go to the real service, otherwise to the stand-in, a local service in this package that decodes the media it
receives; its answers start with "[stand-in]" and are not Qwen's. Run it twice: the second run costs nothing.

    python examples/demo.py [--seconds 300] [--seed 7]
"""

import argparse
import os
from contextlib import ExitStack
from pathlib import Path

from langchain_qwen_omni import ChatQwenOmni, LongVideoChain
from qwen_omni import Progress, VideoSummary
from qwen_omni.cli.output import show_note, steps_bar
from qwen_omni.standin import Standin
from qwen_omni.standin.marked_media import TruthMedia, make_video
from qwen_omni.video.export.markdown import bill_texts

FOLDER = Path("demo-output")
SHOWN_CHAPTERS = 8


def main() -> None:
    """Create a video, summarise it, and check the summary."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=int, default=300)
    parser.add_argument("--seed", type=int, default=None, help="the same digits every time")
    arguments = parser.parse_args()
    FOLDER.mkdir(exist_ok=True)
    video = make_video(FOLDER / "marked.mp4", seconds=arguments.seconds, seed=arguments.seed, size=(320, 180), fps=5)
    print(f"Made {video.path}: {arguments.seconds} s, {video.path.stat().st_size / 1e6:.1f} MB.")
    with ExitStack() as stack:
        found = summarise(video, model(stack))
    show(found)
    save(found, video)
    check(found, video)


def model(stack: ExitStack) -> ChatQwenOmni:
    """Use the real service if there is a key, else the stand-in."""
    if os.environ.get("DASHSCOPE_API_KEY"):
        print("Asking the real service.")
        return ChatQwenOmni()
    print("No DASHSCOPE_API_KEY: asking the stand-in, a local service that decodes the video. It is not Qwen.")
    service = stack.enter_context(Standin())
    return ChatQwenOmni(api_key=service.api_key, base_url=service.base_url)


def summarise(video: TruthMedia, llm: ChatQwenOmni) -> VideoSummary:
    """Run the chain with a progress bar, and return the summary."""
    chain = LongVideoChain(llm, focus="which code each QR code shows", segment_seconds=60)
    with steps_bar("segments") as bar:
        for item in chain.stream(video.path):
            if not isinstance(item, Progress):
                break
            bar(item.done, item.segments, f"{item.input_tokens + item.output_tokens:,} tokens")
            if item.kind in ("planned", "notice", "gap"):
                show_note(item.text)
    llm.close()
    return item


def show(found: VideoSummary) -> None:
    """Print the summary, the first chapters, and what it cost."""
    print(f"\n{found.summary[:600]}\n")
    print("\n".join(found.to_youtube_chapters().splitlines()[:SHOWN_CHAPTERS]))
    print(f"… {len(found.chapters)} chapters and {len(found.events)} events in all.\n")
    print(f"Used in {'; '.join(bill_texts(found))}.")


def save(found: VideoSummary, video: TruthMedia) -> None:
    """Write the page and the subtitles next to the video."""
    page, subtitles = video.path.with_suffix(".html"), video.path.with_suffix(".srt")
    found.to_html(page)
    subtitles.write_text(found.to_srt(), encoding="utf-8")
    print(f"Wrote {page} and {subtitles}.")


def check(found: VideoSummary, video: TruthMedia) -> None:
    """Compare the events with the codes in the video."""
    right = sum(
        any(code in note.text and abs(note.start - second) <= 1 for note in found.events)
        for second, code in enumerate(video.codes)
    )
    print(f"The events name {right} of the {len(video.codes)} seconds in the video, each at its time.")
    if not right:
        raise SystemExit("Expected at least one.")


if __name__ == "__main__":
    main()
