"""What a caller chooses about the connection. With `oss_settings`, the only module that reads the environment."""

import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self, get_args
from urllib.parse import urlsplit

from pydantic import SecretStr

from qwen_omni.addresses import CHAT_PATH, most_seconds, origin_of
from qwen_omni.delivery.links import is_private_host
from qwen_omni.errors import ConfigurationError
from qwen_omni.headers import HiddenHeaders, check_header_value, check_headers
from qwen_omni.options import Delivery, Dialect, UploadProgress
from qwen_omni.oss_settings import OssSettings, from_environment
from qwen_omni.profiles import USUAL_RATE, ExchangeRate, Region
from qwen_omni.ranges import COUNT, POSITIVE_COUNT, RATE, TIMEOUT, WAIT, check_numbers
from qwen_omni.responses import MAX_ANSWER_BYTES
from qwen_omni.spend.costs import PriceOverride
from qwen_omni.spend.ledger import UsageLedger
from qwen_omni.spend.limit import SpendLimit

# Model Studio, OpenAI-compatible Chat API reference, September 2026.
HOSTS: dict[Region, str] = {
    "cn": "https://dashscope.aliyuncs.com",
    "intl": "https://dashscope-intl.aliyuncs.com",
    "us": "https://dashscope-us.aliyuncs.com",
    "hk": "https://cn-hongkong.dashscope.aliyuncs.com",
}

API_KEY_VARIABLE = "DASHSCOPE_API_KEY"
BASE_URL_VARIABLE = "DASHSCOPE_BASE_URL"
CACHE_VARIABLE = "QWEN_OMNI_CACHE_DIR"
PRIVATE_LINKS_VARIABLE = "QWEN_OMNI_PRIVATE_LINKS"
MAX_CNY_VARIABLE = "QWEN_OMNI_MAX_CNY"
MAX_TOKENS_VARIABLE = "QWEN_OMNI_MAX_TOKENS"

SETTINGS_RANGES = {
    "connect_timeout": TIMEOUT,
    "read_timeout": TIMEOUT,
    "total_timeout": TIMEOUT,
    "max_retries": COUNT,
    "retry_wait": WAIT,
    "uplink_mbps": RATE,
    "max_answer_bytes": POSITIVE_COUNT,
}
"""What the numbers of the connection may be."""

_NO_KEY = "none is needed"
_OURS = (".aliyuncs.com", ".qwencloudapi.com")


def default_cache_dir() -> Path:
    """Give the folder for caches: QWEN_OMNI_CACHE_DIR, else where this system keeps them."""
    told = os.environ.get(CACHE_VARIABLE)
    if told:
        return Path(told)
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / "qwen-omni"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "qwen-omni"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "qwen-omni"


def kept_folder() -> Path:
    """Return the folder of kept media: `media` in the cache folder (QWEN_OMNI_CACHE_DIR)."""
    return default_cache_dir() / "media"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How to reach the service. Make it with `Settings.load`, which fills gaps from the environment.

    A pickle holds neither the key nor headers: where it is loaded, the key is taken from the environment.

    Attributes:
        api_key: the service's key; shown nowhere.
        base_url: the address of the OpenAI-compatible routes.
        connect_timeout: seconds to wait for a connection.
        read_timeout: seconds to wait for the next byte. Minutes, on purpose: the service may be silent for a
            minute while it downloads a video.
        total_timeout: seconds to wait for an answer in all, however its bytes come; sending and the reader's own time
            do not count. `None` is what the host allows: 600 s on DashScope's shared hosts, 3,600 s elsewhere.
        max_retries: how often a request that failed in passing is repeated.
        retry_wait: seconds before the first repetition; later ones wait longer.
        media_root: the folder that local paths in messages must lie in.
        headers: sent with every request; shown nowhere.
        delivery: how local media travel; "auto" goes by their size and length.
        oss: a bucket of one's own for large media.
        dialect: whose requests are spoken; `None` goes by `base_url`.
        cache_dir: the folder of the upload cache.
        spend_limit: what calls may cost; share one object to limit several clients together.
        ledger: is told what each call was estimated at and did use; share one object to add up several clients.
        prices: prices of the caller's own, one list or lists by model name, instead of the known ones.
        exchange_rate: what a dollar is worth in yuan.
        private_links: links that the program fetches may lead to private addresses, as to a media server beside it;
            QWEN_OMNI_PRIVATE_LINKS=1 says so too. Links in messages are fetched by the service itself.
        uplink_mbps: megabits per second that can be sent; whether a video is made smaller or sent as it is goes by it.
        max_answer_bytes: the most bytes of one answer that are read, after decoding; speech is 64 kB a second.
        on_upload: is told how far uploads have come, from the threads that upload.
    """

    api_key: SecretStr
    base_url: str
    connect_timeout: float = 10
    read_timeout: float = 600
    total_timeout: float | None = None
    max_retries: int = 3
    retry_wait: float = 1.0
    media_root: Path = field(default_factory=Path)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    delivery: Delivery = "auto"
    oss: OssSettings | None = None
    dialect: Dialect | None = None
    cache_dir: Path = field(default_factory=default_cache_dir)
    spend_limit: SpendLimit | None = None
    ledger: UsageLedger | None = None
    prices: PriceOverride | None = None
    exchange_rate: ExchangeRate = USUAL_RATE
    private_links: bool = False
    uplink_mbps: float = 20.0
    max_answer_bytes: int = MAX_ANSWER_BYTES
    on_upload: Callable[[UploadProgress], None] | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "headers", HiddenHeaders(self.headers))
        check_header_value(self.api_key.get_secret_value(), "The API key")
        check_headers(self.headers, "headers=")
        _check_choice("delivery", self.delivery, get_args(Delivery))
        _check_choice("dialect", self.dialect, (None, *get_args(Dialect)))
        check_numbers(self, SETTINGS_RANGES)

    def __getstate__(self) -> dict[str, Any]:
        # No key travels in a pickle; the other end takes its own from the environment.
        kept = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return {**kept, "api_key": None}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        key = SecretStr(os.environ.get(API_KEY_VARIABLE, "").strip())
        for name, value in {**state, "api_key": key}.items():
            object.__setattr__(self, name, value)

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, _: object) -> Self:
        return self  # nothing of it changes, and its key would be lost on the way of a pickle

    def with_key(self) -> Self:
        """Return these settings, which hold a key.

        Raises:
            ConfigurationError: they come from a pickle, which holds none, and there is none in the environment.
        """
        if not self.api_key.get_secret_value():
            raise ConfigurationError(
                f"Pickled settings hold no API key. Set {API_KEY_VARIABLE} where they are loaded, or use "
                "dataclasses.replace(settings, api_key=SecretStr(...))."
            )
        return self

    @property
    def answer_seconds(self) -> float:
        """How long an answer may take in all: `total_timeout`, or what the host allows."""
        return self.total_timeout or most_seconds(self.base_url)

    @property
    def dialect_used(self) -> Dialect:
        """The dialect, told or guessed."""
        return self.dialect or dialect_of(self.base_url)

    @property
    def origin(self) -> str:
        """Who answers, as finished work is keyed; see `addresses.origin_of`."""
        return origin_of(self.base_url, self.api_key.get_secret_value())

    @classmethod
    def load(
        cls,
        *,
        api_key: str | SecretStr | None = None,
        base_url: str | None = None,
        region: Region | None = None,
        needs_key: bool = True,
        **choices: object,
    ) -> "Settings":
        """Fill in what is not given: the key from `DASHSCOPE_API_KEY`, the address from `DASHSCOPE_BASE_URL`.

        An explicit `base_url` or `region` wins over the environment; without either the mainland's host is used.
        `needs_key=False` is for what only looks and reckons, such as estimates: without a key it goes on without.

        Raises:
            ConfigurationError: no key anywhere, one that no header can carry, an unknown region, or an address that is
                not a URL.
        """
        key = api_key.get_secret_value() if isinstance(api_key, SecretStr) else api_key
        key = (key or os.environ.get(API_KEY_VARIABLE, "")).strip()
        if not key and needs_key:
            raise ConfigurationError(
                f"No API key. Set the environment variable {API_KEY_VARIABLE} or pass api_key=. "
                "Keys belong to a region; without one, the local service of `qwen-omni standin` can be used."
            )
        url = resolve_base_url(base_url, region, os.environ.get(BASE_URL_VARIABLE))
        private = os.environ.get(PRIVATE_LINKS_VARIABLE, "").strip().lower() in ("1", "true", "yes")
        given = {
            "oss": from_environment(),
            "private_links": private,
            **{name: value for name, value in choices.items() if value is not None},
        }
        return cls(api_key=SecretStr(key or _NO_KEY), base_url=url, **given)  # type: ignore[arg-type]


def resolve_base_url(base_url: str | None, region: Region | None, from_environment: str | None) -> str:
    """Choose the address: an explicit URL, an explicit region, the environment, the mainland.

    Example:
        >>> resolve_base_url(None, "intl", None)
        'https://dashscope-intl.aliyuncs.com/compatible-mode/v1'
    """
    if base_url is not None and region is not None:
        raise ConfigurationError("Pass base_url or region, not both: a region is a short name for a base_url.")
    if region is not None:
        if region not in HOSTS:
            raise ConfigurationError(f"Unknown region {region!r}; choose one of {', '.join(get_args(Region))}.")
        return HOSTS[region] + CHAT_PATH
    url = (base_url or from_environment or HOSTS["cn"] + CHAT_PATH).strip().rstrip("/")
    split = urlsplit(url)
    if split.scheme not in ("http", "https") or not split.netloc:
        raise ConfigurationError(f"base_url must be an http or https URL, for example {HOSTS['cn'] + CHAT_PATH}.")
    return url


def dialect_of(base_url: str) -> Dialect:
    """Guess whose requests an address understands.

    The vendor's hosts and its path mean DashScope; another private host is taken for a server of one's own, and any
    other public one for a gateway in front of DashScope.

    Example:
        >>> dialect_of("http://10.0.0.7:8091/v1"), dialect_of("https://gateway.example.com/v1")
        ('vllm', 'dashscope')
    """
    split = urlsplit(base_url)
    host = split.hostname or ""
    if host.endswith(_OURS) or CHAT_PATH in split.path:
        return "dashscope"
    return "vllm" if is_private_host(host) else "dashscope"


def _check_choice(name: str, value: object, choices: tuple[object, ...]) -> None:
    if value not in choices:
        known = ", ".join(repr(choice) for choice in choices if choice is not None)
        raise ConfigurationError(f"{name}={value!r} is not known; choose one of {known}.")


def region_of(base_url: str) -> Region | None:
    """Tell which region an address belongs to; `None` for hosts of one's own."""
    host = urlsplit(base_url).hostname or ""
    for region, shared in HOSTS.items():
        if host == urlsplit(shared).hostname:
            return region
    marks: dict[str, Region] = {
        ".cn-beijing.maas.": "cn",
        ".ap-southeast-1.maas.": "intl",
        ".us-east-1.maas.": "us",
        ".cn-hongkong.maas.": "hk",
    }
    return next((region for mark, region in marks.items() if mark in host), None)
