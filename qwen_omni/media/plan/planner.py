"""Decide what to do with a file, and why. Pure: facts and limits in, a `MediaPlan` out.

A file is sent unchanged whenever the service accepts it, bills no more for it, and that is quicker; it is re-encoded
only where that saves something. `auto` never bills more tokens than the untouched original would.

An image is never made smaller than what the service itself processes. Where that would make a tall or wide image
unreadable it is cut into tiles; a file of several pages becomes several images. Encoded audio has one channel, so audio
that is to be transcribed by channel is sent unchanged or refused.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction

from qwen_omni.errors import MediaDoesNotFitError, UnreadableMediaError, UnsupportedMediaError
from qwen_omni.media.budget import LIVELY_FPS, STILL_FPS, Sampling, even_sides, shown_size, whole_sides
from qwen_omni.media.formats import IMAGE_CONTAINERS, documented_format
from qwen_omni.media.info import MediaInfo
from qwen_omni.media.plan.plan import (
    BROKEN,
    USUAL_FPS,
    USUAL_SECONDS,
    WORTH_SECONDS,
    MediaPlan,
    Picture,
    Piece,
    PlanInputs,
    Reason,
    Span,
    allowed,
    colours_differ,
    has_own_sides,
    most_bits,
    most_bytes,
    only_a_part,
    other_track,
    room_for,
    sound_seconds,
    takes_other_track,
    too_large,
    turned,
    undocumented,
    upload_seconds,
    video_bytes,
    video_seconds,
    why_not_as_is,
)
from qwen_omni.profiles.token_formulas import audio_tokens, image_pixels, image_size, image_tokens, video_tokens

_REMUXED = frozenset({"mpegts", "mpeg"})
_PICTURES_IN_MP4 = frozenset({"h264", "hevc", "mpeg4"})
_SOUNDS_IN_MP4 = frozenset({"aac", "mp3", "ac3", None})
_SLOWEST = Fraction(1, 1001)  # frames per second; a damaged file may claim one frame per day
_NARROWEST = 80  # maximum percent by which a frame is made smaller just to bill no more
_FEWER = 4  # maximum number of frames dropped from a video just to bill no more
_FINEST = 1_000_000  # ticks per second of an MP4's clock; many more are not stored exactly
_RATE_SLACK = Fraction(21, 20)  # 4.1 frames per second still count as 4

Size = tuple[int, int]


def plan_video(info: MediaInfo, inputs: PlanInputs, span: Span, *, label: str) -> MediaPlan:
    """Decide what to do with a video.

    Raises:
        UnreadableMediaError: it does not state its frame size.
    """
    if not info.width or not info.height:
        raise UnreadableMediaError(f"{label} does not state its frame size; it is probably damaged.")
    untouched = _untouched(info, inputs, span)
    if inputs.budget.keep and not span.partial and not info.unpacked:
        if takes_other_track(info) and _can_remux(info, other_track):
            return replace(untouched, action="remux", reason=f"packed into MP4 unchanged: {other_track(info)}")
        if not takes_other_track(info):
            return untouched
    made = _made(info, inputs, span, untouched.tokens)
    why = why_not_as_is(info, inputs, partial=span.partial)
    if inputs.budget.frames:
        return replace(made, action="frames", sound=False, reason=_explained(made, "a list of frames was asked for"))
    if why in (None, undocumented, other_track):
        spared = _spared(info, inputs, untouched, made, why)
        if spared is not None:
            return spared
    return replace(made, reason=_explained(made, why(info) if why else _wanted(untouched, made)))


def _spared(
    info: MediaInfo, inputs: PlanInputs, untouched: MediaPlan, made: MediaPlan, why: Reason | None
) -> MediaPlan | None:
    """Return a plan that decodes nothing, if one is good enough."""
    if _fits(info, inputs):
        tokens = _bill(info, inputs, (info.width or 0, info.height or 0), untouched, None, made.sampling)
        same = replace(untouched, sampling=made.sampling, tokens=tokens)
        if why is None:
            return replace(same, reason="sent as it is: it already fits the budget")
        if _can_remux(info, why):
            return replace(same, action="remux", reason=f"packed into MP4 unchanged: {why(info)}")
    if why is None and inputs.budget.weigh and not _gains(untouched, made):
        return replace(untouched, reason=_not_worth_it(untouched, made))
    return None


def _untouched(info: MediaInfo, inputs: PlanInputs, span: Span) -> MediaPlan:
    plan = MediaPlan(
        action="pass",
        reason="sent as it is: the budget says so",
        budget=inputs.budget,
        sampling=inputs.sampling,
        start=span.start,
        end=span.end,
        partial=span.partial,
        size_bytes=info.size_bytes,
        seconds=upload_seconds(info.size_bytes, inputs),
    )
    tokens = _bill(info, inputs, (info.width or 0, info.height or 0), plan, None, inputs.sampling)
    return replace(plan, tokens=tokens, tokens_as_is=tokens)


def _made(info: MediaInfo, inputs: PlanInputs, span: Span, as_is: int | None) -> MediaPlan:
    """Plan the MP4 that the budget wants."""
    budget = inputs.budget
    plan = replace(_untouched(info, inputs, span), action="video", sampling=sampling_for(inputs), sound=info.has_sound)
    rate, size, tokens = _rate_and_size(info, inputs, plan, as_is if budget.weigh else None)
    seconds = float(span.length or USUAL_SECONDS)
    pixels = size[0] * size[1] * float(rate) * seconds
    made_bytes = video_bytes(info, inputs, pixels, seconds)
    picture = Picture(
        size=size,
        period=1 / rate,
        rotation=info.rotation,
        effort=budget.effort,
        quality=budget.quality,
        most_bits=most_bits(info, inputs, seconds),
        most_bytes=most_bytes(inputs),
    )
    return replace(
        plan,
        picture=picture,
        tokens=tokens,
        tokens_as_is=as_is,
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
    wanted = inputs.budget.fps if inputs.budget.fps is not None else LIVELY_FPS if inputs.lively else STILL_FPS
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


def sampling_for(inputs: PlanInputs) -> Sampling:
    """Combine the sampling fields of the caller and the budget; the caller's take precedence."""
    if not inputs.profile.sampling_fields:
        return inputs.sampling
    asked, budget = inputs.sampling, inputs.budget
    return Sampling(
        fps=asked.fps if asked.fps is not None else budget.sampling_fps,
        min_pixels=asked.min_pixels if asked.min_pixels is not None else budget.min_pixels,
        max_pixels=asked.max_pixels if asked.max_pixels is not None else budget.max_pixels,
        total_pixels=asked.total_pixels,
    )


def _bill(
    info: MediaInfo, inputs: PlanInputs, size: Size, plan: MediaPlan, rate: Fraction | None, sampling: Sampling
) -> int | None:
    """Count the tokens of what a plan makes at this rate, or of the untouched file if there is no rate."""
    shown, heard = plan.shown(info, None if rate is None else 1 / rate), plan.heard(info)
    if shown is None or heard is None or plan.end is None:
        return None
    sound = audio_tokens(inputs.profile, heard) if info.has_sound else 0
    return video_tokens(inputs.profile, size, shown, rate or info.fps or Fraction(USUAL_FPS), sampling) + sound


def _fits(info: MediaInfo, inputs: PlanInputs) -> bool:
    budget = inputs.budget
    if info.fps is None or budget.key_frames:
        return False
    wanted = Fraction(budget.fps if budget.fps is not None else LIVELY_FPS)
    shown = shown_size((info.width or 2, info.height or 2), info.pixel_aspect)
    return allowed(shown, inputs) == 1 and info.fps <= wanted * _RATE_SLACK


def _can_remux(info: MediaInfo, why: Reason) -> bool:
    if info.audio_track == "mix" or (why is undocumented and info.container not in _REMUXED):
        return False
    return info.video_codec in _PICTURES_IN_MP4 and info.audio_codec in _SOUNDS_IN_MP4


def _gains(untouched: MediaPlan, made: MediaPlan) -> bool:
    if untouched.tokens is not None and made.tokens is not None and made.tokens != untouched.tokens:
        return made.tokens < untouched.tokens
    return made.seconds + WORTH_SECONDS < untouched.seconds


def _wanted(untouched: MediaPlan, made: MediaPlan) -> str:
    return _compared(untouched, made) if made.budget.weigh else f"the budget {made.budget.name!r} asks for it"


def _not_worth_it(untouched: MediaPlan, made: MediaPlan) -> str:
    return f"sent as it is: {_compared(untouched, made)}; re-encoding would save neither {WORTH_SECONDS} s nor tokens"


def _compared(untouched: MediaPlan, made: MediaPlan) -> str:
    saved = (untouched.size_bytes - made.size_bytes) / 2**20
    times = f"about {made.seconds:.1f} s to prepare and send, {untouched.seconds:.1f} s as it is, {saved:.1f} MiB less"
    if made.tokens is None or untouched.tokens is None:
        return times
    same = made.tokens == untouched.tokens
    return f"{times}, {made.tokens:,} tokens {'either way' if same else f'instead of {untouched.tokens:,}'}"


def _explained(made: MediaPlan, reason: str) -> str:
    assert made.picture is not None
    width, height = made.picture.size
    upright = ", upright" if made.picture.rotation else ""
    return f"made {width}x{height}{upright} at {float(1 / made.picture.period):.3g} fps: {reason}"


OVERLAP = Fraction(1, 10)
"""Share of a tile that the next one repeats, so that no line of text is cut in both."""

_TALL = 3  # aspect ratio from which an image is cut rather than shrunk ...
_CRUSHED = Fraction(1, 2)  # ... if less than this share of its pixels would be left
_STEPS = 40  # tries, each 1 % larger, until the service resizes a smaller image to the same size as the original


def plan_image(info: MediaInfo, inputs: PlanInputs) -> MediaPlan:
    """Decide what to do with an image, or with a file of several pages."""
    size = (info.width or 1, info.height or 1)
    asked = replace(sampling_for(inputs), fps=inputs.sampling.fps)
    plan = MediaPlan(
        action="pass",
        reason="sent as it is: the budget says so",
        budget=inputs.budget,
        sampling=asked,
        tokens=image_tokens(inputs.profile, size, asked),
        tokens_as_is=image_tokens(inputs.profile, size, inputs.sampling),
        size_bytes=info.size_bytes,
        seconds=upload_seconds(info.size_bytes, inputs),
    )
    if inputs.budget.keep and info.page is None and not info.unpacked and len(info.pages) < 2:  # noqa: PLR2004
        return plan
    limits = _Limits(inputs=inputs, asked=asked)
    if len(info.pages) > 1:
        pieces = tuple(piece for page, one in enumerate(info.pages) for piece in limits.pieces(one, page))
        cut = "" if len(pieces) == len(info.pages) else f", in {len(pieces)} images"
        return _several(plan, limits, pieces, f"sent as its {len(info.pages):,} pages{cut}")
    pieces = limits.pieces(size, info.page or 0)
    if len(pieces) > 1:
        return _several(plan, limits, pieces, _tiled(size, pieces, limits))
    return _single(info, plan, limits, pieces[0])


@dataclass(frozen=True, slots=True, kw_only=True)
class _Limits:
    """How large the images may be that an image is sent as."""

    inputs: PlanInputs
    asked: Sampling

    def tokens(self, size: Size) -> int:
        """Count the tokens of an image of this size."""
        return image_tokens(self.inputs.profile, size, self.asked)

    def pieces(self, size: Size, page: int) -> tuple[Piece, ...]:
        """Return the images that one image becomes: itself, or tiles of it."""
        if self.inputs.tile and self._is_crushed(size):
            return tuple(self._tiles(size, page))
        return (Piece(size=self.single(size), box=(0, 0, *size), page=page),)

    def single(self, size: Size) -> Size:
        """Choose the size of an image that is sent as one.

        With sides of the caller's own it is the largest within them, if that bills no more. Otherwise it is the
        smallest that the service resizes exactly as it would resize the original.
        """
        if self.inputs.listed:
            return whole_sides(*size, allowed(size, self.inputs))
        if self._own:
            budget = self.inputs.budget
            within = min(Fraction(1), Fraction(budget.long_side, max(size)), Fraction(budget.short_side, min(size)))
            return whole_sides(*size, within)
        seen = image_size(self.inputs.profile, size, self.asked)
        for percent in range(100, 100 + _STEPS):
            share = self._within(size) * Fraction(percent, 100)
            smaller = whole_sides(*size, share)
            if share >= 1:
                break
            if image_size(self.inputs.profile, smaller, self.asked) == seen:
                return smaller
        return size

    @property
    def _own(self) -> bool:
        return has_own_sides(self.inputs.budget)

    @property
    def _pixels(self) -> int:
        """Maximum pixels of one image: the budget's if the caller chose its sides, else what the service processes."""
        own = self.inputs.budget.long_side * self.inputs.budget.short_side
        most = image_pixels(self.inputs.profile, self.asked)
        return min(own, most) if self._own else most

    def _within(self, size: Size) -> Fraction:
        """Return the factor, at most 1, that leaves an image as many pixels as the service processes."""
        return min(Fraction(1), Fraction(math.sqrt(self._pixels / (size[0] * size[1]))))

    def _is_crushed(self, size: Size) -> bool:
        long, short = max(size), min(size)
        if long > self.inputs.profile.limits.max_aspect * short:
            return True
        return long >= _TALL * short and Fraction(self._pixels, long * short) < _CRUSHED

    def _tiles(self, size: Size, page: int) -> Iterator[Piece]:
        """Cut along the long side into overlapping tiles of one size, in reading order."""
        factor = self.inputs.profile.tokens.factor
        long, short = max(size), min(size)
        narrow = min(short, math.isqrt(self._pixels), *((self.inputs.budget.short_side,) if self._own else ()))
        scale = Fraction(narrow, short)
        whole = max(1, round(long * scale))
        columns = math.ceil(narrow / factor)  # the service rounds both sides to its patches
        most = max(factor, self._pixels // (columns * factor) // factor * factor)
        most = min(most, int(self.inputs.profile.limits.max_aspect * narrow), whole)
        if self._own:
            most = min(most, self.inputs.budget.long_side)
        shared = most * OVERLAP
        count = max(1, math.ceil((whole - shared) / (most - shared)))
        length = min(most, math.ceil(whole / (count - (count - 1) * OVERLAP)))
        for number in range(count):
            begin = Fraction(whole - length, max(1, count - 1)) * number
            first = round(begin / scale)
            last = long if number == count - 1 else min(long, round((begin + length) / scale))
            upright = size[1] >= size[0]
            box = (0, first, short, last) if upright else (first, 0, last, short)
            yield Piece(size=(narrow, length) if upright else (length, narrow), box=box, page=page)


def _single(info: MediaInfo, plan: MediaPlan, limits: _Limits, piece: Piece) -> MediaPlan:
    assert plan.tokens is not None
    made, why = limits.tokens(piece.size), _why_not_as_is(info, limits.inputs)
    if why is None and piece.size == (info.width, info.height):
        return replace(plan, reason="sent as it is: it already fits the budget")
    if why is None and made > plan.tokens:
        bill = f"made smaller it would bill {made:,} tokens instead of {plan.tokens:,}"
        return replace(plan, reason=f"sent as it is: {bill}")
    width, height = piece.size
    same = f"{made:,} tokens {'either way' if made == plan.tokens else f'instead of {plan.tokens:,}'}"
    reason = why(info) if why else f"the service uses no more pixels, {same}"
    if why is None and limits.inputs.budget.name == "own":
        reason = f"the budget allows no more, {same}"
    picture = Picture(size=piece.size, period=Fraction(1), rotation=info.rotation)
    return replace(
        plan, action="image", picture=picture, pieces=(piece,), tokens=made, reason=f"made {width}x{height}: {reason}"
    )


def _several(plan: MediaPlan, limits: _Limits, pieces: tuple[Piece, ...], reason: str) -> MediaPlan:
    tokens = sum(limits.tokens(piece.size) for piece in pieces)
    return replace(plan, action="images", pieces=pieces, tokens=tokens, reason=f"{reason}, {tokens:,} tokens")


def _tiled(size: Size, pieces: tuple[Piece, ...], limits: _Limits) -> str:
    width, height = pieces[0].size
    aspect = limits.inputs.profile.limits.max_aspect
    why = f"the service would shrink {size[0]}x{size[1]} until it is unreadable (tile=False sends one image)"
    if max(size) > aspect * min(size):
        why = f"the service takes no image longer than {aspect:g} times its short side"
    return f"cut into {len(pieces)} tiles of {width}x{height} that overlap by {float(OVERLAP):.0%}: {why}"


def _why_not_as_is(info: MediaInfo, inputs: PlanInputs) -> Reason | None:
    reasons = (
        (info.unpacked, _not_pictured),
        (info.much_text, _much_text),
        (info.page is not None, _one_frame),
        (info.rotation != 0 or info.mirrored, turned),
        (info.colours != "plain", colours_differ),
        (info.container not in IMAGE_CONTAINERS, undocumented),
        (info.size_bytes > room_for(inputs.profile.limits.image_bytes, inputs), too_large),
    )
    return next((reason for holds, reason in reasons if holds), None)


def _much_text(_: MediaInfo) -> str:
    return "it holds more than a megabyte of text or of a colour profile, which some decoders refuse"


def _not_pictured(_: MediaInfo) -> str:
    return "the service does not document its format"


def _one_frame(info: MediaInfo) -> str:
    return f"only frame {info.page} was asked for"


_SOUND_SLACK = 1.05  # a file hardly larger than ours would be is sent unchanged


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
    match info.kind:
        case "image":
            _check_no_seconds(inputs, label)
            return plan_image(info, inputs)
        case "audio":
            return _with_track(_plan_sound(info, inputs, _span(info, inputs, label)), info)
        case "video":
            return _with_track(plan_video(info, inputs, _span(info, inputs, label), label=label), info)


def _with_track(plan: MediaPlan, info: MediaInfo) -> MediaPlan:
    """Add to the reason which of several audio tracks is used."""
    if len(info.audio_tracks) < 2 or plan.action == "frames":  # noqa: PLR2004 - nothing to choose from
        return plan
    track = (
        "all audio tracks mixed" if info.audio_track == "mix" else f"audio track {info.audio_tracks[info.audio_track]}"
    )
    return replace(plan, reason=f"{plan.reason}; {track} of {len(info.audio_tracks)}")


def _check_no_seconds(inputs: PlanInputs, label: str) -> None:
    if inputs.start or inputs.end is not None:
        raise UnsupportedMediaError(f"{label} is an image and has no duration; omit start and end.")


def _span(info: MediaInfo, inputs: PlanInputs, label: str) -> Span:
    start, end = max(Fraction(0), inputs.start or Fraction(0)), info.duration
    if inputs.end is not None:
        end = inputs.end if end is None else min(inputs.end, end)
    if end is not None and end <= start:
        last = "an unknown time" if info.duration is None else f"{float(info.duration):,.2f} s"
        asked = f"{float(start):,.2f} s to {'its end' if inputs.end is None else f'{float(inputs.end):,.2f} s'}"
        raise MediaDoesNotFitError(
            f"{label} lasts {last}; nothing lies in the range from {asked}. Choose a start before its end.",
            limit=float(info.duration or 0),
            actual=float(start),
        )
    whole = start == 0 and (inputs.end is None or (info.duration is not None and inputs.end >= info.duration))
    return Span(start=start, end=end, partial=not whole)


def _plan_sound(info: MediaInfo, inputs: PlanInputs, span: Span) -> MediaPlan:
    tokens = None if span.length is None else audio_tokens(inputs.profile, span.length)
    seconds = float(span.length or USUAL_SECONDS)
    plan = MediaPlan(
        action="pass",
        reason="sent as it is: the budget says so",
        budget=inputs.budget,
        sampling=inputs.sampling,
        start=span.start,
        end=span.end,
        partial=span.partial,
        tokens=tokens,
        tokens_as_is=tokens,
        size_bytes=info.size_bytes,
        seconds=upload_seconds(info.size_bytes, inputs),
    )
    if inputs.budget.keep and not span.partial and not info.unpacked:
        return plan
    size = int(inputs.budget.sound_bitrate * seconds / 8)
    made = replace(plan, action="audio", sound=True, size_bytes=size)
    made = replace(made, seconds=sound_seconds(seconds, inputs) + upload_seconds(size, inputs))
    why = why_not_this_sound(info, inputs, partial=span.partial)
    if why is not None:
        return replace(made, reason=f"made mono MP3: {why(info)}")
    if size * _SOUND_SLACK >= info.size_bytes:
        return replace(plan, reason="sent as it is: it is already small")
    times = f"about {made.seconds:.1f} s to prepare and send, {plan.seconds:.1f} s as it is"
    if inputs.budget.weigh and plan.seconds <= made.seconds + WORTH_SECONDS:
        return replace(plan, reason=f"sent as it is: {times}")
    return replace(made, reason=f"made mono MP3: {times}")


def why_not_this_sound(info: MediaInfo, inputs: PlanInputs, *, partial: bool) -> Reason | None:
    """Return why audio must be re-encoded; `None` if it can be sent unchanged."""
    reasons = (
        (partial, only_a_part),
        *((holds(info), reason) for holds, reason in BROKEN),
        (takes_other_track(info), other_track),
        (not sound_is_documented(info), undocumented_sound),
        (info.size_bytes > room_for(inputs.profile.limits.audio_bytes, inputs), too_large),
    )
    return next((reason for holds, reason in reasons if holds), None)


def undocumented_sound(info: MediaInfo) -> str:
    """The codec in this container is not one that the service documents."""
    return f"the service does not document {info.audio_codec} in {info.container} files"


def sound_is_documented(info: MediaInfo) -> bool:
    """Whether the service documents this kind of audio file."""
    try:
        documented_format(info, name="")
    except UnsupportedMediaError:
        return False
    return True


AS_IT_IS = "sent as it is: it is to be analysed by channel"


def loses_channels(info: MediaInfo, plan: MediaPlan) -> bool:
    """Whether a plan makes one channel of several."""
    return plan.sound and info.channels != 1


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
    reason = why_not_this_sound if info.kind == "audio" else why_not_as_is
    why = reason(info, inputs, partial=plan.partial)
    if why is None and plan.budget.weigh:
        return
    because = why(info) if why else f"the budget {plan.budget.name!r} asks for another file"
    raise MediaDoesNotFitError(
        f"{label} has {info.channels or 'an unknown number of'} channels of audio, and it cannot be sent as it is: "
        f"{because}. Prepared audio has one channel. Send a whole file that fits as it is, or turn multichannel off.",
        limit=1,
        actual=info.channels or 0,
    )
