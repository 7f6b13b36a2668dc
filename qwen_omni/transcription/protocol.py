"""The task routes of transcription, in the service's words: what is submitted, what comes back. Pure.

A task that says SUCCEEDED may hold a subtask that FAILED; results come as a list or as one; times are milliseconds;
no speech is told as a failure. Sources: Model Studio, speech recognition pages, read 2026-05-30, and clients.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import quote

from qwen_omni.addresses import native_url
from qwen_omni.errors import ServerError
from qwen_omni.profiles.transcription import TranscriptionProfile
from qwen_omni.transcription.options import TranscriptionOptions
from qwen_omni.transcription.transcript import Sentence, Transcript, Word
from qwen_omni.wire.request import RESOLVE_HEADER
from qwen_omni.wire.values import as_name, as_number, as_words, decode_json

_SUBMIT = "/services/audio/asr/transcription"
_TASKS = "/tasks/"
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

State = Literal["waiting", "done", "failed", "lost", "silent"]
"""`silent`: nobody spoke. `lost`: the service does not know the task, or says something that we do not know."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskState:
    """How a task stands.

    Attributes:
        state: one of ours.
        told: the service's own word.
        url: where the result is, once it is done.
        code: the service's word for a failure; `message` says more.
        seconds: the length that is billed.
    """

    state: State
    told: str = ""
    url: str | None = field(default=None, repr=False)
    code: str = ""
    message: str = ""
    seconds: float | None = None

    @property
    def is_gone(self) -> bool:
        """Whether the service could not fetch the recording."""
        return self.state == "failed" and bool(_GONE.search(self.code))


def submit_url(base_url: str) -> str:
    """Give the address that takes tasks, beside the chat routes."""
    return native_url(base_url, _SUBMIT)


def task_url(base_url: str, task_id: str) -> str:
    """Give the address of a task."""
    return native_url(base_url, _TASKS + quote(task_id, safe=""))


def submit_headers(link: str) -> dict[str, str]:
    """Give the headers of a submission."""
    resolve = RESOLVE_HEADER if link.startswith("oss://") else {}
    return {"Content-Type": "application/json", **_ASYNC, **resolve}


def encode_task(profile: TranscriptionProfile, options: TranscriptionOptions, link: str) -> bytes:
    """Write the body of a submission."""
    where: dict[str, Any] = {"file_urls": [link]} if profile.many else {"file_url": link}
    wishes = _listed(options) if profile.many else _single(options)
    parameters = {name: value for name, value in wishes.items() if value is not None}
    return json.dumps({"model": profile.name, "input": where, "parameters": parameters}, ensure_ascii=False).encode()


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


def encode_chat_wishes(options: TranscriptionOptions) -> dict[str, Any]:
    """Give the fields of a chat request to a transcribing model."""
    return {"asr_options": {"language": options.language}} if options.language else {}


def decode_submitted(body: bytes) -> str:
    """Read the name of a task that was accepted.

    Raises:
        ServerError: the answer does not name one.
    """
    task_id = as_name(_mapping(_mapping(_json(body)).get("output")).get("task_id"))
    if not task_id:
        raise ServerError("The service accepted a transcription and did not name its task.")
    return task_id


def decode_task(body: bytes) -> TaskState:
    """Read how a task stands; whatever is not understood is `lost`, never waited for."""
    value = _mapping(_json(body))
    output = _mapping(value.get("output"))
    told = as_words(output.get("task_status"))
    usage = _mapping(value.get("usage"))
    seconds = as_number(usage.get("duration", usage.get("seconds")))
    state = _STATES.get(told.upper(), "lost")
    results = output.get("results")
    first = _mapping(results[0]) if isinstance(results, list) and results else _mapping(output.get("result"))
    code = as_words(first.get("code") or output.get("code"))
    message = as_words(first.get("message") or output.get("message"))
    failed = state == "failed" or as_words(first.get("subtask_status")).upper() == "FAILED"
    if failed and (_NO_WORDS.search(code) or _NO_WORDS.search(message)):
        return TaskState(state="silent", told=told, code=code, seconds=seconds)
    url = first.get("transcription_url") or output.get("transcription_url")
    if failed or (state == "done" and not url):
        message = message or "it named no reason and no result"
        return TaskState(state="failed", told=told, code=code, message=message, seconds=seconds)
    return TaskState(state=state, told=told, url=_text(url), code=code, message=message, seconds=seconds)


def is_silence(text: str) -> bool:
    """Tell whether an error answer means that nobody spoke."""
    return bool(_NO_WORDS.search(text))


def decode_transcript(body: bytes) -> Transcript:
    """Read a result file; fields may be missing, speakers be texts, sentences come by channel.

    Raises:
        ServerError: it is no transcript.
    """
    value = _json(body)
    if not isinstance(value, Mapping) or not isinstance(value.get("transcripts"), list):
        raise ServerError("The result of a transcription is not one: it holds no transcripts.")
    tracks = [_mapping(track) for track in value["transcripts"]]
    several = len(tracks) > 1
    sentences = [one for track in tracks for one in _sentences(track, several=several)]
    sentences.sort(key=lambda one: (one.start, one.end))
    about = _mapping(value.get("properties"))
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
    for told in _list(track.get("sentences")):
        words = tuple(_word(one) for one in _list(told.get("words")) if as_words(one.get("text")).strip())
        text = as_words(told.get("text")).strip()
        if not text:
            continue
        start, end = _span(told)
        speaker = _NUMBER.search(as_words(told.get("speaker_id")))
        channel = track.get("channel_id")
        made.append(
            Sentence(
                start=start, end=end, text=text, words=words,
                speaker=int(speaker[0]) if speaker else None,
                channel=channel if several and isinstance(channel, int) else None,
                language=_text(told.get("language")), emotion=_text(told.get("emotion")),
            )
        )  # fmt: skip
    return made


def _word(told: Mapping[str, Any]) -> Word:
    start, end = _span(told)
    return Word(start=start, end=end, text=f"{told.get('text') or ''}{told.get('punctuation') or ''}".strip())


def _span(told: Mapping[str, Any]) -> tuple[float, float]:
    start = max(0.0, (as_number(told.get("begin_time")) or 0.0) / 1000)
    end = (as_number(told.get("end_time")) or 0.0) / 1000
    return start, max(start, end)


def _json(body: bytes) -> Any:  # noqa: ANN401  (any JSON)
    try:
        return decode_json(body)
    except ValueError:
        return None


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _list(value: object) -> Sequence[Mapping[str, Any]]:
    return [one for one in value if isinstance(one, Mapping)] if isinstance(value, list) else []


def _text(value: object) -> str | None:
    return as_words(value) or None
