"""`QwenOmniVideoReader`: videos → documents with times, for any index. `_documents` is the pure half.

What is in the videos is asked by `qwen_omni.video`, which keeps every finished segment in a checkpoint: reading a
video again, or reading one that was summarised, costs nothing.
"""
# ruff: noqa: ANN401  (LlamaIndex's own signatures take any argument)

import asyncio
import contextlib
import os
import shutil
import tempfile
import warnings
from collections.abc import AsyncGenerator, Generator, Iterable, Mapping
from dataclasses import replace
from pathlib import Path, PurePath
from typing import Annotated, Any

from fsspec import AbstractFileSystem
from llama_index.core.readers.base import BasePydanticReader, ResourcesReaderMixin
from llama_index.core.schema import Document
from pydantic import BeforeValidator, ConfigDict, Field, SerializeAsAny
from pydantic_core import core_schema

from llama_index_qwen_omni._documents import Mode, Origin, to_documents
from llama_index_qwen_omni.llm import QwenOmni
from qwen_omni.ask import look, source_of
from qwen_omni.errors import ConfigurationError
from qwen_omni.media.budget import MediaBudget
from qwen_omni.video.notes import SegmentNotes
from qwen_omni.video.options import SummaryOptions

Files = str | os.PathLike[str] | PurePath | Iterable[str | os.PathLike[str] | PurePath]

SUFFIXES = (".mp4", ".mov", ".mkv", ".webm", ".avi", ".flv", ".wmv", ".m4v", ".mp3", ".wav", ".m4a", ".aac", ".flac")


def _read_options(given: object) -> SummaryOptions:
    """Take options as they are, or as a dictionary has them that was made of a reader."""
    if isinstance(given, SummaryOptions):
        return given
    if not isinstance(given, Mapping):
        raise ConfigurationError(f"options must be SummaryOptions, not {type(given).__name__}.")
    told = dict(given)
    if isinstance(told.get("budget"), Mapping):
        told["budget"] = MediaBudget(**told["budget"])
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
    """One document for each segment, for each event ("captions"), or for the whole file ("single")."""
    options: Annotated[SummaryOptions, _Options] = Field(default_factory=SummaryOptions)
    """How closely the model looks, where it is cut, how much runs at once; the model's name is that of `llm`."""
    folder: str | None = None
    """What is read where no file is named."""
    suffixes: tuple[str, ...] = SUFFIXES
    """The files in `folder` that are read."""
    is_remote: bool = True

    model_config = ConfigDict(arbitrary_types_allowed=True, extra="forbid")

    @classmethod
    def class_name(cls) -> str:
        """Give the name that LlamaIndex's stores know the class by."""
        return "QwenOmniVideoReader"

    def lazy_load_data(
        self,
        input_file: Files | None = None,
        extra_info: Mapping[str, Any] | None = None,
        fs: AbstractFileSystem | None = None,
    ) -> Generator[Document, None, None]:
        """Give the documents one by one; close the generator to stop early. What is finished is kept.

        Args:
            input_file: a file, or several; those of `folder` if not given.
            extra_info: further metadata of every document.
            fs: the fsspec file system that the files are on; the local one if not given.

        Raises:
            QwenOmniError: see `qwen_omni.errors`.
        """
        for name in self._files(input_file):
            with _local(name, fs) as path:
                origin = _origin(name, fs, extra_info)
                for notes in self._notes(path):
                    _warn_of(notes, origin)
                    yield from to_documents(notes, self.mode, origin)

    async def alazy_documents(
        self,
        input_file: Files | None = None,
        extra_info: Mapping[str, Any] | None = None,
        fs: AbstractFileSystem | None = None,
    ) -> AsyncGenerator[Document, None]:
        """Do the same in `asyncio`, lazily; LlamaIndex's own `alazy_load_data` can only give what is finished."""
        from qwen_omni.video.reading import aiter_notes  # noqa: PLC0415 - the engine loads on first use

        client = self.llm.async_client()
        for name in self._files(input_file):
            origin = _origin(name, fs, extra_info)
            async with contextlib.AsyncExitStack() as closing:
                local = _local(name, fs)
                path = await asyncio.to_thread(local.__enter__)
                closing.push_async_callback(asyncio.to_thread, local.__exit__, None, None, None)
                stream = aiter_notes(path, client=client, options=self._options())
                async for notes in await closing.enter_async_context(contextlib.aclosing(stream)):
                    _warn_of(notes, origin)
                    for document in to_documents(notes, self.mode, origin):
                        yield document

    async def aload_data(self, *args: Any, **load_kwargs: Any) -> list[Document]:
        """Load all documents in `asyncio`; takes what `lazy_load_data` takes."""
        async with contextlib.aclosing(self.alazy_documents(*args, **load_kwargs)) as documents:
            return [document async for document in documents]

    async def alazy_load_data(self, *args: Any, **load_kwargs: Any) -> Iterable[Document]:
        """Load all documents in `asyncio`, without blocking the event loop."""
        return await self.aload_data(*args, **load_kwargs)

    def _notes(self, path: str) -> Generator[SegmentNotes, None, None]:
        from qwen_omni.video.reading import iter_notes  # noqa: PLC0415 - the engine loads on first use

        with contextlib.closing(iter_notes(path, client=self.llm.client(), options=self._options())) as notes:
            yield from notes

    def _options(self) -> SummaryOptions:
        strategy = "single" if self.mode == "single" else self.options.strategy
        return replace(self.options, model=self.llm.model, strategy=strategy)

    def _files(self, given: Files | None) -> list[str]:
        if given is None:
            return self.list_resources()
        return [os.fspath(given)] if isinstance(given, str | os.PathLike) else [os.fspath(name) for name in given]

    # --- Resources ---

    def list_resources(self, *_: Any, **__: Any) -> list[str]:
        """List the files of `folder` that would be read, in order.

        Raises:
            ConfigurationError: there is no `folder`.
        """
        if self.folder is None:
            raise ConfigurationError("Name a file, or give the reader a folder=.")
        found = sorted(Path(self.folder).rglob("*"))
        return [str(path) for path in found if path.suffix.lower() in self.suffixes and path.is_file()]

    def get_resource_info(self, resource_id: str, *_: Any, **__: Any) -> dict[str, Any]:
        """Look at a file: its size and time, and what is in it. Asks nobody."""
        status = Path(resource_id).stat()
        info = look(source_of(resource_id))
        facts = {} if info is None else {
            "kind": info.kind, "duration": None if info.duration is None else float(info.duration),
            "width": info.width, "height": info.height, "fps": None if info.fps is None else float(info.fps),
            "video_codec": info.video_codec, "audio_codec": info.audio_codec,
        }  # fmt: skip
        told = {"file_path": resource_id, "file_size": status.st_size, "last_modified": status.st_mtime, **facts}
        return {name: value for name, value in told.items() if value is not None}

    def load_resource(self, resource_id: str, *_: Any, **__: Any) -> list[Document]:
        """Load the documents of one file."""
        return list(self.lazy_load_data(resource_id))

    async def aload_resource(self, resource_id: str, *_: Any, **__: Any) -> list[Document]:
        """Do the same in `asyncio`."""
        return await self.aload_data(resource_id)


def _warn_of(notes: SegmentNotes, origin: Origin) -> None:
    if notes.gap:
        warnings.warn(
            f"{origin.source}: {notes.start:g} to {notes.end:g} s have no notes and so no document: {notes.gap}",
            stacklevel=3,
        )


def _origin(name: str, fs: AbstractFileSystem | None, extra: Mapping[str, Any] | None) -> Origin:
    if fs is None:
        path = Path(name).resolve()
        return Origin(source=name, url=path.as_uri(), path=str(path), extra=extra or {})
    return Origin(source=name, url=str(fs.unstrip_protocol(name)), path=None, extra=extra or {})


@contextlib.contextmanager
def _local(name: str, fs: AbstractFileSystem | None) -> Generator[str, None, None]:
    """Give a local file: the one that is named, or a copy of one from elsewhere, for as long as it is read."""
    if fs is None:
        yield name
        return
    with tempfile.TemporaryDirectory(prefix="qwen-omni-") as folder:
        copy = Path(folder) / PurePath(name).name
        with fs.open(name, "rb") as there, copy.open("wb") as here:
            shutil.copyfileobj(there, here, 1 << 20)
        yield str(copy)
