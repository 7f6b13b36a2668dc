"""What comes out of a long video: the summary, its chapters, everything that happened, and what that has cost."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict

from qwen_omni.errors import Gap
from qwen_omni.pricing.costs import Pricing, own_pricing, pricing_for
from qwen_omni.profiles import has_profile
from qwen_omni.responses import Usage
from qwen_omni.settings import Settings, region_of
from qwen_omni.video.export import markdown
from qwen_omni.video.options import Strategy
from qwen_omni.video.overlap import to_timeline
from qwen_omni.video.schemas import ChapterAnswer, SegmentNotes, TimedNote, VideoFacts

if TYPE_CHECKING:
    from qwen_omni.video.export.html import PageChoices


class Chapter(BaseModel):
    """A stretch of the video with one subject, in seconds."""

    model_config = ConfigDict(frozen=True)

    start: float
    end: float
    title: str
    summary: str = ""


class FailedSegment(BaseModel):
    """A stretch of the video that nothing is known of, and why."""

    model_config = ConfigDict(frozen=True)

    segment: int
    start: float
    end: float
    reason: str


class Bill(BaseModel):
    """What requests have used and cost.

    Attributes:
        requests: answers that came.
        input_tokens: as the service told.
        output_tokens: as the service told.
        cny: yuan; `None` where a price is not known.
        usd: dollars; `None` where a price is not known.
        notes: what was assumed about prices.
    """

    model_config = ConfigDict(frozen=True)

    requests: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cny: float | None = 0.0
    usd: float | None = 0.0
    notes: tuple[str, ...] = ()


class VideoSummary(BaseModel):
    """A long video, summarised. Times are seconds of the video.

    Attributes:
        video: the facts of the video.
        summary: what happens and what it is about.
        chapters: in order of time.
        events: everything that happens, in order of time, each once.
        on_screen_text: what can be read, in order of time.
        speech: what is said, in order of time.
        gaps: segments that failed for good.
        language: code of the language that is spoken; empty if unknown.
        strategy: whether it was cut, or seen in one call.
        segments: how many pieces it was seen in.
        model: what looked.
        text_model: what joined the notes; empty where one call did it all.
        this_run: what this run has used and cost.
        whole_run: the same with all earlier runs that this one went on from.
        notices: what somebody should know: answers cut short, times that were moved, answers that could not be kept.

    Example:
        from qwen_omni import summarize

        found = summarize("lecture.mp4")
        print(found.summary, found.to_youtube_chapters(), found.this_run.cny)
    """

    model_config = ConfigDict(frozen=True)

    video: VideoFacts
    summary: str
    chapters: tuple[Chapter, ...] = ()
    events: tuple[TimedNote, ...] = ()
    on_screen_text: tuple[TimedNote, ...] = ()
    speech: tuple[TimedNote, ...] = ()
    gaps: tuple[FailedSegment, ...] = ()
    language: str = ""
    strategy: Strategy = "map_reduce"
    segments: int = 1
    model: str = ""
    text_model: str = ""
    this_run: Bill = Bill()
    whole_run: Bill = Bill()
    notices: tuple[str, ...] = ()

    def to_markdown(self) -> str:
        """Write it for reading: summary, chapters, events, gaps and cost."""
        return markdown.to_markdown(self)

    def to_srt(self) -> str:
        """Write the events as SubRip subtitles."""
        return markdown.to_subtitles(self, "srt")

    def to_vtt(self) -> str:
        """Write the events as WebVTT subtitles."""
        return markdown.to_subtitles(self, "vtt")

    def to_youtube_chapters(self) -> str:
        """Write the chapters as YouTube reads them in a description: the first at 0:00, ten seconds each at least."""
        return markdown.to_youtube_chapters(self)

    def to_html(self, path: str | Path | None = None, *, choices: "PageChoices | None" = None) -> str:
        """Write one page that plays the video and jumps to every chapter and event; give it, and save it at `path`.

        Args:
            path: where to save it; the player's file is named from there.
            choices: what the player plays, a title, how many pictures.

        Raises:
            ConfigurationError: jinja2 is not installed, or the player's address is of no use.
        """
        from qwen_omni.video.export.html import DEFAULT_CHOICES, to_html  # noqa: PLC0415 - jinja2 loads on first use

        return to_html(self, None if path is None else Path(path), choices or DEFAULT_CHOICES)


def to_bill(paid: Iterable[tuple[str, Usage]], settings: Settings) -> Bill:
    """Add up what answers have used, at the prices of their models: the caller's own, else the region's."""
    used = list(paid)
    pricings = {model: _pricing(model, settings) for model, _ in used}
    costs = [pricings[model].cost(usage) for model, usage in used]
    notes = [note for cost in costs for note in cost.notes if cost.cny is not None]
    strangers = sorted(model for model, pricing in pricings.items() if not pricing.prices)
    notes += [f"no price of {name} is known; it is not in the sum" for name in strangers]
    priced = [cost for cost in costs if cost.cny is not None and cost.usd is not None]
    return Bill(
        requests=len(used),
        input_tokens=sum(usage.input_tokens for _, usage in used),
        output_tokens=sum(usage.output_tokens for _, usage in used),
        cny=sum(cost.cny or 0.0 for cost in priced) if priced or not used else None,
        usd=sum(cost.usd or 0.0 for cost in priced) if priced or not used else None,
        notes=tuple(dict.fromkeys(notes)),
    )


def _pricing(model: str, settings: Settings) -> Pricing:
    """Find the prices of a model; what joins notes may be any model of the caller's."""
    prices, rate = settings.prices, settings.exchange_rate
    if not has_profile(model):
        return own_pricing(model, prices=prices, rate=rate)
    return pricing_for(model, region_of(settings.base_url), prices=prices, rate=rate)


def arrange_chapters(told: Sequence[ChapterAnswer], *, start: float, end: float) -> tuple[Chapter, ...]:
    """Put chapters in order; each ends where the next begins, and none lies outside of the video.

    Example:
        >>> told = [ChapterAnswer(start=60, title="B"), ChapterAnswer(start=0, title="A")]
        >>> [(one.start, one.end) for one in arrange_chapters(told, start=0, end=90)]
        [(0.0, 60.0), (60.0, 90.0)]
        >>> arrange_chapters([], start=0, end=90)
        ()
    """
    ordered = sorted(told, key=lambda one: one.start)
    starts = [min(max(one.start, start), end) for one in ordered]
    ends = [*starts[1:], end] if starts else []
    return tuple(
        Chapter(start=first, end=last, title=one.title.strip(), summary=one.summary.strip())
        for one, first, last in zip(ordered, starts, ends, strict=True)
    )


def gaps_of(gaps: Iterable[Gap]) -> tuple[FailedSegment, ...]:
    """Tell which segments failed, in order."""
    told = sorted(gaps, key=lambda gap: gap.index)
    return tuple(FailedSegment(segment=gap.index, start=gap.start, end=gap.end, reason=gap.reason) for gap in told)


def told_by(
    notes: Sequence[SegmentNotes], reports: Sequence[str] = (), *, summary_cut: bool = False
) -> dict[str, object]:
    """Return the fields of a summary that come from notes alone, with what was cut and what else is to be reported."""
    timeline = to_timeline(notes)
    languages = [one.language for one in notes if one.language]
    notices = [
        f"The answer about {one.start:g} s to {one.end:g} s was cut short; what came last may be missing."
        for one in notes
        if one.truncated
    ]
    if summary_cut:
        notices.append("The answer that joins the notes was cut short; the last chapters may be missing.")
    moved = sum(one.moved_times for one in notes)
    if moved:
        notices.append(f"{moved} times lay outside of their segment and were moved to its border.")
    return {
        "events": timeline.events, "on_screen_text": timeline.on_screen_text, "speech": timeline.speech,
        "language": max(set(languages), key=languages.count, default=""), "notices": (*notices, *reports),
    }  # fmt: skip
