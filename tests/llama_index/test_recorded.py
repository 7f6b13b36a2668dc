"""Recordings of every way to ask: the asynchronous twin of each test replays the same cassette, and answers alike."""

from typing import Any

import pytest
from pydantic import BaseModel

pytest.importorskip("llama_index.core")

from llama_index.core.base.llms.types import ChatMessage, ImageBlock, TextBlock
from llama_index.core.prompts import PromptTemplate
from llama_index.core.types import PydanticProgramMode

from llama_index_qwen_omni import QwenOmni
from qwen_omni.standin.marked_media import make_image
from tests.contracts.frameworks import LLAMA_INDEX

PAIRS = ["chat", "stream_chat", "complete", "stream_complete"]
QUESTION = [ChatMessage(blocks=[ImageBlock(image=make_image("2718", (320, 240))), TextBlock(text="Which code?")])]


class Colour(BaseModel):
    """A colour."""

    name: str
    warm: bool


def model(**more: Any) -> QwenOmni:
    return QwenOmni(model="qwen3.8-omni-flash", max_retries=0, **more)


def _twins(names: list[str]) -> list[Any]:
    return [
        pytest.param(twin, marks=pytest.mark.default_cassette(f"{name}.yaml"), id=twin)
        for name in names
        for twin in (name, f"a{name}")
    ]


@pytest.mark.vcr
@pytest.mark.parametrize("way", _twins(PAIRS))
async def test_ways_to_ask(way: str) -> None:
    """Each of the eight methods reads what was recorded of its twin."""
    llm = model(thinking=False)
    answer = await LLAMA_INDEX.ways[way](llm, "Which code?" if "complete" in way else QUESTION)
    llm.close()
    await llm.aclose()
    assert answer.message.content
    assert "complete" in way or "2718" in answer.message.content
    assert answer.raw["usage"]["total_tokens"] > 0


@pytest.mark.vcr
@pytest.mark.parametrize("way", _twins(["structured_predict", "stream_structured_predict"]))
async def test_objects(way: str) -> None:
    """Each structured method, in JSON mode and by a call, reads what was recorded of its twin."""
    for mode in (PydanticProgramMode.DEFAULT, PydanticProgramMode.FUNCTION):
        llm = model(pydantic_program_mode=mode)
        given = getattr(llm, way)(Colour, PromptTemplate("A colour like {thing}."), thing="fire")
        if way.startswith("a"):
            given = await given
        if way == "astream_structured_predict":
            given = [one async for one in given]
        last = given if isinstance(given, BaseModel) else list(given)[-1]
        llm.close()
        await llm.aclose()
        assert isinstance(last, Colour)
