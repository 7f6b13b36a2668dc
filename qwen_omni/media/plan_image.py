"""What to do with a picture: send it as it is, as one smaller JPEG, or as several. Pure.

A picture is never made smaller than what the service itself would look at. Where that would shrink a tall or wide
picture beyond reading, it is cut into tiles instead; a file of several pages becomes as many images.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction

from qwen_omni.delivery.formats import IMAGE_CONTAINERS
from qwen_omni.media.budget import Sampling, whole_sides
from qwen_omni.media.info import MediaInfo
from qwen_omni.media.plan import Picture, Piece, Plan, Wish
from qwen_omni.media.plan_costs import room_for, upload_seconds
from qwen_omni.media.plan_reasons import Reason, colours_differ, too_large, turned, undocumented
from qwen_omni.media.plan_sides import allowed, has_own_sides
from qwen_omni.media.plan_video import sampling_for
from qwen_omni.tokens import image_pixels, image_size, image_tokens

OVERLAP = Fraction(1, 10)
"""Share of a tile that the next one shows again, so that no line of text is cut in both."""

_TALL = 3  # times as long as short, from which a picture is cut rather than shrunk ...
_CRUSHED = Fraction(1, 2)  # ... if less than this share of its pixels would be left
_STEPS = 40  # tries, each 1 % larger, until the service sees a smaller picture as it would see the original

Size = tuple[int, int]


def plan_image(info: MediaInfo, wish: Wish) -> Plan:
    """Decide what to do with a picture, or with a file of several pages."""
    size = (info.width or 1, info.height or 1)
    asked = replace(sampling_for(wish), fps=wish.sampling.fps)
    plan = Plan(
        action="pass",
        reason="sent as it is: the budget says so",
        budget=wish.budget,
        sampling=asked,
        tokens=image_tokens(wish.profile, size, asked),
        tokens_as_is=image_tokens(wish.profile, size, wish.sampling),
        size_bytes=info.size_bytes,
        seconds=upload_seconds(info.size_bytes, wish),
    )
    if wish.budget.keep and info.page is None and not info.unpacked and len(info.pages) < 2:  # noqa: PLR2004
        return plan
    limits = _Limits(wish=wish, asked=asked)
    if len(info.pages) > 1:
        pieces = tuple(piece for page, one in enumerate(info.pages) for piece in limits.pieces(one, page))
        cut = "" if len(pieces) == len(info.pages) else f", in {len(pieces)} images"
        return _several(plan, limits, pieces, f"sent as its {len(info.pages):,} pages{cut}")
    pieces = limits.pieces(size, info.page or 0)
    if len(pieces) > 1:
        return _several(plan, limits, pieces, _tiled(size, pieces, limits))
    return _single(info, plan, limits, pieces[0])


@dataclass(frozen=True, slots=True, kw_only=True)
class _Limits:
    """How large the images may be that a picture is sent as."""

    wish: Wish
    asked: Sampling

    def tokens(self, size: Size) -> int:
        """Count what an image of this size bills."""
        return image_tokens(self.wish.profile, size, self.asked)

    def pieces(self, size: Size, page: int) -> tuple[Piece, ...]:
        """Return the images that one picture becomes: itself, or tiles of it."""
        if self.wish.tile and self._is_crushed(size):
            return tuple(self._tiles(size, page))
        return (Piece(size=self.single(size), box=(0, 0, *size), page=page),)

    def single(self, size: Size) -> Size:
        """Choose the size of a picture that is sent as one image.

        With sides of the caller's own it is the largest within them, if that bills no more. Otherwise it is the
        smallest that the service looks at exactly as it would look at the original.
        """
        if self.wish.listed:
            return whole_sides(*size, allowed(size, self.wish))
        if self._own:
            budget = self.wish.budget
            within = min(Fraction(1), Fraction(budget.long_side, max(size)), Fraction(budget.short_side, min(size)))
            return whole_sides(*size, within)
        seen = image_size(self.wish.profile, size, self.asked)
        for percent in range(100, 100 + _STEPS):
            share = self._within(size) * Fraction(percent, 100)
            smaller = whole_sides(*size, share)
            if share >= 1:
                break
            if image_size(self.wish.profile, smaller, self.asked) == seen:
                return smaller
        return size

    @property
    def _own(self) -> bool:
        return has_own_sides(self.wish.budget)

    @property
    def _pixels(self) -> int:
        """Pixels of one image, at most: the budget's if the caller chose its sides, else what the service looks at."""
        own = self.wish.budget.long_side * self.wish.budget.short_side
        most = image_pixels(self.wish.profile, self.asked)
        return min(own, most) if self._own else most

    def _within(self, size: Size) -> Fraction:
        """Return the factor, at most 1, that leaves a picture as many pixels as the service looks at."""
        return min(Fraction(1), Fraction(math.sqrt(self._pixels / (size[0] * size[1]))))

    def _is_crushed(self, size: Size) -> bool:
        long, short = max(size), min(size)
        if long > self.wish.profile.limits.max_aspect * short:
            return True
        return long >= _TALL * short and Fraction(self._pixels, long * short) < _CRUSHED

    def _tiles(self, size: Size, page: int) -> Iterator[Piece]:
        """Cut along the long side into tiles of one size that overlap, in reading order."""
        factor = self.wish.profile.tokens.factor
        long, short = max(size), min(size)
        narrow = min(short, math.isqrt(self._pixels), *((self.wish.budget.short_side,) if self._own else ()))
        scale = Fraction(narrow, short)
        whole = max(1, round(long * scale))
        columns = math.ceil(narrow / factor)  # the service rounds both sides to its patches
        most = max(factor, self._pixels // (columns * factor) // factor * factor)
        most = min(most, int(self.wish.profile.limits.max_aspect * narrow), whole)
        if self._own:
            most = min(most, self.wish.budget.long_side)
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


def _single(info: MediaInfo, plan: Plan, limits: _Limits, piece: Piece) -> Plan:
    assert plan.tokens is not None
    made, why = limits.tokens(piece.size), _why_not_as_is(info, limits.wish)
    if why is None and piece.size == (info.width, info.height):
        return replace(plan, reason="sent as it is: it already fits the budget")
    if why is None and made > plan.tokens:
        told = f"made smaller it would bill {made:,} tokens instead of {plan.tokens:,}"
        return replace(plan, reason=f"sent as it is: {told}")
    width, height = piece.size
    same = f"{made:,} tokens {'either way' if made == plan.tokens else f'instead of {plan.tokens:,}'}"
    reason = why(info) if why else f"the service looks at no more, {same}"
    if why is None and limits.wish.budget.name == "own":
        reason = f"the budget allows no more, {same}"
    picture = Picture(size=piece.size, period=Fraction(1), rotation=info.rotation)
    return replace(
        plan, action="image", picture=picture, pieces=(piece,), tokens=made, reason=f"made {width}x{height}: {reason}"
    )


def _several(plan: Plan, limits: _Limits, pieces: tuple[Piece, ...], reason: str) -> Plan:
    tokens = sum(limits.tokens(piece.size) for piece in pieces)
    return replace(plan, action="images", pieces=pieces, tokens=tokens, reason=f"{reason}, {tokens:,} tokens")


def _tiled(size: Size, pieces: tuple[Piece, ...], limits: _Limits) -> str:
    width, height = pieces[0].size
    aspect = limits.wish.profile.limits.max_aspect
    why = f"the service would shrink {size[0]}x{size[1]} beyond reading (tile=False sends one image)"
    if max(size) > aspect * min(size):
        why = f"the service takes no picture longer than {aspect:g} times its short side"
    return f"cut into {len(pieces)} tiles of {width}x{height} that overlap by {float(OVERLAP):.0%}: {why}"


def _why_not_as_is(info: MediaInfo, wish: Wish) -> Reason | None:
    told = (
        (info.unpacked, _not_pictured),
        (info.page is not None, _one_frame),
        (info.rotation != 0 or info.mirrored, turned),
        (info.colours != "plain", colours_differ),
        (info.container not in IMAGE_CONTAINERS, undocumented),
        (info.size_bytes > room_for(wish.profile.limits.image_bytes, wish), too_large),
    )
    return next((reason for holds, reason in told if holds), None)


def _not_pictured(_: MediaInfo) -> str:
    return "the service does not document its format"


def _one_frame(info: MediaInfo) -> str:
    return f"frame {info.page} alone was asked for"
