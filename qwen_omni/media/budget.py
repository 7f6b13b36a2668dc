"""What media may cost: how large a file we send, and how finely the service samples it. Values and arithmetic only.

There are two separate costs. *Bytes* are those of the file that we make; *tokens* are billed for what the service
samples from it, by default 2 frames per second whatever we send. `media.plan.plan` applies a budget to a file.
"""

import math
from dataclasses import asdict, dataclass, replace
from fractions import Fraction
from typing import Literal

from qwen_omni._moved import with_old_options
from qwen_omni.errors import ConfigurationError
from qwen_omni.profiles import Profile
from qwen_omni.ranges import FRAME_RATE, PIXELS, POSITIVE_COUNT, Range, check_numbers

BudgetName = Literal["auto", "static", "action", "original", "glance"]

_SIDE = Range(least=2, most=1_000_000, whole=True)  # video needs even sides
EFFORTS = (
    "ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow", "placebo",
)  # fmt: skip
"""x264's presets, from the fastest to the one that makes the smallest file."""
BUDGET_RANGES = {
    "long_side": _SIDE,
    "short_side": _SIDE,
    "fps": Range(least=0.1, most=60),
    "sampling_fps": FRAME_RATE,
    "min_pixels": PIXELS,
    "max_pixels": PIXELS,
    "sample_rate": Range(least=8_000, most=48_000, whole=True),  # supported by both AAC and MP3
    "audio_bitrate": Range(least=8_000, most=320_000, whole=True),
    "quality": Range(least=0, most=51, whole=True),  # x264's constant rate factor
    "max_bytes": POSITIVE_COUNT,
}
"""Allowed values of a budget."""

SAMPLING_RANGES = {"fps": FRAME_RATE, "min_pixels": PIXELS, "max_pixels": PIXELS, "total_pixels": PIXELS}
"""What any server may be asked for; `request` checks the narrower ranges of the model."""


def _check_pixels(least: int | None, most: int | None) -> None:
    if least is not None and most is not None and least > most:
        raise ConfigurationError(f"min_pixels must be at most max_pixels ({most:,}), got {least:,}.")


@with_old_options("audio_bitrate")
@dataclass(frozen=True, slots=True, kw_only=True)
class MediaBudget:
    """Limits for one piece of media. Choose a preset by its name, or change one with `dataclasses.replace`.

    Attributes:
        name: its name in messages.
        long_side: maximum pixels of the longer side. Nothing is ever enlarged.
        short_side: maximum pixels of the shorter side.
        fps: maximum frames per second of the file; `None` measures the motion and uses 4 or 8.
        key_frames: use only frames that decode on their own, about one per second or fewer: fast and coarse. Each is
            shown until the next one.
        keep: always send the file unchanged.
        weigh: send the file unchanged when that is quicker and bills no more.
        sampling_fps: frames per second that the service is asked to sample; `None` leaves its default.
        min_pixels: minimum pixels per frame that the service is asked for.
        max_pixels: maximum pixels per frame that the service is asked for.
        sample_rate: audio samples per second; always one channel.
        audio_bitrate: audio bits per second.
        quality: x264's constant rate factor with its usual settings; lower is better and larger.
        effort: x264's preset; "veryfast" at up to 10 fps omits features without benefit there (B-frames).
        max_bytes: maximum size of the file; the video is encoded more coarsely if it would be larger.
        frames: make a list of JPEG images at exact times instead of a video.

    Example:
        >>> from dataclasses import replace
        >>> replace(budget_named("static"), fps=2).fps
        2
    """

    name: str = "own"
    long_side: int = 1280
    short_side: int = 720
    fps: float | None = 4
    key_frames: bool = False
    keep: bool = False
    weigh: bool = False
    sampling_fps: float | None = None
    min_pixels: int | None = None
    max_pixels: int | None = None
    sample_rate: int = 16_000
    audio_bitrate: int = 32_000
    quality: int = 26
    effort: str = "veryfast"
    max_bytes: int | None = None
    frames: bool = False

    def __post_init__(self) -> None:
        check_numbers(self, BUDGET_RANGES)
        if self.effort not in EFFORTS:
            raise ConfigurationError(f"effort must be one of {', '.join(EFFORTS)}, got {self.effort!r}.")
        _check_pixels(self.min_pixels, self.max_pixels)


PRESETS: dict[BudgetName, MediaBudget] = {
    "auto": MediaBudget(name="auto", fps=None, weigh=True),
    "static": MediaBudget(name="static", fps=4, sampling_fps=4),
    "action": MediaBudget(name="action", fps=8, sampling_fps=8),
    "original": MediaBudget(name="original", keep=True),
    "glance": MediaBudget(name="glance", fps=1, key_frames=True, sampling_fps=1, effort="ultrafast", quality=31),
}
CALM_FPS, LIVELY_FPS = 4, 8
"""The frame rates of `auto`: for talking heads and slides, and for action."""


def budget_named(budget: MediaBudget | BudgetName) -> MediaBudget:
    """Return the budget that a preset's name stands for; a budget is returned unchanged.

    Raises:
        ConfigurationError: there is no preset of that name.
    """
    if isinstance(budget, MediaBudget):
        return budget
    if budget not in PRESETS:
        raise ConfigurationError(f"Unknown budget {budget!r}; choose one of {', '.join(PRESETS)}, or a MediaBudget.")
    return PRESETS[budget]


def budget_key(budget: MediaBudget) -> dict[str, object]:
    """Return the limits as the keys of finished work have them; a new name of a limit must not lose that work.

    Example:
        >>> budget_key(MediaBudget())["sound_bitrate"]
        32000
    """
    return {"sound_bitrate" if name == "audio_bitrate" else name: value for name, value in asdict(budget).items()}


def shown_size(size: tuple[int, int], pixel_aspect: Fraction) -> tuple[Fraction, Fraction]:
    """Make pixels square by removing lines or columns, never by adding any."""
    width, height = Fraction(size[0]), Fraction(size[1])
    return (width, height / pixel_aspect) if pixel_aspect > 1 else (width * pixel_aspect, height)


def fit_sides(size: tuple[Fraction | int, Fraction | int], budget: MediaBudget) -> Fraction:
    """Return the factor, at most 1, that scales an image to the budget."""
    long, short = max(size), min(size)
    return min(Fraction(1), Fraction(budget.long_side) / long, Fraction(budget.short_side) / short)


def even_sides(width: Fraction | int, height: Fraction | int, factor: Fraction | int = 1) -> tuple[int, int]:
    """Scale a frame and round its sides to even numbers of at least 2, as video codecs need."""
    return _even(width * factor), _even(height * factor)


def whole_sides(width: Fraction | int, height: Fraction | int, factor: Fraction | int = 1) -> tuple[int, int]:
    """Scale an image and round its sides to whole numbers of at least 1."""
    return max(1, round(width * factor)), max(1, round(height * factor))


def _even(side: Fraction | int) -> int:
    return max(2, round(Fraction(side) / 2) * 2)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """How the service samples an image or a video. `None` leaves the service's default.

    Attributes:
        fps: frames per second that the service samples from a video, or at which listed frames were taken.
        min_pixels: minimum pixels of a frame or image; smaller ones are enlarged (and billed accordingly).
        max_pixels: maximum pixels of a frame or image; larger ones are reduced.
        total_pixels: maximum pixels of all frames of a video together.
    """

    fps: float | None = None
    min_pixels: int | None = None
    max_pixels: int | None = None
    total_pixels: int | None = None

    def __post_init__(self) -> None:
        check_numbers(self, SAMPLING_RANGES)
        _check_pixels(self.min_pixels, self.max_pixels)


DEFAULT_SAMPLING = Sampling()


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanInputs:
    """What a plan is made for, besides the file.

    Attributes:
        budget: what it may cost.
        profile: the model that receives it.
        sampling: the caller's sampling fields; they override the budget's.
        start: start of the wanted range in seconds.
        end: its end; `None` is the end of the file.
        lively: whether the video has much motion.
        room_bytes: largest file that can be delivered.
        uplink_mbps: upload speed in megabits per second.
        cores: number of processor cores used.
        tile: whether a tall or wide image may become several images.
        listed: whether an image is one frame of a list, which the service processes like a frame of a video.
    """

    budget: MediaBudget
    profile: Profile
    sampling: Sampling = DEFAULT_SAMPLING
    start: Fraction | None = None
    end: Fraction | None = None
    lively: bool = False
    room_bytes: int | None = None
    uplink_mbps: float = 20.0
    cores: int = 2
    tile: bool = False
    listed: bool = False


Side = Fraction | int


def allowed(size: tuple[Side, Side], inputs: PlanInputs) -> Fraction:
    """Return the factor, at most 1, that scales an image to the size that is wanted.

    That is the budget's sides, unless the service is asked to process more pixels than they leave: a smaller
    image would lack what was asked for. Sides set by the caller's own budget always apply.
    """
    within = fit_sides(size, inputs.budget)
    asked = inputs.sampling.max_pixels or inputs.budget.max_pixels
    if not asked or not inputs.profile.sampling_fields or has_own_sides(inputs.budget):
        return within
    return max(within, min(Fraction(1), Fraction(math.sqrt(asked / Fraction(size[0] * size[1])))))


def has_own_sides(budget: MediaBudget) -> bool:
    """Whether the caller chose the maximum sides; the presets leave them at their defaults."""
    usual = PRESETS["auto"]
    return (budget.long_side, budget.short_side) != (usual.long_side, usual.short_side)


def sampling_for(inputs: PlanInputs) -> Sampling:
    """Combine the sampling fields of the caller and the budget; the caller's take precedence."""
    if not inputs.profile.sampling_fields:
        return inputs.sampling
    asked, budget = inputs.sampling, inputs.budget
    return replace(
        asked,
        fps=asked.fps if asked.fps is not None else budget.sampling_fps,
        min_pixels=asked.min_pixels if asked.min_pixels is not None else budget.min_pixels,
        max_pixels=asked.max_pixels if asked.max_pixels is not None else budget.max_pixels,
    )
