"""A server of one's own that answers as vLLM, transformers serve and LiteLLM did, with their own bytes."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

ANSWERS = Path(__file__).parents[1] / "servers" / "answers"


def answer(name: str) -> bytes:
    return (ANSWERS / name).read_bytes()


class OwnServer(ThreadingHTTPServer):
    """One of the three; `trusting` is vLLM with --trust-request-mm-kwargs."""

    daemon_threads = True

    def __init__(self, kind: str, *, trusting: bool = False) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.kind, self.trusting = kind, trusting
        self.asked: list[str] = []
        self.bodies: list[dict] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"

    def get(self, path: str) -> tuple[int, bytes]:
        name = {"/v1/models": f"{self.kind}_models.json", "/v1/model/info": f"{self.kind}_model_info.json"}.get(path)
        if name is None or not (ANSWERS / name).exists():
            return 404, b'{"detail":"Not Found"}'
        return 200, answer(name)

    def chat(self, body: dict) -> tuple[int, bytes]:
        if self.kind == "transformers" and {"mm_processor_kwargs", "media_io_kwargs", "top_k"} & set(body):
            return 422, answer("transformers_unknown_field.json")
        if self.kind == "vllm" and not self.trusting:
            for field, name in (("mm_processor_kwargs", "processor"), ("media_io_kwargs", "loading")):
                if body.get(field):
                    return 400, answer(f"vllm_refused_{name}.json")
        return 200, answer("transformers_stream.txt" if self.kind == "transformers" else "vllm_stream.txt")


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: OwnServer

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        self._send(*self.server.get(self.path), "application/json")

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.server.bodies.append(body)
        status, content = self.server.chat(body)
        self._send(status, content, "text/event-stream" if status == 200 else "application/json")

    def _send(self, status: int, content: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def own_server(kind: str, *, trusting: bool = False) -> Iterator[OwnServer]:
    with OwnServer(kind, trusting=trusting) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
