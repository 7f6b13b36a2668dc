"""A video or a recording → its passages, lazily: what loaders and readers of both frameworks make documents of.

The adapters find the files and write the documents; what a passage says, and what it costs to know, is here.
"""

import contextlib
import warnings
from collections.abc import AsyncGenerator, Generator, Iterator
from dataclasses import dataclass

from qwen_omni.client import AsyncOmniClient, OmniClient
from qwen_omni.media.source import Anything
from qwen_omni.video.notes import SegmentNotes
from qwen_omni.video.options import DEFAULT_OPTIONS, SummaryOptions
from qwen_omni.video.passages import Mode, Passage, Passages, check_mode, gap_text, whole_passage
from qwen_omni.video.progress import OnProgress
from qwen_omni.video.reading import aiter_notes, iter_notes
from qwen_omni.video.spoken import Wanted, aspoken, spoken, with_speech
from qwen_omni.video.summarizing import asummarize, summarize
from qwen_omni.video.summary import VideoSummary


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
        from qwen_omni.video.indexing import PassageOptions, iter_passages

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
