"""`qwen-omni estimate`: the tokens and cost of a question about files, before anything is sent."""

from collections.abc import Iterable, Sequence
from typing import Annotated

import typer

from qwen_omni.cli.output import (
    REGIONS,
    TIERS,
    WAYS,
    AudioTrack,
    CallTier,
    Frame,
    Tile,
    choose,
    show_note,
    show_table,
    write_json,
    write_text,
)
from qwen_omni.media.budget import PRESETS
from qwen_omni.media.info import read_audio_track
from qwen_omni.messages import Message, user
from qwen_omni.options import ChatOptions, ChatRequest
from qwen_omni.pricing.costs import Cost, TokenCounts
from qwen_omni.profiles import DEFAULT_MODEL
from qwen_omni.profiles.catalog import OMNI
from qwen_omni.request.estimate import Estimate, estimate as reckon
from qwen_omni.request.question import message_of
from qwen_omni.settings import Settings

_COLUMNS = ("model", "budget", "text", "image", "video", "audio", "tokens in", "CNY", "USD", "upload MB", "seconds",
            "route", "refused because")  # fmt: skip


def estimate(  # noqa: PLR0913 - one for each option of the command line
    media: Annotated[list[str], typer.Argument(metavar="FILE...", help="Local files or links, all in one question.")],
    *,
    question: Annotated[str, typer.Option("--question", "-q", help="The question.")] = "What is shown here?",
    model: Annotated[str | None, typer.Option("--model", "-m", help="The model; separate several with commas.")] = None,
    budget: Annotated[str | None, typer.Option(help=f"{', '.join(PRESETS)}; separate several with commas.")] = None,
    audio_track: AudioTrack = "auto",
    tile: Tile = True,
    frame: Frame = None,
    answer: Annotated[int | None, typer.Option(help="Expected tokens of the answer.")] = None,
    thinking: Annotated[bool | None, typer.Option(help="Whether the model thinks first.")] = None,
    tier: CallTier = None,
    region: Annotated[str | None, typer.Option(help=f"Region of the prices: one of {', '.join(REGIONS)}.")] = None,
    delivery: Annotated[str | None, typer.Option(help="auto, inline, oss or temporary.")] = None,
    compare: Annotated[bool, typer.Option("--compare", help="Compare all models and budgets.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Estimate the tokens and cost of a question about files. Inspects the files; sends nothing and needs no key."""
    settings = Settings.load(
        needs_key=False, region=choose("region", region, REGIONS), delivery=choose("delivery", delivery, WAYS)
    )
    asked = message_of(media, settings.media_root, audio_track=read_audio_track(audio_track), tile=tile, frame=frame)
    message = Message(role="user", parts=(*asked.parts, *user(question).parts))
    asked_for = ChatOptions(thinking=thinking, tier=choose("tier", tier, TIERS))
    models = _split(model) or (tuple(profile.name for profile in OMNI) if compare else (DEFAULT_MODEL,))
    budgets = _split(budget) or (tuple(PRESETS) if compare else ("auto",))
    made = [
        (name, reckon(_request(message, one, asked_for), budget=name, settings=settings, answer_tokens=answer))  # type: ignore[arg-type]  # an unknown name raises
        for one in models
        for name in budgets
    ]
    if as_json:
        rows = [{"budget": name, **one.as_dict()} for name, one in made]
        write_json({"estimates": rows})
    elif len(made) == 1:
        write_text(f"{made[0][1]}\n")
    else:
        show_table(_COLUMNS, _rows(made), lines=False)
        for note in dict.fromkeys(note for _, one in made for note in one.notes):
            show_note(f"assumed: {note}")


def _request(message: Message, model: str, options: ChatOptions) -> ChatRequest:
    return ChatRequest(model=model, messages=(message,), options=options)


def _split(names: str | None) -> tuple[str, ...]:
    return tuple(name.strip() for name in names.split(",") if name.strip()) if names else ()


def _rows(made: Sequence[tuple[str, Estimate]]) -> Iterable[tuple[str, ...]]:
    """Yield a row for each budget, preceded for each model by one for the original files."""
    last = ""
    for budget, one in made:
        if one.model != last and one.as_is is not None:
            yield one.model, "(untouched)", *_tokens(one.as_is), *_money(one.cost_as_is), "", "", "", ""
        last = one.model
        routes = ", ".join(dict.fromkeys(piece.route or "none" for piece in one.media))
        upload, seconds = f"{one.upload_bytes / 1e6:,.1f}", f"{one.seconds:,.1f}"
        yield (
            one.model,
            budget,
            *_tokens(one.tokens),
            *_money(one.cost),
            upload,
            seconds,
            routes,
            " ".join(one.problems),
        )


def _tokens(counts: TokenCounts) -> tuple[str, ...]:
    return tuple(f"{count:,}" for count in (counts.text, counts.image, counts.video, counts.audio, counts.input))


def _money(cost: Cost | None) -> tuple[str, str]:
    if cost is None or cost.cny is None or cost.usd is None:
        return "?", "?"
    return f"{cost.cny:.4g}", f"{cost.usd:.4g}"
