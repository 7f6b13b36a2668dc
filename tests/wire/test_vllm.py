"""The dialect of vLLM: what a request says, what it leaves out, and how its answers are read."""

import base64
import io
import json
import wave
from dataclasses import replace

import pytest

from qwen_omni.addresses import TRANSFORMERS, Server, guess_server
from qwen_omni.errors import ConfigurationError, StreamInterruptedError, UnsupportedContentError
from qwen_omni.media.budget import Sampling
from qwen_omni.media.source import MediaSource
from qwen_omni.messages import AudioPart, FramesPart, ImagePart, MediaPayload, VideoPart, user
from qwen_omni.options import ChatOptions, ChatRequest, Tool
from qwen_omni.profiles.open_models import open_profile
from qwen_omni.request.prepared_request import RequestBody
from qwen_omni.responses import AudioDelta, TextDelta
from qwen_omni.settings import Settings
from qwen_omni.wire.request import notices
from qwen_omni.wire.stream import StreamState
from qwen_omni.wire.vllm import unopened_tags
from tests.support.encoding import encode_request
from tests.support.quirks import STOP, chunk, events, read

FILE, LINK = MediaSource.from_bytes(b"abc"), MediaSource.from_url("https://host/a.wav")
MODEL = "qwen3-omni-flash"
UNKNOWN_SERVER = Server(dialect="vllm")
TRUSTING, DEFAULT = replace(UNKNOWN_SERVER, request_kwargs=True), replace(UNKNOWN_SERVER, request_kwargs=False)
TRANSFORMERS_SERVER = replace(UNKNOWN_SERVER, name=TRANSFORMERS)


def look(source):
    if source.url:
        return MediaPayload(url=source.url, format="wav")
    return MediaPayload(data=b"abc", size_bytes=3, format="wav", content_type="video/mp4")


def body(*parts, server=TRUSTING, **options):
    request = ChatRequest(model=MODEL, messages=(user(*parts, "?"),), options=ChatOptions(**options))
    encoded = encode_request(request, open_profile(MODEL), look, server)
    return json.loads(b"".join(RequestBody(encoded)))


@pytest.mark.parametrize(
    ("url", "dialect"),
    [
        ("https://dashscope.aliyuncs.com/compatible-mode/v1", "dashscope"),
        ("https://ws1.cn-beijing.maas.aliyuncs.com/compatible-mode/v1", "dashscope"),
        ("http://127.0.0.1:8787/compatible-mode/v1", "dashscope"),
        ("https://gateway.example.com/v1", "dashscope"),
        ("http://localhost:8091/v1", "vllm"),
        ("http://10.1.2.3:8000/v1", "vllm"),
    ],
)
def test_the_dialect_follows_the_address(url, dialect):
    """The vendor's hosts and path mean DashScope, other private hosts one's own server; the caller has the word."""
    assert guess_server(url).dialect == dialect
    assert Settings.load(api_key="k", base_url=url, dialect="vllm").dialect_used == "vllm"


def test_sound_is_bare_base64_or_a_link():
    """Files go as bare base64, links as `audio_url`; a data URI is refused there."""
    parts = body(AudioPart(source=FILE), AudioPart(source=LINK))["messages"][0]["content"]

    assert parts[0] == {"type": "input_audio", "input_audio": {"data": "YWJj", "format": "wav"}}
    assert parts[1] == {"type": "audio_url", "audio_url": {"url": "https://host/a.wav"}}


def test_video_has_its_sound_and_its_type():
    """The sound of a video is asked for, the data URI tells its type, and sampling counts for the request."""
    sent = body(VideoPart(source=FILE, sampling=Sampling(fps=1, max_pixels=1000)))

    assert sent["messages"][0]["content"][0] == {
        "type": "video_url",
        "video_url": {"url": "data:video/mp4;base64,YWJj"},
    }
    assert sent["mm_processor_kwargs"] == {"max_pixels": 1000, "use_audio_in_video": True}
    assert sent["media_io_kwargs"] == {"video": {"fps": 1}}


def test_fields_of_dashscope_stay_away():
    """Thinking, JSON and speech have the server's names, and nothing of DashScope's goes along."""
    off = {"thinking": False, "enable_search": False, "high_resolution_images": False, "multichannel": False}
    sent = body(**off, json_schema={"title": "x"}, modalities=("text", "audio"), temperature=0)

    assert sent["chat_template_kwargs"] == {"enable_thinking": False}
    assert sent["response_format"]["type"] == "json_schema"
    assert sent["modalities"] == ["text", "audio"]
    assert set(sent) <= KNOWN - {"audio"}


# What vLLM, vLLM-Omni, SGLang and transformers' server document (read 2026-09); they ignore or refuse the rest.
KNOWN = {
    "model", "messages", "stream", "stream_options", "temperature", "top_p", "top_k", "max_tokens", "seed", "stop",
    "presence_penalty", "repetition_penalty", "response_format", "modalities", "audio", "mm_processor_kwargs",
    "media_io_kwargs",
    "chat_template_kwargs",
}  # fmt: skip


def test_every_field_is_known_to_self_hosted_servers():
    """With everything asked for at once, no field is DashScope's own, beside or inside the parts."""
    look_at = Sampling(fps=1, min_pixels=10, max_pixels=1000)
    sent = body(
        VideoPart(source=FILE, sampling=look_at), ImagePart(source=FILE, sampling=look_at), AudioPart(source=FILE),
        AudioPart(source=LINK), thinking="high", json_mode=True, modalities=("text", "audio"), voice="Cherry",
        temperature=0, top_p=1, top_k=1, max_tokens=9, seed=1, stop=("x",), presence_penalty=1, repetition_penalty=1,
    )  # fmt: skip

    assert set(sent) <= KNOWN
    for part in sent["messages"][0]["content"]:
        assert set(part) == {"type", part["type"]}


def test_what_a_server_has_of_its_own_goes_through_extra_body():
    """SGLang-Omni's lists beside the messages can be said, though nothing of ours makes them."""
    request = ChatRequest(
        model=MODEL, messages=(user("?"),), options=ChatOptions(extra_body={"videos": ["https://host/a.mp4"]})
    )
    assert encode_request(request, open_profile(MODEL), look, TRUSTING)["videos"] == ["https://host/a.mp4"]


@pytest.mark.parametrize("option", ["enable_search", "high_resolution_images", "multichannel"])
def test_what_only_dashscope_has_is_refused(option):
    """An option that the server would ignore is an error that names it."""
    with pytest.raises(ConfigurationError, match=f"{option}= is available on DashScope only"):
        body(**{option: True})


@pytest.mark.parametrize(
    ("parts", "says"),
    [
        ([FramesPart(frames=(FILE, FILE))], "part 0: a list of frames"),
        ([ImagePart(source=FILE), VideoPart(source=FILE, sampling=Sampling(max_pixels=9))], "different sampling"),
        ([VideoPart(source=FILE), VideoPart(source=FILE, sampling=Sampling(fps=1))], "different sampling"),
        ([VideoPart(source=FILE, sampling=Sampling(total_pixels=5))], "total_pixels"),
    ],
    ids=["frames", "pixels", "rates", "total-pixels"],
)
def test_what_cannot_be_said_is_refused(parts, says):
    """Nothing is dropped in silence."""
    with pytest.raises((UnsupportedContentError, ConfigurationError), match=says):
        body(*parts)


def wav(pcm):
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(24_000)
        file.writeframes(pcm)
    return base64.b64encode(out.getvalue()).decode()


@pytest.mark.parametrize(
    "mark", [{"modality": "audio"}, {"audio_metadata": {"sample_rate": 24000}}], ids=["modality", "metadata"]
)
@pytest.mark.parametrize("after", [True, False], ids=["usage-after", "usage-with"])
def test_speech_where_text_would_be(mark, after):
    """Speech in `content` becomes samples, each piece a file of its own; usage comes with the finish or after it."""
    usage = {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}
    last = {"choices": [{"delta": {}, "finish_reason": "stop"}], **({} if after else {"usage": usage})}
    chunks = [
        {"choices": [{"delta": {"content": "Hi"}}], "modality": "text"},
        {"choices": [{"delta": {"content": wav(b"ab" * 10)}}], **mark},
        {"choices": [{"delta": {"content": wav(b"cd" * 10)}}], **mark},
        last,
        *([{"choices": [], "usage": usage}] if after else []),
    ]
    state = StreamState()
    deltas = [*state.feed(events(*chunks)), *state.end()]
    assert [delta.pcm for delta in deltas if isinstance(delta, AudioDelta)] == [b"ab" * 10, b"cd" * 10]
    assert (state.response.text, state.response.usage.total_tokens) == ("Hi", 3)


@pytest.mark.parametrize(
    "names",
    [("reasoning",), ("reasoning_content",), ("reasoning", "reasoning_content")],
    ids=["new", "old", "both"],
)
@pytest.mark.parametrize("size", [1, 40, 10_000])
def test_thinking_has_two_names(names, size):
    """The field of thinking was renamed by vLLM; whichever comes, in whichever pieces, it is told once."""
    deltas = [
        {"role": "assistant", "content": ""}, dict.fromkeys(names, "One, "), dict.fromkeys(names, "two."),
        {**dict.fromkeys(names, None), "content": "Three."}, {**dict.fromkeys(names, ""), "content": "!"},
    ]  # fmt: skip
    answer = read(events(*map(chunk, deltas), STOP), size)
    assert (answer.thinking, answer.text) == ("One, two.", "Three.!")


@pytest.mark.parametrize("told", [{"effort": "high"}, ["x"], 7, True])
def test_only_text_is_thinking(told):
    """Settings that a server repeats under the same name are none."""
    answer = read(events(chunk({"reasoning": told, "content": "Hi"}, "stop")))
    assert (answer.thinking, answer.text) == ("", "Hi")


@pytest.mark.parametrize("server", [UNKNOWN_SERVER, DEFAULT], ids=["unknown", "default"])
def test_nothing_is_sent_that_a_default_server_refuses(server):
    """Since 0.31, vLLM refuses options of the processor in requests, unless it was started to trust them."""
    sent = body(VideoPart(source=FILE), AudioPart(source=FILE), ImagePart(source=FILE), server=server)
    assert not {"mm_processor_kwargs", "media_io_kwargs", "chat_template_kwargs"} & set(sent)


@pytest.mark.parametrize("sampling", [{"fps": 1}, {"min_pixels": 9}, {"max_pixels": 9}], ids=str)
def test_sampling_that_a_server_refused_once_is_refused_here(sampling):
    """The error says how the server would take it; a server of which nothing is known is asked."""
    part = VideoPart(source=FILE, sampling=Sampling(**sampling))
    with pytest.raises(UnsupportedContentError, match="--trust-request-mm-kwargs and pass request_kwargs=True"):
        body(part, server=DEFAULT)
    assert body(part, server=UNKNOWN_SERVER)


def test_transformers_serve_samples_at_the_models_rate():
    """Its own default is 32 frames, whatever the length; and fewer are an error there (transformers 5.24)."""
    assert body(VideoPart(source=FILE), server=TRANSFORMERS_SERVER)["chat_template_kwargs"] == {
        "fps": 2, "num_frames": None,
    }  # fmt: skip
    asked = Sampling(fps=0.5, max_pixels=1000)
    sent = body(VideoPart(source=FILE, sampling=asked), server=TRANSFORMERS_SERVER, thinking=False)
    assert sent["chat_template_kwargs"] == {
        "fps": 0.5, "num_frames": None, "max_pixels": 1000, "enable_thinking": False,
    }  # fmt: skip
    assert "mm_processor_kwargs" not in sent


@pytest.mark.parametrize(
    "options",
    [{"top_k": 3}, {"repetition_penalty": 1.1}, {"presence_penalty": 1}, {"stop": ("x",)}, {"json_schema": {}},
     {"json_schema": {"title": "x"}}, {"modalities": ("text", "audio")}, {"parallel_tool_calls": False},
     {"tools": (Tool(name="look"),), "tool_choice": "look"}],
    ids=str,
)  # fmt: skip
def test_what_transformers_serve_refuses_or_ignores_is_refused_here(options):
    with pytest.raises(ConfigurationError, match=f"{TRANSFORMERS} (has no|cannot)"):
        body(server=TRANSFORMERS_SERVER, **options)


SILENT, HEARD, UNKNOWN = (MediaSource.from_bytes(name) for name in (b"silent", b"heard", b"unknown"))
SOUNDS = {SILENT: False, HEARD: True, UNKNOWN: None, FILE: None}


def hearing(source):
    return MediaPayload(data=b"abc", size_bytes=3, content_type="video/mp4", has_audio=SOUNDS[source])


@pytest.mark.parametrize(
    ("parts", "asked", "lost"),
    [
        ([VideoPart(source=HEARD)], True, False),
        ([VideoPart(source=UNKNOWN)], True, False),
        ([VideoPart(source=SILENT)], False, False),
        ([VideoPart(source=HEARD), VideoPart(source=HEARD)], True, False),
        ([VideoPart(source=HEARD), VideoPart(source=SILENT)], False, False),
        ([VideoPart(source=HEARD), AudioPart(source=FILE)], False, False),
        ([VideoPart(source=UNKNOWN), AudioPart(source=FILE)], False, True),
        ([VideoPart(source=UNKNOWN), VideoPart(source=SILENT)], False, True),
        ([VideoPart(source=SILENT), AudioPart(source=FILE)], False, False),
        ([AudioPart(source=FILE)], False, False),
        ([ImagePart(source=FILE)], False, False),
    ],
)
def test_the_audio_of_videos_is_asked_for_where_it_is_in_all_of_them(parts, asked, lost):
    """Servers fail where a video is silent or other audio is there; the audio of links that goes unheard is told.

    The audio of local videos is then a part of its own, which `request.fit` adds.
    """
    request = ChatRequest(model=MODEL, messages=(user(*parts, "?"),))
    encoded = encode_request(request, open_profile(MODEL), hearing, TRUSTING)
    assert encoded.get("mm_processor_kwargs", {}).get("use_audio_in_video", False) is asked
    told = notices(request, open_profile(MODEL), hearing, TRUSTING)
    assert ["is not heard by this server" in one for one in told] == ([True] if lost else [])
    assert notices(request, open_profile(MODEL), hearing) == []


UNOPENED = ["hm {\n</think>\n\nYes.", "hm {</think>Yes.", "</think>Yes.", "hm {\n</think>\n\nYes. </think>"]
WHOLE = ["Yes.", "Write `</think>` last.", 'It is "</think>".', "So <think>hm</think> it is.", "", "\n\n", "Yes.</thin"]


def read_text(text, size, unopened, **delta):
    """What a stream shows as text while it comes, and the whole answer."""
    state = StreamState(unopened_thinking=unopened)
    pieces = [{"content": text[at : at + size]} for at in range(0, len(text), size)]
    chunks = [{"choices": [{"delta": piece}]} for piece in ([delta] if delta else []) + pieces]
    chunks.append({"choices": [{"delta": {}, "finish_reason": "stop"}], "usage": {"prompt_tokens": 1}})
    shown, per_piece = "", []
    for one in chunks:
        new = state.feed(events(one, done=False))
        shown += "".join(delta.text for delta in new if isinstance(delta, TextDelta))
        per_piece.append(shown)
    state.end()
    return per_piece, state.response


@pytest.mark.parametrize("size", [1, 3, 1000])
@pytest.mark.parametrize("text", UNOPENED)
def test_thinking_whose_tag_was_never_opened(text, size):
    """It is no text of the whole answer; where thinking is to be expected, no stream shows it either."""
    thinking, _, answer = text.partition("</think>")
    for unopened in ("split", "hold"):
        per_piece, response = read_text(text, size, unopened)
        assert (response.thinking, response.text) == (thinking, answer.lstrip())
        assert per_piece[-1] == (text if unopened == "split" else answer.lstrip())
    assert read_text(text, size, "text")[1].text == text


@pytest.mark.parametrize("size", [1, 3, 1000])
@pytest.mark.parametrize("unopened", ["text", "split", "hold"])
@pytest.mark.parametrize("text", WHOLE)
def test_an_answer_that_only_names_the_tag_stays_as_it_is(text, unopened, size):
    """Whatever is expected; and it streams, except where thinking may come first."""
    per_piece, response = read_text(text, size, unopened)
    assert (response.thinking, response.text, per_piece[-1]) == ("", text, text)
    if text and text.strip() and unopened != "hold":
        assert per_piece[len(per_piece) - 2].strip()


def test_text_streams_where_thinking_comes_in_a_field_of_its_own():
    """A server with a reasoning parser writes no tags."""
    per_piece, response = read_text("Yes. </think> No.", 4, "hold", reasoning="hm")
    assert per_piece[1] == "Yes."
    assert (response.thinking, response.text) == ("hm", "Yes. </think> No.")


def test_what_is_held_back_is_in_the_partial_answer():
    """An answer that breaks off loses no text."""
    state = StreamState(unopened_thinking="hold")
    state.feed(b'data: {"choices":[{"delta":{"content":"Not a tag so far"}}]}\n\n')
    with pytest.raises(StreamInterruptedError) as caught:
        state.end(broken="the connection broke")
    assert caught.value.partial.text == "Not a tag so far"


@pytest.mark.parametrize(
    ("model", "thinking", "expected"),
    [
        ("Qwen3-Omni-30B-A3B-Instruct", None, "split"),
        ("Qwen3-Omni-30B-A3B-Instruct", False, "text"),
        ("Qwen3-Omni-30B-A3B-Instruct", "none", "text"),
        ("Qwen3-Omni-30B-A3B-Instruct", True, "hold"),
        ("Qwen3-Omni-30B-A3B-Instruct", "low", "hold"),
        ("Qwen3-Omni-30B-A3B-Thinking", None, "hold"),
        ("Qwen3-Omni-30B-A3B-Thinking", False, "hold"),
    ],
)
def test_when_thinking_is_expected(model, thinking, expected):
    """By the model and by what was asked for."""
    request = ChatRequest(model=model, messages=(user("?"),), options=ChatOptions(thinking=thinking))
    assert unopened_tags(request) == expected
