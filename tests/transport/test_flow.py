"""`drive` and `adrive`: the two drivers of all work that takes several steps with somebody else."""

import asyncio
import gc
import threading
import weakref
from collections.abc import Generator

import pytest

from qwen_omni.errors import APIConnectionError, QwenOmniError
from qwen_omni.transport.flow import adrive, drive


class Work:
    """Asks for `steps` numbers, adds them up, and notes what happened to it."""

    def __init__(self, steps: int = 3) -> None:
        self.steps = steps
        self.thrown: list[Exception] = []
        self.closed_in: threading.Thread | None = None

    def flow(self) -> Generator[int, int, int]:
        """The work itself."""
        total = 0
        try:
            for step in range(self.steps):
                try:
                    total += yield step
                except QwenOmniError as error:
                    self.thrown.append(error)
            return total
        finally:
            self.closed_in = threading.current_thread()


def carried(way: str, work: Generator, perform) -> object:
    """Drive work in one of the three ways."""
    if way == "drive":
        return drive(work, perform)

    async def aperform(step: int) -> object:
        return perform(step)

    return asyncio.run(adrive(work, aperform, blocking=way == "blocking"))


WAYS = pytest.mark.parametrize("way", ["drive", "adrive", "blocking"])


@WAYS
def test_steps_are_performed_and_the_result_is_returned(way):
    assert carried(way, Work(4).flow(), lambda step: step * 10) == 60
    assert carried(way, Work(0).flow(), lambda _: pytest.fail("there is no step")) == 0


@WAYS
@pytest.mark.parametrize("how", ["raised", "returned"])
def test_errors_of_ours_are_thrown_in(way, how):
    """The work decides what an error means; a value that is an error counts as one."""
    work, error = Work(), APIConnectionError("gone")

    def perform(step: int) -> object:
        if step == 1 and how == "raised":
            raise error
        return error if step == 1 else 5

    assert carried(way, work.flow(), perform) == 10
    assert work.thrown == [error]


@WAYS
@pytest.mark.parametrize("error", [ValueError("x"), KeyboardInterrupt(), RuntimeError("y")])
def test_any_other_error_ends_the_work(way, error):
    """It is raised as it is, the work does not see it, and what the work holds is let go."""
    work = Work()

    def perform(_: int) -> int:
        raise error

    with pytest.raises(type(error)) as found:
        carried(way, work.flow(), perform)
    assert found.value is error
    assert (work.thrown, work.closed_in is None) == ([], False)


@WAYS
def test_an_error_that_comes_back_out_holds_nothing(way):
    """What the work held is freed when the caller drops the error, without waiting for the collector of cycles."""

    class Media:
        pass

    def flow() -> Generator[int, int, int]:
        media = Media()
        freed.append(weakref.ref(media))
        return (yield 1)

    def perform(_: int) -> int:
        raise APIConnectionError("gone")

    freed: list[weakref.ref] = []
    gc.collect()
    gc.disable()
    try:
        with pytest.raises(APIConnectionError):
            carried("drive" if way == "drive" else way, flow(), perform)
        if way == "drive":  # asyncio's own futures hold an error in a cycle
            assert freed[0]() is None
        gc.collect()
        assert freed[0]() is None
    finally:
        gc.enable()


async def test_work_that_blocks_leaves_the_loop_alone():
    """Its steps and its end run in threads; steps are performed on the loop."""
    inside, performed = set(), set()

    def flow() -> Generator[int, int, None]:
        try:
            for step in range(2):
                inside.add(threading.current_thread())
                yield step
        finally:
            inside.add(threading.current_thread())

    async def perform(_: int) -> int:
        performed.add(threading.current_thread())
        raise ValueError

    with pytest.raises(ValueError):  # noqa: PT011 - any
        await adrive(flow(), perform, blocking=True)
    assert threading.main_thread() not in inside
    assert performed == {threading.main_thread()}


async def test_work_that_is_cancelled_while_it_blocks_is_still_closed():
    """The thread that runs it cannot be stopped; its end comes behind it, before the cancellation is seen."""
    began, go, closed = threading.Event(), threading.Event(), threading.Event()

    def flow() -> Generator[int, int, None]:
        try:
            began.set()
            go.wait(10)
            yield 1
        finally:
            closed.set()

    async def perform(_: int) -> int:
        return 1

    task = asyncio.create_task(adrive(flow(), perform, blocking=True))
    await asyncio.to_thread(began.wait, 10)
    task.cancel()
    asyncio.get_running_loop().call_later(0.05, go.set)
    with pytest.raises(asyncio.CancelledError):
        await task
    assert closed.is_set()


async def test_a_step_that_fails_after_its_work_was_cancelled_is_not_reported():
    """It was told to stop; nobody waits for its error, and `asyncio` would print it."""
    began, go, reported = threading.Event(), threading.Event(), []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context))

    def flow() -> Generator[int, int, int]:
        began.set()
        go.wait(10)
        raise KeyError("stopped")
        yield 0

    async def perform(step: int) -> int:
        return step

    task = asyncio.create_task(adrive(flow(), perform, blocking=True))
    await asyncio.to_thread(began.wait, 10)
    task.cancel()
    asyncio.get_running_loop().call_later(0.05, go.set)
    with pytest.raises(asyncio.CancelledError):
        await task
    del task
    gc.collect()
    await asyncio.sleep(0)
    assert reported == []


def test_work_that_blocks_is_closed_in_a_thread_when_its_loop_is_gone():
    """A loop that is closed drops its tasks: nothing can be awaited any more, and no warning is left behind."""
    work = Work()
    loop = asyncio.new_event_loop()

    async def perform(_):
        await asyncio.Event().wait()

    driven = adrive(work.flow(), perform, blocking=True)
    task = loop.create_task(driven)
    loop.call_later(0.2, loop.stop)
    loop.run_forever()
    task._log_destroy_pending = False  # what asyncio reports about the task is the test's doing
    loop.run_until_complete(loop.shutdown_default_executor())
    loop.close()
    del task, loop
    gc.collect()
    driven.close()
    for thread in [one for one in threading.enumerate() if one is not threading.current_thread() and not one.daemon]:
        thread.join(1)
    assert work.closed_in is not None
    assert work.closed_in is not threading.current_thread()
