"""One transcription: submit, poll until it ends, fetch the result; or one call. Written once for threads and `asyncio`.

`stages` is a generator: it yields requests (a flow, or a chat request), receives their results, and does the blocking
work in between: files, uploads, the record of tasks. `transcribe` drives it.

A submission is retried only if the service certainly did not accept it, since every accepted task is billed. The
result is on another host under a signed link: the key is not sent there. Submitted tasks are recorded next to the
upload cache, so that the same recording is submitted once. A row holds a hash and the service's task ID, nothing of the
recording and no link, and the name of an object in the caller's bucket that is deleted when the task ends; it is kept
for as long as the result can be fetched. Rows are claimed while a submission is in flight, as uploads are.
"""

import contextlib
import hashlib
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field, replace
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
    MediaRefusedError,
    NotFoundError,
    QwenOmniError,
    ServerError,
    TaskFailedError,
    TaskUnfinishedError,
)
from qwen_omni.messages import MediaPayload, Upload
from qwen_omni.options import ChatOptions, ChatRequest
from qwen_omni.profiles.transcription import RESULT_SECONDS, TranscriptionProfile
from qwen_omni.request.prepared_request import RequestBody
from qwen_omni.responses import Response
from qwen_omni.settings import Settings, region_of
from qwen_omni.structured.ask import ask_until_valid
from qwen_omni.transcription import protocol as wire
from qwen_omni.transcription.accounting import AudioAccount
from qwen_omni.transcription.options import TranscriptionOptions, choose_transcriber
from qwen_omni.transcription.protocol import TaskState, encode_chat_options, encode_task, is_silence
from qwen_omni.transcription.recording import Recording, prepare_recording
from qwen_omni.transcription.speakers import plan_spoken, to_transcript
from qwen_omni.transcription.transcript import Transcript
from qwen_omni.transport.flow import BytesContent, Flow, Reply, Request, Sleep, ask, repeating
from qwen_omni.transport.rate_limit import Pace, in_turn, limiter_of
from qwen_omni.transport.retry import RetryPolicy
from qwen_omni.upload.cache import TASKS, Claim, Held, UploadCache
from qwen_omni.upload.uploader import hint_for
from qwen_omni.wire.errors import to_error
from qwen_omni.work_store.store import Alive, LoopPulse

_OK = 200
_REFUSING = (500, 503)  # the service accepted nothing; 502 and 504 may come from a proxy
_GROWTH, _LONGEST_WAIT = 1.5, 15.0
_MOST_BYTES = 256 * 2**20  # of a result; twelve hours with word times are about 20 MB
_VENDOR = ".aliyuncs.com"


class ResultGoneError(DeliveryError):
    """The link to a result does not work; a new one may."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskContext:
    """State shared by all flows of one transcription.

    Attributes:
        base_url: URL of the chat routes; the task routes are on the same host.
        label: name of the recording in errors.
        retry: the retry policy.
        clock: returns seconds.
        pace: waits until the rate limits allow a submission.
    """

    base_url: str
    label: str
    retry: RetryPolicy
    clock: Callable[[], float] = field(repr=False)
    pace: Pace | None = field(default=None, repr=False)


def was_refused(error: QwenOmniError) -> bool:
    """Whether the service certainly accepted nothing of a submission that failed with this error."""
    match error:
        case APIConnectionError():
            return not error.sent
        case ServerError():
            return error.status_code in _REFUSING
        case APIError():
            return error.status_code is not None
        case _:
            return False


def pause(seconds: float) -> Flow[None]:
    """Wait as the driver does: no thread is blocked in `asyncio`."""
    yield Sleep(seconds)


def submit(context: TaskContext, profile: TranscriptionProfile, options: TranscriptionOptions, link: str) -> Flow[str]:
    """Submit a recording and return the ID of its task.

    Raises:
        APIError: the service rejected it; nothing is billed.
        APIConnectionError: it could not be reached, or gave no answer; `sent` is whether it may have started.
    """
    request = Request(
        method="POST", url=wire.submit_url(context.base_url), headers=wire.submit_headers(link),
        content=BytesContent(wire.encode_task(profile, options, link)), with_key=True,
    )  # fmt: skip
    try:
        return wire.decode_submitted((yield from _sent_once(context, request)))
    except APIConnectionError as error:
        if error.sent:
            error.with_hint(
                f"The service may have started to transcribe {context.label} all the same, and bill it; it is not "
                "submitted again automatically. Check the console's task list, or call again to pay once more."
            )
        raise


def call_at_once(
    context: TaskContext, profile: TranscriptionProfile, options: TranscriptionOptions, audio: MediaPayload
) -> Flow[bytes]:
    """Send a recording to a model that answers at once, and return the answer. Raises as `submit` does."""
    request = Request(
        method="POST", url=wire.native_call_url(context.base_url),
        headers=wire.submit_headers(audio.url or "", task=False),
        content=RequestBody(wire.native_fields(profile, options, audio)), with_key=True, most_bytes=_MOST_BYTES,
    )  # fmt: skip
    return (yield from _sent_once(context, request))


def _sent_once(context: TaskContext, request: Request) -> Flow[bytes]:
    """Send a submission when it is its turn; again only if the service certainly accepted nothing."""

    def attempt() -> Flow[bytes]:
        yield from in_turn(context.pace)
        reply = yield from ask(request)
        _check(reply)
        return reply.body

    return (yield from repeating(attempt, context.retry, only=was_refused))


def look(context: TaskContext, task_id: str) -> Flow[TaskState]:
    """Request the state of a task once; transient failures are retried."""

    def attempt() -> Flow[TaskState]:
        request = Request(method="GET", url=wire.task_url(context.base_url, task_id), with_key=True)
        reply = yield from ask(request)
        try:
            _check(reply)
        except (InvalidRequestError, NotFoundError) as error:  # permanent, so it is not polled
            return TaskState(state="lost", status=f"{error.status_code} {error.code or ''}".strip(), message=str(error))
        return wire.decode_task(reply.body)

    return (yield from repeating(attempt, context.retry))


def await_end(context: TaskContext, options: TranscriptionOptions, task_id: str) -> Flow[TaskState]:
    """Poll a task until it has ended, at growing intervals.

    Raises:
        TaskUnfinishedError: `wait_seconds` have passed; the task continues at the service.
    """
    begun, wait = context.clock(), options.poll_seconds
    while True:
        state = yield from look(context, task_id)
        if state.state != "waiting":
            return state
        left = options.wait_seconds - (context.clock() - begun)
        if left <= 0:
            raise TaskUnfinishedError(
                f"The transcription of {context.label} (task {task_id}) is still {state.status or 'waiting'} after "
                f"{options.wait_seconds:,.0f} s (wait_seconds). It continues: the same call within a day finds it "
                "again and costs nothing.",
                task_id=task_id,
            )
        yield Sleep(min(wait, left))
        wait = min(wait * _GROWTH, _LONGEST_WAIT)


def fetch(context: TaskContext, url: str) -> Flow[Transcript]:
    """Fetch a result and parse it.

    Raises:
        ResultGoneError: the link does not work, or cannot lead to a result.
    """
    link = _checked(context, url)
    # Only the vendor's own host may resolve to a private address, on the vendor's machines.
    trusted = (urlsplit(link).hostname or "").endswith(_VENDOR) or is_private_url(context.base_url)
    request = Request(method="GET", url=link, most_bytes=_MOST_BYTES, public=not trusted)

    def attempt() -> Flow[Transcript]:
        reply = yield from ask(request)
        if reply.status >= min(_REFUSING):
            raise ServerError(
                f"The host of the result of {context.label} answered {reply.status}.", status_code=reply.status
            )
        if reply.status != _OK:
            raise ResultGoneError(
                f"The result of {context.label} could not be fetched: its host answered {reply.status}. Links to "
                "results work for 24 hours."
            )
        if len(reply.body) >= _MOST_BYTES:
            raise ResultGoneError(f"The result of {context.label} is larger than {_MOST_BYTES // 2**20} MiB.")
        return wire.decode_transcript(reply.body)

    return (yield from repeating(attempt, context.retry))


def _check(reply: Reply) -> None:
    if reply.status != _OK:
        raise to_error(reply.status, reply.body, reply.headers, url=reply.url)


def _checked(context: TaskContext, url: str) -> str:
    """Reject a link that cannot lead to a result; http links to the vendor's own host become https."""
    split = urlsplit(url)
    host = split.hostname or ""
    private = is_private_host(host) and not is_private_url(context.base_url)
    if split.scheme not in ("http", "https") or not host or private:
        raise ResultGoneError(
            f"The service returned {split.scheme or 'no'}://{host} as the address of the result of {context.label}, "
            "which is not a public web address."
        )
    return split._replace(scheme="https").geturl() if host.endswith(_VENDOR) else url


_FILE = "tasks.sqlite3"
_MARGIN = 3600.0  # seconds; a task whose record expires this soon is not waited for


def task_key(*values: str) -> str:
    """Hash everything that decides the result of a submission; nothing can be read back from it."""
    return hashlib.sha256("\n".join(values).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Submitted:
    """A task that the service has accepted.

    Attributes:
        task_id: the service's ID.
        left: the uploaded object, if it is to be deleted when the task has ended.
    """

    task_id: str
    left: str = ""


class Tasks:
    """The submitted tasks of one user on one machine, or on all that share a store. Thread-safe, shared by processes.

    Keys include the address and the account, so they identify who answered.
    """

    def __init__(self, folder: Path, *, server: str | None = None, alive: Alive | None = None) -> None:
        """Set the folder, or the server; claims last while `alive` returns whether the submitter makes progress."""
        self._rows = UploadCache(folder, file=_FILE, use=TASKS, server=server)
        self._alive = alive

    def look(self, key: str) -> Submitted | Claim | None:
        """Return a submitted task, or a claim to submit it; `None` while another process submits."""
        found = self._rows.look(key, alive=self._alive)
        return _task(found.location) if isinstance(found, Held) else found

    @contextlib.contextmanager
    def submitting(self, claim: Claim) -> Iterator[None]:
        """Release a claim if the block fails."""
        try:
            yield
        except BaseException:
            self._rows.give_up(claim)
            raise

    def submitted(self, claim: Claim, task: Submitted) -> None:
        """Store a task; from now on it is never paid for again."""
        self._rows.finish(claim, _row(task), time.time() + RESULT_SECONDS - _MARGIN)

    def forget(self, key: str, task: Submitted) -> None:
        """Remove a task that failed or is gone."""
        self._rows.forget(key, _row(task))


def _row(task: Submitted) -> str:
    return f"{task.task_id}\n{task.left}" if task.left else task.task_id


def _task(row: str) -> Submitted:
    task_id, _, left = row.partition("\n")
    return Submitted(task_id, left)


_CHECK_SECONDS = 0.1  # seconds between two checks of a task that another process submits

Stages = Generator[Flow[Any] | ChatRequest, Any, Transcript]
OnStage = Callable[[str], None]
"""Called with a description of each step."""


def stages(
    media: object,
    settings: Settings,
    options: TranscriptionOptions,
    on_stage: OnStage | None = None,
    *,
    alive: Alive | None = None,
) -> Stages:
    """Run the stages of one transcription; raises as `transcribe` does.

    The driver reports with `alive` whether it makes progress: meanwhile no other process submits the recording.
    """
    report = on_stage or (lambda _: None)
    profile = choose_transcriber(options, region_of(settings.base_url))
    recording = prepare_recording(media, settings, options, profile)
    report("prepared the recording")
    if profile.prompted:
        said = yield from _by_prompt(recording, options, profile)
    elif profile.route == "chat":
        said = yield from _by_chat(recording, options, profile)
    elif profile.route == "native":
        said = yield from _at_once(recording, settings, options, profile, alive)
    else:
        said = yield from _TaskRun(recording, settings, options, profile, report, alive).stages()
    report("the transcript is there")
    return said


def _by_chat(recording: Recording, options: TranscriptionOptions, profile: TranscriptionProfile) -> Stages:
    chat_options = ChatOptions(extra_body=encode_chat_options(options))
    try:
        answer: Response = yield ChatRequest(
            model=profile.name, messages=recording.question(options), options=chat_options
        )
    except InvalidRequestError as error:
        if not is_silence(f"{error.code} {error}"):
            raise
        answer = Response()
    billed = None if answer.usage is None else answer.usage.seconds
    said = Transcript(text=answer.text.strip(), language=answer.annotations.get("language"), billed_seconds=billed)
    return recording.placed(said, model=profile.name)


def _at_once(
    recording: Recording,
    settings: Settings,
    options: TranscriptionOptions,
    profile: TranscriptionProfile,
    alive: Alive | None,
) -> Stages:
    carrier, account = make_carrier(settings), _account_of(recording, settings, profile, alive)
    audio: MediaPayload | None = None
    try:
        account.open()
        audio = recording.sent_at_once(carrier, settings, profile)
        account.sending()
        try:
            answer: bytes = yield call_at_once(_context_of(recording, settings, profile.name), profile, options, audio)
        except QwenOmniError as error:
            if was_refused(error):
                account.release()
            if isinstance(error, MediaRefusedError):
                error.with_hint(hint_for([audio]))
            if not is_silence(str(error)):
                raise
            return recording.placed(Transcript(text=""), model=profile.name)
        said, seconds, used = wire.decode_native(answer)
        account.settle(seconds, used)
        return recording.placed(said, model=profile.name)
    finally:
        account.close()
        if audio is not None:
            with contextlib.suppress(QwenOmniError):
                carrier.release(audio)


def _context_of(recording: Recording, settings: Settings, model: str) -> TaskContext:
    limits = settings.rate_limits(model)
    return TaskContext(
        base_url=settings.base_url, label=recording.label, clock=time.monotonic,
        retry=RetryPolicy(max_retries=settings.max_retries, first_wait=settings.retry_wait),
        pace=None if limits is None else Pace(limiter_of(settings, model), limits),
    )  # fmt: skip


def _account_of(
    recording: Recording, settings: Settings, profile: TranscriptionProfile, alive: Alive | None
) -> AudioAccount:
    loop = alive.loop if isinstance(alive, LoopPulse) else None
    return AudioAccount(settings, profile, region_of(settings.base_url), seconds=recording.seconds, loop=loop)


def _by_prompt(recording: Recording, options: TranscriptionOptions, profile: TranscriptionProfile) -> Stages:
    question = recording.question(replace(options, context=None))
    plan = plan_spoken(question, options, model=profile.name, seconds=recording.seconds)
    found = yield from ask_until_valid(plan)
    return recording.placed(to_transcript(found, options), model=profile.name)


class _TaskRun:
    """One recording on its way through the task routes."""

    def __init__(
        self,
        recording: Recording,
        settings: Settings,
        options: TranscriptionOptions,
        profile: TranscriptionProfile,
        report: OnStage,
        alive: Alive | None,
    ) -> None:
        self._report = report
        self._recording, self._settings, self._options, self._profile = recording, settings, options, profile
        self._carrier = make_carrier(settings)
        self._tasks = Tasks(settings.cache_dir, server=settings.store, alive=alive)
        self._account = _account_of(recording, settings, profile, alive)
        self._context = _context_of(recording, settings, profile.name)
        chat_options = encode_task(profile, options, "").decode()
        secret = settings.api_key.get_secret_value()
        self._key = task_key(recording.identity(), settings.base_url, secret, chat_options)
        self._delivered: MediaPayload | None = None
        self._replaced = self._renewed = False  # each is tried once: another task, another upload
        self._under_way = False  # whether a task was submitted and is not known to have ended

    def stages(self) -> Stages:
        """Submit unless already submitted, wait, parse the result; delete what was uploaded for this alone."""
        try:
            return (yield from self._stages())
        finally:
            self._account.close()
            if not self._under_way:  # otherwise the service may still read it; it is deleted when the task has ended
                self._release(self._delivered)

    def _stages(self) -> Stages:
        fresh = self._options.fresh
        while True:
            found = yield from self._found(fresh=fresh)
            fresh = False
            task = found if isinstance(found, Submitted) else (yield from self._submitted(found))
            self._under_way = True
            self._report(f"{'found' if task is found else 'submitted'} the task {task.task_id}; waiting for it to end")
            state: TaskState = yield await_end(self._context, self._options, task.task_id)
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
        """Settle the cost of a task: a failed one is not billed; a lost one counts as reserved."""
        if state.state == "failed":
            self._account.release()
        else:
            self._account.settle(state.seconds, state.used)

    def _found(self, *, fresh: bool) -> Generator[Flow[None], None, Submitted | Claim]:
        """Return the submitted task, or a claim; `fresh` ignores known tasks. Waits while another process submits."""
        while True:
            found = self._tasks.look(self._key)
            if isinstance(found, Submitted) and fresh:
                self._tasks.forget(self._key, found)
            elif found is None:
                yield pause(_CHECK_SECONDS)  # not in this thread, which the other submission may need
            else:
                return found

    def _submitted(self, claim: Claim) -> Generator[Flow[str], str, Submitted]:
        with self._tasks.submitting(claim):
            self._account.open()
            link = self._link()
            self._account.sending()
            try:
                task_id = yield submit(self._context, self._profile, self._options, link)
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
        """Delete what was uploaded for this alone; a failure must not lose a transcript, or hide an error."""
        if delivered is not None:
            with contextlib.suppress(QwenOmniError):
                self._carrier.release(delivered)

    def _read(self, task: Submitted, state: TaskState) -> Stages:
        """Fetch the result; if its link does not work, request a new one once."""
        said = Transcript(text="")
        if state.state == "done":
            try:
                said = yield fetch(self._context, state.url or "")
            except ResultGoneError:
                state = yield look(self._context, task.task_id)
                try:
                    said = yield fetch(self._context, state.url or "")
                except ResultGoneError as error:
                    self._tasks.forget(self._key, task)
                    raise error.with_hint("The next call submits the recording again, and pays again.") from None
        about = {"task_id": task.task_id, "billed_seconds": state.seconds}
        return self._recording.placed(said, model=self._profile.name, **about)

    def _mended(self, state: TaskState, *, known: bool) -> bool:
        """Whether to submit once more: an old task is gone, or the uploaded object had expired in the store."""
        if known and not self._replaced:
            self._replaced = True
            return state.state == "lost" or state.is_gone
        if self._renewed or not state.is_gone or self._delivered is None or self._delivered.upload is None:
            return False
        self._renewed = True
        renewed = self._carrier.renewed(self._delivered, model=self._profile.name, gone=True)
        changed = renewed is not self._delivered
        self._delivered = renewed
        return changed

    def _failure(self, task_id: str, state: TaskState) -> TaskFailedError:
        label = self._recording.label
        if state.state == "lost":
            said = f"is not known to the service (it says {state.status or 'nothing'!r}); it may belong to another key"
        else:
            said = f"failed: {state.code or 'no code'}: {state.message or 'no message'}"
        hint = f" {hint_for([self._delivered])}" if state.is_gone and self._delivered is not None else ""
        return TaskFailedError(
            f"The transcription of {label} (task {task_id}) {said}.{hint}", task_id=task_id, code=state.code
        )
