"""Every LangChain door that answers with an object, over a stand-in whose answers are nearly right."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from langchain_core.exceptions import OutputParserException
from langchain_core.messages import HumanMessage
from pydantic import SecretStr

from langchain_qwen_omni import (
    CaptionOutputParser,
    ChatQwenOmni,
    LongVideoChain,
    TimedCaptions,
    UsageLedgerHandler,
    VideoCaption,
    caption_chain,
)
from qwen_omni import CaptionSyntaxError, TruncatedAnswerError, TruncatedAnswerWarning
from qwen_omni.errors import QwenOmniError, ToolArgumentsError
from qwen_omni.standin import Script, Standin, ToolCall, Turn
from qwen_omni.standin.answers.nearly import NearlyRight
from qwen_omni.standin.marked_media import TruthMedia, make_video
from tests.contracts.nearly_right import EVERY_WAY, Clip, Log, check_door

pytestmark = pytest.mark.slow

QUESTION = "A clip about cats, please, as JSON."


@pytest.fixture(scope="module")
def service():
    with Standin() as standin:
        yield standin


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> TruthMedia:
    return make_video(tmp_path_factory.mktemp("film") / "a.mp4", seconds=24, size=(128, 96), fps=2, sound=False)


@pytest.fixture
async def llm(service: Standin, video: TruthMedia) -> AsyncIterator[ChatQwenOmni]:
    service.clear()
    service.script = Script()
    service.nearly_right = None
    model = ChatQwenOmni(
        api_key=SecretStr(service.api_key), base_url=service.base_url, max_retries=0, media_root=video.path.parent
    )
    yield model
    service.nearly_right = None
    model.close()
    await model.aclose()


async def _last(runnable: Any, question: Any) -> Any:
    return [one async for one in runnable.astream(question)][-1]


def doors(llm: ChatQwenOmni, video: TruthMedia) -> dict[str, Any]:
    """Name every way to an object."""
    structured = {
        method: llm.with_structured_output(Clip, method=method)
        for method in ("json_schema", "function_calling", "json_mode")
    }
    schema = Clip.model_json_schema()
    parser = llm.bind(response_format={"type": "json_schema", "json_schema": {"schema": schema}}) | CaptionOutputParser(
        schema=Clip
    )
    block = [HumanMessage([{"type": "video", "path": str(video.path)}])]
    return {
        "json_schema": lambda: structured["json_schema"].ainvoke(QUESTION),
        "function_calling": lambda: structured["function_calling"].ainvoke(QUESTION),
        "function_calling, streamed": lambda: _last(structured["function_calling"], QUESTION),
        "json_mode": lambda: structured["json_mode"].ainvoke(f"{QUESTION} {schema}".replace("'", '"')),
        "streamed": lambda: _last(structured["json_schema"], QUESTION),
        "json schema": lambda: llm.with_structured_output(schema).ainvoke(QUESTION),
        "parser": lambda: parser.ainvoke(QUESTION),
        "parser, streamed": lambda: _last(parser, QUESTION),
        "chain": lambda: caption_chain(llm, VideoCaption).ainvoke(block),
        "chain, streamed": lambda: _last(caption_chain(llm, Log), block),
        "timed": lambda: caption_chain(llm, TimedCaptions).ainvoke(str(video.path)),
    }


@pytest.mark.parametrize("way", EVERY_WAY)
@pytest.mark.parametrize(
    "door",
    [
        "json_schema", "function_calling, streamed",
        *(
            pytest.param(door, marks=pytest.mark.slow)
            for door in (
                "function_calling", "json_mode", "streamed", "json schema", "parser", "parser, streamed", "chain",
                "chain, streamed", "timed",
            )
        ),
    ],
)  # fmt: skip
async def test_objects(door: str, way: str, llm: ChatQwenOmni, service: Standin, video: TruthMedia) -> None:
    """The right value, or an error of ours."""
    await check_door(doors(llm, video)[door], service, way)


@pytest.mark.parametrize("seed", range(4))
async def test_long_video(seed: int, service: Standin, video: TruthMedia, llm: ChatQwenOmni, tmp_path) -> None:
    """A summary whose times lie in the video, with gaps where an answer could not be used, or an error of ours."""
    chain = LongVideoChain(
        llm, segment_seconds=8, overlap=0, single_call_seconds=0, detail="low", max_gaps=9, retry_seconds=0.0,
        checkpoint=tmp_path,
    )  # fmt: skip
    service.nearly_right = NearlyRight(seed)
    try:
        found = await chain.ainvoke(str(video.path))
    except QwenOmniError as error:
        assert len(str(error)) < 2000
        return
    assert all(0 <= one.start <= one.end <= 24 for one in found.events)
    assert found.segments == 3
    # A segment is asked about at most twice, the joining at most twice.
    assert len(service.requests) <= 2 * (found.segments + 1)


CUT = '{"title": "Cats", "places": ["a ki'


def cut_call(finish: str) -> Turn:
    return Turn(
        tool_calls=(ToolCall(name="Clip", arguments='{"title": "Cats", "places": ["a ki'),), finish_reason=finish
    )


CUT = '{"title": "Cats", "places": ["a ki'


@pytest.mark.parametrize("finish", ["length", "content_filter", "stop"])
@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("door", ["json_schema", "function_calling", "json_mode", "parser", "chain"])
async def test_what_is_cut_is_an_error(
    door: str, streamed: bool, finish: str, llm: ChatQwenOmni, service: Standin
) -> None:
    """Asked once, whatever the service says about why it ended; the part that arrived is in the error."""
    service.script.reply(cut_call(finish) if door == "function_calling" else Turn(text=CUT, finish_reason=finish))
    if door == "parser":
        runnable: Any = llm | CaptionOutputParser(schema=Clip)
    elif door == "chain":
        runnable = caption_chain(llm, Clip)
    else:
        runnable = llm.with_structured_output(Clip, method=door)
    question = [HumanMessage("Cats, as json.")]
    with pytest.raises(TruncatedAnswerError) as caught:
        await (_last(runnable, question) if streamed else runnable.ainvoke(question))
    assert isinstance(caught.value, OutputParserException)
    assert caught.value.partial == {"title": "Cats", "places": ["a ki"]}
    assert caught.value.reason == ("incomplete" if finish == "stop" else finish)
    assert len(service.requests) == 1


@pytest.mark.parametrize("method", ["json_schema", "function_calling", "json_mode"])
async def test_what_is_cut_may_be_accepted(method: Any, llm: ChatQwenOmni, service: Standin) -> None:
    """With `allow_truncated` what satisfies the schema is returned, with a warning; `include_raw` holds the error."""
    for _ in range(3):
        service.script.reply(
            cut_call("length") if method == "function_calling" else Turn(text=CUT, finish_reason="length")
        )
    accepting = llm.with_structured_output(Clip, method=method, allow_truncated=True)
    with pytest.warns(TruncatedAnswerWarning):
        assert await accepting.ainvoke("Cats, as json.") == Clip(title="Cats", places=["a ki"])
    with pytest.warns(TruncatedAnswerWarning):
        assert await _last(accepting, "Cats, as json.") == Clip(title="Cats", places=["a ki"])
    raw: Any = await llm.with_structured_output(Clip, method=method, include_raw=True).ainvoke("Cats, as json.")
    assert raw["parsed"] is None
    assert isinstance(raw["parsing_error"], TruncatedAnswerError)


@pytest.mark.parametrize("method", ["json_schema", "function_calling", "json_mode"])
async def test_no_door_is_silent_about_a_refusal(method: Any, llm: ChatQwenOmni, service: Standin) -> None:
    """Words in place of the object are asked about once more, and then they are an error, never `None`."""
    for _ in range(2):
        service.script.reply("I would rather not.")
    with pytest.raises(QwenOmniError, match="holds no JSON"):
        await llm.with_structured_output(Clip, method=method).ainvoke("Cats, as json.")
    assert len(service.requests) == 2


@pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])
@pytest.mark.parametrize("schema", [Clip, Clip.model_json_schema()], ids=["class", "JSON schema"])
@pytest.mark.parametrize("method", ["json_schema", "function_calling", "json_mode"])
@pytest.mark.parametrize("answer", ["cut", "wrong"])
async def test_the_raw_answer_streams_with_its_error(
    answer: str, method: Any, schema: Any, asynchronous: bool, llm: ChatQwenOmni, service: Standin
) -> None:
    """`include_raw` raises nothing in a stream either: the message comes whole, and the error stands beside it."""
    text = CUT if answer == "cut" else '{"title": ["Cats"]}'
    finish = "length" if answer == "cut" else "stop"
    call = Turn(tool_calls=(ToolCall(name="Clip", arguments=text),), finish_reason=finish)
    service.script.reply(call if method == "function_calling" else Turn(text=text, finish_reason=finish))
    raw: Any = llm.with_structured_output(schema, method=method, include_raw=True)
    if asynchronous:
        chunks = [one async for one in raw.astream("Cats, as json.")]
    else:
        chunks = list(raw.stream("Cats, as json."))
    last: dict[str, Any] = {}
    for chunk in chunks:
        last |= {key: value for key, value in chunk.items() if key != "raw"}
    whole = chunks[0]["raw"]
    for chunk in chunks[1:]:
        whole = whole + chunk["raw"] if "raw" in chunk else whole
    assert last["parsed"] is None
    assert isinstance(last["parsing_error"], TruncatedAnswerError if answer == "cut" else CaptionSyntaxError)
    assert last["parsing_error"].text == text
    assert whole.response_metadata["finish_reason"] == finish


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("method", ["json_schema", "function_calling", "json_mode"])
async def test_a_bad_answer_tells_what_it_cost(
    method: Any, streamed: bool, llm: ChatQwenOmni, service: Standin
) -> None:
    """Each answer that was billed is in the error: two where it was asked for again, one in a stream."""
    ledger = UsageLedgerHandler()
    runnable = llm.with_structured_output(Clip, method=method).with_config(callbacks=[ledger])
    for _ in range(2):
        service.script.reply("No.")
    with pytest.raises(CaptionSyntaxError) as wrong:
        await (_last(runnable, "Cats, as json.") if streamed else runnable.ainvoke("Cats, as json."))
    assert len(wrong.value.usages) == len(service.requests) == (1 if streamed else 2)
    spent = sum(usage.output_tokens for usage in wrong.value.usages)
    assert spent == ledger.ledger.total.tokens.text_out > 0


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("tools", [[Clip], [Clip, Log]], ids=["one", "two"])
@pytest.mark.parametrize(
    ("finish", "error"),
    [("length", TruncatedAnswerError), ("content_filter", TruncatedAnswerError), ("tool_calls", ToolArgumentsError)],
)
async def test_a_call_that_must_come_and_cannot_be_read_is_an_error(
    finish: str, error: type[Exception], tools: list[Any], streamed: bool, llm: ChatQwenOmni, service: Standin
) -> None:
    """An agent takes a message without a readable call for its last, and would end without a result."""
    service.script.reply(cut_call(finish))
    bound = llm.bind_tools(tools, tool_choice="any")
    with pytest.raises(error, match="'Clip'"):
        await (_last(bound, "Cats, as json.") if streamed else bound.ainvoke("Cats, as json."))
    assert len(service.requests) == 1
    service.script.reply(cut_call(finish))
    free = await llm.bind_tools(tools).ainvoke("Cats, as json.")
    assert [call["args"] for call in free.invalid_tool_calls] == [CUT]
