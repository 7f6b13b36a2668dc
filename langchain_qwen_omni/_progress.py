"""`ProgressChain`: a Runnable that yields the progress of its run, and the result last."""
# ruff: noqa: ANN401, A002  (LangChain's own signatures: any keyword, and an argument called input)

import abc
from collections.abc import AsyncIterator, Iterator
from typing import Any, TypeVar

from langchain_core.runnables import Runnable, RunnableConfig

from langchain_qwen_omni._errors import as_langchain_errors
from qwen_omni.integrations.model_fields import check_call

In = TypeVar("In")
Out = TypeVar("Out")


class ProgressChain(Runnable[In, Out], abc.ABC):
    """The entry points of such a Runnable; a subclass does the work. LangChain reads its two types."""

    output_key: str | None
    """The key of the result, for a node of a graph; `None` returns the result itself."""

    def invoke(self, input: In, config: RunnableConfig | None = None, **kwargs: Any) -> Any:
        """Run to the end; return the result."""
        result = None
        for result in self.stream(input, config, **kwargs):  # noqa: B007  (only the last one counts)
            pass
        return result

    async def ainvoke(self, input: In, config: RunnableConfig | None = None, **kwargs: Any) -> Any:
        """The same in `asyncio`."""
        result = None
        async for result in self.astream(input, config, **kwargs):  # noqa: B007
            pass
        return result

    def stream(self, input: In, config: RunnableConfig | None = None, **kwargs: Any) -> Iterator[Any]:
        """Yield progress, and the result last."""
        with as_langchain_errors():
            check_call(kwargs, type(self).__name__)
        yield from self._transform_stream_with_config(iter([input]), self._work, config, **kwargs)

    async def astream(self, input: In, config: RunnableConfig | None = None, **kwargs: Any) -> AsyncIterator[Any]:
        """The same in `asyncio`."""
        with as_langchain_errors():
            check_call(kwargs, type(self).__name__)

        async def only() -> AsyncIterator[In]:
            yield input

        async for piece in self._atransform_stream_with_config(only(), self._awork, config, **kwargs):
            yield piece

    @abc.abstractmethod
    def _work(self, inputs: Iterator[In], run_manager: Any, config: RunnableConfig) -> Iterator[Any]:
        """Do the work on the last input."""

    @abc.abstractmethod
    def _awork(self, inputs: AsyncIterator[In], run_manager: Any, config: RunnableConfig) -> AsyncIterator[Any]: ...

    def _result(self, found: Any) -> Any:
        return found if self.output_key is None else {self.output_key: found}
