"""The result of a tool: bounded text for the model, a value for the program. Errors become text with advice.

Both contain untrusted text (file names, words of a video), so both are cleaned here, whatever tool made them.
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
from qwen_omni.redact import clean, with_leaves

MOST_CHARACTERS = 8_000
"""Maximum characters of a tool's text, so that it leaves room in the model's context."""
_MOST_ERROR = 700
_OUTSIDE = (
    "That path lies outside the media folder; nothing was opened. Use a path inside it, without links that lead out: "
    "probe_media with path '.' lists what is there."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolOutcome:
    """The result of one call.

    Attributes:
        content: for the model.
        artifact: for the program: plain JSON values.
        error: the exception, if the call failed; the content describes it.
    """

    content: str
    artifact: Any = None
    error: Exception | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "content", clean(self.content, "model"))
        object.__setattr__(self, "artifact", with_leaves(self.artifact, _without_halves))

    def __str__(self) -> str:
        return self.content


def bounded(lines: Sequence[str], advice: str, most: int = MOST_CHARACTERS) -> str:
    r"""Join lines up to a length; report how many were left out, and how to get them.

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
        return f"{lines[0][:most]} [{len(lines[0]) - most:,} characters and {left - 1} lines left out. {advice}]"
    return "\n".join([*kept, f"[{left:,} of {len(lines):,} lines left out. {advice}]"])


def line(text: str) -> str:
    """Write untrusted text as part of one line, so that it cannot begin a line of its own."""
    return clean(text, "model", one_line=True)


_SHORTEST = 64  # characters; texts are cut shorter only once the lists are empty


def bounded_value(value: Any, most: int = MOST_CHARACTERS) -> tuple[Any, bool]:  # noqa: ANN401  (any JSON value)
    """Return a JSON value whose lists and texts are short enough for `most` characters, and whether anything was cut.

    Example:
        >>> bounded_value({"path": "a.mp4", "moments": [{"start": n} for n in range(9)]}, most=80)
        ({'path': 'a.mp4', 'moments': [{'start': 0}, {'start': 1}]}, True)
    """
    cut, items, characters = value, 512, most
    while len(json.dumps(cut, ensure_ascii=False)) > most and characters:
        items, characters = items // 2, characters // 2 if characters > _SHORTEST or not items else characters
        cut = _cut(value, items, characters)
    return cut, cut != value


def _cut(value: Any, items: int, characters: int) -> Any:  # noqa: ANN401
    match value:
        case str():
            return value if len(value) <= characters else f"{value[:characters]}…"
        case list() | tuple():
            return [_cut(one, items, characters) for one in value[:items]]
        case dict():
            return {name: _cut(one, items, characters) for name, one in value.items()}
        case _:
            return value


def _without_halves(value: object) -> object:
    """Join surrogate pairs, and write out lone surrogates, which no JSON can carry; all else stays unchanged."""
    if not isinstance(value, str):
        return value
    joined = value.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")
    return joined.encode(errors="backslashreplace").decode()


def wrong_arguments(error: ValidationError) -> ToolOutcome:
    """Return an outcome that names the wrong arguments, without quoting their values."""
    wrong = [f"{'.'.join(map(str, one['loc'])) or 'arguments'}: {one['msg']}" for one in error.errors()[:10]]
    return ToolOutcome(
        content=f"Wrong arguments. {'; '.join(wrong)}. Correct the arguments and call again.", error=error
    )


def failed(error: Exception, root: Path) -> ToolOutcome:
    """Return an outcome that describes an error and what to do, without the folder's location on this machine."""
    if isinstance(error, MediaOutsideRootError):
        return ToolOutcome(content=_OUTSIDE, error=error)
    if not isinstance(error, QwenOmniError):
        text = f"Unexpected error ({type(error).__name__}). Continue without this tool and tell the user."
        return ToolOutcome(content=text, error=error)
    words = without_places(str(error), root).removeprefix("message 0 part 0: ")
    return ToolOutcome(content=f"Failed: {_short(line(words))} {_advice(error)}".rstrip(), error=error)


def without_places(words: str, root: Path) -> str:
    """Replace paths by those a model knows, relative to the media folder, and hide all other paths of this machine.

    Example:
        >>> without_places("/videos/a.mp4: no room in /home/me/.cache/x", Path("/videos"))
        'a.mp4: no room in (a place outside the media folder)'
    """
    inside = words.replace(f"{root}{os.sep}", "").replace(str(root), "the media folder")
    for folder in (
        Path(tempfile.gettempdir()),
        Path.home(),
    ):  # their names may contain spaces
        if len(folder.parts) > 1:
            inside = inside.replace(str(folder), f"{folder.anchor}x")
    return _ELSEWHERE.sub("(a place outside the media folder)", inside)


_ELSEWHERE = re.compile(r"""(?<![\w.:/~-])(?:~|[A-Za-z]:)?[/\\][^\s'"`,;:()<>]+(?<![.])""")
"""An absolute path in a sentence; a URL has a colon before its slashes, a relative path a letter."""


def _short(words: str) -> str:
    return words if len(words) <= _MOST_ERROR else f"{words[:_MOST_ERROR]}…"


def _advice(error: QwenOmniError) -> str:  # noqa: PLR0911  (one sentence for each kind)
    match error:
        case MediaDoesNotFitError():
            return "Use start and end to ask about a part of it."
        case TaskUnfinishedError():
            return "Call again later with the same arguments."
        case SpendLimitError():
            return (
                "The people who run this program limited what tools may cost. Ask about a shorter piece (start, end) "
                "or fewer frames (fps); if that is refused, too, go on without and tell the user. probe_media is free."
            )
        case ConfigurationError():
            return "Only the people who run this program can change that: tell the user."
        case APIError() if not error.retryable:
            return "Calling again with the same arguments will not help."
        case _ if error.retryable:
            return "Calling again later may work."
        case _:
            return ""
