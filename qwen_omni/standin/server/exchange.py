"""One request to the stand-in, and its answer: what all routes take and return. Knows no sockets."""

from __future__ import annotations

import hmac
import json
import uuid
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from starlette.requests import Request as HTTPRequest

    from qwen_omni.standin.rules.refusal import Refusal

JSON_TYPE = "application/json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One HTTP request; header names are lower case, `query` is as sent. `line` is whether it is a line of a batch."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes = b""
    query: str = ""
    host: str = ""
    line: bool = False

    @classmethod
    def received(cls, request: HTTPRequest, body: bytes = b"", *, path: str | None = None) -> Request:
        """Convert a request; `path` if it is not the decoded one."""
        return cls(
            method=request.method, path=request.scope["path"] if path is None else path, body=body,
            headers={name.lower(): value for name, value in request.headers.items()},
            query=request.scope["query_string"].decode("ascii"), host=f"{request.url.scheme}://{request.url.netloc}",
        )  # fmt: skip

    @property
    def key(self) -> str:
        """The key that it was sent with."""
        return self.headers.get("authorization", "").partition(" ")[2].strip()

    @property
    def resolves_oss(self) -> bool:
        """Whether `oss://` addresses in it are resolved."""
        return self.headers.get("x-dashscope-ossresourceresolve", "").lower() == "enable"

    def has_key_of(self, keys: Iterable[str]) -> bool:
        """Whether it was sent with one of these keys."""
        scheme = self.headers.get("authorization", "").partition(" ")[0]
        known = any(hmac.compare_digest(self.key.encode(), one.encode()) for one in keys)
        return scheme.lower() == "bearer" and known

    def checked_key(self, keys: Iterable[str], refused: Refusal) -> str:
        """Return the key that it was sent with; raise `refused` if it is not one of these."""
        if not self.has_key_of(keys):
            raise refused
        return self.key


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """One HTTP answer and how it is sent.

    `ending` is how the body ends: properly, by closing too early, by a reset, or before it begins. `model` is what was
    asked, for the log.
    """

    status: int = 200
    content_type: str = JSON_TYPE
    headers: tuple[tuple[str, str], ...] = ()
    pieces: tuple[bytes, ...] = ()
    pause: float = 0.0
    first_byte_delay: float = 0.0
    bytes_per_second: float | None = None
    ending: Literal["complete", "close", "reset", "drop"] = "complete"
    model: str = ""

    def cut(self, after: int, *, reset: bool) -> Reply:
        """Return this answer cut off: the connection is closed after that many bytes of the body."""
        kept: list[bytes] = []
        for piece in self.pieces:
            kept.append(piece[:after])
            after -= len(kept[-1])
        return replace(self, pieces=tuple(piece for piece in kept if piece), ending="reset" if reset else "close")


def json_reply(value: Mapping[str, Any], status: int = 200) -> Reply:
    """Return an answer in JSON."""
    return Reply(status=status, pieces=(json.dumps(value, ensure_ascii=False).encode(),))


def with_request_id(value: Mapping[str, Any]) -> dict[str, Any]:
    """Add the id that answers of native routes carry."""
    return {"request_id": str(uuid.uuid4()), **value}
