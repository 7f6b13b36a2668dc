"""The request log: what a client sent, with facts in place of media and without its key; and a line per exchange."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from qwen_omni.standin.stores.intake import describe_url

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from qwen_omni.standin.media.facts import MediaFacts

_SECRET_HEADERS = ("authorization", "cookie", "x-api-key")
MODEL_KEY = "qwen_omni.standin.model"
"""The entry of an ASGI scope that holds the model that was asked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """One request and its answer, as one line: neither headers nor query nor body, which hold keys and media.

    Attributes:
        method: of HTTP.
        path: without the query.
        model: the model that was asked; empty on other routes.
        status: of the answer; 0 if the connection ended before one.
        milliseconds: until the answer was sent completely, or the connection ended.

    Example:
        >>> str(Exchange(method="POST", path="/v1/x", model="qwen-plus", status=200, milliseconds=12))
        'POST /v1/x qwen-plus 200 12 ms'
    """

    method: str
    path: str
    model: str
    status: int
    milliseconds: int

    def __str__(self) -> str:
        status = str(self.status) if self.status else "no answer"
        return " ".join(filter(None, (self.method, self.path, self.model, status, f"{self.milliseconds:,} ms")))


def reporting(app: ASGIApp, on_exchange: Callable[[Exchange], None]) -> ASGIApp:
    """Return an app that reports every exchange of another, once it is over."""

    async def reported(scope: Scope, receive: Receive, send: Send) -> None:
        begun, status = time.monotonic(), 0

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await app(scope, receive, watched)
        finally:
            on_exchange(
                Exchange(
                    method=scope["method"], path=scope["path"], model=scope.get(MODEL_KEY, ""), status=status,
                    milliseconds=round((time.monotonic() - begun) * 1000),
                )
            )  # fmt: skip

    return reported


@dataclass(frozen=True, slots=True, kw_only=True)
class LoggedRequest:
    """One request as received.

    `media` has the facts of every media part in order of appearance; it is empty if the request was
    refused before its media was decoded. `unknown` lists undocumented top-level fields: the real
    service ignores them, a client should not send them. `refused` is the message of a refusal.
    """

    method: str
    path: str
    headers: dict[str, str]
    body: dict[str, Any]
    raw_bytes: int
    media: tuple[MediaFacts, ...] = ()
    unknown: tuple[str, ...] = ()
    refused: str | None = None


def without_secrets(headers: dict[str, str]) -> dict[str, str]:
    """Remove the headers that contain keys."""
    return {name: value for name, value in headers.items() if name not in _SECRET_HEADERS}


def without_media(value: Any) -> Any:  # noqa: ANN401 - any JSON goes in, the same shape comes out
    """Replace every media payload in a body with a short description."""
    if isinstance(value, dict):
        return {key: without_media(held) for key, held in value.items()}
    if isinstance(value, list):
        return [without_media(held) for held in value]
    if isinstance(value, str) and value.startswith("data:"):
        return describe_url(value)
    return value
