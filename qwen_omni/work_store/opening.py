"""Which store a place means: a file of this machine, or a database that machines share."""

from pathlib import Path

from qwen_omni.addresses import StoreAddress
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
