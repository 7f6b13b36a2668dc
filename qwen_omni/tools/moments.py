"""`find_moment`: when something is seen or heard. A long file is looked through piece by piece, one at a time."""

from collections.abc import Generator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field

from qwen_omni.ask import as_part
from qwen_omni.captions.run import CaptionOptions, CaptionPlan, ask_until_valid, caption_request
from qwen_omni.captions.schema import read_schema
from qwen_omni.errors import UnsupportedMediaError
from qwen_omni.media.info import MediaInfo
from qwen_omni.media.prepare import Choices, split
from qwen_omni.media.source import MediaSource
from qwen_omni.messages import user
from qwen_omni.tools.arguments import FindMoment
from qwen_omni.tools.outcome import ToolOutcome, bounded
from qwen_omni.tools.steps import Bench, Local, Steps

if TYPE_CHECKING:
    from qwen_omni.media.prepared import Prepared

_WHOLE_SECONDS = 180  # up to this a file is asked about in one call, as long videos are everywhere here
_PIECE_SECONDS = 90
_OVERLAP = 2
_MOST_PIECES = 240  # six hours
_TASK = (
    "Find every moment at which this is seen or heard: {query}\n"
    "Give start and end in seconds from the beginning of what you were sent. Give an empty list if it is not there."
)


class Moment(BaseModel):
    """A stretch of time in which something is seen or heard."""

    model_config = ConfigDict(frozen=True)

    start: float = Field(ge=0, description="Second at which it begins.")
    end: float = Field(ge=0, description="Second at which it ends.")
    what: str = Field(description="What is seen or heard then, in a few words.")


class Moments(BaseModel):
    """All moments that were found."""

    moments: list[Moment] = Field(description="In order of time; empty if there is none.")


def find_moment(bench: Bench, asked: FindMoment) -> Steps:
    """Find when something is seen or heard in a video or recording."""
    source = bench.folder.source(asked.path)
    info: MediaInfo = yield Local(lambda: bench.folder.probe(source))
    if info.kind == "image":
        raise UnsupportedMediaError("That is a picture; it has no moments. Use ask_video.")
    seconds = None if info.duration is None else float(info.duration)
    if seconds is None or seconds <= _WHOLE_SECONDS:
        found = yield from _ask(bench, asked, source, info, 0.0)
    else:
        found = yield from _through(bench, asked, source, info)
    last = max((one.end for one in found), default=0.0) if seconds is None else seconds
    kept = [replace_end(one, last) for one in merged(found) if one.start <= last]
    name = bench.folder.name_of(source)
    lines = [f"{one.start:.1f}-{one.end:.1f} s: {one.what}" for one in kept]
    text = bounded([f"{len(kept)} in {name}:", *lines], "Ask more narrowly.") if kept else f"Nothing of that in {name}."
    return ToolOutcome(content=text, artifact={"path": name, "moments": [one.model_dump() for one in kept]})


def merged(found: list[Moment]) -> list[Moment]:
    """Put moments in order, and make one of those that touch and say the same: pieces overlap.

    Example:
        >>> twice = [Moment(start=88, end=90, what="a dog"), Moment(start=89, end=92, what="a dog")]
        >>> [(one.start, one.end) for one in merged(twice)]
        [(88.0, 92.0)]
    """
    kept: list[Moment] = []
    for one in sorted(found, key=lambda moment: (moment.start, moment.end)):
        twin = next((old for old in kept if old.what == one.what and one.start <= old.end), None)
        if twin is None:
            kept.append(one)
        else:
            kept[kept.index(twin)] = twin.model_copy(update={"end": max(twin.end, one.end)})
    return kept


def replace_end(one: Moment, last: float) -> Moment:
    """Keep a moment within the file, and its end behind its beginning."""
    return one.model_copy(update={"end": min(max(one.start, one.end), last)})


def _through(
    bench: Bench, asked: FindMoment, source: MediaSource, info: MediaInfo
) -> Generator[Any, Any, list[Moment]]:
    """Ask about one piece after another; the next is prepared when its turn comes."""
    choices = Choices(model=bench.model, media_root=bench.folder.root, workers=1)
    pieces = split(source, seconds=_PIECE_SECONDS, overlap=_OVERLAP, choices=choices)
    found: list[Moment] = []
    try:
        for _ in range(_MOST_PIECES):
            piece: Prepared | None = yield Local(lambda: next(pieces, None))
            if piece is None:
                return found
            assert piece.path is not None
            own = MediaSource.from_path(piece.path, media_type=piece.info.media_type, trusted=True)
            found += yield from _ask(bench, asked, own, replace(piece.info, kind=info.kind), float(piece.start))
            piece.close()
    finally:
        pieces.close()
    return found


def _ask(
    bench: Bench, asked: FindMoment, source: MediaSource, info: MediaInfo, start: float
) -> Generator[Any, Any, list[Moment]]:
    schema = read_schema(Moments)
    question = user(as_part(source, info.kind), _TASK.format(query=asked.query))
    request = caption_request(schema, question, CaptionOptions(model=bench.model))
    captioned = yield from ask_until_valid(CaptionPlan(request=request, schema=schema))
    told: Moments = captioned.value
    return [
        one.model_copy(update={"start": one.start + start, "end": max(one.start, one.end) + start})
        for one in told.moments
    ]
