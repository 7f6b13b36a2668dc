"""Embeddings: what is sent, what comes back, what it costs, and those of the frameworks."""
# ruff: noqa: D101, D102  (the frameworks' own methods)

import asyncio
import json
from dataclasses import replace

import pytest
from hypothesis import given, settings as profile, strategies as st

from qwen_omni import (
    APIConnectionError,
    ConfigurationError,
    NotFoundError,
    RateLimits,
    ServerError,
    Settings,
    SpendLimit,
    SpendLimitError,
    TextEmbedding,
)
from qwen_omni.library.embeddings import as_embedding, shortened
from qwen_omni.pricing.costs import count_text, is_exact
from qwen_omni.profiles.embedding import EMBEDDINGS, embedding_profile
from qwen_omni.standin import Fault
from qwen_omni.wire.embeddings import decode_vectors
from tests.support.memory_store import cosine


def bodies(standin):
    return [request.body for request in standin.requests]


def test_texts_go_ten_at_a_time_and_vectors_come_back_in_order(standin, settings):
    texts = [f"number {n}" for n in range(23)]
    together = TextEmbedding(settings=settings).embed_documents(texts)
    assert [len(body["input"]) for body in bodies(standin)] == [10, 10, 3]
    assert bodies(standin)[0] == {
        "model": "text-embedding-v4", "input": texts[:10], "encoding_format": "float", "dimensions": 1024
    }  # fmt: skip
    alone = TextEmbedding(settings=settings).embed_query(texts[17])
    assert together[17] == alone
    assert len({tuple(vector) for vector in together}) == 23


def test_asyncio_gives_the_same(settings):
    made = TextEmbedding(settings=settings, dimensions=64)
    assert asyncio.run(made.aembed_query("a red train")) == made.embed_query("a red train")
    assert len(made.embed_query("a red train")) == 64


def test_texts_that_are_alike_are_near(settings):
    red, arrives, dog = TextEmbedding(settings=settings).embed_documents(
        ["A red train arrives at the station.", "The train is arriving, and it is red.", "A dog barks in the garden."]
    )
    assert cosine(red, arrives) > cosine(red, dog) + 0.2


def test_what_it_costs_is_estimated_reserved_and_recorded(standin, settings):
    limit = SpendLimit(cny=1)
    made = TextEmbedding(settings=replace(settings, spend_limit=limit))
    texts = [f"The {n}th sentence about trains, stations and dogs." for n in range(12)]
    estimate = made.estimate(texts)
    assert not standin.requests
    made.embed_documents(texts)
    entry = settings.ledger.models["text-embedding-v4"]
    assert (entry.calls, entry.tokens.output, entry.unpriced) == (2, 0, 0)
    assert entry.cny == pytest.approx(entry.tokens.input * 0.5e-6)
    assert entry.ratio == pytest.approx(estimate.tokens / entry.tokens.input)
    assert limit.spent.cny == pytest.approx(entry.cny)
    assert limit.reserved.tokens == 0


@pytest.mark.parametrize("region", sorted(EMBEDDINGS["text-embedding-v4"].prices))
def test_every_price_has_a_source_and_a_date(region):
    assert "2026" in EMBEDDINGS["text-embedding-v4"].prices[region].source


def test_a_limit_refuses_before_anything_is_sent(standin, settings):
    limit = SpendLimit(tokens=3)
    made = TextEmbedding(settings=replace(settings, spend_limit=limit))
    with pytest.raises(SpendLimitError):
        made.embed_documents(["more words than the limit has tokens for"])
    assert not standin.requests
    assert limit.reserved.tokens == 0


def test_transient_faults_are_retried_and_billed_once(standin, settings):
    standin.script.fault(Fault.rate_limit())
    standin.script.fault(Fault.server_error())
    TextEmbedding(settings=settings).embed_query("again")
    assert len(standin.requests) == 3
    assert settings.ledger.total.calls == 1


def test_an_answer_that_is_lost_for_good_counts_as_billed(standin, settings):
    limit = SpendLimit(cny=1)
    for _ in range(4):
        standin.script.fault(Fault.cut())
    with pytest.raises(APIConnectionError):
        TextEmbedding(settings=replace(settings, spend_limit=limit)).embed_query("lost on the way")
    assert settings.ledger.total.cut == 1
    assert limit.spent.tokens > 0
    assert limit.reserved.tokens == 0


def test_a_refusal_costs_nothing(settings):
    limit = SpendLimit(tokens=1_000)
    with pytest.raises(NotFoundError):
        TextEmbedding("text-embedding-v9", settings=replace(settings, spend_limit=limit)).embed_query("not offered")
    assert limit.spent.tokens == limit.reserved.tokens == settings.ledger.total.calls == 0


def test_money_cannot_be_limited_without_a_price(standin, settings):
    standing = replace(settings, spend_limit=SpendLimit(cny=1))
    with pytest.raises(ConfigurationError, match="price of bge-m3"):
        TextEmbedding("bge-m3", settings=standing).embed_query("no known price")
    assert not standin.requests


def test_it_waits_for_its_turn(standin, settings):
    """A limit of the caller's applies: the second request would exceed the tokens of the minute."""
    from qwen_omni.transport import rate_limit  # noqa: PLC0415

    given = replace(settings, limits={"text-embedding-v4": RateLimits(rpm=6_000, tpm=1_000_000)})
    TextEmbedding(settings=given).embed_documents([f"text {n}" for n in range(20)])
    limiter = rate_limit.limiter_of(given, "text-embedding-v4")
    assert len(limiter._sent) == 2
    assert sum(turn.tokens for turn in limiter._sent) == settings.ledger.total.tokens.input


@pytest.mark.parametrize(
    "answer",
    [
        b"", b"{}", b"null", b'{"data": []}', b'{"data": [{"index": 0}]}',
        b'{"data": [{"index": 1, "embedding": [1]}]}',
        b'{"data": [{"index": 0, "embedding": []}]}', b'{"data": [{"index": 0, "embedding": ["x"]}]}',
        b'{"data": [{"index": 0, "embedding": [1]}, {"index": 1, "embedding": [1]}]}',
        b'{"data": [{"index": 0, "embedding": [1e999]}]}', b'{"data": [{"index": 0, "embedding": null}]}',
    ],
)  # fmt: skip
def test_an_answer_that_does_not_fit_is_an_error_of_the_server(answer):
    with pytest.raises(ServerError):
        decode_vectors(answer, 1)


@given(st.permutations(range(5)), st.integers(0, 10**6))
def test_vectors_are_sorted_by_their_index(order, tokens):
    data = [{"index": n, "embedding": [n, 1.5]} for n in order]
    vectors, usage = decode_vectors(json.dumps({"data": data, "usage": {"total_tokens": tokens}}).encode(), 5)
    assert vectors == [[float(n), 1.5] for n in range(5)]
    assert usage.input_tokens == tokens


@profile(max_examples=20)
@given(st.text(max_size=300), st.integers(8, 40))
def test_a_text_is_cut_to_the_limit_and_no_further_than_needed(text, most):
    kept = shortened(text, most)
    assert text.startswith(kept)
    assert len(kept) <= most // 2 or count_text(kept, "qwen2") <= most
    if count_text(text, "qwen2") <= most:  # the vocabularies are installed here
        assert kept == text or not is_exact()


def test_a_long_text_is_embedded_by_its_beginning_with_a_warning(standin, settings):
    with pytest.warns(UserWarning, match="longer than the 8,192 tokens that text-embedding-v4 takes: 1"):
        TextEmbedding(settings=settings).embed_documents(["short", "word " * 20_000])
    assert standin.requests[0].refused is None


def test_wrong_choices_are_refused_before_anything_is_sent():
    with pytest.raises(ConfigurationError, match="no vectors of 100 dimensions; choose one of 2048, 1536, 1024"):
        TextEmbedding(dimensions=100)
    with pytest.raises(ConfigurationError, match="at least 1, got 0"):
        TextEmbedding("bge-m3", dimensions=0)
    with pytest.raises(ConfigurationError, match="Expected an embedding of LangChain or LlamaIndex"):
        as_embedding(42)


def test_unknown_models_have_no_price_and_no_sizes():
    assert embedding_profile("text-embedding-v9").prices == {}
    assert embedding_profile("bge-m3").dimensions == ()


def test_the_name_says_who_answers(settings):
    """Vectors of one service are never compared with those of another."""
    here = TextEmbedding(settings=settings).name
    vendor = Settings.load(api_key="sk-x", base_url="https://dashscope.aliyuncs.com/compatible-mode/v1")
    there = TextEmbedding(settings=vendor).name
    assert here != there
    assert here.startswith("text-embedding-v4 1024 ")


class LikeLangChain:
    model_name = "mini"

    def embed_documents(self, texts):
        return [[float(len(text)), 1.0] for text in texts]

    def embed_query(self, text):
        return self.embed_documents([text])[0]


class LikeLlamaIndex:
    model_name = "mini"

    def get_text_embedding_batch(self, texts):
        return [(float(len(text)), 1.0) for text in texts]

    def get_query_embedding(self, text):
        return self.get_text_embedding_batch([text])[0]

    async def aget_query_embedding(self, text):
        return self.get_query_embedding(text)


@pytest.mark.parametrize("theirs", [LikeLangChain, LikeLlamaIndex])
def test_embeddings_of_the_frameworks(theirs):
    made = as_embedding(theirs())
    assert made.embed_documents(["a", "bb"]) == [[1.0, 1.0], [2.0, 1.0]]
    assert made.embed_query("ccc") == asyncio.run(made.aembed_query("ccc")) == [3.0, 1.0]
    assert theirs.__name__ in made.name
    assert made.name.endswith("mini")
    assert as_embedding(made) is made


class Own:
    """Has the methods of `Embedding`, and says itself what it is."""

    name = "own model 7"

    def embed_documents(self, texts):
        return [[float(len(text)), 1.0] for text in texts]

    def embed_query(self, text):
        return self.embed_documents([text])[0]

    async def aembed_query(self, text):
        return self.embed_query(text)


def test_an_embedding_with_a_name_keeps_it():
    """The name decides which vectors are compared, so two models of one class do not mix."""
    own = Own()
    assert as_embedding(own) is own
    assert as_embedding(own).name == "own model 7"


def test_an_embedding_that_loses_texts_is_named():
    class Loses(LikeLangChain):
        def embed_documents(self, texts):
            return super().embed_documents(texts[1:])

    with pytest.raises(ConfigurationError, match=r"Loses mini returned 1 vectors for 2 texts"):
        as_embedding(Loses()).embed_documents(["a", "b"])
