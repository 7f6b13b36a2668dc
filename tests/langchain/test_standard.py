"""LangChain's own standard tests for chat models. What is switched on here is what we promise.

The integration tests replay cassettes. Those were recorded from the stand-in unless a cassette's `origin` says
otherwise; the stand-in measures media truly but is no language model, so `SCRIPTS` tells it what a model would
say where a test needs that. A recording from the live service does not use the scripts.
"""
# ruff: noqa: D102  (the suite's own documentation says what each property means)

import base64
import json
from collections.abc import Callable
from typing import Any, ClassVar, Literal

import httpx
import pytest
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage
from langchain_tests.integration_tests import ChatModelIntegrationTests
from langchain_tests.unit_tests import ChatModelUnitTests

from langchain_qwen_omni import ChatQwenOmni
from langchain_qwen_omni.testing import VideoClip, VideoInputTests
from qwen_omni.standin import Script, ToolCall, Turn
from qwen_omni.standin.marked_media import make_audio, make_image, make_video

_PICTURE = "agentic-rag-output.png"
_SOUND = "Northern_Flicker_202280456.wav"
_FILM = "https://media.example.com/film.mp4"
FILM_CODES = ("4711", "8150", "3926")
_JOKE = {"setup": "Why was the cat on the keyboard?", "punchline": "It watched the mouse."}
_SPOKEN = {"model": "qwen3.5-omni-flash", "modalities": ["text", "audio"]}


class TestUnit(ChatModelUnitTests):
    """Construction, parameters and serialisation."""

    @property
    def chat_model_class(self) -> type[BaseChatModel]:
        return ChatQwenOmni

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {"model": "qwen3.8-omni-flash"}

    @property
    def init_from_env_params(self) -> tuple[dict[str, str], dict[str, Any], dict[str, Any]]:
        # The key in the environment is read when the first request is sent and is not kept in the model.
        return {"DASHSCOPE_API_KEY": "sk-from-environment"}, {}, {"api_key": None, "model": "qwen3.8-omni-flash"}

    @pytest.mark.xfail(
        raises=ValueError,
        reason="load(allowed_objects='all') allows the packages in a fixed table of langchain-core and no others; "
        "test_serialisation.py does the same round trip with the class named",
    )
    def test_serdes(self, model: BaseChatModel, snapshot: Any) -> None:
        super().test_serdes(model, snapshot)


@pytest.mark.filterwarnings("ignore:cache_control has no effect")  # the suite marks a message, as for Anthropic
class Suite(VideoInputTests, ChatModelIntegrationTests):
    """Every answer that a program can ask for, through every entry point, for the profile named by `profiled`."""

    profiled = "qwen3.8-omni-flash"
    options: ClassVar[dict[str, Any]] = {}

    @property
    def chat_model_class(self) -> type[BaseChatModel]:
        return ChatQwenOmni

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {"model": self.profiled, "max_retries": 0, **self.options}

    @property
    def supports_json_mode(self) -> bool:
        return True  # where the model has no such mode (3.5), the prompt asks for JSON

    @property
    def supports_image_inputs(self) -> bool:
        return True

    @property
    def supports_image_urls(self) -> bool:
        return True

    @property
    def supports_audio_inputs(self) -> bool:
        return True

    @property
    def supports_video_inputs(self) -> bool:
        return True  # the suite has no test for it; `VideoInputTests` does

    @property
    def video_clip(self) -> VideoClip:
        return VideoClip(data=self.web[_FILM], question="Which codes are shown?", expected=FILM_CODES, url=_FILM)

    @property
    def supports_openai_video_parts(self) -> bool:
        return True

    @property
    def supports_video_tool_message(self) -> bool:
        return True

    @property
    def video_answer_holds_tokens(self) -> bool:
        return True

    @property
    def supports_anthropic_inputs(self) -> bool:
        return True

    @property
    def supports_image_tool_message(self) -> bool:
        return True

    # supports_pdf_inputs, supports_pdf_tool_message: the service takes no documents. They stay off.

    @property
    def model_override_value(self) -> str:
        return "qwen3.5-omni-flash" if self.profiled != "qwen3.5-omni-flash" else "qwen3.8-omni-flash"

    @property
    def enable_vcr_tests(self) -> bool:
        return True

    @property
    def supported_usage_metadata_details(self) -> dict[Literal["invoke", "stream"], list[Any]]:
        # cache_read_input: the service's cache is implicit and cannot be made to hit.
        # cache_creation_input: the service reports none.
        details = ["audio_input", "audio_output", "reasoning_output"]
        return {"invoke": details, "stream": details}

    def invoke_with_audio_input(self, *, stream: bool = False) -> AIMessage:
        sound = {"type": "audio", "base64": base64.b64encode(self.sound).decode(), "mime_type": "audio/wav"}
        return _ask(HumanMessage([sound, {"type": "text", "text": "What is heard?"}]), stream=stream)

    def invoke_with_audio_output(self, *, stream: bool = False) -> AIMessage:
        return _ask(HumanMessage("Say hi."), stream=stream, **_SPOKEN)

    def invoke_with_reasoning_output(self, *, stream: bool = False) -> AIMessage:
        return _ask(HumanMessage("What is 2 + 2?"), stream=stream, thinking="low")

    @pytest.fixture(autouse=True)
    def _media(self, web: dict[str, bytes]) -> None:
        self.web = web
        self.sound = next(data for url, data in web.items() if url.endswith(_SOUND))


@pytest.mark.vcr
class TestIntegration(Suite):
    """The default profile, from recordings."""


@pytest.mark.vcr
class TestSpeech(Suite):
    """The profile that speaks, from recordings."""

    profiled = "qwen3.5-omni-flash"


def _ask(message: HumanMessage, *, stream: bool, **options: Any) -> AIMessage:
    llm = ChatQwenOmni(max_retries=0)
    if not stream:
        return llm.invoke([message], **options)
    full: AIMessageChunk | None = None
    for chunk in llm.stream([message], **options):
        full = chunk if full is None else full + chunk
    assert full is not None
    return full


@pytest.mark.vcr
class TestIntegrationV1(Suite):
    """The default profile with standard blocks as content; it plays the recordings of `TestIntegration`."""

    replays = "TestIntegration"
    options: ClassVar[dict[str, Any]] = {"output_version": "v1"}


@pytest.mark.vcr
class TestSpeechV1(Suite):
    """The profile that speaks, in the same way, from the recordings of `TestSpeech`."""

    replays = "TestSpeech"
    profiled = "qwen3.5-omni-flash"
    options: ClassVar[dict[str, Any]] = {"output_version": "v1"}


# --- Media that the suite fetches from the web ---


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What stands behind the addresses that the suite uses: media with markers, made here."""
    sound = tmp_path_factory.mktemp("web") / "sound.wav"
    make_audio(sound, codes=["1111", "2222"])
    film = sound.with_name("film.mp4")
    make_video(film, codes=FILM_CODES, size=(160, 120), fps=8)
    docs = "https://raw.githubusercontent.com/langchain-ai/docs/4d11d08b6b0e210bd456943f7a22febbd168b543/src/images/"
    return {
        _FILM: film.read_bytes(),
        docs + _PICTURE: make_image("4711", (320, 240)),
        "https://upload.wikimedia.org/wikipedia/commons/6/6a/" + _SOUND: sound.read_bytes(),
    }


@pytest.fixture
def media_map(web: dict[str, bytes]) -> dict[str, bytes]:
    """The stand-in downloads from the same addresses."""
    return web


@pytest.fixture(autouse=True)
def offline_web(web: dict[str, bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    """Serve the suite's own downloads out of the map, also while recording: all recordings hold the same media."""

    def get(url: str, **_: Any) -> httpx.Response:
        return httpx.Response(200, content=web[url])

    monkeypatch.setattr(httpx, "get", get)
    monkeypatch.setenv("LANGCHAIN_TESTS_USER_AGENT", "qwen-omni tests (nothing is downloaded)")


# --- What a language model would say ---


def _spoken_briefly() -> Script:
    """Script a short answer where speech is requested: a cassette stays under 100 kB."""
    return Script().reply("Hi.", when=lambda request: "modalities" in request.body, times=1)


SCRIPTS: dict[str, Callable[[], Script]] = {
    "test_tool_choice": lambda: Script().reply(
        Turn(tool_calls=(ToolCall(name="magic_function", arguments={"input": 3}),)), times=1
    ),
    "test_json_mode": lambda: Script().reply(json.dumps(_JOKE), times=4),
    "test_usage_metadata": _spoken_briefly,
    "test_usage_metadata_streaming": _spoken_briefly,
}


@pytest.fixture
def script(request: pytest.FixtureRequest) -> Script:
    """The script of this test, if it needs one."""
    return SCRIPTS.get(request.node.originalname, Script)()
