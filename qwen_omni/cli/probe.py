"""`qwen-omni probe`: shows what a file is, and how it would be prepared."""

from collections.abc import Iterator
from dataclasses import asdict
from fractions import Fraction
from typing import Annotated, Any

import typer

from qwen_omni._moved import MOVED_OPTIONS
from qwen_omni.cli.human import bytes_text, rate_text, seconds_text
from qwen_omni.cli.options import AudioTrack, Budget, ModelName, check_files
from qwen_omni.cli.output import in_words, show_table, waiting, write_json
from qwen_omni.media.info import MediaInfo, read_audio_track
from qwen_omni.media.plan.plan import MediaPlan
from qwen_omni.media.prepare import PrepareOptions, look_at, plan_for
from qwen_omni.media.source import as_source
from qwen_omni.profiles import DEFAULT_MODEL
from qwen_omni.redact import with_leaves

_CHANNELS = {1: "mono", 2: "stereo"}


def probe(
    media: Annotated[str, typer.Argument(metavar="FILE", help="A local image, recording or video.")],
    *,
    budget: Budget = "auto",
    audio_track: AudioTrack = "auto",
    model: ModelName = DEFAULT_MODEL,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON with every property.")] = False,
) -> None:
    """Show what a file is, how it would be prepared before it is sent, and why. Sends nothing and needs no key."""
    check_files([media], "probe")
    choices = PrepareOptions(model=model, audio_track=read_audio_track(audio_track))
    with waiting(f"Inspecting {media}"):
        look = look_at(as_source(media), choices=choices)
        plan = plan_for(look, budget=budget or "auto", choices=choices)  # type: ignore[arg-type]  # unknown names raise
    if as_json:
        write_json({"file": media, **facts_of(look.info), "plan": plan_of(plan)})
        return
    show_table(("", ""), [("file", media), *rows_of(look.info), *_plan_rows(plan)], lines=False)


def facts_of(info: MediaInfo) -> dict[str, Any]:
    """Return the properties of a file in plain JSON types; those with a new name under the old one, too."""
    facts: dict[str, Any] = with_leaves(asdict(info), _plain)
    return facts | {old: facts[new] for old, new in MOVED_OPTIONS.items() if new in facts}


def plan_of(plan: MediaPlan) -> dict[str, Any]:
    """Return a media plan in plain JSON types."""
    return {name: getattr(plan, name) for name in ("action", "reason", "tokens", "tokens_as_is")}


def _plain(value: object) -> object:
    return round(float(value), 6) if isinstance(value, Fraction) else value


def rows_of(info: MediaInfo) -> Iterator[tuple[str, str]]:
    """Yield the rows that fit the medium, for people: nothing that is as usual, or that the medium does not have."""
    yield "kind", f"{info.kind}, {info.container} ({info.media_type})"
    yield "size", bytes_text(info.size_bytes)
    if info.duration is not None:
        yield "length", seconds_text(float(info.duration))
    elif info.kind != "image":
        yield "length", "not stated in the file"
    if info.width and info.height:
        yield "image" if info.kind == "image" else "video", ", ".join(_video_rows(info))
    if info.pages:
        sizes = dict.fromkeys(f"{width} x {height}" for width, height in info.pages)
        yield "pages", f"{len(info.pages):,} ({', '.join(sizes) if len(sizes) < 4 else 'of several sizes'})"  # noqa: PLR2004
    if info.kind != "image":
        yield "audio", ", ".join(_audio_rows(info)) or "none"
    if len(info.audio_tracks) > 1:
        yield "audio tracks", "; ".join(map(str, info.audio_tracks))
    yield from _oddities(info)


def _video_rows(info: MediaInfo) -> Iterator[str]:
    yield f"{info.width} x {info.height}"
    if info.fps is not None:
        yield rate_text(float(info.fps), "fps")
    if info.frame_count:
        yield f"{info.frame_count:,} frame{'' if info.frame_count == 1 else 's'}"
    if info.video_codec is not None:
        yield info.video_codec
    if info.rotation:
        yield f"turned by {info.rotation}°"
    if info.mirrored:
        yield "mirrored"
    if info.pixel_aspect != 1:
        yield f"pixels {float(info.pixel_aspect):.3g} times as wide as high"
    if info.interlaced:
        yield "interlaced"
    if info.colours != "plain":
        yield f"{info.colours} colours"


def _audio_rows(info: MediaInfo) -> Iterator[str]:
    if info.audio_codec is not None:
        yield info.audio_codec
    if info.sample_rate is not None:
        yield rate_text(info.sample_rate, "Hz")
    if info.channels is not None:
        yield _CHANNELS.get(info.channels, f"{info.channels} channels")
    if info.audio_track and len(info.audio_tracks) > 1:
        yield f"track {info.audio_track}"


def _oddities(info: MediaInfo) -> Iterator[tuple[str, str]]:
    if info.video_start:
        yield "video from", seconds_text(float(info.video_start))
    if info.audio_start > Fraction(1, 10):
        yield "audio from", seconds_text(float(info.audio_start))
    if info.audio_changes is not None:
        yield "audio format", f"changes at {seconds_text(float(info.audio_changes))}"
    if info.hidden_frames:
        yield "hidden frames", f"{info.hidden_frames:,}"
    if info.breaks:
        times = ", ".join(seconds_text(float(one.at - info.origin)) for one in info.breaks)
        yield "clock restarts", f"at {times}"
    if info.held:
        yield "last frame", f"held {seconds_text(float(info.held))} longer, for the shortest video of the model"
    if info.much_text:
        yield "text", "more than a megabyte of text or colour profile"
    if info.unpacked:
        yield "unpacked", "yes: no reader accepts the file unchanged"


def _plan_rows(plan: MediaPlan) -> Iterator[tuple[str, str]]:
    yield "plan", in_words(plan.reason)
    if plan.tokens is not None:
        same = plan.tokens_as_is in (None, plan.tokens)
        yield "tokens", f"{plan.tokens:,}" + ("" if same else f" ({plan.tokens_as_is:,} if sent unchanged)")
