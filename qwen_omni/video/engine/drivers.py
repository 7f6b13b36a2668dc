"""Drive a run with threads or with `asyncio`: start what the machine decides, wait for results, report them to it.

`drive_run` is a generator: it works while its caller asks for the next action, and ends cleanly when it is closed.
`adrive_run` does the same with tasks; work on files and on the checkpoint runs in threads. When a run ends early,
nothing new starts, and requests in flight are awaited because they are paid for. A cancelled asynchronous run returns
immediately, as `asyncio` promises; finished steps stay in the checkpoint.
"""

import asyncio
import functools
import queue
import time
from collections.abc import AsyncGenerator, Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol, TypeVar

from qwen_omni.client import AsyncOmniClient, OmniClient
from qwen_omni.errors import QwenOmniError
from qwen_omni.media.files.deadline import StoppedError
from qwen_omni.options import ChatRequest
from qwen_omni.request.prepared_request import PreparedRequest
from qwen_omni.responses import Response
from qwen_omni.structured.ask import Asker, AsyncAsker
from qwen_omni.transport import flow
from qwen_omni.transport.flow import adrive
from qwen_omni.video.engine.machine import Machine
from qwen_omni.video.engine.steps import Action, Rules
from qwen_omni.video.engine.worker import News, Question, Upload, Worker
from qwen_omni.work_store.owners import LoopPulse

T = TypeVar("T")


class Sender(Asker, Protocol):
    """Uploads media to the service and asks about them; `OmniClient` is one."""

    def deliver(self, request: ChatRequest, /) -> PreparedRequest:
        """Upload the media of a request to the service."""

    def answer(self, outgoing: PreparedRequest, /) -> Response:
        """Ask about media that were uploaded."""


def drive_run(
    machine: Machine[T],
    worker: Worker[T],
    asker: Sender,
    text_asker: Asker,
    *,
    speed: float = 1.0,
) -> Generator[Action, None, None]:
    """Work until the run is over; yield each step that succeeded or failed.

    The machine holds the result, including `machine.error`.

    Args:
        machine: decides what starts next.
        worker: does the work that needs no service.
        asker: uploads media and asks the model that sees them.
        text_asker: asks the model that joins notes.
        speed: machine seconds per real second; a simulation uses more than 1.

    Raises:
        Exception: an error from outside the package, raised once everything in flight has ended.
    """
    news: queue.SimpleQueue[tuple[Action, News[T] | Exception]] = queue.SimpleQueue()
    pool = ThreadPoolExecutor(most_at_once(machine.rules), thread_name_prefix="qwen-omni-video")
    perform = functools.partial(_perform, sender=asker, joiner=text_asker)
    flying, crash = 0, None
    try:
        while flying or not machine.over:
            for action in list(machine.actions(time.monotonic() * speed)):
                flying += 1
                pool.submit(_work, action, worker, perform, news)
            wait = machine.wake(time.monotonic() * speed) if machine.error is None else None
            if not flying and wait is None:
                break  # nothing is left to wait for
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
    """Return how many steps may be in flight."""
    return rules.concurrency + rules.preparers + rules.deliverers + 1


def _work(
    action: Action,
    worker: Worker[T],
    perform: Callable[[Upload | Question], PreparedRequest | Response],
    news: "queue.SimpleQueue[Any]",
) -> None:
    try:
        news.put((action, flow.drive(worker.work(action), perform)))
    except BaseException as error:  # noqa: BLE001 - the driver handles it
        news.put((action, error))


def _perform(step: Upload | Question, sender: Sender, joiner: Asker) -> PreparedRequest | Response:
    match step:
        case Upload():
            return sender.deliver(step.request)
        case Question(outgoing=PreparedRequest() as outgoing):
            return sender.answer(outgoing)
        case Question(joins=True, once=True) if isinstance(joiner, OmniClient):
            return joiner.answer(joiner.deliver(step.request).once())
        case Question():
            return (joiner if step.joins else sender).complete(step.request)


def take_in(
    machine: Machine[T], worker: Worker[T], action: Action, came: "News[T] | BaseException", now: float
) -> BaseException | None:
    """Report the result of a step to the machine; return an error from outside the package, which ends the run."""
    if not isinstance(came, BaseException):
        came(machine, now)
        return None
    if isinstance(came, StoppedError):
        return None
    if isinstance(came, QwenOmniError):
        machine.failed(action, came, now)
    else:
        machine.stop(QwenOmniError(f"The run was interrupted: {type(came).__name__}."))
    if machine.error is not None:
        worker.stop()
    return None if isinstance(came, QwenOmniError) else came


class AsyncSender(AsyncAsker, Protocol):
    """Uploads media to the service and asks about them; `AsyncOmniClient` is one."""

    async def deliver(self, request: ChatRequest, /) -> PreparedRequest:
        """Upload the media of a request to the service."""

    async def answer(self, outgoing: PreparedRequest, /) -> Response:
        """Ask about media that were uploaded."""


async def adrive_run(
    machine: Machine[T],
    worker: Worker[T],
    asker: AsyncSender,
    text_asker: AsyncAsker,
) -> AsyncGenerator[Action, None]:
    """Work until the run is over; yield each step that succeeded or failed. The asynchronous `drive_run`."""
    pool = ThreadPoolExecutor(most_at_once(machine.rules), thread_name_prefix="qwen-omni-video")
    flying: dict[asyncio.Task[News[T]], Action] = {}
    perform = functools.partial(_aperform, sender=asker, joiner=text_asker)
    crash: BaseException | None = None
    worker.alive = pulse = LoopPulse()
    try:
        while flying or not machine.over:
            for action in list(machine.actions(time.monotonic())):
                working = adrive(worker.work(action), perform, blocking=True, pool=pool)
                flying[asyncio.create_task(working)] = action
            wait = machine.wake(time.monotonic()) if machine.error is None else None
            if not flying and wait is None:
                break  # nothing is left to wait for
            if not flying:
                await asyncio.sleep(wait or 0)
                continue
            done, _ = await asyncio.wait(flying, timeout=wait, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                action = flying.pop(task)
                came = task.exception() or task.result()
                crash = take_in(machine, worker, action, came, time.monotonic()) or crash
                yield action
    finally:
        worker.stop()
        for task in flying:
            task.cancel()
        await asyncio.gather(*flying, return_exceptions=True)
        await asyncio.to_thread(pool.shutdown, wait=True, cancel_futures=True)
        await asyncio.to_thread(worker.close)
        pulse.stop()
    if crash is not None:
        raise crash


async def _aperform(step: Upload | Question, sender: AsyncSender, joiner: AsyncAsker) -> PreparedRequest | Response:
    match step:
        case Upload():
            return await sender.deliver(step.request)
        case Question(outgoing=PreparedRequest() as outgoing):
            return await sender.answer(outgoing)
        case Question(joins=True, once=True) if isinstance(joiner, AsyncOmniClient):
            return await joiner.answer((await joiner.deliver(step.request)).once())
        case Question():
            return await (joiner if step.joins else sender).complete(step.request)
