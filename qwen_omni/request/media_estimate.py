"""The tokens that each piece of media will use. Opens local files; sends and encodes nothing.

Every number follows from facts: before encoding, those of the source and its plan; afterwards, those of the result. The
estimate uses the same `Fitter` as the request itself, so both agree; media that is already prepared is used unchanged.
A link is not opened: what is unknown is reported as unknown, with its upper bound.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Self

from qwen_omni.errors import ConfigurationError, DeliveryError, MediaDoesNotFitError, MediaError, UnsupportedMediaError
from qwen_omni.media.budget import DEFAULT_SAMPLING, Sampling
from qwen_omni.media.info import MediaInfo
from qwen_omni.media.plan.plan import MediaPlan
from qwen_omni.media.prepare import Prepared
from qwen_omni.media.source import MediaSource
from qwen_omni.messages import (
    AudioPart,
    FramesPart,
    ImagePart,
    MediaPart,
    MediaPayload,
    Route,
    VideoPart,
    media_parts,
)
from qwen_omni.options import ChatRequest
from qwen_omni.pricing.costs import TokenCounts
from qwen_omni.profiles import Profile
from qwen_omni.profiles.token_formulas import audio_tokens, frames_tokens, image_tokens, video_tokens
from qwen_omni.request.fit import Fitter, check_part
from qwen_omni.settings import Settings
from qwen_omni.upload.uploader import choose_route, is_link, routes_of

_PAIR = 2  # frames are merged in pairs
_MARKERS = 2  # a start and an end token
_SLACK = 1.05  # a frame may always exceed the minimum size by this factor


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """How the service is asked to sample a piece of media: the fields next to it, and those of the request."""

    sampling: Sampling = DEFAULT_SAMPLING
    high_resolution: bool = False


AS_USUAL = Asked()


def predicted_info(info: MediaInfo, plan: MediaPlan) -> MediaInfo:
    """Return the facts of the file that a plan will make, before it is carried out; sizes in bytes are approximate."""
    match plan.action:
        case "pass":
            return info
        case "remux":
            return replace(info, container="mp4", media_type="video/mp4")
        case "image":
            width, height = plan.encoding.size if plan.encoding else (info.width, info.height)
            # The plan does not know how well the image will compress: assume that it compresses as it does now.
            share = Fraction((width or 1) * (height or 1), (info.width or 1) * (info.height or 1))
            return replace(info, width=width, height=height, rotation=0, size_bytes=round(plan.size_bytes * share))
        case "images":
            (width, height), one = plan.pieces[0].size, plan.size_bytes // len(plan.pieces)  # of each of them
            made = replace(info, container="jpeg", media_type="image/jpeg", rotation=0, pages=(), size_bytes=one)
            return replace(made, width=width, height=height)
        case "audio":
            made = replace(_within(info, plan), container="mp3", media_type="audio/mpeg", size_bytes=plan.size_bytes)
            return replace(made, audio_duration=plan.heard(info), audio_start=Fraction(0))
        case "video" | "frames":
            return _video(info, plan)


def within(info: MediaInfo, start: Fraction, end: Fraction | None) -> MediaInfo:
    """Return the facts of a range of a recording, as if it had been cut out without re-encoding."""
    if info.duration is None or (start == 0 and end is None):
        return info
    last = info.duration if end is None else min(end, info.duration)
    return replace(
        info,
        duration=last - start,
        video_duration=_overlap(info.video_duration, info.video_start, start, last),
        video_start=Fraction(0),
        audio_duration=_overlap(info.audio_duration, info.audio_start, start, last),
        audio_start=Fraction(0),
    )


def media_tokens(info: MediaInfo, profile: Profile, asked: Asked = AS_USUAL) -> TokenCounts | None:
    """Count the tokens of one image, recording or video as it arrives; `None` if its length is not known."""
    if info.kind == "image":
        size = (info.width or 1, info.height or 1)
        count = image_tokens(profile, size, asked.sampling, high_resolution=asked.high_resolution)
        return TokenCounts(image=count)
    if info.duration is None:
        return None
    length = info.duration if info.audio_duration is None else info.audio_duration
    audio = audio_tokens(profile, length) if info.has_audio else 0
    if info.kind == "audio":
        return TokenCounts(audio=audio)
    end = info.video_end
    shown = info.duration if end is None else end
    rate = info.fps or Fraction(profile.tokens.fps).limit_denominator(1000)
    size = (info.width or 1, info.height or 1)
    return TokenCounts(video=video_tokens(profile, size, shown, rate, asked.sampling), audio=audio)


def list_tokens(size: tuple[int, int], count: int, profile: Profile, asked: Asked = AS_USUAL) -> TokenCounts:
    """Count the tokens of a list of `count` frames of one size."""
    return TokenCounts(video=frames_tokens(profile, size, count, asked.sampling))


def most_tokens(kind: str, profile: Profile, asked: Asked = AS_USUAL) -> TokenCounts:
    """Return the upper bound for media of a kind: for links, which are not opened here."""
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
    most = max(_most_of_frames(count, profile, sampling) for count in range(1, frames + 1))
    return TokenCounts(video=most, audio=audio_tokens(profile, seconds))


def most_list_tokens(count: int, profile: Profile, asked: Asked = AS_USUAL) -> TokenCounts:
    """Return the upper bound for `count` frames of any size."""
    sampling = asked.sampling if profile.sampling_fields else DEFAULT_SAMPLING
    return TokenCounts(video=_most_of_frames(count, profile, sampling))


def _most_of_frames(count: int, profile: Profile, sampling: Sampling) -> int:
    """Count the tokens of frames of the least favourable size; the last one of an odd count is billed as a pair."""
    rules = profile.tokens
    area, pairs = rules.factor**2, math.ceil(count / _PAIR)
    floor = int((sampling.min_pixels or rules.frame_tokens[0] * area) * _SLACK) // area
    frame = max((sampling.max_pixels or rules.frame_tokens[1] * area) // area, floor)
    pool = (sampling.total_pixels or rules.video_tokens * area) // area
    return max(min(pairs * frame, pairs * _PAIR * pool // count), pairs * floor) + _MARKERS


def _overlap(length: Fraction | None, begins: Fraction, start: Fraction, end: Fraction) -> Fraction | None:
    return None if length is None else max(Fraction(0), min(begins + length, end) - start)


def _within(info: MediaInfo, plan: MediaPlan) -> MediaInfo:
    return within(info, plan.start, plan.end) if plan.partial else info


def _video(info: MediaInfo, plan: MediaPlan) -> MediaInfo:
    """Return the facts of the MP4: as many frames as its rate puts into the range, on a grid from its beginning."""
    assert plan.encoding is not None
    shown = plan.shown(info, plan.encoding.period)
    return replace(
        _within(info, plan),
        container="mp4",
        media_type="video/mp4",
        size_bytes=plan.size_bytes,
        width=plan.encoding.size[0],
        height=plan.encoding.size[1],
        fps=1 / plan.encoding.period,
        frame_count=None if shown is None else int(shown / plan.encoding.period),
        video_duration=shown,
        video_start=Fraction(0),
        audio_duration=plan.heard(info),
        audio_start=Fraction(0),
        rotation=0,
        pixel_aspect=Fraction(1),
        interlaced=False,
        covered=False,
        audio_codec="aac" if plan.audio else None,
    )


_BREAKS = (MediaDoesNotFitError, UnsupportedMediaError, DeliveryError, ConfigurationError)
_UNOPENED = "a link, which is not opened here: its length and size are not known"
_ENDLESS = "the file does not state its duration"
_FEW = "the number of key frames is only known when it is prepared, so this is the maximum"


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaEstimate:
    """One piece of media.

    Attributes:
        place: its place in the request, e.g. "message 0 part 1".
        label: its path, its link without the query, or its size.
        kind: image, audio or video; a list of frames is a video.
        doing: what is done with it before it is sent, and why.
        tokens: what it is billed, by kind; for a link, the lower bound.
        most: the upper bound; more than `tokens` only if something is not known.
        as_is: what the untouched original would be billed with the service's own sampling; `None` if unknown.
        seconds: its duration; `None` for images, links, and files that do not state it.
        size_bytes: size of the file that is sent.
        upload_bytes: what it adds to the request or to an upload: base64 is a third longer than the file.
        original_bytes: size of the untouched file.
        route: how it is sent; `None` if no route is available.
        exact: it has been prepared, so nothing about it is predicted.
        problem: the limit that it exceeds, in words; empty if none.
        brief: the same in a few words, for tables.
        unknown: what is not known about it, in words; empty if everything is known.
    """

    place: str
    label: str
    kind: str
    doing: str
    tokens: TokenCounts
    most: TokenCounts
    as_is: TokenCounts | None = None
    seconds: float | None = None
    size_bytes: int = 0
    upload_bytes: int = 0
    original_bytes: int = 0
    route: Route | None = None
    exact: bool = False
    problem: str = ""
    brief: str = ""
    unknown: str = ""


@dataclass(slots=True, kw_only=True)
class MediaEstimator:
    """Estimates what the media of one conversation will use, with one model.

    Attributes:
        request: the call; its messages hold the media.
        ready: media that is already prepared, by source.
        fitter: makes the media fit the model, as in the call itself.
        chosen: routes that have already been checked and chosen.
    """

    request: ChatRequest
    settings: Settings
    fitter: Fitter
    ready: Mapping[MediaSource, Prepared] = field(default_factory=dict)
    chosen: Mapping[MediaSource, Route] = field(default_factory=dict)

    @classmethod
    def of(cls, request: ChatRequest, settings: Settings, ready: Mapping[MediaSource, Prepared]) -> Self:
        """Build the estimator of a call whose media have not been made to fit."""
        profile = settings.profile(request.model)
        fitter = Fitter.of(request, profile, settings, routes_of(settings, profile))
        return cls(request=request, settings=settings, fitter=fitter, ready=ready)

    def estimate_all(self) -> tuple[MediaEstimate, ...]:
        """Inspect all media, in order.

        Raises:
            MediaError: a file is missing, damaged, not media, or not allowed.
        """
        return tuple(self._one(part, place) for place, part in media_parts(self.request.messages))

    def _asked(self, sampling: Sampling = DEFAULT_SAMPLING) -> Asked:
        return Asked(sampling=sampling, high_resolution=self.fitter.high_resolution)

    def _one(self, part: MediaPart, place: str) -> MediaEstimate:
        if isinstance(part, FramesPart):
            return self._frames(part, place)
        if part.source.url is not None:
            return self._link(part, part.source, place)
        made = self.ready.get(part.source)
        return self._local(part, place) if made is None else self._prepared(part, made, place)

    def _local(self, part: ImagePart | AudioPart | VideoPart, place: str) -> MediaEstimate:
        problem: MediaError | None = None
        name = f"{place}: {part.source.label}"
        try:
            look, plan = self.fitter.plan(part, name)
        except MediaDoesNotFitError as error:
            problem = error
            look, plan = self.fitter.plan(part, name, checked=False)
        will = predicted_info(look.info, plan)
        piece = self._described(part, will, plan, place, plan.sampling, count=max(1, len(plan.pieces)))
        as_is = media_tokens(_within(look.info, plan), self.fitter.profile, self._asked())
        piece = replace(piece, as_is=as_is, original_bytes=look.info.size_bytes, exact=plan.action == "pass")
        if plan.budget.key_frames and plan.action == "video":
            piece = replace(piece, doing=f"{piece.doing}; {_FEW}")
        if problem is None and piece.problem:
            return piece
        problem = problem or self._broken(part, will, name)
        return piece if problem is None else replace(piece, problem=str(problem), brief=problem.brief)

    def _prepared(self, part: ImagePart | AudioPart | VideoPart, made: Prepared, place: str) -> MediaEstimate:
        piece = self._described(part, made.info, made.plan, place, _sampling(part))
        source = made.source_info
        as_is = media_tokens(_within(source, made.plan), self.fitter.profile, self._asked())
        if made.jpegs and made.info.kind == "image":
            tokens = TokenCounts(image=made.plan.tokens or 0)
            upload = sum(_delivered(one.info).encoded_bytes for one in made.images)
            piece = replace(piece, tokens=tokens, most=tokens, upload_bytes=upload)
        elif made.jpegs:
            return self._as_images(piece, made, as_is)
        if made.plan.action == "images" and not _is_first(made.plan):
            as_is = TokenCounts()  # counted with the first of its tiles or pages
        return replace(piece, as_is=as_is, original_bytes=source.size_bytes, exact=True)

    def _as_images(self, piece: MediaEstimate, made: Prepared, as_is: TokenCounts | None) -> MediaEstimate:
        size = made.plan.encoding.size if made.plan.encoding else (1, 1)
        tokens = list_tokens(size, len(made.jpegs), self.fitter.profile, Asked(sampling=made.plan.sampling))
        upload = sum(MediaPayload(size_bytes=len(jpeg.data)).encoded_bytes for jpeg in made.jpegs)
        piece = replace(piece, tokens=tokens, most=tokens, as_is=as_is, exact=True, route="inline")
        return replace(piece, upload_bytes=upload, original_bytes=made.source_info.size_bytes)

    def _described(
        self,
        part: ImagePart | AudioPart | VideoPart,
        info: MediaInfo,
        plan: MediaPlan,
        place: str,
        sampling: Sampling,  # prepared media is sent with that of its part; planned media will get that of its plan
        count: int = 1,
    ) -> MediaEstimate:
        asked = self._asked(sampling)
        tokens = media_tokens(info, self.fitter.profile, asked)
        if count > 1:
            tokens = TokenCounts(image=plan.tokens or 0)
        if tokens is not None and plan.action == "frames" and info.frame_count:
            tokens = list_tokens((info.width or 1, info.height or 1), info.frame_count, self.fitter.profile, asked)
        kind = part.modality
        seconds = None if info.duration is None else float(info.duration)
        route, problem = self._route(part.source, info, seconds, place)
        return MediaEstimate(
            place=place,
            label=part.source.label,
            kind=kind,
            doing=plan.reason,
            tokens=tokens or TokenCounts(),
            most=most_tokens(kind, self.fitter.profile, asked) if tokens is None else tokens,
            seconds=seconds,
            size_bytes=info.size_bytes * count,
            upload_bytes=(_delivered(info).encoded_bytes if route == "inline" else info.size_bytes) * count,
            route=route,
            problem=problem,
            unknown=_ENDLESS if tokens is None else "",
        )

    def _link(self, part: MediaPart, source: MediaSource, place: str) -> MediaEstimate:
        asked = self._asked(_sampling(self.fitter.asked(part)))
        kind = part.modality
        return MediaEstimate(
            place=place,
            label=source.label,
            kind=kind,
            doing="sent as a link",
            tokens=TokenCounts(),
            most=most_tokens(kind, self.fitter.profile, asked),
            route="link",
            problem=self._link_problem(source, place),
            unknown=_UNOPENED,
        )

    def _link_problem(self, source: MediaSource, place: str) -> str:
        if source in self.chosen:
            return ""
        try:
            is_link(source, name=f"{place}: {source.label}", base_url=self.settings.base_url)
        except _BREAKS as error:
            return str(error)
        return ""

    def _frames(self, part: FramesPart, place: str) -> MediaEstimate:
        seen = [self._frame(part, source, place) for source in part.frames if source.url is None]
        asked, count = Asked(sampling=part.sampling), len(part.frames)
        tokens, as_is = TokenCounts(), None
        if seen:
            tokens = list_tokens(_sides(seen[0].will), count, self.fitter.profile, asked)
            as_is = list_tokens(_sides(seen[0].was), count, self.fitter.profile)
        made = sum(frame.will != frame.was for frame in seen)
        return MediaEstimate(
            place=place,
            label=f"{count:,} frames",
            kind="video",
            doing=f"{made:,} of them re-encoded to fit" if made else "sent as they are",
            tokens=tokens,
            most=tokens if seen else most_list_tokens(count, self.fitter.profile, asked),
            as_is=as_is,
            seconds=count / (part.sampling.fps or self.fitter.profile.tokens.fps),
            size_bytes=sum(frame.will.size_bytes for frame in seen),
            upload_bytes=sum(_delivered(frame.will).encoded_bytes for frame in seen),
            original_bytes=sum(frame.was.size_bytes for frame in seen),
            route="inline" if seen else "link",
            exact=bool(seen) and all(frame.exact for frame in seen),
            unknown="" if seen else _UNOPENED,
        )

    def _frame(self, part: FramesPart, source: MediaSource, place: str) -> "_Frame":
        """Return what becomes of one frame: it is made to fit like an image."""
        made = self.ready.get(source)
        if made is not None:
            return _Frame(was=made.source_info, will=made.info, exact=True)
        look, plan = self.fitter.plan_frame(part, source, f"{place}: {source.label}", checked=False)
        return _Frame(was=look.info, will=predicted_info(look.info, plan), exact=plan.action == "pass")

    def _route(
        self, source: MediaSource, info: MediaInfo, seconds: float | None, place: str
    ) -> tuple[Route | None, str]:
        chosen = self.chosen.get(source)
        if chosen is not None:
            return chosen, ""
        name = f"{place}: {source.label}"
        ways, seconds = routes_of(self.settings, self.fitter.profile), None if info.kind == "image" else seconds
        try:
            return choose_route(_delivered(info), ways, seconds=seconds, name=name), ""
        except _BREAKS as error:
            return None, str(error)

    def _broken(self, part: MediaPart, will: MediaInfo, name: str) -> MediaError | None:
        try:
            check_part(part, will, self.fitter.profile, name)
        except (MediaDoesNotFitError, UnsupportedMediaError) as error:
            return error
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Frame:
    """One local frame of a list, as it is and as it will be sent, and whether that is known or planned."""

    was: MediaInfo
    will: MediaInfo
    exact: bool


def _is_first(plan: MediaPlan) -> bool:
    return plan.pieces[0].page == 0 and plan.pieces[0].box[:2] == (0, 0)


def _sides(info: MediaInfo) -> tuple[int, int]:
    return info.width or 1, info.height or 1


def _sampling(part: MediaPart) -> Sampling:
    return part.sampling if isinstance(part, VideoPart | ImagePart | FramesPart) else Sampling()


def _delivered(info: MediaInfo) -> MediaPayload:
    return MediaPayload(size_bytes=info.size_bytes, media_type=info.media_type if info.kind == "image" else "")
