"""What LlamaIndex alone has: its blocks, its settings, its prompts.

All of these tests are coroutines, so every synchronous method is called inside a running event loop, as in a
notebook.
"""

import base64
import io
import pickle
import wave
from typing import Any

import pytest

pytest.importorskip("llama_index.core")

from llama_index.core import Settings
from llama_index.core.base.llms.types import AudioBlock, ChatMessage, TextBlock, ThinkingBlock, VideoBlock

from llama_index_qwen_omni import QwenOmni
from qwen_omni.errors import ConfigurationError, UnsupportedContentError
from qwen_omni.integrations.model_fields import CALL_FIELDS, CONNECTION_FIELDS
from qwen_omni.standin import Standin
from tests.contracts.frameworks import LLAMA_INDEX, Way

each_way = pytest.mark.parametrize("way", LLAMA_INDEX.ways.values(), ids=LLAMA_INDEX.ways.keys())


@each_way
async def test_what_an_answer_tells(way: Way, llm: QwenOmni) -> None:
    """Every entry point tells why it ended, the model, and the tokens where LlamaIndex's counters look for them."""
    answer = await way(llm, "Hello", thinking=False)
    assert (answer.raw["finish_reason"], answer.raw["model"]) == ("stop", "qwen3.8-omni-flash")
    assert answer.additional_kwargs["prompt_tokens"] == answer.raw["usage"]["prompt_tokens"]


def test_thinking_has_its_tokens(llm: QwenOmni) -> None:
    """Thinking is a block before the text, with the number of its tokens."""
    answer: Any = llm.chat([ChatMessage(content="How are you?")])
    thinking, text = answer.message.blocks
    assert (type(thinking), type(text)) == (ThinkingBlock, TextBlock)
    assert thinking.num_tokens == answer.raw["usage"]["completion_tokens_details"]["reasoning_tokens"]


async def test_speech(llm: QwenOmni) -> None:
    """Speech comes as one playable WAV, whole and streamed, and piece by piece while it streams."""
    asked = {"model": "qwen3.5-omni-flash", "modalities": ["text", "audio"]}
    answers = [await way(llm, "Say hello.", **asked) for way in LLAMA_INDEX.chats.values()]
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


async def test_prompts_of_the_program(llm: QwenOmni, standin: Standin) -> None:
    """`completion_to_prompt` shapes a prompt that is not formatted yet."""
    shaped = llm.model_copy(update={"completion_to_prompt": lambda text: f"<{text}>"})
    shaped.complete("a")
    shaped.complete("b", formatted=True)
    assert [request.body["messages"][0]["content"] for request in standin.requests] == ["<a>", "b"]


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
