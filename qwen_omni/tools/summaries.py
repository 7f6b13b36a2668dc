"""`summarize_video`: what a video of any length is about, by the engine for long ones, which keeps what is finished."""

from typing import TYPE_CHECKING

from qwen_omni.errors import UnsupportedMediaError
from qwen_omni.tools.arguments import SummarizeVideo
from qwen_omni.tools.outcome import ToolOutcome, bounded, line
from qwen_omni.tools.steps import Bench, Local, Steps, Work
from qwen_omni.video.options import SummaryOptions
from qwen_omni.video.summarizing import asummarize, summarize
from qwen_omni.video.summary import FailedSegment, VideoSummary

if TYPE_CHECKING:
    from qwen_omni.media.info import MediaInfo

_ADVICE = "Summarise a part of it with start and end."


def summarize_video(bench: Bench, asked: SummarizeVideo) -> Steps:
    """Summarise a video or a recording."""
    source = bench.folder.source(asked.path)
    info: MediaInfo = yield Local(lambda: bench.folder.probe(source))
    if info.kind == "image":
        raise UnsupportedMediaError("That is a picture. Use ask_video or caption_video.")
    options = SummaryOptions(
        model=bench.model, start=asked.start, end=asked.end, wish=asked.focus, audio_track=asked.audio_track
    )
    found: VideoSummary = yield Work(
        sync=lambda client, meter: summarize(source, client=client, options=options, on_progress=meter.video),
        asynchronous=lambda client, meter: asummarize(source, client=client, options=options, on_progress=meter.video),
    )
    name = bench.folder.name_of(source)
    chapters = [
        f"{one.start:.1f}-{one.end:.1f} s: {line(one.title)}. {line(one.summary)}".rstrip() for one in found.chapters
    ]
    lines = [
        *found.summary.splitlines(),
        *(["Chapters:", *chapters] if chapters else []),
        *gap_lines(bench, found.gaps),
    ]
    facts = {
        "path": name,
        "duration": found.video.duration,
        "summary": found.summary,
        "chapters": [one.model_dump(mode="json") for one in found.chapters],
        "gaps": gap_facts(bench, found.gaps),
    }
    return ToolOutcome(content=bounded([f"{name}:", *lines], _ADVICE), artifact=facts)


def gap_lines(bench: Bench, gaps: tuple[FailedSegment, ...]) -> list[str]:
    """Tell which seconds nothing is known of."""
    return [f"[Nothing is known of {one.start:.1f}-{one.end:.1f} s: {bench.told(one.reason)}]" for one in gaps]


def gap_facts(bench: Bench, gaps: tuple[FailedSegment, ...]) -> list[dict[str, object]]:
    """Give the same as plain values."""
    return [{"start": one.start, "end": one.end, "reason": bench.told(one.reason)} for one in gaps]
