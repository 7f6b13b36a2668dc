"""The shape of what we know about a model. Values only; the facts are in `catalog`, `voices` and `prices`."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from qwen_omni.ranges import MONEY, TOKENS, Range, check_numbers

Modality = Literal["text", "image", "audio", "video"]
ThinkingSwitch = Literal["none", "switch", "effort"]
Region = Literal["cn", "intl", "us", "hk"]
Vocabulary = Literal["qwen2", "qwen3.5"]
"""Which pieces text is cut into: those up to Qwen3, or the larger ones since Qwen3.5."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaLimits:
    """How much media one request may hold. Bytes are of the file; `inline_bytes` is of the encoded string.

    `sampled_fps`, `most_image_pixels` and `most_frame_pixels` bound what the fields beside a piece of media may ask for
    (Chat API reference and Qwen-Omni guide, September 2026; the guide advises up to 2,073,600 pixels for fine video).
    """

    inline_bytes: int = 10_485_760
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
Studio, base URLs and Batch Chat, late September 2026). Servers of others say nothing, and get the longer time."""

ANSWER_RANGES: dict[str, Range] = {
    "temperature": Range(least=0, below=2),
    "top_k": Range(least=0, most=1_000_000_000, whole=True),
    "seed": Range(least=0, most=2**31 - 1, whole=True),
}
"""What DashScope takes for the options of an answer (Chat API reference, September 2026); other servers take more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenRules:
    """The constants of the service's token formulas.

    Attributes:
        factor: side of the square of pixels that makes one token.
        image_tokens: fewest and most tokens of an image.
        image_tokens_high: most tokens of an image in high resolution; `None` where there is no such mode.
        frames: fewest and most frames of a video that are looked at.
        frame_tokens: fewest and most tokens of a frame.
        video_tokens: most tokens of all frames together (before they merge in pairs).
        audio_in: tokens per second of sound.
        audio_out: tokens per second of speech; `None` where the model does not speak.
        fps: frames per second that are looked at unless told otherwise.
        vocabulary: of text. Known from the open weights of the same generation; no page tells it for these models.
    """

    factor: int = 32
    image_tokens: tuple[int, int] = (24, 1280)
    image_tokens_high: int | None = 16_384
    frames: tuple[int, int] = (2, 2048)
    frame_tokens: tuple[int, int] = (64, 640)
    video_tokens: int = 180_224
    audio_in: float = 7
    audio_out: float | None = 12.5
    fps: float = 2
    vocabulary: Vocabulary = "qwen3.5"


_PER_KIND = ("text_in", "text_out", "audio_in", "image_in", "video_in", "text_out_media", "thinking_out", "audio_out",
             "cached_in")  # fmt: skip
_PRICE_RANGES = {**dict.fromkeys(_PER_KIND, MONEY), "up_to": TOKENS, "batch": Range(least=0, most=1)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Prices:
    """Prices per million tokens in one region, in `currency`.

    Attributes:
        text_in: text in. Image, video and audio have their own where they differ, else `None`.
        text_out: text out after text only; `text_out_media` after media; `thinking_out` for answers with thinking.
        cached_in: input that the service's own cache held.
        up_to: the price holds up to this many input tokens; a dearer `Prices` follows for longer input.
        batch: what a batch call costs, as a share of the price; `None` where batch is not offered.
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
        must_stream: the service refuses calls that do not stream. (We always stream.)
        thinking: which switch turns thinking on and off; `thinks_by_default` what happens untouched.
        json_object: JSON mode by `response_format`; `json_schema`: a schema there too.
        tool_regions: regions in which tools work; `None` for all.
        voices: names known to work. The list grows, so it advises and never refuses.
        explicit_cache: `cache_control` marks what is kept for five minutes. (Implicit caching needs no mark.)
        rpm: requests a minute; tpm: tokens a minute. `None` where nothing is published.
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
    must_stream: bool = True
    thinking: ThinkingSwitch = "none"
    thinks_by_default: bool = False
    tools: bool = False
    tool_regions: frozenset[Region] | None = None
    tools_with_search: bool = True
    web_search: bool = False
    json_object: bool = False
    json_schema: bool = False
    multichannel: bool = False
    explicit_cache: bool = False
    sampling_fields: bool = False
    voices: tuple[str, ...] = ()
    default_voice: str | None = None
    limits: MediaLimits = field(default_factory=MediaLimits)
    tokens: TokenRules = field(default_factory=TokenRules)
    prices: Mapping[str, tuple[Prices, ...]] = field(default_factory=dict)
    rpm: int | None = None
    tpm: int | None = None

    @property
    def high_resolution(self) -> bool:
        """Whether images can be looked at in high resolution; only where `tokens` know how many tokens that makes."""
        return "image" in self.inputs and self.tokens.image_tokens_high is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class ExchangeRate:
    """What a US dollar is worth in yuan, and where that was read; prices are listed in one of the two."""

    cny_per_usd: float
    source: str

    def __post_init__(self) -> None:
        check_numbers(self, {"cny_per_usd": Range(above=0, most=1e6)})
