"""Which store a place means: a file of this machine, or a database that machines share."""

import contextlib
import mimetypes
from pathlib import Path

from qwen_omni.addresses import StoreAddress
from qwen_omni.errors import ConfigurationError
from qwen_omni.media.probe.probe import recognise
from qwen_omni.work_store.buffered import BufferedStore
from qwen_omni.work_store.sqlite import SqliteStore
from qwen_omni.work_store.store import StoreUse


def open_work_store(place: str | Path | None, use: StoreUse, *, lease_seconds: float | None = None) -> BufferedStore:
    """Open the store at a place: an address of PostgreSQL, or the path of an SQLite file; `None` is memory.

    Raises:
        ConfigurationError: the file is damaged, from a newer version or of another program; psycopg is not installed;
            an address of something else.
        LocalResourceError: the file cannot be created, read or written.
        StoreError: the server cannot be reached or used.
    """
    address = None if place is None else StoreAddress.read(place)
    if address is None:
        return SqliteStore(None if place is None else Path(place), use, lease_seconds=lease_seconds)
    from qwen_omni.work_store.postgres import PostgresStore  # noqa: PLC0415  (an extra)

    return PostgresStore(address, use, lease_seconds=lease_seconds)


_HEAD_BYTES = 4096


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
