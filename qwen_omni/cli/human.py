"""Durations, sizes and counts as people write them."""

from decimal import Decimal

_STEPS = ((3600, "h"), (60, "min"))
_UNITS = ("kB", "MB", "GB", "TB")
_THOUSAND = 1000
_EXACT_BELOW = 60  # seconds, shown with a decimal if they have one
_MINUTE, _HOUR, _DAY, _LONG = 60, 3600, 86_400, 2 * 86_400


def seconds_text(seconds: float) -> str:
    """Return a duration in words.

    Example:
        >>> seconds_text(72.2), seconds_text(20), seconds_text(4.25), seconds_text(7325)
        ('1 min 12 s', '20 s', '4.2 s', '2 h 2 min 5 s')
    """
    if seconds < _EXACT_BELOW and round(seconds, 1) < _EXACT_BELOW:
        return f"{round(seconds, 1):g} s"
    left, parts = round(seconds), []
    for step, unit in _STEPS:
        count, left = divmod(left, step)
        if count:
            parts.append(f"{count:,} {unit}")
    return " ".join([*parts, *([f"{left} s"] if left else [])])


def bytes_text(count: float) -> str:
    """Return a size in decimal units.

    Example:
        >>> bytes_text(850), bytes_text(164_730), bytes_text(4_200_000), bytes_text(999_999)
        ('850 bytes', '165 kB', '4.2 MB', '1 MB')
    """
    if count < _THOUSAND:
        return f"{count:g} byte{'' if count == 1 else 's'}"
    size = float(count)
    for unit in _UNITS:
        size /= _THOUSAND
        if float(f"{size:.3g}") < _THOUSAND or unit == _UNITS[-1]:
            break
    return f"{size:.2g} {unit}" if size < 10 else f"{size:,.0f} {unit}"  # noqa: PLR2004


def rate_text(per_second: float, unit: str) -> str:
    """Return a rate, such as frames or samples per second.

    Example:
        >>> rate_text(30000 / 1001, "fps"), rate_text(22050, "Hz"), rate_text(48000, "Hz")
        ('29.97 fps', '22.05 kHz', '48 kHz')
    """
    if per_second >= _THOUSAND:
        return f"{per_second / _THOUSAND:.4g} k{unit}"
    return f"{per_second:.4g} {unit}"


def money_text(cny: float | None) -> str:
    """Return an amount in yuan, with as many digits as matter.

    Example:
        >>> money_text(12.3456), money_text(0.1), money_text(0.0076941), money_text(0.00001)
        ('12.35', '0.10', '0.0077', '0.000010')
        >>> money_text(None), money_text(0)
        ('unknown', '0')
    """
    if cny is None:
        return "unknown"
    if not cny:
        return "0"
    return f"{cny:,.2f}" if cny >= 1 else f"{Decimal(f'{cny:.1e}'):f}"


def span_text(seconds: float) -> str:
    """Return a long duration in words, as exactly as it matters.

    Example:
        >>> span_text(42.3), span_text(754), span_text(11_520), span_text(2_190_000)
        ('42 s', '12 min 34 s', '3 h 12 min', '25 days')
    """
    if seconds >= _LONG:
        days = seconds / _DAY
        return f"{days:,.1f} days" if days < 10 else f"{days:,.0f} days"  # noqa: PLR2004
    if seconds >= _HOUR:
        seconds = round(seconds / _MINUTE) * _MINUTE
    return seconds_text(round(seconds))
