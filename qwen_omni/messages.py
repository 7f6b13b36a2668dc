"""A conversation, independent of any framework and of the service's JSON.

Adapters turn their messages into these values and `wire.request` turns these values into JSON. They are pure:
media stays where it is (`MediaSource` is a reference) until the client prepares it. Prepared media is a
`MediaPayload`: the media as it stands in a request.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Literal

from qwen_omni.media.budget import DEFAULT_SAMPLING, BudgetName, MediaBudget, Sampling
from qwen_omni.media.info import AudioTrackChoice, MediaKind, read_audio_track
from qwen_omni.media.source import FileVersion, MediaSource
from qwen_omni.ranges import COUNT, END, START, check_numbers, check_span
from qwen_omni.redact import redact

Role = Literal["system", "user", "assistant", "tool"]
CacheTime = Literal["5m", "1h"]
"""How long explicit caching keeps the conversation up to a marked part, counted from its last use."""

SPAN_RANGES = {"start": START, "end": END}
"""The time range of a recording that a part covers, in seconds."""

FRAME_RANGES = {"frame": COUNT}
"""The frame of an animation, or page of a file, that a part covers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TextPart:
    """Plain text. `cache`, here and in media parts, marks the end of what explicit caching keeps."""

    text: str
    cache: CacheTime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ImagePart:
    """An image; a local one is resized to fit `budget` before it is sent.

    Attributes:
        source: where it is.
        sampling: how the service samples it.
        budget: how large it may be sent.
        tile: split a local image that is too tall or wide to be legible into several images that overlap by a tenth,
            in order; `False` sends it as one, shrunk. A file of several pages is always sent as one image per page.
        frame: which frame of an animation, or page of a file, to send, from 0. Without it, an animation is rejected
            here: it is a video.
    """

    modality: ClassVar[MediaKind] = "image"
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
    """An audio recording; for a local one, the seconds from `start` to `end` of `audio_track`."""

    modality: ClassVar[MediaKind] = "audio"
    source: MediaSource
    start: float | None = None
    end: float | None = None
    audio_track: AudioTrackChoice = "auto"
    cache: CacheTime | None = None

    def __post_init__(self) -> None:
        _check_recording(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoPart:
    """A video file with its audio; for a local one, the seconds from `start` to `end`, re-encoded to fit `budget`.

    `audio_track` chooses among the audio tracks of a local file: `"auto"` takes the default track, or the first that
    is not silent if the default is; a number counts the tracks from 0; `"mix"` mixes all of them.
    """

    modality: ClassVar[MediaKind] = "video"
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
    """A silent video passed as its frames, in order; `sampling.fps` is their frame rate.

    Local frames are resized to fit `budget`, each like an image, before they are sent.
    """

    modality: ClassVar[MediaKind] = "video"
    frames: tuple[MediaSource, ...]
    sampling: Sampling = DEFAULT_SAMPLING
    budget: MediaBudget | BudgetName = "auto"
    cache: CacheTime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ThinkingPart:
    """The reasoning of the model before its answer."""

    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCallPart:
    """A tool call by the model. `arguments` is JSON text, exactly as the model wrote it."""

    id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolResultPart:
    """The result of a tool, as text."""

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
    """Build a user message from texts and parts, in the given order."""
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


def media_parts(messages: Sequence[Message]) -> list[tuple[str, MediaPart]]:
    """List every part that holds media with its place, in the order of the conversation."""
    return [
        (f"message {index} part {at}", part)
        for index, message in enumerate(messages)
        for at, part in enumerate(message.parts)
        if isinstance(part, ImagePart | AudioPart | VideoPart | FramesPart)
    ]


Route = Literal["link", "inline", "oss", "temporary"]
"""How a piece of media was delivered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """An uploaded piece of media.

    Attributes:
        location: the object's name in the bucket, or the `oss://` link of the temporary store.
        link_until: when the link to it expires, in seconds since 1970.
        key: its key in the upload cache; empty if it is not cached.
        reused: it was uploaded for an earlier request, so it may have been deleted since.
    """

    store: Store
    location: str
    link_until: float
    key: str = ""
    reused: bool = False


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class MediaPayload:
    """Media ready for a request: `url` for a link, else `data` or `path` for media that is sent inline.

    Uploaded media has both: the link, and what is needed to upload it again.

    Attributes:
        media_type: written into the data URI; empty for audio and video, as in the service's guide.
        content_type: the MIME type of the file, sent to the store.
        format: the container's short name (`wav`, `mp3`), required for audio parts.
        size_bytes: size of the media itself.
        has_audio: whether a video has audio; `None` if unknown, as for a link.
        version: the state of `path` when it was inspected.
        bare: send plain base64, without the `data:` prefix.
        upload: where it was uploaded to, if it was.
        held: an object kept alive as long as this one, since a temporary file is deleted with its owner.
    """

    url: str | None = None
    data: bytes | None = field(default=None, repr=False)
    path: Path | None = None
    media_type: str = ""
    content_type: str = ""
    format: str | None = None
    size_bytes: int = 0
    has_audio: bool | None = None
    version: FileVersion | None = None
    bare: bool = False
    upload: Upload | None = None
    held: object = field(default=None, repr=False, compare=False)

    def __repr__(self) -> str:
        way = f"url {redact(self.url)!r}" if self.url is not None else f"inline {self.size_bytes:,} bytes"
        return f"MediaPayload({way})"

    @property
    def prefix(self) -> str:
        """The prefix of the base64 text in a data URI."""
        return "" if self.bare else f"data:{self.media_type};base64,"

    @property
    def encoded_bytes(self) -> int:
        """The length of the whole data URI; 0 for a link."""
        return 0 if self.url is not None else encoded_size(self.size_bytes) + len(self.prefix)

    @property
    def route(self) -> Route:
        """How it is delivered."""
        if self.upload is not None:
            return self.upload.store
        return "inline" if self.url is None else "link"


def encoded_size(size_bytes: int) -> int:
    """Return the length of `size_bytes` bytes as base64."""
    return 4 * ((size_bytes + 2) // 3)
