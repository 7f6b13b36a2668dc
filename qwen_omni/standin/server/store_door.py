"""The ASGI app of the stores: streams bodies to disk and files from disk. Makes no decisions."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from starlette.requests import ClientDisconnect

from qwen_omni.standin.server.exchange import Request
from qwen_omni.standin.server.spool import blocks

if TYPE_CHECKING:
    from starlette.requests import Request as HTTPRequest
    from starlette.types import Receive, Scope, Send

    from qwen_omni.standin.stores.oss import StoreReply
    from qwen_omni.standin.stores.stores import Stores


async def serve_store(
    request: HTTPRequest, stores: Stores, keys: tuple[str, ...], transport: asyncio.Transport | None
) -> StoreSending:
    """Handle one request to a store and return its answer; break the connection if a fault requires it."""
    asked = Request.received(request, path=request.scope["raw_path"].decode("ascii"))
    operation = stores.operation(asked)
    fault = stores.next_fault(operation)
    body = stores.spool()
    try:
        async for piece in request.stream():
            body.write(piece)
            if fault is not None and fault.cut_after is not None and body.size_bytes >= fault.cut_after:
                break
        else:
            body.close()
            unanswered = fault is not None and fault.unanswered
            met = None if unanswered else fault
            reply = await asyncio.to_thread(stores.respond, asked, operation, body, met, keys)
            return StoreSending(None if unanswered else reply, transport)
    except ClientDisconnect:
        pass  # the client aborted, as it should if its file changes
    except BaseException:  # such as the cancellation when the stand-in stops
        body.drop()
        raise
    stores.cut(asked, operation, body)
    return StoreSending(None, transport)


class StoreSending:
    """An ASGI answer of a store; None closes the connection instead."""

    def __init__(self, reply: StoreReply | None, transport: asyncio.Transport | None) -> None:
        self._reply = reply
        self._transport = transport

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - the ASGI signature
        """Send the answer."""
        reply = self._reply
        if reply is None:
            if self._transport is None:
                raise ConnectionResetError("the fault ends this connection")
            self._transport.abort()
            return
        headers = {"content-length": str(len(reply.body)), **reply.headers}
        raw = [(name.encode(), value.encode()) for name, value in headers.items()]
        await send({"type": "http.response.start", "status": reply.status, "headers": raw})
        for block in blocks(reply.files, *reply.span):
            await send({"type": "http.response.body", "body": block, "more_body": True})
        await send({"type": "http.response.body", "body": reply.body, "more_body": False})
