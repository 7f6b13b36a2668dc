"""The loopback server shared by all clients of `benchmarks/stream.py`: every POST gets the same bytes.

`/text/v1/…` streams text deltas, `/audio/v1/…` speech; `/short/v1/…`, `/invoke/v1/…` and `/ainvoke/v1/…` three words.
It serves connections in threads, keeps them open, and counts them.
"""

import base64
import contextlib
import json
import os
import socket
import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import multiprocessing

AUDIO_CHARACTERS = 8_192


def event(delta: dict, finish: str | None = None) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish, "logprobs": None}
    value = {"id": "chatcmpl-0b3a1d5a", "object": "chat.completion.chunk", "created": 1764000000, "model": "m",
             "system_fingerprint": None, "choices": [choice], "usage": None}  # fmt: skip
    return b"data: " + json.dumps(value).encode() + b"\n\n"


def end() -> list[bytes]:
    used = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
    usage = {"id": "chatcmpl-0b3a1d5a", "object": "chat.completion.chunk", "created": 1764000000, "model": "m",
             "choices": [], "usage": used}  # fmt: skip
    return [event({}, "stop"), b"data: " + json.dumps(usage).encode() + b"\n\n", b"data: [DONE]\n\n"]


def bodies(text_deltas: int, audio_deltas: int) -> dict[str, bytes]:
    first = event({"role": "assistant", "content": ""})
    sound = base64.b64encode(os.urandom(AUDIO_CHARACTERS * 3 // 4)).decode()
    spoken = event({"audio": {"data": sound, "expires_at": 1764000000, "id": "audio_1"}})
    short = b"".join([first, *(event({"content": word}) for word in ("one ", "two ", "three")), *end()])
    return {
        "text": b"".join([first, *(event({"content": f"word {number} "}) for number in range(text_deltas)), *end()]),
        "audio": b"".join([first, event({"content": "Hi."}), *[spoken] * audio_deltas, *end()]),
        **dict.fromkeys(("short", "invoke", "ainvoke"), short),
    }


def serve(port: "multiprocessing.Queue[int]", accepted: Any, answers: dict[str, bytes]) -> None:
    def answer(peer: socket.socket) -> None:
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with peer, contextlib.suppress(OSError), peer.makefile("rb") as requests:
            while (line := requests.readline()).startswith(b"POST /"):
                length, chunked = 0, False
                while (header := requests.readline().strip().lower()) != b"":
                    if header.startswith(b"content-length:"):
                        length = int(header.partition(b":")[2])
                    chunked = chunked or header.startswith(b"transfer-encoding: chunked")
                if chunked:
                    while (size := int(requests.readline(), 16)) > 0:
                        requests.read(size + 2)
                    requests.readline()
                requests.read(length)
                data = answers[line.split(b"/")[1].decode()]
                head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: %d\r\n\r\n" % len(data)
                peer.sendall(head)
                peer.sendall(data)

    with socket.create_server(("127.0.0.1", 0), backlog=64) as server:
        port.put(server.getsockname()[1])
        while True:
            peer, _ = server.accept()
            with accepted.get_lock():
                accepted.value += 1
            threading.Thread(target=answer, args=(peer,), daemon=True).start()
