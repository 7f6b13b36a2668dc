"""A local source that several threads can read at once: each opens it again and finds the same file, or an error."""

import contextlib
import io
import os
import weakref
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from qwen_omni.errors import UnreadableMediaError
from qwen_omni.media.files.safe_open import open_local, open_plain, resolve_local
from qwen_omni.media.files.tempfiles import remove_file
from qwen_omni.media.source import FileVersion, MediaSource


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
            if _version(file) != self.version:
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
        version = _version(file)
        yield file, Reopenable(label=label, size_bytes=version.size, path=path, version=version)


def temporary(path: Path, *, label: str) -> Reopenable:
    """Refer to a temporary file of ours, which is removed when nothing refers to it any more."""
    with open_plain(path, name=label) as file:
        version = _version(file)
    return Reopenable(label=label, size_bytes=version.size, path=path, version=version, owner=Owned(path))


class Owned:
    """Removes a temporary file as soon as nothing holds this value."""

    __slots__ = ("__weakref__",)

    def __init__(self, path: Path) -> None:
        weakref.finalize(self, remove_file, path)


def _version(file: IO[bytes]) -> FileVersion:
    return FileVersion.of(os.fstat(file.fileno()))
