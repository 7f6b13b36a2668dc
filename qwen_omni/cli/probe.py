"""`qwen-omni probe`: shows what a file is, and how it would be prepared."""

from dataclasses import asdict
from fractions import Fraction
from typing import Annotated, Any

import typer

from qwen_omni.cli.output import AudioTrack, show_table, write_json
from qwen_omni.media.info import MediaInfo, read_audio_track
from qwen_omni.media.plan.plan import MediaPlan
from qwen_omni.media.prepare import PrepareOptions, look_at, plan_for
from qwen_omni.media.source import as_source
from qwen_omni.profiles import DEFAULT_MODEL


def probe(
    media: Annotated[str, typer.Argument(metavar="FILE", help="A local image, recording or video.")],
    *,
    budget: Annotated[str, typer.Option(help="auto, static, action, original or glance.")] = "auto",
    audio_track: AudioTrack = "auto",
    model: Annotated[str, typer.Option("--model", "-m", help="The model that would receive it.")] = DEFAULT_MODEL,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Show what a file is, how it would be prepared before it is sent, and why."""
    choices = PrepareOptions(model=model, audio_track=read_audio_track(audio_track))
    look = look_at(as_source(media), choices=choices)
    plan = plan_for(look, budget=budget, choices=choices)  # type: ignore[arg-type]  # an unknown name raises
    facts = {"file": media, **facts_of(look.info), "plan": plan_of(plan)}
    if as_json:
        write_json(facts)
        return
    flat = {key: value for key, value in facts.items() if key != "plan"} | plan_of(plan)
    flat["audio_tracks"] = ", ".join(map(str, look.info.audio_tracks)) or None
    flat["breaks"] = ", ".join(f"{float(one.at - look.info.origin):.2f} s" for one in look.info.breaks) or None
    rows = [(key.replace("_", " "), _text(value)) for key, value in flat.items() if value is not None]
    show_table(("", ""), rows, lines=False)


def facts_of(info: MediaInfo) -> dict[str, Any]:
    """Return the properties of a file in plain JSON types."""
    return {name: _plain(value) for name, value in asdict(info).items()}


def plan_of(plan: MediaPlan) -> dict[str, Any]:
    """Return a media plan in plain JSON types."""
    return {name: getattr(plan, name) for name in ("action", "reason", "tokens", "tokens_as_is")}


def _plain(value: object) -> object:
    if isinstance(value, tuple):
        return [_plain(one) for one in value]
    if isinstance(value, dict):
        return {name: _plain(one) for name, one in value.items()}
    return round(float(value), 6) if isinstance(value, Fraction) else value


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:,}" if isinstance(value, int) else str(value)
