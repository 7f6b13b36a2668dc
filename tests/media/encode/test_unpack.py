"""Animations become videos in which each frame is shown at its own time; as one picture they are refused."""

import io
import struct
from fractions import Fraction

import pytest
from PIL import Image

from qwen_omni.errors import MediaDoesNotFitError, UnreadableMediaError, UnsupportedMediaError
from qwen_omni.media.budget import MediaBudget
from qwen_omni.media.info import MediaInfo
from qwen_omni.media.prepare import PrepareOptions, look_at, prepare, split
from qwen_omni.media.probe.probe import probe
from qwen_omni.media.source import MediaSource
from qwen_omni.messages import FramesPart, ImagePart, VideoPart
from qwen_omni.profiles import profile_for
from qwen_omni.request.fit import check_part
from tests.support import making

KINDS = ("GIF", "WEBP", "PNG", "AVIF")
COLOURS = ((220, 40, 40), (40, 180, 60), (50, 60, 220), (230, 220, 60))
EACH_TENTH = MediaBudget(fps=10, frames=True)
OMNI = profile_for("qwen3.8-omni-flash")


def animation(kind: str, durations, *, size=(96, 64), **options) -> bytes:
    """Make an animation of plain colours, each shown for so many milliseconds."""
    images = [Image.new("RGB", size, COLOURS[at % 4]) for at in range(len(durations))]
    if kind in ("WEBP", "AVIF"):
        options = {"quality": 95, **options}
    return making.saved(*images, kind=kind, save_all=True, duration=list(durations), loop=0, **options)


def look(data: bytes, **options) -> MediaInfo:
    return probe(io.BytesIO(data), label="it", **options)


def colour_at(image: Image.Image) -> int:
    """Return which of the colours a picture shows."""
    seen = image.convert("RGB").getpixel((image.width // 2, image.height // 2))
    distances = [sum(abs(one - other) for one, other in zip(seen, colour, strict=True)) for colour in COLOURS]
    assert min(distances) < 40
    return distances.index(min(distances))


def shown(data: bytes, **options) -> list[int]:
    """Return which colour is shown in each tenth of a second; never more pictures are made than the file has."""
    with prepare(data, budget=EACH_TENTH, **options) as prepared:
        tenths = round(prepared.plan.encoding.period * 10)
        times = [still.time for still in prepared.jpegs]
        assert times == [prepared.plan.start + Fraction(at * tenths, 10) for at in range(len(times))]
        seen = [colour_at(Image.open(io.BytesIO(still.data))) for still in prepared.jpegs]
    return [colour for colour in seen for _ in range(tenths)]


@pytest.mark.parametrize("kind", KINDS)
def test_frames_are_shown_at_their_own_times(kind):
    """Each frame is on the screen from its own tenth of a second to that of the next."""
    data = animation(kind, [100, 300, 200, 1700])

    info = look(data)
    assert (info.kind, info.container, info.frame_count) == ("video", kind.lower(), 4)
    assert info.duration == Fraction(23, 10)
    assert shown(data) == [0, 1, 1, 1, 2, 2, *[3] * 17]


@pytest.mark.parametrize("kind", KINDS)
def test_an_animation_is_sent_as_a_video(kind):
    """It is an MP4 of the same size; a picture of odd sides gets even ones."""
    with prepare(animation(kind, [500] * 6, size=(101, 67))) as prepared:
        assert (prepared.info.kind, prepared.info.container) == ("video", "mp4")
        assert (prepared.info.width, prepared.info.height) == (100, 68)
        assert prepared.info.duration == 3
        assert "an animation of 6 frames is sent as a video" in prepared.plan.reason


@pytest.mark.parametrize("budget", ["auto", "static", "action", "original", "glance"])
def test_no_budget_sends_it_as_it_is(budget):
    """The service documents no animated pictures, so that even `original` makes a video of it."""
    with prepare(animation("GIF", [500] * 6), budget=budget) as prepared:
        assert prepared.info.container == "mp4"


@pytest.mark.parametrize(("told", "meant"), [(0, 100), (10, 100), (20, 20), (60, 60)])
@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG"])
def test_a_delay_of_nothing_is_a_tenth_of_a_second(kind, told, meant):
    """Browsers show frames that claim 10 ms or less for 100 ms."""
    assert look(animation(kind, [told] * 40)).duration == Fraction(meant * 40, 1000)


def test_the_last_frame_is_held_as_long_as_a_video_must_be():
    """A blink of half a second is shorter than the model takes; the plan says what was done."""
    with prepare(animation("GIF", [100] * 5)) as prepared:
        assert prepared.info.duration == OMNI.limits.min_video_seconds
        assert "its last frame is held for 1.5 s more" in prepared.plan.reason
    assert shown(animation("GIF", [100] * 5)) == [0, 1, 2, 3, *[0] * 16]


def test_a_range_of_it_can_be_sent():
    """Start and end count in the seconds of the animation."""
    data = animation("GIF", [500] * 12)

    assert shown(data, start=1, end=3) == [colour for colour in (2, 3, 0, 1) for _ in range(5)]
    with pytest.raises(MediaDoesNotFitError, match=r"lasts 6\.00 s"):
        prepare(data, start=7)


def test_it_can_be_cut_into_segments():
    """Like any video."""
    with_times = [(one.segment.start, one.segment.end) for one in split(animation("PNG", [500] * 40), seconds=9)]
    assert with_times[0][0] == 0
    assert with_times[-1][1] == 20
    assert len(with_times) > 1


@pytest.mark.parametrize("kind", KINDS)
def test_one_frame_can_be_chosen(kind):
    """`frame` makes a picture of it; the untouched file is never sent for one frame."""
    data = animation(kind, [100] * 4)
    for frame in range(4):
        with prepare(data, choices=PrepareOptions(frame=frame)) as prepared:
            assert (prepared.info.kind, prepared.info.container) == ("image", "jpeg")
            assert colour_at(Image.open(io.BytesIO(prepared.read()))) == frame
    with pytest.raises(MediaDoesNotFitError, match=r"has 4 frames; there is no frame 4\. Choose one from 0 to 3"):
        prepare(data, choices=PrepareOptions(frame=4))


def test_as_one_image_it_is_refused_with_both_ways_out():
    """The error tells the number of frames, the part for all of them and the option for one."""
    info, source = look(animation("WEBP", [100] * 7)), MediaSource.from_bytes(b"x")
    with pytest.raises(UnsupportedMediaError, match=r"an animation of 7 frames .*Send it as a video.*frame=0"):
        check_part(ImagePart(source=source), info, OMNI, f"message 0 part 0: {source.label}")
    with pytest.raises(UnsupportedMediaError, match=r"7 frames .*cannot be a frame"):
        check_part(FramesPart(frames=(source,)), info, OMNI, f"message 0 part 0: {source.label}")


@pytest.mark.parametrize("kind", KINDS)
def test_a_still_one_is_no_video(kind):
    """A GIF of one frame given as a video is told so."""
    info, source = look(animation(kind, [100])), MediaSource.from_bytes(b"x")
    assert info.kind == "image"
    with pytest.raises(UnsupportedMediaError, match=r"an image of a single frame .*Send it as an image"):
        check_part(VideoPart(source=source), info, OMNI, f"message 0 part 0: {source.label}")


def test_a_picture_for_old_readers_is_no_frame():
    """An animated PNG may begin with a picture that only readers without animation show."""
    data = animation("PNG", [500, 500, 500, 500], default_image=True)

    assert look(data).frame_count == 3
    assert shown(data)[:10] == [1, 1, 1, 1, 1, 2, 2, 2, 2, 2]


def test_frames_are_laid_over_each_other_as_the_file_says():
    """A frame that changes a corner keeps the rest."""
    first, second = Image.new("P", (96, 64), 1), Image.new("P", (96, 64), 0)
    for image in (first, second):
        image.putpalette([0, 0, 0, *COLOURS[0], *COLOURS[1]])
    second.paste(2, (0, 0, 20, 20))
    data = making.saved(first, second, kind="GIF", duration=1500, transparency=0, disposal=1)
    with prepare(data, budget=EACH_TENTH) as prepared:
        last = Image.open(io.BytesIO(prepared.jpegs[-1].data)).convert("RGB")
    assert last.getpixel((60, 40))[0] > 180  # still the first colour
    assert last.getpixel((8, 8))[1] > 140


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG"])
def test_a_cut_animation_is_refused(kind):
    """Half of the file is damage, not a shorter animation."""
    images = [Image.effect_noise((96, 64), 80 + at).convert("RGB") for at in range(12)]
    data = making.saved(*images, kind=kind, duration=200)
    with pytest.raises(UnreadableMediaError, match="damaged or truncated"):
        prepare(data[: len(data) * 2 // 3])


def test_a_frame_of_hours_is_refused_with_its_number():
    """WebP counts up to four hours and a half for one frame; nothing here holds a picture longer than one."""
    with pytest.raises(MediaDoesNotFitError, match=r"frame 1 for 16,777 s; at most 3,600 s"):
        prepare(animation("WEBP", [100, 16_777_215, 100]))


def claiming(data: bytes, width: int, height: int) -> bytes:
    """Write another canvas into a GIF."""
    return data[:6] + struct.pack("<HH", width, height) + data[10:]


@pytest.mark.parametrize("shape", [(9000, 9000), (8000, 4321)])
def test_a_canvas_beyond_8k_is_refused_before_it_is_decoded(shape):
    """Several of them are held at once; a frame alone can be sent."""
    data = claiming(animation("GIF", [100] * 3), *shape)
    with pytest.raises(MediaDoesNotFitError, match=rf"{shape[0]:,} by {shape[1]:,}.*at most 33,177,600.*frame=0"):
        look(data)


def test_a_large_animation_is_unpacked_smaller(monkeypatch):
    """The service looks at far fewer pixels; coordinates still count those of the file."""
    monkeypatch.setattr("qwen_omni.media.encode.unpack._MOST_PIXELS", 96 * 64 // 4)
    data = animation("GIF", [500] * 5, size=(96, 64))
    seen = look_at(MediaSource.from_bytes(data))
    with seen.reopenable.open() as file:
        inside = probe(file, label="it")

    assert (seen.info.width, seen.info.height) == (96, 64)
    assert (inside.width, inside.height) == (48, 32)
    assert shown(data) == [0] * 5 + [1] * 5 + [2] * 5 + [3] * 5 + [0] * 5


def test_an_animation_that_takes_too_long_is_refused_with_how_far_it_came(monkeypatch):
    """Decoders that hold the whole file are not ended by reading."""
    monkeypatch.setattr("qwen_omni.media.probe.image._ANIMATION_SECONDS", 0)
    with pytest.raises(MediaDoesNotFitError, match="only 1 of its 4 frames"):
        look(animation("WEBP", [100] * 4))


def test_an_animation_of_three_tall_lines_is_a_video():
    """One pixel wide, as long as a canvas may be, with every way of disposal."""
    for disposal in range(4):
        with prepare(animation("GIF", [900] * 3, size=(1, 2000), disposal=disposal)) as prepared:
            assert (prepared.info.kind, prepared.source_info.frame_count) == ("video", 3)
