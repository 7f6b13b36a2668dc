"""Facts about the service: what each model can do, its limits, token formulas, voices and prices.

This package is the only place for such numbers. Each is dated and names its source; `profile_for` finds the
profile of a name, and the closest one for an unknown name.
"""

import difflib
import fnmatch
import functools
import re
import unicodedata
from dataclasses import replace

from qwen_omni.profiles.catalog import OMNI, PROFILES, RETIRED_NAMES, RETIREMENT, SUMMARISERS
from qwen_omni.profiles.prices import PRICES, USUAL_RATE
from qwen_omni.profiles.profile import (
    ANSWER_RANGES,
    ExchangeRate,
    MediaLimits,
    Modality,
    Prices,
    Profile,
    Region,
    Retirement,
    ThinkingSwitch,
    TokenRules,
    Vocabulary,
    warn_of_name,
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
    "Retirement",
    "ThinkingSwitch",
    "TokenRules",
    "Vocabulary",
    "has_profile",
    "known_models",
    "near_names",
    "profile_for",
    "retirement_of",
    "warn_of_name",
]

DEFAULT_MODEL = "qwen3.8-omni-flash"
DEFAULT_SPEECH_MODEL = "qwen3.5-omni-flash"
DEFAULT_TEXT_MODEL = "qwen-plus"

_NAMES = {name: profile for profile in PROFILES.values() for name in (profile.name, *profile.snapshots)}
_SNAPSHOT = re.compile(r"(?:-(?:latest|preview|\d{4}-\d{2}-\d{2}|\d{4}))?(?:-us)?$")  # -us: inference in the US only
_VERSION = re.compile(r"^qwen-?(\d+(?:\.\d+)?)")
_TYPO = 0.9  # least similarity of a misspelt name; "-plus" and "-flash" of one version have 0.86


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


def retirement_of(model: str) -> Retirement | None:
    """Return when the service stopped answering to a name, and what replaces it; `None` if it has not.

    Example:
        >>> retirement_of("qwen-omni-turbo-latest").replacement, retirement_of("qwen3-omni-flash")
        ('qwen3.5-omni-plus', None)
    """
    return RETIREMENT if any(fnmatch.fnmatchcase(model.lower(), name) for name in RETIRED_NAMES) else None


@functools.cache
def profile_for(model: str) -> Profile:
    """Find the profile of a model.

    A snapshot (a known name with a date) has the facts of its family. Any other unknown name gets a `UserWarning` and,
    under its own name and without prices, the facts of the name that it misspells, or of the newest family.

    Example:
        >>> profile_for("qwen3.5-omni-flash").speaks
        True
    """
    family = _NAMES[model].name if model in _NAMES else _family(model)
    if family is not None:
        # Inference in the US only has prices of its own.
        return replace(PROFILES[family], prices={} if model.endswith("-us") else PRICES.get(family, {}))
    nearest, text = _substitute(model)
    warn_of_name(text)
    return replace(nearest, name=model, snapshots=(), prices={}, known=False)


def near_names(model: str) -> tuple[str, ...]:
    """List the known names that an unknown one may misspell, the most similar first; empty for a known name.

    A name with the prefix of a gateway is near the name behind it. No retired name is offered.

    Example:
        >>> near_names("qwen3.8-omni-flsh"), near_names("dashscope/qwen-plus"), near_names("qwen4-omni-flash")
        (('qwen3.8-omni-flash',), ('qwen-plus',), ())
    """
    bare = unicodedata.normalize("NFKC", model).lower().rpartition("/")[2]
    if has_profile(model) or _is_newer(bare):
        return ()
    offered = [name for name in PROFILES if retirement_of(name) is None]
    family = _NAMES[bare].name if bare in _NAMES else _family(bare)
    alike = [name for name in offered if name == family or _letters(name) == _letters(bare)]
    if alike:
        return tuple(alike)
    same = [name for name in offered if _version(name) == _version(bare)]
    return tuple(difflib.get_close_matches(bare, same or offered, n=2, cutoff=_TYPO))


def _letters(name: str) -> str:
    """Return a name without what separates its parts."""
    return re.sub(r"[\W_]", "", name)


def _family(model: str) -> str | None:
    """Find the known name that a snapshot belongs to: the same name without a date or a scope."""
    name = _SNAPSHOT.sub("", model)
    return name if name != model and name in PROFILES else None


def _substitute(model: str) -> tuple[Profile, str]:
    """Choose whose facts an unknown name gets, and the warning that says so."""
    near = near_names(model)
    if near:
        return PROFILES[near[0]], (
            f"{model!r} is not a known model; did you mean {' or '.join(map(repr, near))}? The limits of {near[0]!r} "
            "are used, and its price is unknown."
        )
    chosen = _kin(model)
    what = "is newer than this version of qwen-omni" if _is_newer(model) else "is not a known model"
    return chosen, f"{model!r} {what}: the limits of {chosen.name!r} are used, and its price is unknown."


def _kin(model: str) -> Profile:
    """Choose the model most like an unknown one: of its version, else of the newest; omni unless it is a text model."""
    name = model.lower()
    text_only = name.startswith("qwen") and "omni" not in name
    if text_only and _version(name) is None:  # qwen-max, qwen-turbo: they switch thinking as qwen-plus does
        return PROFILES[DEFAULT_TEXT_MODEL]
    kin = list(SUMMARISERS if text_only else OMNI)
    return next((one for one in kin if _version(one.name) == _version(name)), max(kin, key=_version_of))


def _version_of(profile: Profile) -> tuple[int, ...]:
    return _version(profile.name) or ()


def _version(name: str) -> tuple[int, ...] | None:
    found = _VERSION.match(name.lower())
    return None if found is None else tuple(map(int, found[1].split(".")))


def _is_newer(model: str) -> bool:
    """Whether the version in a name is higher than every known one; "38" is 3.8 without its dot."""
    version, known = _version(model), {_version_of(profile) for profile in PROFILES.values()}
    without_dot = {(int("".join(map(str, one))),) for one in known if len(one) > 1}
    return version is not None and version > max(known) and version not in without_dot
