"""Long videos in the core and both frameworks: the same progress, and the same requests in traces."""

import asyncio
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from langchain_core.tracers.run_collector import RunCollectorCallbackHandler

pytest.importorskip("llama_index.core")

import llama_index.core.instrumentation as instrument
from llama_index.core.callbacks import CallbackManager, TokenCountingHandler
from llama_index.core.instrumentation.event_handlers import BaseEventHandler

from langchain_qwen_omni import ChatQwenOmni, LongVideoChain
from llama_index_qwen_omni import LongVideoProgress, LongVideoWorkflow, QwenOmni
from qwen_omni import AuthenticationError, OmniClient, Progress, Settings, SummaryOptions, iter_notes
from qwen_omni.standin import Fault, Standin
from qwen_omni.standin.marked_media import TruthMedia, make_video
from qwen_omni.video.ask import astream_either, stream_either

CHOICES = {"detail": "low", "segment_seconds": 8, "overlap": 0, "single_call_seconds": 0, "retry_seconds": 0.0}
EVENTS: list[Any] = []


class Listener(BaseEventHandler):
    """Keeps every event."""

    def handle(self, event: Any, **_: Any) -> None:
        """Keep it."""
        EVENTS.append(event)


@dataclass
class Seen:
    """What a run showed.

    Attributes:
        result: the summary or the answer.
        streamed: the progress in the stream of the run.
        called: the progress that the callback got; `None` where the core streams and takes none.
        requests: the model, the input tokens (-1 after an error) and the question of each request in traces.
    """

    result: Any = None
    streamed: list[Progress] = field(default_factory=list)
    called: list[Progress] | None = None
    requests: list[tuple[str, int, str]] | None = None


@pytest.fixture(scope="module")
def service() -> Iterator[Standin]:
    with Standin() as standin:
        yield standin


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> TruthMedia:
    """Sixteen seconds, two segments."""
    return make_video(tmp_path_factory.mktemp("film") / "a.mp4", seconds=16, size=(128, 96), fps=2, sound=False)


@pytest.fixture(autouse=True)
def fresh(service: Standin) -> None:
    service.clear()
    service.script.clear()
    EVENTS.clear()


def _core(service: Standin, film: Path, question: str | None, choices: dict[str, Any]) -> Seen:
    seen, options = Seen(), SummaryOptions(**choices)
    with OmniClient(Settings.load(api_key=service.api_key, base_url=service.base_url)) as client:
        *seen.streamed, seen.result = stream_either(film, question, client=client, options=options)
    return seen


def _acore(service: Standin, film: Path, question: str | None, choices: dict[str, Any]) -> Seen:
    async def run() -> Seen:
        llm = ChatQwenOmni(api_key=service.api_key, base_url=service.base_url)
        *streamed, result = [
            news
            async for news in astream_either(film, question, client=llm.aclient(), options=SummaryOptions(**choices))
        ]
        await llm.aclose()
        return Seen(result=result, streamed=streamed)

    return asyncio.run(run())


def _chain(service: Standin, film: Path, question: str | None, choices: dict[str, Any], *, wait: bool) -> Seen:
    seen, collector = Seen(called=[]), RunCollectorCallbackHandler()
    llm = ChatQwenOmni(api_key=service.api_key, base_url=service.base_url, max_retries=0)
    chain = LongVideoChain(llm, question=question, on_progress=seen.called.append, **choices)
    config: Any = {"callbacks": [collector]}

    async def stream() -> list[Any]:
        return [news async for news in chain.astream(film, config)]

    try:
        *seen.streamed, seen.result = asyncio.run(stream()) if wait else chain.stream(film, config)
    finally:
        seen.requests = [*map(_traced, _llm_runs(collector.traced_runs[0]))]
        service.seen = seen  # also after an error
    return seen


def _llm_runs(run: Any) -> Iterator[Any]:
    for child in run.child_runs:
        if child.run_type in ("llm", "chat_model"):
            yield child
        yield from _llm_runs(child)


def _traced(run: Any) -> tuple[str, int, str]:
    asked = str(run.inputs)
    if run.error is not None:
        return run.extra["metadata"]["ls_model_name"], -1, asked
    message = run.outputs["generations"][0][0]["message"]["kwargs"]
    return run.extra["metadata"]["ls_model_name"], message["usage_metadata"]["input_tokens"], asked


def _workflow(service: Standin, film: Path, question: str | None, choices: dict[str, Any]) -> Seen:
    EVENTS.clear()
    seen, root, listener = Seen(called=[]), instrument.get_dispatcher(), Listener()
    root.event_handlers.append(listener)

    async def run() -> None:
        llm = QwenOmni(api_key=service.api_key, base_url=service.base_url, max_retries=0)
        handler = LongVideoWorkflow(llm, on_progress=seen.called.append, **choices).run(video=film, question=question)
        async for event in handler.stream_events():
            if isinstance(event, LongVideoProgress):
                seen.streamed.append(event.progress)
        seen.result = await handler
        await llm.aclose()

    try:
        asyncio.run(run())
    finally:
        root.event_handlers.remove(listener)
        begun = {one.span_id: one for one in EVENTS if one.class_name() == "LLMChatStartEvent"}
        ended = {one.span_id: one for one in EVENTS if one.class_name() == "LLMChatEndEvent"}
        seen.requests = [_told(one, ended.get(span)) for span, one in begun.items()]
        service.seen = seen
    return seen


def _told(begun: Any, ended: Any) -> tuple[str, int, str]:
    asked = " ".join(block.text for message in begun.messages for block in message.blocks)
    tokens = -1 if ended is None else ended.response.raw["usage"]["prompt_tokens"]
    return begun.model_dict["model"], tokens, asked


DOORS: dict[str, Callable[..., Seen]] = {
    "core": _core,
    "core, async": _acore,
    "LangChain": lambda *given: _chain(*given, wait=False),
    "LangChain, async": lambda *given: _chain(*given, wait=True),
    "LlamaIndex": _workflow,
}
EVERY = [pytest.param(name, marks=[pytest.mark.slow] * ("core" in name or "async" in name)) for name in DOORS]
ADAPTERS = [one for one in EVERY if "core" not in str(one.values[0])]


@pytest.mark.parametrize("asked", [None, "When is {} shown?"], ids=["summary", "question"])
@pytest.mark.parametrize("door", EVERY)
def test_progress(door: str, asked: str | None, service: Standin, film: TruthMedia, tmp_path: Path) -> None:
    """It begins with the plan and ends with the end, whose numbers are the bill's; the callback gets all of it."""
    question = None if asked is None else asked.format(film.codes[12])
    seen = DOORS[door](service, film.path, question, {**CHOICES, "checkpoint": tmp_path})
    kinds = [one.kind for one in seen.streamed]
    assert kinds[0] == "planned"
    assert kinds[-1] == "done"
    assert kinds.count("done") == 1
    assert kinds.count("joined") == 1
    assert seen.streamed[0].text.startswith(str(film.path))
    last, bill = seen.streamed[-1], seen.result.this_run
    assert (last.done, last.segments) == (2, 2)
    assert (last.input_tokens, last.output_tokens) == (bill.input_tokens, bill.output_tokens)
    tokens = [one.input_tokens for one in seen.streamed]
    assert tokens == sorted(tokens), "of the whole run, so they never fall"
    elapsed = [one.elapsed for one in seen.streamed]
    assert elapsed == sorted(elapsed)
    assert seen.called is None or seen.called == seen.streamed


@pytest.mark.parametrize("asked", [None, "When is {} shown?"], ids=["summary", "question"])
@pytest.mark.parametrize("door", ADAPTERS)
def test_every_request_is_in_the_traces(
    door: str, asked: str | None, service: Standin, film: TruthMedia, tmp_path: Path
) -> None:
    """With its model, its usage and its texts; a line stands for the media. What is reused is no request."""
    question = None if asked is None else asked.format(film.codes[12])
    choices = {**CHOICES, "checkpoint": tmp_path}
    seen = DOORS[door](service, film.path, question, choices)
    assert len(seen.requests) == len(service.requests) == seen.result.this_run.requests
    assert sum(tokens for _, tokens, _ in seen.requests) == seen.result.this_run.input_tokens
    assert [model for model, _, _ in seen.requests].count("qwen-plus") == 1
    texts = "\n".join(text for _, _, text in seen.requests)
    assert {"[video, 0 s to 8 s]", "[video, 8 s to 16 s]"} <= {*re.findall(r"\[video[^]]*\]", texts)}
    assert len(texts) < 60_000, "no media in traces"
    again = DOORS[door](service, film.path, question, choices)
    assert again.requests == []
    assert again.result.this_run.requests == 0


@pytest.mark.parametrize("door", ADAPTERS)
def test_a_failed_request_is_a_failed_call(door: str, service: Standin, film: TruthMedia) -> None:
    """It ends with the error, not with an answer; nothing claims that the run is done."""
    service.script.fault(Fault.refuse(401, "invalid_api_key", "Incorrect API key"), times=9)
    with pytest.raises(AuthenticationError):
        DOORS[door](service, film.path, None, {**CHOICES, "checkpoint": False, "concurrency": 1})
    seen = service.seen
    assert seen.requests
    assert all(tokens == -1 for _, tokens, _ in seen.requests)
    assert "done" not in [one.kind for one in seen.called]


async def test_callback_managers_learn_of_requests(service: Standin, film: TruthMedia) -> None:
    """LlamaIndex's older handlers, too: a counter of tokens counts the texts of each request."""
    counter = TokenCountingHandler(tokenizer=str.split)
    llm = QwenOmni(
        api_key=service.api_key, base_url=service.base_url, max_retries=0, callback_manager=CallbackManager([counter])
    )
    await LongVideoWorkflow(llm, **CHOICES, checkpoint=False).run(video=film.path)
    await llm.aclose()
    assert len(counter.llm_token_counts) == len(service.requests) == 3


def test_notes_one_by_one(service: Standin, film: TruthMedia) -> None:
    """Loaders and readers read notes as they come: their progress begins and ends in the same way."""
    news: list[Progress] = []
    with OmniClient(Settings.load(api_key=service.api_key, base_url=service.base_url)) as client:
        options = SummaryOptions(**CHOICES, checkpoint=False)
        notes = [*iter_notes(film.path, client=client, options=options, on_progress=news.append)]
    assert len(notes) == 2
    assert [one.kind for one in news][:: len(news) - 1] == ["planned", "done"]
    assert news[0].text == f"{film.path}: 0:16, notes of about 2 segments of at most 8 s by qwen3.8-omni-flash"
    assert (news[-1].done, news[-1].segments) == (2, 2)
