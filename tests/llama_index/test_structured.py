"""Answers of a schema through LlamaIndex: both ways to ask, whole and streamed, mended."""

import itertools
import json
from typing import Any

import pytest
from pydantic import BaseModel

pytest.importorskip("llama_index.core")

from llama_index.core.base.llms.types import ChatMessage, TextBlock, VideoBlock
from llama_index.core.prompts import ChatPromptTemplate, PromptTemplate
from llama_index.core.types import PydanticProgramMode

from llama_index_qwen_omni import QwenOmni, VideoCaption
from qwen_omni.errors import ConfigurationError
from qwen_omni.media.budget import MediaBudget
from qwen_omni.standin import Script, Standin, ToolCall, Turn
from qwen_omni.standin.marked_media import TruthMedia

JSON, CALL = PydanticProgramMode.DEFAULT, PydanticProgramMode.FUNCTION
MODES = pytest.mark.parametrize("mode", [JSON, CALL], ids=["json", "function"])
ABOUT = PromptTemplate("A fact about {topic}, please.")
WORDS = {"setting": "a kitchen at night", "persons": ["a cook", "a cat"], "seconds": 12}


class Scene(BaseModel):
    """What is seen."""

    setting: str
    persons: list[str]
    seconds: int


def says(script: Script, mode: PydanticProgramMode, told: Any) -> None:
    text = told if isinstance(told, str) else json.dumps(told)
    script.reply(Turn(tool_calls=(ToolCall(name="Scene", arguments=text),)) if mode == CALL else text)


async def _predict(llm: QwenOmni, prompt: Any = ABOUT, **given: Any) -> list[Any]:
    return [llm.structured_predict(Scene, prompt, topic="cats", **given)]


async def _apredict(llm: QwenOmni, prompt: Any = ABOUT, **given: Any) -> list[Any]:
    return [await llm.astructured_predict(Scene, prompt, topic="cats", **given)]


async def _stream(llm: QwenOmni, prompt: Any = ABOUT, **given: Any) -> list[Any]:
    return list(llm.stream_structured_predict(Scene, prompt, topic="cats", **given))


async def _astream(llm: QwenOmni, prompt: Any = ABOUT, **given: Any) -> list[Any]:
    return [one async for one in await llm.astream_structured_predict(Scene, prompt, topic="cats", **given)]


FOUR = {"whole": _predict, "whole, async": _apredict, "streamed": _stream, "streamed, async": _astream}
each_way = pytest.mark.parametrize("way", FOUR.values(), ids=FOUR.keys())


@MODES
@each_way
async def test_objects(way: Any, mode: PydanticProgramMode, llm: QwenOmni, standin: Standin) -> None:
    """The last object is validated; before it, streams give copies that grow. Thinking is off."""
    says(standin.script, mode, WORDS)
    given = await way(llm.model_copy(update={"pydantic_program_mode": mode}))
    assert given[-1] == Scene.model_validate(WORDS)
    body = standin.requests[-1].body
    assert body["reasoning_effort"] == "none"
    assert ("tools" in body, "response_format" in body) == (mode == CALL, mode == JSON)
    if way in (_stream, _astream):
        texts = [one.setting for one in given if getattr(one, "setting", None)]
        assert all(late.startswith(early) for early, late in itertools.pairwise(texts))
        assert len(set(texts)) > 1
        assert all(isinstance(one, BaseModel) for one in given)


@each_way
async def test_the_schema_is_in_the_prompt(way: Any, llm: QwenOmni, standin: Standin) -> None:
    """JSON mode is switched on, the schema stands in the prompt, and the stand-in answers any schema it finds."""
    given = await way(llm)
    assert isinstance(given[-1], Scene)
    (request,) = standin.requests
    assert request.body["response_format"] == {"type": "json_object"}
    assert '"persons"' in request.body["messages"][0]["content"]
    assert request.body["messages"][1]["content"] == "A fact about cats, please."


async def test_options_of_the_call(llm: QwenOmni, standin: Standin) -> None:
    """`llm_kwargs` reach the request; what LlamaIndex adds about tools does not disturb."""
    await _predict(llm, llm_kwargs={"temperature": 0.25, "thinking": True, "tool_required": True, "tool_choice": "x"})
    body = standin.requests[-1].body
    assert (body["temperature"], body["reasoning_effort"], "tool_choice" in body) == (0.25, "xhigh", False)


@pytest.mark.parametrize(
    "told", ["Sure!\n```json\n%s\n```", "%s Anything else?"], ids=["fences and prose", "prose behind"]
)
async def test_words_around(told: str, llm: QwenOmni, standin: Standin) -> None:
    """Fences and prose around the object are read over, also where a tool was to be called."""
    standin.script.reply(told % json.dumps(WORDS)).reply(told % json.dumps(WORDS))
    for mode in (JSON, CALL):
        given = await _predict(llm.model_copy(update={"pydantic_program_mode": mode}))
        assert given[-1] == Scene.model_validate(WORDS)


async def test_a_video_as_a_caption(llm: QwenOmni, standin: Standin, clip: TruthMedia) -> None:
    """A prompt may hold a video; the system prompt of the model goes before it."""
    asked = ChatPromptTemplate(
        [ChatMessage(blocks=[VideoBlock(path=clip.path), TextBlock(text="Describe the video.")])]
    )
    chosen = llm.model_copy(update={"system_prompt": "Be brief."})
    found = chosen.structured_predict(VideoCaption, asked)
    assert isinstance(found, VideoCaption)
    assert any(code in found.model_dump_json() for code in clip.codes)
    assert standin.requests[-1].media[0].picture_codes == clip.codes
    assert standin.requests[-1].body["messages"][0]["content"].startswith("Be brief.")


@each_way
@pytest.mark.slow
async def test_a_budget_of_ones_own(way: Any, llm: QwenOmni, standin: Standin, clip: TruthMedia) -> None:
    """LlamaIndex makes a dictionary of a budget when it fills in a prompt; it is the same budget."""
    question = ChatMessage(
        blocks=[VideoBlock(path=clip.path), TextBlock(text="Describe the video.")],
        additional_kwargs={"budget": MediaBudget(fps=1, sampling_fps=1)},
    )
    says(standin.script, JSON, WORDS)
    assert (await way(llm, prompt=ChatPromptTemplate([question])))[-1] == Scene.model_validate(WORDS)
    content = standin.requests[-1].body["messages"][-1]["content"]
    assert [part["fps"] for part in content if part["type"] == "video_url"] == [1]
    structured = llm.as_structured_llm(Scene)
    says(standin.script, JSON, WORDS)
    assert structured.chat([question]).raw == Scene.model_validate(WORDS)


async def test_structured_llm(llm: QwenOmni) -> None:
    """`as_structured_llm` answers chats and completions with objects, and streams them."""
    structured = llm.as_structured_llm(Scene)
    question = [ChatMessage(content="A scene, please.")]
    answers = [structured.chat(question), await structured.achat(question), structured.complete("A scene, please.")]
    assert all(isinstance(answer.raw, Scene) for answer in answers)
    assert Scene.model_validate_json(answers[0].message.content) == answers[0].raw
    with pytest.warns(DeprecationWarning, match="json"):  # LlamaIndex's own: it calls pydantic's old name
        streamed = list(structured.stream_chat(question))
    assert isinstance(streamed[-1].raw, Scene)


def test_foreign_modes(llm: QwenOmni) -> None:
    """A mode that belongs to another class is refused by name."""
    chosen = llm.model_copy(update={"pydantic_program_mode": PydanticProgramMode.OPENAI})
    with pytest.raises(ConfigurationError, match="openai"):
        chosen.structured_predict(Scene, ABOUT, topic="cats")
