"""The options that the commands of `qwen-omni archive` share: the step, the service, the store, the limits."""

import functools
from collections.abc import Callable
from typing import Annotated, Any, Literal, get_args

import typer

from qwen_omni.archive.steps import Caption, Notes, Step, Summarize, Transcribe
from qwen_omni.cli.caption import SCHEMAS, named_schema
from qwen_omni.cli.options import (
    DETAILS,
    EFFORTS,
    MEDIA,
    choose,
    read_service,
    sharing,
    words,
)
from qwen_omni.errors import ConfigurationError
from qwen_omni.media.budget import Sampling
from qwen_omni.media.info import read_audio_track
from qwen_omni.pricing.limit import SpendLimit
from qwen_omni.profiles.rate_limits import RateLimits
from qwen_omni.settings import Settings
from qwen_omni.structured.caption import CaptionOptions
from qwen_omni.transcription.options import TranscriptionOptions
from qwen_omni.video.options import SummaryOptions

StepName = Literal["caption", "summarize", "transcribe", "notes"]
STEPS: dict[str, StepName] = {name: name for name in get_args(StepName)}
_EVERY: tuple[StepName, ...] = get_args(StepName)
_LONG: tuple[StepName, ...] = ("summarize", "notes")
_ASKING: tuple[StepName, ...] = ("caption", *_LONG)
SUITS: dict[str, tuple[StepName, ...]] = {
    "model": _EVERY, "language": _EVERY, "audio_track": _EVERY, "schema": ("caption",), "prompt": ("caption",),
    "fps": ("caption",), "max_pixels": ("caption",), "thinking": _ASKING, "focus": _LONG, "detail": _LONG,
    "text_model": ("summarize",), "speakers": ("transcribe",),
}  # fmt: skip
"""The options of a step, and the steps that take them."""
STEP, SPEED = "What is asked", "Speed"
"""Panels of the help."""


# --- The step ---


def _step_option(help: str, *, panel: str = STEP, metavar: str = "TEXT", **more: Any) -> Any:  # noqa: A002, ANN401
    return typer.Option(metavar=metavar, help=help, rich_help_panel=panel, **more)


def read_step(  # noqa: PLR0913, PLR0917  (each argument is an option of the command)
    do: Annotated[
        str,
        typer.Option("--do", metavar="STEP", help=f"What to do: {', '.join(STEPS)}.", autocompletion=words(STEPS)),
    ],
    model: Annotated[str | None, typer.Option("--model", "-m", metavar="NAME", help="Model to use.")] = None,
    schema: Annotated[
        str | None,
        _step_option("Of a caption: product (the default), general, timed, FILE.py:Class, module:Class or FILE.json.",
                     metavar="SCHEMA", autocompletion=words(SCHEMAS)),
    ] = None,
    prompt: Annotated[str | None, _step_option("What a caption describes.")] = None,
    focus: Annotated[str | None, _step_option("What a summary focuses on.")] = None,
    language: Annotated[str | None, _step_option("Language of the texts, in words; of speech, as a code.")] = None,
    detail: Annotated[
        str | None,
        _step_option("Of a summary: low, medium or high, which is 0.5, 1 or 2 frames per second.", metavar="LEVEL"),
    ] = None,
    text_model: Annotated[str | None, _step_option("Model that joins the notes of a summary.", metavar="NAME")] = None,
    speakers: Annotated[
        int | None, _step_option("How many speakers a transcript has; 0 detects it.", metavar="NUMBER", min=0)
    ] = None,
    thinking: Annotated[
        str | None,
        _step_option("Reasoning before the answer, billed as output; off by default.", metavar="EFFORT",
                     autocompletion=words(EFFORTS)),
    ] = None,
    fps: Annotated[float | None, _step_option("Frames per second.", panel=MEDIA, metavar="NUMBER")] = None,
    max_pixels: Annotated[
        int | None, _step_option("Most pixels per frame or image.", panel=MEDIA, metavar="NUMBER")
    ] = None,
    audio_track: Annotated[
        str | None, _step_option("Audio track: auto, mix, or a number from 0.", panel=MEDIA, metavar="TRACK")
    ] = None,
) -> Step:  # fmt: skip
    """Return the step that the options describe.

    Raises:
        ConfigurationError: there is no such step, or it does not take an option that was given.
    """
    step = choose("do", do, STEPS)
    assert step is not None
    given = {name: value for name, value in locals().items() if name in SUITS and value is not None}
    for name in given:
        if step not in SUITS[name]:
            raise ConfigurationError(
                f"--{name.replace('_', '-')} does not apply to --do {step}, only to {' and '.join(SUITS[name])}."
            )
    if thinking is not None:
        given["thinking"] = choose("thinking", thinking, EFFORTS)
    if audio_track is not None:
        given["audio_track"] = read_audio_track(audio_track)
    return _MAKERS[step](given)


def _caption(given: dict[str, Any]) -> Step:
    sampling = Sampling(fps=given.pop("fps", None), max_pixels=given.pop("max_pixels", None))
    _, schema = named_schema(given.pop("schema", None))
    return Caption(schema, options=CaptionOptions(sampling=sampling, **given))


def _long(kind: type[Summarize | Notes], given: dict[str, Any]) -> Step:
    if "detail" in given:
        given["detail"] = choose("detail", given["detail"], DETAILS)
    return kind(options=SummaryOptions(**given))


def _transcribe(given: dict[str, Any]) -> Step:
    if "speakers" in given:
        given["speakers"] = given["speakers"] or True
    return Transcribe(options=TranscriptionOptions(**given))


_MAKERS: dict[StepName, Callable[[dict[str, Any]], Step]] = {
    "caption": _caption,
    "summarize": functools.partial(_long, Summarize),
    "transcribe": _transcribe,
    "notes": functools.partial(_long, Notes),
}


# --- The service, and its limits ---


@sharing(service=read_service)
def read_paced_service(
    service: Callable[..., Settings],
    rpm: Annotated[
        int | None,
        typer.Option(
            metavar="NUMBER", help="Requests a minute of your account; default: the published ones.",
            rich_help_panel=SPEED,
        ),
    ] = None,
    tpm: Annotated[
        int | None, typer.Option(metavar="NUMBER", help="Tokens a minute, likewise.", rich_help_panel=SPEED)
    ] = None,
) -> Callable[..., Settings]:  # fmt: skip
    """Return the function that loads the settings, with the account's own limits.

    Raises:
        ConfigurationError: a limit is out of range.
    """
    limits = None if rpm is None and tpm is None else RateLimits(rpm=rpm, tpm=tpm)
    return functools.partial(service, limits=limits)


def read_spend_limit(
    max_cny: Annotated[
        float | None,
        typer.Option("--max-cny", metavar="YUAN", help="The most that all runs of this step and store may cost."),
    ] = None,
    max_tokens: Annotated[
        int | None,
        typer.Option("--max-tokens", metavar="TOKENS", help="The most tokens that they may use."),
    ] = None,
) -> SpendLimit | None:
    """Return the limit that the options set.

    Raises:
        ConfigurationError: a limit is out of range.
    """
    return None if max_cny is None and max_tokens is None else SpendLimit(cny=max_cny, tokens=max_tokens)


def _store(given: str) -> str:
    if not given.strip():
        raise typer.BadParameter("it is empty. Is a shell variable unset?")
    return given


StoreOption = typer.Option(
    "--store",
    metavar="STORE",
    parser=_store,
    help="Where rows are stored: a file, or postgresql://USER@HOST/DATABASE for several machines.",
)
StoreName = Annotated[str, StoreOption]
InFlight = Annotated[
    int | None,
    typer.Option(
        "--in-flight", "-j", metavar="NUMBER", help="The most calls at once; default: 8, on Ray 32.",
        rich_help_panel=SPEED,
    ),
]  # fmt: skip
Sources = Annotated[
    list[str],
    typer.Argument(
        metavar="SOURCE",
        help="Folders, files, links, quoted patterns ('**/*.mp4'), lists (.csv, .jsonl, .parquet with a column uri), "
        "or addresses such as oss://BUCKET/PREFIX.",
    ),
]
