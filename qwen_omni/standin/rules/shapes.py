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
_KINDS: dict[type | tuple[type, ...], tuple[str, ...]] = {
    str: (
        "model", "messages[].role", "messages[].content[].type", "messages[].tool_call_id", f"{_CALL}.id",
        f"{_CALL}.function.name", f"{_CALL}.function.arguments", "modalities[]", "audio.voice", "audio.format",
        "tools[].type", f"{_FUNCTION}.name", f"{_FUNCTION}.description", "tool_choice.function.name",
        "response_format.type", "stop[]", "reasoning_effort",
    ),
    bool: (
        "stream", "stream_options.include_usage", "parallel_tool_calls", "enable_thinking", "enable_search",
        "vl_high_resolution_images",
    ),
    int: ("thinking_budget", "top_k", "seed", "max_tokens", "max_completion_tokens", "n"),
    (int, float): ("temperature", "top_p", "presence_penalty", "frequency_penalty", "repetition_penalty"),
    list: ("messages", "messages[].tool_calls", "modalities", "tools"),
    dict: (
        "messages[]", "messages[].content[]", _CALL, f"{_CALL}.function", "stream_options", "audio", "tools[]",
        _FUNCTION, f"{_FUNCTION}.parameters", "tool_choice.function", "response_format", "response_format.json_schema",
        "response_format.json_schema.schema", "search_options",
    ),
    (str, list): ("messages[].content", "stop"),
    (str, dict): ("tool_choice",),
}  # fmt: skip
_SHAPES = {path: kind for kind, paths in _KINDS.items() for path in paths}
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
