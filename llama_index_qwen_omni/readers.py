"""`QwenOmniVideoReader`: videos → documents with times, for any index. `_documents` is the pure half.

What is in the videos is asked by `qwen_omni.video.indexing`, which keeps every finished segment in a checkpoint:
reading a video again, or reading one that was summarised, costs nothing.
"""
# ruff: noqa: ANN401  (LlamaIndex's own signatures take any argument)

import asyncio
import contextlib
import warnings
from collections.abc import AsyncGenerator, Generator, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

from fsspec import AbstractFileSystem
from llama_index.core.readers.base import BasePydanticReader, ResourcesReaderMixin
from llama_index.core.schema import Document
from pydantic import BeforeValidator, ConfigDict, Field, SerializeAsAny
from pydantic_core import core_schema

from llama_index_qwen_omni._documents import to_document
from llama_index_qwen_omni._files import copied, find_files
from llama_index_qwen_omni.llm import QwenOmni
from qwen_omni.ask import look
from qwen_omni.downloads import off_the_loop, opened
from qwen_omni.errors import ConfigurationError
from qwen_omni.media.budget import budget_named
from qwen_omni.media.source import as_source
from qwen_omni.part_options import read_budget
from qwen_omni.settings import Settings
from qwen_omni.video.indexing import PassageOptions, aiter_passages, iter_passages
from qwen_omni.video.options import SummaryOptions
from qwen_omni.video.passages import Mode
from qwen_omni.video.progress import OnProgress
from qwen_omni.video.sources import MEDIA_SUFFIXES, UNREADABLE, OnError, Sources, left_out_text
from qwen_omni.video.spoken import Wanted


def _read_options(given: object) -> SummaryOptions:
    """Take options as they are, or as a dictionary has them that was made of a reader."""
    if isinstance(given, SummaryOptions):
        return given
    if not isinstance(given, Mapping):
        raise ConfigurationError(f"options must be SummaryOptions, not {type(given).__name__}.")
    told = dict(given)
    if told.get("budget") is not None:
        told["budget"] = budget_named(read_budget(told["budget"], "options"))
    if isinstance(told.get("checkpoint"), str):
        told["checkpoint"] = Path(told["checkpoint"])
    return SummaryOptions(**told)


def _read_llm(given: object) -> object:
    return QwenOmni.from_dict(dict(given)) if isinstance(given, Mapping) else given


class _Options:
    """How pydantic reads `SummaryOptions`, some of whose types it does not know."""

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> core_schema.CoreSchema:
        return core_schema.no_info_plain_validator_function(_read_options)


class QwenOmniVideoReader(ResourcesReaderMixin, BasePydanticReader):
    """Reads videos and recordings into documents, lazily and in order, while later segments are still worked on.

    Each document tells where it stands (`start`, `end`, `url` with a media fragment) and holds the video by
    reference (`video_resource`), so that a retrieved node can be asked again with `QwenOmni`; give that model a
    `media_root` that holds the videos. Paths are taken from the program itself and need no root here.

    It serves as `file_extractor` of `SimpleDirectoryReader`, and reads from any fsspec file system.

    Example:
        from llama_index.core import SimpleDirectoryReader, VectorStoreIndex
        from llama_index_qwen_omni import QwenOmniVideoReader

        reader = SimpleDirectoryReader("talks", file_extractor={".mp4": QwenOmniVideoReader()})
        index = VectorStoreIndex(nodes=reader.load_data())
    """

    llm: Annotated[SerializeAsAny[QwenOmni], BeforeValidator(_read_llm)] = Field(default_factory=QwenOmni)
    """Who looks: its model, key, address and delivery are used."""
    mode: Mode = "segments"
    """One document for each segment, for each single thing that happens, is said or shown ("captions"), or for the
    whole file ("single")."""
    options: Annotated[SummaryOptions, _Options] = Field(default_factory=SummaryOptions)
    """How closely the model looks, where it is cut, how much runs at once; the model's name is that of `llm`."""
    transcript: Wanted = False
    """Whether what is said, word for word, is added to each document; `TranscriptionOptions` choose how. It is made
    before the first document comes."""
    folder: str | None = None
    """What is read where no file is named."""
    suffixes: tuple[str, ...] = MEDIA_SUFFIXES
    """The files in a folder that are read."""
    on_error: OnError = "raise"
    """"warn" leaves out sources that cannot be read and warns; what the service refuses always raises."""
    on_progress: OnProgress | None = Field(default=None, exclude=True)
    """Told after every step."""
    is_remote: bool = True

    model_config = ConfigDict(arbitrary_types_allowed=True, extra="forbid")

    @classmethod
    def class_name(cls) -> str:
        """Give the name that LlamaIndex's stores know the class by."""
        return "QwenOmniVideoReader"

    def lazy_load_data(
        self,
        input_file: Sources | None = None,
        extra_info: Mapping[str, Any] | None = None,
        fs: AbstractFileSystem | None = None,
    ) -> Generator[Document, None, None]:
        """Give the documents one by one; close the generator to stop early. What is finished is kept.

        Args:
            input_file: a file, a folder, a pattern such as `talks/**/*.mp4`, an http link, or several of these; what is
                in `folder` if not given. A link is downloaded, a piece at a time.
            extra_info: further metadata of every document.
            fs: the fsspec file system that the files, folders and patterns are on; the local one if not given.

        Raises:
            ConfigurationError: a folder or pattern has no media in it.
            MediaError: a source cannot be read, unless `on_error="warn"`.
            QwenOmniError: see `qwen_omni.errors`; what is finished is kept for the next time.
        """
        for source in self._sources(input_file, fs):
            try:
                with _opened(source, fs, self.llm.client().settings) as (path, name):
                    coming = iter_passages(
                        path, name, self._wanted(), client=self.llm.client(), on_progress=self.on_progress
                    )
                    with contextlib.closing(coming) as passages:
                        for passage in passages:
                            yield to_document(passage, extra_info)
            except UNREADABLE as error:
                self._left_out(source, error)

    async def alazy_documents(
        self,
        input_file: Sources | None = None,
        extra_info: Mapping[str, Any] | None = None,
        fs: AbstractFileSystem | None = None,
    ) -> AsyncGenerator[Document, None]:
        """Do the same in `asyncio`, lazily; LlamaIndex's own `alazy_load_data` can only give what is finished."""
        client = self.llm.aclient()
        for source in await asyncio.to_thread(self._sources, input_file, fs):
            try:
                async with off_the_loop(_opened(source, fs, client.settings)) as (path, name):
                    coming = aiter_passages(path, name, self._wanted(), client=client, on_progress=self.on_progress)
                    async with contextlib.aclosing(coming) as passages:
                        async for passage in passages:
                            yield to_document(passage, extra_info)
            except UNREADABLE as error:
                self._left_out(source, error)

    async def aload_data(self, *args: Any, **load_kwargs: Any) -> list[Document]:
        """Load all documents in `asyncio`; takes what `lazy_load_data` takes."""
        async with contextlib.aclosing(self.alazy_documents(*args, **load_kwargs)) as documents:
            return [document async for document in documents]

    async def alazy_load_data(self, *args: Any, **load_kwargs: Any) -> Iterable[Document]:
        """Load all documents in `asyncio`, without blocking the event loop."""
        return await self.aload_data(*args, **load_kwargs)

    def _wanted(self) -> PassageOptions:
        summary = replace(self.options, model=self.llm.model)
        return PassageOptions(mode=self.mode, summary=summary, transcript=self.transcript)

    def _sources(self, given: Sources | None, fs: AbstractFileSystem | None) -> list[str]:
        return self.list_resources(fs=fs) if given is None else find_files(given, fs, self.suffixes)

    def _left_out(self, source: str, error: Exception) -> None:
        if self.on_error == "raise":
            raise error
        warnings.warn(left_out_text(source, error), stacklevel=3)

    # --- Resources ---

    def list_resources(self, *_: Any, fs: AbstractFileSystem | None = None, **__: Any) -> list[str]:
        """List the files of `folder` that would be read, in order; on a file system if one is given.

        Raises:
            ConfigurationError: there is no `folder`, or no media in it.
        """
        if self.folder is None:
            raise ConfigurationError("Name a file, or give the reader a folder=.")
        return find_files(self.folder, fs, self.suffixes)

    def get_resource_info(self, resource_id: str, *_: Any, **__: Any) -> dict[str, Any]:
        """Look at a local file: its size and time, and what is in it. Asks nobody."""
        status = Path(resource_id).stat()
        info = look(as_source(resource_id))
        facts = {} if info is None else {
            "kind": info.kind, "duration": None if info.duration is None else float(info.duration),
            "width": info.width, "height": info.height, "fps": None if info.fps is None else float(info.fps),
            "video_codec": info.video_codec, "audio_codec": info.audio_codec,
        }  # fmt: skip
        told = {"file_path": resource_id, "file_size": status.st_size, "last_modified": status.st_mtime, **facts}
        return {name: value for name, value in told.items() if value is not None}

    def load_resource(self, resource_id: str, *args: Any, **load_kwargs: Any) -> list[Document]:
        """Load the documents of one file; takes what `lazy_load_data` takes."""
        return list(self.lazy_load_data(resource_id, *args, **load_kwargs))

    async def aload_resource(self, resource_id: str, *args: Any, **load_kwargs: Any) -> list[Document]:
        """Do the same in `asyncio`."""
        return await self.aload_data(resource_id, *args, **load_kwargs)


def _opened(
    source: str, fs: AbstractFileSystem | None, settings: Settings
) -> contextlib.AbstractContextManager[tuple[Path, str]]:
    """Give a local file for as long as it is read, and the name that documents keep.

    The file is the one that is named, or a copy of one behind a link or on another file system.
    """
    return opened(source, settings) if fs is None else copied(source, fs)
