"""Find the videos and recordings named by a path, a folder, a pattern or a link.

Used by the loaders and readers of both frameworks, for videos and for speech. Everything is chosen by the
program, not by a message.
"""

import errno
import os
import warnings
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

from qwen_omni.errors import ConfigurationError, DeliveryError, MediaError
from qwen_omni.media.files.tempfiles import machine_fault
from qwen_omni.media.source import NAME_ONE
from qwen_omni.redact import redact

Source = str | os.PathLike[str]
Sources = Source | Iterable[Source]
OnError = Literal["raise", "warn"]

MEDIA_SUFFIXES = (
    ".mp4", ".mov", ".mkv", ".webm", ".avi", ".flv", ".wmv", ".m4v", ".3gp", ".mpg", ".mpeg", ".ts", ".mp3", ".wav",
    ".m4a", ".aac", ".flac", ".ogg", ".opus", ".amr", ".wma",
)  # fmt: skip
"""What counts as a video or recording in a folder."""

UNREADABLE = (MediaError, DeliveryError)
"""Errors that concern one source only; `on_error="warn"` continues after these."""


def named_apart(sources: Sources) -> tuple[Source, ...]:
    """Return the named sources one by one: a single path, folder, pattern or link, or several of them.

    Raises:
        ConfigurationError: one of them is something else.
    """
    given: Any = sources  # whatever a caller passes
    several = isinstance(given, Iterable) and not isinstance(given, str | bytes | os.PathLike)
    named = tuple(given) if several else (given,)
    wrong = [type(one).__name__ for one in named if not isinstance(one, str | os.PathLike)]
    if wrong:
        raise ConfigurationError(
            f"A source is a path, a folder, a pattern or a link, as a str or a Path; got {wrong[0]}."
        )
    return named


def is_pattern(name: str) -> bool:
    """Whether a name contains wildcards. A file may have such a name, too."""
    return any(sign in name for sign in "*?[")


def in_home(name: str) -> Path:
    """Return a path, with `~` as the home folder; where there is no such user, the name is that of a file."""
    try:
        return Path(name).expanduser()
    except RuntimeError:
        return Path(name)


def _is_too_long(path: Path) -> bool:
    """Whether no file can have a name of this length; `Path.is_file` raises then."""
    try:
        path.stat()
    except OSError as error:
        return error.errno == errno.ENAMETOOLONG
    except ValueError:  # a null character
        return False
    return False


def find_media(sources: Sources, suffixes: Sequence[str] = MEDIA_SUFFIXES) -> Iterator[Source]:
    """Yield every file and link that sources name, in order; folders are searched, patterns expanded.

    A subfolder that cannot be listed is skipped with a warning.

    Raises:
        ConfigurationError: a folder or a pattern names no media.
        LocalResourceError: a named folder cannot be listed, or no more files can be opened.
    """
    for source in named_apart(sources):
        name = os.fspath(source)
        path = in_home(name)
        if "://" in name or _is_too_long(path) or path.is_file():
            yield source
            continue
        if path.is_dir():
            found = sorted(one for one in _below(path) if _is_media(one, suffixes))
        elif is_pattern(name):
            found = sorted(one for one in _expanded(path) if one.is_file())
        else:
            yield source  # a missing file is reported when it is opened
            continue
        if not found:
            raise ConfigurationError(
                f"{name} contains no video or recording. Pass a file, a folder that contains some, or a pattern."
            )
        yield from found


def _below(folder: Path) -> Iterator[Path]:
    """Yield all files below a folder; `Path.rglob` silently skips what it cannot list."""

    def unlisted(error: OSError) -> None:
        top = error.filename == os.fspath(folder)
        fault = machine_fault(error, f"list {error.filename}", path=folder if top else None)
        if fault is not None:
            raise fault
        warnings.warn(f"{error.filename} is skipped: it cannot be listed ({error.strerror}).", stacklevel=4)

    for place, _, names in os.walk(folder, onerror=unlisted):
        yield from (Path(place, name) for name in names)


def _is_media(path: Path, suffixes: Sequence[str]) -> bool:
    return path.suffix.lower() in suffixes and not path.name.startswith(".") and path.is_file()


def _expanded(pattern: Path) -> Iterator[Path]:
    fixed = Path(pattern.anchor) if pattern.is_absolute() else Path()
    parts = pattern.relative_to(pattern.anchor).parts if pattern.is_absolute() else pattern.parts
    return fixed.glob(str(Path(*parts)))


def left_out_text(source: str, error: Exception) -> str:
    """Return the notice that a source is skipped, and why; a link without its signature."""
    return f"{redact(source)} is skipped: {why_skipped(str(error))}"


def why_skipped(text: str) -> str:
    """Return an error without the advice to name another file: a file that is skipped need not have been named.

    Example:
        >>> why_skipped(f"a.mp4 is not media: its 9 bytes look like text. {NAME_ONE}")
        'a.mp4 is not media: its 9 bytes look like text.'
    """
    return text.removesuffix(f" {NAME_ONE}")
