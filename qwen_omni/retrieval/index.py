"""A video or a recording → its passages, lazily, with the speech of a video added to what is seen.

The adapters find the files and write the documents; what a passage says, and what it costs to know, is decided here.
The transcript is kept in a checkpoint, so indexing again, even a year later, costs nothing.
"""

import asyncio
import contextlib
import time
import warnings
from collections.abc import AsyncGenerator, Generator, Iterator
from dataclasses import asdict, dataclass, replace

from qwen_omni.client import AsyncOmniClient, OmniClient
from qwen_omni.errors import ConfigurationError
from qwen_omni.media.source import Anything
from qwen_omni.retrieval.passages import Mode, Passage, Passages, check_mode, gap_text, speech_text, whole_passage
from qwen_omni.settings import Settings, region_of
from qwen_omni.transcription.options import TranscriptionOptions, choose_transcriber
from qwen_omni.transcription.transcribe import atranscribe, transcribe
from qwen_omni.transcription.transcript import Sentence, Transcript
from qwen_omni.video.checkpoint import CachedStep
from qwen_omni.video.engine.machine import BUSY_SECONDS
from qwen_omni.video.engine.run import OnProgress, Progress, open_checkpoint
from qwen_omni.video.notes import aiter_notes, iter_notes
from qwen_omni.video.options import DEFAULT_OPTIONS, SummaryOptions
from qwen_omni.video.results import VideoSummary
from qwen_omni.video.schemas import SegmentNotes
from qwen_omni.video.source_video import look_over
from qwen_omni.video.summarize import asummarize, summarize
from qwen_omni.work_store.owners import LoopPulse
from qwen_omni.work_store.store import Alive

Wanted = bool | TranscriptionOptions
"""Whether there is to be a transcript: with the usual options, or with these."""

_UNTOLD = ("wait_seconds", "poll_seconds", "fresh")  # do not change what comes of it


def spoken(
    source: Anything,
    wanted: Wanted,
    *,
    client: OmniClient,
    options: SummaryOptions,
    on_progress: OnProgress | None = None,
) -> Transcript | None:
    """Find out what is said in a video or a recording; `None` if nothing is wanted, or there is no sound.

    Args:
        source: a path chosen by the program, bytes, or a `MediaSource`.
        wanted: the options of the transcript; its range is that of `options`.
        client: reaches the service.
        options: of the passages: where to begin and end, and where checkpoints are.
        on_progress: told if another process makes the same transcript, and is waited for.

    Raises:
        ConfigurationError: the model tells no times.
        QwenOmniError: as `transcribe`.

    Example:
        from qwen_omni import OmniClient, SummaryOptions
        from qwen_omni.retrieval.index import spoken

        with OmniClient() as client:
            said = spoken("talk.mp4", True, client=client, options=SummaryOptions())
    """
    plan = _plan(wanted, client.settings, options)
    if plan is None or (step := _begin(source, plan, client.settings, options)) is None:
        return None
    with step:
        waiting = _Waiting(step, on_progress)
        while waiting.needed():
            time.sleep(BUSY_SECONDS)
        said = _stored(step)
        if said is None:
            step.finish(transcribe(source, client=client, options=plan).model_dump_json())
            said = Transcript.model_validate_json(step.answer or "")
        return said


async def aspoken(
    source: Anything,
    wanted: Wanted,
    *,
    client: AsyncOmniClient,
    options: SummaryOptions,
    on_progress: OnProgress | None = None,
) -> Transcript | None:
    """Do the same in `asyncio`; see `spoken`."""
    plan = _plan(wanted, client.settings, options)
    if plan is None:
        return None
    pulse = LoopPulse()
    try:
        step = await asyncio.to_thread(_begin, source, plan, client.settings, options, pulse)
        if step is None:
            return None
        try:
            return await _aspoken(source, plan, step, client, _Waiting(step, on_progress))
        finally:
            await asyncio.to_thread(step.close)
    finally:
        pulse.stop()


async def _aspoken(
    source: Anything, plan: TranscriptionOptions, step: CachedStep, client: AsyncOmniClient, waiting: "_Waiting"
) -> Transcript:
    while await asyncio.to_thread(waiting.needed):  # noqa: ASYNC110  (another process tells by its file alone)
        await asyncio.sleep(BUSY_SECONDS)
    said = await asyncio.to_thread(_stored, step)
    if said is None:
        made = await atranscribe(source, client=client, options=plan)
        await asyncio.shield(asyncio.to_thread(step.finish, made.model_dump_json()))
        said = Transcript.model_validate_json(step.answer or "")
    return said


class _Waiting:
    """Waits for somebody else who makes the same transcript, and tells so once."""

    def __init__(self, step: CachedStep, on_progress: OnProgress | None) -> None:
        self._step, self._on_progress = step, on_progress
        self._told = False

    def needed(self) -> bool:
        """Whether somebody else is still at it."""
        if self._step.ready():
            return False
        if not self._told and self._on_progress is not None:
            self._told = True
            text = (
                f"Waiting for {self._step.holder}, which transcribes the same recording; its answer is used here too."
            )
            self._on_progress(Progress(kind="notice", text=text))
        return True


def _stored(step: CachedStep) -> Transcript | None:
    """Read a transcript that is finished; one that is damaged is removed, and made again."""
    if step.answer is None:
        return None
    try:
        return Transcript.model_validate_json(step.answer)
    except ValueError:
        step.discard()
        step.ready()
        return None


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
    source: Anything,
    plan: TranscriptionOptions,
    settings: Settings,
    options: SummaryOptions,
    alive: Alive | None = None,
) -> CachedStep | None:
    """Look at the source and find the step in its checkpoint; `None` if there is no sound."""
    footage = look_over(source, options, media_root=settings.media_root)
    if not footage.look.info.has_sound:
        return None
    told = {name: value for name, value in asdict(plan).items() if name not in _UNTOLD}
    where = replace(options, checkpoint=False) if plan.fresh else options
    checkpoint = open_checkpoint(footage, {"task": "transcript", **told}, settings, where)
    return CachedStep(checkpoint, "transcript", alive=alive)


@dataclass(frozen=True, slots=True, kw_only=True)
class PassageOptions:
    """What passages are wanted.

    Attributes:
        mode: "segments" makes a passage of each segment, "captions" of each single thing that happens, is said or
            shown, "single" one of the whole.
        summary: the model, how closely it looks, where it is cut, …: as for a summary, whose notes are shared.
        transcript: whether what is said, word for word, is added to each passage. It is made before the first
            passage comes, in one piece: a task of the service has no beginning of an answer.

    Raises:
        ConfigurationError: an unknown mode.
    """

    mode: Mode = "segments"
    summary: SummaryOptions = DEFAULT_OPTIONS
    transcript: Wanted = False

    def __post_init__(self) -> None:
        check_mode(self.mode)


def iter_passages(
    content: Anything,
    name: str,
    options: PassageOptions,
    *,
    client: OmniClient,
    on_progress: OnProgress | None = None,
) -> Generator[Passage, None, None]:
    """Give the passages, in order, while later segments are still being worked on; warn of seconds that have none.

    Args:
        content: a path chosen by the program, bytes, or a `MediaSource`.
        name: what the passages name as their source: a path or URL.
        options: what is wanted.
        client: who asks.
        on_progress: told after every step.

    Raises:
        QwenOmniError: see `qwen_omni.errors`; what is finished is kept for the next time.

    Example:
        from qwen_omni import OmniClient
        from qwen_omni.retrieval.index import PassageOptions, iter_passages

        with OmniClient() as client:
            for passage in iter_passages("talk.mp4", "talk.mp4", PassageOptions(transcript=True), client=client):
                print(passage.metadata["start"], passage.text)
    """
    said = spoken(content, options.transcript, client=client, options=options.summary, on_progress=on_progress)
    if options.mode == "single":
        found = summarize(content, client=client, options=options.summary, on_progress=on_progress)
        yield with_speech(_whole(name, found, options.summary), said)
        return
    passages = Passages(name, options.mode)
    notes = iter_notes(content, client=client, options=options.summary, on_progress=on_progress)
    with contextlib.closing(notes) as coming:
        for one in coming:
            for passage in _told(passages, one):
                yield with_speech(passage, said)


async def aiter_passages(
    content: Anything,
    name: str,
    options: PassageOptions,
    *,
    client: AsyncOmniClient,
    on_progress: OnProgress | None = None,
) -> AsyncGenerator[Passage, None]:
    """Do the same in `asyncio`; see `iter_passages`. Use `contextlib.aclosing` to stop early without delay."""
    said = await aspoken(content, options.transcript, client=client, options=options.summary, on_progress=on_progress)
    if options.mode == "single":
        found = await asummarize(content, client=client, options=options.summary, on_progress=on_progress)
        yield with_speech(_whole(name, found, options.summary), said)
        return
    passages = Passages(name, options.mode)
    notes = aiter_notes(content, client=client, options=options.summary, on_progress=on_progress)
    async with contextlib.aclosing(notes) as coming:
        async for one in coming:
            for passage in _told(passages, one):
                yield with_speech(passage, said)


def _told(passages: Passages, notes: SegmentNotes) -> Iterator[Passage]:
    if notes.gap:
        _warn(gap_text(passages.source, notes.start, notes.end, notes.gap))
    return passages.of(notes)


def _whole(name: str, found: VideoSummary, options: SummaryOptions) -> Passage:
    for gap in found.gaps:
        _warn(gap_text(name, gap.start, gap.end, gap.reason))
    return whole_passage(name, found, start=options.start, end=options.end)


def _warn(text: str) -> None:
    warnings.warn(text, UserWarning, stacklevel=2)
