"""`QwenOmniToolSpec`: LlamaIndex tools for agents, about the media of one folder.

The tools are defined in `qwen_omni.tools`; here each becomes a `FunctionTool`. Its text goes to the model; the whole
outcome, with the artifact, is the tool's `raw_output`. Errors are returned as text as well.
"""

from pathlib import Path
from typing import Any

from llama_index.core.instrumentation.events import BaseEvent
from llama_index.core.tools import FunctionTool, ToolMetadata
from llama_index.core.tools.tool_spec.base import BaseToolSpec
from llama_index_instrumentation import get_dispatcher
from pydantic import ConfigDict

from llama_index_qwen_omni.base import QwenOmni
from qwen_omni._moved import tool_name
from qwen_omni.errors import ConfigurationError
from qwen_omni.integrations.model_fields import described
from qwen_omni.library.library import VideoLibrary
from qwen_omni.profiles import DEFAULT_MODEL
from qwen_omni.tools.handlers import ToolProgress
from qwen_omni.tools.media_tools import DEFINITIONS, MediaTools, ToolDefinition
from qwen_omni.tools.results import ToolOutcome

_dispatcher = get_dispatcher(__name__)


@described
class QwenOmniToolProgress(BaseEvent):
    """The progress of a tool call, for event handlers of LlamaIndex's instrumentation.

    Example:
        from llama_index.core.instrumentation import get_dispatcher
        from llama_index.core.instrumentation.event_handlers import BaseEventHandler
        from llama_index_qwen_omni import QwenOmniToolProgress

        class Shown(BaseEventHandler):
            def handle(self, event, **kwargs):
                if isinstance(event, QwenOmniToolProgress):
                    print(f"{event.tool}: {event.text}")

        get_dispatcher().add_event_handler(Shown())
    """

    model_config = ConfigDict(defer_build=True)

    tool: str
    """Which tool."""
    done: float
    """Finished steps plus a fraction of the current one; grows with every event of a call."""
    total: float | None = None
    """The total number of steps, as far as it is known."""
    text: str = ""
    """A readable description of the step."""

    @classmethod
    def class_name(cls) -> str:
        """Return the name of the event."""
        return "QwenOmniToolProgress"


class QwenOmniToolSpec(BaseToolSpec):
    """Tools about the videos, recordings and images of one folder, for agents.

    Paths come from a model, so they are confined to `media_root`: nothing outside is opened, links included. The tools
    use the model of `llm` and its connection settings; its own `media_root` is not changed.

    Args:
        llm: the model that answers questions about the media; by default, created from the environment.
        media_root: the folder; everything below it may be read and sent to the service.
        transcriber: the transcription model; the region's cheapest if not given.
        library: an index over many videos, which adds the tools `search_videos` and `ask_library`.

    Example:
        from llama_index.core.agent.workflow import FunctionAgent
        from llama_index_qwen_omni import QwenOmni, QwenOmniToolSpec

        llm = QwenOmni()
        agent = FunctionAgent(llm=llm, tools=QwenOmniToolSpec(llm, media_root="videos").to_tool_list())
    """

    spec_functions = [one.name for one in DEFINITIONS]  # noqa: RUF012  (LlamaIndex's own form)

    def __init__(
        self,
        llm: QwenOmni | None = None,
        *,
        media_root: str | Path,
        transcriber: str | None = None,
        library: VideoLibrary | None = None,
    ) -> None:
        """Create the tools; raises `ConfigurationError` if there is no such folder, or `llm` finds no key anywhere."""
        model, settings = (DEFAULT_MODEL, None) if llm is None else (llm.model, llm.client().settings)
        self._tools = MediaTools(media_root, settings=settings, model=model, transcriber=transcriber, library=library)
        self.spec_functions = [one.name for one in self._tools.definitions]

    def to_tool_list(
        self, spec_functions: list[Any] | None = None, func_to_metadata_mapping: dict[str, ToolMetadata] | None = None
    ) -> list[FunctionTool]:
        """Return all tools, or the named ones.

        Raises:
            ConfigurationError: there is no tool with a given name.
        """
        known = {one.name: one for one in self._tools.definitions}
        wanted = [
            tool_name(name if isinstance(name, str) else name[0]) for name in spec_functions or self.spec_functions
        ]
        missing = [name for name in wanted if name not in known]
        if missing:
            raise ConfigurationError(f"There is no tool {', '.join(missing)}; available: {', '.join(known)}.")
        return [self._tool(known[name], (func_to_metadata_mapping or {}).get(name)) for name in wanted]

    def close(self) -> None:
        """Close the tools' connection; the next call opens another."""
        self._tools.close()

    async def aclose(self) -> None:
        """Close the tools' connection in the running event loop."""
        await self._tools.aclose()

    def _tool(self, one: ToolDefinition, given: ToolMetadata | None) -> FunctionTool:
        metadata = given or ToolMetadata(name=one.name, description=one.description, fn_schema=one.arguments)

        def report(news: ToolProgress) -> None:
            _dispatcher.event(QwenOmniToolProgress(tool=one.name, done=news.done, total=news.total, text=news.text))

        def run(**arguments: Any) -> ToolOutcome:  # noqa: ANN401
            return self._tools.call(one.name, arguments, on_progress=report)

        async def arun(**arguments: Any) -> ToolOutcome:  # noqa: ANN401
            return await self._tools.acall(one.name, arguments, on_progress=report)

        return FunctionTool(fn=run, async_fn=arun, metadata=metadata)
