"""Work on a few threads, each piece behind a future. Nobody waits for what is under way when it is not wanted any more.

`ThreadPoolExecutor` joins its threads at the end of the interpreter, so a program that failed or was stopped would go
on for as long as the service takes. A task that was submitted is found again, so nothing is lost here by leaving it.
"""

import contextlib
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Self, TypeVar

from qwen_omni.ranges import PARALLEL, checked

T = TypeVar("T")


class Crew:
    """A few daemon threads; leaving the `with` block lets nothing more begin, and waits for nothing.

    Example:
        >>> with Crew(2) as crew:
        ...     crew.submit(lambda: 6 * 7).result()
        42
    """

    def __init__(self, most: int) -> None:
        """Use so many threads at most; raises `ConfigurationError` for less than one."""
        self._most = checked("concurrency", most, PARALLEL)
        self._begun = 0
        self._waiting: queue.SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = queue.SimpleQueue()

    def submit(self, work: Callable[[], T]) -> Future[T]:
        """Have something done when a thread is free."""
        future: Future[T] = Future()
        self._waiting.put((future, work))
        if self._begun < self._most:
            self._begun += 1
            threading.Thread(target=self._work, name=f"qwen-omni-transcribe-{self._begun}", daemon=True).start()
        return future

    def _work(self) -> None:
        while (piece := self._waiting.get()) is not None:
            future, work = piece
            if not future.set_running_or_notify_cancel():
                continue
            try:
                result = work()
            except BaseException as error:  # noqa: BLE001 - handed to whoever waits
                future.set_exception(error)
            else:
                future.set_result(result)

    def dismiss(self) -> None:
        """Call off what has not begun, and let every thread end after what it is at."""
        with contextlib.suppress(queue.Empty):
            while (piece := self._waiting.get_nowait()) is not None:
                piece[0].cancel()
        for _ in range(self._begun):
            self._waiting.put(None)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.dismiss()
