"""The loopback listener: one event loop in one thread, on one socket, with uvicorn's HTTP protocol.

It starts and stops in milliseconds and leaves no thread and no socket behind. Makes no decisions.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
from typing import TYPE_CHECKING, Any

from uvicorn.config import Config
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

if TYPE_CHECKING:
    from starlette.types import ASGIApp

_TURNS = 10
_LOGGER = logging.getLogger("qwen_omni.standin")
_LOGGER.setLevel(logging.CRITICAL)  # uvicorn reports broken answers, which are deliberate here


class Listener:
    """One event loop in one thread, listening on one socket."""

    def __init__(self, app: ASGIApp, host: str, port: int) -> None:
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
        """Run the thread; return once connections are accepted."""
        self._thread.start()
        self._ready.wait()

    def stop(self) -> None:
        """Stop the thread and close its connections and socket; a second call does nothing."""
        if self._loop is not None and self._ending is not None and self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._ending.set)
            self._thread.join()

    def _run(self) -> None:
        asyncio.run(self._serve())

    async def _serve(self) -> None:
        self._loop, self._ending = asyncio.get_running_loop(), asyncio.Event()
        self._config.load()
        server = await self._loop.create_server(lambda: _Protocol(self, self._config, self._state), sock=self._socket)
        self._ready.set()
        await self._ending.wait()
        # asyncio leaks a connection that is being accepted while its server closes: stop accepting first, then wait.
        self._loop.remove_reader(self._socket)
        await self._turn_out()
        server.close()
        await self._turn_out()
        await asyncio.gather(*self._state.tasks, return_exceptions=True)

    async def _turn_out(self) -> None:
        """End all connections and requests; each takes several iterations of the loop to appear and to disappear."""
        for _ in range(_TURNS):
            await asyncio.sleep(0)
            for transport in list(self.transports.values()):
                transport.abort()
            for task in list(self._state.tasks):
                task.cancel()


class _Protocol(H11Protocol):
    """Uvicorn's protocol, which also counts connections and lets a reply find its own."""

    def __init__(self, listener: Listener, config: Config, state: ServerState) -> None:
        super().__init__(config, state, {})
        self._listener = listener
        self.logger = _LOGGER

    def connection_made(self, transport: Any) -> None:  # noqa: ANN401 - uvicorn's type
        self._listener.accepted += 1
        super().connection_made(transport)
        if self.client is not None:
            self._listener.transports[self.client] = transport

    def connection_lost(self, exc: Exception | None) -> None:
        if self.client is not None:
            self._listener.transports.pop(self.client, None)
        super().connection_lost(exc)
