"""What FFmpeg reads is taken, whatever its first bytes are; what is dangerous or unreadable is named."""

import io
import sys
from fractions import Fraction

import pytest
from PIL import Image

from qwen_omni.errors import UnreadableMediaError, UnsupportedMediaError
from qwen_omni.media.prepare import prepare
from qwen_omni.media.probe.probe import SILK_MARK, is_motion_jpeg, probe, recognise, silk_seconds
from qwen_omni.standin.media.perceive import Memory
from tests.support import making


def look(data: bytes):
    return probe(io.BytesIO(data), label="it")


@pytest.mark.parametrize(
    ("container", "codec", "name"),
    [
        ("w64", "pcm_s16le", "w64"), ("au", "pcm_s16be", "au"), ("ac3", "ac3", "ac3"), ("eac3", "eac3", "eac3"),
        ("wv", "wavpack", "wv"), ("tta", "tta", "tta"), ("voc", "pcm_s16le", "voc"), ("sox", "pcm_s32le", "sox"),
        ("nut", "pcm_s16le", "nut"), ("rm", "ac3", "rm"), ("latm", "aac", "loas"), ("ircam", "pcm_s16le", "ircam"),
    ],
)  # fmt: skip
def test_recordings_of_any_kind_become_mp3(container, codec, name):
    """Each is read by its content and made into what the service documents."""
    with prepare(making.sound(container, codec, 2, rate=48_000)) as prepared:
        assert (prepared.source_info.kind, prepared.source_info.container) == ("audio", name)
        assert abs(prepared.source_info.duration - 2) < Fraction(1, 10)
        assert prepared.info.container == "mp3"
        facts = Memory().recall("audio", prepared.read())
    assert abs(facts.duration - 2) < 0.15


@pytest.mark.parametrize(
    ("container", "codec", "name"),
    [
        ("h264", "libx264", "h264"), ("hevc", "libx265", "hevc"), ("mpeg2video", "mpeg2video", "mpegvideo"),
        ("m4v", "mpeg4", "m4v"), ("ivf", "libvpx-vp9", "ivf"), ("nut", "mpeg4", "nut"),
    ],
)  # fmt: skip
def test_videos_of_any_kind_become_mp4(container, codec, name):
    """Also bare streams, whose packets have no times; every picture is there."""
    with prepare(making.video(container, codec, 3)) as prepared:
        source = prepared.source_info
        assert (source.kind, source.container) == ("video", name)
        assert prepared.info.container == "mp4"
        if source.unpacked:
            assert source.frame_count == 30
            assert source.duration == 30 / source.fps


def test_zeros_before_a_recording_are_passed_over():
    """Some recorders write a block of zeros first; a file of nothing else is named."""
    data = bytes(9000) + making.sound("mp3", "libmp3lame", 3)
    with prepare(data, budget="static") as prepared:
        assert abs(prepared.source_info.duration - 3) < Fraction(1, 5)
    with pytest.raises(UnreadableMediaError, match="zero bytes only"):
        look(bytes(50_000))


@pytest.mark.parametrize("kind", ["JPEG2000", "PPM", "PCX", "ICO", "DDS", "TGA", "BMP", "ICNS", "QOI"])
def test_pictures_of_any_kind_become_jpeg(kind):
    """What Pillow reads is made into JPEG, but for what the service documents."""
    with prepare(making.saved(Image.new("RGB", (64, 64), (200, 30, 30)), kind=kind)) as prepared:
        assert prepared.info.kind == "image"
        assert prepared.info.container in ("jpeg", "bmp")
        seen = Image.open(io.BytesIO(prepared.read())).convert("RGB").getpixel((5, 5))
    assert all(abs(one - other) < 12 for one, other in zip(seen, (200, 30, 30), strict=True))


def test_joined_jpegs_are_a_video_and_photos_of_several_views_are_not():
    """A camera's MJPEG begins like a photo; a photo with a gain map (MPF) holds a second JPEG and stays one."""
    photo = making.picture("JPEG")

    assert recognise(photo).container == "jpeg"
    assert is_motion_jpeg(photo * 3)
    assert not is_motion_jpeg(photo)
    assert not is_motion_jpeg(b"\xff\xd8\xff\xe2\0\x10MPF\0" + photo * 4)


def silk(packets: int, *, tencent: bool = True, end: bool = True) -> bytes:
    body = b"".join(b"\x03\0" + bytes([at % 256, 1, 2]) for at in range(packets))
    return b"\x02" * tencent + SILK_MARK + body + b"\xff\xff" * end


@pytest.mark.parametrize("tencent", [True, False])
def test_the_length_of_silk_is_that_of_its_packets(tencent):
    """Each lasts 20 ms; with or without the byte of WeChat before, and the mark behind."""
    assert silk_seconds(silk(150, tencent=tencent, end=not tencent)) == 3
    info = look(silk(150, tencent=tencent))
    assert (info.kind, info.container, info.duration) == ("audio", "silk", 3)
    with pytest.raises(UnreadableMediaError, match="SILK recording but is truncated"):
        look(silk(150, end=False)[:-1])


def test_silk_without_its_codec_says_what_to_install(monkeypatch):
    """Whatever the file is called: WeChat writes .amr, .aud, .slk."""
    monkeypatch.setitem(sys.modules, "pysilk", None)
    with pytest.raises(UnsupportedMediaError, match=r"SILK recording \(WeChat, QQ\).*qwen-omni\[silk\]"):
        prepare(silk(150))


def test_heic_without_its_codec_says_what_to_install(monkeypatch):
    """Phones of Apple write HEIC."""
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    monkeypatch.delitem(Image.OPEN, "HEIF", raising=False)
    with pytest.raises(UnsupportedMediaError, match=r"pillow-heif.*qwen-omni\[heic\]"):
        look(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(64))


@pytest.mark.parametrize("tencent", [True, False])
def test_silk_is_heard(tencent, tmp_path):
    """A voice message arrives with its seconds."""
    pysilk = pytest.importorskip("pysilk", reason="the extra silk is not installed")
    from qwen_omni.standin.marked_media import make_audio  # noqa: PLC0415

    truth = make_audio(tmp_path / "voice.wav", seconds=3, seed=5, sample_rate=24_000)
    held = io.BytesIO()
    pysilk.encode(io.BytesIO(truth.path.read_bytes()[44:]), held, 24_000, 24_000, tencent=tencent)
    with prepare(held.getvalue()) as prepared:
        facts = Memory().recall("audio", prepared.read())
    assert [mark.code for mark in facts.sound_marks] == list(truth.codes)


@pytest.mark.slow
def test_heic_is_read():
    """Its size is known, and it is documented, so that it passes; from a picture of it a smaller one can be made."""
    heif = pytest.importorskip("pillow_heif", reason="the extra heic is not installed")
    held = io.BytesIO()
    heif.from_pillow(Image.new("RGB", (3000, 2000), (200, 30, 30))).save(held, quality=80)
    with prepare(held.getvalue()) as prepared:
        assert (prepared.source_info.container, prepared.info.container) == ("heic", "jpeg")
        assert prepared.plan.tokens == prepared.plan.tokens_as_is
