"""Tell handlers that listen the words of an answer, while it comes."""

import contextlib
from collections.abc import AsyncGenerator, Generator, Iterator

from langchain_core.callbacks import (
    AsyncCallbackHandler,
    AsyncCallbackManagerForLLMRun,
    BaseCallbackHandler,
    CallbackManagerForLLMRun,
)
from langchain_core.tracers.base import BaseTracer

from qwen_omni.responses import Delta, TextDelta


def listens(handlers: list[BaseCallbackHandler]) -> bool:
    """Tell whether a handler wants words as they come. Tracers see the whole answer at its end."""
    silent = (BaseCallbackHandler.on_llm_new_token, AsyncCallbackHandler.on_llm_new_token)
    return any(
        type(handler).on_llm_new_token not in silent and not isinstance(handler, BaseTracer) for handler in handlers
    )


def told(deltas: Iterator[Delta], run_manager: CallbackManagerForLLMRun | None) -> Generator[Delta, None, None]:
    """Pass deltas on, and tell their words to handlers that listen."""
    tell = run_manager is not None and listens(run_manager.handlers)
    for delta in deltas:
        if tell and run_manager is not None and isinstance(delta, TextDelta):
            run_manager.on_llm_new_token(delta.text)
        yield delta


async def atold(
    stream: AsyncGenerator[Delta, None], run_manager: AsyncCallbackManagerForLLMRun | None
) -> AsyncGenerator[Delta, None]:
    """Pass deltas on, and tell their words to handlers that listen."""
    tell = run_manager is not None and listens(run_manager.handlers)
    async with contextlib.aclosing(stream) as deltas:
        async for delta in deltas:
            if tell and run_manager is not None and isinstance(delta, TextDelta):
                await run_manager.on_llm_new_token(delta.text)
            yield delta
