"""Chooses the proxy for requests to an address, and recognises its failures. Reads the environment; sends nothing.

Proxies are chosen here because the HTTP libraries send even loopback requests through a proxy, and fail with their own
errors if a variable names a proxy that they cannot use.
"""

import importlib.util
import ipaddress
import os
import re
import socket
import ssl
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from urllib.parse import SplitResult, urlsplit
from urllib.request import getproxies

from qwen_omni.addresses import is_host
from qwen_omni.errors import ConfigurationError, LocalNetworkError
from qwen_omni.media.files.tempfiles import causes

_DEFAULT_PORTS = {"http": 80, "https": 443}
_BETWEEN = re.compile(r"[,;\s]+")
_NETWORK = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True, slots=True)
class ProxyChoice:
    """The proxy for an address, and the environment variable that names it (or the system's settings)."""

    url: str = field(repr=False)
    variable: str

    @property
    def shown(self) -> str:
        """The proxy's address without user name and password."""
        split = urlsplit(self.url)
        host = f"[{split.hostname}]" if ":" in (split.hostname or "") else split.hostname
        return f"{split.scheme}://{host}{f':{split.port}' if split.port else ''}"


def proxy_for(url: str, socks_package: str = "socksio") -> ProxyChoice | None:
    """Choose the proxy that requests to an address go through; `None` for none.

    Loopback never goes through one. Otherwise `NO_PROXY`, `HTTPS_PROXY`, `HTTP_PROXY` and `ALL_PROXY` decide (the
    system's settings on Windows and macOS), as in curl; `NO_PROXY` takes names, addresses, networks (`10.0.0.0/8`),
    ports and wildcards, separated by commas, semicolons or spaces.

    Args:
        url: the address.
        socks_package: the package that the HTTP library needs for SOCKS.

    Raises:
        ConfigurationError: a variable names a proxy that cannot be used, or cannot be parsed.
    """
    target = urlsplit(url)
    if is_loopback(target.hostname or ""):
        return None
    known = {name: value.strip() for name, value in getproxies().items()}
    name = next((name for name in (target.scheme, "all") if known.get(name)), None)
    if name is None or _is_excluded(target, known.get("no", "")):
        return None
    return _usable(known[name], _variable(name), socks_package)


def through_proxy(url: str) -> str:
    """Describe the proxy for an address, for a message; empty without one."""
    proxy = proxy_for(url)
    return "" if proxy is None else f" through the proxy {proxy.shown} ({proxy.variable})"


def network_fault(error: BaseException, url: str) -> LocalNetworkError | None:
    """Return the fault of this machine's name resolution or proxy behind an HTTP library's error; `None` if none.

    Args:
        error: from httpx, httpx2, requests or the system.
        url: the address of the request.
    """
    host = urlsplit(url).hostname or url
    found = list(causes(error))
    if _is_of_proxy(found) and (fault := proxy_refusal(url, _words(found))) is not None:
        return fault
    if any(isinstance(cause, socket.gaierror) for cause in found):
        return LocalNetworkError(
            f"Could not look up the address of {host}: {_words(found)}. Check the host name, and this machine's "
            "network and name server (DNS).",
            resource="dns",
        )
    return None


def proxy_refusal(url: str, words: str = "407 Proxy Authentication Required") -> LocalNetworkError | None:
    """Return the error for a proxy that did not let a request to `url` through; `None` if there is no proxy."""
    proxy, host = proxy_for(url), urlsplit(url).hostname or url
    if proxy is None:
        return None
    return LocalNetworkError(
        f"Could not reach {host}{through_proxy(url)}: {words}. Check that the proxy is running and grants you access, "
        f"correct or unset {proxy.variable}, or add {host} to NO_PROXY.",
        resource="proxy",
    )


def _is_of_proxy(found: list[BaseException]) -> bool:
    """Whether the proxy refused or could not be reached; certificates of servers behind it are not its fault."""
    names = {type(cause).__name__ for cause in found}
    if any(isinstance(cause, ssl.SSLError) for cause in found):
        return False
    return bool(names & {"ProxyError", "ConnectError", "ConnectTimeout", "ConnectTimeoutError"})


def _words(found: list[BaseException]) -> str:
    """Return the system's message, else that of the innermost cause that has one."""
    failure = next((cause for cause in found if isinstance(cause, OSError) and cause.strerror), None)
    if failure is not None:
        return str(failure.strerror)
    return next((str(one) for one in reversed(found) if str(one)), "no details")


def is_loopback(host: str) -> bool:
    """Whether a host is this machine: `localhost`, `127.0.0.0/8`, `::1`; and `0.0.0.0`, which servers print.

    Example:
        >>> [is_loopback(host) for host in ("localhost", "127.8.8.8", "::1", "0.0.0.0", "127.0.0.1.example.com")]
        [True, True, True, True, False]
    """
    host = host.lower().strip("[]").rstrip(".")
    if host == "localhost" or host.endswith(".localhost"):
        return True
    address = address_of(host)
    return address is not None and (address.is_loopback or address.is_unspecified)


def _usable(proxy: str, variable: str, socks_package: str) -> ProxyChoice:
    proxy = proxy if "://" in proxy else f"http://{proxy}"
    scheme = proxy.partition("://")[0].lower()
    try:
        split = urlsplit(proxy)
        readable = split.port != 0 and proxy.isprintable() and " " not in proxy and is_host(split.hostname or "")
    except ValueError:
        readable = False
    if not readable:
        raise ConfigurationError(
            f"{variable} does not hold a valid proxy address: write it as http://host:port, or unset {variable}."
        )
    choice = ProxyChoice(proxy, variable)
    if scheme in ("http", "https"):
        return choice
    if scheme not in ("socks5", "socks5h"):
        raise ConfigurationError(
            f"{variable} names a {scheme}:// proxy, which is not supported; http://, https://, socks5:// and "
            f"socks5h:// are. Programs that write socks:// usually mean socks5://. Change or unset {variable}."
        )
    if importlib.util.find_spec(socks_package) is None:
        install = {"socksio": "pip install 'httpx2[socks]'"}.get(socks_package, "pip install 'requests[socks]'")
        raise ConfigurationError(f"{variable} names a {scheme}:// proxy, which needs an extra package: {install}")
    return choice


def _variable(name: str) -> str:
    """Return the variable's name as spelled in the environment."""
    wanted = f"{name}_proxy"
    found = [key for key in os.environ if key.lower() == wanted and os.environ[key]]
    return wanted if wanted in found else next(iter(found), f"the system's {name} proxy")


def _is_excluded(target: SplitResult, exceptions: str) -> bool:
    """Whether an entry of `NO_PROXY` names the target."""
    host = (target.hostname or "").lower().rstrip(".")
    port = target.port or _DEFAULT_PORTS.get(target.scheme)
    entries = [entry.lower() for entry in _BETWEEN.split(exceptions) if entry]
    found = [_names(entry, host, port) for entry in entries]  # all are parsed, so an invalid one is always reported
    return any(found)


def _names(entry: str, host: str, port: int | None) -> bool:
    entry = (entry.partition("://")[2] or entry).rstrip("/")
    if entry == "<local>":
        return "." not in host and ":" not in host
    network = _network(entry)
    if network is not None:
        address = address_of(host)
        return address is not None and address.version == network.version and address in network
    name, bracket, rest = entry.partition("]") if entry.startswith("[") else ("", "", "")
    if bracket:
        name, wanted = name[1:], rest.removeprefix(":")
    else:
        name, _, wanted = entry.partition(":")
    if (entry.startswith("[") and address_of(name) is None) or "/" in entry or (wanted and not wanted.isdecimal()):
        raise ConfigurationError(
            f"{_variable('no')} holds {entry[:80]!r}, which is neither a host, an address nor a network. Correct it; "
            "otherwise requests may go through a proxy that they were meant to bypass."
        )
    if wanted and int(wanted) != port:
        return False
    name = name.rstrip(".") if name.rstrip("*.") else name
    address, other = address_of(host), address_of(name)
    if address is not None and other is not None:
        return address == other
    name = name.removeprefix("*.").lstrip(".") if name != "*" else name
    return host == name or host.endswith(f".{name}") or ("*" in name and fnmatchcase(host, name))


def _network(entry: str) -> _NETWORK | None:
    if entry.startswith("["):
        address, bracket, rest = entry[1:].partition("]")
        if not bracket or (rest and not rest.startswith("/")):
            return None
        entry = address + rest
    try:
        return ipaddress.ip_network(entry, strict=False)
    except ValueError:
        return None


def address_of(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """Return a host as an address; `None` for a name. An IPv4 address inside an IPv6 one is an IPv4 address."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address
