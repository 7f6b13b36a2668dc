"""What a run is called: a digest of everything that decides its answers. Pure, but for reading the content once."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_AT_ONCE = 1 << 20


def digest(*told: object) -> str:
    """Digest values of JSON kinds; everything else counts as its text.

    Example:
        >>> digest("a", 1) == digest("a", 1) != digest("a", 2)
        True
    """
    written = json.dumps(told, sort_keys=True, ensure_ascii=False, default=str)
    return hashlib.sha256(written.encode()).hexdigest()


def content_digest(content: Path | bytes) -> str:
    """Digest what is in a file, a piece at a time, or bytes.

    Raises:
        OSError: the file cannot be read.
    """
    if isinstance(content, bytes):
        return hashlib.sha256(content).hexdigest()
    found = hashlib.sha256()
    with content.open("rb") as file:
        while piece := file.read(_AT_ONCE):
            found.update(piece)
    return found.hexdigest()


def run_key(content: str, asked: Mapping[str, Any]) -> str:
    """Name the run that asks these things about this content."""
    return digest(content, dict(asked))[:32]
