"""The content of the stores: objects and unfinished uploads, on disk in their own folder. Knows no HTTP."""

from __future__ import annotations

import threading
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from qwen_omni.standin.server.spool import combine_crc, digest_of

if TYPE_CHECKING:
    from pathlib import Path

    from qwen_omni.standin.server.spool import Spool


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """One object. `model`, `account` and `until` are set in the temporary store."""

    files: tuple[Path, ...]
    size_bytes: int
    crc: int | None
    etag: str
    content_type: str
    acl: str
    made_at: float
    model: str = ""
    account: str = ""
    until: float | None = None

    @property
    def sha256(self) -> str:
        """The digest of the content, in hexadecimal."""
        return digest_of(*self.files)


@dataclass(slots=True, kw_only=True)
class Upload:
    """A multipart upload in progress."""

    bucket: str
    key: str
    content_type: str
    acl: str
    parts: dict[int, Spool] = field(default_factory=dict)


class Objects:
    """The objects of all buckets. Thread-safe."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._held: dict[tuple[str, str], Stored] = {}
        self._uploads: dict[str, Upload] = {}
        self._lock = threading.Lock()

    def put(self, bucket: str, key: str, stored: Stored) -> None:
        """Store an object, replacing an older one of the same name."""
        with self._lock:
            self._held[bucket, key] = stored

    def get(self, bucket: str, key: str) -> Stored | None:
        """Return an object, or None if it does not exist."""
        return self._held.get((bucket, key))

    def delete(self, bucket: str, key: str) -> None:
        """Delete an object."""
        with self._lock:
            self._held.pop((bucket, key), None)

    def names(self, bucket: str) -> list[str]:
        """Return the names of a bucket's objects."""
        with self._lock:
            return sorted(name for held, name in self._held if held == bucket)

    def begin(self, upload: Upload) -> str:
        """Start a multipart upload and return its id."""
        name = uuid.uuid4().hex.upper()
        with self._lock:
            self._uploads[name] = upload
        return name

    def upload(self, name: str, bucket: str, key: str) -> Upload | None:
        """Return an upload in progress for this object."""
        found = self._uploads.get(name)
        return found if found is not None and (found.bucket, found.key) == (bucket, key) else None

    def end(self, name: str) -> None:
        """Remove an upload."""
        with self._lock:
            self._uploads.pop(name, None)

    def join(self, upload: Upload, numbers: list[int]) -> tuple[tuple[Path, ...], int, int | None]:
        """Join the parts of an upload in this order; return the files, their size and the CRC-64 of the whole."""
        parts = [upload.parts[number] for number in numbers]
        crc = parts[0].crc
        for part in parts[1:]:
            crc = None if crc is None or part.crc is None else combine_crc(crc, part.crc, part.size_bytes)
        return tuple(part.path for part in parts), sum(part.size_bytes for part in parts), crc
