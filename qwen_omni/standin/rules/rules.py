"""Check the fields of a request against the model it names.

Each check is one function of the body and the model's limits; `check_fields` runs them in order, and the
first refusal wins. `messages` checks messages, `media_limits` media, and `standin.stores.intake` links.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from qwen_omni.standin.rules import refusal
from qwen_omni.standin.rules.limits import EFFORTS, ModelLimits
from qwen_omni.standin.rules.messages import prompt_texts
from qwen_omni.standin.rules.refusal import algo, invalid

if TYPE_CHECKING:
    from collections.abc import Callable

_TOOL_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_SEED_MOST = 2**31 - 1
_HOTTEST = 2.0
_PENALTY = 2.0


def is_thinking(body: dict[str, Any], model: ModelLimits) -> bool:
    """Whether the model will reason before it answers."""
    if model.thinking == "none":
        return False
    if body.get("reasoning_effort") is not None:
        return bool(body["reasoning_effort"] != "none")
    if body.get("enable_thinking") is not None:
        return bool(body["enable_thinking"])
    return model.thinking == "on"


def wants_speech(body: dict[str, Any]) -> bool:
    """Whether audio output was requested."""
    return "audio" in (body.get("modalities") or ())


def check_dictation(body: dict[str, Any]) -> None:
    """Check that a transcription model gets one audio part and no text.

    Raises:
        Refusal: The request has anything else.
    """
    users = [message["content"] for message in body["messages"] if message["role"] == "user"]
    kinds = [part.get("type") for content in users if isinstance(content, list) for part in content]
    if kinds != ["input_audio"] or any(isinstance(content, str) for content in users) or body.get("tools"):
        raise algo("The dedicated task `asr` .. does not support this input.")


def check_fields(body: dict[str, Any], model: ModelLimits) -> None:
    """Run all checks.

    Raises:
        Refusal: The first rule that is violated.
    """
    for check in _CHECKS:
        check(body, model)


def _check_stream(body: dict[str, Any], model: ModelLimits) -> None:
    stream = body.get("stream")
    if not stream and wants_speech(body):
        raise algo(refusal.AUDIO_STREAMS)
    if not stream and model.stream_only:
        raise algo(refusal.STREAM_ONLY)
    if not stream and body.get("stream_options") is not None:
        raise invalid("The 'stream_options' parameter is only allowed when 'stream' is set to true.")


def _check_thinking(body: dict[str, Any], model: ModelLimits) -> None:
    for switch in ("enable_thinking", "reasoning_effort"):
        if body.get(switch) is not None and switch not in model.switches:
            name = "enable_thinking" if model.thinking == "none" else switch
            raise algo(refusal.NO_THINKING.format(model=model.name).replace("enable_thinking", name))
    effort = body.get("reasoning_effort")
    if effort is not None and effort not in EFFORTS:
        raise invalid(f"'{effort}' is not one of {list(EFFORTS)} - 'reasoning_effort'")
    if effort is not None and body.get("thinking_budget") is not None:
        raise algo("reasoning_effort and thinking_budget cannot be set at the same time")
    if model.streams_thinking_only and is_thinking(body, model) and not body.get("stream"):
        raise algo(refusal.THINKING_STREAMS)


def _check_tools(body: dict[str, Any], model: ModelLimits) -> None:
    tools = body.get("tools")
    if not tools:
        return
    if not model.tools:
        raise algo(refusal.NO_TOOLS)
    if model.search_excludes_tools and body.get("enable_search"):
        raise algo(refusal.SEARCH_WITH_TOOLS)
    for tool in tools:
        function = tool.get("function") if tool.get("type") == "function" else None
        name = (function or {}).get("name") or ""
        if not _TOOL_NAME.fullmatch(name):
            raise invalid(f"Tool names must match [A-Za-z0-9_-] and have at most 64 characters: {name}")
        if name == "search":
            raise algo(refusal.TOOL_SEARCH)


def _check_tool_choice(body: dict[str, Any], model: ModelLimits) -> None:
    choice = body.get("tool_choice")
    if choice in (None, "auto", "none"):
        return
    if is_thinking(body, model):
        raise algo(refusal.THINKING_TOOL_CHOICE, late=True)
    named = (choice.get("function") or {}).get("name") if isinstance(choice, dict) else None
    if named is None:
        raise algo(refusal.TOOL_CHOICE)
    if named not in [tool["function"]["name"] for tool in body.get("tools") or ()]:
        raise invalid(f"The tool named by tool_choice is not among the tools: {named}")


def _check_search(body: dict[str, Any], model: ModelLimits) -> None:
    if body.get("enable_search") and not model.search:
        raise algo(refusal.NO_SEARCH)


def _check_format(body: dict[str, Any], model: ModelLimits) -> None:
    asked = body.get("response_format")
    if asked is None:
        return
    kind = asked.get("type")
    if kind not in ("text", "json_object", "json_schema"):
        raise algo(refusal.RESPONSE_FORMAT)
    if kind == "json_schema" and not (model.json_schema and (asked.get("json_schema") or {}).get("schema")):
        raise algo(f"{refusal.RESPONSE_FORMAT}: json_schema")
    if kind == "json_object":
        if not model.json_object:
            raise algo(f"{refusal.RESPONSE_FORMAT}: json_object")
        if not any("json" in text.lower() for text in prompt_texts(body)):
            raise algo(refusal.JSON_WORD)


def _check_speech(body: dict[str, Any], model: ModelLimits) -> None:
    modalities = body.get("modalities")
    if modalities not in (None, ["text"], ["text", "audio"], ["audio", "text"]):
        raise invalid(f"Input should be ['text'] or ['text', 'audio']: modalities, got {modalities}")
    if not wants_speech(body):
        return
    if not model.voices:
        raise algo(f"The model {model.name} does not support audio output.")
    if is_thinking(body, model):
        raise algo("'audio' output is not supported when enable_thinking is true")
    audio = body.get("audio")
    if not audio or not audio.get("voice"):
        raise invalid("Field required: parameters.audio.voice")
    if audio.get("format") != "wav":
        raise invalid("Input should be 'wav': parameters.audio.format")
    if audio["voice"] not in model.voices:
        voice = audio["voice"]
        raise algo(refusal.TURBO_VOICES if model.closed_voices else f"Voice '{voice}' is not supported.")


def _check_ranges(body: dict[str, Any], model: ModelLimits) -> None:
    for name, holds, message in _RANGES:
        value = body.get(name)
        if value is not None and not holds(value, model):
            raise algo(message.format(name=name, most=model.max_output))


_RANGES: tuple[tuple[str, Callable[[float, ModelLimits], bool], str], ...] = (
    ("temperature", lambda value, _: 0 <= value < _HOTTEST, "Temperature should be in [0.0, 2.0)"),
    ("top_p", lambda value, _: 0 < value <= 1, "Range of top_p should be (0.0, 1.0]"),
    ("presence_penalty", lambda value, _: abs(value) <= _PENALTY, "Range of {name} should be [-2.0, 2.0]"),
    ("frequency_penalty", lambda value, _: abs(value) <= _PENALTY, "Range of {name} should be [-2.0, 2.0]"),
    ("seed", lambda value, _: 0 <= value <= _SEED_MOST, f"Range of seed should be [0, {_SEED_MOST}]"),
    ("max_tokens", lambda value, model: 1 <= value <= model.max_output, "Range of max_tokens should be [1, {most}]"),
    (
        "max_completion_tokens",
        lambda value, model: 1 <= value <= model.max_output,
        "Range of max_tokens should be [1, {most}]",
    ),
    ("n", lambda value, model: value == 1 or model.media is None, "Range of n should be [1, 1]"),
    ("top_k", lambda value, _: value >= 0, "Range of top_k should be [0, 100]"),
    ("repetition_penalty", lambda value, _: value > 0, "repetition_penalty should be greater than 0.0"),
)
_CHECKS: tuple[Callable[[dict[str, Any], ModelLimits], None], ...] = (
    _check_stream, _check_ranges, _check_thinking, _check_tools, _check_tool_choice, _check_search,
    _check_format, _check_speech,
)  # fmt: skip
