"""The native routes of transcription: what is submitted and what comes back, in the service's format. Pure.

A task with status SUCCEEDED may hold a subtask that FAILED; results are a list or a single one; times are milliseconds;
silence is reported as a failure. The models that answer at once do so on the route of multimodal generation.
Sources: Model Studio, speech recognition pages, read 2026-05-30 and 2026-09-22, and clients.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import quote, urlsplit

from qwen_omni.addresses import native_url
from qwen_omni.errors import ServerError
from qwen_omni.messages import MediaPayload
from qwen_omni.profiles.transcription import TranscriptionProfile
from qwen_omni.responses import Usage
from qwen_omni.transcription.options import TranscriptionOptions
from qwen_omni.transcription.transcript import Sentence, Transcript, Word
from qwen_omni.wire.request import RESOLVE_HEADER
from qwen_omni.wire.values import as_count, as_mapping, as_name, as_number, as_words, decode_json

_SUBMIT = "/services/audio/asr/transcription"
_TASKS = "/tasks/"
_AT_ONCE = "/services/aigc/multimodal-generation/generation"
_SAMPLE_RATE = "16000"  # as in every sample of the page; containers say their own
_ASYNC = {"X-DashScope-Async": "enable"}
_STATES: dict[str, "State"] = {
    "PENDING": "waiting",
    "RUNNING": "waiting",
    "SUSPENDED": "waiting",
    "SUCCEEDED": "done",
    "FAILED": "failed",
    "CANCELED": "failed",
    "UNKNOWN": "lost",
}
_NO_WORDS = re.compile(r"NO_VALID_FRAGMENT|HAVE_NO_WORDS", re.IGNORECASE)
_GONE = re.compile(r"DOWNLOAD|FORBIDDEN|NOT_?FOUND|URL", re.IGNORECASE)
_NUMBER = re.compile(r"\d{1,9}")
_ENDING = re.compile(r"\.([A-Za-z0-9]{1,5})$")

State = Literal["waiting", "done", "failed", "lost", "silent"]
"""`silent`: there is no speech. `lost`: the service does not know the task, or reports an unknown status."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskState:
    """The state of a task.

    Attributes:
        state: the state, as one of ours.
        status: the service's own status.
        url: URL of the result, once it is done.
        code: the service's code for a failure; `message` explains it.
        seconds: billed length.
        used: billed tokens, of the models that are billed by token.
    """

    state: State
    status: str = ""
    url: str | None = field(default=None, repr=False)
    code: str = ""
    message: str = ""
    seconds: float | None = None
    used: Usage | None = None

    @property
    def is_gone(self) -> bool:
        """Whether the service could not fetch the recording."""
        return self.state == "failed" and bool(_GONE.search(self.code))


def submit_url(base_url: str) -> str:
    """Return the URL that accepts tasks, next to the chat routes."""
    return native_url(base_url, _SUBMIT)


def task_url(base_url: str, task_id: str) -> str:
    """Return the URL of a task."""
    return native_url(base_url, _TASKS + quote(task_id, safe=""))


def native_call_url(base_url: str) -> str:
    """Return the URL of the models that answer at once on DashScope's own route."""
    return native_url(base_url, _AT_ONCE)


def submit_headers(link: str, *, task: bool = True) -> dict[str, str]:
    """Return the headers of a submission: of a task, or of a call that is answered at once."""
    resolve = RESOLVE_HEADER if link.startswith("oss://") else {}
    return {"Content-Type": "application/json", **(_ASYNC if task else {}), **resolve}


def encode_task(profile: TranscriptionProfile, options: TranscriptionOptions, link: str) -> bytes:
    """Build the body of a submission."""
    where: dict[str, Any] = {"file_urls": [link]} if profile.many else {"file_url": link}
    chosen = _listed(options) if profile.many else _single(options)
    parameters = {name: value for name, value in chosen.items() if value is not None}
    return json.dumps({"model": profile.name, "input": where, "parameters": parameters}, ensure_ascii=False).encode()


def native_fields(profile: TranscriptionProfile, options: TranscriptionOptions, audio: MediaPayload) -> dict[str, Any]:
    """Build the body of a call that is answered at once; `audio` remains a value, written out piece by piece."""
    said = [{"type": "input_audio", "input_audio": {"data": audio}}]
    about = [{"role": "user", "content": [{"type": "input_text", "text": options.context}]}] if options.context else []
    parameters = {
        "format": audio.format or _ending(audio.url) or "wav",
        "sample_rate": _SAMPLE_RATE,
        "language_hints": [options.language] if options.language else None,
        "vocabulary_id": options.vocabulary_id,
    }
    return {
        "model": profile.name,
        "input": {"messages": [*about, {"role": "user", "content": said}]},
        "parameters": {name: value for name, value in parameters.items() if value is not None},
    }


def _ending(url: str | None) -> str:
    found = _ENDING.search(urlsplit(url or "").path)
    return found[1].lower() if found else ""


def _listed(options: TranscriptionOptions) -> dict[str, Any]:
    count = options.speakers if options.speakers is not True and options.speakers > 1 else None
    return {
        "language_hints": [options.language] if options.language else None,
        "diarization_enabled": True if options.speakers else None,
        "speaker_count": int(count) if count else None,
        "disfluency_removal_enabled": True if options.tidy else None,
        "vocabulary_id": options.vocabulary_id,
    }


def _single(options: TranscriptionOptions) -> dict[str, Any]:
    return {
        "language": options.language,
        "enable_words": True if options.words else None,
        "corpus": {"text": options.context} if options.context else None,
    }


def encode_chat_options(options: TranscriptionOptions) -> dict[str, Any]:
    """Return the fields of a chat request to a transcription model."""
    return {"asr_options": {"language": options.language}} if options.language else {}


def decode_submitted(body: bytes) -> str:
    """Parse the ID of an accepted task.

    Raises:
        ServerError: the answer has no task ID.
    """
    task_id = as_name(as_mapping(as_mapping(_json(body)).get("output")).get("task_id"))
    if not task_id:
        raise ServerError("The service accepted a transcription but returned no task ID.")
    return task_id


def decode_task(body: bytes) -> TaskState:
    """Parse the state of a task; anything not understood is `lost`, so that it is never polled forever."""
    value = as_mapping(_json(body))
    output = as_mapping(value.get("output"))
    status = as_words(output.get("task_status"))
    seconds, used = _billed(value)
    state = _STATES.get(status.upper(), "lost")
    results = output.get("results")
    first = as_mapping(results[0]) if isinstance(results, list) and results else as_mapping(output.get("result"))
    code = as_words(first.get("code") or output.get("code"))
    message = as_words(first.get("message") or output.get("message"))
    failed = state == "failed" or as_words(first.get("subtask_status")).upper() == "FAILED"
    if failed and (_NO_WORDS.search(code) or _NO_WORDS.search(message)):
        return TaskState(state="silent", status=status, code=code, seconds=seconds, used=used)
    url = first.get("transcription_url") or output.get("transcription_url")
    if failed or (state == "done" and not url):
        message = message or "no reason and no result given"
        return TaskState(state="failed", status=status, code=code, message=message, seconds=seconds)
    return TaskState(
        state=state, status=status, url=_text(url), code=code, message=message, seconds=seconds, used=used
    )  # fmt: skip


def _billed(answer: Mapping[str, Any]) -> tuple[float | None, Usage | None]:
    """Parse what is billed: seconds of audio, tokens, or both."""
    usage = as_mapping(answer.get("usage"))
    seconds = as_number(usage.get("duration", usage.get("seconds")))
    sent, came = as_count(usage.get("input_tokens")), as_count(usage.get("output_tokens"))
    if sent is None and came is None:
        return seconds, None
    return seconds, Usage(input_tokens=sent or 0, output_tokens=came or 0, total_tokens=(sent or 0) + (came or 0))


def decode_native(body: bytes) -> tuple[Transcript, float | None, Usage | None]:
    """Parse an answer that came at once: the transcript, and the seconds and tokens billed.

    The text is in `output.text`, `output.sentence.text` or, of streams, `output.output.sentence.text`; a sentence may
    have times and words.

    Raises:
        ServerError: it holds neither text nor sentences.
    """
    value = as_mapping(_json(body))
    output = as_mapping(value.get("output"))
    inner = as_mapping(output.get("output"))
    held = [one for place in (output, inner) for name in ("sentences", "sentence") for one in _several(place.get(name))]
    text = next((place["text"] for place in (output, inner, value) if isinstance(place.get("text"), str)), None)
    if text is None and not held:
        raise ServerError("The service accepted a transcription but returned neither text nor sentences.")
    timed = [one for one in held if as_number(one.get("end_time")) is not None]
    sentences = tuple(_sentences({"sentences": timed}, several=False))
    joined = text if text is not None else " ".join(as_words(one.get("text")) for one in held)
    seconds, used = _billed(value)
    return Transcript(text=joined.strip(), sentences=sentences, billed_seconds=seconds), seconds, used


def _several(value: object) -> Sequence[Mapping[str, Any]]:
    return [value] if isinstance(value, Mapping) else _list(value)


def is_silence(text: str) -> bool:
    """Whether an error answer means that there is no speech."""
    return bool(_NO_WORDS.search(text))


def decode_transcript(body: bytes) -> Transcript:
    """Parse a result file; fields may be missing, speakers may be text, sentences may come by channel.

    Raises:
        ServerError: it is not a transcript.
    """
    value = _json(body)
    if not isinstance(value, Mapping) or not isinstance(value.get("transcripts"), list):
        raise ServerError("The result of a transcription is not valid: it holds no transcripts.")
    tracks = [as_mapping(track) for track in value["transcripts"]]
    several = len(tracks) > 1
    sentences = [one for track in tracks for one in _sentences(track, several=several)]
    sentences.sort(key=lambda one: (one.start, one.end))
    about = as_mapping(value.get("properties"))
    length = as_number(about.get("original_duration_in_milliseconds"))
    joined = "\n".join(filter(None, (as_words(track.get("text")).strip() for track in tracks)))
    languages = [one.language for one in sentences if one.language]
    return Transcript(
        text=joined or " ".join(one.text for one in sentences),
        sentences=tuple(sentences),
        language=max(set(languages), key=languages.count) if languages else None,
        duration=None if length is None else length / 1000,
    )


def _sentences(track: Mapping[str, Any], *, several: bool) -> list[Sentence]:
    made = []
    for found in _list(track.get("sentences")):
        words = tuple(_word(one) for one in _list(found.get("words")) if as_words(one.get("text")).strip())
        text = as_words(found.get("text")).strip()
        if not text:
            continue
        start, end = _span(found)
        speaker = _NUMBER.search(as_words(found.get("speaker_id")))
        channel = track.get("channel_id")
        made.append(
            Sentence(
                start=start, end=end, text=text, words=words,
                speaker=int(speaker[0]) if speaker else None,
                channel=channel if several and isinstance(channel, int) else None,
                language=_text(found.get("language")), emotion=_text(found.get("emotion")),
            )
        )  # fmt: skip
    return made


def _word(found: Mapping[str, Any]) -> Word:
    start, end = _span(found)
    return Word(start=start, end=end, text=f"{found.get('text') or ''}{found.get('punctuation') or ''}".strip())


def _span(found: Mapping[str, Any]) -> tuple[float, float]:
    start = max(0.0, (as_number(found.get("begin_time")) or 0.0) / 1000)
    end = (as_number(found.get("end_time")) or 0.0) / 1000
    return start, max(start, end)


def _json(body: bytes) -> Any:  # noqa: ANN401  (any JSON)
    try:
        return decode_json(body)
    except ValueError:
        return None


def _list(value: object) -> Sequence[Mapping[str, Any]]:
    return [one for one in value if isinstance(one, Mapping)] if isinstance(value, list) else []


def _text(value: object) -> str | None:
    return as_words(value) or None
