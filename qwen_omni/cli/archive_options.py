"""The options that the commands of `qwen-omni archive` share: the step, the service, the store, the limits."""

import functools
from collections.abc import Callable
from typing import Annotated, Any, Literal, get_args

import typer

from qwen_omni.archive.steps import Caption, Notes, Step, Summarize, Transcribe
from qwen_omni.cli.caption import SCHEMAS, named_schema
from qwen_omni.cli.options import DETAILS, EFFORTS, MEDIA, choose, option, read_service, sharing
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


def read_step(  # noqa: PLR0913, PLR0917  (each argument is an option of the command)
    do: Annotated[str, option(f"What to do: {', '.join(STEPS)}.", "STEP", "--do", choices=STEPS)],
    model: Annotated[str | None, option("Model to use.", "NAME", "--model", "-m")] = None,
    schema: Annotated[
        str | None,
        option(
            "Of a caption: product (the default), general, timed, FILE.py:Class, module:Class or FILE.json.",
            "SCHEMA",
            panel=STEP,
            choices=SCHEMAS,
        ),
    ] = None,
    prompt: Annotated[str | None, option("What a caption describes.", "TEXT", panel=STEP)] = None,
    focus: Annotated[str | None, option("What a summary focuses on.", "TEXT", panel=STEP)] = None,
    language: Annotated[
        str | None, option("Language of the texts, in words; of speech, as a code.", "TEXT", panel=STEP)
    ] = None,
    detail: Annotated[
        str | None,
        option("Of a summary: low, medium or high, which is 0.5, 1 or 2 frames per second.", "LEVEL", panel=STEP),
    ] = None,
    text_model: Annotated[str | None, option("Model that combines the notes of a summary.", "NAME", panel=STEP)] = None,
    speakers: Annotated[
        int | None, option("How many speakers a transcript has; 0 detects it.", "NUMBER", panel=STEP, min=0)
    ] = None,
    thinking: Annotated[
        str | None,
        option("Reasoning before the answer, billed as output; off by default.", "EFFORT", panel=STEP, choices=EFFORTS),
    ] = None,
    fps: Annotated[float | None, option("Frames per second.", "NUMBER", panel=MEDIA)] = None,
    max_pixels: Annotated[int | None, option("Most pixels per frame or image.", "NUMBER", panel=MEDIA)] = None,
    audio_track: Annotated[
        str | None, option("Audio track: auto, mix, or a number from 0.", "TRACK", panel=MEDIA)
    ] = None,
) -> Step:
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
        int | None, option("Requests a minute of your account; default: the published ones.", "NUMBER", panel=SPEED)
    ] = None,
    tpm: Annotated[int | None, option("Tokens a minute, likewise.", "NUMBER", panel=SPEED)] = None,
) -> Callable[..., Settings]:
    """Return the function that loads the settings, with the account's own limits.

    Raises:
        ConfigurationError: a limit is out of range.
    """
    limits = None if rpm is None and tpm is None else RateLimits(rpm=rpm, tpm=tpm)
    return functools.partial(service, limits=limits)


def read_spend_limit(
    max_cny: Annotated[
        float | None, option("The most that all runs of this step and store may cost.", "YUAN", "--max-cny")
    ] = None,
    max_tokens: Annotated[int | None, option("The most tokens that they may use.", "TOKENS", "--max-tokens")] = None,
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


StoreOption = option(
    "Where rows are stored: a file, or postgresql://USER@HOST/DATABASE for several machines.",
    "STORE",
    "--store",
    parser=_store,
)
StoreName = Annotated[str, StoreOption]
InFlight = Annotated[
    int | None, option("The most calls at once; default: 8, on Ray 32.", "NUMBER", "--in-flight", "-j", panel=SPEED)
]
Sources = Annotated[
    list[str],
    typer.Argument(
        metavar="SOURCE",
        help="Folders, files, links, quoted patterns ('**/*.mp4'), lists (.csv, .jsonl, .parquet with a column uri), "
        "or addresses such as oss://BUCKET/PREFIX.",
    ),
]
