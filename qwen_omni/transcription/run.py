"""Transcribe one recording: `transcribe` and `atranscribe`. They carry out what `transcription.work` decides."""

import asyncio
from typing import Any

from qwen_omni.client import AsyncOmniClient, OmniClient
from qwen_omni.errors import QwenOmniError
from qwen_omni.flow import Done, Flow
from qwen_omni.http.flows import arun, run
from qwen_omni.media.source import Anything
from qwen_omni.options import ChatRequest
from qwen_omni.transcription.options import DEFAULT_OPTIONS, TranscriptionOptions
from qwen_omni.transcription.transcript import Transcript
from qwen_omni.transcription.work import OnStage, Stages, stages
from qwen_omni.work_store.owners import LoopPulse


def transcribe(
    media: Anything,
    *,
    client: OmniClient | None = None,
    options: TranscriptionOptions = DEFAULT_OPTIONS,
    on_progress: OnStage | None = None,
) -> Transcript:
    """Find out what was said in a recording or a video, and when.

    A recording that was submitted within the last day is not submitted (and paid) again, by whatever process and
    after whatever crash: its task is looked up first. A submission whose answer got lost is not repeated by itself.

    Args:
        media: a path or URL that the program chose, bytes, or a `MediaSource`.
        client: reaches the service; made from the environment if not given.
        options: the model, the language, speakers, how long to wait.
        on_progress: told in words after every step, from whatever thread works.

    Raises:
        ConfigurationError: the model cannot do what is asked, or the sound has no way to it.
        MediaError: the file is missing, damaged, without sound, or longer than the model takes.
        TaskFailedError: the service could not transcribe it.
        TaskUnfinishedError: the service is still at it; the same call finds the task again.
        SpendLimitError: it may cost more than `settings.spend_limit` allows; nothing was uploaded.
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
    work = stages(media, client.settings, options, on_progress)
    try:
        step = _advance(work, None)
        while not isinstance(step, Done):
            outcome: object
            try:
                outcome = client.complete(step) if isinstance(step, ChatRequest) else run(step, client.settings)
            except QwenOmniError as error:
                outcome = error
            step = _advance(work, outcome)
    finally:
        work.close()
    return step.value


async def atranscribe(
    media: Anything,
    *,
    client: AsyncOmniClient | None = None,
    options: TranscriptionOptions = DEFAULT_OPTIONS,
    on_progress: OnStage | None = None,
) -> Transcript:
    """Do what `transcribe` does without blocking the event loop."""
    if client is None:
        async with AsyncOmniClient() as own:
            return await atranscribe(media, client=own, options=options, on_progress=on_progress)
    pulse = LoopPulse()
    work = stages(media, client.settings, options, on_progress, alive=pulse)
    step: Flow[Any] | ChatRequest | Done[Transcript]
    outcome: object = None
    running: asyncio.Future[Flow[Any] | ChatRequest | Done[Transcript]] | None = None
    try:
        while True:
            running = asyncio.get_running_loop().run_in_executor(None, _advance, work, outcome)
            step = await asyncio.shield(running)
            if isinstance(step, Done):
                return step.value
            try:
                outcome = await (
                    client.complete(step) if isinstance(step, ChatRequest) else arun(step, client.settings)
                )
            except QwenOmniError as error:
                outcome = error
    finally:
        pulse.stop()
        await asyncio.shield(_close(work, running))


async def _close(work: Stages, running: asyncio.Future[Any] | None) -> None:
    """End the stages on a thread of their own: they may have something to delete at the service."""
    if running is not None and not running.done():
        await asyncio.wait([running])  # a generator that works cannot be closed
    await asyncio.to_thread(work.close)


def _advance(work: Stages, outcome: object) -> Flow[Any] | ChatRequest | Done[Transcript]:
    """Tell the stages how the last step ended, and give the next."""
    try:
        return work.throw(outcome) if isinstance(outcome, QwenOmniError) else work.send(outcome)
    except StopIteration as stop:
        return Done(stop.value)
