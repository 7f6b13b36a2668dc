"""Which packets clear everything before them, and that skipping up to them changes no frame that is kept."""

from fractions import Fraction

import av
import pytest

from qwen_omni.media.encode.frames import FrameRun, length_bytes_of, read_frames, resets
from qwen_omni.media.prepare import look_at
from qwen_omni.media.probe.container import open_for_work, video_stream
from qwen_omni.media.source import as_source
from qwen_omni.media.work import Deadline
from qwen_omni.standin import marked_media
from qwen_omni.standin.marked_media import Encoding

IDR, SLICE, SPS, SEI = 0x65, 0x41, 0x67, 0x06
HEVC_IDR, HEVC_CRA, HEVC_VPS = 19 << 1, 21 << 1, 32 << 1


def _sized(*kinds: int) -> bytes:
    return b"".join(bytes([0, 0, 0, 3, kind, 1, 2]) for kind in kinds)


def _coded(*kinds: int) -> bytes:
    return b"".join(bytes([0, 0, 1, kind, 9, 9]) for kind in kinds)


@pytest.mark.parametrize(
    ("codec", "kinds", "clears"),
    [
        ("h264", [IDR], True),
        ("h264", [SPS, SEI, IDR], True),
        ("h264", [SEI, SLICE], False),  # a recovery point: a gradual refresh or an open group
        ("h264", [SPS], False),
        ("hevc", [HEVC_VPS, HEVC_IDR], True),
        ("hevc", [HEVC_VPS, HEVC_CRA], False),  # pictures that are shown before it may refer across it
        ("vp9", [0], True),
        ("av1", [0], True),
        ("mpeg2video", [0], False),
        ("mpeg4", [0], False),
    ],
)
def test_only_what_clears_is_believed_to_clear(codec, kinds, clears):
    """The kind of the first picture decides, however units are parted; of other codecs some always clear."""
    assert resets(codec, _sized(*kinds), 4) is clears
    assert resets(codec, _coded(*kinds), 0) is clears


@pytest.mark.parametrize("data", [b"", b"\0\0\1", b"\xff" * 9, b"\0\0\0\0" * 99])
def test_nonsense_clears_nothing(data):
    """Damaged packets are no proof of anything."""
    assert not resets("h264", data, 4)
    assert not resets("h264", data, 0)


def test_the_parting_of_units_is_read_from_the_parameters():
    """The boxes avcC and hvcC tell how many bytes tell a length; other parameters have start codes."""
    assert length_bytes_of("h264", bytes([1, 100, 0, 31, 0xFF, 0xE1])) == 4
    assert length_bytes_of("hevc", bytes([1] + [0] * 20 + [0xF1])) == 2
    assert length_bytes_of("h264", b"\0\0\0\1\x67") == 0
    assert length_bytes_of("h264", None) == 0


CODINGS = {
    "closed groups": ("a.mp4", "libx264", (("preset", "fast"), ("g", "30"), ("bf", "3"))),
    "start codes": ("a.ts", "libx264", (("preset", "fast"), ("g", "30"), ("bf", "3"))),
    "open groups": ("a.mkv", "libx264", (("preset", "fast"), ("x264-params", "open-gop=1:keyint=30:bframes=3"))),
    "gradual refresh": ("b.mkv", "libx264", (("preset", "fast"), ("x264-params", "intra-refresh=1:keyint=30"))),
    "hevc": ("c.mp4", "libx265", (("preset", "ultrafast"), ("x265-params", "log-level=none:keyint=30:open-gop=1"))),
    "mpeg 2": ("c.ts", "mpeg2video", (("g", "12"), ("bf", "2"))),
    "intra only": ("d.avi", "mjpeg", ()),
}


@pytest.mark.parametrize("coding", CODINGS)
@pytest.mark.parametrize("period", [Fraction(1, 4), Fraction(3, 4)])
def test_kept_frames_equal_a_full_decode(coding, period, tmp_path):
    """However a film is coded, each frame that is kept has the bits that a full decode gives it."""
    name, codec, options = CODINGS[coding]
    pixels = "yuvj420p" if codec == "mjpeg" else "yuv420p"
    encoding = Encoding(codec=codec, options=options, pixel_format=pixels)
    made = marked_media.make_video(tmp_path / name, seconds=6, size=(160, 90), fps=25, sound=False, encoding=encoding)
    with av.open(str(made.path)) as container:
        whole = {frame.pts: _bits(frame) for frame in container.decode(video=0)}
    look = look_at(as_source(made.path))

    with look.reopenable.open() as file, open_for_work(file, look.reopenable.size_bytes) as container:
        stretch = FrameRun(begin=look.info.origin, period=period)
        stream = video_stream(container)
        kept = {frame.pts: _bits(frame) for frame, _, _ in read_frames(container, stream, stretch, Deadline())}

    assert len(kept) == 6 / period
    assert {pts: whole[pts] for pts in kept} == kept


def _bits(frame) -> bytes:
    return b"".join(bytes(plane) for plane in frame.planes)
