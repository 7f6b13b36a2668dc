"""The eight ways to call `QwenOmni` behind one interface: each returns the last response as a `ChatResponse`."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from llama_index.core.base.llms.types import ChatMessage, ChatResponse, CompletionResponse

from llama_index_qwen_omni import QwenOmni

Way = Callable[..., Awaitable[ChatResponse]]


def _messages(question: str | Sequence[ChatMessage]) -> list[ChatMessage]:
    return [ChatMessage(content=question)] if isinstance(question, str) else list(question)


async def _chat(llm: QwenOmni, question: Any, **options: Any) -> ChatResponse:
    return llm.chat(_messages(question), **options)


async def _achat(llm: QwenOmni, question: Any, **options: Any) -> ChatResponse:
    return await llm.achat(_messages(question), **options)


async def _stream_chat(llm: QwenOmni, question: Any, **options: Any) -> ChatResponse:
    given = list(llm.stream_chat(_messages(question), **options))
    assert "".join(one.delta or "" for one in given) == (given[-1].message.content or "")
    return given[-1]


async def _astream_chat(llm: QwenOmni, question: Any, **options: Any) -> ChatResponse:
    given = [one async for one in await llm.astream_chat(_messages(question), **options)]
    assert "".join(one.delta or "" for one in given) == (given[-1].message.content or "")
    return given[-1]


def _whole(answer: CompletionResponse) -> ChatResponse:
    message = ChatMessage(role="assistant", content=answer.text)
    return ChatResponse(message=message, raw=answer.raw, delta=answer.delta, additional_kwargs=answer.additional_kwargs)


async def _complete(llm: QwenOmni, question: str, **options: Any) -> ChatResponse:
    return _whole(llm.complete(question, **options))


async def _acomplete(llm: QwenOmni, question: str, **options: Any) -> ChatResponse:
    return _whole(await llm.acomplete(question, **options))


async def _stream_complete(llm: QwenOmni, question: str, **options: Any) -> ChatResponse:
    given = list(llm.stream_complete(question, **options))
    assert "".join(one.delta or "" for one in given) == given[-1].text
    return _whole(given[-1])


async def _astream_complete(llm: QwenOmni, question: str, **options: Any) -> ChatResponse:
    given = [one async for one in await llm.astream_complete(question, **options)]
    assert "".join(one.delta or "" for one in given) == given[-1].text
    return _whole(given[-1])


CHATS: dict[str, Way] = {
    "chat": _chat, "achat": _achat, "stream_chat": _stream_chat, "astream_chat": _astream_chat,
}  # fmt: skip
COMPLETIONS: dict[str, Way] = {
    "complete": _complete, "acomplete": _acomplete, "stream_complete": _stream_complete,
    "astream_complete": _astream_complete,
}  # fmt: skip
EIGHT: dict[str, Way] = {**CHATS, **COMPLETIONS}
