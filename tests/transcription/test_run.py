"""`transcribe` and `atranscribe` against the stand-in: what is heard, what is paid, what goes wrong."""

import asyncio
import dataclasses
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from pydantic import SecretStr

from qwen_omni import (
    APIConnectionError,
    AsyncOmniClient,
    AuthenticationError,
    ConfigurationError,
    DeliveryError,
    MediaDoesNotFitError,
    MediaOutsideRootError,
    MediaSource,
    OmniClient,
    RateLimitError,
    Settings,
    TaskFailedError,
    TaskUnfinishedError,
    UnreadableMediaError,
    UnsupportedMediaError,
    atranscribe,
    transcribe,
)
from qwen_omni.standin import HttpFault, Outcome, Standin
from qwen_omni.standin.marked_media import Encoding, TruthMedia, make_video
from qwen_omni.transcription.options import choose_transcriber
from tests.support.making import wav
from tests.transcription.conftest import Ask, options, until_looked_at, words

TASKS = ("paraformer-v2", "fun-asr", "qwen3-asr-flash-filetrans", "qwen-audio-3.1-asr-flash-filetrans")
AT_ONCE = ("qwen-audio-3.1-asr-flash", "qwen-audio-3.0-asr-flash", "fun-asr-flash-2026-06-15")


@pytest.mark.parametrize("model", [*TASKS, "qwen3-asr-flash"])
def test_what_was_said_and_when(ask: Ask, model: str, recording: TruthMedia, standin: Standin) -> None:
    """Each model hears every code; the task models tell the second of each word, a hundredth off at most 5."""
    said = ask(recording.path, model=model)
    assert words(said) == list(recording.codes)
    assert said.model == model
    assert said.billed_seconds == (None if "3.1" in model else 6)  # billed by token
    assert said.duration == pytest.approx(6, abs=0.1)
    heard = [word for sentence in said.sentences for word in sentence.words]
    if model == "qwen3-asr-flash":
        assert said.language == "en"
        assert not heard
        assert not standin.tasks.calls
    else:
        assert [round(word.start) for word in heard] == list(range(6))
        assert max(abs(word.start - round(word.start)) for word in heard) < 0.05
        assert standin.tasks.submitted == 1


@pytest.mark.parametrize("model", AT_ONCE)
def test_models_of_the_native_route(ask: Ask, model: str, recording: TruthMedia, standin: Standin) -> None:
    """They are called once on DashScope's own route, with the audio inside; the chat route has never heard of them."""
    said = ask(recording.path, model=model, context="Names: Qwen.", language="en", vocabulary_id="vocab-1")
    assert words(said) == list(recording.codes)
    assert (said.model, said.duration) == (model, pytest.approx(6, abs=0.1))
    assert said.billed_seconds == (None if "3.1" in model else 6)
    assert not standin.requests
    (call,) = standin.tasks.calls
    assert (call.operation, call.model, call.status, call.with_key) == ("call", model, 200, True)
    assert call.parameters == {
        "format": "mp3", "sample_rate": "16000", "language_hints": ["en"], "vocabulary_id": "vocab-1",
    }  # fmt: skip
    assert call.links[0].startswith("<data:audio/mpeg;base64")
    assert not standin.stores.calls


@pytest.mark.slow
def test_a_link_and_a_store_on_the_native_route(
    ask: Ask, recording: TruthMedia, film: TruthMedia, standin: Standin, settings: Settings
) -> None:
    """A link goes as it is; delivered by way of the store, the header resolves it; of a film the sound alone goes."""
    standin.media_map["https://media.example.com/call.mp3"] = recording.path
    link = MediaSource.from_url("https://media.example.com/call.mp3?Signature=abc")
    assert words(ask(link, model=AT_ONCE[0])) == list(recording.codes)
    stored = dataclasses.replace(settings, delivery="temporary")
    assert words(ask(film.path, model=AT_ONCE[0], client_settings=stored)) == list(film.codes)
    assert [call.links[0].partition("/")[0] for call in standin.tasks.calls] == ["https:", "oss:"]
    part = ask(film.path, model=AT_ONCE[1], start=3, end=6)
    assert words(part) == list(film.codes[3:6])


@pytest.mark.slow
def test_what_the_native_route_refuses(
    ask: Ask, recording: TruthMedia, silence: Path, standin: Standin, settings: Settings, tmp_path: Path
) -> None:
    """Silence is an empty transcript; a fault that passes is tried again, one that may be billed is not."""
    assert ask(silence, model=AT_ONCE[0]).text == ""
    standin.tasks.fail(HttpFault(operation="call", status=429, code="Throttling.RateQuota"))
    assert words(ask(recording.path, model=AT_ONCE[0])) == list(recording.codes)
    standin.tasks.calls.clear()
    standin.tasks.fail(HttpFault(operation="call", status=0, after=True))
    with pytest.raises(APIConnectionError):
        ask(recording.path, model=AT_ONCE[0])
    assert len(standin.tasks.calls) == 1
    wrong = dataclasses.replace(settings, api_key=SecretStr("sk-wrong"))
    with pytest.raises(AuthenticationError):
        ask(recording.path, model=AT_ONCE[0], client_settings=wrong)
    (long := tmp_path / "long.wav").write_bytes(wav(seconds=301))
    with pytest.raises(MediaDoesNotFitError, match=r"takes at most 300 s\. Use .*qwen-audio-3\.1-asr-flash-filetrans"):
        ask(long, model=AT_ONCE[0])


def test_speakers_of_the_newest_model(ask: Ask, recording: TruthMedia, standin: Standin) -> None:
    """It tells speakers apart as fun-asr does; the ones that cannot are refused, with the names that can."""
    said = ask(recording.path, model="qwen-audio-3.1-asr-flash-filetrans", speakers=2)
    assert said.speakers
    assert standin.tasks.calls[0].parameters == {"diarization_enabled": True, "speaker_count": 2}
    for model in (*AT_ONCE, "qwen-audio-3.0-asr-flash-filetrans", "qwen3-asr-flash"):
        with pytest.raises(ConfigurationError, match=r"speakers=; choose .*qwen-audio-3\.1-asr-flash-filetrans"):
            ask(recording.path, model=model, speakers=2)


@pytest.mark.slow
async def test_twins(film: TruthMedia, standin: Standin, settings: Settings) -> None:
    """Both ways give one transcript and one error, over tasks and over chat; cancelling leaves a task to be found."""
    async with AsyncOmniClient(settings) as client:
        for model in ("fun-asr", "qwen3-asr-flash", "qwen-audio-3.1-asr-flash"):
            wishes = options(model=model)
            said = await atranscribe(film.path, client=client, options=wishes)
            with OmniClient(settings) as plain:
                assert await asyncio.to_thread(transcribe, film.path, client=plain, options=wishes) == said
            assert words(said) == list(film.codes)
        standin.tasks.fail(Outcome(kind="subtask"))
        with pytest.raises(TaskFailedError):
            await atranscribe(film.path, client=client, options=options(language="en"))
        standin.tasks.fail(Outcome(polls=100_000))
        standin.tasks.calls.clear()
        waiting = asyncio.create_task(atranscribe(film.path, client=client, options=options(language="zh")))
        await asyncio.to_thread(until_looked_at, standin)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
    submitted = standin.tasks.submitted
    with OmniClient(settings) as plain, pytest.raises(TaskUnfinishedError):
        await asyncio.to_thread(transcribe, film.path, client=plain, options=options(language="zh", wait_seconds=0))
    assert standin.tasks.submitted == submitted


def test_a_films_sound_alone_travels(ask: Ask, film: TruthMedia, standin: Standin) -> None:
    """Of a video only a small sound file is uploaded, and its times are the film's."""
    said = ask(film.path)
    assert words(said) == list(film.codes)
    posted = [call for call in standin.stores.calls if call.operation == "post_form"]
    assert posted[0].size_bytes < 8 * 4000 + 4000
    assert all(abs(one.words[0].start - round(one.start)) < 0.05 for one in said.sentences)


def test_a_part_keeps_the_films_times(ask: Ask, film: TruthMedia, recording: TruthMedia) -> None:
    """Seconds 3 to 6 hold three codes, and their times count from the file's beginning; recordings likewise."""
    for media in (film, recording):
        said = ask(media.path, start=3, end=6)
        assert words(said) == list(media.codes[3:6])
        assert [round(word.start) for one in said.sentences for word in one.words] == [3, 4, 5]


def test_sound_that_begins_late_is_told_late(ask: Ask, tmp_path: Path) -> None:
    """Sound that is shifted against the picture has the picture's times."""
    late = Encoding(sound_delay=0.2)
    film = make_video(tmp_path / "late.mp4", seconds=4, size=(64, 48), fps=5, encoding=late)
    heard = [word.start for one in ask(film.path).sentences for word in one.words]
    assert heard == pytest.approx([0.2, 1.2, 2.2, 3.2], abs=0.05)


def test_speakers_and_language(ask: Ask, recording: TruthMedia, standin: Standin) -> None:
    """Speakers are asked for with their number, and told by number; the language is a hint."""
    said = ask(recording.path, speakers=2, language="en")
    assert standin.tasks.calls[0].parameters == {
        "language_hints": ["en"], "diarization_enabled": True, "speaker_count": 2,
    }  # fmt: skip
    for sentence in said.sentences:
        assert {int(word.text[0]) % 2 for word in sentence.words} == {sentence.speaker}


def test_silence_is_an_empty_transcript(ask: Ask, silence: Path) -> None:
    """That nobody spoke is no error, though every model tells it as one."""
    for model in (*TASKS, "qwen3-asr-flash"):
        said = ask(silence, model=model)
        assert (said.text, said.sentences) == ("", ())
        assert said.to_srt() == ""


def test_the_key_is_sent_to_the_service_alone(ask: Ask, recording: TruthMedia, standin: Standin) -> None:
    """The host of the result gets no key; it would refuse one."""
    ask(recording.path)
    assert [call.with_key for call in standin.tasks.calls if call.operation == "result"] == [False]
    assert all(call.with_key for call in standin.tasks.calls if call.operation != "result")


def test_nothing_is_submitted_twice(ask: Ask, recording: TruthMedia, standin: Standin, tmp_path: Path) -> None:
    """The same sound is one task, whatever its name; other wishes or `fresh` are another."""
    first = ask(recording.path)
    copy = tmp_path / "other name.mp3"
    copy.write_bytes(recording.path.read_bytes())
    again = ask(copy)
    assert again.task_id == first.task_id
    assert standin.tasks.submitted == 1
    assert len([call for call in standin.stores.calls if call.operation == "post_form"]) == 1
    for number, change in enumerate(({"language": "en"}, {"model": "fun-asr"}, {"fresh": True}), start=2):
        ask(recording.path, **change)
        assert standin.tasks.submitted == number


@pytest.mark.slow
def test_a_task_is_found_again_after_a_crash(recording: TruthMedia, standin: Standin, settings: Settings) -> None:
    """A process that is killed while it waits has not lost its task: the next one takes it up."""
    code = (
        "import sys\nfrom qwen_omni import *\n"
        "s = Settings.load(api_key=sys.argv[2], base_url=sys.argv[3])\n"
        "transcribe(sys.argv[1], client=OmniClient(s), options=TranscriptionOptions(poll_seconds=0.05))\n"
    )
    standin.tasks.fail(Outcome(polls=100_000))
    arguments = [sys.executable, "-c", code, str(recording.path), standin.api_key, standin.base_url]
    environment = {**os.environ, "QWEN_OMNI_CACHE_DIR": str(settings.cache_dir)}
    process = subprocess.Popen(arguments, env=environment, stderr=subprocess.PIPE)
    try:
        while not any(call.operation == "poll" for call in standin.tasks.calls):
            assert process.poll() is None, process.stderr.read()
            threading.Event().wait(0.02)
    finally:
        process.kill()
        process.wait()
        process.stderr.close()
    standin.tasks._held[next(iter(standin.tasks._held))].polls = 200_000  # the task ends while nobody looks
    with OmniClient(settings) as client:
        said = transcribe(recording.path, client=client, options=options())
    assert words(said) == list(recording.codes)
    assert standin.tasks.submitted == 1


def test_our_patience_ends_and_the_task_goes_on(ask: Ask, recording: TruthMedia, standin: Standin) -> None:
    """After `wait_seconds` the error names the task; the same call finds it, and it is one task still."""
    standin.tasks.fail(Outcome(polls=5))
    with pytest.raises(TaskUnfinishedError, match="costs nothing") as caught:
        ask(recording.path, wait_seconds=0)
    said = ask(recording.path)
    assert said.task_id == caught.value.task_id
    assert standin.tasks.submitted == 1


OUTCOMES = {
    "a subtask failed, the task says SUCCEEDED": (Outcome(kind="subtask"), "InvalidFile.DecodeFailed"),
    "the task failed": (Outcome(kind="task", code="X.Y", message="no luck"), "no luck"),
    "not known any more": (Outcome(kind="lost"), "UNKNOWN"),
    "a state that nobody documents": (Outcome(kind="odd"), "RESTING"),
}


@pytest.mark.parametrize(("outcome", "words_told"), OUTCOMES.values(), ids=OUTCOMES)
@pytest.mark.slow
def test_a_task_that_ends_badly(ask: Ask, outcome: Outcome, words_told: str, recording: TruthMedia, standin: Standin):
    """Whatever says that it failed is an error with the task's name, at once, and the next call begins anew."""
    standin.tasks.fail(outcome)
    with pytest.raises(TaskFailedError, match=words_told) as caught:
        ask(recording.path)
    assert caught.value.task_id
    assert standin.tasks.submitted == 1
    assert words(ask(recording.path)) == list(recording.codes)
    assert standin.tasks.submitted == 2


@pytest.mark.parametrize("status", [400, 404])
@pytest.mark.slow
def test_a_task_that_is_refused_is_not_asked_for_again(
    ask: Ask, status: int, recording: TruthMedia, standin: Standin
) -> None:
    """A service that refuses to tell about a task, as for a name it does not know, has lost it."""
    standin.tasks.fail(HttpFault(operation="poll", status=status, code="InvalidTask"))
    with pytest.raises(TaskFailedError, match="InvalidTask"):
        ask(recording.path)
    assert words(ask(recording.path)) == list(recording.codes)
    standin.tasks.fail(HttpFault(operation="poll", status=status, code="InvalidTask"))
    assert words(ask(recording.path)) == list(recording.codes)
    assert standin.tasks.submitted == 3


@pytest.mark.parametrize("lost", ["task", "upload", "task and upload"])
def test_what_the_service_lost_is_made_again(ask: Ask, lost: str, recording: TruthMedia, standin: Standin) -> None:
    """A remembered task, an earlier upload, or both, as a stand-in that was started again: each is made once more."""
    ask(recording.path)
    if "task" in lost:
        standin.tasks._held.clear()
    if "upload" in lost:
        standin.stores.objects._held.clear()
    other = {} if "task" in lost else {"language": "en"}  # so that it is submitted again
    assert words(ask(recording.path, **other)) == list(recording.codes)
    assert [call.operation for call in standin.stores.calls].count("post_form") == 1 + ("upload" in lost)


def test_a_result_link_that_ended(ask: Ask, recording: TruthMedia, standin: Standin) -> None:
    """A link that does not work is asked for once more; if that fails too, the error says what the next call does."""
    standin.tasks.fail(HttpFault(operation="result", status=403, code="AccessDenied", message="Request has expired."))
    assert words(ask(recording.path)) == list(recording.codes)
    standin.tasks.fail(HttpFault(operation="result", status=403, times=2))
    with pytest.raises(DeliveryError, match="pays again"):
        ask(recording.path)
    assert standin.tasks.submitted == 1


@pytest.mark.parametrize(
    ("operation", "status"),
    [*((name, status) for name in ("poll", "result") for status in (0, 500, 503)),
     *(("submit", status) for status in (429, 500, 503))],
)  # fmt: skip
def test_what_costs_nothing_is_repeated(
    ask: Ask, operation: str, status: int, recording: TruthMedia, standin: Standin
) -> None:
    """Looking at a task, fetching a result, and a submission that the service certainly did not take."""
    code = "Throttling.RateQuota" if status == 429 else "InternalError"
    standin.tasks.fail(HttpFault(operation=operation, status=status, code=code, times=2))
    assert words(ask(recording.path)) == list(recording.codes)
    assert standin.tasks.submitted == 1


def test_a_submission_whose_answer_is_lost_is_not_repeated(ask: Ask, recording: TruthMedia, standin: Standin) -> None:
    """The task may have begun, so nothing is submitted twice by itself; the error says so."""
    standin.tasks.fail(HttpFault(operation="submit", after=True))
    with pytest.raises(APIConnectionError, match="may have started") as caught:
        ask(recording.path)
    assert caught.value.sent
    assert standin.tasks.submitted == 1
    assert [call.operation for call in standin.tasks.calls] == ["submit"]


def test_a_service_that_is_not_there(ask: Ask, recording: TruthMedia, settings: Settings) -> None:
    """Nothing can have begun where no connection was made, so it is tried again, and the error is plain."""
    away = dataclasses.replace(settings, base_url="http://127.0.0.1:9/compatible-mode/v1", max_retries=1)
    with pytest.raises(DeliveryError, match="after 2 tries"):
        ask(recording.path, client_settings=away)


def test_errors_of_the_service(ask: Ask, recording: TruthMedia, standin: Standin, settings: Settings) -> None:
    """Native errors are flat; they become the usual classes."""
    standin.tasks.fail(HttpFault(operation="submit", status=429, code="Throttling", times=9))
    with pytest.raises(RateLimitError):
        ask(recording.path)
    with pytest.raises(AuthenticationError):
        ask(recording.path, model="fun-asr", client_settings=dataclasses.replace(settings, api_key=SecretStr("sk-no")))


def test_what_cannot_be_heard_is_refused_before_anything_is_sent(
    ask: Ask, tmp_path: Path, standin: Standin, film: TruthMedia
) -> None:
    """Pictures, films without sound, missing files, too long sound: nothing is uploaded."""
    mute = make_video(tmp_path / "mute.mp4", seconds=2, size=(64, 48), fps=5, sound=False)
    with pytest.raises(UnsupportedMediaError, match="without an audio track"):
        ask(mute.path)
    with pytest.raises(UnreadableMediaError):
        ask(tmp_path / "gone.mp3")
    (long := tmp_path / "long.wav").write_bytes(wav(seconds=301))
    with pytest.raises(MediaDoesNotFitError, match="Use paraformer-v2") as caught:
        ask(long, model="qwen3-asr-flash")
    assert caught.value.limit == 300
    with pytest.raises(MediaOutsideRootError):
        ask(MediaSource.from_path(film.path))
    with pytest.raises(UnsupportedMediaError, match="nothing is downloaded"):
        ask("https://example.com/a.mp3", start=3)
    assert not standin.stores.calls
    assert not standin.tasks.calls


WISHES = {
    "no speakers there": ({"model": "qwen3-asr-flash", "speakers": True}, "speakers="),
    "no list of words there": ({"model": "qwen3-asr-flash-filetrans", "vocabulary_id": "v"}, "vocabulary_id="),
    "no context there": ({"context": "Qwen"}, "context="),
    "not a transcriber": ({"model": "qwen-plus"}, "not a known transcription model"),
    "negative": ({"wait_seconds": -1}, "at least 0, got -1"),
}


@pytest.mark.parametrize(("wish", "told"), WISHES.values(), ids=WISHES)
def test_impossible_wishes(ask: Ask, wish: dict, told: str, recording: TruthMedia, standin: Standin) -> None:
    """A model is not asked for what it cannot do."""
    with pytest.raises(ConfigurationError, match=told):
        ask(recording.path, **wish)
    assert not standin.requests


def test_regions(recording: TruthMedia, settings: Settings) -> None:
    """paraformer-v2 is the mainland's; elsewhere fun-asr is the default."""
    assert choose_transcriber(options(), "cn").name == "paraformer-v2"
    assert choose_transcriber(options(), "intl").name == "fun-asr"
    with pytest.raises(ConfigurationError, match="not offered in 'intl'"):
        choose_transcriber(options(model="paraformer-v2"), "intl")
    with pytest.warns(UserWarning, match="called like"):
        assert choose_transcriber(options(model="fun-asr-9"), "cn").prices == {}


ROUTES = {
    "qwen-audio-3.0-asr-flash": ("native", 2), "qwen-audio-3.1-asr-flash": ("native", 0),
    "qwen-audio-3.1-asr-flash-message": ("native", 0), "fun-asr-flash-2026-06-15": ("native", 2),
    "qwen-audio-3.0-asr-flash-filetrans": ("task", 2), "qwen-audio-3.1-asr-flash-filetrans": ("task", 0),
    "qwen3-asr-flash": ("chat", 2), "qwen3-asr-flash-2026-02-10": ("chat", 2),
    "qwen3-asr-flash-filetrans-2025-11-17": ("task", 2), "fun-asr-2025-11-07": ("task", 2), "fun-asr-mtl": ("task", 2),
    "paraformer-v2": ("task", 1),
}  # fmt: skip
NEW_ROUTES = {
    "qwen-audio-3.2-asr-flash": "native", "qwen-audio-4-asr-flash-filetrans": "task", "fun-asr-flash": "native",
    "fun-asr-flash-2027-01-01": "native", "qwen3-asr-flash-us": "chat", "qwen4-asr-flash": "native",
    "fun-asr-9": "task",
}  # fmt: skip


@pytest.mark.parametrize(("model", "route", "priced"), [(name, *row) for name, row in ROUTES.items()])
def test_routes_of_known_models(model: str, route: str, priced: int) -> None:
    """Each name's route, and in how many regions its price by the second is known."""
    profile = choose_transcriber(options(model=model), "cn")
    assert (profile.name, profile.route, len(profile.prices)) == (model, route, priced)


@pytest.mark.parametrize(("model", "route"), NEW_ROUTES.items())
def test_routes_of_new_models(model: str, route: str) -> None:
    """A name that is not known yet goes the way of its family, with one warning, and without a price."""
    with pytest.warns(UserWarning, match="its price is unknown") as caught:
        profile = choose_transcriber(options(model=model), "cn")
    assert (profile.route, profile.prices, profile.token_prices) == (route, {}, {})
    assert [one.filename for one in caught] == ["qwen_omni"]


@pytest.mark.parametrize(
    "model", ["qwen3-asr-flash-realtime", "qwen-audio-3.1-asr-flash-streaming", "fun-asr-realtime", "gummy-realtime-v1"]
)
def test_live_models_are_refused(model: str) -> None:
    """They speak over a WebSocket; nothing is sent over HTTP in their name."""
    with pytest.raises(ConfigurationError, match="live audio over a WebSocket"):
        choose_transcriber(options(model=model), "cn")


def test_links_go_as_they_are(ask: Ask, recording: TruthMedia, standin: Standin) -> None:
    """A link of the caller's is not downloaded here; one to a private host of the stand-in's own is allowed."""
    standin.media_map["https://media.example.com/call.mp3"] = recording.path
    assert words(ask("https://media.example.com/call.mp3?Signature=abc")) == list(recording.codes)
    assert not standin.stores.calls
    with pytest.raises(TaskFailedError, match="as a link") as caught:
        ask("https://media.example.com/gone.mp3?Signature=abc")
    assert "abc" not in str(caught.value)
    assert caught.value.code == "InvalidFile.DownloadFailed"


def test_context_and_no_inline_for_tasks(ask: Ask, recording: TruthMedia, standin: Standin, settings: Settings) -> None:
    """The chat model takes words that may be spoken of; the task models take no data inside the request."""
    said = ask(recording.path, model="qwen3-asr-flash", context="Names: Qwen.", language="en")
    assert words(said) == list(recording.codes)
    body = standin.requests[-1].body
    assert body["messages"][0] == {"role": "system", "content": "Names: Qwen."}
    assert body["asr_options"] == {"language": "en"}
    with pytest.raises(ConfigurationError, match="takes only links"):
        ask(recording.path, client_settings=dataclasses.replace(settings, delivery="inline"))
