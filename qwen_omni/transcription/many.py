"""Many recordings, several at a time, in order."""

import asyncio
import functools
from collections import deque
from collections.abc import AsyncGenerator, Generator
from typing import TYPE_CHECKING

from qwen_omni.client import AsyncOmniClient, OmniClient
from qwen_omni.ranges import PARALLEL, checked
from qwen_omni.transcription.crew import Crew
from qwen_omni.transcription.options import DEFAULT_OPTIONS, TranscriptionOptions
from qwen_omni.transcription.run import atranscribe, transcribe
from qwen_omni.transcription.transcript import Transcript
from qwen_omni.video.sources import Sources, find_media

if TYPE_CHECKING:
    from concurrent.futures import Future


def transcribe_many(
    sources: Sources,
    *,
    client: OmniClient,
    options: TranscriptionOptions = DEFAULT_OPTIONS,
    concurrency: int = 4,
) -> Generator[Transcript, None, None]:
    """Give the transcript of each recording, in order, while later ones are already on their way.

    Raises:
        ConfigurationError: a folder or pattern holds no recording or video, or less than one at a time.
        QwenOmniError: of the first that fails; those before it were given, and tasks that run are found again.
    """
    concurrency = checked("concurrency", concurrency, PARALLEL)
    waiting = deque(find_media(sources))
    running: deque[Future[Transcript]] = deque()
    with Crew(concurrency) as crew:
        while waiting or running:
            while waiting and len(running) < concurrency:
                work = functools.partial(transcribe, waiting.popleft(), client=client, options=options)
                running.append(crew.submit(work))
            yield running.popleft().result()


async def atranscribe_many(
    sources: Sources,
    *,
    client: AsyncOmniClient,
    options: TranscriptionOptions = DEFAULT_OPTIONS,
    concurrency: int = 4,
) -> AsyncGenerator[Transcript, None]:
    """Do the same in `asyncio`; see `transcribe_many`."""
    concurrency = checked("concurrency", concurrency, PARALLEL)
    waiting = deque(await asyncio.to_thread(list, find_media(sources)))
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
