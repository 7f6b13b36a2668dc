"""What notebooks show for a summary and for an answer about a video: thumbnails, times, cost."""

from pathlib import Path
from typing import TYPE_CHECKING

from qwen_omni.notebook import MOST_IMAGES, MOST_ROWS, Card, Row
from qwen_omni.video.export.markdown import bill_text, bill_texts, counted
from qwen_omni.video.export.thumbnails import thumbnails
from qwen_omni.video.schemas import VideoFacts, clock

if TYPE_CHECKING:
    from qwen_omni.video.results import FailedSegment, VideoSummary
    from qwen_omni.video.tasks import VideoAnswer


def summary_card(summary: "VideoSummary") -> Card:
    """Return the card of a summary: its text, its chapters with images, what is missing, and the cost."""
    chapters = summary.chapters
    images = _images(summary.video, [one.middle for one in chapters[:MOST_ROWS]])
    facts = [counted(len(some), name) for some, name in ((chapters, "chapter"), (summary.events, "event")) if some]
    return Card(
        title=Path(summary.video.source).name or summary.video.source,
        facts=[*_length(summary.video), *facts, *filter(None, [summary.model])],
        text=summary.summary,
        rows=[
            Row((clock(one.start), f"{one.title}\n{one.summary}".strip()), images.pop(one.middle, ""))
            for one in chapters
        ],
        warnings=_gaps(summary.gaps),
        notes=[*bill_texts(summary), *summary.notices, *summary.this_run.notes],
    )


def answer_card(answer: "VideoAnswer") -> Card:
    """Return the card of an answer: its text, the moments that support it with images, and the cost."""
    times = [one.time for one in answer.evidence[:MOST_ROWS]]
    images = _images(answer.video, times)
    return Card(
        title=answer.question,
        facts=[Path(answer.video.source).name or answer.video.source, *_length(answer.video)],
        text=answer.answer,
        rows=[Row((clock(one.time), one.text), images.pop(one.time, "")) for one in answer.evidence],
        warnings=_gaps(answer.gaps),
        notes=[f"this run: {bill_text(answer.this_run)}", *answer.notices],
    )


def _length(video: VideoFacts) -> list[str]:
    return [] if video.duration is None else [clock(video.duration)]


def _images(video: VideoFacts, times: list[float]) -> dict[float, str]:
    """Return small images of some of the moments, evenly spread; each is shown once."""
    if video.kind == "audio" or not times:
        return {}
    step = -(-len(times) // MOST_IMAGES)
    return dict(thumbnails(Path(video.source), dict.fromkeys(times[::step]), side=160))


def _gaps(gaps: "tuple[FailedSegment, ...]") -> list[str]:
    return [f"No notes from {clock(gap.start)} to {clock(gap.end)}: {gap.reason}" for gap in gaps]
