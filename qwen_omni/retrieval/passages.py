"""Notes and transcripts → passages for a search index: a text, the seconds it is about, and plain facts. Pure.

Loaders and readers of both frameworks make their documents of passages, so both index the same. Sentences of a
transcript are joined up to a length, under the same names of facts as a video's notes.
"""

import hashlib
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from qwen_omni.errors import ConfigurationError
from qwen_omni.media.info import AudioTrackChoice, read_audio_track
from qwen_omni.ranges import START, Range, checked
from qwen_omni.redact import redact
from qwen_omni.transcription.transcript import Sentence, Transcript
from qwen_omni.video.overlap import NEAR_SECONDS, is_twin
from qwen_omni.video.results import VideoSummary
from qwen_omni.video.schemas import SegmentNotes, TimedNote, VideoFacts, clock

Mode = Literal["segments", "captions", "single"]
"""One passage for each segment, for each single thing that happens, is said or shown, or for the whole."""

Value = str | int | float | bool

EXCLUDED = (
    "duration", "segment", "segments", "width", "height", "fps", "video_codec", "audio_codec", "audio_track", "model",
    "url", "kind",
    "truncated", "transcriber",
)  # fmt: skip
"""Facts that neither a prompt nor an embedding needs; a prompt keeps the source and the times, to cite them."""

EXCLUDED_FROM_EMBEDDING = (*EXCLUDED, "source", "start", "end", "language")
"""Facts that say nothing about what a passage is about."""

_KINDS = (("event", "events"), ("speech", "speech"), ("on_screen_text", "on_screen_text"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Passage:
    """A text about a stretch of a video.

    Attributes:
        id: the same for the same stretch of the same source, so that indexing twice does not double it.
        text: what it says.
        metadata: plain facts: `source, start, end, duration` (of the whole video), `segment, segments, width, height,
            fps, video_codec, audio_codec, audio_track, model, transcriber, language, kind, speakers, url`; times in
            seconds. What is not known is left out.
    """

    id: str
    text: str
    metadata: dict[str, Value] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeRange:
    """Some seconds of a local file.

    Attributes:
        source: its path, or its address as a `file:` URL.
        kind: whether it shows something.
        start: in seconds of the file; `end` likewise.
        audio_track: the one that was heard, where the file has several.
    """

    source: str
    kind: Literal["video", "audio"]
    start: float
    end: float
    audio_track: AudioTrackChoice | None = None


def check_mode(mode: str) -> None:
    """Refuse an unknown mode.

    Raises:
        ConfigurationError: it is none.
    """
    if mode not in get_args(Mode):
        raise ConfigurationError(f"mode={mode!r} is not known; choose one of {', '.join(get_args(Mode))}.")


class Passages:
    """Makes passages of the notes of one source as they come, in order.

    Args:
        source: what documents name as their source: a path or URL.
        mode: "segments" or "captions"; a "single" passage is made by `whole_passage`.

    Example:
        >>> notes = SegmentNotes(index=0, start=0, end=9, segments=1, summary="A door opens.")
        >>> [(one.text, one.metadata["end"]) for one in Passages("a.mp4").of(notes)]
        [('A door opens.', 9.0)]
    """

    def __init__(self, source: str, mode: Mode = "segments") -> None:
        self.source = source
        self._mode = mode
        self._before: SegmentNotes | None = None

    def of(self, notes: SegmentNotes) -> Iterator[Passage]:
        """Give the passages of the next segment; one that failed has none."""
        if notes.gap:
            self._before = None
            return
        facts = notes_metadata(self.source, notes)
        if self._mode == "segments":
            if notes.text:
                yield make_passage(notes.text, facts, "segment", (notes.start, notes.end))
        else:
            for kind, name in _KINDS:
                for note in self._new(name, notes):
                    yield make_passage(note.text, facts | {"kind": kind}, kind, (note.start, note.end))
        self._before = notes

    def _new(self, name: str, notes: SegmentNotes) -> Iterator[TimedNote]:
        """Give the entries that the segment before has not told already: the two overlap."""
        told = () if self._before is None else tuple(_reaching(getattr(self._before, name), notes.start))
        for note in getattr(notes, name):
            if not any(is_twin(one, note) for one in told):
                yield note


def _reaching(entries: Iterable[TimedNote], start: float) -> Iterator[TimedNote]:
    return (one for one in entries if one.end >= start - NEAR_SECONDS)


def whole_passage(source: str, found: VideoSummary, *, start: float | None, end: float | None) -> Passage:
    """Make the one passage about all of a source: its summary, chapters and events."""
    told: dict[str, Value] = {"segments": found.segments, "model": found.model, "language": found.language}
    facts = video_metadata(source, found.video)
    facts.update((name, value) for name, value in told.items() if value != "")
    length = found.video.duration
    last = length if end is None else end if length is None else min(end, length)
    return make_passage(_whole_text(found), facts, "whole", (start or 0.0, last or 0.0))


def _whole_text(found: VideoSummary) -> str:
    chapters = [f"{clock(one.start)} {one.title}. {one.summary}".strip() for one in found.chapters]
    lines = [found.summary, *chapters]
    for entries in (found.events, found.speech, found.on_screen_text):
        lines += [f"{clock(note.start)} {note.text}" for note in entries]
    return "\n".join(lines)


def notes_metadata(source: str, notes: SegmentNotes) -> dict[str, Value]:
    """Give what a segment's notes tell as plain facts, without its times."""
    told: dict[str, Any] = {
        **video_metadata(source, notes.video),
        "segment": notes.index, "segments": notes.segments, "model": notes.model, "language": notes.language,
    }  # fmt: skip
    if notes.truncated:
        told["truncated"] = True
    return {name: value for name, value in told.items() if value not in ("", None)}


def video_metadata(source: str, video: VideoFacts | None) -> dict[str, Value]:
    """Give the facts of a video that are known."""
    told: dict[str, Any] = {"source": source}
    if video is not None:
        told |= video.model_dump(exclude={"source", "kind"})
    return {name: value for name, value in told.items() if value is not None}


def fragment_url(source: str, start: float, end: float, audio_track: AudioTrackChoice | None = None) -> str:
    """Name a stretch of a source in the way players know (W3C Media Fragments: `#t=start,end&track=1`).

    Example:
        >>> fragment_url("https://example.com/a.mp4", 90, 120.5)
        'https://example.com/a.mp4#t=90,120.5'
    """
    base = source if "://" in source else Path(source).absolute().as_uri()
    track = "" if audio_track is None else f"&track={audio_track}"
    return f"{base.partition('#')[0]}#t={start:.10g},{end:.10g}{track}"


def stretch_of(metadata: Mapping[str, Any], *, margin: float = 0.0) -> TimeRange:
    """Find the seconds that a passage is about, by its metadata, to ask about them again.

    Args:
        metadata: of a passage; other facts may stand beside.
        margin: seconds before and after, since what one looks for may begin a little earlier.

    Raises:
        ConfigurationError: the metadata do not name a stretch of a local file, or no audio track.

    Example:
        >>> told = {"source": "talk.mp4", "start": 1.0, "end": 30.0, "duration": 31.0, "video_codec": "h264"}
        >>> found = stretch_of(told, margin=2)
        >>> found.start, found.end
        (0.0, 31.0)
    """
    margin = checked("margin", margin, START)
    source, start, end = (metadata.get(name) for name in ("source", "start", "end"))
    if not isinstance(source, str) or start is None or end is None:
        raise ConfigurationError(
            "The metadata names no source with start and end; documents of our video loader and reader do."
        )
    start, end = checked("start of the metadata", start, START), checked("end of the metadata", end, START)
    if "://" in source and not source.startswith("file://"):
        raise ConfigurationError(
            f"{redact(source)} is a link, and a part of it cannot be asked about. Download it and load the file."
        )
    first, last = max(0.0, start - margin), end + margin
    duration = metadata.get("duration")
    # Older documents of a part of a recording name the length of that part: it says nothing about the file's end.
    if isinstance(duration, int | float) and end <= duration < last:
        last = float(duration)
    if last <= first:
        raise ConfigurationError(
            f"The passage starts at {start:g} s and ends at {end:g} s, so there is nothing to show; choose a margin."
        )
    track = metadata.get("audio_track")
    return TimeRange(
        source=source,
        kind=kind_of(metadata),
        start=first,
        end=last,
        audio_track=None if track is None else read_audio_track(track),
    )


def kind_of(metadata: Mapping[str, Any]) -> Literal["video", "audio"]:
    """Tell by a passage's metadata whether its source shows something; a picture is supposed where nothing is known."""
    shows = "video_codec" in metadata or "width" in metadata
    return "audio" if "audio_codec" in metadata and not shows else "video"


def gap_text(source: str, start: float, end: float, reason: str) -> str:
    """Tell which seconds have no passage, and why."""
    return f"{source}: nothing is known of {start:g} to {end:g} s: {reason}"


def make_passage(text: str, facts: dict[str, Value], kind: str, times: tuple[float, float] | None) -> Passage:
    """Make a passage of a text about `facts["source"]`, with an id that stays the same as long as its place does.

    Args:
        text: what it says.
        facts: of the source; "source" is among them.
        kind: what sort of passage; those of segments and wholes keep their id when their text changes.
        times: start and end in seconds; `None` if nobody knows.
    """
    source = str(facts["source"])
    place = ("", "") if times is None else tuple(f"{time:.3f}" for time in times)
    told = "\0".join((source, kind, *place, text if kind not in ("segment", "whole") else ""))
    where: dict[str, Value] = {}
    if times is not None:
        start, end = times
        where = {"start": float(start), "end": float(end), "url": fragment_url(source, start, end)}
    return Passage(id=hashlib.sha256(told.encode()).hexdigest()[:32], text=text, metadata={**facts, **where})


TranscriptMode = Literal["passages", "sentences", "single"]

PASSAGE_SECONDS = Range(above=0, endless=True)
"""How long a passage may be."""


def to_passages(said: Transcript, *, mode: TranscriptMode = "passages", seconds: float = 60.0) -> Iterator[Passage]:
    """Cut a transcript into passages; one without times, or in which nobody speaks, is one passage or none.

    Args:
        said: the transcript.
        mode: `passages` joins sentences up to `seconds`, `sentences` joins none, `single` joins all.
        seconds: the longest passage, unless a single sentence is longer.

    Example:
        >>> said = Transcript(text="Hello.", source="a.mp3", sentences=(Sentence(start=1, end=2, text="Hello."),))
        >>> [(one.text, one.metadata["start"], one.metadata["kind"]) for one in to_passages(said)]
        [('Hello.', 1.0, 'speech')]
    """
    checked("seconds", seconds, PASSAGE_SECONDS)
    if not said.text.strip():
        return
    longest = {"passages": seconds, "sentences": 0.0, "single": math.inf}[mode]
    groups = _groups(said.sentences, longest)
    if not groups:
        yield make_passage(said.text, _facts(said, 0, 1), "speech", None)
    for number, group in enumerate(groups):
        text = said.text if mode == "single" else speech_text(group)
        speakers = _speakers(group)
        facts = _facts(said, number, len(groups)) | ({"speakers": speakers} if speakers else {})
        yield make_passage(text, facts, "speech", (group[0].start, max(one.end for one in group)))


def speech_text(sentences: list[Sentence]) -> str:
    """Write sentences one after another; who says them is told where several speak."""
    several = len({one.speaker for one in sentences}) > 1
    return " ".join(
        f"Speaker {one.speaker + 1}: {one.text}" if several and one.speaker is not None else one.text
        for one in sentences
    )


def _groups(sentences: tuple[Sentence, ...], seconds: float) -> list[list[Sentence]]:
    groups: list[list[Sentence]] = []
    for one in sentences:
        if groups and one.end - groups[-1][0].start <= seconds:
            groups[-1].append(one)
        else:
            groups.append([one])
    return groups


def _speakers(group: list[Sentence]) -> str:
    """Name who speaks as the text does; one text, since stores of vectors take no lists."""
    return ", ".join(str(one + 1) for one in sorted({one.speaker for one in group if one.speaker is not None}))


def _facts(said: Transcript, number: int, count: int) -> dict[str, Value]:
    told = {
        "source": said.source, "duration": said.duration, "segment": number, "segments": count, "model": said.model,
        "language": said.language, "kind": "speech", "audio_track": said.audio_track,
    }  # fmt: skip
    return {name: value for name, value in told.items() if value is not None}
