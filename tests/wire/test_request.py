"""Neutral messages and options → the body of a request."""

import json
import re
from dataclasses import replace

import pytest

from qwen_omni import (
    AudioPart,
    ChatOptions,
    ChatRequest,
    ConfigurationError,
    FramesPart,
    ImagePart,
    MediaBudget,
    MediaSource,
    Message,
    Sampling,
    TextPart,
    Tool,
    ToolCallPart,
    ToolResultPart,
    UnsupportedContentError,
    VideoPart,
    profile_for,
    user,
)
from qwen_omni.client import OmniClient
from qwen_omni.messages import MediaPayload
from qwen_omni.request.estimate import estimate
from qwen_omni.request.prepared_request import RequestBody
from qwen_omni.wire.request import check_ranges, encode_headers, notices
from tests.contracts.conversations import CONVERSATIONS, WEATHER, Row, at
from tests.support.encoding import encode_request

FORMATS = {"mp3": "mp3", "wav": "wav"}


def link(source: MediaSource) -> MediaPayload:
    """A delivered link."""
    return MediaPayload(url=source.url, format=FORMATS.get((source.url or "").rpartition(".")[2]))


def encode(*messages: Message, model: str = "qwen3.8-omni-flash", **options: object) -> dict:
    request = ChatRequest(model=model, messages=messages, options=ChatOptions(**options))
    return encode_request(request, profile_for(model), link)


@pytest.mark.parametrize("row", CONVERSATIONS, ids=lambda row: row.name)
def test_the_shared_table(row: Row):
    """Each conversation becomes exactly its JSON, and the request always streams."""
    request = ChatRequest(model=row.model, messages=row.messages, options=row.options)
    fields = encode_request(request, profile_for(row.model), link)
    body = json.loads(b"".join(RequestBody(fields)))
    assert body.pop("stream") is True
    assert body.pop("stream_options") == {"include_usage": True}
    assert body == {"model": row.model, **row.body}


VIDEO = VideoPart(source=at("a.mp4"))
CALL = ToolCallPart(id="c", name="f", arguments="{}")
MISPLACED = {
    "media in a system message": (
        Message(role="system", parts=(VIDEO,)),
        "message 0 (system) part 0: it is a video, but",
    ),
    "media in an assistant message": (
        Message(role="assistant", parts=(TextPart(text="x"), AudioPart(source=at("a.wav")))),
        "message 0 (assistant) part 1: it is audio, but",
    ),
    "a tool call in a user message": (user("x", CALL), "message 0 (user) part 1: a tool call"),
    "a tool result in a user message": (
        user(ToolResultPart(tool_call_id="c", text="x")),
        "message 0 (user) part 0: a tool result",
    ),
    "media in a tool message": (
        Message(role="tool", parts=(ImagePart(source=at("a.png")),)),
        "message 0 (tool) part 0: it is an image, but",
    ),
}


@pytest.mark.parametrize(("message", "place"), MISPLACED.values(), ids=MISPLACED)
def test_misplaced_parts_name_their_place(message, place):
    """Nothing is dropped: a part without a place raises, with its place and kind."""
    with pytest.raises(UnsupportedContentError, match=re.sub(r"([()])", r"\\\1", place)):
        encode(message, user("What?"))


def test_a_conversation_needs_a_user():
    """The service refuses a conversation without a user message; we say so before sending."""
    with pytest.raises(UnsupportedContentError, match="no user message"):
        encode(Message(role="system", parts=(TextPart(text="x"),)))


REFUSED = {
    "speech on a text model": ({"modalities": ("text", "audio")}, "text only"),
    "speech with tools": (
        {"modalities": ("text", "audio"), "tools": (WEATHER,), "model": "qwen3.5-omni-flash"},
        "cannot be combined",
    ),
    "speech while thinking": (
        {"modalities": ("text", "audio"), "thinking": True, "model": "qwen3-omni-flash"},
        "cannot think and speak in one request",
    ),
    "a voice without speech": ({"voice": "Tina"}, "no effect"),
    "thinking where there is none": ({"thinking": True, "model": "qwen-omni-turbo"}, "does not support thinking"),
    "tools where there are none": ({"tools": (WEATHER,), "model": "qwen-omni-turbo"}, "cannot call tools"),
    "a choice without tools": ({"tool_choice": "weather"}, "needs tools"),
    "a choice of no tool": ({"tools": (WEATHER,), "tool_choice": "rain"}, "is not a tool"),
    "a forced tool while thinking": (
        {"tools": (WEATHER,), "tool_choice": "weather", "thinking": "low"},
        "does not allow thinking when a tool call is required",
    ),
    "a tool named search": ({"tools": (Tool(name="search"),)}, "another name"),
    "search with tools on 3.5": (
        {"tools": (WEATHER,), "enable_search": True, "model": "qwen3.5-omni-plus"},
        "cannot search the web and call tools",
    ),
    "search where there is none": ({"enable_search": True, "model": "qwen3-omni-flash"}, "cannot search"),
    "channels where one is heard": ({"multichannel": True, "model": "qwen3.5-omni-flash"}, "one audio channel only"),
    **{
        f"high resolution on {model}": ({"high_resolution_images": True, "model": model}, "has no high-resolution mode")
        for model in ("qwen3-omni-flash", "qwen-omni-turbo", "qwen2.5-omni-7b", "qwen-plus")
    },
    "JSON mode where there is none": ({"json_mode": True, "model": "qwen3.5-omni-flash"}, "no JSON mode"),
    "a schema where none is taken": ({"json_schema": {"type": "object"}}, "does not support JSON schemas"),
    "not streaming": ({"extra_body": {"stream": False}}, "every request streams"),
    "no usage": ({"extra_body": {"stream_options": {}}}, "every request streams"),
}


@pytest.mark.parametrize(("options", "words"), REFUSED.values(), ids=REFUSED)
def test_impossible_options_are_told(options, words):
    """Options that conflict with each other or the model raise before anything is sent."""
    with pytest.raises(ConfigurationError, match=words):
        encode(user("What?"), **options)


@pytest.mark.parametrize("wanted", [True, False])
@pytest.mark.parametrize("model", ["qwen3.8-omni-flash", "qwen3.5-omni-plus", "qwen3.5-omni-flash-2026-03-15"])
def test_high_resolution_is_asked_for_where_it_is_documented(model, wanted):
    """The guide names the field for the omni models of 3.8 and 3.5."""
    assert encode(user("What?"), model=model, high_resolution_images=wanted)["vl_high_resolution_images"] is wanted


@pytest.mark.parametrize("model", ["qwen3-omni-flash", "qwen-omni-turbo", "qwen-plus"])
def test_what_a_model_cannot_do_is_not_switched_off(model):
    """A model without a mode is sent no field for it: it may refuse the field, whatever its value."""
    sent = encode(user("What?"), model=model, high_resolution_images=False, multichannel=False)
    assert not {"vl_high_resolution_images", "use_multichannel"} & set(sent)


def test_temporary_links_need_their_header():
    """The resolve header is sent exactly when a link of the temporary store is in the request."""
    request = ChatRequest(model="m", messages=(), options=ChatOptions(extra_headers={"X-A": "1"}))
    assert encode_headers(request, (MediaPayload(url="https://a/b"), MediaPayload(data=b"x"))) == {"X-A": "1"}
    assert encode_headers(request, (MediaPayload(url="oss://a/b"),)) == {
        "X-A": "1",
        "X-DashScope-OssResourceResolve": "enable",
    }


def test_a_burst_may_be_queued():
    """Model Studio, Best practices for rate limiting, 2026-10-11: seconds; 0 is sent, and the caller's own wins."""
    request = ChatRequest(model="m", messages=())
    assert encode_headers(request, (), burst_wait=30) == {"X-DashScope-Wait-Timeout": "30"}
    assert encode_headers(request, (), burst_wait=0) == {"X-DashScope-Wait-Timeout": "0"}
    assert encode_headers(request, ()) == {}
    assert encode_headers(request, (), burst_wait=30, usual=("x-dashscope-wait-timeout",)) == {}
    own = ChatRequest(model="m", messages=(), options=ChatOptions(extra_headers={"x-dashscope-wait-timeout": "9"}))
    assert encode_headers(own, (), burst_wait=30) == {"x-dashscope-wait-timeout": "9"}


MARK = {"cache_control": {"type": "ephemeral"}}
VIDEO = VideoPart(source=MediaSource.from_url("https://h/a.mp4"), cache="5m")
MARKED = (
    Message(role="system", parts=(TextPart(text="rules"), TextPart(text="more", cache="5m"))),
    Message(role="user", parts=(TextPart(text="hi", cache="1h"),)),
    Message(role="assistant", parts=(TextPart(text="a", cache="5m"),)),
    Message(role="user", parts=(TextPart(text="so?"),)),
)


def test_marks_are_sent_where_the_model_has_explicit_caching():
    """On texts of every role, as lists of parts; without a mark a text stays a string."""
    system, first, answer, last = encode(*MARKED, model="qwen-plus")["messages"]
    assert system["content"] == [{"type": "text", "text": "rules"}, {"type": "text", "text": "more", **MARK}]
    assert first["content"] == [{"type": "text", "text": "hi", **MARK}]
    assert answer["content"] == [{"type": "text", "text": "a", **MARK}]
    assert last["content"] == "so?"


@pytest.mark.parametrize(
    ("times", "words"),
    [
        (["5m"], []),
        (["5m"] * 4, []),
        (["5m", "1h"], ["for 5 minutes"]),
        (["5m"] * 5, ["5 parts are marked; .* 4 marks"]),
    ],
)
def test_marks_that_the_service_does_not_take_are_told(times, words):
    """It keeps a mark for five minutes, and takes four of them in a request."""
    marked = Message(role="user", parts=tuple(TextPart(text="hi", cache=time) for time in times))
    request = ChatRequest(model="qwen-plus", messages=(marked,))
    found = notices(request, profile_for("qwen-plus"), link)
    assert len(found) == len(words)
    assert all(re.search(word, notice) for word, notice in zip(words, found, strict=True))


def test_marks_on_media_are_sent():
    profile = replace(profile_for("qwen3.8-omni-flash"), explicit_cache=True)
    request = ChatRequest(model="qwen3.8-omni-flash", messages=(user(VIDEO, "?"),))
    (message,) = encode_request(request, profile, link)["messages"]
    assert message["content"][0] == {"type": "video_url", "video_url": {"url": link(VIDEO.source)}, **MARK}


@pytest.mark.parametrize("model", ["qwen3.8-omni-flash", "qwen3.5-omni-plus"])
def test_marks_without_effect_are_told(model):
    """A model without explicit caching is sent none of them, and a notice names the mark and the model."""
    request = ChatRequest(model=model, messages=MARKED)
    body = encode_request(request, profile_for(model), link)
    assert "cache_control" not in json.dumps(body)
    (notice,) = notices(request, profile_for(model), link)
    assert notice.startswith(f"cache_control has no effect: {model} has no explicit cache")


def test_a_mark_in_a_result_of_a_tool_is_told():
    tool = Message(role="tool", parts=(ToolResultPart(tool_call_id="c", text="x", cache="5m"),))
    call = Message(role="assistant", parts=(ToolCallPart(id="c", name="f", arguments="{}"),))
    request = ChatRequest(model="qwen-plus", messages=(user("?"), call, tool))
    assert "tool result" in notices(request, profile_for("qwen-plus"), link)[0]


# --- Ranges: checked before anything is opened; other servers have their own ---


GONE = MediaSource.from_path("nowhere.mp4", trusted=True)
OPTIONS = [
    ("qwen3.8-omni-flash", {"temperature": 2}, "temperature must be at least 0 and below 2"),
    ("qwen3.8-omni-flash", {"seed": -1}, "seed must be a whole number from 0 to 2,147,483,647"),
    ("qwen3.8-omni-flash", {"top_k": -1}, "top_k must be a whole number from 0"),
    ("qwen-omni-turbo", {"max_tokens": 2049}, "max_tokens must be a whole number from 1 to 2,048, got 2049"),
]
FAST, LARGE = Sampling(fps=10.5), Sampling(max_pixels=2_073_601)
PARTS = [
    ("qwen3.5-omni-flash", VideoPart(source=GONE, sampling=FAST), "fps for qwen3.5-omni-flash must be from 0.1 to 10"),
    ("qwen3.5-omni-flash", FramesPart(frames=(GONE,) * 2, sampling=FAST), "fps for qwen3.5-omni-flash must be"),
    ("qwen3.8-omni-flash", VideoPart(source=GONE, sampling=Sampling(fps=15.5)), "must be from 0.1 to 15"),
    ("qwen3.8-omni-flash", VideoPart(source=GONE, sampling=LARGE), "max_pixels for .* from 1 to 2,073,600, got"),
    ("qwen3.8-omni-flash", ImagePart(source=GONE, sampling=Sampling(max_pixels=16_777_217)), "to 16,777,216, got"),
    ("qwen3.8-omni-flash", VideoPart(source=GONE, budget=MediaBudget(sampling_fps=16)), "budget: sampling_fps for"),
]  # fmt: skip


@pytest.mark.parametrize(("model", "options", "told"), OPTIONS)
def test_options_of_the_answer(model, options, told, settings, standin):
    """The client raises before it sends, and the estimate says so."""
    request = ChatRequest(model=model, messages=(user("Hello."),), options=ChatOptions(**options))
    with OmniClient(settings) as client, pytest.raises(ConfigurationError, match=told):
        client.complete(request)
    assert not standin.requests
    check_ranges(request, profile_for(model), "vllm")  # such a server says itself what it takes


@pytest.mark.parametrize(("model", "part", "told"), PARTS, ids=[told[:20] for *_, told in PARTS])
def test_what_stands_beside_a_piece_of_media(model, part, told, settings, standin):
    """The place is named, and the file, which is not there, is not looked for."""
    request = ChatRequest(model=model, messages=(user("Hello."), user(part, "What?")))
    with OmniClient(settings) as client, pytest.raises(UnsupportedContentError, match=rf"message 1 .*part 0.*{told}"):
        client.complete(request)
    assert not standin.requests


def test_an_estimate_names_what_would_be_refused(settings):
    """As a problem, beside the others."""
    request = ChatRequest(model="qwen-omni-turbo", messages=(user("Hello."),), options=ChatOptions(max_tokens=9999))
    assert any("max_tokens must be" in problem for problem in estimate(request, settings=settings).problems)
