"""Drives a run with threads: begins what the machine says, waits for news, tells the machine. `aio` is the other half.

A generator: it works while somebody asks for the next piece of news, and ends cleanly when it is closed. Requests
that are in flight then are still waited for, since they are paid for; nothing new begins.
"""

import queue
import time
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol, TypeVar

from qwen_omni.captions.run import Asker, carry_out
from qwen_omni.errors import QwenOmniError
from qwen_omni.media.watch import StoppedError
from qwen_omni.options import ChatRequest
from qwen_omni.responses import Response
from qwen_omni.video.machine import Machine
from qwen_omni.video.steps import Action
from qwen_omni.video.worker import Asking, News, Worker

T = TypeVar("T")


class Payee(Protocol):
    """Keeps what answers used."""

    def pay(self, request: ChatRequest, response: Response) -> None:
        """Keep it."""


class Paying:
    """Asks, and has what the answer used kept at once."""

    def __init__(self, asker: Asker, payee: Payee) -> None:
        self._asker, self._payee = asker, payee

    def complete(self, request: ChatRequest, /) -> Response:
        """Ask."""
        response = self._asker.complete(request)
        self._payee.pay(request, response)
        return response


def drive(
    machine: Machine[T],
    worker: Worker[T],
    asker: Asker,
    text_asker: Asker,
    *,
    clock: Callable[[], float] = time.monotonic,
) -> Generator[Action, None, None]:
    """Work until the run is over; give each step that has been done or has failed.

    The machine holds the outcome, `machine.error` included.

    Raises:
        Exception: whatever is not an error of ours, when everything in flight has ended.
    """
    news: queue.SimpleQueue[tuple[Action, News[T] | Exception]] = queue.SimpleQueue()
    askers = (Paying(asker, worker), Paying(text_asker, worker))
    rules = machine.rules
    pool = ThreadPoolExecutor(rules.concurrency + rules.preparers + 1, thread_name_prefix="qwen-omni-video")
    flying, crash = 0, None
    try:
        while flying or not machine.over:
            for action in list(machine.actions(clock())):
                flying += 1
                pool.submit(_work, action, worker, askers, news)
            wait = machine.wake(clock()) if machine.error is None else None
            if not flying and wait is None:
                break  # nothing can come any more
            try:
                action, came = news.get(timeout=wait)
            except queue.Empty:
                continue
            flying -= 1
            crash = take_in(machine, worker, action, came, clock()) or crash
            yield action
    finally:
        worker.stop()
        pool.shutdown(wait=True, cancel_futures=True)
        worker.close()
    if crash is not None:
        raise crash


def _work(action: Action, worker: Worker[T], askers: tuple[Paying, Paying], news: "queue.SimpleQueue[Any]") -> None:
    try:
        begun = worker.begin(action)
        if isinstance(begun, Asking):
            begun = worker.end(action, carry_out(begun.plan, askers[begun.of_text]))
        news.put((action, begun))
    except BaseException as error:  # noqa: BLE001 - handed to whoever drives
        news.put((action, error))


def take_in(
    machine: Machine[T], worker: Worker[T], action: Action, came: "News[T] | BaseException", now: float
) -> BaseException | None:
    """Tell the machine what came of a step; give back an error that is none of ours, which ends the run."""
    if not isinstance(came, BaseException):
        came(machine, now)
        return None
    worker.failed(action)
    if isinstance(came, StoppedError):
        return None
    if isinstance(came, QwenOmniError):
        machine.failed(action, came, now)
    else:
        machine.stop(QwenOmniError(f"The run ended: {type(came).__name__}."))
    if machine.error is not None:
        worker.stop()
    return None if isinstance(came, QwenOmniError) else came
