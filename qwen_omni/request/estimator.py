"""`estimate`: what a call will use and cost, before any of it is sent. Only opens and inspects local files.

`media_estimate` covers each piece of media; this module adds text, the answer, the price and what would be refused.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from qwen_omni.errors import (
    ConfigurationError,
    MediaDoesNotFitError,
    SpendLimitError,
    UnsupportedContentError,
    UnsupportedMediaError,
)
from qwen_omni.media.budget import BudgetName, MediaBudget
from qwen_omni.media.info import AudioTrackChoice, MediaKind
from qwen_omni.media.inspect import PrepareOptions, look_at
from qwen_omni.media.prepared import Prepared
from qwen_omni.media.source import Anything, MediaSource, as_source
from qwen_omni.messages import AudioPart, FramesPart, ImagePart, MediaPart, Message, Part, VideoPart
from qwen_omni.options import ChatOptions, ChatRequest
from qwen_omni.pricing.costs import Pricing, TokenCounts, pricing_for
from qwen_omni.pricing.text_tokens import TEXT_ERROR, count_text, is_exact, nearly
from qwen_omni.profiles import DEFAULT_MODEL, Profile, profile_for
from qwen_omni.ranges import TOKENS, checked
from qwen_omni.request.accounting import count_tools, count_words
from qwen_omni.request.estimate import AnswerLength, Estimate, MediaEstimate, answer_of, thinks
from qwen_omni.request.limits import check_conversation
from qwen_omni.request.media_estimate import MediaEstimator
from qwen_omni.request.prepare import FittedMedia
from qwen_omni.request.question import as_part, kind_of
from qwen_omni.settings import Settings, region_of
from qwen_omni.wire.request import check_ranges

Askable = Anything | Prepared | Part | Message
"""A path or URL, bytes, media prepared or not, a part or a whole message."""

_USUAL = ChatOptions()


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
    if answer_tokens is not None:
        answer_tokens = checked("answer_tokens", answer_tokens, TOKENS)
    settings = settings or Settings.load(needs_key=False)
    held: dict[MediaSource, Prepared] = {}
    if isinstance(what, ChatRequest):
        request = what
    else:
        request = ChatRequest(model=model, messages=_messages(what, held, settings.media_root), options=options)
    if budget is not None:
        request = replace(request, messages=tuple(_with_budget(message, budget) for message in request.messages))
    call = EstimatedCall(request=request, settings=settings)
    estimator = MediaEstimator(request=request, profile=call.profile, settings=settings, ready=held)
    made = call.estimate(estimator.estimate_all(), answer_tokens)
    return replace(made, problems=call.problems(made))


def estimate_fitted(request: ChatRequest, fitted: FittedMedia, settings: Settings) -> Estimate:
    """Return what a call whose media are checked, fitted and about to be sent will use and cost.

    Its text is counted approximately, even if a vocabulary is installed: no call waits for one to load.
    """
    sent = replace(request, messages=fitted.messages)
    call = EstimatedCall(request=sent, settings=settings, exact_text=False)
    if not fitted.media:
        return call.estimate((), None)
    ready = {source: one.ready.held for source, one in fitted.media.items() if isinstance(one.ready.held, Prepared)}
    routes = {source: one.route for source, one in fitted.media.items()}
    estimator = MediaEstimator(request=sent, profile=call.profile, settings=settings, ready=ready, routes=routes)
    return call.estimate(estimator.estimate_all(), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class EstimatedCall:
    """One call, with everything that decides its price. Pure: its media have already been inspected."""

    request: ChatRequest
    settings: Settings
    exact_text: bool = field(default_factory=is_exact)
    profile: Profile = field(init=False)
    pricing: Pricing = field(init=False)

    def __post_init__(self) -> None:
        settings = self.settings
        pricing = pricing_for(
            self.request.model, region_of(settings.base_url), prices=settings.prices, rate=settings.exchange_rate
        )
        object.__setattr__(self, "profile", profile_for(self.request.model))
        object.__setattr__(self, "pricing", pricing)

    def estimate(self, media: tuple[MediaEstimate, ...], answer_tokens: int | None) -> Estimate:
        """Combine the parts into one estimate."""
        options = self.request.options
        answer = answer_of(self.profile, options, answer_tokens)
        text = TokenCounts(text=self._words())
        known = _sum(text, *(piece.tokens for piece in media))
        most = _sum(text, *(piece.most for piece in media))
        as_is = _untouched(text, media)
        return Estimate(
            model=self.request.model,
            region=region_of(self.settings.base_url),
            tokens=known + answer.assumed,
            most=most + answer.most,
            cost_low=self.pricing.cost(known),
            cost=self.pricing.cost(most + answer.assumed),
            cost_high=self.pricing.cost(most + answer.most),
            as_is=as_is,
            cost_as_is=None if as_is is None else self.pricing.cost(as_is + answer.assumed),
            media=media,
            text_exact=self.exact_text,
            notes=self._notes(answer),
        )

    def _words(self) -> int:
        options, rules = self.request.options, self.profile.tokens
        count = count_text if self.exact_text else nearly
        schema = json.dumps(dict(options.json_schema), ensure_ascii=False) if options.json_schema else ""
        text = count_words(self.request.messages, rules, count) + count_tools(options.tools, rules, count)
        return text + count(schema, rules.vocabulary)

    def problems(self, made: Estimate) -> tuple[str, ...]:
        """Return the limits that the call exceeds, in words."""
        most_in = made.most.input
        found = [piece.problem for piece in made.media if piece.problem]
        try:
            check_ranges(self.request, self.profile, self.settings.dialect_used)
            check_conversation(self.request.messages, self.profile)
        except (ConfigurationError, MediaDoesNotFitError, UnsupportedContentError, UnsupportedMediaError) as error:
            found.append(str(error))
        room = self.profile.max_input
        if thinks(self.profile, self.request.options) and self.profile.max_input_thinking:
            room = self.profile.max_input_thinking
        if made.input_tokens > room:
            found.append(f"{made.input_tokens:,} tokens go in; {self.request.model} takes {room:,}. Send less of it.")
        elif most_in > room:
            found.append(f"up to {most_in:,} tokens may go in; {self.request.model} takes {room:,}.")
        if self.settings.spend_limit is not None:
            try:
                self.settings.spend_limit.check(made)
            except (SpendLimitError, ConfigurationError) as error:
                found.append(str(error))
        return tuple(found)

    def _notes(self, answer: AnswerLength) -> tuple[str, ...]:
        notes = [answer.note]
        if not self.exact_text:
            notes.append(
                f"text is counted without its vocabulary, to within {TEXT_ERROR:.0%}; install qwen-omni[tokenizer]"
            )
        if region_of(self.settings.base_url) is None:
            notes.append("the address belongs to no known region; the mainland's prices are used")
        if self.pricing.prices:
            rate = self.pricing.rate
            notes.append(f"{rate.cny_per_usd:g} yuan to the dollar, {rate.source}")
        return (*notes, *self.pricing.notes)


def _sum(*counts: TokenCounts) -> TokenCounts:
    return sum(counts, TokenCounts())


def _untouched(text: TokenCounts, media: tuple[MediaEstimate, ...]) -> TokenCounts | None:
    untouched = [piece.as_is for piece in media if piece.as_is is not None]
    return _sum(text, *untouched) if len(untouched) == len(media) else None


def _messages(
    what: Askable | Sequence[Askable], held: dict[MediaSource, Prepared], media_root: Path
) -> tuple[Message, ...]:
    """Build a conversation from whatever was passed: messages stay messages, everything else becomes parts of one."""
    many = list(what) if isinstance(what, Sequence) and not isinstance(what, str | bytes) else [what]
    messages: list[Message] = []
    loose: list[Part] = []
    for one in many:
        if isinstance(one, Message):
            messages.append(one)
        else:
            loose.append(_part(one, held, media_root))
    if loose:
        messages.append(Message(role="user", parts=tuple(loose)))
    return tuple(messages)


def message_of(
    media: Sequence[Anything],
    media_root: Path = Path(),
    *,
    audio_track: AudioTrackChoice = "auto",
    tile: bool = True,
    frame: int | None = None,
) -> Message:
    """Build one message from media named by the program's user; local files are inspected to learn their kind.

    Args:
        media: paths (they may lie anywhere), URLs, bytes or sources.
        media_root: the folder that `file://` URLs, and sources from messages, must lie in.
        audio_track: which audio track of videos and recordings is used.
        tile: whether tall or wide images may be sent as several images.
        frame: which frame of an animation, or page of a file, to send as an image, from 0.

    Raises:
        MediaError: a file is missing, damaged or not media, or a link does not show its kind.
    """
    if frame is None:
        parts: tuple[Part, ...] = tuple(_part(one, {}, media_root) for one in media)
    else:
        parts = tuple(ImagePart(source=as_source(one), tile=tile, frame=frame) for one in media)
    pictures = [part for part in parts if isinstance(part, ImagePart)]
    if audio_track != "auto" and pictures and len(pictures) == len(parts):
        from qwen_omni.request.question import refuse_track  # noqa: PLC0415 - a neighbour above

        refuse_track(pictures[0].source, "image")
    return Message(role="user", parts=tuple(_chosen(part, audio_track, tile=tile) for part in parts))


def _chosen(part: Part, audio_track: AudioTrackChoice, *, tile: bool) -> Part:
    match part:
        case VideoPart() | AudioPart():
            return replace(part, audio_track=audio_track)
        case ImagePart():
            return replace(part, tile=tile)
        case _:
            return part


def _part(one: Anything | Prepared | Part, held: dict[MediaSource, Prepared], media_root: Path) -> Part:
    if isinstance(one, Prepared):
        source = _source_of(one)
        held[source] = one
        part = _of_kind(one.info.kind, source)
        return part if isinstance(part, AudioPart | FramesPart) else replace(part, sampling=one.plan.sampling)
    if isinstance(one, Part):
        return one
    source = as_source(one)
    if source.url is not None:
        return as_part(source, kind_of(source))
    return _of_kind(look_at(source, choices=PrepareOptions(media_root=media_root)).info.kind, source)


def _source_of(made: Prepared) -> MediaSource:
    if made.path is not None:
        return MediaSource.from_path(made.path, media_type=made.info.media_type, trusted=True)
    return MediaSource.from_bytes(made.data or b"".join(still.data for still in made.stills))


def _of_kind(kind: MediaKind, source: MediaSource) -> MediaPart:
    match kind:
        case "image":
            return ImagePart(source=source)
        case "audio":
            return AudioPart(source=source)
        case "video":
            return VideoPart(source=source)


def _with_budget(message: Message, budget: MediaBudget | BudgetName) -> Message:
    parts = tuple(
        replace(part, budget=budget) if isinstance(part, VideoPart | ImagePart) else part for part in message.parts
    )
    return replace(message, parts=parts)
