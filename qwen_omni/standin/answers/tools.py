"""Decide whether to call a tool, which one, and with what arguments.

The rule is general: a named choice is followed; otherwise the tool whose words best match the last user
text is called, once. Arguments come from numbers, quoted strings and evidence, by name and type.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from qwen_omni.standin.answers.schema import fill
from qwen_omni.standin.rules.messages import last_user_texts, texts_of
from qwen_omni.standin.server.script import ToolCall

if TYPE_CHECKING:
    from qwen_omni.standin.answers.evidence import Evidence

_WORD = re.compile(r"[a-z]{3,}")
_NUMBER = re.compile(r"(?<![\w.])-?\d+(?:\.\d+)?")
_QUOTED = re.compile(r"\"([^\"]+)\"|'([^']+)'|“([^”]+)”|`([^`]+)`")
_PLACE = re.compile(r"path|file|source|url")
_PATH = re.compile(r"[\w./~-]+\.\w{2,4}\b")
_EMPTY = frozenset((
    "the", "and", "for", "with", "you", "your", "this", "that", "what", "which", "from", "are", "was", "were", "can",
    "could", "would", "will", "how", "all", "any", "one", "use", "tool", "tools", "please", "tell", "give", "into",
    "has", "have", "not", "its",
))  # fmt: skip


def choose_calls(body: dict[str, Any], evidence: Evidence) -> tuple[ToolCall, ...]:
    """Return the calls of this turn; none if the model should answer in text."""
    tools = {tool["function"]["name"]: tool["function"] for tool in body.get("tools") or ()}
    choice = body.get("tool_choice", "auto")
    if not tools or choice == "none":
        return ()
    text = "\n".join(last_user_texts(body))
    if isinstance(choice, dict):
        names = [] if tool_results(body) else [choice["function"]["name"]]
    else:
        names = _wanted(tools, text, _called(body))
    if not body.get("parallel_tool_calls"):
        names = names[:1]
    return tuple(ToolCall(name=name, arguments=_arguments(tools[name], text, evidence)) for name in names)


def _since_user(body: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the messages after the latest user message."""
    tail: list[dict[str, Any]] = []
    for message in reversed(body["messages"]):
        if message["role"] == "user":
            break
        tail.append(message)
    return tail[::-1]


def _called(body: dict[str, Any]) -> set[str]:
    return {call["function"]["name"] for message in _since_user(body) for call in message.get("tool_calls") or ()}


def tool_results(body: dict[str, Any]) -> list[str]:
    """Return the tool results in the latest turn, oldest first."""
    return [text for message in _since_user(body) if message["role"] == "tool" for text in texts_of(message)]


def _wanted(tools: dict[str, dict[str, Any]], text: str, called: set[str]) -> list[str]:
    """Return tools by priority: those named in the text; otherwise, in a first turn, the best match."""
    lowered = text.lower()
    named = [name for name in tools if re.search(rf"(?<![\w-]){re.escape(name.lower())}(?![\w-])", lowered)]
    if named:
        return sorted((name for name in named if name not in called), key=lambda name: lowered.index(name.lower()))
    if called:
        return []
    words = _meaningful(text)
    scores = {name: _score(function, words) for name, function in tools.items()}
    best = max(scores, key=lambda name: scores[name])
    return [best] if scores[best] > 0 else []


def _meaningful(text: str) -> set[str]:
    split = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|_", " ", text).lower()
    return {word.rstrip("s") for word in _WORD.findall(split)} - _EMPTY


def _score(function: dict[str, Any], words: set[str]) -> int:
    properties = (function.get("parameters") or {}).get("properties") or {}
    named = _meaningful(function["name"])
    described = _meaningful(f"{function.get('description', '')} {' '.join(properties)}") - named
    return 2 * len(named & words) + len(described & words)


def _arguments(function: dict[str, Any], text: str, evidence: Evidence) -> dict[str, Any]:
    """Fill in the arguments of a call: from the text first, then from evidence."""
    parameters = function.get("parameters") or {}
    properties = parameters.get("properties") or {}
    required = parameters.get("required") or []
    made = fill(parameters, evidence) if properties else {}
    filled = made if isinstance(made, dict) else {}  # its type may be anything
    numbers = _NUMBER.findall(text)
    quoted = [next(piece for piece in match.groups() if piece) for match in _QUOTED.finditer(text)]
    arguments: dict[str, Any] = {}
    for name, part in properties.items():
        said = _stated(name, _value_schema(part), text, numbers, quoted)
        if said is not None:
            arguments[name] = said
        elif name in required:
            arguments[name] = filled.get(name)
    return arguments


def _value_schema(part: object) -> dict[str, Any]:
    """Return the schema of a parameter; for a nullable one, its other alternative."""
    if not isinstance(part, dict):
        return {}
    others = [one for one in part.get("anyOf") or () if isinstance(one, dict) and one.get("type") != "null"]
    return {**part, **others[0]} if others and "type" not in part else part


def _stated(name: str, part: dict[str, Any], text: str, numbers: list[str], quoted: list[str]) -> Any:  # noqa: ANN401 - JSON
    """Return the value that the text states for a parameter; numbers and quotations are consumed in order."""
    kind = part.get("type", "string")
    if part.get("enum"):
        return next((one for one in part["enum"] if str(one).lower() in text.lower()), None)
    if kind in ("number", "integer") and numbers:
        number = float(numbers.pop(0))
        return int(number) if kind == "integer" or number.is_integer() else number
    if kind != "string":
        return None
    if quoted:
        return quoted.pop(0)
    path = _PATH.search(text) if _PLACE.search(name) else None
    return path.group() if path else _after_preposition(text) or text


def _after_preposition(text: str) -> str | None:
    """Return the words after "in", "of", "for" or "about": usually the subject of a question."""
    match = re.search(r"\b(?:in|of|for|about)\s+([A-Z][\w-]*(?:\s+[A-Z][\w-]*)*)", text)
    return match.group(1) if match else None


def written(call: ToolCall) -> str:
    """Return the arguments as the model would write them."""
    if isinstance(call.arguments, str):
        return call.arguments
    return json.dumps(call.arguments, ensure_ascii=False)
