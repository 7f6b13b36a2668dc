"""Decide what is to be done with a piece of media, and why. Pure: facts and limits in, a `Plan` out.

A file is sent as it is whenever that bills no more and is allowed and quicker; it is made smaller only where that
gains something. `auto` never bills more tokens than the untouched original would. `media.prepare` does what is
decided here; `media.plan_video` and `media.plan_image` decide about videos and pictures.
"""

from dataclasses import replace
from fractions import Fraction

from qwen_omni.delivery.formats import documented_format
from qwen_omni.errors import MediaDoesNotFitError, UnsupportedMediaError
from qwen_omni.media.info import MediaInfo
from qwen_omni.media.plan import Plan, Span, Wish
from qwen_omni.media.plan_costs import USUAL_SECONDS, WORTH_SECONDS, room_for, sound_seconds, upload_seconds
from qwen_omni.media.plan_image import plan_image
from qwen_omni.media.plan_reasons import BROKEN, Reason, only_a_part, other_track, takes_other_track, too_large
from qwen_omni.media.plan_video import plan_video
from qwen_omni.tokens import audio_tokens

_SOUND_SLACK = 1.05  # a file hardly larger than ours would be is left alone


def plan_media(info: MediaInfo, wish: Wish, *, label: str) -> Plan:
    """Decide what to do with one piece of media.

    Args:
        info: what it is.
        wish: what is wanted of it.
        label: how to name it in errors.

    Raises:
        MediaDoesNotFitError: the range is empty or lies outside of it.
        UnsupportedMediaError: a range of a picture.
        UnreadableMediaError: a video does not tell how large its pictures are.
    """
    match info.kind:
        case "image":
            _check_no_seconds(wish, label)
            return plan_image(info, wish)
        case "audio":
            return _with_track(_plan_sound(info, wish, _span(info, wish, label)), info)
        case "video":
            return _with_track(plan_video(info, wish, _span(info, wish, label), label=label), info)


def _with_track(plan: Plan, info: MediaInfo) -> Plan:
    """Add to the reason which of several audio tracks is heard."""
    if len(info.audio_tracks) < 2 or plan.action == "frames":  # noqa: PLR2004 - nothing to choose from
        return plan
    heard = (
        "all audio tracks mixed" if info.audio_track == "mix" else f"audio track {info.audio_tracks[info.audio_track]}"
    )
    return replace(plan, reason=f"{plan.reason}; {heard} of {len(info.audio_tracks)}")


def _check_no_seconds(wish: Wish, label: str) -> None:
    if wish.start or wish.end is not None:
        raise UnsupportedMediaError(f"{label} is a picture and has no seconds; leave start and end out.")


def _span(info: MediaInfo, wish: Wish, label: str) -> Span:
    start, end = max(Fraction(0), wish.start or Fraction(0)), info.duration
    if wish.end is not None:
        end = wish.end if end is None else min(wish.end, end)
    if end is not None and end <= start:
        last = "an unknown time" if info.duration is None else f"{float(info.duration):,.2f} s"
        asked = f"{float(start):,.2f} s to {'its end' if wish.end is None else f'{float(wish.end):,.2f} s'}"
        raise MediaDoesNotFitError(
            f"{label} lasts {last}; nothing lies in the range from {asked}. Choose a start before its end.",
            limit=float(info.duration or 0),
            actual=float(start),
        )
    whole = start == 0 and (wish.end is None or (info.duration is not None and wish.end >= info.duration))
    return Span(start=start, end=end, partial=not whole)


def _plan_sound(info: MediaInfo, wish: Wish, span: Span) -> Plan:
    tokens = None if span.length is None else audio_tokens(wish.profile, span.length)
    seconds = float(span.length or USUAL_SECONDS)
    plan = Plan(
        action="pass",
        reason="sent as it is: the budget says so",
        budget=wish.budget,
        sampling=wish.sampling,
        start=span.start,
        end=span.end,
        partial=span.partial,
        tokens=tokens,
        tokens_as_is=tokens,
        size_bytes=info.size_bytes,
        seconds=upload_seconds(info.size_bytes, wish),
    )
    if wish.budget.keep and not span.partial and not info.unpacked:
        return plan
    size = int(wish.budget.sound_bitrate * seconds / 8)
    made = replace(plan, action="audio", sound=True, size_bytes=size)
    made = replace(made, seconds=sound_seconds(seconds, wish) + upload_seconds(size, wish))
    why = why_not_this_sound(info, wish, partial=span.partial)
    if why is not None:
        return replace(made, reason=f"made mono MP3: {why(info)}")
    if size * _SOUND_SLACK >= info.size_bytes:
        return replace(plan, reason="sent as it is: it is already small")
    told = f"about {made.seconds:.1f} s to prepare and send, {plan.seconds:.1f} s as it is"
    if wish.budget.weigh and plan.seconds <= made.seconds + WORTH_SECONDS:
        return replace(plan, reason=f"sent as it is: {told}")
    return replace(made, reason=f"made mono MP3: {told}")


def why_not_this_sound(info: MediaInfo, wish: Wish, *, partial: bool) -> Reason | None:
    """Tell why sound must be made anew; `None` if it could go as it is."""
    told = (
        (partial, only_a_part),
        *((holds(info), reason) for holds, reason in BROKEN),
        (takes_other_track(info), other_track),
        (not sound_is_documented(info), undocumented_sound),
        (info.size_bytes > room_for(wish.profile.limits.audio_bytes, wish), too_large),
    )
    return next((reason for holds, reason in told if holds), None)


def undocumented_sound(info: MediaInfo) -> str:
    """The codec in this container is not one that the service documents."""
    return f"the service does not document {info.audio_codec} in {info.container} files"


def sound_is_documented(info: MediaInfo) -> bool:
    """Tell whether the service documents this kind of sound file."""
    try:
        documented_format(info, name="")
    except UnsupportedMediaError:
        return False
    return True
