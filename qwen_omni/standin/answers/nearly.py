"""Answers that are *nearly right*, like those of real models: a seeded option of the stand-in, for any test.

`NearlyRight` corrupts a good answer in one of the ways below. Whatever reads a corrupted answer must end with the right
value or with an error that says so: never with a wrong value, and never with a built-in Python exception.
"""

from __future__ import annotations

import json
import random
import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from qwen_omni.standin.answers.tools import written

if TYPE_CHECKING:
    from collections.abc import Callable

    from qwen_omni.standin.server.sse import Answer

    Way = Callable[[Answer, random.Random], Answer | None]

_HUGE = ("9" * 400, "1e999", "-1e999", "NaN", "Infinity", "123456789012345678901234567890")
_FOREIGN: tuple[object, ...] = (True, False, 7, -1.5, "x", [], {}, [[1]], {"a": {"b": None}}, [None])
_OTHER_NAMES = {
    "start": ("start_time", "start_seconds", "from", "begin", "timestamp"),
    "end": ("end_time", "end_seconds", "to", "until"),
    "text": ("description", "caption", "content"),
}
_THOUSAND = 1000
_ENDINGS = ("length", "content_filter", "stop")


class NearlyRight:
    """Corrupts good answers, each in one way, chosen by a seed and the number of the answer.

    Attributes:
        ways: names of the ways to choose from.
        log: the way of each answer so far; "whole" for an unchanged one.
    """

    def __init__(self, seed: int = 0, ways: tuple[str, ...] | None = None) -> None:
        """Choose from all ways, or from these.

        Raises:
            ValueError: an unknown way.
        """
        unknown = set(ways or ()) - set(WAYS)
        if unknown:
            raise ValueError(f"Unknown way {', '.join(sorted(unknown))}; choose from {', '.join(WAYS)}.")
        self.ways = tuple(WAYS) if ways is None else ways
        self.log: list[str] = []
        self._seed = seed
        self._lock = threading.Lock()

    def spoil(self, answer: Answer) -> Answer:
        """Return the answer, corrupted in the next way that applies to it."""
        with self._lock:
            draw = random.Random(f"{self._seed}:{len(self.log)}")  # noqa: S311 - tests must be repeatable
            way = draw.choice(self.ways)
            spoiled = WAYS[way](answer, draw)
            self.log.append("whole" if spoiled is None else way)
        return answer if spoiled is None else spoiled


def _object_of(answer: Answer) -> dict[str, Any] | None:
    """Return the object in an answer's text or in its first call; None if the answer is prose."""
    text = answer.text.removeprefix("```json\n").removesuffix("\n```")
    if answer.tool_calls:
        text = written(answer.tool_calls[0])
    try:
        value = json.loads(text)
    except ValueError:
        return None
    return value if isinstance(value, dict) and value else None


def _said(answer: Answer, text: str) -> Answer:
    """Return the answer with its object replaced by a text, which need not be valid JSON."""
    if not answer.tool_calls:
        return replace(answer, text=text)
    first, *others = answer.tool_calls
    return replace(answer, tool_calls=(replace(first, arguments=text), *others))


def _rewrites(write: Callable[[dict[str, Any], random.Random], str | None]) -> Way:
    """Return the way in which the object of an answer is written anew; `write` returns None where it does not apply."""

    def way(answer: Answer, draw: random.Random) -> Answer | None:
        value = _object_of(answer)
        text = None if value is None else write(value, draw)
        return None if text is None else _said(answer, text)

    return way


def _json(value: Any) -> str:  # noqa: ANN401 - any JSON value
    return json.dumps(value, ensure_ascii=False)


def _places(value: Any) -> list[tuple[Any, Any]]:  # noqa: ANN401 - any JSON value
    """List every place in a value, as its container and key."""
    found: list[tuple[Any, Any]] = []
    waiting = [value]
    while waiting:
        one = waiting.pop()
        entries = one.items() if isinstance(one, dict) else enumerate(one) if isinstance(one, list) else ()
        for key, inner in list(entries):
            found.append((one, key))
            waiting.append(inner)
    return found


def _placed(value: Any, draw: random.Random, new: object) -> str:  # noqa: ANN401 - any JSON value
    container, key = draw.choice(_places(value))
    container[key] = new
    return _json(value)


def _timed(value: Any) -> list[dict[str, Any]]:  # noqa: ANN401 - any JSON value
    held = [container for container, _ in _places(value)]
    unique = {id(one): one for one in held if isinstance(one, dict) and isinstance(one.get("start"), int | float)}
    return list(unique.values())


@_rewrites
def _other_names(value: dict[str, Any], draw: random.Random) -> str | None:
    entries = _timed(value)
    if not entries:
        return None
    names = {name: draw.choice(others) for name, others in _OTHER_NAMES.items()}
    for entry in entries:
        renamed = {names.get(key, key): one for key, one in entry.items()}
        entry.clear()
        entry.update(renamed)
    return _json(value)


@_rewrites
def _other_units(value: dict[str, Any], draw: random.Random) -> str | None:
    entries = _timed(value)
    if not entries:
        return None
    unit = draw.choice(("milliseconds", "clock", "range"))
    for entry in entries:
        start, end = entry["start"], entry.get("end", entry["start"])
        if unit == "milliseconds":
            entry.update({"start": round(start * _THOUSAND), "end": round(end * _THOUSAND)})
        elif unit == "clock":
            entry.update({"start": _clock(start), "end": f"[{_clock(end)}]"})
        else:
            entry.pop("end", None)
            entry["start"] = f"[{_clock(start)}-{_clock(end)}]"
    return _json(value)


def _clock(seconds: float) -> str:
    whole = round(seconds * _THOUSAND)
    return f"{whole // 3_600_000:02d}:{whole // 60_000 % 60:02d}:{whole // _THOUSAND % 60:02d}.{whole % _THOUSAND:03d}"


@_rewrites
def _drafted(value: dict[str, Any], draw: random.Random) -> str:
    text = _json(value)
    sketch = json.dumps({key: "..." if isinstance(one, str) else one for key, one in value.items()})
    drafts = (
        f"The format is {sketch}. Answer:\n```json\n{text}\n```\nI hope this helps {{a lot}}!",
        f"First: {sketch}\nFinal answer: {text}",
        f"maybe {sketch} no\n</think>\n{text}",
        f"let me see {{\n</think>\n\n```json\n{text}\n```",
        f"\ufeff```json\n{sketch}\n```\nBetter:\n```json\n{text}\n```",
    )
    return draw.choice(drafts)


def _draft(answer: Answer, draw: random.Random) -> Answer | None:
    """Put an example, a draft or reasoning before the answer."""
    return None if answer.tool_calls else _drafted(answer, draw)


def _cut(answer: Answer, draw: random.Random) -> Answer | None:
    """Truncate the answer inside the object."""
    truncate = _rewrites(lambda value, draw: (text := _json(value))[: draw.randrange(1, len(text))])
    spoiled = truncate(answer, draw)
    return spoiled and replace(spoiled, finish_reason=draw.choice(_ENDINGS))


@_rewrites
def _loose(value: dict[str, Any], draw: random.Random) -> str:
    """Write the object with mistakes that do not change its meaning."""
    text = json.dumps(value, ensure_ascii=False, indent=1)
    variants = (
        text[:-1].rstrip() + ",\n}",
        text.replace("{\n", "{ // an object\n", 1),
        json.dumps(text),
        f"```json\n{text}",
        "{" + text[1:].replace('":', '"\uff1a', 1),
    )
    return draw.choice(variants)


@_rewrites
def _twice(value: dict[str, Any], draw: random.Random) -> str:
    """Write one key twice, with different values."""
    again = json.dumps(draw.choice(list(value)))
    return f'{_json(value)[:-1]}, {again}: "twice"}}'


@_rewrites
def _halves(value: dict[str, Any], draw: random.Random) -> str | None:
    """Split the object in two."""
    names = list(value)
    if len(names) < 2:  # noqa: PLR2004
        return None
    at = draw.randrange(1, len(names))
    return "".join(_json({name: value[name] for name in part}) for part in (names[:at], names[at:]))


WAYS: dict[str, Way] = {
    "null": _rewrites(lambda value, draw: _placed(value, draw, None)),
    "wrong type": _rewrites(lambda value, draw: _placed(value, draw, draw.choice(_FOREIGN))),
    "huge number": _rewrites(
        lambda value, draw: _placed(value, draw, "<huge>").replace('"<huge>"', draw.choice(_HUGE))
    ),
    "other names": _other_names,
    "other units": _other_units,
    "draft": _draft,
    "cut": _cut,
    "loose": _loose,
    "twice": _twice,
    "halves": _halves,
    # Text as a list of parts, and all calls under one index.
    "list content": lambda answer, _: replace(answer, content_parts=True),
    "merged calls": lambda answer, _: replace(answer, one_index=True) if len(answer.tool_calls) > 1 else None,
}
"""The ways in which an answer can be nearly right. A way returns None if it does not apply to an answer."""
