"""What a run is called: a digest of everything that decides its answers. Pure."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any


def digest(*told: object) -> str:
    """Digest values of JSON kinds; everything else counts as its text.

    Example:
        >>> digest("a", 1) == digest("a", 1) != digest("a", 2)
        True
    """
    written = json.dumps(told, sort_keys=True, ensure_ascii=False, default=str)
    return hashlib.sha256(written.encode()).hexdigest()


def run_key(content: str, asked: Mapping[str, Any]) -> str:
    """Name the run that asks these things about this content."""
    return digest(content, dict(asked))[:32]
