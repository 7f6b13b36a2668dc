"""Captions that are finished, kept in a small file, so that nobody pays for one twice.

One JSON object a line, written when a file is finished and flushed to the disk. The key is a digest of the media's
content and of everything that was asked, so a renamed file is known and a changed prompt is not. A disk that is full
does not end a run: what could not be written stays in memory and is written with the next line, and `trouble` says so.
"""

import hashlib
import json
import os
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

from qwen_omni.captions.schema import CaptionSchema
from qwen_omni.errors import ConfigurationError

_AT_ONCE = 1 << 20


class Results:
    """The file of finished captions. Safe to share between threads; several processes may append to one file.

    Attributes:
        path: where it is.
        trouble: why the last results could not be written; empty if they were.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     Results(Path(folder) / "done.jsonl").add("key", {"answer": "{}"})
        ...     Results(Path(folder) / "done.jsonl").find("key")
        {'answer': '{}'}
    """

    def __init__(self, path: Path) -> None:
        """Read what is there; a missing file is an empty one.

        Raises:
            ConfigurationError: the file holds something else, or cannot be read or written: told before anything is
                paid for.
        """
        self.path = path
        self.trouble = ""
        self._unwritten: list[bytes] = []
        self._lock = threading.Lock()
        self._working: dict[str, threading.Lock] = {}
        self._entries = _read(path)
        _check_writable(path)

    def find(self, key: str) -> dict[str, Any] | None:
        """Give what was kept under a key."""
        return self._entries.get(key)

    def working_on(self, key: str) -> threading.Lock:
        """Give the lock that whoever makes this result holds: two files of one content are asked about once."""
        with self._lock:
            return self._working.setdefault(key, threading.Lock())

    def add(self, key: str, entry: Mapping[str, Any]) -> None:
        """Keep a result; when this returns it is on the disk, or in memory with a `trouble`.

        A disk that is full raises nothing: what could not be written is written with the next result.
        """
        line = json.dumps({"key": key, **entry}, ensure_ascii=False) + "\n"
        with self._lock:
            self._entries[key] = dict(entry)
            self._unwritten.append(line.encode("utf-8", "surrogatepass"))  # of half characters in names and answers
            self._write()

    def write_rest(self) -> None:
        """Try again to write what could not be written."""
        with self._lock:
            if self._unwritten:
                self._write()

    def _write(self) -> None:
        try:
            with self.path.open("ab+") as file:
                whole = file.tell() == 0 or _last_byte(self.path) == b"\n"
                file.write((b"" if whole else b"\n") + b"".join(self._unwritten))
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            self.trouble = error.strerror or str(error)
        else:
            self.trouble = ""
            self._unwritten.clear()


def _check_writable(path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.open("ab").close()
    except OSError as error:
        raise ConfigurationError(
            f"The results file {path} cannot be written: {error.strerror}. Name another with --results, or use --fresh."
        ) from error


def _last_byte(path: Path) -> bytes:
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1)


def _read(path: Path) -> dict[str, dict[str, Any]]:
    try:
        lines = path.read_bytes().splitlines()
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise ConfigurationError(f"The results file {path} cannot be read: {error.strerror}.") from error
    entries: dict[str, dict[str, Any]] = {}
    for line in lines:
        try:
            entry = json.loads(line)
        except ValueError:
            continue  # a line that was being written when its process died
        if isinstance(entry, dict) and isinstance(entry.get("key"), str):
            entries[entry.pop("key")] = entry
    if lines and not entries and len(lines) > 1:
        raise ConfigurationError(f"{path} holds no results of ours in its {len(lines)} lines; name another file.")
    return entries


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
