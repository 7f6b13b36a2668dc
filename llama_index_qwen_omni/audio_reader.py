"""`QwenOmniAudioReader`: what is said in recordings and videos as documents with times."""
# ruff: noqa: ANN401  (LlamaIndex's own signatures take any argument)

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Generator, Iterable, Iterator, Sequence
from functools import partial
from typing import Any

from fsspec import AbstractFileSystem
from llama_index.core.readers.base import BaseReader
from llama_index.core.schema import Document

from llama_index_qwen_omni._documents import to_document
from llama_index_qwen_omni._files import all_copied, find_files
from llama_index_qwen_omni.llm import QwenOmni
from qwen_omni.client import AsyncOmniClient, OmniClient
from qwen_omni.downloads import off_the_loop
from qwen_omni.ranges import PARALLEL, checked
from qwen_omni.settings import Settings
from qwen_omni.transcription.many import atranscribe_many, transcribe_many
from qwen_omni.transcription.options import DEFAULT_OPTIONS, TranscriptionOptions
from qwen_omni.transcription.passages import PASSAGE_SECONDS, Mode, to_passages
from qwen_omni.transcription.transcript import Transcript
from qwen_omni.video.sources import Sources


class QwenOmniAudioReader(BaseReader):
    """Reads what is said in recordings and videos: passages with their seconds, speakers and language.

    Works by itself and as a `file_extractor`, and reads from any fsspec file system. A recording that was submitted
    within a day is not paid again.

    Args:
        llm: whose connection is used; the environment's if not given.
        options: the transcribing model, the language, speakers.
        mode: `passages` joins sentences up to `seconds`, `sentences` joins none, `single` makes one document a file.
        seconds: the longest passage.
        concurrency: recordings at a time; from another file system that many are copied and transcribed together.

    Example:
        from llama_index.core import SimpleDirectoryReader
        from llama_index_qwen_omni import QwenOmniAudioReader

        documents = SimpleDirectoryReader("calls", file_extractor={".mp3": QwenOmniAudioReader()}).load_data()
    """

    def __init__(
        self,
        llm: QwenOmni | None = None,
        *,
        options: TranscriptionOptions = DEFAULT_OPTIONS,
        mode: Mode = "passages",
        seconds: float = 60.0,
        concurrency: int = 4,
    ) -> None:
        """Opens and sends nothing yet; raises `ConfigurationError` for less than one recording at a time."""
        checked("seconds", seconds, PASSAGE_SECONDS)
        checked("concurrency", concurrency, PARALLEL)
        self._llm, self._options = llm, options
        self._mode, self._seconds, self._concurrency = mode, seconds, concurrency

    def lazy_load_data(  # type: ignore[override]
        self, file: Sources, extra_info: dict[str, Any] | None = None, fs: AbstractFileSystem | None = None
    ) -> Generator[Document, None, None]:
        """Give the documents one after another.

        Args:
            file: a path, a folder (with all below), a pattern, a URL, or a list of them.
            extra_info: added to the metadata of each document.
            fs: the fsspec file system that the files, folders and patterns are on; the local one if not given.

        Raises:
            ConfigurationError: a folder or pattern has no media in it.
            QwenOmniError: of the first recording that fails; see `qwen_omni.errors`.
        """
        with OmniClient(self._settings()) as client, contextlib.closing(self._said(file, fs, client)) as transcripts:
            for said in transcripts:
                for passage in to_passages(said, mode=self._mode, seconds=self._seconds):
                    yield to_document(passage, extra_info, medium=False)

    def load_data(  # type: ignore[override]
        self, file: Sources, extra_info: dict[str, Any] | None = None, fs: AbstractFileSystem | None = None
    ) -> list[Document]:
        """Give the documents; see `lazy_load_data`."""
        return list(self.lazy_load_data(file, extra_info, fs))

    async def alazy_documents(
        self, file: Sources, extra_info: dict[str, Any] | None = None, fs: AbstractFileSystem | None = None
    ) -> AsyncGenerator[Document, None]:
        """Do the same in `asyncio`, lazily; LlamaIndex's own `alazy_load_data` can only give what is finished."""
        async with (
            AsyncOmniClient(self._settings()) as client,
            contextlib.aclosing(self._asaid(file, fs, client)) as transcripts,
        ):
            async for said in transcripts:
                for passage in to_passages(said, mode=self._mode, seconds=self._seconds):
                    yield to_document(passage, extra_info, medium=False)

    async def aload_data(self, *args: Any, **load_kwargs: Any) -> list[Document]:
        """Load all documents in `asyncio`; takes what `lazy_load_data` takes."""
        async with contextlib.aclosing(self.alazy_documents(*args, **load_kwargs)) as documents:
            return [document async for document in documents]

    async def alazy_load_data(self, *args: Any, **load_kwargs: Any) -> Iterable[Document]:
        """Load all documents in `asyncio`, without blocking the event loop."""
        return await self.aload_data(*args, **load_kwargs)

    def _said(
        self, file: Sources, fs: AbstractFileSystem | None, client: OmniClient
    ) -> Generator[Transcript, None, None]:
        ask = partial(transcribe_many, client=client, options=self._options, concurrency=self._concurrency)
        if fs is None:
            yield from ask(file)
            return
        for names in self._together(find_files(file, fs)):
            with all_copied(names, fs) as copies, contextlib.closing(ask([path for path, _ in copies])) as coming:
                for said, (_, name) in zip(coming, copies, strict=True):
                    yield said.model_copy(update={"source": name})

    async def _asaid(
        self, file: Sources, fs: AbstractFileSystem | None, client: AsyncOmniClient
    ) -> AsyncGenerator[Transcript, None]:
        ask = partial(atranscribe_many, client=client, options=self._options, concurrency=self._concurrency)
        if fs is None:
            async with contextlib.aclosing(ask(file)) as coming:
                async for said in coming:
                    yield said
            return
        for names in self._together(await asyncio.to_thread(find_files, file, fs)):
            async with (
                off_the_loop(all_copied(names, fs)) as copies,
                contextlib.aclosing(ask([path for path, _ in copies])) as coming,
            ):
                named = iter(copies)
                async for said in coming:
                    yield said.model_copy(update={"source": next(named)[1]})

    def _together(self, names: Sequence[str]) -> Iterator[Sequence[str]]:
        """Give as many at a time as are transcribed at a time: no more copies lie on the disk."""
        return (names[at : at + self._concurrency] for at in range(0, len(names), self._concurrency))

    def _settings(self) -> Settings:
        return Settings.load() if self._llm is None else self._llm.client().settings
