"""What a caller chooses about a long video. Values only."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol, get_args

from qwen_omni.errors import ConfigurationError
from qwen_omni.media.budget import MediaBudget
from qwen_omni.media.info import AudioTrackChoice, read_audio_track
from qwen_omni.options import ChatRequest, Effort
from qwen_omni.profiles import DEFAULT_MODEL, DEFAULT_TEXT_MODEL, Profile
from qwen_omni.ranges import COUNT, END, PARALLEL, POSITIVE_COUNT, START, WAIT, Range, check_numbers, check_span
from qwen_omni.responses import Response

Detail = Literal["low", "medium", "high"]
Strategy = Literal["map_reduce", "single", "auto"]

DETAIL_FPS: dict[Detail, float] = {"low": 0.5, "medium": 1.0, "high": 2.0}
"""Frames per second that the model looks at."""

_STRATEGIES = ("map_reduce", "single", "auto")


_RANGES = {
    "single_call_seconds": Range(least=0, endless=True),
    "segment_seconds": END,
    "overlap": START,
    "start": START,
    "end": END,
    "concurrency": PARALLEL,
    "max_gaps": COUNT,
    "step_retries": COUNT,
    "retry_seconds": WAIT,
    "rpm": POSITIVE_COUNT,
    "tpm": POSITIVE_COUNT,
    "reduce_tokens": Range(least=1000, most=1_000_000_000, whole=True),  # less leaves no room for two segments' notes
    "workers": PARALLEL,
}


class TextModel(Protocol):
    """Any model that answers text with text: what joins the notes if it is not one of the service's own.

    Attributes:
        name: tells one model from another; a checkpoint keeps their answers apart.
    """

    @property
    def name(self) -> str:
        """What the model is called."""

    def complete(self, request: ChatRequest) -> Response:
        """Answer a conversation; raises `QwenOmniError` or whatever the model raises."""

    async def acomplete(self, request: ChatRequest) -> Response:
        """Do the same in `asyncio`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SummaryOptions:
    """What may be chosen about the summary of a long video.

    Attributes:
        model: looks at the pieces of the video.
        text_model: joins the notes of the pieces: a model of the service, or any `TextModel`.
        language: of the texts in the answer, in any words ("French", "中文"); `None` leaves it to the model.
        wish: what to look out for, in words; added to the prompts.
        detail: how closely the model looks: 0.5, 1 or 2 frames a second.
        strategy: "map_reduce" cuts what is longer than `single_call_seconds`; "single" sends the whole in one call, and
            is refused where the model does not take that; "auto" takes one call where the model then sees as many
            frames.
        single_call_seconds: up to this length one call is made, unless the model's own limit is below it.
        segment_seconds: the longest a segment may be, overlap included; the model's limit may be less.
        overlap: seconds of a segment's end that the next one begins with.
        start: where to begin, in seconds.
        end: where to end, in seconds.
        audio_track: which of several audio tracks is heard: `"auto"` for the default one, or the first that is not
            silent if that one is; its number, from 0; `"mix"` for all together.
        concurrency: requests in flight at once.
        max_gaps: segments that may fail for good; a tenth of them, at least one, if not given.
        step_retries: how often a step that failed in passing is begun again, beside the client's own retries; an error
            that repeats word for word is final.
        retry_seconds: before a step is begun again; doubles.
        rpm: requests a minute; the profile's if not given.
        tpm: tokens a minute; the profile's if not given.
        reduce_tokens: how many tokens of notes are joined in one step; longer ones are joined in a tree.
        budget: how the file of a segment is made; by `detail` if not given.
        thinking: whether the models think first. Off, because it is billed as output and may spoil JSON.
        allow_truncated: accept notes and joins that were cut by the token limit or by content inspection, with a
            notice; otherwise a segment whose answer was cut is a gap, and a cut join ends the run.
        checkpoint: the folder of checkpoints; `True` is the usual one in the cache folder, `False` keeps none.
        reuse_unverified: whether answers count that an older version stored without recording who gave them.
        workers: threads that prepare segments; as many as there are cores, up to four, if not given.
    """

    model: str = DEFAULT_MODEL
    text_model: str | TextModel = DEFAULT_TEXT_MODEL
    language: str | None = None
    wish: str | None = None
    detail: Detail = "medium"
    strategy: Strategy = "map_reduce"
    single_call_seconds: float = 180
    segment_seconds: float = 90
    overlap: float = 2
    start: float | None = None
    end: float | None = None
    audio_track: AudioTrackChoice = "auto"
    concurrency: int = 8
    max_gaps: int | None = None
    step_retries: int = 2
    retry_seconds: float = 5
    rpm: int | None = None
    tpm: int | None = None
    reduce_tokens: int = 60_000
    budget: MediaBudget | None = None
    thinking: bool | Effort = False
    allow_truncated: bool = False
    checkpoint: bool | Path = True
    reuse_unverified: bool = False
    workers: int | None = None

    def __post_init__(self) -> None:
        for name, known in (("detail", tuple(DETAIL_FPS)), ("strategy", _STRATEGIES)):
            if getattr(self, name) not in known:
                raise ConfigurationError(
                    f"{name}={getattr(self, name)!r} is not known; choose one of {', '.join(known)}."
                )
        if self.thinking not in (True, False, *get_args(Effort)):
            efforts = ", ".join(get_args(Effort))
            raise ConfigurationError(f"thinking={self.thinking!r}: choose True, False or one of {efforts}.")
        check_numbers(self, _RANGES)
        check_span(self.start, self.end)
        object.__setattr__(self, "audio_track", read_audio_track(self.audio_track))

    @property
    def text_model_name(self) -> str:
        """What the model that joins is called."""
        return self.text_model if isinstance(self.text_model, str) else self.text_model.name


DEFAULT_OPTIONS = SummaryOptions()


def segment_budget(options: SummaryOptions, profile: Profile) -> MediaBudget:
    """Choose how the files of segments are made.

    Where the model lets us say how many frames it looks at, the file has twice as many, so that each is near the
    instant it stands for; elsewhere the file itself has no more than the wanted ones.

    Example:
        >>> from qwen_omni.profiles import profile_for
        >>> segment_budget(DEFAULT_OPTIONS, profile_for("qwen3.8-omni-flash")).fps
        2.0
    """
    if options.budget is not None:
        return options.budget
    fps = DETAIL_FPS[options.detail]
    name = f"detail {options.detail}"
    if profile.sampling_fields:
        return MediaBudget(name=name, fps=2 * fps, sampling_fps=fps)
    return MediaBudget(name=name, fps=fps)
