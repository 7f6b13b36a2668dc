"""One transcription task: submit, poll until it ends, fetch the result. Written once for threads and `asyncio`.

`stages` is a generator: it yields what is to be sent (a flow, or a chat request), is sent the outcome, and does the
blocking work in between: files, uploads, the record of tasks. `transcribe` drives it.

A submission is retried only where the service certainly did not accept it, since every accepted task is billed. The
result lies on another host under a signed link: the key is not sent there. Submitted tasks are recorded beside the
upload cache, so the same recording is submitted once. A row holds a digest and the service's task id, nothing of the
recording and no link, and the name of an object in the caller's bucket that is deleted when the task ends; it is kept
for as long as the result can be fetched. Rows are claimed while a submission is on its way, as uploads are.
"""

import contextlib
import hashlib
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from qwen_omni.addresses import is_private_host, is_private_url
from qwen_omni.client import make_carrier
from qwen_omni.errors import (
    APIConnectionError,
    APIError,
    DeliveryError,
    InvalidRequestError,
    NotFoundError,
    QwenOmniError,
    ServerError,
    TaskFailedError,
    TaskUnfinishedError,
)
from qwen_omni.messages import MediaPayload, Upload
from qwen_omni.options import ChatOptions, ChatRequest
from qwen_omni.profiles.transcription import RESULT_SECONDS, TranscriptionProfile
from qwen_omni.request.accounting import AudioAccount
from qwen_omni.responses import Response
from qwen_omni.settings import Settings, region_of
from qwen_omni.transcription import protocol as wire
from qwen_omni.transcription.options import TranscriptionOptions, choose_transcriber
from qwen_omni.transcription.protocol import TaskState, encode_chat_wishes, encode_task, is_silence
from qwen_omni.transcription.recording import Recording, prepare_recording
from qwen_omni.transcription.transcript import Transcript
from qwen_omni.transport.flow import Flow, Reply, Request, Sleep, ask, repeating
from qwen_omni.transport.retry import RetryPolicy
from qwen_omni.upload.cache import TASKS, Claim, Held, UploadCache
from qwen_omni.upload.hints import hint_for
from qwen_omni.wire.errors import to_error
from qwen_omni.work_store.owners import LoopPulse
from qwen_omni.work_store.store import Alive

_OK = 200
_REFUSING = (500, 503)  # what the service says when it took nothing; 502 and 504 may come from half-way
_GROWTH, _LONGEST_WAIT = 1.5, 15.0
_MOST_BYTES = 256 * 2**20  # of a result; twelve hours with words are some 20 MB
_VENDOR = ".aliyuncs.com"


class ResultGoneError(DeliveryError):
    """The link to a result does not work; a new one may."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskContext:
    """What all flows of one transcription share.

    Attributes:
        base_url: the address of the chat routes; the task routes are on the same host.
        label: names the recording in errors.
        retry: when to try again.
        clock: counts seconds.
    """

    base_url: str
    label: str
    retry: RetryPolicy
    clock: Callable[[], float] = field(repr=False)

    def repeats(self, error: Exception, failed: int) -> float | None:
        """Tell whether to ask again, for questions that cost nothing."""
        return self.retry.wait(error, failed, shown=False) if isinstance(error, QwenOmniError) else None

    def resubmits(self, error: Exception, failed: int) -> float | None:
        """Tell whether to submit again: only if nothing can have been accepted."""
        return self.repeats(error, failed) if isinstance(error, QwenOmniError) and was_refused(error) else None


def was_refused(error: QwenOmniError) -> bool:
    """Whether the service certainly took nothing of a submission that ended so."""
    match error:
        case APIConnectionError():
            return not error.sent
        case ServerError():
            return error.status_code in _REFUSING
        case APIError():
            return error.status_code is not None
        case _:
            return False


@dataclass(frozen=True, slots=True)
class _Written:
    data: bytes

    @property
    def length(self) -> int:
        return len(self.data)

    def __iter__(self) -> Iterator[bytes]:
        yield self.data


def pause(seconds: float) -> Flow[None]:
    """Wait, as whoever carries the flow waits: no thread is held in `asyncio`."""
    yield Sleep(seconds)


def submit(desk: TaskContext, profile: TranscriptionProfile, options: TranscriptionOptions, link: str) -> Flow[str]:
    """Submit a recording and give the name of its task.

    Raises:
        APIError: the service refused; nothing is billed.
        APIConnectionError: it could not be reached, or gave no answer; `sent` tells whether it may have begun.
    """
    body = wire.encode_task(profile, options, link)

    def attempt() -> Flow[str]:
        request = Request(
            method="POST", url=wire.submit_url(desk.base_url), headers=wire.submit_headers(link),
            content=_Written(body), with_key=True,
        )  # fmt: skip
        reply = yield from ask(request)
        _check(reply)
        return wire.decode_submitted(reply.body)

    try:
        return (yield from repeating(attempt, desk.resubmits))
    except APIConnectionError as error:
        if error.sent:
            error.with_hint(
                f"The service may have begun to transcribe {desk.label} all the same, and bill it; it is not "
                "submitted again by itself. Look at the console's task list, or call again to pay once more."
            )
        raise


def look(desk: TaskContext, task_id: str) -> Flow[TaskState]:
    """Ask once how a task stands; repeats what fails in passing."""

    def attempt() -> Flow[TaskState]:
        request = Request(method="GET", url=wire.task_url(desk.base_url, task_id), with_key=True)
        reply = yield from ask(request)
        try:
            _check(reply)
        except (InvalidRequestError, NotFoundError) as error:  # it will be refused for ever, so it is not waited for
            return TaskState(state="lost", told=f"{error.status_code} {error.code or ''}".strip(), message=str(error))
        return wire.decode_task(reply.body)

    return (yield from repeating(attempt, desk.repeats))


def await_end(desk: TaskContext, options: TranscriptionOptions, task_id: str) -> Flow[TaskState]:
    """Ask how a task stands until it has ended, more and more rarely.

    Raises:
        TaskUnfinishedError: the time that was given is over; the task goes on.
    """
    begun, wait = desk.clock(), options.poll_seconds
    while True:
        state = yield from look(desk, task_id)
        if state.state != "waiting":
            return state
        left = options.wait_seconds - (desk.clock() - begun)
        if left <= 0:
            raise TaskUnfinishedError(
                f"The transcription of {desk.label} (task {task_id}) is still {state.told or 'waiting'} after "
                f"{options.wait_seconds:,.0f} s (wait_seconds). It goes on: the same call within a day finds it "
                "again and pays nothing.",
                task_id=task_id,
            )
        yield Sleep(min(wait, left))
        wait = min(wait * _GROWTH, _LONGEST_WAIT)


def fetch(desk: TaskContext, url: str) -> Flow[Transcript]:
    """Fetch a result and read it.

    Raises:
        ResultGoneError: the link does not work, or leads where no result can lie.
    """
    link = _checked(desk, url)
    # The vendor's own host may have an inner address on the vendor's machines; any other is a stranger's.
    trusted = (urlsplit(link).hostname or "").endswith(_VENDOR) or is_private_url(desk.base_url)
    request = Request(method="GET", url=link, most_bytes=_MOST_BYTES, public=not trusted)

    def attempt() -> Flow[Transcript]:
        reply = yield from ask(request)
        if reply.status >= min(_REFUSING):
            raise ServerError(
                f"The host of the result of {desk.label} answered {reply.status}.", status_code=reply.status
            )
        if reply.status != _OK:
            raise ResultGoneError(
                f"The result of {desk.label} could not be fetched: its host answered {reply.status}. Links to results "
                "work for 24 hours."
            )
        if len(reply.body) >= _MOST_BYTES:
            raise ResultGoneError(f"The result of {desk.label} is larger than {_MOST_BYTES // 2**20} MiB.")
        return wire.decode_transcript(reply.body)

    return (yield from repeating(attempt, desk.repeats))


def _check(reply: Reply) -> None:
    if reply.status != _OK:
        raise to_error(reply.status, reply.body, reply.headers, url=reply.url)


def _checked(desk: TaskContext, url: str) -> str:
    """Refuse a link that no result can have; over https where the vendor's own host is told as http."""
    split = urlsplit(url)
    host = split.hostname or ""
    private = is_private_host(host) and not is_private_url(desk.base_url)
    if split.scheme not in ("http", "https") or not host or private:
        raise ResultGoneError(f"The service named {split.scheme or 'no'}://{host} for the result of {desk.label}.")
    return split._replace(scheme="https").geturl() if host.endswith(_VENDOR) else url


_FILE = "tasks.sqlite3"
_MARGIN = 3600.0  # seconds; a task this close to its end is not waited for any more


def task_key(*told: str) -> str:
    """Name a submission by all that decides its result; nothing of it can be read back."""
    return hashlib.sha256("\n".join(told).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Submitted:
    """A task that the service has.

    Attributes:
        task_id: the service's name of it.
        left: the object that it was sent, if that is to be deleted when the task has ended.
    """

    task_id: str
    left: str = ""


class Tasks:
    """The submitted tasks of one user of one machine. Safe to share between threads and processes.

    Keys hold the address and the account, so they tell who answered.
    """

    def __init__(self, folder: Path, *, alive: Alive | None = None) -> None:
        """Name the folder; `alive` tells whether whoever submits makes progress, and keeps its claims as long."""
        self._rows = UploadCache(folder, file=_FILE, use=TASKS)
        self._alive = alive

    def look(self, key: str) -> Submitted | Claim | None:
        """Give a task that was submitted, or leave to submit it; `None` while another submits."""
        found = self._rows.look(key, alive=self._alive)
        return _task(found.location) if isinstance(found, Held) else found

    @contextlib.contextmanager
    def submitting(self, claim: Claim) -> Iterator[None]:
        """Give a claim up if the block fails."""
        try:
            yield
        except BaseException:
            self._rows.give_up(claim)
            raise

    def submitted(self, claim: Claim, task: Submitted) -> None:
        """Keep a task; from here on it is never paid again."""
        self._rows.finish(claim, _row(task), time.time() + RESULT_SECONDS - _MARGIN)

    def forget(self, key: str, task: Submitted) -> None:
        """Drop a task that failed or is gone."""
        self._rows.forget(key, _row(task))


def _row(task: Submitted) -> str:
    return f"{task.task_id}\n{task.left}" if task.left else task.task_id


def _task(row: str) -> Submitted:
    task_id, _, left = row.partition("\n")
    return Submitted(task_id, left)


_PATIENCE = 0.1  # seconds between two looks at a task that another submits

Stages = Generator[Flow[Any] | ChatRequest, Any, Transcript]
OnStage = Callable[[str], None]
"""Told in words what was done."""


def stages(
    media: object,
    settings: Settings,
    options: TranscriptionOptions,
    on_stage: OnStage | None = None,
    *,
    alive: Alive | None = None,
) -> Stages:
    """Run the stages of one transcription; raises as `transcribe` does.

    Whoever drives them reports with `alive` whether it makes progress: nobody else submits the recording meanwhile.
    """
    tell = on_stage or _untold
    profile = choose_transcriber(options, region_of(settings.base_url))
    recording = prepare_recording(media, settings, options, profile)
    tell("prepared the recording")
    if profile.route == "chat":
        said = yield from _by_chat(recording, options, profile)
    else:
        said = yield from _Errand(recording, settings, options, profile, tell, alive).stages()
    tell("the transcript is there")
    return said


def _untold(_: str) -> None:
    pass


def _by_chat(recording: Recording, options: TranscriptionOptions, profile: TranscriptionProfile) -> Stages:
    wishes = ChatOptions(extra_body=encode_chat_wishes(options))
    try:
        answer: Response = yield ChatRequest(model=profile.name, messages=recording.question(options), options=wishes)
    except InvalidRequestError as error:
        if not is_silence(f"{error.code} {error}"):
            raise
        answer = Response()
    billed = None if answer.usage is None else answer.usage.seconds
    said = Transcript(text=answer.text.strip(), language=answer.annotations.get("language"), billed_seconds=billed)
    return recording.placed(said, model=profile.name)


class _Errand:
    """One recording on its way through the task routes."""

    def __init__(
        self,
        recording: Recording,
        settings: Settings,
        options: TranscriptionOptions,
        profile: TranscriptionProfile,
        tell: OnStage,
        alive: Alive | None,
    ) -> None:
        self._tell = tell
        self._recording, self._settings, self._options, self._profile = recording, settings, options, profile
        self._carrier = make_carrier(settings)
        self._tasks = Tasks(settings.cache_dir, alive=alive)
        loop = alive.loop if isinstance(alive, LoopPulse) else None
        self._account = AudioAccount(
            settings, profile, region_of(settings.base_url), seconds=recording.seconds, loop=loop
        )
        retry = RetryPolicy(max_retries=settings.max_retries, first_wait=settings.retry_wait)
        self._desk = TaskContext(base_url=settings.base_url, label=recording.label, retry=retry, clock=time.monotonic)
        wishes = encode_task(profile, options, "").decode()
        secret = settings.api_key.get_secret_value()
        self._key = task_key(recording.identity(), settings.base_url, secret, wishes)
        self._delivered: MediaPayload | None = None
        self._repaired = False
        self._under_way = False  # whether a task was submitted and is not known to have ended

    def stages(self) -> Stages:
        """Submit unless that was done before, wait, read the result; delete what was uploaded for this alone."""
        try:
            return (yield from self._stages())
        finally:
            self._account.close()
            if not self._under_way:  # else the service may still read it; whoever finds the task's end deletes it
                self._release(self._delivered)

    def _stages(self) -> Stages:
        fresh = self._options.fresh
        while True:
            found = yield from self._found(fresh=fresh)
            fresh = False
            task = found if isinstance(found, Submitted) else (yield from self._submitted(found))
            self._under_way = True
            self._tell(f"{'found' if task is found else 'submitted'} the task {task.task_id}; waiting for its end")
            state: TaskState = yield await_end(self._desk, self._options, task.task_id)
            self._under_way = False
            if task is found and task.left:
                self._release(MediaPayload(upload=Upload(store="oss", location=task.left, link_until=0)))
            self._settle(state)
            if state.state in ("done", "silent"):
                return (yield from self._read(task, state))
            self._tasks.forget(self._key, task)
            if not self._mended(state, known=task is found):
                raise self._failure(task.task_id, state)

    def _settle(self, state: TaskState) -> None:
        """Book what a task cost: a failed one is not billed; what is lost counts as reserved."""
        if state.state == "failed":
            self._account.release()
        else:
            self._account.settle(state.seconds)

    def _found(self, *, fresh: bool) -> Generator[Flow[None], None, Submitted | Claim]:
        """Give the task that was submitted, or leave to submit; `fresh` takes no task. Waits while another submits."""
        while True:
            found = self._tasks.look(self._key)
            if isinstance(found, Submitted) and fresh:
                self._tasks.forget(self._key, found)
            elif found is None:
                yield pause(_PATIENCE)  # out of this thread, which the other may need to go on
            else:
                return found

    def _submitted(self, claim: Claim) -> Generator[Flow[str], str, Submitted]:
        with self._tasks.submitting(claim):
            self._account.open()
            link = self._link()
            self._account.sending()
            try:
                task_id = yield submit(self._desk, self._profile, self._options, link)
            except QwenOmniError as error:
                if was_refused(error):
                    self._account.release()
                raise
            upload = None if self._delivered is None else self._delivered.upload
            own = upload is not None and upload.store == "oss" and self._carrier.deletes
            task = Submitted(task_id, left=upload.location if upload is not None and own else "")
            self._tasks.submitted(claim, task)
        return task

    def _link(self) -> str:
        if self._delivered is None:
            self._delivered = self._recording.carried(self._carrier, self._settings, self._profile.name)
        return self._delivered.url or ""

    def _release(self, delivered: MediaPayload | None) -> None:
        """Delete what was uploaded for this alone; that it fails is no reason to lose a transcript, or an error."""
        if delivered is not None:
            with contextlib.suppress(QwenOmniError):
                self._carrier.release(delivered)

    def _read(self, task: Submitted, state: TaskState) -> Stages:
        """Fetch the result; a link that does not work is asked for once more."""
        said = Transcript(text="")
        if state.state == "done":
            try:
                said = yield fetch(self._desk, state.url or "")
            except ResultGoneError:
                state = yield look(self._desk, task.task_id)
                try:
                    said = yield fetch(self._desk, state.url or "")
                except ResultGoneError as error:
                    self._tasks.forget(self._key, task)
                    raise error.with_hint("The next call submits the recording anew, and pays again.") from None
        about = {"task_id": task.task_id, "billed_seconds": state.seconds}
        return self._recording.placed(said, model=self._profile.name, **about)

    def _mended(self, state: TaskState, *, known: bool) -> bool:
        """Tell whether to submit once more: an old task is gone, or what it was sent had gone from the store."""
        if self._repaired:
            return False
        self._repaired = True
        if known:
            return state.state == "lost" or state.is_gone
        if not state.is_gone or self._delivered is None or self._delivered.upload is None:
            return False
        renewed = self._carrier.renewed(self._delivered, model=self._profile.name, gone=True)
        changed = renewed is not self._delivered
        self._delivered = renewed
        return changed

    def _failure(self, task_id: str, state: TaskState) -> TaskFailedError:
        label = self._recording.label
        if state.state == "lost":
            said = f"is not known to the service (it says {state.told or 'nothing'!r}); it may belong to another key"
        else:
            said = f"failed: {state.code or 'no code'}: {state.message or 'no words'}"
        hint = f" {hint_for([self._delivered])}" if state.is_gone and self._delivered is not None else ""
        return TaskFailedError(
            f"The transcription of {label} (task {task_id}) {said}.{hint}", task_id=task_id, code=state.code
        )
