"""The measured facts of a media part: plain values, no decoding.

`video_decode` and `audio_decode` create them; `standin.answers.evidence`, `tokens` and the request log read them. Times
are seconds on the media's own timeline.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["image", "audio", "video", "frames"]
Opening = Literal["start", "cut", "fade"]
AudioKind = Literal["silence", "speech-like", "music-like", "tone", "sound"]
_SURE = ("silence", "tone")  # contain no speech
_UNRECOGNISED = "[stand-in] There is sound that may be speech, but the stand-in does not recognise speech"


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
class Scene:
    """What the frames are like between two changes.

    `opening` is how it begins: with the video, with a cut, or with a fade through black. `colours` are the most common
    ones with their shares, `brightness` is the mean from 0 to 255, `movement` the mean change between two looks in
    grey levels, `pan` the direction in which the camera moves throughout, if that is certain.
    """

    start: float
    end: float
    opening: Opening = "start"
    colours: tuple[tuple[str, float], ...] = ()
    brightness: float = 0.0
    movement: float = 0.0
    pan: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AudioSpan:
    """A stretch of audio of one kind; `level` is its mean in dB below full scale, `pitch` that of a tone in Hz."""

    start: float
    end: float
    kind: AudioKind
    level: float | None = None
    pitch: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadText:
    """A line of text that was read in an image, and when it was first and last seen."""

    text: str
    start: float
    end: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """What is worth saying about media without marks; empty for marked media.

    `black` and `frozen` are stretches of a video, `loud` are the loudest moments with their levels in dB below full
    scale, `reads_text` is whether text was looked for.
    """

    scenes: tuple[Scene, ...] = ()
    black: tuple[tuple[float, float], ...] = ()
    frozen: tuple[tuple[float, float], ...] = ()
    audio: tuple[AudioSpan, ...] = ()
    loud: tuple[tuple[float, float], ...] = ()
    text: tuple[ReadText, ...] = ()
    reads_text: bool = False


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
    observed: Observed = Observed()
    picture_tokens: int = 0
    sound_tokens: int = 0

    @property
    def tokens(self) -> int:
        """All tokens of the part, video and audio together."""
        return self.picture_tokens + self.sound_tokens

    @property
    def marked(self) -> bool:
        """Whether it holds the codes of marked media: digits in an image, or at least two tones in a row.

        A QR code of other media holds an address or a word, and music sounds like a single key now and then.
        """
        shown = any(mark.code.isdigit() for mark in self.picture_marks)
        return shown or any(len(mark.code) > 1 for mark in self.sound_marks)

    @property
    def utterances(self) -> tuple[Mark, ...]:
        """What a transcript holds: the codes of marked media, or the one thing that can be said about other audio.

        It is empty only where there is certainly no speech: in silence, and where there are only tones.
        """
        if any(len(mark.code) > 1 for mark in self.sound_marks):
            return self.sound_marks
        heard = [span for span in self.observed.audio if span.kind not in _SURE]
        return (Mark(code=_UNRECOGNISED, start=heard[0].start, end=heard[-1].end),) if heard else ()

    @property
    def picture_codes(self) -> tuple[str, ...]:
        """The codes in the video, in the order in which they were shown."""
        return tuple(mark.code for mark in self.picture_marks)

    @property
    def sound_codes(self) -> tuple[str, ...]:
        """The codes in the audio, in the order in which they were played."""
        return tuple(mark.code for mark in self.sound_marks)
