"""One file in, one validated caption out. `plan_caption` and `ask_until_valid` decide; `caption`, `acaption` do.

The answer is asked for in JSON mode where the model has one, with the schema in the prompt everywhere. An answer
that breaks the schema is asked for once more, with what was wrong; then `CaptionSyntaxError`.
"""

import asyncio
import contextlib
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar, overload

from qwen_omni.ask import as_part, kind_of, look, source_of
from qwen_omni.captions.models import VideoCaption
from qwen_omni.captions.parse import Parsed, parse_caption
from qwen_omni.captions.prompt import TASK, TIMED_TASK, complaint, instructions
from qwen_omni.captions.schema import CaptionSchema, SchemaLike, read_schema
from qwen_omni.captions.timed import TimedCaptions
from qwen_omni.client import AsyncOmniClient, OmniClient
from qwen_omni.errors import CaptionSyntaxError
from qwen_omni.media.info import AudioTrackChoice, MediaKind
from qwen_omni.media.source import MediaSource
from qwen_omni.messages import DEFAULT_SAMPLING, Message, Sampling, TextPart, user
from qwen_omni.options import ChatOptions, ChatRequest, Effort
from qwen_omni.profiles import DEFAULT_MODEL, profile_for
from qwen_omni.responses import Response, Usage

T = TypeVar("T")
Media = str | Path | MediaSource


@dataclass(frozen=True, slots=True, kw_only=True)
class CaptionOptions:
    """What may be chosen about a caption.

    Attributes:
        model: which model is asked.
        prompt: what to describe, in words; the schema and the form of the answer are added to it.
        language: of the texts in the answer; `None` leaves it to the model.
        thinking: whether the model thinks first. Off, because it is billed as output and may spoil JSON.
        sampling: how the service looks at the video.
        repair: ask once more if the answer breaks the schema. The media is sent and billed again.
        kind: what the media is, for links that do not tell.
        audio_track: which of several audio tracks is heard: `"auto"`, a number from 0, or `"mix"`.
        tile: a tall or wide picture may be sent as several images.
        frame: which frame of an animation, or page of a file, to describe as a picture, from 0.
    """

    model: str = DEFAULT_MODEL
    prompt: str | None = None
    language: str | None = None
    thinking: bool | Effort = False
    sampling: Sampling = DEFAULT_SAMPLING
    repair: bool = True
    kind: MediaKind | None = None
    audio_track: AudioTrackChoice = "auto"
    tile: bool = True
    frame: int | None = None


DEFAULT_OPTIONS = CaptionOptions()


@dataclass(frozen=True, slots=True, kw_only=True)
class Captioned(Generic[T]):
    """A caption and how it came about.

    Attributes:
        value: the caption, validated.
        truncated: the answer ended before its JSON did; the last text may be cut short.
        mended: kinds of mistakes in the JSON that were read over.
        responses: the model's answers; two if the first broke the schema.
    """

    value: T
    truncated: bool = False
    mended: tuple[str, ...] = ()
    responses: tuple[Response, ...] = ()

    @property
    def repaired(self) -> bool:
        """Whether the model had to be asked twice."""
        return len(self.responses) > 1

    @property
    def usages(self) -> tuple[Usage, ...]:
        """What each answer used, as far as the service told."""
        return tuple(response.usage for response in self.responses if response.usage is not None)


@dataclass(frozen=True, slots=True, kw_only=True)
class CaptionPlan:
    """What will be asked, and how the answer will be read."""

    request: ChatRequest
    schema: CaptionSchema
    repair: bool = True
    facts: Mapping[str, Any] = field(default_factory=dict)

    def read(self, response: Response) -> Parsed:
        """Read an answer; raises `CaptionSyntaxError`."""
        parsed = parse_caption(response.text, self.schema, facts=self.facts)
        return replace(parsed, truncated=parsed.truncated or response.finish_reason == "length")


def plan_caption(
    media: Media, schema: SchemaLike | CaptionSchema, options: CaptionOptions, *, media_root: Path = Path()
) -> CaptionPlan:
    """Look at the media and decide what to ask. Sends nothing.

    Args:
        media: a path or URL of the program's own choosing, or a `MediaSource`.
        schema: what the answer is to be.
        options: the model, the prompt, the language, …
        media_root: the folder that sources out of messages must lie in: that of the client that will be asked.

    Raises:
        MediaError: the media is missing, damaged, or does not tell what it is.
        ConfigurationError: the schema is none.
    """
    wanted = read_schema(schema)
    source = media if isinstance(media, MediaSource) else source_of(str(media))
    info = look(source, media_root)
    kind = (
        "image"
        if options.frame is not None
        else options.kind or (info.kind if info is not None else kind_of(source, media_root))
    )
    task = options.prompt or (TIMED_TASK if schema is TimedCaptions else TASK)
    part = as_part(source, kind, options.sampling, options.audio_track, tile=options.tile, frame=options.frame)
    question = user(part, task)
    lasts = None if info is None or kind == "image" else info.duration
    duration = None if lasts is None else float(lasts)
    return CaptionPlan(
        request=caption_request(wanted, question, options),
        schema=wanted,
        repair=options.repair,
        facts={} if duration is None else {"duration": duration},
    )


def caption_request(schema: CaptionSchema, question: Message, options: CaptionOptions) -> ChatRequest:
    """Ask for an answer of a schema: JSON mode where there is one, the schema in the prompt, thinking off."""
    profile = profile_for(options.model)
    told = Message(role="system", parts=(TextPart(text=instructions(schema, language=options.language)),))
    is_object = schema.json_schema.get("type") != "array"  # JSON mode knows objects only
    return ChatRequest(
        model=options.model,
        messages=(told, question),
        options=ChatOptions(thinking=options.thinking, json_mode=profile.json_object and is_object),
    )


def ask_until_valid(plan: CaptionPlan) -> Generator[ChatRequest, Response, Captioned[Any]]:
    """Yield what to ask, be sent the answers, return the caption: one question, and one more if need be.

    Raises:
        CaptionSyntaxError: the last answer breaks the schema, too.
    """
    response = yield plan.request
    try:
        return _captioned(plan.read(response), response)
    except CaptionSyntaxError as error:
        if not plan.repair:
            raise
        again = repair_request(plan.request, error)
    second = yield again
    try:
        return _captioned(plan.read(second), response, second)
    except CaptionSyntaxError as error:
        error.add_note("Asked twice: the first answer did not follow the schema either.")
        raise


def repair_request(request: ChatRequest, error: CaptionSyntaxError) -> ChatRequest:
    """Ask again in the same conversation: with the media, so that what is missing can be seen and not made up."""
    answer = Message(role="assistant", parts=(TextPart(text=error.text or "(nothing)"),))
    return replace(request, messages=(*request.messages, answer, user(complaint(error))))


def _captioned(parsed: Parsed, *responses: Response) -> Captioned[Any]:
    return Captioned(value=parsed.value, truncated=parsed.truncated, mended=parsed.mended, responses=responses)


@overload
def caption(
    media: Media, schema: type[T], *, client: OmniClient | None = None, options: CaptionOptions = ...
) -> Captioned[T]: ...
@overload
def caption(
    media: Media, schema: Mapping[str, Any], *, client: OmniClient | None = None, options: CaptionOptions = ...
) -> Captioned[dict[str, Any]]: ...
@overload
def caption(
    media: Media, *, client: OmniClient | None = None, options: CaptionOptions = ...
) -> Captioned[VideoCaption]: ...
def caption(
    media: Media,
    schema: SchemaLike = VideoCaption,
    *,
    client: OmniClient | None = None,
    options: CaptionOptions = DEFAULT_OPTIONS,
) -> Captioned[Any]:
    """Describe an image, a recording or a video in one request, as a value of your schema.

    Args:
        media: a path or URL of the program's own choosing, or a `MediaSource`.
        schema: a pydantic model, a `TypedDict` or a JSON schema; `TimedCaptions` for subtitles.
        client: who asks; one is made from the environment for this call if there is none.
        options: the model, the prompt, the language, …

    Raises:
        CaptionSyntaxError: two answers broke the schema; `kept` holds what could be read of the last.
        QwenOmniError: see `qwen_omni.errors`.

    Example:
        from qwen_omni import VideoCaption, caption

        found = caption("promo.mp4")
        print(found.value.key_product_features)
    """
    with contextlib.ExitStack() as closing:
        asker = client if client is not None else closing.enter_context(OmniClient())
        plan = plan_caption(media, schema, options, media_root=asker.settings.media_root)
        return carry_out(plan, asker)


class Asker(Protocol):
    """Whatever answers requests; `OmniClient` does."""

    def complete(self, request: ChatRequest, /) -> Response:
        """Give the whole answer."""


class AsyncAsker(Protocol):
    """The same for `asyncio`; `AsyncOmniClient` does."""

    async def complete(self, request: ChatRequest, /) -> Response:
        """Give the whole answer."""


def carry_out(plan: CaptionPlan, client: Asker) -> Captioned[Any]:
    """Ask what was planned; raises as `caption` does."""
    asking = ask_until_valid(plan)
    request = next(asking)
    while True:
        try:
            request = asking.send(client.complete(request))
        except StopIteration as done:
            return done.value  # type: ignore[no-any-return]


@overload
async def acaption(
    media: Media, schema: type[T], *, client: AsyncOmniClient | None = None, options: CaptionOptions = ...
) -> Captioned[T]: ...
@overload
async def acaption(
    media: Media, schema: Mapping[str, Any], *, client: AsyncOmniClient | None = None, options: CaptionOptions = ...
) -> Captioned[dict[str, Any]]: ...
@overload
async def acaption(
    media: Media, *, client: AsyncOmniClient | None = None, options: CaptionOptions = ...
) -> Captioned[VideoCaption]: ...
async def acaption(
    media: Media,
    schema: SchemaLike = VideoCaption,
    *,
    client: AsyncOmniClient | None = None,
    options: CaptionOptions = DEFAULT_OPTIONS,
) -> Captioned[Any]:
    """Do the same in `asyncio`; see `caption`."""
    async with contextlib.AsyncExitStack() as closing:
        asker = client if client is not None else await closing.enter_async_context(AsyncOmniClient())
        root = asker.settings.media_root
        plan = await asyncio.to_thread(plan_caption, media, schema, options, media_root=root)
        return await acarry_out(plan, asker)


async def acarry_out(plan: CaptionPlan, client: AsyncAsker) -> Captioned[Any]:
    """Ask what was planned; raises as `caption` does."""
    asking = ask_until_valid(plan)
    request = next(asking)
    while True:
        try:
            request = asking.send(await client.complete(request))
        except StopIteration as done:
            return done.value  # type: ignore[no-any-return]
