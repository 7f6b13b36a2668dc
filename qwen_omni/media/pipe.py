"""Run a generator on a thread of its own and give what it yields, with only a few things waiting in between."""

import contextlib
import queue
import threading
from collections.abc import Generator, Iterator
from typing import TypeVar

from qwen_omni.media.watch import StoppedError, Watch

_T = TypeVar("_T")
_TICK = 0.1  # seconds between two looks whether somebody called the work off


class _End:
    """What the thread puts last: nothing more comes, and perhaps why."""

    def __init__(self, error: BaseException | None) -> None:
        self.error = error


def piped(items: Iterator[_T], size: int, watch: Watch) -> Generator[_T]:
    """Give the items of a generator that runs on another thread; closing this ends that.

    Raises:
        Exception: whatever the generator raised.
    """
    waiting: queue.Queue[_T | _End] = queue.Queue(size)
    gone = threading.Event()
    thread = threading.Thread(target=_pump, args=(items, waiting, watch, gone), name="qwen-omni-pipe", daemon=True)
    thread.start()
    try:
        while True:
            item = _get(waiting, watch)
            if isinstance(item, _End):
                if item.error is not None:
                    raise item.error
                return
            yield item
    finally:
        gone.set()
        thread.join()


def _get(waiting: "queue.Queue[_T | _End]", watch: Watch) -> "_T | _End":
    while True:
        try:
            return waiting.get(timeout=_TICK)
        except queue.Empty:
            if watch.stopped:
                raise StoppedError from None


def _pump(items: Iterator[_T], waiting: "queue.Queue[_T | _End]", watch: Watch, gone: threading.Event) -> None:
    error: BaseException | None = None
    try:
        for item in items:
            if not _put(waiting, item, watch, gone):
                break
    except BaseException as caught:  # noqa: BLE001 - handed to whoever reads
        error = caught
    finally:
        with contextlib.suppress(Exception):
            items.close()  # type: ignore[attr-defined]
        _put(waiting, _End(error), watch, gone)


def _put(waiting: "queue.Queue[_T | _End]", item: "_T | _End", watch: Watch, gone: threading.Event) -> bool:
    while not gone.is_set():
        try:
            waiting.put(item, timeout=_TICK)
        except queue.Full:
            if watch.stopped:
                return False
        else:
            return True
    return False
