"""What is done with one piece of media, and what that is decided from. Values only; `media.planning` decides."""

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from qwen_omni.media.budget import DEFAULT_SAMPLING, MediaBudget, Sampling
from qwen_omni.media.info import MediaInfo
from qwen_omni.profiles import Profile

Action = Literal["pass", "remux", "video", "audio", "image", "images", "frames"]
"""Send as it is; pack the same streams into MP4; make an MP4, an MP3, a JPEG picture, several (tiles of a tall picture,
pages of a file), a list of JPEG pictures as a silent video."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """How the pictures of a video are made."""

    size: tuple[int, int]
    period: Fraction
    rotation: int = 0
    effort: str = "veryfast"
    quality: int = 26
    most_bits: int | None = None
    most_bytes: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """One of the images that a picture is sent as.

    Attributes:
        size: width and height as sent.
        box: left, top, right and bottom of the shown part, in pixels of the upright original (page).
        page: which page of a file, or frame of an animation, from 0.
    """

    size: tuple[int, int]
    box: tuple[int, int, int, int]
    page: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is done with one piece of media, and why.

    Attributes:
        action: what is made of it.
        reason: one line for people.
        sampling: what the service is asked for beside the part.
        picture: how pictures are made, for `video`, `frames` and `image`.
        pieces: the images that a picture is sent as, in order, for `image` and `images`.
        sound: whether sound is made.
        start: where the wanted range begins, in seconds of the source; `end` where it ends.
        partial: whether the range is less than the whole.
        tokens: predicted bill, picture and sound; `None` where the length is not known.
        tokens_as_is: the same for the untouched range with the service's defaults.
        size_bytes: predicted size of the result.
        seconds: predicted time to make it and send it.
    """

    action: Action
    reason: str
    budget: MediaBudget
    sampling: Sampling
    picture: Picture | None = None
    pieces: tuple[Piece, ...] = ()
    sound: bool = False
    start: Fraction = Fraction(0)
    end: Fraction | None = None
    partial: bool = False
    tokens: int | None = None
    tokens_as_is: int | None = None
    size_bytes: int = 0
    seconds: float = 0.0

    def shown(self, info: MediaInfo, period: Fraction | None = None) -> Fraction | None:
        """Return how many seconds of picture are sent; `None` if the file does not say how long it is.

        What is made shows its first picture from the beginning on and, of a part, the last one to the end, each for
        whole steps of `period`.
        """
        end = self.end if self.partial else info.picture_end
        if end is None:
            return None
        length = max(Fraction(0), end - self.start)
        return length if period is None else max(1, math.ceil(length / period)) * period

    def heard(self, info: MediaInfo) -> Fraction | None:
        """Return how many seconds of audio are sent; `None` if the file does not say how long it is.

        What is made is silent until the audio begins; what is sent as it is holds no more than its audio.
        """
        if self.action in ("pass", "remux") and not self.partial:
            return info.duration if info.sound_duration is None else info.sound_duration
        ends = [end for end in (info.sound_end, self.end) if end is not None]
        return max(Fraction(0), min(ends) - self.start) if ends else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What a plan is made for, beside the file.

    Attributes:
        budget: what it may cost.
        profile: the model that will see it.
        sampling: what the caller asks of the service; wins over the budget's.
        start: beginning of the wanted range in seconds.
        end: its end; `None` is the end of the file.
        lively: whether the picture moves a lot.
        room_bytes: a larger file cannot be delivered.
        uplink_mbps: megabits per second that can be sent.
        cores: processor cores that work.
        tile: a tall or wide picture may become several images.
        listed: a picture is one frame of a list, which the service looks at as it looks at a video's.
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """The wanted range of a source, in seconds; `partial` tells whether it is less than the whole."""

    start: Fraction
    end: Fraction | None
    partial: bool

    @property
    def length(self) -> Fraction | None:
        """How long it is; `None` if nobody knows."""
        return None if self.end is None else self.end - self.start
