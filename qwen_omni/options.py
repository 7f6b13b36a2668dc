"""Options of one request, independent of the service's field names. Values only."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar, get_args

from qwen_omni._moved import with_old_options
from qwen_omni.errors import ConfigurationError
from qwen_omni.messages import Message, Store
from qwen_omni.profiles.rate_limits import RateLimits
from qwen_omni.ranges import Range, check_numbers

T = TypeVar("T")
Effort = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]
OutputModality = Literal["text", "audio"]
Delivery = Literal["auto", "inline", "oss", "temporary"]
"""How local media may be delivered to the service."""
Dialect = Literal["dashscope", "vllm"]
"""The request format: DashScope's, or that of vLLM and compatible servers."""
Tier = Literal["standard", "batch"]
"""How soon a call is answered: in real time, or when Batch Chat has room, within an hour and at half price."""


_SEED = 2**63
OPTION_RANGES = {
    "temperature": Range(least=0, most=1000),
    "top_p": Range(above=0, most=1),
    "top_k": Range(least=-1, most=1_000_000_000, whole=True),  # -1 switches it off in vLLM
    "max_tokens": Range(least=1, most=1_000_000_000, whole=True),
    "seed": Range(least=-_SEED, most=_SEED - 1, whole=True),
    "presence_penalty": Range(least=-2, most=2),
    "repetition_penalty": Range(above=0, most=1000),
}
"""The ranges of any server; the narrower ranges of DashScope and of the model are checked in `wire.request`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """A function that the model may call. `parameters` is a JSON schema of its arguments."""

    name: str
    description: str = ""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    strict: bool | None = None


def check_tier(tier: object) -> None:
    """Raise `ConfigurationError` for a value that is neither a tier nor `None`."""
    if tier not in (None, *get_args(Tier)):
        raise ConfigurationError(f"tier={tier!r} is not known; choose one of {', '.join(map(repr, get_args(Tier)))}.")


@with_old_options("enable_search")
@dataclass(frozen=True, slots=True, kw_only=True)
class ChatOptions:
    """Options of one call. `None` leaves the service's default.

    Attributes:
        max_tokens: the most tokens of the answer, reasoning not counted.
        thinking: `True`/`False` switches thinking on or off, an effort sets how much; `None` leaves the model's default
            (qwen3.8-omni-flash thinks; reasoning tokens are billed as output).
        modalities: `("text", "audio")` makes the model speak; `voice` chooses who.
        tool_choice: `"auto"`, `"none"`, `"required"` or the name of a tool that must be called.
        json_mode: the answer is one JSON object. A message must contain the word "json".
        json_schema: the answer follows this schema; only for models whose profile supports it.
        enable_search: the model may search the web.
        high_resolution_images: use up to 16,384 tokens per image; supported by qwen3.8 and qwen3.5 omni models.
        multichannel: process the channels of stereo or ambisonic audio separately.
        tier: `"batch"` sends the call to Batch Chat: half price, an answer within an hour; only some models, in
            Beijing. The body of the request is the same.
        extra_body: additional fields of the request, under the service's names.
        extra_headers: additional headers of the request. They may hold secrets, so no repr shows them.
    """

    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    max_tokens: int | None = None
    seed: int | None = None
    stop: tuple[str, ...] | None = None
    presence_penalty: float | None = None
    repetition_penalty: float | None = None
    thinking: bool | Effort | None = None
    modalities: tuple[OutputModality, ...] | None = None
    voice: str | None = None
    tools: tuple[Tool, ...] = ()
    tool_choice: str | None = None
    parallel_tool_calls: bool | None = None
    json_mode: bool = False
    json_schema: Mapping[str, Any] | None = None
    enable_search: bool | None = None
    high_resolution_images: bool | None = None
    multichannel: bool | None = None
    tier: Tier | None = None
    extra_body: Mapping[str, Any] = field(default_factory=dict)
    extra_headers: Mapping[str, str] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        check_numbers(self, OPTION_RANGES)
        check_tier(self.tier)

    @property
    def speaks(self) -> bool:
        """Whether the answer includes speech."""
        return bool(self.modalities) and "audio" in (self.modalities or ())


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatRequest:
    """One request to one model: everything that determines the answer.

    Attributes:
        model: the model.
        messages: the conversation.
        options: what is asked of the answer.
        limits: rate limits of this request, instead of those of the settings.
    """

    model: str
    messages: tuple[Message, ...]
    options: ChatOptions = field(default_factory=ChatOptions)
    limits: RateLimits | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadProgress:
    """The progress of an upload, passed to `Settings.on_upload`."""

    name: str
    sent_bytes: int
    total_bytes: int
    store: Store
