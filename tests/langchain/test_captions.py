"""Captions through LangChain: the parser, the chain, `with_structured_output`."""

import copy
import itertools
import random
from pathlib import Path
from typing import Any

import pytest
from langchain_core.exceptions import LangChainException, OutputParserException
from langchain_core.language_models.fake_chat_models import FakeListChatModel, GenericFakeChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage
from langchain_core.outputs import ChatGeneration
from pydantic import BaseModel, Field, create_model

from langchain_qwen_omni import CaptionOutputParser, ChatQwenOmni, TimedCaptions, VideoCaption, caption_chain
from qwen_omni.errors import CaptionSyntaxError, ConfigurationError, MediaOutsideRootError
from qwen_omni.standin import Standin, ToolCall, Turn
from qwen_omni.standin.marked_media import TruthMedia, make_video

GOOD = (
    '{"scene_description": "A hand opens a tent.", "key_product_features": ["light", "quick"],'
    ' "target_audience": "campers", "recommended_music_style": "folk"}'
)
CAPTION = VideoCaption.model_validate_json(GOOD)


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> TruthMedia:
    return make_video(tmp_path_factory.mktemp("video") / "promo.mp4", seconds=3, size=(320, 180), fps=10)


@pytest.fixture
def llm(standin: Standin, video: TruthMedia) -> ChatQwenOmni:
    return ChatQwenOmni(api_key=standin.api_key, base_url=standin.base_url, media_root=video.path.parent, max_retries=0)


def test_parser_reads_text_and_messages() -> None:
    """`parse`, `invoke` of a text and `invoke` of a message give the same caption."""
    parser = CaptionOutputParser(schema=VideoCaption)
    fenced = f"Here you are:\n```json\n{GOOD}\n```"
    assert parser.parse(fenced) == parser.invoke(fenced) == parser.invoke(AIMessage(fenced)) == CAPTION
    assert parser.OutputType is VideoCaption


def test_format_instructions_hold_the_schema() -> None:
    """The instructions hold every field, its description, the word json and the language."""
    told = CaptionOutputParser(schema=VideoCaption, language="French").get_format_instructions()
    for name, field in VideoCaption.model_fields.items():
        assert name in told
        assert str(field.description) in told
    assert "json" in told.lower()
    assert "French" in told
    assert ">>>" not in told


def test_partial_result() -> None:
    """`parse_result(partial=True)` gives what is there, and `None` before anything is."""
    parser = CaptionOutputParser(schema=VideoCaption)

    def partial(text: str) -> Any:
        return parser.parse_result([ChatGeneration(message=AIMessage(text))], partial=True)

    assert partial("Let me") is None
    assert partial(GOOD[:45]) == {"scene_description": "A hand opens a tent."}
    assert parser.parse_result([ChatGeneration(message=AIMessage(GOOD))]) == CAPTION


def test_errors_are_of_both_families() -> None:
    """An answer that breaks the schema raises our error and LangChain's at once, with the text."""
    with pytest.raises(CaptionSyntaxError) as caught:
        CaptionOutputParser(schema=VideoCaption).parse('{"scene_description": "A"}')
    error: Any = caught.value
    assert isinstance(error, OutputParserException)
    assert (error.llm_output, error.kept, error.line) == ('{"scene_description": "A"}', {"scene_description": "A"}, 1)


async def test_transform_streams_partials() -> None:
    """Streaming gives dictionaries that grow, then the caption; sync and async alike, texts and chunks alike."""
    parser = CaptionOutputParser(schema=VideoCaption)
    pieces = [GOOD[at : at + 7] for at in range(0, len(GOOD), 7)]
    given = [copy.deepcopy(item) for item in parser.transform(iter(pieces))]
    assert given[-1] == CAPTION
    assert all(isinstance(item, dict) for item in given[:-1])
    assert len(given) > 10
    for before, after in itertools.pairwise(given[:-1]):
        assert list(after)[: len(before)] == list(before)

    async def chunks() -> Any:
        for piece in pieces:
            yield AIMessageChunk(piece)

    assert [item async for item in parser.atransform(chunks())] == given


def test_without_partials_only_the_caption_is_streamed() -> None:
    """`partials=False` gives one item, the validated caption."""
    parser = CaptionOutputParser(schema=VideoCaption, partials=False)
    assert list(parser.transform(iter([GOOD[:50], GOOD[50:]]))) == [CAPTION]


def test_timed_captions_know_the_duration() -> None:
    """With `duration=` times behind the end are cut."""
    parser = CaptionOutputParser(schema=TimedCaptions, duration=10)
    timed = parser.parse('[{"start": "0:08", "end": "0:14", "text": "x"}]')
    assert [(one.start, one.end) for one in timed.captions] == [(8, 10)]


def test_schema_that_is_none() -> None:
    """What is no schema is refused when it is first needed."""
    with pytest.raises(ConfigurationError, match="is not a schema"):
        CaptionOutputParser(schema=int).get_format_instructions()


def test_parser_behind_any_model() -> None:
    """`llm | parser` works with whatever text comes, whole and streamed."""
    chain = FakeListChatModel(responses=[f"Sure: {GOOD}"]) | CaptionOutputParser(schema=VideoCaption)
    assert chain.invoke("hi") == CAPTION
    streamed = GenericFakeChatModel(messages=iter([AIMessage(GOOD)])) | CaptionOutputParser(schema=VideoCaption)
    assert list(streamed.stream("hi"))[-1] == CAPTION


def made_schema() -> tuple[type[BaseModel], str]:
    """Draw the names of a schema that nobody could know before."""
    word = "".join(random.choices("abcdefghijklmnop", k=6))
    shot = create_model(f"Shot{word}", mark=(str, Field(description="the code shown")), start=(float, ...))
    return create_model(f"Film{word}", **{f"shots_{word}": (list[shot], ...)}), f"shots_{word}"  # type: ignore[valid-type,call-overload]


async def test_chain_with_a_schema_made_at_run_time(llm: ChatQwenOmni, video: TruthMedia, standin: Standin) -> None:
    """A path goes in, the codes of every second come out, in JSON mode and without thinking: `invoke` and `ainvoke`."""
    schema, field = made_schema()
    chain = caption_chain(llm, schema)
    for made in (chain.invoke(str(video.path)), await chain.ainvoke(video.path)):
        assert [shot.mark for shot in getattr(made, field)] == list(video.codes)
    for request in standin.requests:
        assert request.refused is None
        assert request.body["response_format"] == {"type": "json_object"}
        assert request.body["reasoning_effort"] == "none"


async def test_chain_streams(llm: ChatQwenOmni, video: TruthMedia) -> None:
    """`stream` and `astream` give partial captions while they come."""
    chain = caption_chain(llm, VideoCaption)
    given = list(chain.stream(str(video.path)))
    assert isinstance(given[-1], VideoCaption)
    assert len(given) > 3
    assert [item async for item in chain.astream(str(video.path))][-1] == given[-1]


@pytest.mark.parametrize("way", ["block", "blocks", "message", "conversation"])
def test_chain_takes_every_shape_of_input(way: str, llm: ChatQwenOmni, video: TruthMedia, standin: Standin) -> None:
    """A block, blocks, a message and a conversation all reach the model, with the schema behind their media."""
    block = {"type": "video", "path": str(video.path)}
    given: Any = {
        "block": block, "blocks": [block], "message": HumanMessage([block]),
        "conversation": [("system", "Be brief."), HumanMessage([block])],
    }[way]  # fmt: skip
    caption = caption_chain(llm).invoke(given)
    assert video.codes[0] in caption.scene_description
    *before, question = standin.requests[0].body["messages"]
    assert [message["content"] for message in before] == (["Be brief."] if way == "conversation" else [])
    assert question["content"][0]["type"] == "video_url"
    assert "scene_description" in question["content"][-1]["text"]


def test_chain_on_a_model_without_json_mode(llm: ChatQwenOmni, video: TruthMedia, standin: Standin) -> None:
    """A model without JSON mode is told the schema alone, and its fence is taken off."""
    caption = caption_chain(llm.bind(model="qwen3.5-omni-flash")).invoke(str(video.path))
    assert video.codes[-1] in caption.scene_description
    assert "response_format" not in standin.requests[0].body


def test_chain_obeys_the_root(llm: ChatQwenOmni, tmp_path: Path, video: TruthMedia) -> None:
    """A file outside `media_root` is not sent, nor opened to see what it is; the root of a call counts first."""
    other, notes = tmp_path / "other.mp4", tmp_path / "notes.txt"
    other.write_bytes(video.path.read_bytes())
    notes.write_text("no media at all")
    chain = caption_chain(llm)
    for path in (other, notes):
        with pytest.raises(MediaOutsideRootError):
            chain.invoke(str(path))
    assert video.codes[0] in chain.invoke(str(other), media_root=str(tmp_path)).scene_description
    bound = caption_chain(llm.bind(media_root=str(tmp_path)))
    with pytest.raises(MediaOutsideRootError):
        bound.invoke(str(video.path))


def test_chain_of_timed_captions(llm: ChatQwenOmni, video: TruthMedia) -> None:
    """Timed captions cover the seconds of the video, in order."""
    timed = caption_chain(llm, TimedCaptions).invoke(str(video.path))
    assert [caption.start for caption in timed.captions] == [0, 1, 2]
    assert timed.captions[-1].end == 3


def test_with_structured_output_checks_a_json_schema(llm: ChatQwenOmni, standin: Standin) -> None:
    """An answer that breaks a JSON schema is asked for once more, then it raises; with `include_raw` it is told."""
    schema = {"title": "Tent", "type": "object", "properties": {"colour": {"type": "string"}}, "required": ["colour"]}
    standin.script.reply('{"colour": 3}').reply('{"colour": "red"}')
    assert llm.with_structured_output(schema).invoke("A tent?") == {"colour": "red"}
    assert "not of type" in standin.requests[1].body["messages"][-1]["content"]
    for _ in range(3):
        standin.script.reply('{"colour": 3}')
    with pytest.raises(OutputParserException, match="not of type"):
        llm.with_structured_output(schema).invoke("A tent?")
    with pytest.raises(OutputParserException, match="not of type"):
        llm.with_structured_output(schema, repair=False).invoke("A tent?")
    standin.script.reply('{"color": "red"}')
    raw: Any = llm.with_structured_output(schema, include_raw=True).invoke("A tent?")
    assert raw["parsed"] is None
    assert isinstance(raw["parsing_error"], CaptionSyntaxError)


UNTITLED: dict[str, Any] = {"type": "object", "properties": {"colour": {"type": "string"}}, "required": ["colour"]}


@pytest.mark.parametrize("method", ["json_schema", "json_mode", "function_calling"])
def test_a_json_schema_needs_no_title(llm: ChatQwenOmni, standin: Standin, method: Any) -> None:
    """A JSON schema without a title is asked for like any other, and is itself left as it is."""
    before = dict(UNTITLED)
    if method == "function_calling":
        standin.script.reply(Turn(tool_calls=(ToolCall(name="answer", arguments={"colour": "red"}),)))
    else:
        standin.script.reply('{"colour": "red"}')
    asking = llm.with_structured_output(UNTITLED, method=method)
    assert asking.invoke("What colour is the tent? Answer in JSON.") == {"colour": "red"}
    assert before == UNTITLED
    standin.script.reply('{"colour": "red"}')
    assert caption_chain(llm, UNTITLED).invoke([{"type": "text", "text": "A tent?"}]) == {"colour": "red"}


@pytest.mark.parametrize("method", ["json_schema", "json_mode", "function_calling"])
@pytest.mark.parametrize("schema", [{"type": "object"}, {}, "a tent"], ids=["no properties", "empty", "words"])
def test_what_is_no_schema_is_said(llm: ChatQwenOmni, method: Any, schema: Any) -> None:
    """The error is of both families and says what to pass."""
    with pytest.raises(ConfigurationError, match='JSON schema with "title" and "properties"') as caught:
        llm.with_structured_output(schema, method=method)
    assert isinstance(caught.value, LangChainException)
