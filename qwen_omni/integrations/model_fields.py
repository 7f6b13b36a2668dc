"""What a chat model of either framework is set to, and the connections that come of it: written here once.

`ChatQwenOmni` and `QwenOmni` are a framework's own class and this one. What the fields of a call mean is decided in
`qwen_omni.integrations.request_builder`, what those of the connection mean in `qwen_omni.integrations.client_pool`.
"""

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PrivateAttr, SecretStr, model_validator

from qwen_omni.addresses import warn_of_headers
from qwen_omni.integrations.client_pool import CONNECTION_RANGES, Clients, ConnectionOptions
from qwen_omni.integrations.request_builder import CALL_FIELDS, CONNECTION_FIELDS, SECRET_NAMES, with_our_names
from qwen_omni.options import OPTION_RANGES, Delivery, Dialect, Effort, OutputModality
from qwen_omni.pricing.ledger import UsageLedger
from qwen_omni.pricing.limit import SpendLimit
from qwen_omni.profiles import DEFAULT_MODEL, Region
from qwen_omni.ranges import check_given
from qwen_omni.settings import OssSettings

if TYPE_CHECKING:
    from qwen_omni.client import AsyncOmniClient, OmniClient

# May hold secrets, or live objects; they identify nothing about an answer.
_UNSHOWN = SECRET_NAMES | {"oss", "spend_limit", "ledger"}
NUMBERS = {**OPTION_RANGES, **CONNECTION_RANGES}
"""What the numeric fields of a chat model may be."""
_FIELDS = ("model", *CALL_FIELDS, *CONNECTION_FIELDS)


class ModelFields(BaseModel):
    """The fields of a chat model, and its clients."""

    model: str = DEFAULT_MODEL
    """Name of the model."""

    api_key: SecretStr | None = Field(default=None, exclude=True)
    """Key of the service; `None` takes it from the environment when it is needed."""
    base_url: str | None = None
    """Address of the service's OpenAI-compatible routes."""
    region: Region | None = None
    """Short name of an address: cn, intl, us or hk. Keys belong to a region."""
    timeout: float | None = None
    """Seconds to wait for the next byte; minutes by default, since the service downloads media in silence."""
    total_timeout: float | None = None
    """Seconds to wait for a whole answer; 600 on DashScope's shared hosts and 3,600 elsewhere by default."""
    connect_timeout: float | None = None
    """Seconds to wait for a connection."""
    max_retries: int | None = None
    """How often a request that failed in passing is repeated."""
    max_answer_bytes: int | None = None
    """The most bytes of one answer that are read, after decoding; 512 MiB by default, two hours of speech."""
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

    @model_validator(mode="before")
    @classmethod
    def _given(cls, given: Any) -> Any:  # noqa: ANN401  (whatever a model is made of)
        """Use our names, and check the numbers before pydantic reads a text or `True` as one."""
        return check_given(with_our_names(given, cls.model_fields), NUMBERS) if isinstance(given, Mapping) else given

    _clients: Clients = PrivateAttr(default_factory=Clients)

    # Built where it is used: only the frameworks' classes are ever made, and building a class costs much of an import.
    model_config = ConfigDict(arbitrary_types_allowed=True, extra="forbid", protected_namespaces=(), defer_build=True)

    def __getstate__(self) -> dict[Any, Any]:
        # No key travels in a pickle; the other end takes its own from the environment.
        warn_of_headers(self.extra_headers)
        state = super().__getstate__()
        return {**state, "__dict__": {**state["__dict__"], "api_key": None, "extra_headers": None}}

    def client(self) -> "OmniClient":
        """Return the core's client of this model's connection, for what the framework has no words for."""
        return self._clients.sync(self._connection())

    def aclient(self) -> "AsyncOmniClient":
        """Return the asynchronous one."""
        return self._clients.asynchronous(self._connection())

    def close(self) -> None:
        """Close the connections of synchronous methods; the next call opens new ones."""
        self._clients.close()

    async def aclose(self) -> None:
        """Close the connections that asynchronous methods opened in the running event loop."""
        await self._clients.aclose()

    def _connection(self) -> ConnectionOptions:
        return ConnectionOptions(**{name: getattr(self, name) for name in CONNECTION_FIELDS})

    def _chosen(self) -> dict[str, Any]:
        """Return all that a call is planned by; `None` where nothing was chosen."""
        return {name: getattr(self, name) for name in _FIELDS}

    def _shown(self) -> dict[str, Any]:
        """Return what was chosen and may be told: no secrets, no live objects."""
        return {name: value for name, value in self._chosen().items() if name not in _UNSHOWN and value is not None}
