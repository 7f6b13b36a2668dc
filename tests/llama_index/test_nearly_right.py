"""Every LlamaIndex door that answers with an object, over a stand-in whose answers are nearly right."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("llama_index.core")

from llama_index.core.base.llms.types import ChatMessage, ChatResponse
from llama_index.core.prompts import PromptTemplate
from llama_index.core.types import PydanticProgramMode
from pydantic import SecretStr

from llama_index_qwen_omni import CaptionOutputParser, LongVideoWorkflow, QwenOmni
from qwen_omni import CaptionSyntaxError, TruncatedAnswerError, TruncatedAnswerWarning
from qwen_omni.errors import QwenOmniError
from qwen_omni.standin import Standin, ToolCall, Turn
from qwen_omni.standin.answers.nearly import NearlyRight
from qwen_omni.standin.marked_media import TruthMedia, make_video
from tests.contracts.nearly_right import EVERY_WAY, Clip, Log, check_door

pytestmark = pytest.mark.slow

ABOUT = PromptTemplate("A clip about cats, please.")
CUT = '{"title": "Cats", "places": ["a ki'
MODES = {"json": PydanticProgramMode.DEFAULT, "function": PydanticProgramMode.FUNCTION}


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> TruthMedia:
    return make_video(tmp_path_factory.mktemp("film") / "a.mp4", seconds=24, size=(128, 96), fps=2, sound=False)


@pytest.fixture
async def llm(standin: Standin, film: TruthMedia) -> AsyncIterator[QwenOmni]:
    made = QwenOmni(
        api_key=SecretStr(standin.api_key), base_url=standin.base_url, media_root=str(film.path.parent), max_retries=0
    )
    yield made
    made.close()
    await made.aclose()


async def _astream(llm: QwenOmni, schema: Any, **given: Any) -> Any:
    return [one async for one in await llm.astream_structured_predict(schema, ABOUT, **given)][-1]


async def _stream(llm: QwenOmni, schema: Any, **given: Any) -> Any:
    return list(llm.stream_structured_predict(schema, ABOUT, **given))[-1]


async def _predict(llm: QwenOmni, schema: Any, **given: Any) -> Any:
    return llm.structured_predict(schema, ABOUT, **given)


async def _apredict(llm: QwenOmni, schema: Any, **given: Any) -> Any:
    return await llm.astructured_predict(schema, ABOUT, **given)


async def _structured_llm(llm: QwenOmni, schema: Any, **given: Any) -> Any:
    return (await llm.as_structured_llm(schema).achat([ChatMessage(content="Cats, please.")], **given)).raw


async def _parser(llm: QwenOmni, schema: Any) -> Any:
    parser = CaptionOutputParser(schema)
    return parser.parse((await llm.acomplete(parser.format("Cats, please."))).text)


WAYS_IN = {
    "structured_predict": _predict, "astructured_predict": _apredict, "stream_structured_predict": _stream,
    "astream_structured_predict": _astream, "as_structured_llm": _structured_llm,
}  # fmt: skip


@pytest.mark.parametrize("way", EVERY_WAY)
@pytest.mark.parametrize("schema", [Clip, Log], ids=lambda schema: schema.__name__)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    "door", ["astructured_predict", pytest.param("astream_structured_predict", marks=pytest.mark.slow)]
)
async def test_objects(door: str, mode: str, schema: Any, way: str, llm: QwenOmni, standin: Standin) -> None:
    """The right value, or an error of ours."""
    chosen = llm.model_copy(update={"pydantic_program_mode": MODES[mode]})
    await check_door(lambda: WAYS_IN[door](chosen, schema), standin, way)


@pytest.mark.parametrize("way", EVERY_WAY)
async def test_parser(way: str, llm: QwenOmni, standin: Standin) -> None:
    """The text of any answer, through the parser."""
    await check_door(lambda: _parser(llm, Clip), standin, way)


@pytest.mark.parametrize("seed", range(3))
async def test_long_video(seed: int, llm: QwenOmni, standin: Standin, film: TruthMedia, tmp_path: Path) -> None:
    """A summary whose times lie in the video, with gaps where an answer could not be used, or an error of ours."""
    standin.nearly_right = NearlyRight(seed)
    workflow = LongVideoWorkflow(
        llm, segment_seconds=8, overlap=0, single_call_seconds=0, detail="low", max_gaps=9, retry_seconds=0.0,
        checkpoint=tmp_path,
    )  # fmt: skip
    try:
        found = await workflow.run(video=film.path)
    except QwenOmniError as error:
        assert len(str(error)) < 2000
        return
    assert all(0 <= one.start <= one.end <= 24 for one in found.events)
    assert len(standin.requests) <= 2 * (found.segments + 1)


def says_cut(standin: Standin, mode: str, finish: str) -> None:
    call = Turn(tool_calls=(ToolCall(name="Clip", arguments=CUT),), finish_reason=finish)
    standin.script.reply(call if mode == "function" else Turn(text=CUT, finish_reason=finish))


@pytest.mark.parametrize("finish", ["length", "content_filter", "stop"])
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("door", WAYS_IN)
async def test_what_is_cut_is_an_error(door: str, mode: str, finish: str, llm: QwenOmni, standin: Standin) -> None:
    """Asked once, whatever the service says about why it ended; the part that arrived is in the error."""
    says_cut(standin, mode, finish)
    with pytest.raises(TruncatedAnswerError) as caught:
        await WAYS_IN[door](llm.model_copy(update={"pydantic_program_mode": MODES[mode]}), Clip)
    assert caught.value.partial == {"title": "Cats", "places": ["a ki"]}
    assert caught.value.reason == ("incomplete" if finish == "stop" else finish)
    assert len(standin.requests) == 1


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("door", [_predict, _apredict, _stream, _astream])
async def test_what_is_cut_may_be_accepted(door: Any, mode: str, llm: QwenOmni, standin: Standin) -> None:
    """`llm_kwargs={"allow_truncated": True}` returns what satisfies the schema, with a warning."""
    says_cut(standin, mode, "length")
    chosen = llm.model_copy(update={"pydantic_program_mode": MODES[mode]})
    with pytest.warns(TruncatedAnswerWarning):
        found = await door(chosen, Clip, llm_kwargs={"allow_truncated": True})
    assert found == Clip(title="Cats", places=["a ki"])


def test_a_parser_knows_a_text_that_ends_too_early() -> None:
    """Of a text alone, it is the text that tells."""
    with pytest.raises(TruncatedAnswerError) as caught:
        CaptionOutputParser(Clip).parse(CUT)
    assert caught.value.reason == "incomplete"
    with pytest.warns(TruncatedAnswerWarning):
        assert CaptionOutputParser(Clip, allow_truncated=True).parse(CUT) == Clip(title="Cats", places=["a ki"])


@pytest.mark.parametrize("finish", ["length", "content_filter"])
def test_a_parser_looks_at_why_a_response_ended(finish: str, llm: QwenOmni, standin: Standin) -> None:
    """A complete object of an answer that was cut may be a draft; its text alone does not show that."""
    whole = '{"title": "Cats", "places": ["a kitchen"]}'
    for _ in range(2):
        standin.script.reply(Turn(text=whole, finish_reason=finish))
    parser = CaptionOutputParser(Clip)
    for response in (llm.complete("Cats, please."), llm.chat([ChatMessage(content="Cats, please.")])):
        with pytest.raises(TruncatedAnswerError) as caught:
            parser.parse(response)
        assert (caught.value.reason, len(caught.value.usages)) == (finish, 1)
    assert parser.parse(whole) == Clip(title="Cats", places=["a kitchen"])
    with pytest.raises(CaptionSyntaxError, match="empty"):
        parser.parse(ChatResponse(message=ChatMessage(role="assistant", blocks=[])))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("door", WAYS_IN)
async def test_a_bad_answer_tells_what_it_cost(door: str, mode: str, llm: QwenOmni, standin: Standin) -> None:
    """Each answer that was billed is in the error: two where it was asked for again, one in a stream."""
    for _ in range(2):
        standin.script.reply("No.")
    with pytest.raises(CaptionSyntaxError) as wrong:
        await WAYS_IN[door](llm.model_copy(update={"pydantic_program_mode": MODES[mode]}), Clip)
    assert len(wrong.value.usages) == len(standin.requests) == (1 if "stream" in door else 2)
    assert all(usage.total_tokens > 0 for usage in wrong.value.usages)
