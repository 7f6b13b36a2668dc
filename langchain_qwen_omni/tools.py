"""`QwenOmniToolkit`: LangChain tools for agents, about the media of one folder.

The tools are defined in `qwen_omni.tools`; here each becomes a `StructuredTool`. Its text goes to the model, its
artifact stays in the program, and errors are returned as text as well.
"""

import asyncio
import contextlib
from dataclasses import asdict
from typing import Any, Self

from langchain_core.callbacks import adispatch_custom_event, dispatch_custom_event
from langchain_core.tools import BaseTool, BaseToolkit, StructuredTool
from pydantic import ConfigDict, PrivateAttr, ValidationError
from pydantic.v1 import ValidationError as OldValidationError

from langchain_qwen_omni._errors import as_langchain_errors
from langchain_qwen_omni.chat_models import ChatQwenOmni
from qwen_omni.integrations.model_fields import described
from qwen_omni.library.library import VideoLibrary
from qwen_omni.tools.handlers import ToolProgress
from qwen_omni.tools.media_tools import MediaTools, ToolDefinition
from qwen_omni.tools.results import wrong_arguments

TOOL_PROGRESS_EVENT = "qwen_omni_tool_progress"
"""Name of the custom events that report the progress of a tool call: `tool`, `done`, `total` and `text`."""


@described
class QwenOmniToolkit(BaseToolkit):
    """Tools about the videos, recordings and images of one folder, for agents.

    Paths come from a model, so they are confined to `media_root`: nothing outside is opened, links included. The tools
    use the model of `llm` and its connection settings; its own `media_root` is not changed.

    Example:
        from langchain.agents import create_agent
        from langchain_qwen_omni import ChatQwenOmni, QwenOmniToolkit

        llm = ChatQwenOmni()
        agent = create_agent(llm, QwenOmniToolkit(llm, media_root="videos").get_tools())
        question = "In which video, and at which second, is the tent put up?"
        print(agent.invoke({"messages": [("user", question)]})["messages"][-1].text)
    """

    llm: ChatQwenOmni
    """The model that answers questions about the media."""
    media_root: str
    """The folder; everything below it may be read and sent to the service."""
    transcriber: str | None = None
    """The transcription model; the region's cheapest if not given."""
    library: VideoLibrary | None = None
    """An index over many videos, which adds the tools `search_videos` and `ask_library`."""

    _tools: MediaTools = PrivateAttr()
    model_config = ConfigDict(arbitrary_types_allowed=True, extra="forbid")

    def __init__(self, llm: ChatQwenOmni, *, media_root: str, **choices: Any) -> None:  # noqa: ANN401
        """Create the tools; raises `ConfigurationError` if there is no such folder, or no key anywhere."""
        super().__init__(llm=llm, media_root=str(media_root), **choices)  # type: ignore[call-arg]
        with as_langchain_errors():
            self._tools = MediaTools(
                media_root, settings=llm.client().settings, model=llm.model, transcriber=self.transcriber,
                library=self.library,
            )  # fmt: skip

    def get_tools(self) -> list[BaseTool]:
        """Return the tools."""
        return [_tool(self._tools, one) for one in self._tools.definitions]

    def close(self) -> None:
        """Close the tools' connection; the next call opens another."""
        self._tools.close()

    async def aclose(self) -> None:
        """Close the tools' connection in the running event loop."""
        await self._tools.aclose()


def _tool(tools: MediaTools, one: ToolDefinition) -> BaseTool:
    def run(**arguments: Any) -> tuple[str, Any]:  # noqa: ANN401
        outcome = tools.call(one.name, arguments, on_progress=lambda news: _dispatched(one.name, news))
        return outcome.content, outcome.artifact

    async def arun(**arguments: Any) -> tuple[str, Any]:  # noqa: ANN401
        dispatching = _AsyncDispatching(one.name)
        async with dispatching:
            outcome = await tools.acall(one.name, arguments, on_progress=dispatching.take)
        return outcome.content, outcome.artifact

    return StructuredTool(
        name=one.name,
        description=one.description,
        args_schema=one.arguments,
        func=run,
        coroutine=arun,
        response_format="content_and_artifact",
        handle_validation_error=_explain,
    )


def _event(name: str, news: ToolProgress) -> dict[str, Any]:
    return {"tool": name, **asdict(news)}


def _dispatched(name: str, news: ToolProgress) -> None:
    with contextlib.suppress(RuntimeError):  # called outside of any run, so nothing receives the event
        dispatch_custom_event(TOOL_PROGRESS_EVENT, _event(name, news))


class _AsyncDispatching:
    """Dispatches progress events in order while a call runs; all of them before the call returns."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._loop = asyncio.get_running_loop()
        self._news: asyncio.Queue[ToolProgress | None] = asyncio.Queue()

    def take(self, news: ToolProgress) -> None:
        """Queue one progress event, from any thread."""
        self._loop.call_soon_threadsafe(self._news.put_nowait, news)

    async def _run(self) -> None:
        while (news := await self._news.get()) is not None:
            with contextlib.suppress(RuntimeError):
                await adispatch_custom_event(TOOL_PROGRESS_EVENT, _event(self._name, news))

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._run())
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            self._task.cancel()
            return
        self._loop.call_soon(self._news.put_nowait, None)  # after everything that worker threads have queued
        await self._task


def _explain(error: ValidationError | OldValidationError) -> str:
    if isinstance(error, OldValidationError):
        return "Wrong arguments. Correct the arguments and call again."
    return wrong_arguments(error).content
