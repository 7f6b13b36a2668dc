"""Connections end with their event loop and are not shared with forks; the host program's logging stays as it is."""

import asyncio
import contextlib
import gc
import logging
import os
import subprocess
import sys
import time
import warnings
import weakref
from collections.abc import AsyncGenerator
from dataclasses import replace
from pathlib import Path

import pytest

from langchain_qwen_omni import ChatQwenOmni
from qwen_omni import AsyncOmniClient, ChatRequest, OmniClient, errors, user
from qwen_omni.standin import Fault
from qwen_omni.transport.api import arun, run
from qwen_omni.transport.flow import Request, ask
from tests.support.rawserver import RawServer, answer

pytestmark = pytest.mark.slow

HELLO = ChatRequest(model="qwen3.5-omni-flash", messages=(user("Say hello."),))
ROOT = Path(__file__).parents[2]


def use(client: AsyncOmniClient, loop: asyncio.AbstractEventLoop) -> "weakref.ref[asyncio.AbstractEventLoop]":
    """Ask twice in one loop."""
    for _ in range(2):
        assert loop.run_until_complete(client.complete(HELLO)).text
    return weakref.ref(loop)


def sockets(at_most: int = 10**6) -> int:
    """Count sockets, once they are no more than expected: the server's half of a connection ends later than ours."""
    for _ in range(100):
        gc.collect()
        count = len([link for link in Path("/proc/self/fd").iterdir() if link.is_socket()])
        if count <= at_most:
            break
        time.sleep(0.02)
    return count


linux = pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="counts sockets under /proc")


@linux
@pytest.mark.filterwarnings("error::ResourceWarning")
@pytest.mark.filterwarnings("error::pytest.PytestUnraisableExceptionWarning")
def test_a_closed_loop_leaves_nothing(settings, standin):
    """Loops of `run_until_complete`, closed without `shutdown_asyncgens`: no socket, no loop, no warning stays."""
    client = AsyncOmniClient(settings)

    def once() -> "weakref.ref[asyncio.AbstractEventLoop]":
        loop = asyncio.new_event_loop()
        try:
            return use(client, loop)
        finally:
            loop.close()

    once()
    before = sockets()
    loops = [once() for _ in range(5)]
    assert sockets(before) <= before
    assert [loop for loop in loops if loop() is not None] == []
    assert standin.connections == 6, "one for each loop, kept between its calls"


@linux
def test_a_dropped_loop_leaves_nothing(settings):
    """A loop that nobody closed, either: the host is warned of the loop alone, by asyncio."""
    client = AsyncOmniClient(settings)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        use(client, asyncio.new_event_loop())
        before = sockets()
        loops = [use(client, asyncio.new_event_loop()) for _ in range(3)]
        assert sockets(before) <= before
    assert [loop for loop in loops if loop() is not None] == []


@linux
async def test_a_dropped_client_leaves_nothing(settings):
    """The loop goes on, and closes what the client left."""
    for _ in range(3):
        await AsyncOmniClient(settings).complete(HELLO)
    before = sockets()
    for _ in range(3):
        await AsyncOmniClient(settings).complete(HELLO)
        gc.collect()
        await asyncio.sleep(0.05)
    assert await asyncio.to_thread(sockets, before) <= before


async def _read_once(client: AsyncOmniClient) -> None:
    async with contextlib.aclosing(client.stream(HELLO)) as deltas:
        async for _ in deltas:
            return


async def _native(client: AsyncOmniClient) -> None:
    url = client.settings.base_url.replace("/compatible-mode/v1", "/api/v1/tasks/none")
    with contextlib.suppress(errors.QwenOmniError):
        await arun(ask(Request(method="GET", url=url)), client.settings)


ENDS = {
    "the answer is whole": ((), AsyncOmniClient.complete),
    "its reader stops": ((Fault.slow(bytes_per_second=2_000),), _read_once),
    "the service refuses": ((Fault.refuse(400, "invalid_parameter", "no " * 9_000),), AsyncOmniClient.complete),
    "the stream tells an error": ((Fault.error_in_stream(),), AsyncOmniClient.complete),
    "the stream breaks": ((Fault.cut(after_bytes=300),), AsyncOmniClient.complete),
    "a native route": ((), _native),
}


@pytest.mark.parametrize(("faults", "use_it"), ENDS.values(), ids=ENDS)
def test_generators_of_an_answer_are_closed_not_left_to_the_collector(faults, use_it, settings, standin):
    """Whatever ends an answer: the collector may run in another thread while the loop closes the same generators."""
    for fault in faults:
        standin.script.fault(fault)
    left: list[str] = []

    async def main() -> None:
        kept = sys.get_asyncgen_hooks()
        seen: list[str] = []

        def leave(one: AsyncGenerator[object, None]) -> None:
            if "httpcore" not in one.ag_code.co_filename:  # its own, below what its users can close
                left.append(one.__qualname__)

        sys.set_asyncgen_hooks(lambda one: seen.append(one.__qualname__), leave)
        try:
            async with AsyncOmniClient(settings) as client:
                with contextlib.suppress(errors.QwenOmniError):
                    await use_it(client) if use_it in (_read_once, _native) else await use_it(client, HELLO)
            gc.collect()
        finally:
            sys.set_asyncgen_hooks(*kept)
        assert "Response.aiter_bytes" in seen

    asyncio.run(main())
    assert not left


def test_loops_side_by_side_have_connections_of_their_own(settings, standin):
    """Closing one leaves the other working."""
    client, one, two = AsyncOmniClient(settings), asyncio.new_event_loop(), asyncio.new_event_loop()
    use(client, one), use(client, two)
    one.close()
    use(client, two)
    two.close()
    assert standin.connections == 2


def test_a_loop_in_a_framework_is_no_different(settings, standin):
    """The same through LangChain, as a notebook or a web server uses it."""
    llm = ChatQwenOmni(api_key=standin.api_key, base_url=standin.base_url, thinking=False)
    for _ in range(3):
        loop = asyncio.new_event_loop()
        assert loop.run_until_complete(llm.ainvoke("Hi")).text
        loop.close()


FORKING = """
import asyncio, os, sys, warnings
warnings.simplefilter("ignore")
from langchain_qwen_omni import ChatQwenOmni
from qwen_omni import AsyncOmniClient, ChatRequest, OmniClient, Settings, user
from qwen_omni.standin import Standin
with Standin() as standin:
    settings = Settings.load(api_key=standin.api_key, base_url=standin.base_url)
    hello = ChatRequest(model="qwen3.5-omni-flash", messages=(user("hi"),))
    client, aclient = OmniClient(settings), AsyncOmniClient(settings)
    llm = ChatQwenOmni(api_key=standin.api_key, base_url=standin.base_url, thinking=False)
    def all_ways():
        return [client.complete(hello).text, asyncio.run(aclient.complete(hello)).text, llm.invoke("hi").text]
    all_ways()
    before, held = standin.connections, llm._clients._lock.acquire()  # as a thread of the parent might
    child = os.fork()
    if not child:
        os._exit(0 if all(all_ways()) else 1)
    _, status = os.waitpid(child, 0)
    llm._clients._lock.release()
    made = standin.connections - before
    all_ways()
    print(status, made, standin.connections - before - made)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_a_fork_makes_connections_of_its_own():
    """Both processes would read the answers of the other; a lock that was held at the fork stays with the parent."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", FORKING], env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    status, child, parent = done.stdout.split() or [done.stderr, "", ""]
    assert (status, child) == ("0", "3"), "three connections of the child"
    assert parent == "1", "the parent's own go on; its loop of asyncio.run is new each time"


def test_logging_of_the_host_program_stays_as_it_is(settings, caplog):
    """Loggers get no filter and no level of ours, and still no signed address is logged by what we send."""
    loggers = [logging.getLogger(name) for name in ("httpx", "httpx2", "httpcore", "httpcore2", "openai")]
    before = [(logger.filters[:], logger.level, logger.handlers[:], logger.propagate) for logger in loggers]
    caplog.set_level(logging.DEBUG)
    with RawServer(answer(b"{}")) as server, OmniClient(settings) as client:
        client.complete(HELLO)
        signed = Request(method="GET", url=f"http://{server.host}/a.mp4?Signature=very-secret")
        run(ask(signed), settings)
        asyncio.run(arun(ask(signed), settings))
        assert len(server.requests) == 2
    assert [(logger.filters, logger.level, logger.handlers, logger.propagate) for logger in loggers] == before
    told = [f"{record.getMessage()} {record.args}" for record in caplog.records if "uvicorn" not in record.name]
    assert "very-secret" not in "\n".join(told)
    logging.getLogger("httpx2").info("of the host: https://host/?Signature=its-own")
    assert "its-own" in caplog.text, "what the host logs is its own business"


def test_errors_of_the_connection_hold_no_request(settings):
    """The library's errors hold the request and its key, so ours hang on none of them."""
    with RawServer(list) as server:
        silent = replace(settings, base_url=server.url, max_retries=0)
        with OmniClient(silent) as client, pytest.raises(errors.QwenOmniError) as caught:
            client.complete(HELLO)
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None
