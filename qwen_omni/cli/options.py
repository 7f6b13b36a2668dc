"""The options that several commands share, and how their values are read."""

import functools
import inspect
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_args

import typer

from qwen_omni.errors import ConfigurationError
from qwen_omni.media.budget import PRESETS, BudgetName, Sampling
from qwen_omni.media.files.output import check_targets, named_after
from qwen_omni.media.info import read_audio_track
from qwen_omni.options import Delivery, Effort, Tier
from qwen_omni.profiles import Region, known_models
from qwen_omni.settings import BUCKET_VARIABLE, Settings
from qwen_omni.video.options import DETAIL_FPS, Detail

_T = TypeVar("_T")
_Choice = TypeVar("_Choice")
_Form = TypeVar("_Form", bound=str)

EFFORTS: dict[str, bool | Effort] = {
    "on": True, "off": False, "minimal": "minimal", "low": "low", "medium": "medium", "high": "high", "max": "max",
}  # fmt: skip
WAYS: dict[str, Delivery] = {"auto": "auto", "inline": "inline", "oss": "oss", "temporary": "temporary"}
TIERS: dict[str, Tier] = {"standard": "standard", "batch": "batch"}
REGIONS: dict[str, Region] = {name: name for name in get_args(Region)}
BUDGETS: dict[str, BudgetName] = {name: name for name in PRESETS}
DETAILS: dict[str, Detail] = {name: name for name in DETAIL_FPS}

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


def option(
    help: str,  # noqa: A002  (typer's word)
    metavar: str,
    *names: str,
    panel: str | None = None,
    choices: Mapping[str, Any] | None = None,
    **more: Any,  # noqa: ANN401  (any other property)
) -> Any:  # noqa: ANN401  (what typer reads)
    """Return an option with a value.

    Args:
        help: what the help says about it.
        metavar: what its value is called there.
        names: its names, if it is not called as its argument.
        panel: the panel of the help.
        choices: the words that the shell completes.
        more: other properties.
    """
    if choices is not None:
        more["autocompletion"] = words(choices)
    return typer.Option(*names, metavar=metavar, help=help, rich_help_panel=panel, **more)


ModelName = Annotated[str, option("Model to use.", "NAME", "--model", "-m", autocompletion=_models)]
Start = Annotated[float | None, option("Start here: seconds, or 1:30.", "TIME", panel=MEDIA, parser=read_time)]
End = Annotated[float | None, option("Stop here: seconds, or 1:30.", "TIME", panel=MEDIA, parser=read_time)]
Budget = Annotated[
    str | None, option(f"How closely to look: {', '.join(BUDGETS)}.", "NAME", panel=MEDIA, choices=BUDGETS)
]
AudioTrack = Annotated[
    str, option("Audio track: auto, mix, or a number from 0. auto skips a silent default track.", "TRACK", panel=MEDIA)
]
SegmentSeconds = Annotated[float, option("Maximum length of a segment, overlap included.", "SECONDS")]
Overlap = Annotated[float, option("How much of a segment the next one repeats.", "SECONDS")]
SubtitleFolder = Annotated[
    Path, option("Where subtitles of several files go, replacing older ones. Those of one file are printed.", "FOLDER")
]
Thinking = Annotated[
    str | None,
    option(f"Reasoning before the answer: {', '.join(EFFORTS)}. It is billed as output.", "EFFORT", choices=EFFORTS),
]
CallTier = Annotated[
    str | None,
    option(
        "batch: half price, answered within an hour; some models only, in Beijing.", "NAME", "--tier", choices=TIERS
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Concurrency = Annotated[int, option("How many at a time.", "NUMBER", "--concurrency", "-j")]


def choose(name: str, given: str | None, choices: Mapping[str, _Choice]) -> _Choice | None:
    """Return the value that a word stands for.

    Raises:
        ConfigurationError: it is none of the choices.
    """
    if given is not None and given not in choices:
        raise ConfigurationError(f"--{name} {given!r} is not known; choose one of {', '.join(choices)}.")
    return None if given is None else choices[given]


def sharing(**readers: Callable[..., Any]) -> Callable[[Callable[..., _T]], Callable[..., _T]]:
    """Return a decorator that replaces arguments of a command by the options of the functions that make them.

    A reader may be decorated, too.

    Args:
        readers: by the name of the argument, a function of options that returns its value.
    """

    def decorate(command: Callable[..., _T]) -> Callable[..., _T]:
        own = inspect.signature(command)
        taken = {name: inspect.signature(reader).parameters for name, reader in readers.items()}

        @functools.wraps(command)
        def shared(**given: Any) -> _T:  # noqa: ANN401  (the values of options)
            made = {name: reader(**{one: given.pop(one) for one in taken[name]}) for name, reader in readers.items()}
            return command(**given, **made)

        kept = [one for one in own.parameters.values() if one.name not in readers]
        options = [one for name in readers for one in taken[name].values()]
        shared.__signature__ = own.replace(parameters=[  # type: ignore[attr-defined]  # what typer reads
            one.replace(kind=inspect.Parameter.KEYWORD_ONLY) for one in (*kept, *options)
        ])  # fmt: skip
        shared.__annotations__ = {one.name: one.annotation for one in (*kept, *options)}
        return shared

    return decorate


def read_media(
    fps: Annotated[float | None, option("Frames per second.", "NUMBER", panel=MEDIA)] = None,
    max_pixels: Annotated[
        int | None, option("Maximum pixels per frame or image (width x height).", "NUMBER", panel=MEDIA)
    ] = None,
    audio_track: AudioTrack = "auto",
    tile: Annotated[
        bool,
        typer.Option(
            "--tile/--no-tile", help="Send a tall or wide image as several overlapping images.", rich_help_panel=MEDIA
        ),
    ] = True,
    frame: Annotated[
        int | None,
        option("Send only this frame of an animation, or page of a file; from 0.", "NUMBER", panel=MEDIA, min=0),
    ] = None,
) -> dict[str, Any]:
    """Return the arguments of the core's options that say how media is sent.

    Raises:
        ConfigurationError: a number is out of range, or there is no such track.
    """
    sampling = Sampling(fps=fps, max_pixels=max_pixels)
    return {"sampling": sampling, "audio_track": read_audio_track(audio_track), "tile": tile, "frame": frame}


def read_place(
    region: Annotated[
        str | None, option(f"Region of your key: {', '.join(REGIONS)}.", "NAME", panel=SERVICE, choices=REGIONS)
    ] = None,
    workspace: Annotated[
        str | None, option("Workspace whose own host is used; or set DASHSCOPE_WORKSPACE.", "ID", panel=SERVICE)
    ] = None,
    base_url: Annotated[
        str | None, option("Address of another service; or set DASHSCOPE_BASE_URL.", "URL", panel=SERVICE)
    ] = None,
) -> Callable[..., Settings]:
    """Return the function that loads the settings; its keywords are other fields of `Settings`."""

    def load(delivery: str | None = None, **more: Any) -> Settings:  # noqa: ANN401  (fields of `Settings`)
        return Settings.load(
            base_url=base_url, region=choose("region", region, REGIONS), workspace=workspace,
            delivery=choose("delivery", delivery, WAYS), **more,
        )  # fmt: skip

    return load


@sharing(place=read_place)
def read_service(
    place: Callable[..., Settings],
    delivery: Annotated[
        str,
        option(
            f"How local files reach the service: {', '.join(WAYS)}. Set {BUCKET_VARIABLE} for your own bucket.",
            "NAME",
            panel=SERVICE,
            choices=WAYS,
        ),
    ] = "auto",
) -> Callable[..., Settings]:
    """Return the function that loads the settings, with the way that media is delivered."""
    return functools.partial(place, delivery)


def one_form(asked: Mapping[_Form, bool], usual: _Form) -> _Form:
    """Return the one form of output that was asked for, or the usual one.

    Raises:
        ConfigurationError: several were.
    """
    chosen = [name for name, on in asked.items() if on]
    if len(chosen) > 1:
        raise ConfigurationError(f"--{' and --'.join(chosen)} cannot be combined; choose one.")
    return chosen[0] if chosen else usual


def subtitle_paths(media: list[str], folder: Path, form: str) -> dict[str, Path]:
    """Choose the subtitle files of several media, once each can be written; those of one are printed.

    Raises:
        ConfigurationError: the folder is missing or not writable.
    """
    if form not in ("srt", "vtt") or len(media) < 2:  # noqa: PLR2004
        return {}
    paths = {item: chosen[form] for item, chosen in named_after(media, folder, [form]).items()}
    check_targets(paths.values())
    return paths


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
