"""What a chat model is set to, and what LangChain asks about it: fields, profile, counting, dumping.

`chat_models` is the other half: what can be done with a model. Nothing here sends anything.
"""
# ruff: noqa: ANN401  (LangChain's own signatures take any keyword)

import os
from typing import TYPE_CHECKING, Annotated, Any

from langchain_core.language_models import LangSmithParams, LanguageModelInput, ModelProfile
from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.messages import BaseMessage
from pydantic import BeforeValidator, ConfigDict, Field, PrivateAttr, SecretStr

from langchain_qwen_omni._calls import plan_call, plan_tools
from langchain_qwen_omni._errors import as_langchain_errors
from langchain_qwen_omni._messages import to_messages
from langchain_qwen_omni._profile import to_model_profile
from langchain_qwen_omni._responses import PROVIDER
from qwen_omni.call_estimate import count_call, count_text, estimate_plan
from qwen_omni.call_plan import CALL_FIELDS, CONNECTION_FIELDS, Plan
from qwen_omni.connections import Clients
from qwen_omni.delivery.delivered import Delivery
from qwen_omni.options import Dialect, Effort, OutputModality
from qwen_omni.oss_settings import OssSettings
from qwen_omni.profiles import DEFAULT_MODEL, Region, profile_for
from qwen_omni.spend.ledger import UsageLedger
from qwen_omni.spend.limit import SpendLimit

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from langchain_core.tools import BaseTool

    from qwen_omni.spend.estimates import Estimate

# May hold secrets, or live objects; they identify nothing about an answer.
_UNSHOWN = frozenset({"api_key", "extra_headers", "oss", "spend_limit", "ledger"})


class ModelFields(BaseChatModel):
    """The fields of `ChatQwenOmni`, and what they say about the model."""

    model: str = DEFAULT_MODEL
    """Name of the model."""

    api_key: SecretStr | None = None
    """Key of the service; `None` takes it from the environment when it is needed."""
    base_url: str | None = None
    """Address of the service's OpenAI-compatible routes."""
    region: Region | None = None
    """Short name of an address: cn, intl, us or hk. Keys belong to a region."""
    timeout: float | None = None
    """Seconds to wait for the next byte; minutes by default, since the service downloads media in silence."""
    connect_timeout: float | None = None
    """Seconds to wait for a connection."""
    max_retries: int | None = None
    """How often a request that failed in passing is repeated."""
    media_root: Annotated[str, BeforeValidator(os.fspath)] | None = None
    """The folder that local paths in messages must lie in."""
    delivery: Delivery | None = None
    """How local media travel: "inline", "oss", "temporary", or "auto", which goes by their size and length."""
    oss: OssSettings | None = Field(default=None, exclude=True)
    """A bucket of your own for large media."""
    spend_limit: SpendLimit | None = Field(default=None, exclude=True)
    """What calls may cost; refused before anything is sent. Share one object to limit several models together."""
    ledger: UsageLedger | None = Field(default=None, exclude=True)
    """Is told what each call was estimated at and did use."""
    dialect: Dialect | None = None
    """Whose requests the server understands, "dashscope" or "vllm"; goes by the address if not given."""

    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    max_tokens: int | None = None
    """Most tokens of the answer, thinking not counted."""
    seed: int | None = None
    stop: list[str] | str | None = None
    presence_penalty: float | None = None
    repetition_penalty: float | None = None
    thinking: bool | Effort | None = None
    """`True` or `False` switches thinking, an effort says how much; `None` leaves the model's default."""
    modalities: list[OutputModality] | None = None
    """`["text", "audio"]` makes the model speak, if it can; `voice` says who."""
    voice: str | None = None
    search: bool | None = None
    """Whether the model may search the web."""
    high_resolution_images: bool | None = None
    multichannel: bool | None = None
    """Whether stereo or ambisonic sound is heard by channel."""
    extra_body: dict[str, Any] | None = None
    """Further fields of the request, as the service names them."""
    extra_headers: dict[str, str] | None = Field(default=None, repr=False, exclude=True)
    """Further headers of the request. They may hold secrets, so a dump of the model leaves them out."""
    streaming: bool | None = None
    """Read by LangChain alone: whether `invoke` tells handlers the answer chunk by chunk."""

    _clients: Clients = PrivateAttr(default_factory=Clients)

    # Built where it is used: only `ChatQwenOmni` is ever made, and building a class costs much of an import.
    model_config = ConfigDict(arbitrary_types_allowed=True, extra="forbid", protected_namespaces=(), defer_build=True)

    def _plan(self, messages: list[BaseMessage], stop: list[str] | None, options: dict[str, Any]) -> Plan:
        fields = {name: getattr(self, name) for name in ("model", *CALL_FIELDS, *CONNECTION_FIELDS)}
        return plan_call(fields, messages, stop, options)

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

    @property
    def _llm_type(self) -> str:
        return "chat-qwen-omni"

    @property
    def _identifying_params(self) -> dict[str, Any]:
        names = ("model", *CALL_FIELDS, *CONNECTION_FIELDS)
        chosen = {name: getattr(self, name) for name in names if name not in _UNSHOWN}
        return {name: value for name, value in chosen.items() if value is not None}

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
