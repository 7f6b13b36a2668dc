"""Tools, tool calls and answer formats in the service's JSON. Pure."""

import json
import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from pydantic_core import from_json

from qwen_omni.errors import ConfigurationError
from qwen_omni.messages import Message, Part, ToolCallPart, ToolResultPart
from qwen_omni.options import ChatOptions, Tool
from qwen_omni.profiles import Profile
from qwen_omni.responses import ToolCallDelta
from qwen_omni.wire.values import (
    EscapedHalves,
    MalformedValueError,
    as_count,
    as_json_text,
    as_name,
    as_object,
    as_objects,
)

MALFORMED_ARGUMENTS = "malformed_arguments"
"""The key for arguments that are not a JSON object, when they are sent back."""
_NOT_RUN = "Not run: the arguments were not a JSON object."
_UNNAMED = "unnamed_tool"
_RESERVED = "search"  # Model Studio, error codes: tool names are not allowed to be [search]


def encode_tools(options: ChatOptions, profile: Profile) -> dict[str, Any]:
    """Return the request fields for tools; empty without tools.

    Raises:
        ConfigurationError: the model does not support tools, or is to speak as well, or the choice names no tool.
    """
    if not options.tools:
        if options.tool_choice not in (None, "auto", "none"):
            raise ConfigurationError(f"tool_choice={options.tool_choice!r} needs tools; none were given.")
        return {}
    if not profile.tools:
        raise ConfigurationError(f"{profile.name} cannot call tools; use qwen3.8-omni-flash.")
    if options.speaks:
        raise ConfigurationError(
            "Speech and tools cannot be combined: the voice may read tool calls aloud. "
            "Request speech in a separate call."
        )
    if options.enable_search and not profile.tools_with_search:
        raise ConfigurationError(f"{profile.name} cannot search the web and call tools in one request; drop one.")
    fields: dict[str, Any] = {"tools": [_tool(tool) for tool in options.tools]}
    choice = _choice(options)
    if choice is not None:
        fields["tool_choice"] = choice
    if options.parallel_tool_calls is not None:
        fields["parallel_tool_calls"] = options.parallel_tool_calls
    return fields


def _tool(tool: Tool) -> dict[str, Any]:
    if tool.name == _RESERVED:
        raise ConfigurationError(f"The service does not allow a tool to be named {_RESERVED!r}; choose another name.")
    function: dict[str, Any] = {"name": tool.name, "description": tool.description, "parameters": dict(tool.parameters)}
    if tool.strict is not None:
        function["strict"] = tool.strict
    return {"type": "function", "function": function}


def forced_tool(options: ChatOptions) -> str | None:
    """Return the tool that must be called; `None` if the model is free to choose."""
    names = [tool.name for tool in options.tools]
    if options.tool_choice in (None, "auto", "none"):
        return None
    if options.tool_choice == "required":
        return names[0] if len(names) == 1 else None
    return options.tool_choice


def _choice(options: ChatOptions) -> str | Mapping[str, Any] | None:
    names = [tool.name for tool in options.tools]
    if options.tool_choice in (None, "auto", "none"):
        return options.tool_choice
    name = forced_tool(options)
    if name is None:
        raise ConfigurationError(
            f"The service cannot be made to call any one of {len(names)} tools; name one of {', '.join(names)}."
        )
    if name not in names:
        raise ConfigurationError(f"tool_choice={name!r} names no tool; there are {', '.join(names)}.")
    return {"type": "function", "function": {"name": name}}


def encode_format(options: ChatOptions, profile: Profile) -> dict[str, Any]:
    """Return the request field for JSON answers; empty if none is wanted.

    Raises:
        ConfigurationError: the model does not support it.
    """
    if options.json_schema is not None:
        if not profile.json_schema:
            raise ConfigurationError(
                f"{profile.name} does not support JSON schemas; use json_mode=True with the schema in the prompt."
            )
        name = str(options.json_schema.get("title") or "answer")
        schema = {"name": name, "strict": True, "schema": dict(options.json_schema)}
        return {"response_format": {"type": "json_schema", "json_schema": schema}}
    if not options.json_mode:
        return {}
    if not profile.json_object:
        raise ConfigurationError(f"{profile.name} has no JSON mode; put the schema in the prompt and parse the text.")
    return {"response_format": {"type": "json_object"}}


# --- Tool calls ---

_MOST_CALLS = 10_000  # more, or a higher index, counts as corrupt
_DEEPEST = 200  # levels of nesting in arguments; JSON parsers give up soon after


@dataclass(slots=True)
class _Call:
    """One tool call as far as it has arrived: its number here, and the id that callers see once it has a name."""

    number: int
    wire_id: str | None = None
    name: str | None = None
    arguments: list[str] = field(default_factory=list)
    brackets: int = 0
    nesting: "_Nesting | None" = None
    escapes: EscapedHalves = field(default_factory=EscapedHalves)

    @property
    def is_whole(self) -> bool:
        """Whether its arguments already are a JSON object."""
        if not self.arguments or not self.arguments[-1].rstrip().endswith("}"):
            return False
        try:
            return isinstance(from_json("".join(self.arguments)), dict)
        except ValueError:
            return False

    def add(self, arguments: str) -> None:
        """Add the next piece of the arguments; nesting is tracked only if there are many brackets."""
        if not arguments:
            return
        self.arguments.append(arguments)
        opened = arguments.count("{") + arguments.count("[")
        self.brackets += opened - arguments.count("}") - arguments.count("]")
        if self.nesting is not None:
            self.nesting.feed(arguments)
        elif max(self.brackets, opened) > _DEEPEST:
            self.nesting = _Nesting()
            self.nesting.feed("".join(self.arguments))


class _Nesting:
    """Tracks the nesting depth of JSON, incrementally."""

    def __init__(self) -> None:
        self._depth = 0
        self._in_string = self._escaped = False

    def feed(self, piece: str) -> None:
        for letter in piece:
            if self._in_string:
                self._in_string = self._escaped or letter != '"'
                self._escaped = not self._escaped and letter == "\\"
            elif letter == '"':
                self._in_string = True
            elif letter in "{[":
                self._depth += 1
                if self._depth > _DEEPEST:
                    raise MalformedValueError(f"a tool's arguments are nested more than {_DEEPEST} levels deep")
            elif letter in "}]":
                self._depth -= 1


class ToolCallReader:
    """Pieces of tool calls → deltas; each call gets its own number and id.

    Servers distinguish calls by `index`, by `id`, by both or by neither: later pieces carry empty, repeated or no ids;
    parallel calls share an index or have none. A new id with a name begins a new call, and so does anything that
    follows a complete object. A missing id is generated.
    """

    def __init__(self) -> None:
        self._calls: list[_Call] = []
        self._by_place: dict[object, _Call] = {}
        self._by_id: dict[str, _Call] = {}
        self._numbers: set[int] = set()
        self._ids: set[str] = set()
        self._own = secrets.token_hex(6)  # ids of different answers must differ within one conversation

    def read(self, value: object) -> list[ToolCallDelta]:
        """Read the `tool_calls` of one chunk.

        Raises:
            MalformedValueError: it is not a list of calls, or arguments are nested too deeply.
        """
        pieces = as_objects(value, "tool_calls")
        deltas = [self._piece(piece, at, alone=len(pieces) == 1) for at, piece in enumerate(pieces)]
        return [delta for delta in deltas if delta is not None]

    def close(self) -> list[ToolCallDelta]:
        """Check at the end of an answer that every call names its tool; return the arguments held back.

        Raises:
            MalformedValueError: a call has no name.
        """
        if any(call.name is None for call in self._calls):
            raise MalformedValueError("a tool call names no tool")
        ends = [(call.number, call.escapes.close()) for call in self._calls]
        return [ToolCallDelta(index=number, arguments=end) for number, end in ends if end]

    def _piece(self, piece: Mapping[str, Any], at: int, *, alone: bool) -> ToolCallDelta | None:
        function = as_object(piece.get("function", piece), "the function of a tool call")
        name, call_id = as_name(function.get("name")), as_name(piece.get("id"))
        arguments = as_json_text(function.get("arguments"))
        if not (name or call_id or arguments):
            return None
        index = as_count(piece.get("index"))
        index = index if index is not None and index < _MOST_CALLS else None
        call = self._known(index, at, alone=alone)
        if call_id is not None and (call is None or call.wire_id != call_id):
            named = self._by_id.get(call_id)
            # A separate index is a separate call, even if its id was used before.
            call = named if named is not None and (call or index is None or name is None) else call
        if call is not None and _begins_anew(call, call_id, name, arguments):
            if call_id is not None and call_id == call.wire_id and arguments == "".join(call.arguments):
                return None  # a repetition of the whole call
            call = None
        return self._grow(call or self._open(index, at), call_id, name, arguments)

    def _known(self, index: int | None, at: int, *, alone: bool) -> _Call | None:
        """Return the call at this position."""
        if index is not None:
            return self._by_place.get(index)
        if alone:
            return self._calls[-1] if self._calls else None
        return self._by_place.get(("position", at))

    def _open(self, index: int | None, at: int) -> _Call:
        if len(self._calls) >= _MOST_CALLS:
            raise MalformedValueError(f"the answer calls more than {_MOST_CALLS:,} tools")
        number = index if index is not None and index not in self._numbers else max(self._numbers, default=-1) + 1
        call = _Call(number)
        self._calls.append(call)
        self._numbers.add(number)
        self._by_place[("position", at) if index is None else index] = call
        return call

    def _grow(self, call: _Call, call_id: str | None, name: str | None, arguments: str) -> ToolCallDelta | None:
        if call_id and call.wire_id is None:
            call.wire_id = call_id
            self._by_id.setdefault(call_id, call)
        call.add(arguments)
        arguments = call.escapes.join(arguments)
        if call.name is None and name is not None:
            call.name = name
            return ToolCallDelta(index=call.number, id=self._own_id(call), name=name, arguments=arguments)
        return ToolCallDelta(index=call.number, arguments=arguments) if arguments else None

    def _own_id(self, call: _Call) -> str:
        known = call.wire_id if call.wire_id not in self._ids else None
        chosen = known or f"call_{self._own}_{call.number}"
        self._ids.add(chosen)
        return chosen


def _begins_anew(call: _Call, call_id: str | None, name: str | None, arguments: str) -> bool:
    """Whether a piece at the position of a call begins another call."""
    if name is None or call.name is None:
        return False
    if call_id is None or call_id != call.wire_id:
        if call_id and call.wire_id:
            return True
        if name != call.name:
            return True
    return arguments.lstrip().startswith("{") and call.is_whole


def replayable(messages: Sequence[Message]) -> Iterator[tuple[int, Message]]:
    """Make a conversation acceptable to the service, whatever a model wrote into it.

    Arguments that are not a JSON object become one that quotes them; a call without an id or a name gets one; and a
    call with such arguments that has no result gets one. Each message comes with its index in the conversation.

    Example:
        >>> from qwen_omni.messages import user
        >>> broken = Message(role="assistant", parts=(ToolCallPart(id="c1", name="look", arguments='{"path'),))
        >>> [message.role for _, message in replayable([broken, user("Again, please.")])]
        ['assistant', 'tool', 'user']
    """
    at = 0
    while at < len(messages):
        message, first = messages[at], at
        at += 1
        if message.role != "assistant" or not any(isinstance(part, ToolCallPart) for part in message.parts):
            yield first, message
            continue
        parts = tuple(_sendable(part, first, place) for place, part in enumerate(message.parts))
        yield first, replace(message, parts=parts)
        calls = [part.id for part in parts if isinstance(part, ToolCallPart)]
        broken = [
            sent.id
            for part, sent in zip(message.parts, parts, strict=True)
            if isinstance(sent, ToolCallPart) and _is_broken(part, sent)
        ]
        while at < len(messages) and messages[at].role == "tool":
            results = tuple(_answered(part, calls) for part in messages[at].parts)
            yield at, replace(messages[at], parts=results)
            at += 1
        left = tuple(ToolResultPart(tool_call_id=one, text=_NOT_RUN) for one in broken if one in calls)
        if left:
            yield at - 1, Message(role="tool", parts=left)


def _sendable(part: Part, message: int, place: int) -> Part:
    if not isinstance(part, ToolCallPart):
        return part
    arguments = part.arguments if part.arguments.strip() else "{}"
    if not _is_object(arguments):
        arguments = json.dumps({MALFORMED_ARGUMENTS: arguments})
    return replace(part, id=part.id or f"call_{message}_{place}", name=part.name or _UNNAMED, arguments=arguments)


def _is_object(text: str) -> bool:
    try:
        return isinstance(from_json(text, allow_inf_nan=False), dict)
    except ValueError:
        return False


def _is_broken(part: Part, sent: ToolCallPart) -> bool:
    return isinstance(part, ToolCallPart) and (
        part.arguments.strip() not in ("", sent.arguments.strip()) or not part.name
    )


def _answered(part: Part, calls: list[str]) -> Part:
    """Remove the call that a result answers from the list; a result without an id answers the first remaining one."""
    if not isinstance(part, ToolResultPart):
        return part
    name = part.tool_call_id or next(iter(calls), "")
    if name in calls:
        calls.remove(name)
    return replace(part, tool_call_id=name)
