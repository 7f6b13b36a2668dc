"""Work on media: when it must end early, on which threads it runs, and the temporary file that it writes.

Work ends early if it was cancelled, or takes longer than any intact file would: every module that decodes untrusted
bytes calls `Deadline.check` between packets.

FFmpeg works without Python's lock, so two threads keep two cores busy. Threads end when their results are no longer
wanted: at the end, on an error, when the generator is closed, and when the interpreter exits.

A decoder and an encoder hold some 80 MB in large blocks and are recreated for every piece of a video. With glibc, freed
blocks stay with the process, in holes that the next piece fills only in part: after an hour of video the process is a
quarter larger. Asking glibc to release them takes milliseconds; other C libraries release large blocks by themselves.
The heap belongs to the whole process and trimming locks all of it, so it is done only in processes of our own, such as
the command line, or where a program has called `allow_trimming`.
"""

import atexit
import contextlib
import ctypes
import functools
import itertools
import os
import queue
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, wait
from contextvars import ContextVar
from fractions import Fraction
from pathlib import Path
from typing import Any, TypeVar

from qwen_omni.errors import MediaError, UnreadableMediaError, UnsupportedMediaError
from qwen_omni.media.files.tempfiles import machine_fault, remove_file, scratch
from qwen_omni.media.info import MediaInfo

_LEAST_SECONDS = 300.0
_TIMES_REAL = 10.0  # times real time: a 4K video on one old, busy core
_NO_LENGTH_KNOWN = 3600.0
_SHORT_SECONDS = 600.0  # allowed even for the smallest file
_FEWEST_BYTES = 125.0  # per second; a damaged file may claim a duration of years


class StoppedError(Exception):
    """The work was cancelled; its result is no longer needed."""


class Deadline:
    """Shared by everything that works on one file. `stop` ends the work at the next packet."""

    def __init__(
        self, seconds: float | None = None, *, label: str = "The media", parent: "Deadline | None" = None
    ) -> None:
        """Limit the work to some seconds, if given; it also stops with the parent, or the deadline in force here."""
        self._parent = parent or _governing.get()
        self.label = label
        self.seconds = seconds
        self._until = None if seconds is None else time.monotonic() + seconds
        self._stopped = threading.Event()

    @contextlib.contextmanager
    def governing(self) -> Iterator[None]:
        """Stop every deadline created in the `with` block, including its calls of `asyncio.to_thread`, with this one.

        An exception that leaves the block, above all the cancellation of a task, stops this one immediately.
        """
        token = _governing.set(self)
        try:
            yield
        except BaseException:
            self.stop()
            raise
        finally:
            _governing.reset(token)

    def stop(self) -> None:
        """Cancel the work."""
        self._stopped.set()

    @property
    def stopped(self) -> bool:
        """Whether the work was cancelled."""
        return self._stopped.is_set() or (self._parent is not None and self._parent.stopped)

    @property
    def over(self) -> bool:
        """Whether `check` would end the work."""
        late = self._until is not None and time.monotonic() > self._until
        return late or self._stopped.is_set() or (self._parent is not None and self._parent.over)

    @property
    def left(self) -> float | None:
        """Seconds left; `None` if there is no limit."""
        own = None if self._until is None else max(0.0, self._until - time.monotonic())
        above = None if self._parent is None else self._parent.left
        return min((left for left in (own, above) if left is not None), default=None)

    def check(self) -> None:
        """Continue, or end the work.

        Raises:
            StoppedError: it was cancelled.
            UnreadableMediaError: the time is up.
        """
        if self._stopped.is_set():
            raise StoppedError
        if self._parent is not None:
            self._parent.check()
        if self._until is not None and time.monotonic() > self._until:
            raise UnreadableMediaError(
                f"{self.label} was not finished within {self.seconds:,.0f} s, far longer than a file of its length "
                "takes; it is probably damaged. If this machine is just slow, pass a larger limit_seconds."
            )


_governing: ContextVar[Deadline | None] = ContextVar("qwen_omni_watch", default=None)


def usual_limit(duration: float | None, size_bytes: int) -> float:
    """Return the maximum seconds that work on media of this duration may take; an implausible duration is ignored."""
    if duration is None:
        return _NO_LENGTH_KNOWN
    return _LEAST_SECONDS + _TIMES_REAL * min(duration, _SHORT_SECONDS + size_bytes / _FEWEST_BYTES)


@contextlib.contextmanager
def scratch_file(
    suffix: str,
    label: str,
    deadline: Deadline,
    *,
    damage: str = "is damaged, truncated, or of a kind that cannot be prepared",
    needed: Callable[[Path], int | None] = lambda _: None,
) -> Iterator[Path]:
    """Name a temporary file that is written in the `with` block, and removed if that fails.

    Args:
        suffix: of its name, e.g. `.mp4`.
        label: the name of the media that it is made from, for errors.
        deadline: of the work.
        damage: what an error of FFmpeg, Pillow or their bindings means.
        needed: bytes that were still to be written, if known.

    Raises:
        MediaError: the media turns out to be damaged, or the work takes too long.
        LocalResourceError: this machine lacks disk space, a permission or the like.
    """
    path = scratch.new_path(suffix)
    try:
        yield path
    except BaseException as error:
        missing = isinstance(error, UnsupportedMediaError)  # it names the codec that is not installed
        fault = None if missing else machine_fault(error, f"prepare {label}", needed=needed(path))
        remove_file(path)
        if fault is not None:
            raise fault from error
        if isinstance(error, Exception) and not isinstance(error, MediaError | StoppedError):
            deadline.check()  # after the deadline the file seems to end early, and FFmpeg's error is arbitrary
            reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
            raise UnreadableMediaError(f"{label} {damage}: {reason}.") from error
        raise


_T = TypeVar("_T")
_MOST_WORKERS = 4  # each holds a decoder and an encoder; memory is bounded by their number
_AT_EXIT = 10.0  # seconds to wait for threads when the interpreter ends
_TICK = 0.1  # seconds between two checks of the deadline while waiting

Task = Callable[[], _T]


def usual_workers() -> int:
    """Return the default number of threads for this machine."""
    return max(1, min(_MOST_WORKERS, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 2))


def in_order(
    tasks: Iterator[Task[_T]],
    *,
    workers: int,
    ahead: int,
    deadline: Deadline,
    discard: Callable[[_T], None] | None = None,
) -> Generator[_T]:
    """Run tasks on `workers` threads and yield their results in the order of the tasks.

    Args:
        tasks: the next one is requested only when there is room for it.
        workers: how many run at once.
        ahead: how many results may wait in addition to the running tasks.
        deadline: stopped when the generator ends, so that running tasks end too.
        discard: called for results that are no longer wanted.

    Raises:
        Exception: whatever the first failing task raised, at its place in the order.
    """
    pool = _ThreadPool(workers, deadline)
    waiting: deque[Future[_T]] = deque()
    try:
        for task in tasks:
            waiting.append(pool.submit(task))
            if len(waiting) >= workers + ahead:
                yield _result(waiting.popleft(), deadline)
        while waiting:
            yield _result(waiting.popleft(), deadline)
    finally:
        deadline.stop()
        pool.close()
        for left in waiting:
            if discard is not None and left.done() and left.exception() is None:
                discard(left.result())


def _result(future: "Future[_T]", deadline: Deadline) -> _T:
    while not wait([future], _TICK).done:
        if deadline.stopped:
            raise StoppedError
    return future.result()


class _ThreadPool:
    """Threads that take tasks from one queue until the pool is closed."""

    def __init__(self, workers: int, deadline: Deadline) -> None:
        self._tasks: queue.SimpleQueue[tuple[Future[Any], Task[Any]] | None] = queue.SimpleQueue()
        self._deadline = deadline
        # Daemons, so that an interpreter that ends does not wait for a whole video; see `_stop_all`.
        self._threads = [
            threading.Thread(target=self._work, name=f"qwen-omni-{n}", daemon=True) for n in range(workers)
        ]
        for thread in self._threads:
            thread.start()
        _pools.add(self)

    def submit(self, task: Task[_T]) -> "Future[_T]":
        future: Future[_T] = Future()
        self._tasks.put((future, task))
        return future

    def _work(self) -> None:
        while (item := self._tasks.get()) is not None:
            future, task = item
            try:
                future.set_result(task())
            except BaseException as error:  # noqa: BLE001 - re-raised where the result is awaited
                future.set_exception(error)
            del item, future, task  # the result is not held while this thread waits for the next task

    def close(self, seconds: float | None = None) -> None:
        """Start no further task, and wait until the running ones have noticed that they are stopped."""
        with contextlib.suppress(queue.Empty):
            while True:
                self._tasks.get_nowait()
        for _ in self._threads:
            self._tasks.put(None)
        for thread in self._threads:
            thread.join(seconds)

    def stop(self) -> None:
        self._deadline.stop()
        self.close(_AT_EXIT)


_pools: "weakref.WeakSet[_ThreadPool]" = weakref.WeakSet()


def _stop_all() -> None:
    for pool in list(_pools):
        pool.stop()
    scratch.remove()  # only now is nothing written into it


atexit.register(_stop_all)


def piped(items: Generator[_T], size: int, deadline: Deadline) -> Generator[_T]:
    """Yield the items of a generator that runs on another thread; closing this one ends it.

    Raises:
        Exception: whatever the generator raised.
    """
    step: Task[_T | None] = functools.partial(next, items, None)
    made = in_order(itertools.repeat(step), workers=1, ahead=size, deadline=Deadline(parent=deadline))
    try:
        with contextlib.closing(made):
            yield from itertools.takewhile(lambda item: item is not None, made)
    finally:
        with contextlib.suppress(Exception):
            items.close()


_HUGE_PIXELS = 12_000_000  # more than 4K; a decoder holds up to 17 frames of 1.5 bytes per pixel, or twice that
_LARGE_PIXELS = 3_000_000  # two threads at 4K take 420 MB, and four would take 800


def threads_for(info: MediaInfo, *, asked: int | None, usual: int) -> int:
    """Return the number of threads: each has a decoder, so fewer for large frames.

    One, whatever was asked for, if two decoders would fill the memory; at most two at 4K unless more were asked for.
    """
    pixels = (info.width or 0) * (info.height or 0) if info.kind == "video" else 0
    if pixels > _HUGE_PIXELS:
        return 1
    return asked or (min(2, usual) if pixels > _LARGE_PIXELS else usual)


def segments_apart(length: Fraction, *, seconds: Fraction, overlap: Fraction, threads: int) -> int:
    """Return how many segments of a video get a thread each, in whole rounds; all threads share each later one.

    One thread per segment is cheapest, but in the last round one would have a short segment, or none, and be idle.

    Example:
        >>> segments_apart(Fraction(600), seconds=Fraction(90), overlap=Fraction(2), threads=2)
        6
        >>> segments_apart(Fraction(120), seconds=Fraction(90), overlap=Fraction(2), threads=2)
        0
    """
    if threads == 1:
        return 0
    count = max(1, -(-(length - overlap) // (seconds - overlap)))
    return int((count - 1) // threads * threads)


_allowed = threading.Event()


def allow_trimming() -> None:
    """Let this package trim the heap of this process from now on. Call it once in a program that owns its process."""
    _allowed.set()


def trim_heap() -> None:
    """Release freed memory, if that is allowed; does nothing if the C library does not support it."""
    trim = _malloc_trim() if _allowed.is_set() else None
    if trim is not None:
        trim(0)


@functools.cache
def _malloc_trim() -> Callable[[int], int] | None:
    try:
        trim = ctypes.CDLL(None).malloc_trim  # malloc_trim(3): glibc only
    except (AttributeError, OSError, TypeError):  # another C library; Windows has no unnamed library
        return None
    trim.argtypes, trim.restype = [ctypes.c_size_t], ctypes.c_int
    found: Callable[[int], int] = trim
    return found
