"""Transcribe one recording: `transcribe` and `atranscribe`. They carry out what `transcription.work` decides."""

from typing import Any

from qwen_omni.client import AsyncOmniClient, OmniClient
from qwen_omni.flow import Flow, adrive, drive
from qwen_omni.http.flows import arun, run
from qwen_omni.media.source import Anything
from qwen_omni.options import ChatRequest
from qwen_omni.transcription.options import DEFAULT_OPTIONS, TranscriptionOptions
from qwen_omni.transcription.transcript import Transcript
from qwen_omni.transcription.work import OnStage, stages
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
    """Do what `transcribe` does without blocking the event loop."""
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
