"""What is said, beside what is seen: the transcript of a video's sound, put into the passages that it lies in.

The transcript is kept in a checkpoint, so that indexing again costs nothing, a year later too.
"""

import asyncio
import time
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

from qwen_omni.client import AsyncOmniClient, OmniClient
from qwen_omni.errors import ConfigurationError
from qwen_omni.media.look import Anything
from qwen_omni.settings import Settings, region_of
from qwen_omni.transcription.options import TranscriptionOptions, choose_transcriber
from qwen_omni.transcription.passages import speech_text
from qwen_omni.transcription.run import atranscribe, transcribe
from qwen_omni.transcription.transcript import Sentence, Transcript
from qwen_omni.video.alone import LoneStep
from qwen_omni.video.footage import Footage, look_over
from qwen_omni.video.machine import BUSY_SECONDS
from qwen_omni.video.options import SummaryOptions
from qwen_omni.video.passages import Passage
from qwen_omni.video.runs import checkpoint_path

Wanted = bool | TranscriptionOptions
"""Whether there is to be a transcript: with the usual options, or with these."""

_UNTOLD = ("wait_seconds", "poll_seconds", "fresh")  # do not change what comes of it


def spoken(source: Anything, wanted: Wanted, *, client: OmniClient, options: SummaryOptions) -> Transcript | None:
    """Find out what is said in a video or a recording; `None` if nothing is wanted, or there is no sound.

    Args:
        source: a path chosen by the program, bytes, or a `MediaSource`.
        wanted: the options of the transcript; its range is that of `options`.
        client: reaches the service.
        options: of the passages: where to begin and end, and where checkpoints are.

    Raises:
        ConfigurationError: the model tells no times.
        QwenOmniError: as `transcribe`.

    Example:
        from qwen_omni import OmniClient, SummaryOptions
        from qwen_omni.video.spoken import spoken

        with OmniClient() as client:
            said = spoken("talk.mp4", True, client=client, options=SummaryOptions())
    """
    plan = _plan(wanted, client.settings, options)
    if plan is None or (step := _begin(source, plan, client.settings, options)) is None:
        return None
    with step:
        while not step.ready():
            time.sleep(BUSY_SECONDS)
        if step.answer is None:
            step.finish(transcribe(source, client=client, options=plan).model_dump_json())
        return Transcript.model_validate_json(step.answer or "")


async def aspoken(
    source: Anything, wanted: Wanted, *, client: AsyncOmniClient, options: SummaryOptions
) -> Transcript | None:
    """Do the same in `asyncio`; see `spoken`."""
    plan = _plan(wanted, client.settings, options)
    if plan is None or (step := await asyncio.to_thread(_begin, source, plan, client.settings, options)) is None:
        return None
    try:
        while not await asyncio.to_thread(step.ready):  # noqa: ASYNC110  (another process tells by its file alone)
            await asyncio.sleep(BUSY_SECONDS)
        if step.answer is None:
            said = await atranscribe(source, client=client, options=plan)
            await asyncio.shield(asyncio.to_thread(step.finish, said.model_dump_json()))
        return Transcript.model_validate_json(step.answer or "")
    finally:
        await asyncio.to_thread(step.close)


def with_speech(passage: Passage, said: Transcript | None) -> Passage:
    """Add what is said in a passage's seconds to its text; it stays as it is if nobody speaks then.

    Example:
        >>> seen = Passage(id="1", text="A door opens.", metadata={"start": 0.0, "end": 9.0})
        >>> said = Transcript(text="Come in.", model="m", sentences=(Sentence(start=1, end=2, text="Come in."),))
        >>> with_speech(seen, said).text.splitlines()
        ['A door opens.', 'Said: Come in.']
    """
    start, end = passage.metadata.get("start"), passage.metadata.get("end")
    if said is None or not isinstance(start, float) or not isinstance(end, float):
        return passage
    within = list(sentences_in(said, start, end))
    if not within:
        return passage
    facts = {**passage.metadata, "transcriber": said.model}
    return replace(passage, text=f"{passage.text}\nSaid: {speech_text(within)}", metadata=facts)


def sentences_in(said: Transcript, start: float, end: float) -> Iterator[Sentence]:
    """Give the sentences whose middle lies in a stretch, and those that the middle of the stretch lies in."""
    middle = (start + end) / 2
    for one in said.sentences:
        if start <= (one.start + one.end) / 2 <= end or one.start <= middle <= one.end:
            yield one


def _plan(wanted: Wanted, settings: Settings, options: SummaryOptions) -> TranscriptionOptions | None:
    """Choose the model, so that a checkpoint knows it, and refuse one that could not place what it hears."""
    if wanted is False:
        return None
    chosen = TranscriptionOptions() if wanted is True else wanted
    profile = choose_transcriber(chosen, region_of(settings.base_url))
    if not profile.times:
        raise ConfigurationError(
            f"{profile.name} does not tell when something is said, so it cannot be put into passages. Choose a model "
            "that does, such as paraformer-v2 or fun-asr."
        )
    track = options.audio_track if chosen.audio_track == "auto" else chosen.audio_track
    return replace(chosen, model=profile.name, start=options.start, end=options.end, audio_track=track)


def _begin(
    source: Anything, plan: TranscriptionOptions, settings: Settings, options: SummaryOptions
) -> LoneStep | None:
    """Look at the source and find the step in its checkpoint; `None` if there is no sound."""
    footage = look_over(source, options, media_root=settings.media_root)
    if not footage.look.info.has_sound:
        return None
    return LoneStep(_path(footage, plan, settings, options), "transcript")


def _path(footage: Footage, plan: TranscriptionOptions, settings: Settings, options: SummaryOptions) -> Path | None:
    told = {name: value for name, value in asdict(plan).items() if name not in _UNTOLD}
    return None if plan.fresh else checkpoint_path(footage, {"task": "transcript", **told}, settings, options)
