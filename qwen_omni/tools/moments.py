"""`find_moment`: when something is seen or heard. A long file goes through the engine for long videos."""

from collections.abc import Generator
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import AliasChoices, BaseModel, Field, ValidationInfo, model_validator

from qwen_omni.ask import as_part
from qwen_omni.captions.schema import read_schema
from qwen_omni.captions.timed import ENDS, STARTS, TEXTS, Timed, decide_unit
from qwen_omni.errors import UnsupportedMediaError
from qwen_omni.media.info import MediaInfo
from qwen_omni.media.source import MediaSource
from qwen_omni.messages import user
from qwen_omni.profiles import profile_for
from qwen_omni.structured.ask import CaptionPlan, ask_until_valid, object_request
from qwen_omni.tools.arguments import FindMoment
from qwen_omni.tools.outcome import ToolOutcome, bounded, line
from qwen_omni.tools.steps import Bench, Local, Steps, Work
from qwen_omni.tools.summaries import gap_facts, gap_lines
from qwen_omni.video.answering import aask_video, ask_video
from qwen_omni.video.options import SummaryOptions
from qwen_omni.video.seams import gap_between, says_the_same
from qwen_omni.video.summary import FailedSegment

if TYPE_CHECKING:
    from qwen_omni.video.questioning import VideoAnswer

_WHOLE_SECONDS = 180  # up to this a file is asked about in one call, as long videos are everywhere here
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


class Moments(BaseModel):
    """All moments that were found."""

    moments: list[Moment] = Field(description="In order of time; empty if there is none.")

    @model_validator(mode="before")
    @classmethod
    def _read(cls, data: object, info: ValidationInfo) -> object:
        decide_unit(data, info.context)
        return data


def find_moment(bench: Bench, asked: FindMoment) -> Steps:
    """Find when something is seen or heard in a video or recording."""
    source = bench.folder.source(asked.path)
    info: MediaInfo = yield Local(lambda: bench.folder.probe(source))
    if info.kind == "image":
        raise UnsupportedMediaError("That is a picture; it has no moments. Use ask_video.")
    seconds = None if info.duration is None else float(info.duration)
    gaps: tuple[FailedSegment, ...] = ()
    if seconds is None or seconds <= _whole_seconds(bench, info):
        found = yield from _ask(bench, asked, source, info)
    else:
        found, gaps = yield from _through(bench, asked, source)
    last = max((one.end for one in found), default=0.0) if seconds is None else seconds
    kept = [replace_end(one, last) for one in merged(found) if one.start <= last]
    name = bench.folder.name_of(source)
    lines = [f"{one.start:.1f}-{one.end:.1f} s: {line(one.what)}" for one in kept]
    head = f"{len(kept)} in {name}:" if kept else f"Nothing of that in {name}."
    text = bounded([head, *gap_lines(bench, gaps), *lines], "Ask more narrowly.")
    facts = {"path": name, "moments": [one.model_dump() for one in kept], "gaps": gap_facts(bench, gaps)}
    return ToolOutcome(content=text, artifact=facts)


def _whole_seconds(bench: Bench, info: MediaInfo) -> float:
    """Return up to which length a file is asked about in one call: what the model takes, at most."""
    limits = profile_for(bench.model).limits
    return min(_WHOLE_SECONDS, limits.audio_seconds if info.kind == "audio" else limits.video_seconds)


def merged(found: list[Moment]) -> list[Moment]:
    """Put moments in order, and make one of those that touch and say the same: pieces overlap.

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
    """Keep a moment within the file, and its end behind its beginning."""
    return one.model_copy(update={"end": min(max(one.start, one.end), last)})


def _through(
    bench: Bench, asked: FindMoment, source: MediaSource
) -> Generator[Any, Any, tuple[list[Moment], tuple[FailedSegment, ...]]]:
    """Ask about a long file, several pieces at a time, from afar and again from near; what is finished is kept."""
    question, options = (
        _QUESTION.format(query=asked.query),
        SummaryOptions(model=bench.model, audio_track=asked.audio_track),
    )
    answer: VideoAnswer = yield Work(
        sync=lambda client, meter: ask_video(source, question, client=client, options=options, on_progress=meter.video),
        asynchronous=lambda client, meter: aask_video(
            source, question, client=client, options=options, on_progress=meter.video
        ),
    )
    noted = [note for findings in answer.findings for note in findings.evidence]
    return [Moment(start=one.start, end=one.end, what=one.text) for one in noted], answer.gaps


def _ask(bench: Bench, asked: FindMoment, source: MediaSource, info: MediaInfo) -> Generator[Any, Any, list[Moment]]:
    schema = read_schema(Moments)
    question = user(as_part(source, info.kind, audio_track=asked.audio_track), _TASK.format(query=asked.query))
    request = object_request(schema, question, model=bench.model)
    facts = {} if info.duration is None else {"duration": float(info.duration)}
    captioned = yield from ask_until_valid(CaptionPlan(request=request, schema=schema, facts=facts))
    told: Moments = captioned.value
    return [one.model_copy(update={"end": max(one.start, one.end)}) for one in told.moments]
