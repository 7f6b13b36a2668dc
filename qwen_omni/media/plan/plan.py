"""What is done with a file, why, and what it costs in time and bytes. Values and arithmetic; `planner` decides."""

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
"""Send unchanged; remux the same streams into MP4; make an MP4, an MP3, a JPEG image, several (tiles of a tall image,
pages of a file), or a list of JPEG images as a silent video."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """How the frames of a video are made."""

    size: tuple[int, int]
    period: Fraction
    rotation: int = 0
    effort: str = "veryfast"
    quality: int = 26
    most_bits: int | None = None
    most_bytes: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """One of the images that an image is sent as.

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
        action: what is made from it.
        reason: one readable line.
        sampling: the sampling fields beside the part.
        picture: how frames are made, for `video`, `frames` and `image`.
        pieces: the images that an image is sent as, in order, for `image` and `images`.
        sound: whether audio is made.
        start: start of the wanted range, in seconds of the source; `end` is its end.
        partial: whether the range is less than the whole.
        tokens: predicted tokens, video and audio; `None` if the duration is not known.
        tokens_as_is: the same for the untouched range with the service's defaults.
        size_bytes: predicted size of the result.
        seconds: predicted time to prepare and send it.
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
        """Return how many seconds of video are sent; `None` if the file does not state its duration.

        Encoded video shows its first frame from the start and, for a part, its last frame to the end, each for
        whole steps of `period`.
        """
        end = self.end if self.partial else info.picture_end
        if end is None:
            return None
        length = max(Fraction(0), end - self.start)
        return length if period is None else max(1, math.ceil(length / period)) * period

    def heard(self, info: MediaInfo) -> Fraction | None:
        """Return how many seconds of audio are sent; `None` if the file does not state its duration.

        Encoded files are silent until the audio begins; a file sent unchanged has no more than its own audio.
        """
        if self.action in ("pass", "remux") and not self.partial:
            return info.duration if info.sound_duration is None else info.sound_duration
        ends = [end for end in (info.sound_end, self.end) if end is not None]
        return max(Fraction(0), min(ends) - self.start) if ends else None


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanInputs:
    """What a plan is made for, besides the file.

    Attributes:
        budget: what it may cost.
        profile: the model that receives it.
        sampling: the caller's sampling fields; they override the budget's.
        start: start of the wanted range in seconds.
        end: its end; `None` is the end of the file.
        lively: whether the video has much motion.
        room_bytes: largest file that can be delivered.
        uplink_mbps: upload speed in megabits per second.
        cores: number of processor cores used.
        tile: whether a tall or wide image may become several images.
        listed: whether an image is one frame of a list, which the service processes like a frame of a video.
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
    """The wanted range of a source, in seconds; `partial` is whether it is less than the whole."""

    start: Fraction
    end: Fraction | None
    partial: bool

    @property
    def length(self) -> Fraction | None:
        """Its length; `None` if unknown."""
        return None if self.end is None else self.end - self.start


# From benchmarks/media.py on two cores, 2026-11-23.
_DECODE_CORE_SECONDS = 0.0016  # per megapixel of the source
_ENCODE_CORE_SECONDS = 0.014  # per megapixel of the result
_SOUND_CORE_SECONDS = 0.008  # per second
_BITS_PER_PIXEL = 0.12
USUAL_FPS = 25
USUAL_SECONDS = 60
"""Assumed for files that do not state it."""

WORTH_SECONDS = 2
"""Re-encoding costs sharpness, so it must save this much time if it saves no tokens."""

_FULLEST = 0.95  # share of the available bytes to aim for
_LEAST_BITS = 60_000  # per second of video
_MOST_BITS = 1_000_000_000  # FFmpeg stores bits per second in 31 bits; a short clip could be allowed more
_SOUND_SHARE = 1.1  # of the audio bit rate, including container overhead


def upload_seconds(size_bytes: int, inputs: PlanInputs) -> float:
    """Return the seconds that an upload takes."""
    return size_bytes * 8 / (inputs.uplink_mbps * 1e6)


def sound_seconds(seconds: float, inputs: PlanInputs) -> float:
    """Return the seconds that encoding the audio takes."""
    return seconds * _SOUND_CORE_SECONDS / max(1, inputs.cores)


def video_seconds(info: MediaInfo, inputs: PlanInputs, pixels: float, seconds: float) -> float:
    """Return the seconds that encoding a video takes, from its pixels in total."""
    source = (info.width or 0) * (info.height or 0) * float(info.fps or USUAL_FPS) * seconds
    cost = source / 1e6 * _DECODE_CORE_SECONDS + pixels / 1e6 * _ENCODE_CORE_SECONDS
    return cost / max(1, inputs.cores) + (sound_seconds(seconds, inputs) if info.has_sound else 0)


def video_bytes(info: MediaInfo, inputs: PlanInputs, pixels: float, seconds: float) -> int:
    """Return the size of a video from its pixels in total; not larger than its source."""
    sound = inputs.budget.sound_bitrate * seconds if info.has_sound else 0
    return int(min((pixels * _BITS_PER_PIXEL + sound) / 8, info.size_bytes))


def most_bits(info: MediaInfo, inputs: PlanInputs, seconds: float) -> int | None:
    """Return the bit rate that the video track may have for the file to fit; `None` if nothing limits it."""
    allowed = most_bytes(inputs)
    if allowed is None:
        return None
    sound = inputs.budget.sound_bitrate * _SOUND_SHARE if info.has_sound else 0
    return min(_MOST_BITS, max(_LEAST_BITS, int(allowed * 8 * _FULLEST / max(seconds, 1) - sound)))


def most_bytes(inputs: PlanInputs) -> int | None:
    """Return the bytes that budget and delivery allow the file; `None` if nothing limits it."""
    return min((most for most in (inputs.room_bytes, inputs.budget.max_bytes) if most is not None), default=None)


def room_for(limit: int, inputs: PlanInputs) -> int:
    """Return the maximum size of a file: the smallest of the model's limit, the delivery's and the budget's."""
    return min(limit, *(most for most in (inputs.room_bytes, inputs.budget.max_bytes) if most is not None), limit)


Side = Fraction | int


def allowed(size: tuple[Side, Side], inputs: PlanInputs) -> Fraction:
    """Return the factor, at most 1, that scales an image to the size that is wanted.

    That is the budget's sides, unless the service is asked to process more pixels than they leave: a smaller
    image would lack what was asked for. Sides set by the caller's own budget always apply.
    """
    within = fit_sides(size, inputs.budget)
    asked = inputs.sampling.max_pixels or inputs.budget.max_pixels
    if not asked or not inputs.profile.sampling_fields or has_own_sides(inputs.budget):
        return within
    return max(within, min(Fraction(1), Fraction(math.sqrt(asked / Fraction(size[0] * size[1])))))


def has_own_sides(budget: MediaBudget) -> bool:
    """Whether the caller chose the maximum sides; the presets leave them at their defaults."""
    usual = PRESETS["auto"]
    return (budget.long_side, budget.short_side) != (usual.long_side, usual.short_side)


Reason = Callable[[MediaInfo], str]

# Codecs that every video decoder supports. Others are converted to H.264.
_USUAL_PICTURES = frozenset({"h264", "hevc", "vp8", "vp9", "av1", "mpeg4", "mpeg2video", "mpeg1video"})
_USUAL_SOUNDS = ("aac", "mp3", "ac3", "eac3", "opus", "vorbis", "flac", "amr_nb", "amr_wb", "wmav2", "pcm_")


def only_a_part(_: MediaInfo) -> str:
    """The range is less than the whole."""
    return "only a part of it is used"


def turned(info: MediaInfo) -> str:
    """It is stored turned or mirrored."""
    changes = (f"turned by {info.rotation} degrees" * (info.rotation != 0), "mirrored" * info.mirrored)
    return f"its frames have to be {' and '.join(one for one in changes if one)}"


def colours_differ(info: MediaInfo) -> str:
    """Image decoders disagree about its colours."""
    reasons = {
        "transparent": "it is partly transparent, and is put on a white background",
        "deep": "its greyscale has more than eight bits",
        "print": "its colours are for print",
    }
    return reasons[info.colours]


def unpacked(info: MediaInfo) -> str:
    """It was unpacked, since no service reads it unchanged."""
    if info.container not in ANIMATED:
        return f"a bare {info.video_codec} stream has no timestamps"
    held = f"; its last frame is held for {float(info.held):g} s more, as long as a video must be" * bool(info.held)
    return f"an animation of {info.frame_count:,} frames is sent as a video{held}"


def undocumented(info: MediaInfo) -> str:
    """The container is not one that the service documents."""
    return f"the service does not document {info.container} files"


def too_large(info: MediaInfo) -> str:
    """The file is too large for every route."""
    return f"{info.size_bytes:,} bytes are more than can be delivered"


def other_track(info: MediaInfo) -> str:
    """Another audio track is used than the one that players choose by themselves."""
    return (
        "of its audio tracks players take another"
        if info.audio_track != "mix"
        else "of its audio tracks players take one"
    )


def _hides_frames(info: MediaInfo) -> str:
    total = (info.frame_count or 0) + info.hidden_frames
    return f"an edit list hides {info.hidden_frames:,} of its {total:,} frames, which not every decoder honours"


def takes_other_track(info: MediaInfo) -> bool:
    """Whether players would choose another audio track: they play the default one, or else the first."""
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
"""What decoders disagree about, so that a file is re-encoded."""


_ODD: tuple[tuple[Callable[[MediaInfo], bool], Reason], ...] = (
    (lambda info: info.rotation != 0, turned),
    (lambda info: info.interlaced, lambda _: "it is interlaced"),
    (lambda info: info.pixel_aspect != 1, lambda info: f"its pixels are not square ({info.pixel_aspect})"),
    (
        lambda info: info.video_codec not in _USUAL_PICTURES,
        lambda info: f"its codec ({info.video_codec}) is not one that every decoder supports",
    ),
    (
        lambda info: info.audio_codec is not None and not info.audio_codec.startswith(_USUAL_SOUNDS),
        lambda info: f"its audio codec ({info.audio_codec}) is not one that every decoder supports",
    ),
)
"""What not every video decoder supports."""


def why_not_as_is(info: MediaInfo, inputs: PlanInputs, *, partial: bool) -> Reason | None:
    """Return why a video must be re-encoded; `None` if it can be sent unchanged. An unusual container comes last."""
    reasons = (
        (info.unpacked, unpacked),
        (partial, only_a_part),
        *((holds(info), reason) for holds, reason in BROKEN),
        *((holds(info), reason) for holds, reason in _ODD),
        (info.size_bytes > room_for(inputs.profile.limits.video_bytes, inputs), too_large),
        (takes_other_track(info), other_track),
        (info.container not in VIDEO_CONTAINERS, undocumented),
    )
    return next((reason for holds, reason in reasons if holds), None)
