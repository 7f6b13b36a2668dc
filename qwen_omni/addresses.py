"""Hosts and routes of the service, the servers behind addresses, links to media, valid headers. Opens no connection.

The service downloads linked media itself, from the public internet. A link that works only on this machine, or has
expired, would cost a request and a minute; a link to a private address may be an attempt to reach an internal host.

HTTP libraries quote the full value of a header they reject, keys included, so headers are checked here first.

What was found out about a server is kept in a register that lives as long as the process. `transport.api.find_server`
fills it, once for each address; without an entry the address alone decides. Sources: the code of vLLM 0.32,
transformers 5.24 and LiteLLM 1.106, and what they answered, November 2026.
"""

import hashlib
import ipaddress
import math
import re
import unicodedata
import warnings
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Literal
from urllib.parse import SplitResult, parse_qsl, urlencode, urlsplit

from pydantic_core import from_json

from qwen_omni.errors import ConfigurationError, DeliveryError, UnsupportedMediaError
from qwen_omni.media.source import check_page
from qwen_omni.options import Dialect
from qwen_omni.profiles.profile import SHARED_HOST_SECONDS, WORKSPACE_HOST_SECONDS, Region

CHAT_PATH = "/compatible-mode/v1"
"""Where the OpenAI-compatible routes are (Model Studio, Chat API reference, September 2026)."""
NATIVE_PATH = "/api/v1"
ZONES: dict[Region, str] = {
    "cn": "cn-beijing", "intl": "ap-southeast-1", "us": "us-east-1", "hk": "cn-hongkong", "jp": "ap-northeast-1",
    "de": "eu-central-1",
}  # fmt: skip
"""Each region's name in the hosts of workspaces (Model Studio, Regions, read 2026-10-10)."""
# Shared, workspace, trial and batch hosts (Model Studio, base URLs, November 2026; QwenCloud, the same).
_VENDOR_HOST = re.compile(
    r"(?:.+\.)?(?:dashscope(?:-[a-z0-9-]+)?\.aliyuncs\.com|maas\.aliyuncs\.com|qwencloudapi\.com)"
)
_SHARED_HOST = re.compile(r"(?:[a-z0-9-]+\.)?dashscope(?:-[a-z0-9-]+)?\.aliyuncs\.com")
_TRIAL_HOST = re.compile(r"trial\.[a-z0-9-]+\.maas\.aliyuncs\.com")
_ZONE = re.compile(r"\.([a-z0-9-]+)\.maas\.aliyuncs\.com$")
_WORKSPACE = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?")
BATCH_HOST = "batch.dashscope.aliyuncs.com"
"""The host of Batch Chat, for all workspaces of the mainland."""
_STANDIN_KEY = "sk-standin"
_PORTS = {"http": 80, "https": 443}
VENDOR, STANDIN = "dashscope", "standin"


def native_url(base_url: str, route: str) -> str:
    """Return the URL of one of DashScope's native routes, on the host of the chat routes.

    A gateway that serves the chat routes under a path prefix serves these under the same prefix.

    Example:
        >>> native_url("https://gw.example.com/dashscope/compatible-mode/v1", "/tasks/1")
        'https://gw.example.com/dashscope/api/v1/tasks/1'
    """
    split = urlsplit(base_url)
    path = split.path.rstrip("/")
    before = path.removesuffix(CHAT_PATH) if path.endswith(CHAT_PATH) else ""
    return f"{split.scheme}://{split.netloc}{before}{NATIVE_PATH}{route}"


HostKind = Literal["shared", "trial", "workspace", "batch", "custom"]
"""A host of the vendor, by its limits, or any other host."""


def host_of(base_url: str) -> str:
    """Return the host of an address, in lower case and without a trailing dot."""
    return (urlsplit(base_url.strip()).hostname or "").rstrip(".")


def is_host(host: str) -> bool:
    """Whether this can be a host's name or address. HTTP libraries fail on others, each in its own way.

    Example:
        >>> is_host("bücher.example"), is_host("::1"), is_host("a..b"), is_host("a" * 64)
        (True, True, False, False)
    """
    try:
        return bool(host.rstrip(".")) and (":" in host or bool(host.encode("idna")))
    except UnicodeError:  # a label that is empty, too long, or has characters that no name may have
        return False


def is_vendor(base_url: str) -> bool:
    """Whether an address is one of the vendor's own hosts.

    Example:
        >>> is_vendor("https://dashscope-us.aliyuncs.com/compatible-mode/v1"), is_vendor("http://10.0.0.7:8000/v1")
        (True, False)
    """
    return _VENDOR_HOST.fullmatch(host_of(base_url)) is not None


def host_kind(base_url: str) -> HostKind:
    """Return what kind of host an address names.

    Example:
        >>> host_kind("https://dashscope.aliyuncs.com/compatible-mode/v1"), host_kind("http://127.0.0.1:8000/v1")
        ('shared', 'custom')
    """
    host = host_of(base_url)
    if host == BATCH_HOST:
        return "batch"
    if _TRIAL_HOST.fullmatch(host):
        return "trial"
    if _SHARED_HOST.fullmatch(host):
        return "shared"
    return "workspace" if _VENDOR_HOST.fullmatch(host) else "custom"


def zone_of(base_url: str) -> Region | None:
    """Return the region of a workspace or trial host; `None` for any other host."""
    found = _ZONE.search(host_of(base_url))
    return next((region for region, zone in ZONES.items() if found and found[1] == zone), None)


def workspace_url(workspace: str, region: Region) -> str:
    """Return the address of the chat routes on the host of a workspace.

    Raises:
        ConfigurationError: it is not the ID of a workspace.

    Example:
        >>> workspace_url("ws-1", "jp")
        'https://ws-1.ap-northeast-1.maas.aliyuncs.com/compatible-mode/v1'
    """
    name = str(workspace).strip()
    if not _WORKSPACE.fullmatch(name):
        raise ConfigurationError(
            f"workspace={workspace!r} is not the ID of a workspace: letters, digits and hyphens, for example "
            "'ws-0123456789abcdef'. The Model Studio console shows it under Workspaces."
        )
    return f"https://{name.lower()}.{ZONES[region]}.maas.aliyuncs.com{CHAT_PATH}"


def most_seconds(base_url: str) -> float:
    """Return the longest time that a host lets a request run, in seconds; infinite where that is not known.

    Example:
        >>> most_seconds("https://dashscope.aliyuncs.com/compatible-mode/v1")
        600.0
        >>> most_seconds("https://ws-1.cn-beijing.maas.aliyuncs.com/compatible-mode/v1")
        3600.0
    """
    kind = host_kind(base_url)
    if kind == "custom":
        return math.inf
    return SHARED_HOST_SECONDS if kind in ("shared", "trial") else WORKSPACE_HOST_SECONDS


def origin_of(base_url: str, api_key: str) -> str:
    """Return an identifier of the server behind an address, so that answers are reused only for the same server.

    All hosts of the vendor count as one; the stand-in is recognised by its key, whatever its port; every other server,
    and every path of a gateway, is separate. The identifier holds no key, no user name and no readable path.

    Example:
        >>> origin_of("https://dashscope-intl.aliyuncs.com/compatible-mode/v1", "sk-1")
        'dashscope'
        >>> origin_of("http://127.0.0.1:9000/v1", "sk-standin-1"), origin_of("http://127.0.0.1:9000/v1", "sk-1")
        ('standin', 'http://127.0.0.1:9000')
    """
    if api_key.strip().startswith(_STANDIN_KEY):
        return STANDIN
    if is_vendor(base_url):
        return VENDOR
    split = urlsplit(base_url.strip())
    host = host_of(base_url)
    port = split.port or _PORTS.get(split.scheme, 0)
    path = split.path.rstrip("/").removesuffix(CHAT_PATH).removesuffix("/v1")
    rest = "/".join(one for one in (path, split.query) if one)
    place = f"#{hashlib.sha256(rest.encode()).hexdigest()[:16]}" if rest else ""
    return f"{split.scheme}://{f'[{host}]' if ':' in host else host}:{port}{place}"


def is_loopback(url: str) -> bool:
    """Whether a URL leads to this machine.

    Example:
        >>> is_loopback("http://localhost:8000/v1"), is_loopback("http://10.0.0.7/v1")
        (True, False)
    """
    host = host_of(url)
    address = _address(host)
    return host == "localhost" if address is None else address.is_loopback


_SHORTEST_SECRET = 8
# RFC 9110, sections 5.1 and 5.5, without the obsolete forms.
_ODD_IN_NAME = re.compile(r"[^!#$%&'*+.^_`|~0-9A-Za-z-]")
_ODD_IN_VALUE = re.compile(r"[^ -~]|^ | \Z")
_IN_NAME = "a letter, a digit or one of !#$%&'*+-.^_`|~"


_SERVER = re.compile(r"(?i)(postgres(?:ql)?):/{1,2}(?!/)|(postgres(?:ql)?):///")
_PASSWORD = re.compile(r"(?<=://)([^/@:?]*):[^?]*(?=@)|(?<=[?&]password=)[^&]*|(?<=[?&]sslpassword=)[^&]*")


class StoreAddress(str):
    """The address of a work store on a PostgreSQL server. Its representation hides the password.

    Example:
        >>> StoreAddress.read("postgresql://me:secret@db/work"), StoreAddress.read("work.sqlite3")
        ('postgresql://me@db/work', None)
    """

    __slots__ = ()

    @classmethod
    def read(cls, place: object) -> "StoreAddress | None":
        """Return the address if a place is one, else `None`. `Path` collapses two slashes into one; they are restored.

        Raises:
            ConfigurationError: it is an address of something else.
        """
        text = str(place)
        if found := _SERVER.match(text):
            return cls(text if found[2] else f"{found[1]}://{text[found.end() :]}")
        if isinstance(place, str) and (other := re.match(r"[A-Za-z][A-Za-z0-9+.-]+://", text)):
            raise ConfigurationError(
                f"A store cannot be at a {other[0]} address. Name a file, or a database: postgresql://HOST/DATABASE"
            )
        return None

    def without_password(self) -> str:
        """Return the address as it may be shown and stored; the password then comes from PGPASSWORD or ~/.pgpass."""
        return _PASSWORD.sub(lambda found: found[1] or "", str(self))

    def __repr__(self) -> str:
        return repr(self.without_password())


def check_header_value(value: str, what: str) -> None:
    """Check that a text can be sent as the value of a header.

    Args:
        value: the text; the error does not show it.
        what: what the error calls it.

    Raises:
        ConfigurationError: it is not text, or holds a character that cannot be sent.
    """
    _check(value, what, _ODD_IN_VALUE, "printable ASCII without a space at either end")


class HiddenHeaders(dict[str, str]):
    """Headers, which may hold secrets: only their names are shown, and they are never pickled."""

    def __repr__(self) -> str:
        return f"<headers {', '.join(sorted(self))}>" if self else "{}"

    def __copy__(self) -> "HiddenHeaders":
        return HiddenHeaders(self)

    def __deepcopy__(self, _: object) -> "HiddenHeaders":
        return HiddenHeaders(self)

    def __reduce__(self) -> tuple[Any, ...]:
        warn_of_headers(self)
        return HiddenHeaders, ()


def long_enough(values: Iterable[str]) -> list[str]:
    """Return the values of keys and headers that are long enough to be secret; others are words of any message."""
    return [value for value in values if len(value) >= _SHORTEST_SECRET]


def warn_of_headers(headers: Mapping[str, str] | None) -> None:
    """Warn that headers are left out of a pickle."""
    if headers:
        warnings.warn(
            f"Headers may hold secrets, so {', '.join(sorted(headers))} are left out of the pickle. Pass them again "
            "where it is loaded.",
            stacklevel=3,
        )


def check_headers(headers: Mapping[str, str], what: str) -> None:
    """Check that headers can be sent; `what` is what the error calls them. Raises as `check_header_value` does."""
    for number, (name, value) in enumerate(headers.items(), start=1):
        _check(name, f"The name of header {number} in {what}", _ODD_IN_NAME, _IN_NAME)
        check_header_value(value, f"The header {name!r} in {what}")


def _check(text: object, what: str, odd: re.Pattern[str], wanted: str) -> None:
    if not isinstance(text, str):
        raise ConfigurationError(f"{what} must be text, not {type(text).__name__}.")
    found = odd.search(text)
    if found is not None:
        raise ConfigurationError(
            f"{what} cannot be sent: character {found.start() + 1} is not {wanted}. It may contain invisible "
            "characters; remove them, or copy it again without them."
        )


_PRIVATE_NAMES = (
    "localhost", "local", "localdomain", "internal", "intranet", "lan", "home.arpa", "home", "corp", "private", "svc",
    "onion",
)  # fmt: skip
_ODD = re.compile(r"[\s\\\x00-\x1f\x7f\xad\u200b-\u200f\u2060\ufeff]")
_NUMBER = re.compile(r"0x[0-9a-f]*|[0-9]+")
_NOWHERE = ipaddress.IPv4Address(0)
_CARRIERS = tuple(ipaddress.ip_network(one) for one in ("64:ff9b::/96", "::ffff:0:0:0/96"))  # NAT64, SIIT
_NOT_GLOBAL = tuple(
    ipaddress.ip_network(one)
    for one in (
        "64:ff9b:1::/48", "fec0::/10", "3fff::/20", "5f00::/16", "192.88.99.0/24",  # older Pythons call them global
        "168.63.129.16/32",  # reachable from Azure virtual machines only
    )
)  # fmt: skip
_PUBLIC_STEP = "Upload it to a public or signed URL, or pass the file itself (a path or bytes)."
# Parameter names of the start time and of the lifetime in seconds: OSS V4, S3 V4, Google Cloud Storage V4.
_SIGNED_FOR = (("x-oss-date", "x-oss-expires"), ("x-amz-date", "x-amz-expires"), ("x-goog-date", "x-goog-expires"))
_SIGNED_WITH = ("signature", "ossaccesskeyid", "awsaccesskeyid", "googleaccessid")
_OF_SIGNATURES = ("x-oss-", "x-amz-", "x-goog-", "expires", "security-token", *_SIGNED_WITH)
_AN_EPOCH = 10**9  # seconds; smaller numbers without a signature next to them mean something else


def check_link(url: str, *, name: str, now: datetime, allow_private: bool = False) -> None:
    """Refuse a link that the service cannot follow.

    Args:
        url: `http`, `https` or `upload.oss`.
        name: place and label, for errors.
        now: the current time, with a time zone.
        allow_private: the service itself is on a private network, so it may reach private hosts.

    Raises:
        UnsupportedMediaError: not a link at all, or of another scheme.
        DeliveryError: a private host, a user name in the link, or an expiry in the past.
    """
    split = _split(url, name)
    if split.scheme not in ("http", "https", "oss"):
        raise UnsupportedMediaError(f"{name}: a link must be http, https or oss, not {split.scheme or 'nothing'!r}.")
    if split.scheme == "oss":
        return
    check_page(url, name=name)
    if split.username is not None or split.password is not None:
        raise DeliveryError(
            f"{name}: the link holds a user name or password, which the service would see. Use a signed URL instead."
        )
    if not allow_private and is_private_host(split.hostname or ""):
        raise DeliveryError(f"{name}: {split.hostname!r} cannot be reached from the internet. {_PUBLIC_STEP}")
    expiry = expiry_of(url)
    if expiry is not None and expiry <= now:
        raise DeliveryError(
            f"{name}: the signed link expired at {expiry:%Y-%m-%d %H:%M:%S} UTC. Sign it again, for at least an hour."
        )


def is_private_host(host: str) -> bool:
    """Whether a host is not on the public internet, by its name or by its address in any notation.

    Example:
        >>> [is_private_host(host) for host in ("2130706433", "0x7f.1", "::ffff:10.0.0.1", "example.com")]
        [True, True, True, False]
    """
    host = unicodedata.normalize("NFKC", host).lower().strip("[]").rstrip(".").partition("%")[0]
    address = _address(host)
    if address is not None:
        return any(_is_private(one) for one in _meant(address))
    if "." not in host or ":" in host:
        return True  # a name without a dot resolves only on the local network
    return any(host == name or host.endswith("." + name) for name in _PRIVATE_NAMES)


def is_private_url(url: str) -> bool:
    """Whether the host of a URL is not on the public internet; see `is_private_host`."""
    return is_private_host(urlsplit(url).hostname or "")


def _is_private(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    return not address.is_global or address.is_multicast or any(address in network for network in _NOT_GLOBAL)


def expiry_of(url: str) -> datetime | None:
    """Return when a signed link expires; `None` if it does not say."""
    fields = {name.lower(): value for name, value in parse_qsl(urlsplit(url).query)}
    for start, lifetime in _SIGNED_FOR:
        if start in fields and fields.get(lifetime, "").isdecimal():
            return _after(fields[start], int(fields[lifetime]))
    until = fields.get("expires", "")
    if until.isdecimal() and (int(until) >= _AN_EPOCH or any(mark in fields for mark in _SIGNED_WITH)):
        return _from_epoch(int(until))
    return None


def unsigned(url: str) -> str:
    """Return a link without its signature, which differs every time the same object is signed.

    Example:
        >>> unsigned("https://b.example.com/a.mp4?v=2&Expires=1893456000&OSSAccessKeyId=i&Signature=s")
        'https://b.example.com/a.mp4?v=2'
    """
    if expiry_of(url) is None:
        return url
    split = urlsplit(url)
    kept = [
        (name, value)
        for name, value in parse_qsl(split.query, keep_blank_values=True)
        if not name.lower().startswith(_OF_SIGNATURES)
    ]
    return split._replace(query=urlencode(kept)).geturl()


def names_seconds(url: str) -> bool:
    """Whether a link names a time range of its media, as players and documents do (W3C Media Fragments).

    Example:
        >>> names_seconds("https://example.com/a.mp4#t=60,90")
        True
    """
    return any(one.startswith("t=") for one in urlsplit(url).fragment.split("&"))


def _split(url: str, name: str) -> SplitResult:
    try:
        split = urlsplit(url)
        _ = split.port
    except ValueError as error:
        raise UnsupportedMediaError(f"{name}: the link cannot be read: {error}.") from None
    # Programs disagree on what these mean, so the host checked here might not be the host fetched.
    at = split.netloc.rpartition("@")[2]
    if _ODD.search(url) or "%" in at or at.lower().startswith("[v"):  # IPvFuture addresses have no meaning yet
        raise UnsupportedMediaError(f"{name}: the link holds invalid characters, or ones that must be percent-encoded.")
    if not split.hostname:
        raise UnsupportedMediaError(f"{name}: the link has no host.")
    return split


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """Read an address, including the old IPv4 notations: one to four numbers, each decimal, octal or hexadecimal."""
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        pass
    parts = host.split(".")
    if not _NUMBER.fullmatch(parts[-1]):
        return None
    try:  # a host that ends in a number is an address or nothing (WHATWG URL standard, host parsing)
        *leading, last = [_number(part) for part in parts]
        if len(leading) > 3 or any(number > 255 for number in leading):  # noqa: PLR2004 - four bytes in all
            return _NOWHERE
        return ipaddress.IPv4Address(sum(number << (24 - 8 * at) for at, number in enumerate(leading)) + last)
    except ValueError:
        return _NOWHERE


def _number(text: str) -> int:
    if text.startswith("0x"):
        return int(text[2:] or "0", 16)
    return int(text, 8 if text.startswith("0") else 10)


def _meant(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> Iterator[ipaddress.IPv4Address | ipaddress.IPv6Address]:
    """Return the address, or the IPv4 addresses embedded in an IPv6 address."""
    if isinstance(address, ipaddress.IPv4Address):
        yield address
        return
    inner = [address.ipv4_mapped, address.sixtofour, *(address.teredo or ())]
    if any(address in network for network in _CARRIERS) or int(address) >> 32 == 0:
        inner.append(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
    carried = [one for one in inner if one is not None]
    yield from carried or [address]


def _after(start: str, seconds: int) -> datetime | None:
    try:
        return datetime.strptime(start, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC) + timedelta(seconds=seconds)
    except (ValueError, OverflowError):
        return None


def _from_epoch(seconds: int) -> datetime | None:
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (ValueError, OverflowError, OSError):
        return None


# --- What answers at an address ---

_SELF_HOSTED = {
    "vllm": "vLLM",
    "sglang": "SGLang",
    "llamacpp": "llama.cpp",
    "library": "Ollama",
    "organization_owner": "LM Studio",
}
"""The `owned_by` of the models in a list, and the software that sends it."""
TRANSFORMERS, LITELLM, VLLM = "transformers serve", "LiteLLM", "vLLM"


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A server.

    Attributes:
        dialect: the request format.
        name: of its software; empty if not known.
        request_kwargs: whether requests may set options of the processor (frame rate, pixels, the audio of a video);
            `None` if not known.
        context: tokens that input and answer may have together, if the server says so.
        models: the servers of single models, where several stand behind one address.
    """

    dialect: Dialect
    name: str = ""
    request_kwargs: bool | None = None
    context: int | None = None
    models: Mapping[str, "Server"] = field(default_factory=dict)

    def of(self, model: str) -> "Server":
        """Return what is known about the server of one model."""
        found = self.models.get(model)
        return self if found is None else replace(found, request_kwargs=self.request_kwargs)

    @property
    def reads_data_urls(self) -> bool:
        """Whether it takes a video as a data URI; the other way is a link, or a file on the server's machine."""
        return self.name != TRANSFORMERS

    @property
    def has_formats(self) -> bool:
        """Whether it has `response_format`; transformers serve ignores it."""
        return self.name != TRANSFORMERS

    @property
    def has_stores(self) -> bool:
        """Whether it may have DashScope's routes beside chat: uploads to the temporary store, transcription tasks."""
        return self.dialect == "dashscope" and self.name != LITELLM

    @property
    def hears_videos(self) -> bool:
        """Whether it uses the audio of videos without being asked."""
        return self.dialect == "dashscope" or self.name == TRANSFORMERS


_known: dict[str, Server] = {}


def known_server(base_url: str) -> Server | None:
    """Return what was found out about an address, if anything was."""
    return _known.get(_place(base_url))


def server_at(base_url: str, model: str) -> Server:
    """Return what was found out about the server of a model, or what its address shows."""
    return (known_server(base_url) or guess_server(base_url)).of(model)


def remember_server(base_url: str, server: Server) -> None:
    """Remember what was found out about an address, for all clients of the process."""
    _known[_place(base_url)] = server


def forget_servers() -> None:
    """Forget everything, for example after a server was restarted with other options."""
    _known.clear()


def remember_refusal(base_url: str, server: Server) -> None:
    """Remember that a server refuses processor options in requests."""
    remember_server(base_url, replace(known_server(base_url) or server, request_kwargs=False))


def _place(base_url: str) -> str:
    return base_url.strip().rstrip("/")


def is_dashscope(base_url: str) -> bool:
    """Whether an address alone says that DashScope is behind it: the vendor's hosts, and its path on any host.

    Example:
        >>> is_dashscope("https://gw.example.com/compatible-mode/v1"), is_dashscope("http://10.0.0.7:8091/v1")
        (True, False)
    """
    return CHAT_PATH in base_url or is_vendor(base_url)


def guess_server(base_url: str) -> Server:
    """Return what the address alone says: a private host is taken for a self-hosted server, any other for a gateway.

    Example:
        >>> guess_server("http://10.0.0.7:8091/v1").dialect, guess_server("https://gateway.example.com/v1").dialect
        ('vllm', 'dashscope')
    """
    if is_dashscope(base_url):
        return Server(dialect="dashscope")
    return Server(dialect="vllm" if is_private_url(base_url) else "dashscope")


def read_server(body: bytes, model: str, guess: Server) -> Server:
    """Read who answers from a list of models (`GET /models`).

    Args:
        body: the list.
        model: the model that is asked; its own entry decides, where several servers share one address.
        guess: what is returned where nothing is recognised.

    Example:
        >>> read_server(b'{"data":[{"id":"m","owned_by":"vllm","max_model_len":32768}]}', "m",
        ...     Server(dialect="dashscope")).context
        32768
    """
    entries = _entries(body)
    named = [one for one in entries if one.get("id") == model]
    for entry in named or entries:
        owner = str(entry.get("owned_by") or "").lower()
        if owner in _SELF_HOSTED:
            return Server(dialect="vllm", name=_SELF_HOSTED[owner], context=_count(entry.get("max_model_len")))
        if isinstance(entry.get("status"), dict) and "object" in entry:
            return Server(dialect="vllm", name=TRANSFORMERS, request_kwargs=True)
    return guess


def may_be_litellm(body: bytes) -> bool:
    """Whether a list of models may be LiteLLM's: it calls every model OpenAI's.

    Example:
        >>> may_be_litellm(b'{"data":[{"id":"qwen-plus","owned_by":"openai"}]}')
        True
    """
    owners = {one.get("owned_by") for one in _entries(body)}
    return owners == {"openai"}


def read_litellm(body: bytes, guess: Server) -> Server:
    """Read which servers are behind LiteLLM's models (`GET /model/info`); `guess` if it is not LiteLLM.

    Example:
        >>> info = b'{"data":[{"model_name":"m","litellm_params":{"model":"hosted_vllm/qwen"}}]}'
        >>> read_litellm(info, Server(dialect="vllm")).of("m").dialect
        'vllm'
    """
    models: dict[str, Server] = {}
    for entry in _entries(body):
        name, behind = entry.get("model_name"), entry.get("litellm_params")
        if isinstance(name, str) and isinstance(behind, dict):
            models[name] = _behind(behind)
    return Server(dialect="dashscope", name=LITELLM, models=models) if models else guess


def _behind(params: Mapping[str, Any]) -> Server:
    provider = str(params.get("model") or "").partition("/")[0]
    base_url = params.get("api_base")
    if provider in ("hosted_vllm", "vllm"):
        return Server(dialect="vllm", name=VLLM)
    if provider == "openai" and isinstance(base_url, str) and base_url:
        guess = guess_server(base_url)
        return guess if guess.dialect == "vllm" else Server(dialect="dashscope", name=LITELLM)
    return Server(dialect="dashscope", name=LITELLM)


def _entries(body: bytes) -> list[dict[str, Any]]:
    try:
        value = from_json(body)
    except ValueError:
        return []
    data = value.get("data") if isinstance(value, dict) else None
    return [one for one in data if isinstance(one, dict)] if isinstance(data, list) else []


def _count(value: object) -> int | None:
    return value if type(value) is int and value > 0 else None
