"""A video behind a link → a temporary file, in parts, to limit memory use; a broken connection costs one part.

Only for links chosen by the program: a link in a message goes to the service, which fetches it itself. The flow
decides and `transport.api.run` sends; the key is never sent.
"""

import asyncio
import contextlib
import re
from collections.abc import AsyncGenerator, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO, TypeVar
from urllib.parse import parse_qsl, urljoin, urlsplit

from qwen_omni.addresses import check_link
from qwen_omni.errors import APIConnectionError, DeliveryError, StoreUnavailableError
from qwen_omni.media.files.tempfiles import machine_fault, remove_file, scratch
from qwen_omni.redact import redact
from qwen_omni.settings import Settings
from qwen_omni.transport.api import run
from qwen_omni.transport.flow import Flow, Reply, Request, ask, repeating
from qwen_omni.transport.retry import RetryPolicy

T = TypeVar("T")

PART = 8 * 2**20  # bytes per request
MOST_BYTES = 8 * 2**30  # of one download; a longer link is more likely a mistake than a video
_HOPS = 5
_OK, _PARTIAL = 200, 206
_MOVED = (301, 302, 303, 307, 308)
_SERVER_FAILED = 500
_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+)")
_SIGNED = re.compile(r"sign|expires|token|credential|accesskey|secret|password", re.IGNORECASE)


@contextlib.contextmanager
def opened(source: str, settings: Settings) -> Iterator[tuple[Path, str]]:
    """Yield the local file of a path or a link inside a `with` block, and the name that may be stored.

    Raises:
        QwenOmniError: for a link, as `downloaded`.
    """
    if is_link(source):
        with downloaded(source, settings) as path:
            yield path, shown(source)
    else:
        yield Path(source), source


@contextlib.asynccontextmanager
async def off_the_loop(opening: contextlib.AbstractContextManager[T]) -> AsyncGenerator[T, None]:
    """Enter and leave a context in threads, for contexts that copy, fetch or remove files.

    Cancellation does not wait for a context that is still being entered: it is left as soon as it has been entered.
    """
    entering = asyncio.get_running_loop().run_in_executor(None, opening.__enter__)

    def leave(entered: "asyncio.Future[T]") -> None:
        if not entered.cancelled() and entered.exception() is None:
            opening.__exit__(None, None, None)

    try:
        yield await asyncio.shield(entering)
    finally:
        if entering.done():
            await asyncio.to_thread(leave, entering)
        else:
            entering.add_done_callback(leave)


def is_link(source: str) -> bool:
    """Whether a source is fetched from the network."""
    return source.startswith(("http://", "https://"))


@contextlib.contextmanager
def downloaded(url: str, settings: Settings, *, allow_private: bool = False) -> Iterator[Path]:
    """Fetch a link into a temporary file that exists inside the `with` block.

    Args:
        url: an http or https link chosen by the program.
        settings: timeouts and retries.
        allow_private: allow hosts on a private network, whatever the settings say.

    Raises:
        UnsupportedMediaError: not a link that can be fetched.
        DeliveryError: refused by its server, on a private host, too large, or from a server without range requests.
        APIConnectionError: its server cannot be reached.
        LocalResourceError: the disk has no room for it.
    """
    suffix = Path(urlsplit(url).path).suffix
    path = scratch.new_path(suffix if suffix.isascii() and len(suffix) < 8 else "")  # noqa: PLR2004 - no real one is longer
    try:
        policy = RetryPolicy(max_retries=settings.max_retries, first_wait=settings.retry_wait)
        allowed = allow_private or settings.private_links
        try:
            with path.open("xb") as file:
                run(download(url, file, policy, allow_private=allowed), settings)
        except OSError as error:
            raise machine_fault(error, f"download {redact(url)}", writing=True) or error from error
        yield path
    finally:
        remove_file(path)


def download(url: str, file: BinaryIO, policy: RetryPolicy, *, allow_private: bool = False) -> Flow[int]:
    """Fetch a link part by part into a file open for writing; return the number of bytes."""
    at, whole, here = 0, 1, url
    while at < whole:

        def attempt(begin: int = at, url: str = here) -> Flow[tuple[bytes, int, str]]:
            return _part(url, begin, allow_private=allow_private)

        part, whole, here = yield from repeating(attempt, policy)
        if whole > MOST_BYTES:
            raise DeliveryError(f"{redact(url)} has {whole:,} bytes; downloads are limited to {MOST_BYTES:,}.")
        file.write(part)
        at += len(part)
    return at


def _part(url: str, begin: int, *, allow_private: bool) -> Flow[tuple[bytes, int, str]]:
    """Fetch one part, following redirects; return it, the total length, and the final link."""
    for _ in range(_HOPS):
        name = redact(url)
        check_link(url, name=name, now=datetime.now(UTC), allow_private=allow_private)
        headers = {"Range": f"bytes={begin}-{begin + PART - 1}", "Accept-Encoding": "identity"}
        request = Request(method="GET", url=url, headers=headers, most_bytes=PART, public=not allow_private)
        reply = yield from ask(request)
        if reply.status in _MOVED and reply.headers.get("location"):
            url = urljoin(url, reply.headers["location"])
            continue
        if reply.status in (_OK, _PARTIAL):
            return reply.body, _length(reply, begin, name), url
        if reply.status >= _SERVER_FAILED:
            raise StoreUnavailableError(f"{name} answered {reply.status}. Try again later.")
        raise DeliveryError(f"{name} answered {reply.status}. Open it in a browser: it may be private or deleted.")
    raise DeliveryError(f"{redact(url)} goes through more than {_HOPS} redirects.")


def _length(reply: Reply, begin: int, name: str) -> int:
    """Return the total length of a file.

    Raises:
        DeliveryError: the server does not support range requests, and the file is longer than one part.
        APIConnectionError: it sent a different part than requested, or an incomplete one.
    """
    if reply.status == _PARTIAL:
        sent = _RANGE.fullmatch(reply.headers.get("content-range", ""))
        if sent is None or int(sent[1]) != begin or not reply.body or len(reply.body) != int(sent[2]) - begin + 1:
            raise APIConnectionError(f"{name} did not send the part from byte {begin:,} onwards.")
        return int(sent[3])
    told_length = reply.headers.get("content-length", "")
    if begin == 0 and told_length.isdecimal() and int(told_length) == len(reply.body):
        return len(reply.body)
    raise DeliveryError(
        f"{name}: its server does not support range requests (status 200 instead of 206). "
        "Download it yourself and pass the path."
    )


def shown(url: str) -> str:
    """Return a link that is safe to store: without a query that holds a signature or a key.

    Example:
        >>> shown("https://host/a.mp4?Expires=1&Signature=x"), shown("https://host/watch?v=7")
        ('https://host/a.mp4', 'https://host/watch?v=7')
    """
    split = urlsplit(url)
    if any(_SIGNED.search(name) for name, _ in parse_qsl(split.query, keep_blank_values=True)):
        split = split._replace(query="")
    return split._replace(fragment="").geturl()
