"""CPU per streamed delta, connections, and the time to the first delta: ours against the openai SDK's typed stream.

    python benchmarks/stream.py [--deltas 20000] [--rounds 5]

A server in a process of its own sends the same bytes to everybody over loopback. Figures are medians; ratios
compare what was measured in this one run. `ChatOpenAI` joins the table if `langchain-openai` is installed.
"""

import argparse
import asyncio
import contextlib
import json
import multiprocessing
import socket
import statistics
import threading
import time
from collections.abc import Callable, Iterator

import openai
from langchain_core.messages import HumanMessage

from langchain_qwen_omni import ChatQwenOmni
from qwen_omni import AsyncOmniClient, ChatRequest, OmniClient, Settings, user

REQUEST = ChatRequest(model="qwen3.5-omni-flash", messages=(user("Go."),))


def body(deltas: int) -> bytes:
    def event(delta: dict, finish: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "finish_reason": finish, "logprobs": None}
        value = {"id": "chatcmpl-0b3a1d5a", "object": "chat.completion.chunk", "created": 1764000000, "model": "m",
                 "system_fingerprint": None, "choices": [choice], "usage": None}  # fmt: skip
        return b"data: " + json.dumps(value).encode() + b"\n\n"

    usage = {"choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}}
    pieces = [event({"content": f"word {number} "}) for number in range(deltas)]
    return b"".join([*pieces, event({}, "stop"), b"data: " + json.dumps(usage).encode() + b"\n\ndata: [DONE]\n\n"])


def serve(port: "multiprocessing.Queue[int]", accepted: "multiprocessing.Value", data: bytes) -> None:
    """Answer every request on every connection with the same bytes, one connection after the other."""

    def answer(peer: socket.socket) -> None:
        head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: %d\r\n\r\n" % len(data)
        with peer, contextlib.suppress(OSError):
            while (got := peer.recv(65_536)) and b"POST" in got:
                while b"include_usage" not in got and b'"stream":true' not in got and b'"stream": true' not in got:
                    got += peer.recv(65_536)
                peer.sendall(head + data)

    with socket.create_server(("127.0.0.1", 0), backlog=64) as server:
        port.put(server.getsockname()[1])
        while True:
            peer, _ = server.accept()
            with accepted.get_lock():
                accepted.value += 1
            threading.Thread(target=answer, args=(peer,), daemon=True).start()


def clients(base_url: str) -> Iterator[tuple[str, Callable[[], int]]]:
    """Name and call of everybody who is measured; a call gives the number of deltas it saw, or -1."""
    ours = OmniClient(Settings.load(api_key="sk-x", base_url=base_url))
    peer = openai.OpenAI(api_key="sk-x", base_url=base_url)
    llm = ChatQwenOmni(api_key="sk-x", base_url=base_url, model="qwen3.5-omni-flash")

    def typed() -> int:
        made = peer.chat.completions.create(
            model="m", messages=[{"role": "user", "content": "Go."}], stream=True,
            stream_options={"include_usage": True},
        )  # fmt: skip
        return sum(1 for _ in made)

    async def astream() -> int:
        client = AsyncOmniClient(Settings.load(api_key="sk-x", base_url=base_url))
        return sum([1 async for _ in client.stream(REQUEST)])

    yield "openai SDK, typed stream", typed
    yield "OmniClient.stream", lambda: sum(1 for _ in ours.stream(REQUEST))
    yield "OmniClient.complete", lambda: bool(ours.complete(REQUEST).text) and -1
    yield "AsyncOmniClient.stream", lambda: asyncio.run(astream())
    yield "ChatQwenOmni.stream", lambda: sum(1 for _ in llm.stream([HumanMessage("Go.")]))
    yield "ChatQwenOmni.invoke", lambda: bool(llm.invoke([HumanMessage("Go.")]).text) and -1
    with contextlib.suppress(ImportError):
        from langchain_openai import ChatOpenAI  # noqa: PLC0415

        chat = ChatOpenAI(api_key="sk-x", base_url=base_url, model="m", streaming=True)
        yield "ChatOpenAI.stream", lambda: sum(1 for _ in chat.stream([HumanMessage("Go.")]))
        yield "ChatOpenAI.invoke", lambda: bool(chat.invoke([HumanMessage("Go.")]).text) and -1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--deltas", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=5)
    wanted = parser.parse_args()
    port: multiprocessing.Queue[int] = multiprocessing.Queue()
    accepted = multiprocessing.Value("i", 0)
    server = multiprocessing.Process(target=serve, args=(port, accepted, body(wanted.deltas)), daemon=True)
    server.start()
    base_url = f"http://127.0.0.1:{port.get()}/v1"
    print(f"{wanted.deltas:,} deltas, median of {wanted.rounds} rounds")
    first = None
    for name, call in clients(base_url):
        call()  # connections, imports
        before, costs = accepted.value, []
        for _ in range(wanted.rounds):
            begun = time.process_time()
            call()
            costs.append((time.process_time() - begun) / wanted.deltas * 1e6)
        cost = statistics.median(costs)
        first = first or cost
        used = accepted.value - before
        print(f"{name:26} {cost:7.1f} us CPU/delta   {first / cost:5.1f}x   {used} connections, {wanted.rounds} calls")
    server.terminate()


if __name__ == "__main__":
    main()
