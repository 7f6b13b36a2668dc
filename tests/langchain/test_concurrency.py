"""One model, many callers: no answer reaches another's caller, and no connection or file handle stays behind."""

import asyncio
import contextlib
import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from langchain_qwen_omni import ChatQwenOmni
from qwen_omni.standin import Fault, Standin

HANDLES = Path("/proc/self/fd")
TASKS, THREADS = 200, 64

pytestmark = pytest.mark.skipif(not HANDLES.exists(), reason="file handles are counted in /proc")


def handles() -> int:
    return len(list(HANDLES.iterdir()))


def settle(wanted: int) -> int:
    """Wait until no more than so many handles are open: the stand-in closes its own ends in threads of its own."""
    until = time.monotonic() + 60
    while handles() > wanted and time.monotonic() < until:
        time.sleep(0.05)
    return handles()


@pytest.fixture
def echo(standin: Standin) -> Standin:
    """The stand-in answers question n with answer n."""
    for number in range(TASKS):
        standin.script.reply(f"answer {number}.", when=_asks(number))
    return standin


def _asks(number: int) -> Any:
    return lambda request: request.body["messages"][-1]["content"] == f"question {number}."


@pytest.fixture
def llm(echo: Standin) -> ChatQwenOmni:
    """One model for all."""
    return ChatQwenOmni(api_key=SecretStr(echo.api_key), base_url=echo.base_url, max_retries=0)


@pytest.mark.slow
async def test_tasks(llm: ChatQwenOmni, echo: Standin) -> None:
    """200 calls at once: each gets its own answer; afterwards there are as many handles as before."""
    await llm.ainvoke("question 0.")
    await llm.aclose()
    before = handles()
    answers = await asyncio.gather(*(llm.ainvoke(f"question {number}.") for number in range(TASKS)))
    assert [answer.text for answer in answers] == [f"answer {number}." for number in range(TASKS)]
    assert len({answer.id for answer in answers}) == TASKS
    assert echo.connections <= TASKS + 1
    await llm.aclose()
    assert await asyncio.to_thread(settle, before) <= before


@pytest.mark.slow
def test_threads(llm: ChatQwenOmni, echo: Standin) -> None:
    """64 threads on one model: each gets its own answers over few connections; afterwards none is open."""
    llm.invoke("question 0.")
    llm.close()
    before = handles()

    def ask(number: int) -> list[str]:
        return [str(llm.invoke(f"question {(number + step) % TASKS}.").text) for step in range(3)]

    with ThreadPoolExecutor(THREADS) as pool:
        told = list(pool.map(ask, range(THREADS)))
    assert told == [[f"answer {(number + step) % TASKS}." for step in range(3)] for number in range(THREADS)]
    assert echo.connections <= THREADS + 1
    llm.close()
    assert settle(before) <= before


async def test_cancelled(llm: ChatQwenOmni, echo: Standin) -> None:
    """Tasks that are cancelled in the middle of an answer leave no connection, and the model still works."""
    await llm.ainvoke("question 0.")
    await llm.aclose()
    before = handles()
    echo.script.fault(Fault.slow(bytes_per_second=600), times=20)

    async def read(number: int) -> None:
        async for _ in llm.astream(f"question {number}."):
            pass

    tasks = [asyncio.create_task(read(number)) for number in range(20)]
    await asyncio.sleep(0.5)
    for task in tasks:
        task.cancel()
    assert all(
        isinstance(result, asyncio.CancelledError) for result in await asyncio.gather(*tasks, return_exceptions=True)
    )
    assert (await llm.ainvoke("question 7.")).text == "answer 7."
    await llm.aclose()
    assert await asyncio.to_thread(settle, before) <= before


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_left_in_the_middle(llm: ChatQwenOmni, echo: Standin) -> None:
    """A stream that its reader leaves early leaves no connection."""
    llm.invoke("question 0.")
    llm.close()
    before = handles()
    for number in range(10):
        with contextlib.closing(llm.stream(f"question {number}.")) as chunks:
            next(iter(chunks))
    assert llm.invoke("question 3.").text == "answer 3."
    llm.close()
    assert settle(before) <= before


def test_handles_are_counted(tmp_path: Path) -> None:
    """The count would notice one."""
    before = handles()
    descriptor = os.open(tmp_path, os.O_RDONLY)
    assert handles() == before + 1
    os.close(descriptor)
