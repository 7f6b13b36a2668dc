"""Facts about the service: what each model can do, its limits, token formulas, voices and prices.

This package is the only place for such numbers. Each is dated and names its source; `profile_for` finds the
profile of a name, and the closest one for an unknown name.
"""

import difflib
import functools
import warnings
from dataclasses import replace

from qwen_omni.profiles.catalog import PROFILES
from qwen_omni.profiles.prices import PRICES, USUAL_RATE
from qwen_omni.profiles.profile import (
    ANSWER_RANGES,
    ExchangeRate,
    MediaLimits,
    Modality,
    Prices,
    Profile,
    Region,
    ThinkingSwitch,
    TokenRules,
    Vocabulary,
)

__all__ = [
    "ANSWER_RANGES",
    "DEFAULT_MODEL",
    "DEFAULT_SPEECH_MODEL",
    "DEFAULT_TEXT_MODEL",
    "USUAL_RATE",
    "ExchangeRate",
    "MediaLimits",
    "Modality",
    "Prices",
    "Profile",
    "Region",
    "ThinkingSwitch",
    "TokenRules",
    "Vocabulary",
    "has_profile",
    "known_models",
    "profile_for",
]

DEFAULT_MODEL = "qwen3.8-omni-flash"
DEFAULT_SPEECH_MODEL = "qwen3.5-omni-flash"
DEFAULT_TEXT_MODEL = "qwen-plus"

_NAMES = {name: profile for profile in PROFILES.values() for name in (profile.name, *profile.snapshots)}


def known_models() -> tuple[str, ...]:
    """List every model name that has a profile of its own, snapshots included."""
    return tuple(sorted(_NAMES))


def has_profile(model: str) -> bool:
    """Whether a name has facts of its own here: a known name, or a snapshot of one.

    Example:
        >>> has_profile("qwen-plus-2025-12-01"), has_profile("gpt-4o")
        (True, False)
    """
    return model in _NAMES or _family(model) is not None


@functools.cache
def profile_for(model: str) -> Profile:
    """Find the profile of a model.

    A snapshot (a known name with a date) has the facts of its family. Any other unknown name gets the profile with
    the most similar name, under its own name and without prices, and one `UserWarning`.

    Example:
        >>> profile_for("qwen3.5-omni-flash").speaks
        True
    """
    known = _NAMES.get(model)
    if known is not None:
        return replace(known, prices=PRICES.get(known.name, {}))
    family = _family(model)
    if family is not None:
        return replace(PROFILES[family], prices=PRICES.get(family, {}))
    nearest = PROFILES[_nearest(model)]
    warnings.warn(
        f"{model!r} has no profile here; it is treated like {nearest.name!r} and its price is not known. "
        f"Known: {', '.join(known_models())}.",
        UserWarning,
        stacklevel=2,
    )
    return replace(nearest, name=model, snapshots=(), prices={})


def _family(model: str) -> str | None:
    """Find the known name that a snapshot begins with; the longest, since some names begin with others."""
    return max((name for name in PROFILES if model.startswith(name + "-")), key=len, default=None)


def _nearest(model: str) -> str:
    """Choose the most similar name; omni models only if the name says so, and the default if nothing is similar."""
    candidates = [name for name in PROFILES if ("omni" in name) == ("omni" in model.lower())]
    alike = difflib.get_close_matches(model.lower(), candidates, n=1, cutoff=0.3)
    return alike[0] if alike else DEFAULT_MODEL
