"""Every public way to ask, over a real socket: what is sent, what comes back, and what is never sent."""

import base64
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from langchain_core.exceptions import ModelRateLimitError
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage
from pydantic import BaseModel, SecretStr

from langchain_qwen_omni import ChatQwenOmni, NoToolCallError
from qwen_omni.errors import MediaOutsideRootError, RateLimitError, StreamInterruptedError, UnsupportedMediaError
from qwen_omni.standin import Fault, Standin, ToolCall, Turn
from qwen_omni.standin.marked_media import TruthMedia, make_frames, make_image, make_video


class Fact(BaseModel):
    """A fact."""

    fact: str


def find(query: str) -> str:
    """Find something."""
    return query


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> TruthMedia:
    """A video of four seconds with a code in picture and sound for each."""
    return make_video(tmp_path_factory.mktemp("clips") / "clip.mp4", seconds=4, size=(320, 180))


@pytest.fixture
async def llm(standin: Standin, clip: TruthMedia) -> AsyncIterator[ChatQwenOmni]:
    """A model at the stand-in that may read the folder of the clip."""
    model = ChatQwenOmni(
        api_key=SecretStr(standin.api_key),
        base_url=standin.base_url,
        max_retries=0,
        media_root=str(Path(clip.path).parent),
    )
    yield model
    model.close()
    await model.aclose()


async def _astream(llm: Any, question: Any, **options: Any) -> AIMessage:
    full: AIMessageChunk | None = None
    async for chunk in llm.astream(question, **options):
        full = chunk if full is None else full + chunk
    assert full is not None
    return full


def _stream(llm: Any, question: Any, **options: Any) -> AIMessage:
    full: AIMessageChunk | None = None
    for chunk in llm.stream(question, **options):
        full = chunk if full is None else full + chunk
    assert full is not None
    return full


async def _invoke(llm: Any, question: Any, **options: Any) -> AIMessage:
    return llm.invoke(question, **options)


async def _streamed(llm: Any, question: Any, **options: Any) -> AIMessage:
    return _stream(llm, question, **options)


async def _ainvoke(llm: Any, question: Any, **options: Any) -> AIMessage:
    return await llm.ainvoke(question, **options)


async def _batch(llm: Any, question: Any, **options: Any) -> AIMessage:
    return llm.batch([question, "Hello"], **options)[0]


async def _abatch(llm: Any, question: Any, **options: Any) -> AIMessage:
    return (await llm.abatch([question, "Hello"], **options))[0]


async def _generate(llm: Any, question: Any, **options: Any) -> AIMessage:
    messages = [HumanMessage(question)] if isinstance(question, str) else question
    return llm.generate([messages], **options).generations[0][0].message


async def _events(llm: Any, question: Any, **options: Any) -> AIMessage:
    stream = llm.stream_events(question, version="v3", **options)
    for _ in stream:
        pass
    return stream.output


async def _aevents(llm: Any, question: Any, **options: Any) -> AIMessage:
    stream = await llm.astream_events(question, version="v3", **options)
    async for _ in stream:
        pass
    return await stream.output


Way = Callable[..., Awaitable[AIMessage]]
WAYS: dict[str, Way] = {
    "invoke": _invoke, "ainvoke": _ainvoke, "stream": _streamed, "astream": _astream, "batch": _batch,
    "abatch": _abatch, "generate": _generate, "stream_events": _events, "astream_events": _aevents,
}  # fmt: skip
OFF: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "nothing": ({}, {}),
    "streaming=False": ({"streaming": False}, {}),
    "disable_streaming": ({"disable_streaming": True}, {}),
    "disable_streaming for tools": ({"disable_streaming": "tool_calling"}, {"tools": [find]}),
    "stream=False": ({}, {"stream": False}),
    "stream_usage=False": ({}, {"stream_usage": False}),
}


# LangChain's own v3 events take no `stream=`: there the option cannot be given at all.
CASES = {
    f"{way} {off}": (WAYS[way], *OFF[off])
    for way in WAYS
    for off in OFF
    if not (off == "stream=False" and "events" in way)
}


@pytest.mark.filterwarnings("ignore::langchain_core._api.beta_decorator.LangChainBetaWarning")
@pytest.mark.parametrize(("way", "fields", "options"), CASES.values(), ids=CASES.keys())
async def test_every_request_streams(
    way: Way, fields: dict[str, Any], options: dict[str, Any], llm: ChatQwenOmni, standin: Standin
) -> None:
    """No option and no entry point sends a request that does not stream and ask for usage."""
    model = ChatQwenOmni(**{**{name: getattr(llm, name) for name in ("api_key", "base_url", "max_retries")}, **fields})
    answer = await way(model, "Hello", **options)
    model.close()
    await model.aclose()
    assert answer.text
    assert answer.usage_metadata is not None
    assert [(request.body["stream"], request.body["stream_options"]) for request in standin.requests] == [
        (True, {"include_usage": True})
    ] * len(standin.requests)


@pytest.mark.parametrize("path", ["extra_body", "bound extra_body"])
def test_extra_body_cannot_switch_streaming_off(path: str, llm: ChatQwenOmni, standin: Standin) -> None:
    """Not even a field that is passed on as it is can turn the stream off; nothing is sent."""
    asked: Any = llm if path == "extra_body" else llm.bind(extra_body={"stream": False})
    with pytest.raises(ValueError, match="stream"):
        asked.invoke("Hello", **({"extra_body": {"stream": False}} if path == "extra_body" else {}))
    assert standin.requests == []


def _media(clip: TruthMedia) -> dict[str, list[Any]]:
    return {
        "video": [{"type": "video", "path": str(clip.path)}],
        "video with fps": [{"type": "video", "url": f"file://{clip.path}", "extras": {"fps": 1}}],
        "picture": [{"type": "image", "base64": _b64(make_image(clip.codes[0], (320, 240))), "mime_type": "image/png"}],
        "frames": [
            {"type": "video", "fps": 1,
             "video": [f"data:image/jpeg;base64,{_b64(frame)}" for frame in make_frames(clip.codes, (320, 240))]}
        ],
    }  # fmt: skip


def _b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


@pytest.mark.parametrize("way", [_invoke, _astream], ids=["invoke", "astream"])
@pytest.mark.parametrize("kind", ["video", "video with fps", "picture", "frames"])
async def test_media_is_seen(way: Way, kind: str, llm: ChatQwenOmni, standin: Standin, clip: TruthMedia) -> None:
    """What the service decoded is what was in the file: its codes, in order, and the answer names them."""
    question = [HumanMessage([*_media(clip)[kind], {"type": "text", "text": "Which codes are shown?"}])]
    answer = await way(llm, question)
    (facts,) = standin.requests[-1].media
    shown = clip.codes[:1] if kind == "picture" else clip.codes
    assert facts.picture_codes == tuple(shown)
    assert all(code in answer.text for code in shown)
    details = (answer.usage_metadata or {}).get("input_token_details", {})
    assert set(details) >= {"text", "image" if kind == "picture" else "video"}


async def test_twins_answer_alike(llm: ChatQwenOmni) -> None:
    """Sync and async, whole and streamed: the same text, thinking and usage."""
    answers = [await way(llm, "How are you?") for way in (_invoke, _ainvoke, _streamed, _astream)]
    told = [
        ([{k: v for k, v in block.items() if k != "index"} for block in answer.content_blocks], answer.usage_metadata)
        for answer in answers
    ]
    assert told.count(told[0]) == 4


@pytest.mark.parametrize("way", [_invoke, _ainvoke, _streamed, _astream])
async def test_errors_of_both_families(way: Way, llm: ChatQwenOmni, standin: Standin) -> None:
    """An error of the service is caught by our name and by LangChain's."""
    standin.script.fault(Fault.rate_limit())
    with pytest.raises(RateLimitError) as caught:
        await way(llm, "Hello")
    assert isinstance(caught.value, ModelRateLimitError)
    assert caught.value.is_retryable


@pytest.mark.parametrize("way", [_invoke, _ainvoke, _streamed, _astream])
async def test_a_cut_answer_is_no_answer(way: Way, llm: ChatQwenOmni, standin: Standin) -> None:
    """A stream that breaks off raises, with what had come."""
    standin.script.fault(Fault.cut(after_bytes=900))
    with pytest.raises(StreamInterruptedError) as caught:
        await way(llm, "Hello")
    assert caught.value.partial.finish_reason is None


async def test_seconds_of_a_link(llm: ChatQwenOmni, standin: Standin, clip: TruthMedia) -> None:
    """Seconds in a link's address are told to have no effect, and the whole is seen; asked for, they are refused."""
    link = {"type": "video", "url": "https://media.example.com/clip.mp4#t=1,2"}
    standin.media_map["https://media.example.com/clip.mp4"] = clip.path
    with pytest.warns(UserWarning, match=r"part 0: https://media\.example\.com/clip\.mp4.* as a whole"):
        await llm.ainvoke([HumanMessage([link, "What is shown?"])])
    assert standin.requests[-1].media[0].picture_codes == clip.codes
    with pytest.raises(UnsupportedMediaError, match="is a link, and start= and end= are for local media"):
        llm.invoke([HumanMessage([{**link, "start": 1}])])
    assert len(standin.requests) == 1


@pytest.mark.parametrize(
    "block", [{"type": "video", "path": "/etc/passwd"}, {"type": "image", "url": "file:///etc/passwd"}]
)
def test_files_outside_the_root(block: dict[str, Any], llm: ChatQwenOmni, standin: Standin) -> None:
    """A message cannot name a file outside `media_root`; nothing is sent."""
    with pytest.raises(MediaOutsideRootError):
        llm.invoke([HumanMessage([block])])
    assert standin.requests == []


@pytest.mark.parametrize("method", ["json_schema", "function_calling"])
@pytest.mark.parametrize("model", ["qwen3.8-omni-flash", "qwen3.5-omni-flash"])
async def test_structured_output(method: Any, model: str, llm: ChatQwenOmni, standin: Standin) -> None:
    """Objects of the schema come back from every model and method, whole and streamed, without thinking."""
    structured = llm.with_structured_output(Fact, method=method, model=model)
    assert isinstance(structured.invoke("A fact about cats."), Fact)
    assert isinstance(await structured.ainvoke("A fact about cats."), Fact)
    assert isinstance(list(structured.stream("A fact about cats."))[-1], Fact)
    raw = llm.with_structured_output(Fact, method=method, include_raw=True, model=model).invoke("A fact.")
    assert isinstance(raw, dict)
    assert (isinstance(raw["raw"], AIMessage), isinstance(raw["parsed"], Fact), raw["parsing_error"]) == (
        True,
        True,
        None,
    )
    assert [request.refused for request in standin.requests] == [None] * 4
    if model == "qwen3.8-omni-flash":
        assert {request.body["reasoning_effort"] for request in standin.requests} == {"none"}


def test_raw_keeps_what_cannot_be_parsed(llm: ChatQwenOmni, standin: Standin) -> None:
    """With `include_raw` an answer that does not fit is given, with the error beside it."""
    standin.script.reply("I would rather not.")
    raw = llm.with_structured_output(Fact, include_raw=True).invoke("A fact.")
    assert isinstance(raw, dict)
    assert (raw["raw"].text, raw["parsed"]) == ("I would rather not.", None)
    assert raw["parsing_error"] is not None


def keep(note: str) -> str:
    """Keep something."""
    return note


def test_any_tool_is_asked_for_twice(llm: ChatQwenOmni, standin: Standin) -> None:
    """Where a tool must be called and none is, the question is put once more."""
    call = Turn(tool_calls=(ToolCall(name="keep", arguments={"note": "x"}),))
    standin.script.reply("No.").reply(call)
    answer = llm.bind_tools([find, keep], tool_choice="any").invoke("Keep x.")
    assert isinstance(answer, AIMessage)
    assert [call["name"] for call in answer.tool_calls] == ["keep"]
    assert len(standin.requests) == 2


@pytest.mark.parametrize("way", [_invoke, _ainvoke, _streamed, _astream])
async def test_any_tool_refused(way: Way, llm: ChatQwenOmni, standin: Standin) -> None:
    """An answer without the call that was asked for is an error, not an answer."""
    standin.script.reply("No.", times=2)
    with pytest.raises(NoToolCallError, match="find, keep"):
        await way(llm.bind_tools([find, keep], tool_choice="any"), "Keep x.")


def test_one_connection(llm: ChatQwenOmni, standin: Standin) -> None:
    """Calls one after another share a connection, whole and streamed."""
    for _ in range(3):
        llm.invoke("Hello")
        _stream(llm, "Hello")
    assert standin.connections == 1


def test_import_is_light() -> None:
    """Importing the package loads no media library, no SDK, no command line and not the other framework."""
    heavy = ("av", "openai", "oss2", "typer", "rich", "llama_index", "PIL", "numpy")
    code = f"import sys, langchain_qwen_omni as m; m.ChatQwenOmni; print([n for n in {heavy} if n in sys.modules])"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "[]"


def test_exports() -> None:
    """The package exports exactly its sorted list."""
    import langchain_qwen_omni as package  # noqa: PLC0415

    assert sorted(package.__all__) == package.__all__ == dir(package)
    assert all(getattr(package, name) for name in package.__all__)
    with pytest.raises(AttributeError, match="nothing_like_it"):
        package.nothing_like_it  # noqa: B018
