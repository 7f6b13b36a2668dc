"""Names of colours: the common ones, with the share of a small image that each has, and a few for the dominant colour.

Arithmetic only.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

NAMES = (
    "black", "dark grey", "grey", "light grey", "white", "red", "dark red", "pink", "orange", "brown", "beige",
    "yellow", "olive", "green", "dark green", "light green", "turquoise", "blue", "dark blue", "light blue", "purple",
)  # fmt: skip
_INDEX = {name: index for index, name in enumerate(NAMES)}
_GREYS = ((0.16, "black"), (0.36, "dark grey"), (0.66, "grey"), (0.86, "light grey"), (2.0, "white"))
_HUES = (
    (15, "red"), (42, "orange"), (68, "yellow"), (165, "green"), (195, "turquoise"), (258, "blue"), (318, "purple"),
    (345, "pink"), (361, "red"),
)  # fmt: skip
_DARK = {
    "red": "dark red", "orange": "brown", "yellow": "olive", "green": "dark green", "turquoise": "dark green",
    "blue": "dark blue", "purple": "purple", "pink": "dark red",
}  # fmt: skip
_PALE = {
    "red": "pink", "orange": "beige", "yellow": "beige", "green": "light green", "turquoise": "light blue",
    "blue": "light blue", "purple": "pink", "pink": "pink",
}  # fmt: skip
_LEVELS = 32  # per channel of the table
_FEW = {
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
_FEW_NAMES = tuple(_FEW)
_FEW_VALUES = np.array([_FEW[name] for name in _FEW_NAMES], np.int32)


def shares(rgb: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return the share of each of `NAMES` in a small RGB image."""
    cells = (rgb >> 3).reshape(-1, 3).astype(np.int32)
    found = _table()[(cells[:, 0] * _LEVELS + cells[:, 1]) * _LEVELS + cells[:, 2]]
    counted: NDArray[np.float32] = np.bincount(found, minlength=len(NAMES)).astype(np.float32)
    counted /= max(1, len(found))
    return counted


def most_common(of: NDArray[np.float32], most: int = 3, least: float = 0.12) -> tuple[tuple[str, float], ...]:
    """Return the names of the largest shares, largest first; always at least one."""
    order = np.argsort(-of, kind="stable")[:most]
    kept = [(NAMES[int(index)], round(float(of[index]), 3)) for index in order]
    return tuple(one for place, one in enumerate(kept) if place == 0 or one[1] >= least)


def colour_name(rgb: NDArray[np.uint8]) -> str:
    """Return the colour that most pixels of a small RGB image are closest to; other colours outrank black and white."""
    pixels = rgb.reshape(-1, 3).astype(np.int32)
    nearest = np.argmin(((pixels[:, None, :] - _FEW_VALUES[None, :, :]) ** 2).sum(axis=2), axis=1)
    counts = np.bincount(nearest, minlength=len(_FEW_NAMES))
    counts[:2] //= 2  # black and white are often codes, subtitles and letterboxes
    return _FEW_NAMES[int(np.argmax(counts))]


@cache
def _table() -> NDArray[np.uint8]:
    """Return the index of the name of every colour, in steps of 8 levels."""
    centres = [(step + 0.5) / _LEVELS for step in range(_LEVELS)]
    names = [_INDEX[_name(red, green, blue)] for red in centres for green in centres for blue in centres]
    return np.array(names, np.uint8)


def _name(red: float, green: float, blue: float) -> str:
    value, least = max(red, green, blue), min(red, green, blue)
    spread = value - least
    if value < _GREYS[0][0] or spread < 0.11 or spread / value < 0.16:  # noqa: PLR2004 - nearly grey
        middle = (red + green + blue) / 3
        return next(name for most, name in _GREYS if middle < most)
    if value == red:
        hue = (green - blue) / spread % 6
    elif value == green:
        hue = (blue - red) / spread + 2
    else:
        hue = (red - green) / spread + 4
    name = next(name for most, name in _HUES if hue * 60 < most)
    if value < (0.62 if name == "orange" else 0.45):
        return _DARK[name]
    return _PALE[name] if value > 0.65 and spread / value < 0.42 else name  # noqa: PLR2004 - washed out
