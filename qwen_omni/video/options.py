"""Options for long videos, and which media of a message a run accepts. Values and decisions."""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, get_args

from qwen_omni.errors import ConfigurationError, QwenOmniError, UnsupportedContentError
from qwen_omni.media.budget import MediaBudget
from qwen_omni.media.info import AudioTrackChoice, read_audio_track
from qwen_omni.messages import AudioPart, FramesPart, ImagePart, Message, Part, TextPart, VideoPart
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


_NAMES = {ImagePart: "an image", FramesPart: "a list of frames", VideoPart: "a video", AudioPart: "a recording"}
_PIXELS = ("min_pixels", "max_pixels", "total_pixels")


def heeded_media(parts: Sequence[Part]) -> VideoPart | AudioPart:
    """Give the one video or recording among the parts of a message; texts beside it are the caller's to read.

    Example:
        >>> from qwen_omni import MediaSource
        >>> heeded_media([VideoPart(source=MediaSource.from_path("talk.mp4"), start=60)]).start
        60

    Raises:
        UnsupportedContentError: there is not exactly one, or it says how closely to look, which is chosen for all
            segments alike; the text names the option to use in place.
    """
    media = [part for part in parts if not isinstance(part, TextPart)]
    if len(media) != 1 or not isinstance(media[0], VideoPart | AudioPart):
        held = ", ".join(_NAMES.get(type(part), "something else") for part in media) or "no media"
        raise UnsupportedContentError(f"The input holds {held}; a long video is one video or recording.")
    if isinstance(media[0], VideoPart):
        _check_closeness(media[0])
    return media[0]


def choices_of(part: VideoPart | AudioPart) -> dict[str, Any]:
    """Return the options of a run that a part names; they win over the run's own."""
    named: dict[str, Any] = {}
    if part.start is not None or part.end is not None:
        named |= {"start": part.start, "end": part.end}
    return named if part.audio_track == "auto" else named | {"audio_track": part.audio_track}


def _check_closeness(video: VideoPart) -> None:
    if video.sampling.fps is not None:
        rates = ", ".join(f'detail="{name}" ({rate:g} frames a second)' for name, rate in DETAIL_FPS.items())
        raise UnsupportedContentError(
            f"The video asks for fps={video.sampling.fps:g}, and how closely a long video is looked at is one choice "
            f"for all of it: leave it out and give one of {rates}."
        )
    wishes = {name: getattr(video.sampling, name) for name in _PIXELS}
    wishes["budget"] = None if video.budget == "auto" else video.budget
    wish = next((name for name, value in wishes.items() if value is not None), None)
    if wish is not None:
        raise UnsupportedContentError(
            f"The video asks for {wish}, and how the pieces of a long video are made is one choice for all of it: "
            "leave it out and give budget=MediaBudget(...)."
        )


@contextlib.contextmanager
def told_as_ours() -> Iterator[None]:
    """Raise whatever another library's model raises as an error that a run knows how to end with.

    Raises:
        QwenOmniError: the model failed; its own error is the cause.
    """
    try:
        yield
    except QwenOmniError:
        raise
    except Exception as error:
        raise QwenOmniError(f"The model that joins notes failed: {type(error).__name__}: {error}") from error


def words_of(message: Message) -> str:
    """Give the text of a message; what joins notes is asked in nothing else."""
    return "\n\n".join(part.text for part in message.parts if isinstance(part, TextPart))
