"""Odd pictures that ImageMagick and FFmpeg made arrive as they look."""

import io
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from qwen_omni.errors import MediaError
from qwen_omni.media.prepare import prepare

pytestmark = pytest.mark.slow

SIZE = (120, 80)
LEFT, RIGHT = (200, 40, 40), (40, 60, 200)
GREYS = (60, 180)


def drawing() -> Image.Image:
    """Draw a red half and a blue half."""
    image = Image.new("RGB", SIZE, LEFT)
    image.paste(RIGHT, (SIZE[0] // 2, 0, *SIZE))
    return image


def grey() -> Image.Image:
    image = Image.new("L", SIZE, GREYS[0])
    image.paste(GREYS[1], (SIZE[0] // 2, 0, *SIZE))
    return image


def magick(name: str, *options: str, source: Callable[[], Image.Image] = drawing) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        program = shutil.which("magick") or shutil.which("convert")
        if program is None:
            pytest.skip("ImageMagick is not installed")
        source().save(folder / "plain.png")
        made = subprocess.run(
            [program, str(folder / "plain.png"), *options, str(folder / name)], capture_output=True, check=False
        )
        if made.returncode or not (folder / name).exists():
            pytest.skip(f"this ImageMagick does not write {name}")
        return folder / name

    return make


def ffmpeg(name: str, *options: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        program = shutil.which("ffmpeg")
        if program is None:
            pytest.skip("FFmpeg is not installed")
        drawing().save(folder / "plain.png")
        call = [
            program,
            "-v",
            "error",
            "-y",
            "-i",
            str(folder / "plain.png"),
            *options,
            "-frames:v",
            "1",
            "-update",
            "1",
        ]
        if subprocess.run([*call, str(folder / name)], capture_output=True, check=False).returncode:
            pytest.skip(f"this FFmpeg does not write {name}")
        return folder / name

    return make


COLOURED = {
    **{
        f"ffmpeg {name}": ffmpeg(name)
        for name in ("a.bmp", "a.dpx", "a.exr", "a.jls", "a.jp2", "a.pcx", "a.pfm", "a.ppm", "a.qoi", "a.sgi", "a.sun",
                     "a.tga", "a.tiff", "a.webp", "a.xwd", "a.avif", "a.gif", "a.jpg", "a.png")
    },
    "ffmpeg 16-bit PNG": ffmpeg("a.png", "-pix_fmt", "rgb48be"),
    "ffmpeg yuv444 JPEG": ffmpeg("a.jpg", "-pix_fmt", "yuvj444p", "-q:v", "2"),
    "ffmpeg 12-bit JPEG 2000": ffmpeg("a.jp2", "-pix_fmt", "rgb48le"),
    "ffmpeg lossless WebP": ffmpeg("a.webp", "-lossless", "1"),
    **{
        f"magick {name}": magick(name)
        for name in ("a.bmp", "a.bmp2", "a.bmp3", "a.jpg", "a.png", "a.tif", "a.gif", "a.webp", "a.psd", "a.pcx",
                     "a.ppm", "a.tga", "a.sgi", "a.ico", "a.dds", "a.jp2", "a.dpx", "a.xwd", "a.qoi")
    },
    "magick CMYK JPEG": magick("a.jpg", "-colorspace", "CMYK"),
    "magick CMYK TIFF": magick("a.tif", "-colorspace", "CMYK"),
    "magick Lab TIFF": magick("a.tif", "-colorspace", "Lab"),
    "magick 16-bit TIFF": magick("a.tif", "-depth", "16"),
    "magick planar TIFF": magick("a.tif", "-interlace", "plane"),
    "magick LZW TIFF": magick("a.tif", "-compress", "LZW"),
    "magick JPEG in TIFF": magick("a.tif", "-compress", "JPEG"),
    "magick big-endian TIFF": magick("a.tif", "-endian", "MSB"),
    "magick tiled TIFF": magick("a.tif", "-define", "tiff:tile-geometry=64x64"),
    "magick progressive JPEG": magick("a.jpg", "-interlace", "JPEG"),
    "magick interlaced PNG": magick("a.png", "-interlace", "PNG"),
    "magick palette PNG": magick("PNG8:a.png"),
    "magick 64-bit PNG": magick("PNG64:a.png"),
    "magick ASCII PPM": magick("a.ppm", "-compress", "none"),
    "magick RLE BMP": magick("a.bmp", "-type", "palette", "-compress", "RLE"),
}  # fmt: skip
GREY = {
    "magick 1-bit TIFF": (magick("a.tif", "-monochrome", source=grey), None),
    "magick fax TIFF": (magick("a.tif", "-monochrome", "-compress", "Group4", source=grey), None),
    "magick 16-bit grey PNG": (magick("a.png", "-depth", "16", source=grey), GREYS),
    "magick 16-bit grey TIFF": (magick("a.tif", "-depth", "16", source=grey), GREYS),
    "magick 12-bit grey TIFF": (magick("a.tif", "-depth", "12", source=grey), GREYS),
    "magick 32-bit float TIFF": (magick("a.tif", "-depth", "32", "-define", "quantum:format=floating-point",
                                        source=grey), GREYS),
    "magick 16-bit PGM": (magick("a.pgm", "-depth", "16", source=grey), GREYS),
    "magick 2-bit PNG": (magick("a.png", "-depth", "2", source=grey), None),
}  # fmt: skip


def table() -> str:
    """Return the kinds of pictures that are tried, for `docs/formats.md`."""
    rows = [(name, "looks as it did") for name in COLOURED]
    rows += [(name, "readable" if wanted is None else "keeps its brightness") for name, (_, wanted) in GREY.items()]
    lines = ["| Image | Made with | Result |", "|---|---|---|"]
    for name, result in rows:
        program, _, what = name.partition(" ")
        told = f"`{what.removeprefix('a.')}`" if what.startswith("a.") else what
        lines.append(f"| {told} | {'ImageMagick' if program == 'magick' else program} | {result} |")
    return "\n".join(lines) + "\n"


def seen(path: Path) -> tuple[Image.Image, bool]:
    """Prepare a picture and open what is sent; tell whether it went as it was."""
    with prepare(path) as prepared:
        image = Image.open(io.BytesIO(prepared.read())).convert("RGB")
        assert image.size == (prepared.info.width, prepared.info.height) == SIZE
        return image, prepared.plan.action == "pass"


def check(pixel, wanted) -> None:
    assert all(abs(one - other) <= 36 for one, other in zip(pixel, wanted, strict=True)), (pixel, wanted)


@pytest.mark.parametrize("name", list(COLOURED))
def test_a_coloured_picture_looks_as_it_did(name, tmp_path):
    """Whatever program and coding: the left half is red and the right half is blue."""
    image, _ = seen(COLOURED[name](tmp_path))

    check(image.getpixel((20, 40)), LEFT)
    check(image.getpixel((100, 40)), RIGHT)


@pytest.mark.parametrize("name", list(GREY))
def test_a_grey_picture_keeps_its_brightness(name, tmp_path):
    """Of any depth; one of two colours only has to be readable."""
    make, wanted = GREY[name]
    image, _ = seen(make(tmp_path))

    if wanted is not None:
        check(image.getpixel((20, 40)), (wanted[0],) * 3)
        check(image.getpixel((100, 40)), (wanted[1],) * 3)


@pytest.mark.parametrize("name", ["a.gif", "a.webp", "a.mng"])
def test_an_animation_of_another_program_is_a_video(name, tmp_path):
    """ImageMagick's delays are hundredths of a second."""
    program = shutil.which("magick") or shutil.which("convert")
    if program is None:
        pytest.skip("ImageMagick is not installed")
    drawing().save(tmp_path / "one.png")
    drawing().rotate(180).save(tmp_path / "two.png")
    call = [
        program,
        "-delay",
        "150",
        str(tmp_path / "one.png"),
        str(tmp_path / "two.png"),
        "-loop",
        "0",
        str(tmp_path / name),
    ]
    if subprocess.run(call, capture_output=True, check=False).returncode or not (tmp_path / name).exists():
        pytest.skip(f"this ImageMagick does not write {name}")
    try:
        with prepare(tmp_path / name) as prepared:
            assert (prepared.info.kind, prepared.source_info.frame_count) == ("video", 2)
            assert prepared.info.duration == 3
    except MediaError as error:
        assert name == "a.mng", error  # nothing here decodes MNG, and the error says so


def test_the_matrix_is_wide():
    """At least sixty kinds of pictures are tried."""
    assert len(COLOURED) + len(GREY) >= 60
