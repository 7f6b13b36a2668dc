"""Servers of one's own: found out once, sent only what they take, and estimated as they count.

What they answer here are bytes of vLLM 0.32, transformers serve 5.24 and LiteLLM 1.106; `tests/servers` asks the real
ones.
"""

import base64
import io
import warnings
from dataclasses import replace
from fractions import Fraction

import av
import pytest

from langchain_qwen_omni import ChatQwenOmni, LongVideoChain
from llama_index_qwen_omni import LongVideoWorkflow, QwenOmni
from qwen_omni.addresses import LITELLM, TRANSFORMERS, Server, known_server
from qwen_omni.client import AsyncOmniClient, OmniClient
from qwen_omni.diagnostics import examine
from qwen_omni.errors import (
    ConfigurationError,
    DeliveryError,
    InvalidRequestError,
    QwenOmniError,
    UnsupportedContentError,
)
from qwen_omni.media.budget import Sampling
from qwen_omni.media.source import MediaSource
from qwen_omni.messages import AudioPart, VideoPart, user
from qwen_omni.options import ChatOptions, ChatRequest
from qwen_omni.profiles.open_models import open_profile
from qwen_omni.profiles.token_formulas import audio_tokens, image_tokens, video_tokens
from qwen_omni.request.estimate import estimate
from qwen_omni.settings import Settings
from qwen_omni.standin.marked_media import make_audio, make_video
from qwen_omni.structured.caption import CaptionOptions, caption
from qwen_omni.transport.api import find_server, run
from qwen_omni.upload.temporary import ask_policy
from qwen_omni.upload.uploader import AvailableRoutes, choose_file
from qwen_omni.video.options import SummaryOptions, on_server
from qwen_omni.video.summarize import summarize
from tests.support.own_server import own_server

MODEL = "qwen2.5-omni-7b"


@pytest.fixture(scope="module")
def media(tmp_path_factory):
    folder = tmp_path_factory.mktemp("own")
    make_video(folder / "heard.mp4", seconds=3, size=(160, 90))
    make_video(folder / "silent.mp4", seconds=1, size=(160, 90), sound=False)
    make_audio(folder / "talk.wav", seconds=2)
    return folder


def video(folder, name, **options):
    return VideoPart(source=MediaSource.from_path(folder / f"{name}.mp4"), **options)


def settings_of(server, folder, **options):
    return Settings.load(api_key="none", base_url=server.url, media_root=folder, max_retries=0, **options)


def asked(server, folder, *parts, model=MODEL, **options):
    """The body of one request."""
    with OmniClient(settings_of(server, folder, **options)) as client:
        client.complete(ChatRequest(model=model, messages=(user(*parts, "?"),)))
    return server.bodies[-1]


def kinds(body):
    return [part["type"] for message in body["messages"] for part in message["content"]]


# --- Who answers ---


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("vllm", Server(dialect="vllm", name="vLLM", context=32_768)),
        ("transformers", Server(dialect="vllm", name=TRANSFORMERS, request_kwargs=True)),
    ],
)
def test_a_server_says_who_it_is(kind, expected, tmp_path):
    """It is asked once for each address, whatever the number of clients and requests."""
    with own_server(kind) as server:
        for _ in range(2):
            asked(server, tmp_path)
        assert (known_server(server.url), server.asked) == (expected, ["/v1/models"])


def test_litellm_on_a_private_host_is_what_stands_behind_it(tmp_path):
    """Each of its models may have another server; its own list names them all OpenAI's."""
    with own_server("litellm") as server:
        found = find_server(settings_of(server, tmp_path), "qwen3.8-omni-flash")
        other = find_server(settings_of(server, tmp_path), MODEL)
        assert (found.dialect, found.name, found.has_stores) == ("dashscope", LITELLM, False)
        assert (other.dialect, other.name) == ("vllm", "vLLM")
        assert server.asked == ["/v1/models", "/v1/model/info"]


def test_sampling_is_refused_before_sending_to_vllm_behind_litellm(media):
    """The gateway would pass it on, and vLLM would refuse it."""
    sampled = video(media, "silent", sampling=Sampling(fps=1))
    with own_server("litellm") as server:
        with pytest.raises(UnsupportedContentError, match="vLLM takes no fps"):
            asked(server, media, sampled)
        assert server.bodies == []
        assert asked(server, media, sampled, request_kwargs=True)["media_io_kwargs"] == {"video": {"fps": 1}}


def test_the_caller_has_the_word(tmp_path):
    with own_server("vllm") as server:
        assert find_server(settings_of(server, tmp_path, dialect="dashscope"), MODEL).dialect == "dashscope"
        assert server.asked == []


def test_a_server_that_cannot_be_reached_is_guessed_and_asked_again():
    settings = Settings.load(api_key="none", base_url="http://127.0.0.1:9/v1")
    assert find_server(settings, MODEL) == Server(dialect="vllm")
    assert known_server(settings.base_url) is None


# --- What is sent ---


def test_the_audio_of_a_video_is_sent_beside_it(media):
    """A default vLLM does not hear videos; nothing is sent that it refuses, and no sound is lost."""
    with own_server("vllm") as server:
        body = asked(server, media, video(media, "heard", start=1, end=3))
    assert kinds(body) == ["video_url", "input_audio", "text"]
    assert not {"mm_processor_kwargs", "media_io_kwargs"} & set(body)
    sound = body["messages"][0]["content"][1]["input_audio"]
    with av.open(io.BytesIO(base64.b64decode(sound["data"]))) as held:
        seconds = sum(frame.samples for frame in held.decode(audio=0)) / 16_000
    assert (sound["format"], seconds) == ("mp3", pytest.approx(2, abs=0.15))


@pytest.mark.parametrize(
    ("parts", "expected", "heard"),
    [
        (["heard"], ["video_url"], True),
        (["silent"], ["video_url"], None),
        (["heard", "heard"], ["video_url", "video_url"], True),
        (["heard", "silent"], ["video_url", "input_audio", "video_url"], None),
        (["talk", "heard"], ["input_audio", "video_url", "input_audio"], None),
        (["talk", "silent"], ["input_audio", "video_url"], None),
    ],
)
def test_a_trusting_server_hears_videos_if_all_have_audio(parts, expected, heard, media):
    """The option counts for the whole request, and fails with a silent video or other audio."""
    talk = AudioPart(source=MediaSource.from_path(media / "talk.wav"))
    held = [talk if name == "talk" else video(media, name) for name in parts]
    with own_server("vllm", trusting=True) as server:
        body = asked(server, media, *held, request_kwargs=True)
    assert kinds(body) == [*expected, "text"]
    assert body.get("mm_processor_kwargs", {}).get("use_audio_in_video") is heard


async def test_asynchronous_requests_send_the_same(media):
    request = ChatRequest(model=MODEL, messages=(user(video(media, "heard"), "?"),))
    with own_server("vllm") as server:
        async with AsyncOmniClient(settings_of(server, media)) as client:
            await client.complete(request)
        assert kinds(server.bodies[-1]) == ["video_url", "input_audio", "text"]


def test_a_refusal_is_remembered(media):
    """The error says what to do; the next request is refused here, and one without the option still goes."""
    sampled = video(media, "silent", sampling=Sampling(max_pixels=100_352))
    with own_server("vllm") as server:
        with pytest.raises(InvalidRequestError, match="--trust-request-mm-kwargs and pass request_kwargs=True"):
            asked(server, media, sampled, request_kwargs=True)
        with pytest.raises(UnsupportedContentError, match="vLLM takes no fps, min_pixels or max_pixels"):
            asked(server, media, sampled, request_kwargs=True)
        assert len(server.bodies) == 1
        assert asked(server, media, video(media, "heard"), request_kwargs=True).get("mm_processor_kwargs") is None


@pytest.mark.parametrize("sampling", [{"fps": 1}, {"min_pixels": 9}, {"max_pixels": 9}], ids=str)
def test_sampling_is_refused_before_sending(sampling, media):
    """A default vLLM refuses it; the caller says if it was started otherwise."""
    with own_server("vllm") as server:
        with pytest.raises(UnsupportedContentError, match="--trust-request-mm-kwargs and pass request_kwargs=True"):
            asked(server, media, video(media, "silent", sampling=Sampling(**sampling)))
        assert server.bodies == []


def test_transformers_serve_reads_files_of_its_own_machine(media):
    """It takes no data URI for videos, and its processor's options in `chat_template_kwargs`."""
    with own_server("transformers") as server:
        body = asked(server, media, video(media, "silent", sampling=Sampling(fps=1), budget="original"))
    assert body["messages"][0]["content"][0]["video_url"]["url"] == str(media / "silent.mp4")
    assert body["chat_template_kwargs"] == {"fps": 1, "num_frames": None}


def test_a_video_for_transformers_serve_elsewhere_needs_a_link():
    routes, server = AvailableRoutes(inline_limit=None), Server(dialect="vllm", name=TRANSFORMERS)
    with pytest.raises(ConfigurationError, match="as links or as files of its own machine"):
        choose_file(routes, "http://10.0.0.7:8000/v1", server, name="a.mp4")
    assert choose_file(replace(routes, bucket=True), "http://10.0.0.7:8000/v1", server, name="a.mp4") == "oss"
    assert choose_file(routes, "http://localhost:8000/v1", server, name="a.mp4") == "inline"


@pytest.mark.parametrize("model", ["my-av-model", "my-asr-model", "qwen3-omni-flash"])
def test_hosted_limits_and_prices_are_not_applied(model, media):
    """Nor is any modality refused, or a name warned about: a second of video, and two in one message."""
    parts = (video(media, "silent"), video(media, "heard"))
    with own_server("vllm") as server, warnings.catch_warnings():
        warnings.simplefilter("error")
        body = asked(server, media, *parts, model=model)
        made = estimate(ChatRequest(model=model, messages=(user(*parts),)), settings=settings_of(server, media))
    assert kinds(body) == ["video_url", "video_url", "input_audio", "text"]
    assert (made.problems, made.cost.cny) == ((), None)


def test_served_profile_applies_the_limits_of_a_hosted_model(media):
    with own_server("vllm") as server, pytest.raises(Exception, match="at least 2 s"):
        asked(server, media, video(media, "silent"), served_profile="qwen3-omni-flash")


# --- What it counts: `prompt_tokens` of both servers, less the 9 of the conversation ---

OPEN = open_profile("Qwen2.5-Omni-7B", sampling_fields=True)


@pytest.mark.parametrize(
    ("size", "asked_for", "counted"),
    [
        ((28, 28), {}, 6), ((64, 48), {}, 6), ((224, 224), {}, 66), ((640, 360), {}, 301), ((1280, 720), {}, 1198),
        ((1920, 1080), {}, 2693), ((100, 1500), {}, 218), ((4000, 3000), {}, 15_303),
        ((1280, 720), {"max_pixels": 150_528}, 182), ((64, 48), {"min_pixels": 150_528}, 194),
    ],
)  # fmt: skip
def test_images_are_estimated_as_counted(size, asked_for, counted):
    assert image_tokens(OPEN, size, Sampling(**asked_for)) == counted


@pytest.mark.parametrize(
    ("seconds", "counted"), [(0.4, 12), (1, 27), (1.3, 34), (2.5, 64), (5.3, 134), (10, 252), (30.7, 769)]
)
def test_recordings_are_estimated_as_counted(seconds, counted):
    assert audio_tokens(OPEN, seconds) == pytest.approx(counted, abs=1)


@pytest.mark.parametrize(
    ("size", "rate", "seconds", "asked_for", "counted"),
    [
        ((320, 180), 25, 4, {}, 578), ((640, 360), 30, 10, {}, 2992), ((1280, 720), 10, Fraction(41, 2), {}, 14_402),
        ((640, 360), 4, 5, {}, 1497), ((96, 96), 2, 3, {}, 434), ((224, 224), 25, Fraction(67, 10), {}, 866),
        ((640, 360), 30, 10, {"fps": 0.5}, 600), ((640, 360), 30, 10, {"fps": 1}, 1497),
        ((640, 360), 30, 10, {"fps": 4}, 5982), ((640, 360), 30, 10, {"max_pixels": 150_528}, 1802),
    ],
)  # fmt: skip
def test_videos_are_estimated_as_counted(size, rate, seconds, asked_for, counted):
    assert video_tokens(OPEN, size, seconds, rate, Sampling(**asked_for)) == pytest.approx(counted, abs=2)


def test_doctor_tries_each_kind_of_media(tmp_path):
    """A text alone says nothing about media; the address names the software."""
    with own_server("vllm") as server:
        found = {one.name: one for one in examine(settings_of(server, tmp_path), MODEL)}
    assert found["address"].text.endswith("requests in the vllm format.")
    assert "(vLLM;" in found["address"].text
    assert {found[kind].verdict for kind in ("image", "audio", "video")} == {"good"}
    assert "temporary store" not in found
    assert "--trust-request-mm-kwargs" in found["sampling"].text


def test_doctor_shows_media_that_are_refused(tmp_path):
    refused = b'{"error":{"message":"At most 0 video(s) may be provided in one prompt.","code":400}}'
    with own_server("vllm") as server:
        taken = server.chat
        server.chat = lambda body: (400, refused) if "video_url" in str(body) else taken(body)  # type: ignore[method-assign]
        found = {one.name: one for one in examine(settings_of(server, tmp_path), MODEL)}
    assert (found["image"].verdict, found["video"].verdict) == ("good", "bad")
    assert "At most 0 video(s)" in found["video"].text


def test_a_gateway_without_the_temporary_store_is_named():
    """Its 404 is about the route, not about the model."""
    with own_server("litellm") as server:
        settings = Settings.load(api_key="sk-x", base_url=server.url, max_retries=0)
        flow = ask_policy(server.url, "qwen3.8-omni-flash", None, lambda: 0.0)
        with pytest.raises(DeliveryError, match=r"no temporary store: it answered 404 to .*/api/v1/uploads"):
            run(flow, settings)


def test_steps_of_a_long_video_have_the_options_of_the_model(media):
    """Every request of the run: notes with a cap of their own, and the joining model is the server's only one."""
    chat = ChatOptions(temperature=0.5, seed=7, extra_body={"priority": 3})
    options = SummaryOptions(model=MODEL, chat=chat, checkpoint=False, step_retries=0)
    with (
        own_server("vllm") as server,
        OmniClient(settings_of(server, media)) as client,
        pytest.raises(QwenOmniError),  # its words are noise
    ):
        summarize(media / "heard.mp4", client=client, options=options)
    assert server.bodies
    for body in server.bodies:
        assert (body["temperature"], body["seed"], body["priority"], body["max_tokens"]) == (0.5, 7, 3, 8_000)
    assert on_server(options, Server(dialect="vllm")).text_model == MODEL
    assert (
        replace(options, chat=replace(chat, max_tokens=99)).chat_options(joins=True, json_mode=False).max_tokens == 99
    )


@pytest.mark.parametrize(
    "made",
    [
        lambda: LongVideoChain(ChatQwenOmni(api_key="k", max_tokens=99, temperature=0.5, seed=1)).options,
        lambda: LongVideoWorkflow(QwenOmni(api_key="k", max_tokens=99, temperature=0.5, seed=1)).options,
    ],
    ids=["langchain", "llama_index"],
)
def test_both_frameworks_pass_on_the_options_of_their_model(made):
    sent = made().chat_options(joins=False, json_mode=False)
    assert (sent.max_tokens, sent.temperature, sent.seed) == (99, 0.5, 1)


def test_captions_ask_for_json_where_the_server_has_it(media):
    """Whatever the model's name, and without a warning about it."""
    for kind, asked_for in (("vllm", {"type": "json_object"}), ("transformers", None)):
        with own_server(kind) as server, warnings.catch_warnings():
            warnings.simplefilter("error")
            settings = settings_of(server, media)
            find_server(settings, "my-av-model")
            with OmniClient(settings) as client, pytest.raises(QwenOmniError):  # its words are noise
                caption(media / "silent.mp4", client=client, options=CaptionOptions(model="my-av-model"))
        assert [body.get("response_format") for body in server.bodies] == [asked_for]
