"""Pictures that are made to be slow: what is refused before it is decoded, and what ends in time."""

import io
import subprocess

import PIL
import pytest
from PIL import Image

from qwen_omni import MediaDoesNotFitError, UnreadableMediaError
from qwen_omni.media.probe import probe as scans
from qwen_omni.media.probe.probe import MOST_SCANS, count_scans, probe
from tests.support import making


def jpeg(**options) -> bytes:
    """A photo-like JPEG, with a thumbnail that has scans of its own."""
    picture = Image.effect_noise((160, 120), 60).convert("RGB")
    exif = b"Exif\0\0" + making.saved(picture.resize((32, 24)), kind="JPEG", progressive=True)
    profile = b"\xff\xda\0\x02" * 30_000
    return making.saved(picture, kind="JPEG", quality=70, exif=exif, icc_profile=profile, **options)


def slow(count: int) -> bytes:
    """A progressive JPEG whose last scan stands there again and again."""
    data = jpeg(progressive=True)
    last = data.rindex(b"\xff\xda")
    assert data.endswith(b"\xff\xd9")
    return data[:-2] + data[last:-2] * count + data[-2:]


def test_scans_are_counted_and_nothing_else():
    """Neither the scans of a thumbnail nor the bytes of a colour profile count."""
    assert count_scans(jpeg()) == (1, 160 * 120)
    usual, pixels = count_scans(jpeg(progressive=True))
    assert (2 <= usual <= 12, pixels) == (True, 160 * 120)
    assert count_scans(slow(3_000))[0] == usual + 3_000
    for cut in (b"", b"\xff", jpeg()[:100], jpeg(progressive=True)[:-500]):
        assert count_scans(cut)[0] >= 0


def test_a_jpeg_of_thousands_of_scans_is_refused_before_it_is_decoded(monkeypatch):
    """The error tells both numbers, and no decoder has seen the file."""
    monkeypatch.setattr(Image, "open", lambda *_, **__: pytest.fail("it was decoded"))
    data = slow(3_000)
    with pytest.raises(MediaDoesNotFitError, match=r"a.jpg is a JPEG with 3,0\d\d scans; at most 100") as told:
        probe(io.BytesIO(data), label="a.jpg")
    assert told.value.limit == MOST_SCANS
    assert told.value.actual > 3_000


@pytest.mark.parametrize("progressive", [False, True])
def test_usual_pictures_pass(progressive):
    info = probe(io.BytesIO(jpeg(progressive=progressive)), label="a.jpg")
    assert (info.width, info.height) == (160, 120)


def test_a_large_picture_may_have_fewer_scans(monkeypatch):
    """What counts is pixels times scans."""
    monkeypatch.setattr(scans, "MOST_WORK", 160 * 120 * 2)
    with pytest.raises(MediaDoesNotFitError, match="at most 2 are decoded at its size"):
        probe(io.BytesIO(jpeg(progressive=True)), label="a.jpg")
    assert probe(io.BytesIO(jpeg()), label="a.jpg").width == 160


@pytest.mark.parametrize("form", ["JPEG", "PNG", "GIF", "TIFF", "WEBP", "BMP"])  # AVIF is read in one piece
def test_decoding_ends_when_the_time_is_up(monkeypatch, form):
    """Each decoder reads through the clock: one that is late is stopped at its next read."""
    if form == "WEBP" and PIL.__version__ < "12":
        pytest.skip("Pillow 11 reads WebP in one piece")
    try:
        data = making.saved(Image.effect_noise((640, 480), 60).convert("RGB"), kind=form)
    except (KeyError, OSError):
        pytest.skip(f"this Pillow does not write {form}")
    assert probe(io.BytesIO(data), label="a").width == 640
    clock = iter([0.0, *[1.0] * 2, *[61.0] * 10_000])
    monkeypatch.setattr(scans.time, "monotonic", lambda: next(clock))
    with pytest.raises(UnreadableMediaError, match="could not be decoded within 60 s"):
        probe(io.BytesIO(data), label="a")


def test_a_picture_of_another_program_passes(tmp_path):
    """As jpegtran and ffmpeg write them, where they are."""
    for name, command in {
        "ffmpeg.jpg": ["ffmpeg", "-loglevel", "error", "-f", "lavfi", "-i", "testsrc2=s=320x240", "-frames:v", "1"],
        "magick.jpg": ["convert", "-size", "320x240", "plasma:", "-interlace", "JPEG"],
    }.items():
        try:
            subprocess.run([*command, tmp_path / name], check=True, capture_output=True, timeout=60)
        except (OSError, subprocess.SubprocessError):
            continue
        with (tmp_path / name).open("rb") as file:
            assert probe(file, label=name).width == 320
