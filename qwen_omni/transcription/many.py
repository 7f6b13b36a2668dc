"""Many recordings, several at a time, in order; and which files a person means by a folder or a pattern."""

import asyncio
import glob
import mimetypes
import os
from collections import deque
from collections.abc import AsyncGenerator, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from qwen_omni.client import AsyncOmniClient, OmniClient
from qwen_omni.errors import UnreadableMediaError
from qwen_omni.transcription.options import DEFAULT_OPTIONS, TranscriptionOptions
from qwen_omni.transcription.run import atranscribe, transcribe
from qwen_omni.transcription.transcript import Transcript

Sources = str | os.PathLike[str] | Iterable[str | os.PathLike[str]]


def find_recordings(sources: Sources) -> list[str]:
    """Give the recordings and videos that are meant: paths, folders (with all below), patterns, URLs, lists of them.

    Raises:
        UnreadableMediaError: a folder or pattern holds none.
    """
    if not isinstance(sources, str | os.PathLike):
        return [one for source in sources for one in find_recordings(source)]
    told = os.fspath(sources)
    path = Path(told).expanduser()
    if "://" in told or path.is_file():
        return [told if "://" in told else str(path)]
    if path.is_dir():
        found = sorted(str(one) for one in path.rglob("*") if one.is_file() and _may_speak(one))
    else:
        found = sorted(one for one in glob.glob(str(path), recursive=True) if Path(one).is_file())  # noqa: PTH207
    if not found:
        raise UnreadableMediaError(f"{told} is no file, and no folder or pattern that holds recordings or videos.")
    return found


def transcribe_many(
    sources: Sources,
    *,
    client: OmniClient,
    options: TranscriptionOptions = DEFAULT_OPTIONS,
    concurrency: int = 4,
) -> Generator[Transcript, None, None]:
    """Give the transcript of each recording, in order, while later ones are already on their way.

    Raises:
        QwenOmniError: of the first that fails; those before it were given, and tasks that run are found again.
    """
    waiting = deque(find_recordings(sources))
    running: deque[Future[Transcript]] = deque()
    pool = ThreadPoolExecutor(max_workers=concurrency, thread_name_prefix="qwen-omni-transcribe")
    try:
        while waiting or running:
            while waiting and len(running) < concurrency:
                running.append(pool.submit(transcribe, waiting.popleft(), client=client, options=options))
            yield running.popleft().result()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


async def atranscribe_many(
    sources: Sources,
    *,
    client: AsyncOmniClient,
    options: TranscriptionOptions = DEFAULT_OPTIONS,
    concurrency: int = 4,
) -> AsyncGenerator[Transcript, None]:
    """Do the same in `asyncio`; see `transcribe_many`."""
    waiting = deque(await asyncio.to_thread(find_recordings, sources))
    running: deque[asyncio.Task[Transcript]] = deque()
    try:
        while waiting or running:
            while waiting and len(running) < concurrency:
                running.append(asyncio.create_task(atranscribe(waiting.popleft(), client=client, options=options)))
            yield await running.popleft()
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


def _may_speak(path: Path) -> bool:
    kind = mimetypes.guess_type(path.name)[0] or ""
    return kind.startswith(("audio/", "video/")) and not path.name.startswith(".")
