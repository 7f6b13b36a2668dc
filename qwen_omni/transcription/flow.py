"""The conversation about one transcription task: submit, look until it has ended, fetch the result. Flows, no I/O.

A submission is repeated only where the service certainly did not take it, since every task that it takes is billed.
The result lies on another host under a signed link: the key is not sent there.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from qwen_omni.delivery.links import is_private_host, is_private_url
from qwen_omni.errors import (
    APIConnectionError,
    APIError,
    DeliveryError,
    InvalidRequestError,
    NotFoundError,
    QwenOmniError,
    ServerError,
    TaskUnfinishedError,
)
from qwen_omni.flow import Flow, Reply, Request, Sleep, ask, repeating
from qwen_omni.profiles.transcription import TranscriptionProfile
from qwen_omni.retry import RetryPolicy
from qwen_omni.transcription.options import TranscriptionOptions
from qwen_omni.transcription.transcript import Transcript
from qwen_omni.wire import transcription as wire
from qwen_omni.wire.errors import to_error
from qwen_omni.wire.transcription import TaskState

_OK = 200
_REFUSING = (500, 503)  # what the service says when it took nothing; 502 and 504 may come from half-way
_GROWTH, _LONGEST_WAIT = 1.5, 15.0
_MOST_BYTES = 256 * 2**20  # of a result; twelve hours with words are some 20 MB
_VENDOR = ".aliyuncs.com"


class ResultGoneError(DeliveryError):
    """The link to a result does not work; a new one may."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
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


def submit(desk: Desk, profile: TranscriptionProfile, options: TranscriptionOptions, link: str) -> Flow[str]:
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


def look(desk: Desk, task_id: str) -> Flow[TaskState]:
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


def await_end(desk: Desk, options: TranscriptionOptions, task_id: str) -> Flow[TaskState]:
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


def fetch(desk: Desk, url: str) -> Flow[Transcript]:
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


def _checked(desk: Desk, url: str) -> str:
    """Refuse a link that no result can have; over https where the vendor's own host is told as http."""
    split = urlsplit(url)
    host = split.hostname or ""
    private = is_private_host(host) and not is_private_url(desk.base_url)
    if split.scheme not in ("http", "https") or not host or private:
        raise ResultGoneError(f"The service named {split.scheme or 'no'}://{host} for the result of {desk.label}.")
    return split._replace(scheme="https").geturl() if host.endswith(_VENDOR) else url
