"""What LangChain passes to a call, in neutral words; `qwen_omni.call_plan` decides what is asked of the service."""

from collections.abc import Mapping, Sequence
from typing import Any

from langchain_core.messages import BaseMessage
from langchain_core.utils.function_calling import convert_to_openai_tool

from langchain_qwen_omni._messages import to_messages
from qwen_omni import call_plan
from qwen_omni.call_plan import Calling, Plan

# Passed along by LangChain itself, or about streaming, which every request does whatever they say.
_WITHOUT_EFFECT = frozenset(
    {"stream", "streaming", "stream_usage", "disable_streaming", "ls_structured_output_format",
     "structured_output_format"}
)  # fmt: skip


def plan_call(
    fields: Mapping[str, Any], messages: Sequence[BaseMessage], stop: list[str] | None, options: Mapping[str, Any]
) -> Plan:
    """Decide one call.

    Args:
        fields: the model's own settings, `None` where nothing was chosen.
        messages: the conversation.
        stop: LangChain's own argument; wins over the field.
        options: what was passed to this call; each wins over the field of its name.

    Raises:
        ConfigurationError: an option that does not exist, or has a wrong value.
        UnsupportedContentError: a message that cannot be sent.
    """
    chosen = {name: value for name, value in options.items() if name not in _WITHOUT_EFFECT}
    if stop is not None:
        chosen["stop"] = stop
    if chosen.get("tools"):
        chosen["tools"] = _defined(chosen["tools"])
    return call_plan.plan_call(fields, to_messages(messages), chosen, who="ChatQwenOmni")


def plan_tools(tools: Sequence[object], choice: object) -> Calling:
    """Decide what to say about tools in any of LangChain's spellings; raises `ConfigurationError`."""
    return call_plan.plan_tools(_defined(tools), choice)


def _defined(tools: Sequence[object]) -> list[dict[str, Any]]:
    return [convert_to_openai_tool(tool) for tool in tools]  # type: ignore[arg-type]
