"""What is wrong with a store file or this machine, and what to do. Pure, except for checking the file."""

import sqlite3
from pathlib import Path

from qwen_omni.errors import RESOURCES, ConfigurationError, LocalResourceError, QwenOmniError
from qwen_omni.work_store.migrations import UnusableStoreError
from qwen_omni.work_store.store import StoreUse

_CODES = {
    sqlite3.SQLITE_FULL: "disk", sqlite3.SQLITE_IOERR: "disk", sqlite3.SQLITE_READONLY: "permission",
    sqlite3.SQLITE_PERM: "permission", sqlite3.SQLITE_AUTH: "permission", sqlite3.SQLITE_CANTOPEN: "permission",
    sqlite3.SQLITE_NOMEM: "memory", sqlite3.SQLITE_BUSY: "lock", sqlite3.SQLITE_LOCKED: "lock",
    sqlite3.SQLITE_PROTOCOL: "lock",
}  # fmt: skip
_LOCKED = "it is locked by another program"


def resource_of(error: Exception) -> str:
    """Return the resource that this machine lacks, for `LocalResourceError.resource`; empty if none."""
    if isinstance(error, OSError):
        return RESOURCES.get(error.errno or 0, "")
    code = _code(error)
    if code is None and isinstance(error, sqlite3.OperationalError):
        return "lock"  # raised by this package: a lock could not be acquired in time
    return "" if code is None else _CODES.get(code, "")


def reason_of(error: Exception) -> str:
    """Return the reason for a failed write, for people."""
    if resource_of(error) == "lock":
        return _LOCKED
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


def to_error(error: Exception, path: Path, use: StoreUse) -> QwenOmniError:
    """Return the error that names the file, what is wrong with it, and what to do."""
    resource = resource_of(error)
    if resource:
        text = f"The {use.name} {path} cannot be used: {reason_of(error)}. {use.way_out}"
        return LocalResourceError(text, resource=resource, path=str(path))
    if isinstance(error, UnusableStoreError):
        return ConfigurationError(f"The {use.name} {path} {error}. {use.way_out}")
    if isinstance(error, sqlite3.Error):
        return ConfigurationError(
            f"The {use.name} {path} is damaged, or not a database of this package: {error}. {use.way_out}"
        )
    return ConfigurationError(f"The {use.name} {path} cannot be used: {reason_of(error)}. {use.way_out}")


def _code(error: Exception) -> int | None:
    """Return SQLite's primary result code."""
    code = getattr(error, "sqlite_errorcode", None)
    return code & 0xFF if isinstance(code, int) else None
