"""Times as models write them → seconds. Pure.

A spelling may have several readings ("5000" is seconds or milliseconds, "00:12:00" is twelve minutes or, in a clip of
fifteen seconds, second twelve and no frames); `read_time` returns the first that lies inside the video. Whether the
bare numbers of an answer are milliseconds is decided for all of them at once, by `counts_milliseconds`.
"""

import re
import unicodedata
from collections.abc import Iterable, Iterator
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
_OFF = Fraction(3, 2)  # times the duration: a model that is off by less is taken at its word, and cut at the end
_LEAST_OFF = 2  # seconds that it may be off in a short clip
_SURELY = 1000  # seconds that look like milliseconds, in a clip that is shorter
_MOST_SECONDS = 10**9  # thirty years: no time in a video
_MOST_BITS = 128  # of a whole number that may be a time
_HUNDRED = 100
_SIXTY = 60


class UnreadableTimeError(ValueError):
    """Nobody can tell what time this is."""


def read_time(value: object, *, duration: float | None = None, milliseconds: bool | None = None) -> float:
    """Return the seconds that a number or text stands for: the first reading that lies inside `duration`.

    Other readings than the usual one count only for times of ten times the duration or more, so that a model that
    is off by a little is not taken for one that counts in another unit.

    Args:
        value: what the model wrote.
        duration: of what it wrote about, in seconds.
        milliseconds: the unit of bare numbers, if `counts_milliseconds` has decided it.

    Raises:
        UnreadableTimeError: it is no time, a negative one, or one of more than thirty years.

    Example:
        >>> read_time("00:01:23,450"), read_time("1m30s"), read_time("１分３０秒"), read_time(5000, duration=15)
        (83.45, 90.0, 90.0, 5.0)
    """
    readings = list(_readings(value, _latest(duration), milliseconds=milliseconds))
    if not readings or readings[0] > _MOST_SECONDS:
        raise UnreadableTimeError(f"{_shown(value)} is not a time; write seconds, as in 83.5, or 00:01:23.5.")
    if duration is None:
        return float(readings[0])
    latest = _latest(duration) + _SLACK
    return float(next((reading for reading in readings if reading <= latest), readings[0]))


def counts_milliseconds(values: Iterable[object], *, duration: float) -> bool:
    """Whether the bare numbers of an answer are milliseconds: as seconds some lie far behind the end, so none do.

    Numbers that are off by less than half the duration are seconds, and are cut at the end.

    Raises:
        UnreadableTimeError: they lie behind the end in either unit.

    Example:
        >>> counts_milliseconds([0, 5000, 14_500], duration=15), counts_milliseconds([0, "5", 16.5], duration=15)
        (True, False)
    """
    numbers = [number for value in values if (number := _bare(value)) is not None]
    latest = _latest(duration)
    furthest = max(latest * _OFF, latest + _LEAST_OFF)
    last: Fraction = max(numbers, default=Fraction(0))
    if last <= furthest:
        return False
    whole = all(number.denominator == 1 for number in numbers)
    if last <= furthest * 1000 and (last >= _SURELY or (whole and last >= latest * _FAR)):
        return True
    raise UnreadableTimeError(
        f"The times go up to {float(min(last, Fraction(_MOST_SECONDS))):,g}, but this lasts {float(latest):g} s. "
        "Count in seconds from its beginning."
    )


def is_bare(value: object) -> bool:
    """Whether a value is a number without a unit, or the text of one."""
    return _bare(value) is not None


def _bare(value: object) -> Fraction | None:
    if isinstance(value, str):
        text = _cleaned(value) if len(value) <= _HUNDRED else ""
        return _fraction(text) if _PLAIN.fullmatch(text) else None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if isinstance(value, int):
        return Fraction(value) if value >= 0 and value.bit_length() <= _MOST_BITS else None
    return Fraction(str(value)) if 0 <= value < float("inf") else None


def _shown(value: object) -> str:
    if isinstance(value, int) and value.bit_length() > _MOST_BITS:
        return f"A number of {value.bit_length():,} bits"
    return f"{str(value)[:40]!r}"


def _latest(duration: float | None) -> Fraction:
    return Fraction(duration).limit_denominator(1_000_000) if duration is not None else Fraction(10**12)


def split_range(text: str) -> tuple[str, str] | None:
    """Take "00:12 - 00:15" apart; `None` if it is not a range.

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


def _readings(value: object, latest: Fraction, *, milliseconds: bool | None) -> Iterator[Fraction]:
    number = _bare(value)
    if number is not None and milliseconds is not None:
        yield number / 1000 if milliseconds else number
    elif number is not None:
        yield _plain(number, latest)
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


def _plain(number: Fraction, latest: Fraction) -> Fraction:
    """Choose the unit of a bare number: seconds, unless that lies impossibly far behind the end."""
    if number.denominator != 1:
        return number
    if number >= latest * _FAR * 1000:
        return number / 1_000_000  # microseconds, as some video tools print them
    return number / 1000 if number >= latest * _FAR else number


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
