"""Whether one JSON value is the beginning of another, as each partial must be of the next."""

from typing import Any


def begins(part: Any, whole: Any) -> bool:
    """Whether `whole` continues `part`: texts, lists and dictionaries grow at their end."""
    if isinstance(part, str) and isinstance(whole, str):
        return whole.startswith(part)
    if isinstance(part, list) and isinstance(whole, list):
        closed = len(part) - 1
        same = all(one == other for one, other in zip(part[:closed], whole, strict=False))
        return not part or (len(part) <= len(whole) and same and begins(part[-1], whole[closed]))
    if isinstance(part, dict) and isinstance(whole, dict):
        names = list(part)
        same = all(part[name] == whole.get(name) for name in names[:-1])
        return not part or (names == list(whole)[: len(names)] and same and begins(part[names[-1]], whole[names[-1]]))
    return type(part) is type(whole) and part == whole
