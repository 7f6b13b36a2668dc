"""Connections for untrusted links: only to addresses on the public internet.

A name is resolved once per flow, its addresses are checked, and the connection goes to a checked address, with the
name kept in the Host header and in TLS. A second DNS answer therefore cannot redirect it, and a redirect is checked
like the first link.
"""

import ipaddress
import socket
from collections.abc import Callable

import httpx2

from qwen_omni.addresses import is_private_host
from qwen_omni.errors import DeliveryError, LocalNetworkError
from qwen_omni.media.files.tempfiles import machine_fault
from qwen_omni.transport.proxies import network_fault

PUBLIC = "qwen_omni.public"
"""The extension that marks a request which may not go to a private address."""

Resolve = Callable[[str], list[str]]
_MOST_TRIED = 4  # addresses of one host


def resolve_host(host: str) -> list[str]:
    """Return the addresses of a host, from DNS; empty if it has none.

    Raises:
        LocalResourceError: this machine has too many open files, or no name server answers.
    """
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        fault = machine_fault(error, f"look up {host}")
        if fault is None and getattr(error, "errno", None) == socket.EAI_AGAIN:
            fault = network_fault(error, f"https://{host}")
        if fault is not None:
            raise fault from error
        return []
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


class PublicHosts:
    """The addresses of hosts, each resolved once and cached for the lifetime of this object."""

    def __init__(self, resolve: Resolve | None = None) -> None:
        self._resolve = resolve or resolve_host
        self._found: dict[str, list[str]] = {}

    def addresses(self, host: str, *, proxied: bool = False) -> list[str]:
        """Return the public addresses of a host, best first. Blocks during the DNS query.

        Args:
            host: a name or an address.
            proxied: a proxy connects instead of this machine, and resolves the name itself.

        Raises:
            LocalResourceError: this machine cannot resolve names.
            DeliveryError: it has only private addresses, or none at all and there is no proxy that may resolve it.
        """
        if host not in self._found:
            try:
                self._found[host] = self._resolve(host)
            except LocalNetworkError:
                if not proxied:
                    raise
                return []
        found = self._found[host]
        public = [address for address in found if not is_private_host(address)]
        if found and not public:
            raise DeliveryError(
                f"{host} has the private address {found[0]}, so nothing was fetched. Download the file yourself "
                "and pass its path. To allow links to private addresses, set QWEN_OMNI_PRIVATE_LINKS=1."
            )
        if not found and not proxied:
            raise DeliveryError(f"{host} has no address. Check the host name.")
        return public[:_MOST_TRIED]


def at_address(request: httpx2.Request, address: str) -> httpx2.Request:
    """Direct a request to one address of its host; the Host header and the certificate check still use the name."""
    host = request.url.host
    sni = {} if _is_address(host) else {"sni_hostname": host}
    return httpx2.Request(
        request.method,
        request.url.copy_with(host=address),
        headers=request.headers,
        stream=request.stream,
        extensions={**request.extensions, **sni},
    )


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
