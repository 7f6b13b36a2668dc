"""The implicit context cache: beginnings of earlier requests, and how much of a request one of them covers.

The service documents a shortest beginning and a lower price, not where beginnings end or how long they are kept. Here
they end with a part of a message, and are kept until `clear`.
"""

from __future__ import annotations

import hashlib
import json
import threading
from typing import TYPE_CHECKING, Any

from qwen_omni.standin.rules.tokens import text_tokens

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from qwen_omni.standin.media.facts import MediaFacts


class PrefixCache:
    """Remembers the beginnings of requests. Safe to share between threads."""

    def __init__(self) -> None:
        self._known: set[bytes] = set()
        self._lock = threading.Lock()

    def cached_tokens(self, body: dict[str, Any], media: Sequence[MediaFacts], *, least: int) -> int:
        """Return how many input tokens an earlier request held, `least` or more, else 0; remember this one."""
        cached = 0
        with self._lock:
            for digest, tokens in _beginnings(body, media):
                if digest in self._known and tokens >= least:
                    cached = tokens
                self._known.add(digest)
        return cached


def _beginnings(body: dict[str, Any], media: Sequence[MediaFacts]) -> Iterator[tuple[bytes, int]]:
    """Yield a digest of the request up to each part, and its tokens up to there."""
    digest, tokens, left = hashlib.sha256(str(body["model"]).encode()), 0, list(media)
    for message in body["messages"]:
        content = message.get("content")
        for part in content if isinstance(content, list) else [{"type": "text", "text": content or ""}]:
            digest.update(json.dumps([message["role"], part], sort_keys=True).encode())
            tokens += text_tokens(part["text"]) if part.get("type") == "text" else left.pop(0).tokens
            yield digest.digest(), tokens
