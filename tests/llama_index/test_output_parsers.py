"""Captions through LlamaIndex: the parser."""

from typing import TypedDict

import pytest

pytest.importorskip("llama_index.core")

from llama_index.core.base.llms.types import ChatMessage, ChatResponse, TextBlock, VideoBlock
from llama_index.core.prompts import PromptTemplate
from llama_index.core.types import BaseOutputParser

from llama_index_qwen_omni import CaptionOutputParser, QwenOmni, TimedCaptions, VideoCaption
from qwen_omni import TruncatedAnswerWarning
from qwen_omni.errors import CaptionSyntaxError, ConfigurationError, TruncatedAnswerError
from qwen_omni.standin import Standin, Turn

GOOD = (
    '{"scene_description": "A hand opens a tent.", "key_product_features": ["light", "quick"],'
    ' "target_audience": "campers", "recommended_music_style": "folk"}'
)
CUT = '{"colour": "red", "size": "la'


class Tent(TypedDict):
    """What is sold."""

    colour: str


class Sized(Tent):
    """What is sold, and how large."""

    size: str


def test_parse() -> None:
    """A fenced answer with a loose comma becomes an instance; other schemas become dictionaries."""
    fenced = f"Sure:\n```json\n{GOOD[:-1]},}}\n```"
    assert CaptionOutputParser().parse(fenced) == VideoCaption.model_validate_json(GOOD)
    assert CaptionOutputParser(Tent).parse("{'colour': 'red'}") == {"colour": "red"}


def test_parse_is_a_parser_of_theirs() -> None:
    """LlamaIndex takes it wherever it takes a parser, and a prompt uses it."""
    parser = CaptionOutputParser()
    assert isinstance(parser, BaseOutputParser)
    told = PromptTemplate("Describe {what}.", output_parser=parser).format(what="the tent")
    assert told.startswith("Describe the tent.\n\n")
    assert "scene_description" in told


def test_errors() -> None:
    """No JSON, or a missing field, raises with the text kept; what is no schema is refused at once."""
    with pytest.raises(CaptionSyntaxError, match="no JSON"):
        CaptionOutputParser().parse("I cannot see a tent.")
    with pytest.raises(CaptionSyntaxError, match="target_audience"):
        CaptionOutputParser().parse(GOOD.replace("target_audience", "audience"))
    with pytest.raises(ConfigurationError):
        CaptionOutputParser(int)


def test_duration() -> None:
    """With `duration=` times behind the end of the video are cut."""
    timed = CaptionOutputParser(TimedCaptions, duration=5).parse('[{"start": 4, "end": 7, "text": "x"}]')
    assert timed.captions[0].end == 5


def test_format() -> None:
    """The question stands first, the schema and the language behind it."""
    told = CaptionOutputParser(VideoCaption, language="German").format("What is sold?")
    assert told.startswith("What is sold?\n\n")
    assert all(name in told for name in VideoCaption.model_fields)
    assert "German" in told
    assert "json" in told.lower()


def test_format_messages() -> None:
    """The system message is told if there is one, else the last; media stay, and what was given is not changed."""
    video = VideoBlock(url="https://example.com/a.mp4")
    asked = ChatMessage(role="user", blocks=[TextBlock(text="What?"), video])
    told = CaptionOutputParser().format_messages([asked])
    assert [type(block).__name__ for block in told[0].blocks] == ["TextBlock", "VideoBlock"]
    assert told[0].blocks[0].text.startswith("What?\n\n")
    assert asked.blocks[0].text == "What?"
    rules = ChatMessage(role="system", content="Be brief.")
    told = CaptionOutputParser().format_messages([rules, asked])
    assert "scene_description" in told[0].blocks[0].text
    assert told[1] == asked
    silent = ChatMessage(role="user", blocks=[video])
    assert "scene_description" in CaptionOutputParser().format_messages([silent])[0].blocks[-1].text
    assert CaptionOutputParser().format_messages([]) == []


def test_a_text_that_ends_too_early() -> None:
    """Of a text alone, it is the text that tells."""
    with pytest.raises(TruncatedAnswerError) as caught:
        CaptionOutputParser(Sized).parse(CUT)
    assert caught.value.reason == "incomplete"
    with pytest.warns(TruncatedAnswerWarning):
        assert CaptionOutputParser(Sized, allow_truncated=True).parse(CUT) == {"colour": "red", "size": "la"}


@pytest.mark.parametrize("finish", ["length", "content_filter"])
def test_why_a_response_ended(finish: str, llm: QwenOmni, standin: Standin) -> None:
    """A complete object of an answer that was cut may be a draft; its text alone does not show that."""
    whole = '{"colour": "red"}'
    standin.script.reply(Turn(text=whole, finish_reason=finish), times=2)
    parser = CaptionOutputParser(Tent)
    for response in (llm.complete("A tent, please."), llm.chat([ChatMessage(content="A tent, please.")])):
        with pytest.raises(TruncatedAnswerError) as caught:
            parser.parse(response)
        assert (caught.value.reason, len(caught.value.usages)) == (finish, 1)
    assert parser.parse(whole) == {"colour": "red"}
    with pytest.raises(CaptionSyntaxError, match="empty"):
        parser.parse(ChatResponse(message=ChatMessage(role="assistant", blocks=[])))
