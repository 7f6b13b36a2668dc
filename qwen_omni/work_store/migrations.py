"""The tables of a store file, and the migration of files from older versions.

Schema 1 was two families: the checkpoint of a long video (`facts`, `cuts`, `finished`, `claims`, `spent`) and the cache
of uploads or of transcription tasks (`uploads`). Captions were stored as JSON lines. None recorded who answered, so
their entries get the origin `UNVERIFIED`, except those that do not depend on it: cuts, and uploads and tasks, whose
names include the address and the account.
"""

import json
import math
import sqlite3
from collections.abc import Iterator
from typing import Any

from qwen_omni.work_store.store import LOCAL, UNVERIFIED

SCHEMA = 2
_TABLES = """
CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS results (run TEXT NOT NULL, origin TEXT NOT NULL, step TEXT NOT NULL,
  value TEXT NOT NULL, stored_at REAL NOT NULL, expires_at REAL, PRIMARY KEY (run, origin, step));
CREATE TABLE IF NOT EXISTS claims (run TEXT NOT NULL, origin TEXT NOT NULL, step TEXT NOT NULL, owner TEXT NOT NULL,
  beat INTEGER NOT NULL, lease REAL NOT NULL, resume TEXT, PRIMARY KEY (run, origin, step));
CREATE TABLE IF NOT EXISTS spend (id TEXT PRIMARY KEY, run TEXT NOT NULL, origin TEXT NOT NULL, value TEXT NOT NULL,
  at REAL NOT NULL)
"""
_COLUMNS = {
    "facts": {"name", "value"},
    "results": {"run", "origin", "step", "value", "stored_at", "expires_at"},
    "claims": {"run", "origin", "step", "owner", "beat", "lease", "resume"},
    "spend": {"id", "run", "origin", "value", "at"},
}
_OLD_CHECKPOINT = {
    "facts": {"name", "value"},
    "cuts": {"number", "start", "stop"},
    "finished": {"step", "answer", "at"},
    "spent": {"answer", "model", "usage"},
}
_OLD_UPLOADS = {"uploads": {"key", "owner", "claimed_until", "location", "expires_at", "resume"}}
_CHECKED_PAGES = 65_536  # a larger file is not checked as a whole when it is opened


class UnusableStoreError(Exception):
    """The file cannot be a store; the message is the reason, and becomes part of an error that names the file."""


def upgrade(base: sqlite3.Connection, run: str) -> int:
    """Create the tables in an empty file, or migrate a file from an older version to this schema, all or nothing.

    Returns the number of damaged rows of an older version that were dropped.

    Args:
        base: the connection, in autocommit mode.
        run: the run for entries of an older version.

    Raises:
        UnusableStoreError: the file is damaged, from a newer version, or of another program.
        sqlite3.Error: it cannot be read or written.
    """
    dropped = 0
    if not _is_current(base):
        base.execute("BEGIN IMMEDIATE")
        try:
            if not _is_current(base):  # otherwise another process was faster
                dropped = _make(base, run)
            base.execute("COMMIT")
        except BaseException:
            if base.in_transaction:
                base.execute("ROLLBACK")
            raise
    _check_pages(base)
    return dropped


def _make(base: sqlite3.Connection, run: str) -> int:
    kind, dropped = _kind(base), 0
    if kind == "checkpoint":
        base.execute("DROP TABLE IF EXISTS claims")  # claims of processes that use the older schema
    for statement in _TABLES.split(";"):
        base.execute(statement)
    if kind == "checkpoint":
        dropped = _from_checkpoint(base, run)
    elif kind == "uploads":
        _from_uploads(base, run)
    base.execute("INSERT OR REPLACE INTO facts VALUES ('form', ?)", (str(SCHEMA),))
    return dropped


def _is_current(base: sqlite3.Connection) -> bool:
    """Whether the file has this schema; raises `UnusableStoreError` if it cannot be migrated to it."""
    tables = _tables(base)
    if not tables or "facts" not in tables:
        return False
    if tables["facts"] != _COLUMNS["facts"]:
        raise UnusableStoreError("is the database of another program (its table `facts` has other columns)")
    row = base.execute("SELECT value FROM facts WHERE name = 'form'").fetchone()
    form = row[0] if row is not None else None
    if not isinstance(form, str) or not form.isascii() or not form.isdigit():
        if row is None and not set(tables) - {"facts"}:
            return False
        raise UnusableStoreError(f"is damaged: its schema version is {str(form)[:40]!r}")
    if len(form) > len(str(SCHEMA)) or int(form) > SCHEMA:
        raise UnusableStoreError(
            f"was written by a newer version (schema {form[:12]}; this one reads up to {SCHEMA}); update the package"
        )
    if int(form) < SCHEMA:
        return False
    for name, columns in _COLUMNS.items():
        if tables.get(name) != columns:
            raise UnusableStoreError(f"is damaged: its table `{name}` is missing or has other columns")
    return True


def _kind(base: sqlite3.Connection) -> str:
    """Return the older schema of a file: "checkpoint", "uploads", or "" for an empty file."""
    tables = _tables(base)
    if not tables:
        return ""
    for kind, wanted in (("checkpoint", _OLD_CHECKPOINT), ("uploads", _OLD_UPLOADS)):
        if set(wanted) <= set(tables):
            for name, columns in wanted.items():
                if tables[name] != columns:
                    raise UnusableStoreError(f"is damaged: its table `{name}` has other columns")
            return kind
    if set(tables) == {"facts"} and base.execute("SELECT COUNT(*) FROM facts").fetchone() == (0,):
        return ""
    named = ", ".join(sorted(tables)[:3])
    missing = sorted(set(_OLD_CHECKPOINT) - set(tables))
    if "facts" in tables and len(missing) < len(_OLD_CHECKPOINT) - 1:
        raise UnusableStoreError(f"is damaged: its tables {', '.join(missing)} are missing")
    raise UnusableStoreError(f"is the database of another program (it holds {named})")


def _tables(base: sqlite3.Connection) -> dict[str, set[str]]:
    names = base.execute("SELECT name FROM sqlite_master WHERE type IN ('table', 'view')").fetchall()
    plain = [str(name) for (name,) in names if isinstance(name, str) and not name.startswith("sqlite_")]
    return {name: {str(row[1]) for row in base.execute(f"PRAGMA table_info({_quoted(name)})")} for name in plain}


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _check_pages(base: sqlite3.Connection) -> None:
    (pages,) = base.execute("PRAGMA page_count").fetchone()
    if pages > _CHECKED_PAGES:
        return
    problem = base.execute("PRAGMA quick_check(1)").fetchone()
    if problem != ("ok",):
        raise UnusableStoreError(f"is damaged: {str(problem[0])[:120]}")


# --- Schema 1: the checkpoint of a long video ---


def _from_checkpoint(base: sqlite3.Connection, run: str) -> int:
    cuts = base.execute("SELECT number, start, stop FROM cuts").fetchall()
    rows: list[tuple[Any, ...]] = [
        (run, LOCAL, f"cut:{number}", json.dumps({"start": start, "end": stop}), 0.0)
        for number, start, stop in cuts
        if isinstance(number, int) and isinstance(start, str) and isinstance(stop, str)
    ]
    finished = base.execute("SELECT step, answer, at FROM finished").fetchall()
    rows += [
        (run, UNVERIFIED, step, answer, _number(at))
        for step, answer, at in finished
        if isinstance(step, str) and isinstance(answer, str)
    ]
    base.executemany("INSERT OR IGNORE INTO results VALUES (?, ?, ?, ?, ?, NULL)", rows)
    spent = base.execute("SELECT answer, model, usage FROM spent").fetchall()
    bills = list(_spent(spent, run))
    base.executemany("INSERT OR IGNORE INTO spend VALUES (?, ?, ?, ?, 0)", bills)
    for name in ("cuts", "finished", "spent"):
        base.execute(f"DROP TABLE {name}")
    return len(cuts) + len(finished) + len(spent) - len(rows) - len(bills)


def _spent(rows: list[tuple[Any, ...]], run: str) -> Iterator[tuple[str, str, str, str]]:
    for name, model, usage in rows:
        try:
            value = json.dumps({"model": model, "usage": json.loads(usage)})
        except (TypeError, ValueError, RecursionError):
            continue  # it was already unreadable
        if isinstance(name, str):
            yield name, run, UNVERIFIED, value


# --- Schema 1: uploads and transcription tasks ---


def _from_uploads(base: sqlite3.Connection, run: str) -> None:
    found = base.execute("SELECT key, location, expires_at, resume FROM uploads").fetchall()
    held = [
        (run, LOCAL, key, json.dumps({"location": location}), 0.0, _number(expires_at))
        for key, location, expires_at, _ in found
        if isinstance(key, str) and isinstance(location, str)
    ]
    begun = [
        (run, LOCAL, key, "", 0, 0.0, json.dumps(resume))
        for key, location, _, resume in found
        if isinstance(key, str) and location is None and isinstance(resume, str)
    ]
    base.executemany("INSERT OR IGNORE INTO results VALUES (?, ?, ?, ?, ?, ?)", held)
    base.executemany("INSERT OR IGNORE INTO claims VALUES (?, ?, ?, ?, ?, ?, ?)", begun)
    base.execute("DROP TABLE uploads")


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else 0.0


# --- Schema 1: captions as JSON lines ---


def read_lines(data: bytes) -> tuple[dict[str, dict[str, Any]], int]:
    """Parse a results file of captions from an older version; return the entries by key, and the number of unreadable
    lines. The last line for a key counts.

    Example:
        >>> read_lines(b'{"key": "a", "answer": "{}"}' + bytes([10]) + b'{"key": "b", "ans')
        ({'a': {'answer': '{}'}}, 1)
    """  # noqa: D205
    entries: dict[str, dict[str, Any]] = {}
    unreadable = 0
    for line in data.splitlines():
        try:
            entry = json.loads(line)
        except (ValueError, RecursionError):
            unreadable += bool(line.strip())
            continue
        if isinstance(entry, dict) and isinstance(entry.get("key"), str):
            entries[entry.pop("key")] = entry
        else:
            unreadable += 1
    return entries, unreadable
