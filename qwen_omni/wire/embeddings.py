"""Embeddings in the service's format, both ways. Pure.

Source: Model Studio, OpenAI compatible - Embedding, read 2026-11-29.
"""

import json
import math
from collections.abc import Sequence
from typing import Any

from qwen_omni.errors import ServerError
from qwen_omni.profiles.embedding import EmbeddingProfile
from qwen_omni.responses import Usage
from qwen_omni.wire.values import as_count, decode_json

Vectors = list[list[float]]


def encode_texts(texts: Sequence[str], profile: EmbeddingProfile, dimensions: int | None) -> bytes:
    """Build the body of a request."""
    body: dict[str, Any] = {"model": profile.name, "input": list(texts), "encoding_format": "float"}
    if dimensions is not None:
        body["dimensions"] = dimensions
    return json.dumps(body, ensure_ascii=False).encode("utf-8", "replace")


def decode_vectors(body: bytes, count: int) -> tuple[Vectors, Usage | None]:
    """Read the vectors of an answer, in the order of the texts, and its usage.

    Raises:
        ServerError: it is not an answer with as many vectors of one length as there were texts.

    Example:
        >>> answer = b'{"data": [{"index": 1, "embedding": [0, 1]}, {"index": 0, "embedding": [1, 0]}]}'
        >>> decode_vectors(answer, 2)[0]
        [[1.0, 0.0], [0.0, 1.0]]
    """
    try:
        answer = decode_json(body)
        rows = sorted(answer["data"], key=lambda row: int(row["index"]))
        vectors = [[float(number) for number in row["embedding"]] for row in rows]
        places = [int(row["index"]) for row in rows]
    except (ValueError, KeyError, TypeError) as error:
        raise ServerError("The service's answer to a request for embeddings cannot be read.") from error
    lengths = {len(vector) for vector in vectors}
    finite = all(math.isfinite(number) for vector in vectors for number in vector)
    if places != list(range(count)) or len(lengths) != 1 or 0 in lengths or not finite:
        raise ServerError(
            f"The service returned {len(vectors):,} embeddings for {count:,} texts, or vectors of different lengths."
        )
    return vectors, _usage(answer.get("usage"))


def _usage(found: object) -> Usage | None:
    if not isinstance(found, dict):
        return None
    tokens = as_count(found.get("total_tokens", found.get("prompt_tokens")))
    return None if tokens is None else Usage(input_tokens=tokens, output_tokens=0)
