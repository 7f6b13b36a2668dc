"""Videos and recordings as documents: `QwenOmniVideoLoader`, `QwenOmniAudioLoader`, `QwenOmniMediaParser`.

Each document is a passage with its times, for any vector store. The work is done by `qwen_omni.retrieval.index`, which
shares its checkpoints with `LongVideoChain`: what one has paid for costs the other nothing.
"""

import abc
import contextlib
from collections.abc import AsyncIterator, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from langchain_core.document_loaders import BaseBlobParser, BaseLoader, Blob
from langchain_core.documents import Document

from langchain_qwen_omni._errors import as_langchain_errors
from langchain_qwen_omni.chat_models import ChatQwenOmni
from qwen_omni.client import AsyncOmniClient
from qwen_omni.media.files.find import OnError, Sources, find_media, named_apart
from qwen_omni.ranges import FRAME_RATE, checked
from qwen_omni.retrieval.index import MediaReading, PassageOptions, TranscriptReading, Wanted, iter_passages
from qwen_omni.retrieval.passages import Mode, Passage, TranscriptMode, time_range_of
from qwen_omni.retrieval.thumbnails import SIDE, thumbnail_of
from qwen_omni.transcription.options import DEFAULT_OPTIONS as TRANSCRIPTION_DEFAULTS, TranscriptionOptions
from qwen_omni.video.engine.run import OnProgress
from qwen_omni.video.options import DEFAULT_OPTIONS, SummaryOptions


class _PassageLoader(BaseLoader):
    """Loads passages as documents, with the connection of a chat model."""

    llm: ChatQwenOmni | None

    def lazy_load(self) -> Iterator[Document]:
        """Yield the documents, one at a time.

        Raises:
            ConfigurationError: a folder or pattern contains no media.
            MediaError: a source cannot be read, unless `on_error="warn"`.
            QwenOmniError: see `qwen_omni.errors`; finished work is kept for the next run.
        """
        with as_langchain_errors():
            llm = self.llm or ChatQwenOmni()
            reading, sources = self._planned(llm)
            with contextlib.closing(reading.passages(sources, llm.client())) as passages:
                yield from map(to_document, passages)

    async def alazy_load(self) -> AsyncIterator[Document]:
        """Yield the documents without blocking the event loop; stop early with `contextlib.aclosing`.

        Cancellation takes effect at once: nothing more is requested, and finished work is kept.
        """
        with as_langchain_errors():
            llm = self.llm or ChatQwenOmni()
            reading, sources = self._planned(llm)
            async with (
                AsyncOmniClient(llm.client().settings) as client,
                contextlib.aclosing(reading.apassages(sources, client)) as passages,
            ):
                async for passage in passages:
                    yield to_document(passage)

    @abc.abstractmethod
    def _planned(self, llm: ChatQwenOmni) -> tuple[Any, Any]:
        """Return the reading, of media or of transcripts, and the sources that it takes."""


class QwenOmniVideoLoader(_PassageLoader):
    """Load videos and recordings as documents with times, for any vector store.

    Documents come lazily and in order, while later segments are still being processed. Their metadata: `source`,
    `start`, `end`, `duration` (of the whole), `segment`, `segments`, `width`, `height`, `fps`, `video_codec`,
    `audio_codec`, `audio_track` (of several), `model`, `transcriber`, `language`, `speakers`, `kind`, `truncated`,
    `url` (with `#t=start,end`); times in seconds. Every document has every key; what is unknown is "" or -1. Their `id`
    is stable.

    Args:
        source: a path, a folder, a pattern such as `talks/**/*.mp4`, an http link, or a list of these. They come from
            the program, so they need no `media_root`. A link is downloaded, a part at a time.
        llm: the model; created from the environment if not given.
        mode: "segments" makes a document of each segment, "captions" of each single event, utterance or text on
            screen, "single" one of the whole file.
        options: level of detail, segment length, …; the model is the `llm`'s.
        transcript: whether to add a verbatim transcript to each document; `TranscriptionOptions` configure it. It is
            made before the first document comes.
        on_error: "warn" skips unreadable sources with a warning; "raise" stops there. Errors of the service always
            raise; finished work is kept for the next run.
        on_progress: called after every step.

    Example:
        from langchain_core.vectorstores import InMemoryVectorStore
        from langchain_qwen_omni import QwenOmniVideoLoader

        for document in QwenOmniVideoLoader("talks/").lazy_load():
            print(document.metadata["start"], document.page_content)
    """

    def __init__(  # noqa: PLR0913  (each keyword is a choice of its own)
        self,
        source: Sources,
        llm: ChatQwenOmni | None = None,
        *,
        mode: Mode = "segments",
        options: SummaryOptions = DEFAULT_OPTIONS,
        transcript: Wanted = False,
        on_error: OnError = "raise",
        on_progress: OnProgress | None = None,
    ) -> None:
        """Check the options; nothing is opened yet."""
        with as_langchain_errors():
            self.options = PassageOptions(mode=mode, summary=options, transcript=transcript)
        self.sources = named_apart(source)
        self.llm = llm
        self.on_error: OnError = on_error
        self.on_progress = on_progress

    def _planned(self, llm: ChatQwenOmni) -> tuple[MediaReading, Iterable[Any]]:
        options = _asked_of(llm, self.options)
        reading = MediaReading(options=options, on_error=self.on_error, on_progress=self.on_progress)
        return reading, find_media(self.sources)


class QwenOmniMediaParser(BaseBlobParser):
    """Parse a blob that holds a video or a recording into documents; for `GenericLoader` and any `BlobLoader`.

    Args:
        llm: the model; created from the environment if not given.
        mode: as in `QwenOmniVideoLoader`.
        options: as in `QwenOmniVideoLoader`.
        transcript: as in `QwenOmniVideoLoader`.

    Example:
        from langchain_core.document_loaders import Blob
        from langchain_qwen_omni import QwenOmniMediaParser

        documents = QwenOmniMediaParser().parse(Blob.from_path("promo.mp4"))
    """

    def __init__(
        self,
        llm: ChatQwenOmni | None = None,
        *,
        mode: Mode = "segments",
        options: SummaryOptions = DEFAULT_OPTIONS,
        transcript: Wanted = False,
    ) -> None:
        """Check the options."""
        with as_langchain_errors():
            self.options = PassageOptions(mode=mode, summary=options, transcript=transcript)
        self.llm = llm

    def lazy_parse(self, blob: Blob) -> Iterator[Document]:
        """Yield the documents of one blob, one at a time; its own metadata is kept."""
        name = str(blob.source or blob.id or "blob")
        content: Path | bytes = Path(blob.path) if blob.data is None and blob.path is not None else blob.as_bytes()
        with as_langchain_errors():
            llm = self.llm or ChatQwenOmni()
            passages = iter_passages(content, name, _asked_of(llm, self.options), client=llm.client())
            with contextlib.closing(passages) as coming:
                for passage in coming:
                    document = to_document(passage)
                    document.metadata = {**blob.metadata, **document.metadata}
                    yield document


def clip(document: Document, *, fps: float | None = None, margin: float = 2.0) -> dict[str, Any]:
    """Return the time range of a document as a content block, to ask about it again in more detail.

    For a file with several audio tracks, the block uses the document's track. Nothing is cut here; that happens when
    the model is called. The path must be inside the model's `media_root`.

    Args:
        document: a document from `QwenOmniVideoLoader` or `QwenOmniMediaParser`, of a file or link.
        fps: frames per second to sample; the model's default if not given.
        margin: seconds to add before and after, since an event may begin a little earlier.

    Raises:
        ConfigurationError: the document does not name a time range of a file.

    Example:
        question = HumanMessage([clip(documents[0], fps=4), {"type": "text", "text": "What does the sign say?"}])
        print(llm.invoke([question]).text)
    """
    with as_langchain_errors():
        stretch = time_range_of(document.metadata, margin=margin)
        fps = None if fps is None else checked("fps", fps, FRAME_RATE)
    extras: dict[str, Any] = {"start": stretch.start, "end": stretch.end}
    if stretch.audio_track is not None:
        extras["audio_track"] = stretch.audio_track
    if fps is not None and stretch.kind == "video":
        extras["fps"] = fps
    where = "url" if stretch.source.startswith("file:") else "path"
    return {"type": stretch.kind, where: stretch.source, "extras": extras}


def thumbnail(document: Document, *, side: int = SIDE) -> bytes:
    """Return a small JPEG image of the middle of a document's time range. Sends nothing.

    Args:
        document: a document of a local video, from the loader, the parser or `VideoRetriever`.
        side: pixels of the longer side.

    Raises:
        ConfigurationError: the document does not name a time range of a local video.
        MediaError: the file cannot be read, or shows nothing there.

    Example:
        from pathlib import Path
        from langchain_qwen_omni import thumbnail

        Path("best.jpg").write_bytes(thumbnail(documents[0]))
    """
    with as_langchain_errors():
        return thumbnail_of(document.metadata, side=side)


def _asked_of(llm: ChatQwenOmni, options: PassageOptions) -> PassageOptions:
    return replace(options, summary=replace(options.summary, model=llm.model, chat=llm.chat_options()))


def to_document(passage: Passage) -> Document:
    """Convert a passage to a document."""
    return Document(id=passage.id, page_content=passage.text, metadata=passage.metadata)


class QwenOmniAudioLoader(_PassageLoader):
    """Loads transcripts of recordings and videos as passages with their times, speakers and language.

    Documents come in order, while later recordings are already being transcribed. A recording that was submitted
    within a day is not paid for again, so an interrupted run resumes where it stopped.

    Args:
        sources: a path, a folder (recursively), a pattern, a URL, or a list of them, chosen by the program.
        llm: the model whose connection is used; the environment's if not given.
        options: the transcription model, the language, speakers.
        mode: `passages` joins sentences up to `seconds`, `sentences` joins none, `single` makes one document per file.
        seconds: maximum length of a passage.
        concurrency: number of recordings at a time.

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
        options: TranscriptionOptions = TRANSCRIPTION_DEFAULTS,
        mode: TranscriptMode = "passages",
        seconds: float = 60.0,
        concurrency: int = 4,
    ) -> None:
        """Store the options; nothing is opened or sent yet."""
        with as_langchain_errors():
            self._reading = TranscriptReading(options=options, mode=mode, seconds=seconds, concurrency=concurrency)
        self._sources, self.llm = sources, llm

    def _planned(self, llm: ChatQwenOmni) -> tuple[TranscriptReading, Sources]:  # noqa: ARG002
        return self._reading, self._sources
