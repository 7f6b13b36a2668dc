"""What a program opens: a file of this machine, or a database that machines share; and one run in it."""

import contextlib
import mimetypes
from pathlib import Path
from typing import Self

from qwen_omni.addresses import StoreAddress
from qwen_omni.errors import ConfigurationError
from qwen_omni.media.probe.probe import recognise
from qwen_omni.work_store.buffered import BufferedStore
from qwen_omni.work_store.sqlite import SqliteStore
from qwen_omni.work_store.store import StoreUse

_HEAD_BYTES = 4096


def open_work_store(
    place: str | Path | None, use: StoreUse, *, lease_seconds: float | None = None, otherwise: str = ""
) -> BufferedStore:
    """Open the store at a place: an address of PostgreSQL, or the path of an SQLite file; `None` is memory.

    Args:
        place: the place.
        use: what the store is for, in messages.
        lease_seconds: how long this owner may stall before others take over; that of the backend if not given.
        otherwise: what to do if a caller names media by mistake, which is then refused; anything is taken if empty.

    Raises:
        ConfigurationError: the file is media, damaged, from a newer version or of another program; psycopg is not
            installed; an address of something else.
        LocalResourceError: the file cannot be created, read or written.
        StoreError: the server cannot be reached or used.
    """
    address = None if place is None else StoreAddress.read(place)
    if address is None:
        path = None if place is None else Path(place)
        if path is not None and otherwise:
            refuse_media(path, use.name, otherwise)
        return SqliteStore(path, use, lease_seconds=lease_seconds)
    from qwen_omni.work_store.postgres import PostgresStore  # noqa: PLC0415  (an extra)

    return PostgresStore(address, use, lease_seconds=lease_seconds)


def refuse_media(path: Path, name: str, step: str) -> None:
    """Refuse media in the place of a file that a caller names for a store, by its name or its content.

    Args:
        path: the named file; it is read at most.
        name: what it should be.
        step: what to do.

    Raises:
        ConfigurationError: it is; the file is unchanged.
    """
    kind, head = "", b""
    with contextlib.suppress(OSError, ValueError):  # the store reports what cannot be read
        kind = (mimetypes.guess_type(path.name)[0] or "").partition("/")[0]
        if path.is_file():
            with path.open("rb") as file:
                head = file.read(_HEAD_BYTES)
    if kind in ("image", "audio", "video") or recognise(head) is not None:
        what = "is a media file" if recognise(head) is not None else "has the name of a media file"
        raise ConfigurationError(f"{path} {what}, and cannot be the {name}. {step}, for example {path.stem}.sqlite3.")


class RunStore:
    """One run in a store, and what its user should know about the file or server.

    Attributes:
        place: the file, or the address of the server without its password; `None` if everything is in memory.
    """

    def __init__(self, store: BufferedStore, run: str, *, reuse_unverified: bool) -> None:
        """Take a store; `reuse_unverified` is whether answers of unknown origin are used."""
        self.place = store.place
        self._store, self._use, self._run, self._reuse = store, store.use, run, reuse_unverified
        self._origins: set[str] = set()  # of what this run stores
        self._reported: set[str] = set()

    @property
    def trouble(self) -> str:
        """Why the last write failed; empty if it succeeded."""
        return self._store.trouble

    @property
    def unkept(self) -> str:
        """A notice with the number of answers not written, and where; empty if all are."""
        count = sum(self._store.unkept(origin) for origin in self._origins)
        if not count:
            return ""
        return (
            f"{self._use.holds.capitalize()} that could not be written to the {self._use.name} {self.place}: {count} "
            f"({self.trouble}). They are part of this result; a later run would ask for them, and pay for them, again."
        )

    def unverified(self) -> str:
        """A notice with the number of answers of unknown origin from an older version; empty if there are none."""
        count = 0 if self._reuse else self._store.unverified(self._run)
        if not count:
            return ""
        return (
            f"{self._use.holds.capitalize()} in the {self._use.name} {self.place} that an older version stored without "
            f"recording which server gave them: {count}. They are kept and not used; reuse_unverified=True "
            "(--reuse-unverified) uses them."
        )

    def notices(self) -> list[str]:
        """Return the notices about the file, each once."""
        return self._store.notices()

    def write_rest(self) -> None:
        """Retry the writes that failed."""
        self._store.write_rest()

    def news(self) -> list[str]:
        """Return what was not reported yet: damage, answers of unknown origin, and a file that cannot be written."""
        found = self.notices()
        if not self._reported:
            self._reported.add("")
            found += filter(None, (self.unverified(),))
        if self.trouble and self.trouble not in self._reported:
            self._reported.add(self.trouble)
            found.append(
                f"The {self._use.name} {self.place} cannot be written ({self.trouble}); {self._use.holds} are kept in "
                "memory and written as soon as that is possible. Free up space before this run ends."
            )
        return found

    def last_news(self) -> list[str]:
        """Retry the writes that failed; return what is to be reported at the end of a run."""
        self.write_rest()
        return [*self.news(), *filter(None, (self.unkept,))]

    def close(self) -> None:
        """Write what is pending, release every claim and close the file; the next use opens it again."""
        self._store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
