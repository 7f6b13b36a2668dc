"""Make the local media of one conversation fit: inspect, plan, prepare, check. Each step is done once.

`check_conversation` needs only the messages, so it fails before any file is opened; `check_part` needs what
`media.probe.probe` found. Both name the place, the limit, the number found and the next step.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import Literal, Self

from qwen_omni.addresses import Server, is_vendor
from qwen_omni.errors import MediaDoesNotFitError, NotFoundError, UnsupportedMediaError
from qwen_omni.media.budget import BudgetName, MediaBudget, PlanInputs, Sampling, budget_named
from qwen_omni.media.files.safe_open import open_plain, version_of
from qwen_omni.media.info import AudioTrackChoice, MediaInfo, MediaKind, documented_format
from qwen_omni.media.plan.images import Piece
from qwen_omni.media.plan.plan import AS_IT_IS, MediaPlan, check_channels, loses_channels
from qwen_omni.media.prepare import DEFAULTS, MediaLook, Prepared, PrepareOptions, carry_out, look_at, plan_for
from qwen_omni.media.probe.probe import ANIMATED
from qwen_omni.media.source import FileVersion, MediaSource
from qwen_omni.messages import (
    AudioPart,
    FramesPart,
    ImagePart,
    MediaPart,
    MediaPayload,
    Message,
    VideoPart,
    media_of,
    media_parts,
)
from qwen_omni.options import ChatRequest
from qwen_omni.profiles import DEFAULT_MODEL, Profile, has_profile, near_names, retirement_of
from qwen_omni.profiles.catalog import OMNI
from qwen_omni.responses import SentMedia
from qwen_omni.settings import Settings
from qwen_omni.upload.uploader import AvailableRoutes

_DASHSCOPE = Server(dialect="dashscope")
_MOST_NAMES = 3  # in an error


@dataclass(frozen=True, slots=True, kw_only=True)
class Fitted:
    """A part as it is sent, the source that it then names, and that source ready to be sent.

    Attributes:
        seconds: its duration; `None` for images.
        name: its place and label.
    """

    part: MediaPart
    source: MediaSource
    ready: MediaPayload
    seconds: float | None = None
    name: str


@dataclass(slots=True, kw_only=True)
class Fitter:
    """Makes the media of one conversation fit one model.

    Attributes:
        high_resolution: images are processed with as many pixels as the model supports.
        multichannel: audio is analysed by channel, so recordings with several channels are not re-encoded.
        server: where the media goes.
        audio_beside: the audio of a local video is sent beside it, as a part of its own.
        stores: local media may be sent through a store, so more images than fit inside a request can be sent.
    """

    profile: Profile
    media_root: Path
    room_bytes: int
    uplink_mbps: float = DEFAULTS.uplink_mbps
    high_resolution: bool = False
    multichannel: bool = False
    stores: bool = False
    server: Server = _DASHSCOPE
    audio_beside: bool = False
    _looks: dict[tuple[MediaSource, AudioTrackChoice, int | None], MediaLook] = field(default_factory=dict)
    _done: dict[MediaPart, tuple[tuple[Fitted, ...], MediaPlan]] = field(default_factory=dict)
    _frames: dict[tuple[MediaSource, object, Sampling], Fitted] = field(default_factory=dict)

    @classmethod
    def of(cls, request: ChatRequest, profile: Profile, settings: Settings, routes: AvailableRoutes) -> Self:
        """Build the fitter of a request; what its options ask of images and audio is preserved."""
        return cls(
            profile=profile,
            media_root=settings.media_root,
            room_bytes=routes.room_bytes,
            uplink_mbps=settings.uplink_mbps,
            high_resolution=bool(request.options.high_resolution_images),
            multichannel=bool(request.options.multichannel),
            stores=routes.stores,
            server=settings.server_of(request.model),
        )

    def choose_audio_beside(self, parts: Sequence[MediaPart]) -> None:
        """Decide whether the audio of videos is sent beside them: where the server does not hear it in the videos.

        A server that takes processor options hears it, if every video has audio and there is no other audio.
        """
        videos = [part for part in parts if isinstance(part, VideoPart)]
        if self.server.hears_videos or not videos:
            return
        alone = not any(isinstance(part, AudioPart) for part in parts)
        self.audio_beside = not (self.server.request_kwargs and alone and all(map(self._has_audio, videos)))

    def _has_audio(self, part: VideoPart) -> bool:
        if part.source.url is not None:
            return True  # nothing is known about a link
        return self.look(part.source, part.source.label, part.audio_track).info.has_audio

    def fit(self, part: MediaPart, place: str) -> tuple[Fitted, ...]:
        """Return a part as it is sent, made to fit: several parts if an image is sent as tiles or pages.

        Raises:
            MediaError: it is unreadable, not of its part's kind, or exceeds a limit that preparation cannot meet.
        """
        assert not isinstance(part, FramesPart)
        key = part if part.cache is None else _unmarked(part)
        done = self._done.get(key)
        if done is None:
            done = self._done[key] = self._prepare(part, place)
        made, plan = done
        sent = tuple(replace(one, part=_sent(_kept(part, one.part), one.source, plan)) for one in made)
        return (*(replace(one, part=_unmarked(one.part)) for one in sent[:-1]), sent[-1])

    def fit_frame(self, part: FramesPart, source: MediaSource, place: str) -> Fitted:
        """Make one frame of a list fit, like an image, and return the list with the new frame in its place.

        Raises:
            MediaError: it is unreadable, not an image, or exceeds a limit that preparation cannot meet.
        """
        key = (source, part.budget, part.sampling)
        if key not in self._frames:
            self._frames[key] = self._prepare_frame(part, source, place)
        made = self._frames[key]
        frames = tuple(made.source if frame == source else frame for frame in part.frames)
        return replace(made, part=replace(part, frames=frames))

    def asked(self, part: MediaPart) -> MediaPart:
        """Add to a linked part what its budget asks of the service; the file itself is out of reach."""
        if isinstance(part, AudioPart | FramesPart) or not self.profile.sampling_fields:
            return part
        budget, sampling = budget_named(part.budget), part.sampling
        fps = sampling.fps or (budget.sampling_fps if isinstance(part, VideoPart) else None)
        asked = replace(
            sampling,
            fps=fps,
            min_pixels=sampling.min_pixels or budget.min_pixels,
            max_pixels=sampling.max_pixels or budget.max_pixels,
        )
        return replace(part, sampling=asked)

    def look(
        self, source: MediaSource, name: str, audio_track: AudioTrackChoice = "auto", frame: int | None = None
    ) -> MediaLook:
        """Inspect a source, or one frame of it, once."""
        key = source, audio_track, frame
        look = self._looks.get(key)
        if look is None:
            choices = PrepareOptions(
                model=self.profile, media_root=self.media_root, audio_track=audio_track, frame=frame
            )
            look = self._looks[key] = look_at(source, choices=choices, name=name)
        return look

    def _prepare_frame(self, part: FramesPart, source: MediaSource, place: str) -> Fitted:
        name = f"{place}: {source.label}"
        look, plan = self.plan_frame(part, source, name)
        prepared = carry_out(look, plan, choices=self._choices(part))
        check_part(part, prepared.info, self.profile, name)
        sent = source if plan.action == "pass" else _source_of(prepared)
        return Fitted(part=part, source=sent, ready=_ready(prepared, look, name), name=name)

    def plan_frame(
        self, part: FramesPart, source: MediaSource, name: str, *, checked: bool = True
    ) -> tuple[MediaLook, MediaPlan]:
        """Decide what to do with one frame of a list; `name` is its place and label, for errors.

        Raises:
            MediaError: it is unreadable, or (`checked`) not a single image.
        """
        look = self.look(source, name)
        if checked:
            check_part(part, replace(look.info, size_bytes=0), self.profile, name)
        if checked and len(look.info.pages) > 1:
            raise UnsupportedMediaError(
                f"{name} has {len(look.info.pages):,} pages and cannot be one frame. Send it as "
                "an image, which sends every page, or save one page as an image."
            )
        return look, plan_for(look, budget=part.budget, choices=self._choices(part))

    def plan(self, part: MediaPart, name: str, *, checked: bool = True) -> tuple[MediaLook, MediaPlan]:
        """Decide what to do with a part; `name` is its place and label, for errors.

        Raises:
            MediaError: it is unreadable, of another kind than its part, or (`checked`) exceeds a limit of the model, or
                is to be analysed by channel and cannot be sent unchanged.
        """
        assert not isinstance(part, FramesPart)
        frame = part.frame if isinstance(part, ImagePart) else None
        look = self.look(part.source, name, audio_track_of(part), frame)
        start, end, budget = range_and_budget(part)
        if checked:
            check_part(part, self._at_best(look.info, part, start, end), self.profile, name)
        choices = self._choices(part)
        plan = plan_for(look, budget=budget, start=start, end=end, choices=choices)
        if checked and plan.action == "images":
            check_images(len(plan.pieces), self.profile, name, inline=not self.stores)
            check_pieces(plan.pieces, look.info, self.profile, name)
        if checked and self.multichannel and loses_channels(look.info, plan):
            plan = self._by_channel(look, plan, choices)
        if isinstance(part, ImagePart) and self.high_resolution:  # a field of the request, not of the part
            plan = replace(plan, sampling=replace(plan.sampling, max_pixels=part.sampling.max_pixels))
        return look, plan

    def _by_channel(self, look: MediaLook, plan: MediaPlan, choices: PrepareOptions) -> MediaPlan:
        """Send audio with several channels unchanged, whatever another plan would gain."""
        inputs = PlanInputs(budget=plan.budget, profile=self.profile, room_bytes=self.room_bytes)
        check_channels(look.info, plan, inputs, label=look.label)
        unchanged = plan_for(look, budget=replace(plan.budget, keep=True), choices=choices)
        return replace(unchanged, budget=plan.budget, reason=AS_IT_IS)

    def _choices(self, part: MediaPart) -> PrepareOptions:
        return PrepareOptions(
            model=self.profile,
            sampling=self._sampling(part),
            media_root=self.media_root,
            room_bytes=self.room_bytes,
            uplink_mbps=self.uplink_mbps,
            audio_track=audio_track_of(part),
            tile=part.tile if isinstance(part, ImagePart) else False,
            listed=isinstance(part, FramesPart),
        )

    def _at_best(self, info: MediaInfo, part: MediaPart, start: float | None, end: float | None) -> MediaInfo:
        """Return the facts after the best preparation: bytes and size can be reduced, a wrong kind or length cannot."""
        small = _as_if_small(info, start, end)
        if not isinstance(part, ImagePart) or not part.tile or not info.width or not info.height:
            return small
        longest = int(self.profile.limits.max_aspect * min(info.width, info.height))
        return replace(small, width=min(info.width, longest), height=min(info.height, longest))

    def _sampling(self, part: MediaPart) -> Sampling:
        """Return the sampling for the service: high resolution is the maximum `max_pixels`, and overrides any other."""
        rules = self.profile.tokens
        match part:
            case AudioPart():
                return Sampling()
            case ImagePart() if self.high_resolution and rules.image_tokens_high is not None:
                return replace(part.sampling, max_pixels=rules.image_tokens_high * rules.factor**2)
            case _:
                return part.sampling

    def _prepare(self, part: MediaPart, place: str) -> tuple[tuple[Fitted, ...], MediaPlan]:
        assert not isinstance(part, FramesPart)
        name = f"{place}: {part.source.label}"
        look, plan = self.plan(part, name)
        prepared = carry_out(look, plan, choices=self._choices(part))
        fitted = [self._fitted(part, one, look, name) for one in prepared.images or (prepared,)]
        if isinstance(part, VideoPart) and self.audio_beside and look.info.has_audio:
            track = extract_audio(look, start=part.start, end=part.end, choices=self._choices(part))
            fitted.append(self._fitted(AudioPart(source=part.source, cache=part.cache), track, look, name))
        return tuple(fitted), plan

    def _fitted(self, part: MediaPart, prepared: Prepared, look: MediaLook, name: str) -> Fitted:
        assert not isinstance(part, FramesPart)
        check_part(part, prepared.info, self.profile, name)
        source = part.source if prepared.plan.action == "pass" else _source_of(prepared)
        seconds = None if prepared.info.duration is None else float(prepared.info.duration)
        return Fitted(part=part, source=source, ready=_ready(prepared, look, name), seconds=seconds, name=name)


def extract_audio(look: MediaLook, *, start: float | None, end: float | None, choices: PrepareOptions) -> Prepared:
    """Encode the audio of a range of a video as a small file."""
    audio = audio_of(look.info)
    of_video = replace(look, info=audio)
    plan = plan_for(of_video, budget="auto", start=start, end=end, choices=choices)
    plan = replace(plan, action="audio", audio=True, reason="its audio alone")
    return carry_out(of_video, plan, choices=choices)


def audio_of(info: MediaInfo) -> MediaInfo:
    """Return the facts about a video's audio, as if it were a file of its own."""
    return replace(info, kind="audio", width=None, height=None, fps=None, frame_count=None, video_codec=None)


def _kept(asked: MediaPart, made: MediaPart) -> MediaPart:
    """Return the part that was asked for, or the audio of a video, which is sent beside it."""
    return made if isinstance(made, AudioPart) and isinstance(asked, VideoPart) else asked


def _ready(prepared: Prepared, look: MediaLook, name: str) -> MediaPayload:
    """Return prepared media as it would be sent inside the request."""
    return MediaPayload(
        data=prepared.data,
        path=prepared.path,
        version=None if prepared.path is None else _version(prepared, look, name),
        size_bytes=prepared.info.size_bytes,
        has_audio=prepared.info.has_audio,
        format=documented_format(prepared.info, name=name),
        media_type=prepared.info.media_type if prepared.info.kind == "image" else "",
        content_type=prepared.info.media_type,
        held=prepared,
    )


def sent_as(prepared: Prepared, place: str) -> SentMedia:
    """Return the outcome of a piece of media, in numbers: sizes, the part of the original that it shows, seconds."""
    was, now, plan = prepared.source_info, prepared.info, prepared.plan
    size = None if not was.width or not was.height else (was.width, was.height)
    piece = plan.pieces[0] if len(plan.pieces) == 1 else None
    page = was.page or 0 if piece is None else piece.page
    if page < len(was.pages):
        size = was.pages[page]
    box = piece.box if piece is not None else None if size is None else (0, 0, *size)
    return SentMedia(
        place=place,
        kind=now.kind,
        original_size=size,
        sent_size=None if not now.width or not now.height else (now.width, now.height),
        box=box,
        page=page,
        start=float(plan.start),
        seconds=None if now.duration is None else float(now.duration),
        fps=None if now.fps is None else round(float(now.fps), 3),
    )


def is_whole(part: MediaPart) -> bool:
    """Whether a part uses all of its media."""
    return range_and_budget(part)[:2] == (None, None)


def range_and_budget(part: MediaPart) -> tuple[float | None, float | None, MediaBudget | BudgetName]:
    """Return the time range and the budget that a part asks for."""
    match part:
        case VideoPart():
            return part.start, part.end, part.budget
        case AudioPart():
            return part.start, part.end, "auto"
        case ImagePart() | FramesPart():
            return None, None, part.budget


def audio_track_of(part: MediaPart) -> AudioTrackChoice:
    """Return which audio track of a part is used."""
    return part.audio_track if isinstance(part, VideoPart | AudioPart) else "auto"


def _as_if_small(info: MediaInfo, start: float | None, end: float | None) -> MediaInfo:
    """Return the facts of the wanted range without the bytes that can be saved."""
    if info.duration is None:
        return replace(info, size_bytes=0)
    first, last = Fraction(start or 0), info.duration if end is None else min(Fraction(end), info.duration)
    return replace(info, size_bytes=0, duration=last - first if last > first else info.duration)


def _version(prepared: Prepared, look: MediaLook, name: str) -> FileVersion:
    """Return the state in which the file was inspected; a file that we made is inspected now."""
    if look.reopenable.version is not None and not prepared.temporary:
        return look.reopenable.version
    assert prepared.path is not None
    with open_plain(prepared.path, name=name) as file:
        return version_of(file)


def _source_of(prepared: Prepared) -> MediaSource:
    if prepared.path is None:
        return MediaSource.from_bytes(prepared.read(), media_type=prepared.info.media_type)
    return MediaSource.from_path(prepared.path, media_type=prepared.info.media_type, trusted=True)


def _unmarked(part: MediaPart) -> MediaPart:
    """Leave the mark of explicit caching on the last of several images only: it covers everything before it."""
    return replace(part, cache=None)


def _sent(part: MediaPart, source: MediaSource, plan: MediaPlan) -> MediaPart:
    match part:
        case VideoPart():
            return replace(part, source=source, sampling=plan.sampling, audio_track="auto")
        case ImagePart():
            return replace(part, source=source, sampling=plan.sampling)
        case AudioPart():
            return replace(part, source=source, audio_track="auto")
        case FramesPart():
            return part


# --- Limits of the model. Pure ---

_KIND_NAMES: dict[MediaKind, str] = {"image": "an image", "audio": "audio without video", "video": "a video"}
_PART_NAMES: dict[MediaKind, str] = {"image": "an image", "audio": "audio", "video": "a video"}
_SHORTEN = "Send a shorter clip, or ask about it in segments."
_Way = Literal["inline", "any"]


def check_model(model: str, base_url: str) -> None:
    """Refuse a name that the service no longer answers to; other servers may still have its weights.

    Raises:
        NotFoundError: the address is the vendor's, and the name is retired; the error has the replacement.
    """
    retired = retirement_of(model) if is_vendor(base_url) else None
    if retired is not None:
        raise NotFoundError(
            f"{model} was retired on {retired.on} ({retired.source}); use {retired.replacement}. Nothing was sent.",
            code="model_not_found",
        ).with_option("model")


def instead_of(model: str) -> str:
    """Return which name to use instead of one that a server does not know; empty for a name that is known here.

    Example:
        >>> instead_of("qwen3.8-omni-flsh"), instead_of("qwen-plus")
        ("Did you mean 'qwen3.8-omni-flash'?", '')
    """
    retired, near = retirement_of(model), near_names(model)
    if retired is not None:
        return f"{model} was retired on {retired.on}; use {retired.replacement}."
    if near or has_profile(model):
        return f"Did you mean {' or '.join(map(repr, near))}?" if near else ""
    names = [DEFAULT_MODEL, *(one.name for one in OMNI if one.name != DEFAULT_MODEL)][:_MOST_NAMES]
    return f"Models for audio and video: {', '.join(names)}."


def check_conversation(messages: Sequence[Message], profile: Profile, *, stores: bool = False) -> None:
    """Check what needs no open file: kinds, mixtures, counts, lengths of frame lists.

    Args:
        messages: the conversation.
        profile: the model that will see it.
        stores: local media may be sent through a store, so only `check_inline` can count what is sent inline.

    Raises:
        UnsupportedMediaError: a kind or mixture of media that the model does not accept.
        MediaDoesNotFitError: too many of a kind, or too few or too many frames.
    """
    found = [(place, part, _ways(part)) for place, part in media_parts(messages)]
    totals = Counter(way for _, _, ways in found for way in ways)
    so_far: Counter[tuple[MediaKind, _Way]] = Counter()
    first_of: dict[str, MediaKind] = {}
    for place, part, ways in found:
        kind = part.modality
        if kind not in profile.inputs:
            raise _not_taken(part, profile, place)
        _check_mixture(first_of.setdefault(place.partition(" part")[0], kind), kind, profile, place)
        so_far.update(ways)
        for way in ways:
            limit = _most(way, profile)
            if so_far[way] > limit and not (stores and way[1] == "inline"):
                raise _too_many(way, limit, totals[way], profile, place)
        if isinstance(part, FramesPart):
            _check_frames(part, profile, place)


def check_images(count: int, profile: Profile, place: str, *, inline: bool) -> None:
    """Check how many images one image becomes: the tiles of a tall one, the pages of a file.

    Raises:
        MediaDoesNotFitError: more than a request may hold.
    """
    limit = profile.limits.images_inline if inline else profile.limits.images
    if count > limit:
        raise MediaDoesNotFitError(
            f"{place}: it would be sent as {count:,} images (pages, or tiles of a tall image), and {profile.name} "
            f"takes at most {limit:,} per request. Choose a page with frame=0, pass tile=False, or send a part of it.",
            limit=limit,
            actual=count,
        )


def check_inline(inside: Sequence[tuple[str, MediaPart]], profile: Profile) -> None:
    """Count the parts whose media are sent inside the request.

    Args:
        inside: these parts, each with its place, in the order of the conversation.
        profile: the model that will see them.

    Raises:
        MediaDoesNotFitError: too many of a kind.
    """
    totals, so_far = Counter(part.modality for _, part in inside), Counter[MediaKind]()
    for place, part in inside:
        kind = part.modality
        so_far[kind] += 1
        limit = _most((kind, "inline"), profile)
        if so_far[kind] > limit:
            raise _too_many((kind, "inline"), limit, totals[kind], profile, place)


def check_part(part: MediaPart, info: MediaInfo, profile: Profile, name: str) -> None:
    """Check one piece of media whose facts are known.

    Raises:
        UnsupportedMediaError: it is not what its part says.
        MediaDoesNotFitError: too large, too long, too short, or an image that is too small or narrow.
    """
    expected: MediaKind = "image" if isinstance(part, FramesPart) else part.modality
    if info.kind != expected:
        if expected == "image" and info.container in ANIMATED:
            raise UnsupportedMediaError(_is_animation(part, info, name))
        as_part = "a frame" if isinstance(part, FramesPart) else f"sent as {_PART_NAMES[expected]}"
        what = _KIND_NAMES[info.kind]
        if info.kind == "image" and info.container in ANIMATED:
            what = f"{what} of a single frame"
        raise UnsupportedMediaError(
            f"{name} is {what} ({info.container}) and cannot be {as_part}. Send it as {_PART_NAMES[info.kind]}."
        )
    limits, option = profile.limits, _selecting(part)
    bounds = {"audio": (0, limits.audio_seconds), "video": (limits.min_video_seconds, limits.video_seconds)}
    sizes = {"image": limits.image_bytes, "audio": limits.audio_bytes, "video": limits.video_bytes}
    _check_size(name, info, sizes[info.kind], profile)
    if info.kind == "image":
        _check_sides(_selected(part, name), info, profile, option=option)
    else:
        _check_seconds(_selected(part, name), info, bounds[info.kind], profile, option)


def _is_animation(part: MediaPart, info: MediaInfo, name: str) -> str:
    what = f"{name} is an animation of {info.frame_count:,} frames ({info.container})"
    if isinstance(part, FramesPart):
        return f"{what} and cannot be a frame. Send it as a video, or save one of its frames as an image."
    return (
        f"{what}, and one image would show only the first. Send it as a video to show all of them, "
        "or choose one with frame=0."
    )


def _ways(part: MediaPart) -> list[tuple[MediaKind, _Way]]:
    """Return the counts that a part belongs to: that of its kind, and that of inline media of its kind."""
    kind = part.modality
    inline = any(source.kind != "url" for source in media_of(part))
    return [(kind, "inline"), (kind, "any")] if inline else [(kind, "any")]


def _most(way: tuple[MediaKind, _Way], profile: Profile) -> int:
    kind, how = way
    most: int = getattr(profile.limits, f"{kind}s" if how == "any" else f"{kind}s_inline")
    return most


def _not_taken(part: MediaPart, profile: Profile, place: str) -> UnsupportedMediaError:
    taken = ", ".join(sorted(profile.inputs))
    label = next((source.label for source in media_of(part)), "no frames")
    error = UnsupportedMediaError(
        f"{place}: {profile.name} takes {taken}, not {part.modality} ({label}). Use {DEFAULT_MODEL}."
    )
    error.brief = f"takes no {part.modality}"
    return error.with_option("model")


def _check_mixture(first: MediaKind, kind: MediaKind, profile: Profile, place: str) -> None:
    if kind != first and not profile.limits.mixed:
        raise UnsupportedMediaError(
            f"{place}: {profile.name} takes text and one other kind of media per message, and this message has "
            f"{first} and {kind}. Put them into separate messages, or use {DEFAULT_MODEL}."
        )


def _too_many(
    way: tuple[MediaKind, _Way], limit: int, actual: int, profile: Profile, place: str
) -> MediaDoesNotFitError:
    kind, how = way
    inside = " inside the request" if how == "inline" else ""
    plural = "" if limit == 1 else "s"
    more = how == "inline" and _most((kind, "any"), profile) > limit
    other = " send them through a store (delivery='oss' or 'temporary') or put them behind URLs," if more else ""
    return MediaDoesNotFitError(
        f"{place}: {profile.name} takes at most {limit:,} {kind}{plural}{inside} per request, the conversation has "
        f"{actual:,}. Drop older ones,{other} or ask in several requests.",
        limit=limit,
        actual=actual,
        brief=f"takes {limit:,} {kind}{'' if limit == 1 else 's'}",
    )


def _check_frames(part: FramesPart, profile: Profile, place: str) -> None:
    fewest, most = profile.limits.frames
    count = len(part.frames)
    if fewest <= count <= most:
        return
    step = f"Send at least {fewest}, or one image." if count < fewest else "Take every second frame."
    raise MediaDoesNotFitError(
        f"{place}: the list has {count:,} frames; {profile.name} takes {fewest:,} to {most:,}. {step}",
        limit=fewest if count < fewest else most,
        actual=count,
    )


def _check_size(name: str, info: MediaInfo, limit: int, profile: Profile) -> None:
    if info.size_bytes > limit:
        raise MediaDoesNotFitError(
            f"{name} has {info.size_bytes / 2**20:,.1f} MiB; {profile.name} takes at most {limit / 2**20:,.0f} MiB "
            f"per {info.kind}. Make it smaller.",
            limit=limit,
            actual=info.size_bytes,
            brief=f"too large: {limit / 2**20:,.0f} MiB at most",
        )


def _selected(part: MediaPart, name: str) -> str:
    """Return the name of what is sent where the caller selects a range of a file, or fewer pixels."""
    option = _selecting(part)
    if option is None:
        return name
    if isinstance(part, ImagePart):
        return f"{name}, with max_pixels={part.sampling.max_pixels:,},"
    return f"{name}, in the selected range,"


def _selecting(part: MediaPart) -> str | None:
    """Return the argument with which the caller selects less than the whole file."""
    if isinstance(part, VideoPart | AudioPart):
        return "start" if part.start else "end" if part.end is not None else None
    return "max_pixels" if isinstance(part, ImagePart) and part.sampling.max_pixels is not None else None


def _check_seconds(
    name: str, info: MediaInfo, bounds: tuple[float, float], profile: Profile, option: str | None
) -> None:
    least, most = bounds
    if info.duration is None or least <= info.duration <= most:
        return
    short = info.duration < least
    limit = least if short else most
    seconds = float(info.duration)
    raise MediaDoesNotFitError(
        f"{name} lasts {seconds:,.2f} s; {profile.name} takes {info.kind} of at {'least' if short else 'most'} "
        f"{limit:,g} s. {'Send a longer clip, or some of its frames as images.' if short else _SHORTEN}",
        limit=limit,
        actual=seconds,
        brief=f"too {'short' if short else 'long'}: {limit:,g} s at {'least' if short else 'most'}",
    ).with_option(option)


def check_pieces(pieces: Iterable[Piece], info: MediaInfo, profile: Profile, name: str) -> None:
    """Check the images that an image is sent as: tiles of it, or the pages of a file.

    Raises:
        MediaDoesNotFitError: one is too small or too narrow; names the page.
    """
    for piece in pieces:
        which = f": page {piece.page} of {len(info.pages):,} (counted from 0)" if len(info.pages) > 1 else ""
        _check_sides(f"{name}{which}", replace(info, width=piece.size[0], height=piece.size[1]), profile)


def _check_sides(name: str, info: MediaInfo, profile: Profile, *, option: str | None = None) -> None:
    limits = profile.limits
    small, large = sorted((info.width or 0, info.height or 0))
    if small < limits.min_side:
        raise MediaDoesNotFitError(
            f"{name} is {info.width} by {info.height} pixels; each side needs at least {limits.min_side}. Enlarge it.",
            limit=limits.min_side,
            actual=small,
        ).with_option(option)
    if large > limits.max_aspect * small:
        raise MediaDoesNotFitError(
            f"{name} is {info.width} by {info.height} pixels; the long side may be {limits.max_aspect:g} times the "
            f"short one, here it is {large / small:.0f} times. Cut it into pieces.",
            limit=limits.max_aspect,
            actual=large / small,
        )
