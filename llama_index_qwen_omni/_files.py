"""Files of an fsspec file system: which ones are meant, and each as a local copy for as long as it is read.

Both readers come through here. Which files a folder or a pattern means is decided as it is for local ones, see
`qwen_omni.video.sources`.
"""

import contextlib
import os
import tempfile
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path, PurePath, PurePosixPath
from urllib.parse import urlsplit

from fsspec import AbstractFileSystem

from qwen_omni.downloads import is_link, shown
from qwen_omni.errors import ConfigurationError, QwenOmniError, UnreadableMediaError
from qwen_omni.media.scratch import machine_fault
from qwen_omni.redact import redact
from qwen_omni.video.sources import MEDIA_SUFFIXES, Sources, find_media, named_apart

_PIECE = 1 << 20  # bytes copied at a time


def find_files(
    sources: Sources, fs: AbstractFileSystem | None = None, suffixes: Sequence[str] = MEDIA_SUFFIXES
) -> list[str]:
    """List every file that sources name, in order; folders are searched, patterns expanded.

    Args:
        sources: a path, a folder, a pattern, or several of them; links where there is no `fs`.
        fs: the file system that they are on; the local one if not given.
        suffixes: what is taken for a video or recording in a folder.

    Raises:
        ConfigurationError: a folder or a pattern names no media.
        UnreadableMediaError: a folder cannot be listed.
    """
    if fs is None:
        return [os.fspath(one) for one in find_media(sources, suffixes)]
    return [one for source in named_apart(sources) for one in _found(os.fspath(source), fs, suffixes)]


def _found(told: str, fs: AbstractFileSystem, suffixes: Sequence[str]) -> Sequence[str]:
    if fs.isfile(told):
        return (told,)
    try:
        if _is_folder(told, fs):
            found = [str(one) for one in fs.find(told) if _is_media(PurePosixPath(one), suffixes)]
            if not found:
                fs.ls(told)  # `find` skips a folder that cannot be listed without a word
        elif any(sign in told for sign in "*?["):
            found = [str(one) for one, about in fs.glob(told, detail=True).items() if about.get("type") == "file"]
        else:
            return (told,)  # the error about a missing file is told by whoever opens it
    except OSError as error:
        raise _not_read(told, error, "list") from None  # it may name a signed link
    if not found:
        raise ConfigurationError(
            f"{redact(told)} holds no video or recording. Name a file, a folder that has some, or a pattern."
        )
    return sorted(found, key=PurePosixPath)


def _is_folder(told: str, fs: AbstractFileSystem) -> bool:
    """Tell whether it is a folder; one that may not be asked about is none, and opening it tells why."""
    with contextlib.suppress(OSError):
        return bool(fs.isdir(told))
    return False


def _is_media(path: PurePosixPath, suffixes: Sequence[str]) -> bool:
    return path.suffix.lower() in suffixes and not path.name.startswith(".")


@contextlib.contextmanager
def copied(source: str, fs: AbstractFileSystem) -> Generator[tuple[Path, str], None, None]:
    """Give a local copy of a file for as long as the `with` block runs, and the name that documents keep.

    Raises:
        UnreadableMediaError: there is no such file, or it cannot be read.
        LocalResourceError: this machine has no room for the copy, or lacks something else.
    """
    with _folder(source) as folder:
        copy = Path(folder) / PurePath(urlsplit(source).path if is_link(source) else source).name
        try:
            with copy.open("wb") as here:
                for piece in _pieces(source, fs):
                    here.write(piece)
        except OSError as error:
            raise machine_fault(error, f"copy {shown(source)}", writing=True) or error from error
        name = str(fs.unstrip_protocol(source))
        yield copy, shown(name) if is_link(name) else name


@contextlib.contextmanager
def all_copied(sources: Sequence[str], fs: AbstractFileSystem) -> Generator[list[tuple[Path, str]], None, None]:
    """Give copies of several files and their names, in order; raises as `copied` does."""
    with contextlib.ExitStack() as held:
        yield [held.enter_context(copied(source, fs)) for source in sources]


def _folder(source: str) -> "tempfile.TemporaryDirectory[str]":
    try:
        return tempfile.TemporaryDirectory(prefix="qwen-omni-", ignore_cleanup_errors=True)
    except OSError as error:
        raise machine_fault(error, f"copy {shown(source)}", writing=True) or error from error


def _pieces(source: str, fs: AbstractFileSystem) -> Iterator[bytes]:
    try:
        with fs.open(source, "rb") as there:
            while piece := there.read(_PIECE):
                yield piece
    except OSError as error:
        raise _not_read(source, error, "read") from None  # it may name a signed link


def _not_read(source: str, error: OSError, task: str) -> QwenOmniError:
    fault = machine_fault(error, f"{task} {redact(source)}")
    if fault is not None:
        return fault
    reason = f"{type(error).__name__} {redact(str(error))}".strip()
    return UnreadableMediaError(f"{redact(source)} cannot be read from its file system: {reason}.")
