"""Drives a run with `asyncio` tasks; `threads` is the other half and shares every decision.

Work on files and on the checkpoint goes to threads. When the run fails, requests in flight are still waited for,
since they are paid for; a cancelled one is left at once, as `asyncio` promises, and what was finished is kept.
"""

import asyncio
import time
from collections.abc import AsyncGenerator
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol, TypeVar

from qwen_omni.calls import Outgoing
from qwen_omni.client import AsyncOmniClient
from qwen_omni.options import ChatRequest
from qwen_omni.responses import Response
from qwen_omni.structured.ask import AsyncAsker, acarry_out
from qwen_omni.video.machine import Machine
from qwen_omni.video.steps import Action
from qwen_omni.video.threads import Payee, most_at_once, take_in
from qwen_omni.video.worker import Asking, Delivering, News, Worker
from qwen_omni.work_store.owners import LoopPulse

T = TypeVar("T")


class Sender(AsyncAsker, Protocol):
    """Whatever brings media to the service and asks about them; `AsyncOmniClient` does."""

    async def deliver(self, request: ChatRequest, /) -> Outgoing:
        """Bring the media of a request to the service."""

    async def answer(self, outgoing: Outgoing, /) -> Response:
        """Ask about what was delivered."""


class Underway:
    """Asks first about what was delivered; see `threads.Underway`."""

    def __init__(self, sender: Sender, outgoing: Outgoing) -> None:
        self._sender, self._outgoing = sender, outgoing
        self._asked = False

    async def complete(self, request: ChatRequest, /) -> Response:
        """Ask."""
        if self._asked:
            return await self._sender.complete(request)
        self._asked = True
        return await self._sender.answer(self._outgoing)


class Paying:
    """Asks, and has what the answer used kept at once, on a thread of `pool` or of the loop's own."""

    def __init__(self, asker: AsyncAsker, payee: Payee, pool: ThreadPoolExecutor | None = None) -> None:
        self._asker, self._payee, self._pool = asker, payee, pool

    async def complete(self, request: ChatRequest, /) -> Response:
        """Ask."""
        response = await self._asker.complete(request)
        loop = asyncio.get_running_loop()
        await asyncio.shield(loop.run_in_executor(self._pool, self._payee.pay, request, response))
        return response


async def drive(
    machine: Machine[T],
    worker: Worker[T],
    asker: Sender,
    text_asker: AsyncAsker,
) -> AsyncGenerator[Action, None]:
    """Work until the run is over; give each step that has been done or has failed. See `threads.drive`."""
    pool = ThreadPoolExecutor(most_at_once(machine.rules), thread_name_prefix="qwen-omni-video")
    flying: dict[asyncio.Task[News[T]], Action] = {}
    crash: BaseException | None = None
    worker.alive = pulse = LoopPulse()
    try:
        while flying or not machine.over:
            for action in list(machine.actions(time.monotonic())):
                flying[asyncio.create_task(_work(action, worker, (asker, text_asker), pool))] = action
            wait = machine.wake(time.monotonic()) if machine.error is None else None
            if not flying and wait is None:
                break  # nothing can come any more
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


async def _work(
    action: Action, worker: Worker[T], askers: tuple[Sender, AsyncAsker], pool: ThreadPoolExecutor
) -> News[T]:
    try:
        return await _worked(action, worker, askers, pool)
    except (Exception, asyncio.CancelledError):
        await asyncio.shield(asyncio.get_running_loop().run_in_executor(pool, worker.failed, action))
        raise


async def _worked(
    action: Action, worker: Worker[T], askers: tuple[Sender, AsyncAsker], pool: ThreadPoolExecutor
) -> News[T]:
    loop = asyncio.get_running_loop()
    begun = await loop.run_in_executor(pool, worker.begin, action)
    if isinstance(begun, Delivering):
        return worker.sent(action, begun, await askers[0].deliver(begun.plan.request))
    if not isinstance(begun, Asking):
        return begun
    asker = askers[1] if begun.outgoing is None else Underway(askers[0], begun.outgoing)
    if begun.again and isinstance(asker, AsyncOmniClient):
        asker = Underway(asker, (await asker.deliver(begun.plan.request)).once())
    captioned = await acarry_out(begun.plan, Paying(asker, worker, pool))
    # An answer that is here is kept, whatever is cancelled.
    return await asyncio.shield(loop.run_in_executor(pool, worker.end, action, captioned))
