"""`qwen-omni summarize`: summaries, subtitles, chapters and pages of videos of any length; or answers about them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from qwen_omni._moved import GONE
from qwen_omni.cli.human import money_text, seconds_text
from qwen_omni.cli.options import (
    DETAILS,
    EFFORTS,
    SERVICE,
    TIERS,
    WAYS,
    AudioTrack,
    CallTier,
    Concurrency,
    End,
    ModelName,
    Overlap,
    Start,
    Thinking,
    check_files,
    choose,
    one_form,
    option,
    read_place,
    sharing,
)
from qwen_omni.cli.output import (
    end_with,
    failed_entry,
    one_line,
    show_note,
    show_table,
    show_text,
    steps_bar,
    waiting,
    write_json,
    write_text,
)
from qwen_omni.client import OmniClient
from qwen_omni.errors import ConfigurationError, QwenOmniError
from qwen_omni.media.files.output import check_targets, named_after, write_file, writing
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

_Found = VideoSummary | VideoAnswer
Form = Literal["text", "json", "youtube"]
_OUT_HELP = "Folder for files; default: next to each video. Files of the same name are replaced."
_DETAIL, _STRATEGY = "medium", "map_reduce"
_STRATEGIES = {name: name for name in (_STRATEGY, "single", "auto")}
_ANSWERED = "a question is answered instead of a summary, and determines the level of detail itself."
_ENDINGS = {"srt": "srt", "vtt": "vtt", "html": "html", "markdown": "md"}
_Question = Annotated[str | None, option("Answer this instead of a summary.", "TEXT", "--question", "-q")]
_AsJson = Annotated[
    bool, typer.Option("--json", help="Print everything as a JSON object, or an array for several files.")
]
_Detail = Annotated[str, option("low, medium or high: 0.5, 1 or 2 frames per second.", "LEVEL", choices=DETAILS)]
_Strategy = Annotated[str, option("map_reduce (in segments), single or auto.", "NAME", choices=_STRATEGIES)]
_Seconds = Annotated[
    float | None,
    option(
        f"Maximum length of a segment, overlap included; default: {DEFAULT_SECONDS}. Shorter videos go in one request.",
        "SECONDS",
    ),
]
_MaxGaps = Annotated[int | None, option("Segments that may fail; default: a tenth of them, at least one.", "NUMBER")]
_Delivery = Annotated[
    str | None, option(f"How segments reach the service: {', '.join(WAYS)}.", "NAME", panel=SERVICE, choices=WAYS)
]
_ReuseUnverified = Annotated[
    bool, typer.Option("--reuse-unverified", help="Reuse answers of older versions, whichever service gave them.")
]


@dataclass(slots=True, kw_only=True)
class _Run:
    """One file of the command: its result or error, the notes shown meanwhile, and the files to write."""

    media: str
    targets: dict[str, Path]
    found: _Found | None = None
    error: QwenOmniError | None = None
    noted: set[str] = field(default_factory=set)


@sharing(service=read_place)
def summarize(  # noqa: PLR0913  (each argument is an option of the command)
    media: Annotated[list[str], typer.Argument(metavar="FILE", help="Local videos or recordings.")],
    *,
    question: _Question = None,
    focus: Annotated[str | None, option("What to focus on.", "TEXT")] = None,
    wish: Annotated[str | None, typer.Option(hidden=True, help="The old name of --focus.")] = None,
    language: Annotated[str | None, option("Language of the texts, in words.", "TEXT")] = None,
    srt: Annotated[bool, typer.Option("--srt", help="Write the events as SubRip subtitles.")] = False,
    vtt: Annotated[bool, typer.Option("--vtt", help="Write the events as WebVTT subtitles.")] = False,
    html: Annotated[bool, typer.Option("--html", help="Write a web page that plays the video.")] = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="Write everything as Markdown.")] = False,
    out: Annotated[Path | None, option(_OUT_HELP, "FOLDER")] = None,
    youtube: Annotated[bool, typer.Option("--youtube", help="Print chapters for a video's description.")] = False,
    as_json: _AsJson = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what each strategy costs; send nothing.")] = False,
    model: ModelName = DEFAULT_MODEL,
    text_model: Annotated[str, option("Model that combines the notes.", "NAME")] = DEFAULT_TEXT_MODEL,
    detail: _Detail = _DETAIL,
    strategy: _Strategy = _STRATEGY,
    seconds: _Seconds = None,
    overlap: Overlap = 2,
    thinking: Thinking = "off",
    tier: CallTier = None,
    concurrency: Concurrency = 8,
    max_gaps: _MaxGaps = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Ask about everything again, and store nothing.")] = False,
    reuse_unverified: _ReuseUnverified = False,
    start: Start = None,
    end: End = None,
    audio_track: AudioTrack = "auto",
    delivery: _Delivery = None,
    service: Callable[..., Settings],
) -> None:
    """Summarise videos of any length, or answer a question about them.

    Every finished segment is stored at once: an interrupted run resumes where it stopped, and nothing is paid for
    twice. Several files are processed one after the other. If one fails, the others are printed all the same, and the
    exit code is 1.
    """
    check_files(media, "summarize")
    files = {"srt": srt, "vtt": vtt, "html": html, "markdown": markdown}
    if question is not None:
        if not question.strip():
            raise ConfigurationError("--question is empty. Leave it out for a summary.")
        changed = {"out": out is not None, "detail": detail != _DETAIL, "strategy": strategy != _STRATEGY}
        _refuse_with("question", {**files, "youtube": youtube, "dry-run": dry_run, **changed}, _ANSWERED)
    form: Form = one_form({"json": as_json, "youtube": youtube}, "text")
    if dry_run:
        _refuse_with("dry-run", {**files, "json": as_json, "youtube": youtube}, "nothing is summarised.")
    options = SummaryOptions(
        model=model, text_model=text_model, language=language, focus=_focus(focus, wish),
        detail=choose("detail", detail, DETAILS), strategy=choose("strategy", strategy, _STRATEGIES),  # type: ignore[arg-type]
        **_lengths(seconds, strategy), overlap=overlap, start=start, end=end,
        concurrency=concurrency, max_gaps=max_gaps, thinking=choose("thinking", thinking, EFFORTS) or False,
        tier=choose("tier", tier, TIERS), audio_track=read_audio_track(audio_track),
        checkpoint=not fresh, reuse_unverified=reuse_unverified,
    )  # fmt: skip
    settings = service(delivery, needs_key=not dry_run)
    runs = _checked_runs(media, out, [name for name, on in files.items() if on])
    if dry_run:
        for run in runs:
            _show_forecast(run.media, settings, options, titled=len(runs) > 1)
        return
    with OmniClient(settings) as client:
        for run in runs:
            _carry_out(run, question, client, options)
            if form != "json":
                _show(run, form, titled=len(runs) > 1)
    if form == "json":
        _show_json(runs)
    end_with((run.media, run.error) for run in runs)


def _lengths(seconds: float | None, strategy: str) -> dict[str, Any]:
    """Return the options for the length of a segment: if one is given, only shorter videos go in a single request.

    Raises:
        ConfigurationError: there are no segments.
    """
    if seconds is None:
        return {}
    if strategy == "single":
        raise ConfigurationError(
            "--seconds and --strategy single cannot be combined: a video in one request has no segments."
        )
    if strategy == "auto":
        show_note("--seconds applies only if --strategy auto chooses segments.")
    return {"segment_seconds": seconds, "single_call_seconds": seconds}


def _carry_out(run: _Run, question: str | None, client: OmniClient, options: SummaryOptions) -> None:
    """Summarise one file, or answer the question about it, with progress; an error becomes part of the result."""

    def on_progress(news: Progress) -> None:
        show(news.done, news.segments, f"{news.input_tokens + news.output_tokens:,} tokens")
        if news.kind in ("planned", "notice", "gap"):
            show_note(news.text)
            run.noted.add(news.text)

    coming = stream_either(run.media, question, client=client, options=options)
    try:
        with steps_bar(Path(run.media).name, f"Inspecting {run.media}") as show:
            run.found = last_of(coming, on_progress)  # type: ignore[assignment]  # of the two that `coming` may yield
    except QwenOmniError as error:
        run.error = error


def _focus(focus: str | None, wish: str | None) -> str | None:
    if wish is None:
        return focus
    if focus is not None:
        raise ConfigurationError("--wish is the old name of --focus; pass --focus only.")
    show_note(f"--wish is now --focus; {GONE} removes the old name.")
    return wish


def _show(run: _Run, form: Form, *, titled: bool) -> None:
    """Print an answer, or print a summary and write its files."""
    if run.found is None:
        return
    if titled:
        write_text(f"== {one_line(run.media)}\n")
    if isinstance(run.found, VideoAnswer):
        _show_answer(run.found, run.noted)
        return
    try:
        _show_summary(run.found, form, run.noted)
    finally:  # even if the reader of the output has exited
        write_files(run.found, run.targets)


def _show_json(runs: Sequence[_Run]) -> None:
    """Print a JSON object for one file, an array for several; then write the files."""
    entries = [
        failed_entry(run.media, run.error) if run.error is not None
        else run.found.model_dump(mode="json") if run.found is not None else {}
        for run in runs
    ]  # fmt: skip
    try:
        if len(runs) > 1:
            write_json([{"file": run.media, **entry} for run, entry in zip(runs, entries, strict=True)], indent=2)
        elif runs[0].error is None:
            write_json(entries[0], indent=2)
    finally:
        for run in runs:
            if isinstance(run.found, VideoSummary):
                write_files(run.found, run.targets)


def _refuse_with(option: str, given: dict[str, bool], why: str) -> None:
    """Reject options that have no effect with another one.

    Raises:
        ConfigurationError: one was given.
    """
    names = [name for name, on in given.items() if on]
    if names:
        raise ConfigurationError(f"--{option} and --{' and --'.join(names)} cannot be combined: {why}")


def _checked_runs(media: Sequence[str], out: Path | None, forms: list[str]) -> list[_Run]:
    """Return the runs with the files that each will write (next to the video, or into a folder), if each can be.

    Raises:
        ConfigurationError: a folder is missing or not writable, or a page needs a package that is not installed.
    """
    chosen = named_after(media, out, [_ENDINGS[form] for form in forms])
    runs = [_Run(media=item, targets={form: paths[_ENDINGS[form]] for form in forms}) for item, paths in chosen.items()]
    check_targets(path for run in runs for path in run.targets.values())
    if "html" in forms and find_spec("jinja2") is None:
        raise ConfigurationError("--html needs an extra package: pip install 'qwen-omni[cli]'")
    return runs


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
    if form == "youtube":
        write_text(found.to_youtube_chapters() + "\n")
        return
    show_text(found.summary)
    if found.chapters:
        rows = [(clock(one.start), one.title, one.summary) for one in found.chapters]
        write_text("\n")
        show_table(("from", "chapter", "about"), rows, lines=False, right="r")
    for gap in found.gaps:
        show_note(f"gap from {clock(gap.start)} to {clock(gap.end)}: {gap.reason}")
    for notice in (*found.notices, *found.this_run.notes):
        if notice not in noted:
            show_note(notice)
    for bill in bill_texts(found):
        show_note(bill)


def _show_answer(found: VideoAnswer, noted: set[str]) -> None:
    show_text(found.answer)
    if found.evidence:
        show_table(("at", "evidence"), [(clock(one.time), one.text) for one in found.evidence], lines=False, right="r")
    for notice in found.notices:
        if notice not in noted:
            show_note(notice)
    show_note(f"this run: {bill_text(found.this_run)}")


def _show_forecast(media: str, settings: Settings, options: SummaryOptions, *, titled: bool) -> None:
    with waiting(f"Inspecting {media}"):
        forecasts = forecast(media, settings, options)
    rows = [
        ("→" if one.chosen else "", one.strategy, one.detail, f"{one.segments:,}", f"{one.bill.input_tokens:,}",
         f"{one.bill.output_tokens:,}", money_text(one.bill.cny), seconds_text(round(one.seconds)))
        for one in forecasts
    ]  # fmt: skip
    columns = ("", "strategy", "detail", "requests", "tokens in", "out", "CNY", "takes")
    show_table(columns, rows, lines=False, title=media if titled else "", right="   rrrrr")
    show_note("Nothing was sent. Input tokens follow the service's formulas; times and output tokens are guesses.")
