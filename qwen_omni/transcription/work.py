"""What happens one after another to one recording, written once for threads and `asyncio`.

`stages` is a generator: it yields what is to be sent (a flow, or a chat request), is sent what came of it, and does
what blocks in between: files, uploads, the record of tasks. `transcription.run` drives it.
"""

import contextlib
import time
from collections.abc import Callable, Generator
from typing import Any

from qwen_omni.client import make_carrier
from qwen_omni.delivery.cache import Claim
from qwen_omni.delivery.hints import hint_for
from qwen_omni.errors import InvalidRequestError, QwenOmniError, TaskFailedError
from qwen_omni.flow import Flow
from qwen_omni.messages import Delivered, Upload
from qwen_omni.options import ChatOptions, ChatRequest
from qwen_omni.profiles.transcription import TranscriptionProfile
from qwen_omni.responses import Response
from qwen_omni.retry import RetryPolicy
from qwen_omni.settings import Settings, region_of
from qwen_omni.spend.account import AudioAccount
from qwen_omni.transcription.flow import Desk, ResultGoneError, await_end, fetch, look, pause, submit, was_refused
from qwen_omni.transcription.options import TranscriptionOptions, choose_transcriber
from qwen_omni.transcription.sound import Recording, prepare_recording
from qwen_omni.transcription.tasks import Submitted, Tasks, task_key
from qwen_omni.transcription.transcript import Transcript
from qwen_omni.wire.transcription import TaskState, encode_chat_wishes, encode_task, is_silence
from qwen_omni.work_store.owners import LoopPulse
from qwen_omni.work_store.store import Alive

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
        self._desk = Desk(base_url=settings.base_url, label=recording.label, retry=retry, clock=time.monotonic)
        wishes = encode_task(profile, options, "").decode()
        secret = settings.api_key.get_secret_value()
        self._key = task_key(recording.identity(), settings.base_url, secret, wishes)
        self._delivered: Delivered | None = None
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
                self._release(Delivered(upload=Upload(store="oss", location=task.left, link_until=0)))
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

    def _release(self, delivered: Delivered | None) -> None:
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
