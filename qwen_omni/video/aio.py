"""Drives a run with `asyncio` tasks; `threads` is the other half and shares every decision.

Work on files and on the checkpoint goes to threads. When the run fails, requests in flight are still waited for,
since they are paid for; a cancelled one is left at once, as `asyncio` promises, and what was finished is kept.
"""

import asyncio
import functools
import time
from collections.abc import AsyncGenerator
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol, TypeVar

from qwen_omni.calls import Outgoing
from qwen_omni.client import AsyncOmniClient
from qwen_omni.flow import adrive
from qwen_omni.options import ChatRequest
from qwen_omni.responses import Response
from qwen_omni.structured.ask import AsyncAsker
from qwen_omni.video.machine import Machine
from qwen_omni.video.steps import Action
from qwen_omni.video.threads import most_at_once, take_in
from qwen_omni.video.worker import News, Question, Upload, Worker
from qwen_omni.work_store.owners import LoopPulse

T = TypeVar("T")


class Sender(AsyncAsker, Protocol):
    """Whatever brings media to the service and asks about them; `AsyncOmniClient` does."""

    async def deliver(self, request: ChatRequest, /) -> Outgoing:
        """Bring the media of a request to the service."""

    async def answer(self, outgoing: Outgoing, /) -> Response:
        """Ask about what was delivered."""


async def drive(
    machine: Machine[T],
    worker: Worker[T],
    asker: Sender,
    text_asker: AsyncAsker,
) -> AsyncGenerator[Action, None]:
    """Work until the run is over; give each step that has been done or has failed. See `threads.drive`."""
    pool = ThreadPoolExecutor(most_at_once(machine.rules), thread_name_prefix="qwen-omni-video")
    flying: dict[asyncio.Task[News[T]], Action] = {}
    perform = functools.partial(_perform, sender=asker, joiner=text_asker)
    crash: BaseException | None = None
    worker.alive = pulse = LoopPulse()
    try:
        while flying or not machine.over:
            for action in list(machine.actions(time.monotonic())):
                working = adrive(worker.work(action), perform, blocking=True, pool=pool)
                flying[asyncio.create_task(working)] = action
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


async def _perform(step: Upload | Question, sender: Sender, joiner: AsyncAsker) -> Outgoing | Response:
    match step:
        case Upload():
            return await sender.deliver(step.request)
        case Question(outgoing=Outgoing() as outgoing):
            return await sender.answer(outgoing)
        case Question(joins=True, once=True) if isinstance(joiner, AsyncOmniClient):
            return await joiner.answer((await joiner.deliver(step.request)).once())
        case Question():
            return await (joiner if step.joins else sender).complete(step.request)
