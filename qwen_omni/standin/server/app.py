"""The ASGI app: passes requests to `standin.answers.service` and sends its replies, each piece as soon as it is due.

Makes no decisions. `listener` runs this app on a socket, `server` is the public interface of both.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.routing import Route

from qwen_omni.standin.answers.service import State, respond
from qwen_omni.standin.server.exchange import Reply, Request
from qwen_omni.standin.server.log import MODEL_KEY
from qwen_omni.standin.server.store_door import StoreSending, serve_store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from starlette.requests import Request as HTTPRequest
    from starlette.types import Receive, Scope, Send

_METHODS = ["GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH"]
_STEP_SECONDS = 0.05
_LINGER_NOT = struct.pack("ii", 1, 0)


def make_app(
    state: State, transport_of: Callable[[tuple[str, int] | None], asyncio.Transport | None] = lambda _: None
) -> Starlette:
    """Build the ASGI app; `transport_of` finds the client's connection for replies that break it."""

    async def endpoint(request: HTTPRequest) -> _Sending | StoreSending:
        client = (request.client.host, request.client.port) if request.client else None
        if state.stores.owns(request.scope["path"]):
            return await serve_store(request, state.stores, state.keys, transport_of(client))
        reply = await asyncio.to_thread(_answered, Request.received(request, await request.body()), state)
        return _Sending(reply, transport_of(client))

    return Starlette(routes=[Route("/{path:path}", endpoint, methods=_METHODS)])


def _answered(asked: Request, state: State) -> Reply:
    for routes in (state.tasks, state.batches):
        if routes is not None and routes.owns(asked.path):
            return routes.respond(asked)
    return respond(asked, state)


class _Sending:
    """An ASGI answer that sends a reply piece by piece, and breaks off where the reply requires it."""

    def __init__(self, reply: Reply, transport: asyncio.Transport | None) -> None:
        self._reply = reply
        self._transport = transport

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - the ASGI signature
        reply = self._reply
        scope[MODEL_KEY] = reply.model
        await asyncio.sleep(reply.first_byte_delay)
        if reply.ending == "drop":
            self._abort()
            return
        headers = [(b"content-type", reply.content_type.encode())]
        headers += [(name.encode(), value.encode()) for name, value in reply.headers]
        streams = reply.content_type.startswith("text/event-stream")
        if len(reply.pieces) == 1 and reply.ending == "complete" and not streams:
            headers.append((b"content-length", str(len(reply.pieces[0])).encode()))
        await send({"type": "http.response.start", "status": reply.status, "headers": headers})
        for number, (piece, wait) in enumerate(_timed(reply)):
            if number:
                await asyncio.sleep(wait)
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        if reply.ending == "complete":
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        elif reply.ending == "reset":
            await asyncio.sleep(_STEP_SECONDS)  # let the bytes sent so far arrive; a reset discards the rest
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
    """Yield pieces, each with the seconds to wait before sending it."""
    if reply.bytes_per_second is None:
        yield from ((piece, reply.pause) for piece in reply.pieces)
        return
    size = max(1, int(reply.bytes_per_second * _STEP_SECONDS))
    body = b"".join(reply.pieces)
    for at in range(0, len(body), size):
        yield body[at : at + size], size / reply.bytes_per_second
