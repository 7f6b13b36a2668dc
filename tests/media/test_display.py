"""A video is shown as its file says: turned, mirrored, and cut by its edit list, whole and in part."""

import io
from fractions import Fraction

import av
import numpy as np
import pytest
from PIL import Image

from qwen_omni.media.budget import MediaBudget
from qwen_omni.media.prepare import prepare
from tests.support import making
from tests.support.boxing import edited, matrix

TENTHS = MediaBudget(fps=10, frames=True)
SIZE = (64, 48)
CORNERS = (40, 100, 160, 220)  # brightness of the four quarters, row by row
TURNS = {  # what an image editor does to an upright image to store it, and the matrix that shows it upright again
    "upright": (None, (1, 0, 0, 1), 0, False),
    "mirrored": (Image.Transpose.FLIP_LEFT_RIGHT, (-1, 0, 0, 1), 0, True),
    "upside down": (Image.Transpose.ROTATE_180, (-1, 0, 0, -1), 180, False),
    "flipped": (Image.Transpose.FLIP_TOP_BOTTOM, (1, 0, 0, -1), 180, True),
    "transposed": (Image.Transpose.TRANSPOSE, (0, 1, 1, 0), 90, True),
    "turned left": (Image.Transpose.ROTATE_90, (0, 1, -1, 0), 90, False),
    "transposed the other way": (Image.Transpose.TRANSVERSE, (0, -1, -1, 0), 270, True),
    "turned right": (Image.Transpose.ROTATE_270, (0, -1, 1, 0), 270, False),
    "flattened by zeros": (None, (0, 0, 0, 0), 0, False),
}


def quarters() -> Image.Image:
    image = Image.new("RGB", SIZE)
    for number, grey in enumerate(CORNERS):
        left, top = number % 2 * SIZE[0] // 2, number // 2 * SIZE[1] // 2
        image.paste((grey,) * 3, (left, top, left + SIZE[0] // 2, top + SIZE[1] // 2))
    return image


def brightness(image: Image.Image, across: float, down: float) -> int:
    return image.convert("L").getpixel((int(image.width * across), int(image.height * down)))


def stored(image: Image.Image) -> bytes:
    """Make a video of three seconds of one image."""
    held = io.BytesIO()
    with av.open(held, "w", format="mp4") as output:
        stream = output.add_stream("mpeg4", rate=2)
        making.add_frames(output, stream, [np.asarray(image)] * 6, Fraction(1, 2), image.size)
    return held.getvalue()


@pytest.mark.parametrize("name", TURNS)
def test_a_video_is_turned_and_mirrored_as_its_matrix_says(name):
    """Front cameras mirror; what is written on a shirt stays readable."""
    turn, numbers, rotation, mirrored = TURNS[name]
    image = quarters() if turn is None else quarters().transpose(turn)
    with prepare(matrix(stored(image), *numbers), budget=MediaBudget(fps=1, frames=True)) as prepared:
        assert (prepared.source_info.rotation, prepared.source_info.mirrored) == (rotation, mirrored)
        assert (prepared.source_info.width, prepared.source_info.height) == SIZE
        shown = Image.open(io.BytesIO(prepared.jpegs[0].data))
    assert shown.size == SIZE
    seen = [brightness(shown, across, down) for down in (0.25, 0.75) for across in (0.25, 0.75)]
    assert seen == pytest.approx(CORNERS, abs=8)


def test_a_mirrored_video_is_never_sent_as_it_is():
    """Not every decoder mirrors."""
    data = matrix(stored(quarters().transpose(Image.Transpose.FLIP_TOP_BOTTOM)), 1, 0, 0, -1)
    with prepare(data) as prepared:
        assert prepared.plan.action == "video"
        assert "turned by 180 degrees and mirrored" in prepared.plan.reason


_EARLY = 0.15  # seconds by which FFmpeg's next edit may begin early where B-frames are reordered


def test_an_unmarked_cover_is_not_the_video():
    """Some programs write a cover as the first video track, without marking it."""
    held = io.BytesIO()
    with av.open(held, "w", format="matroska") as output:
        cover, film = output.add_stream("mjpeg", rate=2), output.add_stream("mpeg4", rate=2)
        cover.width, cover.height, cover.pix_fmt = 32, 32, "yuvj420p"
        film.width, film.height, film.pix_fmt = *SIZE, "yuv420p"
        making.add_frames(output, cover, [av.VideoFrame.from_image(Image.new("RGB", (32, 32), "red"))])
        making.add_frames(output, film, [np.asarray(quarters())] * 6, Fraction(1, 2))
    with prepare(held.getvalue(), budget=TENTHS) as prepared:
        info = prepared.source_info
        assert (info.width, info.height, info.video_codec) == (*SIZE, "mpeg4")
        assert (info.duration, info.covered) == (3, True)
        assert all(Image.open(io.BytesIO(still.data)).size == SIZE for still in prepared.jpegs)


EDITS = {
    "a part cut out": ((1, 2), (5, 2)),
    "parts in another order": ((5, 2), (0, 3)),
    "a part repeated": ((2, 2), (2, 2)),
    "three parts": ((6, 1), (0, 2), (3, 2)),
}


@pytest.mark.parametrize("name", EDITS)
@pytest.mark.parametrize("bounds", [(None, None), (1, None), (1.5, 3.5), (None, 2.5), (3, None)])
def test_a_video_of_several_edits_is_shown_as_edited(name, bounds):
    """Whole or in part, each tenth of a second shows the frame that the edit list puts there."""
    film = making.video(codec="libx264", seconds=8, size=SIZE)  # brighter by one with each tenth, one key frame
    with av.open(io.BytesIO(film)) as container:
        ticks = int(1 / container.streams.video[0].time_base)
    data = edited(film, *EDITS[name], media_ticks=ticks)
    length = sum(long for _, long in EDITS[name])
    with prepare(data, budget=TENTHS, start=bounds[0], end=bounds[1]) as prepared:
        assert prepared.source_info.duration == pytest.approx(length, abs=0.1)
        seen = [(float(one.time), brightness(Image.open(io.BytesIO(one.data)), 0.5, 0.5)) for one in prepared.jpegs]
    begin, end = bounds[0] or 0, min(bounds[1] or length, length)
    assert (seen[0][0], seen[-1][0]) == pytest.approx((begin, end), abs=0.3)
    seams = [sum(long for _, long in EDITS[name][:number]) for number in range(1, len(EDITS[name]))]
    clear = [one for one in seen if all(not 0 < seam - one[0] < _EARLY for seam in seams)]
    assert [grey for _, grey in clear] == pytest.approx([_frame_at(time, EDITS[name]) for time, _ in clear], abs=4)


def _frame_at(time: float, edits) -> float:
    """Return the number of the frame that is shown at a time."""
    passed = 0.0
    for begin, long in edits:
        if time < passed + long - 1e-6:
            return 10 * (begin + time - passed)
        passed += long
    return 10 * (edits[-1][0] + edits[-1][1] - 0.1)


def test_edits_are_named_in_the_plan():
    """A decoder that plays the media from its first tick would show something else."""
    film = making.video(codec="libx264", seconds=4, size=SIZE)
    with av.open(io.BytesIO(film)) as container:
        ticks = int(1 / container.streams.video[0].time_base)
    with prepare(edited(film, (2, 2), (0, 2), media_ticks=ticks)) as prepared:
        assert "an edit list joins two parts of it at second 2.00" in prepared.plan.reason
