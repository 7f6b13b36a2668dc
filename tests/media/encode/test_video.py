"""How pictures are coded: plain x264 presets where the caller chose one, less work where few pictures come."""

from dataclasses import replace
from fractions import Fraction

import av
import numpy as np
import pytest
from av.video.frame import PictureType

from qwen_omni.media.encode.video import FrameEncoder, coding_of, open_encoder
from qwen_omni.media.plan.plan import Picture

FOUR = Picture(size=(320, 180), period=Fraction(1, 4))


@pytest.mark.parametrize(
    ("picture", "lean"),
    [
        (FOUR, True),
        (replace(FOUR, period=Fraction(1, 8)), True),
        (replace(FOUR, period=Fraction(1, 10)), True),
        (replace(FOUR, period=Fraction(1, 12)), False),
        (replace(FOUR, effort="medium"), False),
        (replace(FOUR, effort="ultrafast", quality=31), False),
    ],
)
def test_only_the_usual_effort_at_few_pictures_a_second_is_trimmed(picture, lean):
    """A preset that the caller chose, and pictures that follow closely, are left to x264."""
    coding = coding_of(picture)

    assert coding["preset"] == picture.effort
    assert ("x264-params" in coding) is lean
    assert float(coding["crf"]) == picture.quality + (0.5 if lean else 0)


def test_a_limit_on_the_bits_goes_with_either():
    """What may be sent at most does not depend on how it is coded."""
    for picture in (FOUR, replace(FOUR, effort="medium")):
        assert coding_of(replace(picture, most_bits=9000))["maxrate"] == "9000"


def _coded(picture: Picture) -> list[str]:
    """Return the types of the pictures in what was coded."""
    encoder = FrameEncoder(picture)
    numbers = np.random.default_rng(4)
    made = []
    still = numbers.integers(0, 255, (180, 320, 3), dtype=np.uint8)
    for number in range(12):
        frame = av.VideoFrame.from_ndarray(np.roll(still, 2 * number, 1), "rgb24").reformat(format="yuv420p")
        made += encoder.encode(frame, number, 1)
    made += encoder.end()
    decoder = av.CodecContext.create("h264", "r")
    decoder.extradata = open_encoder(picture, threads=1).extradata  # another encoder of the plan has the same header
    shown = [frame for packet in [*made, None] for frame in decoder.decode(packet)]
    assert [packet.pts for packet in sorted(made, key=lambda packet: packet.pts)] == list(range(12))
    assert all(packet.dts <= packet.pts for packet in made)
    return [PictureType(frame.pict_type).name for frame in shown]


def test_pictures_far_apart_are_coded_without_b_frames():
    """The same moving picture has B-frames at 25 frames a second, and none at 4."""
    assert "B" not in _coded(FOUR)
    assert "B" in _coded(replace(FOUR, period=Fraction(1, 25)))
