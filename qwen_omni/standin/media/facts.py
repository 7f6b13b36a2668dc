"""The measured facts of a media part: plain values, no decoding.

`video_decode` and `audio_decode` create them; `standin.answers.evidence`, `tokens` and the request log read them. Times
are seconds on the media's own timeline.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["image", "audio", "video", "frames"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """A code found in the video or in the audio, and how long it lasted."""

    code: str
    start: float
    end: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ColourSpan:
    """A time range in which the video has one dominant colour."""

    name: str
    start: float


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaFacts:
    """Everything the stand-in knows about one media part, from its decoded bytes alone.

    `frames` counts decoded frames, `duration` is measured from them (or from the samples of an audio
    file), `tokens` is the sum for the video and the audio of the part, by the documented formulas.
    """

    kind: Kind
    container: str
    size_bytes: int
    sha256: str
    codec: str = ""
    width: int = 0
    height: int = 0
    fps: float = 0.0
    duration: float = 0.0
    frames: int = 0
    sound: bool = False
    sound_codec: str = ""
    sound_duration: float = 0.0
    sample_rate: int = 0
    channels: int = 0
    picture_marks: tuple[Mark, ...] = ()
    sound_marks: tuple[Mark, ...] = ()
    cuts: tuple[float, ...] = ()
    colours: tuple[ColourSpan, ...] = ()
    loudness: float | None = None
    picture_tokens: int = 0
    sound_tokens: int = 0

    @property
    def tokens(self) -> int:
        """All tokens of the part, video and audio together."""
        return self.picture_tokens + self.sound_tokens

    @property
    def picture_codes(self) -> tuple[str, ...]:
        """The codes in the video, in the order in which they were shown."""
        return tuple(mark.code for mark in self.picture_marks)

    @property
    def sound_codes(self) -> tuple[str, ...]:
        """The codes in the audio, in the order in which they were played."""
        return tuple(mark.code for mark in self.sound_marks)
