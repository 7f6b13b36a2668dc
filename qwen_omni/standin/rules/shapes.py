"""Check the types of a request's fields, before any rule checks their values.

One table and one walk; the messages are those of the service's own validation. The meaning of a field is
handled by `rules` and `messages`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qwen_omni.standin.rules.refusal import invalid

if TYPE_CHECKING:
    from collections.abc import Iterator

_CALL = "messages[].tool_calls[]"
_FUNCTION = "tools[].function"
_SHAPES: dict[str, type | tuple[type, ...]] = {
    "model": str,
    "messages": list,
    "messages[]": dict,
    "messages[].role": str,
    "messages[].content": (str, list),
    "messages[].content[]": dict,
    "messages[].content[].type": str,
    "messages[].tool_call_id": str,
    "messages[].tool_calls": list,
    _CALL: dict,
    f"{_CALL}.id": str,
    f"{_CALL}.function": dict,
    f"{_CALL}.function.name": str,
    f"{_CALL}.function.arguments": str,
    "stream": bool,
    "stream_options": dict,
    "stream_options.include_usage": bool,
    "modalities": list,
    "modalities[]": str,
    "audio": dict,
    "audio.voice": str,
    "audio.format": str,
    "tools": list,
    "tools[]": dict,
    "tools[].type": str,
    _FUNCTION: dict,
    f"{_FUNCTION}.name": str,
    f"{_FUNCTION}.description": str,
    f"{_FUNCTION}.parameters": dict,
    "tool_choice": (str, dict),
    "tool_choice.function": dict,
    "tool_choice.function.name": str,
    "parallel_tool_calls": bool,
    "response_format": dict,
    "response_format.type": str,
    "response_format.json_schema": dict,
    "response_format.json_schema.schema": dict,
    "stop": (str, list),
    "stop[]": str,
    "enable_thinking": bool,
    "reasoning_effort": str,
    "thinking_budget": int,
    "enable_search": bool,
    "search_options": dict,
    "vl_high_resolution_images": bool,
    "temperature": (int, float),
    "top_p": (int, float),
    "top_k": int,
    "presence_penalty": (int, float),
    "frequency_penalty": (int, float),
    "repetition_penalty": (int, float),
    "seed": int,
    "max_tokens": int,
    "max_completion_tokens": int,
    "n": int,
}
_OTHER_FIELDS = ("preserve_thinking", "use_multichannel", "logprobs", "top_logprobs", "user", "asr_options")
KNOWN_FIELDS = frozenset([*_OTHER_FIELDS, *(path for path in _SHAPES if path.isidentifier())])
"""The documented fields of a request."""
_NAMES = {str: "string", list: "list", dict: "object", bool: "boolean", int: "integer", float: "number"}


def check_shapes(body: dict[str, Any]) -> None:
    """Check every known field against its type; null counts as absent, except as an entry of a list.

    Raises:
        Refusal: The first field of a wrong type.
    """
    for path, value in _walk(body, ""):
        wanted = _SHAPES.get(path)
        if wanted is None or (value is None and not path.endswith("[]")):
            continue
        kinds = wanted if isinstance(wanted, tuple) else (wanted,)
        if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
            names = " or ".join(_NAMES[kind] for kind in kinds)
            raise invalid(f"Input should be a valid {names}: {path}")


def _walk(value: Any, path: str) -> Iterator[tuple[str, Any]]:  # noqa: ANN401 - any JSON value
    """Yield fields and entries from the outside in, no deeper than the table."""
    if path and path not in _SHAPES:
        return
    if path:
        yield path, value
    if isinstance(value, dict):
        for name, held in value.items():
            yield from _walk(held, f"{path}.{name}" if path else name)
    elif isinstance(value, list):
        for held in value:
            yield from _walk(held, f"{path}[]")
