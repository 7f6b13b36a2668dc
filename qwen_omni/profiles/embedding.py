"""Models that turn text into vectors: sizes, limits and prices. Facts, each with its source."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from qwen_omni.profiles.profile import Prices, Region

_PAGE = "Model Studio, Text embedding (synchronous API), last updated 2026-03-24, read 2026-11-29"

DEFAULT_EMBEDDING_MODEL = "text-embedding-v4"
"""Offered in Beijing, Singapore and Hong Kong."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddingProfile:
    """What one embedding model can do.

    Attributes:
        name: the model's name.
        dimensions: lengths of a vector that can be asked for; empty if they are not known.
        usual_dimensions: the length without a request for one; `None` if it is not known.
        most_texts: texts of one request.
        most_tokens: tokens of one text.
        prices: by region; input alone is billed.
        source: where this was read, and when.
    """

    name: str
    dimensions: tuple[int, ...] = ()
    usual_dimensions: int | None = None
    most_texts: int = 10
    most_tokens: int = 8_192
    prices: Mapping[Region, Prices] = field(default_factory=dict)
    source: str = ""


def _price(cny: float | None = None, usd: float | None = None) -> Prices:
    if cny is not None:
        return Prices(currency="CNY", text_in=cny, text_out=0, batch=0.5, source=_PAGE)
    return Prices(currency="USD", text_in=usd or 0, text_out=0, source=_PAGE)


EMBEDDINGS: dict[str, EmbeddingProfile] = {
    profile.name: profile
    for profile in (
        EmbeddingProfile(
            name="text-embedding-v4", dimensions=(2048, 1536, 1024, 768, 512, 256, 128, 64), usual_dimensions=1024,
            prices={"cn": _price(0.5), "intl": _price(usd=0.07), "hk": _price(usd=0.07)}, source=_PAGE,
        ),
        EmbeddingProfile(
            name="text-embedding-v3", dimensions=(1024, 768, 512, 256, 128, 64), usual_dimensions=1024,
            prices={"cn": _price(0.5), "intl": _price(usd=0.07)}, source=_PAGE,
        ),
    )
}  # fmt: skip
_LATER = re.compile(r"text-embedding-v\d+")


def embedding_profile(model: str) -> EmbeddingProfile:
    """Return the profile of an embedding model; an unknown one has the limits of the newest, and no known price.

    Example:
        >>> embedding_profile("text-embedding-v4").usual_dimensions, embedding_profile("bge-m3").dimensions
        (1024, ())
    """
    known = EMBEDDINGS.get(model)
    if known is not None:
        return known
    newest = EMBEDDINGS[DEFAULT_EMBEDDING_MODEL]
    if _LATER.fullmatch(model):
        return replace(newest, name=model, dimensions=(), usual_dimensions=None, prices={})
    return EmbeddingProfile(name=model, most_texts=newest.most_texts, most_tokens=newest.most_tokens)
