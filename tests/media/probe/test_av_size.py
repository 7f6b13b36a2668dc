"""What the head of an H.264 stream tells is what its decoder gives."""

import io
from fractions import Fraction

import av
import pytest
from hypothesis import given, settings, strategies as st

from qwen_omni.errors import UnreadableMediaError
from qwen_omni.media.probe.av import progressive_size
from qwen_omni.media.probe.probe import probe
from tests.support import making
from tests.support.odd import ODD

OPTIONS = {
    "baseline": {"profile": "baseline"},
    "main": {"profile": "main"},
    "high": {"profile": "high"},
    "scaling lists": {"x264-params": "cqm=jvt"},
    "b-frames": {"bf": "3", "x264-params": "b-pyramid=normal:open-gop=1"},
}


def configuration(size: tuple[int, int], pixels: str, options: dict[str, str]) -> bytes:
    """Return what x264 writes into the `avcC` box of a film."""
    held = io.BytesIO()
    with av.open(held, "w", format="mp4") as film:
        stream = film.add_stream("libx264", rate=25, options={"preset": "ultrafast", **options})
        stream.width, stream.height, stream.pix_fmt, stream.time_base = *size, pixels, Fraction(1, 25)
        frame = av.VideoFrame(*size, pixels)
        for plane in frame.planes:
            plane.update(bytes(plane.buffer_size))
        making.add_frames(film, stream, [frame])
    data = held.getvalue()
    at = data.index(b"avcC")
    return data[at + 4 : at - 4 + int.from_bytes(data[at - 4 : at], "big")]


@pytest.mark.parametrize("coding", OPTIONS)
@settings(max_examples=10)
@given(width=st.integers(8, 200), height=st.integers(8, 200))
def test_sizes_of_all_profiles(coding, width, height):
    size = (width * 2, height * 2)

    assert progressive_size(configuration(size, "yuv420p", OPTIONS[coding])) == size


@pytest.mark.parametrize("pixels", ["yuv420p", "yuv422p", "yuv444p", "yuv420p10le", "gray"])
@settings(max_examples=5)
@given(width=st.integers(8, 100), height=st.integers(8, 100))
def test_sizes_of_all_chroma(pixels, width, height):
    size = (width * 2, height * 2) if "444" not in pixels else (width * 2 + 1, height * 2 + 1)

    assert progressive_size(configuration(size, pixels, {})) == size


def test_where_pictures_may_be_interlaced_a_picture_has_to_tell():
    assert progressive_size(configuration((64, 64), "yuv420p", {"x264-params": "tff=1:interlaced=1"})) is None


WHOLE = configuration((322, 182), "yuv420p", {"preset": "medium"})


@given(st.binary(max_size=80), st.integers(0, 60))
def test_damage_is_no_size_or_another_and_never_an_error(data, cut):
    for some in (data, b"\1" + data, WHOLE[:cut], WHOLE[:cut] + data, b"\1dddd\xe1\0\x30" + data):
        size = progressive_size(some)
        assert size is None or min(size) > 0


def test_a_box_that_names_another_size_is_not_believed(tmp_path):
    """Some programs write the size for display there."""
    data = bytearray(ODD["mp4 h264"].make(tmp_path).path.read_bytes())
    at = data.index(bytes.fromhex("0140 00b4 0048 0000"))  # 320 by 180, 72 dots an inch
    data[at : at + 4] = bytes.fromhex("00a0 00c8")

    info = probe(io.BytesIO(data), label="clip")

    assert (info.width, info.height) == (320, 180)


def head_of_size(width: int, height: int) -> bytes:
    """Write the shortest head there is, of a baseline stream, for a size in blocks of 16 pixels."""

    def number(value: int) -> str:
        digits = f"{value + 1:b}"
        return "0" * (len(digits) - 1) + digits

    told = [number(value) for value in (0, 0, 2, 1)] + [
        "0",
        number(width // 16 - 1),
        number(height // 16 - 1),
        "110011",
    ]
    bits = "".join(told)
    bits += "0" * (-len(bits) % 8)
    return bytes((0x67, 66, 0, 30)) + int(bits, 2).to_bytes(len(bits) // 8, "big")


@pytest.mark.parametrize(("size", "fits"), [((640, 368), True), ((5984, 6000), True), ((6016, 6000), False)])
def test_a_head_may_not_claim_more_pixels_than_are_decoded(tmp_path, size, fits):
    """Else a box that claims a small size would let it through, and a budget be counted for a size of nowhere."""
    data = bytearray(ODD["mp4 h264"].make(tmp_path).path.read_bytes())
    at = data.index(b"avcC") + 4 + 8
    length, head = int.from_bytes(data[at - 2 : at], "big"), head_of_size(*size)
    data[at : at + length] = head.ljust(length, b"\0")

    if fits:
        info = probe(io.BytesIO(data), label="clip")
        assert (info.width, info.height) == size
    else:
        with pytest.raises(UnreadableMediaError, match="6,016 by 6,000 pixels; at most 36,000,000"):
            probe(io.BytesIO(data), label="clip")
