"""HDR pictures come out as bright as they are meant, not as grey as their numbers look."""

import av
import numpy as np
import pytest

from qwen_omni.media.encode import frames
from qwen_omni.media.encode.frames import Shaper, _is_hdr
from qwen_omni.media.plan.plan import Picture

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
    return Shaper(Picture(size=(160, 90), period=1))


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
