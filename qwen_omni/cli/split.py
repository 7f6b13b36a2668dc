"""`qwen-omni split`: cuts a long video or recording into prepared segments in a folder."""

import contextlib
import shutil
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any

import typer

from qwen_omni.cli.human import bytes_text
from qwen_omni.cli.options import (
    AudioTrack,
    Budget,
    End,
    ModelName,
    Overlap,
    SegmentSeconds,
    Start,
    check_files,
    option,
)
from qwen_omni.cli.output import progress, show_note, show_table, waiting, write_json
from qwen_omni.errors import ConfigurationError
from qwen_omni.media.files.output import check_targets, writing
from qwen_omni.media.info import read_audio_track
from qwen_omni.media.plan.segments import DEFAULT_SECONDS
from qwen_omni.media.prepare import Prepared, PrepareOptions, look_at, plan_for, split_look
from qwen_omni.media.source import as_source
from qwen_omni.profiles import DEFAULT_MODEL
from qwen_omni.ranges import exact_range, exact_seconds


def split(  # noqa: PLR0913 - each argument is an option of the command
    media: Annotated[str, typer.Argument(metavar="FILE", help="A local video or recording.")],
    *,
    to: Annotated[Path, option("Where to write; created if missing.", "FOLDER")] = Path(),
    seconds: SegmentSeconds = int(DEFAULT_SECONDS),
    overlap: Overlap = 0,
    model: ModelName = DEFAULT_MODEL,
    as_json: Annotated[bool, typer.Option("--json", help="Print one line of JSON per segment.")] = False,
    start: Start = None,
    end: End = None,
    budget: Budget = "auto",
    audio_track: AudioTrack = "auto",
) -> None:
    """Cut a video or recording into segments that fit a request. Sends nothing and needs no key."""
    check_files([media], "split")
    choices = PrepareOptions(model=model, audio_track=read_audio_track(audio_track))
    exact_range(start, end)
    longest, shared = exact_seconds(seconds, "seconds"), exact_seconds(overlap, "overlap")
    with waiting(f"Inspecting {media}"):
        look = look_at(as_source(media), choices=choices)
        plan = plan_for(look, budget=budget or "auto", start=start, end=end, choices=choices)  # type: ignore[arg-type]
    check_targets([to / f"{Path(media).stem}-000.mp4"])
    _note_limit(longest, look.info.kind, choices)
    rows: list[tuple[str, ...]] = []
    total = float((plan.end or 0) - plan.start)
    made = split_look(look, plan, seconds=longest, overlap=shared, choices=choices)
    try:
        with contextlib.closing(made) as segments, progress(Path(media).name, total, shown=not as_json) as advance:
            for prepared in segments:
                with prepared:
                    segment = _written(prepared, Path(media).stem, to)
                advance(float((prepared.end or 0) - plan.start))
                if as_json:
                    write_json(segment)
                size = bytes_text(segment["size_bytes"])
                rows.append((segment["file"], f"{segment['start']:.2f}", f"{segment['end']:.2f}", size))
    except KeyboardInterrupt:
        wrote = f"{len(rows)} segment{'' if len(rows) == 1 else 's'}"
        raise KeyboardInterrupt(f"{wrote} in {to} kept; a new run needs another folder.") from None
    if not as_json:
        show_table(("segment", "from", "to", "size"), rows, lines=False, right=" rrr")
        if plan.action != "pass":
            show_note(plan.reason)


def _note_limit(seconds: Fraction, kind: str, choices: PrepareOptions) -> None:
    """Note that the model takes less than the length that was asked for."""
    limits = choices.profile.limits
    most = {"video": limits.video_seconds, "audio": limits.audio_seconds}.get(kind)
    if most is not None and seconds > most:
        show_note(f"{choices.profile.name} takes {kind} of at most {most:,g} s, so segments are that long at most.")


def _written(prepared: Prepared, stem: str, folder: Path) -> dict[str, Any]:
    """Move a segment to its target; a user's own file is copied, and nothing is overwritten."""
    assert prepared.path is not None
    assert prepared.segment is not None
    target = folder / f"{stem}-{prepared.segment.index:03d}{prepared.path.suffix}"
    if target.exists():
        raise ConfigurationError(f"{target} already exists; choose another folder with --to.")
    with writing(target) as file:
        if prepared.temporary:
            shutil.move(prepared.path, file)
        else:
            shutil.copyfile(prepared.path, file)
    return {
        "file": str(target),
        "start": float(prepared.start),
        "end": float(prepared.end or 0),
        "size_bytes": prepared.info.size_bytes,
    }
