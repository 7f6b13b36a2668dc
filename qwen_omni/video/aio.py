"""Drives a run with `asyncio` tasks; `threads` is the other half and shares every decision.

Work on files and on the checkpoint goes to threads. When the run fails, requests in flight are still waited for,
since they are paid for; a cancelled one is left at once, as `asyncio` promises, and what was finished is kept.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from qwen_omni.captions.run import AsyncAsker, acarry_out
from qwen_omni.options import ChatRequest
from qwen_omni.responses import Response
from qwen_omni.video.machine import Machine
from qwen_omni.video.steps import Action
from qwen_omni.video.threads import Payee, take_in
from qwen_omni.video.worker import Asking, News, Worker

T = TypeVar("T")


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
    asker: AsyncAsker,
    text_asker: AsyncAsker,
    *,
    clock: Callable[[], float] = time.monotonic,
) -> AsyncGenerator[Action, None]:
    """Work until the run is over; give each step that has been done or has failed. See `threads.drive`."""
    rules = machine.rules
    pool = ThreadPoolExecutor(rules.concurrency + rules.preparers + 1, thread_name_prefix="qwen-omni-video")
    askers = (Paying(asker, worker, pool), Paying(text_asker, worker, pool))
    flying: dict[asyncio.Task[News[T]], Action] = {}
    crash: BaseException | None = None
    try:
        while flying or not machine.over:
            for action in list(machine.actions(clock())):
                flying[asyncio.create_task(_work(action, worker, askers, pool))] = action
            wait = machine.wake(clock()) if machine.error is None else None
            if not flying and wait is None:
                break  # nothing can come any more
            if not flying:
                await asyncio.sleep(wait or 0)
                continue
            done, _ = await asyncio.wait(flying, timeout=wait, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                action = flying.pop(task)
                came = task.exception() or task.result()
                crash = take_in(machine, worker, action, came, clock()) or crash
                yield action
    finally:
        worker.stop()
        for task in flying:
            task.cancel()
        await asyncio.gather(*flying, return_exceptions=True)
        await asyncio.to_thread(pool.shutdown, wait=True, cancel_futures=True)
        worker.close()
    if crash is not None:
        raise crash


async def _work(action: Action, worker: Worker[T], askers: tuple[Paying, Paying], pool: ThreadPoolExecutor) -> News[T]:
    loop = asyncio.get_running_loop()
    begun = await loop.run_in_executor(pool, worker.begin, action)
    if not isinstance(begun, Asking):
        return begun
    captioned = await acarry_out(begun.plan, askers[begun.of_text])
    # An answer that is here is kept, whatever is cancelled.
    return await asyncio.shield(loop.run_in_executor(pool, worker.end, action, captioned))
