"""Ask for an object: the request, JSON mode, one repair, truncation. Every entry point decides these here only.

The frameworks have their own types, so a question (`Q`) and an answer (`A`) are opaque here: `ObjectQuestion` knows how
to inspect an answer and how to ask again. `ask_for_object` is a generator that yields questions and receives answers;
`flow.drive` and `flow.adrive` send them.

An answer is complete, or it is an error:

- It violates the schema: it is requested once more, with a list of the problems; then `CaptionSyntaxError`.
- It was truncated by the token limit or content inspection, or its text ends inside the object whatever the service
    reports: `TruncatedAnswerError` with what arrived. There is no retry: the next answer would be cut there again,
    and billed. `allow_truncated=True` accepts a truncated object that satisfies the schema, with a flag.
"""

import warnings
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Generic, Protocol, TypeVar

from qwen_omni.errors import CaptionSyntaxError, QwenOmniError, TruncatedAnswerError
from qwen_omni.messages import Message, TextPart, media_of, user
from qwen_omni.options import ChatOptions, ChatRequest, Effort, Tier
from qwen_omni.pricing import costs
from qwen_omni.profiles import Profile, profile_for
from qwen_omni.responses import Response, Usage
from qwen_omni.structured.parse import CaptionStream, Parsed, parse_caption
from qwen_omni.structured.schema import CaptionSchema, complaint, instructions

T = TypeVar("T")
Q = TypeVar("Q")
A = TypeVar("A")

_CUT = frozenset({"length", "content_filter", "max_tokens", "model_length"})
"""Finish reasons of a truncated answer, from the service and other models."""
_WHY = {
    "length": "at the limit of output tokens; allow more (max_tokens), or ask for less",
    "content_filter": "because content inspection stopped it; asking in other words may help",
    "incomplete": "although the service calls it complete; ask again, or ask for less",
}
_LONGEST_REPEATED = 4000
"""Characters of a bad answer sent back with the repair request; a runaway answer would be billed in full."""


class TruncatedAnswerWarning(UserWarning):
    """A truncated object was accepted because of `allow_truncated=True`."""


@dataclass(frozen=True, slots=True)
class AnswerText:
    """The parts of an answer that decide what becomes of it.

    Attributes:
        text: the text that holds the object, or the arguments of the tool call that does.
        finish_reason: why the model stopped, if known.
        usage: usage of the answer, if known; errors carry it, because a bad answer is billed all the same.
    """

    text: str
    finish_reason: str | None = None
    usage: Usage | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadOptions:
    """How answers are parsed.

    Attributes:
        schema: the schema of the answer.
        facts: context for validators, such as `{"duration": 60.0}`.
        allow_truncated: accept a truncated object if it satisfies the schema.
    """

    schema: CaptionSchema
    facts: Mapping[str, Any] = field(default_factory=dict)
    allow_truncated: bool = False


def read_answer(answer: AnswerText, options: ReadOptions) -> Parsed:
    """Parse the object of a complete answer.

    Raises:
        TruncatedAnswerError: it was truncated.
        CaptionSyntaxError: it holds no JSON, or JSON that violates the schema.
    """
    return _read(lambda: parse_caption(answer.text or "", options.schema, facts=options.facts), answer, options)


class ObjectStream:
    """Parses an object while its answer arrives: `feed` returns partials, `end` what `read_answer` returns."""

    def __init__(self, options: ReadOptions, *, shows: bool = True) -> None:
        self._options, self._shows = options, shows
        self._finish: str | None = None
        self._usage: Usage | None = None
        self.restart()

    def restart(self) -> None:
        """Drop what was fed: another text, such as the arguments of a tool call, is the answer."""
        self._stream = CaptionStream(self._options.schema, facts=self._options.facts, shows=self._shows)
        self._pieces: list[str] = []
        self._unreadable = False

    def take(self, piece: AnswerText) -> dict[str, Any] | list[Any] | None:
        """Add a piece, with what it says about the end of the answer; return what `feed` returns."""
        self._finish = piece.finish_reason or self._finish
        self._usage = piece.usage or self._usage
        return self.feed(piece.text) if piece.text else None

    def feed(self, piece: str) -> dict[str, Any] | list[Any] | None:
        """Add a piece; return the new partial, or `None` if there is nothing new to show."""
        self._pieces.append(piece)
        if self._unreadable:
            return None
        try:
            return self._stream.feed(piece)
        except CaptionSyntaxError:
            self._unreadable = True  # raised at the end, when the finish reason is known
            return None

    def end(self, finish_reason: str | None = None, usage: Usage | None = None) -> Parsed:
        """Parse the complete answer; raises as `read_answer` does."""
        answer = AnswerText("".join(self._pieces), finish_reason or self._finish, usage or self._usage)
        if self._unreadable:
            return read_answer(answer, self._options)
        return _read(self._stream.end, answer, self._options)


def _read(parse: Callable[[], Parsed], answer: AnswerText, options: ReadOptions) -> Parsed:
    try:
        parsed = parse()
    except CaptionSyntaxError as error:
        error.usages = _known(answer.usage)
        reason = _reason(answer, ends_inside=error.truncated)
        raise error if reason is None else _truncated(answer, reason, error.kept) from error.__cause__
    reason = _reason(answer, ends_inside=parsed.truncated)
    if reason is None:
        return parsed
    if options.allow_truncated:
        return replace(parsed, truncated=True)
    raise _truncated(answer, reason, parsed.read)


def _reason(answer: AnswerText, *, ends_inside: bool) -> str | None:
    """Return why an answer is not complete; `None` if it is."""
    reason = (answer.finish_reason or "").lower()
    if reason in _CUT:
        return "content_filter" if reason == "content_filter" else "length"
    return "incomplete" if ends_inside else None


def _truncated(answer: AnswerText, reason: str, partial: object) -> TruncatedAnswerError:
    what = "The answer was cut" if reason != "incomplete" else "The answer ends inside the object"
    error = TruncatedAnswerError(
        f"{what} after {len(answer.text):,} characters, {_WHY[reason]}. What arrived is in the error's `partial`.",
        partial=partial,
        text=answer.text,
        reason=reason,
    )
    error.usages = _known(answer.usage)
    return error


def _known(*usages: Usage | None) -> tuple[Usage, ...]:
    return tuple(usage for usage in usages if usage is not None)


def warn_if_truncated(parsed: Parsed) -> Any:  # noqa: ANN401  (whatever the schema says)
    """Return the object alone, for callers that return nothing else; a truncated one is accepted with a warning."""
    if parsed.truncated:
        warnings.warn(
            "The answer was truncated: the end of the object is missing (allow_truncated=True).",
            TruncatedAnswerWarning,
            stacklevel=3,
        )
    return parsed.value


# --- Asking and repairing ---


@dataclass(frozen=True, kw_only=True)  # not slots: a frozen generic class cannot be called with its types then
class ObjectQuestion(Generic[Q, A]):
    """A question whose answer is an object.

    Attributes:
        question: the question, in the caller's own type.
        look: extracts what decides about an answer.
        again: builds the repair request from the question, the model's answer, and what is wrong with it.
        reading: how answers are parsed.
        repair: ask once more if an answer violates the schema.
    """

    question: Q
    look: Callable[[A], AnswerText]
    again: Callable[[Q, str, str], Q]
    reading: ReadOptions
    repair: bool = True


def ask_for_object(asked: ObjectQuestion[Q, A]) -> Generator[Q, A, tuple[Parsed, tuple[A, ...]]]:
    """Yield questions, receive answers, return the object and all answers: one question, and one repair if needed.

    An error thrown in by the caller ends it. If that is transient, the repair is abandoned and the problem of the first
    answer is raised instead, so that the first question, which was paid for, is not sent again.

    Raises:
        CaptionSyntaxError: the last answer violates the schema.
        TruncatedAnswerError: an answer was truncated.
    """
    first = yield asked.question
    seen = asked.look(first)
    try:
        return read_answer(seen, asked.reading), (first,)
    except CaptionSyntaxError as error:
        if not asked.repair:
            raise
        wrong = error
    try:
        second = yield asked.again(asked.question, shortened(wrong.text), complaint(wrong))
    except QwenOmniError as failure:
        if not failure.retryable:
            raise
        wrong.add_note(f"The repair request failed: {failure}")
        raise wrong from failure
    try:
        return read_answer(asked.look(second), asked.reading), (first, second)
    except (CaptionSyntaxError, TruncatedAnswerError) as error:
        error.usages = _known(seen.usage) + error.usages
        error.add_note("Asked twice: the first answer did not follow the schema either.")
        raise


def shortened(text: str) -> str:
    """Shorten a bad answer for the repair request to its beginning and its end.

    Example:
        >>> len(shortened("x" * 100_000)) < 5000, shortened("")
        (True, '(nothing)')
    """
    if len(text) <= _LONGEST_REPEATED:
        return text or "(nothing)"
    half = _LONGEST_REPEATED // 2
    return f"{text[:half]}\n[… {len(text) - 2 * half:,} characters left out …]\n{text[-half:]}"


# --- The core's own requests ---


def json_mode(profile: Profile, json_schema: Mapping[str, Any] | None = None) -> bool:
    """Whether to use JSON mode: where the model has it, and only for objects (it supports nothing else)."""
    return profile.json_object and (json_schema is None or json_schema.get("type") != "array")


def follows_media(profile: Profile, rules: str, *, shows_media: bool, many_media: bool = False) -> bool:
    """Whether rules about the answer follow the media in the user message; else they are a system message.

    An implicit cache charges less for a beginning that requests share. Where a medium has many questions, that is the
    medium, so what differs comes after it; the documented prompts of these models have their schema there, too. Where
    many media have one question, it is the rules, if they alone are long enough to be cached.

    Args:
        profile: the model.
        rules: the text to place.
        shows_media: whether the last user message holds media.
        many_media: whether the same is asked about many media.
    """
    if not shows_media or profile.cache_prefix is None:
        return False
    if not many_media or len(rules) < profile.cache_prefix:  # counting takes longer, and a token is a letter or more
        return True
    return costs.count_text(rules, profile.tokens.vocabulary) < profile.cache_prefix


def with_rules(
    messages: tuple[Message, ...], rules: str, profile: Profile, *, many_media: bool = False
) -> tuple[Message, ...]:
    """Add rules about the answer to a conversation: after its media, or to its system message (`follows_media`)."""
    last = next((index for index in reversed(range(len(messages))) if messages[index].role == "user"), None)
    shows = last is not None and any(map(media_of, messages[last].parts))
    if last is not None and rules and follows_media(profile, rules, shows_media=shows, many_media=many_media):
        asked = replace(messages[last], parts=(*messages[last].parts, TextPart(text=rules)))
        return (*messages[:last], asked, *messages[last + 1 :])
    return with_system_text(messages, rules)


def with_system_text(messages: tuple[Message, ...], text: str) -> tuple[Message, ...]:
    """Add a text to the system message of a conversation, or create one."""
    part = TextPart(text=text)
    if not text:
        return messages
    if messages and messages[0].role == "system":
        return (replace(messages[0], parts=(*messages[0].parts, part)), *messages[1:])
    return (Message(role="system", parts=(part,)), *messages)


def object_request(  # noqa: PLR0913  (one keyword per choice)
    schema: CaptionSchema,
    question: Message,
    *,
    model: str,
    rules: str | None = None,
    thinking: bool | Effort = False,
    many_media: bool = False,
    tier: Tier | None = None,
    profile: Profile | None = None,
) -> ChatRequest:
    """Build the request for an object: JSON mode if available, the schema in the prompt, thinking off.

    Args:
        schema: the schema of the answer.
        question: the user message.
        model: the model to ask.
        rules: what the prompt says about the answer; `instructions` of the schema if not given.
        thinking: whether the model reasons first.
        many_media: whether the same is asked about many media.
        tier: `"batch"` asks at half price; see `ChatOptions`.
        profile: what the model can do on its server; the hosted model's, if not given.
    """
    profile = profile or profile_for(model)
    text = instructions(schema) if rules is None else rules
    return ChatRequest(
        model=model,
        messages=with_rules((question,), text, profile, many_media=many_media),
        options=ChatOptions(thinking=thinking, json_mode=json_mode(profile, schema.json_schema), tier=tier),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class CaptionResult(Generic[T]):
    """An object and how it was obtained.

    Attributes:
        value: the validated object.
        truncated: whether the answer was truncated (`allow_truncated=True`); the last text may be incomplete.
        mended: kinds of mistakes in the JSON that were tolerated.
        responses: the model's answers; two if the first violated the schema.
    """

    value: T
    truncated: bool = False
    mended: tuple[str, ...] = ()
    responses: tuple[Response, ...] = ()

    @property
    def repaired(self) -> bool:
        """Whether a repair request was needed."""
        return len(self.responses) > 1

    @property
    def usages(self) -> tuple[Usage, ...]:
        """Usage of each answer, as reported by the service."""
        return tuple(response.usage for response in self.responses if response.usage is not None)

    def _repr_html_(self) -> str:
        from qwen_omni.structured.cards import result_card  # noqa: PLC0415 - only notebooks need it

        card = result_card(self.value, self.responses, truncated=self.truncated, mended=self.mended)
        return card.to_html()


@dataclass(frozen=True, slots=True, kw_only=True)
class CaptionPlan(ReadOptions):
    """The request to send, how to parse its answer, and whether to ask once more if that violates the schema."""

    request: ChatRequest
    repair: bool = True


def ask_until_valid(plan: CaptionPlan) -> Generator[ChatRequest, Response, CaptionResult[Any]]:
    """Yield requests, receive answers, return the object; raises as `ask_for_object` does."""
    asked = ObjectQuestion[ChatRequest, Response](
        question=plan.request,
        look=lambda response: AnswerText(response.text, response.finish_reason, response.usage),
        again=_repair_request,
        reading=plan,
        repair=plan.repair,
    )
    parsed, responses = yield from ask_for_object(asked)
    return CaptionResult(value=parsed.value, truncated=parsed.truncated, mended=parsed.mended, responses=responses)


def _repair_request(request: ChatRequest, said: str, wrong: str) -> ChatRequest:
    """Ask again in the same conversation, with the media, so that missing facts are looked up and not made up."""
    answer = Message(role="assistant", parts=(TextPart(text=said),))
    return replace(request, messages=(*request.messages, answer, user(wrong)))


class Asker(Protocol):
    """Answers requests; `OmniClient` is one."""

    def complete(self, request: ChatRequest, /) -> Response:
        """Return the complete answer."""


class AsyncAsker(Protocol):
    """Answers requests in `asyncio`; `AsyncOmniClient` is one."""

    async def complete(self, request: ChatRequest, /) -> Response:
        """Return the complete answer."""


def carry_out(plan: CaptionPlan, client: Asker) -> CaptionResult[Any]:
    """Send a planned request; raises as `ask_for_object` does."""
    from qwen_omni.transport.flow import drive  # noqa: PLC0415 - the chat models send by themselves

    return drive(ask_until_valid(plan), client.complete)


async def acarry_out(plan: CaptionPlan, client: AsyncAsker) -> CaptionResult[Any]:
    """Send a planned request; the asynchronous `carry_out`."""
    from qwen_omni.transport.flow import adrive  # noqa: PLC0415 - the chat models send by themselves

    return await adrive(ask_until_valid(plan), client.complete)
