"""A request's estimate before it is sent, and the length its answer is assumed to have. `estimator` creates them."""

from dataclasses import asdict, dataclass, field, fields
from typing import Any

from qwen_omni.messages import Route
from qwen_omni.options import ChatOptions
from qwen_omni.pricing.costs import Cost, TokenCounts
from qwen_omni.profiles import Profile, Region

# Our own assumption for an answer that nothing limits: a page of text; twice as much reasoning; speech at
# 0.3 s per token of text.
USUAL_ANSWER, USUAL_THINKING, SPOKEN_SECONDS = 500, 1_000, 0.3


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaEstimate:
    """One piece of media.

    Attributes:
        place: its place in the request, e.g. "message 0 part 1".
        label: its path, its link without the query, or its size.
        kind: image, audio or video; a list of frames is a video.
        doing: what is done with it before it is sent, and why.
        tokens: what it is billed, by kind; for a link, the lower bound.
        most: the upper bound; more than `tokens` only if something is not known.
        as_is: what the untouched original would be billed with the service's own sampling; `None` if unknown.
        seconds: its duration; `None` for images, links, and files that do not state it.
        size_bytes: size of the file that is sent.
        upload_bytes: what it adds to the request or to an upload: base64 is a third longer than the file.
        original_bytes: size of the untouched file.
        route: how it is sent; `None` if no route is available.
        exact: it has been prepared, so nothing about it is predicted.
        problem: the limit that it exceeds, in words; empty if none.
        unknown: what is not known about it, in words; empty if everything is known.
    """

    place: str
    label: str
    kind: str
    doing: str
    tokens: TokenCounts
    most: TokenCounts
    as_is: TokenCounts | None = None
    seconds: float | None = None
    size_bytes: int = 0
    upload_bytes: int = 0
    original_bytes: int = 0
    route: Route | None = None
    exact: bool = False
    problem: str = ""
    unknown: str = ""


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
        media: each piece of media.
        text_exact: whether text was counted with the model's vocabulary rather than approximately.
        problems: limits that the call exceeds, in words. It would be refused.
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
    media: tuple[MediaEstimate, ...] = ()
    text_exact: bool = False
    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = field(default=())

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
        """Whether everything about the input is known."""
        return not any(piece.unknown for piece in self.media)

    @property
    def upload_bytes(self) -> int:
        """Bytes that media add to the request and to uploads."""
        return sum(piece.upload_bytes for piece in self.media)

    @property
    def seconds(self) -> float:
        """Total duration of the media, as far as it is known."""
        return sum(piece.seconds or 0.0 for piece in self.media)

    def lines(self) -> list[str]:
        """Return a readable explanation, line by line.

        Example:
            print(*estimate("promo.mp4").lines(), sep="; ")
        """
        lines = [f"{self.model}: {_counted(self.tokens)} assumed", f"cost: {_money(self.cost)}{_range(self)}"]
        if self.as_is is not None and self.media:
            same = f"untouched, sampled the service's own way: {self.as_is.input:,} tokens in"
            lines.append(same + (f", {_money(self.cost_as_is)}" if self.cost_as_is is not None else ""))
        lines += [f"{piece.place}: {piece.label}: {_described(piece)}" for piece in self.media]
        lines += [f"would be refused: {problem}" for problem in self.problems]
        return lines + [f"assumed: {note}" for note in self.notes]

    def as_dict(self) -> dict[str, Any]:
        """Return the estimate in plain JSON types."""
        shown = {one.name: getattr(self, one.name) for one in fields(self)}
        for name in ("cost_low", "cost", "cost_high", "cost_as_is"):
            shown[name] = _money_of(shown[name])
        shown["media"] = [asdict(piece) for piece in self.media]
        for name in ("tokens", "most", "as_is"):
            shown[name] = None if shown[name] is None else {**asdict(shown[name]), "input": shown[name].input}
        return {**shown, "upload_bytes": self.upload_bytes, "seconds": self.seconds, "exact": self.exact,
                "known": self.known, "problems": list(self.problems), "notes": list(self.notes)}  # fmt: skip


def _counted(tokens: TokenCounts) -> str:
    kinds = ", ".join(
        f"{kind} {count:,}" for kind in ("text", "image", "video", "audio") if (count := getattr(tokens, kind))
    )
    return f"{tokens.input:,} tokens in ({kinds or 'nothing'}), {tokens.output:,} out"


def _money(cost: Cost | None) -> str:
    if cost is None or cost.cny is None or cost.usd is None:
        return "no price is known"
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
