"""How large a picture may be made: what the budget allows, or what the service is asked to look at, if more. Pure."""

import math
from fractions import Fraction

from qwen_omni.media.budget import PRESETS, MediaBudget, fit_sides
from qwen_omni.media.plan import Wish

Side = Fraction | int


def allowed(size: tuple[Side, Side], wish: Wish) -> Fraction:
    """Give the factor, at most 1, that brings a picture within what is wanted of it.

    That is the budget's sides, unless the service is asked to look at more pixels than they leave: made smaller, the
    picture would not have what was asked for. Sides that the caller's own budget sets are kept.
    """
    within = fit_sides(size, wish.budget)
    asked = wish.sampling.max_pixels or wish.budget.max_pixels
    if not asked or not wish.profile.sampling_fields or has_own_sides(wish.budget):
        return within
    return max(within, min(Fraction(1), Fraction(math.sqrt(asked / Fraction(size[0] * size[1])))))


def has_own_sides(budget: MediaBudget) -> bool:
    """Whether the caller chose the sides of pictures; the presets leave them as they are."""
    usual = PRESETS["auto"]
    return (budget.long_side, budget.short_side) != (usual.long_side, usual.short_side)
