"""Answers as the service's documentation prints them: each cassette is marked `documentation` and names its page.

`make record` leaves these cassettes alone. Their requests are ours; the answers are the documented shapes, counts,
codes and messages, with short texts filled in.
"""

import json
from pathlib import Path
from typing import Any

import pytest

from langchain_qwen_omni import QwenOmniAudioLoader, caption_chain
from llama_index_qwen_omni import QwenOmniAudioReader
from qwen_omni import (
    CaptionOptions,
    TimedCaptions,
    Transcript,
    TranscriptionOptions,
    acaption,
    atranscribe,
    caption,
    transcribe,
)
from qwen_omni.errors import (
    AccountError,
    AuthenticationError,
    ContentFilterError,
    ContextOverflowError,
    InvalidRequestError,
    MediaDownloadTimeoutError,
    MediaRefusedError,
    NotFoundError,
    QwenOmniError,
    RateLimitError,
    TaskFailedError,
)
from qwen_omni.structured.schema import TIMED_TASK
from tests.contracts.frameworks import LANGCHAIN, LLAMA_INDEX, Medium, Way
from tests.contracts.recorded import CHATS, VIDEO, Case, Work, content_of, expected, held, rows

pytestmark = pytest.mark.vcr


def name_of(case: Case, cases: dict[str, Case]) -> str:
    """Return the name of a row."""
    return next(name for name, row in cases.items() if row is case)


WHOLE: dict[str, dict[str, Way]] = {name: dict(list(ways.items())[:2]) for name, ways in CHATS.items()}
"""Whole answers, sync and async; `test_recorded` has all ways."""
# --- Answers ---

ANSWERS = {
    "speech": Case(
        proves="Text in `content`, then speech in chunks that have no `content`; the usage counts both.",
        asks=("Who are you?",),
        options={"modalities": ("text", "audio"), "voice": "Tina"},
        fields={"model": "qwen3.5-omni-plus"},
    ),
    "thinking": Case(
        proves="Reasoning comes first with `content: null`; its tokens are part of the completion.",
        asks=("Who are you?",),
        options={"thinking": True},
    ),
    "upload": Case(
        proves="The policy of an upload has numbers as numbers and `x_oss_forbid_overwrite` as a string.",
        asks=(VIDEO, "What is shown?"),
        fields={"delivery": "temporary"},
    ),
}
TOKENS = {"speech": (207, 103), "thinking": (1220, 363), "upload": (1220, 12)}


@rows(ANSWERS, WHOLE)
async def test_answers(case: Case, face: Any, way: Way, llm: Any, media: dict[str, Medium], vcr: Any) -> None:
    """The documented stream becomes the documented text, reasoning, speech and usage."""
    asks = [media.get(part, part) for part in case.asks]
    answer = content_of(await way(llm, face.says(*asks) if len(asks) > 1 else case.asks[0], **case.options))
    name = name_of(case, ANSWERS)
    assert answer == expected(held(vcr)[-1])
    assert answer.tokens == TOKENS[name]
    assert (bool(answer.pcm), bool(answer.thinking)) == (name == "speech", name == "thinking")


# --- Errors ---

ERRORS: dict[str, tuple[type[QwenOmniError], bool]] = {
    "error-401-invalid-api-key": (AuthenticationError, False),
    "error-404-model-not-found": (NotFoundError, False),
    "error-400-arrearage": (AccountError, False),
    "error-403-free-tier-only": (AccountError, False),
    "error-400-data-inspection-failed": (ContentFilterError, False),
    "error-429-limit-requests": (RateLimitError, True),
    "error-429-limit-burst-rate": (RateLimitError, True),
    "error-400-input-length": (ContextOverflowError, False),
    "error-400-media-download": (MediaDownloadTimeoutError, True),
    "error-400-media-size": (MediaRefusedError, False),
    "error-400-mixed-modalities": (InvalidRequestError, False),
}
ERROR_CASES = {
    name: Case(
        proves=f"The documented refusal `{name.removeprefix('error-')}` is `{kind.__name__}`"
        f"{', which is retried' if retryable else ', and is not retried'}.",
        asks=("Hello",),
        error=kind,
    )
    for name, (kind, retryable) in ERRORS.items()
}


@rows(ERROR_CASES, WHOLE)
async def test_errors(case: Case, face: Any, way: Way, llm: Any, vcr: Any) -> None:
    """Each documented refusal is the right error, retried or not, with the service's words and the request's id."""
    assert case.error is not None
    with pytest.raises(case.error) as caught:
        await way(llm, case.asks[0], **case.options)
    assert isinstance(caught.value, face.error)
    assert type(caught.value).__name__ == case.error.__name__
    assert type(caught.value).retryable == ERRORS[name_of(case, ERROR_CASES)][1]
    assert json.loads(held(vcr)[-1])["error"]["message"] in str(caught.value)


# --- Captions in the documented forms of text ---

FORMS = {
    "caption-as-a-narrative": Case(proves="A narrative with `[hh:mm:ss:xxx-hh:mm:ss:xxx]` ranges is read as captions."),
    "caption-of-speakers": Case(proves="A transcript of speakers in `<sos>…<eos>` marks is read as captions."),
    "caption-of-sounds": Case(proves="A JSON array of sound events is read as captions."),
}
SPANS = {
    "caption-as-a-narrative": [(0.0, 1.0), (1.0, 2.5)],
    "caption-of-speakers": [(0.25, 1.5), (2.0, 2.75)],
    "caption-of-sounds": [(0.5, 2.25)],
}


async def _caption(llm: Any, path: Path) -> TimedCaptions:
    return caption(path, TimedCaptions, client=llm.client, options=CaptionOptions()).value


async def _acaption(llm: Any, path: Path) -> TimedCaptions:
    return (await acaption(path, TimedCaptions, client=llm.async_client, options=CaptionOptions())).value


async def _chain(llm: Any, path: Path) -> TimedCaptions:
    return caption_chain(llm, TimedCaptions).invoke(LANGCHAIN.says(Medium("video", path=path), TIMED_TASK))


async def _achain(llm: Any, path: Path) -> TimedCaptions:
    return await caption_chain(llm, TimedCaptions).ainvoke(LANGCHAIN.says(Medium("video", path=path), TIMED_TASK))


async def _structured(llm: Any, path: Path) -> TimedCaptions:
    asked = LLAMA_INDEX.says(Medium("video", path=path), TIMED_TASK)
    return llm.as_structured_llm(TimedCaptions).chat(asked).raw


async def _astructured(llm: Any, path: Path) -> TimedCaptions:
    asked = LLAMA_INDEX.says(Medium("video", path=path), TIMED_TASK)
    return (await llm.as_structured_llm(TimedCaptions).achat(asked)).raw


CAPTION_WAYS: dict[str, dict[str, Work]] = {
    "core": {"caption": _caption, "acaption": _acaption},
    "langchain": {"invoke": _chain, "ainvoke": _achain},
    "llama_index": {"chat": _structured, "achat": _astructured},
}


@rows(FORMS, CAPTION_WAYS, own=("llama_index",))
async def test_forms(case: Case, face: Any, way: Work, llm: Any, media: dict[str, Medium]) -> None:
    """The text is read at once, without asking again, with its times; LlamaIndex words the rules as for any object."""
    found = await way(llm, media[VIDEO].path)
    assert [(one.start, one.end) for one in found.captions] == SPANS[name_of(case, FORMS)]


# --- Speech to text ---

RECORDING = "https://media.example.com/hello_world.wav"
TRANSCRIPTS = {
    "transcription-paraformer": Case(
        proves="Paraformer: `results[]`, words with punctuation, speakers, times in milliseconds.",
        options={"model": "paraformer-v2", "speakers": True},
    ),
    "transcription-filetrans": Case(
        proves="Filetrans: `result{}` with language and emotion of a sentence, and no words.",
        options={"model": "qwen3-asr-flash-filetrans", "words": False},
    ),
    "transcription-failed": Case(
        proves="A task that is `SUCCEEDED` while its part is `FAILED` is an error with the code of the part.",
        options={"model": "paraformer-v2"},
        error=TaskFailedError,
    ),
}


async def _said(llm: Any, options: TranscriptionOptions) -> Transcript:
    return transcribe(RECORDING, client=llm.client, options=options)


async def _asaid(llm: Any, options: TranscriptionOptions) -> Transcript:
    return await atranscribe(RECORDING, client=llm.async_client, options=options)


Spoken = list[tuple[float, float, str]]
"""Sentences, or documents, with their times."""


def _sentences(said: Transcript) -> Spoken:
    return [(one.start, one.end, one.text) for one in said.sentences]


async def _transcribe(llm: Any, options: TranscriptionOptions) -> Spoken:
    return _sentences(await _said(llm, options))


async def _atranscribe(llm: Any, options: TranscriptionOptions) -> Spoken:
    return _sentences(await _asaid(llm, options))


def _documents(found: list[Any]) -> Spoken:
    return [
        (one.metadata["start"], one.metadata["end"], getattr(one, "page_content", None) or one.text) for one in found
    ]


async def _load(llm: Any, options: TranscriptionOptions) -> Spoken:
    return _documents(QwenOmniAudioLoader(RECORDING, llm, options=options, mode="sentences").load())


async def _aload(llm: Any, options: TranscriptionOptions) -> Spoken:
    loader = QwenOmniAudioLoader(RECORDING, llm, options=options, mode="sentences")
    return _documents([one async for one in loader.alazy_load()])


async def _load_data(llm: Any, options: TranscriptionOptions) -> Spoken:
    return _documents(QwenOmniAudioReader(llm, options=options, mode="sentences").load_data(RECORDING))


async def _aload_data(llm: Any, options: TranscriptionOptions) -> Spoken:
    return _documents(await QwenOmniAudioReader(llm, options=options, mode="sentences").aload_data(RECORDING))


WHOLE_TRANSCRIPT: dict[str, dict[str, Work]] = {"core": {"transcribe": _said, "atranscribe": _asaid}}
TRANSCRIPT_WAYS: dict[str, dict[str, Work]] = {
    "core": {"transcribe": _transcribe, "atranscribe": _atranscribe},
    "langchain": {"load": _load, "alazy_load": _aload},
    "llama_index": {"load_data": _load_data, "aload_data": _aload_data},
}


@rows(TRANSCRIPTS, TRANSCRIPT_WAYS)
async def test_transcripts(case: Case, face: Any, way: Work, llm: Any) -> None:
    """The documented states and files become sentences, or documents, with times."""
    options = TranscriptionOptions(poll_seconds=0.01, **case.options)
    if case.error is None:
        assert await way(llm, options) == [(0.1, 3.82, "Hello world, this is a test.")]
        return
    with pytest.raises(case.error, match=r"InvalidFile\.DownloadFailed") as caught:
        await way(llm, options)
    assert isinstance(caught.value, face.error)


@rows({name: case for name, case in TRANSCRIPTS.items() if case.error is None}, WHOLE_TRANSCRIPT)
async def test_words_and_speakers(case: Case, face: Any, way: Work, llm: Any) -> None:
    """What the two forms of a transcript hold besides."""
    said = await way(llm, TranscriptionOptions(poll_seconds=0.01, **case.options))
    (sentence,) = said.sentences
    assert said.text == sentence.text
    if said.model == "paraformer-v2":
        assert [(word.start, word.end) for word in sentence.words] == [(0.1, 0.596), (0.596, 0.844)]
        assert (said.duration, sentence.speaker) == (3.834, 0)
    else:
        assert (said.language, sentence.words) == ("en", ())


AT_ONCE = {
    "transcription-chat": Case(
        proves="A transcription over chat: `role: null`, annotations on every chunk, seconds in the usage.",
        options={"model": "qwen3-asr-flash"},
    )
}


@rows(AT_ONCE, WHOLE_TRANSCRIPT)
async def test_transcripts_at_once(case: Case, face: Any, way: Work, llm: Any) -> None:
    """The text, the language of the annotations, and the seconds that are billed."""
    said = await way(llm, TranscriptionOptions(**case.options))
    assert (said.text, said.language, said.billed_seconds) == ("Hello world, this is a test.", "en", 4)


@rows(AT_ONCE, {name: TRANSCRIPT_WAYS[name] for name in ("langchain", "llama_index")})
async def test_documents_at_once(case: Case, face: Any, way: Work, llm: Any) -> None:
    """One document with the text, whose times are unknown (-1), since none are reported."""
    assert await way(llm, TranscriptionOptions(**case.options)) == [(-1, -1, "Hello world, this is a test.")]
