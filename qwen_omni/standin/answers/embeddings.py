"""The stand-in's embeddings: the documented route and its rules, and vectors that are near for texts that are alike.

A vector is a sum of directions, one for each word and, with less weight, for each group of three letters in it, so that
forms of a word share most of theirs; CJK text has one for each character and each pair. Frequent words of English count
little. This is no model of meaning: synonyms are as far apart as any other words. Source of the rules: Model Studio,
OpenAI compatible - Embedding, read 2026-11-29.
"""

from __future__ import annotations

import hashlib
import math
import re
import uuid
from typing import TYPE_CHECKING, Any

from qwen_omni.standin.rules.refusal import algo, invalid, unknown_model
from qwen_omni.standin.rules.tokens import text_tokens

if TYPE_CHECKING:
    from collections.abc import Iterator

EMBEDDINGS_PATH = "/compatible-mode/v1/embeddings"
_V3 = (1024, 768, 512, 256, 128, 64)
_SIZES: dict[str, tuple[int, ...]] = {"text-embedding-v4": (2048, 1536, *_V3), "text-embedding-v3": _V3}
_USUAL_SIZE = 1024
_MOST_TEXTS = 10
_MOST_TOKENS = 8_192
_WORD = re.compile(r"[^\W_]+")
_CJK = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]")
_FREQUENT_WORDS = (
    "a an and are as at be by did do does for from has have he her his how i in is it its of on or she that the their "
    "they this to was we were what when where which who why will with you"
)
_FREQUENT = frozenset(_FREQUENT_WORDS.split())
_FREQUENT_WEIGHT, _LETTERS_WEIGHT = 0.1, 0.3
_GROUP = 3
_DIRECTIONS = 4  # numbers of a vector that one feature changes


def answer_embeddings(body: dict[str, Any]) -> dict[str, Any]:
    """Check a request and answer it.

    Raises:
        Refusal: a rule of the service is broken.
    """
    sizes = _SIZES.get(str(body.get("model")))
    if sizes is None:
        raise unknown_model(str(body.get("model")))
    size = body.get("dimensions", _USUAL_SIZE)
    if size not in sizes:
        raise algo(f"The parameter `dimensions` is invalid: {size!r}; it must be one of {list(sizes)}.")
    if body.get("encoding_format", "float") != "float":
        raise invalid("encoding_format must be float")
    texts = _texts(body.get("input"))
    tokens = [text_tokens(text) for text in texts]
    if max(tokens) > _MOST_TOKENS:
        raise algo(f"Range of input length should be [1, {_MOST_TOKENS}]")
    data = [{"object": "embedding", "index": at, "embedding": embed(text, size)} for at, text in enumerate(texts)]
    total = sum(tokens)
    return {
        "object": "list", "data": data, "model": body["model"], "id": str(uuid.uuid4()),
        "usage": {"prompt_tokens": total, "total_tokens": total},
    }  # fmt: skip


def _texts(given: object) -> list[str]:
    texts = [given] if isinstance(given, str) else given
    if not isinstance(texts, list) or not texts or not all(isinstance(text, str) and text for text in texts):
        raise algo("Value error, contents is neither str nor list of str.: input.contents")
    if len(texts) > _MOST_TEXTS:
        raise algo(f"batch size is invalid, it should not be larger than {_MOST_TEXTS}.: input.contents")
    return texts


def embed(text: str, size: int = _USUAL_SIZE) -> list[float]:
    """Return the vector of a text, of length 1.

    Example:
        >>> near = lambda a, b: sum(x * y for x, y in zip(embed(a), embed(b)))
        >>> near("a red train arrives", "the train arriving") > near("a red train arrives", "a dog barks")
        True
    """
    vector = [0.0] * size
    for feature, weight in _features(text.lower()):
        drawn = hashlib.sha256(feature.encode("utf-8", "replace")).digest()
        for at in range(_DIRECTIONS):
            piece = int.from_bytes(drawn[4 * at : 4 * at + 4], "big")
            vector[piece % size] += weight if piece & 2**31 else -weight
    length = math.sqrt(sum(number * number for number in vector))
    return [round(number / length, 7) for number in vector] if length else [1.0] + [0.0] * (size - 1)


def _features(text: str) -> Iterator[tuple[str, float]]:
    for word in _WORD.findall(text):
        if _CJK.search(word):
            yield from ((letter, 0.5) for letter in word)
            yield from ((word[at : at + 2], 1.0) for at in range(len(word) - 1))
            continue
        weight = _FREQUENT_WEIGHT if word in _FREQUENT else 1.0
        yield word, weight
        padded = f"<{word}>"
        for at in range(len(padded) - _GROUP + 1):
            yield f"#{padded[at : at + _GROUP]}", weight * _LETTERS_WEIGHT
