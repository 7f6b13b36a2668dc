"""What is to be done with a piece of media, and why. Pure: facts and limits in, a `Plan` out; `media.prepare` does it.

A file is sent as it is whenever that bills no more and is allowed and quicker; it is made smaller only where that
gains something. `auto` never bills more tokens than the untouched original would.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Literal

from qwen_omni.delivery.formats import AUDIO_CONTAINERS, IMAGE_CONTAINERS, VIDEO_CONTAINERS
from qwen_omni.errors import MediaDoesNotFitError, UnreadableMediaError
from qwen_omni.media.budget import LIVELY_FPS, STILL_FPS, MediaBudget, even_sides, fit_sides, shown_size, whole_sides
from qwen_omni.media.info import MediaInfo
from qwen_omni.messages import Sampling
from qwen_omni.profiles import Profile
from qwen_omni.tokens import audio_tokens, image_tokens, video_tokens

Action = Literal["pass", "remux", "video", "audio", "image", "frames"]
"""Send as it is; pack the same streams into MP4; make an MP4, an MP3, a JPEG picture, a list of JPEG pictures."""

# Codecs that any reader of video understands. Others are turned into H.264.
_USUAL_PICTURES = frozenset({"h264", "hevc", "vp8", "vp9", "av1", "mpeg4", "mpeg2video", "mpeg1video"})
_USUAL_SOUNDS = frozenset({"aac", "mp3", "ac3", "eac3", "opus", "vorbis", "flac", "amr_nb", "amr_wb", "wmav2", ""})
_REMUXED = frozenset({"mpegts", "mpeg"})
_IN_MP4 = (frozenset({"h264", "hevc", "mpeg4"}), frozenset({"aac", "mp3", "ac3", ""}))

# What preparing costs, from benchmarks/media.py on two cores (2026-11-23); only to choose the quicker way.
_DECODE_CORE_SECONDS = 0.0016  # per megapixel of the source
_ENCODE_CORE_SECONDS = 0.02  # per megapixel of the result
_SOUND_CORE_SECONDS = 0.008  # per second
_BITS_PER_PIXEL = 0.12
_USUAL_FPS = 25
_NARROWEST = 0.8  # how far a picture is made smaller only to bill no more
_RATE_SLACK = Fraction(21, 20)  # 4.1 frames a second are still "4"
_FULLEST = 0.95  # share of `max_bytes` that is aimed at
_LEAST_BITS = 60_000  # per second of picture


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """How the pictures of a video are made."""

    size: tuple[int, int]
    period: Fraction
    rotation: int = 0
    effort: str = "veryfast"
    quality: int = 26
    most_bits: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is done with one piece of media, and why.

    Attributes:
        action: what is made of it.
        reason: one line for people.
        sampling: what the service is asked for beside the part.
        picture: how pictures are made, for `video`, `frames` and `image`.
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
    sound: bool = False
    start: Fraction = Fraction(0)
    end: Fraction | None = None
    partial: bool = False
    tokens: int | None = None
    tokens_as_is: int | None = None
    size_bytes: int = 0
    seconds: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What a plan is made for, beside the file.

    Attributes:
        budget: what it may cost.
        profile: the model that will see it.
        sampling: what the caller asks of the service; wins over the budget's.
        start: beginning of the wanted range in seconds.
        end: its end; `None` is the end of the file.
        lively: whether the picture moves a lot; `None` where nobody has looked yet.
        room_bytes: a larger file cannot be delivered.
        uplink_mbps: megabits per second that can be sent.
        cores: processor cores that work.
    """

    budget: MediaBudget
    profile: Profile
    sampling: Sampling = Sampling()
    start: Fraction | None = None
    end: Fraction | None = None
    lively: bool | None = None
    room_bytes: int | None = None
    uplink_mbps: float = 20.0
    cores: int = 2


def plan_media(info: MediaInfo, wish: Wish, *, label: str) -> Plan:
    """Decide what to do with one piece of media.

    Args:
        info: what it is.
        wish: what is wanted of it.
        label: how to name it in errors.

    Raises:
        MediaDoesNotFitError: the range is empty or lies outside of it.
    """
    match info.kind:
        case "image":
            return _plan_image(info, wish)
        case "audio":
            return _plan_sound(info, wish, _range(info, wish, label))
        case "video":
            return _plan_video(info, wish, _range(info, wish, label), label)


Range = tuple[Fraction, Fraction | None, bool]
"""Start, end, and whether it is only a part of the file."""


def _range(info: MediaInfo, wish: Wish, label: str) -> Range:
    start = max(Fraction(0), wish.start or Fraction(0))
    end = wish.end if info.duration is None or wish.end is None else min(wish.end, info.duration)
    end = info.duration if end is None else end
    if (end is not None and end <= start) or (wish.end is not None and wish.end <= start):
        last = "an unknown time" if info.duration is None else f"{float(info.duration):,.2f} s"
        asked = f"{float(start):,.2f} to {'its end' if wish.end is None else f'{float(wish.end):,.2f}'}"
        raise MediaDoesNotFitError(
            f"{label} lasts {last}; nothing lies in the range from {asked} s. Choose a start before its end.",
            limit=float(info.duration or 0),
            actual=float(start),
        )
    whole = start == 0 and (info.duration is None or end is None or end >= info.duration)
    return start, end, not whole


def _plan_video(info: MediaInfo, wish: Wish, span: Range, label: str) -> Plan:
    if info.width is None or info.height is None:
        raise UnreadableMediaError(f"{label} does not tell how large its pictures are; it is probably damaged.")
    start, end, partial = span
    budget = wish.budget
    length = None if end is None else end - start
    as_is = _bill(info, wish, (info.width, info.height), length, info.fps, wish.sampling)
    untouched = Plan(
        action="pass", reason="sent as it is: the budget says so", budget=budget, sampling=wish.sampling,
        start=start, end=end, partial=partial, tokens=as_is, tokens_as_is=as_is, size_bytes=info.size_bytes,
        seconds=_upload(info.size_bytes, wish),
    )  # fmt: skip
    if budget.keep and not partial:
        return untouched
    made = _made_video(info, wish, span, as_is)
    why = _why_not_as_is(info, wish, partial=partial)
    if budget.frames:
        return replace(made, action="frames", sound=False, reason=_told(made, "pictures were asked for"))
    if why is None and _fits(info, budget, made):
        same = replace(untouched, sampling=made.sampling, reason="sent as it is: it already fits the budget")
        return replace(same, tokens=_bill(info, wish, (info.width, info.height), length, info.fps, made.sampling))
    if why == _CONTAINER and _fits(info, budget, made) and _can_remux(info):
        return replace(
            untouched, action="remux", sampling=made.sampling, reason=f"packed into MP4 unchanged: {why(info)}"
        )
    if why is None and budget.weigh and not _gains(untouched, made):
        return replace(untouched, reason=_told_weighed(untouched, made))
    reason = why(info) if why is not None else f"{_told_weighed(untouched, made, made_wins=True)}"
    return replace(made, reason=_told(made, reason))


def _made_video(info: MediaInfo, wish: Wish, span: Range, as_is: int | None) -> Plan:
    """Plan the MP4 that the budget wants."""
    start, end, _ = span
    budget, length = wish.budget, None if end is None else end - start
    rate = Fraction(budget.fps if budget.fps is not None else LIVELY_FPS if wish.lively else STILL_FPS)
    if info.fps:
        rate = min(rate.limit_denominator(1001), info.fps.limit_denominator(1001))
    sampling = _sampling(wish)
    size = even_sides(*_shown(info), fit_sides(_shown(info), budget))
    tokens = _bill(info, wish, size, length, rate, sampling)
    if budget.weigh and as_is is not None and tokens is not None and tokens > as_is:
        size, sampling, tokens = _no_dearer(info, wish, length, rate, as_is)
    seconds = float(length or 60)
    pixels = size[0] * size[1] * float(rate) * seconds
    bits = pixels * _BITS_PER_PIXEL + (budget.sound_bitrate * seconds if info.has_sound else 0)
    most = _most_bits(wish, seconds, sound=info.has_sound)
    made_bytes = int(min(bits / 8, info.size_bytes * (1 if span[2] is False else 1)))
    return Plan(
        action="video",
        reason="",
        budget=budget,
        sampling=sampling,
        picture=Picture(
            size=size, period=1 / rate, rotation=info.rotation, effort=budget.effort, quality=budget.quality,
            most_bits=most,
        ),
        sound=info.has_sound,
        start=start,
        end=end,
        partial=span[2],
        tokens=tokens,
        tokens_as_is=as_is,
        size_bytes=made_bytes,
        seconds=_work(info, wish, pixels, seconds) + _upload(made_bytes, wish),
    )  # fmt: skip


def _no_dearer(
    info: MediaInfo, wish: Wish, length: Fraction | None, rate: Fraction, as_is: int
) -> tuple[tuple[int, int], Sampling, int | None]:
    """Find a size a little smaller that bills no more than the untouched original."""
    sampling = _sampling(wish)
    for size in _smaller(info, wish.budget):
        tokens = _bill(info, wish, size, length, rate, sampling)
        if tokens is None or tokens <= as_is:
            return size, sampling, tokens
    return size, sampling, tokens


def _smaller(info: MediaInfo, budget: MediaBudget) -> Iterator[tuple[int, int]]:
    full = fit_sides(_shown(info), budget)
    seen: set[tuple[int, int]] = set()
    for percent in range(100, int(_NARROWEST * 100), -1):
        width, height = even_sides(*_shown(info), full * Fraction(percent, 100))
        for size in ((width, height), (width, max(2, height - 2)), (max(2, width - 2), height)):
            if size not in seen:
                seen.add(size)
                yield size


def _shown(info: MediaInfo) -> tuple[Fraction, Fraction]:
    assert info.width is not None
    assert info.height is not None
    return shown_size((info.width, info.height), info.pixel_aspect)


def _sampling(wish: Wish) -> Sampling:
    """Join what the caller asks of the service with what the budget does; the caller wins."""
    if not wish.profile.sampling_fields:
        return wish.sampling
    asked, budget = wish.sampling, wish.budget
    return Sampling(
        fps=asked.fps if asked.fps is not None else budget.sampling_fps,
        min_pixels=asked.min_pixels if asked.min_pixels is not None else budget.min_pixels,
        max_pixels=asked.max_pixels if asked.max_pixels is not None else budget.max_pixels,
        total_pixels=asked.total_pixels,
    )


def _bill(
    info: MediaInfo,
    wish: Wish,
    size: tuple[int, int],
    length: Fraction | None,
    rate: Fraction | None,
    sampling: Sampling,
) -> int | None:
    if length is None:
        return None
    sound = audio_tokens(wish.profile, length) if info.has_sound else 0
    return video_tokens(wish.profile, size, length, rate or Fraction(_USUAL_FPS), sampling) + sound


class _Reason:
    """Why a file cannot be sent as it is; called with its facts it tells."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __call__(self, info: MediaInfo) -> str:
        return self._text.format(info=info)


_PART = _Reason("only a part of it is wanted")
_TURNED = _Reason("its picture has to be turned by {info.rotation} degrees")
_HALVES = _Reason("it is interlaced")
_PIXELS = _Reason("its pixels are not square ({info.pixel_aspect})")
_CODEC = _Reason("its codec ({info.video_codec}) is not one that every reader has")
_SOUND = _Reason("its sound ({info.audio_codec}) is not one that every reader has")
_CONTAINER = _Reason("the service does not document {info.container} files")
_ROOM = _Reason("{info.size_bytes:,} bytes are more than can be delivered")


def _why_not_as_is(info: MediaInfo, wish: Wish, *, partial: bool) -> _Reason | None:
    room = min(wish.profile.limits.video_bytes, wish.room_bytes or wish.profile.limits.video_bytes)
    most = wish.budget.max_bytes
    told = (
        (partial, _PART),
        (info.rotation != 0, _TURNED),
        (info.interlaced, _HALVES),
        (info.pixel_aspect != 1, _PIXELS),
        (info.video_codec not in _USUAL_PICTURES, _CODEC),
        ((info.audio_codec or "") not in _USUAL_SOUNDS and not (info.audio_codec or "").startswith("pcm_"), _SOUND),
        (info.size_bytes > (room if most is None else min(room, most)), _ROOM),
        (info.container not in VIDEO_CONTAINERS, _CONTAINER),
    )
    return next((reason for holds, reason in told if holds), None)


def _fits(info: MediaInfo, budget: MediaBudget, made: Plan) -> bool:
    if info.fps is None or made.picture is None or budget.key_frames:
        return False
    wanted = budget.fps if budget.fps is not None else LIVELY_FPS
    return fit_sides(_shown(info), budget) == 1 and info.fps <= Fraction(wanted) * _RATE_SLACK


def _can_remux(info: MediaInfo) -> bool:
    pictures, sounds = _IN_MP4
    return info.container in _REMUXED and info.video_codec in pictures and (info.audio_codec or "") in sounds


def _gains(untouched: Plan, made: Plan) -> bool:
    if untouched.tokens is not None and made.tokens is not None and made.tokens != untouched.tokens:
        return made.tokens < untouched.tokens
    return made.seconds < untouched.seconds


def _upload(size_bytes: int, wish: Wish) -> float:
    return size_bytes * 8 / (wish.uplink_mbps * 1e6)


def _work(info: MediaInfo, wish: Wish, pixels: float, seconds: float) -> float:
    source = (info.width or 0) * (info.height or 0) * float(info.fps or _USUAL_FPS) * seconds
    cost = source / 1e6 * _DECODE_CORE_SECONDS + pixels / 1e6 * _ENCODE_CORE_SECONDS
    cost += seconds * _SOUND_CORE_SECONDS if info.has_sound else 0
    return cost / max(1, wish.cores)


def _most_bits(wish: Wish, seconds: float, *, sound: bool) -> int | None:
    allowed = [limit for limit in (wish.budget.max_bytes, wish.room_bytes) if limit is not None]
    if not allowed:
        return None
    bits = min(allowed) * 8 * _FULLEST / max(seconds, 1) - (wish.budget.sound_bitrate * 1.1 if sound else 0)
    return max(_LEAST_BITS, int(bits))


def _told(made: Plan, reason: str) -> str:
    assert made.picture is not None
    width, height = made.picture.size
    if made.picture.rotation in (90, 270):
        what = f"{width}x{height}, upright"
    else:
        what = f"{width}x{height}"
    return f"made {what} at {float(1 / made.picture.period):.3g} fps: {reason}"


def _told_weighed(untouched: Plan, made: Plan, *, made_wins: bool = False) -> str:
    if made_wins and not made.budget.weigh:
        return f"the budget {made.budget.name!r} asks for it"
    saved = (untouched.size_bytes - made.size_bytes) / 2**20
    tokens = "an unknown number of" if made.tokens is None else f"{made.tokens:,}"
    compared = (
        f"about {made.seconds:.1f} s to prepare and send, {untouched.seconds:.1f} s as it is, "
        f"{saved:.1f} MiB less, {tokens} tokens"
    )
    if untouched.tokens is not None and made.tokens is not None and made.tokens < untouched.tokens:
        return f"{compared} instead of {untouched.tokens:,}"
    return f"{compared} either way" if made_wins else f"sent as it is: {compared} either way"


def _plan_sound(info: MediaInfo, wish: Wish, span: Range) -> Plan:
    start, end, partial = span
    budget = wish.budget
    length = None if end is None else end - start
    tokens = None if length is None else audio_tokens(wish.profile, length)
    plan = Plan(
        action="pass", reason="sent as it is: the budget says so", budget=budget, sampling=wish.sampling, start=start,
        end=end, partial=partial, tokens=tokens, tokens_as_is=tokens, size_bytes=info.size_bytes,
        seconds=_upload(info.size_bytes, wish),
    )  # fmt: skip
    if budget.keep and not partial:
        return plan
    seconds = float(length or 60)
    size = int(budget.sound_bitrate * seconds / 8)
    work = seconds * _SOUND_CORE_SECONDS + _upload(size, wish)
    made = replace(plan, action="audio", sound=True, size_bytes=size, seconds=work)
    room = min(wish.profile.limits.audio_bytes, wish.room_bytes or wish.profile.limits.audio_bytes)
    if partial:
        return replace(made, reason=f"made mono MP3: {_PART(info)}")
    if not sound_is_documented(info):
        return replace(
            made, reason=f"made mono MP3: the service does not document {info.audio_codec} in {info.container}"
        )
    if info.size_bytes > (room if budget.max_bytes is None else min(room, budget.max_bytes)):
        return replace(made, reason=f"made mono MP3: {_ROOM(info)}")
    if size * float(_RATE_SLACK) >= info.size_bytes:
        return replace(plan, reason="sent as it is: it is already small")
    if budget.weigh and plan.seconds <= made.seconds:
        told = f"about {made.seconds:.1f} s to prepare and send, {plan.seconds:.1f} s as it is"
        return replace(plan, reason=f"sent as it is: {told}")
    return replace(made, reason=f"made mono MP3: {(info.size_bytes - size) / 2**20:.1f} MiB less to send")


def _plan_image(info: MediaInfo, wish: Wish) -> Plan:
    size = (info.width or 1, info.height or 1)
    budget = wish.budget
    sampling = _sampling(replace(wish, budget=replace(budget, sampling_fps=None)))
    tokens = image_tokens(wish.profile, size, sampling)
    plan = Plan(
        action="pass", reason="sent as it is: the budget says so", budget=budget, sampling=sampling, tokens=tokens,
        tokens_as_is=image_tokens(wish.profile, size), size_bytes=info.size_bytes,
        seconds=_upload(info.size_bytes, wish),
    )  # fmt: skip
    if budget.keep:
        return plan
    factor = fit_sides(size, budget)
    small = whole_sides(*size, factor)
    room = min(wish.profile.limits.image_bytes, wish.room_bytes or wish.profile.limits.image_bytes)
    told = (
        (info.rotation != 0, _TURNED),
        (info.container not in IMAGE_CONTAINERS, _CONTAINER),
        (info.size_bytes > room, _ROOM),
        (factor < 1, _Reason("the budget allows no larger one")),
    )
    why = next((reason for holds, reason in told if holds), None)
    if why is None:
        return replace(plan, reason="sent as it is: it already fits the budget")
    made = image_tokens(wish.profile, small, sampling)
    if made > tokens and why is told[3][1]:
        return replace(plan, reason="sent as it is: made smaller it would bill more")
    picture = Picture(size=small, period=Fraction(1), rotation=info.rotation)
    return replace(
        plan, action="image", picture=picture, tokens=made, reason=f"made {small[0]}x{small[1]}: {why(info)}"
    )


def sound_is_documented(info: MediaInfo) -> bool:
    """Tell whether the service documents this kind of sound file."""
    return info.container in AUDIO_CONTAINERS and _is_usual(info)


def _is_usual(info: MediaInfo) -> bool:
    from qwen_omni.delivery.formats import documented_format  # noqa: PLC0415
    from qwen_omni.errors import UnsupportedMediaError  # noqa: PLC0415

    try:
        documented_format(info, name="")
    except UnsupportedMediaError:
        return False
    return True
