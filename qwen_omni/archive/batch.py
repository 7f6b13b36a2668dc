"""`BatchJob`: many requests in one file, answered within days at half price, and paid for once whatever happens."""

import asyncio
import tempfile
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Self, TypeVar

from qwen_omni.archive.batch_flows import BatchFlows, BatchResult, OnProgress
from qwen_omni.archive.lines import BatchEstimate, check_lines
from qwen_omni.messages import user
from qwen_omni.options import ChatRequest
from qwen_omni.profiles.batch import TEST_MODEL
from qwen_omni.settings import Settings
from qwen_omni.transport.api import arun, run
from qwen_omni.transport.flow import Flow
from qwen_omni.wire.batch import BatchStatus, batch_metadata
from qwen_omni.work_store.buffered import BufferedStore

T = TypeVar("T")


class BatchJob:
    """Requests to one model, answered together within a day or two, at half price. Batch File of Model Studio.

    The same requests with the same store are the same job: after a crash, build it again and call the same methods.
    Nothing is submitted or paid for twice, by any process. Blocks; `AsyncBatchJob` does not.

    Example:
        from qwen_omni import ChatRequest, MediaSource, VideoPart, user
        from qwen_omni.archive import BatchJob

        link = "https://my-bucket.oss-cn-beijing.aliyuncs.com/promo.mp4"
        question = user(VideoPart(source=MediaSource.from_url(link)), "What is sold here?")
        job = BatchJob(
            {"promo": ChatRequest(model="qwen3.5-omni-plus", messages=(question,))}, store="batches.sqlite3"
        )
        job.submit()
        job.wait()
        for result in job.results():
            print(result.custom_id, result.status, result.response and result.response.text)
    """

    def __init__(
        self,
        requests: Mapping[str, ChatRequest],
        *,
        store: str | Path | BufferedStore,
        settings: Settings | None = None,
        window_hours: int = 24,
        name: str = "qwen-omni",
        callback_url: str | None = None,
    ) -> None:
        """Check the requests. Sends nothing.

        Args:
            requests: by a name of at most 256 characters, the `custom_id` of the line. Media must be links.
            store: the file that remembers the job and its answers, or a store.
            settings: how the service is reached; from the environment if not given.
            window_hours: how long the batch may take, 24 to 336; what is not answered by then expires, unbilled.
            name: shown in the console; at most 100 characters are used.
            callback_url: a public address that the service calls when the batch has ended.

        Raises:
            ConfigurationError: a model, region or option that Batch File does not take; different models or thinking
                modes; a damaged store.
            UnsupportedMediaError: several types of media in one request.
            DeliveryError: media that is no link, or a link that expires within the window.
            MediaDoesNotFitError: more than 50,000 requests, 500 MB, or 1 MB a request.
            LocalResourceError: the store cannot be opened.
        """
        settings = (settings or Settings.load()).with_key()
        lines = check_lines(requests, settings, window_hours)
        self.flows = BatchFlows(
            settings, store, digests=lines.digests, model=lines.model, hours=window_hours, lines=lines,
            metadata=batch_metadata(name, callback_url),
        )  # fmt: skip

    @classmethod
    def resume(cls, key: str, *, store: str | Path | BufferedStore, settings: Settings | None = None) -> Self:
        """Return a submitted job without its requests: it can be followed, read and cancelled, but not submitted.

        Raises:
            ConfigurationError: the store has no such job for this server.
        """
        job = cls.__new__(cls)
        job.flows = BatchFlows.of_key(key, (settings or Settings.load()).with_key(), store)
        return job

    @property
    def key(self) -> str:
        """Identifies the job in its store; see `resume`."""
        return self.flows.key

    # --- What a caller does ---

    def estimate(self) -> BatchEstimate:
        """Return the most that the requests without an answer will cost. Sends nothing.

        Raises:
            ConfigurationError: the job was resumed by its key, so its requests are not known.
        """
        return self.flows.estimate()

    def submit(self) -> BatchStatus:
        """Upload the requests and create the batch, unless that was done before; return its state.

        Requests that the store has answers to are left out.

        Raises:
            SpendLimitError: it may cost more than `settings.spend_limit` allows; nothing was sent.
            LocalResourceError: the store cannot be written; nothing was created.
            APIError: the service refused. If it is not known whether a batch was created, the next call finds out.
        """
        return self._run(self.flows.submitted(again=False))

    def retry(self) -> BatchStatus:
        """Submit the requests that an ended batch left without an answer, as a new batch; raises as `submit` does."""
        return self._run(self.flows.submitted(again=True))

    def retrieve(self) -> BatchStatus:
        """Return the state of the batch.

        Raises:
            ConfigurationError: it was not submitted.
        """
        return self._run(self.flows.status())

    def wait(
        self, *, timeout: float | None = None, poll_seconds: float = 60, on_progress: OnProgress | None = None
    ) -> BatchStatus:
        """Wait until the batch has ended; return its state.

        Args:
            timeout: the most seconds to wait; `None` is as long as it takes.
            poll_seconds: the first interval between two polls; it grows up to ten minutes.
            on_progress: called with the state after every poll.

        Raises:
            TaskUnfinishedError: `timeout` has passed; the batch goes on.
        """
        return self._run(self.flows.waited(timeout, poll_seconds, on_progress))

    def results(self, *, allow_missing: bool = False) -> Iterator[BatchResult]:
        """Yield the outcome of each request, in the order of the requests; the first call downloads the answers.

        Args:
            allow_missing: accept a file that still holds fewer answers than the service counted, or a line that cannot
                be read, after another download; the rest count as failed.

        Raises:
            TaskUnfinishedError: the batch has not ended, or names no file yet for some of its lines; there are no
                partial results.
            APIConnectionError: the answers could not be downloaded as a whole. What arrived is stored; call again.
            LocalResourceError: the answers cannot be stored; they stay at the service for 30 days.
        """
        yield from self.flows.every(self._run(self.flows.read(allow_missing=allow_missing)))

    def cancel(self) -> BatchStatus:
        """Cancel the batch, unless it has ended. Lines that were answered by then are billed, and can be read."""
        return self._run(self.flows.cancelled())

    def close(self) -> None:
        """Close the store; the batch continues at the service."""
        self.flows.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"BatchJob({self.flows!r})"

    def _run(self, flow: Flow[T]) -> T:
        return run(flow, self.flows.settings)


class AsyncBatchJob:
    """The `asyncio` version of `BatchJob`: the same methods as coroutines, and `results` as a list."""

    def __init__(self, job: BatchJob) -> None:
        """Take a job, for example `BatchJob(requests, store=...)` or `BatchJob.resume(key, store=...)`."""
        self.job = job

    async def submit(self) -> BatchStatus:
        """Create the batch once; see `BatchJob.submit`."""
        return await self._run(self.job.flows.submitted(again=False))

    async def retry(self) -> BatchStatus:
        """Submit what was left without an answer; see `BatchJob.retry`."""
        return await self._run(self.job.flows.submitted(again=True))

    async def retrieve(self) -> BatchStatus:
        """Return the state of the batch; see `BatchJob.retrieve`."""
        return await self._run(self.job.flows.status())

    async def wait(
        self,
        *,
        timeout: float | None = None,  # noqa: ASYNC109  (as in `BatchJob`)
        poll_seconds: float = 60,
        on_progress: OnProgress | None = None,
    ) -> BatchStatus:
        """Wait until the batch has ended; see `BatchJob.wait`."""
        return await self._run(self.job.flows.waited(timeout, poll_seconds, on_progress))

    async def results(self, *, allow_missing: bool = False) -> list[BatchResult]:
        """Return the outcome of each request; see `BatchJob.results`."""
        ended = await self._run(self.job.flows.read(allow_missing=allow_missing))
        return await asyncio.to_thread(lambda: list(self.job.flows.every(ended)))

    async def cancel(self) -> BatchStatus:
        """Cancel the batch; see `BatchJob.cancel`."""
        return await self._run(self.job.flows.cancelled())

    async def close(self) -> None:
        """Close the store; see `BatchJob.close`."""
        await asyncio.to_thread(self.job.close)

    async def _run(self, flow: Flow[T]) -> T:
        return await arun(flow, self.job.flows.settings, blocking=True)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


def try_batch_file(settings: Settings | None = None, *, timeout: float = 600, poll_seconds: float = 10) -> list[str]:
    """Run a batch of two lines with the service's free test model; return the texts of the answers.

    Args:
        settings: how the service is reached; from the environment if not given.
        timeout: the most seconds to wait.
        poll_seconds: the first interval between two polls.

    Raises:
        QwenOmniError: what a real job would meet, too.
    """
    mark = uuid.uuid4().hex  # the same requests would be the same job
    asked = {f"{mark}-{at}": ChatRequest(model=TEST_MODEL, messages=(user(f"{mark}: {at}"),)) for at in (1, 2)}
    with (
        tempfile.TemporaryDirectory() as folder,
        BatchJob(asked, store=Path(folder) / "test.sqlite3", settings=settings, name="qwen-omni test") as job,
    ):
        job.submit()
        job.wait(timeout=timeout, poll_seconds=poll_seconds)
        found = list(job.results())
    for one in found:
        if one.error is not None:
            raise one.error
    return [one.response.text for one in found if one.response is not None]
