"""Videos and recordings as documents: `QwenOmniVideoLoader` for paths and links, `QwenOmniMediaParser` for blobs.

Each document is a passage: what happens between two moments. The work is `qwen_omni.iter_notes`, whose checkpoints
`LongVideoChain` shares: what one has paid for costs the other nothing.
"""

import asyncio
import contextlib
import os
import warnings
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from langchain_core.document_loaders import BaseBlobParser, BaseLoader, Blob
from langchain_core.documents import Document

from langchain_qwen_omni.chat_models import ChatQwenOmni
from qwen_omni.client import OmniClient
from qwen_omni.downloads import downloaded, shown
from qwen_omni.errors import ConfigurationError, DeliveryError, MediaError
from qwen_omni.redact import redact
from qwen_omni.video.options import DEFAULT_OPTIONS, SummaryOptions
from qwen_omni.video.passages import Mode, Passage, Passages, check_mode, whole_passage
from qwen_omni.video.progress import OnProgress
from qwen_omni.video.reading import iter_notes
from qwen_omni.video.summarizing import summarize

Source = str | os.PathLike[str]
OnError = Literal["raise", "warn"]

MEDIA_SUFFIXES = (
    ".mp4", ".mov", ".mkv", ".webm", ".avi", ".flv", ".wmv", ".m4v", ".3gp", ".mpg", ".mpeg", ".ts", ".mp3", ".wav",
    ".m4a", ".aac", ".flac", ".ogg", ".opus", ".amr", ".wma",
)  # fmt: skip
"""What is taken for a video or recording in a folder."""


class QwenOmniVideoLoader(BaseLoader):
    """Load videos and recordings as documents with times, for any vector store.

    Documents come lazily and in order, while later segments are still being worked on. Their metadata: `source`,
    `start`, `end`, `duration` (of the whole), `segment`, `segments`, `width`, `height`, `fps`, `video_codec`,
    `audio_codec`, `model`, `language`, `url` (with `#t=start,end`); times in seconds. Their `id` is stable.

    Args:
        source: a path, a folder, a pattern such as `talks/**/*.mp4`, an http link, or a list of these. All chosen by
            the program: no `media_root` is needed to read them. A link is downloaded, a piece at a time.
        llm: who looks; one is made from the environment if there is none.
        mode: "segments" makes a document of each segment, "captions" of each single thing that happens, is said or
            shown, "single" one of the whole.
        options: how closely to look, where to cut, …; the model is the `llm`'s.
        on_error: "warn" leaves out sources that cannot be read and warns; "raise" stops there. What the service refuses
            always raises; what is finished is kept for the next time.
        on_progress: told after every step.

    Example:
        from langchain_core.vectorstores import InMemoryVectorStore
        from langchain_qwen_omni import QwenOmniVideoLoader

        for document in QwenOmniVideoLoader("talks/").lazy_load():
            print(document.metadata["start"], document.page_content)
    """

    def __init__(
        self,
        source: Source | Sequence[Source],
        llm: ChatQwenOmni | None = None,
        *,
        mode: Mode = "segments",
        options: SummaryOptions = DEFAULT_OPTIONS,
        on_error: OnError = "raise",
        on_progress: OnProgress | None = None,
    ) -> None:
        """Check the choices; nothing is opened yet."""
        check_mode(mode)
        self.sources: tuple[Source, ...] = (source,) if isinstance(source, str | os.PathLike) else tuple(source)
        self.llm = llm
        self.mode = mode
        self.options = options
        self.on_error = on_error
        self.on_progress = on_progress

    def lazy_load(self) -> Iterator[Document]:
        """Give the documents, one at a time.

        Raises:
            ConfigurationError: a folder or pattern has no media in it.
            MediaError: a source cannot be read, unless `on_error="warn"`.
            QwenOmniError: see `qwen_omni.errors`; what is finished is kept for the next time.
        """
        llm = self.llm or ChatQwenOmni()
        for source in find_media(self.sources):
            yield from _guarded(self._documents(source, llm), str(source), self.on_error)

    async def alazy_load(self) -> AsyncIterator[Document]:
        """Do the same without blocking the event loop; stop early with `contextlib.aclosing`."""
        coming = self.lazy_load()
        try:
            while (document := await asyncio.to_thread(next, coming, None)) is not None:
                yield document
        finally:
            await asyncio.to_thread(coming.close)  # type: ignore[attr-defined]

    def _documents(self, source: Source, llm: ChatQwenOmni) -> Iterator[Document]:
        told = os.fspath(source)
        if _is_link(told):
            with downloaded(told, llm.client().settings) as path:
                yield from self._passages(path, shown(told), llm)
        else:
            yield from self._passages(Path(told), told, llm)

    def _passages(self, path: Path, name: str, llm: ChatQwenOmni) -> Iterator[Document]:
        yield from _read(path, name, llm, self.mode, self.options, self.on_progress)


class QwenOmniMediaParser(BaseBlobParser):
    """Parse a blob that holds a video or a recording into documents; for `GenericLoader` and any `BlobLoader`.

    Args:
        llm: who looks; one is made from the environment if there is none.
        mode: as in `QwenOmniVideoLoader`.
        options: as in `QwenOmniVideoLoader`.

    Example:
        from langchain_core.document_loaders import Blob
        from langchain_qwen_omni import QwenOmniMediaParser

        documents = QwenOmniMediaParser().parse(Blob.from_path("promo.mp4"))
    """

    def __init__(
        self, llm: ChatQwenOmni | None = None, *, mode: Mode = "segments", options: SummaryOptions = DEFAULT_OPTIONS
    ) -> None:
        """Check the choices."""
        check_mode(mode)
        self.llm = llm
        self.mode = mode
        self.options = options

    def lazy_parse(self, blob: Blob) -> Iterator[Document]:
        """Give the documents of one blob, one at a time; its own metadata are kept beside ours."""
        name = str(blob.source or blob.id or "blob")
        content: Path | bytes = Path(blob.path) if blob.data is None and blob.path is not None else blob.as_bytes()
        for document in _read(content, name, self.llm or ChatQwenOmni(), self.mode, self.options, None):
            document.metadata = {**blob.metadata, **document.metadata}
            yield document


def clip(document: Document, *, fps: float | None = None, margin: float = 2.0) -> dict[str, Any]:
    """Give the stretch of video that a document is about, as a content block to ask about again, closer.

    Nothing is cut here: the model's range does it when it is asked. The path must lie inside the model's `media_root`.

    Args:
        document: one that `QwenOmniVideoLoader` or `QwenOmniMediaParser` made of a file or link.
        fps: frames per second to look at; the model's own number if not given.
        margin: seconds before and after, since what one looks for may begin a little earlier.

    Raises:
        ConfigurationError: the document does not name a stretch of a file.

    Example:
        question = HumanMessage([clip(documents[0], fps=4), {"type": "text", "text": "What does the sign say?"}])
        print(llm.invoke([question]).text)
    """
    source, start, end = (document.metadata.get(name) for name in ("source", "start", "end"))
    if not isinstance(source, str) or not isinstance(start, int | float) or not isinstance(end, int | float):
        raise ConfigurationError("The document names no source with start and end; was it made by QwenOmniVideoLoader?")
    if _is_link(source):
        raise ConfigurationError(
            f"{redact(source)} is a link, and a part of it cannot be asked about. Download it and load the file."
        )
    duration = document.metadata.get("duration")
    last = end + margin if duration is None else min(end + margin, float(duration))
    extras = {"start": max(0.0, start - margin), "end": last} | ({} if fps is None else {"fps": fps})
    kind = "video" if "video_codec" in document.metadata else "audio"
    if kind == "audio":
        extras.pop("fps", None)
    return {"type": kind, "path": source, "extras": extras}


def find_media(sources: Iterable[Source]) -> Iterator[Source]:
    """Give every file and link that sources name, in order; folders are searched, patterns expanded.

    Raises:
        ConfigurationError: a folder or a pattern names no media.
    """
    for source in sources:
        told = os.fspath(source)
        path = Path(told).expanduser()
        if _is_link(told) or path.is_file():
            yield source
            continue
        if path.is_dir():
            found = sorted(one for one in path.rglob("*") if one.is_file() and one.suffix.lower() in MEDIA_SUFFIXES)
        elif any(sign in told for sign in "*?["):
            found = sorted(one for one in _expanded(path) if one.is_file())
        else:
            yield source  # the error about a missing file is told by whoever opens it
            continue
        if not found:
            raise ConfigurationError(
                f"{told} holds no video or recording. Name a file, a folder that has some, or a pattern."
            )
        yield from found


def _expanded(pattern: Path) -> Iterator[Path]:
    fixed = Path(pattern.anchor) if pattern.is_absolute() else Path()
    parts = pattern.relative_to(pattern.anchor).parts if pattern.is_absolute() else pattern.parts
    return fixed.glob(str(Path(*parts)))


def _is_link(told: str) -> bool:
    return told.startswith(("http://", "https://"))


def _read(
    content: Path | bytes,
    name: str,
    llm: ChatQwenOmni,
    mode: Mode,
    options: SummaryOptions,
    on_progress: OnProgress | None,
) -> Iterator[Document]:
    client = llm.client()
    chosen = replace(options, model=llm.model)
    if mode == "single":
        yield _document(_whole(content, name, client, chosen, on_progress))
        return
    passages = Passages(name, mode)
    with contextlib.closing(iter_notes(content, client=client, options=chosen, on_progress=on_progress)) as coming:
        for notes in coming:
            if notes.gap:
                _warn_of_gap(name, notes.start, notes.end, notes.gap)
            yield from map(_document, passages.of(notes))


def _whole(
    content: Path | bytes, name: str, client: OmniClient, options: SummaryOptions, on_progress: OnProgress | None
) -> Passage:
    found = summarize(content, client=client, options=options, on_progress=on_progress)
    for gap in found.gaps:
        _warn_of_gap(name, gap.start, gap.end, gap.reason)
    return whole_passage(name, found, start=options.start, end=options.end)


def _document(passage: Passage) -> Document:
    return Document(id=passage.id, page_content=passage.text, metadata=passage.metadata)


def _warn_of_gap(name: str, start: float, end: float, reason: str) -> None:
    warnings.warn(f"{name}: nothing is known of {start:g} to {end:g} s: {reason}", UserWarning, stacklevel=2)


def _guarded(documents: Iterator[Document], name: str, on_error: OnError) -> Iterator[Document]:
    try:
        yield from documents
    except (MediaError, DeliveryError) as error:
        if on_error == "raise":
            raise
        warnings.warn(f"{name} is left out: {error}", UserWarning, stacklevel=2)
