"""Captions that are finished, kept in a work store, so that none is paid for twice, by however many batches at once.

The key is a digest of the media's content and of everything that was asked, so a renamed file is known and a changed
prompt is not. Older versions kept JSON lines; such a file is read, and left as it is.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

from qwen_omni.captions.schema import CaptionSchema
from qwen_omni.errors import RESOURCES, ConfigurationError, LocalResourceError
from qwen_omni.work_store.migrations import read_lines
from qwen_omni.work_store.sqlite import SqliteStore, is_open
from qwen_omni.work_store.store import LOCAL, UNVERIFIED, Claim, Found, StepKey, StoreUse, Taken

_AT_ONCE = 1 << 20
_RUN = "captions"
_SUFFIX = ".sqlite3"
_OLD_SUFFIXES = (".jsonl", ".ndjson", ".json", ".txt")
_HEADER = b"SQLite format 3\x00"
_WAY_OUT = "Name another file with --results, remove that file, or use --fresh."


class Results:
    """The finished captions. Safe to share between threads; several processes may use one file at once.

    Attributes:
        path: where they are: the file that was named, or NAME.sqlite3 beside it where the name is that of a file of
            JSON lines, as older versions wrote them. Such a file is read, and left as it is.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     Results(Path(folder) / "done.sqlite3").add("key", {"answer": "{}"})
        ...     Results(Path(folder) / "done.sqlite3").find("key")
        {'answer': '{}'}
    """

    def __init__(self, path: Path, *, reuse_unverified: bool = False, lease_seconds: float | None = None) -> None:
        """Open or make the file.

        Args:
            path: the file.
            reuse_unverified: whether captions count that an older version stored without recording who gave them.
            lease_seconds: how long this process may stand still before others take over what it claimed.

        Raises:
            ConfigurationError: the file is damaged, of a newer version, or holds something else; raised before
                anything is paid for.
            LocalResourceError: it cannot be made, read or written.
        """
        self.path, old = _places(path)
        self._reuse = reuse_unverified
        self._unreadable = ""
        self._origins: set[str] = set()
        lines = None if old is None else _read_old(old)
        use = StoreUse(name="results file", way_out=_WAY_OUT)
        self._store = SqliteStore(self.path, use, lease_seconds=lease_seconds)
        if old is not None and lines is not None:
            self._take_over(old, *lines)

    def _take_over(self, old: Path, entries: Mapping[str, Any], unreadable: int) -> None:
        found = old.stat()
        self._store.take_over(_RUN, entries, mark=f"lines {old.name} {found.st_size} {found.st_mtime_ns}")
        if unreadable:
            self._unreadable = f"Lines of {old} that could not be read: {unreadable}. Their captions are asked again."

    def find(self, key: str, origin: str = LOCAL) -> dict[str, Any] | None:
        """Return what was stored under a key, as answered by `origin`."""
        found = self._store.find(StepKey(_RUN, key, origin), unverified=self._reuse)
        return None if found is None else self._entry(key, found)

    def claim(self, key: str, origin: str = LOCAL) -> dict[str, Any] | Taken | None:
        """Claim a caption unless it is finished or somebody else asks for it; `None` if it is to be asked for now."""
        while True:
            stands = self._store.claim(StepKey(_RUN, key, origin), unverified=self._reuse)
            if isinstance(stands, Claim):
                return None
            if isinstance(stands, Taken):
                return stands
            entry = self._entry(key, stands)
            if entry is not None:
                return entry

    def release(self, key: str, origin: str = LOCAL) -> None:
        """End a claim: the caption failed."""
        self._store.release(StepKey(_RUN, key, origin))

    def add(self, key: str, entry: Mapping[str, Any], origin: str = LOCAL) -> None:
        """Store a caption and end its claim; when this returns it is on the disk, or in memory with a `trouble`."""
        self._origins.add(origin)
        self._store.finish(StepKey(_RUN, key, origin), dict(entry))

    def discard(self, key: str, entry: Mapping[str, Any], origin: str = LOCAL) -> None:
        """Remove a caption that cannot be used, so that it is asked for again."""
        for one in (origin, UNVERIFIED):
            self._store.discard(StepKey(_RUN, key, one), dict(entry))

    def _entry(self, key: str, found: Found) -> dict[str, Any] | None:
        if isinstance(found.value, dict):
            return found.value
        self._store.discard(StepKey(_RUN, key, found.origin), found.value, damaged=True)
        return None

    @property
    def trouble(self) -> str:
        """Why the last caption could not be written; empty if it was."""
        return self._store.trouble

    @property
    def unkept(self) -> str:
        """How many captions could not be written, and where; empty if all are on the disk."""
        count = sum(self._store.unkept(origin) for origin in self._origins)
        if not count:
            return ""
        return (
            f"Captions that could not be written to the results file {self.path}: {count} ({self.trouble}). They are "
            "part of this result; a later run would ask for them, and pay for them, again."
        )

    def notices(self) -> list[str]:
        """Return what a person should know about the file, each once."""
        found = self._store.notices()
        if self._unreadable:
            found.append(self._unreadable)
            self._unreadable = ""
        return found

    def unverified(self) -> str:
        """How many captions are of an older version that did not record who gave them; empty if none is left out."""
        count = 0 if self._reuse else self._store.unverified(_RUN)
        if not count:
            return ""
        return (
            f"Captions in {self.path} that an older version stored without recording who gave them: {count}. They are "
            "kept and not used; reuse_unverified=True (--reuse-unverified) uses them."
        )

    def write_rest(self) -> None:
        """Try again to write what could not be written."""
        self._store.write_rest()

    def close(self) -> None:
        """Write what is left and close the file; it is opened again when it is used again."""
        self._store.close()


def _places(path: Path) -> tuple[Path, Path | None]:
    """Choose the file of the store, and find the one of an older version beside it.

    Raises:
        LocalResourceError: the named file cannot be read.
    """
    if path.suffix in _OLD_SUFFIXES or _is_text(path):
        return path.with_suffix(_SUFFIX), path if path.is_file() else None
    old = path.with_suffix(_OLD_SUFFIXES[0])
    return path, old if old.is_file() else None


def _is_text(path: Path) -> bool:
    """Whether a file is there that is no database; one that is damaged as a database is."""
    if path.suffix == _SUFFIX or is_open(path) or not path.is_file():
        return False
    data = _read_bytes(path, most=1 << 16)
    return bool(data) and not data.startswith(_HEADER[:8]) and b"\x00" not in data


def _read_bytes(path: Path, *, most: int = -1) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(most)
    except OSError as error:
        raise LocalResourceError(
            f"The results file {path} cannot be read: {error.strerror}. {_WAY_OUT}",
            resource=RESOURCES.get(error.errno or 0, "disk"),
            path=str(path),
        ) from error


def _read_old(path: Path) -> tuple[dict[str, dict[str, Any]], int]:
    data = _read_bytes(path)
    entries, unreadable = read_lines(data)
    if not entries and unreadable > 1:
        raise ConfigurationError(
            f"{path} holds no results of this package in its {len(data.splitlines())} lines. {_WAY_OUT}"
        )
    return entries, unreadable


def result_key(content: str, schema: CaptionSchema, asked: Mapping[str, Any]) -> str:
    """Make the key of a result from what was described and what was asked."""
    told = json.dumps([content, schema.json_schema, dict(asked)], sort_keys=True, ensure_ascii=False, default=str)
    return hashlib.sha256(told.encode()).hexdigest()


def content_digest(file: IO[bytes]) -> str:
    """Digest the content of an open file, a piece at a time.

    Raises:
        OSError: it cannot be read.
    """
    digest = hashlib.sha256()
    while piece := file.read(_AT_ONCE):
        digest.update(piece)
    return digest.hexdigest()
