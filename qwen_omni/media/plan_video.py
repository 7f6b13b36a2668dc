"""What to do with a video. Pure; the part of `media.planning` that weighs."""

from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction

from qwen_omni.errors import UnreadableMediaError
from qwen_omni.media.budget import LIVELY_FPS, STILL_FPS, Sampling, even_sides, shown_size
from qwen_omni.media.info import MediaInfo
from qwen_omni.media.plan import Picture, Plan, Span, Wish
from qwen_omni.media.plan_costs import (
    USUAL_FPS,
    USUAL_SECONDS,
    WORTH_SECONDS,
    most_bits,
    most_bytes,
    upload_seconds,
    video_bytes,
    video_seconds,
)
from qwen_omni.media.plan_reasons import Reason, other_track, takes_other_track, undocumented, why_not_as_is
from qwen_omni.media.plan_sides import allowed
from qwen_omni.tokens import audio_tokens, video_tokens

_REMUXED = frozenset({"mpegts", "mpeg"})
_PICTURES_IN_MP4 = frozenset({"h264", "hevc", "mpeg4"})
_SOUNDS_IN_MP4 = frozenset({"aac", "mp3", "ac3", None})
_SLOWEST = Fraction(1, 1001)  # frames per second; a damaged file may claim a picture a day
_NARROWEST = 80  # percent that a picture is made smaller at most, only to bill no more
_FEWER = 4  # frames that a video is made with less at most, only to bill no more
_FINEST = 1_000_000  # ticks a second of an MP4's clock; many more are not kept exactly
_RATE_SLACK = Fraction(21, 20)  # 4.1 frames a second are still "4"

Size = tuple[int, int]


def plan_video(info: MediaInfo, wish: Wish, span: Span, *, label: str) -> Plan:
    """Decide what to do with a video.

    Raises:
        UnreadableMediaError: it does not tell how large its pictures are.
    """
    if not info.width or not info.height:
        raise UnreadableMediaError(f"{label} does not tell how large its pictures are; it is probably damaged.")
    untouched = _untouched(info, wish, span)
    if wish.budget.keep and not span.partial and not info.unpacked:
        if takes_other_track(info) and _can_remux(info, other_track):
            return replace(untouched, action="remux", reason=f"packed into MP4 unchanged: {other_track(info)}")
        if not takes_other_track(info):
            return untouched
    made = _made(info, wish, span, untouched.tokens)
    why = why_not_as_is(info, wish, partial=span.partial)
    if wish.budget.frames:
        return replace(made, action="frames", sound=False, reason=_told(made, "a list of pictures was asked for"))
    if why in (None, undocumented, other_track):
        spared = _spared(info, wish, untouched, made, why)
        if spared is not None:
            return spared
    return replace(made, reason=_told(made, why(info) if why else _wanted(untouched, made)))


def _spared(info: MediaInfo, wish: Wish, untouched: Plan, made: Plan, why: Reason | None) -> Plan | None:
    """Give a plan that decodes nothing, if one is good enough."""
    if _fits(info, wish):
        tokens = _bill(info, wish, (info.width or 0, info.height or 0), untouched, None, made.sampling)
        same = replace(untouched, sampling=made.sampling, tokens=tokens)
        if why is None:
            return replace(same, reason="sent as it is: it already fits the budget")
        if _can_remux(info, why):
            return replace(same, action="remux", reason=f"packed into MP4 unchanged: {why(info)}")
    if why is None and wish.budget.weigh and not _gains(untouched, made):
        return replace(untouched, reason=_not_worth_it(untouched, made))
    return None


def _untouched(info: MediaInfo, wish: Wish, span: Span) -> Plan:
    plan = Plan(
        action="pass",
        reason="sent as it is: the budget says so",
        budget=wish.budget,
        sampling=wish.sampling,
        start=span.start,
        end=span.end,
        partial=span.partial,
        size_bytes=info.size_bytes,
        seconds=upload_seconds(info.size_bytes, wish),
    )
    tokens = _bill(info, wish, (info.width or 0, info.height or 0), plan, None, wish.sampling)
    return replace(plan, tokens=tokens, tokens_as_is=tokens)


def _made(info: MediaInfo, wish: Wish, span: Span, as_is: int | None) -> Plan:
    """Plan the MP4 that the budget wants."""
    budget = wish.budget
    plan = replace(_untouched(info, wish, span), action="video", sampling=sampling_for(wish), sound=info.has_sound)
    rate, size, tokens = _rate_and_size(info, wish, plan, as_is if budget.weigh else None)
    seconds = float(span.length or USUAL_SECONDS)
    pixels = size[0] * size[1] * float(rate) * seconds
    made_bytes = video_bytes(info, wish, pixels, seconds)
    picture = Picture(
        size=size,
        period=1 / rate,
        rotation=info.rotation,
        effort=budget.effort,
        quality=budget.quality,
        most_bits=most_bits(info, wish, seconds),
        most_bytes=most_bytes(wish),
    )
    return replace(
        plan,
        picture=picture,
        tokens=tokens,
        tokens_as_is=as_is,
        size_bytes=made_bytes,
        seconds=video_seconds(info, wish, pixels, seconds) + upload_seconds(made_bytes, wish),
    )


def _rate_and_size(info: MediaInfo, wish: Wish, plan: Plan, most: int | None) -> tuple[Fraction, Size, int | None]:
    """Choose the rate, and the largest size of which it bills no more tokens than `most`.

    A last frame that sticks out behind the end may bill a pair of frames more; a slightly lower rate has none.
    """
    rate = _rate(info, wish)
    size, tokens = _size(info, wish, plan, rate, most)
    length = plan.shown(info)
    if most is None or tokens is None or tokens <= most or not length:
        return rate, size, tokens
    frames = int(length * rate)
    for fewer in range(frames, max(0, frames - _FEWER), -1):
        slower = fewer / length
        if slower < _SLOWEST or slower.numerator > _FINEST:
            break
        other, bill = _size(info, wish, plan, slower, most)
        if bill is not None and bill <= most:
            return slower, other, bill
    return rate, size, tokens


def _rate(info: MediaInfo, wish: Wish) -> Fraction:
    """Choose the frames per second of the file; never more than there are, since that could bill more."""
    wanted = wish.budget.fps if wish.budget.fps is not None else LIVELY_FPS if wish.lively else STILL_FPS
    rate = Fraction(wanted).limit_denominator(1001)
    return max(_SLOWEST, min(rate, info.fps.limit_denominator(1001))) if info.fps else rate


def _size(info: MediaInfo, wish: Wish, plan: Plan, rate: Fraction, most: int | None) -> tuple[Size, int | None]:
    """Choose the largest size that the budget allows and, if `most` is given, bills no more tokens than that."""
    size, tokens = (2, 2), None
    for size in _sizes(info, wish):
        tokens = _bill(info, wish, size, plan, rate, plan.sampling)
        if most is None or tokens is None or tokens <= most:
            break
    return size, tokens


def _sizes(info: MediaInfo, wish: Wish) -> Iterator[Size]:
    shown = shown_size((info.width or 2, info.height or 2), info.pixel_aspect)
    full = allowed(shown, wish)
    for percent in range(100, _NARROWEST - 1, -1):
        width, height = even_sides(*shown, full * Fraction(percent, 100))
        yield width, height
        yield width, max(2, height - 2)
        yield max(2, width - 2), height
    yield even_sides(*shown, Fraction(1))  # a very narrow picture is seen enlarged: made smaller, it may bill more


def sampling_for(wish: Wish) -> Sampling:
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


def _bill(info: MediaInfo, wish: Wish, size: Size, plan: Plan, rate: Fraction | None, sampling: Sampling) -> int | None:
    """Count the tokens of what a plan makes at this rate, or of the untouched file if there is none."""
    shown, heard = plan.shown(info, None if rate is None else 1 / rate), plan.heard(info)
    if shown is None or heard is None or plan.end is None:
        return None
    sound = audio_tokens(wish.profile, heard) if info.has_sound else 0
    return video_tokens(wish.profile, size, shown, rate or info.fps or Fraction(USUAL_FPS), sampling) + sound


def _fits(info: MediaInfo, wish: Wish) -> bool:
    budget = wish.budget
    if info.fps is None or budget.key_frames:
        return False
    wanted = Fraction(budget.fps if budget.fps is not None else LIVELY_FPS)
    shown = shown_size((info.width or 2, info.height or 2), info.pixel_aspect)
    return allowed(shown, wish) == 1 and info.fps <= wanted * _RATE_SLACK


def _can_remux(info: MediaInfo, why: Reason) -> bool:
    if info.audio_track == "mix" or (why is undocumented and info.container not in _REMUXED):
        return False
    return info.video_codec in _PICTURES_IN_MP4 and info.audio_codec in _SOUNDS_IN_MP4


def _gains(untouched: Plan, made: Plan) -> bool:
    if untouched.tokens is not None and made.tokens is not None and made.tokens != untouched.tokens:
        return made.tokens < untouched.tokens
    return made.seconds + WORTH_SECONDS < untouched.seconds


def _wanted(untouched: Plan, made: Plan) -> str:
    return _compared(untouched, made) if made.budget.weigh else f"the budget {made.budget.name!r} asks for it"


def _not_worth_it(untouched: Plan, made: Plan) -> str:
    return f"sent as it is: {_compared(untouched, made)}; preparing would save neither {WORTH_SECONDS} s nor tokens"


def _compared(untouched: Plan, made: Plan) -> str:
    saved = (untouched.size_bytes - made.size_bytes) / 2**20
    told = f"about {made.seconds:.1f} s to prepare and send, {untouched.seconds:.1f} s as it is, {saved:.1f} MiB less"
    if made.tokens is None or untouched.tokens is None:
        return told
    same = made.tokens == untouched.tokens
    return f"{told}, {made.tokens:,} tokens {'either way' if same else f'instead of {untouched.tokens:,}'}"


def _told(made: Plan, reason: str) -> str:
    assert made.picture is not None
    width, height = made.picture.size
    upright = ", upright" if made.picture.rotation else ""
    return f"made {width}x{height}{upright} at {float(1 / made.picture.period):.3g} fps: {reason}"
