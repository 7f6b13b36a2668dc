"""Run tasks on a few threads and give their results in order, holding only a few. Knows nothing of media.

FFmpeg works without Python's lock, so two threads keep two cores busy. Threads end when the results are no longer
wanted: at the end, on an error, when the generator is closed, and when the interpreter ends.
"""

import atexit
import contextlib
import os
import queue
import threading
import weakref
from collections.abc import Callable, Generator, Iterator
from typing import Any, Generic, TypeVar

from qwen_omni.media.scratch import scratch
from qwen_omni.media.watch import StoppedError, Watch

_T = TypeVar("_T")
_MOST_WORKERS = 4  # each holds a decoder and an encoder; memory is bounded by their number
_AT_EXIT = 10.0  # seconds to wait for threads when the interpreter ends
_TICK = 0.1  # seconds between two looks at the watch while waiting

Task = Callable[[], _T]


def usual_workers() -> int:
    """Give the number of threads that this machine is worth."""
    return max(1, min(_MOST_WORKERS, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 2))


def in_order(
    tasks: Iterator[Task[_T]], *, workers: int, ahead: int, watch: Watch, discard: Callable[[_T], None] | None = None
) -> Generator[_T]:
    """Run tasks on `workers` threads and give their results in the order of the tasks.

    Args:
        tasks: asked for the next one only when there is room for it.
        workers: how many run at once.
        ahead: how many results may wait beside the tasks that run.
        watch: stopped when the generator ends, so that running tasks end too.
        discard: called for results that nobody will see.

    Raises:
        Exception: whatever the first failing task raised, at its place in the order.
    """
    crew = _Crew[_T](workers, watch)
    waiting: queue.SimpleQueue[_Outcome[_T]] = queue.SimpleQueue()
    held = 0
    try:
        for task in tasks:
            waiting.put(crew.submit(task))
            held += 1
            if held >= workers + ahead:
                held -= 1
                yield waiting.get().wait(watch)
        while held:
            held -= 1
            yield waiting.get().wait(watch)
    finally:
        watch.stop()
        crew.dismiss()
        while held:
            held -= 1
            left = waiting.get()
            if discard is not None and left.value is not None:
                discard(left.value)


class _Outcome(Generic[_T]):
    """What became of a task."""

    def __init__(self, task: Task[_T]) -> None:
        self._task = task
        self._done = threading.Event()
        self._error: BaseException | None = None
        self.value: _T | None = None

    def run(self) -> None:
        try:
            self.value = self._task()
        except BaseException as error:  # noqa: BLE001 - handed to whoever waits
            self._error = error
        finally:
            self._done.set()

    def wait(self, watch: Watch) -> _T:
        while not self._done.wait(_TICK):
            if watch.stopped:
                raise StoppedError
        if self._error is not None:
            raise self._error
        assert self.value is not None
        value, self.value = self.value, None
        return value


class _Crew(Generic[_T]):
    """Threads that take tasks from one queue until they are dismissed."""

    def __init__(self, workers: int, watch: Watch) -> None:
        self._tasks: queue.SimpleQueue[_Outcome[_T] | None] = queue.SimpleQueue()
        self._watch = watch
        # Daemons, so that an interpreter that ends does not wait for a whole film; see `_stop_all`.
        self._threads = [
            threading.Thread(target=self._work, name=f"qwen-omni-{n}", daemon=True) for n in range(workers)
        ]
        for thread in self._threads:
            thread.start()
        _crews.add(self)

    def submit(self, task: Task[_T]) -> _Outcome[_T]:
        outcome = _Outcome(task)
        self._tasks.put(outcome)
        return outcome

    def _work(self) -> None:
        while (outcome := self._tasks.get()) is not None:
            outcome.run()

    def dismiss(self, seconds: float | None = None) -> None:
        """Let no further task begin, and wait until the running ones have noticed that they are stopped."""
        with contextlib.suppress(queue.Empty):
            while True:
                self._tasks.get_nowait()
        for _ in self._threads:
            self._tasks.put(None)
        for thread in self._threads:
            thread.join(seconds)

    def stop(self) -> None:
        self._watch.stop()
        self.dismiss(_AT_EXIT)


_crews: "weakref.WeakSet[_Crew[Any]]" = weakref.WeakSet()


def _stop_all() -> None:
    for crew in list(_crews):
        crew.stop()
    scratch.remove()  # only now does nobody write into it


atexit.register(_stop_all)
