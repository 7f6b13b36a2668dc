"""The results of a long video: the summary, its chapters, everything that happened, and the cost."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from qwen_omni.errors import Gap
from qwen_omni.options import Tier
from qwen_omni.pricing.costs import Pricing, TokenCounts, own_pricing, pricing_for
from qwen_omni.profiles import has_profile
from qwen_omni.responses import Usage
from qwen_omni.settings import Settings, region_of
from qwen_omni.structured.schema import Frozen
from qwen_omni.structured.subtitles import to_srt, to_webvtt
from qwen_omni.video.export import markdown
from qwen_omni.video.options import Strategy
from qwen_omni.video.overlap import to_timeline
from qwen_omni.video.schemas import ChapterAnswer, SegmentNotes, TimedNote, VideoFacts

if TYPE_CHECKING:
    from qwen_omni.video.export.html import PageChoices


class Chapter(Frozen):
    """A time range of the video with one subject, in seconds."""

    start: float
    end: float
    title: str
    summary: str = ""

    @property
    def middle(self) -> float:
        """The second halfway through it."""
        return (self.start + self.end) / 2


class FailedSegment(Frozen):
    """A time range of the video without notes, and why."""

    segment: int
    start: float
    end: float
    reason: str


class Bill(Frozen):
    """Usage and cost of requests.

    Attributes:
        requests: number of answers.
        input_tokens: as reported by the service.
        output_tokens: as reported by the service.
        cached_tokens: those of `input_tokens` that the service's own cache held, which cost less.
        cny: yuan; `None` if a price is not known.
        usd: US dollars; `None` if a price is not known.
        notes: assumptions about prices.
    """

    requests: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    cny: float | None = 0.0
    usd: float | None = 0.0
    notes: tuple[str, ...] = ()


class VideoSummary(Frozen):
    """The summary of a long video. Times are seconds of the video.

    Attributes:
        video: facts about the video.
        summary: what happens and what it is about.
        chapters: in order of time.
        events: everything that happens, in order of time, without duplicates.
        on_screen_text: visible text, in order of time.
        speech: spoken text, in order of time.
        gaps: segments that failed permanently.
        language: code of the spoken language; empty if unknown.
        strategy: whether it was cut into segments, or sent in one call.
        segments: number of segments.
        model: the model that saw the video.
        text_model: the model that joined the notes; empty if there was a single call.
        this_run: usage and cost of this run.
        whole_run: the same including all earlier runs that this one resumed.
        notices: what you should know: truncated answers, times that were moved, answers that could not be stored.

    Example:
        from qwen_omni import summarize

        found = summarize("lecture.mp4")
        print(found.summary, found.to_youtube_chapters(), found.this_run.cny)
    """

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
        """Return Markdown: summary, chapters, events, gaps and cost."""
        return markdown.to_markdown(self)

    def to_srt(self) -> str:
        """Return the events as SubRip subtitles."""
        return to_srt(markdown.to_captions(self.events))

    def to_vtt(self) -> str:
        """Return the events as WebVTT subtitles."""
        return to_webvtt(markdown.to_captions(self.events))

    def to_youtube_chapters(self) -> str:
        """Return chapters as YouTube reads them in a description: the first at 0:00, each at least ten seconds."""
        return markdown.to_youtube_chapters(self)

    def to_html(self, path: str | Path | None = None, *, choices: "PageChoices | None" = None) -> str:
        """Return a web page that plays the video and jumps to each chapter and event; save it at `path`, if given.

        Args:
            path: where to save it; the player's file is addressed relative to it.
            choices: what the player plays, the title, and the number of images.

        Raises:
            ConfigurationError: jinja2 is not installed, or the player's address is not usable.
        """
        from qwen_omni.video.export.html import DEFAULT_CHOICES, to_html  # noqa: PLC0415 - jinja2 loads on first use

        return to_html(self, None if path is None else Path(path), choices or DEFAULT_CHOICES)

    def _repr_html_(self) -> str:
        from qwen_omni.video.export.cards import summary_card  # noqa: PLC0415 - only notebooks need it

        return summary_card(self).to_html()


class Paid(NamedTuple):
    """The usage of one answer, and what decides its price."""

    model: str
    usage: Usage
    tier: Tier = "standard"


def to_bill(paid: Iterable[Paid], settings: Settings) -> Bill:
    """Add up the usage of answers, at the prices of their models: the caller's own, else the region's."""
    used = list(paid)
    pricings = {(one.model, one.tier): pricing_of(one.model, settings, one.tier) for one in used}
    costs = [pricings[one.model, one.tier].cost(one.usage) for one in used]
    notes = [note for cost in costs for note in cost.notes if cost.cny is not None]
    strangers = sorted({model for (model, _), pricing in pricings.items() if not pricing.prices})
    notes += [f"the price of {name} is not known; it is not in the total" for name in strangers]
    priced = [cost for cost in costs if cost.cny is not None and cost.usd is not None]
    return Bill(
        requests=len(used),
        input_tokens=sum(one.usage.input_tokens for one in used),
        output_tokens=sum(one.usage.output_tokens for one in used),
        cached_tokens=sum(TokenCounts.of(one.usage).cached for one in used),
        cny=sum(cost.cny or 0.0 for cost in priced) if priced or not used else None,
        usd=sum(cost.usd or 0.0 for cost in priced) if priced or not used else None,
        notes=tuple(dict.fromkeys(notes)),
    )


def pricing_of(model: str, settings: Settings, tier: Tier | None = None) -> Pricing:
    """Return the prices of a model; the model that combines notes may be any model of the caller's."""
    prices, rate = settings.prices, settings.exchange_rate
    if settings.server_of(model).dialect != "dashscope":
        return pricing_for(settings.profile(model), prices=prices, rate=rate)
    if not has_profile(model):
        return own_pricing(model, prices=prices, rate=rate)
    return pricing_for(model, region_of(settings.base_url), prices=prices, rate=rate, batch=tier == "batch")


def arrange_chapters(chapters: Sequence[ChapterAnswer], *, start: float, end: float) -> tuple[Chapter, ...]:
    """Sort chapters; each ends where the next begins, and all lie inside the video.

    Example:
        >>> chapters = [ChapterAnswer(start=60, title="B"), ChapterAnswer(start=0, title="A")]
        >>> [(one.start, one.end) for one in arrange_chapters(chapters, start=0, end=90)]
        [(0.0, 60.0), (60.0, 90.0)]
        >>> arrange_chapters([], start=0, end=90)
        ()
    """
    ordered = sorted(chapters, key=lambda one: one.start)
    starts = [min(max(one.start, start), end) for one in ordered]
    ends = [*starts[1:], end] if starts else []
    return tuple(
        Chapter(start=first, end=last, title=one.title.strip(), summary=one.summary.strip())
        for one, first, last in zip(ordered, starts, ends, strict=True)
    )


def gaps_of(gaps: Iterable[Gap]) -> tuple[FailedSegment, ...]:
    """Return the failed segments, in order."""
    failed = sorted(gaps, key=lambda gap: gap.index)
    return tuple(FailedSegment(segment=gap.index, start=gap.start, end=gap.end, reason=gap.reason) for gap in failed)


def summary_fields(
    notes: Sequence[SegmentNotes], reports: Sequence[str] = (), *, summary_cut: bool = False
) -> dict[str, object]:
    """Return the fields of a summary that come from the notes alone, with notices of truncation and other problems."""
    timeline = to_timeline(notes)
    languages = [one.language for one in notes if one.language]
    notices = [
        f"The answer about {one.start:g} s to {one.end:g} s was truncated; its last entries may be missing."
        for one in notes
        if one.truncated
    ]
    if summary_cut:
        notices.append("The answer that combines the notes was truncated; the last chapters may be missing.")
    moved = sum(one.moved_times for one in notes)
    if moved:
        notices.append(f"{moved} times were outside their segment and were moved to its start or end.")
    return {
        "events": timeline.events, "on_screen_text": timeline.on_screen_text, "speech": timeline.speech,
        "language": max(set(languages), key=languages.count, default=""), "notices": (*notices, *reports),
    }  # fmt: skip
