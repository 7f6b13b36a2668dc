"""Videos and recordings → documents with times, for any index: `QwenOmniVideoReader` and `QwenOmniAudioReader`.

The content of passages is decided in `qwen_omni.retrieval`, for both frameworks, and every finished segment is stored
in a checkpoint: reading a video again, or one that was summarised, costs nothing. A document refers to the video itself
(`video_resource`, or `audio_resource`), so that a retrieved node can be asked about again. Files on an fsspec file
system are selected like local ones, and each is copied to a local file while it is read.
"""

import abc
import asyncio
import contextlib
import mimetypes
import os
import tempfile
from collections.abc import AsyncGenerator, Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path, PurePath, PurePosixPath
from typing import Annotated, Any
from urllib.parse import urlsplit

from fsspec import AbstractFileSystem
from llama_index.core.base.llms.types import AudioBlock, VideoBlock
from llama_index.core.readers.base import BasePydanticReader, BaseReader, ResourcesReaderMixin
from llama_index.core.schema import BaseNode, Document, MediaResource
from pydantic import (
    BeforeValidator,
    ConfigDict,
    Field,
    SerializationInfo,
    SerializeAsAny,
    SerializerFunctionWrapHandler,
    model_serializer,
)
from pydantic_core import core_schema

from llama_index_qwen_omni.base import QwenOmni
from qwen_omni.addresses import StoreAddress
from qwen_omni.client import AsyncOmniClient, OmniClient
from qwen_omni.errors import ConfigurationError, QwenOmniError, UnreadableMediaError
from qwen_omni.integrations.media_options import read_budget
from qwen_omni.integrations.model_fields import described
from qwen_omni.media.budget import budget_named
from qwen_omni.media.files.find import MEDIA_SUFFIXES, OnError, Sources, find_media, named_apart
from qwen_omni.media.files.tempfiles import machine_fault
from qwen_omni.media.source import as_source
from qwen_omni.ranges import Range, checked
from qwen_omni.redact import redact
from qwen_omni.request.question import look
from qwen_omni.retrieval.index import Copies, MediaReading, PassageOptions, TranscriptReading, Wanted
from qwen_omni.retrieval.passages import (
    EXCLUDED,
    EXCLUDED_FROM_EMBEDDING,
    Mode,
    Passage,
    TranscriptMode,
    fragment_url,
    kind_of,
    known,
    time_range_of,
)
from qwen_omni.retrieval.thumbnails import SIDE, thumbnail_of
from qwen_omni.settings import Settings
from qwen_omni.transcription.options import DEFAULT_OPTIONS, TranscriptionOptions
from qwen_omni.transport.downloads import is_link, shown
from qwen_omni.video.engine.run import OnProgress
from qwen_omni.video.options import SummaryOptions

_PIECE = 1 << 20  # bytes copied at a time


def find_files(
    sources: Sources, fs: AbstractFileSystem | None = None, suffixes: Sequence[str] = MEDIA_SUFFIXES
) -> list[str]:
    """Return every file that the sources name, in order; folders are searched, patterns expanded.

    Args:
        sources: a path, a folder, a pattern, or several of them; without `fs`, also links.
        fs: their file system; the local one if not given.
        suffixes: file suffixes of videos and recordings in a folder.

    Raises:
        ConfigurationError: a folder or a pattern contains no media.
        UnreadableMediaError: a folder cannot be listed.
    """
    if fs is None:
        return [os.fspath(one) for one in find_media(sources, suffixes)]
    return [one for source in named_apart(sources) for one in _found(os.fspath(source), fs, suffixes)]


def _found(name: str, fs: AbstractFileSystem, suffixes: Sequence[str]) -> Sequence[str]:
    if fs.isfile(name):
        return (name,)
    try:
        if _is_folder(name, fs):
            found = [str(one) for one in fs.find(name) if _is_media(PurePosixPath(one), suffixes)]
            if not found:
                fs.ls(name)  # `find` silently skips a folder that cannot be listed
        elif any(sign in name for sign in "*?["):
            found = [str(one) for one, about in fs.glob(name, detail=True).items() if about.get("type") == "file"]
        else:
            return (name,)  # whoever opens it reports that it is missing
    except OSError as error:
        raise _not_read(name, error, "list") from None  # it may name a signed link
    if not found:
        raise ConfigurationError(
            f"{redact(name)} contains no video or recording. Pass a file, a folder that contains some, or a pattern."
        )
    return sorted(found, key=PurePosixPath)


def _is_folder(name: str, fs: AbstractFileSystem) -> bool:
    """Whether it is a folder; one without permission counts as a file, and opening it raises the reason."""
    with contextlib.suppress(OSError):
        return bool(fs.isdir(name))
    return False


def _is_media(path: PurePosixPath, suffixes: Sequence[str]) -> bool:
    return path.suffix.lower() in suffixes and not path.name.startswith(".")


@contextlib.contextmanager
def copied(source: str, fs: AbstractFileSystem) -> Generator[tuple[Path, str], None, None]:
    """Yield a local copy of a file for the duration of the `with` block, and the name stored in documents.

    Raises:
        UnreadableMediaError: there is no such file, or it cannot be read.
        LocalResourceError: this machine has no disk space for the copy, or lacks another resource.
    """
    with contextlib.ExitStack() as held:
        try:
            folder = tempfile.TemporaryDirectory(prefix="qwen-omni-", ignore_cleanup_errors=True)
            copy = (
                Path(held.enter_context(folder)) / PurePath(urlsplit(source).path if is_link(source) else source).name
            )
            with copy.open("wb") as here:
                here.writelines(_pieces(source, fs))
        except OSError as error:
            raise machine_fault(error, f"copy {shown(source)}", writing=True) or error from error
        name = str(fs.unstrip_protocol(source))
        yield copy, shown(name) if is_link(name) else name


@contextlib.contextmanager
def all_copied(sources: Sequence[str], fs: AbstractFileSystem) -> Generator[tuple[list[Path], list[str]], None, None]:
    """Yield copies of several files and their names, in order; raises as `copied` does."""
    with contextlib.ExitStack() as held:
        copies = [held.enter_context(copied(source, fs)) for source in sources]
        yield [path for path, _ in copies], [name for _, name in copies]


def _copying(fs: AbstractFileSystem | None) -> Callable[[Sequence[str]], Copies] | None:
    return None if fs is None else partial(all_copied, fs=fs)


def _named(sources: Sources, fs: AbstractFileSystem | None) -> Sources:
    return sources if fs is None else find_files(sources, fs)


def _pieces(source: str, fs: AbstractFileSystem) -> Iterator[bytes]:
    try:
        with fs.open(source, "rb") as there:
            while piece := there.read(_PIECE):
                yield piece
    except OSError as error:
        raise _not_read(source, error, "read") from None  # it may name a signed link


def _not_read(source: str, error: OSError, task: str) -> QwenOmniError:
    fault = machine_fault(error, f"{task} {redact(source)}")
    if fault is not None:
        return fault
    reason = f"{type(error).__name__} {redact(str(error))}".strip()
    return UnreadableMediaError(f"{redact(source)} cannot be read from its file system: {reason}.")


_RESOURCES = ("text_resource", "image_resource", "audio_resource", "video_resource")
_FPS = Range(least=1, most=1000, whole=True)  # LlamaIndex's blocks hold whole numbers only


class MediaDocument(Document):
    """A JSON-serialisable document that refers to its media.

    LlamaIndex holds the URL of media as an object that `json` cannot serialise, so stores could not be persisted. Here
    it is written as text, which `Document.from_dict` and `from_json` read.
    """

    @model_serializer(mode="wrap")
    def custom_model_dump(self, handler: SerializerFunctionWrapHandler, info: SerializationInfo) -> dict[str, Any]:
        """Serialise the fields; LlamaIndex's own serializer adds the class and the text."""
        data = super().custom_model_dump(handler, info)
        for name in _RESOURCES:
            resource = data.get(name)
            if isinstance(resource, dict) and resource.get("url") is not None:
                data[name] = {**resource, "url": str(resource["url"])}
        return data

    def __eq__(self, other: object) -> bool:
        """Whether another document has the same content, even if it was read from JSON as a plain `Document`."""
        return isinstance(other, Document) and self.model_dump(mode="json") == other.model_dump(mode="json")

    __hash__ = None  # type: ignore[assignment]  # like every model compared by its fields


def to_document(passage: Passage, extra: Mapping[str, Any] | None, *, medium: bool = True) -> Document:
    """Convert a passage to a document.

    Args:
        passage: the description of a time range of a video.
        extra: metadata to add to every document.
        medium: whether the document refers to the video or recording itself.
    """
    metadata = passage.metadata
    unknown = [name for name in metadata if known(metadata, name) is None]
    fields: dict[str, Any] = {
        "id_": passage.id,
        "text": passage.text,
        "metadata": {**(extra or {}), **metadata},
        "excluded_embed_metadata_keys": list(dict.fromkeys((*EXCLUDED_FROM_EMBEDDING, *unknown))),
        "excluded_llm_metadata_keys": list(dict.fromkeys((*EXCLUDED, *unknown))),
    }
    return MediaDocument(**fields, **_resource(metadata)) if medium else Document(**fields)


def _resource(metadata: Mapping[str, Any]) -> dict[str, Any]:
    source, url, kind = str(metadata["source"]), known(metadata, "url"), kind_of(metadata)
    resource = {
        "path": None if "://" in source else str(Path(source).absolute()),
        "url": url,
        "mimetype": mimetypes.guess_type(urlsplit(url or source).path)[0] or f"{kind}/mp4",
    }
    return {f"{kind}_resource": MediaResource.model_validate(resource)}


def clip(node: BaseNode, *, fps: int | None = None, margin: float = 2.0) -> VideoBlock | AudioBlock:
    """Return the time range of a node as a video or audio block, to ask about it again in more detail.

    For a file with several audio tracks, the block uses the node's track. Nothing is cut here; that happens when the
    model is called. The path must be inside the model's `media_root`. It also works for nodes that a splitter made from
    a document: the times are in the metadata.

    Args:
        node: a node from `QwenOmniVideoReader`, or a part of one.
        fps: frames per second to sample; the model's default if not given. Pass fractions in the message's
            `additional_kwargs`.
        margin: seconds to add before and after, since an event may begin a little earlier.

    Raises:
        ConfigurationError: the node does not name a time range of a file.

    Example:
        passage = clip(retriever.retrieve("tent")[0].node, fps=4)
        question = ChatMessage(blocks=[passage, TextBlock(text="Which colour?")])
        print(llm.chat([question]).message.content)
    """
    fps = None if fps is None else checked("fps", fps, _FPS)
    stretch = time_range_of(node.metadata, margin=margin)
    url = fragment_url(stretch.source, stretch.start, stretch.end, stretch.audio_track)
    return VideoBlock(url=url, fps=fps) if stretch.kind == "video" else AudioBlock(url=url)


def thumbnail(node: BaseNode, *, side: int = SIDE) -> bytes:
    """Return a small JPEG image of the middle of a node's time range. Sends nothing.

    Args:
        node: a node of a local video, from the reader or `VideoRetriever`, or a part of one.
        side: pixels of the longer side.

    Raises:
        ConfigurationError: the node does not name a time range of a local video.
        MediaError: the file cannot be read, or shows nothing there.

    Example:
        from pathlib import Path
        from llama_index_qwen_omni import thumbnail

        Path("best.jpg").write_bytes(thumbnail(nodes[0]))
    """
    return thumbnail_of(node.metadata, side=side)


# ruff: noqa: ANN401  (LlamaIndex's own signatures take any argument)


def _read_options(given: object) -> SummaryOptions:
    """Return options unchanged, or read them from the dictionary of a serialised reader."""
    if isinstance(given, SummaryOptions):
        return given
    if not isinstance(given, Mapping):
        raise ConfigurationError(f"options must be SummaryOptions, not {type(given).__name__}.")
    fields = dict(given)
    if isinstance(fields.get("chat"), Mapping):
        del fields["chat"]  # the options of an answer are those of the LLM
    if fields.get("budget") is not None:
        fields["budget"] = budget_named(read_budget(fields["budget"], "options"))
    if isinstance(fields.get("checkpoint"), str):
        fields["checkpoint"] = Path(fields["checkpoint"])
    return SummaryOptions(**fields)


def _write_options(options: SummaryOptions, handler: Any) -> Any:
    """Serialise options; the password of a store stays out."""
    data = handler(options)
    if isinstance(data, dict) and isinstance(options.checkpoint, StoreAddress):
        return {**data, "checkpoint": options.checkpoint.without_password()}
    return data


def _read_llm(given: object) -> object:
    return QwenOmni.from_dict(dict(given)) if isinstance(given, Mapping) else given


class _Options:
    """Pydantic schema of `SummaryOptions`, some of whose types pydantic does not know."""

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> core_schema.CoreSchema:
        written = core_schema.wrap_serializer_function_ser_schema(_write_options)
        return core_schema.no_info_plain_validator_function(_read_options, serialization=written)


class _LazyReader(BaseReader):
    """A reader that also yields its documents one by one in `asyncio`."""

    @abc.abstractmethod
    def alazy_documents(self, *args: Any, **load_kwargs: Any) -> AsyncGenerator[Document, None]:
        """Yield the documents one by one."""

    async def aload_data(self, *args: Any, **load_kwargs: Any) -> list[Document]:
        """Load all documents in `asyncio`; takes what `lazy_load_data` takes."""
        async with contextlib.aclosing(self.alazy_documents(*args, **load_kwargs)) as documents:
            return [document async for document in documents]

    async def alazy_load_data(self, *args: Any, **load_kwargs: Any) -> Iterable[Document]:
        """Load all documents in `asyncio`, without blocking the event loop."""
        return await self.aload_data(*args, **load_kwargs)


@described
class QwenOmniVideoReader(_LazyReader, ResourcesReaderMixin, BasePydanticReader):
    """Reads videos and recordings into documents, lazily and in order, while later segments are still being processed.

    Each document has its position (`start`, `end`, `url` with a media fragment) and a reference to the video
    (`video_resource`), so that a retrieved node can be asked about again with `QwenOmni`, whose `media_root` must
    contain the videos. Paths come from the program itself and need no root here.

    It can be a `file_extractor` of `SimpleDirectoryReader`, and reads from any fsspec file system.

    Example:
        from llama_index.core import SimpleDirectoryReader, VectorStoreIndex
        from llama_index_qwen_omni import QwenOmniVideoReader

        reader = SimpleDirectoryReader("talks", file_extractor={".mp4": QwenOmniVideoReader()})
        index = VectorStoreIndex(nodes=reader.load_data())
    """

    llm: Annotated[SerializeAsAny[QwenOmni], BeforeValidator(_read_llm)] = Field(default_factory=QwenOmni)
    """The LLM whose model, key, address and delivery are used."""
    mode: Mode = "segments"
    """One document for each segment ("segments"), for each single event, utterance or text on screen ("captions"), or
    for the whole file ("single")."""
    options: Annotated[SummaryOptions, _Options] = Field(default_factory=SummaryOptions)
    """Level of detail, segment length, concurrency; the model's name is that of `llm`."""
    transcript: Wanted = False
    """Whether to add a verbatim transcript to each document; `TranscriptionOptions` configure it. It is made before the
    first document comes."""
    folder: str | None = None
    """The folder to read if no file is passed."""
    suffixes: tuple[str, ...] = MEDIA_SUFFIXES
    """The suffixes of the files in a folder that are read."""
    on_error: OnError = "raise"
    """"warn" skips unreadable sources with a warning; errors of the service always raise."""
    on_progress: OnProgress | None = Field(default=None, exclude=True)
    """Called after every step."""
    is_remote: bool = True
    """Whether documents come from a service; they do."""

    model_config = ConfigDict(arbitrary_types_allowed=True, extra="forbid")

    @classmethod
    def class_name(cls) -> str:
        """Return the class name, as LlamaIndex's stores use it."""
        return "QwenOmniVideoReader"

    def lazy_load_data(
        self,
        input_file: Sources | None = None,
        extra_info: Mapping[str, Any] | None = None,
        fs: AbstractFileSystem | None = None,
    ) -> Generator[Document, None, None]:
        """Yield the documents one by one; close the generator to stop early. Finished work is kept.

        Args:
            input_file: a file, a folder, a pattern such as `talks/**/*.mp4`, an http link, or several of these; the
                content of `folder` if not given. A link is downloaded, a part at a time.
            extra_info: metadata to add to every document.
            fs: the fsspec file system that the files, folders and patterns are on; the local one if not given.

        Raises:
            ConfigurationError: a folder or pattern contains no media.
            MediaError: a source cannot be read, unless `on_error="warn"`.
            QwenOmniError: see `qwen_omni.errors`; finished work is kept for the next run.
        """
        client = self.llm.client()
        passages = self._reading(fs).passages(self._sources(input_file, fs), client)
        with contextlib.closing(passages) as coming:
            for passage in coming:
                yield to_document(passage, extra_info)

    async def alazy_documents(
        self,
        input_file: Sources | None = None,
        extra_info: Mapping[str, Any] | None = None,
        fs: AbstractFileSystem | None = None,
    ) -> AsyncGenerator[Document, None]:
        """Do the same in `asyncio`, lazily; LlamaIndex's own `alazy_load_data` can only return what is finished."""
        sources = await asyncio.to_thread(self._sources, input_file, fs)
        async with contextlib.aclosing(self._reading(fs).apassages(sources, self.llm.aclient())) as coming:
            async for passage in coming:
                yield to_document(passage, extra_info)

    def _reading(self, fs: AbstractFileSystem | None) -> MediaReading:
        summary = replace(self.options, model=self.llm.model, chat=self.llm.chat_options())
        return MediaReading(
            options=PassageOptions(mode=self.mode, summary=summary, transcript=self.transcript),
            on_error=self.on_error,
            on_progress=self.on_progress,
            opening=None if fs is None else partial(copied, fs=fs),
        )

    def _sources(self, given: Sources | None, fs: AbstractFileSystem | None) -> list[str]:
        return self.list_resources(fs=fs) if given is None else find_files(given, fs, self.suffixes)

    # --- Resources ---

    def list_resources(self, *_: Any, fs: AbstractFileSystem | None = None, **__: Any) -> list[str]:
        """Return the files in `folder` that would be read, in order; on `fs` if given.

        Raises:
            ConfigurationError: there is no `folder`, or it contains no media.
        """
        if self.folder is None:
            raise ConfigurationError("Pass a file, or set folder= of the reader.")
        return find_files(self.folder, fs, self.suffixes)

    def get_resource_info(self, resource_id: str, *_: Any, **__: Any) -> dict[str, Any]:
        """Return the size, modification time and media properties of a local file. Sends nothing."""
        status = Path(resource_id).stat()
        info = look(as_source(resource_id))
        facts = {} if info is None else {
            "kind": info.kind, "duration": None if info.duration is None else float(info.duration),
            "width": info.width, "height": info.height, "fps": None if info.fps is None else float(info.fps),
            "video_codec": info.video_codec, "audio_codec": info.audio_codec,
        }  # fmt: skip
        found = {"file_path": resource_id, "file_size": status.st_size, "last_modified": status.st_mtime, **facts}
        return {name: value for name, value in found.items() if value is not None}

    def load_resource(self, resource_id: str, *args: Any, **load_kwargs: Any) -> list[Document]:
        """Load the documents of one file; takes what `lazy_load_data` takes."""
        return list(self.lazy_load_data(resource_id, *args, **load_kwargs))

    async def aload_resource(self, resource_id: str, *args: Any, **load_kwargs: Any) -> list[Document]:
        """The same in `asyncio`."""
        return await self.aload_data(resource_id, *args, **load_kwargs)


# ruff: noqa: ANN401  (LlamaIndex's own signatures take any argument)


class QwenOmniAudioReader(_LazyReader):
    """Reads transcripts of recordings and videos as passages with their times, speakers and language.

    Works on its own and as a `file_extractor`, and reads from any fsspec file system. A recording that was submitted
    within a day is not paid again.

    Args:
        llm: the LLM whose connection is used; the environment's if not given.
        options: the transcription model, the language, speakers.
        mode: `passages` joins sentences up to `seconds`, `sentences` joins none, `single` makes one document per file.
        seconds: maximum length of a passage.
        concurrency: number of recordings at a time; from another file system, that many are copied and transcribed
            together.

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
        mode: TranscriptMode = "passages",
        seconds: float = 60.0,
        concurrency: int = 4,
    ) -> None:
        """Store the options, sending nothing; raises `ConfigurationError` if `concurrency` is less than 1."""
        self._reading = TranscriptReading(options=options, mode=mode, seconds=seconds, concurrency=concurrency)
        self._llm = llm

    def lazy_load_data(  # type: ignore[override]
        self, file: Sources, extra_info: dict[str, Any] | None = None, fs: AbstractFileSystem | None = None
    ) -> Generator[Document, None, None]:
        """Yield the documents one by one.

        Args:
            file: a path, a folder (recursively), a pattern, a URL, or a list of them.
            extra_info: metadata to add to every document.
            fs: the fsspec file system that the files, folders and patterns are on; the local one if not given.

        Raises:
            ConfigurationError: a folder or pattern contains no media.
            QwenOmniError: the error of the first recording that fails; see `qwen_omni.errors`.
        """
        with OmniClient(self._settings()) as client:
            passages = self._reading.passages(_named(file, fs), client, _copying(fs))
            with contextlib.closing(passages) as coming:
                for passage in coming:
                    yield to_document(passage, extra_info, medium=False)

    async def alazy_documents(
        self, file: Sources, extra_info: dict[str, Any] | None = None, fs: AbstractFileSystem | None = None
    ) -> AsyncGenerator[Document, None]:
        """Do the same in `asyncio`, lazily; LlamaIndex's own `alazy_load_data` can only return what is finished."""
        sources = await asyncio.to_thread(_named, file, fs)
        async with (
            AsyncOmniClient(self._settings()) as client,
            contextlib.aclosing(self._reading.apassages(sources, client, _copying(fs))) as coming,
        ):
            async for passage in coming:
                yield to_document(passage, extra_info, medium=False)

    def _settings(self) -> Settings:
        return Settings.load() if self._llm is None else self._llm.client().settings
