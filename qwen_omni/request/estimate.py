"""`estimate`: what a call will use and cost, before any of it is sent. Only opens and inspects local files.

`media_estimate` covers each piece of media; this module adds text, the length that the answer is assumed to have, the
price and what would be refused.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import PurePath
from typing import Any

from qwen_omni._moved import warn
from qwen_omni.addresses import host_kind, host_of, most_seconds
from qwen_omni.errors import (
    ConfigurationError,
    MediaDoesNotFitError,
    NotFoundError,
    SpendLimitError,
    UnsupportedContentError,
    UnsupportedMediaError,
)
from qwen_omni.media.budget import BudgetName, MediaBudget
from qwen_omni.messages import ImagePart, Message, TextPart, VideoPart
from qwen_omni.notebook import Card, Row
from qwen_omni.options import ChatOptions, ChatRequest, Tier
from qwen_omni.pricing.costs import (
    FEWEST_CACHED,
    TEXT_ERROR,
    Cost,
    Pricing,
    TokenCounts,
    count_text,
    count_tools,
    count_words,
    is_exact,
    nearly,
    pricing_for,
)
from qwen_omni.profiles import DEFAULT_MODEL, Profile, Region
from qwen_omni.profiles.batch import MOST_INPUT, PROMOTION, SHARE, why_not
from qwen_omni.profiles.profile import WORKSPACE_HOST_SECONDS
from qwen_omni.ranges import TOKENS, check_options, checked
from qwen_omni.request.fit import check_conversation, check_model
from qwen_omni.request.media_estimate import MediaEstimate, MediaEstimator
from qwen_omni.request.question import Askable, messages_of
from qwen_omni.settings import Settings, region_of
from qwen_omni.wire.request import check_ranges

# Our own assumption for an answer that nothing limits: a page of text; twice as much reasoning; speech at
# 0.3 s per token of text.
USUAL_ANSWER, USUAL_THINKING, SPOKEN_SECONDS = 500, 1_000, 0.3
# Measured with such models, 2026; reading is a cautious guess, since it includes decoding the media.
FIRST_TOKEN_SECONDS, TOKENS_PER_SECOND, _READ_PER_SECOND = 1.5, 60.0, 5_000.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """What a call will use and cost.

    `cost` is what a spend limit reserves: the upper bound of the input, and the assumed answer.

    Attributes:
        model: the model.
        region: whose price list applies; `None` if the address belongs to no known region.
        tokens: the input, by kind, and the assumed answer (`text_out`, `thinking_out`, `audio_out`).
        most: the same with the upper bound for unknown media.
        cost_low: cost of the input, as far as it is known, without any answer.
        cost: cost of the upper bound of the input, with the assumed answer.
        cost_high: cost of the upper bound of the input, with the longest answer that the call allows.
        as_is: input tokens if local media were sent untouched and the service sampled them its own way; `None` if
            unknown.
        cost_as_is: what that would cost, with the same answer.
        cost_cached: what the call costs if the service has everything but the last question in its cache, as after an
            earlier question about the same media; `None` if the model has no known price for cached input. `cost`
            assumes that nothing is cached: a hit is never certain.
        tier: in real time, or through Batch Chat at half price.
        list_cost: `cost` at the list price, for a batch call: its discount is a promotion, dated in `notes`.
        media: each piece of media.
        text_exact: whether text was counted with the model's vocabulary rather than approximately.
        call_seconds: estimated duration of the request: sending what is inside it, reading it, and an answer as long as
            `max_tokens`, or as assumed.
        problems: limits that the call exceeds, in words. It would be refused.
        refusal: the first of them in a few words, for tables; empty if there is none.
        notes: assumptions made.
    """

    model: str
    region: Region | None
    tokens: TokenCounts
    most: TokenCounts
    cost_low: Cost
    cost: Cost
    cost_high: Cost
    as_is: TokenCounts | None
    cost_as_is: Cost | None
    cost_cached: Cost | None = None
    media: tuple[MediaEstimate, ...] = ()
    text_exact: bool = False
    call_seconds: float = 0.0
    problems: tuple[str, ...] = ()
    refusal: str = ""
    notes: tuple[str, ...] = field(default=())
    tier: Tier = "standard"
    list_cost: Cost | None = None

    @property
    def input_tokens(self) -> int:
        """Input tokens, as far as they are known."""
        return self.tokens.input

    @property
    def exact(self) -> bool:
        """Whether every piece of media has been prepared, or needs no preparation."""
        return all(piece.exact for piece in self.media)

    @property
    def known(self) -> bool:
        """Whether the facts of every piece of media are known."""
        return not any(piece.unknown for piece in self.media)

    @property
    def upload_bytes(self) -> int:
        """Bytes that media add to the request and to uploads."""
        return sum(piece.upload_bytes for piece in self.media)

    @property
    def seconds(self) -> float:
        """Total duration of the media, as far as it is known."""
        return sum(piece.seconds or 0.0 for piece in self.media)

    def __str__(self) -> str:
        """Return a readable explanation of several lines."""
        return "\n".join(self._lines())

    def lines(self) -> list[str]:
        """Return the explanation line by line; the old name of `str()`."""
        warn("Estimate.lines()", "str()")
        return self._lines()

    def _lines(self) -> list[str]:
        media = [f"{piece.place}: {piece.label}: {_described(piece)}" for piece in self.media]
        refused = [f"would be refused: {problem}" for problem in self.problems]
        return [f"{self.model}: {_counted(self.tokens)}", *_prices(self), *media, *refused, *_assumed(self)]

    def _repr_html_(self) -> str:
        return _card(self).to_html()

    def as_dict(self) -> dict[str, Any]:
        """Return the estimate in plain JSON types."""
        shown = {one.name: getattr(self, one.name) for one in fields(self)}
        for name in ("cost_low", "cost", "cost_high", "cost_as_is", "cost_cached", "list_cost"):
            shown[name] = _money_of(shown[name])
        shown["media"] = [asdict(piece) for piece in self.media]
        for name in ("tokens", "most", "as_is"):
            shown[name] = None if shown[name] is None else {**asdict(shown[name]), "input": shown[name].input}
        return {**shown, "upload_bytes": self.upload_bytes, "seconds": self.seconds, "exact": self.exact,
                "known": self.known, "problems": list(self.problems), "notes": list(self.notes)}  # fmt: skip


def _card(estimate: Estimate) -> Card:
    """Return what a notebook shows: the same as `str()`, with media as a table."""
    return Card(
        title=f"{estimate.model}: {_money(estimate.cost)}",
        facts=[_counted(estimate.tokens)],
        columns=("media", "tokens", "what is sent"),
        rows=[
            Row((PurePath(piece.label).name or piece.label, f"{piece.tokens.input:,}", _described(piece)))
            for piece in estimate.media
        ],
        warnings=[f"Would be refused: {problem}" for problem in estimate.problems],
        notes=[*_prices(estimate), *_assumed(estimate)],
    )


def _prices(estimate: Estimate) -> list[str]:
    """Return what a call costs, in several ways, one a line."""
    lines = [f"cost: {_money(estimate.cost)}{_range(estimate)}"]
    if estimate.cost_cached is not None:
        lines.append(f"all but the last question from the cache: {_money(estimate.cost_cached)}")
    if estimate.list_cost is not None:
        lines.append(f"list price: {_money(estimate.list_cost)}; Batch Chat charges {SHARE:.0%} of it ({PROMOTION})")
    if estimate.as_is is not None and estimate.media:
        same = f"unchanged, sampled by the service: {estimate.as_is.input:,} tokens in"
        lines.append(same + (f", {_money(estimate.cost_as_is)}" if estimate.cost_as_is is not None else ""))
    return lines


def _assumed(estimate: Estimate) -> list[str]:
    return [f"assumed: {note}" for note in estimate.notes]


def _counted(tokens: TokenCounts) -> str:
    kinds = ", ".join(
        f"{kind} {count:,}" for kind in ("text", "image", "video", "audio") if (count := getattr(tokens, kind))
    )
    return f"{tokens.input:,} tokens in ({kinds or 'nothing'}), assuming {tokens.output:,} output tokens"


def _money(cost: Cost | None) -> str:
    if cost is None or cost.cny is None or cost.usd is None:
        return "unknown"
    return f"CNY {cost.cny:.4g} = USD {cost.usd:.4g}"


def _money_of(cost: Cost | None) -> dict[str, Any] | None:
    if cost is None:
        return None
    return {"cny": cost.cny, "usd": cost.usd, "list_currency": cost.currency, "source": cost.source,
            "cny_per_usd": cost.rate.cny_per_usd, "rate_source": cost.rate.source}  # fmt: skip


def _range(estimate: Estimate) -> str:
    low, high = estimate.cost_low.cny, estimate.cost_high.cny
    if low is None or high is None:
        return ""
    return f" (CNY {low:.4g} without an answer, {high:.4g} with the longest); {estimate.cost.source}"


def _described(piece: MediaEstimate) -> str:
    if piece.unknown:
        return f"{piece.unknown}; at most {piece.most.input:,} tokens"
    length = "" if piece.seconds is None else f", {piece.seconds:,.1f} s"
    way = "" if piece.route is None else f", {piece.upload_bytes:,} bytes {_WAYS[piece.route]}"
    return f"{piece.tokens.input:,} tokens{length}{way}; {piece.doing}"


_WAYS = {
    "inline": "inside the request",
    "oss": "to the bucket",
    "temporary": "to the temporary store",
    "link": "to send (it is a link)",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerLength:
    """The tokens of an answer: assumed, and at most; `note` says what was assumed."""

    assumed: TokenCounts
    most: TokenCounts
    note: str


def answer_of(profile: Profile, options: ChatOptions, expected: int | None = None) -> AnswerLength:
    """Assume an answer for a call with these options; `expected` is the caller's own estimate of its text."""
    longest = min(options.max_tokens or profile.max_output, profile.max_output)
    text = min(USUAL_ANSWER if expected is None else expected, longest)
    thinking = USUAL_THINKING if thinks(profile, options) else 0
    rate = profile.tokens.audio_out
    speaks = options.speaks and rate is not None
    spoken = round(text * SPOKEN_SECONDS * (rate or 0)) if speaks else 0
    most_spoken = round(longest * SPOKEN_SECONDS * (rate or 0)) if speaks else 0
    lines = [f"{text:,} tokens of answer"]
    if thinking:
        lines.append(f"{thinking:,} of thinking")
    if spoken:
        lines.append(f"{spoken:,} of speech")
    most = TokenCounts(
        text_out=longest,
        thinking_out=max(thinking, profile.max_output - longest) if thinking else 0,
        audio_out=most_spoken,
    )
    return AnswerLength(
        assumed=TokenCounts(text_out=text, thinking_out=thinking, audio_out=spoken),
        most=most,
        note=", ".join(lines),
    )


def thinks(profile: Profile, options: ChatOptions) -> bool:
    """Whether the model will reason before it answers."""
    match options.thinking:
        case None:
            return profile.thinks_by_default
        case bool(wanted):
            return wanted and profile.thinking != "none"
        case effort:
            return effort != "none" and profile.thinking != "none"


# --- Estimating ---

_REFUSALS = (
    ConfigurationError,
    MediaDoesNotFitError,
    NotFoundError,
    UnsupportedContentError,
    UnsupportedMediaError,
)  # fmt: skip

_USUAL = ChatOptions()
_BRIEFLY = "would be refused"


def estimate(
    what: ChatRequest | Askable | Sequence[Askable],
    *,
    model: str = DEFAULT_MODEL,
    budget: MediaBudget | BudgetName | None = None,
    options: ChatOptions = _USUAL,
    settings: Settings | None = None,
    answer_tokens: int | None = None,
) -> Estimate:
    """Estimate what a call will use and cost. Uploads nothing, sends no request and needs no key.

    Local files are inspected and planned for, as in the call itself; media that is already prepared is exact. Links are
    not opened: what they are billed is reported as a range, and `cost` uses its upper end.

    Args:
        what: the conversation, a request, or media: a path chosen by the program, a URL, bytes, `Prepared`, a part;
            or several of them, in one message.
        model: the model; the model of a request takes precedence.
        budget: how local images and videos are prepared, instead of what their parts say.
        options: of the call; those of a request take precedence.
        settings: how the service is reached; decides the region of the prices, the delivery, own prices, the
            spend limit that is checked, and `media_root`, which paths in messages and `file://` URLs must lie in.
            Read from the environment by default.
        answer_tokens: expected length of the answer; without it, `Estimate.notes` says what is assumed.

    Raises:
        MediaError: a file is missing, damaged, not media, or outside `media_root` and not chosen by the program.

    Example:
        print(*estimate("promo.mp4", model="qwen3.8-omni-flash").lines(), sep="; ")
    """
    check_options(options, ChatOptions)
    if answer_tokens is not None:
        answer_tokens = checked("answer_tokens", answer_tokens, TOKENS)
    settings = settings or Settings.load(needs_key=False)
    messages, held = messages_of(() if isinstance(what, ChatRequest) else what, settings.media_root)
    request = what if isinstance(what, ChatRequest) else ChatRequest(model=model, messages=messages, options=options)
    if budget is not None:
        request = replace(request, messages=tuple(_with_budget(message, budget) for message in request.messages))
    call = EstimatedCall(request, settings, exact_text=is_exact())
    made = call.estimate(MediaEstimator.of(request, settings, held).estimate_all(), answer_tokens)
    slow = too_slow(made, settings)
    problems = call.problems(made)
    return replace(
        made,
        problems=tuple(problems),
        refusal=next((brief or _BRIEFLY for brief in problems.values()), ""),
        notes=(*made.notes, *([slow] if slow else ())),
    )


def too_slow(made: Estimate, settings: Settings) -> str | None:
    """Return a notice about a request that is likely to exceed the time limit of a shared host; else `None`."""
    most = most_seconds(settings.base_url)
    waits = made.tier == "batch"  # on a host of its own
    if waits or made.call_seconds <= most or host_kind(settings.base_url) not in ("shared", "trial"):
        return None
    return (
        f"the request may take about {made.call_seconds:,.0f} s, and {host_of(settings.base_url)} ends requests after "
        f"{most:,.0f} s. A workspace host allows {WORKSPACE_HOST_SECONDS:,.0f} s (workspace='ws-...'); or send a "
        "shorter clip, or set a smaller max_tokens"
    )


class EstimatedCall:
    """One call, with everything that decides its price. Pure: its media have already been inspected."""

    def __init__(self, request: ChatRequest, settings: Settings, *, exact_text: bool) -> None:
        self.request, self.settings, self.exact_text = request, settings, exact_text
        self.profile, self.region = settings.profile(request.model), region_of(settings.base_url)
        self.tier = settings.tier_of(request.options.tier)
        priced = request.model if settings.server_of(request.model).dialect == "dashscope" else self.profile
        self.pricing = self._pricing(priced, batch=self.tier == "batch")

    def _pricing(self, model: str | Profile, *, batch: bool = False) -> Pricing:
        settings = self.settings
        return pricing_for(model, self.region, prices=settings.prices, rate=settings.exchange_rate, batch=batch)

    def estimate(self, media: tuple[MediaEstimate, ...], answer_tokens: int | None) -> Estimate:
        """Combine the parts into one estimate."""
        options = self.request.options
        answer = answer_of(self.profile, options, answer_tokens)
        text = TokenCounts(text=self._words())
        known = TokenCounts.sum((text, *(piece.tokens for piece in media)))
        most = TokenCounts.sum((text, *(piece.most for piece in media)))
        as_is = _untouched(text, media)
        cost = self.pricing.cost(most, answer.assumed)
        listed = self._pricing(self.request.model).cost(most, answer.assumed) if self.tier == "batch" else None
        return Estimate(
            model=self.request.model,
            region=self.region,
            tokens=known + answer.assumed,
            most=most + answer.most,
            cost_low=self.pricing.cost(known),
            cost=cost,
            cost_high=self.pricing.cost(most, answer.most),
            as_is=as_is,
            cost_as_is=None if as_is is None else self.pricing.cost(as_is, answer.assumed),
            cost_cached=self._cached(most, answer.assumed),
            media=media,
            text_exact=self.exact_text,
            call_seconds=self._seconds(known, answer, media),
            notes=(*self._notes(answer), *self._batch_notes(cost, TokenCounts.sum((most, answer.assumed)))),
            tier=self.tier,
            list_cost=listed,
        )

    def _cached(self, sent: TokenCounts, answer: TokenCounts) -> Cost | None:
        """Return the cost if everything before the last question comes from the service's cache."""
        if not self.pricing.has_cache:
            return None
        last = next((one for one in reversed(self.request.messages) if one.role == "user"), None)
        question = (
            () if last is None else (replace(last, parts=tuple(p for p in last.parts if isinstance(p, TextPart))),)
        )
        count = count_text if self.exact_text else nearly
        before = sent.input - count_words(question, self.profile.tokens, count)
        cached = replace(sent, cached=before) if before >= FEWEST_CACHED else sent
        return self.pricing.cost(cached, answer)

    def _seconds(self, known: TokenCounts, answer: AnswerLength, media: tuple[MediaEstimate, ...]) -> float:
        inside = sum(piece.upload_bytes for piece in media if piece.route == "inline")
        text = answer.assumed.text_out if self.request.options.max_tokens is None else answer.most.text_out
        out = text + answer.assumed.thinking_out + answer.assumed.audio_out
        sending = inside * 8 / (self.settings.uplink_mbps * 1e6)
        return sending + FIRST_TOKEN_SECONDS + known.input / _READ_PER_SECOND + out / TOKENS_PER_SECOND

    def _words(self) -> int:
        options, rules = self.request.options, self.profile.tokens
        count = count_text if self.exact_text else nearly
        schema = json.dumps(dict(options.json_schema), ensure_ascii=False) if options.json_schema else ""
        text = count_words(self.request.messages, rules, count) + count_tools(options.tools, rules, count)
        return text + count(schema, rules.vocabulary)

    def problems(self, made: Estimate) -> dict[str, str]:
        """Return the limits that the call exceeds, in words, each with the same in a few words, if there are any."""
        most_in = made.most.input
        found = {piece.problem: piece.brief for piece in made.media if piece.problem}
        try:
            check_model(self.request.model, self.settings.base_url)
            check_call_tier(self.request, self.settings)
            check_ranges(self.request, self.profile, self.settings.server_of(self.request.model).dialect)
            check_conversation(self.request.messages, self.profile)
        except _REFUSALS as error:
            found[str(error)] = getattr(error, "brief", "")
        room = self.profile.max_input
        if thinks(self.profile, self.request.options) and self.profile.max_input_thinking:
            room = self.profile.max_input_thinking
        room = min(room, MOST_INPUT) if self.tier == "batch" else room
        brief = f"too many tokens: {room:,} at most"
        if made.input_tokens > room:
            found[f"{made.input_tokens:,} tokens go in; {self.request.model} takes {room:,}. Send less of it."] = brief
        elif most_in > room:
            found[f"up to {most_in:,} tokens may go in; {self.request.model} takes {room:,}."] = brief
        if self.settings.spend_limit is not None:
            try:
                self.settings.spend_limit.check(made)
            except (SpendLimitError, ConfigurationError) as error:
                found[str(error)] = "over the spend limit"
        return found

    def _batch_notes(self, cost: Cost, tokens: TokenCounts) -> tuple[str, ...]:
        if self.tier != "batch":
            return ()
        notes = [f"no cache discount and no free quota in Batch Chat; {SHARE:.0%} off is a promotion ({PROMOTION})"]
        dearer = dearer_than_real_time(cost, tokens, self._pricing(DEFAULT_MODEL))
        return (*notes, dearer) if dearer and "omni" in self.profile.name else tuple(notes)

    def _notes(self, answer: AnswerLength) -> tuple[str, ...]:
        notes = [answer.note]
        if not self.exact_text:
            notes.append(
                f"text is counted without its vocabulary, to within {TEXT_ERROR:.0%}; install qwen-omni[tokenizer]"
            )
        if self.region is None:
            notes.append("the address belongs to no known region; the mainland's prices are used")
        if self.pricing.prices:
            rate = self.pricing.rate
            notes.append(f"{rate.cny_per_usd:g} yuan to the dollar, {rate.source}")
        return (*notes, *self.pricing.notes)


def dearer_than_real_time(cost: Cost, tokens: TokenCounts, fast: Pricing) -> str:
    """Return a note if a batch call costs more than the same tokens in real time with another model; else empty."""
    other = fast.cost(tokens)
    if cost.cny is None or other.cny is None or cost.cny <= other.cny:
        return ""
    return (
        f"batch is dearer here: {fast.model} takes CNY {other.cny:.4g} for the same tokens in real time, and "
        f"{cost.pricing.model} CNY {cost.cny:.4g} at half price"
    )


def check_call_tier(request: ChatRequest, settings: Settings) -> None:
    """Check that Batch Chat takes a call that is meant for it, before anything is opened or sent.

    Raises:
        ConfigurationError: another model, another region, or a server without Batch Chat.
    """
    if settings.tier_of(request.options.tier) != "batch":
        return
    refused = why_not(request.model, region_of(settings.base_url), "chat")
    if refused:
        raise ConfigurationError(f'{refused} Drop tier="batch", or choose another model.')
    settings.for_tier("batch")


def _untouched(text: TokenCounts, media: tuple[MediaEstimate, ...]) -> TokenCounts | None:
    untouched = [piece.as_is for piece in media if piece.as_is is not None]
    return TokenCounts.sum((text, *untouched)) if len(untouched) == len(media) else None


def _with_budget(message: Message, budget: MediaBudget | BudgetName) -> Message:
    parts = tuple(
        replace(part, budget=budget) if isinstance(part, VideoPart | ImagePart) else part for part in message.parts
    )
    return replace(message, parts=parts)
