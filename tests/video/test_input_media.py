"""What a run over a long video takes of a message: one video or recording, and its seconds; the rest by name."""

from typing import Any

import pytest

from qwen_omni.errors import UnsupportedContentError
from qwen_omni.media.budget import MediaBudget, Sampling
from qwen_omni.media.source import MediaSource
from qwen_omni.messages import AudioPart, FramesPart, ImagePart, Part, TextPart, VideoPart
from qwen_omni.video.options import single_media_part

FILE = MediaSource.from_path("a.mp4")
VIDEO = VideoPart(source=FILE)
TEXT = TextPart(text="What is shown?")


@pytest.mark.parametrize(
    "part",
    [VIDEO, VideoPart(source=FILE, start=60, end=90), AudioPart(source=FILE), AudioPart(source=FILE, start=1)],
    ids=["video", "seconds of a video", "recording", "seconds of a recording"],
)
def test_the_one_video_or_recording_is_taken(part: Part) -> None:
    """It is given back as it is, with its seconds, wherever texts stand."""
    assert single_media_part([part]) == single_media_part([TEXT, part, TEXT]) == part


def video(**said: Any) -> VideoPart:
    return VideoPart(source=FILE, **said)


REFUSED: dict[str, tuple[list[Part], str]] = {
    "frames a second": ([video(sampling=Sampling(fps=4))], r'fps=4, .* omit it .* detail="low" \(0\.5 frames'),
    "a rate that is no whole number": ([video(sampling=Sampling(fps=0.5))], r"fps=0\.5, "),
    "fewest pixels": ([video(sampling=Sampling(min_pixels=9))], "asks for min_pixels, .* omit it .* budget="),
    "most pixels": ([video(sampling=Sampling(max_pixels=9))], "asks for max_pixels, .* budget="),
    "pixels of all": ([video(sampling=Sampling(total_pixels=9))], "asks for total_pixels, .* budget="),
    "the name of a budget": ([video(budget="static")], "asks for budget, .* budget=MediaBudget"),
    "a budget": ([video(budget=MediaBudget(fps=1))], "asks for budget, .* budget=MediaBudget"),
    "a budget beside seconds": ([video(budget="glance", start=1, end=2)], "asks for budget, "),
    "an image": ([ImagePart(source=FILE)], "holds an image; pass exactly one video or recording"),
    "a list of frames": ([FramesPart(frames=(FILE,))], "holds a list of frames; "),
    "two": ([VIDEO, TEXT, VIDEO], "holds a video, a video; "),
    "sound beside it": ([VIDEO, AudioPart(source=FILE)], "holds a video, a recording; "),
    "words alone": ([TEXT], "holds no media; "),
    "nothing": ([], "holds no media; "),
}


@pytest.mark.parametrize(("parts", "words"), REFUSED.values(), ids=REFUSED.keys())
def test_what_cannot_be_heeded_is_refused(parts: list[Part], words: str) -> None:
    """The error names what was asked, and what to use in place."""
    with pytest.raises(UnsupportedContentError, match=words):
        single_media_part(parts)
