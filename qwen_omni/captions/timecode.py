"""Times as models write them → seconds. Pure.

A spelling may have several readings ("5000" is seconds or milliseconds, "00:12:00" is twelve minutes or, in a clip of
fifteen seconds, second twelve and no frames); `read_time` gives the first that lies inside the video.
"""

import re
import unicodedata
from collections.abc import Iterator
from fractions import Fraction

_UNITS: dict[str, Fraction] = {
    **dict.fromkeys(("h", "hr", "hrs", "hour", "hours", "小时", "时"), Fraction(3600)),
    **dict.fromkeys(("m", "min", "mins", "minute", "minutes", "分钟", "分", "'", "′"), Fraction(60)),
    **dict.fromkeys(("s", "sec", "secs", "second", "seconds", "秒钟", "秒", '"', "″", "''", "′′"), Fraction(1)),
    **dict.fromkeys(("ms", "msec", "msecs", "millisecond", "milliseconds", "毫秒"), Fraction(1, 1000)),
}
_NAMES = "|".join(sorted(map(re.escape, _UNITS), key=len, reverse=True))
_NUMBER = r"\d+(?:[.,]\d+)?"
_WITH_UNITS = re.compile(rf"(?:pt)?(?:{_NUMBER}\s*(?:{_NAMES})\s*(?:and\s*|,\s*)?)+(?P<rest>{_NUMBER})?")
_PAIR = re.compile(rf"({_NUMBER})\s*({_NAMES})")
_CLOCK = re.compile(r"(?P<parts>\d+(?:\s*:\s*\d+){1,3})(?:[.,](?P<digits>\d+))?")
_PLAIN = re.compile(rf"{_NUMBER}")
_ABOUT = r"about|around|approx(?:imately)?|ca|circa|at|from|to|t|time|timestamp|第|约|大约"
_BEFORE = rf"^(?:(?:{_ABOUT})\b[.:=]?|[~≈<>@=+]|[\[(【（{{])+\s*"
_NOISE = re.compile(rf"{_BEFORE}|[\])】）}}>]+$|\s*(?:处|左右)$", re.IGNORECASE)
_LEADING = re.compile(r"^(?:第|约|大约)")
_DASH = r"(?<=[\w\"'″′\])])\s*-(?=\s*[\[(\d])"
_RANGE = re.compile(rf"\s*(?:-->|->|→|–|—|−|~|～|\bto\b|\buntil\b|至|到|{_DASH})\s*", re.IGNORECASE)
_SLACK = Fraction(1, 2)  # seconds beyond the end that a model may be off before another reading is tried
_FAR = 10  # times the duration: nobody is off by that much, so it is another unit
_HUNDRED = 100
_SIXTY = 60


class UnreadableTimeError(ValueError):
    """Nobody can tell what time this is."""


def read_time(value: object, *, duration: float | None = None, milliseconds: bool = False) -> float:
    """Give the seconds that a number or text stands for: the first reading that lies inside `duration`.

    Other readings than the usual one count only for times of ten times the duration or more, so that a model that
    is off by a little is not taken for one that counts in another unit; `milliseconds=True` says that bare numbers
    beside this one are milliseconds.

    Raises:
        UnreadableTimeError: it is no time, or a negative one.

    Example:
        >>> read_time("00:01:23,450"), read_time("1m30s"), read_time("１分３０秒"), read_time(5000, duration=15)
        (83.45, 90.0, 90.0, 5.0)
    """
    readings = list(_readings(value, _latest(duration), milliseconds=milliseconds))
    if not readings:
        raise UnreadableTimeError(f"{str(value)[:40]!r} is no time; write seconds, as in 83.5, or 00:01:23.5.")
    if duration is None:
        return float(readings[0])
    latest = _latest(duration) + _SLACK
    return float(next((reading for reading in readings if reading <= latest), readings[0]))


def counts_milliseconds(value: object, *, duration: float) -> bool:
    """Tell whether a bare number must be milliseconds, or smaller still: as seconds it lies far behind the end."""
    number = _bare(value)
    return number is not None and _plain(number, _latest(duration), milliseconds=False) != number


def _bare(value: object) -> Fraction | None:
    if isinstance(value, str):
        text = _cleaned(value) if len(value) <= _HUNDRED else ""
        return _fraction(text) if _PLAIN.fullmatch(text) else None
    is_number = isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < float("inf")
    return Fraction(str(value)) if is_number else None


def _latest(duration: float | None) -> Fraction:
    return Fraction(duration).limit_denominator(1_000_000) if duration is not None else Fraction(10**12)


def split_range(text: str) -> tuple[str, str] | None:
    """Take "00:12 - 00:15" apart; `None` if it is no range.

    Example:
        >>> split_range("[00:12 --> 00:15]"), split_range("00:12")
        (('00:12', '00:15'), None)
    """
    if len(text) > 2 * _HUNDRED:  # `read_time` would take neither half, and the search below is not linear
        return None
    parts = _RANGE.split(unicodedata.normalize("NFKC", text).strip().strip("[](){}【】"), maxsplit=1)
    if len(parts) != 2 or not all(any(char.isdigit() for char in part) for part in parts):  # noqa: PLR2004
        return None
    return parts[0].strip("[]() "), parts[1].strip("[]() ")


def _readings(value: object, latest: Fraction, *, milliseconds: bool) -> Iterator[Fraction]:
    number = _bare(value)
    if number is not None:
        yield _plain(number, latest, milliseconds=milliseconds)
    elif isinstance(value, str) and len(value) <= _HUNDRED:
        yield from _text(_cleaned(value), latest)


def _cleaned(text: str) -> str:
    text = unicodedata.normalize("NFKC", text).strip().lower()
    for _ in range(3):
        text = _LEADING.sub("", _NOISE.sub("", text)).strip()
    return text


def _text(text: str, latest: Fraction) -> Iterator[Fraction]:
    clock = _CLOCK.fullmatch(re.sub(rf"\s*(?:{_NAMES})$", "", text))
    if clock is not None:
        readings = list(_clock([int(part) for part in clock["parts"].split(":")], clock["digits"], clock["parts"]))
        yield from readings if readings[0] >= latest * _FAR else readings[:1]
        return
    units = _WITH_UNITS.fullmatch(text)
    if units is not None:
        yield from _with_units(text, units["rest"])


def _plain(number: Fraction, latest: Fraction, *, milliseconds: bool) -> Fraction:
    """Choose the unit of a bare number: seconds, unless that lies impossibly far behind the end."""
    if number.denominator != 1:
        return number
    if number >= latest * _FAR * 1000:
        return number / 1_000_000  # microseconds, as some video tools print them
    if number >= latest * _FAR or (milliseconds and number > latest + _SLACK):
        return number / 1000
    return number


def _fraction(text: str) -> Fraction:
    return Fraction(text.replace(",", "."))


def _with_units(text: str, rest: str | None) -> Iterator[Fraction]:
    pairs = _PAIR.findall(text)
    total = sum((_fraction(number) * _UNITS[name] for number, name in pairs), Fraction(0))
    if rest is not None:  # "1h30": the rest is of the next smaller unit
        smaller = _UNITS[pairs[-1][1]] / _SIXTY
        if smaller < 1:
            return
        total += _fraction(rest) * smaller
    yield total


def _clock(parts: list[int], digits: str | None, written: str) -> Iterator[Fraction]:
    below = Fraction(f"0.{digits}") if digits else Fraction(0)
    last = written.rsplit(":", 1)[1].strip()
    if len(parts) == 4:  # noqa: PLR2004  (hours:minutes:seconds:frames or milliseconds)
        yield _sixties(parts[:3]) + _small(parts[3], last)
        return
    if len(parts) == 3 and digits is None and len(last) == 3:  # noqa: PLR2004  (minutes:seconds:milliseconds)
        yield _sixties(parts[:2]) + _small(parts[2], last)
        return
    yield _sixties(parts) + below
    if digits is None and len(parts) == 3:  # noqa: PLR2004  (minutes:seconds:frames, of which we take no account)
        yield _sixties(parts[:2])
        yield Fraction(parts[0])
    if digits is None and len(parts) == 2:  # noqa: PLR2004  (seconds:hundredths)
        yield parts[0] + _small(parts[1], last)


def _small(number: int, written: str) -> Fraction:
    """Read what stands behind the seconds: milliseconds if it has three digits, else frames, which count nothing."""
    return Fraction(number, 1000) if len(written) == 3 else Fraction(0)  # noqa: PLR2004


def _sixties(parts: list[int]) -> Fraction:
    total = Fraction(0)
    for part in parts:
        total = total * _SIXTY + part
    return total
