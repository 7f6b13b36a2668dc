"""`qwen-omni transcribe`: transcribes recordings and videos to text, subtitles or JSON."""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, as_completed
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import typer

from qwen_omni.cli.options import (
    AudioTrack,
    SubtitleFolder,
    check_files,
    one_form,
    option,
    read_service,
    sharing,
    subtitle_paths,
)
from qwen_omni.cli.output import (
    Prose,
    end_with,
    failed_entry,
    one_line,
    show_note,
    with_progress,
    write_json,
    write_text,
)
from qwen_omni.client import OmniClient
from qwen_omni.errors import ConfigurationError, QwenOmniError
from qwen_omni.media.files.output import write_file
from qwen_omni.media.info import read_audio_track
from qwen_omni.profiles import Region
from qwen_omni.profiles.transcription import TRANSCRIBERS
from qwen_omni.redact import redact
from qwen_omni.settings import Settings, region_of
from qwen_omni.transcription.options import TranscriptionOptions, choose_transcriber
from qwen_omni.transcription.transcribe import ThreadPool, transcribe as transcribe_one
from qwen_omni.transcription.transcript import Transcript

Form = Literal["text", "json", "srt", "vtt"]


_Model = Annotated[
    str | None,
    option(f"{', '.join(TRANSCRIBERS)}; default: the cheapest.", "NAME", "--model", "-m", choices=TRANSCRIBERS),
]
_AtOnce = Annotated[int, option("How many at a time.", "NUMBER", "--concurrency", "-j", min=1)]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Heard:
    """One file and its result."""

    media: str
    said: Transcript | None = None
    error: QwenOmniError | None = None


@sharing(service=read_service)
def transcribe(  # noqa: PLR0913  (each argument is an option of the command)
    media: Annotated[list[str], typer.Argument(metavar="FILE", help="Recordings or videos: paths or URLs.")],
    *,
    model: _Model = None,
    language: Annotated[str | None, option("Spoken language, e.g. en; default: detected.", "CODE")] = None,
    speakers: Annotated[int | None, option("How many speakers; 0 detects it.", "NUMBER", min=0)] = None,
    srt: Annotated[bool, typer.Option("--srt", help="Make SubRip subtitles.")] = False,
    vtt: Annotated[bool, typer.Option("--vtt", help="Make WebVTT subtitles.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON array with one entry per file.")] = False,
    out: SubtitleFolder = Path(),
    wait: Annotated[float, option("Longest wait; a later run finds an unfinished task.", "SECONDS")] = 7200,
    fresh: Annotated[bool, typer.Option("--fresh", help="Submit again what was submitted today, and pay.")] = False,
    concurrency: _AtOnce = 4,
    audio_track: AudioTrack = "auto",
    service: Callable[..., Settings],
) -> None:
    """Transcribe speech, with times and speakers if the model provides them.

    A recording that was submitted within a day is not paid for again, even after a crash: its task is found. The exit
    code is 1 if any file failed; the others are printed all the same.
    """
    check_files(media, "transcribe")
    asked: dict[Form, bool] = {"srt": srt, "vtt": vtt, "json": as_json}
    form = one_form(asked, "text")
    wanted_speakers = False if speakers is None else (speakers or True)
    options = TranscriptionOptions(
        model=model, language=language, speakers=wanted_speakers, wait_seconds=wait, fresh=fresh,
        audio_track=read_audio_track(audio_track),
    )  # fmt: skip
    settings = service()
    _check(options, region_of(settings.base_url), form)
    paths = subtitle_paths(media, out, form)
    end_with(_show(_heard(media, settings, options, concurrency), form, paths))


def _heard(media: list[str], settings: Settings, options: TranscriptionOptions, concurrency: int) -> list[_Heard]:
    """Transcribe each file once, some at a time, and return the results in the order of the files."""
    names, heard = list(dict.fromkeys(media)), dict[str, _Heard]()
    try:
        with OmniClient(settings) as client, ThreadPool(concurrency) as pool:
            coming = [pool.submit(partial(_one, name, client, options)) for name in names]
            for one in with_progress(_reported(coming), len(names), "transcripts", f"Transcribing {media[0]}"):
                heard[one.media] = one
    except KeyboardInterrupt:
        raise KeyboardInterrupt(_kept_text(heard, len(names), fresh=options.fresh)) from None
    return [heard[name] for name in names]


def _kept_text(heard: dict[str, _Heard], total: int, *, fresh: bool) -> str:
    done = sum(1 for one in heard.values() if one.said is not None)
    again = "run again without --fresh" if fresh else "run again"
    return f"{done} of {total} transcripts done; {again} to resume: tasks that were submitted are not paid for again."


def _check(options: TranscriptionOptions, region: Region | None, form: Form) -> None:
    """Reject options that the model does not support, before any file is paid for.

    Raises:
        ConfigurationError: as `choose_transcriber`; or subtitles from a model that returns no times.
    """
    profile = choose_transcriber(options, region)
    if form in ("srt", "vtt") and not profile.times:
        others = [one.name for one in TRANSCRIBERS.values() if one.times and (region is None or region in one.regions)]
        raise ConfigurationError(
            f"{profile.name} returns no times, so it cannot make subtitles; choose {' or '.join(others)} with --model."
        )


def _one(name: str, client: OmniClient, options: TranscriptionOptions) -> _Heard:
    try:
        return _Heard(media=name, said=transcribe_one(name, client=client, options=options))
    except QwenOmniError as error:
        return _Heard(media=name, error=error)


def _reported(coming: list[Future[_Heard]]) -> Iterator[tuple[str, _Heard]]:
    for future in as_completed(coming):
        one = future.result()
        yield f"{redact(one.media)}: {'failed' if one.said is None else 'done'}", one


def _show(finished: list[_Heard], form: Form, paths: dict[str, Path]) -> Iterator[tuple[str, QwenOmniError | None]]:
    """Print or write the transcripts; yield each file with its failure, after which the others are still shown."""
    if form == "json":
        entries = [_entry(one) for one in finished]
        write_json(entries, indent=2)
    for one in finished:
        error = one.error
        if one.said is not None and form != "json":
            try:
                _show_one(one.media, one.said, form, paths.get(one.media), titled=len(finished) > 1)
            except QwenOmniError as raised:
                error = raised
        yield one.media, error


def _show_one(media: str, said: Transcript, form: Form, path: Path | None, *, titled: bool) -> None:
    if not said.text.strip():
        show_note(f"{one_line(media)}: no speech was found.")
    text = {"srt": said.to_srt, "vtt": said.to_vtt}.get(form, lambda: _plain(said))()
    if path is not None:
        write_file(path, text)
        write_text(f"{one_line(str(path))}\n")
        return
    if titled:
        write_text(f"== {one_line(media)}\n")
    if form in ("srt", "vtt"):
        write_text(text)
        return
    with Prose() as prose:
        prose.write(text if text.endswith("\n") else f"{text}\n")


def _entry(one: _Heard) -> dict[str, object]:
    if one.error is not None:
        return failed_entry(one.media, one.error)
    assert one.said is not None
    return {"file": one.media, **one.said.model_dump(mode="json")}


def _plain(said: Transcript) -> str:
    if not said.speakers:
        return said.text
    lines = (
        f"Speaker {one.speaker + 1}: {one.text}" if one.speaker is not None else one.text for one in said.sentences
    )
    return "\n".join(lines)
