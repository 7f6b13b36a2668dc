"""How LlamaIndex asks for tool calls: `ToolCalling`, the half of `QwenOmni` that its agents use."""
# ruff: noqa: ANN401  (LlamaIndex's own signatures take any keyword)

from collections.abc import Sequence
from typing import Any

from llama_index.core.base.llms.types import ChatMessage, ChatResponse, MessageRole, ToolCallBlock
from llama_index.core.llms.function_calling import FunctionCallingLLM
from llama_index.core.llms.llm import ToolSelection
from llama_index.core.tools.types import BaseTool

from llama_index_qwen_omni._responses import to_selections
from llama_index_qwen_omni._tracing import spans_itself
from qwen_omni.errors import NoToolCallError


class ToolCalling(FunctionCallingLLM):
    """Tools of LlamaIndex in the words of a call, and the calls of an answer in LlamaIndex's words.

    The service can be told the name of one tool, or none. `tool_required` with one tool names it; with several, the
    prompt asks for a call, an answer without one is asked for once more, and then `NoToolCallError` is raised. A
    choice that forces a call switches thinking off, because the service cannot do both.
    """

    @spans_itself  # it only decides; a span around it would hold the media of the conversation
    def _prepare_chat_with_tools(
        self,
        tools: Sequence[BaseTool],
        user_msg: str | ChatMessage | None = None,
        chat_history: list[ChatMessage] | None = None,
        verbose: bool = False,  # noqa: ARG002
        allow_parallel_tool_calls: bool = False,
        tool_required: bool = False,
        **kwargs: Any,
    ) -> dict[str, Any]:
        messages = list(chat_history or [])
        if user_msg is not None:
            asked = ChatMessage(role=MessageRole.USER, content=user_msg) if isinstance(user_msg, str) else user_msg
            messages.append(asked)
        options = dict(kwargs)
        if tools:
            options["tools"] = [tool.metadata.to_openai_tool(skip_length_check=True) for tool in tools]
            if allow_parallel_tool_calls:
                options["parallel_tool_calls"] = True
        if tool_required and options.get("tool_choice") is None:
            options["tool_choice"] = "required"
        return {"messages": messages, **options}

    def _validate_chat_with_tools_response(
        self,
        response: ChatResponse,
        tools: Sequence[BaseTool],  # noqa: ARG002
        allow_parallel_tool_calls: bool = False,
        **kwargs: Any,  # noqa: ARG002
    ) -> ChatResponse:
        """Keep one call, where only one was allowed."""
        return response if allow_parallel_tool_calls else first_call_only(response)

    def get_tool_calls_from_response(
        self,
        response: ChatResponse,
        error_on_no_tool_call: bool = True,
        **kwargs: Any,  # noqa: ARG002
    ) -> list[ToolSelection]:
        """List the tools that a response calls; of an answer that still streams, with the arguments so far.

        Raises:
            NoToolCallError: there is none, and one is wanted.
            ToolArgumentsError: the arguments of a complete answer are not a JSON object.
        """
        selections = to_selections(response)
        if error_on_no_tool_call and not selections:
            raise NoToolCallError("The model was to call a tool and answered in words. Ask again, or say tool_choice=.")
        return selections


def first_call_only(response: ChatResponse) -> ChatResponse:
    """Give a response with the first of its tool calls alone."""
    calls = [block for block in response.message.blocks if isinstance(block, ToolCallBlock)]
    if len(calls) <= 1:
        return response
    blocks = [block for block in response.message.blocks if block not in calls[1:]]
    told = response.message.additional_kwargs
    kept = {**told, "tool_calls": told.get("tool_calls", [])[:1]}
    message = response.message.model_copy(update={"blocks": blocks, "additional_kwargs": kept})
    return response.model_copy(update={"message": message})
