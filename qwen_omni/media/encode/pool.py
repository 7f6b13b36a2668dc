"""Threads for media work: results in order with few buffered, a generator on its own thread, and heap trimming.

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
import os
import queue
import threading
import weakref
from collections.abc import Callable, Generator, Iterator
from fractions import Fraction
from typing import Any, Generic, TypeVar

from qwen_omni.media.files.deadline import Deadline, StoppedError
from qwen_omni.media.files.tempfiles import scratch
from qwen_omni.media.info import MediaInfo

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
    pool = _ThreadPool[_T](workers, deadline)
    waiting: queue.SimpleQueue[_TaskResult[_T]] = queue.SimpleQueue()
    held = 0
    try:
        for task in tasks:
            waiting.put(pool.submit(task))
            held += 1
            if held >= workers + ahead:
                held -= 1
                yield waiting.get().wait(deadline)
        while held:
            held -= 1
            yield waiting.get().wait(deadline)
    finally:
        deadline.stop()
        pool.close()
        while held:
            held -= 1
            left = waiting.get()
            if discard is not None and left.value is not None:
                discard(left.value)


class _TaskResult(Generic[_T]):
    """The result of a task."""

    def __init__(self, task: Task[_T]) -> None:
        self._task = task
        self._done = threading.Event()
        self._error: BaseException | None = None
        self.value: _T | None = None

    def run(self) -> None:
        try:
            self.value = self._task()
        except BaseException as error:  # noqa: BLE001 - re-raised where the result is awaited
            self._error = error
        finally:
            self._done.set()

    def wait(self, deadline: Deadline) -> _T:
        while not self._done.wait(_TICK):
            if deadline.stopped:
                raise StoppedError
        if self._error is not None:
            raise self._error
        assert self.value is not None
        value, self.value = self.value, None
        return value


class _ThreadPool(Generic[_T]):
    """Threads that take tasks from one queue until the pool is closed."""

    def __init__(self, workers: int, deadline: Deadline) -> None:
        self._tasks: queue.SimpleQueue[_TaskResult[_T] | None] = queue.SimpleQueue()
        self._deadline = deadline
        # Daemons, so that an interpreter that ends does not wait for a whole video; see `_stop_all`.
        self._threads = [
            threading.Thread(target=self._work, name=f"qwen-omni-{n}", daemon=True) for n in range(workers)
        ]
        for thread in self._threads:
            thread.start()
        _pools.add(self)

    def submit(self, task: Task[_T]) -> _TaskResult[_T]:
        result = _TaskResult(task)
        self._tasks.put(result)
        return result

    def _work(self) -> None:
        while (result := self._tasks.get()) is not None:
            result.run()

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


_pools: "weakref.WeakSet[_ThreadPool[Any]]" = weakref.WeakSet()


def _stop_all() -> None:
    for pool in list(_pools):
        pool.stop()
    scratch.remove()  # only now is nothing written into it


atexit.register(_stop_all)


class _End:
    """What the thread puts last: no more items follow, and the error if there was one."""

    def __init__(self, error: BaseException | None) -> None:
        self.error = error


def piped(items: Iterator[_T], size: int, deadline: Deadline) -> Generator[_T]:
    """Yield the items of a generator that runs on another thread; closing this one ends it.

    Raises:
        Exception: whatever the generator raised.
    """
    waiting: queue.Queue[_T | _End] = queue.Queue(size)
    gone = threading.Event()
    thread = threading.Thread(target=_pump, args=(items, waiting, deadline, gone), name="qwen-omni-pipe", daemon=True)
    thread.start()
    try:
        while True:
            item = _get(waiting, deadline)
            if isinstance(item, _End):
                if item.error is not None:
                    raise item.error
                return
            yield item
    finally:
        gone.set()
        thread.join()


def _get(waiting: "queue.Queue[_T | _End]", deadline: Deadline) -> "_T | _End":
    while True:
        try:
            return waiting.get(timeout=_TICK)
        except queue.Empty:
            if deadline.stopped:
                raise StoppedError from None


def _pump(items: Iterator[_T], waiting: "queue.Queue[_T | _End]", deadline: Deadline, gone: threading.Event) -> None:
    error: BaseException | None = None
    try:
        for item in items:
            if not _put(waiting, item, deadline, gone):
                break
    except BaseException as caught:  # noqa: BLE001 - re-raised where the items are read
        error = caught
    finally:
        with contextlib.suppress(Exception):
            items.close()  # type: ignore[attr-defined]
        _put(waiting, _End(error), deadline, gone)


def _put(waiting: "queue.Queue[_T | _End]", item: "_T | _End", deadline: Deadline, gone: threading.Event) -> bool:
    while not gone.is_set():
        try:
            waiting.put(item, timeout=_TICK)
        except queue.Full:
            if deadline.stopped:
                return False
        else:
            return True
    return False


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
