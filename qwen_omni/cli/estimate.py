"""`qwen-omni estimate`: the tokens and cost of a question about files, before anything is sent."""

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Annotated, Any

import typer

from qwen_omni.cli.human import bytes_text, money_text
from qwen_omni.cli.options import (
    BUDGETS,
    MEDIA,
    REGIONS,
    SERVICE,
    TIERS,
    WAYS,
    AsJson,
    CallTier,
    End,
    Start,
    check_files,
    choose,
    option,
    read_media,
    sharing,
)
from qwen_omni.cli.output import in_words, show_note, show_table, show_text, waiting, write_json
from qwen_omni.messages import Message, user
from qwen_omni.options import ChatOptions, ChatRequest
from qwen_omni.profiles import DEFAULT_MODEL
from qwen_omni.profiles.catalog import OMNI
from qwen_omni.request.estimate import Estimate, estimate as reckon
from qwen_omni.request.question import MediaChoices, message_of
from qwen_omni.settings import Settings

_Made = tuple[str, Estimate]
_PriceRegion = Annotated[
    str | None, option(f"Region of the prices: {', '.join(REGIONS)}.", "NAME", panel=SERVICE, choices=REGIONS)
]
_Delivery = Annotated[
    str | None,
    option(f"How local files would reach the service: {', '.join(WAYS)}.", "NAME", panel=SERVICE, choices=WAYS),
]


@sharing(sending=read_media)
def estimate(  # noqa: PLR0913 - one for each option of the command line
    media: Annotated[list[str], typer.Argument(metavar="FILE", help="Local files or links, all in one question.")],
    *,
    question: Annotated[str, option("The question.", "TEXT", "--question", "-q")] = "What is shown here?",
    model: Annotated[
        str | None, option("Model to use; separate several with commas.", "NAMES", "--model", "-m")
    ] = None,
    compare: Annotated[bool, typer.Option("--compare", help="One row for each model and preset.")] = False,
    answer: Annotated[int | None, option("Expected length of the answer.", "TOKENS")] = None,
    thinking: Annotated[bool | None, typer.Option(help="Whether the model reasons before it answers.")] = None,
    tier: CallTier = None,
    as_json: AsJson = False,
    start: Start = None,
    end: End = None,
    budget: Annotated[
        str | None,
        option(f"How closely to look: {', '.join(BUDGETS)}; separate several with commas.", "NAMES", panel=MEDIA),
    ] = None,
    sending: dict[str, Any],
    region: _PriceRegion = None,
    delivery: _Delivery = None,
) -> None:
    """Estimate the tokens and cost of a question about files. Sends nothing and needs no key.

    --compare shows which models and presets take the files, and at what price.
    """
    check_files(media, "estimate")
    choices = MediaChoices(start=start, end=end, **sending)
    asked_for = ChatOptions(thinking=thinking, tier=choose("tier", tier, TIERS))
    models = _split(model) or (tuple(profile.name for profile in OMNI) if compare else (DEFAULT_MODEL,))
    budgets = _split(budget) or (tuple(BUDGETS) if compare else ("auto",))
    settings = Settings.load(
        needs_key=False, region=choose("region", region, REGIONS), delivery=choose("delivery", delivery, WAYS)
    )
    with waiting(f"Inspecting {media[0]}"):
        asked = message_of(media, settings.media_root, choices)
        message = Message(role="user", parts=(*asked.parts, *user(question).parts))
        requests = [ChatRequest(model=one, messages=(message,), options=asked_for) for one in models]
        made = [
            (name, reckon(request, budget=name, settings=settings, answer_tokens=answer))  # type: ignore[arg-type]  # an unknown name raises
            for request in requests
            for name in budgets
        ]
    if as_json:
        write_json({"estimates": [{"budget": name, **one.as_dict()} for name, one in made]})
    elif len(made) == 1:
        show_text(in_words(str(made[0][1])))
    else:
        _show_table(made)


def _split(names: str | None) -> tuple[str, ...]:
    return tuple(name.strip() for name in names.split(",") if name.strip()) if names else ()


def _show_table(made: Sequence[_Made]) -> None:
    abroad = made[0][1].region not in (None, "cn")
    columns = ("model", "preset", "tokens in", "USD" if abroad else "CNY", "upload", "")
    show_table(columns, [_row(name, one, abroad=abroad) for name, one in _shortened(made)], lines=False, right="  rrr")
    if any(one.refusal for _, one in made):
        show_note("For a reason in full: qwen-omni estimate FILE --model MODEL --budget PRESET")
    for note in assumptions(made):
        show_note(note)


def assumptions(made: Sequence[_Made]) -> list[str]:
    """Return what was assumed, each once: with the models that it applies to, if those are not all."""
    models = dict.fromkeys(one.model for _, one in made)
    of: dict[str, dict[str, None]] = {}
    for _, one in made:
        for note in one.notes:
            of.setdefault(note, {})[one.model] = None
    return [
        f"assumed: {note}" if len(named) == len(models) else f"assumed for {', '.join(named)}: {note}"
        for note, named in of.items()
    ]


def _shortened(made: Sequence[_Made]) -> Iterator[_Made]:
    """Yield the estimates, but only one of a model for which the presets make no difference."""
    for _, group in groupby(made, key=lambda pair: pair[1].model):
        rows = list(group)
        same = {(one.tokens, one.upload_bytes, one.refusal) for _, one in rows}
        yield from [("any", rows[0][1])] if len(same) == 1 and len(rows) > 1 else rows


def _row(budget: str, one: Estimate, *, abroad: bool) -> tuple[str, ...]:
    cost = one.cost.usd if abroad else one.cost.cny
    tokens = f"{one.tokens.input:,}" if one.known else f"≤ {one.most.input:,}"
    return one.model, budget, tokens, money_text(cost), bytes_text(one.upload_bytes), in_words(one.refusal)
