"""Common names of colours, and how much of a small image has each. Arithmetic only."""

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
