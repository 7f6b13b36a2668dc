"""Connection settings and OSS bucket settings. The only module that reads the environment.

OSS keys come from explicit values, from a provider that is called before every request, or from the environment. They
never appear in a repr or a pickle: an unpickled value reads them from the environment again.
"""

import math
import os
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, Self, get_args
from urllib.parse import SplitResult, urlsplit

from pydantic import SecretStr

from qwen_omni.addresses import (
    BATCH_HOST,
    CHAT_PATH,
    NATIVE_PATH,
    VENDOR,
    HiddenHeaders,
    Server,
    StoreAddress,
    check_header_value,
    check_headers,
    host_kind,
    host_of,
    is_dashscope,
    is_host,
    is_vendor,
    known_server,
    long_enough,
    most_seconds,
    origin_of,
    server_at,
    workspace_url,
    zone_of,
)
from qwen_omni.errors import ConfigurationError
from qwen_omni.options import Delivery, Dialect, Tier, UploadProgress
from qwen_omni.pricing.costs import PriceOverride
from qwen_omni.pricing.ledger import UsageLedger
from qwen_omni.pricing.limit import SpendLimit
from qwen_omni.profiles import USUAL_RATE, ExchangeRate, Profile, Region, profile_for
from qwen_omni.profiles.batch import QUEUE_SECONDS
from qwen_omni.profiles.open_models import open_profile
from qwen_omni.profiles.rate_limits import LimitsOverride, RateLimits, check_limits, published_limits
from qwen_omni.ranges import COUNT, POSITIVE_COUNT, RATE, TIMEOUT, WAIT, Range, check_numbers
from qwen_omni.responses import MAX_ANSWER_BYTES

KEY_ID_VARIABLE = "OSS_ACCESS_KEY_ID"
KEY_SECRET_VARIABLE = "OSS_ACCESS_KEY_SECRET"  # noqa: S105  (a name)
TOKEN_VARIABLE = "OSS_SESSION_TOKEN"  # noqa: S105  (a name)
BUCKET_VARIABLE = "QWEN_OMNI_OSS_BUCKET"
ENDPOINT_VARIABLE = "QWEN_OMNI_OSS_ENDPOINT"
REGION_VARIABLE = "QWEN_OMNI_OSS_REGION"
PREFIX_VARIABLE = "QWEN_OMNI_OSS_PREFIX"

# Longest validity of a V4 link; OSS, "Sign a URL with V4", read 2026-05.
LONGEST_LINK_SECONDS = 7 * 24 * 3600
_LATEST = 1e12  # seconds since 1970
_REGION = re.compile(r"(?:^|\.)oss-([a-z0-9-]+?)(?:-internal)?\.aliyuncs\.com$")


class OwnCopy:
    """A value that is its own copy: it is immutable, and a copy through a pickle would lose the key."""

    __slots__ = ()

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, _: object) -> Self:
        return self


@dataclass(frozen=True, slots=True, kw_only=True)
class OssCredentials(OwnCopy):
    """A key to a bucket; a temporary STS key also has `security_token` and `expires_at` (seconds since 1970).

    Raises:
        ConfigurationError: a value that cannot be sent in a header; the error does not show it.
    """

    access_key_id: SecretStr
    access_key_secret: SecretStr
    security_token: SecretStr | None = None
    expires_at: float | None = None

    def __post_init__(self) -> None:
        check_numbers(self, {"expires_at": Range(least=0, most=_LATEST)})
        for name in ("access_key_id", "access_key_secret", "security_token"):
            hidden: SecretStr | None = getattr(self, name)
            if hidden is not None:
                check_header_value(hidden.get_secret_value(), f"The {name} of the bucket's key")

    @classmethod
    def of(
        cls, key_id: str, secret: str, token: str | None = None, *, expires_at: float | None = None
    ) -> "OssCredentials":
        """Build credentials from plain strings. Raises as the class does."""
        hidden = None if not token else SecretStr(token)
        return cls(
            access_key_id=SecretStr(key_id),
            access_key_secret=SecretStr(secret),
            security_token=hidden,
            expires_at=expires_at,
        )

    def __repr__(self) -> str:
        return "OssCredentials(<hidden>)"

    def __reduce__(self) -> tuple[Any, ...]:
        return environment_credentials, ()  # no key travels in a pickle


CredentialsSource = OssCredentials | Callable[[], OssCredentials]


_RANGES = {
    "link_seconds": Range(least=60, most=LONGEST_LINK_SECONDS, whole=True),  # shorter links expire too soon
    "reuse_seconds": WAIT,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class OssSettings(OwnCopy):
    """A bucket for media that is too large or too long for a request. It can stay private: links are signed.

    Attributes:
        bucket: name of the bucket.
        endpoint: the address that the service can reach, e.g. `oss-cn-beijing.aliyuncs.com`. The bucket should be
            in the region of the model.
        upload_endpoint: a different address for this program's own requests, e.g. the internal endpoint.
        region: e.g. `cn-beijing`; derived from the endpoint if not given. V4 signatures need it.
        prefix: prefix of object names.
        credentials: the key, or a function that returns the current one; `None` reads OSS_ACCESS_KEY_ID,
            OSS_ACCESS_KEY_SECRET and OSS_SESSION_TOKEN before every request.
        signature: signature version.
        link_seconds: how long a link is valid. Must exceed the time that the service may queue a request.
        reuse_seconds: how long an uploaded object is assumed to exist; an error from the service overrides it.
        delete_after_use: delete each object when its request is done; nothing is reused then.
        check_crc: compare the checksums of sent and stored data. Slow if `crcmod` has no C extension.

    Example:
        >>> OssSettings(bucket="my-media", endpoint="oss-cn-beijing.aliyuncs.com").region_name
        'cn-beijing'
    """

    bucket: str
    endpoint: str
    upload_endpoint: str | None = None
    region: str | None = None
    prefix: str = "qwen-omni"
    credentials: CredentialsSource | None = field(default=None, repr=False)
    signature: Literal["v4", "v1"] = "v4"
    link_seconds: int = 6 * 3600
    reuse_seconds: float = 7 * 24 * 3600
    delete_after_use: bool = False
    check_crc: bool = True

    def __post_init__(self) -> None:
        for name in ("bucket", "endpoint", "upload_endpoint", "region"):
            text: str | None = getattr(self, name)
            if text is not None:
                check_header_value(text, f"{name}= of OssSettings")
        check_numbers(self, _RANGES)
        if self.signature == "v4" and self.region_name is None:
            raise ConfigurationError(
                f"The region of {self.endpoint!r} is not known, and V4 signatures need it. Pass region=, "
                "for example region='cn-beijing'."
            )

    @property
    def region_name(self) -> str | None:
        """The region, as given or derived from the endpoint."""
        found = _REGION.search(urlsplit(with_scheme(self.endpoint)).hostname or "")
        return self.region or (found[1] if found else None)

    def object_name(self, name: str) -> str:
        """Return the full name of an object, without the leading slash that OSS refuses.

        Example:
            >>> OssSettings(bucket="b", endpoint="oss-cn-beijing.aliyuncs.com", prefix="/videos/").object_name("a.mp4")
            'videos/a.mp4'
        """
        prefix = self.prefix.strip("/")
        return f"{prefix}/{name}" if prefix else name

    def current_credentials(self) -> OssCredentials:
        """Return the current credentials.

        Raises:
            ConfigurationError: no credentials are configured, or they cannot be sent in a header.
        """
        if callable(self.credentials):
            return self.credentials()
        if self.credentials is not None:
            return self.credentials
        return environment_credentials(f" {self.bucket!r}")

    def __getstate__(self) -> dict[str, Any]:
        # A pickle holds no key; the environment supplies one where it is loaded.
        kept = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return {**kept, "credentials": None}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        for name, value in state.items():
            object.__setattr__(self, name, value)


def environment_credentials(bucket: str = "") -> OssCredentials:
    """Read the key of a bucket from the environment.

    Raises:
        ConfigurationError: there is none, or it cannot be sent in a header.
    """
    key_id, secret, token = (
        os.environ.get(name, "").strip() for name in (KEY_ID_VARIABLE, KEY_SECRET_VARIABLE, TOKEN_VARIABLE)
    )
    if not key_id or not secret:
        raise ConfigurationError(
            f"No key for the bucket{bucket}. Set {KEY_ID_VARIABLE} and {KEY_SECRET_VARIABLE} "
            f"(and {TOKEN_VARIABLE} for a temporary key), or pass credentials= to OssSettings."
        )
    return OssCredentials.of(key_id, secret, token)


def with_scheme(endpoint: str) -> str:
    """Return an endpoint as a URL, with https unless it names a scheme."""
    return endpoint if "://" in endpoint else f"https://{endpoint}"


def from_environment() -> OssSettings | None:
    """Build settings from QWEN_OMNI_OSS_BUCKET, …_ENDPOINT, …_REGION and …_PREFIX; `None` if no bucket is set.

    Raises:
        ConfigurationError: a bucket without an endpoint.
    """
    bucket = os.environ.get(BUCKET_VARIABLE, "").strip()
    if not bucket:
        return None
    endpoint = os.environ.get(ENDPOINT_VARIABLE, "").strip()
    if not endpoint:
        raise ConfigurationError(f"{BUCKET_VARIABLE} is set but {ENDPOINT_VARIABLE} is not; set both.")
    region = os.environ.get(REGION_VARIABLE, "").strip() or None
    return OssSettings(
        bucket=bucket, endpoint=endpoint, region=region, prefix=os.environ.get(PREFIX_VARIABLE, "qwen-omni")
    )


# Model Studio, OpenAI-compatible Chat API reference, September 2026. Tokyo and Frankfurt have workspace hosts only.
HOSTS: dict[Region, str] = {
    "cn": "https://dashscope.aliyuncs.com",
    "intl": "https://dashscope-intl.aliyuncs.com",
    "us": "https://dashscope-us.aliyuncs.com",
    "hk": "https://cn-hongkong.dashscope.aliyuncs.com",
}

API_KEY_VARIABLE = "DASHSCOPE_API_KEY"
BASE_URL_VARIABLE = "DASHSCOPE_BASE_URL"
WORKSPACE_VARIABLE = "DASHSCOPE_WORKSPACE"
BATCH_URL_VARIABLE = "DASHSCOPE_BATCH_BASE_URL"
CACHE_VARIABLE = "QWEN_OMNI_CACHE_DIR"
PRIVATE_LINKS_VARIABLE = "QWEN_OMNI_PRIVATE_LINKS"
MAX_CNY_VARIABLE = "QWEN_OMNI_MAX_CNY"
MAX_TOKENS_VARIABLE = "QWEN_OMNI_MAX_TOKENS"

# Model Studio, "Obtain an API key", November 2026: one console for the mainland, one for all other regions.
CONSOLES = {"cn": "https://bailian.console.aliyun.com", "intl": "https://modelstudio.console.alibabacloud.com"}
NO_KEY_TEXT = (
    f"No API key. Create one in the Model Studio console ({CONSOLES['cn']} for mainland China, {CONSOLES['intl']} for "
    f"other regions), and set the environment variable {API_KEY_VARIABLE} or, in code, pass api_key=. Each key is "
    "valid in one region: choose it with --region or region= (default: cn). To try things without a key, run "
    "`qwen-omni standin`, which starts a local service."
)

SETTINGS_RANGES = {
    "connect_timeout": TIMEOUT,
    "read_timeout": TIMEOUT,
    "total_timeout": TIMEOUT,
    "max_retries": COUNT,
    "retry_wait": WAIT,
    "uplink_mbps": RATE,
    "max_answer_bytes": POSITIVE_COUNT,
    "burst_wait": Range(least=0, most=120, whole=True),  # 3 to 120 s are advised; 0 refuses at once
}
"""Ranges of the numeric connection settings."""

_NO_KEY = "none is needed"
_NO_WORKSPACE = "no-workspace"  # in the address of an estimate, which is sent nowhere
_GRACE_SECONDS = 60.0  # on top of the queue's own limit, so that the service's timeout error arrives first


def default_cache_dir() -> Path:
    """Return the cache folder: QWEN_OMNI_CACHE_DIR, else this system's default."""
    folder = os.environ.get(CACHE_VARIABLE)
    if folder:
        return Path(folder)
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / "qwen-omni"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "qwen-omni"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "qwen-omni"


def kept_folder() -> Path:
    """Return the folder of stored media: `media` in the cache folder (QWEN_OMNI_CACHE_DIR)."""
    return default_cache_dir() / "media"


def _store_address(given: str) -> StoreAddress:
    found = StoreAddress.read(given)
    if found is None:
        raise ConfigurationError(
            "store= is the address of a database that machines share: postgresql://HOST/DATABASE. Files of this "
            "machine are in cache_dir."
        )
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings(OwnCopy):
    """How to reach the service. Create it with `Settings.load`, which fills gaps from the environment.

    A pickle holds neither the key nor headers: on loading, the key is read from the environment.

    Attributes:
        api_key: the API key; never shown.
        base_url: the address of the OpenAI-compatible routes.
        batch_base_url: the address of Batch Chat, for calls with `tier="batch"`. `None` is DashScope's own, for keys of
            its mainland hosts; a gateway needs the address under which it offers Batch Chat.
        connect_timeout: seconds to wait for a connection.
        read_timeout: seconds to wait for the next byte. Several minutes by default, since the service may be silent
            for a minute while it downloads a video; an hour at least for batch calls, which `total_timeout` shortens.
        total_timeout: seconds to wait for a whole answer; time spent sending, and time that the reader of a stream
            takes, do not count. `None` is the host's own limit: 600 s on DashScope's shared hosts, 3,600 s elsewhere.
        max_retries: the most retries after transient errors.
        retry_wait: seconds before the first retry; later ones wait longer.
        media_root: the folder that local paths in messages must be in.
        headers: sent with every request; never shown.
        delivery: how local media is delivered; "auto" decides by size and duration.
        oss: your own bucket for large media.
        dialect: the request format; `None` asks a server that is not DashScope's for it, once (`GET /models`).
        request_kwargs: whether your own server takes processor options in requests (vLLM's
            `--trust-request-mm-kwargs`), so that `fps`, `min_pixels` and `max_pixels` can be set; `None` if not known.
        served_profile: the model whose limits and prices apply on your own server; by default none do.
        cache_dir: the folder of the upload cache.
        store: the address of a PostgreSQL database (`postgresql://USER@HOST/DATABASE`, extra `postgres`) in which
            machines share what they have uploaded, transcribed and finished of long videos, instead of files in
            `cache_dir`; its password is never shown.
        spend_limit: the most that calls may cost; share one object to limit several clients together.
        ledger: records the estimate and the usage of each call; share one object to add up several clients.
        prices: your own prices, one list or lists by model name, instead of the known ones.
        exchange_rate: the price of one dollar in yuan.
        private_links: let the program fetch links to private addresses, such as a local media server;
            QWEN_OMNI_PRIVATE_LINKS=1 does the same. Links in messages are fetched by the service itself.
        uplink_mbps: upload bandwidth in megabits per second; decides whether a video is re-encoded before upload.
        max_answer_bytes: the most bytes of one answer that are read, after decoding; speech is 64 kB a second.
        limits: your account's requests and tokens a minute, one `RateLimits` or one by model name, instead of the
            published ones. Everything in this process that asks the same service for the same model with the same key
            shares them.
        burst_wait: whole seconds that DashScope may queue a request on a rate that rises too quickly, instead of
            refusing it (`X-DashScope-Wait-Timeout`). It does not help against requests or tokens a minute.
        on_upload: called with the progress of uploads, from the threads that upload.
    """

    api_key: SecretStr
    base_url: str
    batch_base_url: str | None = None
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
    request_kwargs: bool | None = None
    served_profile: str | None = None
    cache_dir: Path = field(default_factory=default_cache_dir)
    store: str | None = None
    spend_limit: SpendLimit | None = None
    ledger: UsageLedger | None = None
    prices: PriceOverride | None = None
    exchange_rate: ExchangeRate = USUAL_RATE
    private_links: bool = False
    uplink_mbps: float = 20.0
    max_answer_bytes: int = MAX_ANSWER_BYTES
    limits: LimitsOverride | None = None
    burst_wait: int = 30
    on_upload: Callable[[UploadProgress], None] | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "headers", HiddenHeaders(self.headers))
        if self.store is not None:
            object.__setattr__(self, "store", _store_address(self.store))
        if isinstance(self.api_key, str):  # accepted as in `load`, and hidden as well
            object.__setattr__(self, "api_key", SecretStr(self.api_key))
        check_header_value(self.api_key.get_secret_value(), "The API key")
        check_headers(self.headers, "headers=")
        if self.batch_base_url is not None:
            object.__setattr__(self, "batch_base_url", check_url("batch_base_url", self.batch_base_url))
        _check_choice("delivery", self.delivery, get_args(Delivery))
        _check_choice("dialect", self.dialect, (None, *get_args(Dialect)))
        check_numbers(self, SETTINGS_RANGES)
        if self.limits is not None:
            check_limits(self.limits)

    def __getstate__(self) -> dict[str, Any]:
        # A pickle holds no key; the environment supplies one where it is loaded.
        kept = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return {**kept, "api_key": None}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        key = SecretStr(os.environ.get(API_KEY_VARIABLE, "").strip())
        for name, value in {**state, "api_key": key}.items():
            object.__setattr__(self, name, value)

    def with_key(self) -> Self:
        """Return these settings with a key.

        Raises:
            ConfigurationError: they come from a pickle, which holds no key, and there is none in the environment.
        """
        if not self.api_key.get_secret_value():
            raise ConfigurationError(
                f"Pickled settings hold no API key. Set {API_KEY_VARIABLE} where they are loaded, or use "
                "dataclasses.replace(settings, api_key=SecretStr(...))."
            )
        return self

    @property
    def secrets(self) -> tuple[str, ...]:
        """The key and the values of headers that are long enough to be secret, for `QwenOmniError.without`."""
        return tuple(long_enough((self.api_key.get_secret_value(), *self.headers.values())))

    @property
    def answer_seconds(self) -> float:
        """The most seconds that an answer may take: `total_timeout`, or the host's limit, which may be infinite."""
        return self.total_timeout or most_seconds(self.base_url)

    def tier_of(self, tier: Tier | None) -> Tier:
        """Return the tier of a call with this option; every call to the host of Batch Chat is a batch call."""
        return "batch" if tier == "batch" or urlsplit(self.base_url).hostname == BATCH_HOST else "standard"

    def for_tier(self, tier: Tier | None) -> "Settings":
        """Return the settings of a call: a batch call goes to another address, and may wait for an hour.

        Both addresses belong to one account, and so do answers: finished work is shared by both.

        Raises:
            ConfigurationError: there is no Batch Chat for this address, or it is another server's.
        """
        if self.tier_of(tier) == "standard":
            return self
        batch = replace(
            self,
            base_url=self._batch_url(),
            read_timeout=max(self.read_timeout, QUEUE_SECONDS + _GRACE_SECONDS),
            total_timeout=self.total_timeout or QUEUE_SECONDS + _GRACE_SECONDS,
        )
        if batch.origin != self.origin:
            raise ConfigurationError(
                f"batch_base_url {batch.base_url} is on a different server from base_url {self.base_url}; answers of "
                "one would be reused as answers of the other. Pass the address of Batch Chat on the same server."
            )
        return batch

    def _batch_url(self) -> str:
        if urlsplit(self.base_url).hostname == BATCH_HOST:
            return self.base_url
        if self.dialect_used == "vllm":
            raise ConfigurationError(f'tier="batch" needs DashScope; {self.base_url} is another server. Drop tier=.')
        if self.batch_base_url is None and region_of(self.base_url) is None:
            raise ConfigurationError(
                f'tier="batch": the address of Batch Chat behind {self.base_url} is not known. Pass batch_base_url=, '
                f"or set {BATCH_URL_VARIABLE}."
            )
        return self.batch_base_url or f"https://{BATCH_HOST}{CHAT_PATH}"

    @property
    def burst_seconds(self) -> int | None:
        """The whole seconds that a request may be queued: `burst_wait`, but less than any timeout.

        `None` for hosts that do not queue requests: all but DashScope's shared, trial and workspace hosts.
        """
        if host_kind(self.base_url) in ("custom", "batch"):
            return None
        return max(0, min(self.burst_wait, math.ceil(min(self.read_timeout, self.answer_seconds)) - 1))

    @property
    def dialect_used(self) -> Dialect:
        """The request format, as given or inferred from the address."""
        return self.server.dialect

    @property
    def server(self) -> Server:
        """What is known about the server: as detected, or as the address suggests; what the caller states wins."""
        return self.server_of("")

    @property
    def knows_server(self) -> bool:
        """Whether the server's kind is given, shown by its address, or was found out before."""
        return self.dialect == "dashscope" or is_dashscope(self.base_url) or known_server(self.base_url) is not None

    def server_of(self, model: str) -> Server:
        """What is known about the server of one model; several may share one address."""
        found = server_at(self.base_url, model)
        if self.dialect in (None, found.dialect) and self.request_kwargs is None:
            return found
        known = found.request_kwargs is not None or self.request_kwargs is None  # what it said itself wins
        trusted = found.request_kwargs if known else self.request_kwargs
        return replace(found, dialect=self.dialect or found.dialect, request_kwargs=trusted)

    def profile(self, model: str) -> Profile:
        """Return what a model can do on this server: hosted limits and prices apply to DashScope only."""
        server = self.server_of(model)
        if server.dialect == "dashscope":
            return profile_for(model)
        like = None if self.served_profile is None else profile_for(self.served_profile)
        sampling = bool(server.request_kwargs)
        return open_profile(
            model, like=like, sampling_fields=sampling, context=server.context, formats=server.has_formats
        )

    @property
    def origin(self) -> str:
        """The identifier of the server, part of the key of finished work; see `addresses.origin_of`."""
        return origin_of(self.base_url, self.api_key.get_secret_value())

    def rate_limits(self, model: str, own: RateLimits | None = None) -> RateLimits | None:
        """Return the rate limits of a model: the caller's, or the published ones on the vendor's hosts; else `None`.

        Batch Chat has none of its own: it waits instead.

        Args:
            model: the model.
            own: limits of one request; a number that they leave open is the usual one.
        """
        given, kind = self.limits, host_kind(self.base_url)
        usual = given.get(model) if isinstance(given, Mapping) else given
        if usual is None and self.origin == VENDOR and kind != "batch":
            usual = published_limits(model, region_of(self.base_url), trial=kind == "trial")
        if own is None:
            return usual
        rest = usual or RateLimits()
        return RateLimits(rpm=own.rpm or rest.rpm, tpm=own.tpm or rest.tpm, source=own.source)

    @classmethod
    def load(
        cls,
        *,
        api_key: str | SecretStr | None = None,
        base_url: str | None = None,
        region: Region | None = None,
        workspace: str | None = None,
        needs_key: bool = True,
        **choices: object,
    ) -> "Settings":
        """Fill gaps from the environment.

        The key comes from `DASHSCOPE_API_KEY`, the address from `DASHSCOPE_BASE_URL`, or from `DASHSCOPE_WORKSPACE`
        where that is not set. Explicit values win over the environment; without any, Beijing's shared host is used.

        Args:
            api_key: the API key.
            base_url: the address of the OpenAI-compatible routes.
            region: short name of an address; keys belong to a region.
            workspace: ID of a workspace (`ws-…`), whose own host lets a request run for an hour instead of ten minutes.
                Tokyo and Frankfurt have no other host.
            needs_key: `False` for local work such as estimates, which needs neither a key nor a workspace.
            choices: other fields.

        Raises:
            ConfigurationError: no key anywhere, a key that cannot be sent in a header, an unknown region, a region
                that needs a workspace, or an address that is not a URL.
        """
        key = api_key.get_secret_value() if isinstance(api_key, SecretStr) else api_key
        key = (key or os.environ.get(API_KEY_VARIABLE, "")).strip()
        if not key and needs_key:
            raise ConfigurationError(NO_KEY_TEXT)
        url = resolve_base_url(
            base_url, region, os.environ.get(BASE_URL_VARIABLE), workspace=workspace,
            usual_workspace=os.environ.get(WORKSPACE_VARIABLE, "").strip() or None, needs_workspace=needs_key,
        )  # fmt: skip
        private = os.environ.get(PRIVATE_LINKS_VARIABLE, "").strip().lower() in ("1", "true", "yes")
        batch = os.environ.get(BATCH_URL_VARIABLE, "").strip()
        given = {
            "oss": from_environment(),
            "batch_base_url": batch or None,
            "private_links": private,
            **{name: value for name, value in choices.items() if value is not None},
        }
        return cls(api_key=SecretStr(key or _NO_KEY), base_url=url, **given)  # type: ignore[arg-type]


def resolve_base_url(
    base_url: str | None,
    region: Region | None,
    from_environment: str | None,
    *,
    workspace: str | None = None,
    usual_workspace: str | None = None,
    needs_workspace: bool = True,
) -> str:
    """Choose the address: an explicit URL, region or workspace, the environment, or the mainland host.

    Example:
        >>> resolve_base_url(None, "intl", None)
        'https://dashscope-intl.aliyuncs.com/compatible-mode/v1'
        >>> resolve_base_url(None, "de", None, workspace="ws-1")
        'https://ws-1.eu-central-1.maas.aliyuncs.com/compatible-mode/v1'

    Raises:
        ConfigurationError: values that conflict with each other, an unknown region, a region that needs a workspace,
            or an address that is not a URL.
    """
    given = "region" if region is not None else "workspace"
    if base_url is not None and (region is not None or workspace is not None):
        raise ConfigurationError(f"Pass base_url or {given}, not both: a {given} is a short name for a base_url.")
    if region is not None and region not in get_args(Region):
        raise ConfigurationError(f"Unknown region {region!r}; choose one of {', '.join(get_args(Region))}.")
    if region is None and workspace is None and (base_url or from_environment):
        return check_url("base_url", base_url or from_environment or "")
    place = region or "cn"
    chosen = workspace if workspace is not None else usual_workspace
    if chosen is not None:
        return workspace_url(chosen, place)
    if place not in HOSTS and not needs_workspace:
        return workspace_url(_NO_WORKSPACE, place)
    if place not in HOSTS:
        raise ConfigurationError(
            f"The region {place!r} has no shared host. Pass the ID of your workspace (workspace='ws-...'), or set "
            f"{WORKSPACE_VARIABLE}; the Model Studio console shows it under Workspaces."
        )
    return HOSTS[place] + CHAT_PATH


_ROUTES = re.compile(r"/(?:chat/completions|completions|embeddings|responses|models)$")


def check_url(name: str, url: str) -> str:
    """Return an address without a slash at its end.

    Raises:
        ConfigurationError: it is not an address, it ends in a route such as `/chat/completions`, or it is one of the
            vendor's hosts without `/compatible-mode/v1`; the error has the right one.

    Example:
        >>> check_url("base_url", "https://dashscope.aliyuncs.com/compatible-mode/v1/")
        'https://dashscope.aliyuncs.com/compatible-mode/v1'
    """
    url = url.strip().rstrip("/")
    try:
        split = urlsplit(url)
        reachable = split.scheme in ("http", "https") and split.port != 0 and is_host(split.hostname or "")
    except ValueError:  # a bracket without its pair, a port beyond 65,535
        reachable = False
    if not reachable:
        raise ConfigurationError(f"{name} must be an http or https URL, for example {HOSTS['cn'] + CHAT_PATH}.")
    route = _ROUTES.search(split.path)
    path = split.path[: route.start()] if route else split.path
    if is_vendor(url) and (not path.endswith("/v1") or path.endswith(NATIVE_PATH)):
        raise ConfigurationError(
            f"{name} {_shown(split)} is not the address of the chat routes, which ends in {CHAT_PATH}. Use "
            f"{split.scheme}://{host_of(url)}{CHAT_PATH}"
        )
    if route:
        raise ConfigurationError(
            f"{name} {_shown(split)} ends in {route[0]}, which is added to it for each request. Use "
            f"{_shown(split._replace(path=path))}"
        )
    return url


def _shown(split: SplitResult) -> str:
    """Return an address without what may be secret: user name, password, query."""
    return split._replace(netloc=split.netloc.rpartition("@")[2], query="", fragment="").geturl()


def _check_choice(name: str, value: object, choices: tuple[object, ...]) -> None:
    if value not in choices:
        known = ", ".join(repr(choice) for choice in choices if choice is not None)
        raise ConfigurationError(f"{name}={value!r} is not known; choose one of {known}.")


def region_of(base_url: str) -> Region | None:
    """Return the region that an address belongs to; `None` for custom hosts."""
    host = host_of(base_url)
    if host == BATCH_HOST:
        return "cn"
    return next((region for region, shared in HOSTS.items() if host == host_of(shared)), zone_of(base_url))
