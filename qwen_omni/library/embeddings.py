"""Texts → vectors: by a model of the service, or by an embedding of LangChain or LlamaIndex.

The service's route takes a few texts at a time. Every request is estimated, reserved against the spend limit, recorded
in the ledger with the usage that the service reports, and waits for its turn like any other. Source: Model Studio,
OpenAI compatible - Embedding, read 2026-11-29.
"""

import asyncio
import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from qwen_omni.errors import APIConnectionError, ConfigurationError
from qwen_omni.pricing.costs import Cost, Pricing, TokenCounts, count_text, is_exact, own_pricing
from qwen_omni.profiles.embedding import DEFAULT_EMBEDDING_MODEL, EmbeddingProfile, embedding_profile
from qwen_omni.responses import Usage
from qwen_omni.settings import Settings, region_of
from qwen_omni.transport.api import arun, run
from qwen_omni.transport.flow import BytesContent, Flow, Request, ask, repeating
from qwen_omni.transport.rate_limit import Pace, in_turn, limiter_of
from qwen_omni.transport.retry import RetryPolicy
from qwen_omni.wire.embeddings import Vectors, decode_vectors, encode_texts
from qwen_omni.wire.errors import to_error

_OK = 200
_MOST_BYTES = 64 * 2**20  # of an answer: ten vectors of 2,048 numbers are under 1 MB
_CHARACTERS_PER_TOKEN = 8  # no text has more for long, so what is far beyond the limit is cut before it is counted
_LONG_TEXTS = (
    "Texts longer than the {most:,} tokens that {model} takes: {count}. Their beginning is embedded; make shorter "
    "passages."
)
_LONG_QUESTION = (
    "The question is longer than the {most:,} tokens that {model} takes: only its beginning is embedded. Shorten it."
)
_ROOM = 0.6  # share of the limit that a text is cut to: what is counted here may be a third too low


@runtime_checkable
class Embedding(Protocol):
    """Converts texts to vectors; texts of similar meaning are close to each other.

    Attributes:
        name: identifies the model and who serves it; vectors of different names are never compared.
    """

    @property
    def name(self) -> str:
        """The name."""

    def embed_documents(self, texts: Sequence[str]) -> Vectors:
        """Return a vector for each text."""

    def embed_query(self, text: str) -> list[float]:
        """Return the vector of a question."""

    async def aembed_query(self, text: str) -> list[float]:
        """Return the vector of a question; the asynchronous `embed_query`."""


# --- The service's models ---


def shortened(text: str, most_tokens: int) -> str:
    """Return a text, truncated to what a model accepts.

    Example:
        >>> shortened("one two three four", 8192), len(shortened("word " * 20_000, 8192)) < 100_000
        ('one two three four', True)
    """
    if len(text) <= most_tokens // 2 or count_text(text, "qwen2") <= most_tokens * (1 if is_exact() else _ROOM):
        return text
    most = max(1, int(most_tokens * _ROOM))
    text = text[: most * _CHARACTERS_PER_TOKEN]
    while (tokens := count_text(text, "qwen2")) > most:
        text = text[: int(len(text) * most / tokens * 0.98)]
    return text


@dataclass(frozen=True, slots=True, kw_only=True)
class _Job:
    """Everything that one run of requests has in common."""

    profile: EmbeddingProfile
    dimensions: int | None
    settings: Settings
    pricing: Pricing

    def flow(self, texts: Sequence[str]) -> Flow[Vectors]:
        """Embed all texts, a few in each request."""
        vectors: Vectors = []
        for at in range(0, len(texts), self.profile.most_texts):
            vectors += yield from self._billed(texts[at : at + self.profile.most_texts])
        return vectors

    def cost(self, texts: Sequence[str]) -> Cost:
        """Return the cost of embedding texts."""
        return self.pricing.cost(TokenCounts(text=sum(count_text(text, "qwen2") for text in texts)))

    def _billed(self, texts: Sequence[str]) -> Flow[Vectors]:
        """Send one request within the spend limit, and record what it cost."""
        limit, cost = self.settings.spend_limit, self.cost(texts)
        held = None if limit is None else limit.reserve(cost)
        try:
            vectors, used = yield from self._sent(texts, cost.tokens)
        except BaseException as error:
            lost = isinstance(error, APIConnectionError) and error.sent  # the service may have answered, and billed
            if held is not None:
                held.settle(cost) if lost else held.release()
            if lost:
                self._record(Usage(input_tokens=cost.tokens, output_tokens=0), cost.tokens, cut=True)
            raise
        used = used or Usage(input_tokens=cost.tokens, output_tokens=0)
        if held is not None:
            held.settle(self.pricing.cost(used))
        self._record(used, cost.tokens)
        return vectors

    def _record(self, used: Usage, estimated: int, *, cut: bool = False) -> None:
        if self.settings.ledger is not None:
            self.settings.ledger.record(
                used, model=self.profile.name, pricing=self.pricing, estimated=estimated, cut=cut
            )

    def _sent(self, texts: Sequence[str], tokens: int) -> Flow[tuple[Vectors, Usage | None]]:
        settings, model = self.settings, self.profile.name
        limits = settings.rate_limits(model)
        pace = None if limits is None else Pace(limiter_of(settings, model), limits, tokens)
        body = BytesContent(encode_texts(texts, self.profile, self.dimensions))

        def attempt() -> Flow[tuple[Vectors, Usage | None]]:
            yield from in_turn(pace)
            request = Request(
                method="POST", url=f"{settings.base_url}/embeddings", headers={"Content-Type": "application/json"},
                content=body, with_key=True, most_bytes=_MOST_BYTES,
            )  # fmt: skip
            reply = yield from ask(request)
            if reply.status != _OK:
                raise to_error(reply.status, reply.body, reply.headers, url=reply.url)
            return decode_vectors(reply.body, len(texts))

        retry = RetryPolicy(max_retries=settings.max_retries, first_wait=settings.retry_wait)
        found = yield from repeating(attempt, retry)
        if pace is not None:
            pace.end(None if found[1] is None else found[1].input_tokens)
        return found


class TextEmbedding:
    """A text embedding model of the service, over the OpenAI-compatible route.

    Has the methods of a LangChain embedding, so that other stores can use it, too.

    Args:
        model: the model.
        dimensions: the length of a vector; the model's usual one if not given.
        settings: settings of the service; read from the environment at the first request, if not given.

    Raises:
        ConfigurationError: the model has no vectors of that length.

    Example:
        from qwen_omni.library.embeddings import TextEmbedding

        vector = TextEmbedding().embed_query("Where does the train arrive?")
    """

    def __init__(
        self,
        model: str = DEFAULT_EMBEDDING_MODEL,
        *,
        dimensions: int | None = None,
        settings: Settings | None = None,
    ) -> None:
        self._profile, self._given = embedding_profile(model), settings
        known = self._profile.dimensions
        if dimensions is not None and (isinstance(dimensions, bool) or dimensions < 1):
            raise ConfigurationError(f"dimensions must be a whole number of at least 1, got {dimensions!r}.")
        if dimensions is not None and known and dimensions not in known:
            raise ConfigurationError(
                f"{model} has no vectors of {dimensions:,} dimensions; choose one of {', '.join(map(str, known))}."
            )
        self._dimensions = dimensions or self._profile.usual_dimensions

    @property
    def name(self) -> str:
        """The model, the length of its vectors, and who answers."""
        size = "" if self._dimensions is None else f" {self._dimensions}"
        return f"{self._profile.name}{size} {self._settings().origin}"

    def estimate(self, texts: Sequence[str]) -> Cost:
        """Return what the embeddings of texts will cost. Sends nothing."""
        return self._job(needs_key=False).cost([shortened(text, self._profile.most_tokens) for text in texts])

    def embed_documents(self, texts: Sequence[str]) -> Vectors:
        """Return a vector for each text; one beyond the model's limit is embedded by its beginning, with a warning.

        Raises:
            SpendLimitError: the next request would exceed the spend limit.
            APIError: the service refused.
        """
        return run(*self._work(texts))

    def embed_query(self, text: str) -> list[float]:
        """Return the vector of a question; raises as `embed_documents`."""
        return run(*self._work([text], _LONG_QUESTION))[0]

    async def aembed_documents(self, texts: Sequence[str]) -> Vectors:
        """Return a vector for each text; the asynchronous `embed_documents`."""
        return await arun(*self._work(texts))

    async def aembed_query(self, text: str) -> list[float]:
        """Return the vector of a question; the asynchronous `embed_query`."""
        return (await arun(*self._work([text], _LONG_QUESTION)))[0]

    def _settings(self, *, needs_key: bool = False) -> Settings:
        return self._given or Settings.load(needs_key=needs_key)

    def _job(self, *, needs_key: bool = True) -> _Job:
        settings = self._settings(needs_key=needs_key)
        pricing = _pricing(self._profile, settings)
        return _Job(profile=self._profile, dimensions=self._dimensions, settings=settings, pricing=pricing)

    def _work(self, texts: Sequence[str], warning: str = _LONG_TEXTS) -> tuple[Flow[Vectors], Settings]:
        """Return the requests for texts, cut to what the model takes with a warning, and how it is reached."""
        job = self._job()
        kept = [shortened(text or " ", self._profile.most_tokens) for text in texts]
        cut = sum(len(short) < len(text) for short, text in zip(kept, texts, strict=True))
        if cut:
            text = warning.format(count=cut, most=self._profile.most_tokens, model=self._profile.name)
            warnings.warn(text, UserWarning, stacklevel=3)
        return job.flow(kept), job.settings


def _pricing(profile: EmbeddingProfile, settings: Settings) -> Pricing:
    own = own_pricing(profile.name, prices=settings.prices, rate=settings.exchange_rate)
    if own.prices:
        return own
    region = region_of(settings.base_url) or "cn"
    hosted = settings.server_of(profile.name).dialect == "dashscope"
    price = profile.prices.get(region) if hosted else None
    return Pricing(
        model=profile.name,
        prices=() if price is None else (price,),
        rate=settings.exchange_rate,
        region=region if hosted else None,
    )


# --- Embeddings of the frameworks ---


@dataclass(frozen=True, slots=True)
class _Foreign:
    """An embedding of LangChain or LlamaIndex."""

    model: Any
    documents: str
    query: str

    @property
    def name(self) -> str:
        kind = type(self.model)
        about = next(
            (str(found) for at in ("model_name", "model", "model_id") if (found := getattr(self.model, at, None))), ""
        )
        return f"{kind.__module__.partition('.')[0]}.{kind.__qualname__} {about}".strip()

    def embed_documents(self, texts: Sequence[str]) -> Vectors:
        return _plain(getattr(self.model, self.documents)(list(texts)), len(texts), self.name)

    def embed_query(self, text: str) -> list[float]:
        return _plain([getattr(self.model, self.query)(text)], 1, self.name)[0]

    async def aembed_documents(self, texts: Sequence[str]) -> Vectors:
        method = getattr(self.model, f"a{self.documents}", None)
        if method is None:
            return await asyncio.to_thread(self.embed_documents, texts)
        return _plain(await method(list(texts)), len(texts), self.name)

    async def aembed_query(self, text: str) -> list[float]:
        method = getattr(self.model, f"a{self.query}", None)
        if method is None:
            return await asyncio.to_thread(self.embed_query, text)
        return _plain([await method(text)], 1, self.name)[0]


def _plain(found: Any, count: int, name: str) -> Vectors:  # noqa: ANN401  (lists or arrays of another library)
    vectors = [[float(number) for number in vector] for vector in found]
    if len(vectors) != count or len({len(vector) for vector in vectors}) > 1:
        raise ConfigurationError(
            f"{name} returned {len(vectors):,} vectors for {count:,} texts, or of several lengths."
        )
    if not all(vector and all(map(math.isfinite, vector)) for vector in vectors):
        raise ConfigurationError(f"{name} returned a vector that is empty, or has numbers that are not finite.")
    return vectors


_METHODS = (("embed_documents", "embed_query"), ("get_text_embedding_batch", "get_query_embedding"))


async def aembedded(embedding: Embedding, texts: Sequence[str]) -> Vectors:
    """Return a vector for each text, in a thread if the embedding has no asynchronous method for several."""
    method = getattr(embedding, "aembed_documents", None)
    if method is None:
        return await asyncio.to_thread(embedding.embed_documents, texts)
    found: Vectors = await method(texts)
    return found


def as_embedding(given: object, settings: Settings | None = None) -> Embedding:
    """Return an embedding from what a caller passed.

    Args:
        given: an `Embedding`, one of LangChain or LlamaIndex, the name of a model of the service, or `None` for the
            default model.
        settings: settings of the service.

    Raises:
        ConfigurationError: it is something else.

    Example:
        >>> as_embedding("text-embedding-v3")._profile.most_texts
        10
    """
    match given:
        case None:
            return TextEmbedding(settings=settings)
        case str():
            return TextEmbedding(given, settings=settings)
        case TextEmbedding() | _Foreign():
            return given
    if isinstance(given, Embedding) and isinstance(given.name, str):
        return given
    for documents, query in _METHODS:
        if callable(getattr(given, documents, None)) and callable(getattr(given, query, None)):
            return _Foreign(given, documents, query)
    raise ConfigurationError(
        f"Expected an embedding of LangChain or LlamaIndex, or a model's name, got {type(given).__name__}."
    )
