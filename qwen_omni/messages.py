"""A conversation, free of any framework and of the service's JSON.

Adapters turn their messages into these values and `wire.request` turns these values into JSON. They are pure:
media stays where it is (`MediaSource` is a reference) until the client prepares it. What has been prepared is a
`MediaPayload`: media as they stand in a request.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from qwen_omni.media.budget import DEFAULT_SAMPLING, BudgetName, MediaBudget, Sampling
from qwen_omni.media.info import AudioTrackChoice, read_audio_track
from qwen_omni.media.source import FileVersion, MediaSource
from qwen_omni.ranges import COUNT, END, START, check_numbers, check_span
from qwen_omni.redact import redact

Role = Literal["system", "user", "assistant", "tool"]
CacheTime = Literal["5m", "1h"]
"""How long explicit caching keeps the conversation up to a part that is marked with it, from its last use on."""

SPAN_RANGES = {"start": START, "end": END}
"""The seconds of a recording that a part shows."""

FRAME_RANGES = {"frame": COUNT}
"""The frame of an animation, or page of a file, that a part shows."""


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


Store = Literal["oss", "temporary"]
Route = Literal["link", "inline", "oss", "temporary"]
"""Which way a piece of media went."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """Where a store keeps a piece of media.

    Attributes:
        location: the object's name in the bucket, or the `oss://` link of the temporary store.
        link_until: when the link to it ends, in seconds since 1970.
        key: under which the upload cache knows it; empty if it does not.
        reused: it was uploaded for an earlier request, so it may be gone by now.
    """

    store: Store
    location: str
    link_until: float
    key: str = ""
    reused: bool = False


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class MediaPayload:
    """Media ready for a request: `url` for a link, else `data` or `path` for media that travels inside.

    Media that was uploaded has all of them: the link, and what is needed to upload it again.

    Attributes:
        media_type: written into the data URI; empty for sound and video, as the service's guide has it.
        content_type: the MIME type of the file, which a store is told.
        format: the container's short name (`wav`, `mp3`), which sound parts must tell.
        size_bytes: of the media itself.
        has_sound: whether a video is heard; `None` where nobody has looked, as with a link.
        version: the state of `path` that was looked at.
        bare: inside the request stands base64 alone, without `data:` before it.
        upload: where it was put, if it was uploaded.
        held: kept alive as long as this is, since a temporary file goes with its owner.
    """

    url: str | None = None
    data: bytes | None = field(default=None, repr=False)
    path: Path | None = None
    media_type: str = ""
    content_type: str = ""
    format: str | None = None
    size_bytes: int = 0
    has_sound: bool | None = None
    version: FileVersion | None = None
    bare: bool = False
    upload: Upload | None = None
    held: object = field(default=None, repr=False, compare=False)

    def __repr__(self) -> str:
        way = f"url {redact(self.url)!r}" if self.url is not None else f"inline {self.size_bytes:,} bytes"
        return f"MediaPayload({way})"

    @property
    def prefix(self) -> str:
        """What stands before the base64 text in a data URI."""
        return "" if self.bare else f"data:{self.media_type};base64,"

    @property
    def encoded_bytes(self) -> int:
        """The length of the whole data URI; 0 for a link."""
        return 0 if self.url is not None else encoded_size(self.size_bytes) + len(self.prefix)

    @property
    def route(self) -> Route:
        """Which way it goes."""
        if self.upload is not None:
            return self.upload.store
        return "inline" if self.url is None else "link"


def encoded_size(size_bytes: int) -> int:
    """Return the length of `size_bytes` bytes as base64."""
    return 4 * ((size_bytes + 2) // 3)
