"""Transcribe one recording or many, several at a time and in order. `task` decides what is sent.

`ThreadPoolExecutor` joins its threads at interpreter exit, so a program that failed or was stopped would hang for as
long as the service takes. These threads are abandoned instead: submitted tasks are recorded, so nothing is lost.
"""

import asyncio
import contextlib
import functools
import queue
import threading
from collections import deque
from collections.abc import AsyncGenerator, Callable, Generator
from concurrent.futures import Future
from typing import Any, Self, TypeVar

from qwen_omni.client import AsyncOmniClient, OmniClient
from qwen_omni.media.files.find import Sources, find_media
from qwen_omni.media.source import Anything
from qwen_omni.media.work import Deadline
from qwen_omni.options import ChatRequest
from qwen_omni.ranges import PARALLEL, checked
from qwen_omni.transcription.options import DEFAULT_OPTIONS, TranscriptionOptions
from qwen_omni.transcription.task import OnStage, stages
from qwen_omni.transcription.transcript import Transcript
from qwen_omni.transport.api import arun, run
from qwen_omni.transport.flow import Flow, adrive, drive
from qwen_omni.work_store.store import LoopPulse

T = TypeVar("T")


class ThreadPool:
    """A few daemon threads; leaving the `with` block starts nothing more, and waits for nothing.

    Example:
        >>> with ThreadPool(2) as pool:
        ...     pool.submit(lambda: 6 * 7).result()
        42
    """

    def __init__(self, most: int) -> None:
        """Set the maximum number of threads; raises `ConfigurationError` for less than one."""
        self._most = checked("concurrency", most, PARALLEL)
        self._begun = 0
        self._deadline = Deadline()
        self._waiting: queue.SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = queue.SimpleQueue()

    def submit(self, work: Callable[[], T]) -> Future[T]:
        """Run a function when a thread is free."""
        future: Future[T] = Future()
        self._waiting.put((future, work))
        if self._begun < self._most:
            self._begun += 1
            threading.Thread(target=self._work, name=f"qwen-omni-transcribe-{self._begun}", daemon=True).start()
        return future

    def _work(self) -> None:
        while (piece := self._waiting.get()) is not None:
            future, work = piece
            if not future.set_running_or_notify_cancel():
                continue
            try:
                with Deadline(parent=self._deadline).governing():
                    result = work()
            except BaseException as error:  # noqa: BLE001 - passed to the future
                future.set_exception(error)
            else:
                future.set_result(result)

    def dismiss(self) -> None:
        """Cancel what has not started or waits for its turn; every thread ends after its current function."""
        self._deadline.stop()
        with contextlib.suppress(queue.Empty):
            while (piece := self._waiting.get_nowait()) is not None:
                piece[0].cancel()
        for _ in range(self._begun):
            self._waiting.put(None)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.dismiss()


def transcribe(
    media: Anything,
    *,
    client: OmniClient | None = None,
    options: TranscriptionOptions = DEFAULT_OPTIONS,
    on_progress: OnStage | None = None,
) -> Transcript:
    """Transcribe the speech in a recording or a video, with times.

    A recording that was submitted within the last day is not submitted (and paid for) again, by any process and after
    any crash: its task is looked up first. A submission whose response was lost is not repeated automatically.

    Args:
        media: a path or URL chosen by the program, bytes, or a `MediaSource`.
        client: connects to the service; created from the environment if not given.
        options: the model, the language, speakers, how long to wait.
        on_progress: called with a description after every step, from a worker thread.

    Raises:
        ConfigurationError: the model does not support an option, or the audio cannot be delivered.
        MediaError: the file is missing, damaged, without audio, or longer than the model accepts.
        TaskFailedError: the service could not transcribe it.
        TaskUnfinishedError: the service is not finished; the same call finds the task again.
        SpendLimitError: it may exceed `settings.spend_limit`; nothing was uploaded.
        QwenOmniError: see `qwen_omni.errors`.

    Example:
        from qwen_omni import TranscriptionOptions, transcribe

        said = transcribe("call.mp3", options=TranscriptionOptions(speakers=2))
        for sentence in said.sentences:
            print(f"{sentence.start:7.2f} s, speaker {sentence.speaker}: {sentence.text}")
    """
    if client is None:
        with OmniClient() as own:
            return transcribe(media, client=own, options=options, on_progress=on_progress)

    def perform(step: Flow[Any] | ChatRequest) -> object:
        return client.complete(step) if isinstance(step, ChatRequest) else run(step, client.settings)

    return drive(stages(media, client.settings, options, on_progress), perform)


async def atranscribe(
    media: Anything,
    *,
    client: AsyncOmniClient | None = None,
    options: TranscriptionOptions = DEFAULT_OPTIONS,
    on_progress: OnStage | None = None,
) -> Transcript:
    """Transcribe without blocking the event loop; the asynchronous `transcribe`."""
    if client is None:
        async with AsyncOmniClient() as own:
            return await atranscribe(media, client=own, options=options, on_progress=on_progress)
    pulse = LoopPulse()

    async def perform(step: Flow[Any] | ChatRequest) -> object:
        return await (client.complete(step) if isinstance(step, ChatRequest) else arun(step, client.settings))

    try:
        return await adrive(stages(media, client.settings, options, on_progress, alive=pulse), perform, blocking=True)
    finally:
        pulse.stop()


def transcribe_many(
    sources: Sources,
    *,
    client: OmniClient,
    options: TranscriptionOptions = DEFAULT_OPTIONS,
    concurrency: int = 4,
) -> Generator[Transcript, None, None]:
    """Yield the transcript of each recording, in order, while later ones are in progress.

    Raises:
        ConfigurationError: a folder or pattern matches no recording or video, or `concurrency` is less than one.
        QwenOmniError: of the first that fails; earlier ones were yielded, and running tasks are found again.
    """
    concurrency = checked("concurrency", concurrency, PARALLEL)
    waiting = deque(find_media(sources))
    running: deque[Future[Transcript]] = deque()
    with ThreadPool(concurrency) as pool:
        while waiting or running:
            while waiting and len(running) < concurrency:
                work = functools.partial(transcribe, waiting.popleft(), client=client, options=options)
                running.append(pool.submit(work))
            yield running.popleft().result()


async def atranscribe_many(
    sources: Sources,
    *,
    client: AsyncOmniClient,
    options: TranscriptionOptions = DEFAULT_OPTIONS,
    concurrency: int = 4,
) -> AsyncGenerator[Transcript, None]:
    """Yield transcripts in order; the asynchronous `transcribe_many`."""
    concurrency = checked("concurrency", concurrency, PARALLEL)
    waiting = deque(await asyncio.to_thread(list, find_media(sources)))
    running: deque[asyncio.Task[Transcript]] = deque()
    try:
        while waiting or running:
            while waiting and len(running) < concurrency:
                running.append(asyncio.create_task(atranscribe(waiting.popleft(), client=client, options=options)))
            yield await running.popleft()
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
