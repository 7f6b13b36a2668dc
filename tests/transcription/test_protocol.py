"""Reading what the transcription routes say, in every spelling that was seen or documented (wire quirks, F)."""

import json

import pytest
from hypothesis import given, strategies as st

from qwen_omni.errors import ConfigurationError, ServerError
from qwen_omni.profiles.transcription import transcriber
from qwen_omni.transcription.options import TranscriptionOptions
from qwen_omni.transcription.protocol import (
    decode_native,
    decode_submitted,
    decode_task,
    decode_transcript,
    encode_task,
    submit_headers,
    task_url,
)
from qwen_omni.transcription.transcript import Sentence, Transcript, Word

URL = "http://host/r.json?sign=1"
GOOD = {"subtask_status": "SUCCEEDED", "transcription_url": URL, "file_url": "u"}
BAD = {"subtask_status": "FAILED", "code": "InvalidFile.DownloadFailed", "message": "gone", "file_url": "u"}
STATES = {
    "waits": ({"output": {"task_status": "PENDING"}}, "waiting", None),
    "runs, beside a code that is null": (
        {"code": None, "message": "", "output": {"task_status": "RUNNING"}}, "waiting", None,
    ),
    "a list of results": ({"output": {"task_status": "SUCCEEDED", "results": [GOOD]}}, "done", URL),
    "one result": (
        {"output": {"task_status": "SUCCEEDED", "result": {"transcription_url": "https://h/1"}}}, "done", "https://h/1",
    ),
    "succeeded, and its subtask failed": ({"output": {"task_status": "SUCCEEDED", "results": [BAD]}}, "failed", None),
    "succeeded, and nothing in it": ({"output": {"task_status": "SUCCEEDED"}}, "failed", None),
    "failed, the code on the task": ({"output": {"task_status": "FAILED", "code": "FILE_403"}}, "failed", None),
    "failed, the code on both": ({"output": {"task_status": "FAILED", "code": "A", "results": [BAD]}}, "failed", None),
    "no speech, as a failed subtask": (
        {"output": {"task_status": "SUCCEEDED", "results": [{**BAD, "code": "SUCCESS_WITH_NO_VALID_FRAGMENT"}]}},
        "silent", None,
    ),
    "no speech, as a failed task": (
        {"output": {"task_status": "FAILED", "code": "X", "message": "ASR_RESPONSE_HAVE_NO_WORDS"}}, "silent", None,
    ),
    "unknown": ({"output": {"task_status": "UNKNOWN"}}, "lost", None),
    "a new state": ({"output": {"task_status": "RESTING"}}, "lost", None),
    "nothing": ({}, "lost", None),
    "a list": ([1], "lost", None),
}  # fmt: skip


@pytest.mark.parametrize(("value", "state", "url"), STATES.values(), ids=STATES)
def test_states(value, state, url):
    """Only PENDING and RUNNING are waited for; only a result with a link is done."""
    read = decode_task(json.dumps(value).encode())
    assert (read.state, read.url) == (state, url)
    assert "sign" not in repr(read)


@given(st.binary(max_size=60) | st.text(max_size=60).map(str.encode))
def test_no_answer_breaks_the_reading(body):
    """Whatever comes is a state, and an unreadable one is never waited for."""
    assert decode_task(body).state == "lost"


def test_usage_comes_by_two_names():
    """Paraformer tells `duration`, filetrans `seconds`."""
    for name in ("duration", "seconds"):
        body = {"output": {"task_status": "SUCCEEDED", "results": [GOOD]}, "usage": {name: 12}}
        assert decode_task(json.dumps(body).encode()).seconds == 12


def test_usage_in_tokens():
    """The models billed by token report those, with or without a duration; a total is never taken for seconds."""
    body = {"output": {"task_status": "SUCCEEDED", "results": [GOOD]}}
    read = decode_task(json.dumps({**body, "usage": {"input_tokens": 100, "output_tokens": 10}}).encode())
    assert (read.seconds, read.used.input_tokens, read.used.output_tokens, read.used.total_tokens) == (
        None,
        100,
        10,
        110,
    )
    both = decode_task(json.dumps({**body, "usage": {"input_tokens": 100, "duration": 12.5}}).encode())
    assert (both.seconds, both.used.input_tokens, both.used.output_tokens) == (12.5, 100, 0)
    assert decode_task(json.dumps({**body, "usage": {"input_tokens": -1}}).encode()).used is None


_SAID = {"begin_time": 100, "end_time": 1500, "text": "Hello.", "words": [
    {"begin_time": 100, "end_time": 900, "text": "Hello", "punctuation": "."},
]}  # fmt: skip
AT_ONCE = {
    "a text": ({"output": {"text": " Hello. "}}, "Hello.", 0),
    "a sentence with times": ({"output": {"sentence": _SAID}}, "Hello.", 1),
    "a sentence inside": ({"output": {"output": {"sentence": _SAID}}}, "Hello.", 1),
    "a text beside its sentences": ({"output": {"text": "Hello. Bye.", "sentences": [_SAID]}}, "Hello. Bye.", 1),
    "a sentence without times": ({"output": {"sentence": {"text": "Hello."}}}, "Hello.", 0),
    "a text at the top": ({"text": "Hello."}, "Hello.", 0),
    "nothing was said": ({"output": {"text": ""}}, "", 0),
    "times that are null": ({"output": {"sentence": {**_SAID, "begin_time": None, "end_time": None}}}, "Hello.", 0),
}


@pytest.mark.parametrize(("value", "text", "timed"), AT_ONCE.values(), ids=AT_ONCE)
def test_answers_that_come_at_once(value, text, timed):
    """The text and, where there are any, times in seconds; usage in seconds or tokens."""
    said, seconds, used = decode_native(json.dumps({**value, "usage": {"duration": 3}}).encode())
    assert (said.text, len(said.sentences), said.billed_seconds, seconds, used) == (text, timed, 3, 3, None)
    if timed:
        assert (said.sentences[0].start, said.sentences[0].end) == (0.1, 1.5)
        assert said.sentences[0].words == (Word(start=0.1, end=0.9, text="Hello."),)
    _, seconds, used = decode_native(json.dumps({**value, "usage": {"input_tokens": 7, "output_tokens": 2}}).encode())
    assert (seconds, used.input_tokens, used.output_tokens) == (None, 7, 2)


@given(st.binary(max_size=60) | st.text(max_size=60).map(str.encode))
def test_an_answer_without_a_transcript_is_an_error(body):
    """Anything else than a transcript is never an empty one."""
    with pytest.raises(ServerError, match="neither text nor sentences"):
        decode_native(body)


PARAFORMER = {
    "properties": {"original_duration_in_milliseconds": 4087},
    "transcripts": [{
        "channel_id": 0, "text": "Hello world. Bye.",
        "sentences": [
            {"sentence_id": 1, "begin_time": 100, "end_time": 1500, "text": "Hello world.", "speaker_id": 0,
             "words": [{"begin_time": 100, "end_time": 600, "text": "Hello", "punctuation": ""},
                       {"begin_time": 700, "end_time": 1500, "text": "world", "punctuation": "."}]},
            {"sentence_id": 2, "begin_time": 2000, "end_time": 2500, "text": "Bye.", "speaker_id": "spk1"},
        ],
    }],
}  # fmt: skip
FILETRANS = {
    "audio_info": {"format": "mp3", "sample_rate": 16000},
    "transcripts": [{"channel_id": 0, "text": "你好。", "sentences": [
        {"sentence_id": 0, "begin_time": 0, "end_time": 900, "language": "zh", "emotion": "neutral", "text": "你好。"},
    ]}],
}  # fmt: skip


def test_results_of_both_families():
    """Milliseconds become seconds; speakers are numbers; the language is that of most sentences."""
    said = decode_transcript(json.dumps(PARAFORMER).encode())
    assert said.duration == 4.087
    assert [one.speaker for one in said.sentences] == [0, 1]
    assert said.speakers == (0, 1)
    assert said.sentences[0].words == (Word(start=0.1, end=0.6, text="Hello"), Word(start=0.7, end=1.5, text="world."))
    qwen = decode_transcript(json.dumps(FILETRANS).encode())
    assert (qwen.language, qwen.sentences[0].emotion, qwen.duration) == ("zh", "neutral", None)


def test_channels_are_told_apart_and_joined():
    """Two channels are one transcript in the order of time, each sentence with its channel."""
    left = {"channel_id": 0, "text": "A.", "sentences": [{"begin_time": 5000, "end_time": 6000, "text": "A."}]}
    right = {"channel_id": 1, "text": "B.", "sentences": [{"begin_time": 1000, "end_time": 2000, "text": "B."}]}
    said = decode_transcript(json.dumps({"transcripts": [left, right]}).encode())
    assert [(one.channel, one.text) for one in said.sentences] == [(1, "B."), (0, "A.")]


TORN = {
    "no times": {"text": "x"},
    "times that are texts": {"text": "x", "begin_time": "100", "end_time": "50"},
    "times that are nothing": {"text": "x", "begin_time": None, "end_time": "soon"},
    "words that are none": {"text": "x", "words": [None, 3, {"text": None}, {}]},
    "a negative start": {"text": "x", "begin_time": -5, "end_time": 3},
}


@pytest.mark.parametrize("sentence", TORN.values(), ids=TORN)
def test_torn_sentences(sentence):
    """What is said is kept, and no time runs backwards."""
    one = decode_transcript(json.dumps({"transcripts": [{"sentences": [sentence]}]}).encode()).sentences[0]
    assert one.text == "x"
    assert 0 <= one.start <= one.end
    assert one.words == ()


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"transcripts": 3}', b"<Error/>"])
def test_what_is_no_result(body):
    """An error page is not taken for a transcript."""
    with pytest.raises(ServerError):
        decode_transcript(body)
    with pytest.raises(ServerError):
        decode_submitted(body)


def test_submissions():
    """Each family has its own form; oss:// links need the resolve header; a task's name cannot leave its place."""
    wishes = TranscriptionOptions(language="en", speakers=True, tidy=True, vocabulary_id="v")
    paraformer = json.loads(encode_task(transcriber("paraformer-v2"), wishes, "oss://a"))
    assert paraformer == {
        "model": "paraformer-v2", "input": {"file_urls": ["oss://a"]},
        "parameters": {"language_hints": ["en"], "diarization_enabled": True, "disfluency_removal_enabled": True,
                       "vocabulary_id": "v"},
    }  # fmt: skip
    qwen = json.loads(encode_task(transcriber("qwen3-asr-flash-filetrans"), TranscriptionOptions(context="Qwen"), "u"))
    assert qwen["input"] == {"file_url": "u"}
    assert qwen["parameters"] == {"enable_words": True, "corpus": {"text": "Qwen"}}
    assert "X-DashScope-OssResourceResolve" in submit_headers("oss://a")
    assert "X-DashScope-OssResourceResolve" not in submit_headers("https://a")
    assert task_url("https://h/compatible-mode/v1", "../x?y") == "https://h/api/v1/tasks/..%2Fx%3Fy"


def long_sentence(words=30):
    spoken = tuple(Word(start=n, end=n + 0.8, text=f"word{n:02d}") for n in range(words))
    return Sentence(start=0, end=words, text=" ".join(word.text for word in spoken), words=spoken, speaker=1)


def test_long_sentences_become_several_subtitles():
    """A subtitle has at most two lines' letters and seven seconds, and no word is lost or told twice."""
    said = Transcript(text="x", sentences=(long_sentence(), Sentence(start=40, end=41, text="End.", speaker=0)))
    cues = said._cues()
    assert " ".join(cue.text.removeprefix("Speaker 2: ") for cue in cues[:-1]) == said.sentences[0].text
    assert all(cue.end - cue.start <= 7 for cue in cues)
    assert cues[-1].text == "Speaker 1: End."
    assert said.to_vtt().startswith("WEBVTT")


def test_no_times_no_subtitles():
    """A model that tells no times cannot make subtitles, and the error names those that can."""
    with pytest.raises(ConfigurationError, match="paraformer-v2"):
        Transcript(text="Hello.", model="qwen3-asr-flash").to_srt()
