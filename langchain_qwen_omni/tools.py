"""`QwenOmniToolkit`: what an agent may do with the media of one folder, as LangChain tools.

The tools are defined in `qwen_omni.tools`; here each becomes a `StructuredTool`. Its text goes to the model, its
artifact stays with the program, and whatever goes wrong is text, too.
"""

from typing import Any

from langchain_core.tools import BaseTool, BaseToolkit, StructuredTool
from pydantic import ConfigDict, PrivateAttr, ValidationError
from pydantic.v1 import ValidationError as OldValidationError

from langchain_qwen_omni._errors import as_langchain_errors
from langchain_qwen_omni.chat_models import ChatQwenOmni
from qwen_omni.tools.media_tools import MediaTools, ToolDefinition
from qwen_omni.tools.outcome import wrong_arguments


class QwenOmniToolkit(BaseToolkit):
    """Tools about the videos, recordings and pictures of one folder, for agents.

    Paths come from a model, so they are confined to `media_root`: nothing outside is opened, links included. The
    model of `llm` is asked, over its connection settings; its own `media_root` stays as it is.

    Example:
        from langchain.agents import create_agent
        from langchain_qwen_omni import ChatQwenOmni, QwenOmniToolkit

        llm = ChatQwenOmni()
        agent = create_agent(llm, QwenOmniToolkit(llm, media_root="videos").get_tools())
        question = "In which video, and at which second, is the tent put up?"
        print(agent.invoke({"messages": [("user", question)]})["messages"][-1].text)
    """

    llm: ChatQwenOmni
    """The model that is asked about the media."""
    media_root: str
    """The folder; everything below it may be read and sent to the service."""
    transcriber: str | None = None
    """The model that transcribes; the cheapest that the region has, if not given."""

    _tools: MediaTools = PrivateAttr()
    model_config = ConfigDict(arbitrary_types_allowed=True, extra="forbid")

    def __init__(self, llm: ChatQwenOmni, *, media_root: str, **choices: Any) -> None:  # noqa: ANN401
        """Raises `ConfigurationError` where there is no such folder, or no key anywhere."""
        super().__init__(llm=llm, media_root=str(media_root), **choices)  # type: ignore[call-arg]
        with as_langchain_errors():
            self._tools = MediaTools(
                media_root, settings=llm.client().settings, model=llm.model, transcriber=self.transcriber
            )

    def get_tools(self) -> list[BaseTool]:
        """Give the tools."""
        return [_tool(self._tools, one) for one in self._tools.definitions]

    def close(self) -> None:
        """Close the tools' connection; the next call opens another."""
        self._tools.close()

    async def aclose(self) -> None:
        """Close the tools' connection in the running event loop."""
        await self._tools.aclose()


def _tool(tools: MediaTools, one: ToolDefinition) -> BaseTool:
    def run(**arguments: Any) -> tuple[str, Any]:  # noqa: ANN401
        outcome = tools.call(one.name, arguments)
        return outcome.content, outcome.artifact

    async def arun(**arguments: Any) -> tuple[str, Any]:  # noqa: ANN401
        outcome = await tools.acall(one.name, arguments)
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


def _explain(error: ValidationError | OldValidationError) -> str:
    if isinstance(error, OldValidationError):
        return "Wrong arguments. Call again with them put right."
    return wrong_arguments(error).content
