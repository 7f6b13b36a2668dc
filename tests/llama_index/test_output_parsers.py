"""Captions through LlamaIndex: the parser."""

from typing import TypedDict

import pytest

from llama_index_qwen_omni import TimedCaptions, VideoCaption
from qwen_omni.errors import CaptionSyntaxError, ConfigurationError

GOOD = (
    '{"scene_description": "A hand opens a tent.", "key_product_features": ["light", "quick"],'
    ' "target_audience": "campers", "recommended_music_style": "folk"}'
)


class Tent(TypedDict):
    """What is sold."""

    colour: str


@pytest.fixture
def types():
    """LlamaIndex's message types; imported here, so that this module loads without it."""
    from llama_index.core.base.llms import types  # noqa: PLC0415

    return types


@pytest.fixture
def parser_class():
    """The parser's class, loaded on first use."""
    from llama_index_qwen_omni import CaptionOutputParser  # noqa: PLC0415

    return CaptionOutputParser


def test_parse(parser_class) -> None:
    """A fenced answer with a loose comma becomes an instance; other schemas become dictionaries."""
    assert parser_class().parse(f"Sure:\n```json\n{GOOD[:-1]},}}\n```") == VideoCaption.model_validate_json(GOOD)
    assert parser_class(Tent).parse("{'colour': 'red'}") == {"colour": "red"}


def test_parse_is_a_parser_of_theirs(parser_class) -> None:
    """LlamaIndex takes it wherever it takes a parser, and a prompt uses it."""
    from llama_index.core.prompts import PromptTemplate  # noqa: PLC0415
    from llama_index.core.types import BaseOutputParser  # noqa: PLC0415

    parser = parser_class()
    assert isinstance(parser, BaseOutputParser)
    told = PromptTemplate("Describe {what}.", output_parser=parser).format(what="the tent")
    assert told.startswith("Describe the tent.\n\n")
    assert "scene_description" in told


def test_errors(parser_class) -> None:
    """No JSON, or a missing field, raises with the text kept; what is no schema is refused at once."""
    with pytest.raises(CaptionSyntaxError, match="no JSON"):
        parser_class().parse("I cannot see a tent.")
    with pytest.raises(CaptionSyntaxError) as caught:
        parser_class().parse(GOOD.replace("target_audience", "audience"))
    assert "target_audience" in str(caught.value)
    with pytest.raises(ConfigurationError):
        parser_class(int)


def test_duration(parser_class) -> None:
    """With `duration=` times behind the end of the video are cut."""
    timed = parser_class(TimedCaptions, duration=5).parse('[{"start": 4, "end": 7, "text": "x"}]')
    assert timed.captions[0].end == 5


def test_format(parser_class) -> None:
    """The question stands first, the schema and the language behind it."""
    told = parser_class(VideoCaption, language="German").format("What is sold?")
    assert told.startswith("What is sold?\n\n")
    assert all(name in told for name in VideoCaption.model_fields)
    assert "German" in told
    assert "json" in told.lower()


def test_format_messages(parser_class, types) -> None:
    """The system message is told if there is one, else the last; media stay, and what was given is not changed."""
    video = types.VideoBlock(url="https://example.com/a.mp4")
    asked = types.ChatMessage(role="user", blocks=[types.TextBlock(text="What?"), video])
    told = parser_class().format_messages([asked])
    assert [type(block).__name__ for block in told[0].blocks] == ["TextBlock", "VideoBlock"]
    assert told[0].blocks[0].text.startswith("What?\n\n")
    assert asked.blocks[0].text == "What?"
    rules = types.ChatMessage(role="system", content="Be brief.")
    told = parser_class().format_messages([rules, asked])
    assert "scene_description" in told[0].blocks[0].text
    assert told[1] == asked
    silent = types.ChatMessage(role="user", blocks=[video])
    assert "scene_description" in parser_class().format_messages([silent])[0].blocks[-1].text
    assert parser_class().format_messages([]) == []
