"""The fields of the chat models of both frameworks, their names elsewhere, and their connections: defined here once.

`ChatQwenOmni` and `QwenOmni` inherit from a framework's class and from `ModelFields`. The fields of a call are
interpreted in `qwen_omni.integrations.request_builder`.

Clients are created on first use, one per set of connection options. They belong to the process that created them.
Copies and pickles of a model start without clients, so they carry no connection, lock or key. The environment is read
here, through `Settings.load`, and never stored in the model.
"""

import dataclasses
import difflib
import functools
import inspect
import linecache
import os
import re
import sys
import threading
import weakref
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PrivateAttr, SecretStr, model_validator

from qwen_omni._moved import MOVED_OPTIONS, old_option, warn
from qwen_omni.addresses import HiddenHeaders, warn_of_headers
from qwen_omni.errors import ConfigurationError, UnknownOptionError
from qwen_omni.options import OPTION_RANGES, ChatOptions, Delivery, Dialect, Effort, OutputModality, Tier
from qwen_omni.pricing.ledger import UsageLedger
from qwen_omni.pricing.limit import SpendLimit
from qwen_omni.profiles import DEFAULT_MODEL, Profile, Region
from qwen_omni.profiles.rate_limits import LimitsOverride, RateLimits
from qwen_omni.ranges import check_given, check_numbers
from qwen_omni.settings import SETTINGS_RANGES, OssSettings, OwnCopy, Settings

if TYPE_CHECKING:  # the client imports the HTTP library, which importing an adapter should not
    from qwen_omni.client import AsyncOmniClient, OmniClient

# --- Connections ---

CONNECTION_RANGES = {
    "timeout": SETTINGS_RANGES["read_timeout"],
    "total_timeout": SETTINGS_RANGES["total_timeout"],
    "connect_timeout": SETTINGS_RANGES["connect_timeout"],
    "max_retries": SETTINGS_RANGES["max_retries"],
    "max_answer_bytes": SETTINGS_RANGES["max_answer_bytes"],
    "burst_wait": SETTINGS_RANGES["burst_wait"],
}
"""Ranges of the numeric connection options of a chat model."""


class CallKey(OwnCopy, SecretStr):
    """A call's key, which frameworks store and may pickle: it unpickles as `None`, so the environment's is used."""

    def __reduce__(self) -> tuple[Any, ...]:
        return _no_key, ()


def _no_key() -> None:
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionOptions(OwnCopy):
    """The caller's connection options; `None` leaves one to the environment or the default."""

    api_key: SecretStr | None = None
    base_url: str | None = None
    region: Region | None = None
    workspace: str | None = None
    timeout: float | None = None
    total_timeout: float | None = None
    connect_timeout: float | None = None
    max_retries: int | None = None
    max_answer_bytes: int | None = None
    media_root: str | Path | None = None
    delivery: Delivery | None = None
    oss: OssSettings | None = None
    dialect: Dialect | None = None
    request_kwargs: bool | None = None
    served_profile: str | None = None
    spend_limit: SpendLimit | None = None
    ledger: UsageLedger | None = None
    limits: LimitsOverride | tuple[tuple[str, RateLimits], ...] | None = None
    burst_wait: int | None = None

    def __post_init__(self) -> None:
        check_numbers(self, CONNECTION_RANGES)
        if isinstance(self.limits, Mapping):  # options are the key of their client
            object.__setattr__(self, "limits", tuple(sorted(self.limits.items())))

    def __reduce__(self) -> tuple[Any, ...]:
        # A pickle holds no key; the environment supplies one where it is loaded.
        kept = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return functools.partial(ConnectionOptions, **{**kept, "api_key": None}), ()

    def load(self, *, needs_key: bool = True) -> Settings:
        """Return settings, with gaps filled from the environment; see `Settings.load`.

        Raises:
            ConfigurationError: there is no key, or the address is invalid.
        """
        given = {name: getattr(self, name) for name in self.__dataclass_fields__}
        given["read_timeout"] = given.pop("timeout")
        if isinstance(self.limits, tuple):
            given["limits"] = dict(self.limits)
        if self.media_root is not None:
            given["media_root"] = Path(self.media_root)
        return Settings.load(needs_key=needs_key, **given)


CONNECTION_FIELDS = tuple(ConnectionOptions.__dataclass_fields__)
"""Fields of the connection."""


# --- Names of options ---

T = TypeVar("T")

CALL_FIELDS = (
    "temperature", "top_p", "top_k", "max_tokens", "seed", "stop", "presence_penalty", "repetition_penalty", "thinking",
    "modalities", "voice", "enable_search", "high_resolution_images", "multichannel", "tier", "extra_body",
    "extra_headers",
)  # fmt: skip
"""Fields of one answer."""

OTHER_NAMES = {
    "model_name": "model", "max_completion_tokens": "max_tokens", "max_output_tokens": "max_tokens",
    "stop_sequences": "stop", "enable_thinking": "thinking", "reasoning_effort": "thinking", "search": "enable_search",
    "vl_high_resolution_images": "high_resolution_images", "use_multichannel": "multichannel",
    "request_timeout": "timeout", "api_base": "base_url", "openai_api_base": "base_url", "openai_api_key": "api_key",
    "dashscope_api_key": "api_key", "default_headers": "extra_headers",
}  # fmt: skip
"""Alternative names in other integrations and in the service itself."""

SECRET_NAMES = frozenset(
    {"api_key", "extra_headers", *(name for name, ours in OTHER_NAMES.items() if ours in ("api_key", "extra_headers"))}
)
"""Options that may hold a secret; they are kept out of traces and caches."""

_BODIES = ("model_kwargs", "additional_kwargs")  # in langchain-openai and in llama-index-llms-openai
_ANSWERED = {
    "frequency_penalty": "this service has presence_penalty and repetition_penalty",
    "n": "this service returns one answer per call; call it several times",
    "logprobs": "this service returns no probabilities",
    "top_logprobs": "this service returns no probabilities",
    "stream": "every request streams; call stream() for the pieces",
    "stream_options": "usage is always requested",
    "stream_usage": "usage is always requested",
    "incremental_output": "every request streams in pieces",
    "context_window": "it comes from the model's profile",
    "is_chat_model": "it comes from the model's profile",
    "is_function_calling_model": "it comes from the model's profile",
    "organization": "this service has none",
    "http_client": "clients are created internally; configure them with timeout, max_retries and base_url",
}


def with_our_names(given: Mapping[str, Any], known: Collection[str]) -> dict[str, Any]:
    """Translate option names of other integrations; request fields without an option here go to `extra_body`.

    Example:
        >>> with_our_names({"enable_thinking": False, "model_kwargs": {"seed": 1, "thinking_budget": 9}}, CALL_FIELDS)
        {'thinking': False, 'seed': 1, 'extra_body': {'thinking_budget': 9}}

    Raises:
        ConfigurationError: two names set one option to different values, or the service has no such option.
    """
    named: dict[str, Any] = {}
    body: dict[str, Any] = {}
    for name, value in given.items():
        if name not in _BODIES or name in known:
            _name(named, name, value, known)
            continue
        if value is not None and not isinstance(value, Mapping):
            raise ConfigurationError(f"{name} must be a dictionary, got {type(value).__name__}.")
        for inner, inner_value in (value or {}).items():
            ours = OTHER_NAMES.get(inner, inner)
            if ours in known or inner in _ANSWERED:
                _name(named, inner, inner_value, known)
            else:
                body[inner] = inner_value
    if body:
        named["extra_body"] = {**body, **(named.get("extra_body") or {})}
    return named


def with_choices(options: T, choices: Mapping[str, Any], owner: type) -> T:
    """Return a dataclass of options with what the keywords of a constructor change.

    Args:
        options: the options.
        choices: the keywords that the constructor has no parameter for.
        owner: the class that is constructed.

    Raises:
        UnknownOptionError: one of them is no field of the options.
        ConfigurationError: an invalid value.
    """
    names = [one.name for one in dataclasses.fields(options)]  # type: ignore[arg-type]  # a dataclass
    own = [
        name
        for name, one in inspect.signature(owner).parameters.items()
        if one.kind is inspect.Parameter.KEYWORD_ONLY and name not in names
    ]
    asked = [name for name in choices if MOVED_OPTIONS.get(name) not in names]  # an old name warns
    check_names(asked, [*own, *names], owner.__name__)
    return dataclasses.replace(options, **choices)  # type: ignore[type-var]


def check_names(given: Iterable[str], known: Collection[str], who: str) -> None:
    """Check that options exist.

    Raises:
        UnknownOptionError: an option is unknown; the message suggests the closest name and lists all.
    """
    for name in given:
        if name in known:
            continue
        near = difflib.get_close_matches(name, known, n=1)
        guess = f"; did you mean {near[0]!r}?" if near else "."
        options = f"Known options: {', '.join(known)}." if known else "It takes none."
        raise UnknownOptionError(f"{who} has no option {name!r}{guess} {options}")


def check_call(given: Collection[str], owner: str) -> None:
    """Check that a call has no options: they belong to the constructor.

    Raises:
        UnknownOptionError: the call has options.
    """
    if given:
        raise UnknownOptionError(
            f"Calls of {owner} take no options, got {', '.join(map(repr, given))}. Pass options to its constructor."
        )


def _name(named: dict[str, Any], name: str, value: object, known: Collection[str]) -> None:
    ours = name if name in known else OTHER_NAMES.get(name, name)
    if name not in known and name in _ANSWERED and value is not None:
        raise ConfigurationError(f"There is no option {name!r}: {_ANSWERED[name]}.")
    if name != ours and MOVED_OPTIONS.get(name) == ours:
        warn(f"{name}=", f"{ours}=")
    before = named.get(ours)
    if before is None or value is None or before == value:
        named[ours] = before if value is None and before is not None else value
    elif ours == "thinking" and before is True and isinstance(value, str) and value != "none":
        named[ours] = value  # switches thinking on, and sets how much
    elif not (ours == "thinking" and value is True and isinstance(before, str) and before != "none"):
        raise ConfigurationError(f"{ours} is set twice, to {before!r} and ({name}=) to {value!r}; set it once.")


def without_pickled_secrets(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return options of a call for a framework to store: their key and headers appear in no repr and no pickle."""
    hidden = {
        name: CallKey(value.get_secret_value()) if isinstance(value, SecretStr) else HiddenHeaders(value)
        for name, value in options.items()
        if name in SECRET_NAMES and isinstance(value, (SecretStr, Mapping))
    }
    return {**options, **hidden}


# --- Clients ---

_Client = TypeVar("_Client")
_MOST = 32  # clients of one kind; a program with new options for every call must not accumulate connections


class Clients:
    """Holds the clients of one chat model. Safe to share between threads."""

    def __init__(self) -> None:
        self._start()
        _made.add(self)

    def _start(self) -> None:
        self._lock = threading.Lock()
        self._sync: dict[ConnectionOptions, OmniClient] = {}
        self._async: dict[ConnectionOptions, AsyncOmniClient] = {}
        weakref.finalize(self, _close_all, self._sync)

    def sync(self, options: ConnectionOptions) -> "OmniClient":
        """Return the client for these options, created on first use."""
        from qwen_omni.client import OmniClient  # noqa: PLC0415

        return self._kept(self._sync, options, OmniClient)

    def asynchronous(self, options: ConnectionOptions) -> "AsyncOmniClient":
        """Return the asynchronous client for these options, created on first use."""
        from qwen_omni.client import AsyncOmniClient  # noqa: PLC0415

        return self._kept(self._async, options, AsyncOmniClient)

    def _kept(
        self, kept: dict[ConnectionOptions, _Client], options: ConnectionOptions, make: Callable[[Settings], _Client]
    ) -> _Client:
        with self._lock:
            client = kept.get(options)
            if client is None:
                client = make(options.load())
                if len(kept) >= _MOST:
                    del kept[next(iter(kept))]  # calls that still run hold their client themselves
                kept[options] = client
            return client

    def close(self) -> None:
        """Close the synchronous clients; the next call creates new ones."""
        with self._lock:
            _close_all(self._sync)

    async def aclose(self) -> None:
        """Close the connections of the asynchronous clients in the running event loop."""
        with self._lock:
            clients = list(self._async.values())
        for client in clients:
            await client.aclose()

    def __reduce__(self) -> tuple[Any, ...]:
        return Clients, ()

    def __repr__(self) -> str:
        return "Clients()"


_made: weakref.WeakSet[Clients] = weakref.WeakSet()


def _start_anew() -> None:
    """In a forked process, drop the clients of the parent, and locks that a thread of the parent may hold."""
    for clients in list(_made):
        clients._start()  # noqa: SLF001  (this module's own)


if hasattr(os, "register_at_fork"):  # not on Windows, which cannot fork
    os.register_at_fork(after_in_child=_start_anew)


def _close_all(kept: dict[ConnectionOptions, "OmniClient"]) -> None:
    while kept:
        kept.popitem()[1].close()


# --- Fields ---

UNSHOWN = SECRET_NAMES | {"oss", "spend_limit", "ledger", "limits"}
"""Options that may hold a secret, or are live objects: kept out of traces, caches and reprs."""

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
    """Region, as a short name of an address: cn, intl, us, hk, jp or de. Keys belong to a region."""
    workspace: str | None = None
    """ID of a workspace, whose own host lets a request run for an hour. Needed in jp and de."""
    timeout: float | None = None
    """Seconds to wait for the next byte; minutes by default, since the service is silent while it downloads media."""
    total_timeout: float | None = None
    """Seconds to wait for a whole answer; by default 600 on DashScope's shared hosts, 3,600 on workspace hosts."""
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
    limits: LimitsOverride | None = Field(default=None, exclude=True)
    """Your account's requests and tokens a minute, for every model or by model name, instead of the published ones."""
    burst_wait: int | None = None
    """Seconds that DashScope may queue a request while the rate rises too quickly; 30 by default, 0 disables it."""
    dialect: Dialect | None = None
    """The request format of the server, "dashscope" or "vllm"; the server is asked if not given."""
    request_kwargs: bool | None = None
    """Whether your own server takes processor options in requests (vLLM's `--trust-request-mm-kwargs`)."""
    served_profile: str | None = None
    """The model whose limits and prices apply on your own server; by default none do."""

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
    tier: Tier | None = None
    """`"batch"` sends calls to Batch Chat: half price, an answer within an hour; some models only, in Beijing.

    Of a long video, it applies to the steps without media. Loaders, readers and tools answer in real time.
    """
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

    def chat_options(self) -> ChatOptions:
        """Return the fields that are options of an answer, as the core takes them."""
        names = (*OPTION_RANGES, "extra_body", "extra_headers")
        return ChatOptions(**{name: value for name in names if (value := getattr(self, name)) is not None})

    def _profile(self) -> Profile:
        """Return what the model can do on its server."""
        return self._connection().load(needs_key=False).profile(self.model)

    def _chosen(self) -> dict[str, Any]:
        """Return the fields that a call is planned from; `None` where not set."""
        return {name: getattr(self, name) for name in _FIELDS}

    def _shown(self) -> dict[str, Any]:
        """Return the fields that are set and safe to show: no secrets, no live objects."""
        return {name: value for name, value in self._chosen().items() if name not in UNSHOWN and value is not None}
