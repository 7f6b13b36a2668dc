"""`QwenOmniAudioReader`: what is said in recordings and videos as documents with times."""

import contextlib
from collections.abc import AsyncIterator, Iterator
from typing import Any

from llama_index.core.readers.base import BaseReader
from llama_index.core.schema import Document

from llama_index_qwen_omni.llm import QwenOmni
from qwen_omni.client import AsyncOmniClient, OmniClient
from qwen_omni.settings import Settings
from qwen_omni.transcription.many import atranscribe_many, transcribe_many
from qwen_omni.transcription.options import DEFAULT_OPTIONS, TranscriptionOptions
from qwen_omni.transcription.passages import Mode, to_passages
from qwen_omni.video.passages import EXCLUDED, EXCLUDED_FROM_EMBEDDING, Passage
from qwen_omni.video.sources import Sources


class QwenOmniAudioReader(BaseReader):
    """Reads what is said in recordings and videos: passages with their seconds, speakers and language.

    Works by itself and as a `file_extractor`. A recording that was submitted within a day is not paid again.

    Args:
        llm: whose connection is used; the environment's if not given.
        options: the transcribing model, the language, speakers.
        mode: `passages` joins sentences up to `seconds`, `sentences` joins none, `single` makes one document a file.
        seconds: the longest passage.
        concurrency: recordings at a time.

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
        """Opens and sends nothing yet."""
        self._llm, self._options = llm, options
        self._mode, self._seconds, self._concurrency = mode, seconds, concurrency

    def lazy_load_data(  # type: ignore[override]
        self,
        file: Sources,
        extra_info: dict[str, Any] | None = None,
        fs: object = None,  # noqa: ARG002  (a file extractor is told; paths are local here)
    ) -> Iterator[Document]:
        """Give the documents one after another.

        Args:
            file: a path, a folder (with all below), a pattern, a URL, or a list of them.
            extra_info: added to the metadata of each document.
            fs: not used.

        Raises:
            QwenOmniError: of the first recording that fails; see `qwen_omni.errors`.
        """
        with OmniClient(self._settings()) as client:
            for said in transcribe_many(file, client=client, options=self._options, concurrency=self._concurrency):
                for passage in to_passages(said, mode=self._mode, seconds=self._seconds):
                    yield _document(passage, extra_info)

    def load_data(  # type: ignore[override]
        self, file: Sources, extra_info: dict[str, Any] | None = None, fs: object = None
    ) -> list[Document]:
        """Give the documents; see `lazy_load_data`."""
        return list(self.lazy_load_data(file, extra_info, fs))

    async def alazy_load_data(  # type: ignore[override]
        self, file: Sources, extra_info: dict[str, Any] | None = None
    ) -> AsyncIterator[Document]:
        """Give the documents one after another, without blocking the event loop."""
        async with AsyncOmniClient(self._settings()) as client:
            coming = atranscribe_many(file, client=client, options=self._options, concurrency=self._concurrency)
            async with contextlib.aclosing(coming) as transcripts:
                async for said in transcripts:
                    for passage in to_passages(said, mode=self._mode, seconds=self._seconds):
                        yield _document(passage, extra_info)

    async def aload_data(  # type: ignore[override]
        self,
        file: Sources,
        extra_info: dict[str, Any] | None = None,
        fs: object = None,  # noqa: ARG002
    ) -> list[Document]:
        """Give the documents without blocking the event loop."""
        return [one async for one in self.alazy_load_data(file, extra_info)]

    def _settings(self) -> Settings:
        return Settings.load() if self._llm is None else self._llm.client().settings


def _document(passage: Passage, extra: dict[str, Any] | None) -> Document:
    return Document(
        id_=passage.id,
        text=passage.text,
        metadata={**(extra or {}), **passage.metadata},
        excluded_embed_metadata_keys=list(EXCLUDED_FROM_EMBEDDING),
        excluded_llm_metadata_keys=list(EXCLUDED),
    )
