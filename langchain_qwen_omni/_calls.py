"""What LangChain passes to a call, in neutral words; `qwen_omni.call_plan` decides what is asked of the service."""
# ruff: noqa: ANN401  (LangChain's own signatures take any keyword)

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar, cast

from langchain_core.language_models import BaseChatModel, LanguageModelInput
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.runnables import Runnable
from langchain_core.runnables.base import RunnableBinding
from langchain_core.utils.function_calling import convert_to_openai_tool

from langchain_qwen_omni._messages import to_messages
from qwen_omni import call_plan
from qwen_omni.call_plan import Calling, Plan, without_pickled_secrets

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


T = TypeVar("T")
_OF_ANSWER_FORM = frozenset(
    {"tools", "tool_choice", "parallel_tool_calls", "response_format", "ls_structured_output_format"}
)  # what a schema replaces


class BoundModel(RunnableBinding[LanguageModelInput, AIMessage]):
    """A chat model with options of its calls, whichever order they are bound in.

    LangChain's own binding hands `bind_tools` and `with_structured_output` to the model alone, without what was bound
    before, and keeps what is bound later as it came: a key would be lost there, and be pickled here.
    """

    @classmethod
    def lc_id(cls) -> list[str]:
        """Serialise as LangChain's class."""
        return [*cls.get_lc_namespace(), "RunnableBinding"]

    def bind(self, **kwargs: Any) -> Runnable[LanguageModelInput, AIMessage]:
        """Bind further options; a key and headers are left out of reprs and pickles."""
        return super().bind(**without_pickled_secrets(kwargs))

    def bind_tools(self, tools: Sequence[Any], **kwargs: Any) -> Runnable[LanguageModelInput, AIMessage]:
        """Give the model tools; what was bound before stays bound."""
        return self._configured(self._model.bind_tools(tools, **{**self.kwargs, **kwargs}))

    def with_structured_output(self, schema: Any = None, **kwargs: Any) -> Runnable[LanguageModelInput, Any]:
        """Make a runnable that answers with objects of a schema; what was bound before stays bound."""
        kept = {name: value for name, value in self.kwargs.items() if name not in _OF_ANSWER_FORM}
        return self._configured(self._model.with_structured_output(schema, **{**kept, **kwargs}))

    @property
    def _model(self) -> BaseChatModel:
        return cast("BaseChatModel", self.bound)

    def _configured(self, made: Runnable[LanguageModelInput, T]) -> Runnable[LanguageModelInput, T]:
        return made.with_config(self.config) if self.config else made
