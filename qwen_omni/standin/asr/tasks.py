"""The stand-in's native transcription: tasks (submission, status, result behind a signed link), and single calls.

It validates as documented (header, form of the input, key), fetches the media, and transcribes the marks in it. Knows
no sockets. Faults are set with `Tasks.fail`. Sources: Model Studio, Paraformer, Fun-ASR and Qwen-ASR pages, read
2026-05-30; Qwen-Audio-3.x-ASR-Flash pages, read 2026-09-22.
"""

from __future__ import annotations

import hmac
import json
import math
import threading
import uuid
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import parse_qsl, urlencode

from qwen_omni.standin.asr.transcriber import decode_recording, sentences
from qwen_omni.standin.media.facts import MediaFacts
from qwen_omni.standin.media.open import UnreadableMediaError
from qwen_omni.standin.rules.limits import TASK_MODELS, TaskModel
from qwen_omni.standin.rules.refusal import NO_OBJECT, Refusal, json_object
from qwen_omni.standin.server.exchange import Reply, Request, json_reply, with_request_id
from qwen_omni.standin.stores.intake import Intake, Visitor, describe_url

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

Operation = Literal["submit", "poll", "result", "call"]


@dataclass(slots=True, kw_only=True)
class HttpFault:
    """A faulty answer to a request. Status 0 cuts the connection; with `after`, the work is done before the fault."""

    operation: Operation
    status: int = 500
    code: str = "InternalError"
    message: str = "An internal error has occured, please try again later."
    after: bool = False
    times: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How the next task ends.

    `subtask` fails inside a task that reports SUCCEEDED; `task` fails as a whole; `lost` is unknown; `odd` is in
    an undocumented state. It is reported as running for `polls` more polls.
    """

    kind: Literal["good", "subtask", "task", "lost", "odd"] = "good"
    code: str = "InvalidFile.DecodeFailed"
    message: str = ""
    polls: int = 0

    @property
    def status(self) -> str:
        """The status of a task that is lost or odd."""
        return "UNKNOWN" if self.kind == "lost" else "RESTING"


@dataclass(frozen=True, slots=True, kw_only=True)
class LoggedTaskCall:
    """One request and how it was answered; `status` 0 means that the connection was cut."""

    operation: str
    path: str
    model: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    links: tuple[str, ...] = ()
    with_key: bool
    status: int


SUBMIT_PATH = "/api/v1/services/audio/asr/transcription"
CALL_PATH = "/api/v1/services/aigc/multimodal-generation/generation"
TASK_PATH = "/api/v1/tasks/"
RESULT_PATH = "/asr-results/"
LIFETIME = 24 * 3600.0
_SECRET = b"asr-secret"
_OK = 200
_HEARD_TOKENS, _SAID_TOKENS = 12.5, 4  # a second of audio, a word; not published for the models that report tokens


@dataclass(slots=True, kw_only=True)
class _Task:
    id: str
    account: str
    model: TaskModel
    begun: float
    outcome: Outcome
    parameters: Mapping[str, Any]
    subtasks: list[tuple[str, MediaFacts | str]]
    polls: int = 0


@dataclass(slots=True)
class Tasks:
    """All tasks of one stand-in. Thread-safe."""

    intake: Intake
    keys: tuple[str, ...]
    now: Callable[[], float]
    polls_until_done: int = 2
    calls: list[LoggedTaskCall] = field(default_factory=list)
    _held: dict[str, _Task] = field(default_factory=dict)
    _faults: list[HttpFault] = field(default_factory=list)
    _outcomes: list[Outcome] = field(default_factory=list)
    _lock: threading.RLock = field(default_factory=threading.RLock)

    @property
    def submitted(self) -> int:
        """The number of tasks that were accepted, and would be billed."""
        return len(self._held)

    def clear(self) -> None:
        """Remove all tasks, the log, and unused faults."""
        with self._lock:
            for kept in (self.calls, self._held, self._faults, self._outcomes):
                kept.clear()

    def fail(self, what: HttpFault | Outcome) -> None:
        """Make the next requests of a kind, or the next task, fail."""
        with self._lock:
            if isinstance(what, Outcome):
                self._outcomes.append(what)
            else:
                self._faults.append(what)

    def owns(self, path: str) -> bool:
        """Whether a path belongs to the tasks' routes."""
        return path in (SUBMIT_PATH, CALL_PATH) or path.startswith((TASK_PATH, RESULT_PATH))

    def respond(self, asked: Request) -> Reply:
        """Answer one request."""
        routes = {SUBMIT_PATH: "submit", CALL_PATH: "call"}
        operation = routes.get(asked.path, "result" if asked.path.startswith(RESULT_PATH) else "poll")
        fault = self._next_fault(operation)
        if fault is not None and not fault.after:
            reply = _faulty(fault)
        else:
            try:
                reply = getattr(self, f"_{operation}")(asked)
            except Refusal as error:
                reply = _flat(error.status, error.code, error.message)
            if fault is not None:
                reply = Reply(ending="drop")
        logged = _logged(operation, asked, reply)
        with self._lock:
            self.calls.append(logged)
        return replace(reply, model=logged.model)

    def _next_fault(self, operation: str) -> HttpFault | None:
        with self._lock:
            for fault in self._faults:
                if fault.operation == operation and fault.times > 0:
                    fault.times -= 1
                    return fault
        return None

    def _account(self, asked: Request) -> str:
        return asked.checked_key(self.keys, Refusal(401, "InvalidApiKey", "Invalid API-key provided."))

    def _opened(self, asked: Request, *, at_once: bool) -> tuple[dict[str, Any], TaskModel, Visitor]:
        """Check what tasks and single calls have in common; return the body, its model, and who asks."""
        account = self._account(asked)
        if (asked.headers.get("x-dashscope-async") == "enable") == at_once:
            way = "asynchronous" if at_once else "synchronous"
            raise Refusal(403, "AccessDenied", f"current user api does not support {way} calls.")
        body = json_object(asked.body, Refusal(400, "InvalidParameter", NO_OBJECT))
        model = _model(body, at_once=at_once)
        return body, model, Visitor(model=model.name, account=account, resolves_oss=asked.resolves_oss)

    def _submit(self, asked: Request) -> Reply:
        body, model, visitor = self._opened(asked, at_once=False)
        if model.by_token and not isinstance(body.get("parameters"), dict):
            raise Refusal(400, "InvalidParameter", "Required parameter missing or invalid: parameters")
        links = _links(body, model)
        with self._lock:
            outcome = self._outcomes.pop(0) if self._outcomes else Outcome()
        parameters = body.get("parameters") or {}
        task = _Task(
            id=str(uuid.uuid4()), account=visitor.account, model=model, begun=self.now(), outcome=outcome,
            parameters=parameters, subtasks=[(link, self._heard(link, visitor, model)) for link in links],
        )  # fmt: skip
        with self._lock:
            self._held[task.id] = task
        return _state(task.id, "PENDING")

    def _call(self, asked: Request) -> Reply:
        body, model, visitor = self._opened(asked, at_once=True)
        data = self.intake.fetch(_audio(body), visitor=visitor)
        try:
            heard = decode_recording(data)
        except UnreadableMediaError as error:
            raise Refusal(400, "InvalidParameter", "The audio format is illegal and cannot be opened.") from error
        if heard.duration > model.seconds:
            raise Refusal(400, "InvalidParameter", "The audio is too long")
        if not heard.utterances:
            raise Refusal(400, "InvalidParameter", "ASR_RESPONSE_HAVE_NO_WORDS")
        text = " ".join(mark.code for mark in heard.utterances) + "."
        return json_reply(with_request_id({"output": {"text": text}, "usage": _usage(model, [heard])}))

    def _heard(self, link: str, visitor: Visitor, model: TaskModel) -> MediaFacts | str:
        """Transcribe the linked media, or return the error code for it."""
        if link.startswith("data:"):
            return model.download_code
        try:
            heard = decode_recording(self.intake.fetch(link, visitor=visitor))
        except Refusal:
            return model.download_code
        except UnreadableMediaError:
            return "InvalidFile.DecodeFailed"
        if heard.duration > model.seconds:
            return "InvalidFile.DurationExceeded"
        return heard if heard.utterances else "SUCCESS_WITH_NO_VALID_FRAGMENT"

    def _poll(self, asked: Request) -> Reply:
        account = self._account(asked)
        with self._lock:
            task = self._held.get(asked.path.removeprefix(TASK_PATH))
            if asked.method != "GET" or task is None or task.account != account:
                return _state(asked.path.removeprefix(TASK_PATH), "UNKNOWN")
            task.polls += 1
            late = task.polls <= self.polls_until_done + task.outcome.polls
        old = self.now() > task.begun + LIFETIME
        if old or task.outcome.kind in ("lost", "odd"):
            return _state(task.id, "UNKNOWN" if old else task.outcome.status)
        if late:
            return _state(task.id, "PENDING" if task.polls == 1 else "RUNNING")
        return json_reply(with_request_id(self._ended(task, asked.host)))

    def _ended(self, task: _Task, host: str) -> dict[str, Any]:
        subtasks = [self._subtask(task, place, host) for place in range(len(task.subtasks))]
        failed = [one for one in subtasks if one["subtask_status"] == "FAILED"]
        usage = _usage(task.model, [heard for _, heard in task.subtasks if isinstance(heard, MediaFacts)])
        times = {"submit_time": "2026-05-30 10:00:00.123", "end_time": "2026-05-30 10:00:09.123"}  # local, no zone
        output: dict[str, Any] = {"task_id": task.id, "task_status": "SUCCEEDED", **times}
        if task.outcome.kind == "task" or (failed and not task.model.many):
            output |= {"task_status": "FAILED", "code": failed[0]["code"], "message": failed[0]["message"]}
        elif task.model.many:
            output["results"] = subtasks
            output["task_metrics"] = {
                "TOTAL": len(subtasks),
                "SUCCEEDED": len(subtasks) - len(failed),
                "FAILED": len(failed),
            }
        else:
            output["result"] = {"transcription_url": subtasks[0]["transcription_url"]}
        return {"output": output, "usage": usage}

    def _subtask(self, task: _Task, place: int, host: str) -> dict[str, Any]:
        link, heard = task.subtasks[place]
        code = task.outcome.code if task.outcome.kind in ("subtask", "task") else heard
        if isinstance(code, str):
            message = task.outcome.message or code  # the real service, too, often repeats the code as the message
            return {"file_url": link, "code": code, "message": message, "subtask_status": "FAILED"}
        path = f"{RESULT_PATH}{task.id}/{place}.json"
        end = str(int(self.now() + LIFETIME))
        query = urlencode({"Expires": end, "OSSAccessKeyId": "standin", "Signature": _sign(path, end)})
        return {"file_url": link, "transcription_url": f"{host}{path}?{query}", "subtask_status": "SUCCEEDED"}

    def _result(self, asked: Request) -> Reply:
        query = dict(parse_qsl(asked.query))
        if "authorization" in asked.headers:
            return _xml(400, "InvalidArgument", "Only one auth mechanism allowed")
        if not hmac.compare_digest(query.get("Signature", ""), _sign(asked.path, query.get("Expires", ""))):
            return _xml(403, "SignatureDoesNotMatch", "The signature does not match.")
        if self.now() > float(query["Expires"]):
            return _xml(403, "AccessDenied", "Request has expired.")
        name, _, place = asked.path.removeprefix(RESULT_PATH).partition("/")
        task = self._held[name]
        link, heard = task.subtasks[int(place.removesuffix(".json"))]
        if not isinstance(heard, MediaFacts):
            return _xml(404, "NoSuchKey", "The specified key does not exist.")
        return json_reply(_document(task, link, heard))


def _document(task: _Task, link: str, heard: MediaFacts) -> dict[str, Any]:
    qwen = not task.model.many
    spoken = sentences(
        heard.utterances, first_id=0 if qwen else 1, qwen=qwen,
        words=not qwen or task.parameters.get("enable_words") is True,
        speakers=task.parameters.get("diarization_enabled") is True,
    )  # fmt: skip
    text = " ".join(str(one["text"]) for one in spoken)
    track: dict[str, Any] = {"channel_id": 0, "text": text, "sentences": spoken}
    if qwen:
        about = {"audio_info": {"format": heard.container, "sample_rate": heard.sample_rate}}
        return {"file_url": link, **about, "transcripts": [track]}
    track["content_duration_in_milliseconds"] = round(sum(mark.end - mark.start for mark in heard.utterances) * 1000)
    about = {
        "properties": {
            "audio_format": heard.container, "channels": list(range(heard.channels)),
            "original_sampling_rate": heard.sample_rate,
            "original_duration_in_milliseconds": round(heard.duration * 1000),
        }
    }  # fmt: skip
    return {"file_url": link, **about, "transcripts": [track]}


def _model(body: dict[str, Any], *, at_once: bool) -> TaskModel:
    """Return the model that a request names, if it is called this way."""
    model = TASK_MODELS.get(str(body.get("model")))
    if model is None:
        raise Refusal(400, "InvalidParameter", f"Model not exist: {body.get('model')}.")
    if model.at_once != at_once:
        way = "synchronous" if at_once else "asynchronous"
        raise Refusal(403, "AccessDenied", f"current user api does not support {way} calls.")
    return model


def _usage(model: TaskModel, heard: list[MediaFacts]) -> dict[str, int]:
    if not model.by_token:
        return {model.usage_key: sum(round(one.duration) for one in heard)}
    return {
        "input_tokens": math.ceil(sum(one.duration for one in heard) * _HEARD_TOKENS),
        "output_tokens": sum(len(one.utterances) for one in heard) * _SAID_TOKENS,
    }


def _audio(body: dict[str, Any]) -> str:
    """Return the one piece of audio in a call: the last message, after texts about what may be said."""
    given = body.get("input")
    messages = given.get("messages") if isinstance(given, dict) else None
    parts = [
        part
        for message in (messages if isinstance(messages, list) else [])
        if isinstance(message, dict) and message.get("role") == "user" and isinstance(message.get("content"), list)
        for part in message["content"]
        if isinstance(part, dict)
    ]
    kinds = [part.get("type") for part in parts]
    audio = parts[-1].get("input_audio") if parts else None
    data = audio.get("data") if isinstance(audio, dict) else None
    if kinds[-1:] != ["input_audio"] or set(kinds[:-1]) - {"input_text"} or not isinstance(data, str):
        raise Refusal(400, "InvalidParameter", "Required parameter missing or invalid: input.messages")
    parameters = body.get("parameters")
    if not isinstance(parameters, dict) or not parameters.get("format"):
        raise Refusal(400, "InvalidParameter", "Required parameter missing or invalid: parameters.format")
    return data


def _links(body: dict[str, Any], model: TaskModel) -> list[str]:
    given = body.get("input")
    held = given if isinstance(given, dict) else {}
    links = held.get("file_urls") if model.many else [held.get("file_url")]
    if not isinstance(links, list) or not links or not all(isinstance(one, str) and one for one in links):
        wanted = "file_urls" if model.many else "file_url"
        raise Refusal(400, "InvalidParameter", f"Required parameter missing or invalid: input.{wanted}")
    return links


def _faulty(fault: HttpFault) -> Reply:
    if fault.status == 0:
        return Reply(ending="drop")
    if fault.operation == "result":
        return _xml(fault.status, fault.code, fault.message)
    return _flat(fault.status, fault.code, fault.message)


def _flat(status: int, code: str, message: str) -> Reply:
    return json_reply(with_request_id({"code": code, "message": message}), status)


def _state(task_id: str, status: str) -> Reply:
    return json_reply(with_request_id({"output": {"task_id": task_id, "task_status": status}}))


def _xml(status: int, code: str, message: str) -> Reply:
    body = f"<Error><Code>{code}</Code><Message>{message}</Message></Error>"
    return Reply(status=status, pieces=(body.encode(),))


def _sign(path: str, end: str) -> str:
    return hmac.digest(_SECRET, f"{path}\n{end}".encode(), "sha256").hex()


def _logged(operation: str, asked: Request, reply: Reply) -> LoggedTaskCall:
    body = json.loads(asked.body) if operation in ("submit", "call") and asked.body.startswith(b"{") else {}
    links = [*((body.get("input") or {}).get("file_urls") or ()), (body.get("input") or {}).get("file_url")]
    cut = reply.ending == "drop"
    if operation == "call" and reply.status == _OK and not cut:
        links.append(_audio(body))
    return LoggedTaskCall(
        operation=operation, path=asked.path, model=str(body.get("model") or ""),
        parameters=body.get("parameters") or {}, links=tuple(describe_url(link) for link in links if link),
        with_key="authorization" in asked.headers, status=0 if cut else reply.status,
    )  # fmt: skip
