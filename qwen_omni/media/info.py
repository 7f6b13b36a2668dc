"""What is known about a piece of media after one look. Values only; `media.probe` makes them."""

from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

MediaKind = Literal["image", "audio", "video"]


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaInfo:
    """The facts of one image, sound recording or video.

    Attributes:
        kind: what it is by its content; a sound file with a cover picture is `audio`.
        container: short name of the file format: `mp4`, `mkv`, `wav`, `jpeg`, …
        media_type: the MIME type that belongs to it, e.g. `video/mp4`.
        size_bytes: size of the file.
        duration: seconds from the first to the end of the last frame; `None` for images and where nobody can tell.
        picture_duration: seconds of the picture alone, where the file says it.
        sound_duration: seconds of the first sound track alone, where the file says it.
        width: pixels as shown, after rotation; `None` for sound.
        height: pixels as shown, after rotation; `None` for sound.
        fps: pictures per second on average; `None` for images and sound.
        frame_count: number of pictures, where the file says it.
        video_codec: FFmpeg's name of the picture coding; `None` for images and sound.
        audio_codec: FFmpeg's name of the sound coding, of the first sound track.
        sample_rate: samples per second of the first sound track.
        channels: channels of the first sound track.
        rotation: degrees that the stored picture is turned clockwise before it is shown: 0, 90, 180 or 270.
        pixel_aspect: how wide a pixel is shown for its height; 1 for nearly all files.
        interlaced: whether each picture is made of two half pictures taken one after the other.
        origin: the instant that viewers call zero, in seconds of the file's own clock; few files begin it elsewhere.
    """

    kind: MediaKind
    container: str
    media_type: str
    size_bytes: int
    duration: Fraction | None = None
    picture_duration: Fraction | None = None
    sound_duration: Fraction | None = None
    width: int | None = None
    height: int | None = None
    fps: Fraction | None = None
    frame_count: int | None = None
    video_codec: str | None = None
    audio_codec: str | None = None
    sample_rate: int | None = None
    channels: int | None = None
    rotation: int = 0
    pixel_aspect: Fraction = Fraction(1)
    interlaced: bool = False
    origin: Fraction = Fraction(0)

    @property
    def has_sound(self) -> bool:
        """Whether there is a sound track."""
        return self.audio_codec is not None
