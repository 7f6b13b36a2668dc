"""How an image is divided into several, and how large each is. Pure; `plan` decides whether it is sent unchanged.

An image is never made smaller than what the service itself processes. Where that would make a tall or wide image
unreadable it is cut into tiles.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction

from qwen_omni.media.budget import PlanInputs, Sampling, allowed, fit_sides, has_own_sides, whole_sides
from qwen_omni.profiles.token_formulas import image_pixels, image_size, image_tokens

Size = tuple[int, int]

OVERLAP = Fraction(1, 10)
"""Share of a tile that the next one repeats, so that no line of text is cut in both."""

_TALL = 3  # aspect ratio from which an image is cut rather than shrunk ...
_CRUSHED = Fraction(1, 2)  # ... if less than this share of its pixels would be left
_STEPS = 40  # tries, each 1 % larger, until the service resizes a smaller image to the same size as the original


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """One of the images that an image is split into.

    Attributes:
        size: width and height as sent.
        box: left, top, right and bottom of the shown part, in pixels of the upright original (page).
        page: which page of a file, or frame of an animation, from 0.
    """

    size: tuple[int, int]
    box: tuple[int, int, int, int]
    page: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class JpegImage:
    """One JPEG image made from a source.

    Attributes:
        time: the second of the source that it shows, in a frame list.
        data: the JPEG.
        piece: which part of which page of an image it shows; `None` in a frame list.
    """

    time: Fraction
    data: bytes = field(repr=False)
    piece: Piece | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageLimits:
    """The size limits of the images that one image is sent as."""

    inputs: PlanInputs
    asked: Sampling

    def tokens(self, size: Size) -> int:
        """Count the tokens of an image of this size."""
        return image_tokens(self.inputs.profile, size, self.asked)

    def pieces(self, size: Size, page: int) -> tuple[Piece, ...]:
        """Return the images that one image becomes: itself, or tiles of it."""
        if self.inputs.tile and self._is_crushed(size):
            return tuple(self._tiles(size, page))
        return (Piece(size=self.single(size), box=(0, 0, *size), page=page),)

    def single(self, size: Size) -> Size:
        """Choose the size of an image that is sent as one.

        With sides of the caller's own it is the largest within them, if that bills no more. Otherwise it is the
        smallest that the service resizes exactly as it would resize the original.
        """
        if self.inputs.listed:
            return whole_sides(*size, allowed(size, self.inputs))
        if self._own:
            return whole_sides(*size, fit_sides(size, self.inputs.budget))
        seen = image_size(self.inputs.profile, size, self.asked)
        for percent in range(100, 100 + _STEPS):
            share = self._within(size) * Fraction(percent, 100)
            smaller = whole_sides(*size, share)
            if share >= 1:
                break
            if image_size(self.inputs.profile, smaller, self.asked) == seen:
                return smaller
        return size

    @property
    def _own(self) -> bool:
        return has_own_sides(self.inputs.budget)

    @property
    def _pixels(self) -> int:
        """Maximum pixels of one image: the budget's if the caller chose its sides, else what the service processes."""
        own = self.inputs.budget.long_side * self.inputs.budget.short_side
        most = image_pixels(self.inputs.profile, self.asked)
        return min(own, most) if self._own else most

    def _within(self, size: Size) -> Fraction:
        """Return the factor, at most 1, that leaves an image as many pixels as the service processes."""
        return min(Fraction(1), Fraction(math.sqrt(self._pixels / (size[0] * size[1]))))

    def _is_crushed(self, size: Size) -> bool:
        long, short = max(size), min(size)
        if long > self.inputs.profile.limits.max_aspect * short:
            return True
        return long >= _TALL * short and Fraction(self._pixels, long * short) < _CRUSHED

    def _tiles(self, size: Size, page: int) -> Iterator[Piece]:
        """Cut along the long side into overlapping tiles of one size, in reading order."""
        factor = self.inputs.profile.tokens.factor
        long, short = max(size), min(size)
        narrow = min(short, math.isqrt(self._pixels), *((self.inputs.budget.short_side,) if self._own else ()))
        scale = Fraction(narrow, short)
        whole = max(1, round(long * scale))
        columns = math.ceil(narrow / factor)  # the service rounds both sides to its patches
        most = max(factor, self._pixels // (columns * factor) // factor * factor)
        most = min(most, int(self.inputs.profile.limits.max_aspect * narrow), whole)
        if self._own:
            most = min(most, self.inputs.budget.long_side)
        shared = most * OVERLAP
        count = max(1, math.ceil((whole - shared) / (most - shared)))
        length = min(most, math.ceil(whole / (count - (count - 1) * OVERLAP)))
        for number in range(count):
            begin = Fraction(whole - length, max(1, count - 1)) * number
            first = round(begin / scale)
            last = long if number == count - 1 else min(long, round((begin + length) / scale))
            upright = size[1] >= size[0]
            box = (0, first, short, last) if upright else (first, 0, last, short)
            yield Piece(size=(narrow, length) if upright else (length, narrow), box=box, page=page)


def why_tiled(size: Size, pieces: tuple[Piece, ...], limits: ImageLimits) -> str:
    """Return what an image was cut into, and why."""
    width, height = pieces[0].size
    aspect = limits.inputs.profile.limits.max_aspect
    why = f"the service would shrink {size[0]}x{size[1]} until it is unreadable (tile=False sends one image)"
    if max(size) > aspect * min(size):
        why = f"the service takes no image longer than {aspect:g} times its short side"
    return f"cut into {len(pieces)} tiles of {width}x{height} that overlap by {float(OVERLAP):.0%}: {why}"
