"""What has been uploaded already, in one SQLite file: the same bytes go out once, from any thread or process.

Whoever needs a piece of media first *claims* it and uploads; the others wait for the claim to end. A claim of a
process that died is taken over, with what is needed to go on where it stopped. Rows hold no key, no signed link
and no file name. Where the file cannot be written the cache goes on in memory, with one warning.
"""

import contextlib
import hashlib
import os
import platform
import sqlite3
import threading
import time
import uuid
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")
_FILE = "uploads.sqlite3"
_CLAIM_SECONDS = 120.0  # a claim that nobody renews for so long is free, if its process cannot be asked
_BUSY_SECONDS = 30.0
_TABLE = """CREATE TABLE IF NOT EXISTS uploads (
  key TEXT PRIMARY KEY, owner TEXT NOT NULL, claimed_until REAL NOT NULL,
  location TEXT, expires_at REAL NOT NULL DEFAULT 0, resume TEXT)"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """The media is there."""

    location: str
    expires_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """Leave to upload; `resume` goes on with what another began."""

    key: str
    owner: str
    resume: str | None


def cache_key(*, digest: str, store: str, account: str, model: str, form: str | None) -> str:
    """Name an upload by what it is, where it lies and who may use it; nothing of that can be read back."""
    told = "\n".join((digest, store, account, model, form or ""))
    return hashlib.sha256(told.encode()).hexdigest()


class UploadCache:
    """The uploads of one user of one machine. Safe to share between threads and processes."""

    def __init__(self, folder: Path, clock: Callable[[], float] = time.time, *, file: str = _FILE) -> None:
        self._folder = folder
        self._file = file
        self._clock = clock
        self._lock = threading.Lock()
        self._memory: sqlite3.Connection | None = None

    def look(self, key: str) -> Held | Claim | None:
        """Find an upload, or claim it; `None` while another is at it."""
        now, owner = self._clock(), _new_owner()
        return self._apply(lambda rows: _look(rows, key, now, owner))

    def renew(self, claim: Claim) -> None:
        """Say that the upload goes on."""
        until = self._clock() + _CLAIM_SECONDS
        self._change("UPDATE uploads SET claimed_until = ? WHERE key = ? AND owner = ?", until, claim.key, claim.owner)

    def note(self, claim: Claim, resume: str) -> None:
        """Keep what another process needs to go on with this upload."""
        self._change("UPDATE uploads SET resume = ? WHERE key = ? AND owner = ?", resume, claim.key, claim.owner)

    def finish(self, claim: Claim, location: str, expires_at: float) -> None:
        """Say that the media is there, and until when it can be used."""
        sql = "INSERT OR REPLACE INTO uploads (key, owner, claimed_until, location, expires_at) VALUES (?, '', 0, ?, ?)"
        self._change(sql, claim.key, location, expires_at)

    def give_up(self, claim: Claim) -> None:
        """End a claim without an upload; what has arrived can still be resumed."""
        sql = "UPDATE uploads SET claimed_until = 0, owner = '' WHERE key = ? AND owner = ?"
        self._change(sql, claim.key, claim.owner)

    def forget(self, key: str, location: str) -> None:
        """Drop an upload that is gone, unless somebody has replaced it meanwhile."""
        self._change("DELETE FROM uploads WHERE key = ? AND location = ?", key, location)

    def _change(self, sql: str, *values: object) -> None:
        self._apply(lambda rows: rows.execute(sql, values))

    def _apply(self, action: Callable[[sqlite3.Connection], T]) -> T:
        """Do something in one transaction: on the file, and in memory once the file has failed."""
        with self._lock:
            if self._memory is None:
                try:
                    self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
                    with contextlib.closing(_opened(str(self._folder / self._file))) as rows:
                        return _within(rows, action)
                except (sqlite3.Error, OSError) as error:
                    self._degrade(error)
            return _within(self._memory or _opened(":memory:"), action)

    def _degrade(self, error: Exception) -> None:
        self._memory = _opened(":memory:")
        warnings.warn(
            f"The upload cache in {self._folder} cannot be used ({error}); uploads are remembered in memory until this "
            "process ends. Free some space, or set cache_dir (QWEN_OMNI_CACHE_DIR) to a folder that can be written.",
            UserWarning,
            stacklevel=2,
        )


def _opened(name: str) -> sqlite3.Connection:
    rows = sqlite3.connect(name, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False)
    rows.row_factory = sqlite3.Row
    return rows


def _within(rows: sqlite3.Connection, action: Callable[[sqlite3.Connection], T]) -> T:
    rows.execute("BEGIN IMMEDIATE")
    try:
        rows.execute(_TABLE)
        result = action(rows)
        rows.execute("COMMIT")
    except BaseException:
        with contextlib.suppress(sqlite3.Error):
            rows.execute("ROLLBACK")
        raise
    return result


def _look(rows: sqlite3.Connection, key: str, now: float, owner: str) -> Held | Claim | None:
    found = rows.execute("SELECT * FROM uploads WHERE key = ?", (key,)).fetchone()
    resume = None
    if found is not None and found["location"] is not None:
        if found["expires_at"] > now:
            return Held(location=found["location"], expires_at=found["expires_at"])
    elif found is not None:
        if _is_busy(found["owner"], found["claimed_until"], now):
            return None
        resume = found["resume"]
    sql = "INSERT OR REPLACE INTO uploads (key, owner, claimed_until, resume) VALUES (?, ?, ?, ?)"
    rows.execute(sql, (key, owner, now + _CLAIM_SECONDS, resume))
    return Claim(key=key, owner=owner, resume=resume)


def _new_owner() -> str:
    return f"{platform.node()} {os.getpid()} {uuid.uuid4().hex}"


def _is_busy(owner: str, until: float, now: float) -> bool:
    """Tell whether a claim holds. A process of this machine is asked, so that a crash costs no waiting."""
    if until <= now:
        return False
    host, _, rest = owner.partition(" ")
    if host != platform.node() or os.name != "posix":
        return True
    try:
        os.kill(int(rest.partition(" ")[0]), 0)
    except ProcessLookupError:
        return False
    except (OSError, ValueError):  # it lives, and belongs to somebody else
        return True
    return True
