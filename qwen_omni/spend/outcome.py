"""What a plan will make of a file, and how many tokens the service bills for media as it arrives. Pure.

Every number follows from facts: those of the source and the plan before anything is made, those of the result after.
"""

import math
from dataclasses import dataclass, replace
from fractions import Fraction

from qwen_omni.media.budget import DEFAULT_SAMPLING, Sampling
from qwen_omni.media.info import MediaInfo
from qwen_omni.media.plan import Plan
from qwen_omni.profiles import Profile
from qwen_omni.spend.costs import TokenCounts
from qwen_omni.tokens import audio_tokens, frames_tokens, image_tokens, video_tokens

_PAIR = 2  # frames are merged two by two
_MARKERS = 2  # a start and an end token
_SLACK = 1.05  # a frame may always be this much above the least size


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """How the service is told to look at a piece of media: what stands beside it, and what the request says."""

    sampling: Sampling = DEFAULT_SAMPLING
    high_resolution: bool = False


AS_USUAL = Asked()


def outcome_of(info: MediaInfo, plan: Plan) -> MediaInfo:
    """Tell what a plan will make, before it is carried out; sizes in bytes are rough."""
    match plan.action:
        case "pass":
            return info
        case "remux":
            return replace(info, container="mp4", media_type="video/mp4")
        case "image":
            width, height = plan.picture.size if plan.picture else (info.width, info.height)
            # The plan does not know how well the picture will compress: it is taken to compress as it does now.
            share = Fraction((width or 1) * (height or 1), (info.width or 1) * (info.height or 1))
            return replace(info, width=width, height=height, rotation=0, size_bytes=round(plan.size_bytes * share))
        case "images":
            (width, height), one = plan.pieces[0].size, plan.size_bytes // len(plan.pieces)  # of each of them
            made = replace(info, container="jpeg", media_type="image/jpeg", rotation=0, pages=(), size_bytes=one)
            return replace(made, width=width, height=height)
        case "audio":
            made = replace(_within(info, plan), container="mp3", media_type="audio/mpeg", size_bytes=plan.size_bytes)
            return replace(made, sound_duration=plan.heard(info), sound_start=Fraction(0))
        case "video" | "frames":
            return _video(info, plan)


def within(info: MediaInfo, start: Fraction, end: Fraction | None) -> MediaInfo:
    """Give the facts of a range of a recording, as if it had been cut out without a change."""
    if info.duration is None or (start == 0 and end is None):
        return info
    last = info.duration if end is None else min(end, info.duration)
    return replace(
        info,
        duration=last - start,
        picture_duration=_overlap(info.picture_duration, info.picture_start, start, last),
        picture_start=Fraction(0),
        sound_duration=_overlap(info.sound_duration, info.sound_start, start, last),
        sound_start=Fraction(0),
    )


def media_tokens(info: MediaInfo, profile: Profile, asked: Asked = AS_USUAL) -> TokenCounts | None:
    """Count the tokens of one picture, recording or video as it arrives; `None` where its length is not known."""
    if info.kind == "image":
        size = (info.width or 1, info.height or 1)
        count = image_tokens(profile, size, asked.sampling, high_resolution=asked.high_resolution)
        return TokenCounts(image=count)
    if info.duration is None:
        return None
    length = info.duration if info.sound_duration is None else info.sound_duration
    sound = audio_tokens(profile, length) if info.has_sound else 0
    if info.kind == "audio":
        return TokenCounts(audio=sound)
    shown = info.duration if info.picture_end is None else info.picture_end
    rate = info.fps or Fraction(profile.tokens.fps).limit_denominator(1000)
    size = (info.width or 1, info.height or 1)
    return TokenCounts(video=video_tokens(profile, size, shown, rate, asked.sampling), audio=sound)


def list_tokens(size: tuple[int, int], count: int, profile: Profile, asked: Asked = AS_USUAL) -> TokenCounts:
    """Count the tokens of a list of `count` frames of one size."""
    return TokenCounts(video=frames_tokens(profile, size, count, asked.sampling))


def most_tokens(kind: str, profile: Profile, asked: Asked = AS_USUAL) -> TokenCounts:
    """Tell the most that media of a kind can be billed at: for links, which nobody opens here."""
    rules, sampling = profile.tokens, asked.sampling if profile.sampling_fields else DEFAULT_SAMPLING
    if kind == "image":
        most = rules.image_tokens[1]
        if asked.high_resolution and rules.image_tokens_high is not None:
            most = rules.image_tokens_high
        elif sampling.max_pixels is not None:
            most = sampling.max_pixels // rules.factor**2
        return TokenCounts(image=most + _MARKERS)
    if kind == "audio":
        return TokenCounts(audio=audio_tokens(profile, profile.limits.audio_seconds))
    seconds = profile.limits.video_seconds
    wanted = int(seconds * (sampling.fps or rules.fps))
    frames = max(rules.frames[0], min(rules.frames[1], wanted) // _PAIR * _PAIR)
    film = most_list_tokens(frames, profile, asked)
    return replace(film, audio=audio_tokens(profile, seconds))


def most_list_tokens(count: int, profile: Profile, asked: Asked = AS_USUAL) -> TokenCounts:
    """Tell the most that `count` frames of any size can be billed at."""
    rules, sampling = profile.tokens, asked.sampling if profile.sampling_fields else DEFAULT_SAMPLING
    area, pairs = rules.factor**2, math.ceil(count / _PAIR)
    floor = int((sampling.min_pixels or rules.frame_tokens[0] * area) * _SLACK) // area
    frame = max((sampling.max_pixels or rules.frame_tokens[1] * area) // area, floor)
    pool = (sampling.total_pixels or rules.video_tokens * area) // area
    return TokenCounts(video=max(min(pairs * frame, pool), pairs * floor) + _MARKERS)


def _overlap(length: Fraction | None, begins: Fraction, start: Fraction, end: Fraction) -> Fraction | None:
    return None if length is None else max(Fraction(0), min(begins + length, end) - start)


def _within(info: MediaInfo, plan: Plan) -> MediaInfo:
    return within(info, plan.start, plan.end) if plan.partial else info


def _video(info: MediaInfo, plan: Plan) -> MediaInfo:
    """Tell what the MP4 will be: as many pictures as its rate puts into the range, on a grid from its beginning."""
    assert plan.picture is not None
    shown = plan.shown(info, plan.picture.period)
    return replace(
        _within(info, plan),
        container="mp4",
        media_type="video/mp4",
        size_bytes=plan.size_bytes,
        width=plan.picture.size[0],
        height=plan.picture.size[1],
        fps=1 / plan.picture.period,
        frame_count=None if shown is None else int(shown / plan.picture.period),
        picture_duration=shown,
        picture_start=Fraction(0),
        sound_duration=plan.heard(info),
        sound_start=Fraction(0),
        rotation=0,
        pixel_aspect=Fraction(1),
        interlaced=False,
        audio_codec="aac" if plan.sound else None,
    )
