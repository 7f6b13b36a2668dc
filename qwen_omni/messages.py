"""A conversation, free of any framework and of the service's JSON.

Adapters turn their messages into these values and `wire.request` turns these values into JSON. They are pure:
media stays where it is (`MediaSource` is a reference) until the client prepares it.
"""

from dataclasses import dataclass
from typing import Literal

from qwen_omni.errors import ConfigurationError
from qwen_omni.media.budget import BudgetName, MediaBudget
from qwen_omni.media.info import AudioTrackChoice, read_audio_track
from qwen_omni.media.source import MediaSource
from qwen_omni.ranges import COUNT, END, FRAME_RATE, PIXELS, START, check_numbers, check_span

Role = Literal["system", "user", "assistant", "tool"]
CacheTime = Literal["5m", "1h"]
"""How long explicit caching keeps the conversation up to a part that is marked with it, from its last use on."""

SAMPLING_RANGES = {"fps": FRAME_RATE, "min_pixels": PIXELS, "max_pixels": PIXELS, "total_pixels": PIXELS}
"""What any server may be asked for; `request` checks the narrower ranges of the model."""

SPAN_RANGES = {"start": START, "end": END}
"""The seconds of a recording that a part shows."""

FRAME_RANGES = {"frame": COUNT}
"""The frame of an animation, or page of a file, that a part shows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """How the service looks at a picture or a video. `None` leaves the service's default.

    Attributes:
        fps: frames per second that the service takes from a video, or at which listed frames were taken.
        min_pixels: pixels of a frame or image, at least; smaller ones are enlarged (and billed so).
        max_pixels: pixels of a frame or image, at most; larger ones are reduced.
        total_pixels: pixels of all frames of a video together, at most.
    """

    fps: float | None = None
    min_pixels: int | None = None
    max_pixels: int | None = None
    total_pixels: int | None = None

    def __post_init__(self) -> None:
        check_numbers(self, SAMPLING_RANGES)
        if self.min_pixels is not None and self.max_pixels is not None and self.min_pixels > self.max_pixels:
            raise ConfigurationError(
                f"min_pixels must be at most max_pixels ({self.max_pixels:,}), got {self.min_pixels:,}."
            )


DEFAULT_SAMPLING = Sampling()


@dataclass(frozen=True, slots=True, kw_only=True)
class TextPart:
    """Plain text. `cache`, here and in the parts of media, marks the end of what explicit caching keeps."""

    text: str
    cache: CacheTime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ImagePart:
    """A still picture; a local one is made to fit `budget` before it is sent.

    Attributes:
        source: where it is.
        sampling: how the service looks at it.
        budget: how large it may be sent.
        tile: a local picture that is tall or wide beyond reading is sent as several images that overlap by a tenth,
            in order; `False` sends it as one, shrunk. A file of several pages is sent as one image a page in any case.
        frame: which frame of an animation, or page of a file, to send, from 0. Without it, an animation is refused
            here: it is a video.
    """

    source: MediaSource
    sampling: Sampling = DEFAULT_SAMPLING
    budget: MediaBudget | BudgetName = "auto"
    cache: CacheTime | None = None
    tile: bool = True
    frame: int | None = None

    def __post_init__(self) -> None:
        check_numbers(self, FRAME_RANGES)


def _check_recording(part: "AudioPart | VideoPart") -> None:
    check_numbers(part, SPAN_RANGES)
    check_span(part.start, part.end)
    object.__setattr__(part, "audio_track", read_audio_track(part.audio_track))


@dataclass(frozen=True, slots=True, kw_only=True)
class AudioPart:
    """A sound recording, or of a local one the seconds from `start` to `end`, and of several tracks `audio_track`."""

    source: MediaSource
    start: float | None = None
    end: float | None = None
    audio_track: AudioTrackChoice = "auto"
    cache: CacheTime | None = None

    def __post_init__(self) -> None:
        _check_recording(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoPart:
    """A video file, with its sound, or of a local one the seconds from `start` to `end`, made to fit `budget`.

    `audio_track` chooses among several audio tracks of a local one: `"auto"` takes the default track, or the first that
    is not silent if that one is; a number counts the tracks from 0; `"mix"` takes all together.
    """

    source: MediaSource
    sampling: Sampling = DEFAULT_SAMPLING
    start: float | None = None
    end: float | None = None
    budget: MediaBudget | BudgetName = "auto"
    audio_track: AudioTrackChoice = "auto"
    cache: CacheTime | None = None

    def __post_init__(self) -> None:
        _check_recording(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class FramesPart:
    """A silent video given as its frames, in order; `sampling.fps` says how far apart they are.

    Local frames are made to fit `budget`, each like an image, before they are sent.
    """

    frames: tuple[MediaSource, ...]
    sampling: Sampling = DEFAULT_SAMPLING
    budget: MediaBudget | BudgetName = "auto"
    cache: CacheTime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ThinkingPart:
    """What the model thought before it answered."""

    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCallPart:
    """The model's wish to have a tool run. `arguments` is JSON text, exactly as the model wrote it."""

    id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolResultPart:
    """What a tool gave back, as text."""

    tool_call_id: str
    text: str
    name: str | None = None
    cache: CacheTime | None = None


MediaPart = ImagePart | AudioPart | VideoPart | FramesPart
Part = TextPart | MediaPart | ThinkingPart | ToolCallPart | ToolResultPart


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One turn of a conversation.

    Example:
        >>> from qwen_omni import MediaSource, Message, TextPart, VideoPart
        >>> Message(role="user", parts=(
        ...     VideoPart(source=MediaSource.from_path("promo.mp4")),
        ...     TextPart(text="What is sold here?"),
        ... )).role
        'user'
    """

    role: Role
    parts: tuple[Part, ...]
    name: str | None = None


def user(*parts: Part | str) -> Message:
    """Make a user message of texts and parts, in the order given."""
    return Message(role="user", parts=tuple(TextPart(text=part) if isinstance(part, str) else part for part in parts))


def media_of(part: Part) -> tuple[MediaSource, ...]:
    """List the media a part refers to, in order; empty for parts without media."""
    match part:
        case ImagePart() | AudioPart() | VideoPart():
            return (part.source,)
        case FramesPart():
            return part.frames
        case TextPart() | ThinkingPart() | ToolCallPart() | ToolResultPart():
            return ()
