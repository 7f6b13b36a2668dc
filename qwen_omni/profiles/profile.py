"""The shape of what is known about a model, with the limits that most models share as defaults of `MediaLimits`.

The facts of single models are in `catalog`, `voices` and `prices`.
"""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from qwen_omni.ranges import MONEY, TOKENS, Range, check_numbers

Modality = Literal["text", "image", "audio", "video"]
ThinkingSwitch = Literal["none", "switch", "effort"]
Region = Literal["cn", "intl", "us", "hk", "jp", "de"]
"""Beijing, Singapore, Virginia, Hong Kong, Tokyo, Frankfurt (Model Studio, regions, read 2026-10-10)."""
Vocabulary = Literal["qwen2", "qwen3.5"]
"""Vocabulary that splits text into tokens: the one up to Qwen3, or the larger one since Qwen3.5."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaLimits:
    """How much media one request may hold. Bytes are of the file; `inline_bytes` is of the encoded string.

    `sampled_fps`, `most_image_pixels` and `most_frame_pixels` bound what the fields next to a media part may request
    (Chat API reference and Qwen-Omni guide, September 2026; the guide advises up to 2,073,600 pixels for fine video).
    """

    inline_bytes: int = 10_000_000  # the guide says "below 10 MB", QwenLM's clients 10,000,000; read 2026-09-30
    mixed: bool = True
    images: int = 2048
    images_inline: int = 250
    image_bytes: int = 20 * 2**20
    audios: int = 2048
    audios_inline: int = 250
    audio_bytes: int = 2 * 2**30
    audio_seconds: float = 3 * 3600
    videos: int = 512
    videos_inline: int = 250
    video_bytes: int = 2 * 2**30
    video_seconds: float = 3600
    min_video_seconds: float = 2
    frames: tuple[int, int] = (2, 2048)
    min_side: int = 11
    max_aspect: float = 200
    sampled_fps: tuple[float, float] = (0.1, 10)
    most_image_pixels: int = 16_777_216
    most_frame_pixels: int = 2_073_600


SHARED_HOST_SECONDS = 600.0
WORKSPACE_HOST_SECONDS = 3600.0
"""How long a request may last on DashScope's shared and trial hosts, and on workspace hosts and the batch host (Model
Studio, base URLs and Batch Chat, late September 2026)."""

ANSWER_RANGES: dict[str, Range] = {
    "temperature": Range(least=0, below=2),
    "top_k": Range(least=0, most=1_000_000_000, whole=True),
    "seed": Range(least=0, most=2**31 - 1, whole=True),
}
"""What DashScope accepts as options of an answer (Chat API reference, September 2026); other servers accept more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenRules:
    """The constants of the service's token formulas.

    Attributes:
        factor: side, in pixels, of the square that makes one token.
        image_tokens: minimum and maximum tokens of an image.
        image_tokens_high: maximum tokens of an image in high resolution; `None` if there is no such mode.
        frames: minimum and maximum number of frames sampled from a video.
        whole_pairs: an odd last frame is dropped, rather than paired with a copy of itself.
        frame_tokens: minimum and maximum tokens of a frame.
        video_tokens: maximum tokens of all frames together (before they merge in pairs).
        audio_in: tokens per second of audio.
        audio_seconds: seconds that a shorter recording counts as.
        audio_markers: tokens around each recording that are counted, too.
        audio_out: tokens per second of speech; `None` if the model does not speak.
        fps: frames per second sampled by default.
        vocabulary: of text. Known from the open weights of the same generation; not documented for these models.
    """

    factor: int = 32
    image_tokens: tuple[int, int] = (24, 1280)
    image_tokens_high: int | None = 16_384
    frames: tuple[int, int] = (2, 2048)
    whole_pairs: bool = False
    frame_tokens: tuple[int, int] = (64, 640)
    video_tokens: int = 180_224
    audio_in: float = 7
    audio_seconds: float = 1
    audio_markers: int = 0
    audio_out: float | None = 12.5
    fps: float = 2
    vocabulary: Vocabulary = "qwen3.5"


_PER_KIND = ("text_in", "text_out", "audio_in", "image_in", "video_in", "text_out_media", "thinking_out", "audio_out",
             "cached_in", "written_in")  # fmt: skip
_PRICE_RANGES = {**dict.fromkeys(_PER_KIND, MONEY), "up_to": TOKENS, "batch": Range(least=0, most=1)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Prices:
    """Prices per million tokens in one region, in `currency`.

    Attributes:
        text_in: text input. Image, video and audio have prices of their own where they differ, else `None`.
        text_out: text output after text only; `text_out_media` after media; `thinking_out` for answers with thinking.
        cached_in: input served from the service's own cache; `None` if there is no discount, or no known one.
        written_in: input that an explicit cache mark stores; `None` if it costs no more than other input.
        up_to: the price applies up to this many input tokens; a more expensive `Prices` follows for longer input.
        batch: price of a batch call, as a share of this price; `None` if batch is not offered.
        source: where the numbers were read, and when.
    """

    currency: Literal["CNY", "USD"]
    text_in: float
    text_out: float
    audio_in: float | None = None
    image_in: float | None = None
    video_in: float | None = None
    text_out_media: float | None = None
    thinking_out: float | None = None
    audio_out: float | None = None
    cached_in: float | None = None
    written_in: float | None = None
    up_to: int | None = None
    batch: float | None = None
    source: str

    def __post_init__(self) -> None:
        check_numbers(self, _PRICE_RANGES)


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """What one model can do, with the source of the facts.

    Attributes:
        name: the model's name; `snapshots` are other names for the same facts.
        thinking: which switch turns thinking on and off; `thinks_by_default` is what happens without it.
        json_object: JSON mode by `response_format`; `json_schema`: the same with a schema.
        voices: names known to work. The list grows, so it is a suggestion, never a reason to refuse.
        explicit_cache: `cache_control` marks what is cached for five minutes. (Implicit caching needs no mark.)
        cache_prefix: shortest beginning of a request, in tokens, that the implicit cache keeps; `None` without one.
        known: whether these are the model's own facts; those of another model stand in for an unknown name.
    """

    name: str
    context: int
    max_input: int
    max_output: int
    source: str
    snapshots: tuple[str, ...] = ()
    max_input_thinking: int | None = None
    inputs: frozenset[Modality] = frozenset({"text", "image", "audio", "video"})
    speaks: bool = False
    thinking: ThinkingSwitch = "none"
    thinks_by_default: bool = False
    tools: bool = False
    tools_with_search: bool = True
    web_search: bool = False
    json_object: bool = False
    json_schema: bool = False
    multichannel: bool = False
    explicit_cache: bool = False
    cache_prefix: int | None = None
    sampling_fields: bool = False
    voices: tuple[str, ...] = ()
    default_voice: str | None = None
    limits: MediaLimits = field(default_factory=MediaLimits)
    tokens: TokenRules = field(default_factory=TokenRules)
    prices: Mapping[Region, tuple[Prices, ...]] = field(default_factory=dict)
    known: bool = True

    @property
    def high_resolution(self) -> bool:
        """Whether images can be processed in high resolution; only where `tokens` has the token count for it."""
        return "image" in self.inputs and self.tokens.image_tokens_high is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Retirement:
    """When the service stopped answering to a name, and the name to use instead.

    Attributes:
        on: the day, in Beijing, as an ISO date.
        replacement: what the service recommends instead.
        source: where this was read, and when.
    """

    on: str
    replacement: str
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ExchangeRate:
    """Yuan per US dollar, with its source; prices are listed in one of the two."""

    cny_per_usd: float
    source: str

    def __post_init__(self) -> None:
        check_numbers(self, {"cny_per_usd": Range(above=0, most=1e6)})


_warned: dict[str | tuple[str, type[Warning], int], int] = {}


def warn_of_name(text: str) -> None:
    """Warn about the name of a model, once per text unless warnings are shown always.

    The warning names no file: the line of this library that noticed the name says nothing to the caller.
    """
    warnings.warn_explicit(text, UserWarning, "qwen_omni", 1, registry=_warned)
