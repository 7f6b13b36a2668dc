"""Make the local media of one conversation fit: inspect, plan, prepare, check. Each step is done once."""

from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import Self

from qwen_omni.errors import UnsupportedMediaError
from qwen_omni.media.budget import BudgetName, MediaBudget, Sampling, budget_named
from qwen_omni.media.files.safe_open import open_plain
from qwen_omni.media.formats import documented_format
from qwen_omni.media.info import AudioTrackChoice, MediaInfo
from qwen_omni.media.inspect import DEFAULTS, MediaLook, PrepareOptions, look_at, plan_for
from qwen_omni.media.plan.plan import MediaPlan, PlanInputs
from qwen_omni.media.plan.planner import AS_IT_IS, check_channels, loses_channels
from qwen_omni.media.prepare import carry_out
from qwen_omni.media.prepared import Prepared
from qwen_omni.media.source import FileVersion, MediaSource
from qwen_omni.messages import AudioPart, FramesPart, ImagePart, MediaPart, MediaPayload, VideoPart
from qwen_omni.options import ChatRequest
from qwen_omni.profiles import Profile
from qwen_omni.request.limits import check_images, check_part, check_pieces
from qwen_omni.responses import SentMedia
from qwen_omni.settings import Settings
from qwen_omni.upload.reader import version_of
from qwen_omni.upload.routing import room_of, ways_of

_Key = tuple[MediaSource, object, object, object, Sampling | None, AudioTrackChoice, object, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fitted:
    """A part as it is sent, the source that it then names, and that source ready to be sent.

    Attributes:
        seconds: its duration; `None` for images.
    """

    part: MediaPart
    source: MediaSource
    ready: MediaPayload
    seconds: float | None


@dataclass(slots=True, kw_only=True)
class Fitter:
    """Makes the media of one conversation fit one model.

    Attributes:
        high_resolution: images are processed with as many pixels as the model supports.
        multichannel: audio is analysed by channel, so recordings with several channels are not re-encoded.
        stores: local media may be sent through a store, so more images than fit inside a request can be sent.
    """

    profile: Profile
    media_root: Path
    room_bytes: int
    uplink_mbps: float = DEFAULTS.uplink_mbps
    high_resolution: bool = False
    multichannel: bool = False
    stores: bool = False
    _looks: dict[tuple[MediaSource, AudioTrackChoice, int | None], MediaLook] = field(default_factory=dict)
    _done: dict[_Key, tuple[tuple[Fitted, ...], MediaPlan]] = field(default_factory=dict)
    _frames: dict[tuple[MediaSource, object, Sampling], Fitted] = field(default_factory=dict)

    @classmethod
    def of(cls, request: ChatRequest, profile: Profile, settings: Settings) -> Self:
        """Build the fitter of a request; what its options ask of images and audio is preserved."""
        return cls(
            profile=profile,
            media_root=settings.media_root,
            room_bytes=room_of(settings, profile),
            uplink_mbps=settings.uplink_mbps,
            high_resolution=bool(request.options.high_resolution_images),
            multichannel=bool(request.options.multichannel),
            stores=ways_of(settings, profile).stores,
        )

    def fit(self, part: MediaPart, place: str) -> tuple[Fitted, ...]:
        """Return a part as it is sent, made to fit: several parts if an image is sent as tiles or pages.

        Raises:
            MediaError: it is unreadable, not of its part's kind, or exceeds a limit that preparation cannot meet.
        """
        assert not isinstance(part, FramesPart)
        key = _key(part)
        if key not in self._done:
            self._done[key] = self._prepare(part, place)
        made, plan = self._done[key]
        sent = tuple(replace(one, part=_sent(part, one.source, plan)) for one in made)
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
        if key not in self._looks:
            choices = PrepareOptions(
                model=self.profile, media_root=self.media_root, audio_track=audio_track, frame=frame
            )
            self._looks[key] = look_at(source, choices=choices, name=name)
        return self._looks[key]

    def _prepare_frame(self, part: FramesPart, source: MediaSource, place: str) -> Fitted:
        name = f"{place}: {source.label}"
        look, plan = self.plan_frame(part, source, place)
        prepared = carry_out(look, plan, choices=self._choices(part))
        check_part(part, source, prepared.info, self.profile, place)
        sent = source if plan.action == "pass" else _source_of(prepared)
        return Fitted(part=part, source=sent, ready=_ready(prepared, look, name), seconds=None)

    def plan_frame(
        self, part: FramesPart, source: MediaSource, place: str, *, checked: bool = True
    ) -> tuple[MediaLook, MediaPlan]:
        """Decide what to do with one frame of a list.

        Raises:
            MediaError: it is unreadable, or (`checked`) not a single image.
        """
        look = self.look(source, f"{place}: {source.label}")
        if checked:
            check_part(part, source, replace(look.info, size_bytes=0), self.profile, place)
        if checked and len(look.info.pages) > 1:
            raise UnsupportedMediaError(
                f"{place}: {source.label} has {len(look.info.pages):,} pages and cannot be one frame. Send it as "
                "ImagePart, which sends every page, or save one page as an image."
            )
        return look, plan_for(look, budget=part.budget, choices=self._choices(part))

    def plan(self, part: MediaPart, place: str, *, checked: bool = True) -> tuple[MediaLook, MediaPlan]:
        """Decide what to do with a part.

        Raises:
            MediaError: it is unreadable, of another kind than its part, or (`checked`) exceeds a limit of the model, or
                is to be analysed by channel and cannot be sent unchanged.
        """
        assert not isinstance(part, FramesPart)
        frame = part.frame if isinstance(part, ImagePart) else None
        look = self.look(part.source, f"{place}: {part.source.label}", audio_track_of(part), frame)
        start, end, budget = range_and_budget(part)
        if checked:
            check_part(part, part.source, self._at_best(look.info, part, start, end), self.profile, place)
        choices = self._choices(part)
        plan = plan_for(look, budget=budget, start=start, end=end, choices=choices)
        if checked and plan.action == "images":
            name = f"{place}: {part.source.label}"
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
        look, plan = self.plan(part, place)
        prepared = carry_out(look, plan, choices=self._choices(part))
        return tuple(self._fitted(part, one, look, place) for one in prepared.images or (prepared,)), plan

    def _fitted(self, part: MediaPart, prepared: Prepared, look: MediaLook, place: str) -> Fitted:
        assert not isinstance(part, FramesPart)
        check_part(part, part.source, prepared.info, self.profile, place)
        source = part.source if prepared.plan.action == "pass" else _source_of(prepared)
        seconds = None if prepared.info.duration is None else float(prepared.info.duration)
        ready = _ready(prepared, look, f"{place}: {part.source.label}")
        return Fitted(part=part, source=source, ready=ready, seconds=seconds)


def _ready(prepared: Prepared, look: MediaLook, name: str) -> MediaPayload:
    """Return prepared media as it would be sent inside the request."""
    return MediaPayload(
        data=prepared.data,
        path=prepared.path,
        version=None if prepared.path is None else _version(prepared, look, name),
        size_bytes=prepared.info.size_bytes,
        has_sound=prepared.info.has_sound,
        format=documented_format(prepared.info, name=name),
        media_type=prepared.info.media_type if prepared.info.kind == "image" else "",
        content_type=prepared.info.media_type,
        held=prepared,
    )


def sent_as(prepared: Prepared, place: str) -> SentMedia:
    """Return what became of a piece of media, in numbers: sizes, the part of the original that it shows, seconds."""
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
    match part:
        case VideoPart() | AudioPart():
            return part.start is None and part.end is None
        case _:
            return True


def range_and_budget(part: MediaPart) -> tuple[float | None, float | None, MediaBudget | BudgetName]:
    """Return the time range and the budget that a part asks for."""
    match part:
        case VideoPart():
            return part.start, part.end, part.budget
        case AudioPart():
            return part.start, part.end, "auto"
        case ImagePart():
            return None, None, part.budget
        case FramesPart():
            return None, None, part.budget


def _key(part: MediaPart) -> _Key:
    assert not isinstance(part, FramesPart)
    sampling = None if isinstance(part, AudioPart) else part.sampling
    shape = (part.tile, part.frame) if isinstance(part, ImagePart) else (None, None)
    return part.source, *range_and_budget(part), sampling, audio_track_of(part), *shape


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
