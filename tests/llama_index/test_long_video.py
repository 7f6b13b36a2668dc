"""`LongVideoWorkflow`: the contract of a workflow around what the core does with long videos."""

import asyncio
import itertools
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("llama_index.core")

from llama_index.core.base.llms.types import CompletionResponse, CompletionResponseGen, LLMMetadata, VideoBlock
from llama_index.core.llms import CustomLLM
from llama_index.core.llms.callbacks import llm_completion_callback
from llama_index.core.schema import TextNode
from llama_index.core.workflow import StopEvent
from workflows.errors import WorkflowCancelledByUser

from llama_index_qwen_omni import LongVideoProgress, LongVideoStart, LongVideoWorkflow, QwenOmni, clip
from qwen_omni import (
    ConfigurationError,
    MediaOutsideRootError,
    SpendLimit,
    UnsupportedContentError,
    VideoAnswer,
    VideoSummary,
)
from qwen_omni.standin import Fault, Standin
from qwen_omni.standin.marked_media import TruthMedia, make_video


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> TruthMedia:
    """Twenty-four seconds, two segments."""
    return make_video(tmp_path_factory.mktemp("film") / "a.mp4", seconds=24, size=(128, 96), fps=2, sound=False)


@pytest.fixture
def choices(tmp_path: Path) -> dict[str, Any]:
    return {
        "detail": "low", "segment_seconds": 12, "overlap": 0, "single_call_seconds": 0, "retry_seconds": 0.0,
        "checkpoint": tmp_path,
    }  # fmt: skip


@pytest.fixture
async def llm(standin: Standin, film: TruthMedia) -> AsyncIterator[QwenOmni]:
    made = QwenOmni(api_key=standin.api_key, base_url=standin.base_url, media_root=film.path.parent, max_retries=0)
    yield made
    await made.aclose()


def check(found: Any, film: TruthMedia) -> None:
    assert isinstance(found, VideoSummary)
    assert [re.search(r"\d{4}", note.text)[0] for note in found.events] == list(film.codes)


async def test_progress_and_result(llm: QwenOmni, film: TruthMedia, standin: Standin, choices: dict[str, Any]) -> None:
    """The stream shows every step, its last event is the result; a path and a block mean the same, paid for once."""
    workflow = LongVideoWorkflow(llm, **choices)
    handler = workflow.run(video=film.path)
    *events, last = [event async for event in handler.stream_events()]
    kinds = [event.progress.kind for event in events if isinstance(event, LongVideoProgress)]
    assert len(kinds) == len(events)
    assert kinds[0] == "planned"
    assert kinds[-1] == "done"
    assert [event.progress.segment for event in events if event.progress.kind == "segment"] in ([0, 1], [1, 0])
    assert isinstance(last, StopEvent)
    check(last.result, film)
    assert await handler == last.result
    asked = len(standin.requests)
    block = VideoBlock(path=film.path)
    for given in ({"video": str(film.path)}, {"start_event": LongVideoStart(video=block)}):
        check(await workflow.run(**given), film)
    assert len(standin.requests) == asked == 3


@pytest.mark.parametrize("named", ["address", "passage"])
async def test_the_seconds_of_a_block(
    named: str, llm: QwenOmni, film: TruthMedia, standin: Standin, choices: dict[str, Any]
) -> None:
    """A block that names a stretch is looked at there and nowhere else, whatever range the workflow itself has."""
    facts = {"source": str(film.path), "start": 12.0, "end": 20.0, "duration": 24.0, "video_codec": "h264"}
    blocks = {
        "address": VideoBlock(url=f"{film.path.as_uri()}#t=12,20"),
        "passage": clip(TextNode(text="x", metadata=facts), margin=0),
    }
    found = await LongVideoWorkflow(llm, start=0, end=6, **choices).run(video=blocks[named])
    seen = {code for request in standin.requests for one in request.media for code in one.picture_codes}
    assert seen
    assert seen <= set(film.codes[12:20])
    assert [re.search(r"\d{4}", note.text)[0] for note in found.events] == list(film.codes[12:20])


async def test_how_closely_is_not_the_blocks_choice(
    llm: QwenOmni, film: TruthMedia, standin: Standin, choices: dict[str, Any]
) -> None:
    """Frames a second of a block are refused, and the error names what to use in place; nothing is sent."""
    facts = {"source": str(film.path), "start": 12.0, "end": 20.0, "video_codec": "h264"}
    for block in (VideoBlock(path=film.path, fps=4), clip(TextNode(text="x", metadata=facts), fps=4)):
        with pytest.raises(UnsupportedContentError, match=r"fps=4.* omit it .*detail="):
            await LongVideoWorkflow(llm, **choices).run(video=block)
    assert standin.requests == []


async def test_a_question(llm: QwenOmni, film: TruthMedia, standin: Standin, choices: dict[str, Any]) -> None:
    """A question is answered with the moments that show it; a run's own question wins over the workflow's."""
    workflow = LongVideoWorkflow(llm, question="What is shown?", **choices)
    found = await workflow.run(video=film.path, question=f"When is {film.codes[15]} shown?")
    assert isinstance(found, VideoAnswer)
    assert found.question == f"When is {film.codes[15]} shown?"
    assert any(film.codes[15] in one.text and abs(one.time - 15) <= 1 for one in found.evidence)
    assert found.this_run.requests == len(standin.requests)


class Own(CustomLLM):
    """A model of another maker."""

    told: list[str] = []  # noqa: RUF012  (pydantic copies it)
    fails: bool = False

    @property
    def metadata(self) -> LLMMetadata:
        """Return the name."""
        return LLMMetadata(model_name="own")

    @llm_completion_callback()
    def complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponse:
        """Join notes."""
        if self.fails:
            raise ValueError("out of words")
        self.told.append(prompt)
        text = '{"summary": "mine", "chapters": [{"start": "0:05", "title": "five"}]}'
        return CompletionResponse(text=text, raw={"usage": {"prompt_tokens": 1_000_000, "completion_tokens": 2}})

    @llm_completion_callback()
    def stream_complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponseGen:
        """Is not used."""
        raise NotImplementedError


async def test_a_model_of_ones_own_joins(
    llm: QwenOmni, film: TruthMedia, standin: Standin, choices: dict[str, Any]
) -> None:
    """Any LLM may join the notes; it is given them, its tokens count, and the service's text model is not asked."""
    own = Own()
    found = await LongVideoWorkflow(llm, text_model=own, **choices).run(video=film.path)
    assert (found.summary, found.text_model) == ("mine", "own")
    assert [(one.start, one.title) for one in found.chapters] == [(5.0, "five")]
    assert all(code in own.told[0] for code in film.codes)
    assert {request.body["model"] for request in standin.requests} == {llm.model}
    assert 1_000_000 < found.this_run.input_tokens < 1_100_000


async def test_a_model_of_ones_own_fails(
    llm: QwenOmni, film: TruthMedia, standin: Standin, choices: dict[str, Any]
) -> None:
    """Its error ends the run and says which model failed and why; the notes are kept for a better one."""
    told = {**choices, "step_retries": 0}
    with pytest.raises(Exception, match="combines notes failed: ValueError: out of words"):
        await LongVideoWorkflow(llm, text_model=Own(fails=True), **told).run(video=film.path)
    asked = len(standin.requests)
    await LongVideoWorkflow(llm, text_model=Own(), **told).run(video=film.path)
    assert len(standin.requests) == asked == 2


async def test_a_cancelled_run_goes_on(
    llm: QwenOmni, film: TruthMedia, standin: Standin, choices: dict[str, Any]
) -> None:
    """Cancelled while a request is in flight, a run leaves no task behind; the next asks for what was missing alone."""
    asked = itertools.count()
    standin.script.fault(Fault.slow(first_byte_delay=20), when=lambda _: next(asked) == 1)
    workflow = LongVideoWorkflow(llm, **choices, concurrency=1)
    before = asyncio.all_tasks()
    handler = workflow.run(video=film.path)
    async for event in handler.stream_events():
        if isinstance(event, LongVideoProgress) and event.progress.done == 1:
            break
    while len(standin.requests) < 2:  # noqa: ASYNC110  (the stand-in tells of no arrival)
        await asyncio.sleep(0.01)
    await handler.cancel_run()
    with pytest.raises(WorkflowCancelledByUser):
        await handler
    assert asyncio.all_tasks() <= before
    events = workflow.run(video=film.path)
    told = [event.progress async for event in events.stream_events() if isinstance(event, LongVideoProgress)]
    check(await events, film)
    assert len([one for one in told if one.reused]) == 1  # whichever was ready first
    assert [bool(request.media) for request in standin.requests] == [True, True, True, False]


async def _awaits(handler: Any) -> None:
    await handler


async def _streams(handler: Any) -> None:
    async for _ in handler.stream_events():
        pass


async def _does_something_else(_: Any) -> None:
    await asyncio.sleep(60)


async def _waits_for(handler: Any) -> None:
    await asyncio.wait_for(handler, 60)


@pytest.mark.parametrize("watching", [_awaits, _streams, _does_something_else, _waits_for])
@pytest.mark.slow
async def test_cancelling_the_task_around_a_run_ends_it(
    llm: QwenOmni, film: TruthMedia, standin: Standin, choices: dict[str, Any], watching: Any
) -> None:
    """As `cancel_run` does: nothing more is asked, nothing stays reserved, no task is left; what is done is kept."""
    asked = itertools.count()
    standin.script.fault(Fault.slow(first_byte_delay=20), when=lambda _: next(asked) == 1)
    limit = SpendLimit(tokens=10_000_000)
    llm = llm.model_copy(update={"spend_limit": limit})
    workflow = LongVideoWorkflow(llm, **choices, concurrency=1)
    before = asyncio.all_tasks()

    async def around() -> None:
        await watching(workflow.run(video=film.path))

    task = asyncio.create_task(around())
    while len(standin.requests) < 2:  # noqa: ASYNC110  (the stand-in tells of no arrival)
        await asyncio.sleep(0.01)
    assert limit.reserved.tokens > 0
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    for _ in range(500):
        if asyncio.all_tasks() <= before:
            break
        await asyncio.sleep(0.01)
    assert asyncio.all_tasks() <= before
    assert limit.reserved.tokens == 0
    assert len(standin.requests) == 2
    check(await workflow.run(video=film.path), film)
    assert [bool(request.media) for request in standin.requests] == [True, True, True, False]


async def test_a_handler_that_is_handed_over_is_awaited_to_its_end(
    llm: QwenOmni, film: TruthMedia, choices: dict[str, Any]
) -> None:
    """The task that started it ended well; leaving the events early changes nothing."""

    async def begin() -> Any:
        handler = LongVideoWorkflow(llm, **choices).run(video=film.path)
        async for event in handler.stream_events():
            if isinstance(event, LongVideoProgress):
                break
        return handler

    handler = await asyncio.create_task(begin())
    check(await handler, film)


async def test_wrong_use(llm: QwenOmni, film: TruthMedia, tmp_path: Path, choices: dict[str, Any]) -> None:
    """Wrong choices raise when the workflow is made; a block's file must lie inside the model's root."""
    with pytest.raises(ConfigurationError, match="detail"):
        LongVideoWorkflow(llm, detail="sharp")
    with pytest.raises(TypeError, match="colour"):
        LongVideoWorkflow(llm, colour="red")
    with pytest.raises(ValueError, match="write it to a file") as caught:
        LongVideoStart(video=VideoBlock(video=b"AAAA"))
    assert "AAAA" not in str(caught.value)
    outside = tmp_path / "b.mp4"
    outside.write_bytes(film.path.read_bytes())
    with pytest.raises(MediaOutsideRootError):
        await LongVideoWorkflow(llm, **choices).run(video=VideoBlock(path=outside))
