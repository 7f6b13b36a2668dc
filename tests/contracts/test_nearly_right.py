"""Every way to an object, in both frameworks, where answers are nearly right, cut, or no object at all.

Each door first asks a good stand-in, and then one that corrupts its answers (`Standin.nearly_right`). The result is the
right value, or an error of this package: never a wrong value, a built-in Python exception, or nothing.
"""

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from qwen_omni import CaptionSyntaxError, NoToolCallError, QwenOmniError, TruncatedAnswerError, TruncatedAnswerWarning
from qwen_omni.standin import Standin, ToolCall, Turn
from qwen_omni.standin.answers.nearly import WAYS, NearlyRight
from qwen_omni.standin.marked_media import make_video
from qwen_omni.structured.timed import TimedCaptions
from tests.contracts.frameworks import LANGCHAIN, LLAMA_INDEX, Door, Framework, Medium, each, each_framework

pytestmark = pytest.mark.slow

QUESTION = "A clip about cats, please, as JSON."
LOSSLESS = ("draft", "loose", "list content", "other names")
"""Ways that change the form of an answer, not its content: the value is right, or there is an error."""
CUT = '{"title": "Cats", "places": ["a ki'


class Clip(BaseModel):
    """What is seen."""

    title: str
    places: list[str] = []
    seconds: float = 0.0


class Seen(BaseModel):
    """Something that is seen."""

    start: float
    end: float
    text: str


class Log(BaseModel):
    """What is seen, one after the other."""

    summary: str
    seen: list[Seen]


@pytest.fixture(scope="module")
def service():
    with Standin() as standin:
        yield standin


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty-four seconds."""
    path = tmp_path_factory.mktemp("video") / "a.mp4"
    return make_video(path, seconds=24, size=(128, 96), fps=2, sound=False).path


@pytest.fixture
async def llm(framework: Framework, service: Standin, video: Path) -> AsyncIterator[Any]:
    service.clear()
    service.script.clear()
    service.nearly_right = None
    model = framework.model(service, media_root=str(video.parent))
    yield model
    service.nearly_right = None
    model.close()
    await model.aclose()


async def check(ask: Callable[[], Awaitable[Any]], standin: Standin, way: str) -> None:
    """Ask once well and several times nearly right, in one way; each result is right, or an error of this package."""
    right = await ask()
    for seed in range(2):
        standin.nearly_right = spoiling = NearlyRight(seed, (way,))
        try:
            found = await ask()
        except QwenOmniError as error:
            assert isinstance(error, CaptionSyntaxError | TruncatedAnswerError | NoToolCallError), error
            if isinstance(error, TruncatedAnswerError):
                assert way == "cut", error
            assert len(str(error)) < 2000
            continue
        assert type(found) is type(right)
        # The unit of a number in a caller's own schema is unknown; those of timed captions are known.
        preserved = way in LOSSLESS or (way == "other units" and isinstance(right, TimedCaptions))
        if preserved or set(spoiling.log) == {"whole"}:
            assert found == right, (way, seed)


async def _parsed(llm: Any, schema: Any, question: str) -> Any:
    parser = LLAMA_INDEX.own.CaptionOutputParser(schema)
    return parser.parse((await llm.acomplete(parser.format(question))).text)


OBJECTS: list[tuple[Framework, tuple[str, Any]]] = [
    *((LANGCHAIN, (door, Log if "chain" in door else Clip)) for door in LANGCHAIN.doors),
    (LANGCHAIN, ("json_schema", Clip.model_json_schema())),
    (LANGCHAIN, ("chain", TimedCaptions)),
    (LANGCHAIN, ("chain", LANGCHAIN.own.VideoCaption)),
    *((LLAMA_INDEX, (door, schema)) for door in LLAMA_INDEX.doors if door.startswith("a") for schema in (Clip, Log)),
]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("framework", "asked"), OBJECTS)
async def test_objects(
    framework: Framework, asked: tuple[str, Any], way: str, llm: Any, service: Standin, video: Path
) -> None:
    """The right value, or an error of ours."""
    door, schema = asked
    question = framework.says(Medium("video", video)) if "chain" in door else QUESTION
    if door.startswith("json_mode"):
        question = f"{QUESTION} {json.dumps(schema.model_json_schema())}"
    await check(lambda: framework.doors[door].ask(llm, schema, question), service, way)


@pytest.mark.parametrize("framework", [LLAMA_INDEX])
@pytest.mark.parametrize("way", WAYS)
async def test_a_parser_of_texts(framework: Framework, way: str, llm: Any, service: Standin) -> None:
    """The text of any answer."""
    await check(lambda: _parsed(llm, Clip, QUESTION), service, way)


async def _summarised(framework: Framework, llm: Any, video: Path, **options: Any) -> Any:
    if framework is LANGCHAIN:
        return await framework.own.LongVideoChain(llm, **options).ainvoke(str(video))
    return await framework.own.LongVideoWorkflow(llm, **options).run(video=video)


@each_framework
@pytest.mark.parametrize("seed", range(4))
async def test_long_video(
    framework: Framework, seed: int, llm: Any, service: Standin, video: Path, tmp_path: Path
) -> None:
    """A summary whose times lie in the video, with gaps where an answer could not be used, or an error of ours."""
    service.nearly_right = NearlyRight(seed)
    options = {"segment_seconds": 8, "overlap": 0, "single_call_seconds": 0, "detail": "low", "max_gaps": 9}
    try:
        found = await _summarised(framework, llm, video, retry_seconds=0.0, checkpoint=tmp_path, **options)
    except QwenOmniError as error:
        assert len(str(error)) < 2000
        return
    assert all(0 <= one.start <= one.end <= 24 for one in found.events)
    assert found.segments == 3
    # A segment is asked about at most twice, the joining at most twice.
    assert len(service.requests) <= 2 * (found.segments + 1)


def reply(service: Standin, door: Door, text: str, finish: str) -> None:
    call = Turn(tool_calls=(ToolCall(name="Clip", arguments=text),), finish_reason=finish)
    service.script.reply(call if door.calls else Turn(text=text, finish_reason=finish))


@pytest.mark.parametrize("finish", ["length", "content_filter", "stop"])
@each("doors")
async def test_what_is_cut_is_an_error(
    framework: Framework, door: Door, finish: str, llm: Any, service: Standin
) -> None:
    """Asked once, whatever the service says about why it ended; the part that arrived is in the error."""
    reply(service, door, CUT, finish)
    with pytest.raises(TruncatedAnswerError) as caught:
        await door.ask(llm, Clip, QUESTION)
    assert isinstance(caught.value, framework.wrong_answer)
    assert caught.value.partial == {"title": "Cats", "places": ["a ki"]}
    assert caught.value.reason == ("incomplete" if finish == "stop" else finish)
    assert len(service.requests) == 1


@each("doors", lambda door: door.accepts)
async def test_what_is_cut_may_be_accepted(framework: Framework, door: Door, llm: Any, service: Standin) -> None:
    """With `allow_truncated` what satisfies the schema is returned, with a warning."""
    reply(service, door, CUT, "length")
    with pytest.warns(TruncatedAnswerWarning):
        assert await door.ask(llm, Clip, QUESTION, allow_truncated=True) == Clip(title="Cats", places=["a ki"])


@each("doors")
async def test_a_bad_answer_tells_what_it_cost(framework: Framework, door: Door, llm: Any, service: Standin) -> None:
    """Words in place of the object are asked about once more, except in a stream; the error has what was billed."""
    service.script.reply("I would rather not.", times=2)
    with pytest.raises(CaptionSyntaxError, match="holds no JSON") as wrong:
        await door.ask(llm, Clip, QUESTION)
    again = not door.streams and door is not LANGCHAIN.doors["parser"]
    assert len(wrong.value.usages) == len(service.requests) == (2 if again else 1)
    assert all(usage.total_tokens > 0 for usage in wrong.value.usages)


@each("doors", lambda door: door.accepts)
async def test_what_breaks_the_schema_is_asked_for_once_more(
    framework: Framework, door: Door, llm: Any, service: Standin
) -> None:
    """The second question tells what was wrong, the second answer is final; what was shown cannot be taken back."""
    if door.streams:
        reply(service, door, '{"places": []}', "stop")
        with pytest.raises(CaptionSyntaxError, match="title"):
            await door.ask(llm, Clip, QUESTION)
        assert len(service.requests) == 1
        return
    for text in ('{"places": []}', '{"title": "Cats"}', '{"places": []}', '{"places": []}'):
        reply(service, door, text, "stop")
    assert await door.ask(llm, Clip, QUESTION) == Clip(title="Cats")
    first, second = (request.body["messages"] for request in service.requests)
    assert len(second) == len(first) + 2
    assert "title" in second[-1]["content"]
    with pytest.raises(CaptionSyntaxError, match="title"):
        await door.ask(llm, Clip, QUESTION)
    assert len(service.requests) == 4
