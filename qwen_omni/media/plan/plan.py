"""What is done with a file, why, and its rough cost in time and bytes. Values and arithmetic; `planner` decides."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from qwen_omni.media.budget import DEFAULT_SAMPLING, PRESETS, MediaBudget, Sampling, fit_sides
from qwen_omni.media.formats import VIDEO_CONTAINERS
from qwen_omni.media.info import MediaInfo
from qwen_omni.media.probe.probe import ANIMATED
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
class MediaPlan:
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
class PlanInputs:
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


# From benchmarks/media.py on two cores, 2026-11-23.
_DECODE_CORE_SECONDS = 0.0016  # per megapixel of the source
_ENCODE_CORE_SECONDS = 0.014  # per megapixel of the result
_SOUND_CORE_SECONDS = 0.008  # per second
_BITS_PER_PIXEL = 0.12
USUAL_FPS = 25
USUAL_SECONDS = 60
"""Taken where a file does not tell."""

WORTH_SECONDS = 2
"""Coding anew costs sharpness, so it must save this much time if it saves no tokens."""

_FULLEST = 0.95  # share of the room that is aimed at
_LEAST_BITS = 60_000  # per second of picture
_MOST_BITS = 1_000_000_000  # FFmpeg counts the bits of a second in 31 bits; a short piece of a large room has more
_SOUND_SHARE = 1.1  # of the sound's bit rate, with what the container adds


def upload_seconds(size_bytes: int, wish: PlanInputs) -> float:
    """Tell how long sending takes."""
    return size_bytes * 8 / (wish.uplink_mbps * 1e6)


def sound_seconds(seconds: float, wish: PlanInputs) -> float:
    """Tell how long making sound takes."""
    return seconds * _SOUND_CORE_SECONDS / max(1, wish.cores)


def video_seconds(info: MediaInfo, wish: PlanInputs, pixels: float, seconds: float) -> float:
    """Tell how long making a video of so many pixels in all takes."""
    source = (info.width or 0) * (info.height or 0) * float(info.fps or USUAL_FPS) * seconds
    cost = source / 1e6 * _DECODE_CORE_SECONDS + pixels / 1e6 * _ENCODE_CORE_SECONDS
    return cost / max(1, wish.cores) + (sound_seconds(seconds, wish) if info.has_sound else 0)


def video_bytes(info: MediaInfo, wish: PlanInputs, pixels: float, seconds: float) -> int:
    """Tell how large a video of so many pixels in all will be; not larger than its source."""
    sound = wish.budget.sound_bitrate * seconds if info.has_sound else 0
    return int(min((pixels * _BITS_PER_PIXEL + sound) / 8, info.size_bytes))


def most_bits(info: MediaInfo, wish: PlanInputs, seconds: float) -> int | None:
    """Give the bits per second that pictures may take for the file to fit; `None` where nothing limits it."""
    allowed = most_bytes(wish)
    if allowed is None:
        return None
    sound = wish.budget.sound_bitrate * _SOUND_SHARE if info.has_sound else 0
    return min(_MOST_BITS, max(_LEAST_BITS, int(allowed * 8 * _FULLEST / max(seconds, 1) - sound)))


def most_bytes(wish: PlanInputs) -> int | None:
    """Give the bytes that the file may have by the budget and the delivery; `None` where nothing limits it."""
    return min((most for most in (wish.room_bytes, wish.budget.max_bytes) if most is not None), default=None)


def room_for(limit: int, wish: PlanInputs) -> int:
    """Give the most bytes that a file may have: of the model's limit, the delivery's and the budget's the least."""
    return min(limit, *(most for most in (wish.room_bytes, wish.budget.max_bytes) if most is not None), limit)


Side = Fraction | int


def allowed(size: tuple[Side, Side], wish: PlanInputs) -> Fraction:
    """Give the factor, at most 1, that brings a picture within what is wanted of it.

    That is the budget's sides, unless the service is asked to look at more pixels than they leave: made smaller, the
    picture would not have what was asked for. Sides that the caller's own budget sets are kept.
    """
    within = fit_sides(size, wish.budget)
    asked = wish.sampling.max_pixels or wish.budget.max_pixels
    if not asked or not wish.profile.sampling_fields or has_own_sides(wish.budget):
        return within
    return max(within, min(Fraction(1), Fraction(math.sqrt(asked / Fraction(size[0] * size[1])))))


def has_own_sides(budget: MediaBudget) -> bool:
    """Whether the caller chose the sides of pictures; the presets leave them as they are."""
    usual = PRESETS["auto"]
    return (budget.long_side, budget.short_side) != (usual.long_side, usual.short_side)


Reason = Callable[[MediaInfo], str]

# Codecs that any reader of video understands. Others are turned into H.264.
_USUAL_PICTURES = frozenset({"h264", "hevc", "vp8", "vp9", "av1", "mpeg4", "mpeg2video", "mpeg1video"})
_USUAL_SOUNDS = ("aac", "mp3", "ac3", "eac3", "opus", "vorbis", "flac", "amr_nb", "amr_wb", "wmav2", "pcm_")


def only_a_part(_: MediaInfo) -> str:
    """The range is less than the whole."""
    return "only a part of it is wanted"


def turned(info: MediaInfo) -> str:
    """It is stored turned or mirrored."""
    told = (f"turned by {info.rotation} degrees" * (info.rotation != 0), "mirrored" * info.mirrored)
    return f"its picture has to be {' and '.join(one for one in told if one)}"


def colours_differ(info: MediaInfo) -> str:
    """Readers of pictures disagree on what its colours are."""
    told = {
        "transparent": "it is partly transparent, and is laid on white",
        "deep": "its grey has more than eight bits",
        "print": "its colours are for print",
    }
    return told[info.colours]


def unpacked(info: MediaInfo) -> str:
    """It was unpacked, since nothing reads it as it is."""
    if info.container not in ANIMATED:
        return f"a bare {info.video_codec} stream has no times"
    held = f"; its last frame is held for {float(info.held):g} s more, as long as a video must be" * bool(info.held)
    return f"an animation of {info.frame_count:,} frames is sent as a video{held}"


def undocumented(info: MediaInfo) -> str:
    """The container is not one that the service documents."""
    return f"the service does not document {info.container} files"


def too_large(info: MediaInfo) -> str:
    """The file has no room in any way of delivery."""
    return f"{info.size_bytes:,} bytes are more than can be delivered"


def other_track(info: MediaInfo) -> str:
    """Another audio track is heard than the one that players take by themselves."""
    return (
        "of its audio tracks players take another"
        if info.audio_track != "mix"
        else "of its audio tracks players take one"
    )


def _hides_frames(info: MediaInfo) -> str:
    total = (info.frame_count or 0) + info.hidden_frames
    return f"an edit list hides {info.hidden_frames:,} of its {total:,} frames, which not every reader honours"


def takes_other_track(info: MediaInfo) -> bool:
    """Whether players would take another audio track: they take the default one, or else the first."""
    if len(info.audio_tracks) < 2:  # noqa: PLR2004 - nothing to choose from
        return False
    usual = next((track.index for track in info.audio_tracks if track.default), 0)
    return info.audio_track != 0 or usual != 0


BROKEN: tuple[tuple[Callable[[MediaInfo], bool], Reason], ...] = (
    (
        lambda info: bool(info.breaks),
        lambda info: f"its clock restarts or jumps at second {float(info.breaks[0].at - info.origin):,.2f}",
    ),
    (
        lambda info: info.sound_changes is not None,
        lambda info: f"its audio changes its rate or channels at second {float(info.sound_changes or 0):,.2f}",
    ),
    (lambda info: info.hidden_frames > 0, _hides_frames),
)
"""What readers disagree about, so that a file is made anew."""


_ODD: tuple[tuple[Callable[[MediaInfo], bool], Reason], ...] = (
    (lambda info: info.rotation != 0, turned),
    (lambda info: info.interlaced, lambda _: "it is interlaced"),
    (lambda info: info.pixel_aspect != 1, lambda info: f"its pixels are not square ({info.pixel_aspect})"),
    (
        lambda info: info.video_codec not in _USUAL_PICTURES,
        lambda info: f"its codec ({info.video_codec}) is not one that every reader has",
    ),
    (
        lambda info: info.audio_codec is not None and not info.audio_codec.startswith(_USUAL_SOUNDS),
        lambda info: f"its sound ({info.audio_codec}) is not one that every reader has",
    ),
)
"""What not every reader of video can show or play."""


def why_not_as_is(info: MediaInfo, wish: PlanInputs, *, partial: bool) -> Reason | None:
    """Tell why a video must be made anew; `None` if it could go as it is. That its container is odd comes last."""
    told = (
        (info.unpacked, unpacked),
        (partial, only_a_part),
        *((holds(info), reason) for holds, reason in BROKEN),
        *((holds(info), reason) for holds, reason in _ODD),
        (info.size_bytes > room_for(wish.profile.limits.video_bytes, wish), too_large),
        (takes_other_track(info), other_track),
        (info.container not in VIDEO_CONTAINERS, undocumented),
    )
    return next((reason for holds, reason in told if holds), None)
