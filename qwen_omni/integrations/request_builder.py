"""The arguments of a framework's call → a `ChatRequest`, its answer, its estimate, or its token count.

The adapters convert messages and tools to neutral values first; every decision about the call is made here, once. It
depends on the model's fields, overridden by the call's options, on the messages, and on the model's profile: if the
model does not support an answer format, the prompt asks for it instead.

If only a tool call counts as an answer, nothing is yielded before a tool is called; an answer that calls none is
requested once more, and then `NoToolCallError` is raised. The usage of both answers is added up.

The service accepts only text from tools. Images, audio and video that a tool returned go into a user message after the
tool results, in order.
"""

import contextlib
import json
from collections.abc import AsyncGenerator, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, get_args

from pydantic_core import to_jsonable_python

from qwen_omni.errors import (
    ConfigurationError,
    NoToolCallError,
    ToolArgumentsError,
    TruncatedAnswerError,
    UnsupportedContentError,
)
from qwen_omni.integrations.model_fields import CALL_FIELDS, CONNECTION_FIELDS, ConnectionOptions, with_our_names
from qwen_omni.messages import Message, Part, TextPart, ToolResultPart, media_of
from qwen_omni.options import ChatOptions, ChatRequest, Effort, OutputModality, Tool
from qwen_omni.pricing import costs
from qwen_omni.profiles import Profile, profile_for
from qwen_omni.responses import (
    Delta,
    Response,
    ResponseBuilder,
    SentMedia,
    ToolCallDelta,
    Usage,
    UsageDelta,
    read_arguments,
)
from qwen_omni.structured.ask import json_mode, with_rules, with_system_text
from qwen_omni.structured.schema import instructions
from qwen_omni.transport.flow import adrive, drive
from qwen_omni.wire.values import dump_usage as dump_usage, parse_usage as parse_usage  # noqa: PLC0414 - for adapters

if TYPE_CHECKING:
    from qwen_omni.client import AsyncOmniClient, OmniClient
    from qwen_omni.request.estimate import Estimate

_TOOL_OPTIONS = ("tools", "tool_choice", "parallel_tool_calls", "response_format")
_KNOWN = ("model", *CALL_FIELDS, *CONNECTION_FIELDS, *_TOOL_OPTIONS)

_JSON = "Answer with one JSON object and nothing else."
_MUST_CALL = "Answer by calling one of these tools: {names}. Do not answer in words."


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestPlan:
    """One call: the request, the connection, and whether only a tool call counts as an answer.

    Attributes:
        notes: decisions that the caller did not ask for; added to the answer's `response_metadata`.
    """

    request: ChatRequest
    connection: ConnectionOptions
    must_call: bool = False
    notes: dict[str, str] = field(default_factory=dict)

    def check(self, response: Response) -> Response:
        """Return the answer, after checking that it calls a tool if it must.

        Raises:
            NoToolCallError: none was called.
            TruncatedAnswerError: the answer was truncated inside the arguments of a call.
            ToolArgumentsError: no call has readable arguments.
        """
        if not self.must_call:
            return response
        if response.tool_calls:
            _check_arguments(response)
        else:
            names = ", ".join(tool.name for tool in self.request.options.tools)
            raise NoToolCallError(
                f"The model had to call one of its tools ({names}) and called none, even when asked twice. Make the "
                "prompt more explicit, or pass tool_choice='auto' to accept an answer in text.",
                partial=response,
            )
        return response

    def stream(self, client: "OmniClient") -> Generator[Delta, None, None]:
        """Yield the deltas of the answer; raises as the client does, and `NoToolCallError`."""
        if not self.must_call:
            yield from client.stream(self.request)
            return
        buffer, refused = RequiredToolCallBuffer(), Response()
        for _ in range(_TRIES):
            for delta in client.stream(self.request):
                yield from buffer.take(delta)
            if buffer.called:
                self.check(buffer.answer)
                return
            refused = buffer.again()
        self.check(refused)

    async def astream(self, client: "AsyncOmniClient") -> AsyncGenerator[Delta, None]:
        """Yield the deltas of the answer; see `stream`."""
        buffer, refused = RequiredToolCallBuffer(), Response()
        for _ in range(_TRIES):
            async with contextlib.aclosing(client.stream(self.request)) as deltas:
                async for delta in deltas:
                    for shown in buffer.take(delta) if self.must_call else (delta,):
                        yield shown
            if not self.must_call:
                return
            if buffer.called:
                self.check(buffer.answer)
                return
            refused = buffer.again()
        self.check(refused)

    def complete(self, client: "OmniClient") -> Response:
        """Return the whole answer; raises as `stream` does."""
        return drive(self._completing(), client.complete)

    async def acomplete(self, client: "AsyncOmniClient") -> Response:
        """Return the whole answer; see `complete`."""
        return await adrive(self._completing(), client.complete)

    def _completing(self) -> Generator[ChatRequest, Response, Response]:
        response = yield self.request
        if self.must_call and not response.tool_calls:
            again = yield self.request
            response = replace(again, usage=add_usage(response.usage, again.usage))
        return self.check(response)


_TRIES = 2


class RequiredToolCallBuffer:
    """Holds an answer back until it calls a tool. Pure.

    Example:
        >>> from qwen_omni.responses import TextDelta, ToolCallDelta
        >>> buffer = RequiredToolCallBuffer()
        >>> buffer.take(TextDelta("Let me look.")), len(buffer.take(ToolCallDelta(index=0, name="find")))
        ([], 2)
    """

    def __init__(self) -> None:
        self._held: list[Delta] = []
        self._before: Usage | None = None
        self._answer = ResponseBuilder()
        self.called = False
        """Whether a tool call has arrived."""

    def take(self, delta: Delta) -> list[Delta]:
        """Add one delta, and return those that may be shown."""
        if isinstance(delta, UsageDelta) and self._before is not None:
            delta = UsageDelta(add_usage(self._before, delta.usage))
        self._answer.add(delta)
        if self.called:
            return [delta]
        self._held.append(delta)
        if not isinstance(delta, ToolCallDelta):
            return []
        self.called = True
        return self._held

    @property
    def answer(self) -> Response:
        """The answer as far as it has arrived."""
        return self._answer.build()

    def again(self) -> Response:
        """Discard an answer without a tool call, keep its usage, and return it."""
        answer, self._answer, self._held = self.answer, ResponseBuilder(), []
        self._before = answer.usage or self._before
        return answer


def add_usage(first: Usage | None, second: Usage | None) -> Usage:
    """Add the usage of two answers, of which either may be unknown."""
    return (first or Usage()) + (second or Usage())


def _check_arguments(response: Response) -> None:
    """Raise if no call can be executed: agents would take such an answer as final, and end without a result."""
    wrong = [read for call in response.tool_calls if isinstance(read := read_arguments(call.arguments), str)]
    if len(wrong) < len(response.tool_calls):
        return
    first = response.tool_calls[0]
    if response.finish_reason in ("length", "content_filter"):
        error = TruncatedAnswerError(
            f"The answer was truncated ({response.finish_reason}) inside the arguments of {first.name!r}, after "
            f"{len(first.arguments):,} characters. Increase max_tokens, or request less.",
            partial=response,
            text=first.arguments,
            reason=response.finish_reason,
        )
        error.usages = () if response.usage is None else (response.usage,)
        raise error
    raise ToolArgumentsError(
        f"The model called {first.name!r} with arguments that cannot be read. {wrong[0]}",
        name=first.name,
        arguments=first.arguments,
    )


def plan_call(
    fields: Mapping[str, Any], conversation: tuple[Message, ...], options: Mapping[str, Any], *, who: str
) -> RequestPlan:
    """Plan one call.

    Args:
        fields: the model's own settings, `None` where not set.
        conversation: the messages.
        options: the options of this call; each overrides the field of the same name. `tools` are definitions in
            OpenAI's format.
        who: the name of the model's class, for errors.

    Raises:
        ConfigurationError: an option that does not exist, or has an invalid value.
    """
    asked = _checked(options, who)
    chosen = _laid_over(fields, asked)
    connection = ConnectionOptions(**{name: chosen.get(name) for name in CONNECTION_FIELDS})
    profile = connection.load(needs_key=False).profile(chosen["model"])
    calling = plan_tools(chosen.get("tools") or (), chosen.get("tool_choice"))
    form = _plan_form(chosen.get("response_format"), profile, conversation)
    settings = _settings(chosen)
    notes: dict[str, str] = {}
    why = _against_thinking(calling, form)
    if why and asked.get("thinking") is None:
        if profile.thinking != "none" and settings.get("thinking") is not False:
            notes["thinking"] = f"off: {why}"
        settings["thinking"] = False
    request = ChatRequest(
        model=chosen["model"],
        messages=with_rules(with_system_text(conversation, calling.instruction), form.instruction, profile),
        options=ChatOptions(
            **settings,
            tools=calling.tools,
            tool_choice=calling.choice,
            parallel_tool_calls=chosen.get("parallel_tool_calls"),
            json_mode=form.json_mode,
            json_schema=form.json_schema,
        ),
    )
    return RequestPlan(request=request, connection=connection, must_call=calling.must_call, notes=notes)


def _against_thinking(calling: "ToolChoice", form: "_Form") -> str:
    """Return why this call should or must run without thinking; empty if thinking is fine."""
    if calling.forced:
        return f"tool_choice forces a call of {calling.choice!r}, and the service refuses both at once"
    if form.json_mode or form.json_schema:
        return "the answer is to be JSON, which thinking may spoil"
    return ""


def _checked(given: Mapping[str, Any], who: str) -> dict[str, Any]:
    """Drop options that are not set; raise for unknown ones."""
    options = with_our_names(given, _KNOWN)
    unknown = [name for name in options if name not in _KNOWN]
    if unknown:
        raise ConfigurationError(
            f"{who} has no option {', '.join(map(repr, unknown))}; known options: {', '.join(_KNOWN)}. "
            "Pass other fields of the service's request in extra_body."
        )
    if isinstance(options.get("api_key"), str):
        raise ConfigurationError("Pass a call's api_key= as a SecretStr: options of a call appear in traces.")
    return {name: value for name, value in options.items() if value is not None}


def _laid_over(fields: Mapping[str, Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """Override the fields with a call's options; `base_url`, `region` and `workspace` replace each other."""
    chosen = dict(fields)
    if "base_url" in options or "region" in options:
        chosen |= {"base_url": None, "region": None, "workspace": None}
    elif "workspace" in options:
        chosen["base_url"] = None
    return {**chosen, **options}


def _settings(chosen: Mapping[str, Any]) -> dict[str, Any]:
    settings = {name: value for name in CALL_FIELDS if (value := chosen.get(name)) is not None}
    for name in ("stop", "modalities"):
        if name in settings:
            settings[name] = (settings[name],) if isinstance(settings[name], str) else tuple(settings[name])
    thinking, modalities = settings.get("thinking"), settings.get("modalities", ())
    if thinking is not None and not isinstance(thinking, bool) and thinking not in get_args(Effort):
        raise ConfigurationError(f"thinking={thinking!r}: pass True, False or one of {', '.join(get_args(Effort))}.")
    if not set(modalities) <= set(get_args(OutputModality)):
        raise ConfigurationError(f'modalities={list(modalities)!r}: pass ["text"] or ["text", "audio"].')
    return settings


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolChoice:
    """The available tools, and whether one must be called.

    Attributes:
        wanted: the caller's choice: auto, none, required or a name.
        choice: the choice sent to the service.
        must_call: only a tool call counts as an answer.
        instruction: text to add to the prompt.
    """

    tools: tuple[Tool, ...] = ()
    wanted: str | None = None
    choice: str | None = None
    must_call: bool = False
    instruction: str = ""

    @property
    def forced(self) -> bool:
        """Whether the service itself is made to call a tool."""
        return self.choice not in (None, "auto", "none")


def plan_tools(tools: Sequence[Mapping[str, Any]], choice: object) -> ToolChoice:
    """Plan the use of tools that are defined in OpenAI's format.

    Raises:
        ConfigurationError: a tool that is not a function, or a choice that names none of them.
    """
    known = tuple(to_tool(tool) for tool in tools)
    names = [tool.name for tool in known]
    wanted = to_choice(choice)
    if wanted in (None, "auto", "none"):
        return ToolChoice(tools=known, wanted=wanted, choice=wanted)
    if wanted != "required" and wanted not in names:
        raise ConfigurationError(f"tool_choice={wanted!r} is not a tool; available: {', '.join(names) or 'none'}.")
    if wanted != "required" or len(names) == 1:
        named = names[0] if wanted == "required" else wanted
        return ToolChoice(tools=known, wanted=wanted, choice=named, must_call=wanted == "required")
    if not names:
        raise ConfigurationError(f"tool_choice={choice!r} needs tools; none were given.")
    # The service accepts one name or none; "any of these" is requested in the prompt and checked in the answer.
    instruction = _MUST_CALL.format(names=", ".join(names))
    return ToolChoice(tools=known, wanted=wanted, choice="auto", must_call=True, instruction=instruction)


def to_tool(definition: Mapping[str, Any]) -> Tool:
    """Read a tool in OpenAI's format: `{"type": "function", "function": {"name": …}}`.

    Raises:
        ConfigurationError: it is not a function.
    """
    function = definition.get("function")
    if not isinstance(function, Mapping):
        raise ConfigurationError(
            f"The tool {str(definition.get('type', definition))[:60]!r} is not a function; "
            "only functions can be called (web search is enable_search=True)."
        )
    return Tool(
        name=function["name"],
        description=function.get("description") or "",
        parameters=function.get("parameters") or {"type": "object", "properties": {}},
        strict=function.get("strict"),
    )


def to_choice(choice: object) -> str | None:
    """Read any form of `tool_choice`: auto, none, any, required, a name, a dictionary, a boolean.

    Raises:
        ConfigurationError: the value has none of these forms.
    """
    match choice:
        case None | "auto" | "none":
            return choice
        case "any" | "required" | True:
            return "required"
        case False:
            return "none"
        case str(name) | {"function": {"name": str(name)}} | {"name": str(name)}:
            return name
        case {"type": str(kind)}:
            return to_choice(kind)
        case _:
            raise ConfigurationError(
                f"tool_choice={choice!r}: pass 'auto', 'none', 'any', the name of a tool or its dictionary."
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Form:
    """The format of the answer, and the instruction that the prompt needs for it."""

    json_mode: bool = False
    json_schema: Mapping[str, Any] | None = None
    instruction: str = ""


def _plan_form(wanted: object, profile: Profile, conversation: tuple[Message, ...]) -> _Form:
    """Choose the strictest format that the model supports; a schema it cannot enforce goes into the prompt."""
    match wanted:
        case None | {"type": "text"}:
            return _Form()
        case {"type": "json_object"}:
            asked = json_mode(profile) and _says_json(conversation)  # without the mode, only the prompt can ask for it
            return _Form(json_mode=json_mode(profile), instruction="" if asked else _JSON)
        case {"type": "json_schema", "json_schema": {"schema": schema}} if profile.json_schema:
            return _Form(json_schema=schema)
        case {"type": "json_schema", "json_schema": {"schema": schema}}:
            return _Form(json_mode=json_mode(profile, schema), instruction=instructions(schema, format_only=True))
        case _:
            raise ConfigurationError(
                'response_format: pass {"type": "json_object"} or '
                '{"type": "json_schema", "json_schema": {"name": …, "schema": …}}.'
            )


def _says_json(conversation: tuple[Message, ...]) -> bool:
    # The service refuses JSON mode unless a system or user message contains the word (Structured output page, 2026-09).
    heard = (message for message in conversation if message.role in ("system", "user"))
    return any("json" in part.text.lower() for message in heard for part in message.parts if isinstance(part, TextPart))


ESTIMATED = "estimated_input_tokens"
"""The metadata key of the estimate of an answer's input."""

MEDIA = "media"
"""The metadata key of how each piece of media was sent."""


def estimate_plan(plan: RequestPlan, answer_tokens: int | None = None) -> "Estimate":
    """Estimate what a planned call will use and cost. Needs no key, since nothing is sent."""
    from qwen_omni.request.estimate import estimate  # noqa: PLC0415 - brings the media modules; loads on first use

    return estimate(plan.request, settings=plan.connection.load(needs_key=False), answer_tokens=answer_tokens)


def estimated_beside(usage: Usage | None) -> dict[str, int]:
    """Return the metadata entry with the estimate of an answer's input, if there was one."""
    return {} if usage is None or usage.estimated_input is None else {ESTIMATED: usage.estimated_input}


def media_beside(media: Sequence[SentMedia]) -> dict[str, Any]:
    """Return the metadata entry of how each piece of media was sent, in order, if there was any.

    Coordinates in an answer refer to the image as sent; `SentMedia(**entry).to_original(x, y)` maps them to the
    original.
    """
    return {MEDIA: [one.as_dict() for one in media]} if media else {}


def count_text(text: str, model: str) -> int:
    """Count the tokens of a text for a model: exactly with `qwen-omni[tokenizer]`, else approximately."""
    return costs.count_text(text, profile_for(model).tokens.vocabulary)


def count_call(messages: Sequence[Message], tools: Sequence[Tool], model: str) -> int:
    """Count the tokens of a conversation for a model, without opening media."""
    rules = profile_for(model).tokens
    return costs.count_messages(messages, rules) + costs.count_tools(tools, rules)


# --- Turns: media returned by tools follow after their texts ---

Turn = tuple[Message, Sequence[Part]]
"""A message, and the media that its tool returned."""

_MEDIA_FOLLOWS = "(What the tool returned follows in the next message.)"


def tool_turn(parts: Sequence[Part], *, tool_call_id: str, name: str | None = None) -> Turn:
    """Build the turn of a tool: its texts are its result, its media follow."""
    media = [part for part in parts if media_of(part)]
    text = "\n".join(part.text for part in parts if isinstance(part, TextPart))
    if media:
        text = f"{text}\n{_MEDIA_FOLLOWS}".lstrip()
    cache = next((part.cache for part in parts if isinstance(part, TextPart) and part.cache), None)
    result = ToolResultPart(tool_call_id=tool_call_id, text=text, name=name, cache=cache)
    return Message(role="tool", parts=(result,)), media


def arguments_text(arguments: object, place: str) -> str:
    """Return the arguments of an earlier call as JSON text; text is returned unchanged, dates and the like as text.

    Raises:
        UnsupportedContentError: JSON cannot hold them; the error says where.
    """
    if isinstance(arguments, str):
        return arguments
    try:
        return json.dumps(arguments, ensure_ascii=False, default=to_jsonable_python)
    except (TypeError, ValueError, RecursionError) as error:
        raise UnsupportedContentError(
            f"{place}: the arguments of a tool call cannot be written as JSON ({error}). Use plain values."
        ) from None


def join_turns(turns: Iterable[Turn]) -> tuple[Message, ...]:
    """Join turns in order, with the media of adjacent tool results after all of those results.

    Example:
        >>> from qwen_omni.messages import user
        >>> [message.role for message in join_turns([(user("Hi"), []), tool_turn([], tool_call_id="c1")])]
        ['user', 'tool']
    """
    joined: list[Message] = []
    shown: list[Part] = []
    for message, media in turns:
        if shown and message.role != "tool":
            joined.append(Message(role="user", parts=tuple(shown)))
            shown = []
        joined.append(message)
        shown += media
    if shown:
        joined.append(Message(role="user", parts=tuple(shown)))
    return tuple(joined)
