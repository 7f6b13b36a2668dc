"""Decode images, and read the codes in the pixels of an image or a frame."""

from __future__ import annotations

import contextlib
import io
import warnings
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import zxingcpp
from PIL import Image, UnidentifiedImageError

from qwen_omni.standin.media import ocr
from qwen_omni.standin.media.colours import colour_name, most_common, shares
from qwen_omni.standin.media.facts import ColourSpan, Mark, Observed, ReadText, Scene
from qwen_omni.standin.media.open import UnreadableMediaError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from qwen_omni.standin.media.facts import MediaFacts

_FORMATS = ["BMP", "JPEG", "PNG", "TIFF", "WEBP"]
_THUMB = (32, 18)
_DESCRIBED = (64, 64)  # enough for shares of colours
_QR = zxingcpp.BarcodeFormats(zxingcpp.BarcodeFormat.QRCode)
_READ_LINES = 720  # a reasonably large code survives downsampling to this height


with contextlib.suppress(ImportError):  # the service accepts HEIC; here that depends on the installed packages
    import pillow_heif

    pillow_heif.register_heif_opener()
    _FORMATS.append("HEIF")


def with_image(facts: MediaFacts, data: bytes) -> MediaFacts:
    """Decode one image and add it to the facts about the file.

    Raises:
        UnreadableMediaError: The bytes are not an image of a known kind, or a damaged one.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(data), formats=_FORMATS) as image:
                image.load()
                grey, colour = np.asarray(image.convert("L")), image.convert("RGB")
                name = image.format or ""
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError, Image.DecompressionBombError, Warning) as error:
        raise UnreadableMediaError(str(error)) from error
    facts = replace(
        facts,
        container=name.lower(),
        width=colour.width,
        height=colour.height,
        frames=1,
        picture_marks=tuple(Mark(code=code, start=0.0, end=0.0) for code in read_codes(grey)),
        colours=(ColourSpan(name=colour_name(np.asarray(colour.resize(_THUMB))), start=0.0),),
    )
    return facts if facts.marked else replace(facts, observed=_observed(colour))


def _observed(image: Image.Image) -> Observed:
    """Return what is worth saying about an RGB image without marks."""
    small = np.asarray(image.resize(_DESCRIBED, Image.Resampling.BOX))
    brightness = round(float((small @ np.array((0.3, 0.59, 0.11))).mean()), 1)
    scene = Scene(start=0.0, end=0.0, colours=most_common(shares(small)), brightness=brightness)
    text: tuple[str, ...] = ()
    if ocr.installed():
        image.thumbnail((ocr.LONGEST_SIDE, ocr.LONGEST_SIDE))
        text = ocr.read_image(np.asarray(image))
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
