"""Every documented rule refuses with the service's own words, status and envelope."""

from __future__ import annotations

import pytest

from qwen_omni.standin import Standin
from qwen_omni.standin.marked_media import make_audio, make_frames, make_image, make_video

from .conftest import audio_part, chat, frames_part, image_part, link_part, make_png, post, speech, tool, video_part

TOOL = tool("add")
PLUS, FLASH, THREE, TURBO = "qwen3.5-omni-plus", "qwen3.5-omni-flash", "qwen3-omni-flash", "qwen-omni-turbo"


def plain(**fields):
    """A request that does not stream."""
    body = chat("Say json.", **fields)
    return {name: value for name, value in body.items() if name not in ("stream", "stream_options")}


def with_messages(*messages, **fields):
    return {**chat("x", **fields), "messages": list(messages)}


def calling(arguments):
    return {"role": "assistant", "tool_calls": [{"id": "c1", "function": {"name": "add", "arguments": arguments}}]}


_USER = {"role": "user", "content": "hi"}
_FIELDS = {
    "turbo must stream": (
        plain(model=TURBO),
        "This model only support stream mode, please enable the stream parameter",
    ),
    "3.5 must stream": (plain(model=PLUS), "This model only support stream mode"),
    "3 must stream": (plain(model=THREE), "This model only support stream mode"),
    "stream options alone": ({**chat("x"), "stream": False}, "stream_options"),
    "temperature": (chat("x", temperature=2.0), "Temperature should be in [0.0, 2.0)"),
    "top_p": (chat("x", top_p=0), "Range of top_p should be (0.0, 1.0]"),
    "presence": (chat("x", presence_penalty=2.5), "Range of presence_penalty should be [-2.0, 2.0]"),
    "seed": (chat("x", seed=2**31), "Range of seed should be [0, 2147483647]"),
    "max_tokens": (chat("x", model=TURBO, max_tokens=2049), "Range of max_tokens should be [1, 2048]"),
    "top_k": (chat("x", top_k=-1), "Range of top_k"),
    "repetition": (chat("x", repetition_penalty=0), "repetition_penalty"),
    "n": (chat("x", n=2), "Range of n"),
    "stop": (chat("x", stop=3), "stop"),
    "type of a number": (chat("x", temperature="hot"), "Input should be a valid integer or number: temperature"),
    "thinking on 3.5": (
        chat("x", model=PLUS, enable_thinking=False),
        f"The model {PLUS} does not support enable_thinking.",
    ),
    "thinking on turbo": (chat("x", model=TURBO, enable_thinking=True), "does not support enable_thinking."),
    "effort on 3": (chat("x", model=THREE, reasoning_effort="low"), "does not support reasoning_effort."),
    "effort's name": (chat("x", reasoning_effort="huge"), "'huge' is not one of"),
    "effort and budget": (chat("x", reasoning_effort="low", thinking_budget=9), "cannot be set at the same time"),
    "thinking streams": (
        plain(model="qwen-plus", enable_thinking=True),
        "parameter.enable_thinking must be set to false",
    ),
    "tools on turbo": (chat("x", model=TURBO, tools=[TOOL]), "The tool call is not supported."),
    "tools and search": (chat("x", model=PLUS, tools=[TOOL], enable_search=True), "Agent mode does not support tools"),
    "search on 3": (chat("x", model=THREE, enable_search=True), "This model does not support enable_search."),
    "tool named search": (chat("x", tools=[tool("search")]), "Tool names are not allowed to be [search]"),
    "tool name": (chat("x", tools=[tool("a b")]), "Tool names must match"),
    "required": (
        chat("x", tools=[TOOL], tool_choice="required", enable_thinking=False),
        'tool_choice is one of the strings that should be ["none", "auto"]',
    ),
    "the word": (
        chat("x", response_format={"type": "json_object"}),
        "'messages' must contain the word 'json' in some form, to use 'response_format' of type 'json_object'.",
    ),
    "json on 3.5 flash": (
        chat("json", model=FLASH, response_format={"type": "json_object"}),
        "Unknown format of response_format",
    ),
    "json_schema": (
        chat("json", response_format={"type": "json_schema", "json_schema": {"schema": {}}}),
        "Unknown format of response_format",
    ),
    "speech on 3.8": (chat("x", **speech("Tina")), "does not support audio output"),
    "speech streams": (plain(model=PLUS, **speech("Tina")), "'audio' output only support with stream=true"),
    "speech and thinking": (chat("x", model=THREE, enable_thinking=True, **speech("Cherry")), "enable_thinking"),
    "Tina on 3": (chat("x", model=THREE, **speech("Tina")), "Voice 'Tina' is not supported."),
    "Cherry on 3.5": (chat("x", model=PLUS, **speech("Cherry")), "Voice 'Cherry' is not supported."),
    "Tina on turbo": (
        chat("x", model=TURBO, **speech("Tina")),
        "Input should be 'Cherry', 'Serena', 'Ethan' or 'Chelsie': parameters.audio.voice",
    ),
    "no voice": (chat("x", model=PLUS, modalities=["text", "audio"]), "parameters.audio.voice"),
    "speech format": (chat("x", model=PLUS, **speech("Tina", format="mp3")), "parameters.audio.format"),
    "too long": (chat("word " * 40_000, model=TURBO), "Range of input length should be [1, 30720]"),
    "no user": (
        with_messages({"role": "system", "content": "x"}),
        "The input messages do not contain elements with the role of user.",
    ),
    "role": (with_messages({"role": "developer", "content": "x"}), "developer is not one of"),
    "no messages": ({**chat("x"), "messages": []}, "[] is too short"),
    "audio_url": (
        chat(link_part("audio", "data:;base64,AAAA")),
        "Invalid value: audio_url. Supported values are: 'text','image_url','video_url' and 'video'.",
    ),
    "media of an assistant": (
        with_messages({"role": "assistant", "content": [image_part(b"x")]}, _USER),
        "assistant message takes text only",
    ),
    "media of a system": (with_messages({"role": "system", "content": [image_part(b"x")]}, _USER), "takes text only"),
    "format of audio": (chat({"type": "input_audio", "input_audio": {"data": "data:;base64,AAAA"}}), "format is empty"),
    "orphan result": (
        with_messages(_USER, {"role": "tool", "tool_call_id": "1", "content": "x"}),
        'role "tool" must be',
    ),
    "unanswered call": (with_messages(calling("{}"), _USER), "did not have response messages: c1"),
    "arguments of a call": (
        with_messages(_USER, calling("{")),
        'The "function.arguments" parameter of the code model must be in JSON format.',
    ),
    "fps": (chat(video_part(b"x", fps=11)), "Range of fps should be [0.1, 10]"),
    "media for a text model": (chat(image_part(b"x"), model="qwen-plus"), "takes text only"),
}


@pytest.mark.parametrize(("body", "message"), _FIELDS.values(), ids=_FIELDS.keys())
def test_fields(ask, body, message):
    """A broken rule is a 400 with the documented envelope, nothing else."""
    answered = ask(body)
    assert answered.status == 400, answered.raw[:300]
    assert message in answered.message
    assert set(answered.body) == {"error", "id", "request_id"}
    assert set(answered.body["error"]) == {"code", "param", "message", "type"}
    assert answered.headers["x-request-id"] == answered.body["request_id"]
    assert "retry-after" not in answered.headers


def test_key(ask, standin):
    """A wrong key is a 401 of the gateway: plain JSON even for a stream, without an id, and never logged."""
    answered = ask(chat("x"), key="sk-other")
    assert (answered.status, answered.body["error"]["code"]) == (401, "invalid_api_key")
    assert answered.message.startswith("Incorrect API key provided.")
    assert "id" not in answered.body
    assert "sk-other" not in repr(standin.requests)
    assert "authorization" not in standin.requests[0].headers


def test_model(ask):
    """An unknown model is a 404 of the gateway; dated text models are known, made-up omni snapshots are not."""
    answered = ask(chat("x", model="qwen9"))
    assert (answered.status, answered.body["error"]["code"]) == (404, "model_not_found")
    assert "does not exist or you do not have access to it." in answered.message
    assert ask(chat("x", model="qwen3.8-omni-flash-2020-01-01")).status == 404
    assert ask(chat("x", model="qwen-plus-2025-12-01")).status == 200


@pytest.mark.parametrize(
    "model", ["qwen-omni-turbo", "qwen-omni-turbo-latest", "qwen2.5-omni-7b", "qwen3-omni-flash-2025-12-01"]
)
def test_retired_models(model):
    """They are unknown, unless the stand-in is told to answer as before; the bare name of qwen3-omni-flash is known."""
    with Standin() as today:
        answered = post(today, chat("x", model=model))
        assert (answered.status, answered.body["error"]["code"]) == (404, "model_not_found")
        assert post(today, chat("x", model="qwen3-omni-flash")).status == 200


def test_native_models_on_the_chat_route(ask):
    """Models that only DashScope's own routes have are refused with that reason; the others of their kind are not."""
    for model in ("qwen-audio-3.1-asr-flash", "fun-asr-flash-2026-06-15", "paraformer-v2"):
        answered = ask(chat("x", model=model))
        assert (answered.status, answered.body["error"]["code"]) == (404, "model_not_supported")


def test_models_that_only_see(ask, tmp_path):
    """qwen3.7-plus and qwen3.8-flash take images and video and bill no audio; audio is refused, as by text models."""
    image = image_part(make_image("1234", (320, 240)))
    video = video_part(make_video(tmp_path / "video.mp4", seconds=4, size=(320, 240), fps=5).path.read_bytes())
    audio = audio_part(make_audio(tmp_path / "audio.wav", seconds=2).path.read_bytes())
    for model in ("qwen3.7-plus", "qwen3.8-flash"):
        assert ask(chat(image, model=model)).usage["prompt_tokens_details"]["image_tokens"] == 10 * 8 + 2
        details = ask(chat(video, "Which?", model=model)).usage["prompt_tokens_details"]
        assert details["video_tokens"] == 4 * 10 * 8 + 2
        assert not details.get("audio_tokens")
        assert ask(chat(audio, "What?", model=model)).status == 400
    assert ask(chat(image, model="qwen-plus")).status == 400


def test_door(ask):
    """Other paths, other methods and broken bodies are refused."""
    assert ask(chat("x"), path="/v1/nothing").status == 404
    assert ask(chat("x"), method="GET").status == 405
    assert ask(b"{").status == 400


@pytest.mark.parametrize(
    ("model", "fields"),
    [
        ("qwen3.8-omni-flash", {}),
        ("qwen-plus", {}),
        ("qwen3.8-flash", {"response_format": {"type": "json_schema", "json_schema": {"schema": {"type": "object"}}}}),
        ("qwen3.7-plus", {"response_format": {"type": "json_object"}}),
    ],
)
def test_plain_calls(ask, model, fields):
    """Models that need no stream answer with plain JSON, usage included."""
    answered = ask(plain(model=model, **fields))
    assert answered.headers["content-type"] == "application/json"
    assert answered.body["choices"][0]["finish_reason"] == "stop"
    assert answered.body["usage"]["total_tokens"] > 0


@pytest.mark.parametrize("choice", ["required", {"type": "function", "function": {"name": "add"}}], ids=str)
def test_forced_tools_while_thinking(ask, choice):
    """While thinking, a forced tool is a 400, and in a stream an error event alone in a 200."""
    message = "does not support being set to required or object in thinking mode"
    body = plain(tools=[TOOL], tool_choice=choice)
    assert (ask(body).status, message in ask(body).message) == (400, True)
    streamed = ask({**body, "stream": True})
    assert (streamed.status, len(streamed.events)) == (200, 1)
    assert message in streamed.events[0]["error"]["message"]
    assert streamed.events[0]["error"]["message"].startswith("<400> ")
    assert b"[DONE]" not in streamed.raw


def test_unknown_fields_are_noted(ask, standin):
    """The service ignores what it does not know; the log does not."""
    assert ask(chat("x", temprature=1)).status == 200
    assert standin.requests[0].unknown == ("temprature",)


# Media


_URL = "The provided URL does not appear to be valid. Ensure it is correctly formatted."


@pytest.mark.parametrize(
    "url", ["AAAABBBB", "video.mp4", "file:///etc/passwd", "data:;base64,A", "data:,AAAA", "oss://a/b"]
)
@pytest.mark.parametrize("kind", ["image", "audio", "video"])
def test_addresses(ask, kind, url):
    """Bare base64, paths, broken data URIs and oss:// without its header are no addresses."""
    audio = {"type": "input_audio", "input_audio": {"data": url, "format": "wav"}}
    part = audio if kind == "audio" else link_part(kind, url)
    answered = ask(chat(part))
    assert (answered.status, answered.message.endswith(_URL)) == (400, True)


def test_encoded_size(ask):
    """A data URI may have 10,485,760 characters and not one more."""
    filler = "data:;base64," + "A" * (10_485_760 - len("data:;base64,"))
    message = ask(chat(link_part("video", filler + "AAAA"))).message
    assert "Exceeded limit on max bytes per data-uri item : 10485760'." in message
    assert "Exceeded limit" not in ask(chat(link_part("video", filler[:-1]))).message


@pytest.mark.parametrize(
    ("part", "message"),
    [
        (video_part(b""), "Invalid video file."),
        (video_part(b"not a video" * 99), "Invalid video file."),
        (video_part(make_png((64, 64))), "Invalid video file."),
        (audio_part(b""), "The audio is empty"),
        (audio_part(b"not audio" * 99), "The audio format is illegal and cannot be opened."),
        (image_part(b""), "Failed to decode the image during the data inspection."),
        (image_part(b"\x89PNG broken"), "Failed to decode the image"),
        (image_part(make_png((9, 40))), "[height:40 or width:9 must be larger than 10]"),
        (image_part(make_png((2010, 10))), "absolute aspect ratio must be smaller than 200"),
        (frames_part([make_png((64, 64))]), "the range of sequence images shoule be (2, 2048)."),
        (frames_part([make_png((64, 64)), b"x"]), "Failed to decode the image"),
    ],
    ids=lambda v: v[:40] if isinstance(v, str) else "",
)
def test_undecodable_media(ask, part, message):
    """What cannot be decoded or is out of shape is refused with the words for its kind."""
    answered = ask(chat(part, "x"))
    assert (answered.status, message in answered.message) == (400, True), answered.raw


def test_smallest_image(ask):
    """Ten pixels a side are enough."""
    assert ask(chat(image_part(make_png((10, 10))), "x")).status == 200


@pytest.mark.slow
def test_lengths(ask, tmp_path):
    """A video has at least 2 s and at most what its model takes; so has a recording."""
    short = make_video(tmp_path / "a.mp4", seconds=1, size=(160, 90)).path.read_bytes()
    long = make_video(tmp_path / "b.mp4", seconds=41, size=(64, 64), fps=5, sound=False).path.read_bytes()
    audio = make_audio(tmp_path / "c.mp3", codes=["1"] * 181).path.read_bytes()
    told = "The video modality input does not meet the requirements because: The video file is too {}."
    assert told.format("short") in ask(chat(video_part(short))).message
    assert told.format("long") in ask(chat(video_part(long), model=TURBO)).message
    assert ask(chat(video_part(long), model=THREE)).status == 200
    assert "The audio is too long" in ask(chat(audio_part(audio, "mp3"), model=TURBO)).message


def test_mixtures(ask, parts):
    """Older models take one kind a message and one video or recording of it; newer ones take all."""
    everything = [parts["image"], parts["audio"], parts["video"], "x"]
    mixed = "mixed modality inputs are currently not applicable to the omni model."
    assert ask(chat(*everything)).status == ask(chat(*everything, model=FLASH)).status == 200
    assert mixed in ask(chat(*everything, model=THREE)).message
    assert mixed in ask(chat(parts["audio"], parts["audio"], model=TURBO)).message
    assert ask(chat(parts["image"], parts["image"], model=THREE)).status == 200


def test_kinds_may_change_between_turns(ask, parts):
    """On older models another turn may bring another kind."""
    body = chat(parts["image"], "x", model=THREE)
    body["messages"] += [{"role": "assistant", "content": "y"}, {"role": "user", "content": [parts["audio"]]}]
    assert ask(body).status == 200


def test_frame_lists(ask, standin):
    """A frame list has a range per model and is counted in its order."""
    codes = ["1001", "1002", "1003", "1004"]
    images = make_frames(codes, (160, 120))
    assert ask(chat(frames_part(images, fps=2), "x", model=TURBO)).status == 200
    assert "(4, 80)" in ask(chat(frames_part(images[:3]), model=TURBO)).message
    facts = standin.requests[0].media[0]
    assert (facts.kind, facts.frames, facts.picture_codes) == ("frames", 4, tuple(codes))
    assert [mark.start for mark in facts.picture_marks] == [0.0, 0.5, 1.0, 1.5]


def test_resolve_header(ask, standin):
    """An oss:// address is resolved where its header asks for it."""
    standin.media_map["oss://store/a.png"] = make_image("777", (120, 120))
    part = link_part("image", "oss://store/a.png")
    assert _URL in ask(chat(part)).message
    assert ask(chat(part), headers=[("X-DashScope-OssResourceResolve", "enable")]).status == 200
    assert standin.requests[-1].media[0].picture_codes == ("777",)


def test_names_tell_nothing(ask, standin):
    """What an address or a file is called has no part in the answer."""
    standin.media_map["https://example.org/9999.png?sig=1"] = make_image("4242", (120, 120))
    answered = ask(chat(link_part("image", "https://example.org/9999.png?sig=1"), "which code?"))
    assert "4242" in answered.text
    assert "9999" not in answered.text


def test_data_uri_heads(ask, media):
    """A data URI may name its media type or not."""
    for head in ("data:;base64,", "data:video/mp4;base64,"):
        assert ask(chat(video_part(media["video"].path.read_bytes(), head), "x")).status == 200
