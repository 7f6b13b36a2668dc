"""`QwenOmniAudioLoader`: what is said in recordings and videos as documents with times, for any vector store."""

import contextlib
from collections.abc import AsyncIterator, Iterator

from langchain_core.document_loaders import BaseLoader
from langchain_core.documents import Document

from langchain_qwen_omni._errors import as_langchain_errors
from langchain_qwen_omni.chat_models import ChatQwenOmni
from langchain_qwen_omni.document_loaders import to_document
from qwen_omni.client import AsyncOmniClient, OmniClient
from qwen_omni.ranges import PARALLEL, checked
from qwen_omni.settings import Settings
from qwen_omni.transcription.many import atranscribe_many, transcribe_many
from qwen_omni.transcription.options import DEFAULT_OPTIONS, TranscriptionOptions
from qwen_omni.transcription.passages import PASSAGE_SECONDS, Mode, to_passages
from qwen_omni.video.sources import Sources


class QwenOmniAudioLoader(BaseLoader):
    """Loads what is said in recordings and videos: passages with their seconds, speakers and language.

    Documents come in order, while later recordings are already being transcribed. A recording that was submitted
    within a day is not paid again, so a run that was ended goes on where it was.

    Args:
        sources: a path, a folder (with all below), a pattern, a URL, or a list of them, chosen by the program.
        llm: whose connection is used; the environment's if not given.
        options: the transcribing model, the language, speakers.
        mode: `passages` joins sentences up to `seconds`, `sentences` joins none, `single` makes one document a file.
        seconds: the longest passage.
        concurrency: recordings at a time.

    Example:
        from langchain_qwen_omni import QwenOmniAudioLoader

        for document in QwenOmniAudioLoader("calls/").lazy_load():
            print(document.metadata["source"], document.metadata["start"], document.page_content)
    """

    def __init__(
        self,
        sources: Sources,
        llm: ChatQwenOmni | None = None,
        *,
        options: TranscriptionOptions = DEFAULT_OPTIONS,
        mode: Mode = "passages",
        seconds: float = 60.0,
        concurrency: int = 4,
    ) -> None:
        """Opens and sends nothing yet."""
        with as_langchain_errors():
            checked("seconds", seconds, PASSAGE_SECONDS)
            checked("concurrency", concurrency, PARALLEL)
        self._sources, self._llm, self._options = sources, llm, options
        self._mode, self._seconds, self._concurrency = mode, seconds, concurrency

    def lazy_load(self) -> Iterator[Document]:
        """Give the documents one after another.

        Raises:
            QwenOmniError: of the first recording that fails; see `qwen_omni.errors`.
        """
        with as_langchain_errors(), OmniClient(self._settings()) as client:
            coming = transcribe_many(self._sources, client=client, options=self._options, concurrency=self._concurrency)
            for said in coming:
                for passage in to_passages(said, mode=self._mode, seconds=self._seconds):
                    yield to_document(passage)

    async def alazy_load(self) -> AsyncIterator[Document]:
        """Give the documents one after another, without blocking the event loop."""
        with as_langchain_errors():
            async with AsyncOmniClient(self._settings()) as client:
                coming = atranscribe_many(
                    self._sources, client=client, options=self._options, concurrency=self._concurrency
                )
                async with contextlib.aclosing(coming) as transcripts:
                    async for said in transcripts:
                        for passage in to_passages(said, mode=self._mode, seconds=self._seconds):
                            yield to_document(passage)

    def _settings(self) -> Settings:
        return Settings.load() if self._llm is None else self._llm.client().settings
