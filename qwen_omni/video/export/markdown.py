"""A summary as text for other programs and people: Markdown, subtitles, YouTube chapters. Pure."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from qwen_omni.redact import clean
from qwen_omni.structured.timed import TimedCaption
from qwen_omni.video.schemas import TimedNote, clock

if TYPE_CHECKING:
    from qwen_omni.video.results import Bill, VideoSummary

_SHORTEST_CHAPTER = 10.0  # seconds; YouTube ignores all chapters if one is shorter (its help page, read 2026)
_ANGLES = {ord("<"): "\u2039", ord(">"): "\u203a"}
_SHOWN = 3.0  # seconds that an event without length is shown


def to_captions(notes: Iterable[TimedNote]) -> list[TimedCaption]:
    """Return entries as captions; one without length is shown for three seconds."""
    return [
        TimedCaption(start=note.start, end=note.end if note.end > note.start else note.start + _SHOWN, text=note.text)
        for note in notes
        if note.text.strip()
    ]


def to_youtube_chapters(summary: "VideoSummary") -> str:
    """Return chapters as lines of a video's description.

    Chapters too short for YouTube are merged with the previous one; both titles are kept.
    """
    lines: list[tuple[float, str]] = []
    for chapter in summary.chapters:
        if lines and chapter.start - lines[-1][0] < _SHORTEST_CHAPTER:
            lines[-1] = (lines[-1][0], f"{lines[-1][1]} / {_title(chapter.title)}")
        else:
            lines.append((chapter.start if lines else 0.0, _title(chapter.title)))
    end = summary.video.duration
    if len(lines) > 1 and end is not None and end - lines[-1][0] < _SHORTEST_CHAPTER:
        (_, last), (at, title) = lines.pop(), lines[-1]
        lines[-1] = (at, f"{title} / {last}")
    return "\n".join(f"{clock(start)} {title}" for start, title in lines)


def to_markdown(summary: "VideoSummary") -> str:
    """Return the whole summary as Markdown."""
    length = "" if summary.video.duration is None else f" ({clock(summary.video.duration)})"
    lines = [f"# {_line(summary.video.source)}{length}", "", clean(summary.summary.strip(), "markdown"), ""]
    if summary.chapters:
        lines += ["## Chapters", ""]
        for chapter in summary.chapters:
            summary_text = f": {_line(chapter.summary)}" if chapter.summary else ""
            lines.append(f"- **{clock(chapter.start)} {_line(chapter.title)}**{summary_text}")
        lines.append("")
    for title, notes in (
        ("Events", summary.events), ("Text on screen", summary.on_screen_text), ("Speech", summary.speech),
    ):  # fmt: skip
        if notes:
            lines += [f"## {title}", "", *(f"- {clock(note.start)} {_line(note.text)}" for note in notes), ""]
    if summary.gaps:
        lines += ["## Gaps", ""]
        lines += [f"- {clock(gap.start)} to {clock(gap.end)}: {_line(gap.reason)}" for gap in summary.gaps]
        lines.append("")
    lines += ["## Cost", "", *(f"- {_line(text)}" for text in (*bill_texts(summary), *summary.notices))]
    return "\n".join(lines) + "\n"


def bill_texts(summary: "VideoSummary") -> list[str]:
    """Return the usage and cost of this run, and those including earlier runs, if there were any."""
    texts = [f"this run: {bill_text(summary.this_run)}"]
    if summary.whole_run != summary.this_run:
        texts.append(f"with earlier runs: {bill_text(summary.whole_run)}")
    return texts


def bill_text(bill: "Bill") -> str:
    """Format usage and cost.

    Example:
        >>> from qwen_omni.video.results import Bill
        >>> bill_text(Bill(requests=2, input_tokens=1500, output_tokens=20, cny=0.0123, usd=0.0017))
        '2 requests, 1,500 tokens in, 20 out, CNY 0.0123 (USD 0.0017)'
    """
    requests = counted(bill.requests, "request")
    cached = f" ({bill.cached_tokens:,} cached)" if bill.cached_tokens else ""
    tokens = f"{requests}, {bill.input_tokens:,} tokens in{cached}, {bill.output_tokens:,} out"
    if bill.cny is None or bill.usd is None:
        return f"{tokens}, price not known"
    return f"{tokens}, CNY {bill.cny:.4g} (USD {bill.usd:.4g})"


def counted(count: int, name: str) -> str:
    """Return a number with its noun.

    Example:
        >>> counted(1, "chapter"), counted(1200, "event")
        ('1 chapter', '1,200 events')
    """
    return f"{count:,} {name}{'' if count == 1 else 's'}"


def _line(text: str) -> str:
    return clean(text, "markdown", one_line=True)


def _title(text: str) -> str:
    # YouTube takes no angle brackets in a description (its help page, read 2026).
    return clean(text, "terminal", one_line=True).translate(_ANGLES)
