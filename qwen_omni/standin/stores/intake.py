"""Fetch what a media part refers to: a data URI, an entry of the local map, or a loopback address. Nothing else.

Any other address gets the service's error message for a failed download, without a connection attempt.
"""

from __future__ import annotations

import base64
import binascii
import http.client
import ipaddress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, urlsplit

from qwen_omni.standin.rules import refusal
from qwen_omni.standin.rules.limits import ENCODED_LIMIT
from qwen_omni.standin.rules.refusal import Refusal, algo

if TYPE_CHECKING:
    from collections.abc import Mapping

    from qwen_omni.standin.stores.stores import Stores

_FORBIDDEN = (401, 403)
_OK = 200
_TIMEOUT = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Visitor:
    """The client that requests media, and whether `oss://` addresses are resolved."""

    model: str
    account: str
    resolves_oss: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Intake:
    """The sources that media may come from."""

    media_map: Mapping[str, bytes | Path] = field(default_factory=dict)
    stores: Stores | None = None

    def fetch(self, url: str, *, visitor: Visitor) -> bytes:
        """Return the media behind `url`.

        Raises:
            Refusal: Malformed, too large, unknown, or an `oss://` address without its header.
        """
        if url.startswith("data:"):
            return _decode_data_uri(url)
        parts = _split(url)
        if parts.scheme == "oss" and not visitor.resolves_oss:
            raise algo(refusal.BAD_URL)
        held = self.media_map.get(url, self.media_map.get(parts._replace(query="", fragment="").geturl()))
        if held is not None:
            return held.read_bytes() if isinstance(held, Path) else held
        kept = self.stores.find(url, visitor.model, visitor.account) if self.stores and parts.scheme == "oss" else None
        if kept is not None:
            return b"".join(file.read_bytes() for file in kept.files)
        if parts.scheme == "http" and _is_loopback(parts.hostname or ""):
            return _download(parts)
        raise algo(refusal.NO_DOWNLOAD, late=True)


def describe_url(url: str) -> str:
    """Return a short description of an address, for logs that must not contain media or signatures."""
    if not url.startswith("data:"):
        return url.split("?", 1)[0]
    head, _, payload = url.partition(",")
    return f"<{head}, {len(payload)} characters>"


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise algo(refusal.BAD_URL) from error
    if parts.scheme not in ("http", "https", "oss") or not parts.netloc:
        raise algo(refusal.BAD_URL)
    return parts


def _decode_data_uri(url: str) -> bytes:
    if len(url) > ENCODED_LIMIT:
        raise algo(refusal.TOO_LARGE_URI)
    head, comma, payload = url.partition(",")
    if not comma or not head.endswith(";base64"):
        raise algo(refusal.BAD_URL)
    try:
        return base64.b64decode(payload, validate=True)
    except (binascii.Error, ValueError) as error:
        raise algo(refusal.BAD_URL) from error


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _download(parts: SplitResult) -> bytes:
    """Get one file from this machine; redirects are not followed, since they might lead elsewhere."""
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port or 80, timeout=_TIMEOUT)
    try:
        connection.request("GET", parts._replace(scheme="", netloc="", fragment="").geturl() or "/")
        with connection.getresponse() as response:
            problem = _complaint(response)
            if problem is not None:
                raise problem
            return response.read()
    except (OSError, http.client.HTTPException) as error:
        raise algo(refusal.NO_DOWNLOAD, late=True) from error
    finally:
        connection.close()


def _complaint(response: http.client.HTTPResponse) -> Refusal | None:
    problems = (
        (response.status in _FORBIDDEN, "Don't have authorization to access the media resource"),
        (response.status != _OK, refusal.NO_DOWNLOAD),
        (response.getheader("content-length") is None, "Missing Content-Length of multimodal url"),
        (response.getheader("content-type", "").startswith("text/"), "Wrong Content-Type of multimodal url"),
    )
    return next((algo(words, late=True) for wrong, words in problems if wrong), None)
