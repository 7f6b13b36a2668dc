"""What is finished, kept in a SQLite file per run, so that nobody pays for it twice.

Not after a crash, not in another process, and not in another kind of use (an index after a summary).

A step is finished when its row is committed. While somebody works on a step, it is claimed; claims of a process that
is gone count for nothing (its lock file is free). A disk that is full does not end a run: what could not be written
stays in memory and is written with the next row, and `trouble` says so.
"""

import contextlib
import json
import sqlite3
import threading
import time
import uuid
from collections.abc import Generator
from dataclasses import asdict
from fractions import Fraction
from pathlib import Path
from typing import IO, Literal, Self

from qwen_omni.errors import ConfigurationError
from qwen_omni.media.segments import Segment
from qwen_omni.responses import Usage

try:
    import fcntl
except ImportError:  # Windows has no such locks; claims are then not kept between processes
    fcntl = None  # type: ignore[assignment]

_FORM = 1  # of the tables
_WAIT = 60.0  # seconds to wait for another process that is writing
_TABLES = """
CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS cuts (number INTEGER PRIMARY KEY, start TEXT NOT NULL, stop TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS finished (step TEXT PRIMARY KEY, answer TEXT NOT NULL, at REAL NOT NULL);
CREATE TABLE IF NOT EXISTS claims (step TEXT PRIMARY KEY, owner TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS spent (answer TEXT PRIMARY KEY, model TEXT NOT NULL, usage TEXT NOT NULL);
"""


Claim = Literal["mine", "taken"]


class Checkpoint:
    """The finished steps of one run. Safe to share between threads; several processes may open one file.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder, Checkpoint(Path(folder) / "run.sqlite3") as kept:
        ...     kept.finish("map:0", "{}")
        ...     kept.find("map:0"), kept.find("map:1")
        ('{}', None)
    """

    def __init__(self, path: Path | None) -> None:
        """Open or make the file; `None` keeps everything in memory.

        Raises:
            ConfigurationError: the file cannot be made, read or written, or holds something else.
        """
        self.path = path
        self.trouble = ""
        self._owner = uuid.uuid4().hex[:16]
        self._guard = threading.Lock()
        self._unwritten: dict[str, str] = {}
        self._unpaid: dict[str, tuple[str, Usage]] = {}
        self._alive: IO[bytes] | None = None
        try:
            if path is not None:
                path.parent.mkdir(parents=True, exist_ok=True)
            self._base = sqlite3.connect(
                path or ":memory:", timeout=_WAIT, isolation_level=None, check_same_thread=False
            )
            try:
                self._make()
                self._alive = self._lock_file(self._owner)
            except BaseException:
                self._base.close()
                raise
        except (sqlite3.Error, OSError) as error:
            raise ConfigurationError(
                f"The checkpoint {path} cannot be used: {error}. Choose another folder for checkpoints, remove that "
                "file if it is damaged, or switch checkpoints off."
            ) from error

    def _make(self) -> None:
        self._base.execute("PRAGMA journal_mode=WAL")
        self._base.execute("PRAGMA synchronous=FULL")  # a row is on the disk when it is committed
        self._base.executescript(_TABLES)
        self._base.execute("INSERT OR IGNORE INTO facts VALUES ('form', ?)", (str(_FORM),))
        (form,) = self._base.execute("SELECT value FROM facts WHERE name = 'form'").fetchone()
        if form != str(_FORM):
            raise sqlite3.DatabaseError(f"it was written by another version (form {form}, not {_FORM})")

    # --- Where the video is cut ---

    def cuts(self) -> dict[int, Segment]:
        """Give the segments that were decided on before."""
        with self._guard:
            rows = self._base.execute("SELECT number, start, stop FROM cuts ORDER BY number").fetchall()
        return {row[0]: Segment(index=row[0], start=Fraction(row[1]), end=Fraction(row[2])) for row in rows}

    def cut(self, segment: Segment) -> Segment:
        """Keep a segment; give the one that counts, which another process may have decided on before."""
        with self._guard, self._patiently():
            row = (segment.index, str(segment.start), str(segment.end))
            self._base.execute("INSERT OR IGNORE INTO cuts VALUES (?, ?, ?)", row)
        with self._guard:
            found = self._base.execute("SELECT start, stop FROM cuts WHERE number = ?", (segment.index,)).fetchone()
        return (
            segment if found is None else Segment(index=segment.index, start=Fraction(found[0]), end=Fraction(found[1]))
        )

    # --- Steps ---

    def find(self, step: str) -> str | None:
        """Give the answer of a finished step."""
        with self._guard:
            if step in self._unwritten:
                return self._unwritten[step]
            row = self._base.execute("SELECT answer FROM finished WHERE step = ?", (step,)).fetchone()
        return None if row is None else str(row[0])

    def claim(self, step: str) -> Claim:
        """Say that this run works on a step, unless another living one does. Look for its answer afterwards."""
        with self._guard:
            try:
                self._base.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError as error:
                self.trouble = str(error)
                return "mine"  # nothing can be written; the run goes on without
            try:
                row = self._base.execute("SELECT owner FROM claims WHERE step = ?", (step,)).fetchone()
                if row is not None and row[0] != self._owner and self._lives(row[0]):
                    self._base.execute("ROLLBACK")
                    return "taken"
                self._base.execute("INSERT OR REPLACE INTO claims VALUES (?, ?)", (step, self._owner))
                self._base.execute("COMMIT")
            except sqlite3.OperationalError as error:
                self.trouble = str(error)
                with contextlib.suppress(sqlite3.OperationalError):
                    self._base.execute("ROLLBACK")
        return "mine"

    def release(self, step: str) -> None:
        """Give up a claim: the step failed, or was called off."""
        with self._guard, self._patiently():
            self._base.execute("DELETE FROM claims WHERE step = ? AND owner = ?", (step, self._owner))

    def finish(self, step: str, answer: str) -> None:
        """Commit a step. The first answer counts, should there ever be two. Never raises for a full disk."""
        with self._guard:
            self._unwritten[step] = answer
            self._write()

    def pay(self, answer_id: str, model: str, usage: Usage) -> None:
        """Keep what an answer used, whether or not it could be read."""
        with self._guard:
            self._unpaid[answer_id] = (model, usage)
            self._write()

    def paid(self) -> list[tuple[str, Usage]]:
        """List the model and the usage of every answer of this run, of all processes together."""
        with self._guard:
            rows = self._base.execute("SELECT model, usage FROM spent ORDER BY rowid").fetchall()
            held = list(self._unpaid.values())
        return [(str(model), Usage(**json.loads(usage))) for model, usage in rows] + held

    def _write(self) -> None:
        """Write everything that is not written yet, in one transaction."""
        finished = [(step, answer, time.time()) for step, answer in self._unwritten.items()]
        spent = [(key, model, json.dumps(asdict(usage))) for key, (model, usage) in self._unpaid.items()]
        try:
            self._base.execute("BEGIN IMMEDIATE")
            self._base.executemany("INSERT OR IGNORE INTO finished VALUES (?, ?, ?)", finished)
            self._base.executemany("INSERT OR IGNORE INTO spent VALUES (?, ?, ?)", spent)
            self._base.executemany("DELETE FROM claims WHERE step = ?", [(step,) for step, _, _ in finished])
            self._base.execute("COMMIT")
        except sqlite3.OperationalError as error:  # full disk, no rights any more, another process for too long
            self.trouble = str(error)
            with contextlib.suppress(sqlite3.OperationalError):
                self._base.execute("ROLLBACK")
        else:
            self.trouble = ""
            self._unwritten.clear()
            self._unpaid.clear()

    @contextlib.contextmanager
    def _patiently(self) -> Generator[None]:
        try:
            yield
        except sqlite3.OperationalError as error:
            self.trouble = str(error)

    # --- Who is alive ---

    def _lock_path(self, owner: str) -> Path | None:
        return None if self.path is None else self.path.with_name(f"{self.path.name}.{owner}.lock")

    def _lock_file(self, owner: str) -> IO[bytes] | None:
        """Take an owner's lock; `None` if somebody holds it, or where there are none."""
        path = self._lock_path(owner)
        if path is None or fcntl is None:
            return None
        file = path.open("ab")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.close()
            return None
        return file

    def _lives(self, owner: str) -> bool:
        path = self._lock_path(owner)
        if path is None or not path.exists() or fcntl is None:
            return False
        taken = self._lock_file(owner)
        if taken is None:
            return True
        with taken, contextlib.suppress(OSError):
            path.unlink()
        return False

    def close(self) -> None:
        """Give back every claim and close the file."""
        with self._guard:
            if self._unwritten or self._unpaid:
                self._write()
            with self._patiently(), contextlib.suppress(sqlite3.ProgrammingError):
                self._base.execute("DELETE FROM claims WHERE owner = ?", (self._owner,))
            self._base.close()
        path = self._lock_path(self._owner)
        if self._alive is not None and path is not None:
            with self._alive, contextlib.suppress(OSError):
                path.unlink()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
