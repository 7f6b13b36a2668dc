"""What is sent and what comes back, recorded: each cassette is played by the core and by both adapters, sync and async.

So a cassette proves that all of them send the same, and read the same bytes alike.
"""

import asyncio
import json
import socket
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from pydantic import BaseModel

from langchain_qwen_omni import LongVideoChain, QwenOmniAudioLoader, QwenOmniVideoLoader, caption_chain
from llama_index_qwen_omni import LongVideoWorkflow, QwenOmniAudioReader, QwenOmniVideoReader
from qwen_omni import (
    CaptionOptions,
    SummaryOptions,
    TranscriptionOptions,
    VideoCaption,
    acaption,
    aiter_notes,
    asummarize,
    atranscribe,
    caption,
    iter_notes,
    summarize,
    transcribe,
)
from qwen_omni.errors import (
    AuthenticationError,
    ContentFilterError,
    InvalidRequestError,
    MediaRefusedError,
    RateLimitError,
    ServerError,
    StreamInterruptedError,
    TruncatedAnswerError,
)
from qwen_omni.standin import Fault, Script, Standin, ToolCall, Turn
from qwen_omni.structured.schema import TASK
from tests.contracts.frameworks import FRAMEWORKS, LANGCHAIN, LLAMA_INDEX, Door, Medium, Way, find
from tests.contracts.recorded import (
    AUDIO,
    CHATS,
    FACES,
    FILM,
    IMAGE,
    LINK,
    VIDEO,
    Case,
    Work,
    content_of,
    expected,
    held,
    marks,
    rows,
)
from tests.support.quirks import ROLE, events, text as piece

pytestmark = pytest.mark.vcr


@pytest.fixture
def script(request: pytest.FixtureRequest) -> Script:
    """What the stand-in answers to this case."""
    case = request.node.callspec.params.get("case")
    return case.script() if case is not None else Script()


# --- Answers ---

ANSWERS = {
    "text": Case(proves="Text, usage and the reason of the end; every request streams and asks for usage."),
    "thinking": Case(proves="Reasoning comes apart from the text.", options={"thinking": "low"}),
    "image": Case(proves="An image held in memory is sent inline and seen.", asks=(IMAGE, "Which code is shown?")),
    "audio": Case(proves="A recording is sent inline and heard.", asks=(AUDIO, "Which codes are said?")),
    "video": Case(proves="A video is sent inline; its frames and its sound are used.", asks=(VIDEO, "Which codes?")),
    "upload": Case(
        proves="A video travels through the temporary store: policy, form, then its `oss://` address in the question.",
        asks=(VIDEO, "Which codes?"),
        fields={"delivery": "temporary"},
    ),
    "speech": Case(
        proves="Speech comes in pieces beside the text and adds up to raw samples.",
        asks=("Say hi.",),
        options={"modalities": ("text", "audio")},
        fields={"model": "qwen3.5-omni-flash"},
        script=lambda: Script().reply("Hi."),
    ),
    "length": Case(
        proves="An answer that `max_tokens` ends says `length`.",
        asks=("Count to one hundred.",),
        options={"thinking": False, "max_tokens": 5},
    ),
    "content-filter": Case(
        proves="An answer that the inspection of content ends says `content_filter`.",
        script=lambda: Script().reply(Turn(text="Once upon a", finish_reason="content_filter")),
        scripted=True,
    ),
}


@rows(ANSWERS, CHATS)
async def test_answers(case: Case, face: Any, way: Way, llm: Any, media: dict[str, Medium], vcr: Any) -> None:
    """Each way to ask returns what the cassette holds: text, reasoning, speech, usage, the reason of the end."""
    asks = [media.get(part, part) for part in case.asks]
    answer = content_of(await way(llm, face.says(*asks) if len(asks) > 1 else case.asks[0], **case.options))
    assert answer == expected(held(vcr)[-1])
    assert answer.text
    assert bool(answer.thinking) == (case.options.get("thinking") == "low")
    assert bool(answer.pcm) == ("modalities" in case.options)


OTHERS: dict[str, dict[str, Way]] = {
    face.name: {name: way for name, way in face.ways.items() if name not in (*face.chats, "batch", "abatch")}
    for face in FRAMEWORKS
}
"""The other ways of the frameworks: completions, generations and events."""


@pytest.mark.filterwarnings("ignore::langchain_core._api.beta_decorator.LangChainBetaWarning")
@rows({"text": ANSWERS["text"]}, OTHERS)
async def test_other_ways(case: Case, face: Any, way: Way, llm: Any, vcr: Any) -> None:
    """They send the same and return the same."""
    answer = content_of(await way(llm, case.asks[0], **case.options))
    assert (answer.text, answer.tokens) == (expected(held(vcr)[-1]).text, expected(held(vcr)[-1]).tokens)


UPLOADS = {
    "upload-once": Case(
        proves="Two questions about one file share one upload, one after the other and at once.",
        asks=(VIDEO, "Which codes?"),
        fields={"delivery": "temporary"},
    )
}


async def _in_turn(llm: Any, face: Any, question: Any, options: dict[str, Any]) -> list[Any]:
    whole = next(iter(face.chats.values()))
    return [await whole(llm, question, **options) for _ in range(2)]


async def _at_once(llm: Any, face: Any, question: Any, options: dict[str, Any]) -> list[Any]:
    _, whole, *_ = face.chats.values()
    return await asyncio.gather(*(whole(llm, question, **options) for _ in range(2)))


@rows(UPLOADS, {face.name: {"in turn": _in_turn, "at once": _at_once} for face in FACES})
async def test_uploads(case: Case, face: Any, way: Work, llm: Any, media: dict[str, Medium], vcr: Any) -> None:
    """Policy and form are sent once, then both questions with the address; no name of a file is sent."""
    answers = await way(llm, face, face.says(*(media.get(part, part) for part in case.asks)), case.options)
    assert [content_of(one).text for one in answers] == [expected(body).text for body in held(vcr)[2:]]
    sent = [(one.method, one.path) for one in vcr.requests]
    assert [method for method, _ in sent] == ["GET", "POST", "POST", "POST"]
    assert "clip" not in str([(one.uri, one.body) for one in vcr.requests])


TOOLS = {
    "tools": Case(
        proves="A tool is offered, and its call comes back with id, name and arguments.",
        asks=("Find the word tent.",),
        script=lambda: Script().reply(Turn(tool_calls=(ToolCall(name="find", arguments={"query": "tent"}),))),
    )
}


@rows(TOOLS, CHATS, own=("llama_index",))
async def test_tools(case: Case, face: Any, way: Way, llm: Any, vcr: Any) -> None:
    """The call of a tool; LlamaIndex describes a function in its own words, so it has a cassette of its own."""
    answer = content_of(await face.call(way, llm, find, question=case.asks[0]))
    ((_, name, arguments),) = answer.calls
    assert (name, list(arguments)) == ("find", ["query"])
    assert answer == expected(held(vcr)[-1])


# --- Errors ---

ERRORS = {
    "error-401": Case(
        proves="A wrong key is an authentication error.",
        fields={"api_key": "sk-wrong"},
        error=AuthenticationError,
    ),
    "error-429": Case(
        proves="A refusal for too many requests is a rate limit error, which may be retried.",
        script=lambda: Script().fault(Fault.rate_limit()),
        error=RateLimitError,
        scripted=True,
    ),
    "error-400-about-media": Case(
        proves="A link that the service cannot fetch is an error about the media.",
        asks=(LINK, "What is shown?"),
        error=MediaRefusedError,
    ),
    "error-in-a-stream": Case(
        proves="An error after the first words is raised, with what arrived before it.",
        script=lambda: Script().fault(Fault.error_in_stream()),
        error=ServerError,
        scripted=True,
    ),
    "error-content-refused": Case(
        proves="Content that the service refuses is an error of its own, which is not retried.",
        script=lambda: Script().fault(
            Fault.refuse(400, "data_inspection_failed", "Input text data may contain inappropriate content.")
        ),
        error=ContentFilterError,
        scripted=True,
    ),
    "error-cut": Case(
        proves="A stream that ends without a reason is an error, with what arrived; it is never a short answer.",
        script=lambda: Script().raw(events(ROLE, piece("Once upon"), piece(" a time"), done=False)),
        error=StreamInterruptedError,
        scripted=True,
    ),
    "error-400-about-an-option": Case(
        proves="An option that the service refuses is an invalid request, and the error has the service's words.",
        options={"thinking": False, "extra_body": {"seed": -1}},
        script=lambda: Script().fault(Fault.refuse(400, "InvalidParameter", "Range of seed should be [0, 2147483647]")),
        error=InvalidRequestError,
    ),
}


@rows(ERRORS, CHATS)
async def test_errors(case: Case, face: Any, way: Way, llm: Any, media: dict[str, Medium], vcr: Any) -> None:
    """Each way to ask raises the same error, which is the framework's too, with what had arrived."""
    asks = [media.get(part, part) for part in case.asks]
    assert case.error is not None
    with pytest.raises(case.error) as caught:
        await way(llm, face.says(*asks) if len(asks) > 1 else case.asks[0], **case.options)
    assert type(caught.value).__name__ == case.error.__name__
    assert isinstance(caught.value, face.error)
    body = held(vcr)[-1]
    partial = getattr(caught.value, "partial", None)
    assert (partial.text if partial else "") == (expected(body).text if body.startswith(b"data:") else "")


# --- Objects ---


class Colour(BaseModel):
    """A colour."""

    name: str
    warm: bool


def _scripted(text: str, finish: str | None = None, **more: Any) -> Callable[[], Script]:
    return lambda: Script().reply(Turn(text=text, finish_reason=finish, **more), when=lambda _: True)


WARM = '{"name": "red", "warm": true}'
OBJECTS = {
    "object": Case(
        proves="An object in JSON mode: the schema is in the prompt, thinking is off.", script=_scripted(WARM)
    ),
    "object-by-call": Case(
        proves="An object as the arguments of a tool that must be called.",
        script=_scripted("", tool_calls=(ToolCall(name="Colour", arguments={"name": "red", "warm": True}),)),
    ),
    "object-length": Case(
        proves="An object that the token limit cuts is an error with what arrived, and is not asked for again.",
        error=TruncatedAnswerError,
        script=_scripted('{"name": "red", "wa', "length"),
        scripted=True,
    ),
    "object-content-filter": Case(
        proves="An object that the inspection of content cuts is an error with what arrived.",
        error=TruncatedAnswerError,
        script=_scripted('{"name": "red", "wa', "content_filter"),
        scripted=True,
    ),
}
_DOORS = [
    pytest.param(
        case, face, door, id=f"{face.name} {name} {row}",
        marks=marks(
            f"{row}-{face.name}{'-json-mode' * name.startswith('json_mode')}", case.proves, scripted=case.scripted
        ),
    )
    for row, case in OBJECTS.items()
    for face in FRAMEWORKS
    for name, door in face.doors.items()
    if door.calls == ("call" in row) and not name.startswith(("parser", "chain"))
]  # fmt: skip


@pytest.mark.parametrize(("case", "face", "door"), _DOORS)
async def test_objects(case: Case, face: Any, door: Door, llm: Any) -> None:
    """Each door to an object reads the same bytes; one that is cut is an error everywhere."""
    asked = door.ask(llm, Colour, "A colour like fire, as JSON.")
    if case.error is None:
        assert isinstance(await asked, Colour)
        return
    with pytest.raises(case.error) as caught:
        await asked
    assert isinstance(caught.value, face.wrong_answer)
    assert caught.value.partial == {"name": "red"}


# --- Captions, documents, long videos ---

CUT = SummaryOptions(detail="low", segment_seconds=7.5, overlap=0, single_call_seconds=0, concurrency=1)


async def _caption(llm: Any, path: Path) -> VideoCaption:
    return caption(path, client=llm.client, options=CaptionOptions(language="French")).value


async def _acaption(llm: Any, path: Path) -> VideoCaption:
    return (await acaption(path, client=llm.async_client, options=CaptionOptions(language="French"))).value


async def _chain(llm: Any, path: Path) -> VideoCaption:
    return caption_chain(llm, VideoCaption, language="French").invoke(LANGCHAIN.says(Medium("video", path=path), TASK))


async def _achain(llm: Any, path: Path) -> VideoCaption:
    chain = caption_chain(llm, VideoCaption, language="French")
    return await chain.ainvoke(LANGCHAIN.says(Medium("video", path=path), TASK))


def _french(path: Path) -> list[Any]:
    return LLAMA_INDEX.says(Medium("video", path=path), f"{TASK} Write every text in French.")


async def _structured(llm: Any, path: Path) -> VideoCaption:
    return llm.as_structured_llm(VideoCaption).chat(_french(path)).raw


async def _astructured(llm: Any, path: Path) -> VideoCaption:
    return (await llm.as_structured_llm(VideoCaption).achat(_french(path))).raw


CAPTIONS = {
    "caption": Case(proves="A caption of a video in one request: JSON mode, the schema and the language in the prompt.")
}
CAPTION_WAYS: dict[str, dict[str, Work]] = {
    "core": {"caption": _caption, "acaption": _acaption},
    "langchain": {"invoke": _chain, "ainvoke": _achain},
    "llama_index": {"chat": _structured, "achat": _astructured},
}


@rows(CAPTIONS, CAPTION_WAYS, own=("llama_index",))
async def test_captions(case: Case, face: Any, way: Work, llm: Any, media: dict[str, Medium], vcr: Any) -> None:
    """A caption is what the service answered, as an object; LlamaIndex's question names the language."""
    found = await way(llm, media[VIDEO].path)
    sent = json.loads(vcr.requests[-1].body)
    assert (sent["response_format"], sent["reasoning_effort"]) == ({"type": "json_object"}, "none")
    assert all(word in str(sent["messages"]) for word in ("scene_description", "in French", "<video mp4 320x180"))
    assert found == VideoCaption.model_validate_json(expected(held(vcr)[-1]).text)


async def _notes(llm: Any, path: Path) -> Any:
    return list(iter_notes(path, client=llm.client, options=CUT))


async def _anotes(llm: Any, path: Path) -> Any:
    return [one async for one in aiter_notes(path, client=llm.async_client, options=CUT)]


def _loader(llm: Any, path: Path) -> QwenOmniVideoLoader:
    return QwenOmniVideoLoader(path, llm, options=CUT)


async def _load(llm: Any, path: Path) -> Any:
    return _loader(llm, path).load()


async def _alazy_load(llm: Any, path: Path) -> Any:
    return [one async for one in _loader(llm, path).alazy_load()]


def _reader(llm: Any) -> QwenOmniVideoReader:
    return QwenOmniVideoReader(llm=llm, options=CUT)


async def _load_data(llm: Any, path: Path) -> Any:
    return _reader(llm).load_data(path)


async def _aload_data(llm: Any, path: Path) -> Any:
    return await _reader(llm).aload_data(path)


DOCUMENTS = {"documents": Case(proves="A video becomes passages with times: each segment is one request, in order.")}
DOCUMENT_WAYS: dict[str, dict[str, Work]] = {
    "core": {"iter_notes": _notes, "aiter_notes": _anotes},
    "langchain": {"load": _load, "alazy_load": _alazy_load},
    "llama_index": {"load_data": _load_data, "aload_data": _aload_data},
}


@rows(DOCUMENTS, DOCUMENT_WAYS)
async def test_documents(case: Case, face: Any, way: Work, llm: Any, media: dict[str, Medium], vcr: Any) -> None:
    """Each segment is a document with its seconds, and the text is what the service answered."""
    found = await way(llm, media[FILM].path)
    spans = [
        (one.start, one.end) if face.name == "core" else (one.metadata["start"], one.metadata["end"]) for one in found
    ]
    assert [span[0] for span in spans] == [0, spans[0][1]]
    assert spans[-1][1] == pytest.approx(10, abs=0.2)
    texts = [
        one.summary if face.name == "core" else one.page_content if face.name == "langchain" else one.text
        for one in found
    ]
    answered = [json.loads(expected(body).text)["summary"] for body in held(vcr)]
    assert [any(answer in text for text in texts) for answer in answered] == [True] * len(texts)


async def _summary(llm: Any, path: Path, options: dict[str, Any]) -> Any:
    return summarize(path, client=llm.client, options=SummaryOptions(**options))


async def _asummary(llm: Any, path: Path, options: dict[str, Any]) -> Any:
    return await asummarize(path, client=llm.async_client, options=SummaryOptions(**options))


async def _long(llm: Any, path: Path, options: dict[str, Any]) -> Any:
    return LongVideoChain(llm, **options).invoke(path)


async def _along(llm: Any, path: Path, options: dict[str, Any]) -> Any:
    return await LongVideoChain(llm, **options).ainvoke(path)


async def _workflow(llm: Any, path: Path, options: dict[str, Any]) -> Any:
    return await LongVideoWorkflow(llm, **options).run(video=path)


LONG = {
    "long-video": Case(
        proves="A long video: notes of each segment, then one request to the text model that joins them."
    )
}
LONG_WAYS: dict[str, dict[str, Work]] = {
    "core": {"summarize": _summary, "asummarize": _asummary},
    "langchain": {"invoke": _long, "ainvoke": _along},
    "llama_index": {"run": _workflow},
}


@rows(LONG, LONG_WAYS)
async def test_long_videos(case: Case, face: Any, way: Work, llm: Any, media: dict[str, Medium], vcr: Any) -> None:
    """The summary is what the text model answered, the events are those of the segments."""
    options = {
        name: getattr(CUT, name)
        for name in ("detail", "segment_seconds", "overlap", "single_call_seconds", "concurrency")
    }
    found = await way(llm, media[FILM].path, options)
    sent = [json.loads(one.body) for one in vcr.requests]
    assert [one["model"] for one in sent] == ["qwen3.8-omni-flash", "qwen3.8-omni-flash", "qwen-plus"]
    assert ["<video mp4 128x96" in str(one) for one in sent] == [True, True, False]
    *notes, joined = [json.loads(expected(body).text) for body in held(vcr)]
    assert (found.segments, found.this_run.requests) == (len(notes), len(notes) + 1)
    assert found.summary == joined["summary"]
    assert {one.text for one in found.events} == {event["text"] for one in notes for event in one["events"]}


# --- Speech to text ---

QUICK = TranscriptionOptions(poll_seconds=0.01)


async def _said(llm: Any, path: Path, options: TranscriptionOptions) -> str:
    return transcribe(path, client=llm.client, options=options).text


async def _asaid(llm: Any, path: Path, options: TranscriptionOptions) -> str:
    return (await atranscribe(path, client=llm.async_client, options=options)).text


async def _load_audio(llm: Any, path: Path, options: TranscriptionOptions) -> str:
    (document,) = QwenOmniAudioLoader(path, llm, options=options, mode="single").load()
    return document.page_content


async def _aload_audio(llm: Any, path: Path, options: TranscriptionOptions) -> str:
    (document,) = [one async for one in QwenOmniAudioLoader(path, llm, options=options, mode="single").alazy_load()]
    return document.page_content


async def _read_audio(llm: Any, path: Path, options: TranscriptionOptions) -> str:
    (document,) = QwenOmniAudioReader(llm, options=options, mode="single").load_data(path)
    return document.text


async def _aread_audio(llm: Any, path: Path, options: TranscriptionOptions) -> str:
    (document,) = await QwenOmniAudioReader(llm, options=options, mode="single").aload_data(path)
    return document.text


TRANSCRIPTS = {
    "transcription-as-a-task": Case(
        proves="Speech to text as a task: upload, task, state, and the transcript behind a link.",
        options={"model": "paraformer-v2"},
    ),
    "transcription-at-once": Case(
        proves="Speech to text in one chat request, with the recording inside.", options={"model": "qwen3-asr-flash"}
    ),
}
TRANSCRIPT_WAYS: dict[str, dict[str, Work]] = {
    "core": {"transcribe": _said, "atranscribe": _asaid},
    "langchain": {"load": _load_audio, "alazy_load": _aload_audio},
    "llama_index": {"load_data": _read_audio, "aload_data": _aread_audio},
}


@rows(TRANSCRIPTS, TRANSCRIPT_WAYS)
async def test_transcripts(case: Case, face: Any, way: Work, llm: Any, media: dict[str, Medium], vcr: Any) -> None:
    """The text is what the service heard."""
    found = await way(llm, media[AUDIO].path, replace(QUICK, **case.options))
    body = held(vcr)[-1]
    heard = expected(body).text if body.startswith(b"data:") else json.loads(body)["transcripts"][0]["text"]
    assert found.split() == heard.split()
    assert heard


# --- The network ---


@pytest.mark.default_cassette("text.yaml")
@pytest.mark.proves(ANSWERS["text"].proves)
@pytest.mark.parametrize(("case", "face"), [(ANSWERS["text"], FACES[0])], ids=["text"])
async def test_the_network_is_blocked(case: Case, face: Any, llm: Any, standin: Standin) -> None:
    """A test with a cassette reaches the cassette alone: a service on this machine is out of reach."""
    address = (urlsplit(standin.base_url).hostname, urlsplit(standin.base_url).port)
    with pytest.raises(Exception, match=r"tried to use socket|Network is disabled"), socket.socket() as connection:
        connection.connect(address)
    assert (await llm.async_client.complete(llm.request(case.asks[0], **case.options))).text
    assert standin.connections == 0
