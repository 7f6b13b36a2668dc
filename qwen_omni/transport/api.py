"""Requests outside the chat route: runs flows by sending their requests and passing them the replies.

Used by stores, web documents, transcription tasks and the doctor; chat requests go through `chat`.

An untrusted link leads only to addresses on the public internet: its name is resolved once per flow, its addresses are
checked, and the connection goes to a checked address, with the name kept in the Host header and in TLS. A second DNS
answer therefore cannot redirect it, and a redirect is checked like the first link.
"""

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

import httpx2

from qwen_omni.addresses import (
    Server,
    guess_server,
    is_private_host,
    may_be_litellm,
    read_litellm,
    read_server,
    remember_server,
)
from qwen_omni.errors import (
    APIConnectionError,
    APITimeoutError,
    ConfigurationError,
    DeliveryError,
    LocalNetworkError,
    QwenOmniError,
)
from qwen_omni.media.files.tempfiles import machine_fault
from qwen_omni.redact import redact
from qwen_omni.settings import Settings
from qwen_omni.transport.chat import (
    PROXY_LOGIN,
    AsyncRequestBody,
    Deadline,
    aread_up_to,
    package_version,
    read_up_to,
    tls,
    with_deadlines,
)
from qwen_omni.transport.flow import Flow, Reply, Request, Sleep, T, adrive, ask, drive
from qwen_omni.transport.proxies import ProxyChoice, address_of, network_fault, proxy_for, proxy_refusal, through_proxy

_UNSENT = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout, httpx2.UnsupportedProtocol)
_OK = range(200, 300)
_WEB = (httpx2.HTTPError, httpx2.InvalidURL, httpx2.StreamError)


# Requests go to a transport of the library, not to its `Client`, which logs every URL with its query, which may hold a
# signature. Here nothing is logged, stored or followed.


def run(flow: Flow[T], settings: Settings) -> T:
    """Run a flow to its end and return its result."""
    ways: dict[_Way, httpx2.HTTPTransport] = {}
    hosts = PublicHosts()
    with contextlib.ExitStack() as stack:

        def send(request: httpx2.Request) -> httpx2.Response:
            way = _way_of(request)
            if way not in ways:
                ways[way] = stack.enter_context(with_deadlines(httpx2.HTTPTransport(**_transport_arguments(way[0]))))
            *earlier, last = _tries(request, way, hosts)
            for one in earlier:
                with contextlib.suppress(httpx2.ConnectError, httpx2.ConnectTimeout):
                    return ways[way].handle_request(one)
            return ways[way].handle_request(last)

        with _without_secrets(settings):
            return drive(flow, lambda step: _fetch(send, step, settings))


async def arun(flow: Flow[T], settings: Settings, *, blocking: bool = False) -> T:
    """Run a flow to its end; the `asyncio` version of `run`. A `blocking` flow works in threads between its steps."""
    ways: dict[_Way, httpx2.AsyncHTTPTransport] = {}
    hosts = PublicHosts()
    async with contextlib.AsyncExitStack() as stack:

        async def send(request: httpx2.Request) -> httpx2.Response:
            way = _way_of(request)
            if way not in ways:
                transport = with_deadlines(httpx2.AsyncHTTPTransport(**_transport_arguments(way[0])))
                ways[way] = await stack.enter_async_context(transport)
            *earlier, last = [request] if way[1] is None else await asyncio.to_thread(_tries, request, way, hosts)
            for one in earlier:
                with contextlib.suppress(httpx2.ConnectError, httpx2.ConnectTimeout):
                    return await ways[way].handle_async_request(one)
            return await ways[way].handle_async_request(last)

        with _without_secrets(settings):
            return await adrive(flow, lambda step: _afetch(send, step, settings), blocking=blocking)


@contextlib.contextmanager
def _without_secrets(settings: Settings) -> Iterator[None]:
    """Remove the key from errors: an answer may quote it."""
    try:
        yield
    except QwenOmniError as error:
        error.without(settings.secrets)
        raise


# --- Who answers ---

_FIND_SECONDS = 5.0
_NO_SUCH_ROUTE = (404, 405)


def find_server(settings: Settings, model: str) -> Server:
    """Return what is known about a model's server; asks a server that is not DashScope's, once for each address.

    Never raises: if the query fails, so does the request that follows it, with a better message.
    """
    if not settings.knows_server:
        with _finding:
            if not settings.knows_server:
                _find(settings, model)
    return settings.server_of(model)


_finding = threading.Lock()


def _find(settings: Settings, model: str) -> None:
    seconds = min(_FIND_SECONDS, settings.read_timeout), min(_FIND_SECONDS, settings.connect_timeout)
    quick = replace(settings, read_timeout=seconds[0], connect_timeout=seconds[1])
    guess = guess_server(settings.base_url)
    try:
        found = run(ask_server(settings.base_url, model, guess), quick)
    except APITimeoutError:
        found = guess  # it answers chat, perhaps; do not wait again
    except QwenOmniError:
        return
    if found is not None:
        remember_server(settings.base_url, found)


def ask_server(base_url: str, model: str, guess: Server) -> Flow[Server | None]:
    """Ask a server for its models, and return what that says about it; `None` if a later query may say more."""
    reply = yield from ask(Request(method="GET", url=f"{base_url}/models", with_key=True))
    if reply.status in _NO_SUCH_ROUTE:
        return guess
    if reply.status not in _OK:
        return None
    if may_be_litellm(reply.body):
        info = yield from ask(Request(method="GET", url=f"{base_url}/model/info", with_key=True))
        return read_litellm(info.body, guess) if info.status in _OK else guess
    return read_server(reply.body, model, guess)


_Way = tuple[ProxyChoice | None, str | None]
"""The proxy, and the host of a request restricted to public addresses: such hosts do not share connections."""


def _way_of(request: httpx2.Request) -> _Way:
    return proxy_for(str(request.url)), request.url.host if request.extensions.get(PUBLIC) else None


def _tries(request: httpx2.Request, way: _Way, hosts: "PublicHosts") -> list[httpx2.Request]:
    """Return the request for each address that its host may have; unchanged for a proxy, which connects by name."""
    proxy, public_host = way
    if public_host is None:
        return [request]
    addresses = hosts.addresses(public_host, proxied=proxy is not None)
    return [request] if proxy is not None else [at_address(request, address) for address in addresses]


def _transport_arguments(proxy: ProxyChoice | None) -> dict[str, Any]:
    return {"verify": tls(), "trust_env": False, "proxy": None if proxy is None else proxy.url}


_Send = Callable[[httpx2.Request], httpx2.Response]
_AsyncSend = Callable[[httpx2.Request], Awaitable[httpx2.Response]]


def _fetch(send: _Send, step: Request | Sleep, settings: Settings) -> Reply | QwenOmniError | None:
    if isinstance(step, Sleep):
        time.sleep(step.seconds)
        return None
    try:
        request = httpx2.Request(**_web_arguments(step, settings))
        with _deadline_of(step, settings), contextlib.closing(_bound(send(request), request)) as response:
            return _reply(response, read_up_to(response.iter_bytes(), step.most_bytes), step)
    except (*_WEB, OSError) as error:
        return _web_error(error, step, settings)


async def _afetch(send: _AsyncSend, step: Request | Sleep, settings: Settings) -> Reply | QwenOmniError | None:
    if isinstance(step, Sleep):
        await asyncio.sleep(step.seconds)
        return None
    try:
        arguments = _web_arguments(step, settings)
        if step.content is not None:
            arguments["content"] = AsyncRequestBody(step.content)
        request = httpx2.Request(**arguments)
        with _deadline_of(step, settings):
            async with contextlib.aclosing(_bound(await send(request), request)) as response:
                return _reply(response, await aread_up_to(response.aiter_bytes(), step.most_bytes), step)
    except (*_WEB, OSError) as error:
        return _web_error(error, step, settings)


def _deadline_of(step: Request, settings: Settings) -> Deadline:
    return Deadline(settings.answer_seconds, _where(step))


def _where(step: Request) -> str:
    return redact(step.url).partition("?")[0]


def _bound(response: httpx2.Response, request: httpx2.Request) -> httpx2.Response:
    response.request = request
    return response


def _web_arguments(step: Request, settings: Settings) -> dict[str, Any]:
    headers = {"Accept": "*/*", "Accept-Encoding": "gzip, deflate", "User-Agent": f"qwen-omni/{package_version()}"}
    headers |= step.headers
    if step.with_key:
        if urlsplit(step.url)[:2] != urlsplit(settings.base_url)[:2]:
            raise ConfigurationError(f"The key belongs to {settings.base_url} and is not sent to any other host.")
        headers |= {**settings.headers, "Authorization": f"Bearer {settings.api_key.get_secret_value()}"}
    if step.content is not None:
        headers["Content-Length"] = str(step.content.length)
    timeout = httpx2.Timeout(settings.read_timeout, connect=settings.connect_timeout)
    extensions = {"timeout": timeout.as_dict(), PUBLIC: step.public}
    return {
        "method": step.method,
        "url": step.url,
        "headers": headers,
        "content": step.content,
        "extensions": extensions,
    }


def _reply(response: httpx2.Response, body: bytes, step: Request) -> Reply | QwenOmniError:
    if response.status_code == PROXY_LOGIN and (fault := proxy_refusal(step.url)) is not None:
        return fault
    headers = {name.lower(): value for name, value in response.headers.items()}
    return Reply(status=response.status_code, url=step.url, headers=headers, body=body)


def _web_error(error: Exception, step: Request, settings: Settings) -> QwenOmniError:
    where = _where(step)
    fault = machine_fault(error, f"connect to {where}") or network_fault(error, step.url)
    if fault is not None:
        return fault
    if not isinstance(error, _WEB):
        raise error  # from the reader of the body, not from the connection
    words = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    through = through_proxy(step.url)
    failure = APIConnectionError(
        f"The connection to {where}{through} failed ({words}). Check the network, or try again later."
    )
    if isinstance(error, httpx2.TimeoutException) and not isinstance(error, _UNSENT):
        failure = APITimeoutError(f"{where} did not answer{through} for {settings.read_timeout:g} s (read_timeout).")
    elif isinstance(error, httpx2.TimeoutException):
        failure = APITimeoutError(
            f"{where} could not be reached{through} within {settings.connect_timeout:g} s (connect_timeout)."
        )
    failure.sent = not isinstance(error, _UNSENT)
    return failure


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

    def __init__(self) -> None:
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
                self._found[host] = resolve_host(host)
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
    sni = {} if address_of(host) is not None else {"sni_hostname": host}
    return httpx2.Request(
        request.method,
        request.url.copy_with(host=address),
        headers=request.headers,
        stream=request.stream,
        extensions={**request.extensions, **sni},
    )
