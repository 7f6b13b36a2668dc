"""Drives a run with threads: begins what the machine says, waits for news, tells the machine. `aio` is the other half.

A generator: it works while somebody asks for the next piece of news, and ends cleanly when it is closed. Requests
that are in flight then are still waited for, since they are paid for; nothing new begins.
"""

import queue
import time
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol, TypeVar

from qwen_omni.calls import Outgoing
from qwen_omni.client import OmniClient
from qwen_omni.errors import QwenOmniError
from qwen_omni.media.watch import StoppedError
from qwen_omni.options import ChatRequest
from qwen_omni.responses import Response
from qwen_omni.structured.ask import Asker, carry_out
from qwen_omni.video.machine import Machine
from qwen_omni.video.steps import Action, Rules
from qwen_omni.video.worker import Asking, Delivering, News, Worker

T = TypeVar("T")


class Sender(Asker, Protocol):
    """Whatever brings media to the service and asks about them; `OmniClient` does."""

    def deliver(self, request: ChatRequest, /) -> Outgoing:
        """Bring the media of a request to the service."""

    def answer(self, outgoing: Outgoing, /) -> Response:
        """Ask about what was delivered."""


class Underway:
    """Asks first about what was delivered, and then as ever: a second question delivers for itself."""

    def __init__(self, sender: Sender, outgoing: Outgoing) -> None:
        self._sender, self._outgoing = sender, outgoing
        self._asked = False

    def complete(self, request: ChatRequest, /) -> Response:
        """Ask."""
        if self._asked:
            return self._sender.complete(request)
        self._asked = True
        return self._sender.answer(self._outgoing)


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
    asker: Sender,
    text_asker: Asker,
    *,
    speed: float = 1.0,
) -> Generator[Action, None, None]:
    """Work until the run is over; give each step that has been done or has failed.

    The machine holds the outcome, `machine.error` included.

    Args:
        machine: decides.
        worker: does what needs no service.
        asker: delivers, and asks the model that looks.
        text_asker: asks the model that joins.
        speed: seconds of the machine in a second; a simulation lets its time pass faster.

    Raises:
        Exception: whatever is not an error of ours, when everything in flight has ended.
    """
    news: queue.SimpleQueue[tuple[Action, News[T] | Exception]] = queue.SimpleQueue()
    pool = ThreadPoolExecutor(most_at_once(machine.rules), thread_name_prefix="qwen-omni-video")
    flying, crash = 0, None
    try:
        while flying or not machine.over:
            for action in list(machine.actions(time.monotonic() * speed)):
                flying += 1
                pool.submit(_work, action, worker, (asker, text_asker), news)
            wait = machine.wake(time.monotonic() * speed) if machine.error is None else None
            if not flying and wait is None:
                break  # nothing can come any more
            try:
                action, came = news.get(timeout=None if wait is None else wait / speed)
            except queue.Empty:
                continue
            flying -= 1
            crash = take_in(machine, worker, action, came, time.monotonic() * speed) or crash
            yield action
    finally:
        worker.stop()
        pool.shutdown(wait=True, cancel_futures=True)
        worker.close()
    if crash is not None:
        raise crash


def most_at_once(rules: Rules) -> int:
    """Tell how many steps may be under way."""
    return rules.concurrency + rules.preparers + rules.deliverers + 1


def _work(action: Action, worker: Worker[T], askers: tuple[Sender, Asker], news: "queue.SimpleQueue[Any]") -> None:
    try:
        begun = worker.begin(action)
        if isinstance(begun, Delivering):
            begun = worker.sent(action, begun, askers[0].deliver(begun.plan.request))
        elif isinstance(begun, Asking):
            asker = askers[1] if begun.outgoing is None else Underway(askers[0], begun.outgoing)
            if begun.again and isinstance(asker, OmniClient):
                asker = Underway(asker, asker.deliver(begun.plan.request).once())
            begun = worker.end(action, carry_out(begun.plan, Paying(asker, worker)))
        news.put((action, begun))
    except BaseException as error:  # noqa: BLE001 - handed to whoever drives
        worker.failed(action)  # here, since whoever drives may be suspended for long
        news.put((action, error))


def take_in(
    machine: Machine[T], worker: Worker[T], action: Action, came: "News[T] | BaseException", now: float
) -> BaseException | None:
    """Tell the machine what came of a step; give back an error that is none of ours, which ends the run."""
    if not isinstance(came, BaseException):
        came(machine, now)
        return None
    if isinstance(came, StoppedError):
        return None
    if isinstance(came, QwenOmniError):
        machine.failed(action, came, now)
    else:
        machine.stop(QwenOmniError(f"The run ended: {type(came).__name__}."))
    if machine.error is not None:
        worker.stop()
    return None if isinstance(came, QwenOmniError) else came
