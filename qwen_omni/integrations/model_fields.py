"""The fields of the chat models of both frameworks, and their connections: defined here once.

`ChatQwenOmni` and `QwenOmni` inherit from a framework's class and from this one. The fields of a call are interpreted
in `qwen_omni.integrations.request_builder`, those of the connection in `qwen_omni.integrations.client_pool`.
"""

import inspect
import linecache
import os
import re
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PrivateAttr, SecretStr, model_validator

from qwen_omni.addresses import warn_of_headers
from qwen_omni.integrations.client_pool import CONNECTION_RANGES, Clients, ConnectionOptions
from qwen_omni.integrations.request_builder import CALL_FIELDS, CONNECTION_FIELDS, SECRET_NAMES, with_our_names
from qwen_omni.options import OPTION_RANGES, Delivery, Dialect, Effort, OutputModality, old_option
from qwen_omni.pricing.ledger import UsageLedger
from qwen_omni.pricing.limit import SpendLimit
from qwen_omni.profiles import DEFAULT_MODEL, Region
from qwen_omni.ranges import check_given
from qwen_omni.settings import OssSettings

if TYPE_CHECKING:
    from qwen_omni.client import AsyncOmniClient, OmniClient

# They may hold secrets or live objects, and do not affect the answer.
_UNSHOWN = SECRET_NAMES | {"oss", "spend_limit", "ledger"}
NUMBERS = {**OPTION_RANGES, **CONNECTION_RANGES}
"""Ranges of the numeric fields of a chat model."""
_FIELDS = ("model", *CALL_FIELDS, *CONNECTION_FIELDS)
_NAME_OR_TEXT = re.compile(r'^    (?:(\w+): |"""(.+?)"""$)', re.MULTILINE | re.DOTALL)
_Model = TypeVar("_Model", bound=BaseModel)


def described(model: type[_Model]) -> type[_Model]:
    """Make the docstrings of a model's own fields their descriptions. A JSON schema has them if building is deferred.

    pydantic's `use_attribute_docstrings` does the same, but parses the module, which slows an import by 5 to 10 ms for
    each class. Without source files, both do nothing.
    """
    lines = linecache.getlines(inspect.getfile(model), vars(sys.modules[model.__module__]))
    begins = next((at for at, line in enumerate(lines) if line.startswith(f"class {model.__name__}(")), len(lines))
    ends = next((at for at in range(begins + 1, len(lines)) if lines[at][0] not in " \n#)"), len(lines))
    name = ""
    for found in _NAME_OR_TEXT.finditer("".join(lines[begins:ends])):
        field = model.model_fields.get(name) if found[2] else None
        if field is not None and field.description is None:
            field.description = inspect.cleandoc(found[2])
        name = found[1] or ""
    return model


@described
class ModelFields(BaseModel):
    """The fields of a chat model, and its clients."""

    model: str = DEFAULT_MODEL
    """Name of the model."""

    api_key: SecretStr | None = Field(default=None, exclude=True)
    """API key of the service; `None` reads it from the environment when it is needed."""
    base_url: str | None = None
    """Address of the service's OpenAI-compatible routes."""
    region: Region | None = None
    """Region, as a short name of an address: cn, intl, us or hk. Keys belong to a region."""
    timeout: float | None = None
    """Seconds to wait for the next byte; minutes by default, since the service is silent while it downloads media."""
    total_timeout: float | None = None
    """Seconds to wait for a whole answer; 600 on DashScope's shared hosts and 3,600 elsewhere by default."""
    connect_timeout: float | None = None
    """Seconds to wait for a connection."""
    max_retries: int | None = None
    """The most retries after transient errors."""
    max_answer_bytes: int | None = None
    """The most bytes of one answer that are read, after decoding; 512 MiB by default, two hours of speech."""
    media_root: Annotated[str, BeforeValidator(os.fspath)] | None = None
    """The folder that local paths in messages must be in."""
    delivery: Delivery | None = None
    """How local media is delivered: "inline", "oss", "temporary", or "auto", which decides by size and duration."""
    oss: OssSettings | None = Field(default=None, exclude=True)
    """A bucket of your own for large media."""
    spend_limit: SpendLimit | None = Field(default=None, exclude=True)
    """The most that calls may cost, checked before sending. Share one object to limit several models together."""
    ledger: UsageLedger | None = Field(default=None, exclude=True)
    """Records the estimate and the usage of each call."""
    dialect: Dialect | None = None
    """The request format of the server, "dashscope" or "vllm"; inferred from the address if not given."""

    temperature: float | None = None
    """Randomness of the answer, from 0 (nearly deterministic) to below 2."""
    top_p: float | None = None
    """Sample from the most likely tokens that together have this probability."""
    top_k: int | None = None
    """Sample from this many of the most likely tokens."""
    max_tokens: int | None = None
    """The most tokens of the answer, reasoning not counted."""
    seed: int | None = None
    """Seed of the sampling; equal requests with equal seeds get similar answers."""
    stop: list[str] | str | None = None
    """The answer ends before the first of these texts."""
    presence_penalty: float | None = None
    """Above 0, tokens that have already occurred become less likely; below 0, more likely."""
    repetition_penalty: float | None = None
    """Above 1, repetitions become less likely."""
    thinking: bool | Effort | None = None
    """`True` or `False` switches thinking on or off, an effort sets how much; `None` leaves the model's default."""
    modalities: list[OutputModality] | None = None
    """`["text", "audio"]` makes the model speak, if it can; `voice` chooses the voice."""
    voice: str | None = None
    """The voice of a spoken answer; the model's default if not given."""
    enable_search: bool | None = None
    """Whether the model may search the web."""
    high_resolution_images: bool | None = None
    """Whether images are read at a higher resolution, with more tokens."""
    multichannel: bool | None = None
    """Whether the channels of stereo or ambisonic audio are processed separately."""
    extra_body: dict[str, Any] | None = None
    """Additional fields of the request, under the service's names."""
    extra_headers: dict[str, str] | None = Field(default=None, repr=False, exclude=True)
    """Additional headers of the request. They may hold secrets, so a dump of the model leaves them out."""

    @model_validator(mode="before")
    @classmethod
    def _given(cls, given: Any) -> Any:  # noqa: ANN401  (whatever a model is made of)
        """Translate alternative names, and check the numbers before pydantic converts a string or `True` to one."""
        return check_given(with_our_names(given, cls.model_fields), NUMBERS) if isinstance(given, Mapping) else given

    search = old_option("search")

    _clients: Clients = PrivateAttr(default_factory=Clients)

    # Built by the subclasses: only the frameworks' classes are instantiated, and building a class slows the import.
    model_config = ConfigDict(arbitrary_types_allowed=True, extra="forbid", protected_namespaces=(), defer_build=True)

    def __getstate__(self) -> dict[Any, Any]:
        # A pickle holds no key; the environment supplies one where it is loaded.
        warn_of_headers(self.extra_headers)
        state = super().__getstate__()
        return {**state, "__dict__": {**state["__dict__"], "api_key": None, "extra_headers": None}}

    def client(self) -> "OmniClient":
        """Return the core client of this model's connection, for features that the framework does not cover."""
        return self._clients.sync(self._connection())

    def aclient(self) -> "AsyncOmniClient":
        """Return the asynchronous core client."""
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
        """Return the fields that a call is planned from; `None` where not set."""
        return {name: getattr(self, name) for name in _FIELDS}

    def _shown(self) -> dict[str, Any]:
        """Return the fields that are set and safe to show: no secrets, no live objects."""
        return {name: value for name, value in self._chosen().items() if name not in _UNSHOWN and value is not None}
