"""A validated caption of one file. `plan_caption` decides what is asked; `caption` and `acaption` ask.

How an object is requested, when it is requested again, and when it is an error is decided in `ask`.
"""

import asyncio
import contextlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar, overload

from qwen_omni.client import AsyncOmniClient, OmniClient
from qwen_omni.media.budget import DEFAULT_SAMPLING, Sampling
from qwen_omni.media.info import AudioTrackChoice, MediaKind, read_audio_track
from qwen_omni.media.source import MediaSource, as_source
from qwen_omni.messages import FRAME_RANGES, user
from qwen_omni.options import Effort, Tier, check_tier
from qwen_omni.profiles import DEFAULT_MODEL, Profile
from qwen_omni.ranges import check_numbers, check_options
from qwen_omni.request.question import as_part, kind_of, look, misfits, takes_frame
from qwen_omni.structured.ask import CaptionPlan, CaptionResult, acarry_out, carry_out, object_request
from qwen_omni.structured.models import VideoCaption
from qwen_omni.structured.schema import TASK, TIMED_TASK, CaptionSchema, SchemaLike, instructions, read_schema
from qwen_omni.structured.timed import TimedCaptions

T = TypeVar("T")
Media = str | Path | MediaSource


@dataclass(frozen=True, slots=True, kw_only=True)
class CaptionOptions:
    """Options for a caption.

    Attributes:
        model: the model to ask.
        prompt: what to describe; the schema and the answer format are added to it.
        language: of the texts in the answer; `None` leaves it to the model.
        thinking: whether the model reasons first. Off, because reasoning is billed as output and may spoil JSON.
        sampling: how the service samples the video.
        repair: ask once more if the answer violates the schema. The media is sent and billed again.
        allow_truncated: accept an object cut short by the token limit or content inspection if it satisfies the schema,
            with `truncated` set; otherwise `TruncatedAnswerError` is raised.
        kind: kind of media, for links that do not reveal it.
        audio_track: which of several audio tracks to use: `"auto"`, a number from 0, or `"mix"`.
        tile: whether a tall or wide image may be sent as several images.
        frame: which frame of an animation, or page of a file, to describe as an image, from 0.
        tier: `"batch"` sends the request to Batch Chat: half price, an answer within an hour; see `ChatOptions`.
    """

    model: str = DEFAULT_MODEL
    prompt: str | None = None
    language: str | None = None
    thinking: bool | Effort = False
    sampling: Sampling = DEFAULT_SAMPLING
    repair: bool = True
    allow_truncated: bool = False
    kind: MediaKind | None = None
    audio_track: AudioTrackChoice = "auto"
    tile: bool = True
    frame: int | None = None
    tier: Tier | None = None

    def __post_init__(self) -> None:
        check_numbers(self, FRAME_RANGES)
        check_tier(self.tier)
        object.__setattr__(self, "audio_track", read_audio_track(self.audio_track))


DEFAULT_OPTIONS = CaptionOptions()


def plan_caption(
    media: Media,
    schema: SchemaLike | CaptionSchema,
    options: CaptionOptions,
    *,
    media_root: Path = Path(),
    many_media: bool = False,
    profile: Profile | None = None,
) -> CaptionPlan:
    """Inspect the media and build the request. Sends nothing.

    Args:
        media: a path or URL chosen by the program, or a `MediaSource`.
        schema: the schema of the answer.
        options: the model, the prompt, the language, …
        media_root: the folder that sources from messages must lie in: that of the client that will be asked.
        many_media: whether the same is asked about many files, one after the other.
        profile: what the model can do on the client's server; the hosted model's, if not given.

    Raises:
        MediaError: the media is missing, damaged, or of unknown kind.
        ConfigurationError: `schema` is not a schema.
    """
    wanted = read_schema(schema)
    source = media if isinstance(media, MediaSource) else as_source(str(media))
    info = look(source, media_root)
    kind = _kind(source, options, media_root)
    task = options.prompt or (TIMED_TASK if schema is TimedCaptions else TASK)
    part = as_part(source, kind, options.sampling, options.audio_track, tile=options.tile, frame=options.frame)
    question = user(part, task)
    lasts = None if info is None or kind == "image" else info.duration
    duration = None if lasts is None else float(lasts)
    return CaptionPlan(
        request=object_request(
            wanted,
            question,
            model=options.model,
            rules=instructions(wanted, language=options.language),
            thinking=options.thinking,
            many_media=many_media,
            tier=options.tier,
            profile=profile,
        ),
        schema=wanted,
        repair=options.repair,
        allow_truncated=options.allow_truncated,
        facts={} if duration is None else {"duration": duration},
    )


def _kind(source: MediaSource, options: CaptionOptions, media_root: Path) -> MediaKind:
    return "image" if options.frame is not None else options.kind or kind_of(source, media_root)


def unsuited(options: CaptionOptions, source: MediaSource, media_root: Path = Path()) -> dict[str, MediaKind]:
    """Return the options that do not suit a file, by the name of their argument, with its kind.

    Raises:
        MediaError: the media is missing, damaged, or of unknown kind.
    """
    if (options.frame, options.sampling, options.audio_track) == (None, DEFAULT_SAMPLING, "auto"):
        return {}
    without = options
    found: dict[str, MediaKind] = {}
    if options.frame is not None and not takes_frame(source, media_root):
        without = replace(options, frame=None)
        found["frame"] = _kind(source, without, media_root)
    kind = _kind(source, without, media_root)
    for error in misfits(source, kind, options.sampling, options.audio_track):
        found[error.option or ""] = kind
    return found


def without_options(options: CaptionOptions, names: Collection[str]) -> CaptionOptions:
    """Return options without some of those that `unsuited` names."""
    sampling = options.sampling
    if "fps" in names:
        sampling = replace(sampling, fps=None)
    if "max_pixels" in names:
        sampling = Sampling(fps=sampling.fps)
    return replace(
        options,
        sampling=sampling,
        audio_track="auto" if "audio_track" in names else options.audio_track,
        frame=None if "frame" in names else options.frame,
    )


@overload
def caption(
    media: Media, schema: type[T], *, client: OmniClient | None = None, options: CaptionOptions = ...
) -> CaptionResult[T]: ...
@overload
def caption(
    media: Media, schema: Mapping[str, Any], *, client: OmniClient | None = None, options: CaptionOptions = ...
) -> CaptionResult[dict[str, Any]]: ...
@overload
def caption(
    media: Media, *, client: OmniClient | None = None, options: CaptionOptions = ...
) -> CaptionResult[VideoCaption]: ...
def caption(
    media: Media,
    schema: SchemaLike = VideoCaption,
    *,
    client: OmniClient | None = None,
    options: CaptionOptions = DEFAULT_OPTIONS,
) -> CaptionResult[Any]:
    """Describe an image, a recording or a video in one request, as a value of your schema.

    Args:
        media: a path or URL chosen by the program, or a `MediaSource`.
        schema: a pydantic model, a `TypedDict` or a JSON schema; `TimedCaptions` for subtitles.
        client: sends the request; one is created from the environment for this call if not given.
        options: the model, the prompt, the language, …

    Raises:
        CaptionSyntaxError: two answers violated the schema; `kept` holds what could be read of the last one.
        TruncatedAnswerError: the answer was truncated; `partial` holds what arrived.
        QwenOmniError: see `qwen_omni.errors`.

    Example:
        from qwen_omni import VideoCaption, caption

        found = caption("promo.mp4")
        print(found.value.key_product_features)
    """
    check_options(options, CaptionOptions)
    with contextlib.ExitStack() as closing:
        asker = client if client is not None else closing.enter_context(OmniClient())
        root, profile = asker.settings.media_root, asker.settings.profile(options.model)
        plan = plan_caption(media, schema, options, media_root=root, profile=profile)
        return carry_out(plan, asker)


@overload
async def acaption(
    media: Media, schema: type[T], *, client: AsyncOmniClient | None = None, options: CaptionOptions = ...
) -> CaptionResult[T]: ...
@overload
async def acaption(
    media: Media, schema: Mapping[str, Any], *, client: AsyncOmniClient | None = None, options: CaptionOptions = ...
) -> CaptionResult[dict[str, Any]]: ...
@overload
async def acaption(
    media: Media, *, client: AsyncOmniClient | None = None, options: CaptionOptions = ...
) -> CaptionResult[VideoCaption]: ...
async def acaption(
    media: Media,
    schema: SchemaLike = VideoCaption,
    *,
    client: AsyncOmniClient | None = None,
    options: CaptionOptions = DEFAULT_OPTIONS,
) -> CaptionResult[Any]:
    """Describe one file; the asynchronous `caption`."""
    check_options(options, CaptionOptions)
    async with contextlib.AsyncExitStack() as closing:
        asker = client if client is not None else await closing.enter_async_context(AsyncOmniClient())
        root, profile = asker.settings.media_root, asker.settings.profile(options.model)
        plan = await asyncio.to_thread(plan_caption, media, schema, options, media_root=root, profile=profile)
        return await acarry_out(plan, asker)
