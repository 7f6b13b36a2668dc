"""Decide what to do with a file, why, and what that costs. Pure: facts and limits in, a `MediaPlan` out.

A file is sent unchanged whenever the service accepts it, bills no more for it, and that is quicker; it is re-encoded
only where that saves something. `auto` never bills more tokens than the untouched original would.

A file of several pages becomes several images, and so does a tall or wide image (`images`). Encoded audio has one
channel, so audio that is to be transcribed by channel is sent unchanged or refused.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Literal

from qwen_omni._moved import with_old_options
from qwen_omni.errors import MediaDoesNotFitError, UnreadableMediaError, UnsupportedMediaError
from qwen_omni.media.budget import (
    CALM_FPS,
    LIVELY_FPS,
    MediaBudget,
    PlanInputs,
    Sampling,
    allowed,
    even_sides,
    sampling_for,
    shown_size,
)
from qwen_omni.media.info import IMAGE_CONTAINERS, VIDEO_CONTAINERS, MediaInfo, is_documented_audio
from qwen_omni.media.plan.images import ImageLimits, Piece, Size, why_tiled
from qwen_omni.media.probe.probe import ANIMATED
from qwen_omni.profiles.profile import MediaLimits
from qwen_omni.profiles.token_formulas import audio_tokens, image_tokens, video_tokens

Action = Literal["pass", "remux", "video", "audio", "image", "images", "frames"]
"""Send unchanged; remux the same streams into MP4; make an MP4, an MP3, a JPEG image, several (tiles of a tall image,
pages of a file), or a list of JPEG images as a silent video."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameEncoding:
    """How the frames of a video are made."""

    size: tuple[int, int]
    period: Fraction
    rotation: int = 0
    mirrored: bool = False
    effort: str = "veryfast"
    quality: int = 26
    most_bits: int | None = None
    most_bytes: int | None = None


@with_old_options("audio", "encoding")
@dataclass(frozen=True, slots=True, kw_only=True)
class MediaPlan:
    """What is done with one piece of media, and why.

    Attributes:
        action: what is made from it.
        reason: one readable line.
        sampling: the sampling fields next to the part.
        encoding: how frames are made, for `video`, `frames` and `image`.
        pieces: the images that an image is sent as, in order, for `image` and `images`.
        audio: whether audio is made.
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
    encoding: FrameEncoding | None = None
    pieces: tuple[Piece, ...] = ()
    audio: bool = False
    start: Fraction = Fraction(0)
    end: Fraction | None = None
    partial: bool = False
    tokens: int | None = None
    tokens_as_is: int | None = None
    size_bytes: int = 0
    seconds: float = 0.0

    @property
    def length(self) -> Fraction | None:
        """Length of the range; `None` if unknown."""
        return None if self.end is None else self.end - self.start

    def shown(self, info: MediaInfo, period: Fraction | None = None) -> Fraction | None:
        """Return how many seconds of video are sent; `None` if the file does not state its duration.

        Encoded video shows its first frame from the start and, for a part, its last frame to the end, each for
        whole steps of `period`.
        """
        end = self.end if self.partial else info.video_end
        if end is None:
            return None
        length = max(Fraction(0), end - self.start)
        return length if period is None else max(1, math.ceil(length / period)) * period

    def heard(self, info: MediaInfo) -> Fraction | None:
        """Return how many seconds of audio are sent; `None` if the file does not state its duration.

        Encoded files are silent until the audio begins; a file sent unchanged has no more than its own audio.
        """
        if self.action in ("pass", "remux") and not self.partial:
            return info.duration if info.audio_duration is None else info.audio_duration
        ends = [end for end in (info.audio_end, self.end) if end is not None]
        return max(Fraction(0), min(ends) - self.start) if ends else None


# From benchmarks/media.py on two cores, 2026-11-23.
_DECODE_CORE_SECONDS = 0.0016  # per megapixel of the source
_ENCODE_CORE_SECONDS = 0.014  # per megapixel of the result
_AUDIO_CORE_SECONDS = 0.008  # per second
_BITS_PER_PIXEL = 0.12
USUAL_FPS = 25
USUAL_SECONDS = 60
"""Assumed for files that do not state it."""

WORTH_SECONDS = 2
"""Re-encoding costs sharpness, so it must save this much time if it saves no tokens."""
_NOTABLE_SECONDS = 0.1  # a smaller saving is reported as none

_FULLEST = 0.95  # share of the available bytes to aim for
_LEAST_BITS = 60_000  # per second of video
_MOST_BITS = 1_000_000_000  # FFmpeg stores bits per second in 31 bits; a short clip could be allowed more
_AUDIO_SHARE = 1.1  # of the audio bit rate, including container overhead


def upload_seconds(size_bytes: int, inputs: PlanInputs) -> float:
    """Return the seconds that an upload takes."""
    return size_bytes * 8 / (inputs.uplink_mbps * 1e6)


def audio_seconds(seconds: float, inputs: PlanInputs) -> float:
    """Return the seconds that encoding the audio takes."""
    return seconds * _AUDIO_CORE_SECONDS / max(1, inputs.cores)


def video_seconds(info: MediaInfo, inputs: PlanInputs, pixels: float, seconds: float) -> float:
    """Return the seconds that encoding a video takes, from its pixels in total."""
    source = (info.width or 0) * (info.height or 0) * float(info.fps or USUAL_FPS) * seconds
    cost = source / 1e6 * _DECODE_CORE_SECONDS + pixels / 1e6 * _ENCODE_CORE_SECONDS
    return cost / max(1, inputs.cores) + (audio_seconds(seconds, inputs) if info.has_audio else 0)


def video_bytes(info: MediaInfo, inputs: PlanInputs, pixels: float, seconds: float) -> int:
    """Return the size of a video from its pixels in total; not larger than its source."""
    audio = inputs.budget.audio_bitrate * seconds if info.has_audio else 0
    return int(min((pixels * _BITS_PER_PIXEL + audio) / 8, info.size_bytes))


def most_bits(info: MediaInfo, inputs: PlanInputs, seconds: float) -> int | None:
    """Return the bit rate that the video track may have for the file to fit; `None` if nothing limits it."""
    allowed = most_bytes(inputs)
    if allowed is None:
        return None
    audio = inputs.budget.audio_bitrate * _AUDIO_SHARE if info.has_audio else 0
    return min(_MOST_BITS, max(_LEAST_BITS, int(allowed * 8 * _FULLEST / max(seconds, 1) - audio)))


def most_bytes(inputs: PlanInputs) -> int | None:
    """Return the bytes that budget and delivery allow the file; `None` if nothing limits it."""
    return min((most for most in (inputs.room_bytes, inputs.budget.max_bytes) if most is not None), default=None)


# Codecs that every video decoder supports. Others are converted to H.264.
_USUAL_VIDEO = frozenset({"h264", "hevc", "vp8", "vp9", "av1", "mpeg4", "mpeg2video", "mpeg1video"})
_USUAL_AUDIO = ("aac", "mp3", "ac3", "eac3", "opus", "vorbis", "flac", "amr_nb", "amr_wb", "wmav2", "pcm_")
_COLOURS = {
    "plain": False,
    "transparent": "it is partly transparent, and is put on a white background",
    "deep": "its greyscale has more than eight bits",
    "print": "its colours are for print",
}


def why_not_as_is(info: MediaInfo, inputs: PlanInputs, *, partial: bool = False) -> str | None:
    """Return why a file must be re-encoded; `None` if it can be sent unchanged.

    The reasons for which a video is only remuxed come last.
    """
    limits = inputs.profile.limits
    match info.kind:
        case "image":
            reasons = (
                info.unpacked and "the service does not document its format",
                info.much_text
                and "it holds more than a megabyte of text or of a colour profile, which some decoders refuse",
                info.page is not None and f"only frame {info.page} was asked for",
                *_turned(info),
                _COLOURS[info.colours],
                info.container not in IMAGE_CONTAINERS and _undocumented(info),
                *_too_large(info, limits.image_bytes, inputs),
            )
        case "audio":
            reasons = (
                *_broken(info, partial=partial),
                takes_other_track(info) and _other_track(info),
                not is_documented_audio(info)
                and f"the service does not document {info.audio_codec} in {info.container} files",
                *_too_large(info, limits.audio_bytes, inputs),
            )
        case "video":
            reasons = (
                info.unpacked and _unpacked(info),
                _ends_early(info, limits) and _early_end(info),
                *_broken(info, partial=partial),
                *_turned(info),
                info.covered and "an image comes before its video, which some decoders mistake for the video",
                info.interlaced and "it is interlaced",
                info.pixel_aspect != 1 and f"its pixels are not square ({info.pixel_aspect})",
                info.video_codec not in _USUAL_VIDEO
                and f"its codec ({info.video_codec}) is not one that every decoder supports",
                not (info.audio_codec or _USUAL_AUDIO[0]).startswith(_USUAL_AUDIO)
                and f"its audio codec ({info.audio_codec}) is not one that every decoder supports",
                *_too_large(info, limits.video_bytes, inputs),
                takes_other_track(info) and _other_track(info),
                info.container not in VIDEO_CONTAINERS and _undocumented(info),
            )
    return next((reason for reason in reasons if isinstance(reason, str)), None)


def _ends_early(info: MediaInfo, limits: MediaLimits) -> bool:
    """Whether a video shows too little for a video, often one image, and only its audio is long enough."""
    end, least = info.video_end, Fraction(limits.min_video_seconds)
    return info.kind == "video" and info.duration is not None and end is not None and end < least <= info.duration


def _early_end(info: MediaInfo) -> str:
    seen, whole = float(info.video_end or 0), float(info.duration or 0)
    return f"its frames end after {seen:,.2f} of {whole:,.2f} s, so the last one is held"


def _broken(info: MediaInfo, *, partial: bool) -> Iterator[str]:
    """Yield what decoders disagree about."""
    if partial:
        yield "only a part of it is used"
    if info.breaks and info.breaks[0].position == 0:
        at = float(info.breaks[0].at - info.origin)
        yield f"an edit list joins two parts of it at second {at:,.2f}, which not every decoder honours"
    elif info.breaks:
        yield f"its clock restarts or jumps at second {float(info.breaks[0].at - info.origin):,.2f}"
    if info.audio_changes is not None:
        yield f"its audio changes its rate or channels at second {float(info.audio_changes):,.2f}"
    if info.hidden_frames > 0:
        total = (info.frame_count or 0) + info.hidden_frames
        yield f"an edit list hides {info.hidden_frames:,} of its {total:,} frames, which not every decoder honours"


def _turned(info: MediaInfo) -> Iterator[str]:
    if info.rotation or info.mirrored:
        changes = (f"turned by {info.rotation} degrees" * (info.rotation != 0), "mirrored" * info.mirrored)
        yield f"its frames have to be {' and '.join(one for one in changes if one)}"


def _too_large(info: MediaInfo, limit: int, inputs: PlanInputs) -> Iterator[str]:
    room = most_bytes(inputs)
    if info.size_bytes > (limit if room is None else min(limit, room)):
        yield f"{info.size_bytes:,} bytes are more than can be delivered"


def _unpacked(info: MediaInfo) -> str:
    if info.container not in ANIMATED:
        return f"a bare {info.video_codec} stream has no timestamps"
    held = f"; its last frame is held for {float(info.held):g} s more, as long as a video must be" * bool(info.held)
    return f"an animation of {info.frame_count:,} frames is sent as a video{held}"


def _undocumented(info: MediaInfo) -> str:
    return f"the service does not document {info.container} files"


def _other_track(info: MediaInfo) -> str:
    return f"of its audio tracks players take {'one' if info.audio_track == 'mix' else 'another'}"


def takes_other_track(info: MediaInfo) -> bool:
    """Whether players would choose another audio track: they play the default one, or else the first."""
    if len(info.audio_tracks) < 2:  # noqa: PLR2004 - nothing to choose from
        return False
    usual = next((track.index for track in info.audio_tracks if track.default), 0)
    return info.audio_track != 0 or usual != 0


_REMUXED = frozenset({"mpegts", "mpeg"})
_VIDEO_IN_MP4 = frozenset({"h264", "hevc", "mpeg4"})
_AUDIO_IN_MP4 = frozenset({"aac", "mp3", "ac3", None})
_SLOWEST = Fraction(1, 1001)  # frames per second; a damaged file may claim one frame per day
_NARROWEST = 80  # maximum percent by which a frame is made smaller just to bill no more
_FEWER = 4  # maximum number of frames dropped from a video just to bill no more
_FINEST = 1_000_000  # ticks per second of an MP4's clock; many more are not stored exactly
_RATE_SLACK = Fraction(21, 20)  # 4.1 frames per second still count as 4


def _plan_video(info: MediaInfo, inputs: PlanInputs, untouched: MediaPlan, label: str) -> MediaPlan:
    """Decide what to do with a video.

    Raises:
        UnreadableMediaError: it does not state its frame size.
    """
    if not info.width or not info.height:
        raise UnreadableMediaError(f"{label} does not state its frame size; it is probably damaged.")
    tokens = _bill(info, inputs, (info.width, info.height), untouched, None, inputs.sampling)
    untouched = replace(untouched, tokens=tokens, tokens_as_is=tokens)
    if inputs.budget.keep and not untouched.partial and not info.unpacked:
        if takes_other_track(info) and _can_remux(info, _other_track(info)):
            return replace(untouched, action="remux", reason=f"packed into MP4 unchanged: {_other_track(info)}")
        if not takes_other_track(info):
            return untouched
    made = _made(info, inputs, untouched)
    why = why_not_as_is(info, inputs, partial=untouched.partial)
    if inputs.budget.frames:
        return replace(made, action="frames", audio=False, reason=_explained(made, "a list of frames was asked for"))
    if why in (None, _undocumented(info), _other_track(info)):
        spared = _spared(info, inputs, untouched, made, why)
        if spared is not None:
            return spared
    return replace(made, reason=_explained(made, why or _wanted(untouched, made)))


def _spared(
    info: MediaInfo, inputs: PlanInputs, untouched: MediaPlan, made: MediaPlan, why: str | None
) -> MediaPlan | None:
    """Return a plan that decodes nothing, if one is good enough."""
    if _fits(info, inputs):
        tokens = _bill(info, inputs, (info.width or 0, info.height or 0), untouched, None, made.sampling)
        same = replace(untouched, sampling=made.sampling, tokens=tokens)
        if why is None:
            return replace(same, reason="sent as it is: it already fits the budget")
        if _can_remux(info, why):
            return replace(same, action="remux", reason=f"packed into MP4 unchanged: {why}")
    if why is None and inputs.budget.weigh and not _gains(untouched, made):
        return replace(untouched, reason=_not_worth_it(untouched, made))
    return None


def _made(info: MediaInfo, inputs: PlanInputs, untouched: MediaPlan) -> MediaPlan:
    """Plan the MP4 that the budget wants."""
    budget = inputs.budget
    plan = replace(untouched, action="video", sampling=sampling_for(inputs), audio=info.has_audio)
    rate, size, tokens = _rate_and_size(info, inputs, plan, plan.tokens if budget.weigh else None)
    seconds = float(plan.length or USUAL_SECONDS)
    pixels = size[0] * size[1] * float(rate) * seconds
    made_bytes = video_bytes(info, inputs, pixels, seconds)
    encoding = FrameEncoding(
        size=size,
        period=1 / rate,
        rotation=info.rotation,
        mirrored=info.mirrored,
        effort=budget.effort,
        quality=budget.quality,
        most_bits=most_bits(info, inputs, seconds),
        most_bytes=most_bytes(inputs),
    )
    return replace(
        plan,
        encoding=encoding,
        tokens=tokens,
        size_bytes=made_bytes,
        seconds=video_seconds(info, inputs, pixels, seconds) + upload_seconds(made_bytes, inputs),
    )


def _rate_and_size(
    info: MediaInfo, inputs: PlanInputs, plan: MediaPlan, most: int | None
) -> tuple[Fraction, Size, int | None]:
    """Choose the rate, and the largest size of which it bills no more tokens than `most`.

    A last frame that extends past the end may bill another pair of frames; a slightly lower rate avoids that.
    """
    rate = _rate(info, inputs)
    size, tokens = _size(info, inputs, plan, rate, most)
    length = plan.shown(info)
    if most is None or tokens is None or tokens <= most or not length:
        return rate, size, tokens
    frames = int(length * rate)
    for fewer in range(frames, max(0, frames - _FEWER), -1):
        slower = fewer / length
        if slower < _SLOWEST or slower.numerator > _FINEST:
            break
        other, bill = _size(info, inputs, plan, slower, most)
        if bill is not None and bill <= most:
            return slower, other, bill
    return rate, size, tokens


def _rate(info: MediaInfo, inputs: PlanInputs) -> Fraction:
    """Choose the frame rate of the file; never higher than the source's, since that could bill more."""
    wanted = inputs.budget.fps if inputs.budget.fps is not None else LIVELY_FPS if inputs.lively else CALM_FPS
    rate = Fraction(wanted).limit_denominator(1001)
    return max(_SLOWEST, min(rate, info.fps.limit_denominator(1001))) if info.fps else rate


def _size(
    info: MediaInfo, inputs: PlanInputs, plan: MediaPlan, rate: Fraction, most: int | None
) -> tuple[Size, int | None]:
    """Choose the largest size that the budget allows and, if `most` is given, bills no more tokens than that."""
    size, tokens = (2, 2), None
    for size in _sizes(info, inputs):
        tokens = _bill(info, inputs, size, plan, rate, plan.sampling)
        if most is None or tokens is None or tokens <= most:
            break
    return size, tokens


def _sizes(info: MediaInfo, inputs: PlanInputs) -> Iterator[Size]:
    shown = shown_size((info.width or 2, info.height or 2), info.pixel_aspect)
    full = allowed(shown, inputs)
    for percent in range(100, _NARROWEST - 1, -1):
        width, height = even_sides(*shown, full * Fraction(percent, 100))
        yield width, height
        yield width, max(2, height - 2)
        yield max(2, width - 2), height
    yield even_sides(*shown, Fraction(1))  # the service enlarges very narrow frames: made smaller, they may bill more


def _bill(
    info: MediaInfo, inputs: PlanInputs, size: Size, plan: MediaPlan, rate: Fraction | None, sampling: Sampling
) -> int | None:
    """Count the tokens of what a plan makes at this rate, or of the untouched file if there is no rate."""
    shown, heard = plan.shown(info, None if rate is None else 1 / rate), plan.heard(info)
    if shown is None or heard is None or plan.end is None:
        return None
    audio = audio_tokens(inputs.profile, heard) if info.has_audio else 0
    return video_tokens(inputs.profile, size, shown, rate or info.fps or Fraction(USUAL_FPS), sampling) + audio


def _fits(info: MediaInfo, inputs: PlanInputs) -> bool:
    budget = inputs.budget
    if info.fps is None or budget.key_frames:
        return False
    wanted = Fraction(budget.fps if budget.fps is not None else LIVELY_FPS)
    shown = shown_size((info.width or 2, info.height or 2), info.pixel_aspect)
    return allowed(shown, inputs) == 1 and info.fps <= wanted * _RATE_SLACK


def _can_remux(info: MediaInfo, why: str) -> bool:
    if info.audio_track == "mix" or (why == _undocumented(info) and info.container not in _REMUXED):
        return False
    return info.video_codec in _VIDEO_IN_MP4 and info.audio_codec in _AUDIO_IN_MP4


def _gains(untouched: MediaPlan, made: MediaPlan) -> bool:
    if untouched.tokens is not None and made.tokens is not None and made.tokens != untouched.tokens:
        return made.tokens < untouched.tokens
    return made.seconds + WORTH_SECONDS < untouched.seconds


def _wanted(untouched: MediaPlan, made: MediaPlan) -> str:
    return _compared(untouched, made) if made.budget.weigh else f"the budget {made.budget.name!r} asks for it"


def _not_worth_it(untouched: MediaPlan, made: MediaPlan) -> str:
    if untouched.tokens is not None and made.tokens is not None and made.tokens > untouched.tokens:
        return f"sent as it is: re-encoded it would bill {made.tokens:,} tokens instead of {untouched.tokens:,}"
    saved = untouched.seconds - made.seconds
    if saved < _NOTABLE_SECONDS:
        return "sent as it is: re-encoding would save neither time nor tokens"
    return f"sent as it is: re-encoding would save only {saved:.1f} s, and no tokens"


def _compared(untouched: MediaPlan, made: MediaPlan) -> str:
    saved = (untouched.size_bytes - made.size_bytes) / 1e6
    times = f"about {made.seconds:.1f} s to prepare and send, {untouched.seconds:.1f} s as it is, {saved:.1f} MB less"
    if made.tokens is None or untouched.tokens is None:
        return times
    same = made.tokens == untouched.tokens
    return f"{times}, {made.tokens:,} tokens {'either way' if same else f'instead of {untouched.tokens:,}'}"


def _explained(made: MediaPlan, reason: str) -> str:
    assert made.encoding is not None
    width, height = made.encoding.size
    upright = ", upright" if made.encoding.rotation or made.encoding.mirrored else ""
    return f"made {width}x{height}{upright} at {float(1 / made.encoding.period):.3g} fps: {reason}"


def _plan_image(info: MediaInfo, inputs: PlanInputs, untouched: MediaPlan) -> MediaPlan:
    """Decide what to do with an image, or with a file of several pages."""
    size = (info.width or 1, info.height or 1)
    asked = replace(sampling_for(inputs), fps=inputs.sampling.fps)
    plan = replace(
        untouched,
        sampling=asked,
        tokens=image_tokens(inputs.profile, size, asked),
        tokens_as_is=image_tokens(inputs.profile, size, inputs.sampling),
    )
    if inputs.budget.keep and info.page is None and not info.unpacked and len(info.pages) < 2:  # noqa: PLR2004
        return plan
    limits = ImageLimits(inputs=inputs, asked=asked)
    if len(info.pages) > 1:
        pieces = tuple(piece for page, one in enumerate(info.pages) for piece in limits.pieces(one, page))
        cut = "" if len(pieces) == len(info.pages) else f", in {len(pieces)} images"
        return _several(plan, limits, pieces, f"sent as its {len(info.pages):,} pages{cut}")
    pieces = limits.pieces(size, info.page or 0)
    if len(pieces) > 1:
        return _several(plan, limits, pieces, why_tiled(size, pieces, limits))
    return _single(info, plan, limits, pieces[0])


def _single(info: MediaInfo, plan: MediaPlan, limits: ImageLimits, piece: Piece) -> MediaPlan:
    assert plan.tokens is not None
    made, why = limits.tokens(piece.size), why_not_as_is(info, limits.inputs)
    if why is None and piece.size == (info.width, info.height):
        return replace(plan, reason="sent as it is: it already fits the budget")
    if why is None and made > plan.tokens:
        bill = f"made smaller it would bill {made:,} tokens instead of {plan.tokens:,}"
        return replace(plan, reason=f"sent as it is: {bill}")
    width, height = piece.size
    same = f"{made:,} tokens {'either way' if made == plan.tokens else f'instead of {plan.tokens:,}'}"
    reason = why or f"the service uses no more pixels, {same}"
    if why is None and limits.inputs.budget.name == "own":
        reason = f"the budget allows no more, {same}"
    encoding = FrameEncoding(size=piece.size, period=Fraction(1), rotation=info.rotation)
    return replace(
        plan, action="image", encoding=encoding, pieces=(piece,), tokens=made, reason=f"made {width}x{height}: {reason}"
    )


def _several(plan: MediaPlan, limits: ImageLimits, pieces: tuple[Piece, ...], reason: str) -> MediaPlan:
    tokens = sum(limits.tokens(piece.size) for piece in pieces)
    return replace(plan, action="images", pieces=pieces, tokens=tokens, reason=f"{reason}, {tokens:,} tokens")


_AUDIO_SLACK = 1.05  # a file hardly larger than ours would be is sent unchanged


def plan_media(info: MediaInfo, inputs: PlanInputs, *, label: str) -> MediaPlan:
    """Decide what to do with one piece of media.

    Args:
        info: facts about it.
        inputs: what the plan is made for.
        label: its name in errors.

    Raises:
        MediaDoesNotFitError: the range is empty or outside the media.
        UnsupportedMediaError: a time range of an image.
        UnreadableMediaError: a video does not state its frame size.
    """
    untouched = _untouched(info, inputs, label)
    match info.kind:
        case "image":
            return _plan_image(info, inputs, untouched)
        case "audio":
            return _with_track(_plan_audio(info, inputs, untouched), info)
        case "video":
            return _with_track(_plan_video(info, inputs, untouched, label), info)


def _with_track(plan: MediaPlan, info: MediaInfo) -> MediaPlan:
    """Add to the reason which of several audio tracks is used."""
    if len(info.audio_tracks) < 2 or plan.action == "frames":  # noqa: PLR2004 - nothing to choose from
        return plan
    track = (
        "all audio tracks mixed" if info.audio_track == "mix" else f"audio track {info.audio_tracks[info.audio_track]}"
    )
    return replace(plan, reason=f"{plan.reason}; {track} of {len(info.audio_tracks)}")


def _untouched(info: MediaInfo, inputs: PlanInputs, label: str) -> MediaPlan:
    """Plan to send the wanted range as it is; its tokens are not counted yet."""
    start, end = max(Fraction(0), inputs.start or Fraction(0)), info.duration
    if info.kind == "image" and (inputs.start or inputs.end is not None):
        raise UnsupportedMediaError(f"{label} is an image and has no duration; omit start and end.").with_option(
            "start" if inputs.start else "end"
        )
    if inputs.end is not None:
        end = inputs.end if end is None else min(inputs.end, end)
    if end is not None and end <= start:
        last = "an unknown time" if info.duration is None else f"{float(info.duration):,.2f} s"
        asked = f"{float(start):,.2f} s to {'its end' if inputs.end is None else f'{float(inputs.end):,.2f} s'}"
        raise MediaDoesNotFitError(
            f"{label} lasts {last}; nothing lies in the range from {asked}. Choose a start before its end.",
            limit=float(info.duration or 0),
            actual=float(start),
        ).with_option("start" if inputs.start else "end")
    whole = start == 0 and (inputs.end is None or (info.duration is not None and inputs.end >= info.duration))
    return MediaPlan(
        action="pass",
        reason="sent as it is: the budget says so",
        budget=inputs.budget,
        sampling=inputs.sampling,
        start=start,
        end=end,
        partial=not whole or _ends_early(info, inputs.profile.limits),  # parts show their last frame to their end
        size_bytes=info.size_bytes,
        seconds=upload_seconds(info.size_bytes, inputs),
    )


def _plan_audio(info: MediaInfo, inputs: PlanInputs, untouched: MediaPlan) -> MediaPlan:
    tokens = None if untouched.length is None else audio_tokens(inputs.profile, untouched.length)
    seconds = float(untouched.length or USUAL_SECONDS)
    plan = replace(untouched, tokens=tokens, tokens_as_is=tokens)
    if inputs.budget.keep and not plan.partial and not info.unpacked:
        return plan
    size = int(inputs.budget.audio_bitrate * seconds / 8)
    made = replace(plan, action="audio", audio=True, size_bytes=size)
    made = replace(made, seconds=audio_seconds(seconds, inputs) + upload_seconds(size, inputs))
    why = why_not_as_is(info, inputs, partial=plan.partial)
    if why is not None:
        return replace(made, reason=f"made mono MP3: {why}")
    if size * _AUDIO_SLACK >= info.size_bytes:
        return replace(plan, reason="sent as it is: it is already small")
    if inputs.budget.weigh and plan.seconds <= made.seconds + WORTH_SECONDS:
        saved = plan.seconds - made.seconds
        time = "no time" if saved < _NOTABLE_SECONDS else f"only {saved:.1f} s"
        return replace(plan, reason=f"sent as it is: a smaller file would save {time}, and no tokens")
    times = f"about {made.seconds:.1f} s to prepare and send, {plan.seconds:.1f} s as it is"
    return replace(made, reason=f"made mono MP3: {times}")


AS_IT_IS = "sent as it is: it is to be analysed by channel"


def loses_channels(info: MediaInfo, plan: MediaPlan) -> bool:
    """Whether a plan makes one channel of several."""
    return plan.audio and info.channels != 1


def check_channels(info: MediaInfo, plan: MediaPlan, inputs: PlanInputs, *, label: str) -> None:
    """Refuse media that cannot be sent unchanged.

    Args:
        info: facts about it; it has several channels.
        plan: what would be done with it otherwise.
        inputs: what that was planned for.
        label: its name in errors.

    Raises:
        MediaDoesNotFitError: preparing it would leave one channel.
    """
    why = why_not_as_is(info, inputs, partial=plan.partial)
    if why is None and plan.budget.weigh:
        return
    because = why or f"the budget {plan.budget.name!r} asks for another file"
    raise MediaDoesNotFitError(
        f"{label} has {info.channels or 'an unknown number of'} channels of audio, and it cannot be sent unchanged: "
        f"{because}. Prepared audio has one channel. Send a whole file that fits as it is, or turn multichannel off.",
        limit=1,
        actual=info.channels or 0,
    )
