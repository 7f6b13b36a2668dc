"""Decode images, and read the codes in the pixels of an image or a frame."""

from __future__ import annotations

import contextlib
import io
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import zxingcpp
from PIL import Image, UnidentifiedImageError

from qwen_omni.standin.media import ocr
from qwen_omni.standin.media.colours import colour_name, most_common, shares
from qwen_omni.standin.media.facts import Observed, ReadText, Scene
from qwen_omni.standin.media.open import UnreadableMediaError

if TYPE_CHECKING:
    from numpy.typing import NDArray

_FORMATS = ["BMP", "JPEG", "PNG", "TIFF", "WEBP"]
_THUMB = (32, 18)
_DESCRIBED = (64, 64)  # enough for shares of colours
_QR = zxingcpp.BarcodeFormats(zxingcpp.BarcodeFormat.QRCode)
_READ_LINES = 720  # a reasonably large code survives downsampling to this height


with contextlib.suppress(ImportError):  # the service accepts HEIC; here that depends on the installed packages
    import pillow_heif

    pillow_heif.register_heif_opener()
    _FORMATS.append("HEIF")


@dataclass(frozen=True, slots=True, kw_only=True)
class DecodedImage:
    """The content of one image."""

    image_format: str
    width: int
    height: int
    codes: tuple[str, ...]
    colour: str


def look(data: bytes) -> DecodedImage:
    """Decode one image.

    Raises:
        UnreadableMediaError: The bytes are not an image of a known kind, or a damaged one.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(data), formats=_FORMATS) as image:
                image.load()
                grey = np.asarray(image.convert("L"))
                thumb = np.asarray(image.convert("RGB").resize(_THUMB))
                name, size = image.format or "", image.size
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError, Image.DecompressionBombError, Warning) as error:
        raise UnreadableMediaError(str(error)) from error
    return DecodedImage(
        image_format=name.lower(),
        width=size[0],
        height=size[1],
        codes=read_codes(grey),
        colour=colour_name(thumb),
    )


def observe(data: bytes) -> Observed:
    """Return what is worth saying about an image that `look` has read and that has no marks."""
    with Image.open(io.BytesIO(data), formats=_FORMATS) as image:
        small = np.asarray(image.convert("RGB").resize(_DESCRIBED, Image.Resampling.BOX))
        text: tuple[str, ...] = ()
        if ocr.installed():
            image.thumbnail((ocr.LONGEST_SIDE, ocr.LONGEST_SIDE))
            text = ocr.read_image(np.asarray(image.convert("RGB")))
    brightness = round(float((small @ np.array((0.3, 0.59, 0.11))).mean()), 1)
    scene = Scene(start=0.0, end=0.0, colours=most_common(shares(small)), brightness=brightness)
    lines = tuple(ReadText(text=line, start=0.0, end=0.0) for line in text)
    return Observed(scenes=(scene,), text=lines, reads_text=ocr.installed())


def read_codes(grey: NDArray[np.uint8]) -> tuple[str, ...]:
    """Return the texts of all QR codes in a greyscale image, sorted."""
    step = max(1, min(grey.shape) // _READ_LINES)
    thin = np.ascontiguousarray(grey[::step, ::step])
    found = zxingcpp.read_barcodes(thin, formats=_QR)
    return tuple(sorted({barcode.text for barcode in found if barcode.text}))


def difference(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> float:
    """Return the mean absolute difference of two small images of the same size, in grey levels."""
    return float(np.abs(one.astype(np.int16) - other.astype(np.int16)).mean())
