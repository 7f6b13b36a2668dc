"""The videos of a library by name: the one name that each file has, and which of them a caller selects.

Paths are resolved here, and nothing is opened.
"""

import os
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from qwen_omni.errors import ConfigurationError, QwenOmniError, UnreadableMediaError
from qwen_omni.media.files.find import Sources, in_home, is_pattern, named_apart
from qwen_omni.media.source import MediaSource
from qwen_omni.redact import clean, redact
from qwen_omni.video.export.markdown import counted

_MOST_NAMES = 5  # videos that an error lists


def name_of(source: str | os.PathLike[str]) -> str:
    """Return the name that a video has in a library: its real path, which is the same for every link that leads to it.

    Raises:
        ConfigurationError: it is a link to another machine, or empty.
        UnreadableMediaError: no file can have this name, or it is not Unicode, which a library cannot store.
    """
    text = _local(os.fspath(source))
    try:
        name = os.path.realpath(in_home(text))
    except ValueError as error:
        raise UnreadableMediaError(f"No file can have the name {ascii(text)[:80]}: {error}.") from error
    try:
        name.encode()
    except UnicodeEncodeError as error:
        raise UnreadableMediaError(f"The name of {Path(name).name!a} is not Unicode. Rename the file.") from error
    return name


def check_local(sources: Iterable[str | os.PathLike[str]]) -> None:
    """Check that no source is empty or on another machine, before anything is paid for.

    Raises:
        ConfigurationError: one is.
    """
    for source in sources:
        _local(os.fspath(source))


def _local(source: str) -> str:
    if not source.strip():
        raise ConfigurationError("The name of a video is empty. Pass a path.")
    if "://" not in source:
        return source
    if source.lower().startswith("file://"):
        try:
            return str(MediaSource.from_url(source).path)
        except QwenOmniError as error:
            raise ConfigurationError(str(error)) from error
    raise ConfigurationError(
        f"{redact(source)} is a link; a library holds local files, so that answers can look at them again. "
        "Download it first, and add the file. To search without watching again, the video loaders and readers take "
        "links for a vector store of your own."
    )


def matching(source: str | os.PathLike[str], held: Sequence[str]) -> list[str]:
    """Return the videos of a library that a source names.

    Args:
        source: a video, a folder with everything below it, or a pattern of either; `**` crosses folders.
        held: the videos of the library.

    Raises:
        ConfigurationError: it is a link to another machine, or empty.
        UnreadableMediaError: no file can have this name.

    Example:
        >>> held = ["/videos/a.mp4", "/videos/old/b.mp4", "/videos-2/c.mp4"]
        >>> matching("/videos", held), matching("/videos/*.mp4", held)
        (['/videos/a.mp4', '/videos/old/b.mp4'], ['/videos/a.mp4'])
    """
    name = name_of(source)
    below = name.rstrip(os.sep) + os.sep
    found = [one for one in held if one == name or one.startswith(below)]
    if found or not is_pattern(os.fspath(source)):
        return found
    parts = in_home(_local(os.fspath(source))).absolute().parts
    fixed = next(at for at, part in enumerate(parts) if is_pattern(part))
    top = Path(name_of(Path(*parts[:fixed])))
    return [one for one in held if top in Path(one).parents and _fits(Path(one).relative_to(top).parts, parts[fixed:])]


def _fits(parts: Sequence[str], pattern: Sequence[str]) -> bool:
    """Whether a path, or a folder that it is in, fits a pattern."""
    if not pattern:
        return True
    if pattern[0] == "**":
        rest = pattern[1:]
        return any(_fits(parts[at:], rest) for at in range(len(parts)))
    return bool(parts) and fnmatchcase(parts[0], pattern[0]) and _fits(parts[1:], pattern[1:])


def selected(sources: Sources, held: Sequence[str], place: str) -> list[str]:
    """Return the videos of a library that several sources name, each once.

    Args:
        sources: one source or several, see `matching`.
        held: the videos of the library.
        place: the library.

    Raises:
        ConfigurationError: one of them names no video of the library.
    """
    found: dict[str, None] = {}
    for source in named_apart(sources):
        names = matching(source, held)
        if not names:
            raise not_held(source, held, place)
        found.update(dict.fromkeys(names))
    return list(found)


def not_held(source: str | os.PathLike[str], held: Sequence[str], place: str = "") -> ConfigurationError:
    """Return the error about a video, folder or pattern of which a library holds nothing."""
    names = ", ".join(Path(one).name for one in held[:_MOST_NAMES]) or "none"
    more = ", …" if len(held) > _MOST_NAMES else ""
    shown = clean(os.fspath(source), "terminal", one_line=True)
    return ConfigurationError(
        f"{shown} is not in the library{place and f' {place}'}, which has {counted(len(held), 'video')}: {names}{more}."
    )
