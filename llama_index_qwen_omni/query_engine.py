"""`VideoQueryEngine`: a query engine that answers a question from many videos, with the moments that show it.

A thin layer over `qwen_omni.library.ask` with the connection and model of the LLM. Each look at a video, and the answer
so far, are events of LlamaIndex's instrumentation.
"""
# ruff: noqa: ANN401  (any field of AskOptions may be a keyword)

import functools
from collections.abc import Callable, Sequence
from typing import Any

from llama_index.core.base.base_query_engine import BaseQueryEngine
from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.base.response.schema import RESPONSE_TYPE, Response
from llama_index.core.callbacks import CallbackManager
from llama_index.core.instrumentation.events import BaseEvent
from llama_index.core.prompts.mixin import PromptMixinType
from llama_index.core.schema import MetadataMode, NodeWithScore, QueryBundle, TextNode
from llama_index_instrumentation import get_dispatcher
from pydantic import ConfigDict

from llama_index_qwen_omni.base import QwenOmni
from qwen_omni.errors import ConfigurationError
from qwen_omni.integrations.model_fields import described, with_choices
from qwen_omni.library.answers import AskOptions, LibraryAnswer, LibraryEvidence
from qwen_omni.library.ask import LibraryProgress, aask_library, ask_library
from qwen_omni.library.library import WINDOWS_PER_QUESTION, VideoLibrary, limited_to
from qwen_omni.media.files.find import Sources
from qwen_omni.retrieval.windows import Hit, Window, to_windows

_dispatcher = get_dispatcher(__name__)


@described
class VideoQueryProgress(BaseEvent):
    """The progress of a question, for event handlers of LlamaIndex's instrumentation."""

    model_config = ConfigDict(defer_build=True)

    progress: LibraryProgress
    """What happened: a look, what it found, the answer so far."""

    @classmethod
    def class_name(cls) -> str:
        """Return the name of the event."""
        return "VideoQueryProgress"


class VideoQueryEngine(BaseQueryEngine):
    """Answers questions from many videos: searches, watches the best windows again, answers with the moments found.

    The response holds the answer; its `source_nodes` are what supports it, with `source`, `start` and `end`, and its
    `metadata["answer"]` is the whole `LibraryAnswer` as JSON. A spend limit of the LLM ends the looks, never the
    answer. Looks are stored: asking the same question again costs none.

    Args:
        llm: the LLM; its connection and model name are used.
        search: a `VideoLibrary`, or a retriever of nodes of the video reader, such as a `VideoRetriever`.
        k: windows of a library that are considered; a retriever has its own number.
        sources: only these videos, folders and patterns of a library; a retriever has its own filter.
        options: everything else, see `AskOptions`; further keywords are fields of it.

    Raises:
        ConfigurationError: the search is neither, or a number is out of its range.

    Example:
        from llama_index_qwen_omni import QwenOmni, VideoQueryEngine
        from qwen_omni import VideoLibrary

        response = VideoQueryEngine(QwenOmni(), VideoLibrary("library.lance"), looks=4).query("Who scores first?")
        print(response, [(one.metadata["source"], one.metadata["start"]) for one in response.source_nodes])
    """

    def __init__(
        self,
        llm: QwenOmni,
        search: VideoLibrary | BaseRetriever,
        *,
        k: int = WINDOWS_PER_QUESTION,
        sources: Sources = (),
        options: AskOptions | None = None,
        callback_manager: CallbackManager | None = None,
        **choices: Any,
    ) -> None:
        """Check the options; nothing is searched yet."""
        if not isinstance(search, VideoLibrary | BaseRetriever):
            raise ConfigurationError(f"search must be a VideoLibrary or a retriever, not {type(search).__name__}.")
        self.sources = limited_to(search, sources)
        self.options = with_choices(options or AskOptions(), {"model": llm.model, **choices}, VideoQueryEngine)
        self.llm, self.search, self.k = llm, search, k
        super().__init__(callback_manager=callback_manager)

    def _get_prompt_modules(self) -> PromptMixinType:
        return {}

    def _query(self, query_bundle: QueryBundle) -> RESPONSE_TYPE:
        search = self._searching()
        return to_response(
            ask_library(
                query_bundle.query_str, search, client=self.llm.client(), options=self.options, on_progress=_report
            )
        )

    def _searching(self) -> Callable[[str], Sequence[Window]]:
        if isinstance(self.search, VideoLibrary):
            return functools.partial(self.search.windows, k=self.k, sources=self.sources)
        retriever = self.search
        return lambda text: to_found(retriever.retrieve(text))

    async def _aquery(self, query_bundle: QueryBundle) -> RESPONSE_TYPE:
        async def search(text: str) -> Sequence[Window]:
            if isinstance(self.search, VideoLibrary):
                return await self.search.awindows(text, self.k, sources=self.sources)
            return to_found(await self.search.aretrieve(text))

        return to_response(
            await aask_library(
                query_bundle.query_str, search, client=self.llm.aclient(), options=self.options, on_progress=_report
            )
        )


def _report(news: LibraryProgress) -> None:
    _dispatcher.event(VideoQueryProgress(progress=news))


def to_found(nodes: Sequence[NodeWithScore]) -> list[Window]:
    """Return the windows of the nodes that a retriever found."""
    return to_windows(
        Hit(metadata=one.node.metadata, text=one.node.get_content(MetadataMode.NONE), score=one.score) for one in nodes
    )


def to_response(found: LibraryAnswer) -> Response:
    """Convert an answer to a response with what supports it as source nodes."""
    nodes = [NodeWithScore(node=_node(one)) for one in found.evidence]
    return Response(response=found.answer, source_nodes=nodes, metadata={"answer": found.model_dump(mode="json")})


def _node(one: LibraryEvidence) -> TextNode:
    return TextNode(
        text=one.text, metadata={"source": one.source, "start": one.start, "end": one.end, "watched": one.watched}
    )  # fmt: skip
