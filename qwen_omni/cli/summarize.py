"""`qwen-omni summarize`: summary, subtitles, chapters and a page of a video of any length; or an answer about it."""

from collections.abc import Generator
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Literal, TypeVar

import typer

from qwen_omni._moved import GONE
from qwen_omni.cli.output import (
    EFFORTS,
    TIERS,
    WAYS,
    AudioTrack,
    SegmentSeconds,
    ServiceRegion,
    ServiceUrl,
    ServiceWorkspace,
    Thinking,
    check_targets,
    choose,
    one_form,
    one_line,
    settings_for,
    show_note,
    show_table,
    show_text,
    steps_bar,
    write_file,
    write_json,
    write_text,
    writing,
)
from qwen_omni.client import OmniClient
from qwen_omni.errors import ConfigurationError
from qwen_omni.media.info import read_audio_track
from qwen_omni.media.plan.segments import DEFAULT_SECONDS
from qwen_omni.profiles import DEFAULT_MODEL, DEFAULT_TEXT_MODEL
from qwen_omni.settings import Settings
from qwen_omni.video.ask import stream_either
from qwen_omni.video.engine.run import Progress, last_of
from qwen_omni.video.export.markdown import bill_text, bill_texts
from qwen_omni.video.forecast import forecast
from qwen_omni.video.options import SummaryOptions
from qwen_omni.video.results import VideoSummary
from qwen_omni.video.schemas import clock
from qwen_omni.video.tasks import VideoAnswer

T = TypeVar("T")
Form = Literal["text", "json", "youtube"]
_OUT_HELP = "Folder for files; default: next to the video. Files of the same name are replaced."
_DETAIL, _STRATEGY = "medium", "map_reduce"
_ENDINGS = {"srt": "srt", "vtt": "vtt", "html": "html", "markdown": "md"}
_ReuseUnverified = Annotated[
    bool, typer.Option("--reuse-unverified", help="Reuse answers of older versions, whichever service gave them.")
]


def summarize(  # noqa: PLR0913  (each argument is an option of the command)
    media: Annotated[str, typer.Argument(metavar="FILE", help="A local video or recording.")],
    *,
    question: Annotated[str | None, typer.Option("--question", "-q", help="Answer this instead of a summary.")] = None,
    srt: Annotated[bool, typer.Option("--srt", help="Write the events as SubRip subtitles.")] = False,
    vtt: Annotated[bool, typer.Option("--vtt", help="Write the events as WebVTT subtitles.")] = False,
    html: Annotated[bool, typer.Option("--html", help="Write a web page that plays the video.")] = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="Write everything as Markdown.")] = False,
    youtube: Annotated[bool, typer.Option("--youtube", help="Print chapters for a video's description.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print everything as one JSON object.")] = False,
    out: Annotated[Path | None, typer.Option(help=_OUT_HELP)] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the cost of each strategy; send nothing.")] = False,
    model: Annotated[str, typer.Option("--model", "-m", help="The model for the segments.")] = DEFAULT_MODEL,
    text_model: Annotated[str, typer.Option(help="The model that merges the notes.")] = DEFAULT_TEXT_MODEL,
    language: Annotated[str | None, typer.Option(help="Language of the texts, as free text.")] = None,
    focus: Annotated[str | None, typer.Option(help="What to focus on.")] = None,
    wish: Annotated[str | None, typer.Option(hidden=True, help="The old name of --focus.")] = None,
    detail: Annotated[str, typer.Option(help="low, medium or high: 0.5, 1 or 2 frames per second.")] = _DETAIL,
    strategy: Annotated[str, typer.Option(help="map_reduce, single or auto.")] = _STRATEGY,
    seconds: SegmentSeconds = int(DEFAULT_SECONDS),
    overlap: Annotated[float, typer.Option(help="Seconds that a segment shares with the next one.")] = 2,
    start: Annotated[float | None, typer.Option(help="Start, in seconds.")] = None,
    end: Annotated[float | None, typer.Option(help="End, in seconds.")] = None,
    audio_track: AudioTrack = "auto",
    thinking: Thinking = "off",
    tier: Annotated[str | None, typer.Option(help="batch: half price for the steps without media.")] = None,
    concurrency: Annotated[int, typer.Option("--concurrency", "-j", help="Number of requests at a time.")] = 8,
    max_gaps: Annotated[int | None, typer.Option(help="Number of segments that may fail permanently.")] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Ignore the checkpoint and request everything again.")] = False,
    reuse_unverified: _ReuseUnverified = False,
    delivery: Annotated[str | None, typer.Option(help=f"One of {', '.join(WAYS)}.")] = None,
    region: ServiceRegion = None,
    workspace: ServiceWorkspace = None,
    base_url: ServiceUrl = None,
) -> None:
    """Summarise a video of any length, or answer a question about it.

    Every finished segment is stored at once: an interrupted run resumes where it stopped, and nothing is paid twice.
    The key is read from DASHSCOPE_API_KEY.
    """
    files = {"srt": srt, "vtt": vtt, "html": html, "markdown": markdown}
    if question is not None:
        changed = {"out": out is not None, "detail": detail != _DETAIL, "strategy": strategy != _STRATEGY}
        _refuse_with_question({**files, "youtube": youtube, "dry-run": dry_run, **changed})
    form: Form = one_form({"json": as_json, "youtube": youtube}, "text")
    options = SummaryOptions(
        model=model, text_model=text_model, language=language, focus=_focus(focus, wish), detail=detail,  # type: ignore[arg-type]
        strategy=strategy, segment_seconds=seconds, overlap=overlap, start=start, end=end,  # type: ignore[arg-type]
        concurrency=concurrency, max_gaps=max_gaps, thinking=choose("thinking", thinking, EFFORTS) or False,
        tier=choose("tier", tier, TIERS), audio_track=read_audio_track(audio_track),
        checkpoint=not fresh, reuse_unverified=reuse_unverified,
    )  # fmt: skip
    settings = settings_for(region, base_url, workspace, delivery, needs_key=not dry_run)
    targets = _checked_targets(media, out, [ending for ending, on in files.items() if on])
    if dry_run:
        _show_forecast(media, settings, options)
        return
    with OmniClient(settings) as client:
        coming = stream_either(media, question, client=client, options=options)
        ended: tuple[VideoSummary | VideoAnswer, set[str]] = _followed(coming)
    _show(*ended, form, targets)


def _focus(focus: str | None, wish: str | None) -> str | None:
    if wish is None:
        return focus
    if focus is not None:
        raise ConfigurationError("--wish is the old name of --focus; pass --focus only.")
    show_note(f"--wish is now --focus; {GONE} removes the old name.")
    return wish


def _show(found: VideoSummary | VideoAnswer, noted: set[str], form: Form, targets: dict[str, Path]) -> None:
    """Print an answer, or print a summary and write its files."""
    if isinstance(found, VideoAnswer):
        _show_answer(found, form, noted)
        return
    try:
        _show_summary(found, form, noted)
    finally:  # even if the reader of the output has exited
        write_files(found, targets)


def _refuse_with_question(given: dict[str, bool]) -> None:
    """Reject options that would have no effect.

    Raises:
        ConfigurationError: one was given.
    """
    names = [name for name, on in given.items() if on]
    if names:
        raise ConfigurationError(
            f"--question and --{' and --'.join(names)} exclude each other: a question is answered instead of a "
            "summary, and determines the level of detail itself."
        )


def _followed(coming: Generator[Progress | T, None, None]) -> tuple[T, set[str]]:
    """Show the progress of a run; return its result, and the notes shown meanwhile."""
    noted: set[str] = set()
    with steps_bar("segments") as show:

        def on_progress(news: Progress) -> None:
            if news.kind in ("planned", "notice", "gap"):
                show_note(news.text)
                noted.add(news.text)
            show(news.done, news.segments, f"{news.input_tokens + news.output_tokens:,} tokens")

        return last_of(coming, on_progress), noted


def _checked_targets(media: str, out: Path | None, forms: list[str]) -> dict[str, Path]:
    """Return where the files go (next to the video, or into a folder), once each of them can be written.

    Raises:
        ConfigurationError: a folder is missing or not writable, or a page needs a package that is not installed.
    """
    video = Path(media)
    folder = video.parent if out is None else out
    targets = {form: folder / f"{video.stem}.{_ENDINGS[form]}" for form in forms}
    check_targets(targets.values())
    if "html" in forms and find_spec("jinja2") is None:
        raise ConfigurationError("--html needs an extra package: pip install 'qwen-omni[cli]'")
    return targets


def write_files(found: VideoSummary, targets: dict[str, Path]) -> None:
    """Write the requested files.

    Raises:
        ConfigurationError: one of them cannot be written.
    """
    texts = {"srt": found.to_srt, "vtt": found.to_vtt, "markdown": found.to_markdown}
    for form, path in targets.items():
        if form in texts:
            write_file(path, texts[form]())
        else:
            with writing(path) as file:
                found.to_html(file)
        show_note(f"wrote {one_line(str(path))}")


def _show_summary(found: VideoSummary, form: Form, noted: set[str]) -> None:
    if form == "json":
        write_json(found.model_dump(mode="json"), indent=2)
        return
    if form == "youtube":
        write_text(found.to_youtube_chapters() + "\n")
        return
    show_text(found.summary)
    if found.chapters:
        rows = [(clock(one.start), one.title, one.summary) for one in found.chapters]
        show_table(("from", "chapter", "about"), rows, lines=False)
    for gap in found.gaps:
        show_note(f"gap from {clock(gap.start)} to {clock(gap.end)}: {gap.reason}")
    for notice in (*found.notices, *found.this_run.notes):
        if notice not in noted:
            show_note(notice)
    for bill in bill_texts(found):
        show_note(bill)


def _show_answer(found: VideoAnswer, form: Form, noted: set[str]) -> None:
    if form == "json":
        write_json(found.model_dump(mode="json"), indent=2)
        return
    show_text(found.answer)
    show_table(("at", "evidence"), [(clock(one.time), one.text) for one in found.evidence], lines=False)
    for notice in found.notices:
        if notice not in noted:
            show_note(notice)
    show_note(f"this run: {bill_text(found.this_run)}")


def _show_forecast(media: str, settings: Settings, options: SummaryOptions) -> None:
    rows = []
    for one in forecast(media, settings, options):
        bill = one.bill
        money = "not known" if bill.cny is None else f"CNY {bill.cny:.3f} (USD {bill.usd or 0:.3f})"
        name = f"{one.strategy}, {one.detail}"
        rows.append(
            ("→" if one.chosen else "", name, f"{one.segments}", f"{bill.input_tokens:,}", f"{bill.output_tokens:,}",
             money, f"{one.seconds:,.0f} s")
        )  # fmt: skip
    show_table(("", "way", "requests", "tokens in", "tokens out", "cost", "time"), rows, lines=False)
    show_note("Nothing was sent. Times and output tokens are guesses; input tokens follow the service's formulas.")
