"""Detect whether a file was opened, by this process or its children (inotify, via ctypes)."""

import contextlib
import ctypes
import os
import socket
import struct
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

_IN_ACCESS, _IN_OPEN, _NONBLOCK = 0x1, 0x20, 0o4000


@contextlib.contextmanager
def watched(*paths: Path) -> Iterator[list[int]]:
    """Yield a list that, after the block, has one mask for every open or read of `paths`."""
    if sys.platform != "linux":
        pytest.skip("watching files needs Linux")
    libc = ctypes.CDLL(None, use_errno=True)
    descriptor = libc.inotify_init1(_NONBLOCK)
    seen: list[int] = []
    try:
        for path in paths:
            if libc.inotify_add_watch(descriptor, os.fsencode(path), _IN_ACCESS | _IN_OPEN) < 0:
                pytest.skip(f"watching files is not possible here: {os.strerror(ctypes.get_errno())}")
        yield seen
        with contextlib.suppress(BlockingIOError):
            events = os.read(descriptor, 65_536)
            while events:
                _, mask, _, length = struct.unpack_from("iIII", events)
                seen.append(mask)
                events = events[16 + length :]
    finally:
        os.close(descriptor)


_opened: list[str] | None = None


def _note(event: str, arguments: tuple[object, ...]) -> None:
    if event == "open" and _opened is not None:
        _opened.append(str(arguments[0]))


sys.addaudithook(_note)  # hooks cannot be removed, so one stays and is mostly inactive


@contextlib.contextmanager
def opened_by_python() -> Iterator[list[str]]:
    """Yield the names of everything that Python code opens inside the block, whatever other code opens."""
    global _opened  # noqa: PLW0603 - the hook lives as long as the process
    _opened = names = []
    try:
        yield names
    finally:
        _opened = None


@contextlib.contextmanager
def listener() -> Iterator[tuple[int, list[str]]]:
    """Listen on loopback; yield the port and a list, which after the block has the peers that connected."""
    peers: list[str] = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        yield server.getsockname()[1], peers
        with contextlib.suppress(BlockingIOError):
            while True:
                connection, peer = server.accept()
                connection.close()
                peers.append(str(peer))
