"""Every public way to ask, over a real socket: what is sent, what comes back, and what is never sent.

All of these tests are coroutines, so every synchronous method is called inside a running event loop, as in a
notebook.
"""

import base64
import io
import pickle
import wave
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("llama_index.core")

from llama_index.core import Settings
from llama_index.core.base.llms.types import (
    AudioBlock,
    ChatMessage,
    ImageBlock,
    TextBlock,
    ThinkingBlock,
    VideoBlock,
)
from llama_index.core.schema import Document, MediaResource

from llama_index_qwen_omni import QwenOmni
from qwen_omni.errors import (
    AuthenticationError,
    ConfigurationError,
    InvalidRequestError,
    MediaOutsideRootError,
    RateLimitError,
    StreamInterruptedError,
    UnsupportedContentError,
    UnsupportedMediaError,
)
from qwen_omni.integrations.request_builder import CALL_FIELDS, CONNECTION_FIELDS
from qwen_omni.standin import Fault, Standin
from qwen_omni.standin.marked_media import TruthMedia, make_frames, make_image
from tests.support.asking import CHATS, EIGHT, Way

each_way = pytest.mark.parametrize("way", EIGHT.values(), ids=EIGHT.keys())
each_chat = pytest.mark.parametrize("way", CHATS.values(), ids=CHATS.keys())


@each_way
async def test_every_request_streams(way: Way, llm: QwenOmni, standin: Standin) -> None:
    """Every entry point sends a request that streams and asks for usage, and gives the text and the usage."""
    answer = await way(llm, "Hello", thinking=False)
    (request,) = standin.requests
    assert (request.body["stream"], request.body["stream_options"]) == (True, {"include_usage": True})
    assert answer.message.content
    assert answer.raw["usage"]["total_tokens"] > 0
    assert (answer.raw["finish_reason"], answer.raw["model"]) == ("stop", "qwen3.8-omni-flash")
    assert answer.additional_kwargs["prompt_tokens"] == answer.raw["usage"]["prompt_tokens"]


async def test_twins_answer_alike(llm: QwenOmni) -> None:
    """Sync and async, whole and streamed: the same blocks and usage."""
    answers = [await way(llm, "How are you?") for way in CHATS.values()]
    told = [(answer.message.blocks, answer.raw["usage"]) for answer in answers]
    assert told.count(told[0]) == 4
    assert [type(block) for block in answers[0].message.blocks] == [ThinkingBlock, TextBlock]
    assert (
        answers[0].message.blocks[0].num_tokens
        == answers[0].raw["usage"]["completion_tokens_details"]["reasoning_tokens"]
    )


def media(clip: TruthMedia) -> dict[str, tuple[list[Any], dict[str, Any]]]:
    picture = make_image(clip.codes[0], (320, 240))
    frames = [ImageBlock(image=frame) for frame in make_frames(clip.codes, (320, 240))]
    return {
        "video": ([VideoBlock(path=clip.path)], {}),
        "video as bytes": ([VideoBlock(video=Path(clip.path).read_bytes())], {}),
        "video with fps": ([VideoBlock(url=f"file://{clip.path}", fps=1)], {}),
        "half a video": ([VideoBlock(path=clip.path)], {"start": 2, "end": 4}),
        "picture": ([ImageBlock(image=picture)], {}),
        "open picture": ([ImageBlock(image=io.BytesIO(picture))], {}),
        "frames": (frames, {"frames": {"fps": 1}}),
    }


@pytest.mark.parametrize("way", [CHATS["chat"], CHATS["astream_chat"]], ids=["chat", "astream_chat"])
@pytest.mark.parametrize(
    "kind", ["video", "video as bytes", "video with fps", "half a video", "picture", "open picture", "frames"]
)
async def test_media_is_seen(way: Way, kind: str, llm: QwenOmni, standin: Standin, clip: TruthMedia) -> None:
    """What the service decoded is what was in the file: its codes, in order, and the answer names them."""
    blocks, wishes = media(clip)[kind]
    question = ChatMessage(blocks=[*blocks, TextBlock(text="Which codes are shown?")], additional_kwargs=wishes)
    answer = await way(llm, [question])
    (facts,) = standin.requests[-1].media
    shown = {"picture": clip.codes[:1], "open picture": clip.codes[:1], "half a video": clip.codes[2:]}
    assert facts.picture_codes == tuple(shown.get(kind, clip.codes))
    assert all(code in (answer.message.content or "") for code in facts.picture_codes)
    counted = "image_tokens" if "picture" in kind else "video_tokens"
    assert answer.raw["usage"]["prompt_tokens_details"][counted] > 0


async def test_repeated_media_keep_their_number(llm: QwenOmni, standin: Standin, clip: TruthMedia) -> None:
    """The same picture twice, and texts that are empty, arrive as often and in the order in which they stand."""
    picture = ImageBlock(image=make_image(clip.codes[0], (320, 240)))
    llm.chat([ChatMessage(blocks=[TextBlock(text="hello"), picture, TextBlock(text=""), picture])])
    content = standin.requests[-1].body["messages"][0]["content"]
    assert [part.get("text", part["type"]) for part in content] == ["hello", "image_url", "", "image_url"]
    assert len(standin.requests[-1].media) == 2


async def test_speech(llm: QwenOmni) -> None:
    """Speech comes as one playable WAV, whole and streamed, and piece by piece while it streams."""
    asked = {"model": "qwen3.5-omni-flash", "modalities": ["text", "audio"]}
    answers = [await way(llm, "Say hello.", **asked) for way in CHATS.values()]
    wavs = [block for answer in answers for block in answer.message.blocks if isinstance(block, AudioBlock)]
    assert len(wavs) == 4
    assert len({wav.audio for wav in wavs}) == 1
    with wave.open(io.BytesIO(wavs[0].resolve_audio().read())) as sound:
        pcm = sound.readframes(sound.getnframes())
        assert (sound.getframerate(), sound.getnchannels(), sound.getsampwidth()) == (24_000, 1, 2)
    pieces = [
        base64.b64decode(one.additional_kwargs["audio_delta"].audio)
        for one in llm.stream_chat([ChatMessage(content="Say hello.")], **asked)
        if "audio_delta" in one.additional_kwargs
    ]
    assert b"".join(pieces) == pcm
    assert len(pieces) > 1
    completion = llm.complete("Say hello.", **asked)
    assert completion.additional_kwargs["audio"].audio == wavs[0].audio


async def test_speech_in_history(llm: QwenOmni, standin: Standin) -> None:
    """An answer that was spoken can be sent back."""
    first = ChatMessage(content="Say hello.")
    spoken = llm.chat([first], model="qwen3.5-omni-flash", modalities=["text", "audio"]).message
    llm.chat([first, spoken, ChatMessage(content="And now?")])
    assert standin.requests[-1].body["messages"][1] == {"role": "assistant", "content": spoken.content}


ERRORS = {
    400: (Fault.refuse(400, "InvalidParameter", "Range of max_tokens should be [1, 2048]"), InvalidRequestError),
    401: (Fault.refuse(401, "invalid_api_key", "Incorrect API key provided."), AuthenticationError),
    429: (Fault.rate_limit(), RateLimitError),
    "cut": (Fault.cut(after_bytes=900), StreamInterruptedError),
}


@each_way
@pytest.mark.parametrize(("fault", "error"), ERRORS.values(), ids=map(str, ERRORS))
async def test_errors_are_raised(way: Way, fault: Fault, error: type, llm: QwenOmni, standin: Standin) -> None:
    """An error of the service raises ours in every way to ask, never an empty or a short answer."""
    standin.script.fault(fault)
    with pytest.raises(error):
        await way(llm, "Hello")


async def test_seconds_of_a_link(llm: QwenOmni, standin: Standin, clip: TruthMedia) -> None:
    """Seconds in a link's address are told to have no effect, and the whole is seen; asked for, they are refused."""
    resource = MediaResource(url="https://media.example.com/clip.mp4#t=1,2", mimetype="video/mp4")
    blocks = [*Document(video_resource=resource).get_content_blocks(), TextBlock(text="What is shown?")]
    standin.media_map["https://media.example.com/clip.mp4"] = clip.path
    with pytest.warns(UserWarning, match=r"part 0: https://media\.example\.com/clip\.mp4.* as a whole"):
        await llm.achat([ChatMessage(blocks=blocks)])
    assert standin.requests[-1].media[0].picture_codes == clip.codes
    with pytest.raises(UnsupportedMediaError, match="is a link, and start= and end= are for local media"):
        llm.chat([ChatMessage(blocks=blocks, additional_kwargs={"start": 1})])
    assert len(standin.requests) == 1


@each_chat
@pytest.mark.parametrize("block", [VideoBlock(path="/etc/passwd"), ImageBlock(url="file:///etc/passwd")])
async def test_files_outside_the_root(way: Way, block: Any, llm: QwenOmni, standin: Standin) -> None:
    """A message cannot name a file outside `media_root`; nothing is sent."""
    with pytest.raises(MediaOutsideRootError):
        await way(llm, [ChatMessage(blocks=[block])])
    assert standin.requests == []


async def test_wrong_questions_raise_at_once(llm: QwenOmni) -> None:
    """What is wrong with the question raises when the stream is asked for, not when it is read."""
    with pytest.raises(ConfigurationError, match="QwenOmni has no option 'temprature'"):
        llm.stream_chat([ChatMessage(content="x")], temprature=1)
    with pytest.raises(UnsupportedContentError):
        await llm.astream_chat([ChatMessage(blocks=[VideoBlock()])])
    with pytest.raises(ConfigurationError):
        llm.stream_complete("x", thinking="hard")


async def test_an_abandoned_stream_ends(llm: QwenOmni, standin: Standin) -> None:
    """A stream that nobody reads on is closed, and the next call works."""
    stream = llm.stream_chat([ChatMessage(content="Hello")])
    next(stream)
    stream.close()
    astream = await llm.astream_chat([ChatMessage(content="Hello")])
    await anext(astream)
    await astream.aclose()
    assert llm.complete("Hello").text


async def test_one_connection(llm: QwenOmni, standin: Standin) -> None:
    """Calls one after another share a connection, whole and streamed."""
    for _ in range(3):
        llm.complete("Hello")
        list(llm.stream_complete("Hello"))
    assert standin.connections == 1


async def test_prompts_of_the_program(llm: QwenOmni, standin: Standin) -> None:
    """`completion_to_prompt` shapes a prompt that is not formatted yet."""
    shaped = llm.model_copy(update={"completion_to_prompt": lambda text: f"<{text}>"})
    shaped.complete("a")
    shaped.complete("b", formatted=True)
    assert [request.body["messages"][0]["content"] for request in standin.requests] == ["<a>", "b"]


class Limiter:
    """Counts who asks for a place."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def acquire(self) -> None:
        """Wait for a place."""
        self.asked.append("sync")

    async def async_acquire(self) -> None:
        """Wait for a place."""
        self.asked.append("async")


@each_way
async def test_rate_limiter(way: Way, llm: QwenOmni) -> None:
    """LlamaIndex's rate limiter is asked once for each call."""
    limiter = Limiter()
    await way(llm.model_copy(update={"rate_limiter": limiter}), "Hello")
    assert len(limiter.asked) == 1


def test_every_option_is_a_field() -> None:
    """The class has a field for every option of a call and of the connection, as ChatQwenOmni has."""
    assert {"model", *CALL_FIELDS, *CONNECTION_FIELDS} <= set(QwenOmni.model_fields)
    with pytest.raises(ValueError, match="temprature"):
        QwenOmni(temprature=1)  # type: ignore[call-arg]


def test_settings_and_copies(llm: QwenOmni, monkeypatch: pytest.MonkeyPatch) -> None:
    """The class serves as `Settings.llm`, survives pickling and its own dictionary, and tells no secret."""
    before = Settings._llm
    try:
        Settings.llm = llm
        assert Settings.llm is llm
    finally:
        Settings._llm = before
    secret = llm.api_key.get_secret_value() if llm.api_key else ""
    assert secret
    whole = QwenOmni.from_dict(llm.to_dict())
    assert (whole.model, whole.base_url, whole.api_key) == (llm.model, llm.base_url, None)
    assert secret.encode() not in pickle.dumps(llm)
    monkeypatch.setenv("DASHSCOPE_API_KEY", secret)
    copy = pickle.loads(pickle.dumps(llm))
    assert copy.complete("Hello").text
    copy.close()
    headed = QwenOmni(api_key="sk-hidden-9", extra_headers={"x-token": "tok-9"}, temperature=0.5)  # type: ignore[arg-type]
    for told in (headed.to_json(), str(headed.to_payload()), repr(headed), str(headed.model_dump())):
        assert "sk-hidden-9" not in told
        assert "tok-9" not in told
    assert headed.to_payload()["temperature"] == 0.5


def test_metadata() -> None:
    """Metadata comes from the profile of the model."""
    told = QwenOmni(model="qwen3.8-omni-flash", max_tokens=99).metadata
    assert (told.model_name, told.is_chat_model, told.is_function_calling_model) == ("qwen3.8-omni-flash", True, True)
    assert (told.context_window, told.num_output) == (1_000_000, 99)
    assert QwenOmni(model="qwen-omni-turbo").metadata.is_function_calling_model is False


def test_exports() -> None:
    """The package exports exactly its sorted list."""
    import llama_index_qwen_omni as package  # noqa: PLC0415

    assert sorted(package.__all__) == package.__all__ == dir(package)
    assert all(getattr(package, name) for name in package.__all__)
    with pytest.raises(AttributeError, match="nothing_like_it"):
        package.nothing_like_it  # noqa: B018
