"""`VideoQAChain`: a Runnable that answers a question from many videos, with the moments that show it.

A thin layer over `qwen_omni.library.ask` with the connection and model of the chat model. Each look at a video, and the
answer so far, are custom events of the run.
"""
# ruff: noqa: ANN401  (LangChain's own signatures: any keyword)

import contextlib
import functools
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from langchain_core.callbacks import adispatch_custom_event, dispatch_custom_event
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import patch_config

from langchain_qwen_omni._errors import as_langchain_errors
from langchain_qwen_omni._progress import ProgressChain
from langchain_qwen_omni.chat_models import ChatQwenOmni
from qwen_omni.errors import ConfigurationError, UnsupportedContentError
from qwen_omni.integrations.model_fields import with_choices
from qwen_omni.library.answers import AskOptions, LibraryAnswer
from qwen_omni.library.ask import LibraryProgress, astream_library, stream_library
from qwen_omni.library.library import WINDOWS_PER_QUESTION, VideoLibrary, limited_to
from qwen_omni.media.files.find import Sources
from qwen_omni.retrieval.windows import Hit, Window, to_windows

LIBRARY_EVENT = "qwen_omni_library"
"""Name of the custom events that report the progress of a question."""


class VideoQAChain(ProgressChain[str | Mapping[str, Any], Any]):
    """Answers questions from many videos: searches, watches the best windows again, answers with the moments found.

    Its input is the question, or a mapping that holds it under `input_key`. `stream` yields `LibraryProgress` values,
    with the answer as it arrives, and the `LibraryAnswer` last. A spend limit of the chat model ends the looks, never
    the answer. Looks are stored: asking the same question again costs none.

    Args:
        llm: the chat model; its connection and model name are used.
        search: a `VideoLibrary`, or a retriever of documents of the video loader, such as a `VideoRetriever`.
        k: windows of a library that are considered; a retriever has its own number.
        sources: only these videos, folders and patterns of a library; a retriever has its own filter.
        options: everything else, see `AskOptions`; further keywords are fields of it.
        input_key: the key of the question in a mapping.
        output_key: return `{output_key: answer}` instead of the answer, for a node of a graph.

    Example:
        from langchain_qwen_omni import ChatQwenOmni, VideoQAChain
        from qwen_omni import VideoLibrary

        found = VideoQAChain(ChatQwenOmni(), VideoLibrary("library.lance"), looks=4).invoke("Who scores first?")
        print(found.answer, [(one.source, one.start, one.text) for one in found.evidence])
    """

    def __init__(  # noqa: PLR0913 - one keyword per property of a run
        self,
        llm: ChatQwenOmni,
        search: VideoLibrary | BaseRetriever,
        *,
        k: int = WINDOWS_PER_QUESTION,
        sources: Sources = (),
        options: AskOptions | None = None,
        input_key: str = "question",
        output_key: str | None = None,
        **choices: Any,
    ) -> None:
        with as_langchain_errors():
            if not isinstance(search, VideoLibrary | BaseRetriever):
                raise ConfigurationError(f"search must be a VideoLibrary or a retriever, not {type(search).__name__}.")
            self.sources = limited_to(search, sources)
            self.options = with_choices(options or AskOptions(), {"model": llm.model, **choices}, VideoQAChain)
        self.llm = llm
        self.search = search
        self.k = k
        self.input_key = input_key
        self.output_key = output_key

    def _work(self, inputs: Iterator[Any], run_manager: Any, config: RunnableConfig) -> Iterator[Any]:
        child = patch_config(config, callbacks=run_manager.get_child())
        with as_langchain_errors():
            question = self._question(list(inputs)[-1])
            search = self._searching(child)
            coming = stream_library(question, search, client=self.llm.client(), options=self.options)
            with contextlib.closing(coming):
                for news in coming:
                    if isinstance(news, LibraryAnswer):
                        yield self._result(news)
                        return
                    dispatch_custom_event(LIBRARY_EVENT, _event(news), config=child)
                    yield news

    def _searching(self, config: RunnableConfig) -> Callable[[str], Sequence[Window]]:
        if isinstance(self.search, VideoLibrary):
            return functools.partial(self.search.windows, k=self.k, sources=self.sources)
        retriever = self.search
        return lambda text: to_found(retriever.invoke(text, config))

    async def _awork(self, inputs: AsyncIterator[Any], run_manager: Any, config: RunnableConfig) -> AsyncIterator[Any]:
        child = patch_config(config, callbacks=run_manager.get_child())
        with as_langchain_errors():
            question = self._question([given async for given in inputs][-1])

            async def search(text: str) -> Sequence[Window]:
                if isinstance(self.search, VideoLibrary):
                    return await self.search.awindows(text, self.k, sources=self.sources)
                return to_found(await self.search.ainvoke(text, child))

            coming = astream_library(question, search, client=self.llm.aclient(), options=self.options)
            async with contextlib.aclosing(coming):
                async for news in coming:
                    if isinstance(news, LibraryAnswer):
                        yield self._result(news)
                        return
                    await adispatch_custom_event(LIBRARY_EVENT, _event(news), config=child)
                    yield news

    def _question(self, given: Any) -> str:
        found = given.get(self.input_key) if isinstance(given, Mapping) else given
        if not isinstance(found, str):
            raise UnsupportedContentError(
                f"The input must be a question, or a mapping with one under {self.input_key!r}; got "
                f"{type(given).__name__}."
            )
        return found


def to_found(documents: Sequence[Document]) -> list[Window]:
    """Return the windows of the documents that a retriever found."""
    scores = [one.metadata.get("score") for one in documents]
    return to_windows(
        Hit(metadata=one.metadata, text=one.page_content, score=score)
        for one, score in zip(documents, scores, strict=True)
    )


def _event(news: LibraryProgress) -> dict[str, Any]:
    shot = None if news.shot is None else news.shot.model_dump(mode="json")
    return {**asdict(replace(news, shot=None)), "shot": shot}
