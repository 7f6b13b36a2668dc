"""The work of each tool, as steps: written once, run by `media_tools` with threads or `asyncio`.

A tool is a generator. It yields a `ChatRequest`, or `Work` that has a form for either client, receives the result, and
returns its outcome. Any exception becomes text. Long files are processed by the engine for long videos, which caches
finished segments.
"""

import asyncio
import functools
import math
import threading
from collections.abc import Awaitable, Callable, Generator
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import AliasChoices, Field, model_validator

from qwen_omni.client import AsyncOmniClient, OmniClient
from qwen_omni.errors import UnsupportedMediaError
from qwen_omni.media.budget import Sampling
from qwen_omni.media.info import MediaInfo
from qwen_omni.media.source import MediaSource
from qwen_omni.messages import AudioPart, ImagePart, MediaPart, VideoPart, user
from qwen_omni.options import ChatOptions, ChatRequest
from qwen_omni.profiles import Profile, profile_for
from qwen_omni.request.question import as_part
from qwen_omni.structured.ask import CaptionPlan, ask_until_valid, object_request
from qwen_omni.structured.models import VideoCaption
from qwen_omni.structured.schema import TASK, read_schema
from qwen_omni.structured.timed import ENDS, STARTS, TEXTS, Timed, TimedAnswer
from qwen_omni.tools.definitions import (
    AskAboutClip,
    CaptionVideo,
    FindMoment,
    ProbeMedia,
    SummarizeVideo,
    TranscribeAudio,
)
from qwen_omni.tools.folder import MediaFolder
from qwen_omni.tools.results import ToolOutcome, bounded, line, without_places
from qwen_omni.transcription.options import TranscriptionOptions
from qwen_omni.transcription.transcribe import atranscribe, transcribe
from qwen_omni.transcription.transcript import Sentence, Transcript
from qwen_omni.video.ask import aask_video, ask_video
from qwen_omni.video.engine.run import Progress
from qwen_omni.video.options import SummaryOptions
from qwen_omni.video.overlap import gap_between, says_the_same
from qwen_omni.video.results import FailedSegment, VideoSummary
from qwen_omni.video.summarize import asummarize, summarize

if TYPE_CHECKING:
    from qwen_omni.library.ask import LibraryProgress
    from qwen_omni.library.library import VideoLibrary
    from qwen_omni.responses import Response
    from qwen_omni.video.tasks import VideoAnswer

_MOST_NEWS = 200  # characters of a report
_PART_ADVICE = "Ask about a part of it with start and end."


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolProgress:
    """Progress of a tool call.

    Attributes:
        done: finished steps, including a fraction of the current one; grows with every report.
        total: expected number of steps, if known.
        text: human-readable description.
    """

    done: float
    total: float | None = None
    text: str = ""


OnToolProgress = Callable[[ToolProgress], None]


class Meter:
    """Turns events of a call into progress that only grows. Thread-safe.

    Example:
        >>> reports = []
        >>> meter = Meter(reports.append)
        >>> meter.step("looked")
        >>> meter.tick("still working")
        >>> [(one.done, one.text) for one in reports]
        [(1, 'looked'), (1.5, 'still working')]
    """

    def __init__(self, on_progress: OnToolProgress | None = None, *, clean: Callable[[str], str] = str) -> None:
        self._on_progress, self._clean = on_progress, clean
        self._lock = threading.Lock()
        self._whole, self._between = 0, 0
        self._base, self._pass = 0, (0, 0)
        self._total: float | None = None

    def step(self, text: str) -> None:
        """Report a finished step."""
        with self._lock:
            self._report(self._whole + 1, text)
            self._base = self._whole

    def tick(self, text: str) -> None:
        """Report that the work continues, or part of a step."""
        with self._lock:
            self._report(self._whole, text)

    def library(self, news: "LibraryProgress") -> None:
        """Report an event of a question to a library; the answer itself is not progress."""
        if news.kind in ("found", "looked", "unwatched", "stopped"):
            self.step(f"{news.kind} {news.number or ''} {news.text}"[:_MOST_NEWS].replace("  ", " "))
        elif news.kind != "answer":
            self.tick(news.text)

    def video(self, news: Progress) -> None:
        """Report an event of a run over a long video; a second pass continues the count of the first."""
        with self._lock:
            if news.done < self._pass[0]:
                self._base += self._pass[1]
            self._pass = (news.done, news.segments)
            self._total = self._base + news.segments + 1  # the notes are joined at the end
            done = news.segments + 1 if news.kind == "done" else news.done
            self._report(self._base + done, _news_text(news))

    def _report(self, whole: int, text: str) -> None:
        if whole > self._whole:
            self._whole, self._between = whole, 0
            done: float = whole
        else:
            self._between += 1
            done = self._whole + 1 - 1 / (1 + self._between)
        if self._on_progress is not None:
            total = None if self._total is None else max(self._total, math.ceil(done))
            self._on_progress(ToolProgress(done=done, total=total, text=self._clean(text)))


def _news_text(news: Progress) -> str:
    if news.segment is None:
        return news.text or news.kind
    where = f"segment {news.segment + 1} of {news.segments} ({news.start or 0:.0f}-{news.end or 0:.0f} s)"
    words = {"segment": "already known" if news.reused else "answered", "gap": "failed"}
    return f"{where} {words.get(news.kind, news.kind)}"


@dataclass(frozen=True, slots=True)
class Work:
    """Work that has a form for either client.

    Attributes:
        sync: the form for `OmniClient`; `asynchronous` is the one for `AsyncOmniClient`.
        given: the positional arguments of both.
        options: their options.
        report: the method of `Meter` that is their callback.
    """

    sync: Callable[..., Any]
    asynchronous: Callable[..., Awaitable[Any]]
    given: tuple[Any, ...]
    options: Any
    report: Callable[["Meter", Any], None]

    def keywords(self, client: OmniClient | AsyncOmniClient, meter: "Meter") -> dict[str, Any]:
        """Return the keyword arguments of both."""
        return {"client": client, "options": self.options, "on_progress": functools.partial(self.report, meter)}


@dataclass(frozen=True, slots=True)
class Local:
    """Work that needs no client.

    Attributes:
        action: the work, which may block.
        asynchronous: its form for an event loop; without one, it runs on a thread.
        text: reported once it is done.
    """

    action: Callable[[], Any]
    asynchronous: Callable[[], Awaitable[Any]] | None = None
    text: str = "looked at the file"

    async def arun(self) -> Any:  # noqa: ANN401  (whatever the work returns)
        """Run it without blocking the event loop."""
        return await (asyncio.to_thread(self.action) if self.asynchronous is None else self.asynchronous())


Step = ChatRequest | Work | Local
Steps = Generator[Step, Any, ToolOutcome]


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolContext:
    """State shared by all tools: the folder, the models to ask and what they can do on their server, the library."""

    folder: MediaFolder
    model: str
    transcriber: str | None = None
    library: "VideoLibrary | None" = None
    profile_of: Callable[[str], Profile] = profile_for

    @property
    def profile(self) -> Profile:
        """What the model can do on its server."""
        return self.profile_of(self.model)

    def cleaned(self, words: str) -> str:
        """Return our own text for a model, without paths of this machine."""
        return line(without_places(words, self.folder.root))


def probe_media(context: ToolContext, asked: ProbeMedia) -> Steps:
    """Describe a file, or list a folder."""
    source = context.folder.source(asked.path)
    name = context.folder.name_of(source)
    if context.folder.is_folder(source):
        entries = yield Local(lambda: context.folder.listing(source))
        lines = [f"{_below(name, line(one.name))}{_size(one.size_bytes)}" for one in entries]
        text = bounded([f"{len(lines)} in {name!r}:", *lines], "Name a folder inside it.")
        return ToolOutcome(content=text, artifact=[{**asdict(one), "name": _below(name, one.name)} for one in entries])
    info: MediaInfo = yield Local(lambda: context.folder.probe(source))
    return ToolOutcome(content=f"{name}: {_described(info)}", artifact={"path": name, **_facts(info)})


def ask_about_clip(context: ToolContext, asked: AskAboutClip) -> Steps:
    """Ask the model a question about a video, a recording or an image."""
    source = context.folder.source(asked.path)
    info: MediaInfo = yield Local(lambda: context.folder.probe(source))
    part = _part(source, info, asked)
    piece = asked.start is not None or asked.end is not None
    text = f"{asked.question}\n\n(This is a piece of a longer file; count times from its beginning.)" if piece else ""
    answer: Response = yield ChatRequest(
        model=context.model, messages=(user(part, text or asked.question),), options=ChatOptions(thinking=False)
    )
    head = f"(Times in this answer count from second {asked.start or 0:g} of the file.)\n" if piece else ""
    cut = "" if answer.finish_reason == "stop" else f"\n[The answer ended early: {answer.finish_reason}.]"
    content = head + bounded(answer.text.splitlines() or ["(The model said nothing.)"], _PART_ADVICE) + cut
    facts = {"path": context.folder.name_of(source), "start": asked.start or 0.0, "end": asked.end, "text": answer.text}
    return ToolOutcome(content=content, artifact=facts)


def caption_video(context: ToolContext, asked: CaptionVideo) -> Steps:
    """Describe a file as a `VideoCaption`."""
    source = context.folder.source(asked.path)
    info: MediaInfo = yield Local(lambda: context.folder.probe(source))
    schema = read_schema(VideoCaption)
    request = object_request(
        schema, user(as_part(source, info.kind, audio_track=asked.audio_track), TASK), model=context.model,
        profile=context.profile,
    )  # fmt: skip
    captioned = yield from ask_until_valid(CaptionPlan(request=request, schema=schema))
    value: VideoCaption = captioned.value
    return ToolOutcome(
        content=bounded(value.model_dump_json(indent=1).splitlines(), _PART_ADVICE),
        artifact=value.model_dump(mode="json"),
    )


def transcribe_audio(context: ToolContext, asked: TranscribeAudio) -> Steps:
    """Transcribe a recording or a video."""
    source = context.folder.source(asked.path)
    options = TranscriptionOptions(
        model=context.transcriber, start=asked.start, end=asked.end, audio_track=asked.audio_track
    )
    said: Transcript = yield Work(transcribe, atranscribe, (source,), options, Meter.step)
    said = said.model_copy(update={"source": context.folder.name_of(source)})
    lines = [_spoken(one) for one in said.sentences] or said.text.splitlines() or ["(Nobody speaks.)"]
    return ToolOutcome(content=bounded(lines, _PART_ADVICE), artifact=said.model_dump(mode="json"))


def _part(source: MediaSource, info: MediaInfo, asked: AskAboutClip) -> MediaPart:
    sampling = Sampling(fps=asked.fps if info.kind == "video" else None)
    part = as_part(source, info.kind, sampling, asked.audio_track)
    match part:
        case VideoPart() | AudioPart():
            return replace(part, start=asked.start, end=asked.end)
        case ImagePart() if asked.start is None and asked.end is None:
            return part
        case _:
            raise UnsupportedMediaError("That is an image; leave start and end out.")


def _spoken(one: Sentence) -> str:
    who = f"Speaker {one.speaker + 1}: " if one.speaker is not None else ""
    return f"[{one.start:.1f}-{one.end:.1f} s] {who}{line(one.text)}"


def _below(folder: str, name: str) -> str:
    return name if folder == "." else f"{folder}/{name}"


def _size(size_bytes: int | None) -> str:
    return "" if size_bytes is None else f" ({size_bytes / 1e6:,.2f} MB)"


def _facts(info: MediaInfo) -> dict[str, Any]:
    facts = {
        "kind": info.kind, "container": info.container, "size_bytes": info.size_bytes,
        "duration": None if info.duration is None else float(info.duration), "width": info.width,
        "height": info.height, "fps": None if info.fps is None else float(info.fps),
        "video_codec": info.video_codec, "audio_codec": info.audio_codec,
        "audio_tracks": [asdict(track) for track in info.audio_tracks] if len(info.audio_tracks) > 1 else None,
    }  # fmt: skip
    return {name: value for name, value in facts.items() if value is not None}


def _described(info: MediaInfo) -> str:
    parts: list[str] = [info.kind]
    if info.duration is not None:
        parts.append(f"{float(info.duration):.1f} s")
    if info.width is not None:
        parts.append(f"{info.width}x{info.height} pixels")
    if info.fps is not None:
        parts.append(f"{float(info.fps):.3g} frames per second")
    if info.kind != "image":
        parts.append(f"audio {info.audio_codec}" if info.has_audio else "no audio")
    if len(info.audio_tracks) > 1:
        parts.append(f"audio tracks {', '.join(line(str(track)) for track in info.audio_tracks)}")
    return ", ".join([*parts, f"{info.container}{_size(info.size_bytes)}"])


_ADVICE = "Summarise a part of it with start and end."


def summarize_video(context: ToolContext, asked: SummarizeVideo) -> Steps:
    """Summarise a video or a recording."""
    source = context.folder.source(asked.path)
    info: MediaInfo = yield Local(lambda: context.folder.probe(source))
    if info.kind == "image":
        raise UnsupportedMediaError("That is an image. Use ask_about_clip or caption_video.")
    options = SummaryOptions(
        model=context.model, start=asked.start, end=asked.end, focus=asked.focus, audio_track=asked.audio_track
    )
    found: VideoSummary = yield Work(summarize, asummarize, (source,), options, Meter.video)
    name = context.folder.name_of(source)
    chapters = [
        f"{one.start:.1f}-{one.end:.1f} s: {line(one.title)}. {line(one.summary)}".rstrip() for one in found.chapters
    ]
    lines = [
        *found.summary.splitlines(),
        *(["Chapters:", *chapters] if chapters else []),
        *gap_lines(context, found.gaps),
    ]
    facts = {
        "path": name,
        "duration": found.video.duration,
        "summary": found.summary,
        "chapters": [one.model_dump(mode="json") for one in found.chapters],
        "gaps": gap_facts(context, found.gaps),
    }
    return ToolOutcome(content=bounded([f"{name}:", *lines], _ADVICE), artifact=facts)


def gap_lines(context: ToolContext, gaps: tuple[FailedSegment, ...]) -> list[str]:
    """Describe the time ranges without an answer."""
    return [f"[No answer for {one.start:.1f}-{one.end:.1f} s: {context.cleaned(one.reason)}]" for one in gaps]


def gap_facts(context: ToolContext, gaps: tuple[FailedSegment, ...]) -> list[dict[str, object]]:
    """Return the same as plain values."""
    return [{"start": one.start, "end": one.end, "reason": context.cleaned(one.reason)} for one in gaps]


_WHOLE_SECONDS = 180  # up to this length a file is asked about in one call, as elsewhere for long videos
_TASK = (
    "Find every moment at which this is seen or heard: {query}\n"
    "Give start and end in seconds from the beginning of what you were sent. Give an empty list if it is not there."
)
_QUESTION = "At which moments is this seen or heard: {query}"


class Moment(Timed):
    """A stretch of time in which something is seen or heard."""

    may_lack_end: ClassVar[bool] = True

    start: float = Field(ge=0, description="Second at which it begins.", validation_alias=AliasChoices(*STARTS))
    end: float = Field(ge=0, description="Second at which it ends.", validation_alias=AliasChoices(*ENDS))
    what: str = Field(
        description="What is seen or heard then, in a few words.",
        validation_alias=AliasChoices("what", *(name for name in TEXTS if name != "what")),
    )


class Moments(TimedAnswer):
    """All moments that were found."""

    takes_list: ClassVar[bool] = True
    """A bare list is an answer, too: the documented form of sound events."""

    moments: list[Moment] = Field(description="In order of time; empty if there is none.")

    @model_validator(mode="before")
    @classmethod
    def _listed(cls, data: object) -> object:
        return {"moments": data} if isinstance(data, list) else data


def find_moment(context: ToolContext, asked: FindMoment) -> Steps:
    """Find when something is seen or heard in a video or recording."""
    source = context.folder.source(asked.path)
    info: MediaInfo = yield Local(lambda: context.folder.probe(source))
    if info.kind == "image":
        raise UnsupportedMediaError("That is an image; it has no moments. Use ask_about_clip.")
    seconds = None if info.duration is None else float(info.duration)
    gaps: tuple[FailedSegment, ...] = ()
    if seconds is None or seconds <= _whole_seconds(context, info):
        found = yield from _ask(context, asked, source, info)
    else:
        found, gaps = yield from _through(context, asked, source)
    last = max((one.end for one in found), default=0.0) if seconds is None else seconds
    kept = [replace_end(one, last) for one in merged(found) if one.start <= last]
    name = context.folder.name_of(source)
    lines = [f"{one.start:.1f}-{one.end:.1f} s: {line(one.what)}" for one in kept]
    head = f"{len(kept)} in {name}:" if kept else f"Nothing of that in {name}."
    text = bounded([head, *gap_lines(context, gaps), *lines], "Ask more narrowly.")
    facts = {"path": name, "moments": [one.model_dump() for one in kept], "gaps": gap_facts(context, gaps)}
    return ToolOutcome(content=text, artifact=facts)


def _whole_seconds(context: ToolContext, info: MediaInfo) -> float:
    """Return the maximum length of a file for one call: at most what the model accepts."""
    limits = context.profile.limits
    return min(_WHOLE_SECONDS, limits.audio_seconds if info.kind == "audio" else limits.video_seconds)


def merged(found: list[Moment]) -> list[Moment]:
    """Sort moments, and merge those that touch and have the same text: segments overlap.

    Example:
        >>> twice = [Moment(start=88, end=90, what="a dog"), Moment(start=89, end=92, what="a dog")]
        >>> [(one.start, one.end) for one in merged(twice)]
        [(88.0, 92.0)]
    """
    kept: list[Moment] = []
    for one in sorted(found, key=lambda moment: (moment.start, moment.end)):
        twin = next((old for old in kept if gap_between(old, one) <= 0 and says_the_same(old.what, one.what)), None)
        if twin is None:
            kept.append(one)
        else:
            kept[kept.index(twin)] = twin.model_copy(update={"end": max(twin.end, one.end)})
    return kept


def replace_end(one: Moment, last: float) -> Moment:
    """Clamp a moment to the file, with its end after its start."""
    return one.model_copy(update={"end": min(max(one.start, one.end), last)})


def _through(
    context: ToolContext, asked: FindMoment, source: MediaSource
) -> Generator[Any, Any, tuple[list[Moment], tuple[FailedSegment, ...]]]:
    """Ask about a long file, several segments at a time, coarse and then fine; finished segments are cached."""
    question = _QUESTION.format(query=asked.query)
    options = SummaryOptions(model=context.model, audio_track=asked.audio_track)
    answer: VideoAnswer = yield Work(ask_video, aask_video, (source, question), options, Meter.video)
    noted = [note for findings in answer.findings for note in findings.evidence]
    return [Moment(start=one.start, end=one.end, what=one.text) for one in noted], answer.gaps


def _ask(
    context: ToolContext, asked: FindMoment, source: MediaSource, info: MediaInfo
) -> Generator[Any, Any, list[Moment]]:
    schema = read_schema(Moments)
    question = user(as_part(source, info.kind, audio_track=asked.audio_track), _TASK.format(query=asked.query))
    request = object_request(schema, question, model=context.model, profile=context.profile)
    facts = {} if info.duration is None else {"duration": float(info.duration)}
    captioned = yield from ask_until_valid(CaptionPlan(request=request, schema=schema, facts=facts))
    answer: Moments = captioned.value
    return [one.model_copy(update={"end": max(one.start, one.end)}) for one in answer.moments]
