"""Every way to ask with the client: whole and streamed, in threads and in `asyncio`."""

import asyncio
import contextlib
from collections.abc import Callable

import pytest

from qwen_omni import AsyncOmniClient, ChatRequest, OmniClient, Response, Settings, acollect, collect

Way = Callable[[Settings, ChatRequest], Response]


def complete(settings: Settings, request: ChatRequest) -> Response:
    with OmniClient(settings) as client:
        return client.complete(request)


def stream(settings: Settings, request: ChatRequest) -> Response:
    with OmniClient(settings) as client, contextlib.closing(client.stream(request)) as deltas:
        return collect(deltas)


def acomplete(settings: Settings, request: ChatRequest) -> Response:
    async def ask() -> Response:
        async with AsyncOmniClient(settings) as client:
            return await client.complete(request)

    return asyncio.run(ask())


def astream(settings: Settings, request: ChatRequest) -> Response:
    async def ask() -> Response:
        async with AsyncOmniClient(settings) as client, contextlib.aclosing(client.stream(request)) as deltas:
            return await acollect(deltas)

    return asyncio.run(ask())


WAYS: dict[str, Way] = {way.__name__: way for way in (complete, stream, acomplete, astream)}
each_way = pytest.mark.parametrize("ask", WAYS.values(), ids=WAYS)
once_each = pytest.mark.parametrize("ask", [complete, acomplete], ids=["sync", "async"])
