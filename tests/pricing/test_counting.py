"""Tokens of a conversation that nobody opens."""

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
from qwen_omni.pricing.costs import (
    ASSUMED_SECONDS,
    PER_ANSWER,
    PER_MESSAGE,
    count_messages,
    count_part,
    count_text,
    count_tools,
    count_words,
)
from qwen_omni.profiles import profile_for

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
