"""Notes and transcripts → passages for a search index: a text, its time range, and metadata. Pure.

Loaders and readers of both frameworks build their documents from passages, so both index the same. Sentences of a
transcript are joined up to a length, with the same metadata names as the notes of a video.
"""

import hashlib
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
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
"""One passage per segment, per single thing that happens, is said or shown, or for the whole."""

Value = str | int | float | bool

UNKNOWN: Mapping[str, Value] = {
    "source": "", "url": "", "kind": "", "start": -1.0, "end": -1.0, "duration": -1.0, "segment": -1, "segments": -1,
    "width": -1, "height": -1, "fps": -1.0, "video_codec": "", "audio_codec": "", "audio_track": "", "model": "",
    "transcriber": "", "language": "", "speakers": "", "truncated": False,
}  # fmt: skip
"""Every key of a passage's metadata, and what stands there if the value is unknown: empty text, or -1.

Stores take their columns from the first rows, and many refuse `None`; so every passage has every key, always with a
value of the same type. -1 lies in no time range."""

TEXT_BYTES = 32_000
"""Longest text of a passage, in UTF-8: with its metadata it fits into the limits of all common stores. Milvus holds
65,535 bytes of text, Pinecone 40,960 bytes of text and metadata."""

EXCLUDED = (
    "duration", "segment", "segments", "width", "height", "fps", "video_codec", "audio_codec", "audio_track", "model",
    "url", "kind",
    "truncated", "transcriber",
)  # fmt: skip
"""Metadata left out of prompts and embeddings; a prompt keeps the source and the times, to cite them."""

EXCLUDED_FROM_EMBEDDING = (*EXCLUDED, "source", "start", "end", "language")
"""Metadata that do not describe the content of a passage."""

_KINDS = (("event", "events"), ("speech", "speech"), ("on_screen_text", "on_screen_text"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Passage:
    """A text about a time range of a video.

    Attributes:
        id: stable for the same range of the same source, so that indexing twice does not duplicate it.
        text: the content.
        metadata: plain values: `source, start, end, duration` (of the whole video), `segment, segments, width, height,
            fps, video_codec, audio_codec, audio_track, model, transcriber, language, kind, speakers, truncated, url`;
            times in seconds. All keys are always there; unknown values are those of `UNKNOWN`.
    """

    id: str
    text: str
    metadata: dict[str, Value] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeRange:
    """A time range of a local file.

    Attributes:
        source: path, or `file:` URL.
        kind: whether it has video.
        start: in seconds of the file; `end` likewise.
        audio_track: the one that is used, if the file has several.
    """

    source: str
    kind: Literal["video", "audio"]
    start: float
    end: float
    audio_track: AudioTrackChoice | None = None


def check_mode(mode: str) -> None:
    """Raise for an unknown mode.

    Raises:
        ConfigurationError: the mode is unknown.
    """
    if mode not in get_args(Mode):
        raise ConfigurationError(f"mode={mode!r} is not valid; choose one of {', '.join(get_args(Mode))}.")


class Passages:
    """Builds passages from the notes of one source as they arrive, in order.

    Args:
        source: source in the metadata: a path or URL.
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
        """Yield the passages of the next segment; none for a failed one."""
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
                    yield make_passage(note.text, facts, kind, (note.start, note.end))
        self._before = notes

    def _new(self, name: str, notes: SegmentNotes) -> Iterator[TimedNote]:
        """Yield the entries that are not already in the previous segment, with which this one overlaps."""
        earlier = () if self._before is None else tuple(_reaching(getattr(self._before, name), notes.start))
        for note in getattr(notes, name):
            if not any(is_twin(one, note) for one in earlier):
                yield note


def _reaching(entries: Iterable[TimedNote], start: float) -> Iterator[TimedNote]:
    return (one for one in entries if one.end >= start - NEAR_SECONDS)


def whole_passage(source: str, found: VideoSummary, *, start: float | None, end: float | None) -> Passage:
    """Return the one passage about a whole source: its summary, chapters and events."""
    facts: dict[str, Any] = {
        **video_metadata(source, found.video),
        "segments": found.segments, "model": found.model, "language": found.language,
    }  # fmt: skip
    length = found.video.duration
    last = length if end is None else end if length is None else min(end, length)
    return make_passage(_whole_text(found), facts, "whole", (start or 0.0, last or 0.0))


def known(metadata: Mapping[str, Any], name: str) -> Any:  # noqa: ANN401  (whatever a store returned)
    """Return a value of a passage's metadata; `None` if it is unknown or missing.

    Example:
        >>> known({"width": -1, "language": "en"}, "width"), known({"width": -1, "language": "en"}, "language")
        (None, 'en')
    """
    value = metadata.get(name)
    return None if value == UNKNOWN.get(name) else value


def complete(facts: Mapping[str, Any]) -> dict[str, Value]:
    """Return metadata with every key of `UNKNOWN`, each with a value of its type; other keys stay as they are.

    Example:
        >>> facts = complete({"source": "a.mp4", "duration": 9, "language": None, "course": "physics"})
        >>> facts["duration"], facts["language"], facts["width"], facts["course"]
        (9.0, '', -1, 'physics')
    """
    plain = {
        name: unknown if facts.get(name) is None else type(unknown)(facts[name]) for name, unknown in UNKNOWN.items()
    }
    return {**facts, **plain}


def bounded(text: str) -> tuple[str, bool]:
    """Return a text of at most `TEXT_BYTES`, and whether it was cut; its last line then says how much is missing."""
    if len(text.encode()) <= TEXT_BYTES:
        return text, False
    kept = text.encode()[: TEXT_BYTES - 100].decode(errors="ignore")
    kept = kept[: kept.rfind("\n")] if "\n" in kept[len(kept) // 2 :] else kept
    return f"{kept}\n[{len(text) - len(kept):,} more characters are left out]", True


def _whole_text(found: VideoSummary) -> str:
    chapters = [f"{clock(one.start)} {one.title}. {one.summary}".strip() for one in found.chapters]
    lines = [found.summary, *chapters]
    for entries in (found.events, found.speech, found.on_screen_text):
        lines += [f"{clock(note.start)} {note.text}" for note in entries]
    return "\n".join(lines)


def notes_metadata(source: str, notes: SegmentNotes) -> dict[str, Any]:
    """Return the metadata from a segment's notes, without its times."""
    return {
        **video_metadata(source, notes.video),
        "segment": notes.index, "segments": notes.segments, "model": notes.model, "language": notes.language,
        "truncated": notes.truncated,
    }  # fmt: skip


def video_metadata(source: str, video: VideoFacts | None) -> dict[str, Any]:
    """Return the metadata of a video; `None` for what is unknown."""
    return {"source": source} | ({} if video is None else video.model_dump(exclude={"source", "kind"}))


def fragment_url(source: str, start: float, end: float, audio_track: AudioTrackChoice | None = None) -> str:
    """Return the URL of a time range as players understand it (W3C Media Fragments: `#t=start,end&track=1`).

    Example:
        >>> fragment_url("https://example.com/a.mp4", 90, 120.5)
        'https://example.com/a.mp4#t=90,120.5'
    """
    base = source if "://" in source else Path(source).absolute().as_uri()
    track = "" if audio_track is None else f"&track={audio_track}"
    return f"{base.partition('#')[0]}#t={start:.10g},{end:.10g}{track}"


def time_range_of(metadata: Mapping[str, Any], *, margin: float = 0.0) -> TimeRange:
    """Return the time range of a passage, from its metadata, to ask about it again.

    Args:
        metadata: of a passage; other keys are ignored.
        margin: seconds before and after, since the moment you look for may start a little earlier.

    Raises:
        ConfigurationError: the metadata do not name a time range of a local file, or have an invalid audio track.

    Example:
        >>> metadata = {"source": "talk.mp4", "start": 1.0, "end": 30.0, "duration": 31.0, "video_codec": "h264"}
        >>> found = time_range_of(metadata, margin=2)
        >>> found.start, found.end
        (0.0, 31.0)
    """
    margin = checked("margin", margin, START)
    source, start, end = (known(metadata, name) for name in ("source", "start", "end"))
    if not isinstance(source, str) or start is None or end is None:
        raise ConfigurationError(
            "The metadata has no source with start and end; use documents of the video loader or reader."
        )
    start, end = checked("start of the metadata", start, START), checked("end of the metadata", end, START)
    if "://" in source and not source.startswith("file://"):
        raise ConfigurationError(
            f"{redact(source)} is a link, and a range of it cannot be asked about. Download it and load the file."
        )
    first, last = max(0.0, start - margin), end + margin
    duration = known(metadata, "duration")
    # Older documents of a part of a recording have the length of that part, which is not the end of the file.
    if isinstance(duration, int | float) and end <= duration < last:
        last = float(duration)
    if last <= first:
        raise ConfigurationError(
            f"The passage starts at {start:g} s and ends at {end:g} s, so there is nothing to show; choose a margin."
        )
    track = known(metadata, "audio_track")
    return TimeRange(
        source=source,
        kind=kind_of(metadata),
        start=first,
        end=last,
        audio_track=None if track is None else read_audio_track(track),
    )


def kind_of(metadata: Mapping[str, Any]) -> Literal["video", "audio"]:
    """Return the kind of a passage's source from its metadata; video if nothing is known."""
    shows = known(metadata, "video_codec") is not None or known(metadata, "width") is not None
    return "audio" if known(metadata, "audio_codec") is not None and not shows else "video"


def gap_text(source: str, start: float, end: float, reason: str) -> str:
    """Describe a time range without a passage, and why."""
    return f"{source}: no notes for {start:g} to {end:g} s: {reason}"


def make_passage(text: str, facts: Mapping[str, Any], kind: str, times: tuple[float, float] | None) -> Passage:
    """Build a passage about `facts["source"]`, with an ID that is stable as long as its position is.

    Args:
        text: the content; what is longer than `TEXT_BYTES` is left out, and a last line says so.
        facts: metadata of the source; includes "source".
        kind: kind of passage; those of segments and wholes keep their ID when their text changes.
        times: start and end in seconds; `None` if unknown.
    """
    source = str(facts["source"])
    place = ("", "") if times is None else tuple(f"{time:.3f}" for time in times)
    key = "\0".join((source, kind, *place, text if kind not in ("segment", "whole") else ""))
    where: dict[str, Value] = {"kind": kind}
    if times is not None:
        start, end = times
        where |= {"start": float(start), "end": float(end), "url": fragment_url(source, start, end)}
    found = Passage(id=hashlib.sha256(key.encode()).hexdigest()[:32], text="", metadata=complete({**facts, **where}))
    return with_text(found, text)


def with_text(passage: Passage, text: str) -> Passage:
    """Replace the text of a passage; what is longer than `TEXT_BYTES` is left out, and `truncated` is then true."""
    kept, cut = bounded(text)
    return replace(passage, text=kept, metadata={**passage.metadata, "truncated": True} if cut else passage.metadata)


TranscriptMode = Literal["passages", "sentences", "single"]

PASSAGE_SECONDS = Range(above=0, endless=True)
"""Length of passages."""


def to_passages(said: Transcript, *, mode: TranscriptMode = "passages", seconds: float = 60.0) -> Iterator[Passage]:
    """Split a transcript into passages; without times it is a single passage, without speech none.

    Args:
        said: the transcript.
        mode: `passages` joins sentences up to `seconds`, `sentences` keeps each separate, `single` joins all.
        seconds: maximum length, unless a single sentence is longer.

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
    """Join sentences into one text; speakers are named if there are several."""
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
    """List the speakers as the text names them; a string, since vector stores do not accept lists."""
    return ", ".join(str(one + 1) for one in sorted({one.speaker for one in group if one.speaker is not None}))


def _facts(said: Transcript, number: int, count: int) -> dict[str, Any]:
    return {
        "source": said.source, "duration": said.duration, "segment": number, "segments": count, "model": said.model,
        "language": said.language, "audio_track": said.audio_track,
    }  # fmt: skip
