"""Which videos and recordings a person means by a path, a folder, a pattern or a link.

Loaders and readers of both frameworks, for videos and for speech, come through here. Everything is chosen by the
program, not by a message.
"""

import os
import warnings
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Literal

from qwen_omni.errors import ConfigurationError, DeliveryError, MediaError
from qwen_omni.media.files.tempfiles import machine_fault
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

    A folder inside that cannot be listed is left out with a warning.

    Raises:
        ConfigurationError: a folder or a pattern names no media.
        LocalResourceError: the folder that was named cannot be listed, or no more files can be opened.
    """
    for source in named_apart(sources):
        told = os.fspath(source)
        path = Path(told).expanduser()
        if "://" in told or path.is_file():
            yield source
            continue
        if path.is_dir():
            found = sorted(one for one in _below(path) if _is_media(one, suffixes))
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


def _below(folder: Path) -> Iterator[Path]:
    """Yield all files below a folder; `Path.rglob` skips what it cannot list without a word."""

    def unlisted(error: OSError) -> None:
        top = error.filename == os.fspath(folder)
        fault = machine_fault(error, f"list {error.filename}", path=folder if top else None)
        if fault is not None:
            raise fault
        warnings.warn(f"{error.filename} is left out: it cannot be listed ({error.strerror}).", stacklevel=4)

    for place, _, names in os.walk(folder, onerror=unlisted):
        yield from (Path(place, name) for name in names)


def _is_media(path: Path, suffixes: Sequence[str]) -> bool:
    return path.suffix.lower() in suffixes and not path.name.startswith(".") and path.is_file()


def _expanded(pattern: Path) -> Iterator[Path]:
    fixed = Path(pattern.anchor) if pattern.is_absolute() else Path()
    parts = pattern.relative_to(pattern.anchor).parts if pattern.is_absolute() else pattern.parts
    return fixed.glob(str(Path(*parts)))


def left_out_text(source: str, error: Exception) -> str:
    """Tell that a source is left out, and why; a link without what signs it."""
    return f"{redact(source)} is left out: {error}"
