"""Make the images that are sent for one image, with Pillow: upright, 8-bit RGB, on white, JPEG."""

import io
from collections import Counter
from dataclasses import replace
from fractions import Fraction

from PIL import Image, ImageCms, ImageOps

from qwen_omni.errors import QwenOmniError, UnreadableMediaError
from qwen_omni.media.files.safe_open import Reopenable
from qwen_omni.media.files.tempfiles import machine_fault
from qwen_omni.media.info import MediaInfo
from qwen_omni.media.plan.images import JpegImage, Piece
from qwen_omni.media.plan.plan import MediaPlan
from qwen_omni.media.probe.image import check_pixels, is_see_through, open_image, pages_of
from qwen_omni.media.work import Deadline

_QUALITY = 90
_DEEP = ("I;16", "I;16L", "I;16B", "I;16N", "I", "F")
_WHITE = 255
_DEPTHS = (8, 10, 12, 14, 16)  # bit depths of grey values
_MAX_SAMPLE_VALUE = 281  # TIFF 6.0: the value of white, if the file states it


def make_images(
    source: Reopenable, info: MediaInfo, plan: MediaPlan, deadline: Deadline
) -> tuple[MediaInfo, tuple[JpegImage, ...]]:
    """Make the JPEG images that a plan describes: one, tiles of a tall image, or pages of a file.

    Raises:
        UnreadableMediaError: it is damaged or truncated.
    """
    made: list[JpegImage] = []
    piece: Piece | None = None
    try:
        with source.open() as file, open_image(file, info.container, source.label) as image:
            places = pages_of(image, info.container, source.label)
            tiles = Counter(piece.page for piece in plan.pieces)
            open_page, shown = -1, image
            for piece in plan.pieces:
                deadline.check()
                whole = tiles[piece.page] == 1
                if piece.page != open_page:
                    if len(places) > 1:
                        image.seek(places[piece.page])
                    check_pixels(image, source.label)
                    open_page, shown = piece.page, _upright(image, info, piece, whole=whole)
                part = shown if whole else shown.crop(piece.box)
                made.append(JpegImage(time=Fraction(0), data=_jpeg(part, piece.size), piece=piece))
    except QwenOmniError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning, OSError, ValueError, SyntaxError) as error:
        fault = machine_fault(error, f"prepare {source.label}")
        if fault is not None:
            raise fault from error
        raise UnreadableMediaError(_damaged(source.label, piece, info, error)) from None
    width, height = made[0].piece.size if len(made) == 1 and made[0].piece else (info.width, info.height)
    size = sum(len(image.data) for image in made)
    return image_info(replace(info, width=width, height=height, size_bytes=size)), tuple(made)


def _damaged(label: str, piece: Piece | None, info: MediaInfo, error: Exception) -> str:
    """Describe what is damaged: for a file of several pages also which one, and how to continue without it."""
    page = step = ""
    if piece is not None and len(info.pages) > 1:
        page = f": page {piece.page} of {len(info.pages):,} (counted from 0)"
        step = " Send the others one by one with frame=."
    return f"{label}{page} is damaged or truncated: {str(error) or type(error).__name__}.{step}"


def image_info(info: MediaInfo) -> MediaInfo:
    """Return the facts of a JPEG that was made from an image."""
    return MediaInfo(
        kind="image",
        container="jpeg",
        media_type="image/jpeg",
        size_bytes=info.size_bytes,
        width=info.width,
        height=info.height,
    )


def plain_colours(image: Image.Image) -> Image.Image:
    """Return a decoded image in 8-bit RGB; transparent parts become white."""
    if image.mode in _DEEP:
        return _eight_bits(image).convert("RGB")
    if is_see_through(image):
        clear = image.convert("RGBA")
        ground = Image.new("RGBA", clear.size, (255, 255, 255, 255))
        return Image.alpha_composite(ground, clear).convert("RGB")
    if image.mode == "LAB":
        return _from_lab(image)
    return image.convert("RGB")


def _upright(image: Image.Image, info: MediaInfo, piece: Piece, *, whole: bool) -> Image.Image:
    """Decode a page as it is shown, in plain colours."""
    if whole and image.format == "JPEG":
        stored = piece.size[::-1] if info.rotation in (90, 270) else piece.size
        image.draft("RGB", stored)  # JPEG decodes directly to a half, quarter or eighth if that is enough
    return plain_colours(ImageOps.exif_transpose(image))


def _jpeg(part: Image.Image, size: tuple[int, int]) -> bytes:
    fitting = part if part.size == size else part.resize(size, Image.Resampling.LANCZOS)
    held = io.BytesIO()
    fitting.save(held, "JPEG", quality=_QUALITY, optimize=True)
    return held.getvalue()


def _from_lab(image: Image.Image) -> Image.Image:
    lab, rgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
    turned = ImageCms.applyTransform(image, ImageCms.buildTransform(lab, rgb, "LAB", "RGB"))
    assert turned is not None
    return turned


def _eight_bits(image: Image.Image) -> Image.Image:
    """Scale deep grey values to 0 to 255; Pillow's own conversion would clip everything above 255 to white."""
    wide = image if image.mode == "F" else image.convert("I")
    low, high = (float(value) for value in wide.getextrema())  # type: ignore[arg-type]  # one channel
    black, white = _range(image, low, high)
    scale = _WHITE / (white - black or 1.0)
    return wide.convert("F").point(lambda value: value * scale + (0.5 - black * scale)).convert("L")


def _range(image: Image.Image, low: float, high: float) -> tuple[float, float]:
    """Return which values are black and white.

    White is what the file states, else the largest value of the smallest depth that holds all values: a scanner or
    camera of 12 bits stores them in 16. An image of a single value does not reveal its depth, so 16 bits are assumed.
    """
    white = getattr(image, "tag_v2", {}).get(_MAX_SAMPLE_VALUE)
    white = white[0] if isinstance(white, tuple) and white else white
    if image.mode == "F":
        if low >= 0 and high <= 1:
            return 0.0, 1.0
        return (0.0, float(_WHITE)) if low >= 0 and high <= _WHITE else (low, high)
    if low < 0 or high >= 1 << 16:
        return low, high
    if isinstance(white, int | float) and high <= white < 1 << 16:
        return 0.0, float(white)
    depth = 16 if low == high > _WHITE else next(bits for bits in _DEPTHS if high < 1 << bits)
    return 0.0, float((1 << depth) - 1)
