"""The inputs of an archive: folders, patterns, lists, links and buckets → items, one by one.

Nothing is opened here but lists of files: an item has the version that the file system or the bucket reports. What
cannot be used is an item with a problem, so it gets a row, too. `opened` opens one item, computes its digest, and
fetches what is remote into a temporary file.
"""

import codecs
import csv
import functools
import glob
import hashlib
import json
import os
import re
import sqlite3
import stat
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from qwen_omni.archive.remote import fetched, is_remote, remote_items
from qwen_omni.archive.rows import InputError, Problem
from qwen_omni.errors import ConfigurationError, QwenOmniError
from qwen_omni.media.files.find import MEDIA_SUFFIXES, is_pattern
from qwen_omni.media.files.tempfiles import machine_fault
from qwen_omni.media.source import MediaSource
from qwen_omni.media.work import Deadline
from qwen_omni.redact import redact
from qwen_omni.settings import Settings
from qwen_omni.work_store.store import file_version

Named = str | os.PathLike[str] | Mapping[str, Any]
Source = Named | Iterable[Named]

LIST_SUFFIXES = (".parquet", ".csv", ".jsonl", ".ndjson")
"""Files that list inputs, one per row, in a column `uri`."""
LIST_COLUMNS = ("uri", "version", "etag", "size")
"""The columns of a list that are read."""

_SECRET = re.compile(
    r"sign|expires|token|credential|accesskey|secret|password|x-(?:amz|oss|goog)-|^(?:policy|key-pair-id|sig|se|sp|sv|sr|"
    r"st|spr|auth_key|security-token)$",
    re.IGNORECASE,
)
_LONGEST_NAME = 900  # bytes; an index of PostgreSQL takes 2,700 of a whole row
_BLOCK = 1 << 20
_DELIMITERS, _LONGEST_HEADER = ",;\t", 1 << 20
_FINE_SECONDS, _COARSE_SECONDS = 0.05, 2.0  # how far apart two writes may be and have the same time


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchiveItem:
    """One input.

    Attributes:
        uri: as it was named; a link without its signature.
        version: changes whenever the content does; empty if not known.
        size: bytes, if known.
        problem: why it cannot be used, if that is known already.
        link: the whole link, which may hold a signature and is never stored; empty unless it differs from `uri`.
        settled: whether the version can be trusted: a file that changed a moment ago may change again unnoticed.
    """

    uri: str
    version: str = ""
    size: int | None = None
    problem: Problem | None = None
    link: str = field(default="", repr=False)
    settled: bool = True

    @property
    def name(self) -> str:
        """The name of the input in a store: an absolute path, or a link without its signature; empty without a uri."""
        if not self.uri:
            return ""
        where = self.uri if "://" in self.uri else os.path.abspath(self.uri)  # noqa: PTH100  (follows no link)
        text = where.encode("utf-8", "backslashreplace").replace(b"\0", b"\\0")
        if len(text) > _LONGEST_NAME:
            text = text[:_LONGEST_NAME] + b" " + hashlib.sha256(text).hexdigest().encode()
        return text.decode(errors="ignore")


def item_of(uri: str | os.PathLike[str], *, version: str = "", size: int | None = None) -> ArchiveItem:
    """Return the item of a path or a link, with the version that the file system reports. Opens nothing.

    Example:
        >>> item_of("https://host/a.mp4?Signature=x&part=2").uri
        'https://host/a.mp4?part=2'
    """
    text = os.fspath(uri).strip() if isinstance(uri, str) else os.fspath(uri)
    if not text:
        return _unusable("", "no_uri", "The uri is empty.")
    if _is_file_url(text):
        try:
            text = _path_of(text)
        except QwenOmniError as error:  # it names another machine
            return _unusable(text, "unreadable_media", str(error))
    if "://" in text:
        shown = without_signature(text)
        return ArchiveItem(uri=shown, version=version, size=size, link=text if text != shown else "")
    return _local_item(text)


def _is_file_url(name: str) -> bool:
    return name[:7].lower() == "file://"


def _path_of(url: str) -> str:
    path = MediaSource.from_url(url).path
    assert path is not None
    return str(path)


def without_signature(url: str) -> str:
    """Return a link without what signs it, so that the same file has the same name in every run.

    Example:
        >>> without_signature("https://h/v?id=7&Expires=1&OSSAccessKeyId=a&Signature=b")
        'https://h/v?id=7'
    """
    return "::".join(map(_without_signature, url.split("::")))  # fsspec: a file in an archive, `zip://a.mp4::https://…`


def _without_signature(url: str) -> str:
    try:
        split = urlsplit(url)
        pairs = parse_qsl(split.query, keep_blank_values=True)
    except ValueError:
        return redact(url)
    kept = [(name, value) for name, value in pairs if not _SECRET.search(name)]
    query = split.query if len(kept) == len(pairs) else urlencode(kept)
    host = split.netloc.rpartition("@")[2]
    if split.scheme in ("http", "https"):
        return split._replace(netloc=host, query=query, fragment="").geturl()
    if (host, query) == (split.netloc, split.query):
        return url  # elsewhere a host may be empty, and `#` is part of a key
    fragment = f"#{split.fragment}" if split.fragment else ""
    return f"{split.scheme}://{host}{split.path}{'?' if query else ''}{query}{fragment}"


def _local_item(path: str) -> ArchiveItem:
    try:
        found = os.stat(path)  # noqa: PTH116  (a hundred thousand times)
    except (OSError, ValueError) as error:
        return _unlocated(path, error)
    version, size = file_version(found), found.st_size
    if not stat.S_ISREG(found.st_mode):
        kind = "a folder" if stat.S_ISDIR(found.st_mode) else "not a regular file"
        return _unusable(path, "not_a_file", f"{path} is {kind}.")
    item = ArchiveItem(uri=path, version=version, size=size, settled=_is_settled(found))
    if not size:
        return replace(item, problem=_empty(path))
    return item


def _unlocated(path: str, error: Exception) -> ArchiveItem:
    if isinstance(error, PermissionError):
        text = f"{path} cannot be reached: {error.strerror}. Let this user read its folder."
        return ArchiveItem(uri=path, problem=Problem(status="failed", code="permission", text=text, retryable=True))
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return _unusable(path, "missing", f"{path} does not exist.")
    reason = getattr(error, "strerror", None) or str(error)
    return _unusable(path, "unreadable_media", f"{path} cannot be found: {reason}.")


def _unusable(uri: str, code: str, text: str) -> ArchiveItem:
    return ArchiveItem(uri=uri, problem=Problem(status="skipped", code=code, text=redact(text)))


def _empty(name: str) -> Problem:
    return Problem(status="skipped", code="empty", text=f"{name} is empty (0 bytes).")


def _is_settled(found: os.stat_result) -> bool:
    """Whether another write to a file would certainly show in its times."""
    coarse = found.st_ctime_ns % 1_000_000_000 == 0  # a file system that counts seconds
    age = time.time() - max(found.st_mtime, found.st_ctime)
    return age > (_COARSE_SECONDS if coarse else _FINE_SECONDS)


# --- What a source names ---


def find_items(
    source: Source, *, settings: Settings | None = None, suffixes: Sequence[str] = MEDIA_SUFFIXES
) -> Iterator[ArchiveItem]:
    """Yield every input of a source once, without opening it. Memory use does not grow with the number of inputs.

    Args:
        source: a folder, which is searched; a pattern (`videos/**/*.mp4`); a file; a list of inputs (`.parquet`,
            `.csv`, `.jsonl`, `.ndjson` with a column `uri`, and `version` or `etag` where known); `oss://BUCKET/PREFIX`;
            `s3://…` and whatever else fsspec opens; an http(s) link; or several of them.
        settings: the bucket's key and endpoint, for `oss://`.
        suffixes: what counts as media in folders and buckets.

    Raises:
        ConfigurationError: nothing is found; a list without a column `uri`; a package that is not installed.
        LocalResourceError: a folder or a list cannot be read.
        DeliveryError: a bucket cannot be listed.

    Example:
        from qwen_omni.archive import find_items

        for item in find_items(["videos/", "https://example.com/b.mp4"]):
            print(item.uri, item.size, item.problem)
    """
    with closing(Seen()) as seen:
        for item in _found(source, settings, tuple(suffixes)):
            if seen.is_new(item.name if item.uri else f"\n{item.problem and item.problem.text}"):
                yield item


class Seen:
    """The texts seen so far, in a temporary database, so that memory use does not grow with them."""

    def __init__(self) -> None:
        self._base = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        self._base.execute("PRAGMA journal_mode=OFF")
        self._base.execute("CREATE TABLE seen (name BLOB PRIMARY KEY) WITHOUT ROWID")

    def is_new(self, name: str) -> bool:
        """Record a name; return whether it is new."""
        key = hashlib.blake2b(name.encode("utf-8", "surrogatepass"), digest_size=16).digest()
        return self._base.execute("INSERT OR IGNORE INTO seen VALUES (?)", (key,)).rowcount == 1

    def close(self) -> None:
        """Remove the database."""
        self._base.close()


def _found(source: Source, settings: Settings | None, suffixes: tuple[str, ...]) -> Iterator[ArchiveItem]:
    if isinstance(source, Mapping):
        yield item_of_row(source, "the list")
    elif isinstance(source, str | os.PathLike):
        yield from _named(os.fspath(source), settings, suffixes)
    else:
        for one in source:
            yield from _found(one, settings, suffixes)


def _named(name: str, settings: Settings | None, suffixes: tuple[str, ...]) -> Iterator[ArchiveItem]:
    if _is_file_url(name):
        name = _path_of(name)
    if is_remote(name):
        yield from _some(_remote(name, settings, suffixes), name)
        return
    if "://" in name:
        yield item_of(name)
        return
    path = os.path.expanduser(name)  # noqa: PTH111
    if os.path.isdir(path):  # noqa: PTH112
        yield from _some(_below(path, suffixes), name)
    elif path.lower().endswith(LIST_SUFFIXES):
        yield from _some(_in_list(Path(path)), name)
    elif is_pattern(path) and not os.path.lexists(path):
        yield from _some(map(item_of, glob.iglob(path, recursive=True)), name, folders=False)  # noqa: PTH207  (streams)
    else:
        yield item_of(path)


def _some(items: Iterator[ArchiveItem], name: str, *, folders: bool = True) -> Iterator[ArchiveItem]:
    """Yield the items; raise if there are none."""
    count = 0
    for item in items:
        if folders or item.problem is None or item.problem.code != "not_a_file":
            count += 1
            yield item
    if not count:
        raise ConfigurationError(
            f"{redact(name)} contains no video or recording. Pass a file, a folder or bucket that contains some, a "
            "pattern, or a list of files."
        )


def _below(folder: str, suffixes: tuple[str, ...]) -> Iterator[ArchiveItem]:
    """Yield the media below a folder; a subfolder that cannot be listed is an item with a problem."""
    waiting = [folder]
    while waiting:
        here, below = waiting.pop(), []
        for entry in _entries(here):
            if isinstance(entry, OSError):
                if here == folder:
                    raise machine_fault(entry, f"list {here}", path=Path(here)) or entry
                yield _unlisted(here, entry.strerror or str(entry))
            elif entry.is_dir(follow_symlinks=False):
                below.append(entry.path)
            elif entry.name.lower().endswith(suffixes) and not entry.name.startswith("."):
                yield _local_item(entry.path)
        waiting += sorted(below, reverse=True)


def _unlisted(folder: str, reason: str) -> ArchiveItem:
    text = f"{folder} cannot be listed: {reason}. What it contains was not all found."
    return ArchiveItem(uri=folder, problem=Problem(status="failed", code="unlisted_folder", text=text, retryable=True))


def _entries(folder: str) -> Iterator[os.DirEntry[str] | OSError]:
    """Yield the entries of a folder, and the error that ends the list early."""
    try:
        with os.scandir(folder) as entries:
            yield from entries
    except OSError as error:
        yield error


def _remote(name: str, settings: Settings | None, suffixes: tuple[str, ...]) -> Iterator[ArchiveItem]:
    for found in remote_items(name, settings):
        if found.unlisted:
            yield _unlisted(without_signature(found.uri), found.unlisted)
        elif not found.listed or found.path.lower().endswith(suffixes):
            shown = without_signature(found.uri)
            link = found.uri if found.uri != shown else ""
            item = ArchiveItem(uri=shown, version=found.version, size=found.size, link=link)
            yield replace(item, problem=_empty(shown)) if found.size == 0 else item


# --- Lists of inputs ---


def _in_list(path: Path) -> Iterator[ArchiveItem]:
    reader = {".parquet": _parquet_rows, ".csv": _csv_rows}.get(path.suffix.lower(), _json_rows)
    try:
        _check_encoding(path)
        for number, row in enumerate(reader(path), 1):
            yield row if isinstance(row, ArchiveItem) else item_of_row(row, f"{path} row {number}")
    except OSError as error:
        raise machine_fault(error, f"read {path}", path=path) or ConfigurationError(
            f"The list {path} cannot be read: {error.strerror or error}."
        ) from error


def _check_encoding(path: Path) -> None:
    with path.open("rb") as file:
        if file.read(2) in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
            raise ConfigurationError(f"The list {path} is UTF-16 text. Save it as UTF-8; in Excel, as CSV UTF-8.")


@functools.lru_cache(maxsize=64)
def _columns_of(names: tuple[Any, ...]) -> dict[str, str]:
    """Map the columns that are used to their names in the list; `URI ` counts as `uri` if there is no `uri`."""
    alike = {name.strip().lower(): name for name in reversed(names) if isinstance(name, str)}
    return {name: name if name in names else alike[name] for name in LIST_COLUMNS if name in alike}


def item_of_row(row: Mapping[str, Any], where: str, *, named: bool = True) -> ArchiveItem:
    """Return the item of one row of a list, whatever a file or an engine wrote into its cells.

    Args:
        row: the values by column; see `LIST_COLUMNS`.
        where: the place of the row, for messages.
        named: whether a row without a uri is stored under that place.

    Example:
        >>> item_of_row({"uri": "https://host/a.mp4", "version": float("nan"), "size": 7.0}, "row 1")
        ArchiveItem(uri='https://host/a.mp4', version='', size=7, problem=None, settled=True)
    """
    row = {name: row[column] for name, column in _columns_of(tuple(row)).items()}
    uri = row.get("uri")
    if not isinstance(uri, str | os.PathLike) or not os.fspath(uri):
        shown = "is missing" if uri is None or uri == "" else f"is {type(uri).__name__}, not text"
        return _unusable(where if named else "", "no_uri", f"{where}: its uri {shown}.")
    version = _text_of(row.get("version")) or _text_of(row.get("etag"))
    return item_of(uri, version=version, size=_size_of(row.get("size")))


def _text_of(cell: object) -> str:
    return "" if cell is None or cell != cell else str(cell)  # noqa: PLR0124  (NaN, which pandas has for a missing cell)


def _size_of(cell: Any) -> int | None:  # noqa: ANN401  (a number, text, or what a missing cell is)
    try:
        size = int(cell)
    except (TypeError, ValueError, OverflowError):
        return None
    return size if size >= 0 else None


def _json_rows(path: Path) -> Iterator[Mapping[str, Any] | ArchiveItem]:
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except (ValueError, RecursionError) as error:
                row, reason = None, f"is not JSON ({str(error)[:80]})"
            else:
                reason = f"is {type(row).__name__}, not an object"
            where = f"{path} line {number}"
            yield row if isinstance(row, dict) else _unusable(where, "unreadable_row", f"{where} {reason}.")


def _csv_rows(path: Path) -> Iterator[Mapping[str, Any] | ArchiveItem]:
    with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
        try:
            reader = csv.DictReader(file, delimiter=_delimiter(file))
            columns = reader.fieldnames or ()
        except csv.Error as error:
            raise ConfigurationError(f"The list {path} is not CSV: {error}.") from error
        _check_columns(path, columns)
        while True:
            try:
                row = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                where = f"{path} line {reader.line_num}"
                yield _unusable(where, "unreadable_row", f"{where} cannot be read: {error}.")
            else:
                yield {name: value for name, value in row.items() if isinstance(name, str)}


def _delimiter(file: IO[str]) -> str:
    """Return the delimiter of a list's columns; leave the file positioned at the header line.

    Excel writes semicolons where numbers have decimal commas, and reads a first line `sep=;`.
    """
    first = file.readline(_LONGEST_HEADER)
    stated = re.fullmatch(r"sep=([^\r\n])\s*", first, re.IGNORECASE)
    if stated:
        return stated[1]
    file.seek(0)
    columns = {sign: tuple(next(csv.reader([first], delimiter=sign), ())) for sign in _DELIMITERS}
    return next((sign for sign in _DELIMITERS if "uri" in _columns_of(columns[sign])), _DELIMITERS[0])


def _parquet_rows(path: Path) -> Iterator[Mapping[str, Any] | ArchiveItem]:
    try:
        import pyarrow as pa  # noqa: PLC0415  (an extra)
        from pyarrow import parquet  # noqa: PLC0415
    except ImportError:
        raise ConfigurationError(
            f"Reading {path} needs pyarrow: pip install 'qwen-omni[parquet]'. Lists can be CSV or JSON lines, too."
        ) from None
    try:
        with parquet.ParquetFile(path) as file:
            names = file.schema_arrow.names
            _check_columns(path, names)
            for batch in file.iter_batches(batch_size=1_000, columns=[*_columns_of(tuple(names)).values()]):
                yield from batch.to_pylist()
    except pa.ArrowException as error:
        raise ConfigurationError(
            f"The list {path} cannot be read as Parquet: {str(error).splitlines()[0][:200]}"
        ) from error


def _check_columns(path: Path, columns: Sequence[str]) -> None:
    if "uri" not in _columns_of(tuple(columns)):
        have = ", ".join(str(name) for name in columns[:8]) or "none"
        raise ConfigurationError(f"The list {path} has no column `uri`; its columns: {have}.")


# --- One item, opened ---


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenedMedia:
    """An item while it is open.

    Attributes:
        source: what a step is given; a remote file is a temporary one.
        digest: SHA-256 of the content.
        item: the item, with the version and size that were read.
    """

    source: MediaSource
    digest: str
    item: ArchiveItem

    def check(self) -> None:
        """Check that a local file is still the one that was read.

        Raises:
            InputError: it has changed.
        """
        if "://" not in self.item.uri and _local_item(self.item.uri).version != self.item.version:
            raise _changed(self.item)


@contextmanager
def opened(item: ArchiveItem, settings: Settings) -> Iterator[OpenedMedia]:
    """Open an item inside the `with` block; a remote one is fetched once, into a temporary file.

    Raises:
        InputError: it is missing, empty, not readable, or changes at this moment.
        DeliveryError: a remote one cannot be fetched.
        LocalResourceError: this machine lacks disk space, file handles or the like.
    """
    if item.problem is not None:
        raise InputError(item.problem)
    if "://" in item.uri:
        with fetched(item.link or item.uri, settings) as (path, digest):
            size = path.stat().st_size
            if not size:
                raise InputError(_empty(item.uri))
            source = MediaSource.from_path(path, trusted=True)
            yield OpenedMedia(source=source, digest=digest, item=replace(item, size=size))
        return
    digest, found = _read(item)
    yield OpenedMedia(source=MediaSource.from_path(item.uri, trusted=True), digest=digest, item=found)


def _read(item: ArchiveItem) -> tuple[str, ArchiveItem]:
    """Return the digest of a local file, and the item with the version that was read."""
    try:
        with open(item.uri, "rb") as file:  # noqa: PTH123  (a hundred thousand times)
            before = os.fstat(file.fileno())
            found = replace(item, version=file_version(before), size=before.st_size, settled=_is_settled(before))
            digest = _digest(file)
            if file_version(os.fstat(file.fileno())) != found.version:
                raise _changed(item)
            return digest, found
    except OSError as error:
        raise _unread(item, error) from error


def _digest(file: IO[bytes]) -> str:
    found, work = hashlib.sha256(), Deadline()
    while block := file.read(_BLOCK):
        found.update(block)
        work.check()
    return found.hexdigest()


def _changed(item: ArchiveItem) -> InputError:
    text = f"{item.uri} changed while it was being processed; run again when it is complete."
    return InputError(Problem(status="failed", code="changed", text=text, retryable=True))


def _unread(item: ArchiveItem, error: OSError) -> Exception:
    if isinstance(error, PermissionError):
        text = f"{item.uri} cannot be read: {error.strerror}. Let this user read it."
        return InputError(Problem(status="failed", code="permission", text=text, retryable=True))
    fault = machine_fault(error, f"read {item.uri}")
    if fault is not None:
        return fault
    gone = _unlocated(item.uri, error)
    assert gone.problem is not None
    return InputError(gone.problem)
