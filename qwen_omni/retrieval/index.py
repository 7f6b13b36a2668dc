"""A video or a recording → its passages, lazily, with the speech of a video added to what is seen.

The adapters name the sources and build the documents; the text of a passage, and its cost, is decided here. The
transcript is stored in a checkpoint, so indexing again, even a year later, costs nothing.
"""

import asyncio
import contextlib
import itertools
import os
import time
import warnings
from collections.abc import AsyncGenerator, Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from qwen_omni.client import AsyncOmniClient, OmniClient
from qwen_omni.errors import ConfigurationError
from qwen_omni.media.files.find import UNREADABLE, OnError, Source, Sources, left_out_text, named_apart
from qwen_omni.media.source import Anything
from qwen_omni.ranges import PARALLEL, checked
from qwen_omni.retrieval.passages import (
    PASSAGE_SECONDS,
    Mode,
    Passage,
    Passages,
    TranscriptMode,
    check_mode,
    gap_text,
    speech_text,
    to_passages,
    whole_passage,
    with_text,
)
from qwen_omni.settings import Settings, region_of
from qwen_omni.transcription.options import TranscriptionOptions, choose_transcriber
from qwen_omni.transcription.transcribe import atranscribe, atranscribe_many, transcribe, transcribe_many
from qwen_omni.transcription.transcript import Sentence, Transcript
from qwen_omni.transport.downloads import off_the_loop, opened
from qwen_omni.transport.flow import adrive, drive
from qwen_omni.video.engine.machine import BUSY_SECONDS
from qwen_omni.video.engine.run import OnProgress, Progress, aiter_notes, iter_notes, open_checkpoint
from qwen_omni.video.engine.worker import Checkpoint
from qwen_omni.video.options import DEFAULT_OPTIONS, SummaryOptions
from qwen_omni.video.results import VideoSummary
from qwen_omni.video.schemas import SegmentNotes
from qwen_omni.video.source_video import look_over
from qwen_omni.video.summarize import asummarize, summarize
from qwen_omni.work_store.store import Alive, LoopPulse, Taken

Wanted = bool | TranscriptionOptions
"""Whether to add a transcript: with default options, or with these."""

_STEP = "transcript"
_NOT_IN_KEY = ("wait_seconds", "poll_seconds", "fresh")  # do not change the result


def spoken(
    source: Anything,
    wanted: Wanted,
    *,
    client: OmniClient,
    options: SummaryOptions,
    on_progress: OnProgress | None = None,
) -> Transcript | None:
    """Transcribe a video or a recording; `None` if no transcript is wanted, or there is no audio.

    Args:
        source: a path chosen by the program, bytes, or a `MediaSource`.
        wanted: options of the transcript; its range is that of `options`.
        client: connects to the service.
        options: of the passages: their range, and the folder of checkpoints.
        on_progress: called if another process makes the same transcript and this one waits for it.

    Raises:
        ConfigurationError: the model returns no times.
        QwenOmniError: as `transcribe`.

    Example:
        from qwen_omni import OmniClient, SummaryOptions
        from qwen_omni.retrieval.index import spoken

        with OmniClient() as client:
            said = spoken("talk.mp4", True, client=client, options=SummaryOptions())
    """

    def perform(asked: TranscriptionOptions | None) -> Transcript | None:
        if asked is not None:
            return transcribe(source, client=client, options=asked)
        time.sleep(BUSY_SECONDS)
        return None

    return drive(_speaking(source, wanted, client.settings, options, on_progress), perform)


async def aspoken(
    source: Anything,
    wanted: Wanted,
    *,
    client: AsyncOmniClient,
    options: SummaryOptions,
    on_progress: OnProgress | None = None,
) -> Transcript | None:
    """Transcribe a video or a recording; the asynchronous `spoken`."""
    pulse = LoopPulse()

    async def perform(asked: TranscriptionOptions | None) -> Transcript | None:
        if asked is not None:
            return await atranscribe(source, client=client, options=asked)
        await asyncio.sleep(BUSY_SECONDS)
        return None

    try:
        work = _speaking(source, wanted, client.settings, options, on_progress, pulse)
        return await adrive(work, perform, blocking=True)
    finally:
        pulse.stop()


def _speaking(
    source: Anything,
    wanted: Wanted,
    settings: Settings,
    options: SummaryOptions,
    on_progress: OnProgress | None,
    alive: Alive | None = None,
) -> Generator[TranscriptionOptions | None, Transcript | None, Transcript | None]:
    """Yield what to transcribe, or `None` to wait for another process; return the transcript, which is then stored."""
    plan = _plan(wanted, settings, options)
    checkpoint = None if plan is None else _checkpoint(source, plan, settings, options)
    if checkpoint is None:
        return None
    with checkpoint:
        reported = on_progress is None
        while True:
            state = checkpoint.claim(_STEP, alive=alive)
            if isinstance(state, Taken):
                if not reported and on_progress is not None:
                    reported = True
                    who = f"{state.holder}, which transcribes the same recording"
                    on_progress(Progress(kind="notice", text=f"Waiting for {who}; its answer is used here too."))
                yield None
                continue
            if state is None:
                made = yield plan
                assert made is not None
                written = made.model_dump_json()
                return Transcript.model_validate_json(checkpoint.finish(_STEP, written) or written)
            try:
                return Transcript.model_validate_json(state)
            except ValueError:  # damaged: it is removed, and made again
                checkpoint.discard(_STEP, state)


def with_speech(passage: Passage, said: Transcript | None) -> Passage:
    """Add the speech in a passage's time range to its text; unchanged if there is none.

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
    named = replace(passage, metadata={**passage.metadata, "transcriber": said.model})
    return with_text(named, f"{passage.text}\nSaid: {speech_text(within)}")


def sentences_in(said: Transcript, start: float, end: float) -> Iterator[Sentence]:
    """Yield the sentences whose middle lies in a time range, and those that contain the middle of the range."""
    middle = (start + end) / 2
    for one in said.sentences:
        if start <= (one.start + one.end) / 2 <= end or one.start <= middle <= one.end:
            yield one


def _plan(wanted: Wanted, settings: Settings, options: SummaryOptions) -> TranscriptionOptions | None:
    """Choose the model, which is part of the checkpoint's key, and reject one that returns no times."""
    if wanted is False:
        return None
    chosen = TranscriptionOptions() if wanted is True else wanted
    profile = choose_transcriber(chosen, region_of(settings.base_url))
    if not profile.times:
        raise ConfigurationError(
            f"{profile.name} returns no times, so its transcript cannot be split into passages. Choose a model "
            "that does, such as paraformer-v2 or fun-asr."
        )
    track = options.audio_track if chosen.audio_track == "auto" else chosen.audio_track
    return replace(chosen, model=profile.name, start=options.start, end=options.end, audio_track=track)


def _checkpoint(
    source: Anything, plan: TranscriptionOptions, settings: Settings, options: SummaryOptions
) -> Checkpoint | None:
    """Inspect the source and open the checkpoint of its transcript; `None` if there is no audio."""
    video = look_over(source, options, settings.profile(options.model), media_root=settings.media_root)
    if not video.look.info.has_audio:
        return None
    key_fields = {name: value for name, value in asdict(plan).items() if name not in _NOT_IN_KEY}
    where = replace(options, checkpoint=False) if plan.fresh else options
    return open_checkpoint(video, {"task": "transcript", **key_fields}, settings, where)


@dataclass(frozen=True, slots=True, kw_only=True)
class PassageOptions:
    """Options for passages.

    Attributes:
        mode: "segments" makes a passage of each segment, "captions" of each thing that happens, is said or shown,
            "single" one of the whole.
        summary: the model, how closely it looks, where it is cut, …: as for a summary, with which notes are shared.
        transcript: whether to add the speech, word for word, to each passage. It is made as a whole before the first
            passage is yielded: transcription tasks do not stream.

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
    """Yield the passages in order, while later segments are in progress; warn of time ranges without any.

    Args:
        content: a path chosen by the program, bytes, or a `MediaSource`.
        name: source of the passages in their metadata: a path or URL.
        options: which passages to make.
        client: sends the requests.
        on_progress: called after every step.

    Raises:
        QwenOmniError: see `qwen_omni.errors`; finished segments are kept for the next run.

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
            for passage in _passages_of(passages, one):
                yield with_speech(passage, said)


async def aiter_passages(
    content: Anything,
    name: str,
    options: PassageOptions,
    *,
    client: AsyncOmniClient,
    on_progress: OnProgress | None = None,
) -> AsyncGenerator[Passage, None]:
    """The asynchronous `iter_passages`. Use `contextlib.aclosing` to stop early without delay."""
    said = await aspoken(content, options.transcript, client=client, options=options.summary, on_progress=on_progress)
    if options.mode == "single":
        found = await asummarize(content, client=client, options=options.summary, on_progress=on_progress)
        yield with_speech(_whole(name, found, options.summary), said)
        return
    passages = Passages(name, options.mode)
    notes = aiter_notes(content, client=client, options=options.summary, on_progress=on_progress)
    async with contextlib.aclosing(notes) as coming:
        async for one in coming:
            for passage in _passages_of(passages, one):
                yield with_speech(passage, said)


Opening = Callable[[str], contextlib.AbstractContextManager[tuple[Path, str]]]
"""Opens a named source: yields a local file, and the name that its passages have."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaReading:
    """How the passages of several videos and recordings are read, one after the other.

    Attributes:
        options: which passages to make.
        on_error: "warn" skips what cannot be read with a warning; errors of the service always raise.
        on_progress: called after every step.
        opening: opens a source; by default a path is opened where it is, and a link downloaded.
    """

    options: PassageOptions
    on_error: OnError = "raise"
    on_progress: OnProgress | None = None
    opening: Opening | None = None

    def passages(self, sources: Iterable[Source], client: OmniClient) -> Generator[Passage, None, None]:
        """Yield the passages, as `iter_passages` does for one source."""
        for source in sources:
            with self._skipping(source), self._opened(source, client.settings) as (path, name):
                found = iter_passages(path, name, self.options, client=client, on_progress=self.on_progress)
                with contextlib.closing(found) as passages:
                    yield from passages

    async def apassages(self, sources: Iterable[Source], client: AsyncOmniClient) -> AsyncGenerator[Passage, None]:
        """Yield the passages without blocking the event loop; sources are found and opened in threads."""
        coming = iter(sources)
        while (source := await asyncio.to_thread(next, coming, None)) is not None:
            with self._skipping(source):
                async with off_the_loop(self._opened(source, client.settings)) as (path, name):
                    found = aiter_passages(path, name, self.options, client=client, on_progress=self.on_progress)
                    async with contextlib.aclosing(found) as passages:
                        async for passage in passages:
                            yield passage

    def _opened(self, source: Source, settings: Settings) -> contextlib.AbstractContextManager[tuple[Path, str]]:
        name = os.fspath(source)
        if self.opening is not None:
            return self.opening(name)
        return opened(name, settings) if "://" in name else contextlib.nullcontext((Path(name), name))

    @contextlib.contextmanager
    def _skipping(self, source: Source) -> Iterator[None]:
        try:
            yield
        except UNREADABLE as error:
            if self.on_error == "raise":
                raise
            _warn(left_out_text(os.fspath(source), error))


Copies = contextlib.AbstractContextManager[tuple[Sources, Iterable[str | None]]]
"""Yields local files, and the names that their passages have; `None` keeps the file's own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TranscriptReading:
    """How the transcripts of several recordings and videos are read as passages, in order.

    Attributes:
        options: the transcription model, the language, speakers.
        mode: how transcripts are split, as in `to_passages`.
        seconds: maximum length of a passage.
        concurrency: number of recordings at a time.

    Raises:
        ConfigurationError: a number out of its range.
    """

    options: TranscriptionOptions
    mode: TranscriptMode
    seconds: float
    concurrency: int

    def __post_init__(self) -> None:
        checked("seconds", self.seconds, PASSAGE_SECONDS)
        checked("concurrency", self.concurrency, PARALLEL)

    def passages(
        self, sources: Sources, client: OmniClient, copying: Callable[[Sequence[str]], Copies] | None = None
    ) -> Generator[Passage, None, None]:
        """Yield the passages, while later recordings are in progress; raises as `transcribe_many`.

        Args:
            sources: recordings, folders and patterns.
            client: sends the requests.
            copying: copies named files of another file system, `concurrency` at a time, to limit the copies on disk.
        """
        for batch in self._batches(sources, copying):
            with batch as (paths, names):
                said = transcribe_many(paths, client=client, options=self.options, concurrency=self.concurrency)
                with contextlib.closing(said) as coming:
                    for transcript, name in zip(coming, names, strict=False):
                        yield from self._passages_of(transcript, name)

    async def apassages(
        self, sources: Sources, client: AsyncOmniClient, copying: Callable[[Sequence[str]], Copies] | None = None
    ) -> AsyncGenerator[Passage, None]:
        """Yield the passages; the asynchronous `passages`."""
        for batch in self._batches(sources, copying):
            async with off_the_loop(batch) as (paths, names):
                said = atranscribe_many(paths, client=client, options=self.options, concurrency=self.concurrency)
                named = iter(names)
                async with contextlib.aclosing(said) as coming:
                    async for transcript in coming:
                        for passage in self._passages_of(transcript, next(named)):
                            yield passage

    def _batches(self, sources: Sources, copying: Callable[[Sequence[str]], Copies] | None) -> Iterator[Copies]:
        if copying is None:
            yield contextlib.nullcontext((sources, itertools.repeat(None)))
            return
        files = [os.fspath(source) for source in named_apart(sources)]
        for at in range(0, len(files), self.concurrency):
            yield copying(files[at : at + self.concurrency])

    def _passages_of(self, said: Transcript, name: str | None) -> Iterator[Passage]:
        named = said if name is None else said.model_copy(update={"source": name})
        return to_passages(named, mode=self.mode, seconds=self.seconds)


def _passages_of(passages: Passages, notes: SegmentNotes) -> Iterator[Passage]:
    if notes.gap:
        _warn(gap_text(passages.source, notes.start, notes.end, notes.gap))
    return passages.of(notes)


def _whole(name: str, found: VideoSummary, options: SummaryOptions) -> Passage:
    for gap in found.gaps:
        _warn(gap_text(name, gap.start, gap.end, gap.reason))
    return whole_passage(name, found, start=options.start, end=options.end)


def _warn(text: str) -> None:
    warnings.warn(text, UserWarning, stacklevel=2)
