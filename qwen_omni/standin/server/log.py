"""The request log: what a client sent, with facts in place of media and without its key."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from qwen_omni.standin.stores.intake import describe_url

if TYPE_CHECKING:
    from qwen_omni.standin.media.facts import MediaFacts

_SECRET_HEADERS = ("authorization", "cookie", "x-api-key")


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
