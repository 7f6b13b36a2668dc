"""The folder that tools may read: paths from a model become sources in it, or are refused.

Nothing outside is opened: a path is resolved, including links, before anything is touched, and files and folders are
opened step by step from the root without following links.
"""

import os
import stat
from dataclasses import dataclass
from pathlib import Path

from qwen_omni.errors import UnreadableMediaError
from qwen_omni.media.files.safe_open import open_folder, open_local, resolve_local
from qwen_omni.media.files.tempfiles import machine_fault
from qwen_omni.media.info import MediaInfo
from qwen_omni.media.probe.probe import probe
from qwen_omni.media.source import MediaSource, check_page
from qwen_omni.redact import redact
from qwen_omni.tools.results import line


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """An entry of a folder: a name, and the size of a file; `None` for a folder."""

    name: str
    size_bytes: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaFolder:
    """A folder and everything below it."""

    root: Path

    def source(self, path: str) -> MediaSource:
        """Return the source for a model's path; relative paths start at the folder.

        Raises:
            UnreadableMediaError: it is a URL, or not a path.
            UnsupportedMediaError: it is a page of a video site.
            MediaOutsideRootError: it leads out of the folder.
        """
        if "://" in path or path.startswith("data:"):
            check_page(path, name=redact(path))
            raise UnreadableMediaError("That is a link; this tool takes paths of files in the media folder.")
        source = MediaSource.from_path(self.root / path)
        resolve_local(source, self.root, name=repr(path))
        return source

    def probe(self, source: MediaSource) -> MediaInfo:
        """Inspect a file.

        Raises:
            UnreadableMediaError: missing, not a plain file, or not media.
        """
        with open_local(source, self.root, name=self.name_of(source)) as file:
            return probe(file, label=self.name_of(source))

    def is_folder(self, source: MediaSource) -> bool:
        """Whether a source is a folder."""
        try:
            return stat.S_ISDIR(os.lstat(resolve_local(source, self.root)).st_mode)
        except (OSError, ValueError):
            return False

    def listing(self, source: MediaSource) -> list[Entry]:
        """List a folder: files and folders, without hidden ones and links.

        Raises:
            UnreadableMediaError: it cannot be read.
            LocalResourceError: this machine lacks a resource to read it.
        """
        with open_folder(source, self.root, name=self.name_of(source)) as descriptor:
            try:
                with os.scandir(descriptor) as found:
                    entries = [one for one in map(_entry, found) if one is not None]
            except OSError as error:
                fault = machine_fault(error, f"list {self.name_of(source)}")
                raise fault or UnreadableMediaError(
                    f"{self.name_of(source)} cannot be listed: {error.strerror}."
                ) from None
        return sorted(entries, key=lambda one: (one.size_bytes is not None, one.name))

    def name_of(self, source: MediaSource) -> str:
        """Return the name of a source for the model: its path relative to the folder."""
        resolved, root = resolve_local(source, self.root), Path(os.path.realpath(self.root))
        return line(str(resolved.relative_to(root))) if resolved.is_relative_to(root) else source.label


def _entry(found: os.DirEntry[str]) -> Entry | None:
    if found.name.startswith(".") or found.is_symlink():
        return None
    if found.is_dir(follow_symlinks=False):
        return Entry(name=f"{found.name}/", size_bytes=None)
    return Entry(name=found.name, size_bytes=found.stat(follow_symlinks=False).st_size)
