"""Tools and answer formats in the service's JSON. Pure."""

from collections.abc import Mapping
from typing import Any

from qwen_omni.errors import ConfigurationError
from qwen_omni.options import ChatOptions, Tool
from qwen_omni.profiles import Profile

_RESERVED = "search"  # Model Studio, error codes: tool names are not allowed to be [search]


def encode_tools(options: ChatOptions, profile: Profile) -> dict[str, Any]:
    """Give the fields of a request that concern tools; empty without tools.

    Raises:
        ConfigurationError: the model has no tools, speaks at the same time, or the choice names no tool.
    """
    if not options.tools:
        if options.tool_choice not in (None, "auto", "none"):
            raise ConfigurationError(f"tool_choice={options.tool_choice!r} needs tools; none were given.")
        return {}
    if not profile.tools:
        raise ConfigurationError(f"{profile.name} cannot call tools; use qwen3.8-omni-flash.")
    if options.speaks:
        raise ConfigurationError(
            "Speech and tools do not go together: the voice may read tool calls aloud. "
            "Ask for speech in a call of its own."
        )
    if options.search and not profile.tools_with_search:
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
        raise ConfigurationError(f"The service does not allow a tool to be named {_RESERVED!r}; give it another name.")
    function: dict[str, Any] = {"name": tool.name, "description": tool.description, "parameters": dict(tool.parameters)}
    if tool.strict is not None:
        function["strict"] = tool.strict
    return {"type": "function", "function": function}


def forced_tool(options: ChatOptions) -> str | None:
    """Tell which tool must be called; `None` if the model is free to choose."""
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
            f"The service cannot be told to call any one of {len(names)} tools; name one of {', '.join(names)}."
        )
    if name not in names:
        raise ConfigurationError(f"tool_choice={name!r} names no tool; there are {', '.join(names)}.")
    return {"type": "function", "function": {"name": name}}


def encode_format(options: ChatOptions, profile: Profile) -> dict[str, Any]:
    """Give the field that asks for JSON; empty if none is wanted.

    Raises:
        ConfigurationError: the model has no such mode.
    """
    if options.json_schema is not None:
        if not profile.json_schema:
            raise ConfigurationError(
                f"{profile.name} takes no JSON schema; use json_mode=True with the schema in the prompt."
            )
        name = str(options.json_schema.get("title") or "answer")
        schema = {"name": name, "strict": True, "schema": dict(options.json_schema)}
        return {"response_format": {"type": "json_schema", "json_schema": schema}}
    if not options.json_mode:
        return {}
    if not profile.json_object:
        raise ConfigurationError(f"{profile.name} has no JSON mode; put the schema in the prompt and parse the text.")
    return {"response_format": {"type": "json_object"}}
