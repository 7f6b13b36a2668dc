"""Options for long videos, and which media of a message a run accepts. Values and decisions."""

import abc
import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal, Protocol, get_args

from qwen_omni._moved import with_old_options
from qwen_omni.addresses import Server, StoreAddress
from qwen_omni.errors import ConfigurationError, QwenOmniError, UnsupportedContentError
from qwen_omni.media.budget import MediaBudget
from qwen_omni.media.info import AudioTrackChoice, read_audio_track
from qwen_omni.media.plan.segments import DEFAULT_SECONDS
from qwen_omni.messages import AudioPart, FramesPart, ImagePart, Part, Role, TextPart, VideoPart
from qwen_omni.options import OPTION_RANGES, ChatOptions, ChatRequest, Effort, Tier, check_tier
from qwen_omni.profiles import DEFAULT_MODEL, DEFAULT_TEXT_MODEL, Profile
from qwen_omni.profiles.rate_limits import RateLimits
from qwen_omni.ranges import (
    COUNT,
    END,
    PARALLEL,
    POSITIVE_COUNT,
    START,
    WAIT,
    Range,
    check_numbers,
    check_options,
    check_span,
)
from qwen_omni.responses import Response

Detail = Literal["low", "medium", "high"]
Strategy = Literal["map_reduce", "single", "auto"]

DETAIL_FPS: dict[Detail, float] = {"low": 0.5, "medium": 1.0, "high": 2.0}
"""Frames per second that the model sees, by detail."""

_STRATEGIES = ("map_reduce", "single", "auto")


TOKENS_OF_ANSWER = OPTION_RANGES["max_tokens"]
DEFAULT_CHAT = ChatOptions()
_OWN_NOTE_TOKENS = 8_000  # notes of a segment
_CHAT_FIELDS = (
    "temperature", "top_p", "top_k", "max_tokens", "seed", "presence_penalty", "repetition_penalty", "extra_body",
    "extra_headers",
)  # fmt: skip

_RANGES = {
    "single_call_seconds": Range(least=0, endless=True),
    "segment_seconds": END,
    "overlap": START,
    "start": START,
    "end": END,
    "concurrency": PARALLEL,
    "max_gaps": COUNT,
    "step_retries": COUNT,
    "retry_seconds": WAIT,
    "rpm": POSITIVE_COUNT,
    "tpm": POSITIVE_COUNT,
    "reduce_tokens": Range(least=1000, most=1_000_000_000, whole=True),  # fewer cannot hold the notes of two segments
    "workers": PARALLEL,
    "note_tokens": TOKENS_OF_ANSWER,
}


class TextModel(Protocol):
    """Any model that answers text with text: combines the notes if it is not a model of the service.

    Attributes:
        name: identifies the model; a checkpoint keeps the answers of different models apart.
    """

    @property
    def name(self) -> str:
        """Name of the model."""

    def complete(self, request: ChatRequest) -> Response:
        """Answer a conversation; raises `QwenOmniError` or the model's own errors."""

    async def acomplete(self, request: ChatRequest) -> Response:
        """Answer a conversation; the asynchronous `complete`."""


@with_old_options("focus")
@dataclass(frozen=True, slots=True, kw_only=True)
class SummaryOptions:
    """Options for the summary of a long video.

    Attributes:
        model: the model that sees the segments of the video.
        text_model: combines the notes: the name of a model of the service, or any `TextModel`.
        tier: `"batch"` sends the steps without media (joining notes, chapters, the answer to a question) to Batch Chat,
            at half price; each may wait for an hour. Segments are always asked about in real time.
        language: of the texts in the answer, as you would write it ("French", "中文"); `None` leaves it to the model.
        focus: what to focus on, in words; added to the prompts.
        detail: how closely the model looks: 0.5, 1 or 2 frames per second.
        strategy: "map_reduce" cuts videos longer than `single_call_seconds`; "single" sends the whole in one call, and
            raises an error if that exceeds the model's limits; "auto" makes one call if the model then sees as many
            frames.
        single_call_seconds: up to this length a single call is made, unless the model's own limit is lower.
        segment_seconds: maximum length of a segment, including the overlap; the model's limit may be lower.
        overlap: seconds that a segment shares with the next one.
        start: start of the range, in seconds.
        end: end of the range, in seconds.
        audio_track: which of several audio tracks to use: `"auto"` for the default one, or the first that is not
            silent if that one is; its number, from 0; `"mix"` for all together.
        concurrency: requests in flight at once.
        max_gaps: segments that may fail permanently; by default a tenth of them, at least one.
        step_retries: retries of a step after a transient failure, in addition to the client's own; an error that
            repeats word for word is permanent.
        retry_seconds: delay before the first retry; doubles each time.
        rpm: requests per minute of this run's model; by default those of the client's settings.
        tpm: tokens per minute, likewise.
        reduce_tokens: tokens of notes joined in one step; longer notes are joined in a tree.
        budget: how segment files are encoded; by `detail` if not given.
        chat: options of every request: `max_tokens`, `temperature`, `seed`, `extra_body`, headers and so on. Adapters
            pass those of the caller's model; `tier` and `thinking` are options of their own. Never serialised: headers
            may hold secrets.
        note_tokens: the most tokens of an answer about a segment, unless `chat` sets `max_tokens`; without either, the
            limit of the model, or 8,000 on other servers.
        thinking: whether the models reason first. Off, because reasoning is billed as output and may spoil JSON.
        allow_truncated: accept notes and joins cut short by the token limit or content inspection, with a notice;
            otherwise a segment with a truncated answer is a gap, and a truncated join ends the run.
        checkpoint: folder of checkpoints, an existing file that is a store of several runs, or the address of a
            PostgreSQL database that machines share (`postgresql://USER@HOST/DATABASE`); `True` is the client's store,
            or the default folder in the cache folder, `False` stores none.
        reuse_unverified: whether to reuse answers of unknown origin, stored by an older version.
        workers: threads that prepare segments; by default one per core, at most four.
    """

    model: str = DEFAULT_MODEL
    text_model: str | TextModel = DEFAULT_TEXT_MODEL
    tier: Tier | None = None
    language: str | None = None
    focus: str | None = None
    detail: Detail = "medium"
    strategy: Strategy = "map_reduce"
    single_call_seconds: float = 180
    segment_seconds: float = float(DEFAULT_SECONDS)
    overlap: float = 2
    start: float | None = None
    end: float | None = None
    audio_track: AudioTrackChoice = "auto"
    concurrency: int = 8
    max_gaps: int | None = None
    step_retries: int = 2
    retry_seconds: float = 5
    rpm: int | None = None
    tpm: int | None = None
    reduce_tokens: int = 60_000
    budget: MediaBudget | None = None
    chat: ChatOptions = DEFAULT_CHAT
    note_tokens: int | None = None
    thinking: bool | Effort = False
    allow_truncated: bool = False
    checkpoint: bool | Path | str = True
    reuse_unverified: bool = False
    workers: int | None = None

    def __post_init__(self) -> None:
        check_options(self.chat, ChatOptions, "chat")
        if self.budget is not None:
            check_options(self.budget, MediaBudget, "budget")
        for name in ("model", "language", "focus"):
            value = getattr(self, name)
            if not isinstance(value, str) and (value is not None or name == "model"):
                raise ConfigurationError(f"{name} must be text, got {type(value).__name__}.")
        for name, known in (("detail", tuple(DETAIL_FPS)), ("strategy", _STRATEGIES)):
            if getattr(self, name) not in known:
                raise ConfigurationError(
                    f"{name}={getattr(self, name)!r} is not valid; choose one of {', '.join(known)}."
                )
        if self.thinking not in (True, False, *get_args(Effort)):
            efforts = ", ".join(get_args(Effort))
            raise ConfigurationError(f"thinking={self.thinking!r}: choose True, False or one of {efforts}.")
        if not isinstance(self.checkpoint, bool):
            address = StoreAddress.read(self.checkpoint)
            object.__setattr__(self, "checkpoint", Path(self.checkpoint) if address is None else address)
        check_numbers(self, _RANGES)
        check_span(self.start, self.end)
        check_tier(self.tier)
        if self.tier == "batch" and not isinstance(self.text_model, str):
            raise ConfigurationError(
                f'tier="batch" needs a text_model of the service, not {self.text_model_name}; drop one of the two.'
            )
        _check_chat(self.chat)
        object.__setattr__(self, "audio_track", read_audio_track(self.audio_track))

    @property
    def limits(self) -> RateLimits | None:
        """`rpm` and `tpm`, if one is set."""
        return None if self.rpm is None and self.tpm is None else RateLimits(rpm=self.rpm, tpm=self.tpm)

    @property
    def text_model_name(self) -> str:
        """Name of the model that combines notes."""
        return self.text_model if isinstance(self.text_model, str) else self.text_model.name

    def chat_options(self, *, joins: bool, json_mode: bool) -> ChatOptions:
        """Return the options of a request: about a segment, or one that combines notes."""
        chosen = {name: getattr(self.chat, name) for name in _CHAT_FIELDS}
        if not joins and chosen["max_tokens"] is None:
            chosen["max_tokens"] = self.note_tokens
        tier = self.tier if joins else None
        return ChatOptions(**chosen, thinking=self.thinking, json_mode=json_mode, tier=tier)

    @property
    def chat_key(self) -> dict[str, Any]:
        """The non-default fields of `chat`, used in the keys of stored answers; headers excluded."""
        set_here = {name: getattr(self.chat, name) for name in _CHAT_FIELDS if name != "extra_headers"}
        changed = {name: value for name, value in set_here.items() if value != getattr(DEFAULT_CHAT, name)}
        return {"chat": changed} if changed else {}


def _check_chat(chat: ChatOptions) -> None:
    """Refuse options that the requests of a run do not read."""
    names = [one.name for one in fields(chat) if one.name not in _CHAT_FIELDS]
    unread = [name for name in names if getattr(chat, name) != getattr(DEFAULT_CHAT, name)]
    if unread:
        own = [f"SummaryOptions({name}=…)" for name in unread if name in SummaryOptions.__dataclass_fields__]
        advice = f"; use {', '.join(own)}" if own else ""
        raise ConfigurationError(
            f"chat= sets {', '.join(f'{name}=' for name in unread)}, which requests about long videos do not have. "
            f"Remove it{advice}. They take {', '.join(_CHAT_FIELDS)}."
        )


DEFAULT_OPTIONS = SummaryOptions()


def on_server(options: SummaryOptions, server: Server) -> SummaryOptions:
    """Return the options for a server: a self-hosted one lacks the service's text models, so the same model joins.

    Small models repeat themselves without end, so that their notes have a limit even if the options set none.

    Example:
        >>> own = Server(dialect="vllm")
        >>> on_server(SummaryOptions(model="my-model"), own).text_model
        'my-model'
    """
    if server.dialect == "dashscope":
        return options
    most = _OWN_NOTE_TOKENS if options.note_tokens is None else options.note_tokens
    joins = options.model if options.text_model == DEFAULT_TEXT_MODEL else options.text_model
    return replace(options, text_model=joins, note_tokens=most)


def segment_budget(options: SummaryOptions, profile: Profile) -> MediaBudget:
    """Return the budget for encoding segment files.

    Where the request can set the frame rate that the model samples, the file has twice as many frames, so that each
    sampled one is near its nominal time; elsewhere the file itself has only the frames wanted.

    Example:
        >>> from qwen_omni.profiles import profile_for
        >>> segment_budget(DEFAULT_OPTIONS, profile_for("qwen3.8-omni-flash")).fps
        2.0
    """
    if options.budget is not None:
        return options.budget
    fps = DETAIL_FPS[options.detail]
    name = f"detail {options.detail}"
    if profile.sampling_fields:
        return MediaBudget(name=name, fps=2 * fps, sampling_fps=fps)
    return MediaBudget(name=name, fps=fps)


_NAMES = {ImagePart: "an image", FramesPart: "a list of frames", VideoPart: "a video", AudioPart: "a recording"}
_PIXELS = ("min_pixels", "max_pixels", "total_pixels")


def single_media_part(parts: Sequence[Part]) -> VideoPart | AudioPart:
    """Return the one video or recording among the parts of a message; texts are ignored here.

    Example:
        >>> from qwen_omni import MediaSource
        >>> single_media_part([VideoPart(source=MediaSource.from_path("talk.mp4"), start=60)]).start
        60

    Raises:
        UnsupportedContentError: there is not exactly one, or it sets its own sampling, which is one choice for all
        segments; the message names the option to use instead.
    """
    media = [part for part in parts if not isinstance(part, TextPart)]
    if len(media) != 1 or not isinstance(media[0], VideoPart | AudioPart):
        held = ", ".join(_NAMES.get(type(part), "something else") for part in media) or "no media"
        raise UnsupportedContentError(f"The input holds {held}; pass exactly one video or recording.")
    if isinstance(media[0], VideoPart):
        _check_closeness(media[0])
    return media[0]


def choices_of(part: VideoPart | AudioPart) -> dict[str, Any]:
    """Return the run options that a part sets; they take precedence over the run's own."""
    named: dict[str, Any] = {}
    if part.start is not None or part.end is not None:
        named |= {"start": part.start, "end": part.end}
    return named if part.audio_track == "auto" else named | {"audio_track": part.audio_track}


def _check_closeness(video: VideoPart) -> None:
    if video.sampling.fps is not None:
        rates = ", ".join(f'detail="{name}" ({rate:g} frames a second)' for name, rate in DETAIL_FPS.items())
        raise UnsupportedContentError(
            f"The video asks for fps={video.sampling.fps:g}, but a long video is sampled at one frame rate "
            f"throughout: omit it and pass one of {rates}."
        )
    chosen = {name: getattr(video.sampling, name) for name in _PIXELS}
    chosen["budget"] = None if video.budget == "auto" else video.budget
    option = next((name for name, value in chosen.items() if value is not None), None)
    if option is not None:
        raise UnsupportedContentError(
            f"The video asks for {option}, but the segments of a long video are all prepared alike: "
            "omit it and pass budget=MediaBudget(...)."
        )


Texts = list[tuple[Role, str]]
"""A conversation of texts: roles, and what was said."""


class ForeignTextModel(abc.ABC):
    """A model of another library as the model that combines notes: a `TextModel`.

    Raises:
        QwenOmniError: the model failed, whatever it raised; its own error is the cause.
    """

    def __init__(self, name: str) -> None:
        self.name = name

    @abc.abstractmethod
    def ask(self, texts: Texts) -> Response:
        """Answer a conversation."""

    @abc.abstractmethod
    async def aask(self, texts: Texts) -> Response:
        """Answer a conversation; the asynchronous `ask`."""

    def complete(self, request: ChatRequest, /) -> Response:
        """Answer a conversation of texts."""
        with self._as_ours():
            return self.ask(_texts_of(request))

    async def acomplete(self, request: ChatRequest, /) -> Response:
        """Answer a conversation of texts; the asynchronous `complete`."""
        with self._as_ours():
            return await self.aask(_texts_of(request))

    @contextlib.contextmanager
    def _as_ours(self) -> Iterator[None]:
        try:
            yield
        except QwenOmniError:
            raise
        except Exception as error:
            raise QwenOmniError(f"The model that combines notes failed: {type(error).__name__}: {error}") from error


def _texts_of(request: ChatRequest) -> Texts:
    """Return the roles and texts of a conversation; joining notes uses text only."""
    texts = (
        (message.role, [part.text for part in message.parts if isinstance(part, TextPart)])
        for message in request.messages
    )
    return [(role, "\n\n".join(parts)) for role, parts in texts]
