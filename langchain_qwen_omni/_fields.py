"""What LangChain asks about a chat model: profile, counting, dumping. Its fields are in `qwen_omni.model_fields`.

`chat_models` is the other half: what can be done with a model. Nothing here sends anything.
"""
# ruff: noqa: ANN401  (LangChain's own signatures take any keyword)

import hashlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from langchain_core.language_models import LangSmithParams, LanguageModelInput, ModelProfile
from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.messages import BaseMessage
from pydantic import ConfigDict, SecretStr

from langchain_qwen_omni._calls import plan_call, plan_tools
from langchain_qwen_omni._errors import as_langchain_errors
from langchain_qwen_omni._messages import to_messages
from langchain_qwen_omni._profile import to_model_profile
from langchain_qwen_omni._responses import PROVIDER
from qwen_omni.call_estimate import count_call, count_text, estimate_plan
from qwen_omni.call_plan import SECRET_NAMES, Plan
from qwen_omni.model_fields import ModelFields
from qwen_omni.profiles import profile_for

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from langchain_core.tools import BaseTool

    from qwen_omni.spend.estimates import Estimate

# What may be given to one call and may hold a secret, or is a live object: never told to traces or caches.
_UNTOLD = SECRET_NAMES | {"oss", "spend_limit", "ledger"}


class ChatFields(ModelFields, BaseChatModel):
    """The fields of `ChatQwenOmni`, and what they say about the model."""

    api_key: SecretStr | None = None  # LangChain's dump writes the variable's name in its place
    """Key of the service; `None` takes it from the environment when it is needed."""
    streaming: bool | None = None
    """Read by LangChain alone: whether `invoke` tells handlers the answer chunk by chunk."""

    # Built where it is used: only `ChatQwenOmni` is ever made, and building a class costs much of an import.
    model_config = ConfigDict(arbitrary_types_allowed=True, extra="forbid", protected_namespaces=(), defer_build=True)

    def _plan(self, messages: list[BaseMessage], stop: list[str] | None, options: dict[str, Any]) -> Plan:
        return plan_call(self._chosen(), messages, stop, options)

    # --- Counting ---

    def get_token_ids(self, text: str) -> list[int]:
        """Give one made-up number per estimated token: there is no tokenizer here, only its approximate count."""
        return list(range(count_text(text, self.model)))

    def get_num_tokens(self, text: str) -> int:
        """Count the tokens of a text: exactly with `qwen-omni[tokenizer]`, else nearly."""
        return count_text(text, self.model)

    def get_num_tokens_from_messages(
        self,
        messages: list[BaseMessage],
        tools: "Sequence[dict[str, Any] | type | Callable[..., Any] | BaseTool] | None" = None,
    ) -> int:
        """Estimate the tokens of a conversation. Opens and downloads no media, and never counts it as text.

        Raises:
            UnsupportedContentError: a message that could not be sent either.
        """
        with as_langchain_errors():
            return count_call(to_messages(messages), plan_tools(tools or (), None).tools, self.model)

    def estimate(self, messages: LanguageModelInput, *, answer_tokens: int | None = None, **kwargs: Any) -> "Estimate":
        """Tell what a call of these messages and options will use and cost; sends nothing. See `qwen_omni.estimate`.

        Raises:
            QwenOmniError: a message that cannot be sent, or media that cannot be read or may not be.
        """
        with as_langchain_errors():
            plan = self._plan(self._convert_input(messages).to_messages(), None, kwargs)
            return estimate_plan(plan, answer_tokens)

    # --- What LangChain asks about the model ---

    def _resolve_model_profile(self) -> ModelProfile | None:
        return to_model_profile(profile_for(self.model))

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> LangSmithParams:
        own = [self.stop] if isinstance(self.stop, str) else self.stop
        params = super()._get_ls_params(stop=stop or own, **kwargs)
        params["ls_provider"] = PROVIDER
        return params

    def _get_invocation_params(self, stop: list[str] | None = None, **kwargs: Any) -> dict[str, Any]:
        return super()._get_invocation_params(stop=stop, **_told(kwargs))

    def _get_llm_string(self, stop: list[str] | None = None, **kwargs: Any) -> str:
        told, headers = _told(kwargs), kwargs.get("extra_headers")
        if headers:  # they may change the answer, so they are part of the key: by their digest
            same = str(sorted(headers.items(), key=str) if isinstance(headers, Mapping) else headers)
            told["extra_headers"] = hashlib.sha256(same.encode()).hexdigest()
        return super()._get_llm_string(stop=stop, **told)

    @property
    def _llm_type(self) -> str:
        return "chat-qwen-omni"

    @property
    def _identifying_params(self) -> dict[str, Any]:
        return self._shown()

    @property
    def lc_secrets(self) -> dict[str, str]:
        """Which field is a secret, and the variable it is read from."""
        return {"api_key": "DASHSCOPE_API_KEY"}

    @classmethod
    def is_lc_serializable(cls) -> bool:
        """Tell that `dumpd` and `load` work."""
        return True

    @classmethod
    def get_lc_namespace(cls) -> list[str]:
        """Give the module that `load` finds the class in."""
        return ["langchain_qwen_omni", "chat_models"]


def _told(options: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if name not in _UNTOLD}
