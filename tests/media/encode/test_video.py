"""How pictures are coded: plain x264 presets where the caller chose one, less work where few pictures come."""

from dataclasses import replace
from fractions import Fraction

import av
import numpy as np
import pytest
from av.video.frame import PictureType

from qwen_omni.media.encode import frames
from qwen_omni.media.encode.frames import Shaper, _is_hdr
from qwen_omni.media.encode.video import FrameEncoder, coding_of, open_encoder
from qwen_omni.media.plan.plan import FrameEncoding

FOUR = FrameEncoding(size=(320, 180), period=Fraction(1, 4))


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


def _coded(encoding: FrameEncoding) -> list[str]:
    """Return the types of the pictures in what was coded."""
    encoder = FrameEncoder(encoding)
    numbers = np.random.default_rng(4)
    made = []
    still = numbers.integers(0, 255, (180, 320, 3), dtype=np.uint8)
    for number in range(12):
        frame = av.VideoFrame.from_ndarray(np.roll(still, 2 * number, 1), "rgb24").reformat(format="yuv420p")
        made += encoder.encode(frame, number, 1)
    made += encoder.end()
    decoder = av.CodecContext.create("h264", "r")
    decoder.extradata = open_encoder(encoding, threads=1).extradata  # another encoder of the plan has the same header
    shown = [frame for packet in [*made, None] for frame in decoder.decode(packet)]
    assert [packet.pts for packet in sorted(made, key=lambda packet: packet.pts)] == list(range(12))
    assert all(packet.dts <= packet.pts for packet in made)
    return [PictureType(frame.pict_type).name for frame in shown]


def test_pictures_far_apart_are_coded_without_b_frames():
    """The same moving picture has B-frames at 25 frames a second, and none at 4."""
    assert "B" not in _coded(FOUR)
    assert "B" in _coded(replace(FOUR, period=Fraction(1, 25)))


# --- HDR ---


PQ, HLG, BT709, BT2020 = 16, 18, 1, 9


def _grey(level: int, transfer: int, primaries: int) -> av.VideoFrame:
    """Return an even 10-bit picture of this luma, 64 being black and 940 white."""
    frame = av.VideoFrame(320, 180, "yuv420p10le")
    for plane, value in zip(frame.planes, (level, 512, 512), strict=True):
        plane.update(np.full(plane.buffer_size // 2, value, "<u2").tobytes())
    frame.color_trc, frame.color_primaries, frame.color_range = transfer, primaries, 1
    frame.colorspace = 9 if primaries == BT2020 else 1
    return frame


def _luma(frame: av.VideoFrame, shaper: Shaper | None = None) -> float:
    shaped = (shaper or _shaper()).shape(frame)
    return float(np.frombuffer(bytes(shaped.planes[0]), np.uint8)[:160].mean())


def _shaper() -> Shaper:
    return Shaper(FrameEncoding(size=(160, 90), period=1))


@pytest.mark.slow  # seconds for each table of colours
@pytest.mark.parametrize(("level", "transfer"), [(572, PQ), (721, HLG)])
def test_a_white_sheet_is_white_and_black_stays_black(level, transfer):
    """Paper white of HDR (203 nits, ITU-R BT.2408) is a mid grey by its number; it has to become bright, black not."""
    shaper = _shaper()  # its table of colours is dear
    plain = _luma(_grey(level, BT709, BT709))
    assert _luma(_grey(level, transfer, BT2020), shaper) > max(plain + 20, 180)
    assert _luma(_grey(64, transfer, BT2020), shaper) <= 18


def test_usual_pictures_keep_their_numbers():
    """Ten bits alone are no HDR."""
    assert abs(_luma(_grey(572, BT709, BT709)) - 572 / 4) <= 1


def test_the_dear_table_of_colours_is_kept_for_the_thread(monkeypatch):
    """Each piece of a film has a shaper of its own; the table takes seconds to make, so they share the thread's."""
    worked = []

    class Noted:
        def reformat(self, frame, **_options):
            worked.append((self, _is_hdr(frame)))
            return av.VideoFrame(160, 90, "yuv420p")

    monkeypatch.setattr(frames, "VideoReformatter", Noted)
    monkeypatch.setattr(frames, "_COLOURS", frames._Colours())
    for shaper in (shapers := [_shaper(), _shaper()]):
        shaper.shape(_grey(64, PQ, BT2020))
        shaper.shape(_grey(64, BT709, BT709))

    assert len({scaler for scaler, hdr in worked if hdr}) == 1
    assert len({scaler for scaler, hdr in worked if not hdr}) == len(shapers)
