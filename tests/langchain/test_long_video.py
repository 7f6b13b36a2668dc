"""`LongVideoChain`: the contract of a Runnable around what the core does with long videos."""

import asyncio
import re
import threading
from typing import Any

import pytest
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.documents import Document
from langchain_core.exceptions import LangChainException
from langchain_core.language_models import BaseChatModel, FakeMessagesListChatModel
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.prompt_values import ChatPromptValue
from langchain_core.prompts import ChatPromptTemplate, MessagesPlaceholder
from langchain_core.runnables import RunnableLambda
from langchain_core.tracers.run_collector import RunCollectorCallbackHandler

from langchain_qwen_omni import ChatQwenOmni, LongVideoChain, clip
from qwen_omni import (
    AuthenticationError,
    MediaOutsideRootError,
    Progress,
    UnsupportedContentError,
    VideoAnswer,
    VideoSummary,
)
from qwen_omni.standin import Fault
from qwen_omni.standin.marked_media import make_video

CHOICES: dict[str, Any] = {
    "detail": "low", "segment_seconds": 12, "overlap": 0, "single_call_seconds": 0, "retry_seconds": 0.0,
}  # fmt: skip


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    """Twenty-four seconds, two segments."""
    return make_video(tmp_path_factory.mktemp("film") / "a.mp4", seconds=24, size=(128, 96), fps=2, sound=False)


@pytest.fixture
def llm(service, film):
    service.clear()
    return ChatQwenOmni(api_key=service.api_key, base_url=service.base_url, media_root=film.path.parent)


def check(found, film):
    assert isinstance(found, VideoSummary)
    assert [re.search(r"\d{4}", note.text)[0] for note in found.events] == list(film.codes)


def test_invoke_and_stream(llm, service, film):
    """Progress comes first, the summary last; asked again, nothing is sent. A path and a message mean the same."""
    pieces = list(LongVideoChain(llm, **CHOICES).stream(film.path))
    assert all(isinstance(piece, Progress) for piece in pieces[:-1])
    assert {"planned", "prepared", "segment", "joined", "done"} <= {piece.kind for piece in pieces[:-1]}
    check(pieces[-1], film)
    asked = len(service.requests)
    message = HumanMessage([{"type": "video", "path": str(film.path)}])
    for given in (str(film.path), {"video": film.path}, {"type": "video", "path": str(film.path)}, message):
        check(LongVideoChain(llm, **CHOICES).invoke(given), film)
    assert len(service.requests) == asked


async def test_events_show_the_map_steps(llm, film):
    """`astream_events` shows a run for each segment, custom events with progress, and the result at the end."""
    events = [event async for event in LongVideoChain(llm, **CHOICES).astream_events(film.path, version="v2")]
    names = {event["name"] for event in events if event["event"] == "on_chain_start"}
    assert {"LongVideoChain", "segment 0", "segment 1"} <= names
    ended = [event["name"] for event in events if event["event"] == "on_chain_end"]
    assert {"segment 0", "segment 1"} <= set(ended)
    told = [event["data"] for event in events if event["event"] == "on_custom_event"]
    assert told[-1]["kind"] == "done"
    check(await LongVideoChain(llm, **CHOICES).ainvoke(film.path), film)


def test_callbacks_and_chains(llm, film):
    """Callbacks of the config hear of the steps; what follows in a chain gets the summary alone."""
    heard = []

    class Names(BaseCallbackHandler):
        def on_chain_start(self, serialized, inputs, **kwargs):
            heard.append(kwargs.get("name") or "")

    chain = LongVideoChain(llm, **CHOICES) | RunnableLambda(lambda found: found.summary)
    assert chain.invoke(film.path, config={"callbacks": [Names()]}).startswith("[stand-in]")
    assert "segment 0" in heard
    assert list(chain.stream(film.path))[-1].startswith("[stand-in]")


@pytest.mark.parametrize("asynchronous", [False, True])
def test_open_segments_end_with_the_error(llm, service, film, tmp_path, asynchronous):
    """A run that stops on an error leaves no child run open: each is told what ended it."""
    began, ended, failed = {}, set(), {}

    class Runs(BaseCallbackHandler):
        def on_chain_start(self, serialized, inputs, *, run_id, **kwargs):
            began[run_id] = kwargs.get("name")

        def on_chain_end(self, outputs, *, run_id, **kwargs):
            ended.add(run_id)

        def on_chain_error(self, error, *, run_id, **kwargs):
            failed[run_id] = error

    service.script.fault(Fault.refuse(401, "invalid_api_key", "Incorrect API key"), times=9)
    chain = LongVideoChain(llm, checkpoint=tmp_path, concurrency=1, **CHOICES)
    config = {"callbacks": [Runs()]}
    with pytest.raises(AuthenticationError):
        asyncio.run(chain.ainvoke(film.path, config=config)) if asynchronous else chain.invoke(film.path, config=config)
    service.script.clear()
    assert ended | set(failed) == set(began)
    assert all(isinstance(error, AuthenticationError) for error in failed.values())
    names = {began[run] for run in failed}
    assert "LongVideoChain" in names
    assert any(name.startswith("segment ") for name in names)


def llm_runs(run):
    """Yield all LLM runs below a run, with the names of the runs above them."""
    for child in run.child_runs:
        if child.run_type in ("llm", "chat_model"):
            yield run.name, child
        yield from llm_runs(child)


@pytest.mark.parametrize("asynchronous", [False, True])
def test_requests_are_llm_runs_below_their_steps(llm, film, tmp_path, asynchronous):
    """With provider, model and times; the join by a model of one's own is a run of that model."""
    answer = '{"summary": "A test.", "chapters": [{"start": 0, "title": "All of it"}]}'
    joiner = FakeMessagesListChatModel(responses=[AIMessage(answer)], name="joiner")
    for other, name in ((None, "ChatQwenOmni"), (joiner, "joiner")):
        collector = RunCollectorCallbackHandler()
        config = {"callbacks": [collector]}
        chain = LongVideoChain(llm, text_model=other or "qwen-plus", checkpoint=tmp_path / name, **CHOICES)
        asyncio.run(chain.ainvoke(film.path, config)) if asynchronous else chain.invoke(film.path, config)
        runs = sorted(llm_runs(collector.traced_runs[0]), key=lambda pair: pair[0])
        assert [(place, one.name) for place, one in runs] == [
            ("LongVideoChain", name), ("segment 0", "ChatQwenOmni"), ("segment 1", "ChatQwenOmni"),
        ]  # fmt: skip
        told = [one.extra["metadata"] for _, one in runs if one.name == "ChatQwenOmni"]
        models = ["qwen-plus", *[llm.model] * 2] if other is None else [llm.model] * 2
        assert [(one["ls_provider"], one["ls_model_name"]) for one in told] == [("qwen-omni", one) for one in models]
        assert all(one.start_time < one.end_time and one.error is None for _, one in runs)


def test_a_node_of_a_graph(llm, film):
    """With `output_key` the result is an update of a graph's state; `input_key` says where the video stands."""
    chain = LongVideoChain(llm, input_key="file", output_key="found", **CHOICES)
    check(chain.invoke({"file": str(film.path), "other": 1})["found"], film)
    graph = pytest.importorskip("langgraph.graph")
    builder = graph.StateGraph(dict)
    builder.add_node("summarise", chain)
    builder.add_edge(graph.START, "summarise")
    builder.add_edge("summarise", graph.END)
    check(builder.compile().invoke({"file": str(film.path)})["found"], film)


def test_a_model_of_ones_own_joins(llm, service, film):
    """Any chat model may join the notes; it is given them, and the service's text model is not asked."""

    class Own(BaseChatModel):
        seen: list = []  # noqa: RUF012  (pydantic copies it)

        @property
        def _llm_type(self):
            return "own"

        def _generate(self, messages, stop=None, run_manager=None, **kwargs):
            self.seen.append(messages)
            told = AIMessage('{"summary": "mine", "chapters": [{"start": "0:05", "title": "five"}]}')
            return ChatResult(generations=[ChatGeneration(message=told)])

    own = Own()
    found = LongVideoChain(llm, text_model=own, **CHOICES).invoke(film.path)
    assert (found.summary, found.text_model) == ("mine", "own")
    assert [(one.start, one.title) for one in found.chapters] == [(5.0, "five")]
    assert all(code in own.seen[0][-1].text for code in film.codes)
    assert "qwen-plus" not in {request.body["model"] for request in service.requests}


async def test_a_model_of_ones_own_is_awaited(llm, film, tmp_path):
    """In `asyncio` the model's own coroutine is awaited, on the loop's thread; its blocking half is not called."""
    threads = []

    class Awaited(BaseChatModel):
        @property
        def _llm_type(self):
            return "awaited"

        def _generate(self, messages, stop=None, run_manager=None, **kwargs):
            raise AssertionError("it was called from a thread")

        async def _agenerate(self, messages, stop=None, run_manager=None, **kwargs):
            threads.append(threading.current_thread())
            return ChatResult(generations=[ChatGeneration(message=AIMessage('{"summary": "awaited", "chapters": []}'))])

    found = await LongVideoChain(llm, text_model=Awaited(), checkpoint=tmp_path, **CHOICES).ainvoke(film.path)
    assert found.summary == "awaited"
    assert threads == [threading.current_thread()]


@pytest.mark.parametrize(
    ("given", "error"),
    [
        ({"other": 1}, UnsupportedContentError),
        (HumanMessage("no media"), UnsupportedContentError),
        ({"type": "video", "path": "/etc/hostname"}, MediaOutsideRootError),
    ],
    ids=["no key", "no media", "outside"],
)
def test_errors_are_of_both_families(llm, given, error):
    """Ours and LangChain's; a path out of a message must lie inside the model's root."""
    with pytest.raises(error) as caught:
        LongVideoChain(llm, **CHOICES).invoke(given)
    assert isinstance(caught.value, LangChainException)


@pytest.mark.parametrize("chosen", [{}, {"start": 0, "end": 12}], ids=["the whole", "another range"])
def test_the_range_of_a_block(llm, service, film, tmp_path, chosen):
    """Only the seconds that the block names are looked at, whatever range the chain itself has."""
    block = {"type": "video", "path": str(film.path), "extras": {"start": 14, "end": 20}}
    found = LongVideoChain(llm, checkpoint=tmp_path, **chosen, **CHOICES).invoke(block)
    assert [re.search(r"\d{4}", note.text)[0] for note in found.events] == list(film.codes[14:20])
    assert sum(media.duration for request in service.requests for media in request.media) == pytest.approx(6, abs=1)


def test_a_passage_is_a_range(llm, service, film, tmp_path):
    """What `clip` makes of a document is taken, too."""
    document = Document("", metadata={"source": str(film.path), "start": 2.0, "end": 8.0, "duration": 24.0})
    found = LongVideoChain(llm, checkpoint=tmp_path, **CHOICES).invoke(clip(document, margin=0))
    assert [re.search(r"\d{4}", note.text)[0] for note in found.events] == list(film.codes[2:8])


def said(film, text, **extras):
    video = {"type": "video", "path": str(film.path), **({"extras": extras} if extras else {})}
    return HumanMessage([video, {"type": "text", "text": text}])


@pytest.mark.slow
def test_the_text_of_a_message_is_the_question(llm, film):
    """The message's own question is answered, though the chain has another; alone, in a list, or out of a prompt."""
    wanted = f"When is {film.codes[15]} shown?"
    message = said(film, wanted)
    chain = LongVideoChain(llm, question="Who scores?", **CHOICES)
    prompt = ChatPromptTemplate.from_messages([MessagesPlaceholder("asked")])
    ways = [(chain, message), (chain, [message]), (chain, {"video": message}), (prompt | chain, {"asked": [message]})]
    for way, given in ways:
        found = way.invoke(given)
        assert isinstance(found, VideoAnswer)
        assert found.question == wanted
        assert any(film.codes[15] in one.text for one in found.evidence)


VIDEO = {"type": "video", "path": "a.mp4"}
REFUSED: dict[str, tuple[Any, str]] = {
    "frames a second": ({**VIDEO, "extras": {"fps": 4}}, "detail="),
    "rules beside it": ([SystemMessage("Be brief."), HumanMessage([VIDEO])], r"2 \(system, user\).*focus="),
    "an answer": (AIMessage("I saw it."), r"1 \(assistant\)"),
    "asked twice": ({"video": HumanMessage([VIDEO, "Who?"]), "question": "When?"}, "two questions"),
    "a prompt of words": (ChatPromptValue(messages=[HumanMessage("a.mp4")]), "no media"),
    "a list of numbers": ([1, 2], "a list of int"),
    "a number": (7, "int is not a video"),
}


@pytest.mark.parametrize(("given", "text"), REFUSED.values(), ids=REFUSED.keys())
def test_what_cannot_be_heeded_is_refused(llm, service, given, text):
    """Nothing is dropped in silence: the error says what to use instead, and nothing is sent."""
    with pytest.raises(UnsupportedContentError, match=text) as caught:
        LongVideoChain(llm, **CHOICES).invoke(given)
    assert isinstance(caught.value, LangChainException)
    assert service.requests == []
