"""Options that several commands have: their words, and what they stand for."""

from collections.abc import Mapping
from typing import Annotated, TypeVar

import typer

from qwen_omni.errors import ConfigurationError
from qwen_omni.options import Delivery, Effort
from qwen_omni.profiles import Region

_Choice = TypeVar("_Choice")

Tile = Annotated[
    bool, typer.Option("--tile/--no-tile", help="Send a tall or wide picture as several images that overlap.")
]
Frame = Annotated[
    int | None, typer.Option(min=0, help="One frame of an animation, or page of a file, as a picture; from 0.")
]

EFFORTS: dict[str, bool | Effort] = {
    "on": True, "off": False, "minimal": "minimal", "low": "low", "medium": "medium", "high": "high", "max": "max",
}  # fmt: skip
WAYS: dict[str, Delivery] = {"auto": "auto", "inline": "inline", "oss": "oss", "temporary": "temporary"}
REGIONS: dict[str, Region] = {"cn": "cn", "intl": "intl", "us": "us", "hk": "hk"}


AUDIO_TRACK_HELP = "Which audio track: auto, mix, or its number from 0. auto skips a silent default track."


def choose(name: str, given: str | None, choices: Mapping[str, _Choice]) -> _Choice | None:
    """Find what a word stands for.

    Raises:
        ConfigurationError: it is none of the choices.
    """
    if given is not None and given not in choices:
        raise ConfigurationError(f"--{name} {given!r} is not known; choose one of {', '.join(choices)}.")
    return None if given is None else choices[given]
