"""The facts about a piece of media after one inspection, and the service's name of its format. Pure.

`media.probe.probe` finds the facts. Other formats than the documented ones can often be read here, but the service may
not read them; they are refused with the list of accepted ones. Sources: Model Studio, Qwen-Omni guide, read 2026-09-18
(video, audio); AgentScope's model card, read 2026-08-22 (images, and flac).
"""

from dataclasses import dataclass
from fractions import Fraction
from pathlib import PurePosixPath
from typing import Literal, Protocol
from urllib.parse import urlsplit

from qwen_omni._moved import with_old_options
from qwen_omni.errors import ConfigurationError, UnsupportedMediaError

MediaKind = Literal["image", "audio", "video"]
AudioTrackChoice = Literal["auto", "mix"] | int
"""`"auto"`: the default audio track, or the first that is not silent if the default is; a track's number, from 0;
`"mix"`: all of them together."""
_MOST_DIGITS = 5


class Ratio(Protocol):
    """A rational number of any class: PyAV uses `Fraction` up to 18, and a class of its own from 19 on."""

    @property
    def numerator(self) -> int: ...  # noqa: D102
    @property
    def denominator(self) -> int: ...  # noqa: D102


def exact(value: Ratio) -> Fraction:
    """Return a rational of PyAV, or a whole number, as a fraction.

    Example:
        >>> exact(25)
        Fraction(25, 1)
    """
    return Fraction(value.numerator, value.denominator)


def read_audio_track(value: object) -> AudioTrackChoice:
    """Read which audio track a caller wants; a number may be written as text.

    Example:
        >>> read_audio_track("1")
        1

    Raises:
        ConfigurationError: it is neither "auto" nor "mix" nor a number from 0.
    """
    if isinstance(value, str):
        name = value.strip().lower()
        if name == "auto":
            return "auto"
        if name == "mix":
            return "mix"
        value = int(name) if name.isascii() and name.isdigit() and len(name) < _MOST_DIGITS else value
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 10 ** (_MOST_DIGITS - 1):
        return value
    raise ConfigurationError(
        f"audio_track must be 'auto', 'mix' or the number of a track from 0, got {value!r:.60}. "
        "`qwen-omni probe` lists the tracks of a file."
    )


def no_such_track(tracks: "tuple[AudioTrack, ...]", choice: int) -> str:
    """Return the error text for a track that a file does not have.

    Example:
        >>> no_such_track((), 2)
        'has no audio track 2; its audio tracks: none. Leave audio_track out'
    """
    have = ", ".join(str(track) for track in tracks)
    step = "Choose one of them, 'auto' or 'mix'" if have else "Leave audio_track out"
    return f"has no audio track {choice}; its audio tracks: {have or 'none'}. {step}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ClockBreak:
    """A place where a file's clock restarts or jumps.

    Attributes:
        position: byte offset from which it applies; 0 for the second edit of an edit list.
        shift: seconds to add to the file's times after it, for one continuous timeline; 0 for edits,
            which FFmpeg applies itself.
        at: the second of that timeline.
    """

    position: int
    shift: Fraction
    at: Fraction


@dataclass(frozen=True, slots=True, kw_only=True)
class AudioTrack:
    """One audio track of a file.

    Attributes:
        index: its place among the audio tracks, from 0.
        codec: FFmpeg's name of its codec; `None` if there is no decoder for it.
        sample_rate: samples per second.
        channels: number of channels.
        language: as stated in the file, usually three letters of ISO 639-2.
        title: as stated in the file.
        default: whether the file marks it as the one to play.
    """

    index: int
    codec: str | None = None
    sample_rate: int | None = None
    channels: int | None = None
    language: str | None = None
    title: str | None = None
    default: bool = False

    def __str__(self) -> str:
        """Return its number, and what the file states about it.

        Example:
            >>> str(AudioTrack(index=1, codec="aac", language="eng", default=True))
            '1 (aac, eng, default)'
        """
        facts = (self.codec or "no decoder", self.language, self.title, "default" if self.default else None)
        return f"{self.index} ({', '.join(each for each in facts if each)})"


Colours = Literal["plain", "transparent", "deep", "print"]


@with_old_options(
    "audio_changes",
    "audio_duration",
    "audio_end",
    "audio_start",
    "has_audio",
    "video_duration",
    "video_end",
    "video_start",
)
@dataclass(frozen=True, slots=True, kw_only=True)
class MediaInfo:
    """The facts of one image, audio recording or video.

    Attributes:
        kind: what it is by its content; an audio file with a cover image is `audio`.
        container: short name of the file format: `mp4`, `mkv`, `wav`, `jpeg`, …
        media_type: the MIME type that belongs to it, e.g. `video/mp4`.
        size_bytes: size of the file.
        duration: seconds from the first to the end of the last frame; `None` for images and if unknown.
        video_duration: seconds of the video track, if the file states it.
        video_start: seconds from zero until the first frame; not 0 in files whose video track begins late.
        audio_duration: seconds of the chosen audio, if the file states it.
        audio_start: seconds from zero until the chosen audio begins; below 0 if a codec's priming samples precede the
            video.
        width: pixels as shown, after rotation; `None` for audio.
        height: pixels as shown, after rotation; `None` for audio.
        fps: frames per second on average; `None` for images and audio.
        frame_count: number of frames that are shown, if the file states it; always for an animation.
        hidden_frames: number of frames that an edit list hides.
        video_codec: FFmpeg's name of the video codec; `None` for images and audio.
        audio_codec: FFmpeg's name of the audio codec, of the chosen track.
        sample_rate: samples per second of the chosen track.
        channels: channels of the chosen track.
        rotation: degrees that stored frames are turned clockwise before they are shown: 0, 90, 180 or 270.
        mirrored: whether stored frames are shown mirrored as well.
        covered: whether an image that is not marked as a cover comes before the video.
        pixel_aspect: width of a pixel over its height as shown; 1 for nearly all files.
        interlaced: whether each frame consists of two fields taken one after the other.
        colours: how an image's colours are stored if decoders may disagree: partly `transparent`, `deep` (more
            than eight bits of grey), for `print` (CMYK, Lab); `plain` is everything else.
        much_text: whether a PNG holds more than a megabyte of text or of a colour profile, which some decoders refuse.
        page: which page of a file or frame of an animation this is, from 0; `None` if none was chosen.
        pages: width and height, as shown, of each page of a file with several.
        unpacked: no reader accepts the file unchanged, so it was unpacked first: it cannot be sent unchanged.
        held: seconds that the last frame of an animation is held longer than the file states, for the model's minimum.
        origin: the instant that players call zero, in seconds of the file's own clock; in most files it is 0.
        audio_tracks: all audio tracks.
        audio_track: the chosen one, by its place among them; `"mix"` for all together.
        breaks: where the file's clock restarts or jumps.
        audio_changes: the second at which the audio changes its sample rate or channels, if it does.
    """

    kind: MediaKind
    container: str
    media_type: str
    size_bytes: int
    duration: Fraction | None = None
    video_duration: Fraction | None = None
    video_start: Fraction = Fraction(0)
    audio_duration: Fraction | None = None
    audio_start: Fraction = Fraction(0)
    width: int | None = None
    height: int | None = None
    fps: Fraction | None = None
    frame_count: int | None = None
    hidden_frames: int = 0
    video_codec: str | None = None
    audio_codec: str | None = None
    sample_rate: int | None = None
    channels: int | None = None
    rotation: int = 0
    mirrored: bool = False
    covered: bool = False
    pixel_aspect: Fraction = Fraction(1)
    interlaced: bool = False
    colours: Colours = "plain"
    much_text: bool = False
    page: int | None = None
    pages: tuple[tuple[int, int], ...] = ()
    unpacked: bool = False
    held: Fraction = Fraction(0)
    origin: Fraction = Fraction(0)
    audio_tracks: tuple[AudioTrack, ...] = ()
    audio_track: int | Literal["mix"] = 0
    breaks: tuple[ClockBreak, ...] = ()
    audio_changes: Fraction | None = None

    @property
    def track_heard(self) -> int | Literal["mix"] | None:
        """Which audio track is chosen, if there are several."""
        return self.audio_track if len(self.audio_tracks) > 1 else None

    @property
    def has_audio(self) -> bool:
        """Whether there is an audio track."""
        return self.audio_codec is not None

    @property
    def video_end(self) -> Fraction | None:
        """The second at which the last frame ends; `None` if the file does not state it."""
        return self.duration if self.video_duration is None else self.video_start + self.video_duration

    @property
    def audio_end(self) -> Fraction | None:
        """The second at which the chosen audio ends; `None` if the file does not state it."""
        return self.duration if self.audio_duration is None else self.audio_start + self.audio_duration


VIDEO_CONTAINERS = frozenset({"mp4", "avi", "mkv", "webm", "mov", "flv", "wmv", "3gp", "m4a"})
"""MP4, AVI, MKV, MOV, FLV, WMV; WebM is a kind of MKV, and 3GP and M4A of MP4."""

IMAGE_CONTAINERS = frozenset({"bmp", "jpeg", "png", "tiff", "webp", "heic"})

_AUDIO_CODECS = {
    "amr": ("amr_nb", "amr_wb"),
    "wav": ("pcm_", "gsm_ms"),
    "3gp": ("amr_nb", "amr_wb", "aac"),
    "aac": ("aac",),
    "mp3": ("mp3",),
    "flac": ("flac",),
}
AUDIO_CONTAINERS = frozenset(_AUDIO_CODECS)


def documented_format(info: MediaInfo, *, name: str) -> str:
    """Return the service's name of a file's format, e.g. `wav`.

    Args:
        info: what the file is.
        name: place and label, for the error.

    Raises:
        UnsupportedMediaError: a container or codec that the service does not document.
    """
    match info.kind:
        case "image":
            _check(info.container in IMAGE_CONTAINERS, f"{name} is a {info.container} image", IMAGE_CONTAINERS, "png")
        case "video":
            _check(info.container in VIDEO_CONTAINERS, f"{name} is {info.container} video", VIDEO_CONTAINERS, "mp4")
        case "audio":
            what = f"{name} is {info.audio_codec} audio in a {info.container} file"
            _check(is_documented_audio(info), what, AUDIO_CONTAINERS, "wav")
    return info.container


def is_documented_audio(info: MediaInfo) -> bool:
    """Whether the service documents audio of this container and codec."""
    return (info.audio_codec or "").startswith(_AUDIO_CODECS.get(info.container, ("\0",)))


def linked_format(url: str, media_type: str | None) -> str | None:
    """Guess the format of linked audio from the extension of its name, or else from the caller's MIME type.

    Example:
        >>> linked_format("https://host/a.MP3?sign=x.wav", None), linked_format("https://host/a", "audio/wav")
        ('mp3', 'wav')
    """
    ending = PurePosixPath(urlsplit(url).path).suffix.lower().removeprefix(".")
    if ending in AUDIO_CONTAINERS:
        return ending
    subtype = (media_type or "").lower().partition("/")[2].removeprefix("x-").replace("mpeg", "mp3")
    return subtype if subtype in AUDIO_CONTAINERS else None


def _check(taken: bool, what: str, kinds: frozenset[str], instead: str) -> None:
    if not taken:
        raise UnsupportedMediaError(
            f"{what}, which the service does not document; it takes {', '.join(sorted(kinds))}. "
            f"Convert it to {instead}."
        )
