"""Ranges of the numbers that callers pass, and the single check of them. Pure.

Every number from a caller enters here: fields of option classes (`check_numbers`), single arguments (`checked`), and
numbers inside messages (`checked` with `error=UnsupportedContentError`, whose text says where). The result is a plain
`int` or `float`, so that a NumPy scalar of a data frame can be sent as JSON.
"""
# ruff: noqa: ANN401  (whatever a caller passes)

import math
import numbers
import operator
import sys
from collections.abc import Mapping
from dataclasses import dataclass, fields
from decimal import Decimal
from fractions import Fraction
from typing import Any, get_args

from qwen_omni.errors import ConfigurationError, QwenOmniError

_LONGEST_SHOWN = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Range:
    """The values that a number may have.

    Attributes:
        least: the smallest value; `above` is an exclusive lower bound.
        most: the largest value; `below` is an exclusive upper bound.
        whole: only whole numbers.
        endless: infinity is allowed and means "no limit".
        switch: `True` and `False` are allowed as well.
        names: strings that are allowed as well.
    """

    least: float | None = None
    most: float | None = None
    above: float | None = None
    below: float | None = None
    whole: bool = False
    endless: bool = False
    switch: bool = False
    names: tuple[str, ...] = ()

    @property
    def words(self) -> str:
        """The range in words.

        Example:
            >>> Range(above=0, most=1).words, Range(least=1, most=64, whole=True).words
            ('greater than 0 and at most 1', 'a whole number from 1 to 64')
        """
        if self.least is not None and self.most is not None:
            bounds = f"from {self.least:,.15g} to {self.most:,.15g}"
        else:
            low = f"greater than {self.above:,.15g}" if self.above is not None else ""
            low = f"at least {self.least:,.15g}" if self.least is not None else low
            high = f"below {self.below:,.15g}" if self.below is not None else ""
            high = f"at most {self.most:,.15g}" if self.most is not None else high
            bounds = " and ".join(one for one in (low, high) if one)
        return " ".join(one for one in ("a whole number" if self.whole else "", bounds) if one)

    def holds(self, value: float | Fraction) -> bool:
        """Whether a number is within the range."""
        return (
            (self.least is None or value >= self.least)
            and (self.most is None or value <= self.most)
            and (self.above is None or value > self.above)
            and (self.below is None or value < self.below)
        )


# Bounds that several classes share. The upper bounds leave room for every real use and keep later arithmetic finite.
_LONG = 1e9  # seconds; about thirty years
START = Range(least=0, most=_LONG)
"""A position in a recording, in seconds."""
END = Range(above=0, most=_LONG)
"""A position in a recording, or a duration, in seconds."""
WAIT = Range(least=0, most=_LONG)
"""Seconds to wait."""
TIMEOUT = Range(above=0, most=_LONG)
"""A timeout in seconds."""
COUNT = Range(least=0, most=1_000_000_000, whole=True)
"""A count; 0 is allowed."""
POSITIVE_COUNT = Range(least=1, most=1_000_000_000_000, whole=True)
"""A count of at least one."""
COUNT_OF_BYTES = Range(least=0, most=1_000_000_000_000_000, whole=True)
"""A size in bytes."""
RATE = Range(above=0, most=1e9)
"""A speed, in megabits per second."""
PARALLEL = Range(least=1, most=64, whole=True)
"""The number of concurrent tasks."""
FRAME_RATE = Range(above=0, most=1000)
"""Frames per second."""
PIXELS = Range(least=1, most=1_000_000_000_000, whole=True)
"""Pixels of a frame, an image, or all frames of a video."""
MONEY = Range(least=0, most=1e15)
"""An amount of money, or a price."""
TOKENS = Range(least=0, most=1_000_000_000_000_000, whole=True)
"""An amount of tokens."""


def checked(
    name: str, value: Any, allowed: Range, *, place: str = "", error: type[QwenOmniError] = ConfigurationError
) -> Any:
    """Return a number as a plain `int`, `float` or `Fraction`, or raise an error that names it.

    Args:
        name: the caller's name of the number.
        value: the value passed.
        allowed: the range.
        place: where it is, for example "message 0 part 1".
        error: the type to raise.

    Raises:
        QwenOmniError: `error`; the value is not a number, not finite, or outside the range.

    Example:
        >>> checked("fps", 2, FRAME_RATE)
        2
        >>> checked("uplink_mbps", 0, Range(above=0))
        Traceback (most recent call last):
        qwen_omni.errors.ConfigurationError: uplink_mbps must be greater than 0, got 0.
    """
    plain = _plain(value, allowed)
    if isinstance(plain, bool | str) or (plain is not None and _finite(plain, allowed) and allowed.holds(plain)):
        return plain
    what = allowed.words or "a number"
    if not allowed.whole and (plain is None or not _finite(plain, allowed)):
        what = f"a number {allowed.words}".rstrip() if "number" not in what else what
    beside = (("True", "False") if allowed.switch else ()) + tuple(map(repr, allowed.names))
    if beside:
        what = f"{', '.join(beside)} or {what}"
    head = f"{place}: " if place else ""
    raise error(f"{head}{name} must be {what}, got {_shown(value)}.").with_option(name.partition(" ")[0])


def check_numbers(options: Any, ranges: Mapping[str, Range]) -> None:
    """Check the numeric fields of a frozen dataclass and make them plain; `None` is allowed where the type says so.

    Raises:
        ConfigurationError: a field is not a number or outside its range.
    """
    optional = {one.name for one in fields(options) if type(None) in get_args(one.type)}
    for name, allowed in ranges.items():
        value = getattr(options, name)
        if value is None and name in optional:
            continue
        plain = checked(name, value, allowed)
        if plain is not value:
            object.__setattr__(options, name, plain)


def check_options(options: Any, kind: type[Any], name: str = "options") -> None:
    """Check that what a caller passes as `options`, or under another name, is of the class that the function takes.

    Raises:
        ConfigurationError: it is something else, such as a dictionary.

    Example:
        >>> check_options({"most": 2}, Range)
        Traceback (most recent call last):
        qwen_omni.errors.ConfigurationError: options must be Range(...), got dict.
    """
    if not isinstance(options, kind):
        raise ConfigurationError(f"{name} must be {kind.__name__}(...), got {type(options).__name__}.")


def check_given(given: Mapping[str, Any], ranges: Mapping[str, Range]) -> dict[str, Any]:
    """Check the numbers among keyword arguments or in a mapping; `None` counts as missing.

    Raises:
        ConfigurationError: one is not a number, or is outside its range.
    """
    return {
        name: checked(name, value, ranges[name]) if name in ranges and value is not None else value
        for name, value in given.items()
    }


def check_span(start: float | None, end: float | None) -> None:
    """Check that a range of a recording ends after it starts.

    Raises:
        ConfigurationError: it does not.
    """
    if start is not None and end is not None and end <= start:
        raise ConfigurationError(f"end must be greater than start ({start:g} s), got {end:g} s.")


_OF_A_RECORDING = {"seconds": END, "overlap": START, "start": START, "end": END}
_ANY = Range()


def exact_seconds(value: float | Fraction, name: str = "") -> Fraction:
    """Return an exact number for a decimal: 0.1 becomes a tenth.

    Args:
        value: seconds.
        name: the caller's name for them, for the error.

    Raises:
        ConfigurationError: it is not a finite number, or outside the range for `name`.

    Example:
        >>> exact_seconds(0.1)
        Fraction(1, 10)
    """
    plain = checked(name or "a time", value, _OF_A_RECORDING.get(name, _ANY))
    return Fraction(plain) if isinstance(plain, int | Fraction) else Fraction(str(plain))


def exact_range(
    start: float | Fraction | None, end: float | Fraction | None
) -> tuple[Fraction | None, Fraction | None]:
    """Return the wanted seconds of a recording exactly; `None` stands for its start or end.

    Raises:
        ConfigurationError: not finite numbers of 0 or more, or an end that is not after the start.
    """
    first = None if start is None else exact_seconds(start, "start")
    last = None if end is None else exact_seconds(end, "end")
    check_span(None if first is None else float(first), None if last is None else float(last))
    return first, last


def _plain(value: Any, allowed: Range) -> Any:
    """Return a number as a type that JSON and arithmetic support; `None` if it is not a number."""
    if isinstance(value, bool | str):
        return value if value in allowed.names or (allowed.switch and not isinstance(value, str)) else None
    if isinstance(value, numbers.Integral):
        return operator.index(value)
    if allowed.whole or not isinstance(value, numbers.Real | Decimal):
        return None
    if isinstance(value, Fraction):
        return value
    try:
        return float(value)  # also for a subclass, as NumPy's is
    except (ValueError, OverflowError):
        return None  # a signalling NaN, or too large for a float


def _finite(value: float | Fraction, allowed: Range) -> bool:
    if not isinstance(value, float):
        return abs(value) <= sys.float_info.max
    return math.isfinite(value) or (allowed.endless and value == math.inf)


def _shown(value: object) -> str:
    """Return a short form of any value, for an error message."""
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) >= 10**_LONGEST_SHOWN:
        return f"a whole number of {value.bit_length():,} bits"
    if isinstance(value, float | int | Decimal | Fraction):
        return f"{value}"
    try:
        shown = repr(value)
    except Exception:  # noqa: BLE001  (any object; its type is what matters)
        return f"an object of type {type(value).__name__}"
    return shown if len(shown) <= _LONGEST_SHOWN else f"a value of type {type(value).__name__}"
