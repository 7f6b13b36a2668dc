"""What can be told about a link without the network: scheme, host, user name, expiry. Pure.

The service downloads the media itself, from the public internet. A link that only works here, or no more, would
cost a request and a minute; one to a private address may also be an attempt to make somebody look inside.
"""

import ipaddress
import re
import unicodedata
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from urllib.parse import SplitResult, parse_qsl, urlsplit

from qwen_omni.errors import DeliveryError, UnsupportedMediaError
from qwen_omni.media.source import check_page

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
        "64:ff9b:1::/48", "fec0::/10", "3fff::/20", "5f00::/16", "192.88.99.0/24",  # old Pythons call them global
        "168.63.129.16/32",  # answers to virtual machines of Azure alone
    )
)  # fmt: skip
_PUBLIC_STEP = "Upload it to a public or signed URL, or give the file itself (a path or bytes)."
# Name of the start time and of the lifetime in seconds: OSS V4, S3 V4, Google Cloud Storage V4.
_SIGNED_FOR = (("x-oss-date", "x-oss-expires"), ("x-amz-date", "x-amz-expires"), ("x-goog-date", "x-goog-expires"))
_SIGNED_WITH = ("signature", "ossaccesskeyid", "awsaccesskeyid", "googleaccessid")
_AN_EPOCH = 10**9  # seconds; smaller numbers without a signature beside them mean something else


def check_link(url: str, *, name: str, now: datetime, allow_private: bool = False) -> None:
    """Refuse a link that the service cannot follow.

    Args:
        url: `http`, `https` or `oss`.
        name: place and label, for errors.
        now: the present time, with its zone.
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
            f"{name}: the signed link ran out at {expiry:%Y-%m-%d %H:%M:%S} UTC. Sign it again, for at least an hour."
        )


def is_private_host(host: str) -> bool:
    """Tell whether a host is not on the public internet, by its name or by an address in any spelling.

    Example:
        >>> [is_private_host(host) for host in ("2130706433", "0x7f.1", "::ffff:10.0.0.1", "example.com")]
        [True, True, True, False]
    """
    host = unicodedata.normalize("NFKC", host).lower().strip("[]").rstrip(".").partition("%")[0]
    address = _address(host)
    if address is not None:
        return any(_is_private(one) for one in _meant(address))
    if "." not in host or ":" in host:
        return True  # a name without a dot is found only by the machines beside it
    return any(host == name or host.endswith("." + name) for name in _PRIVATE_NAMES)


def is_private_url(url: str) -> bool:
    """Whether the host of a URL is not on the public internet; see `is_private_host`."""
    return is_private_host(urlsplit(url).hostname or "")


def _is_private(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    return not address.is_global or address.is_multicast or any(address in network for network in _NOT_GLOBAL)


def expiry_of(url: str) -> datetime | None:
    """Read from a signed link when it ends; `None` if it does not say."""
    fields = {name.lower(): value for name, value in parse_qsl(urlsplit(url).query)}
    for start, lifetime in _SIGNED_FOR:
        if start in fields and fields.get(lifetime, "").isdecimal():
            return _after(fields[start], int(fields[lifetime]))
    until = fields.get("expires", "")
    if until.isdecimal() and (int(until) >= _AN_EPOCH or any(mark in fields for mark in _SIGNED_WITH)):
        return _from_epoch(int(until))
    return None


def names_seconds(url: str) -> bool:
    """Tell whether a link names a stretch of its media, as players and documents do (W3C Media Fragments).

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
    if _ODD.search(url) or "%" in at or at.lower().startswith("[v"):  # an address of the future has no meaning yet
        raise UnsupportedMediaError(f"{name}: the link holds characters that must be percent-encoded, or odd ones.")
    if not split.hostname:
        raise UnsupportedMediaError(f"{name}: the link names no host.")
    return split


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """Read an address, also the old spellings of IPv4: one to four numbers, each decimal, octal or hexadecimal."""
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
    """Give the address, or the IPv4 addresses that an IPv6 address carries inside."""
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
