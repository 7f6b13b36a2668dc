"""Open what a `MediaSource` names as one regular local file: no folder, pipe, device or socket, never outside `root`.

Paths in messages may come from untrusted users. They are resolved, links included, and compared with the resolved
root before anything is opened; the file is then reached from the root's folder step by step without following
links, so that a folder swapped for a link in between is noticed. `media.source` is the other half.

`Reopenable` is a source that several threads can read at once: each opens it again and finds the same file, or fails.
What is sent and what is digested is read with the same care, by `read_blocks`.
"""

import contextlib
import hashlib
import io
import os
import stat
import threading
import time
import weakref
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Protocol

from qwen_omni.errors import MediaOutsideRootError, QwenOmniError, UnreadableMediaError
from qwen_omni.media.files.tempfiles import machine_fault, remove_file
from qwen_omni.media.source import FileVersion, MediaSource
from qwen_omni.redact import clean

_NOFOLLOW = getattr(os, "O_NOFOLLOW", 0)
# Without O_NONBLOCK, opening a pipe that replaced a file would wait for a writer forever.
_READ = os.O_RDONLY | _NOFOLLOW | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
_LIST = os.O_RDONLY | _NOFOLLOW | getattr(os, "O_DIRECTORY", 0)
_FOLDER = getattr(os, "O_PATH", os.O_RDONLY) | getattr(os, "O_DIRECTORY", 0)
_STEPWISE = os.open in os.supports_dir_fd
_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISLNK, "a link"),
)
_BLOCK = 1_048_576  # bytes
_MOST_KEPT = 1024
_SETTLED_NS = 2_000_000_000  # file times are coarse: a file that changed just now may change again without a new time


def resolve_local(source: MediaSource, root: Path, *, name: str | None = None) -> Path:
    """Return the absolute path of a local file, without links; relative paths start at the current directory.

    Nothing is opened, and nothing behind a forbidden path is inspected.

    Args:
        source: a source that has a path.
        root: the folder that paths from messages must lie in.
        name: the source's name in errors; its label by default.

    Raises:
        MediaOutsideRootError: the path was not chosen by the program and leads out of `root`.
        UnreadableMediaError: the text cannot be a path at all.
    """
    path = str(source.path)
    name = name or source.label
    if not source.trusted and path.startswith(("\\\\", "//?/", "//./")):
        raise _outside(name, "", root)  # Windows would contact another machine or a device just to resolve it
    resolved = _resolve(path, name)
    if not source.trusted:
        inside = _resolve(str(root), "media_root")
        if not resolved.is_relative_to(inside):
            raise _outside(name, _how_outside(path, resolved, root), root)
    return resolved


def _how_outside(path: str, resolved: Path, root: Path) -> str:
    """Return why a path leads out of the root, if its text does not show it: a link, or another start folder."""
    inside, written = Path(os.path.realpath(root)), Path(os.path.abspath(path))  # noqa: PTH100  (follows no link)
    if written.is_relative_to(inside) or written.is_relative_to(root.absolute()):
        return f" is a link to {clean(str(resolved), 'terminal', one_line=True)}, which"
    if Path(path).is_absolute():
        return ""
    meant = os.path.realpath(inside / path)
    folder = clean(str(Path.cwd()), "terminal", one_line=True)
    if Path(meant).is_relative_to(inside) and os.path.isfile(meant):  # noqa: PTH113  (false, not an error, if too long)
        return f" is relative to the current folder ({folder}), not to media_root: pass the full path. It"
    return f" is relative to the current folder ({folder}) and"


@contextlib.contextmanager
def open_local(source: MediaSource, root: Path, *, name: str | None = None) -> Iterator[IO[bytes]]:
    """Open a path or bytes for reading, positioned at the start.

    Args:
        source: a path or bytes.
        root: the folder that paths from messages must lie in.
        name: the source's name in errors; its label by default.

    Raises:
        MediaOutsideRootError: the path was not chosen by the program and leads out of `root`.
        UnreadableMediaError: missing, empty, not a regular file, or not permitted.
    """
    name = name or source.label
    if source.data is not None:
        if not source.data:
            raise UnreadableMediaError(f"{name} is empty (0 bytes).")
        yield io.BytesIO(source.data)
        return
    path = resolve_local(source, root, name=name)
    start = path.parent if source.trusted else _resolve(str(root), "media_root")
    with open_plain(path, start=start, name=name) as file:
        yield file


@contextlib.contextmanager
def open_folder(source: MediaSource, root: Path, *, name: str | None = None) -> Iterator[int]:
    """Open a folder for listing, as a descriptor; raises as `open_local` does, and if there is no such folder."""
    name = name or source.label
    path, start = resolve_local(source, root, name=name), _resolve(str(root), "media_root")
    try:
        descriptor = _open(path, start, last=_LIST)
    except (OSError, ValueError) as error:
        raise _unopened(name, error) from None
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def open_plain(path: Path, *, start: Path | None = None, name: str | None = None) -> IO[bytes]:
    """Open a resolved path if it is a regular file that is not empty; never wait, never follow a link.

    Args:
        path: absolute and without links.
        start: the folder to walk from; the steps below it may not be links.
        name: the file's name in errors.

    Raises:
        UnreadableMediaError: it is missing, empty, not a regular file, not permitted or was replaced.
    """
    name = name or str(path)
    try:
        seen = os.lstat(path)
        _check_plain(seen, name)
        descriptor = _open(path, start or path.parent)
    except (OSError, ValueError) as error:
        raise _unopened(name, error) from None
    file = os.fdopen(descriptor, "rb")
    found = os.fstat(descriptor)
    if (found.st_dev, found.st_ino) != (seen.st_dev, seen.st_ino):
        file.close()
        raise UnreadableMediaError(f"{name} was replaced by another file while it was being opened; try again.")
    return file


def _resolve(path: str, name: str) -> Path:
    try:
        if "\0" in path:
            raise ValueError("it holds a null byte")  # noqa: TRY301
        return Path(os.path.realpath(path))
    except (OSError, ValueError) as error:
        raise _unopened(name, error) from None


def _open(path: Path, start: Path, last: int = _READ) -> int:
    """Open step by step from `start`, where the platform can; elsewhere only the last step is protected from links."""
    steps = path.relative_to(start).parts
    if not _STEPWISE or not steps:
        return os.open(path, last)
    folder = os.open(start, _FOLDER)
    try:
        for step in steps[:-1]:
            inner = os.open(step, _FOLDER | _NOFOLLOW, dir_fd=folder)
            os.close(folder)
            folder = inner
        return os.open(steps[-1], last, dir_fd=folder)
    finally:
        os.close(folder)


def _check_plain(found: os.stat_result, name: str) -> None:
    if not stat.S_ISREG(found.st_mode):
        kind = next((kind for test, kind in _KINDS if test(found.st_mode)), "something else")
        raise UnreadableMediaError(f"{name} is {kind}, not a plain file; name one media file.")
    if found.st_size == 0:
        raise UnreadableMediaError(f"{name} is empty (0 bytes).")


def _outside(name: str, how: str, root: Path) -> MediaOutsideRootError:
    return MediaOutsideRootError(
        f"{name}{how} lies outside media_root ({root.absolute()}); nothing was opened. Move the file "
        "there, or set media_root to a folder that holds it. Paths that the program itself chooses need no root: "
        "MediaSource.from_path(path, trusted=True)."
    )


def _unopened(name: str, error: OSError | ValueError) -> QwenOmniError:
    fault = machine_fault(error, f"open {name}")
    if fault is not None:
        return fault
    reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
    hint = "; '~' is not expanded, write the full path" if ": ~" in name or name.startswith("~") else ""
    return UnreadableMediaError(f"{name} cannot be opened: {reason}{hint}.")


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Reopenable:
    """Bytes or a file that was inspected, and how to open it again."""

    label: str
    size_bytes: int
    data: bytes | None = None
    path: Path | None = None
    version: FileVersion | None = None
    owner: object = field(default=None, compare=False)
    """Holds a temporary file as long as it may still be opened."""

    @contextlib.contextmanager
    def open(self) -> Iterator[IO[bytes]]:
        """Open it for reading, positioned at the start.

        Raises:
            UnreadableMediaError: it is gone, or was replaced.
        """
        if self.data is not None:
            yield io.BytesIO(self.data)
            return
        assert self.path is not None
        with open_plain(self.path, name=self.label) as file:
            if version_of(file) != self.version:
                raise UnreadableMediaError(f"{self.label} changed while it was being prepared; try again.")
            yield file


@contextlib.contextmanager
def first_opening(source: MediaSource, root: Path, *, label: str) -> Iterator[tuple[IO[bytes], Reopenable]]:
    """Open a path or bytes for the first time, and return a handle that opens the same again.

    Raises:
        MediaOutsideRootError: a path from a message leads out of `root`.
        UnreadableMediaError: missing, empty, not a regular file, or not permitted.
    """
    with open_local(source, root, name=label) as file:
        if source.data is not None:
            yield file, Reopenable(label=label, size_bytes=len(source.data), data=source.data)
            return
        path = resolve_local(source, root, name=label)
        version = version_of(file)
        yield file, Reopenable(label=label, size_bytes=version.size, path=path, version=version)


def temporary(path: Path, *, label: str) -> Reopenable:
    """Refer to a temporary file of ours, which is removed when nothing refers to it any more."""
    with open_plain(path, name=label) as file:
        version = version_of(file)
    return Reopenable(label=label, size_bytes=version.size, path=path, version=version, owner=Owned(path))


class Owned:
    """Removes a temporary file as soon as nothing holds this value."""

    __slots__ = ("__weakref__",)

    def __init__(self, path: Path) -> None:
        weakref.finalize(self, remove_file, path)


def version_of(file: IO[bytes]) -> FileVersion:
    """Return the state of an open file."""
    return FileVersion.of(os.fstat(file.fileno()))


def settled_version(file: IO[bytes]) -> FileVersion | None:
    """Return the state of a file on disk that has not changed for a while; `None` for any other file."""
    try:
        version = version_of(file)
    except (AttributeError, OSError):  # io.UnsupportedOperation, for bytes in memory, is an OSError
        return None
    newest = max(version.modified_ns, version.changed_ns)
    return version if time.time_ns() - newest > _SETTLED_NS else None


# --- Reading media while they are sent, inside the request or to a store, and for their digest ---


class Inspected(Protocol):
    """Bytes or a file that was inspected, and is read when it is sent."""

    @property
    def data(self) -> bytes | None: ...  # noqa: D102
    @property
    def path(self) -> Path | None: ...  # noqa: D102
    @property
    def version(self) -> FileVersion | None: ...  # noqa: D102
    @property
    def size_bytes(self) -> int: ...  # noqa: D102


def read_blocks(delivered: Inspected, block_bytes: int) -> Iterator[bytes]:
    """Read media that is sent inside the request; every block but the last has `block_bytes` bytes.

    The last block is yielded only if the file is still the inspected one, so a request with other content is never
    complete.

    Raises:
        UnreadableMediaError: the file is gone, was replaced, or changed while it was read.
    """
    with opened(delivered) as file:
        left = delivered.size_bytes
        while left > 0:
            block = file.read(min(block_bytes, left))
            left -= len(block)
            if not block or (left == 0 and not is_unchanged(file, delivered)):
                raise changed(delivered)
            yield block


def opened(delivered: Inspected) -> IO[bytes]:
    """Open the media that was inspected.

    Raises:
        UnreadableMediaError: the file is gone, or was replaced.
    """
    if delivered.path is None:
        return io.BytesIO(delivered.data or b"")
    file = open_plain(delivered.path)
    if not is_unchanged(file, delivered):
        file.close()
        raise changed(delivered)
    return file


def is_unchanged(file: IO[bytes], delivered: Inspected) -> bool:
    """Whether an open file is still in the state that was inspected."""
    return delivered.path is None or version_of(file) == delivered.version


def changed(delivered: Inspected) -> UnreadableMediaError:
    """Return the error for media that changed."""
    return UnreadableMediaError(f"{delivered.path or 'The media'} changed while it was being sent; send it again.")


class Digests:
    """SHA-256 digests of files, each computed once while the file is unchanged. Safe to share between threads.

    A digest identifies media, so a file's name never leaves the machine. A file is identified by device, inode, size,
    mtime and ctime; ctime cannot be set back.
    """

    def __init__(self) -> None:
        self._known: dict[FileVersion, str] = {}
        self._lock = threading.Lock()

    def of(self, ready: Inspected) -> str:
        """Return the hexadecimal digest of the media; raises as `digest_of` does."""
        with opened(ready) as file:
            state = settled_version(file)
        if state is None:
            return digest_of(ready)
        with self._lock:
            found = self._known.get(state)
        if found is None:
            found = digest_of(ready)
            with self._lock:
                while len(self._known) >= _MOST_KEPT:
                    self._known.pop(next(iter(self._known)))
                self._known[state] = found
        return found


def digest_of(ready: Inspected) -> str:
    """Return the hexadecimal digest of the media.

    Raises:
        UnreadableMediaError: the file is gone, or changed since it was inspected.
    """
    found = hashlib.sha256()
    for block in read_blocks(ready, _BLOCK):
        found.update(block)
    return found.hexdigest()
