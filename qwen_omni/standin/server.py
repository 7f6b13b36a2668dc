"""Doors to the stand-in: an ASGI app, and a server on loopback in a thread of its own.

Sends the bytes that `service` made, each piece as soon as it is due. Decides nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import struct
import threading
from typing import TYPE_CHECKING, Any, Self

from starlette.applications import Starlette
from starlette.routing import Route
from uvicorn.config import Config
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from qwen_omni.standin.intake import Intake
from qwen_omni.standin.script import Script
from qwen_omni.standin.service import Reply, Request, State, respond

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path
    from types import TracebackType

    from starlette.requests import Request as HTTPRequest
    from starlette.types import Receive, Scope, Send

    from qwen_omni.standin.log import LoggedRequest

_METHODS = ["GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH"]
_LOOPBACK = "127.0.0.1"
_STEP_SECONDS = 0.05
_LINGER_NOT = struct.pack("ii", 1, 0)


class Standin:
    """A local service that judges requests and answers from decoded media. It is not Qwen.

    Use it as a context manager, plain or async; inside, `base_url` and `api_key` are what a client needs.

        with Standin() as standin:
            client = OpenAI(base_url=standin.base_url, api_key=standin.api_key)

    Args:
        media_map: Media behind http(s) and `oss://` addresses; entries may be added while running. Nothing outside
            loopback is ever fetched.
        script: Scripted replies and faults; may be changed while running.
        keys: Accepted API keys.
        host: A loopback address.
        port: 0 takes a free one.
    """

    def __init__(
        self,
        *,
        media_map: Mapping[str, bytes | Path] | None = None,
        script: Script | None = None,
        keys: tuple[str, ...] = ("sk-standin",),
        host: str = _LOOPBACK,
        port: int = 0,
    ) -> None:
        self.media_map = dict(media_map or {})
        self._state = State(keys=tuple(keys), intake=Intake(media_map=self.media_map), script=script or Script())
        self._host = host
        self._port = port
        self._listener: _Listener | None = None
        self.app = make_app(self._state, self._transport)

    @property
    def base_url(self) -> str:
        """The address for a client's `base_url`."""
        return f"http://{self._host}:{self._running.port}/compatible-mode/v1"

    @property
    def api_key(self) -> str:
        """A key that is accepted."""
        return self._state.keys[0]

    @property
    def requests(self) -> list[LoggedRequest]:
        """All requests so far, oldest first."""
        return self._state.requests

    @property
    def connections(self) -> int:
        """How many TCP connections were accepted so far."""
        return self._running.accepted

    @property
    def script(self) -> Script:
        """Scripted replies and faults."""
        return self._state.script

    @script.setter
    def script(self, script: Script) -> None:
        self._state.script = script

    def clear(self) -> None:
        """Forget the logged requests."""
        self._state.requests.clear()

    def start(self) -> Self:
        """Listen; returns when connections are accepted."""
        self._listener = _Listener(self.app, self._host, self._port)
        self._listener.start()
        return self

    def stop(self) -> None:
        """Close all connections and end the thread."""
        if self._listener is not None:
            self._listener.stop()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    async def __aenter__(self) -> Self:
        return await asyncio.to_thread(self.start)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await asyncio.to_thread(self.stop)

    @property
    def _running(self) -> _Listener:
        if self._listener is None:
            raise RuntimeError("The stand-in is not running: use it in a `with` block or call start().")
        return self._listener

    def _transport(self, client: tuple[str, int] | None) -> asyncio.Transport | None:
        return self._listener.transports.get(client) if self._listener and client else None


def serve(
    host: str = _LOOPBACK,
    port: int = 8765,
    *,
    media_map: Mapping[str, bytes | Path] | None = None,
    keys: tuple[str, ...] = ("sk-standin",),
    on_ready: Callable[[Standin], None] | None = None,
) -> None:
    """Run until interrupted; `on_ready` is told when connections are accepted."""
    with Standin(media_map=media_map, keys=keys, host=host, port=port) as standin:
        if on_ready is not None:
            on_ready(standin)
        with contextlib.suppress(KeyboardInterrupt):
            threading.Event().wait()


def make_app(
    state: State, transport_of: Callable[[tuple[str, int] | None], asyncio.Transport | None] = lambda _: None
) -> Starlette:
    """Build the ASGI app; `transport_of` finds a client's connection where a reply shall break it."""

    async def endpoint(request: HTTPRequest) -> _Sending:
        body = await request.body()
        asked = Request(
            method=request.method, path=request.url.path, headers={k.lower(): v for k, v in request.headers.items()},
            body=body,
        )  # fmt: skip
        reply = await asyncio.to_thread(respond, asked, state)
        client = (request.client.host, request.client.port) if request.client else None
        return _Sending(reply, transport_of(client))

    return Starlette(routes=[Route("/{path:path}", endpoint, methods=_METHODS)])


class _Sending:
    """An ASGI answer that sends a reply piece by piece, and breaks off where the reply says so."""

    def __init__(self, reply: Reply, transport: asyncio.Transport | None) -> None:
        self._reply = reply
        self._transport = transport

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - the ASGI signature
        reply = self._reply
        await asyncio.sleep(reply.first_byte_delay)
        if reply.ending == "drop":
            self._abort()
            return
        headers = [(b"content-type", reply.content_type.encode())]
        headers += [(name.encode(), value.encode()) for name, value in reply.headers]
        if len(reply.pieces) == 1 and reply.ending == "complete":
            headers.append((b"content-length", str(len(reply.pieces[0])).encode()))
        await send({"type": "http.response.start", "status": reply.status, "headers": headers})
        for number, (piece, wait) in enumerate(_timed(reply)):
            if number:
                await asyncio.sleep(wait)
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        if reply.ending == "complete":
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        elif reply.ending == "reset":
            await asyncio.sleep(_STEP_SECONDS)  # what was sent shall arrive; a reset throws away the rest
            self._abort(reset=True)
        elif self._transport is not None:
            self._transport.close()

    def _abort(self, *, reset: bool = False) -> None:
        if self._transport is None:
            raise ConnectionResetError("the script ends this connection")
        if reset:
            held = self._transport.get_extra_info("socket")
            held.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NOT)
        self._transport.abort()


def _timed(reply: Reply) -> Iterator[tuple[bytes, float]]:
    """Yield pieces, each with the seconds to wait before it."""
    if reply.bytes_per_second is None:
        yield from ((piece, reply.pause) for piece in reply.pieces)
        return
    size = max(1, int(reply.bytes_per_second * _STEP_SECONDS))
    body = b"".join(reply.pieces)
    for at in range(0, len(body), size):
        yield body[at : at + size], size / reply.bytes_per_second


class _Listener:
    """One event loop in one thread, listening on one socket."""

    def __init__(self, app: Starlette, host: str, port: int) -> None:
        self.accepted = 0
        self.transports: dict[tuple[str, int], asyncio.Transport] = {}
        self._socket = socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
        self.port: int = self._socket.getsockname()[1]
        self._config = Config(app, http=H11Protocol, ws="none", lifespan="off", log_config=None, access_log=False)
        self._state = ServerState()
        self._thread = threading.Thread(target=self._run, name="qwen-omni-standin", daemon=True)
        self._ready = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ending: asyncio.Event | None = None

    def start(self) -> None:
        logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)  # broken answers are made on purpose here
        self._thread.start()
        self._ready.wait()

    def stop(self) -> None:
        if self._loop is not None and self._ending is not None and self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._ending.set)
            self._thread.join()

    def _run(self) -> None:
        asyncio.run(self._serve())

    async def _serve(self) -> None:
        self._loop, self._ending = asyncio.get_running_loop(), asyncio.Event()
        self._config.load()
        server = await self._loop.create_server(self._protocol, sock=self._socket)
        self._ready.set()
        await self._ending.wait()
        server.close()
        for transport in list(self.transports.values()):
            transport.abort()
        for task in list(self._state.tasks):
            task.cancel()
        await asyncio.gather(*self._state.tasks, return_exceptions=True)
        await asyncio.sleep(0)

    def _protocol(self) -> H11Protocol:
        return _Protocol(self, self._config, self._state)


class _Protocol(H11Protocol):
    """Uvicorn's own, which also counts connections and lets a reply find the one it goes out on."""

    def __init__(self, listener: _Listener, config: Config, state: ServerState) -> None:
        super().__init__(config, state, {})
        self._listener = listener

    def connection_made(self, transport: Any) -> None:  # noqa: ANN401 - uvicorn's type
        self._listener.accepted += 1
        super().connection_made(transport)
        if self.client is not None:
            self._listener.transports[self.client] = transport

    def connection_lost(self, exc: Exception | None) -> None:
        if self.client is not None:
            self._listener.transports.pop(self.client, None)
        super().connection_lost(exc)
