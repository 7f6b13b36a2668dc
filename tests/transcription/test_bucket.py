"""A bucket of the caller's whose objects are for one use alone: nothing stays in it, however a transcription ends."""

import asyncio
import copy
import dataclasses

import pytest

from qwen_omni import (
    APIConnectionError,
    AsyncOmniClient,
    AuthenticationError,
    InvalidRequestError,
    OssCredentials,
    OssSettings,
    Settings,
    TaskFailedError,
    TaskUnfinishedError,
    atranscribe,
)
from qwen_omni.standin import HttpFault, Outcome, Standin
from qwen_omni.standin.marked_media import TruthMedia
from tests.transcription.conftest import Ask, options, until_looked_at, words

BUCKET = "standin-media"


@pytest.fixture
def deleting(standin: Standin, settings: Settings) -> Settings:
    """Settings with an empty bucket whose objects are for one use alone."""
    for name in standin.stores.objects.names(BUCKET):
        standin.stores.objects.delete(BUCKET, name)
    bucket = OssSettings(
        bucket=BUCKET, endpoint=standin.oss_endpoint, region="cn-standin", delete_after_use=True,
        credentials=OssCredentials.of("standin-id", "standin-secret"),
    )  # fmt: skip
    return dataclasses.replace(settings, oss=bucket)


def test_the_callers_bucket_goes_first(ask: Ask, recording: TruthMedia, standin: Standin, deleting: Settings) -> None:
    """With a bucket the task is sent a signed link to it; `delete_after_use` takes it away when the task is done."""
    said = ask(recording.path, client_settings=deleting)
    assert words(said) == list(recording.codes)
    kinds = [call.operation for call in standin.stores.calls]
    assert "post_form" not in kinds
    assert kinds[-1] == "delete"
    assert standin.tasks.calls[0].links[0].startswith("http://127.0.0.1")


BAD_ENDS = {
    "refused": (HttpFault(operation="submit", status=400, code="InvalidParameter"), InvalidRequestError),
    "the answer was lost": (HttpFault(operation="submit", after=True), APIConnectionError),
    "failed": (Outcome(kind="subtask"), TaskFailedError),
    "lost": (Outcome(kind="lost"), TaskFailedError),
}


@pytest.mark.parametrize(("what", "error"), BAD_ENDS.values(), ids=BAD_ENDS)
def test_nothing_stays_in_the_bucket_after_a_bad_end(
    ask: Ask, what: HttpFault | Outcome, error: type[Exception], recording: TruthMedia, standin: Standin,
    deleting: Settings,
) -> None:  # fmt: skip
    """`delete_after_use` holds however a transcription ends."""
    standin.tasks.fail(copy.copy(what))
    with pytest.raises(error):
        ask(recording.path, client_settings=deleting)
    assert "put" in [call.operation for call in standin.stores.calls]
    assert standin.stores.objects.names(BUCKET) == []


def test_an_error_of_deleting_hides_no_other(
    ask: Ask, recording: TruthMedia, standin: Standin, deleting: Settings
) -> None:
    """What went wrong with the task is told, not that its recording could not be deleted."""
    standin.tasks.fail(Outcome(kind="subtask"))
    standin.stores.fail("delete", status=403, code="AccessDenied")
    with pytest.raises(TaskFailedError):
        ask(recording.path, client_settings=deleting)
    assert len(standin.stores.objects.names(BUCKET)) == 1


@pytest.mark.parametrize(
    ("what", "error", "patience"),
    [
        (Outcome(polls=5), TaskUnfinishedError, 0),
        (HttpFault(operation="poll", status=401, code="InvalidApiKey"), AuthenticationError, 60),
    ],
    ids=["our patience ended", "nobody may look"],
)
def test_what_a_task_may_still_read_stays_until_its_end(  # noqa: PLR0913, PLR0917  (four of them are fixtures)
    ask: Ask, what: HttpFault | Outcome, error: type[Exception], patience: float, recording: TruthMedia,
    standin: Standin, deleting: Settings,
) -> None:  # fmt: skip
    """The service still needs it when nobody waits any more; the call that finds the task's end deletes it."""
    standin.tasks.fail(copy.copy(what))
    with pytest.raises(error):
        ask(recording.path, client_settings=deleting, wait_seconds=patience)
    assert len(standin.stores.objects.names(BUCKET)) == 1
    assert words(ask(recording.path, client_settings=deleting)) == list(recording.codes)
    assert standin.stores.objects.names(BUCKET) == []
    assert standin.tasks.submitted == 1


@pytest.mark.slow
async def test_a_cancelled_call_costs_nothing_that_was_paid(
    recording: TruthMedia, standin: Standin, deleting: Settings
) -> None:
    """The task goes on with its recording; the same call finds both, and leaves nothing."""
    standin.tasks.fail(Outcome(polls=17))  # some seconds
    async with AsyncOmniClient(deleting) as client:
        waiting = asyncio.create_task(atranscribe(recording.path, client=client, options=options()))
        await asyncio.to_thread(until_looked_at, standin)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert len(standin.stores.objects.names(BUCKET)) == 1
        assert words(await atranscribe(recording.path, client=client, options=options())) == list(recording.codes)
    assert standin.stores.objects.names(BUCKET) == []
    assert standin.tasks.submitted == 1
