"""What a tool gives: bounded text for the model, a value for the program. Errors become text that says what to do.

Both hold what strangers wrote (names of files, words of a video), so both are cleaned here, whatever tool made them.
"""

import json
import os
import re
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from qwen_omni.errors import (
    APIError,
    ConfigurationError,
    MediaDoesNotFitError,
    MediaOutsideRootError,
    QwenOmniError,
    SpendLimitError,
    TaskUnfinishedError,
)
from qwen_omni.redact import clean

MOST_LETTERS = 8_000
"""Letters of a tool's text, at most, so that it leaves room in the model's context."""
_MOST_ERROR = 700
_OUTSIDE = (
    "That path lies outside the media folder; nothing was opened. Use a path inside it, without links that lead out: "
    "probe_media with path '.' lists what is there."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolOutcome:
    """What came of one call.

    Attributes:
        content: for the model.
        artifact: for the program: plain JSON values.
        error: what went wrong, if anything did; the content says it in words.
    """

    content: str
    artifact: Any = None
    error: Exception | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "content", clean(self.content, "model"))
        object.__setattr__(self, "artifact", _without_halves(self.artifact))

    def __str__(self) -> str:
        return self.content


def bounded(lines: Sequence[str], advice: str, most: int = MOST_LETTERS) -> str:
    r"""Join lines up to a length; tell how much was left out, and how to get it.

    Example:
        >>> bounded(["one", "two", "three"], "Ask for less.", most=8)
        'one\ntwo\n[1 of 3 lines left out. Ask for less.]'
    """
    kept: list[str] = []
    used = 0
    for line in lines:
        if used + len(line) + bool(kept) > most:
            break
        used += len(line) + bool(kept)
        kept.append(line)
    left = len(lines) - len(kept)
    if not left:
        return "\n".join(kept)
    if not kept:  # a single line that is too long
        return f"{lines[0][:most]} [{len(lines[0]) - most:,} letters and {left - 1} lines left out. {advice}]"
    return "\n".join([*kept, f"[{left:,} of {len(lines):,} lines left out. {advice}]"])


def line(text: str) -> str:
    """Write what others wrote as a part of one line, so that it cannot begin a line of its own."""
    return clean(text, "model", one_line=True)


_SHORTEST = 64  # letters; texts are cut below that only once the lists are empty


def bounded_value(value: Any, most: int = MOST_LETTERS) -> tuple[Any, bool]:  # noqa: ANN401  (any JSON value)
    """Return a JSON value whose lists and texts are short enough for `most` letters, and whether anything was cut.

    Example:
        >>> bounded_value({"path": "a.mp4", "moments": [{"start": n} for n in range(9)]}, most=80)
        ({'path': 'a.mp4', 'moments': [{'start': 0}, {'start': 1}]}, True)
    """
    cut, items, letters = value, 512, most
    while len(json.dumps(cut, ensure_ascii=False)) > most and letters:
        items, letters = items // 2, letters // 2 if letters > _SHORTEST or not items else letters
        cut = _cut(value, items, letters)
    return cut, cut != value


def _cut(value: Any, items: int, letters: int) -> Any:  # noqa: ANN401
    match value:
        case str():
            return value if len(value) <= letters else f"{value[:letters]}…"
        case list() | tuple():
            return [_cut(one, items, letters) for one in value[:items]]
        case dict():
            return {name: _cut(one, items, letters) for name, one in value.items()}
        case _:
            return value


def _without_halves(value: Any) -> Any:  # noqa: ANN401
    """Join or write out halves of characters, which no JSON can carry; all else stays as it is for the program."""
    match value:
        case str():
            joined = value.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")
            return joined.encode(errors="backslashreplace").decode()
        case list() | tuple():
            return [_without_halves(one) for one in value]
        case dict():
            return {_without_halves(name): _without_halves(one) for name, one in value.items()}
        case _:
            return value


def wrong_arguments(error: ValidationError) -> ToolOutcome:
    """Tell a model which of its arguments are wrong, without quoting what it wrote."""
    told = [f"{'.'.join(map(str, one['loc'])) or 'arguments'}: {one['msg']}" for one in error.errors()[:10]]
    return ToolOutcome(content=f"Wrong arguments. {'; '.join(told)}. Call again with them put right.", error=error)


def failed(error: Exception, root: Path) -> ToolOutcome:
    """Tell a model what went wrong and what it may do, without the folder's place on this machine."""
    if isinstance(error, MediaOutsideRootError):
        return ToolOutcome(content=_OUTSIDE, error=error)
    if not isinstance(error, QwenOmniError):
        text = f"The tool failed in a way that nobody foresaw ({type(error).__name__}). Do without it, and say so."
        return ToolOutcome(content=text, error=error)
    words = without_places(str(error), root).removeprefix("message 0 part 0: ")
    return ToolOutcome(content=f"Failed: {_short(line(words))} {_advice(error)}".rstrip(), error=error)


def without_places(words: str, root: Path) -> str:
    """Name files as a model knows them, from the media folder on, and no other place of this machine at all.

    Example:
        >>> without_places("/films/a.mp4: no room in /home/me/.cache/x", Path("/films"))
        'a.mp4: no room in (a place outside the media folder)'
    """
    inside = words.replace(f"{root}{os.sep}", "").replace(str(root), "the media folder")
    for folder in (Path(tempfile.gettempdir()), Path.home()):  # whole, since their names may hold spaces
        if len(folder.parts) > 1:
            inside = inside.replace(str(folder), f"{folder.anchor}x")
    return _ELSEWHERE.sub("(a place outside the media folder)", inside)


_ELSEWHERE = re.compile(r"""(?<![\w.:/~-])(?:~|[A-Za-z]:)?[/\\][^\s'"`,;:()<>]+(?<![.])""")
"""A path from the top, in a sentence; a link has a colon before its slashes, a relative path a letter."""


def _short(words: str) -> str:
    return words if len(words) <= _MOST_ERROR else f"{words[:_MOST_ERROR]}…"


def _advice(error: QwenOmniError) -> str:  # noqa: PLR0911  (one sentence for each kind)
    match error:
        case MediaDoesNotFitError():
            return "With start and end a piece of it can be asked about."
        case TaskUnfinishedError():
            return "Call the same again later."
        case SpendLimitError():
            return (
                "The people who run this program limited what tools may cost. Ask about a shorter piece (start, end) "
                "or fewer frames (fps); if that is refused, too, go on without and tell the user. probe_media is free."
            )
        case ConfigurationError():
            return "Only the people who run this program can change that: tell the user."
        case APIError() if not error.retryable:
            return "Calling the same again will not help."
        case _ if error.retryable:
            return "Calling again later may work."
        case _:
            return ""
