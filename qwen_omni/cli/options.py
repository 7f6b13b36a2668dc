"""The options that several commands share, and how their values are read."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_args

import typer

from qwen_omni.errors import ConfigurationError
from qwen_omni.media.budget import PRESETS, BudgetName
from qwen_omni.options import Delivery, Effort, Tier
from qwen_omni.profiles import Region, known_models
from qwen_omni.settings import BUCKET_VARIABLE, Settings

_Choice = TypeVar("_Choice")
_Form = TypeVar("_Form", bound=str)

EFFORTS: dict[str, bool | Effort] = {
    "on": True, "off": False, "minimal": "minimal", "low": "low", "medium": "medium", "high": "high", "max": "max",
}  # fmt: skip
WAYS: dict[str, Delivery] = {"auto": "auto", "inline": "inline", "oss": "oss", "temporary": "temporary"}
TIERS: dict[str, Tier] = {"standard": "standard", "batch": "batch"}
REGIONS: dict[str, Region] = {name: name for name in get_args(Region)}
BUDGETS: dict[str, BudgetName] = {name: name for name in PRESETS}

MEDIA, SERVICE = "How media is sent", "Service"
"""Panels of the help."""

_CLOCK_PARTS = 3


def read_time(text: str | float) -> float:
    """Read a time of a recording: seconds, `minutes:seconds` or `hours:minutes:seconds`.

    Example:
        >>> read_time("90"), read_time("1:30"), read_time("1:02:03.5")
        (90.0, 90.0, 3723.5)

    Raises:
        BadParameter: it is none of these.
    """
    wrong = typer.BadParameter(f"{text!r} is not a time. Write seconds (90), or a time such as 1:30 or 1:02:03.")
    parts = str(text).strip().split(":")
    try:
        numbers = [float(part) for part in parts]
    except ValueError:
        raise wrong from None
    if len(parts) > _CLOCK_PARTS or (len(parts) > 1 and any(not 0 <= number < 60 for number in numbers[1:])):  # noqa: PLR2004
        raise wrong
    total = 0.0
    for number in numbers:
        total = total * 60 + number
    return total


def _models(incomplete: str) -> list[str]:
    """Complete the name of a model."""
    return [name for name in known_models() if name.startswith(incomplete)]


def words(choices: Mapping[str, Any]) -> Any:  # noqa: ANN401  (what typer calls to complete a value)
    """Return a function that completes a word from a list."""
    return lambda incomplete: [name for name in choices if name.startswith(incomplete)]


ModelName = Annotated[str, typer.Option("--model", "-m", metavar="NAME", help="Model to use.", autocompletion=_models)]
Fps = Annotated[float | None, typer.Option(metavar="NUMBER", help="Frames per second.", rich_help_panel=MEDIA)]
MaxPixels = Annotated[
    int | None,
    typer.Option(metavar="NUMBER", help="Maximum pixels per frame or image (width x height).", rich_help_panel=MEDIA),
]
Start = Annotated[
    float | None,
    typer.Option(metavar="TIME", parser=read_time, help="Start here: seconds, or 1:30.", rich_help_panel=MEDIA),
]
End = Annotated[
    float | None,
    typer.Option(metavar="TIME", parser=read_time, help="Stop here: seconds, or 1:30.", rich_help_panel=MEDIA),
]
Budget = Annotated[
    str | None,
    typer.Option(
        metavar="NAME", help=f"How closely to look: {', '.join(BUDGETS)}.", rich_help_panel=MEDIA,
        autocompletion=words(BUDGETS),
    ),
]  # fmt: skip
AudioTrack = Annotated[
    str,
    typer.Option(
        metavar="TRACK",
        help="Audio track: auto, mix, or a number from 0. auto skips a silent default track.",
        rich_help_panel=MEDIA,
    ),
]
Tile = Annotated[
    bool,
    typer.Option(
        "--tile/--no-tile", help="Send a tall or wide image as several overlapping images.", rich_help_panel=MEDIA
    ),
]
Frame = Annotated[
    int | None,
    typer.Option(
        metavar="NUMBER", min=0, help="Send only this frame of an animation, or page of a file; from 0.",
        rich_help_panel=MEDIA,
    ),
]  # fmt: skip
SegmentSeconds = Annotated[
    float, typer.Option(metavar="SECONDS", help="Maximum length of a segment, overlap included.")
]
Overlap = Annotated[float, typer.Option(metavar="SECONDS", help="How much of a segment the next one repeats.")]
SubtitleFolder = Annotated[
    Path,
    typer.Option(
        metavar="FOLDER",
        help="Where subtitles of several files go, replacing older ones. Those of one file are printed.",
    ),
]
Thinking = Annotated[
    str | None,
    typer.Option(
        metavar="EFFORT", help=f"Reasoning before the answer: {', '.join(EFFORTS)}. It is billed as output.",
        autocompletion=words(EFFORTS),
    ),
]  # fmt: skip
CallTier = Annotated[
    str | None,
    typer.Option(
        "--tier", metavar="NAME",
        help="batch: half price, answered within an hour; some models only, in Beijing.",
        autocompletion=words(TIERS),
    ),
]  # fmt: skip
Concurrency = Annotated[int, typer.Option("--concurrency", "-j", metavar="NUMBER", help="How many at a time.")]
ServiceRegion = Annotated[
    str | None,
    typer.Option(
        metavar="NAME", help=f"Region of your key: {', '.join(REGIONS)}.", rich_help_panel=SERVICE,
        autocompletion=words(REGIONS),
    ),
]  # fmt: skip
ServiceWorkspace = Annotated[
    str | None,
    typer.Option(
        metavar="ID", help="Workspace whose own host is used; or set DASHSCOPE_WORKSPACE.", rich_help_panel=SERVICE
    ),
]
ServiceUrl = Annotated[
    str | None,
    typer.Option(metavar="URL", help="Address of another service; or set DASHSCOPE_BASE_URL.", rich_help_panel=SERVICE),
]
DeliveryWay = Annotated[
    str,
    typer.Option(
        metavar="NAME",
        help=f"How local files reach the service: {', '.join(WAYS)}. Set {BUCKET_VARIABLE} for your own bucket.",
        rich_help_panel=SERVICE, autocompletion=words(WAYS),
    ),
]  # fmt: skip


def choose(name: str, given: str | None, choices: Mapping[str, _Choice]) -> _Choice | None:
    """Return the value that a word stands for.

    Raises:
        ConfigurationError: it is none of the choices.
    """
    if given is not None and given not in choices:
        raise ConfigurationError(f"--{name} {given!r} is not known; choose one of {', '.join(choices)}.")
    return None if given is None else choices[given]


def settings_for(
    region: str | None,
    base_url: str | None,
    workspace: str | None,
    delivery: str | None = None,
    **more: Any,  # noqa: ANN401  (fields of `Settings`)
) -> Settings:
    """Return the settings that the options of a command name; the rest is read from the environment.

    Raises:
        ConfigurationError: an unknown region or delivery, or no key.
    """
    return Settings.load(
        base_url=base_url, region=choose("region", region, REGIONS), workspace=workspace,
        delivery=choose("delivery", delivery, WAYS), **more,
    )  # fmt: skip


def one_form(asked: Mapping[_Form, bool], usual: _Form) -> _Form:
    """Return the one form of output that was asked for, or the usual one.

    Raises:
        ConfigurationError: several were.
    """
    chosen = [name for name, on in asked.items() if on]
    if len(chosen) > 1:
        raise ConfigurationError(f"--{' and --'.join(chosen)} cannot be combined; choose one.")
    return chosen[0] if chosen else usual


def check_names(media: Iterable[str]) -> None:
    """Refuse an empty name, which would be the current folder.

    Raises:
        ConfigurationError: one was given.
    """
    if not all(name.strip() for name in media):
        raise ConfigurationError("The name of a file is empty. Is a shell variable unset?")


def check_files(media: list[str], command: str) -> None:
    """Refuse `-` where only files can be read, and an empty name.

    Raises:
        ConfigurationError: one was given.
    """
    check_names(media)
    if "-" in media:
        raise ConfigurationError(
            f"{command} does not read standard input; save it to a file and pass its name. (ask does: "
            "cat clip.mp4 | qwen-omni ask - 'What happens?')"
        )
