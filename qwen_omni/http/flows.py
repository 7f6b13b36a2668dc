"""Requests beside the chat route: what a flow asks for is sent, and the flow goes on with the reply.

Stores, documents on the web, transcription tasks and the doctor come this way; chats have a `connection`.
"""

import asyncio
import functools
import logging
import ssl
import time
from collections.abc import AsyncIterator
from importlib.metadata import PackageNotFoundError, version
from typing import Any
from urllib.parse import urlsplit

import httpx2

from qwen_omni.errors import APIConnectionError, APITimeoutError, ConfigurationError, QwenOmniError
from qwen_omni.flow import Content, Done, Flow, Reply, Request, Sleep, T, advance
from qwen_omni.redact import redact, redact_record
from qwen_omni.settings import Settings

_UNSENT = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout, httpx2.UnsupportedProtocol)
_WEB = (httpx2.HTTPError, httpx2.InvalidURL, httpx2.StreamError)


def package_version() -> str:
    """Give the version of this package."""
    try:
        return version("qwen-omni")
    except PackageNotFoundError:
        return "unknown"


@functools.cache
def tls() -> ssl.SSLContext:
    """Read the system's certificates once: it takes longer than all else that a client needs."""
    return httpx2.create_ssl_context()


def run(flow: Flow[T], settings: Settings) -> T:
    """Carry a flow to its end and give what it returns."""
    with httpx2.Client(**_web_client_arguments(settings)) as client:
        step = advance(flow, None)
        while not isinstance(step, Done):
            step = advance(flow, _fetch(client, step, settings))
    return step.value


async def arun(flow: Flow[T], settings: Settings) -> T:
    """Carry a flow to its end without blocking the event loop; `run` is the other half."""
    async with httpx2.AsyncClient(**_web_client_arguments(settings)) as client:
        step = advance(flow, None)
        while not isinstance(step, Done):
            step = advance(flow, await _afetch(client, step, settings))
    return step.value


def _fetch(client: httpx2.Client, step: Request | Sleep, settings: Settings) -> Reply | QwenOmniError | None:
    if isinstance(step, Sleep):
        time.sleep(step.seconds)
        return None
    try:
        with client.stream(**_web_arguments(step, settings)) as response:
            kept = bytearray()
            for piece in response.iter_bytes():
                if _is_full(kept, piece, step):
                    break
            return _reply(response, kept, step)
    except _WEB as error:
        return _web_error(error, step, settings)
    except QwenOmniError as error:  # raised by the body while it was being sent
        return error


async def _afetch(
    client: httpx2.AsyncClient, step: Request | Sleep, settings: Settings
) -> Reply | QwenOmniError | None:
    if isinstance(step, Sleep):
        await asyncio.sleep(step.seconds)
        return None
    try:
        arguments = _web_arguments(step, settings)
        if step.content is not None:
            arguments["content"] = _pieces(step.content)
        async with client.stream(**arguments) as response:
            kept = bytearray()
            async for piece in response.aiter_bytes():
                if _is_full(kept, piece, step):
                    break
            return _reply(response, kept, step)
    except _WEB as error:
        return _web_error(error, step, settings)
    except QwenOmniError as error:
        return error


async def _pieces(content: Content) -> AsyncIterator[bytes]:
    for piece in content:
        yield piece


def _web_client_arguments(settings: Settings) -> dict[str, Any]:
    _hush()
    return {
        "timeout": httpx2.Timeout(settings.read_timeout, connect=settings.connect_timeout),
        "headers": {"User-Agent": f"qwen-omni/{package_version()}"},
        "follow_redirects": False,
        "verify": tls(),
    }


def _web_arguments(step: Request, settings: Settings) -> dict[str, Any]:
    headers = dict(step.headers)
    if step.with_key:
        if urlsplit(step.url)[:2] != urlsplit(settings.base_url)[:2]:
            raise ConfigurationError(f"The key belongs to {settings.base_url} and is sent to no other host.")
        headers |= {**settings.headers, "Authorization": f"Bearer {settings.api_key.get_secret_value()}"}
    if step.content is not None:
        headers["Content-Length"] = str(step.content.length)
    return {"method": step.method, "url": step.url, "headers": headers, "content": step.content}


def _is_full(kept: bytearray, piece: bytes, step: Request) -> bool:
    """Keep a piece of an answer, and tell whether that is all that is wanted of it."""
    kept += piece
    return len(kept) >= step.most_bytes


def _reply(response: httpx2.Response, kept: bytearray, step: Request) -> Reply:
    headers = {name.lower(): value for name, value in response.headers.items()}
    return Reply(status=response.status_code, headers=headers, body=bytes(kept[: step.most_bytes]))


def _web_error(error: Exception, step: Request, settings: Settings) -> QwenOmniError:
    where = redact(step.url).partition("?")[0]
    words = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    failure = APIConnectionError(f"The connection to {where} failed ({words}).")
    if isinstance(error, httpx2.TimeoutException) and not isinstance(error, _UNSENT):
        failure = APITimeoutError(f"{where} gave no answer for {settings.read_timeout:g} s (read_timeout).")
    elif isinstance(error, httpx2.TimeoutException):
        failure = APITimeoutError(f"{where} could not be reached in {settings.connect_timeout:g} s (connect_timeout).")
    failure.sent = not isinstance(error, _UNSENT)
    return failure


def _hush() -> None:
    for name in ("httpx2", "httpx"):
        logging.getLogger(name).addFilter(redact_record)  # kept once, however often it is added
