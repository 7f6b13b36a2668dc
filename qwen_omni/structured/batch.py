"""Captions of many files, a few at a time: a caption or an error for each, and none paid for twice.

A file that fails does not stop the others. Finished captions are kept in a work store, shared by any number of batches.
The key is a hash of the media's content and of the whole request: a renamed file is recognised, and a changed prompt is
asked again. Older versions wrote JSON lines; such a file is read and left unchanged.
"""

import contextlib
import hashlib
import threading
import time
import warnings
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from qwen_omni.addresses import StoreAddress
from qwen_omni.client import OmniClient
from qwen_omni.errors import (
    RESOURCES,
    CaptionSyntaxError,
    ConfigurationError,
    LocalResourceError,
    QwenOmniError,
    UnreadableMediaError,
)
from qwen_omni.media.files.safe_open import open_local
from qwen_omni.media.files.tempfiles import machine_fault
from qwen_omni.media.source import MediaSource, as_source
from qwen_omni.media.work import Deadline
from qwen_omni.ranges import PARALLEL, checked
from qwen_omni.request.question import takes_frame
from qwen_omni.responses import Usage
from qwen_omni.structured.ask import carry_out
from qwen_omni.structured.caption import DEFAULT_OPTIONS, CaptionOptions, plan_caption, unsuited, without_options
from qwen_omni.structured.parse import parse_caption
from qwen_omni.structured.schema import CaptionSchema, SchemaLike, read_schema
from qwen_omni.work_store.buffered import BufferedStore
from qwen_omni.work_store.opening import RunStore, open_work_store, refuse_media
from qwen_omni.work_store.sqlite import is_open, read_lines
from qwen_omni.work_store.store import LOCAL, UNVERIFIED, Claim, Found, StepKey, StoreUse, Taken, digest

_RUN = "captions"
_SUFFIX = ".sqlite3"
_OLD_SUFFIXES = (".jsonl", ".ndjson", ".json", ".txt")
_HEADER = b"SQLite format 3\x00"
_WAY_OUT = "Name another file with --results, remove that file, or use --fresh."


class Results(RunStore):
    """The finished captions. Thread-safe; several processes may use one file at once, and several machines one server.

    Attributes:
        place: the store: the server or file that was named or, if that holds JSON lines from an older version,
            NAME.sqlite3 beside it. The file of JSON lines is read and left unchanged.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     Results(Path(folder) / "done.sqlite3").add("key", {"answer": "{}"})
        ...     Results(Path(folder) / "done.sqlite3").find("key")
        {'answer': '{}'}
    """

    def __init__(self, path: Path | str, *, reuse_unverified: bool = False, lease_seconds: float | None = None) -> None:
        """Open or create the file, or connect to the server.

        Args:
            path: the results file, or the address of a PostgreSQL database: `postgresql://USER@HOST/DATABASE`.
            reuse_unverified: whether to use captions of unknown origin, stored by an older version.
            lease_seconds: how long this process may stall before others take over its claims.

        Raises:
            ConfigurationError: the file is media, damaged, from a newer version, or holds something else; raised
                before anything is paid for.
            LocalResourceError: it cannot be created, read or written.
            StoreError: the server cannot be used.
        """
        server = StoreAddress.read(path)
        if server is None:
            refuse_media(Path(path), "results file", "Name another file with --results")
        place, old = (server, None) if server is not None else _places(Path(path))
        lines = None if old is None else _read_old(old)
        use = StoreUse(name="results file" if server is None else "results store", way_out=_WAY_OUT, holds="captions")
        store = open_work_store(place, use, lease_seconds=lease_seconds)
        super().__init__(store, _RUN, reuse_unverified=reuse_unverified)
        self._unreadable = ""
        if old is not None and lines is not None:
            self._take_over(store, old, *lines)

    def _take_over(self, store: BufferedStore, old: Path, entries: Mapping[str, Any], unreadable: int) -> None:
        found = old.stat()
        store.take_over(_RUN, entries, mark=f"lines {old.name} {found.st_size} {found.st_mtime_ns}")
        if unreadable:
            self._unreadable = (
                f"Lines of {old} that could not be read: {unreadable}. Their captions are requested again."
            )

    def find(self, key: str, origin: str = LOCAL) -> dict[str, Any] | None:
        """Return what is stored under a key, as answered by `origin`."""
        found = self._store.find(StepKey(_RUN, key, origin), unverified=self._reuse)
        return None if found is None else self._entry(key, found)

    def claim(self, key: str, origin: str = LOCAL) -> dict[str, Any] | Taken | None:
        """Claim a caption unless it is finished or another process asks for it; `None` if it is now ours to request."""
        while True:
            state = self._store.claim(StepKey(_RUN, key, origin), unverified=self._reuse)
            if isinstance(state, Claim):
                return None
            if isinstance(state, Taken):
                return state
            entry = self._entry(key, state)
            if entry is not None:
                return entry

    def release(self, key: str, origin: str = LOCAL) -> None:
        """Release a claim: the caption failed."""
        self._store.release(StepKey(_RUN, key, origin))

    def add(self, key: str, entry: Mapping[str, Any], origin: str = LOCAL) -> None:
        """Store a caption and end its claim; on return it is on disk, or in memory with `trouble` set."""
        self._origins.add(origin)
        self._store.finish(StepKey(_RUN, key, origin), dict(entry))

    def discard(self, key: str, entry: Mapping[str, Any], origin: str = LOCAL) -> None:
        """Remove an unusable caption, so that it is requested again."""
        for one in (origin, UNVERIFIED):
            self._store.discard(StepKey(_RUN, key, one), dict(entry))

    def _entry(self, key: str, found: Found) -> dict[str, Any] | None:
        if isinstance(found.value, dict):
            return found.value
        self._store.discard(StepKey(_RUN, key, found.origin), found.value, damaged=True)
        return None

    def notices(self) -> list[str]:
        """Return the notices about the file, each once."""
        unreadable, self._unreadable = self._unreadable, ""
        return [*super().notices(), *filter(None, (unreadable,))]


def _places(path: Path) -> tuple[Path, Path | None]:
    """Choose the file of the store, and find the older version's file next to it.

    Raises:
        LocalResourceError: the named file cannot be read.
    """
    if path.suffix in _OLD_SUFFIXES or _is_text(path):
        return path.with_suffix(_SUFFIX), path if path.is_file() else None
    old = path.with_suffix(_OLD_SUFFIXES[0])
    return path, old if old.is_file() else None


def _is_text(path: Path) -> bool:
    """Whether the file exists and is not a database; a damaged one still counts as a database."""
    if path.suffix == _SUFFIX or is_open(path) or not path.is_file():
        return False
    data = _read_bytes(path, most=1 << 16)
    return bool(data) and not data.startswith(_HEADER[:8]) and b"\x00" not in data


def _read_bytes(path: Path, *, most: int = -1) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(most)
    except OSError as error:
        raise LocalResourceError(
            f"The results file {path} cannot be read: {error.strerror}. {_WAY_OUT}",
            resource=RESOURCES.get(error.errno or 0, "disk"),
            path=str(path),
        ) from error


def _read_old(path: Path) -> tuple[dict[str, dict[str, Any]], int]:
    data = _read_bytes(path)
    entries, unreadable = read_lines(data)
    if not entries and unreadable > 1:
        raise ConfigurationError(
            f"{path} holds no results of this package in its {len(data.splitlines())} lines. {_WAY_OUT}"
        )
    return entries, unreadable


_AGAIN_SECONDS = 0.2  # before checking again on a caption that another process asks for
_NOTICE_SECONDS = 1.0  # waiting time before the first notice
_NOT_ASKED = ("repair", "allow_truncated", "tier")  # options that change how an answer is treated, or what it costs

OnNotice = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class FileCaption:
    """The result for one file.

    Attributes:
        media: the path or URL, as given.
        value: the caption, as the schema defines it; `None` if it failed.
        error: why it failed.
        reused: it was cached, and nothing was asked.
        truncated: whether the answer was truncated.
        seconds: how long it took.
        usages: usage of the answers.
    """

    media: str
    value: Any = None
    error: QwenOmniError | None = None
    reused: bool = False
    truncated: bool = False
    seconds: float = 0.0
    usages: tuple[Usage, ...] = ()


def caption_many(  # noqa: PLR0913 - each keyword is an independent option
    media: Sequence[str],
    schema: SchemaLike,
    *,
    client: OmniClient,
    options: CaptionOptions = DEFAULT_OPTIONS,
    concurrency: int = 4,
    results: Results | None = None,
    on_notice: OnNotice | None = None,
) -> Generator[FileCaption]:
    """Describe many files, `concurrency` at a time; yield each as it is finished.

    Options about media apply to every file that they suit: an image among videos is described without `fps`, and a
    notice says so. An option that suits none of the files is an error of each of them.

    Closing the iterator, or Ctrl-C, lets requests in flight finish, and starts nothing more; the `KeyboardInterrupt`
    says how many captions are kept. If `results` cannot be written, captions are yielded all the same; a notice reports
    it, and at the end how many were not stored. A caption that another batch is asking for is awaited, not requested
    twice.

    Args:
        media: paths or URLs.
        schema: the schema of each answer.
        client: sends the requests.
        options: the model, the prompt, the language, …
        concurrency: files in progress at once.
        results: where finished captions are stored.
        on_notice: called with notices; they become warnings if not given.

    Raises:
        ConfigurationError: `schema` is not a schema, or `concurrency` is out of range.
    """
    concurrency = checked("concurrency", concurrency, PARALLEL)
    wanted = read_schema(schema)
    job = _Job(
        schema=schema,
        read=wanted,
        client=client,
        options=options,
        results=results,
        on_notice=on_notice or _warn,
        media=media,
    )
    pool = ThreadPoolExecutor(max_workers=concurrency, thread_name_prefix="caption")
    if results is not None:
        results.write_rest()
    job.report()
    try:
        yield from _finished(pool, job, media)
    except KeyboardInterrupt as stopped:
        job.work.stop()
        pool.shutdown(wait=True, cancel_futures=True)
        stopped.args = stopped.args or (job.kept_text(len(set(media))),)
        raise
    finally:
        job.work.stop()  # what waits for its turn is not sent any more
        pool.shutdown(wait=True, cancel_futures=True)
        job.report(last=True)


def _finished(pool: ThreadPoolExecutor, job: "_Job", media: Sequence[str]) -> Iterator[FileCaption]:
    """Yield each caption as it is finished; those another process asks for move to the end of the queue."""
    running: set[Future[FileCaption | _Busy]] = {pool.submit(job.one, item) for item in media}
    later: list[_Busy] = []
    noticed: set[str] = set()  # other processes that this one waits for
    while running or later:
        if running:
            done, running = wait(running, timeout=_AGAIN_SECONDS if later else None, return_when=FIRST_COMPLETED)
        else:
            done = set()
            time.sleep(_AGAIN_SECONDS)
        running |= {pool.submit(job.one, busy.media, busy.since) for busy in later}
        later = []
        for future in done:
            one = future.result()
            if isinstance(one, _Busy):
                later.append(one)
                waited = time.monotonic() - one.since >= _NOTICE_SECONDS
                if waited and not one.ours and one.holder not in noticed:
                    noticed.add(one.holder)
                    job.on_notice(
                        f"Waiting for {one.holder}, which asks for the caption of {one.media}; its answer is used here "
                        "too."
                    )
                continue
            job.report()
            yield one


def _warn(text: str) -> None:
    warnings.warn(text, UserWarning, stacklevel=4)


@dataclass(frozen=True, slots=True)
class _Busy:
    """A file whose caption another process asks for."""

    media: str
    holder: str
    since: float
    ours: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class _Job:
    """What is asked about every file."""

    media: Sequence[str]
    schema: SchemaLike
    read: CaptionSchema
    client: OmniClient
    options: CaptionOptions
    results: Results | None
    on_notice: OnNotice
    work: Deadline = field(default_factory=Deadline)
    keys: dict[str, str] = field(default_factory=dict)
    asking: set[str] = field(default_factory=set)
    kept: set[str] = field(default_factory=set)
    suited: dict[str, bool] = field(default_factory=dict)
    looking: threading.Lock = field(default_factory=threading.Lock)
    left_out: dict[tuple[str, str], object] = field(default_factory=dict)

    def kept_text(self, total: int) -> str:
        """Describe what an interrupted batch has stored."""
        if self.results is None:
            return "Nothing is kept (results=None)."
        return f"{len(self.kept)} of {total} captions kept; run again to resume."

    def report(self, *, last: bool = False) -> None:
        """Report the notices about the results file."""
        if self.results is not None:
            for text in self.results.last_news() if last else self.results.news():
                self.on_notice(text)

    def one(self, media: str, since: float | None = None) -> FileCaption | _Busy:
        """Describe one file; errors of this package become part of the result."""
        with Deadline(parent=self.work).governing():
            return self._one(media, since)

    def _one(self, media: str, since: float | None) -> FileCaption | _Busy:
        began = time.monotonic()
        try:
            source = as_source(media)
            options = self._options_for(source)
            if self.results is None:
                return self._asked(media, source, options, began)
            if media not in self.keys:
                self.keys[media] = self._key(source, options)
            started = (began, began if since is None else since)
            return self._once(media, source, options, self.results, started)
        except QwenOmniError as error:
            usages: tuple[Usage, ...] = getattr(error, "usages", ())  # a bad answer is billed all the same
            return FileCaption(media=media, error=error, seconds=time.monotonic() - began, usages=usages)

    def _options_for(self, source: MediaSource) -> CaptionOptions:
        """Return the options that suit this file. A notice names each one left out, once for each kind of media."""
        unfit = unsuited(self.options, source, self._root)
        found = {name: kind for name, kind in unfit.items() if self._suits_another(name)}
        for name, kind in found.items():
            first = object()
            if self.left_out.setdefault((name, kind), first) is first:
                one = "any other recording" if kind == "audio" else f"any other {kind}"
                self.on_notice(f"{name}= does not apply to {source.label}: it and {one} are described without it.")
        return without_options(self.options, found)

    def _suits_another(self, name: str) -> bool:
        """Whether an option suits one of the other files: they are looked at, once, up to the first that it suits."""
        with self.looking:
            if name not in self.suited:
                self.suited[name] = len(set(self.media)) > 1 and any(self._suits(name, one) for one in self.media)
            return self.suited[name]

    def _suits(self, name: str, media: str) -> bool:
        with contextlib.suppress(QwenOmniError):  # a file that cannot be read fails by itself
            source = as_source(media)
            if name == "frame":
                return takes_frame(source, self._root, frame=self.options.frame or 0)
            return name not in unsuited(self.options, source, self._root)
        return False

    def _once(
        self,
        media: str,
        source: MediaSource,
        options: CaptionOptions,
        results: Results,
        times: tuple[float, float],
    ) -> FileCaption | _Busy:
        """Return what is stored; else ask, unless another process does. `times`: start of the work and of the wait."""
        key, origin = self.keys[media], self.client.settings.origin
        while (state := results.claim(key, origin)) is not None:
            if isinstance(state, Taken):
                return _Busy(media, state.holder, since=times[1], ours=key in self.asking)
            known = self._known(media, state)
            if known is not None:
                self.kept.add(media)
                return known
            results.discard(key, state, origin)
        self.asking.add(key)
        try:
            return self._asked(media, source, options, times[0], key)
        except BaseException:
            results.release(key, origin)
            raise
        finally:
            self.asking.discard(key)

    def _key(self, source: MediaSource, options: CaptionOptions) -> str:
        asked = asdict(options)
        for name, usual in (("audio_track", "auto"), ("tile", True), ("frame", None)):
            if asked[name] == usual:
                del asked[name]  # keeps the key of captions stored before the option existed
        try:
            content = source.url or self._digest(source)
        except OSError as error:
            fault = machine_fault(error, f"read {source.label}")
            raise fault or UnreadableMediaError(f"{source.label} cannot be read: {error.strerror}.") from error
        return digest(content, self.read.json_schema, {name: asked[name] for name in asked if name not in _NOT_ASKED})

    @property
    def _root(self) -> Path:
        return self.client.settings.media_root

    def _digest(self, source: MediaSource) -> str:
        with open_local(source, self._root) as file:
            return hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]  # a file, which has readinto

    def _known(self, media: str, entry: dict[str, Any]) -> FileCaption | None:
        """Parse the stored answer as it was parsed then; `None` if it cannot be used."""
        if entry.get("truncated") and not self.options.allow_truncated:
            return None
        try:
            parsed = parse_caption(entry["answer"], self.read, facts=entry["facts"])
        except (CaptionSyntaxError, KeyError, TypeError, ValueError, AttributeError):
            return None  # the schema's class has changed, or the file was edited
        return FileCaption(media=media, value=parsed.value, reused=True, truncated=bool(entry.get("truncated")))

    def _asked(
        self, media: str, source: MediaSource, options: CaptionOptions, began: float, key: str | None = None
    ) -> FileCaption:
        profile = self.client.settings.profile(options.model)
        plan = plan_caption(
            source, self.schema, options, media_root=self._root, many_media=len(self.media) > 1, profile=profile
        )
        made = carry_out(plan, self.client)
        if self.results is not None and key is not None:
            answer, facts = made.responses[-1].text, dict(plan.facts)
            about = {"media": source.name, "model": self.options.model, "truncated": made.truncated}
            self.results.add(key, {**about, "facts": facts, "answer": answer}, self.client.settings.origin)
            self.kept.add(media)
        return FileCaption(
            media=media,
            value=made.value,
            truncated=made.truncated,
            seconds=time.monotonic() - began,
            usages=made.usages,
        )


def plain(value: Any) -> Any:  # noqa: ANN401  (any caption)
    """Return a caption as plain JSON types."""
    return value.model_dump(mode="json", by_alias=False) if hasattr(value, "model_dump") else value
