"""Analyse one image: its codes, its colour, and its difference from another.

Arithmetic and zxing-cpp on arrays of pixels; files and streams are opened by `video_decode`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import zxingcpp

if TYPE_CHECKING:
    from numpy.typing import NDArray

_QR = zxingcpp.BarcodeFormats(zxingcpp.BarcodeFormat.QRCode)
_READ_LINES = 720  # a reasonably large code survives downsampling to this height
_NAMED = {
    "black": (16, 16, 16),
    "white": (240, 240, 240),
    "grey": (128, 128, 128),
    "red": (196, 48, 48),
    "green": (48, 150, 60),
    "blue": (52, 78, 200),
    "yellow": (214, 196, 40),
    "magenta": (176, 60, 180),
    "cyan": (40, 176, 186),
    "orange": (236, 132, 32),
    "brown": (110, 72, 40),
    "skin": (206, 164, 140),
}
_NAMES = tuple(_NAMED)
_VALUES = np.array([_NAMED[name] for name in _NAMES], np.int32)


def read_codes(grey: NDArray[np.uint8]) -> tuple[str, ...]:
    """Return the texts of all QR codes in a greyscale image, sorted."""
    step = max(1, min(grey.shape) // _READ_LINES)
    thin = np.ascontiguousarray(grey[::step, ::step])
    found = zxingcpp.read_barcodes(thin, formats=_QR)
    return tuple(sorted({barcode.text for barcode in found if barcode.text}))


def colour_name(rgb: NDArray[np.uint8]) -> str:
    """Return the colour that most pixels of a small RGB image are closest to; other colours outrank black and white."""
    pixels = rgb.reshape(-1, 3).astype(np.int32)
    nearest = np.argmin(((pixels[:, None, :] - _VALUES[None, :, :]) ** 2).sum(axis=2), axis=1)
    counts = np.bincount(nearest, minlength=len(_NAMES))
    counts[:2] //= 2  # black and white are often codes, subtitles and letterboxes
    return _NAMES[int(np.argmax(counts))]


def difference(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> float:
    """Return the mean absolute difference of two small images of the same size, in grey levels."""
    return float(np.abs(one.astype(np.int16) - other.astype(np.int16)).mean())
