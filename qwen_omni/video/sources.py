"""Which videos and recordings a person means by a path, a folder, a pattern or a link.

Loaders and readers of both frameworks, for videos and for speech, come through here. Everything is chosen by the
program, not by a message.
"""

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Literal

from qwen_omni.errors import ConfigurationError, DeliveryError, MediaError
from qwen_omni.redact import redact

Source = str | os.PathLike[str]
Sources = Source | Iterable[Source]
OnError = Literal["raise", "warn"]

MEDIA_SUFFIXES = (
    ".mp4", ".mov", ".mkv", ".webm", ".avi", ".flv", ".wmv", ".m4v", ".3gp", ".mpg", ".mpeg", ".ts", ".mp3", ".wav",
    ".m4a", ".aac", ".flac", ".ogg", ".opus", ".amr", ".wma",
)  # fmt: skip
"""What is taken for a video or recording in a folder."""

UNREADABLE = (MediaError, DeliveryError)
"""What is wrong with one source and says nothing about the next; `on_error="warn"` goes on after these."""


def named_apart(sources: Sources) -> tuple[Source, ...]:
    """Give one by one what is named: a single path, folder, pattern or link, or several of them."""
    return (sources,) if isinstance(sources, str | os.PathLike) else tuple(sources)


def find_media(sources: Sources, suffixes: Sequence[str] = MEDIA_SUFFIXES) -> Iterator[Source]:
    """Give every file and link that sources name, in order; folders are searched, patterns expanded.

    Raises:
        ConfigurationError: a folder or a pattern names no media.
    """
    for source in named_apart(sources):
        told = os.fspath(source)
        path = Path(told).expanduser()
        if "://" in told or path.is_file():
            yield source
            continue
        if path.is_dir():
            found = sorted(one for one in path.rglob("*") if _is_media(one, suffixes))
        elif any(sign in told for sign in "*?["):
            found = sorted(one for one in _expanded(path) if one.is_file())
        else:
            yield source  # the error about a missing file is told by whoever opens it
            continue
        if not found:
            raise ConfigurationError(
                f"{told} holds no video or recording. Name a file, a folder that has some, or a pattern."
            )
        yield from found


def _is_media(path: Path, suffixes: Sequence[str]) -> bool:
    return path.suffix.lower() in suffixes and not path.name.startswith(".") and path.is_file()


def _expanded(pattern: Path) -> Iterator[Path]:
    fixed = Path(pattern.anchor) if pattern.is_absolute() else Path()
    parts = pattern.relative_to(pattern.anchor).parts if pattern.is_absolute() else pattern.parts
    return fixed.glob(str(Path(*parts)))


def left_out_text(source: str, error: Exception) -> str:
    """Tell that a source is left out, and why; a link without what signs it."""
    return f"{redact(source)} is left out: {error}"
