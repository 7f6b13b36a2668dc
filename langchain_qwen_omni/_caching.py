"""LangChain's cache of answers, with keys that hold digests instead of media.

LangChain makes the key of a cached answer out of the whole text of the messages: a video in base64 would stand in
the key, and a video given by its path would be known by its name alone. Here the cache sees light copies of the
messages, and the call is made with the caller's own. `_references` makes the copies.
"""
# ruff: noqa: ANN401  (LangChain's own signatures take any keyword)

import copy
from pathlib import Path
from typing import Any, Self

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.globals import get_llm_cache
from langchain_core.messages import BaseMessage
from langchain_core.outputs import ChatGeneration, ChatResult, Generation
from langchain_core.runnables.config import run_in_executor
from pydantic import PrivateAttr

from langchain_qwen_omni._fields import ChatFields
from qwen_omni.call_plan import Plan


class Cached(ChatFields):
    """A chat model whose answers are cached under digests."""

    _asked: list[BaseMessage] | None = PrivateAttr(default=None)

    def _generate_with_cache(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        if not self._caches():
            return super()._generate_with_cache(messages, stop=stop, run_manager=run_manager, **kwargs)
        keyed, light = self._keyed(messages, kwargs)
        return super(Cached, keyed)._generate_with_cache(light, stop=stop, run_manager=run_manager, **kwargs)

    async def _agenerate_with_cache(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        if not self._caches():
            return await super()._agenerate_with_cache(messages, stop=stop, run_manager=run_manager, **kwargs)
        keyed, light = await run_in_executor(None, self._keyed, messages, kwargs)  # it reads whole files
        return await super(Cached, keyed)._agenerate_with_cache(light, stop=stop, run_manager=run_manager, **kwargs)

    def _convert_cached_generations(self, cache_val: list[Generation]) -> list[ChatGeneration]:
        # LangChain marks a hit in the very object that the first caller was given, who may still be counting.
        return super()._convert_cached_generations([copy.copy(one) for one in cache_val])

    def _caches(self) -> bool:
        return self._asked is None and self.cache is not False and bool(self.cache or get_llm_cache() is not None)

    def _keyed(self, messages: list[BaseMessage], options: dict[str, Any]) -> tuple[Self, list[BaseMessage]]:
        """Give a copy of the model for this one call, which knows what is really asked, and what the key is made of."""
        from langchain_qwen_omni._references import digested  # noqa: PLC0415  (for those alone who keep a cache)

        root = options.get("media_root") or self.media_root
        keyed = self.model_copy()  # with the same connections
        keyed._asked = messages  # noqa: SLF001  (of its own kind)
        return keyed, digested(messages, Path(root) if root else Path())

    def _plan(self, messages: list[BaseMessage], stop: list[str] | None, options: dict[str, Any]) -> Plan:
        return super()._plan(messages if self._asked is None else self._asked, stop, options)
