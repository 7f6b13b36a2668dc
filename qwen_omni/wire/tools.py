"""The tool calls of an answer, from their pieces. Pure."""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic_core import from_json

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

_MOST_CALLS = 10_000  # more, or a higher index, counts as corrupt
_ARGUMENTS = ("arguments", "parameters", "input")  # their names in OpenAI's, Cohere's and Anthropic's calls
_DEEPEST = 200  # levels of nesting in arguments; JSON parsers give up soon after


@dataclass(slots=True)
class _Call:
    """One tool call as far as it has arrived: its number here, and the id that callers see once it has a name."""

    number: int
    wire_id: str | None = None
    name: str | None = None
    shown: bool = False  # whether its id and name have been passed on
    arguments: list[str] = field(default_factory=list)
    length: int = 0  # of the arguments
    empty: str = ""  # an empty object, which may only stand in for arguments that follow
    brackets: int = 0
    nesting: "_Nesting | None" = None
    escapes: EscapedHalves = field(default_factory=EscapedHalves)

    @property
    def is_whole(self) -> bool:
        """Whether its arguments already are a JSON object."""
        if self.empty:
            return True
        if not self.arguments or not self.arguments[-1].rstrip().endswith("}"):
            return False
        try:
            return isinstance(from_json("".join(self.arguments)), dict)
        except ValueError:
            return False

    def repeats(self, arguments: str) -> bool:
        """Whether these are its whole arguments once more."""
        return (
            len(arguments) == self.length
            and arguments.lstrip().startswith("{")
            and self.is_whole
            and arguments == "".join(self.arguments)
        )

    def goes_on(self, call_id: str | None) -> bool:
        """Whether a name is the next piece of its name: nothing else has come since, and it is the same call."""
        return self.wire_id is not None and call_id in (None, self.wire_id) and not (self.arguments or self.empty)

    def add(self, arguments: str) -> None:
        """Add the next piece of the arguments; nesting is tracked only if there are many brackets."""
        if not arguments:
            return
        self.arguments.append(arguments)
        self.length += len(arguments)
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
    follows a complete object. A missing id is generated. A name may come in pieces, so it is passed on when something
    follows it.
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
        if (
            isinstance(value, dict)
            and value
            and all(isinstance(one, dict) and key.isdigit() for key, one in value.items())
        ):
            value = [{"index": key, **one} for key, one in value.items()]  # a list that became an object, by index
        pieces = as_objects(value, "tool_calls")
        return [delta for at, piece in enumerate(pieces) for delta in self._piece(piece, at, alone=len(pieces) == 1)]

    def close(self) -> list[ToolCallDelta]:
        """Check at the end of an answer that every call names its tool; return the arguments held back.

        Raises:
            MalformedValueError: a call has no name.
        """
        if any(call.name is None for call in self._calls):
            raise MalformedValueError("a tool call names no tool")
        ends = self._waiting()
        for call in self._calls:
            end = call.escapes.close()
            ends += [ToolCallDelta(index=call.number, arguments=end)] if end else []
        return ends

    def _waiting(self) -> list[ToolCallDelta]:
        """Return the calls that have a name and no arguments yet."""
        found = [call for call in self._calls if call.name is not None and not call.arguments]
        deltas: list[ToolCallDelta] = []
        for call in found:
            empty, call.empty = call.empty, ""
            call.add(empty)
            deltas += [self._shown(call, empty)] if empty or not call.shown else []
        return deltas

    def _piece(self, piece: Mapping[str, Any], at: int, *, alone: bool) -> list[ToolCallDelta]:
        function = as_object(piece.get("function", piece), "the function of a tool call")
        name, call_id = (as_name(function.get("name")) or "").strip() or None, as_name(piece.get("id"))
        arguments = as_json_text(next((function[key] for key in _ARGUMENTS if function.get(key) is not None), None))
        if not (name or call_id or arguments):
            return []
        index = as_count(piece.get("index"))
        index = index if index is not None and index < _MOST_CALLS else None
        call = self._known(index, at, alone=alone)
        if call_id is not None and (call is None or call.wire_id != call_id):
            named = self._by_id.get(call_id)
            # A separate index is a separate call, even if its id was used before.
            call = named if named is not None and (call or index is None or name is None) else call
        if call is None and not (name or call_id) and self._calls and not self._calls[-1].is_whole:
            call = self._calls[-1]  # an index that changes inside a call
        if call is not None and (name is None or call_id == call.wire_id is not None) and call.repeats(arguments):
            return []
        if call is not None and _begins_anew(call, call_id, name, arguments):
            call = None
        ended = [] if call is not None else self._waiting()
        return [*ended, *self._grow(call or self._open(index, at), call_id, name, arguments)]

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

    def _grow(self, call: _Call, call_id: str | None, name: str | None, arguments: str) -> list[ToolCallDelta]:
        if call_id:
            call.wire_id = call.wire_id or call_id
            self._by_id.setdefault(call_id, call)
        if name is not None and not call.shown:
            call.name = _joined(call.name or "", name)
        if arguments.strip():
            call.empty = ""
            if not call.arguments and arguments.strip() == "{}":
                call.empty, arguments = arguments, ""
        call.add(arguments)
        if call.name is not None and not call.shown and call.arguments:
            return [self._shown(call, arguments)]
        arguments = call.escapes.join(arguments)
        return [ToolCallDelta(index=call.number, arguments=arguments)] if arguments else []

    def _shown(self, call: _Call, arguments: str) -> ToolCallDelta:
        """Return the first delta of a call."""
        call.shown = True
        return ToolCallDelta(
            index=call.number, id=self._own_id(call), name=call.name, arguments=call.escapes.join(arguments)
        )

    def _own_id(self, call: _Call) -> str:
        known = call.wire_id if call.wire_id not in self._ids else None
        chosen = known or f"call_{self._own}_{call.number}"
        self._ids.add(chosen)
        return chosen


def _begins_anew(call: _Call, call_id: str | None, name: str | None, arguments: str) -> bool:
    """Whether a piece at the position of a call begins another call."""
    if name is None or call.name is None:
        return False
    if name != call.name and call.goes_on(call_id):
        return False
    if call_id is None or call_id != call.wire_id:
        if call_id and call.wire_id:
            # Some servers make an id up for every piece; arguments of a call begin with a bracket.
            inside = bool(arguments) and not arguments.lstrip().startswith("{")
            return not (inside and name == call.name and call.arguments and not call.is_whole)
        if name != call.name:
            return True
    return arguments.lstrip().startswith("{") and call.is_whole


def _joined(known: str, piece: str) -> str:
    """Add a piece to a name; some servers repeat the name, or what they sent of it."""
    return piece if piece.startswith(known) else known + piece
