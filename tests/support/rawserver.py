"""A server of raw bytes on loopback, for answers of badly behaved servers: endless, lying, redirecting."""

import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Self


class RawServer:
    """Answers every request with the bytes that `answer` yields, and counts the bytes sent.

    Attributes:
        requests: the head of each request received.
        sent: the number of bytes that the client accepted.
    """

    def __init__(self, answer: Callable[[], Iterable[bytes]]) -> None:
        self._answer = answer
        self.requests: list[str] = []
        self.sent = 0
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.host = f"127.0.0.1:{self._socket.getsockname()[1]}"
        self.url = f"http://{self.host}/compatible-mode/v1"
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        while True:
            try:
                plug, _ = self._socket.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(plug,), daemon=True).start()

    def _serve(self, plug: socket.socket) -> None:
        with plug:
            plug.settimeout(20)
            try:
                self._read(plug)
                for piece in self._answer():
                    plug.sendall(piece)
                    self.sent += len(piece)
            except OSError:  # the client closed the connection
                return

    def _read(self, plug: socket.socket) -> None:
        came = b""
        while b"\r\n\r\n" not in came:
            piece = plug.recv(65_536)
            if not piece:
                raise OSError("no request")
            came += piece
        head, _, body = came.partition(b"\r\n\r\n")
        self.requests.append(head.decode("latin-1"))
        lengths = [
            int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length")
        ]
        while lengths and len(body) < lengths[0]:
            body += plug.recv(65_536)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()


def answer(
    *pieces: bytes, status: str = "200 OK", headers: Iterable[tuple[str, str]] = ()
) -> Callable[[], list[bytes]]:
    """Frame an answer that ends with its connection."""
    fields = [("Content-Type", "text/event-stream"), ("Connection", "close"), *headers]
    lines = [f"HTTP/1.1 {status}", *(f"{name}: {value}" for name, value in fields), "", ""]
    return lambda: ["\r\n".join(lines).encode(), *pieces]


def endless(piece: bytes, *, first: bytes = b"", **more: str) -> Callable[[], Iterator[bytes]]:
    """Frame an answer that never ends."""

    def pieces() -> Iterator[bytes]:
        yield from answer(first, **more)()
        while True:
            yield piece

    return pieces
