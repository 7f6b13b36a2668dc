"""Where the passages of a library are stored: a folder of LanceDB, or anything else that stores and finds rows.

The only module that imports LanceDB, which loads on first use. A store knows nothing about videos or models: it holds
rows with a text and a vector, finds those near a question by both, and remembers what was added.
"""

import contextlib
import errno
import json
import os
import random
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol, TypeVar

from qwen_omni.errors import ConfigurationError, QwenOmniError, StoreError
from qwen_omni.media.files.tempfiles import machine_fault
from qwen_omni.retrieval.passages import Passage
from qwen_omni.retrieval.windows import Hit

try:
    import fcntl
except ImportError:  # Windows: one process adds at a time
    _LOCKS = False
else:
    _LOCKS = True

T = TypeVar("T")

_PASSAGES, _VIDEOS = "passages", "videos"
_STAMP = b"qwen_omni"
_VERSION = 1
_INDEXED_FROM = 20_000
"""Rows from which an index of vectors is made: below, comparing all of them is as quick and exact."""
_REFINED = 10  # candidates of the compressed index that are compared exactly, as a multiple of those wanted
_CONFLICTS = ("commit conflict", "already exists", "preempted by concurrent")
_ATTEMPTS, _LONGEST_WAIT = 20, 1.0  # tries of a change, and seconds between two of them
_UNUSED = timedelta(hours=1)  # older versions of a table are removed: an hour is longer than any search lasts


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A passage with its vector."""

    passage: Passage
    vector: Sequence[float] = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Video:
    """A video or recording in a library.

    Attributes:
        source: its path.
        version: identifies its content, and how its passages were made; empty if some of it could not be read.
        passages: how many passages it has.
    """

    source: str
    version: str
    passages: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Stamp:
    """What all rows of a library have in common.

    Attributes:
        embedding: name of the embedding.
        origin: who described the videos; see `Settings.origin`.
        dimensions: length of the vectors.
    """

    embedding: str
    origin: str
    dimensions: int


class PassageStore(Protocol):
    """Stores rows and finds them. Every method may block; one object is used by one thread at a time."""

    def stamp(self) -> Stamp | None:
        """Return what the rows have in common; `None` while there are none."""

    def begin(self, stamp: Stamp) -> None:
        """Prepare an empty store for its first rows."""

    def vectors(self, source: str) -> Mapping[str, Sequence[float]]:
        """Return the vectors of a source by text."""

    def write(self, rows: Sequence[Row], *, fresh: bool = False) -> None:
        """Write rows; one with the same ID is replaced. With `fresh` there is none, which is quicker."""

    def drop(self, source: str, *, keep: Iterable[str] = ()) -> int:
        """Remove the rows of a source, except those with the IDs to keep; return how many."""

    def videos(self) -> list[Video]:
        """Return what was added, by path."""

    def finish(self, video: Video) -> None:
        """Record that all passages of a video are written."""

    def forget(self, source: str) -> None:
        """Remove the record of a video."""

    def nearest(self, vector: Sequence[float], most: int, sources: Sequence[str] = ()) -> list[Hit]:
        """Return the rows whose vectors are nearest, best first; the score is the cosine of the angle.

        Args:
            vector: of the question.
            most: rows at most.
            sources: only rows of these; all if empty.
        """

    def matching(self, text: str, vector: Sequence[float], most: int, sources: Sequence[str] = ()) -> list[Hit]:
        """Return the rows whose texts have most words of a question, with the same score as `nearest` has."""

    def refresh(self) -> None:
        """Bring the indexes up to date, after many rows were written."""


class LanceStore:
    """A store in a folder of LanceDB, or wherever LanceDB itself stores tables (`s3://…`).

    Args:
        place: the folder or address; it is created with the first row.

    Raises:
        ConfigurationError: LanceDB is not installed, or the place is a file.
    """

    def __init__(self, place: str | os.PathLike[str]) -> None:
        self.place = os.fspath(place)
        if not self.place.strip():
            raise ConfigurationError("The name of the library is empty; name a folder, such as library.lance.")
        if "://" not in self.place:
            is_folder(Path(self.place))
        if find_spec("lancedb") is None:
            raise ConfigurationError("A library needs an extra package: pip install 'qwen-omni[library]'")
        self._database: Any = None
        self._tables: dict[str, Any] = {}
        self._seen: int | None = None  # version of the passages of which is known what they hold

    def stamp(self) -> Stamp | None:
        """Return what the rows have in common; `None` while there are none."""
        table = self._table(_PASSAGES)
        if table is None:
            return None
        found = (table.schema.metadata or {}).get(_STAMP)
        try:
            about = json.loads(found or b"null")
            if about["version"] > _VERSION:
                raise ConfigurationError(
                    f"{self.place} was written by a newer version of qwen-omni; update it: pip install -U qwen-omni"
                )
            return Stamp(embedding=about["embedding"], origin=about["origin"], dimensions=about["dimensions"])
        except (ValueError, KeyError, TypeError) as error:
            raise self._stranger(_PASSAGES) from error

    def begin(self, stamp: Stamp) -> None:
        """Create the tables, unless another process has just done so."""
        import pyarrow as pa  # noqa: PLC0415  (comes with LanceDB)

        about = {"version": _VERSION, **asdict(stamp)}
        columns = [
            pa.field("id", pa.string()), pa.field("source", pa.string()), pa.field("start", pa.float64()),
            pa.field("end", pa.float64()), pa.field("text", pa.string()), pa.field("metadata", pa.string()),
            pa.field("vector", pa.list_(pa.float32(), stamp.dimensions)),
        ]  # fmt: skip
        schema = pa.schema(columns, metadata={_STAMP: json.dumps(about).encode()})

        def create() -> None:
            if self._table(_PASSAGES) is None:
                self._listed()
                self._tables[_PASSAGES] = self._connected().create_table(_PASSAGES, schema=schema)
                self._seen = self._tables[_PASSAGES].version

        self._write("create", create)

    def vectors(self, source: str) -> Mapping[str, Sequence[float]]:
        """Return the vectors of a source by text."""
        with self._faults("read"):
            rows = self._rows(_PASSAGES, f"source = {quoted(source)}", ["text", "vector"])
            table = self._tables.get(_PASSAGES)
            self._seen = None if table is None else table.version
        return {row["text"]: row["vector"] for row in rows}

    def write(self, rows: Sequence[Row], *, fresh: bool = False) -> None:
        """Write rows; one with the same ID is replaced."""

        def write() -> None:
            table = self._table(_PASSAGES)
            if table is None or not rows:
                return
            written = _columns(rows, table.schema)
            if fresh and table.version == self._seen:  # no other process has written any since
                table.add(written)
                self._seen = table.version
            else:
                table.merge_insert("id").when_matched_update_all().when_not_matched_insert_all().execute(written)

        self._write("write to", write)

    def drop(self, source: str, *, keep: Iterable[str] = ()) -> int:
        """Remove the rows of a source, except those with the IDs to keep; return how many.

        Duplicates of those are removed, too: without locks, two processes that add the same video write it twice.
        """
        kept = set(keep)

        def drop() -> int:
            rows = self._rows(_PASSAGES, f"source = {quoted(source)}", ["id"], numbered=True)
            gone = [row for row in rows if row["id"] not in kept]
            first: dict[str, int] = {}
            for row in rows:
                first[row["id"]] = min(row["_rowid"], first.get(row["id"], row["_rowid"]))
            twice = [row for row in rows if row["id"] in kept and row["_rowid"] != first[row["id"]]]
            if gone and not kept:
                self._tables[_PASSAGES].delete(f"source = {quoted(source)}")
            elif gone:
                self._tables[_PASSAGES].delete(f"id IN ({', '.join(quoted(row['id']) for row in gone)})")
            if twice:
                ids = ", ".join(quoted(row["id"]) for row in twice)
                numbers = ", ".join(str(row["_rowid"]) for row in twice)
                self._tables[_PASSAGES].delete(f"id IN ({ids}) AND _rowid IN ({numbers})")
            return len(gone)

        return self._write("write to", drop)

    def videos(self) -> list[Video]:
        """Return what was added, by path."""
        with self._faults("read"):
            rows = self._rows(_VIDEOS, "", ["source", "version", "passages"])
        each = {row["source"]: Video(**row) for row in rows}  # there may be two rows, from two processes without locks
        return [each[source] for source in sorted(each)]

    def finish(self, video: Video) -> None:
        """Record that all passages of a video are written."""

        def finish() -> None:
            table = None if self._table(_PASSAGES) is None else self._listed()
            if table is not None:
                table.merge_insert("source").when_matched_update_all().when_not_matched_insert_all().execute(
                    [asdict(video)]
                )

        self._write("write to", finish)

    def forget(self, source: str) -> None:
        """Remove the record of a video."""

        def forget() -> None:
            table = self._table(_VIDEOS)
            if table is not None:
                table.delete(f"source = {quoted(source)}")

        self._write("write to", forget)

    def nearest(self, vector: Sequence[float], most: int, sources: Sequence[str] = ()) -> list[Hit]:
        """Return the rows whose vectors are nearest, best first; the score is the cosine of the angle."""
        table = self._table(_PASSAGES, latest=False)
        if table is None:
            return []
        with self._faults("search"):
            query = table.search(list(vector), vector_column_name="vector").distance_type("cosine")
            found = _found(query.refine_factor(_REFINED), ["_distance"], most, sources)
        return _hits(found, (1 - distance for distance in found.column("_distance").to_pylist()))

    def matching(self, text: str, vector: Sequence[float], most: int, sources: Sequence[str] = ()) -> list[Hit]:
        """Return the rows whose texts have most words of a question (BM25), scored as `nearest` does."""
        table = self._table(_PASSAGES, latest=False)
        if table is None:
            return []
        with self._faults("search"):
            query = table.search(text, query_type="fts", fts_columns="text")
            found = _found(query, ["_score", "vector"], most, sources)
        return _hits(found, _cosines(found.column("vector"), vector))

    def refresh(self) -> None:
        """Bring the indexes up to date: of words always, of vectors where there are many; remove old versions."""
        from lancedb.index import FTS, BTree, IvfSq  # noqa: PLC0415  (an extra)

        def refresh() -> None:
            table = self._table(_PASSAGES)
            if table is None:
                return
            known = {one.columns[0] for one in table.list_indices()}
            if "text" not in known:  # ICU splits words of every script
                table.create_index("text", config=FTS(base_tokenizer="icu"))
            if "source" not in known:
                table.create_index("source", config=BTree())
            if "vector" not in known and table.count_rows() >= _INDEXED_FROM:
                table.create_index("vector", config=IvfSq(distance_type="cosine"))
            table.optimize(cleanup_older_than=_UNUSED)

        self._write("write to", refresh)

    def _rows(self, name: str, where: str, columns: list[str], *, numbered: bool = False) -> list[dict[str, Any]]:
        table = self._table(name)
        if table is None:
            return []
        query = table.search().with_row_id(numbered)
        query = query.where(where) if where else query
        found: list[dict[str, Any]] = query.select(columns).limit(max(1, table.count_rows())).to_list()
        return found

    def _table(self, name: str, *, latest: bool = True) -> Any:  # noqa: ANN401  (LanceDB loads on first use)
        """Return a table, if there is one: as it is now, or as it was when it was last looked at."""
        if "://" not in self.place and not Path(self.place).is_dir():
            self._tables.clear()
            return None
        with self._faults("open"):
            if name not in self._tables:
                table = self._found_table(name)
                if table is None:
                    return None
                self._tables[name] = table
            elif latest:
                self._tables[name].checkout_latest()
        return self._tables[name]

    def _found_table(self, name: str) -> Any:  # noqa: ANN401
        """Open a table; return `None` if there is none, or only the beginning of one that was never completed.

        Raises:
            ConfigurationError: it is another program's.
        """
        database = self._connected()
        if name not in database.list_tables(limit=1_000).tables:
            return None
        try:
            table = database.open_table(name)
        except ValueError as error:
            if "was not found" in str(error):
                return None
            raise
        if name == _VIDEOS and not {"source", "version", "passages"} <= set(table.schema.names):
            raise self._stranger(name)
        return table

    def _listed(self) -> Any:  # noqa: ANN401
        """Return the table of videos, which is created if it is missing."""
        import pyarrow as pa  # noqa: PLC0415  (comes with LanceDB)

        if self._table(_VIDEOS) is None:
            columns = [("source", pa.string()), ("version", pa.string()), ("passages", pa.int64())]
            self._tables[_VIDEOS] = self._connected().create_table(_VIDEOS, schema=pa.schema(columns))
        return self._tables[_VIDEOS]

    def _stranger(self, name: str) -> ConfigurationError:
        return ConfigurationError(
            f"{self.place} has a table {name!r} that is not a library of qwen-omni. Choose another folder."
        )

    def _connected(self) -> Any:  # noqa: ANN401
        if self._database is None:
            import lancedb  # noqa: PLC0415  (an extra)

            self._database = lancedb.connect(self.place)
        return self._database

    def _write(self, doing: str, change: Callable[[], T]) -> T:
        """Make a change; retry it if another process wrote first, which happens only without locks."""
        conflict: Exception | None = None
        with self._writing(doing):
            for attempt in range(_ATTEMPTS):
                try:
                    return change()
                except (OSError, RuntimeError, ValueError) as error:
                    if not any(words in str(error) for words in _CONFLICTS):
                        raise
                    conflict = error
                    time.sleep(random.uniform(0, _LONGEST_WAIT) * (attempt + 1) / _ATTEMPTS)  # noqa: S311
            raise StoreError(
                f"Other programs kept writing to the library {self.place} at the same time. What was written is kept; "
                "add the videos again, one program after the other.",
                reason="busy", address=self.place, transient=True,
            ) from conflict  # fmt: skip

    @contextlib.contextmanager
    def _writing(self, doing: str) -> Iterator[None]:
        """Write while no other process does: two that add the same passages would add each twice."""
        with self._faults(doing), contextlib.ExitStack() as closing:
            if "://" not in self.place and _LOCKS:
                if doing == "create":
                    Path(self.place).mkdir(parents=True, exist_ok=True)
                with contextlib.suppress(OSError):  # there is none yet, or its file system has no locks
                    folder = os.open(self.place, os.O_RDONLY)
                    closing.callback(os.close, folder)
                    fcntl.flock(folder, fcntl.LOCK_EX)
            yield

    @contextlib.contextmanager
    def _faults(self, doing: str) -> Iterator[None]:
        """Raise what LanceDB raises as ours."""
        try:
            yield
        except QwenOmniError:
            raise
        except (OSError, RuntimeError, ValueError) as error:
            place = None if "://" in self.place else Path(self.place)
            fault = machine_fault(_system_error(error), f"{doing} the library", path=place, writing=True)
            raise fault or ConfigurationError(
                f"LanceDB could not {doing} the library {self.place}: {_plain(error)}"
            ) from error


_NUMBER = re.compile(r"\(os error (\d+)\)")
_PLACE_IN_CODE = re.compile(r",? ?/\S+\.rs:\d+(:\d+)?")


def _plain(error: Exception) -> str:
    """Return the first line of an error of LanceDB, without the place in its source code.

    Example:
        >>> _plain(RuntimeError("lance error: Not found: a.lance, /root/.cargo/x/commit.rs:653:26"))
        'lance error: Not found: a.lance'
    """
    first = (str(error).splitlines() or [type(error).__name__])[0]
    return _PLACE_IN_CODE.sub("", first)[:300]


def _system_error(error: Exception) -> Exception:
    """Return the system's error that LanceDB reports in its text, or the error itself.

    Example:
        >>> _system_error(RuntimeError("lance error: No space left on device (os error 28), object_store.rs:9")).errno
        28
    """
    found = _NUMBER.search(str(error))
    return error if found is None else OSError(int(found[1]), os.strerror(int(found[1])))


def is_folder(place: Path) -> bool:
    """Return whether a folder exists, where a library may be.

    Raises:
        ConfigurationError: it is a file, or has a name that no folder has.
        LocalResourceError: this program may not look there.
    """
    try:
        if place.exists() and not place.is_dir():
            raise ConfigurationError(f"{place} is a file; a library is a folder. Choose another name.")
        return place.is_dir()
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            raise ConfigurationError(f"The name of the library, {str(place)[:60]}…, is too long.") from error
        raise machine_fault(error, "open the library", path=place, writing=True) or error from error


def quoted(text: str) -> str:
    """Return a text as an SQL literal.

    Example:
        >>> quoted("it's")
        "'it''s'"
    """
    return "'" + text.replace("'", "''") + "'"


def _found(query: Any, more: list[str], most: int, sources: Sequence[str]) -> Any:  # noqa: ANN401  (of PyArrow)
    """Run a query of LanceDB for the texts and metadata of some sources."""
    if sources:
        query = query.where(f"source IN ({', '.join(map(quoted, sources))})", prefilter=True)
    return query.select(["text", "metadata", *more]).limit(most).to_arrow()


def _cosines(column: Any, vector: Sequence[float]) -> list[float]:  # noqa: ANN401  (of PyArrow)
    """Return the cosines of the angles between the vectors of a column and one vector; 0 without one."""
    import numpy as np  # noqa: PLC0415  (comes with LanceDB)

    if not vector or not len(column):
        return [0.0] * len(column)
    one = np.asarray(vector, dtype=np.float32)
    rows = column.combine_chunks().flatten().to_numpy().reshape(-1, len(one))
    lengths = np.linalg.norm(rows, axis=1) * np.linalg.norm(one)
    cosines: list[float] = (rows @ one / np.where(lengths == 0, 1, lengths)).tolist()
    return cosines


def _hits(found: Any, scores: Iterable[float]) -> list[Hit]:  # noqa: ANN401  (of PyArrow)
    rows = zip(found.column("metadata").to_pylist(), found.column("text").to_pylist(), scores, strict=True)
    return [Hit(metadata=json.loads(metadata), text=text, score=score) for metadata, text, score in rows]


def _columns(rows: Sequence[Row], schema: Any) -> Any:  # noqa: ANN401  (of PyArrow)
    """Return rows as a table of PyArrow."""
    import numpy as np  # noqa: PLC0415  (comes with LanceDB)
    import pyarrow as pa  # noqa: PLC0415

    passages = [row.passage for row in rows]
    vectors = np.asarray([row.vector for row in rows], dtype=np.float32)
    columns = {
        "id": [one.id for one in passages],
        "source": [str(one.metadata["source"]) for one in passages],
        "start": [float(one.metadata.get("start", 0.0)) for one in passages],
        "end": [float(one.metadata.get("end", 0.0)) for one in passages],
        "text": [one.text for one in passages],
        "metadata": [json.dumps(one.metadata, ensure_ascii=False) for one in passages],
        "vector": pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1)), vectors.shape[1]),
    }
    return pa.table(columns, schema=schema)
